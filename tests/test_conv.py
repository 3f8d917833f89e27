"""Convolution by other means: loops, Fourier transforms, adjoints, blocks of every size; its layers, lazy ones too, and clear errors."""
import copy
import itertools
import sys
import tracemalloc

import numpy as np
import pytest
from cases.conv import correlate, spread
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_ed as tg
from tinygrad_ed import nn
from tinygrad_ed.backend.kernels import plain
from tinygrad_ed.backend.kernels.window import Window
from tinygrad_ed.nn import functional as F

RNG = np.random.default_rng(0)
COLUMNS = sys.modules["tinygrad_ed.backend.kernels.plain.columns"]
CONVS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def dot(a, b):
    return float((a * b).sum())


# -- convolution by other means ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("n, size", [(1, 40), (2, 17), (3, 7)])
@pytest.mark.parametrize("channels", [1, 3, 20])
def test_convolution_is_a_product_of_fourier_transforms(n, size, channels):
    x, w = RNG.normal(size=(2, channels, *[size] * n)), RNG.normal(size=(5, channels, *[3] * n))
    axes, sizes = range(2, 2 + n), [size] * n
    product = np.einsum("nc...,oc...->no...", np.fft.fftn(x, axes=axes), np.fft.fftn(w, sizes, axes).conj())
    expected = np.fft.ifftn(product, axes=axes).real[(..., *[slice(size - 2)] * n)]
    np.testing.assert_allclose(CONVS[n](tg.tensor(x), tg.tensor(w)).numpy(), expected, rtol=1e-10, atol=1e-10)


@st.composite
def geometries(draw):
    """Shapes and arguments of a convolution that fits, with enough channels and sizes for every way of computing it."""
    n = draw(st.integers(1, 3))
    sizes = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(n))
    kernel, stride, padding, dilation = sizes(1, 3), sizes(1, 3), sizes(0, 3), sizes(1, 2)
    groups, channels, filters = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 5])), draw(st.sampled_from([1, 2, 5]))
    inputs = tuple(max(1, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 5 if n < 3 else 2)) for k, p, d in zip(kernel, padding, dilation))
    return n, (draw(st.integers(1, 3)), groups * channels, *inputs), (groups * filters, channels, *kernel), (stride, padding, dilation, groups)


@given(geometry=geometries(), seed=st.integers(0, 99), data=st.data())
def test_every_size_of_blocks_gives_the_same(geometry, seed, data):
    n, shape, weights, (stride, padding, dilation, groups) = geometry
    rng = np.random.default_rng(seed)
    x, w, b = rng.normal(size=shape), rng.normal(size=weights), rng.normal(size=weights[0])
    window = Window(weights[2:], stride, padding, dilation)
    outputs = window.outputs(shape[2:], padding)
    y = correlate(x, w, b, stride, padding, dilation, groups)
    g = rng.normal(size=y.shape)
    dx = spread(g, w, None, stride, padding, [(m + 2 * p - d * (k - 1) - 1) % s for m, p, d, k, s in
                                              zip(shape[2:], padding, dilation, weights[2:], stride)], groups, dilation)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(COLUMNS, "_CACHED", data.draw(st.sampled_from([1, 64, 1000, 2**18])))
        patch.setattr(COLUMNS, "_COLUMNS", data.draw(st.sampled_from([1, 3, 512])))
        patch.setattr(COLUMNS, "_MANY_OUTPUTS", data.draw(st.sampled_from([1, 64])))
        np.testing.assert_allclose(plain.conv_output(x, w, b, window, groups, outputs), y, atol=1e-10)
        np.testing.assert_allclose(plain.conv_input(g, w, None, window, groups, shape[2:]), dx, atol=1e-10)
        dw = plain.conv_weight(g, x, window, groups)
    v = rng.normal(size=w.shape)
    assert dot(dw, v) == pytest.approx(dot(g, correlate(x, v, None, stride, padding, dilation, groups)), abs=1e-8)


