"""float16 on processors that compute in float32."""
from __future__ import annotations

from typing import Any, Callable

from .. import dtypes
from .arguments import cast

__all__ = ["in_float32"]


def in_float32(primitive: Callable, *tensors: Any, **options: Any) -> Any:
    """A primitive's result; where all floating point tensors are float16 on the CPU it computes in float32, and its results are rounded.

    Devices have kernels for float16.

    Example:
        >>> import tinygrad_ed as tg
        >>> in_float32(tg.exp, tg.ones(2).half()).dtype
        dtype('float16')
    """
    kinds = {x.dtype for x in tensors if x is not None and x.dtype.kind in dtypes.FLOATS}
    if kinds != {dtypes.float16} or tensors[0].device.type != "cpu":
        return primitive(*tensors, **options)
    y = primitive(*[cast(x, dtypes.float32) if x is not None and x.dtype.kind in dtypes.FLOATS else x for x in tensors], **options)
    return tuple(cast(v, dtypes.float16) for v in y) if isinstance(y, tuple) else cast(y, dtypes.float16)
