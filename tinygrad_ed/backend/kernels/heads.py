"""The arrays of attention: heads that mostly lie side by side in memory, read and written where they lie by kernels that get memory and strides."""
from __future__ import annotations

from typing import Any

from .. import namespace

__all__ = ["all_strided", "beside", "masks", "sizes", "strides_of"]


def sizes(q: Any, k: Any, v: Any) -> tuple[int, ...]:
    """Heads in a batch, queries, keys, numbers of a query and of a value."""
    return q.shape[-3] if q.ndim > 2 else 1, q.shape[-2], k.shape[-2], q.shape[-1], v.shape[-1]


def strides_of(x: Any) -> list[int]:
    """How far batches, heads and rows are apart, in numbers."""
    size = x.itemsize
    return [0] * (4 - x.ndim) + [s // size for s in x.strides[-4:-1]]


def all_strided(*arrays: Any) -> tuple[list, list[int]]:
    """The memory of each array, as the kernels take it, and the strides of all."""
    memory, found = [], []
    for x in arrays:
        if not x.flags.c_contiguous:
            x = x if _readable(x) else x.copy()
        found += strides_of(x)
        memory.append(x if x.flags.c_contiguous else _flat(x))
    return memory, found


def _readable(x: Any) -> bool:
    """Whether rows lie in one piece, and forward in memory."""
    return ((x.strides[-1] == x.itemsize or x.shape[-1] == 1) and all([s >= 0 and s % x.itemsize == 0 for s in x.strides])
            and getattr(x.flags, "aligned", True))                   # which arrays on a device are


def _flat(x: Any) -> Any:
    """The memory from an array's first number to its last."""
    as_strided = namespace(x).lib.stride_tricks.as_strided
    return as_strided(x, (1 + sum([(n - 1) * (s // x.itemsize) for n, s in zip(x.shape, x.strides)]),), (x.itemsize,))


def beside(x: Any, numbers: int) -> tuple[Any, Any]:
    """Memory for an array with rows of so many numbers, and the array in it: shape and order of the dimensions are those of x."""
    empty = namespace(x).empty
    if x.flags.c_contiguous or x.ndim != 4:
        memory = empty((*x.shape[:-1], numbers), x.dtype)
        return memory, memory
    order = sorted(range(3), key=lambda i: -x.strides[i])
    memory = empty((*[x.shape[i] for i in order], numbers), x.dtype)
    return memory, memory.transpose(*[order.index(i) for i in range(3)], 3)


def masks(mask: Any) -> tuple[Any, Any, list[int]]:
    """The mask of numbers or the one of booleans, without repetitions of what is the same for all rows, heads or batches, and its strides."""
    if mask is None:
        return None, None, [0, 0, 0]
    once = namespace(mask).ascontiguousarray(mask[tuple([slice(0, 1) if s == 0 else slice(None) for s in mask.strides[:-1]])])
    found = [0 if n == 1 else s // once.itemsize for n, s in zip(once.shape[:-1], once.strides)]
    found = [0] * (3 - len(found)) + found
    return (None, once, found) if mask.dtype.kind == "b" else (once, None, found)
