"""Rprop: only the signs of the gradients count."""
from __future__ import annotations

from typing import Any, Iterable

from ..backend import namespace
from .flat import Piece
from .optimizer import Optimizer

__all__ = ["Rprop"]


class Rprop(Optimizer):
    """Resilient backpropagation (Riedmiller and Braun, 1993), for gradients of all data at once.

    Each element has a step size of its own, which grows while the gradient keeps its sign and shrinks where the sign changes;
    after a change of sign the element waits for one step (Igel and Hüsken, 2000: iRprop⁻).

        s ← clip(s·η₊, step_sizes)            where ∇f(θ)·gᵗ⁻¹ > 0
        s ← clip(s·η₋, step_sizes),  g = 0    where ∇f(θ)·gᵗ⁻¹ < 0
        θ ← θ - s·sign(g)

    Args:
        params: the parameters, as for `Optimizer`.
        lr: the step sizes at the beginning.
        etas: (η₋, η₊), by how much they shrink and grow.
        step_sizes: the smallest and the largest.
        capturable, foreach: accepted as in PyTorch, where they choose between equal implementations.
        maximize: go uphill.
        differentiable: only False; steps are not recorded.

    Raises:
        ValueError: a negative lr, or etas that are not 0 < η₋ < 1 < η₊.

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor(1.0, requires_grad=True)
        >>> optimizer = tg.optim.Rprop([p], lr=0.1)
        >>> for _ in range(2):
        ...     optimizer.zero_grad()
        ...     (p * p).backward()
        ...     optimizer.step()
        ...     print(round(p.item(), 3))
        0.9
        0.78
    """

    _like_parameter = ("prev", "step_size")
    _numbers = {"step": 0}

    def __init__(self, params: Iterable, lr: float = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
                 step_sizes: tuple[float, float] = (1e-6, 50), *, capturable: bool = False, foreach: bool | None = None,
                 maximize: bool = False, differentiable: bool = False):
        super().__init__(params, dict(lr=lr, etas=tuple(etas), step_sizes=tuple(step_sizes), foreach=foreach, maximize=maximize,
                                      differentiable=differentiable, capturable=capturable))

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        smaller, larger = group["etas"]
        if not 0.0 < smaller < 1.0 < larger:
            raise ValueError(f"etas are a factor between 0 and 1 and one above 1, got {smaller} and {larger}; write etas=(0.5, 1.2)")

    def _start(self, group: dict[str, Any], name: str) -> float:
        return float(group["lr"]) if name == "step_size" else 0.0

    def _rates(self, group: dict[str, Any], numbers: dict[str, float]) -> tuple[float, ...]:
        return ()                                     # lr is only the first size of a step

    def _update(self, group: dict[str, Any], x: Piece) -> None:
        prev, size, (smaller, larger) = x.state["prev"], x.state["step_size"], group["etas"]
        g, xp = -x.g if group["maximize"] else x.g, namespace(x.p)
        same = xp.sign(g * prev)
        size *= xp.where(same > 0, larger, xp.where(same < 0, smaller, 1.0))
        xp.clip(size, *group["step_sizes"], out=size)
        prev[...] = xp.where(same < 0, 0, g)
        x.p -= xp.sign(prev) * size
