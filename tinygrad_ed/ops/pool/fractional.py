"""Pooling by a ratio between 1 and 2 or any other, with windows in random places."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...backend import namespace
from ...errors import DomainError, ShapeError
from ...tensor import Tensor
from ..random import uniform
from ..spatial import Size, batched, check, integers
from .adaptive import largest_of, seen_by
from .largest import raw

__all__ = ["fractional_max_pool2d", "fractional_max_pool3d"]


def _starts(u: Any, n: int, m: int, k: int) -> Any:
    """Where m windows of length k over n inputs begin: ⌊(i + u)·a⌋ - ⌊u·a⌋ with a = (n - k)/(m - 1), and the last one at the end."""
    xp = namespace(u)
    starts = xp.full((*u.shape, m), n - k, "int64")
    if m > 1:
        a = u.dtype.type((n - k) / (m - 1))
        i = xp.arange(m - 1, dtype=u.dtype)
        starts[..., :-1] = ((i + u[..., None]) * a).astype("int64") - (u[..., None] * a).astype("int64")
    return starts


def _largest(name: str, n: int, input: Any, kernel_size: Size, output_size: Any, output_ratio: Any, return_indices: bool, samples: Any) -> Any:
    check(name, input, n)
    kernel, inputs = integers(name, "kernel_size", kernel_size, n, 1), tuple(input.shape[-n:])
    if (output_size is None) == (output_ratio is None):
        raise ValueError(f"{name} takes an output_size or an output_ratio, got {'both' if output_size is not None else 'neither'}")
    if output_size is None:
        ratios = tuple(output_ratio) if isinstance(output_ratio, (tuple, list)) else (output_ratio,) * n
        if len(ratios) != n or not all(0 < r < 1 for r in ratios):
            raise DomainError(f"{name}: output_ratio lies between 0 and 1, one number or one for each of {n} spatial dimensions; got {output_ratio}")
        output_size = tuple([int(size * r) for size, r in zip(inputs, ratios)])
    outputs = integers(name, "output_size", output_size, n, 1)
    if any(m + k - 1 > size for size, m, k in zip(inputs, outputs, kernel)):
        raise ShapeError(f"{name}: {outputs} windows of sizes {kernel} that all begin in another place do not fit into an input of shape "
                         f"{tuple(input.shape)}; take fewer or smaller ones")
    if samples is not None and tuple(samples.shape) != (*(input.shape[:2] if input.ndim == n + 2 else (1, input.shape[0])), n):
        raise ShapeError(f"{name}: _random_samples has shape (N, C, {n}), a number in [0, 1) for each plane and dimension; got "
                         f"{tuple(samples.shape)} for an input of shape {tuple(input.shape)}")

    def pooled(x: Any) -> Any:
        u = uniform((*x.shape[:2], n), x.dtype, None if not isinstance(x, Tensor) else x.device) if samples is None else raw(samples)
        order = range(n) if n == 3 else reversed(range(n))           # PyTorch's samples are for (W, H) and for (D, H, W)
        starts = [_starts(u[..., s], size, m, k) for s, size, m, k in zip(order, inputs, outputs, kernel)]
        found = largest_of(x, seen_by(starts, kernel, inputs))
        return found if return_indices else found[0]
    return batched(pooled, input, n)


def fractional_max_pool2d(input: Tensor, kernel_size: Size, output_size: Size | None = None,
                          output_ratio: float | Sequence[float] | None = None, return_indices: bool = False,
                          _random_samples: Tensor | None = None) -> Any:
    """The largest of each of a given number of windows over two spatial dimensions, in random places (Graham, 2014).

    Along a dimension of length n, m windows of length k begin at ⌊(i + u)·a⌋ - ⌊u·a⌋ with a = (n - k)/(m - 1) and a random u in [0, 1)
    for each plane.

    Args:
        input: a floating point tensor (N, C, H, W), or (C, H, W) without a batch.
        kernel_size: sizes of the windows; one number, or one per spatial dimension.
        output_size: the sizes of the result; one number, or (H', W').
        output_ratio: the sizes of the result divided by the input's, between 0 and 1; in place of output_size.
        return_indices: give also where in its plane each of the largest stands.
        _random_samples: the numbers u, a tensor (N, C, 2) for W and for H; drawn by default.

    Returns:
        A tensor (N, C, H', W'), and with return_indices a tensor of int64 of its shape.

    Raises:
        ShapeError: windows that do not fit into the input, or numbers u of another shape.
        DTypeError: integers.
        DomainError: a size below 1, or a ratio outside (0, 1).
        ValueError: both a size and a ratio, or neither.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.fractional_max_pool2d(tg.ones(1, 3, 8, 8), 2, output_size=5).shape
        (1, 3, 5, 5)
    """
    return _largest("fractional_max_pool2d", 2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples)


def fractional_max_pool3d(input: Tensor, kernel_size: Size, output_size: Size | None = None,
                          output_ratio: float | Sequence[float] | None = None, return_indices: bool = False,
                          _random_samples: Tensor | None = None) -> Any:
    """The largest of each of a given number of windows over three spatial dimensions; see `fractional_max_pool2d`.

    Args:
        input: a tensor (N, C, D, H, W), or (C, D, H, W) without a batch.
        kernel_size, output_size, output_ratio, return_indices: as for `fractional_max_pool2d`.
        _random_samples: the numbers u, a tensor (N, C, 3) for D, H and W; drawn by default.

    Returns:
        A tensor (N, C, D', H', W'), or two with return_indices.

    Raises:
        ShapeError, DTypeError, DomainError, ValueError: as for `fractional_max_pool2d`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.fractional_max_pool3d(tg.ones(1, 3, 8, 8, 8), 2, output_ratio=0.5).shape
        (1, 3, 4, 4, 4)
    """
    return _largest("fractional_max_pool3d", 3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples)