@given(geometry=geometries(), seed=st.integers(0, 99))
def test_transposed_convolution_is_the_adjoint(geometry, seed):
    n, shape, weights, (stride, padding, dilation, groups) = geometry
    rng = np.random.default_rng(seed)
    x, w = tg.tensor(rng.normal(size=shape)), tg.tensor(rng.normal(size=weights))
    y = CONVS[n](x, w, None, stride, padding, dilation, groups)
    more = tuple((m + 2 * p - d * (k - 1) - 1) % s for m, p, d, k, s in zip(shape[2:], padding, dilation, weights[2:], stride))
    u = tg.tensor(rng.normal(size=y.shape))
    back = TRANSPOSED[n](u, w, None, stride, padding, more, groups, dilation)
    assert back.shape == x.shape
    assert dot(y, u) == pytest.approx(dot(x, back), abs=1e-9)


def test_unfold_and_fold_are_adjoint_and_make_a_convolution():
    x, w = tg.tensor(RNG.normal(size=(2, 3, 6, 5))), tg.tensor(RNG.normal(size=(4, 3, 3, 2)))
    options = dict(stride=(2, 1), padding=(1, 0), dilation=(1, 2))
    columns = F.unfold(x, (3, 2), **options)
    y = (w.reshape(4, -1) @ columns).reshape(2, 4, 3, 3)
    np.testing.assert_allclose(F.conv2d(x, w, **options).numpy(), y.numpy(), rtol=1e-12)
    u = tg.tensor(RNG.normal(size=columns.shape))
    assert dot(columns, u) == pytest.approx(dot(x, F.fold(u, (6, 5), (3, 2), **options)))


@pytest.mark.parametrize("memory", [lambda x: x, lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2), lambda x: x.flip(2, 3).flip(2, 3)])
def test_images_with_channels_last_in_memory(memory):
    x, w = tg.tensor(RNG.normal(size=(3, 20, 9, 8))), tg.tensor(RNG.normal(size=(7, 20, 3, 3)))
    np.testing.assert_allclose(F.conv2d(memory(x), w).numpy(), correlate(x.numpy(), w.numpy()), rtol=1e-10, atol=1e-10)


def test_a_result_is_contiguous():
    y = F.conv2d(tg.ones(2, 16, 8, 8), tg.ones(5, 16, 3, 3))
    assert y.is_contiguous() and y.view(2, -1).shape == (2, 180)


def test_float16_is_summed_in_float32():
    x, w = tg.ones(1, 3000, 2, 2, dtype=tg.float16, requires_grad=True), tg.ones(1, 3000, 1, 1, dtype=tg.float16, requires_grad=True)
    y = F.conv2d(x, w)
    assert y.dtype == tg.float16 and y.tolist() == [[[[3000.0] * 2] * 2]]      # 2048 + 1 is 2048 in float16
    y.backward(tg.ones_like(y))
    assert x.grad.dtype == w.grad.dtype == tg.float16
    wide = F.conv_transpose2d(tg.ones(1, 3000, 3, 3, dtype=tg.float16), tg.ones(3000, 2, 3, 3, dtype=tg.float16))
    assert wide.dtype == tg.float16 and wide[0, 0, 0, 0].item() == 3000.0


@pytest.mark.parametrize("shape, weight", [((0, 2, 5, 5), (3, 2, 3, 3)), ((2, 0, 5, 5), (3, 0, 3, 3)), ((2, 2, 5, 5), (0, 2, 3, 3)), ((2, 2, 99, 9), (0, 2, 1, 1))])
def test_nothing_of_something(shape, weight):
    x, w = tg.ones(*shape, requires_grad=True), tg.ones(*weight, requires_grad=True)
    y = F.conv2d(x, w)
    assert y.shape == (shape[0], weight[0], shape[2] - weight[2] + 1, shape[3] - weight[3] + 1) and not y.detach().any()
    dx, dw = tg.autograd.grad(y, [x, w], tg.ones_like(y), create_graph=True)
    assert dx.shape == shape and dw.shape == weight and not dx.detach().any() and not dw.detach().any()
    assert [d.shape for d in tg.autograd.grad(dx.sum() + dw.sum(), [x, w])] == [shape, weight]


