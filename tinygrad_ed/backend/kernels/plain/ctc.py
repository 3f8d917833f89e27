"""CTC: the probability of a sequence of labels, summed over all alignments."""
from __future__ import annotations

from typing import Any

import numpy as np

from ... import namespace
from ...determinism import add_at
from .activation import wide
from .memory import empty

__all__ = ["ctc_loss", "ctc_loss_backward"]

NEVER = -1e30            # the logarithm of a probability 0: finite, so that differences of two are defined


def _paths(xp: Any, lp: Any, skips: Any) -> tuple:
    """The logarithm of the probability of all ways to be at place s of a sequence of labels at time t, for lp (T, M, L).

    α_t(s) = (α_{t-1}(s) + α_{t-1}(s-1) + α_{t-1}(s-2) where `skips` allows it) · p_t(label of s), starting at s = 0 or 1. So that no digits
    are lost in long sequences, what all places have in common is taken out now and then and returned on its own, (T, M).
    """
    times, m, places = lp.shape
    alphas = xp.full((times, m, places + 2), NEVER, lp.dtype)            # two places before the first, for what comes from there
    alphas[0, :, 2:4] = lp[0, :, :2]
    taken = xp.zeros((times, m))
    barrier = xp.zeros((3, m, places), lp.dtype)
    barrier[2] = xp.where(skips, 0, NEVER)
    ways = empty(xp, barrier.shape, lp.dtype)
    stay, step, skip = ways
    most = empty(xp, stay.shape, lp.dtype)
    item, wide_row = lp.itemsize, (places + 2) * lp.itemsize
    for t in range(1, times):
        came = xp.lib.stride_tricks.as_strided(alphas[t - 1, :, 2:], ways.shape, (-item, wide_row, item))      # from s, s - 1 and s - 2
        xp.add(came, barrier, out=ways)
        xp.maximum(stay, step, out=most)
        xp.maximum(most, skip, out=most)
        ways -= most
        xp.exp(ways, out=ways)
        stay += step
        stay += skip
        now = xp.log(stay, out=alphas[t, :, 2:])
        now += most
        now += lp[t]
        if t % 8:
            taken[t] = taken[t - 1]
        else:
            common = now.max(axis=1)
            now -= common[:, None]
            taken[t] = taken[t - 1] + common
    return alphas[:, :, 2:], taken


def _mirror(xp: Any, sizes: Any, n: int) -> Any:
    """For every size the numbers below n, with the first `size` of them in reverse order: (n, sizes)."""
    i = xp.arange(n)[:, None]
    return xp.where(i < sizes, sizes - 1 - i, i)


def ctc_loss(log_probs: Any, labels: Any, skips: Any, times: Any, places: Any, derive: bool) -> tuple:
    """-log of the probability of all alignments of sequences of labels with log_probs (T, N, C).

    Sample n has times[n] steps. labels (N, L) are its targets with blanks between and around them, places[n] of them; skips (N, L) says
    where an alignment may come from two places before. What comes after a sequence's end in reverse (β) is the same recursion on the
    mirrored sequence, so both run at once.

    Returns the losses (N), ∞ for an impossible sequence; if derive the posterior probability γ (T, N, L) that the alignment is at place s
    at time t, 0 for an impossible one; and where each place's label is in the flattened log_probs, (T, N, L).
    """
    xp, dtype = namespace(log_probs), log_probs.dtype
    (steps, samples, classes), length = log_probs.shape, labels.shape[1]
    n = xp.arange(samples)
    where = (xp.arange(steps)[:, None, None] * samples + n[:, None]) * classes + labels
    lp = wide(log_probs).reshape(-1).take(where)
    xp.clip(lp, NEVER, np.inf, out=lp)                # -∞ too
    if derive:
        t, s = _mirror(xp, times, steps), _mirror(xp, places, length).T
        mirror = (t * samples + n)[:, :, None] * length + s              # in the flattened (T, N, L)
        onward = xp.roll(skips, -2, axis=1)[n[:, None], s]               # from s to s + 2 is allowed in both directions
        paths, taken = _paths(xp, xp.concatenate([lp, lp.reshape(-1).take(mirror)], axis=1), xp.concatenate([skips, onward]))
    else:
        paths, taken = _paths(xp, lp, skips)
    alphas, last, end = paths[:, :samples], xp.where(times > 0, times - 1, 0), places - 1
    a, b = alphas[last, n, end], xp.where(end > 0, alphas[last, n, end - 1], NEVER)
    most = xp.maximum(a, b)
    log_z = most + xp.log(xp.exp(a - most) + xp.exp(b - most)) + taken[last, n]
    log_z = xp.where(times > 0, log_z, xp.where(end == 0, 0, NEVER))
    impossible = log_z < NEVER / 2
    loss = xp.where(impossible, np.inf, -log_z).astype(dtype)
    if not derive:
        return loss, None, where
    gamma = alphas + paths[:, samples:].reshape(-1).take(mirror)
    gamma -= lp
    gamma += (taken[:, :samples] + taken[:, samples:][t, n] - log_z)[:, :, None].astype(lp.dtype)
    inside = (xp.arange(steps)[:, None] < xp.where(impossible, 0, times))[:, :, None] & (xp.arange(length) < places[:, None])
    gamma = xp.where(inside, gamma, NEVER)
    return loss, xp.exp(gamma, out=gamma), where


def ctc_loss_backward(g: Any, loss: Any, gamma: Any, where: Any, shape: tuple, dtype: np.dtype) -> Any:
    """The derivative with respect to log_probs: -g·Σ γ over the places of each label; NaN for an impossible sequence, unless g is 0."""
    xp = namespace(gamma)
    g = wide(xp.where(xp.isfinite(loss) | (g == 0), g, xp.nan))
    d = xp.zeros(shape, gamma.dtype)
    add_at(xp, d.reshape(-1), where.reshape(-1), (gamma * -g[:, None]).reshape(-1))
    return d.astype(dtype, copy=False)
