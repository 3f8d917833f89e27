"""Convolution and its two derivatives as direct sums; c/conv.c says how. `plain/conv.py` has the formulas.

Here are the tables which tell the loops where an output's window begins and where in it each tap is, and into which pieces the work is cut.
"""
from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .. import plain
from ..plain.conv import _classes
from ..window import Sizes, Window
from . import _native
from .arrays import fitted, rows_at_once

__all__ = ["conv_input", "conv_output", "conv_weight"]

_POSITIONS = 240         # as in c/conv.c: outputs of a piece
_ROWS = 48               # of a piece of the weight's gradient, at most
_MEMORY = 1 << 21        # bytes of framed images at a time, so that they stay in the processor's cache
_PIECES = 16             # that there should be at least, for as many threads
_LINE = 2048             # as in c/conv.c: positions at a time
_SLACK = 16              # as in c/conv.c: numbers behind the frames
_LINES = 4               # filters of a group up to which the loops go along the outputs


class Sums(NamedTuple):
    """The outputs of one set of taps: y[place[j]] = Σ_r x[position[j] + offset[r]]·w[row[r]]."""

    positions: np.ndarray
    offsets: np.ndarray
    rows: np.ndarray
    places: np.ndarray | None            # None: 0, 1, 2, ...
    run: int                             # so many outputs at a time have neighbouring positions and places


