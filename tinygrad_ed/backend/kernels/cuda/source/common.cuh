// What every kernel is written in, put before each family by launch.py, which defines REAL and WIDE:
//
//   real   the type of the arrays: float, double, half or bfloat16; reads as `wide` and is written from it
//   wide   the type to compute in: double for double, else float
//   idx    sizes and indices
//
// A kernel is `KERNEL void name(...)`. Its parameters are pointers, sizes (idx) and numbers (double). It must be right for every size of grid and block
// that launch.py may choose, and for any order in which threads run: the tests run this text on the CPU, with threads in random order.

typedef long long idx;
typedef WIDE wide;
#define KERNEL extern "C" __global__
#define INFINITE ((wide)__int_as_float(0x7f800000))
#define NOT_A_NUMBER ((wide)__int_as_float(0x7fffffff))

// -- the types of 16 bits ---------------------------------------------------------------------------------------------------

#ifdef __CUDACC_RTC__
__device__ inline float half_to_float(unsigned short bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}
__device__ inline unsigned short float_to_half(float x) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
#endif

struct half {
    unsigned short bits;
    half() = default;
    __device__ half(float x) : bits(float_to_half(x)) {}
    __device__ operator float() const { return half_to_float(bits); }
};

struct bfloat16 {                                    // the upper half of a float, rounded to the nearest, ties to even
    unsigned short bits;
    bfloat16() = default;
    __device__ bfloat16(float x) {
        const unsigned u = __float_as_uint(x);
        bits = x == x ? (u + 0x7fffu + (u >> 16 & 1)) >> 16 : 0x7fc0;
    }
    __device__ operator float() const { return __uint_as_float((unsigned)bits << 16); }
};

typedef REAL real;

// -- loops ------------------------------------------------------------------------------------------------------------------

// The elements of this thread, of n.
#define EACH(i, n) idx i = blockIdx.x * (idx)blockDim.x + threadIdx.x; i < (n); i += (idx)gridDim.x * blockDim.x

// Rows are done by teams of blockDim.x threads: 1, or 32, which are a warp, with blockDim.y teams to a block; or more, the only team of their block.
// All threads of a team run through its rows together.
#define EACH_ROW(row, rows) idx row = blockIdx.x * (idx)blockDim.y + threadIdx.y; row < (rows); row += (idx)gridDim.x * blockDim.y

// The elements of this thread, of a row of n.
#define ALONG(i, n) idx i = threadIdx.x; i < (n); i += blockDim.x

// -- sums -------------------------------------------------------------------------------------------------------------------

struct Sum { __device__ wide operator()(wide a, wide b) const { return a + b; } };
struct Largest { __device__ wide operator()(wide a, wide b) const { return a > b || a != a ? a : b; } };       // NaN if there is one

__device__ wide *one_for_each_warp() {
    __shared__ wide shared[32];
    return shared;
}

template <class Combine> __device__ inline wide over_warp(wide v, Combine combine) {
    for (int lanes = 16; lanes; lanes /= 2) v = combine(v, __shfl_xor_sync(0xffffffffu, v, lanes));
    return v;
}

// The values of all threads of a block combined, in the same order every time; each thread gets the result.
template <class Combine> __device__ inline wide over_block(wide v, Combine combine) {
    wide *shared = one_for_each_warp();
    const int me = threadIdx.y * blockDim.x + threadIdx.x, warps = blockDim.x * blockDim.y / 32;
    v = over_warp(v, combine);
    if (me % 32 == 0) shared[me / 32] = v;
    __syncthreads();
    v = shared[0];
    for (int w = 1; w < warps; w++) v = combine(v, shared[w]);
    __syncthreads();                                 // before the next ones are written there
    return v;
}

// The values of a team.
template <class Combine> __device__ inline wide over_team(wide v, Combine combine) {
    return blockDim.x == 1 ? v : blockDim.x == 32 ? over_warp(v, combine) : over_block(v, combine);
}

__device__ inline wide team_sum(wide v) { return over_team(v, Sum()); }
__device__ inline wide block_sum(wide v) { return over_block(v, Sum()); }

// The sum over threadIdx.y for each threadIdx.x; blockDim.y is a power of two.
__device__ wide sum_over_y(wide v) {
    __shared__ wide part[1024];
    wide *mine = part + threadIdx.y * blockDim.x + threadIdx.x;
    *mine = v;
    __syncthreads();
    for (unsigned rows = blockDim.y / 2; rows; rows /= 2) {
        if (threadIdx.y < rows) *mine += mine[rows * blockDim.x];
        __syncthreads();
    }
    v = part[threadIdx.x];
    __syncthreads();                                 // before the next ones are written there
    return v;
}

// -- windows ----------------------------------------------------------------------------------------------------------------

// How k taps slide over a dimension of n inputs to give m outputs: output o sees through tap t the input o·s + t·d - p.
struct Side {
    int n, m, k, s, p, d;
    __device__ int input(int o, int t) const { return o * s + t * d - p; }
    __device__ bool has(int i) const { return i >= 0 && i < n; }
    // The taps through which output o sees an input, not padding, are those from first_tap(o) to before end_of_taps(o).
    __device__ int first_tap(int o) const { return max(0, p - o * s + d - 1) / d; }
    __device__ int end_of_taps(int o) const { return min(k, max(0, n + p - o * s + d - 1) / d); }
    // The outputs that see input i are some of those from first_output(i) to before end_of_outputs(i): those with a tap, not -1.
    __device__ int first_output(int i) const { return max(0, i + p - (k - 1) * d + s - 1) / s; }
    __device__ int end_of_outputs(int i) const { return min(m, max(0, i + p + s) / s); }
    __device__ int tap(int i, int o) const { const int behind = i + p - o * s; return behind % d ? -1 : behind / d; }
};

// The parameters of a kernel with windows over three dimensions, as windows.py gives them, and the three sides made of them.
#define SIDES idx na, idx ma, idx ka, idx sa, idx pa, idx da, idx nb, idx mb, idx kb, idx sb, idx pb, idx db, idx nc, idx mc, idx kc, idx sc, idx pc, idx dc
#define SIDE(x) const Side x = {(int)n##x, (int)m##x, (int)k##x, (int)s##x, (int)p##x, (int)d##x}

// Element i of (planes, a, b, c), and the element of such an array at a place.
struct Place { idx plane; int a, b, c; };
__device__ inline Place place_of(idx i, int a, int b, int c) {
    const idx row = i / c, plate = row / b;
    return {plate / a, (int)(plate % a), (int)(row % b), (int)(i % c)};
}
__device__ inline idx at(idx plane, int i, int j, int k, int a, int b, int c) { return ((plane * a + i) * b + j) * c + k; }

// Loops over the taps x.k of output o, and over the outputs that may see input i.
#define EACH_TAP(x, o) int t##x = x.first_tap(o); t##x < x.end_of_taps(o); t##x++
#define EACH_OUTPUT(x, i) int o##x = x.first_output(i); o##x < x.end_of_outputs(i); o##x++
