"""Adamax: Adam with the largest gradient in place of the root mean square."""
from __future__ import annotations

from typing import Any, Iterable

from ..backend import namespace
from .flat import Piece
from .optimizer import Optimizer, uphill

__all__ = ["Adamax"]


class Adamax(Optimizer):
    """Adamax (Kingma and Ba, 2015): Adam in the infinity norm.

        g ← ∇f(θ) + weight_decay·θ
        m ← β₁·m + (1 - β₁)·g
        u ← max(β₂·u, |g| + eps)
        θ ← θ - lr / (1 - β₁ᵗ) · m / u

    Args:
        params: the parameters, as for `Optimizer`.
        lr: the learning rate.
        betas: (β₁, β₂), how slowly the average moves and how fast a large gradient is forgotten.
        eps: added to the size of the gradient.
        weight_decay: the factor of the L2 penalty.
        maximize: go uphill.
        foreach, capturable: accepted as in PyTorch, where they choose between equal implementations.
        differentiable: only False; steps are not recorded.

    Raises:
        ValueError: a negative option, or betas outside [0, 1).

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor(1.0, requires_grad=True)
        >>> optimizer = tg.optim.Adamax([p], lr=0.1)
        >>> (p * p).backward()
        >>> optimizer.step()
        >>> round(p.item(), 3)
        0.9
    """

    _like_parameter = ("exp_avg", "exp_inf")
    _numbers = {"step": 0}

    def __init__(self, params: Iterable, lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, foreach: bool | None = None, *, maximize: bool = False, differentiable: bool = False,
                 capturable: bool = False):
        super().__init__(params, dict(lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay, foreach=foreach, maximize=maximize,
                                      differentiable=differentiable, capturable=capturable))

    def _rates(self, group: dict[str, Any], numbers: dict[str, float]) -> tuple[float, ...]:
        return float(group["lr"]) / (1 - group["betas"][0] ** numbers["step"]),

    def _update(self, group: dict[str, Any], x: Piece) -> None:
        m, u, (beta1, beta2) = x.state["exp_avg"], x.state["exp_inf"], group["betas"]
        (rate,), g, xp = x.rates, uphill(group, x), namespace(x.p)
        m *= beta1
        m += (1 - beta1) * g
        u *= beta2
        xp.maximum(u, abs(g) + group["eps"], out=u)
        x.p -= rate * m / u
