"""What computes, and with how many threads and how much memory: engines for the CPU, NumPy's matrix products, CUDA.

Two engines can compute the fused kernels (softmax, normalisation, losses…) on the CPU: "compiled", loops in C, which `pip install` builds where
there is a C compiler, and "numpy", which is always there. They give the same results but for rounding.
"""
from __future__ import annotations

import sys
import warnings
from types import SimpleNamespace, TracebackType

import numpy as np

from .backend import blas as _blas
from .backend import determinism as _determinism
from .backend import precision as _precision
from .backend.kernels import engines as _engines

__all__ = ["active_engine", "are_deterministic_algorithms_enabled", "cuda", "cudnn", "empty_cache", "engine", "engines",
           "get_float32_matmul_precision", "get_num_threads", "memory_stats", "mps", "set_float32_matmul_precision", "set_memory_limit",
           "set_num_threads", "show_config", "use_deterministic_algorithms"]


def engines() -> tuple[str, ...]:
    """The engines that can be used here.

    Example:
        >>> "numpy" in engines()
        True
    """
    return _engines.available()


def active_engine() -> str:
    """The engine in use: "compiled" where it is built, unless another was chosen here or by the environment variable TINYGRAD_ED_ENGINE.

    Example:
        >>> active_engine() in engines()
        True
    """
    return _engines.active()


class engine:
    """Choose the engine, from now on or for a block; in all threads.

    Args:
        name: "compiled" or "numpy".

    Raises:
        ValueError: an engine that there is not, or the compiled one where it is not built.

    Example:
        >>> with engine("numpy"):
        ...     active_engine()
        'numpy'
    """

    def __init__(self, name: str):
        self._before = _engines.active()
        _engines.use(name)

    def __enter__(self) -> "engine":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _engines.use(self._before)


# -- threads -----------------------------------------------------------------------------------------------------------

def get_num_threads() -> int:
    """How many threads compute at once; 1 without the compiled engine, whose kernels they serve.

    Example:
        >>> get_num_threads() >= 1
        True
    """
    native = _engines.native()
    return 1 if native is None else native.threads()


def set_num_threads(n: int) -> None:
    """Set how many threads compute at once, in the compiled kernels and in NumPy's matrix products.

    At first they are TINYGRAD_ED_NUM_THREADS or OMP_NUM_THREADS, or the cores that this process may use. Results do not depend on the number
    but for the rounding of BLAS, and not at all after `use_deterministic_algorithms(True)`.

    Args:
        n: the calling thread included, so at least 1.

    Raises:
        ValueError: less than 1.

    Example:
        >>> before = get_num_threads()
        >>> set_num_threads(1)
        >>> get_num_threads()
        1
        >>> set_num_threads(before)
    """
    if n < 1:
        raise ValueError(f"the number of threads counts the caller, so it is at least 1, got {n}")
    native = _engines.native()
    if native is not None:
        native.set_threads(n)
    _blas.set_threads(n)


# -- precision ---------------------------------------------------------------------------------------------------------

cuda = SimpleNamespace(matmul=_precision.products)    # .allow_tf32 and .allow_relu_epilogue, False at first
cudnn = _precision.convolutions                       # .allow_tf32 and .enabled, True at first; .deterministic; .benchmark is only accepted
mps = SimpleNamespace(is_available=lambda: False, is_built=lambda: False)      # Apple's devices: scripts ask for them, there are none


def set_float32_matmul_precision(precision: str) -> None:
    """Choose how exactly CUDA devices multiply float32 matrices; as `backends.cuda.matmul.allow_tf32`, and convolutions have `backends.cudnn`.

    Args:
        precision: "highest" for full float32; "high" rounds the factors to TF32 (10 bits behind the point) and adds up in float32, several times
            faster; "medium" is computed as "high".

    Raises:
        ValueError: another name.

    Example:
        >>> set_float32_matmul_precision("high")
        >>> cuda.matmul.allow_tf32
        True
        >>> set_float32_matmul_precision("highest")
    """
    if precision not in _precision.PRECISIONS:
        raise ValueError(f"the precision is one of {', '.join(map(repr, _precision.PRECISIONS))}, got {precision!r}")
    _precision.products.name = precision


