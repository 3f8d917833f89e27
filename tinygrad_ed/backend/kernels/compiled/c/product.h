/* Matrix products: the part of one that stays in registers, for kernels that make a product of their own, and for matmul.c. product.c has the loops.

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
#define UNROLL _Pragma("GCC unroll 12")

static inline int wide_registers(void) {
#ifdef __x86_64__
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
#else
    return 0;
#endif
}
#else
static inline int wide_registers(void) { return 0; }
#endif

/* x, or max(x, 0) if `relu`; NaN stays. */
static inline real rectified(real x, int relu) { return relu && x < 0 ? 0 : x; }

/* C (m, n) = PLUS + A (m, K)·B (K, n), or max(that, 0) if `relu`. Element (i, k) of A is at a[i·ai + k·ak], (k, j) of B at b[k·bk + j]; panels of B are
   `panel` apart. PLUS (m, n), with rows `pi` apart, may be C, or missing. */
#ifdef FLOAT
#define sum_and_product sum_and_product_float
#else
#define sum_and_product sum_and_product_double
#endif
void sum_and_product(idx m, idx n, idx K, const real *a, idx ai, idx ak, const real *b, idx bk, idx panel, const real *plus, idx pi, real *c, idx ci,
                     int relu);

/* C (m, n) = A (m, K)·B (K, n), or += if `add`. */
static inline void product(idx m, idx n, idx K, const real *a, idx ai, idx ak, const real *b, idx bk, idx panel, real *c, idx ci, int add) {
    sum_and_product(m, n, K, a, ai, ak, b, bk, panel, add ? c : NULL, ci, c, ci, 0);
}

#endif
