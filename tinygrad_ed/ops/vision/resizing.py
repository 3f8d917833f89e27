"""Interpolation: images and signals at another size.

Along each dimension the result is a linear map of the input, the same for every row, so that a mode is no more than a table: which
inputs an output sees, and with what weights. The derivative is the transposed table.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import index
from typing import Any

import numpy as np

from ...autograd.op import op
from ...backend.kernels import kernels
from ...backend.kernels.taps import Taps
from ...errors import ShapeError
from ...tensor import Tensor
from ..arguments import require_float

__all__ = ["interpolate"]

MODES = {"nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "linear": (1,), "bilinear": (2,), "bicubic": (2,), "trilinear": (3,),
         "area": (1, 2, 3)}     # and for how many dimensions

_resample: Callable = op("resample", lambda x, *, maps: kernels(x).resample(x, maps),
                         x=lambda g, maps: _resample(g, maps=tuple([(dim, taps.transposed) for dim, taps in maps])))


# -- the tables --------------------------------------------------------------------------------------------------------

@lru_cache(maxsize=512)
def _taps(mode: str, n: int, m: int, scale: float | None, align_corners: bool, antialias: bool, dtype: Any) -> Taps:
    """The map from n to m numbers; `scale` is the ratio of the lengths where it is not m/n."""
    if mode.startswith("nearest"):
        return _nearest(n, m, scale, mode, np.float64 if dtype == np.float64 else np.float32)
    if mode == "area":
        return _means(n, m)
    i = np.arange(m)
    step = 1 / scale if scale else n / m
    if align_corners:
        step = (n - 1) / (m - 1) if m > 1 else 0.0
    if antialias:
        return _filtered(*((_triangle, 1) if mode == "bilinear" else (_cubic(-0.5), 2)), (i + 0.5) * step, step, n)
    position = i * step if align_corners else (i + 0.5) * step - 0.5
    kernel, near = (_cubic(-0.75), np.arange(-1, 3)) if mode == "bicubic" else (_triangle, np.arange(2))
    seen = np.floor(position)[:, None] + near
    return Taps(seen.clip(0, n - 1), kernel(seen - position[:, None]), n)


def _triangle(d: np.ndarray) -> np.ndarray:
    """The weight of an input at a distance, so that the result runs straight from input to input."""
    return np.maximum(1 - np.abs(d), 0)


def _cubic(a: float) -> Callable[[np.ndarray], np.ndarray]:
    """The weight of an input at a distance, after Keys, "Cubic convolution interpolation", 1981; a is the slope at distance 1."""
    def kernel(d: np.ndarray) -> np.ndarray:
        d = np.abs(d)
        near, far = (a + 2) * d**3 - (a + 3) * d**2 + 1, a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
        return np.where(d <= 1, near, np.where(d < 2, far, 0))
    return kernel


def _filtered(kernel: Callable, reach: int, center: np.ndarray, step: float, n: int) -> Taps:
    """The map in which, towards smaller sizes, the kernel grows with the distance of the outputs, so that it leaves no input out."""
    width = max(step, 1.0)
    first = np.floor(center - reach * width + 0.5).clip(0)
    end = np.floor(center + reach * width + 0.5).clip(None, n)
    seen = first[:, None] + np.arange(int((end - first).max()))
    weight = np.where(seen < end[:, None], kernel((seen + 0.5 - center[:, None]) / width), 0)
    return Taps(seen.clip(0, n - 1), weight / weight.sum(1, keepdims=True), n)


def _nearest(n: int, m: int, scale: float | None, mode: str, dtype: Any) -> Taps:
    """The map that picks one input, with PyTorch's rounding: "nearest" the one at or before, "nearest-exact" the one in the middle."""
    i, step = np.arange(m, dtype=dtype), dtype(1 / scale) if scale else dtype(n) / dtype(m)
    position = i * step if mode == "nearest" else step * (i + dtype(0.5)) - dtype(0.5) + dtype(0.5)
    return Taps(np.floor(position.astype(np.float32)).clip(0, n - 1)[:, None], np.ones((m, 1)), n)


def _means(n: int, m: int) -> Taps:
    """The map to the means of m neighbouring parts, which overlap where m does not divide n."""
    i = np.arange(m)
    first, end = i * n // m, -(-(i + 1) * n // m)
    seen = first[:, None] + np.arange((end - first).max())
    return Taps(seen.clip(0, n - 1), np.where(seen < end[:, None], 1 / (end - first)[:, None], 0), n)


# -- the public functions ----------------------------------------------------------------------------------------------

