"""Copies of a tensor: the same values under another dtype, on another device, or in memory of their own."""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.op import op
from ..backend import device_of, on, to_device
from ..tensor import Tensor

__all__ = ["clone", "expand_as"]


def _converted(x: Any, dtype: np.dtype, device: Any, non_blocking: bool) -> Any:
    moved = to_device(x, device, non_blocking and x.dtype == dtype)       # another dtype is computed from what has arrived
    if moved is not x and moved.dtype == dtype:
        return moved
    with on(device):
        return moved.astype(dtype)


alias = op("alias", lambda x: x, x=lambda g: g)
clone = op("clone", lambda x, *, memory_format=None: x.copy(), x=lambda g: g, doc="""A copy in memory of its own; the derivative passes through.

Args:
    input: a tensor of any shape.
    memory_format: accepted as in PyTorch, without effect.

Returns:
    A new tensor of the same shape, dtype and device.

Example:
    >>> import tinygrad_ed as tg
    >>> tg.clone(tg.tensor([1.0, 2.0]))
    tensor([1., 2.])
""")
_convert = op("convert", lambda x, *, dtype, device, non_blocking, x_dtype, x_device: _converted(x, dtype, device, non_blocking),
              x=lambda g, x_dtype, x_device: convert(g, dtype=x_dtype, device=x_device))


def convert(x: Any, *, dtype: np.dtype, device: Any, non_blocking: bool = False) -> Any:
    """x, a tensor or an array, in another dtype and on another device; always a copy. Non-blocking, the host does not wait for it."""
    if dtype.kind not in dtypes.FLOATS and isinstance(x, Tensor):
        x = x.detach()                                # integers carry no derivative
    x_device = x.device if isinstance(x, Tensor) else device_of(x)
    return _convert(x, dtype=dtype, device=device, non_blocking=non_blocking, x_dtype=x.dtype, x_device=x_device)


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """The tensor broadcast to the shape of another, without a copy.

    Args:
        input: a tensor that broadcasts to the other's shape.
        other: the tensor whose shape is wanted.

    Returns:
        A view of the other's shape.

    Raises:
        ShapeError: the shapes do not broadcast.

    Example:
        >>> import tinygrad_ed as tg
        >>> expand_as(tg.tensor([1.0, 2.0]), tg.zeros(2, 2))
        tensor([[1., 2.],
                [1., 2.]])
    """
    from .broadcast import expand_to
    return input if input.shape == other.shape else expand_to(input, shape=other.shape)


CONVERSIONS = {"half": dtypes.float16, "bfloat16": "bfloat16", "float": dtypes.float32, "double": dtypes.float64, "char": dtypes.int8,
               "byte": dtypes.uint8, "short": dtypes.int16, "int": dtypes.int32, "long": dtypes.int64, "bool": dtypes.bool}
