"""Triangles and diagonals of matrices."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...autograd.op import op
from ...backend import namespace
from ...errors import ShapeError
from ...tensor import Tensor
from ...tensor import wrap as _wrap
from ..convert import clone
from ..elementwise import where
from .sizes import normalize_dims

__all__ = ["diag", "diag_embed", "diagonal", "fill_diagonal", "tril", "triu"]

_tril: Callable = op("tril", lambda xp, x, *, diagonal: xp.tril(x, diagonal), x=lambda g, diagonal: _tril(g, diagonal=diagonal))
_triu: Callable = op("triu", lambda xp, x, *, diagonal: xp.triu(x, diagonal), x=lambda g, diagonal: _triu(g, diagonal=diagonal))
_diagonal: Callable = op("diagonal", lambda x, *, offset, dim1, dim2: _diagonal_of(x, offset, dim1, dim2), view=True,
                         x=lambda g, x_shape, offset, dim1, dim2: _embed(g, shape=x_shape, offset=offset, dim1=dim1, dim2=dim2))
_embed: Callable = op("diag_embed", lambda xp, x, *, shape, offset, dim1, dim2: _embedded(xp, x, shape, offset, dim1, dim2),
                      x=lambda g, offset, dim1, dim2: _diagonal(g, offset=offset, dim1=dim1, dim2=dim2),
                      doc="Zeros of `shape` with x on a diagonal.")


def _diagonal_of(x: Any, offset: int, dim1: int, dim2: int) -> Any:
    y = x.diagonal(offset, dim1, dim2)
    if isinstance(y, np.ndarray) and x.flags.writeable:
        y.flags.writeable = True                      # NumPy alone gives a read-only view
    return y


def _embedded(xp: Any, x: Any, shape: tuple, offset: int, dim1: int, dim2: int) -> Any:
    y = xp.zeros(shape, x.dtype)
    _diagonal_of(y, offset, dim1, dim2)[...] = x
    return y


def _matrices(input: Tensor, what: str) -> None:
    if input.ndim < 2:
        raise ShapeError(f"{what} takes a matrix or a batch of matrices, got shape {input.shape}; write x.unsqueeze(0) to make it a row")


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of a matrix, or of each in a batch, and zeros above.

    Args:
        input: a tensor (..., m, n).
        diagonal: the last diagonal to keep: 0 is the main one, positive ones lie above it.

    Returns:
        A new tensor of the same shape.

    Raises:
        ShapeError: fewer than two dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.tril(tg.ones(2, 3))
        tensor([[1., 0., 0.],
                [1., 1., 0.]])
    """
    _matrices(input, "tril")
    return _tril(input, diagonal=diagonal)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of a matrix, or of each in a batch, and zeros below.

    Args:
        input: a tensor (..., m, n).
        diagonal: the first diagonal to keep: 0 is the main one, positive ones lie above it.

    Returns:
        A new tensor of the same shape.

    Raises:
        ShapeError: fewer than two dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.triu(tg.ones(2, 3), diagonal=1)
        tensor([[0., 1., 1.],
                [0., 0., 1.]])
    """
    _matrices(input, "triu")
    return _triu(input, diagonal=diagonal)


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of the matrices in two dimensions, as the last dimension.

    Args:
        input: a tensor with at least two dimensions.
        offset: which diagonal: 0 is the main one, positive ones lie above it.
        dim1: the dimension of the rows.
        dim2: the dimension of the columns.

    Returns:
        A view.

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: fewer than two dimensions, or the same one twice.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.diagonal(tg.tensor([[1, 2], [3, 4]]))
        tensor([1, 4])
    """
    dim1, dim2 = normalize_dims((dim1, dim2), input.ndim, "diagonal")
    return _diagonal(input, offset=offset, dim1=dim1, dim2=dim2)


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices with the last dimension of the input on a diagonal, and zeros elsewhere.

    Args:
        input: a tensor (..., n).
        offset: which diagonal: 0 is the main one, positive ones lie above it.
        dim1: the dimension of the rows in the result.
        dim2: the dimension of the columns in the result.

    Returns:
        A new tensor with one dimension more; both new ones have length n + |offset|.

    Raises:
        DimError: a dimension outside the result.
        ShapeError: a 0-d tensor, or the same dimension twice.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.diag_embed(tg.tensor([1, 2]))
        tensor([[1, 0],
                [0, 2]])
    """
    if input.ndim == 0:
        raise ShapeError("diag_embed puts the last dimension on a diagonal, and a 0-d tensor has none; write x.reshape(1)")
    dim1, dim2 = normalize_dims((dim1, dim2), input.ndim + 1, "diag_embed")
    shape = list(input.shape[:-1])
    for dim in sorted((dim1, dim2)):
        shape.insert(dim, input.shape[-1] + abs(offset))
    return _embed(input, shape=tuple(shape), offset=offset, dim1=dim1, dim2=dim2)


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A vector as the diagonal of a matrix, or the diagonal of a matrix as a vector.

    Args:
        input: a tensor with one or two dimensions.
        diagonal: which diagonal: 0 is the main one, positive ones lie above it.

    Returns:
        A new tensor with two dimensions or one.

    Raises:
        ShapeError: another number of dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.diag(tg.tensor([[1, 2], [3, 4]]))
        tensor([1, 4])
    """
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim != 2:
        raise ShapeError(f"diag takes a vector or a matrix, got shape {input.shape}; "
                         f"for batches write diag_embed(x) or diagonal(x, 0, -2, -1)")
    return clone(_diagonal(input, offset=diagonal, dim1=0, dim2=1))


def fill_diagonal(input: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """The tensor with one value on the main diagonal; `x.fill_diagonal_(value)` writes it in place.

    Args:
        input: a matrix, or a tensor with more dimensions, all of one length.
        fill_value: the value.
        wrap: in a matrix higher than wide, begin the diagonal again below its end.

    Returns:
        A new tensor of the same shape and dtype.

    Raises:
        ShapeError: fewer than two dimensions, or more of several lengths.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.zeros(2, 2).fill_diagonal_(5)
        tensor([[5., 0.],
                [0., 5.]])
    """
    if input.ndim < 2 or (input.ndim > 2 and len(set(input.shape)) > 1):
        raise ShapeError(f"fill_diagonal takes a matrix, or more dimensions of one length, got shape {input.shape}")
    xp = namespace(input._data)
    mask = xp.zeros(input.shape, bool)
    xp.fill_diagonal(mask, True, wrap)
    return where(_wrap(mask), input.dtype.type(fill_value).item(), input)
