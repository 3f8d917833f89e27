// CUDA C++ on the CPU: included before a kernel's source, so that g++ compiles the same text that NVRTC does. A thread of a block is a fiber, which
// runs until it waits: at a barrier for all of its block, at a warp's exchange for the other lanes. Who goes on next is drawn at random (or is always the
// last one that could, which runs far ahead of the others), so that a result which depends on the order, for want of a barrier, is not the same twice.
// Shared memory holds NaN when a block begins. What a device does silently wrong is an error here: a barrier that some threads never reach, an
// exchange with lanes that do not take part.
#pragma once
#include <csetjmp>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __device__
#define __host__
#define __global__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("cuda_shared")))         // blocks run one after the other, so `static` is of the block

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x = 1, y = 1, z = 1; };
static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;

// -- fibers -----------------------------------------------------------------------------------------------------------------

extern char __start_cuda_shared[] __attribute__((weak, visibility("hidden"))), __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));

namespace host {

enum State { READY, AT_BARRIER, AT_EXCHANGE, DONE };

struct Fiber {
    jmp_buf place;
    ucontext_t first;
    char *stack = nullptr;
    bool begun = false;
};

struct Thread {
    uint3 index;
    State state;
    Fiber *fiber;
};

struct Warp {
    unsigned lanes, arrived, round, mask;
    uint64_t slot[2][32];
};

static std::vector<Thread> threads;
static std::vector<Warp> warps;
static std::vector<unsigned> ready;
static std::vector<Fiber *> idle;
static std::vector<Fiber *> all;
static unsigned current;                             // the thread that runs
static uint64_t state_of_chance;
static bool last_first;                              // the policy: the last thread that became ready goes on first
static const char *fault;
static jmp_buf scheduler;
static ucontext_t scheduler_first;
static void (*kernel)(void **);
static void **arguments;

static unsigned chance(unsigned n) {                 // xorshift
    state_of_chance ^= state_of_chance << 13, state_of_chance ^= state_of_chance >> 7, state_of_chance ^= state_of_chance << 17;
    return (state_of_chance >> 33) % n;
}

__attribute__((noinline)) static void to_scheduler() {
#ifdef __SANITIZE_ADDRESS__
    swapcontext(&threads[current].fiber->first, &scheduler_first);
#else
    if (!_setjmp(threads[current].fiber->place)) _longjmp(scheduler, 1);
#endif
}

[[noreturn]] static void body() {                    // a fiber runs thread after thread
    for (;;) {
        kernel(arguments);
        threads[current].state = DONE;
        to_scheduler();
    }
}

__attribute__((noinline)) static void resume(unsigned t) {
    Thread &thread = threads[t];
    if (!thread.fiber) {
        if (idle.empty()) {
            const size_t size = 1 << 17;
            Fiber *fiber = new Fiber;
            fiber->stack = static_cast<char *>(malloc(size));
            getcontext(&fiber->first);
            fiber->first.uc_stack.ss_sp = fiber->stack, fiber->first.uc_stack.ss_size = size, fiber->first.uc_link = nullptr;
            makecontext(&fiber->first, body, 0);
            idle.push_back(fiber), all.push_back(fiber);
        }
        thread.fiber = idle.back();
        idle.pop_back();
    }
    current = t, threadIdx = thread.index;
#ifdef __SANITIZE_ADDRESS__
    swapcontext(&scheduler_first, &thread.fiber->first);
#else
    if (!_setjmp(scheduler)) {
        if (thread.fiber->begun) _longjmp(thread.fiber->place, 1);
        thread.fiber->begun = true;
        setcontext(&thread.fiber->first);
    }
#endif
    Thread &after = threads[current];
    if (after.state == DONE) idle.push_back(after.fiber), after.fiber = nullptr;
}

static void failed(const char *why) {                // the fibers that were at work are lost
    fault = why;
    threads[current].state = DONE;
    to_scheduler();
}

__attribute__((no_sanitize("address"))) static void poison_shared_memory() {
    for (char *p = __start_cuda_shared; p < __stop_cuda_shared; p++) *p = static_cast<char>(0xff);
}

static void run_block() {
    const unsigned n = blockDim.x * blockDim.y * blockDim.z;
    poison_shared_memory();
    threads.resize(n), warps.resize((n + 31) / 32), ready.resize(n);
    for (unsigned t = 0; t < n; t++) {
        threads[t] = {{t % blockDim.x, t / blockDim.x % blockDim.y, t / (blockDim.x * blockDim.y)}, READY, nullptr};
        ready[t] = t;
    }
    for (unsigned w = 0; w < warps.size(); w++) warps[w] = {n - 32 * w < 32 ? n - 32 * w : 32, 0, 0, 0, {}};
    for (unsigned t = n; t > 1; t--) std::swap(ready[t - 1], ready[chance(t)]);
    for (;;) {
        while (!ready.empty() && !fault) {
            if (!last_first) std::swap(ready.back(), ready[chance(ready.size())]);
            unsigned t = ready.back();
            ready.pop_back();
            resume(t);
        }
        unsigned waiting = 0, done = 0;
        for (Thread &thread : threads) waiting += thread.state == AT_BARRIER, done += thread.state == DONE;
        if (!fault && done == n) return;
        if (!fault && waiting < n) fault = waiting ? "a barrier that not all threads of the block reach" : "an exchange that not all lanes of the warp take part in";
        if (fault) {
            for (Thread &thread : threads) thread.fiber = nullptr;
            ready.clear(), idle.clear();
            return;
        }
        for (unsigned t = 0; t < n; t++) threads[t].state = READY, ready.push_back(t);
        for (unsigned t = n; t > 1; t--) std::swap(ready[t - 1], ready[chance(t)]);
    }
}

// Runs all blocks, in a random order; returns what went wrong, or null.
static const char *run(void (*entry)(void **), void **args, const unsigned *grid, const unsigned *block, uint64_t seed) {
    kernel = entry, arguments = args, fault = nullptr;
    gridDim = {grid[0], grid[1], grid[2]}, blockDim = {block[0], block[1], block[2]};
    state_of_chance = seed * 2 + 0x9E3779B97F4A7C15u, last_first = seed & 1;
    const unsigned n = grid[0] * grid[1] * grid[2], start = chance(n), step = seed & 2 ? 1 : n - 1;
    for (unsigned k = 0, b = start; k < n && !fault; k++, b = (b + step) % n) {
        blockIdx = {b % grid[0], b / grid[0] % grid[1], b / (grid[0] * grid[1])};
        run_block();
    }
    return fault;
}

// -- what lanes of a warp exchange ------------------------------------------------------------------------------------------

// Every lane of the mask gives a value, waits for the others, and takes that of the lane `from`.
template <class T> inline T exchange(unsigned mask, T value, unsigned from) {
    static_assert(sizeof(T) <= 8, "4 or 8 bytes");
    const unsigned me = current % 32;
    Warp &warp = warps[current / 32];
    const unsigned present = warp.lanes == 32 ? ~0u : (1u << warp.lanes) - 1;
    if (mask & ~present) failed("an exchange with lanes that the block does not have");
    if (!(mask >> me & 1) || !(mask >> from & 1)) failed("an exchange with a lane that is not in the mask");
    if (warp.arrived && warp.mask != mask) failed("an exchange to which lanes come with different masks");
    const unsigned round = warp.round & 1;           // who goes on to the next exchange writes there, while others still read here
    std::memcpy(&warp.slot[round][me], &value, sizeof(T));
    warp.mask = mask;
    if (++warp.arrived == static_cast<unsigned>(__builtin_popcount(mask))) {
        warp.arrived = 0, warp.round++;
        for (unsigned lane = 0; lane < 32; lane++)
            if (mask >> lane & 1 && lane != me) threads[current - me + lane].state = READY, ready.push_back(current - me + lane);
        if (!last_first) std::swap(ready.back(), ready[chance(ready.size())]);
    } else {
        threads[current].state = AT_EXCHANGE;
        to_scheduler();
    }
    T result;
    std::memcpy(&result, &warps[current / 32].slot[round][from], sizeof(T));
    return result;
}

// -- calling a kernel -------------------------------------------------------------------------------------------------------

template <class... A, size_t... I> inline void call(void (*f)(A...), void **p, std::index_sequence<I...>) { f(*reinterpret_cast<std::remove_cv_t<A> *>(p[I])...); }
template <class... A> inline void call(void (*f)(A...), void **p) { call(f, p, std::index_sequence_for<A...>()); }

// A parameter in four characters: r or w for a pointer to read or to write, n for a number; the kind i, u, f or V as in NumPy; its bytes.
template <class T> inline char *describe_one(char *out) {
    using E = std::remove_pointer_t<T>;
    using V = std::remove_cv_t<E>;
    *out++ = !std::is_pointer_v<T> ? 'n' : std::is_const_v<E> ? 'r' : 'w';
    *out++ = std::is_floating_point_v<V> ? 'f' : std::is_integral_v<V> ? std::is_signed_v<V> ? 'i' : 'u' : 'V';
    *out++ = static_cast<char>('0' + sizeof(V)), *out++ = ' ';
    return out;
}
template <class... A> inline void describe(void (*)(A...), char *out) { ((out = describe_one<A>(out)), ...); *out = 0; }

}  // namespace host

