/* Scaled dot-product attention, y = softmax(q kᵀ·scale + mask) v, and its derivatives; backend/kernels/plain/attention.py has the formulas.

   A block of WIDTH queries and KEYS keys at a time: the scores of a block stay in the first cache, and no others are kept (Dao, Fu, Ermon, Rudra and Ré,
   2022). They lie transposed, a row for each key, so that the queries are what vector instructions run over: the largest score, the sum and the output
   of a query are numbers in a lane. With a new block of keys the largest score m may grow; what has been added up is then multiplied by e^(m - m').
   For the way back the logarithm of a query's sum is kept, ℓ = m + log Σ e^(s - m), and the weights are e^(s - ℓ) again.

   Arrays are (batch, heads, rows, numbers). STRIDES has how far batches, heads and rows are apart, three numbers each for q, k, v, the mask, and the
   outputs, or y, dy, dq, dk, dv; `heads` is how many belong to a batch. The mask is one of numbers that are added, or of bytes, 0 where hidden. KEEP
   (batch, heads, queries, keys) says which weights dropout keeps. */
#include "maths.h"
#include "product.h"

#define KEYS 128
#define MOST 256                        /* numbers of a query or a value */

/* Where head `head` of all batches' begins in an array. */
static inline idx place(const int64_t *strides, idx head, idx heads) { return head / heads * strides[0] + head % heads * strides[1]; }

/* w rows of n numbers times a factor, transposed: (n, WIDTH), with zeros up to WIDTH */
static inline void columns(const real *x, idx stride, idx w, idx n, real factor, real *restrict to) {
    for (idx j = 0; j < n; j++) {
        for (idx q = 0; q < w; q++) to[j * WIDTH + q] = x[q * stride + j] * factor;
        for (idx q = w; q < WIDTH; q++) to[j * WIDTH + q] = 0;
    }
}

/* w rows of n numbers times a factor, padded to p */
static inline void rows(const real *x, idx stride, idx w, idx n, idx p, real factor, real *restrict to) {
    for (idx q = 0; q < w; q++) {
        for (idx j = 0; j < n; j++) to[q * p + j] = x[q * stride + j] * factor;
        for (idx j = n; j < p; j++) to[q * p + j] = 0;
    }
}

/* Scores s (keys, WIDTH) of w queries, from number `query` on, and n keys, from `key` on: those that are not to be seen become -∞, numbers are added.
   The masks begin at their first query and key, and have rows `stride` apart. */
static inline void masked(real *restrict s, idx w, idx n, const real *add, const uint8_t *see, idx stride, int causal, idx query, idx key) {
    for (idx q = 0; add && q < w; q++)
        for (idx j = 0; j < n; j++) s[j * WIDTH + q] += add[q * stride + j];
    for (idx q = 0; see && q < w; q++)
        for (idx j = 0; j < n; j++) s[j * WIDTH + q] = see[q * stride + j] ? s[j * WIDTH + q] : -(real)INFINITY;
    for (idx j = causal ? (query > key ? query - key : 0) : n; j < n; j++)
        for (idx q = 0; q < least(key + j - query, WIDTH); q++) s[j * WIDTH + q] = -(real)INFINITY;
}

