"""Which engine computes on NumPy's arrays: "compiled", the C kernels, if they are built, or "numpy". `tinygrad_ed.backends` is its public face."""
from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from types import ModuleType

import numpy as np

from . import register_engine

__all__ = ["CACHE_LIMIT", "active", "available", "cores", "default", "native", "set_memory_limit", "use"]

_active: str | None = None
CACHE_LIMIT = 1 << 30                    # bytes of freed arrays that are kept, or a quarter of the memory where that is less


@cache
def native() -> ModuleType | None:
    """The compiled module, prepared with the number of threads; None where it is not built."""
    try:
        from .compiled import _native
    except ImportError:
        return None
    _native.set_threads(cores())
    return _native


def cores() -> int:
    """The number of threads at the start: TINYGRAD_ED_NUM_THREADS or OMP_NUM_THREADS, or the cores that this process may use."""
    for name in ("TINYGRAD_ED_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "").split(",")[0]
        if text.isdigit() and int(text):
            return int(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available() -> tuple[str, ...]:
    """The engines that can be used here."""
    return ("numpy",) if native() is None else ("numpy", "compiled")


def default() -> str:
    """The engine to begin with: TINYGRAD_ED_ENGINE, or the compiled one where it is built.

    Raises:
        ValueError: TINYGRAD_ED_ENGINE names one that there is not.
    """
    return os.environ.get("TINYGRAD_ED_ENGINE") or available()[-1]


def active() -> str:
    """The engine in use."""
    if _active is None:
        use(default())
    return str(_active)


def use(name: str) -> None:
    """Let an engine compute from now on, in all threads.

    Raises:
        ValueError: an engine that there is not, or that is not built.
    """
    global _active
    if name not in available():
        hint = ('; the compiled kernels are not built: install a C compiler, then `pip install --force-reinstall --no-deps .`, or in a checkout '
                '`python setup.py build_ext --inplace`') if name == "compiled" else ""
        raise ValueError(f"the engines here are {', '.join(map(repr, available()))}, got {name!r}{hint}")
    _active = name
    register_engine(np.ndarray, import_module("." + ("plain" if name == "numpy" else name), __package__))
    set_memory_limit(_limit)


# -- memory ------------------------------------------------------------------------------------------------------------

def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 4 << 30


_limit = min(CACHE_LIMIT, _physical_memory() // 4)


def set_memory_limit(limit: int) -> None:
    """Keep so many bytes of freed arrays' memory for the next ones, while the compiled engine is active."""
    global _limit
    _limit = limit
    module = native()
    if module is not None:
        module.memory_limits(active() == "compiled" and limit > 0, limit)
