// The gradient of an embedding: rows of g added up in a table where the index says, each divided by how often its index comes where `counts` is given.
// Rows of the padding are left out.

KERNEL void count_rows(const long long *index, int *counts, idx n) {
    for (EACH(i, n)) atomicAdd(counts + index[i], 1);
}

// In any order.
KERNEL void embedding_backward(const real *g, const long long *index, const int *counts, wide *table, idx n, idx length, idx padding) {
    for (EACH(i, n * length)) {
        const idx row = index[i / length];
        if (row != padding) atomicAdd(table + row * length + i % length, counts ? (wide)g[i] / counts[row] : (wide)g[i]);
    }
}

// In the order in which they come: `order` sorts the index, and the first of equal ones adds them all up.
KERNEL void embedding_backward_in_order(const real *g, const long long *index, const int *counts, const long long *order, wide *table, idx n, idx length,
                                        idx padding) {
    for (EACH_ROW(first, n)) {
        const idx row = index[order[first]];
        if (row == padding || (first && index[order[first - 1]] == row)) continue;
        for (ALONG(column, length)) {
            wide sum = 0;
            for (idx i = first; i < n && index[order[i]] == row; i++) sum += (wide)g[order[i] * length + column];
            table[row * length + column] = counts ? sum / counts[row] : sum;
        }
    }
}
