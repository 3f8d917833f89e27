"""Limiting gradients before a step: their norm, taken of all together, or each number of them."""
from __future__ import annotations

import math
import types
import warnings
from typing import Any, Iterable, Union

import numpy as np

from ...autograd.inplace import stamp_all
from ...backend import namespace
from ...backend.kernels import kernels
from ...backend.memory import joined
from ...dtypes import FLOATS
from ...errors import DomainError, DTypeError
from ...ops.arguments import wide
from ...tensor import Tensor, wrap

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]

Tensors = Union[Tensor, Iterable[Tensor]]


def _listed(tensors: Tensors) -> list[Tensor]:
    found = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    for t in found:
        if not isinstance(t, Tensor):
            raise TypeError(f"expected tensors, got {type(t).__name__}; write model.parameters()")
    if not found and isinstance(tensors, types.GeneratorType):
        warnings.warn("this generator of parameters is empty, so nothing is clipped; write model.parameters() anew, since a generator is "
                      "used up after one use", stacklevel=4)
    return found


def _gradients(parameters: Tensors) -> list[Any]:
    """The gradients' arrays, each once, also where parameters come twice or share a gradient."""
    arrays = {id(p._grad._data): p._grad._data for p in _listed(parameters) if p._grad is not None}
    return list(arrays.values())


# -- norms -------------------------------------------------------------------------------------------------------------

def _part(xp: Any, x: Any, p: float) -> Any:
    """What an array contributes to the norm: Σ|x|^p, or its largest or smallest |x|."""
    if p == 2:
        return kernels(x).sum_of_squares(x)
    x = wide(x).reshape(-1)
    if p == math.inf:
        return xp.maximum(x.max(), -x.min())
    x = xp.abs(x)
    return x.min() if p == -math.inf else x.sum() if p == 1 else xp.count_nonzero(x) if p == 0 else (x ** p).sum()


def _norm_of(arrays: list[Any], p: float) -> Any:
    """The norm of arrays taken as one vector: a float on the CPU, a 0-d array, without waiting for it, on a device."""
    arrays = [a for a in arrays if a.size]
    if not arrays:
        return 0.0
    xp = namespace(arrays[0])
    if xp is not np:
        parts = [_part(xp, a, p) for a in joined(arrays)]
        whole = parts[0] if len(parts) == 1 else getattr(xp.stack(parts), {math.inf: "max", -math.inf: "min"}.get(p, "sum"))()
        return xp.sqrt(whole) if p == 2 else whole if p in (0, math.inf, -math.inf) else whole ** (1 / p)
    parts = [float(_part(np, a, p)) for a in arrays]
    if math.isinf(p):
        return math.nan if any(map(math.isnan, parts)) else max(parts) if p > 0 else min(parts)
    if p == 0:
        return sum(parts)
    total = sum(parts)
    if p > 0 and not 1e-30 < total < math.inf:        # powers have overflowed or vanished: of smaller numbers they do not
        largest = _norm_of(arrays, math.inf)
        if 0 < largest < math.inf:
            return largest * _norm_of([a / np.asarray(largest, np.float64) for a in arrays], p)
    return total ** (1 / p) if total or p > 0 else math.inf


def _total(arrays: list[Any], norm_type: float, error_if_nonfinite: bool) -> Tensor:
    p = float(norm_type)
    for a in arrays:
        if a.dtype.kind not in FLOATS:
            raise DTypeError(f"the norm of floating point tensors is taken, got {a.dtype} of shape {a.shape}")
    total = _norm_of(arrays, p)
    if error_if_nonfinite and not math.isfinite(total):
        bad = [a.shape for a in arrays if not namespace(a).isfinite(a).all()]
        where = f"{len(bad)} of {len(arrays)} gradients are not finite, the first of shape {bad[0]}" if bad else "its powers are too large"
        raise DomainError(f"the norm of the gradients is {float(total)}, so they cannot be clipped: {where}. Find the operation with "
                          f"autograd.detect_anomaly(), or leave error_if_nonfinite=False")
    dtype = np.result_type(*[a.dtype for a in arrays]) if arrays else np.dtype("float32")
    xp = namespace(*arrays)
    return wrap(xp.asarray(total).astype(dtype, copy=False))


