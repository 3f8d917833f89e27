/* Philox4x64-10, the random words of a counter (Salmon et al., 2011; backend/philox.py has more on it), and dropout. */
#include "kernel.h"

#if defined(__SIZEOF_INT128__)
static inline uint64_t high_product(uint64_t a, uint64_t b) { return (uint64_t)(((unsigned __int128)a * b) >> 64); }
#else
static inline uint64_t high_product(uint64_t a, uint64_t b) {
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t low = a0 * b0, middle = a1 * b0 + (low >> 32), other = a0 * b1 + (uint32_t)middle;
    return a1 * b1 + (middle >> 32) + (other >> 32);
}
#endif

/* WORDS[4i...4i + 3] are those of counter offset + i + 1: blocks begin to end of NumPy's generator started at `offset`. SEED is {seed, offset}. */
KERNEL void philox(idx begin, idx end, const uint64_t *SEED, uint64_t *WORDS) {
    for (idx i = begin; i < end; i++) {
        uint64_t k0 = SEED[0], k1 = 0, c0 = SEED[1] + (uint64_t)i + 1, c1 = 0, c2 = 0, c3 = 0;
        for (int round = 0; round < 10; round++) {
            uint64_t h0 = high_product(0xD2E7470EE14C6C93u, c0), l0 = 0xD2E7470EE14C6C93u * c0;
            uint64_t h1 = high_product(0xCA5A826395121157u, c2), l1 = 0xCA5A826395121157u * c2;
            c0 = h1 ^ c1 ^ k0, c1 = l1, c2 = h0 ^ c3 ^ k1, c3 = l0;
            k0 += 0x9E3779B97F4A7C15u, k1 += 0xBB67AE8584CAA73Bu;
        }
        uint64_t *word = WORDS + 4 * i;
        word[0] = c0, word[1] = c1, word[2] = c2, word[3] = c3;
    }
}

/* y = x·scale where keep, 0 elsewhere: a product, so that NaN stays */
KERNEL void dropout(idx begin, idx end, const real *restrict X, const uint8_t *restrict KEEP, real *restrict Y, double scale) {
    const real factor = (real)scale;
    for (idx i = begin; i < end; i++) Y[i] = X[i] * (real)KEEP[i] * factor;
}
