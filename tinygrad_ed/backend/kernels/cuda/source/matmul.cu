// Sums of columns, which go with the products of cuBLASLt. `plain/matmul.py` has the formula.

// Of x (rows, n), by a block for blockDim.x columns: each of its rows of threads adds up every blockDim.y-th row.
KERNEL void column_sums(const real *x, real *y, idx rows, idx n) {
    const idx c = blockIdx.x * (idx)blockDim.x + threadIdx.x;
    wide sum = 0;
    if (c < n)
        for (idx row = threadIdx.y; row < rows; row += blockDim.y) sum += (wide)x[row * n + c];
    sum = sum_over_y(sum);
    if (c < n && threadIdx.y == 0) y[c] = sum;
}
