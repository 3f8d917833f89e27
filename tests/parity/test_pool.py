"""Pooling layers against PyTorch: values, gradients at ties too, places, printed forms, arguments."""
import inspect

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import tinygrad_ed as tg  # noqa: E402
from tinygrad_ed import nn  # noqa: E402

SIZES = {1: (9,), 2: (9, 8), 3: (5, 6, 4)}
LAYERS = [(f"MaxPool{n}d", n, arguments, options) for n in SIZES for arguments, options in [
    ((2,), {}), ((3, 2, 1), {}), ((3, 1, 1), dict(dilation=2)), ((3, 2), dict(ceil_mode=True)), ((2, 3), dict(return_indices=True)),
    ((3, 2, 1), dict(ceil_mode=True, return_indices=True))]]
LAYERS += [(f"AvgPool{n}d", n, arguments, options) for n in SIZES for arguments, options in [
    ((2,), {}), ((3, 2, 1), {}), ((3, 2, 1), dict(count_include_pad=False)), ((3, 2, 1), dict(ceil_mode=True)),
    ((3, 2, 1), dict(ceil_mode=True, count_include_pad=False))]]
LAYERS += [(f"AvgPool{n}d", n, (2,), dict(divisor_override=3)) for n in (2, 3)]
LAYERS += [(f"LPPool{n}d", n, arguments, {}) for n in SIZES for arguments in [(2, 2), (3, 3, 2), (1, 2, 3, True)]]
LAYERS += [(f"Adaptive{kind}Pool{n}d", n, (size,), {}) for kind in ("Avg", "Max") for n in SIZES for size in (1, 2, 3, 4, 7)]
LAYERS += [(f"Adaptive{kind}Pool2d", 2, (size,), {}) for kind in ("Avg", "Max") for size in ((None, 3), (9, 4), (3, 4), (4, None))]
LAYERS += [("AdaptiveMaxPool2d", 2, (size, True), {}) for size in (4, (3, 4))] + [("MaxPool2d", 2, ((3, 2), (2, 1), (1, 0), (1, 2)), {})]
LAYERS += [("AvgPool2d", 2, ((3, 2), (2, 1), (1, 0)), {})]


def both(name, arguments, options):
    return getattr(nn, name)(*arguments, **options), getattr(torch.nn, name)(*arguments, **options)


@pytest.mark.parametrize("name, n, arguments, options", LAYERS, ids=str)
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_places_and_gradients(name, n, arguments, options, ties, dtype):
    ours, theirs = both(name, arguments, options)
    rng = np.random.default_rng(0)
    a = rng.uniform(0.1, 1, (2, 3, *SIZES[n])).astype(dtype)
    a = np.ceil(2 * a) if ties else a
    x, z = tg.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
    y, e = ours(x), theirs(z)
    if isinstance(e, tuple):
        np.testing.assert_array_equal(y[1].numpy(), e[1].numpy())
        assert y[1].dtype == tg.int64
        y, e = y[0], e[0]
    tolerance = dict(rtol=2e-5, atol=2e-5) if dtype == "float32" else dict(rtol=1e-10, atol=1e-12)
    assert y.shape == tuple(e.shape) and str(y.dtype) == dtype
    np.testing.assert_allclose(y.detach().numpy(), e.detach().numpy(), **tolerance)
    w = rng.normal(size=y.shape).astype(dtype)
    y.backward(tg.tensor(w))
    e.backward(torch.tensor(w))
    np.testing.assert_allclose(x.grad.numpy(), z.grad.numpy(), **tolerance)
    single = ours(tg.tensor(a[0]))
    expected = theirs(torch.tensor(a[0]))
    for s, t in zip(*[v if isinstance(v, tuple) else (v,) for v in (single, expected)]):
        np.testing.assert_allclose(s.numpy(), t.numpy(), **tolerance)


