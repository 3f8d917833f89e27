"""Newton's method, with the exact Hessian or with products only, made safe by a line search or by a trust region."""
from __future__ import annotations

import math
from typing import Any, Iterable

from ...backend import namespace
from ..optimizer import at_least
from .line_search import armijo
from .trust_region import exact_step, saddle_free_step, truncated_cg
from .vector import Closure, Differentiable, Memory, VectorOptimizer, choose, largest

__all__ = ["Newton"]

Spectrum = tuple[Any, Any]           # the Hessian's eigenvalues and eigenvectors


class Newton(VectorOptimizer):
    """Newton's method: the minimum of the quadratic model, again and again.

        m(p) = f + gᵀp + ½·pᵀHp,     g = ∇f(x), H = ∇²f(x)

    How the model is minimized:
        hessian="exact"  H is computed, n backward walks, and decomposed: for up to a few hundred numbers.
        hessian="free"   conjugate gradients with products Hv, a backward walk each, until ‖Hp + g‖ ≤ min(½, √‖g‖)·‖g‖.

    How the step is made safe, far from the minimum and where the curvature is negative:
        method="damped"        p is made a direction of descent (exact: |eigenvalues|; free: CG stops) and shortened until f falls.
        method="trust_region"  ‖p‖ ≤ radius; the radius is quartered where m promised too much, ρ = (f - f(x + p))/(m(0) - m(p)) < ¼,
                               doubled where ρ > ¾ on the boundary, and a step with ρ ≤ 0.15 is taken back.

    Nocedal & Wright, Numerical Optimization (2006), sections 3.4, 4.1, 4.3, 7.1; Martens, Deep learning via Hessian-free
    optimization (2010).

    The closure computes the loss and returns it, without backward: the optimizer needs its graph.

    Args:
        params: the parameters.
        lr: the first step that is tried along the damped direction; 1 is Newton's own.
        max_iter: iterations in one call of `step`, each with a new model or a new radius.
        tolerance_grad: stop when no element of the gradient is larger.
        tolerance_change: stop when the loss, or every parameter, changes by less.
        hessian: "exact" or "free".
        method: "damped" or "trust_region".
        radius: the first radius of the trust region.
        max_radius: the largest one.
        max_cg: conjugate gradient iterations for one model; 10·n by default.

    Raises:
        ValueError: an option out of range, or groups with different options.

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor([3.0, 4.0], dtype=tg.float64, requires_grad=True)
        >>> optimizer = tg.optim.Newton([p])
        >>> optimizer.step(lambda: (p[0] - 1) ** 2 + 10 * (p[1] - p[0]) ** 2).item()
        14.0
        >>> [round(number, 4) for number in p.tolist()]
        [1.0, 1.0]
    """

    def __init__(self, params: Iterable, lr: Any = 1, max_iter: int = 20, tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9,
                 hessian: str = "exact", method: str = "damped", radius: float = 1.0, max_radius: float = 1000.0,
                 max_cg: int | None = None):
        super().__init__(params, dict(lr=lr, max_iter=max_iter, tolerance_grad=tolerance_grad, tolerance_change=tolerance_change,
                                      hessian=hessian, method=method, radius=radius, max_radius=max_radius, max_cg=max_cg))

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        choose("hessian", group["hessian"], ("exact", "free"))
        choose("method", group["method"], ("damped", "trust_region"))
        at_least("max_radius", group["max_radius"], 0.0)
        if not 0 < group["radius"] <= group["max_radius"]:
            raise ValueError(f"radius is a number above 0 and at most max_radius, got radius={group['radius']}, "
                             f"max_radius={group['max_radius']}")
        if group["max_cg"] is not None and group["max_cg"] < 1:
            raise ValueError(f"max_cg is an integer of at least 1, or None, got {group['max_cg']}")

    def _minimize(self, closure: Closure, group: dict[str, Any], memory: Memory) -> Any:
        iterate = self._damped if group["method"] == "damped" else self._trusted
        first = loss = closure()
        memory["func_evals"] += 1
        x, model = self._vector(), None
        for i in range(group["max_iter"]):
            if i == 0 or loss is not None:            # None: still at the same point, whose graph is still alive
                f = self._differentiate(loss)
            if i == 0:
                self._check_start(f.value, f.gradient())
            if largest(f.gradient()) <= group["tolerance_grad"] or not len(x):
                break
            memory["n_iter"] += 1
            model = self._model(f, group) if model is None else model
            p, loss, moved = iterate(closure, x, f, model, group, memory)
            if moved:
                x, model = x + p, None
            if largest(p) <= group["tolerance_change"] or moved and abs(self._value(loss) - f.value) < group["tolerance_change"]:
                break
        return first

    def _model(self, f: Differentiable, group: dict[str, Any]) -> Spectrum | None:
        """What is computed once at a point: the Hessian's eigenvalues and eigenvectors, or nothing."""
        if group["hessian"] == "free":
            return None
        H = f.hessian()
        eigenvalues, Q = namespace(H).linalg.eigh(H)
        return eigenvalues, Q

    def _damped(self, closure: Closure, x: Any, f: Differentiable, model: Spectrum | None, group: dict[str, Any],
                memory: Memory) -> tuple[Any, Any, bool]:
        """Along a direction of descent, shortened until the loss falls: the step, the loss there with its graph, whether it moved."""
        g = f.gradient()
        d = saddle_free_step(*model, g) if model else truncated_cg(f.product, g, math.inf, _accuracy(g), group["max_cg"])[0]
        d = self._still(d, [part is not None for part in f.gradients])
        slope = float(g @ d)
        if not -math.inf < slope < 0 or not float(group["lr"]) > 0:
            return 0 * g, None, False

        def phi(a: float) -> tuple[float, float, Any]:
            self._write(x + a * d)
            memory["func_evals"] += 1
            loss = closure()
            return self._value(loss), 0.0, loss

        found = armijo(phi, f.value, slope, float(group["lr"]))
        if not found.success:
            self._write(x)
            return 0 * g, None, False
        return found.point.a * d, found.point.extra, True

    def _trusted(self, closure: Closure, x: Any, f: Differentiable, model: Spectrum | None, group: dict[str, Any],
                memory: Memory) -> tuple[Any, Any, bool]:
        """To the minimum of the model within the radius, and back if the loss does not follow the model; returns the same."""
        g, radius = f.gradient(), memory.setdefault("radius", float(group["radius"]))
        if model:
            p, boundary = exact_step(*model, g, radius)
            q = model[1].T @ p
            curvature = float(q @ (model[0] * q))
        else:
            p, Hp, boundary = truncated_cg(f.product, g, radius, _accuracy(g), group["max_cg"])
            curvature = float(p @ Hp)
        p = self._still(p, [part is not None for part in f.gradients])
        promised = -(float(g @ p) + curvature / 2)
        self._write(x + p)
        memory["func_evals"] += 1
        loss = closure()
        value = self._value(loss)
        noise = float(namespace(g).finfo(g.dtype).eps) * abs(f.value)       # of rounding: Conn, Gould & Toint (2000), section 17.4.2
        ratio = (f.value - value + noise) / (promised + noise) if math.isfinite(value) and promised > 0 else -math.inf
        if ratio < 0.25:
            memory["radius"] = min(radius, float(p @ p) ** 0.5) / 4
        elif ratio > 0.75 and boundary:
            memory["radius"] = min(2 * radius, float(group["max_radius"]))
        if ratio > 0.15:
            return p, loss, True
        self._write(x)
        if model:
            return p, None, False
        memory["func_evals"] += 1                     # products need a graph of the values that are back
        return p, closure(), False


def _accuracy(g: Any) -> float:
    """How small the residual must be for conjugate gradients to converge superlinearly: Nocedal & Wright, equation 7.3."""
    norm = float(g @ g) ** 0.5
    return min(0.5, norm ** 0.5) * norm
