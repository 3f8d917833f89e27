"""Normalisation by CUDA kernels: rows and groups in one launch each way, the batch in two; sums over the batch for weights in one or two more."""
from __future__ import annotations

from math import prod
from typing import Any

from .. import plain
from .launch import elements, fitted, launch, like, rows, wide

__all__ = ["batch_norm", "batch_norm_backward", "batch_norm_relu", "batch_norm_relu_backward", "fixed_norm", "group_norm",
           "group_norm_backward", "layer_norm", "layer_norm_backward", "rms_norm", "rms_norm_backward"]


# -- over rows ---------------------------------------------------------------------------------------------------------

def _matrix(x: Any, dims: int) -> tuple[int, int]:
    """How many rows an array has whose last `dims` dimensions make a row, and their length."""
    length = prod(x.shape[x.ndim - dims:])
    return x.size // length, length


def layer_norm(x: Any, weight: Any, bias: Any, dims: int, eps: float) -> tuple:
    suited = fitted(x, weight, bias) if x.size else None
    if suited is None:
        return plain.layer_norm(x, weight, bias, dims, eps)
    x, weight, bias = suited
    count, length = _matrix(x, dims)
    y, mean, rstd = like(x), *(like(x, wide(x), (count, 1)) for _ in range(2))
    launch("norm", "normalize_rows", x.dtype, rows(count, length), x, weight, bias, y, mean, rstd, count, length, 1, 1, float(eps))
    return y, mean, rstd


def rms_norm(x: Any, weight: Any, dims: int, eps: float) -> tuple:
    suited = fitted(x, weight) if x.size else None
    if suited is None:
        return plain.rms_norm(x, weight, dims, eps)
    x, weight = suited
    count, length = _matrix(x, dims)
    y, rstd = like(x), like(x, wide(x), (count, 1))
    launch("norm", "normalize_rows", x.dtype, rows(count, length), x, weight, None, y, None, rstd, count, length, 1, 1, float(eps))
    return y, rstd


def layer_norm_backward(g: Any, x: Any, weight: Any, mean: Any, rstd: Any, dims: int, needs: tuple) -> tuple:
    suited = fitted(g, x, weight) if x.size else None
    if suited is None:
        return plain.layer_norm_backward(g, x, weight, mean, rstd, dims, needs)
    g, x, weight = suited
    return _rows_backward(g, x, weight, mean, rstd, dims, needs)


def rms_norm_backward(g: Any, x: Any, weight: Any, rstd: Any, dims: int, needs: tuple) -> tuple:
    suited = fitted(g, x, weight) if x.size else None
    if suited is None:
        return plain.rms_norm_backward(g, x, weight, rstd, dims, needs)
    g, x, weight = suited
    return _rows_backward(g, x, weight, None, rstd, dims, needs)[:2]


def _rows_backward(g: Any, x: Any, weight: Any, mean: Any, rstd: Any, dims: int, needs: tuple) -> tuple:
    (count, length), dx, dw, db = _matrix(x, dims), None, None, None
    if needs[0]:
        dx = like(x)
        launch("norm", "normalize_rows_backward", x.dtype, rows(count, length), g, x, weight, mean, rstd, dx, count, length, 1, 1)
    if any(needs[1:]):
        shape = x.shape[x.ndim - dims:]
        dw, db = (v.reshape(shape) for v in _weight_gradients(g, x, mean, rstd, count, length, 1, 1, length))
    return dx, dw, db


# -- over groups of channels -------------------------------------------------------------------------------------------

def group_norm(x: Any, weight: Any, bias: Any, groups: int, eps: float) -> tuple:
    suited = fitted(x, weight, bias) if x.size else None
    if suited is None:
        return plain.group_norm(x, weight, bias, groups, eps)
    x, weight, bias = suited
    count, length = len(x) * groups, prod(x.shape[1:]) // groups
    y, mean, rstd = like(x), *(like(x, wide(x), (count, 1, 1)) for _ in range(2))
    launch("norm", "normalize_rows", x.dtype, rows(count, length), x, weight, bias, y, mean, rstd, count, length, groups, prod(x.shape[2:]),
           float(eps))
    return y, mean, rstd


