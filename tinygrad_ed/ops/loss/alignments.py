"""CTC: the loss of a sequence of labels whose times are not known."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...autograd.op import op
from ...backend import to_device, to_numpy
from ...backend.kernels import kernels
from ...errors import DTypeError, IndexRangeError, ShapeError
from ...tensor import Tensor, wrap
from ..activation.common import is_differentiated
from ..elementwise import isinf, where
from ..index import gather
from ..join import cat, stack
from ..like import full_like
from ..softmax import logsumexp
from .common import check_float, check_reduction, reduced

__all__ = ["ctc_loss"]


def _composed_ctc(log_probs: Tensor, labels: Tensor, skips: Tensor, times: Tensor, places: Tensor, *, derive: bool) -> Tensor:
    """The recursion α_t(s) = (α_{t-1}(s) + α_{t-1}(s-1) + α_{t-1}(s-2) where allowed)·p_t(label of s), in logarithms."""
    steps, (samples, length) = log_probs.shape[0], labels.shape
    lp = gather(log_probs, 2, labels.unsqueeze(0).expand(steps, samples, length))
    never = full_like(lp[0].detach(), -math.inf)
    s, end = np.arange(length), _host(places, "places")[:, None] - 1
    alpha = where(_on(s < 2, lp), lp[0], never)
    alphas = [alpha]
    for t in range(1, steps):
        shifted = [cat([never[:, :k], alpha[:, :length - k]], 1) if k < length else never for k in (1, 2)]
        alpha = logsumexp(stack([alpha, shifted[0], where(skips, shifted[1], never)]), 0) + lp[t]
        alphas.append(alpha)
    final = stack([alphas[max(t, 1) - 1][n] for n, t in enumerate(_host(times, "times"))])
    loss = -logsumexp(where(_on((s == end) | (s == end - 1), lp), final, never), 1)
    return where(times > 0, loss, where(places == 1, 0.0, math.inf))


_ctc = op("ctc_loss", lambda log_probs, labels, skips, times, places, *, derive: kernels(log_probs).ctc_loss(
    log_probs, labels, skips, times, places, derive), aux=("gamma", "where"), composed=_composed_ctc,
    log_probs=lambda g, y, gamma, where, log_probs_shape: kernels(gamma).ctc_loss_backward(g, y, gamma, where, log_probs_shape, g.dtype))


def ctc_loss(log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0, reduction: str = "mean",
             zero_infinity: bool = False) -> Tensor:
    """-log of the probability that the outputs, with repetitions merged and then blanks removed, are the targets.

    Graves et al., "Connectionist temporal classification", 2006. The probability is summed over all alignments by a recursion over
    time, in logarithms. The derivative with respect to log_probs is minus the posterior probability of each label at each time.

    Args:
        log_probs: log-probabilities of shape (T, N, C) or (T, C), as `log_softmax` gives them.
        targets: labels without blanks: integers of shape (N, S), or one behind the other (sum of target_lengths); (S) without N.
        input_lengths: how many of the T steps each sample has; integers (N) or one.
        target_lengths: how many labels each sample has; integers (N) or one.
        blank: the class that stands for no label.
        reduction: "mean" divides every loss by its number of labels first; "sum" or "none".
        zero_infinity: count samples whose targets are too long for their inputs as 0, without a gradient; otherwise their loss is ∞.

    Returns:
        A 0-d tensor, or with reduction="none" one of shape (N) or ().

    Raises:
        ShapeError: shapes or lengths that do not fit together.
        DTypeError: log_probs that are not floating point, or labels that are no integers.
        IndexRangeError: a label outside [0, C), or a blank among the labels.
        ValueError: an unknown reduction.

    Example:
        >>> import tinygrad_ed as tg
        >>> log_probs = tg.full((2, 1, 2), 0.5).log()
        >>> ctc_loss(log_probs, tg.tensor([[1]]), [2], [1])                 # "1-", "-1" and "11": 3 of 4
        tensor(0.2877)
    """
    check_reduction(reduction)
    check_float("ctc_loss", log_probs=log_probs)
    batched = log_probs.ndim == 3
    if not batched and log_probs.ndim != 2 or log_probs.shape[0] == 0:
        raise ShapeError(f"ctc_loss takes log_probs of shape (T, N, C) or (T, C) with T of at least 1, got {log_probs.shape}")
    log_probs = log_probs if batched else log_probs.unsqueeze(1)
    steps, samples, classes = log_probs.shape
    times = _lengths("input_lengths", input_lengths, samples)
    counts = _lengths("target_lengths", target_lengths, samples)
    if times.size and times.max() > steps:
        raise ShapeError(f"ctc_loss: input_lengths go up to {times.max()}, and log_probs {log_probs.shape} have {steps} steps")
    if not 0 <= blank < classes:
        raise IndexRangeError(f"ctc_loss: blank={blank} is no class of log_probs with {classes} classes")
    table = _table(targets, counts, samples, classes, blank, batched)

    labels = np.full((samples, 2 * table.shape[1] + 1), blank)           # blanks around and between the labels
    labels[:, 1::2] = table
    skips = np.zeros(labels.shape, bool)
    skips[:, 3::2] = table[:, 1:] != table[:, :-1]                       # two equal labels need a blank between them
    given = [_on(a, log_probs) for a in (labels, skips, times, 2 * counts + 1)]
    loss = _ctc(log_probs, *given, derive=is_differentiated(log_probs))
    if zero_infinity:
        loss = where(isinf(loss), 0.0, loss)
    if reduction == "mean":
        loss = loss / _on(np.maximum(counts, 1).astype(loss.dtype), loss)
    return reduced(loss, reduction) if batched or reduction != "none" else loss.squeeze(0)


def _on(array: np.ndarray, x: Tensor) -> Tensor:
    """An array as a tensor on x's device."""
    return wrap(to_device(array, x.device))


