"""Losses of a choice among classes: cross-entropy, negative log-likelihood, and those with margins."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import namespace
from ..products import product
from .activation import wide
from .columns import precision

__all__ = ["cross_entropy", "cross_entropy_backward", "multi_margin_loss", "multilabel_margin_loss", "nll_loss", "nll_loss_backward"]

_FEW = 32                # classes up to which samples come last in memory, so that a step is one long loop for each class


def _classes_second(xp: Any, x: Any, target: Any) -> tuple:
    """x (N, C, …) as (n, C, m), in this order in memory, and the targets (N, …) as (n, m)."""
    if x.ndim == 2 and x.shape[1] <= _FEW and xp is np:
        return xp.ascontiguousarray(x.T)[None], target[None]
    x = xp.ascontiguousarray(x.reshape(*x.shape[:2], math.prod(x.shape[2:])))
    return x, target.reshape(len(x), x.shape[2])


def _places(xp: Any, t: Any, shape: tuple) -> Any:
    """The places of the classes t (n, m) in a flattened array (n, C, m)."""
    n, classes, m = shape
    rows = t if n == 1 else t + xp.arange(0, n * classes, classes)[:, None]
    return rows if m == 1 else rows * m + xp.arange(m)


def _as_before(xp: Any, d: Any, shape: tuple, dtype: np.dtype) -> Any:
    """An array (n, C, m) of `_classes_second` in x's shape again."""
    turned = len(shape) == 2 and d.shape[2] == shape[0]
    return (xp.ascontiguousarray(d[0].T) if turned else d.reshape(shape)).astype(dtype, copy=False)


def _most(xp: Any, x: Any) -> Any:
    """The largest of the classes of x (n, C, m)."""
    if x.shape[2] > 1 or xp is not np or x.size == 0:
        return x.max(axis=1, keepdims=True)
    return x[xp.arange(len(x)), x.argmax(axis=1)[:, 0]][:, None]         # four times as fast as `max`


def _over_classes(xp: Any, x: Any, weight: Any) -> Any:
    """The sum over the classes of x (n, C, m), with weights or none."""
    if weight is None and x.shape[2] > 1:
        return x.sum(axis=1)
    weight = xp.ones(x.shape[1], x.dtype) if weight is None else wide(weight)
    return product(x[:, :, 0], weight)[:, None] if x.shape[2] == 1 else product(weight, x)     # the fastest sum of rows


def class_targets(xp: Any, target: Any, weight: Any, classes: int, ignore_index: int, reduction: str, masked: bool, dtype: np.dtype) -> tuple:
    """Class numbers fit to index with, how much each target counts, the share of one in the mean (or 1), and which are left out.

    An ignored target counts 0. A number that is no class counts NaN: on the CPU it has been an error before, on a device a check would
    have to wait for it.
    """
    ignored, kept = None, None
    if masked:
        ignored = target == ignore_index
        inside = (target >= 0) & (target < classes) & ~ignored
        target = xp.where(inside, target, 0)
        kept = xp.where(ignored, 0, xp.where(inside, 1, xp.nan)).astype(dtype)
    own = kept if weight is None else wide(weight)[target] if kept is None else kept * wide(weight)[target]
    if reduction != "mean":
        return target, kept, own, 1, ignored
    if own is None:
        return target, kept, own, 1 / target.size if target.size else math.nan, ignored
    return target, kept, own, 1 / own.sum(), ignored


def _scaled(xp: Any, counts: Any, factor: Any, like: Any) -> Any:
    """What the targets count, times the factor; an array of the dtype and the shape of `like`."""
    if counts is None:
        return xp.full(like.shape, factor, like.dtype)
    return counts * (factor.astype(like.dtype) if hasattr(factor, "astype") else like.dtype.type(factor))


def finished_loss(xp: Any, loss: Any, share: Any, reduction: str, shape: tuple, dtype: np.dtype) -> Any:
    """The losses as the result; the mean of nothing is NaN."""
    if reduction == "none":
        return loss.reshape(shape).astype(dtype, copy=False)
    return xp.asarray(loss.sum() + (share - share if reduction == "mean" else 0), dtype)


def cross_entropy(x: Any, target: Any, weight: Any, ignore_index: int, smoothing: float, reduction: str, masked: bool) -> tuple:
    """-Σ_c q_ic log p_ic with p = softmax(x), for x of shape (N, C, …) and class numbers of shape (N, …).

    q is the wanted distribution with its weights: q_ic = own_i·[c = target_i] + even_i·weight_c, where `even` is the part that label
    smoothing spreads, divided by the number (or weight) of the targets for the mean. Returns also what the way back needs: the
    exponentials and their sums, whose quotient is p; where the targets are among them; own and even.
    """
    xp, dtype, shape = namespace(x), x.dtype, target.shape
    x, target = _classes_second(xp, wide(x), target)
    classes = x.shape[1]
    shifted = x - _most(xp, x)
    e = xp.exp(shifted)
    total = _over_classes(xp, e, None)
    loss = xp.log(total)

    targets = class_targets(xp, target, weight, classes, ignore_index, reduction, masked, x.dtype)
    smooth: Any = None
    if smoothing:
        smooth = loss * (classes if weight is None else wide(weight).sum())
        smooth -= _over_classes(xp, shifted, weight)
    where = _places(xp, targets[0], x.shape)
    loss -= shifted.reshape(-1)[where]
    loss, own, even = weighted_losses(xp, loss, smooth, targets, smoothing, classes)
    return finished_loss(xp, loss, targets[3], reduction, shape, dtype), e, total, where, own, even


