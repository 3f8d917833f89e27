"""Steps of optimizers by CUDA kernels, each one launch, gradients to their places by the dozen, and the sum of squares in one or two launches."""
from __future__ import annotations

from typing import Any, Sequence

from ... import is_array
from .. import plain
from .launch import TYPES, elements, fitted, launch, like, wide

__all__ = ["adam_rates", "adam_step", "clip_to_norm", "collect", "sgd_step", "sum_of_squares", "unscale", "update_scale"]

_ALONE = 1 << 15         # elements that one block sums
_PAIRS = 32              # of arrays in one launch of collect
_BLOCKS = 512            # for each of them at most


def _suits(*arrays: Any) -> bool:
    """Whether a kernel can work on the arrays (or None) where they are: most of them are written to."""
    given = [a for a in arrays if a is not None]
    return given[0].dtype.name in TYPES and all(a.dtype == given[0].dtype and a.flags.c_contiguous for a in given)


def _number(value: Any, dtype: Any) -> tuple[float, Any]:
    """A number of the host, or a 0-d array on the device, as two arguments of a kernel."""
    return (0.0, value.astype(dtype, copy=False)) if is_array(value) else (float(value), None)


def adam_step(p: Any, g: Any, m: Any, v: Any, largest: Any, rate: Any, beta1: float, beta2: float, eps: Any, decay: float = 0.0,
              shrink: Any = 1.0, sign: float = 1.0, skip: Any = None) -> None:
    if not _suits(p, g, m, v, largest):
        plain.adam_step(p, g, m, v, largest, rate, beta1, beta2, eps, decay, shrink, sign, skip)
    elif p.size:
        launch("optim", "adam_step", p.dtype, elements(p.size), p, g, m, v, largest, skip, p.size, *_number(rate, p.dtype), *_number(eps, p.dtype),
               *_number(shrink, p.dtype), float(beta1), float(beta2), float(decay), float(sign))


def adam_rates(steps: Any, skip: Any, lr: Any, beta1: float, beta2: float, eps: float, weight_decay: float, corrected: bool, dtype: Any) -> Any:
    if dtype.name not in TYPES:
        return plain.adam_rates(steps, skip, lr, beta1, beta2, eps, weight_decay, corrected, dtype)
    rates = like(steps, dtype, (3,))
    value, at = (0.0, lr) if is_array(lr) else (float(lr), None)
    launch("optim", "adam_rates", dtype, elements(steps.size), steps, rates, skip, steps.size, value, at, float(beta1), float(beta2), float(eps),
           float(weight_decay), corrected)
    return rates


def sgd_step(p: Any, g: Any, v: Any, lr: Any, momentum: float = 0.0, fresh: float = 1.0, decay: float = 0.0, sign: float = 1.0,
             nesterov: bool = False, skip: Any = None) -> None:
    if not _suits(p, g, v):
        plain.sgd_step(p, g, v, lr, momentum, fresh, decay, sign, nesterov, skip)
    elif p.size:
        launch("optim", "sgd_step", p.dtype, elements(p.size), p, g, v, skip, p.size, *_number(lr, p.dtype), float(momentum), float(fresh),
               float(decay), float(sign), nesterov)


def clip_to_norm(x: Any, norm: Any, limit: float) -> None:
    if not _suits(x):
        plain.clip_to_norm(x, norm, limit)
    elif x.size:
        launch("optim", "clip_to_norm", x.dtype, elements(x.size), x, norm.astype(wide(x), copy=False), x.size, float(limit))


def collect(pairs: Sequence[tuple[Any, Any]], add: bool = False) -> None:
    kinds: dict[Any, list] = {}
    for pair in pairs:
        kinds.setdefault(pair[0].dtype if _suits(*pair) else None, []).append(pair)
    if not _apart(pairs):
        kinds = {None: list(pairs)}
    plain.collect(kinds.pop(None, ()), add)
    for dtype, found in kinds.items():
        for start in range(0, len(found), _PAIRS):
            some = found[start:start + _PAIRS]
            blocks = min(elements(max(y.size for y, _ in some))[0][0], _BLOCKS)
            args = [a for y, x in some for a in (y, x, y.size)] + [None, None, 0] * (_PAIRS - len(some))
            launch("optim", "collect", dtype, ((blocks, len(some)), elements(1)[1]), *args, add)


def _apart(pairs: Sequence[tuple[Any, Any]]) -> bool:
    """Whether the order does not matter: no place overlaps another, and nothing that is copied lies in the same memory."""
    spans = sorted([(y.data.ptr, y.data.ptr + y.nbytes) for y, _ in pairs])
    memory = {id(y.data.mem) for y, _ in pairs}
    return all([before[1] <= after[0] for before, after in zip(spans, spans[1:])]) and not any([id(x.data.mem) in memory for _, x in pairs])


def sum_of_squares(x: Any) -> Any:
    suited = fitted(x) if x.size else None
    if suited is None:
        return plain.sum_of_squares(x)
    x, = suited
    y = like(x, wide(x), ())
    if x.size <= _ALONE:
        launch("optim", "sum_of_squares", x.dtype, ((1,), (min(1024, -(-x.size // 32) * 32),)), x, y, x.size)
    else:
        grid, block = elements(x.size)
        parts = like(x, wide(x), grid)
        launch("optim", "sum_of_squares", x.dtype, (grid, block), x, parts, x.size)
        launch("optim", "total", x.dtype, ((1,), block), parts, y, grid[0])
    return y


def unscale(x: Any, scale: Any, found: Any) -> None:
    if not _suits(x):
        plain.unscale(x, scale, found)
    elif x.size:
        launch("optim", "unscale", x.dtype, elements(x.size), x, found, x.size, *((0.0, scale) if is_array(scale) else (float(scale), None)))


def update_scale(state: Any, found: Any, growth: float, backoff: float, interval: int) -> None:
    launch("optim", "update_scale", state.dtype, ((1,), (1,)), state, found, float(growth), float(backoff), interval)
