"""RAdam: Adam that trusts its denominator only once it has seen enough gradients."""
from __future__ import annotations

import math
from typing import Any, Iterable

from ..backend import namespace
from .flat import Piece
from .optimizer import Optimizer, shrinkage, uphill

__all__ = ["RAdam"]


class RAdam(Optimizer):
    """RAdam (Liu et al., 2020): Adam, rectified for the variance of its denominator in the first steps.

        g ← ∇f(θ) + weight_decay·θ
        m ← β₁·m + (1 - β₁)·g,    m̂ = m / (1 - β₁ᵗ)
        v ← β₂·v + (1 - β₂)·g²,   ṽ = (√v + eps) / √(1 - β₂ᵗ)
        ρ∞ = 2/(1 - β₂) - 1,      ρₜ = ρ∞ - 2t·β₂ᵗ / (1 - β₂ᵗ)           (how many gradients v averages)
        θ ← θ - lr·m̂                                                    where ρₜ ≤ 5
        θ ← θ - lr·m̂·r / ṽ,   r² = (ρₜ - 4)(ρₜ - 2)ρ∞ / ((ρ∞ - 4)(ρ∞ - 2)ρₜ)   else

    Args:
        params: the parameters, as for `Optimizer`.
        lr: the learning rate.
        betas: (β₁, β₂), how slowly the two averages move.
        eps: added to the denominator.
        weight_decay: the factor of the L2 penalty.
        decoupled_weight_decay: shrink θ itself instead of adding the penalty to the gradient, as AdamW does.
        maximize: go uphill.
        foreach, capturable: accepted as in PyTorch, where they choose between equal implementations.
        differentiable: only False; steps are not recorded.

    Raises:
        ValueError: a negative option, or betas outside [0, 1).

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor(1.0, requires_grad=True)
        >>> optimizer = tg.optim.RAdam([p], lr=0.1)
        >>> (p * p).backward()
        >>> optimizer.step()
        >>> round(p.item(), 3)
        0.8
    """

    _like_parameter = ("exp_avg", "exp_avg_sq")
    _numbers = {"step": 0}

    def __init__(self, params: Iterable, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, decoupled_weight_decay: bool = False, *, foreach: bool | None = None, maximize: bool = False,
                 capturable: bool = False, differentiable: bool = False):
        super().__init__(params, dict(lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay, maximize=maximize, foreach=foreach,
                                      capturable=capturable, decoupled_weight_decay=decoupled_weight_decay,
                                      differentiable=differentiable))

    def _rates(self, group: dict[str, Any], numbers: dict[str, float]) -> tuple[float, ...]:
        t, (beta1, beta2) = numbers["step"], group["betas"]
        rate, longest = float(group["lr"]) / (1 - beta1 ** t), 2 / (1 - beta2) - 1          # the latter is ρ∞
        length = longest - 2 * t * beta2 ** t / (1 - beta2 ** t)
        if length <= 5:
            return rate, 0.0, shrinkage(group)
        r = math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
        return rate * r * math.sqrt(1 - beta2 ** t), 1.0, shrinkage(group)

    def _update(self, group: dict[str, Any], x: Piece) -> None:
        (rate, tractable, _), m, v, (beta1, beta2) = x.rates, x.state["exp_avg"], x.state["exp_avg_sq"], group["betas"]
        g = uphill(group, x)
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        x.p -= rate * m / (tractable * (namespace(v).sqrt(v) + group["eps"]) + (1 - tractable))
