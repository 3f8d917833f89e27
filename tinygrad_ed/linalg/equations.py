"""Linear equations, least squares, and how well they are posed."""
from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ShapeError
from ..ops.broadcast import reshape_to, sum_over
from ..ops.elementwise import square, where
from ..ops.linalg import det, inverse
from ..ops.linalg import inverses as _ops
from ..ops.linalg.common import identity, require_matrices
from ..ops.linalg.decompositions import singular_values
from ..ops.matmul import column, matmul, mT
from ..tensor import Tensor, wrap
from .norms import matrix_norm

__all__ = ["cond", "lstsq", "matrix_rank", "pinv", "solve", "solve_triangular"]

Lstsq = namedtuple("Lstsq", "solution residuals rank singular_values")


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B, or with X A = B.

    Args:
        A: a tensor of shape (…, n, n).
        B: the right-hand sides, of shape (…, n, k); or (n,) or A's shape without its last dimension, for one vector each.
        left: whether A stands on the left of X; otherwise B is (…, k, n), and no vector.

    Returns:
        A tensor of B's shape, broadcast.

    Raises:
        ShapeError: shapes that do not fit.
        LinAlgError: a singular matrix.
        DTypeError: two dtypes, or not float32 or float64.

    dB = A⁻ᵀ dX, dA = -dB Xᵀ.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.linalg.solve(tg.tensor([[2.0, 0.0], [0.0, 4.0]]), tg.tensor([2.0, 2.0]))
        tensor([1.0000, 0.5000])
    """
    require_matrices("solve", A, square=True)
    vector = B.ndim == 1 or tuple(B.shape) == tuple(A.shape[:-1])
    return _solved("solve", A, B, left, vector, _ops.solve)


def _solved(name: str, A: Tensor, B: Tensor, left: bool, vector: bool, routine: Callable) -> Tensor:
    """routine(A, B) for vectors, and for A on the other side."""
    C = column(B) if vector else B
    batch = [n for n in zip(reversed(A.shape[:-2]), reversed(C.shape[:-2])) if n[0] != n[1] and 1 not in n]
    if batch or C.ndim < 2 or (vector and not left) or C.shape[-2 if left else -1] != A.shape[-1]:
        raise ShapeError(f"{name}: the matrix of shape {tuple(A.shape)} and the right-hand side of shape {tuple(B.shape)} do not fit; "
                         f"B has as many {'rows' if left else 'columns'} as A, and the batch dimensions broadcast")
    if not left:
        return mT(routine(mT(A), mT(C)))
    X = routine(A, C)
    return reshape_to(X, shape=tuple(X.shape[:-1])) if vector else X


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X with A X = B, or X A = B, for a triangular A.

    Args:
        A: a tensor of shape (…, n, n), of which one triangle is read.
        B: the right-hand sides, of shape (…, n, k).
        upper: whether A is upper triangular.
        left: whether A stands on the left of X; otherwise B is (…, k, n).
        unitriangular: the diagonal of A is taken as ones and not read.

    Returns:
        A tensor of B's shape, broadcast.

    Raises:
        ShapeError: shapes that do not fit.
        LinAlgError: a zero on the diagonal.
        DTypeError: two dtypes, or not float32 or float64.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.linalg.solve_triangular(tg.tensor([[2.0, 9.0], [2.0, 1.0]]), tg.tensor([[2.0], [3.0]]), upper=False)
        tensor([[1.],
                [1.]])
    """
    require_matrices("solve_triangular", A, square=True)
    return _solved("solve_triangular", A, B, left, False, lambda T, C: _ops.solve_triangle(T, C, upper == left, unitriangular))


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Lstsq:
    """The X of least norm that minimises |A X - B|.

    Args:
        A: a tensor of shape (…, m, n).
        B: a tensor of shape (…, m, k), or (…, m) with A's batch dimensions for one vector each.
        rcond: singular values up to rcond times the largest count as 0; max(m, n) times the precision by default.
        driver: "gelsy", "gelsd", "gelss" or "gels"; one method serves for all, but PyTorch returns no rank for "gels", and
            singular values for the two in the middle only.

    Returns:
        A named tuple: solution (…, n, k); residuals (…, k), the sums of squares where m > n and all ranks are full, else
        empty; rank (…); singular_values (…, min(m, n)) or empty.

    Raises:
        ShapeError: shapes that do not fit.
        ValueError: an unknown driver.
        DTypeError: two dtypes, or not float32 or float64.

    The solution is A⁺B, with the derivative of the pseudoinverse.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.linalg.lstsq(tg.tensor([[1.0], [0.0]]), tg.tensor([[2.0], [3.0]])).solution
        tensor([[2.]])
    """
    require_matrices("lstsq", A)
    if driver not in (None, "gelsy", "gelsd", "gelss", "gels"):
        raise ValueError(f'lstsq: driver is "gelsy", "gelsd", "gelss" or "gels", got {driver!r}')
    vector = A.ndim - 1 == B.ndim and tuple(A.shape[:-1]) == tuple(B.shape)
    right = column(B) if vector else B
    if right.ndim < 2 or right.shape[-2] != A.shape[-2]:
        raise ShapeError(f"lstsq: A of shape {tuple(A.shape)} has {A.shape[-2]} rows, B of shape {tuple(B.shape)} must have as many")
    solution = matmul(_ops.pseudoinverse(A, rtol=rcond, atol=0.0), right)
    S = singular_values(A.detach())
    rank = _count(S, A.shape, rcond, 0.0)
    full = A.shape[-2] > A.shape[-1] and bool((rank._data == A.shape[-1]).all())
    residuals = sum_over(square(matmul(A, solution) - right), dims=(right.ndim - 2,), keepdim=False) if full else _empty(S)
    if vector:
        solution = reshape_to(solution, shape=tuple(solution.shape[:-1]))
    return Lstsq(solution, residuals, _empty(rank) if driver == "gels" else rank, S if driver in ("gelsd", "gelss") else _empty(S))


