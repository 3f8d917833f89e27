"""The same elements in the same order under another shape. All but `contiguous` are views where the memory layout allows."""
from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from operator import index
from typing import Any

from ...errors import ShapeError
from ...tensor import Tensor, normalize_dim
from ..broadcast import reshape_to
from ..convert import clone

__all__ = ["atleast_1d", "atleast_2d", "atleast_3d", "contiguous", "flatten", "ravel", "reshape", "reshape_as", "squeeze", "unflatten",
           "unsqueeze", "view", "view_as"]


def several(function: Callable) -> Callable:
    """Let an argument that is a sequence of integers also be given as several: f(x, 2, 3) for f(x, (2, 3))."""
    name = function.__code__.co_varnames[1]

    @functools.wraps(function)
    def call(input: Any, *values: Any, **named: Any) -> Any:
        given: Any = (named.pop(name),) if named and name in named and not values else values
        if len(given) == 1 and isinstance(given[0], (tuple, list)):
            given = given[0]
        try:
            integers = tuple(map(index, given))
        except TypeError:
            what = function.__name__
            raise TypeError(f"{what} takes integers, got {', '.join(map(repr, given))}; "
                            f"write {what}(x, 2, 3) or {what}(x, (2, 3))") from None
        return function(input, integers, **named)
    return call


def normalize_dims(dims: Sequence[int], ndim: int, what: str) -> tuple[int, ...]:
    """The dimensions as different numbers in [0, ndim).

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: a dimension named twice.
    """
    found = tuple([normalize_dim(dim, ndim) for dim in dims])
    if len(set(found)) < len(found):
        raise ShapeError(f"{what} names a dimension twice: {tuple(dims)} of a tensor with {ndim} dimensions; name each once")
    return found


