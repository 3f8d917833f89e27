"""What the CUDA kernels with windows do beside what test_cuda_kernels.py draws: large kernels, columns of some images at a time, weights in pieces."""
import numpy as np
import pytest
import standin

import tinygrad_ed as tg
from tinygrad_ed.backend.kernels import cuda, plain
from tinygrad_ed.backend.kernels.cuda import columns, depthwise, windows
from tinygrad_ed.backend.kernels.window import Window

PLAIN = Window((3, 3), (1, 1), (1, 1), (1, 1))


@pytest.fixture
def cp():
    """The stand-in for the module cupy."""
    with standin.installed() as module:
        tg.cuda.init()
        yield module


def drawn(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def same(y, expected):
    np.testing.assert_allclose(y.get(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", [16, 17])
def test_numbers_of_taps_that_need_more_than_a_byte(cp, side):
    x, window = drawn(1, 2, 20, 20), Window((side, side), (2, 2), (2, 2), (1, 1))
    outputs = window.outputs((20, 20), (0, 0))
    y, where = cuda.max_pool(cp.asarray(x), window, outputs)
    expected, places = plain.max_pool(x, window, outputs)
    assert where.dtype == places.dtype == ("uint8" if side == 16 else "uint16")
    np.testing.assert_array_equal(where.get(), places)
    same(y, expected)
    g = drawn(1, 2, *outputs)
    same(cuda.max_pool_input(cp.asarray(g), where, window, (20, 20)), plain.max_pool_input(g, places, window, (20, 20)))
    same(cuda.max_pool_take(cp.asarray(x), where, window), plain.max_pool_take(x, places, window))


def test_a_window_of_nothing_but_infinities_shows_its_first_input(cp):
    x = np.full((1, 1, 4, 4), -np.inf, "float32")
    y, where = cuda.max_pool(cp.asarray(x), PLAIN, (4, 4))
    np.testing.assert_array_equal(where.get(), plain.max_pool(x, PLAIN, (4, 4))[1])
    assert np.isneginf(y.get()).all()


def test_a_window_between_whose_taps_the_input_lies_shows_nothing(cp):
    x, window = drawn(1, 3, 1), Window((2,), (1,), (1,), (3,))
    y, where = cuda.max_pool(cp.asarray(x), window, (1,))
    expected, places = plain.max_pool(x, window, (1,))
    np.testing.assert_array_equal(where.get(), places)
    same(y, expected)
    same(cuda.max_pool_take(cp.asarray(x), where, window), plain.max_pool_take(x, places, window))
    same(cuda.max_pool_input(y, where, window, (1,)), np.zeros((1, 3, 1)))


@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
def test_pooling_takes_one_launch_each_way(cp, name):
    x, window = cp.asarray(drawn(2, 3, 8, 8)), Window((2, 2), (2, 2), (0, 0), (1, 1))
    more = () if name == "max_pool" else (((4,) * 4, (1,) * 4),)
    getattr(cuda, name)(x, window, (4, 4), *more)     # sends the counts
    with standin.counting() as counts:
        y = getattr(cuda, name)(x, window, (4, 4), *more)
        y, kept = (y[0], y[1:]) if name == "max_pool" else (y, ())
        getattr(cuda, name + "_input")(y, *kept, window, (8, 8), *more)
    assert counts.launches == 2 and not counts.copies and not counts.syncs


@pytest.mark.parametrize("groups", [1, 2])
def test_columns_of_some_images_at_a_time(cp, monkeypatch, groups):
    x, w, g = drawn(5, 4, 6, 6), drawn(6, 4 // groups, 3, 3), drawn(5, 6, 6, 6)
    for most in (1, 4 * 9 * 36 * 2, 1 << 27):
        monkeypatch.setattr(columns, "_MOST", most)
        same(columns.conv_output(cp.asarray(x), cp.asarray(w), None, PLAIN, groups, (6, 6)), plain.conv_output(x, w, None, PLAIN, groups, (6, 6)))
        same(columns.conv_input(cp.asarray(g), cp.asarray(w), None, PLAIN, groups, (6, 6)), plain.conv_input(g, w, None, PLAIN, groups, (6, 6)))
        same(columns.conv_weight(cp.asarray(g), cp.asarray(x), PLAIN, groups), plain.conv_weight(g, x, PLAIN, groups))


def test_pixels_are_columns_already(cp):
    window = Window((1, 1), (1, 1), (0, 0), (1, 1))
    x, w = drawn(2, 4, 5, 5), drawn(3, 4, 1, 1)
    with standin.counting() as counts:
        y = columns.conv_output(cp.asarray(x), cp.asarray(w), None, window, 1, (5, 5))
    assert counts.launches == 1
    same(y, plain.conv_output(x, w, None, window, 1, (5, 5)))


@pytest.mark.parametrize("filters", [1, 2])
def test_the_weights_gradient_of_a_depthwise_convolution_in_pieces(cp, monkeypatch, filters):
    x, g = drawn(4, 3, 6, 7), drawn(4, 3 * filters, 6, 7)
    expected = plain.conv_weight(g, x, PLAIN, 3)
    for least, threads in ((1, 32), (50, 64), (1000, 256)):
        monkeypatch.setattr(depthwise, "_LEAST", least)
        monkeypatch.setattr(depthwise, "_THREADS", threads)
        with standin.counting() as counts:
            dw = columns.conv_weight(cp.asarray(g), cp.asarray(x), PLAIN, 3)
        same(dw, expected)
        assert counts.launches == (1 if least == 1000 else 2)


@pytest.mark.parametrize("inputs, outputs, kernel", [((2, 2, 2, 2), (1, 1, 1, 1), (2, 2, 2, 2)), ((0,), (1,), (1,)), ((1 << 31,), (1,), (1,))])
def test_what_the_kernels_leave_to_others(inputs, outputs, kernel):
    n = len(inputs)
    assert windows.suited(Window(kernel, (1,) * n, (0,) * n, (1,) * n), inputs, outputs, np.ones(1, "float32")) is None
