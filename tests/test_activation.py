"""Activations: precision in float32, extremes, kinks, pieces, in-place forms, and those that are random or choose."""
import math

import numpy as np
import pytest
import scipy.special as sp

import tinygrad_ed as tg
import tinygrad_ed.nn.functional as F
from tinygrad_ed import nn
from tinygrad_ed.backend.kernels import plain
from tinygrad_ed.errors import DTypeError, InPlaceError, ShapeError
from tinygrad_ed.ops.activation import smooth

INF, NAN = math.inf, math.nan
SMOOTH = {
    "gelu": F.gelu, "gelu tanh": lambda x: F.gelu(x, "tanh"), "silu": F.silu, "mish": F.mish, "softplus": F.softplus,
    "softplus 2": lambda x: F.softplus(x, 2.0, 5.0), "logsigmoid": F.logsigmoid, "softsign": F.softsign, "tanhshrink": F.tanhshrink, "elu": F.elu,
    "elu 0.5": lambda x: F.elu(x, 0.5), "celu 2": lambda x: F.celu(x, 2.0), "selu": F.selu, "hardswish": F.hardswish,
}
smooths = pytest.mark.parametrize("f", SMOOTH.values(), ids=SMOOTH)


def value_and_slope(f, x, dtype=None):
    """f(x) and f'(x) as float64 arrays."""
    x = tg.tensor(np.asarray(x, dtype), requires_grad=True)
    y = f(x)
    g, = tg.autograd.grad(y, x, tg.ones_like(y))
    assert y.dtype == g.dtype == x.dtype
    return y.detach().numpy().astype("float64"), g.numpy().astype("float64")


# -- precision ---------------------------------------------------------------------------------------------------------

@smooths
def test_float32_agrees_with_float64(f):
    x = np.concatenate([np.linspace(-12, 12, 20_001), np.geomspace(1e-6, 80, 500), -np.geomspace(1e-6, 80, 500)]).astype("float32")
    for a, b in zip(value_and_slope(f, x), value_and_slope(f, x, "float64")):
        assert (np.abs(a - b) < 1.5e-6 * np.maximum(np.abs(b), 1)).all()


