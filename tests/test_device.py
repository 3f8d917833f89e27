"""What runs on a CUDA device gives what it gives on the CPU: every case of the registry, layers, optimizers, data.

`pytest --device cuda` runs this on a device, `pytest --device standin` on a stand-in for CuPy.
"""
import copy
import pickle

import cases  # noqa: F401  (fills the registry)
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from registry import CASES, calls, cotangents, float_outputs, outputs, run, tensors
from training_steps import MODELS, OPTIMIZERS, Training

import tinygrad_ed as tg
from tinygrad_ed import nn, optim
from tinygrad_ed.errors import IndexRangeError

EXAMPLES = 4                                          # calls of each case
UNSEEN = {"quantile", "nanquantile", "repeat_interleave-2"}              # wrong numbers on the device, which nothing waits for
RTOL = {"xlogy-2": 1e-6}                              # a Python number becomes float32 on its way to the second derivative


def results(case, call, seed, device):
    """Everything that comes of a call on a device: outputs, gradients, and the gradients of a projection of these."""
    tg.manual_seed(seed)
    given, leaves = tensors(call, requires_grad=case.order > 0, device=device)
    ys = outputs(run(case.function, given))
    determined = outputs(case.free(ys if len(ys) > 1 else ys[0]) if case.free else ys)
    found = [*([] if case.free else ys), *determined]
    recorded = [y for y in float_outputs(determined) if y.requires_grad]
    for i in range(min(case.order, 2)):
        if not recorded:
            break
        ws = [tg.tensor(w, device=device) for w in cotangents(recorded, seed + i)]
        gradients = tg.autograd.grad(recorded, leaves, ws, create_graph=i + 1 < case.order, allow_unused=True, materialize_grads=True)
        found += gradients
        recorded = [g for g in gradients if g.requires_grad]
    return found


def host(x):
    """A tensor's values."""
    return x.numpy(force=True)


def compare(case, call, seed, device):
    """The results of a call on a device are those on the CPU."""
    expected, found = (results(case, call, seed, where) for where in ("cpu", device))
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        if not isinstance(b, tg.Tensor):
            assert a == b
            continue
        assert a.dtype == b.dtype and a.shape == b.shape
        assert a.is_cuda or not call.arrays()
        np.testing.assert_allclose(host(a), host(b), rtol=RTOL.get(case.id, case.parity_rtol), atol=RTOL.get(case.id, 1e-9))


@pytest.mark.parametrize("id", CASES)
def test_every_operation_gives_what_it_gives_on_the_cpu(device, id):
    @settings(max_examples=EXAMPLES, phases=[Phase.generate])
    @given(call=calls(CASES[id]), seed=st.integers(0, 2**32 - 1))
    def holds(call, seed):
        compare(CASES[id], call, seed, device)
    holds()


@pytest.mark.parametrize("id", [case.id for case in CASES.values() if case.bad])
def test_what_is_wrong_raises_what_it_raises_on_the_cpu(device, id):
    case = CASES[id]
    for call in case.bad:
        with pytest.raises(Exception) as here:
            run(case.function, tensors(call, requires_grad=case.order > 0)[0])
        if here.type is not IndexRangeError and id not in UNSEEN:            # to see one, the host would have to wait for the device
            with pytest.raises(here.type):
                run(case.function, tensors(call, requires_grad=case.order > 0, device=device)[0])


# -- layers ------------------------------------------------------------------------------------------------------------

def floats(*shape):
    return np.random.default_rng(2).uniform(-2, 2, shape)


def numbers(n, *shape):
    return np.random.default_rng(3).integers(0, n, shape)


