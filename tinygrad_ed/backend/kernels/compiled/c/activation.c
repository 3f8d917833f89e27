/* Activations with more than one argument; backend/kernels/plain/activation.py has the formulas. */
#include "maths.h"

/* -- halves of a dimension ----------------------------------------------------------------------------------------- */

/* y = a·s with s = σ(b), where X has pairs of a and b of n numbers each. An item is a piece, of a length, of such a pair. */
KERNEL void glu(idx begin, idx end, const real *X, real *Y, real *S, idx n, idx length) {
    const idx pieces = (n - 1) / length + 1;
    for (idx item = begin; item < end; item++) {
        const idx first = item % pieces * length, count = least(length, n - first), pair = item / pieces;
        const real *restrict a = X + 2 * pair * n + first, *restrict b = a + n;
        real *restrict y = Y + pair * n + first, *restrict s = S + pair * n + first;
        for (idx i = 0; i < count; i++) {
            s[i] = real_sigmoid(b[i]);
            y[i] = a[i] * s[i];
        }
    }
}

/* da = g·s and db = g·y·(1 - s) */
KERNEL void glu_backward(idx begin, idx end, const real *G, const real *Y, const real *S, real *DX, idx n, idx length) {
    const idx pieces = (n - 1) / length + 1;
    for (idx item = begin; item < end; item++) {
        const idx first = item % pieces * length, count = least(length, n - first), pair = item / pieces;
        const real *restrict g = G + pair * n + first, *restrict y = Y + pair * n + first, *restrict s = S + pair * n + first;
        real *restrict da = DX + 2 * pair * n + first, *restrict db = da + n;
        for (idx i = 0; i < count; i++) {
            da[i] = g[i] * s[i];
            db[i] = g[i] * (y[i] * (1 - s[i]));
        }
    }
}

/* -- a slope for each channel -------------------------------------------------------------------------------------- */

/* y = x where x > 0, w·x elsewhere, for rows of n numbers of one channel after the other */
KERNEL void prelu(idx begin, idx end, const real *X, const real *W, real *Y, idx n, idx channels) {
    for (idx row = begin; row < end; row++) {
        const real *restrict x = X + row * n, w = W[row % channels];
        real *restrict y = Y + row * n;
        for (idx i = 0; i < n; i++) {
            real z = w * x[i];
            y[i] = x[i] > 0 ? x[i] : z;
        }
    }
}

/* dx, and of each row its part of dw: the sum of g·x over what is not positive. DX may be missing. */
KERNEL void prelu_backward(idx begin, idx end, const real *G, const real *X, const real *W, real *DX, real *PARTS, idx n, idx channels) {
    for (idx row = begin; row < end; row++) {
        const real *restrict g = G + row * n, *restrict x = X + row * n, w = W[row % channels];
        double total = 0;
        for (idx first = 0, stop; first < n; first = stop) {
            real sum = 0;
            stop = least(first + 1024, n);
#pragma omp simd reduction(+ : sum)
            for (idx i = first; i < stop; i++) {
                real lost = g[i] * x[i];
                sum += x[i] > 0 ? 0 : lost;
            }
            total += sum;
        }
        PARTS[row] = (real)total;
        if (!DX) continue;
        real *restrict dx = DX + row * n;
        for (idx i = 0; i < n; i++) {
            real part = w * g[i];
            dx[i] = x[i] > 0 ? g[i] : part;
        }
    }
}
