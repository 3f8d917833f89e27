"""Positions: what every index but a basic one comes down to, and the primitives that read, add and write there.

An index tensor becomes positions along some dimensions taken as one. `pick` reads the elements at the positions, `spread`
adds elements up there, and each is the other's derivative; `replace` writes them.
"""
from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ...autograd.op import op
from ...backend import device_of, namespace, to_device
from ...backend.determinism import add_at
from ...errors import DeviceError, DTypeError, IndexRangeError, ShapeError
from ...tensor import Tensor, as_array, normalize_dim
from ..broadcast import expand_to
from ..elementwise import where

pick = op("index", lambda x, index, *, dim, count: merge(x, dim, count).take(index, axis=dim),
          x=lambda g, index, x_shape, dim, count: spread(g, index, shape=x_shape, dim=dim, count=count),
          doc="The elements of x at positions along `count` dimensions from `dim` on, taken as one; index's dimensions take their place.")
spread = op("spread", lambda xp, x, index, *, shape, dim, count: _spread(xp, x, index, shape, dim, count),
            x=lambda g, index, dim, count: pick(g, index, dim=dim, count=count),
            doc="Zeros of a shape with the elements of x added at positions, as `pick` reads them; equal positions add up.")

replace = op("index_put", lambda xp, x, value, index, *, dim, count: _replace(xp, x, value, index, dim, count),
             x=lambda g, index, dim, count: replace(g, 0.0, index, dim=dim, count=count),
             value=lambda g, index, dim, count: where(
                 _stays(index, n=prod(g.shape[dim:dim + count]), trailing=g.ndim - dim - count), pick(g, index, dim=dim, count=count), 0.0),
             doc="x with the elements at positions, as `pick` reads them, replaced by a number or by a value of pick's shape.")
_stays = op("stays", lambda xp, index, *, n, trailing: _stay(xp, index, n).reshape(index.shape + (1,) * trailing),
            doc="Which writes to positions are the last ones there, with trailing dimensions to broadcast over.")


def merge(x: Any, dim: int, count: int) -> Any:
    """An array with `count` dimensions from `dim` on made one."""
    return x if count == 1 else x.reshape(_merged(x.shape, dim, count))


def _merged(shape: tuple, dim: int, count: int) -> tuple:
    return (*shape[:dim], prod(shape[dim:dim + count]), *shape[dim + count:])


def _spread(xp: Any, x: Any, index: Any, shape: tuple, dim: int, count: int) -> Any:
    """`spread` as a sum of rows: with the dimensions before `dim` counted into the positions, and those behind as columns."""
    outer, n, inner = prod(shape[:dim]), prod(shape[dim:dim + count]), prod(shape[dim + count:])
    half = x.dtype == np.float16                      # sums of many halves are added up in float32
    total = xp.zeros((outer * n, inner), dtype=np.float32 if half else x.dtype)
    _add_rows(xp, total, row_numbers(xp, index, outer, n), x.reshape(outer * index.size, inner))
    return (total.astype(np.float16) if half else total).reshape(shape)


def row_numbers(xp: Any, index: Any, outer: int, n: int) -> Any:
    """Positions below n as row numbers of a matrix in which `outer` such matrices stand below each other."""
    if xp is not np or (index.size and index.min() < 0):
        index = index % max(n, 1)
    return index.reshape(-1) if outer == 1 else (xp.arange(outer)[:, None] * n + index.reshape(-1)).reshape(-1)


def in_rows(xp: Any, index: Any, inner: int) -> Any:
    """The positions of all elements of some rows of a matrix with `inner` columns."""
    return index if inner == 1 else (index[:, None] * inner + xp.arange(inner)).reshape(-1)


def _add_rows(xp: Any, total: Any, index: Any, rows: Any) -> None:
    """total[index[i]] += rows[i] for every i, in order."""
    inner = total.shape[1]
    if xp is not np:
        add_at(xp, total, index, rows)
    elif inner > 1 and rows.size > 16384 and rows.dtype.kind == "f":   # NumPy's add.at takes five times as long
        from scipy.sparse import csc_array
        one_hot = csc_array((np.ones(len(index), total.dtype), index, np.arange(len(index) + 1)), shape=(len(total), len(index)))
        total[...] = one_hot @ rows.astype(total.dtype, copy=False)
    else:                                             # its loop over single elements is fast, its loop over rows is not
        np.add.at(total.reshape(-1), in_rows(np, index, inner), rows.reshape(-1))


def _replace(xp: Any, x: Any, value: Any, index: Any, dim: int, count: int) -> Any:
    y = xp.array(x, order="C")                        # a copy, of which `rows` is a view
    rows, flat = merge(y, dim, count), index.reshape(-1)                        # NumPy writes in order only along one dimension
    if hasattr(value, "dtype"):
        value = merge(value, dim, index.ndim)
        if xp is not np:                              # there in no order at all: let all that meet write the same
            value = value.take(_last(xp, flat, rows.shape[dim]), axis=dim)
    rows[(slice(None),) * dim + (flat,)] = value
    return y


def _last(xp: Any, index: Any, n: int) -> Any:
    """For every one of several positions below n, the number of the last one that is equal to it."""
    last, numbers = xp.zeros(n, dtype=np.int64), xp.arange(len(index))
    if xp is np:
        last[index] = numbers
    else:
        xp.maximum.at(last, index % max(n, 1), numbers)
    return last[index]


