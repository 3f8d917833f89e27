"""NonlinearCG: conjugate gradients for functions that are not quadratic."""
from __future__ import annotations

from typing import Any, Callable, Iterable

from .descent import DescentMethod
from .vector import Memory, choose

__all__ = ["NonlinearCG"]

#                  with the new gradient g, the last one h and direction d, and the difference y = g - h
BETA: dict[str, Callable] = {
    "fletcher-reeves": lambda g, h, d, y: (g @ g) / (h @ h),
    "polak-ribiere": lambda g, h, d, y: max((g @ y) / (h @ h), 0.0),
    "hestenes-stiefel": lambda g, h, d, y: (g @ y) / (d @ y),
    "dai-yuan": lambda g, h, d, y: (g @ g) / (d @ y),
}


class NonlinearCG(DescentMethod):
    """Nonlinear conjugate gradients: no memory but the last direction.

        d ← -∇f + β·d,     with g the new gradient, h the last one and y = g - h

        "fletcher-reeves"   β = gᵀg / hᵀh               (1964)
        "polak-ribiere"     β = max(gᵀy / hᵀh, 0)       (1969; PR+ of Gilbert & Nocedal 1992)
        "hestenes-stiefel"  β = gᵀy / dᵀy               (1952)
        "dai-yuan"          β = gᵀg / dᵀy               (1999)

    On a quadratic with exact line searches all four are the linear method, which ends after n steps. Elsewhere directions lose
    their conjugacy, and the method starts again with d = -∇f where d does not fall, after `restart` iterations, and where
    |gᵀh| ≥ restart_threshold·gᵀg (Powell 1977). Nocedal & Wright, Numerical Optimization (2006), section 5.2.

    Args:
        params: the parameters.
        lr: the first step of all that the line search tries; later ones assume the decrease of the last iteration.
        max_iter: iterations in one call of `step`.
        max_eval: calls of the closure in one call of `step`, about; None for no limit.
        tolerance_grad: stop when no element of the gradient is larger.
        tolerance_change: stop when the loss, or every parameter, changes by less.
        beta: one of the names above.
        restart: start again after so many iterations; None for no such limit.
        restart_threshold: start again where successive gradients are less orthogonal than this; None for never.
        line_search_fn: "strong_wolfe", "wolfe", "armijo", or None for steps of lr.
        c1, c2: of the line search, 0 < c1 < c2 < 1; conjugate directions ask for c2 < 1/2.

    Raises:
        ValueError: an option out of range, or groups with different options.

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor([-1.2, 1.0], dtype=tg.float64, requires_grad=True)
        >>> optimizer = tg.optim.NonlinearCG([p], max_iter=100)
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
        ...     loss.backward()
        ...     return loss
        >>> loss = optimizer.step(closure)
        >>> [round(number, 2) for number in p.tolist()]
        [1.0, 1.0]
    """

    def __init__(self, params: Iterable, lr: Any = 1, max_iter: int = 20, max_eval: int | None = None, tolerance_grad: float = 1e-7,
                 tolerance_change: float = 1e-9, beta: str = "polak-ribiere", restart: int | None = None,
                 restart_threshold: float | None = 0.2, line_search_fn: str | None = "strong_wolfe", c1: float = 1e-4, c2: float = 0.1):
        super().__init__(params, dict(lr=lr, max_iter=max_iter, max_eval=max_eval, tolerance_grad=tolerance_grad,
                                      tolerance_change=tolerance_change, beta=beta, restart=restart, restart_threshold=restart_threshold,
                                      line_search_fn=line_search_fn, c1=c1, c2=c2))

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        choose("beta", group["beta"], BETA)
        if group["restart"] is not None and group["restart"] < 1:
            raise ValueError(f"restart is a number of iterations of at least 1, or None, got {group['restart']}")
        if group["restart_threshold"] is not None and not group["restart_threshold"] > 0:
            raise ValueError(f"restart_threshold is a number above 0, such as 0.1, or None, got {group['restart_threshold']}")

    def _direction(self, g: Any, memory: Memory, group: dict[str, Any]) -> Any:
        memory["since_restart"] = memory.get("since_restart", 0) + 1
        if "prev_flat_grad" in memory and memory["t"] and self._keep(g, memory, group):
            h, d = memory["prev_flat_grad"], memory["d"]
            y = g - h
            bottom = d @ y if group["beta"] in ("hestenes-stiefel", "dai-yuan") else h @ h
            if bottom > 0:
                d = BETA[group["beta"]](g, h, d, y) * d - g
                if g @ d < 0:
                    return d
        memory["since_restart"] = 1
        return -g

    def _keep(self, g: Any, memory: Memory, group: dict[str, Any]) -> bool:
        """Whether the last direction is still of use."""
        every, threshold = group["restart"], group["restart_threshold"]
        return not (every is not None and memory["since_restart"] > every
                    or threshold is not None and abs(g @ memory["prev_flat_grad"]) >= threshold * (g @ g))

    def _first_step(self, g: Any, slope: float, value: float, memory: Memory, group: dict[str, Any]) -> float:
        guess = None if group["line_search_fn"] is None else self._as_last_time(slope, value, memory)
        return guess or super()._first_step(g, slope, value, memory, group)
