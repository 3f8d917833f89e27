"""RMSprop: the gradient in units of its recent size."""
from __future__ import annotations

from typing import Any, Iterable

from ..backend import namespace
from .flat import Piece
from .optimizer import Optimizer, uphill

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton, 2012), centered as of Graves (2013).

        g ← ∇f(θ) + weight_decay·θ
        v ← alpha·v + (1 - alpha)·g²
        m ← alpha·m + (1 - alpha)·g                           (centered, which divides by √(v - m²) instead of √v)
        b ← momentum·b + g / (√v + eps)
        θ ← θ - lr·b

    Args:
        params: the parameters, as for `Optimizer`.
        lr: the learning rate.
        alpha: how slowly the averages move.
        eps: added to the denominator.
        weight_decay: the factor of the L2 penalty.
        momentum: how much of the last step goes into the next.
        centered: divide by the standard deviation of the gradients instead of their root mean square.
        capturable, foreach: accepted as in PyTorch, where they choose between equal implementations.
        maximize: go uphill.
        differentiable: only False; steps are not recorded.

    Raises:
        ValueError: a negative option.

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor(1.0, requires_grad=True)
        >>> optimizer = tg.optim.RMSprop([p], lr=0.1, alpha=0.75)
        >>> (p * p).backward()
        >>> optimizer.step()
        >>> round(p.item(), 3)
        0.8
    """

    _like_parameter = ("square_avg", "momentum_buffer", "grad_avg")
    _numbers = {"step": 0}
    _not_negative = (*Optimizer._not_negative, "alpha")

    def __init__(self, params: Iterable, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0,
                 momentum: float = 0, centered: bool = False, capturable: bool = False, foreach: bool | None = None,
                 maximize: bool = False, differentiable: bool = False):
        super().__init__(params, dict(lr=lr, momentum=momentum, alpha=alpha, eps=eps, centered=centered, weight_decay=weight_decay,
                                      capturable=capturable, foreach=foreach, maximize=maximize, differentiable=differentiable))

    def _entries(self, group: dict[str, Any]) -> Iterable[str]:
        unused = {"momentum_buffer": not group["momentum"], "grad_avg": not group["centered"]}
        return [name for name in self._like_parameter if not unused.get(name)]

    def _rates(self, group: dict[str, Any], numbers: dict[str, float]) -> tuple[float, ...]:
        return float(group["lr"]),

    def _update(self, group: dict[str, Any], x: Piece) -> None:
        (lr,), v, alpha, g, xp = x.rates, x.state["square_avg"], group["alpha"], uphill(group, x), namespace(x.p)
        v *= alpha
        v += (1 - alpha) * g * g
        if group["centered"]:
            m = x.state["grad_avg"]
            m *= alpha
            m += (1 - alpha) * g
            v = xp.maximum(v - m * m, 0)              # rounding may bring it below 0
        b = g / (xp.sqrt(v) + group["eps"])
        if group["momentum"]:
            x.state["momentum_buffer"] *= group["momentum"]
            x.state["momentum_buffer"] += b
            b = x.state["momentum_buffer"]
        x.p -= lr * b
