"""The gradient of an embedding by compiled loops."""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import plain
from . import _native
from .arrays import fitted

__all__ = ["embedding_backward"]

_PIECES = 4              # parts of a large table, each of which goes through all indices


def embedding_backward(g: Any, index: Any, count: int, padding_idx: int | None, by_frequency: bool) -> Any:
    suited = None if by_frequency or not g.size else fitted(g)
    if suited is None:
        return plain.embedding_backward(g, index, count, padding_idx, by_frequency)
    g, = suited
    table = np.empty((count, g.shape[-1]), g.dtype)
    piece = count if g.size + table.size < 1 << 16 else -(-count // _PIECES)
    _native.embedding_backward(count, max(piece, 1), g, index.astype(np.int64, order="C", copy=False), table, index.size, g.shape[-1])
    if padding_idx is not None:
        table[padding_idx] = 0
    return table
