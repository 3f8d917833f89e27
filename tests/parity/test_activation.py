"""Activation layers against PyTorch: outputs, gradients, printed forms, signatures, states, kinks, what is refused."""
import inspect
import warnings

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import tinygrad_ed as tg  # noqa: E402
from tinygrad_ed import nn  # noqa: E402

LAYERS = [
    *[(name, (), {}) for name in ("Sigmoid", "Tanh", "LogSigmoid", "Softsign", "Tanhshrink", "ReLU", "ReLU6", "SiLU", "Mish", "SELU", "Hardsigmoid",
                                  "Hardswish", "GLU", "Softmax2d")],
    *[(name, (), {"inplace": True}) for name in ("ReLU", "ReLU6", "SiLU", "Mish", "SELU", "ELU", "CELU", "LeakyReLU", "Hardtanh")],
    *[("GELU", (), o) for o in ({}, {"approximate": "tanh"})], *[("ELU", (), o) for o in ({}, {"alpha": 0.7})],
    *[("CELU", (), o) for o in ({}, {"alpha": 0.7})], *[("Softplus", (), o) for o in ({}, {"beta": 2.0}, {"threshold": 1.0})],
    *[("LeakyReLU", (), o) for o in ({}, {"negative_slope": 0.3}, {"negative_slope": 1.7}, {"negative_slope": -0.3})],
    *[("Hardtanh", (), o) for o in ({}, {"min_val": -0.5, "max_val": 2.0})], *[("Threshold", (0.3, -1.5), o) for o in ({}, {"inplace": True})],
    *[("Hardshrink", (), o) for o in ({}, {"lambd": 1.0})], *[("Softshrink", (), o) for o in ({}, {"lambd": 1.0})],
    *[("PReLU", a, {}) for a in ((), (4,))], ("PReLU", (1,), {"init": 0.7}), ("RReLU", (), {}), ("RReLU", (0.1, 0.7), {}),
    *[(name, (), {"dim": d}) for name in ("Softmax", "LogSoftmax", "Softmin") for d in (0, 1, -1)], ("GLU", (), {"dim": 1}),
]


@pytest.mark.parametrize("name, args, options", LAYERS)
def test_outputs_gradients_and_printed_forms(name, args, options):
    ours, theirs = (getattr(module, name)(*args, **options).double().eval() for module in (nn, torch.nn))
    if not (name in ("Hardsigmoid", "Hardswish") and options):
        assert repr(ours) == repr(theirs)
    assert [(k, tuple(v.shape)) for k, v in ours.state_dict().items()] == [(k, tuple(v.shape)) for k, v in theirs.state_dict().items()]
    for shape in [(3, 4, 2, 6)] if name != "Softmax2d" else [(3, 4, 2, 6), (4, 2, 6)]:
        rng = np.random.default_rng(0)
        x = rng.normal(0, 3, shape)
        a, b = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, z = ours(a * 1), theirs(b * 1)
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-13)
        w = rng.normal(size=tuple(z.shape))
        mine = tg.autograd.grad(y, [a, *ours.parameters()], tg.tensor(w))
        his = torch.autograd.grad(z, [b, *theirs.parameters()], torch.from_numpy(w))
        for g, h in zip(mine, his):
            np.testing.assert_allclose(g.numpy(), h.numpy(), rtol=1e-7, atol=1e-9)     # PyTorch rounds 1/6 to float32


@pytest.mark.parametrize("name", sorted({layer[0] for layer in LAYERS}))
def test_signatures(name):
    mine, his = (inspect.signature(getattr(module, name).__init__).parameters.values() for module in (nn, torch.nn))
    ignored = ("kwargs", "args", "min_value", "max_value")           # PyTorch's own leftovers
    if name in ("Sigmoid", "Tanh", "LogSigmoid", "Softsign", "Tanhshrink", "Softmax2d"):
        return                                                       # no arguments of their own
    assert [(p.name, p.default) for p in mine] == [(p.name, p.default) for p in his if p.name not in ignored]


