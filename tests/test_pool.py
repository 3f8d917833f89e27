"""Pooling at ties, NaNs and infinities, in blocks of every size, of strange sizes; its layers, and clear errors."""
import itertools
import sys

import numpy as np
import pytest
from cases.pool import largest, means
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_ed as tg
from tinygrad_ed import nn
from tinygrad_ed.backend.kernels import plain
from tinygrad_ed.backend.kernels.window import Window
from tinygrad_ed.nn import functional as F

RNG = np.random.default_rng(0)
POOL = sys.modules["tinygrad_ed.backend.kernels.plain.pool"]
INF, NAN = float("inf"), float("nan")


# -- the largest -------------------------------------------------------------------------------------------------------

def places(x, window, outputs):
    """The definition: of every window the place of the largest, the first of several, the last of the NaNs."""
    y = np.full((*x.shape[:2], *outputs), -1)
    for place in itertools.product(*map(range, y.shape)):
        best = -INF
        for tap in itertools.product(*map(range, window.kernel)):
            at = [i * s + k * d - p for i, k, (s, p, d) in zip(place[2:], tap, zip(*window[1:]))]
            if all(0 <= i < m for i, m in zip(at, x.shape[2:])):
                v = x[(*place[:2], *at)]
                if v > best or np.isnan(v) or y[place] < 0:
                    best, y[place] = v, np.ravel_multi_index(at, x.shape[2:])
    return y


@given(n=st.integers(1, 3), seed=st.integers(0, 10**6), cached=st.sampled_from([1, 50, 2**18]), strange=st.booleans())
def test_places_of_the_largest_in_blocks_of_every_size(n, seed, cached, strange):
    rng = np.random.default_rng(seed)
    shape = (2, 2, *rng.integers(2, 6, n))
    x = rng.integers(-1, 2, shape) * 1.0
    if strange:
        x = rng.choice([NAN, INF, -INF, 0.0, 1.0], shape, p=[0.1, 0.1, 0.4, 0.2, 0.2])
    kernel = tuple(rng.integers(1, np.minimum(shape[2:], 3) + 1).tolist())
    window = Window(kernel, tuple(rng.integers(1, 4, n).tolist()), tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel), (1,) * n)
    outputs = window.outputs(x.shape[2:], window.padding)
    expected = places(x, window, outputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(POOL, "_CACHED", cached)
        y, where = plain.max_pool(x, window, outputs)
        assert where.dtype == np.uint8
        np.testing.assert_array_equal(plain.max_pool_places(where, window, x.shape[2:]), expected)
        np.testing.assert_array_equal(y.reshape(2, 2, -1), np.take_along_axis(x.reshape(2, 2, -1), expected.reshape(2, 2, -1), 2))
        np.testing.assert_array_equal(plain.max_pool_take(x, where, window), y)
        g, dx = rng.choice([1.0, -2.0, INF], y.shape), np.zeros((2, 2, int(np.prod(shape[2:]))))
        for i, j in np.ndindex(2, 2):
            np.add.at(dx[i, j], expected[i, j].ravel(), g[i, j].ravel())
        np.testing.assert_array_equal(plain.max_pool_input(g, where, window, x.shape[2:]), dx.reshape(shape))


def test_ties_go_to_the_first():
    x = tg.zeros(1, 1, 4, 4, requires_grad=True)
    F.max_pool2d(x, 2).sum().backward()
    assert x.grad[0, 0].tolist() == [[1, 0, 1, 0], [0] * 4] * 2
    x.grad = None
    y, where = F.max_pool2d(x, 3, 1, 1, return_indices=True)
    y.sum().backward()
    assert where[0, 0].tolist() == [[0, 0, 1, 2], [0, 0, 1, 2], [4, 4, 5, 6], [8, 8, 9, 10]]
    assert x.grad.sum().item() == 16 and x.grad[0, 0, 0, 0].item() == 4


def test_nan_is_the_largest_and_padding_the_smallest():
    x = tg.tensor([[1.0, NAN, 3.0, -INF, -INF]], requires_grad=True)
    y = F.max_pool1d(x, 2, padding=1)
    np.testing.assert_array_equal(y.detach().numpy(), [[1, NAN, -INF]])
    y.backward(tg.tensor([[1.0, 2.0, 3.0]]))
    assert x.grad.tolist() == [[1, 2, 0, 3, 0]]


def test_windows_of_many_taps():
    x = RNG.normal(size=(1, 2, 40, 20))
    for kernel in (16, 17, (20, 20)):                  # 256 taps fit into a byte, 289 do not
        y, where = F.max_pool2d(tg.tensor(x), kernel, 3, return_indices=True)
        np.testing.assert_array_equal(y.numpy(), largest(2)(x, kernel, 3))
        np.testing.assert_array_equal(y.numpy().ravel(), np.concatenate([x[0, c].ravel()[where[0, c].numpy().ravel()] for c in range(2)]))


def test_the_input_is_not_kept_alive_but_a_byte_for_each_output():
    y = F.max_pool2d(tg.ones(2, 3, 8, 8, requires_grad=True) * 2, 2)
    kept = [a for a in y.grad_fn.saved if isinstance(a, np.ndarray)]
    assert [a.dtype for a in kept] == [np.uint8] and kept[0].shape == y.shape


def test_unpooling_puts_back_and_pools_again():
    x = tg.tensor(np.abs(RNG.normal(size=(2, 3, 5, 6))), requires_grad=True)
    y, where = F.max_pool2d(x, 2, return_indices=True)
    back = F.max_unpool2d(y, where, 2, output_size=x.shape)
    assert back.shape == x.shape and ((back == 0) | (back == x)).all() and (back != 0).sum().item() == y.numel()
    np.testing.assert_array_equal(F.max_pool2d(back, 2).detach().numpy(), y.detach().numpy())
    back.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), (back != 0).numpy())


