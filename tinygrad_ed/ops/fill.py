"""The in-place methods that give a tensor new values, whatever it held: zero_, fill_, copy_, and random numbers.

All return the tensor. They are recorded as any other write: what the tensor was before gets no gradient.
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.inplace import write
from ..backend import namespace, philox
from ..dtypes import FLOATS, finfo
from ..errors import DomainError, ShapeError
from ..tensor import Tensor, as_array, to_device
from .broadcast import expand_to
from .creation import number
from .random import FLOAT32, FLOAT64, check_bounds, check_float, coins, gaussian, integers, probabilities, shifted, uniform


def zero_(self: Tensor) -> Tensor:
    """Write 0 everywhere.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.ones(2).zero_()
        tensor([0., 0.])
    """
    return write(self, _number(0, self), "zero_")


def fill_(self: Tensor, value: Any) -> Tensor:
    """Write one value everywhere.

    Args:
        value: a number or a 0-d tensor; the derivative with respect to it is the sum of the incoming gradient.

    Raises:
        ShapeError: a value with dimensions.
        DTypeError: a number that does not fit into the dtype.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.zeros(2).fill_(3)
        tensor([3., 3.])
    """
    if getattr(value, "ndim", 0) != 0:
        raise ShapeError(f"fill_ takes a number or a 0-d tensor, got shape {tuple(value.shape)}; write x.copy_(value)")
    if isinstance(value, Tensor):
        return write(self, value.to(dtype=self.dtype, device=self.device), "fill_")
    return write(self, _number(number(value, "value"), self), "fill_")


def _number(value: Any, like: Tensor) -> Any:
    """A number as a 0-d array of a tensor's dtype, on its device."""
    array = np.array(value, like.dtype) if like.dtype.kind in FLOATS else as_array(value, like.dtype)
    return array if like.is_cpu else to_device(array, like.device)


def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Write another tensor's values; the derivative goes to the other tensor.

    Args:
        src: a tensor that broadcasts to this one's shape, of any dtype and on any device, or a number.
        non_blocking: accepted as in PyTorch.

    Raises:
        ShapeError: src does not broadcast to this tensor's shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.zeros(2).copy_(tg.tensor([1, 2]))
        tensor([1., 2.])
    """
    if isinstance(src, (int, float)):
        return fill_(self, src)
    if not isinstance(src, Tensor):
        raise TypeError(f"copy_ takes a tensor, got {type(src).__name__}; write x.copy_(as_tensor(values))")
    return write(self, src.to(device=self.device), "copy_")


def uniform_(self: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Any = None) -> Tensor:
    """Write numbers from the uniform distribution on [from_, to).

    Raises:
        DomainError: from_ is above to, or they are further apart than the dtype's largest number.
        DTypeError: not a floating point tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> bool((tg.empty(100).uniform_(2, 3) >= 2).all())
        True
    """
    check_float(self.dtype)
    if not from_ <= to or to - from_ > finfo(self.dtype).max:
        raise DomainError(f"uniform_ draws from [from_, to), got from {from_} to {to}")
    u = uniform(self.shape, self.dtype, self.device, generator)
    if (from_, to) != (0, 1):
        u *= to - from_
        u += from_
        if from_ < to:                                # the sum may have been rounded up to `to`
            xp = namespace(u)
            u = xp.minimum(u, xp.nextafter(self.dtype.type(to), self.dtype.type(from_)))
    return write(self, u, "uniform_")


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Write numbers from the normal distribution.

    Raises:
        DomainError: a negative standard deviation.
        DTypeError: not a floating point tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.empty(2, 3).normal_(1.0, 0.5).shape
        (2, 3)
    """
    return write(self, shifted(gaussian, mean, std, self.shape, self.dtype, self.device, generator), "normal_")


