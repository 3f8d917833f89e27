// Attention over tiles of queries and keys (Dao, Fu, Ermon, Rudra and Ré, 2022; Dao, 2023). `plain/attention.py` has the formulas. The scores of a tile
// are in the registers of a block, and no others are kept. With a new tile of keys the largest score m of a query may grow; what has been added up is then
// multiplied by e^(m - m'). For the way back the logarithm of a query's sum is kept, ℓ = m + log Σ e^(s - m), and the weights are e^(s - ℓ) again. There a
// block has a tile of queries and goes over the keys, another one a tile of keys and goes over the queries, so that nothing is added up in arbitrary order.
//
// It is compiled for rows of up to WIDTH numbers, and without or with TENSOR_CORES, which then multiply tiles.

// Rows of n numbers, `step` apart.
struct Matrix {
    const real *x;
    idx step;
    int rows, n;
};

// Rows of a matrix from `row` on, with zeros beyond its end. Two tiles of the block have places 0 and 1, two that it goes through 2 and 3.
struct Tile {
    const Matrix &of;
    int row, place;
    __device__ real at(int r, int column) const { return row + r < of.rows && column < of.n ? of.x[(row + r) * of.step + column] : real(); }
};

#define UNROLLED _Pragma("unroll")
#define EACH_SCORE(i, j) UNROLLED for (int i = 0; i < ROWS; i++) UNROLLED for (int j = 0; j < COLUMNS; j++)
#define EACH_TOTAL(i, j) UNROLLED for (int i = 0; i < ROWS; i++) UNROLLED for (int j = 0; j < NUMBERS; j++)

#ifdef TENSOR_CORES
#include "tensor_cores.cuh"
#else
#include "tiles.cuh"
#endif

template <class Combine> __device__ inline wide over_row(wide v, Combine combine) {
    for (int lanes = NEIGHBOURS / 2; lanes; lanes /= 2) v = combine(v, __shfl_xor_sync(0xffffffffu, v, lanes));
    return v;
}

// Totals times a factor.
__device__ inline void write(const Totals &y, real *to, idx step, int row, int rows, int n, wide factor) {
    EACH_TOTAL(i, j) {
        const int r = row + row_of(i), c = number_of(j);
        if (r < rows && c < n) to[r * step + c] = y[i][j] * factor;
    }
}

// How products become scores: numbers are added (`add`), some do not count (`see`, 0 where hidden), and which weights dropout keeps.
struct Rules {
    const real *add;
    const unsigned char *see;
    idx step;                                        // from row to row of both
    const unsigned char *keep;
    int queries, keys;
    bool causal;
    wide scale, kept;
    __device__ bool has(int query, int key) const { return query < queries && key < keys; }
    __device__ wide score(wide product, int query, int key) const {
        if (!has(query, key) || (causal && key > query) || (see && !see[query * step + key])) return -INFINITE;
        return product * scale + (add ? (wide)add[query * step + key] : 0);
    }
    // Whether that is product * scale for all of some queries and keys.
    __device__ bool only_scale(int query, int last_query, int last_key) const {
        return !add && !see && has(last_query, last_key) && !(causal && last_key > query);
    }
    __device__ wide factor(int query, int key) const { return has(query, key) && keep[(idx)query * keys + key] ? kept : 0; }
    // How many keys a tile of queries may see, and the first query that may see a tile of keys.
    __device__ int end_of_keys(int query) const { return causal ? min(keys, query + TILE) : keys; }
    __device__ int first_query(int key) const { return causal ? key : 0; }
};

// Products of queries and keys become scores. The rows are queries, or with BY_KEYS keys.
template <bool BY_KEYS> __device__ inline void to_scores(Scores &s, const Rules &rules, int row, int column) {
    const int end_row = row + TILE, end_column = column + OTHERS;
    if (BY_KEYS ? rules.only_scale(column, end_column - 1, end_row - 1) : rules.only_scale(row, end_row - 1, end_column - 1)) {
        EACH_SCORE(i, j) s[i][j] *= rules.scale;
    } else {
        EACH_SCORE(i, j) {
            const int r = row + row_of(i), c = column + column_of(j);
            s[i][j] = BY_KEYS ? rules.score(s[i][j], c, r) : rules.score(s[i][j], r, c);
        }
    }
}

