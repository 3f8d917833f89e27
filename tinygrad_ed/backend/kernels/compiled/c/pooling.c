/* Pooling over planes: the largest of every window and the mean, and what they do backwards; backend/kernels/plain/pool.py has the meaning.

   X has planes of h rows of w numbers, Y of H rows of W. Output (i, j) sees through tap (k, l) of the window, which has the number k·kw + l, the input
   (i·sh + k·dh - ph, j·sw + l·dw - pw). All arguments about rows come before those about columns. */
#include "kernel.h"

#define LINE 1024                       /* outputs at a time; inputs of a row of `avg_pool` at most; a multiple of 16 */

/* The outputs j of a row that see an input through a tap, where output 0 would see the one at `first`: low <= j < high */
static inline void range(idx first, idx stride, idx inputs, idx outputs, idx *low, idx *high) {
    *low = first < 0 ? (stride - 1 - first) / stride : 0;
    *high = inputs > first ? least(outputs, (inputs - 1 - first) / stride + 1) : 0;
}

static inline void spaced(const real *restrict x, idx stride, real *restrict y, idx n) {
    for (idx j = 0; j < n; j++) y[j] = x[j * stride];
}

/* y[j] = x[first + (left + j)·stride] of a row of w inputs, -∞ beside it */
static inline void seen_by(const real *x, idx first, idx stride, idx w, real *restrict y, idx n) {
    idx low, high;
    range(first, stride, w, n, &low, &high);
    for (idx j = 0; j < least(low, n); j++) y[j] = -INFINITY;
    for (idx j = high; j < n; j++) y[j] = -INFINITY;
    if (stride == 1)
        spaced(x + first + low, 1, y + low, high - low);
    else if (stride == 2)
        spaced(x + first + low * 2, 2, y + low, high - low);
    else
        spaced(x + first + low * stride, stride, y + low, high - low);
}

/* -- the largest --------------------------------------------------------------------------------------------------- */

/* y and the number of the tap that shows it: the first of several, the last of the NaNs; where all are -∞, the first that is not padding. What a tap
   shows to a few rows of outputs is put into a line, so that the comparisons run over whole vectors. */
KERNEL void max_pool(idx begin, idx end, const real *X, real *Y, uint8_t *WHERE, idx h, idx H, idx kh, idx sh, idx ph, idx dh, idx w, idx W, idx kw,
                     idx sw, idx pw, idx dw) {
    real best[LINE], seen[LINE];
    word place[LINE];
    uint8_t number[LINE];
    const idx width = least(W, LINE), lines = LINE / width;
    for (idx plane = begin; plane < end; plane++)
        for (idx top = 0; top < H; top += lines)
            for (idx left = 0; left < W; left += width) {       /* one turn, but for rows longer than LINE */
                const idx rows = least(lines, H - top), n = least(width, W - left), vectors = least((rows * n + 15) / 16 * 16, LINE);
                for (idx j = 0; j < vectors; j++) best[j] = -INFINITY, seen[j] = 0, place[j] = 0;
                for (idx i = 0; i < rows; i++) {
                    idx above = ph - (top + i) * sh, first = above > 0 ? (above + dh - 1) / dh * kw : 0;
                    for (idx j = 0; j < n; j++) {
                        idx before = pw - (left + j) * sw;
                        place[i * n + j] = (word)least(first + (before > 0 ? (before + dw - 1) / dw : 0), kh * kw - 1);
                    }
                }
                for (word tap = 0; tap < kh * kw; tap++) {
                    for (idx i = 0; i < rows; i++) {
                        idx row = (top + i) * sh + tap / kw * dh - ph;
                        if (row >= 0 && row < h)
                            seen_by(X + (plane * h + row) * w, left * sw + tap % kw * dw - pw, sw, w, seen + i * n, n);
                        else
                            for (idx j = 0; j < n; j++) seen[i * n + j] = -INFINITY;
                    }
                    for (idx j = 0; j < vectors; j++) {
                        int better = (seen[j] > best[j]) | (seen[j] != seen[j]);
                        best[j] = better ? seen[j] : best[j];
                        place[j] = better ? tap : place[j];
                    }
                }
                for (idx j = 0; j < vectors; j++) number[j] = (uint8_t)place[j];
                memcpy(Y + (plane * H + top) * W + left, best, (size_t)(rows * n) * sizeof(real));
                memcpy(WHERE + (plane * H + top) * W + left, number, (size_t)(rows * n));
            }
}

