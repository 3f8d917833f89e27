"""The compiled reductions beyond what they share with the other kernels: any set of axes, long ones, exactness, NaN anywhere, arrays that do not suit."""
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_ed import backends
from tinygrad_ed.backend.kernels import engines, plain

if engines.native() is None:
    pytest.skip("the compiled kernels are not built", allow_module_level=True)

from tinygrad_ed.backend.kernels import compiled  # noqa: E402
from tinygrad_ed.backend.kernels.compiled import arrays, reduce  # noqa: E402

REDUCTIONS = {
    "total": lambda e, x, dims, keepdim: e.total(x, dims, keepdim),
    "mean": lambda e, x, dims, keepdim: e.mean(x, dims, keepdim),
    "variance": lambda e, x, dims, keepdim: e.variance(x, dims, keepdim, 2.5),
    "length": lambda e, x, dims, keepdim: e.length(x, dims, keepdim),
    "logsumexp": lambda e, x, dims, keepdim: e.logsumexp(x, dims, keepdim),
    "max": lambda e, x, dims, keepdim: e.extreme(x, "max", dims, keepdim),
    "min": lambda e, x, dims, keepdim: e.extreme(x, "min", dims, keepdim),
}
# rows and columns that are short and long, for one thread and for several, below and above the numbers that are taken at once
SHAPES = [(3,), (15,), (16,), (17,), (28,), (63,), (64,), (79,), (4097,), (70_001,), (2, 40_000), (40_000, 2), (9000, 7), (3, 511), (200, 512), (70, 513),
          (2, 5, 1300), (5, 600, 130), (70, 3, 29), (300, 4, 64), (6, 40, 2, 20)]
names = pytest.mark.parametrize("name", REDUCTIONS)
both = pytest.mark.parametrize("dtype", ["float32", "float64"])


pytestmark = pytest.mark.usefixtures("compiled_engine")


def subsets(ndim):
    return itertools.chain.from_iterable(itertools.combinations(range(ndim), k) for k in range(1, ndim + 1))


def agree(f, x, *rest):
    got, expected = np.asarray(f(compiled, x, *rest)), np.asarray(f(plain, x, *rest))
    assert got.shape == expected.shape and got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, *([2e-5, 2e-5] if x.dtype == "float32" else [1e-12, 1e-12]))


@names
@both
def test_all_axes(name, dtype):
    x = np.random.default_rng(0).normal(size=(3, 1, 2, 4, 3, 1, 5)).astype(dtype)
    for dims in subsets(x.ndim):
        agree(REDUCTIONS[name], x, dims, len(dims) % 2 == 0)


@names
@both
@pytest.mark.parametrize("shape", SHAPES)
def test_long_and_short(name, dtype, shape):
    x = np.random.default_rng(1).normal(1, 1, shape).astype(dtype)
    for dims in subsets(x.ndim):
        agree(REDUCTIONS[name], x, dims, False)


@both
@pytest.mark.parametrize("shape", SHAPES)
def test_places_and_running_sums(dtype, shape):
    x = np.random.default_rng(2).normal(0, 1, shape).astype(dtype)
    for dim in range(x.ndim):
        for which in ("max", "min"):
            np.testing.assert_array_equal(compiled.extreme_at(x, which, dim, True), plain.extreme_at(x, which, dim, True))
            ties = x.round()
            np.testing.assert_array_equal(compiled.extreme_at(ties, which, dim, False), plain.extreme_at(ties, which, dim, False))
        for step in (1, -1):
            exact = plain.running_sum(x.astype("float64"), dim, step)
            np.testing.assert_allclose(compiled.running_sum(x, dim, step), exact, *([1e-6, 1e-6] if dtype == "float32" else [1e-12, 1e-11]))
            near = 1 + x[:9] * 1e-3
            agree(lambda e, x, *at: e.running_product(x, *at), near, dim, step)


def used(f, x, *rest):
    """Whether a call is made by the compiled loops, not handed to `plain`."""
    with pytest.MonkeyPatch.context() as patch:
        calls = []
        for name in plain.reduce.__all__:
            patch.setattr(plain, name, lambda *a, **k: calls.append(a))
        f(compiled, x, *rest)
    return not calls


def test_what_is_left_to_numpy():
    """What BLAS sums faster, what is not contiguous, other dtypes, axes of too many groups, and nothing to reduce."""
    x, f = np.ones((4, 6, 5), "float32"), REDUCTIONS["total"]
    assert all(used(f, x, dims, False) for dims in subsets(3))
    for other in (x[:, ::2], x.T, x.astype("float16"), x.astype("int64"), x > 0, x.astype(">f4"), x[:0], x[0, 0, 0]):
        dims = (0,) if other.ndim else ()
        assert not used(f, other, dims, False)
        got, expected = compiled.total(other, dims, False), plain.total(other, dims, False)
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype
    assert not used(f, x, (), False) and not used(f, x[:, :1], (1,), False) and not used(f, np.ones((2, 2, 2, 2, 2)), (0, 2, 4), False)
    assert not used(f, np.ones((5000, 28)), (1,), False) and used(REDUCTIONS["max"], np.ones((5000, 28)), (1,), False)


