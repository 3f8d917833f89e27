"""Convolution on CUDA devices: by cuDNN where it is installed and has a plan for these sizes, else as products with gathered columns.

Where each filter sees one channel, our own kernels are used in any case (`depthwise`).
"""
from __future__ import annotations

from typing import Any

from ... import determinism, namespace
from ...precision import convolutions
from .. import plain
from ..window import Sizes, Window
from . import columns, cudnn
from .columns import with_bias
from .matmul import check_device

__all__ = ["conv_input", "conv_output", "conv_weight"]


def conv_output(x: Any, weight: Any, bias: Any, window: Window, groups: int, outputs: Sizes, out: Any = None) -> Any:
    """y[n, o, i] = bias[o] + Σ weight[o, c, k]·x[n, c, i·stride + k·dilation - padding], over channels c and taps k."""
    if out is not None:
        return plain.conv_output(x, weight, bias, window, groups, outputs, out)
    y = _by_cudnn("fprop", x, weight, (len(x), len(weight), *outputs), window, groups, x.shape[2:], outputs)
    return columns.conv_output(x, weight, bias, window, groups, outputs) if y is None else with_bias(y, bias)


def conv_weight(g: Any, x: Any, window: Window, groups: int) -> Any:
    """The gradient of the weight: Σ g[n, o, i]·x[n, c, i·stride + k·dilation - padding], over images n and outputs i."""
    shape = (g.shape[1], x.shape[1] // groups, *window.kernel)
    dw = _by_cudnn("wgrad", x, g, shape, window, groups, x.shape[2:], g.shape[2:])
    return columns.conv_weight(g, x, window, groups) if dw is None else dw


def conv_input(g: Any, weight: Any, bias: Any, window: Window, groups: int, inputs: Sizes) -> Any:
    """The gradient of the input, which is the transposed convolution; as such it can have a bias."""
    dx = _by_cudnn("dgrad", g, weight, (len(g), groups * weight.shape[1], *inputs), window, groups, inputs, g.shape[2:])
    return columns.conv_input(g, weight, bias, window, groups, inputs) if dx is None else with_bias(dx, bias)


def _by_cudnn(face: str, first: Any, second: Any, shape: Sizes, window: Window, groups: int, inputs: Sizes,
              outputs: Sizes) -> Any:
    """What cuDNN computes; None where it does not."""
    kind, channels = cudnn.DTYPES.get(first.dtype.char), (shape if face == "wgrad" else second.shape)[1]
    if kind is None or not convolutions.enabled or cudnn.frontend() is None or channels == 1 < groups:
        return None
    if 0 in (first.size, second.size, *shape) or not 1 <= len(inputs) <= 3:
        return None
    after = tuple([max(0, r - p - n) for r, p, n in zip(window.reach(outputs), window.padding, inputs)])
    if min(window.padding) < 0 or window.outputs(inputs, after) != outputs:
        return None
    check_device(first, second)
    xp, line = namespace(first), len(inputs) == 1     # cuDNN has no convolution of one dimension: one line of two

    def at_least_two(sizes: Sizes, one: int) -> Sizes:
        return (*sizes[:-1], one, sizes[-1]) if line else sizes

    what = cudnn.Convolution(
        face, kind, at_least_two(first.shape, 1), at_least_two(second.shape, 1), at_least_two(shape, 1), at_least_two(window.padding, 0),
        at_least_two(after, 0), at_least_two(window.stride, 1), at_least_two(window.dilation, 1), convolutions.allow_tf32,
        determinism.enabled() or convolutions.deterministic)
    first, second, result = xp.ascontiguousarray(first), xp.ascontiguousarray(second), xp.empty(shape, first.dtype)
    return result if cudnn.run(what, first.data.ptr, second.data.ptr, result.data.ptr) else None
