"""bfloat16 beside PyTorch's: conversions bit for bit, promotion, operations and training within its precision, what autocast converts."""
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
ml_dtypes = pytest.importorskip("ml_dtypes")

import tinygrad_ed as tg  # noqa: E402
import tinygrad_ed.nn.functional as F  # noqa: E402
from tinygrad_ed import nn, optim  # noqa: E402

B, TF = tg.bfloat16, torch.nn.functional
EVERY = np.arange(2**16, dtype=np.uint16)             # every bfloat16 there is


def to_torch(x):
    """The same bits in PyTorch."""
    return torch.from_numpy(x.detach().data.view(np.int16).copy()).view(torch.bfloat16)


def bits(t):
    """The bits of PyTorch's bfloat16, with one NaN for all."""
    t = t.detach()
    return torch.where(t.isnan(), torch.tensor(0x7FC0, dtype=torch.int16), t.view(torch.int16)).numpy().view(np.uint16)


def own_bits(t):
    """The same of ours."""
    return np.where(np.isnan(t.detach().float().numpy()), np.uint16(0x7FC0), t.detach().data.view(np.uint16))


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "bool"])
def test_conversions_are_equal_bit_for_bit(name):
    raw = np.random.default_rng(0).integers(0, 2**64, 50000, dtype=np.uint64)
    size = np.dtype(name).itemsize
    x = (raw & 1).astype(bool) if name == "bool" else raw.astype(f"u{size}").view(name)
    np.testing.assert_array_equal(own_bits(tg.tensor(x).to(B)), bits(torch.from_numpy(x).to(torch.bfloat16)))
    every = tg.tensor(EVERY.view(B))
    if name[0] in "iu":                               # what does not fit has no defined result
        every = every[every.float().abs() < 100]
        every = every[every >= 0] if name == "uint8" else every
    ours, theirs = every.to(name).numpy(), to_torch(every).to(getattr(torch, name)).numpy()
    np.testing.assert_array_equal(ours, theirs)


def test_lists_and_numbers_become_the_same():
    values = [0.1, 1 / 3, 3.0e38, 3.4e38, 1e-40, -2.5, 257, 65535]
    np.testing.assert_array_equal(own_bits(tg.tensor(values, dtype=B)), bits(torch.tensor(values, dtype=torch.bfloat16)))
    for f in (lambda lib, d: lib.full((2,), 0.1, dtype=d), lambda lib, d: lib.arange(0, 2, 0.3, dtype=d), lambda lib, d: lib.ones(2, dtype=d) * 0.1):
        np.testing.assert_array_equal(own_bits(f(tg, B)), bits(f(torch, torch.bfloat16)))
    for values in ([1.0, 2.71828], [1e-8, 1.0], [1e10], [float("nan"), 1.5], []):
        assert repr(tg.tensor(values, dtype=B)) == repr(torch.tensor(values, dtype=torch.bfloat16)).replace("torch.", "")


DTYPES = ["bfloat16", "float16", "float32", "float64", "uint8", "int64", "bool"]


@pytest.mark.parametrize("a, b", list(itertools.product(DTYPES, DTYPES)))
@pytest.mark.parametrize("shapes", [((2,), (2,)), ((), (2,)), ((2,), ()), ((), ())])
def test_promotion(a, b, shapes):
    ours = tg.result_type(tg.ones(shapes[0], dtype=a), tg.ones(shapes[1], dtype=b))
    theirs = torch.result_type(torch.ones(shapes[0], dtype=getattr(torch, a)), torch.ones(shapes[1], dtype=getattr(torch, b)))
    assert f"torch.{ours}" == str(theirs)
    assert (tg.ones(shapes[0], dtype=a) * tg.ones(shapes[1], dtype=b)).dtype == ours


SHAPES = {"linear": [(6, 32), (16, 32), (16,)], "matmul": [(4, 6, 32), (4, 32, 5)], "conv2d": [(2, 3, 8, 8), (4, 3, 3, 3), (4,)],
          "layer_norm": [(6, 32), (32,), (32,)], "attention": [(2, 5, 8), (2, 7, 8), (2, 7, 8)], "cross_entropy": [(6, 10)]}
FUNCTIONS = {
    **{name: ((lambda F, lib, x, name=name: getattr(lib, name)(x)), [(40,)]) for name in
       ("exp", "tanh", "sigmoid", "sqrt", "log1p", "abs", "neg", "square", "reciprocal", "erf", "sin", "relu")},
    **{name: ((lambda F, lib, x, name=name: getattr(F, name)(x)), [(40,)]) for name in ("gelu", "silu", "softplus", "elu", "hardswish", "mish")},
    "add": (lambda F, lib, a, b: a + b, [(5, 8), (8,)]), "sub": (lambda F, lib, a, b: a - b, [(5, 8), (8,)]), "mul": (lambda F, lib, a, b: a * b, [(5, 8), (8,)]),
    "div": (lambda F, lib, a, b: a / b, [(5, 8), (8,)]), "a number": (lambda F, lib, x: x * 1.1, [(40,)]), "softmax": (lambda F, lib, x: lib.softmax(x, -1), [(5, 20)]),
    "linear": (lambda F, lib, x, w, b: F.linear(x, w, b), SHAPES["linear"]), "matmul": (lambda F, lib, a, b: a @ b, SHAPES["matmul"]),
    "conv2d": (lambda F, lib, x, w, b: F.conv2d(x, w, b, padding=1), SHAPES["conv2d"]),
    "layer_norm": (lambda F, lib, x, w, b: F.layer_norm(x, (32,), w, b), SHAPES["layer_norm"]),
    "rms_norm": (lambda F, lib, x, w: F.rms_norm(x, (32,), w, 1e-5), [(6, 32), (32,)]),
    "attention": (lambda F, lib, q, k, v: F.scaled_dot_product_attention(q, k, v), SHAPES["attention"]),
    "cross_entropy": (lambda F, lib, x: F.cross_entropy(x, lib.arange(6)), SHAPES["cross_entropy"]),
    "max_pool": (lambda F, lib, x: F.max_pool2d(x, 2), [(2, 3, 6, 6)]), "sum": (lambda F, lib, x: x.sum(0), [(300, 4)]), "mean": (lambda F, lib, x: x.mean(), [(30, 4)]),
    "cat": (lambda F, lib, a, b: lib.cat([a, b]), [(2, 3), (4, 3)]), "index": (lambda F, lib, x: x[1:, ::2], [(4, 6)])}
