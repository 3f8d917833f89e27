"""Medians and quantiles."""
from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd.op import op
from ...backend import device_of, namespace
from ...dtypes import FLOATS
from ...errors import DTypeError, ShapeError
from ...tensor import Tensor, as_array, wrap
from ..arguments import ValuesIndices, one
from ..broadcast import expand_to, permute_to, reshape_to
from ..elementwise import isnan, where
from ..index import gather
from ..index.positions import raw
from .sorting import chosen, first_equal, in_order, not_empty, sort

__all__ = ["median", "nanmedian", "nanquantile", "quantile"]


def _middle(x: Any, dim: int, skip_nan: bool) -> Any:
    """The lower median of an array along a dimension, which is kept."""
    xp, n = namespace(x), x.shape[dim]
    nans = xp.isnan(x).sum(axis=dim, keepdims=True)
    at = (n - 1 - nans).clip(0) // 2 if skip_nan else xp.where(nans > 0, n - nans, (n - 1) // 2)
    return xp.take_along_axis(xp.sort(x, axis=dim), at, dim)


_median = op("median", lambda xp, x, *, skip_nan: (
                 _middle(x.reshape(-1), 0, skip_nan).reshape(()) if x.size else xp.full((), xp.nan, dtype=x.dtype)),
             x=lambda g, x, y: _shared(g, (x == y) | (isnan(x) & isnan(y))))


def _shared(g: Any, ties: Any) -> Any:
    """g, divided evenly among the elements that are tied."""
    return where(ties, expand_to(g / raw(ties).sum(dtype=g.dtype), shape=ties.shape), 0.0)


def _median_along(input: Any, dim: int, keepdim: bool, skip_nan: bool, what: str) -> ValuesIndices:
    dim, x = not_empty(input, dim, what), raw(input)
    if x.ndim == 0:
        return chosen(input, dim, in_order(x, dim))
    return chosen(input, dim, first_equal(x, _middle(x, dim, skip_nan), dim), keepdim)


