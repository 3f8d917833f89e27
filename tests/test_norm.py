"""Normalisation layers against explicit loops, their running statistics, and what they refuse."""
import copy

import numpy as np
import pytest

import tinygrad_ed as tg
import tinygrad_ed.nn.functional as F
from tinygrad_ed import nn
from tinygrad_ed.backend.kernels import plain
from tinygrad_ed.errors import DTypeError, InPlaceError, ShapeError


def array(*shape, seed=0, dtype="float64"):
    return np.random.default_rng(seed).normal(1.0, 2.0, shape).astype(dtype)


def channels(x, c):
    """All values of a channel."""
    return np.array([x[n, c] for n in range(len(x))]).ravel()


# -- batch norm --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (2, 3, 4, 5), (3, 2, 17, 20), (40, 70), (5, 3, 300)])
@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
def test_batch_norm_and_its_running_statistics_by_loops(shape, momentum):
    layer = nn.BatchNorm1d(shape[1], momentum=momentum, dtype=tg.float64)
    layer.shapes = (str(shape),)                             # any number of dimensions
    layer.weight.data[...], layer.bias.data[...] = array(shape[1], seed=1), array(shape[1], seed=2)
    mean, var = np.zeros(shape[1]), np.ones(shape[1])
    for step in range(3):
        x = array(*shape, seed=10 + step)
        y = layer(tg.tensor(x)).detach().numpy()
        factor = 1 / (step + 1) if momentum is None else momentum
        for c in range(shape[1]):
            values = channels(x, c)
            expected = (x[:, c] - values.mean()) / np.sqrt(values.var() + 1e-5) * layer.weight.data[c] + layer.bias.data[c]
            np.testing.assert_allclose(y[:, c], expected, rtol=1e-10, atol=1e-12)
            mean[c] += factor * (values.mean() - mean[c])
            var[c] += factor * (values.var(ddof=1) - var[c])
        np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-12)
        np.testing.assert_allclose(layer.running_var.numpy(), var, rtol=1e-12)
        assert layer.num_batches_tracked.item() == step + 1
    before = copy.deepcopy(layer.state_dict())
    y = layer.eval()(tg.tensor(x)).detach().numpy()
    for c in range(shape[1]):
        np.testing.assert_allclose(y[:, c], (x[:, c] - mean[c]) / np.sqrt(var[c] + 1e-5) * layer.weight.data[c] + layer.bias.data[c], rtol=1e-10)
    assert all((before[k].numpy() == v.numpy()).all() for k, v in layer.state_dict().items())


def test_without_running_statistics_evaluation_uses_the_batch():
    layer = nn.BatchNorm1d(3, track_running_stats=False)
    assert layer.running_mean is None and layer.num_batches_tracked is None and list(layer.state_dict()) == ["weight", "bias"]
    x = tg.tensor(array(5, 3, dtype="float32"))
    np.testing.assert_array_equal(layer(x).detach().numpy(), layer.eval()(x).detach().numpy())


def test_two_forwards_before_a_backward():
    layer = nn.BatchNorm1d(3).double()
    x = tg.tensor(array(5, 3), requires_grad=True)
    loss = (layer(x) * tg.tensor(array(5, 3, seed=1))).sum() + (layer(x) * 2).sum()
    loss.backward(retain_graph=True)
    layer(x)
    first = x.grad.numpy().copy()
    x.grad = None
    loss.backward()
    np.testing.assert_array_equal(x.grad.numpy(), first)


def test_statistics_that_a_derivative_needs_are_not_overwritten_unnoticed():
    layer = nn.BatchNorm1d(3).eval()
    x = tg.tensor(array(5, 3, dtype="float32"))
    y = layer(x)                                             # its weight's gradient needs the running mean
    layer.train()(x)
    with pytest.raises(InPlaceError, match="batch_norm"):
        y.sum().backward()


@pytest.mark.parametrize("bad, error", [
    (np.ones((1, 3), "float32"), ValueError), (np.ones((4, 2), "float32"), ShapeError), (np.ones(3, "float32"), ShapeError),
    (np.ones((4, 3)), DTypeError), (np.ones((4, 3), int), DTypeError), (np.ones((2, 3, 1, 1), "float32"), ShapeError)])
