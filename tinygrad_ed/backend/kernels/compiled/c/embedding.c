/* The gradient of a table of rows: every row of G added to the row of the table that INDEX names. */
#include "kernel.h"

/* Rows begin to end of TABLE (rows, n), in the order of the indices: each piece of the table looks through all of them. */
KERNEL void embedding_backward(idx begin, idx end, const real *G, const int64_t *restrict INDEX, real *TABLE, idx count, idx n) {
    memset(TABLE + begin * n, 0, (size_t)((end - begin) * n) * sizeof(real));
    for (idx k = 0; k < count; k++) {
        idx row = (idx)INDEX[k];
        if (row < begin || row >= end) continue;
        const real *restrict g = G + k * n;
        real *restrict t = TABLE + row * n;
        for (idx i = 0; i < n; i++) t[i] += g[i];
    }
}
