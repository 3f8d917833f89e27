"""Pooling in any number of dimensions, a tap of the window at a time: what a tap shows to all outputs is a strided view of the input.

Shapes: x (N, C, *inputs), y (N, C, *outputs).
"""
from __future__ import annotations

from math import prod
from typing import Any, Iterator, Union

import numpy as np

from ... import namespace
from ...memory import table
from ..window import Sizes, Window
from .columns import precision
from .memory import empty, zeros

__all__ = ["avg_pool", "avg_pool_input", "max_pool", "max_pool_input", "max_pool_places", "max_pool_take"]

Counts = Union[float, tuple[tuple[int, ...], ...]]      # of the elements of a window: for all, or for each dimension one per output

_CACHED = 2**18          # elements of the planes that are pooled at a time


# -- the largest -------------------------------------------------------------------------------------------------------

def max_pool(x: Any, window: Window, outputs: Sizes) -> tuple[Any, Any]:
    """The largest input of every window, and the number of the tap that shows it: the first of several, the last of the NaNs."""
    xp = namespace(x)
    y = empty(xp, (*x.shape[:2], *outputs), x.dtype)
    where = empty(xp, y.shape, np.min_scalar_type(prod(window.kernel) - 1))
    taps = list(enumerate(window.taps(x.shape[2:], outputs)))
    start = table(xp, _first_taps, window, outputs, where.dtype) if any(window.padding) else 0
    for x_, y_, where_ in _planes(xp, x, y, where):
        y_[...], where_[...] = -np.inf, start
        for number, (_, outs, ins) in taps:
            seen, best, place = x_[ins], y_[outs], where_[outs]
            better = seen > best
            xp.maximum(best, seen, out=best)
            if number:                                # numbers rise: the largest so far is that of the last that was better
                xp.maximum(place, xp.multiply(better.view("uint8"), where.dtype.type(number)), out=place)
        if xp is not np or (y_.size and np.isnan(y_.max())):
            for number, (_, outs, ins) in taps:
                seen, place = x_[ins], where_[outs]
                xp.copyto(place, where.dtype.type(number), where=seen != seen)
    return y, where


def max_pool_input(g: Any, where: Any, window: Window, inputs: Sizes) -> Any:
    """The gradient of the input: g at the places that were the largest."""
    xp, dtype = namespace(g), precision(g.dtype)
    dx = zeros(xp, (*g.shape[:2], *inputs), dtype)
    taps = list(enumerate(window.taps(inputs, g.shape[2:])))
    overlap = any(s < span for s, span in zip(window.stride, window.span))
    for g_, where_, dx_ in _planes(xp, g.astype(dtype, copy=False), where, dx):
        for number, (_, outs, ins) in taps:
            chosen = _if(xp, where_[outs] == number, g_[outs])
            if overlap:
                dx_[ins] += chosen
            else:
                dx_[ins] = chosen
    return dx.astype(g.dtype, copy=False)


def _if(xp: Any, condition: Any, x: Any) -> Any:
    """x where the condition holds, else 0: its bits and a mask, which is faster than a choice, and no product with ∞."""
    integer = f"int{8 * x.itemsize}"
    mask = xp.negative(condition.view("int8")).astype(integer)
    mask &= x.view(integer)
    return mask.view(x.dtype)


def max_pool_take(x: Any, where: Any, window: Window) -> Any:
    """The inputs at the places that were the largest; the adjoint of `max_pool_input`."""
    xp = namespace(x)
    y = zeros(xp, where.shape, x.dtype)
    for number, (_, outs, ins) in enumerate(window.taps(x.shape[2:], where.shape[2:])):
        xp.copyto(y[outs], x[ins], where=where[outs] == number)
    return y


def max_pool_places(where: Any, window: Window, inputs: Sizes) -> Any:
    """The numbers of taps as positions in the plane of inputs, in row-major order."""
    xp = namespace(where)
    return table(xp, _tap_offsets, window, inputs)[where] + table(xp, _starts, window, inputs, where.shape[2:])


def _tap_offsets(window: Window, inputs: Sizes) -> np.ndarray:
    """How many positions in the plane of inputs each tap lies behind the first."""
    taps = np.indices(window.kernel).reshape(len(inputs), -1)
    return sum((taps[i] * d * prod(inputs[i + 1:]) for i, d in enumerate(window.dilation)), np.zeros(taps.shape[1], "int64"))


