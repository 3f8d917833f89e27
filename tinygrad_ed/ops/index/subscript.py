"""x[index] and x[index] = value, with all that an index can be in Python."""
from __future__ import annotations

from collections.abc import Sequence
from math import prod
from operator import index as as_int
from typing import Any

import numpy as np

from ...autograd.inplace import _check_writable, stamp, write
from ...autograd.modes import state
from ...autograd.op import op
from ...autograd.runtime import explain
from ...backend import device_of, namespace, to_device
from ...dtypes import FLOATS
from ...errors import DeviceError, DTypeError, IndexRangeError, ShapeError
from ...tensor import Tensor, as_array, normalize_dim, wrap
from ..broadcast import expand_to, permute_to, reshape_to
from .positions import in_range, index_array, pick, raw, replace, spread

__all__ = ["narrow", "select"]

slice_of = op("slice", lambda x, *, index: x[index], view=True, x=lambda g, x_shape, index: _embed(g, shape=x_shape, index=index),
              doc="The part of x at a basic index.")
_embed = op("embed", lambda xp, x, *, shape, index: _embedded(xp, x, shape, index), x=lambda g, index: slice_of(g, index=index),
            doc="Zeros of a shape with x at a basic index.")


def _embedded(xp: Any, x: Any, shape: tuple, index: tuple) -> Any:
    out = xp.zeros(shape, dtype=x.dtype)
    out[index] = x
    return out


def getitem(input: Tensor, index: Any) -> Tensor:
    """The part of a tensor that `x[index]` denotes, as in PyTorch.

    Integers, slices, `...` and None make a view. Tensors, arrays and lists of integers pick elements, of booleans those
    where they are True; several broadcast together, and their dimensions come first where they are not side by side.

    Args:
        input: a tensor of any shape.
        index: an entry as above or a tuple of entries, one per dimension.

    Returns:
        A view for a basic index, else a new tensor.

    Raises:
        IndexError: out of range, too many entries, masks or index tensors whose shapes do not fit.
        ValueError: a slice whose step is not positive.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> x[:, -1], x[x > 2], x[[1, 0], [0, 0]]
        (tensor([2., 4.]), tensor([3., 4.]), tensor([3., 1.]))
    """
    if type(index) is int:
        return slice_of(input, index=(index, Ellipsis))
    basic, selectors = split(index, raw(input))
    if not selectors:
        return slice_of(input, index=basic)
    order, positions, dim, count = places(selectors, (view := viewed(input, basic)).shape)
    return pick(view if order is None else permute_to(view, dims=order), positions, dim=dim, count=count)


def setitem(input: Tensor, index: Any, value: Any) -> None:
    """Write into the part of a tensor that `x[index] = value` denotes; recorded, as far as the tensor or the value is.

    Where an index names an element several times, the last value stays; on a CUDA device, unless recorded, one of them.

    Args:
        input: a tensor of any shape.
        index: as in `getitem`.
        value: a tensor, array or number that broadcasts to the part; it is converted to input's dtype.

    Raises:
        IndexError: as in `getitem`.
        ShapeError: a value that does not broadcast to the part.
        DTypeError: a tensor of another dtype written by an index tensor, or what is no number.
        InPlaceError: a leaf that requires grad, or memory that cannot be written.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor([1.0, -2.0, -3.0])
        >>> x[x < 0] = 0.0
        >>> x
        tensor([1., 0., 0.])
    """
    basic, selectors = split(index, input._data)
    value = written(value, input, strict=bool(selectors))
    if not selectors:
        part = slice_of(input, index=basic)
        if not _is_itself(part, value):
            write(part, without_ones(value, part.shape), WRITE)
        return
    part = viewed(input, basic)
    recorded = state.recording and part.dtype.kind in FLOATS and (_is_recorded(part) or value.requires_grad)
    if recorded or not part.is_cpu:                   # a device writes in no order at all, put_at lets the last value stay
        write(part, put_at(part, selectors, value), WRITE, fresh=True)
        return
    _check_writable(part, part, WRITE, False)
    xp = namespace(part._data)
    where: list = [slice(None)] * part.ndim
    for first, count, array in reversed(selectors):
        where[first:first + count] = [xp.ascontiguousarray(array)]              # NumPy then writes in order
    array = xp.ascontiguousarray(value._data)
    while array.ndim > 1 and len(array) == 1:
        array = array[0]                              # a mask takes one dimension only
    try:
        part._data[tuple(where)] = array
    except Exception as error:
        raise explain(error, WRITE, (part, value)) from None
    stamp(part._data)


WRITE = "x[index] = value"


def _is_recorded(part: Tensor) -> bool:
    """Whether a tensor, or what it is a view of, has a history."""
    return part.requires_grad or (part._view is not None and part._view.base.requires_grad)


def _is_itself(part: Tensor, value: Tensor) -> bool:
    """Whether the value is that very part, as at the end of `x[index] += y`, which Python closes with x[index] = x[index]."""
    if value._view is None or value._view.base is not (part._view.base if part._view else None):
        return False
    a, b = value._data, part._data
    address = lambda array: array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr
    return a.shape == b.shape and a.strides == b.strides and address(a) == address(b)


