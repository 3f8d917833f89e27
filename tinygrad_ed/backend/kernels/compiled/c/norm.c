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

/* y before a ReLU. The way back asks it again where y > 0, instead of keeping y. */
static inline real shifted(real x, real mean, real scale, real shift) { return (x - mean) * scale + shift; }

/* What of g comes back through the ReLU: all where y > 0, and everywhere if `open`, -1, says that there is none */
static inline real through(word open, real y, real g) { return from_bits(to_bits(g) & (open | -(word)(y > 0))); }

/* Sums over a block of a channel, some rows of n numbers `step` apart. They are made in LANES parts, which are put together once per block, since rows
   are often short. */
#define LANES 64
#define MOST (1 << 12)                  /* numbers in a block */

INLINE double together(real *parts) {
    double total = 0;
    for (int half = LANES / 2; half >= 16; half /= 2)
        for (int j = 0; j < half; j++) parts[j] += parts[j + half];
    for (int j = 0; j < 16; j++) total += parts[j];
    return total;
}

/* Σ (x - mean) and Σ (x - mean)² */
INLINE void block_moments(const real *restrict x, idx rows, idx step, idx n, real mean, double *sum, double *square) {
    real s[LANES] = {0}, t[LANES] = {0};
    for (idx k = 0; k < rows; k++, x += step)
        for (idx i = 0; i < n; i += LANES) {
            const real *from = x + i;
            if (i + LANES <= n)
                for (int j = 0; j < LANES; j++) s[j] += from[j] - mean, t[j] += (from[j] - mean) * (from[j] - mean);
            else
                for (int j = 0; j < n - i; j++) s[j] += from[j] - mean, t[j] += (from[j] - mean) * (from[j] - mean);
        }
    *sum = together(s), *square = together(t);
}

/* Σ h and Σ h·(x - mean) for what comes back through the ReLU, h */
INLINE void block_sums(const real *restrict g, const real *restrict x, idx rows, idx step, idx n, word open, real mean, real scale, real shift,
                              double *sum, double *dot) {
    real s[LANES] = {0}, t[LANES] = {0};
    for (idx k = 0; k < rows; k++, x += step, g += step)
        for (idx i = 0; i < n; i += LANES) {
            const real *seen = x + i, *coming = g + i;
            if (i + LANES <= n)
                for (int j = 0; j < LANES; j++) {
                    real h = through(open, shifted(seen[j], mean, scale, shift), coming[j]);
                    s[j] += h, t[j] += h * (seen[j] - mean);
                }
            else
                for (int j = 0; j < n - i; j++) {
                    real h = through(open, shifted(seen[j], mean, scale, shift), coming[j]);
                    s[j] += h, t[j] += h * (seen[j] - mean);
                }
        }
    *sum += together(s), *dot += together(t);
}

/* Mean and variance of a channel in one pass: those of its blocks, put together as by Chan, Golub and LeVeque (1983). A block's are found from
   distances to the mean so far, which is so near that nothing is lost in their squares. */
INLINE void moments(const real *x, idx samples, idx step, idx n, real *mean, real *var) {
    double so_far = sum_of(x, least(n, LANES)) / least(n, LANES), total = 0, before = 0, squares = 0;
    const idx length = least(n, MOST), rows = MOST / length;
    for (idx k = 0; k < samples; k += rows)
        for (idx i = 0; i < n; i += length) {
            const idx high = least(rows, samples - k), wide = least(length, n - i);
            const real near = isfinite(so_far) ? (real)so_far : 0;
            double sum, square, count = (double)(high * wide);
            block_moments(x + k * step + i, high, step, wide, near, &sum, &square);
            double away = near + sum / count - so_far;
            squares += square - sum * sum / count + away * away * count * before / (before + count);
            total += near * count + sum, before += count, so_far = total / before;
        }
    *mean = (real)so_far, *var = (real)(squares / before);
}

/* Channels begin to end of X (samples, channels, n): mean, variance, y, or of that the ReLU */
KERNEL void batch_norm(idx begin, idx end, const real *X, const real *w, const real *b, real *Y, real *MEAN, real *VAR, idx samples, idx channels,
                       idx n, double eps, idx relu) {
    const real lowest = relu ? 0 : -(real)INFINITY;
    for (idx c = begin; c < end; c++) {
        moments(X + c * n, samples, channels * n, n, MEAN + c, VAR + c);
        real mean = MEAN[c], rstd = (real)(1 / sqrt(VAR[c] + eps)), scale = w ? rstd * w[c] : rstd, shift = b ? b[c] : 0;
        for (idx k = samples - 1; k >= 0; k--) {                /* the last ones are still in the cache */
            const real *restrict x = X + (k * channels + c) * n;
            real *restrict y = Y + (k * channels + c) * n;
            for (idx i = 0; i < n; i++) {
                real v = shifted(x[i], mean, scale, shift);
                y[i] = v < lowest ? lowest : v;
            }
        }
    }
}

