"""Normalisation layers against PyTorch: outputs and gradients in training and evaluation, statistics, states, printed forms, signatures, errors."""
import inspect
import warnings

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import tinygrad_ed as tg  # noqa: E402
from tinygrad_ed import nn  # noqa: E402

BATCH = [{}, {"momentum": None}, {"momentum": 0.7, "eps": 0.1}, {"affine": False}, {"bias": False}, {"track_running_stats": False},
         {"affine": False, "track_running_stats": False}]
INSTANCE = [{}, {"affine": True}, {"affine": True, "bias": False}, {"affine": True, "track_running_stats": True, "momentum": 0.4}]
LAYERS = [
    *[("BatchNorm1d", (3,), o, (5, 3)) for o in BATCH], *[("BatchNorm1d", (3,), o, (5, 3, 4)) for o in BATCH[:3]],
    *[("BatchNorm2d", (3,), o, (2, 3, 4, 5)) for o in BATCH], *[("BatchNorm3d", (3,), o, (2, 3, 2, 3, 4)) for o in BATCH[:2]],
    ("BatchNorm2d", (2,), {}, (2, 2, 20, 20)),
    *[("InstanceNorm1d", (3,), o, (2, 3, 5)) for o in INSTANCE], *[("InstanceNorm2d", (3,), o, (2, 3, 4, 5)) for o in INSTANCE],
    *[("InstanceNorm3d", (3,), o, (2, 3, 2, 3, 4)) for o in INSTANCE], ("InstanceNorm2d", (3,), {"affine": True}, (3, 4, 5)),
    *[("LayerNorm", (5,), o, (2, 4, 5)) for o in ({}, {"bias": False}, {"elementwise_affine": False}, {"eps": 0.1})],
    ("LayerNorm", ((4, 5),), {}, (2, 4, 5)), ("LayerNorm", ([2, 4, 5],), {}, (2, 4, 5)),
    *[("RMSNorm", (5,), o, (2, 4, 5)) for o in ({}, {"elementwise_affine": False}, {"eps": 0.1})], ("RMSNorm", ((4, 5),), {}, (2, 4, 5)),
    *[("GroupNorm", (2, 6), o, (3, 6, 4)) for o in ({}, {"affine": False}, {"bias": False}, {"eps": 0.1})],
    ("GroupNorm", (3, 6), {}, (2, 6, 4, 5)), ("GroupNorm", (2, 6), {}, (3, 6)),
    *[("LocalResponseNorm", (n,), o, (2, 6, 4)) for n in (1, 2, 3) for o in ({}, {"alpha": 0.5, "beta": 1.0, "k": 2.0})],
    ("LocalResponseNorm", (3,), {"alpha": 0.5}, (2, 4, 3, 5)),
]
layers = pytest.mark.parametrize("name, args, options, shape", LAYERS)


def pair(name, args, options):
    """The same layer here and there, with the same random parameters; the state goes both ways."""
    ours, theirs = (getattr(module, name)(*args, **options).double() for module in (nn, torch.nn))
    assert [(k, tuple(t.shape), str(t.dtype)) for k, t in ours.state_dict().items()] == [
        (k, tuple(t.shape), str(t.dtype).removeprefix("torch.")) for k, t in theirs.state_dict().items()]
    assert repr(ours) == repr(theirs)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.from_numpy(rng.normal(size=p.shape)))
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict({k: torch.from_numpy(t.numpy().copy()) for k, t in ours.state_dict().items()})
    return ours, theirs


def compare(ours, theirs, x, seed):
    """Output, gradients of input and parameters, and buffers."""
    w = np.random.default_rng(seed).normal(size=x.shape)
    a, b = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(a), theirs(b)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-12)
    mine = tg.autograd.grad(y, [a, *ours.parameters()], tg.tensor(w))
    his = torch.autograd.grad(z, [b, *theirs.parameters()], torch.from_numpy(w))
    for g, h in zip(mine, his):
        np.testing.assert_allclose(g.numpy(), h.numpy(), rtol=1e-8, atol=1e-10)
    for (name, p), (other, q) in zip(ours.named_buffers(), theirs.named_buffers()):
        assert name == other
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-12)


