"""Activations, gradients known from the value, and losses of single elements by CUDA kernels, which `elements` makes of `bodies`: one launch each."""
from __future__ import annotations

from functools import wraps
from typing import Any, Callable

from .. import plain
from ..bodies import ACTIVATIONS, BACKWARDS, LOSSES
from .launch import elements, fitted, launch, like, wide

__all__ = [*ACTIVATIONS, *BACKWARDS, *LOSSES]                     # type: ignore[reportUnsupportedDunderAll]


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


def _backward(name: str) -> Callable:
    """The kernel(g, y) -> the gradient."""
    reference = getattr(plain, name)

    @wraps(reference)
    def kernel(g: Any, y: Any) -> Any:
        suited = fitted(g, y) if y.size and g.shape == y.shape else None
        if suited is None:
            return reference(g, y)
        g, y = suited
        d = like(y)
        launch("elementwise", name, y.dtype, elements(y.size), g, y, d, y.size)
        return d
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
globals().update({name: _backward(name) for name in BACKWARDS})
globals().update({name: _loss(name) for name in LOSSES})
