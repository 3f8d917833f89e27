"""Channels exchanged for pixels and with each other."""
from __future__ import annotations

from ...errors import ShapeError
from ...tensor import Tensor
from ..broadcast import permute_to, reshape_to

__all__ = ["channel_shuffle", "pixel_shuffle", "pixel_unshuffle"]


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Groups of r² channels laid out as squares of r×r pixels: y[c, r·h + i, r·w + j] = x[r²·c + r·i + j, h, w].

    The last step of the sub-pixel convolution of Shi et al., "Real-Time Single Image and Video Super-Resolution", 2016.

    Args:
        input: a tensor of shape (*, C·r², H, W).
        upscale_factor: r, at least 1.

    Returns:
        A new tensor of shape (*, C, H·r, W·r).

    Raises:
        ShapeError: fewer than three dimensions, a number of channels that r² does not divide, or r below 1.

    Example:
        >>> import tinygrad_ed as tg
        >>> pixel_shuffle(tg.tensor([1.0, 2.0, 3.0, 4.0]).reshape(4, 1, 1), 2)
        tensor([[[1., 2.],
                 [3., 4.]]])
    """
    r = upscale_factor
    *batch, channels, height, width = _image("pixel_shuffle", input, r)
    if channels % (r * r):
        raise ShapeError(f"pixel_shuffle lays out groups of {r}² channels, got an input of shape {input.shape}; "
                         f"{channels} channels are no multiple of {r * r}")
    k = len(batch)
    parts = reshape_to(input, shape=(*batch, channels // (r * r), r, r, height, width))
    order = (*range(k), k, k + 3, k + 1, k + 4, k + 2)                # c, h, i, w, j
    return reshape_to(permute_to(parts, dims=order), shape=(*batch, channels // (r * r), height * r, width * r))


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Squares of r×r pixels as r² channels, the inverse of `pixel_shuffle`: y[r²·c + r·i + j, h, w] = x[c, r·h + i, r·w + j].

    Args:
        input: a tensor of shape (*, C, H·r, W·r).
        downscale_factor: r, at least 1.

    Returns:
        A new tensor of shape (*, C·r², H, W).

    Raises:
        ShapeError: fewer than three dimensions, a height or width that r does not divide, or r below 1.

    Example:
        >>> import tinygrad_ed as tg
        >>> pixel_unshuffle(tg.ones(3, 8, 6), 2).shape
        (12, 4, 3)
    """
    r = downscale_factor
    *batch, channels, height, width = _image("pixel_unshuffle", input, r)
    if height % r or width % r:
        raise ShapeError(f"pixel_unshuffle takes squares of {r}×{r} pixels, got an input of shape {input.shape}; "
                         f"height and width are multiples of {r}")
    k = len(batch)
    parts = reshape_to(input, shape=(*batch, channels, height // r, r, width // r, r))
    order = (*range(k), k, k + 2, k + 4, k + 1, k + 3)                # c, i, j, h, w
    return reshape_to(permute_to(parts, dims=order), shape=(*batch, channels * r * r, height // r, width // r))


def _image(name: str, input: Tensor, factor: int) -> tuple[int, ...]:
    """The shape of an image or a batch of images."""
    if input.ndim < 3:
        raise ShapeError(f"{name} takes an input of shape (*, C, H, W), got {input.shape}")
    if factor < 1:
        raise ShapeError(f"{name} takes a factor of at least 1, got {factor}")
    return input.shape


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels in groups dealt out in turn: with g groups of n channels, y[:, g·j + i] = x[:, n·i + j].

    From Zhang et al., "ShuffleNet", 2018, where it lets the groups of one convolution see those of the one before.

    Args:
        input: a tensor of shape (N, C, *) with at least three dimensions.
        groups: how many groups; C is a multiple of it.

    Returns:
        A new tensor of the same shape.

    Raises:
        ShapeError: fewer than three dimensions, or a number of channels that the groups do not divide.

    Example:
        >>> import tinygrad_ed as tg
        >>> channel_shuffle(tg.arange(4).reshape(1, 4, 1), 2).flatten()
        tensor([0, 2, 1, 3])
    """
    if input.ndim < 3:
        raise ShapeError(f"channel_shuffle takes an input of shape (N, C, *) with at least three dimensions, got {input.shape}")
    n, channels, *rest = input.shape
    if groups < 1 or channels % groups:
        raise ShapeError(f"channel_shuffle into {groups} groups takes a multiple of that many channels, got {input.shape}")
    parts = reshape_to(input, shape=(n, groups, channels // groups, *rest))
    return reshape_to(permute_to(parts, dims=(0, 2, 1, *range(3, parts.ndim))), shape=input.shape)
