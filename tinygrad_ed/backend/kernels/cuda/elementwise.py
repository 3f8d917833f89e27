"""Activations, their gradients, and losses of single elements by CUDA kernels, which `elements` makes of `bodies`: one launch each."""
from __future__ import annotations

from functools import wraps
from typing import Any, Callable

from .. import plain
from ..bodies import ACTIVATIONS, FORMULAS, LOSSES
from .launch import elements, fitted, launch, like, wide

__all__ = [*ACTIVATIONS, *FORMULAS, *LOSSES]                      # type: ignore[reportUnsupportedDunderAll]


def _activation(name: str) -> Callable:
    """The kernel(x, derive, *numbers) -> (y, slope)."""
    reference = getattr(plain, name)

    @wraps(reference)
    def kernel(x: Any, derive: bool, *numbers: float) -> tuple:
        suited = fitted(x) if x.size else None
        if suited is None:
            return reference(x, derive, *numbers)
        x, = suited
        y, slope = like(x), like(x) if derive else None
        launch("elementwise", name, x.dtype, elements(x.size), x, y, slope, x.size, *map(float, numbers))
        return y, slope
    return kernel


def _formula(name: str) -> Callable:
    """The kernel(*arrays, *numbers) -> one result."""
    reference, count = getattr(plain, name), len(FORMULAS[name].arrays.split())

    @wraps(reference)
    def kernel(*args: Any) -> Any:
        x, *others = args[:count]
        suited = fitted(x, *others) if x.size and all([other.shape == x.shape for other in others]) else None
        if suited is None:
            return reference(*args)
        result = like(x)
        launch("elementwise", name, x.dtype, elements(x.size), *suited, result, x.size, *map(float, args[count:]))
        return result
    return kernel


def _loss(name: str) -> Callable:
    """The kernel(x, t, scale, reduce, derive, *numbers) -> (loss, slope)."""
    reference = getattr(plain, name)

    @wraps(reference)
    def kernel(x: Any, t: Any, scale: float, reduce: bool, derive: bool, *numbers: float) -> tuple:
        suited = fitted(x, t) if x.size else None
        if suited is None:
            return reference(x, t, scale, reduce, derive, *numbers)
        x, t = suited
        slope, (grid, block) = like(x, wide(x)) if derive else None, elements(x.size)
        y = like(x, shape=() if reduce else None)
        parts = like(x, wide(x), grid) if reduce else None
        launch("elementwise", name, x.dtype, (grid, block), x, t, None if reduce else y, parts, slope, x.size, float(scale), *map(float, numbers))
        if reduce:
            launch("elementwise", "total", x.dtype, ((1,), block), parts, y, grid[0], float(scale))
        return y, slope
    return kernel


globals().update({name: _activation(name) for name in ACTIVATIONS})
globals().update({name: _formula(name) for name in FORMULAS})
globals().update({name: _loss(name) for name in LOSSES})
