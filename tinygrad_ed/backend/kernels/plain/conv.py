"""Convolution in any number of dimensions as matrix products, its two derivatives, and the windows themselves (unfold, fold).

With the windows of x as the columns of a matrix X, and the weights as a matrix W with a row per filter, convolution is Y = W X. Its
derivatives are dW = dY Xᵀ and dX = Wᵀ dY, whose columns are then added back to where the windows came from. The matrix X is never there
as a whole: a block of images at a time is gathered and multiplied while it is in the processor's cache.

Shapes: x (N, C, *inputs), y (N, O, *outputs), weight (O, C/groups, *kernel), bias (O).
"""
from __future__ import annotations

from functools import cached_property
from math import prod
from typing import Any, Iterator

import numpy as np

from ... import namespace
from ..window import Sizes, Window
from .memory import Scratch, empty, zeros

__all__ = ["conv", "conv_input", "conv_weight", "fold", "unfold"]

_CACHED = 2**18          # elements of a block's matrix, if it has _COLUMNS columns at least: then the products are efficient
_COLUMNS = 512
_LONG_RUNS = 8           # channels per group from which on they come last in memory, as long runs to copy
_MANY_OUTPUTS = 64       # outputs per image from which on a product for each image is efficient


def conv(x: Any, weight: Any, bias: Any, window: Window, groups: int, outputs: Sizes) -> Any:
    """y[n, o, i] = b[o] + Σ weight[o, c, k]·x[n, c, i·stride + k·dilation - padding], over channels c and taps k."""
    xp = namespace(x)
    y = empty(xp, (x.shape[0], weight.shape[0], *outputs), x.dtype)
    columns = _Columns(xp, x.shape, outputs, window, groups, x.dtype)
    matrix = columns.matrix(weight)
    bias = None if bias is None else bias.reshape(groups, -1, 1)
    if _is_pointwise(window, outputs):
        part = y.reshape(len(x), groups, -1, prod(outputs))
        xp.matmul(matrix, x.reshape(len(x), groups, -1, prod(outputs)), out=part)
        if bias is not None:
            part += bias
        return y
    scratch = Scratch(xp, len(weight) * columns.longest, columns.dtype)
    for images in columns.images():
        windows = columns.windows(x[images])
        for lines in columns.lines():
            seen = columns.gather(windows, lines)
            part = xp.matmul(matrix, seen, out=scratch(groups, matrix.shape[1], seen.shape[2]))
            if bias is not None:
                part += bias
            block = y[images, :, lines].swapaxes(0, 1)
            block[...] = part.reshape(block.shape)
    return y


