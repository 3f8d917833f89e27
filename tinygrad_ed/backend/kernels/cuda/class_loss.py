"""Cross-entropy by CUDA kernels: two launches forward, one on the way back."""
from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ... import namespace
from .. import plain
from .launch import elements, fitted, launch, like, rows, wide

__all__ = ["cross_entropy", "cross_entropy_backward"]

_PARTS = 1024            # at most so many blocks, whose sums are then added up
_NEVER = -(1 << 63)      # no target is this


def cross_entropy(x: Any, target: Any, weight: Any, ignore_index: int, smoothing: float, reduction: str, masked: bool) -> tuple:
    suited = fitted(x, weight) if x.size and target.size else None
    if suited is None:
        return plain.cross_entropy(x, target, weight, ignore_index, smoothing, reduction, masked)
    x, weight = suited
    xp, n, classes, inner = namespace(x), len(x), x.shape[1], prod(x.shape[2:])
    count, work = n * inner, wide(x)
    t = xp.ascontiguousarray(target.astype(np.int64, copy=False))
    e, where = like(x, work, (n, classes, inner)), like(x, np.int64, (n, inner))
    total, own, even = like(x, work, (n, inner)), like(x, work, (n, inner)), like(x, work, (n, inner)) if smoothing else None
    (grid,), block = rows(count, classes, inner)
    grid = min(grid, _PARTS)
    y = like(x, shape=target.shape if reduction == "none" else ())
    parts = None if reduction == "none" else like(x, work, (2, grid))
    losses, loss_parts, count_parts = (y, None, None) if parts is None else (None, *parts)
    launch("class_loss", "cross_entropy", x.dtype, ((grid,), block), x, t, weight, e, total, where, own, even, losses, loss_parts, count_parts,
           count, classes, inner, int(ignore_index) if masked else _NEVER, float(smoothing))
    if parts is not None:
        mean = reduction == "mean"
        launch("class_loss", "cross_entropy_total", x.dtype, elements(count if mean else 1), loss_parts, count_parts, own, even, y, grid, count, mean)
    return y, e, total, where, own, even


def cross_entropy_backward(g: Any, e: Any, total: Any, where: Any, own: Any, even: Any, weight: Any, shape: tuple, dtype: np.dtype) -> Any:
    count, classes, inner = where.size, shape[1], prod(shape[2:])
    suited = fitted(g.astype(dtype, copy=False), weight) if e.size and e.shape == (shape[0], classes, inner) else None
    if suited is None or not all(a.flags.c_contiguous for a in (e, total, where, own)):
        return plain.cross_entropy_backward(g, e, total, where, own, even, weight, shape, dtype)
    g, weight = suited
    dx = like(g, shape=shape)
    launch("class_loss", "cross_entropy_backward", dtype, rows(count, classes, inner), g, e, total, where, own, even, weight, dx, count, classes,
           inner, g.ndim != 0)
    return dx
