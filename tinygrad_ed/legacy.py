"""What programs of PyTorch's first years write: `FloatTensor(2, 3)` for a tensor of a dtype, `Variable(x)` for one with gradients.

New programs write `empty`, `tensor` and `requires_grad=True`.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from . import dtypes
from .backend import is_array
from .errors import DTypeError
from .ops.creation import empty
from .tensor import Tensor, as_array, wrap

__all__ = ["BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor", "IntTensor", "LongTensor",
           "ShortTensor", "TensorType", "Variable"]

_DTYPES = {"Half": "float16", "BFloat16": "bfloat16", "Float": "float32", "Double": "float64", "Char": "int8", "Short": "int16", "Int": "int32",
           "Long": "int64", "Byte": "uint8", "Bool": "bool"}


class TensorType:
    """The tensors of one dtype, under PyTorch's old name for them.

    Called with sizes it makes an empty tensor, with an array, a tensor or lists one of those values. `x.type(LongTensor)` converts to it, and
    `isinstance(x, FloatTensor)` asks for the dtype.

    Args:
        name: such as "FloatTensor".

    Raises:
        TypeError: sizes that are no integers, or a tuple of integers, a shape in PyTorch where it comes from `x.size()`, else values.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.LongTensor([1.5, 2])
        tensor([1, 2])
        >>> tg.FloatTensor(2, 3).shape
        (2, 3)
        >>> isinstance(tg.ones(2), tg.FloatTensor)
        True
    """

    def __init__(self, name: str):
        self.__name__ = name

    @property
    def dtype(self) -> np.dtype:
        """The dtype of these tensors."""
        return dtypes.canonical(_DTYPES[self.__name__[:-len("Tensor")]])

    def __call__(self, *data: Any) -> Tensor:
        values = data[0] if len(data) == 1 else None
        if isinstance(values, tuple) and values and all(isinstance(n, int) for n in values):
            raise TypeError(f"{self.__name__}({values}) could mean a shape or values; "
                            f"write {self.__name__}(*{values}) or {self.__name__}({list(values)})")
        if isinstance(values, (Tensor, list, tuple)) or is_array(values):
            return wrap(as_array(values, self.dtype))
        return empty(data or (0,), dtype=self.dtype)

    def __instancecheck__(self, x: Any) -> bool:
        return isinstance(x, Tensor) and x.dtype == self.dtype

    def __repr__(self) -> str:
        return f"tinygrad_ed.{self.__name__}"


BFloat16Tensor, BoolTensor, ByteTensor, CharTensor, DoubleTensor, FloatTensor, HalfTensor, IntTensor, LongTensor, ShortTensor = map(
    TensorType, __all__[:10])


class _Tensors(type):
    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, Tensor)


class Variable(metaclass=_Tensors):
    """A tensor of its own for gradients, which shares memory with the given one and has no history; every tensor is a Variable.

    Args:
        data: a tensor or an array.
        requires_grad: whether gradients with respect to it are wanted.

    Raises:
        TypeError: neither a tensor nor an array.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.autograd.Variable(tg.ones(2), requires_grad=True)
        tensor([1., 1.], requires_grad=True)
    """

    def __new__(cls, data: Any, requires_grad: bool = False) -> Tensor:       # type: ignore[misc]
        if not isinstance(data, Tensor) and not is_array(data):
            raise TypeError(f"Variable takes a tensor, got {type(data).__name__}; write tinygrad_ed.tensor(value, requires_grad=True)")
        return Tensor(data, requires_grad)


def type_name(x: Tensor) -> str:
    """PyTorch's old name for a tensor's dtype and device, under this package's."""
    kind = next(kind for kind, dtype in _DTYPES.items() if dtype == x.dtype.name)
    return f"tinygrad_ed.{'cuda.' if x.is_cuda else ''}{kind}Tensor"


def named_type(name: str) -> tuple[np.dtype, str]:
    """The dtype and the device that a name such as "torch.cuda.FloatTensor" stands for.

    Raises:
        DTypeError: not such a name.
    """
    package, *device, kind = name.split(".")
    if package not in ("torch", "tinygrad_ed") or device not in ([], ["cuda"]) or kind not in __all__[:10]:
        raise DTypeError(f'{name!r} is no type of tensors; write x.to("float32"), or x.type("tinygrad_ed.FloatTensor")')
    return TensorType(kind).dtype, device[0] if device else "cpu"
