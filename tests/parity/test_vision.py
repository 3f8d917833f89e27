"""The layers that pad, resize and shuffle, against PyTorch: values and gradients, printed forms, arguments, and which pixel is nearest."""
import inspect

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import tinygrad_ed as tg  # noqa: E402
from tinygrad_ed import nn  # noqa: E402

SHAPES = {1: (2, 3, 5), 2: (2, 4, 5, 6), 3: (1, 2, 4, 5, 6)}
LAYERS = {                                            # the layer's name and arguments -> how many spatial dimensions
    **{(f"{kind}Pad{n}d", (padding,) + ((0.5,) if kind == "Constant" else ())): n
       for kind in ("Constant", "Zero", "Reflection", "Replication", "Circular") for n in (1, 2, 3)
       for padding in (2, tuple(range(2 * n))[::-1] if n < 3 else (0, 3, 2, 1, 1, 2))},
    ("ConstantPad2d", ((-1, 2, 1, -2), -1.5)): 2, ("ZeroPad1d", (-1,)): 1, ("ReflectionPad2d", ((-1, 2, 1, -1),)): 2,
    ("Upsample", (7,)): 1, ("Upsample", ((7, 3), None, "nearest-exact")): 2, ("Upsample", (None, 2, "bilinear")): 2,
    ("Upsample", (None, (1.5, 0.7), "bicubic", True)): 2, ("Upsample", (None, 1.3, "trilinear")): 3,
    ("Upsample", (None, 1.3, "linear", False, True)): 1, ("Upsample", ((3, 2, 1), None, "area")): 3,
    ("UpsamplingNearest2d", (None, 2)): 2, ("UpsamplingNearest2d", ((3, 9),)): 2, ("UpsamplingBilinear2d", (None, (1.5, 2))): 2,
    ("UpsamplingBilinear2d", (4,)): 2, ("PixelShuffle", (2,)): 2, ("ChannelShuffle", (2,)): 2,
}


def build(name, arguments):
    return [getattr(module, name)(*arguments) for module in (nn, torch.nn)]


@pytest.mark.parametrize("name, arguments", LAYERS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_gradients(name, arguments, dtype):
    shape = SHAPES[LAYERS[name, arguments]]
    ours, theirs = build(name, arguments)
    a = np.random.default_rng(0).normal(size=shape).astype(dtype)
    x, z = tg.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
    y, e = ours(x), theirs(z)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-10, "atol": 1e-12}
    assert y.shape == tuple(e.shape) and str(y.dtype) == dtype
    np.testing.assert_allclose(y.detach().numpy(), e.detach().numpy(), **tolerance)
    w = np.random.default_rng(1).normal(size=y.shape).astype(dtype)
    y.backward(tg.tensor(w))
    e.backward(torch.tensor(w))
    np.testing.assert_allclose(x.grad.numpy(), z.grad.numpy(), **tolerance)


@pytest.mark.parametrize("name, arguments", [*LAYERS, ("PixelUnshuffle", (3,)), ("Upsample", (None, (2, 3)))], ids=str)
def test_printed_forms(name, arguments):
    ours, theirs = build(name, arguments)
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict()) == []


def test_pixel_unshuffle():
    ours, theirs = build("PixelUnshuffle", (3,))
    x = np.random.default_rng(0).normal(size=(2, 2, 6, 3))
    np.testing.assert_array_equal(ours(tg.tensor(x)).numpy(), theirs(torch.from_numpy(x)).numpy())


@pytest.mark.parametrize("path", [*sorted({f"{name}.__init__" for name, _ in LAYERS}), "PixelUnshuffle.__init__", "functional.pad",
                                  "functional.interpolate", "functional.affine_grid", "functional.grid_sample"])
def test_arguments_and_defaults(path):
    ours, theirs = nn, torch.nn
    for part in path.split("."):
        ours, theirs = getattr(ours, part), getattr(theirs, part)
    a, b = inspect.signature(ours).parameters, inspect.signature(theirs).parameters
    assert list(a) == list(b) and [p.default for p in a.values()] == [p.default for p in b.values()]


def test_zero_padding_is_constant_padding():
    for n in (1, 2, 3):
        assert issubclass(getattr(nn, f"ZeroPad{n}d"), getattr(nn, f"ConstantPad{n}d"))


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_nearest_pixel_is_pytorchs(mode, dtype):
    """In single precision the position of a pixel is rounded, and with it which one is nearest."""
    for n in range(1, 60, 3):
        a = np.arange(n, dtype=dtype)[None, None]
        sizes = [{"size": m} for m in [*range(1, 80, 3), 97, 100, 128]]
        for given in sizes + [{"scale_factor": s} for s in (0.5, 0.7, 1.1, 1.5, 2.0, 2.49, 3.0) if int(n * s) > 0]:
            ours = nn.functional.interpolate(tg.tensor(a), mode=mode, **given)
            theirs = torch.nn.functional.interpolate(torch.tensor(a), mode=mode, **given)
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), str((n, given)))


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_a_spatial_transformer(mode, padding_mode, align_corners):
    """Two images turned and moved by affine maps, with gradients of images and maps; far outside too, and a side of one pixel."""
    rng = np.random.default_rng(0)
    for shape in [(2, 3, 5, 4), (2, 1, 1, 6)]:
        a, b = rng.normal(size=shape), rng.normal(size=(2, 2, 3)) * 2
        w, results = rng.normal(size=(2, shape[1], 4, 3)), []
        for lib in (tg, torch):
            x, theta = lib.tensor(a, requires_grad=True), lib.tensor(b, requires_grad=True)
            grid = lib.nn.functional.affine_grid(theta, (2, 1, 4, 3), align_corners=align_corners)
            y = lib.nn.functional.grid_sample(x, grid, mode, padding_mode, align_corners)
            y.backward(lib.tensor(w))
            results.append([y.detach(), x.grad, theta.grad])
        for ours, theirs in zip(*results):
            np.testing.assert_allclose(0 if ours is None else ours.numpy(), theirs.numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("layer, shape", [
    (lambda nn: nn.ReflectionPad1d(3), (1, 1, 3)), (lambda nn: nn.CircularPad2d(4), (1, 3, 3)),
    (lambda nn: nn.ReplicationPad2d(1), (3, 3)), (lambda nn: nn.UpsamplingBilinear2d((1, 2, 3)), (1, 1, 3, 3)),
    (lambda nn: nn.ConstantPad1d((-2, -2), 0.0), (1, 3)), (lambda nn: nn.Upsample(2, mode="bilinear"), (1, 1, 3)),
    (lambda nn: nn.Upsample(), (1, 1, 3)), (lambda nn: nn.Upsample(2, 2), (1, 1, 3)),
    (lambda nn: nn.PixelShuffle(2), (1, 3, 2, 2)), (lambda nn: nn.PixelUnshuffle(2), (1, 1, 3, 2)), (lambda nn: nn.ChannelShuffle(2), (1, 3, 2))])
def test_what_pytorch_refuses_is_refused(layer, shape):
    for lib, module in ((tg, nn), (torch, torch.nn)):
        with pytest.raises((RuntimeError, ValueError)):
            layer(module)(lib.ones(shape))
