"""Products by compiled loops, on the threads that all other kernels use. `plain/matmul.py` has the formulas.

They do not depend on the number of threads, take operands as they lie, and are as fast as BLAS where a processor has AVX2 or AVX-512. Elsewhere BLAS
has what they do not: loops written for the machine, or matrix units.
"""
from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .. import plain
from . import _native
from .arrays import PIECE, fitted
from .elementwise import gelu_tanh  # type: ignore[attr-defined]

__all__ = ["column_sums", "linear", "linear_gelu", "matmul"]

_SPAN = 256              # columns that are summed at once, at least


def _nothing(*operands: Any) -> None:
    """No product: BLAS makes it."""


_multiply = _nothing if _native.instructions() == "baseline" else _native.multiply


def matmul(a: Any, b: Any, out: Any = None, add: bool = True) -> Any:
    y = _multiply(a, b) if out is None else _multiply(a, b, None, False, out, add)
    return plain.matmul(a, b, out, add) if y is None else y


def linear(x: Any, weight: Any, bias: Any, relu: bool = False) -> Any:
    y = _multiply(x, weight.T, bias, relu)
    return plain.linear(x, weight, bias, relu) if y is None else y


def linear_gelu(x: Any, weight: Any, bias: Any, derive: bool) -> tuple:
    y, slope = gelu_tanh(linear(x, weight, bias), derive)
    return y, None, slope


def column_sums(x: Any) -> Any:
    suited = fitted(x)
    if suited is None:
        return plain.column_sums(x)
    x, = suited
    n, rows = x.shape[-1], prod(x.shape[:-1])
    y = np.empty(n, x.dtype)
    _native.column_sums(n, max(_SPAN, PIECE // max(1, rows)), x, y, rows, n)
    return y
