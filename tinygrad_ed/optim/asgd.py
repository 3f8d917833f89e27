"""ASGD: stochastic gradient descent whose average over the path is the answer."""
from __future__ import annotations

from typing import Any, Iterable

import numpy as np

from .flat import Piece
from .optimizer import Optimizer, uphill

__all__ = ["ASGD"]


class ASGD(Optimizer):
    """Averaged stochastic gradient descent (Polyak and Juditsky, 1992), with shrinking steps (Bottou, 2010).

        g ← ∇f(θ) + weight_decay·θ
        θ ← (1 - lambd·η)·θ - η·g
        ax ← ax + μ·(θ - ax)                                  the average, in the state; θ itself while μ = 1
        η ← lr / (1 + lambd·lr·t)^alpha,  μ ← 1 / max(1, t - t0)       for the next step; η = lr at the first

    Args:
        params: the parameters, as for `Optimizer`.
        lr: the learning rate.
        lambd: how strongly θ decays.
        alpha: the power with which η falls.
        t0: the step at which averaging begins.
        weight_decay: the factor of the L2 penalty.
        foreach, capturable: accepted as in PyTorch, where they choose between equal implementations.
        maximize: go uphill.
        differentiable: only False; steps are not recorded.

    Raises:
        ValueError: a negative lr or weight_decay.

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor(1.0, requires_grad=True)
        >>> optimizer = tg.optim.ASGD([p], lr=0.1, lambd=0, t0=0)
        >>> for g in (1.0, 2.0, 3.0):
        ...     p.grad = tg.tensor(g)
        ...     optimizer.step()
        >>> round(p.item(), 3), round(optimizer.state[p]["ax"].item(), 3)
        (0.4, 0.55)
    """

    _like_parameter = ("ax",)
    _numbers = {"step": 0, "eta": 0, "mu": 1}

    def __init__(self, params: Iterable, lr: float = 1e-2, lambd: float = 1e-4, alpha: float = 0.75, t0: float = 1e6,
                 weight_decay: float = 0, foreach: bool | None = None, maximize: bool = False, differentiable: bool = False,
                 capturable: bool = False):
        super().__init__(params, dict(lr=lr, lambd=lambd, alpha=alpha, t0=t0, weight_decay=weight_decay, foreach=foreach,
                                      maximize=maximize, differentiable=differentiable, capturable=capturable))

    def _advance(self, group: dict[str, Any], numbers: dict[str, float]) -> None:
        super()._advance(group, numbers)
        if numbers["step"] == 1:
            numbers["eta"] = float(np.float32(float(group["lr"])))      # the precision that the state keeps

    def _rates(self, group: dict[str, Any], numbers: dict[str, float]) -> tuple[float, ...]:
        eta, mu = numbers["eta"], numbers["mu"]
        return 1 - group["lambd"] * eta, eta, 1 - mu, mu

    def _finish(self, group: dict[str, Any], numbers: dict[str, float]) -> None:
        lr, t = float(group["lr"]), numbers["step"]
        numbers["eta"] = lr / (1 + group["lambd"] * lr * t) ** group["alpha"]
        numbers["mu"] = 1 / max(1.0, t - group["t0"])

    def _update(self, group: dict[str, Any], x: Piece) -> None:
        (shrink, eta, rest, mu), ax, g = x.rates, x.state["ax"], uphill(group, x)
        x.p *= shrink
        x.p -= eta * g
        ax *= rest
        ax += mu * x.p
