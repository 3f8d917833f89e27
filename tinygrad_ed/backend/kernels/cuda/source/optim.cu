// Steps of optimizers, each one pass over the memory, and what scaled losses and clipping need. `plain/optim.py` has the formulas.

// Numbers that change from step to step come from the host, or lie on the device, where they can change between the replays of a captured graph.
__device__ inline wide number(double value, const real *at) { return at ? (wide)*at : (wide)(real)(wide)value; }

// sign·g + decay·p; without a penalty, p may be infinite.
__device__ inline wide gradient(real p, real g, double decay, double sign) { return (wide)sign * (wide)g + (decay ? (wide)decay * (wide)p : 0); }

// Whether a step is left out, which the host may not know. All threads see the same.
__device__ inline bool skipped(const unsigned char *skip) { return skip && *skip; }

KERNEL void adam_step(real *p, const real *g, real *m, real *v, real *largest, const unsigned char *skip, idx n, double rate, const real *rate_at, double eps, const real *eps_at,
                      double shrink, const real *shrink_at, double beta1, double beta2, double decay, double sign) {
    const wide step = number(rate, rate_at), least = number(eps, eps_at), factor = number(shrink, shrink_at);
    const wide b1 = beta1, b2 = beta2, a1 = 1 - beta1, a2 = 1 - beta2;
    for (EACH(i, skipped(skip) ? 0 : n)) {
        const wide d = gradient(p[i], g[i], decay, sign), M = b1 * (wide)m[i] + a1 * d, V = b2 * (wide)v[i] + a2 * d * d;
        wide most = V;
        if (largest) largest[i] = most = Largest()((wide)largest[i], V);
        m[i] = M, v[i] = V;
        p[i] = factor * (wide)p[i] - step * M / (sqrt(most) + least);
    }
}

// The steps of all parameters counted, and what adam_step takes of the first's.
KERNEL void adam_rates(float *steps, real *rates, const unsigned char *skip, idx n, double lr, const double *lr_at, double beta1, double beta2, double eps,
                       double weight_decay, idx corrected) {
    for (EACH(i, n)) {
        steps[i] += !skipped(skip);
        if (i == 0) {
            const double step = lr_at ? *lr_at : lr, t = steps[0] > 1 ? steps[0] : 1;
            const double c1 = corrected ? 1 - pow(beta1, t) : 1, c2 = corrected ? sqrt(1 - pow(beta2, t)) : 1;
            rates[0] = (wide)(step * c2 / c1), rates[1] = (wide)(eps * c2), rates[2] = (wide)(1 - step * weight_decay);
        }
    }
}

KERNEL void sgd_step(real *p, const real *g, real *v, const unsigned char *skip, idx n, double lr, const real *lr_at, double momentum, double fresh, double decay, double sign,
                     idx nesterov) {
    const wide step = number(lr, lr_at), mu = momentum;
    for (EACH(i, skipped(skip) ? 0 : n)) {
        wide d = gradient(p[i], g[i], decay, sign);
        if (v) {
            const wide V = mu * (wide)v[i] + (wide)fresh * d;
            v[i] = V;
            d = nesterov ? d + mu * V : V;
        }
        p[i] = (wide)p[i] - step * d;
    }
}

KERNEL void clip_to_norm(real *x, const wide *norm, idx n, double limit) {
    const wide share = (wide)limit / (*norm + (wide)1e-6), factor = share > 1 ? 1 : share;                  // NaN stays NaN
    for (EACH(i, n)) x[i] = (wide)x[i] * factor;
}

// Many arrays copied, or added, to their places: blockIdx.y chooses the pair. Pairs are numbered in octal: 00, 01, ... 37.
#define EIGHT(what, k) what(k##0) what(k##1) what(k##2) what(k##3) what(k##4) what(k##5) what(k##6) what(k##7)
#define EACH_PAIR(what) EIGHT(what, 0) EIGHT(what, 1) EIGHT(what, 2) EIGHT(what, 3)
#define PAIR(k) real *y##k, const real *x##k, idx n##k,
#define CHOOSE(k) case 0##k: y = y##k, x = x##k, n = n##k; break;

KERNEL void collect(EACH_PAIR(PAIR) idx add) {
    real *y = 0;
    const real *x = 0;
    idx n = 0;
    switch (blockIdx.y) { EACH_PAIR(CHOOSE) }
    for (EACH(i, n)) y[i] = add ? (real)((wide)y[i] + (wide)x[i]) : x[i];
}

// Of what each block has seen.
KERNEL void sum_of_squares(const real *x, wide *parts, idx n) {
    wide sum = 0;
    for (EACH(i, n)) sum += (wide)x[i] * (wide)x[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// The sum of what the blocks have, by one block.
KERNEL void total(const wide *parts, wide *y, idx n) {
    wide sum = 0;
    for (EACH(i, n)) sum += parts[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *y = sum;
}

// x/scale; *found = 1 where that is not finite.
KERNEL void unscale(real *x, unsigned char *found, idx n, double scale, const float *scale_at) {
    const wide factor = scale_at ? 1 / (wide)*scale_at : (wide)(1 / scale);
    bool bad = false;
    for (EACH(i, n)) {
        x[i] = (wide)x[i] * factor;
        bad |= !(fabs((wide)x[i]) < INFINITE);
    }
    if (bad) *found = 1;
}

// The scale and its good steps, by one thread.
KERNEL void update_scale(real *state, const unsigned char *found, double growth, double backoff, idx interval) {
    const double scale = (wide)state[0];
    const wide grown = scale * growth, good = (wide)state[1] + 1;
    if (*found) state[0] = (wide)(scale * backoff);
    else if (good == interval && grown < INFINITE) state[0] = grown;
    state[1] = *found || good == interval ? (wide)0 : good;
}
