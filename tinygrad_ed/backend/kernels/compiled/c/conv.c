/* Convolution and its two derivatives as direct sums, without columns.

   Images come in a frame of zeros where a window reaches over the edge, so that element (c, k) of the window of output j is found at

       x[position of j + offset of (c, k)],

   two tables that know everything about strides, dilation and the number of dimensions. With M a matrix of weights, a row r for each (c, k),

       y[o, j] = Σ_r x[position[j] + offset[r]]·M[r, o],        dw[o, r] = Σ_j x[offset[r] + position[j]]·g[o, j]

   are the same sum with the tables exchanged: tile.h has it. The gradient of the input is a convolution again, or one for each remainder of the
   stride. Filters come in blocks, as many as a row of a tile has numbers; what is over in the last block is zeros. */
#include "maths.h"
#include "tile.h"

#define POSITIONS 240                   /* of a piece of the outputs, whose sums stay in the nearest cache */
#define STRETCH 256                     /* rows of the second factor, which stay there too */

/* -- rows and columns exchanged ------------------------------------------------------------------------------------ */

#if defined(__GNUC__) && !defined(__clang__)
#define SIDE ((int)(sizeof(vec32) / sizeof(real)))
typedef word mask32 __attribute__((vector_size(sizeof(vec32))));

/* to[j, i] = from[i, j] of a square as large as a vector, in registers: every step interleaves its upper half with its lower one */
INLINE void turn(const real *from, idx row, real *to, idx to_row) {
    vec32 a[SIDE], b[SIDE];
    mask32 low, high;
    UNROLL for (int i = 0; i < SIDE; i++) low[i] = i / 2 + i % 2 * SIDE, high[i] = low[i] + SIDE / 2;
    UNROLL for (int i = 0; i < SIDE; i++) a[i] = *(const vec32 *)(from + i * row);
    UNROLL for (int step = 1; step < SIDE; step *= 2) {
        UNROLL for (int i = 0; i < SIDE / 2; i++) {
            b[2 * i] = __builtin_shuffle(a[i], a[i + SIDE / 2], low);
            b[2 * i + 1] = __builtin_shuffle(a[i], a[i + SIDE / 2], high);
        }
        UNROLL for (int i = 0; i < SIDE; i++) a[i] = b[i];
    }
    UNROLL for (int i = 0; i < SIDE; i++) *(vec32 *)(to + i * to_row) = a[i];
}
#else
#define SIDE 16
INLINE void turn(const real *from, idx row, real *to, idx to_row) {
    for (idx i = 0; i < SIDE; i++)
        for (idx j = 0; j < SIDE; j++) to[j * to_row + i] = from[i * row + j];
}
#endif

/* to[j, i] = from[i, j] for i < rows, j < columns */
INLINE void turned(const real *restrict from, idx row, idx rows, idx columns, real *restrict to, idx to_row) {
    const idx whole = rows - rows % SIDE, along = columns - columns % SIDE;
    for (idx i = 0; i < whole; i += SIDE)
        for (idx j = 0; j < along; j += SIDE) turn(from + i * row + j, row, to + j * to_row + i, to_row);
    for (idx i = 0; i < rows; i++)
        for (idx j = i < whole ? along : 0; j < columns; j++) to[j * to_row + i] = from[i * row + j];
}

/* -- frames and matrices ------------------------------------------------------------------------------------------- */

/* The frames: planes of sizes (a, b, c) at (i, j, k) in planes of sizes (D, H, W), zeros around */
KERNEL void conv_frame(idx begin, idx end, const real *X, real *FRAME, idx a, idx b, idx c, idx i, idx j, idx k, idx D, idx H, idx W) {
    for (idx plane = begin; plane < end; plane++) {
        const real *restrict x = X + plane * a * b * c;
        real *restrict frame = FRAME + plane * D * H * W;
        memset(frame, 0, (size_t)(D * H * W) * sizeof(real));
        for (idx s = 0; s < a; s++)
            for (idx r = 0; r < b; r++)
                memcpy(frame + ((s + i) * H + r + j) * W + k, x + (s * b + r) * c, (size_t)c * sizeof(real));
    }
}

/* The matrix (rows, width) of each block of filters: M[r, o] = w[group·step + o·stride + place[r]] */
KERNEL void conv_matrix(idx begin, idx end, const real *W, real *M, const int64_t *places, idx rows, idx width, idx blocks, idx filters, idx step,
                        idx stride) {
    for (idx block = begin; block < end; block++) {
        idx first = block % blocks * width, n = least(width, filters - first);
        const real *restrict w = W + block / blocks * step + first * stride;
        real *restrict m = M + block * rows * width;
        for (idx r = 0; r < rows; r++, m += width) {
            const real *from = w + places[r];
            for (idx o = 0; o < n; o++) m[o] = from[o * stride];
            for (idx o = n; o < width; o++) m[o] = 0;
        }
    }
}

