"""Which CUDA devices there are, what they are, and which one is current."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..backend import Device, cuda
from ..backend.cuda import current_device, device_count, is_available, why_not
from ..errors import DeviceError, OutOfMemoryError

__all__ = ["DeviceProperties", "OutOfMemoryError", "current_device", "device", "device_count", "device_of", "get_device_capability",
           "get_device_name", "get_device_properties", "init", "is_available", "is_initialized", "set_device", "synchronize", "why_not"]


def index_of(device: Any = None) -> int:
    """The number of a CUDA device, given as a number, a name or a Device; of the current one by default.

    Raises:
        DeviceError: not a CUDA device, or one that is not there.
    """
    if device is not None and not isinstance(device, int):
        device = Device(device)
        if device.type != "cuda":
            raise DeviceError(f'a CUDA device is wanted, got {device}; write "cuda:0" or 0')
        device = device.index
    cuda.on(device)                                   # raises where it is not there
    return current_device() if device is None else device


def init() -> None:
    """Use CUDA from now on, which otherwise happens at the first use of a device.

    Raises:
        DeviceError: CUDA cannot be used; the message says why.

    Example:
        >>> import tinygrad_ed as tg
        >>> if tg.cuda.is_available():
        ...     tg.cuda.init()
    """
    cuda.module()


def is_initialized() -> bool:
    """Whether CUDA has been used by this process.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cuda.is_available() or not tg.cuda.is_initialized()
        True
    """
    return cuda.used()


def set_device(device: Any) -> None:
    """Make a device the current one, which `device="cuda"` means; a negative number changes nothing.

    Args:
        device: a number, a name or a Device.

    Raises:
        DeviceError: there is no such device.

    Example:
        >>> import tinygrad_ed as tg
        >>> if tg.cuda.is_available():
        ...     tg.cuda.set_device(0)
    """
    if not (isinstance(device, int) and device < 0):
        cuda.module().cuda.Device(index_of(device)).use()


class device:
    """A block in which a device is the current one: tensors on it are computed with inside.

    Args:
        device: a number, a name or a Device; None and negative numbers change nothing.

    Raises:
        DeviceError: there is no such device.

    Example:
        >>> import tinygrad_ed as tg
        >>> with tg.cuda.device(-1):
        ...     x = tg.ones(2)
    """

    def __init__(self, device: Any):
        self.idx = -1 if device is None or (isinstance(device, int) and device < 0) else index_of(device)
        self.prev_idx = -1

    def __enter__(self) -> None:
        if self.idx >= 0:
            self.prev_idx = current_device()
            set_device(self.idx)

    def __exit__(self, *error: Any) -> None:
        if self.idx >= 0:
            set_device(self.prev_idx)


class device_of(device):
    """A block in which the device of a tensor is the current one; a tensor on the CPU changes nothing.

    Args:
        obj: the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> if tg.cuda.is_available():
        ...     x = tg.ones(2, device="cuda:0")
        ...     with tg.cuda.device_of(x):
        ...         y = x + 1
    """

    def __init__(self, obj: Any):
        super().__init__(obj.get_device())


def synchronize(device: Any = None) -> None:
    """Wait until a device has done all that was queued.

    Args:
        device: the current one by default.

    Raises:
        DeviceError: CUDA cannot be used, or there is no such device.

    Example:
        >>> import tinygrad_ed as tg
        >>> if tg.cuda.is_available():
        ...     tg.cuda.synchronize()
    """
    with cuda.on(index_of(device)):
        cuda.module().cuda.runtime.deviceSynchronize()


@dataclass(frozen=True)
class DeviceProperties:
    """What a device is.

    Attributes:
        name: its product name.
        major, minor: its compute capability.
        total_memory: in bytes.
        multi_processor_count: how many multiprocessors it has.
        warp_size: threads that run in step.
        max_threads_per_multi_processor: threads that one multiprocessor holds at once.
        regs_per_multiprocessor: 32-bit registers that these share.
        shared_memory_per_block: bytes that the threads of one block share.
        L2_cache_size: in bytes.
        is_integrated: 1 where it shares the host's memory.
        is_multi_gpu_board: 1 where its board has several.

    Example:
        >>> import tinygrad_ed as tg
        >>> if tg.cuda.is_available():
        ...     p = tg.cuda.get_device_properties()
        ...     many = p.multi_processor_count > 100
    """

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    warp_size: int
    max_threads_per_multi_processor: int
    regs_per_multiprocessor: int
    shared_memory_per_block: int
    L2_cache_size: int
    is_integrated: int
    is_multi_gpu_board: int


_CUDA_NAMES = ("name", "major", "minor", "totalGlobalMem", "multiProcessorCount", "warpSize", "maxThreadsPerMultiProcessor",
               "regsPerMultiprocessor", "sharedMemPerBlock", "l2CacheSize", "integrated", "isMultiGpuBoard")


def get_device_properties(device: Any = None) -> DeviceProperties:
    """What a device is.

    Args:
        device: a number, a name or a Device; the current one by default.

    Raises:
        DeviceError: CUDA cannot be used, or there is no such device.

    Example:
        >>> import tinygrad_ed as tg
        >>> if tg.cuda.is_available():
        ...     gibibytes = tg.cuda.get_device_properties().total_memory / 2**30
    """
    index = index_of(device)
    found = cuda.module().cuda.runtime.getDeviceProperties(index)
    name, *numbers = (found.get(key, 0) for key in _CUDA_NAMES)
    return DeviceProperties(name.decode() if isinstance(name, bytes) else str(name), *map(int, numbers))


def get_device_name(device: Any = None) -> str:
    """The product name of a device, by default of the current one.

    Example:
        >>> import tinygrad_ed as tg
        >>> if tg.cuda.is_available():
        ...     name = tg.cuda.get_device_name()
    """
    return get_device_properties(device).name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability of a device, by default of the current one: (9, 0) for Hopper.

    Example:
        >>> import tinygrad_ed as tg
        >>> if tg.cuda.is_available():
        ...     hopper = tg.cuda.get_device_capability() >= (9, 0)
    """
    properties = get_device_properties(device)
    return properties.major, properties.minor
