"""New tensors in the shape, dtype and device of another one."""
from __future__ import annotations

from enum import Enum
from typing import Any

from ..dtypes import canonical
from ..tensor import Tensor, as_array
from .creation import empty, full, leaf, number, on_device, ones, tensor, zeros

__all__ = ["channels_last", "channels_last_3d", "contiguous_format", "empty_like", "full_like", "memory_format", "ones_like", "preserve_format",
           "zeros_like"]


class memory_format(Enum):
    """PyTorch's orders of the elements in memory. Functions take them and keep to their own order: only the speed could differ, no value does.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.ones(1, 3, 4, 4).to(memory_format=tg.channels_last).shape
        (1, 3, 4, 4)
    """

    channels_last = "channels_last"
    channels_last_3d = "channels_last_3d"
    contiguous_format = "contiguous_format"
    preserve_format = "preserve_format"


channels_last, channels_last_3d, contiguous_format, preserve_format = memory_format


def _like(name: str, input: Tensor, dtype: Any, device: Any, requires_grad: bool, *value: Any) -> Tensor:
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}_like takes a tensor, got {type(input).__name__}; write {name}_like(tensor(x))")
    dtype = input.dtype if dtype is None else canonical(dtype)
    if value:
        value = (as_array(number(value[0], "fill_value"), dtype).item(),)
    if device is None or input.device == device:      # in the same memory order, too
        build = lambda xp: getattr(xp, name + "_like")(input._data, *value, dtype=dtype)
    else:
        build = lambda xp: getattr(xp, name)(input.shape, *value, dtype=dtype)
    return leaf(on_device(build, input.device if device is None else device), requires_grad)


def zeros_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
               memory_format: Any = None) -> Tensor:
    """Zeros in the shape of another tensor.

    Args:
        input: a tensor of any shape.
        dtype: input's by default.
        device: input's by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.
        memory_format: accepted as in PyTorch, without effect.

    Returns:
        A tensor of input's shape.

    Example:
        >>> zeros_like(tensor([1, 2]))
        tensor([0, 0])
    """
    return _like("zeros", input, dtype, device, requires_grad)


def ones_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
              memory_format: Any = None) -> Tensor:
    """Ones in the shape of another tensor.

    Args:
        input: a tensor of any shape.
        dtype: input's by default.
        device: input's by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.
        memory_format: accepted as in PyTorch, without effect.

    Returns:
        A tensor of input's shape.

    Example:
        >>> ones_like(tensor([5.0, 6.0]))
        tensor([1., 1.])
    """
    return _like("ones", input, dtype, device, requires_grad)


def empty_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
               memory_format: Any = None) -> Tensor:
    """A tensor in the shape of another, whose elements are whatever its memory held.

    Args:
        input: a tensor of any shape.
        dtype: input's by default.
        device: input's by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.
        memory_format: accepted as in PyTorch, without effect.

    Returns:
        A tensor of input's shape.

    Example:
        >>> empty_like(zeros(2, 3)).shape
        (2, 3)
    """
    return _like("empty", input, dtype, device, requires_grad)


def full_like(input: Tensor, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
              memory_format: Any = None) -> Tensor:
    """The same number everywhere, in the shape of another tensor.

    Args:
        input: a tensor of any shape.
        fill_value: a number or a 0-d tensor.
        dtype: input's by default.
        device: input's by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.
        memory_format: accepted as in PyTorch, without effect.

    Returns:
        A tensor of input's shape.

    Raises:
        DTypeError: the value does not fit into the dtype.

    Example:
        >>> full_like(zeros(2), 7)
        tensor([7., 7.])
    """
    return _like("full", input, dtype, device, requires_grad, fill_value)


# -- methods -----------------------------------------------------------------------------------------------------------

def new_tensor(self: Tensor, data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """`tensor(data)` with this tensor's dtype and device by default."""
    return tensor(data, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


def new_full(self: Tensor, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """`full(size, fill_value)` with this tensor's dtype and device by default."""
    return full(size, fill_value, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


def new_zeros(self: Tensor, *sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """`zeros(size)` with this tensor's dtype and device by default."""
    return zeros(*sizes, size=size, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


def new_ones(self: Tensor, *sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """`ones(size)` with this tensor's dtype and device by default."""
    return ones(*sizes, size=size, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


def new_empty(self: Tensor, *sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """`empty(size)` with this tensor's dtype and device by default."""
    return empty(*sizes, size=size, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


METHODS = (new_tensor, new_full, new_zeros, new_ones, new_empty)
