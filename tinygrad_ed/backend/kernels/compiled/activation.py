"""Activations with more than one argument by compiled loops. `plain/activation.py` has the formulas."""
from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .. import plain
from . import _native
from .arrays import PIECE, fitted, like, rows_at_once

__all__ = ["glu", "glu_backward", "prelu", "prelu_backward"]

_SHORT = 16              # numbers of a channel next to each other from which on the loops are faster than NumPy


# -- halves of a dimension ---------------------------------------------------------------------------------------------

def _pieces(y: Any, dim: int) -> tuple[int, int, int]:
    """How many pieces there are of pairs of halves, how long a half is, and a piece of one."""
    n = prod(y.shape[dim:])
    length = min(n, PIECE // 4)
    return y.size // n * -(-n // length), n, length


def glu(x: Any, dim: int) -> tuple:
    suited = fitted(x) if x.size else None
    if suited is None:
        return plain.glu(x, dim)
    x, dim = *suited, dim % x.ndim
    y = np.empty((*x.shape[:dim], x.shape[dim] // 2, *x.shape[dim + 1:]), x.dtype)
    s, (pieces, n, length) = like(y), _pieces(y, dim)
    _native.glu(pieces, rows_at_once(length, 2), x, y, s, n, length)
    return y, s


def glu_backward(g: Any, y: Any, s: Any, dim: int) -> Any:
    suited = fitted(g, y, s) if y.size and g.shape == y.shape else None
    if suited is None:
        return plain.glu_backward(g, y, s, dim)
    (g, y, s), dim = suited, dim % y.ndim
    d, (pieces, n, length) = np.empty((*y.shape[:dim], 2 * y.shape[dim], *y.shape[dim + 1:]), y.dtype), _pieces(y, dim)
    _native.glu_backward(pieces, rows_at_once(length), g, y, s, d, n, length)
    return d


# -- a slope for each channel ------------------------------------------------------------------------------------------

def _rows(x: Any, weight: Any) -> int:
    """How many numbers with the same slope are next to each other in a sample; 0 where the loops do not serve."""
    n = prod(x.shape[1 if weight.size == 1 else 2:])
    return n if x.size and n >= _SHORT else 0


def prelu(x: Any, weight: Any) -> Any:
    n = _rows(x, weight)
    suited = fitted(x, weight) if n else None
    if suited is None:
        return plain.prelu(x, weight)
    x, weight = suited
    y = like(x)
    _native.prelu(x.size // n, rows_at_once(n), x, weight, y, n, weight.size)
    return y


def prelu_backward(g: Any, x: Any, weight: Any, needs: tuple) -> tuple:
    n = _rows(x, weight)
    suited = fitted(g, x, weight) if n and g.shape == x.shape else None
    if suited is None:
        return plain.prelu_backward(g, x, weight, needs)
    g, x, weight = suited
    dx, parts = like(x) if needs[0] else None, np.empty(x.size // n, x.dtype)
    _native.prelu_backward(len(parts), rows_at_once(n), g, x, weight, dx, parts, n, weight.size)
    return dx, parts.reshape(-1, weight.size).sum(axis=0).reshape(weight.shape)
