"""Layers that pad; their mathematics is in `ops/vision/padding.py`."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Union

from ..tensor import Tensor
from . import functional as F
from .module import Module

__all__ = [f"{kind}Pad{n}d" for kind in ("Circular", "Constant", "Reflection", "Replication", "Zero") for n in (1, 2, 3)]

Padding = Union[int, Sequence[int]]


class _Pad(Module):
    """Padding of the last `dims` dimensions, in pairs that begin with the last."""

    dims: int
    mode: str
    value: float | None = None

    def __init__(self, padding: Padding):
        super().__init__()
        self.padding = (padding,) * (2 * self.dims) if isinstance(padding, int) else tuple(padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: Padding, value: float):
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ReflectionPad(_Pad):
    mode = "reflect"


class _ReplicationPad(_Pad):
    mode = "replicate"


class _CircularPad(_Pad):
    mode = "circular"


class ConstantPad1d(_ConstantPad):
    """Puts a constant around the last dimension.

    Args:
        padding: how many elements, one number for all sides or (left, right); negative numbers take elements away.
        value: the constant.

    Shapes:
        Input: (*, W). Output: (*, W + left + right).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ConstantPad1d((1, 2), 9.0)(tg.tensor([[1.0, 2.0, 3.0]]))
        tensor([[9., 1., 2., 3., 9., 9.]])
    """

    dims = 1


class ConstantPad2d(_ConstantPad):
    """Puts a constant around the last two dimensions.

    Args:
        padding: how many elements, one number for all sides or (left, right, top, bottom); negative numbers take elements away.
        value: the constant.

    Shapes:
        Input: (*, H, W). Output: (*, H + top + bottom, W + left + right).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ConstantPad2d((1, 1, 2, 0), 0.5)(tg.ones(1, 2, 3, 4)).shape
        (1, 2, 5, 6)
    """

    dims = 2


class ConstantPad3d(_ConstantPad):
    """Puts a constant around the last three dimensions.

    Args:
        padding: how many elements, one number for all sides or (left, right, top, bottom, front, back);
            negative numbers take elements away.
        value: the constant.

    Shapes:
        Input: (*, D, H, W). Output: (*, D + front + back, H + top + bottom, W + left + right).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ConstantPad3d(1, 0.5)(tg.ones(1, 2, 3, 4, 5)).shape
        (1, 2, 5, 6, 7)
    """

    dims = 3


class ZeroPad1d(ConstantPad1d):
    """Puts zeros around the last dimension.

    Args:
        padding: how many elements, one number for all sides or (left, right); negative numbers take elements away.

    Shapes:
        Input: (*, W). Output: (*, W + left + right).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ZeroPad1d(1)(tg.tensor([[1.0, 2.0, 3.0]]))
        tensor([[0., 1., 2., 3., 0.]])
    """

    def __init__(self, padding: Padding):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad2d(ConstantPad2d):
    """Puts zeros around the last two dimensions.

    Args:
        padding: how many elements, one number for all sides or (left, right, top, bottom); negative numbers take elements away.

    Shapes:
        Input: (*, H, W). Output: (*, H + top + bottom, W + left + right).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ZeroPad2d((1, 1, 2, 0))(tg.ones(1, 2, 3, 4)).shape
        (1, 2, 5, 6)
    """

    def __init__(self, padding: Padding):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad3d(ConstantPad3d):
    """Puts zeros around the last three dimensions.

    Args:
        padding: how many elements, one number for all sides or (left, right, top, bottom, front, back);
            negative numbers take elements away.

    Shapes:
        Input: (*, D, H, W). Output: (*, D + front + back, H + top + bottom, W + left + right).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ZeroPad3d(1)(tg.ones(1, 2, 3, 4, 5)).shape
        (1, 2, 5, 6, 7)
    """

    def __init__(self, padding: Padding):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ReflectionPad1d(_ReflectionPad):
    """Puts mirror images around the last dimension; the elements at the edges are not repeated.

    Args:
        padding: how many elements, one number for all sides or (left, right), each below the dimension's length.

    Shapes:
        Input: (C, W) or (N, C, W). Output: (*, C, W + left + right).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ReflectionPad1d(2)(tg.tensor([[1.0, 2.0, 3.0]]))
        tensor([[3., 2., 1., 2., 3., 2., 1.]])
    """

    dims = 1


class ReflectionPad2d(_ReflectionPad):
    """Puts mirror images around the last two dimensions; the elements at the edges are not repeated.

    Args:
        padding: how many elements, one number for all sides or (left, right, top, bottom), each below the dimension's length.

    Shapes:
        Input: (C, H, W) or (N, C, H, W). Output: (*, C, H + top + bottom, W + left + right).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ReflectionPad2d((1, 1, 2, 0))(tg.ones(1, 2, 3, 4)).shape
        (1, 2, 5, 6)
    """

    dims = 2


class ReflectionPad3d(_ReflectionPad):
    """Puts mirror images around the last three dimensions; the elements at the edges are not repeated.

    Args:
        padding: how many elements, one number for all sides or (left, right, top, bottom, front, back),
            each below the dimension's length.

    Shapes:
        Input: (C, D, H, W) or (N, C, D, H, W). Output: (*, C, D + front + back, H + top + bottom, W + left + right).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ReflectionPad3d(1)(tg.ones(1, 2, 3, 4, 5)).shape
        (1, 2, 5, 6, 7)
    """

    dims = 3


class ReplicationPad1d(_ReplicationPad):
    """Puts copies of the elements at the edges around the last dimension.

    Args:
        padding: how many elements, one number for all sides or (left, right).

    Shapes:
        Input: (C, W) or (N, C, W). Output: (*, C, W + left + right).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ReplicationPad1d(2)(tg.tensor([[1.0, 2.0, 3.0]]))
        tensor([[1., 1., 1., 2., 3., 3., 3.]])
    """

    dims = 1


class ReplicationPad2d(_ReplicationPad):
    """Puts copies of the elements at the edges around the last two dimensions.

    Args:
        padding: how many elements, one number for all sides or (left, right, top, bottom).

    Shapes:
        Input: (C, H, W) or (N, C, H, W). Output: (*, C, H + top + bottom, W + left + right).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ReplicationPad2d((1, 1, 2, 0))(tg.ones(1, 2, 3, 4)).shape
        (1, 2, 5, 6)
    """

    dims = 2


class ReplicationPad3d(_ReplicationPad):
    """Puts copies of the elements at the edges around the last three dimensions.

    Args:
        padding: how many elements, one number for all sides or (left, right, top, bottom, front, back).

    Shapes:
        Input: (C, D, H, W) or (N, C, D, H, W). Output: (*, C, D + front + back, H + top + bottom, W + left + right).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ReplicationPad3d(1)(tg.ones(1, 2, 3, 4, 5)).shape
        (1, 2, 5, 6, 7)
    """

    dims = 3


class CircularPad1d(_CircularPad):
    """Puts the other end's elements around the last dimension, as if they were a ring.

    Args:
        padding: how many elements, one number for all sides or (left, right), each at most the dimension's length.

    Shapes:
        Input: (C, W) or (N, C, W). Output: (*, C, W + left + right).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.CircularPad1d(2)(tg.tensor([[1.0, 2.0, 3.0]]))
        tensor([[2., 3., 1., 2., 3., 1., 2.]])
    """

    dims = 1


class CircularPad2d(_CircularPad):
    """Puts the other end's elements around the last two dimensions, as if they were a ring.

    Args:
        padding: how many elements, one number for all sides or (left, right, top, bottom), each at most the dimension's length.

    Shapes:
        Input: (C, H, W) or (N, C, H, W). Output: (*, C, H + top + bottom, W + left + right).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.CircularPad2d((1, 1, 2, 0))(tg.ones(1, 2, 3, 4)).shape
        (1, 2, 5, 6)
    """

    dims = 2


class CircularPad3d(_CircularPad):
    """Puts the other end's elements around the last three dimensions, as if they were a ring.

    Args:
        padding: how many elements, one number for all sides or (left, right, top, bottom, front, back),
            each at most the dimension's length.

    Shapes:
        Input: (C, D, H, W) or (N, C, D, H, W). Output: (*, C, D + front + back, H + top + bottom, W + left + right).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.CircularPad3d(1)(tg.ones(1, 2, 3, 4, 5)).shape
        (1, 2, 5, 6, 7)
    """

    dims = 3
