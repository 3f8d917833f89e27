"""Resampling: sparse linear maps along the dimensions of an array."""
from __future__ import annotations

from math import isfinite, prod
from typing import Any

import numpy as np

from ... import namespace
from ...memory import table
from ..taps import Taps
from .memory import empty

__all__ = ["resample"]

_DENSE = 32              # inputs per tap up to which a matrix product, zeros included, is faster than picking what is not zero
_CACHED = 2**17          # elements that are picked, weighted and added up at a time, while they are in the processor's cache


def resample(x: Any, maps: tuple[tuple[int, Taps], ...]) -> Any:
    """x with maps applied along dimensions, one after the other; float16 is computed in float32.

    Args:
        x: an array of any shape.
        maps: pairs of a dimension and a map from as many numbers as x has there.
    """
    y = x if x.dtype.char != "e" else x.astype("float32")
    for dim, taps in sorted(maps, key=lambda pair: len(pair[1]) / pair[1].n):            # what makes it smaller comes first
        y = _along(y, dim, taps)
    return y.astype(x.dtype, copy=y is x)


def _along(x: Any, dim: int, taps: Taps) -> Any:
    """The map along one dimension."""
    xp = namespace(x)
    x = xp.ascontiguousarray(x)
    blocks = x.reshape(prod(x.shape[:dim]), x.shape[dim], prod(x.shape[dim + 1:]))
    shape = (*x.shape[:dim], len(taps), *x.shape[dim + 1:])
    if xp is np and x.dtype.kind == "f" and 1 < taps.index.shape[1] and taps.n <= _DENSE * taps.index.shape[1]:
        y = _product(blocks, taps.matrix(x.dtype))
        if isfinite(y.sum()):                             # zeros in the matrix times infinities would be NaN
            return y.reshape(shape)
    return _weighted(xp, blocks, taps).reshape(shape)


def _product(x: Any, matrix: Any) -> Any:
    return x[:, :, 0] @ matrix.T if x.shape[2] == 1 else matrix @ x


def _weighted(xp: Any, x: Any, taps: Taps) -> Any:
    """Σ_k weight[:, k]·x[:, index[:, k]], along dimension 1 of three."""
    index = table(xp, Taps.rows, taps)
    if len(index) == 1 and (taps.weight == 1).all():
        return x.take(index[0], axis=1)
    weights = table(xp, Taps.weights, taps, x.dtype)[:, :, None]
    y = empty(xp, (len(x), len(taps), x.shape[2]), x.dtype)
    rows = max(1, _CACHED // max(1, len(taps) * x.shape[2])) if xp is np else max(1, len(x))
    clip = {"mode": "clip"} if xp is np else {}           # else NumPy fills a copy of `out`, so that errors leave it alone
    scratch = empty(xp, (min(rows, len(x)), *y.shape[1:]), x.dtype)
    for start in range(0, len(x), rows):
        some, total = x[start:start + rows], y[start:start + rows]
        part = scratch[:len(some)]
        some.take(index[0], axis=1, out=total, **clip)
        total *= weights[0]
        for i, w in zip(index[1:], weights[1:]):
            some.take(i, axis=1, out=part, **clip)
            part *= w
            total += part
    return y
