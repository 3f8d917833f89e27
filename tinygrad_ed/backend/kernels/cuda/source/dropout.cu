// Dropout: which elements stay, from the random words of `backend/philox.py`, whose source stands before this, and the product with that.

// Whether each element's own bits (8, 16 or 32 of the words of blocks offset, offset + 1... in row-major order) are a number below the limit. A thread does
// what one block of four words decides. The seed and the offset may lie on the device, at `at`, where they can change between the replays of a graph.
KERNEL void random_mask(unsigned char *keep, unsigned long long seed, unsigned long long offset, const unsigned long long *at, idx n, idx limit, idx bits) {
    const int of_word = 64 / bits;
    const unsigned long long mask = (1ull << bits) - 1;
    if (at) seed = at[0], offset = at[1];
    for (EACH(block, (n + 4 * of_word - 1) / (4 * of_word))) {
        unsigned long long words[4];
        philox(offset + block + 1, seed, words);
        for (int w = 0; w < 4; w++) {
            const idx start = (4 * block + w) * of_word;
            unsigned long long flags = 0;             // a byte for each element
            for (int k = 0; k < of_word; k++) flags |= (unsigned long long)((idx)(words[w] >> k * bits & mask) < limit) << 8 * k;
            if (start + of_word > n) {
                for (int k = 0; start + k < n; k++) keep[start + k] = flags >> 8 * k;
            } else if (of_word == 8) {
                *(unsigned long long *)(keep + start) = flags;
            } else if (of_word == 4) {
                *(unsigned *)(keep + start) = flags;
            } else {
                *(unsigned short *)(keep + start) = flags;
            }
        }
    }
}

// x·scale where `keep` is set, 0 elsewhere; each element of keep stands for `inner` of x.
KERNEL void dropout(const real *x, const unsigned char *keep, real *y, idx n, idx inner, double scale) {
    for (EACH(i, n)) y[i] = (wide)x[i] * (keep[inner == 1 ? i : i / inner] ? (wide)scale : 0);
}
