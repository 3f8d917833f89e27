"""Elements repeated, or in another order: copies."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index
from typing import Any

import numpy as np

from ...autograd.op import op
from ...backend import namespace
from ...errors import DTypeError, ShapeError
from ...tensor import Tensor, normalize_dim, wrap
from ..broadcast import reshape_to, sum_over
from ..convert import clone
from .sizes import normalize_dims, several

__all__ = ["flip", "fliplr", "flipud", "repeat", "repeat_interleave", "roll", "rot90", "tile"]

_repeat = op("repeat", lambda xp, x, *, repeats: xp.tile(x, repeats),
             x=lambda g, x_shape, repeats: _sum_repeats(g, x_shape, repeats))
_interleave = op("repeat_interleave", lambda xp, x, *, repeats, dim: xp.repeat(x, repeats, axis=dim),
                 x=lambda g, x_shape, repeats, dim: _sum_interleaved(g, x_shape, repeats, dim))
_flip: Callable = op("flip", lambda xp, x, *, dims: xp.flip(x, dims).copy(), x=lambda g, dims: _flip(g, dims=dims))
_roll: Callable = op("roll", lambda xp, x, *, shifts, dims: xp.roll(x, shifts, dims),
                     x=lambda g, shifts, dims: _roll(g, shifts=tuple([-n for n in shifts]), dims=dims))
_rot90: Callable = op("rot90", lambda xp, x, *, k, dims: xp.rot90(x, k, dims).copy(), x=lambda g, k, dims: _rot90(g, k=-k, dims=dims))


def _sum_repeats(g: Any, shape: tuple, repeats: tuple) -> Any:
    """g summed over the repetitions of a tensor of `shape`: over r in dimensions seen as (r, n)."""
    aligned = (1,) * (len(repeats) - len(shape)) + shape
    pairs = tuple([n for pair in zip(repeats, aligned) for n in pair])
    return reshape_to(sum_over(reshape_to(g, shape=pairs), dims=tuple(range(0, len(pairs), 2)), keepdim=False), shape=shape)


def _sum_interleaved(g: Any, shape: tuple, repeats: int, dim: int) -> Any:
    """g summed over the repetitions of each element: over r in a dimension seen as (n, r)."""
    pairs = (*shape[:dim + 1], repeats, *shape[dim + 1:])
    return sum_over(reshape_to(g, shape=pairs), dims=(dim + 1,), keepdim=False)


@several
def repeat(input: Tensor, repeats: Sequence[int]) -> Tensor:
    """The whole tensor laid side by side, so many times along each dimension.

    Args:
        input: a tensor of any shape.
        repeats: how often along each dimension, as a sequence or as several integers; more than there are dimensions put
            new ones in front.

    Returns:
        A new tensor.

    Raises:
        ShapeError: fewer numbers than dimensions, or a negative one.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.tensor([1, 2]).repeat(2, 2)
        tensor([[1, 2, 1, 2],
                [1, 2, 1, 2]])
    """
    if len(repeats) < input.ndim or min(repeats, default=0) < 0:
        raise ShapeError(f"repeat takes a count for each dimension of shape {input.shape}, none negative, got {repeats}; "
                         f"write x.tile(n) to count for the last dimensions alone")
    return _repeat(input, repeats=repeats)


@several
def tile(input: Tensor, dims: Sequence[int]) -> Tensor:
    """The whole tensor laid side by side; as `repeat`, but missing counts in front are 1.

    Args:
        input: a tensor of any shape.
        dims: how often along each of the last dimensions, as a sequence or as several integers.

    Returns:
        A new tensor.

    Raises:
        ShapeError: a negative count.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.tile(tg.tensor([[1], [2]]), (3,))
        tensor([[1, 1, 1],
                [2, 2, 2]])
    """
    return repeat(input, (1,) * (input.ndim - len(dims)) + tuple(dims))


def repeat_interleave(input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None) -> Tensor:
    """Each element repeated in its place.

    Args:
        input: a tensor of any shape; where it is given alone, a vector of counts.
        repeats: how often; an integer, or a vector of integers with one count for each position along dim.
        dim: the dimension to repeat along; by default the tensor is flattened first.
        output_size: the length of the result along dim where it is known, which saves a device's synchronisation.

    Returns:
        A new tensor; for counts alone the positions repeated so often.

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: negative counts, or not one for each position.
        DTypeError: counts that are not integers.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.repeat_interleave(tg.tensor([1, 2]), 2)
        tensor([1, 1, 2, 2])
        >>> tg.repeat_interleave(tg.tensor([1, 2]), tg.tensor([3, 1]))
        tensor([1, 1, 1, 2])
    """
    if repeats is None:
        counts = _counts(input, input.shape[:1] or (1,), output_size)
        return wrap(_positions(counts, output_size))
    if dim is None:
        input, dim = reshape_to(input, shape=(-1,)), 0
    dim = normalize_dim(dim, input.ndim)
    if not input.ndim:
        input = reshape_to(input, shape=(1,))
    if isinstance(repeats, Tensor):
        if repeats.numel() != 1 or repeats.ndim > 1:
            from ..index import index_select
            counts = _counts(repeats, input.shape[dim:dim + 1], output_size)
            return index_select(input, dim, wrap(_positions(counts, output_size)))
        repeats = repeats.item()
    try:
        repeats = index(repeats)
    except TypeError:
        raise DTypeError(f"repeat_interleave takes an integer or a vector of integers, got {repeats!r}; "
                         f"write tinygrad_ed.tensor([1, 2])") from None
    if repeats < 0 or output_size not in (None, repeats * input.shape[dim]):
        raise ShapeError(f"repeat_interleave: {repeats} times {input.shape[dim]} positions do not give the output size {output_size}"
                         if repeats >= 0 else f"repeat_interleave counts from 0, got {repeats}")
    return _interleave(input, repeats=repeats, dim=dim)


def _counts(repeats: Tensor, expected: tuple, output_size: int | None) -> Any:
    """The array of counts, checked."""
    counts = repeats._data
    if counts.dtype.kind not in "iu":
        raise DTypeError(f"repeat_interleave takes integer counts, got {counts.dtype}; write repeats.long()")
    if counts.shape != expected:
        raise ShapeError(f"repeat_interleave takes a vector with a count for each position, got shape {counts.shape}, expected {expected}")
    if output_size is None and (counts < 0).any():
        raise ShapeError(f"repeat_interleave counts from 0, got {counts.min()} among the counts")
    return counts


def _positions(counts: Any, output_size: int | None) -> Any:
    """0 so often, 1 so often, …: position i belongs to the first count whose running total exceeds i."""
    xp = namespace(counts)
    totals = xp.cumsum(counts, dtype=xp.int64)
    known = not totals.size or (output_size is not None and not isinstance(totals, np.ndarray))
    total = (output_size or 0) if known else int(totals[-1])
    if output_size not in (None, total):
        raise ShapeError(f"repeat_interleave: the counts sum to {total}, not to the output size {output_size}")
    return xp.searchsorted(totals, xp.arange(total), side="right")


@several
def flip(input: Tensor, dims: Sequence[int]) -> Tensor:
    """The order of the elements reversed along dimensions.

    Args:
        input: a tensor of any shape.
        dims: the dimensions, as a sequence or as several integers.

    Returns:
        A new tensor of the same shape.

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: a dimension named twice.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.flip(tg.tensor([[1, 2], [3, 4]]), dims=(1,))
        tensor([[2, 1],
                [4, 3]])
    """
    dims = normalize_dims(dims, input.ndim, "flip")
    return _flip(input, dims=dims) if dims and input.ndim else clone(input)


def fliplr(input: Tensor) -> Tensor:
    """The order reversed along dimension 1: left and right exchanged.

    Args:
        input: a tensor with at least two dimensions.

    Returns:
        A new tensor of the same shape.

    Raises:
        ShapeError: fewer than two dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.fliplr(tg.tensor([[1, 2], [3, 4]]))
        tensor([[2, 1],
                [4, 3]])
    """
    if input.ndim < 2:
        raise ShapeError(f"fliplr reverses dimension 1 and takes at least two dimensions, got shape {input.shape}; write x.flip(0)")
    return _flip(input, dims=(1,))


def flipud(input: Tensor) -> Tensor:
    """The order reversed along dimension 0: up and down exchanged.

    Args:
        input: a tensor with at least one dimension.

    Returns:
        A new tensor of the same shape.

    Raises:
        ShapeError: a 0-d tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.flipud(tg.tensor([[1, 2], [3, 4]]))
        tensor([[3, 4],
                [1, 2]])
    """
    if input.ndim < 1:
        raise ShapeError("flipud reverses dimension 0, and a 0-d tensor has none; leave it out")
    return _flip(input, dims=(0,))


def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """Elements shifted along dimensions; what leaves at the end comes back at the beginning.

    Args:
        input: a tensor of any shape.
        shifts: by how many places, towards higher indices; one number for each of dims.
        dims: the dimension or dimensions; by default the flattened tensor is rolled and gets its shape back.

    Returns:
        A new tensor of the same shape.

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: not as many shifts as dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.roll(tg.tensor([1, 2, 3, 4]), 1)
        tensor([4, 1, 2, 3])
    """
    steps, along = _tuple(shifts), () if dims is None else _tuple(dims)
    if not along and len(steps) == 1:
        return reshape_to(_roll(reshape_to(input, shape=(-1,)), shifts=steps, dims=(0,)), shape=input.shape)
    if len(steps) != len(along) or not input.ndim:
        raise ShapeError(f"roll takes a shift for each of its dimensions, got shifts {shifts} and dims {dims} for shape {input.shape}")
    return _roll(input, shifts=steps, dims=tuple([normalize_dim(dim, input.ndim) for dim in along]))     # one may come twice


def _tuple(value: Any) -> tuple:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Rotated by k quarter turns in the plane of two dimensions, from the first towards the second.

    Args:
        input: a tensor with at least two dimensions.
        k: how many quarter turns; negative ones turn back.
        dims: the two dimensions.

    Returns:
        A new tensor.

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: fewer than two dimensions, or not two different dims.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.rot90(tg.tensor([[1, 2], [3, 4]]))
        tensor([[2, 4],
                [1, 3]])
    """
    if input.ndim < 2 or len(dims) != 2:
        raise ShapeError(f"rot90 turns in the plane of two dimensions, got dims {tuple(dims)} and shape {input.shape}")
    return _rot90(input, k=k, dims=normalize_dims(dims, input.ndim, "rot90"))
