"""Distances of all pairs of two sets of points, a coordinate at a time: no array of all differences is made.

Shapes: x1 (B, P, M), x2 (B, R, M), y (B, P, R). Blocks of rows of y stay in the processor's cache.
"""
from __future__ import annotations

from typing import Any, Iterator

import numpy as np

from ... import namespace
from ..products import product
from .activation import PIECE, wide
from .columns import precision
from .memory import empty, zeros

__all__ = ["minkowski", "minkowski_backward"]


def _rows(xp: Any, x1: Any, x2: Any) -> Iterator[slice]:
    """Blocks of rows of y."""
    step = max(1, PIECE // max(1, len(x2) * x2.shape[1])) if xp is np else max(1, x1.shape[1])
    return (slice(i, i + step) for i in range(0, x1.shape[1], step))


def _by_coordinate(xp: Any, x: Any) -> Any:
    """(B, P, M) as (M, B, P)."""
    return xp.ascontiguousarray(wide(x).transpose(2, 0, 1))


def minkowski(x1: Any, x2: Any, p: float) -> Any:
    """y = (Σ_m |x1_m - x2_m|^p)^(1/p), for 0 < p < ∞."""
    xp = namespace(x1)
    y = empty(xp, (*x1.shape[:2], x2.shape[1]), precision(x1.dtype))
    a, b = _by_coordinate(xp, x1), _by_coordinate(xp, x2)
    for rows in _rows(xp, x1, x2):
        total = zeros(xp, y[:, rows].shape, y.dtype)
        for m in range(len(a)):
            d = a[m, :, rows, None] - b[m, :, None]
            if p == 2:
                d *= d
            else:
                xp.abs(d, out=d)
                if p != 1:
                    d **= p
            total += d
        y[:, rows] = total if p == 1 else xp.sqrt(total) if p == 2 else total ** (1 / p)
    return y.astype(x1.dtype, copy=False)


def minkowski_backward(g: Any, x1: Any, x2: Any, y: Any, p: float) -> tuple:
    """The derivatives of `minkowski`: Σ g·sign(d)·(|d|/y)^(p-1) over the other points, and 0 where d = 0."""
    xp = namespace(x1)
    a, b, y = _by_coordinate(xp, x1), _by_coordinate(xp, x2), wide(y)
    da, db = zeros(xp, a.shape, a.dtype), zeros(xp, b.shape, b.dtype)
    ones = xp.ones(max(a.shape[2], b.shape[2]), a.dtype)
    for rows in _rows(xp, x1, x2):
        scale = 1 / xp.where(y[:, rows] == 0, xp.inf, y[:, rows])
        weight = g[:, rows] * scale if p == 2 else g[:, rows].astype(y.dtype)
        for m in range(len(a)):
            d = a[m, :, rows, None] - b[m, :, None]
            if p == 1:
                xp.sign(d, out=d)
            elif p != 2:
                size = xp.abs(d)
                size *= scale
                size[size == 0] = 1                   # times the sign of 0
                size **= p - 1
                xp.sign(d, out=d)
                d *= size
            d *= weight
            da[m, :, rows] = product(d, ones[:d.shape[2]])               # products are the fastest sums
            db[m] -= product(ones[:d.shape[1]], d)
    return tuple(xp.ascontiguousarray(d.transpose(1, 2, 0)).astype(x.dtype, copy=False) for d, x in ((da, x1), (db, x2)))
