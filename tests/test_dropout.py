"""Dropout: how often, which parts, what stays of expectation and variance, one mask for one seed, and the same mask backward."""
import math

import numpy as np
import pytest

import tinygrad_ed as tg
import tinygrad_ed.nn.functional as F
from tinygrad_ed import nn
from tinygrad_ed.backend.kernels import plain
from tinygrad_ed.errors import DomainError, DTypeError, InPlaceError, ShapeError
from tinygrad_ed.ops.dropout import coin

FUNCTIONS = [F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout,
             lambda x, p, training=True, **o: F.stochastic_depth(x, p, "row", training, **o)]
SHAPES = [(4, 5), (3, 4, 5), (3, 4, 5, 2), (3, 4, 5, 2, 2), (4, 5), (3, 4, 5), (6, 4)]
functions = pytest.mark.parametrize("f, shape", list(zip(FUNCTIONS, SHAPES)), ids=lambda v: getattr(v, "__name__", str(v)))


def seeded(k=0):
    return tg.Generator().manual_seed(k)


# -- how often ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("p", [0.5, 0.25, 0.1, 0.2, 0.3, 1 / 3, 0.9, 0.99, 0.05, 0.01, 0.001, 1e-6, 1e-30, 1 - 1e-9])
def test_a_coin_meets_its_probability(p):
    toss = coin(p)
    assert 1 <= toss.limit < 2 ** toss.bits and 0 < toss.keep < 1
    assert abs(toss.keep - (1 - p)) <= max(1e-3 * min(p, 1 - p), 2.0 ** -32)


def test_coins_take_few_bits():
    assert [coin(p).bits for p in (0.5, 0.25, 0.75, 0.1, 0.3, 0.9, 0.001)] == [8, 8, 8, 16, 16, 16, 32]


@pytest.mark.parametrize("bits", [8, 16])
def test_the_mask_has_exactly_that_probability(bits):
    """Of all numbers that the bits can form, as many stay as the limit says."""
    words = np.arange(2 ** bits, dtype=f"uint{bits}").view("uint64")
    for limit in (1, 77, 2 ** bits - 1):
        assert plain.dropout_mask(words, (2 ** bits,), limit, bits).sum() == limit


@pytest.mark.parametrize("p", [0.5, 0.1, 0.3, 0.9, 0.001])
def test_the_fraction_dropped(p):
    n = 200_000
    dropped = (F.dropout(tg.ones(n), p, generator=seeded()).numpy() == 0).mean()
    assert abs(dropped - p) < 5 * math.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize("p", [0.5, 0.1, 1 / 3])
def test_the_expectation_is_exact(p):
    """What stays is divided by the probability that the bits have, not by the one asked for."""
    y = F.dropout(tg.ones(1000, dtype=tg.float64), p)
    assert set(y.numpy()) == {0.0, 1 / coin(p).keep}


def test_neighbours_are_independent():
    for p in (0.5, 0.3):
        keep = F.dropout(tg.ones(300_000), p, generator=seeded(1)).numpy() != 0
        keep = keep - keep.mean()
        for lag in (1, 2, 4, 8, 32):
            assert abs((keep[lag:] * keep[:-lag]).mean() / keep.var()) < 5 / math.sqrt(keep.size)


# -- one seed, one mask ------------------------------------------------------------------------------------------------

@functions
def test_a_seed_is_a_mask_whatever_dtype_and_layout(f, shape):
    x = np.random.default_rng(0).uniform(1, 2, shape)
    plain = f(tg.tensor(x), 0.4, training=True, generator=seeded()).numpy()
    for other in (np.asfortranarray(x), x[::-1].copy()[::-1], np.repeat(x, 2, axis=-1)[..., ::2]):
        np.testing.assert_array_equal(f(tg.from_numpy(other), 0.4, training=True, generator=seeded()).numpy(), plain)
    for dtype in ("float32", "float16"):
        y = f(tg.tensor(x.astype(dtype)), 0.4, training=True, generator=seeded())
        assert y.dtype == dtype
        np.testing.assert_allclose(y.numpy(), plain, rtol=2e-3, atol=2e-3)


