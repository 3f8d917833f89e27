"""The windows of images as the columns of matrices, by CUDA kernels, and convolution as products with them. `plain/conv.py` has the formulas.

Unlike in plain the columns of many images are there at a time, and the gradient of the input is collected from the windows for each input.
"""
from __future__ import annotations

from math import prod
from typing import Any

from ... import namespace
from .. import plain
from ..window import Sizes, Window
from . import depthwise
from .launch import elements, launch, like
from .matmul import matmul
from .windows import sides, suited

__all__ = ["fold", "unfold"]

_MOST = 1 << 27          # elements of the columns that are there at a time


def unfold(x: Any, window: Window, outputs: Sizes) -> Any:
    fitting = suited(window, x.shape[2:], outputs, x)
    return plain.unfold(x, window, outputs) if fitting is None else _columns(fitting[0], window, outputs)


def fold(y: Any, window: Window, inputs: Sizes) -> Any:
    fitting = suited(window, inputs, y.shape[2 + len(inputs):], y)
    return plain.fold(y, window, inputs) if fitting is None else _collected(fitting[0], window, inputs)


def _columns(x: Any, window: Window, outputs: Sizes, rows_first: bool = False) -> Any:
    """The windows (N, C, *kernel, *outputs), or with rows_first (C, *kernel, N, *outputs)."""
    (images, channels), taps, positions = x.shape[:2], prod(window.kernel), prod(outputs)
    if rows_first:
        shape, steps = (channels, *window.kernel, images, *outputs), (positions, taps * images * positions, images * positions)
    else:
        shape, steps = (images, channels, *window.kernel, *outputs), (channels * taps * positions, taps * positions, positions)
    y = like(x, shape=shape)
    launch("columns", "unfold", x.dtype, elements(images * channels * positions), x, y, images, channels, *steps,
           *sides(window, x.shape[2:], outputs))
    return y


def _collected(y: Any, window: Window, inputs: Sizes) -> Any:
    """The sums of windows (N, C, *kernel, *outputs) for each input."""
    x = like(y, shape=(*y.shape[:2], *inputs))
    launch("columns", "fold", y.dtype, elements(x.size), y, x, prod(y.shape[:2]), *sides(window, inputs, y.shape[2 + len(inputs):]))
    return x


# -- convolution -------------------------------------------------------------------------------------------------------

def conv_output(x: Any, weight: Any, bias: Any, window: Window, groups: int, outputs: Sizes) -> Any:
    """y[n, o, i] = bias[o] + Σ weight[o, c, k]·x[n, c, i·stride + k·dilation - padding], over channels c and taps k."""
    fitting = suited(window, x.shape[2:], outputs, x, weight, bias)
    if fitting is None:
        return plain.conv_output(x, weight, bias, window, groups, outputs)
    x, weight, bias = fitting
    if depthwise.suits(weight, groups):
        return depthwise.conv_output(x, weight, bias, window, groups, outputs)
    matrix = weight.reshape(groups, len(weight) // groups, weight[0].size)
    parts = [_product(matrix, _gathered(x[part], window, outputs), groups, outputs) for part in _blocks(x, window, outputs)]
    return with_bias(_joined(parts), bias)


def conv_input(g: Any, weight: Any, bias: Any, window: Window, groups: int, inputs: Sizes) -> Any:
    """The gradient of the input; as the transposed convolution it can have a bias."""
    outputs = g.shape[2:]
    fitting = suited(window, inputs, outputs, g, weight, bias)
    if fitting is None:
        return plain.conv_input(g, weight, bias, window, groups, inputs)
    g, weight, bias = fitting
    if depthwise.suits(weight, groups):
        return depthwise.conv_input(g, weight, bias, window, groups, inputs)
    matrix = weight.reshape(groups, len(weight) // groups, weight[0].size).swapaxes(1, 2)
    parts = []
    for part in _blocks(g, window, outputs, groups * weight.shape[1]):
        columns = _product(matrix, g[part], groups, outputs).reshape(-1, groups * weight.shape[1], *window.kernel, *outputs)
        parts.append(columns.reshape(*columns.shape[:2], *inputs) if _are_pixels(window, inputs, outputs) else _collected(columns, window, inputs))
    return with_bias(_joined(parts), bias)


def conv_weight(g: Any, x: Any, window: Window, groups: int) -> Any:
    """The gradient of the weight: Σ g[n, o, i]·x[n, c, i·stride + k·dilation - padding], over images n and outputs i."""
    outputs, channels, filters = g.shape[2:], x.shape[1] // groups, g.shape[1] // groups
    fitting = suited(window, x.shape[2:], outputs, x, g)
    if fitting is None:
        return plain.conv_weight(g, x, window, groups)
    x, g = fitting
    if channels == 1:                                 # of one group too: a product for so few rows would keep few multiprocessors busy
        return depthwise.conv_weight(g, x, window)
    total = None
    for part in _blocks(x, window, outputs):
        columns = _columns(x[part], window, outputs, rows_first=True).reshape(groups, channels * prod(window.kernel), -1)
        split = g[part].swapaxes(0, 1).reshape(groups, filters, -1)
        total = matmul(split, columns.swapaxes(1, 2), out=total)
    return total.reshape(g.shape[1], channels, *window.kernel)         # type: ignore[union-attr]


def _are_pixels(window: Window, inputs: Sizes, outputs: Sizes) -> bool:
    """Whether images are matrices of columns already."""
    return {*window.kernel, *window.stride} == {1} and not any(window.padding) and inputs == outputs


def _gathered(x: Any, window: Window, outputs: Sizes) -> Any:
    return x if _are_pixels(window, x.shape[2:], outputs) else _columns(x, window, outputs)


def _product(matrix: Any, columns: Any, groups: int, outputs: Sizes) -> Any:
    """The matrices (groups, rows, k) times columns with k numbers in each group: (N, groups·rows, *outputs)."""
    n, k = len(columns), matrix.shape[2]
    if groups == 1:                                   # one matrix for all images, of which none is copied
        return matmul(matrix[0], columns.reshape(n, k, prod(outputs))).reshape(n, -1, *outputs)
    return matmul(matrix, columns.reshape(n, groups, k, prod(outputs))).reshape(n, -1, *outputs)


def _blocks(x: Any, window: Window, outputs: Sizes, channels: int | None = None) -> list[slice]:
    """The images whose columns are there at a time."""
    size = (x.shape[1] if channels is None else channels) * prod(window.kernel) * prod(outputs)
    step = min(len(x), max(1, _MOST // size))
    return [slice(i, i + step) for i in range(0, len(x), step)]


def _joined(parts: list) -> Any:
    return parts[0] if len(parts) == 1 else namespace(parts[0]).concatenate(parts)


def with_bias(y: Any, bias: Any) -> Any:
    if bias is not None:
        y += bias.reshape(-1, *[1] * (y.ndim - 2))
    return y