class Plan(NamedTuple):
    """How images lie in a frame of zeros, and which sums are taken there."""

    inputs: Sizes
    front: Sizes
    frame: Sizes
    sums: tuple[Sums, ...]

    def memory(self, x: Any, images: int, slack: int = 0) -> Any:
        """Memory for the frames of so many of the images, and so many numbers more; None where no frame is needed."""
        return np.empty(images * x.shape[1] * prod(self.frame) + slack, x.dtype) if self.frame != self.inputs or slack else None

    def framed(self, x: Any, memory: Any) -> Any:
        """The images x (N, C, *inputs) in their frames."""
        if memory is None:
            return x
        three = [(fill,) * (3 - len(sizes)) + sizes for sizes, fill in ((self.inputs, 1), (self.front, 0), (self.frame, 1))]
        _native.conv_frame(len(x) * x.shape[1], rows_at_once(prod(self.frame)), x, memory, *three[0], *three[1], *three[2])
        return memory

    def blocks(self, x: Any, more: int = 0) -> list[slice]:
        """The images that are framed at a time, where each needs `more` numbers besides."""
        n, size = len(x), x.shape[1] * prod(self.frame) + more
        at_once = min(n, max(1, _MEMORY // (size * x.itemsize)))
        return [slice(i, min(i + at_once, n)) for i in range(0, n, at_once)]


def _positions(sizes: Sizes, steps: Sizes, first: Sizes, whole: Sizes) -> np.ndarray:
    """Where in an array of sizes `whole` the elements first + i·steps are, i < sizes, in row-major order."""
    total = np.zeros((), "int64")
    for i, (n, step, start) in enumerate(zip(sizes, steps, first)):
        total = total[..., None] + (np.arange(n) * step + start) * prod(whole[i + 1:])
    return np.ascontiguousarray(total.reshape(-1))


def _run(sizes: Sizes, steps: Sizes) -> int:
    return sizes[-1] if steps[-1] == 1 and sizes[-1] <= _LINE else 1


@lru_cache(maxsize=256)
def _forward(window: Window, inputs: Sizes, outputs: Sizes, channels: int) -> Plan:
    """The plan of a convolution with so many channels in a group."""
    frame = tuple([max(p + n, reach) for p, n, reach in zip(window.padding, inputs, window.reach(outputs))])
    none = (0,) * len(inputs)
    offsets = _positions((channels, *window.kernel), (1, *window.dilation), (0, *none), (channels, *frame))
    sums = Sums(_positions(outputs, window.stride, none, frame), offsets, np.arange(len(offsets)), None, _run(outputs, window.stride))
    return Plan(inputs, window.padding, frame, (sums,))


@lru_cache(maxsize=256)
def _backward(window: Window, outputs: Sizes, inputs: Sizes, filters: int, channels: int) -> Plan | None:
    """The plan of the gradient of the inputs, which is a convolution of the outputs' gradient for each remainder of the stride."""
    classes, n = list(_classes(window, inputs)), len(inputs)
    if not classes:
        return None
    sizes = [tuple([len(range(*place.indices(m))) for place, m in zip(places[1:], inputs)]) for places, _, _ in classes]
    used = [(size, *parts) for size, parts in zip(sizes, classes) if prod(size) and prod(parts[2].kernel)]
    front = tuple([max([0, *[part.padding[i] for *_, part in used]]) for i in range(n)])
    frame = tuple([max([front[i] + outputs[i], *[front[i] - part.padding[i] + part.reach(size)[i] for size, *_, part in used]]) for i in range(n)])
    sums = []
    for size, places, taps, part in used:
        offsets = _positions((filters, *part.kernel), (1, *part.dilation), (0,) * (n + 1), (filters, *frame))
        numbers = np.arange(filters * channels * prod(window.kernel)).reshape(filters, channels, *window.kernel)[:, 0][taps]
        rows = np.flip(numbers, tuple(range(1, n + 1))).reshape(-1)
        start = tuple([f - p for f, p in zip(front, part.padding)])
        steps, first = tuple([place.step or 1 for place in places[1:]]), tuple([place.start or 0 for place in places[1:]])
        there = None if size == inputs else _positions(size, steps, first, inputs)
        sums.append(Sums(_positions(size, (1,) * n, start, frame), offsets, np.ascontiguousarray(rows), there, _run(size, steps)))
    return Plan(outputs, front, frame, tuple(sums))


class _Tile(NamedTuple):
    """One of the tiles in c/tile.h."""

    name: str
    bytes: int                           # of a row
    pointers: int


@lru_cache(maxsize=1)
def _tiles() -> tuple[_Tile, _Tile]:
    """The tiles for many filters and for few, on this machine."""
    if _native.instructions() == "AVX-512":
        return _Tile("wide", 128, 8), _Tile("medium", 64, 8)
    return (_Tile("narrow", 64, 6),) * 2


def _tile(filters: int, dtype: np.dtype) -> tuple[_Tile, int, int]:
    """Which tile suits so many filters, how many of them make a block, and how many blocks there are."""
    many, few = _tiles()
    chosen = few if filters * dtype.itemsize <= few.bytes else many
    width = chosen.bytes // dtype.itemsize
    return chosen, width, -(-filters // width)


# -- the three operations ----------------------------------------------------------------------------------------------

def conv_output(x: Any, weight: Any, bias: Any, window: Window, groups: int, outputs: Sizes, out: Any = None) -> Any:
    """y[n, o, i] = bias[o] + Σ weight[o, c, k]·x[n, c, i·stride + k·dilation - padding]."""
    suited = fitted(x, weight, bias) if len(outputs) <= 3 and x.size and weight.size and prod(outputs) and out is None else None
    if suited is None:
        return plain.conv_output(x, weight, bias, window, groups, outputs, out)
    x, weight, bias = suited
    y = np.empty((len(x), len(weight), *outputs), x.dtype)
    rows = weight[0].size
    _apply(_forward(window, x.shape[2:], outputs, weight.shape[1]), x, weight, bias, y, groups, len(weight) // groups * rows, rows)
    return y


def conv_input(g: Any, weight: Any, bias: Any, window: Window, groups: int, inputs: Sizes) -> Any:
    """The gradient of the input; as the transposed convolution it can have a bias."""
    suited = fitted(g, weight, bias) if len(inputs) <= 3 and g.size and weight.size and prod(inputs) else None
    plan = _backward(window, g.shape[2:], inputs, len(weight) // groups, weight.shape[1]) if suited else None
    if suited is None or plan is None:
        return plain.conv_input(g, weight, bias, window, groups, inputs)
    g, weight, bias = suited
    whole = len(plan.sums) == prod(window.stride)
    dx = np.empty((len(g), groups * weight.shape[1], *inputs), g.dtype)
    if not whole:                        # what no output sees
        dx[...] = 0 if bias is None else bias.reshape(-1, *[1] * len(inputs))
    _apply(plan, g, weight, bias, dx, groups, weight.size // groups, prod(window.kernel))
    return dx


def _apply(plan: Plan, x: Any, weight: Any, bias: Any, y: Any, groups: int, step: int, stride: int) -> None:
    """The sums of a plan: of filter o of a group with the weights at group·step + o·stride + rows."""
    channels, filters, plane = x.shape[1] // groups, y.shape[1] // groups, prod(y.shape[2:])
    size = channels * prod(plan.frame)
    along = filters <= _LINES
    (name, *_), width, blocks = _tile(filters, x.dtype)
    run = _native.conv_output_lines if along else getattr(_native, "conv_output_" + name)
    matrices = []
    for sums in plan.sums if not along else ():
        matrices.append(np.empty((groups * blocks, len(sums.rows), width), x.dtype))
        _native.conv_matrix(groups * blocks, rows_at_once(len(sums.rows) * width), weight, matrices[-1], sums.rows, len(sums.rows), width, blocks,
                            filters, step, stride)
    parts = plan.blocks(x)
    memory = plan.memory(x, parts[0].stop, _SLACK if along else 0)
    for images in parts:
        frames, part = plan.framed(x[images], memory), y[images]
        for k, sums in enumerate(plan.sums):
            n, rows = len(sums.positions), len(sums.rows)
            if along:
                run(len(part) * groups * filters, rows_at_once(n, rows), frames, weight, bias, part, sums.positions, sums.offsets, sums.places,
                    sums.rows, n, sums.run, rows, groups, filters, size, plane, step, stride)
                continue
            pieces = -(-n // _POSITIONS)
            run(len(part) * groups * blocks * pieces, rows_at_once(-(-n // pieces), rows), frames, matrices[k], bias, part, sums.positions,
                sums.offsets, sums.places, pieces, n, rows, groups, blocks, filters, size, plane)


def conv_weight(g: Any, x: Any, window: Window, groups: int) -> Any:
    """The gradient of the weight."""
    suited = fitted(g, x) if g.ndim <= 5 and g.size and x.size and prod(window.kernel) else None
    if suited is None:
        return plain.conv_weight(g, x, window, groups)
    g, x = suited
    channels, filters = x.shape[1] // groups, g.shape[1] // groups
    plan = _forward(window, x.shape[2:], g.shape[2:], channels)
    sums, = plan.sums
    n, rows, size = len(sums.positions), len(sums.rows), channels * prod(plan.frame)
    dw = np.empty((g.shape[1], channels, *window.kernel), x.dtype)
    if filters <= _LINES:
        blocks = plan.blocks(x)
        share, shares = _shares(blocks, len(dw))
        parts, memory = np.zeros((shares, *dw.shape), x.dtype), plan.memory(x, blocks[0].stop, _SLACK)
        for images in blocks:
            count = images.stop - images.start
            _native.conv_weight_lines(-(-count // share) * len(dw), rows_at_once(n * share, rows), plan.framed(x[images], memory), g[images], parts,
                                      sums.positions, sums.offsets, share, count, n, sums.run, rows, groups, filters, size)
        return parts.sum(axis=0) if len(parts) > 1 else parts[0]
    (name, _, pointers), width, per_group = _tile(filters, x.dtype)
    run, all_filters = getattr(_native, "conv_weight_" + name), groups * per_group
    length = min(max(rows * all_filters // _PIECES, 1), _ROWS)
    length, pieces = -(-length // pointers) * pointers, -(-rows // (-(-length // pointers) * pointers))
    blocks = plan.blocks(x, all_filters * n * width)
    share, shares = _shares(blocks, all_filters * pieces)
    parts, memory = np.zeros((shares, all_filters, rows, width), x.dtype), plan.memory(x, blocks[0].stop)
    turned = np.empty((blocks[0].stop, all_filters, n, width), x.dtype)
    for images in blocks:
        count = images.stop - images.start
        _native.conv_turned(count * all_filters, rows_at_once(n * width), g[images], turned, n, width, per_group, filters)
        run(-(-count // share) * all_filters * pieces, rows_at_once(n * share, length), plan.framed(x[images], memory), turned, parts,
            sums.positions, sums.offsets, share, count, length, n, rows, groups, per_group, size)
    _native.conv_weight_total(len(dw), rows_at_once(rows * shares), parts, dw, shares, rows, width, groups, per_group, filters)
    return dw


def _shares(blocks: list[slice], pieces: int) -> tuple[int, int]:
    """How many images of a block make a share, if its work is in so many pieces already, and how many shares that are."""
    most = blocks[0].stop
    share = -(-most // min(most, -(-_PIECES // pieces)))
    return share, -(-most // share)
