"""Precision: what operations convert their arguments to inside `amp.autocast`, and what they do with bfloat16.

Products of matrices are fast in half precision and forgive it; logarithms, powers, sums and losses need the range of float32.
The rest takes what it gets. bfloat16 is a format to keep numbers in: operations compute in float32 and round their results, forward and backward,
but for those on a device that have kernels for it. The compiled operations look at `active`, which is empty as long as neither is in use.
"""
from __future__ import annotations

from typing import Any, Callable, NamedTuple, Sequence

import numpy as np

from ..dtypes import FLOATS, float32
from ..tensor import Tensor
from .modes import state

LOWER = frozenset("conv conv_transpose einsum gru linear linear_gelu linear_relu lstm matmul prelu rnn scaled_dot_product_attention".split())
FLOAT32 = frozenset("""acos asin batch_norm batch_norm_relu cdist cosh cross_entropy ctc_loss cumprod cumsum erfinv exp expm1 group_norm layer_norm
    log log10 log1p log2 log_softmax logcumsumexp logsumexp multi_margin_loss multilabel_margin_loss nll_loss norm pow prod reciprocal rms_norm
    rsqrt sinh softmax softplus square sum tan var""".split())

NATIVE = frozenset("""add channel_sums column_sums conv conv_transpose conv_weight gelu gelu_tanh gru linear linear_gelu linear_relu lstm matmul mul
    relu rnn scaled_dot_product_attention silu""".split())            # take bfloat16 on a device

active: list = []                     # every autocast block that is open, in whichever thread, and bfloat16 once it has been used


class Casting(NamedTuple):
    """The autocast that is in force in a thread."""

    device_type: str
    dtype: np.dtype
    cache: dict | None                # parameters that have been converted: id -> (parameter, its array, converted)


def recast(call: Callable, name: str, args: Sequence[Any], options: dict) -> Any:
    """The result of the operation `name`, a `call`, where its arguments are to be converted first; NotImplemented where they are not."""
    casting = state.casting
    if casting is not None and (name in LOWER or name in FLOAT32):
        converted = _autocast(casting, casting.dtype if name in LOWER else float32, args)
        if converted is not None:
            return call(*converted, **options)
    kept = None                                       # bfloat16, if no other floating point dtype is among the arguments
    for x in args:
        dtype = x._data.dtype if isinstance(x, Tensor) else getattr(x, "dtype", None)
        if dtype is not None and dtype.kind in FLOATS:
            if dtype.kind == "f":
                return NotImplemented
            kept = dtype
    if kept is None or (name in NATIVE and _on_device(args)):
        return NotImplemented
    state.casting = None                              # as it is, they are right already
    try:
        y = call(*[_cast(x, float32) if getattr(x, "dtype", None) is kept else x for x in args], **options)
    finally:
        state.casting = casting
    return tuple([_rounded(v, kept) for v in y]) if isinstance(y, tuple) else _rounded(y, kept)


def _on_device(args: Sequence[Any]) -> bool:
    """Whether all arguments are arrays on a device."""
    return not any([x is not None and (not hasattr(x, "dtype") or isinstance(getattr(x, "_data", x), (np.ndarray, np.generic))) for x in args])


def _rounded(y: Any, dtype: np.dtype) -> Any:
    return _cast(y, dtype) if y.dtype == float32 else y


def _cast(x: Any, dtype: np.dtype) -> Any:
    return x.to(dtype=dtype) if isinstance(x, Tensor) else np.asarray(x, dtype) if isinstance(x, np.generic) else x.astype(dtype)


def _autocast(casting: Casting, target: np.dtype, args: Sequence[Any]) -> list | None:
    """The arguments with those of lower and higher precision converted to `target`; None where there is nothing to convert."""
    chosen = [i for i, x in enumerate(args) if isinstance(x, Tensor) and x._data.dtype.kind in FLOATS and x._data.dtype.itemsize < 8
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
