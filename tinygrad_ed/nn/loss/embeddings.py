"""Losses of pairs and triplets: embeddings and rankings."""
from __future__ import annotations

from typing import Callable

from ...tensor import Tensor
from .. import functional as F
from ..distance import PairwiseDistance
from .base import Loss

__all__ = ["CosineEmbeddingLoss", "HingeEmbeddingLoss", "MarginRankingLoss", "TripletMarginLoss", "TripletMarginWithDistanceLoss"]


class HingeEmbeddingLoss(Loss):
    """Similar pairs are to be close, others apart by a margin; see `functional.hinge_embedding_loss`.

    Args:
        margin: how far apart.
        reduction: "mean", "sum" or "none".

    Shapes:
        Input: distances, any. Target: 1 or -1, the same. Output: (), or the input's shape with reduction="none".

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.HingeEmbeddingLoss(reduction="none")(tg.tensor([0.5, 0.2]), tg.tensor([1, -1]))
        tensor([0.5000, 0.8000])
    """

    def __init__(self, margin: float = 1.0, *, reduction: str = "mean"):
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(Loss):
    """Similar pairs are to point in one direction, others not; see `functional.cosine_embedding_loss`.

    Args:
        margin: how similar pairs may be that should not be, in [-1, 1].
        reduction: "mean", "sum" or "none".

    Shapes:
        Inputs: (N, D) or (D), two of them. Target: 1 or -1, (N) or (). Output: (), or the target's shape with reduction="none".

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.CosineEmbeddingLoss()(tg.tensor([[1.0, 0.0]]), tg.tensor([[0.0, 1.0]]), tg.tensor([1]))
        tensor(1.)
    """

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean"):
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.cosine_embedding_loss(input1, input2, target, self.margin, reduction=self.reduction)


class MarginRankingLoss(Loss):
    """One input is to be above the other by a margin; see `functional.margin_ranking_loss`.

    Args:
        margin: how far.
        reduction: "mean", "sum" or "none".

    Shapes:
        Inputs: any, two of them. Target: 1 or -1, the same. Output: (), or the same with reduction="none".

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.MarginRankingLoss()(tg.tensor([2.0, 1.0]), tg.tensor([1.0, 3.0]), tg.tensor([1, 1]))
        tensor(1.)
    """

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean"):
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class TripletMarginLoss(Loss):
    """The positive is to be closer to the anchor than the negative; see `functional.triplet_margin_loss`.

    Args:
        margin: how much closer, positive.
        p: the power of the norm.
        eps: added to the differences.
        swap: use the distance from the positive to the negative where it is smaller.
        reduction: "mean", "sum" or "none".

    Shapes:
        Inputs: (N, D) or (D), three of them. Output: (), or (N) with reduction="none".

    Raises:
        ValueError: a margin that is not positive.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.TripletMarginLoss()(tg.tensor([[0.0, 0.0]]), tg.tensor([[3.0, 4.0]]), tg.tensor([[0.0, 5.5]]))
        tensor(0.5000)
    """

    def __init__(self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, *, reduction: str = "mean"):
        super().__init__(reduction)
        if not margin > 0:
            raise ValueError(f"TripletMarginLoss takes a positive margin, got {margin}")
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_loss(anchor, positive, negative, self.margin, self.p, self.eps, self.swap, reduction=self.reduction)


class TripletMarginWithDistanceLoss(Loss):
    """As `TripletMarginLoss`, with a distance of one's own; see `functional.triplet_margin_with_distance_loss`.

    Args:
        distance_function: d(x, y), a function or a module; `PairwiseDistance` by default.
        margin: how much closer, positive.
        swap: use the distance from the positive to the negative where it is smaller.
        reduction: "mean", "sum" or "none".

    Shapes:
        Inputs: (N, *), three of them. Output: (), or the distance's shape with reduction="none".

    Raises:
        ValueError: a margin that is not positive.

    Example:
        >>> import tinygrad_ed as tg
        >>> loss = tg.nn.TripletMarginWithDistanceLoss(distance_function=lambda x, y: (x - y).abs().sum(-1))
        >>> loss(tg.tensor([[0.0, 0.0]]), tg.tensor([[3.0, 4.0]]), tg.tensor([[0.0, 6.0]]))
        tensor(2.)
    """

    def __init__(self, *, distance_function: Callable[[Tensor, Tensor], Tensor] | None = None, margin: float = 1.0, swap: bool = False,
                 reduction: str = "mean"):
        super().__init__(reduction)
        if not margin > 0:
            raise ValueError(f"TripletMarginWithDistanceLoss takes a positive margin, got {margin}")
        self.distance_function = PairwiseDistance() if distance_function is None else distance_function
        self.margin, self.swap = margin, swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_with_distance_loss(anchor, positive, negative, distance_function=self.distance_function, margin=self.margin,
                                                   swap=self.swap, reduction=self.reduction)
