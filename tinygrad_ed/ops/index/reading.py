"""Choosing elements and slices of a tensor by index tensors and masks, and finding where elements are."""
from __future__ import annotations

from typing import Any

import numpy as np

from ...backend import namespace
from ...errors import ShapeError
from ...tensor import Tensor, normalize_dim, wrap
from ..broadcast import expand_to, reshape_to
from .positions import along_dim, in_range, integers, pick, positions_along, raw, with_mask

__all__ = ["argwhere", "gather", "index_select", "masked_select", "nonzero", "one_hot", "take", "take_along_dim"]


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of a tensor at given indices of a dimension.

    Args:
        input: a tensor of any shape.
        dim: the dimension.
        index: a 1-d tensor of integers, counted from 0; they may repeat.

    Returns:
        A new tensor with len(index) in place of that dimension.

    Raises:
        IndexRangeError: an index out of range.
        ShapeError: an index with more than one dimension.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.index_select(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), 0, tg.tensor([1, 1]))
        tensor([[3., 4.],
                [3., 4.]])
    """
    dim, index = along_dim(input, dim, index, "index_select")
    if input.ndim == 0:
        return reshape_to(pick(reshape_to(input, shape=(1,)), index, dim=0, count=1), shape=())
    return pick(input, index, dim=dim, count=1)


def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """The elements of a tensor at given indices of a dimension, chosen for every output element on its own.

    For dim = 1 in three dimensions: output[i, j, k] = input[i, index[i, j, k], k].

    Args:
        input: a tensor of any shape.
        dim: the dimension.
        index: a tensor of integers with as many dimensions, none longer than input's except `dim`.
        sparse_grad: accepted as in PyTorch; the gradient is dense.

    Returns:
        A new tensor of index's shape.

    Raises:
        IndexRangeError: an index out of range.
        ShapeError: an index whose shape does not fit.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.gather(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), 1, tg.tensor([[0], [1]]))
        tensor([[1.],
                [4.]])
    """
    dim = normalize_dim(dim, input.ndim)
    index = integers(index, raw(input), "gather")
    return pick(input, positions_along(index, dim, input.shape, "gather"), dim=0, count=input.ndim)


def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements of a tensor at positions of its flattened form.

    Args:
        input: a tensor of any shape.
        index: a tensor of integers of any shape, counted from the end where negative.

    Returns:
        A new tensor of index's shape.

    Raises:
        IndexRangeError: an index out of range.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.take(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.tensor([0, -1]))
        tensor([1., 4.])
    """
    index, n = integers(index, raw(input), "take"), raw(input).size
    in_range(index, n, "take", 0, (n,), low=-n)
    return pick(input, index, dim=0, count=input.ndim)


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """As `gather`, with input and indices broadcast against each other outside of `dim`; fits what argmax and argsort return.

    Args:
        input: a tensor of any shape.
        indices: a tensor of integers with as many dimensions.
        dim: the dimension; None for positions in the flattened tensor.

    Returns:
        A new tensor.

    Raises:
        IndexRangeError: an index out of range.
        ShapeError: shapes that do not broadcast.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor([[1.0, 2.0], [4.0, 3.0]])
        >>> tg.take_along_dim(x, x.argmax(1, keepdim=True), 1)
        tensor([[2.],
                [4.]])
    """
    if dim is None:
        return gather(reshape_to(input, shape=(raw(input).size,)), 0, reshape_to(indices, shape=(raw(indices).size,)))
    dim = normalize_dim(dim, input.ndim)
    if input.ndim != indices.ndim or input.ndim == 0:
        raise ShapeError(f"take_along_dim takes indices with as many dimensions as input, at least 1, got {indices.shape} for {input.shape}")
    outside = lambda shape: (*shape[:dim], 1, *shape[dim + 1:])
    try:
        common = np.broadcast_shapes(outside(input.shape), outside(indices.shape))
    except ValueError:
        raise ShapeError(f"take_along_dim: {input.shape} and {indices.shape} do not broadcast outside of dimension {dim}") from None
    along = lambda t: expand_to(t, shape=(*common[:dim], t.shape[dim], *common[dim + 1:]))
    return gather(along(input), dim, along(indices))


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements of a tensor where a mask is True, in order.

    Args:
        input: a tensor of any shape.
        mask: a boolean tensor; both broadcast.

    Returns:
        A new 1-d tensor.

    Raises:
        DTypeError: a mask that is not boolean.
        ShapeError: shapes that do not broadcast.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor([1.0, -2.0, 3.0])
        >>> tg.masked_select(x, x > 0)
        tensor([1., 3.])
    """
    input, mask = with_mask(input, mask, "masked_select")
    return pick(input, namespace(mask).flatnonzero(mask), dim=0, count=input.ndim)


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The indices of all elements that are not 0, in order.

    Args:
        input: a tensor of any shape.
        as_tuple: one 1-d tensor per dimension, fit to index with, instead of one row per element.

    Returns:
        An int64 tensor of shape (how many, input.ndim), or a tuple of int64 tensors; a 0-d tensor then counts as 1-d.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nonzero(tg.tensor([[0.0, 5.0], [7.0, 0.0]]))
        tensor([[0, 1],
                [1, 0]])
    """
    x = raw(input)
    xp = namespace(x)
    found = xp.nonzero(x if x.ndim else x.reshape(1))
    if as_tuple:
        return tuple([wrap(i) for i in found])
    return wrap(xp.stack(found, axis=1) if x.ndim else xp.zeros((len(found[0]), 0), dtype=np.int64))


def argwhere(input: Tensor) -> Tensor:
    """The indices of all elements that are not 0, one row per element.

    Args:
        input: a tensor of any shape.

    Returns:
        An int64 tensor of shape (how many, input.ndim).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.argwhere(tg.tensor([0.0, 5.0, 7.0]))
        tensor([[1],
                [2]])
    """
    return nonzero(input)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """For every class number c a row that is 1 at c and 0 elsewhere.

    Args:
        tensor: a tensor of integers of any shape, none negative.
        num_classes: the length of the rows; the largest class number + 1 by default.

    Returns:
        An int64 tensor with one more dimension than the input.

    Raises:
        DTypeError: not a tensor of integers.
        IndexRangeError: a class number that is negative or not below num_classes.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.one_hot(tg.tensor([0, 2]))
        tensor([[1, 0, 0],
                [0, 0, 1]])
    """
    classes = integers(tensor, raw(tensor), "one_hot")
    if num_classes == -1:
        if not classes.size:
            raise ShapeError("one_hot cannot tell the number of classes from an empty tensor; write one_hot(x, num_classes)")
        num_classes = int(classes.max()) + 1
    in_range(classes, num_classes, "one_hot", -1, (*classes.shape, num_classes))
    xp = namespace(classes)
    return wrap((classes[..., None] == xp.arange(num_classes)).astype(np.int64))
