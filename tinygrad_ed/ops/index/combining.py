"""scatter and its relatives: elements combined into places that an index names, several into one if need be."""
from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ...autograd.op import op
from ...backend import namespace
from ...dtypes import FLOATS
from ...errors import ShapeError
from ...tensor import Tensor, as_array, normalize_dim
from ..broadcast import reshape_to
from ..elementwise import floor_divide, where
from .positions import in_rows, integers, pick, positions_along, raw, replace, row_numbers, spread
from .subscript import slice_of
from .writing import same_dtype, shaped, slices

__all__ = ["index_reduce", "scatter", "scatter_add", "scatter_reduce"]


def _elements(input: Any, dim: int, index: Any, src: Any, what: str) -> tuple[Any, Any]:
    """The positions in flattened input that a scatter writes, and the elements of src that go there."""
    dim = normalize_dim(dim, input.ndim)
    index = integers(index, raw(input), what)
    positions = positions_along(index, dim, input.shape, what)
    if not hasattr(src, "dtype"):
        return positions, namespace(raw(input)).full(index.shape, as_array(src, dtype=input.dtype).item(), dtype=input.dtype)
    same_dtype(input, src, what)
    if index.size == 0:
        return positions, namespace(raw(input)).zeros(index.shape, dtype=input.dtype)
    if max(src.ndim, 1) != max(index.ndim, 1) or any(n > m for n, m in zip(index.shape, src.shape)):
        raise ShapeError(f"{what}: an index of shape {index.shape} takes a src at least that long in every dimension, got {src.shape}")
    if src.shape == index.shape:
        return positions, src
    if src.ndim != index.ndim:                        # one of them is 0-d
        return positions, reshape_to(src, shape=index.shape)
    return positions, slice_of(src, index=tuple([slice(n) for n in index.shape]))


def scatter(input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None) -> Tensor:
    """input with elements replaced at given indices of a dimension, chosen for every element of src on its own.

    For dim = 1 in three dimensions: output[i, index[i, j, k], k] = src[i, j, k]. Where an element is named several
    times, the last value stays.

    Args:
        input: a tensor of any shape.
        dim: the dimension.
        index: a tensor of integers with as many dimensions, none longer than input's except `dim`.
        src: a tensor of input's dtype at least as long as index everywhere, or a number.
        value: a number, in place of src.
        reduce: "add" or "multiply" to combine with what is there, instead of replacing it.

    Returns:
        A new tensor of input's shape.

    Raises:
        IndexRangeError: an index out of range.
        ShapeError: an index or a src whose shape does not fit.
        DTypeError: a src of another dtype.
        ValueError: an unknown reduction.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.scatter(tg.zeros(2, 3), 1, tg.tensor([[2], [0]]), 1.0)
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
    """
    if (src is None) == (value is None):
        raise TypeError("scatter takes a tensor src or a number value, and not both")
    if reduce is not None:
        if reduce not in ("add", "multiply"):
            raise ValueError(f'scatter\'s reduce is "add" or "multiply", got {reduce!r}; write scatter_reduce for others')
        positions, src = _elements(input, dim, index, value if src is None else src, "scatter")
        return _reduced(input, src, positions, 0, input.ndim, {"add": "sum", "multiply": "prod"}[reduce], True)
    positions, src = _elements(input, dim, index, value if src is None else src, "scatter")
    return replace(input, src, positions, dim=0, count=input.ndim)


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """input with src added at given indices of a dimension, chosen for every element of src on its own.

    For dim = 1 in three dimensions: output[i, index[i, j, k], k] += src[i, j, k].

    Args:
        input: a tensor of any shape.
        dim: the dimension.
        index: a tensor of integers with as many dimensions, none longer than input's except `dim`.
        src: a tensor of input's dtype at least as long as index everywhere.

    Returns:
        A new tensor of input's shape.

    Raises:
        IndexRangeError: an index out of range.
        ShapeError: an index or a src whose shape does not fit.
        DTypeError: a src of another dtype.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.scatter_add(tg.zeros(2), 0, tg.tensor([1, 1, 0]), tg.tensor([1.0, 2.0, 3.0]))
        tensor([3., 3.])
    """
    positions, src = _elements(input, dim, index, src, "scatter_add")
    return _reduced(input, src, positions, 0, input.ndim, "sum", True)


