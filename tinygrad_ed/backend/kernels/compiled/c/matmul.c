/* C = A·B + bias of matrices wherever their elements lie, or its ReLU, or C += A·B, and sums of columns. multiply.c calls `matmul` and chooses the blocks.

   A block of C is made panel by panel, in stretches of DEPTH numbers of the sums. A stretch of a panel of B lies packed in the first cache, or is
   read in place; the rows of A are always read in place, where they stay in the second cache. Where the sums are cut depends on their length alone,
   and no two blocks share a sum, so results do not depend on who computes them. Products with few rows or few columns do not fill a tile; they are
   made of inner products or of weighted rows. */
#include "product.h"

#define DEPTH 192                       /* numbers of a sum at a time: a stretch of a panel takes half of the first cache */
#define SPAN 1024                       /* numbers of a row at a time */
#define PACKING 192                     /* rows from which on it pays to pack what could be read in place */
#define THIN(K) ((K) < 128 ? 4 : 20)    /* rows or columns from which on it pays to pack what could be inner products */

/* -- transposition in registers ------------------------------------------------------------------------------------ */

#ifdef __GNUC__
#define UNROLL16 _Pragma("GCC unroll 16")
typedef word words64 __attribute__((vector_size(64)));
typedef word words32 __attribute__((vector_size(32)));
#ifdef __clang__
#define SHUFFLED(words, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLED(words, a, b, ...) __builtin_shuffle(a, b, (words){__VA_ARGS__})
#endif

/* The numbers of two vectors by turns: those of their first halves, and those of their second halves. */
#define FIRST_16 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define SECOND_16 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define FIRST_8 0, 8, 1, 9, 2, 10, 3, 11
#define SECOND_8 4, 12, 5, 13, 6, 14, 7, 15
#define FIRST_4 0, 4, 1, 5
#define SECOND_4 2, 6, 3, 7
#ifdef FLOAT
#define first64(a, b) SHUFFLED(words64, a, b, FIRST_16)
#define second64(a, b) SHUFFLED(words64, a, b, SECOND_16)
#define first32(a, b) SHUFFLED(words32, a, b, FIRST_8)
#define second32(a, b) SHUFFLED(words32, a, b, SECOND_8)
#else
#define first64(a, b) SHUFFLED(words64, a, b, FIRST_8)
#define second64(a, b) SHUFFLED(words64, a, b, SECOND_8)
#define first32(a, b) SHUFFLED(words32, a, b, FIRST_4)
#define second32(a, b) SHUFFLED(words32, a, b, SECOND_4)
#endif

/* TO[k·WIDTH + j] = b[k + j·bj] for a square of a vector's numbers: taking by turns from vector i and vector i + half, once for each halving of
   their number, transposes.

   R·Q inner products, sums[i·Q + j] = Σ a[i·ai + k]·b[j·bj + k]: adding what is taken by turns sums the numbers of a vector, for all at once. */
#define ACROSS(vec, stored, square, dots, first, second)                                                                                     \
    INLINE void square(const real *b, idx bj, real *to) {                                                                                    \
        enum { NUMBERS = sizeof(vec) / sizeof(real), HALF = NUMBERS / 2 };                                                                   \
        vec x[NUMBERS], y[NUMBERS];                                                                                                          \
        UNROLL16 for (int j = 0; j < NUMBERS; j++) x[j] = *(const stored *)(b + j * bj);                                                     \
        UNROLL16 for (int round = 1; round < NUMBERS; round *= 2) {                                                                          \
            UNROLL16 for (int j = 0; j < HALF; j++) y[2 * j] = first(x[j], x[j + HALF]), y[2 * j + 1] = second(x[j], x[j + HALF]);           \
            UNROLL16 for (int j = 0; j < NUMBERS; j++) x[j] = y[j];                                                                          \
        }                                                                                                                                    \
        UNROLL16 for (int k = 0; k < NUMBERS; k++) *(stored *)(to + k * WIDTH) = x[k];                                                       \
    }                                                                                                                                        \
    INLINE void dots(const int R, const int Q, idx K, const real *a, idx ai, const real *b, idx bj, real *sums) {                            \
        enum { NUMBERS = sizeof(vec) / sizeof(real) };                                                                                       \
        const int group = R * Q < NUMBERS ? R * Q : NUMBERS;                                                                                 \
        vec s[16];                                                                                                                           \
        idx k = 0;                                                                                                                           \
        UNROLL16 for (int i = 0; i < R * Q; i++) s[i] = (vec){0};                                                                            \
        for (; k + NUMBERS <= K; k += NUMBERS) {                                                                                             \
            vec column[4];                                                                                                                   \
            UNROLL for (int j = 0; j < Q; j++) column[j] = *(const stored *)(b + j * bj + k);                                                \
            UNROLL for (int i = 0; i < R; i++) {                                                                                             \
                vec row = *(const stored *)(a + i * ai + k);                                                                                 \
                UNROLL for (int j = 0; j < Q; j++) s[i * Q + j] += row * column[j];                                                          \
            }                                                                                                                                \
        }                                                                                                                                    \
        UNROLL16 for (int g = 0; g < R * Q; g += group) {                                                                                    \
            real part[NUMBERS];                                                                                                              \
            UNROLL16 for (int half = group / 2; half; half /= 2)                                                                             \
                UNROLL16 for (int i = 0; i < half; i++) s[g + i] = first(s[g + i], s[g + i + half]) + second(s[g + i], s[g + i + half]);     \
            *(stored *)part = s[g];                                                                                                          \
            for (int l = group; l < NUMBERS; l++) part[l % group] += part[l];                                                                \
            for (int i = 0; i < group; i++) sums[g + i] = part[i];                                                                           \
        }                                                                                                                                    \
        for (; k < K; k++)                                                                                                                   \
            for (int i = 0; i < R; i++)                                                                                                      \
                for (int j = 0; j < Q; j++) sums[i * Q + j] += a[i * ai + k] * b[j * bj + k];                                                \
    }

