"""Elements in order of their size: sorting, the largest few, the k-th, the most frequent.

Indices come from the arrays; the values are picked with them, so that their gradients go to the places they came from.
NaN counts as larger than every number.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ...backend import namespace
from ...errors import DimError, ShapeError
from ...tensor import Tensor, wrap
from ..arguments import ValuesIndices, one
from ..broadcast import reshape_to
from ..index import gather
from ..index.positions import raw

__all__ = ["argsort", "kthvalue", "mode", "msort", "sort", "topk"]


def chosen(input: Any, dim: int, indices: Any, keepdim: bool = True) -> ValuesIndices:
    """The values at indices along a dimension, with the indices; without that dimension if it has length 1 and is not kept."""
    values = gather(input, dim, wrap(indices))
    if not keepdim and values.ndim:
        shape = (*values.shape[:dim], *values.shape[dim + 1:])
        values, indices = reshape_to(values, shape=shape), indices.reshape(shape)
    return ValuesIndices(values, wrap(indices))


def in_order(x: Any, dim: int, descending: bool = False) -> Any:
    """The indices that sort an array along a dimension; equal elements stay in their order."""
    if x.ndim == 0:
        return namespace(x).zeros((), dtype=np.int64)
    if not descending:
        return x.argsort(axis=dim, kind="stable")
    backwards = (slice(None),) * dim + (slice(None, None, -1),)
    return x.shape[dim] - 1 - x[backwards].argsort(axis=dim, kind="stable")[backwards]


def not_empty(x: Any, dim: int, what: str) -> int:
    """The dimension as a number in [0, ndim), which must have elements.

    Raises:
        DimError: a dimension outside the tensor, or without elements.
    """
    dim = one(x, dim)
    if x.ndim and x.shape[dim] == 0:
        raise DimError(f"{what} along dimension {dim} of a tensor of shape {tuple(x.shape)}: that dimension has no elements")
    return dim


def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> ValuesIndices:
    """The elements in ascending order along a dimension, and where each was.

    Args:
        input: a tensor of any shape.
        dim: the dimension to sort along.
        descending: sort from the largest to the smallest.
        stable: keep equal elements in their order, which is always done here.

    Returns:
        A named tuple (values, indices) of tensors of input's shape.

    Raises:
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.sort(tg.tensor([3.0, 1.0, 2.0])).values
        tensor([1., 2., 3.])
    """
    dim = one(input, dim)
    return chosen(input, dim, in_order(raw(input), dim, descending))


def argsort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Tensor:
    """The indices that sort a tensor along a dimension.

    Args:
        input: a tensor of any shape.
        dim: the dimension to sort along.
        descending: sort from the largest to the smallest.
        stable: keep equal elements in their order, which is always done here.

    Returns:
        An int64 tensor of input's shape.

    Raises:
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.argsort(tg.tensor([3.0, 1.0, 2.0]))
        tensor([1, 2, 0])
    """
    return wrap(in_order(raw(input), one(input, dim), descending))


def msort(input: Tensor) -> Tensor:
    """The elements in ascending order along the first dimension.

    Args:
        input: a tensor of any shape.

    Returns:
        A tensor of input's shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.msort(tg.tensor([[3.0, 1.0], [2.0, 4.0]]))
        tensor([[2., 1.],
                [3., 4.]])
    """
    return sort(input, 0).values


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices:
    """The k largest elements along a dimension, from the largest on, and where each was.

    Args:
        input: a tensor of any shape.
        k: how many.
        dim: the dimension to choose along.
        largest: choose the largest; otherwise the smallest, from the smallest on.
        sorted: whether they must be in order.

    Returns:
        A named tuple (values, indices) of tensors with k in place of that dimension's length.

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: k is negative or more than there are.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.topk(tg.tensor([3.0, 1.0, 2.0]), 2)
        ValuesIndices(values=tensor([3., 2.]), indices=tensor([0, 2]))
    """
    dim, x = one(input, dim), raw(input)
    n = x.shape[dim] if x.ndim else 1
    if not 0 <= k <= n:
        raise ShapeError(f"topk: {k} of the elements along dimension {dim} of a tensor of shape {tuple(x.shape)}; there are {n}")
    if x.ndim == 0:
        return chosen(input, dim, in_order(x, dim))
    part = lambda first, last: (slice(None),) * dim + (slice(first, last),)
    if 0 < 8 * k < n and type(x) is np.ndarray:       # only a few: set them apart, then sort them alone
        some = x.argpartition(n - k, axis=dim)[part(n - k, n)] if largest else x.argpartition(k - 1, axis=dim)[part(0, k)]
        order = in_order(np.take_along_axis(x, some, dim), dim, descending=largest)
        return chosen(input, dim, np.take_along_axis(some, order, dim))
    return chosen(input, dim, in_order(x, dim, descending=largest)[part(0, k)])


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """The k-th smallest element along a dimension, and where it was; among equal ones the first.

    Args:
        input: a tensor of any shape.
        k: which, counted from 1.
        dim: the dimension to choose along.
        keepdim: keep that dimension, with length 1.

    Returns:
        A named tuple (values, indices).

    Raises:
        DimError: a dimension outside the tensor, or without elements.
        ShapeError: k is less than 1 or more than there are.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.kthvalue(tg.tensor([3.0, 1.0, 2.0]), 2)
        ValuesIndices(values=tensor(2.), indices=tensor(2))
    """
    dim, x = not_empty(input, dim, "kthvalue"), raw(input)
    n = x.shape[dim] if x.ndim else 1
    if not 1 <= k <= n:
        raise ShapeError(f"kthvalue: number {k} along dimension {dim} of a tensor of shape {tuple(x.shape)}; the elements are numbers 1 to {n}")
    if x.ndim == 0:
        return chosen(input, dim, in_order(x, dim))
    value = namespace(x).partition(x, k - 1, axis=dim)[(slice(None),) * dim + (slice(k - 1, k),)]
    return chosen(input, dim, first_equal(x, value, dim), keepdim)


def first_equal(x: Any, value: Any, dim: int) -> Any:
    """The first index along a dimension where an array equals a value, NaN being equal to NaN; the dimension is kept."""
    return ((x == value) | ((x != x) & (value != value))).argmax(axis=dim, keepdims=True)


def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """The most frequent value along a dimension, and where it was last; among equally frequent ones the smallest.

    Args:
        input: a tensor of any shape.
        dim: the dimension to choose along.
        keepdim: keep that dimension, with length 1.

    Returns:
        A named tuple (values, indices).

    Raises:
        DimError: a dimension outside the tensor, or without elements.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.mode(tg.tensor([1, 2, 2, 3]))
        ValuesIndices(values=tensor(2), indices=tensor(2))
    """
    dim, x = not_empty(input, dim, "mode"), raw(input)
    order, xp = in_order(x, dim), namespace(x)
    if x.ndim == 0:
        return chosen(input, dim, order)
    rows = xp.moveaxis(xp.take_along_axis(x, order, dim), dim, -1)
    first = xp.ones(rows.shape, dtype=bool)           # of a run of equal elements
    first[..., 1:] = rows[..., 1:] != rows[..., :-1]
    starts, run = xp.flatnonzero(first), xp.cumsum(first.reshape(-1)) - 1
    within = (xp.arange(first.size) - starts[run]).reshape(first.shape)         # the longest run ends in the largest number
    last = xp.moveaxis(within.argmax(axis=-1, keepdims=True), -1, dim)
    return chosen(input, dim, xp.take_along_axis(order, last, dim), keepdim)
