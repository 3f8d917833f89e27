"""Distances and similarities of vectors, as modules; their mathematics is in `ops/distance.py`."""
from __future__ import annotations

from ..tensor import Tensor
from . import functional as F
from .module import Module

__all__ = ["CosineSimilarity", "PairwiseDistance"]


class CosineSimilarity(Module):
    """The cosine of the angle between vectors; see `functional.cosine_similarity`.

    Args:
        dim: the dimension of the vectors.
        eps: the smallest length that is divided by.

    Shapes:
        Inputs: (…, D, …), two of them that broadcast. Output: (…, …), without dimension dim.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.CosineSimilarity()(tg.tensor([[1.0, 0.0]]), tg.tensor([[0.0, 2.0]]))
        tensor([0.])
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8):
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The distance of vectors in a p-norm; see `functional.pairwise_distance`.

    Args:
        p: the power of the norm.
        eps: added to the differences.
        keepdim: keep the last dimension, with length 1.

    Shapes:
        Inputs: (N, D) or (D), two of them that broadcast. Output: (N) or (); with keepdim (N, 1) or (1).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.PairwiseDistance()(tg.tensor([[0.0, 0.0]]), tg.tensor([[3.0, 4.0]]))
        tensor([5.0000])
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False):
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
