"""GaussNewton and LevenbergMarquardt: sums of squares, by making the residuals linear."""
from __future__ import annotations

import math
from typing import Any, Iterable, NamedTuple

from ...autograd.engine import grad
from ...backend import namespace
from ...tensor import Tensor, wrap
from .line_search import armijo
from .vector import Closure, Memory, VectorOptimizer, choose, largest

__all__ = ["GaussNewton", "LevenbergMarquardt"]


class _Linear(NamedTuple):
    """The residuals around a point: r(x + p) ≈ r + Jp, and half their sum of squares."""

    r: Any                                   # shape (m,)
    J: Any                                   # shape (m, n)
    value: float                             # ½·rᵀr

    def gradient(self) -> Any:
        return self.J.T @ self.r


class _LeastSquares(VectorOptimizer):
    """What both methods share: residuals, their Jacobian, and the loop."""

    def _minimize(self, closure: Closure, group: dict[str, Any], memory: Memory) -> Any:
        residuals = self._residuals(closure, memory)
        x, loss = self._vector(), None
        for _ in range(group["max_iter"]):
            model = self._linear(residuals)
            if loss is None:
                self._check_start(model.value, model.gradient())
                loss = wrap(namespace(model.r).asarray(model.value, dtype=model.r.dtype))
            if largest(model.gradient()) <= group["tolerance_grad"] or not len(x):
                break
            memory["n_iter"] += 1
            p, found = self._iterate(closure, x, model, group, memory)
            if found is None:
                self._write(x)
                break
            x, residuals = x + p, found
            if largest(p) <= group["tolerance_change"] or abs(self._half_square(residuals) - model.value) < group["tolerance_change"]:
                break
        return loss

    def _iterate(self, closure: Closure, x: Any, model: _Linear, group: dict[str, Any], memory: Memory) -> tuple[Any, Tensor | None]:
        """A step, which has been written, and the residuals there; (p, None) where none lowers the loss."""
        raise NotImplementedError

    def _reached(self, model: _Linear) -> list[bool]:
        """Which parameters the residuals depend on."""
        columns = self._split((model.J != 0).any(0))
        return [bool(part._data.any()) for part in columns]

    def _residuals(self, closure: Closure, memory: Memory) -> Tensor:
        memory["func_evals"] += 1
        r = closure()
        if not isinstance(r, Tensor) or not r.is_floating_point():
            raise TypeError(f"the closure of {type(self).__name__} returns the residuals, a floating point tensor, got {type(r).__name__}; "
                            f"write return model(x) - y")
        return r

    def _half_square(self, r: Tensor) -> float:
        flat = r._data.reshape(-1).astype(self._dtype(), copy=False)
        return float(flat @ flat) / 2

    def _linear(self, r: Tensor) -> _Linear:
        """The Jacobian by backward walks: a row for each residual, or a column for each parameter, whichever are fewer."""
        flat, members = r.reshape(-1), self._members()
        xp, dtype, m = namespace(r._data), self._dtype(), r._data.size
        n = sum(p._data.size for p in members)
        values = flat._data.astype(dtype)
        if m <= n:
            rows = [self._flat([None if d is None else d._data for d in self._gradients(flat, wrap(one), retain_graph=True)])
                    for one in xp.eye(m, dtype=r.dtype)]
            J = xp.stack(rows) if rows else xp.zeros((0, n), dtype)
        else:
            seed = wrap(xp.zeros(m, r.dtype)).requires_grad_()
            products = [(i, d) for i, d in enumerate(self._gradients(flat, seed, create_graph=True)) if d is not None and d.requires_grad]
            J = xp.zeros((m, n), dtype)
            for j, one in enumerate(xp.eye(n, dtype=dtype) if products else ()):
                parts = self._split(one)
                column, = grad([d for _, d in products], [seed], [parts[i] for i, _ in products], retain_graph=True, allow_unused=True)
                if column is not None:
                    J[:, j] = column._data
        return _Linear(values, J, self._half_square(r))


