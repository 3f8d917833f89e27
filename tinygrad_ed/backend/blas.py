"""NumPy's matrix products: which library makes them, and with how many threads."""
from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["describe", "get_threads", "set_threads"]


@cache
def _openblas() -> Any:
    """The OpenBLAS that NumPy brings along, or None."""
    import ctypes
    folder = Path(np.__file__).parent
    for found in sorted([*folder.with_name("numpy.libs").glob("*openblas*"), *folder.joinpath(".dylibs").glob("*openblas*")]):
        try:
            return ctypes.CDLL(str(found))
        except OSError:
            continue
    return None


def _function(name: str) -> Any:
    """A function of OpenBLAS under the names that builds give it, or None."""
    for prefix in ("scipy_openblas_", "openblas_"):
        for suffix in ("64_", "", "_64_"):
            found = getattr(_openblas(), prefix + name + suffix, None)
            if found is not None:
                return found
    return None


def get_threads() -> int | None:
    """The number of threads of matrix products; None where NumPy's library cannot be asked."""
    function = _function("get_num_threads")
    return None if function is None else int(function())


def set_threads(n: int) -> None:
    """Set the number of threads of matrix products, where that is possible."""
    function = _function("set_num_threads")
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
