"""Steps of optimizers by compiled loops, each one pass over the memory."""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import plain
from . import _native
from .arrays import PIECE, fits, fitted

__all__ = ["adam_step", "sgd_step", "sum_of_squares"]


def adam_step(p: Any, g: Any, m: Any, v: Any, largest: Any, rate: float, beta1: float, beta2: float, eps: float, decay: float = 0.0,
              shrink: float = 1.0, sign: float = 1.0, skip: Any = None) -> None:
    if skip is not None or not fits(p, g, m, v, largest):      # no copies: most of them are written to
        plain.adam_step(p, g, m, v, largest, rate, beta1, beta2, eps, decay, shrink, sign, skip)
    else:
        _native.adam_step(p.size, PIECE, p, g, m, v, largest, rate, beta1, beta2, eps, decay, shrink, sign)


def sgd_step(p: Any, g: Any, v: Any, lr: float, momentum: float = 0.0, fresh: float = 1.0, decay: float = 0.0, sign: float = 1.0,
             nesterov: bool = False, skip: Any = None) -> None:
    if skip is not None or not fits(p, g, v):
        plain.sgd_step(p, g, v, lr, momentum, fresh, decay, sign, nesterov, skip)
    else:
        _native.sgd_step(p.size, PIECE, p, g, v, lr, momentum, fresh, decay, sign, nesterov)


def sum_of_squares(x: Any) -> Any:
    suited = fitted(x)
    if suited is None:
        return plain.sum_of_squares(x)
    x, = suited
    parts = np.empty(-(-x.size // PIECE))
    _native.sum_of_squares(x.size, PIECE, x, parts, PIECE)
    return np.asarray(parts.sum(), x.dtype)