class GaussNewton(_LeastSquares):
    """Gauss-Newton for a sum of squares, f(x) = ½·‖r(x)‖², with a line search.

        p = argmin ‖r + Jp‖²,     J = dr/dx,     x ← x + t·p

    The smallest such p, where J has not full rank. The step t is shortened until f has decreased enough. JᵀJ is the Hessian
    without the terms rᵢ·∇²rᵢ, so the method is fast where residuals are small at the minimum. Nocedal & Wright, Numerical
    Optimization (2006), section 10.3.

    The closure computes the residuals and returns them, a tensor of any shape, without backward: the optimizer needs their graph. `step`
    returns f at the start.

    Args:
        params: the parameters.
        lr: the first t that is tried; 1 is the method's own.
        max_iter: iterations in one call of `step`.
        tolerance_grad: stop when no element of the gradient Jᵀr is larger.
        tolerance_change: stop when f, or every parameter, changes by less.

    Raises:
        ValueError: an option out of range, or groups with different options.

    Example:
        >>> import tinygrad_ed as tg
        >>> t, y = tg.tensor([0.0, 1.0, 2.0]), tg.tensor([2.0, 1.0, 0.5])
        >>> a, b = tg.tensor(1.0, requires_grad=True), tg.tensor(0.0, requires_grad=True)
        >>> loss = tg.optim.GaussNewton([a, b]).step(lambda: a * tg.exp(-b * t) - y)
        >>> round(a.item(), 3), round(b.item(), 3)
        (2.0, 0.693)
    """

    def __init__(self, params: Iterable, lr: Any = 1, max_iter: int = 20, tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9):
        super().__init__(params, dict(lr=lr, max_iter=max_iter, tolerance_grad=tolerance_grad, tolerance_change=tolerance_change))

    def _iterate(self, closure: Closure, x: Any, model: _Linear, group: dict[str, Any], memory: Memory) -> tuple[Any, Tensor | None]:
        d = self._still(namespace(x).linalg.lstsq(model.J, -model.r, rcond=None)[0], self._reached(model))
        slope = float(model.gradient() @ d)
        if not -math.inf < slope < 0 or not float(group["lr"]) > 0:
            return d, None

        def phi(t: float) -> tuple[float, float, Tensor]:
            self._write(x + t * d)
            r = self._residuals(closure, memory)
            return self._half_square(r), 0.0, r

        found = armijo(phi, model.value, slope, float(group["lr"]))
        return found.point.a * d, found.point.extra


class LevenbergMarquardt(_LeastSquares):
    """Levenberg-Marquardt for a sum of squares, f(x) = ½·‖r(x)‖²: Gauss-Newton with an adaptive damping λ.

        (JᵀJ + λ·D)·p = -Jᵀr,     J = dr/dx

        scale="marquardt"  D = diag(JᵀJ), the largest so far (Marquardt 1963; Moré 1978): steps do not depend on the parameters' units
        scale="identity"   D = I (Levenberg 1944)

    A step is kept if f falls. The damping follows how well the model m predicted that, ρ = (f - f(x + p))/(m(0) - m(p)), as in Nielsen
    (1999), who has 1/3 for 1/10:

        kept:        λ ← λ·max(1/10, 1 - (2ρ - 1)³),   ν ← 2
        taken back:  λ ← λ·ν,                         ν ← 2ν,   and the next p is tried from the same x

    p solves the least squares problem with the rows √(λD) below J, which is more exact than the equation above: Nocedal & Wright,
    Numerical Optimization (2006), section 10.3.

    The closure computes the residuals and returns them, a tensor of any shape, without backward: the optimizer needs their graph. `step`
    returns f at the start.

    Args:
        params: the parameters.
        max_iter: iterations in one call of `step`, each with a new Jacobian.
        tolerance_grad: stop when no element of the gradient Jᵀr is larger.
        tolerance_change: stop when f, or every parameter, changes by less.
        damping: the first λ.
        scale: "marquardt" or "identity".

    Raises:
        ValueError: an option out of range, or groups with different options.

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor([-1.2, 1.0], dtype=tg.float64, requires_grad=True)
        >>> optimizer = tg.optim.LevenbergMarquardt([p], max_iter=50)
        >>> loss = optimizer.step(lambda: tg.stack([1 - p[0], 10 * (p[1] - p[0] ** 2)]))     # Rosenbrock's valley
        >>> round(loss.item(), 1), [round(number, 4) for number in p.tolist()]
        (12.1, [1.0, 1.0])
    """

    _sized = ("D",)

    def __init__(self, params: Iterable, max_iter: int = 20, tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9,
                 damping: float = 1e-4, scale: str = "marquardt"):
        super().__init__(params, dict(max_iter=max_iter, tolerance_grad=tolerance_grad, tolerance_change=tolerance_change, damping=damping,
                                      scale=scale))

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        choose("scale", group["scale"], ("marquardt", "identity"))
        if not 0 < group["damping"] < math.inf:
            raise ValueError(f"damping is a number above 0, got {group['damping']}; write damping=1e-4")

    def _iterate(self, closure: Closure, x: Any, model: _Linear, group: dict[str, Any], memory: Memory) -> tuple[Any, Tensor | None]:
        xp, (r, J, value) = namespace(x), model
        squares = (J * J).sum(0)
        D = xp.maximum(squares, memory["D"]) if "D" in memory else squares
        memory["D"] = D if group["scale"] == "marquardt" else xp.ones_like(squares)
        damping, growth = memory.get("damping", float(group["damping"])), 2.0
        while True:
            rows = xp.diag((damping * memory["D"]) ** 0.5)
            p = xp.linalg.lstsq(xp.concatenate([J, rows]), xp.concatenate([-r, xp.zeros_like(x)]), rcond=None)[0]
            p = self._still(p, self._reached(model))
            ahead = r + J @ p
            promised = value - float(ahead @ ahead) / 2
            if not promised > 0 or largest(p) <= group["tolerance_change"] / 10:
                return p, None                        # as low as rounding allows
            self._write(x + p)
            residuals = self._residuals(closure, memory)
            ratio = (value - self._half_square(residuals)) / promised
            if ratio > 0:                             # not for NaN
                memory["damping"] = damping * max(1 / 10, 1 - (2 * ratio - 1) ** 3)
                return p, residuals
            damping, growth = damping * growth, growth * 2
