"""CUDA through CuPy, imported at the first use of a CUDA device and never by `import tinygrad_ed`.

Here is what the rest of the package needs of it: whether it can be used, arrays that go there and back, page-locked memory, and
the allocator, which knows the peak and says in words when memory runs out. What users call is in `tinygrad_ed.cuda`.
"""
from __future__ import annotations

import importlib
import math
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import DeviceError, OutOfMemoryError
from . import Device, capture, register

INSTALL = 'pip install "tinygrad_ed[cuda13]" (CUDA 13) or pip install "tinygrad_ed[cuda12]" (CUDA 12)'
LIBRARIES = {"nvrtc": "cupy_backends.cuda.libs.nvrtc", "cublas": "cupy.cublas"}       # next to nothing runs without; who loads them

peaks: dict[int, int] = {}                            # most bytes in use at once, by device; empty until CUDA is used
private_pools: list[Any] = []                         # memory of captured graphs, beside CuPy's pool: an entry for each graph


@cache
def why_not() -> str | None:
    """Why CUDA cannot be used here, in words; None where it can. Never raises.

    Example:
        >>> why_not() is None or isinstance(why_not(), str)
        True
    """
    try:
        import cupy
    except ImportError as error:
        return f"CuPy cannot be imported ({error}); {INSTALL}"
    except Exception as error:  # a broken installation can raise anything
        return f"CuPy is installed but broken ({type(error).__name__}: {error}); pip uninstall it and {INSTALL}"
    try:
        runtime = cupy.cuda.runtime
        driver, built = runtime.driverGetVersion(), runtime.runtimeGetVersion()
        if driver == 0:
            return f"CuPy {cupy.__version__} finds no NVIDIA driver on this machine; install one from nvidia.com/drivers"
        if driver // 1000 < built // 1000:
            return (f"the NVIDIA driver supports CUDA {driver // 1000}.{driver % 1000 // 10}, this CuPy needs CUDA {built // 1000}; "
                    f'update the driver, or pip install "cupy-cuda{driver // 1000}x[ctk]>=14,<15"')
        if runtime.getDeviceCount() == 0:
            return "the NVIDIA driver sees no device; look at CUDA_VISIBLE_DEVICES"
    except Exception as error:  # CuPy raises a different type for every missing library; each is a reason in words
        return f"CuPy {cupy.__version__} finds no usable NVIDIA driver or device: {error}"
    for library in LIBRARIES:
        reason = missing(library)
        if reason is not None:
            return f'the CUDA library {library} is missing ({reason}); pip install "cupy-cuda{built // 1000}x[ctk]>=14,<15"'
    register(cupy.ndarray, cupy)
    return None


def missing(library: str) -> str | None:
    """Why one of CUDA's libraries cannot be loaded through CuPy; None where it can. Never raises."""
    try:
        module = importlib.import_module(LIBRARIES[library])
        if library == "nvrtc":                        # which is loaded at its first use
            module.getVersion()
    except Exception as error:
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return None


def forget() -> None:
    """Find out anew whether CUDA can be used (after CuPy was installed in a running session)."""
    why_not.cache_clear()
    _prepared.cache_clear()
    _count.cache_clear()
    peaks.clear()


def is_available() -> bool:
    """Whether a CUDA device can be used. Never raises; `why_not()` says why it cannot.

    Example:
        >>> is_available() == (why_not() is None)
        True
    """
    return why_not() is None


def device_count() -> int:
    """How many CUDA devices can be used; 0 where there is none.

    Example:
        >>> device_count() >= 0
        True
    """
    return _count() if is_available() else 0


@cache
def _count() -> int:
    return module().cuda.runtime.getDeviceCount()


def module() -> ModuleType:
    """CuPy, once it is known to work.

    Raises:
        DeviceError: CUDA cannot be used; the message says why.
    """
    reason = why_not()
    if reason is not None:
        raise DeviceError(f'CUDA is not available: {reason}. Write device="cpu" to run on the CPU')
    return _prepared()


def used() -> bool:
    """Whether CUDA has been used by this process."""
    return bool(peaks)


def current_device() -> int:
    """The number of the current CUDA device; 0 before CUDA is used.

    Example:
        >>> current_device() >= 0
        True
    """
    return module().cuda.runtime.getDevice() if used() else 0


def on(device: Any = None) -> AbstractContextManager:
    """A block in which a CUDA device (the current one by default) is the current one.

    Raises:
        DeviceError: there is no such device.
    """
    cupy = module()
    index = current_device() if device is None else device if isinstance(device, int) else Device(device).index
    if not 0 <= (index or 0) < device_count():
        raise DeviceError(f"there is no cuda:{index}: this machine has {device_count()} CUDA device(s), counted from 0")
    return cupy.cuda.Device(index)


# -- memory ------------------------------------------------------------------------------------------------------------

