"""Normalisation by compiled loops: over rows, groups of channels and the batch. `plain/norm.py` has the formulas."""
from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .. import plain
from ..plain.norm import by_batch, by_batch_backward
from . import _native
from .arrays import PIECE, fitted, like, rows_at_once

__all__ = ["batch_norm", "batch_norm_backward", "batch_norm_relu", "batch_norm_relu_backward", "fixed_norm", "group_norm",
           "group_norm_backward", "layer_norm", "layer_norm_backward", "rms_norm", "rms_norm_backward"]


# -- over rows ---------------------------------------------------------------------------------------------------------

def _rows(x: Any, dims: int) -> tuple[int, int]:
    """How many rows an array has whose last `dims` dimensions make a row, and their length."""
    length = prod(x.shape[x.ndim - dims:])
    return x.size // length if length else 0, length


def layer_norm(x: Any, weight: Any, bias: Any, dims: int, eps: float) -> tuple:
    suited = fitted(x, weight, bias)
    if suited is None:
        return plain.layer_norm(x, weight, bias, dims, eps)
    x, weight, bias = suited
    rows, length = _rows(x, dims)
    y, mean, rstd = like(x), np.empty((rows, 1), x.dtype), np.empty((rows, 1), x.dtype)
    _native.layer_norm(rows, rows_at_once(length), x, weight, bias, y, mean, rstd, length, eps)
    return y, mean, rstd


