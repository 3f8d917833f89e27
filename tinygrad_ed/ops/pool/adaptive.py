"""Pooling to a given size: output i of m sees the inputs from ⌊i·n/m⌋ to ⌈(i+1)·n/m⌉ of n, whatever n is."""
from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ...backend import namespace
from ...backend.kernels.window import Sizes, Window
from ...backend.memory import table
from ...errors import DomainError, ShapeError
from ...tensor import Tensor, wrap
from ..broadcast import permute_to
from ..matmul import matmul
from ..spatial import batched, check, integers
from .averages import mean_of_windows
from .largest import max_pool1d, max_pool2d, max_pool3d, raw, values_at

__all__ = ["adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
           "adaptive_max_pool3d"]

OutputSize = int | None | Sequence[int | None]


def _wanted(name: str, n: int, input: Any, output_size: OutputSize) -> Sizes:
    """The output's sizes; None stands for the input's."""
    check(name, input, n)
    sizes = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * n
    inputs = tuple(input.shape[-n:])
    if len(sizes) == n:
        sizes = tuple([size if want is None else want for size, want in zip(inputs, sizes)])
    if 0 in inputs:
        raise ShapeError(f"{name}: an input of shape {tuple(input.shape)} has no elements to pool")
    return integers(name, "output_size", sizes, n, 0)


