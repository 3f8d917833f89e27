"""The softmax family: exponentials divided by their sum, and the logarithms of both, along a dimension; and the derivatives.

Forward and backward work in place on arrays of their own: a softmax makes one array of its input's size, its gradient one.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ... import namespace
from .activation import wide
from .reduce import extreme, total

__all__ = ["log_softmax", "log_softmax_backward", "softmax", "softmax_backward"]


def _shifted(xp: Any, x: Any, dim: int) -> Any:
    """x minus its maximum: the exponentials are at most 1 and their sum at least 1."""
    return xp.subtract(x, extreme(x, "max", (dim,), True))


def softmax(x: Any, dim: int) -> Any:
    """e^xᵢ / Σⱼ e^xⱼ."""
    xp, w = namespace(x), wide(x)
    if not x.size:
        return x.copy()
    if xp is np and w.max() < 64:                         # no overflow: the shift is needed only where all of a row underflows
        e = np.exp(w)
        s = total(e, (dim,), True)
        if s.min() > 1e-6:
            e /= s
            return e.astype(x.dtype, copy=False)
    e = _shifted(xp, w, dim)
    xp.exp(e, out=e)
    e /= total(e, (dim,), True)
    return e.astype(x.dtype, copy=False)


def softmax_backward(d: Any, p: Any, dim: int) -> Any:
    """p·(d - Σ d·p) for p = softmax(x): the derivative by x, and since it is symmetric, that of this by d."""
    xp = namespace(d)
    g = xp.multiply(wide(d), p)
    xp.subtract(d, total(g, (dim,), True), out=g)
    g *= p
    return g.astype(d.dtype, copy=False)


def log_softmax(x: Any, dim: int) -> Any:
    """xᵢ - log Σⱼ e^xⱼ."""
    if not x.size:
        return x.copy()
    xp = namespace(x)
    z = _shifted(xp, wide(x), dim)
    z -= xp.log(total(xp.exp(z), (dim,), True))
    return z.astype(x.dtype, copy=False)


def log_softmax_backward(d: Any, z: Any, dim: int) -> Any:
    """d - e^z·Σ d for z = log_softmax(x)."""
    xp = namespace(d)
    g = xp.exp(wide(z))
    g *= total(wide(d), (dim,), True)
    xp.subtract(d, g, out=g)
    return g.astype(d.dtype, copy=False)