ACROSS(vec64, stored64, square_wide, dots_wide, first64, second64)
ACROSS(vec32, stored32, square_narrow, dots_narrow, first32, second32)
#define SQUARE_NARROW (32 / (idx)sizeof(real))
#endif

/* -- panels -------------------------------------------------------------------------------------------------------- */

/* w columns of B, K deep, as a panel; element (k, j) is at b[k·bk + j·bj]. */
INLINE void pack_any(const real *b, idx bk, idx bj, idx K, idx w, real *restrict to) {
    const idx whole = w > LANES ? WIDTH : LANES;        /* what is read of a row */
    for (idx k = 0; k < K; k++, to += WIDTH, b += bk) {
        if (bj == 1 && w == WIDTH)
            memcpy(to, b, WIDTH * sizeof(real));
        else
            for (idx j = 0; j < w; j++) to[j] = b[j * bj];
        for (idx j = w; j < whole; j++) to[j] = 0;
    }
}

INLINE void pack(const real *b, idx bk, idx bj, idx K, idx w, real *restrict to) {
    idx k = 0;
#ifdef __GNUC__
    const int wide = wide_registers();
    idx side = wide ? LANES : SQUARE_NARROW;
    if (bk == 1 && w == WIDTH)
        for (; k + side <= K; k += side)
            for (idx j = 0; j < WIDTH; j += side) {
                if (wide)
                    square_wide(b + k + j * bj, bj, to + k * WIDTH + j);
                else
                    square_narrow(b + k + j * bj, bj, to + k * WIDTH + j);
            }
#endif
    pack_any(b + k * bk, bk, bj, K - k, w, to + k * WIDTH);
}

/* -- products that fill no tile ------------------------------------------------------------------------------------ */

/* c (n) = bias + Σ_k a[k·ak]·row k of B; without a, the sum of the rows. */
INLINE void weighted_rows(idx n, idx K, const real *a, idx ak, const real *b, idx bk, const real *bias, real *c, int relu) {
    real s[SPAN];
    for (idx j = 0; j < n; j += SPAN) {
        idx w = least(SPAN, n - j);
        for (idx l = 0; l < w; l++) c[j + l] = bias ? bias[j + l] : 0;
        for (idx k = 0, end; k < K; k = end) {
            end = least(K, k + DEPTH);
            for (idx l = 0; l < w; l++) s[l] = 0;
            for (; k < end; k += 4) {
                const real *x = b + k * bk + j;
                if (end - k < 4) {
                    for (; k < end; k++, x += bk)
                        for (idx l = 0; l < w; l++) s[l] += (a ? a[k * ak] : 1) * x[l];
                } else if (a) {
                    real a0 = a[k * ak], a1 = a[(k + 1) * ak], a2 = a[(k + 2) * ak], a3 = a[(k + 3) * ak];
                    for (idx l = 0; l < w; l++) s[l] += (a0 * x[l] + a1 * x[bk + l]) + (a2 * x[2 * bk + l] + a3 * x[3 * bk + l]);
                } else
                    for (idx l = 0; l < w; l++) s[l] += (x[l] + x[bk + l]) + (x[2 * bk + l] + x[3 * bk + l]);
            }
            for (idx l = 0; l < w; l++) c[j + l] = rectified(c[j + l] + s[l], relu && end == K);
        }
    }
}