@cache
def _prepared() -> ModuleType:
    """CuPy, with an allocator that keeps the peak and explains itself around the one it had, and no copies from the host in a capture."""
    import cupy
    pin = cupy.get_default_pinned_memory_pool().malloc

    def pinned_allocator(size: int) -> Any:           # CuPy copies from the host through such memory
        capture.forbid("a copy of the host's values to the device", "make the tensor on the device once, before the step, or give it as an argument")
        return pin(size)

    cupy.cuda.set_allocator(_watched(cupy, cupy.cuda.get_allocator()))
    cupy.cuda.set_pinned_memory_allocator(pinned_allocator)
    peaks[cupy.cuda.runtime.getDevice()] = cupy.get_default_memory_pool().used_bytes()
    return cupy


def _watched(cupy: Any, allocate: Callable[[int], Any]) -> Callable[[int], Any]:
    """An allocator around another that keeps the peak, and says in words when memory runs out."""
    pool, device, full = cupy.get_default_memory_pool(), cupy.cuda.runtime.getDevice, cupy.cuda.memory.OutOfMemoryError

    def allocator(size: int) -> Any:
        try:
            memory = allocate(size)
        except full:
            raise OutOfMemoryError(_out_of_memory(cupy, size)) from None
        index, in_use = device(), pool.used_bytes() + sum(other.used_bytes() for other in {*private_pools})
        if in_use > peaks.get(index, 0):
            peaks[index] = in_use
        return memory

    return allocator


def allocating_from(pool: Any) -> AbstractContextManager:
    """A block in which this thread's arrays lie in the memory of a pool of their own."""
    cupy = module()
    return cupy.cuda.using_allocator(_watched(cupy, pool.malloc))


def gibibytes(size: int) -> str:
    """A number of bytes in words."""
    return f"{size / 2**30:.2f} GiB" if size >= 2**27 else f"{size / 2**20:.2f} MiB"


def _out_of_memory(cupy: Any, size: int) -> str:
    pool, (free, total) = cupy.get_default_memory_pool(), cupy.cuda.runtime.memGetInfo()
    limit = f"; the limit set for this process is {gibibytes(pool.get_limit())}" if pool.get_limit() else ""
    return (f"cuda:{cupy.cuda.runtime.getDevice()} is out of memory: {gibibytes(size)} more are wanted, arrays of this process take "
            f"{gibibytes(pool.used_bytes())}, {gibibytes(free)} of {gibibytes(total)} are free{limit}. Take a smaller batch, delete tensors "
            f"that are no longer needed, compute in no_grad() where no gradient is needed, or use autograd.checkpoint; nothing was changed")


def pinned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """A NumPy array in page-locked memory, with arbitrary contents."""
    dtype, count = np.dtype(dtype), math.prod(shape)
    memory = module().cuda.alloc_pinned_memory(max(count * dtype.itemsize, 1))
    return np.frombuffer(memory, dtype, count).reshape(shape)


def is_pinned(array: Any) -> bool:
    """Whether an array lies in page-locked memory."""
    while isinstance(array, np.ndarray):
        array = array.base
    owner = array.obj if isinstance(array, memoryview) else array
    return used() and isinstance(owner, module().cuda.PinnedMemoryPointer)


# -- copies ------------------------------------------------------------------------------------------------------------

_on_their_way: deque = deque()                        # page-locked arrays that the device still reads, each with an event


def put(array: Any, device: Device, non_blocking: bool = False) -> Any:
    """A copy of the array on a CUDA device; non_blocking, the host does not wait for what lies in page-locked memory."""
    cupy = module()
    with on(device.index):
        if not isinstance(array, np.ndarray):
            return array.copy()
        capture.forbid("a copy from the CPU to the device", "copy before the step, and give it the tensor as an argument")
        if non_blocking and array.flags.c_contiguous and is_pinned(array):
            return send(array, cupy.empty(array.shape, array.dtype), cupy.cuda.get_current_stream())
        return cupy.array(array)


def put_on(copies: Any, computing: Any, array: np.ndarray) -> Any:
    """A copy of a NumPy array on the current device, made on one stream for use on another, which must wait for it."""
    if not (is_pinned(array) and array.flags.c_contiguous):
        source = pinned(array.shape, array.dtype)
        source[...] = array
    else:
        source = array
    y = module().empty(array.shape, array.dtype)      # of the stream that computes
    copies.wait_event(computing.record())             # which may still use what this memory held before
    return send(source, y, copies)


def send(array: np.ndarray, y: Any, stream: Any) -> Any:
    """Queue the copy of a page-locked array into y, and keep the array until it is done."""
    y.set(array, stream)
    while _on_their_way and _on_their_way[0][0].done:
        _on_their_way.popleft()
    _on_their_way.append((stream.record(), array))
    return y


def get(array: Any, non_blocking: bool = False) -> np.ndarray:
    """A copy of a device array as a NumPy array; non_blocking, in page-locked memory that is written later: synchronize before reading."""
    capture.forbid("reading values of the device", "let the step return them, or collect them in a cuda.LossBuffer")
    with on(array.device.id):
        if not non_blocking:
            return array.get()
        stream = module().cuda.get_current_stream()
        return array.get(stream=stream, out=pinned(array.shape, array.dtype), blocking=False)
