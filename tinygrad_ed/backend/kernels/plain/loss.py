"""Losses: those of single elements, cross-entropy and negative log-likelihood of classes, and CTC.

A loss of single elements is computed in pieces that stay in the processor's cache. If gradients are recorded (`derive`), its derivative
is found along with it, so that the way back is one product.
"""
from __future__ import annotations

import math
from functools import wraps
from typing import Any, Callable

import numpy as np

from ... import namespace
from .activation import PIECE, _log_one_plus, select, wide
from .memory import empty

__all__ = ["absolute_loss", "binary_cross_entropy", "cross_entropy", "cross_entropy_backward", "ctc_loss", "ctc_loss_backward", "huber_loss",
           "focal_logistic_loss", "logistic_loss", "multi_margin_loss", "multilabel_margin_loss", "nll_loss", "nll_loss_backward",
           "soft_margin_loss", "squared_loss"]

INF = math.inf


# -- single elements ---------------------------------------------------------------------------------------------------

def _elementwise(body: Callable) -> Callable:
    """Make body(xp, x, t, slope, *at), which returns the losses and (unless None) fills slope with their derivatives by x, a kernel.

    The kernel(x, t, scale, reduce, derive, *at) returns scale times the losses, or their sum, and scale times the slope or None; the
    slope of float16 stays in float32.
    """
    @wraps(body)
    def kernel(x: Any, t: Any, scale: float, reduce: bool, derive: bool, *at: float) -> tuple:
        xp, dtype, shape = namespace(x), x.dtype, x.shape
        x, t = wide(x).reshape(-1), wide(t).reshape(-1)
        y = None if reduce else empty(xp, x.shape, x.dtype)
        slope = empty(xp, x.shape, x.dtype) if derive else None
        step = PIECE if xp is np else max(x.size, 1)
        sums = []
        for i in range(0, max(x.size, 1), step):
            d = None if slope is None else slope[i:i + step]
            loss = body(xp, x[i:i + step], t[i:i + step], d, *at)
            if d is not None and scale != 1:
                d *= scale
            if y is None:
                sums.append(loss.sum())
            else:
                xp.multiply(loss, scale, out=y[i:i + step])
        if y is None:
            y = xp.asarray((sum(map(float, sums)) if xp is np else sums[0]) * scale)
        return y.reshape(() if reduce else shape).astype(dtype, copy=False), slope if slope is None else slope.reshape(shape)
    return kernel


@_elementwise
def squared_loss(xp: Any, x: Any, t: Any, slope: Any) -> Any:
    """(x - t)²; the derivative is 2(x - t)."""
    d = x - t
    if slope is not None:
        xp.add(d, d, out=slope)
    d *= d
    return d


@_elementwise
def absolute_loss(xp: Any, x: Any, t: Any, slope: Any) -> Any:
    """|x - t|; the derivative is the sign of x - t."""
    d = x - t
    if slope is not None:
        xp.sign(d, out=slope)
    return xp.abs(d, out=d)


@_elementwise
def huber_loss(xp: Any, x: Any, t: Any, slope: Any, delta: float) -> Any:
    """c·(z - c/2) with z = x - t and c = z limited to ±δ: z²/2 within, a line beyond; the derivative is c."""
    z = x - t
    c = xp.clip(z, -delta, delta)
    if slope is not None:
        slope[...] = c
    z += z
    z -= c
    z *= c
    z *= 0.5
    return z


@_elementwise
def logistic_loss(xp: Any, x: Any, t: Any, slope: Any) -> Any:
    """max(x, 0) - x·t + log(1 + e^-|x|), the binary cross-entropy of σ(x); the derivative is σ(x) - t."""
    e = xp.abs(x)
    xp.negative(e, out=e)
    xp.exp(e, out=e)
    loss, u = _log_one_plus(xp, e)
    loss += xp.clip(x, 0, INF)
    loss -= x * t
    if slope is not None:
        xp.divide(select(x < 0, e, 1), u, out=slope)
        slope -= t
    return loss


