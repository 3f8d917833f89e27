"""Losses with a margin: what is right must be ahead of what is wrong by so much; beyond that nothing more is gained."""
from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd.op import op
from ...backend import namespace
from ...backend.kernels import kernels
from ...errors import DTypeError, IndexRangeError, ShapeError
from ...tensor import Tensor, wrap
from ..elementwise import clamp, logaddexp, relu, sigmoid, square, where
from ..index import gather
from ..scan import cumprod
from .common import apply, check_float, check_reduction, check_weight, elementwise, equal_shapes, reduced

__all__ = ["hinge_embedding_loss", "margin_ranking_loss", "multi_margin_loss", "multilabel_margin_loss", "soft_margin_loss"]

_soft_margin = elementwise("soft_margin_loss", "soft_margin_loss", lambda x, t: logaddexp(-x * t, 0.0),
                           lambda g, x, t, scale: (-g * scale * x * sigmoid(-x * t)).astype(g.dtype, copy=False))


def _composed_multi_margin(x: Tensor, t: Tensor, weight: Tensor | None, *, p: int, margin: float, scale: float, reduce: bool) -> Tensor:
    own = t.long().unsqueeze(1)
    excess = where(_numbers(x) == own, 0.0, relu(x - gather(x, 1, own) + margin))
    loss = (excess if p == 1 else square(excess)).mean(1) * scale
    loss = loss if weight is None else loss * weight[t.long()]
    return loss.sum() if reduce else loss


def _composed_multilabel_margin(x: Tensor, t: Tensor, *, scale: float, reduce: bool) -> Tensor:
    listed: Any = cumprod((t > -1).long(), 1) == 1                   # before the first -1
    t = where(listed, t, 0).long()
    right = ((t.unsqueeze(2) == _numbers(x)) & listed.unsqueeze(2)).any(1)
    excess = relu(1 - gather(x, 1, t).unsqueeze(2) + x.unsqueeze(1))     # (N, place in the list, class)
    loss = where(listed.unsqueeze(2) & ~right.unsqueeze(1), excess, 0.0).sum((1, 2)) * (scale / x.shape[1])
    return loss.sum() if reduce else loss


def _numbers(x: Tensor) -> Tensor:
    return wrap(namespace(x._data).arange(x.shape[1]))


_multi_margin = op("multi_margin_loss", lambda x, t, weight, *, p, margin, scale, reduce: kernels(x).multi_margin_loss(
    x, t, weight, p, margin, scale, reduce), aux=("slope",), composed=_composed_multi_margin, x=lambda g, slope: _rows(g, slope))
_multilabel_margin = op("multilabel_margin_loss", lambda x, t, *, scale, reduce: kernels(x).multilabel_margin_loss(x, t, scale, reduce),
                        aux=("slope",), composed=_composed_multilabel_margin, x=lambda g, slope: _rows(g, slope))


def _rows(g: Any, slope: Any) -> Any:
    return ((g if g.ndim == 0 else g[:, None]) * slope).astype(g.dtype, copy=False)


def soft_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """The mean of log(1 + e^(-t·x)), finite for all x.

    Args:
        input: scores x of any shape.
        target: t = 1 or -1 for every element; another shape that broadcasts gives a warning.
        reduction: "mean", "sum" or "none".

    Returns:
        A 0-d tensor, or with reduction="none" one of the input's shape.

    Raises:
        ShapeError: shapes that do not broadcast.
        DTypeError: an input that is not floating point.
        ValueError: an unknown reduction.

    Example:
        >>> import tinygrad_ed as tg
        >>> soft_margin_loss(tg.tensor([0.0, 1000.0]), tg.tensor([1.0, -1.0]), reduction="none")
        tensor([6.9315e-01, 1.0000e+03])
    """
    check_reduction(reduction)
    check_float("soft_margin_loss", input=input)
    return apply(_soft_margin, *equal_shapes("soft_margin_loss", input, target, stacklevel=3), reduction)


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """The mean of x where t = 1 and of max(0, margin - x) where t = -1: similar pairs are to be close, others apart by the margin.

    Args:
        input: distances x, of any shape.
        target: t = 1 or -1 for every element; another shape that broadcasts gives a warning.
        margin: how far apart pairs that are not similar should be.
        reduction: "mean", "sum" or "none".

    Returns:
        A 0-d tensor, or with reduction="none" one of the input's shape.

    Raises:
        ShapeError: shapes that do not broadcast.
        DTypeError: an input that is not floating point.
        ValueError: an unknown reduction.

    Example:
        >>> import tinygrad_ed as tg
        >>> hinge_embedding_loss(tg.tensor([0.5, 0.2]), tg.tensor([1, -1]), reduction="none")
        tensor([0.5000, 0.8000])
    """
    check_reduction(reduction)
    check_float("hinge_embedding_loss", input=input)
    input, target = equal_shapes("hinge_embedding_loss", input, target, stacklevel=3)
    return reduced(where(target == -1, 0.0, input) + where(target == 1, 0.0, clamp(margin - input, min=0)), reduction)


