"""The compiled products against NumPy's in float64: sizes around those of tiles and panels, layouts, stacks, NaN; bit by bit the same with any threads."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_ed as tg
from tinygrad_ed.backend.kernels import engines, plain
from tinygrad_ed.errors import ShapeError

native = engines.native()
if native is None or native.instructions() == "baseline":
    pytest.skip("products are made by BLAS here", allow_module_level=True)

from tinygrad_ed.backend.kernels import compiled  # noqa: E402

many = settings(max_examples=max(80, settings().max_examples), deadline=None)
sizes = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 19, 20, 24, 31, 32, 33, 37, 48, 63, 64, 65, 100])
inner = sizes | st.sampled_from([127, 128, 129, 191, 192, 193, 208, 385, 500])
dtypes = st.sampled_from(["float32", "float64"])
LAYOUTS = ["rows", "columns", "every second", "backwards", "upside down", "sliced", "one row", "one number"]


@pytest.fixture(autouse=True)
def as_before():
    threads = native.threads()
    yield
    native.set_threads(threads)


def laid_out(rng, shape, dtype, layout):
    """Random numbers in memory as a layout says."""
    x = rng.normal(size=shape).astype(dtype)
    if x.ndim == 0:
        return x
    match layout:
        case "columns":
            return x.swapaxes(-1, -2).copy().swapaxes(-1, -2) if x.ndim > 1 else x
        case "every second":
            return np.repeat(x, 2, -1)[..., ::2]
        case "backwards":
            return x[..., ::-1].copy()[..., ::-1]
        case "upside down":
            return x[::-1].copy()[::-1]
        case "sliced":
            return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(2, 3)])[..., 2:-3]
        case "one row":
            return np.broadcast_to(x[:1], shape)
        case "one number":
            return np.broadcast_to(x[(slice(1),) * x.ndim], shape)
    return x


layouts = st.sampled_from(LAYOUTS)


def close(y, a, b, bias=None):
    """Whether y is a @ b + bias, up to rounding of sums of so many products."""
    wanted, most = a.astype("d") @ b.astype("d"), np.abs(a.astype("d")) @ np.abs(b.astype("d"))
    if bias is not None:
        wanted, most = wanted + bias, most + np.abs(bias)
    assert np.shape(y) == np.shape(wanted) and y.dtype == a.dtype
    rounding = np.finfo(a.dtype).eps * min(2 + a.shape[-1] / 2, 100)      # a sum in stretches rounds less than one in a row would
    assert np.all(np.abs(y - wanted) <= rounding * most)


@many
@given(m=sizes, k=inner, n=sizes, dtype=dtypes, left=layouts, right=layouts, biased=st.booleans(), seed=st.integers(0, 99))
def test_matrices(m, k, n, dtype, left, right, biased, seed):
    rng = np.random.default_rng(seed)
    a, b = laid_out(rng, (m, k), dtype, left), laid_out(rng, (k, n), dtype, right)
    bias = laid_out(rng, (n,), dtype, "rows") if biased else None
    before = a.copy(), b.copy()
    y = native.multiply(a, b, bias)
    close(y, a, b, bias)
    np.testing.assert_array_equal(native.multiply(a, b, bias, True), np.maximum(y, 0))
    assert np.array_equal(a, before[0]) and np.array_equal(b, before[1])


@many
@given(shapes=st.sampled_from([((3,), (3,)), ((3,), (3, 5)), ((5, 3), (3,)), ((200,), (200, 70)), ((70, 200), (200,)), ((2, 7, 3), (3,)), ((2, 7, 3), (3, 5)),
                               ((3,), (2, 3, 5)), ((2, 7, 3), (2, 3, 5)), ((4, 1, 7, 3), (5, 3, 2)), ((1, 7, 3), (6, 3, 5)), ((6, 7, 3), (1, 3, 5)),
                               ((2, 3, 1, 4, 6), (1, 3, 2, 6, 4)), ((6, 7, 3), (6, 3, 1)), ((6, 1, 3), (6, 3, 8)), ((40, 9, 17), (40, 17, 33)),
                               ((3, 1, 5), (5, 4)), ((3, 1, 1, 5), (5,))]),
       dtype=dtypes, left=layouts, right=layouts, turned=st.booleans(), seed=st.integers(0, 99))
def test_stacks_and_vectors(shapes, dtype, left, right, turned, seed):
    rng = np.random.default_rng(seed)
    a, b = (laid_out(rng, shape, dtype, layout) for shape, layout in zip(shapes, (left, right)))
    if turned and a.ndim > 2:                                # the stack's dimensions in another order in memory
        a = np.moveaxis(np.moveaxis(a, 0, -1).copy(), -1, 0)
    y = native.multiply(a, b)
    close(y, a, b)
    np.testing.assert_array_equal(native.multiply(a, b, None, True), np.maximum(y, 0))
    assert type(y) is type(a @ b)


@many
@given(m=sizes, k=inner, n=sizes, dtype=dtypes, left=layouts, right=layouts, stacks=st.sampled_from([(), (3,), (2, 1)]), seed=st.integers(0, 99))
def test_a_product_that_is_written_or_added_somewhere(m, k, n, dtype, left, right, stacks, seed):
    rng = np.random.default_rng(seed)
    a, b = laid_out(rng, (*stacks, m, k), dtype, left), laid_out(rng, (k, n), dtype, right)
    wanted = native.multiply(a, b)
    memory = np.full(wanted.size + 2, 7.0, dtype)
    out = memory[1:-1].reshape(wanted.shape)
    for multiply in (lambda add: native.multiply(a, b, None, False, out, add), lambda add: compiled.matmul(a, b, out, add)):
        assert multiply(False) is out
        np.testing.assert_array_equal(out, wanted)
        before = rng.normal(size=out.shape).astype(dtype)
        out[...] = before
        assert multiply(True) is out
        most = np.abs(a.astype("d")) @ np.abs(b.astype("d")) + np.abs(before)
        assert np.all(np.abs(out - (before.astype("d") + wanted)) <= np.finfo(dtype).eps * min(4 + k, 200) * most)
        assert memory[0] == memory[-1] == 7.0


@many
@given(m=sizes, k=inner, n=sizes, dtype=dtypes, seed=st.integers(0, 99))
def test_linear_and_column_sums(m, k, n, dtype, seed):
    rng = np.random.default_rng(seed)
    x, w, b = (rng.normal(size=s).astype(dtype) for s in ((2, m, k), (n, k), (n,)))
    close(compiled.linear(x, w, b), x, w.T, b)
    close(compiled.linear(x, w, None), x, w.T)
    np.testing.assert_array_equal(compiled.linear(x, w, b, True), np.maximum(compiled.linear(x, w, b), 0))
    for derive in (False, True):
        found, z, slope = compiled.linear_gelu(x, w, b, derive)
        expected = compiled.gelu_tanh(compiled.linear(x, w, b), derive)
        np.testing.assert_array_equal(found, expected[0])
        assert z is None and (np.array_equal(slope, expected[1]) if derive else slope is None)
    y = compiled.column_sums(x.swapaxes(0, 1))
    close(y, np.ones(2 * m, dtype), x.reshape(2 * m, k))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("m, k, n", [(128, 784, 512), (1200, 300, 100), (3, 5000, 700), (1, 3000, 3000), (1500, 300, 17), (3000, 3000, 1), (600, 500, 10), (1100, 2000, 7),
                                     (40, 20000, 33)])
def test_the_number_of_threads_changes_nothing(m, k, n, dtype):
    rng = np.random.default_rng(0)
    a, b, c = (rng.normal(size=s).astype(dtype) for s in ((m, k), (k, n), (n,)))
    results = []
    for threads in (1, 2, 3, 4):
        native.set_threads(threads)
        results.append([native.multiply(a, b, c), native.multiply(a.T.copy().T, b.T.copy().T), compiled.column_sums(a),
                        native.multiply(a, b, None, False, np.ones((m, n), dtype), True)])
    close(results[0][0], a, b, c)
    close(results[0][1], a, b)
    close(results[0][2], np.ones(m, dtype), a)
    for others in results[1:]:
        assert all(np.array_equal(x, y) for x, y in zip(results[0], others))


@many
@given(m=sizes, k=inner, n=sizes, dtype=dtypes, left=layouts, right=layouts, value=st.sampled_from([np.nan, np.inf, -np.inf]), seed=st.integers(0, 999))
def test_nan_and_infinities_stay_in_their_rows_and_columns(m, k, n, dtype, left, right, value, seed):
    rng = np.random.default_rng(seed)
    a, b = laid_out(rng, (m, k), dtype, left).copy(), laid_out(rng, (k, n), dtype, right).copy()
    i, l, j = (int(rng.integers(size)) for size in (m, k, n))
    if rng.random() < 0.5:
        a[i, l], b[l, j] = value, 0                          # 0·inf is NaN
    else:
        b[l, j] = value
    with np.errstate(invalid="ignore"):
        wanted = (a[:, :, None].astype("d") * b).sum(1)
    for relu in (False, True):
        np.testing.assert_allclose(native.multiply(a, b, None, relu), np.maximum(wanted, 0) if relu else wanted,
                                   rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-3 if dtype == "float32" else 1e-11)


@pytest.mark.parametrize("a, b", [(np.ones((2, 3)), np.ones((2, 3))), (np.ones((2, 3)), np.ones((3, 2), "f")), (np.ones((0, 3)), np.ones((3, 2))),
                                  (np.ones((2, 0)), np.ones((0, 2))), (np.ones(()), np.ones(3)), (np.ones((2, 2), int), np.ones((2, 2), int)),
                                  (np.ones((2, 3, 4)), np.ones((3, 4, 5))), ([1.0], np.ones(1)), (np.ones(2, ">f8"), np.ones(2, ">f8")),
                                  (np.zeros(17, "u1")[1:].view("f8"), np.ones(2)), (np.ones(2, "f2"), np.ones(2, "f2"))])
def test_what_is_left_to_numpy(a, b):
    assert native.multiply(a, b) is None


@pytest.mark.parametrize("out", [np.ones((2, 2), "f"), np.ones((2, 3)), np.ones(4), np.ones((1, 2, 2)), np.ones((2, 2, 1)), np.ones((2, 2), order="F"), np.ones((2, 4))[:, ::2],
                                 np.broadcast_to(1.0, (2, 2)), [[1.0, 1.0], [1.0, 1.0]], np.ones((2, 2), ">f8"), np.zeros(33, "u1")[1:].view("f8").reshape(2, 2)])
@pytest.mark.parametrize("add", [False, True])
def test_where_no_product_is_written(out, add):
    before = np.array(out)
    assert native.multiply(np.ones((2, 3)), np.ones((3, 2)), None, False, out, add) is None
    assert np.array_equal(out, before)


def test_bad_arguments():
    x = np.ones((2, 2))
    assert all(native.multiply(x, x, bias) is None for bias in (np.ones(3), np.ones((2, 2)), np.ones(2, "f"), [1.0, 2.0]))
    for arguments in ((), (x,), (x, x, None, False, None, False, None)):
        with pytest.raises(TypeError):
            native.multiply(*arguments)
    with pytest.raises(ShapeError, match=r"\(2, 3\).*\(2, 3\).*input @ other.mT"):
        tg.matmul(tg.ones(2, 3), tg.ones(2, 3))


def test_rounding_is_no_worse_than_blas():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(64, 20000)).astype("f"), rng.normal(size=(20000, 64)).astype("f")
    exact = a.astype("d") @ b.astype("d")
    ours, blas = np.abs(native.multiply(a, b) - exact).mean(), np.abs(plain.matmul(a, b) - exact).mean()
    assert ours < 2 * blas


def test_arrays_of_strange_types_go_to_numpy():
    for dtype in ("float16", "int64", "complex64"):
        x = np.arange(6).reshape(2, 3).astype(dtype)
        np.testing.assert_array_equal(compiled.matmul(x, x.T), plain.matmul(x, x.T))
        for engine in (plain, compiled):
            y = np.ones((2, 2), dtype)
            assert engine.matmul(x, x.T, y) is y and np.array_equal(y, x @ x.T + np.ones_like(y))
            assert engine.matmul(x, x.T, y, False) is y and np.array_equal(y, x @ x.T)
        np.testing.assert_array_equal(compiled.column_sums(x), plain.column_sums(x))
        for relu in (False, True) if dtype != "complex64" else (False,):
            np.testing.assert_array_equal(compiled.linear(x, x - 2, x[:, 0], relu), plain.linear(x, x - 2, x[:, 0], relu))
