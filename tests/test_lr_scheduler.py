"""Schedules: closed forms, save-load-continue, chaining, warnings, groups, errors that change nothing."""
import copy
import math
import pickle
import warnings

import pytest

import tinygrad_ed as tg
from tinygrad_ed import nn, optim
from tinygrad_ed.optim import lr_scheduler as l


def sgd(*lrs, **options):
    return optim.SGD([{"params": [nn.Parameter(tg.zeros(1))], "lr": lr} for lr in lrs or (1.0,)], **options)


def advance(scheduler, *args):
    scheduler.optimizer.step()
    scheduler.step(*args)


def rates(scheduler, epochs):
    """The first group's learning rates in the next epochs, the present one first."""
    result = []
    for _ in range(epochs):
        result.append(float(scheduler.optimizer.param_groups[0]["lr"]))
        assert scheduler.get_last_lr() == [group["lr"] for group in scheduler.optimizer.param_groups]
        advance(scheduler)
    return result


halves = lambda epoch: 0.5 ** epoch


class Decay:
    """A callable object, whose state is saved."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, epoch):
        return self.rate ** epoch


CASES = {
    "StepLR": (lambda o: l.StepLR(o, 7, 0.5), lambda t: 0.5 ** (t // 7)),
    "MultiStepLR": (lambda o: l.MultiStepLR(o, [0, 30, 4, 4], 0.5), lambda t: 0.5 ** sum(m <= t for m in (0, 30, 4, 4))),
    "ConstantLR": (lambda o: l.ConstantLR(o, 0.2, 9), lambda t: 0.2 if t < 9 else 1.0),
    "ConstantLR-0": (lambda o: l.ConstantLR(o, 0.0, 9), lambda t: 0.0 if t < 9 else 1.0),
    "LinearLR": (lambda o: l.LinearLR(o, 0.1, 0.9, 20), lambda t: 0.1 + 0.8 * min(t / 20, 1)),
    "LinearLR-down": (lambda o: l.LinearLR(o, 1.0, 0.0, 20), lambda t: 1 - min(t / 20, 1)),
    "ExponentialLR": (lambda o: l.ExponentialLR(o, 0.97), lambda t: 0.97 ** t),
    "ExponentialLR-0": (lambda o: l.ExponentialLR(o, 0.0), lambda t: float(t == 0)),
    "PolynomialLR": (lambda o: l.PolynomialLR(o, 50, 2), lambda t: (1 - min(t, 50) / 50) ** 2),
    "CosineAnnealingLR": (lambda o: l.CosineAnnealingLR(o, 40, 0.1), lambda t: 0.1 + 0.9 * (1 + math.cos(math.pi * t / 40)) / 2),
    "InverseTimeLR": (lambda o: l.InverseTimeLR(o, 0.5), lambda t: 1 / (1 + 0.5 * t)),
    "InverseSqrtLR": (lambda o: l.InverseSqrtLR(o, 0.8), lambda t: 0.8 / math.sqrt(t + 1)),
    "StaircaseLR": (lambda o: l.StaircaseLR(o, [(60, 0.0), (5, 0.5), (80, 2.0)]),
                    lambda t: 1.0 if t < 5 else 0.5 if t < 60 else 0.0 if t < 80 else 2.0),
    "LambdaLR": (lambda o: l.LambdaLR(o, halves), halves),
    "MultiplicativeLR": (lambda o: l.MultiplicativeLR(o, lambda t: t / (t + 1)), lambda t: 1 / (t + 1)),
    "CosineAnnealingWarmRestarts": (lambda o: l.CosineAnnealingWarmRestarts(o, 10, 3),
                                    lambda t: (1 + math.cos(math.pi * (t / 10 if t < 10 else (t - 10) / 30 if t < 40
                                                                       else (t - 40) / 90))) / 2),
    "CyclicLR": (lambda o: l.CyclicLR(o, 0.1, 0.5, 4, 6), lambda t: 0.1 + 0.4 * (t % 10 / 4 if t % 10 <= 4 else (10 - t % 10) / 6)),
    "OneCycleLR": (lambda o: l.OneCycleLR(o, 1.0, 101, pct_start=0.5, anneal_strategy="linear", div_factor=4.0),
                   lambda t: 0.25 + 0.75 * t / 49.5 if t <= 49.5 else 1 + (0.25e-4 - 1) * (t - 49.5) / 50.5),
    "WarmupLR": (lambda o: l.WarmupLR(o, 9), lambda t: min((t + 1) / 10, 1)),
    "WarmupLR-around": (lambda o: l.WarmupLR(o, 10, l.ExponentialLR(o, 0.9), 0.0), lambda t: t / 10 if t < 10 else 0.9 ** (t - 10)),
    "WarmupLR-around-2": (lambda o: l.WarmupLR(o, 4, l.SequentialLR(o, [l.ConstantLR(o, 0.5, 9), l.StepLR(o, 50)], [3])),
                          lambda t: (t + 1) / 10 if t < 4 else 0.5 if t < 7 else 1.0 if t < 57 else 0.1),
    "SequentialLR": (lambda o: l.SequentialLR(o, [l.LinearLR(o, 0.5, total_iters=5), l.ExponentialLR(o, 0.9)], [5]),
                     lambda t: 0.5 + 0.1 * t if t < 5 else 0.9 ** (t - 5)),
    "SequentialLR-nested": (lambda o: l.SequentialLR(o, [l.SequentialLR(o, [l.ExponentialLR(o, 0.5), l.ExponentialLR(o, 0.9)], [3]),
                                                         l.SequentialLR(o, [l.InverseTimeLR(o), l.InverseSqrtLR(o)], [10])], [20]),
                            lambda t: (0.5 ** t if t < 3 else 0.9 ** (t - 3) if t < 20 else 1 / (t - 19) if t < 30
                                       else 1 / math.sqrt(t - 29))),
    "SequentialLR-of-chains": (lambda o: l.SequentialLR(o, [l.ChainedScheduler([l.ExponentialLR(o, 0.9), l.StepLR(o, 3, 0.5)]),
                                                            l.ChainedScheduler([l.InverseTimeLR(o)])], [6]),
                               lambda t: 0.9 ** t * 0.5 ** (t // 3) if t < 6 else 1 / (t - 5)),
    "SequentialLR-of-warmups": (lambda o: l.SequentialLR(o, [l.WarmupLR(o, 1), l.WarmupLR(o, 3, l.CosineAnnealingWarmRestarts(o, 2))], [7]),
                                lambda t: 0.5 if t == 0 else 1.0 if t < 7 else (t - 6) / 4 if t < 10 else 1.0 if t % 2 == 0 else 0.5),
    "ChainedScheduler": (lambda o: l.ChainedScheduler([l.WarmupLR(o, 4), l.InverseTimeLR(o), l.StaircaseLR(o, {9: 0.5})]),
                         lambda t: min((t + 1) / 5, 1) / (1 + t) * (0.5 if t >= 9 else 1)),
    "SWALR": (lambda o: optim.swa_utils.SWALR(o, 0.2, 20), lambda t: 0.2 + 0.8 * (1 + math.cos(math.pi * min(t / 20, 1))) / 2),
}


@pytest.mark.parametrize("tensor", [False, True], ids=["number", "tensor"])
@pytest.mark.parametrize("name", CASES)
def test_closed_forms(name, tensor):
    make, expected = CASES[name]
    optimizer = sgd(tg.tensor(1.0, dtype=tg.float64) if tensor else 1.0, momentum=0.9)
    lr = optimizer.param_groups[0]["lr"]
    assert rates(make(optimizer), 100) == pytest.approx([expected(t) for t in range(100)], rel=1e-9, abs=1e-12)
    assert not tensor or optimizer.param_groups[0]["lr"] is lr


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("duplicate", ["file", "pickle", "deepcopy"])
def test_save_load_continue_is_never_having_stopped(name, duplicate, tmp_path):
    make = CASES[name][0]
    if duplicate != "file" and name in ("LambdaLR", "MultiplicativeLR"):
        make = lambda o: l.LambdaLR(o, Decay(0.9))    # a lambda cannot be pickled
    once, half = make(sgd(1.0, 0.3, momentum=0.5)), make(sgd(1.0, 0.3, momentum=0.5))
    for stop in (2, 20, 40):                          # in the warm-up, and behind milestones
        while half.last_epoch < stop if "Chained" not in name else half._schedulers[0].last_epoch < stop:
            advance(once)
            advance(half)
        if duplicate == "file":
            tg.save([half.optimizer.state_dict(), half.state_dict()], tmp_path / "c")
            state, mine = tg.load(tmp_path / "c")
            half = make(sgd(5.0, 5.0, momentum=0.5))
            half.optimizer.load_state_dict(state)
            half.load_state_dict(mine)
            for group, other in zip(half.optimizer.param_groups, once.optimizer.param_groups):
                assert {k: v for k, v in group.items() if k != "params"} == {k: v for k, v in other.items() if k != "params"}
        else:
            half = copy.deepcopy(half) if duplicate == "deepcopy" else pickle.loads(pickle.dumps(half))
    assert half.get_last_lr() == once.get_last_lr()
    for _ in range(30):
        advance(once)
        advance(half)
        assert half.get_last_lr() == once.get_last_lr()
        assert [g["momentum"] for g in half.optimizer.param_groups] == [g["momentum"] for g in once.optimizer.param_groups]


def test_a_loaded_state_is_a_copy():
    source, target = l.StepLR(sgd(), 3), l.StepLR(sgd(), 5)
    state = source.state_dict()
    target.load_state_dict(state)
    target.base_lrs.append(3)
    assert source.base_lrs == [1.0] and target.step_size == 3


def test_callable_objects_are_saved_and_functions_kept():
    source, target = (l.LambdaLR(sgd(1.0, 1.0), [Decay(rate), halves]) for rate in (0.5, 0.9))
    target.load_state_dict(source.state_dict())
    assert target.lr_lambdas[0].rate == 0.5 and target.lr_lambdas[1] is halves
    source, target = (l.CyclicLR(sgd(), 0.1, 1, 3, scale_fn=Decay(rate)) for rate in (0.5, 0.9))
    target.load_state_dict(source.state_dict())
    assert target.scale_fn(1) == 0.5


def test_warm_restarts_take_fractions_and_find_every_restart():
    scheduler = l.CosineAnnealingWarmRestarts(sgd(), 3, 3)
    one = l.CosineAnnealingWarmRestarts(sgd(), 3, 3)
    for epoch in range(1, 1200):
        scheduler.step(epoch)
        one.step()
        assert (scheduler.T_cur, scheduler.T_i) == (one.T_cur, one.T_i)
    scheduler.step(1.5)
    assert scheduler.T_cur == 1.5 and scheduler.last_epoch == 1 and scheduler.get_last_lr() == pytest.approx([0.5])
    assert l.CosineAnnealingWarmRestarts(one.optimizer, 3, 3, last_epoch=one.last_epoch - 1).T_cur == one.T_cur


def test_one_cycle_stays_after_its_end_and_refuses_to_go_on():
    scheduler = l.OneCycleLR(sgd(momentum=0.9), 1.0, 10, anneal_strategy="linear")
    seen = rates(scheduler, 10)
    assert scheduler.get_last_lr() == [seen[-1]] and 0 < seen[-1] < 1e-5
    state = copy.deepcopy(scheduler.state_dict())
    scheduler.optimizer.step()
    with pytest.raises(ValueError, match="total_steps=10"):
        scheduler.step()
    assert scheduler.state_dict() == state


def test_cycles_move_betas():
    optimizer = optim.Adam([nn.Parameter(tg.zeros(1))], betas=(0.5, 0.99))
    rates(l.CyclicLR(optimizer, 0.1, 1.0, 2, base_momentum=0.2, max_momentum=0.6), 2)
    assert optimizer.param_groups[0]["betas"] == (0.2, 0.99)


def test_plateau_with_warmup_and_new_groups():
    optimizer = sgd()
    scheduler = l.WarmupLR(optimizer, 3, l.ReduceLROnPlateau(optimizer, factor=0.5, patience=0))
    seen = []
    for loss in (9, 9, 9, 5, 5, 4, 4):
        seen.append(optimizer.param_groups[0]["lr"])
        advance(scheduler, loss)
    assert seen == [0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.5]
    plateau = l.ReduceLROnPlateau(optimizer, min_lr=[0.1])
    optimizer.add_param_group({"params": [nn.Parameter(tg.zeros(1))]})
    state = copy.deepcopy(plateau.state_dict())
    with pytest.raises(RuntimeError, match="2 groups"):
        plateau.step(1.0)
    assert plateau.state_dict() == state


def test_own_schedules_and_the_interface_of_the_base():
    class Own(l.LRScheduler):
        def get_lr(self):
            return [lr / (self.last_epoch + 1) for lr in self.base_lrs]

    assert rates(Own(sgd()), 3) == [1.0, 0.5, 1 / 3]
    with pytest.raises(NotImplementedError, match="get_lr"):
        l.LRScheduler(sgd())


# -- warnings ----------------------------------------------------------------------------------------------------------

def test_warnings():
    scheduler = l.StepLR(sgd(), 3)
    with pytest.warns(UserWarning, match="before optimizer.step"):
        scheduler.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()                              # only once
        again = l.StepLR(scheduler.optimizer, 3)
        scheduler.optimizer.step()
        again.step()
    with pytest.warns(UserWarning, match="get_last_lr"):
        scheduler.get_lr()
    with pytest.warns(UserWarning, match="deprecated"):
        scheduler.step(7)
    with pytest.warns(UserWarning, match="deprecated"):
        l.ReduceLROnPlateau(sgd()).step(1.0, 7)


# -- errors ------------------------------------------------------------------------------------------------------------

def bad():
    return [lambda o: l.StepLR(o, 0), lambda o: l.StepLR(o, 2.5), lambda o: l.StepLR(o, 3, -0.1), lambda o: l.StepLR(o, 3, math.nan),
            lambda o: l.StepLR(o, 3, last_epoch=-2), lambda o: l.MultiStepLR(o, [-1]), lambda o: l.MultiStepLR(o, [1.5]),
            lambda o: l.ConstantLR(o, 1.1), lambda o: l.ConstantLR(o, total_iters=0), lambda o: l.LinearLR(o, 0),
            lambda o: l.LinearLR(o, 1, 2), lambda o: l.LinearLR(o, total_iters=0), lambda o: l.ExponentialLR(o, "fast"),
            lambda o: l.ExponentialLR(o, math.inf), lambda o: l.PolynomialLR(o, 0), lambda o: l.PolynomialLR(o, 3, -1),
            lambda o: l.CosineAnnealingLR(o, 0), lambda o: l.CosineAnnealingLR(o, 3, -1), lambda o: l.CosineAnnealingWarmRestarts(o, 0),
            lambda o: l.CosineAnnealingWarmRestarts(o, 1, 0), lambda o: l.LambdaLR(o, [halves] * 3), lambda o: l.LambdaLR(o, 3),
            lambda o: l.MultiplicativeLR(o, None), lambda o: l.CyclicLR(o, -1, 1), lambda o: l.CyclicLR(o, 1, [1, 2, 3]),
            lambda o: l.CyclicLR(o, 1, 2, 0), lambda o: l.CyclicLR(o, 1, 2, 3, -1), lambda o: l.CyclicLR(o, 1, 2, mode="square"),
            lambda o: l.CyclicLR(o, 1, 2, scale_fn=halves, scale_mode="x"), lambda o: l.CyclicLR(o, 1, 2, max_momentum=1.0),
            lambda o: l.CyclicLR(o, 1, 2, base_momentum=[1, 2, 3]), lambda o: l.OneCycleLR(o, 1), lambda o: l.OneCycleLR(o, 1, 0),
            lambda o: l.OneCycleLR(o, 1, epochs=3), lambda o: l.OneCycleLR(o, -1, 9), lambda o: l.OneCycleLR(o, 1, 9, pct_start=1.1),
            lambda o: l.OneCycleLR(o, 1, 9, pct_start=0.6, three_phase=True), lambda o: l.OneCycleLR(o, 1, 9, anneal_strategy="x"),
            lambda o: l.OneCycleLR(o, 1, 9, div_factor=0), lambda o: l.OneCycleLR(o, 1, 9, max_momentum=[0.1]),
            lambda o: l.ReduceLROnPlateau(o, factor=1.0), lambda o: l.ReduceLROnPlateau(o, patience=-1),
            lambda o: l.ReduceLROnPlateau(o, "best"), lambda o: l.ReduceLROnPlateau(o, min_lr=[1]), lambda o: l.InverseTimeLR(o, -1),
            lambda o: l.InverseSqrtLR(o, 0), lambda o: l.StaircaseLR(o, {}), lambda o: l.StaircaseLR(o, {1.5: 1}),
            lambda o: l.StaircaseLR(o, {1: -1}), lambda o: l.WarmupLR(o, 0), lambda o: l.WarmupLR(o, 3, start_factor=2),
            lambda o: l.WarmupLR(o, 3, 4), lambda o: l.SequentialLR(o, [], []), lambda o: l.ChainedScheduler([]),
            lambda o: l.SequentialLR(o, [3], []), lambda o: optim.swa_utils.SWALR(o, -1), lambda o: optim.swa_utils.SWALR(o, [1]),
            lambda o: optim.swa_utils.SWALR(o, 1, -1), lambda o: optim.swa_utils.SWALR(o, 1, 1, "x"),
            lambda o: l.StepLR(o, 3, last_epoch=0), lambda o: l.CyclicLR(o, 1, 2, last_epoch=0)]


@pytest.mark.parametrize("make", bad(), ids=range(len(bad())))
def test_bad_hyperparameters_change_nothing(make):
    optimizer = sgd(1.0, 0.5)
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises((ValueError, TypeError, KeyError)) as error:
        make(optimizer)
    assert optimizer.state_dict() == before and len(str(error.value)) > 15


def test_bad_compositions_change_nothing():
    optimizer, other = sgd(), sgd()
    a, b, c = l.ExponentialLR(optimizer, 0.5), l.StepLR(optimizer, 3), l.StepLR(other, 3)
    rates(a, 3)
    before = copy.deepcopy((optimizer.state_dict(), a.state_dict()))
    for make in (lambda: l.SequentialLR(optimizer, [a, b], []), lambda: l.SequentialLR(optimizer, [a, c], [3]),
                 lambda: l.SequentialLR(optimizer, [a, b, a], [3, 2]),
                 lambda: l.SequentialLR(optimizer, [a, l.ReduceLROnPlateau(optimizer)], [3]),
                 lambda: l.ChainedScheduler([a, c]), lambda: l.WarmupLR(optimizer, 3, c), lambda: l.WarmupLR(optimizer, 3, a, last_epoch=3),
                 lambda: l.CyclicLR(optim.Optimizer([nn.Parameter(tg.zeros(1))], {"lr": 1}), 1, 2)):
        with pytest.raises(ValueError):
            make()
        assert (optimizer.state_dict(), a.state_dict()) == before


@pytest.mark.parametrize("make", [lambda o: l.StepLR(o, 3), lambda o: l.LambdaLR(o, halves),
                                  lambda o: l.SequentialLR(o, [l.StepLR(o, 3)], []),
                                  lambda o: l.WarmupLR(o, 3, l.StepLR(o, 3))])
def test_a_state_that_does_not_fit_changes_nothing(make):
    scheduler = make(sgd())
    rates(scheduler, 5)
    before = copy.deepcopy(scheduler.state_dict())
    for other in (l.CosineAnnealingLR(sgd(), 3), make(sgd(1.0, 2.0)), l.WarmupLR(sgd(), 4), l.SequentialLR(scheduler.optimizer, [
            l.StepLR(scheduler.optimizer, 3), l.StepLR(scheduler.optimizer, 3)], [4])):
        with pytest.raises(ValueError):
            scheduler.load_state_dict(other.state_dict())
        assert scheduler.state_dict() == before


def test_a_step_that_fails_changes_nothing():
    def f(epoch):
        if epoch == 2:
            raise ZeroDivisionError
        return 1.0

    optimizer = sgd()
    failing = l.LambdaLR(optimizer, f)
    advance(failing)
    before = copy.deepcopy(failing.state_dict())
    with pytest.raises(ZeroDivisionError):
        failing.step()
    assert failing.state_dict() == before
    cosine = l.CosineAnnealingWarmRestarts(optimizer, 3)
    optimizer.add_param_group({"params": [nn.Parameter(tg.zeros(1))]})
    before = copy.deepcopy(cosine.state_dict())
    with pytest.raises(ValueError, match="2 groups"):
        cosine.step()
    assert cosine.state_dict() == before
