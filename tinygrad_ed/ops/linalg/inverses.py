"""Inverses, pseudoinverses, solutions of linear equations, and powers and exponentials of matrices."""
from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd.op import op
from ...backend import namespace
from ...errors import ShapeError
from ...tensor import Tensor
from ..broadcast import sum_to
from ..elementwise import where
from ..join import cat
from ..matmul import mT, row
from ..shape import tril, triu
from .common import FINITE, identity, lapack, require_matrices

__all__ = ["cholesky_inverse", "cholesky_solve", "inverse", "matrix_exp", "matrix_power", "pinverse"]

_REGULAR = "add a small multiple of the identity, or use linalg.pinv or linalg.lstsq"

# d(A⁻¹) = -A⁻¹ dA A⁻¹
inv = op("inv", lambda xp, A: lapack(xp.linalg.inv, "inv", _REGULAR, A), A=lambda g, y: -(mT(y) @ g @ mT(y)))

solve = op("solve", lambda xp, A, B: lapack(xp.linalg.solve, "solve", _REGULAR, A, B), match=("A", "B"),
           gradients=lambda g, A, y, A_shape, B_shape, needs: _solve_gradients(g, A, y, A_shape, B_shape, needs),
           doc="X with A X = B, for stacks of matrices that broadcast.")


def _solve_gradients(g: Any, A: Any, X: Any, A_shape: tuple, B_shape: tuple, needs: tuple) -> tuple:
    """dB = A⁻ᵀ dX, dA = -dB Xᵀ."""
    dB = solve(mT(A), g)
    return (sum_to(-(dB @ mT(X)), shape=A_shape) if needs[0] else None), (sum_to(dB, shape=B_shape) if needs[1] else None)


def solve_triangle(A: Any, B: Any, upper: bool, unit: bool = False) -> Any:
    """X with T X = B, where T is a triangle of A, with ones on its diagonal if unit."""
    T = triu(A) if upper else tril(A)
    return solve(where(identity(A), 1.0, T) if unit else T, B)


def cutoff(S: Any, shape: tuple, rtol: float | None, atol: float | None) -> Any:
    """The singular value (…, 1) up to which others count as 0."""
    if rtol is None:
        rtol = max(shape[-2:]) * float(np.finfo(S.dtype).eps) if not atol else 0.0
    limit = S[..., :1] * rtol
    return limit if not atol else namespace(S).maximum(limit, atol)


def _pseudoinverse(xp: Any, A: Any, rtol: float | None, atol: float | None) -> Any:
    U, S, Vh = lapack(xp.linalg.svd, "pinv", FINITE, A, full_matrices=False)
    kept = S > cutoff(S, A.shape, rtol, atol)
    return (mT(Vh) * row(xp.where(kept, 1 / xp.where(kept, S, 1), 0))) @ mT(U)


pseudoinverse = op("pinv", lambda xp, A, *, rtol, atol: _pseudoinverse(xp, A, rtol, atol), A=lambda g, A, y: _pinv_gradient(g, A, y))


def _pinv_gradient(g: Any, A: Any, Y: Any) -> Any:
    """At constant rank (Golub & Pereyra 1973): dY = -Y dA Y + Y Yᵀ dAᵀ (1 - A Y) + (1 - Y A) dAᵀ Yᵀ Y."""
    Yt, gt = mT(Y), mT(g)
    return -(Yt @ g @ Yt) + (gt - A @ (Y @ gt)) @ Y @ Yt + Yt @ Y @ (gt - (gt @ Y) @ A)


_expm = op("matrix_exp", lambda xp, A: _matrix_exponential(xp, A), A=lambda g, A: _expm_gradient(g, A))


def _matrix_exponential(xp: Any, A: Any) -> Any:
    if xp is np:
        from scipy.linalg import expm
    else:
        from cupyx.scipy.linalg import expm
    return expm(A).astype(A.dtype, copy=False)


def _expm_gradient(g: Any, A: Any) -> Any:
    """The upper right block of exp([[Aᵀ, dY], [0, Aᵀ]]) (Mathias 1996)."""
    n, T = A.shape[-1], mT(A)
    above, below = cat([T, g], -1), cat([where(True, 0.0, T), T], -1)
    return _expm(cat([above, below], -2))[..., :n, n:]


# -- the functions at the top level ------------------------------------------------------------------------------------