@layers
def test_training_statistics_and_evaluation(name, args, options, shape):
    ours, theirs = pair(name, args, options)
    rng = np.random.default_rng(1)
    for step in range(3):
        compare(ours, theirs, rng.normal(1, 2, shape), step)
    compare(ours.eval(), theirs.eval(), rng.normal(1, 2, shape), 9)
    compare(ours.train(), theirs.train(), rng.normal(1, 2, shape), 10)


@pytest.mark.parametrize("name", sorted({layer[0] for layer in LAYERS} | {"LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d"}))
def test_signatures(name):
    mine, his = (inspect.signature(getattr(module, name).__init__).parameters.values() for module in (nn, torch.nn))
    assert [(p.name, p.default, p.kind) for p in mine] == [(p.name, p.default, p.kind) for p in his]


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm", "layer_norm", "group_norm", "rms_norm", "local_response_norm", "normalize"])
def test_signatures_of_functions(name):
    mine, his = (inspect.signature(getattr(module, name)).parameters.values() for module in (nn.functional, torch.nn.functional))
    assert [(p.name, p.default) for p in mine] == [(p.name, p.default) for p in his]


@pytest.mark.parametrize("name, args, shape", [
    ("BatchNorm1d", (3,), (1, 3)), ("BatchNorm1d", (3,), (4, 2)), ("BatchNorm1d", (3,), (3,)), ("BatchNorm1d", (3,), (2, 3, 4, 5)),
    ("BatchNorm2d", (3,), (2, 3, 4)), ("BatchNorm2d", (3,), (1, 3, 1, 1)), ("BatchNorm3d", (3,), (2, 3, 4, 5)), ("InstanceNorm1d", (3,), (2, 3, 1)),
    ("InstanceNorm2d", (3,), (2, 3)), ("LayerNorm", (3,), (3, 2)), ("LayerNorm", ((2, 3),), (3,)), ("RMSNorm", (3,), (3, 2)),
    ("GroupNorm", (2, 4), (3, 6)), ("GroupNorm", (2, 4), (4,)), ("LocalResponseNorm", (2,), (3, 4))])
def test_both_refuse(name, args, shape):
    for module, ones in ((torch.nn, torch.ones), (nn, tg.ones)):
        layer = getattr(module, name)(*args)
        with pytest.raises((RuntimeError, ValueError)):
            layer(ones(shape))


@pytest.mark.parametrize("build", [lambda nn: nn.GroupNorm(4, 6)])
def test_both_refuse_to_be_made(build):
    for module in (torch.nn, nn):
        with pytest.raises(ValueError):
            build(module)


def test_a_loaded_state_goes_on_as_in_pytorch():
    """After k steps there, one more step here gives the same statistics."""
    theirs = torch.nn.BatchNorm2d(3, momentum=None)
    rng = np.random.default_rng(0)
    for _ in range(4):
        theirs(torch.from_numpy(rng.normal(size=(4, 3, 2, 2)).astype("float32")))
    ours = nn.BatchNorm2d(3, momentum=None)
    ours.load_state_dict(theirs.state_dict())
    x = rng.normal(size=(4, 3, 2, 2)).astype("float32")
    ours(tg.tensor(x)), theirs(torch.from_numpy(x))
    for k, v in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[k].numpy(), v.numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", ["BatchNorm1d", "InstanceNorm1d"])
def test_a_state_from_before_batches_were_counted_is_taken(name):
    for lib in (torch, tg):
        model = lib.nn.Sequential(lib.nn.Linear(2, 2), getattr(lib.nn, name)(2, track_running_stats=True))
        model[1].num_batches_tracked += 5
        old = {key: value * 0 + 3 for key, value in model.state_dict().items() if "num_batches" not in key}
        assert not model.load_state_dict(old).missing_keys
        assert model[1].num_batches_tracked.item() == 5 and model[1].running_mean[0].item() == 3
        del old["1.running_mean"]
        with pytest.raises(RuntimeError, match="1.running_mean"):
            model.load_state_dict(old)


def test_lazy_layers_become_the_same():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                # PyTorch: lazy modules are a new feature
        theirs = torch.nn.LazyBatchNorm2d(eps=1e-4, bias=False)
    ours = nn.LazyBatchNorm2d(eps=1e-4, bias=False)
    x = np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype("float32")
    y, z = ours(tg.tensor(x)), theirs(torch.from_numpy(x))
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
