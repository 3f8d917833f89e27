"""CUDA through CuPy, imported at the first use of a CUDA device and never by `import tinygrad_ed`."""
from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import DeviceError
from . import Device, register

INSTALL = 'pip install "tinygrad_ed[cuda13]" (CUDA 13) or pip install "tinygrad_ed[cuda12]" (CUDA 12)'


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
    try:
        if cupy.cuda.runtime.getDeviceCount() == 0:
            return "the NVIDIA driver sees no device"
    except Exception as error:  # CuPy raises a different type for every missing library; each is a reason in words
        return f"CuPy {cupy.__version__} finds no usable NVIDIA driver or CUDA library: {error}"
    register(cupy.ndarray, cupy)
    return None


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
    return module().cuda.runtime.getDeviceCount() if is_available() else 0


def module() -> ModuleType:
    """CuPy, once it is known to work.

    Raises:
        DeviceError: CUDA cannot be used; the message says why.
    """
    reason = why_not()
    if reason is not None:
        raise DeviceError(f'CUDA is not available: {reason}. Write device="cpu" to run on the CPU')
    import cupy
    return cupy


def put(array: Any, device: Device) -> Any:
    """A copy of the array on a CUDA device."""
    cupy = module()
    if (device.index or 0) >= device_count():
        raise DeviceError(f"there is no {device}: this machine has {device_count()} CUDA device(s), counted from 0")
    with cupy.cuda.Device(device.index):
        return cupy.array(array) if isinstance(array, np.ndarray) else array.copy()
