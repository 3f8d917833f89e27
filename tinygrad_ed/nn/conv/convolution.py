"""Layers that convolve."""
from __future__ import annotations

from typing import Any

from ...ops.spatial import Size
from ...tensor import Tensor
from .. import functional as F
from .common import AnyConv

__all__ = ["Conv1d", "Conv2d", "Conv3d"]


class _Conv(AnyConv):
    transposed = False

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: str | Size = 0, dilation: Size = 1,
                 groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: Any = None, dtype: Any = None):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros" and self.padding != "valid":
            input, padding = F.pad(input, self._around(), self.padding_mode), 0
        function = (F.conv1d, F.conv2d, F.conv3d)[self.dims - 1]
        return function(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _around(self) -> tuple[int, ...]:
        """The padding in front and behind of each dimension, from the last one on."""
        around: list[int] = []
        for i in reversed(range(self.dims)):
            same = self.dilation[i] * (self.kernel_size[i] - 1)
            around += (same // 2, same - same // 2) if self.padding == "same" else (self.padding[i], self.padding[i])
        return tuple(around)


class Conv1d(_Conv):
    """A convolution over one spatial dimension; see `Conv2d`.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype: as for `Conv2d`.

    Shapes:
        Input: (N, C, L) or (C, L). Output: (N, O, L') or (O, L'). weight: (O, C/groups, K). bias: (O).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Conv1d(16, 33, 3, stride=2)(tg.ones(20, 16, 50)).shape
        (20, 33, 24)
    """

    dims = 1


class Conv2d(_Conv):
    """A convolution over two spatial dimensions: y = w ⋆ x + b, see `functional.conv2d`.

    Weight and bias begin uniform in ±1/√(C/groups·K·L).

    Args:
        in_channels: the number C of channels of the input.
        out_channels: the number O of filters.
        kernel_size: sizes of the kernel; one number, or one per spatial dimension.
        stride: how far the kernel moves from one output to the next.
        padding: what is put around the input; one number, one per spatial dimension, "valid" for none, or "same" to keep the sizes.
        dilation: the distance between the kernel's taps.
        groups: the channels and the filters are cut into so many groups, each group of filters sees its group of channels only.
        bias: whether there is a b.
        padding_mode: what the padding consists of: "zeros", or as in `functional.pad` "reflect", "replicate" or "circular".
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.

    Shapes:
        Input: (N, C, H, W) or (C, H, W). Output: (N, O, H', W') or (O, H', W') with
        H' = ⌊(H + 2·padding - dilation·(K - 1) - 1) / stride⌋ + 1. weight: (O, C/groups, K, L). bias: (O).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Conv2d(16, 33, (3, 5), stride=2, padding=1)(tg.ones(20, 16, 50, 100)).shape
        (20, 33, 25, 49)
    """

    dims = 2


class Conv3d(_Conv):
    """A convolution over three spatial dimensions; see `Conv2d`.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype: as for `Conv2d`.

    Shapes:
        Input: (N, C, D, H, W) or (C, D, H, W). Output: (N, O, D', H', W') or (O, D', H', W'). weight: (O, C/groups, K, L, M). bias: (O).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Conv3d(2, 3, 3, padding="same")(tg.ones(1, 2, 5, 6, 7)).shape
        (1, 3, 5, 6, 7)
    """

    dims = 3
