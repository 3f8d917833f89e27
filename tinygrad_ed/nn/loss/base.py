"""What the losses as modules have in common."""
from __future__ import annotations

from ...tensor import Tensor
from ..module import Module

__all__: list[str] = []


class Loss(Module):
    """A module with a reduction."""

    def __init__(self, reduction: str = "mean"):
        super().__init__()
        self.reduction = reduction


class WeightedLoss(Loss):
    """A loss with weights, a buffer."""

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean"):
        super().__init__(reduction)
        self.register_buffer("weight", weight)
