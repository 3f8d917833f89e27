"""Sliding windows over a dimension, as a view of the memory."""
from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd.op import op
from ...errors import ShapeError
from ...tensor import Tensor, normalize_dim
from ..broadcast import reshape_to

__all__ = ["unfold"]

_windows = op("unfold", lambda xp, x, *, dimension, size, step: _strided(xp, x, dimension, size, step), view=True,
              x=lambda g, x_shape, dimension, size, step: _fold(g, shape=x_shape, dimension=dimension, size=size, step=step))
_fold = op("fold", lambda xp, x, *, shape, dimension, size, step: _overlap_add(xp, x, shape, dimension, size, step),
           x=lambda g, dimension, size, step: _windows(g, dimension=dimension, size=size, step=step))


def _strided(xp: Any, x: Any, dimension: int, size: int, step: int) -> Any:
    count = (x.shape[dimension] - size) // step + 1
    shape = (*x.shape[:dimension], count, *x.shape[dimension + 1:], size)
    strides = (*x.strides[:dimension], x.strides[dimension] * step, *x.strides[dimension + 1:], x.strides[dimension])
    if xp is not np:
        return xp.lib.stride_tricks.as_strided(x, shape, strides)
    owner = x
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if not owner.flags.forc:
        return np.lib.stride_tricks.as_strided(x, shape, strides).copy()
    offset = x.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
    return np.ndarray(shape, x.dtype, owner if owner.flags.c_contiguous else owner.T, offset, strides)    # not as_strided, which hides the owner


def _overlap_add(xp: Any, x: Any, shape: tuple, dimension: int, size: int, step: int) -> Any:
    out = xp.zeros(shape, dtype=x.dtype)
    reach = (x.shape[dimension] - 1) * step + 1
    for k in range(size if x.shape[dimension] else 0):
        out[(slice(None),) * dimension + (slice(k, k + reach, step),)] += x[..., k]
    return out


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """All windows of `size` elements along a dimension, every `step` elements one: a view.

    Args:
        input: a tensor of any shape.
        dimension: the dimension.
        size: elements per window.
        step: elements from one window to the next.

    Returns:
        A view with the number of windows, (n - size) // step + 1, in place of the dimension's length n, and a last
        dimension of length `size`.

    Raises:
        ShapeError: a size longer than the dimension or negative, or a step below 1.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.unfold(tg.tensor([1.0, 2.0, 3.0, 4.0]), 0, 2, 1)
        tensor([[1., 2.],
                [2., 3.],
                [3., 4.]])
    """
    x = input if input.ndim else reshape_to(input, shape=(1,))
    dimension = normalize_dim(dimension, x.ndim)
    if not 0 <= size <= x.shape[dimension] or step < 1:
        raise ShapeError(f"unfold: no windows of size {size} at step {step} in dimension {dimension} of a tensor of shape {input.shape}; "
                         f"the size is at most the dimension's length, the step at least 1")
    y = _windows(x, dimension=dimension, size=size, step=step)
    return y if input.ndim else reshape_to(y, shape=y.shape[1:])
