"""Optimizers against PyTorch: 50 steps with given gradients and on losses, defaults, state_dict both ways, printed forms, refusals."""
import inspect

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import tinygrad_ed as tg  # noqa: E402
from tinygrad_ed import nn, optim  # noqa: E402

DECAYED = dict(lr=0.1, weight_decay=0.1, maximize=True)
ADAM = [{}, dict(lr=0.1, betas=(0.8, 0.9), eps=1e-3), dict(lr=0.1, weight_decay=0.1), dict(lr=0.1, amsgrad=True),
        dict(lr=0.1, weight_decay=0.3, amsgrad=True, maximize=True)]
GRID = {
    "SGD": [{}, dict(lr=0.1), dict(lr=0.1, momentum=0.9), dict(lr=0.1, momentum=0.9, dampening=0.2),
            dict(lr=0.1, momentum=0.9, nesterov=True), dict(lr=0.1, weight_decay=0.1, momentum=0.5, maximize=True)],
    "Adam": [*ADAM, dict(DECAYED, decoupled_weight_decay=True)],
    "AdamW": ADAM,
    "ASGD": [{}, DECAYED, dict(lr=0.1, lambd=0.1, alpha=0.5, t0=5)],
    "Adagrad": [{}, DECAYED, dict(lr=0.1, lr_decay=0.1, initial_accumulator_value=0.5, eps=1e-3)],
    "Adadelta": [{}, DECAYED, dict(rho=0.5, eps=1e-2)],
    "RMSprop": [{}, DECAYED, dict(centered=True), dict(momentum=0.9), dict(momentum=0.5, centered=True, alpha=0.7, eps=0.01, weight_decay=0.1)],
    "Adamax": [{}, DECAYED, dict(lr=0.1, betas=(0.5, 0.7), eps=0.1)],
    "NAdam": [{}, DECAYED, dict(DECAYED, decoupled_weight_decay=True), dict(lr=0.1, betas=(0.5, 0.7), eps=0.1, momentum_decay=0.1)],
    "RAdam": [{}, DECAYED, dict(DECAYED, decoupled_weight_decay=True), dict(lr=0.1, betas=(0.5, 0.95), eps=0.1)],
    "Rprop": [{}, dict(lr=0.1, maximize=True), dict(lr=0.1, etas=(0.3, 2.0), step_sizes=(0.05, 0.5))],
    "Adafactor": [{}, DECAYED, dict(lr=0.05, beta2_decay=-0.5, eps=(1e-2, 0.1), d=2.0)],
    "Muon": [{}, dict(lr=0.1, weight_decay=0.2, nesterov=False), dict(momentum=0.5, adjust_lr_fn="match_rms_adamw"),
             dict(adjust_lr_fn="original", ns_steps=3)],
}
CASES = [(name, options) for name, grid in GRID.items() if hasattr(torch.optim, name) for options in grid]
IDS = [f"{name}-{'-'.join(f'{k}={v}' for k, v in options.items())}" for name, options in CASES]
SHAPES = [(3, 2), (4,), (), (2, 1, 2)]
MATRICES = [(3, 2), (4, 4), (1, 3), (2, 5)]
EXTRA = {"SGD": ["form"], "Adam": ["bias_correction"], "AdamW": ["bias_correction"]}      # options of ours at the end
AHEAD = {"Lion", "LARS", "LAMB"}                      # PyTorch has none of these
every_name = pytest.mark.parametrize("name", [name for name in GRID if hasattr(torch.optim, name)])


def test_every_method_that_pytorch_has_is_compared():
    second_order = set(optim.second_order.__all__)
    methods = {n for n in optim.__all__ if inspect.isclass(getattr(optim, n)) and issubclass(getattr(optim, n), optim.Optimizer)} - second_order
    assert methods - {"Optimizer"} - set(GRID) == AHEAD and not any(hasattr(torch.optim, name) for name in AHEAD)


def both(name, options, seed=0):
    """Optimizers here and there over equal parameters."""
    rng = np.random.default_rng(seed)
    values = [np.asarray(rng.normal(size=shape)) for shape in (MATRICES if name == "Muon" else SHAPES)]
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


def assert_equal(ps, qs, name, rtol=1e-10):
    """Muon's iteration runs in bfloat16 there, whose steps are right to a hundredth."""
    for p, q in zip(ps, qs):
        atol = 0.05 * abs(q.detach()).max().item() if name == "Muon" else 0
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=rtol, atol=atol)


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_fifty_steps(name, options):
    ours, theirs = both(name, options)
    step(ours, theirs, np.random.default_rng(1), 50)
    assert_equal(ours[0], theirs[0], name)


def quadratic(lib, x):
    return ((x * lib.linspace(0.5, 2, len(x), dtype=lib.float64) - 1) ** 2).sum() / 2


def valley(lib, x):
    """Rosenbrock's, with waves: neither convex nor a sum over elements."""
    return ((1 - x[:-1]) ** 2 + 5 * (x[1:] - x[:-1] ** 2) ** 2).mean() + 0.1 * (3 * x).sin().sum()