def _empty(like: Tensor) -> Tensor:
    return wrap(like._data.reshape(-1)[:0])


def pinv(A: Tensor, *, atol: float | None = None, rtol: float | None = None, hermitian: bool = False) -> Tensor:
    """The pseudoinverse (Moore & Penrose), from the singular value decomposition.

    Args:
        A: a tensor of shape (…, m, n).
        atol: singular values up to this count as 0; 0 by default.
        rtol: singular values up to rtol times the largest count as 0; max(m, n) times the precision by default, 0 with atol.
        hermitian: the matrix is symmetric; makes no difference here.

    Returns:
        A tensor of shape (…, n, m).

    Raises:
        ShapeError: no matrices.
        LinAlgError: NaNs in the matrix.
        DTypeError: not float32 or float64.

    The derivative is that at constant rank (Golub & Pereyra 1973).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.linalg.pinv(tg.tensor([[2.0, 0.0]]))
        tensor([[0.5000],
                [0.0000]])
    """
    require_matrices("pinv", A, square=hermitian)
    return _ops.pseudoinverse(A, rtol=rtol, atol=atol)


def matrix_rank(A: Tensor, *, atol: float | None = None, rtol: float | None = None, hermitian: bool = False) -> Tensor:
    """The number of singular values that do not count as 0.

    Args:
        A: a tensor of shape (…, m, n).
        atol: as for `pinv`.
        rtol: as for `pinv`.
        hermitian: the matrix is symmetric; makes no difference here.

    Returns:
        An int64 tensor of shape (…).

    Raises:
        ShapeError: no matrices.
        DTypeError: not float32 or float64.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.linalg.matrix_rank(tg.ones(3, 3))
        tensor(1)
    """
    require_matrices("matrix_rank", A, square=hermitian)
    return _count(singular_values(A.detach()), A.shape, rtol, atol)


def _count(S: Tensor, shape: Sequence[int], rtol: float | None, atol: float | None) -> Tensor:
    return (S > wrap(_ops.cutoff(S._data, tuple(shape), rtol, atol))).sum(-1)


def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number |A|·|A⁻¹|, infinite for a singular matrix.

    Args:
        A: a tensor of shape (…, n, n); for the default p also (…, m, n).
        p: the norm, as the `ord` of `matrix_norm`; None for 2, the ratio of the largest and the smallest singular value.

    Returns:
        A tensor of shape (…).

    Raises:
        ShapeError: no matrices, or none that are square where p asks for it.
        DTypeError: not float32 or float64.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.linalg.cond(tg.tensor([[4.0, 0.0], [0.0, 2.0]]))
        tensor(2.)
    """
    require_matrices("cond", A, square=p not in (None, 2, -2))
    if p in (None, 2, -2):
        S = singular_values(A)
        return S[..., -1] / S[..., 0] if p == -2 else S[..., 0] / S[..., -1]
    singular = det(A.detach()) == 0
    regular = where(column(column(singular)), wrap(identity(A, A.dtype)), A)
    return where(singular, math.inf, matrix_norm(A, p) * matrix_norm(inverse(regular), p))
