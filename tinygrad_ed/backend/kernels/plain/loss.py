"""Losses of single elements, computed in pieces that stay in the processor's cache.

If gradients are recorded (`derive`), the derivative is found along with the value, so that the way back is one product.
"""
from __future__ import annotations

import math
from functools import wraps
from typing import Any, Callable

import numpy as np

from ... import namespace
from .activation import PIECE, _log_one_plus, select, wide
from .memory import empty

__all__ = ["absolute_loss", "binary_cross_entropy", "focal_logistic_loss", "huber_loss", "logistic_loss", "soft_margin_loss",
           "squared_loss"]

INF = math.inf


def _elementwise(body: Callable) -> Callable:
    """Make body(xp, x, t, slope, *at), which returns the losses and (unless None) fills slope with their derivatives by x, a kernel.

    The kernel(x, t, scale, reduce, derive, *at) returns scale times the losses, or their sum, and scale times the slope or None; the
    slope of float16 stays in float32.
    """
    @wraps(body)
    def kernel(x: Any, t: Any, scale: float, reduce: bool, derive: bool, *at: float) -> tuple:
        xp, dtype, shape = namespace(x), x.dtype, x.shape
        x, t = wide(x).reshape(-1), wide(t).reshape(-1)
        y = None if reduce else empty(xp, x.shape, x.dtype)
        slope = empty(xp, x.shape, x.dtype) if derive else None
        step = PIECE if xp is np else max(x.size, 1)
        sums = []
        for i in range(0, max(x.size, 1), step):
            d = None if slope is None else slope[i:i + step]
            loss = body(xp, x[i:i + step], t[i:i + step], d, *at)
            if d is not None and scale != 1:
                d *= scale
            if y is None:
                sums.append(loss.sum())
            else:
                xp.multiply(loss, scale, out=y[i:i + step])
        if y is None:
            y = xp.asarray((sum(map(float, sums)) if xp is np else sums[0]) * scale)
        return y.reshape(() if reduce else shape).astype(dtype, copy=False), slope if slope is None else slope.reshape(shape)
    return kernel


@_elementwise
def squared_loss(xp: Any, x: Any, t: Any, slope: Any) -> Any:
    """(x - t)²; the derivative is 2(x - t)."""
    d = x - t
    if slope is not None:
        xp.add(d, d, out=slope)
    d *= d
    return d


@_elementwise
def absolute_loss(xp: Any, x: Any, t: Any, slope: Any) -> Any:
    """|x - t|; the derivative is the sign of x - t."""
    d = x - t
    if slope is not None:
        xp.sign(d, out=slope)
    return xp.abs(d, out=d)


@_elementwise
def huber_loss(xp: Any, x: Any, t: Any, slope: Any, delta: float) -> Any:
    """c·(z - c/2) with z = x - t and c = z limited to ±δ: z²/2 within, a line beyond; the derivative is c."""
    z = x - t
    c = xp.clip(z, -delta, delta)
    if slope is not None:
        slope[...] = c
    z += z
    z -= c
    z *= c
    z *= 0.5
    return z


@_elementwise
def logistic_loss(xp: Any, x: Any, t: Any, slope: Any) -> Any:
    """max(x, 0) - x·t + log(1 + e^-|x|), the binary cross-entropy of σ(x); the derivative is σ(x) - t."""
    e = xp.abs(x)
    xp.negative(e, out=e)
    xp.exp(e, out=e)
    loss, u = _log_one_plus(xp, e)
    loss += xp.clip(x, 0, INF)
    loss -= x * t
    if slope is not None:
        xp.divide(select(x < 0, e, 1), u, out=slope)
        slope -= t
    return loss


@_elementwise
def focal_logistic_loss(xp: Any, x: Any, t: Any, slope: Any, alpha: float, gamma: float) -> Any:
    """α_t·u^γ·L with `logistic_loss` L, p = σ(x) and u = p + t - 2pt; its derivative is α_t·u^(γ-1)·(γ·(1-2t)·p·(1-p)·L + u·(p - t))."""
    e = xp.abs(x)
    xp.negative(e, out=e)
    xp.exp(e, out=e)
    loss, one = _log_one_plus(xp, e)
    loss += xp.clip(x, 0, INF)
    loss -= x * t
    p = select(x < 0, e, 1)
    p /= one
    side = 1 - t
    side -= t                                         # 1 - 2t
    u = p * side
    u += t
    xp.clip(u, np.finfo(x.dtype).tiny, 1, out=u)      # where it is 0, so is the derivative, for γ below 1 too
    weight = u ** (gamma - 1) if gamma != 2 else u.copy()
    if alpha >= 0:
        weight *= (1 - alpha) + (2 * alpha - 1) * t
    if slope is not None:
        side *= gamma
        side *= p
        side *= 1 - p
        side *= loss
        xp.subtract(p, t, out=slope)
        slope *= u
        slope += side
        slope *= weight
    loss *= weight
    loss *= u
    return loss


@_elementwise
def soft_margin_loss(xp: Any, x: Any, t: Any, slope: Any) -> Any:
    """log(1 + e^-z) = max(-z, 0) + log(1 + e^-|z|) with z = t·x; the derivative is -t·σ(-z)."""
    z = x * t
    e = xp.abs(z)
    xp.negative(e, out=e)
    xp.exp(e, out=e)
    loss, u = _log_one_plus(xp, e)
    loss -= xp.clip(z, -INF, 0)
    if slope is not None:
        xp.divide(select(z > 0, e, 1), u, out=slope)
        slope *= t
        xp.negative(slope, out=slope)
    return loss


@_elementwise
def binary_cross_entropy(xp: Any, x: Any, t: Any, slope: Any) -> Any:
    """-t·log x - (1 - t)·log(1 - x), the logarithms at least -100; the derivative is (1 - t)/(1 - x) - t/x, the divisors at least 1e-12."""
    rest = 1 - x
    log_rest = xp.log(rest)
    lost = 1 - rest                                   # what rounding 1 - x has lost of x, as in `_log_one_plus`
    lost -= x
    log_rest += xp.divide(lost, xp.clip(rest, 1e-30, 1), out=lost)
    xp.clip(log_rest, -100, 0, out=log_rest)
    loss = xp.log(x)
    xp.clip(loss, -100, 0, out=loss)
    xp.subtract(log_rest, loss, out=loss)
    loss *= t
    loss -= log_rest
    if slope is not None:
        xp.subtract(1, t, out=slope)
        slope /= xp.clip(rest, 1e-12, 1, out=rest)
        slope -= xp.divide(t, xp.clip(x, 1e-12, 1), out=rest)
    return loss