/* g with the filters of a block next to each other: from (images, groups·filters, n) to (images, groups, blocks, n, width) */
KERNEL void conv_turned(idx begin, idx end, const real *G, real *M, idx n, idx width, idx blocks, idx filters) {
    for (idx block = begin; block < end; block++) {
        idx first = block % blocks * width, count = least(width, filters - first);
        const real *restrict g = G + (block / blocks * filters + first) * n;
        real *restrict m = M + block * n * width;
        turned(g, n, count, n, m, width);
        for (idx q = 0; q < n && count < width; q++)
            for (idx o = count; o < width; o++) m[q * width + o] = 0;
    }
}

/* -- outputs ------------------------------------------------------------------------------------------------------- */

INLINE void outputs(enum kind kind, idx begin, idx end, const real *X, const real *M, const real *B, real *Y, const int64_t *positions,
                    const int64_t *offsets, const int64_t *places, idx pieces, idx n, idx rows, idx groups, idx blocks, idx filters, idx step,
                    idx plane) {
    const int width = row_of(kind), T = pointers_of(kind);
    const idx length = (n - 1) / pieces + 1;
    real sums[(POSITIONS + MOST_POINTERS) * (128 / sizeof(real))];
    for (idx item = begin; item < end; item++) {
        idx first = item % pieces * length, count = least(length, n - first);
        idx block = item / pieces, group = block / blocks;                 /* counted through all images */
        idx channel = block % blocks * width, used = least(width, filters - channel);
        const real *x = X + group * step, *m = M + block % (groups * blocks) * rows * width;
        const real *bias = B ? B + group % groups * filters + channel : NULL;
        for (idx j = 0; j < count; j += T)
            for (int t = 0; t < T; t++)
                for (int o = 0; o < width; o++) sums[(j + t) * width + o] = bias && o < used ? bias[o] : 0;
        for (idx r = 0; r < rows; r += STRETCH)
            for (idx j = 0; j < count; j += T) {
                const real *p[MOST_POINTERS];
                for (int t = 0; t < T; t++) p[t] = x + positions[first + least(j + t, count - 1)];
                tile(kind, p, offsets + r, least(STRETCH, rows - r), m + r * width, sums + j * width);
            }
        real *restrict y = Y + (group * filters + channel) * plane;
        if (!places)
            turned(sums, width, count, used, y + first, plane);
        else
            for (idx o = 0; o < used; o++)
                for (idx q = 0; q < count; q++) y[o * plane + places[first + q]] = sums[q * width + o];
    }
}

/* y[o, place[j]] = bias[o] + Σ_r x[position[j] + offset[r]]·M[r, o]. An item is a piece of the n outputs of a block of the filters of a group of an
   image; `step` goes from one group's channels to the next, `plane` from one filter's outputs to the next. B and places may be missing. */
KERNEL void conv_output_wide(idx begin, idx end, const real *X, const real *M, const real *B, real *Y, const int64_t *positions,
                             const int64_t *offsets, const int64_t *places, idx pieces, idx n, idx rows, idx groups, idx blocks, idx filters,
                             idx step, idx plane) {
    outputs(WIDE, begin, end, X, M, B, Y, positions, offsets, places, pieces, n, rows, groups, blocks, filters, step, plane);
}

KERNEL void conv_output_medium(idx begin, idx end, const real *X, const real *M, const real *B, real *Y, const int64_t *positions,
                               const int64_t *offsets, const int64_t *places, idx pieces, idx n, idx rows, idx groups, idx blocks, idx filters,
                               idx step, idx plane) {
    outputs(MEDIUM, begin, end, X, M, B, Y, positions, offsets, places, pieces, n, rows, groups, blocks, filters, step, plane);
}

KERNEL void conv_output_narrow(idx begin, idx end, const real *X, const real *M, const real *B, real *Y, const int64_t *positions,
                               const int64_t *offsets, const int64_t *places, idx pieces, idx n, idx rows, idx groups, idx blocks, idx filters,
                               idx step, idx plane) {
    outputs(NARROW, begin, end, X, M, B, Y, positions, offsets, places, pieces, n, rows, groups, blocks, filters, step, plane);
}

/* -- weights ------------------------------------------------------------------------------------------------------- */

