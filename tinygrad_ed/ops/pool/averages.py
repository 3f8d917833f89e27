"""The mean of every window, and other means."""
from __future__ import annotations

from math import prod
from typing import Any

from ...autograd.op import op
from ...backend.kernels import kernels
from ...backend.kernels.window import Sizes, Window
from ...errors import DomainError
from ...tensor import Tensor
from ..spatial import Size, batched
from .sizes import pool_window

__all__ = ["avg_pool1d", "avg_pool2d", "avg_pool3d", "lp_pool1d", "lp_pool2d", "lp_pool3d"]

mean_of_windows = op("avg_pool", lambda x, *, window, outputs, counts: kernels(x).avg_pool(x, window, outputs, counts),
                     x=lambda g, x_shape, window, counts: _spread(g, window=window, inputs=x_shape[2:], counts=counts),
                     doc="The sum of every window divided by its count.")
_spread = op("avg_pool_input", lambda x, *, window, inputs, counts: kernels(x).avg_pool_input(x, window, inputs, counts),
             x=lambda g, x_shape, window, counts: mean_of_windows(g, window=window, outputs=x_shape[2:], counts=counts),
             doc="A value per window divided by its count, added to every element of the window.")


def _counts(window: Window, inputs: Sizes, outputs: Sizes, include_pad: bool) -> Any:
    """How many elements each window has: one number, or for each dimension one per output. What lies beyond the padding never counts."""
    sides = []
    for n, m, (k, s, p, _) in zip(inputs, outputs, zip(*window)):
        first, end = (-p, n + p) if include_pad else (0, n)
        sides.append(tuple([min(i * s - p + k, end) - max(i * s - p, first) for i in range(m)]))
    return tuple(sides) if any(len(set(side)) > 1 for side in sides) else prod([side[0] for side in sides])


def _averaged(name: str, n: int, input: Any, kernel_size: Size, stride: Size | None, padding: Size, ceil_mode: bool, count_include_pad: bool,
              divisor_override: int | None = None) -> Any:
    window, outputs = pool_window(name, input, n, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override == 0:
        raise DomainError(f"{name}: divisor_override divides the sum of every window, it cannot be 0")
    counts = _counts(window, tuple(input.shape[-n:]), outputs, count_include_pad) if divisor_override is None else divisor_override
    return batched(lambda x: mean_of_windows(x, window=window, outputs=outputs, counts=counts), input, n)


def avg_pool1d(input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> Tensor:
    """The mean of every window over one spatial dimension; see `avg_pool2d`.

    Args:
        input: a tensor (N, C, L), or (C, L) without a batch.
        kernel_size, stride, padding, ceil_mode, count_include_pad: as for `avg_pool2d`.

    Returns:
        A tensor (N, C, L').

    Raises:
        ShapeError, DTypeError, DomainError: as for `avg_pool2d`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.avg_pool1d(tg.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
        tensor([[2., 1.]])
    """
    return _averaged("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None) -> Tensor:
    """The mean of every window over two spatial dimensions.

    Args:
        input: a floating point tensor (N, C, H, W), or (C, H, W) without a batch.
        kernel_size: sizes of the window; one number, or one per spatial dimension.
        stride: the distance between windows; the window's sizes by default.
        padding: zeros around the input, at most half of the window.
        ceil_mode: whether a last window may reach beyond the padding behind, where it begins in front of it.
        count_include_pad: whether the padding counts where sums are divided by the number of elements.
        divisor_override: divide the sums by this number instead.

    Returns:
        A tensor (N, C, H', W') with H' = ⌊(H + 2·padding - K) / stride⌋ + 1, rounded up with ceil_mode.

    Raises:
        ShapeError: not an image, or a window larger than it.
        DTypeError: integers.
        DomainError: a size or stride below 1, a padding of more than half of the window, or a divisor of 0.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.avg_pool2d(tg.arange(16.0).reshape(1, 1, 4, 4), 2)
        tensor([[[[ 2.5000,  4.5000],
                  [10.5000, 12.5000]]]])
    """
    return _averaged("avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None) -> Tensor:
    """The mean of every window over three spatial dimensions; see `avg_pool2d`.

    Args:
        input: a tensor (N, C, D, H, W), or (C, D, H, W) without a batch.
        kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override: as for `avg_pool2d`.

    Returns:
        A tensor (N, C, D', H', W').

    Raises:
        ShapeError, DTypeError, DomainError: as for `avg_pool2d`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.avg_pool3d(tg.ones(1, 2, 4, 4, 4), 2).shape
        (1, 2, 2, 2, 2)
    """
    return _averaged("avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


# -- power means -------------------------------------------------------------------------------------------------------

def _power_mean(name: str, n: int, input: Any, norm_type: float, kernel_size: Size, stride: Size | None, ceil_mode: bool) -> Any:
    if norm_type == 0:
        raise DomainError(f"{name}: norm_type is a power other than 0")
    taps = prod(pool_window(name, input, n, kernel_size, stride, 0, 1, ceil_mode)[0].kernel)
    mean = _averaged(name, n, input ** norm_type, kernel_size, stride, 0, ceil_mode, True)
    return (mean * float(taps)) ** (1 / norm_type)


def lp_pool1d(input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False) -> Tensor:
    """(Σ xᵖ)^(1/p) over every window of one spatial dimension; see `lp_pool2d`.

    Args:
        input: a tensor (N, C, L), or (C, L) without a batch.
        norm_type, kernel_size, stride, ceil_mode: as for `lp_pool2d`.

    Returns:
        A tensor (N, C, L').

    Raises:
        ShapeError, DTypeError, DomainError: as for `lp_pool2d`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.lp_pool1d(tg.tensor([[3.0, 4.0, 6.0, 8.0]]), 2, kernel_size=2)
        tensor([[ 5., 10.]])
    """
    return _power_mean("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False) -> Tensor:
    """(Σ xᵖ)^(1/p) over every window of two spatial dimensions: the sum for p = 1, the largest for p → ∞.

    The derivative where a sum is 0 is NaN for p > 1.

    Args:
        input: a floating point tensor (N, C, H, W), or (C, H, W) without a batch; not negative unless p is an even number.
        norm_type: the power p.
        kernel_size: sizes of the window; one number, or one per spatial dimension.
        stride: the distance between windows; the window's sizes by default.
        ceil_mode: whether a last window may reach beyond the input; what is there counts as the mean of the rest.

    Returns:
        A tensor (N, C, H', W').

    Raises:
        ShapeError: not an image, or a window larger than it.
        DTypeError: integers.
        DomainError: a power of 0, or a size or stride below 1.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.lp_pool2d(tg.ones(1, 1, 4, 4), 2, kernel_size=2)
        tensor([[[[2., 2.],
                  [2., 2.]]]])
    """
    return _power_mean("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False) -> Tensor:
    """(Σ xᵖ)^(1/p) over every window of three spatial dimensions; see `lp_pool2d`.

    Args:
        input: a tensor (N, C, D, H, W), or (C, D, H, W) without a batch.
        norm_type, kernel_size, stride, ceil_mode: as for `lp_pool2d`.

    Returns:
        A tensor (N, C, D', H', W').

    Raises:
        ShapeError, DTypeError, DomainError: as for `lp_pool2d`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.lp_pool3d(tg.ones(1, 2, 4, 4, 4), 1, kernel_size=4)[0, 0]
        tensor([[[64.]]])
    """
    return _power_mean("lp_pool3d", 3, input, norm_type, kernel_size, stride, ceil_mode)