def test_gelu_is_x_times_the_normal_distribution_function():
    x = np.linspace(-6, 6, 100_001).astype("float32")
    y, slope = value_and_slope(F.gelu, x)
    z = x.astype("float64")
    assert np.abs(y - z * sp.ndtr(z)).max() < 7e-7                     # PyTorch's: 1.1e-6
    assert np.abs(slope - sp.ndtr(z) - z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)).max() < 1e-6
    y, _ = value_and_slope(F.gelu, z)
    np.testing.assert_allclose(y, z * sp.ndtr(z), rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("f, exact", [(F.softplus, lambda x: np.log1p(np.exp(x))), (F.logsigmoid, lambda x: -np.log1p(np.exp(-x)))])
def test_small_results_are_exact_to_rounding(f, exact):
    for dtype, rtol in (("float32", 1e-6), ("float64", 1e-14)):
        x = np.linspace(-30, 18, 5001).astype(dtype)
        x = -x if f is F.logsigmoid else x
        np.testing.assert_allclose(value_and_slope(f, x)[0], exact(x.astype("float64")), rtol=rtol)


def test_float16_is_computed_in_float32():
    x = np.linspace(-8, 8, 1001).astype("float16")
    for f in SMOOTH.values():
        for a, b in zip(value_and_slope(f, x), value_and_slope(f, x.astype("float32"))):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


# -- extremes and kinks ------------------------------------------------------------------------------------------------

@smooths
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_far_out_nothing_overflows(f, dtype):
    far = 1e12 if dtype == "float32" else 1e100
    for a in value_and_slope(f, [-far, -1000, -100, 100, 1000, far], dtype):
        assert np.isfinite(a).all()


@pytest.mark.parametrize("name, left, right", [
    ("gelu", 0, 1), ("silu", 0, 1), ("mish", 0, 1), ("softplus", 0, 1), ("logsigmoid", 1, 0), ("softsign", 0, 0), ("tanhshrink", 1, 1),
    ("elu", 0, 1), ("celu", 0, 1), ("selu", 0, smooth.SELU_SCALE), ("hardswish", 0, 1), ("leaky_relu", 0.01, 1), ("hardtanh", 0, 0)])
def test_slopes_far_out(name, left, right):
    _, slope = value_and_slope(getattr(F, name), [-1e4, 1e4])
    np.testing.assert_allclose(slope, [left, right], atol=1e-7)


@pytest.mark.parametrize("f, x, slope", [
    (lambda x: F.elu(x, 2.0), [0.0, -0.0], [2, 2]), (lambda x: F.celu(x, 2.0), [0.0], [1]),
    (F.selu, [0.0], [smooth.SELU_ALPHA * smooth.SELU_SCALE]), (F.hardtanh, [-1.0, 1.0, 0.5], [0, 0, 1]), (F.relu6, [0.0, 6.0, 3.0], [0, 0, 1]),
    (F.hardsigmoid, [-3.0, 3.0, 0.0], [0, 0, 1 / 6]), (F.hardswish, [-3.0, 3.0, 0.0], [0, 1, 0.5]), (F.leaky_relu, [0.0, -0.0], [0.01, 0.01]),
    (lambda x: F.leaky_relu(x, 0.0), [0.0], [0]), (lambda x: F.threshold(x, 1.0, 5.0), [1.0, 1.5], [0, 1]),
    (F.hardshrink, [-0.5, 0.5, 0.6], [0, 0, 1]),
    (F.softshrink, [-0.5, 0.5, 0.6], [0, 0, 1]), (F.softsign, [0.0], [1]), (F.logsigmoid, [0.0], [0.5]), (F.softplus, [0.0, 20.0], [0.5, 1]),
    (F.relu, [0.0, -0.0], [0, 0]), (lambda x: F.prelu(x, tg.tensor([0.25], dtype=tg.float64)), [0.0], [0.25])])
def test_derivatives_at_kinks(f, x, slope):
    np.testing.assert_allclose(value_and_slope(f, x)[1], slope, rtol=1e-8)


@pytest.mark.parametrize("f", [F.relu6, F.hardtanh, F.hardshrink, F.softshrink, lambda x: F.threshold(x, 0.0, 0.0)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_where_nothing_passes_even_infinities_do_not(f, dtype):
    x = tg.tensor(np.array([0.0, -0.0] if f is not F.hardtanh else [1.0, -1.0], dtype), requires_grad=True)
    for bad in (INF, NAN):
        g, = tg.autograd.grad(f(x), x, tg.full((2,), bad, dtype=x.dtype))
        assert g.tolist() == [0, 0]


@pytest.mark.parametrize("f", [*SMOOTH.values(), F.relu6, F.hardtanh, F.hardsigmoid, F.hardshrink, F.softshrink, F.leaky_relu, F.relu,
                               lambda x: F.threshold(x, 0.0, 1.0), F.tanh, F.sigmoid])
def test_nan_stays_nan(f):
    for dtype in ("float16", "float32", "float64"):
        assert np.isnan(f(tg.tensor(np.array([NAN], dtype))).numpy()).all()


# -- choosing by bits --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 4)])
def test_select_and_choose(dtype, shape):
    rng = np.random.default_rng(0)
    condition, x = np.asarray(rng.random(shape) < 0.5), rng.choice([1.5, -0.0, INF, -INF, NAN, 1e-7], shape).astype(dtype)
    y = rng.normal(size=shape).astype(dtype)
    for other in (0, 2.5, NAN, y):
        np.testing.assert_array_equal(plain.select(condition, x, other), np.where(condition, x, np.asarray(other, dtype)))
        np.testing.assert_array_equal(plain.select(condition.T, x.T, np.asarray(other).T), np.where(condition.T, x.T, np.asarray(other, dtype).T))
    chosen = plain.choose(condition, 1, 1 / 3, np.dtype(dtype))
    assert chosen.dtype == dtype
    np.testing.assert_array_equal(chosen, np.where(condition, 1, 1 / 3).astype(dtype))


# -- pieces and recording ----------------------------------------------------------------------------------------------

@smooths
def test_pieces_make_no_difference(f, monkeypatch):
    x = np.random.default_rng(0).normal(0, 3, (7, 11, 3))
    expected = value_and_slope(f, x)
    for piece in (1, 10, 231):
        monkeypatch.setattr(plain.activation, "PIECE", piece)
        for a, b in zip(value_and_slope(f, x), expected):
            np.testing.assert_array_equal(a, b)


@smooths
def test_the_derivative_is_computed_only_where_it_is_wanted(f):
    x = np.random.default_rng(0).normal(0, 3, (5, 4)).astype("float32")
    recorded = f(tg.tensor(x, requires_grad=True))
    plain_values = f(tg.tensor(x))
    with tg.no_grad():
        silent = f(tg.tensor(x, requires_grad=True))
    assert recorded.requires_grad and not plain_values.requires_grad and not silent.requires_grad
    np.testing.assert_array_equal(recorded.detach().numpy(), plain_values.numpy())
    np.testing.assert_array_equal(silent.numpy(), plain_values.numpy())
    node = recorded.grad_fn
    assert sum(isinstance(v, np.ndarray) for v in node.saved) == 2       # the input, for second derivatives, and the slope


# -- in place ----------------------------------------------------------------------------------------------------------

IN_PLACE = [F.relu, F.relu6, F.hardtanh, F.hardsigmoid, F.hardswish, F.leaky_relu, F.elu, F.celu, F.selu, F.silu, F.mish, F.rrelu,
            lambda x, inplace: F.threshold(x, 0.3, 0.1, inplace)]


@pytest.mark.parametrize("f", IN_PLACE)
def test_in_place(f):
    values = np.random.default_rng(0).normal(0, 3, (4, 5))
    x = tg.tensor(values)
    assert f(x, inplace=True) is x
    np.testing.assert_array_equal(x.numpy(), f(tg.tensor(values), inplace=False).numpy())
    gradients = []
    for inplace in (True, False):
        leaf = tg.tensor(values, requires_grad=True)
        y = f(leaf * 1.5, inplace=inplace)
        (y * tg.tensor(values)).sum().backward()
        gradients.append(leaf.grad.numpy())
    np.testing.assert_allclose(*gradients, rtol=1e-12)
    with pytest.raises(InPlaceError):
        f(tg.tensor(values, requires_grad=True), inplace=True)


@pytest.mark.parametrize("name, args", [("relu_", ()), ("elu_", (0.5,)), ("celu_", (0.5,)), ("selu_", ()), ("leaky_relu_", (0.2,)),
                                        ("hardtanh_", (-0.5, 0.5)), ("rrelu_", (0.1, 0.3)), ("threshold_", (0.3, 0.1))])
def test_names_with_an_underscore(name, args):
    x = tg.tensor(np.random.default_rng(0).normal(size=(4, 5)))
    expected = getattr(F, name[:-1])(x.clone(), *args)
    assert getattr(F, name)(x, *args) is x and tg.equal(x, expected)


# -- random and choosing ones ------------------------------------------------------------------------------------------

def test_rrelu_draws_a_slope_for_every_negative_element():
    x = tg.full((1000,), -2.0, dtype=tg.float64, requires_grad=True)
    y = F.rrelu(x, 0.1, 0.4, training=True, generator=tg.Generator().manual_seed(0))
    g, = tg.autograd.grad(y.sum(), x)
    slopes = y.detach().numpy() / -2
    np.testing.assert_allclose(g.numpy(), slopes)
    assert slopes.min() >= 0.1 and slopes.max() <= 0.4 and abs(slopes.mean() - 0.25) < 0.02 and len(set(slopes)) > 900
    assert F.rrelu(tg.tensor([3.0, 0.5]), training=True).tolist() == [3.0, 0.5]
    layer = nn.RReLU(0.1, 0.3)
    assert layer.eval()(tg.tensor([-1.0])).item() == pytest.approx(-0.2)


def test_prelu_learns_a_slope_for_each_channel():
    x = np.random.default_rng(0).normal(size=(3, 2, 4))
    layer = nn.PReLU(2, init=0.1).double()
    layer.weight.data[...] = [0.1, -0.3]
    y = layer(tg.tensor(x))
    y.sum().backward()
    for c, a in enumerate([0.1, -0.3]):
        np.testing.assert_allclose(y.detach().numpy()[:, c], np.where(x[:, c] > 0, x[:, c], a * x[:, c]))
        assert layer.weight.grad.numpy()[c] == pytest.approx(np.minimum(x[:, c], 0).sum())


def test_prelu_checks_its_weight():
    with pytest.raises(ShapeError, match=r"prelu.*\(4,\)"):
        F.prelu(tg.ones(2, 4), tg.ones(3))
    with pytest.raises(DTypeError, match="prelu"):
        F.prelu(tg.ones(2, 4), tg.ones(4, dtype=tg.float64))


def test_gumbel_softmax():
    logits = tg.tensor(np.log(np.tile([0.6, 0.3, 0.1], (20_000, 1))), requires_grad=True)
    hard = F.gumbel_softmax(logits, tau=0.7, hard=True, generator=tg.Generator().manual_seed(0))
    soft = F.gumbel_softmax(logits, tau=0.7, generator=tg.Generator().manual_seed(0))
    assert set(hard.detach().numpy().ravel()) == {0.0, 1.0} and (hard.detach().numpy().sum(1) == 1).all()
    assert (hard.detach().numpy().argmax(1) == soft.detach().numpy().argmax(1)).all()
    np.testing.assert_allclose(hard.detach().numpy().mean(0), [0.6, 0.3, 0.1], atol=0.02)
    np.testing.assert_allclose(soft.detach().numpy().sum(1), 1)
    w = tg.randn(20_000, 3, dtype=tg.float64)
    for a, b in zip(tg.autograd.grad((hard * w).sum(), logits), tg.autograd.grad((soft * w).sum(), logits)):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-12)
    with pytest.warns(UserWarning, match="eps"):
        F.gumbel_softmax(logits, eps=1e-5)


def test_hardmax():
    x = tg.tensor([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]], requires_grad=True)
    assert F.hardmax(x).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert F.hardmax(x, dim=0).tolist() == [[0, 1, 1], [1, 0, 0]]
    w = tg.tensor([[1.0, -2.0, 0.5], [0.3, 0.2, 0.1]])
    (F.hardmax(x) * w).sum().backward()
    assert not x.grad.numpy().any()
    x.grad = None
    y = nn.Hardmax(straight_through=True)(x)
    assert y.tolist() == [[0, 1, 0], [1, 0, 0]]
    (y * w).sum().backward()
    soft = tg.autograd.grad((F.softmax(x, -1) * w).sum(), x)[0]
    np.testing.assert_allclose(x.grad.numpy(), soft.numpy())
    assert F.hardmax(tg.tensor(2.0)).item() == 1 and F.hardmax(tg.ones(0, 3)).shape == (0, 3)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "uint8"])
