"""What the operations along dimensions share: NumPy's names for their arguments, dimensions as numbers in [0, ndim), dtypes."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from operator import index
from typing import Any, NamedTuple, Union

import numpy as np

from ..dtypes import FLOATS
from ..errors import DTypeError, ShapeError
from ..tensor import Tensor, normalize_dim

Dims = Union[int, Sequence[int], None]


class ValuesIndices(NamedTuple):
    """Values picked along a dimension, and where each was."""

    values: Tensor
    indices: Tensor


_TORCH_NAMES = {"axis": "dim", "keepdims": "keepdim"}


def numpy_names(function: Callable) -> Callable:
    """Let a function also take `axis` for dim, `keepdims` for keepdim and `out=None`, so that `np.sum(tensor)` works."""
    @wraps(function)
    def named(input: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs:
            if kwargs.pop("out", None) is not None:
                raise TypeError(f"{function.__name__} makes a new tensor and takes no out=; write y = {function.__name__}(x, ...)")
            given, kwargs = kwargs, {_TORCH_NAMES.get(name, name): value for name, value in kwargs.items()}
            if len(kwargs) < len(given):
                raise TypeError(f"{function.__name__} got one argument under two names: {', '.join(given)}")
        try:
            return function(input, *args, **kwargs)
        except AttributeError:
            if hasattr(input, "dtype"):
                raise
            name = function.__name__
            raise DTypeError(f"{name} takes a tensor, got {type(input).__name__}; write {name}(tensor(x), ...)") from None
    return named


def over(x: Any, dim: Dims) -> tuple[int, ...]:
    """The dimensions that a reduction runs over, as numbers in [0, ndim); all of them for None and for ().

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: a dimension named twice.
    """
    ndim = x.ndim
    if dim is None:
        return tuple(range(ndim))
    if not isinstance(dim, (tuple, list)):
        return (one(x, dim),) if ndim else (one(x, dim),)[:0]
    dims = tuple([one(x, i) for i in dim])
    if len(set(dims)) < len(dims):
        raise ShapeError(f"dim {tuple(dim)} names a dimension of a tensor of shape {tuple(x.shape)} twice")
    return dims[:ndim] or tuple(range(ndim))


def one(x: Any, dim: Any) -> int:
    """A single dimension as a number in [0, ndim).

    Raises:
        DimError: a dimension outside the tensor.
        TypeError: not an integer.
    """
    if dim.__class__ is not int:
        if isinstance(dim, (bool, np.bool_)) or not hasattr(dim, "__index__"):
            raise TypeError(f"a dimension is an integer, got {dim!r}; write dim=-1 for the last one")
        dim = index(dim)
    return normalize_dim(dim, x.ndim)


def cast(x: Any, dtype: np.dtype) -> Any:
    """A tensor or an array in a dtype: itself where it has that dtype."""
    return x if x.dtype == dtype else x.to(dtype=dtype) if isinstance(x, Tensor) else x.astype(dtype)


def wide(x: Any) -> Any:
    """An array in the precision to compute in: float16 as float32, others as they are."""
    return x if x.dtype.char != "e" else x.astype("float32")


def require_float(x: Any, name: str) -> None:
    """Refuse integers and booleans where the result would not be one.

    Raises:
        DTypeError: not a floating point dtype.
    """
    if x.dtype.kind not in FLOATS:
        raise DTypeError(f"{name} is defined for floating point tensors, got {x.dtype}{list(x.shape)}; write {name}(x.float(), ...)")
