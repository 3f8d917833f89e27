"""How a window is told to the kernels: as three sides, whatever the number of dimensions."""
from __future__ import annotations

from math import prod
from typing import Any

from ..window import Sizes, Window
from .launch import fitted

__all__ = ["sides", "suited"]

_ALONE = (1, 1, 1, 1, 0, 1)      # a dimension of one input


def sides(window: Window, inputs: Sizes, outputs: Sizes) -> list[int]:
    """Inputs, outputs, kernel, stride, padding and dilation of each of three dimensions, one after the other, as `SIDES` in common.cuh takes them."""
    return [size for side in [*[_ALONE] * (3 - len(inputs)), *zip(inputs, outputs, *window)] for size in side]


def suited(window: Window, inputs: Sizes, outputs: Sizes, *arrays: Any) -> tuple | None:
    """The arrays, contiguous; None where the kernels cannot do it: more dimensions, other dtypes, nothing to compute, or sizes beyond 32 bits."""
    reach = [max(n, m * s + k * d) + abs(p) for n, m, k, s, p, d in zip(inputs, outputs, *window)]
    counts = prod(inputs), prod(outputs), prod(window.kernel)
    if len(inputs) > 3 or not all(counts) or max(*reach, *counts) >= 1 << 30 or not all([a is None or a.size for a in arrays]):
        return None
    return fitted(*arrays)
