"""Images read at any positions: a grid of positions, and the image there."""
from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from ...backend import module_of
from ...dtypes import FLOATS
from ...errors import DTypeError, ShapeError
from ...tensor import Tensor, wrap
from ..broadcast import permute_to, reshape_to
from ..elementwise import floor, where
from ..elementwise import round as rint
from ..index.positions import pick
from ..matmul import matmul

__all__ = ["affine_grid", "grid_sample"]

MODES, PADDINGS = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The positions that affine maps give to the pixels of an image, for `grid_sample`: θ·(x, y, 1), with x and y from -1 to 1.

    Args:
        theta: affine maps of shape (N, 2, 3) for images or (N, 3, 4) for volumes, with x in the first row, then y, then z.
        size: the output's size, (N, C, H, W) or (N, C, D, H, W).
        align_corners: -1 and 1 are the centres of the corner pixels, and not the image's edges; False by default.

    Returns:
        A tensor of shape (N, H, W, 2) or (N, D, H, W, 3).

    Raises:
        ShapeError: maps and a size that do not fit.
        DTypeError: maps that are no floating point numbers.

    Example:
        >>> import tinygrad_ed as tg
        >>> identity = tg.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
        >>> tg.nn.functional.affine_grid(identity, (1, 1, 1, 2))
        tensor([[[[-0.5000,  0.0000],
                  [ 0.5000,  0.0000]]]])
    """
    sizes = tuple(size)[2:]
    d = len(sizes)
    if d not in (2, 3) or theta.shape != (size[0], d, d + 1) or min(sizes) < 1:
        raise ShapeError(f"affine_grid takes theta (N, 2, 3) and size (N, C, H, W), or (N, 3, 4) and (N, C, D, H, W), got theta "
                         f"{theta.shape} and size {tuple(size)}")
    if theta.dtype.kind not in FLOATS:
        raise DTypeError(f"affine_grid takes floating point maps, got {theta.dtype}; write theta.float()")
    xp = module_of(theta.device)
    steps = [xp.asarray(np.linspace(-1, 1, n) * (1 if align_corners else (n - 1) / n) if n > 1 else [0.0], theta.dtype) for n in sizes]
    axes = xp.meshgrid(*steps, indexing="ij")
    points = xp.stack([*axes[::-1], xp.ones_like(axes[0])], axis=-1).reshape(-1, d + 1)          # x first
    return reshape_to(matmul(wrap(points), permute_to(theta, dims=(0, 2, 1))), shape=(len(theta), *sizes, d))


def grid_sample(input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros",
                align_corners: bool | None = None) -> Tensor:
    """An image read at the positions of a grid, between its pixels by interpolation; differentiable in the image and in the positions.

    From Jaderberg et al., "Spatial Transformer Networks", 2015.

    Args:
        input: images (N, C, H, W) or volumes (N, C, D, H, W).
        grid: positions (N, H', W', 2) as (x, y), or (N, D', H', W', 3) as (x, y, z); from -1, left and above, to 1, right and below.
        mode: "bilinear" (for volumes trilinear), "nearest", or "bicubic" (images only; Keys' cubic with a = -¾).
        padding_mode: what lies outside: "zeros", the "border" continued, or the image's "reflection".
        align_corners: -1 and 1 are the centres of the corner pixels, and not the image's edges; False by default.

    Returns:
        A tensor of shape (N, C, H', W') or (N, C, D', H', W').

    Raises:
        ShapeError: input and grid that do not fit.
        DTypeError: input and grid of two dtypes.
        ValueError: an unknown mode or padding_mode.

    Example:
        >>> import tinygrad_ed as tg
        >>> image = tg.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> tg.nn.functional.grid_sample(image, tg.tensor([[[[0.0, 0.0], [1.0, 1.0]]]]), align_corners=True)
        tensor([[[[1.5000, 3.0000]]]])
    """
    _check(input, grid, mode, padding_mode)
    n, channels, *sizes = input.shape
    d, aligned = len(sizes), bool(align_corners)
    along: list[Any] = []                             # for each dimension: which pixels are read there, and with what weights
    for k, length in enumerate(sizes):
        g = grid[..., d - 1 - k]
        u = (g + 1) * ((length - 1) / 2) if aligned else ((g + 1) * length - 1) / 2
        if mode == "bicubic":
            along.append([(_inside(i, length, padding_mode, aligned), w) for i, w in _cubic(u)])
        else:
            u = _inside(u, length, padding_mode, aligned)
            along.append([(rint(u.detach()), 1.0)] if mode == "nearest" else _linear(u))
    pixels = permute_to(input, dims=(0, *range(2, d + 2), 1))         # channels last: a pixel is a run of memory
    xp = module_of(input.device)
    start = xp.arange(n).reshape(-1, *[1] * d)
    total: Any = 0.0
    for corner in product(*along):
        position, known = start, True
        weight: Any = 1.0
        for (i, w), length in zip(corner, sizes):
            known = known & ~((i._data < 0) | (i._data >= length))    # NaN among them, so that the result is NaN
            position = position * length + xp.nan_to_num(xp.where(known, i._data, 0)).astype(np.int64)
            weight = weight * w
        weight = where(wrap(known), weight, 0.0) if isinstance(weight, Tensor) else wrap(known).to(input.dtype)
        total = total + pick(pixels, position, dim=0, count=d + 1) * weight.unsqueeze(-1)
    return permute_to(total, dims=(0, d + 1, *range(1, d + 1)))


def _check(input: Tensor, grid: Tensor, mode: str, padding_mode: str) -> None:
    if mode not in MODES or padding_mode not in PADDINGS:
        raise ValueError(f"grid_sample has the modes {', '.join(MODES)} and the padding modes {', '.join(PADDINGS)}, got "
                         f'"{mode}" and "{padding_mode}"')
    d = input.ndim - 2
    if d not in (2, 3) or grid.ndim != d + 2 or grid.shape[-1] != d or len(grid) != len(input) or min(input.shape[2:]) < 1:
        raise ShapeError(f"grid_sample takes an input (N, C, H, W) and a grid (N, H', W', 2), or (N, C, D, H, W) and (N, D', H', W', 3), "
                         f"got {input.shape} and {grid.shape}")
    if mode == "bicubic" and d != 2:
        raise ShapeError(f"grid_sample in mode bicubic takes images (N, C, H, W), got {input.shape}")
    if input.dtype != grid.dtype or input.dtype.kind not in FLOATS:
        raise DTypeError(f"grid_sample takes an input and a grid of one floating point dtype, got {input.dtype} and {grid.dtype}; "
                         f"write grid.to(input.dtype)")


def _linear(u: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The two neighbours of a position."""
    i = floor(u.detach())
    return [(i, 1 - (u - i)), (i + 1, u - i)]


def _cubic(u: Tensor, a: float = -0.75) -> list[tuple[Tensor, Tensor]]:
    """The four neighbours of a position, weighted by Keys' cubic."""
    i = floor(u.detach())
    t = u - i
    near = lambda d: ((a + 2) * d - (a + 3)) * d * d + 1
    far = lambda d: ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return [(i - 1, far(t + 1)), (i, near(t)), (i + 1, near(1 - t)), (i + 2, far(2 - t))]


def _inside(u: Tensor, length: int, padding_mode: str, aligned: bool) -> Tensor:
    """Positions brought into the image, except where zeros lie around it."""
    if padding_mode == "zeros":
        return u
    if padding_mode == "reflection":
        low, span = (0.0, length - 1.0) if aligned else (-0.5, float(length))
        if span:
            x = (u - low).abs()
            flips = floor(x.detach() / span)
            rest = x - flips * span
            u = where(flips % 2 == 0, rest, span - rest) + low
    return u.clamp(0, length - 1)
