"""BFGS: the quasi-Newton method with a dense approximation of the inverse Hessian."""
from __future__ import annotations

from typing import Any, Iterable

from ...backend import namespace
from .descent import DescentMethod
from .vector import Memory

__all__ = ["BFGS"]


class BFGS(DescentMethod):
    """BFGS (Broyden, Fletcher, Goldfarb, Shanno 1970), for up to a few thousand numbers.

    H approximates the inverse of the Hessian. After each step it is changed as little as possible so that Hy = s holds for the
    step s = xₖ₊₁ - xₖ and the gradient difference y = ∇fₖ₊₁ - ∇fₖ (the secant equation), with ρ = 1/(yᵀs):

        d = -H∇f,     H ← (I - ρ·syᵀ)·H·(I - ρ·ysᵀ) + ρ·ssᵀ,     first H = I

    Nocedal & Wright, Numerical Optimization (2006), section 6.1. H is not scaled before its first change (their equation 6.20): it then
    measures the steepest curvature, and an H that is too small is mended slowly, one that is too large at once. The line search keeps
    yᵀs > 0; a pair without it is passed over. After a line search that found nothing H is I again.

    Args:
        params: the parameters.
        lr: the first step that the line search tries.
        max_iter: iterations in one call of `step`.
        max_eval: calls of the closure in one call of `step`, about; None for no limit.
        tolerance_grad: stop when no element of the gradient is larger.
        tolerance_change: stop when the loss, or every parameter, changes by less.
        line_search_fn: "strong_wolfe", "wolfe", "armijo", or None for steps of lr.
        c1, c2: of the line search, 0 < c1 < c2 < 1.

    Raises:
        ValueError: an option out of range, or groups with different options.

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor([-1.2, 1.0], dtype=tg.float64, requires_grad=True)
        >>> optimizer = tg.optim.BFGS([p], max_iter=60)
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
        ...     loss.backward()
        ...     return loss
        >>> loss = optimizer.step(closure)
        >>> [round(number, 4) for number in p.tolist()]
        [1.0, 1.0]
    """

    _sized = ("d", "prev_flat_grad", "H")

    def __init__(self, params: Iterable, lr: Any = 1, max_iter: int = 20, max_eval: int | None = None, tolerance_grad: float = 1e-7,
                 tolerance_change: float = 1e-9, line_search_fn: str | None = "strong_wolfe", c1: float = 1e-4, c2: float = 0.9):
        super().__init__(params, dict(lr=lr, max_iter=max_iter, max_eval=max_eval, tolerance_grad=tolerance_grad,
                                      tolerance_change=tolerance_change, line_search_fn=line_search_fn, c1=c1, c2=c2))

    def _direction(self, g: Any, memory: Memory, group: dict[str, Any]) -> Any:
        if memory.get("t") == 0:
            memory.pop("H", None)
        if "prev_flat_grad" in memory:
            y, s = g - memory["prev_flat_grad"], memory["d"] * memory["t"]
            xp, ys = namespace(g), float(y @ s)
            if ys > xp.finfo(g.dtype).eps * float(y @ y) ** 0.5 * float(s @ s) ** 0.5:
                H = memory["H"] if "H" in memory else xp.eye(len(g), dtype=g.dtype)
                Hy = H @ y
                cross = xp.outer(Hy, s) / ys
                memory["H"] = H - cross - cross.T + (1 + float(y @ Hy) / ys) / ys * xp.outer(s, s)
        if "H" in memory:
            d = -(memory["H"] @ g)
            if g @ d < 0:
                return d
            del memory["H"]                           # rounding has spoilt it: begin again
        return -g

    def _first_step(self, g: Any, slope: float, value: float, memory: Memory, group: dict[str, Any]) -> float:
        """Newton's own step, or a shorter one that promises what the last iteration reached."""
        guess = None if group["line_search_fn"] is None else self._as_last_time(slope, value, memory)
        return min(1.0, 1.01 * guess) * float(group["lr"]) if guess else super()._first_step(g, slope, value, memory, group)
