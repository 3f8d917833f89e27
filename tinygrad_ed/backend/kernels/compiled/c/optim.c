/* Steps of optimizers over flat arrays, and the sum of squares that clipping needs; backend/kernels/plain/optim.py says what the numbers are. */
#include "kernel.h"

/* g ← sign·g + decay·p */
static inline real gradient(real p, real g, real decay, real sign) { return decay != 0 ? sign * g + decay * p : sign * g; }

/* m ← β₁·m + (1 - β₁)·g;  v ← β₂·v + (1 - β₂)·g²;  p ← shrink·p - rate·m/(√v + ε), with the largest v so far for v if LARGEST is there */
KERNEL void adam_step(idx begin, idx end, real *restrict P, const real *restrict G, real *restrict M, real *restrict V, real *restrict LARGEST,
                      double rate_, double beta1, double beta2, double eps_, double decay_, double shrink_, double sign_) {
    const real rate = (real)rate_, b1 = (real)beta1, c1 = (real)(1 - beta1), b2 = (real)beta2, c2 = (real)(1 - beta2);
    const real eps = (real)eps_, decay = (real)decay_, shrink = (real)shrink_, sign = (real)sign_;
    for (idx i = begin; i < end; i++) {
        real g = gradient(P[i], G[i], decay, sign), m = b1 * M[i] + c1 * g, v = b2 * V[i] + c2 * g * g;
        M[i] = m, V[i] = v;
        if (LARGEST) {
            real most = LARGEST[i] > v ? LARGEST[i] : v;
            v = LARGEST[i] = LARGEST[i] == LARGEST[i] ? most : LARGEST[i];      /* NaN stays */
        }
        P[i] = shrink * P[i] - rate * m / (real_sqrt(v) + eps);
    }
}

/* v ← momentum·v + fresh·g;  p ← p - lr·v, or with Nesterov p - lr·(g + momentum·v);
   without V, p ← p - lr·g */
KERNEL void sgd_step(idx begin, idx end, real *restrict P, const real *restrict G, real *restrict V, double lr_, double momentum_, double fresh_,
                     double decay_, double sign_, idx nesterov) {
    const real lr = (real)lr_, momentum = (real)momentum_, fresh = (real)fresh_, decay = (real)decay_, sign = (real)sign_;
    if (!V)
        for (idx i = begin; i < end; i++) P[i] -= lr * gradient(P[i], G[i], decay, sign);
    else if (nesterov)
        for (idx i = begin; i < end; i++) {
            real g = gradient(P[i], G[i], decay, sign), v = momentum * V[i] + fresh * g;
            V[i] = v;
            P[i] -= lr * (g + momentum * v);
        }
    else
        for (idx i = begin; i < end; i++) {
            real g = gradient(P[i], G[i], decay, sign), v = momentum * V[i] + fresh * g;
            V[i] = v;
            P[i] -= lr * v;
        }
}

/* Σ x² of each piece */
KERNEL void sum_of_squares(idx begin, idx end, const real *restrict X, double *PARTS, idx piece) {
    double total = 0;
    for (idx a = begin; a < end; a += 1024) {
        real s = 0;
        idx b = least(a + 1024, end);
#pragma omp simd reduction(+ : s)
        for (idx i = a; i < b; i++) s += X[i] * X[i];
        total += s;
    }
    PARTS[begin / piece] = total;
}
