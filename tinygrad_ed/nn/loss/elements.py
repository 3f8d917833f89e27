"""Losses of single elements: differences, yes-or-no questions, likelihoods."""
from __future__ import annotations

from typing import Any

from ...tensor import Tensor
from .. import functional as F
from .base import Loss, WeightedLoss

__all__ = ["BCELoss", "BCEWithLogitsLoss", "GaussianNLLLoss", "HuberLoss", "KLDivLoss", "L1Loss", "MSELoss", "PoissonNLLLoss",
           "SigmoidFocalLoss", "SmoothL1Loss", "SoftMarginLoss"]


class MSELoss(Loss):
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


class L1Loss(Loss):
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


class SmoothL1Loss(Loss):
    """A parabola for differences below β, a straight line beyond; see `functional.smooth_l1_loss`.

    Args:
        reduction: "mean", "sum" or "none".
        beta: β.

    Shapes:
        Input: any. Target: the same. Output: (), or the input's shape with reduction="none".

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.SmoothL1Loss(reduction="none")(tg.tensor([1.0, 5.0]), tg.tensor([0.0, 0.0]))
        tensor([0.5000, 4.5000])
    """

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0):
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(Loss):
    """δ times `SmoothL1Loss`, whose slope beyond δ is δ; see `functional.huber_loss`.

    Args:
        reduction: "mean", "sum" or "none".
        delta: δ.

    Shapes:
        Input: any. Target: the same. Output: (), or the input's shape with reduction="none".

    Raises:
        TypeError: a delta that is no number.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.HuberLoss(reduction="none", delta=2.0)(tg.tensor([1.0, 5.0]), tg.tensor([0.0, 0.0]))
        tensor([0.5000, 8.0000])
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0):
        if not isinstance(delta, (int, float)):
            raise TypeError(f"HuberLoss takes a number for delta, got {type(delta).__name__}")
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(input, target, self.reduction, self.delta)


class BCELoss(WeightedLoss):
    """The binary cross-entropy of probabilities; see `functional.binary_cross_entropy`.

    Args:
        weight: a factor for each element, of a shape that broadcasts with the target.
        reduction: "mean", "sum" or "none".

    Shapes:
        Input: any, in [0, 1]. Target: the same. Output: (), or the input's shape with reduction="none".

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.BCELoss(reduction="none")(tg.tensor([0.9, 0.2]), tg.tensor([1.0, 0.0]))
        tensor([0.1054, 0.2231])
    """

    def __init__(self, weight: Tensor | None = None, *, reduction: str = "mean"):
        super().__init__(weight, reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(WeightedLoss):
    """The binary cross-entropy of σ(input), finite for all inputs; see `functional.binary_cross_entropy_with_logits`.

    Args:
        weight: a factor for each element, of a shape that broadcasts with the target.
        reduction: "mean", "sum" or "none".
        pos_weight: a factor for the positives, of a shape that broadcasts with the target.

    Shapes:
        Input: any. Target: the same. Output: (), or the input's shape with reduction="none".

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.BCEWithLogitsLoss()(tg.zeros(2), tg.tensor([0.0, 1.0]))
        tensor(0.6931)
    """

    pos_weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, *, reduction: str = "mean", pos_weight: Tensor | None = None):
        super().__init__(weight, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(input, target, self.weight, pos_weight=self.pos_weight, reduction=self.reduction)


class SigmoidFocalLoss(Loss):
    """Binary cross-entropy of logits with less weight on easy examples; see `functional.sigmoid_focal_loss`.

    Args:
        alpha: the weight of positives, 1 - α that of negatives; none if negative.
        gamma: how much less easy examples count.
        reduction: "mean", "sum" or "none".

    Shapes:
        Input: any. Target: 0 or 1, the same. Output: (), or the input's shape with reduction="none".

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.SigmoidFocalLoss(alpha=-1)(tg.zeros(2), tg.tensor([0.0, 1.0]))
        tensor(0.1733)
    """

    def __init__(self, alpha: float = 0.25, gamma: float = 2, *, reduction: str = "mean"):
        super().__init__(reduction)
        self.alpha, self.gamma = alpha, gamma

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.sigmoid_focal_loss(input, target, self.alpha, self.gamma, self.reduction)


class SoftMarginLoss(Loss):
    """The mean of log(1 + e^(-target·input)); see `functional.soft_margin_loss`.

    Args:
        reduction: "mean", "sum" or "none".

    Shapes:
        Input: any. Target: 1 or -1, the same. Output: (), or the input's shape with reduction="none".

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.SoftMarginLoss()(tg.zeros(2), tg.tensor([-1.0, 1.0]))
        tensor(0.6931)
    """

    def __init__(self, *, reduction: str = "mean"):
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class KLDivLoss(Loss):
    """The Kullback-Leibler divergence of log-probabilities from probabilities; see `functional.kl_div`.

    Args:
        reduction: "batchmean" for the divergence; "sum", "none", or "mean", which gives a warning.
        log_target: whether the target is given as logarithms.

    Shapes:
        Input: any. Target: the same. Output: (), or the input's shape with reduction="none".

    Example:
        >>> import tinygrad_ed as tg
        >>> x, t = tg.tensor([[0.5, 0.5]]), tg.tensor([[0.25, 0.75]])
        >>> tg.nn.KLDivLoss(reduction="batchmean")(x.log(), t)
        tensor(0.1308)
    """

    def __init__(self, *, reduction: str = "mean", log_target: bool = False):
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class PoissonNLLLoss(Loss):
    """The negative log-likelihood of counts under Poisson distributions; see `functional.poisson_nll_loss`.

    Args:
        log_input: whether the input is the logarithm of the mean.
        full: add Stirling's approximation of log target!.
        eps: added to the mean under the logarithm if not log_input.
        reduction: "mean", "sum" or "none".

    Shapes:
        Input: any. Target: the same. Output: (), or the input's shape with reduction="none".

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.PoissonNLLLoss()(tg.tensor([0.0, 1.0]), tg.tensor([2.0, 3.0]))
        tensor(0.3591)
    """

    def __init__(self, log_input: bool = True, full: bool = False, *, eps: float = 1e-8, reduction: str = "mean"):
        super().__init__(reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        return F.poisson_nll_loss(log_input, target, self.log_input, self.full, eps=self.eps, reduction=self.reduction)


class GaussianNLLLoss(Loss):
    """The negative log-likelihood under normal distributions; see `functional.gaussian_nll_loss`.

    Args:
        full: add the constant log(2π)/2.
        eps: the smallest variance.
        reduction: "mean", "sum" or "none".

    Shapes:
        Input: any. Target: the same. Variance: the same, or without or with 1 in the place of a dimension, or a number. Output: (),
        or the input's shape with reduction="none".

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.GaussianNLLLoss()(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 4.0]), tg.tensor([1.0, 4.0]))
        tensor(0.5966)
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean"):
        super().__init__(reduction)
        self.full, self.eps = full, eps

    def forward(self, input: Tensor, target: Tensor, var: Any) -> Tensor:
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)
