"""Eigenvalues, singular values, QR."""
from __future__ import annotations

from collections import namedtuple

from ..ops.linalg import decompositions as _ops
from ..ops.linalg.common import identity, require_matrices
from ..tensor import Tensor, wrap

__all__ = ["eigh", "eigvalsh", "qr", "svd", "svdvals"]

Eigh = namedtuple("Eigh", "eigenvalues eigenvectors")
SVD = namedtuple("SVD", "U S Vh")
QR = namedtuple("QR", "Q R")


def eigh(A: Tensor, UPLO: str = "L") -> Eigh:
    """A = V diag(L) Vᵀ of a symmetric matrix, with the eigenvalues in ascending order.

    Args:
        A: a tensor of shape (…, n, n), of which one triangle is read.
        UPLO: "L" for the lower triangle, "U" for the upper.

    Returns:
        A named tuple (eigenvalues, eigenvectors) of tensors (…, n) and (…, n, n), the eigenvectors as columns. Their signs
        are arbitrary; do not let a loss depend on them.

    Raises:
        ShapeError: no square matrices.
        ValueError: an unknown UPLO.
        LinAlgError: NaNs in the matrix.
        DTypeError: not float32 or float64.

    The gradient is symmetric, as the matrix is; that of eigenvectors exists where the eigenvalues are distinct.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.linalg.eigh(tg.tensor([[2.0, 1.0], [1.0, 2.0]])).eigenvalues
        tensor([1., 3.])
    """
    return Eigh(*_ops.symmetric(A, UPLO=_triangle("eigh", A, UPLO)))


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of a symmetric matrix, in ascending order.

    Args:
        A: a tensor of shape (…, n, n), of which one triangle is read.
        UPLO: "L" for the lower triangle, "U" for the upper.

    Returns:
        A tensor of shape (…, n).

    Raises:
        ShapeError: no square matrices.
        ValueError: an unknown UPLO.
        LinAlgError: NaNs in the matrix.
        DTypeError: not float32 or float64.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.linalg.eigvalsh(tg.tensor([[2.0, 1.0], [1.0, 2.0]]))
        tensor([1., 3.])
    """
    return _ops.symmetric_values(A, UPLO=_triangle("eigvalsh", A, UPLO))


def _triangle(name: str, A: Tensor, UPLO: str) -> str:
    require_matrices(name, A, square=True)
    if UPLO not in ("L", "U", "l", "u"):
        raise ValueError(f'{name}: UPLO is "L" or "U", got {UPLO!r}')
    return UPLO.upper()


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> SVD:
    """A = U diag(S) Vᵀ with orthogonal U and V and singular values S ≥ 0 in descending order.

    Args:
        A: a tensor of shape (…, m, n).
        full_matrices: U and V are square; otherwise they have k = min(m, n) columns, which is faster.
        driver: PyTorch's choice of a CUDA routine; not used.

    Returns:
        A named tuple (U, S, Vh) of tensors (…, m, m or k), (…, k) and (…, n or k, n). The signs of singular vectors are
        arbitrary; do not let a loss depend on them.

    Raises:
        ShapeError: no matrices.
        LinAlgError: NaNs in the matrix.
        DTypeError: not float32 or float64.
        GraphError: in backward, where a loss uses the columns of U or V beyond k, which are an arbitrary basis.

    The gradient of singular vectors exists where the singular values are distinct.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.linalg.svd(tg.tensor([[3.0, 0.0], [0.0, 4.0]])).S
        tensor([4., 3.])
    """
    require_matrices("svd", A)
    return SVD(*_ops.decompose(A, full=bool(full_matrices) and A.shape[-1] != A.shape[-2]))


def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values of a matrix, in descending order.

    Args:
        A: a tensor of shape (…, m, n).
        driver: PyTorch's choice of a CUDA routine; not used.

    Returns:
        A tensor of shape (…, min(m, n)).

    Raises:
        ShapeError: no matrices.
        LinAlgError: NaNs in the matrix.
        DTypeError: not float32 or float64.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.linalg.svdvals(tg.tensor([[3.0, 0.0], [0.0, 4.0]]))
        tensor([4., 3.])
    """
    require_matrices("svdvals", A)
    return _ops.singular_values(A)


def qr(A: Tensor, mode: str = "reduced") -> QR:
    """A = Q R with orthogonal Q and upper triangular R.

    Args:
        A: a tensor of shape (…, m, n).
        mode: "reduced" gives Q k = min(m, n) columns, "complete" m, and "r" computes R alone, with an empty Q.

    Returns:
        A named tuple (Q, R) of tensors (…, m, k) and (…, k, n).

    Raises:
        ShapeError: no matrices.
        ValueError: an unknown mode.
        DTypeError: not float32 or float64.
        GraphError: in backward, with mode "r", or "complete" for more rows than columns.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.linalg.qr(tg.ones(3, 2)).Q.shape
        (3, 2)
    """
    require_matrices("qr", A)
    if mode == "r":
        return QR(wrap(identity(A, A.dtype)[:0, 0]), _ops.only_r(A))
    if mode not in ("reduced", "complete"):
        raise ValueError(f'qr: mode is "reduced", "complete" or "r", got {mode!r}')
    wide = A.shape[-2] <= A.shape[-1]
    return QR(*(_ops.orthogonal(A) if mode == "reduced" or wide else _ops.complete_qr(A)))
