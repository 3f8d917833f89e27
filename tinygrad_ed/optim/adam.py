"""Adam, and AdamW, whose weight decay stays out of the moments."""
from __future__ import annotations

import math
from typing import Any, Iterable

from ..backend.kernels import kernels
from .flat import Piece
from .optimizer import Optimizer, shrinkage

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015): steps of the size of lr, along averages of the gradient in units of its own scale.

        g ← ∇f(θ) + weight_decay·θ
        m ← β₁·m + (1 - β₁)·g
        v ← β₂·v + (1 - β₂)·g²
        θ ← θ - lr·m̂ / (√v̂ + eps),  m̂ = m / (1 - β₁ᵗ),  v̂ = v / (1 - β₂ᵗ)

    Args:
        params: the parameters, as for `Optimizer`.
        lr: the learning rate.
        betas: (β₁, β₂), how slowly the two averages move.
        eps: added to the denominator.
        weight_decay: the factor of the L2 penalty.
        amsgrad: divide by the largest v so far (Reddi et al., 2018).
        maximize: go uphill.
        decoupled_weight_decay: shrink θ itself instead of adding the penalty to the gradient, as AdamW does.
        foreach, capturable, fused: accepted as in PyTorch, where they choose between equal implementations.
        differentiable: only False; steps are not recorded.
        bias_correction: whether m̂ and v̂ are what the formula says, or m and v themselves (PyTorch has no such option).

    Raises:
        ValueError: a negative option, or betas outside [0, 1).

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor(1.0, requires_grad=True)
        >>> optimizer = tg.optim.Adam([p], lr=0.1)
        >>> (p * p).backward()
        >>> optimizer.step()
        >>> round(p.item(), 3)
        0.9
    """

    _like_parameter = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    _numbers = {"step": 0}
    _blocks = False

    def __init__(self, params: Iterable, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None, maximize: bool = False,
                 capturable: bool = False, differentiable: bool = False, fused: bool | None = None, decoupled_weight_decay: bool = False,
                 bias_correction: bool = True):
        super().__init__(params, dict(lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize,
                                      foreach=foreach, capturable=capturable, differentiable=differentiable, fused=fused,
                                      decoupled_weight_decay=decoupled_weight_decay,
                                      **({} if bias_correction else {"bias_correction": False})))      # groups are PyTorch's by default

    def _entries(self, group: dict[str, Any]) -> Iterable[str]:
        return self._like_parameter if group["amsgrad"] else self._like_parameter[:2]

    def _rates(self, group: dict[str, Any], numbers: dict[str, float]) -> tuple[float, ...]:
        lr, t, (beta1, beta2) = float(group["lr"]), numbers["step"], group["betas"]
        c1, c2 = (1 - beta1 ** t, math.sqrt(1 - beta2 ** t)) if group.get("bias_correction", True) else (1.0, 1.0)
        return lr * c2 / c1, group["eps"] * c2, shrinkage(group)

    def _skips(self, group: dict[str, Any]) -> bool:
        return True

    def _counted_rates(self, group: dict[str, Any], x: Piece, lr: Any) -> Any:
        return kernels(x.p).adam_rates(x.counts["step"], x.skip, lr, *group["betas"], group["eps"], float(group["weight_decay"]),
                                       group.get("bias_correction", True), x.p.dtype)

    def _update(self, group: dict[str, Any], x: Piece) -> None:
        (rate, eps, shrink), (beta1, beta2), decay = x.rates, group["betas"], float(group["weight_decay"])
        decoupled = group["decoupled_weight_decay"] and decay != 0
        kernels(x.p).adam_step(             # m̂/(√v̂ + eps) = (c₂/c₁)·m/(√v + c₂·eps), which saves a pass
            x.p, x.g, x.state["exp_avg"], x.state["exp_avg_sq"], x.state.get("max_exp_avg_sq"), rate, float(beta1), float(beta2), eps,
            decay=0.0 if decoupled else decay, shrink=shrink if decoupled else 1.0, sign=-1.0 if group["maximize"] else 1.0, skip=x.skip)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): θ ← (1 - lr·weight_decay)·θ before Adam's step.

    Args:
        params: the parameters, as for `Optimizer`.
        lr: the learning rate.
        betas: (β₁, β₂), how slowly the two averages move.
        eps: added to the denominator.
        weight_decay: by how much, in units of lr, a step shrinks the parameters.
        amsgrad, maximize, foreach, capturable, differentiable, fused, bias_correction: as for `Adam`.

    Raises:
        ValueError: a negative option, or betas outside [0, 1).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.optim.AdamW([tg.nn.Parameter(tg.zeros(1))]).defaults["weight_decay"]
        0.01
    """

    def __init__(self, params: Iterable, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False, foreach: bool | None = None,
                 capturable: bool = False, differentiable: bool = False, fused: bool | None = None, bias_correction: bool = True):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize, capturable=capturable,
                         differentiable=differentiable, fused=fused, decoupled_weight_decay=True, bias_correction=bias_correction)
