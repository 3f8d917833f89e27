"""Reductions by compiled loops over what merges to (outer, reduced, inner, reduced) dimensions. `plain/reduce.py` has the formulas.

Arrays that are not contiguous are left to NumPy: a copy would take as long as its own loops.
"""
from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from .. import plain
from . import _native, arrays
from .arrays import fits, like

__all__ = ["extreme", "extreme_at", "length", "logsumexp", "mean", "running_product", "running_sum", "total", "variance"]

_LANES = 512             # columns side by side, as in c/reduce.c
_ROWS = 8                # rows that are run along at the same time, as there
_SHORT = range(16, 64)   # lengths of rows that BLAS sums faster


# -- reductions --------------------------------------------------------------------------------------------------------

def _merged(shape: tuple, dims: tuple) -> tuple[int, int, int, int] | None:
    """A shape as (outer, n, m, k), to be reduced over n and k; None where there are more groups of neighbours that are reduced, or kept."""
    groups: list[list] = []
    for i, n in enumerate(shape):
        if n != 1:
            if groups and groups[-1][0] == (i in dims):
                groups[-1][1] *= n
            else:
                groups.append([i in dims, n])
    k, m, n, outer = (groups.pop()[1] if groups and groups[-1][0] == reduced else 1 for reduced in (True, False, True, False))
    return None if groups else (outer, n, m, k)


@lru_cache(maxsize=1024)
def _plan(shape: tuple, dims: tuple, keepdim: bool, sums: bool, piece: int) -> tuple | None:
    """The shape of the result and the calls that lead to it, each with the shape of its own: rows first, then what is left in columns."""
    merged = _merged(shape, dims)
    if merged is None or not prod(shape) or merged[1] * merged[3] == 1:
        return None
    outer, n, m, k = merged
    if sums and k in _SHORT and n == 1 and m * k > piece:
        return None
    calls: list[tuple] = []

    def call(outer: int, n: int, m: int, period: int = 1, inner: int = 1) -> None:
        width, blocks = min(m, _LANES), -(-m // _LANES)
        height = -(-n // max(1, n * width // piece))
        chunks = -(-n // height)
        sizes = ("_columns", n, m, height) if m > 1 else ("_rows", n, height, period, inner)
        calls.append(((outer, chunks, m), outer * chunks * blocks, max(1, piece // (height * width)), sizes[0], sizes[1:]))
        if chunks > 1:
            call(outer, chunks, m)

    if k > 1:
        call(outer * n * m, k, 1, *((n * m, m) if n > 1 else ()))
    if n > 1:
        call(outer, n, m)
    return tuple([1 if i in dims else n for i, n in enumerate(shape) if keepdim or i not in dims]), calls


def _reduced(name: str, x: Any, dims: tuple, keepdim: bool, center: Any = None, divisor: float = 1.0) -> Any:
    """x reduced in as many calls as it takes, of which the last one divides; None if it does not suit."""
    plan = _plan(x.shape, dims, keepdim, name in _SUMS, arrays.PIECE) if fits(x) else None
    if plan is None:
        return None
    shape, calls = plan
    last = calls[-1]
    for call in calls:
        made, items, piece, way, sizes = call
        y = np.empty(shape if call is last else made, x.dtype)
        _kernels[name + way](items, piece, x, center, y, *sizes, divisor if call is last else 1.0)
        x, center, name = y, None, _NEXT[name]
    return y


_SUMS = ("add", "squares")
_NEXT = {"add": "add", "squares": "add", "exponentials": "add", "max": "max", "min": "min"}       # what is made of a kernel's results
_kernels = {name + way: getattr(_native, name + way) for name in _NEXT for way in ("_rows", "_columns")}


def _count(x: Any, dims: tuple) -> int:
    return prod([x.shape[i] for i in dims])


def total(x: Any, dims: tuple, keepdim: bool, dtype: Any = None) -> Any:
    y = _reduced("add", x, dims, keepdim) if dtype is None else None
    return plain.total(x, dims, keepdim, dtype) if y is None else y


def mean(x: Any, dims: tuple, keepdim: bool) -> Any:
    y = _reduced("add", x, dims, keepdim, divisor=_count(x, dims))
    return plain.mean(x, dims, keepdim) if y is None else y


def variance(x: Any, dims: tuple, keepdim: bool, freedom: float) -> Any:
    center = _reduced("add", x, dims, True, divisor=_count(x, dims))
    return plain.variance(x, dims, keepdim, freedom) if center is None else _reduced("squares", x, dims, keepdim, center, freedom)


def length(x: Any, dims: tuple, keepdim: bool) -> Any:
    y = _reduced("squares", x, dims, keepdim)
    return plain.length(x, dims, keepdim) if y is None else np.sqrt(y, out=y)


def logsumexp(x: Any, dims: tuple, keepdim: bool) -> Any:
    m = _reduced("max", x, dims, keepdim)
    if m is None:
        return plain.logsumexp(x, dims, keepdim)
    m[~np.isfinite(m)] = 0
    y = _reduced("exponentials", x, dims, keepdim, m)
    np.log(y, out=y)
    y += m
    return y


def extreme(x: Any, which: str, dims: tuple, keepdim: bool) -> Any:
    y = _reduced(which, x, dims, keepdim)
    return plain.extreme(x, which, dims, keepdim) if y is None else y


# -- along one dimension -----------------------------------------------------------------------------------------------

def _along(x: Any, dim: int) -> tuple[int, int, int]:
    """How many elements are before a dimension, in it, and after it."""
    return prod(x.shape[:dim]), x.shape[dim], prod(x.shape[dim + 1:])


def extreme_at(x: Any, which: str, dim: int | None, keepdim: bool) -> Any:
    if dim is None or prod(x.shape[dim + 1:]) <= 1 or not x.size or x.shape[dim] >= 1 << 31 or not fits(x):         # along rows NumPy is as fast
        return plain.extreme_at(x, which, dim, keepdim)
    outer, n, m = _along(x, dim)
    y = np.empty(x.shape[:dim] + (1,) * keepdim + x.shape[dim + 1:], np.int64)
    run = _native.place_of_max if which == "max" else _native.place_of_min
    run(outer * -(-m // _LANES), arrays.rows_at_once(n * min(m, _LANES)), x, y, n, m)
    return y


def _running(name: str, x: Any, dim: int, step: int) -> Any:
    if not x.size or not fits(x):
        return getattr(plain, name)(x, dim, step)
    outer, n, m = _along(x, dim)
    y = like(x)
    items = -(-outer // _ROWS) if m == 1 else outer * -(-m // _LANES)
    getattr(_native, name)(items, arrays.rows_at_once(n * (_ROWS if m == 1 else min(m, _LANES)), 2), x, y, outer, n, m, step < 0)
    return y


def running_sum(x: Any, dim: int, step: int) -> Any:
    return _running("running_sum", x, dim, step)


def running_product(x: Any, dim: int, step: int) -> Any:
    return _running("running_product", x, dim, step)
