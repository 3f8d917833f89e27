"""Dropout by CUDA kernels; the random bits are those of `backend/philox.py`, bit for bit."""
from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ... import module_of, philox
from .. import plain
from .launch import elements, fitted, launch, like

__all__ = ["dropout", "random_mask"]


def random_mask(place: Any, shape: tuple, limit: int, bits: int) -> Any:
    n, keep = prod(shape), module_of("cuda").empty(shape, bool)
    seed, offset, at = (*place, None) if isinstance(place, tuple) else (0, 0, place)
    if n:
        shape_of_launch = elements(-(-n * bits // (64 * philox.BLOCK)))
        launch("dropout", "random_mask", np.dtype("float32"), shape_of_launch, keep, np.uint64(seed), np.uint64(offset), at, n, limit, bits)
    return keep


def dropout(x: Any, keep: Any, scale: float) -> Any:
    whole = next((i for i, (a, b) in enumerate(zip(keep.shape, x.shape)) if a != b), x.ndim)       # the dimensions in which keep has all of x
    suited = fitted(x) if x.size and keep.ndim == x.ndim and keep.size == prod(x.shape[:whole]) and keep.flags.c_contiguous else None
    if suited is None:
        return plain.dropout(x, keep, scale)
    x, = suited
    y = like(x)
    launch("dropout", "dropout", x.dtype, elements(x.size), x, keep, y, x.size, x.size // keep.size, float(scale))
    return y
