"""Norms of vectors and matrices."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import dtypes
from ..errors import DimError, ShapeError
from ..ops import reduce as _reduce
from ..ops.arguments import cast, over
from ..ops.broadcast import keep_dims, permute_to
from ..tensor import Tensor
from .decompositions import svdvals

__all__ = ["matrix_norm", "norm", "vector_norm"]


def vector_norm(x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The length (Σ|xᵢ|^ord)^(1/ord) of the vectors along dimensions; the derivative at the zero vector is 0.

    Args:
        x: a floating point tensor of any shape.
        ord: the power. 0 counts the elements that are not 0, ∞ is the largest |xᵢ|, -∞ the smallest.
        dim: the dimension or dimensions to reduce; all by default.
        keepdim: keep the reduced dimensions, with length 1.
        dtype: the floating point dtype to convert to first; that of x by default.

    Returns:
        A tensor of the remaining dimensions.

    Raises:
        DTypeError: integers or booleans.
        DimError: a dimension outside the tensor.
        ShapeError: a negative or infinite ord and no elements.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.linalg.vector_norm(tg.tensor([3.0, 4.0]))
        tensor(5.)
    """
    if not isinstance(ord, (int, float)):
        raise TypeError(f"vector_norm takes a number for ord, got {ord!r}; matrix_norm takes 'fro' and 'nuc'")
    return _reduce.norm(x, ord, dim, keepdim, dtype)


def matrix_norm(A: Tensor, ord: Any = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """A norm of matrices.

    Args:
        A: a tensor of shape (…, m, n).
        ord: "fro", the root of the sum of squares; "nuc", the sum of the singular values; 2 and -2, the largest and the
            smallest of them; 1 and -1, the largest and the smallest sum of |A| over a column; ∞ and -∞, over a row.
        dim: the dimensions of the rows and of the columns.
        keepdim: keep these dimensions, with length 1.
        dtype: the floating point dtype to convert to first; that of A by default.

    Returns:
        A tensor of the remaining dimensions.

    Raises:
        ShapeError: no matrices, or not two different dimensions.
        ValueError: an unknown ord.
        DTypeError: integers or booleans.
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.linalg.matrix_norm(tg.tensor([[1.0, -2.0], [3.0, 4.0]]), 1)
        tensor(6.)
    """
    if A.ndim < 2 or isinstance(dim, int) or len(dim) != 2:
        raise ShapeError(f"matrix_norm takes a tensor with at least two dimensions and dim=(rows, columns), got shape {tuple(A.shape)} "
                         f"and dim={dim}; vector_norm takes any")
    A = A if dtype is None else cast(A, dtypes.canonical(dtype))
    rows, columns = dims = over(A, tuple(dim))
    if ord == "fro":
        return _reduce.norm(A, 2, dims, keepdim)
    if ord in ("nuc", 2, -2):
        S = svdvals(permute_to(A, dims=(*(i for i in range(A.ndim) if i not in dims), rows, columns)))
        y = S.sum(-1) if ord == "nuc" else _reduce.amax(S, -1) if ord == 2 else _reduce.amin(S, -1)
    elif ord in (1, -1, math.inf, -math.inf):
        first, second = (rows, columns) if math.fabs(ord) == 1 else (columns, rows)
        y = (_reduce.amax if ord > 0 else _reduce.amin)(_reduce.norm(A, 1, first), second - (second > first))
    else:
        raise ValueError(f"matrix_norm knows ord 'fro', 'nuc', 1, -1, 2, -2, inf and -inf, got {ord!r}")
    return keep_dims(y, tuple(A.shape), dims, keepdim=False) if keepdim else y


def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The norm of a vector or of a matrix.

    Args:
        A: a floating point tensor.
        ord: None for the root of the sum of squares; otherwise as for `vector_norm`, or `matrix_norm` in two dimensions.
        dim: a dimension for vectors, two for matrices; by default all of them, as one vector if ord is None.
        keepdim: keep the reduced dimensions, with length 1.
        dtype: the floating point dtype to convert to first; that of A by default.

    Returns:
        A tensor of the remaining dimensions.

    Raises:
        ShapeError: an ord and neither dim nor a tensor of one or two dimensions.
        ValueError: an unknown ord.
        DTypeError: integers or booleans.
        DimError: a dimension outside the tensor, or more than two of them.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.linalg.norm(tg.tensor([[3.0, 0.0], [0.0, 4.0]]))
        tensor(5.)
    """
    if not (dim is None or isinstance(dim, int) or len(dim) in (1, 2)):
        raise DimError(f"norm reduces one dimension or two, got dim={tuple(dim)}; of more than two: vector_norm(A, 2, dim)")
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if dim is None and A.ndim not in (1, 2):
        raise ShapeError(f"norm with ord={ord!r} is that of a vector or a matrix, got shape {tuple(A.shape)}; write dim=-1 or dim=(-2, -1)")
    dims = (tuple(range(A.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim))
    if len(dims) == 2 or isinstance(ord, str):
        return matrix_norm(A, ord, dims, keepdim, dtype=dtype)
    return vector_norm(A, ord, dims, keepdim, dtype=dtype)