def written(value: Any, input: Any, strict: bool) -> Tensor:
    """A value to be written into a tensor, as a tensor of its dtype on its device.

    Raises:
        DTypeError: what is no number, or where strict, a tensor of another dtype.
        DeviceError: a tensor on another device, other than a 0-d tensor on the CPU.
    """
    x, dtype = raw(input), input.dtype
    if not isinstance(value, Tensor):
        array = np.full((), value, dtype) if type(value) is float and dtype.kind in FLOATS else as_array(value, dtype=dtype)
        if type(array) is not type(x):
            array = to_device(array, device_of(x)) if array.ndim else namespace(x).full((), array.item(), dtype=dtype)
        return wrap(array)
    if strict and value.dtype != dtype:
        raise DTypeError(f"an index tensor writes values of the tensor's dtype {dtype}, got {value.dtype}; write value.to(x.dtype)")
    if type(value._data) is not type(x) or (type(x) is not np.ndarray and value.device != device_of(x)):
        if value.ndim or value.is_cuda:
            raise DeviceError(f"values on {value.device} cannot be written into a tensor on {device_of(x)}; write value.to(x.device)")
        return value.to(dtype=dtype, device=device_of(x))
    return value if value.dtype == dtype else value.to(dtype=dtype)


def without_ones(value: Tensor, shape: tuple) -> Tensor:
    """A value without the leading dimensions of length 1 that it has more than `shape`, broadcast to which it is to be.

    Raises:
        ShapeError: it does not broadcast.
    """
    given = value.shape
    extra = max(len(given) - len(shape), 0)
    if any(n != 1 for n in given[:extra]) or any(n not in (1, m) for n, m in zip(reversed(given[extra:]), reversed(shape))):
        raise ShapeError(f"values of shape {given} do not broadcast to the indexed part, of shape {shape}")
    return reshape_to(value, shape=given[extra:]) if extra else value


def put_at(x: Any, selectors: Sequence, value: Tensor, accumulate: bool = False) -> Any:
    """x with the elements that selectors, from `split`, point to replaced by a value, or with the value added to them."""
    order, positions, dim, count = places(selectors, x.shape)
    y = x if order is None else permute_to(x, dims=order)
    shape = (*y.shape[:dim], *positions.shape, *y.shape[dim + count:])
    value = expand_to(without_ones(value, shape), shape=shape)
    y = (y + spread(value, positions, shape=y.shape, dim=dim, count=count) if accumulate else
         replace(y, value, positions, dim=dim, count=count))
    return y if order is None else permute_to(y, dims=tuple(int(i) for i in np.argsort(order)))


def viewed(x: Any, basic: tuple) -> Any:
    """The view of x at a basic index; x itself where the index takes everything."""
    plain = all(e == slice(None) for e in basic[:-1])
    return x if plain else slice_of(x, index=basic)


def split(index: Any, x: Any) -> tuple[tuple, list]:
    """An index of the array x as a basic one, and what then selects from that view.

    Returns:
        The basic index, and triples (dimension, how many dimensions, array): integers along one dimension, or a mask.

    Raises:
        IndexError: more indices than dimensions, a mask that does not fit, or something that is no index.
    """
    entries: Sequence = index if isinstance(index, tuple) else (index,)
    if all([type(e) in _BASIC for e in entries]):
        return (*[bounds(e) if type(e) is slice else e for e in entries], *(() if Ellipsis in entries else (Ellipsis,))), []
    entries = [_entry(e, x) for e in entries]
    taken = sum([_dims_taken(e) for e in entries])
    if taken > x.ndim:
        raise IndexError(f"{taken} indices for a tensor with {x.ndim} dimensions, of shape {x.shape}")
    basic: list = []
    selectors: list = []
    at = dim = 0                                      # the dimension reached in x, and in the view
    for e in entries:
        if isinstance(e, bool):                       # a new dimension that is kept or dropped
            selectors.append((dim, 1, namespace(x).zeros(int(e), dtype=np.int64)))
            e = None
        elif hasattr(e, "dtype"):
            if e.dtype.kind == "b" and e.shape != x.shape[at:at + e.ndim]:
                raise IndexRangeError(f"a mask of shape {e.shape} does not fit a tensor of shape {x.shape} from dimension {at} on")
            selectors.append((dim, _dims_taken(e), e))
        before, here = len(basic), _dims_taken(e)
        if e is Ellipsis:
            here = x.ndim - taken
        basic += [slice(None)] * here if e is Ellipsis or hasattr(e, "dtype") else [e]
        at += here
        dim += 0 if isinstance(e, int) else len(basic) - before
    return (*basic, Ellipsis), selectors              # the ellipsis makes a 0-d array of a single element


_BASIC = {int, slice, type(None), type(Ellipsis)}