def test_the_default_generator_and_its_seed():
    x = tg.ones(100)
    tg.manual_seed(3)
    a, b = F.dropout(x), F.dropout(x)
    tg.manual_seed(3)
    assert tg.equal(a, F.dropout(x)) and not tg.equal(a, b)
    assert tg.equal(a, F.dropout(x, generator=seeded(3)))
    layer = nn.Dropout()
    tg.manual_seed(3)
    assert tg.equal(a, layer(x))


@functions
def test_the_same_mask_backward(f, shape):
    x = tg.tensor(np.random.default_rng(0).uniform(1, 2, shape), requires_grad=True)
    y = f(x, 0.4, training=True, generator=seeded())
    g, = tg.autograd.grad(y.sum(), x, create_graph=True)
    moved = f(x.detach() + 1, 0.4, training=True, generator=seeded())
    np.testing.assert_allclose(g.detach().numpy(), moved.numpy() - y.detach().numpy(), rtol=1e-9, atol=1e-12)    # it is affine in x
    assert not g.requires_grad or not any(d.numpy().any() for d in tg.autograd.grad(g.sum(), x, materialize_grads=True))


# -- limits ------------------------------------------------------------------------------------------------------------

@functions
def test_evaluation_and_probabilities_0_and_1(f, shape):
    x = tg.ones(shape, requires_grad=True)
    assert f(x, 0.5, training=False) is x and f(x, 0.0, training=True) is x
    y = f(x, 1.0, training=True)
    y.sum().backward()
    assert not y.detach().numpy().any() and not x.grad.numpy().any()


@functions
@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_a_probability_lies_between_0_and_1(f, shape, p):
    for training in (True, False):
        with pytest.raises(DomainError, match="probability"):
            f(tg.ones(shape), p, training=training)


def test_integers_are_refused():
    with pytest.raises(DTypeError, match="dropout"):
        F.dropout(tg.ones(3, dtype=tg.int64))


def test_empty_and_single_elements():
    assert F.dropout(tg.ones(0, 3)).shape == (0, 3)
    assert F.dropout(tg.ones(())).item() in (0.0, 2.0)


# -- in place ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("f", [F.dropout, F.dropout1d, F.alpha_dropout, F.feature_alpha_dropout])
def test_in_place(f):
    x = tg.ones(4, 50)
    expected = f(x, 0.5, training=True, generator=seeded())
    y = f(x, 0.5, training=True, inplace=True, generator=seeded())
    assert y is x and tg.equal(x, expected)
    leaf = tg.ones(4, 50, requires_grad=True)
    with pytest.raises(InPlaceError):
        f(leaf, 0.5, training=True, inplace=True)
    hidden = leaf * 2
    f(hidden, 0.5, training=True, inplace=True, generator=seeded()).sum().backward()
    again = leaf.detach().requires_grad_()
    f(again * 2, 0.5, training=True, generator=seeded()).sum().backward()
    assert tg.equal(leaf.grad, again.grad)


# -- whole channels and samples ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("f, shape, rest", [
    (F.dropout1d, (30, 20, 7), 1), (F.dropout1d, (300, 7), 1), (F.dropout2d, (30, 20, 3, 2), 2), (F.dropout3d, (30, 20, 2, 3, 2), 3),
    (F.dropout3d, (300, 2, 3, 2), 3), (F.feature_alpha_dropout, (30, 20, 3, 2), 2)])
def test_channels_stay_or_go_as_a_whole(f, shape, rest):
    y = f(tg.ones(shape), 0.5, training=True, generator=seeded()).numpy().reshape(-1, math.prod(shape[len(shape) - rest:]))
    assert (y == y[:, :1]).all() and len(set(y[:, 0])) == 2
    share = (y[:, 0] == y[:, 0].min()).mean()
    assert 0.5 - 5 / math.sqrt(4 * len(y)) < share < 0.5 + 5 / math.sqrt(4 * len(y))