@_elementwise
def focal_logistic_loss(xp: Any, x: Any, t: Any, slope: Any, alpha: float, gamma: float) -> Any:
    """α_t·u^γ·L with `logistic_loss` L and u = p + t - 2pt, p = σ(x); the derivative is α_t·u^(γ-1)·(γ·u'·L + u·(p - t)), u' = (1 - 2t)·p·(1 - p)."""
    e = xp.abs(x)
    xp.negative(e, out=e)
    xp.exp(e, out=e)
    loss, one = _log_one_plus(xp, e)
    loss += xp.clip(x, 0, INF)
    loss -= x * t
    p = select(x < 0, e, 1)
    p /= one
    side = 1 - t
    side -= t                                         # 1 - 2t
    u = p * side
    u += t
    xp.clip(u, np.finfo(x.dtype).tiny, 1, out=u)      # where it is 0, so is the derivative, for γ below 1 too
    weight = u ** (gamma - 1) if gamma != 2 else u.copy()
    if alpha >= 0:
        weight *= (1 - alpha) + (2 * alpha - 1) * t
    if slope is not None:
        side *= gamma
        side *= p
        side *= 1 - p
        side *= loss
        xp.subtract(p, t, out=slope)
        slope *= u
        slope += side
        slope *= weight
    loss *= weight
    loss *= u
    return loss


@_elementwise
def soft_margin_loss(xp: Any, x: Any, t: Any, slope: Any) -> Any:
    """log(1 + e^-z) = max(-z, 0) + log(1 + e^-|z|) with z = t·x; the derivative is -t·σ(-z)."""
    z = x * t
    e = xp.abs(z)
    xp.negative(e, out=e)
    xp.exp(e, out=e)
    loss, u = _log_one_plus(xp, e)
    loss -= xp.clip(z, -INF, 0)
    if slope is not None:
        xp.divide(select(z > 0, e, 1), u, out=slope)
        slope *= t
        xp.negative(slope, out=slope)
    return loss


@_elementwise
def binary_cross_entropy(xp: Any, x: Any, t: Any, slope: Any) -> Any:
    """-t·log x - (1 - t)·log(1 - x), with logarithms of -100 at least; the derivative is (1 - t)/(1 - x) - t/x, with divisors of 1e-12 at least."""
    rest = 1 - x
    log_rest = xp.log(rest)
    lost = 1 - rest                                   # what rounding 1 - x has lost of x, as in `_log_one_plus`
    lost -= x
    log_rest += xp.divide(lost, xp.clip(rest, 1e-30, 1), out=lost)
    xp.clip(log_rest, -100, 0, out=log_rest)
    loss = xp.log(x)
    xp.clip(loss, -100, 0, out=loss)
    xp.subtract(log_rest, loss, out=loss)
    loss *= t
    loss -= log_rest
    if slope is not None:
        xp.subtract(1, t, out=slope)
        slope /= xp.clip(rest, 1e-12, 1, out=rest)
        slope -= xp.divide(t, xp.clip(x, 1e-12, 1), out=rest)
    return loss


# -- classes -----------------------------------------------------------------------------------------------------------

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
    if n == 1:
        return t * m + xp.arange(m)
    return (xp.arange(0, n * classes, classes)[:, None] + t) * m + xp.arange(m) if m > 1 else xp.arange(0, n * classes, classes)[:, None] + t


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
    return (x[:, :, 0] @ weight)[:, None] if x.shape[2] == 1 else weight @ x             # a product is the fastest sum of rows


def _targets(xp: Any, target: Any, weight: Any, classes: int, ignore_index: int, reduction: str, masked: bool, dtype: np.dtype) -> tuple:
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
    return xp.full(like.shape, factor, like.dtype) if counts is None else counts * xp.asarray(factor, like.dtype)


