"""Activations and losses of single elements: the loops that build.py makes of `bodies`."""
from __future__ import annotations

from functools import wraps
from typing import Any, Callable

import numpy as np

from .. import plain
from ..bodies import ACTIVATIONS, FORMULAS, LOSSES
from . import _native
from .arrays import PIECE, fits, fitted, like

__all__ = [*ACTIVATIONS, *FORMULAS, *LOSSES]                      # type: ignore[reportUnsupportedDunderAll]


def _activation(name: str) -> Callable:
    """The kernel(x, derive, *numbers) -> (y, slope)."""
    reference, value, both = getattr(plain, name), getattr(_native, name), getattr(_native, name + "_slope")

    @wraps(reference)
    def kernel(x: Any, derive: bool, *numbers: float) -> tuple:
        if not fits(x):
            suited = fitted(x)
            if suited is None:
                return reference(x, derive, *numbers)
            x, = suited
        y = like(x)
        if not derive:
            value(x.size, PIECE, x, y, *numbers)
            return y, None
        slope = like(x)
        both(x.size, PIECE, x, y, slope, *numbers)
        return y, slope
    return kernel


# Written out for each, since a call with a star takes longer than a kernel does for a few elements.
_KERNEL = """
def {name}({arguments}):
    if not fits({arrays}):
        suited = fitted({arrays})
        if suited is None:
            return reference({arguments})
        {arrays}, = suited
    result = like({first})
    run({first}.size, PIECE, {arrays}, result, {numbers})
    return result
"""


def _formula(name: str) -> Callable:
    """The kernel(*arrays, *numbers) -> one result."""
    arrays, numbers = FORMULAS[name].arrays.split(), FORMULAS[name].numbers.split()
    reference = getattr(plain, name)
    scope = dict(fits=fits, fitted=fitted, like=like, PIECE=PIECE, reference=reference, run=getattr(_native, name))
    exec(_KERNEL.format(name=name, first=arrays[0], arrays=", ".join(arrays), numbers=", ".join(numbers),
                        arguments=", ".join([*arrays, *numbers])), scope)
    return wraps(reference)(scope[name])


def _loss(name: str) -> Callable:
    """The kernel(x, t, scale, reduce, derive, *numbers) -> (loss, slope)."""
    reference = getattr(plain, name)
    version = {(reduce, derive): getattr(_native, name + "_sum" * reduce + "_slope" * derive) for reduce in (0, 1) for derive in (0, 1)}

    @wraps(reference)
    def kernel(x: Any, t: Any, scale: float, reduce: bool, derive: bool, *numbers: float) -> tuple:
        suited = fitted(x, t)
        if suited is None:
            return reference(x, t, scale, reduce, derive, *numbers)
        x, t = suited
        n, slope = x.size, [like(x)] if derive else []
        run = version[reduce, derive]
        if reduce:
            parts = np.empty(-(-n // PIECE))
            run(n, PIECE, x, t, parts, PIECE, *slope, scale, *numbers)
            y = np.asarray(parts.sum() * scale, x.dtype)
        else:
            y = like(x)
            run(n, PIECE, x, t, y, *slope, scale, *numbers)
        return y, slope[0] if derive else None
    return kernel


globals().update({name: _activation(name) for name in ACTIVATIONS})
globals().update({name: _formula(name) for name in FORMULAS})
globals().update({name: _loss(name) for name in LOSSES})
