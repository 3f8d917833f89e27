// Pooling over up to three dimensions: the largest and the mean of every window, and the derivatives. `plain/pool.py` has the meaning.
// Going back, each input collects from the outputs that see it, so that nothing depends on the order of threads.

// -- the largest ------------------------------------------------------------------------------------------------------------

// The largest input of every window, and the number of its tap: the first of several, the last of the NaNs.
KERNEL void max_pool(const real *x, real *y, unsigned char *where, idx planes, SIDES) {
    SIDE(a); SIDE(b); SIDE(c);
    for (EACH(i, planes * a.m * b.m * c.m)) {
        const Place o = place_of(i, a.m, b.m, c.m);
        wide best = -INFINITE;
        int chosen = min((a.first_tap(o.a) * b.k + b.first_tap(o.b)) * c.k + c.first_tap(o.c), a.k * b.k * c.k - 1);
        for (EACH_TAP(a, o.a))
            for (EACH_TAP(b, o.b))
                for (EACH_TAP(c, o.c)) {
                    const wide seen = x[at(o.plane, a.input(o.a, ta), b.input(o.b, tb), c.input(o.c, tc), a.n, b.n, c.n)];
                    if (seen > best || seen != seen) best = seen, chosen = (ta * b.k + tb) * c.k + tc;
                }
        y[i] = best;
        where[i] = chosen;
    }
}

// Each input gets the g of the windows whose largest it is.
KERNEL void max_pool_input(const real *g, const unsigned char *where, real *dx, idx planes, SIDES) {
    SIDE(a); SIDE(b); SIDE(c);
    for (EACH(i, planes * a.n * b.n * c.n)) {
        const Place in = place_of(i, a.n, b.n, c.n);
        wide sum = 0;
        for (EACH_OUTPUT(a, in.a))
            for (EACH_OUTPUT(b, in.b))
                for (EACH_OUTPUT(c, in.c)) {
                    const int ta = a.tap(in.a, oa), tb = b.tap(in.b, ob), tc = c.tap(in.c, oc);
                    const idx o = at(in.plane, oa, ob, oc, a.m, b.m, c.m);
                    if (min(ta, min(tb, tc)) >= 0 && where[o] == (ta * b.k + tb) * c.k + tc) sum += (wide)g[o];
                }
        dx[i] = sum;
    }
}

// The input at the tap that a number stands for; 0 where that is padding.
KERNEL void max_pool_take(const real *x, const unsigned char *where, real *y, idx planes, SIDES) {
    SIDE(a); SIDE(b); SIDE(c);
    for (EACH(i, planes * a.m * b.m * c.m)) {
        const Place o = place_of(i, a.m, b.m, c.m);
        const int tap = where[i], ia = a.input(o.a, tap / c.k / b.k), ib = b.input(o.b, tap / c.k % b.k), ic = c.input(o.c, tap % c.k);
        const bool there = a.has(ia) && b.has(ib) && c.has(ic);
        y[i] = there ? (wide)x[at(o.plane, ia, ib, ic, a.n, b.n, c.n)] : 0;
    }
}

// -- the mean ---------------------------------------------------------------------------------------------------------------

// 1/count of an output's window: one number for all, or a product of one for each dimension, which lie in `shares` one after the other.
__device__ inline wide share_of(const wide *shares, double share, int i, int j, int k, int a, int b) {
    return shares ? shares[i] * shares[a + j] * shares[a + b + k] : (wide)share;
}

KERNEL void avg_pool(const real *x, const wide *shares, real *y, idx planes, double share, SIDES) {
    SIDE(a); SIDE(b); SIDE(c);
    for (EACH(i, planes * a.m * b.m * c.m)) {
        const Place o = place_of(i, a.m, b.m, c.m);
        wide sum = 0;
        for (EACH_TAP(a, o.a))
            for (EACH_TAP(b, o.b))
                for (EACH_TAP(c, o.c)) sum += (wide)x[at(o.plane, a.input(o.a, ta), b.input(o.b, tb), c.input(o.c, tc), a.n, b.n, c.n)];
        y[i] = sum * share_of(shares, share, o.a, o.b, o.c, a.m, b.m);
    }
}

// The same where a plane has one window, with all of it.
KERNEL void avg_pool_planes(const real *x, const wide *shares, real *y, idx planes, double share, idx length) {
    for (EACH_ROW(plane, planes)) {
        wide sum = 0;
        for (ALONG(i, length)) sum += (wide)x[plane * length + i];
        sum = team_sum(sum);
        if (threadIdx.x == 0) y[plane] = sum * share_of(shares, share, 0, 0, 0, 1, 1);
    }
}

KERNEL void avg_pool_input(const real *g, const wide *shares, real *dx, idx planes, double share, SIDES) {
    SIDE(a); SIDE(b); SIDE(c);
    for (EACH(i, planes * a.n * b.n * c.n)) {
        const Place in = place_of(i, a.n, b.n, c.n);
        wide sum = 0;
        for (EACH_OUTPUT(a, in.a))
            for (EACH_OUTPUT(b, in.b))
                for (EACH_OUTPUT(c, in.c))
                    if (min(a.tap(in.a, oa), min(b.tap(in.b, ob), c.tap(in.c, oc))) >= 0)
                        sum += (wide)g[at(in.plane, oa, ob, oc, a.m, b.m, c.m)] * share_of(shares, share, oa, ob, oc, a.m, b.m);
        dx[i] = sum;
    }
}