def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Any = None) -> Tensor:
    """Write e^z, with z from the normal distribution of this mean and standard deviation.

    Raises:
        DomainError: a standard deviation that is not positive.
        DTypeError: not a floating point tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> bool((tg.empty(100).log_normal_() > 0).all())
        True
    """
    _check_positive("std", std)
    z = shifted(gaussian, mean, std, self.shape, self.dtype, self.device, generator)
    return write(self, namespace(z).exp(z), "log_normal_")


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Write numbers from the exponential distribution, of mean 1/lambd: -log(u)/lambd.

    Raises:
        DomainError: a rate that is not positive.
        DTypeError: not a floating point tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> bool((tg.empty(100).exponential_() > 0).all())
        True
    """
    _check_positive("lambd", lambd)
    u = _inner(self.shape, self.dtype, self.device, generator)
    return write(self, -namespace(u).log1p(-u) / lambd, "exponential_")


def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Any = None) -> Tensor:
    """Write numbers from the Cauchy distribution: median + sigma·tan(π(u - 1/2)).

    Raises:
        DomainError: a sigma that is not positive.
        DTypeError: not a floating point tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.empty(2).cauchy_().shape
        (2,)
    """
    _check_positive("sigma", sigma)
    u = _inner(self.shape, self.dtype, self.device, generator)
    return write(self, median + sigma * namespace(u).tan(math.pi * (u - 0.5)), "cauchy_")


def geometric_(self: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """Write how many trials of success probability p the first success takes: ⌈log(u) / log(1 - p)⌉, at least 1.

    Raises:
        DomainError: a probability outside (0, 1).

    Example:
        >>> import tinygrad_ed as tg
        >>> bool((tg.empty(100).geometric_(0.5) >= 1).all())
        True
    """
    if not 0 < p < 1:
        raise DomainError(f"geometric_ takes a probability in (0, 1), got {p}")
    u = _inner(self.shape, FLOAT64, self.device, generator)
    return write(self, namespace(u).ceil(namespace(u).log(u) / math.log1p(-p)).astype(self.dtype), "geometric_")


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Write ones with probability p, zeros otherwise.

    Args:
        p: a number, or a tensor that broadcasts to this one's shape.

    Raises:
        DomainError: a probability outside [0, 1].
        ShapeError: p does not broadcast to this tensor's shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.empty(2).bernoulli_(tg.tensor([0.0, 1.0]))
        tensor([0., 1.])
    """
    if isinstance(p, Tensor):
        p = expand_to(p.detach(), shape=self.shape)
    return write(self, coins(probabilities(p), self.shape, self.device, generator).astype(self.dtype), "bernoulli_")


def random_(self: Tensor, from_: int | None = None, to: int | None = None, *, generator: Any = None) -> Tensor:
    """Write integers: `random_()` any that the dtype holds from 0 on, `random_(to)` below to, `random_(from_, to)` from from_ on.

    Raises:
        DomainError: from_ is not below to.
        DTypeError: the integers do not fit into the dtype.

    Example:
        >>> import tinygrad_ed as tg
        >>> bool((tg.empty(100).random_(10) < 10).all())
        True
    """
    if from_ is not None and to is None:
        from_, to = None, from_
    if to is None:
        kind = self.dtype.kind
        to = 1 + (2 ** philox.BITS[self.dtype.name] if kind in FLOATS else 1 if kind == "b" else int(np.iinfo(self.dtype).max))
    low, high = check_bounds(0 if from_ is None else from_, to)
    return write(self, integers(low, high, self.shape, self.dtype, self.device, generator), "random_")


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise DomainError(f"{name} is above 0, got {value}")


def _inner(shape: tuple, dtype: np.dtype, device: Any, generator: Any) -> Any:
    """Uniform numbers in (0, 1), of which logarithms are finite; drawn in float32 at least."""
    check_float(dtype)
    wide = max(dtype, FLOAT32)
    u = uniform(shape, wide, device, generator)
    return namespace(u).maximum(u, wide.type(2.0 ** -(philox.BITS[wide.name] + 1)))


METHODS = (zero_, fill_, copy_, uniform_, normal_, log_normal_, exponential_, cauchy_, geometric_, bernoulli_, random_)
