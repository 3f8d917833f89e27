"""The quadratic model of a function around a point, minimized: exactly, by conjugate gradients, and within a radius.

    m(p) = gᵀp + ½·pᵀHp,     ‖p‖ ≤ radius
"""
from __future__ import annotations

import math
from typing import Any, Callable

import numpy as np

from ...backend import device_of, namespace, to_device, to_numpy

__all__ = ["exact_step", "saddle_free_step", "truncated_cg"]


def saddle_free_step(eigenvalues: Any, Q: Any, g: Any) -> Any:
    """Newton's direction with absolute eigenvalues, which falls whatever the curvature is.

        H = QΛQᵀ,     p = -Q·|Λ|⁻¹·Qᵀg

    Equal to -H⁻¹g where H is positive definite. Nocedal & Wright, section 3.4; Dauphin et al., Identifying and attacking the saddle point
    problem (2014). Eigenvalues that are zero but for rounding count as small ones; where all are, the direction is -g.

    Args:
        eigenvalues: shape (n,).
        Q: the eigenvectors in columns, shape (n, n).
        g: the gradient, shape (n,).

    Returns:
        The direction, shape (n,).

    Example:
        >>> saddle_free_step(np.array([-2.0, 4.0]), np.eye(2), np.array([2.0, 4.0]))
        array([-1., -1.])
    """
    size = abs(eigenvalues)
    top = float(size.max())
    if not top > 0:
        return -g
    floor = 10 * len(g) * float(namespace(g).finfo(g.dtype).eps) * top
    return -(Q @ ((Q.T @ g) / namespace(g).maximum(size, floor)))


def exact_step(eigenvalues: Any, Q: Any, g: Any, radius: float) -> tuple[Any, bool]:
    """The minimum of the model within the radius.

    Either -H⁻¹g, where H is positive definite and that lies within, or the p(μ) = -(H + μI)⁻¹g of length `radius` with H + μI positive
    semidefinite, found by Newton's method on 1/‖p(μ)‖ - 1/radius between bounds. In the hard case, where g has no part along the lowest
    eigenvector, that vector fills up the length. Moré & Sorensen, Computing a trust region step (1983); Nocedal & Wright, section 4.3.

    Args:
        eigenvalues: of H, rising, shape (n,).
        Q: the eigenvectors in columns, shape (n, n).
        g: the gradient, shape (n,).
        radius: above 0.

    Returns:
        The step, shape (n,), and whether it ends on the boundary.

    Example:
        >>> exact_step(np.array([1.0, 2.0]), np.eye(2), np.array([-2.0, 0.0]), 1.0)
        (array([1., 0.]), True)
        >>> exact_step(np.array([1.0, 2.0]), np.eye(2), np.array([-2.0, -2.0]), 9.0)
        (array([2., 1.]), False)
    """
    h, c = to_numpy(eigenvalues).astype(np.float64), to_numpy(Q.T @ g).astype(np.float64)
    coefficients, boundary = _in_eigenvectors(h, c, radius)
    return Q @ to_device(coefficients.astype(g.dtype), device_of(g)), boundary


def _in_eigenvectors(h: np.ndarray, c: np.ndarray, radius: float) -> tuple[np.ndarray, bool]:
    scale = max(abs(h[0]), abs(h[-1]), np.linalg.norm(c) / radius)
    tiny = 1e-14 * scale
    if h[0] > tiny:
        p = -c / h
        if np.linalg.norm(p) <= radius:
            return p, False
    if not scale > 0:
        return np.zeros_like(c), False
    low, high = max(0.0, -h[0]), np.linalg.norm(c) / radius + max(0.0, -h[0]) + tiny
    shifted = h + low
    curved = shifted > tiny
    p = np.where(curved, -c / np.where(curved, shifted, 1.0), 0.0)
    if np.linalg.norm(c[~curved]) <= tiny * radius and np.linalg.norm(p) <= radius:       # the hard case
        p[int(np.argmin(h))] += math.sqrt(max(radius ** 2 - float(p @ p), 0.0))
        return p, True
    mu = (low + high) / 2
    for _ in range(100):
        p = -c / (h + mu)
        length = float(np.linalg.norm(p))
        if abs(length - radius) <= 1e-10 * radius:
            break
        low, high = (mu, high) if length > radius else (low, mu)
        mu += (length - radius) / radius * length ** 2 / float(np.sum(c ** 2 / (h + mu) ** 3))
        if not low < mu < high:
            mu = (low + high) / 2
    return p, True


def truncated_cg(product: Callable[[Any], Any], g: Any, radius: float = math.inf, tolerance: float = 0.0, max_iter: int | None = None,
                 ) -> tuple[Any, Any, bool]:
    """Conjugate gradients on the model, until the residual is small, the curvature is not positive, or the boundary is reached.

    Nocedal & Wright, algorithms 7.1 (line search Newton-CG) and 7.2 (Steihaug 1983); as Hessian-free optimization: Martens (2010).
    Where the curvature along a direction is not positive, a finite radius is used up along it, and without one the step so far is
    returned (the first one is -g).

    Args:
        product: v -> Hv.
        g: the gradient, shape (n,).
        radius: the longest step.
        tolerance: stop when ‖Hp + g‖ is smaller.
        max_iter: stop after so many products; 10·n by default.

    Returns:
        The step p, its image Hp, both of shape (n,), and whether p ends on the boundary.

    Example:
        >>> p, Hp, boundary = truncated_cg(lambda v: np.array([1.0, 2.0]) * v, np.array([-2.0, -2.0]), tolerance=1e-9)
        >>> p.round(9), Hp.round(9), boundary
        (array([2., 1.]), array([2., 2.]), False)
    """
    xp = namespace(g)
    p, Hp, r, d = xp.zeros_like(g), xp.zeros_like(g), g, -g
    rr = float(r @ r)
    for k in range(10 * len(g) if max_iter is None else max_iter):
        if rr ** 0.5 <= tolerance or rr == 0:
            break
        Hd = product(d)
        curvature = float(d @ Hd)
        if not curvature > float(xp.finfo(g.dtype).eps) * float(d @ d) ** 0.5 * float(Hd @ Hd) ** 0.5:
            if math.isfinite(radius):
                t = _to_boundary(p, d, radius)
                return p + t * d, Hp + t * Hd, True
            return (p, Hp, False) if k else (d, Hd, False)
        alpha = rr / curvature
        further = p + alpha * d
        if float(further @ further) ** 0.5 >= radius:
            t = _to_boundary(p, d, radius)
            return p + t * d, Hp + t * Hd, True
        p, Hp, r = further, Hp + alpha * Hd, r + alpha * Hd
        rr, before = float(r @ r), rr
        d = rr / before * d - r
    return p, Hp, False


def _to_boundary(p: Any, d: Any, radius: float) -> float:
    """The t ≥ 0 with ‖p + t·d‖ = radius."""
    a, b, c = float(d @ d), float(p @ d), float(p @ p) - radius ** 2
    root = math.sqrt(max(b * b - a * c, 0.0))
    return -c / (b + root) if b > 0 else (root - b) / a
