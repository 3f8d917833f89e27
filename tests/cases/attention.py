"""Cases of `ops/attention.py`."""
import math

import numpy as np
from registry import call, case

from tinygrad_ed.ops import attention


def softmax(s):
    """Of scores where -∞ hides a key; a row without keys is 0."""
    highest = s.real.max(axis=-1, keepdims=True, initial=-np.inf)
    e = np.where(np.isneginf(s.real), 0, np.exp(s - np.where(np.isfinite(highest), highest, 0)))
    total = e.sum(axis=-1, keepdims=True)
    return e / np.where(total == 0, 1, total)


def attend(q, k, v, mask=None, is_causal=False, scale=None, enable_gqa=False, keep=None, keep_prob=1.0):
    """The definition."""
    if enable_gqa:
        k, v = (np.repeat(x, q.shape[-3] // x.shape[-3], axis=-3) for x in (k, v))
    s = q @ k.swapaxes(-1, -2) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
    if is_causal:
        s = np.where(np.tri(*s.shape[-2:], dtype=bool), s, -np.inf)
    p = softmax(s)
    return (p if keep is None else p * keep / keep_prob) @ v


def lengths(d):
    """L, S, E, V."""
    return [d.integer(1, 4) for _ in range(4)]


def scaled(name="nn.functional.scaled_dot_product_attention", **facts):
    return case(name, numpy=attend, analytic=True, **facts)


@scaled()
def _(d):
    batch, (l, s, e, w) = d.shape(max_dims=2, min_side=1, max_side=3), lengths(d)
    return call(d.array((*batch, l, e)), d.array((*batch, s, e)), d.array((*batch, s, w)), is_causal=d.bool(),
                **d.pick([{}, {"scale": 0.3}, {"scale": 40.0}]))     # the last one leaves the range in which scores are not shifted


@scaled()
def _(d):
    batch, (l, s, e, w) = d.shape(min_dims=1, max_dims=2, min_side=1, max_side=3), lengths(d)
    shape = d.pick([(l, s), (1, s), (*batch, l, s), (*[1] * len(batch), l, s)])
    return call(d.array((*batch, l, e)), d.array((*batch, s, e)), d.array((*batch, s, w)), d.pick([d.bools(shape), d.array(shape)]),
                **d.pick([{}, {"scale": 40.0}]))


@scaled()
def _(d):
    l, s, e, w = lengths(d)
    return call(d.array((2, 1, l, e)), d.array((1, 3, s, e)), d.array((3, s, w)))       # the batch dimensions broadcast


@scaled()
def _(d):
    l, s, e, w = lengths(d)
    heads, times = d.integer(1, 2), d.integer(1, 3)
    return call(d.array((2, heads * times, l, e)), d.array((2, heads, s, e)), d.array((2, heads, s, w)), enable_gqa=True)


@case("dropout in scaled_dot_product_attention", torch=None, analytic=True,
      op=lambda q, k, v, mask, keep, **options: attention._attention(q, k, v, mask, keep, causal=False, scale=0.5, keep_prob=0.8),
      numpy=lambda q, k, v, mask, keep: attend(q, k, v, mask, scale=0.5, keep=keep, keep_prob=0.8))
def _(d):
    l, s, e, w = lengths(d)
    mask = d.pick([None, d.array((2, l, s)), d.bools((2, l, s))])
    return call(d.array((2, l, e)), d.array((2, s, e)), d.array((2, s, w)), mask, d.bools((2, l, s)))


def heads(d, **options):
    """Arguments of multi_head_attention_forward, of 2 heads with 2 dimensions each."""
    l, s, n, e = d.integer(1, 3), d.integer(1, 3), d.integer(1, 2), 4
    kind = d.pick(["self", "memory", "all"])
    q = d.array((l, n, e))
    k = q if kind == "self" else d.array((s, n, e))
    v = k if kind != "all" else d.array((s, n, e))
    bias = d.bool()
    return [q, k, v, e, 2, d.array((3 * e, e)), d.array((3 * e,)) if bias else None, None, None, False, 0.0, d.array((e, e)),
            d.array((e,)) if bias else None], (l, len(k), n)


@case("nn.functional.multi_head_attention_forward", parity_rtol=1e-8)
def _(d):
    args, (l, s, n) = heads(d)
    if d.bool():
        args[7:9] = d.array((1, 1, 4)), d.array((1, 1, 4))
    args[9] = d.bool()
    mask = d.pick([None, np.where(d.bools((l, s)), 0.0, d.array((l, s))), d.array((n * 2, l, s))])
    return call(*args, need_weights=d.bool(), average_attn_weights=d.bool(), attn_mask=mask)


@case("nn.functional.multi_head_attention_forward", parity_rtol=1e-8)
def _(d):
    args, (l, s, n) = heads(d)
    mask, padding = d.bools((l, s)), d.bools((n, s))
    mask[:, 0] = padding[:, 0] = False                   # every query sees a key
    return call(*args, need_weights=d.bool(), attn_mask=d.pick([None, mask]), key_padding_mask=padding)


@case("nn.functional.multi_head_attention_forward", parity_rtol=1e-8)
def _(d):
    args, (l, s, n) = heads(d)
    k, v = d.array((s, n, 3)), d.array((s, n, 2))
    return call(args[0], k, v, *args[3:5], None, *args[6:], need_weights=d.bool(), use_separate_proj_weight=True,
                q_proj_weight=d.array((4, 4)), k_proj_weight=d.array((4, 3)), v_proj_weight=d.array((4, 2)))


@case("nn.functional.multi_head_attention_forward", parity_rtol=1e-8)
def _(d):
    args, (l, s, n) = heads(d)
    x = d.array((l, 4))                                  # one sequence, causal
    mask = np.triu(np.full((l, l), True), 1)
    return call(x, x, x, *args[3:], need_weights=d.bool(), attn_mask=mask, is_causal=d.bool())


