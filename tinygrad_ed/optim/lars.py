"""LARS: SGD whose step is a fixed part of each layer's size."""
from __future__ import annotations

from typing import Any, Iterable

from ..backend import namespace
from .flat import Piece
from .optimizer import Optimizer, norm

__all__ = ["LARS"]


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling (You, Gitman and Ginsburg, 2017), for large batches.

        λ = trust_coefficient·‖θ‖ / (‖∇f(θ)‖ + weight_decay·‖θ‖),  1 where θ or ∇f(θ) is 0
        v ← momentum·v + lr·λ·(∇f(θ) + weight_decay·θ)
        θ ← θ - v

    λ belongs to a parameter, such as a layer's weight. Give parameters that should not be scaled, biases often, to an SGD.
    PyTorch has no LARS; the arguments are the paper's, in PyTorch's manner.

    Args:
        params: the parameters, as for `Optimizer`.
        lr: the learning rate.
        momentum: how much of the last step goes into the next.
        weight_decay: the factor of the L2 penalty.
        trust_coefficient: how large a step may be in units of the parameter.
        maximize: go uphill.
        foreach: accepted as for PyTorch's methods, where it chooses between equal implementations.
        differentiable: only False; steps are not recorded.

    Raises:
        ValueError: a negative option.

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor([3.0, 4.0], requires_grad=True)
        >>> optimizer = tg.optim.LARS([p], lr=1.0, weight_decay=0, trust_coefficient=0.1)
        >>> (100 * p).sum().backward()
        >>> optimizer.step()
        >>> round((p.detach() - tg.tensor([3.0, 4.0])).norm().item(), 3)
        0.5
    """

    _like_parameter = ("momentum_buffer",)
    _elementwise = False
    _not_negative = (*Optimizer._not_negative, "trust_coefficient")

    def __init__(self, params: Iterable, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 5e-4,
                 trust_coefficient: float = 1e-3, *, maximize: bool = False, foreach: bool | None = None, differentiable: bool = False):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay, trust_coefficient=trust_coefficient,
                                      maximize=maximize, foreach=foreach, differentiable=differentiable))

    def _rates(self, group: dict[str, Any], numbers: dict[str, float]) -> tuple[float, ...]:
        return float(group["lr"]),

    def _update(self, group: dict[str, Any], x: Piece) -> None:
        (lr,), v, decay, xp = x.rates, x.state["momentum_buffer"], group["weight_decay"], namespace(x.p)
        g, size = -x.g if group["maximize"] else x.g, norm(x.p)
        slope = norm(g)
        trust = xp.where((size > 0) & (slope > 0), group["trust_coefficient"] * size / (slope + decay * size), 1)
        v *= group["momentum"]
        v += lr * trust * (g + decay * x.p)
        x.p -= v
