// Attention over tiles of queries and keys (Dao, Fu, Ermon, Rudra and Ré, 2022; Dao, 2023). `plain/attention.py` has the formulas. The scores of a tile
// are in the registers of a block, and no others are kept. With a new tile of keys the largest score m of a query may grow; what has been added up is then
// multiplied by e^(m - m'). For the way back the logarithm of a query's sum is kept, ℓ = m + log Σ e^(s - m), and the weights are e^(s - ℓ) again. There a
// block has a tile of queries and goes over the keys, another one a tile of keys and goes over the queries, so that nothing is added up in arbitrary order.

enum {
    SIDE_THREADS = 16,                               // a block has 16×16 threads
    PER = sizeof(wide) == 8 ? 2 : 4,                 // rows and columns of a tile that a thread has
    TILE = SIDE_THREADS * PER,                       // rows and columns of a tile
    DEEP = 32,                                       // numbers of a query and a key that are multiplied at a time
    DEEP_STEP = DEEP + 4, TILE_STEP = TILE + 4,      // from row to row in shared memory: without bank conflicts, and four numbers can be read at once
};
typedef wide Part[PER][PER];                         // of a tile, what a thread has

#define EACH_PART(i, j) _Pragma("unroll") for (int i = 0; i < PER; i++) _Pragma("unroll") for (int j = 0; j < PER; j++)

struct alignas(16) Shared {
    wide left[TILE * DEEP_STEP], right[TILE * DEEP_STEP];      // or both together one tile
    wide weights[TILE * TILE_STEP];
};
static_assert(2 * TILE * DEEP_STEP >= TILE * TILE_STEP && sizeof(Shared) <= 48 * 1024, "what a block may have without asking");

__device__ Shared &shared() {
    __shared__ Shared memory;
    return memory;
}

// Rows of n numbers, `step` apart.
struct Matrix {
    const real *x;
    idx step;
    int rows, n;
};

// A part of a matrix that begins at (row, column), in shared memory, with zeros beyond its end.
template <int WIDTH, int STEP> __device__ inline void load(wide *to, const Matrix &m, int row, int column) {
    for (int e = threadIdx.y * SIDE_THREADS + threadIdx.x; e < TILE * WIDTH; e += SIDE_THREADS * SIDE_THREADS) {
        const int r = row + e / WIDTH, c = column + e % WIDTH;
        to[e / WIDTH * STEP + e % WIDTH] = r < m.rows && c < m.n ? (wide)m.x[r * m.step + c] : 0;
    }
}

// The products of rows of a and rows of b; thread (x, y) has those of rows y, y + 16... of a and x, x + 16... of b.
__device__ inline void multiply_rows(Part &s, const Matrix &a, int row_a, const Matrix &b, int row_b) {
    wide *left = shared().left, *right = shared().right;
    EACH_PART(i, j) s[i][j] = 0;
    for (int from = 0; from < a.n; from += DEEP) {
        __syncthreads();                             // after others have read what is there
        load<DEEP, DEEP_STEP>(left, a, row_a, from);
        load<DEEP, DEEP_STEP>(right, b, row_b, from);
        __syncthreads();
#pragma unroll 1
        for (int d = 0; d < DEEP; d += 4) {
            wide u[PER][4], v[PER][4];
#pragma unroll
            for (int i = 0; i < PER; i++)
#pragma unroll
                for (int q = 0; q < 4; q++) {
                    u[i][q] = left[(threadIdx.y + SIDE_THREADS * i) * DEEP_STEP + d + q];
                    v[i][q] = right[(threadIdx.x + SIDE_THREADS * i) * DEEP_STEP + d + q];
                }
            EACH_PART(i, j)
#pragma unroll
                for (int q = 0; q < 4; q++) s[i][j] += u[i][q] * v[j][q];
        }
    }
}