INLINE void weights(enum kind kind, idx begin, idx end, const real *X, const real *M, real *PARTS, const int64_t *positions, const int64_t *offsets,
                    idx share, idx images, idx length, idx n, idx rows, idx groups, idx blocks, idx step) {
    const int width = row_of(kind), T = pointers_of(kind);
    const idx pieces = (rows - 1) / length + 1;
    for (idx item = begin; item < end; item++) {
        idx first = item % pieces * length, count = least(length, rows - first);
        idx block = item / pieces % (groups * blocks), group = block / blocks, start = item / pieces / (groups * blocks) * share;
        real *restrict part = PARTS + (item / pieces * rows + first) * width;
        for (idx image = start; image < least(start + share, images); image++) {
            const real *x = X + (image * groups + group) * step, *m = M + (image * groups * blocks + block) * n * width;
            for (idx j = 0; j < n; j += STRETCH)
                for (idx r = 0; r < count; r += T) {
                    const real *p[MOST_POINTERS];
                    real sums[MOST_POINTERS * (128 / sizeof(real))] = {0};
                    for (int t = 0; t < T; t++) p[t] = x + offsets[first + least(r + t, count - 1)];
                    tile(kind, p, positions + j, least(STRETCH, n - j), m + j * width, sums);
                    idx used = least(T, count - r) * width;
                    for (idx i = 0; i < used; i++) part[r * width + i] += sums[i];
                }
        }
    }
}

/* parts[r, o] += Σ_j x[offset[r] + position[j]]·M[j, o] over `share` of the images. An item is a piece, of a length, of the rows of a block of the filters of a
   group, over one share. */
KERNEL void conv_weight_wide(idx begin, idx end, const real *X, const real *M, real *PARTS, const int64_t *positions, const int64_t *offsets,
                             idx share, idx images, idx length, idx n, idx rows, idx groups, idx blocks, idx step) {
    weights(WIDE, begin, end, X, M, PARTS, positions, offsets, share, images, length, n, rows, groups, blocks, step);
}

KERNEL void conv_weight_medium(idx begin, idx end, const real *X, const real *M, real *PARTS, const int64_t *positions, const int64_t *offsets,
                               idx share, idx images, idx length, idx n, idx rows, idx groups, idx blocks, idx step) {
    weights(MEDIUM, begin, end, X, M, PARTS, positions, offsets, share, images, length, n, rows, groups, blocks, step);
}

KERNEL void conv_weight_narrow(idx begin, idx end, const real *X, const real *M, real *PARTS, const int64_t *positions, const int64_t *offsets,
                               idx share, idx images, idx length, idx n, idx rows, idx groups, idx blocks, idx step) {
    weights(NARROW, begin, end, X, M, PARTS, positions, offsets, share, images, length, n, rows, groups, blocks, step);
}

/* Filters begin to end of dw (groups·filters, rows): the sum of the parts (parts, groups, blocks, rows, width) */
KERNEL void conv_weight_total(idx begin, idx end, const real *PARTS, real *DW, idx parts, idx rows, idx width, idx groups, idx blocks, idx filters) {
    for (idx filter = begin; filter < end; filter++) {
        idx block = filter / filters * blocks + filter % filters / width;
        real *restrict dw = DW + filter * rows;
        memset(dw, 0, (size_t)rows * sizeof(real));
        for (idx k = 0; k < parts; k++) {
            const real *restrict part = PARTS + (k * groups * blocks + block) * rows * width + filter % filters % width;
            for (idx r = 0; r < rows; r++) dw[r] += part[r * width];
        }
    }
}

/* -- few filters in a group: along the outputs --------------------------------------------------------------------- */

#define LINE 2048                       /* positions at a time */
#define SLACK 16                        /* whole vectors are faster than a rest: so many positions too many are read, but never counted */

/* The first output after j that is LINE or more positions away; `run` outputs at a time have neighbouring positions and places */
static inline idx end_of_line(const int64_t *positions, idx j, idx n, idx run) {
    idx next = j;
    while (next < n && positions[next + run - 1] - positions[j] < LINE) next += run;
    return next;
}

/* The same y, where vectors of neighbouring outputs are better than those of filters: the sum for every position of the frame, among them those of
   the outputs. An item is a filter of an image. The weights are at group·weight_step + filter·weight_stride + weight_places[r].
   X has SLACK numbers more than the frames. */