def test_bad_input_changes_nothing(bad, error):
    layer = nn.BatchNorm1d(3)
    layer(tg.tensor(array(5, 3, dtype="float32")))
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(error, match=r"[Bb]atch_?[Nn]orm|floating"):
        layer(tg.tensor(bad))
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name].numpy())


def test_read_only_statistics_are_refused_before_anything_changes():
    mean, var = tg.zeros(3), tg.ones(3)
    var.data.flags.writeable = False
    with pytest.raises(InPlaceError, match="running_var"):
        F.batch_norm(tg.randn(4, 3), mean, var, training=True)
    assert mean.tolist() == [0, 0, 0]


def test_an_empty_batch_leaves_the_statistics():
    layer = nn.BatchNorm2d(3)
    x = tg.zeros(0, 3, 2, 2, requires_grad=True)
    y = layer(x)
    y.backward(y.detach())
    assert y.shape == x.grad.shape == (0, 3, 2, 2) and layer.weight.grad.tolist() == [0, 0, 0]
    assert layer.running_mean.tolist() == [0, 0, 0] and layer.running_var.tolist() == [1, 1, 1]


def test_a_large_mean_costs_no_precision():
    x = array(64, 8, 30, dtype="float32") + np.float32(5000)
    exact = x.astype("float64")
    for name, y in {"batch": F.batch_norm(tg.tensor(x), None, None, training=True), "layer": F.layer_norm(tg.tensor(x), (30,)),
                    "group": F.group_norm(tg.tensor(x), 2)}.items():
        rows = exact.swapaxes(0, 1).reshape(8, -1) if name == "batch" else exact.reshape({"layer": 64 * 8, "group": 64 * 2}[name], -1)
        z = (rows - rows.mean(1, keepdims=True)) / np.sqrt(rows.var(1, keepdims=True) + 1e-5)
        z = z.reshape(8, 64, 30).swapaxes(0, 1) if name == "batch" else z.reshape(x.shape)
        assert np.abs(y.numpy() - z).max() < 1e-3, name          # a difference of squares would be off by 1 and more


@pytest.mark.parametrize("dtype, tolerance", [("float16", 2e-2), ("float32", 1e-4)])
def test_lower_precisions_keep_their_dtype(dtype, tolerance):
    for f in (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), lambda x, w, b: F.group_norm(x, 2, w, b),
              lambda x, w, b: F.layer_norm(x.mT, (4,), w, b), lambda x, w, b: F.rms_norm(x.mT, (4,), w)):
        results = []
        for kind in (dtype, "float64"):
            leaves = [tg.tensor(a.astype(dtype).astype(kind), requires_grad=True) for a in (array(6, 4, 9), array(4, seed=1), array(4, seed=2))]
            y = f(*leaves)
            gradients = tg.autograd.grad((y * y.detach().cos()).sum(), leaves, allow_unused=True)
            assert y.dtype == kind and all(g is None or g.dtype == kind for g in gradients)
            results.append([a.numpy(force=True).astype("float64") for a in (y, *gradients) if a is not None])
        for a, b in zip(*results):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * (1 + np.abs(b).max()))


def test_half_precision_running_statistics():
    layer = nn.BatchNorm1d(3).half()
    layer(tg.tensor(array(50, 3)).half())
    assert layer.running_mean.dtype == "float16" and (np.abs(layer.running_mean.numpy() - 0.1) < 0.1).all()


# -- blocks ------------------------------------------------------------------------------------------------------------