def get_total_norm(tensors: Tensors, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None) -> Tensor:
    """The p-norm of several tensors taken as one vector, (Σ|x|^p)^(1/p).

    Args:
        tensors: a tensor or several, such as gradients; each counts once.
        norm_type: p; also 0, ∞ and "inf".
        error_if_nonfinite: whether NaN and ∞ are an error; on a CUDA device this waits for the result.
        foreach: accepted as in PyTorch; all tensors are always gone through once.

    Returns:
        A 0-d tensor; 0 of nothing.

    Raises:
        DomainError: a norm that is not finite, with error_if_nonfinite.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.utils.get_total_norm([tg.tensor([3.0]), tg.tensor([[4.0]])])
        tensor(5.)
    """
    return _total(list({id(t._data): t._data for t in _listed(tensors)}.values()), norm_type, error_if_nonfinite)


# -- clipping ----------------------------------------------------------------------------------------------------------

def clip_grad_norm_(parameters: Tensors, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
                    foreach: bool | None = None) -> Tensor:
    """Scale all gradients by one factor so that their norm, taken as one vector, is at most max_norm (Pascanu et al., 2013).

    The factor is min(1, max_norm / (norm + 1e-6)). A gradient that several parameters share, or a parameter that comes several times,
    counts once and is scaled once. On a CUDA device nothing waits for the norm.

    Args:
        parameters: a tensor or several; those without a gradient are left out.
        max_norm: the largest norm, not negative.
        norm_type: p of the norm; 1, 2, ∞ or "inf", or another number.
        error_if_nonfinite: whether a norm of NaN or ∞ is an error, which leaves the gradients as they are; otherwise they become NaN or 0.
        foreach: accepted as in PyTorch; all gradients are always gone through once.

    Returns:
        The norm before clipping, a 0-d tensor; 0 without gradients.

    Raises:
        DomainError: a norm that is not finite, with error_if_nonfinite, or a negative max_norm.

    Example:
        >>> import tinygrad_ed as tg
        >>> w = tg.tensor([3.0, 4.0], requires_grad=True)
        >>> (w * w).sum().backward()
        >>> tg.nn.utils.clip_grad_norm_([w], max_norm=1.0)
        tensor(10.)
        >>> w.grad
        tensor([0.6000, 0.8000])
    """
    max_norm = _limit("clip_grad_norm_", "max_norm", max_norm)
    arrays = _gradients(parameters)
    total = _total(arrays, norm_type, error_if_nonfinite)
    _scale(arrays, max_norm, total)
    return total


def clip_grads_with_norm_(parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None) -> None:
    """Scale all gradients by min(1, max_norm / (total_norm + 1e-6)): the second half of `clip_grad_norm_`, with a norm known already.

    Args:
        parameters: a tensor or several; those without a gradient are left out.
        max_norm: the largest norm, not negative.
        total_norm: their norm, as `get_total_norm` gives it.
        foreach: accepted as in PyTorch.

    Raises:
        DomainError: a negative max_norm.

    Example:
        >>> import tinygrad_ed as tg
        >>> w = tg.tensor([3.0, 4.0], requires_grad=True)
        >>> (w * w).sum().backward()
        >>> tg.nn.utils.clip_grads_with_norm_([w], 1.0, tg.tensor(10.0))
        >>> w.grad
        tensor([0.6000, 0.8000])
    """
    _scale(_gradients(parameters), _limit("clip_grads_with_norm_", "max_norm", max_norm), total_norm)


def _scale(arrays: list[Any], max_norm: float, total: Tensor) -> None:
    norm = total._data
    if isinstance(norm, np.ndarray):
        factor = max_norm / (float(norm) + 1e-6)
        if factor >= 1:
            return
        for a in arrays:
            a *= factor
    else:
        for a in joined(arrays):
            kernels(a).clip_to_norm(a, norm, max_norm)
    stamp_all(arrays)


def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Limit every number of the gradients to [-clip_value, clip_value].

    Args:
        parameters: a tensor or several; those without a gradient are left out.
        clip_value: the limit, not negative.
        foreach: accepted as in PyTorch.

    Raises:
        DomainError: a negative clip_value.

    Example:
        >>> import tinygrad_ed as tg
        >>> w = tg.tensor([3.0, -0.1], requires_grad=True)
        >>> (w * w).sum().backward()
        >>> tg.nn.utils.clip_grad_value_([w], 1.0)
        >>> w.grad
        tensor([ 1.0000, -0.2000])
    """
    limit = _limit("clip_grad_value_", "clip_value", clip_value)
    arrays = _gradients(parameters)
    for a in joined(arrays):
        namespace(a).clip(a, -limit, limit, out=a)
    stamp_all(arrays)


def _limit(name: str, argument: str, value: Any) -> float:
    value = float(value)
    if not value >= 0:
        raise DomainError(f"{name} takes a {argument} of at least 0, got {value}")
    return value
