"""Attention by compiled loops, a block of queries and keys at a time. `plain/attention.py` has the formulas.

Queries, keys and values are mostly heads that lie side by side in memory; they are read, and the results written, where they lie.
"""
from __future__ import annotations

from math import prod
from typing import Any, Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .. import plain
from . import _native

__all__ = ["attention", "attention_backward"]

_MOST = 256              # numbers of a query or a value, as in c/attention.c
_WIDTH = 128             # bytes of a block's queries
_WORK = 1 << 20          # multiplications in a piece


def attention(q: Any, k: Any, v: Any, mask: Any, keep: Any, causal: bool, scale: float, keep_prob: float) -> tuple:
    if not _suits(q, k, v, mask):
        return plain.attention(q, k, v, mask, keep, causal, scale, keep_prob)
    if q.ndim > 4:
        q_, k_, v_, mask, keep = _batched(q, k, v, mask, keep)
        y, _, lse = attention(q_, k_, v_, mask, keep, causal, scale, keep_prob)
        return y.reshape(*q.shape[:-1], -1), None, lse.reshape(*q.shape[:-1], 1)
    heads, queries, keys, d, e = _sizes(q, k, v)
    y_memory, y = _beside(q, e)
    lse = np.empty((*q.shape[:-1], 1), q.dtype)
    arrays, strides = _all_strided(q, k, v)
    add, see, mask_strides = _masks(mask)
    blocks, block = -(-queries * q.itemsize // _WIDTH), _WIDTH // q.itemsize
    _native.attention(prod(q.shape[:-2]) * blocks, _piece(block * keys * (d + e)), *arrays, add, see, _contiguous(keep), y_memory, lse,
                      np.array(strides + mask_strides + _strides(y), np.int64), heads, queries, keys, d, e, causal, scale, keep_prob)
    return y, None, lse


def attention_backward(dy: Any, q: Any, k: Any, v: Any, mask: Any, keep: Any, causal: bool, scale: float, keep_prob: float, y: Any, exps: Any,
                       sums: Any, needs: Sequence[bool]) -> tuple:
    if exps is not None or not _suits(q, k, v, mask, dy, y):
        return plain.attention_backward(dy, q, k, v, mask, keep, causal, scale, keep_prob, y, exps, sums, needs)
    if q.ndim > 4:
        dy, q_, k_, v_, mask, keep, y, sums = _batched(dy, q, k, v, mask, keep, y, sums)
        grads = attention_backward(dy, q_, k_, v_, mask, keep, causal, scale, keep_prob, y, None, sums, needs)
        return tuple([g if g is None else g.reshape(*q.shape[:-2], *g.shape[-2:]) for g in grads])
    heads, queries, keys, d, e = _sizes(q, k, v)
    (q_, k_, v_, y_, dy_), strides = _all_strided(q, k, v, y, dy)
    add, see, mask_strides = _masks(mask)
    made = [_beside(x, x.shape[-1]) if need else (None, None) for x, need in zip((q, k, v), needs)]
    ds = np.empty((*q.shape[:-1], keys), q.dtype) if needs[3] else None
    for _, x in made:
        strides += [0, 0, 0] if x is None else _strides(x)
    _native.attention_backward(prod(q.shape[:-2]), _piece(queries * keys * (3 * d + 2 * e)), dy_, q_, k_, v_, add, see, _contiguous(keep), y_,
                               _contiguous(sums), *[memory for memory, _ in made], ds, np.array(strides[:9] + mask_strides + strides[9:], np.int64),
                               heads, queries, keys, d, e, causal, scale, keep_prob)
    return *[x for _, x in made], ds


def _suits(q: Any, k: Any, v: Any, mask: Any, *others: Any) -> bool:
    """Whether the kernels take these arrays: of one dtype, not empty, and not with too long rows."""
    dtype = q.dtype
    return ((dtype == np.float32 or dtype == np.float64) and all([x.dtype == dtype and x.size for x in (q, k, v, *others)])
            and q.shape[-1] <= _MOST and v.shape[-1] <= _MOST and (mask is None or mask.dtype.kind == "b" or mask.dtype == dtype))


def _sizes(q: Any, k: Any, v: Any) -> tuple[int, ...]:
    """Heads in a batch, queries, keys, numbers of a query and of a value."""
    return q.shape[-3] if q.ndim > 2 else 1, q.shape[-2], k.shape[-2], q.shape[-1], v.shape[-1]


def _batched(*arrays: Any) -> Any:
    """Arrays of more dimensions than the kernels know, with all before the heads as one."""
    return [x if x is None else x.reshape(-1, *x.shape[-3:]) for x in arrays]


def _piece(work: int) -> int:
    return max(1, _WORK // work)


def _contiguous(x: Any) -> Any:
    return x if x is None else np.ascontiguousarray(x)


def _strides(x: Any) -> list[int]:
    """How far batches, heads and rows are apart, in numbers."""
    size = x.itemsize
    return [0] * (4 - x.ndim) + [s // size for s in x.strides[-4:-1]]


def _all_strided(*arrays: Any) -> tuple[list, list[int]]:
    """The memory of each array, as the kernels take it, and the strides of all."""
    memory, strides = [], []
    for x in arrays:
        if not x.flags.c_contiguous:
            x = x if _readable(x) else x.copy()
        strides += _strides(x)
        memory.append(x if x.flags.c_contiguous else _flat(x))
    return memory, strides


def _readable(x: Any) -> bool:
    """Whether rows lie in one piece, and forward in memory."""
    return (x.strides[-1] == x.itemsize or x.shape[-1] == 1) and all([s >= 0 and s % x.itemsize == 0 for s in x.strides]) and x.flags.aligned


def _flat(x: Any) -> Any:
    """The memory from an array's first number to its last."""
    return as_strided(x, (1 + sum([(n - 1) * (s // x.itemsize) for n, s in zip(x.shape, x.strides)]),), (x.itemsize,))


def _beside(x: Any, numbers: int) -> tuple[Any, Any]:
    """Memory for an array with rows of so many numbers, and the array in it: shape and order of the dimensions are those of x."""
    if x.flags.c_contiguous or x.ndim != 4:
        memory = np.empty((*x.shape[:-1], numbers), x.dtype)
        return memory, memory
    order = sorted(range(3), key=lambda i: -x.strides[i])
    memory = np.empty((*[x.shape[i] for i in order], numbers), x.dtype)
    return memory, memory.transpose(*[order.index(i) for i in range(3)], 3)


def _masks(mask: Any) -> tuple[Any, Any, list[int]]:
    """The mask of numbers or the one of booleans, without repetitions of what is the same for all rows, heads or batches, and its strides."""
    if mask is None:
        return None, None, [0, 0, 0]
    once = np.ascontiguousarray(mask[tuple([slice(0, 1) if s == 0 else slice(None) for s in mask.strides[:-1]])])
    strides = [0 if n == 1 else s // once.itemsize for n, s in zip(once.shape[:-1], once.strides)]
    strides = [0] * (3 - len(strides)) + strides
    return (None, once, strides) if mask.dtype.kind == "b" else (once, None, strides)
