"""The softmax family: exponentials divided by their sum, and the logarithms of both.

Forward and backward work in place on arrays of their own: a softmax makes one array of its input's size, its gradient one.
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.op import op
from ..tensor import Tensor
from .arguments import Dims, cast, numpy_names, one, over, require_float, wide
from .broadcast import keep_dims, reshape_to, sum_over, total
from .elementwise import exp, where
from .reduce.extrema import extreme

__all__ = ["log_softmax", "logsumexp", "softmax"]


# -- on arrays ---------------------------------------------------------------------------------------------------------

def _shifted(xp: Any, x: Any, dim: int) -> Any:
    """x minus its maximum: the exponentials are at most 1 and their sum at least 1."""
    return xp.subtract(x, extreme(x, "max", (dim,), True))


def _softmax_of(xp: Any, x: Any, dim: int) -> Any:
    w = wide(x)
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


def _log_softmax_of(xp: Any, x: Any, dim: int) -> Any:
    if not x.size:
        return x.copy()
    z = _shifted(xp, wide(x), dim)
    z -= xp.log(total(xp.exp(z), (dim,), True))
    return z.astype(x.dtype, copy=False)


def _softmax_back(xp: Any, d: Any, p: Any, dim: int) -> Any:
    g = xp.multiply(wide(d), p)
    xp.subtract(d, total(g, (dim,), True), out=g)
    g *= p
    return g.astype(d.dtype, copy=False)


def _log_softmax_back(xp: Any, d: Any, z: Any, dim: int) -> Any:
    g = xp.exp(wide(z))
    g *= total(wide(d), (dim,), True)
    xp.subtract(d, g, out=g)
    return g.astype(d.dtype, copy=False)


def _logsumexp_of(xp: Any, x: Any, dims: tuple, keepdim: bool) -> Any:
    w = wide(x)
    m = xp.asarray(extreme(w, "max", dims, True) if x.size else 0, w.dtype)
    m = xp.where(xp.isfinite(m), m, xp.zeros_like(m))      # ∞ - ∞ is not wanted below
    z = xp.asarray(w - m)
    xp.exp(z, out=z)
    y = xp.log(total(z, dims, True)) + m
    return (y if keepdim else y.squeeze(dims)).astype(x.dtype, copy=False)


# -- primitives --------------------------------------------------------------------------------------------------------

def _dot(a: Any, b: Any, dim: int) -> Any:
    return sum_over(a * b, dims=(dim,), keepdim=True)


# p = softmax(x) has the symmetric Jacobian J = diag(p) - p pᵀ, so the gradient of d ↦ J·d is g ↦ J·g again.
_softmax = op("softmax", lambda xp, x, *, dim: _softmax_of(xp, x, dim), x=lambda g, y, dim: _softmax_vjp(g, y, dim=dim))
_softmax_vjp = op("softmax_vjp", lambda xp, d, p, *, dim: _softmax_back(xp, d, p, dim), doc="p·(d - Σ d·p).",
                  d=lambda g, p, dim: _softmax_vjp(g, p, dim=dim),
                  p=lambda g, d, p, dim: g * (d - _dot(d, p, dim)) - d * _dot(g, p, dim))
_log_softmax = op("log_softmax", lambda xp, x, *, dim: _log_softmax_of(xp, x, dim), x=lambda g, y, dim: _log_softmax_vjp(g, y, dim=dim))
_log_softmax_vjp = op("log_softmax_vjp", lambda xp, d, z, *, dim: _log_softmax_back(xp, d, z, dim), doc="d - e^z·Σ d.",
                      d=lambda g, z, dim: g - _dot(g, exp(z), dim),
                      z=lambda g, d, z, dim: -g * exp(z) * sum_over(d, dims=(dim,), keepdim=True))
_logsumexp = op("logsumexp", lambda xp, x, *, dims, keepdim: _logsumexp_of(xp, x, dims, keepdim), to_float=True,
                x=lambda g, x, y, dims, keepdim: _weighted(g, x, y, dims, keepdim))


def _weighted(g: Any, x: Any, y: Any, dims: tuple, keepdim: bool) -> Any:
    """g · softmax(x), and 0 where all of x is -∞."""
    g, y = keep_dims(g, x.shape, dims, keepdim), keep_dims(y, x.shape, dims, keepdim)
    return g * exp(x - where(y == -math.inf, 0.0, y))


# -- the public functions ----------------------------------------------------------------------------------------------

def _normalized(name: str, primitive: Any, x: Tensor, dim: int, dtype: Any) -> Tensor:
    dim, x = one(x, dim), x if dtype is None else cast(x, dtypes.canonical(dtype))
    require_float(x, name)
    if x.ndim == 0:
        return reshape_to(primitive(reshape_to(x, shape=(1,)), dim=0), shape=())
    return primitive(x, dim=dim)


@numpy_names
def softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """e^xᵢ / Σⱼ e^xⱼ along a dimension: positive numbers that sum to 1; NaN where all of x is -∞.

    Args:
        input: a floating point tensor of any shape.
        dim: the dimension that sums to 1.
        dtype: the floating point dtype to convert to first; input's by default.

    Returns:
        A tensor of input's shape.

    Raises:
        DTypeError: integers or booleans without a floating point dtype.
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.softmax(tg.tensor([0.0, 0.0, 1000.0]), dim=0)
        tensor([0., 0., 1.])
    """
    return _normalized("softmax", _softmax, input, dim, dtype)


@numpy_names
def log_softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """log softmax(x) = xᵢ - log Σⱼ e^xⱼ along a dimension, without overflow; NaN where all of x is -∞.

    Args:
        input: a floating point tensor of any shape.
        dim: the dimension whose exponentials sum to 1.
        dtype: the floating point dtype to convert to first; input's by default.

    Returns:
        A tensor of input's shape.

    Raises:
        DTypeError: integers or booleans without a floating point dtype.
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.log_softmax(tg.tensor([0.0, 0.0]), dim=0)
        tensor([-0.6931, -0.6931])
    """
    return _normalized("log_softmax", _log_softmax, input, dim, dtype)


@numpy_names
def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """log Σᵢ e^xᵢ over dimensions, without overflow; -∞ of nothing, and where all of x is -∞ (the derivative there is 0).

    Args:
        input: a tensor of any shape; integers are first converted to the default floating point dtype.
        dim: the dimension or dimensions to reduce.
        keepdim: keep the reduced dimensions, with length 1.

    Returns:
        A tensor of the remaining dimensions.

    Raises:
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.logsumexp(tg.tensor([[0.0, 0.0], [0.0, 1000.0]]), dim=1)
        tensor([6.9315e-01, 1.0000e+03])
    """
    return _logsumexp(input, dims=over(input, dim), keepdim=keepdim)
