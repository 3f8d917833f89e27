"""Layers between images and the columns of their windows."""
from __future__ import annotations

from ...ops.spatial import Size
from ...tensor import Tensor
from .. import functional as F
from ..module import Module

__all__ = ["Fold", "Unfold"]


class Unfold(Module):
    """The windows of images as columns; see `functional.unfold`.

    Args:
        kernel_size: sizes of a window; one number, or one per spatial dimension.
        dilation: the distance between its taps.
        padding: zeros around the image.
        stride: the distance between windows.

    Shapes:
        Input: (N, C, H, W) or (C, H, W). Output: (N, C·K·L, windows) or (C·K·L, windows).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Unfold(kernel_size=(2, 3))(tg.ones(2, 5, 3, 4)).shape
        (2, 30, 4)
    """

    def __init__(self, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1):
        super().__init__()
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Module):
    """Images as the sum of windows, given as columns; see `functional.fold`.

    Args:
        output_size: height and width of the images.
        kernel_size: sizes of a window; one number, or one per spatial dimension.
        dilation: the distance between its taps.
        padding: zeros around the image, of which the windows have seen some.
        stride: the distance between windows.

    Shapes:
        Input: (N, C·K·L, windows) or (C·K·L, windows). Output: (N, C, H, W) or (C, H, W).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Fold(output_size=(4, 5), kernel_size=(2, 2))(tg.ones(1, 12, 12)).shape
        (1, 3, 4, 5)
    """

    def __init__(self, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1):
        super().__init__()
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
                f"stride={self.stride}")
