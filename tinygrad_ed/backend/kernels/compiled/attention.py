"""Attention by compiled loops, a block of queries and keys at a time. `plain/attention.py` has the formulas.

Queries, keys and values are mostly heads that lie side by side in memory; they are read, and the results written, where they lie.
"""
from __future__ import annotations

from math import prod
from typing import Any, Sequence

import numpy as np

from .. import plain
from ..heads import all_strided, beside, masks, sizes, strides_of
from . import _native

__all__ = ["attention", "attention_backward"]

_MOST = 256              # numbers of a query or a value, as in c/attention.c
_WIDTH = 128             # bytes of a block's queries
_WORK = 1 << 20          # multiplications in a piece


def attention(q: Any, k: Any, v: Any, mask: Any, keep: Any, causal: bool, scale: float, keep_prob: float) -> tuple:
    if not _suits(q, k, v, mask):
        return plain.attention(q, k, v, mask, keep, causal, scale, keep_prob)
    heads, queries, keys, d, e = sizes(q, k, v)
    y_memory, y = beside(q, e)
    lse = np.empty((*q.shape[:-1], 1), q.dtype)
    arrays, strides = all_strided(q, k, v)
    add, see, mask_strides = masks(mask)
    blocks, block = -(-queries * q.itemsize // _WIDTH), _WIDTH // q.itemsize
    _native.attention(prod(q.shape[:-2]) * blocks, _piece(block * keys * (d + e)), *arrays, add, see, _contiguous(keep), y_memory, lse,
                      np.array(strides + mask_strides + strides_of(y), np.int64), heads, queries, keys, d, e, causal, scale, keep_prob)
    return y, None, lse


def attention_backward(dy: Any, q: Any, k: Any, v: Any, mask: Any, keep: Any, causal: bool, scale: float, keep_prob: float, y: Any, exps: Any,
                       sums: Any, needs: Sequence[bool]) -> tuple:
    if exps is not None or not _suits(q, k, v, mask, dy, y):
        return plain.attention_backward(dy, q, k, v, mask, keep, causal, scale, keep_prob, y, exps, sums, needs)
    heads, queries, keys, d, e = sizes(q, k, v)
    (q_, k_, v_, y_, dy_), strides = all_strided(q, k, v, y, dy)
    add, see, mask_strides = masks(mask)
    made = [beside(x, x.shape[-1]) if need else (None, None) for x, need in zip((q, k, v), needs)]
    ds = np.empty((*q.shape[:-1], keys), q.dtype) if needs[3] else None
    for _, x in made:
        strides += [0, 0, 0] if x is None else strides_of(x)
    _native.attention_backward(prod(q.shape[:-2]), _piece(queries * keys * (3 * d + 2 * e)), dy_, q_, k_, v_, add, see, _contiguous(keep), y_,
                               _contiguous(sums), *[memory for memory, _ in made], ds, np.array(strides[:9] + mask_strides + strides[9:], np.int64),
                               heads, queries, keys, d, e, causal, scale, keep_prob)
    return *[x for _, x in made], ds


def _suits(q: Any, k: Any, v: Any, mask: Any, *others: Any) -> bool:
    """Whether the kernels take these arrays: of one dtype, not empty, and not with too long rows."""
    dtype = q.dtype
    return ((dtype == np.float32 or dtype == np.float64) and all([x.dtype == dtype and x.size for x in (q, k, v, *others)])
            and q.shape[-1] <= _MOST and v.shape[-1] <= _MOST and (mask is None or mask.dtype.kind == "b" or mask.dtype == dtype))


def _piece(work: int) -> int:
    return max(1, _WORK // work)


def _contiguous(x: Any) -> Any:
    return x if x is None else np.ascontiguousarray(x)
