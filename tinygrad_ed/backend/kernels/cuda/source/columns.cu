// The windows of images as the columns of matrices, and back. `plain/conv.py` has the meaning (unfold, fold).

// A thread has one output of one channel of an image, and writes what each tap shows to it: neighbouring threads write neighbouring elements. The steps say
// how far images, channels and taps are apart in y, where the outputs of a tap lie together.
KERNEL void unfold(const real *x, real *y, idx images, idx channels, idx image_step, idx channel_step, idx tap_step, SIDES) {
    SIDE(a); SIDE(b); SIDE(c);
    const idx outputs = (idx)a.m * b.m * c.m;
    for (EACH(i, images * channels * outputs)) {
        const Place o = place_of(i, a.m, b.m, c.m);
        real *to = y + o.plane / channels * image_step + o.plane % channels * channel_step + i % outputs;
        for (int ta = 0; ta < a.k; ta++)
            for (int tb = 0; tb < b.k; tb++)
                for (int tc = 0; tc < c.k; tc++, to += tap_step) {
                    const int ia = a.input(o.a, ta), ib = b.input(o.b, tb), ic = c.input(o.c, tc);
                    const bool there = a.has(ia) && b.has(ib) && c.has(ic);
                    *to = there ? (wide)x[at(o.plane, ia, ib, ic, a.n, b.n, c.n)] : 0;
                }
    }
}

// Each input collects from the windows (planes, taps, outputs) what it was shown as.
KERNEL void fold(const real *y, real *x, idx planes, SIDES) {
    SIDE(a); SIDE(b); SIDE(c);
    const int taps = a.k * b.k * c.k;
    for (EACH(i, planes * a.n * b.n * c.n)) {
        const Place in = place_of(i, a.n, b.n, c.n);
        wide sum = 0;
        for (EACH_OUTPUT(a, in.a))
            for (EACH_OUTPUT(b, in.b))
                for (EACH_OUTPUT(c, in.c)) {
                    const int ta = a.tap(in.a, oa), tb = b.tap(in.b, ob), tc = c.tap(in.c, oc);
                    if (min(ta, min(tb, tc)) >= 0) sum += (wide)y[at(in.plane * taps + (ta * b.k + tb) * c.k + tc, oa, ob, oc, a.m, b.m, c.m)];
                }
        x[i] = sum;
    }
}
