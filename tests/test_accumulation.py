"""Micro-batches that add up to a batch, and what a gradient scaler needs of an optimizer."""
import math

import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed import nn, optim
from tinygrad_ed.errors import DomainError

METHODS = {"SGD": lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9), "AdamW": lambda ps: optim.AdamW(ps, lr=0.01)}
method = pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)


def start(make, dtype=tg.float64):
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).to(dtype)
    return model, make(model.parameters())


def data(n=24):
    rng = np.random.default_rng(0)
    return tg.tensor(rng.normal(size=(n, 3))), tg.tensor(rng.integers(0, 4, n))


def arrays(model, optimizer):
    """Parameters and state."""
    params = list(model.parameters())
    return [p.detach().numpy().copy() for p in params] + [np.array(v) for p in params for v in optimizer.state[p].values() if v is not None]


def same(a, b):
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b))


criterion = nn.CrossEntropyLoss()


# -- micro-batches -----------------------------------------------------------------------------------------------------

@method
@pytest.mark.parametrize("sizes", [[6, 6, 6, 6], [10, 1, 6, 7], [24]])
def test_micro_batches_are_the_full_batch(make, sizes):
    x, y = data()
    full, full_optimizer = start(make)
    model, optimizer = start(make)
    accumulation = optim.GradientAccumulation(optimizer, steps=len(sizes))
    ends = np.cumsum([0, *sizes])
    for _ in range(3):
        full_optimizer.zero_grad()
        criterion(full(x), y).backward()
        full_optimizer.step()
        for i, (a, b) in enumerate(zip(ends, ends[1:])):
            size = {} if len(set(sizes)) == 1 else {"size": b - a}
            accumulation.backward(criterion(model(x[a:b]), y[a:b]), **size)
            assert accumulation.step() == (i == len(sizes) - 1)
        for p, q in zip(model.parameters(), full.parameters()):
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-9, atol=1e-15)
            np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-7)


def test_the_rest_of_an_epoch_is_a_mean_too():
    w = tg.tensor(0.0, requires_grad=True)
    accumulation = optim.GradientAccumulation(optim.SGD([w], lr=1.0), steps=4)
    accumulation.backward(w * 3)
    accumulation.backward(w * 5)
    assert not accumulation.step() and w.item() == 0 and accumulation.micro_batches == 2
    assert accumulation.finish() and w.item() == -4 and accumulation.micro_batches == 0
    assert not accumulation.finish() and not accumulation.step() and w.item() == -4
    accumulation.backward(w * 1, size=2)              # what came before is forgotten
    assert accumulation.finish() and w.item() == -5 and w.grad.item() == 1


def test_old_gradients_do_not_count():
    w = tg.tensor(0.0, requires_grad=True)
    (w * 100).backward()
    accumulation = optim.GradientAccumulation(optim.SGD([w], lr=1.0), steps=1)
    accumulation.backward(w * 2)
    assert accumulation.step() and w.item() == -2


def test_clipping_sees_the_mean():
    w = tg.tensor(0.0, requires_grad=True)
    optimizer = optim.SGD([w], lr=1.0)
    clipping, accumulation = optim.ClipGradNorm(optimizer, 1.0), optim.GradientAccumulation(optimizer, steps=2)
    for g in (2.0, 4.0):
        accumulation.backward(w * g)
    assert accumulation.step() and clipping.norm.item() == 3 and w.item() == pytest.approx(-1)


def test_wrong_use_is_explained():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    optimizer = optim.SGD([w], lr=1.0)
    for steps in (0, 1.5):
        with pytest.raises(ValueError, match="steps is an integer"):
            optim.GradientAccumulation(optimizer, steps)
    with pytest.raises(TypeError, match="Optimizer"):
        optim.GradientAccumulation([w], 2)
    accumulation = optim.GradientAccumulation(optimizer, 2)
    for size in (0, -1, math.nan):
        with pytest.raises(ValueError, match="size"):
            accumulation.backward(w.sum(), size)
    with pytest.raises(RuntimeError):
        accumulation.backward(w * 2)                  # not one number
    assert accumulation.micro_batches == 0 and w.grad is None and not accumulation.finish()


# -- scaled losses -----------------------------------------------------------------------------------------------------