// What dropout makes of weights, or of their gradients.
template <bool BY_KEYS> __device__ inline void drop(Scores &s, const Rules &rules, int row, int column) {
    if (!rules.keep) return;
    EACH_SCORE(i, j) {
        const int r = row + row_of(i), c = column + column_of(j);
        s[i][j] *= BY_KEYS ? rules.factor(c, r) : rules.factor(r, c);
    }
}

// -- forward ----------------------------------------------------------------------------------------------------------------

__device__ inline void attend(const Matrix &q, const Matrix &k, const Matrix &v, const Rules &rules, real *y, idx step, wide *lse, int row) {
    Scores s;
    Totals total = {};
    wide highest[ROWS], sum[ROWS], shrink[ROWS];     // the sum is that of this thread's keys
    UNROLLED for (int i = 0; i < ROWS; i++) highest[i] = -INFINITE, sum[i] = 0;
    const Tile queries = {q, row, 0};
    take(queries);
    for (int key = 0; key < rules.end_of_keys(row); key += OTHERS) {
        const Tile keys = {k, key, 2}, values = {v, key, 3};
        take(keys, values);
        multiply_rows(s, queries, keys);
        to_scores<false>(s, rules, row, key);
        UNROLLED for (int i = 0; i < ROWS; i++) {
            wide m = highest[i];
            UNROLLED for (int j = 0; j < COLUMNS; j++) m = max(m, s[i][j]);
            m = over_row(m, Largest());
            const wide base = m > -INFINITE ? m : 0;
            shrink[i] = exp(highest[i] - base);
            highest[i] = m;
            sum[i] *= shrink[i];
            UNROLLED for (int j = 0; j < COLUMNS; j++) {
                s[i][j] = exp(s[i][j] - base);
                sum[i] += s[i][j];
            }
        }
        drop<false>(s, rules, row, key);
        EACH_TOTAL(i, j) total[i][j] *= shrink[i];
        add_weighted(total, s, values);
    }
    UNROLLED for (int i = 0; i < ROWS; i++) {
        const int query = row + row_of(i);
        const wide all = over_row(sum[i], Sum()), inverse = 1 / all;
        if (threadIdx.x % NEIGHBOURS == 0 && query < q.rows) lse[query] = all == 0 ? INFINITE : highest[i] + log(all);
        UNROLLED for (int j = 0; j < NUMBERS; j++) total[i][j] = all == 0 ? 0 : total[i][j] * inverse;
    }
    write(total, y, step, row, q.rows, v.n, 1);
}

// -- backward ---------------------------------------------------------------------------------------------------------------

// Products of queries and keys, and of gradients and values, become the weights and the gradients of the scores.
template <bool BY_KEYS> __device__ inline void to_gradients(Scores &s, Scores &g, const Rules &rules, const wide *lse, const wide *dots, int row, int column) {
    to_scores<BY_KEYS>(s, rules, row, column);
    drop<BY_KEYS>(g, rules, row, column);
    EACH_SCORE(i, j) {
        const int r = row + row_of(i), c = column + column_of(j), query = BY_KEYS ? c : r, key = BY_KEYS ? r : c;
        const bool there = rules.has(query, key);
        s[i][j] = there ? exp(s[i][j] - lse[query]) : 0;
        g[i][j] = there ? s[i][j] * (g[i][j] - dots[query]) : 0;
    }
}

// A tile of queries: dq, and the gradients of all their scores where the mask needs them.
__device__ inline void query_gradient(const Matrix &q, const Matrix &k, const Matrix &v, const Matrix &dy, const Rules &rules, const wide *lse, const wide *dots, real *dq, idx step, real *ds, int row) {
    Scores s, g;
    Totals total = {};
    const Tile queries = {q, row, 0}, gradients = {dy, row, 1};
    take(queries, gradients);
    for (int key = 0; key < (ds ? rules.keys : rules.end_of_keys(row)); key += OTHERS) {
        const Tile keys = {k, key, 2}, values = {v, key, 3};
        take(keys, values);
        multiply_rows(s, queries, keys);
        multiply_rows(g, gradients, values);
        to_gradients<false>(s, g, rules, lse, dots, row, key);
        if (ds)
            EACH_SCORE(i, j) {
                const int query = row + row_of(i), other = key + column_of(j);
                if (rules.has(query, other)) ds[(idx)query * rules.keys + other] = g[i][j];
            }
        if (dq) add_weighted(total, g, keys);
    }
    if (dq) write(total, dq, step, row, q.rows, q.n, rules.scale);
}