LAYERS = {                                            # a layer, and the arrays it is called with
    "Linear": (lambda: nn.Linear(4, 3), floats(2, 4)), "Bilinear": (lambda: nn.Bilinear(4, 3, 2), floats(2, 4), floats(2, 3)),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), floats(2, 4, 7)),
    "Conv2d": (lambda: nn.Conv2d(3, 4, 3, padding="same", dilation=2), floats(2, 3, 6, 5)), "Conv3d": (lambda: nn.Conv3d(2, 3, 2), floats(1, 2, 3, 4, 3)),
    "Conv2d depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4, padding_mode="reflect", padding=1), floats(2, 4, 5, 5)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(3, 2, 3, stride=2, output_padding=1, padding=1), floats(2, 3, 4, 3)),
    "MaxPool2d": (lambda: nn.MaxPool2d(2, ceil_mode=True), floats(2, 3, 5, 5)), "AvgPool2d": (lambda: nn.AvgPool2d(3, 2, 1), floats(2, 3, 5, 5)),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d((2, 3)), floats(2, 3, 5, 7)), "LPPool2d": (lambda: nn.LPPool2d(2, 2), floats(1, 2, 4, 4)),
    "AdaptiveMaxPool2d": (lambda: nn.AdaptiveMaxPool2d(2), floats(2, 3, 5, 7)), "Upsample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), floats(1, 2, 3, 3)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(4), floats(5, 4)), "BatchNorm2d": (lambda: nn.BatchNorm2d(3), floats(2, 3, 4, 4)),
    "LayerNorm": (lambda: nn.LayerNorm((3, 4)), floats(2, 3, 4)), "GroupNorm": (lambda: nn.GroupNorm(2, 4), floats(2, 4, 3)),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(3, affine=True), floats(2, 3, 4, 4)), "RMSNorm": (lambda: nn.RMSNorm(4), floats(2, 4)),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(2), floats(2, 4, 3)), "Dropout": (lambda: nn.Dropout(0.5), floats(4, 5)),
    "Dropout2d": (lambda: nn.Dropout2d(0.5), floats(2, 4, 3, 3)), "AlphaDropout": (lambda: nn.AlphaDropout(0.5), floats(4, 5)),
    "Embedding": (lambda: nn.Embedding(7, 3, padding_idx=0), numbers(7, 2, 4)), "EmbeddingBag": (lambda: nn.EmbeddingBag(7, 3, mode="mean"), numbers(7, 2, 4)),
    "RNN": (lambda: nn.RNN(3, 4), floats(5, 2, 3)), "LSTM": (lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True), floats(2, 5, 3)),
    "GRU": (lambda: nn.GRU(3, 4), floats(5, 2, 3)), "LSTMCell": (lambda: nn.LSTMCell(3, 4), floats(2, 3)),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(4, 2, batch_first=True), floats(2, 3, 4), floats(2, 5, 4), floats(2, 5, 4)),
    "TransformerDecoderLayer": (lambda: nn.TransformerDecoderLayer(4, 2, 8, dropout=0.2), floats(3, 2, 4), floats(5, 2, 4)),
    "PReLU": (lambda: nn.PReLU(3), floats(2, 3)), "RReLU": (lambda: nn.RReLU(), floats(2, 3)), "GLU": (lambda: nn.GLU(), floats(2, 4)),
    "Softmax": (lambda: nn.Softmax(-1), floats(2, 4)), "Softplus": (lambda: nn.Softplus(), floats(2, 4)), "GELU": (lambda: nn.GELU(), floats(2, 4)),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), floats(1, 4, 2, 2)), "ReflectionPad2d": (lambda: nn.ReflectionPad2d(1), floats(1, 2, 3, 3)),
    "CosineSimilarity": (lambda: nn.CosineSimilarity(), floats(2, 4), floats(2, 4)), "Unfold": (lambda: nn.Unfold(2), floats(1, 2, 3, 3)),
}


def layer_results(make, arrays, device):
    """Outputs of a layer in training and in evaluation, its gradients and its buffers."""
    tg.manual_seed(0)
    layer = make().double().to(device)
    tg.manual_seed(1)
    inputs = [tg.tensor(a, device=device, requires_grad=a.dtype.kind == "f") for a in arrays]
    ys = float_outputs(layer(*inputs))
    sum((y * tg.tensor(w, device=device)).sum() for y, w in zip(ys, cotangents(ys, 5))).backward()
    gradients = [x.grad for x in (*inputs, *layer.parameters()) if x.grad is not None]
    layer.eval()
    return [*ys, *gradients, *layer.buffers(), *float_outputs(layer(*inputs))]


@pytest.mark.parametrize("name", LAYERS)
def test_layers(device, name):
    make, *arrays = LAYERS[name]
    expected, found = (layer_results(make, arrays, where) for where in ("cpu", device))
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        assert a.is_cuda and a.dtype == b.dtype
        np.testing.assert_allclose(host(a), host(b), rtol=1e-9, atol=1e-10)


# -- optimizers and training -------------------------------------------------------------------------------------------

METHODS = [name for name in optim.__all__ if isinstance(getattr(optim, name), type) and issubclass(getattr(optim, name), optim.Optimizer)
           and name != "Optimizer"]
ARGUMENTS = {"SGD": dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1), "Adam": dict(amsgrad=True)}
WITH_BACKWARD_OF_THEIR_OWN, WITH_RESIDUALS = {"CoordinateDescent", "Newton"}, {"GaussNewton", "LevenbergMarquardt"}


def trained(name, device):
    """Parameters after some steps."""
    tg.manual_seed(0)
    model = nn.Linear(4, 2).double().to(device)       # and a quadratic loss: elsewhere Newton's steps magnify rounding
    x, t = (tg.tensor(a, device=device) for a in (floats(6, 4), floats(6, 2)))
    params = [p for p in model.parameters() if p.ndim == 2] if name == "Muon" else model.parameters()
    optimizer = getattr(optim, name)(params, **ARGUMENTS.get(name, {}))

    def closure():
        optimizer.zero_grad()
        if name in WITH_RESIDUALS:
            return (model(x) - t).flatten()
        loss = nn.functional.mse_loss(model(x), t)
        if name not in WITH_BACKWARD_OF_THEIR_OWN:
            loss.backward()
        return loss
    for _ in range(3):
        optimizer.step(closure)
    return [*model.parameters(), *[v for state in optimizer.state.values() for v in state.values() if isinstance(v, tg.Tensor)]]


