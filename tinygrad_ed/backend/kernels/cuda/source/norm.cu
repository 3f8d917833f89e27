// Normalisation over rows, groups of channels and the batch, and the derivatives. `plain/norm.py` has the formulas.

// -- over rows, which may be groups of channels -----------------------------------------------------------------------------

// Which weight belongs to element i of a row: a row holds every position of a group's channels one after the other. Layers have one group and position.
__device__ inline idx weight_of(idx row, idx i, idx length, idx groups, idx positions) {
    return positions == 1 && groups == 1 ? i : row % groups * (length / positions) + (unsigned)i / (unsigned)positions;
}

// (x - mean)/√(var + eps)·weight + bias, or without a mean where that is null.
KERNEL void normalize_rows(const real *x, const real *weight, const real *bias, real *y, wide *mean, wide *rstd, idx rows, idx length, idx groups,
                           idx positions, double eps) {
    for (EACH_ROW(row, rows)) {
        const real *X = x + row * length;
        real *Y = y + row * length;
        wide m = 0, v = 0;
        if (mean) {
            for (ALONG(i, length)) m += (wide)X[i];
            m = team_sum(m) / length;
        }
        for (ALONG(i, length)) v += ((wide)X[i] - m) * ((wide)X[i] - m);
        const wide r = 1 / sqrt(team_sum(v) / length + (wide)eps);
        for (ALONG(i, length)) {
            const idx c = weight_of(row, i, length, groups, positions);
            const wide z = ((wide)X[i] - m) * r, w = weight ? (wide)weight[c] : 1, b = bias ? (wide)bias[c] : 0;
            Y[i] = z * w + b;
        }
        if (threadIdx.x == 0) {
            if (mean) mean[row] = m;
            rstd[row] = r;
        }
    }
}

// r·(h - Σh/n - d·r²·Σ(h·d)/n) with h = g·weight and d = x - mean; without the first sum where there is no mean.
KERNEL void normalize_rows_backward(const real *g, const real *x, const real *weight, const wide *mean, const wide *rstd, real *dx, idx rows,
                                    idx length, idx groups, idx positions) {
    for (EACH_ROW(row, rows)) {
        const real *G = g + row * length, *X = x + row * length;
        const wide m = mean ? mean[row] : 0, r = rstd[row];
        wide sum = 0, dot = 0;
        for (ALONG(i, length)) {
            const wide w = weight ? (wide)weight[weight_of(row, i, length, groups, positions)] : 1, h = (wide)G[i] * w;
            sum += h;
            dot += h * ((wide)X[i] - m);
        }
        dot = team_sum(dot) * r * r / length;
        sum = mean ? team_sum(sum) / length : 0;
        for (ALONG(i, length)) {
            const wide w = weight ? (wide)weight[weight_of(row, i, length, groups, positions)] : 1, h = (wide)G[i] * w;
            dx[row * length + i] = r * (h - sum - ((wide)X[i] - m) * dot);
        }
    }
}

// -- over what belongs to a channel -----------------------------------------------------------------------------------------

// x is (samples, channels, positions). A block has blockDim.x channels, and of each the items (sample, position) of one piece, blockIdx.y.
#define CHANNEL(c) const idx c = blockIdx.x * (idx)blockDim.x + threadIdx.x
#define EACH_ITEM(i, items, piece) idx i = blockIdx.y * (piece) + threadIdx.y; i < min((items), (blockIdx.y + 1) * (piece)); i += blockDim.y

__device__ inline idx place(idx sample, idx c, idx position, idx channels, idx positions) { return (sample * channels + c) * positions + position; }

// For each piece of a channel, Σ g·(x - mean)·rstd and Σ g. Each sample has `groups` means, one for every `share` channels.
KERNEL void weight_sums(const real *g, const real *x, const wide *mean, const wide *rstd, wide *dots, wide *sums, idx samples, idx channels,
                        idx positions, idx groups, idx share, idx piece) {
    CHANNEL(c);
    wide dot = 0, sum = 0;
    if (c < channels)
        for (EACH_ITEM(i, samples * positions, piece)) {
            const unsigned sample = (unsigned)i / (unsigned)positions;
            const idx k = sample * groups + c / share, at = place(sample, c, i - sample * positions, channels, positions);
            dot += (wide)g[at] * ((wide)x[at] - (mean ? mean[k] : 0)) * rstd[k];
            sum += (wide)g[at];
        }
    dot = sum_over_y(dot), sum = sum_over_y(sum);
    if (c < channels && threadIdx.y == 0) dots[blockIdx.y * channels + c] = dot, sums[blockIdx.y * channels + c] = sum;
}

// The pieces of weight_sums added up, in their order.
KERNEL void add_pieces(const wide *dots, const wide *sums, real *dw, real *db, idx channels, idx pieces) {
    for (EACH(c, channels)) {
        wide dot = 0, sum = 0;
        for (idx k = 0; k < pieces; k++) dot += dots[k * channels + c], sum += sums[k * channels + c];
        dw[c] = dot, db[c] = sum;
    }
}

