"""Convolution where each filter sees one channel, by CUDA kernels that sum directly: one launch each, two for the weight's gradient."""
from __future__ import annotations

from math import prod
from typing import Any

from ..window import Sizes, Window
from .launch import elements, launch, like, wide
from .windows import sides

__all__ = ["conv_input", "conv_output", "conv_weight", "suits"]

_TAPS = 9                # as in source/depthwise.cu
_THREADS = 256
_BLOCKS = 1024           # as many are wanted in a grid
_LEAST = 2048            # outputs of a piece of the weight's gradient


def suits(weight: Any, groups: int) -> bool:
    """Whether each filter sees one channel, of several."""
    return weight.shape[1] == 1 and groups > 1


def conv_output(x: Any, weight: Any, bias: Any, window: Window, groups: int, outputs: Sizes) -> Any:
    """As in columns.py, for contiguous arrays of one dtype."""
    y = like(x, shape=(len(x), len(weight), *outputs))
    launch("depthwise", "depthwise_output", x.dtype, elements(y.size), x, weight, bias, y, len(x), groups, len(weight) // groups,
           *sides(window, x.shape[2:], outputs))
    return y


def conv_input(g: Any, weight: Any, bias: Any, window: Window, groups: int, inputs: Sizes) -> Any:
    """As in columns.py, for contiguous arrays of one dtype."""
    dx = like(g, shape=(len(g), groups, *inputs))
    launch("depthwise", "depthwise_input", g.dtype, elements(dx.size), g, weight, bias, dx, len(g), groups, len(weight) // groups,
           *sides(window, inputs, g.shape[2:]))
    return dx


def conv_weight(g: Any, x: Any, window: Window) -> Any:
    """As in columns.py, for contiguous arrays of one dtype."""
    (images, channels, *inputs), filters, outputs, taps = x.shape, g.shape[1], g.shape[2:], prod(window.kernel)
    items, tiles = images * prod(outputs), filters * -(-taps // _TAPS)
    pieces = max(1, min(_BLOCKS // tiles, items // _LEAST))
    piece = -(-items // pieces)
    pieces = -(-items // piece)
    parts, dw = like(x, wide(x), (pieces, filters, 1, *window.kernel)), like(x, shape=(filters, 1, *window.kernel))
    launch("depthwise", "depthwise_weight", x.dtype, ((tiles, pieces), (_THREADS,)), g, x, parts, images, channels, filters // channels, piece,
           *sides(window, tuple(inputs), outputs))
    if pieces == 1 and parts.dtype == x.dtype:
        return parts[0]
    launch("depthwise", "add_pieces", x.dtype, elements(dw.size), parts, dw, dw.size, pieces)
    return dw
