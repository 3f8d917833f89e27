"""Mixed precision: which operations convert their arguments inside `amp.autocast`, and to what.

Products of matrices are fast in half precision and forgive it; logarithms, powers, sums and losses need the range of float32.
The rest takes what it gets. The compiled operations named here look at `active`, which is empty outside autocast.
"""
from __future__ import annotations

from typing import Any, NamedTuple, Sequence

import numpy as np

from ..dtypes import float32
from ..tensor import Tensor
from .modes import state

LOWER = frozenset("conv conv_transpose einsum gru linear lstm matmul prelu rnn scaled_dot_product_attention".split())
FLOAT32 = frozenset("""acos asin batch_norm cdist cosh cross_entropy ctc_loss cumprod cumsum erfinv exp expm1 group_norm layer_norm log log10 log1p
    log2 log_softmax logcumsumexp logsumexp multi_margin_loss multilabel_margin_loss nll_loss norm pow prod reciprocal rms_norm rsqrt sinh
    softmax softplus square sum tan var""".split())

active: list = []                     # one entry for every autocast block that is open, in whichever thread


class Casting(NamedTuple):
    """The autocast that is in force in a thread."""

    device_type: str
    dtype: np.dtype
    cache: dict | None                # parameters that have been converted: id -> (parameter, its array, converted)


def recast(name: str, args: Sequence[Any]) -> list | None:
    """The arguments as autocast wants them for the operation `name`; None where they are so already."""
    casting = state.casting
    if casting is None:
        return None
    target = casting.dtype if name in LOWER else float32
    chosen = [i for i, x in enumerate(args) if isinstance(x, Tensor) and x._data.dtype.kind == "f" and x._data.dtype.itemsize < 8
              and x._data.dtype is not target and x.device.type == casting.device_type]
    if not chosen:
        return None
    converted = list(args)
    for i in chosen:
        converted[i] = _converted(casting, args[i], target)
    return converted


def _converted(casting: Casting, x: Tensor, target: np.dtype) -> Tensor:
    if casting.cache is None or not (state.recording and x.requires_grad and x.is_leaf):
        return x.to(dtype=target)
    found = casting.cache.get((id(x), target))
    if found is None or found[0] is not x or found[1] is not x._data:
        found = casting.cache[id(x), target] = x, x._data, x.to(dtype=target)
    return found[2]