def _steps(inputs: Sizes, outputs: Sizes) -> Sizes | None:
    """The sizes of the windows where all are equal and lie side by side."""
    if min(outputs) == 0 or any(n % m for n, m in zip(inputs, outputs)):
        return None
    return tuple([n // m for n, m in zip(inputs, outputs)])


def bounds(n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of m windows over n inputs begins, and where it ends."""
    i = np.arange(m)
    return i * n // max(m, 1), -((i + 1) * -n // max(m, 1))


# -- means -------------------------------------------------------------------------------------------------------------

def _averaged(name: str, n: int, input: Any, output_size: OutputSize) -> Any:
    outputs = _wanted(name, n, input, output_size)

    def pooled(x: Any) -> Any:
        steps = _steps(x.shape[2:], outputs)
        if steps is None:
            for dim, m in enumerate(outputs, 2):
                x = _along(x, dim, m)
            return x
        window = Window(steps, steps, (0,) * n, (1,) * n)
        return mean_of_windows(x, window=window, outputs=outputs, counts=prod(steps))
    return batched(pooled, input, n)


def _along(x: Any, dim: int, m: int) -> Any:
    """The means along one dimension: a product with a matrix that has them as its columns."""
    means = table(namespace(raw(x)), _means, x.shape[dim], m, x.dtype)
    order = (*range(dim), *range(dim + 1, x.ndim), dim)
    y = matmul(permute_to(x, dims=order), wrap(means) if isinstance(x, Tensor) else means)
    return permute_to(y, dims=tuple(int(i) for i in np.argsort(order)))


def _means(n: int, m: int, dtype: np.dtype) -> np.ndarray:
    """What each of n inputs counts in the mean of each of m windows, (n, m)."""
    start, end = bounds(n, m)
    row = np.arange(n)[:, None]
    return (((start <= row) & (row < end)) / np.maximum(end - start, 1)).astype(dtype)


def adaptive_avg_pool1d(input: Tensor, output_size: OutputSize) -> Tensor:
    """The mean of each of a given number of windows over one spatial dimension; see `adaptive_avg_pool2d`.

    Args:
        input: a tensor (N, C, L), or (C, L) without a batch.
        output_size: how many windows.

    Returns:
        A tensor (N, C, output_size).

    Raises:
        ShapeError, DTypeError, DomainError: as for `adaptive_avg_pool2d`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.adaptive_avg_pool1d(tg.tensor([[1.0, 2.0, 6.0]]), 2)
        tensor([[1.5000, 4.0000]])
    """
    return _averaged("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: OutputSize) -> Tensor:
    """The mean of each of a given number of windows over two spatial dimensions; to size 1 it is the mean of the whole plane.

    Args:
        input: a floating point tensor (N, C, H, W), or (C, H, W) without a batch.
        output_size: the sizes of the result; one number, or (H', W'). None keeps the input's size.

    Returns:
        A tensor (N, C, H', W'). Output i sees the inputs from ⌊i·H/H'⌋ to ⌈(i+1)·H/H'⌉.

    Raises:
        ShapeError: not an image, or one without elements.
        DTypeError: integers.
        DomainError: a negative size.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.adaptive_avg_pool2d(tg.arange(16.0).reshape(1, 1, 4, 4), 1)
        tensor([[[[7.5000]]]])
    """
    return _averaged("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: OutputSize) -> Tensor:
    """The mean of each of a given number of windows over three spatial dimensions; see `adaptive_avg_pool2d`.

    Args:
        input: a tensor (N, C, D, H, W), or (C, D, H, W) without a batch.
        output_size: the sizes of the result; one number, or (D', H', W'). None keeps the input's size.

    Returns:
        A tensor (N, C, D', H', W').

    Raises:
        ShapeError, DTypeError, DomainError: as for `adaptive_avg_pool2d`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.adaptive_avg_pool3d(tg.ones(1, 2, 5, 5, 5), (2, None, 1)).shape
        (1, 2, 2, 5, 1)
    """
    return _averaged("adaptive_avg_pool3d", 3, input, output_size)


# -- the largest -------------------------------------------------------------------------------------------------------

def seen_by(starts: Sequence[Any], lengths: Sequence[Any], inputs: Sizes) -> Any:
    """The positions, in a plane, of what each of some windows sees: (*planes, *outputs, taps).

    Args:
        starts: for each spatial dimension where the windows begin, an array of shape (*planes, outputs): one row for all planes, or
            planes = (N, C).
        lengths: for each spatial dimension how long they are: all of them, or an array of NumPy (outputs).
        inputs: the plane's sizes.
    """
    places: Any = 0
    for i, (start, length, size) in enumerate(zip(starts, lengths, inputs)):
        behind, before = len(inputs) - 1 - i, (1,) * i
        if isinstance(length, int):
            taps = namespace(start).arange(length)
        else:
            taps = np.minimum(np.arange(np.max(length)), length[:, None] - 1)          # the last one once more: a later tie
        seen = start[..., None] + taps
        places = places * size + seen.reshape(*seen.shape[:-2], *before, seen.shape[-2], *[1] * behind, *before, seen.shape[-1], *[1] * behind)
    n = len(inputs)
    return places.reshape(*places.shape[:-n], prod(places.shape[-n:]))


def largest_of(x: Any, places: Any) -> tuple[Any, Any]:
    """The largest of windows, and where in their planes they stand.

    Args:
        x: a tensor or an array (N, C, *inputs).
        places: what they see, as `seen_by` says it.

    Returns:
        The values (N, C, *outputs) and their positions, of int64.
    """
    array = raw(x)
    xp, planes, taps = namespace(array), array.shape[:2], places.shape[-1]
    flat = array.reshape(*planes, prod(array.shape[2:]))
    if places.ndim == array.ndim - 1:
        best = flat.take(places, axis=2).argmax(-1)
        return values_at(x, places.reshape(-1)[best + xp.arange(0, places.size, taps).reshape(places.shape[:-1])])
    best = xp.take_along_axis(flat, places.reshape(*planes, prod(places.shape[2:])), 2).reshape(places.shape).argmax(-1)
    return values_at(x, xp.take_along_axis(places, best[..., None], -1)[..., 0])


def _seen(inputs: Sizes, outputs: Sizes) -> np.ndarray:
    sides = [bounds(n, m) for n, m in zip(inputs, outputs)]
    return seen_by([start for start, _ in sides], [end - start for start, end in sides], inputs)


def _largest(name: str, n: int, input: Any, output_size: OutputSize, return_indices: bool) -> Any:
    outputs = _wanted(name, n, input, output_size)
    if min(outputs) == 0:
        raise DomainError(f"{name}: output_size is at least 1, got {output_size}")
    inputs = tuple(input.shape[-n:])
    steps = _steps(inputs, outputs)
    if steps is not None:
        return (max_pool1d, max_pool2d, max_pool3d)[n - 1](input, steps, return_indices=return_indices)

    def pooled(x: Any) -> Any:
        found = largest_of(x, table(namespace(raw(x)), _seen, inputs, outputs))
        return found if return_indices else found[0]
    return batched(pooled, input, n)


def adaptive_max_pool1d(input: Tensor, output_size: OutputSize, return_indices: bool = False) -> Any:
    """The largest of each of a given number of windows over one spatial dimension; see `adaptive_max_pool2d`.

    Args:
        input: a tensor (N, C, L), or (C, L) without a batch.
        output_size: how many windows.
        return_indices: give also where each of the largest stands.

    Returns:
        A tensor (N, C, output_size), or two with return_indices.

    Raises:
        ShapeError, DTypeError, DomainError: as for `adaptive_max_pool2d`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.adaptive_max_pool1d(tg.tensor([[1.0, 2.0, 6.0]]), 2)
        tensor([[2., 6.]])
    """
    return _largest("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: OutputSize, return_indices: bool = False) -> Any:
    """The largest of each of a given number of windows over two spatial dimensions.

    Args:
        input: a floating point tensor (N, C, H, W), or (C, H, W) without a batch.
        output_size: the sizes of the result; one number, or (H', W'). None keeps the input's size.
        return_indices: give also where in its plane each of the largest stands.

    Returns:
        A tensor (N, C, H', W'), and with return_indices a tensor of int64 of its shape, with positions in the plane (H, W) in
        row-major order. Output i sees the inputs from ⌊i·H/H'⌋ to ⌈(i+1)·H/H'⌉.

    Raises:
        ShapeError: not an image, or one without elements.
        DTypeError: integers.
        DomainError: a size below 1.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.adaptive_max_pool2d(tg.arange(9.0).reshape(1, 1, 3, 3), 2)
        tensor([[[[4., 5.],
                  [7., 8.]]]])
    """
    return _largest("adaptive_max_pool2d", 2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: OutputSize, return_indices: bool = False) -> Any:
    """The largest of each of a given number of windows over three spatial dimensions; see `adaptive_max_pool2d`.

    Args:
        input: a tensor (N, C, D, H, W), or (C, D, H, W) without a batch.
        output_size: the sizes of the result; one number, or (D', H', W'). None keeps the input's size.
        return_indices: give also where each of the largest stands.

    Returns:
        A tensor (N, C, D', H', W'), or two with return_indices.

    Raises:
        ShapeError, DTypeError, DomainError: as for `adaptive_max_pool2d`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.adaptive_max_pool3d(tg.ones(1, 2, 5, 5, 5), (2, None, 1)).shape
        (1, 2, 2, 5, 1)
    """
    return _largest("adaptive_max_pool3d", 3, input, output_size, return_indices)
