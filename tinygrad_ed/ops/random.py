"""Random numbers. Each function turns words of a `Generator` into numbers by the rules in `backend.philox`."""
from __future__ import annotations

import math
import operator
import warnings
from typing import Any

import numpy as np

from ..backend import namespace, philox
from ..dtypes import FLOATS, canonical
from ..errors import DomainError, DTypeError, ShapeError
from ..tensor import Tensor, wrap
from .arguments import require_float
from .creation import dtype_or_default, leaf, number, shape_of
from .generator import random_words

__all__ = ["bernoulli", "multinomial", "normal", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm"]

FLOAT32, FLOAT64 = np.dtype("float32"), np.dtype("float64")


# -- arrays of random numbers ------------------------------------------------------------------------------------------

def uniform(shape: tuple, dtype: np.dtype, device: Any = None, generator: Any = None) -> Any:
    """An array of numbers in [0, 1)."""
    check_float(dtype)
    n = math.prod(shape)
    return philox.uniform(random_words(philox.words_for(n, dtype), generator, device), n, dtype).reshape(shape)


def gaussian(shape: tuple, dtype: np.dtype, device: Any = None, generator: Any = None) -> Any:
    """An array of standard normal numbers; float16 is rounded from float32."""
    check_float(dtype)
    wide = max(dtype, FLOAT32)
    n = math.prod(shape)
    z = philox.normal(random_words(philox.words_for(n + n % 2, wide), generator, device), n, wide).reshape(shape)
    return z if dtype == wide else z.astype(dtype)


def integers(low: int, high: int, shape: tuple, dtype: np.dtype, device: Any = None, generator: Any = None) -> Any:
    """An array of integers in [low, high)."""
    if low >= high:
        raise DomainError(f"random integers are drawn from low to high - 1, got low={low} and high={high}")
    if dtype.kind in FLOATS:
        first, last = -2 ** philox.BITS[dtype.name], 2 ** philox.BITS[dtype.name]
        if low < first or high - 1 > last:
            warnings.warn(f"{dtype} holds every integer from {first} to {last} only; numbers from {low} to {high - 1} will be rounded",
                          stacklevel=3)
    else:
        first, last = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        if low < first or high - 1 > last:
            raise DTypeError(f"numbers from {low} to {high - 1} do not fit into {dtype}, from {first} to {last}")
    n = math.prod(shape)
    return philox.integers(random_words(n, generator, device), low, high).astype(dtype, copy=False).reshape(shape)


def check_float(dtype: np.dtype) -> None:
    """Refuse dtypes without fractions.

    Raises:
        DTypeError: not a floating point dtype.
    """
    if dtype.kind not in FLOATS:
        raise DTypeError(f"these random numbers are floating point numbers, {dtype} has none; ask for dtype=float32, "
                         f"or draw integers by randint")


def check_bounds(low: Any, high: Any) -> tuple[int, int]:
    """The bounds of random integers, as Python integers.

    Raises:
        TypeError: not integers.
    """
    try:
        return operator.index(low), operator.index(high)
    except TypeError:
        raise TypeError(f"random integers are drawn between integers, got {low!r} and {high!r}") from None


def probabilities(p: Any) -> Any:
    """A tensor's array or a number, checked to lie in [0, 1].

    Raises:
        DomainError: a value outside, or NaN.
    """
    if isinstance(p, Tensor):
        p = p._data
        inside = bool(((p >= 0) & (p <= 1)).all())
    else:
        inside = 0 <= p <= 1
    if not inside:
        raise DomainError(f"probabilities lie in [0, 1], got {p if isinstance(p, (int, float)) else f'values from {p.min()} to {p.max()}'}")
    return p


def coins(p: Any, shape: tuple, device: Any, generator: Any) -> Any:
    """An array of booleans that are True with probability p, an array or a number."""
    return uniform(shape, FLOAT64 if getattr(p, "dtype", None) == FLOAT64 else FLOAT32, device, generator) < p


# -- tensors of a given shape ------------------------------------------------------------------------------------------

def rand(*sizes: Any, size: Any = None, generator: Any = None, dtype: Any = None, device: Any = None,
         requires_grad: bool = False) -> Tensor:
    """Numbers from the uniform distribution on [0, 1).

    Args:
        sizes: the shape, as integers or one tuple.
        size: the shape by keyword.
        generator: the default generator by default.
        dtype: a floating point dtype, the default dtype by default.
        device: the CPU by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.

    Returns:
        A tensor of the shape.

    Raises:
        DTypeError: not a floating point dtype.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.rand(100)
        >>> bool(((x >= 0) & (x < 1)).all())
        True
    """
    return leaf(uniform(shape_of(sizes, size), dtype_or_default(dtype), device, generator), requires_grad)


def randn(*sizes: Any, size: Any = None, generator: Any = None, dtype: Any = None, device: Any = None,
          requires_grad: bool = False) -> Tensor:
    """Numbers from the standard normal distribution, of mean 0 and variance 1.

    Args:
        sizes: the shape, as integers or one tuple.
        size: the shape by keyword.
        generator: the default generator by default.
        dtype: a floating point dtype, the default dtype by default.
        device: the CPU by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.

    Returns:
        A tensor of the shape.

    Raises:
        DTypeError: not a floating point dtype.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.randn(2, 3).shape
        (2, 3)
    """
    return leaf(gaussian(shape_of(sizes, size), dtype_or_default(dtype), device, generator), requires_grad)


def randint(low: Any = 0, high: Any = None, size: Any = None, *, generator: Any = None, dtype: Any = None, device: Any = None,
            requires_grad: bool = False) -> Tensor:
    """Integers from low to high - 1, all with the same probability: `randint(high, size)` or `randint(low, high, size)`.

    Args:
        low: the smallest integer.
        high: one above the largest integer.
        size: the shape, a tuple.
        generator: the default generator by default.
        dtype: int64 by default.
        device: the CPU by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.

    Returns:
        A tensor of the shape.

    Raises:
        DomainError: low is not below high.
        DTypeError: the integers do not fit into the dtype.

    Example:
        >>> import tinygrad_ed as tg
        >>> bool((tg.randint(5, 8, (100,)) >= 5).all())
        True
    """
    if size is None and isinstance(high, (tuple, list)):
        high, size = None, high
    if high is None:
        low, high = 0, low
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"size is a tuple, got {size!r}; write randint(low, high, (n,))")
    low, high = check_bounds(low, high)
    array = integers(low, high, shape_of((size,)), canonical(dtype or "int64"), device, generator)
    return leaf(array, requires_grad)