def conv_weight(g: Any, x: Any, window: Window, groups: int) -> Any:
    """The gradient of the weight: Σ g[n, o, i]·x[n, c, i·stride + k·dilation - padding], over images n and outputs i."""
    xp = namespace(x)
    columns = _Columns(xp, x.shape, g.shape[2:], window, groups, x.dtype)
    total = zeros(xp, (groups, g.shape[1] // groups, columns.rows), columns.dtype)
    for images in columns.images():
        windows = columns.windows(x[images])
        for lines in columns.lines():
            seen = columns.gather(windows, lines)
            total += xp.matmul(columns.filters(g[images, :, lines]), seen.swapaxes(1, 2))
    return columns.weight(total).astype(x.dtype, copy=False)


def conv_input(g: Any, weight: Any, bias: Any, window: Window, groups: int, inputs: Sizes) -> Any:
    """The gradient of the input, which is the transposed convolution; as such it can have a bias."""
    xp = namespace(g)
    dx = empty(xp, (len(g), weight.shape[1] * groups, *inputs), g.dtype)
    columns = _Columns(xp, dx.shape, g.shape[2:], window, groups, g.dtype)
    matrix = columns.matrix(weight)
    bias = None if bias is None else bias.reshape(groups, -1, *[1] * len(inputs))
    if _is_pointwise(window, inputs):
        total = dx.reshape(len(g), groups, -1, *inputs)
        xp.matmul(matrix.swapaxes(1, 2), g.reshape(len(g), groups, -1, prod(inputs)), out=dx.reshape(len(g), groups, -1, prod(inputs)))
        if bias is not None:
            total += bias
        return dx
    for images in columns.images():
        block = dx[images].reshape(-1, groups, weight.shape[1], *inputs)
        total = columns.nothing(len(block))
        for lines in columns.lines():
            columns.scatter(matrix, columns.filters(g[images, :, lines]), total, lines)
        if bias is not None:
            total += bias
        block[...] = total
    return dx


class _Columns:
    """Windows as the columns of a matrix (groups, channels·taps, images·outputs), made for a block of images at a time.

    In memory a column's channels are next to each other where a group has enough of them for long runs to copy; else outputs are.
    """

    def __init__(self, xp: Any, shape: Sizes, outputs: Sizes, window: Window, groups: int, dtype: np.dtype):
        self.xp, self.shape, self.outputs, self.window, self.groups = xp, shape, outputs, window, groups
        self.dtype = _work(dtype)
        self.channels = shape[1] // groups
        self.rows = self.channels * prod(window.kernel)
        n = len(outputs)
        outs, taps = range(3, 3 + n), range(3 + n, 3 + 2 * n)            # of (images, groups, channels, *outputs, *kernel)
        self.channels_last = self.channels >= _LONG_RUNS
        self.order = (1, 0, *outs, *taps, 2) if self.channels_last else (1, 2, *taps, 0, *outs)

        height = max(1, groups * self.rows)
        wanted = max(_COLUMNS, _CACHED // height) if xp is np else max(_COLUMNS, _CACHED // height * 256)
        per_line = max(1, prod(outputs[1:]))
        self.images_per_block = min(shape[0], max(1, wanted // max(1, prod(outputs))))
        self.lines_per_block = outputs[0] if prod(outputs) <= wanted else max(1, wanted // per_line)
        self.longest = self.images_per_block * self.lines_per_block * per_line

    def images(self) -> Iterator[slice]:
        """The blocks of images."""
        return _blocks(self.shape[0], self.images_per_block)

    def lines(self) -> Iterator[slice]:
        """The blocks of outputs along the first dimension; several only where one image is too large."""
        return _blocks(self.outputs[0], self.lines_per_block)

    def matrix(self, weight: Any) -> Any:
        """The weight (O, C/groups, *kernel) as a matrix (groups, O/groups, rows) that multiplies columns."""
        if self.channels_last:
            weight = weight.transpose(0, *range(2, weight.ndim), 1)
        return weight.reshape(self.groups, weight.shape[0] // self.groups, self.rows).astype(self.dtype, copy=False)

    def weight(self, matrix: Any) -> Any:
        """The matrix of `matrix` as a weight again."""
        filters = matrix.shape[0] * matrix.shape[1]
        if not self.channels_last:
            return matrix.reshape(filters, self.channels, *self.window.kernel)
        matrix = matrix.reshape(filters, *self.window.kernel, self.channels)
        return self.xp.ascontiguousarray(matrix.transpose(0, matrix.ndim - 1, *range(1, matrix.ndim - 1)))

    def filters(self, g: Any) -> Any:
        """A block (n, O, *outputs) as a matrix (groups, O/groups, n·outputs)."""
        return g.swapaxes(0, 1).reshape(self.groups, g.shape[1] // self.groups, -1).astype(self.dtype, copy=False)

    @cached_property
    def scratch(self) -> Scratch:
        return Scratch(self.xp, self.groups * self.rows * self.longest, self.dtype)

    @cached_property
    def frame(self) -> Any:
        """Zeros around the place for a block of images, as (n, C, *padded)."""
        padded = [max(p + n, reach) for p, n, reach in zip(self.window.padding, self.shape[2:], self.window.reach(self.outputs))]
        return self._zeros(self.images_per_block, self.shape[1], padded)

    @cached_property
    def total(self) -> Any:
        return self._zeros(self.images_per_block, self.shape[1], self.shape[2:])

    def _zeros(self, n: int, channels: int, sizes: Any) -> Any:
        if not self.channels_last:
            return zeros(self.xp, (n, channels, *sizes), self.dtype)
        y = zeros(self.xp, (n, *sizes, channels), self.dtype)
        return y.transpose(0, y.ndim - 1, *range(1, y.ndim - 1))

    def windows(self, x: Any) -> Any:
        """The windows of a block of images, a view (n, groups, channels, *outputs, *kernel)."""
        if self.frame.shape[2:] != x.shape[2:] or (self.channels_last and x.strides[1] != x.itemsize):
            frame = self.frame[:len(x)]
            frame[(..., *[slice(p, p + n) for p, n in zip(self.window.padding, x.shape[2:])])] = x
            x = frame
        y = _windows(x, self.window, self.outputs)
        return y.reshape(len(x), self.groups, self.channels, *y.shape[2:])

    def gather(self, windows: Any, lines: slice) -> Any:
        """The columns of some windows: a matrix (groups, rows, columns)."""
        windows = windows[:, :, :, lines].transpose(self.order)
        columns = self.scratch(*windows.shape)
        columns[...] = windows
        if self.channels_last:
            return columns.reshape(self.groups, -1, self.rows).swapaxes(1, 2)
        return columns.reshape(self.groups, self.rows, -1)

    def nothing(self, n: int) -> Any:
        """Zeros for `scatter` to add to, for n images: (n, groups, channels, *inputs)."""
        total = self.total[:n]
        total[...] = 0
        return total.reshape(n, self.groups, self.channels, *self.shape[2:])

    def scatter(self, matrix: Any, filters: Any, total: Any, lines: slice) -> None:
        """Add the columns matrixᵀ·filters to `total`, each where `gather` would take it from."""
        count, n = filters.shape[2], len(total)
        if self.channels_last:
            columns = self.xp.matmul(filters.swapaxes(1, 2), matrix, out=self.scratch(self.groups, count, self.rows))
        else:
            columns = self.xp.matmul(matrix.swapaxes(1, 2), filters, out=self.scratch(self.groups, self.rows, count))
        outputs = (lines.stop - lines.start, *self.outputs[1:])
        shape = (n, self.groups, self.channels, *outputs, *self.window.kernel)
        columns = columns.reshape([shape[i] for i in self.order]).transpose(np.argsort(self.order))
        above = self.window.padding[0] - lines.start * self.window.stride[0]
        window = self.window._replace(padding=(above, *self.window.padding[1:]))
        for tap, outs, ins in window.taps(self.shape[2:], outputs):
            total[(..., *ins)] += columns[(slice(None), slice(None), slice(None), *outs, *tap)]


def _blocks(n: int, size: int) -> Iterator[slice]:
    return (slice(i, min(i + size, n)) for i in range(0, n, max(1, size)))


def _work(dtype: np.dtype) -> np.dtype:
    """The precision to compute in: float16 is summed in float32."""
    return np.dtype("float32") if dtype.char == "e" else dtype


def _is_pointwise(window: Window, outputs: Sizes) -> bool:
    """Whether an image's pixels are its columns already, so that nothing needs to be gathered."""
    return {*window.kernel, *window.stride} == {1} and not any(window.padding) and prod(outputs) >= _MANY_OUTPUTS


def _windows(x: Any, window: Window, outputs: Sizes) -> Any:
    """All windows of a padded array, as a view (N, C, *outputs, *kernel)."""
    steps = [s * n for s, n in zip(x.strides[2:], window.stride)], [s * n for s, n in zip(x.strides[2:], window.dilation)]
    return namespace(x).lib.stride_tricks.as_strided(x, (*x.shape[:2], *outputs, *window.kernel), (*x.strides[:2], *steps[0], *steps[1]))


# -- windows as an array of their own ----------------------------------------------------------------------------------

def unfold(x: Any, window: Window, outputs: Sizes) -> Any:
    """The windows of x, with zeros for padding: (N, C, *kernel, *outputs)."""
    y = zeros(namespace(x), (*x.shape[:2], *window.kernel, *outputs), x.dtype)
    for tap, outs, ins in window.taps(x.shape[2:], outputs):
        y[(slice(None), slice(None), *tap, *outs)] = x[(..., *ins)]
    return y


def fold(y: Any, window: Window, inputs: Sizes) -> Any:
    """The sum of windows (N, C, *kernel, *outputs), each at its place: (N, C, *inputs)."""
    x = zeros(namespace(y), (*y.shape[:2], *inputs), _work(y.dtype))
    for tap, outs, ins in window.taps(inputs, y.shape[2 + len(inputs):]):
        x[(..., *ins)] += y[(slice(None), slice(None), *tap, *outs)]
    return x.astype(y.dtype, copy=False)
