"""Losses of embeddings: pairs and triplets of vectors that should be close together or far apart."""
from __future__ import annotations

from typing import Callable

from ...errors import ShapeError
from ...tensor import Tensor
from ..distance import pairwise_distance
from ..elementwise import clamp, minimum, sqrt, where
from .common import check_float, check_reduction, reduced

__all__ = ["cosine_embedding_loss", "triplet_margin_loss", "triplet_margin_with_distance_loss"]


def cosine_embedding_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean") -> Tensor:
    """The mean of 1 - cos(x₁, x₂) where t = 1 and of max(0, cos(x₁, x₂) - margin) where t = -1.

    The squared lengths in the cosine are increased by 1e-12, so that the zero vector has a derivative.

    Args:
        input1: vectors x₁ of shape (N, D) or (D).
        input2: vectors x₂ of the same shape.
        target: t = 1 for pairs that should point in one direction, -1 for others, of shape (N) or ().
        margin: in [-1, 1]: how similar pairs may be that should not be; 0 to 0.5 is suggested.
        reduction: "mean", "sum" or "none".

    Returns:
        A 0-d tensor, or with reduction="none" one of the target's shape.

    Raises:
        ShapeError: shapes that do not fit.
        DTypeError: inputs that are not floating point.
        ValueError: an unknown reduction.

    Example:
        >>> import tinygrad_ed as tg
        >>> x, y = tg.tensor([[1.0, 0.0], [1.0, 0.0]]), tg.tensor([[2.0, 0.0], [0.0, 1.0]])
        >>> cosine_embedding_loss(x, y, tg.tensor([1, 1]), reduction="none")
        tensor([0., 1.])
    """
    check_reduction(reduction)
    check_float("cosine_embedding_loss", input1=input1, input2=input2)
    if input1.shape != input2.shape or input1.ndim not in (1, 2) or target.shape != input1.shape[:-1]:
        raise ShapeError(f"cosine_embedding_loss takes two inputs (N, D) and targets (N), or (D) and (), got shapes {input1.shape}, "
                         f"{input2.shape} and {target.shape}")
    lengths = ((input1 * input1).sum(-1) + 1e-12) * ((input2 * input2).sum(-1) + 1e-12)
    cos = (input1 * input2).sum(-1) / sqrt(lengths)
    return reduced(where(target == 1, 1 - cos, 0.0) + where(target == -1, clamp(cos - margin, min=0), 0.0), reduction)


def triplet_margin_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2, eps: float = 1e-6,
                        swap: bool = False, *, reduction: str = "mean") -> Tensor:
    """The mean of max(0, d(a, p) - d(a, n) + margin): the positive is to be closer to the anchor than the negative by the margin.

    d(x, y) = |x - y + ε| in the p-norm. Schroff, Kalenichenko and Philbin, "FaceNet", 2015.

    Args:
        anchor: vectors of shape (N, D) or (D).
        positive: vectors of the same kind, as many.
        negative: vectors of another kind, as many.
        margin: how much closer, positive.
        p: the power of the norm.
        eps: ε, added to the differences.
        swap: use the distance from the positive to the negative where it is smaller (Balntas et al., 2016).
        reduction: "mean", "sum" or "none".

    Returns:
        A 0-d tensor, or with reduction="none" one of shape (N) or ().

    Raises:
        ShapeError: different numbers of dimensions, or shapes that do not broadcast.
        DTypeError: not floating point.
        ValueError: an unknown reduction, or a margin that is not positive.

    Example:
        >>> import tinygrad_ed as tg
        >>> a, p, n = tg.tensor([[0.0, 0.0]]), tg.tensor([[3.0, 4.0]]), tg.tensor([[0.0, 5.5]])
        >>> triplet_margin_loss(a, p, n)
        tensor(0.5000)
    """
    return triplet_margin_with_distance_loss(anchor, positive, negative, distance_function=lambda x, y: pairwise_distance(x, y, p, eps),
                                             margin=margin, swap=swap, reduction=reduction)


def triplet_margin_with_distance_loss(anchor: Tensor, positive: Tensor, negative: Tensor, *,
                                      distance_function: Callable[[Tensor, Tensor], Tensor] | None = None, margin: float = 1.0,
                                      swap: bool = False, reduction: str = "mean") -> Tensor:
    """As `triplet_margin_loss`, with a distance of one's own.

    Args:
        anchor: tensors that the distance takes, (N, …).
        positive: of the same kind, as many.
        negative: of another kind, as many.
        distance_function: d(x, y), one number for every pair; `pairwise_distance` by default.
        margin: how much closer, positive.
        swap: use the distance from the positive to the negative where it is smaller.
        reduction: "mean", "sum" or "none".

    Returns:
        A 0-d tensor, or with reduction="none" one of the distance's shape.

    Raises:
        ShapeError: different numbers of dimensions.
        DTypeError: not floating point.
        ValueError: an unknown reduction, or a margin that is not positive.

    Example:
        >>> import tinygrad_ed as tg
        >>> a, p, n = tg.tensor([[0.0, 0.0]]), tg.tensor([[3.0, 4.0]]), tg.tensor([[0.0, 6.0]])
        >>> triplet_margin_with_distance_loss(a, p, n, distance_function=lambda x, y: (x - y).abs().sum(-1))
        tensor(2.)
    """
    check_reduction(reduction)
    check_float("triplet_margin_loss", anchor=anchor, positive=positive, negative=negative)
    if not margin > 0:
        raise ValueError(f"triplet_margin_loss takes a positive margin, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise ShapeError(f"triplet_margin_loss takes tensors of one number of dimensions, got shapes {anchor.shape}, {positive.shape} "
                         f"and {negative.shape}")
    d = pairwise_distance if distance_function is None else distance_function
    near, far = d(anchor, positive), d(anchor, negative)
    if swap:
        far = minimum(far, d(positive, negative))
    return reduced(clamp(near - far + margin, min=0), reduction)
