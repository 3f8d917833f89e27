"""Losses: how far an output is from its target, as one number or one per sample."""
from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..autograd.op import op
from ..backend import namespace
from ..errors import DTypeError, GraphError, IndexRangeError, ShapeError
from ..tensor import Tensor
from .arguments import wide
from .elementwise import abs as _abs
from .elementwise import square, where
from .index import gather
from .softmax import log_softmax

__all__ = ["cross_entropy", "l1_loss", "mse_loss", "nll_loss"]


# -- classes -----------------------------------------------------------------------------------------------------------

def _softmax_loss(xp: Any, x: Any, target: Any, weight: Any, *, ignore_index: int, label_smoothing: float, reduction: str,
                  masked: bool) -> tuple:
    """-Σ_c q_ic log p_ic with p = softmax(x), for x of shape (N, C) and class numbers of shape (N).

    q is the wanted distribution with its weights: q_ic = own_i·[c = target_i] + even_i·weight_c, where `even` is the part
    that label smoothing spreads, divided by the number (or weight) of the targets for the mean.
    """
    dtype, x = x.dtype, wide(x)
    n, classes = x.shape
    shifted = x - x.max(axis=1, keepdims=True)
    p = xp.exp(shifted)
    total = p.sum(axis=1, keepdims=True)
    p /= total
    log_total = xp.log(total[:, 0])

    t, kept = _masked(xp, target, classes, ignore_index, x.dtype) if masked else (target, xp.ones(n, x.dtype))
    own = kept if weight is None else kept * wide(weight)[t]
    count = own.sum() if reduction == "mean" else xp.ones((), x.dtype)
    share = 1 / (xp.where(count == 0, 1, count) if masked else count)
    own = own * (share * (1 - label_smoothing))
    loss = own * _unless(masked, kept == 0, log_total - shifted[xp.arange(n), t])
    even = None
    if label_smoothing:
        even = kept * (share * (label_smoothing / classes))
        smooth = (xp.expand_dims(log_total, 1) - shifted) @ (xp.ones(classes, x.dtype) if weight is None else wide(weight))
        loss += even * _unless(masked, kept == 0, smooth)
    if reduction != "none":
        loss = loss.sum()
        if masked or n == 0:
            loss = loss + xp.where(count == 0, xp.nan, 0)        # the mean of nothing is NaN
    return loss.astype(dtype), p.astype(dtype, copy=False), t, own, even


def _masked(xp: Any, target: Any, classes: int, ignore_index: int, dtype: Any) -> tuple:
    """Class numbers that can be used as indices, and how much each counts: 1, 0 if ignored, NaN if it is no class.

    On the CPU the last has been an error before; on a device the check would wait for it, so the loss becomes NaN instead.
    """
    inside = (target >= 0) & (target < classes)
    ignored = target == ignore_index
    return xp.where(inside & ~ignored, target, 0), xp.where(ignored, 0, xp.where(inside, 1, xp.nan)).astype(dtype)


def _unless(masked: bool, condition: Any, values: Any) -> Any:
    """The values, and 0 where the condition holds, also in the place of NaN and infinities."""
    return namespace(values).where(condition, 0, values) if masked else values


def _softmax_minus_target(g: Any, p: Any, t: Any, own: Any, even: Any, weight: Any) -> Any:
    """The derivative with respect to x: g·(p Σ_c q_c - q), with q as in `_softmax_loss`."""
    xp = namespace(p)
    own = g * own
    if even is None:
        d = p * own[:, None]
    else:
        even = (g * even)[:, None]
        w = xp.ones(p.shape[1], own.dtype) if weight is None else weight
        d = p * (own[:, None] + even * w.sum()) - even * w
    d[xp.arange(len(t)), t] -= own
    return d.astype(p.dtype, copy=False)


def _composed_cross_entropy(x: Tensor, target: Tensor, weight: Tensor | None, *, ignore_index: int, label_smoothing: float,
                            reduction: str, masked: bool) -> Tensor:
    """The same loss as `_softmax_loss`, in operations of their own."""
    logp = log_softmax(x, 1)
    loss = nll_loss(logp, target, weight, ignore_index=ignore_index, reduction=reduction)
    if label_smoothing == 0:
        return loss
    kept = target != ignore_index
    smooth = where(kept, -(logp if weight is None else logp * weight).sum(1), 0.0)
    count: Any = kept if weight is None else where(kept, weight[where(kept, target, 0)], 0.0)
    smooth = smooth if reduction == "none" else smooth.sum() if reduction == "sum" else smooth.sum() / count.sum()
    return loss * (1 - label_smoothing) + smooth * (label_smoothing / x.shape[1])


