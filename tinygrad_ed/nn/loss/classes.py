"""Losses of a choice among classes."""
from __future__ import annotations

from typing import Any

from ...errors import ShapeError
from ...tensor import Tensor
from .. import functional as F
from .base import Loss, WeightedLoss

__all__ = ["CTCLoss", "CrossEntropyLoss", "FocalLoss", "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss", "MultiMarginLoss", "NLLLoss"]


class CrossEntropyLoss(WeightedLoss):
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


class NLLLoss(WeightedLoss):
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


class FocalLoss(WeightedLoss):
    """Cross-entropy with less weight on easy samples; see `functional.focal_loss`.

    Args:
        weight: a weight for each class, of shape (C).
        gamma: how much less easy samples count; 0 is cross-entropy.
        ignore_index: a target that is left out.
        reduction: "mean", "sum" or "none".

    Shapes:
        Input: (C), (N, C) or (N, C, d1, …), unnormalised. Target: (), (N) or (N, d1, …). Output: (), or the target's shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.FocalLoss()(tg.zeros(3, 2), tg.tensor([0, 1, 1]))
        tensor(0.1733)
    """

    def __init__(self, weight: Tensor | None = None, *, gamma: float = 2.0, ignore_index: int = -100, reduction: str = "mean"):
        super().__init__(weight, reduction)
        self.gamma, self.ignore_index = gamma, ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.focal_loss(input, target, self.weight, gamma=self.gamma, ignore_index=self.ignore_index, reduction=self.reduction)


class MultiMarginLoss(WeightedLoss):
    """The hinge loss of several classes; see `functional.multi_margin_loss`.

    Args:
        p: the power of the hinges, 1 or 2.
        margin: how far the right class should be ahead.
        weight: a weight for each class, of shape (C).
        reduction: "mean", "sum" or "none".

    Shapes:
        Input: (N, C) or (C). Target: class numbers (N) or (). Output: (), or the target's shape.

    Raises:
        ValueError: another p.
        ShapeError: a weight with more than one dimension.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.MultiMarginLoss()(tg.tensor([[0.1, 0.2, 0.4, 0.8]]), tg.tensor([3]))
        tensor(0.3250)
    """

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Tensor | None = None, *, reduction: str = "mean"):
        super().__init__(weight, reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss takes p = 1 or 2, got {p}")
        if weight is not None and weight.ndim != 1:
            raise ShapeError(f"MultiMarginLoss takes a weight for each class, of shape (C), got {weight.shape}")
        self.p, self.margin = p, margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multi_margin_loss(input, target, self.p, self.margin, self.weight, reduction=self.reduction)


class MultiLabelMarginLoss(Loss):
    """The hinge loss where a sample may have several right classes; see `functional.multilabel_margin_loss`.

    Args:
        reduction: "mean", "sum" or "none".

    Shapes:
        Input: (N, C) or (C). Target: the right classes of each sample, then -1, of the same shape. Output: (), or (N).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.MultiLabelMarginLoss()(tg.tensor([[0.1, 0.2, 0.4, 0.8]]), tg.tensor([[3, 0, -1, 1]]))
        tensor(0.8500)
    """

    def __init__(self, *, reduction: str = "mean"):
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(WeightedLoss):
    """The binary cross-entropy of logits, averaged over the classes; see `functional.multilabel_soft_margin_loss`.

    Args:
        weight: a factor for each class, of shape (C).
        reduction: "mean", "sum" or "none".

    Shapes:
        Input: (…, C), unnormalised. Target: 0 or 1, of the same shape. Output: (), or (…).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.MultiLabelSoftMarginLoss()(tg.zeros(1, 3), tg.tensor([[1.0, 0.0, 1.0]]))
        tensor(0.6931)
    """

    def __init__(self, weight: Tensor | None = None, *, reduction: str = "mean"):
        super().__init__(weight, reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class CTCLoss(Loss):
    """The loss of a sequence of labels whose times are not known; see `functional.ctc_loss`.

    Args:
        blank: the class that stands for no label.
        reduction: "mean" divides every loss by its number of labels first; "sum" or "none".
        zero_infinity: count samples whose targets are too long for their inputs as 0, without a gradient.

    Shapes:
        log_probs: (T, N, C) or (T, C). targets: (N, S) or (sum of target_lengths). input_lengths and target_lengths: (N) or ().
        Output: (), or (N) with reduction="none".

    Example:
        >>> import tinygrad_ed as tg
        >>> log_probs = tg.full((2, 1, 2), 0.5).log()
        >>> tg.nn.CTCLoss()(log_probs, tg.tensor([[1]]), tg.tensor([2]), tg.tensor([1]))
        tensor(0.2877)
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False):
        super().__init__(reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any) -> Tensor:
        return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity)
