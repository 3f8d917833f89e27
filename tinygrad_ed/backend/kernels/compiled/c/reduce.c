/* Reductions: X (outer, n, m) becomes Y (outer, m), and running sums. backend/kernels/plain/reduce.py has the formulas.

       ADD           Σ x / divisor
       SQUARES       Σ (x - c)² / divisor
       EXPONENTIALS  Σ e^(x - c)
       LARGEST       max x
       SMALLEST      min x

   with a center c for each number of Y, or 0. NaN comes out where it goes in. An item of the work is one chunk of `height` of the n, for one row or for
   LANES columns side by side, and Y is (outer, chunks, m): where there are several chunks, it is reduced once more. A chunk is summed in many parts of
   at most ROUNDS numbers one after the other, most of which are put together in double. */
#include "maths.h"

#define LANES 512                       /* as in ../reduce.py */
#define ROUNDS 64
#define SIDE 16                         /* numbers of a row that are taken at once */
#define TOGETHER 1024                   /* exponentials that are made at once, of several short rows */

enum { ADD, SQUARES, EXPONENTIALS, LARGEST, SMALLEST };

INLINE real start(int what) { return what == LARGEST ? -(real)INFINITY : what == SMALLEST ? (real)INFINITY : 0; }

/* What becomes of s when x comes. No comparison holds with NaN, so once it is there it stays. */
INLINE real with(int what, real s, real x, real c) {
    real kept = x != x ? x : s, d = x - c;
    if (what == LARGEST) return x > kept ? x : kept;
    if (what == SMALLEST) return x < kept ? x : kept;
    return s + (what == SQUARES ? d * d : what == EXPONENTIALS ? real_exp(d) : x);
}

/* Two results put together */
INLINE double both(int what, double s, double t) {
    double kept = t != t ? t : s;
    if (what == LARGEST) return t > kept ? t : kept;
    if (what == SMALLEST) return t < kept ? t : kept;
    return s + t;
}

/* -- rows ---------------------------------------------------------------------------------------------------------- */

/* SIDE results put together; NaN is looked for apart, since a maximum knows none */
INLINE real together(int what, const real *s) {
    real t = start(what);
    word lost = 0;
    if (what == LARGEST) {
#pragma omp simd reduction(max : t) reduction(| : lost)
        for (int j = 0; j < SIDE; j++) t = s[j] > t ? s[j] : t, lost |= s[j] != s[j];
    } else if (what == SMALLEST) {
#pragma omp simd reduction(min : t) reduction(| : lost)
        for (int j = 0; j < SIDE; j++) t = s[j] < t ? s[j] : t, lost |= s[j] != s[j];
    } else {
#pragma omp simd reduction(+ : t)
        for (int j = 0; j < SIDE; j++) t += s[j];
    }
    return lost ? (real)NAN : t;
}

/* A stretch of a row: 4·SIDE numbers at once, then SIDE, and what is left as the last of SIDE that are read once more */
INLINE real stretch_of(int what, const real *restrict x, idx n, real c) {
    real s[4 * SIDE];
    idx i = 0;
    if (n < SIDE) {
        real t = start(what);
        for (; i < n; i++) t = with(what, t, x[i], c);
        return t;
    }
    if (n < 4 * SIDE) {
        for (int j = 0; j < SIDE; j++) s[j] = start(what);
    } else {
        for (int j = 0; j < 4 * SIDE; j++) s[j] = start(what);
        for (; i + 4 * SIDE <= n; i += 4 * SIDE)
            for (int j = 0; j < 4 * SIDE; j++) s[j] = with(what, s[j], x[i + j], c);
        for (int half = 2 * SIDE; half >= SIDE; half /= 2)
#pragma omp simd
            for (int j = 0; j < half; j++) s[j] = (real)both(what, s[j], s[j + half]);
    }
    for (; i + SIDE <= n; i += SIDE)
#pragma omp simd
        for (int j = 0; j < SIDE; j++) s[j] = with(what, s[j], x[i + j], c);
    const int known = SIDE - (int)(n - i);
    if (i < n)
#pragma omp simd
        for (int j = 0; j < SIDE; j++) {
            real v = with(what, s[j], x[n - SIDE + j], c);
            s[j] = j < known ? s[j] : v;
        }
    return together(what, s);
}

INLINE double row_of(int what, const real *x, idx n, real c) {
    const idx most = 4 * SIDE * ROUNDS;
    double s = stretch_of(what, x, least(most, n), c);
    for (idx i = most; i < n; i += most) s = both(what, s, stretch_of(what, x + i, least(most, n - i), c));
    return s;
}

