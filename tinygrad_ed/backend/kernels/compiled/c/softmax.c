/* Softmax and its logarithm along rows of length n, or down the columns of matrices, and the derivatives.

       softmax:      y = e^(x - max) / Σ e^(x - max)        dx = y·(g - Σ g·y)
       log_softmax:  y = x - max - log Σ e^(x - max)        dx = g - e^y·Σ g

   Where all of a row is -∞, or something in it is +∞ or NaN, the row becomes NaN. Short rows are taken several at a time, so that the
   exponentials, which take most of the time, run over a long stretch of memory. */
#include "maths.h"

#define SHORT 64                        /* rows up to this length are taken together, */
#define TOGETHER 1024                   /* so many numbers at a time */

static inline real max_of(const real *restrict x, idx n) {
    real m = -(real)INFINITY;
#pragma omp simd reduction(max : m)
    for (idx i = 0; i < n; i++) m = x[i] > m ? x[i] : m;
    return m;
}

static inline real sum_of(const real *restrict x, idx n) {
    real s = 0;
#pragma omp simd reduction(+ : s)
    for (idx i = 0; i < n; i++) s += x[i];
    return s;
}

/* y = e^(x - max) for several rows, and their sums */
static inline void exponentials(const real *restrict x, real *restrict y, real *restrict sums, idx rows, idx n) {
    for (idx r = 0; r < rows; r++) {
        real m = max_of(x + r * n, n);
        for (idx i = 0; i < n; i++) y[r * n + i] = x[r * n + i] - m;
    }
    for (idx i = 0; i < rows * n; i++) y[i] = real_exp(y[i]);
    for (idx r = 0; r < rows; r++) sums[r] = sum_of(y + r * n, n);
}

KERNEL void softmax(idx begin, idx end, const real *X, real *Y, idx n) {
    real sums[TOGETHER];
    idx step = n > SHORT ? 1 : TOGETHER / n;
    for (idx row = begin; row < end; row += step) {
        idx rows = least(step, end - row);
        exponentials(X + row * n, Y + row * n, sums, rows, n);
        for (idx r = 0; r < rows; r++) {
            real *restrict y = Y + (row + r) * n, inverse = 1 / sums[r];
            for (idx i = 0; i < n; i++) y[i] *= inverse;
        }
    }
}

KERNEL void softmax_backward(idx begin, idx end, const real *G, const real *Y, real *DX, idx n) {
    for (idx row = begin; row < end; row++) {
        const real *restrict g = G + row * n, *restrict y = Y + row * n;
        real *restrict dx = DX + row * n, s = 0;
#pragma omp simd reduction(+ : s)
        for (idx i = 0; i < n; i++) s += g[i] * y[i];
        for (idx i = 0; i < n; i++) dx[i] = y[i] * (g[i] - s);
    }
}

KERNEL void log_softmax(idx begin, idx end, const real *X, real *Y, idx n) {
    real sums[TOGETHER];
    idx step = n > SHORT ? 1 : TOGETHER / n;
    for (idx row = begin; row < end; row += step) {
        idx rows = least(step, end - row);
        exponentials(X + row * n, Y + row * n, sums, rows, n);
        for (idx r = 0; r < rows; r++) {
            const real *restrict x = X + (row + r) * n;
            real *restrict y = Y + (row + r) * n, m = max_of(x, n), shift = real_log(sums[r]);
            for (idx i = 0; i < n; i++) y[i] = x[i] - m - shift;
        }
    }
}

KERNEL void log_softmax_backward(idx begin, idx end, const real *G, const real *Y, real *DX, idx n) {
    for (idx row = begin; row < end; row++) {
        const real *restrict g = G + row * n, *restrict y = Y + row * n;
        real *restrict dx = DX + row * n, s = sum_of(g, n);
        for (idx i = 0; i < n; i++) dx[i] = g[i] - real_exp(y[i]) * s;
    }
}

/* -- down columns -------------------------------------------------------------------------------------------------- */

/* X is matrices (n, m). An item is a block of a matrix's columns, so few that the inner loops, which run over them, stay in the nearest cache. */
#define ABREAST 256

INLINE void down_columns(int log, idx begin, idx end, const real *X, real *Y, idx n, idx m) {
    const idx blocks = (m - 1) / ABREAST + 1;
    for (idx item = begin; item < end; item++) {
        const idx first = item % blocks * ABREAST, w = least(ABREAST, m - first), start = item / blocks * n * m + first;
        const real *restrict x = X + start;
        real *restrict y = Y + start, most[ABREAST], sums[ABREAST] = {0};
        for (idx c = 0; c < w; c++) most[c] = -(real)INFINITY;
        for (idx i = 0; i < n; i++)
            for (idx c = 0; c < w; c++) most[c] = x[i * m + c] > most[c] ? x[i * m + c] : most[c];
        for (idx i = 0; i < n; i++)
            for (idx c = 0; c < w; c++) {
                real z = x[i * m + c] - most[c], e = real_exp(z);
                y[i * m + c] = log ? z : e;
                sums[c] += e;
            }
        for (idx c = 0; c < w; c++) sums[c] = log ? real_log(sums[c]) : 1 / sums[c];
        for (idx i = 0; i < n; i++)
            for (idx c = 0; c < w; c++) y[i * m + c] = log ? y[i * m + c] - sums[c] : y[i * m + c] * sums[c];
    }
}

INLINE void down_columns_backward(int log, idx begin, idx end, const real *G, const real *Y, real *DX, idx n, idx m) {
    const idx blocks = (m - 1) / ABREAST + 1;
    for (idx item = begin; item < end; item++) {
        const idx first = item % blocks * ABREAST, w = least(ABREAST, m - first), start = item / blocks * n * m + first;
        const real *restrict g = G + start, *restrict y = Y + start;
        real *restrict dx = DX + start, sums[ABREAST] = {0};
        for (idx i = 0; i < n; i++)
            for (idx c = 0; c < w; c++) sums[c] += log ? g[i * m + c] : g[i * m + c] * y[i * m + c];
        for (idx i = 0; i < n; i++)
            for (idx c = 0; c < w; c++)
                dx[i * m + c] = log ? g[i * m + c] - real_exp(y[i * m + c]) * sums[c] : y[i * m + c] * (g[i * m + c] - sums[c]);
    }
}

KERNEL void softmax_columns(idx begin, idx end, const real *X, real *Y, idx n, idx m) { down_columns(0, begin, end, X, Y, n, m); }

KERNEL void log_softmax_columns(idx begin, idx end, const real *X, real *Y, idx n, idx m) { down_columns(1, begin, end, X, Y, n, m); }

KERNEL void softmax_columns_backward(idx begin, idx end, const real *G, const real *Y, real *DX, idx n, idx m) {
    down_columns_backward(0, begin, end, G, Y, DX, n, m);
}

KERNEL void log_softmax_columns_backward(idx begin, idx end, const real *G, const real *Y, real *DX, idx n, idx m) {
    down_columns_backward(1, begin, end, G, Y, DX, n, m);
}
