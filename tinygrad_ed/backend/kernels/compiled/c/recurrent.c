/* LSTM, GRU and the simple RNN over whole sequences, and the derivatives; backend/kernels/plain/recurrent.py has the formulas.

   Sequences have nothing to do with each other, so a thread takes a few of them through all steps: one call for a whole layer, and nobody waits for
   anybody between steps. The states live in the arrays of the last states, (sequences, hidden): a sequence that has not begun or has ended is not
   touched there, which is all that different lengths need. Step t has SIZES[t] rows from row OFFSETS[t] on, the longest sequences first.

   Weights come in panels, see product.h. */
#include "maths.h"
#include "product.h"

#define DEPTH 128                       /* steps of a sum that are done at a time: as many rows of a panel stay in the first cache */

/* -- products for all rows ----------------------------------------------------------------------------------------- */

/* Panels begin to end of B (K, n), whose element (k, j) is at B[k·row + j·column] */
KERNEL void pack(idx begin, idx end, const real *B, real *PANELS, idx K, idx n, idx row, idx column) {
    for (idx p = begin; p < end; p++) {
        idx w = least(WIDTH, n - p * WIDTH);
        const real *b = B + p * WIDTH * column;
        real *to = PANELS + p * PACKED(K);
        for (idx k = 0; k < K; k++, to += WIDTH) {
            for (idx j = 0; j < w; j++) to[j] = b[k * row + j * column];
            for (idx j = w; j < WIDTH; j++) to[j] = 0;
        }
    }
}

/* Rows of C (m, n) = Aᵀ·B for A (K, m) and packed B (K, n), and of C2 = Aᵀ·B2 if that is wanted too. A's rows are `stride` apart and begin at column
   `first`. */
KERNEL void columns_product(idx begin, idx end, const real *A, const real *B, const real *B2, real *C, real *C2, idx n, idx n2, idx K, idx stride,
                            idx first) {
    for (idx k = 0; k < K; k += DEPTH) {
        idx depth = least(DEPTH, K - k);
        const real *a = A + k * stride + first + begin;
        product(end - begin, n, depth, a, 1, stride, B + k * WIDTH, WIDTH, PACKED(K), C + begin * n, n, k > 0);
        if (C2) product(end - begin, n2, depth, a, 1, stride, B2 + k * WIDTH, WIDTH, PACKED(K), C2 + begin * n2, n2, k > 0);
    }
}

/* -- gates --------------------------------------------------------------------------------------------------------- */

/* tanh x to 4e-7 of it: for floats x·P(x²)/Q(x²), fitted to tanh in [0, 9], beyond which it is 1 */
static inline real bounded(real x) {
#ifdef FLOAT
    word sign = to_bits(x) & INT32_MIN;
    real c = smaller(9, from_bits(to_bits(x) ^ sign)), v = c * c, p = 1.3176902e-08f, q = 7.7037873e-07f;
    p = p * v + 2.0480725e-05f, q = q * v + 3.2728740e-04f;
    p = p * v + 3.4877828e-03f, q = q * v + 2.5847281e-02f;
    p = p * v + 1.3374452e-01f, q = q * v + 4.6707765e-01f;
    p = p * v + 1, q = q * v + 1;
    return from_bits(to_bits(smaller(1, c * p / q)) | sign);
#else
    return real_tanh(x);
#endif
}

/* The logistic function, σ(x) = (1 + tanh(x/2))/2 */
static inline real gate(real x) { return (real)0.5 + (real)0.5 * bounded((real)0.5 * x); }

/* -- steps --------------------------------------------------------------------------------------------------------- */

/* The step before or after step t, -1 if there is none. */
static inline idx previous(idx t, idx steps, idx reverse) { return reverse ? (t + 1 < steps ? t + 1 : -1) : t - 1; }

/* The row of `states` that sequence i began step t with, or that of `start`. */
static inline const real *state_before(const real *states, const real *start, const int64_t *SIZES, const int64_t *OFFSETS, idx before, idx i, idx n) {
    return before >= 0 && i < SIZES[before] ? states + (OFFSETS[before] + i) * n : start + i * n;
}

/* A row into the panels of a matrix of `rows` rows */
static inline void pack_row(real *restrict panels, const real *restrict x, idx row, idx rows, idx n) {
    for (idx j = 0; j < n; j += WIDTH) {
        idx w = least(WIDTH, n - j);
        real *restrict to = panels + j * rows + row * WIDTH;
        for (idx l = 0; l < w; l++) to[l] = x[j + l];
        for (idx l = w; l < WIDTH; l++) to[l] = 0;
    }
}

/* -- LSTM ---------------------------------------------------------------------------------------------------------- */