def interpolate(input: Tensor, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None,
                mode: str = "nearest", align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
                antialias: bool = False) -> Tensor:
    """A signal, an image or a volume at another size.

    Elements are squares: output i of m covers the input from i·n/m to (i + 1)·n/m, and its centre lies at the input's
    position (i + ½)·n/m - ½. What is read there depends on the mode:

    - "nearest": the element at or before i·n/m; "nearest-exact": the one that the centre lies in;
    - "linear", "bilinear", "trilinear" (1, 2 and 3 dimensions): the two neighbours in each, weighted by 1 - distance;
    - "bicubic" (2 dimensions): the four neighbours in each, weighted by Keys' cubic with a = -¾; may overshoot;
    - "area": the mean of all elements that are covered.

    Args:
        input: a floating point tensor of shape (N, C, L), (N, C, H, W) or (N, C, D, H, W); of any dtype for the nearest modes.
        size: the output's spatial size, an integer or one for each dimension.
        scale_factor: or how many times the input's it is, a number or one for each dimension; the size is rounded down.
        mode: see above.
        align_corners: the centres of the corner elements meet, so that output i lies at i·(n - 1)/(m - 1); only for linear and
            cubic modes, False by default.
        recompute_scale_factor: use the ratio of the sizes, n/m, instead of scale_factor, which rounding makes another.
        antialias: towards smaller sizes take in all elements that are covered, with a wider kernel; only "bilinear", "bicubic".

    Returns:
        A new tensor of shape (N, C, *size).

    Raises:
        ValueError: size and scale_factor both or neither, or an option that the mode does not have.
        ShapeError: an input whose number of dimensions does not fit the mode, or sizes that are not one for each dimension or
            below 1.
        DTypeError: not a floating point dtype, but for the nearest modes.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor([[[0.0, 4.0]]])
        >>> tg.nn.functional.interpolate(x, size=4)
        tensor([[[0., 0., 4., 4.]]])
        >>> tg.nn.functional.interpolate(x, scale_factor=2, mode="linear")
        tensor([[[0., 1., 3., 4.]]])
    """
    _check(input, mode, align_corners, antialias)
    sizes = input.shape[2:]
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate takes either size or scale_factor" + ("" if size is None else f", got {size} and {scale_factor}"))
    scales: tuple = (None,) * len(sizes)
    if size is not None:
        if recompute_scale_factor:
            raise ValueError("interpolate recomputes a scale_factor, and a size was given; leave recompute_scale_factor out")
        wanted = tuple([index(m) for m in _each("size", size, sizes)])
    else:
        factors = tuple([float(s) for s in _each("scale_factor", scale_factor, sizes)])
        wanted = tuple([math.floor(n * s) for n, s in zip(sizes, factors)])
        if not recompute_scale_factor and mode != "area":
            scales = factors
    if min(sizes) < 1 or min(wanted) < 1:
        raise ShapeError(f"interpolate takes and makes sizes of at least 1, got {sizes} of an input {input.shape}, to become {wanted}")
    maps = [(dim, _taps(mode, n, m, scale, bool(align_corners), antialias, input.dtype))
            for dim, (n, m, scale) in enumerate(zip(sizes, wanted, scales), 2)]
    return _resample(input, maps=tuple(maps))


def _check(input: Tensor, mode: str, align_corners: bool | None, antialias: bool) -> None:
    """Refuse options that a mode does not have."""
    if mode not in MODES:
        raise ValueError(f'interpolate has the modes {", ".join(MODES)}, got "{mode}"')
    if align_corners is not None and (mode == "area" or mode.startswith("nearest")):
        raise ValueError(f'align_corners is an option of the linear and cubic modes, got {align_corners} with mode "{mode}"; leave it out')
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(f'antialias is an option of the modes bilinear and bicubic, got mode "{mode}"')
    if input.ndim - 2 not in MODES[mode]:
        takes = " or ".join("(N, C, " + ", ".join(("L", "HW", "DHW")[n - 1]) + ")" for n in MODES[mode])
        raise ShapeError(f'interpolate in mode "{mode}" takes an input of shape {takes}, got {input.shape}')
    if not mode.startswith("nearest"):
        require_float(input, "interpolate")


def _each(name: str, value: Any, sizes: tuple) -> Sequence:
    """A number for each spatial dimension, from one for all or one for each."""
    if not isinstance(value, (tuple, list)):
        return [value] * len(sizes)
    if len(value) != len(sizes):
        raise ShapeError(f"interpolate takes one {name} for all or for each of {len(sizes)} spatial dimensions, got {value}")
    return value