def _finish(xp: Any, loss: Any, share: Any, reduction: str, shape: tuple, dtype: np.dtype) -> Any:
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

    t, kept, counts, share, ignored = _targets(xp, target, weight, classes, ignore_index, reduction, masked, x.dtype)
    own = _scaled(xp, counts, share * (1 - smoothing), loss)
    even = smooth = None
    if smoothing:
        even = _scaled(xp, kept, share * (smoothing / classes), loss)
        smooth = loss * (classes if weight is None else wide(weight).sum())
        smooth -= _over_classes(xp, shifted, weight)
    where = _places(xp, t, x.shape)
    loss -= shifted.reshape(-1)[where]
    if ignored is not None:
        loss = xp.where(ignored, 0, loss)             # also in the place of NaN and infinities
        own, even = (a if a is None else xp.where(ignored, 0, a) for a in (own, even))
    loss *= own
    if smoothing:
        loss += even * (smooth if ignored is None else xp.where(ignored, 0, smooth))
    return _finish(xp, loss, share, reduction, shape, dtype), e, total, where, own, even


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
    t, _, counts, share, ignored = _targets(xp, target.reshape(len(x), x.shape[2]), weight, x.shape[1], ignore_index, reduction, masked,
                                            wide(x[:0]).dtype)
    where = _places(xp, t, x.shape)
    loss = -wide(x.reshape(-1)[where])
    own = _scaled(xp, counts, share, loss)
    if ignored is not None:
        loss, own = xp.where(ignored, 0, loss), xp.where(ignored, 0, own)
    return _finish(xp, loss * own, share, reduction, shape, dtype), where, own


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
    xp.clip(excess, 0, INF, out=excess)
    factor = xp.full(len(x), scale / x.shape[1], x.dtype) if weight is None else wide(weight)[target] * (scale / x.shape[1])
    loss = (excess if p == 1 else excess * excess) @ xp.ones(x.shape[1], x.dtype) * factor
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
    listed = xp.minimum.accumulate(target >= 0, axis=1)
    longest = int(listed.sum(axis=1).max()) if xp is np else classes     # on a device to count them would wait
    listed, t = listed[:, :longest], xp.where(listed, target, 0)[:, :longest]
    rows = xp.arange(n)[:, None]
    other = xp.ones((n, classes + 1), bool)           # the last column takes what is not listed
    other[rows, xp.where(listed, t, classes)] = False
    excess = x[:, None, :] - (x[rows, t] - 1)[:, :, None]                # (N, place in the list, class)
    excess *= listed[:, :, None] & other[:, None, :classes]
    xp.clip(excess, 0, INF, out=excess)
    loss = excess.sum(axis=(1, 2)) * (scale / classes)
    ahead = (excess > 0).astype(x.dtype)
    slope = ahead.sum(axis=1)
    xp.subtract.at(slope, (rows, t), ahead.sum(axis=2))
    slope *= scale / classes
    return xp.asarray(loss.sum() if reduce else loss, dtype), slope


# -- alignments --------------------------------------------------------------------------------------------------------

NEVER = -1e30            # the logarithm of a probability 0: finite, so that differences of two are defined


def _paths(xp: Any, lp: Any, skips: Any) -> Any:
    """The logarithm of the probability of all ways to be at place s of a sequence of labels at time t, for lp (T, M, L).

    α_t(s) = (α_{t-1}(s) + α_{t-1}(s-1) + α_{t-1}(s-2) where `skips` allows it) · p_t(label of s), starting at s = 0 or 1.
    """
    times, m, places = lp.shape
    alphas = xp.full((times, m, places + 2), NEVER, lp.dtype)            # two places before the first: their views are shifted by 1 and 2
    alphas[0, :, 2:4] = lp[0, :, :2]
    barrier = xp.zeros((3, m, places), lp.dtype)
    barrier[2] = xp.where(skips, 0, NEVER)
    for t in range(1, times):
        before = alphas[t - 1]
        ways = xp.stack([before[:, 2:], before[:, 1:-1], before[:, :-2]])
        ways += barrier
        most = ways.max(axis=0)
        ways -= most
        xp.exp(ways, out=ways)
        now = xp.log(ways.sum(axis=0), out=alphas[t, :, 2:])
        now += most
        now += lp[t]
    return alphas[:, :, 2:]


