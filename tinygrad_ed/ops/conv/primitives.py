"""The three faces of convolution: output, weight and input, each a bilinear function of the other two.

With y = conv(x, w), the number Σ g·y is linear in each of g, w and x. Its derivative with respect to one of them is a convolution of the
other two, so the three operations here are each other's derivatives, to any order.
"""
from __future__ import annotations

from typing import Any

from ...autograd.op import op
from ...backend.kernels import kernels
from ..broadcast import expand_to, reshape_to

conv_output = op("conv", lambda x, weight, bias=None, *, window, groups, outputs: (
                     kernels(x).conv_output(x, weight, bias, window, groups, outputs)),
                 match=("x", "weight", "bias"),
                 x=lambda g, weight, x_shape, window, groups: conv_input(g, weight, window=window, groups=groups, inputs=x_shape[2:]),
                 weight=lambda g, x, window, groups: conv_weight(g, x, window=window, groups=groups),
                 bias=lambda g: _channel_sums(g),
                 doc="y[n, o, i] = bias[o] + Σ weight[o, c, k]·x[n, c, i·stride + k·dilation - padding].")

conv_input = op("conv_transpose", lambda x, weight, bias=None, *, window, groups, inputs: (
                    kernels(x).conv_input(x, weight, bias, window, groups, inputs)),
                match=("x", "weight", "bias"),
                x=lambda g, weight, x_shape, window, groups: conv_output(g, weight, window=window, groups=groups, outputs=x_shape[2:]),
                weight=lambda g, x, window, groups: conv_weight(x, g, window=window, groups=groups),
                bias=lambda g: _channel_sums(g),
                doc="The gradient of conv's input where x is that of its output: the transposed convolution.")

conv_weight = op("conv_weight", lambda a, b, *, window, groups: kernels(a).conv_weight(a, b, window, groups), match=("a", "b"),
                 a=lambda g, b, a_shape, window, groups: conv_output(b, g, window=window, groups=groups, outputs=a_shape[2:]),
                 b=lambda g, a, b_shape, window, groups: conv_input(a, g, window=window, groups=groups, inputs=b_shape[2:]),
                 doc="The gradient of conv's weight, where a is that of its output and b its input.")

_channel_sums = op("channel_sums", lambda xp, x: _sums(xp, x), x=lambda g, x_shape: _spread(g, x_shape),
                   doc="Σ x[n, c, ...] over all but the channels: two products with ones, which BLAS does several times faster than a sum.")


def _sums(xp: Any, x: Any) -> Any:
    rows = x.reshape(x.shape[0] * x.shape[1], -1) if x.size else xp.zeros((x.shape[0] * x.shape[1], 0), x.dtype)
    rows = rows.astype("float32") if x.dtype.char in "eE" else rows
    sums = kernels(x).matmul(rows, xp.ones(rows.shape[1], rows.dtype)).reshape(x.shape[:2])
    return sums.sum(axis=0).astype(x.dtype, copy=False)


def _spread(g: Any, shape: tuple) -> Any:
    return expand_to(reshape_to(g, shape=(1, -1, *[1] * (len(shape) - 2))), shape=shape)
