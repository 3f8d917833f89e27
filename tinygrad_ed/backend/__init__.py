"""Where arrays live and run: which module computes on an array, and on which device it lies.

A backend is a module with NumPy's interface. It is found once per operation by the array's type: `numpy` for
`numpy.ndarray`, `cupy` for `cupy.ndarray`, entered into the table when CuPy is first imported (see `cuda`).
"""
from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any, Union

import numpy as np

from ..errors import DeviceError

_namespaces: dict[type, ModuleType] = {np.ndarray: np}


class Device:
    """A place for arrays: `Device("cpu")`, `Device("cuda", 0)` or `Device("cuda:0")`; `Device("cuda")` is the current CUDA device.

    Args:
        type: `"cpu"`, `"cuda"` or `"cuda:<index>"`, or another Device.
        index: which CUDA device; the current one by default, the first unless `cuda.set_device` chose another.

    Raises:
        DeviceError: an unknown device name or a negative index.

    Example:
        >>> Device("cuda:1").index
        1
        >>> Device("cpu") == "cpu"
        True
    """

    __slots__ = ("type", "index")

    def __init__(self, type: Union[str, "Device"], index: int | None = None):
        name, _, number = str(type).partition(":")
        if name not in ("cpu", "cuda") or (number and not number.isdigit()):
            raise DeviceError(f'unknown device {str(type)!r}: write "cpu", "cuda" or "cuda:0"')
        self.type = name
        self.index = int(number) if number else index
        if name == "cuda" and self.index is None:
            from .cuda import current_device
            self.index = current_device()
        if self.index is not None and self.index < 0:
            raise DeviceError(f"a device index counts from 0, got {self.index}")

    def __str__(self) -> str:
        return self.type if self.type == "cpu" else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return f"device(type={self.type!r})" if self.type == "cpu" else f"device(type={self.type!r}, index={self.index})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            other = Device(other)
        return isinstance(other, Device) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


CPU = Device("cpu")


def register(array_type: type, module: ModuleType) -> None:
    """Let `module` compute on arrays of `array_type`."""
    _namespaces[array_type] = module


def unregister(array_type: type) -> None:
    """Forget arrays of `array_type`."""
    _namespaces.pop(array_type, None)


def is_array(x: object) -> bool:
    """Whether x is an array of a registered backend."""
    return type(x) in _namespaces


def namespace(*operands: Any) -> ModuleType:
    """The module that computes on these operands: that of the first array among them, NumPy if there is none."""
    for x in operands:
        module = _namespaces.get(type(x))
        if module is not None:
            return module
    return np


def special(xp: Any) -> Any:
    """The module of special functions that belongs to an array module; SciPy and CuPy are imported at first use."""
    if xp.__name__ == "numpy":
        import scipy.special
        return scipy.special
    import cupyx.scipy.special
    return cupyx.scipy.special


def device_of(array: Any) -> Device:
    """The device that an array lies on."""
    return CPU if isinstance(array, (np.ndarray, np.generic)) else Device("cuda", array.device.id)


def module_of(device: Union[str, Device, None]) -> ModuleType:
    """The array module of a device; imports CuPy at the first use of a CUDA device.

    Raises:
        DeviceError: a CUDA device where CUDA cannot be used; the message says why.
    """
    if device is None or Device(device).type == "cpu":
        return np
    from . import cuda
    return cuda.module()


def on(device: Device) -> AbstractContextManager:
    """A block in which a CUDA device is the current one, so that arrays on it can be computed with; for the CPU nothing."""
    if device.type == "cpu":
        return nullcontext()
    from . import cuda
    return cuda.on(device.index)


def to_device(array: Any, device: Union[str, Device], non_blocking: bool = False) -> Any:
    """The array on a device: itself where it lies there already, else a copy; non_blocking, the host does not wait for it."""
    device = Device(device)
    if device_of(array) == device:
        return array
    from . import cuda
    return cuda.get(array, non_blocking) if device.type == "cpu" else cuda.put(array, device, non_blocking)


def to_numpy(array: Any) -> np.ndarray:
    """The array's values as a NumPy array, copied from the device where needed."""
    return to_device(array, CPU)
