"""Schedules against PyTorch: 100 epochs of a grid of options, momentum, state_dict both ways, arguments, refusals."""
import inspect
import math
import warnings

import pytest

torch = pytest.importorskip("torch")

import tinygrad_ed as tg  # noqa: E402
from tinygrad_ed import nn, optim  # noqa: E402

LRS = (0.1, 0.7)                             # two groups
halves = lambda epoch: 0.5 ** (epoch // 7)
wave = lambda epoch: 1 + math.sin(epoch) / 2
CASES = [
    *[("StepLR", dict(step_size=s, gamma=g)) for s in (1, 7, 200) for g in (0.1, 0.9, 1.1)],
    *[("MultiStepLR", dict(milestones=m, gamma=g)) for m in ([], [0, 5], [50, 3, 3, 99], [200]) for g in (0.1, 0.5)],
    *[("ConstantLR", dict(factor=f, total_iters=t)) for f in (0.1, 0.5, 1.0) for t in (1, 5, 200)],
    *[("LinearLR", dict(start_factor=s, end_factor=e, total_iters=t)) for s in (0.1, 1.0) for e in (0.0, 0.4, 1.0) for t in (1, 9, 200)],
    *[("ExponentialLR", dict(gamma=g)) for g in (0.5, 0.99, 1.01)],
    *[("PolynomialLR", dict(total_iters=t, power=p)) for t in (1, 30, 200) for p in (0.5, 1.0, 2)],
    *[("CosineAnnealingLR", dict(T_max=t, eta_min=e)) for t in (1, 2, 7, 50, 300) for e in (0.0, 0.01)],
    *[("CosineAnnealingWarmRestarts", dict(T_0=t, T_mult=m, eta_min=e)) for t in (1, 5, 13) for m in (1, 2, 3) for e in (0.0, 0.01)],
    *[("LambdaLR", dict(lr_lambda=f)) for f in (halves, wave, [halves, wave])],
    *[("MultiplicativeLR", dict(lr_lambda=f)) for f in (lambda e: 0.95, wave, [halves, wave])],
    *[("CyclicLR", dict(base_lr=b, max_lr=m, step_size_up=u, step_size_down=d, mode=mode, gamma=0.97))
      for b, m in ((0.01, 0.3), ([0.01, 0.02], [0.3, 0.5])) for u, d in ((5, None), (3, 8), (200, 1)) for mode in
      ("triangular", "triangular2", "exp_range")],
    ("CyclicLR", dict(base_lr=0.1, max_lr=0.4, step_size_up=4, scale_fn=lambda x: 1 / x, cycle_momentum=False)),
    ("CyclicLR", dict(base_lr=0.1, max_lr=0.4, step_size_up=4, scale_fn=lambda x: 0.9 ** x, scale_mode="iterations",
                      base_momentum=[0.1, 0.2], max_momentum=[0.5, 0.6])),
    *[("OneCycleLR", dict(max_lr=m, total_steps=100, pct_start=p, anneal_strategy=a, three_phase=t, cycle_momentum=c))
      for m in (0.5, [0.5, 0.2]) for p in (0.0, 0.3, 0.5) for a in ("cos", "linear") for t in (False, True) for c in (True, False)
      if not (t and p == 0.0)],
    ("OneCycleLR", dict(max_lr=0.5, epochs=10, steps_per_epoch=10, div_factor=3.0, final_div_factor=7.0, pct_start=1.0)),
]
IDS = [f"{i}-{name}" for i, (name, _) in enumerate(CASES)]
METHODS = [("SGD", dict(momentum=0.3)), ("Adam", {})]


def optimizers(method=METHODS[0], tensor=False):
    """The same optimizer here and there, with two groups."""
    name, options = method
    result = []
    for lib, net in ((tg, nn), (torch, torch.nn)):
        lr = (lambda x: lib.tensor(x)) if tensor else float
        result.append(getattr(lib.optim, name)([{"params": [net.Parameter(lib.zeros(1))], "lr": lr(LRS[0])},
                                                {"params": [net.Parameter(lib.zeros(1))], "lr": lr(LRS[1])}], **options))
    return result


def schedulers(name):
    return getattr(optim.lr_scheduler, name), getattr(torch.optim.lr_scheduler, name)


def rates(scheduler):
    return [float(lr) for lr in scheduler.get_last_lr()]


def momenta(optimizer):
    return [(group.get("momentum"), group.get("betas")) for group in optimizer.param_groups]


def advance(optimizer, scheduler, *args):
    optimizer.step()
    scheduler.step(*args)


def assert_same(ours, theirs, rel=1e-9):
    (a, s), (b, r) = ours, theirs
    assert rates(s) == pytest.approx(rates(r), rel=rel, abs=1e-15)
    assert rates(s) == [float(g["lr"]) for g in a.param_groups]
    for (m, betas), (n, gammas) in zip(momenta(a), momenta(b)):
        assert m == (n if n is None else pytest.approx(n, rel=rel))
        assert betas == (gammas if gammas is None else pytest.approx(gammas, rel=rel))


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_a_hundred_epochs(name, options):
    for method in METHODS if options.get("cycle_momentum", "Cyc" in name) else METHODS[:1]:
        hundred_epochs(name, options, method)


def hundred_epochs(name, options, method):
    (a, b), (ours, theirs) = optimizers(method), schedulers(name)
    s, r = ours(a, **options), theirs(b, **options)
    assert_same((a, s), (b, r))
    for _ in range(99):
        advance(a, s)
        advance(b, r)
        assert s.last_epoch == r.last_epoch
        assert_same((a, s), (b, r))


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_tensors_as_learning_rates(name, options):
    (a, b), (ours, theirs) = optimizers(tensor=True), schedulers(name)
    places = [group["lr"] for group in a.param_groups]
    s, r = ours(a, **options), theirs(b, **options)
    for _ in range(40):
        advance(a, s)
        advance(b, r)
        assert rates(s) == pytest.approx(rates(r), rel=1e-4, abs=1e-6)
    assert all(group["lr"] is place for group, place in zip(a.param_groups, places))
    assert all(isinstance(lr, tg.Tensor) and lr is not place for lr, place in zip(s.get_last_lr(), places))


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_closed_form_of_a_given_epoch(name, options):
    (a, b), (ours, theirs) = optimizers(), schedulers(name)
    s, r = ours(a, **options), theirs(b, **options)
    a.step()
    b.step()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for epoch in (3, 40, 41, 7, 0):
            s.step(epoch)
            r.step(epoch)
            assert_same((a, s), (b, r))


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_state_goes_both_ways(name, options):
    (a, b), (ours, theirs) = optimizers(), schedulers(name)
    s, r = ours(a, **options), theirs(b, **options)
    for _ in range(17):
        advance(a, s)
        advance(b, r)
    assert set(s.state_dict()) <= set(r.state_dict()) | {"_is_initial", "_get_lr_called_within_step"}
    (a2, b2) = optimizers()
    s2, r2 = ours(a2, **options), theirs(b2, **options)
    for group in b.param_groups:
        group["lr"] = max(group["lr"], 0.0)           # PyTorch's LinearLR may end at -2e-19
    a2.load_state_dict(b.state_dict())
    s2.load_state_dict(r.state_dict())
    b2.load_state_dict(a.state_dict())
    r2.load_state_dict(s.state_dict())
    a2._opt_called = True
    for _ in range(40):
        advance(a2, s2)
        advance(b2, r2)
        advance(a, s)
        assert_same((a2, s2), (b2, r2))
        assert rates(s2) == pytest.approx(rates(s), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("last_epoch", [0, 4, 6, 49])
@pytest.mark.parametrize("name, options", [c for c in CASES if c[0] not in ("OneCycleLR", "CyclicLR")],
                         ids=[i for i in IDS if "Cycl" not in i and "OneC" not in i])
def test_going_on_after_a_last_epoch(name, options, last_epoch):
    if options.get("T_mult", 1) > 1 and last_epoch + 1 >= options["T_0"]:
        pytest.skip("PyTorch forgets how long the periods have become")
    (a, b), (ours, theirs) = optimizers(), schedulers(name)
    for optimizer in (a, b):
        for group in optimizer.param_groups:
            group["initial_lr"] = 0.3
    try:
        r = theirs(b, **options, last_epoch=last_epoch)
    except ZeroDivisionError:
        pytest.skip("PyTorch divides by 0")
    s = ours(a, **options, last_epoch=last_epoch)
    for _ in range(30):
        assert_same((a, s), (b, r))
        advance(a, s)
        advance(b, r)


@pytest.mark.parametrize("method", METHODS, ids=["SGD", "Adam"])
@pytest.mark.parametrize("make", [
    lambda l, o: l.SequentialLR(o, [l.LinearLR(o, 0.1, total_iters=10), l.CosineAnnealingLR(o, 50)], [10]),
    lambda l, o: l.SequentialLR(o, [l.ConstantLR(o, 0.5, 10), l.ExponentialLR(o, 0.9), l.StepLR(o, 3)], [4, 30]),
    lambda l, o: l.SequentialLR(o, [l.ExponentialLR(o, 0.5), l.CosineAnnealingWarmRestarts(o, 5, 2), l.LambdaLR(o, halves)], [3, 60]),
    lambda l, o: l.SequentialLR(o, [l.ExponentialLR(o, 0.5), l.LinearLR(o), l.PolynomialLR(o, 20)], [0, 20]),
    lambda l, o: l.SequentialLR(o, [l.OneCycleLR(o, 0.5, 50), l.MultiplicativeLR(o, wave)], [50]),
    lambda l, o: l.ChainedScheduler([l.ConstantLR(o, 0.1, 20), l.ExponentialLR(o, 0.9)]),
    lambda l, o: l.ChainedScheduler([l.LinearLR(o, 0.2, total_iters=9), l.CosineAnnealingLR(o, 30, 0.01), l.MultiStepLR(o, [40, 50])], o),
    lambda l, o: l.ChainedScheduler([l.SequentialLR(o, [l.LinearLR(o), l.ExponentialLR(o, 0.9)], [7]), l.StepLR(o, 5)]),
])
def test_compositions(make, method):
    a, b = optimizers(method)
    s, r = make(optim.lr_scheduler, a), make(torch.optim.lr_scheduler, b)
    for _ in range(100):
        assert_same((a, s), (b, r))
        advance(a, s)
        advance(b, r)
    a2 = optimizers(method)[0]
    s2 = make(optim.lr_scheduler, a2)
    s2.load_state_dict(r.state_dict())
    a2.load_state_dict(b.state_dict())
    for _ in range(20):
        advance(b, r)
        advance(a2, s2)
        assert_same((a2, s2), (b, r))


PLATEAUS = [dict(mode=m, threshold_mode=t, factor=f, patience=p, cooldown=c, threshold=h, min_lr=low)
            for m in ("min", "max") for t in ("rel", "abs") for f in (0.1, 0.5) for p in (0, 3) for c in (0, 4) for h in (1e-4, 0.3)
            for low in (0, 0.05, [0.01, 0.2])]


@pytest.mark.parametrize("options", PLATEAUS, ids=[str(i) for i in range(len(PLATEAUS))])
def test_plateaus(options):
    a, b = optimizers()
    s, r = optim.lr_scheduler.ReduceLROnPlateau(a, **options), torch.optim.lr_scheduler.ReduceLROnPlateau(b, **options)
    for t in range(100):
        metric = math.nan if t == 30 else 3 * math.cos(t / 9) + math.sin(t * t)
        if t == 50:
            state, theirs = s.state_dict(), r.state_dict()
            assert set(state) == set(theirs)
            s.load_state_dict(theirs)
            r.load_state_dict(state)
        a.step()
        s.step(tg.tensor(metric, dtype=tg.float64) if t % 2 else metric)
        b.step()
        r.step(metric)
        assert_same((a, s), (b, r))
        assert (s.best, s.num_bad_epochs, s.cooldown_counter) == (r.best, r.num_bad_epochs, r.cooldown_counter)


def test_names_and_arguments():
    for name in torch.optim.lr_scheduler.__all__:
        ours, theirs = schedulers(name)
        a, b = (list(inspect.signature(c).parameters.values()) for c in (ours, theirs))
        assert [(p.name, p.kind, p.default) for p in a] == [(p.name, p.kind, p.default) for p in b], name


def test_refusals_agree():
    for lib, n, o in ((tg, nn, optim), (torch, torch.nn, torch.optim)):
        l, p = o.lr_scheduler, n.Parameter(lib.zeros(1))
        sgd, other = o.SGD([p], lr=0.1), o.SGD([p], lr=0.1)
        for error, act in [
                (TypeError, lambda: l.StepLR(p, 3)), (TypeError, lambda: l.CyclicLR(p, 1, 2)), (TypeError, lambda: l.ReduceLROnPlateau(p)),
                (KeyError, lambda: l.StepLR(o.SGD([p], lr=0.1), 3, last_epoch=2)), (ValueError, lambda: l.ConstantLR(sgd, 1.5)),
                (ValueError, lambda: l.LinearLR(sgd, 0.0)), (ValueError, lambda: l.LinearLR(sgd, end_factor=-1)),
                (ValueError, lambda: l.LambdaLR(sgd, [halves, halves])), (TypeError, lambda: l.MultiplicativeLR(sgd, 3)),
                (ValueError, lambda: l.CosineAnnealingWarmRestarts(sgd, 0)), (ValueError, lambda: l.CosineAnnealingWarmRestarts(sgd, 3, 0)),
                (ValueError, lambda: l.CosineAnnealingWarmRestarts(sgd, 3).step(-1)), (ValueError, lambda: l.CyclicLR(sgd, [1, 2], 3)),
                (ValueError, lambda: l.CyclicLR(sgd, 1, 2, mode="square")), (ValueError, lambda: l.OneCycleLR(sgd, 1)),
                (ValueError, lambda: l.OneCycleLR(sgd, 1, 0)), (ValueError, lambda: l.OneCycleLR(sgd, 1, epochs=3)),
                (ValueError, lambda: l.OneCycleLR(sgd, 1, 10, pct_start=1.5)),
                (ValueError, lambda: l.OneCycleLR(sgd, 1, 10, anneal_strategy="x")),
                (ValueError, lambda: l.ReduceLROnPlateau(sgd, factor=1.0)), (ValueError, lambda: l.ReduceLROnPlateau(sgd, "best")),
                (ValueError, lambda: l.ReduceLROnPlateau(sgd, threshold_mode="x")),
                (ValueError, lambda: l.ReduceLROnPlateau(sgd, min_lr=[1, 2])),
                (ValueError, lambda: l.SequentialLR(sgd, [], [])), (ValueError, lambda: l.SequentialLR(sgd, [l.StepLR(sgd, 3)], [1])),
                (ValueError, lambda: l.SequentialLR(sgd, [l.StepLR(other, 3)], [])), (ValueError, lambda: l.ChainedScheduler([])),
                (ValueError, lambda: l.ChainedScheduler([l.StepLR(sgd, 3), l.StepLR(other, 3)])),
                (ValueError, lambda: l.ChainedScheduler([l.ReduceLROnPlateau(sgd)])), (TypeError, lambda: l.SequentialLR(sgd, [3], []))]:
            with pytest.raises(error):
                act()
