"""Losses of the difference between an output and a number: squared, absolute, and what is between the two."""
from __future__ import annotations

import math

from ...dtypes import FLOATS
from ...errors import DomainError, DTypeError, ShapeError
from ...tensor import Tensor
from ..elementwise import abs, clamp, square
from .common import apply, check_reduction, elementwise, equal_shapes, mirrored, reduced

__all__ = ["huber_loss", "l1_loss", "mse_loss", "smooth_l1_loss"]


def _huber_twin(x: Tensor, t: Tensor, delta: float) -> Tensor:
    z = abs(x - t)
    c = clamp(z, max=delta)
    return c * (z - c * 0.5)


_squared = elementwise("mse_loss", "squared_loss", lambda x, t: square(x - t), lambda g, slope: mirrored(g, slope))
_absolute = elementwise("l1_loss", "absolute_loss", lambda x, t: abs(x - t), lambda g, slope: mirrored(g, slope))
_huber = elementwise("huber_loss", "huber_loss", _huber_twin, lambda g, slope: mirrored(g, slope))


def _difference(name: str, primitive, input: Tensor, target: Tensor, reduction: str, weight: Tensor | None, weighted_mean: bool = True,
                factor: float = 1.0, at: tuple = ()) -> Tensor:
    check_reduction(reduction)
    if input.dtype.kind not in FLOATS and target.dtype.kind not in FLOATS:
        raise DTypeError(f"{name} takes floating point tensors, got {input.dtype} and {target.dtype}; write input.float()")
    if weight is not None and weight.shape != input.shape:
        raise ShapeError(f"{name}: input has shape {input.shape}, weight {weight.shape}; they must be equal")
    input, target = equal_shapes(name, input, target, stacklevel=4)
    if weight is None:
        return apply(primitive, input, target, reduction, factor, at)
    loss = apply(primitive, input, target, "none", factor, at) * weight
    return loss.sum() / weight.sum() if reduction == "mean" and weighted_mean else reduced(loss, reduction)


def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """The mean of (input - target)².

    Args:
        input: a tensor of any shape.
        target: a tensor of the same shape; another one that broadcasts gives a warning, since it is mostly a mistake.
        reduction: "mean", "sum" or "none".
        weight: a factor for each element, of the input's shape; the mean is then divided by the sum of weights.

    Returns:
        A 0-d tensor, or with reduction="none" one of the input's shape.

    Raises:
        ShapeError: shapes that do not broadcast.
        DTypeError: neither is floating point.
        ValueError: an unknown reduction.

    Example:
        >>> import tinygrad_ed as tg
        >>> mse_loss(tg.tensor([1.0, 3.0]), tg.tensor([1.0, 1.0]))
        tensor(2.)
    """
    return _difference("mse_loss", _squared, input, target, reduction, weight)


def l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """The mean of |input - target|; the derivative where they are equal is 0.

    Args:
        input: a tensor of any shape.
        target: a tensor of the same shape; another one that broadcasts gives a warning, since it is mostly a mistake.
        reduction: "mean", "sum" or "none".
        weight: a factor for each element, of the input's shape; the mean is then divided by the sum of weights.

    Returns:
        A 0-d tensor, or with reduction="none" one of the input's shape.

    Raises:
        ShapeError: shapes that do not broadcast.
        DTypeError: neither is floating point.
        ValueError: an unknown reduction.

    Example:
        >>> import tinygrad_ed as tg
        >>> l1_loss(tg.tensor([1.0, 3.0]), tg.tensor([1.0, 1.0]))
        tensor(1.)
    """
    return _difference("l1_loss", _absolute, input, target, reduction, weight)


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None) -> Tensor:
    """The mean of z²/2 where z = |input - target| is at most δ, and of δ·(z - δ/2) beyond (Huber, 1964).

    Args:
        input: a tensor of any shape.
        target: a tensor of the same shape; another one that broadcasts gives a warning, since it is mostly a mistake.
        reduction: "mean", "sum" or "none".
        delta: δ, where the parabola becomes a straight line, positive.
        weight: a factor for each element, of the input's shape; the mean is divided by the number of elements all the same.

    Returns:
        A 0-d tensor, or with reduction="none" one of the input's shape.

    Raises:
        ShapeError: shapes that do not broadcast.
        DTypeError: neither is floating point.
        ValueError: an unknown reduction.
        DomainError: a delta that is not positive.

    Example:
        >>> import tinygrad_ed as tg
        >>> huber_loss(tg.tensor([1.0, 5.0]), tg.tensor([0.0, 0.0]), reduction="none")
        tensor([0.5000, 4.5000])
    """
    if not delta > 0:
        raise DomainError(f"huber_loss takes a positive delta, got {delta}")
    return _difference("huber_loss", _huber, input, target, reduction, weight, weighted_mean=False, at=(float(delta),))


def smooth_l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """The mean of z²/(2β) where z = |input - target| is below β, and of z - β/2 beyond: `huber_loss` divided by β (Girshick, 2015).

    Args:
        input: a tensor of any shape.
        target: a tensor of the same shape; another one that broadcasts gives a warning, since it is mostly a mistake.
        reduction: "mean", "sum" or "none".
        beta: β, where the parabola becomes a straight line; with 0 this is `l1_loss`.

    Returns:
        A 0-d tensor, or with reduction="none" one of the input's shape.

    Raises:
        ShapeError: shapes that do not broadcast.
        DTypeError: neither is floating point.
        ValueError: an unknown reduction.
        DomainError: a negative beta.

    Example:
        >>> import tinygrad_ed as tg
        >>> smooth_l1_loss(tg.tensor([1.0, 5.0]), tg.tensor([0.0, 0.0]), beta=2.0, reduction="none")
        tensor([0.2500, 4.0000])
    """
    if not 0 <= beta < math.inf:
        raise DomainError(f"smooth_l1_loss takes a beta of at least 0, got {beta}")
    if beta == 0:
        return _difference("smooth_l1_loss", _absolute, input, target, reduction, None)
    return _difference("smooth_l1_loss", _huber, input, target, reduction, None, factor=1 / beta, at=(float(beta),))
