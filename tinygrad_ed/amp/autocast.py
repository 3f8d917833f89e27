"""autocast: a block in which operations choose their own precision."""
from __future__ import annotations

import functools
from typing import Any, Callable

import numpy as np

from ..autograd.casts import Casting, active
from ..autograd.modes import _Mode, state
from ..backend import Device
from ..dtypes import FLOATS, canonical, float16
from ..errors import DTypeError
from ..tensor import Tensor

__all__ = ["autocast", "custom_bwd", "custom_fwd", "get_autocast_dtype", "is_autocast_available", "is_autocast_enabled"]

_DEFAULTS = {"cpu": "bfloat16", "cuda": float16}


def is_autocast_available(device_type: str) -> bool:
    """Whether `autocast` knows a device type.

    Args:
        device_type: such as "cuda".

    Example:
        >>> is_autocast_available("cuda"), is_autocast_available("toaster")
        (True, False)
    """
    return device_type in ("cpu", "cuda")


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether an `autocast` for a device type is in force in this thread.

    Args:
        device_type: "cuda" or "cpu".

    Raises:
        DeviceError: an unknown device type.

    Example:
        >>> with autocast("cpu", float16):
        ...     is_autocast_enabled("cpu"), is_autocast_enabled("cuda")
        (True, False)
    """
    name = Device(device_type).type
    return state.casting is not None and state.casting.device_type == name


def get_autocast_dtype(device_type: str) -> np.dtype:
    """The half precision of the `autocast` in force for a device type, or the one it takes by default.

    Args:
        device_type: "cuda" or "cpu".

    Raises:
        DeviceError: an unknown device type.
        DTypeError: it is bfloat16, and the package ml_dtypes is missing.

    Example:
        >>> get_autocast_dtype("cuda")
        dtype('float16')
    """
    return state.casting.dtype if is_autocast_enabled(device_type) else canonical(_DEFAULTS[Device(device_type).type])


class autocast(_Mode):
    """A block, or a function, in which matrix products run in half precision and delicate operations in float32.

    Parameters stay in float32: they are converted where they are used, once within a block, and their gradients come back in
    float32. Wrap the forward pass and the loss; call `backward` outside. Small gradients vanish in float16, so losses are scaled with
    `GradScaler` there; bfloat16 has the range of float32 and needs none. Which operations convert is listed in `autograd/casts.py`
    (Micikevicius et al., Mixed Precision Training, 2018).

    Args:
        device_type: "cuda" or "cpu": whose tensors are converted. NumPy converts half-precision matrices to float32 to multiply them; on the
            CPU this is for trying a program out.
        dtype: the half precision, float16 or bfloat16; by default float16 for "cuda" and bfloat16 for "cpu", as in PyTorch.
        enabled: False for a block inside another that leaves everything as it is.
        cache_enabled: keep converted parameters until the end of the block.

    Raises:
        DeviceError: an unknown device type.
        DTypeError: a dtype that is not a half precision, or bfloat16 without the package ml_dtypes.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer, x = tg.nn.Linear(2, 2), tg.ones(1, 2)
        >>> with tg.amp.autocast("cpu"):
        ...     y = layer(x)
        ...     loss = y.softmax(1).log().sum()
        >>> y.dtype, loss.dtype
        (dtype(bfloat16), dtype('float32'))
    """

    def __init__(self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None):
        self.device, self._enabled, self._cache_enabled = Device(device_type).type, bool(enabled), cache_enabled is not False
        self.fast_dtype = canonical(dtype or (_DEFAULTS[self.device] if self._enabled else float16))
        if self._enabled and self.fast_dtype.char not in "eE":
            raise DTypeError(f"autocast lowers the precision to float16 or bfloat16, got dtype={self.fast_dtype}; write dtype=tinygrad_ed.float16")
        super().__init__()

    def _clone(self) -> "autocast":
        return autocast(self.device, self.fast_dtype, self._enabled, self._cache_enabled)

    def __enter__(self) -> "autocast":
        cache: dict | None = {} if self._cache_enabled else None
        self._modes = {"casting": Casting(self.device, self.fast_dtype, cache) if self._enabled else None}
        super().__enter__()
        active.append(self)
        return self

    def __exit__(self, *exception: Any) -> None:
        active.pop()
        super().__exit__(*exception)


def _converted(value: Any, device_type: str, dtype: np.dtype) -> Any:
    if isinstance(value, Tensor):
        eligible = value.dtype.kind in FLOATS and value.dtype.itemsize < 8 and value.device.type == device_type
        return value.to(dtype=dtype) if eligible else value
    if isinstance(value, (list, tuple)):
        return type(value)(_converted(v, device_type, dtype) for v in value)
    return {k: _converted(v, device_type, dtype) for k, v in value.items()} if isinstance(value, dict) else value


def custom_fwd(fwd: Callable | None = None, *, device_type: str, cast_inputs: Any = None) -> Callable:
    """Decorate the `forward` of an `autograd.Function` for use inside autocast.

    Args:
        fwd: the static method.
        device_type: as for `autocast`.
        cast_inputs: the dtype that floating point arguments are converted to, inside autocast only; autocast is off in forward then.
            By default forward runs under the autocast that is in force.

    Returns:
        The decorated forward.

    Example:
        >>> import tinygrad_ed as tg
        >>> class Cube(tg.autograd.Function):
        ...     @staticmethod
        ...     @tg.amp.custom_fwd(device_type="cpu", cast_inputs=tg.float32)
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x * x * x
        ...     @staticmethod
        ...     @tg.amp.custom_bwd(device_type="cpu")
        ...     def backward(ctx, g):
        ...         x, = ctx.saved_tensors
        ...         return g * 3 * x * x
        >>> with tg.amp.autocast("cpu"):
        ...     Cube.apply(tg.ones(1, dtype=tg.float16)).dtype
        dtype('float32')
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)
    dtype = None if cast_inputs is None else canonical(cast_inputs)

    @functools.wraps(fwd)
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        ctx._casting = state.casting
        if dtype is None or state.casting is None:
            return fwd(ctx, *args, **kwargs)
        ctx._casting = None
        with autocast(device_type, enabled=False):
            return fwd(ctx, *_converted(args, device_type, dtype), **_converted(kwargs, device_type, dtype))
    return forward


def custom_bwd(bwd: Callable | None = None, *, device_type: str) -> Callable:
    """Decorate the `backward` of an `autograd.Function`: it runs under the autocast that its forward ran under.

    Args:
        bwd: the static method.
        device_type: as for `autocast`.

    Returns:
        The decorated backward; see `custom_fwd` for an example.
    """
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(ctx: Any, *args: Any) -> Any:
        casting = ctx._casting
        with autocast(device_type, casting.dtype if casting else None, enabled=casting is not None):
            return bwd(ctx, *args)
    return backward


