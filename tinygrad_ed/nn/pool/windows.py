"""Layers that pool windows of given sizes."""
from __future__ import annotations

from typing import Any

from ...ops.spatial import Size, integers
from ...tensor import Tensor
from .. import functional as F
from .common import Pool

__all__ = [f"{kind}Pool{n}d" for kind in ("Avg", "LP", "Max") for n in (1, 2, 3)] + ["MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"]


# -- the largest -------------------------------------------------------------------------------------------------------

class _MaxPool(Pool):
    functions = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
    shown = "kernel_size", "stride", "padding", "dilation", "ceil_mode"

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1, return_indices: bool = False,
                 ceil_mode: bool = False):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.return_indices, self.ceil_mode = padding, dilation, return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        return self._function(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)


class MaxPool1d(_MaxPool):
    """The largest of every window over one spatial dimension; see `MaxPool2d`.

    Args:
        kernel_size, stride, padding, dilation, return_indices, ceil_mode: as for `MaxPool2d`.

    Shapes:
        Input: (N, C, L) or (C, L). Output: (N, C, L') or (C, L').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.MaxPool1d(3, stride=2)(tg.ones(2, 3, 9)).shape
        (2, 3, 4)
    """

    dims = 1


class MaxPool2d(_MaxPool):
    """The largest of every window over two spatial dimensions; see `functional.max_pool2d`.

    Args:
        kernel_size: sizes of the window; one number, or one per spatial dimension.
        stride: the distance between windows; the window's sizes by default.
        padding: how much is put around the input, at most half of the window; it counts as -∞.
        dilation: the distance between the window's taps.
        return_indices: give also where in its plane each of the largest stands, as `MaxUnpool2d` takes it.
        ceil_mode: whether a last window may reach beyond the padding behind, where it begins in front of it.

    Shapes:
        Input: (N, C, H, W) or (C, H, W). Output: (N, C, H', W') or (C, H', W').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.MaxPool2d(3, stride=2)(tg.ones(2, 3, 9, 8)).shape
        (2, 3, 4, 3)
    """

    dims = 2


class MaxPool3d(_MaxPool):
    """The largest of every window over three spatial dimensions; see `MaxPool2d`.

    Args:
        kernel_size, stride, padding, dilation, return_indices, ceil_mode: as for `MaxPool2d`.

    Shapes:
        Input: (N, C, D, H, W) or (C, D, H, W). Output: (N, C, D', H', W') or (C, D', H', W').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.MaxPool3d(3, stride=2)(tg.ones(2, 3, 9, 8, 7)).shape
        (2, 3, 4, 3, 3)
    """

    dims = 3


class _MaxUnpool(Pool):
    functions = {1: F.max_unpool1d, 2: F.max_unpool2d, 3: F.max_unpool3d}
    shown = "kernel_size", "stride", "padding"

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0):
        super().__init__()
        name, n = type(self).__name__, self.dims
        self.kernel_size = integers(name, "kernel_size", kernel_size, n, 1)
        self.stride = self.kernel_size if stride is None else integers(name, "stride", stride, n, 1)
        self.padding = integers(name, "padding", padding, n, 0)

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        return self._function(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool1d(_MaxUnpool):
    """Elements back where `MaxPool1d` has found them, zeros elsewhere; see `MaxUnpool2d`.

    Args:
        kernel_size, stride, padding: as for `MaxUnpool2d`.

    Shapes:
        Input: (N, C, L) or (C, L). Output: (N, C, L') or (C, L').
        It is called with the indices too, and optionally with the output_size.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.MaxUnpool1d(2)(*tg.nn.MaxPool1d(2, return_indices=True)(tg.ones(2, 3, 8))).shape
        (2, 3, 8)
    """

    dims = 1


class MaxUnpool2d(_MaxUnpool):
    """Elements back where `MaxPool2d` has found them, zeros elsewhere; see `functional.max_unpool2d`.

    Args:
        kernel_size: sizes of the pooling's window; one number, or one per spatial dimension.
        stride: the distance between windows; the window's sizes by default.
        padding: that of the pooling.

    Shapes:
        Input: (N, C, H, W) or (C, H, W). Output: (N, C, H', W') or (C, H', W').
        It is called with the indices too, and optionally with the output_size.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.MaxUnpool2d(2)(*tg.nn.MaxPool2d(2, return_indices=True)(tg.ones(2, 3, 8, 6))).shape
        (2, 3, 8, 6)
    """

    dims = 2


class MaxUnpool3d(_MaxUnpool):
    """Elements back where `MaxPool3d` has found them, zeros elsewhere; see `MaxUnpool2d`.

    Args:
        kernel_size, stride, padding: as for `MaxUnpool2d`.

    Shapes:
        Input: (N, C, D, H, W) or (C, D, H, W). Output: (N, C, D', H', W') or (C, D', H', W').
        It is called with the indices too, and optionally with the output_size.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.MaxUnpool3d(2)(*tg.nn.MaxPool3d(2, return_indices=True)(tg.ones(2, 3, 8, 8, 6))).shape
        (2, 3, 8, 8, 6)
    """

    dims = 3


# -- the mean ----------------------------------------------------------------------------------------------------------

class _AvgPool(Pool):
    functions = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
    shown = "kernel_size", "stride", "padding"

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True, divisor_override: int | None = None):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        return self._function(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
                              self.divisor_override)


