"""New tensors whose elements follow a rule: ranges, and the indices of triangles."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import CPU, to_device
from ..dtypes import canonical, get_default_dtype
from ..errors import DomainError, DTypeError
from ..tensor import Tensor, wrap
from .creation import dtype_or_default, leaf, number, on_device, shape_of

__all__ = ["arange", "linspace", "logspace", "tril_indices", "triu_indices"]


def arange(start: Any = 0, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The numbers start, start + step, start + 2·step… below end (above it for a negative step).

    Args:
        start: the first number; `arange(end)` starts at 0.
        end: where to stop; it is not included.
        step: the distance between the numbers.
        dtype: int64 for integers by default, the default dtype otherwise.
        device: the CPU by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.

    Returns:
        A tensor of shape (⌈(end - start) / step⌉,).

    Raises:
        DomainError: a step of 0, or one that leads away from end, or an infinite range.

    Example:
        >>> arange(3), arange(1.0, 2.0, 0.5)
        (tensor([0, 1, 2]), tensor([1.0000, 1.5000]))
    """
    if end is None:
        start, end = 0, start
    start, end, step = number(start, "start"), number(end, "end"), number(step, "step")
    if dtype is None:
        dtype = get_default_dtype() if any(isinstance(x, float) for x in (start, end, step)) else np.dtype("int64")
    dtype = canonical(dtype)
    if dtype.kind == "b":
        raise DTypeError("arange counts, which booleans cannot; write arange(n).bool()")
    if not all(map(math.isfinite, (start, end, step))):
        raise DomainError(f"arange from {start} to {end} by {step} does not end")
    whole = dtype.kind in "iu"
    if whole:
        start, end, step = int(start), int(end), int(step)
    if step == 0 or (end - start) * step < 0:
        raise DomainError(f"steps of {step} do not lead from {start} to {end}; write arange(start, end, step) with the sign of end - start")

    def build(xp: Any) -> Any:
        if whole:
            return xp.arange(start, end, step, dtype="int64").astype(dtype, copy=False)
        return (start + step * xp.arange(math.ceil((end - start) / step), dtype="float64")).astype(dtype, copy=False)
    return leaf(on_device(build, device), requires_grad)


def linspace(start: Any, end: Any, steps: int, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Numbers at equal distances from start to end, both included.

    Args:
        start: the first number.
        end: the last number.
        steps: how many numbers.
        dtype: the default dtype by default; integers are rounded towards 0.
        device: the CPU by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.

    Returns:
        A tensor of shape (steps,).

    Example:
        >>> linspace(0, 1, 5)
        tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    start, end, (n,), dtype = number(start, "start"), number(end, "end"), shape_of((steps,)), dtype_or_default(dtype)
    return leaf(on_device(lambda xp: xp.linspace(start, end, n).astype(dtype), device), requires_grad)


def logspace(start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: Any = None, device: Any = None,
             requires_grad: bool = False) -> Tensor:
    """Powers of a base, with exponents at equal distances from start to end, both included.

    Args:
        start: the first exponent.
        end: the last exponent.
        steps: how many numbers.
        base: the base.
        dtype: the default dtype by default; integers are rounded towards 0.
        device: the CPU by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.

    Returns:
        A tensor of shape (steps,).

    Example:
        >>> logspace(0, 2, 3)
        tensor([  1.,  10., 100.])
    """
    start, end, (n,), dtype = number(start, "start"), number(end, "end"), shape_of((steps,)), dtype_or_default(dtype)
    return leaf(on_device(lambda xp: (float(base) ** xp.linspace(start, end, n)).astype(dtype), device), requires_grad)


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = "int64", device: Any = None) -> Tensor:
    """The indices of the elements on and below a diagonal, row by row.

    Args:
        row: the number of rows.
        col: the number of columns.
        offset: 0 for the main diagonal, above it if positive.
        dtype: an integer dtype.
        device: the CPU by default.

    Returns:
        A tensor of shape (2, n): row numbers, column numbers.

    Example:
        >>> tril_indices(2, 2)
        tensor([[0, 1, 1],
                [0, 0, 1]])
    """
    row, col = shape_of((row, col))
    return wrap(to_device(np.stack(np.tril_indices(row, offset, col)).astype(canonical(dtype)), device or CPU))


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = "int64", device: Any = None) -> Tensor:
    """The indices of the elements on and above a diagonal, row by row.

    Args:
        row: the number of rows.
        col: the number of columns.
        offset: 0 for the main diagonal, above it if positive.
        dtype: an integer dtype.
        device: the CPU by default.

    Returns:
        A tensor of shape (2, n): row numbers, column numbers.

    Example:
        >>> triu_indices(2, 2)
        tensor([[0, 0, 1],
                [0, 1, 1]])
    """
    row, col = shape_of((row, col))
    return wrap(to_device(np.stack(np.triu_indices(row, offset, col)).astype(canonical(dtype)), device or CPU))
