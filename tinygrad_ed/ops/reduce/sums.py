"""Sums, means and products over dimensions, and questions about all elements."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import dtypes
from ...autograd.op import op
from ...backend.kernels import kernels
from ...errors import DTypeError
from ...tensor import Tensor
from ..arguments import Dims, cast, numpy_names, over, require_float, wide
from ..broadcast import expand_to, keep_dims, sum_over
from ..convert import clone
from ..elementwise import isnan, where
from ..scan import others

__all__ = ["all", "any", "count_nonzero", "mean", "nanmean", "nansum", "prod", "sum"]


def count_of(shape: tuple, dims: tuple) -> int:
    """How many elements a reduction of `shape` over `dims` puts into one."""
    return math.prod([shape[i] for i in dims])


sum_as = op("sum", lambda x, *, dims, keepdim, dtype: kernels(x).total(x, dims, keepdim, dtype), doc="The sum of integers or booleans in a dtype.")
mean_over = op("mean", lambda x, *, dims, keepdim: kernels(x).mean(x, dims, keepdim),
               x=lambda g, x_shape, dims, keepdim: expand_to(keep_dims(g / count_of(x_shape, dims), x_shape, dims, keepdim), shape=x_shape))
_prod = op("prod", lambda x, *, dim, keepdim: wide(x).prod(axis=dim, keepdims=keepdim).astype(x.dtype, copy=False),
           x=lambda g, x, dim, keepdim: keep_dims(g, x.shape, (dim,), keepdim) * others(x, dim))
_any = op("any", lambda x, *, dims, keepdim: x.any(axis=dims, keepdims=keepdim))
_all = op("all", lambda x, *, dims, keepdim: x.all(axis=dims, keepdims=keepdim))


def _to_sum(x: Any, dtype: Any) -> tuple[Any, np.dtype]:
    """x ready to be summed or multiplied, and the dtype of the result: PyTorch's int64 for integers and booleans."""
    dtype = dtypes.canonical(dtype) if dtype is not None else x.dtype if x.dtype.kind in dtypes.FLOATS else dtypes.int64
    return (cast(x, dtype) if x.dtype.kind in dtypes.FLOATS else x), dtype


@numpy_names
def sum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum Σᵢ xᵢ over dimensions; 0 of nothing.

    Args:
        input: a tensor of any shape and dtype.
        dim: the dimension or dimensions to reduce; all by default.
        keepdim: keep the reduced dimensions, with length 1.
        dtype: the dtype to convert to first; by default input's, and int64 for integers and booleans.

    Returns:
        A tensor of the remaining dimensions.

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: a dimension named twice.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.sum(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=1)
        tensor([3., 7.])
    """
    dims = over(input, dim)
    x, dtype = _to_sum(input, dtype)
    if x.dtype.kind in dtypes.FLOATS:
        return sum_over(x, dims=dims, keepdim=keepdim)
    return sum_as(x, dims=dims, keepdim=keepdim, dtype=dtype)


@numpy_names
def nansum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum over dimensions with NaN counted as 0; the gradient there is 0.

    Args:
        input: a tensor of any shape and dtype.
        dim: the dimension or dimensions to reduce; all by default.
        keepdim: keep the reduced dimensions, with length 1.
        dtype: the dtype to convert to first; by default input's, and int64 for integers and booleans.

    Returns:
        A tensor of the remaining dimensions.

    Raises:
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nansum(tg.tensor([1.0, float("nan"), 3.0]))
        tensor(4.)
    """
    x = input if input.dtype.kind not in dtypes.FLOATS else where(isnan(input), 0.0, input)
    return sum(x, dim, keepdim, dtype=dtype)


