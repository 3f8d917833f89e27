"""Sums and extremes of arrays over dimensions, each the fastest way that NumPy has: what reductions and kernels are made of."""
from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["extreme", "total"]


def total(x: Any, dims: tuple, keepdim: bool, dtype: Any = None) -> Any:
    """The sum of an array. float16 is summed in float32: in its own precision 2048 + 1 is 2048."""
    if (dtype or x.dtype).char == "e":
        return x.sum(axis=dims, dtype="float32", keepdims=keepdim).astype("float16")
    if dims == (x.ndim - 1,) and x.ndim > 1 and dtype is None and type(x) is np.ndarray and x.dtype.kind == "f" and x.flags.c_contiguous:
        n = x.shape[-1]
        if 0 < n <= 1024:                                 # short rows: a matrix product takes a quarter of the time
            return (x.reshape(-1, n) @ np.ones(n, x.dtype)).reshape(x.shape[:-1] + (1,) * keepdim)
    return x.sum(axis=dims, dtype=dtype, keepdims=keepdim)


def extreme(x: Any, which: str, dims: tuple, keepdim: bool) -> Any:
    """The largest ("max") or smallest ("min") of an array over dimensions."""
    if type(x) is np.ndarray and dims == (x.ndim - 1,) and x.flags.c_contiguous and x.size and x.shape[-1] <= 1024:
        ufunc = np.maximum if which == "max" else np.minimum            # along short rows reduceat takes half the time of reduce
        y = ufunc.reduceat(x.reshape(-1), np.arange(0, x.size, x.shape[-1]))
        return y.reshape(x.shape[:-1] + (1,) * keepdim)
    return getattr(x, which)(axis=dims, keepdims=keepdim)
