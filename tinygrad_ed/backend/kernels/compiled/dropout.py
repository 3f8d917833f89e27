"""Random words and dropout by compiled loops; the words are those of `backend/philox.py`, bit for bit."""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import plain
from . import _native
from .arrays import PIECE, fitted, like

__all__ = ["dropout", "random_words"]

_BLOCKS = 1 << 10        # blocks of four words made at a time


def random_words(seed: int, offset: int, blocks: int) -> Any:
    words = np.empty(4 * blocks, np.uint64)
    _native.philox(blocks, _BLOCKS, np.array([seed, offset], np.uint64), words)
    return words


def dropout(x: Any, keep: Any, scale: float) -> Any:
    suited = fitted(x) if keep.size == x.size and keep.dtype == bool else None
    if suited is None:
        return plain.dropout(x, keep, scale)
    x, = suited
    y = like(x)
    _native.dropout(x.size, PIECE, x, np.ascontiguousarray(keep), y, scale)
    return y
