"""Lion: the sign of a momentum."""
from __future__ import annotations

from typing import Any, Iterable

from ..backend import namespace
from .flat import Piece
from .optimizer import Optimizer, shrinkage

__all__ = ["Lion"]


class Lion(Optimizer):
    """Lion, the evolved sign momentum (Chen et al., 2023): every element moves by lr, so lr is smaller than Adam's, by 3 to 10 times.

        θ ← (1 - lr·weight_decay)·θ
        θ ← θ - lr·sign(β₁·m + (1 - β₁)·∇f(θ))
        m ← β₂·m + (1 - β₂)·∇f(θ)

    PyTorch has no Lion; the arguments are the paper's, in PyTorch's manner.

    Args:
        params: the parameters, as for `Optimizer`.
        lr: the learning rate.
        betas: (β₁, β₂), how much momentum goes into the step, and how slowly it moves.
        weight_decay: by how much, in units of lr, a step shrinks the parameters.
        maximize: go uphill.
        foreach, capturable, fused: accepted as for PyTorch's methods, where they choose between equal implementations.
        differentiable: only False; steps are not recorded.

    Raises:
        ValueError: a negative option, or betas outside [0, 1).

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor([1.0, -3.0], requires_grad=True)
        >>> optimizer = tg.optim.Lion([p], lr=0.25)
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> p.detach()
        tensor([ 0.7500, -2.7500])
    """

    _like_parameter = ("exp_avg",)

    def __init__(self, params: Iterable, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0, *,
                 maximize: bool = False, foreach: bool | None = None, capturable: bool = False, differentiable: bool = False,
                 fused: bool | None = None):
        super().__init__(params, dict(lr=lr, betas=tuple(betas), weight_decay=weight_decay, maximize=maximize, foreach=foreach,
                                      capturable=capturable, differentiable=differentiable, fused=fused))

    def _rates(self, group: dict[str, Any], numbers: dict[str, float]) -> tuple[float, ...]:
        return float(group["lr"]), shrinkage(group)

    def _update(self, group: dict[str, Any], x: Piece) -> None:
        (lr, shrink), m, (beta1, beta2) = x.rates, x.state["exp_avg"], group["betas"]
        g = -x.g if group["maximize"] else x.g
        x.p *= shrink
        x.p -= lr * namespace(m).sign(beta1 * m + (1 - beta1) * g)
        m *= beta2
        m += (1 - beta2) * g