@pytest.mark.parametrize("name", ["celu", "elu", "gumbel_softmax", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "mish", "relu", "relu6",
                                  "rrelu", "selu", "silu", "softmax", "softmin", "log_softmax", "glu"])
def test_signatures_of_functions(name):
    mine, his = (inspect.signature(getattr(module, name)).parameters.values() for module in (nn.functional, torch.nn.functional))
    assert [(p.name, p.default) for p in mine if p.name != "generator"] == [(p.name, p.default) for p in his]


KINKS = [0.0, -0.0, 3.0, -3.0, 0.5, -0.5, 6.0, 1.0, -1.0, 20.0, -20.0, 100.0, -100.0, 1000.0, -1000.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name, options", [
    *[(n, {}) for n in ("gelu", "silu", "mish", "softplus", "logsigmoid", "softsign", "elu", "celu", "selu", "hardtanh", "relu6", "relu",
                        "hardsigmoid", "hardswish", "leaky_relu", "hardshrink", "softshrink", "tanh", "sigmoid", "tanhshrink")],
    ("elu", {"alpha": 2.0}), ("celu", {"alpha": 2.0}), ("threshold", {"threshold": 0.5, "value": 2.0}), ("leaky_relu", {"negative_slope": 0.0}),
    ("softplus", {"threshold": 3.0}), ("softplus", {"beta": 3.0}), ("gelu", {"approximate": "tanh"})])
def test_kinks_and_extremes(name, options, dtype):
    x, t = tg.tensor(np.array(KINKS, dtype), requires_grad=True), torch.tensor(np.array(KINKS, dtype), requires_grad=True)
    y, z = getattr(nn.functional, name)(x, **options), getattr(torch.nn.functional, name)(t, **options)
    tolerance = 2e-6 if dtype == "float32" else 1e-7
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=tolerance, atol=tolerance)
    g, = tg.autograd.grad(y.sum(), x)
    h, = torch.autograd.grad(z.sum(), t)
    np.testing.assert_allclose(g.numpy(), h.numpy(), rtol=tolerance, atol=tolerance)


def test_gumbel_softmax_has_the_same_distribution():
    logits = np.log(np.tile([0.5, 0.3, 0.2], (50_000, 1)))
    for hard in (False, True):
        y = nn.functional.gumbel_softmax(tg.tensor(logits), tau=0.8, hard=hard).numpy()
        z = torch.nn.functional.gumbel_softmax(torch.tensor(logits), tau=0.8, hard=hard).numpy()
        np.testing.assert_allclose(y.mean(0), z.mean(0), atol=0.02)
        np.testing.assert_allclose(y.std(0), z.std(0), atol=0.02)


def test_rrelu_has_the_same_distribution():
    x = np.full(50_000, -1.0)
    y = nn.functional.rrelu(tg.tensor(x), 0.1, 0.5, training=True).numpy()
    z = torch.nn.functional.rrelu(torch.tensor(x), 0.1, 0.5, training=True).numpy()
    assert abs(y.mean() - z.mean()) < 5e-3 and abs(y.std() - z.std()) < 5e-3


@pytest.mark.parametrize("build", [
    lambda m, ones: m.Hardtanh(1.0, -1.0), lambda m, ones: m.GLU()(ones(3)), lambda m, ones: m.PReLU(3)(ones(2, 4)),
    lambda m, ones: m.Softshrink(-1.0)(ones(2)),
    lambda m, ones: m.GELU("cubic")(ones(2)), lambda m, ones: m.Softmax2d()(ones(2, 3)), lambda m, ones: m.RReLU(0.5, 0.1)(ones(2))])
def test_both_refuse(build):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module, ones in ((torch.nn, torch.ones), (nn, tg.ones)):
            with pytest.raises((RuntimeError, ValueError, AssertionError)):
                build(module, ones)