// A tile of keys: dk and dv.
__device__ inline void key_gradients(const Matrix &q, const Matrix &k, const Matrix &v, const Matrix &dy, const Rules &rules, const wide *lse, const wide *dots, real *dk, idx step_k, real *dv, idx step_v, int row) {
    Scores s, g;
    Totals total_k = {}, total_v = {};
    const Tile keys = {k, row, 0}, values = {v, row, 1};
    take(keys, values);
    for (int query = rules.first_query(row); query < rules.queries; query += OTHERS) {
        const Tile queries = {q, query, 2}, gradients = {dy, query, 3};
        take(queries, gradients);
        multiply_rows(s, keys, queries);
        multiply_rows(g, values, gradients);
        to_gradients<true>(s, g, rules, lse, dots, row, query);
        drop<true>(s, rules, row, query);
        if (dv) add_weighted(total_v, s, gradients);
        if (dk) add_weighted(total_k, g, queries);
    }
    if (dv) write(total_v, dv, step_v, row, k.rows, v.n, 1);
    if (dk) write(total_k, dk, step_k, row, k.rows, k.n, rules.scale);
}

// -- kernels ----------------------------------------------------------------------------------------------------------------

// Arrays are (batch, heads, rows, numbers): a pointer, and how far batches, heads and rows are apart. A block has a tile of rows of one of `count` heads.
#define STRIDED(x) *x, idx x##_batch, idx x##_head, idx x##_row
#define INPUTS const real STRIDED(q), const real STRIDED(k), const real STRIDED(v), const real *add, const unsigned char *see, idx mask_batch, idx mask_head, idx mask_row, const unsigned char *keep
#define SIZES idx count, idx heads, idx queries, idx keys, idx d, idx e, idx causal, double scale, double kept

#define HEAD const idx head = blockIdx.x % count; const int row = (int)(blockIdx.x / count) * TILE
#define LAST_FIRST const idx head = blockIdx.x % count; const int row = (int)((gridDim.x - 1 - blockIdx.x) / count) * TILE
#define OF(x) x + (head / heads * x##_batch + head % heads * x##_head)
#define MATRIX(x, rows, n) Matrix{OF(x), x##_row, (int)(rows), (int)(n)}
#define MASK(x) x ? x + (head / heads * mask_batch + head % heads * mask_head) : x
#define RULES Rules{MASK(add), MASK(see), mask_row, keep ? keep + head * queries * keys : keep, (int)queries, (int)keys, causal != 0, (wide)scale, (wide)kept}
#define OPERANDS MATRIX(q, queries, d), MATRIX(k, keys, d), MATRIX(v, keys, e)
#define GRADIENTS OPERANDS, MATRIX(dy, queries, e), RULES, lse + head * queries, dots + head * queries
#define OUT(x) x ? OF(x) : x, x##_row

// With the second number of the launch bounds, how many blocks a multiprocessor has at a time, the compiler uses as many registers as they leave.
KERNEL void __launch_bounds__(THREADS, BLOCKS_FORWARD) attention(INPUTS, real STRIDED(y), wide *lse, SIZES) {
    LAST_FIRST;
    attend(OPERANDS, RULES, OF(y), y_row, lse + head * queries, row);
}

// Σ dy·y of every query.
KERNEL void attention_dots(const real STRIDED(dy), const real STRIDED(y), wide *dots, idx count, idx heads, idx queries, idx e) {
    for (EACH_ROW(row, count * queries)) {
        const idx head = row / queries, query = row % queries;
        const real *G = OF(dy) + query * dy_row, *Y = OF(y) + query * y_row;
        wide sum = 0;
        for (ALONG(i, e)) sum += (wide)G[i] * (wide)Y[i];
        sum = team_sum(sum);
        if (threadIdx.x == 0) dots[row] = sum;
    }
}

KERNEL void __launch_bounds__(THREADS, BLOCKS_BACKWARD) attention_queries(INPUTS, const real STRIDED(dy), const wide *lse, const wide *dots, real STRIDED(dq), real *ds, SIZES) {
    LAST_FIRST;
    query_gradient(GRADIENTS, OUT(dq), ds ? ds + head * queries * keys : ds, row);
}

KERNEL void __launch_bounds__(THREADS, BLOCKS_BACKWARD) attention_keys(INPUTS, const real STRIDED(dy), const wide *lse, const wide *dots, real STRIDED(dk), real STRIDED(dv), SIZES) {
    HEAD;
    key_gradients(GRADIENTS, OUT(dk), OUT(dv), row);
}
