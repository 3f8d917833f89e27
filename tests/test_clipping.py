"""Clipping before every step: against plain NumPy, its norms, closures, shared gradients, errors that change nothing."""
import copy
import math
import pickle

import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed import nn, optim
from tinygrad_ed.errors import DomainError

RNG = np.random.default_rng(0)
WEIGHTS = [RNG.normal(size=(3, 4)), np.zeros((2, 2, 2)), RNG.normal(size=5), np.array(0.5), np.zeros((0, 2))]
GRADS = [RNG.normal(size=w.shape) * 3 for w in WEIGHTS]
GRADS[0][1] *= 1e-4                                   # a unit far below its limit


def start(weights=WEIGHTS, grads=GRADS, **options):
    """Parameters with gradients, and an optimizer of two groups: SGD with lr=1, whose step subtracts the clipped gradient."""
    params = [nn.Parameter(tg.tensor(w)) for w in weights]
    for p, g in zip(params, grads):
        p.grad = None if g is None else tg.tensor(g)
    return params, optim.SGD([{"params": params[:2]}, {"params": params[2:]}], lr=1.0, **options)


def stepped(params, weights=WEIGHTS):
    """What a step subtracted."""
    return [w - p.detach().numpy() for p, w in zip(params, weights)]


def norm(x, p, axis=None, keepdims=False):
    x = abs(x)
    return x.max(axis=axis, keepdims=keepdims, initial=0) if p == math.inf else (x ** p).sum(axis=axis, keepdims=keepdims) ** (1 / p)


def by_norm(gs, ws, limit, p):
    total = norm(np.concatenate([g.ravel() for g in gs]), p)
    return [g * min(1, limit / (total + 1e-6)) for g in gs]


def by_each_norm(gs, ws, limit, p):
    return [g * min(1, limit / (norm(g, p) + 1e-6)) for g in gs]


def by_value(gs, ws, limit, p):
    return [np.clip(g, -limit, limit) for g in gs]


def by_units(gs, ws, limit, p):
    result = []
    for g, w in zip(gs, ws):
        rows = [...] if g.ndim < 2 else range(len(g))
        result.append(np.zeros_like(g))
        for i in rows:
            result[-1][i] = g[i] * min(1, limit * max(norm(w[i], p), 1e-3) / norm(g[i], p))
    return result


WAYS = {"norm": (optim.ClipGradNorm, by_norm), "each": (optim.ClipGradNormPerParameter, by_each_norm),
        "value": (optim.ClipGradValue, by_value), "units": (optim.AdaptiveClipGrad, by_units)}
way = pytest.mark.parametrize("name", WAYS)


@way
@pytest.mark.parametrize("p", [2, 1, math.inf])
@pytest.mark.parametrize("limit", [0.1, 2.0, 1e6])
def test_a_step_takes_the_clipped_gradients(name, p, limit):
    make, expected = WAYS[name]
    params, optimizer = start()
    clipping = make(optimizer, limit, norm_type=p)
    assert clipping.norm is None
    optimizer.step()
    for got, g, want in zip(stepped(params), GRADS, expected(GRADS, WEIGHTS, limit, p)):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-12)
        if limit == 1e6:
            assert np.array_equal(want, g)
    assert clipping.norm.shape == () and not clipping.norm.requires_grad
    np.testing.assert_allclose(clipping.norm.item(), norm(np.concatenate([g.ravel() for g in GRADS]), p), rtol=1e-12)


@way
def test_gradients_below_the_limit_stay_bit_for_bit_and_missing_ones_missing(name):
    grads = [*GRADS[:3], None, GRADS[4]]
    params, optimizer = start(grads=grads)
    WAYS[name][0](optimizer, 1e6)
    optimizer.step()
    assert all(p.grad is None if g is None else np.array_equal(p.grad.numpy(), g) for p, g in zip(params, grads))
    optimizer.zero_grad()
    optimizer.step()                                  # no gradients at all


