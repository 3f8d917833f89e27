"""Memory on CUDA devices: CuPy's pool keeps what was freed for the next use, as PyTorch's caching allocator does."""
from __future__ import annotations

from typing import Any

from ..backend import cuda
from .devices import index_of

__all__ = ["empty_cache", "max_memory_allocated", "mem_get_info", "memory_allocated", "memory_reserved", "reset_peak_memory_stats",
           "set_per_process_memory_fraction"]


def _of_pool(what: str, device: Any) -> int:
    if not cuda.used():
        return 0
    with cuda.on(index_of(device)):
        return sum(getattr(pool, what)() for pool in (cuda.module().get_default_memory_pool(), *{*cuda.private_pools}))


def memory_allocated(device: Any = None) -> int:
    """Bytes that arrays take on a device.

    Args:
        device: a number, a name or a Device; the current one by default.

    Returns:
        The bytes, in blocks of 512; 0 before CUDA is used.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cuda.memory_allocated() >= 0
        True
    """
    return _of_pool("used_bytes", device)


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that arrays took at once since the program began, or since `reset_peak_memory_stats`.

    Args:
        device: a number, a name or a Device; the current one by default.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cuda.max_memory_allocated() >= tg.cuda.memory_allocated()
        True
    """
    return cuda.peaks.get(index_of(device), 0) if cuda.used() else 0


def reset_peak_memory_stats(device: Any = None) -> None:
    """Let `max_memory_allocated` count from now on.

    Args:
        device: a number, a name or a Device; the current one by default.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cuda.reset_peak_memory_stats()
    """
    if cuda.used():
        cuda.peaks[index_of(device)] = memory_allocated(device)


def memory_reserved(device: Any = None) -> int:
    """Bytes that arrays take or that are kept for the next ones.

    Args:
        device: a number, a name or a Device; the current one by default.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cuda.memory_reserved() >= tg.cuda.memory_allocated()
        True
    """
    return _of_pool("total_bytes", device)


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Free and total bytes of a device, of all processes together.

    Args:
        device: a number, a name or a Device; the current one by default.

    Raises:
        DeviceError: CUDA cannot be used, or there is no such device.

    Example:
        >>> import tinygrad_ed as tg
        >>> if tg.cuda.is_available():
        ...     free, total = tg.cuda.mem_get_info()
    """
    with cuda.on(index_of(device)):
        free, total = cuda.module().cuda.runtime.memGetInfo()
        return free, total


def empty_cache() -> None:
    """Give back the memory that is kept for the next arrays, so that other programs can have it; does nothing before CUDA is used.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cuda.empty_cache()
    """
    for index in range(cuda.device_count() if cuda.used() else 0):
        with cuda.on(index):
            cuda.module().get_default_memory_pool().free_all_blocks()


def set_per_process_memory_fraction(fraction: float, device: Any = None) -> None:
    """Let this process take at most a part of a device's memory; beyond it, OutOfMemoryError is raised.

    Args:
        fraction: from 0 to 1.
        device: a number, a name or a Device; the current one by default.

    Raises:
        ValueError: a fraction outside [0, 1].
        DeviceError: CUDA cannot be used, or there is no such device.

    Example:
        >>> import tinygrad_ed as tg
        >>> if tg.cuda.is_available():
        ...     tg.cuda.set_per_process_memory_fraction(0.5)
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is a part of the memory, from 0 to 1, got {fraction}")
    with cuda.on(index_of(device)):
        total = cuda.module().cuda.runtime.memGetInfo()[1]
        cuda.module().get_default_memory_pool().set_limit(size=max(int(fraction * total), 1))      # 0 would mean no limit
