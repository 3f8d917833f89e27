"""Distances and similarities of vectors: of pairs, and of all pairs of two sets of points."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.op import op
from ..backend.kernels import kernels
from ..dtypes import FLOATS
from ..errors import DTypeError, ShapeError
from ..tensor import Tensor
from .arguments import require_float
from .broadcast import expand_to, reshape_to, sum_over
from .elementwise import clamp, where
from .index import index_select
from .matmul import matmul
from .matmul.core import mT
from .reduce import norm
from .shape import broadcast_tensors

__all__ = ["cdist", "cosine_similarity", "pairwise_distance", "pdist"]

MODES = ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")


# -- of pairs ----------------------------------------------------------------------------------------------------------

def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors, x₁·x₂ / (max(|x₁|, ε)·max(|x₂|, ε)).

    Args:
        x1: vectors along dimension dim; a floating point tensor.
        x2: vectors of a shape that broadcasts with it.
        dim: the dimension of the vectors in the common shape.
        eps: ε, the smallest length that is divided by.

    Returns:
        A tensor of the common shape without that dimension.

    Raises:
        DTypeError: integers.
        ShapeError: shapes that do not broadcast.
        DimError: a dimension outside the tensors.

    Example:
        >>> import tinygrad_ed as tg
        >>> cosine_similarity(tg.tensor([[1.0, 0.0], [1.0, 1.0]]), tg.tensor([[0.0, 2.0], [3.0, 3.0]]))
        tensor([0., 1.])
    """
    if x1.dtype.kind not in FLOATS and x2.dtype.kind not in FLOATS:
        raise DTypeError(f"cosine_similarity is defined for floating point tensors, got {x1.dtype} and {x2.dtype}; write x.float()")
    if x1.shape != x2.shape:
        x1, x2 = broadcast_tensors(x1, x2)
    x1, x2 = (x / clamp(norm(x, 2, dim, keepdim=True), min=eps) for x in (x1, x2))
    return (x1 * x2).sum(dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The distances |x₁ - x₂ + ε| in the p-norm, of vectors along the last dimension.

    Args:
        x1: a floating point tensor of shape (N, D) or (D).
        x2: a tensor of a shape that broadcasts with it.
        p: the power of the norm, also 0, ∞ or negative.
        eps: ε, which keeps the derivative of the distance of equal vectors from being undefined.
        keepdim: keep the last dimension, with length 1.

    Returns:
        A tensor of the common shape without the last dimension.

    Raises:
        DTypeError: integers.
        ShapeError: shapes that do not broadcast.

    Example:
        >>> import tinygrad_ed as tg
        >>> pairwise_distance(tg.tensor([[0.0, 0.0]]), tg.tensor([[3.0, 4.0]]))
        tensor([5.0000])
    """
    return norm(x1 - x2 + eps, p, -1, keepdim)


# -- of all pairs ------------------------------------------------------------------------------------------------------

def _euclidean_of(xp: Any, x1: Any, x2: Any) -> Any:
    """√(|a|² + |b|² - 2ab), which is one matrix product."""
    squares = matmul(x1, mT(x2))
    squares *= -2
    squares += (x1 * x1).sum(-1)[..., None]
    squares += (x2 * x2).sum(-1)[..., None, :]
    return xp.sqrt(xp.maximum(squares, 0, out=squares), out=squares)


def _pull(g: Any, y: Any, a: Any, b: Any, turn: bool) -> Any:
    """Σ_j g_ij·(a_i - b_j)/y_ij, and 0 where y is 0; with `turn`, g and y are (b, a)."""
    w = where(y == 0, 0.0, g / where(y == 0, 1.0, y))
    w = mT(w) if turn else w
    return a * sum_over(w, dims=(w.ndim - 1,), keepdim=True) - matmul(w, b)


_euclidean = op("cdist", _euclidean_of, x1=lambda g, y, x1, x2: _pull(g, y, x1, x2, False),
                x2=lambda g, y, x1, x2: _pull(g, y, x2, x1, True))
_minkowski = op("cdist", lambda x1, x2, *, p: kernels(x1).minkowski(x1, x2, p),
                composed=lambda x1, x2, *, p: norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1),
                gradients=lambda g, x1, x2, y, p: kernels(g).minkowski_backward(g, x1, x2, y, p))


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = MODES[0]) -> Tensor:
    """The distances |x₁ - x₂| in the p-norm, of all pairs of two sets of points; the derivative at distance 0 is 0.

    Args:
        x1: points of shape (…, P, M).
        x2: points of shape (…, R, M), of the same dtype; the dimensions before the last two broadcast.
        p: the power of the norm, at least 0: 0 counts the coordinates that differ, ∞ takes the largest difference.
        compute_mode: for p = 2, whether distances come from one matrix product, √(|a|² + |b|² - 2ab): much faster for many points, less
            exact for points that almost coincide. "use_mm_for_euclid_dist_if_necessary" (with more than 25 points in a set),
            "use_mm_for_euclid_dist" or "donot_use_mm_for_euclid_dist".

    Returns:
        A tensor of shape (…, P, R).

    Raises:
        ShapeError: fewer than 2 dimensions, or shapes that do not fit.
        DTypeError: integers, or two dtypes.
        ValueError: a negative p, or an unknown compute_mode.

    Example:
        >>> import tinygrad_ed as tg
        >>> cdist(tg.tensor([[0.0, 0.0], [3.0, 0.0]]), tg.tensor([[0.0, 4.0]]))
        tensor([[4.],
                [5.]])
    """
    _check_points("cdist", x1, p)
    _check_points("cdist", x2, p)
    if compute_mode not in MODES:
        raise ValueError(f"compute_mode is one of {', '.join(MODES)}, got {compute_mode!r}")
    if x1.dtype != x2.dtype:
        raise DTypeError(f"cdist takes tensors of one dtype, got {x1.dtype} and {x2.dtype}; write x2.to(x1.dtype)")
    if x1.shape[-1] != x2.shape[-1]:
        raise ShapeError(f"cdist: points of x1 have {x1.shape[-1]} coordinates, those of x2 {x2.shape[-1]} (shapes {x1.shape} "
                         f"and {x2.shape})")
    try:
        batch = np.broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
    except ValueError:
        raise ShapeError(f"cdist: the batch dimensions of {x1.shape} and {x2.shape} do not broadcast") from None
    shape = (*batch, x1.shape[-2], x2.shape[-2])
    many = max(shape[-2:]) > 25 if compute_mode == MODES[0] else compute_mode == MODES[1]
    x1, x2 = (reshape_to(expand_to(x, shape=batch + x.shape[-2:]), shape=(math.prod(batch), *x.shape[-2:])) for x in (x1, x2))
    return reshape_to(_distances(x1, x2, float(p), many), shape=shape)


def _distances(x1: Tensor, x2: Tensor, p: float, by_product: bool) -> Tensor:
    """Distances of points (B, P, M) and (B, R, M)."""
    if p in (0, math.inf):
        return norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)
    if p != 2 or not by_product:
        return _minkowski(x1, x2, p=p)
    if x2.numel():
        middle = x2.detach().mean(1, keepdim=True)     # distances do not change, and small coordinates cancel less
        x1, x2 = x1 - middle, x2 - middle
    return _euclidean(x1, x2)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The distances of all pairs i < j of points: the upper triangle of `cdist(input, input)`, row by row.

    Args:
        input: points of shape (N, M).
        p: the power of the norm, at least 0.

    Returns:
        A tensor of shape (N·(N - 1)/2).

    Raises:
        ShapeError: not two dimensions.
        DTypeError: integers.
        ValueError: a negative p.

    Example:
        >>> import tinygrad_ed as tg
        >>> pdist(tg.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]))
        tensor([5.0000, 1.0000, 4.2426])
    """
    _check_points("pdist", input, p)
    if input.ndim != 2:
        raise ShapeError(f"pdist takes points (N, M), got shape {input.shape}")
    n = len(input)
    i, j = np.triu_indices(n, 1)
    return index_select(cdist(input, input, p, MODES[2]).reshape(-1), 0, Tensor(i * n + j).to(device=input.device))


def _check_points(name: str, x: Tensor, p: float) -> None:
    require_float(x, name)
    if not p >= 0:
        raise ValueError(f"{name} takes a p of at least 0, got {p}")
    if x.ndim < 2:
        raise ShapeError(f"{name} takes points of shape (..., P, M), got shape {x.shape}")