def test_dropout2d_of_three_dimensions_warns():
    with pytest.warns(UserWarning, match="dropout1d"):
        y = F.dropout2d(tg.ones(50, 4, 3), 0.5).numpy()
    assert (y == y[:, :, :1]).all()
    with pytest.warns(UserWarning, match="dropout3d"):
        F.dropout3d(tg.ones(2, 3, 4))
    with pytest.raises(ShapeError):
        F.dropout1d(tg.ones(3))


def test_stochastic_depth():
    rows = F.stochastic_depth(tg.ones(2000, 3), 0.25, "row", generator=seeded()).numpy()
    assert (rows == rows[:, :1]).all() and set(rows.ravel()) == {0.0, np.float32(1 / 0.75)} and abs((rows[:, 0] == 0).mean() - 0.25) < 0.05
    batches = [F.stochastic_depth(tg.ones(4, 3), 0.25, "batch", generator=seeded(k)).numpy() for k in range(400)]
    assert all((b == b[0, 0]).all() for b in batches) and abs(np.mean([b[0, 0] == 0 for b in batches]) - 0.25) < 0.12
    layer = nn.StochasticDepth(0.5, "row")
    x = tg.ones(3, 2)
    assert layer.eval()(x) is x and repr(layer) == "StochasticDepth(p=0.5, mode=row)"
    for bad in (lambda: F.stochastic_depth(x, 0.5, "column"), lambda: F.stochastic_depth(tg.ones(()), 0.5, "row")):
        with pytest.raises((ValueError, ShapeError), match="mode"):
            bad()


# -- alpha dropout -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("p", [0.5, 0.1, 0.2])
def test_alpha_dropout_keeps_mean_and_variance(p):
    x = tg.randn(400_000, generator=seeded(), dtype=tg.float64)
    y = F.alpha_dropout(x, p, training=True, generator=seeded(1)).numpy()
    assert abs(y.mean()) < 0.01 and abs(y.var() - 1) < 0.02


def test_alpha_dropout_sets_what_it_drops_to_the_limit_of_selu():
    p = 0.5
    y = F.alpha_dropout(tg.tensor([1.0] * 50, dtype=tg.float64), p, training=True, generator=seeded()).numpy()
    limit = F.selu(tg.tensor(-1000.0, dtype=tg.float64)).item()
    a = ((1 - p) * (1 + p * limit * limit)) ** -0.5
    b = -a * p * limit
    assert {round(v, 9) for v in y} == {round(a + b, 9), round(a * limit + b, 9)}


# -- drop connect ------------------------------------------------------------------------------------------------------

def test_drop_connect_drops_weights():
    tg.manual_seed(0)
    layer = nn.DropConnectLinear(40, 30, p=0.25)
    x = tg.eye(40)
    y = layer(x).detach() - layer.bias.detach()              # rows of the weight as it was used
    used, weight = y.T.numpy(), layer.weight.detach().numpy()
    kept = used != 0
    np.testing.assert_allclose(used[kept], (weight / 0.75)[kept], rtol=1e-4, atol=1e-6)
    assert abs((~kept).mean() - 0.25) < 5 * math.sqrt(0.25 * 0.75 / kept.size)
    assert not tg.equal(layer(x), layer(x))
    layer.eval()
    np.testing.assert_array_equal(layer(x).detach().numpy(), F.linear(x, layer.weight, layer.bias).detach().numpy())
    layer.train()(x).sum().backward()
    assert ((layer.weight.grad.numpy() == 0).mean() - 0.25) < 0.1
    assert repr(layer) == "DropConnectLinear(in_features=40, out_features=30, bias=True, p=0.25)"
    with pytest.raises(DomainError, match="DropConnectLinear"):
        nn.DropConnectLinear(2, 2, p=1.5)