def inverse(input: Tensor) -> Tensor:
    """The inverse of a square matrix. To solve equations, `linalg.solve` is faster and more exact.

    Args:
        input: a tensor of shape (…, n, n).

    Returns:
        A tensor of the same shape.

    Raises:
        ShapeError: no square matrices.
        LinAlgError: a singular matrix.
        DTypeError: not float32 or float64.

    With Y = A⁻¹: dA = -Yᵀ dY Yᵀ.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.inverse(tg.tensor([[2.0, 0.0], [0.0, 4.0]]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.2500]])
    """
    require_matrices("inv", input, square=True)
    return inv(input)


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The pseudoinverse; see `linalg.pinv`.

    Args:
        input: a tensor of shape (…, n, m).
        rcond: singular values up to rcond times the largest count as 0.

    Returns:
        A tensor of shape (…, m, n).

    Raises:
        ShapeError: no matrices.
        DTypeError: not float32 or float64.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.pinverse(tg.tensor([[2.0, 0.0]]))
        tensor([[0.5000],
                [0.0000]])
    """
    require_matrices("pinverse", input)
    return pseudoinverse(input, rtol=rcond, atol=0.0)


def cholesky_solve(input: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with A X = B, from the Cholesky factor of A.

    Args:
        input: B, a tensor of shape (…, n, k).
        L: the factor, of shape (…, n, n); A = L Lᵀ.
        upper: the factor is upper triangular, and A = LᵀL.

    Returns:
        A tensor of shape (…, n, k).

    Raises:
        ShapeError: shapes that do not fit.
        LinAlgError: a factor with a zero on its diagonal.
        DTypeError: not float32 or float64.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cholesky_solve(tg.tensor([[4.0]]), tg.tensor([[2.0]]))
        tensor([[1.]])
    """
    require_matrices("cholesky_solve", input)
    require_matrices("cholesky_solve", L, square=True)
    if input.shape[-2] != L.shape[-1]:
        raise ShapeError(f"cholesky_solve: the right-hand side of shape {tuple(input.shape)} must have {L.shape[-1]} rows, as the factor")
    first, second = (mT(L), L) if upper else (L, mT(L))
    return solve_triangle(second, solve_triangle(first, input, upper=False), upper=True)


def cholesky_inverse(input: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A, from its Cholesky factor.

    Args:
        input: the factor, a tensor of shape (…, n, n); A = L Lᵀ.
        upper: the factor is upper triangular, and A = LᵀL.

    Returns:
        A tensor of the same shape.

    Raises:
        ShapeError: no square matrices.
        LinAlgError: a factor with a zero on its diagonal.
        DTypeError: not float32 or float64.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cholesky_inverse(tg.tensor([[2.0]]))
        tensor([[0.2500]])
    """
    require_matrices("cholesky_inverse", input, square=True)
    return cholesky_solve(identity(input, input.dtype), input, upper)


def matrix_power(input: Tensor, n: int) -> Tensor:
    """A matrix multiplied n times by itself, by repeated squaring; of the inverse for n < 0.

    Args:
        input: a tensor of shape (…, m, m).
        n: the power.

    Returns:
        A tensor of the same shape; the identity for n = 0.

    Raises:
        ShapeError: no square matrices.
        LinAlgError: a negative power of a singular matrix.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.matrix_power(tg.tensor([[1.0, 1.0], [0.0, 1.0]]), 3)
        tensor([[1., 3.],
                [0., 1.]])
    """
    if input.ndim < 2 or input.shape[-1] != input.shape[-2]:
        raise ShapeError(f"matrix_power takes a square matrix or a stack of them, got shape {tuple(input.shape)}")
    if n == 0:
        return where(True, identity(input, input.dtype), input)
    return _power(input if n > 0 else inverse(input), n if n > 0 else -n)


def _power(x: Any, n: int) -> Any:
    if n % 2:
        return x if n == 1 else x @ _power(x, n - 1)
    half = _power(x, n // 2)
    return half @ half


def matrix_exp(input: Tensor) -> Tensor:
    """The exponential of a square matrix, Σ Aᵏ / k!.

    Args:
        input: a tensor of shape (…, n, n).

    Returns:
        A tensor of the same shape.

    Raises:
        ShapeError: no square matrices.
        DTypeError: not float32 or float64.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.matrix_exp(tg.tensor([[0.0, 1.0], [0.0, 0.0]]))
        tensor([[1., 1.],
                [0., 1.]])
    """
    require_matrices("matrix_exp", input, square=True)
    return _expm(input)
