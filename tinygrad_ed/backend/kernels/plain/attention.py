"""Scaled dot-product attention, forward and backward, a part of the batch at a time so that its scores stay in the processor's cache.

The weights are e^s / Σ e^s. The exponentials e^s are kept as they are, and what is smaller than they are is divided by their
sums: the outputs, and on the way back the outputs' gradients.
"""
from __future__ import annotations

from math import prod
from typing import Any, Iterator, Sequence

import numpy as np

from ... import namespace
from ..products import product
from .activation import wide
from .memory import empty

__all__ = ["attention", "attention_backward"]

_CACHED = 2**18          # scores in one part
_SMALL = 20              # scores up to ±20 are not shifted: e^s, their sums and the inverses are all well inside of float32


def attention(q: Any, k: Any, v: Any, mask: Any, keep: Any, causal: bool, scale: float, keep_prob: float) -> tuple:
    """y = softmax(s) v of the scores s = q kᵀ·scale.

    Args:
        q: queries (*batch, L, E); the batch has up to two dimensions, the second of them heads.
        k: keys (*batch, S, E).
        v: values (*batch, S, V).
        mask: numbers to add to the scores, or booleans, which of them count: (*batch, L, S), or None.
        keep: which weights dropout keeps: booleans (*batch, L, S), or None.
        causal: whether query i sees only the keys up to number i.
        scale: the factor of the scores.
        keep_prob: what the weights that dropout keeps are divided by.

    Returns:
        The outputs (*batch, L, V), laid out in memory as q is, and 0 for a query that sees no key; and for the way back e^s and what
        they are divided by, (*batch, L, 1). An engine may return None in place of e^s, and log Σ e^s, ∞ for a query that sees no key.
        Types of 16 bits are computed in float32, and so is what is for the way back.
    """
    xp, dtype = namespace(q), q.dtype
    q, k, v, mask = wide(q), wide(k), wide(v), wide(mask)
    shape = (*q.shape[:-1], k.shape[-2])
    y = xp.empty_like(q, shape=(*q.shape[:-1], v.shape[-1]))
    exps, sums = empty(xp, shape, q.dtype), empty(xp, (*q.shape[:-1], 1), q.dtype)
    if not exps.size:
        y[...], sums[...] = 0, 1
        return y.astype(dtype, copy=False), exps, sums
    hidden = ~xp.tri(*shape[-2:], dtype=bool) if causal else None
    ones = xp.ones((shape[-1], 1), q.dtype)
    for part in _parts(shape, q):
        e, total, out = exps[part], sums[part], y[part]
        product(q[part] * scale, k[part].swapaxes(-1, -2), out=e)
        if mask is not None and mask.dtype.kind == "b":
            hidden = ~mask[part]
        elif mask is not None:
            e += mask[part]
        _exponentials(xp, e, hidden)
        product(e, ones, out=total)
        if mask is not None:
            xp.copyto(total, 1, where=total == 0)     # a query that sees no key: 0 / 1
        if keep is not None:
            total *= keep_prob
            e = e * keep[part]
        xp.divide(product(e, v[part]), total, out=out)
    return y.astype(dtype, copy=False), exps, sums


def attention_backward(dy: Any, q: Any, k: Any, v: Any, mask: Any, keep: Any, causal: bool, scale: float, keep_prob: float, y: Any, exps: Any,
                       sums: Any, needs: Sequence[bool]) -> tuple:
    """The gradients of q, k, v and of a mask of numbers, as far as they are needed.

    With the weights p: dv = pᵀ dy, ds = p·(dy vᵀ - Σ dy·y), dq = ds k·scale, dk = dsᵀ q·scale. With dropout, p and dy vᵀ count where
    they are kept.
    """
    xp, dtype = namespace(q), q.dtype
    dy, q, k, v, mask, y = wide(dy), wide(q), wide(k), wide(v), wide(mask), wide(y)
    if exps is None:
        exps, sums = _weights(xp, q, k, mask, causal, scale, sums), xp.full_like(sums, keep_prob)
    dq, dk, dv = (xp.empty_like(x) if need else None for x, need in zip((q, k, v), needs))
    ds = empty(xp, exps.shape, q.dtype) if needs[3] else None
    for part in _parts(exps.shape, q) if exps.size else [...]:
        e = exps[part]
        g = dy[part] / sums[part]
        if dv is not None:
            product((e if keep is None else e * keep[part]).swapaxes(-1, -2), g, out=dv[part])
        if not (needs[0] or needs[1] or needs[3]):
            continue
        d = product(g, v[part].swapaxes(-1, -2), out=None if ds is None else ds[part])
        if keep is not None:
            d *= keep[part]
        g *= y[part]
        d -= g.sum(axis=-1, keepdims=True) * keep_prob
        d *= e
        if dq is not None:
            xp.multiply(product(d, k[part]), scale, out=dq[part])
        if dk is not None:
            product(d.swapaxes(-1, -2), q[part] * scale, out=dk[part])
    return tuple([x if x is None else x.astype(dtype, copy=False) for x in (dq, dk, dv, ds)])


def _weights(xp: Any, q: Any, k: Any, mask: Any, causal: bool, scale: float, lse: Any) -> Any:
    """e^(s - lse), the weights again from the logarithms of the sums."""
    s = product(q * scale, k.swapaxes(-1, -2))
    if mask is not None and mask.dtype.kind == "b":
        s = xp.where(mask, s, -xp.inf).astype(q.dtype)
    elif mask is not None:
        s += mask
    if causal:
        xp.copyto(s, -xp.inf, where=~xp.tri(*s.shape[-2:], dtype=bool))
    s -= lse
    return xp.exp(s, out=s)


def _parts(shape: tuple[int, ...], x: Any) -> Iterator[Any]:
    """Indices into the batch dimensions, of parts with few enough scores; for arrays that are not NumPy's all at once."""
    if type(x) is not np.ndarray or prod(shape) <= _CACHED or len(shape) == 2:
        yield ...
    elif prod(shape[1:]) <= _CACHED or len(shape) == 3:
        step = max(1, _CACHED // prod(shape[1:]))
        yield from (slice(i, i + step) for i in range(0, shape[0], step))
    else:
        yield from ((i, *(rest if isinstance(rest, tuple) else (rest,))) for i in range(shape[0]) for rest in _parts(shape[1:], x))


def _exponentials(xp: Any, s: Any, hidden: Any) -> None:
    """Scores become their exponentials, in place: of s minus the largest of the row where they are not small, 0 where hidden."""
    small = xp is np and -_SMALL < s.min() and s.max() < _SMALL
    if not small:
        if hidden is not None:
            xp.copyto(s, -xp.inf, where=hidden)
        highest = s.max(axis=-1, keepdims=True)
        s -= xp.where(xp.isfinite(highest), highest, 0)
    xp.exp(s, out=s)
    if small and hidden is not None:
        xp.copyto(s, 0, where=hidden)
