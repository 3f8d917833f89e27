"""Losses of yes-or-no questions: binary cross-entropy of probabilities and of logits, for several labels at once, and focal loss."""
from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd.op import op
from ...dtypes import finfo
from ...errors import DomainError, ShapeError
from ...tensor import Tensor
from ..elementwise import clamp, logaddexp, pow, sigmoid
from ..like import ones_like
from .common import apply, check_float, check_reduction, check_same_shape, elementwise, reduced

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss", "sigmoid_focal_loss"]

_limited_log = op("log", lambda xp, x: xp.maximum(xp.log(x), -100), x=lambda g, x: g / clamp(x, min=1e-12),
                  doc="The logarithm, -100 at least, with a derivative of 1e12 at most.")
_odds = op("odds", lambda xp, x: xp.maximum(xp.log(1 - x), -100) - xp.maximum(xp.log(x), -100))

_bce = elementwise("binary_cross_entropy", "binary_cross_entropy", lambda x, t: -t * _limited_log(x) - (1 - t) * _limited_log(1 - x),
                   lambda g, x, scale: (g * scale * _odds(x)).astype(g.dtype, copy=False))
_logistic = elementwise("binary_cross_entropy_with_logits", "logistic_loss", lambda x, t: logaddexp(x, 0.0) - x * t,
                        lambda g, x, scale: (-g * scale * x).astype(g.dtype, copy=False))


def _focal_twin(x: Tensor, t: Tensor, alpha: float, gamma: float) -> Tensor:
    p = sigmoid(x)
    loss = (logaddexp(x, 0.0) - x * t) * focus(p + t - p * t * 2, gamma)
    return loss * (t * (2 * alpha - 1) + (1 - alpha)) if alpha >= 0 else loss


_focal = elementwise("sigmoid_focal_loss", "focal_logistic_loss", _focal_twin)


def binary_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean") -> Tensor:
    """The mean of -t·log x - (1 - t)·log(1 - x), from probabilities x.

    The logarithms are at least -100 and the derivative is at most 1e12, so that both are finite at x = 0 and 1. From logits
    `binary_cross_entropy_with_logits` is more exact.

    Args:
        input: probabilities in [0, 1], of any shape.
        target: probabilities in [0, 1] of the same shape, 0 or 1 for most.
        weight: a factor for each element, of a shape that broadcasts with the target.
        reduction: "mean" over all elements, "sum" or "none".

    Returns:
        A 0-d tensor, or with reduction="none" one of the input's shape.

    Raises:
        ShapeError: a target of another shape.
        DTypeError: not floating point.
        DomainError: numbers outside [0, 1] (on a CUDA device the loss is NaN instead).
        ValueError: an unknown reduction.

    Example:
        >>> import tinygrad_ed as tg
        >>> binary_cross_entropy(tg.tensor([0.9, 0.2]), tg.tensor([1.0, 0.0]), reduction="none")
        tensor([0.1054, 0.2231])
    """
    check_reduction(reduction)
    check_float("binary_cross_entropy", input=input, target=target)
    check_same_shape("binary_cross_entropy", input, target)
    for name, x in (("input", input._data), ("target", target._data)):
        if isinstance(x, np.ndarray) and x.size and not (x.min() >= 0 and x.max() <= 1):
            raise DomainError(f"binary_cross_entropy takes probabilities in [0, 1], got {name}s from {x.min()} to {x.max()}; "
                              f"from logits, write binary_cross_entropy_with_logits(input, target)")
    return _weighted(_bce, input, target, weight, reduction)


def binary_cross_entropy_with_logits(input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean",
                                     pos_weight: Tensor | None = None) -> Tensor:
    """The mean of max(x, 0) - x·t + log(1 + e^-|x|): the binary cross-entropy of σ(x), exact and finite for all logits x.

    Its derivative is σ(x) - t, times the weights and 1/N.

    Args:
        input: logits of any shape and size.
        target: probabilities in [0, 1] of the same shape, 0 or 1 for most.
        weight: a factor for each element, of a shape that broadcasts with the target.
        reduction: "mean" over all elements, "sum" or "none".
        pos_weight: a factor q for the positive part, t·q·log σ(x), of a shape that broadcasts with the target; above 1 it raises recall.

    Returns:
        A 0-d tensor, or with reduction="none" one of the input's shape.

    Raises:
        ShapeError: a target of another shape.
        DTypeError: not floating point.
        ValueError: an unknown reduction.

    Example:
        >>> import tinygrad_ed as tg
        >>> binary_cross_entropy_with_logits(tg.tensor([0.0, 1000.0]), tg.tensor([1.0, 1.0]), reduction="none")
        tensor([0.6931, 0.0000])
    """
    check_reduction(reduction)
    check_float("binary_cross_entropy_with_logits", input=input, target=target)
    check_same_shape("binary_cross_entropy_with_logits", input, target)
    if pos_weight is None:
        return _weighted(_logistic, input, target, weight, reduction)
    positive = apply(_logistic, input, ones_like(target), "none")        # -log σ(x)
    loss = apply(_logistic, input, target, "none") + (pos_weight - 1) * target * positive
    return reduced(loss if weight is None else loss * weight, reduction)


