/* Normalisation over rows, groups of channels and the batch, and the derivatives; backend/kernels/plain/norm.py has the formulas.

   With d = x - mean, r = 1/√(var + ε) and y = d·r·w + b:

       dx = r·(h - Σh/n - d·r²·Σ(h·d)/n)  with h = g·w,      dw = Σ g·d·r,      db = Σ g.

   Sums over long stretches are made of sums of at most 1024 numbers, added up in double. */
#include "maths.h"

#define STRETCH 1024

/* Σ x */
static inline double sum_of(const real *restrict x, idx n) {
    double total = 0;
    for (idx a = 0; a < n; a += STRETCH) {
        real s = 0;
        idx b = least(a + STRETCH, n);
#pragma omp simd reduction(+ : s)
        for (idx i = a; i < b; i++) s += x[i];
        total += s;
    }
    return total;
}

/* Σ (x - mean)² */
static inline double squares_of(const real *restrict x, real mean, idx n) {
    double total = 0;
    for (idx a = 0; a < n; a += STRETCH) {
        real s = 0;
        idx b = least(a + STRETCH, n);
#pragma omp simd reduction(+ : s)
        for (idx i = a; i < b; i++) s += (x[i] - mean) * (x[i] - mean);
        total += s;
    }
    return total;
}

/* Σ g and Σ g·(x - mean) */
static inline void two_sums(const real *restrict g, const real *restrict x, real mean, idx n, double *sum, double *dot) {
    for (idx a = 0; a < n; a += STRETCH) {
        real s = 0, t = 0;
        idx b = least(a + STRETCH, n);
#pragma omp simd reduction(+ : s, t)
        for (idx i = a; i < b; i++) {
            s += g[i];
            t += g[i] * (x[i] - mean);
        }
        *sum += s, *dot += t;
    }
}

/* -- over rows ----------------------------------------------------------------------------------------------------- */

