"""Pooling over one and two dimensions by compiled loops over planes. `plain/pool.py` has the meaning, and does what is rare."""
from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from .. import plain
from ..plain.pool import Counts, _is_whole
from ..window import Sizes, Window
from . import _native
from .arrays import fitted, rows_at_once

__all__ = ["avg_pool", "avg_pool_input", "max_pool", "max_pool_input", "max_pool_take"]

_LINE = 1024             # as in c/pooling.c


def _sides(window: Window, inputs: Sizes, outputs: Sizes) -> list[tuple] | None:
    """Inputs, outputs, kernel, stride, padding and dilation of rows and of columns; None if the loops cannot do it."""
    if len(inputs) > 2 or not prod(inputs) or not prod(outputs) or prod(window.kernel) > 256:
        return None
    return [*[(1, 1, 1, 1, 0, 1)] * (2 - len(inputs)), *zip(inputs, outputs, *window)]


def _planes(x: Any, length: int) -> tuple[int, int]:
    """How many planes there are, and how many make a piece."""
    return x.shape[0] * x.shape[1], rows_at_once(length)


# -- the largest -------------------------------------------------------------------------------------------------------

def max_pool(x: Any, window: Window, outputs: Sizes) -> tuple[Any, Any]:
    """The largest input of every window, and the number of the tap that shows it."""
    suited, sides = fitted(x), _sides(window, x.shape[2:], outputs)
    if suited is None or sides is None:
        return plain.max_pool(x, window, outputs)
    x, = suited
    y, where = np.empty((*x.shape[:2], *outputs), x.dtype), np.empty((*x.shape[:2], *outputs), "uint8")
    planes = _planes(x, prod(outputs) * prod(window.kernel))
    if _is_of_four(window, x.shape[2:], outputs):
        _native.max_pool_of_four(*planes, x, y, where, x.shape[2], outputs[0], x.shape[3], outputs[1])
    else:
        _native.max_pool(*planes, x, y, where, *sides[0], *sides[1])
    return y, where


def _is_of_four(window: Window, inputs: Sizes, outputs: Sizes) -> bool:
    """Whether the windows are of two by two, side by side, and all of their elements inputs."""
    return window.kernel == window.stride == (2, 2) and window[2:] == ((0, 0), (1, 1)) and all(2 * m <= n for n, m in zip(inputs, outputs))


def max_pool_input(g: Any, where: Any, window: Window, inputs: Sizes) -> Any:
    """The gradient of the input: g at the places that were the largest."""
    suited, sides = fitted(g), _sides(window, inputs, g.shape[2:])
    if suited is None or sides is None:
        return plain.max_pool_input(g, where, window, inputs)
    g, = suited
    dx = np.empty((*g.shape[:2], *inputs), g.dtype)
    _native.max_pool_input(*_planes(g, prod(inputs)), g, np.ascontiguousarray(where), dx, *sides[0], *sides[1])
    return dx


def max_pool_take(x: Any, where: Any, window: Window) -> Any:
    """The inputs at the places that were the largest."""
    suited, sides = fitted(x), _sides(window, x.shape[2:], where.shape[2:])
    if suited is None or sides is None:
        return plain.max_pool_take(x, where, window)
    x, = suited
    y = np.empty(where.shape, x.dtype)
    _native.max_pool_take(*_planes(x, prod(where.shape[2:])), x, np.ascontiguousarray(where), y, *sides[0], *sides[1])
    return y


# -- the mean ----------------------------------------------------------------------------------------------------------

def avg_pool(x: Any, window: Window, outputs: Sizes, counts: Counts) -> Any:
    """The sum of every window divided by its count."""
    suited, sides = fitted(x), _sides(window, x.shape[2:], outputs)
    if suited is None or sides is None or not _suits(window, x.shape[2:], outputs):
        return plain.avg_pool(x, window, outputs, counts)
    x, = suited
    y = np.empty((*x.shape[:2], *outputs), x.dtype)
    _native.avg_pool(*_planes(x, prod(x.shape[2:])), x, y, *_shares(counts, outputs, x.dtype), *sides[0][:5], *sides[1][:5])
    return y


def avg_pool_input(g: Any, window: Window, inputs: Sizes, counts: Counts) -> Any:
    """The gradient of the input: g divided by the count, spread over its window."""
    suited, sides = fitted(g), _sides(window, inputs, g.shape[2:])
    if suited is None or sides is None or not _suits(window, inputs, g.shape[2:]):
        return plain.avg_pool_input(g, window, inputs, counts)
    g, = suited
    dx = np.empty((*g.shape[:2], *inputs), g.dtype)
    _native.avg_pool_input(*_planes(g, prod(inputs)), g, dx, *_shares(counts, g.shape[2:], g.dtype), *sides[0][:5], *sides[1][:5])
    return dx


def _suits(window: Window, inputs: Sizes, outputs: Sizes) -> bool:
    return set(window.dilation) == {1} and max(inputs[-1], outputs[-1]) <= _LINE and not _is_whole(window, inputs, outputs)


@lru_cache(maxsize=64)
def _shares(counts: Counts, outputs: Sizes, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """1/count as a factor for each row of outputs and one for each column."""
    if isinstance(counts, tuple):
        sides = [1 / np.asarray(side, "float64") for side in ((1,), *counts)[-2:]]
    else:
        sides = [np.full(outputs[-2] if len(outputs) > 1 else 1, 1.0), np.full(outputs[-1], 1 / counts)]
    return sides[0].astype(dtype), sides[1].astype(dtype)