@way
def test_removed_is_as_if_it_had_never_been(name):
    params, optimizer = start()
    clipping = WAYS[name][0](optimizer, 0.01)
    clipping.remove()
    clipping.remove()
    optimizer.step()
    assert clipping.norm is None and all(np.array_equal(w - g, p.detach().numpy()) for w, g, p in zip(WEIGHTS, GRADS, params))
    assert repr(clipping).startswith(f"{type(clipping).__name__}(") and "0.01" in repr(clipping) and "norm_type=" in repr(clipping)


@way
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_error_if_nonfinite_changes_nothing(name, bad):
    grads = [g.copy() for g in GRADS]
    grads[2][1] = bad
    params, optimizer = start(grads=grads, momentum=0.9)
    clipping = WAYS[name][0](optimizer, 0.1, error_if_nonfinite=True)
    with pytest.raises(DomainError, match="not finite"):
        optimizer.step()
    assert all(np.array_equal(p.detach().numpy(), w) and np.array_equal(p.grad.numpy(), g, equal_nan=True)
               for p, w, g in zip(params, WEIGHTS, grads))
    assert not any(optimizer.state.values()) and clipping.norm is None
    clipping.error_if_nonfinite = False
    optimizer.step()
    assert not math.isfinite(clipping.norm.item())


@way
def test_a_shared_gradient_is_one_gradient(name):
    g = RNG.normal(size=(2, 3)) * 10
    params, optimizer = start([np.ones((2, 3))] * 3, [g, None, g])
    params[1].grad = params[0].grad
    clipping = WAYS[name][0](optimizer, 0.5, norm_type=2)
    optimizer.step()
    np.testing.assert_allclose(clipping.norm.item(), math.sqrt(2 * (g * g).sum()))
    want = WAYS[name][1]([g, g], [np.ones((2, 3))] * 2, 0.5, 2)[0]
    for p in params:
        np.testing.assert_allclose(p.grad.numpy(), want, rtol=1e-12)
    assert params[1].grad is params[0].grad


@way
def test_a_closure_is_clipped_after_it_has_run(name):
    steps = []
    for closed in (False, True):
        params, optimizer = start(grads=[None] * len(WEIGHTS))
        clipping = WAYS[name][0](optimizer, 0.1)

        def closure():
            optimizer.zero_grad()
            assert tg.is_grad_enabled()
            loss = sum(((p - 3) ** 2).sum() for p in params)
            loss.backward()
            return loss

        for _ in range(3):
            if closed:
                loss = optimizer.step(closure)
                assert loss.item() > 0
            else:
                closure()
                optimizer.step()
        steps.append([p.detach().numpy() for p in params] + [clipping.norm.numpy()])
    assert all(np.array_equal(a, b) for a, b in zip(*steps))


def test_several_clippings_run_in_their_order():
    for first, then, expected in ((optim.ClipGradValue, optim.ClipGradNorm, [0.5, 0.5]), (optim.ClipGradNorm, optim.ClipGradValue, [0.5, 0.1])):
        params, optimizer = start([np.zeros(2)], [np.array([50.0, 5.0])])
        first(optimizer, 0.5 if first is optim.ClipGradValue else 1.0)
        then(optimizer, 0.5 if then is optim.ClipGradValue else 1.0)
        optimizer.step()
        np.testing.assert_allclose(params[0].grad.numpy(), expected, atol=0.01)


def test_groups_that_come_later_are_clipped_too():
    params, optimizer = start([np.zeros(2)], [np.array([3.0, 0.0])])
    clipping = optim.ClipGradNorm(optimizer, 1.0)
    late = nn.Parameter(tg.zeros(1, dtype=tg.float64))
    late.grad = tg.tensor([4.0], dtype=tg.float64)
    optimizer.add_param_group({"params": late})
    optimizer.step()
    assert clipping.norm.item() == 5
    np.testing.assert_allclose([params[0].grad[0].item(), late.grad.item()], [0.6, 0.8], rtol=1e-6)


