"""Muon: momentum whose steps are orthogonal matrices."""
from __future__ import annotations

import math
from typing import Any, Iterable

from ..backend import namespace
from ..backend.kernels import kernels
from .flat import Piece
from .optimizer import Optimizer, norm, shrinkage

__all__ = ["Muon"]


class Muon(Optimizer):
    """Muon (Jordan et al., 2024): for the matrices of hidden layers, steps that are as large in all directions.

        m ← momentum·m + (1 - momentum)·∇f(θ)
        u = m                                        (nesterov: momentum·m + (1 - momentum)·∇f(θ))
        θ ← (1 - lr·weight_decay)·θ - lr·s·orthogonalized(u)

    orthogonalized(u) is nearly UVᵀ of the singular value decomposition u = USVᵀ, by Newton–Schulz iterations (Bernstein and Newhouse,
    2024): with X = u/‖u‖, ns_steps times, for (a, b, c) = ns_coefficients

        X ← a·X + (b·XXᵀ + c·(XXᵀ)²)·X

    whose coefficients bring the singular values near 1, not to it. They are computed in the parameter's dtype, in float32 for half
    precision, where PyTorch uses bfloat16. Give embeddings, the last layer, biases and norms to an AdamW.

    Args:
        params: the parameters, matrices all.
        lr: the learning rate.
        weight_decay: by how much, in units of lr, a step shrinks the parameters.
        momentum: how slowly the average of the gradients moves.
        nesterov: look ahead by one momentum step.
        ns_coefficients: a, b, c of the iteration.
        eps: the least norm that u is divided by.
        ns_steps: iterations, below 100.
        adjust_lr_fn: s for a matrix of A×B: √max(1, A/B) for "original" or None, 0.2·√max(A, B) for "match_rms_adamw", which lets AdamW's
            lr and weight_decay be used (Liu et al., 2025).

    Raises:
        ValueError: a parameter that is no matrix, a negative option, or an unknown adjust_lr_fn.

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.zeros(2, 2, requires_grad=True)
        >>> optimizer = tg.optim.Muon([p], lr=1.0)
        >>> (p * tg.tensor([[100.0, 0.0], [0.0, 1.0]])).sum().backward()
        >>> optimizer.step()
        >>> (p.diag() < -0.6).tolist()
        [True, True]
    """

    _like_parameter = ("momentum_buffer",)
    _elementwise = False

    def __init__(self, params: Iterable, lr: float = 1e-3, weight_decay: float = 0.1, momentum: float = 0.95, nesterov: bool = True,
                 ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315), eps: float = 1e-7, ns_steps: int = 5,
                 adjust_lr_fn: str | None = None):
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov,
                                      ns_coefficients=ns_coefficients, eps=eps, ns_steps=ns_steps, adjust_lr_fn=adjust_lr_fn))

    def _check_parameter(self, i: int, p: Any) -> None:
        super()._check_parameter(i, p)
        if p.ndim != 2:
            raise ValueError(f"Muon takes matrices, parameter {i} has shape {p.shape}; give it to another method, such as AdamW")

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        if group["adjust_lr_fn"] not in (None, "original", "match_rms_adamw"):
            raise ValueError(f'adjust_lr_fn is "original" or "match_rms_adamw", got {group["adjust_lr_fn"]!r}')
        if not 0 <= group["ns_steps"] < 100:
            raise ValueError(f"ns_steps lies in [0, 100), got {group['ns_steps']}; 5 are enough")
        if len(group["ns_coefficients"]) != 3:
            raise ValueError(f"ns_coefficients are three numbers, got {group['ns_coefficients']}")

    def _rates(self, group: dict[str, Any], numbers: dict[str, float]) -> tuple[float, ...]:
        return float(group["lr"]), shrinkage(group)

    def _update(self, group: dict[str, Any], x: Piece) -> None:
        (lr, shrink), m, momentum, (rows, columns) = x.rates, x.state["momentum_buffer"], group["momentum"], x.p.shape
        m *= momentum
        m += (1 - momentum) * x.g
        u = momentum * m + (1 - momentum) * x.g if group["nesterov"] else m
        match_adamw = group["adjust_lr_fn"] == "match_rms_adamw"
        scale = 0.2 * math.sqrt(max(rows, columns)) if match_adamw else math.sqrt(max(1.0, rows / max(columns, 1)))
        x.p *= shrink
        x.p -= lr * scale * _orthogonalized(u, group["ns_coefficients"], group["ns_steps"], group["eps"])


def _orthogonalized(u: Any, coefficients: Iterable[float], steps: int, eps: float) -> Any:
    """A matrix with the singular vectors of u, whose singular values are near 1."""
    xp, matmul, (a, b, c), tall = namespace(u), kernels(u).matmul, coefficients, u.shape[0] > u.shape[1]
    x = (u.T if tall else u).astype(u.dtype if u.dtype.itemsize >= 4 else xp.float32)
    x /= xp.maximum(norm(x), eps)
    for _ in range(steps):
        gram = matmul(x, x.T)
        x = a * x + matmul(b * gram + c * matmul(gram, gram), x)
    return x.T if tall else x
