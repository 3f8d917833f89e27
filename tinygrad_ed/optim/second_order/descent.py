"""The loop that LBFGS, BFGS and NonlinearCG share: a direction, a step along it, and again.

A method says which direction to take, from the gradient and from what it remembers:

    d = direction(∇f(x), memory)
    x ← x + t·d                         t = lr, or found by a line search

The loop is that of PyTorch's LBFGS: the difference of two gradients is taken when the next direction is wanted, not before, so
that without a line search a last iteration needs no evaluation.
"""
from __future__ import annotations

import math
from typing import Any

from ...errors import DomainError
from .line_search import Found, armijo, strong_wolfe, wolfe
from .vector import Closure, Memory, VectorOptimizer, choose, largest

__all__ = ["DescentMethod"]


class DescentMethod(VectorOptimizer):
    """A direction from gradients, and a step along it; see the file's first lines.

    The closure is PyTorch's: it clears the gradients, computes the loss, runs backward and returns the loss.

    Options that all methods have:
        lr: the step, and the first one that a line search tries. The very first step is at most lr/|∇f|₁.
        max_iter: iterations in one call of `step`.
        max_eval: calls of the closure in one call of `step`, about; None for no limit.
        tolerance_grad: stop when no element of the gradient is larger.
        tolerance_change: stop when the loss, or every parameter, changes by less, or the slope along the direction is smaller.
        line_search_fn: None, "armijo", "wolfe" or "strong_wolfe".

    Example:
        >>> import tinygrad_ed as tg
        >>> class SteepestDescent(DescentMethod):
        ...     def _direction(self, g, memory, group):
        ...         return -g
        >>> p = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> def closure():
        ...     p.grad = None
        ...     loss = (p * p).sum()
        ...     loss.backward()
        ...     return loss
        >>> SteepestDescent([p], dict(lr=1, max_iter=5, max_eval=None, tolerance_grad=1e-7, tolerance_change=1e-9,
        ...                           line_search_fn="strong_wolfe")).step(closure).item()
        5.0
        >>> p.abs().max().item() < 1e-6
        True
    """

    _searches: tuple = (None, "armijo", "wolfe", "strong_wolfe")
    _sized: tuple[str, ...] = ("d", "prev_flat_grad")

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        choose("line_search_fn", group["line_search_fn"], self._searches)

    def _direction(self, g: Any, memory: Memory, group: dict[str, Any]) -> Any:
        """Where to go. The memory has the last direction "d", step "t" and gradient "prev_flat_grad", after the first iteration."""
        raise NotImplementedError(f"{type(self).__name__} has no _direction(g, memory, group)")

    def _first_step(self, g: Any, slope: float, value: float, memory: Memory, group: dict[str, Any]) -> float:
        """The step without a line search, and the first one that it tries."""
        lr = float(group["lr"])
        return lr if memory["n_iter"] > 1 else min(1.0, 1.0 / float(abs(g).sum())) * lr

    def _as_last_time(self, slope: float, value: float, memory: Memory) -> float | None:
        """The step that would lower the loss as much as the last iteration did, if that is known: Nocedal & Wright, equation 3.60."""
        decrease = memory.get("prev_loss", value) - value
        return 2 * decrease / -slope if decrease > 0 and slope < 0 else None

    def _minimize(self, closure: Closure, group: dict[str, Any], memory: Memory) -> Any:
        loss, value, g = self._evaluate(closure)
        self._check_start(value, g)
        evaluations, limit = 1, math.inf if group["max_eval"] is None else group["max_eval"]
        x, tolerance = self._vector(), group["tolerance_change"]
        optimal = largest(g) <= group["tolerance_grad"]
        for i in range(0 if optimal else group["max_iter"]):
            memory["n_iter"] += 1
            d = self._still(self._direction(g, memory, group), [p._grad is not None and p.requires_grad for p in self._members()])
            slope = float(g @ d)
            t = self._first_step(g, slope, value, memory, group)
            memory.update(d=d, t=t, prev_flat_grad=g, prev_loss=value)
            if slope > -tolerance or not -math.inf < slope < 0 or t == 0:
                break
            last = i + 1 == group["max_iter"]
            before = value
            if group["line_search_fn"] is not None:
                found = self._search(closure, x, d, t, value, slope, group, limit - evaluations)
                evaluations += found.evaluations
                memory["t"] = t = found.point.a
                if t:
                    value, g = found.point.value, found.point.extra
                x = x + t * d
                self._write(x)
            else:
                x = x + t * d
                self._write(x)
                if not last:                          # a last evaluation would be of no use to what follows
                    _, value, g = self._evaluate(closure)
                    evaluations += 1
                    if not math.isfinite(value):
                        raise DomainError(f"the loss is {value} after a step of {t:g} along the direction; the parameters are as before "
                                          f'this call: write line_search_fn="strong_wolfe", or a smaller lr')
            if (last or evaluations >= limit or largest(g) <= group["tolerance_grad"] or largest(t * d) <= tolerance
                    or abs(value - before) < tolerance):
                break
        memory["func_evals"] += evaluations
        return loss

    def _search(self, closure: Closure, x: Any, d: Any, t: float, value: float, slope: float, group: dict[str, Any], left: float) -> Found:
        """Search along d; the point that is found brings its gradient along."""
        def phi(a: float) -> tuple[float, float, Any]:
            self._write(x + a * d)
            _, value, g = self._evaluate(closure)
            return value, float(g @ d), g

        tries = int(left) if math.isfinite(left) else 25
        constants = {name: group[name] for name in ("c1", "c2") if name in group}
        if group["line_search_fn"] == "armijo":
            constants.pop("c2", None)
            return armijo(phi, value, slope, t, max_iter=tries, **constants)
        if group["line_search_fn"] == "wolfe":
            return wolfe(phi, value, slope, t, max_iter=tries, **constants)
        return strong_wolfe(phi, value, slope, t, max_iter=tries, tolerance=group["tolerance_change"] / largest(d), **constants)
