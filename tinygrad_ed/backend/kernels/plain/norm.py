"""Normalisation: x minus its mean, divided by its standard deviation, over the batch, a row or a group of channels; and the derivatives.

With d = x - mean, r = 1/√(var + ε) and y = d·r·w + b, where the mean and the variance of n elements depend on x,

    dL/dx = r·(h - Σh/n - d·r²·Σ(h·d)/n)    with h = g·w,        dL/dw = Σ g·d·r,        dL/db = Σ g.

With a ReLU behind it, g is 0 where y is not above 0; y is computed again for that rather than kept.

The work is done in blocks that stay in the processor's cache; sums are matrix products, which take a third of the time of `sum`.
"""
from __future__ import annotations

from typing import Any, Iterator

import numpy as np

from ... import namespace
from .activation import select, wide
from .memory import Scratch, empty

__all__ = ["batch_norm", "batch_norm_backward", "batch_norm_relu", "batch_norm_relu_backward", "fixed_norm", "group_norm",
           "group_norm_backward", "layer_norm", "layer_norm_backward", "rms_norm", "rms_norm_backward"]

BLOCK = 1 << 16          # elements of a block
LONG = 256               # positions per channel from which on they are summed channel by channel


def _dot(xp: Any, a: Any, b: Any) -> Any:
    """Σ a·b over the last dimension."""
    return xp.vecdot(a, b) if xp is np else (a * b).sum(axis=-1)


# -- over the batch ----------------------------------------------------------------------------------------------------

