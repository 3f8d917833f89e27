"""Adam, and AdamW, whose weight decay stays out of the moments."""
from __future__ import annotations

import math
from typing import Any, Iterable

import numpy as np

from ..backend import namespace
from ..tensor import Tensor, wrap
from .optimizer import Optimizer, gradient, in_unit_interval, zeros_like

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

    def __init__(self, params: Iterable, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None, maximize: bool = False,
                 capturable: bool = False, differentiable: bool = False, fused: bool | None = None, decoupled_weight_decay: bool = False):
        super().__init__(params, dict(lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize,
                                      foreach=foreach, capturable=capturable, differentiable=differentiable, fused=fused,
                                      decoupled_weight_decay=decoupled_weight_decay))

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        in_unit_interval("betas", group["betas"])

    def _step_group(self, group: dict[str, Any], params: list[Tensor]) -> None:
        beta1, beta2 = map(float, group["betas"])
        options = dict(lr=float(group["lr"]), beta1=beta1, beta2=beta2, eps=group["eps"], weight_decay=group["weight_decay"],
                       decoupled=group["decoupled_weight_decay"], maximize=group["maximize"])
        for p in params:
            state = self.state[p]
            if not state:
                state.update(step=wrap(np.zeros((), np.float32)), exp_avg=zeros_like(p), exp_avg_sq=zeros_like(p))
            if group["amsgrad"] and "max_exp_avg_sq" not in state:
                state["max_exp_avg_sq"] = zeros_like(p)
            state["step"]._data += 1
            largest = state["max_exp_avg_sq"]._data if group["amsgrad"] else None
            update(p._data, gradient(p), state["exp_avg"]._data, state["exp_avg_sq"]._data, largest, t=float(state["step"]._data),
                   **options)


def update(p: Any, g: Any, m: Any, v: Any, largest: Any, *, t: float, lr: float, beta1: float, beta2: float, eps: float,
           weight_decay: float, decoupled: bool, maximize: bool) -> None:
    """Step number t on arrays: writes p, the averages m and v, and with amsgrad the largest v so far."""
    xp = namespace(p)
    work = xp.empty_like(p)                           # the only temporary array
    if maximize:
        g = -g
    if weight_decay and decoupled:
        p *= 1 - lr * weight_decay
    elif weight_decay:
        g = g + weight_decay * p
    m *= beta1
    m += xp.multiply(g, 1 - beta1, out=work)
    v *= beta2
    xp.multiply(g, g, out=work)
    work *= 1 - beta2
    v += work
    if largest is not None:
        v = xp.maximum(largest, v, out=largest)
    xp.sqrt(v, out=work)
    work *= 1 / math.sqrt(1 - beta2 ** t)
    work += eps
    xp.divide(m, work, out=work)
    work *= lr / (1 - beta1 ** t)
    p -= work


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): θ ← (1 - lr·weight_decay)·θ before Adam's step.

    Args:
        params: the parameters, as for `Optimizer`.
        lr: the learning rate.
        betas: (β₁, β₂), how slowly the two averages move.
        eps: added to the denominator.
        weight_decay: by how much, in units of lr, a step shrinks the parameters.
        amsgrad, maximize, foreach, capturable, differentiable, fused: as for `Adam`.

    Raises:
        ValueError: a negative option, or betas outside [0, 1).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.optim.AdamW([tg.nn.Parameter(tg.zeros(1))]).defaults["weight_decay"]
        0.01
    """

    def __init__(self, params: Iterable, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False, foreach: bool | None = None,
                 capturable: bool = False, differentiable: bool = False, fused: bool | None = None):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize, capturable=capturable,
                         differentiable=differentiable, fused=fused, decoupled_weight_decay=True)
