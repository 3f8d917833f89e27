"""What convolution and pooling share: arguments for one or for every spatial dimension, and inputs with or without a batch."""
from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import Any, Union

from ..dtypes import FLOATS
from ..errors import DomainError, DTypeError, ShapeError
from ..tensor import Tensor
from .broadcast import reshape_to

Size = Union[int, tuple[int, ...]]


def integers(name: str, what: str, value: Any, n: int, least: int) -> tuple[int, ...]:
    """A number for each of n spatial dimensions, from one for all of them or a sequence of n.

    Raises:
        TypeError: no integers.
        ShapeError: another number of them.
        DomainError: one below `least`.
    """
    numbers = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    numbers = numbers * n if len(numbers) == 1 else numbers
    if len(numbers) != n:
        raise ShapeError(f"{name}: {what} is an integer or one for each of {n} spatial dimensions, got {value!r}")
    if any(isinstance(i, bool) or not hasattr(i, "__index__") for i in numbers):
        raise TypeError(f"{name}: {what} is an integer or a tuple of {n}, got {value!r}")
    numbers = tuple([index(i) for i in numbers])
    if min(numbers) < least:
        raise DomainError(f"{name}: {what} is at least {least}, got {value!r}")
    return numbers


def check(name: str, input: Any, n: int) -> None:
    """Refuse what is not an image (C, *sizes), or a batch of them (N, C, *sizes), with n sizes.

    Raises:
        ShapeError: another number of dimensions.
        DTypeError: not a floating point dtype.
    """
    if input.ndim not in (n + 1, n + 2):
        sizes = ("L", "H, W", "D, H, W")[n - 1]
        raise ShapeError(f"{name} takes an input of shape (N, C, {sizes}) or (C, {sizes}), got {tuple(input.shape)}")
    if input.dtype.kind not in FLOATS:
        raise DTypeError(f"{name} takes a floating point input, got {input.dtype}{list(input.shape)}; write input.float()")


def batched(function: Callable, input: Tensor, n: int) -> Any:
    """function(input) with a batch dimension, which the results lose again where the input (C, *sizes) had none."""
    if input.ndim == n + 2:
        return function(input)
    found = function(reshape_to(input, shape=(1, *input.shape)))
    if isinstance(found, tuple):
        return tuple([reshape_to(y, shape=y.shape[1:]) for y in found])
    return reshape_to(found, shape=found.shape[1:])