def test_excluded_parameters_and_small_weights():
    params, optimizer = start()
    optim.AdaptiveClipGrad(optimizer, 0.1, eps=0.5, exclude=iter(params[2:4]))
    optimizer.step()
    got = stepped(params)
    assert np.allclose(got[2], GRADS[2], rtol=1e-12) and np.allclose(got[3], GRADS[3], rtol=1e-12)
    np.testing.assert_allclose(np.sqrt((got[1] ** 2).sum((1, 2))), 0.05)                # 0.1·eps: the weights are zero
    params, optimizer = start()
    optim.AdaptiveClipGrad(optimizer, 0.1, exclude=params[0])
    optimizer.step()
    assert np.allclose(stepped(params)[0], GRADS[0], rtol=1e-12)


def test_training_under_a_learning_rate_that_would_explode():
    def final_loss(clip):
        tg.manual_seed(0)
        x = tg.randn(64, 4)
        y = x.pow(3).sum(dim=1, keepdim=True)
        model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
        optimizer = optim.SGD(model.parameters(), lr=2.0)
        clip(optimizer)
        for _ in range(60):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        return loss.item()

    assert not final_loss(lambda o: None) < 1e4
    assert final_loss(lambda o: optim.ClipGradNorm(o, 0.05)) < 40


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_a_copied_optimizer_clips_for_itself(duplicate):
    (p,), optimizer = start([np.zeros(3)], [None])
    clipping = optim.ClipGradNorm(optimizer, 0.1)
    (q,), other, its = duplicate(([p], optimizer, clipping))
    for stays, removed in ((True, its), (False, clipping)):
        for t in (p, q):
            t.grad = tg.full_like(t.detach(), 7.0)
        other.step()
        assert clipping.norm is None and (q.grad[0].item() < 0.1) == stays
        removed.remove()                              # the first time, the copy's
    p.grad = tg.full_like(p.detach(), 7.0)
    optimizer.step()
    assert p.grad[0].item() == 7


def test_a_method_that_evaluates_several_times_is_clipped_each_time():
    pulls = []
    for clip in (False, True):
        p = nn.Parameter(tg.tensor([30.0, 40.0], dtype=tg.float64))
        optimizer = optim.LBFGS([p], lr=1, max_iter=2, max_eval=5)
        clipping = optim.ClipGradNorm(optimizer, 1.0) if clip else None

        def closure():
            optimizer.zero_grad()
            loss = (p * p).sum() / 2
            loss.backward()
            return loss

        optimizer.step(closure)
        pulls.append(p.grad.norm().item())
    assert pulls[0] > 1 > pulls[1] and clipping.norm.item() > 40


def test_errors():
    params, optimizer = start()
    stranger = nn.Parameter(tg.zeros(2))
    for act, error, text in (
            (lambda: optim.ClipGradNorm(params, 1.0), TypeError, "clip_grad_norm_"),
            (lambda: optim.ClipGradNorm(optimizer, -1.0), DomainError, "max_norm of at least 0"),
            (lambda: optim.ClipGradNorm(optimizer, 1.0, math.nan), ValueError, "norm_type"),
            (lambda: optim.ClipGradNormPerParameter(optimizer, math.nan), DomainError, "max_norm"),
            (lambda: optim.ClipGradValue(optimizer, -0.1), DomainError, "clip_value"),
            (lambda: optim.AdaptiveClipGrad(optimizer, 0.0), ValueError, "clip_factor is a number above 0"),
            (lambda: optim.AdaptiveClipGrad(optimizer, eps=0), ValueError, "eps"),
            (lambda: optim.AdaptiveClipGrad(optimizer, exclude=[params[0], stranger]), ValueError, "1 of the 2 parameters")):
        with pytest.raises(error, match=text):
            act()
    optimizer.step()                                  # none of them has been left behind
    assert all(np.array_equal(w - g, p.detach().numpy()) for w, g, p in zip(WEIGHTS, GRADS, params))
