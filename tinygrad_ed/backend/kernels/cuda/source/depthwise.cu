// Convolution where each filter sees one channel, and each channel has `filters` of them: as sums, without columns. `plain/conv.py` has the formulas.

KERNEL void depthwise_output(const real *x, const real *weight, const real *bias, real *y, idx images, idx channels, idx filters, SIDES) {
    SIDE(a); SIDE(b); SIDE(c);
    for (EACH(i, images * channels * filters * a.m * b.m * c.m)) {
        const Place o = place_of(i, a.m, b.m, c.m);
        const idx filter = o.plane % (channels * filters);
        wide sum = bias ? (wide)bias[filter] : 0;
        for (EACH_TAP(a, o.a))
            for (EACH_TAP(b, o.b))
                for (EACH_TAP(c, o.c))
                    sum += (wide)x[at(o.plane / filters, a.input(o.a, ta), b.input(o.b, tb), c.input(o.c, tc), a.n, b.n, c.n)]
                           * (wide)weight[at(filter, ta, tb, tc, a.k, b.k, c.k)];
        y[i] = sum;
    }
}

KERNEL void depthwise_input(const real *g, const real *weight, const real *bias, real *dx, idx images, idx channels, idx filters, SIDES) {
    SIDE(a); SIDE(b); SIDE(c);
    for (EACH(i, images * channels * a.n * b.n * c.n)) {
        const Place in = place_of(i, a.n, b.n, c.n);
        const idx channel = in.plane % channels;
        wide sum = bias ? (wide)bias[channel] : 0;
        for (EACH_OUTPUT(a, in.a))
            for (EACH_OUTPUT(b, in.b))
                for (EACH_OUTPUT(c, in.c)) {
                    const int ta = a.tap(in.a, oa), tb = b.tap(in.b, ob), tc = c.tap(in.c, oc);
                    for (idx f = 0; f < filters && min(ta, min(tb, tc)) >= 0; f++)
                        sum += (wide)g[at(in.plane * filters + f, oa, ob, oc, a.m, b.m, c.m)]
                               * (wide)weight[at(channel * filters + f, ta, tb, tc, a.k, b.k, c.k)];
                }
        dx[i] = sum;
    }
}

enum { TAPS = 9 };                                   // whose sums a thread has in registers: a kernel of 3×3

// A block sums for a few taps of a filter, blockIdx.x, over one piece of the filter's outputs in all images, blockIdx.y; parts is (pieces, all filters, taps).
KERNEL void depthwise_weight(const real *g, const real *x, wide *parts, idx images, idx channels, idx filters, idx piece, SIDES) {
    SIDE(a); SIDE(b); SIDE(c);
    const int taps = a.k * b.k * c.k, groups = (taps + TAPS - 1) / TAPS, first = (int)(blockIdx.x % groups) * TAPS;
    const idx filter = blockIdx.x / groups, outputs = (idx)a.m * b.m * c.m, items = images * outputs;
    Place shown[TAPS];                               // what the taps show to output 0
    wide sum[TAPS];
#pragma unroll
    for (int t = 0; t < TAPS; t++) {
        const Place tap = place_of(min(first + t, taps - 1), a.k, b.k, c.k);
        shown[t] = {0, a.input(0, tap.a), b.input(0, tap.b), c.input(0, tap.c)}, sum[t] = 0;
    }
    for (idx i = blockIdx.y * piece + threadIdx.x; i < min(items, (blockIdx.y + 1) * piece); i += blockDim.x) {
        const Place o = place_of(i, a.m, b.m, c.m);
        const wide gradient = g[(o.plane * channels * filters + filter) * outputs + i % outputs];
        const idx plane = o.plane * channels + filter / filters;
#pragma unroll
        for (int t = 0; t < TAPS; t++) {
            const int ia = o.a * a.s + shown[t].a, ib = o.b * b.s + shown[t].b, ic = o.c * c.s + shown[t].c;
            if (a.has(ia) && b.has(ib) && c.has(ic)) sum[t] += gradient * (wide)x[at(plane, ia, ib, ic, a.n, b.n, c.n)];
        }
    }
#pragma unroll
    for (int t = 0; t < TAPS; t++) {
        sum[t] = block_sum(sum[t]);
        if (threadIdx.x == 0 && first + t < taps) parts[(blockIdx.y * channels * filters + filter) * taps + first + t] = sum[t];
    }
}

// The pieces added up, in their order.
KERNEL void add_pieces(const wide *parts, real *dw, idx n, idx pieces) {
    for (EACH(i, n)) {
        wide sum = 0;
        for (idx k = 0; k < pieces; k++) sum += parts[k * n + i];
        dw[i] = sum;
    }
}
