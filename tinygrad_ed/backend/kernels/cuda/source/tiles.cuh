// Products of tiles by multiplying and adding: for all types, on every device. tensor_cores.cuh has the same functions. A block has 16×16 threads; thread
// (x, y) has rows y, y + 16... of a tile, and of its columns x, x + 16... The rows that are multiplied come to shared memory a piece at a time.

enum {
    THREADS = 256,
    ROWS = sizeof(wide) == 8 ? 2 : 4, COLUMNS = ROWS,            // of a tile that a thread has
    TILE = 16 * ROWS, OTHERS = TILE,                             // rows of a tile of the block, and of those that it goes through
    TILES = (WIDTH + TILE - 1) / TILE, NUMBERS = TILES * COLUMNS,
    NEIGHBOURS = 16,                                             // threads that have a row, which follow each other
    DEEP = 32,                                                   // numbers of a row that are multiplied at a time
    DEEP_STEP = DEEP + 4, TILE_STEP = TILE + 4,                  // from row to row in shared memory: no bank conflicts, and four numbers are read at once
    BLOCKS_FORWARD = 2, BLOCKS_BACKWARD = 1,                     // that a multiprocessor has at a time, for which the compiler leaves registers
};
typedef wide Scores[ROWS][COLUMNS], Totals[ROWS][NUMBERS];
__device__ inline int row_of(int i) { return threadIdx.y + 16 * i; }
__device__ inline int column_of(int j) { return threadIdx.x + 16 * j; }
__device__ inline int number_of(int j) { return j / COLUMNS * TILE + threadIdx.x * COLUMNS + j % COLUMNS; }      // neighbours, which are read at once

struct alignas(16) Shared {
    wide left[TILE * DEEP_STEP], right[TILE * DEEP_STEP];        // or both together one tile
    wide weights[TILE * TILE_STEP];
};
static_assert(2 * TILE * DEEP_STEP >= TILE * TILE_STEP && sizeof(Shared) <= 48 * 1024, "what a block may have without asking");

__device__ Shared &shared() {
    __shared__ Shared memory;
    return memory;
}

// Nothing of a tile is kept in shared memory.
template <class... Tiles> __device__ inline void take(const Tiles &...) {}

// A part of a tile from a column on, in shared memory.
template <int N, int STEP> __device__ inline void load(wide *to, const Tile &tile, int column) {
    for (int e = threadIdx.y * 16 + threadIdx.x; e < TILE * N; e += 256) to[e / N * STEP + e % N] = tile.at(e / N, column + e % N);
}

// The products of the rows of a and the rows of b.
__device__ inline void multiply_rows(Scores &s, const Tile &a, const Tile &b) {
    wide *left = shared().left, *right = shared().right;
    EACH_SCORE(i, j) s[i][j] = 0;
    for (int from = 0; from < a.of.n; from += DEEP) {
        __syncthreads();                                         // after others have read what is there
        load<DEEP, DEEP_STEP>(left, a, from);
        load<DEEP, DEEP_STEP>(right, b, from);
        __syncthreads();
#pragma unroll 1
        for (int d = 0; d < DEEP; d += 4) {
            wide u[ROWS][4], v[COLUMNS][4];
#pragma unroll
            for (int i = 0; i < ROWS; i++)
#pragma unroll
                for (int q = 0; q < 4; q++) {
                    u[i][q] = left[row_of(i) * DEEP_STEP + d + q];
                    v[i][q] = right[column_of(i) * DEEP_STEP + d + q];
                }
            EACH_SCORE(i, j)
#pragma unroll
                for (int q = 0; q < 4; q++) s[i][j] += u[i][q] * v[j][q];
        }
    }
}

// Adds the product of weights and b to y.
__device__ inline void add_weighted(Totals &y, const Scores &s, const Tile &b) {
    wide *tile = shared().left, *weights = shared().weights;
    __syncthreads();                                             // after others have read the weights before
    EACH_SCORE(i, j) weights[row_of(i) * TILE_STEP + column_of(j)] = s[i][j];
#pragma unroll
    for (int t = 0; t < TILES; t++) {
        if (t * TILE >= b.of.n) break;
        __syncthreads();                                         // after the weights are written, and others have read the tile
        load<TILE, TILE_STEP>(tile, b, t * TILE);
        __syncthreads();
#pragma unroll 1
        for (int k = 0; k < TILE; k += 4) {
            wide u[ROWS][4], v[4][COLUMNS];
#pragma unroll
            for (int i = 0; i < ROWS; i++)
#pragma unroll
                for (int q = 0; q < 4; q++) {
                    u[i][q] = weights[row_of(i) * TILE_STEP + k + q];
                    v[q][i] = tile[(k + q) * TILE_STEP + threadIdx.x * COLUMNS + i];
                }
            EACH_SCORE(i, j)
#pragma unroll
                for (int q = 0; q < 4; q++) y[i][t * COLUMNS + j] += u[i][q] * v[q][j];
        }
    }
}
