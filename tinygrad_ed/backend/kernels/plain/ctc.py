"""CTC: the probability of a sequence of labels, summed over all alignments."""
from __future__ import annotations

from typing import Any

import numpy as np

from ... import namespace
from .activation import wide

__all__ = ["ctc_loss", "ctc_loss_backward"]

NEVER = -1e30            # the logarithm of a probability 0: finite, so that differences of two are defined


def _paths(xp: Any, lp: Any, skips: Any) -> tuple:
    """The logarithm of the probability of all ways to be at place s of a sequence of labels at time t, for lp (T, M, L).

    α_t(s) = (α_{t-1}(s) + α_{t-1}(s-1) + α_{t-1}(s-2) where `skips` allows it) · p_t(label of s), starting at s = 0 or 1. So that no digits
    are lost in long sequences, what all places have in common is taken out now and then and returned on its own, (T, M).
    """
    times, m, places = lp.shape
    alphas = xp.full((times, m, places + 2), NEVER, lp.dtype)            # two places before the first: their views are shifted by 1 and 2
    alphas[0, :, 2:4] = lp[0, :, :2]
    taken = xp.zeros((times, m))
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
        taken[t] = taken[t - 1]
        if t % 8 == 0:
            common = now.max(axis=1)
            now -= common[:, None]
            taken[t] += common
    return alphas[:, :, 2:], taken


def _mirror(xp: Any, sizes: Any, n: int) -> Any:
    """For every size the numbers below n, with the first `size` of them in reverse order: (n, sizes)."""
    i = xp.arange(n)[:, None]
    return xp.where(i < sizes, sizes - 1 - i, i)


def ctc_loss(log_probs: Any, labels: Any, skips: Any, times: Any, places: Any, derive: bool) -> tuple:
    """-log of the probability of all alignments of sequences of labels with log_probs (T, N, C).

    Sample n has times[n] steps. labels (N, L) are its targets with blanks between and around them, places[n] of them; skips (N, L) says
    where an alignment may come from two places before. What comes after a sequence's end in reverse (β) is the same recursion on the
    mirrored sequence, so both run at once. Returns the losses (N), and if derive the posterior probability γ (T, N, L) that the
    alignment is at place s at time t; γ is 0 for an impossible sequence, whose loss is infinite.
    """
    xp, dtype = namespace(log_probs), log_probs.dtype
    lp = xp.take_along_axis(wide(log_probs), xp.broadcast_to(labels, (log_probs.shape[0], *labels.shape)), axis=2)
    xp.clip(lp, NEVER, np.inf, out=lp)                   # -∞ too
    n = xp.arange(len(labels))
    mirror = _mirror(xp, times, lp.shape[0])[:, :, None], n[:, None], _mirror(xp, places, lp.shape[2]).T      # (T, N, 1), (N, 1), (N, L)
    if derive:
        onward = xp.roll(skips, -2, axis=1)[mirror[1:]]                  # from s to s + 2 is allowed in both directions
        paths, taken = _paths(xp, xp.concatenate([lp, lp[mirror]], axis=1), xp.concatenate([skips, onward]))
    else:
        paths, taken = _paths(xp, lp, skips)
    alphas, last, end = paths[:, :len(n)], xp.where(times > 0, times - 1, 0), places - 1
    a, b = alphas[last, n, end], xp.where(end > 0, alphas[last, n, end - 1], NEVER)
    most = xp.maximum(a, b)
    log_z = most + xp.log(xp.exp(a - most) + xp.exp(b - most)) + taken[last, n]
    log_z = xp.where(times > 0, log_z, xp.where(end == 0, 0, NEVER))
    impossible = log_z < NEVER / 2
    loss = xp.where(impossible, np.inf, -log_z).astype(dtype)
    if not derive:
        return loss, None
    gamma = alphas + paths[:, len(n):][mirror]
    gamma -= lp
    gamma += (taken[:, :len(n)] + taken[:, len(n):][mirror[0][:, :, 0], n] - log_z)[:, :, None].astype(lp.dtype)
    inside = (xp.arange(lp.shape[0])[:, None] < xp.where(impossible, 0, times))[:, :, None] & (xp.arange(lp.shape[2]) < places[:, None])
    gamma = xp.where(inside, gamma, NEVER)
    return loss, xp.exp(gamma, out=gamma)


def ctc_loss_backward(g: Any, loss: Any, gamma: Any, labels: Any, shape: tuple, dtype: np.dtype) -> Any:
    """The derivative with respect to log_probs: -g·Σ γ over the places of each label; NaN for an impossible sequence, unless g is 0."""
    xp = namespace(gamma)
    times, samples, classes = shape
    g = wide(xp.where(xp.isfinite(loss) | (g == 0), g, xp.nan))
    d = xp.zeros((times, samples, classes), gamma.dtype)
    where = (xp.arange(times)[:, None, None] * samples + xp.arange(samples)[None, :, None]) * classes + labels
    xp.add.at(d.reshape(-1), where.reshape(-1), (gamma * -g[:, None]).reshape(-1))
    return d.astype(dtype, copy=False)
