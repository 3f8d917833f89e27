"""Losses, their extremes and errors, functions of `nn.functional`, and initialisation; the formulas are proven by the registry."""
import math
import warnings

import numpy as np
import pytest

import tinygrad_ed as tg
import tinygrad_ed.nn.functional as F
from tinygrad_ed import nn
from tinygrad_ed.errors import DTypeError, GraphError, IndexRangeError, ShapeError

INF = math.inf


def loss_and_grad(x, target, dtype="float64", **options):
    x = tg.tensor(np.array(x, dtype), requires_grad=True)
    loss = F.cross_entropy(x, tg.tensor(target), **options)
    loss.sum().backward()
    return loss.detach().numpy(), x.grad.numpy()


# -- cross-entropy -----------------------------------------------------------------------------------------------------

def test_the_gradient_is_softmax_minus_target():
    x = np.random.default_rng(0).normal(size=(6, 4))
    target = [3, 0, 1, 1, 2, 3]
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    loss, grad = loss_and_grad(x, target)
    np.testing.assert_allclose(grad, (p - np.eye(4)[target]) / 6, rtol=1e-12)
    np.testing.assert_allclose(loss, -np.log(p[range(6), target]).mean(), rtol=1e-12)


@pytest.mark.parametrize("x, target, loss, grad", [
    ([[1e5, -1e5]], [1], 2e5, [[1, -1]]), ([[1e300, -1e300]], [0], 0, [[0, 0]]), ([[-1e5, -1e5]], [0], math.log(2), [[-0.5, 0.5]]),
    ([[0, -INF]], [0], 0, [[0, 0]]), ([[0, -INF]], [1], INF, [[1, -1]]), ([[-INF, 0], [0, 0]], [-100, 1], math.log(2), [[0, 0], [0.5, -0.5]]),
    ([[1, 2]], [-100], np.nan, [[0, 0]])])
def test_extremes(x, target, loss, grad):
    found, g = loss_and_grad(x, target)
    np.testing.assert_allclose(found, loss, rtol=1e-12)
    np.testing.assert_allclose(g, grad, atol=1e-12)


def test_shift_invariance_and_half_precision():
    x = np.random.default_rng(1).integers(-4, 5, (5, 3)).astype("float64")
    a, b = loss_and_grad(x, [0, 1, 2, 0, 1]), loss_and_grad(x + 1024, [0, 1, 2, 0, 1])
    np.testing.assert_array_equal(a[1], b[1])
    for dtype, tolerance in (("float16", 2e-3), ("float32", 1e-6)):
        loss, grad = loss_and_grad(x, [0, 1, 2, 0, 1], dtype)
        assert loss.dtype == dtype == grad.dtype
        np.testing.assert_allclose(loss, a[0], rtol=tolerance)
        np.testing.assert_allclose(grad, a[1], atol=tolerance)


def test_empty_batches():
    loss, grad = loss_and_grad(np.zeros((0, 3)), np.zeros(0, int))
    assert np.isnan(loss) and grad.shape == (0, 3)
    assert loss_and_grad(np.zeros((0, 3)), np.zeros(0, int), reduction="sum")[0] == 0
    assert loss_and_grad(np.zeros((0, 3)), np.zeros(0, int), reduction="none")[0].shape == (0,)


def test_ignored_targets_leave_no_trace():
    rng = np.random.default_rng(2)
    x, target = rng.normal(size=(5, 3)), np.array([0, 2, 1, 2, 0])
    weight = tg.tensor([0.5, 2.0, 1.0], dtype=tg.float64)
    for options in ({}, {"weight": weight}, {"weight": weight, "label_smoothing": 0.2}):
        for ignore in (-100, 2, -1):
            marked = np.where(np.arange(5) % 2 == 1, ignore, target % 2)
            loss, grad = loss_and_grad(x, marked, ignore_index=ignore, **options)
            kept_loss, kept_grad = loss_and_grad(x[::2], marked[::2], ignore_index=ignore, **options)
            np.testing.assert_allclose(loss, kept_loss, rtol=1e-12)
            np.testing.assert_allclose(grad[::2], kept_grad, rtol=1e-12)
            assert not grad[1::2].any()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64"])
