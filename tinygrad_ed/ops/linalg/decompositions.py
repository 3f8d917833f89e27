"""Decompositions of matrices and their derivatives: singular values, eigenvalues, Cholesky, QR."""
from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np

from ...autograd.op import op
from ...errors import GraphError
from ...tensor import Tensor
from ..elementwise import abs, maximum, where
from ..join import cat
from ..matmul import column, mT, row
from ..shape import tril
from .common import FINITE, identity, lapack, require_matrices
from .inverses import solve

__all__ = ["cholesky", "qr", "svd"]

QR = namedtuple("QR", "Q R")
SVD = namedtuple("SVD", "U S V")


def _divider(values: Any, *gradients: Any) -> Callable:
    """Division by differences of eigenvalues or singular values.

    Where a difference is nothing but rounding the vectors have no derivative: the quotient is NaN if there are gradients of
    vectors at all, so that nobody takes noise for a derivative, and 0 if there are none.
    """
    values, *changes = [x._data if isinstance(x, Tensor) else x for x in (values, *gradients)]
    used: Any = False
    for g in changes:
        used = (g != 0).any(axis=(-2, -1), keepdims=True) | used
    rounding = column(maximum(abs(values[..., :1]), abs(values[..., -1:]))) * (4 * float(np.finfo(values.dtype).eps))

    def divide(n: Any, d: Any) -> Any:
        tie = abs(d) <= rounding
        return where(tie & used, math.nan, n / where(tie, math.inf, d))
    return divide


decompose = op("svd", lambda xp, A, *, full: tuple(lapack(xp.linalg.svd, "svd", FINITE, A, full_matrices=full)), outputs=True,
               A=lambda g, y, full: _svd_gradient(*(_narrowed(g, y) if full else (g, y))))


def _narrowed(g: Any, y: Any) -> tuple:
    """U and Vᵀ of a full decomposition, and their gradients, without what spans the null spaces, whose basis is arbitrary."""
    (gU, gS, gVh), (U, S, Vh) = g, y
    k = S.shape[-1]
    if bool((gU[..., k:] != 0).any()) or bool((gVh[..., k:, :] != 0).any()):
        raise GraphError(f"the singular vectors beyond the first {k} are an arbitrary basis and have no derivative; "
                         f"write svd(A, full_matrices=False), or use only U[..., :{k}] and Vh[..., :{k}, :]")
    return (gU[..., :k], gS, gVh[..., :k, :]), (U[..., :k], S, Vh[..., :k, :])


def _svd_gradient(g: Any, y: Any) -> Any:
    """For distinct singular values (Townsend 2016, "Differentiating the singular value decomposition").

    With a, b the antisymmetric parts of UᵀdU and VᵀdV, off the diagonal (a sⱼ + sᵢ b) / (sⱼ² - sᵢ²), taken apart here so
    that close singular values lose fewer digits.
    """
    (gU, gS, gVh), (U, S, Vh) = g, y
    divide = _divider(S, gU, gVh)
    u, v = mT(U) @ gU, Vh @ mT(gVh)
    a, b = u - mT(u), v - mT(v)
    across = (divide(a + b, row(S) - column(S)) + divide(a - b, row(S) + column(S))) * 0.5
    gA = U @ where(identity(across), row(gS), across) @ Vh
    if U.shape[-2] > S.shape[-1]:
        gA = gA + divide(gU - U @ u, row(S)) @ Vh
    if Vh.shape[-1] > S.shape[-1]:
        gA = gA + U @ divide(gVh - mT(v) @ Vh, column(S))
    return gA


singular_values = op("svdvals", lambda xp, A: lapack(xp.linalg.svd, "svdvals", FINITE, A, compute_uv=False),
                     A=lambda g, A: _from_values(g, decompose(A, full=False)))


def _from_values(g: Any, y: Any) -> Any:
    """dA = U diag(dS) Vᵀ."""
    U, _, Vh = y
    return U * row(g) @ Vh


symmetric = op("eigh", lambda xp, A, *, UPLO: tuple(lapack(xp.linalg.eigh, "eigh", FINITE, A, UPLO=UPLO)), outputs=True,
               A=lambda g, y: _eigh_gradient(g, y))
symmetric_values = op("eigvalsh", lambda xp, A, *, UPLO: lapack(xp.linalg.eigvalsh, "eigvalsh", FINITE, A, UPLO=UPLO),
                      A=lambda g, A, UPLO: _from_eigenvalues(g, symmetric(A, UPLO=UPLO)))


def _eigh_gradient(g: Any, y: Any) -> Any:
    """V (diag(dL) + a / (Lⱼ - Lᵢ)) Vᵀ, a the antisymmetric part of VᵀdV; for distinct eigenvalues (Giles 2008)."""
    (gL, gV), (L, V) = g, y
    v = mT(V) @ gV
    across = _divider(L, gV)((v - mT(v)) * 0.5, row(L) - column(L))
    return V @ where(identity(V), row(gL), across) @ mT(V)


