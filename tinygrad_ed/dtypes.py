"""The dtypes a tensor can have: NumPy's own, under PyTorch's names, and the rule by which two of them combine.

The rule is PyTorch's. Among tensors of one kind (bool < integer < float) the wider dtype wins; across kinds the higher
kind's dtype is kept as it is (int64 with float32 is float32, where NumPy alone would widen to float64). Python numbers
and 0-d tensors are weak: they can raise the kind, never the width.

bfloat16, float32 without its lower 16 bits, comes from the package ml_dtypes, which is imported at its first use. To NumPy it is a user's dtype,
of kind "V"; operations compute in float32 and round their results (see `autograd.casts`).
"""
from __future__ import annotations

import builtins
from functools import cache
from typing import Any

import numpy as np

from .errors import DTypeError

float16 = half = np.dtype("float16")
float32 = float = np.dtype("float32")
float64 = double = np.dtype("float64")
int8, int16, int32, int64, uint8 = (np.dtype(name) for name in ("int8", "int16", "int32", "int64", "uint8"))
short, int, long = int16, int32, int64
bool = np.dtype("bool")

__all__ = ["float16", "half", "float32", "float", "float64", "double", "int8", "int16", "int32", "int64", "uint8", "short", "int", "long",
           "bool", "can_cast", "finfo", "iinfo", "set_default_dtype", "get_default_dtype", "promote_types", "result_type"]

SUPPORTED = (float16, float32, float64, int8, int16, int32, int64, uint8, bool)
FLOATS = "fV"                          # the kinds of floating point dtypes
RANKS = {"b": 0, "i": 1, "u": 1, "f": 2, "V": 2}
_default = float32


@cache
def _bfloat16() -> np.dtype:
    try:
        from ml_dtypes import bfloat16
    except ImportError as error:
        raise DTypeError(f'bfloat16 needs the package ml_dtypes ({error}): pip install "tinygrad_ed[bfloat16]"') from None
    from .autograd import casts
    casts.active.append(bfloat16)                      # from now on operations look at what they get
    return np.dtype(bfloat16)


