/* A tile of a product, of 12 rows and WIDTH columns with AVX-512, is kept in registers, while a column of A and a row of B at a time are multiplied
   onto it (Goto and van de Geijn, 2008). Each number is one sum in the order of k, whatever the tiles and the instruction set, so results do not
   depend on how the work is cut. */
#include "product.h"

#ifdef __GNUC__
/* Numbers that are not negative, NaN among them, and 0 in the place of others: bits of x where x < 0 has none. */
#define POSITIVE(vec, x) ((vec)((__typeof__((x) < (x)))(x) & ~((x) < (vec){0})))

/* C = PLUS + A·B for R rows and V vectors of columns, of which n are written. Element (i, k) of A is at a[i·ai + k·ak], (k, j) of B at b[k·bk + j].
   PLUS, if there is one, is C itself, or a row for all if pi is 0. A macro, since C has no templates. */
#define TILE(name, vec, stored)                                                                                                              \
    INLINE void name(const int R, const int V, idx n, idx K, const real *a, idx ai, idx ak, const real *b, idx bk, const real *plus, idx pi,  \
                     real *c, idx ci, int relu) {                                                                                            \
        enum { NUMBERS = sizeof(vec) / sizeof(real) };                                                                                       \
        vec s[12][2];                                                                                                                        \
        UNROLL for (int i = 0; i < R; i++)                                                                                                   \
            UNROLL for (int v = 0; v < V; v++) s[i][v] = (vec){0};                                                                           \
        for (idx k = 0; k < K; k++, a += ak, b += bk) {                                                                                      \
            vec row[2];                                                                                                                      \
            UNROLL for (int v = 0; v < V; v++) row[v] = *(const stored *)(b + v * NUMBERS);                                                  \
            UNROLL for (int i = 0; i < R; i++) {                                                                                             \
                real x = a[i * ai];                                                                                                          \
                UNROLL for (int v = 0; v < V; v++) s[i][v] += x * row[v];                                                                    \
            }                                                                                                                                \
        }                                                                                                                                    \
        UNROLL for (int i = 0; i < R; i++, c += ci, plus = plus ? plus + pi : NULL) {                                                        \
            if (n == V * NUMBERS) {                                                                                                          \
                UNROLL for (int v = 0; v < V; v++) {                                                                                         \
                    vec y = plus ? (vec)*(const stored *)(plus + v * NUMBERS) + s[i][v] : s[i][v];                                           \
                    *(stored *)(c + v * NUMBERS) = relu ? POSITIVE(vec, y) : y;                                                              \
                }                                                                                                                            \
            } else {                                                                                                                         \
                real part[2 * NUMBERS] = {0};                                                                                                \
                UNROLL for (int v = 0; v < V; v++) *(stored *)(part + v * NUMBERS) = s[i][v];                                                \
                for (idx j = 0; j < n; j++) c[j] = rectified(plus ? plus[j] + part[j] : part[j], relu);                                      \
            }                                                                                                                                \
        }                                                                                                                                    \
    }

TILE(tile_wide, vec64, stored64)
TILE(tile_narrow, vec32, stored32)

#else
static inline void tile(idx R, idx n, idx K, const real *a, idx ai, idx ak, const real *b, idx bk, const real *plus, idx pi, real *c, idx ci,
                        int relu) {
    for (idx i = 0; i < R; i++, a += ai, c += ci) {
        real s[WIDTH] = {0};
        for (idx k = 0; k < K; k++)
            for (idx j = 0; j < n; j++) s[j] += a[k * ak] * b[k * bk + j];
        for (idx j = 0; j < n; j++) c[j] = rectified(plus ? plus[i * pi + j] + s[j] : s[j], relu);
    }
}
#define tile_wide(R, V, ...) tile(R, __VA_ARGS__)
#define tile_narrow(R, V, ...) tile(R, __VA_ARGS__)
#endif

#define PARAMETERS \
    idx m, idx n, idx K, const real *a, idx ai, idx ak, const real *b, idx bk, idx panel, const real *plus, idx pi, real *c, idx ci, int relu
#define ARGUMENTS m, n, K, a, ai, ak, b, bk, panel, plus, pi, c, ci, relu

INLINE void panels(const int wide, PARAMETERS) {
#define ROWS(tile, R, V, n, j)                                                                                                                 \
    for (; i + R <= m; i += R)                                                                                                                 \
        tile(R, V, n, K, a + i * ai, ai, ak, b + (j), bk, plus ? plus + i * pi + (j) : NULL, pi, c + i * ci + (j), ci, relu)
    for (idx j = 0; j < n; j += WIDTH, b += panel, c += WIDTH, plus = plus ? plus + WIDTH : NULL) {
        idx w = least(WIDTH, n - j), i = 0;
        if (wide && w > LANES) {
            ROWS(tile_wide, 12, 2, w, 0);
            ROWS(tile_wide, 8, 2, w, 0);
            ROWS(tile_wide, 4, 2, w, 0);
            ROWS(tile_wide, 2, 2, w, 0);
            ROWS(tile_wide, 1, 2, w, 0);
        } else if (wide) {
            ROWS(tile_wide, 12, 1, w, 0);
            ROWS(tile_wide, 4, 1, w, 0);
            ROWS(tile_wide, 1, 1, w, 0);
        } else
            for (idx half = 0; half < w; half += LANES, i = 0) {
                idx v = least(LANES, w - half);
                ROWS(tile_narrow, 6, 2, v, half);
                ROWS(tile_narrow, 2, 2, v, half);
                ROWS(tile_narrow, 1, 2, v, half);
            }
    }
#undef ROWS
}

/* Versions by hand instead of CLONES, since each is made for registers of one size only, which halves the time that they take to compile. */
#if defined(CLONES) && defined(__x86_64__)
__attribute__((target("arch=x86-64-v4"))) static void with_avx512(PARAMETERS) { panels(1, ARGUMENTS); }
__attribute__((target("arch=x86-64-v3"))) static void with_avx2(PARAMETERS) { panels(0, ARGUMENTS); }
static void without(PARAMETERS) { panels(0, ARGUMENTS); }

void sum_and_product(PARAMETERS) {
    if (wide_registers())
        with_avx512(ARGUMENTS);
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        with_avx2(ARGUMENTS);
    else
        without(ARGUMENTS);
}
#else
void sum_and_product(PARAMETERS) { panels(0, ARGUMENTS); }
#endif
