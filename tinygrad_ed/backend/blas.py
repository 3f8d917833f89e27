"""NumPy's matrix products: which library makes them, and with how many threads."""
from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["VARIABLES", "can_be_held", "describe", "get_threads", "hold_to_one_thread", "set_threads"]

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")      # at least one of them holds any BLAS to its number

_later: int | None = None                # the number of threads to return to, while they are held to one


@cache
def _openblas(package: str) -> Any:
    """The OpenBLAS that NumPy, or SciPy, brings along, or None."""
    import ctypes
    folder = Path(np.__file__).parent.with_name(package)
    for found in sorted([*folder.with_name(f"{package}.libs").glob("*openblas*"), *folder.joinpath(".dylibs").glob("*openblas*")]):
        try:
            return ctypes.CDLL(str(found))
        except OSError:
            continue
    return None


def _function(name: str, package: str = "numpy") -> Any:
    """A function of OpenBLAS under the names that builds give it, or None."""
    for prefix in ("scipy_openblas_", "openblas_"):
        for suffix in ("64_", "", "_64_"):
            found = getattr(_openblas(package), prefix + name + suffix, None)
            if found is not None:
                return found
    return None


def get_threads() -> int | None:
    """The number of threads of matrix products; None where NumPy's library cannot be asked."""
    function = _function("get_num_threads")
    return None if function is None else int(function())


def set_threads(n: int) -> None:
    """Set the number of threads of matrix products, where that is possible; while they are held to one, for afterwards."""
    global _later
    if _later is None:
        _set("numpy", n)
    else:
        _later = n


def can_be_held() -> bool:
    """Whether matrix products can be made, or are made already, with one thread."""
    return get_threads() is not None or all(os.environ.get(name) == "1" for name in VARIABLES)


def hold_to_one_thread(held: bool) -> None:
    """Make matrix products with one thread, SciPy's too, until they are no longer held to it."""
    global _later
    if held and _later is None:
        _later = get_threads() or 1
        for package in ("numpy", "scipy"):
            _set(package, 1)
    elif not held and _later is not None:
        for package in ("numpy", "scipy"):
            _set(package, _later)
        _later = None


def _set(package: str, n: int) -> None:
    function = _function("set_num_threads", package)
    if function is not None:
        function(n)


def describe() -> str:
    """The library's name and version, and its threads."""
    try:
        blas = np.show_config("dicts")["Build Dependencies"]["blas"]       # type: ignore[call-overload, index]
        name = f"{blas['name']} {blas['version']}"
    except (TypeError, KeyError):
        name = "unknown library"
    threads = get_threads()
    return name if threads is None else f"{name}, {threads} thread{'s' * (threads != 1)}"