/* Blocks begin to end of y (queries, e) and LSE (heads, queries); each head has `blocks` of them. */
KERNEL void attention(idx begin, idx end, const real *Q, const real *K, const real *V, const real *ADD, const uint8_t *SEE, const uint8_t *KEEP, real *Y,
                      real *LSE, const int64_t *STRIDES, idx heads, idx queries, idx keys, idx d, idx e, idx causal, double scale, double keep_prob) {
    ALIGNED real qt[MOST * WIDTH], yt[MOST * WIDTH], s[KEYS * WIDTH], highest[WIDTH], base[WIDTH], factor[WIDTH], sum[WIDTH];
    idx blocks = (queries + WIDTH - 1) / WIDTH, row_q = STRIDES[2], row_k = STRIDES[5], row_v = STRIDES[8], row_m = STRIDES[11], row_y = STRIDES[14];
    for (idx block = begin; block < end; block++) {
        idx head = block / blocks, first = block % blocks * WIDTH, w = least(WIDTH, queries - first);
        const real *k = K + place(STRIDES + 3, head, heads), *v = V + place(STRIDES + 6, head, heads);
        idx mask = place(STRIDES + 9, head, heads) + first * row_m, seen = causal ? least(keys, first + w) : keys;
        columns(Q + place(STRIDES, head, heads) + first * row_q, row_q, w, d, (real)scale, qt);
        memset(yt, 0, (size_t)(e * WIDTH) * sizeof(real));
        for (idx q = 0; q < WIDTH; q++) highest[q] = -(real)INFINITY, base[q] = 0, sum[q] = 0;
        for (idx key = 0; key < seen; key += KEYS) {
            idx n = least(KEYS, seen - key);
            product(n, WIDTH, d, k + key * row_k, row_k, 1, qt, WIDTH, 0, s, WIDTH, 0);
            masked(s, w, n, ADD ? ADD + mask + key : NULL, SEE ? SEE + mask + key : NULL, row_m, (int)causal, first, key);
            for (idx q = 0; q < WIDTH; q++) factor[q] = highest[q];
            for (idx j = 0; j < n; j++)
                for (idx q = 0; q < WIDTH; q++) highest[q] = larger(s[j * WIDTH + q], highest[q]);
            for (idx q = 0; q < WIDTH; q++) {
                base[q] = highest[q] > -(real)INFINITY ? highest[q] : 0;
                factor[q] = real_exp(factor[q] - base[q]);
                sum[q] *= factor[q];
            }
            for (idx j = 0; key && j < e; j++)
                for (idx q = 0; q < WIDTH; q++) yt[j * WIDTH + q] *= factor[q];
            for (idx j = 0; j < n; j++)
                for (idx q = 0; q < WIDTH; q++) {
                    real p = real_exp(s[j * WIDTH + q] - base[q]);
                    s[j * WIDTH + q] = p;
                    sum[q] += p;
                }
            for (idx q = 0; KEEP && q < w; q++) {
                const uint8_t *keep = KEEP + (head * queries + first + q) * keys + key;
                for (idx j = 0; j < n; j++) s[j * WIDTH + q] = keep[j] ? s[j * WIDTH + q] : 0;
            }
            product(e, WIDTH, n, v + key * row_v, 1, row_v, s, WIDTH, 0, yt, WIDTH, 1);
        }
        real *y = Y + place(STRIDES + 12, head, heads) + first * row_y, *lse = LSE + head * queries + first;
        for (idx q = 0; q < w; q++) {
            real inverse = sum[q] == 0 ? 0 : 1 / (sum[q] * (real)keep_prob);
            lse[q] = sum[q] == 0 ? (real)INFINITY : base[q] + real_log(sum[q]);
            for (idx j = 0; j < e; j++) y[q * row_y + j] = sum[q] == 0 ? 0 : yt[j * WIDTH + q] * inverse;
        }
    }
}

