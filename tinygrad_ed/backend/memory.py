"""Large arrays and their parts: memory carved into arrays that count as independent, and arrays gone through in blocks."""
from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Iterator, Sequence

import numpy as np

__all__ = ["Memory", "blocks", "carved", "joined", "table"]

BLOCK = 1 << 16          # elements of a block that stays in a processor's cache, with as many of a few other arrays


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


def blocks(*arrays: Any) -> Iterator[Sequence[Any]]:
    """Arrays of one shape in blocks of their elements, for work that goes over them several times.

    Args:
        arrays: the arrays; None stays None. Where they are small, not contiguous, or not NumPy's, they come as they are.

    Example:
        >>> [a.size for a, in blocks(np.zeros((1000, 100)))]
        [65536, 34464]
    """
    given = [a for a in arrays if a is not None]
    if given[0].size <= BLOCK or not all(type(a) is np.ndarray and a.flags.c_contiguous for a in given):
        yield arrays
        return
    flat = [a if a is None else a.reshape(-1) for a in arrays]
    for start in range(0, given[0].size, BLOCK):
        yield [a if a is None else a[start:start + BLOCK] for a in flat]


def joined(arrays: Sequence[Any]) -> list[Any]:
    """Device arrays, those that lie side by side in one memory (see `carved`) as one, for work that is a launch for each; NumPy's as they are.

    They come in the order of the arrays, not of addresses: what is added up is the same every time.
    """
    if any([isinstance(a, np.ndarray) for a in arrays]):
        return list(arrays)
    runs: list[Any] = []                              # of each the first array, the address after the last, and where the earliest comes
    for i in sorted(range(len(arrays)), key=lambda i: arrays[i].data.ptr):
        a = arrays[i]
        if runs and runs[-1][1] == a.data.ptr and runs[-1][0].data.mem is a.data.mem and runs[-1][0].dtype == a.dtype and a.flags.c_contiguous:
            runs[-1][1:] = a.data.ptr + a.nbytes, min(i, runs[-1][2])
        else:
            runs.append([a, a.data.ptr + a.nbytes if a.flags.c_contiguous else None, i])
    return [a if end in (None, a.data.ptr + a.nbytes) else type(a)(((end - a.data.ptr) // a.itemsize,), a.dtype, a.data)
            for a, end, _ in sorted(runs, key=lambda run: run[2])]


def table(xp: Any, build: Callable, *arguments: Any) -> Any:
    """The array that build(*arguments) makes with NumPy; on a device it is kept there, so that it is sent once only."""
    return build(*arguments) if xp is np else _sent(xp, xp.cuda.Device().id, build, *arguments)


@lru_cache(maxsize=256)
def _sent(xp: Any, device: int, build: Callable, *arguments: Any) -> Any:
    return xp.asarray(build(*arguments))
