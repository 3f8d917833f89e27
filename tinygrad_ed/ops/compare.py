"""Questions about whole tensors, answered in Python's True and False (`isclose`: element by element)."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import namespace
from ..errors import DeviceError, DomainError, DTypeError, ShapeError
from ..tensor import Tensor, wrap

__all__ = ["allclose", "equal", "is_floating_point", "is_tensor", "isclose", "numel"]


def is_tensor(obj: Any) -> bool:
    """Whether an object is a tensor.

    Args:
        obj: anything.

    Returns:
        True or False.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.is_tensor(tg.ones(2)), tg.is_tensor([1.0, 1.0])
        (True, False)
    """
    return isinstance(obj, Tensor)


def numel(input: Tensor) -> int:
    """The number of elements.

    Args:
        input: a tensor of any shape.

    Returns:
        An integer.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.numel(tg.ones(2, 3))
        6
    """
    return input.numel()


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a floating point dtype.

    Args:
        input: a tensor of any shape.

    Returns:
        True or False.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.is_floating_point(tg.arange(3))
        False
    """
    return input.is_floating_point()


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and the same elements; NaN equals nothing.

    Args:
        input: a tensor of any shape.
        other: a tensor; its dtype may differ.

    Returns:
        True or False.

    Raises:
        TypeError: not two tensors.
        DeviceError: tensors on two devices.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.equal(tg.tensor([1.0, 2.0]), tg.tensor([1, 2])), tg.equal(tg.ones(2), tg.ones(1))
        (True, False)
    """
    _check_pair("equal", input, other)
    return input.shape == other.shape and bool((input._data == other._data).all())


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Where |input - other| <= atol + rtol·|other|; infinities are close to themselves.

    Args:
        input: a tensor of any shape.
        other: a tensor of the same dtype that broadcasts with it.
        rtol: the tolerance relative to other, at least 0.
        atol: the absolute tolerance, at least 0.
        equal_nan: whether NaN is close to NaN.

    Returns:
        A boolean tensor of the broadcast shape.

    Raises:
        DTypeError: two dtypes.
        ShapeError: the shapes do not broadcast.
        DomainError: a negative tolerance.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.isclose(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 2.1]))
        tensor([ True, False])
    """
    _check_pair("isclose", input, other)
    a, b = input._data, other._data
    if a.dtype != b.dtype:
        raise DTypeError(f"isclose compares tensors of one dtype, got {a.dtype} and {b.dtype}; write other.to(input.dtype)")
    if rtol < 0 or atol < 0:
        raise DomainError(f"tolerances are at least 0, got rtol={rtol} and atol={atol}")
    xp = namespace(a)
    try:
        a, b = xp.broadcast_arrays(a, b)
    except ValueError:
        raise ShapeError(f"isclose: shapes {input.shape} and {other.shape} do not broadcast") from None
    close = a == b
    if equal_nan:
        close |= xp.isnan(a) & xp.isnan(b)
    if rtol or atol:
        finite = xp.isfinite(a) & xp.isfinite(b)
        a, b = (xp.where(finite, x, 0).astype("float64") for x in (a, b))
        with np.errstate(over="ignore"):
            close |= finite & (xp.abs(a - b) <= atol + rtol * xp.abs(b))
    return wrap(xp.asarray(close))


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether |input - other| <= atol + rtol·|other| holds for all elements; see `isclose`.

    Args:
        input: a tensor of any shape.
        other: a tensor of the same dtype that broadcasts with it.
        rtol: the tolerance relative to other, at least 0.
        atol: the absolute tolerance, at least 0.
        equal_nan: whether NaN is close to NaN.

    Returns:
        True or False.

    Raises:
        DTypeError: two dtypes.
        ShapeError: the shapes do not broadcast.
        DomainError: a negative tolerance.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.allclose(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 2.00001]))
        True
    """
    return bool(isclose(input, other, rtol, atol, equal_nan)._data.all())


def _check_pair(name: str, input: Any, other: Any) -> None:
    for x in (input, other):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} compares two tensors, got {type(x).__name__}; write tensor(x)")
    if input.device != other.device:
        raise DeviceError(f"{name}: tensors of shapes {input.shape} and {other.shape} on {input.device} and {other.device}; "
                          f"write other.to(input.device)")


METHODS = (allclose, equal, isclose)