// For each piece of a channel, its mean and Σ (x - mean)².
KERNEL void batch_statistics(const real *x, wide *means, wide *squares, idx samples, idx channels, idx positions, idx piece) {
    CHANNEL(c);
    const idx items = samples * positions;
    wide sum = 0, square = 0;
    if (c < channels)
        for (EACH_ITEM(i, items, piece)) {
            const unsigned sample = (unsigned)i / (unsigned)positions;
            sum += (wide)x[place(sample, c, i - sample * positions, channels, positions)];
        }
    const wide mean = sum_over_y(sum) / (min(items, (blockIdx.y + 1) * piece) - blockIdx.y * piece);
    if (c < channels)
        for (EACH_ITEM(i, items, piece)) {
            const unsigned sample = (unsigned)i / (unsigned)positions;
            const wide d = (wide)x[place(sample, c, i - sample * positions, channels, positions)] - mean;
            square += d * d;
        }
    square = sum_over_y(square);
    if (c < channels && threadIdx.y == 0) means[blockIdx.y * channels + c] = mean, squares[blockIdx.y * channels + c] = square;
}

// What a channel's elements become: (x - mean)·rstd·weight + bias.
struct Line {
    wide mean, scale, shift;
    __device__ Line(idx c, wide mean, wide rstd, const real *weight, const real *bias)
        : mean(mean), scale(weight ? rstd * (wide)weight[c] : rstd), shift(bias ? (wide)bias[c] : 0) {}
    __device__ wide operator()(real x) const { return ((wide)x - mean) * scale + shift; }
};

// The whole's mean and variance from those of the pieces (Chan, Golub and LeVeque, 1979), and what the elements become, or its
// ReLU.
KERNEL void batch_normalize(const real *x, const real *weight, const real *bias, const wide *means, const wide *squares, real *y, wide *mean, wide *var,
                            idx samples, idx channels, idx positions, idx piece, idx pieces, double eps, idx relu) {
    CHANNEL(c);
    if (c >= channels) return;
    const idx items = samples * positions;
    wide m = 0, v = 0;
    for (idx k = 0; k < pieces; k++) m += means[k * channels + c] * ((wide)(min(items, (k + 1) * piece) - k * piece) / items);
    for (idx k = 0; k < pieces; k++) {
        const wide d = means[k * channels + c] - m;
        v += (squares[k * channels + c] + d * d * (min(items, (k + 1) * piece) - k * piece)) / items;
    }
    const Line line(c, m, 1 / sqrt(v + (wide)eps), weight, bias);
    for (EACH_ITEM(i, items, piece)) {
        const unsigned sample = (unsigned)i / (unsigned)positions;
        const idx at = place(sample, c, i - sample * positions, channels, positions);
        const wide z = line(x[at]);
        y[at] = relu && z < 0 ? 0 : z;
    }
    if (blockIdx.y == 0 && threadIdx.y == 0) mean[c] = m, var[c] = v;
}

// For each piece of a channel, Σ g·(x - mean) and Σ g; with a ReLU behind, of the g that it lets through.
KERNEL void batch_sums(const real *g, const real *x, const real *weight, const real *bias, const wide *mean, const wide *var, wide *dots, wide *sums,
                       idx samples, idx channels, idx positions, idx piece, double eps, idx relu) {
    CHANNEL(c);
    wide dot = 0, sum = 0;
    if (c < channels) {
        const Line line(c, mean[c], 1 / sqrt(var[c] + (wide)eps), weight, bias);
        for (EACH_ITEM(i, samples * positions, piece)) {
            const unsigned sample = (unsigned)i / (unsigned)positions;
            const idx at = place(sample, c, i - sample * positions, channels, positions);
            const wide coming = relu && !(line(x[at]) > 0) ? 0 : (wide)g[at];
            dot += coming * ((wide)x[at] - mean[c]);
            sum += coming;
        }
    }
    dot = sum_over_y(dot), sum = sum_over_y(sum);
    if (c < channels && threadIdx.y == 0) dots[blockIdx.y * channels + c] = dot, sums[blockIdx.y * channels + c] = sum;
}

// The derivatives, from the pieces of batch_sums.
KERNEL void batch_normalize_backward(const real *g, const real *x, const real *weight, const real *bias, const wide *mean, const wide *var,
                                     const wide *dots, const wide *sums, real *dx, real *dw, real *db, idx samples, idx channels, idx positions,
                                     idx piece, idx pieces, double eps, idx relu) {
    CHANNEL(c);
    if (c >= channels) return;
    const idx items = samples * positions;
    wide dot = 0, sum = 0;
    for (idx k = 0; k < pieces; k++) dot += dots[k * channels + c], sum += sums[k * channels + c];
    const wide m = mean[c], r = 1 / sqrt(var[c] + (wide)eps);
    if (blockIdx.y == 0 && threadIdx.y == 0) dw[c] = dot * r, db[c] = sum;
    if (!dx) return;
    dot *= r * r / items, sum /= items;
    const Line line(c, m, r, weight, bias);
    for (EACH_ITEM(i, items, piece)) {
        const unsigned sample = (unsigned)i / (unsigned)positions;
        const idx at = place(sample, c, i - sample * positions, channels, positions);
        const wide coming = relu && !(line(x[at]) > 0) ? 0 : (wide)g[at];
        dx[at] = (coming - sum - ((wide)x[at] - m) * dot) * line.scale;
    }
}

// (x - mean)·scale + bias with values of the channels that are given, or the ReLU of it.
KERNEL void fixed_norm(const real *x, const real *mean, const real *scale, const real *bias, real *y, idx n, idx channels, idx positions, idx relu) {
    for (EACH(i, n)) {
        const idx c = i / positions % channels;
        const wide z = ((wide)x[i] - (wide)mean[c]) * (wide)scale[c] + (bias ? (wide)bias[c] : 0);
        y[i] = relu && z < 0 ? 0 : z;
    }
}
