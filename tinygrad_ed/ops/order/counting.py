"""Which values there are, how often, and between which limits. None of this has a derivative, except for bincount's weights."""
from __future__ import annotations

from typing import Any

import numpy as np

from ...backend import device_of, namespace
from ...dtypes import FLOATS
from ...errors import DTypeError, ShapeError
from ...tensor import Tensor, as_array, wrap
from ..arguments import one
from ..index.positions import raw, spread

__all__ = ["bincount", "bucketize", "histc", "isin", "searchsorted", "unique", "unique_consecutive"]


def _several(values: Any, inverse: Any, counts: Any) -> Any:
    """One tensor, or a tuple of those that are wanted."""
    found = [values, *[extra for extra in (inverse, counts) if extra is not None]]
    return wrap(found[0]) if len(found) == 1 else tuple([wrap(a) for a in found])


def unique(input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None) -> Any:
    """The different elements in ascending order, or the different slices along a dimension. Every NaN is different.

    Args:
        input: a tensor of any shape.
        sorted: whether they must be in order, which they always are.
        return_inverse: also say, for every element, which of the unique ones it is.
        return_counts: also say how often each one occurs.
        dim: compare whole slices along this dimension; elements by default.

    Returns:
        A tensor, or a tuple of it with the inverse and the counts, both int64.

    Raises:
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.unique(tg.tensor([3, 1, 3]), return_counts=True)
        (tensor([1, 3]), tensor([1, 2]))
    """
    x = raw(input)
    xp = namespace(x)
    dim = None if dim is None else one(x, dim)
    if dim is not None and x.ndim == 0:
        x, dim = x.reshape(1), 0
    if dim is not None and x.size == 0 and x.shape[dim] != 0:
        raise ShapeError(f"unique along dimension {dim} of a tensor of shape {x.shape}: its slices have no elements to compare")
    values, inverse, counts = xp.unique(x, return_inverse=True, return_counts=True, axis=dim, equal_nan=False)
    inverse = inverse.reshape(x.shape if dim is None else -1)
    return _several(values, inverse if return_inverse else None, counts if return_counts else None)


