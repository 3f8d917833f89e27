"""Products of matrices, stacks of matrices and vectors, the affine map of a layer, and sums of columns.

The arguments of a product have one dtype; shapes that do not multiply are a ValueError, which the op explains.
"""
from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ... import namespace
from .activation import gelu_tanh, rectified

__all__ = ["column_sums", "linear", "linear_gelu", "matmul"]

_HALF = np.dtype(np.float16)


def matmul(a: Any, b: Any, out: Any = None, add: bool = True) -> Any:
    """a @ b; a stack of matrices times one matrix or vector is one product of all their rows.

    `out`, contiguous and of the result's shape and dtype, shares no memory with a and b: the product is added to it, or overwrites it unless `add`.
    """
    if out is not None:
        if add:
            out += matmul(a, b)
        elif a.ndim == b.ndim == 2 and type(a) is np.ndarray and a.dtype is not _HALF:
            np.matmul(a, b, out)
        else:
            out[...] = matmul(a, b)
        return out
    if a.dtype is _HALF and type(a) is np.ndarray:   # BLAS has no float16, and NumPy's own loop is 60 times slower
        return matmul(a.astype(np.float32), b.astype(np.float32)).astype(np.float16)
    if a.dtype.kind in "iu" and _is_exact_in_float64(a, b):
        return matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.int64).astype(a.dtype)
    if a.ndim > 2 and b.ndim <= 2:
        return (a.reshape(prod(a.shape[:-1]), a.shape[-1]) @ b).reshape(a.shape[:-1] + b.shape[1:])
    return a @ b


def _is_exact_in_float64(a: Any, b: Any) -> bool:
    """Whether BLAS, which knows no integers, may multiply them: no sum of products is too large, and there is enough to gain."""
    if type(a) is not np.ndarray or a.ndim == 0 or b.ndim == 0 or a.size * b.shape[-1] < 1 << 12:
        return False
    largest, other = [max(-int(x.min()), int(x.max())) for x in (a, b)]
    return a.shape[-1] * largest * other <= 1 << 53


def linear(x: Any, weight: Any, bias: Any, relu: bool = False) -> Any:
    """x Wᵀ + b for x (…, in), W (out, in) and b (out,) or None; its ReLU if that is wanted."""
    y = matmul(x, weight.T)
    if bias is not None:
        y += bias
    return rectified(y, out=y) if relu else y


def linear_gelu(x: Any, weight: Any, bias: Any, derive: bool) -> tuple:
    """y = gelu_tanh(z) of z = x Wᵀ + b; and for the derivative either z or the slope, whichever takes an engine less, and None for the other."""
    y, slope = gelu_tanh(linear(x, weight, bias), derive)
    return y, None, slope


def column_sums(x: Any) -> Any:
    """x (…, n) summed over all dimensions but the last: a product with ones, which BLAS does several times faster than a sum."""
    rows = prod(x.shape[:-1])
    return matmul(namespace(x).ones(rows, x.dtype), x.reshape(rows, x.shape[-1]))