def _mirrored(xp: Any, x: Any, times: Any, places: Any) -> Any:
    """x (T, N, L) with the first times[n] steps and the first places[n] places of every sample in reverse order."""
    t = xp.arange(x.shape[0])[:, None]
    s = xp.arange(x.shape[2])[None]
    t = xp.where(t < times, times - 1 - t, t)
    s = xp.where(s < places[:, None], places[:, None] - 1 - s, s)
    return x[t[:, :, None], xp.arange(x.shape[1])[None, :, None], s[None]]


def ctc_loss(log_probs: Any, labels: Any, skips: Any, times: Any, places: Any, derive: bool) -> tuple:
    """-log of the probability of all alignments of sequences of labels with log_probs (T, N, C).

    Sample n has times[n] steps. labels (N, L) are its targets with blanks between and around them, places[n] of them; skips (N, L) says
    where an alignment may come from two places before. What comes after a sequence's end in reverse (β) is the same recursion on the
    mirrored sequence, so both run at once. Returns the losses (N), and if derive the posterior probability γ (T, N, L) that the
    alignment is at place s at time t; γ is 0 for an impossible sequence, whose loss is infinite.
    """
    xp, dtype = namespace(log_probs), log_probs.dtype
    lp = xp.take_along_axis(wide(log_probs), xp.broadcast_to(labels, (log_probs.shape[0], *labels.shape)), axis=2)
    xp.clip(lp, NEVER, INF, out=lp)                   # -∞ too
    n = xp.arange(len(labels))
    if derive:
        same = xp.roll(skips, -2, axis=1)             # skipping from s to s + 2 is allowed in both directions
        same = _mirrored(xp, same[None], xp.ones_like(times), places)[0]
        both = _paths(xp, xp.concatenate([lp, _mirrored(xp, lp, times, places)], axis=1), xp.concatenate([skips, same]))
        alphas, betas = both[:, :len(n)], both[:, len(n):]
    else:
        alphas = _paths(xp, lp, skips)
    last, end = xp.where(times > 0, times - 1, 0), places - 1
    a, b = alphas[last, n, end], xp.where(end > 0, alphas[last, n, end - 1], NEVER)
    most = xp.maximum(a, b)
    log_z = most + xp.log(xp.exp(a - most) + xp.exp(b - most))
    log_z = xp.where(times > 0, log_z, xp.where(end == 0, 0, NEVER))
    impossible = log_z < NEVER / 2
    loss = xp.where(impossible, INF, -log_z).astype(dtype)
    if not derive:
        return loss, None
    gamma = alphas + _mirrored(xp, betas, times, places)
    gamma -= lp
    gamma -= xp.where(impossible, -NEVER * 4, log_z)[None, :, None]
    xp.exp(gamma, out=gamma)
    gamma *= (xp.arange(lp.shape[0])[:, None, None] < times[:, None]) & (xp.arange(lp.shape[2]) < places[:, None])
    return loss, gamma


def ctc_loss_backward(g: Any, loss: Any, gamma: Any, labels: Any, shape: tuple, dtype: np.dtype) -> Any:
    """The derivative with respect to log_probs: -g·Σ γ over the places of each label; NaN for an impossible sequence, unless g is 0."""
    xp = namespace(gamma)
    times, samples, classes = shape
    g = wide(xp.where(xp.isfinite(loss) | (g == 0), g, xp.nan))
    d = xp.zeros((times, samples, classes), gamma.dtype)
    where = (xp.arange(times)[:, None, None] * samples + xp.arange(samples)[None, :, None]) * classes + labels
    xp.add.at(d.reshape(-1), where.reshape(-1), (gamma * -g[:, None]).reshape(-1))
    return d.astype(dtype, copy=False)