// Adds the product of the weights in shared memory with a tile of rows of b to y, of which a thread has rows y, y + 16... and neighbouring columns.
template <int TILES> __device__ inline void add_weighted(Part (&y)[TILES], const Matrix &b, int row) {
    wide *tile = shared().left, *weights = shared().weights;
#pragma unroll
    for (int t = 0; t < TILES; t++) {
        if (t * TILE >= b.n) break;
        __syncthreads();                             // after the weights are written, and others have read the tile
        load<TILE, TILE_STEP>(tile, b, row, t * TILE);
        __syncthreads();
#pragma unroll 1
        for (int k = 0; k < TILE; k += 4) {
            wide u[PER][4], v[4][PER];
#pragma unroll
            for (int i = 0; i < PER; i++)
#pragma unroll
                for (int q = 0; q < 4; q++) {
                    u[i][q] = weights[(threadIdx.y + SIDE_THREADS * i) * TILE_STEP + k + q];
                    v[q][i] = tile[(k + q) * TILE_STEP + threadIdx.x * PER + i];
                }
            EACH_PART(i, j)
#pragma unroll
                for (int q = 0; q < 4; q++) y[t][i][j] += u[i][q] * v[q][j];
        }
    }
}

__device__ inline void write_weights(const Part &s) {
    EACH_PART(i, j) shared().weights[(threadIdx.y + SIDE_THREADS * i) * TILE_STEP + threadIdx.x + SIDE_THREADS * j] = s[i][j];
}

// What add_weighted has made, times a factor.
template <int TILES> __device__ inline void write_rows(const Part (&y)[TILES], real *to, idx step, int row, int rows, int n, wide factor) {
#pragma unroll
    for (int t = 0; t < TILES; t++)
        EACH_PART(i, j) {
            const int r = row + threadIdx.y + SIDE_THREADS * i, c = t * TILE + threadIdx.x * PER + j;
            if (r < rows && c < n) to[r * step + c] = y[t][i][j] * factor;
        }
}

template <int TILES> __device__ inline void clear(Part (&y)[TILES]) {
#pragma unroll
    for (int t = 0; t < TILES; t++) EACH_PART(i, j) y[t][i][j] = 0;
}

template <class Combine> __device__ inline wide over_row(wide v, Combine combine) {
    for (int lanes = SIDE_THREADS / 2; lanes; lanes /= 2) v = combine(v, __shfl_xor_sync(0xffffffffu, v, lanes));
    return v;
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
    __device__ wide score(wide product, int query, int key) const {
        if (query >= queries || key >= keys || (causal && key > query) || (see && !see[query * step + key])) return -INFINITE;
        return product * scale + (add ? (wide)add[query * step + key] : 0);
    }
    __device__ wide factor(int query, int key) const {
        return !keep ? 1 : query < queries && key < keys && keep[(idx)query * keys + key] ? kept : 0;
    }
    // How many keys a query of a tile may see, and the first query that may see a key.
    __device__ int end_of_keys(int query) const { return causal ? min(keys, query + TILE) : keys; }
    __device__ int first_query(int key) const { return causal ? key / TILE * TILE : 0; }
};

// -- forward ----------------------------------------------------------------------------------------------------------------

