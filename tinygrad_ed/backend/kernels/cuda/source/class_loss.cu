// Cross-entropy. `plain/class_loss.py` has the formulas. A row is what one target chooses from: the classes of x (n, classes, inner) at one place.

// For each row: exponentials and their sum, where its class is, and the loss own·(log Σ - z_target) + even·Σ_c w_c·(log Σ - z_c) with z = x - max, where own
// and even are still without the share of one target in the mean. Each block leaves the sums of its losses and of what its targets count.
KERNEL void cross_entropy(const real *x, const long long *target, const real *weight, wide *e, wide *total, long long *where, wide *own, wide *even,
                          real *losses, wide *loss_parts, wide *count_parts, idx rows, idx classes, idx inner, idx ignore_index, double smoothing) {
    wide loss_sum = 0, count_sum = 0;
    for (EACH_ROW(row, rows)) {
        const idx start = row / inner * classes * inner + row % inner, t = target[row];
        const bool ignored = t == ignore_index, inside = !ignored && t >= 0 && t < classes;
        wide m = -INFINITE, s = 0, weights = 0, smooth = 0;
        for (ALONG(c, classes)) m = Largest()(m, x[start + c * inner]);
        m = over_team(m, Largest());
        for (ALONG(c, classes)) {
            const wide z = (wide)x[start + c * inner] - m, p = exp(z), w = weight ? (wide)weight[c] : 1;
            e[start + c * inner] = p;
            s += p;
            if (even) weights += w, smooth += w * z;
        }
        s = team_sum(s);
        const wide log_sum = log(s);
        if (even) weights = team_sum(weights), smooth = weights * log_sum - team_sum(smooth);
        if (threadIdx.x) continue;
        const idx at = start + (inside ? t : 0) * inner;
        const wide kept = ignored ? 0 : inside ? 1 : NOT_A_NUMBER, count = weight ? kept * (wide)weight[inside ? t : 0] : kept;
        const wide mine = count * (wide)(1 - smoothing), evenly = kept * (wide)(smoothing / classes);
        wide loss = ignored ? 0 : mine * (log_sum - ((wide)x[at] - m));
        if (even && !ignored) loss += evenly * smooth;
        total[row] = s, where[row] = at, own[row] = mine;
        if (even) even[row] = evenly;
        if (losses) losses[row] = loss;
        loss_sum += loss, count_sum += count;
    }
    if (losses) return;
    loss_sum = block_sum(loss_sum), count_sum = block_sum(count_sum);
    if (threadIdx.x == 0 && threadIdx.y == 0) loss_parts[blockIdx.x] = loss_sum, count_parts[blockIdx.x] = count_sum;
}

// The sum of the losses, or their mean: then own and even get their share. Every block adds up the parts.
KERNEL void cross_entropy_total(const wide *loss_parts, const wide *count_parts, wide *own, wide *even, real *y, idx parts, idx rows, idx mean) {
    wide loss = 0, count = 0;
    for (ALONG(i, parts)) loss += loss_parts[i], count += count_parts[i];
    loss = block_sum(loss), count = block_sum(count);
    if (blockIdx.x == 0 && threadIdx.x == 0) *y = mean ? loss / count : loss;            // 0/0 of no targets
    if (!mean) return;
    for (EACH(i, rows)) {
        own[i] = own[i] == 0 ? 0 : own[i] / count;                                       // an ignored one stays 0
        if (even) even[i] = even[i] == 0 ? 0 : even[i] / count;
    }
}

// g·(p·Σ_c q_c - q) with p = e/total and q = own·[c = target] + even·weight_c: softmax minus target.
KERNEL void cross_entropy_backward(const real *g, const wide *e, const wide *total, const long long *where, const wide *own, const wide *even,
                                   const real *weight, real *dx, idx rows, idx classes, idx inner, idx for_each_row) {
    for (EACH_ROW(row, rows)) {
        const idx start = row / inner * classes * inner + row % inner, at = where[row];
        const wide coming = g[for_each_row ? row : 0], mine = coming * own[row], evenly = even ? coming * even[row] : 0;
        wide weights = classes;
        if (even && weight) {
            weights = 0;
            for (ALONG(c, classes)) weights += (wide)weight[c];
            weights = team_sum(weights);
        }
        const wide factor = (mine + evenly * weights) / total[row];
        for (ALONG(c, classes)) {
            const idx i = start + c * inner;
            dx[i] = e[i] * factor - (weight ? evenly * (wide)weight[c] : evenly) - (i == at ? mine : 0);
        }
    }
}
