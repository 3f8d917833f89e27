"""Convolution in any number of dimensions as matrix products, its two derivatives, and the windows themselves (unfold, fold).

With the windows of x as the columns of a matrix X, and the weights as a matrix W with a row per filter, convolution is Y = W X. Its
derivatives are dW = dY Xᵀ and dX = Wᵀ dY, whose columns are added back to where the windows came from. X is never there as a whole: a
block of images at a time is gathered and multiplied while it is in the processor's cache.

Shapes: x (N, C, *inputs), y (N, O, *outputs), weight (O, C/groups, *kernel), bias (O).
"""
from __future__ import annotations

import itertools
from math import prod
from typing import Any, Iterator

from ... import namespace
from ..products import product
from ..window import Sizes, Window
from .columns import Columns, precision
from .memory import empty, zeros

__all__ = ["conv_input", "conv_output", "conv_weight", "fold", "unfold"]


def conv_output(x: Any, weight: Any, bias: Any, window: Window, groups: int, outputs: Sizes, out: Any = None) -> Any:
    """y[n, o, i] = bias[o] + Σ weight[o, c, k]·x[n, c, i·stride + k·dilation - padding], over channels c and taps k."""
    xp = namespace(x)
    y = empty(xp, (x.shape[0], weight.shape[0], *outputs), x.dtype) if out is None else out
    columns = Columns(xp, x.shape, weight.shape[0], outputs, window, groups, x.dtype)
    matrix = columns.matrix(weight)
    if columns.are_pixels and y.flags.c_contiguous and y.dtype == columns.dtype:
        part = y.reshape(len(x), groups, columns.filters, prod(outputs))
        product(matrix, x.reshape(len(x), groups, columns.channels, prod(outputs)), out=part)
        if bias is not None:
            part += bias.reshape(groups, columns.filters, 1)
        return y
    for images in columns.images():
        windows = columns.windows(x[images])
        for lines in columns.lines():
            y[images, :, lines] = columns.filtered(windows[:, :, :, lines], matrix, bias)
    return y


def conv_weight(g: Any, x: Any, window: Window, groups: int) -> Any:
    """The gradient of the weight: Σ g[n, o, i]·x[n, c, i·stride + k·dilation - padding], over images n and outputs i."""
    columns = Columns(namespace(x), x.shape, g.shape[1], g.shape[2:], window, groups, x.dtype)
    total = zeros(columns.xp, (groups, columns.filters, columns.rows), columns.dtype)
    for images in columns.images():
        windows = columns.windows(x[images])
        for lines in columns.lines():
            gathered = columns.gather(windows[:, :, :, lines])
            total += product(columns.split(g[images, :, lines]), gathered if columns.channels_last else gathered.swapaxes(1, 2))
    return columns.weight(total).astype(x.dtype, copy=False)


def conv_input(g: Any, weight: Any, bias: Any, window: Window, groups: int, inputs: Sizes) -> Any:
    """The gradient of the input, which is the transposed convolution; as such it can have a bias."""
    filters, channels = weight.shape[0] // groups, weight.shape[1]
    dx = empty(namespace(g), (len(g), groups * channels, *inputs), g.dtype)
    classes = list(_classes(window, inputs))
    are_few = filters <= 2 * channels or len(classes) == prod(window.kernel)           # columns to gather, compared with those to scatter
    if classes and are_few and all([min(part.padding) >= 0 for *_, part in classes]):
        _convolved(g, weight, groups, classes, dx)
    else:
        _scattered(g, weight, window, groups, dx)
    if bias is not None:
        dx += bias.reshape(-1, *[1] * len(inputs))
    return dx


def _scattered(g: Any, weight: Any, window: Window, groups: int, dx: Any) -> None:
    """The gradient of the input as the columns Wᵀ dY, each added to where its window is."""
    columns = Columns(namespace(g), dx.shape, g.shape[1], g.shape[2:], window, groups, g.dtype)
    matrix = columns.matrix(weight)
    for images in columns.images():
        total = columns.nothing(images.stop - images.start)
        for lines in columns.lines():
            columns.scatter(matrix, columns.split(g[images, :, lines]), total, lines)
        dx[images].reshape(total.shape)[...] = total


def _convolved(g: Any, weight: Any, groups: int, classes: Any, dx: Any) -> None:
    """The gradient of the input as convolutions of g with the reversed kernel."""
    xp, filters, flip = namespace(g), weight.shape[0] // groups, (..., *[slice(None, None, -1)] * (g.ndim - 2))
    swapped = weight.reshape(groups, filters, *weight.shape[1:]).swapaxes(1, 2).reshape(dx.shape[1], filters, *weight.shape[2:])
    for inputs, taps, window in classes:
        block, kernel = dx[inputs], xp.ascontiguousarray(swapped[taps][flip])
        if prod(window.kernel):
            conv_output(g, kernel, None, window, groups, block.shape[2:], out=block)
        else:
            block[...] = 0


def _classes(window: Window, inputs: Sizes) -> Iterator[tuple[tuple, tuple, Window]]:
    """The inputs in classes, such that the gradient of each class is a convolution of the outputs' gradient, at stride 1.

    At stride s there are s of them per dimension, as input i is seen by the taps k with k ≡ i + padding (mod s) only. There are none
    for a stride and a dilation in one dimension.

    Yields:
        The inputs of a class, the taps that they are seen by, and how the reversed kernel of these taps slides over the outputs.
    """
    sides = []
    for n, (k, s, p, d) in zip(inputs, zip(*window)):
        if s > 1 and d > 1:
            return
        side = []
        for r in range(s):
            first, count = (r - p) % s, len(range(r, k, s))
            side.append((slice(first, n, s), slice(r, k, s), (count, 1, (count - 1) * d - (first + p - r) // s, d)))
        sides.append(side)
    for choice in itertools.product(*sides):
        places, taps, numbers = zip(*choice)
        yield (..., *places), (..., *taps), Window(*zip(*numbers))


# -- windows as an array of their own ----------------------------------------------------------------------------------

def unfold(x: Any, window: Window, outputs: Sizes) -> Any:
    """The windows of x, with zeros for padding: (N, C, *kernel, *outputs)."""
    y = zeros(namespace(x), (*x.shape[:2], *window.kernel, *outputs), x.dtype)
    for tap, outs, ins in window.taps(x.shape[2:], outputs):
        y[(slice(None), slice(None)) + tap][outs] = x[ins]
    return y


def fold(y: Any, window: Window, inputs: Sizes) -> Any:
    """The sum of windows (N, C, *kernel, *outputs), each at its place: (N, C, *inputs)."""
    x = zeros(namespace(y), (*y.shape[:2], *inputs), precision(y.dtype))
    for tap, outs, ins in window.taps(inputs, y.shape[2 + len(inputs):]):
        x[ins] += y[(slice(None), slice(None)) + tap][outs]
    return x.astype(y.dtype, copy=False)
