"""Attention by CUDA kernels that keep no scores: one launch forward, three back. `plain/attention.py` has the formulas.

Queries, keys and values are mostly heads that lie side by side in memory; they are read, and the results written, where they lie.
"""
from __future__ import annotations

from functools import cache
from math import prod
from typing import Any, Sequence

from ... import namespace
from .. import plain
from ..heads import all_strided, beside, masks, sizes, strides_of
from .launch import TYPES, launch, like, rows, wide

__all__ = ["attention", "attention_backward"]

WIDTHS = (64, 128)       # of a query or a value, for each of which the kernels are compiled


def attention(q: Any, k: Any, v: Any, mask: Any, keep: Any, causal: bool, scale: float, keep_prob: float) -> tuple:
    if not _suits(q, k, v, mask):
        return plain.attention(q, k, v, mask, keep, causal, scale, keep_prob)
    y_memory, y = beside(q, v.shape[-1])
    lse = like(q, wide(q), (*q.shape[:-1], 1))
    _launch("attention", q.shape[-2], q, k, v, mask, keep, (), (), (y_memory, *strides_of(y), lse), causal, scale, keep_prob)
    return y, None, lse


def attention_backward(dy: Any, q: Any, k: Any, v: Any, mask: Any, keep: Any, causal: bool, scale: float, keep_prob: float, y: Any, exps: Any,
                       sums: Any, needs: Sequence[bool]) -> tuple:
    if exps is not None or not _suits(q, k, v, mask, dy, y):
        return plain.attention_backward(dy, q, k, v, mask, keep, causal, scale, keep_prob, y, exps, sums, needs)
    heads, queries, keys, _, e = sizes(q, k, v)
    count, lse, dots = prod(q.shape[:-2]), _contiguous(sums), like(q, wide(q), q.shape[:-1])
    (g_memory, y_memory), found = all_strided(dy, y)
    launch(_family(q, v)[0], "attention_dots", q.dtype, rows(count * queries, e), g_memory, *found[:3], y_memory, *found[3:], dots, count, heads,
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
            and max(q.shape[-1], v.shape[-1]) <= WIDTHS[-1] and (mask is None or mask.dtype.kind == "b" or mask.dtype == q.dtype))


def _launch(name: str, length: int, q: Any, k: Any, v: Any, mask: Any, keep: Any, others: tuple, numbers: tuple, results: tuple, causal: bool,
            scale: float, keep_prob: float) -> None:
    """A block for each tile of so many rows, of each head."""
    heads, queries, keys, d, e = sizes(q, k, v)
    arrays, found = all_strided(q, k, v, *others)
    inputs = [a for i, memory in enumerate(arrays) for a in (memory, *found[3 * i:3 * i + 3])]
    add, see, of_mask = masks(mask)
    count, tile = prod(q.shape[:-2]), 32 if wide(q).itemsize == 8 else 64
    family, threads = _family(q, v)
    launch(family, name, q.dtype, ((count * -(-length // tile),), threads), *inputs[:12], add, see, *of_mask, _contiguous(keep),
           *inputs[12:], *numbers, *results, count, heads, queries, keys, d, e, causal, float(scale), 1 / keep_prob)


def _family(q: Any, v: Any) -> tuple[str, tuple]:
    """The kernels for these arrays, and the threads of a block (source/tensor_cores.cuh, source/tiles.cuh)."""
    width = next(w for w in WIDTHS if max(q.shape[-1], v.shape[-1]) <= w)
    if q.dtype.itemsize == 2 and _tensor_cores(namespace(q), q.device.id):
        return f"attention WIDTH={width} TENSOR_CORES", (32, 4)
    return f"attention WIDTH={width}", (16, 16)


@cache
def _tensor_cores(xp: Any, device: int) -> bool:
    """Whether a device has those that multiply float16 and bfloat16 in the way of compute capability 8.0."""
    return int(xp.cuda.Device(device).compute_capability) >= 80


def _contiguous(x: Any) -> Any:
    return x if x is None else namespace(x).ascontiguousarray(x)