def test_every_integer_is_a_class_number(dtype):
    x = tg.randn(3, 4, requires_grad=True)
    target = tg.tensor(np.array([3, 0, 1], dtype))
    expected = F.cross_entropy(x, target.long()).item()
    assert F.cross_entropy(x, target).item() == expected
    assert abs(F.nll_loss(F.log_softmax(x, 1), target).item() - expected) < 1e-6


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss, lambda x, t, **k: nn.CrossEntropyLoss()(x, t, **k)])
def test_bad_targets_name_what_is_expected(loss):
    x = tg.zeros(4, 3)
    for target, error, text in [
            (tg.tensor([0, 1, 2, 3]), IndexRangeError, r"target 3 is no class.*3 classes.*0 to 2"),
            (tg.tensor([0, 1, 2, -1]), IndexRangeError, "target -1 is no class"),
            (tg.tensor([[0], [1], [2], [0]]), ShapeError, r"shape \(4,\).*\(4, 1\); write target.squeeze"),
            (tg.tensor([0, 1]), ShapeError, r"\(4,\).*\(2,\)"),
            (tg.tensor([0.0, 1.0, 2.0, 0.0]), DTypeError, "float32; write target.long"),
            (tg.tensor([True] * 4), DTypeError, "bool")]:
        with pytest.raises(error, match=text):
            loss(x, target)


def test_bad_options():
    x, t = tg.zeros(4, 3), tg.tensor([0, 1, 2, 0])
    for options, error in [({"reduction": "average"}, ValueError), ({"weight": tg.ones(4)}, ShapeError),
                           ({"weight": tg.ones(3, dtype=tg.float64)}, DTypeError), ({"weight": tg.ones(3, requires_grad=True)}, GraphError),
                           ({"label_smoothing": 1.5}, ValueError), ({"label_smoothing": -0.1}, ValueError)]:
        with pytest.raises(error):
            F.cross_entropy(x, t, **options)
    with pytest.raises(DTypeError):
        F.cross_entropy(t.reshape(2, 2), tg.tensor([0, 1]))
    with pytest.raises(ValueError, match="ignore_index"):
        F.cross_entropy(x, tg.full((4, 3), 1 / 3), ignore_index=1)
    with pytest.raises(ShapeError, match="target.to"):
        F.cross_entropy(x, tg.ones(4, 3, dtype=tg.int64))


def test_probabilities_are_a_mixture_of_classes():
    x = tg.randn(5, 3, dtype=tg.float64)
    target = tg.tensor([0, 1, 2, 1, 0])
    one_hot = F.one_hot(target, 3).double()
    weight = tg.tensor([1.0, 2.0, 0.5], dtype=tg.float64)
    for options in ({"reduction": "sum"}, {"reduction": "none", "label_smoothing": 0.3}, {"reduction": "sum", "weight": weight}):
        a, b = F.cross_entropy(x, target, **options), F.cross_entropy(x, one_hot, **options)
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)


def test_inputs_are_not_modified_and_the_walk_can_be_repeated():
    x = tg.randn(4, 3, requires_grad=True)
    before, target = x.detach().clone(), tg.tensor([0, 1, 2, -100])
    loss = F.cross_entropy(x, target, label_smoothing=0.1)
    loss.backward(retain_graph=True)
    first = x.grad.clone()
    x.grad = None
    loss.backward()
    assert np.array_equal(x.grad.numpy(), first.numpy()) and np.array_equal(x.detach().numpy(), before.numpy())
    assert target.tolist() == [0, 1, 2, -100]


