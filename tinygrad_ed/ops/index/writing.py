"""Copies of a tensor with elements or slices at given indices replaced or added to."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...backend import namespace
from ...dtypes import FLOATS
from ...errors import DTypeError, ShapeError
from ...tensor import Tensor, normalize_dim
from ..broadcast import expand_to, reshape_to
from .positions import along_dim, in_range, integers, raw, replace, spread, with_mask
from .subscript import put_at, slice_of, split, viewed, written

__all__ = ["index_add", "index_copy", "index_fill", "index_put", "masked_scatter", "put", "select_scatter", "slice_scatter"]


def same_dtype(input: Any, source: Any, what: str) -> None:
    """Check that a source has input's dtype.

    Raises:
        DTypeError: it has another.
    """
    if source.dtype != input.dtype:
        raise DTypeError(f"{what} takes a source of input's dtype {input.dtype}, got {source.dtype}; write source.to(input.dtype)")


# -- slices along one dimension ----------------------------------------------------------------------------------------

def slices(input: Any, dim: int, index: Any, source: Any, what: str) -> tuple[Any, int, Any, Any]:
    """The arguments of index_add and the like, checked, and with one dimension where there is none."""
    dim, index = along_dim(input, dim, index, what)
    same_dtype(input, source, what)
    if input.ndim == 0:
        return reshape_to(input, shape=(1,)), 0, index, reshape_to(source, shape=(1,)) if source.shape in ((), (1,)) else source
    wanted = (*input.shape[:dim], len(index), *input.shape[dim + 1:])
    if source.shape != wanted:
        raise ShapeError(f"{what}: {len(index)} indices along dimension {dim} of a tensor of shape {input.shape} take a source "
                         f"of shape {wanted}, got {source.shape}")
    return input, dim, index, source


def shaped(y: Any, input: Any) -> Any:
    """y in input's shape, once a 0-d input has been given a dimension."""
    return y if y.ndim == input.ndim else reshape_to(y, shape=input.shape)


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """input with alpha·source[i] added to its slice number index[i] along a dimension; equal indices add up.

    Args:
        input: a tensor of any shape.
        dim: the dimension.
        index: a 1-d tensor of integers, counted from 0.
        source: a tensor of input's shape and dtype, but with len(index) in place of that dimension.
        alpha: a factor for source.

    Returns:
        A new tensor of input's shape.

    Raises:
        IndexRangeError: an index out of range.
        ShapeError: a source of another shape.
        DTypeError: a source of another dtype, or a fractional alpha for integers.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.index_add(tg.zeros(3), 0, tg.tensor([0, 2, 0]), tg.tensor([1.0, 2.0, 3.0]))
        tensor([4., 0., 2.])
    """
    x, dim, index, source = slices(input, dim, index, source, "index_add")
    if isinstance(alpha, float) and source.dtype.kind not in FLOATS:
        raise DTypeError(f"index_add of {source.dtype} takes an integer alpha, got {alpha}")
    source = source if alpha == 1 else source * alpha
    return shaped(x + spread(source, index, shape=x.shape, dim=dim, count=1), input)


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """input with its slice number index[i] along a dimension replaced by source[i]; of equal indices the last stays.

    Args:
        input: a tensor of any shape.
        dim: the dimension.
        index: a 1-d tensor of integers, counted from 0.
        source: a tensor of input's shape and dtype, but with len(index) in place of that dimension.

    Returns:
        A new tensor of input's shape.

    Raises:
        IndexRangeError: an index out of range.
        ShapeError: a source of another shape.
        DTypeError: a source of another dtype.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.index_copy(tg.zeros(3), 0, tg.tensor([2, 0]), tg.tensor([1.0, 2.0]))
        tensor([2., 0., 1.])
    """
    x, dim, index, source = slices(input, dim, index, source, "index_copy")
    return shaped(replace(x, source, index, dim=dim, count=1), input)


def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """input with its slices at given indices of a dimension filled with a value.

    Args:
        input: a tensor of any shape.
        dim: the dimension.
        index: a 1-d tensor of integers, counted from the end where negative.
        value: a number or a 0-d tensor.

    Returns:
        A new tensor of input's shape and dtype.

    Raises:
        IndexRangeError: an index out of range.
        ShapeError: a value with dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.index_fill(tg.zeros(3), 0, tg.tensor([2, 0]), 5.0)
        tensor([5., 0., 5.])
    """
    if getattr(value, "ndim", 0):
        raise ShapeError(f"index_fill takes a number or a 0-d tensor, got shape {value.shape}; write index_copy(x, dim, index, values)")
    dim, index = along_dim(input, dim, index, "index_fill", negative=True)
    x = input if input.ndim else reshape_to(input, shape=(1,))
    value = expand_to(written(value, input, strict=False), shape=(*x.shape[:dim], len(index), *x.shape[dim + 1:]))
    return shaped(replace(x, value, index, dim=dim, count=1), input)


# -- elements ----------------------------------------------------------------------------------------------------------