def unique_consecutive(input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None) -> Any:
    """The elements, or the slices along a dimension, without those equal to the one before.

    Args:
        input: a tensor of any shape.
        return_inverse: also say, for every element, which of the remaining ones it is.
        return_counts: also say how many equal ones each stands for.
        dim: compare whole slices along this dimension; elements of the flattened tensor by default.

    Returns:
        A tensor, or a tuple of it with the inverse and the counts, both int64.

    Raises:
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.unique_consecutive(tg.tensor([1, 1, 2, 1]))
        tensor([1, 2, 1])
    """
    x = raw(input)
    xp = namespace(x)
    axis = 0 if dim is None else one(x, dim)
    slices = xp.moveaxis(x, axis, 0) if dim is not None and x.ndim else x.reshape(-1)
    new = xp.ones(len(slices), dtype=bool)
    new[1:] = (slices[1:] != slices[:-1]).any(axis=tuple(range(1, slices.ndim)))
    starts = xp.flatnonzero(new)
    values = slices[starts] if dim is None or not x.ndim else xp.moveaxis(slices[starts], 0, axis)
    inverse = xp.cumsum(new) - 1
    counts = xp.diff(xp.concatenate([starts, xp.full(1, len(slices), dtype=starts.dtype)]))
    return _several(values, (inverse.reshape(x.shape) if dim is None else inverse) if return_inverse else None,
                    counts if return_counts else None)


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of the numbers 0, 1, 2… occurs, or the sum of the weights that it occurs with.

    Args:
        input: a 1-d tensor of integers, none negative.
        weights: a tensor of input's shape; the derivative with respect to it is defined.
        minlength: the least length of the result.

    Returns:
        A tensor of length max(input) + 1 or minlength: int64 without weights, else of their dtype, float64 for
        integer weights.

    Raises:
        DTypeError: an input that is not of integers.
        ShapeError: an input that is not 1-d, negative numbers, or weights of another shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.bincount(tg.tensor([1, 1, 3]))
        tensor([0, 2, 0, 1])
    """
    x = raw(input)
    if x.dtype.kind not in "iu":
        raise DTypeError(f"bincount counts integers, got {x.dtype}")
    if x.ndim != 1 or (x.size and int(x.min()) < 0) or minlength < 0:
        raise ShapeError(f"bincount takes a 1-d tensor of integers, none negative, and minlength from 0 on; got shape {x.shape}, "
                         f"minlength {minlength}, smallest {x.min() if x.size else None}")
    if weights is not None and weights.shape != x.shape:
        raise ShapeError(f"bincount takes one weight for every number, got shapes {weights.shape} and {x.shape}")
    xp = namespace(x)
    if weights is None:
        return wrap(xp.bincount(x, minlength=minlength).astype(np.int64, copy=False))
    n = max(int(x.max()) + 1 if x.size else 0, minlength)
    if weights.dtype not in (np.float32, np.float64):
        weights = weights.to(dtype=np.float64)
    return spread(weights, x.astype(np.int64, copy=False), shape=(n,), dim=0, count=1)


def searchsorted(sorted_sequence: Tensor, input: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None,
                 sorter: Tensor | None = None) -> Tensor:
    """Where values would have to be inserted into a sequence in ascending order to keep the order.

    Args:
        sorted_sequence: a 1-d tensor, or one of several dimensions, along the last of which it is in order.
        input: a number or a tensor; for a sequence of several dimensions, with the same ones before the last.
        out_int32: give int32.
        right: behind equal elements instead of in front of them.
        side: "left" or "right", in place of `right`.
        sorter: the indices that put the sequence in order, of its shape.

    Returns:
        An int64 tensor of input's shape.

    Raises:
        ShapeError: dimensions that do not fit.
        ValueError: an unknown side, or one that contradicts `right`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.searchsorted(tg.tensor([1.0, 2.0, 3.0]), tg.tensor([2.0, 5.0]))
        tensor([1, 3])
    """
    if side not in (None, "left", "right") or (side == "left" and right):
        raise ValueError(f'side is "left" or "right" and says the same as right, got side={side!r}, right={right}')
    sequence = raw(sorted_sequence)
    values = _values(input, sequence)
    xp, side = namespace(sequence), "right" if right or side == "right" else "left"
    if sequence.ndim == 0 or (sequence.ndim > 1 and values.shape[:-1] != sequence.shape[:-1]):
        raise ShapeError(f"searchsorted takes a 1-d sequence, or one whose dimensions before the last are input's; got shapes "
                         f"{sequence.shape} and {values.shape}")
    if sorter is not None:
        if sorter.shape != sequence.shape:
            raise ShapeError(f"searchsorted takes a sorter of the sequence's shape {sequence.shape}, got {sorter.shape}")
        sequence = xp.take_along_axis(sequence, raw(sorter), -1)
    if sequence.ndim == 1:
        found = xp.searchsorted(sequence, values, side=side)
    else:
        found = xp.empty(values.shape, dtype=np.int64)
        for row in np.ndindex(*sequence.shape[:-1]):
            found[row] = xp.searchsorted(sequence[row], values[row], side=side)
    return wrap(xp.asarray(found, dtype=np.int32 if out_int32 else np.int64))


def _values(input: Any, like: Any) -> Any:
    """A tensor, an array or a number as an array on the device of another."""
    return raw(input) if isinstance(input, Tensor) else as_array(input, device=device_of(like))


def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The number of the bucket that each value lies in: i where boundaries[i-1] < value <= boundaries[i].

    Args:
        input: a number or a tensor of any shape.
        boundaries: a 1-d tensor in ascending order.
        out_int32: give int32.
        right: boundaries[i-1] <= value < boundaries[i] instead.

    Returns:
        An int64 tensor of input's shape.

    Raises:
        ShapeError: boundaries that are not 1-d.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.bucketize(tg.tensor([0.5, 2.0, 9.0]), tg.tensor([1.0, 2.0]))
        tensor([0, 1, 2])
    """
    if boundaries.ndim != 1:
        raise ShapeError(f"bucketize takes boundaries with one dimension, got shape {boundaries.shape}")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of several bins of equal width between two limits; others are not counted.

    Args:
        input: a floating point tensor of any shape.
        bins: how many bins.
        min: the lower limit.
        max: the upper limit; for two equal ones, the smallest and the largest element.

    Returns:
        A tensor of shape (bins,) of input's dtype.

    Raises:
        DTypeError: not a floating point tensor.
        ValueError: no bins, max below min, or limits that are not finite.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.histc(tg.tensor([1.0, 2.0, 1.0]), bins=4, min=0, max=3)
        tensor([0., 2., 1., 0.])
    """
    x = raw(input)
    if x.dtype.kind not in FLOATS:
        raise DTypeError(f"histc is defined for floating point tensors, got {x.dtype}; write x.float() or bincount(x)")
    if min == max and x.size:
        min, max = float(x.min()), float(x.max())
    if min == max:
        min, max = min - 1, max + 1
    if bins < 1 or not min < max or not np.isfinite(max - min):
        raise ValueError(f"histc takes at least one bin and finite limits min < max, got bins={bins}, min={min}, max={max}")
    xp = namespace(x)
    return wrap(xp.histogram(x, bins=bins, range=(float(min), float(max)))[0].astype(x.dtype))


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Where elements are among the test elements; NaN never is.

    Args:
        elements: a tensor or a number.
        test_elements: a tensor or a number.
        assume_unique: accepted as in PyTorch: whether both hold no element twice.
        invert: where they are not, instead.

    Returns:
        A boolean tensor of the shape of `elements`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.isin(tg.tensor([1, 2, 3]), tg.tensor([2, 5]))
        tensor([False,  True, False])
    """
    like = next((raw(t) for t in (elements, test_elements) if hasattr(t, "dtype")), np.empty(0))
    xp = namespace(like)
    return wrap(xp.asarray(xp.isin(_values(elements, like), _values(test_elements, like), invert=invert)))