KERNEL void conv_output_lines(idx begin, idx end, const real *X, const real *W, const real *B, real *Y, const int64_t *positions,
                              const int64_t *offsets, const int64_t *places, const int64_t *weight_places, idx n, idx run, idx rows, idx groups,
                              idx filters, idx step, idx plane, idx weight_step, idx weight_stride) {
    real sums[LINE + SLACK];
    for (idx item = begin; item < end; item++) {
        idx group = item / filters, filter = item % (groups * filters), next;
        const real *restrict w = W + group % groups * weight_step + filter % filters * weight_stride;
        for (idx j = 0; j < n; j = next) {
            next = end_of_line(positions, j, n, run);
            const idx length = ((idx)(positions[next - 1] - positions[j]) / SLACK + 1) * SLACK;
            const real *x = X + group * step + positions[j], bias = B ? B[filter] : 0;
            idx r = rows % 3;
            if (r == 0) {
                const real *a = x + offsets[0], *b = x + offsets[1], *c = x + offsets[2];
                real u = w[weight_places[0]], v = w[weight_places[1]], t = w[weight_places[2]];
                for (idx i = 0; i < length; i++) sums[i] = bias + a[i] * u + b[i] * v + c[i] * t;
                r = 3;
            } else {
                const real *a = x + offsets[0], *b = x + offsets[r - 1];
                real u = w[weight_places[0]], v = r == 2 ? w[weight_places[1]] : 0;
                if (r == 1)
                    for (idx i = 0; i < length; i++) sums[i] = bias + a[i] * u;
                else
                    for (idx i = 0; i < length; i++) sums[i] = bias + a[i] * u + b[i] * v;
            }
            for (; r < rows; r += 3) {
                const real *a = x + offsets[r], *b = x + offsets[r + 1], *c = x + offsets[r + 2];
                real u = w[weight_places[r]], v = w[weight_places[r + 1]], t = w[weight_places[r + 2]];
#pragma omp simd
                for (idx i = 0; i < length; i++) sums[i] += a[i] * u + b[i] * v + c[i] * t;
            }
            real *restrict y = Y + item * plane;
            if (run == 1)
                for (idx q = j; q < next; q++) y[places ? places[q] : q] = sums[positions[q] - positions[j]];
            else
                for (idx q = j; q < next; q += run)
                    memcpy(y + (places ? places[q] : q), sums + (positions[q] - positions[j]), (size_t)run * sizeof(real));
        }
    }
}

/* x where the mask is -1, 0 where it is 0, also for x = ∞ */
static inline real kept(real x, word mask) { return from_bits(to_bits(x) & mask); }

/* The same parts of dw, (parts, groups·filters, rows), with g in a line at its positions; what is between them, where x may be infinite, does not
   count. An item is a filter over one share of the images. */
KERNEL void conv_weight_lines(idx begin, idx end, const real *X, const real *G, real *PARTS, const int64_t *positions, const int64_t *offsets,
                              idx share, idx images, idx n, idx run, idx rows, idx groups, idx filters, idx step) {
    real line[LINE + SLACK];
    word counts[LINE + SLACK];
    for (idx item = begin; item < end; item++) {
        idx filter = item % (groups * filters), start = item / (groups * filters) * share, stop = least(start + share, images), next;
        real *restrict part = PARTS + item * rows;
        for (idx j = 0; j < n; j = next) {
            next = end_of_line(positions, j, n, run);
            const idx length = ((idx)(positions[next - 1] - positions[j]) / SLACK + 1) * SLACK;
            memset(line, 0, (size_t)length * sizeof(real));
            memset(counts, 0, (size_t)length * sizeof(word));
            for (idx q = j; q < next; q++) counts[positions[q] - positions[j]] = -1;
            for (idx image = start; image < stop; image++) {
                const real *restrict g = G + (image * groups * filters + filter) * n;
                const real *x = X + (image * groups + filter / filters) * step + positions[j];
                if (run == 1)
                    for (idx q = j; q < next; q++) line[positions[q] - positions[j]] = g[q];
                else
                    for (idx q = j; q < next; q += run) memcpy(line + (positions[q] - positions[j]), g + q, (size_t)run * sizeof(real));
                idx r = 0;
                for (; r + 3 <= rows; r += 3) {
                    const real *a = x + offsets[r], *b = x + offsets[r + 1], *c = x + offsets[r + 2];
                    real u = 0, v = 0, t = 0;
#pragma omp simd reduction(+ : u, v, t)
                    for (idx i = 0; i < length; i++) {
                        u += kept(line[i] * a[i], counts[i]);
                        v += kept(line[i] * b[i], counts[i]);
                        t += kept(line[i] * c[i], counts[i]);
                    }
                    part[r] += u, part[r + 1] += v, part[r + 2] += t;
                }
                for (; r < rows; r++) {
                    const real *a = x + offsets[r];
                    real u = 0;
#pragma omp simd reduction(+ : u)
                    for (idx i = 0; i < length; i++) u += kept(line[i] * a[i], counts[i]);
                    part[r] += u;
                }
            }
        }
    }
}