@pytest.mark.parametrize("n", [3, 1 << 15, (1 << 15) + 1])
def test_relu_of_few_and_of_many_elements(n, dtype):
    x = np.random.default_rng(0).integers(-5 if dtype != "uint8" else 0, 5, n).astype(dtype)
    if x.dtype.kind == "f":
        x[:3] = np.nan, np.inf, -np.inf
    y = tg.tensor(x).relu()
    assert y.dtype == dtype
    np.testing.assert_array_equal(y.numpy(), np.maximum(x, 0))


def test_glu_halves_a_dimension():
    x = np.random.default_rng(0).normal(size=(4, 6))
    y = F.glu(tg.tensor(x), 0).numpy()
    np.testing.assert_allclose(y, x[:2] / (1 + np.exp(-x[2:])))
    with pytest.raises(ShapeError, match="odd"):
        F.glu(tg.ones(2, 3))
    with pytest.raises(ShapeError, match="0-d"):
        F.glu(tg.ones(()))


def test_softmax_over_channels():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    for y in (nn.Softmax2d()(tg.tensor(x)), nn.Softmax2d()(tg.tensor(x[0]))):
        np.testing.assert_allclose(y.numpy().sum(axis=-3), 1)
    with pytest.raises(ShapeError, match="Softmax2d"):
        nn.Softmax2d()(tg.ones(2, 3))


def test_softmax_without_a_dimension_warns():
    for layer in (nn.Softmax(), nn.LogSoftmax(), nn.Softmin()):
        with pytest.warns(UserWarning, match="dim=1"):
            layer(tg.ones(2, 3))


@pytest.mark.parametrize("build", [lambda: nn.Hardtanh(1.0, 1.0), lambda: F.hardtanh(tg.ones(2), 1.0, 0.0), lambda: F.rrelu(tg.ones(2), 0.5, 0.1),
                                   lambda: F.softshrink(tg.ones(2), -1.0), lambda: F.gelu(tg.ones(2), "sigmoid")])
def test_bad_options(build):
    with pytest.raises(ValueError):
        build()
