"""Losses as modules; their mathematics is in `ops/loss.py`."""
from __future__ import annotations

from ..tensor import Tensor
from . import functional as F
from .module import Module

__all__ = ["CrossEntropyLoss", "L1Loss", "MSELoss", "NLLLoss"]


class _Loss(Module):
    def __init__(self, reduction: str = "mean"):
        super().__init__()
        self.reduction = reduction


class _WeightedLoss(_Loss):
    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean"):
        super().__init__(reduction)
        self.register_buffer("weight", weight)


class CrossEntropyLoss(_WeightedLoss):
    """The negative log-likelihood of the targets under softmax(input); see `functional.cross_entropy`.

    Args:
        weight: a weight for each class, of shape (C).
        ignore_index: a target that is left out.
        reduction: "mean", "sum" or "none".
        label_smoothing: how much of a target's probability is spread evenly over all classes, in [0, 1].

    Shapes:
        Input: (C), (N, C) or (N, C, d1, …), unnormalised. Target: class numbers of shape (), (N) or (N, d1, …), or
        probabilities of the input's shape. Output: (), or the shape of class numbers with reduction="none".

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.CrossEntropyLoss()(tg.zeros(3, 2), tg.tensor([0, 1, 1]))
        tensor(0.6931)
    """

    def __init__(self, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0):
        super().__init__(weight, reduction)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction,
                               label_smoothing=self.label_smoothing)


class NLLLoss(_WeightedLoss):
    """The negative log-likelihood of the targets, from log-probabilities; see `functional.nll_loss`.

    Args:
        weight: a weight for each class, of shape (C).
        ignore_index: a target that is left out.
        reduction: "mean", "sum" or "none".

    Shapes:
        Input: (C), (N, C) or (N, C, d1, …), log-probabilities. Target: (), (N) or (N, d1, …). Output: (), or the target's shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.NLLLoss()(tg.tensor([[-1.0, -2.0], [-3.0, -4.0]]), tg.tensor([0, 1]))
        tensor(2.5000)
    """

    def __init__(self, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean"):
        super().__init__(weight, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class MSELoss(_Loss):
    """The mean of (input - target)²; see `functional.mse_loss`.

    Args:
        reduction: "mean", "sum" or "none".

    Shapes:
        Input: any. Target: the same. Output: (), or the input's shape with reduction="none".

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.MSELoss()(tg.tensor([1.0, 3.0]), tg.tensor([1.0, 1.0]))
        tensor(2.)
    """

    def __init__(self, *, reduction: str = "mean"):
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """The mean of |input - target|; see `functional.l1_loss`.

    Args:
        reduction: "mean", "sum" or "none".

    Shapes:
        Input: any. Target: the same. Output: (), or the input's shape with reduction="none".

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.L1Loss()(tg.tensor([1.0, 3.0]), tg.tensor([1.0, 1.0]))
        tensor(1.)
    """

    def __init__(self, *, reduction: str = "mean"):
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(input, target, reduction=self.reduction)