_cross_entropy = op("cross_entropy", _softmax_loss, aux=("p", "t", "own", "even"), composed=_composed_cross_entropy,
                    x=lambda g, p, t, own, even, weight: _softmax_minus_target(g, p, t, own, even, weight))


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
    if target.dtype.kind == "f" and target.shape == input.shape:
        return _from_probabilities(input, target, weight, ignore_index, reduction, label_smoothing)
    masked = _check_classes("cross_entropy", input, target, ignore_index)
    rows, wanted = (input, target) if input.ndim == 2 else (_as_rows(input), target.reshape(-1))
    loss = _cross_entropy(rows, wanted, weight, ignore_index=ignore_index, label_smoothing=label_smoothing, reduction=reduction,
                          masked=masked)
    return loss.reshape(target.shape) if reduction == "none" else loss


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
    return _reduce(-terms.sum(dim), reduction)


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
    _check_classes("nll_loss", input, target, ignore_index)
    rows, wanted = _as_rows(input), target.reshape(-1).long()
    kept = wanted != ignore_index
    t = where(kept, wanted, 0)
    loss = where(kept, -gather(rows, 1, t.unsqueeze(1)).squeeze(1), 0.0)
    if weight is not None:
        loss = loss * weight[t]
    if reduction == "none":
        return loss.reshape(target.shape)
    count = kept.sum() if weight is None else where(kept, weight[t], 0.0).sum()
    return loss.sum() / count if reduction == "mean" else loss.sum()


def _as_rows(input: Tensor) -> Tensor:
    """(C) or (N, C, d1, …) as (N·d1·…, C)."""
    if input.ndim == 2:
        return input
    return input.unsqueeze(0) if input.ndim == 1 else input.movedim(1, -1).reshape(-1, input.shape[1])


def _check(name: str, input: Tensor, weight: Tensor | None, reduction: str) -> None:
    _check_reduction(reduction)
    if input.ndim == 0 or input.dtype.kind != "f":
        error = ShapeError if input.dtype.kind == "f" else DTypeError
        raise error(f"{name} takes a floating point input of shape (C), (N, C) or (N, C, d1, ...), got {input.dtype}{list(input.shape)}")
    classes = input.shape[min(1, input.ndim - 1)]
    if weight is not None and weight.shape != (classes,):
        raise ShapeError(f"{name}: the input has {classes} classes, so weight has shape ({classes},), got {weight.shape}")
    if weight is not None and weight.dtype != input.dtype:
        raise DTypeError(f"{name}: input is {input.dtype} and weight {weight.dtype}; write weight.to(input.dtype)")
    if weight is not None and weight.requires_grad:
        raise GraphError(f"{name} has no derivative with respect to its weight, which requires grad; write weight.detach()")


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
    t = target._data
    if not isinstance(t, np.ndarray) or not t.size:
        return True
    if t.min() >= 0 and t.max() < classes:
        return 0 <= ignore_index < classes
    bad = t[((t < 0) | (t >= classes)) & (t != ignore_index)]
    if bad.size:
        raise IndexRangeError(f"{name}: target {bad.flat[0]} is no class: an input of shape {input.shape} has {classes} classes, so targets "
                              f"are 0 to {classes - 1}, or ignore_index={ignore_index}")
    return True


# -- distances ---------------------------------------------------------------------------------------------------------

_squared_distance = op("mse_loss", lambda a, b, *, scale: ((d := a - b) * d).sum() * scale, promote=("a", "b"),
                       a=lambda g, a, b, scale: g * (a - b) * (2 * scale), b=lambda g, a, b, scale: g * (b - a) * (2 * scale))


def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """The mean of (input - target)².

    Args:
        input: a tensor of any shape.
        target: a tensor of the same shape; another one that broadcasts gives a warning, since it is mostly a mistake.
        reduction: "mean", "sum" or "none".
        weight: a factor for each element; the mean is then divided by the sum of weights.

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
    _check_pair("mse_loss", input, target, reduction, weight)
    if weight is None and reduction != "none" and input.shape == target.shape:
        n = input.numel()
        return _squared_distance(input, target, scale=1.0 if reduction == "sum" else 1 / n if n else float("nan"))
    return _weighted(square(input - target), weight, reduction)


def l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """The mean of |input - target|; the derivative where they are equal is 0.

    Args:
        input: a tensor of any shape.
        target: a tensor of the same shape; another one that broadcasts gives a warning, since it is mostly a mistake.
        reduction: "mean", "sum" or "none".
        weight: a factor for each element; the mean is then divided by the sum of weights.

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
    _check_pair("l1_loss", input, target, reduction, weight)
    return _weighted(_abs(input - target), weight, reduction)


def _weighted(loss: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    if weight is None:
        return _reduce(loss, reduction)
    loss = loss * weight
    return loss.sum() / weight.sum() if reduction == "mean" else _reduce(loss, reduction)


def _reduce(loss: Tensor, reduction: str) -> Tensor:
    return loss.mean() if reduction == "mean" else loss.sum() if reduction == "sum" else loss


def _check_reduction(reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'reduction is "mean", "sum" or "none", got {reduction!r}')


def _check_pair(name: str, input: Tensor, target: Tensor, reduction: str, weight: Tensor | None) -> None:
    _check_reduction(reduction)
    if input.dtype.kind != "f" and target.dtype.kind != "f":
        raise DTypeError(f"{name} takes floating point tensors, got {input.dtype} and {target.dtype}; write input.float()")
    if weight is not None and weight.shape != input.shape:
        raise ShapeError(f"{name}: input has shape {input.shape}, weight {weight.shape}; they must be equal")
    if input.shape != target.shape:
        try:
            shape = np.broadcast_shapes(input.shape, target.shape)
        except ValueError:
            raise ShapeError(f"{name}: input of shape {input.shape} and target of shape {target.shape} do not fit together") from None
        warnings.warn(f"{name}: input has shape {input.shape} and target {target.shape}; they broadcast to {shape}, which compares every "
                      f"element with several others. Write target.reshape(input.shape), or expand it on purpose", UserWarning, stacklevel=3)