def scatter_reduce(input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True) -> Tensor:
    """input with src combined into it at given indices of a dimension, chosen for every element of src on its own.

    Args:
        input: a tensor of any shape.
        dim: the dimension.
        index: a tensor of integers with as many dimensions, none longer than input's except `dim`.
        src: a tensor of input's dtype at least as long as index everywhere.
        reduce: "sum", "prod", "mean", "amax" or "amin".
        include_self: whether what was in input takes part.

    Returns:
        A new tensor of input's shape. Equal extremes share their gradient equally.

    Raises:
        IndexRangeError: an index out of range.
        ShapeError: an index or a src whose shape does not fit.
        DTypeError: a src of another dtype.
        ValueError: an unknown reduction.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.scatter_reduce(tg.zeros(2), 0, tg.tensor([1, 1, 0]), tg.tensor([1.0, 4.0, 3.0]), "amax")
        tensor([3., 4.])
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise ValueError(f'scatter_reduce takes "sum", "prod", "mean", "amax" or "amin", got {reduce!r}')
    positions, src = _elements(input, dim, index, src, "scatter_reduce")
    return _reduced(input, src, positions, 0, input.ndim, reduce, include_self)


def index_reduce(input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True) -> Tensor:
    """input with its slice number index[i] along a dimension combined with source[i], for every i.

    Args:
        input: a tensor of any shape.
        dim: the dimension.
        index: a 1-d tensor of integers, counted from 0.
        source: a tensor of input's shape and dtype, but with len(index) in place of that dimension.
        reduce: "prod", "mean", "amax" or "amin".
        include_self: whether what was in input takes part.

    Returns:
        A new tensor of input's shape.

    Raises:
        IndexRangeError: an index out of range.
        ShapeError: a source of another shape.
        DTypeError: a source of another dtype.
        ValueError: an unknown reduction.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.index_reduce(tg.ones(2), 0, tg.tensor([0, 0]), tg.tensor([2.0, 3.0]), "prod")
        tensor([6., 1.])
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise ValueError(f'index_reduce takes "prod", "mean", "amax" or "amin", got {reduce!r}; for sums write index_add')
    x, dim, index, source = slices(input, dim, index, source, "index_reduce")
    return shaped(_reduced(x, source, index, dim, 1, reduce, include_self), input)


def _reduced(x: Any, source: Any, index: Any, dim: int, count: int, reduce: str, include_self: bool) -> Any:
    """x with the source combined into it at positions, as `pick` reads them."""
    at = {"dim": dim, "count": count}
    if reduce == "prod":
        return _multiplied(x, source, index, dim, count, include_self)
    if reduce in ("amax", "amin"):
        x = x if include_self else replace(x, _neutral(x.dtype, reduce == "amax"), index, **at)
        return _extreme(x, source, index, largest=reduce == "amax", **at)
    total = (x if include_self else replace(x, 0, index, **at)) + spread(source, index, shape=x.shape, **at)
    if reduce == "sum":
        return total
    xp = namespace(index)
    terms = spread(xp.ones(source.shape, dtype=x.dtype), index, shape=x.shape, **at) + int(include_self)
    terms = xp.maximum(terms, 1)                      # where nothing was combined, the sum of one
    return total / terms if x.dtype.kind in FLOATS else floor_divide(total, terms)


def _neutral(dtype: np.dtype, largest: bool) -> Any:
    """What never wins: -∞ or the least integer in a maximum, and the opposite in a minimum."""
    if dtype.kind in FLOATS:
        return -np.inf if largest else np.inf
    limits = np.iinfo(dtype)
    return limits.min if largest else limits.max


_extreme = op("scatter_reduce", lambda xp, x, source, index, *, dim, count, largest: _extremes(xp, x, source, index, dim, count, largest),
              x=lambda g, x, source, index, y, dim, count: where(x == y, g / _ties(x, source, index, y, dim=dim, count=count), 0.0),
              source=lambda g, x, source, index, y, dim, count: where(
                  source == pick(y, index, dim=dim, count=count),
                  pick(g / _ties(x, source, index, y, dim=dim, count=count), index, dim=dim, count=count), 0.0),
              doc="x with the larger, or smaller, of itself and the source at positions; equal ones share the gradient.")
_ties = op("ties", lambda xp, x, source, index, extreme, *, dim, count: xp.maximum((x == extreme) + spread(
    (source == pick(extreme, index, dim=dim, count=count)).astype(x.dtype), index, shape=x.shape, dim=dim, count=count), x.dtype.type(1)),
           doc="How many elements of x and of the source are equal to the extreme of their place.")


def _extremes(xp: Any, x: Any, source: Any, index: Any, dim: int, count: int, largest: bool) -> Any:
    y = xp.array(x, order="C")
    outer, n, inner = prod(y.shape[:dim]), prod(y.shape[dim:dim + count]), prod(y.shape[dim + count:])
    at = in_rows(xp, row_numbers(xp, index, outer, n), inner)
    (xp.maximum if largest else xp.minimum).at(y.reshape(-1), at, source.reshape(-1))
    return y


def _multiplied(x: Any, source: Any, index: Any, dim: int, count: int, include_self: bool) -> Any:
    """x with the product of the source's elements multiplied in: neighbours in pairs until each place has one factor.

    There is no division, so zeros are no exception and derivatives of every order are right.
    """
    xp = namespace(index)
    factors = reshape_to(source, shape=(*x.shape[:dim], index.size, *x.shape[dim + count:]))
    places = index.reshape(-1)
    order = places.argsort()
    factors, places = pick(factors, order, dim=dim, count=1), places[order]
    while True:
        first = xp.ones(len(places), dtype=bool)      # whether a factor is its place's first
        first[1:] = places[1:] != places[:-1]
        if first.all():
            break
        number = xp.arange(len(places)) - xp.flatnonzero(first)[xp.cumsum(first) - 1]
        left = xp.flatnonzero(number % 2 == 0)
        right = xp.minimum(left + 1, len(places) - 1)
        paired = (places[right] == places[left]) & (right > left)
        others = where(paired.reshape(-1, *(1,) * (factors.ndim - dim - 1)), pick(factors, right, dim=dim, count=1), 1.0)
        factors = pick(factors, left, dim=dim, count=1) * others
        places = places[left]
    if include_self:
        factors = pick(x, places, dim=dim, count=count) * factors
    return replace(x, factors, places, dim=dim, count=count)