ROUNDS_ONCE = {"add", "sub", "mul", "a number", "abs", "neg", "square", "relu", "max_pool", "cat", "index"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operations_and_their_gradients(name):
    f, shapes = FUNCTIONS[name]
    rng = np.random.default_rng(1)
    ours = [tg.tensor(np.abs(rng.normal(size=s)) + 0.1 if name in ("sqrt", "log1p", "reciprocal", "div") else rng.normal(size=s), dtype=B, requires_grad=True)
            for s in shapes]
    theirs = [to_torch(x).requires_grad_() for x in ours]
    y, z = f(F, tg, *ours), f(TF, torch, *theirs)
    assert y.dtype is B and z.dtype == torch.bfloat16 and tuple(z.shape) == y.shape
    g = tg.tensor(rng.normal(size=y.shape), dtype=B)
    y.backward(g)
    z.backward(to_torch(g).reshape(z.shape))
    assert all(x.grad.dtype is B for x in ours)
    if name in ROUNDS_ONCE:
        np.testing.assert_array_equal(own_bits(y), bits(z))
    for a, b in ((y, z), *((x.grad, t.grad) for x, t in zip(ours, theirs))):
        scale = b.detach().float().abs().max().item()
        np.testing.assert_allclose(a.detach().float().numpy(), b.detach().float().numpy(), rtol=2**-6, atol=2**-6 * scale)


@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_autocast_has_pytorchs_default(device_type):
    assert str(tg.amp.autocast(device_type).fast_dtype) == str(torch.get_autocast_dtype(device_type)).removeprefix("torch.")


def test_autocast_converts_what_pytorch_converts():
    x = tg.arange(6.0).reshape(2, 3) / 4
    t = torch.arange(6.0).reshape(2, 3) / 4
    calls = [lambda lib, F, x: x @ x.t(), lambda lib, F, x: F.linear(x, lib.ones(4, 3)), lambda lib, F, x: (x @ x.t()).relu(),
             lambda lib, F, x: F.conv1d(x[None], lib.ones(4, 2, 1)), lambda lib, F, x: x + 1, lambda lib, F, x: (x @ x.t()) + x.sum(1),
             lambda lib, F, x: x.double() @ x.double().t(), lambda lib, F, x: F.scaled_dot_product_attention(x[None], x[None], x[None])]
    for call in calls:
        with tg.amp.autocast("cpu"), torch.amp.autocast("cpu"):
            a, b = call(tg, F, x), call(torch, TF, t)
        assert str(a.dtype) == str(b.dtype).removeprefix("torch.")
        np.testing.assert_allclose(a.float().numpy(), b.float().numpy(), rtol=2**-7)


@pytest.mark.parametrize("name, options", [("SGD", {"lr": 0.1, "momentum": 0.9}), ("AdamW", {"lr": 0.01})])
def test_training_in_autocast(name, options):
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    twin = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
    twin.load_state_dict({key: torch.from_numpy(value.numpy().copy()) for key, value in model.state_dict().items()})
    ours, theirs = getattr(optim, name)(model.parameters(), **options), getattr(torch.optim, name)(twin.parameters(), **options)
    x, target = np.random.default_rng(0).normal(size=(16, 8)).astype("float32"), np.arange(16) % 4
    for _ in range(5):
        with tg.amp.autocast("cpu"), torch.amp.autocast("cpu"):
            a, b = F.cross_entropy(model(tg.tensor(x)), tg.tensor(target)), TF.cross_entropy(twin(torch.tensor(x)), torch.tensor(target))
        assert a.item() == pytest.approx(b.item(), rel=0.02) and a.dtype == tg.float32
        for optimizer, loss in ((ours, a), (theirs, b)):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert {p.grad.dtype for p in model.parameters()} == {tg.float32}


def test_files_are_exchanged(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    every = tg.tensor(EVERY.view(B))
    tg.save({"w": every}, tmp_path / "ours")
    found = safetensors.load_file(tmp_path / "ours")["w"]
    assert found.dtype == torch.bfloat16 and np.array_equal(bits(found), own_bits(every))
    safetensors.save_file({"w": found}, tmp_path / "theirs")
    assert tg.load(tmp_path / "theirs")["w"].data.tobytes() == every.data.tobytes()
