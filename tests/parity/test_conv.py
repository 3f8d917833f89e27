"""Convolutional layers against PyTorch: values, gradients, second derivatives, state, printed forms, arguments, what is refused."""
import inspect
import itertools
import warnings

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import tinygrad_ed as tg  # noqa: E402
from tinygrad_ed import nn  # noqa: E402

SIZES = {1: (9,), 2: (9, 8), 3: (5, 6, 4)}
OPTIONS = [dict(), dict(stride=2, padding=1), dict(groups=2, bias=False), dict(dilation=2, padding=2), dict(padding="same"), dict(padding="valid"),
           dict(padding=1, padding_mode="reflect"), dict(padding=2, padding_mode="circular", stride=2), dict(padding="same", padding_mode="replicate")]
TRANSPOSED = [dict(), dict(stride=2, padding=1, output_padding=1), dict(groups=2, bias=False), dict(dilation=2, stride=3, output_padding=2),
              dict(padding=2, stride=2)]
LAYERS = [(f"Conv{n}d", n, (4, 6, 3), options) for n in SIZES for options in OPTIONS]
LAYERS += [(f"ConvTranspose{n}d", n, (4, 6, 3), options) for n in SIZES for options in TRANSPOSED]
LAYERS += [("Conv2d", 2, (4, 6, (3, 2)), dict(stride=(1, 2), padding=(0, 1), dilation=(2, 1))), ("Conv2d", 2, (4, 8, 3), dict(groups=4, padding=1)),
           ("Conv2d", 2, (4, 6, 1), {}), ("ConvTranspose2d", 2, (4, 6, (2, 3)), dict(stride=(2, 3), output_padding=(1, 0)))]


def build(name, arguments, options, dtype="float64"):
    """The layer in both worlds, with the same parameters."""
    ours, theirs = getattr(nn, name)(*arguments, **options).to(dtype), getattr(torch.nn, name)(*arguments, **options).to(getattr(torch, dtype))
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():                    # an even kernel with padding="same" makes PyTorch warn
        warnings.simplefilter("ignore", UserWarning)
        yield


@pytest.mark.parametrize("name, n, arguments, options", LAYERS, ids=str)
def test_values_and_gradients_to_second_order(name, n, arguments, options):
    ours, theirs = build(name, arguments, options)
    rng = np.random.default_rng(0)
    a = rng.normal(size=(2, 4, *SIZES[n]))
    x, z = tg.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
    y, e = ours(x), theirs(z)
    assert y.shape == tuple(e.shape)
    np.testing.assert_allclose(y.detach().numpy(), e.detach().numpy(), atol=1e-10)
    np.testing.assert_allclose(ours(x[0]).detach().numpy(), theirs(z[0]).detach().numpy(), atol=1e-10)
    w = rng.normal(size=y.shape)
    leaves, his = [x, *ours.parameters()], [z, *theirs.parameters()]
    first = tg.autograd.grad((tg.tensor(w) * y ** 3).sum(), leaves, create_graph=True)
    expected = torch.autograd.grad((torch.tensor(w) * e ** 3).sum(), his, create_graph=True)
    for g, h in zip(first, expected):
        np.testing.assert_allclose(g.detach().numpy(), h.detach().numpy(), rtol=1e-8, atol=1e-8)
    vs = [rng.normal(size=g.shape) for g in first]
    second = tg.autograd.grad(sum((g * tg.tensor(v)).sum() for g, v in zip(first, vs)), leaves)
    expected = torch.autograd.grad(sum((g * torch.tensor(v)).sum() for g, v in zip(expected, vs)), his)
    for g, h in zip(second, expected):
        np.testing.assert_allclose(g.numpy(), h.numpy(), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name, n, arguments, options", LAYERS, ids=str)
def test_state_moves_both_ways_and_layers_print_alike(name, n, arguments, options):
    ours, theirs = build(name, arguments, options, "float32")
    assert repr(ours) == repr(theirs)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: tuple(v.shape) for k, v in theirs.state_dict().items()}
    ours.reset_parameters()
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    a = np.random.default_rng(0).normal(size=(2, 4, *SIZES[n])).astype("float32")
    np.testing.assert_allclose(ours(tg.tensor(a)).detach().numpy(), theirs(torch.tensor(a)).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("shape, weight, options", [
    ((8, 16, 28, 28), (32, 16, 3, 3), dict(padding=1)), ((8, 64, 14, 14), (32, 64, 1, 1), {}), ((8, 32, 14, 14), (32, 1, 5, 5), dict(padding=2, groups=32)),
    ((4, 32, 14, 14), (64, 32, 3, 3), dict(padding=1, stride=2)), ((2, 3, 64, 64), (16, 3, 7, 7), dict(padding=3, stride=2)),
    ((2, 256, 4, 4), (128, 256, 3, 3), dict(padding=1)), ((1, 4, 200, 150), (8, 4, 3, 3), dict(dilation=3)), ((2, 16, 30, 30), (16, 4, 3, 3), dict(groups=4))])
def test_networks_sizes_in_float32(shape, weight, options):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s).astype("float32") for s in (shape, weight, weight[:1])]
    mine, his = ([make(a).requires_grad_() for a in arrays] for make in (tg.tensor, torch.tensor))
    y, e = nn.functional.conv2d(*mine, **options), torch.nn.functional.conv2d(*his, **options)
    w = rng.normal(size=y.shape).astype("float32")
    y.backward(tg.tensor(w))
    e.backward(torch.tensor(w))
    for a, b in [(y.detach(), e.detach()), *[(p.grad, q.grad) for p, q in zip(mine, his)]]:
        scale = np.abs(b.numpy()).max()
        np.testing.assert_allclose(a.numpy() / scale, b.numpy() / scale, atol=2e-5)