// -- the language -----------------------------------------------------------------------------------------------------------

static const int warpSize = 32;
static inline void __syncthreads() { host::threads[host::current].state = host::AT_BARRIER, host::to_scheduler(); }
static inline void __syncwarp(unsigned mask = ~0u) { host::exchange(mask, 0, host::current % 32); }
template <class T> inline T __shfl_sync(unsigned mask, T v, unsigned lane, unsigned width = 32) {
    const unsigned me = host::current % 32;
    return host::exchange(mask, v, me - me % width + lane % width);
}
template <class T> inline T __shfl_xor_sync(unsigned mask, T v, unsigned bits, unsigned width = 32) {
    const unsigned me = host::current % 32, from = me ^ bits;
    return host::exchange(mask, v, from / width > me / width ? me : from);
}
template <class T> inline T __shfl_down_sync(unsigned mask, T v, unsigned by, unsigned width = 32) {
    const unsigned me = host::current % 32;
    return host::exchange(mask, v, me % width + by < width ? me + by : me);
}
template <class T> inline T __shfl_up_sync(unsigned mask, T v, unsigned by, unsigned width = 32) {
    const unsigned me = host::current % 32;
    return host::exchange(mask, v, me % width >= by ? me - by : me);
}

template <class T> inline T atomicAdd(T *p, T v) { T old = *p; *p = old + v; return old; }
template <class T> inline T atomicMax(T *p, T v) { T old = *p; *p = old > v ? old : v; return old; }
template <class T> inline T atomicMin(T *p, T v) { T old = *p; *p = old < v ? old : v; return old; }
template <class T> inline T atomicExch(T *p, T v) { T old = *p; *p = v; return old; }
template <class T> inline T atomicCAS(T *p, T expected, T v) { T old = *p; if (old == expected) *p = v; return old; }
static inline void __threadfence() {}
static inline void __threadfence_block() {}
template <class T> inline T __ldg(const T *p) { return *p; }

static inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<uint64_t>(a) * b >> 32; }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return static_cast<unsigned __int128>(a) * b >> 64; }
static inline float __int_as_float(int x) { float f; std::memcpy(&f, &x, 4); return f; }
static inline int __float_as_int(float f) { int x; std::memcpy(&x, &f, 4); return x; }
static inline float __uint_as_float(unsigned x) { float f; std::memcpy(&f, &x, 4); return f; }
static inline unsigned __float_as_uint(float f) { unsigned x; std::memcpy(&x, &f, 4); return x; }
static inline double __longlong_as_double(long long x) { double f; std::memcpy(&f, &x, 8); return f; }

using std::ceil; using std::cos; using std::erf; using std::erfc; using std::exp; using std::expm1; using std::fabs; using std::floor; using std::fma;
using std::fmod; using std::isfinite; using std::isinf; using std::isnan; using std::log; using std::log1p; using std::pow; using std::sin;
using std::sqrt; using std::tanh;
static inline float rsqrt(float x) { return 1 / sqrtf(x); }
static inline double rsqrt(double x) { return 1 / sqrt(x); }
static inline float normcdff(float x) { return 0.5f * erfcf(x * -0.70710678f); }
static inline double normcdf(double x) { return 0.5 * erfc(x * -0.70710678118654752); }
static inline float normcdf(float x) { return normcdff(x); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline float min(float a, float b) { return fminf(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline int max(int a, int b) { return a > b ? a : b; }
static inline int min(int a, int b) { return a < b ? a : b; }
static inline long long max(long long a, long long b) { return a > b ? a : b; }
static inline long long min(long long a, long long b) { return a < b ? a : b; }

// IEEE's half precision, which CUDA converts in one instruction: by the float's bits, rounded to the nearest, ties to even.
static inline float half_to_float(unsigned short bits) {
    const unsigned sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31, fraction = bits & 1023;
    if (exponent == 31) return __uint_as_float(sign | 0x7f800000u | fraction << 13);
    const float magnitude = exponent ? __uint_as_float((exponent + 112) << 23 | fraction << 13) : fraction * 0x1p-24f;
    return sign ? -magnitude : magnitude;
}
static inline unsigned short float_to_half(float x) {
    const unsigned bits = __float_as_uint(x), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u) return sign | 0x7e00u;
    if (rest >= 0x477ff000u) return sign | 0x7c00u;                                      // beyond 65504 and what rounds to it
    if (rest < 0x38800000u) return sign | static_cast<unsigned>(nearbyintf(__uint_as_float(rest) * 0x1p24f));
    return sign | (rest - 0x38000000u + 0xfffu + (rest >> 13 & 1)) >> 13;
}

// -- tensor cores, as the PTX ISA describes them ----------------------------------------------------------------------------

namespace host {

static struct { const unsigned short *rows[32]; float a[16][16], b[16][8]; } matrices[32];             // of each warp

// What a lane gives of a and b: numbers a0 to a7 and b0 to b3, two in a register, and what it has of c and d, c0 to c3, are these of the matrices.
struct Fragments {
    const int group = current % 32 >> 2, thread_in_group = current % 32 % 4;
    int row_of_a(int i) const { return i < 2 || (4 <= i && i < 6) ? group : group + 8; }
    int column_of_a(int i) const { return thread_in_group * 2 + (i & 1) + (i < 4 ? 0 : 8); }
    int row_of_b(int i) const { return thread_in_group * 2 + (i & 1) + (i < 2 ? 0 : 8); }
    int column_of_b(int) const { return group; }
    int row_of_c(int i) const { return i < 2 ? group : group + 8; }
    int column_of_c(int i) const { return thread_in_group * 2 + (i & 1); }
};

template <class T> inline float number(unsigned pair, int i) {
    T x;
    x.bits = static_cast<unsigned short>(i & 1 ? pair >> 16 : pair);
    return x;
}

}  // namespace host

template <class T> inline void mma_m16n8k16(T, float &c0, float &c1, float &c2, float &c3, const unsigned (&a)[4], unsigned b0, unsigned b1) {
    const host::Fragments at;
    auto &m = host::matrices[host::current / 32];
    float *c[] = {&c0, &c1, &c2, &c3};
    for (int i = 0; i < 8; i++) m.a[at.row_of_a(i)][at.column_of_a(i)] = host::number<T>(a[i / 2], i);
    for (int i = 0; i < 4; i++) m.b[at.row_of_b(i)][at.column_of_b(i)] = host::number<T>(i < 2 ? b0 : b1, i);
    __syncwarp();
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 16; k++) *c[i] += m.a[at.row_of_c(i)][k] * m.b[k][at.column_of_c(i)];
    __syncwarp();                                    // before others write the next ones there
}

// Lanes 0 to 7 give where the rows of the first matrix begin, lanes 8 to 15 those of the second...; lane l has elements 2 * (l % 4) and + 1 of row l / 4, or of that
// row of the transpose.
template <class T> inline void ldmatrix(unsigned (&x)[4], const T *row, bool transpose) {
    const unsigned lane = host::current % 32;
    auto &rows = host::matrices[host::current / 32].rows;
    if (reinterpret_cast<uintptr_t>(row) % 16) host::failed("ldmatrix: a row that does not begin at a multiple of 16 bytes");
    rows[lane] = reinterpret_cast<const unsigned short *>(row);
    __syncwarp();
    for (int m = 0; m < 4; m++) {
        const unsigned r = lane / 4, c = lane % 4 * 2;
        const unsigned low = transpose ? rows[8 * m + c][r] : rows[8 * m + r][c], high = transpose ? rows[8 * m + c + 1][r] : rows[8 * m + r][c + 1];
        x[m] = low | high << 16;
    }
    __syncwarp();
}
template <class T> inline void ldmatrix_x4(unsigned (&x)[4], const T *row) { ldmatrix(x, row, false); }
template <class T> inline void ldmatrix_x4_trans(unsigned (&x)[4], const T *row) { ldmatrix(x, row, true); }

// Copies of 16 bytes that a thread has begun; they are there when it has waited for them.
namespace host { static std::vector<std::pair<void *, const void *>> copies[1024]; }
static inline void cp_async(void *to, const void *from) {
    if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % 16) host::failed("cp.async: an address that is not a multiple of 16");
    host::copies[host::current].emplace_back(to, from);
}
static inline void cp_async_wait_all() {
    for (auto [to, from] : host::copies[host::current]) std::memcpy(to, from, 16);
    host::copies[host::current].clear();
}
template <class T> inline unsigned cvt_rn_x2(T, float low, float high) { return T(low).bits | static_cast<unsigned>(T(high).bits) << 16; }