/* 16 outputs of windows of two by two next to each other; `above` and `below` are the inputs' rows */
#define BESIDE 16
static inline void largest_of_four(const real *restrict above, const real *restrict below, real *restrict y, uint8_t *restrict where) {
#pragma omp simd
    for (int j = 0; j < BESIDE; j++) {
        real seen[4] = {above[2 * j], above[2 * j + 1], below[2 * j], below[2 * j + 1]}, best = seen[0];
        word place = 0;
        for (word tap = 1; tap < 4; tap++) {
            int better = (seen[tap] > best) | (seen[tap] != seen[tap]);
            best = better ? seen[tap] : best;
            place = better ? tap : place;
        }
        y[j] = best;
        where[j] = (uint8_t)place;
    }
}

/* The same for windows of two by two that neither overlap nor reach over the edge. Outputs are made 16 at a time, and those too many at the end of a
   row overwritten by the next row's, so they go through a few rows in the nearest cache. */
KERNEL void max_pool_of_four(idx begin, idx end, const real *X, real *Y, uint8_t *WHERE, idx h, idx H, idx w, idx W) {
    real best[LINE + BESIDE], ends[4 * BESIDE];
    uint8_t number[LINE + BESIDE];
    const real *last = X + end * h * w - 2 * BESIDE;            /* from where on reading 16 pairs would reach behind the planes */
    const idx width = least(W, LINE), lines = LINE / width;
    for (idx plane = begin; plane < end; plane++)
        for (idx top = 0; top < H; top += lines)
            for (idx left = 0; left < W; left += width) {       /* one turn, but for rows longer than LINE */
                const idx rows = least(lines, H - top), n = least(width, W - left);
                for (idx i = 0; i < rows; i++)
                    for (idx j = 0; j < n; j += BESIDE) {
                        const real *above = X + (plane * h + 2 * (top + i)) * w + 2 * (left + j), *below = above + w;
                        if (below > last) {
                            idx used = 2 * least(BESIDE, n - j);
                            for (idx k = 0; k < 2 * BESIDE; k++) ends[k] = above[k % used], ends[2 * BESIDE + k] = below[k % used];
                            above = ends, below = ends + 2 * BESIDE;
                        }
                        largest_of_four(above, below, best + i * n + j, number + i * n + j);
                    }
                memcpy(Y + (plane * H + top) * W + left, best, (size_t)(rows * n) * sizeof(real));
                memcpy(WHERE + (plane * H + top) * W + left, number, (size_t)(rows * n));
            }
}

/* Where the taps of output (0, 0) are in the plane of inputs; there are 256 at most. */
struct taps {
    idx row[256], column[256];
};

static inline void find(struct taps *taps, idx kh, idx ph, idx dh, idx kw, idx pw, idx dw) {
    for (idx k = 0; k < kh * kw; k++) taps->row[k] = k / kw * dh - ph, taps->column[k] = k % kw * dw - pw;
}

/* The place of an input, or -1 for padding */
static inline idx place_of(idx row, idx column, idx h, idx w) {
    return (size_t)row < (size_t)h && (size_t)column < (size_t)w ? row * w + column : -1;
}

/* dx: each g added where the largest was */
KERNEL void max_pool_input(idx begin, idx end, const real *G, const uint8_t *WHERE, real *DX, idx h, idx H, idx kh, idx sh, idx ph, idx dh, idx w,
                           idx W, idx kw, idx sw, idx pw, idx dw) {
    struct taps taps;
    find(&taps, kh, ph, dh, kw, pw, dw);
    for (idx plane = begin; plane < end; plane++) {
        real *restrict dx = DX + plane * h * w;
        memset(dx, 0, (size_t)(h * w) * sizeof(real));
        for (idx i = 0; i < H; i++) {
            const real *restrict g = G + (plane * H + i) * W;
            const uint8_t *restrict where = WHERE + (plane * H + i) * W;
            for (idx j = 0; j < W; j++) {
                idx place = place_of(i * sh + taps.row[where[j]], j * sw + taps.column[where[j]], h, w);
                if (place >= 0) dx[place] += g[j];
            }
        }
    }
}

/* y: the inputs at the places that were the largest */
KERNEL void max_pool_take(idx begin, idx end, const real *X, const uint8_t *WHERE, real *Y, idx h, idx H, idx kh, idx sh, idx ph, idx dh, idx w,
                          idx W, idx kw, idx sw, idx pw, idx dw) {
    struct taps taps;
    find(&taps, kh, ph, dh, kw, pw, dw);
    for (idx plane = begin; plane < end; plane++) {
        const real *restrict x = X + plane * h * w;
        for (idx i = 0; i < H; i++) {
            real *restrict y = Y + (plane * H + i) * W;
            const uint8_t *restrict where = WHERE + (plane * H + i) * W;
            for (idx j = 0; j < W; j++) {
                idx place = place_of(i * sh + taps.row[where[j]], j * sw + taps.column[where[j]], h, w);
                y[j] = place >= 0 ? x[place] : 0;
            }
        }
    }
}

