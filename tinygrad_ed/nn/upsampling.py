"""Layers that change the size of images and signals; their mathematics is in `ops/vision/resizing.py`."""
from __future__ import annotations

from collections.abc import Sequence

from ..tensor import Tensor
from . import functional as F
from .module import Module

__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"]


class Upsample(Module):
    """A signal, an image or a volume at another size; see `functional.interpolate`.

    Args:
        size: the output's spatial size, an integer or one for each dimension.
        scale_factor: or how many times the input's it is, a number or a tuple of one for each dimension.
        mode: "nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear" or "area".
        align_corners: the centres of the corner elements meet; only for linear and cubic modes.
        recompute_scale_factor: use the ratio of the sizes instead of scale_factor, which rounding makes another.

    Shapes:
        Input: (N, C, L), (N, C, H, W) or (N, C, D, H, W). Output: the same with the other size.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Upsample(scale_factor=2, mode="bilinear")(tg.tensor([[[[0.0, 4.0]]]]))
        tensor([[[[0., 1., 3., 4.],
                  [0., 1., 3., 4.]]]])
    """

    def __init__(self, size: int | Sequence[int] | None = None, scale_factor: float | tuple[float, ...] | None = None,
                 mode: str = "nearest", align_corners: bool | None = None, recompute_scale_factor: bool | None = None):
        super().__init__()
        self.size, self.mode, self.align_corners, self.recompute_scale_factor = size, mode, align_corners, recompute_scale_factor
        self.scale_factor = (None if scale_factor is None else tuple(map(float, scale_factor)) if isinstance(scale_factor, (tuple, list))
                             else float(scale_factor))

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor)

    def extra_repr(self) -> str:
        return (f"size={self.size!r}" if self.scale_factor is None else f"scale_factor={self.scale_factor!r}") + f", mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Images at another size, every pixel the nearest one of the input.

    Args:
        size: the output's height and width.
        scale_factor: or how many times the input's they are.

    Shapes:
        Input: (N, C, H, W). Output: (N, C, H', W').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.UpsamplingNearest2d(scale_factor=2)(tg.tensor([[[[0.0, 4.0]]]]))
        tensor([[[[0., 0., 4., 4.],
                  [0., 0., 4., 4.]]]])
    """

    def __init__(self, size: int | Sequence[int] | None = None, scale_factor: float | tuple[float, ...] | None = None):
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Images at another size, linear between the pixels of the input, the centres of the corner pixels kept in place.

    Args:
        size: the output's height and width.
        scale_factor: or how many times the input's they are.

    Shapes:
        Input: (N, C, H, W). Output: (N, C, H', W').

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.UpsamplingBilinear2d(size=(1, 3))(tg.tensor([[[[0.0, 4.0]]]]))
        tensor([[[[0., 2., 4.]]]])
    """

    def __init__(self, size: int | Sequence[int] | None = None, scale_factor: float | tuple[float, ...] | None = None):
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