def _weighted(primitive: Any, input: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    if weight is None:
        return apply(primitive, input, target, reduction)
    try:
        return reduced(apply(primitive, input, target, "none") * weight, reduction)
    except ShapeError:
        raise ShapeError(f"a weight of shape {weight.shape} does not broadcast with a target of shape {target.shape}") from None


def multilabel_soft_margin_loss(input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean") -> Tensor:
    """The binary cross-entropy of logits, averaged over the classes of each sample: several labels may be right at once.

    Args:
        input: logits of shape (…, C).
        target: 0 or 1 for every class, of the same shape.
        weight: a factor for each class, of shape (C).
        reduction: "mean", "sum" or "none" over the samples.

    Returns:
        A 0-d tensor, or with reduction="none" one of shape (…).

    Raises:
        ShapeError: a target of another shape, or no classes.
        DTypeError: not floating point.
        ValueError: an unknown reduction.

    Example:
        >>> import tinygrad_ed as tg
        >>> multilabel_soft_margin_loss(tg.zeros(1, 3), tg.tensor([[1.0, 0.0, 1.0]]))
        tensor(0.6931)
    """
    check_reduction(reduction)
    check_float("multilabel_soft_margin_loss", input=input, target=target)
    check_same_shape("multilabel_soft_margin_loss", input, target)
    if input.ndim == 0:
        raise ShapeError("multilabel_soft_margin_loss takes an input of shape (..., C), got a 0-d tensor")
    if reduction == "mean" and weight is None:
        return apply(_logistic, input, target, "mean")
    return reduced(_weighted(_logistic, input, target, weight, "none").mean(-1), reduction)


def sigmoid_focal_loss(inputs: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2, reduction: str = "none") -> Tensor:
    """α_t·(1 - p_t)^γ·(-log p_t) with p = σ(x), p_t = p for positives and 1 - p for negatives: easy examples count less.

    Lin et al., "Focal loss for dense object detection", 2017; the arguments are torchvision's. With γ = 0 and a negative α this is
    `binary_cross_entropy_with_logits`.

    Args:
        inputs: logits of any shape and size.
        targets: 0 or 1 for every element, of the same shape.
        alpha: the weight α_t of positives, 1 - α that of negatives; none if negative.
        gamma: γ, how much less easy examples count.
        reduction: "mean", "sum" or "none".

    Returns:
        A 0-d tensor, or with reduction="none" one of the inputs' shape.

    Raises:
        ShapeError: targets of another shape.
        DTypeError: not floating point.
        ValueError: an unknown reduction, a negative gamma, or an alpha above 1.

    Example:
        >>> import tinygrad_ed as tg
        >>> sigmoid_focal_loss(tg.tensor([0.0, 1.0]), tg.tensor([1.0, 1.0]), alpha=-1)
        tensor([0.1733, 0.0227])
    """
    check_reduction(reduction)
    check_float("sigmoid_focal_loss", inputs=inputs, targets=targets)
    check_same_shape("sigmoid_focal_loss", inputs, targets)
    if alpha > 1 or not gamma >= 0:
        raise ValueError(f"sigmoid_focal_loss takes an alpha of at most 1 and a gamma of at least 0, got alpha={alpha} and gamma={gamma}")
    at = (float(alpha), float(gamma))
    if targets.requires_grad:
        return reduced(_focal_twin(inputs, targets, *at), reduction)
    return apply(_focal, inputs, targets, reduction, at=at)


def focus(wrong: Tensor, gamma: float) -> Tensor:
    """(1 - p_t)^γ, whose derivative where 1 - p_t is 0 is 0 also for γ below 1."""
    return pow(clamp(wrong, min=float(finfo(wrong.dtype).tiny)), gamma)
