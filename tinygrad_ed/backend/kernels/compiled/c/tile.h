/* The heart of convolution: a few sums of products, held in registers.

   sums[t][v] += Σ_s p[t][table[s]]·m[s][v] for T pointers p and a row of numbers v, V vectors wide. An element of the first factor is loaded into all
   lanes of a vector, so it may come from anywhere; each is multiplied with a whole row of the second. As many sums as the registers hold hide the
   time that a multiplication takes: 2·8 vectors of 64 bytes with AVX-512, 2·6 of 32 bytes with AVX2, 4·6 of 16 bytes on ARM.

   product.h has this loop for matrices, whose rows and columns are at regular distances; here neither are, and copying the windows into a matrix first
   would take more time than it saves.

   C has no templates, so this is a macro: the number of registers has to be known to the compiler. */
#ifndef TILE_H
#define TILE_H

#include "kernel.h"

#if defined(__GNUC__)
#define VECTOR(bytes) __attribute__((vector_size(bytes), aligned(sizeof(real)), may_alias))
typedef real vec64 VECTOR(64);
#if defined(__x86_64__) || defined(__i386__)
typedef real vec32 VECTOR(32);
#define NARROW_VECTORS 2
#else
typedef real vec32 VECTOR(16);
#define NARROW_VECTORS 4
#endif
#define UNROLL _Pragma("GCC unroll 8")
#else                                   /* one number at a time, which the compiler may make vectors of */
typedef real vec64;
typedef real vec32;
#define NARROW_VECTORS (64 / sizeof(real))
#define UNROLL
#endif

#define TILE(name, vec, T, V)                                                                                                     \
    INLINE void name(const real *const *p, const int64_t *table, idx n, const real *m, real *sums) {                              \
        enum { LANES = sizeof(vec) / sizeof(real) };                                                                              \
        vec sum[T][V];                                                                                                            \
        const real *x[T];                                                                                                         \
        UNROLL for (int t = 0; t < (int)(T); t++) {                                                                               \
            x[t] = p[t];                                                                                                          \
            UNROLL for (int v = 0; v < (int)(V); v++) sum[t][v] = *(const vec *)(sums + (t * (V) + v) * LANES);                   \
        }                                                                                                                         \
        for (idx s = 0; s < n; s++, m += (V) * LANES) {                                                                           \
            vec row[V];                                                                                                           \
            UNROLL for (int v = 0; v < (int)(V); v++) row[v] = *(const vec *)(m + v * LANES);                                     \
            UNROLL for (int t = 0; t < (int)(T); t++) {                                                                           \
                real factor = x[t][table[s]];                                                                                     \
                UNROLL for (int v = 0; v < (int)(V); v++) sum[t][v] += factor * row[v];                                           \
            }                                                                                                                     \
        }                                                                                                                         \
        UNROLL for (int t = 0; t < (int)(T); t++)                                                                                 \
            UNROLL for (int v = 0; v < (int)(V); v++) *(vec *)(sums + (t * (V) + v) * LANES) = sum[t][v];                         \
    }

TILE(tile_wide, vec64, 8, 128 / sizeof(vec64))
TILE(tile_medium, vec64, 8, 64 / sizeof(vec64))
TILE(tile_narrow, vec32, 6, NARROW_VECTORS)

/* Which of them: the bytes of a row, and the number of pointers. */
enum kind { WIDE, MEDIUM, NARROW };
#define MOST_POINTERS 8
INLINE int row_of(enum kind kind) { return (int)((kind == WIDE ? 128 : 64) / sizeof(real)); }
INLINE int pointers_of(enum kind kind) { return kind == NARROW ? 6 : 8; }

INLINE void tile(enum kind kind, const real *const *p, const int64_t *table, idx n, const real *m, real *sums) {
    if (kind == WIDE)
        tile_wide(p, table, n, m, sums);
    else if (kind == MEDIUM)
        tile_medium(p, table, n, m, sums);
    else
        tile_narrow(p, table, n, m, sums);
}

#endif