def _stay(xp: Any, index: Any, n: int) -> Any:
    """Which of several writes to positions are the last ones there."""
    return (_last(xp, index.reshape(-1), n) == xp.arange(index.size)).reshape(index.shape)


# -- indices as positions ----------------------------------------------------------------------------------------------

def raw(x: Any) -> Any:
    """The array of a tensor; an array as it is."""
    return x._data if isinstance(x, Tensor) else x


def index_array(index: Any, x: Any, what: str) -> Any:
    """An index given as a tensor, array or list, as an array on the device of the array x: int64, or bool for a mask.

    Raises:
        IndexError: neither integers nor booleans.
        DeviceError: a tensor on another device.
    """
    array = raw(index)
    if type(array) is not type(x) or (type(x) is not np.ndarray and device_of(array) != device_of(x)):
        if isinstance(index, Tensor):
            raise DeviceError(f"{what}: the index is on {index.device}, the tensor on {device_of(x)}; write index.to(x.device)")
        array = to_device(as_array(array), device_of(x))
        if array.size == 0 and not hasattr(index, "dtype"):     # an empty list
            array = array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise IndexError(f"{what}: an index holds integers or booleans, got {array.dtype}; write index.long()")
    if array.dtype.kind == "b":
        return array
    return array.astype(np.int64, copy=isinstance(index, np.ndarray))           # of NumPy's own arrays nobody notices later writes


def integers(index: Any, x: Any, what: str) -> Any:
    """An index of integers, as `index_array`.

    Raises:
        DTypeError: floating point or boolean.
    """
    array = raw(index)
    if getattr(array, "dtype", np.dtype(int)).kind not in "iu":
        raise DTypeError(f"{what} takes an index of integers, got {array.dtype}; write index.long()")
    return index_array(index, x, what)


def in_range(index: Any, n: int, what: str, dim: int, shape: tuple, low: int = 0) -> int:
    """Check that an index lies in [low, n). On a CUDA device nothing is checked, since that would wait for the device.

    Returns:
        A lower bound of the index.

    Raises:
        IndexRangeError: names the index, the dimension and the shape.
    """
    if not isinstance(index, np.ndarray):
        return low
    if index.size == 0:
        return 0
    least, most = int(index.min()), int(index.max())
    if least < low or most >= n:
        raise IndexRangeError(f"{what}: index {least if least < low else most} is out of range for dimension {dim} of a tensor of "
                              f"shape {shape}: " + (f"it counts from {low} to {n - 1}" if n else "that dimension is empty"))
    return least


def along_dim(input: Any, dim: int, index: Any, what: str, negative: bool = False) -> tuple[int, Any]:
    """The dimension and the 1-d array of indices into it, checked.

    Raises:
        IndexRangeError: an index out of range.
        ShapeError: an index with more than one dimension, or not exactly one index into a 0-d tensor.
    """
    dim = normalize_dim(dim, input.ndim)
    index = integers(index, raw(input), what)
    if index.ndim > 1:
        raise ShapeError(f"{what} takes an index with one dimension, got shape {index.shape}; write x[index] or gather(x, dim, index)")
    if input.ndim == 0 and index.size != 1:
        raise ShapeError(f"{what}: {index.size} indices into a 0-d tensor; there is one element")
    n = input.shape[dim] if input.ndim else 1
    in_range(index, n, what, dim, input.shape, low=-n if negative else 0)
    return dim, index.reshape(-1)


def positions_along(index: Any, dim: int, shape: tuple, what: str) -> Any:
    """For every index i at [a, …, b], the position of element [a, …, i, …, b] in the flattened tensor.

    Raises:
        IndexRangeError: an index out of range.
        ShapeError: an index whose shape does not fit.
    """
    if index.size == 0:
        return index
    if max(index.ndim, 1) != max(len(shape), 1) or any(n > m for k, (n, m) in enumerate(zip(index.shape, shape)) if k != dim):
        raise ShapeError(f"{what}: an index of shape {index.shape} does not fit a tensor of shape {shape} along dimension {dim}; "
                         f"it has as many dimensions, none longer except dimension {dim}")
    in_range(index, shape[dim] if shape else 1, what, dim, shape)
    xp, positions = namespace(index), index
    offset, stride = 0, 1                             # of the elements around index i; from one element to the next
    for k in reversed(range(len(shape))):
        if k == dim:
            positions = index if stride == 1 else index * stride
        elif index.ndim and index.shape[k] > 1:
            offset = xp.arange(index.shape[k]).reshape((-1,) + (1,) * (index.ndim - 1 - k)) * stride + offset
        stride *= shape[k]
    return positions if isinstance(offset, int) else positions + offset


def with_mask(input: Any, mask: Any, what: str) -> tuple[Any, Any]:
    """A tensor and the array of a mask, broadcast to a common shape.

    Raises:
        DTypeError: a mask that is not boolean.
        ShapeError: shapes that do not broadcast.
    """
    mask = raw(mask)
    if mask.dtype != bool:
        raise DTypeError(f"{what} takes a boolean mask, got {mask.dtype}; write mask.bool()")
    mask = index_array(mask, raw(input), what)
    if mask.shape != input.shape:
        try:
            shape = np.broadcast_shapes(mask.shape, input.shape)
        except ValueError:
            raise ShapeError(f"{what}: a mask of shape {mask.shape} does not broadcast with a tensor of shape {input.shape}") from None
        mask = namespace(mask).broadcast_to(mask, shape)
        input = input if input.shape == shape else expand_to(input, shape=shape)
    return input, mask
