"""Layers that exchange channels for pixels."""
from __future__ import annotations

from ..tensor import Tensor
from . import functional as F
from .module import Module

__all__ = ["PixelShuffle", "PixelUnshuffle"]


class PixelShuffle(Module):
    """Groups of r² channels laid out as squares of r×r pixels; see `functional.pixel_shuffle`.

    Args:
        upscale_factor: r.

    Shapes:
        Input: (*, C·r², H, W). Output: (*, C, H·r, W·r).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.PixelShuffle(3)(tg.ones(1, 9, 4, 4)).shape
        (1, 1, 12, 12)
    """

    def __init__(self, upscale_factor: int):
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Squares of r×r pixels as r² channels, the inverse of `PixelShuffle`; see `functional.pixel_unshuffle`.

    Args:
        downscale_factor: r.

    Shapes:
        Input: (*, C, H·r, W·r). Output: (*, C·r², H, W).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.PixelUnshuffle(3)(tg.ones(1, 1, 12, 12)).shape
        (1, 9, 4, 4)
    """

    def __init__(self, downscale_factor: int):
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"
