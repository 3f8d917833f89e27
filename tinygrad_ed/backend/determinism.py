"""Deterministic mode: the same program on the same machine gives the same bits, whatever the number of threads and the order on a device.

On the CPU the compiled kernels split their work at the same places for any number of threads, so that only BLAS, whose rounding depends on
the number, has to change: it is held to one thread. On CUDA devices sums that atomic additions would make in any order are made in a
fixed one: by `add_at`, and by kernels that ask `enabled()`.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from . import blas

__all__ = ["add_at", "enabled", "set_enabled"]

_enabled = False


def enabled() -> bool:
    """Whether the mode is on, for all threads."""
    return _enabled


def set_enabled(mode: bool) -> None:
    """Turn the mode on or off."""
    global _enabled
    _enabled = bool(mode)
    blas.hold_to_one_thread(_enabled)


def add_at(xp: Any, total: Any, index: Any, rows: Any) -> None:
    """total[index[i]] += rows[i] for every i.

    On a CUDA device in any order, by atomic additions; in this mode in the order of i, grouped by halves: rows are sorted by index, and then
    each adds to itself, where the index is the same, the sum that ends 1, 2, 4… rows before it (Hillis and Steele, 1986).

    Args:
        xp: the array module.
        total: (n, …), changed in place.
        index: (k,), from 0 to n - 1.
        rows: (k, …).
    """
    if xp is np or not _enabled:
        xp.add.at(total, index, rows)
        return
    order = xp.argsort(index, kind="stable")
    index, sums, step = index[order], rows[order], 1
    inner = (1,) * (rows.ndim - 1)
    while step < len(index):
        same = (index[step:] == index[:-step]).reshape(-1, *inner)
        sums[step:] += xp.where(same, sums[:-step], 0)
        step *= 2
    last = xp.ones(len(index), bool)                  # row of its index, which now has the sum of all of them
    last[:-1] = index[1:] != index[:-1]
    n = len(total)
    spread = xp.zeros((n + len(index), *total.shape[1:]), total.dtype)       # with places for the rows that are not
    spread[xp.where(last, index, xp.arange(n, len(spread)))] = sums
    total += spread[:n]