def resolve(sizes: Sequence[int], shape: tuple, what: str) -> tuple[int, ...]:
    """`sizes` with a -1 replaced by what the elements of `shape` leave for it.

    Raises:
        ShapeError: sizes that the elements do not fill.
    """
    sizes, total = tuple(sizes), math.prod(shape)
    if -1 in sizes:
        k = sizes.index(-1)
        known = math.prod(sizes[:k] + sizes[k + 1:])
        if known > 0 and total % known == 0:
            sizes = (*sizes[:k], total // known, *sizes[k + 1:])
    if math.prod(sizes) != total or (sizes and min(sizes) < 0):
        raise ShapeError(f"{what}: the {total} elements of shape {shape} do not fill shape {sizes}; write sizes that multiply to {total}, "
                         f"at most one of them -1 (and none beside a 0)")
    return sizes


@several
def reshape(input: Tensor, shape: Sequence[int]) -> Tensor:
    """The same elements in row-major order under another shape; a view where possible, else a copy.

    Args:
        input: a tensor of any shape.
        shape: the new sizes, as a sequence or as several integers; one may be -1 and is inferred.

    Returns:
        A tensor of that shape.

    Raises:
        ShapeError: sizes that do not multiply to the number of elements.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.reshape(tg.tensor([1, 2, 3, 4]), (2, -1))
        tensor([[1, 2],
                [3, 4]])
    """
    return reshape_to(input, shape=resolve(shape, input.shape, "reshape"))


@several
def view(input: Tensor, shape: Sequence[int]) -> Tensor:
    """The same memory under another shape, never a copy.

    Args:
        input: a tensor of any shape.
        shape: the new sizes, as a sequence or as several integers; one may be -1 and is inferred.

    Returns:
        A view of that shape.

    Raises:
        ShapeError: sizes that do not multiply to the number of elements, or a memory layout that needs a copy.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.zeros(2, 2)
        >>> _ = tg.view(x, (-1,)).add_(1.0)
        >>> x
        tensor([[1., 1.],
                [1., 1.]])
    """
    shape = resolve(shape, input.shape, "view")
    y = reshape_to(input, shape=shape)
    if isinstance(y, Tensor) and y._view is None and y.numel():
        raise ShapeError(f"view: memory of shape {input.shape} and strides {input.stride()} cannot be seen as {shape} without a copy; "
                         f"write x.reshape({', '.join(map(str, shape))})")
    return y


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """The same memory under the shape of another tensor.

    Args:
        input: a tensor of any shape.
        other: the tensor whose shape is wanted.

    Returns:
        A view of the other's shape.

    Raises:
        ShapeError: as `view`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.tensor([1, 2, 3, 4]).view_as(tg.zeros(2, 2))
        tensor([[1, 2],
                [3, 4]])
    """
    return view(input, other.shape)


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """The same elements in row-major order under the shape of another tensor.

    Args:
        input: a tensor of any shape.
        other: the tensor whose shape is wanted.

    Returns:
        A tensor of the other's shape.

    Raises:
        ShapeError: as `reshape`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.tensor([1, 2, 3, 4]).reshape_as(tg.zeros(2, 2))
        tensor([[1, 2],
                [3, 4]])
    """
    return reshape(input, other.shape)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions from start_dim to end_dim merged into one.

    Args:
        input: a tensor of any shape; 0-d becomes 1-d.
        start_dim: the first dimension to merge.
        end_dim: the last dimension to merge, included.

    Returns:
        A view where possible, else a copy.

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: start_dim after end_dim.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.flatten(tg.zeros(2, 3, 4), start_dim=1).shape
        (2, 12)
    """
    shape = input.shape or (1,)
    start, end = normalize_dim(start_dim, len(shape)), normalize_dim(end_dim, len(shape))
    if start > end:
        raise ShapeError(f"flatten merges dimensions from start_dim up to end_dim, got {start_dim} and {end_dim} of shape {shape}; "
                         f"exchange them")
    return reshape_to(input, shape=(*shape[:start], math.prod(shape[start:end + 1]), *shape[end + 1:]))


def ravel(input: Tensor) -> Tensor:
    """All elements in row-major order in one dimension.

    Args:
        input: a tensor of any shape.

    Returns:
        A 1-d view where possible, else a copy.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.ravel(tg.tensor([[1, 2], [3, 4]]))
        tensor([1, 2, 3, 4])
    """
    return flatten(input)


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One dimension split into several, the opposite of `flatten`.

    Args:
        input: a tensor with at least one dimension.
        dim: the dimension to split.
        sizes: what it is split into; one may be -1 and is inferred.

    Returns:
        A view.

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: sizes that do not multiply to the dimension's length.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.unflatten(tg.zeros(2, 12), 1, (3, -1)).shape
        (2, 3, 4)
    """
    sizes = tuple(map(index, sizes))
    if not sizes or not input.shape:
        raise ShapeError(f"unflatten splits a dimension into at least one, got shape {input.shape} and sizes {sizes}")
    dim = normalize_dim(dim, input.ndim)
    sizes = resolve(sizes, input.shape[dim:dim + 1], f"unflatten of dimension {dim}")
    return reshape_to(input, shape=(*input.shape[:dim], *sizes, *input.shape[dim + 1:]))


def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Dimensions of length 1 taken away.

    Args:
        input: a tensor of any shape.
        dim: the dimension or dimensions to take away, those of another length being kept; all by default.

    Returns:
        A view.

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: a dimension named twice.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.squeeze(tg.zeros(1, 3, 1)).shape, tg.squeeze(tg.zeros(1, 3, 1), 0).shape
        ((3,), (3, 1))
    """
    dims = range(input.ndim) if dim is None else normalize_dims(dim if isinstance(dim, (tuple, list)) else (dim,), input.ndim, "squeeze")
    return reshape_to(input, shape=tuple([n for i, n in enumerate(input.shape) if n != 1 or i not in dims]))


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A dimension of length 1 put in.

    Args:
        input: a tensor of any shape.
        dim: where it is in the result, from -input.dim() - 1 to input.dim().

    Returns:
        A view.

    Raises:
        DimError: a dimension outside that range.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.unsqueeze(tg.zeros(3), 0).shape, tg.unsqueeze(tg.zeros(3), -1).shape
        ((1, 3), (3, 1))
    """
    dim = normalize_dim(dim, input.ndim + 1)
    return reshape_to(input, shape=(*input.shape[:dim], 1, *input.shape[dim:]))


def contiguous(input: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor with its elements in row-major order without gaps: itself where it is so already, else a copy.

    Args:
        input: a tensor of any shape.
        memory_format: accepted as in PyTorch, without effect.

    Returns:
        A contiguous tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.zeros(2, 3)
        >>> x.contiguous() is x, x.transpose(0, 1).contiguous().is_contiguous()
        (True, True)
    """
    return input if getattr(input, "_data", input).flags.c_contiguous else clone(input)


def _atleast(tensors: tuple, lift: Callable[[tuple], tuple]) -> Any:
    """One tensor under the shape lift(shape), or each of several."""
    if len(tensors) != 1:
        return tuple([_atleast((x,), lift) for x in tensors])
    x, = tensors
    if isinstance(x, (tuple, list)):
        return tuple([_atleast((part,), lift) for part in x])
    shape = lift(x.shape)
    return x if shape == x.shape else reshape_to(x, shape=shape)


def atleast_1d(*tensors: Any) -> Any:
    """A 0-d tensor with one dimension; others as they are.

    Args:
        tensors: a tensor, several, or a sequence of them.

    Returns:
        The tensor or a view of it; a tuple for several.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.atleast_1d(tg.tensor(1.0))
        tensor([1.])
    """
    return _atleast(tensors, lambda shape: shape or (1,))


def atleast_2d(*tensors: Any) -> Any:
    """A tensor with at least two dimensions, new ones in front.

    Args:
        tensors: a tensor, several, or a sequence of them.

    Returns:
        The tensor or a view of it; a tuple for several.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.atleast_2d(tg.zeros(3)).shape
        (1, 3)
    """
    return _atleast(tensors, lambda shape: (1,) * (2 - len(shape)) + shape)


def atleast_3d(*tensors: Any) -> Any:
    """A tensor with at least three dimensions: (n,) becomes (1, n, 1), and (m, n) becomes (m, n, 1).

    Args:
        tensors: a tensor, several, or a sequence of them.

    Returns:
        The tensor or a view of it; a tuple for several.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.atleast_3d(tg.zeros(3)).shape
        (1, 3, 1)
    """
    return _atleast(tensors, lambda shape: shape if len(shape) > 2 else (*((1,) * (2 - len(shape)) + shape), 1))