def _starts(window: Window, inputs: Sizes, outputs: Sizes) -> np.ndarray:
    """The position of the first tap for each output; before the plane's first where that tap is over the padding."""
    places = np.indices(outputs)
    return sum(((places[i] * s - p) * prod(inputs[i + 1:]) for i, (s, p) in enumerate(zip(window.stride, window.padding))),
               np.zeros(outputs, "int64"))


def _first_taps(window: Window, outputs: Sizes, dtype: np.dtype) -> np.ndarray:
    """The number of the first tap that is not over the padding in front, for each output."""
    first = np.zeros(outputs, "int64")
    for i, (n, p, s, d) in enumerate(zip(outputs, window.padding, window.stride, window.dilation)):
        taps = -(-np.maximum(p - s * np.arange(n), 0) // d)
        first += taps.reshape(-1, *[1] * (len(outputs) - i - 1)) * prod(window.kernel[i + 1:])
    return np.minimum(first, prod(window.kernel) - 1).astype(dtype)


def _planes(xp: Any, *arrays: Any) -> Iterator[list]:
    """Arrays (N, C, *sizes) as (planes, *sizes), so many planes at a time as stay in the processor's cache."""
    flat = [a.reshape(a.shape[0] * a.shape[1], *a.shape[2:]) for a in arrays]
    count = len(flat[0])
    size = count if xp is not np else max(1, _CACHED // max(1, *[prod(a.shape[1:]) for a in flat]))
    return ([a[i:i + size] for a in flat] for i in range(0, count, max(1, size)))


# -- the mean ----------------------------------------------------------------------------------------------------------

def avg_pool(x: Any, window: Window, outputs: Sizes, counts: Counts) -> Any:
    """The sum of every window divided by its count."""
    xp = namespace(x)
    y = x.astype(precision(x.dtype), copy=False)
    if _is_whole(window, x.shape[2:], outputs):
        share = xp.full(prod(window.kernel), _share(xp, counts, y.dtype), y.dtype)
        return (y.reshape(-1, len(share)) @ share).reshape(*x.shape[:2], *outputs).astype(x.dtype, copy=False)
    for i, (n, m, side) in enumerate(zip(x.shape[2:], outputs, _sides(window)), 2):          # a box is the product of its sides
        total = zeros(xp, (*y.shape[:i], m, *y.shape[i + 1:]), y.dtype)
        for _, outs, ins in side.taps((n,), (m,)):
            total.swapaxes(i, -1)[outs] += y.swapaxes(i, -1)[ins]
        y = total
    y *= _share(xp, counts, y.dtype)
    return y.astype(x.dtype, copy=False)


def avg_pool_input(g: Any, window: Window, inputs: Sizes, counts: Counts) -> Any:
    """The gradient of the input: g divided by the count, spread over its window."""
    xp = namespace(g)
    dx = g.astype(precision(g.dtype), copy=False) * _share(xp, counts, precision(g.dtype))
    if _is_whole(window, inputs, g.shape[2:]):
        return xp.broadcast_to(dx, (*g.shape[:2], *inputs)).astype(g.dtype)
    for i, n, m, side in [*zip(range(2, g.ndim), inputs, g.shape[2:], _sides(window))][::-1]:
        total = zeros(xp, (*dx.shape[:i], n, *dx.shape[i + 1:]), dx.dtype)
        for _, outs, ins in side.taps((n,), (m,)):
            total.swapaxes(i, -1)[ins] += dx.swapaxes(i, -1)[outs]
        dx = total
    return dx.astype(g.dtype, copy=False)


def _is_whole(window: Window, inputs: Sizes, outputs: Sizes) -> bool:
    """Whether there is a single window, which has all inputs."""
    return window.kernel == inputs and set(outputs) == {1} and not any(window.padding)


def _sides(window: Window) -> list[Window]:
    """The window along each dimension alone."""
    return [Window((k,), (s,), (p,), (d,)) for k, s, p, d in zip(*window)]


def _share(xp: Any, counts: Counts, dtype: np.dtype) -> Any:
    """1 / count, as a number or an array of the outputs' shape."""
    if not isinstance(counts, tuple):
        return dtype.type(1 / counts)
    product = np.ones((), dtype)
    for side in counts:
        product = product[..., None] * np.asarray(side, dtype)
    return xp.asarray(1 / product)
