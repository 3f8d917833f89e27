/* What every kernel is written in: `real`, which is float or double, sizes, and how a kernel is marked.

   A kernel is a function KERNEL void name(idx begin, idx end, ...) that does the rows, elements or channels from begin to end. The rest of its
   arguments are pointers to real, int64_t, uint64_t and uint8_t, sizes (idx) and numbers (double). build.py reads these lines and writes the code
   that Python calls, which splits 0...n into pieces of a fixed size and hands them to the threads (threads.c). So a kernel knows nothing of threads,
   and its result does not depend on how many there are. A file of kernels is compiled twice, once with FLOAT for float. */
#ifndef KERNEL_H
#define KERNEL_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(_MSC_VER) && !defined(__clang__)
#define restrict __restrict
#define ALIGNED __declspec(align(64))   /* to a line of the cache */
#else
#define ALIGNED __attribute__((aligned(64)))
#endif

typedef ptrdiff_t idx;

/* An argument on its way from Python to a kernel. */
union arg {
    void *p;
    idx n;
    double d;
};

typedef void (*kernel_call)(idx begin, idx end, const union arg *args);

/* An entry of a table of kernels: arguments as letters: r i u b g for pointers to real, int64_t, uint64_t,
   uint8_t and double (in upper case where it is written to), n for idx, d for double. */
struct kernel {
    const char *name, *arguments;
    kernel_call call;
};

/* The compiler makes one version of a kernel for each of these instruction sets, and the loader takes the best that the machine has. */
#ifdef CLONES
#define KERNEL __attribute__((target_clones(CLONES))) static
#else
#define KERNEL static
#endif

/* How a kernel's larger parts are marked. What the compiler does not put into the kernel itself would be made for the oldest instruction set only. */
#ifdef __GNUC__
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

#ifdef FLOAT
typedef float real;
typedef int32_t word;                   /* an integer of the same size */
#define DIGITS 23                       /* bits of the fraction */
#define LOWEST -3.4028235e38f
#else
typedef double real;
typedef int64_t word;
#define DIGITS 52
#define LOWEST -1.7976931348623157e308
#endif

#ifdef FLOAT
static inline real real_sqrt(real x) { return sqrtf(x); }
#else
static inline real real_sqrt(real x) { return sqrt(x); }
#endif

static inline idx least(idx a, idx b) { return a < b ? a : b; }

#endif
