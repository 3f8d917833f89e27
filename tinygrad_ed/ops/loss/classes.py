"""Losses of a choice among classes: cross-entropy from logits, negative log-likelihood, and focal loss."""
from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd.op import op
from ...backend.kernels import kernels
from ...dtypes import FLOATS
from ...errors import DTypeError, IndexRangeError, ShapeError
from ...tensor import Tensor
from ..elementwise import expm1, where
from ..index import gather
from ..softmax import log_softmax
from .binary import focus
from .common import check_reduction, check_weight, reduced

__all__ = ["cross_entropy", "focal_loss", "nll_loss"]


# -- the primitives, of (N, C, …) and (N, …) ---------------------------------------------------------------------------

def _composed_nll(x: Tensor, target: Tensor, weight: Tensor | None, *, ignore_index: int, reduction: str, masked: bool) -> Tensor:
    kept: Any = target != ignore_index
    t = where(kept, target, 0).long()
    loss = where(kept, -gather(x, 1, t.unsqueeze(1)).squeeze(1), 0.0)
    if weight is not None:
        loss = loss * weight[t]
    return loss.sum() / _count(kept, t, weight) if reduction == "mean" else reduced(loss, reduction)


def _count(kept: Tensor, t: Tensor, weight: Tensor | None) -> Tensor:
    """The number of targets that are not ignored, or their weight."""
    return kept.sum() if weight is None else where(kept, weight[t], 0.0).sum()


def _composed_cross_entropy(x: Tensor, target: Tensor, weight: Tensor | None, *, ignore_index: int, smoothing: float, reduction: str,
                            masked: bool) -> Tensor:
    logp = log_softmax(x, 1)
    loss = _composed_nll(logp, target, weight, ignore_index=ignore_index, reduction=reduction, masked=masked)
    if smoothing == 0:
        return loss
    kept: Any = target != ignore_index
    terms = logp if weight is None else logp * weight.reshape(-1, *[1] * (x.ndim - 2))
    smooth = where(kept, -terms.sum(1), 0.0)
    smooth = smooth.sum() / _count(kept, where(kept, target, 0).long(), weight) if reduction == "mean" else reduced(smooth, reduction)
    return loss * (1 - smoothing) + smooth * (smoothing / x.shape[1])


_nll = op("nll_loss", lambda x, target, weight, *, ignore_index, reduction, masked:
          kernels(x).nll_loss(x, target, weight, ignore_index, reduction, masked), aux=("places", "own"), composed=_composed_nll,
          x=lambda g, places, own, x_shape: kernels(own).nll_loss_backward(g, places, own, x_shape, g.dtype))
_cross_entropy = op("cross_entropy", lambda x, target, weight, *, ignore_index, smoothing, reduction, masked:
                    kernels(x).cross_entropy(x, target, weight, ignore_index, smoothing, reduction, masked),
                    aux=("e", "total", "places", "own", "even"), composed=_composed_cross_entropy,
                    x=lambda g, e, total, places, own, even, weight, x_shape:
                    kernels(e).cross_entropy_backward(g, e, total, places, own, even, weight, x_shape, g.dtype))


# -- the public functions ----------------------------------------------------------------------------------------------

def cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean",
                  label_smoothing: float = 0.0) -> Tensor:
    """The negative log-likelihood of the targets under softmax(input), L = -Σ_c q_c log p_c, computed from the logits in one.

    Its derivative is p - q, softmax minus target, times the weights and 1/N.

    Args:
        input: logits of shape (C), (N, C) or (N, C, d1, …), of any size.
        target: class numbers below C, integers of shape (), (N) or (N, d1, …); or class probabilities of the input's shape.
        weight: a weight for each class, of shape (C) and the input's dtype. The mean is divided by the targets' weights.
        ignore_index: a class number that is left out of the loss, its gradient and the mean.
        reduction: "mean", "sum" or "none".
        label_smoothing: how much of a target's probability is spread evenly over all classes, in [0, 1].

    Returns:
        A 0-d tensor, or with reduction="none" one loss per class number.

    Raises:
        ShapeError: a target or weight whose shape does not fit.
        DTypeError: class numbers that are no integers, probabilities that are none, or a weight of another dtype.
        IndexRangeError: a class number outside [0, C) that is not ignore_index (on a CUDA device the loss is NaN instead).
        ValueError: an unknown reduction, or label_smoothing outside [0, 1].
        GraphError: a weight that requires grad.

    Example:
        >>> import tinygrad_ed as tg
        >>> logits = tg.tensor([[2.0, 0.0], [0.0, 0.0]])
        >>> cross_entropy(logits, tg.tensor([0, 1]), reduction="none")
        tensor([0.1269, 0.6931])
    """
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing lies in [0, 1], got {label_smoothing}")
    _check("cross_entropy", input, weight, reduction)
    if target.dtype.kind in FLOATS and target.shape == input.shape:
        return _from_probabilities(input, target, weight, ignore_index, reduction, label_smoothing)
    return _of_classes("cross_entropy", _cross_entropy, input, target, weight, ignore_index, reduction, smoothing=float(label_smoothing))


def _of_classes(name: str, primitive: Any, input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str,
                **options: Any) -> Tensor:
    masked = _check_classes(name, input, target, ignore_index)
    if input.ndim > 1:
        return primitive(input, target, weight, ignore_index=ignore_index, reduction=reduction, masked=masked, **options)
    loss = primitive(input.unsqueeze(0), target.unsqueeze(0), weight, ignore_index=ignore_index, reduction=reduction, masked=masked,
                     **options)
    return loss.reshape(())


