"""Adagrad: every element has a learning rate that falls with the gradients it has seen."""
from __future__ import annotations

from typing import Any, Iterable

import numpy as np

from ..backend import namespace
from ..tensor import wrap
from .flat import Piece
from .optimizer import Optimizer, uphill

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer, 2011): steps in units of the root of all squared gradients so far.

        g ← ∇f(θ) + weight_decay·θ
        s ← s + g²                                            (s starts at initial_accumulator_value)
        θ ← θ - lr / (1 + (t - 1)·lr_decay) · g / (√s + eps)

    Args:
        params: the parameters, as for `Optimizer`. Their state exists from the beginning.
        lr: the learning rate.
        lr_decay: how fast it falls.
        weight_decay: the factor of the L2 penalty.
        initial_accumulator_value: what s starts with.
        eps: added to the denominator.
        maximize: go uphill.
        foreach, fused: accepted as in PyTorch, where they choose between equal implementations.
        differentiable: only False; steps are not recorded.

    Raises:
        ValueError: a negative option.

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor(1.0, requires_grad=True)
        >>> optimizer = tg.optim.Adagrad([p], lr=0.1)
        >>> for g in (4.0, 3.0):
        ...     p.grad = tg.tensor(g)
        ...     optimizer.step()
        ...     print(round(p.item(), 3))
        0.9
        0.84
    """

    _like_parameter = ("sum",)
    _numbers = {"step": 0}
    _not_negative = (*Optimizer._not_negative, "lr_decay", "initial_accumulator_value")

    def __init__(self, params: Iterable, lr: float = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
                 initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: bool | None = None, *, maximize: bool = False,
                 differentiable: bool = False, fused: bool | None = None):
        super().__init__(params, dict(lr=lr, lr_decay=lr_decay, eps=eps, weight_decay=weight_decay,
                                      initial_accumulator_value=initial_accumulator_value, foreach=foreach, maximize=maximize,
                                      differentiable=differentiable, fused=fused))
        for group in self.param_groups:
            for p in group["params"]:
                start = namespace(p._data).full_like(p._data, self._start(group, "sum"))
                self.state[p] = {"step": wrap(np.zeros((), np.float32)), "sum": wrap(start)}

    def _start(self, group: dict[str, Any], name: str) -> float:
        return float(group["initial_accumulator_value"])

    def _rates(self, group: dict[str, Any], numbers: dict[str, float]) -> tuple[float, ...]:
        return float(group["lr"]) / (1 + (numbers["step"] - 1) * group["lr_decay"]),

    def _update(self, group: dict[str, Any], x: Piece) -> None:
        (rate,), s, g = x.rates, x.state["sum"], uphill(group, x)
        s += g * g
        x.p -= rate * g / (namespace(s).sqrt(s) + group["eps"])