/* GATES (rows, 4·n) become i, f, g, o, from the inputs X and the bias B; CELLS and TANHS are of all rows too. Unless these three are to be kept they have
   memory for a step alone, (sequences, …). H and C hold the first states and become the last. W, V and R are packed; with R, a projection to m numbers,
   INNER (sequences, n) is memory for o·tanh c. Without X, here and below, the products W x are there already. */
KERNEL void lstm(idx begin, idx end, const int64_t *SIZES, const int64_t *OFFSETS, const real *X, const real *W, const real *B, const real *V,
                 const real *R, real *INNER, real *GATES, real *Y, real *CELLS, real *TANHS, real *H, real *C, idx steps, idx inputs, idx n, idx m,
                 idx reverse, idx keep) {
    const real *restrict bi = B, *restrict bf = B + n, *restrict bg = B + 2 * n, *restrict bo = B + 3 * n;
    for (idx s = 0; s < steps; s++) {
        idx t = reverse ? steps - 1 - s : s, stop = least(end, SIZES[t]), first = keep ? OFFSETS[t] : 0;
        if (stop <= begin) continue;
        real *gates = GATES + (first + begin) * 4 * n;
        if (X) product(stop - begin, 4 * n, inputs, X + (OFFSETS[t] + begin) * inputs, inputs, 1, W, WIDTH, PACKED(inputs), gates, 4 * n, 0);
        product(stop - begin, 4 * n, m, H + begin * m, m, 1, V, WIDTH, PACKED(m), gates, 4 * n, 1);
        for (idx k = begin; k < stop; k++) {
            real *restrict i = GATES + (first + k) * 4 * n, *restrict f = i + n, *restrict g = f + n, *restrict o = g + n;
            real *restrict state = C + k * n, *restrict cell = CELLS + (first + k) * n, *restrict th = TANHS + (first + k) * n;
            real *restrict out = (R ? INNER : H) + k * n;
#pragma omp simd
            for (idx j = 0; j < n; j++) {
                real a = gate(i[j] + bi[j]), b = gate(f[j] + bf[j]), d = bounded(g[j] + bg[j]), e = gate(o[j] + bo[j]), c = b * state[j] + a * d;
                real r = bounded(c);
                i[j] = a, f[j] = b, g[j] = d, o[j] = e;
                state[j] = cell[j] = c, th[j] = r, out[j] = e * r;
            }
        }
        if (R) product(stop - begin, m, n, INNER + begin * n, n, 1, R, WIDTH, PACKED(n), H + begin * m, m, 0);
        memcpy(Y + (OFFSETS[t] + begin) * m, H + begin * m, (size_t)((stop - begin) * m) * sizeof(real));
    }
}

/* D (rows, 4·n), the gradients of W x + b, and DB (pieces, 4·n), sums of its rows. DH and DC hold the gradients of the last states and become those of
   the first. V is the packed w_hh. BEFORE, if wanted: the state that each row began with, packed. With a packed projection R, DYS (rows, m) are the
   whole gradients of the states, INNER (sequences, n) is memory. DX, if wanted, are the gradients of the inputs, W the packed w_ih. */
KERNEL void lstm_backward(idx begin, idx end, const int64_t *SIZES, const int64_t *OFFSETS, const real *V, const real *R, real *INNER,
                          const real *GATES, const real *Y, const real *CELLS, const real *TANHS, const real *H, const real *C, const real *DY,
                          real *DH, real *DC, real *D, real *DB, real *DYS, real *BEFORE, const real *W, real *DX, idx steps, idx rows, idx inputs,
                          idx n, idx m, idx reverse, idx piece) {
    real *restrict db = DB + begin / piece * 4 * n;
    memset(db, 0, (size_t)(4 * n) * sizeof(real));
    for (idx s = 0; s < steps; s++) {
        idx t = reverse ? s : steps - 1 - s, stop = least(end, SIZES[t]), before = previous(t, steps, reverse);
        if (stop <= begin) continue;
        idx first = OFFSETS[t] + begin, count = stop - begin;
        for (idx j = 0; j < count * m; j++) DH[begin * m + j] += DY[first * m + j];
        if (R) {
            memcpy(DYS + first * m, DH + begin * m, (size_t)(count * m) * sizeof(real));
            product(count, n, m, DH + begin * m, m, 1, R, WIDTH, PACKED(m), INNER + begin * n, n, 0);
        }
        for (idx k = begin; k < stop; k++) {
            idx row = OFFSETS[t] + k;
            const real *restrict i = GATES + row * 4 * n, *restrict f = i + n, *restrict g = f + n, *restrict o = g + n;
            const real *restrict th = TANHS + row * n, *restrict c = state_before(CELLS, C, SIZES, OFFSETS, before, k, n);
            const real *restrict dh = (R ? INNER : DH) + k * n;
            real *restrict dc = DC + k * n, *restrict di = D + row * 4 * n, *restrict df = di + n, *restrict dg = df + n, *restrict d_o = dg + n;
#pragma omp simd
            for (idx j = 0; j < n; j++) {
                real e = dc[j] + dh[j] * ((1 - th[j] * th[j]) * o[j]);
                d_o[j] = dh[j] * (th[j] * (o[j] - o[j] * o[j]));
                di[j] = e * (g[j] * (i[j] - i[j] * i[j]));
                df[j] = e * (c[j] * (f[j] - f[j] * f[j]));
                dg[j] = e * (i[j] * (1 - g[j] * g[j]));
                dc[j] = e * f[j];
            }
            for (idx j = 0; j < 4 * n; j++) db[j] += di[j];
            if (BEFORE) pack_row(BEFORE, state_before(Y, H, SIZES, OFFSETS, before, k, m), row, rows, m);
        }
        product(count, m, 4 * n, D + first * 4 * n, 4 * n, 1, V, WIDTH, PACKED(4 * n), DH + begin * m, m, 0);
        if (DX) product(count, inputs, 4 * n, D + first * 4 * n, 4 * n, 1, W, WIDTH, PACKED(4 * n), DX + first * inputs, inputs, 0);
    }
}

