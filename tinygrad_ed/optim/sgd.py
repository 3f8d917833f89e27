"""SGD: stochastic gradient descent, with momentum."""
from __future__ import annotations

from typing import Any, Iterable

from .flat import Piece
from .optimizer import Optimizer, uphill

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum as of Polyak (1964) or Nesterov (1983).

        g ← ∇f(θ) + weight_decay·θ
        v ← momentum·v + (1 - dampening)·g          (v ← g at the first step)
        θ ← θ - lr·v                                (nesterov: lr·(g + momentum·v))

    Args:
        params: the parameters, as for `Optimizer`.
        lr: the learning rate.
        momentum: how much of the last step goes into the next.
        dampening: how much less of the gradient goes into it.
        weight_decay: the factor of the L2 penalty.
        nesterov: look ahead by one momentum step; needs a momentum and no dampening.
        maximize: go uphill.
        foreach, fused: accepted as in PyTorch, where they choose between equal implementations.
        differentiable: only False; steps are not recorded.

    Raises:
        ValueError: a negative option, or nesterov without momentum or with dampening.

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor(1.0, requires_grad=True)
        >>> optimizer = tg.optim.SGD([p], lr=0.1)
        >>> (p * p).backward()
        >>> optimizer.step()
        >>> round(p.item(), 3)
        0.8
    """

    _like_parameter = ("momentum_buffer",)

    def __init__(self, params: Iterable, lr: float = 1e-3, momentum: float = 0, dampening: float = 0, weight_decay: float = 0,
                 nesterov: bool = False, *, maximize: bool = False, foreach: bool | None = None, differentiable: bool = False,
                 fused: bool | None = None):
        super().__init__(params, dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov,
                                      maximize=maximize, foreach=foreach, differentiable=differentiable, fused=fused))

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(f"nesterov needs a momentum above 0 and no dampening, got momentum={group['momentum']}, "
                             f"dampening={group['dampening']}; write momentum=0.9")

    def _entries(self, group: dict[str, Any]) -> Iterable[str]:
        return self._like_parameter if group["momentum"] else ()

    def _update(self, group: dict[str, Any], x: Piece) -> None:
        momentum, g = group["momentum"], uphill(group, x)
        if momentum:
            v = x.state["momentum_buffer"]
            if x.first:
                v[...] = g
            else:
                v *= momentum
                v += (1 - group["dampening"]) * g if group["dampening"] else g
            g = g + momentum * v if group["nesterov"] else v
        x.p -= float(group["lr"]) * g
