"""The gradient of an embedding by CUDA kernels: with atomic additions, or in deterministic mode in the order of the rows."""
from __future__ import annotations

from typing import Any

import numpy as np

from ... import determinism, namespace
from .. import plain
from .launch import elements, fitted, launch, rows, wide

__all__ = ["embedding_backward"]


def embedding_backward(g: Any, index: Any, count: int, padding_idx: int | None, by_frequency: bool) -> Any:
    suited = fitted(g) if g.size else None
    if suited is None:
        return plain.embedding_backward(g, index, count, padding_idx, by_frequency)
    g, = suited
    xp, n, length = namespace(g), index.size, g.shape[-1]
    index = xp.ascontiguousarray(index.astype(np.int64, copy=False)).reshape(-1)
    table, padding, counts = xp.zeros((count, length), wide(g)), -1 if padding_idx is None else int(padding_idx), None
    if by_frequency:
        counts = xp.zeros(count, np.int32)
        launch("embedding", "count_rows", g.dtype, elements(n), index, counts, n)
    if determinism.enabled():
        order = xp.argsort(index, kind="stable")
        launch("embedding", "embedding_backward_in_order", g.dtype, rows(n, length), g, index, counts, order, table, n, length, padding)
    else:
        launch("embedding", "embedding_backward", g.dtype, elements(g.size), g, index, counts, table, n, length, padding)
    return table.astype(g.dtype, copy=False)