def randperm(n: int, *, generator: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The integers below n in random order: the order of n random 64-bit words.

    Args:
        n: how many.
        generator: the default generator by default.
        dtype: int64 by default.
        device: the CPU by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.

    Returns:
        A tensor of shape (n,).

    Raises:
        DTypeError: n - 1 does not fit into the dtype.

    Example:
        >>> import tinygrad_ed as tg
        >>> sorted(tg.randperm(5).tolist())
        [0, 1, 2, 3, 4]
    """
    (n,), dtype = shape_of((n,)), canonical(dtype or "int64")
    last = 1 if dtype.kind == "b" else np.iinfo(dtype).max if dtype.kind not in FLOATS else 2 ** philox.BITS[dtype.name]
    if n - 1 > last:
        raise DTypeError(f"a permutation of {n} numbers does not fit into {dtype}, whose integers end at {last}")
    return leaf(random_words(n, generator, device).argsort().astype(dtype, copy=False), requires_grad)


def normal(mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Any = None, dtype: Any = None, device: Any = None,
           requires_grad: bool = False) -> Tensor:
    """Numbers from normal distributions. No gradient flows to mean and std: for that write mean + std * randn_like(mean).

    Args:
        mean: a number, or a tensor with a mean for each element.
        std: a number of at least 0, or a tensor with a standard deviation for each element.
        size: the shape, where both are numbers.
        generator: the default generator by default.
        dtype: the tensors' dtype, or the default dtype.
        device: the tensors' device, or the CPU.
        requires_grad: whether gradients with respect to the new tensor are wanted.

    Returns:
        A tensor of the size, or of the shape to which mean and std broadcast.

    Raises:
        DomainError: a negative standard deviation.
        ShapeError: mean and std do not broadcast.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.normal(tg.zeros(3), 2.0).shape
        (3,)
    """
    given = [x for x in (mean, std) if isinstance(x, Tensor)]
    if given and size is not None:
        raise TypeError("size is for numbers; the shape is that of the tensors mean and std")
    if not given and size is None:
        raise TypeError("a size is missing; write normal(mean, std, (n,))")
    try:
        shape = np.broadcast_shapes(*[x.shape for x in given]) if given else shape_of((size,))
    except ValueError:
        raise ShapeError(f"normal: mean of shape {mean.shape} and std of shape {std.shape} do not broadcast") from None
    dtype = dtype_or_default(given[0].dtype if given and dtype is None else dtype)
    device = given[0].device if given and device is None else device
    return leaf(shifted(gaussian, mean, std, shape, dtype, device, generator), requires_grad)


def shifted(draw: Any, mean: Any, std: Any, shape: tuple, dtype: np.dtype, device: Any, generator: Any) -> Any:
    """An array mean + std·z, with tensors or numbers mean and std.

    Raises:
        DomainError: a negative standard deviation.
    """
    if (bool((std._data < 0).any()) if isinstance(std, Tensor) else not std >= 0):
        raise DomainError(f"a standard deviation is at least 0, got {std}")
    check_float(dtype)
    mean, std = (x.detach().to(dtype=dtype, device=device)._data if isinstance(x, Tensor) else x for x in (mean, std))
    z = draw(shape, dtype, device, generator)
    z *= std
    z += mean
    return z


# -- like another tensor -----------------------------------------------------------------------------------------------

def rand_like(input: Tensor, *, generator: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Numbers from the uniform distribution on [0, 1), in the shape of another tensor.

    Args:
        input: a tensor of any shape.
        generator: the default generator by default.
        dtype: input's by default.
        device: input's by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.

    Returns:
        A tensor of input's shape.

    Raises:
        DTypeError: not a floating point dtype.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.rand_like(tg.zeros(2, 3)).shape
        (2, 3)
    """
    return rand(input.shape, generator=generator, dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad)


def randn_like(input: Tensor, *, generator: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Numbers from the standard normal distribution, in the shape of another tensor.

    Args:
        input: a tensor of any shape.
        generator: the default generator by default.
        dtype: input's by default.
        device: input's by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.

    Returns:
        A tensor of input's shape.

    Raises:
        DTypeError: not a floating point dtype.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.randn_like(tg.zeros(2, 3)).shape
        (2, 3)
    """
    return randn(input.shape, generator=generator, dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad)


def randint_like(input: Tensor, low: Any = 0, high: Any = None, *, generator: Any = None, dtype: Any = None, device: Any = None,
                 requires_grad: bool = False) -> Tensor:
    """Integers from low to high - 1 in the shape of another tensor: `randint_like(x, high)` or `randint_like(x, low, high)`.

    Args:
        input: a tensor of any shape.
        low: the smallest integer.
        high: one above the largest integer.
        generator: the default generator by default.
        dtype: input's by default.
        device: input's by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.

    Returns:
        A tensor of input's shape.

    Raises:
        DomainError: low is not below high.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.randint_like(tg.zeros(2, 3), 10).shape
        (2, 3)
    """
    return randint(low, high, input.shape, generator=generator, dtype=dtype or input.dtype, device=device or input.device,
                   requires_grad=requires_grad)


# -- from probabilities ------------------------------------------------------------------------------------------------

def bernoulli(input: Tensor, p: Any = None, *, generator: Any = None) -> Tensor:
    """Ones with the probabilities in input, zeros otherwise. No gradient flows to them.

    Args:
        input: floating point probabilities.
        p: one probability for all elements, in place of input's.
        generator: the default generator by default.

    Returns:
        A tensor of input's shape and dtype.

    Raises:
        DomainError: a probability outside [0, 1].
        DTypeError: probabilities that are not floating point numbers.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.bernoulli(tg.tensor([0.0, 1.0]))
        tensor([0., 1.])
    """
    if p is None:
        require_float(input, "bernoulli")
    chosen = coins(probabilities(input if p is None else number(p, "p")), input.shape, input.device, generator)
    return wrap(chosen.astype(input.dtype))


def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None) -> Tensor:
    """Indices drawn with probabilities in proportion to the weights in input.

    Without replacement the indices of the num_samples smallest -log(u) / weight are taken (Efraimidis and Spirakis, 2006),
    with replacement the inverse of the weights' cumulative sums.

    Args:
        input: weights of at least 0, of shape (n,), or (m, n) for m draws at once.
        num_samples: how many indices to draw.
        replacement: whether an index can be drawn again.
        generator: the default generator by default.

    Returns:
        A tensor of int64, of shape (num_samples,) or (m, num_samples).

    Raises:
        ShapeError: not one or two dimensions.
        DTypeError: weights that are not floating point numbers.
        DomainError: weights that are negative, infinite, NaN or all 0; more samples than there are weights above 0.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.multinomial(tg.tensor([0.0, 3.0, 0.0]), 4, replacement=True)
        tensor([1, 1, 1, 1])
    """
    if input.ndim not in (1, 2):
        raise ShapeError(f"multinomial takes weights of shape (n,) or (m, n), got {input.shape}")
    require_float(input, "multinomial")
    if num_samples <= 0:
        raise DomainError(f"num_samples is at least 1, got {num_samples}")
    xp, weights = namespace(input._data), input._data.astype(FLOAT64).reshape(input.shape if input.ndim == 2 else (1, -1))
    if not bool(((weights >= 0) & xp.isfinite(weights)).all()):
        raise DomainError("multinomial takes weights of at least 0, these contain a negative, infinite or NaN one")
    possible = int((weights > 0).sum(axis=-1).min()) if len(weights) else num_samples
    if possible < (1 if replacement else num_samples):
        raise DomainError(f"multinomial has only {possible} weights above 0 to draw {num_samples} samples from"
                         + ("" if replacement or not possible else "; write replacement=True"))
    if replacement and num_samples > 1:
        sums = (weights / weights.max(axis=-1, keepdims=True)).cumsum(axis=-1)
        u = uniform((len(weights), num_samples), FLOAT64, input.device, generator) * sums[:, -1:]
        drawn = [xp.searchsorted(row, values, side="right") for row, values in zip(sums, u)]
        drawn = xp.stack(drawn) if drawn else xp.zeros(u.shape, "int64")
    else:
        u = uniform(weights.shape, FLOAT64, input.device, generator)
        with np.errstate(divide="ignore"):            # in logarithms, where no weight is too small
            waiting = xp.log(-xp.log1p(-u)) - xp.log(weights)
        drawn = xp.argsort(waiting, axis=-1)[:, :num_samples]
    return wrap(drawn.reshape(*input.shape[:-1], num_samples))


METHODS = (bernoulli, multinomial)
