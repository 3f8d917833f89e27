"""The compiled convolution and pooling against the engine that a reader reads, for any window, number of threads and layout in memory."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_ed.backend.kernels import engines, plain
from tinygrad_ed.backend.kernels.window import Window

if engines.native() is None:
    pytest.skip("the compiled kernels are not built", allow_module_level=True)

from tinygrad_ed.backend.kernels import compiled  # noqa: E402
from tinygrad_ed.backend.kernels.compiled import _native  # noqa: E402
from tinygrad_ed.backend.kernels.compiled import conv as conv_module  # noqa: E402

SETTINGS = settings(max_examples=60, deadline=None)
SPECIAL = [0.0, 1.0, -1.0, 2.5, np.inf, -np.inf, np.nan]
FILTERS = st.one_of(st.integers(1, 6), st.sampled_from([7, 16, 17, 33, 40]))      # along the outputs, and blocks with and without a rest


@pytest.fixture(autouse=True)
def threads():
    before = _native.threads()
    yield
    _native.set_threads(before)


def windows(draw, dims: int, largest: int, pooling: bool) -> tuple:
    """A window, sizes of inputs, and sizes of outputs, at least 1."""
    numbers = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(dims))
    kernel, stride, dilation = numbers(1, 4), numbers(1, 3), numbers(1, 2)
    padding = tuple(draw(st.integers(0, k // 2 if pooling else 3)) for k in kernel)
    window = Window(kernel, stride, padding, dilation)
    inputs = tuple(max(n, span - 2 * p, 1) for n, span, p in zip(numbers(1, largest), window.span, padding))
    outputs = window.outputs(inputs, tuple(p + draw(st.integers(0, s - 1)) for p, s in zip(padding, stride)))
    if any((m - 1) * s - p >= n for m, s, p, n in zip(outputs, stride, padding, inputs)):         # a window that begins behind the inputs
        outputs = window.outputs(inputs, padding)
    return window, inputs, outputs


def strided(x: np.ndarray) -> np.ndarray:
    """The same numbers, not contiguous."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def same(a: np.ndarray, b: np.ndarray) -> None:
    """Equal but for rounding, relative to the largest number."""
    assert a.shape == b.shape and a.dtype == b.dtype
    scale = max(1.0, float(abs(b).max(initial=0)))
    np.testing.assert_allclose(a / scale, b / scale, rtol=0, atol=1e-4 if a.dtype == "float32" else 1e-12)


@st.composite
def convolutions(draw):
    dims = draw(st.integers(1, 3))
    window, inputs, outputs = windows(draw, dims, 12 if dims < 3 else 5, pooling=False)
    n, groups, channels, filters = draw(st.integers(0, 3)), draw(st.integers(1, 3)), draw(FILTERS), draw(FILTERS)
    dtype, rng = draw(st.sampled_from(["float32", "float64"])), np.random.default_rng(draw(st.integers(0, 99)))
    values = lambda *shape: rng.normal(size=shape).astype(dtype)
    arrays = [values(n, groups * channels, *inputs), values(groups * filters, channels, *window.kernel), values(n, groups * filters, *outputs)]
    biases = [values(groups * filters), values(groups * channels)] if draw(st.booleans()) else [None, None]
    if draw(st.booleans()):
        arrays = [strided(a) for a in arrays]
    return window, groups, inputs, outputs, arrays, biases


def three(engine, window, groups, inputs, outputs, arrays, biases) -> list[np.ndarray]:
    x, weight, g = arrays
    return [engine.conv_output(x, weight, biases[0], window, groups, outputs), engine.conv_weight(g, x, window, groups),
            engine.conv_input(g, weight, biases[1], window, groups, inputs)]


@SETTINGS
@given(convolutions())
def test_convolution_and_its_derivatives_are_those_of_the_reference(case):
    before = [a.copy() for a in case[4]]
    for a, b in zip(three(compiled, *case), three(plain, *case)):
        same(a, b)
    for a, b in zip(case[4], before):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("tile", ["wide", "medium", "narrow"])
@SETTINGS
@given(case=convolutions())
def test_every_tile_computes_the_same(tile, case):
    chosen = {"wide": conv_module._Tile("wide", 128, 8), "medium": conv_module._Tile("medium", 64, 8),
              "narrow": conv_module._Tile("narrow", 64, 6)}[tile]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv_module, "_tiles", lambda: (chosen, chosen))
        for a, b in zip(three(compiled, *case), three(plain, *case)):
            same(a, b)