def weighted_losses(xp: Any, loss: Any, smooth: Any, targets: tuple, smoothing: float, classes: int) -> tuple:
    """own·loss + even·smooth, with own and even, for the losses of `class_targets` and what label smoothing adds; `loss` is overwritten."""
    _, kept, counts, share, ignored = targets
    own = _scaled(xp, counts, share * (1 - smoothing), loss)
    even = _scaled(xp, kept, share * (smoothing / classes), loss) if smoothing else None
    if ignored is not None:
        loss = xp.where(ignored, 0, loss)             # also in the place of NaN and infinities
        own, even = (a if a is None else xp.where(ignored, 0, a) for a in (own, even))
    loss *= own
    if smoothing:
        loss += even * (smooth if ignored is None else xp.where(ignored, 0, smooth))
    return loss, own, even


def cross_entropy_backward(g: Any, e: Any, total: Any, where: Any, own: Any, even: Any, weight: Any, shape: tuple, dtype: np.dtype) -> Any:
    """The derivative with respect to x: g·(p Σ_c q_c - q), with p and q as in `cross_entropy`: softmax minus target."""
    xp = namespace(e)
    g = g if g.ndim == 0 else g.reshape(own.shape)
    own = g * own
    if even is None:
        d = e * (own / total)[:, None]
    else:
        even = (g * even)[:, None]
        w = xp.ones((e.shape[1], 1), own.dtype) if weight is None else wide(weight)[:, None]
        d = e * ((own[:, None] + even * w.sum()) / total[:, None])
        d -= even * w
    d.reshape(-1)[where] -= own
    return _as_before(xp, d, shape, dtype)


def nll_loss(x: Any, target: Any, weight: Any, ignore_index: int, reduction: str, masked: bool) -> tuple:
    """-own_i·x_ic with c = target_i, for x of shape (N, C, …); own is the weight of class c, divided by their sum for the mean.

    Returns also where the targets are in the flattened x, and own.
    """
    xp, dtype, shape = namespace(x), x.dtype, target.shape
    x = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
    t, _, counts, share, ignored = class_targets(xp, target.reshape(len(x), x.shape[2]), weight, x.shape[1], ignore_index, reduction, masked,
                                                precision(x.dtype))
    where = _places(xp, t, x.shape)
    loss = -wide(x.reshape(-1)[where])
    own = _scaled(xp, counts, share, loss)
    if ignored is not None:
        loss, own = xp.where(ignored, 0, loss), xp.where(ignored, 0, own)
    return finished_loss(xp, loss * own, share, reduction, shape, dtype), where, own


def nll_loss_backward(g: Any, where: Any, own: Any, shape: tuple, dtype: np.dtype) -> Any:
    """The derivative of `nll_loss` with respect to x: -g·own at the targets, 0 elsewhere."""
    d = namespace(where).zeros(shape, dtype)
    d.reshape(-1)[where] = -(g if g.ndim == 0 else g.reshape(own.shape)) * own
    return d


def multi_margin_loss(x: Any, target: Any, weight: Any, p: int, margin: float, scale: float, reduce: bool) -> tuple:
    """scale·weight_y·Σ_c max(0, margin - x_y + x_c)^p / C over the classes c other than y = target_i, for x (N, C), and the derivative."""
    xp, dtype, x = namespace(x), x.dtype, wide(x)
    rows = xp.arange(len(x))
    excess = x - (x[rows, target] - margin)[:, None]
    excess[rows, target] = 0
    xp.clip(excess, 0, math.inf, out=excess)
    factor = xp.full(len(x), scale / x.shape[1], x.dtype) if weight is None else wide(weight)[target] * (scale / x.shape[1])
    loss = product(excess if p == 1 else excess * excess, xp.ones(x.shape[1], x.dtype)) * factor
    slope = (excess > 0).astype(x.dtype) if p == 1 else xp.add(excess, excess, out=excess)
    slope *= factor[:, None]
    slope[rows, target] = -slope.sum(axis=1)
    return xp.asarray(loss.sum() if reduce else loss, dtype), slope


def multilabel_margin_loss(x: Any, target: Any, scale: float, reduce: bool) -> tuple:
    """scale·Σ max(0, 1 - (x_y - x_c)) / C over the classes y listed in a row of target, up to the first -1, and the others c, for x (N, C).

    Returns also the derivative.
    """
    xp, dtype, x = namespace(x), x.dtype, wide(x)
    n, classes = x.shape
    listed = xp.cumprod((target >= 0).astype(np.int64), axis=1) > 0
    longest = int(listed.sum(axis=1).max()) if xp is np else classes     # on a device to count them would wait
    listed, t = listed[:, :longest], xp.where(listed, target, 0)[:, :longest]
    rows = xp.arange(n)[:, None]
    other = xp.ones((n, classes + 1), bool)           # the last column takes what is not listed
    other[rows, xp.where(listed, t, classes)] = False
    excess = x[:, None, :] - (x[rows, t] - 1)[:, :, None]                # (N, place in the list, class)
    excess *= listed[:, :, None] & other[:, None, :classes]
    xp.clip(excess, 0, math.inf, out=excess)
    loss = excess.sum(axis=(1, 2)) * (scale / classes)
    ahead = (excess > 0).astype(x.dtype)
    slope = ahead.sum(axis=1)
    xp.add.at(slope, (rows, t), -ahead.sum(axis=2))
    slope *= scale / classes
    return xp.asarray(loss.sum() if reduce else loss, dtype), slope
