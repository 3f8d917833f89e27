"""Embedding: the sum of gradients for each row of a table, and the largest row of each bag."""
from __future__ import annotations

from typing import Any

import numpy as np

from ... import namespace
from ...determinism import add_at
from .activation import wide
from .memory import zeros

__all__ = ["bag_winners", "embedding_backward", "embedding_shares"]

FEW = 1 << 14            # elements up to which importing SciPy is not worth it


def embedding_shares(index: Any, count: int, padding_idx: int | None, by_frequency: bool) -> Any:
    """How much of its gradient each index hands on: 0 for the padding, 1/frequency if asked; None if it is 1 everywhere."""
    xp, flat = namespace(index), index.reshape(-1)
    shares = None
    if by_frequency:
        shares = 1 / xp.bincount(flat, minlength=count)[flat]
    if padding_idx is not None:
        kept = flat != padding_idx
        shares = kept if shares is None else shares * kept
    return shares if shares is None else shares.reshape(index.shape)


def embedding_backward(g: Any, index: Any, count: int, padding_idx: int | None, by_frequency: bool) -> Any:
    """A table of `count` rows with the rows of g, times their shares, added up where the index says."""
    xp, dtype = namespace(g), g.dtype
    flat, rows = index.reshape(-1), wide(g).reshape(index.size, g.shape[-1])
    if by_frequency:
        rows = rows * embedding_shares(flat, count, None, True).astype(rows.dtype)[:, None]
    total = _sum_rows(xp, rows, flat, count)
    if padding_idx is not None:
        total[padding_idx] = 0
    return total.astype(dtype, copy=False)


def _sum_rows(xp: Any, rows: Any, index: Any, count: int) -> Any:
    """A matrix of `count` rows with every given row added to that of its index: on the CPU the product with a sparse matrix of ones."""
    if xp is np and rows.size > FEW:
        from scipy.sparse import csc_array
        return csc_array((np.ones(len(index), rows.dtype), index, np.arange(len(index) + 1)), shape=(count, len(index))) @ rows
    total = zeros(xp, (count, rows.shape[1]), rows.dtype)
    add_at(xp, total, index, rows)
    return total


def bag_winners(rows: Any, size: Any) -> Any:
    """For every column of every bag, bags of given sizes one after the other, where the first of the largest elements is; 0 for an empty bag."""
    xp, bags, columns = namespace(rows), len(size), rows.shape[1]
    starts = size.cumsum() - size
    if rows.size and bool((size == size[0]).all()):
        return rows.reshape(bags, -1, columns).argmax(axis=1) + starts[:, None]
    winners = zeros(xp, (bags, columns), np.int64)
    for bag, (start, n) in enumerate(zip(starts.tolist(), size.tolist())):
        if n:
            winners[bag] = start + rows[start:start + n].argmax(axis=0)
    return winners