/* Heads begin to end of dq, dk, dv and of ds (heads, queries, keys), the mask's gradient; any of them may be missing. */
KERNEL void attention_backward(idx begin, idx end, const real *DY, const real *Q, const real *K, const real *V, const real *ADD, const uint8_t *SEE,
                               const uint8_t *KEEP, const real *Y, const real *LSE, real *DQ, real *DK, real *DV, real *DS, const int64_t *STRIDES,
                               idx heads, idx queries, idx keys, idx d, idx e, idx causal, double scale, double keep_prob) {
    ALIGNED real qt[MOST * WIDTH], gt[MOST * WIDTH], dqt[MOST * WIDTH], qs[MOST * WIDTH], gs[MOST * WIDTH];
    ALIGNED real s[KEYS * WIDTH], ds[KEYS * WIDTH], kept[KEYS * WIDTH], lse[WIDTH], dots[WIDTH];
    idx row_q = STRIDES[2], row_k = STRIDES[5], row_v = STRIDES[8], row_m = STRIDES[11], row_y = STRIDES[14], row_g = STRIDES[17];
    idx row_dq = STRIDES[20], row_dk = STRIDES[23], row_dv = STRIDES[26], d_padded = padded(d), e_padded = padded(e);
    real inverse = (real)(1 / keep_prob);
    for (idx head = begin; head < end; head++) {
        const real *k = K + place(STRIDES + 3, head, heads), *v = V + place(STRIDES + 6, head, heads);
        real *dk = DK ? DK + place(STRIDES + 21, head, heads) : NULL, *dv = DV ? DV + place(STRIDES + 24, head, heads) : NULL;
        for (idx j = 0; dk && j < keys; j++) memset(dk + j * row_dk, 0, (size_t)d * sizeof(real));
        for (idx j = 0; dv && j < keys; j++) memset(dv + j * row_dv, 0, (size_t)e * sizeof(real));
        for (idx first = 0; first < queries; first += WIDTH) {
            idx w = least(WIDTH, queries - first), seen = causal ? least(keys, first + w) : keys;
            idx mask = place(STRIDES + 9, head, heads) + first * row_m;
            const real *q_rows = Q + place(STRIDES, head, heads) + first * row_q, *g = DY + place(STRIDES + 15, head, heads) + first * row_g;
            const real *y = Y + place(STRIDES + 12, head, heads) + first * row_y;
            columns(q_rows, row_q, w, d, (real)scale, qt);
            columns(g, row_g, w, e, 1, gt);
            if (dk) rows(q_rows, row_q, w, d, d_padded, (real)scale, qs);
            if (dv) rows(g, row_g, w, e, e_padded, 1, gs);
            memset(dqt, 0, (size_t)(d * WIDTH) * sizeof(real));
            for (idx q = 0; q < WIDTH; q++) {
                dots[q] = 0, lse[q] = q < w ? LSE[head * queries + first + q] : 0;
                for (idx j = 0; q < w && j < e; j++) dots[q] += g[q * row_g + j] * y[q * row_y + j];
            }
            for (idx key = 0; key < seen; key += KEYS) {
                idx n = least(KEYS, seen - key);
                product(n, WIDTH, d, k + key * row_k, row_k, 1, qt, WIDTH, 0, s, WIDTH, 0);
                masked(s, w, n, ADD ? ADD + mask + key : NULL, SEE ? SEE + mask + key : NULL, row_m, (int)causal, first, key);
                for (idx j = 0; j < n; j++)
                    for (idx q = 0; q < WIDTH; q++) s[j * WIDTH + q] = real_exp(s[j * WIDTH + q] - lse[q]);
                for (idx q = 0; KEEP && q < w; q++) {           /* what a weight's gradient is multiplied by */
                    const uint8_t *keep = KEEP + (head * queries + first + q) * keys + key;
                    for (idx j = 0; j < n; j++) kept[j * WIDTH + q] = keep[j] ? inverse : 0;
                }
                if (dk || DQ || DS) {
                    product(n, WIDTH, e, v + key * row_v, row_v, 1, gt, WIDTH, 0, ds, WIDTH, 0);
                    if (KEEP)
                        for (idx j = 0; j < n; j++)
                            for (idx q = 0; q < WIDTH; q++) ds[j * WIDTH + q] = s[j * WIDTH + q] * (ds[j * WIDTH + q] * kept[j * WIDTH + q] - dots[q]);
                    else
                        for (idx j = 0; j < n; j++)
                            for (idx q = 0; q < WIDTH; q++) ds[j * WIDTH + q] = s[j * WIDTH + q] * (ds[j * WIDTH + q] - dots[q]);
                }
                if (dv) {
                    for (idx i = 0; KEEP && i < n * WIDTH; i++) s[i] *= kept[i];
                    product(n, e, w, s, WIDTH, 1, gs, e_padded, WIDTH, dv + key * row_dv, row_dv, 1);
                }
                if (dk) product(n, d, w, ds, WIDTH, 1, qs, d_padded, WIDTH, dk + key * row_dk, row_dk, 1);
                if (DQ) product(d, WIDTH, n, k + key * row_k, 1, row_k, ds, WIDTH, 0, dqt, WIDTH, 1);
                for (idx q = 0; DS && q < w; q++)
                    for (idx j = 0; j < n; j++) DS[(head * queries + first + q) * keys + key + j] = ds[j * WIDTH + q];
            }
            if (!DQ) continue;
            real *dq = DQ + place(STRIDES + 18, head, heads) + first * row_dq;
            for (idx q = 0; q < w; q++)
                for (idx j = 0; j < d; j++) dq[q * row_dq + j] = dqt[j * WIDTH + q] * (real)scale;
        }
    }
}