def test_no_images_and_no_windows():
    x, w = tg.ones(0, 2, 5, 5, requires_grad=True), tg.ones(3, 2, 3, 3, requires_grad=True)
    y = F.conv2d(x, w, tg.ones(3))
    assert y.shape == (0, 3, 3, 3)
    y.sum().backward()
    assert x.grad.shape == (0, 2, 5, 5) and w.grad.tolist() == tg.zeros(3, 2, 3, 3).tolist()
    assert F.conv_transpose2d(x, tg.ones(2, 3, 3, 3)).shape == (0, 3, 7, 7)


def test_the_first_layers_input_gradient_is_not_computed(monkeypatch):
    w = tg.ones(3, 2, 3, 3, requires_grad=True)
    y = F.conv2d(tg.ones(1, 2, 5, 5), w)
    monkeypatch.setattr(plain, "conv_input", None)
    y.sum().backward()
    assert w.grad.sum().item() == 3 * 2 * 9 * 9


def test_the_matrix_of_windows_is_never_there_as_a_whole():
    x, w = tg.ones(16, 16, 64, 64, requires_grad=True), tg.ones(16, 16, 3, 3, requires_grad=True)
    F.conv2d(x, w, padding=1).sum().backward()
    size = x.nbytes                                   # of input, output and each of their gradients; the whole matrix has 9 times that
    tracemalloc.start()
    y = F.conv2d(x, w, padding=1)
    forward = tracemalloc.get_traced_memory()[1]
    y.backward(tg.ones_like(y))
    backward = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert forward < 1.8 * size and backward < 3.8 * size