def _from_eigenvalues(g: Any, y: Any) -> Any:
    """dA = V diag(dL) Vᵀ."""
    V = y[1]
    return V * row(g) @ mT(V)


lower_factor = op("cholesky", lambda xp, A: lapack(xp.linalg.cholesky, "cholesky", "add a small multiple of the identity", A),
                  A=lambda g, y: _cholesky_gradient(g, y))


def _cholesky_gradient(g: Any, L: Any) -> Any:
    """The symmetric part of L⁻ᵀ Φ(Lᵀ dL) L⁻¹, Φ the lower triangle with half the diagonal (Murray 2016)."""
    P = tril(mT(L) @ g)
    P = where(identity(L), P * 0.5, P)
    S = solve(mT(L), mT(solve(mT(L), P)))
    return (S + mT(S)) * 0.5


reduced_qr = op("qr", lambda xp, A: tuple(xp.linalg.qr(A)), outputs=True, A=lambda g, y: _qr_gradient(g, y))
complete_qr = op("qr", lambda xp, A: tuple(xp.linalg.qr(A, mode="complete")), outputs=True, A=lambda g: _no_gradient(
    'qr(mode="complete") of a matrix with more rows than columns has no derivative, since the columns of Q beyond them are arbitrary'))
only_r = op("qr", lambda xp, A: xp.linalg.qr(A, mode="r"), A=lambda g: _no_gradient(
    'the derivative of R needs Q, which qr(mode="r") does not compute'))


def _no_gradient(why: str) -> Any:
    raise GraphError(f'{why}; write qr(A, mode="reduced")')


def _qr_gradient(g: Any, y: Any) -> Any:
    """(dQ + Q sym(R dRᵀ - dQᵀ Q)) R⁻ᵀ, sym the lower triangle mirrored; for rows ≥ columns (Walter & Lehmann 2010)."""
    (gQ, gR), (Q, R) = g, y
    M = R @ mT(gR) - mT(gQ) @ Q
    return mT(solve(R, mT(gQ + Q @ (tril(M) + mT(tril(M, -1))))))


def orthogonal(A: Any) -> tuple:
    """Q and R of A = Q R, reduced; the columns of A beyond the square are Q times those of R."""
    m, n = A.shape[-2:]
    if m >= n:
        return reduced_qr(A)
    Q, R = reduced_qr(A[..., :m])
    return Q, cat([R, mT(Q) @ A[..., m:]], -1)


# -- the functions at the top level ------------------------------------------------------------------------------------

def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> SVD:
    """A = U diag(S) Vᵀ; `linalg.svd` under its older name, with V where that has Vᵀ.

    Args:
        input: a tensor of shape (…, m, n).
        some: the reduced form, with k = min(m, n) columns in U and V; otherwise they are square.
        compute_uv: if False, U and V are square and zero.

    Returns:
        A named tuple (U, S, V) of tensors (…, m, k), (…, k) and (…, n, k).

    Raises:
        ShapeError: no matrices.
        DTypeError: not float32 or float64.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.svd(tg.tensor([[3.0, 0.0], [0.0, 4.0]])).S
        tensor([4., 3.])
    """
    require_matrices("svd", input)
    if not compute_uv:
        zeros = [where(True, 0.0, input.detach()[..., :1, :1]).expand(*input.shape[:-2], n, n).clone() for n in input.shape[-2:]]
        return SVD(zeros[0], singular_values(input), zeros[1])
    U, S, Vh = decompose(input, full=not some and input.shape[-1] != input.shape[-2])
    return SVD(U, S, mT(Vh))


def qr(input: Tensor, some: bool = True) -> QR:
    """A = Q R with orthogonal Q and upper triangular R; `linalg.qr` under its older name.

    Args:
        input: a tensor of shape (…, m, n).
        some: the reduced form, with k = min(m, n) columns in Q; otherwise the complete one.

    Returns:
        A named tuple (Q, R) of tensors (…, m, k) and (…, k, n).

    Raises:
        ShapeError: no matrices.
        DTypeError: not float32 or float64.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.qr(tg.ones(3, 2)).R.shape
        (2, 2)
    """
    require_matrices("qr", input)
    return QR(*(orthogonal(input) if some or input.shape[-2] <= input.shape[-1] else complete_qr(input)))


def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """The triangular L with A = L Lᵀ of a symmetric positive definite matrix, of which the lower triangle is read.

    Args:
        input: a tensor of shape (…, n, n).
        upper: return Lᵀ instead.

    Returns:
        A tensor of the same shape, with zeros in the other triangle.

    Raises:
        ShapeError: no square matrices.
        LinAlgError: a matrix that is not positive definite.
        DTypeError: not float32 or float64.

    The gradient is symmetric, as the matrix is.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cholesky(tg.tensor([[4.0, 2.0], [2.0, 5.0]]))
        tensor([[2., 0.],
                [1., 2.]])
    """
    require_matrices("cholesky", input, square=True)
    L = lower_factor(input)
    return mT(L) if upper else L
