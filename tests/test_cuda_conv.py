"""Convolution on CUDA devices: through a stand-in for cuDNN and without it, it gives what it gives on the CPU; the real cuDNN takes the graphs."""
import numpy as np
import pytest
import standin
from hypothesis import assume, given
from hypothesis import strategies as st
from standin import cudnn as stand_in

import tinygrad_ed as tg
from tinygrad_ed.backend.kernels import cuda as kernels
from tinygrad_ed.backend.kernels import plain
from tinygrad_ed.backend.kernels.cuda import cudnn
from tinygrad_ed.backend.kernels.window import Window
from tinygrad_ed.errors import DeviceError


@pytest.fixture
def cp():
    """The stand-in for the modules cupy and cudnn."""
    with standin.installed(with_cudnn=True) as module:
        tg.cuda.init()
        stand_in.calls.clear()
        yield module


@st.composite
def convolutions(draw):
    """x, w, b, g, the window and the groups of a convolution in one to three dimensions."""
    n = draw(st.integers(1, 3))
    numbers = [tuple(draw(st.integers(low, high)) for _ in range(n)) for low, high in ((1, 3), (1, 3), (0, 2), (1, 2), (0, 2), (1, 6))]
    kernel, stride, padding, dilation, after, sizes = numbers
    groups, images = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    channels, filters = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    window = Window(kernel, stride, padding, dilation)
    outputs = window.outputs(sizes, after)
    assume(min(outputs) >= 1)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    shapes = (images, channels, *sizes), (filters, channels // groups, *kernel), (filters,), (images, filters, *outputs)
    dtype = draw(st.sampled_from(["float32", "float64", "float16"]))
    return [rng.integers(-3, 4, shape).astype(dtype) for shape in shapes], window, groups


@given(convolutions(), st.booleans())
def test_the_three_faces_are_those_on_the_cpu(drawn, with_cudnn):
    (x, w, b, g), window, groups = drawn
    sizes, outputs = x.shape[2:], g.shape[2:]
    calls = [("conv_output", (x, w, b, window, groups, outputs)), ("conv_output", (x, w, None, window, groups, outputs)),
             ("conv_weight", (g, x, window, groups)), ("conv_input", (g, w, None, window, groups, sizes)),
             ("conv_input", (g, w, np.resize(b, x.shape[1]), window, groups, sizes))]
    with standin.installed(with_cudnn) as cp:
        tg.cuda.init()
        stand_in.calls.clear()
        for name, arguments in calls:
            on_device = [cp.asarray(v) if isinstance(v, np.ndarray) else v for v in arguments]
            y = getattr(kernels, name)(*on_device)
            expected = getattr(plain, name)(*arguments)
            assert type(y) is standin.ndarray and y.dtype == expected.dtype
            np.testing.assert_array_equal(y.get(), expected)
        unsupported = x.dtype == np.float64 and max(window.dilation) > 1
        whole = window.outputs(sizes, tuple(max(0, r - p - n) for r, p, n in zip(window.reach(outputs), window.padding, sizes))) == outputs
        depthwise = w.shape[1] == 1 < groups
        assert len(stand_in.calls) == (5 if with_cudnn and whole and not unsupported and not depthwise else 0)


def test_one_launch_and_one_for_the_bias(cp):
    x, w, b = cp.ones((2, 3, 8, 8), "float32"), cp.ones((4, 3, 3, 3), "float32"), cp.ones(4, "float32")
    window = Window((3, 3), (1, 1), (1, 1), (1, 1))
    for bias, launches in ((None, 1), (b, 2)):
        kernels.conv_output(x, w, bias, window, 1, (8, 8))
        with standin.counting() as counts:
            kernels.conv_output(x, w, bias, window, 1, (8, 8))
        assert counts.launches == launches and not counts.syncs and not counts.copies
    assert len(cudnn._thread.prepared) == 1                              # planned once
    assert kernels.conv_output(x[:, :, ::2], w, None, window, 1, (4, 8)).shape == (2, 4, 4, 8)


def test_precision_and_determinism(cp):
    x, w = cp.ones((2, 3, 8, 8), "float32"), cp.ones((4, 3, 3, 3), "float32")
    window = Window((3, 3), (1, 1), (1, 1), (1, 1))

    def unwanted(*arrays):
        kernels.conv_output(*arrays, None, window, 1, (8, 8))
        return {note.name for note in stand_in.calls[-1].unwanted}
    assert unwanted(x, w) == {"DOWN_CONVERT_INPUTS"}
    try:
        tg.backends.cudnn.allow_tf32 = False
        assert unwanted(x, w) == {"DOWN_CONVERT_INPUTS", "TENSOR_CORE"}
        assert unwanted(x.astype("float16"), w.astype("float16")) == {"DOWN_CONVERT_INPUTS"}
    finally:
        tg.backends.cudnn.allow_tf32 = True
    tg.use_deterministic_algorithms(True)
    try:
        assert unwanted(x, w) == {"DOWN_CONVERT_INPUTS", "NONDETERMINISTIC"}
    finally:
        tg.use_deterministic_algorithms(False)
    cudnn_of = tg.backends.cudnn                      # what programs set beside their seeds
    assert cudnn_of.enabled and not cudnn_of.deterministic and not cudnn_of.benchmark
    try:
        cudnn_of.deterministic, cudnn_of.benchmark = True, True
        assert unwanted(x, w) == {"DOWN_CONVERT_INPUTS", "NONDETERMINISTIC"}
        cudnn_of.enabled, before = False, len(stand_in.calls)
        kernels.conv_output(x, w, None, window, 1, (8, 8))
        assert len(stand_in.calls) == before
    finally:
        cudnn_of.enabled, cudnn_of.deterministic, cudnn_of.benchmark = True, False, False


def test_every_stream_gets_its_work(cp):
    x, w = cp.ones((1, 1, 4, 4), "float32"), cp.ones((1, 1, 3, 3), "float32")
    stream = cp.cuda.Stream(non_blocking=True)
    stream.wait_event(cp.cuda.get_current_stream().record())
    with stream:
        y = kernels.conv_output(x, w, None, Window((3, 3), (1, 1), (0, 0), (1, 1)), 1, (2, 2))
    cp.cuda.get_current_stream().wait_event(stream.record())
    assert y.get().tolist() == [[[[9.0, 9.0], [9.0, 9.0]]]]


def test_layers_train_and_mixed_devices_are_refused(cp):
    def gradients(device):
        tg.manual_seed(0)
        model = tg.nn.Sequential(tg.nn.Conv2d(3, 4, 3, padding=1, stride=2), tg.nn.ReLU(), tg.nn.ConvTranspose2d(4, 2, 2, stride=2)).to(device)
        model(tg.ones(2, 3, 6, 6, device=device)).square().mean().backward()
        return [p.grad.cpu().numpy() for p in model.parameters()]
    for a, b in zip(gradients("cuda"), gradients("cpu")):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert {call.face for call in stand_in.calls} == {"fprop", "dgrad", "wgrad"}
    for device in ("cpu", "cuda:1"):
        with pytest.raises(DeviceError, match="move one"):
            tg.nn.functional.conv2d(tg.ones(1, 1, 3, 3, device="cuda"), tg.ones(1, 1, 2, 2, device=device))


def test_why_cudnn_cannot_be_used(cp):
    assert cudnn.why_not() is None
    with standin.installed():
        assert cudnn.frontend() is None and "pip install" in cudnn.why_not()


# -- the real cuDNN ----------------------------------------------------------------------------------------------------

FACES = {"fprop": ((2, 4, 8, 9), (6, 2, 3, 3), (2, 6, 4, 5)), "dgrad": ((2, 6, 4, 5), (6, 2, 3, 3), (2, 4, 8, 9)),
         "wgrad": ((2, 4, 8, 9), (2, 6, 4, 5), (6, 2, 3, 3))}


@pytest.mark.parametrize("dtype", cudnn.DTYPES.values())
@pytest.mark.parametrize("face", FACES)
def test_the_real_cudnn_takes_the_graphs(face, dtype):
    pytest.importorskip("cudnn")
    if cudnn.why_not() is not None:
        pytest.skip(cudnn.why_not())
    graph, tensors = cudnn.build(cudnn.Convolution(face, dtype, *FACES[face], (1, 1), (1, 1), (2, 2), (1, 1), False, False))
    assert [tuple(t.get_dim()) for t in tensors] == list(FACES[face])
    assert [tuple(t.get_stride()) for t in tensors] == [tuple(cudnn._strides(shape)) for shape in FACES[face]]
    names = {"DOWN_CONVERT_INPUTS", "TENSOR_CORE", "NONDETERMINISTIC"}
    assert names <= set(dir(cudnn.frontend().numerical_note)) and {"A", "FALLBACK"} <= set(dir(cudnn.frontend().heur_mode))
