"""Layers that pool to given sizes."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import DomainError
from ...ops.spatial import Size, integers
from ...tensor import Tensor
from .. import functional as F
from .common import Pool

__all__ = [f"Adaptive{kind}Pool{n}d" for kind in ("Avg", "Max") for n in (1, 2, 3)] + ["FractionalMaxPool2d", "FractionalMaxPool3d"]

OutputSize = int | None | Sequence[int | None]


class _AdaptiveAvgPool(Pool):
    functions = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
    shown = ("output_size",)

    def __init__(self, output_size: OutputSize):
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return self._function(input, self.output_size)


class _AdaptiveMaxPool(Pool):
    functions = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}
    shown = ("output_size",)

    def __init__(self, output_size: OutputSize, return_indices: bool = False):
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, input: Tensor) -> Any:
        return self._function(input, self.output_size, self.return_indices)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The mean of each of a given number of windows over one spatial dimension; see `AdaptiveAvgPool2d`.

    Args:
        output_size: as for `AdaptiveAvgPool2d`.

    Shapes:
        Input: (N, C, L) or (C, L). Output: (N, C, L') or (C, L').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.AdaptiveAvgPool1d(4)(tg.ones(2, 3, 9)).shape
        (2, 3, 4)
    """

    dims = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The mean of each of a given number of windows over two spatial dimensions; see `functional.adaptive_avg_pool2d`.

    Args:
        output_size: the sizes of the result; one number, or one per spatial dimension. None keeps the input's size.

    Shapes:
        Input: (N, C, H, W) or (C, H, W). Output: (N, C, H', W') or (C, H', W').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.AdaptiveAvgPool2d((4, None))(tg.ones(2, 3, 9, 8)).shape
        (2, 3, 4, 8)
    """

    dims = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """The mean of each of a given number of windows over three spatial dimensions; see `AdaptiveAvgPool2d`.

    Args:
        output_size: as for `AdaptiveAvgPool2d`.

    Shapes:
        Input: (N, C, D, H, W) or (C, D, H, W). Output: (N, C, D', H', W') or (C, D', H', W').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.AdaptiveAvgPool3d((4, None, 1))(tg.ones(2, 3, 9, 8, 7)).shape
        (2, 3, 4, 8, 1)
    """

    dims = 3


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The largest of each of a given number of windows over one spatial dimension; see `AdaptiveMaxPool2d`.

    Args:
        output_size, return_indices: as for `AdaptiveMaxPool2d`.

    Shapes:
        Input: (N, C, L) or (C, L). Output: (N, C, L') or (C, L').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.AdaptiveMaxPool1d(4)(tg.ones(2, 3, 9)).shape
        (2, 3, 4)
    """

    dims = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The largest of each of a given number of windows over two spatial dimensions; see `functional.adaptive_max_pool2d`.

    Args:
        output_size: the sizes of the result; one number, or one per spatial dimension. None keeps the input's size.
        return_indices: give also where in its plane each of the largest stands.

    Shapes:
        Input: (N, C, H, W) or (C, H, W). Output: (N, C, H', W') or (C, H', W').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.AdaptiveMaxPool2d((4, None))(tg.ones(2, 3, 9, 8)).shape
        (2, 3, 4, 8)
    """

    dims = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The largest of each of a given number of windows over three spatial dimensions; see `AdaptiveMaxPool2d`.

    Args:
        output_size, return_indices: as for `AdaptiveMaxPool2d`.

    Shapes:
        Input: (N, C, D, H, W) or (C, D, H, W). Output: (N, C, D', H', W') or (C, D', H', W').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.AdaptiveMaxPool3d((4, None, 1))(tg.ones(2, 3, 9, 8, 7)).shape
        (2, 3, 4, 8, 1)
    """

    dims = 3


# -- in random places --------------------------------------------------------------------------------------------------

class _FractionalMaxPool(Pool):
    functions = {2: F.fractional_max_pool2d, 3: F.fractional_max_pool3d}
    shown = ()

    def __init__(self, kernel_size: Size, output_size: Size | None = None, output_ratio: float | Sequence[float] | None = None,
                 return_indices: bool = False, _random_samples: Tensor | None = None):
        super().__init__()
        name, n = type(self).__name__, self.dims
        if (output_size is None) == (output_ratio is None):
            raise ValueError(f"{name} takes an output_size or an output_ratio, got {'both' if output_size is not None else 'neither'}")
        self.kernel_size, self.return_indices = integers(name, "kernel_size", kernel_size, n, 1), return_indices
        self.output_size = None if output_size is None else integers(name, "output_size", output_size, n, 1)
        ratios: Any = output_ratio if output_ratio is None or isinstance(output_ratio, (tuple, list)) else (output_ratio,) * n
        self.output_ratio = ratios
        if ratios is not None and not all(0 < r < 1 for r in ratios):
            raise DomainError(f"{name}: output_ratio lies between 0 and 1, got {output_ratio}")
        self.register_buffer("_random_samples", _random_samples)

    def forward(self, input: Tensor) -> Any:
        return self._function(input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples)


class FractionalMaxPool2d(_FractionalMaxPool):
    """The largest of a given number of windows in random places (Graham, 2014); see `functional.fractional_max_pool2d`.

    Args:
        kernel_size: sizes of the windows; one number, or one per spatial dimension.
        output_size: the sizes of the result; one number, or one per spatial dimension.
        output_ratio: the sizes of the result divided by the input's, between 0 and 1; in place of output_size.
        return_indices: give also where in its plane each of the largest stands.
        _random_samples: the random numbers in [0, 1) that place the windows, (N, C, 2); drawn at each call by default.

    Shapes:
        Input: (N, C, H, W) or (C, H, W). Output: (N, C, H', W') or (C, H', W').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.FractionalMaxPool2d(2, output_ratio=0.5)(tg.ones(2, 3, 9, 8)).shape
        (2, 3, 4, 4)
    """

    dims = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """The largest of a given number of windows in random places; see `FractionalMaxPool2d`.

    Args:
        kernel_size, output_size, output_ratio, return_indices, _random_samples: as for `FractionalMaxPool2d`.

    Shapes:
        Input: (N, C, D, H, W) or (C, D, H, W). Output: (N, C, D', H', W') or (C, D', H', W').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.FractionalMaxPool3d(2, output_size=3)(tg.ones(2, 3, 9, 8, 7)).shape
        (2, 3, 3, 3, 3)
    """

    dims = 3