template <int TILES> __device__ inline void attend(const Matrix &q, const Matrix &k, const Matrix &v, const Rules &rules, real *y, idx step, wide *lse, int row) {
    Part s, total[TILES];
    wide highest[PER], sum[PER];                     // the sum is that of this thread's keys
    clear(total);
#pragma unroll
    for (int i = 0; i < PER; i++) highest[i] = -INFINITE, sum[i] = 0;
    for (int key = 0; key < rules.end_of_keys(row); key += TILE) {
        multiply_rows(s, q, row, k, key);
#pragma unroll
        for (int i = 0; i < PER; i++) {
            const int query = row + threadIdx.y + SIDE_THREADS * i;
            wide m = highest[i];
#pragma unroll
            for (int j = 0; j < PER; j++) m = max(m, s[i][j] = rules.score(s[i][j], query, key + threadIdx.x + SIDE_THREADS * j));
            m = over_row(m, Largest());
            const wide base = m > -INFINITE ? m : 0, shrink = exp(highest[i] - base);
            highest[i] = m;
            sum[i] *= shrink;
#pragma unroll
            for (int j = 0; j < PER; j++) {
                const wide p = exp(s[i][j] - base);
                sum[i] += p;
                s[i][j] = p * rules.factor(query, key + threadIdx.x + SIDE_THREADS * j);
            }
#pragma unroll
            for (int t = 0; t < TILES; t++)
#pragma unroll
                for (int j = 0; j < PER; j++) total[t][i][j] *= shrink;
        }
        write_weights(s);
        add_weighted(total, v, key);
    }
#pragma unroll
    for (int i = 0; i < PER; i++) {
        const int query = row + threadIdx.y + SIDE_THREADS * i;
        sum[i] = over_row(sum[i], Sum());
        if (threadIdx.x == 0 && query < q.rows) lse[query] = sum[i] == 0 ? INFINITE : highest[i] + log(sum[i]);
#pragma unroll
        for (int t = 0; t < TILES; t++)
#pragma unroll
            for (int j = 0; j < PER; j++) total[t][i][j] = sum[i] == 0 ? 0 : total[t][i][j] / sum[i];
    }
    write_rows(total, y, step, row, q.rows, v.n, 1);
}

// -- backward ---------------------------------------------------------------------------------------------------------------

// A tile of queries: dq, and the gradients of all their scores where the mask needs them.
template <int TILES> __device__ inline void query_gradient(const Matrix &q, const Matrix &k, const Matrix &v, const Matrix &dy, const Rules &rules, const wide *lse, const wide *dots, real *dq, idx step, real *ds, int row) {
    Part s, g, total[TILES];
    clear(total);
    for (int key = 0; key < (ds ? rules.keys : rules.end_of_keys(row)); key += TILE) {
        multiply_rows(s, q, row, k, key);
        multiply_rows(g, dy, row, v, key);
        EACH_PART(i, j) {
            const int query = row + threadIdx.y + SIDE_THREADS * i, other = key + threadIdx.x + SIDE_THREADS * j;
            const bool there = query < rules.queries && other < rules.keys;
            s[i][j] = there ? exp(rules.score(s[i][j], query, other) - lse[query]) * (g[i][j] * rules.factor(query, other) - dots[query]) : 0;
            if (ds && there) ds[(idx)query * rules.keys + other] = s[i][j];
        }
        write_weights(s);
        if (dq) add_weighted(total, k, key);
    }
    if (dq) write_rows(total, dq, step, row, q.rows, q.n, rules.scale);
}

// A tile of keys: dk and dv.
template <int TILES> __device__ inline void key_gradients(const Matrix &q, const Matrix &k, const Matrix &v, const Matrix &dy, const Rules &rules, const wide *lse, const wide *dots, real *dk, idx step_k, real *dv, idx step_v, int row) {
    Part s, g, total_k[TILES], total_v[TILES];
    clear(total_k), clear(total_v);
    for (int query = rules.first_query(row); query < rules.queries; query += TILE) {
        multiply_rows(s, k, row, q, query);
        multiply_rows(g, v, row, dy, query);
        EACH_PART(i, j) {
            const int key = row + threadIdx.y + SIDE_THREADS * i, other = query + threadIdx.x + SIDE_THREADS * j;
            const bool there = other < rules.queries && key < rules.keys;
            const wide p = there ? exp(rules.score(s[i][j], other, key) - lse[other]) : 0, factor = rules.factor(other, key);
            g[i][j] = there ? p * (g[i][j] * factor - dots[other]) : 0;
            s[i][j] = p * factor;
        }
        write_weights(s);
        if (dv) add_weighted(total_v, dy, query);
        __syncthreads();                             // before the weights are others
        write_weights(g);
        if (dk) add_weighted(total_k, q, query);
    }
    if (dv) write_rows(total_v, dv, step_v, row, k.rows, v.n, 1);
    if (dk) write_rows(total_k, dk, step_k, row, k.rows, k.n, rules.scale);
}

// -- kernels ----------------------------------------------------------------------------------------------------------------

