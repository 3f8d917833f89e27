"""Adadelta: steps in units of the steps before."""
from __future__ import annotations

from typing import Any, Iterable

from ..backend import namespace
from .flat import Piece
from .optimizer import Optimizer, uphill

__all__ = ["Adadelta"]


class Adadelta(Optimizer):
    """Adadelta (Zeiler, 2012): the gradient in units of its own size, times the size of the steps so far.

        g ← ∇f(θ) + weight_decay·θ
        v ← rho·v + (1 - rho)·g²
        Δ = √(u + eps) / √(v + eps) · g
        u ← rho·u + (1 - rho)·Δ²
        θ ← θ - lr·Δ

    Args:
        params: the parameters, as for `Optimizer`.
        lr: a factor of the steps.
        rho: how slowly the averages move, in [0, 1].
        eps: added to both averages; it decides how large the first steps are.
        weight_decay: the factor of the L2 penalty.
        maximize: go uphill.
        foreach, capturable: accepted as in PyTorch, where they choose between equal implementations.
        differentiable: only False; steps are not recorded.

    Raises:
        ValueError: a negative option, or rho above 1.

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor(1.0, requires_grad=True)
        >>> optimizer = tg.optim.Adadelta([p], eps=0.01)
        >>> (p * p).backward()
        >>> optimizer.step()
        >>> round(p.item(), 3)
        0.688
    """

    _like_parameter = ("square_avg", "acc_delta")
    _numbers = {"step": 0}

    def __init__(self, params: Iterable, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0,
                 foreach: bool | None = None, *, capturable: bool = False, maximize: bool = False, differentiable: bool = False):
        super().__init__(params, dict(lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize, capturable=capturable,
                                      foreach=foreach, differentiable=differentiable))

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        if not 0.0 <= group["rho"] <= 1.0:
            raise ValueError(f"rho lies in [0, 1], got {group['rho']}")

    def _rates(self, group: dict[str, Any], numbers: dict[str, float]) -> tuple[float, ...]:
        return float(group["lr"]),

    def _update(self, group: dict[str, Any], x: Piece) -> None:
        v, u, rho, eps = x.state["square_avg"], x.state["acc_delta"], group["rho"], group["eps"]
        (lr,), g, xp = x.rates, uphill(group, x), namespace(x.p)
        v *= rho
        v += (1 - rho) * g * g
        delta = xp.sqrt((u + eps) / (v + eps)) * g
        u *= rho
        u += (1 - rho) * delta * delta
        x.p -= lr * delta
