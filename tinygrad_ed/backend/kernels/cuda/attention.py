"""Attention by CUDA kernels that keep no scores: one launch forward, three back. `plain/attention.py` has the formulas.

Queries, keys and values are mostly heads that lie side by side in memory; they are read, and the results written, where they lie.
"""
from __future__ import annotations

from math import prod
from typing import Any, Sequence

from ... import namespace
from .. import plain
from ..heads import all_strided, batched, beside, masks, sizes, strides_of
from .launch import TYPES, launch, like, rows, wide

__all__ = ["attention", "attention_backward"]

_THREADS = (16, 16)      # as in source/attention.cu
_MOST = (64, 128)        # numbers of a query or a value, for each of which there are kernels


def attention(q: Any, k: Any, v: Any, mask: Any, keep: Any, causal: bool, scale: float, keep_prob: float) -> tuple:
    if not _suits(q, k, v, mask):
        return plain.attention(q, k, v, mask, keep, causal, scale, keep_prob)
    if q.ndim > 4:
        q_, k_, v_, mask, keep = batched(q, k, v, mask, keep)
        y, _, lse = attention(q_, k_, v_, mask, keep, causal, scale, keep_prob)
        return y.reshape(*q.shape[:-1], -1), None, lse.reshape(*q.shape[:-1], 1)
    y_memory, y = beside(q, v.shape[-1])
    lse = like(q, wide(q), (*q.shape[:-1], 1))
    _launch("attention", q.shape[-2], q, k, v, mask, keep, (), (), (y_memory, *strides_of(y), lse), causal, scale, keep_prob)
    return y, None, lse


def attention_backward(dy: Any, q: Any, k: Any, v: Any, mask: Any, keep: Any, causal: bool, scale: float, keep_prob: float, y: Any, exps: Any,
                       sums: Any, needs: Sequence[bool]) -> tuple:
    if exps is not None or not _suits(q, k, v, mask, dy, y):
        return plain.attention_backward(dy, q, k, v, mask, keep, causal, scale, keep_prob, y, exps, sums, needs)
    if q.ndim > 4:
        dy, q_, k_, v_, mask, keep, y, sums = batched(dy, q, k, v, mask, keep, y, sums)
        grads = attention_backward(dy, q_, k_, v_, mask, keep, causal, scale, keep_prob, y, None, sums, needs)
        return tuple([g if g is None else g.reshape(*q.shape[:-2], *g.shape[-2:]) for g in grads])
    heads, queries, keys, _, e = sizes(q, k, v)
    count, lse, dots = prod(q.shape[:-2]), _contiguous(sums), like(q, wide(q), q.shape[:-1])
    (g_memory, y_memory), found = all_strided(dy, y)
    launch("attention", "attention_dots", q.dtype, rows(count * queries, e), g_memory, *found[:3], y_memory, *found[3:], dots, count, heads,
           queries, e)
    made = [beside(x, x.shape[-1]) if need else (None, None) for x, need in zip((q, k, v), needs)]
    dq, dk, dv = ((memory, *([0, 0, 0] if x is None else strides_of(x))) for memory, x in made)
    ds = like(q, shape=(*q.shape[:-1], keys)) if needs[3] else None
    if needs[0] or needs[3]:
        _launch("attention_queries", queries, q, k, v, mask, keep, (dy,), (lse, dots), (*dq, ds), causal, scale, keep_prob)
    if needs[1] or needs[2]:
        _launch("attention_keys", keys, q, k, v, mask, keep, (dy,), (lse, dots), (*dk, *dv), causal, scale, keep_prob)
    return *[x for _, x in made], ds


def _suits(q: Any, k: Any, v: Any, mask: Any, *others: Any) -> bool:
    """Whether the kernels take these arrays: of one dtype, not empty, and not with too long rows."""
    return (q.dtype.name in TYPES and all([x.dtype == q.dtype and x.size for x in (q, k, v, *others)])
            and max(q.shape[-1], v.shape[-1]) <= _MOST[-1] and (mask is None or mask.dtype.kind == "b" or mask.dtype == q.dtype))


def _launch(name: str, length: int, q: Any, k: Any, v: Any, mask: Any, keep: Any, others: tuple, numbers: tuple, results: tuple, causal: bool,
            scale: float, keep_prob: float) -> None:
    """A block for each tile of so many rows, of each head."""
    heads, queries, keys, d, e = sizes(q, k, v)
    arrays, found = all_strided(q, k, v, *others)
    inputs = [a for i, memory in enumerate(arrays) for a in (memory, *found[3 * i:3 * i + 3])]
    add, see, of_mask = masks(mask)
    count, tile = prod(q.shape[:-2]), 32 if wide(q).itemsize == 8 else 64
    width = next(most for most in _MOST if max(d, e) <= most)
    launch("attention", f"{name}_{width}", q.dtype, ((count * -(-length // tile),), _THREADS), *inputs[:12], add, see, *of_mask, _contiguous(keep),
           *inputs[12:], *numbers, *results, count, heads, queries, keys, d, e, causal, float(scale), 1 / keep_prob)


def _contiguous(x: Any) -> Any:
    return x if x is None else namespace(x).ascontiguousarray(x)
