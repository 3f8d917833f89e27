// Products of tiles by tensor cores (compute capability 8.0) for types of 16 bits, added up as float; tiles.cuh has the same functions. A block has 4×32
// threads, and a warp 16 rows of a tile. It multiplies 16×16 by 16×8 numbers at a time, of which a lane has what the PTX ISA says ("Matrix Fragments for
// mma.m16n8k16"): of 16 rows two, lane/4 and lane/4 + 8, and of each eight columns two neighbours, lane%4 * 2 and the next. As these are the same of a product
// and of a left factor, weights are multiplied where they have been computed, in registers, rounded to 16 bits.

enum {
    THREADS = 128,
    TILE = 64, OTHERS = 32,                                      // rows of a tile of the block, and of those that it goes through
    ROWS = 2, COLUMNS = OTHERS / 4, NUMBERS = WIDTH / 4,         // of a tile that a thread has
    NEIGHBOURS = 4,                                              // threads that have a row, which follow each other
    BLOCKS_FORWARD = WIDTH > 64 ? 3 : 4, BLOCKS_BACKWARD = 2,    // that a multiprocessor has at a time, for which the compiler leaves registers
};
typedef wide Scores[ROWS][COLUMNS], Totals[ROWS][NUMBERS];
__device__ inline int row_of(int i) { return threadIdx.y * 16 + threadIdx.x / 4 + i * 8; }
__device__ inline int column_of(int j) { return j / 2 * 8 + threadIdx.x % 4 * 2 + j % 2; }
__device__ inline int number_of(int j) { return column_of(j); }

// -- instructions -----------------------------------------------------------------------------------------------------------

#ifdef __CUDACC_RTC__
#define NAME_half "f16"
#define NAME_bfloat16 "bf16"
#define NAME_OF(type) NAME_##type
#define NAME(type) NAME_OF(type)

// c + a·b. The pairs of a: rows lane/4 and lane/4 + 8 in the first eight columns, then in the others; those of b: the first eight rows, then the others.
__device__ inline void mma_m16n8k16(real, float &c0, float &c1, float &c2, float &c3, const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." NAME(REAL) "." NAME(REAL) ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// Four matrices of 8×8: lane 8m + r says where row r of matrix m begins, in shared memory, and gets two neighbours of each.
__device__ inline void ldmatrix_x4(unsigned (&x)[4], const real *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"((unsigned)__cvta_generic_to_shared(row)) : "memory");
}
// The same of their transposes.
__device__ inline void ldmatrix_x4_trans(unsigned (&x)[4], const real *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"((unsigned)__cvta_generic_to_shared(row)) : "memory");
}
// 16 bytes on their way to shared memory, where they are when the thread has waited.
__device__ inline void cp_async(void *to, const void *from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"((unsigned)__cvta_generic_to_shared(to)), "l"(from) : "memory");
}
__device__ inline void cp_async_wait_all() { asm volatile("cp.async.wait_all;" ::: "memory"); }
// Two numbers as a pair.
__device__ inline unsigned cvt_rn_x2(real, float low, float high) {
    unsigned pair;
    asm("cvt.rn." NAME(REAL) "x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}
#endif

// -- tiles ------------------------------------------------------------------------------------------------------------------

struct alignas(16) Eight { real x[8]; };

// Two tiles of the block and two that it goes through. Eight numbers stay together; where they are in a row depends on the row, so that lanes that read
// the same columns of different rows do so without bank conflicts.
__device__ Eight *shared() {
    __shared__ Eight memory[2 * (TILE + OTHERS) * WIDTH / 8];
    return memory;
}
__device__ inline Eight &eight(const Tile &tile, int row, int column) {
    const int first = tile.place < 2 ? tile.place * TILE : 2 * TILE + (tile.place - 2) * OTHERS;
    return shared()[(first + row) * (WIDTH / 8) + (column / 8 ^ row % 8)];
}

__device__ inline void load(const Tile &tile) {
    const Matrix &of = tile.of;
    const bool aligned = ((unsigned long long)of.x | of.step * sizeof(real)) % sizeof(Eight) == 0;
    for (int e = threadIdx.y * 32 + threadIdx.x; e < (tile.place < 2 ? TILE : OTHERS) * WIDTH / 8; e += 128) {
        const int row = e / (WIDTH / 8), column = e % (WIDTH / 8) * 8;
        Eight &to = eight(tile, row, column);
        if (aligned && tile.row + row < of.rows && column + 8 <= of.n)
            cp_async(&to, of.x + (tile.row + row) * of.step + column);
        else
            for (int i = 0; i < 8; i++) to.x[i] = tile.at(row, column + i);
    }
}

// Tiles come to shared memory.
template <class... Tiles> __device__ inline void take(const Tiles &...tiles) {
    __syncthreads();                                             // after others have read what is there
    (load(tiles), ...);
    cp_async_wait_all();
    __syncthreads();
}

// -- products ---------------------------------------------------------------------------------------------------------------

// What a lane has of the four quarters of a block: rows 0 to 7 and 8 to 15 of the first eight columns, then of the others; or of their transposes.
struct Quarters { unsigned pair[4]; };

template <bool TRANSPOSED> __device__ inline Quarters quarters(const Tile &tile, int row, int column) {
    Quarters q;
    const real *mine = eight(tile, row + threadIdx.x % 16, column + threadIdx.x / 16 * 8).x;
    TRANSPOSED ? ldmatrix_x4_trans(q.pair, mine) : ldmatrix_x4(q.pair, mine);
    return q;
}

// Adds a·b to the eight columns of y in which a lane's first is j.
template <int N> __device__ inline void multiply_add(wide (&y)[ROWS][N], int j, const Quarters &a, unsigned b0, unsigned b1) {
    mma_m16n8k16(real(), y[0][j], y[0][j + 1], y[1][j], y[1][j + 1], a.pair, b0, b1);
}

// The products of the rows of a and the rows of b.
__device__ inline void multiply_rows(Scores &s, const Tile &a, const Tile &b) {
    EACH_SCORE(i, j) s[i][j] = 0;
#pragma unroll
    for (int k = 0; k < WIDTH; k += 16) {
        if (k >= a.of.n) break;
        const Quarters left = quarters<false>(a, threadIdx.y * 16, k);
#pragma unroll
        for (int n = 0; n < OTHERS; n += 16) {
            const Quarters right = quarters<false>(b, n, k);
            multiply_add(s, n / 4, left, right.pair[0], right.pair[2]);
            multiply_add(s, n / 4 + 2, left, right.pair[1], right.pair[3]);
        }
    }
}

// Adds the product of weights and b to y.
__device__ inline void add_weighted(Totals &y, const Scores &s, const Tile &b) {
#pragma unroll
    for (int k = 0; k < OTHERS; k += 16) {
        const int j = k / 4;
        const Quarters left = {{cvt_rn_x2(real(), s[0][j], s[0][j + 1]), cvt_rn_x2(real(), s[1][j], s[1][j + 1]),
                                cvt_rn_x2(real(), s[0][j + 2], s[0][j + 3]), cvt_rn_x2(real(), s[1][j + 2], s[1][j + 3])}};
#pragma unroll
        for (int n = 0; n < WIDTH; n += 16) {
            if (n >= b.of.n) break;
            const Quarters right = quarters<true>(b, k, n);
            multiply_add(y, n / 4, left, right.pair[0], right.pair[1]);
            multiply_add(y, n / 4 + 2, left, right.pair[2], right.pair[3]);
        }
    }
}