@numpy_names
def mean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean 1/n Σᵢ xᵢ over dimensions; NaN of nothing.

    Args:
        input: a floating point tensor of any shape.
        dim: the dimension or dimensions to reduce; all by default.
        keepdim: keep the reduced dimensions, with length 1.
        dtype: the floating point dtype to convert to first; input's by default.

    Returns:
        A tensor of the remaining dimensions.

    Raises:
        DTypeError: integers or booleans without a floating point dtype.
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.mean(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=0)
        tensor([2., 3.])
    """
    dims = over(input, dim)
    return mean_over(_to_float(input, dtype, "mean"), dims=dims, keepdim=keepdim)


def _to_float(x: Any, dtype: Any, name: str) -> Any:
    if dtype is not None:
        dtype = dtypes.canonical(dtype)
        if dtype.kind not in dtypes.FLOATS:
            raise DTypeError(f"{name} has floating point values, dtype={dtype} cannot hold them; write {name}(x, dtype=float32)")
        x = cast(x, dtype)
    require_float(x, name)
    return x


@numpy_names
def nanmean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean over dimensions of the elements that are not NaN; NaN where there are none.

    Args:
        input: a floating point tensor of any shape.
        dim: the dimension or dimensions to reduce; all by default.
        keepdim: keep the reduced dimensions, with length 1.
        dtype: the floating point dtype to convert to first; input's by default.

    Returns:
        A tensor of the remaining dimensions.

    Raises:
        DTypeError: integers or booleans without a floating point dtype.
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nanmean(tg.tensor([1.0, float("nan"), 3.0]))
        tensor(2.)
    """
    x = _to_float(input, dtype, "nanmean")
    return nansum(x, dim, keepdim) / sum(~isnan(x), dim, keepdim, dtype=x.dtype)


@numpy_names
def prod(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The product Πᵢ xᵢ over dimensions; 1 of nothing. The derivative is right also where elements are 0.

    Args:
        input: a tensor of any shape and dtype.
        dim: the dimension or dimensions to reduce; all by default.
        keepdim: keep the reduced dimensions, with length 1.
        dtype: the dtype to convert to first; by default input's, and int64 for integers and booleans.

    Returns:
        A tensor of the remaining dimensions.

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: a dimension named twice.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.prod(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=1)
        tensor([ 2., 12.])
    """
    dims = over(input, dim)
    _, dtype = _to_sum(input, dtype)
    y = cast(input, dtype) if dims else clone(cast(input, dtype))
    for i in sorted(dims, reverse=True):
        y = _prod(y, dim=i, keepdim=keepdim)
    return y


@numpy_names
def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether an element is not 0; False of nothing.

    Args:
        input: a tensor of any shape and dtype.
        dim: the dimension or dimensions to reduce; all by default.
        keepdim: keep the reduced dimensions, with length 1.

    Returns:
        A boolean tensor of the remaining dimensions; as in PyTorch uint8 for uint8.

    Raises:
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.any(tg.tensor([[True, False], [False, False]]), dim=1)
        tensor([ True, False])
    """
    return _answer(_any, input, dim, keepdim)


@numpy_names
def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether no element is 0; True of nothing.

    Args:
        input: a tensor of any shape and dtype.
        dim: the dimension or dimensions to reduce; all by default.
        keepdim: keep the reduced dimensions, with length 1.

    Returns:
        A boolean tensor of the remaining dimensions; as in PyTorch uint8 for uint8.

    Raises:
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.all(tg.tensor([[True, True], [True, False]]), dim=1)
        tensor([ True, False])
    """
    return _answer(_all, input, dim, keepdim)


def _answer(question: Any, x: Any, dim: Dims, keepdim: bool) -> Any:
    dims = () if dim == () else over(x, dim)             # as in PyTorch: no dimension is none here, and all elsewhere
    y = question(x, dims=dims, keepdim=keepdim)
    return cast(y, dtypes.uint8) if x.dtype == dtypes.uint8 else y


@numpy_names
def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """How many elements are not 0.

    Args:
        input: a tensor of any shape and dtype.
        dim: the dimension or dimensions to reduce; all by default.

    Returns:
        An int64 tensor of the remaining dimensions.

    Raises:
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.count_nonzero(tg.tensor([[1.0, 0.0], [3.0, 4.0]]), dim=1)
        tensor([1, 2])
    """
    return sum(input != 0, dim)