KERNEL void batch_norm_backward(idx begin, idx end, const real *G, const real *X, const real *w, const real *b, const real *MEAN, const real *VAR,
                                real *DX, real *DW, real *DB, idx samples, idx channels, idx n, double eps, idx relu) {
    const word open = relu ? 0 : -1;
    const idx length = least(n, MOST), rows = MOST / length;
    for (idx c = begin; c < end; c++) {
        real mean = MEAN[c], rstd = (real)(1 / sqrt(VAR[c] + eps)), scale = w ? rstd * w[c] : rstd, shift = b ? b[c] : 0;
        double sum = 0, dot = 0, count = (double)samples * n;
        for (idx k = 0; k < samples; k += rows)
            for (idx i = 0; i < n; i += length) {
                const idx at = (k * channels + c) * n + i;
                block_sums(G + at, X + at, least(rows, samples - k), channels * n, least(length, n - i), open, mean, scale, shift, &sum, &dot);
            }
        DB[c] = (real)sum, DW[c] = (real)(dot * rstd);
        if (!DX) continue;
        real s = (real)(sum / count), t = (real)(dot / count * rstd * rstd);
        for (idx k = samples - 1; k >= 0; k--) {
            const real *restrict g = G + (k * channels + c) * n, *restrict x = X + (k * channels + c) * n;
            real *restrict dx = DX + (k * channels + c) * n;
            for (idx i = 0; i < n; i++)
                dx[i] = (through(open, shifted(x[i], mean, scale, shift), g[i]) - s - (x[i] - mean) * t) * scale;
        }
    }
}

/* The same where a channel has one position, X (samples, channels): a few neighbouring channels at a time, so that the inner loop runs over them */
#define ABREAST 64

KERNEL void batch_norm_columns(idx begin, idx end, const real *X, const real *w, const real *b, real *Y, real *MEAN, real *VAR, idx samples,
                               idx channels, double eps, idx relu) {
    const real lowest = relu ? 0 : -(real)INFINITY;
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
            for (idx c = 0; c < n; c++) {
                real v = shifted(x[c], mean[c], scale[c], shift[c]);
                y[c] = v < lowest ? lowest : v;
            }
        }
    }
}

KERNEL void batch_norm_columns_backward(idx begin, idx end, const real *G, const real *X, const real *w, const real *b, const real *MEAN,
                                        const real *VAR, real *DX, real *DW, real *DB, idx samples, idx channels, double eps, idx relu) {
    const word open = relu ? 0 : -1;
    for (idx first = begin; first < end; first += ABREAST) {
        idx n = least(ABREAST, end - first);
        real sum[ABREAST] = {0}, dot[ABREAST] = {0}, mean[ABREAST], rstd[ABREAST], scale[ABREAST], shift[ABREAST];
        for (idx c = 0; c < n; c++) {
            mean[c] = MEAN[first + c], rstd[c] = (real)(1 / sqrt(VAR[first + c] + eps));
            scale[c] = w ? rstd[c] * w[first + c] : rstd[c], shift[c] = b ? b[first + c] : 0;
        }
        for (idx k = 0; k < samples; k++) {
            const real *restrict g = G + k * channels + first, *restrict x = X + k * channels + first;
            for (idx c = 0; c < n; c++) {
                real h = through(open, shifted(x[c], mean[c], scale[c], shift[c]), g[c]);
                sum[c] += h;
                dot[c] += h * (x[c] - mean[c]);
            }
        }
        for (idx c = 0; c < n; c++) {
            DB[first + c] = sum[c], DW[first + c] = dot[c] * rstd[c];
            sum[c] /= samples, dot[c] *= rstd[c] * rstd[c] / samples;
        }
        if (!DX) continue;
        for (idx k = 0; k < samples; k++) {
            const real *restrict g = G + k * channels + first, *restrict x = X + k * channels + first;
            real *restrict dx = DX + k * channels + first;
            for (idx c = 0; c < n; c++)
                dx[c] = (through(open, shifted(x[c], mean[c], scale[c], shift[c]), g[c]) - sum[c] - (x[c] - mean[c]) * dot[c]) * scale[c];
        }
    }
}

/* y, or its ReLU, with a mean and a scale that are given: rows of n positions of a channel, or of n = 1 of all channels */
KERNEL void fixed_norm(idx begin, idx end, const real *X, const real *mean, const real *scale, const real *b, real *Y, idx channels, idx n, idx relu) {
    const real lowest = relu ? 0 : -(real)INFINITY;
    const idx length = n == 1 ? channels : n;
    for (idx row = begin; row < end; row++) {
        const real *restrict x = X + row * length;
        real *restrict y = Y + row * length;
        if (n == 1)
            for (idx c = 0; c < length; c++) {
                real v = shifted(x[c], mean[c], scale[c], b ? b[c] : 0);
                y[c] = v < lowest ? lowest : v;
            }
        else
            for (idx c = row % channels, i = 0; i < length; i++) {
                real v = shifted(x[i], mean[c], scale[c], b ? b[c] : 0);
                y[i] = v < lowest ? lowest : v;
            }
    }
}