def layer_norm_backward(g: Any, x: Any, weight: Any, mean: Any, rstd: Any, dims: int, needs: tuple) -> tuple:
    suited = fitted(g, x, weight, mean, rstd)
    if suited is None:
        return plain.layer_norm_backward(g, x, weight, mean, rstd, dims, needs)
    g, x, weight, mean, rstd = suited
    rows, length = _rows(x, dims)
    piece = rows_at_once(length)
    parts = (-(-rows // piece), length)
    dx, dw, db = like(x) if needs[0] else None, np.empty(parts, x.dtype), np.empty(parts, x.dtype)
    _native.layer_norm_backward(rows, piece, g, x, weight, mean, rstd, dx, dw, db, length, piece)
    return dx, _total(dw, x.shape[x.ndim - dims:]), _total(db, x.shape[x.ndim - dims:])


def rms_norm(x: Any, weight: Any, dims: int, eps: float) -> tuple:
    suited = fitted(x, weight)
    if suited is None:
        return plain.rms_norm(x, weight, dims, eps)
    x, weight = suited
    rows, length = _rows(x, dims)
    y, rstd = like(x), np.empty((rows, 1), x.dtype)
    _native.rms_norm(rows, rows_at_once(length), x, weight, y, rstd, length, eps)
    return y, rstd


def rms_norm_backward(g: Any, x: Any, weight: Any, rstd: Any, dims: int, needs: tuple) -> tuple:
    suited = fitted(g, x, weight, rstd)
    if suited is None:
        return plain.rms_norm_backward(g, x, weight, rstd, dims, needs)
    g, x, weight, rstd = suited
    rows, length = _rows(x, dims)
    piece = rows_at_once(length)
    dx, parts = like(x) if needs[0] else None, np.empty((-(-rows // piece), length), x.dtype)
    _native.rms_norm_backward(rows, piece, g, x, weight, rstd, dx, parts, length, piece)
    return dx, _total(parts, x.shape[x.ndim - dims:])


def _total(parts: Any, shape: tuple) -> Any:
    """The sum of what the pieces give, in their order, in a shape."""
    return (parts if len(parts) == 1 else parts.sum(axis=0)).reshape(shape)


# -- over groups of channels -------------------------------------------------------------------------------------------

def group_norm(x: Any, weight: Any, bias: Any, groups: int, eps: float) -> tuple:
    suited = fitted(x, weight, bias)
    if suited is None or not x.size:
        return plain.group_norm(x, weight, bias, groups, eps)
    x, weight, bias = suited
    rows, channels, length = len(x) * groups, x.shape[1] // groups, prod(x.shape[2:])
    y, mean, rstd = like(x), np.empty((rows, 1, 1), x.dtype), np.empty((rows, 1, 1), x.dtype)
    _native.group_norm(rows, rows_at_once(channels * length), x, weight, bias, y, mean, rstd, channels, length, groups, eps)
    return y, mean, rstd


def group_norm_backward(g: Any, x: Any, weight: Any, mean: Any, rstd: Any, groups: int, needs: tuple) -> tuple:
    suited = fitted(g, x, weight, mean, rstd)
    if suited is None or not x.size:
        return plain.group_norm_backward(g, x, weight, mean, rstd, groups, needs)
    g, x, weight, mean, rstd = suited
    rows, channels, length = len(x) * groups, x.shape[1] // groups, prod(x.shape[2:])
    dx, (sums, dots) = like(x) if needs[0] else None, np.empty((2, *x.shape[:2]), x.dtype)
    _native.group_norm_backward(rows, rows_at_once(channels * length), g, x, weight, mean, rstd, dx, sums, dots, channels, length, groups)
    return dx, dots.sum(axis=0), sums.sum(axis=0)


# -- over the batch ----------------------------------------------------------------------------------------------------

_ABREAST = 64            # channels of one position that are normalized at a time, as in c/norm.c


def _channels_at_once(x: Any, length: int) -> int:
    if length > 1:
        return rows_at_once(len(x) * length)
    return max(_ABREAST, rows_at_once(len(x)) // _ABREAST * _ABREAST)


def batch_norm(x: Any, weight: Any, bias: Any, eps: float) -> tuple:
    return _by_batch(x, weight, bias, eps, False)


def batch_norm_backward(g: Any, x: Any, weight: Any, mean: Any, var: Any, eps: float, needs: tuple) -> tuple:
    return _by_batch_backward(g, x, weight, None, mean, var, eps, needs, False)


def batch_norm_relu(x: Any, weight: Any, bias: Any, eps: float) -> tuple:
    return _by_batch(x, weight, bias, eps, True)


def batch_norm_relu_backward(g: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float, needs: tuple) -> tuple:
    return _by_batch_backward(g, x, weight, bias, mean, var, eps, needs, True)


def _by_batch(x: Any, weight: Any, bias: Any, eps: float, relu: bool) -> tuple:
    suited = fitted(x, weight, bias)
    if suited is None or not x.size:
        return by_batch(x, weight, bias, eps, relu)
    x, weight, bias = suited
    samples, channels, *rest = x.shape
    length = prod(rest)
    y, mean, var = like(x), np.empty(channels, x.dtype), np.empty(channels, x.dtype)
    arrays = (x, weight, bias, y, mean, var, samples, channels)
    if length == 1:
        _native.batch_norm_columns(channels, _channels_at_once(x, 1), *arrays, eps, relu)
    else:
        _native.batch_norm(channels, _channels_at_once(x, length), *arrays, length, eps, relu)
    return y, mean, var


def _by_batch_backward(g: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float, needs: tuple, relu: bool) -> tuple:
    suited = fitted(g, x, weight, bias, mean, var)
    if suited is None or not x.size:
        return by_batch_backward(g, x, weight, bias, mean, var, eps, needs, relu)
    g, x, weight, bias, mean, var = suited
    samples, channels, *rest = x.shape
    length = prod(rest)
    dx, dw, db = like(x) if needs[0] else None, np.empty(channels, x.dtype), np.empty(channels, x.dtype)
    arrays = (g, x, weight, bias, mean, var, dx, dw, db, samples, channels)
    if length == 1:
        _native.batch_norm_columns_backward(channels, _channels_at_once(x, 1), *arrays, eps, relu)
    else:
        _native.batch_norm_backward(channels, _channels_at_once(x, length), *arrays, length, eps, relu)
    return dx, dw, db


def fixed_norm(x: Any, mean: Any, scale: Any, bias: Any, relu: bool = False) -> Any:
    suited = fitted(x, mean, scale, bias)
    if suited is None or not x.size or any(v is not None and v.size != x.shape[1] for v in suited[1:]):
        return plain.fixed_norm(x, mean, scale, bias, relu)
    x, mean, scale, bias = suited
    channels, length, y = x.shape[1], prod(x.shape[2:]), like(x)
    row = length if length > 1 else channels
    _native.fixed_norm(x.size // row, rows_at_once(row), x, mean, scale, bias, y, channels, length, relu)
    return y
