"""CoordinateDescent: one number at a time."""
from __future__ import annotations

import math
from typing import Any, Callable, Iterable

from ...autograd.engine import grad
from ...ops.generator import Generator
from ...ops.random import randperm
from .line_search import armijo, strong_wolfe, wolfe
from .vector import Closure, Memory, VectorOptimizer, choose, largest

__all__ = ["CoordinateDescent"]

SEARCHES: dict[str, Callable] = {"armijo": armijo, "wolfe": wolfe, "strong_wolfe": strong_wolfe}


class CoordinateDescent(VectorOptimizer):
    """Coordinate descent: each number in turn goes to the minimum along its own axis.

        xᵢ ← xᵢ - t·gᵢ/|hᵢ|,     g = ∇f(x), hᵢ = ∂²f/∂xᵢ²      (line_search_fn=None: Newton's method in one dimension)
        xᵢ ← xᵢ - t·gᵢ                                         (otherwise: a line search finds t)

    The first is exact on a quadratic, and elsewhere t starts at lr and is shortened until f has decreased enough. The order:
        "cyclic"  first to last        "random"  a new permutation for every pass
        "greedy"  the steepest one     (Gauss-Southwell; it takes one gradient for every number)

    One iteration is a pass of n updates, each with a gradient: a method to learn from, and for functions that nearly separate.
    Wright, Coordinate descent algorithms (2015); Nocedal & Wright, Numerical Optimization (2006), section 9.3.

    The closure computes the loss and returns it, without backward: the optimizer needs its graph.

    Args:
        params: the parameters.
        lr: the first step tried along an axis.
        max_iter: passes in one call of `step`.
        tolerance_grad: stop when no element of the gradient was larger in a pass.
        tolerance_change: stop when the loss, or every parameter, changes by less in a pass.
        order: "cyclic", "random" or "greedy".
        line_search_fn: None, "armijo", "wolfe" or "strong_wolfe".
        seed: of the random order.

    Raises:
        ValueError: an option out of range, or groups with different options.

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor([3.0, 4.0], dtype=tg.float64, requires_grad=True)
        >>> optimizer = tg.optim.CoordinateDescent([p], max_iter=1)
        >>> optimizer.step(lambda: (p[0] - 1) ** 2 + 10 * (p[1] + 2) ** 2).item()
        364.0
        >>> p.detach()
        tensor([ 1., -2.], dtype=float64)
    """

    def __init__(self, params: Iterable, lr: Any = 1, max_iter: int = 20, tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9,
                 order: str = "cyclic", line_search_fn: str | None = None, seed: int = 0):
        super().__init__(params, dict(lr=lr, max_iter=max_iter, tolerance_grad=tolerance_grad, tolerance_change=tolerance_change,
                                      order=order, line_search_fn=line_search_fn, seed=seed))

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        choose("order", group["order"], ("cyclic", "random", "greedy"))
        choose("line_search_fn", group["line_search_fn"], (None, *SEARCHES))
        if group["seed"] != int(group["seed"]) or group["seed"] < 0:
            raise ValueError(f"seed is an integer of at least 0, got {group['seed']}")

    def _minimize(self, closure: Closure, group: dict[str, Any], memory: Memory) -> Any:
        first = loss = closure()
        memory["func_evals"] += 1
        x, value = self._vector(), self._value(loss)
        self._check_start(value, self._gradient(loss))
        for _ in range(group["max_iter"]):
            memory["n_iter"] += 1
            start, before, steepest = x, value, 0.0
            for i in self._order(len(x), group, memory):
                i = int(abs(self._gradient(loss)).argmax()) if group["order"] == "greedy" else i
                slope, d = self._axis(loss, i, group)
                steepest = max(steepest, abs(slope))
                if slope * d < 0 and math.isfinite(slope * d) and float(group["lr"]) > 0:
                    x, value, loss = self._along(closure, x, i, d, value, slope * d, group, memory)
            if (steepest <= group["tolerance_grad"] or largest(x - start) <= group["tolerance_change"]
                    or abs(value - before) < group["tolerance_change"]):
                break
        return first

    def _order(self, n: int, group: dict[str, Any], memory: Memory) -> list[int]:
        """The coordinates of one pass; a random order depends on the seed and the number of the pass only."""
        if group["order"] == "random":
            return randperm(n, generator=Generator().manual_seed(group["seed"] + memory["n_iter"])).tolist()
        return list(range(n))

    def _gradient(self, loss: Any) -> Any:
        return self._flat([None if g is None else g._data for g in self._gradients(loss, retain_graph=True)])

    def _axis(self, loss: Any, i: int, group: dict[str, Any]) -> tuple[float, float]:
        """The slope along coordinate i, and which way and how far to go for t = 1."""
        members = self._members()
        k = 0
        while i >= members[k]._data.size:
            i, k = i - members[k]._data.size, k + 1
        newton = group["line_search_fn"] is None
        g, = grad(loss, [members[k]], retain_graph=True, create_graph=newton, allow_unused=True) if loss.requires_grad else (None,)
        if g is None:
            return 0.0, 0.0
        g_i = g.reshape(-1)[i]
        row, = grad(g_i, [members[k]], retain_graph=True, allow_unused=True) if newton and g_i.requires_grad else (None,)
        slope, curvature = float(g_i), 0.0 if row is None else abs(float(row.reshape(-1)[i]))
        return slope, -slope / curvature if curvature and math.isfinite(slope / curvature) else -slope

    def _along(self, closure: Closure, x: Any, i: int, d: float, value: float, slope: float, group: dict[str, Any],
               memory: Memory) -> tuple[Any, float, Any]:
        """The line search along coordinate i: the point it ends at, the loss there as a number, and with its graph."""
        latest = None

        def at(t: float) -> Any:
            moved = x.copy()
            moved[i] += t * d
            return moved

        def phi(t: float) -> tuple[float, float, Any]:
            nonlocal latest
            self._write(at(t))
            memory["func_evals"] += 1
            latest = loss = closure()
            steep = group["line_search_fn"] in ("wolfe", "strong_wolfe")
            return self._value(loss), float(self._gradient(loss)[i]) * d if steep else 0.0, loss

        search = SEARCHES[group["line_search_fn"] or "armijo"]
        point = search(phi, value, slope, float(group["lr"])).point
        loss = point.extra
        if loss is None or loss is not latest:        # the graph of an earlier point has lost its values
            self._write(at(point.a))
            memory["func_evals"] += 1
            loss = closure()
        return at(point.a), point.value, loss