@pytest.mark.parametrize("name", METHODS)
def test_optimizers(device, name):
    for a, b in zip(trained(name, device), trained(name, "cpu")):
        np.testing.assert_allclose(host(a), host(b), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_training_goes_as_on_the_cpu(device, model):
    for optimizer in OPTIMIZERS:
        losses = []
        for where in ("cpu", device):
            training = Training(model, optimizer, where, tg.float64)
            losses.append([training.step().item() for _ in range(3)])
        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-7)


@pytest.mark.parametrize("model", MODELS)
def test_captured_steps_go_as_eager_ones(device, model):
    """With dropout, running statistics, clipping and a schedule; on a device sums of floats may come in another order."""
    found = []
    for captured in (False, True):
        training = Training(model, "AdamW", device, tg.float64)
        if captured:
            training.update = tg.cuda.graph(training.update)
        losses = [training.step().item() for _ in range(8)]
        found.append([*losses, *[host(t) for t in (*training.model.parameters(), *training.model.buffers())], host(tg.get_rng_state())])
    assert training.update.refused == ""
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)


def test_graphs_draw_anew_and_collect_losses(device):
    losses, x = tg.cuda.LossBuffer(4, device=device), tg.ones(1000, device=device)
    seeded = tg.manual_seed(5)
    expected = [nn.functional.dropout(x, 0.25).sum().item() for _ in range(6)]
    g = tg.cuda.CUDAGraph()
    with tg.cuda.graph(g):
        losses.append(nn.functional.dropout(x, 0.25).sum())
    seeded.manual_seed(5)
    found = []
    for _ in range(6):
        g.replay()
        found += losses.read().tolist() if losses.full() else []
    assert [*found, *losses.read().tolist()] == expected and len(set(expected)) > 3


# -- random numbers, data, models on their way -------------------------------------------------------------------------

def test_random_numbers_are_the_same_on_every_device(device):
    for draw in (lambda where: tg.rand(5, device=where), lambda where: tg.randn(7, device=where, dtype=tg.float64), lambda where: tg.randperm(9, device=where),
                 lambda where: tg.randint(0, 10, (20,), device=where), lambda where: tg.bernoulli(tg.full((9,), 0.5, device=where))):
        found = []
        for where in ("cpu", device):
            tg.cuda.manual_seed(3)
            draw(where)
            found.append(draw(where))
        assert found[1].is_cuda
        np.testing.assert_allclose(host(found[1]), host(found[0]), rtol=1e-6)


def test_loaders_feed_the_device(device):
    data = tg.data.TensorDataset(tg.arange(10), tg.randn(10, 2))
    batches = list(tg.data.DataLoader(data, 3))
    for loader in (tg.data.DataLoader(data, 3, pin_memory=True), tg.data.DataLoader(data, 3, pin_memory=True, num_workers=2)):
        for (a, b), (c, d) in zip(tg.data.Prefetcher(loader, device, ahead=2), batches, strict=True):
            assert a.is_cuda and host(a * 2).tolist() == (c * 2).tolist() and np.array_equal(host(b + 1), host(d + 1))
        assert all(np.array_equal(host(a.to(device, non_blocking=True)), host(c)) for (a, _), (c, _) in zip(loader, batches))


def test_models_and_states_go_there_and_back(device, tmp_path):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).to(device)
    x = tg.randn(4, 3, device=device)
    y = model.eval()(x)
    tg.save(model.state_dict(), tmp_path / "model")
    other = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    other.load_state_dict({name: t.cpu() for name, t in tg.load(tmp_path / "model").items()})
    for twin in (other.eval().cuda(), copy.deepcopy(model), pickle.loads(pickle.dumps(model)).to(device)):
        np.testing.assert_allclose(host(twin(x)), host(y), rtol=1e-6)
    assert model.cpu()[0].weight.is_cpu and "device" in repr(y) or "cuda" in repr(y)


def test_memory_and_streams(device):
    tg.cuda.reset_peak_memory_stats()
    before = tg.cuda.memory_allocated()
    x = tg.zeros(1 << 18, device=device)
    y = x + 1
    assert tg.cuda.max_memory_allocated() - before >= x.nbytes + y.nbytes
    start, end = tg.cuda.Event(enable_timing=True), tg.cuda.Event(enable_timing=True)
    side = tg.cuda.Stream()
    side.wait_stream(tg.cuda.current_stream())
    with tg.cuda.stream(side):
        start.record()
        z = y * 2
        end.record()
    tg.cuda.current_stream().wait_stream(side)
    assert z.sum().item() == 2 << 18
    tg.cuda.synchronize()
    assert side.query() and start.elapsed_time(end) > 0
    with pytest.raises(tg.cuda.OutOfMemoryError, match="Take a smaller batch"):
        tg.zeros(tg.cuda.mem_get_info()[1] // 2, device=device)           # of four bytes each
    assert (x + y).sum().item() == 1 << 18
