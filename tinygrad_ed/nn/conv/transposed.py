"""Layers that convolve the other way round, and make images larger."""
from __future__ import annotations

from typing import Any

from ...errors import DomainError, ShapeError
from ...ops.spatial import Size
from ...tensor import Tensor
from .. import functional as F
from .common import AnyConv

__all__ = ["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


class _ConvTranspose(AnyConv):
    transposed = True

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size = 0, output_padding: Size = 0,
                 groups: int = 1, bias: bool = True, dilation: Size = 1, padding_mode: str = "zeros", device: Any = None, dtype: Any = None):
        if padding_mode != "zeros":
            raise DomainError(f'{type(self).__name__} cuts its padding off the output, so padding_mode is "zeros", got {padding_mode!r}')
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups, bias, padding_mode, device,
                         dtype)

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        more = self.output_padding if output_size is None else self._more(input, output_size)
        function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[self.dims - 1]
        return function(input, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation)

    def _more(self, input: Tensor, output_size: Any) -> tuple[int, ...]:
        """The output_padding that gives the wanted sizes."""
        n, wanted = self.dims, tuple(output_size)
        if len(wanted) not in (n, input.ndim):
            raise ShapeError(f"{type(self).__name__}: output_size has {n} sizes, or {input.ndim} as the input of shape {input.shape}; got {wanted}")
        least = [(size - 1) * s - 2 * p + d * (k - 1) + 1 for size, s, p, d, k in
                 zip(input.shape[-n:], self.stride, self.padding, self.dilation, self.kernel_size)]
        more = tuple([w - m for w, m in zip(wanted[-n:], least)])
        if any(not 0 <= m < s for m, s in zip(more, self.stride)):
            most = [m + s - 1 for m, s in zip(least, self.stride)]
            raise ShapeError(f"{type(self).__name__}: an input of shape {input.shape} gives sizes from {tuple(least)} to {tuple(most)} at "
                             f"stride={self.stride}, got output_size={wanted}")
        return more


class ConvTranspose1d(_ConvTranspose):
    """A transposed convolution over one spatial dimension; see `ConvTranspose2d`.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, output_padding, groups, bias, dilation, padding_mode, device, dtype: as for
            `ConvTranspose2d`.

    Shapes:
        Input: (N, C, L) or (C, L). Output: (N, O, L') or (O, L'). weight: (C, O/groups, K). bias: (O).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ConvTranspose1d(16, 33, 3, stride=2)(tg.ones(20, 16, 50)).shape
        (20, 33, 101)
    """

    dims = 1


class ConvTranspose2d(_ConvTranspose):
    """A transposed convolution over two spatial dimensions, which makes images larger; see `functional.conv_transpose2d`.

    It is called with an input, and optionally with the wanted output_size, as several sizes belong to one under a strided convolution.

    Args:
        in_channels: the number C of channels of the input.
        out_channels: the number O of channels of the output.
        kernel_size: sizes of the kernel; one number, or one per spatial dimension.
        stride: how far apart the windows of neighbouring inputs are.
        padding: how much is cut off the output on every side.
        output_padding: how much is added to the output behind.
        groups: the channels are cut into so many groups.
        bias: whether there is a b.
        dilation: the distance between the kernel's taps.
        padding_mode: "zeros".
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.

    Shapes:
        Input: (N, C, H, W) or (C, H, W). Output: (N, O, H', W') or (O, H', W') with
        H' = (H - 1)·stride - 2·padding + dilation·(K - 1) + output_padding + 1. weight: (C, O/groups, K, L). bias: (O).

    Example:
        >>> import tinygrad_ed as tg
        >>> up = tg.nn.ConvTranspose2d(16, 16, 3, stride=2, padding=1)
        >>> up(tg.ones(1, 16, 6, 6)).shape, up(tg.ones(1, 16, 6, 6), output_size=(12, 12)).shape
        ((1, 16, 11, 11), (1, 16, 12, 12))
    """

    dims = 2


class ConvTranspose3d(_ConvTranspose):
    """A transposed convolution over three spatial dimensions; see `ConvTranspose2d`.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, output_padding, groups, bias, dilation, padding_mode, device, dtype: as for
            `ConvTranspose2d`.

    Shapes:
        Input: (N, C, D, H, W) or (C, D, H, W). Output: (N, O, D', H', W') or (O, D', H', W'). weight: (C, O/groups, K, L, M). bias: (O).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ConvTranspose3d(2, 3, 2, stride=2)(tg.ones(1, 2, 3, 4, 5)).shape
        (1, 3, 6, 8, 10)
    """

    dims = 3