class Scaler:
    """The part of a gradient scaler that touches the optimizer, with the interface that torch.amp.GradScaler has."""

    def __init__(self, init_scale=2.0**16, growth_interval=2):
        self.factor, self.good, self.growth_interval, self.found_inf = init_scale, 0, growth_interval, None

    def scale(self, loss):
        return loss * self.factor

    def unscale_(self, optimizer):
        self.found_inf = bool(optim.unscale_(optimizer, self.factor))

    def step(self, optimizer, *args, **kwargs):
        if self.found_inf is None:
            self.unscale_(optimizer)
        return None if self.found_inf else optimizer.step(*args, **kwargs)

    def update(self):
        self.good = 0 if self.found_inf else self.good + 1
        self.factor *= 0.5 if self.found_inf else 2.0 if self.good % self.growth_interval == 0 else 1.0
        self.found_inf = None


@method
def test_a_scaled_training_is_the_training_bit_for_bit(make):
    x, y = data()
    plain, scaled = start(make), start(make)
    norms, scaler = [[], []], Scaler()
    clippings = [optim.ClipGradNorm(optimizer, 0.1) for _, optimizer in (plain, scaled)]
    for step in range(8):
        bad = step in (0, 5)                          # a batch whose loss overflows is left out
        if not bad:
            plain[1].zero_grad()
            criterion(plain[0](x), y).backward()
            plain[1].step()
            norms[0].append(clippings[0].norm.item())
        before = arrays(*scaled)
        scaled[1].zero_grad()
        loss = criterion(scaled[0](x), y)
        scaler.scale(loss * math.inf if bad else loss).backward()
        scaler.step(scaled[1])
        scaler.update()
        assert same(arrays(*scaled), before) == bad
        if not bad:
            norms[1].append(clippings[1].norm.item())
    assert same(arrays(*plain), arrays(*scaled)) and norms[0] == norms[1] and scaler.factor == 2.0**17


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [tg.float16, tg.float32, tg.float64])
def test_unscale_finds_what_is_not_finite(bad, dtype):
    a, b = nn.Parameter(tg.zeros(2, 3, dtype=dtype)), nn.Parameter(tg.zeros((), dtype=dtype))
    optimizer = optim.SGD([{"params": a}, {"params": b}], lr=0.1)
    assert optim.unscale_(optimizer, 4.0).item() is False                     # no gradients
    a.grad = tg.full((2, 3), 8.0, dtype=dtype)
    assert optim.unscale_(optimizer, 4.0).item() is False and (a.grad == 2).all()
    b.grad = tg.tensor(bad, dtype=dtype)
    assert optim.unscale_(optimizer, 4.0).item() is True and (a.grad == 0.5).all()


def test_large_gradients_are_finite_where_their_sum_is_not():
    a = nn.Parameter(tg.zeros(100, dtype=tg.float16))
    a.grad = tg.full((100,), 6e4, dtype=tg.float16)
    assert not optim.unscale_(optim.SGD([a], lr=0.1), 1.0)


def test_unscale_divides_a_shared_gradient_once_and_refuses_bad_scales():
    a, b = nn.Parameter(tg.zeros(2)), nn.Parameter(tg.zeros(2))
    a.grad = b.grad = tg.ones(2)
    optimizer = optim.SGD([a, b], lr=0.1)
    assert not optim.unscale_(optimizer, 2.0) and a.grad.tolist() == [0.5, 0.5]
    for scale in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="scale"):
            optim.unscale_(optimizer, scale)
    assert a.grad.tolist() == [0.5, 0.5]


def test_a_schedule_goes_on_when_a_step_is_left_out():
    model, optimizer = start(METHODS["SGD"])
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    scaler = Scaler()
    for step in range(3):
        optimizer.zero_grad()
        x, y = data()
        scaler.scale(criterion(model(x), y) * (math.nan if step == 1 else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
    assert scheduler.get_last_lr() == [0.1 / 8] and all(tg.isfinite(p).all() for p in model.parameters())


def test_a_clipping_that_refuses_leaves_the_accumulated_step_out():
    w = tg.tensor(1.0, requires_grad=True)
    optimizer = optim.SGD([w], lr=1.0)
    optim.ClipGradNorm(optimizer, 1.0, error_if_nonfinite=True)
    accumulation = optim.GradientAccumulation(optimizer, steps=1)
    accumulation.backward(w * math.nan)
    with pytest.raises(DomainError, match="not finite"):
        accumulation.step()
    assert w.item() == 1
    accumulation.backward(w * 1.0)
    assert accumulation.step() and w.item() == pytest.approx(0, abs=1e-5)