@pytest.mark.parametrize("pool", [
    lambda x: F.max_pool2d(x, 2), lambda x: F.max_pool2d(x, 2, return_indices=True)[0], lambda x: F.avg_pool2d(x, 2), lambda x: F.avg_pool2d(x, 4),
    lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), lambda x: F.adaptive_avg_pool2d(x, 3), lambda x: F.adaptive_max_pool2d(x, 3),
    lambda x: F.lp_pool2d(x, 2, 2), lambda x: F.fractional_max_pool2d(x, 2, 3)])
def test_no_images(pool):
    x = tg.ones(0, 3, 4, 4, requires_grad=True)
    y = pool(x)
    assert y.shape[:2] == (0, 3) and y.shape[2] == y.shape[3] > 0
    y.sum().backward()
    assert x.grad.shape == x.shape


# -- means -------------------------------------------------------------------------------------------------------------

def test_float16_is_summed_in_float32():
    x = tg.ones(1, 1, 60, 60, dtype=tg.float16, requires_grad=True)
    for y in (F.avg_pool2d(x, 60), F.avg_pool2d(x, 59, 1), F.adaptive_avg_pool2d(x, 1), F.avg_pool2d(x, 50, 10, divisor_override=1)):
        assert y.dtype == tg.float16 and set(y.flatten().tolist()) <= {1.0, 2500.0}
    F.avg_pool2d(x, 3, 1).sum().backward()
    assert x.grad.dtype == tg.float16 and F.max_pool2d(x, 3).dtype == tg.float16


@pytest.mark.parametrize("shape, kernel", [((2, 3, 7, 7), 7), ((2, 3, 6, 5), (6, 5)), ((2, 3, 6, 5), (5, 5))])
def test_one_window_over_everything(shape, kernel):
    x = tg.tensor(RNG.normal(size=shape), requires_grad=True)
    y = F.avg_pool2d(x, kernel)
    np.testing.assert_allclose(y.detach().numpy(), means(2)(x.detach().numpy(), kernel), rtol=1e-12)
    y.sum().backward()
    assert x.grad.sum().item() == pytest.approx(6)
    np.testing.assert_allclose(F.adaptive_avg_pool2d(x, 1).detach().numpy(), x.detach().numpy().mean((2, 3), keepdims=True), rtol=1e-12)


def test_adaptive_means_of_means():
    x = tg.tensor(RNG.normal(size=(2, 3, 6, 4)))
    np.testing.assert_array_equal(F.adaptive_avg_pool2d(x, (3, 2)).numpy(), F.avg_pool2d(x, 2).numpy())
    np.testing.assert_array_equal(F.adaptive_avg_pool2d(x, (None, 4)).numpy(), x.numpy())
    np.testing.assert_array_equal(F.adaptive_max_pool2d(x, (6, None)).numpy(), x.numpy())
    assert F.adaptive_avg_pool2d(x, 0).shape == (2, 3, 0, 0)
    large = F.adaptive_avg_pool2d(x, (12, 8))          # also to more than there is
    np.testing.assert_allclose(large.numpy(), x.numpy().repeat(2, 2).repeat(2, 3))


def test_power_means_go_from_the_sum_to_the_largest():
    x = tg.tensor(RNG.uniform(0.6, 1, (1, 2, 6, 6)))
    np.testing.assert_allclose(F.lp_pool2d(x, 1, 2).numpy(), 4 * F.avg_pool2d(x, 2).numpy())
    np.testing.assert_allclose(F.lp_pool2d(x, 1000.0, 2).numpy(), F.max_pool2d(x, 2).numpy(), rtol=2e-3)


# -- in random places --------------------------------------------------------------------------------------------------

def test_fractional_windows_lie_at_random_and_reach_both_ends():
    x = tg.arange(12.0, dtype=tg.float64).expand(2000, 1, 12).unsqueeze(2).expand(2000, 1, 12, 12)
    tg.manual_seed(0)
    ends = F.fractional_max_pool2d(x, 2, output_size=7)[:, 0, 0].numpy()       # where each window ends along the last dimension
    assert (ends[:, 0] == 1).all() and (ends[:, -1] == 11).all()
    steps = np.diff(ends, axis=1)
    assert set(steps.ravel()) == {1, 2} and 0.3 < (steps == 2).mean() < 0.8
    assert len({tuple(row) for row in ends}) == 3       # by where u puts the one step of 1 among the steps of 2
    tg.manual_seed(0)
    np.testing.assert_array_equal(F.fractional_max_pool2d(x, 2, output_size=7)[:, 0, 0].numpy(), ends)


