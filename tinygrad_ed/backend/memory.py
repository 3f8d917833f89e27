"""Memory that is carved into arrays which lie one after another and yet count as independent."""
from __future__ import annotations

import math
from typing import Any, Sequence

import numpy as np

__all__ = ["Memory", "carved"]


class Memory(np.ndarray):
    """Flat memory. NumPy lets the views of an array that lies in it refer to that array, so that one sees whether it is in use."""


def carved(xp: Any, dtype: Any, shapes: Sequence[tuple[int, ...]]) -> tuple[Any, list[Any]]:
    """Zeros for arrays of these shapes: the whole, one flat array, and the arrays in it.

    Args:
        xp: the array module.
        dtype: of all of them.
        shapes: of each.
    """
    sizes = [math.prod(shape) for shape in shapes]
    memory = Memory(sum(sizes), dtype) if xp is np else xp.empty(sum(sizes), dtype)
    whole, places, start = memory.view(np.ndarray) if xp is np else memory, [], 0
    whole[...] = 0
    for shape, size in zip(shapes, sizes):
        places.append(np.ndarray(shape, dtype, memory, start * memory.itemsize) if xp is np
                      else xp.ndarray(shape, dtype, memory.data + start * memory.itemsize))
        start += size
    return whole, places