/* C (m, n) = PLUS + the inner products of A's rows and B's columns, whose numbers lie side by side. PLUS is as in product.h. */
INLINE void inner_products(idx m, idx n, idx K, const real *a, idx ai, const real *b, idx bj, const real *plus, idx pi, real *c, idx ci, int relu) {
#ifdef __GNUC__
    const int wide = wide_registers();
    real sums[16];
    for (idx i = 0, r; i < m; i += r)
        for (idx j = 0, q; j < n; j += q) {
            r = m - i < 4 ? 1 : 4, q = n - j < 4 ? 1 : 4;
#define DOTS(R, Q)                                                                 \
    if (r == R && q == Q) {                                                        \
        if (wide)                                                                  \
            dots_wide(R, Q, K, a + i * ai, ai, b + j * bj, bj, sums);              \
        else                                                                       \
            dots_narrow(R, Q, K, a + i * ai, ai, b + j * bj, bj, sums);            \
    }
            DOTS(4, 4) DOTS(4, 1) DOTS(1, 4) DOTS(1, 1)
#undef DOTS
            for (idx x = 0; x < r; x++)
                for (idx y = 0; y < q; y++)
                    c[(i + x) * ci + j + y] = rectified((plus ? plus[(i + x) * pi + j + y] : 0) + sums[x * q + y], relu);
        }
#else
    for (idx i = 0; i < m; i++)
        for (idx j = 0; j < n; j++) {
            real s = 0;
            for (idx k = 0; k < K; k++) s += a[i * ai + k] * b[j * bj + k];
            c[i * ci + j] = rectified((plus ? plus[i * pi + j] : 0) + s, relu);
        }
#endif
}

/* -- kernels ------------------------------------------------------------------------------------------------------- */

/* Blocks begin to end of stacks of products. A block has `rows` rows and `columns` columns of one of them, a multiple of WIDTH. PLACES has where in A
   and in B the matrices of each product begin; element (i, k) of A is at i·ai + k·ak from there, (k, j) of B at k·bk + j·bj. */
KERNEL void matmul(idx begin, idx end, const real *A, const real *B, const real *bias, real *C, const int64_t *PLACES, idx m, idx n, idx K, idx ai,
                   idx ak, idx bk, idx bj, idx rows, idx columns, idx relu, idx add) {
    ALIGNED real panel[DEPTH * WIDTH];
    const idx across = (n + columns - 1) / columns, down = (m + rows - 1) / rows, stretches = (K + DEPTH - 1) / DEPTH;
    const idx stretch = ((K + stretches - 1) / stretches + LANES - 1) / LANES * LANES;
    for (idx block = begin; block < end; block++) {
        idx item = block / (across * down), i = block / across % down * rows, j = block % across * columns;
        idx height = least(rows, m - i), width = least(columns, n - j);
        real *c = C + (item * m + i) * n + j;
        const real *a = A + PLACES[2 * item] + i * ai, *b = B + PLACES[2 * item + 1] + j * bj, *plus = add ? c : bias ? bias + j : NULL;
        const idx pi = add ? n : 0;
        if (m == 1 && bj == 1)
            weighted_rows(width, K, a, ak, b, bk, plus, c, relu != 0);
        else if (ak == 1 && least(m, n) < THIN(K) && bk == 1)
            inner_products(height, width, K, a, ai, b, bj, plus, pi, c, n, relu != 0);
        else if (ak == 1 && n < THIN(K) && n * K <= DEPTH * WIDTH) {
            for (idx l = 0; l < width; l++)
                for (idx k = 0; k < K; k++) panel[l * K + k] = b[k * bk + l * bj];
            inner_products(height, width, K, a, ai, panel, K, plus, pi, c, n, relu != 0);
        } else
            for (idx k = 0; k < K; k += stretch)
                for (idx p = 0; p < width; p += WIDTH) {
                    idx depth = least(stretch, K - k), w = least(WIDTH, width - p);
                    const real *part = b + k * bk + p * bj, *sum = k ? c + p : plus ? plus + p : NULL;
                    int packed = bj != 1 || height >= PACKING || (w != WIDTH && w != LANES);
                    if (packed) pack(part, bk, bj, depth, w, panel);
                    sum_and_product(height, w, depth, a + k * ak, ai, ak, packed ? panel : part, packed ? WIDTH : bk, 0, sum, k ? n : pi, c + p, n,
                                    relu && k + depth == K);
                }
    }
}

/* Numbers begin to end of the sum of all rows of X (rows, n) */
KERNEL void column_sums(idx begin, idx end, const real *X, real *Y, idx rows, idx n) {
    weighted_rows(end - begin, rows, NULL, 0, X + begin, n, NULL, Y + begin, 0);
}