SHAPES = [(7, 5), (7, 5, 3), (3, 5, 300), (1, 4, 40), (300, 6), (2, 1, 1000)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kernel", ["batch", "layer", "group", "rms"])
def test_blocks_make_no_difference(shape, kernel, monkeypatch):
    """Whatever part of the work is done at a time, value and gradients are those of the composed definition."""
    from tinygrad_ed.ops import norm

    x, g, w, b = array(*shape), array(*shape, seed=1), array(shape[1], seed=2), array(shape[1], seed=3)
    if kernel in ("layer", "rms"):
        w, b = array(shape[-1], seed=2), array(shape[-1], seed=3)
    calls = {"batch": (norm._batch_norm, norm._composed_batch_norm, (x, w, b), {"eps": 0.1, "observe": None}),
             "layer": (norm._layer_norm, norm._composed_layer_norm, (x, w, b), {"dims": 1, "eps": 0.1}),
             "group": (norm._group_norm, norm._composed_group_norm, (x, w, b), {"groups": shape[1], "eps": 0.1}),
             "rms": (norm._rms_norm, norm._composed_rms_norm, (x, w), {"dims": 1, "eps": 0.1})}
    fused, composed, arrays, options = calls[kernel]
    expected = _run(composed, arrays, g, options)
    for block in (1, 50, 1 << 16):
        for long in (1, 256):
            monkeypatch.setattr(plain.norm, "BLOCK", block)
            monkeypatch.setattr(plain.norm, "LONG", long)
            for a, e in zip(_run(fused, arrays, g, options), expected):
                np.testing.assert_allclose(a, e, rtol=1e-9, atol=1e-9)


def _run(function, arrays, g, options):
    leaves = [tg.tensor(a, requires_grad=True) for a in arrays]
    y = function(*leaves, **options)
    return [y.detach().numpy(), *[d.numpy() for d in tg.autograd.grad(y, leaves, tg.tensor(g))]]


def test_frozen_parts_get_no_gradient():
    layer = nn.BatchNorm1d(3)
    layer.weight.requires_grad_(False)
    x = tg.tensor(array(5, 3, dtype="float32"))
    layer(x).sum().backward()
    assert x.grad is None and layer.weight.grad is None and layer.bias.grad.tolist() == [5, 5, 5]


def test_the_variance_is_part_of_the_second_derivative():
    """1/std taken for a constant would make this Hessian 0."""
    x = tg.tensor([[0.0], [1.0], [3.0]], dtype=tg.float64, requires_grad=True)
    w = tg.tensor([[1.0], [-2.0], [0.5]], dtype=tg.float64)
    y = lambda v: (F.batch_norm(v, None, None, training=True, eps=0.0) * w).sum()
    hessian = tg.autograd.functional.hessian(y, x).reshape(3, 3).numpy()
    step = 1e-4
    for i in range(3):
        def gradient(t, i=i):
            z = x.detach().clone()
            z[i, 0] += t
            z.requires_grad_()
            return tg.autograd.grad(y(z), z)[0].flatten().numpy()
        np.testing.assert_allclose(hessian[i], (gradient(step) - gradient(-step)) / (2 * step), rtol=1e-6)
    assert np.abs(hessian).max() > 0.1


# -- the others --------------------------------------------------------------------------------------------------------

def test_layer_norm_by_loops_and_its_invariances():
    x = array(3, 4, 5)
    layer = nn.LayerNorm((4, 5), eps=0.01).double()
    y = layer(tg.tensor(x)).detach().numpy()
    for n in range(3):
        np.testing.assert_allclose(y[n], (x[n] - x[n].mean()) / np.sqrt(x[n].var() + 0.01), rtol=1e-12)
    exact = nn.LayerNorm((4, 5), eps=0.0).double()
    np.testing.assert_allclose(exact(tg.tensor(3 * x + 7)).detach().numpy(), exact(tg.tensor(x)).detach().numpy(), rtol=1e-10)


def test_group_norm_lies_between_layer_and_instance_norm():
    x = tg.tensor(array(3, 6, 4, 5))
    np.testing.assert_allclose(F.group_norm(x, 1).numpy(), F.layer_norm(x, (6, 4, 5)).numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(F.group_norm(x, 6).numpy(), F.instance_norm(x).numpy(), rtol=1e-10, atol=1e-12)


def test_instance_norm_by_loops_with_running_statistics():
    layer = nn.InstanceNorm2d(3, affine=True, track_running_stats=True, momentum=0.3).double()
    x = array(2, 3, 4, 5)
    y = layer(tg.tensor(x)).detach().numpy()
    for n in range(2):
        for c in range(3):
            np.testing.assert_allclose(y[n, c], (x[n, c] - x[n, c].mean()) / np.sqrt(x[n, c].var() + 1e-5), rtol=1e-10)
    mean = np.array([np.mean([x[n, c].mean() for n in range(2)]) for c in range(3)])
    var = np.array([np.mean([x[n, c].var(ddof=1) for n in range(2)]) for c in range(3)])
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.3 * mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.numpy(), 0.7 + 0.3 * var, rtol=1e-12)
    z = layer.eval()(tg.tensor(x)).detach().numpy()
    np.testing.assert_allclose(z[1, 2], (x[1, 2] - 0.3 * mean[2]) / np.sqrt(0.7 + 0.3 * var[2] + 1e-5), rtol=1e-10)


@pytest.mark.parametrize("layer, shape", [(nn.InstanceNorm1d(3), (3, 5)), (nn.InstanceNorm2d(3), (3, 4, 5)), (nn.InstanceNorm3d(3), (3, 2, 4, 5))])
def test_instance_norm_without_a_batch(layer, shape):
    x = tg.tensor(array(*shape))
    np.testing.assert_array_equal(layer(x).numpy(), layer(x.unsqueeze(0)).squeeze(0).numpy())


def test_instance_norm_warns_of_other_channels():
    with pytest.warns(UserWarning, match="3 channels"):
        nn.InstanceNorm1d(3)(tg.randn(2, 4, 5))
    with pytest.raises(ShapeError, match="3 channels"):
        nn.InstanceNorm1d(3, affine=True)(tg.randn(2, 4, 5))


def test_rms_norm_by_loops():
    x = array(4, 7)
    y = nn.RMSNorm(7).double()(tg.tensor(x)).detach().numpy()
    for i in range(4):
        np.testing.assert_allclose(y[i], x[i] / np.sqrt(np.mean([v * v for v in x[i]])), rtol=1e-12)


def test_local_response_norm_by_loops():
    x = array(2, 5, 3)
    for size in (1, 2, 3, 4, 7):
        y = nn.LocalResponseNorm(size, alpha=0.5, beta=0.7, k=1.5)(tg.tensor(x)).numpy()
        for c in range(5):
            near = [i for i in range(c - size // 2, c + (size - 1) // 2 + 1) if 0 <= i < 5]
            np.testing.assert_allclose(y[:, c], x[:, c] / (1.5 + 0.5 / size * sum(x[:, i] ** 2 for i in near)) ** 0.7, rtol=1e-12)


def test_normalize_at_zero():
    x = tg.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    y = F.normalize(x)
    assert y.tolist()[0] == pytest.approx([0.6, 0.8]) and y.tolist()[1] == [0, 0]
    y.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize("build, message", [
    (lambda: nn.GroupNorm(4, 6), "divided"), (lambda: F.group_norm(tg.ones(2, 6), 4), "divided"),
    (lambda: F.layer_norm(tg.ones(2, 3), (2,)), r"\(2, 3\)"), (lambda: F.layer_norm(tg.ones(2, 3), (3,), tg.ones(2)), "weight"),
    (lambda: F.batch_norm(tg.ones(2, 3), None, None), "running_mean"), (lambda: F.batch_norm(tg.ones(2, 3), tg.ones(3), tg.ones(2)), "running_var"),
    (lambda: F.instance_norm(tg.ones(2, 3, 1)), "more than 1"), (lambda: F.local_response_norm(tg.ones(2, 3), 2), "3 dimensions"),
    (lambda: F.normalize(tg.ones(2, 3), out=tg.ones(2, 3)), "out")])
def test_errors_say_what_was_wrong(build, message):
    with pytest.raises((ShapeError, ValueError, TypeError), match=message):
        build()


# -- lazy --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("lazy, shape", [(nn.LazyBatchNorm1d, (4, 3)), (nn.LazyBatchNorm2d, (4, 3, 2, 2)), (nn.LazyBatchNorm3d, (2, 3, 2, 2, 2))])
def test_lazy_batch_norm_becomes_an_ordinary_one(lazy, shape):
    layer, ordinary = lazy(momentum=0.3, eps=1e-4), getattr(nn, lazy.__name__[4:])(3, momentum=0.3, eps=1e-4)
    with pytest.raises(ShapeError):
        layer(tg.ones(3))
    x = tg.tensor(array(*shape, dtype="float32"))
    np.testing.assert_array_equal(layer(x).detach().numpy(), ordinary(x).detach().numpy())
    assert type(layer) is type(ordinary) and repr(layer) == repr(ordinary)
    assert layer.running_mean.tolist() == ordinary.running_mean.tolist()


def test_lazy_batch_norm_loads_a_state():
    ordinary = nn.BatchNorm1d(3)
    ordinary(tg.tensor(array(5, 3, dtype="float32")))
    layer = nn.LazyBatchNorm1d()
    layer.load_state_dict(ordinary.state_dict())
    x = tg.tensor(array(5, 3, seed=4, dtype="float32"))
    np.testing.assert_array_equal(layer.eval()(x).detach().numpy(), ordinary.eval()(x).detach().numpy())