LARGE = {
    "many samples": (Window((3, 3), (1, 1), (1, 1), (1, 1)), 1, (14, 14), 16, 8, 32),
    "one large image": (Window((3, 3), (2, 2), (1, 1), (1, 1)), 1, (70, 90), 1, 3, 20),
    "many rows": (Window((3, 3), (1, 1), (0, 0), (1, 1)), 1, (9, 9), 2, 70, 33),
    "depthwise": (Window((3, 3), (1, 1), (1, 1), (1, 1)), 32, (28, 28), 8, 1, 1),
    "depthwise, long lines": (Window((5,), (2,), (2,), (1,)), 3, (5001,), 4, 1, 2),
    "groups": (Window((3, 3), (1, 1), (1, 1), (1, 1)), 4, (14, 14), 8, 16, 16),
    "stride": (Window((4, 4), (2, 2), (1, 1), (1, 1)), 1, (28, 28), 8, 16, 32),
    "pixels": (Window((1, 1), (1, 1), (0, 0), (1, 1)), 1, (20, 20), 8, 32, 48),
}


def large(name: str, dtype: str) -> tuple:
    window, groups, inputs, n, channels, filters = LARGE[name]
    rng, outputs = np.random.default_rng(0), window.outputs(inputs, window.padding)
    values = lambda *shape: rng.normal(size=shape).astype(dtype)
    arrays = [values(n, groups * channels, *inputs), values(groups * filters, channels, *window.kernel), values(n, groups * filters, *outputs)]
    return window, groups, inputs, outputs, arrays, [values(groups * filters), None]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LARGE)
def test_convolutions_of_many_pieces_do_not_depend_on_the_number_of_threads(name, dtype, monkeypatch):
    case = large(name, dtype)
    results = []
    for number in (1, 2, 3, 4):
        _native.set_threads(number)
        results.append(three(compiled, *case))
    for result in results[1:]:
        for a, b in zip(result, results[0]):
            np.testing.assert_array_equal(a, b)
    expected = three(plain, *case)
    for a, b in zip(results[0], expected):
        same(a, b)
    monkeypatch.setattr(conv_module, "_MEMORY", 1)              # an image at a time
    for a, b in zip(three(compiled, *case), expected):
        same(a, b)