def _entry(e: Any, x: Any) -> Any:
    """One entry of an index in a form of its own: None, an ellipsis, a slice, an int, a bool or an array."""
    if e is None or e is Ellipsis or isinstance(e, (bool, int)):
        return e
    if isinstance(e, slice):
        return bounds(e)
    if isinstance(e, np.generic):
        e = np.asarray(e)
    elif isinstance(e, (list, tuple, range)):
        e = list(e)
        if any(isinstance(part, (list, tuple, slice)) or getattr(part, "ndim", 0) for part in e):
            raise IndexError("a list of lists as an index has two meanings; write x[tuple(index)] or x[tensor(index)]")
        e = [part.item() if hasattr(part, "item") else part for part in e]
    elif not hasattr(e, "dtype"):
        raise IndexError(f"a tensor is indexed by integers, slices, ..., None, and tensors of integers or booleans, got {e!r}")
    if getattr(raw(e), "dtype", np.dtype(int)).char == "B":
        raise IndexError("uint8 as an index has two meanings; write x[index.bool()] for a mask or x[index.long()] for positions")
    e = index_array(e, x, "x[index]")
    return e if e.ndim else e.item()


def bounds(s: slice) -> slice:
    """A slice with plain integers.

    Raises:
        ValueError: a step that is not positive.
    """
    if s.step is None and type(s.start) in _PLAIN and type(s.stop) in _PLAIN:
        return s
    if s.step is not None and as_int(s.step) <= 0:
        raise ValueError(f"the step of a slice is positive, got {s.step}; write x.flip(dim)")
    return slice(*[v if v is None else as_int(v) for v in (s.start, s.stop, s.step)])


_PLAIN = {int, type(None)}


def _dims_taken(e: Any) -> int:
    if e is None or e is Ellipsis or isinstance(e, bool):
        return 0
    return e.ndim if hasattr(e, "dtype") and e.dtype.kind == "b" else 1


def places(selectors: Sequence, shape: tuple) -> tuple[tuple | None, Any, int, int]:
    """Where selectors, from `split`, point to in a tensor of a shape.

    Returns:
        The order to bring the dimensions into first (None: as they are), positions, and the `dim` and `count` with which
        `pick` reads them.

    Raises:
        IndexError: an index out of range, or indices that do not broadcast together.
    """
    dims = [d for first, count, _ in selectors for d in range(first, first + count)]
    positions: Any = None
    for first, count, array in selectors:
        n = prod(shape[first:first + count])
        if array.dtype.kind == "b":
            array = namespace(array).flatnonzero(array)
        elif len(selectors) > 1:                      # a single one is checked as it is used
            array = wrapped(array, n, first, shape)
        try:
            positions = array if positions is None else positions * n + array
        except ValueError:
            raise IndexError(f"indices of shapes {[tuple(a.shape) for _, _, a in selectors]} do not broadcast together") from None
    order = None
    if dims[-1] - dims[0] >= len(dims):               # not side by side: their result goes to the front
        order = (*dims, *[d for d in range(len(shape)) if d not in dims])
    return order, positions, 0 if order else dims[0], len(dims)


def wrapped(index: Any, n: int, dim: int, shape: tuple) -> Any:
    """An index array with the negative indices, which count from the end, replaced.

    Raises:
        IndexRangeError: an index out of range.
    """
    low = in_range(index, n, "x[index]", dim, shape, low=-n)
    return index if low >= 0 else index % max(n, 1)


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice of a tensor at one index of a dimension, which disappears: a view.

    Args:
        input: a tensor with at least one dimension.
        dim: the dimension.
        index: where, counted from the end if negative.

    Returns:
        A view with one dimension less.

    Raises:
        IndexError: a dimension or an index out of range.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.select(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), 1, 0)
        tensor([1., 3.])
    """
    if input.ndim == 0:
        raise IndexError("select needs a tensor with dimensions, got a 0-d tensor; write x.item()")
    dim = normalize_dim(dim, input.ndim)
    return slice_of(input, index=(slice(None),) * dim + (as_int(index), Ellipsis))


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """The part of a tensor from `start` on, `length` long, along one dimension: a view.

    Args:
        input: a tensor with at least one dimension.
        dim: the dimension.
        start: the first index, counted from the end if negative.
        length: how many indices.

    Returns:
        A view with `length` in place of that dimension.

    Raises:
        IndexError: a dimension or a start out of range.
        ShapeError: a length that is negative or reaches beyond the end.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.narrow(tg.tensor([1.0, 2.0, 3.0, 4.0]), 0, 1, 2)
        tensor([2., 3.])
    """
    if input.ndim == 0:
        raise ShapeError("narrow needs a tensor with dimensions, got a 0-d tensor")
    dim, start, length = normalize_dim(dim, input.ndim), as_int(start), as_int(length)
    n = input.shape[dim]
    if not -n <= start <= n:
        raise IndexRangeError(f"narrow: start {start} is out of range for dimension {dim} of a tensor of shape {input.shape}")
    start += n if start < 0 else 0
    if length < 0 or start + length > n:
        raise ShapeError(f"narrow: {length} elements from {start} on are not in dimension {dim} of a tensor of shape {input.shape}")
    return slice_of(input, index=(slice(None),) * dim + (slice(start, start + length), Ellipsis))
