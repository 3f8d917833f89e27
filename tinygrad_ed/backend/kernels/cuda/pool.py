"""Pooling over one to three dimensions by CUDA kernels, one launch each. `plain/pool.py` has the meaning, and does what is rare."""
from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ... import namespace
from ...memory import table
from .. import plain
from ..plain.pool import Counts, _is_whole
from ..window import Sizes, Window
from .launch import elements, launch, like, rows, wide
from .windows import sides, suited

__all__ = ["avg_pool", "avg_pool_input", "max_pool", "max_pool_input", "max_pool_take"]

_TAPS = 256              # of a window, whose numbers fit into a byte


# -- the largest -------------------------------------------------------------------------------------------------------

def max_pool(x: Any, window: Window, outputs: Sizes) -> tuple[Any, Any]:
    fitting = suited(window, x.shape[2:], outputs, x) if prod(window.kernel) <= _TAPS else None
    if fitting is None:
        return plain.max_pool(x, window, outputs)
    x, = fitting
    y = like(x, shape=(*x.shape[:2], *outputs))
    where = like(y, np.uint8)
    launch("pool", "max_pool", x.dtype, elements(y.size), x, y, where, prod(x.shape[:2]), *sides(window, x.shape[2:], outputs))
    return y, where


def max_pool_input(g: Any, where: Any, window: Window, inputs: Sizes) -> Any:
    fitting = suited(window, inputs, g.shape[2:], g) if where.dtype == np.uint8 else None
    if fitting is None:
        return plain.max_pool_input(g, where, window, inputs)
    g, = fitting
    dx = like(g, shape=(*g.shape[:2], *inputs))
    launch("pool", "max_pool_input", g.dtype, elements(dx.size), g, _contiguous(where), dx, prod(g.shape[:2]), *sides(window, inputs, g.shape[2:]))
    return dx


def max_pool_take(x: Any, where: Any, window: Window) -> Any:
    fitting = suited(window, x.shape[2:], where.shape[2:], x) if where.dtype == np.uint8 else None
    if fitting is None:
        return plain.max_pool_take(x, where, window)
    x, = fitting
    y = like(x, shape=where.shape)
    launch("pool", "max_pool_take", x.dtype, elements(y.size), x, _contiguous(where), y, prod(x.shape[:2]),
           *sides(window, x.shape[2:], where.shape[2:]))
    return y


def _contiguous(x: Any) -> Any:
    return namespace(x).ascontiguousarray(x)


# -- the mean ----------------------------------------------------------------------------------------------------------

def avg_pool(x: Any, window: Window, outputs: Sizes, counts: Counts) -> Any:
    fitting = suited(window, x.shape[2:], outputs, x)
    if fitting is None:
        return plain.avg_pool(x, window, outputs, counts)
    x, = fitting
    y, planes, length = like(x, shape=(*x.shape[:2], *outputs)), prod(x.shape[:2]), prod(x.shape[2:])
    shares, share = _shares(x, counts)
    if _is_whole(window, x.shape[2:], outputs):
        launch("pool", "avg_pool_planes", x.dtype, rows(planes, length), x, shares, y, planes, share, length)
    else:
        launch("pool", "avg_pool", x.dtype, elements(y.size), x, shares, y, planes, share, *sides(window, x.shape[2:], outputs))
    return y


def avg_pool_input(g: Any, window: Window, inputs: Sizes, counts: Counts) -> Any:
    fitting = suited(window, inputs, g.shape[2:], g)
    if fitting is None:
        return plain.avg_pool_input(g, window, inputs, counts)
    g, = fitting
    dx = like(g, shape=(*g.shape[:2], *inputs))
    shares, share = _shares(g, counts)
    launch("pool", "avg_pool_input", g.dtype, elements(dx.size), g, shares, dx, prod(g.shape[:2]), share,
           *sides(window, inputs, g.shape[2:]))
    return dx


def _shares(x: Any, counts: Counts) -> tuple[Any, float]:
    """1/count: for each dimension one number per output, one after the other in an array, or a number for all."""
    if not isinstance(counts, tuple):
        return None, 1 / counts
    return table(namespace(x), _inverses, ((1,),) * (3 - len(counts)) + counts, wide(x)), 0.0


def _inverses(counts: tuple[tuple[int, ...], ...], dtype: np.dtype) -> np.ndarray:
    return (1 / np.concatenate(counts)).astype(dtype)
