"""Optimizers against PyTorch: 50 steps, defaults, state_dict both ways, printed forms, refusals."""
import inspect

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import tinygrad_ed as tg  # noqa: E402
from tinygrad_ed import nn, optim  # noqa: E402

CASES = [
    ("SGD", {}), ("SGD", dict(lr=0.1)), ("SGD", dict(lr=0.1, momentum=0.9)), ("SGD", dict(lr=0.1, momentum=0.9, dampening=0.2)),
    ("SGD", dict(lr=0.1, momentum=0.9, nesterov=True)), ("SGD", dict(lr=0.1, weight_decay=0.1, momentum=0.5, maximize=True)),
    ("Adam", {}), ("Adam", dict(lr=0.1, betas=(0.8, 0.9), eps=1e-3)), ("Adam", dict(lr=0.1, weight_decay=0.1)),
    ("Adam", dict(lr=0.1, amsgrad=True)), ("Adam", dict(lr=0.1, maximize=True, weight_decay=0.1, decoupled_weight_decay=True)),
    ("AdamW", {}), ("AdamW", dict(lr=0.1, weight_decay=0.3)), ("AdamW", dict(lr=0.1, amsgrad=True, maximize=True)),
]
IDS = [f"{name}-{'-'.join(f'{k}={v}' for k, v in options.items())}" for name, options in CASES]
SHAPES = [(3, 2), (4,), (), (2, 1, 2)]


def both(name, options, seed=0):
    """Optimizers here and there over equal parameters."""
    rng = np.random.default_rng(seed)
    values = [np.asarray(rng.normal(size=shape)) for shape in SHAPES]
    ours, theirs = [nn.Parameter(tg.tensor(v)) for v in values], [torch.nn.Parameter(torch.tensor(v)) for v in values]
    return (ours, getattr(optim, name)(ours, **options)), (theirs, getattr(torch.optim, name)(theirs, **options))


def step(ours, theirs, rng, n):
    """n steps with equal gradients; the third parameter gets one only every other time."""
    (ps, mine), (qs, his) = ours, theirs
    for k in range(n):
        for i, (p, q) in enumerate(zip(ps, qs)):
            g = np.asarray(rng.normal(size=p.shape))
            p.grad, q.grad = (tg.tensor(g), torch.tensor(g)) if i != 2 or k % 2 else (None, None)
        mine.step()
        his.step()


def assert_equal(ps, qs):
    for p, q in zip(ps, qs):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-10)


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_fifty_steps(name, options):
    ours, theirs = both(name, options)
    step(ours, theirs, np.random.default_rng(1), 50)
    assert_equal(ours[0], theirs[0])


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_state_goes_both_ways(name, options):
    ours, theirs = both(name, options)
    rng = np.random.default_rng(1)
    step(ours, theirs, rng, 5)
    a, b = ours[1].state_dict(), theirs[1].state_dict()
    assert list(a) == list(b) and list(a["state"]) == list(b["state"]) and a["param_groups"] == b["param_groups"]
    for i in a["state"]:
        assert list(a["state"][i]) == list(b["state"][i])
        for key, value in a["state"][i].items():
            assert tuple(b["state"][i][key].shape) == value.shape and str(b["state"][i][key].dtype) == f"torch.{value.dtype}"
            np.testing.assert_allclose(value.numpy(), b["state"][i][key].numpy(), rtol=1e-10)

    other_ours, other_theirs = both(name, options)
    for p, q in zip([*other_ours[0], *other_theirs[0]], [*ours[0], *theirs[0]]):
        with tg.no_grad(), torch.no_grad():
            p.copy_(q)
    other_ours[1].load_state_dict(b)
    other_theirs[1].load_state_dict({"state": {i: {k: torch.tensor(v.numpy()) for k, v in s.items()} for i, s in a["state"].items()},
                                     "param_groups": a["param_groups"]})
    step(other_ours, other_theirs, rng, 5)
    assert_equal(other_ours[0], other_theirs[0])


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_printed_form_and_defaults(name, options):
    (_, ours), (_, theirs) = both(name, options)
    assert repr(ours) == repr(theirs) and ours.defaults == theirs.defaults


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_arguments(name):
    a, b = (inspect.signature(getattr(lib, name)).parameters for lib in (optim, torch.optim))
    assert list(a) == list(b) and [(p.kind, p.default) for p in a.values()] == [(p.kind, p.default) for p in b.values()]


def test_refusals_agree():
    for lib, n, o in ((tg, nn, optim), (torch, torch.nn, torch.optim)):
        p, q = n.Parameter(lib.ones(2)), n.Parameter(lib.ones(2))
        for error, act in [
                (ValueError, lambda: o.SGD([])), (TypeError, lambda: o.SGD(p)), (TypeError, lambda: o.SGD([{"params": {p, q}}])),
                (TypeError, lambda: o.SGD([1.0])), (ValueError, lambda: o.SGD([p * 2])), (ValueError, lambda: o.SGD([p], lr=-1)),
                (ValueError, lambda: o.Adam([p], betas=(1.0, 0.5))), (ValueError, lambda: o.SGD([p], nesterov=True)),
                (ValueError, lambda: o.SGD([{"params": [p]}, {"params": [p]}])), (TypeError, lambda: o.SGD([p]).add_param_group([q])),
                (ValueError, lambda: o.SGD([p]).load_state_dict(o.SGD([p, q]).state_dict()))]:
            with pytest.raises(error):
                act()


def test_named_parameters_are_kept_in_the_state():
    a = optim.SGD(nn.Linear(1, 1).named_parameters()).state_dict()["param_groups"]
    b = torch.optim.SGD(torch.nn.Linear(1, 1).named_parameters()).state_dict()["param_groups"]
    assert a == b and a[0]["param_names"] == ["weight", "bias"]
