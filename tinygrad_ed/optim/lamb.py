"""LAMB: Adam whose step is in units of each layer's size."""
from __future__ import annotations

import math
from typing import Any, Iterable

from ..backend import namespace
from .flat import Piece
from .optimizer import Optimizer, norm

__all__ = ["LAMB"]


class LAMB(Optimizer):
    """Layer-wise adaptive moments (You et al., 2020), for large batches: the norm of a step is lr·‖θ‖ in each layer.

        m ← β₁·m + (1 - β₁)·∇f(θ),     m̂ = m / (1 - β₁ᵗ)
        v ← β₂·v + (1 - β₂)·∇f(θ)²,    v̂ = v / (1 - β₂ᵗ)
        u = m̂ / (√v̂ + eps) + weight_decay·θ
        θ ← θ - lr·‖θ‖ / ‖u‖ · u,     the ratio is 1 where θ or u is 0

    PyTorch has no LAMB; the arguments are the paper's, in PyTorch's manner.

    Args:
        params: the parameters, as for `Optimizer`.
        lr: the learning rate.
        betas: (β₁, β₂), how slowly the two averages move.
        eps: added to the denominator.
        weight_decay: how much of θ goes into a step.
        maximize: go uphill.
        foreach, capturable, fused: accepted as for PyTorch's methods, where they choose between equal implementations.
        differentiable: only False; steps are not recorded.

    Raises:
        ValueError: a negative option, or betas outside [0, 1).

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor([3.0, 4.0], requires_grad=True)
        >>> optimizer = tg.optim.LAMB([p], lr=0.1)
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> round((p.detach() - tg.tensor([3.0, 4.0])).norm().item(), 3)
        0.5
    """

    _like_parameter = ("exp_avg", "exp_avg_sq")
    _numbers = {"step": 0}
    _elementwise = False

    def __init__(self, params: Iterable, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-6,
                 weight_decay: float = 1e-2, *, maximize: bool = False, foreach: bool | None = None, capturable: bool = False,
                 differentiable: bool = False, fused: bool | None = None):
        super().__init__(params, dict(lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay, maximize=maximize, foreach=foreach,
                                      capturable=capturable, differentiable=differentiable, fused=fused))

    def _rates(self, group: dict[str, Any], numbers: dict[str, float]) -> tuple[float, ...]:
        t, (beta1, beta2) = numbers["step"], group["betas"]
        return float(group["lr"]), 1 - beta1 ** t, math.sqrt(1 - beta2 ** t)

    def _update(self, group: dict[str, Any], x: Piece) -> None:
        (lr, c1, c2), m, v, (beta1, beta2) = x.rates, x.state["exp_avg"], x.state["exp_avg_sq"], group["betas"]
        g, xp = -x.g if group["maximize"] else x.g, namespace(x.p)
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        u = m / c1 / (xp.sqrt(v) / c2 + group["eps"])
        u += group["weight_decay"] * x.p
        size, length = norm(x.p), norm(u)
        x.p -= lr * xp.where((size > 0) & (length > 0), size / length, 1) * u