/* y = (x - mean)·rstd·w + b for rows of length n; w and b may be missing */
KERNEL void layer_norm(idx begin, idx end, const real *X, const real *restrict w, const real *restrict b, real *Y, real *MEAN, real *RSTD, idx n,
                       double eps) {
    for (idx row = begin; row < end; row++) {
        const real *restrict x = X + row * n;
        real *restrict y = Y + row * n;
        real mean = (real)(sum_of(x, n) / n), rstd = (real)(1 / sqrt(squares_of(x, mean, n) / n + eps));
        MEAN[row] = mean, RSTD[row] = rstd;
        if (w && b)
            for (idx i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd * w[i] + b[i];
        else if (w)
            for (idx i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd * w[i];
        else
            for (idx i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd;
        if (b && !w)
            for (idx i = 0; i < n; i++) y[i] += b[i];
    }
}

/* dx, and for each piece of rows its part of dw and db, (pieces, n) each. DX, or w, may be missing. */
KERNEL void layer_norm_backward(idx begin, idx end, const real *G, const real *X, const real *restrict w, const real *MEAN, const real *RSTD,
                                real *DX, real *DW, real *DB, idx n, idx piece) {
    real *restrict dw = DW + begin / piece * n, *restrict db = DB + begin / piece * n;
    memset(dw, 0, (size_t)n * sizeof(real));
    memset(db, 0, (size_t)n * sizeof(real));
    for (idx row = begin; row < end; row++) {
        const real *restrict g = G + row * n, *restrict x = X + row * n;
        real mean = MEAN[row], rstd = RSTD[row], s = 0, t = 0;
        if (w) {
#pragma omp simd reduction(+ : s, t)
            for (idx i = 0; i < n; i++) {
                real d = (x[i] - mean) * rstd, h = g[i] * w[i];
                dw[i] += g[i] * d;
                db[i] += g[i];
                s += h;
                t += h * d;
            }
        } else {
#pragma omp simd reduction(+ : s, t)
            for (idx i = 0; i < n; i++) {
                real d = (x[i] - mean) * rstd;
                dw[i] += g[i] * d;
                db[i] += g[i];
                s += g[i];
                t += g[i] * d;
            }
        }
        if (!DX) continue;
        real *restrict dx = DX + row * n;
        s /= n, t /= n;
        if (w)
            for (idx i = 0; i < n; i++) dx[i] = (g[i] * w[i] - s - (x[i] - mean) * rstd * t) * rstd;
        else
            for (idx i = 0; i < n; i++) dx[i] = (g[i] - s - (x[i] - mean) * rstd * t) * rstd;
    }
}

/* y = x·rstd·w with rstd = 1/√(mean(x²) + ε) */
KERNEL void rms_norm(idx begin, idx end, const real *X, const real *restrict w, real *Y, real *RSTD, idx n, double eps) {
    for (idx row = begin; row < end; row++) {
        const real *restrict x = X + row * n;
        real *restrict y = Y + row * n;
        real rstd = RSTD[row] = (real)(1 / sqrt(squares_of(x, 0, n) / n + eps));
        if (w)
            for (idx i = 0; i < n; i++) y[i] = x[i] * rstd * w[i];
        else
            for (idx i = 0; i < n; i++) y[i] = x[i] * rstd;
    }
}

/* dx = r·(h - x·r²·Σ(h·x)/n), and for each piece of rows its part of dw = Σ g·x·r: (pieces, n) */
KERNEL void rms_norm_backward(idx begin, idx end, const real *G, const real *X, const real *restrict w, const real *RSTD, real *DX, real *DW,
                              idx n, idx piece) {
    real *restrict dw = DW + begin / piece * n;
    memset(dw, 0, (size_t)n * sizeof(real));
    for (idx row = begin; row < end; row++) {
        const real *restrict g = G + row * n, *restrict x = X + row * n;
        real rstd = RSTD[row], t = 0;
#pragma omp simd reduction(+ : t)
        for (idx i = 0; i < n; i++) {
            real d = x[i] * rstd;
            dw[i] += g[i] * d;
            t += (w ? g[i] * w[i] : g[i]) * d;
        }
        if (!DX) continue;
        real *restrict dx = DX + row * n;
        t /= n;
        if (w)
            for (idx i = 0; i < n; i++) dx[i] = (g[i] * w[i] - x[i] * rstd * t) * rstd;
        else
            for (idx i = 0; i < n; i++) dx[i] = (g[i] - x[i] * rstd * t) * rstd;
    }
}

/* -- over groups of channels --------------------------------------------------------------------------------------- */

/* The rows are groups of k channels of n positions each; there are `groups` of them in a sample, and w and b have a number for each channel. */
KERNEL void group_norm(idx begin, idx end, const real *X, const real *w, const real *b, real *Y, real *MEAN, real *RSTD, idx k, idx n, idx groups,
                       double eps) {
    for (idx row = begin; row < end; row++) {
        const real *x = X + row * k * n;
        real mean = (real)(sum_of(x, k * n) / (k * n)), rstd = (real)(1 / sqrt(squares_of(x, mean, k * n) / (k * n) + eps));
        MEAN[row] = mean, RSTD[row] = rstd;
        for (idx c = 0; c < k; c++) {
            const real *restrict in = x + c * n;
            real *restrict y = Y + (row * k + c) * n;
            idx channel = row % groups * k + c;
            real scale = w ? rstd * w[channel] : rstd, shift = b ? b[channel] : 0;
            for (idx i = 0; i < n; i++) y[i] = (in[i] - mean) * scale + shift;
        }
    }
}

/* dx, and Σ g and Σ g·d·r of each sample's channels: SUMS and DOTS (samples, channels) */
KERNEL void group_norm_backward(idx begin, idx end, const real *G, const real *X, const real *w, const real *MEAN, const real *RSTD, real *DX,
                                real *SUMS, real *DOTS, idx k, idx n, idx groups) {
    for (idx row = begin; row < end; row++) {
        real mean = MEAN[row], rstd = RSTD[row];
        double total = 0, product = 0;
        for (idx c = 0; c < k; c++) {
            double sum = 0, dot = 0, share = w ? w[row % groups * k + c] : 1;
            two_sums(G + (row * k + c) * n, X + (row * k + c) * n, mean, n, &sum, &dot);
            SUMS[row * k + c] = (real)sum, DOTS[row * k + c] = (real)(dot * rstd);
            total += sum * share, product += dot * share;
        }
        if (!DX) continue;
        real s = (real)(total / (k * n)), t = (real)(product / (k * n) * rstd * rstd);
        for (idx c = 0; c < k; c++) {
            const real *restrict g = G + (row * k + c) * n, *restrict x = X + (row * k + c) * n;
            real *restrict dx = DX + (row * k + c) * n, share = w ? w[row % groups * k + c] : 1;
            for (idx i = 0; i < n; i++) dx[i] = (g[i] * share - s - (x[i] - mean) * t) * rstd;
        }
    }
}

/* -- over the batch ------------------------------------------------------------------------------------------------ */

/* Channels begin to end of X (samples, channels, n): mean, variance, y */
KERNEL void batch_norm(idx begin, idx end, const real *X, const real *w, const real *b, real *Y, real *MEAN, real *VAR, idx samples, idx channels,
                       idx n, double eps) {
    for (idx c = begin; c < end; c++) {
        double total = 0, squares = 0, count = (double)samples * n;
        for (idx k = 0; k < samples; k++) total += sum_of(X + (k * channels + c) * n, n);
        real mean = (real)(total / count);
        for (idx k = 0; k < samples; k++) squares += squares_of(X + (k * channels + c) * n, mean, n);
        real var = (real)(squares / count), rstd = (real)(1 / sqrt(var + eps)), scale = w ? rstd * w[c] : rstd, shift = b ? b[c] : 0;
        MEAN[c] = mean, VAR[c] = var;
        for (idx k = 0; k < samples; k++) {
            const real *restrict x = X + (k * channels + c) * n;
            real *restrict y = Y + (k * channels + c) * n;
            for (idx i = 0; i < n; i++) y[i] = (x[i] - mean) * scale + shift;
        }
    }
}

KERNEL void batch_norm_backward(idx begin, idx end, const real *G, const real *X, const real *w, const real *MEAN, const real *VAR, real *DX,
                                real *DW, real *DB, idx samples, idx channels, idx n, double eps) {
    for (idx c = begin; c < end; c++) {
        real mean = MEAN[c], rstd = (real)(1 / sqrt(VAR[c] + eps));
        double sum = 0, dot = 0, count = (double)samples * n;
        for (idx k = 0; k < samples; k++) two_sums(G + (k * channels + c) * n, X + (k * channels + c) * n, mean, n, &sum, &dot);
        DB[c] = (real)sum, DW[c] = (real)(dot * rstd);
        if (!DX) continue;
        real s = (real)(sum / count), t = (real)(dot / count * rstd * rstd), scale = w ? rstd * w[c] : rstd;
        for (idx k = 0; k < samples; k++) {
            const real *restrict g = G + (k * channels + c) * n, *restrict x = X + (k * channels + c) * n;
            real *restrict dx = DX + (k * channels + c) * n;
            for (idx i = 0; i < n; i++) dx[i] = (g[i] - s - (x[i] - mean) * t) * scale;
        }
    }
}

/* The same where a channel has one position, X (samples, channels): a few neighbouring channels at a time, so that the inner loop runs over them */
#define ABREAST 64

KERNEL void batch_norm_columns(idx begin, idx end, const real *X, const real *w, const real *b, real *Y, real *MEAN, real *VAR, idx samples,
                               idx channels, double eps) {
    for (idx first = begin; first < end; first += ABREAST) {
        idx n = least(ABREAST, end - first);
        real sum[ABREAST] = {0}, mean[ABREAST], scale[ABREAST], shift[ABREAST];
        for (idx k = 0; k < samples; k++) {
            const real *restrict x = X + k * channels + first;
            for (idx c = 0; c < n; c++) sum[c] += x[c];
        }
        for (idx c = 0; c < n; c++) mean[c] = sum[c] / samples, sum[c] = 0;
        for (idx k = 0; k < samples; k++) {
            const real *restrict x = X + k * channels + first;
            for (idx c = 0; c < n; c++) sum[c] += (x[c] - mean[c]) * (x[c] - mean[c]);
        }
        for (idx c = 0; c < n; c++) {
            real var = sum[c] / samples, rstd = (real)(1 / sqrt(var + eps));
            MEAN[first + c] = mean[c], VAR[first + c] = var;
            scale[c] = w ? rstd * w[first + c] : rstd, shift[c] = b ? b[first + c] : 0;
        }
        for (idx k = 0; k < samples; k++) {
            const real *restrict x = X + k * channels + first;
            real *restrict y = Y + k * channels + first;
            for (idx c = 0; c < n; c++) y[c] = (x[c] - mean[c]) * scale[c] + shift[c];
        }
    }
}

KERNEL void batch_norm_columns_backward(idx begin, idx end, const real *G, const real *X, const real *w, const real *MEAN, const real *VAR, real *DX,
                                        real *DW, real *DB, idx samples, idx channels, double eps) {
    for (idx first = begin; first < end; first += ABREAST) {
        idx n = least(ABREAST, end - first);
        real sum[ABREAST] = {0}, dot[ABREAST] = {0}, mean[ABREAST], scale[ABREAST];
        for (idx c = 0; c < n; c++) mean[c] = MEAN[first + c];
        for (idx k = 0; k < samples; k++) {
            const real *restrict g = G + k * channels + first, *restrict x = X + k * channels + first;
            for (idx c = 0; c < n; c++) {
                sum[c] += g[c];
                dot[c] += g[c] * (x[c] - mean[c]);
            }
        }
        for (idx c = 0; c < n; c++) {
            real rstd = (real)(1 / sqrt(VAR[first + c] + eps));
            DB[first + c] = sum[c], DW[first + c] = dot[c] * rstd;
            scale[c] = w ? rstd * w[first + c] : rstd, sum[c] /= samples, dot[c] *= rstd * rstd / samples;
        }
        if (!DX) continue;
        for (idx k = 0; k < samples; k++) {
            const real *restrict g = G + k * channels + first, *restrict x = X + k * channels + first;
            real *restrict dx = DX + k * channels + first;
            for (idx c = 0; c < n; c++) dx[c] = (g[c] - sum[c] - (x[c] - mean[c]) * dot[c]) * scale[c];
        }
    }
}
