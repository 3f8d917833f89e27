// Steps of recurrent layers: what is done element by element once the products with the inputs and the states are there, and the derivatives.
// `plain/recurrent.py` has the formulas. A step has n rows, one for each of its sequences, which are the first n of the states.
//
// Going back, the state that a step began with is that of the step before for `many` of its sequences, and `first` for those that began here. The gradient
// of the states, dh, is left as what it is without the product with the weights, which is added next.

__device__ inline wide sigmoid(wide x) { return 1 / (1 + exp(-x)); }

// -- LSTM -------------------------------------------------------------------------------------------------------------------

// gates (n, 4·hidden) for i, f, g, o; c and h are the states, y is where h is kept too, if at all.
KERNEL void lstm_step(real *gates, real *c, real *cells, real *tanhs, real *h, real *y, idx n, idx hidden) {
    for (EACH(e, n * hidden)) {
        real *z = gates + e / hidden * 4 * hidden + e % hidden;
        const wide i = sigmoid(z[0]), f = sigmoid(z[hidden]), g = tanh((wide)z[2 * hidden]), o = sigmoid(z[3 * hidden]);
        const wide cell = f * (wide)c[e] + i * g, t = tanh(cell);
        z[0] = i, z[hidden] = f, z[2 * hidden] = g, z[3 * hidden] = o;
        c[e] = cells[e] = cell;
        tanhs[e] = t;
        h[e] = o * t;
        if (y) y[e] = o * t;
    }
}

KERNEL void lstm_step_backward(const real *gates, const real *before, const real *first, const real *tanhs, const real *dy, real *dh, real *dc, real *d, idx n, idx many, idx hidden) {
    for (EACH(e, n * hidden)) {
        const idx at = e / hidden * 4 * hidden + e % hidden;
        const wide i = gates[at], f = gates[at + hidden], g = gates[at + 2 * hidden], o = gates[at + 3 * hidden], t = tanhs[e];
        const wide cell = e < many * hidden ? before[e] : first[e], out = (wide)dh[e] + (dy ? (wide)dy[e] : 0), in = (wide)dc[e] + out * o * (1 - t * t);
        d[at] = in * g * (i - i * i);
        d[at + hidden] = in * cell * (f - f * f);
        d[at + 2 * hidden] = in * i * (1 - g * g);
        d[at + 3 * hidden] = out * t * (o - o * o);
        dc[e] = in * f;
        dh[e] = (wide)0;
    }
}

// -- GRU --------------------------------------------------------------------------------------------------------------------

// gates (n, 3·hidden) for r, z, n, from the inputs; vh (n, 3·hidden) from the states.
KERNEL void gru_step(real *gates, const real *vh, real *h, real *y, real *inner, idx n, idx hidden) {
    for (EACH(e, n * hidden)) {
        const idx at = e / hidden * 3 * hidden + e % hidden;
        const wide r = sigmoid((wide)gates[at] + (wide)vh[at]), z = sigmoid((wide)gates[at + hidden] + (wide)vh[at + hidden]), v = vh[at + 2 * hidden];
        const wide m = tanh((wide)gates[at + 2 * hidden] + r * v), state = m + z * ((wide)h[e] - m);
        gates[at] = r, gates[at + hidden] = z, gates[at + 2 * hidden] = m;
        inner[e] = v;
        h[e] = y[e] = state;
    }
}

// d (n, 4·hidden): of V h + e inside n, of r, z, n.
KERNEL void gru_step_backward(const real *gates, const real *before, const real *first, const real *inner, const real *dy, real *dh, real *d, idx n, idx many, idx hidden) {
    for (EACH(e, n * hidden)) {
        const idx from = e / hidden * 3 * hidden + e % hidden, to = e / hidden * 4 * hidden + e % hidden;
        const wide r = gates[from], z = gates[from + hidden], m = gates[from + 2 * hidden], state = e < many * hidden ? before[e] : first[e];
        const wide out = (wide)dh[e] + (wide)dy[e], dm = out * (1 - z) * (1 - m * m);
        d[to] = dm * r;
        d[to + hidden] = dm * (wide)inner[e] * (r - r * r);
        d[to + 2 * hidden] = out * (state - m) * (z - z * z);
        d[to + 3 * hidden] = dm;
        dh[e] = out * z;
    }
}

// -- the simple RNN ---------------------------------------------------------------------------------------------------------

KERNEL void rnn_step(real *y, real *h, idx n, idx relu) {
    for (EACH(e, n)) {
        const wide v = y[e];
        h[e] = y[e] = relu ? (v < 0 ? 0 : v) : tanh(v);
    }
}

KERNEL void rnn_step_backward(const real *y, const real *dy, real *dh, real *d, idx n, idx relu) {
    for (EACH(e, n)) {
        const wide v = y[e], slope = relu ? (wide)(v > 0) : 1 - v * v;
        d[e] = ((wide)dh[e] + (wide)dy[e]) * slope;
        dh[e] = (wide)0;
    }
}
