"""NAdam: Adam with Nesterov's momentum."""
from __future__ import annotations

from typing import Any, Iterable

import numpy as np

from ..backend import namespace
from .flat import Piece
from .optimizer import Optimizer, shrinkage, uphill

__all__ = ["NAdam"]


class NAdam(Optimizer):
    """NAdam (Dozat, 2016): Adam that looks ahead by one momentum step, with a momentum that grows.

        g ← ∇f(θ) + weight_decay·θ
        m ← β₁·m + (1 - β₁)·g
        v ← β₂·v + (1 - β₂)·g²
        μₜ = β₁·(1 - 0.96^(t·momentum_decay) / 2),  Πₜ = μ₁·…·μₜ
        m̂ = (1 - μₜ)·g / (1 - Πₜ) + μₜ₊₁·m / (1 - Πₜ·μₜ₊₁)
        θ ← θ - lr·m̂ / (√v̂ + eps),  v̂ = v / (1 - β₂ᵗ)

    Args:
        params: the parameters, as for `Optimizer`.
        lr: the learning rate.
        betas: (β₁, β₂), how slowly the two averages move.
        eps: added to the denominator.
        weight_decay: the factor of the L2 penalty.
        momentum_decay: how fast μ grows from β₁/2 to β₁.
        decoupled_weight_decay: shrink θ itself instead of adding the penalty to the gradient, as AdamW does.
        maximize: go uphill.
        foreach, capturable: accepted as in PyTorch, where they choose between equal implementations.
        differentiable: only False; steps are not recorded.

    Raises:
        ValueError: a negative option, or betas outside [0, 1).

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor(1.0, requires_grad=True)
        >>> optimizer = tg.optim.NAdam([p], lr=0.1)
        >>> (p * p).backward()
        >>> optimizer.step()
        >>> round(p.item(), 3)
        0.894
    """

    _like_parameter = ("exp_avg", "exp_avg_sq")
    _numbers = {"step": 0, "mu_product": 1}
    _not_negative = (*Optimizer._not_negative, "momentum_decay")

    def __init__(self, params: Iterable, lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False, *,
                 foreach: bool | None = None, maximize: bool = False, capturable: bool = False, differentiable: bool = False):
        super().__init__(params, dict(lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay,
                                      decoupled_weight_decay=decoupled_weight_decay, maximize=maximize, foreach=foreach,
                                      capturable=capturable, differentiable=differentiable))

    def _advance(self, group: dict[str, Any], numbers: dict[str, float]) -> None:
        super()._advance(group, numbers)
        mu = _momentum(group, numbers["step"])
        numbers["mu_product"] = float(np.float32(numbers["mu_product"]) * np.float32(mu))      # the precision that the state keeps

    def _rates(self, group: dict[str, Any], numbers: dict[str, float]) -> tuple[float, ...]:
        lr, t, product = float(group["lr"]), numbers["step"], numbers["mu_product"]
        mu, next_mu = _momentum(group, t), _momentum(group, t + 1)
        return lr * (1 - mu) / (1 - product), lr * next_mu / (1 - product * next_mu), 1 - group["betas"][1] ** t, shrinkage(group)

    def _update(self, group: dict[str, Any], x: Piece) -> None:
        (now, ahead, unbiased, _), m, v, (beta1, beta2) = x.rates, x.state["exp_avg"], x.state["exp_avg_sq"], group["betas"]
        g = uphill(group, x)
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        x.p -= (now * g + ahead * m) / (namespace(v).sqrt(v / unbiased) + group["eps"])


def _momentum(group: dict[str, Any], t: float) -> float:
    """μₜ."""
    return group["betas"][0] * (1 - 0.5 * 0.96 ** (t * group["momentum_decay"]))
