"""Layers that only change the shape."""
from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .module import Module

__all__ = ["Flatten", "Unflatten"]


class Flatten(Module):
    """Joins neighbouring dimensions into one.

    Args:
        start_dim: the first dimension to join.
        end_dim: the last one.

    Shapes:
        Input: (N, d1, d2, …). Output: (N, d1·d2·…) with the defaults.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Flatten()(tg.ones(32, 1, 5, 5)).shape
        (32, 25)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits a dimension into several.

    Args:
        dim: the dimension to split.
        unflattened_size: the lengths that it is split into; one of them may be -1.

    Shapes:
        Input: (…, d1·d2·…, …). Output: (…, d1, d2, …, …).

    Raises:
        TypeError: lengths that are no tuple or list of integers.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Unflatten(1, (2, 5, 5))(tg.ones(32, 50)).shape
        (32, 2, 5, 5)
    """

    def __init__(self, dim: int, unflattened_size: Any):
        super().__init__()
        if not isinstance(dim, int):
            raise TypeError(f"Unflatten counts dimensions, they have no names; dim is an int, got {type(dim).__name__}")
        if not isinstance(unflattened_size, (tuple, list)) or not all(isinstance(n, int) for n in unflattened_size):
            raise TypeError(f"unflattened_size is a tuple of integers, got {unflattened_size!r}")
        self.dim, self.unflattened_size = dim, unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
