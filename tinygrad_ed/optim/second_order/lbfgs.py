"""LBFGS: the quasi-Newton method that remembers the last steps instead of a matrix."""
from __future__ import annotations

from typing import Any, Iterable

from ...backend import namespace
from .descent import DescentMethod
from .vector import Memory

__all__ = ["LBFGS"]


class LBFGS(DescentMethod):
    """Limited-memory BFGS (Nocedal 1980; Liu & Nocedal 1989).

    BFGS (see `BFGS`) with only the last `history_size` pairs of steps sᵢ = xᵢ₊₁ - xᵢ and gradient differences
    yᵢ = ∇fᵢ₊₁ - ∇fᵢ. The direction d = -H∇f is computed by the two-loop recursion, with ρᵢ = 1/(yᵢᵀsᵢ) and γ = sᵀy/(yᵀy) of the last pair:

        q ← -∇f;     for i = newest … oldest:  αᵢ = ρᵢ·sᵢᵀq,   q ← q - αᵢ·yᵢ
        d ← γ·q;     for i = oldest … newest:  d ← d + (αᵢ - ρᵢ·yᵢᵀd)·sᵢ

    Nocedal & Wright, Numerical Optimization (2006), algorithm 7.4. Arguments, defaults, iterates and state_dict are PyTorch's.

    Args:
        params: the parameters, in one group.
        lr: the step, and the first one that a line search tries.
        max_iter: iterations in one call of `step`.
        max_eval: calls of the closure in one call of `step`; max_iter·5/4 by default.
        tolerance_grad: stop when no element of the gradient is larger.
        tolerance_change: stop when the loss, or every parameter, changes by less.
        history_size: how many pairs are remembered.
        line_search_fn: None, or "strong_wolfe".

    Raises:
        ValueError: an option out of range, or several groups.

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor([-1.2, 1.0], dtype=tg.float64, requires_grad=True)
        >>> optimizer = tg.optim.LBFGS([p], max_iter=60, line_search_fn="strong_wolfe")
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2      # Rosenbrock's valley
        ...     loss.backward()
        ...     return loss
        >>> round(optimizer.step(closure).item(), 1)
        24.2
        >>> [round(number, 4) for number in p.tolist()]
        [1.0, 1.0]
    """

    _whole = True                            # as in PyTorch, whose vectors also cover frozen parameters
    _searches = (None, "strong_wolfe")
    _sized = ("d", "prev_flat_grad", "old_dirs", "old_stps", "ro")

    def __init__(self, params: Iterable, lr: Any = 1, max_iter: int = 20, max_eval: int | None = None, tolerance_grad: float = 1e-7,
                 tolerance_change: float = 1e-9, history_size: int = 100, line_search_fn: str | None = None):
        super().__init__(params, dict(lr=lr, max_iter=max_iter, max_eval=max_iter * 5 // 4 if max_eval is None else max_eval,
                                      tolerance_grad=tolerance_grad, tolerance_change=tolerance_change, history_size=history_size,
                                      line_search_fn=line_search_fn))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if self.param_groups:
            raise ValueError("LBFGS takes one group of parameters, as in PyTorch; write LBFGS([*group1, *group2])")
        super().add_param_group(param_group)

    def _direction(self, g: Any, memory: Memory, group: dict[str, Any]) -> Any:
        xp = namespace(g)
        memory.pop("al", None)                        # PyTorch's scratch space, where the state comes from there
        if memory["n_iter"] == 1 or "d" not in memory:
            memory.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return -g
        ys, ss, ro = memory["old_dirs"], memory["old_stps"], memory["ro"]
        y, s = g - memory["prev_flat_grad"], memory["d"] * memory["t"]
        curvature = y @ s
        if curvature > 1e-10:
            if len(ys) == group["history_size"]:
                for history in (ys, ss, ro):
                    history.pop(0)
            ys.append(y)
            ss.append(s)
            ro.append(xp.asarray(1.0 / curvature))
            memory["H_diag"] = xp.asarray(curvature / (y @ y))
        alphas = []
        q = -g
        for y, s, r in zip(reversed(ys), reversed(ss), reversed(ro)):
            alphas.append((s @ q) * r)
            q -= alphas[-1] * y
        d = q * memory["H_diag"]
        for y, s, r, alpha in zip(ys, ss, ro, reversed(alphas)):
            d += (alpha - (y @ d) * r) * s
        return d
