"""What the families share: arrays as the kernels take them, and into how large pieces work is cut."""
from __future__ import annotations

from typing import Any

from ._native import fits, like

__all__ = ["PIECE", "fits", "fitted", "like", "rows_at_once"]

PIECE = 1 << 15          # elements of a piece of work for one thread: some microseconds, so that it is worth waking one


def fitted(*arrays: Any) -> tuple | None:
    """The arrays (or None) made contiguous; None if even then they do not suit: other dtypes, or several.

    Example:
        >>> import numpy as np
        >>> fitted(np.ones(3, "float16")) is None
        True
    """
    if fits(*arrays):
        return arrays
    arrays = tuple([a if a is None else a.copy() for a in arrays])
    return arrays if fits(*arrays) else None


def rows_at_once(length: int, effort: int = 1) -> int:
    """How many rows of a length make a piece; effort is how much more than a few instructions an element takes."""
    return max(1, PIECE // max(1, length * effort))
