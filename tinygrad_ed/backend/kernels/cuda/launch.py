"""How CUDA kernels are compiled, for each dtype at its first use, and launched.

A family is a file source/<family>.cu; what stands before it is source/common.cuh, which says what kernels are written in. CuPy compiles it with NVRTC
and keeps the result on disk; the tests compile the same text for the CPU.
"""
from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ... import namespace, philox
from .elements import elementwise_source

__all__ = ["FAMILIES", "TYPES", "elements", "fitted", "launch", "like", "rows", "source", "split", "wide"]

SOURCES = Path(__file__).parent / "source"
FAMILIES = (*sorted(path.stem for path in SOURCES.glob("*.cu")), "elementwise")
TYPES = {"float32": ("float", "float"), "float64": ("double", "double"), "float16": ("half", "float"), "bfloat16": ("bfloat16", "float")}
WIDE = {name: np.dtype("float64" if compute == "double" else "float32") for name, (_, compute) in TYPES.items()}
OPTIONS = ("--std=c++17",)

# what shapes launches have; the tests try others
WARP = 32
THREADS = 256            # of a block, where they know nothing of each other
BLOCKS = 2048            # at most so many of a grid whose threads take several elements: some for every multiprocessor
SHORT = 1024             # rows up to here are done by a warp each, longer ones by a block
TEAMS = 4                # warps of a block, each with rows of its own
LONGEST = 8              # elements of a long row for each thread, while a block has room for more threads


# -- compiling -----------------------------------------------------------------------------------------------------------

@cache
def source(family: str, dtype: str) -> str:
    """The CUDA C++ of a family for the name of a dtype. After the family's name there may be what it is compiled with: `attention WIDTH=64`."""
    real, compute = TYPES[dtype]
    family, *options = family.split()
    text = elementwise_source() if family == "elementwise" else _file(f"{family}.cu")
    before = philox.SOURCE if family == "dropout" else ""
    defined = "".join(f"#define {option.replace('=', ' ')}\n" for option in (f"REAL={real}", f"WIDE={compute}", *options))
    return f"{defined}{_file('common.cuh')}\n{before}{text}"


def _file(name: str) -> str:
    """A file of source/, with those that it includes."""
    text = (SOURCES / name).read_text(encoding="utf-8")
    return re.sub(r'^#include "(.+)"$', lambda found: _file(found[1]), text, flags=re.MULTILINE)


@cache
def _kernel(xp: Any, family: str, name: str, dtype: np.dtype) -> Any:
    return xp.RawKernel(source(family, dtype.name), name, OPTIONS)


# -- launching -----------------------------------------------------------------------------------------------------------

_NUMBERS: dict[type, Any] = {int: np.int64, bool: np.int64, float: np.float64, type(None): lambda none: np.uint64(0)}


def launch(family: str, name: str, dtype: np.dtype, shape: tuple, *args: Any) -> None:
    """Run a kernel on the current device and stream.

    Args:
        family: the file that it is in.
        name: of the kernel.
        dtype: what `real` is.
        shape: (grid, block), as from `elements` or `rows`.
        args: an array, and then arrays for its pointers, None for a null pointer; integers for `idx`, floats for `double`. What a kernel takes as
            another type comes as a number of NumPy.
    """
    _kernel(namespace(args[0]), family, name, dtype)(*shape, tuple([_NUMBERS[type(a)](a) if type(a) in _NUMBERS else a for a in args]))


def elements(n: int) -> tuple:
    """A grid for n elements that know nothing of each other."""
    return (max(1, min(-(-n // THREADS), BLOCKS)),), (THREADS,)


def rows(count: int, length: int, inner: int = 1) -> tuple:
    """A grid for rows whose elements are summed, by teams of threads as common.cuh has them.

    Args:
        count: how many rows.
        length: of a row.
        inner: how far apart its elements are: 1 makes neighbouring threads read neighbouring elements of a row, else those of neighbouring rows.
    """
    if inner > 1:
        block = (1, WARP * TEAMS)
    elif length <= SHORT:
        block = (WARP, TEAMS)
    else:
        block = (min(1024, WARP * -(-length // (LONGEST * WARP))), 1)
    return (max(1, min(-(-count // block[1]), 1 << 20)),), block


# -- arrays --------------------------------------------------------------------------------------------------------------

def fitted(*arrays: Any) -> tuple | None:
    """The arrays (or None) made contiguous; None if they do not suit: other dtypes than in TYPES, or several."""
    dtype = arrays[0].dtype
    if dtype.name not in TYPES or any(a is not None and a.dtype != dtype for a in arrays):
        return None
    return tuple([a if a is None or a.flags.c_contiguous else namespace(a).ascontiguousarray(a) for a in arrays])


def like(x: Any, dtype: Any = None, shape: tuple | None = None) -> Any:
    """An array for results: of x's shape and dtype unless others are given, with arbitrary contents."""
    return namespace(x).empty(x.shape if shape is None else shape, x.dtype if dtype is None else dtype)


def wide(x: Any) -> np.dtype:
    """The dtype in which kernels compute on an array."""
    return WIDE[x.dtype.name]


def split(shape: tuple, dim: int) -> tuple[int, int, int]:
    """A shape as (outer, n, inner) around a dimension."""
    return math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1:])
