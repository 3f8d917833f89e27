"""Comparing tensors in tests: `testing.assert_close(actual, expected)`."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .backend import is_array, to_numpy
from .dtypes import FLOATS, promote_types
from .tensor import Tensor, as_array

__all__ = ["assert_close"]

_TOLERANCES = {"float16": (1e-3, 1e-5), "bfloat16": (1.6e-2, 1e-5), "float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7)}     # relative, absolute


def assert_close(actual: Any, expected: Any, *, rtol: float | None = None, atol: float | None = None, equal_nan: bool = False,
                 check_device: bool = True, check_dtype: bool = True, msg: str | Callable[[str], str] | None = None) -> None:
    """Raise unless |actual - expected| <= atol + rtol·|expected| everywhere.

    Args:
        actual: a tensor, an array, a number, or a list or dict of such, compared one by one.
        expected: what it should be, of the same kind, shape, dtype and device.
        rtol: the relative tolerance; by default 1e-3 for float16, 1.6e-2 for bfloat16, 1.3e-6 for float32, 1e-7 for float64, 0 for others; of
            two dtypes the larger one.
        atol: the absolute tolerance, given together with rtol; by default 1e-7 for float64, 1e-5 for other floats, 0 for others.
        equal_nan: whether NaN equals NaN.
        check_device: whether the devices must be the same.
        check_dtype: whether the dtypes must be the same.
        msg: what the error says instead, or a function that makes it from the message.

    Raises:
        AssertionError: they are not close; the message says how many elements are not, and by how much.
        ValueError: one tolerance without the other.
        TypeError: what cannot be compared.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.testing.assert_close(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 2.0 + 1e-6]))
        >>> tg.testing.assert_close(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 3.0]))
        Traceback (most recent call last):
            ...
        AssertionError: 1 of 2 elements are not close...
    """
    if (rtol is None) != (atol is None):
        raise ValueError("rtol and atol are given together or not at all; write rtol=0 or atol=0 for the other")
    problem = _difference(actual, expected, "", rtol, atol, equal_nan, check_device, check_dtype)
    if problem:
        raise AssertionError(msg(problem) if callable(msg) else problem if msg is None else msg)


def _difference(actual: Any, expected: Any, place: str, *options: Any) -> str | None:
    """What is wrong, or None; `place` says where in nested lists and dicts."""
    pairs: list[tuple]
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if set(actual) != set(expected):
            return f"the keys differ{place}: {sorted(map(str, actual))}, expected {sorted(map(str, expected))}"
        pairs = [(actual[key], expected[key], key) for key in actual]
    elif all(isinstance(x, Sequence) and not isinstance(x, str) for x in (actual, expected)):
        if len(actual) != len(expected):
            return f"the lengths differ{place}: {len(actual)}, expected {len(expected)}"
        pairs = [(a, b, i) for i, (a, b) in enumerate(zip(actual, expected))]
    else:
        return _distance(actual, expected, place, *options)
    return next((found for a, b, key in pairs if (found := _difference(a, b, f"{place or ' at '}[{key!r}]", *options))), None)


def _distance(actual: Any, expected: Any, place: str, rtol: float | None, atol: float | None, equal_nan: bool, check_device: bool,
              check_dtype: bool) -> str | None:
    for x in (actual, expected):
        if not isinstance(x, (Tensor, bool, int, float, np.generic)) and not is_array(x):
            raise TypeError(f"assert_close compares tensors, arrays and numbers, got {type(x).__name__}{place}")
    if isinstance(actual, Tensor) != isinstance(expected, Tensor):
        return f"the types differ{place}: {type(actual).__name__}, expected {type(expected).__name__}"
    a, b = [Tensor(as_array(x, "float64" if isinstance(x, float) and not isinstance(x, np.generic) else None)) for x in (actual, expected)]
    for what, checked in (("shape", True), ("device", check_device), ("dtype", check_dtype)):
        if checked and getattr(a, what) != getattr(b, what):
            return f"the {what}s differ{place}: {getattr(a, what)}, expected {getattr(b, what)}"
    if rtol is None or atol is None:
        known = [_TOLERANCES.get(dtype.name, (0.0, 0.0)) for dtype in (a.dtype, b.dtype)]
        rtol, atol = max(r for r, _ in known), max(t for _, t in known)
    common = promote_types(a.dtype, b.dtype)
    x, y = [to_numpy(t._data).astype("float64" if common.kind in FLOATS else common if common.kind != "b" else "int8") for t in (a, b)]
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.where(x == y, 0, np.abs(x - y) if common.kind in FLOATS else np.maximum(x, y) - np.minimum(x, y))
        close = (distance <= atol + rtol * np.abs(y)) & np.isfinite(y) | (x == y)
    if equal_nan:
        close |= np.isnan(x) & np.isnan(y)
    if close.all():
        return None
    worst = np.unravel_index(np.argmax(np.where(close, -1.0, np.where(np.isnan(distance), np.inf, distance))), x.shape)
    at = f" at {tuple(map(int, worst))}" if x.ndim else ""
    return (f"{np.count_nonzero(~close)} of {x.size} elements are not close{place}; the farthest is {x[worst]}, expected {y[worst]}{at}, "
            f"a distance of {distance[worst]:.3g}, allowed are {atol:.3g} + {rtol:.3g}·|expected|")