/* -- GRU ----------------------------------------------------------------------------------------------------------- */

/* GATES (rows, 3·n) become r, z, n, from the inputs X and the bias B; INNER (rows, n) becomes V h + e of n, of which U is V. Unless these two are to be
   kept they have memory for a step alone, (sequences, …). H holds the first states and becomes the last. */
KERNEL void gru(idx begin, idx end, const int64_t *SIZES, const int64_t *OFFSETS, const real *X, const real *W, const real *B, const real *V,
                const real *U, const real *E, real *GATES, real *Y, real *INNER, real *H, idx steps, idx inputs, idx n, idx reverse, idx keep) {
    const real *restrict br = B, *restrict bz = B + n, *restrict bn = B + 2 * n;
    for (idx s = 0; s < steps; s++) {
        idx t = reverse ? steps - 1 - s : s, stop = least(end, SIZES[t]), first = keep ? OFFSETS[t] : 0;
        if (stop <= begin) continue;
        real *gates = GATES + (first + begin) * 3 * n;
        if (X) product(stop - begin, 3 * n, inputs, X + (OFFSETS[t] + begin) * inputs, inputs, 1, W, WIDTH, PACKED(inputs), gates, 3 * n, 0);
        product(stop - begin, 2 * n, n, H + begin * n, n, 1, V, WIDTH, PACKED(n), gates, 3 * n, 1);
        product(stop - begin, n, n, H + begin * n, n, 1, U, WIDTH, PACKED(n), INNER + (first + begin) * n, n, 0);
        for (idx k = begin; k < stop; k++) {
            real *restrict r = GATES + (first + k) * 3 * n, *restrict z = r + n, *restrict new = z + n, *restrict h = H + k * n;
            real *restrict y = Y + (OFFSETS[t] + k) * n, *restrict inner = INNER + (first + k) * n;
#pragma omp simd
            for (idx j = 0; j < n; j++) {
                real a = gate(r[j] + br[j]), b = gate(z[j] + bz[j]), c = inner[j] + E[j], d = bounded(new[j] + bn[j] + a * c);
                r[j] = a, z[j] = b, new[j] = d, inner[j] = c;
                h[j] = y[j] = d + b * (h[j] - d);
            }
        }
    }
}

/* D (rows, 4·n), the gradients of V h + e inside n, of r, z and n, and DB (pieces, 4·n), sums of its rows. V is packed from the rows of w_hh for n, r,
   z. DH holds the gradients of the last states and becomes those of the first. BEFORE, W and DX as above. */
