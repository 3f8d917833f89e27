"""Overwriting a tensor: with one number, or with random numbers, one like the other."""
from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Any, Iterator

import numpy as np

from ...autograd.inplace import write
from ...autograd.modes import no_grad
from ...backend import module_of, special
from ...errors import DomainError
from ...ops.random import check_float, gaussian, uniform
from ...tensor import Tensor

__all__ = ["constant_", "normal_", "ones_", "trunc_normal_", "uniform_", "zeros_"]


class _Skipping(threading.local):
    on = False


_skipping = _Skipping()


@contextmanager
def skipped() -> Iterator[None]:
    """Let the functions of this module leave tensors as they are, in this thread."""
    before, _skipping.on = _skipping.on, True
    try:
        yield
    finally:
        _skipping.on = before


def fill(tensor: Tensor, value: Any, what: str) -> Tensor:
    """Overwrite a tensor with a value, or with what a function returns that is not called in vain."""
    if _skipping.on:
        return tensor
    with no_grad():
        return write(tensor, value() if callable(value) else value, what)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Overwrite with numbers uniform in [a, b).

    Args:
        tensor: a floating point tensor.
        a: the lower limit.
        b: the upper limit.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        The tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.nn.init.uniform_(tg.empty(100), 2, 3)
        >>> bool((2 <= x).all() and (x <= 3).all())
        True
    """
    def draw() -> Any:
        u = uniform(tensor.shape, tensor.dtype, tensor.device, generator)
        u *= b - a
        u += a
        return u
    return fill(tensor, draw, "uniform_")


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Overwrite with normally distributed numbers.

    Args:
        tensor: a floating point tensor.
        mean: their mean.
        std: their standard deviation.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        The tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.init.normal_(tg.empty(3, 5), std=0.02).shape
        (3, 5)
    """
    def draw() -> Any:
        z = gaussian(tensor.shape, tensor.dtype, tensor.device, generator)
        z *= std
        z += mean
        return z
    return fill(tensor, draw, "normal_")


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None) -> Tensor:
    """Overwrite with normally distributed numbers of which only those in [a, b] are taken.

    They are Φ⁻¹(u) for u uniform between Φ(a) and Φ(b), with the normal distribution function Φ: exact however unlikely [a, b] is.

    Args:
        tensor: a floating point tensor.
        mean: the mean before the truncation.
        std: the standard deviation before the truncation, positive.
        a: the lower limit.
        b: the upper limit, not below a.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        The tensor.

    Raises:
        DomainError: std is not positive, or a is above b.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.nn.init.trunc_normal_(tg.empty(100), std=0.02, a=-0.04, b=0.04)
        >>> bool((x.abs() <= 0.04).all())
        True
    """
    if not std > 0 or not a <= b:
        raise DomainError(f"trunc_normal_ takes a positive std and limits a <= b, got std={std}, a={a}, b={b}")
    check_float(tensor.dtype)

    def draw() -> Any:
        xp = module_of(tensor.device)
        low, high = (a - mean) / std, (b - mean) / std
        side = -1 if low > 0 else 1                   # the upper tail is the lower one mirrored, where Φ has more digits
        low, high = sorted((side * low, side * high))
        below, above = (float(special(np).ndtr(limit)) for limit in (low, high))
        u = uniform(tensor.shape, np.dtype("float64"), tensor.device, generator)
        z = special(xp).ndtri(below + u * (above - below)) if above else xp.full(tensor.shape, high)
        return xp.clip(xp.clip(z, low, high) * (side * std) + mean, a, b)
    return fill(tensor, draw, "trunc_normal_")


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Overwrite with one number.

    Args:
        tensor: a tensor.
        val: the number.

    Returns:
        The tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.init.constant_(tg.empty(2), 0.5)
        tensor([0.5000, 0.5000])
    """
    return fill(tensor, val, "constant_")


def ones_(tensor: Tensor) -> Tensor:
    """Overwrite with ones.

    Args:
        tensor: a tensor.

    Returns:
        The tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.init.ones_(tg.empty(2))
        tensor([1., 1.])
    """
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Overwrite with zeros.

    Args:
        tensor: a tensor.

    Returns:
        The tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.init.zeros_(tg.empty(2))
        tensor([0., 0.])
    """
    return constant_(tensor, 0.0)