# -- layers ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode, numpys", [("zeros", "constant"), ("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_padding_modes(mode, numpys, n):
    layer = getattr(nn, f"Conv{n}d")(2, 4, 3, stride=2, padding=tuple(range(1, n + 1))[::-1], groups=2, padding_mode=mode, dtype=tg.float64)
    x = RNG.normal(size=(2, 2, *[5] * n))
    widths = [(0, 0), (0, 0)] + [(p, p) for p in layer.padding]
    expected = correlate(np.pad(x, widths, numpys), layer.weight.detach().numpy(), layer.bias.detach().numpy(), 2, 0, 1, 2)
    np.testing.assert_allclose(layer(tg.tensor(x)).detach().numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(layer(tg.tensor(x[0])).detach().numpy(), expected[0], atol=1e-12)


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("kernel, dilation", [*itertools.product([1, 2, 3, 4], [1, 2])])
def test_same_keeps_the_sizes(mode, kernel, dilation):
    layer = nn.Conv2d(1, 1, kernel, padding="same", dilation=dilation, padding_mode=mode)
    assert layer(tg.ones(1, 1, 9, 10)).shape == (1, 1, 9, 10)


def test_transposed_layers_are_asked_for_a_size():
    down, up = nn.Conv2d(1, 2, 3, stride=3, padding=1), nn.ConvTranspose2d(2, 1, 3, stride=3, padding=1)
    for size in range(5, 12):
        x = tg.ones(1, 1, size, size)
        assert up(down(x), output_size=x.shape).shape == x.shape
        assert up(down(x), output_size=(size, size)).shape == x.shape
    y = tg.ones(2, 3, 3)
    assert up(y, output_size=[7, 9]).shape == (1, 7, 9)
    for wrong in ([6, 9], [7, 10], [7], [1, 1, 1, 7, 9]):
        with pytest.raises(ValueError, match=r"(?s)ConvTranspose2d.*\(2, 3, 3\)"):
            up(y, output_size=wrong)


def test_parameters_begin_in_bounds():
    tg.manual_seed(0)                                 # six uniform numbers are all small now and then
    for layer in (nn.Conv2d(8, 6, 3, groups=2), nn.ConvTranspose2d(6, 8, 3, groups=2)):
        bound = (layer.weight.shape[1] * 9) ** -0.5
        for p in (layer.weight, layer.bias):
            assert 0.6 * bound < p.abs().max().item() <= bound
        assert abs(layer.weight.mean().item()) < 0.2 * bound
    assert nn.Conv1d(1, 1, 1, bias=False).bias is None


@pytest.mark.parametrize("make", [
    lambda: nn.Conv2d(3, 4, 3, groups=2), lambda: nn.Conv2d(4, 3, 3, groups=2), lambda: nn.Conv2d(2, 2, 3, groups=0),
    lambda: nn.Conv2d(2, 2, 3, padding="full"), lambda: nn.Conv2d(2, 2, 3, padding="same", stride=2), lambda: nn.Conv2d(2, 2, (3, 3, 3)),
    lambda: nn.Conv2d(2, 2, 3, padding_mode="mirror"), lambda: nn.ConvTranspose2d(2, 2, 3, padding_mode="reflect"), lambda: nn.Conv1d(-1, 2, 3),
    lambda: nn.Conv1d(2, 2, 0), lambda: nn.LazyConv1d(3, 1, groups=2),
])
def test_arguments_of_layers_are_checked(make):
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize("name, call, parts", [
    ("channels", lambda: F.conv2d(tg.ones(1, 3, 4, 4), tg.ones(2, 4, 3, 3)), ["conv2d", "(1, 3, 4, 4)", "(2, 4, 3, 3)", "3 channels", "takes 4"]),
    ("groups", lambda: F.conv2d(tg.ones(1, 4, 4, 4), tg.ones(3, 2, 3, 3), groups=2), ["groups=2", "3 output channels"]),
    ("bias", lambda: F.conv1d(tg.ones(1, 2, 4), tg.ones(2, 2, 3), tg.ones(3)), ["(2,)", "(3,)"]),
    ("kernel", lambda: F.conv2d(tg.ones(1, 2, 4, 4), tg.ones(2, 2, 3, 3), dilation=3, padding=1), ["(3, 3)", "(7, 7)", "(6, 6)", "(1, 2, 4, 4)"]),
    ("dims", lambda: F.conv2d(tg.ones(4, 4), tg.ones(2, 2, 3, 3)), ["(N, C, H, W)", "(4, 4)"]),
    ("weight", lambda: F.conv2d(tg.ones(1, 2, 4, 4), tg.ones(2, 2, 3)), ["(2, 2, 3)"]),
    ("integers", lambda: F.conv1d(tg.ones(1, 2, 4, dtype=tg.int64), tg.ones(2, 2, 3)), ["int64", "float()"]),
    ("dtypes", lambda: F.conv1d(tg.ones(1, 2, 4), tg.ones(2, 2, 3, dtype=tg.float64)), ["float32", "float64"]),
    ("transposed", lambda: F.conv_transpose1d(tg.ones(1, 3, 4), tg.ones(2, 2, 3)), ["3 channels", "takes 2"]),
    ("output_padding", lambda: F.conv_transpose1d(tg.ones(1, 2, 4), tg.ones(2, 2, 3), stride=2, output_padding=2), ["(2,)", "stride"]),
    ("fold", lambda: F.fold(tg.ones(1, 8, 3), (3, 3), 2), ["(1, 8, 3)", "4 of them"]),
    ("unfold", lambda: F.unfold(tg.ones(1, 1, 3, 3), 4), ["(4, 4)", "(1, 1, 3, 3)"]),
])
def test_errors_name_what_was_expected_and_received(name, call, parts):
    with pytest.raises(RuntimeError) as error:
        call()
    for part in parts:
        assert part in str(error.value), str(error.value)


# -- lazy layers -------------------------------------------------------------------------------------------------------

LAZY = [(nn.LazyLinear(3), (4, 5), nn.Linear(5, 3)),
        (nn.LazyConv1d(4, 3, 2, groups=2), (2, 6, 9), nn.Conv1d(6, 4, 3, 2, groups=2)), (nn.LazyConv2d(4, 3, bias=False), (2, 6, 9, 9), nn.Conv2d(6, 4, 3, bias=False)),
        (nn.LazyConv3d(4, 2), (6, 3, 3, 3), nn.Conv3d(6, 4, 2)), (nn.LazyConvTranspose1d(4, 3, groups=2), (2, 6, 9), nn.ConvTranspose1d(6, 4, 3, groups=2)),
        (nn.LazyConvTranspose2d(4, 3, 2, 1, 1), (2, 6, 9, 9), nn.ConvTranspose2d(6, 4, 3, 2, 1, 1)), (nn.LazyConvTranspose3d(4, 2), (1, 6, 3, 3, 3), nn.ConvTranspose3d(6, 4, 2))]


@pytest.mark.parametrize("lazy, shape, ready", LAZY, ids=lambda v: type(v).__name__ if isinstance(v, nn.Module) else "")
def test_lazy_layers_become_ordinary_ones(lazy, shape, ready):
    layer = copy.deepcopy(lazy)
    parameters = list(layer.parameters())
    assert layer.has_uninitialized_params() and all(isinstance(p, nn.UninitializedParameter) for p in parameters)
    assert layer(tg.ones(*shape)).shape == ready(tg.ones(*shape)).shape
    assert type(layer) is type(ready) and repr(layer) == repr(ready) and not layer._hooks
    assert [p.shape for p in parameters] == [p.shape for p in ready.parameters()] and list(layer.parameters()) == parameters
    assert all(type(p) is nn.Parameter and 0 < p.abs().max().item() <= 1 for p in parameters)
    assert lazy.has_uninitialized_params()            # the copy is on its own


@pytest.mark.parametrize("lazy, shape, ready", LAZY, ids=lambda v: type(v).__name__ if isinstance(v, nn.Module) else "")
def test_lazy_layers_take_a_state_dict(lazy, shape, ready):
    layer = copy.deepcopy(lazy)
    layer.load_state_dict(ready.state_dict())
    x = tg.tensor(RNG.normal(size=shape).astype("float32"))
    np.testing.assert_array_equal(layer(x).detach().numpy(), ready(x).detach().numpy())
    assert repr(layer) == repr(ready)


def test_lazy_layers_are_moved_and_trained():
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)).double().requires_grad_(True)
    assert "LazyConv2d(0, 4, kernel_size=(3, 3), stride=(1, 1))" in repr(model) and "UninitializedParameter" in repr(model[0].weight)
    with pytest.raises(RuntimeError, match="call the module once"):
        _ = model[0].weight.shape
    assert all(isinstance(value, nn.UninitializedParameter) for value in model.state_dict().values())
    x = tg.tensor(RNG.normal(size=(2, 3, 5, 5)))
    model(x).sum().backward()
    assert [type(m).__name__ for m in model] == ["Conv2d", "ReLU", "Flatten", "Linear"] and model[3].in_features == 36
    assert all(p.dtype == tg.float64 and p.grad is not None for p in model.parameters())


def test_lazy_layers_stay_lazy_after_an_error():
    layer = nn.LazyConv2d(4, 3, groups=2)
    for wrong in (tg.ones(3, 3), tg.ones(1, 3, 5, 5)):
        with pytest.raises(RuntimeError, match="LazyConv2d"):
            layer(wrong)
    assert layer.has_uninitialized_params() and type(layer) is nn.LazyConv2d
    assert layer(tg.ones(1, 2, 5, 5)).shape == (1, 4, 3, 3)


def test_lazy_modules_of_ones_own():
    class LazyScale(nn.LazyModuleMixin, nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.UninitializedParameter()

        def initialize_parameters(self, x):
            self.scale.materialize(x.shape[-1:])
            nn.init.ones_(self.scale)

        def forward(self, x):
            return x * self.scale

    layer = LazyScale()
    assert layer(tg.ones(2, 3)).tolist() == [[1.0] * 3] * 2 and not layer.has_uninitialized_params()

    class Forgetful(LazyScale):
        def initialize_parameters(self, x):
            pass

    with pytest.raises(RuntimeError, match="scale"):
        Forgetful()(tg.ones(2))
