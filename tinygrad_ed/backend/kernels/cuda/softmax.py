"""Softmax and its logarithm by CUDA kernels, along any dimension."""
from __future__ import annotations

from typing import Any, Callable

from .. import plain
from .launch import fitted, launch, like, rows, split

__all__ = ["log_softmax", "log_softmax_backward", "softmax", "softmax_backward"]


def _along(name: str) -> tuple[Callable, Callable]:
    """The function and its derivative."""
    there, back = getattr(plain, name), getattr(plain, name + "_backward")

    def forward(x: Any, dim: int) -> Any:
        suited = fitted(x) if x.size else None
        if suited is None:
            return there(x, dim)
        x, = suited
        y, (outer, n, inner) = like(x), split(x.shape, dim)
        launch("softmax", name, x.dtype, rows(outer * inner, n, inner), x, y, outer * inner, n, inner)
        return y

    def backward(g: Any, y: Any, dim: int) -> Any:
        suited = fitted(g, y) if y.size and g.shape == y.shape else None
        if suited is None:
            return back(g, y, dim)
        g, y = suited
        dx, (outer, n, inner) = like(y), split(y.shape, dim)
        launch("softmax", name + "_backward", y.dtype, rows(outer * inner, n, inner), g, y, dx, outer * inner, n, inner)
        return dx
    return forward, backward


softmax, softmax_backward = _along("softmax")
log_softmax, log_softmax_backward = _along("log_softmax")