# -- distances ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, nn.MSELoss(), nn.L1Loss()])
def test_broadcasting_warns_with_both_shapes_and_the_fix(loss):
    with pytest.warns(UserWarning, match=r"\(32, 1\).*\(32,\).*\(32, 32\).*target.reshape\(input.shape\)"):
        loss(tg.ones(32, 1), tg.zeros(32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(tg.ones(32), tg.zeros(32))
    with pytest.raises(ShapeError):
        loss(tg.ones(3), tg.ones(4))
    with pytest.raises(DTypeError):
        loss(tg.tensor([1]), tg.tensor([2]))


def test_broadcast_gradients_are_summed():
    x, t = tg.randn(3, 1, dtype=tg.float64, requires_grad=True), tg.randn(2, dtype=tg.float64, requires_grad=True)
    with pytest.warns(UserWarning):
        F.mse_loss(x, t).backward()
    d = x.detach().numpy() - t.detach().numpy()
    np.testing.assert_allclose(x.grad.numpy(), (2 * d / 6).sum(1, keepdims=True))
    np.testing.assert_allclose(t.grad.numpy(), -(2 * d / 6).sum(0))


def test_weighted_distances():
    x, t, w = tg.tensor([1.0, 4.0]), tg.tensor([0.0, 0.0]), tg.tensor([3.0, 1.0])
    assert F.mse_loss(x, t, weight=w).item() == 19 / 4 and F.l1_loss(x, t, weight=w, reduction="sum").item() == 7
    with pytest.raises(ShapeError):
        F.mse_loss(x, t, weight=tg.ones(3))
    with pytest.raises(ValueError):
        F.mse_loss(x, t, reduction="avg")


def test_integer_targets_and_empty_inputs():
    x = tg.tensor([1.5, 2.0], requires_grad=True)
    F.mse_loss(x, tg.tensor([1, 2])).backward()
    assert x.grad.tolist() == [0.5, 0] and x.grad.dtype == tg.float32
    assert np.isnan(F.mse_loss(tg.ones(0), tg.ones(0)).item()) and F.mse_loss(tg.ones(0), tg.ones(0), reduction="sum").item() == 0


# -- the rest ----------------------------------------------------------------------------------------------------------

def test_softmax_without_a_dimension_warns():
    for shape, dim in [((3,), 0), ((2, 3), 1), ((2, 3, 2), 0)]:
        x = tg.randn(*shape)
        with pytest.warns(UserWarning, match=f"dim={dim}"):
            assert np.array_equal(F.softmax(x).numpy(), tg.softmax(x, dim).numpy())
    assert F.log_softmax(tg.ones(2), 0, dtype=tg.float64).dtype == tg.float64


def test_relu():
    x = tg.tensor([-1.0, 2.0])
    assert F.relu(x).tolist() == [0, 2] and x.tolist() == [-1, 2]
    assert F.relu(x, inplace=True) is x and x.tolist() == [0, 2]


def test_linear_is_the_layer():
    layer, x = nn.Linear(3, 2), tg.randn(4, 3)
    assert np.array_equal(F.linear(x, layer.weight, layer.bias).detach().numpy(), layer(x).detach().numpy())


# -- initialisation ----------------------------------------------------------------------------------------------------

def spread(t):
    values = t.detach().numpy()
    return values.mean(), values.std(), np.abs(values).max()


def test_initialisation():
    tg.manual_seed(0)
    p = nn.Parameter(tg.empty(200, 300))
    mean, std, largest = spread(nn.init.uniform_(p, -2, 4))
    assert abs(mean - 1) < 0.03 and abs(std - 6 / math.sqrt(12)) < 0.02 and largest <= 4 and p.requires_grad and p.is_leaf
    mean, std, _ = spread(nn.init.normal_(p, 3, 0.5))
    assert abs(mean - 3) < 0.01 and abs(std - 0.5) < 0.01
    for fill, bound in [(lambda: nn.init.kaiming_uniform_(p), math.sqrt(6 / 300)), (lambda: nn.init.xavier_uniform_(p, 2), 2 * math.sqrt(6 / 500)),
                        (lambda: nn.init.kaiming_uniform_(p, a=math.sqrt(5)), 1 / math.sqrt(300)),
                        (lambda: nn.init.kaiming_uniform_(p, mode="fan_out", nonlinearity="tanh"), 5 / 3 * math.sqrt(3 / 200))]:
        mean, std, largest = spread(fill())
        assert 0.999 * bound < largest <= bound and abs(std - bound / math.sqrt(3)) < 0.01 * bound
    assert nn.init.constant_(p, 2.5) is p and (p.data == 2.5).all()
    assert (nn.init.ones_(p).data == 1).all() and not nn.init.zeros_(p).data.any()
    a, b = (nn.init.normal_(tg.empty(3), generator=tg.Generator().manual_seed(1)).tolist() for _ in range(2))
    assert a == b
    conv = tg.empty(8, 4, 3, 3, dtype=tg.float64)
    assert np.abs(nn.init.kaiming_uniform_(conv).numpy()).max() <= math.sqrt(6 / 36)


def test_initialisation_refuses():
    with pytest.raises(ShapeError):
        nn.init.kaiming_uniform_(tg.empty(3))
    for bad in (lambda: nn.init.kaiming_uniform_(tg.empty(3, 3), mode="in"), lambda: nn.init.calculate_gain("swoosh"),
                lambda: nn.init.calculate_gain("leaky_relu", "steep")):
        with pytest.raises(ValueError):
            bad()
    with pytest.raises(DTypeError):
        nn.init.uniform_(tg.tensor([1, 2]))
    assert nn.init.calculate_gain("relu") == math.sqrt(2) and nn.init.calculate_gain("leaky_relu", 1) == 1