/* -- the mean ------------------------------------------------------------------------------------------------------ */

static inline void gathered(const real *restrict x, idx stride, real *restrict y, idx n) {
    for (idx j = 0; j < n; j++) y[j] += x[j * stride];
}

static inline void scattered(const real *restrict g, idx stride, real *restrict x, idx n) {
    for (idx j = 0; j < n; j++) x[j * stride] += g[j];
}

/* y = rows[i]·columns[j]·Σ of the window: over its rows first, then over its columns */
KERNEL void avg_pool(idx begin, idx end, const real *X, real *Y, const real *rows, const real *columns, idx h, idx H, idx kh, idx sh, idx ph, idx w,
                     idx W, idx kw, idx sw, idx pw) {
    real sums[LINE];
    for (idx plane = begin; plane < end; plane++)
        for (idx i = 0; i < H; i++) {
            real *restrict y = Y + (plane * H + i) * W;
            idx top = i * sh - ph, bottom = least(top + kh, h);
            if (top < 0) top = 0;
            const real *restrict x = X + (plane * h + top) * w;
            if (bottom - top == 2)
                for (idx j = 0; j < w; j++) sums[j] = x[j] + x[w + j];
            else {
                for (idx j = 0; j < w; j++) sums[j] = bottom > top ? x[j] : 0;
                for (idx k = top + 1; k < bottom; k++)
                    for (idx j = 0; j < w; j++) sums[j] += x[(k - top) * w + j];
            }
            if (kw == 2 && sw == 2 && pw == 0 && 2 * W <= w) {
                for (idx j = 0; j < W; j++) y[j] = (sums[2 * j] + sums[2 * j + 1]) * (rows[i] * columns[j]);
                continue;
            }
            for (idx j = 0; j < W; j++) y[j] = 0;
            for (idx l = 0; l < kw; l++) {
                idx low, high;
                range(l - pw, sw, w, W, &low, &high);
                const real *seen = sums + (l - pw + low * sw);
                if (sw == 1)
                    gathered(seen, 1, y + low, high - low);
                else if (sw == 2)
                    gathered(seen, 2, y + low, high - low);
                else
                    gathered(seen, sw, y + low, high - low);
            }
            for (idx j = 0; j < W; j++) y[j] *= rows[i] * columns[j];
        }
}

/* dx: rows[i]·columns[j]·g added to the whole window */
KERNEL void avg_pool_input(idx begin, idx end, const real *G, real *DX, const real *rows, const real *columns, idx h, idx H, idx kh, idx sh, idx ph,
                           idx w, idx W, idx kw, idx sw, idx pw) {
    real line[LINE], parts[LINE];
    for (idx plane = begin; plane < end; plane++) {
        real *restrict dx = DX + plane * h * w;
        idx done = 0;                   /* rows that have a value */
        for (idx i = 0; i < H; i++) {
            const real *restrict g = G + (plane * H + i) * W;
            idx top = i * sh - ph, bottom = least(top + kh, h);
            if (top < 0) top = 0;
            if (kw == 2 && sw == 2 && pw == 0 && 2 * W <= w) {
                for (idx j = 0; j < W; j++) line[2 * j] = line[2 * j + 1] = g[j] * (rows[i] * columns[j]);
                for (idx j = 2 * W; j < w; j++) line[j] = 0;
            } else {
                for (idx j = 0; j < W; j++) parts[j] = g[j] * (rows[i] * columns[j]);
                for (idx j = 0; j < w; j++) line[j] = 0;
                for (idx l = 0; l < kw; l++) {
                    idx low, high;
                    range(l - pw, sw, w, W, &low, &high);
                    if (sw == 1)
                        scattered(parts + low, 1, line + (l - pw + low * sw), high - low);
                    else
                        scattered(parts + low, sw, line + (l - pw + low * sw), high - low);
                }
            }
            if (top > done) memset(dx + done * w, 0, (size_t)((top - done) * w) * sizeof(real));
            for (idx k = top; k < bottom; k++)
                if (k < done)
                    for (idx j = 0; j < w; j++) dx[k * w + j] += line[j];
                else
                    memcpy(dx + k * w, line, (size_t)w * sizeof(real));
            if (top > done) done = top;
            if (bottom > done) done = bottom;
        }
        if (done < h) memset(dx + done * w, 0, (size_t)((h - done) * w) * sizeof(real));
    }
}
