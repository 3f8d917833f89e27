"""Softmax and its logarithm by compiled loops: along rows, or down columns where there are enough of them. `plain/softmax.py` has the formulas."""
from __future__ import annotations

from math import prod
from typing import Any, Callable

from .. import plain
from . import _native
from .arrays import fitted, like, rows_at_once

__all__ = ["log_softmax", "log_softmax_backward", "softmax", "softmax_backward"]

_ABREAST = 256           # columns at a time, as in c/softmax.c
_FEW = 8                 # columns below which NumPy is as fast


def _served(x: Any, dim: int) -> int:
    """How many columns lie side by side along which the sums run, 1 for rows; 0 where the loops do not serve."""
    columns = prod(x.shape[dim + 1:]) if x.size else 0
    return columns if columns == 1 or columns >= _FEW else 0


def _along(name: str) -> tuple[Callable, Callable]:
    """The function and its derivative."""
    there, back = getattr(plain, name), getattr(plain, name + "_backward")
    rows, rows_back, columns, columns_back = (getattr(_native, name + suffix) for suffix in ("", "_backward", "_columns", "_columns_backward"))

    def blocks(x: Any, n: int, m: int) -> tuple[int, int]:
        return x.size // (n * m) * -(-m // _ABREAST), rows_at_once(n * min(m, _ABREAST), 2)

    def forward(x: Any, dim: int) -> Any:
        m = _served(x, dim)
        suited = fitted(x) if m else None
        if suited is None:
            return there(x, dim)
        x, = suited
        n, y = x.shape[dim], like(x)
        if m == 1:
            rows(x.size // n, rows_at_once(n, 2), x, y, n)
        else:
            columns(*blocks(x, n, m), x, y, n, m)
        return y

    def backward(g: Any, y: Any, dim: int) -> Any:
        m = _served(y, dim)
        suited = fitted(g, y) if m and g.shape == y.shape else None
        if suited is None:
            return back(g, y, dim)
        g, y = suited
        n, dx = y.shape[dim], like(y)
        if m == 1:
            rows_back(y.size // n, rows_at_once(n), g, y, dx, n)
        else:
            columns_back(*blocks(y, n, m), g, y, dx, n, m)
        return dx
    return forward, backward


softmax, softmax_backward = _along("softmax")
log_softmax, log_softmax_backward = _along("log_softmax")
