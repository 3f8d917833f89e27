// Softmax and its logarithm along the middle dimension of (outer, n, inner), and the derivatives. `plain/softmax.py` has the formulas.

__device__ inline idx start_of(idx row, idx n, idx inner) { return row / inner * n * inner + row % inner; }

// The largest of a row, and log Σ exp(x - largest).
__device__ inline void extent(const real *x, idx n, idx inner, wide &largest, wide &sum) {
    wide m = -INFINITE, s = 0;
    for (ALONG(i, n)) m = Largest()(m, x[i * inner]);
    largest = over_team(m, Largest());
    for (ALONG(i, n)) s += exp((wide)x[i * inner] - largest);
    sum = team_sum(s);
}

KERNEL void softmax(const real *x, real *y, idx rows, idx n, idx inner) {
    for (EACH_ROW(row, rows)) {
        const idx start = start_of(row, n, inner);
        wide largest, sum;
        extent(x + start, n, inner, largest, sum);
        for (ALONG(i, n)) y[start + i * inner] = exp((wide)x[start + i * inner] - largest) / sum;
    }
}

KERNEL void log_softmax(const real *x, real *y, idx rows, idx n, idx inner) {
    for (EACH_ROW(row, rows)) {
        const idx start = start_of(row, n, inner);
        wide largest, sum;
        extent(x + start, n, inner, largest, sum);
        const wide log_sum = log(sum);
        for (ALONG(i, n)) y[start + i * inner] = (wide)x[start + i * inner] - largest - log_sum;
    }
}

// y·(g - Σ g·y)
KERNEL void softmax_backward(const real *g, const real *y, real *dx, idx rows, idx n, idx inner) {
    for (EACH_ROW(row, rows)) {
        const idx start = start_of(row, n, inner);
        wide dot = 0;
        for (ALONG(i, n)) dot += (wide)g[start + i * inner] * (wide)y[start + i * inner];
        dot = team_sum(dot);
        for (ALONG(i, n)) dx[start + i * inner] = (wide)y[start + i * inner] * ((wide)g[start + i * inner] - dot);
    }
}

// g - e^y·Σ g
KERNEL void log_softmax_backward(const real *g, const real *y, real *dx, idx rows, idx n, idx inner) {
    for (EACH_ROW(row, rows)) {
        const idx start = start_of(row, n, inner);
        wide sum = 0;
        for (ALONG(i, n)) sum += (wide)g[start + i * inner];
        sum = team_sum(sum);
        for (ALONG(i, n)) dx[start + i * inner] = (wide)g[start + i * inner] - exp((wide)y[start + i * inner]) * sum;
    }
}