KERNEL void gru_backward(idx begin, idx end, const int64_t *SIZES, const int64_t *OFFSETS, const real *V, const real *GATES, const real *Y,
                         const real *INNER, const real *H, const real *DY, real *DH, real *D, real *DB, real *BEFORE, const real *W, real *DX,
                         idx steps, idx rows, idx inputs, idx n, idx reverse, idx piece) {
    real *restrict db = DB + begin / piece * 4 * n;
    memset(db, 0, (size_t)(4 * n) * sizeof(real));
    for (idx s = 0; s < steps; s++) {
        idx t = reverse ? s : steps - 1 - s, stop = least(end, SIZES[t]), before = previous(t, steps, reverse);
        if (stop <= begin) continue;
        for (idx k = begin; k < stop; k++) {
            idx row = OFFSETS[t] + k;
            const real *restrict r = GATES + row * 3 * n, *restrict z = r + n, *restrict new = z + n, *restrict inner = INNER + row * n;
            const real *restrict dy = DY + row * n, *restrict h = state_before(Y, H, SIZES, OFFSETS, before, k, n);
            real *restrict dh = DH + k * n, *restrict di = D + row * 4 * n, *restrict dr = di + n, *restrict dz = dr + n, *restrict dn = dz + n;
#pragma omp simd
            for (idx j = 0; j < n; j++) {
                real g = dh[j] + dy[j], a = g * ((1 - new[j] * new[j]) * (1 - z[j])), b = a * r[j];
                dn[j] = a, di[j] = b;
                dr[j] = b * ((1 - r[j]) * inner[j]);
                dz[j] = g * ((z[j] - z[j] * z[j]) * (h[j] - new[j]));
                dh[j] = g * z[j];
            }
            for (idx j = 0; j < 4 * n; j++) db[j] += di[j];
            if (BEFORE) pack_row(BEFORE, h, row, rows, n);
        }
        const real *d = D + (OFFSETS[t] + begin) * 4 * n;
        product(stop - begin, n, 3 * n, d, 4 * n, 1, V, WIDTH, PACKED(3 * n), DH + begin * n, n, 1);
        if (DX)
            product(stop - begin, inputs, 3 * n, d + n, 4 * n, 1, W, WIDTH, PACKED(3 * n), DX + (OFFSETS[t] + begin) * inputs, inputs, 0);
    }
}

/* -- the simple RNN ------------------------------------------------------------------------------------------------ */

/* Y (rows, n) becomes the states, from the inputs X and the bias B; H holds the first states and becomes the last. */
KERNEL void rnn(idx begin, idx end, const int64_t *SIZES, const int64_t *OFFSETS, const real *X, const real *W, const real *B, const real *V, real *Y,
                real *H, idx steps, idx inputs, idx n, idx relu, idx reverse) {
    for (idx s = 0; s < steps; s++) {
        idx t = reverse ? steps - 1 - s : s, stop = least(end, SIZES[t]), count = (stop - begin) * n;
        if (stop <= begin) continue;
        real *restrict y = Y + (OFFSETS[t] + begin) * n, *restrict h = H + begin * n;
        if (X) product(stop - begin, n, inputs, X + (OFFSETS[t] + begin) * inputs, inputs, 1, W, WIDTH, PACKED(inputs), y, n, 0);
        product(stop - begin, n, n, h, n, 1, V, WIDTH, PACKED(n), y, n, 1);
        for (idx k = 0; k < count; k += n)
            for (idx j = 0; j < n; j++) y[k + j] += B[j];
        if (relu)
            for (idx j = 0; j < count; j++) y[j] = y[j] < 0 ? 0 : y[j];
        else
#pragma omp simd
            for (idx j = 0; j < count; j++) y[j] = bounded(y[j]);
        memcpy(h, y, (size_t)count * sizeof(real));
    }
}

/* D (rows, n), the gradients of W x + b, and DB (pieces, n), sums of its rows; the rest as above. */
KERNEL void rnn_backward(idx begin, idx end, const int64_t *SIZES, const int64_t *OFFSETS, const real *V, const real *Y, const real *H, const real *DY,
                         real *DH, real *D, real *DB, real *BEFORE, const real *W, real *DX, idx steps, idx rows, idx inputs, idx n, idx relu,
                         idx reverse, idx piece) {
    real *restrict db = DB + begin / piece * n;
    memset(db, 0, (size_t)n * sizeof(real));
    for (idx s = 0; s < steps; s++) {
        idx t = reverse ? s : steps - 1 - s, stop = least(end, SIZES[t]), before = previous(t, steps, reverse);
        if (stop <= begin) continue;
        for (idx k = begin; k < stop; k++) {
            idx row = OFFSETS[t] + k;
            const real *restrict y = Y + row * n, *restrict dy = DY + row * n, *restrict dh = DH + k * n;
            real *restrict d = D + row * n;
            if (relu)
                for (idx j = 0; j < n; j++) d[j] = (real)(y[j] > 0) * (dh[j] + dy[j]);
            else
                for (idx j = 0; j < n; j++) d[j] = (1 - y[j] * y[j]) * (dh[j] + dy[j]);
            for (idx j = 0; j < n; j++) db[j] += d[j];
            if (BEFORE) pack_row(BEFORE, state_before(Y, H, SIZES, OFFSETS, before, k, n), row, rows, n);
        }
        const real *d = D + (OFFSETS[t] + begin) * n;
        product(stop - begin, n, n, d, n, 1, V, WIDTH, PACKED(n), DH + begin * n, n, 0);
        if (DX) product(stop - begin, inputs, n, d, n, 1, W, WIDTH, PACKED(n), DX + (OFFSETS[t] + begin) * inputs, inputs, 0);
    }
}