@pytest.mark.parametrize("shape, dims", [((0, 3), (0,)), ((0, 3), (1,)), ((3, 0), (1,)), ((3, 0), (0, 1)), ((2, 0, 3), (1,)), ((2, 0, 3), (0,))])
def test_nothing(shape, dims):
    x = np.zeros(shape, "float32")
    for name in ("total", "mean", "length", "logsumexp"):
        with np.errstate(all="ignore"):
            agree(REDUCTIONS[name], x, dims, True)
    if not x.shape[dims[0]]:
        with pytest.raises(ValueError):
            compiled.extreme(x, "max", dims, False)
        with pytest.raises(ValueError):
            compiled.extreme_at(x, "max", dims[0], False)


@both
@pytest.mark.parametrize("shape, dims", [((70_001,), (0,)), ((9, 77), (1,)), ((77, 9), (0,)), ((700, 600), (0,)), ((40, 3, 30), (0, 2))])
@given(seed=st.integers(0, 2**32 - 1), what=st.sampled_from([np.nan, -np.nan, np.inf, -np.inf]))
def test_nan_and_infinities_anywhere(dtype, shape, dims, seed, what):
    rng = np.random.default_rng(seed)
    x = rng.uniform(1, 2, shape).astype(dtype)
    x[tuple(int(rng.integers(n)) for n in shape)] = what
    with np.errstate(all="ignore"):
        for name, f in REDUCTIONS.items():
            agree(f, x, dims, False)
        for which in ("max", "min"):
            np.testing.assert_array_equal(compiled.extreme_at(x, which, 0, False), plain.extreme_at(x, which, 0, False))


@both
def test_all_of_one_infinity(dtype):
    x = np.full((5, 20), -np.inf, dtype)
    with np.errstate(all="ignore"):
        for sign, dims in itertools.product((1, -1), ((0,), (1,), (0, 1))):
            for f in REDUCTIONS.values():
                agree(f, sign * x, dims, False)


@both
@pytest.mark.parametrize("shape, dims", [((200_000,), (0,)), ((100_000, 3), (0,)), ((20_000, 40), (0,)), ((3, 50_000), (1,)), ((300, 2, 500), (0, 2))])
def test_sums_are_as_exact_as_pairwise_ones(dtype, shape, dims):
    x = np.random.default_rng(3).uniform(0, 1, shape).astype(dtype)
    moved = np.moveaxis(x, dims, range(-len(dims), 0)).reshape(-1, math.prod(shape[i] for i in dims))
    exact = np.array([math.fsum(row.tolist()) for row in moved])
    errors = [np.abs(np.asarray(s, "float64").reshape(-1) - exact).max() for s in (compiled.total(x, dims, False), np.ascontiguousarray(moved).sum(axis=1))]
    assert errors[0] <= errors[1] + 2 * float(np.spacing(exact.max().astype(dtype)))


@both
def test_variance_of_large_numbers(dtype):
    x = np.random.default_rng(4).normal(0, 1, (50, 300)) + 1e4
    for dims in ((0,), (1,), (0, 1)):
        n = math.prod(x.shape[i] for i in dims)
        np.testing.assert_allclose(compiled.variance(x.astype(dtype), dims, False, n), x.astype(dtype).astype("float64").var(axis=dims),
                                   rtol=1e-4 if dtype == "float32" else 1e-9)


@both
@pytest.mark.parametrize("shape", [(90_001,), (500, 301), (30_000, 5), (40, 70, 50), (90, 2000)])
def test_the_number_of_threads_changes_no_bit(dtype, shape, monkeypatch):
    monkeypatch.setattr(arrays, "PIECE", 1 << 11)
    x = np.random.default_rng(5).normal(size=shape).astype(dtype)

    def everything():
        at = [f(compiled, x, dims, False) for f in REDUCTIONS.values() for dims in subsets(x.ndim)]
        return [np.asarray(y).tobytes() for y in (*at, *[f(x, dim, -1) for f in (compiled.running_sum, compiled.running_product) for dim in range(x.ndim)],
                                                  *[compiled.extreme_at(x, "max", dim, False) for dim in range(x.ndim)])]
    results = []
    for threads in (1, 2, 3):
        backends.set_num_threads(threads)
        results.append(everything())
    assert results[0] == results[1] == results[2]
    for dims in subsets(x.ndim):
        agree(REDUCTIONS["total"], x, dims, False)


def test_pieces_are_as_many_as_the_plan_says():
    """A sum of everything is cut into pieces for the threads; a small one is not."""
    assert [call[1] for call in reduce._plan((8,), (0,), False, True, 1 << 15)[1]] == [1]
    (_, many, at_once, *_), (_, one, *_) = reduce._plan((1 << 20,), (0,), False, True, 1 << 15)[1]
    assert (many, at_once, one) == (32, 1, 1)


def test_inputs_are_only_read():
    x = np.random.default_rng(6).normal(size=(30, 40))
    before = x.copy()
    x.flags.writeable = False
    for f in REDUCTIONS.values():
        f(compiled, x, (0,), True)
    np.testing.assert_array_equal(x, before)
