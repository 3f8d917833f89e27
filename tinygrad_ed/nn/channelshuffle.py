"""The layer that exchanges channels between groups."""
from __future__ import annotations

from ..tensor import Tensor
from . import functional as F
from .module import Module

__all__ = ["ChannelShuffle"]


class ChannelShuffle(Module):
    """Channels in groups dealt out in turn; see `functional.channel_shuffle`.

    Args:
        groups: how many groups.

    Shapes:
        Input: (N, C, *) with C a multiple of groups. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ChannelShuffle(2)(tg.arange(4).reshape(1, 4, 1)).flatten()
        tensor([0, 2, 1, 3])
    """

    def __init__(self, groups: int):
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