def index_put(input: Tensor, indices: Sequence, values: Any, accumulate: bool = False) -> Tensor:
    """input with the elements at input[indices] replaced by values, or the values added to them.

    Args:
        input: a tensor of any shape.
        indices: index tensors, one per dimension, or masks.
        values: a tensor of input's dtype that broadcasts to input[indices].
        accumulate: add, so that equal indices add up; otherwise the last value stays.

    Returns:
        A new tensor of input's shape.

    Raises:
        IndexError: an index out of range, or indices that do not broadcast together.
        ShapeError: values that do not broadcast.
        DTypeError: values of another dtype.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.index_put(tg.zeros(3), (tg.tensor([0, 0]),), tg.tensor([1.0, 2.0]), accumulate=True)
        tensor([3., 0., 0.])
    """
    basic, selectors = split(tuple(indices), raw(input))
    if not selectors or len(basic) > input.ndim + 1:
        raise IndexError("index_put takes a tuple of index tensors and masks; for integers, slices and None write x[index] = value")
    values = written(values, input, strict=True)
    return put_at(viewed(input, basic), selectors, values, accumulate)


def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """input with the elements at positions of its flattened form replaced by those of source, or source added to them.

    Args:
        input: a tensor of any shape.
        index: a tensor of integers, counted from the end where negative.
        source: a tensor of input's dtype with as many elements.
        accumulate: add, so that equal positions add up; otherwise the last value stays.

    Returns:
        A new tensor of input's shape.

    Raises:
        IndexRangeError: an index out of range.
        ShapeError: a source with more or fewer elements than index.
        DTypeError: a source of another dtype.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.put(tg.zeros(2, 2), tg.tensor([0, -1]), tg.tensor([1.0, 2.0]))
        tensor([[1., 0.],
                [0., 2.]])
    """
    index, n = integers(index, raw(input), "put"), raw(input).size
    in_range(index, n, "put", 0, (n,), low=-n)
    same_dtype(input, source, "put")
    if raw(source).size != index.size:
        raise ShapeError(f"put: {index.size} indices and a source with {raw(source).size} elements; there is one for each")
    source = reshape_to(source, shape=index.shape)
    if accumulate:
        return input + spread(source, index, shape=input.shape, dim=0, count=input.ndim)
    return replace(input, source, index, dim=0, count=input.ndim)


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """input with its elements where a mask is True replaced by the first elements of source, in order.

    Args:
        input: a tensor of any shape.
        mask: a boolean tensor; both broadcast.
        source: a tensor of input's dtype with at least as many elements as the mask has Trues.

    Returns:
        A new tensor of the broadcast shape.

    Raises:
        DTypeError: a mask that is not boolean, or a source of another dtype.
        ShapeError: shapes that do not broadcast, or a source with too few elements.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor([1.0, -2.0, -3.0])
        >>> tg.masked_scatter(x, x < 0, tg.tensor([5.0, 6.0]))
        tensor([1., 5., 6.])
    """
    same_dtype(input, source, "masked_scatter")
    input, mask = with_mask(input, mask, "masked_scatter")
    index = namespace(mask).flatnonzero(mask)
    if raw(source).size < index.size:
        raise ShapeError(f"masked_scatter: {index.size} elements to fill and a source with {raw(source).size}")
    values = slice_of(reshape_to(source, shape=(raw(source).size,)), index=(slice(index.size), Ellipsis))
    return replace(input, values, index, dim=0, count=input.ndim)


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """input with its slice at one index of a dimension replaced by src.

    Args:
        input: a tensor with at least one dimension.
        src: a tensor of the shape of `input.select(dim, index)`.
        dim: the dimension.
        index: where, counted from the end if negative.

    Returns:
        A new tensor of input's shape.

    Raises:
        IndexError: a dimension or an index out of range.
        ShapeError: a src of another shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.select_scatter(tg.zeros(2, 2), tg.ones(2), 0, 1)
        tensor([[0., 0.],
                [1., 1.]])
    """
    dim = normalize_dim(dim, input.ndim)
    n = input.shape[dim]
    wanted = (*input.shape[:dim], *input.shape[dim + 1:])
    if src.shape != wanted:
        raise ShapeError(f"select_scatter takes a src of the slice's shape {wanted}, got {src.shape}")
    at = namespace(raw(input)).asarray(index)
    in_range(at, n, "select_scatter", dim, input.shape, low=-n)
    return replace(input, src.to(dtype=input.dtype), at, dim=dim, count=1)


def slice_scatter(input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    """input with its slices start:end:step along a dimension replaced by src.

    Args:
        input: a tensor with at least one dimension.
        src: a tensor of the shape of that part.
        dim: the dimension.
        start: as in `start:end:step`.
        end: likewise.
        step: likewise, positive.

    Returns:
        A new tensor of input's shape.

    Raises:
        IndexError: a dimension out of range.
        ShapeError: a src of another shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.slice_scatter(tg.zeros(4), tg.ones(2), 0, 0, 4, 2)
        tensor([1., 0., 1., 0.])
    """
    dim = normalize_dim(dim, input.ndim)
    if step < 1:
        raise ValueError(f"the step of a slice is positive, got {step}")
    at = namespace(raw(input)).arange(*slice(start, end, step).indices(input.shape[dim]))
    wanted = (*input.shape[:dim], len(at), *input.shape[dim + 1:])
    if src.shape != wanted:
        raise ShapeError(f"slice_scatter takes a src of the part's shape {wanted}, got {src.shape}")
    return replace(input, src.to(dtype=input.dtype), at, dim=dim, count=1)