def margin_ranking_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean") -> Tensor:
    """The mean of max(0, -t·(x₁ - x₂) + margin): with t = 1 the first is to be ranked higher, with t = -1 the second.

    Args:
        input1: scores x₁ of any shape.
        input2: scores x₂ of as many dimensions.
        target: t = 1 or -1, of as many dimensions.
        margin: how far the higher one should be ahead.
        reduction: "mean", "sum" or "none".

    Returns:
        A 0-d tensor, or with reduction="none" one of the broadcast shape.

    Raises:
        ShapeError: different numbers of dimensions, or shapes that do not broadcast.
        DTypeError: inputs that are not floating point.
        ValueError: an unknown reduction.

    Example:
        >>> import tinygrad_ed as tg
        >>> margin_ranking_loss(tg.tensor([2.0, 1.0]), tg.tensor([1.0, 3.0]), tg.tensor([1, 1]))
        tensor(1.)
    """
    check_reduction(reduction)
    check_float("margin_ranking_loss", input1=input1, input2=input2)
    if not input1.ndim == input2.ndim == target.ndim:
        raise ShapeError(f"margin_ranking_loss takes tensors of one number of dimensions, got shapes {input1.shape}, {input2.shape} "
                         f"and {target.shape}")
    return reduced(clamp((input2 - input1) * target + margin, min=0), reduction)


def multi_margin_loss(input: Tensor, target: Tensor, p: int = 1, margin: float = 1.0, weight: Tensor | None = None, *,
                      reduction: str = "mean") -> Tensor:
    """Σ_c max(0, margin - x_y + x_c)^p / C over the classes c other than the right one y: the multi-class hinge loss.

    Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based vector machines", 2001.

    Args:
        input: scores of shape (N, C) or (C).
        target: class numbers below C, integers of shape (N) or ().
        p: the power, 1 or 2.
        margin: how far the right class should be ahead.
        weight: a weight for each class, of shape (C) and the input's dtype: a sample counts with that of its right class.
        reduction: "mean" over the samples, "sum" or "none".

    Returns:
        A 0-d tensor, or with reduction="none" one of the target's shape.

    Raises:
        ShapeError: shapes that do not fit.
        DTypeError: an input that is not floating point, or class numbers that are no integers.
        IndexRangeError: a class number outside [0, C).
        GraphError: a weight that requires grad.
        ValueError: an unknown reduction, or another p.

    Example:
        >>> import tinygrad_ed as tg
        >>> multi_margin_loss(tg.tensor([[0.1, 0.2, 0.4, 0.8]]), tg.tensor([3]))
        tensor(0.3250)
    """
    check_reduction(reduction)
    check_float("multi_margin_loss", input=input)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss takes p = 1 or 2, got {p}")
    if input.ndim not in (1, 2) or input.shape[-1] == 0 or target.shape != input.shape[:-1]:
        raise ShapeError(f"multi_margin_loss takes an input (N, C) and targets (N), or (C) and (), got shapes {input.shape} "
                         f"and {target.shape}")
    check_weight("multi_margin_loss", weight, input, input.shape[-1])
    _check_classes("multi_margin_loss", target, 0, input.shape[-1])
    x, t = (input, target) if input.ndim == 2 else (input.unsqueeze(0), target.unsqueeze(0))
    loss = _multi_margin(x, t, weight, p=p, margin=float(margin), **_reduction(reduction, len(x)))
    return loss if input.ndim == 2 else loss.reshape(())


def multilabel_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Σ max(0, 1 - (x_y - x_c)) / C over the right classes y and the others c of a sample, which may have several right classes.

    Args:
        input: scores of shape (N, C) or (C).
        target: for every sample its right classes, and -1 behind the last one; integers of the same shape.
        reduction: "mean" over the samples, "sum" or "none".

    Returns:
        A 0-d tensor, or with reduction="none" one of shape (N) or ().

    Raises:
        ShapeError: shapes that do not fit.
        DTypeError: an input that is not floating point, or class numbers that are no integers.
        IndexRangeError: a class number outside [-1, C).
        ValueError: an unknown reduction.

    Example:
        >>> import tinygrad_ed as tg
        >>> multilabel_margin_loss(tg.tensor([[0.1, 0.2, 0.4, 0.8]]), tg.tensor([[3, 0, -1, 1]]))
        tensor(0.8500)
    """
    check_reduction(reduction)
    check_float("multilabel_margin_loss", input=input)
    if input.ndim not in (1, 2) or target.shape != input.shape:
        raise ShapeError(f"multilabel_margin_loss takes an input (N, C) or (C) and a target of the same shape, got {input.shape} "
                         f"and {target.shape}")
    if input.numel() == 0:
        return reduced(input.sum(-1), reduction)
    _check_classes("multilabel_margin_loss", target, -1, input.shape[-1])
    x, t = (input, target) if input.ndim == 2 else (input.unsqueeze(0), target.unsqueeze(0))
    loss = _multilabel_margin(x, t, **_reduction(reduction, len(x)))
    return loss if input.ndim == 2 else loss.reshape(())


def _reduction(reduction: str, n: int) -> dict[str, Any]:
    return {"scale": 1 / n if reduction == "mean" else 1.0, "reduce": reduction != "none"}


def _check_classes(name: str, target: Tensor, low: int, classes: int) -> None:
    """Refuse targets that are no class numbers.

    Raises:
        DTypeError: no integers.
        IndexRangeError: a number outside [low, classes).
    """
    if target.dtype.kind not in "iu":
        raise DTypeError(f"{name}: class numbers are integers, got a target of {target.dtype}; write target.long()")
    t: Any = target._data
    if isinstance(t, np.ndarray) and t.size and not (t.min() >= low and t.max() < classes):
        bad = t[(t < low) | (t >= classes)].flat[0]
        raise IndexRangeError(f"{name}: target {bad} is no class: there are {classes}, so targets are {low} to {classes - 1}")
