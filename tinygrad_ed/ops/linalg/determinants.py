"""Determinants, their logarithms, and traces."""
from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable
from typing import Any

from ...autograd.op import op
from ...errors import ShapeError
from ...tensor import Tensor
from ..broadcast import sum_over
from ..elementwise import where
from ..matmul import column, matmul, mT, row
from ..reduce import prod
from ..shape import diagonal
from .common import identity, number, require_matrices
from .decompositions import decompose
from .inverses import inv

__all__ = ["det", "logdet", "slogdet", "trace"]

SlogDet = namedtuple("SlogDet", "sign logabsdet")

_det = op("det", lambda xp, A: xp.linalg.det(A), A=lambda g, A: number(g) * _cofactors(A))
_slogdet = op("slogdet", lambda xp, A: tuple(xp.linalg.slogdet(A)), outputs=True, A=lambda g, A: number(g[1]) * mT(inv(A)))

# The derivative of det A is its matrix of cofactors: with A = U S Vᵀ, det(U Vᵀ)·U cof(S) Vᵀ, for singular matrices too.
_cofactors: Callable = op("cofactors", lambda A: _cofactors_of(A), A=lambda g, A: _cofactors_gradient(g, A))


def _oriented(A: Any) -> tuple:
    """U, S, Vᵀ and the sign det(U Vᵀ)."""
    U, S, Vh = decompose(A, full=False)
    return U, S, Vh, number(_slogdet(U @ Vh)[0])


def _cofactors_of(A: Any) -> Any:
    U, S, Vh, sign = _oriented(A)
    others = prod(where(identity(A), 1.0, row(S)), -1)          # the product of all singular values but the i-th
    return U * row(others) * sign @ Vh


def _cofactors_gradient(g: Any, A: Any) -> Any:
    """In the basis of the singular vectors: d cof[i, j] = -p[i, j] dA[j, i] and d cof[i, i] = Σⱼ p[i, j] dA[j, j].

    p[i, j] is the product of all singular values but the i-th and the j-th.
    """
    U, S, Vh, sign = _oriented(A)
    eye = identity(A)
    p = where(eye, 0.0, prod(where(eye[:, None] | eye[None, :], 1.0, row(row(S))), -1))
    G = mT(U) @ g @ mT(Vh)
    on_diagonal = matmul(p, column(diagonal(G, 0, -2, -1)))
    return U @ where(eye, on_diagonal, -p * mT(G)) * sign @ Vh


def det(input: Tensor) -> Tensor:
    """The determinant.

    Args:
        input: a tensor of shape (…, n, n).

    Returns:
        A tensor of shape (…).

    Raises:
        ShapeError: no square matrices.
        DTypeError: not float32 or float64.

    d det A = ⟨cof A, dA⟩ with the matrix of cofactors, det(A)·A⁻ᵀ for a regular matrix; right for singular ones too.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.det(tg.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor(-2.)
    """
    require_matrices("det", input, square=True)
    return _det(input)


def slogdet(input: Tensor) -> SlogDet:
    """The sign and the logarithm of the absolute value of the determinant.

    Args:
        input: a tensor of shape (…, n, n).

    Returns:
        A named tuple (sign, logabsdet) of tensors of shape (…); 0 and -inf for a singular matrix.

    Raises:
        ShapeError: no square matrices.
        DTypeError: not float32 or float64.

    d log|det A| = ⟨A⁻ᵀ, dA⟩.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.slogdet(tg.tensor([[1.0, 2.0], [3.0, 4.0]])).sign
        tensor(-1.)
    """
    require_matrices("slogdet", input, square=True)
    return SlogDet(*_slogdet(input))


def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant; NaN where it is negative, -inf where it is 0.

    Args:
        input: a tensor of shape (…, n, n).

    Returns:
        A tensor of shape (…).

    Raises:
        ShapeError: no square matrices.
        DTypeError: not float32 or float64.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.logdet(tg.tensor([[2.0, 0.0], [0.0, 0.5]]))
        tensor(0.)
    """
    require_matrices("logdet", input, square=True)
    sign, logabsdet = _slogdet(input)
    return where(sign < 0, math.nan, logabsdet)


def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix.

    Args:
        input: a tensor of shape (n, m).

    Returns:
        A 0-d tensor; int64 for integers.

    Raises:
        ShapeError: not a matrix.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.trace(tg.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor(5.)
    """
    if input.ndim != 2:
        raise ShapeError(f"trace takes a matrix, got shape {tuple(input.shape)}; write einsum('...ii', x) for the traces of a stack")
    return sum_over(diagonal(input), dims=(0,), keepdim=False)