/* Σ e^(x - c) of `rows` short rows */
INLINE void exponentials_of(const real *restrict x, const real *restrict c, real *restrict y, idx rows, idx n) {
    real z[TOGETHER];
    for (idx r = 0; r < rows; r++)
        for (idx i = 0; i < n; i++) z[r * n + i] = x[r * n + i] - c[r];
    for (idx i = 0; i < rows * n; i++) z[i] = real_exp(z[i]);
    for (idx r = 0; r < rows; r++) y[r] = stretch_of(ADD, z + r * n, n, 0);
}

/* -- columns ------------------------------------------------------------------------------------------------------- */

/* n rows of w <= LANES numbers, `step` apart, and `rest` numbers of one more */
INLINE void columns_of(int what, const real *restrict x, idx n, idx step, idx w, idx rest, const real *restrict c, double *restrict y) {
    real s[LANES];
    for (idx j = 0; j < w; j++) y[j] = start(what);
    for (idx a = 0; a < n; a += ROUNDS) {
        const idx b = least(a + ROUNDS, n);
        for (idx j = 0; j < w; j++) s[j] = start(what);
        for (idx i = a; i < b; i++)
            for (idx j = 0; j < w; j++) s[j] = with(what, s[j], x[i * step + j], c[j]);
        for (idx j = 0; j < w; j++) y[j] = both(what, y[j], s[j]);
    }
    for (idx j = 0; j < rest; j++) y[j] = both(what, y[j], with(what, start(what), x[n * step + j], c[j]));
}

/* -- items --------------------------------------------------------------------------------------------------------- */

/* C has `inner` centers for `period` rows, and the next for the next: where C is (outer, inner) and the rows are (outer, period / inner, inner). */
INLINE void rows(int what, idx begin, idx end, const real *X, const real *C, real *Y, idx n, idx height, idx period, idx inner, double divisor) {
    const idx chunks = (n - 1) / height + 1, step = TOGETHER / n;
    if (what == EXPONENTIALS && n < 4 * SIDE && chunks == 1 && period == 1 && C) {
        for (idx row = begin; row < end; row += step) exponentials_of(X + row * n, C + row, Y + row, least(step, end - row), n);
        return;
    }
    for (idx item = begin; item < end; item++) {
        const idx row = chunks == 1 ? item : item / chunks, at = (item - row * chunks) * height;
        const real c = C == NULL ? 0 : period == 1 ? C[row] : C[row / period * inner + row % inner];
        const double y = row_of(what, X + row * n + at, least(height, n - at), c);
        Y[item] = (real)(divisor == 1 ? y : y / divisor);
    }
}

/* Columns that are few are laid side by side several times, as rows that are as many times longer. */
INLINE void columns(int what, idx begin, idx end, const real *X, const real *C, real *Y, idx n, idx m, idx height, double divisor) {
    const idx chunks = (n - 1) / height + 1, blocks = (m - 1) / LANES + 1, times = blocks == 1 ? LANES / m : 1;
    real c[LANES];
    double y[LANES];
    for (idx item = begin; item < end; item++) {
        const idx part = item / blocks, first = item % blocks * LANES, width = least(LANES, m - first), w = times * width;
        const idx row = part / chunks, at = part % chunks * height, count = least(height, n - at);
        for (idx k = 0; k < w; k += width)
            for (idx j = 0; j < width; j++) c[k + j] = C ? C[row * m + first + j] : 0;
        columns_of(what, X + (row * n + at) * m + first, count / times, times * m, w, count % times * m, c, y);
        for (idx left = least(times, count), half; left > 1; left = half) {
            half = (left + 1) / 2;
            for (idx j = 0; j < (left - half) * m; j++) y[j] = both(what, y[j], y[j + half * m]);
        }
        for (idx j = 0; j < width; j++) Y[part * m + first + j] = (real)(y[j] / divisor);
    }
}

KERNEL void add_rows(idx begin, idx end, const real *X, const real *C, real *Y, idx n, idx height, idx period, idx inner, double divisor) {
    rows(ADD, begin, end, X, C, Y, n, height, period, inner, divisor);
}
KERNEL void add_columns(idx begin, idx end, const real *X, const real *C, real *Y, idx n, idx m, idx height, double divisor) {
    columns(ADD, begin, end, X, C, Y, n, m, height, divisor);
}

KERNEL void squares_rows(idx begin, idx end, const real *X, const real *C, real *Y, idx n, idx height, idx period, idx inner, double divisor) {
    rows(SQUARES, begin, end, X, C, Y, n, height, period, inner, divisor);
}
KERNEL void squares_columns(idx begin, idx end, const real *X, const real *C, real *Y, idx n, idx m, idx height, double divisor) {
    columns(SQUARES, begin, end, X, C, Y, n, m, height, divisor);
}

