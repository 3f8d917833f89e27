"""Convolutions that read their number of input channels off their first input."""
from __future__ import annotations

from typing import Any

from ...errors import DomainError, ShapeError
from ...ops.spatial import Size
from ...tensor import Tensor
from ..lazy import LazyModuleMixin, UninitializedParameter, materialize
from ..parameter import Parameter
from .convolution import Conv1d, Conv2d, Conv3d
from .transposed import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d

__all__ = [f"LazyConv{kind}{n}d" for kind in ("", "Transpose") for n in (1, 2, 3)]


class _LazyAnyConv(LazyModuleMixin):
    """What lazy convolutions share, in front of the class that they become."""

    weight: Parameter
    bias: Parameter | None

    def __init__(self, out_channels: int, kernel_size: Size, *args: Any, groups: int, bias: bool, device: Any, dtype: Any, **options: Any):
        super().__init__(0, 0, kernel_size, *args, groups=groups, bias=False, device=device, dtype=dtype, **options)
        if out_channels < 0 or out_channels % groups:
            raise DomainError(f"{type(self).__name__}: groups={groups} does not divide out_channels={out_channels}")
        self.out_channels = out_channels
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def initialize_parameters(self: Any, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Give the weight as many channels as the input has."""
        n = self.dims
        if input.ndim not in (n + 1, n + 2):
            raise ShapeError(f"{type(self).__name__} takes an input with {n} spatial dimensions behind the channels, and with or without a batch "
                             f"in front of them, got {input.shape}")
        if self.has_uninitialized_params():
            self._initialize(input.shape[-n - 1])

    def initialize_from_weight(self: Any, shape: tuple[int, ...]) -> None:
        """Take in_channels from a weight's shape."""
        if len(shape) == self.dims + 2:
            self._initialize(shape[0] if self.transposed else shape[1] * self.groups)

    def _initialize(self: Any, channels: int) -> None:
        if channels % self.groups:
            raise ShapeError(f"{type(self).__name__}: groups={self.groups} does not divide the {channels} channels of the input")
        self.in_channels = channels
        materialize(self, weight=self._weight_shape(), bias=(self.out_channels,))


class _LazyConv(_LazyAnyConv):
    def __init__(self, out_channels: int, kernel_size: Size, stride: Size = 1, padding: str | Size = 0, dilation: Size = 1, groups: int = 1,
                 bias: bool = True, padding_mode: str = "zeros", device: Any = None, dtype: Any = None):
        super().__init__(out_channels, kernel_size, stride, padding, dilation, groups=groups, bias=bias, padding_mode=padding_mode,
                         device=device, dtype=dtype)


class _LazyConvTranspose(_LazyAnyConv):
    def __init__(self, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size = 0, output_padding: Size = 0, groups: int = 1,
                 bias: bool = True, dilation: Size = 1, padding_mode: str = "zeros", device: Any = None, dtype: Any = None):
        super().__init__(out_channels, kernel_size, stride, padding, output_padding, groups=groups, bias=bias, dilation=dilation,
                         padding_mode=padding_mode, device=device, dtype=dtype)


class LazyConv1d(_LazyConv, Conv1d):
    """A `Conv1d` that reads in_channels off its first input.

    Args:
        out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype: as for `Conv1d`.

    Shapes:
        Input: (N, C, L) or (C, L). Output: (N, O, L') or (O, L').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.LazyConv1d(33, 3)(tg.ones(20, 16, 50)).shape
        (20, 33, 48)
    """

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """A `Conv2d` that reads in_channels off its first input.

    Args:
        out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype: as for `Conv2d`.

    Shapes:
        Input: (N, C, H, W) or (C, H, W). Output: (N, O, H', W') or (O, H', W').

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.LazyConv2d(8, 3)
        >>> layer(tg.ones(1, 4, 5, 5)).shape, layer.weight.shape
        ((1, 8, 3, 3), (8, 4, 3, 3))
    """

    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """A `Conv3d` that reads in_channels off its first input.

    Args:
        out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype: as for `Conv3d`.

    Shapes:
        Input: (N, C, D, H, W) or (C, D, H, W). Output: (N, O, D', H', W') or (O, D', H', W').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.LazyConv3d(3, 2)(tg.ones(1, 2, 3, 4, 5)).shape
        (1, 3, 2, 3, 4)
    """

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvTranspose, ConvTranspose1d):
    """A `ConvTranspose1d` that reads in_channels off its first input.

    Args:
        out_channels, kernel_size, stride, padding, output_padding, groups, bias, dilation, padding_mode, device, dtype: as for
            `ConvTranspose1d`.

    Shapes:
        Input: (N, C, L) or (C, L). Output: (N, O, L') or (O, L').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.LazyConvTranspose1d(33, 3)(tg.ones(20, 16, 50)).shape
        (20, 33, 52)
    """

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, ConvTranspose2d):
    """A `ConvTranspose2d` that reads in_channels off its first input.

    Args:
        out_channels, kernel_size, stride, padding, output_padding, groups, bias, dilation, padding_mode, device, dtype: as for
            `ConvTranspose2d`.

    Shapes:
        Input: (N, C, H, W) or (C, H, W). Output: (N, O, H', W') or (O, H', W').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.LazyConvTranspose2d(3, 2, stride=2)(tg.ones(1, 8, 4, 4)).shape
        (1, 3, 8, 8)
    """

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose, ConvTranspose3d):
    """A `ConvTranspose3d` that reads in_channels off its first input.

    Args:
        out_channels, kernel_size, stride, padding, output_padding, groups, bias, dilation, padding_mode, device, dtype: as for
            `ConvTranspose3d`.

    Shapes:
        Input: (N, C, D, H, W) or (C, D, H, W). Output: (N, O, D', H', W') or (O, D', H', W').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.LazyConvTranspose3d(3, 2)(tg.ones(1, 2, 3, 4, 5)).shape
        (1, 3, 4, 5, 6)
    """

    cls_to_become = ConvTranspose3d
