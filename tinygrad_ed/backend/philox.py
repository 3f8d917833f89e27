"""Random words from a counter: Philox4x64-10, the one random function of every device, and the numbers made from its words.

Philox (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) encrypts a counter: block c of a seed is
four 64-bit words that nothing but (seed, c) decides. There is no state to hand on, so the CPU (NumPy's Philox, in C) and
every CUDA thread compute the same words for the same counter.
"""
from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from . import namespace

BLOCK = 4                            # words per counter value
MASK = 2**64 - 1
BITS = {"bfloat16": 8, "float16": 11, "float32": 24, "float64": 53}     # of a uniform number: as many as the dtype resolves below 1
CHUNK = 1 << 15                      # elements computed at a time on the CPU, so that temporaries stay in the cache

# The same function in CUDA C; block c of NumPy's generator, started at c, is philox(c + 1).
SOURCE = r"""
__device__ inline void philox(unsigned long long counter, unsigned long long seed, unsigned long long* word) {
    unsigned long long c0 = counter, c1 = 0, c2 = 0, c3 = 0, k0 = seed, k1 = 0;
    for (int round = 0; round < 10; ++round) {
        unsigned long long high0 = __umul64hi(0xD2E7470EE14C6C93ULL, c0), low0 = 0xD2E7470EE14C6C93ULL * c0;
        unsigned long long high1 = __umul64hi(0xCA5A826395121157ULL, c2), low1 = 0xCA5A826395121157ULL * c2;
        c0 = high1 ^ c1 ^ k0; c1 = low1; c2 = high0 ^ c3 ^ k1; c3 = low0;
        k0 += 0x9E3779B97F4A7C15ULL; k1 += 0xBB67AE8584CAA73BULL;
    }
    word[0] = c0; word[1] = c1; word[2] = c2; word[3] = c3;
}
extern "C" __global__ void philox_words(unsigned long long* words, unsigned long long seed, unsigned long long offset, long long blocks) {
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < blocks; i += (long long)gridDim.x * blockDim.x)
        philox(offset + i + 1, seed, words + 4 * i);
}
extern "C" __global__ void philox_words_at(unsigned long long* words, const unsigned long long* place, long long blocks) {
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < blocks; i += (long long)gridDim.x * blockDim.x)
        philox(place[1] + i + 1, place[0], words + 4 * i);
}
"""


def stream(seed: int, offset: int) -> Any:
    """NumPy's generator of a seed's words, from block `offset` on; `np.random` is imported at the first use."""
    words = np.array([seed, 0, offset, 0, 0, 0], np.uint64)      # a list of Python's integers would go through float64
    return np.random.Philox(key=words[:2], counter=words[2:])


@cache
def _kernel(xp: Any, name: str) -> Any:
    return xp.RawKernel(SOURCE, name)


def words_on(xp: Any, place: Any, blocks: int) -> Any:
    """The words of blocks offset, offset + 1… of a seed, computed on CuPy's current device.

    Args:
        xp: CuPy.
        place: the seed and the offset; in a captured step a device array of both, which is read when the kernel runs.
        blocks: how many.
    """
    words = xp.empty(BLOCK * blocks, "uint64")
    if blocks:
        threads = 256
        grid = min(-(-blocks // threads), 4096)
        if isinstance(place, tuple):
            _kernel(xp, "philox_words")((grid,), (threads,), (words, np.uint64(place[0]), np.uint64(place[1]), np.int64(blocks)))
        else:
            _kernel(xp, "philox_words_at")((grid,), (threads,), (words, place, np.int64(blocks)))
    return words


def words_for(n: int, dtype: np.dtype) -> int:
    """How many words n numbers of a dtype are made from, in whole blocks."""
    return BLOCK * -(-n * dtype.itemsize // (8 * BLOCK))


def _chunks(array: Any) -> list:
    """Consecutive parts of an array: on the CPU of a size whose temporaries stay in the cache, elsewhere the whole."""
    if array.size <= CHUNK or not isinstance(array, np.ndarray):
        return [array]
    return [array[start:start + CHUNK] for start in range(0, array.size, CHUNK)]


def uniform(words: Any, n: int, dtype: np.dtype) -> Any:
    """n numbers in [0, 1), in the words' memory: the upper bits of each float-sized piece, as multiples of 2^-bits."""
    unsigned, signed, dropped, scale = _pieces(dtype)
    u = words.view(dtype)[:n]
    for piece, out in zip(_chunks(words.view(unsigned)[:n]), _chunks(u)):
        out[...] = (piece >> dropped).view(signed)    # signed integers convert faster
        out *= scale
    return u


@cache
def _pieces(dtype: np.dtype) -> tuple:
    """The pieces of a word that a number is made from, as unsigned and as signed integers; how many of their bits are dropped; 2^-bits."""
    size, bits = dtype.itemsize, BITS[dtype.name]
    return np.dtype(f"u{size}"), np.dtype(f"i{size}"), 8 * size - bits, dtype.type(2.0 ** -bits)


def normal(words: Any, n: int, dtype: np.dtype) -> Any:
    """n standard normal numbers, in the words' memory: √(-2·log(1 - u)) · (cos 2πv, sin 2πv) of neighbours u, v (Box and Muller, 1958)."""
    z = uniform(words, n + n % 2, dtype)
    xp = namespace(z)
    for part in _chunks(z):
        u, v = part[0::2], part[1::2]
        radius, angle = xp.sqrt(-2 * xp.log(1 - u)), 2 * math.pi * v
        part[0::2], part[1::2] = radius * xp.cos(angle), radius * xp.sin(angle)
    return z[:n]


def integers(words: Any, low: int, high: int) -> Any:
    """Integers in [low, high), in the words' memory: words modulo high - low, which favours none by more than (high - low)/2^64."""
    count = high - low
    for part in _chunks(words):
        if count <= MASK:
            part -= part // np.uint64(count) * np.uint64(count)       # NumPy divides by a constant faster than it takes remainders
        part += np.uint64(low & MASK)                 # modulo 2^64, where negative numbers are right too
    return words.view("int64")
