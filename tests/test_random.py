"""Random numbers: the words are Philox's, the numbers have the distributions they should have, seeds repeat."""
import copy
import ctypes
import math
import pickle
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

import tinygrad_ed as tg
from tinygrad_ed.backend import philox
from tinygrad_ed.errors import DTypeError, InPlaceError, ShapeError
from tinygrad_ed.ops.generator import fork_rng, random_words

N = 20000
FLOATS = ["float16", "float32", "float64"]
MASK = 2**64 - 1


def generator(seed=0):
    return tg.Generator().manual_seed(seed)


# -- the words ---------------------------------------------------------------------------------------------------------

def philox4x64(counter, key):
    """Philox4x64-10 as printed in Salmon et al. 2011, on Python integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(p1 >> 64) ^ c[1] ^ k[0], p1 & MASK, (p0 >> 64) ^ c[3] ^ k[1], p0 & MASK]
        k = [(k[0] + 0x9E3779B97F4A7C15) & MASK, (k[1] + 0xBB67AE8584CAA73B) & MASK]
    return c


def test_the_reference_gives_the_published_words():
    assert philox4x64([0] * 4, [0] * 2) == [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    assert philox4x64([MASK] * 4, [MASK] * 2) == [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0]


@given(st.integers(0, MASK), st.integers(0, MASK - 9), st.integers(0, 9))
@example(MASK, 0, 4)
@example(2**63 + 1, MASK - 9, 9)
def test_words_are_philox(seed, offset, n):
    g = generator(seed)
    g._set(seed, offset)
    expected = [w for block in range(-(-n // 4)) for w in philox4x64([offset + block + 1, 0, 0, 0], [seed, 0])]
    assert random_words(n, g).tolist() == expected[:n]


@given(st.lists(st.integers(0, 11), max_size=6), st.booleans())
def test_each_call_uses_whole_blocks(sizes, reserved):
    g, blocks = generator(3), 0
    for n in sizes:
        words = random_words(n, g)
        assert words.tolist() == random_words(4 * blocks + n, generator(3))[4 * blocks:].tolist()
        blocks += -(-n // 4)
        if reserved:
            assert g.reserve(2) == (3, blocks)
            blocks += 2


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")
def test_the_cuda_source_computes_the_same_words(tmp_path):
    source = tmp_path / "philox.cpp"
    source.write_text("""
        struct { unsigned x; } blockIdx, threadIdx, blockDim, gridDim;
        #define __device__
        #define __global__
        static unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned __int128)a * b >> 64; }
        """ + philox.SOURCE + """
        extern "C" void run(unsigned grid, unsigned threads, unsigned long long* words, unsigned long long seed, unsigned long long offset,
                            long long blocks) {
            gridDim.x = grid; blockDim.x = threads;
            for (blockIdx.x = 0; blockIdx.x < grid; ++blockIdx.x)
                for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) philox_words(words, seed, offset, blocks);
        }
        extern "C" void run_at(unsigned threads, unsigned long long* words, const unsigned long long* place, long long blocks) {
            gridDim.x = 1; blockDim.x = threads; blockIdx.x = 0;
            for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) philox_words_at(words, place, blocks);
        }""")
    subprocess.run(["g++", "-O1", "-w", "-shared", "-fPIC", str(source), "-o", str(tmp_path / "philox.so")], check=True)
    library = ctypes.CDLL(str(tmp_path / "philox.so"))
    run = library.run
    for seed, offset, blocks in ((0, 0, 1), (MASK, 5, 1000), (12345, 2**40, 77)):
        words = np.zeros(4 * blocks + 4, np.uint64)
        run(ctypes.c_uint(3), ctypes.c_uint(32), words.ctypes, ctypes.c_ulonglong(seed), ctypes.c_ulonglong(offset), ctypes.c_longlong(blocks))
        np.testing.assert_array_equal(words[:-4], philox.stream(seed, offset).random_raw(4 * blocks))
        assert not words[-4:].any()
        twin, place = np.zeros_like(words), np.array([seed, offset], np.uint64)          # as a captured step reads them
        library.run_at(ctypes.c_uint(32), twin.ctypes, place.ctypes, ctypes.c_longlong(blocks))
        np.testing.assert_array_equal(twin, words)


# -- seeds and states --------------------------------------------------------------------------------------------------

DRAWS = {
    "rand": lambda g: tg.rand(5, generator=g), "randn": lambda g: tg.randn(5, generator=g),
    "rand64": lambda g: tg.rand(5, dtype=tg.float64, generator=g),
    "randint": lambda g: tg.randint(100, (5,), generator=g), "randperm": lambda g: tg.randperm(50, generator=g),
    "normal": lambda g: tg.normal(0.0, 1.0, (5,), generator=g), "bernoulli": lambda g: tg.bernoulli(tg.full((50,), 0.5), generator=g),
    "multinomial": lambda g: tg.multinomial(tg.ones(50), 5, generator=g),
    "multinomial2": lambda g: tg.multinomial(tg.ones(2, 50), 5, True, generator=g),
    "rand_like": lambda g: tg.rand_like(tg.ones(5), generator=g), "randn_like": lambda g: tg.randn_like(tg.ones(5), generator=g),
    "randint_like": lambda g: tg.randint_like(tg.ones(5), 1000, generator=g),
} | {name: lambda g, name=name: getattr(tg.empty(60), name)(*((0.1,) if name == "geometric_" else ()), generator=g)
     for name in ("uniform_", "normal_", "bernoulli_", "random_", "exponential_", "geometric_", "log_normal_", "cauchy_")}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_seeds(draw):
    g = generator(1)
    first, second = draw(g), draw(g)
    assert tg.equal(first, draw(g.manual_seed(1))) and tg.equal(second, draw(g))
    assert not tg.equal(first, second)
    assert not tg.equal(first, draw(generator(2)))
    tg.manual_seed(1)
    assert tg.equal(draw(None), first)
    state = g.get_state()
    third = draw(g)
    assert tg.equal(third, draw(tg.Generator().set_state(state)))
    for copied in (pickle.loads(pickle.dumps(g)), copy.deepcopy(g)):
        assert copied is not g and tg.equal(draw(copied), draw(generator(1).set_state(g.get_state())))
    with pytest.raises(TypeError, match="Generator"):
        draw(np.random.default_rng(0))


def test_generator():
    g = tg.Generator()
    assert g.device == tg.device("cpu") and g.manual_seed(5) is g and g.initial_seed() == 5
    assert tg.Generator().initial_seed() == tg.Generator().initial_seed()
    assert g.manual_seed(-1).initial_seed() == MASK
    seeds = {g.seed() for _ in range(3)}
    assert len(seeds) == 3 and g.initial_seed() in seeds
    state = g.get_state()
    assert state.dtype == tg.uint8 and state.ndim == 1
    for bad in (2**64, -2**63 - 1, "a"):
        with pytest.raises(ValueError):
            g.manual_seed(bad)
    with pytest.raises(ShapeError, match="16 bytes"):
        g.set_state(tg.zeros(3, dtype=tg.uint8))
    for bad in (tg.zeros(16), np.zeros(16, np.uint8)):
        with pytest.raises(DTypeError, match="uint8"):
            g.set_state(bad)
    assert tg.equal(g.get_state(), state)                                      # nothing has changed
    assert "seed" in repr(g)


def test_the_default_generator():
    assert tg.manual_seed(3) is tg.default_generator and tg.initial_seed() == 3
    state = tg.get_rng_state()
    x = tg.rand(3)
    tg.set_rng_state(state)
    assert tg.equal(tg.rand(3), x)
    with pytest.raises(KeyError), fork_rng():
        before = tg.get_rng_state()
        tg.rand(3)
        raise KeyError
    assert tg.equal(tg.get_rng_state(), before)
    with fork_rng(enabled=False):
        tg.rand(3)
    assert not tg.equal(tg.get_rng_state(), before)
    assert tg.seed() == tg.initial_seed() != 3


def test_threads_never_draw_the_same_words():
    g, parts = generator(0), []

    def work():
        for n in range(1, 200):
            parts.append(random_words(n % 9 + 1, g))
    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    words = np.concatenate(parts)
    assert len(set(words.tolist())) == words.size
    assert set(words.tolist()) <= set(random_words(4 * 4 * 199 * 3, generator(0)).tolist())


def test_the_numbers_of_a_seed_stay_the_same():
    words = philox4x64([1, 0, 0, 0], [0, 0])
    assert tg.rand(2, generator=generator(0)).tolist() == [((words[0] >> shift) % 2**32 >> 8) * 2.0**-24 for shift in (0, 32)]
    assert tg.rand(4, dtype=tg.float64, generator=generator(0)).tolist() == [(w >> 11) * 2.0**-53 for w in words]
    assert tg.randint(-5, 1000, (4,), generator=generator(0)).tolist() == [w % 1005 - 5 for w in words]
    assert tg.randperm(4, generator=generator(0)).tolist() == sorted(range(4), key=words.__getitem__)


@given(st.integers(0, 30), st.integers(0, 30), st.sampled_from(FLOATS))
def test_a_shorter_draw_begins_a_longer_one(m, n, dtype):
    for draw in (tg.rand, tg.randn):
        a, b = draw(m, dtype=dtype, generator=generator(4)), draw(m + n, dtype=dtype, generator=generator(4))
        assert tg.equal(a, b[:m])


# -- numbers from words ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype, unsigned, bits", [("float16", "uint16", 11), ("float32", "uint32", 24), ("float64", "uint64", 53)])
def test_uniform_numbers_are_the_upper_bits(dtype, unsigned, bits):
    dtype, words = np.dtype(dtype), np.array([0, MASK, *random_words(2**17, generator(1)).tolist()], np.uint64)
    pieces = words.view(unsigned)
    expected = (pieces >> (8 * dtype.itemsize - bits)).astype(np.float64) * 2.0**-bits
    u = philox.uniform(words.copy(), pieces.size, dtype)
    np.testing.assert_array_equal(u.astype(np.float64), expected)
    assert u.dtype == dtype and u.min() == 0 and u.max() == 1 - 2.0**-bits


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 8, 2**15, 2**15 + 1, 2**16 + 3])
def test_normal_numbers_are_box_muller(n):
    for dtype in (np.dtype("float32"), np.dtype("float64")):
        words = random_words(philox.words_for(n + n % 2, dtype), generator(2))
        u = philox.uniform(words.copy(), n + n % 2, dtype).astype(np.float64)
        r, angle = np.sqrt(-2 * np.log(1 - u[0::2])), 2 * math.pi * u[1::2]
        z = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=-1).ravel()[:n]
        np.testing.assert_allclose(philox.normal(words, n, dtype), z, rtol=0, atol=4e-6 if dtype == np.float32 else 1e-14)


@given(st.integers(-2**63, 2**63 - 1), st.integers(1, 2**64), st.integers(0, 9))
def test_integers_are_remainders(low, count, n):
    high = min(low + count, 2**63)
    words = [int(w) for w in random_words(n, generator(6))]
    drawn = philox.integers(random_words(n, generator(6)), low, high)
    assert drawn.tolist() == [low + w % (high - low) for w in words]


# -- distributions -----------------------------------------------------------------------------------------------------

def like(samples, distribution):
    """Whether samples may come from a distribution, by Kolmogorov and Smirnov."""
    assert stats.kstest(np.asarray(samples, np.float64).ravel(), distribution).pvalue > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_continuous_distributions(dtype):
    g, x = generator(10), tg.empty(N, dtype=dtype)
    like(tg.rand(N, dtype=dtype, generator=g).numpy(), stats.uniform().cdf)
    like(tg.randn(N, dtype=dtype, generator=g).numpy(), stats.norm().cdf)
    like(x.uniform_(-2, 3, generator=g).numpy(), stats.uniform(-2, 5).cdf)
    like(x.normal_(5, 0.1, generator=g).numpy(), stats.norm(5, 0.1).cdf)
    like(x.exponential_(3, generator=g).numpy(), stats.expon(scale=1 / 3).cdf)
    like(x.log_normal_(0.5, 0.7, generator=g).numpy(), stats.lognorm(0.7, scale=math.exp(0.5)).cdf)
    like(x.cauchy_(1, 2, generator=g).numpy(), stats.cauchy(1, 2).cdf)
    like(tg.normal(tg.full((N,), 2.0, dtype=tg.float64), 3.0, dtype=dtype, generator=g).numpy(), stats.norm(2, 3).cdf)


@pytest.mark.parametrize("dtype", FLOATS)
def test_moments(dtype):
    u, z = tg.rand(N, dtype=dtype, generator=generator(11)).numpy(), tg.randn(N, dtype=dtype, generator=generator(12)).numpy()
    assert u.dtype == z.dtype == dtype and u.min() >= 0 and u.max() < 1 and np.isfinite(z).all()
    u, z = u.astype(np.float64), z.astype(np.float64)
    for sample, moments in ((u, (1 / 2, 1 / 3, 1 / 4)), (z, (0, 1, 0, 3))):
        for k, moment in enumerate(moments, 1):
            assert abs((sample**k).mean() - moment) < 5 * (sample**k).std() / N**0.5 + 2e-3 * (dtype == "float16")


def test_calls_are_independent():
    g = generator(13)
    for draw in (tg.rand, tg.randn):
        a, b = draw(N, generator=g).numpy(), draw(N, generator=g).numpy()
        for x, y in ((a, b), (a[1:], a[:-1]), (a[2:], a[:-2]), (a[::2], a[1::2]), (a[4:], b[:-4])):
            assert abs(np.corrcoef(x, y)[0, 1]) < 5 / len(x) ** 0.5
            assert stats.kendalltau(x[:2000], y[:2000]).pvalue > 1e-4
    a, b = tg.rand(N, generator=generator(1)).numpy(), tg.rand(N, generator=generator(2)).numpy()
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / N**0.5


def frequencies(samples, n, p=None):
    """Whether integers below n have these probabilities, by Pearson."""
    counts = np.bincount(np.asarray(samples, np.int64).ravel(), minlength=n)
    assert counts.size == n
    expected = counts.sum() * (np.full(n, 1 / n) if p is None else np.asarray(p))
    assert not counts[expected == 0].any()
    assert stats.chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 1e-3


def test_discrete_distributions():
    g = generator(14)
    frequencies(tg.randint(7, (N,), generator=g), 7)
    frequencies(tg.randint(-3, 4, (N,), generator=g) + 3, 7)
    frequencies(tg.empty(N).random_(5, generator=g), 5)
    frequencies(tg.zeros(N, dtype=tg.uint8).random_(generator=g), 256)
    frequencies(tg.zeros(N, dtype=tg.bool).random_(generator=g), 2)
    frequencies(tg.bernoulli(tg.full((N,), 0.3), generator=g), 2, [0.7, 0.3])
    frequencies(tg.zeros(N, dtype=tg.int64).bernoulli_(0.9, generator=g), 2, [0.1, 0.9])
    frequencies(tg.zeros(N, dtype=tg.float16).bernoulli_(tg.tensor([0.25], dtype=tg.float64), generator=g), 2, [0.75, 0.25])
    geometric = tg.zeros(N, dtype=tg.int64).geometric_(0.4, generator=g).numpy()
    assert geometric.min() == 1
    frequencies(np.minimum(geometric, 8) - 1, 8, [0.4 * 0.6**k for k in range(7)] + [0.6**7])


def test_permutations():
    g = generator(15)
    assert sorted(tg.randperm(1000, generator=g).tolist()) == list(range(1000))
    orders = [tuple(tg.randperm(3, generator=g).tolist()) for _ in range(3000)]
    names = {order: i for i, order in enumerate(sorted(set(orders)))}
    frequencies([names[order] for order in orders], 6)
    assert tg.randperm(0).shape == (0,) and tg.randperm(5, dtype=tg.float32).dtype == tg.float32
    with pytest.raises(DTypeError, match="fit"):
        tg.randperm(300, dtype=tg.uint8)


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("dtype", FLOATS)
def test_multinomial(replacement, dtype):
    g, weights = generator(16), tg.tensor([1.0, 0.0, 3.0, 2.0, 0.0], dtype=dtype)
    rows = tg.multinomial(tg.ones(N, 1, dtype=dtype) * weights, 2, replacement, generator=g)
    assert rows.shape == (N, 2) and rows.dtype == tg.int64
    p = np.array([1, 0, 3, 2, 0]) / 6
    frequencies(rows[:, 0], 5, p)
    second = p if replacement else [sum(p[j] * p[i] / (1 - p[j]) for j in range(5) if j != i) for i in range(5)]
    frequencies(rows[:, 1], 5, second)
    if not replacement:
        assert (rows[:, 0] != rows[:, 1]).all()
        assert sorted(weights.multinomial(3).tolist()) == [0, 2, 3]
    frequencies(tg.multinomial(weights, N, True, generator=g), 5, p)


def test_multinomial_of_extreme_weights():
    assert sorted(tg.multinomial(tg.tensor([1.0, 5e-324, 0.0, 1e308], dtype=tg.float64), 3).tolist()) == [0, 1, 3]
    assert set(tg.multinomial(tg.tensor([1e308, 1e308, 0.0], dtype=tg.float64), 50, True).tolist()) == {0, 1}
    assert tg.multinomial(tg.ones(0, 3), 2).shape == tg.multinomial(tg.ones(0, 3), 2, True).shape == (0, 2)
    for weights, n, replacement in (([1.0, 1.0], 3, False), ([1.0, 0.0], 2, False), ([0.0, 0.0], 1, True), ([-1.0, 2.0], 1, True),
                                    ([math.nan, 1.0], 1, True), ([math.inf, 1.0], 1, False), ([1.0], 0, False), ([], 1, False)):
        with pytest.raises((ValueError, RuntimeError)):
            tg.multinomial(tg.tensor(weights), n, replacement)
    with pytest.raises(ShapeError):
        tg.multinomial(tg.ones(2, 3, 4), 1)
    with pytest.raises(DTypeError):
        tg.multinomial(tg.arange(3), 1)


# -- arguments ---------------------------------------------------------------------------------------------------------

def test_shapes_and_dtypes():
    for make in (tg.rand, tg.randn):
        assert make(()).shape == () and make(2, 0).shape == (2, 0) and make(size=(2,)).shape == make([2]).shape == (2,)
        assert make(2, requires_grad=True).requires_grad and make(2).dtype == tg.float32
        with pytest.raises(DTypeError, match="randint"):
            make(2, dtype=tg.int64)
    assert tg.randint(3, (2,)).shape == tg.randint(0, 3, (2,)).shape == tg.randint(high=3, size=(2,)).shape == tg.randint(3, size=[2]).shape == (2,)
    assert tg.randint(3, ()).dtype == tg.int64 and tg.randint(0, 256, (50,), dtype=tg.uint8).dtype == tg.uint8
    assert tg.randint(0, 3, (5,), dtype=tg.float32, requires_grad=True).requires_grad
    x = tg.ones(2, 3, dtype=tg.float16)
    assert tg.rand_like(x).dtype == tg.randn_like(x).dtype == tg.randint_like(x, 5).dtype == tg.float16
    assert tg.randint_like(x, 2, 3).tolist() == [[2.0] * 3] * 2 and tg.randint_like(x, low=2, high=3, dtype=tg.int8).dtype == tg.int8
    assert tg.rand_like(tg.ones(2, dtype=tg.int64), dtype=tg.float64).dtype == tg.float64


@pytest.mark.parametrize("call, error", [
    (lambda: tg.randint(5, 5, (2,)), ValueError), (lambda: tg.randint(5), TypeError), (lambda: tg.randint(0, 5, 2), TypeError),
    (lambda: tg.randint(0.0, 3.5, (2,)), TypeError), (lambda: tg.randint(0, 257, (2,), dtype=tg.uint8), DTypeError),
    (lambda: tg.randint(0, 3, (2,), dtype=tg.bool), DTypeError), (lambda: tg.randperm(-1), ShapeError), (lambda: tg.normal(0.0, 1.0), TypeError),
    (lambda: tg.normal(tg.ones(2), -1.0), ValueError), (lambda: tg.normal(0.0, tg.tensor([1.0, -1.0])), ValueError),
    (lambda: tg.normal(0.0, math.nan, (2,)), ValueError), (lambda: tg.normal(tg.ones(3), tg.ones(2)), ShapeError),
    (lambda: tg.normal(tg.ones(3), 1.0, (3,)), TypeError), (lambda: tg.normal(tg.arange(3), 1.0), DTypeError),
    (lambda: tg.bernoulli(tg.tensor([1.5])), ValueError), (lambda: tg.bernoulli(tg.tensor([math.nan])), ValueError),
    (lambda: tg.bernoulli(tg.ones(2), 1.5), ValueError), (lambda: tg.bernoulli(tg.arange(2)), DTypeError),
    (lambda: tg.empty(2).uniform_(2, 1), ValueError), (lambda: tg.empty(2).uniform_(-1e38, 3.4e38), ValueError),
    (lambda: tg.empty(2).normal_(0, -1), ValueError), (lambda: tg.empty(2).exponential_(0), ValueError),
    (lambda: tg.empty(2).cauchy_(0, 0), ValueError), (lambda: tg.empty(2).geometric_(1), ValueError),
    (lambda: tg.empty(2).log_normal_(0, -1), ValueError), (lambda: tg.empty(2).bernoulli_(2), ValueError),
    (lambda: tg.empty(3).bernoulli_(tg.ones(2)), ShapeError), (lambda: tg.empty(3).bernoulli_(tg.ones(2, 3)), ShapeError),
    (lambda: tg.empty(2).random_(5, 5), ValueError), (lambda: tg.zeros(2, dtype=tg.uint8).random_(0, 300), DTypeError),
    (lambda: tg.arange(2).normal_(), DTypeError), (lambda: tg.arange(2).uniform_(), DTypeError), (lambda: tg.arange(2).exponential_(), DTypeError),
])
def test_arguments_that_are_refused(call, error):
    before = tg.get_rng_state()
    with pytest.raises(error):
        call()
    assert tg.equal(tg.get_rng_state(), before)


def test_integers_that_will_be_rounded():
    with pytest.warns(UserWarning, match="rounded"):
        tg.randint(0, 5000, (2,), dtype=tg.float16)
    assert tg.zeros(1000, dtype=tg.float16).random_().max().item() > 1000


def test_uniform_stays_below_its_end():
    for low, high in ((1.0, 1.0 + 2**-23), (2**23, 2**23 + 1), (-5.0, -5.0 + 1e-6), (1.0, 1.0)):
        x = tg.empty(1000).uniform_(low, high)
        assert (x >= low).all() and ((x < high).all() or low == high)


def test_bernoulli_of_certainties():
    for dtype in FLOATS:
        p = tg.tensor([0.0, 1.0] * 500, dtype=dtype)
        assert tg.equal(tg.bernoulli(p), p) and tg.equal(tg.empty(1000).bernoulli_(p), p)
    assert tg.ones(3).bernoulli(0.0).tolist() == [0, 0, 0] and tg.zeros(3, dtype=tg.int64).bernoulli(1.0).tolist() == [1, 1, 1]


def test_normal_broadcasts():
    assert tg.normal(tg.ones(3, 1), tg.ones(2)).shape == (3, 2) and tg.normal(0.0, tg.zeros(2)).tolist() == [0, 0]
    assert tg.normal(tg.ones(2, dtype=tg.float64), tg.ones(2)).dtype == tg.float64
    assert tg.normal(1.0, tg.ones(2, dtype=tg.float16)).dtype == tg.float16
    assert tg.normal(mean=1.0, std=0.0, size=(2,)).tolist() == [1, 1]


# -- in place ----------------------------------------------------------------------------------------------------------

def test_fill_zero_copy():
    x = tg.ones(2, 3)
    assert x.zero_() is x and x.tolist() == [[0] * 3] * 2 and x.fill_(2.5).tolist() == [[2.5] * 3] * 2
    assert tg.ones(2, dtype=tg.int64).fill_(1.5).tolist() == [1, 1] and tg.zeros(2, dtype=tg.bool).fill_(3).tolist() == [True, True]
    assert tg.zeros(2).fill_(tg.tensor(3)).tolist() == [3, 3] and tg.zeros(2).fill_(np.float64(0.5)).tolist() == [0.5, 0.5]
    assert x.copy_(tg.arange(3)).tolist() == [[0, 1, 2]] * 2 and x.copy_(7).tolist() == [[7] * 3] * 2
    assert tg.zeros(2, dtype=tg.int64).copy_(tg.tensor([1.7, -1.7])).tolist() == [1, -1]
    for bad, error in ((lambda: x.fill_(tg.ones(2)), ShapeError), (lambda: x.fill_("a"), TypeError), (lambda: x.copy_(np.ones(3)), TypeError),
                       (lambda: x.copy_(tg.ones(2)), ShapeError), (lambda: tg.zeros(1, dtype=tg.uint8).fill_(300), DTypeError)):
        with pytest.raises(error):
            bad()
    assert x.tolist() == [[7] * 3] * 2


def test_gradients_of_fill_and_copy():
    x, y, s = tg.ones(3, requires_grad=True), tg.tensor([1.0, 2.0, 3.0], requires_grad=True), tg.tensor(2.0, requires_grad=True)
    z = x * 2
    z[:1].copy_(y[:1] * 5)
    z[1:2].fill_(s)
    (z * tg.tensor([10.0, 100.0, 1000.0])).sum().backward()
    assert x.grad.tolist() == [0, 0, 2000] and y.grad.tolist() == [50, 0, 0] and s.grad.item() == 100
    w = tg.zeros(2, 3)
    w.copy_(y.double())
    (w * w).sum().backward()
    assert y.grad.tolist() == [50 + 4, 8, 12]


@pytest.mark.parametrize("name", ["zero_", "uniform_", "normal_", "bernoulli_", "random_", "exponential_", "log_normal_", "cauchy_"])
def test_gradients_end_where_random_numbers_begin(name):
    x = tg.ones(3, requires_grad=True)
    with pytest.raises(InPlaceError, match="leaf"):
        getattr(x, name)()
    with tg.no_grad():
        assert getattr(x, name)() is x and x.requires_grad and x.is_leaf
    z = x * 2
    getattr(z[:2], name)()
    z.sum().backward()
    assert x.grad.tolist() == [0, 0, 2]
    y = x.exp()
    w = y * y
    getattr(y, name)()
    with pytest.raises(InPlaceError, match="overwritten"):
        w.sum().backward()


def test_random_is_imported_at_first_use():
    code = """if True:
        import sys, numpy
        before = 'numpy.random' in sys.modules
        import tinygrad_ed as tg
        tg.manual_seed(0)
        assert before or 'numpy.random' not in sys.modules
        tg.rand(1)
        assert 'numpy.random' in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True)
