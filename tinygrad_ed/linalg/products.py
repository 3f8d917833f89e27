"""Products and parts of tensors, with the defaults that PyTorch gives them here."""
from __future__ import annotations

from collections.abc import Sequence

from ..errors import ShapeError
from ..ops import matmul as _products
from ..ops import shape as _shape
from ..ops.arguments import one
from ..ops.broadcast import sum_over
from ..tensor import Tensor

__all__ = ["cross", "diagonal", "multi_dot", "vecdot"]


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The inner products of vectors along a dimension.

    Args:
        x: a tensor.
        y: a tensor that broadcasts with it.
        dim: the dimension of the vectors.

    Returns:
        A tensor of the broadcast shape without that dimension.

    Raises:
        ShapeError: the shapes do not broadcast.
        DimError: a dimension outside the tensors.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.linalg.vecdot(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.tensor([1.0, 1.0]))
        tensor([3., 7.])
    """
    product = x * y
    return sum_over(product, dims=(one(product, dim),), keepdim=False)


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of vectors in three dimensions.

    Args:
        input: a tensor with 3 elements along dim.
        other: a tensor with as many dimensions that broadcasts with it.
        dim: the dimension of the vectors.

    Returns:
        A tensor of the broadcast shape.

    Raises:
        ShapeError: vectors that do not have 3 elements, or different numbers of dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.linalg.cross(tg.tensor([1.0, 0.0, 0.0]), tg.tensor([0.0, 1.0, 0.0]))
        tensor([0., 0., 1.])
    """
    return _products.cross(input, other, dim)


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of two or more matrices, multiplied in the order that takes the fewest multiplications.

    Args:
        tensors: tensors of shapes (a, b), (b, c), (c, d)…; the first and the last may be vectors.

    Returns:
        A tensor of shape (a, d); without a or d for a vector.

    Raises:
        ShapeError: fewer than two, or shapes that do not multiply.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.linalg.multi_dot([tg.ones(2, 3), tg.ones(3, 4), tg.ones(4)])
        tensor([12., 12.])
    """
    tensors = list(tensors)
    if len(tensors) < 2:
        raise ShapeError(f"multi_dot multiplies two or more matrices, got {len(tensors)}")
    return _products.chain_matmul(*tensors)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices, as the last dimension.

    Args:
        A: a tensor with at least two dimensions.
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
        >>> tg.linalg.diagonal(tg.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([1., 4.])
    """
    return _shape.diagonal(A, offset, dim1, dim2)
