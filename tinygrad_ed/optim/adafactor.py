"""Adafactor: adaptive steps with little memory."""
from __future__ import annotations

from typing import Any, Iterable, Iterator

import numpy as np

from ..backend import namespace
from ..dtypes import finfo
from ..errors import ShapeError
from ..tensor import Tensor, wrap
from .flat import Piece
from .optimizer import Optimizer, at_least, norm, shrinkage

__all__ = ["Adafactor"]


class Adafactor(Optimizer):
    """Adafactor (Shazeer and Stern, 2018): of a matrix's squared gradients it keeps the means over rows and columns, and no momentum.

        ρ = min(lr, 1/√t),  α = max(eps₂, RMS(θ))·ρ,  β = 1 - t^beta2_decay,  G = ∇f(θ)
        θ ← (1 - lr·weight_decay)·θ
        r ← β·r + (1 - β)·mean of G² over columns,  c ← β·c + (1 - β)·mean of G² over rows
        v = r·c / max(mean(r), eps₁)                  (of a vector: v ← β·v + (1 - β)·G²)
        u = G / √max(v, eps₁²)
        θ ← θ - α·u / max(1, RMS(u)/d)

    RMS(x) = ‖x‖/√n. Of more than two dimensions the last two are the matrix. As in PyTorch, lr is an upper limit.

    Args:
        params: the parameters, as for `Optimizer`.
        lr: the largest ρ.
        beta2_decay: the power with which averages forget, at most 0.
        eps: (eps₁, eps₂), the least variance and the least size of θ; None is the dtype's machine epsilon.
        d: the largest RMS of u, at least 1.
        weight_decay: by how much, in units of lr, a step shrinks the parameters.
        foreach: accepted as in PyTorch, where it chooses between equal implementations.
        maximize: go uphill.

    Raises:
        ValueError: an option out of range.

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.ones(3, 4, requires_grad=True)
        >>> optimizer = tg.optim.Adafactor([p], lr=0.1)
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> {name: tuple(entry.shape) for name, entry in optimizer.state[p].items()}
        {'step': (), 'row_var': (3, 1), 'col_var': (1, 4)}
    """

    _numbers = {"step": 0}
    _not_negative = ("lr", "weight_decay")

    _elementwise = False
    _numbers = {"step": 0}

    def __init__(self, params: Iterable, lr: float = 1e-2, beta2_decay: float = -0.8, eps: tuple[float | None, float] = (None, 1e-3),
                 d: float = 1.0, weight_decay: float = 0.0, *, foreach: bool | None = None, maximize: bool = False):
        super().__init__(params, dict(lr=lr, beta2_decay=beta2_decay, eps=tuple(eps), d=d, weight_decay=weight_decay, foreach=foreach,
                                      maximize=maximize))

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        at_least("eps[0]", group["eps"][0], 0.0)
        at_least("eps[1]", group["eps"][1], 0.0)
        at_least("d", group["d"], 1.0)
        if not group["beta2_decay"] <= 0.0:
            raise ValueError(f"beta2_decay is at most 0, got {group['beta2_decay']}; write -0.8")

    def _pieces(self, i: int, group: dict[str, Any]) -> Iterator[Piece]:
        for p in group["params"]:
            if p._grad is None:
                continue
            state, shapes = self.state[p], _shapes(p)
            first = not state
            if first:
                state["step"] = wrap(np.zeros((), np.float32))
                state.update({name: wrap(namespace(p._data).zeros(shape, p.dtype)) for name, shape in shapes.items()})
            step = state["step"]._data.reshape(1)
            piece = Piece(p._data, p._grad._data, {name: state[name]._data for name in shapes}, {"step": float(step[0])}, first, {"step": step})
            yield piece
            step[...] = piece.numbers["step"]

    def _rates(self, group: dict[str, Any], numbers: dict[str, float]) -> tuple[float, ...]:
        t = numbers["step"]
        return min(float(group["lr"]), t ** -0.5), t ** group["beta2_decay"], shrinkage(group)

    def _update(self, group: dict[str, Any], x: Piece) -> None:
        (rate, new, shrink), (eps1, eps2), xp, count = x.rates, group["eps"], namespace(x.p), max(x.p.size, 1)
        eps1 = float(finfo(x.p.dtype).eps) if eps1 is None else eps1
        g = -x.g if group["maximize"] else x.g
        alpha = xp.maximum(norm(x.p) / count ** 0.5, eps2) * rate
        x.p *= shrink
        for name, v in x.state.items():
            square = g * g if name == "variance" else (g * g).mean(-1 if name == "row_var" else -2, keepdims=True)
            v += new * (square - v)
        if "variance" in x.state:
            v = x.state["variance"]
        else:
            r, c = x.state["row_var"], x.state["col_var"]
            v = r * c / xp.maximum(r.mean(-2, keepdims=True), eps1)
        u = g / xp.sqrt(xp.maximum(v, eps1 * eps1))
        x.p -= alpha / xp.maximum(norm(u) / (count ** 0.5 * group["d"]), 1) * u

    def _restored(self, name: str, value: Any, p: Tensor, what: str) -> Any:
        entry, shape = super()._restored(name, value, p, what), _shapes(p).get(name)
        if name != "step" and hasattr(entry, "shape") and entry.shape != shape:
            raise ShapeError(f"{what} has shape {entry.shape}, this parameter of shape {p.shape} keeps {_shapes(p)}; the state_dict "
                             f"belongs to another model or method")
        return entry


def _shapes(p: Tensor) -> dict[str, tuple[int, ...]]:
    """The entries of a parameter's state and their shapes."""
    shape = tuple(p.shape)
    return {"row_var": (*shape[:-1], 1), "col_var": (*shape[:-2], 1, shape[-1])} if p.ndim > 1 else {"variance": shape}