def _host(x: Any, what: str) -> np.ndarray:
    """Integers as a NumPy array."""
    array = to_numpy(x._data) if isinstance(x, Tensor) else np.asarray(x)
    if array.dtype.kind not in "iu" and array.size:
        raise DTypeError(f"ctc_loss: {what} are integers, got {array.dtype}")
    return array.astype(np.int64)


def _lengths(name: str, given: Any, samples: int) -> np.ndarray:
    lengths = _host(given, name).reshape(-1)
    if len(lengths) != samples or (lengths < 0).any():
        raise ShapeError(f"ctc_loss takes {name} of at least 0, one for each of {samples} samples, got {lengths.tolist()}")
    return lengths


def _table(targets: Any, counts: np.ndarray, samples: int, classes: int, blank: int, batched: bool) -> np.ndarray:
    """The labels as (N, longest), with blanks behind the last one of each sample."""
    t = _host(targets, "targets")
    longest = int(counts.max()) if samples else 0
    inside = np.arange(longest) < counts[:, None]
    table = np.full((samples, longest), blank)
    if t.ndim == 1 and (batched or len(t) == counts.sum()):
        if len(t) != counts.sum():
            raise ShapeError(f"ctc_loss: targets one behind the other are as many as target_lengths sum up to, {counts.sum()}, "
                             f"got {len(t)}")
        table[inside] = t
    else:
        t = t.reshape(1, -1) if t.ndim == 1 else t
        if t.ndim != 2 or len(t) != samples or t.shape[1] < longest:
            raise ShapeError(f"ctc_loss takes targets of shape (N, S) = ({samples}, {longest} or more), or (sum of target_lengths), "
                             f"got {t.shape}")
        table[inside] = t[:, :longest][inside]
    used = table[inside]
    if used.size and not (used.min() >= 0 and used.max() < classes and (used != blank).all()):
        bad = used[(used < 0) | (used >= classes) | (used == blank)][0]
        raise IndexRangeError(f"ctc_loss: target {bad} is no label: labels are 0 to {classes - 1} without the blank, {blank}")
    return table
