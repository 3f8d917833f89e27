"""The dimensions in another order, or repeated without a copy. All are views."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...autograd.op import op
from ...errors import DTypeError, ShapeError
from ...tensor import Tensor, normalize_dim
from ..broadcast import expand_to, permute_to, reshape_to, sum_to
from .sizes import normalize_dims, several

__all__ = ["adjoint", "broadcast_shapes", "broadcast_tensors", "broadcast_to", "expand", "meshgrid", "movedim", "permute",
           "sum_to_size", "t", "transpose"]

_transpose: Callable = op("transpose", lambda x, *, dim0, dim1: x.swapaxes(dim0, dim1), view=True,
                            x=lambda g, dim0, dim1: _transpose(g, dim0=dim0, dim1=dim1))
_t: Callable = op("t", lambda x: x.T, view=True, x=lambda g: _t(g), doc="x with all its dimensions in reverse order: `Tensor.T`.")


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged.

    Args:
        input: a tensor of any shape.
        dim0: a dimension.
        dim1: the dimension to exchange it with.

    Returns:
        A view.

    Raises:
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.transpose(tg.zeros(2, 3, 4), 0, -1).shape
        (4, 3, 2)
    """
    dim0, dim1 = normalize_dim(dim0, input.ndim), normalize_dim(dim1, input.ndim)
    return _transpose(input, dim0=dim0, dim1=dim1) if input.ndim else _t(input)


def t(input: Tensor) -> Tensor:
    """A matrix transposed; vectors and 0-d tensors as they are.

    Args:
        input: a tensor with at most two dimensions.

    Returns:
        A view.

    Raises:
        ShapeError: more than two dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.t(tg.zeros(2, 3)).shape
        (3, 2)
    """
    if input.ndim > 2:
        raise ShapeError(f"t() transposes a matrix, got shape {input.shape}; write x.transpose(-2, -1) for a batch of matrices")
    return _t(input)


def adjoint(input: Tensor) -> Tensor:
    """A matrix, or each of a batch, transposed.

    Args:
        input: a tensor (..., m, n); 0-d is kept.

    Returns:
        A view (..., n, m).

    Raises:
        ShapeError: a tensor with one dimension.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.adjoint(tg.zeros(5, 2, 3)).shape
        (5, 3, 2)
    """
    if input.ndim == 1:
        raise ShapeError(f"adjoint transposes matrices, got shape {input.shape}; write x.unsqueeze(-2) first to make it a row")
    return transpose(input, -2, -1) if input.ndim else _t(input)


@several
def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """The dimensions in another order.

    Args:
        input: a tensor of any shape.
        dims: which dimension comes at each place, as a sequence or as several integers.

    Returns:
        A view.

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: not every dimension named once.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.permute(tg.zeros(2, 3, 4), (2, 0, 1)).shape
        (4, 2, 3)
    """
    if len(dims) != input.ndim:
        raise ShapeError(f"permute names every dimension once, got {dims} for shape {input.shape}; to exchange two write x.transpose(0, 1)")
    return permute_to(input, dims=normalize_dims(dims, input.ndim, "permute"))


