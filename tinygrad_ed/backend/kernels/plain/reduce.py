"""Reductions of arrays over dimensions: sums and what is made of them, extremes and where they stand; and running sums and products.

`dims` is a tuple of dimensions in [0, ndim). float16 is summed in float32: in its own precision 2048 + 1 is 2048.
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import namespace
from .activation import wide

__all__ = ["extreme", "extreme_at", "length", "logsumexp", "mean", "running_product", "running_sum", "total", "variance"]


# -- sums --------------------------------------------------------------------------------------------------------------

def total(x: Any, dims: tuple, keepdim: bool, dtype: Any = None) -> Any:
    """Σ x, in a dtype."""
    if (dtype or x.dtype).char == "e":
        return x.sum(axis=dims, dtype="float32", keepdims=keepdim).astype("float16")
    if dims == (x.ndim - 1,) and x.ndim > 1 and dtype is None and type(x) is np.ndarray and x.dtype.kind == "f" and x.flags.c_contiguous:
        n = x.shape[-1]
        if 0 < n <= 1024:                                 # short rows: a matrix product takes a quarter of the time
            return (x.reshape(-1, n) @ np.ones(n, x.dtype)).reshape(x.shape[:-1] + (1,) * keepdim)
    return x.sum(axis=dims, dtype=dtype, keepdims=keepdim)


def mean(x: Any, dims: tuple, keepdim: bool) -> Any:
    """Σ x / n; NaN of nothing."""
    n = math.prod([x.shape[i] for i in dims])
    s = total(wide(x), dims, keepdim)
    return (s / n if n else s + math.nan).astype(x.dtype, copy=False)


def variance(x: Any, dims: tuple, keepdim: bool, freedom: float) -> Any:
    """Σ (x - mean)² / freedom, in two passes: the squares are of small numbers even where the mean is large."""
    w = wide(x)
    d = w - mean(w, dims, True)
    d *= d
    s = total(d, dims, keepdim)
    return (s / freedom if freedom else s * math.inf).astype(x.dtype, copy=False)


def length(x: Any, dims: tuple, keepdim: bool) -> Any:
    """√(Σ x²)."""
    xp, w = namespace(x), wide(x)
    s = total(w * w, dims, keepdim) if len(dims) < x.ndim else xp.vdot(w, w).reshape((1,) * (x.ndim * keepdim))
    return xp.sqrt(s).astype(x.dtype, copy=False)


def logsumexp(x: Any, dims: tuple, keepdim: bool) -> Any:
    """log Σ e^x, without overflow; -∞ of nothing, and where all of x is -∞."""
    xp = namespace(x)
    w = wide(x)
    m = xp.asarray(extreme(w, "max", dims, True) if x.size else 0, w.dtype)
    m = xp.where(xp.isfinite(m), m, xp.zeros_like(m))      # ∞ - ∞ is not wanted below
    z = xp.asarray(w - m)
    xp.exp(z, out=z)
    y = xp.log(total(z, dims, True)) + m
    return (y if keepdim else y.squeeze(dims)).astype(x.dtype, copy=False)


# -- extremes ----------------------------------------------------------------------------------------------------------

def extreme(x: Any, which: str, dims: tuple, keepdim: bool) -> Any:
    """The largest ("max") or smallest ("min") of an array; NaN where there is one."""
    if type(x) is np.ndarray and dims == (x.ndim - 1,) and x.flags.c_contiguous and x.size and x.shape[-1] <= 1024:
        ufunc = np.maximum if which == "max" else np.minimum            # along short rows reduceat takes half the time of reduce
        y = ufunc.reduceat(x.reshape(-1), np.arange(0, x.size, x.shape[-1]))
        return y.reshape(x.shape[:-1] + (1,) * keepdim)
    return getattr(x, which)(axis=dims, keepdims=keepdim)


def extreme_at(x: Any, which: str, dim: int | None, keepdim: bool) -> Any:
    """Where the largest ("max") or smallest ("min") stands, the first of equals, NaN before all; for dim None in x flattened."""
    return getattr(x, "arg" + which)(axis=dim, keepdims=keepdim)


# -- along the way -----------------------------------------------------------------------------------------------------

def _run(name: str, x: Any, dim: int, step: int) -> Any:
    way = (slice(None),) * dim + (slice(None, None, step),)
    return getattr(namespace(x), name)(wide(x)[way], axis=dim)[way].astype(x.dtype, copy=False)


def running_sum(x: Any, dim: int, step: int) -> Any:
    """y[k] = x[0] + ··· + x[k]; for step -1 from the end, x[k] + ··· + x[n-1]."""
    return _run("cumsum", x, dim, step)


def running_product(x: Any, dim: int, step: int) -> Any:
    """y[k] = x[0]···x[k]; for step -1 from the end, x[k]···x[n-1]."""
    return _run("cumprod", x, dim, step)
