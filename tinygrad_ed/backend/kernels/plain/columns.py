"""Columns: the windows of images as the columns of a matrix, which makes convolution a matrix product."""
from __future__ import annotations

from functools import cached_property
from math import prod
from typing import Any, Iterator

import numpy as np

from ..products import product
from ..window import Sizes, Window
from .memory import Scratch, zeros

__all__: list[str] = []             # for the other kernels; no kernel itself

_CACHED = 2**19          # elements of a block's matrix, if it has _COLUMNS columns at least: then the products are efficient
_COLUMNS = 512
_ON_DEVICE = 2**26       # the same where few large products are better than many small ones
_MANY_OUTPUTS = 64       # outputs per image from which on a product for each image is efficient


def precision(dtype: np.dtype) -> np.dtype:
    """The dtype to compute in: float16 and bfloat16 are summed in float32."""
    return np.dtype("float32") if dtype.char in "eE" else dtype


class Columns:
    """The columns (groups, rows, images·outputs), made for a block of images at a time; a row for each channel and tap.

    In memory either a column's channels are next to each other (the matrix is then stored transposed) or the outputs of a line are,
    whatever gives longer runs to copy.

    Args:
        xp: the array module.
        shape: of the images, (N, C, *inputs).
        filters: how many there are, in all groups together.
        outputs: the sizes of a filter's output.
        window: how the kernel slides.
        groups: of channels and filters; each filter sees the channels of its group.
        dtype: of the images.
    """

    def __init__(self, xp: Any, shape: Sizes, filters: int, outputs: Sizes, window: Window, groups: int, dtype: np.dtype):
        self.xp, self.shape, self.outputs, self.window, self.groups = xp, shape, outputs, window, groups
        self.dtype = precision(dtype)
        self.channels, self.filters = shape[1] // groups, filters // groups        # of one group
        self.rows = self.channels * prod(window.kernel)
        n = len(outputs)
        outs, taps = range(3, 3 + n), range(3 + n, 3 + 2 * n)            # of (images, groups, channels, *outputs, *kernel)
        self.channels_last = 2 * self.channels >= outputs[-1]
        self.order = (1, 0, *outs, *taps, 2) if self.channels_last else (1, 2, *taps, 0, *outs)
        self.padded = tuple([max(p + size, reach) for p, size, reach in zip(window.padding, shape[2:], window.reach(outputs))])

        height, width = max(1, groups * self.rows), max(1, prod(outputs))
        wanted = max(_COLUMNS, (_CACHED if xp is np else _ON_DEVICE) // height)
        self.images_per_block = min(shape[0], max(1, wanted // width))
        self.lines_per_block = outputs[0] if width <= wanted else max(1, wanted * outputs[0] // width)
        self.longest = self.images_per_block * self.lines_per_block * prod(outputs[1:])

    @property
    def are_pixels(self) -> bool:
        """Whether an image is a matrix of columns already, so that nothing needs to be gathered."""
        return ({*self.window.kernel, *self.window.stride} == {1} and self.padded == self.shape[2:] == self.outputs
                and prod(self.outputs) >= _MANY_OUTPUTS)

    def images(self) -> Iterator[slice]:
        """The blocks of images."""
        return _blocks(self.shape[0], self.images_per_block)

    def lines(self) -> Iterator[slice]:
        """The blocks of outputs along the first dimension; several only where one image is too large."""
        return _blocks(self.outputs[0], self.lines_per_block)

    def matrix(self, weight: Any) -> Any:
        """The weight (O, C/groups, *kernel) as a matrix (groups, O/groups, rows), to multiply columns with."""
        if self.channels_last:
            weight = weight.transpose(0, *range(2, weight.ndim), 1)
        return weight.reshape(self.groups, self.filters, self.rows).astype(self.dtype, copy=False)

    def weight(self, matrix: Any) -> Any:
        """What `matrix` has made a matrix, as a weight again."""
        filters = self.groups * self.filters
        if not self.channels_last:
            return matrix.reshape(filters, self.channels, *self.window.kernel)
        matrix = matrix.reshape(filters, *self.window.kernel, self.channels)
        return self.xp.ascontiguousarray(matrix.transpose(0, matrix.ndim - 1, *range(1, matrix.ndim - 1)))

    def split(self, g: Any) -> Any:
        """A block (n, O, *outputs) as a matrix (groups, O/groups, n·outputs)."""
        return g.swapaxes(0, 1).reshape(self.groups, self.filters, prod(g.shape[2:]) * len(g)).astype(self.dtype, copy=False)

    # -- memory that every block uses again --------------------------------------------------------------------------

    @cached_property
    def _columns(self) -> Scratch:
        return Scratch(self.xp, self.groups * self.rows * self.longest, self.dtype)

    @cached_property
    def _products(self) -> Scratch:
        return Scratch(self.xp, self.groups * self.filters * self.longest, self.dtype)

    @cached_property
    def _frame(self) -> Any:
        """Zeros with a place for a block of images amid the padding, as (n, C, *padded)."""
        return self._zeros(self.padded)

    @cached_property
    def _total(self) -> Any:
        return self._zeros(self.shape[2:])

    def _zeros(self, sizes: Sizes) -> Any:
        if not self.channels_last:
            return zeros(self.xp, (self.images_per_block, self.shape[1], *sizes), self.dtype)
        y = zeros(self.xp, (self.images_per_block, *sizes, self.shape[1]), self.dtype)
        return y.transpose(0, y.ndim - 1, *range(1, y.ndim - 1))

    # -- from images to their columns, and back ----------------------------------------------------------------------

    def windows(self, x: Any) -> Any:
        """The windows of a block of images, a view (n, groups, channels, *outputs, *kernel)."""
        if self.padded != x.shape[2:] or (self.channels_last and x.strides[1] != x.itemsize):
            frame = self._frame[:len(x)]
            middle = (..., *[slice(p, p + n) for p, n in zip(self.window.padding, x.shape[2:])])
            frame[middle] = x
            x = frame
        steps = [[s * k for s, k in zip(x.strides[2:], by)] for by in (self.window.stride, self.window.dilation)]
        shape, strides = (*x.shape[:2], *self.outputs, *self.window.kernel), (*x.strides[:2], *steps[0], *steps[1])
        y = self.xp.lib.stride_tricks.as_strided(x, shape, strides)
        return y.reshape(len(x), self.groups, self.channels, *shape[2:])

    def gather(self, windows: Any) -> Any:
        """The columns of some windows: (groups, rows, n·outputs), with channels last (groups, n·outputs, rows)."""
        count, windows = len(windows) * prod(windows.shape[3:3 + len(self.outputs)]), windows.transpose(self.order)
        columns = self._columns(*windows.shape)
        columns[...] = windows
        return columns.reshape((self.groups, count, self.rows) if self.channels_last else (self.groups, self.rows, count))

    def filtered(self, windows: Any, matrix: Any, bias: Any) -> Any:
        """matrix·columns + bias for some windows: a block (n, O, *outputs)."""
        columns, n, outputs = self.gather(windows), len(windows), windows.shape[3:3 + len(self.outputs)]
        if self.channels_last:
            y = product(columns, matrix.swapaxes(1, 2), out=self._products(self.groups, columns.shape[1], self.filters))
            if bias is not None:
                y += bias.reshape(self.groups, 1, self.filters)
            y = y.reshape(self.groups, n, *outputs, self.filters)
            y = y.transpose(1, 0, y.ndim - 1, *range(2, y.ndim - 1))
        else:
            y = product(matrix, columns, out=self._products(self.groups, self.filters, columns.shape[2]))
            if bias is not None:
                y += bias.reshape(self.groups, self.filters, 1)
            y = y.reshape(self.groups, self.filters, n, *outputs)
            y = y.transpose(2, 0, 1, *range(3, y.ndim))
        return y.reshape(n, self.groups * self.filters, *y.shape[3:])

    def nothing(self, n: int) -> Any:
        """Zeros for `scatter` to add to, for n images: (n, groups, channels, *inputs)."""
        total = self._total[:n]
        total[...] = 0
        return total.reshape(n, self.groups, self.channels, *self.shape[2:])

    def scatter(self, matrix: Any, split: Any, total: Any, lines: slice) -> None:
        """Add the columns matrixᵀ·split to `total`, each where `gather` would take it from."""
        count, n = split.shape[2], len(total)
        if self.channels_last:
            columns = product(split.swapaxes(1, 2), matrix, out=self._columns(self.groups, count, self.rows))
        else:
            columns = product(matrix.swapaxes(1, 2), split, out=self._columns(self.groups, self.rows, count))
        outputs = (lines.stop - lines.start, *self.outputs[1:])
        shape = (n, self.groups, self.channels, *outputs, *self.window.kernel)
        taps_first = (*range(3 + len(outputs), len(shape)), *range(3 + len(outputs)))
        columns = columns.reshape([shape[i] for i in self.order]).transpose([self.order.index(i) for i in taps_first])
        above = self.window.padding[0] - lines.start * self.window.stride[0]
        window = self.window._replace(padding=(above, *self.window.padding[1:]))
        for tap, outs, ins in window.taps(self.shape[2:], outputs):
            total[ins] += columns[tap][outs]


def _blocks(n: int, size: int) -> Iterator[slice]:
    return (slice(i, min(i + size, n)) for i in range(0, n, max(1, size)))
