"""Steps of optimizers on arrays, written in place, the way of gradients to their places, and what scaled losses and clipping need."""
from __future__ import annotations

from typing import Any, Callable, Sequence

import numpy as np

from ... import is_array, namespace
from ...memory import blocks

__all__ = ["adam_rates", "adam_step", "clip_to_norm", "collect", "sgd_step", "sum_of_squares", "unscale", "update_scale"]


def _gradient(p: Any, g: Any, decay: float, sign: float) -> Any:
    """±g + decay·p."""
    g = g if sign > 0 else -g
    return g + decay * p if decay else g


def _number(x: Any, p: Any) -> Any:
    """A number, in p's dtype where it is a 0-d array on the device."""
    return x.astype(p.dtype, copy=False) if is_array(x) else x


def _unless(skip: Any, written: Sequence[Any], step: Callable[[], None]) -> None:
    """A step, and what it has written undone where a 0-d array is true."""
    before = [None if a is None else a.copy() for a in written]
    step()
    for a, old in zip(written, before):
        if a is not None:
            namespace(a).copyto(a, old, where=skip)


def adam_step(p: Any, g: Any, m: Any, v: Any, largest: Any, rate: float, beta1: float, beta2: float, eps: float, decay: float = 0.0,
              shrink: float = 1.0, sign: float = 1.0, skip: Any = None) -> None:
    """m ← β₁·m + (1 - β₁)·g, v ← β₂·v + (1 - β₂)·g², p ← shrink·p - rate·m/(√v + ε), with g = sign·g + decay·p.

    Args:
        p: the parameters.
        g: their gradients.
        m: the average of the gradients.
        v: the average of their squares.
        largest: the largest v so far, which takes v's place in the step (amsgrad), or None.
        rate: lr·√(1 - β₂ᵗ)/(1 - β₁ᵗ) in step t; this, eps and shrink may be 0-d device arrays, which are read when the kernel runs.
        beta1: β₁.
        beta2: β₂.
        eps: ε·√(1 - β₂ᵗ).
        decay: the factor of an L2 penalty.
        shrink: 1 - lr·weight_decay where that is decoupled.
        sign: -1 to go uphill.
        skip: a 0-d bool array; where it is true when the kernel runs, nothing is written.
    """
    if skip is not None:
        _unless(skip, (p, m, v, largest), lambda: adam_step(p, g, m, v, largest, rate, beta1, beta2, eps, decay, shrink, sign))
        return
    rate, eps, shrink = (_number(x, p) for x in (rate, eps, shrink))
    for block in blocks(p, g, m, v, largest):
        p, g, m, v, largest = block
        xp, g = namespace(p), _gradient(p, g, decay, sign)
        if is_array(shrink) or shrink != 1:
            p *= shrink
        work = xp.multiply(g, 1 - beta1)              # the only temporary array
        m *= beta1
        m += work
        v *= beta2
        xp.multiply(g, g, out=work)
        work *= 1 - beta2
        v += work
        if largest is not None:
            v = xp.maximum(largest, v, out=largest)
        xp.sqrt(v, out=work)
        work += eps
        xp.divide(m, work, out=work)
        work *= rate
        p -= work


def adam_rates(steps: Any, skip: Any, lr: Any, beta1: float, beta2: float, eps: float, weight_decay: float, corrected: bool, dtype: Any) -> Any:
    """What `adam_step` takes of the number t of the step: (lr·c₂/c₁, ε·c₂, 1 - lr·weight_decay), with c₁ = 1 - β₁ᵗ and c₂ = √(1 - β₂ᵗ).

    Args:
        steps: t - 1 for each parameter, all the same; increased by 1 here.
        skip: a 0-d bool array; where it is true the steps are not counted. Or None.
        lr: the learning rate, which may be a 0-d float64 array on the device.
        beta1, beta2, eps, weight_decay: as for Adam.
        corrected: False for c₁ = c₂ = 1.
        dtype: of the three numbers, which are computed in float64.
    """
    xp = namespace(steps)
    steps += 1 if skip is None else xp.logical_not(skip)
    t = xp.maximum(steps[0], 1).astype(np.float64)    # of a skipped first step, which nobody uses
    c1, c2 = (1 - beta1 ** t, xp.sqrt(1 - beta2 ** t)) if corrected else (1.0, 1.0)
    rates = xp.empty(3, dtype)
    rates[0], rates[1], rates[2] = lr * c2 / c1, eps * c2, 1 - lr * weight_decay
    return rates


def sgd_step(p: Any, g: Any, v: Any, lr: float, momentum: float = 0.0, fresh: float = 1.0, decay: float = 0.0, sign: float = 1.0,
             nesterov: bool = False, skip: Any = None) -> None:
    """v ← momentum·v + fresh·g, p ← p - lr·v, or with Nesterov p - lr·(g + momentum·v), with g = sign·g + decay·p; without v, p ← p - lr·g.

    lr may be a 0-d device array, which is read when the kernel runs. Where skip, a 0-d bool array, is true then, nothing is written.
    """
    if skip is not None:
        _unless(skip, (p, v), lambda: sgd_step(p, g, v, lr, momentum, fresh, decay, sign, nesterov))
        return
    lr = _number(lr, p)
    for block in blocks(p, g, v):
        p, g, v = block
        g = _gradient(p, g, decay, sign)
        if v is not None:
            v *= momentum
            v += g if fresh == 1 else fresh * g
            g = g + momentum * v if nesterov else v
        p -= lr * g


def clip_to_norm(x: Any, norm: Any, limit: float) -> None:
    """x ← x·min(1, limit/(norm + 1e-6)), where the norm is a 0-d array on x's device."""
    x *= namespace(x).minimum(limit / (norm + 1e-6), 1)


def collect(pairs: Sequence[tuple[Any, Any]], add: bool = False) -> None:
    """y ← x, or y ← y + x, for pairs (y, x) of arrays of one shape and dtype, in their order."""
    for y, x in pairs:
        if add:
            y += x
        else:
            y[...] = x


def sum_of_squares(x: Any) -> Any:
    """Σ x² of all elements, as a 0-d array; float16 and bfloat16 in float32."""
    xp = namespace(x)
    flat = (x if x.dtype.char not in "eE" else x.astype("float32")).reshape(-1)
    return np.asarray(xp.vdot(flat, flat)) if xp is np else xp.vdot(flat, flat)


def unscale(x: Any, scale: Any, found: Any) -> None:
    """x ← x/scale, where the scale is a number or a 0-d float32 array; found, a 0-d bool array, becomes true where an element is not finite then."""
    xp = namespace(x)
    x *= 1 / scale
    xp.logical_or(found, ~xp.isfinite(x).all(), out=found)


def update_scale(state: Any, found: Any, growth: float, backoff: float, interval: int) -> None:
    """Adapt the scale of a loss, state[0]; state[1] are the good steps since it changed last.

    scale ← backoff·scale where found is true, else growth·scale after `interval` good steps, unless that is ∞.
    """
    scale, good = state.tolist()
    grown = float(np.float32(scale * growth))
    if found:
        state[...] = scale * backoff, 0
    elif good + 1 == interval:
        state[...] = grown if np.isfinite(grown) else scale, 0
    else:
        state[1] = good + 1
