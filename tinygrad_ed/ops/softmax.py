"""The softmax family: exponentials divided by their sum, and the logarithms of both."""
from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from ..autograd.op import op
from ..backend.kernels import kernels
from ..tensor import Tensor
from .arguments import Dims, cast, numpy_names, one, over, require_float
from .broadcast import keep_dims, reshape_to, sum_over
from .elementwise import exp, where

__all__ = ["log_softmax", "logsumexp", "softmax"]


# -- primitives --------------------------------------------------------------------------------------------------------

def _dot(a: Any, b: Any, dim: int) -> Any:
    return sum_over(a * b, dims=(dim,), keepdim=True)


# p = softmax(x) has the symmetric Jacobian J = diag(p) - p pᵀ, so the gradient of d ↦ J·d is g ↦ J·g again.
_softmax = op("softmax", lambda x, *, dim: kernels(x).softmax(x, dim), x=lambda g, y, dim: _softmax_vjp(g, y, dim=dim))
_softmax_vjp = op("softmax_vjp", lambda d, p, *, dim: kernels(d).softmax_backward(d, p, dim), doc="p·(d - Σ d·p).",
                  d=lambda g, p, dim: _softmax_vjp(g, p, dim=dim),
                  p=lambda g, d, p, dim: g * (d - _dot(d, p, dim)) - d * _dot(g, p, dim))
_log_softmax = op("log_softmax", lambda x, *, dim: kernels(x).log_softmax(x, dim), x=lambda g, y, dim: _log_softmax_vjp(g, y, dim=dim))
_log_softmax_vjp = op("log_softmax_vjp", lambda d, z, *, dim: kernels(d).log_softmax_backward(d, z, dim), doc="d - e^z·Σ d.",
                      d=lambda g, z, dim: g - _dot(g, exp(z), dim),
                      z=lambda g, d, z, dim: -g * exp(z) * sum_over(d, dims=(dim,), keepdim=True))
_logsumexp = op("logsumexp", lambda x, *, dims, keepdim: kernels(x).logsumexp(x, dims, keepdim), to_float=True,
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