class _Channels:
    """A way to run over (N, C, …) in blocks of whole channels, and to sum over all that belongs to one.

    A block is (N, k, L) where a channel has many positions L, and (N, k·L), with what belongs to a channel repeated L times, where it has few.
    """

    def __init__(self, x: Any):
        self.xp = namespace(x)
        self.n, self.channels = x.shape[:2]
        self.length = x[0, 0].size if x.size else 0
        self.count = self.n * self.length
        self.long = self.length >= LONG
        self.ones = self.xp.ones(self.length if self.long else self.n, x.dtype)
        some = max(1, BLOCK // max(self.count, 1), 0 if self.long else LONG // max(self.length, 1))
        self.size = min(some, self.channels) if self.xp is np else self.channels
        self.scratch = Scratch(self.xp, self.size * self.count, x.dtype)

    def __iter__(self) -> Iterator[slice]:
        return iter([slice(c, min(c + self.size, self.channels)) for c in range(0, self.channels if self.count else 0, max(self.size, 1))])

    def block(self, x: Any, chosen: slice) -> Any:
        """The chosen channels of an array."""
        if self.long:
            return x.reshape(self.n, self.channels, self.length)[:, chosen]
        return x.reshape(self.n, -1)[:, chosen.start * self.length:chosen.stop * self.length]

    def like(self, block: Any) -> Any:
        """Memory for a block's intermediate values."""
        return self.scratch(*block.shape)

    def sum(self, block: Any) -> Any:
        """The sum of each channel."""
        if self.long:
            return (block @ self.ones).sum(axis=0)
        return (self.ones @ block).reshape(-1, self.length).sum(axis=1)

    def dot(self, a: Any, b: Any) -> Any:
        """The sum of a·b in each channel."""
        return _dot(self.xp, a, b).sum(axis=0) if self.long else self.sum(a * b)

    def along(self, values: Any) -> Any:
        """Values of the channels, in a shape that broadcasts with a block."""
        return values[:, None] if self.long else values if self.length == 1 else self.xp.repeat(values, self.length)


def batch_norm(x: Any, weight: Any, bias: Any, eps: float) -> tuple:
    """y = (x - mean)/√(var + ε)·weight + bias for x of shape (N, C, …), and the mean and variance of each channel."""
    return by_batch(x, weight, bias, eps, False)


def batch_norm_backward(g: Any, x: Any, weight: Any, mean: Any, var: Any, eps: float, needs: tuple) -> tuple:
    """The derivatives of `batch_norm` with respect to x, weight and bias."""
    return by_batch_backward(g, x, weight, None, mean, var, eps, needs, False)


def batch_norm_relu(x: Any, weight: Any, bias: Any, eps: float) -> tuple:
    """`batch_norm`, but of y the ReLU, in the same passes over memory."""
    return by_batch(x, weight, bias, eps, True)


def batch_norm_relu_backward(g: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float, needs: tuple) -> tuple:
    """The derivatives of `batch_norm_relu` with respect to x, weight and bias."""
    return by_batch_backward(g, x, weight, bias, mean, var, eps, needs, True)


def by_batch(x: Any, weight: Any, bias: Any, eps: float, relu: bool) -> tuple:
    """`batch_norm`, with a ReLU or without."""
    xp, dtype = namespace(x), x.dtype
    x, weight, bias = xp.ascontiguousarray(wide(x)), wide(weight), wide(bias)
    run = _Channels(x)
    y, mean, var = empty(xp, x.shape, x.dtype), *(xp.zeros(x.shape[1], x.dtype) for _ in range(2))
    for c in run:
        seen = run.block(x, c)
        mean[c] = run.sum(seen) / run.count
        d = xp.subtract(seen, run.along(mean[c]), out=run.like(seen))
        var[c] = run.dot(d, d) / run.count
        scale = 1 / xp.sqrt(var[c] + eps)
        d *= run.along(scale if weight is None else scale * weight[c])
        out = run.block(y, c)
        if bias is None:
            out[...] = d
        else:
            xp.add(d, run.along(bias[c]), out=out)
        if relu:
            xp.maximum(out, 0, out=out)
    return y.astype(dtype, copy=False), mean, var


def by_batch_backward(g: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float, needs: tuple, relu: bool) -> tuple:
    """The derivatives of `by_batch` with respect to x, weight and bias, whose value counts only with a ReLU."""
    xp, dtype = namespace(x), x.dtype
    g, x, weight, bias = xp.ascontiguousarray(wide(g)), xp.ascontiguousarray(wide(x)), wide(weight), wide(bias)
    run = _Channels(x)
    rstd = 1 / xp.sqrt(var + eps)
    scale = rstd if weight is None else rstd * weight
    dx = empty(xp, x.shape, x.dtype) if needs[0] else None
    sums, dots = (xp.zeros(x.shape[1], x.dtype) for _ in range(2))
    for c in run:
        seen, coming = run.block(x, c), run.block(g, c)
        d = xp.subtract(seen, run.along(mean[c]), out=run.like(seen))
        if relu:
            y = d * run.along(scale[c])
            if bias is not None:
                y += run.along(bias[c])
            coming = select(y > 0, coming)
        sums[c], dots[c] = run.sum(coming), run.dot(coming, d)
        if dx is not None:
            d *= run.along(dots[c] * rstd[c] ** 2 / run.count)
            d += run.along(sums[c] / run.count)
            xp.subtract(coming, d, out=d)
            xp.multiply(d, run.along(scale[c]), out=run.block(dx, c))
    dots *= rstd
    return None if dx is None else dx.astype(dtype, copy=False), dots.astype(dtype, copy=False), sums.astype(dtype, copy=False)


def fixed_norm(x: Any, mean: Any, scale: Any, bias: Any, relu: bool = False) -> Any:
    """y = (x - mean)·scale + bias with values of the channels that are given, in a shape that broadcasts with x; or its ReLU."""
    y = x - mean
    y *= scale
    if bias is not None:
        y += bias
    return namespace(x).maximum(y, 0, out=y) if relu else y


# -- over rows ---------------------------------------------------------------------------------------------------------

def _rows(xp: Any, x: Any) -> list[slice]:
    """Slices of an array's first dimension, a block of each."""
    step = max(1, BLOCK // max(x[:1].size, 1)) if xp is np else max(len(x), 1)
    return [slice(i, i + step) for i in range(0, len(x), step)]


def layer_norm(x: Any, weight: Any, bias: Any, dims: int, eps: float) -> tuple:
    """y = (x - mean)/√(var + ε)·weight + bias over the last `dims` dimensions, and the mean and 1/√(var + ε) of each row."""
    xp, shape, dtype = namespace(x), x.shape, x.dtype
    x, weight, bias = _matrix(x, dims), _flat(weight), _flat(bias)
    y, mean, rstd = empty(xp, x.shape, x.dtype), *(empty(xp, (len(x), 1), x.dtype) for _ in range(2))
    share = _share(xp, x)
    for r in _rows(xp, x):
        mean[r, 0] = x[r] @ share
        d = xp.subtract(x[r], mean[r], out=y[r])
        rstd[r, 0] = 1 / xp.sqrt(_dot(xp, d, d) / x.shape[1] + eps)
        d *= rstd[r]
        if weight is not None:
            d *= weight
        if bias is not None:
            d += bias
    return y.reshape(shape).astype(dtype, copy=False), mean, rstd


def layer_norm_backward(g: Any, x: Any, weight: Any, mean: Any, rstd: Any, dims: int, needs: tuple) -> tuple:
    """The derivatives of `layer_norm` with respect to x, weight and bias."""
    xp, shape, dtype = namespace(x), x.shape, x.dtype
    g, x, weight = _matrix(g, dims), _matrix(x, dims), _flat(weight)
    dx, (dw, db) = empty(xp, x.shape, x.dtype), (xp.zeros(x.shape[1], x.dtype) for _ in range(2))
    share = _share(xp, x) if weight is None else weight / max(x.shape[1], 1)
    for r in _rows(xp, x):
        d, out = x[r] - mean[r], dx[r]
        xp.multiply(g[r], d, out=out)
        dw += rstd[r, 0] @ out
        db += xp.ones(len(out), x.dtype) @ g[r]
        if needs[0]:
            d *= (out @ share)[:, None] * rstd[r] ** 2
            d += (g[r] @ share)[:, None]
            xp.subtract(g[r] if weight is None else xp.multiply(g[r], weight, out=out), d, out=out)
            out *= rstd[r]
    return dx.reshape(shape).astype(dtype, copy=False), *[d.reshape(shape[len(shape) - dims:]).astype(dtype, copy=False) for d in (dw, db)]


def rms_norm(x: Any, weight: Any, dims: int, eps: float) -> tuple:
    """y = x/√(mean(x²) + ε)·weight over the last `dims` dimensions, and 1/√(mean(x²) + ε) of each row."""
    xp, shape, dtype = namespace(x), x.shape, x.dtype
    x, weight = _matrix(x, dims), _flat(weight)
    y, rstd = empty(xp, x.shape, x.dtype), empty(xp, (len(x), 1), x.dtype)
    for r in _rows(xp, x):
        rstd[r, 0] = 1 / xp.sqrt(_dot(xp, x[r], x[r]) / max(x.shape[1], 1) + eps)
        xp.multiply(x[r], rstd[r], out=y[r])
        if weight is not None:
            y[r] *= weight
    return y.reshape(shape).astype(dtype, copy=False), rstd


def rms_norm_backward(g: Any, x: Any, weight: Any, rstd: Any, dims: int, needs: tuple) -> tuple:
    """The derivatives of `rms_norm` with respect to x and weight: r·(h - x·r²·Σ(h·x)/n) with h = g·w, and Σ g·x·r."""
    xp, shape, dtype = namespace(x), x.shape, x.dtype
    g, x, weight = _matrix(g, dims), _matrix(x, dims), _flat(weight)
    dx, dw = empty(xp, x.shape, x.dtype), xp.zeros(x.shape[1], x.dtype)
    share = _share(xp, x) if weight is None else weight / max(x.shape[1], 1)
    for r in _rows(xp, x):
        out = xp.multiply(g[r], x[r], out=dx[r])
        dw += rstd[r, 0] @ out
        if needs[0]:
            d = x[r] * ((out @ share)[:, None] * rstd[r] ** 2)
            xp.subtract(g[r] if weight is None else xp.multiply(g[r], weight, out=out), d, out=out)
            out *= rstd[r]
    return dx.reshape(shape).astype(dtype, copy=False), dw.reshape(shape[len(shape) - dims:]).astype(dtype, copy=False)


# -- over groups of channels -------------------------------------------------------------------------------------------

def group_norm(x: Any, weight: Any, bias: Any, groups: int, eps: float) -> tuple:
    """As `layer_norm` for x of shape (N, C, …) over each sample's groups of C/groups channels, with a weight and a bias for each channel."""
    xp, shape, dtype = namespace(x), x.shape, x.dtype
    x, weight, bias = _groups(x, groups), *(_of_groups(v, groups, shape[0]) for v in (weight, bias))
    y, mean, rstd = empty(xp, x.shape, x.dtype), *(empty(xp, (len(x), 1, 1), x.dtype) for _ in range(2))
    size = x.shape[1] * x.shape[2]
    share = xp.full(size, 1 / max(size, 1), x.dtype)
    for r in _rows(xp, x):
        seen, d = x[r], y[r]
        mean[r, 0, 0] = seen.reshape(-1, size) @ share
        xp.subtract(seen, mean[r], out=d)
        rstd[r, 0, 0] = 1 / xp.sqrt(_dot(xp, d.reshape(-1, size), d.reshape(-1, size)) / size + eps)
        d *= rstd[r] if weight is None else rstd[r] * weight[r]
        if bias is not None:
            d += bias[r]
    return y.reshape(shape).astype(dtype, copy=False), mean, rstd


def group_norm_backward(g: Any, x: Any, weight: Any, mean: Any, rstd: Any, groups: int, needs: tuple) -> tuple:
    """The derivatives of `group_norm` with respect to x, weight and bias."""
    xp, shape, dtype = namespace(x), x.shape, x.dtype
    g, x, weight = _groups(g, groups), _groups(x, groups), _of_groups(weight, groups, shape[0])
    dx, (sums, dots) = empty(xp, x.shape, x.dtype), (empty(xp, (*x.shape[:2], 1), x.dtype) for _ in range(2))
    ones = xp.ones(x.shape[2], x.dtype)
    for r in _rows(xp, x):
        coming, out, d = g[r], dx[r], x[r] - mean[r]
        sums[r, :, 0] = (coming.reshape(-1, len(ones)) @ ones).reshape(coming.shape[:2])
        dots[r, :, 0] = _dot(xp, coming, d)
        if needs[0]:
            shares = [v[r] if weight is None else v[r] * weight[r] for v in (dots, sums)]
            dot, total = (v.sum(axis=1, keepdims=True) / (x.shape[1] * x.shape[2]) for v in shares)
            d *= dot * rstd[r] ** 2
            d += total
            xp.subtract(coming if weight is None else xp.multiply(coming, weight[r], out=out), d, out=out)
            out *= rstd[r]
    dots *= rstd
    dw, db = (v.reshape(-1, shape[1]).sum(axis=0).astype(dtype, copy=False) for v in (dots, sums))
    return dx.reshape(shape).astype(dtype, copy=False), dw, db


def _groups(x: Any, groups: int) -> Any:
    """(N, C, …) as (samples·groups, channels of a group, positions)."""
    if not x.size:
        return wide(x).reshape(0, x.shape[1] // groups, 0)
    return wide(x).reshape(len(x) * groups, x.shape[1] // groups, -1)


def _of_groups(weight: Any, groups: int, samples: int) -> Any:
    """What belongs to channels, for each of (samples·groups, channels of a group, 1)."""
    return weight if weight is None else namespace(weight).tile(wide(weight).reshape(groups, -1, 1), (samples, 1, 1))


# -- shapes ------------------------------------------------------------------------------------------------------------

def _matrix(x: Any, dims: int) -> Any:
    """An array with its last `dims` dimensions made the columns of a matrix."""
    columns = 1
    for n in x.shape[x.ndim - dims:]:
        columns *= n
    return wide(x).reshape(-1 if columns else 0, columns)


def _flat(weight: Any) -> Any:
    return weight if weight is None else wide(weight).reshape(-1)


def _share(xp: Any, x: Any) -> Any:
    """The column by which a matrix is multiplied to give the means of its rows."""
    return xp.full(x.shape[1], 1 / max(x.shape[1], 1), x.dtype)