def get_float32_matmul_precision() -> str:
    """How exactly CUDA devices multiply float32 matrices.

    Example:
        >>> get_float32_matmul_precision()
        'highest'
    """
    return _precision.products.name


# -- the same bits each time --------------------------------------------------------------------------------------------

def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Let the same program on the same machine, with the same seed, give the same bits each time; in all threads.

    On the CPU this holds for any number of threads: the kernels split their work at the same places always, and BLAS is held to one thread
    while the mode is on, since its rounding depends on their number. On CUDA devices, sums that are else made by atomic additions, in any order,
    are made in a fixed order, which takes longer: gradients of indexing, embedding and CTC. What is not covered: another version of NumPy
    or of this package, another processor, another batch size.

    Args:
        mode: whether from now on.
        warn_only: only warn where NumPy's BLAS cannot be held to one thread.

    Raises:
        RuntimeError: NumPy's BLAS is not OpenBLAS, and no environment variable holds it to one thread.

    Example:
        >>> use_deterministic_algorithms(True, warn_only=True)
        >>> are_deterministic_algorithms_enabled()
        True
        >>> use_deterministic_algorithms(False)
    """
    if mode and not _blas.can_be_held():
        message = (f"NumPy's matrix products come from {_blas.describe()}, whose threads cannot be set from here, and its results depend on their "
                   f"number; start Python with {' and '.join(f'{name}=1' for name in _blas.VARIABLES)}")
        if not warn_only:
            raise RuntimeError(message)
        warnings.warn(message, stacklevel=2)
    _determinism.set_enabled(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """Whether `use_deterministic_algorithms` turned the mode on.

    Example:
        >>> are_deterministic_algorithms_enabled()
        False
    """
    return _determinism.enabled()


# -- memory ------------------------------------------------------------------------------------------------------------

def memory_stats() -> dict[str, int]:
    """What the compiled engine's memory for arrays of at least 64 KiB looks like; empty without that engine.

    A large array's memory is kept when the array is freed, for the next ones: fresh memory costs as much time as filling it.

    Returns:
        "allocated" and "peak_allocated", bytes in arrays now and at most; "cached", bytes kept; "limit", bytes kept at most; "requests",
        arrays so far; "hits", how many of those got kept memory.

    Example:
        >>> sorted(memory_stats())[:2] in ([], ["allocated", "cached"])
        True
    """
    native = _engines.native()
    return {} if native is None else native.memory_stats()


def empty_cache() -> None:
    """Give all kept memory back to the operating system.

    Example:
        >>> empty_cache()
        >>> memory_stats().get("cached", 0)
        0
    """
    native = _engines.native()
    if native is not None:
        native.memory_empty()


def set_memory_limit(bytes: int) -> None:
    """Set how much memory of freed arrays is kept at most: 1 GiB at first, or a quarter of the machine's memory where that is less.

    Args:
        bytes: 0 keeps none.

    Raises:
        ValueError: a negative number.

    Example:
        >>> set_memory_limit(2**28)
        >>> set_memory_limit(2**30)
    """
    if bytes < 0:
        raise ValueError(f"the limit is a number of bytes, at least 0, got {bytes}")
    _engines.set_memory_limit(bytes)


# -- all of it ---------------------------------------------------------------------------------------------------------

def show_config() -> None:
    """Print what computes here: versions, engines, instructions, threads, memory, matrix products, CUDA.

    Example:
        >>> show_config()                             # doctest: +ELLIPSIS
        tinygrad_ed ...
    """
    import platform

    from . import __version__, cuda
    chosen, native = active_engine(), _engines.native()
    lines = [("tinygrad_ed", f"{__version__}, Python {platform.python_version()}, NumPy {np.__version__}, {platform.system()} {platform.machine()}"),
             ("engine", f"{chosen} of {', '.join(engines())}" + ("" if native else "; the compiled kernels are not built"))]
    if native is not None:
        stats = native.memory_stats()
        lines += [("instructions", native.instructions()), ("threads", str(native.threads())),
                  ("memory", f"{stats['allocated'] >> 20} MiB in arrays, {stats['cached'] >> 20} of at most {stats['limit'] >> 20} MiB kept")]
    lines += [("products", _blas.describe()), ("cuda", "available" if cuda.is_available() else f"no: {cuda.why_not()}")]
    for name, text in lines:
        print(f"{name:<13}{text}")
    sys.stdout.flush()