def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle of the elements in order, the lower of two; NaN where there is one.

    Args:
        input: a tensor of any shape.
        dim: the dimension to run along; all by default.
        keepdim: keep that dimension, with length 1.

    Returns:
        Without dim a 0-d tensor, whose gradient equal elements share evenly. With dim a named tuple (values, indices),
        of which among equal elements the first is meant.

    Raises:
        DimError: a dimension outside the tensor, or without elements.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.median(tg.tensor([3.0, 1.0, 2.0, 4.0]))
        tensor(2.)
    """
    return _median_of_all(input, False) if dim is None else _median_along(input, dim, keepdim, False, "median")


def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """As `median`, of the elements that are not NaN; NaN where all are.

    Args:
        input: a tensor of any shape.
        dim: the dimension to run along; all by default.
        keepdim: keep that dimension, with length 1.

    Returns:
        As `median`.

    Raises:
        DimError: a dimension outside the tensor, or without elements.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nanmedian(tg.tensor([3.0, float("nan"), 2.0]))
        tensor(2.)
    """
    return _median_of_all(input, True) if dim is None else _median_along(input, dim, keepdim, True, "nanmedian")


def _median_of_all(input: Any, skip_nan: bool) -> Any:
    x = raw(input)
    if x.size == 0 and x.dtype.kind not in FLOATS:
        raise ShapeError(f"the median of a tensor of shape {x.shape}: there are no elements, and {x.dtype} has no NaN")
    return _median(input, skip_nan=skip_nan)


def quantile(input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear") -> Tensor:
    """The values below which given fractions of the elements lie: at rank q·(n - 1) of the n elements in order.

    Args:
        input: a float32 or float64 tensor.
        q: a fraction in [0, 1], or a tensor of several, of input's dtype with at most one dimension.
        dim: the dimension to run along; all by default.
        keepdim: keep the reduced dimensions, with length 1.
        interpolation: between two elements "linear", or one of them: "lower", "higher", "nearest", or their "midpoint".

    Returns:
        A tensor without the reduced dimensions; for a q with a dimension, this comes first. NaN where there is a NaN.

    Raises:
        DTypeError: an input that is not float32 or float64, or q of another dtype.
        ShapeError: an empty input, or a q with more than one dimension.
        ValueError: a fraction outside of [0, 1], or an unknown interpolation.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.quantile(tg.tensor([1.0, 2.0, 3.0, 4.0]), 0.5)
        tensor(2.5000)
    """
    return _quantile(input, q, dim, keepdim, interpolation, False)


def nanquantile(input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear") -> Tensor:
    """As `quantile`, of the elements that are not NaN; NaN where all are.

    Args:
        input: a float32 or float64 tensor.
        q: a fraction in [0, 1], or a tensor of several, of input's dtype with at most one dimension.
        dim: the dimension to run along; all by default.
        keepdim: keep the reduced dimensions, with length 1.
        interpolation: as in `quantile`.

    Returns:
        As `quantile`.

    Raises:
        DTypeError, ShapeError, ValueError: as `quantile`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nanquantile(tg.tensor([1.0, float("nan"), 3.0]), 0.5)
        tensor(2.)
    """
    return _quantile(input, q, dim, keepdim, interpolation, True)


def _quantile(input: Any, q: Any, dim: int | None, keepdim: bool, interpolation: str, skip_nan: bool) -> Any:
    x = raw(input)
    q = _fractions(q, x)
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise ValueError(f'interpolation is "linear", "lower", "higher", "midpoint" or "nearest", got {interpolation!r}')
    shape, ndim = x.shape, x.ndim
    if dim is None or ndim == 0:
        dim = None if dim is None else one(x, dim)
        rows, rest = reshape_to(input, shape=(x.size,)), (1,) * ndim if keepdim else ()
    else:
        dim = one(x, dim)
        rows = permute_to(input, dims=(*[i for i in range(ndim) if i != dim], dim))
        rest = tuple(1 if i == dim else n for i, n in enumerate(shape) if keepdim or i != dim)
    y = _at_fractions(rows, reshape_to(q, shape=(raw(q).size,)), interpolation, skip_nan)
    y = permute_to(y, dims=(y.ndim - 1, *range(y.ndim - 1)))                    # q's dimension comes first
    return reshape_to(y, shape=(*q.shape, *rest))


def _fractions(q: Any, x: Any) -> Any:
    """q as a tensor of the array x's dtype, checked together with x."""
    if x.dtype not in (np.float32, np.float64):
        raise DTypeError(f"quantile is defined for float32 and float64 tensors, got {x.dtype}; write x.float()")
    if x.size == 0:
        raise ShapeError(f"quantile of a tensor of shape {x.shape}: there are no elements")
    if not isinstance(q, Tensor):
        q = wrap(as_array(q, dtype=x.dtype, device=device_of(x)))
    if q.dtype != x.dtype:
        raise DTypeError(f"quantile takes q of input's dtype {x.dtype}, got {q.dtype}; write q.to(x.dtype)")
    if q.ndim > 1:
        raise ShapeError(f"quantile takes a number or a 1-d tensor q, got shape {q.shape}")
    if isinstance(x, np.ndarray) and not ((q._data >= 0) & (q._data <= 1)).all():
        raise ValueError(f"quantile takes fractions q from 0 to 1, got {q._data.tolist()}")
    return q


def _at_fractions(rows: Any, q: Any, interpolation: str, skip_nan: bool) -> Any:
    """The quantiles of the last dimension, which the fractions take the place of."""
    x = raw(rows)
    xp, n = namespace(x), x.shape[-1]
    nans = xp.isnan(x).sum(axis=-1, keepdims=True)
    ordered = sort(rows, -1).values
    shape = (*x.shape[:-1], len(q))
    if skip_nan:
        ranks = q * wrap((n - 1 - nans).clip(0).astype(x.dtype))
    else:
        ranks = where(wrap(xp.broadcast_to(nans > 0, shape)), float(n - 1), q * float(n - 1))   # the last is NaN then
    exact = raw(ranks)
    pick_at = lambda ranks: gather(ordered, -1, wrap(ranks.astype(np.int64)))
    if interpolation == "nearest":
        return pick_at(xp.rint(exact))
    if interpolation == "higher":
        return pick_at(xp.ceil(exact))
    below = xp.floor(exact)
    low = pick_at(below)
    if interpolation == "lower":
        return low
    weight = 0.5 * wrap(xp.ceil(exact) - below) if interpolation == "midpoint" else ranks - wrap(below)
    return low + weight * (pick_at(xp.ceil(exact)) - low)