@pytest.mark.parametrize("loss", [quadratic, valley])
@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_fifty_steps_on_a_loss(name, options, loss):
    if name == "Muon":                                # its differences grow here
        return
    options, values = dict(options), []
    sign = -1 if options.get("maximize") else 1
    ours, theirs = both(name, options)
    for lib, (params, optimizer) in ((tg, ours), (torch, theirs)):
        for _ in range(50):
            optimizer.zero_grad()
            value = sign * loss(lib, lib.cat([p.reshape(-1) for p in params]))
            value.backward()
            optimizer.step()
            values.append(value.item())
    assert_equal(ours[0], theirs[0], name)
    np.testing.assert_allclose(values[:50], values[50:], rtol=1e-9, atol=1e-11)      # a quadratic ends near 0
    assert sign * values[49] < sign * values[0]


@every_name
def test_groups_and_a_learning_rate_that_changes(name):
    ours, theirs = both(name, {})
    optimizers = []
    for lib, (params, _) in ((optim, ours), (torch.optim, theirs)):
        optimizers.append(getattr(lib, name)([{"params": params[:1]}, {"params": params[1:], "lr": 0.05}], lr=0.02))
    rng = np.random.default_rng(1)
    for k in range(10):
        for optimizer in optimizers:
            optimizer.param_groups[1]["lr"] = 0.05 / (k + 1)
        step((ours[0], optimizers[0]), (theirs[0], optimizers[1]), rng, 2)
    assert_equal(ours[0], theirs[0], name)


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_state_goes_both_ways(name, options):
    ours, theirs = both(name, options)
    rng = np.random.default_rng(1)
    assert list(ours[1].state_dict()["state"]) == list(theirs[1].state_dict()["state"])
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
    assert_equal(other_ours[0], other_theirs[0], name, 1e-6 if name in ("NAdam", "ASGD") else 1e-10)      # PyTorch loads mu and eta as float64


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_printed_form_and_defaults(name, options):
    (_, ours), (_, theirs) = both(name, options)
    assert repr(ours) == repr(theirs) and ours.defaults == theirs.defaults


@every_name
def test_arguments(name):
    a, b = (dict(inspect.signature(getattr(lib, name)).parameters) for lib in (optim, torch.optim))
    assert list(a) == [*b, *EXTRA.get(name, [])] and all(a[k].kind is inspect.Parameter.KEYWORD_ONLY for k in EXTRA.get(name, []))
    assert [(a[k].kind, a[k].default) for k in b] == [(p.kind, p.default) for p in b.values()]


WRONG = [("SGD", dict(momentum=-1)), ("Adam", dict(betas=(1.0, 0.5))), ("AdamW", dict(weight_decay=-1)), ("ASGD", dict(weight_decay=-1)),
         ("Adagrad", dict(lr_decay=-1)), ("Adagrad", dict(initial_accumulator_value=-1)), ("Adadelta", dict(rho=1.5)), ("RMSprop", dict(alpha=-1)),
         ("RMSprop", dict(momentum=-1)), ("Adamax", dict(betas=(0.5, 1.0))), ("NAdam", dict(momentum_decay=-1)), ("RAdam", dict(eps=-1)),
         ("Rprop", dict(etas=(0.5, 0.9))), ("Adafactor", dict(beta2_decay=1)), ("Adafactor", dict(d=0.5)), ("Adafactor", dict(eps=(-1, 1))),
         ("Muon", dict(adjust_lr_fn="other")), ("Muon", dict(momentum=-1)), *[(name, dict(lr=-1)) for name in GRID]]


@pytest.mark.parametrize("name, options", [case for case in WRONG if hasattr(torch.optim, case[0])], ids=str)
def test_wrong_options_are_refused_by_both(name, options):
    for lib, n, o in ((tg, nn, optim), (torch, torch.nn, torch.optim)):
        with pytest.raises(ValueError):
            getattr(o, name)([n.Parameter(lib.ones(2, 2))], **options)


def test_refusals_agree():
    for lib, n, o in ((tg, nn, optim), (torch, torch.nn, torch.optim)):
        p, q = n.Parameter(lib.ones(2)), n.Parameter(lib.ones(2))
        for error, act in [
                (ValueError, lambda: o.SGD([])), (TypeError, lambda: o.SGD(p)), (TypeError, lambda: o.SGD([{"params": {p, q}}])),
                (TypeError, lambda: o.SGD([1.0])), (ValueError, lambda: o.SGD([p * 2])), (ValueError, lambda: o.SGD([p], lr=-1)),
                (ValueError, lambda: o.Muon([p])), (RuntimeError, lambda: o.Adam([p], fused=True, foreach=True)),
                (ValueError, lambda: o.SGD([p], lr=lib.ones(2))), (ValueError, lambda: o.SGD([p], nesterov=True)),
                (ValueError, lambda: o.SGD([{"params": [p]}, {"params": [p]}])), (TypeError, lambda: o.SGD([p]).add_param_group([q])),
                (ValueError, lambda: o.SGD([p]).load_state_dict(o.SGD([p, q]).state_dict()))]:
            with pytest.raises(error):
                act()


def test_named_parameters_are_kept_in_the_state():
    a = optim.SGD(nn.Linear(1, 1).named_parameters()).state_dict()["param_groups"]
    b = torch.optim.SGD(torch.nn.Linear(1, 1).named_parameters()).state_dict()["param_groups"]
    assert a == b and a[0]["param_names"] == ["weight", "bias"]
