"""Where the kernels get memory from, for results and for temporaries."""
from __future__ import annotations

from typing import Any

__all__: list[str] = []             # for the other kernels; no kernel itself


def empty(xp: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """An array with arbitrary contents."""
    return xp.empty(shape, dtype)


def zeros(xp: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """An array of zeros."""
    return xp.zeros(shape, dtype)


class Scratch:
    """Memory for arrays of changing shapes that are needed one after the other.

    Args:
        xp: the array module.
        size: elements of the largest one.
        dtype: of all of them.
    """

    def __init__(self, xp: Any, size: int, dtype: Any):
        self.memory = empty(xp, (size,), dtype)

    def __call__(self, *shape: int) -> Any:
        """The memory as an array of a shape, with arbitrary contents."""
        size = 1
        for n in shape:
            size *= n
        return self.memory[:size].reshape(shape)