def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Dimensions moved to other places; the rest keeps its order.

    Args:
        input: a tensor of any shape.
        source: the dimension or dimensions to move.
        destination: where each goes.

    Returns:
        A view.

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: a dimension named twice, or not as many destinations as sources.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.movedim(tg.zeros(2, 3, 4), 0, -1).shape
        (3, 4, 2)
    """
    froms, tos = [normalize_dims(dims if isinstance(dims, (tuple, list)) else (dims,), input.ndim, f"movedim's {which}")
                  for which, dims in (("source", source), ("destination", destination))]
    if len(froms) != len(tos):
        raise ShapeError(f"movedim takes as many destinations as sources, got {source} and {destination}")
    order = [dim for dim in range(input.ndim) if dim not in froms]
    for place, dim in sorted(zip(tos, froms)):
        order.insert(place, dim)
    return permute_to(input, dims=tuple(order[:input.ndim]))


@several
def expand(input: Tensor, size: Sequence[int]) -> Tensor:
    """Dimensions of length 1 stretched, and new ones put in front, without a copy.

    Args:
        input: a tensor of any shape.
        size: the new sizes, as a sequence or as several integers; -1 keeps a dimension's length.

    Returns:
        A view; stretched elements share memory, and so cannot be written.

    Raises:
        ShapeError: a length other than 1 that would change, or fewer sizes than dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.expand(tg.tensor([[1], [2]]), (-1, 3))
        tensor([[1, 1, 1],
                [2, 2, 2]])
    """
    old = (-1,) * (len(size) - input.ndim) + input.shape
    new = tuple([m if n == -1 else n for m, n in zip(old, size)])
    if len(size) < len(old) or any(n < 0 or m not in (n, 1, -1) for m, n in zip(old, new)):
        raise ShapeError(f"expand stretches dimensions of length 1 and puts new ones in front; it cannot turn shape {input.shape} "
                         f"into {size}. To repeat elements write x.repeat(...)")
    return reshape_to(input, shape=new) if math.prod(new) == math.prod(input.shape) else expand_to(input, shape=new)


@several
def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """The tensor broadcast to a shape, without a copy; another name of `expand`.

    Args:
        input: a tensor of any shape.
        size: the shape.

    Returns:
        A view.

    Raises:
        ShapeError: the tensor does not broadcast to that shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.broadcast_to(tg.tensor([1, 2]), (2, 2))
        tensor([[1, 2],
                [1, 2]])
    """
    return expand(input, size)


def broadcast_tensors(*tensors: Any) -> tuple:
    """The tensors broadcast to their common shape, without copies.

    Args:
        tensors: tensors of any shapes that broadcast.

    Returns:
        A tuple of views.

    Raises:
        ShapeError: shapes that do not broadcast.

    Example:
        >>> import tinygrad_ed as tg
        >>> a, b = tg.broadcast_tensors(tg.zeros(3, 1), tg.ones(2))
        >>> a.shape, b.shape
        ((3, 2), (3, 2))
    """
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    shape = broadcast_shapes(*[x.shape for x in tensors])
    return tuple([expand(x, shape) for x in tensors])


def broadcast_shapes(*shapes: int | Sequence[int]) -> tuple[int, ...]:
    """The common shape that tensors of these shapes broadcast to.

    Args:
        shapes: tuples; an integer stands for the shape of a vector.

    Returns:
        A shape.

    Raises:
        ShapeError: shapes that do not broadcast.

    Example:
        >>> broadcast_shapes((3, 1), (2,))
        (3, 2)
    """
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(f"shapes {', '.join(map(str, shapes))} do not broadcast: aligned at the right, lengths must be equal or 1") from None


@several
def sum_to_size(input: Tensor, size: Sequence[int]) -> Tensor:
    """The sum over what broadcasting would add or stretch to come from a shape to the tensor's: `expand` the other way round.

    Args:
        input: a tensor of any shape.
        size: a shape that broadcasts to the tensor's.

    Returns:
        A tensor of that shape.

    Raises:
        ShapeError: the shape does not broadcast to the tensor's.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.ones(2, 3).sum_to_size(3)
        tensor([2., 2., 2.])
    """
    if any(n < 0 for n in size) or broadcast_shapes(size, input.shape) != input.shape:
        raise ShapeError(f"sum_to_size takes a shape that broadcasts to the tensor's, {input.shape}, got {tuple(size)}")
    return sum_to(input, shape=tuple(size))


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple:
    """The coordinates of a grid: output k holds the values of vector k along dimension k.

    Args:
        tensors: vectors or 0-d tensors of one dtype, several or a sequence of them.
        indexing: "ij", or "xy" to exchange the first two dimensions, as in pictures.

    Returns:
        A tuple of views, each of the shape (len(vector 0), len(vector 1), …).

    Raises:
        ShapeError: a tensor with two or more dimensions, or no tensor.
        DTypeError: tensors of several dtypes.

    Example:
        >>> import tinygrad_ed as tg
        >>> y, x = tg.meshgrid(tg.arange(2), tg.arange(3), indexing="ij")
        >>> y
        tensor([[0, 0, 0],
                [1, 1, 1]])
    """
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    if not tensors or any(x.ndim > 1 for x in tensors):
        raise ShapeError(f"meshgrid takes vectors, got {', '.join(str(x.shape) for x in tensors) or 'nothing'}; write x.flatten()")
    if len({x.dtype for x in tensors}) > 1:
        raise DTypeError(f"meshgrid takes tensors of one dtype, got {', '.join(str(x.dtype) for x in tensors)}; write x.to(other.dtype)")
    if indexing not in ("ij", "xy"):
        raise ValueError(f'indexing is "ij" or "xy", got {indexing!r}')
    places = list(range(len(tensors)))
    if indexing == "xy":
        places[:2] = places[:2][::-1]
    columns = [reshape_to(x, shape=(-1,) + (1,) * (len(tensors) - 1 - place)) for place, x in zip(places, tensors)]
    return broadcast_tensors(*columns)
