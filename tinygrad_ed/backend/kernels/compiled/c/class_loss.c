/* Cross-entropy of X (samples, classes, m), m positions with a class each, with the class numbers T (samples, m), and its derivative.

   With p = e^(x - max)/total, the loss is -log p_t = log total - (x_t - max), and what label smoothing needs is -Σ w_c·log p_c. The derivative of
   own·loss + even·smooth is p·(own + even·Σ w) - own·[c = t] - even·w_c. backend/kernels/plain/class_loss.py says what own and even are. */
#include "maths.h"

#define SHORT 64
#define TOGETHER 1024

/* e = e^(x - max) and total = Σ e for rows of n classes; short rows together, as in softmax.c */
static inline void rows_of_classes(const real *restrict X, real *restrict E, real *restrict MAX, real *restrict TOTAL, idx rows, idx n) {
    for (idx r = 0; r < rows; r++) {
        const real *restrict x = X + r * n;
        real m = -(real)INFINITY;
#pragma omp simd reduction(max : m)
        for (idx i = 0; i < n; i++) m = x[i] > m ? x[i] : m;
        for (idx i = 0; i < n; i++) E[r * n + i] = x[i] - m;
        MAX[r] = m;
    }
    for (idx i = 0; i < rows * n; i++) E[i] = real_exp(E[i]);
    for (idx r = 0; r < rows; r++) {
        const real *restrict e = E + r * n;
        real s = 0;
#pragma omp simd reduction(+ : s)
        for (idx i = 0; i < n; i++) s += e[i];
        TOTAL[r] = s;
    }
}

/* The same where the classes lie m apart: a class at a time for all positions */
static inline void planes_of_classes(const real *restrict x, real *restrict e, real *restrict max, real *restrict total, idx n, idx m) {
    for (idx j = 0; j < m; j++) max[j] = x[j], total[j] = 0;
    for (idx c = 1; c < n; c++)
        for (idx j = 0; j < m; j++) max[j] = x[c * m + j] > max[j] ? x[c * m + j] : max[j];
    for (idx c = 0; c < n; c++)
        for (idx j = 0; j < m; j++) {
            real v = real_exp(x[c * m + j] - max[j]);
            e[c * m + j] = v;
            total[j] += v;
        }
}

/* E, TOTAL, the losses, where the targets are in E, and (unless missing) SMOOTH; LOSS holds the maxima on the way */
KERNEL void cross_entropy(idx begin, idx end, const real *X, const int64_t *T, const real *w, real *E, real *TOTAL, real *LOSS, int64_t *WHERE,
                          real *SMOOTH, idx n, idx m) {
    idx step = m > 1 || n > SHORT ? 1 : TOGETHER / n;
    for (idx s = begin; s < end; s += step) {
        idx rows = least(step, end - s);
        if (m == 1)
            rows_of_classes(X + s * n, E + s * n, LOSS + s, TOTAL + s, rows, n);
        else
            planes_of_classes(X + s * n * m, E + s * n * m, LOSS + s * m, TOTAL + s * m, n, m);
        for (idx i = s * m, count; i < (s + rows) * m; i += count) {
            real log_total[TOGETHER];
            count = least(TOGETHER, (s + rows) * m - i);
            for (idx j = 0; j < count; j++) log_total[j] = real_log(TOTAL[i + j]);
            for (idx j = 0; j < count; j++) {
                const idx first = m == 1 ? (i + j) * n : s * n * m + i + j - s * m;      /* of the position's classes */
                const real max = LOSS[i + j];
                WHERE[i + j] = first + T[i + j] * m;
                LOSS[i + j] = log_total[j] - (X[WHERE[i + j]] - max);
                if (!SMOOTH) continue;
                double sum = 0;
                for (idx c = 0; c < n; c++) sum += (w ? w[c] : 1) * (log_total[j] - (X[first + c * m] - max));
                SMOOTH[i + j] = (real)sum;
            }
        }
    }
}

/* DX = g·(p·(own + even·Σ w) - own·[c = t] - even·w_c); G is one number, or one for each loss; EVEN and w may be missing */
KERNEL void cross_entropy_backward(idx begin, idx end, const real *G, const real *E, const real *TOTAL, const int64_t *WHERE, const real *OWN,
                                   const real *EVEN, const real *restrict w, real *DX, idx each, idx n, idx m) {
    double weight = n;
    if (w) {
        weight = 0;
        for (idx c = 0; c < n; c++) weight += w[c];
    }
    if (m == 1) {
        for (idx i = begin; i < end; i++) {
            const real g = G[each ? i : 0], own = g * OWN[i], even = EVEN ? g * EVEN[i] : 0, factor = (own + even * (real)weight) / TOTAL[i];
            const real *restrict e = E + i * n;
            real *restrict dx = DX + i * n;
            if (!EVEN)
                for (idx c = 0; c < n; c++) dx[c] = e[c] * factor;
            else
                for (idx c = 0; c < n; c++) dx[c] = e[c] * factor - (w ? even * w[c] : even);
            DX[WHERE[i]] -= own;
        }
        return;
    }
    for (idx s = begin; s < end; s++)                   /* a class at a time for positions side by side */
        for (idx i = s * m, count; i < (s + 1) * m; i += count) {
            real own[TOGETHER], even[TOGETHER], factor[TOGETHER];
            count = least(TOGETHER, (s + 1) * m - i);
            for (idx j = 0; j < count; j++) {
                const real g = G[each ? i + j : 0];
                own[j] = g * OWN[i + j], even[j] = EVEN ? g * EVEN[i + j] : 0, factor[j] = (own[j] + even[j] * (real)weight) / TOTAL[i + j];
            }
            for (idx c = 0; c < n; c++) {
                const idx first = (s * n + c) * m + i - s * m;
                const real *restrict e = E + first, v = w ? w[c] : 1;
                real *restrict dx = DX + first;
                for (idx j = 0; j < count; j++) dx[j] = e[j] * factor[j] - even[j] * v;
            }
            for (idx j = 0; j < count; j++) DX[WHERE[i + j]] -= own[j];
        }
}
