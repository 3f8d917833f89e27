"""Cross-entropy by compiled loops. What weights, ignored targets and label smoothing make of a loss is computed as in `plain/class_loss.py`."""
from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .. import plain
from ..plain.class_loss import class_targets, finished_loss, weighted_losses
from . import _native
from .arrays import fitted, like, rows_at_once

__all__ = ["cross_entropy", "cross_entropy_backward"]


def cross_entropy(x: Any, target: Any, weight: Any, ignore_index: int, smoothing: float, reduction: str, masked: bool) -> tuple:
    suited = fitted(x, weight) if x.size else None
    if suited is None:
        return plain.cross_entropy(x, target, weight, ignore_index, smoothing, reduction, masked)
    x, weight = suited
    n, classes, m = len(x), x.shape[1], prod(x.shape[2:])
    targets = class_targets(np, target.reshape(n, m), weight, classes, ignore_index, reduction, masked, x.dtype)
    e, total, loss = np.empty((n, classes, m), x.dtype), np.empty((n, m), x.dtype), np.empty((n, m), x.dtype)
    where, smooth = np.empty((n, m), np.int64), np.empty((n, m), x.dtype) if smoothing else None
    t = targets[0].astype(np.int64, order="C", copy=False)
    _native.cross_entropy(n, rows_at_once(classes * m, 2), x, t, weight, e, total, loss, where, smooth, classes, m)
    loss, own, even = weighted_losses(np, loss, smooth, targets, smoothing, classes)
    return finished_loss(np, loss, targets[3], reduction, target.shape, x.dtype), e, total, where, own, even


def cross_entropy_backward(g: Any, e: Any, total: Any, where: Any, own: Any, even: Any, weight: Any, shape: tuple, dtype: np.dtype) -> Any:
    as_here = e.shape == (shape[0], shape[1], prod(shape[2:]))           # `plain` has another order for few classes
    suited = fitted(g, e, total, own, even, weight) if as_here and where.dtype == np.int64 else None
    if suited is None:
        return plain.cross_entropy_backward(g, e, total, where, own, even, weight, shape, dtype)
    g, e, total, own, even, weight = suited
    dx = like(e)
    n, classes, m = e.shape
    _native.cross_entropy_backward(n, rows_at_once(classes * m), g, e, total, where, own, even, weight, dx, g.ndim != 0, classes, m)
    return dx.reshape(shape)