def __getattr__(name: str) -> Any:
    if name == "bfloat16":
        return _bfloat16()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype of new floating point tensors, float32 at first.

    Args:
        dtype: float16, bfloat16, float32 or float64.

    Raises:
        DTypeError: not a floating point dtype.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.set_default_dtype(tg.float64)
        >>> tg.zeros(1).dtype
        dtype('float64')
        >>> tg.set_default_dtype(tg.float32)
    """
    global _default
    dtype = canonical(dtype)
    if dtype.kind not in FLOATS:
        raise DTypeError(f"the default dtype is a floating point dtype, got {dtype}")
    _default = dtype


def get_default_dtype() -> np.dtype:
    """The dtype of new floating point tensors.

    Example:
        >>> get_default_dtype()
        dtype('float32')
    """
    return _default


def canonical(dtype: Any) -> np.dtype:
    """The one dtype object that stands for `dtype`, which may be a dtype, a NumPy type, a name or a Python type.

    Raises:
        DTypeError: a dtype that tensors do not have (complex, strings, objects, unsigned above 8 bits…).

    Example:
        >>> canonical("float32") is float32
        True
        >>> import builtins
        >>> canonical(builtins.float)                 # Python's floats have 64 bits
        dtype('float64')
        >>> canonical(complex)
        Traceback (most recent call last):
            ...
        tinygrad_ed.errors.DTypeError: tensors have no dtype complex128; they have float16, float32, float64, ...
    """
    for known in SUPPORTED:
        if dtype is known:
            return known
    if getattr(dtype, "name", getattr(dtype, "__name__", dtype)) == "bfloat16":
        return _bfloat16()
    try:
        found = None if dtype is None else np.dtype(dtype)
    except TypeError:
        found = None
    for known in SUPPORTED:
        if found is not None and (found.kind, found.itemsize) == (known.kind, known.itemsize):   # also other byte orders
            return known
    names = ", ".join(map(str, (*SUPPORTED, "bfloat16")))
    if found is None:
        devices = '; devices are "cpu", "cuda" and "cuda:<index>"' if isinstance(dtype, str) else ""
        raise DTypeError(f"{dtype!r} is no dtype; tensors have {names}{devices}")
    raise DTypeError(f"tensors have no dtype {found}; they have {names}{_HINTS.get(found.kind, '')}")


_HINTS = {
    "c": "; complex numbers are out of scope: keep the real and the imaginary part as two tensors",
    "u": "; write array.astype('int64')",
    "f": "; write array.astype('float64')",
    "O": "; write array.astype('float32') if the objects are numbers",
    "V": "; take one field of a structured array: array['name']",
}


def finfo(type: Any = None) -> Any:
    """The limits of a floating point dtype: `max`, `min`, `tiny`, `eps` (the step from 1 to the next number), `resolution`, `bits`.

    Args:
        type: the dtype; the default dtype if None.

    Raises:
        DTypeError: not a floating point dtype.

    Example:
        >>> finfo(float32).bits
        32
    """
    dtype = canonical(_default if type is None else type)
    if dtype.kind not in FLOATS:
        raise DTypeError(f"finfo is for floating point dtypes, got {dtype}; write iinfo({dtype})")
    if dtype.kind == "V":
        import ml_dtypes
        return ml_dtypes.finfo(dtype)
    return np.finfo(dtype)


def iinfo(type: Any) -> Any:
    """The limits of an integer dtype: `max`, `min` and `bits`.

    Args:
        type: the dtype.

    Raises:
        DTypeError: not an integer dtype.

    Example:
        >>> iinfo(uint8).max
        255
    """
    dtype = canonical(type)
    if dtype.kind not in "iu":
        raise DTypeError(f"iinfo is for integer dtypes, got {dtype}" + (f"; write finfo({dtype})" if dtype.kind in FLOATS else ""))
    return np.iinfo(dtype)


def _kind(x: Any) -> Any:
    if isinstance(x, (builtins.bool, np.bool_)):
        return 0
    return 1 if isinstance(x, (builtins.int, np.integer)) else 2


_WEAK_DTYPES = (bool, int64, None)     # what a Python bool, int and float become among themselves


def result_type(*operands: Any) -> np.dtype:
    """The dtype in which these tensors, arrays and Python numbers combine.

    Args:
        operands: tensors, arrays or Python numbers.

    Returns:
        The common dtype, by the rule at the top of this module.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.result_type(tg.ones(2, dtype=tg.int64), tg.ones(2))
        dtype('float32')
        >>> tg.result_type(tg.ones(2, dtype=tg.int8), 2.5)
        dtype('float32')
    """
    best: list[Any] = [None, None, None]          # of the tensors with dimensions, the 0-d tensors, the numbers
    for x in operands:
        dtype = getattr(x, "dtype", None)
        if dtype is None or isinstance(x, np.generic):
            group, dtype = 2, _WEAK_DTYPES[_kind(x)] or _default
        else:
            group = 0 if x.ndim else 1
        best[group] = dtype if best[group] is None else _wider(best[group], dtype)
    result = best[0]
    for weaker in best[1:]:
        if weaker is not None and (result is None or RANKS[weaker.kind] > RANKS[result.kind]):
            result = weaker
    return canonical(result)


def promote_types(type1: Any, type2: Any) -> np.dtype:
    """The dtype in which tensors of two dtypes combine, by the rule at the top of this module.

    Args:
        type1: a dtype.
        type2: another.

    Raises:
        DTypeError: a dtype that tensors do not have.

    Example:
        >>> promote_types(int64, float16)
        dtype('float16')
    """
    return canonical(_wider(canonical(type1), canonical(type2)))


def can_cast(from_: Any, to: Any) -> builtins.bool:
    """Whether a dtype is of the other's kind or a lower one (bool < integer < float), so that results of the one can be written into the other.

    Args:
        from_: a dtype.
        to: the dtype of what is written.

    Raises:
        DTypeError: a dtype that tensors do not have.

    Example:
        >>> can_cast(int64, float16), can_cast(float16, int64)
        (True, False)
    """
    return RANKS[canonical(from_).kind] <= RANKS[canonical(to).kind]


def _wider(a: np.dtype, b: np.dtype) -> np.dtype:
    if RANKS[a.kind] != RANKS[b.kind]:
        return max(a, b, key=lambda dtype: RANKS[dtype.kind])
    return float32 if {a.char, b.char} == {"e", "E"} else np.promote_types(a, b)