def test_fractional_pooling_is_differentiable_and_counts():
    x = tg.tensor(RNG.normal(size=(2, 3, 9, 8, 7)), requires_grad=True)
    y, where = F.fractional_max_pool3d(x, 2, output_ratio=(0.5, 0.5, 0.6), return_indices=True)
    assert y.shape == (2, 3, 4, 4, 4) and where.dtype == tg.int64
    y.sum().backward()
    assert x.grad.sum().item() == y.numel()
    assert F.fractional_max_pool2d(x[:, 0].detach(), 3, output_size=(2, 3)).shape == (2, 9, 2, 3)


# -- layers ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("layer, function", [
    (nn.MaxPool2d(3, 2, 1, 1, ceil_mode=True), lambda x: F.max_pool2d(x, 3, 2, 1, 1, True)),
    (nn.AvgPool2d(3, 2, 1, True, False, 7), lambda x: F.avg_pool2d(x, 3, 2, 1, True, False, 7)), (nn.LPPool2d(2, 3, 2), lambda x: F.lp_pool2d(x, 2, 3, 2)),
    (nn.AdaptiveAvgPool2d((3, None)), lambda x: F.adaptive_avg_pool2d(x, (3, None))), (nn.AdaptiveMaxPool2d(3), lambda x: F.adaptive_max_pool2d(x, 3)),
    (nn.FractionalMaxPool2d(2, output_ratio=0.5, _random_samples=tg.full((2, 3, 2), 0.4)),
     lambda x: F.fractional_max_pool2d(x, 2, output_size=(3, 4), _random_samples=tg.full((2, 3, 2), 0.4)))])
def test_layers_are_their_functions(layer, function):
    x = tg.rand(2, 3, 7, 8)
    np.testing.assert_array_equal(layer(x).numpy(), function(x).numpy())
    assert list(layer.parameters()) == []


def test_pooling_and_unpooling_layers():
    pool, unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
    x = tg.rand(2, 3, 6, 6)
    assert (unpool(*pool(x)) <= x).all()
    assert unpool(*pool(tg.rand(1, 1, 7, 7)), output_size=(7, 7)).shape == (1, 1, 7, 7)


@pytest.mark.parametrize("call, parts", [
    (lambda: F.max_pool2d(tg.ones(1, 1, 3, 3), 4), ["max_pool2d", "(4, 4)", "(1, 1, 3, 3)"]),
    (lambda: F.max_pool2d(tg.ones(1, 1, 4, 4), 2, padding=2), ["padding=(2, 2)", "(2, 2)"]),
    (lambda: F.avg_pool2d(tg.ones(4, 4), 2), ["avg_pool2d", "(N, C, H, W)", "(4, 4)"]),
    (lambda: F.avg_pool2d(tg.ones(1, 4, 4, dtype=tg.int64), 2), ["int64", "float()"]),
    (lambda: F.avg_pool2d(tg.ones(1, 4, 4), 2, divisor_override=0), ["divisor_override"]),
    (lambda: F.max_pool1d(tg.ones(1, 4), 2, stride=0), ["stride", "0"]),
    (lambda: F.max_pool2d(tg.ones(1, 4, 4), (2, 2, 2)), ["kernel_size", "(2, 2, 2)"]),
    (lambda: F.max_pool2d(tg.ones(1, 4, 4), 2.0), ["kernel_size", "2.0"]),
    (lambda: F.max_unpool2d(tg.ones(1, 2, 2), tg.ones(1, 2, 2, dtype=tg.int64) * 16, 2), ["16", "(4, 4)"]),
    (lambda: F.max_unpool2d(tg.ones(1, 2, 2), tg.ones(1, 2, 2, dtype=tg.int64), 2, output_size=(7, 4)), ["(7, 4)", "(4, 4)"]),
    (lambda: F.fractional_max_pool2d(tg.ones(1, 1, 4, 4), 2, output_size=4), ["(4, 4)", "(1, 1, 4, 4)"]),
    (lambda: F.fractional_max_pool2d(tg.ones(1, 1, 4, 4), 2), ["neither"]),
    (lambda: F.fractional_max_pool2d(tg.ones(1, 1, 4, 4), 2, output_ratio=1.5), ["1.5"]),
    (lambda: F.adaptive_max_pool2d(tg.ones(1, 1, 4, 4), (0, 1)), ["(0, 1)"]),
    (lambda: F.lp_pool2d(tg.ones(1, 1, 4, 4), 0, 2), ["norm_type"]),
    (lambda: nn.FractionalMaxPool2d(2), ["neither"]),
])
def test_errors_name_what_was_expected_and_received(call, parts):
    with pytest.raises((RuntimeError, ValueError, TypeError, IndexError)) as error:
        call()
    for part in parts:
        assert part in str(error.value), str(error.value)
