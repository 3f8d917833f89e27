/* Matrix products inside of other kernels: small ones, and parts of large ones that one thread does.

   A tile of the result, of 8 rows and WIDTH columns with AVX-512, is kept in registers, while a column of A and a row of B at a time are multiplied
   onto it. Each
   number is one sum in the order of k, whatever the tiles and the instruction set, so results do not depend on how the work is cut.

   B is read WIDTH numbers at a time, so it comes in panels of WIDTH columns, padded: `PACKED(k)` is how far apart they are if packed one after the
   other. Rows of a matrix of n columns can be read in place where n is a multiple of LANES. */
#ifndef PRODUCT_H
#define PRODUCT_H

#include "kernel.h"

#define LANES (64 / (idx)sizeof(real))
#define WIDTH (2 * LANES)
#define PACKED(k) ((k) * WIDTH)
static inline idx padded(idx n) { return (n + WIDTH - 1) / WIDTH * WIDTH; }

#ifdef __GNUC__
/* Vectors in registers and, `stored`, anywhere in memory. A vector wider than the machine's would not stay in registers, hence two sizes. */
typedef real vec64 __attribute__((vector_size(64)));
typedef real stored64 __attribute__((vector_size(64), aligned(sizeof(real)), may_alias));
typedef real vec32 __attribute__((vector_size(32)));
typedef real stored32 __attribute__((vector_size(32), aligned(sizeof(real)), may_alias));
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")

/* C (+)= A·B for R rows and V vectors of columns, of which n are written. Element (i, k) of A is at a[i·ai + k·ak], (k, j) of B at b[k·bk + j].
   A macro, since C has no templates. */
#define TILE(name, vec, stored)                                                                                                              \
    INLINE void name(const int R, const int V, idx n, idx K, const real *a, idx ai, idx ak, const real *b, idx bk, real *c, idx ci, int add) { \
        enum { NUMBERS = sizeof(vec) / sizeof(real) };                                                                                       \
        vec s[8][4];                                                                                                                         \
        UNROLL for (int i = 0; i < R; i++)                                                                                                   \
            UNROLL for (int v = 0; v < V; v++) s[i][v] = (vec){0};                                                                           \
        for (idx k = 0; k < K; k++, a += ak, b += bk) {                                                                                      \
            vec row[4];                                                                                                                      \
            UNROLL for (int v = 0; v < V; v++) row[v] = *(const stored *)(b + v * NUMBERS);                                                  \
            UNROLL for (int i = 0; i < R; i++) {                                                                                             \
                real x = a[i * ai];                                                                                                          \
                UNROLL for (int v = 0; v < V; v++) s[i][v] += x * row[v];                                                                    \
            }                                                                                                                                \
        }                                                                                                                                    \
        UNROLL for (int i = 0; i < R; i++, c += ci) {                                                                                        \
            if (n == V * NUMBERS) {                                                                                                          \
                UNROLL for (int v = 0; v < V; v++) {                                                                                         \
                    stored *to = (stored *)(c + v * NUMBERS);                                                                                \
                    *to = add ? (vec)*to + s[i][v] : s[i][v];                                                                                \
                }                                                                                                                            \
            } else {                                                                                                                         \
                real part[WIDTH] = {0};                                                                                                      \
                UNROLL for (int v = 0; v < V; v++) *(stored *)(part + v * NUMBERS) = s[i][v];                                                \
                for (idx j = 0; j < n; j++) c[j] = add ? c[j] + part[j] : part[j];                                                           \
            }                                                                                                                                \
        }                                                                                                                                    \
    }

TILE(tile_wide, vec64, stored64)
TILE(tile_narrow, vec32, stored32)

static inline int wide_registers(void) {
#ifdef __x86_64__
    return __builtin_cpu_supports("avx512f");
#else
    return 0;
#endif
}
#else
static inline void tile(idx R, idx n, idx K, const real *a, idx ai, idx ak, const real *b, idx bk, real *c, idx ci, int add) {
    for (idx i = 0; i < R; i++, a += ai, c += ci) {
        real s[WIDTH] = {0};
        for (idx k = 0; k < K; k++)
            for (idx j = 0; j < n; j++) s[j] += a[k * ak] * b[k * bk + j];
        for (idx j = 0; j < n; j++) c[j] = add ? c[j] + s[j] : s[j];
    }
}
#define tile_wide(R, V, ...) tile(R, __VA_ARGS__)
#define tile_narrow(R, V, ...) tile(R, __VA_ARGS__)
static inline int wide_registers(void) { return 0; }
#endif

/* C (m, n) = A (m, K)·B (K, n), or += if `add`. Panels of B are `panel` apart. */
KERNEL void product(idx m, idx n, idx K, const real *a, idx ai, idx ak, const real *b, idx bk, idx panel, real *c, idx ci, int add) {
    const int wide = wide_registers();
    for (idx j = 0; j < n; j += WIDTH, b += panel) {
        idx w = least(WIDTH, n - j), i = 0;
#define ROWS(tile, R, V) \
    for (; i + R <= m; i += R) tile(R, V, w, K, a + i * ai, ai, ak, b, bk, c + i * ci + j, ci, add)
        if (wide && w > LANES) {
            ROWS(tile_wide, 8, 2);
            ROWS(tile_wide, 4, 2);
            ROWS(tile_wide, 1, 2);
        } else if (wide) {
            ROWS(tile_wide, 8, 1);
            ROWS(tile_wide, 1, 1);
        } else if (w > LANES) {
            ROWS(tile_narrow, 2, 4);
            ROWS(tile_narrow, 1, 4);
        } else {
            ROWS(tile_narrow, 4, 2);
            ROWS(tile_narrow, 1, 2);
        }
#undef ROWS
    }
}

#endif