@pytest.mark.parametrize("name, n, arguments, options", [
    *LAYERS, *[(f"MaxUnpool{n}d", n, arguments, {}) for n in SIZES for arguments in [(2,), (3, 2, 1)]],
    ("FractionalMaxPool2d", 2, (2, 3), {}), ("FractionalMaxPool3d", 3, (2,), dict(output_ratio=0.5))], ids=str)
def test_layers_print_alike_and_have_no_state(name, n, arguments, options):
    ours, theirs = both(name, arguments, options)
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict()) == []


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("options", [dict(output_size=4), dict(output_ratio=0.6), dict(output_size=1), dict(output_size=2, return_indices=True)], ids=str)
def test_fractional_pooling_with_given_numbers(n, options):
    rng = np.random.default_rng(0)
    a, u = rng.normal(size=(2, 3, *[9, 8, 7][:n])), rng.random((2, 3, n))
    layers = [getattr(m, f"FractionalMaxPool{n}d")(2, **options, _random_samples=make(u)) for m, make in ((nn, tg.tensor), (torch.nn, torch.tensor))]
    y, e = layers[0](tg.tensor(a)), layers[1](torch.tensor(a))
    for s, t in zip(*[v if isinstance(v, tuple) else (v,) for v in (y, e)]):
        np.testing.assert_array_equal(s.numpy(), t.numpy())


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("arguments", [(2,), (3, 2, 1), (2, 3)], ids=str)
def test_unpooling(n, arguments):
    a = np.random.default_rng(0).normal(size=(2, 3, *SIZES[n]))
    w = None
    results = []
    for module, make in ((nn, tg.tensor), (torch.nn, torch.tensor)):
        x = make(a).requires_grad_()
        pool, unpool = getattr(module, f"MaxPool{n}d")(*arguments, return_indices=True), getattr(module, f"MaxUnpool{n}d")(*arguments)
        pooled, places = pool(x)
        # where windows overlap, one place may be found twice, with the same element
        y = unpool(pooled, places, output_size=x.shape)
        w = np.random.default_rng(1).normal(size=tuple(y.shape)) if w is None else w
        if arguments != (3, 2, 1):
            y.backward(make(w))
        results.append((y.detach().numpy(), None if x.grad is None else x.grad.numpy()))
    for mine, his in zip(*results):
        assert (mine is None) == (his is None)
        if mine is not None:
            np.testing.assert_array_equal(mine, his)


def test_nans_and_infinities():
    rng = np.random.default_rng(0)
    for seed in range(20):
        a = rng.choice([np.nan, np.inf, -np.inf, 0.0, 1.0], (1, 2, 6, 6), p=[0.1, 0.1, 0.5, 0.2, 0.1])
        y, places = nn.functional.max_pool2d(tg.tensor(a), 3, 2, 1, return_indices=True)
        e, expected = torch.nn.functional.max_pool2d(torch.tensor(a), 3, 2, 1, return_indices=True)
        np.testing.assert_array_equal(y.numpy(), e.numpy())
        np.testing.assert_array_equal(places.numpy(), expected.numpy())
        np.testing.assert_array_equal(nn.functional.adaptive_max_pool2d(tg.tensor(a), 4).numpy(),
                                      torch.nn.functional.adaptive_max_pool2d(torch.tensor(a), 4).numpy())


@pytest.mark.parametrize("name", [*nn.pool.__all__, *[f"functional.{f}" for f in (
    "max_unpool1d", "max_unpool2d", "max_unpool3d", "lp_pool1d", "lp_pool2d", "lp_pool3d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")]])
def test_arguments_are_pytorchs(name):
    ours, theirs = nn, torch.nn
    for part in name.split("."):
        ours, theirs = getattr(ours, part), getattr(theirs, part)
    arguments = [[(p.name, p.default) for p in inspect.signature(f).parameters.values()] for f in (ours, theirs)]
    assert arguments[0] == arguments[1]