@pytest.mark.parametrize("size", [*itertools.product(range(5, 9), range(5, 9))], ids=str)
def test_output_size(size):
    ours, theirs = build("ConvTranspose2d", (2, 3, 3), dict(stride=2, padding=1))
    a = np.random.default_rng(0).normal(size=(1, 2, 3, 4))
    try:
        e = theirs(torch.tensor(a), output_size=size)
    except ValueError:
        with pytest.raises(ValueError):
            ours(tg.tensor(a), output_size=size)
        return
    np.testing.assert_allclose(ours(tg.tensor(a), output_size=size).detach().numpy(), e.detach().numpy(), atol=1e-12)


@pytest.mark.parametrize("name, arguments", [("Unfold", (3, 1, 1, 2)), ("Unfold", ((2, 3),)), ("Fold", ((4, 5), 2)), ("Fold", ((4, 5), (2, 3), 1, 1, 2))])
def test_windows(name, arguments):
    ours, theirs = getattr(nn, name)(*arguments), getattr(torch.nn, name)(*arguments)
    assert repr(ours) == repr(theirs)
    shape = (2, 3, 4, 5) if name == "Unfold" else (2, 12, 12) if arguments[1] == 2 else (2, 12, 9)
    a = np.random.default_rng(0).normal(size=shape)
    np.testing.assert_allclose(ours(tg.tensor(a)).numpy(), theirs(torch.tensor(a)).numpy())


@pytest.mark.parametrize("name, arguments, shape", [
    ("LazyLinear", (3,), (2, 5)), ("LazyConv1d", (4, 3), (2, 5, 7)), ("LazyConv2d", (4, 3, 2, 1, 1, 2), (2, 6, 7, 7)), ("LazyConv3d", (4, 2), (2, 3, 3, 3)),
    ("LazyConvTranspose1d", (4, 3), (2, 5, 7)), ("LazyConvTranspose2d", (4, 3, 2, 1, 1, 2), (2, 6, 7, 7)), ("LazyConvTranspose3d", (4, 2), (1, 2, 3, 3, 3))])
def test_lazy_layers(name, arguments, shape):
    ours, theirs = getattr(nn, name)(*arguments), getattr(torch.nn, name)(*arguments)
    assert repr(ours) == repr(theirs)
    y, e = ours(tg.ones(*shape)), theirs(torch.ones(*shape))
    assert y.shape == tuple(e.shape) and repr(ours) == repr(theirs) and type(ours).__name__ == type(theirs).__name__
    ours.load_state_dict(theirs.state_dict())
    np.testing.assert_allclose(ours(tg.ones(*shape)).detach().numpy(), e.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("name, arguments, options", [
    ("Conv2d", (3, 4, 3), dict(groups=2)), ("Conv2d", (4, 3, 3), dict(groups=2)), ("Conv2d", (2, 2, 3), dict(groups=0)),
    ("Conv2d", (2, 2, 3), dict(padding="full")), ("Conv2d", (2, 2, 3), dict(padding="same", stride=2)), ("Conv2d", (2, 2, 3), dict(padding_mode="mirror")),
    ("ConvTranspose2d", (2, 2, 3), dict(padding_mode="reflect"))])
def test_what_pytorch_refuses_is_refused(name, arguments, options):
    for module in (torch.nn, nn):
        with pytest.raises(ValueError):
            getattr(module, name)(*arguments, **options)


@pytest.mark.parametrize("name", [*nn.conv.__all__, "LazyLinear", *[f"functional.{f}" for f in ("fold", "unfold")]])
def test_arguments_are_pytorchs(name):
    ours, theirs = nn, torch.nn
    for part in name.split("."):
        ours, theirs = getattr(ours, part), getattr(theirs, part)
    arguments = [[(p.name, p.default) for p in inspect.signature(f).parameters.values()] for f in (ours, theirs)]
    assert arguments[0] == arguments[1]