def group_norm_backward(g: Any, x: Any, weight: Any, mean: Any, rstd: Any, groups: int, needs: tuple) -> tuple:
    suited = fitted(g, x, weight) if x.size else None
    if suited is None:
        return plain.group_norm_backward(g, x, weight, mean, rstd, groups, needs)
    g, x, weight = suited
    (samples, channels, *rest), dx, dw, db = x.shape, None, None, None
    positions = prod(rest)
    count, length = samples * groups, channels * positions // groups
    if needs[0]:
        dx = like(x)
        launch("norm", "normalize_rows_backward", x.dtype, rows(count, length), g, x, weight, mean, rstd, dx, count, length, groups, positions)
    if any(needs[1:]):
        dw, db = _weight_gradients(g, x, mean, rstd, samples, channels, positions, groups, channels // groups)
    return dx, dw, db


# -- over the batch ----------------------------------------------------------------------------------------------------

BLOCKS = 512             # as many are wanted in a grid; a channel is cut into pieces to have them
PIECES = 64              # at most so many, since every block adds them up
LEAST = 16               # items of a piece for each thread
THREADS = 256            # of a block


def _tiles(channels: int, samples: int, positions: int) -> tuple[tuple, int, int]:
    """The shape of a launch over channels, into how many pieces each is cut, and how many items (sample, position) those have."""
    block = (32, THREADS // 32) if positions == 1 else (1, THREADS)      # neighbouring threads read neighbouring elements
    tiles, items = -(-channels // block[0]), samples * positions
    pieces = max(1, min(BLOCKS // tiles, PIECES, items // (LEAST * block[1])))
    piece = -(-items // pieces)
    pieces = -(-items // piece)
    return ((tiles, pieces), block), pieces, piece


def _weight_gradients(g: Any, x: Any, mean: Any, rstd: Any, samples: int, channels: int, positions: int, groups: int, share: int) -> tuple:
    shape, pieces, piece = _tiles(channels, samples, positions)
    dots, sums = (like(x, wide(x), (pieces, channels)) for _ in range(2))
    launch("norm", "weight_sums", x.dtype, shape, g, x, mean, rstd, dots, sums, samples, channels, positions, groups, share, piece)
    if pieces == 1 and dots.dtype == x.dtype:
        return dots[0], sums[0]
    dw, db = (like(x, shape=(channels,)) for _ in range(2))
    launch("norm", "add_pieces", x.dtype, elements(channels), dots, sums, dw, db, channels, pieces)
    return dw, db


def _countable(x: Any) -> bool:
    """Whether the kernels can count what belongs to a channel, which they do in 32 bits."""
    return 0 < x.size // max(x.shape[1], 1) < 1 << 32


def _batch_norm(reference: Any, x: Any, weight: Any, bias: Any, eps: float, relu: bool) -> tuple:
    suited = fitted(x, weight, bias) if _countable(x) else None
    if suited is None:
        return reference(x, weight, bias, eps)
    x, weight, bias = suited
    samples, channels, *rest = x.shape
    positions = prod(rest)
    shape, pieces, piece = _tiles(channels, samples, positions)
    y, mean, var = like(x), *(like(x, wide(x), (channels,)) for _ in range(2))
    means, squares = (like(x, wide(x), (pieces, channels)) for _ in range(2))
    launch("norm", "batch_statistics", x.dtype, shape, x, means, squares, samples, channels, positions, piece)
    launch("norm", "batch_normalize", x.dtype, shape, x, weight, bias, means, squares, y, mean, var, samples, channels, positions, piece, pieces,
           float(eps), relu)
    return y, mean, var


def _batch_norm_backward(g: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float, needs: tuple, relu: bool) -> tuple:
    samples, channels, *rest = x.shape
    positions = prod(rest)
    shape, pieces, piece = _tiles(channels, samples, positions)
    dots, sums = (like(x, wide(x), (pieces, channels)) for _ in range(2))
    dx, dw, db = like(x) if needs[0] else None, *(like(x, shape=(channels,)) for _ in range(2))
    launch("norm", "batch_sums", x.dtype, shape, g, x, weight, bias, mean, var, dots, sums, samples, channels, positions, piece, float(eps), relu)
    launch("norm", "batch_normalize_backward", x.dtype, shape, g, x, weight, bias, mean, var, dots, sums, dx, dw, db, samples, channels, positions,
           piece, pieces, float(eps), relu)
    return dx, dw, db


def batch_norm(x: Any, weight: Any, bias: Any, eps: float) -> tuple:
    return _batch_norm(plain.batch_norm, x, weight, bias, eps, False)


def batch_norm_relu(x: Any, weight: Any, bias: Any, eps: float) -> tuple:
    return _batch_norm(plain.batch_norm_relu, x, weight, bias, eps, True)


def batch_norm_backward(g: Any, x: Any, weight: Any, mean: Any, var: Any, eps: float, needs: tuple) -> tuple:
    suited = fitted(g, x, weight) if _countable(x) else None
    if suited is None:
        return plain.batch_norm_backward(g, x, weight, mean, var, eps, needs)
    g, x, weight = suited
    return _batch_norm_backward(g, x, weight, None, mean, var, eps, needs, False)


def batch_norm_relu_backward(g: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float, needs: tuple) -> tuple:
    suited = fitted(g, x, weight, bias) if _countable(x) else None
    if suited is None:
        return plain.batch_norm_relu_backward(g, x, weight, bias, mean, var, eps, needs)
    g, x, weight, bias = suited
    return _batch_norm_backward(g, x, weight, bias, mean, var, eps, needs, True)


def fixed_norm(x: Any, mean: Any, scale: Any, bias: Any, relu: bool = False) -> Any:
    suited = fitted(x, mean, scale, bias) if x.size else None
    if suited is None or any(v is not None and v.size != x.shape[1] for v in suited[1:]):
        return plain.fixed_norm(x, mean, scale, bias, relu)
    x, mean, scale, bias = suited
    y = like(x)
    launch("norm", "fixed_norm", x.dtype, elements(x.size), x, mean, scale, bias, y, x.size, x.shape[1], prod(x.shape[2:]), relu)
    return y