class AvgPool1d(_AvgPool):
    """The mean of every window over one spatial dimension; see `AvgPool2d`.

    Args:
        kernel_size, stride, padding, ceil_mode, count_include_pad: as for `AvgPool2d`.

    Shapes:
        Input: (N, C, L) or (C, L). Output: (N, C, L') or (C, L').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.AvgPool1d(3, stride=2)(tg.ones(2, 3, 9)).shape
        (2, 3, 4)
    """

    dims = 1

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True):
        kernel_size = integers("AvgPool1d", "kernel_size", kernel_size, 1, 1)
        stride = kernel_size if stride is None else integers("AvgPool1d", "stride", stride, 1, 1)
        super().__init__(kernel_size, stride, integers("AvgPool1d", "padding", padding, 1, 0), ceil_mode, count_include_pad)

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AvgPool2d(_AvgPool):
    """The mean of every window over two spatial dimensions; see `functional.avg_pool2d`.

    Args:
        kernel_size: sizes of the window; one number, or one per spatial dimension.
        stride: the distance between windows; the window's sizes by default.
        padding: zeros around the input, at most half of the window.
        ceil_mode: whether a last window may reach beyond the padding behind, where it begins in front of it.
        count_include_pad: whether the padding counts where sums are divided by the number of elements.
        divisor_override: divide the sums by this number instead.

    Shapes:
        Input: (N, C, H, W) or (C, H, W). Output: (N, C, H', W') or (C, H', W').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.AvgPool2d(3, stride=2)(tg.ones(2, 3, 9, 8)).shape
        (2, 3, 4, 3)
    """

    dims = 2


class AvgPool3d(_AvgPool):
    """The mean of every window over three spatial dimensions; see `AvgPool2d`.

    Args:
        kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override: as for `AvgPool2d`.

    Shapes:
        Input: (N, C, D, H, W) or (C, D, H, W). Output: (N, C, D', H', W') or (C, D', H', W').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.AvgPool3d(3, stride=2)(tg.ones(2, 3, 9, 8, 7)).shape
        (2, 3, 4, 3, 3)
    """

    dims = 3


class _LPPool(Pool):
    functions = {1: F.lp_pool1d, 2: F.lp_pool2d, 3: F.lp_pool3d}
    shown = "norm_type", "kernel_size", "stride", "ceil_mode"

    def __init__(self, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False):
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        return self._function(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool1d(_LPPool):
    """(Σ xᵖ)^(1/p) over every window of one spatial dimension; see `LPPool2d`.

    Args:
        norm_type, kernel_size, stride, ceil_mode: as for `LPPool2d`.

    Shapes:
        Input: (N, C, L) or (C, L). Output: (N, C, L') or (C, L').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.LPPool1d(2, 3, stride=2)(tg.ones(2, 3, 9)).shape
        (2, 3, 4)
    """

    dims = 1


class LPPool2d(_LPPool):
    """(Σ xᵖ)^(1/p) over every window of two spatial dimensions; see `functional.lp_pool2d`.

    Args:
        norm_type: the power p: 1 for the sum, ∞ would be the largest.
        kernel_size: sizes of the window; one number, or one per spatial dimension.
        stride: the distance between windows; the window's sizes by default.
        ceil_mode: whether a last window may reach beyond the input.

    Shapes:
        Input: (N, C, H, W) or (C, H, W). Output: (N, C, H', W') or (C, H', W').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.LPPool2d(2, 3, stride=2)(tg.ones(2, 3, 9, 8)).shape
        (2, 3, 4, 3)
    """

    dims = 2


class LPPool3d(_LPPool):
    """(Σ xᵖ)^(1/p) over every window of three spatial dimensions; see `LPPool2d`.

    Args:
        norm_type, kernel_size, stride, ceil_mode: as for `LPPool2d`.

    Shapes:
        Input: (N, C, D, H, W) or (C, D, H, W). Output: (N, C, D', H', W') or (C, D', H', W').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.LPPool3d(2, 3, stride=2)(tg.ones(2, 3, 9, 8, 7)).shape
        (2, 3, 4, 3, 3)
    """

    dims = 3