def _from_probabilities(input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str,
                        label_smoothing: float) -> Tensor:
    if ignore_index >= 0:
        raise ValueError(f"ignore_index={ignore_index} is a class number, and the target has probabilities; leave it out, or give the "
                         f"samples that do not count probabilities 0")
    dim = 1 if input.ndim > 1 else 0
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / input.shape[dim]
    terms = target * log_softmax(input, dim)
    if weight is not None:
        terms = terms * weight.reshape(-1, *[1] * (input.ndim - 1 - dim))
    return reduced(-terms.sum(dim), reduction)


def nll_loss(input: Tensor, target: Tensor, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean") -> Tensor:
    """The negative log-likelihood of the targets, L_i = -weight_c·input_ic with c = target_i, from log-probabilities.

    Args:
        input: log-probabilities of shape (C), (N, C) or (N, C, d1, …), as `log_softmax` gives them.
        target: class numbers below C, integers of shape (), (N) or (N, d1, …).
        weight: a weight for each class, of shape (C) and the input's dtype. The mean is divided by the targets' weights.
        ignore_index: a class number that is left out of the loss, its gradient and the mean.
        reduction: "mean", "sum" or "none".

    Returns:
        A 0-d tensor, or with reduction="none" one of the target's shape.

    Raises:
        ShapeError, DTypeError, IndexRangeError, ValueError, GraphError: as for `cross_entropy`.

    Example:
        >>> import tinygrad_ed as tg
        >>> nll_loss(tg.tensor([[-1.0, -2.0], [-3.0, -4.0]]), tg.tensor([0, 1]))
        tensor(2.5000)
    """
    _check("nll_loss", input, weight, reduction)
    return _of_classes("nll_loss", _nll, input, target, weight, ignore_index, reduction)


def focal_loss(input: Tensor, target: Tensor, weight: Tensor | None = None, *, gamma: float = 2.0, ignore_index: int = -100,
               reduction: str = "mean") -> Tensor:
    """Cross-entropy with less weight on easy samples: -(1 - p)^γ·log p with the right class's p = softmax(input)_target.

    Lin et al., "Focal loss for dense object detection", 2017; α there is `weight` here. With γ = 0 this is `cross_entropy`.

    Args:
        input: logits of shape (C), (N, C) or (N, C, d1, …), of any size.
        target: class numbers below C, integers of shape (), (N) or (N, d1, …).
        weight: a weight for each class, of shape (C) and the input's dtype. The mean is divided by the targets' weights.
        gamma: γ, how much less easy samples count, at least 0.
        ignore_index: a class number that is left out of the loss, its gradient and the mean.
        reduction: "mean", "sum" or "none".

    Returns:
        A 0-d tensor, or with reduction="none" one of the target's shape.

    Raises:
        ShapeError, DTypeError, IndexRangeError, ValueError, GraphError: as for `cross_entropy`; ValueError also for a negative gamma.

    Example:
        >>> import tinygrad_ed as tg
        >>> logits = tg.tensor([[1.0, 0.0], [0.0, 0.0]])
        >>> focal_loss(logits, tg.tensor([0, 0]), reduction="none")
        tensor([0.0227, 0.1733])
    """
    if not gamma >= 0:
        raise ValueError(f"focal_loss takes a gamma of at least 0, got {gamma}")
    _check("focal_loss", input, weight, reduction)
    _check_classes("focal_loss", input, target, ignore_index)
    kept: Any = target != ignore_index
    t = where(kept, target, 0).long()
    loss = nll_loss(log_softmax(input, min(1, input.ndim - 1)), target, ignore_index=ignore_index, reduction="none")
    loss = loss * focus(-expm1(-loss), gamma)                            # 1 - p, exact also for p close to 1
    if weight is not None:
        loss = loss * weight[t]
    if reduction == "mean":
        return loss.sum() / _count(kept, t, weight)
    return reduced(loss, reduction)


def _check(name: str, input: Tensor, weight: Tensor | None, reduction: str) -> None:
    check_reduction(reduction)
    if input.ndim == 0 or input.dtype.kind not in FLOATS:
        error = ShapeError if input.dtype.kind in FLOATS else DTypeError
        raise error(f"{name} takes a floating point input of shape (C), (N, C) or (N, C, d1, ...), got {input.dtype}{list(input.shape)}")
    check_weight(name, weight, input, input.shape[min(1, input.ndim - 1)])


def _check_classes(name: str, input: Tensor, target: Tensor, ignore_index: int) -> bool:
    """Refuse targets that are no class numbers; returns whether some may be ignored."""
    expected = input.shape[:1] + input.shape[2:] if input.ndim > 1 else ()
    classes = input.shape[min(1, input.ndim - 1)]
    if target.shape != expected:
        hint = ("; write target.to(input.dtype) if these are probabilities" if target.shape == input.shape and name == "cross_entropy" else
                "; write target.squeeze()" if target.numel() == np.prod(expected, dtype=int) else "")
        either = f", or probabilities of shape {input.shape}" if name == "cross_entropy" else ""
        raise ShapeError(f"{name}: for an input of shape {input.shape} the target has class numbers of shape {expected}{either}; got "
                         f"{target.dtype} of shape {target.shape}{hint}")
    if target.dtype.kind not in "iu":
        raise DTypeError(f"{name}: class numbers are integers, got a target of {target.dtype}; write target.long()")
    t: Any = target._data
    if not isinstance(t, np.ndarray) or not t.size:
        return True
    if t.min() >= 0 and t.max() < classes:
        return 0 <= ignore_index < classes
    bad = t[((t < 0) | (t >= classes)) & (t != ignore_index)]
    if bad.size:
        raise IndexRangeError(f"{name}: target {bad.flat[0]} is no class: an input of shape {input.shape} has {classes} classes, so "
                              f"targets are 0 to {classes - 1}, or ignore_index={ignore_index}")
    return True