def test_convolution_keeps_infinities_where_they_are_seen():
    for channels, groups in ((1, 1), (8, 1), (8, 8)):
        window, inputs, outputs = Window((3, 3), (1, 1), (0, 0), (1, 1)), (7, 9), (5, 7)
        rng = np.random.default_rng(0)
        x, g = rng.normal(size=(2, channels, *inputs)), rng.normal(size=(2, 8, *outputs))
        weight = rng.normal(size=(8, channels // groups, 3, 3))
        x[0, 0, 2, 8], x[1, 0, 0, 0] = np.inf, np.nan
        case = window, groups, inputs, outputs, (x, weight, g), (None, None)
        for a, b in zip(three(compiled, *case), three(plain, *case)):
            np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
            np.testing.assert_array_equal(np.isinf(a), np.isinf(b))


def test_what_the_loops_do_not_serve_goes_to_the_reference():
    window = Window((2, 2), (2, 2), (0, 0), (1, 1))
    x, weight = np.ones((1, 2, 4, 4), "float16"), np.ones((3, 2, 2, 2), "float16")
    assert compiled.conv_output(x, weight, None, window, 1, (2, 2)).dtype == "float16"
    assert compiled.max_pool(x, window, (2, 2))[0].dtype == compiled.avg_pool(x, window, (2, 2), 4).dtype == "float16"
    assert compiled.max_pool(np.ones((1, 1, 20, 20)), Window((17, 17), (1, 1), (0, 0), (1, 1)), (4, 4))[1].dtype == "uint16"
    assert compiled.max_pool(np.ones((0, 3, 4, 4)), window, (2, 2))[0].shape == (0, 3, 2, 2)
    many = Window((1,) * 4, (1,) * 4, (0,) * 4, (1,) * 4)
    assert compiled.conv_output(np.ones((1, 1, 2, 2, 2, 2)), np.ones((1, 1, 1, 1, 1, 1)), None, many, 1, (2, 2, 2, 2)).sum() == 16


# -- pooling -----------------------------------------------------------------------------------------------------------

@st.composite
def poolings(draw):
    dims = draw(st.integers(1, 3))
    if draw(st.booleans()):
        window, inputs, outputs = windows(draw, dims, 20 if dims < 3 else 6, pooling=True)
    else:
        window = Window((2,) * dims, (2,) * dims, (0,) * dims, (1,) * dims)
        inputs = tuple(draw(st.integers(2, 40 if dims < 3 else 6)) for _ in range(dims))
        outputs = window.outputs(inputs, (draw(st.integers(0, 1)),) * dims)
    shape, dtype = (draw(st.integers(0, 3)), draw(st.integers(1, 3)), *inputs), draw(st.sampled_from(["float32", "float64"]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = (rng.choice(SPECIAL, size=shape) if draw(st.booleans()) else rng.normal(size=shape)).astype(dtype)
    return window, outputs, strided(x) if draw(st.booleans()) else x, rng.normal(size=(*shape[:2], *outputs)).astype(dtype)


@SETTINGS
@given(poolings())
def test_the_largest_are_those_of_the_reference(case):
    window, outputs, x, g = case
    (y, where), (y_, where_) = [engine.max_pool(x, window, outputs) for engine in (compiled, plain)]
    np.testing.assert_array_equal(y, y_)
    np.testing.assert_array_equal(where, where_)
    assert (y.dtype, where.dtype) == (y_.dtype, where_.dtype)
    same(compiled.max_pool_input(g, where, window, x.shape[2:]), plain.max_pool_input(g, where, window, x.shape[2:]))
    np.testing.assert_array_equal(compiled.max_pool_take(x, where, window), plain.max_pool_take(x, where, window))


def test_a_window_that_sees_only_padding_gives_nothing_back():
    window, x = Window((2, 2), (1, 1), (0, 1), (1, 2)), np.ones((1, 1, 2, 1), "float32")
    y, where = compiled.max_pool(x, window, (1, 1))
    assert y.item() == -np.inf
    assert not compiled.max_pool_input(np.ones_like(y), where, window, (2, 1)).any() and not compiled.max_pool_take(x, where, window).any()


@SETTINGS
@given(poolings(), st.integers(1, 9), st.booleans())
def test_the_means_are_those_of_the_reference(case, count, is_per_output):
    window, outputs, x, _ = case
    if set(window.dilation) != {1}:
        window = window._replace(dilation=(1,) * len(window.kernel))
        outputs = window.outputs(x.shape[2:], window.padding)
    x = np.where(np.isinf(x), 3, x)                              # ∞ - ∞ depends on the order
    counts = tuple(tuple(range(count, count + n)) for n in outputs) if is_per_output else count
    g = np.random.default_rng(0).normal(size=(*x.shape[:2], *outputs)).astype(x.dtype)
    g[..., -1] = np.nan
    for name, arguments in (("avg_pool", (x, window, outputs, counts)), ("avg_pool_input", (g, window, x.shape[2:], counts))):
        a, b = getattr(compiled, name)(*arguments), getattr(plain, name)(*arguments)
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        same(np.nan_to_num(a), np.nan_to_num(b))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(28, 28), (3, 2100), (2100,)])
def test_poolings_of_many_pieces_do_not_depend_on_the_number_of_threads(sizes, dtype):
    n = len(sizes)
    x = np.random.default_rng(0).normal(size=(16, 16, *sizes)).astype(dtype)
    for window in (Window((2,) * n, (2,) * n, (0,) * n, (1,) * n), Window((3,) * n, (2,) * n, (1,) * n, (1,) * n)):
        outputs = window.outputs(sizes, window.padding)
        if min(outputs) < 1:
            continue

        def everything(engine):
            y, where = engine.max_pool(x, window, outputs)
            mean = engine.avg_pool(x, window, outputs, 3)
            return [y, where, engine.max_pool_input(y, where, window, sizes), engine.max_pool_take(x, where, window), mean,
                    engine.avg_pool_input(mean, window, sizes, 3)]
        results = []
        for number in (1, 2, 3, 4):
            _native.set_threads(number)
            results.append(everything(compiled))
        for result in results[1:]:
            for a, b in zip(result, results[0]):
                np.testing.assert_array_equal(a, b)
        for a, b in zip(results[0], everything(plain)):
            same(a, b) if a.dtype == dtype else np.testing.assert_array_equal(a, b)