// Arrays are (batch, heads, rows, numbers): a pointer, and how far batches, heads and rows are apart. A block has a tile of rows of one of `count` heads.
#define ROWS(x) *x, idx x##_batch, idx x##_head, idx x##_row
#define INPUTS const real ROWS(q), const real ROWS(k), const real ROWS(v), const real *add, const unsigned char *see, idx mask_batch, idx mask_head, idx mask_row, const unsigned char *keep
#define SIZES idx count, idx heads, idx queries, idx keys, idx d, idx e, idx causal, double scale, double kept

#define HEAD const idx head = blockIdx.x % count; const int row = (int)(blockIdx.x / count) * TILE
#define LAST_FIRST const idx head = blockIdx.x % count; const int row = (int)((gridDim.x - 1 - blockIdx.x) / count) * TILE
#define OF(x) x + (head / heads * x##_batch + head % heads * x##_head)
#define MATRIX(x, rows, n) Matrix{OF(x), x##_row, (int)(rows), (int)(n)}
#define MASK(x) x ? x + (head / heads * mask_batch + head % heads * mask_head) : x
#define RULES Rules{MASK(add), MASK(see), mask_row, keep ? keep + head * queries * keys : keep, (int)queries, (int)keys, causal != 0, (wide)scale, (wide)kept}
#define OPERANDS MATRIX(q, queries, d), MATRIX(k, keys, d), MATRIX(v, keys, e)

// With the second number of the launch bounds, how many blocks a multiprocessor has at a time, the compiler uses as many registers as they leave.
#define ATTEND(most) LAST_FIRST; attend<(most) / TILE>(OPERANDS, RULES, OF(y), y_row, lse + head * queries, row)
KERNEL void __launch_bounds__(256, 2) attention_64(INPUTS, real ROWS(y), wide *lse, SIZES) { ATTEND(64); }
KERNEL void __launch_bounds__(256, 2) attention_128(INPUTS, real ROWS(y), wide *lse, SIZES) { ATTEND(128); }

// Σ dy·y of every query.
KERNEL void attention_dots(const real ROWS(dy), const real ROWS(y), wide *dots, idx count, idx heads, idx queries, idx e) {
    for (EACH_ROW(row, count * queries)) {
        const idx head = row / queries, query = row % queries;
        const real *G = OF(dy) + query * dy_row, *Y = OF(y) + query * y_row;
        wide sum = 0;
        for (ALONG(i, e)) sum += (wide)G[i] * (wide)Y[i];
        sum = team_sum(sum);
        if (threadIdx.x == 0) dots[row] = sum;
    }
}

#define GRADIENTS OPERANDS, MATRIX(dy, queries, e), RULES, lse + head * queries, dots + head * queries
#define OUT(x) x ? OF(x) : x, x##_row

#define QUERY_GRADIENT(most) LAST_FIRST; query_gradient<(most) / TILE>(GRADIENTS, OUT(dq), ds ? ds + head * queries * keys : ds, row)
KERNEL void __launch_bounds__(256, 1) attention_queries_64(INPUTS, const real ROWS(dy), const wide *lse, const wide *dots, real ROWS(dq), real *ds, SIZES) { QUERY_GRADIENT(64); }
KERNEL void __launch_bounds__(256, 1) attention_queries_128(INPUTS, const real ROWS(dy), const wide *lse, const wide *dots, real ROWS(dq), real *ds, SIZES) { QUERY_GRADIENT(128); }

#define KEY_GRADIENTS(most) HEAD; key_gradients<(most) / TILE>(GRADIENTS, OUT(dk), OUT(dv), row)
KERNEL void __launch_bounds__(256, 1) attention_keys_64(INPUTS, const real ROWS(dy), const wide *lse, const wide *dots, real ROWS(dk), real ROWS(dv), SIZES) { KEY_GRADIENTS(64); }
KERNEL void __launch_bounds__(256, 1) attention_keys_128(INPUTS, const real ROWS(dy), const wide *lse, const wide *dots, real ROWS(dk), real ROWS(dv), SIZES) { KEY_GRADIENTS(128); }