KERNEL void exponentials_rows(idx begin, idx end, const real *X, const real *C, real *Y, idx n, idx height, idx period, idx inner, double divisor) {
    rows(EXPONENTIALS, begin, end, X, C, Y, n, height, period, inner, divisor);
}
KERNEL void exponentials_columns(idx begin, idx end, const real *X, const real *C, real *Y, idx n, idx m, idx height, double divisor) {
    columns(EXPONENTIALS, begin, end, X, C, Y, n, m, height, divisor);
}

KERNEL void max_rows(idx begin, idx end, const real *X, const real *C, real *Y, idx n, idx height, idx period, idx inner, double divisor) {
    rows(LARGEST, begin, end, X, C, Y, n, height, period, inner, divisor);
}
KERNEL void max_columns(idx begin, idx end, const real *X, const real *C, real *Y, idx n, idx m, idx height, double divisor) {
    columns(LARGEST, begin, end, X, C, Y, n, m, height, divisor);
}

KERNEL void min_rows(idx begin, idx end, const real *X, const real *C, real *Y, idx n, idx height, idx period, idx inner, double divisor) {
    rows(SMALLEST, begin, end, X, C, Y, n, height, period, inner, divisor);
}
KERNEL void min_columns(idx begin, idx end, const real *X, const real *C, real *Y, idx n, idx m, idx height, double divisor) {
    columns(SMALLEST, begin, end, X, C, Y, n, m, height, divisor);
}

/* -- where the extremes stand -------------------------------------------------------------------------------------- */

/* The first of equals, and the first NaN before all, in columns. An item is a block of them. */
INLINE void place(int what, idx begin, idx end, const real *X, int64_t *Y, idx n, idx m) {
    const idx blocks = (m - 1) / LANES + 1;
    for (idx item = begin; item < end; item++) {
        const idx first = item % blocks * LANES, w = least(LANES, m - first);
        const real *restrict x = X + item / blocks * n * m + first;
        int64_t *restrict y = Y + item / blocks * m + first;
        real most[LANES];
        word at[LANES] = {0};
        for (idx c = 0; c < w; c++) most[c] = x[c];
        for (idx i = 1; i < n; i++)
            for (idx c = 0; c < w; c++) {
                const real v = x[i * m + c];
                const word better = (what == LARGEST ? v > most[c] : v < most[c]) | ((v != v) & (most[c] == most[c]));
                most[c] = better ? v : most[c];
                at[c] = better ? (word)i : at[c];
            }
        for (idx c = 0; c < w; c++) y[c] = at[c];
    }
}

KERNEL void place_of_max(idx begin, idx end, const real *X, int64_t *Y, idx n, idx m) { place(LARGEST, begin, end, X, Y, n, m); }
KERNEL void place_of_min(idx begin, idx end, const real *X, int64_t *Y, idx n, idx m) { place(SMALLEST, begin, end, X, Y, n, m); }

/* -- running sums and products ------------------------------------------------------------------------------------- */

#define ROWS 8                          /* rows that are run along at the same time, since each step waits for the one before */

/* X (outer, n, m) along n, from its end if `back`, in double. An item is ROWS rows, or a block of columns. */
INLINE void run_along(int product, idx begin, idx end, const real *X, real *Y, idx outer, idx n, idx m, idx back) {
    const idx blocks = (m - 1) / LANES + 1, step = back ? -m : m, from = back ? (n - 1) * m : 0;
    for (idx item = begin; item < end; item++) {
        const idx rows = m == 1 ? least(ROWS, outer - item * ROWS) : 1, first = m == 1 ? 0 : item % blocks * LANES;
        const idx origin = (m == 1 ? item * ROWS * n : item / blocks * n * m) + from + first, w = m == 1 ? rows : least(LANES, m - first);
        const idx apart = m == 1 ? n : 1;
        const real *restrict x = X + origin;
        real *restrict y = Y + origin;
        double s[LANES];
        for (idx c = 0; c < w; c++) s[c] = product;
        if (w == ROWS && m == 1)
            for (idx i = 0; i < n; i++, x += step, y += step)
                for (idx c = 0; c < ROWS; c++) {
                    s[c] = product ? s[c] * x[c * n] : s[c] + x[c * n];
                    y[c * n] = (real)s[c];
                }
        else
            for (idx i = 0; i < n; i++, x += step, y += step)
                for (idx c = 0; c < w; c++) {
                    s[c] = product ? s[c] * x[c * apart] : s[c] + x[c * apart];
                    y[c * apart] = (real)s[c];
                }
    }
}

KERNEL void running_sum(idx begin, idx end, const real *X, real *Y, idx outer, idx n, idx m, idx back) {
    run_along(0, begin, end, X, Y, outer, n, m, back);
}
KERNEL void running_product(idx begin, idx end, const real *X, real *Y, idx outer, idx n, idx m, idx back) {
    run_along(1, begin, end, X, Y, outer, n, m, back);
}
