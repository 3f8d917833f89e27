"""Products of two tensors that insist on their numbers of dimensions, and sums of a tensor with such a product."""
from __future__ import annotations

from typing import Any

from ...errors import ShapeError
from ...tensor import Tensor
from ..broadcast import reshape_to
from ..elementwise import where
from .core import column, columns, matmul, mT, rows

__all__ = ["addbmm", "addmm", "addmv", "addr", "baddbmm", "bmm", "dot", "ger", "inner", "mm", "mv", "outer", "vdot"]


def _expect(name: str, **operands: tuple[Any, int]) -> None:
    """Check numbers of dimensions: argument=(tensor, number)."""
    for argument, (x, ndim) in operands.items():
        if x.ndim != ndim:
            raise ShapeError(f"{name} takes a {ndim}-d {argument}, got shape {tuple(x.shape)}; matmul takes any shapes")


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices.

    Args:
        input: a tensor of shape (n, k).
        mat2: a tensor of shape (k, m).

    Returns:
        A tensor of shape (n, m).

    Raises:
        ShapeError: not two matrices, or shapes that do not multiply.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.mm(tg.tensor([[1.0, 2.0]]), tg.tensor([[3.0], [4.0]]))
        tensor([[11.]])
    """
    _expect("mm", input=(input, 2), mat2=(mat2, 2))
    return matmul(input, mat2)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of two stacks of matrices, one by one, without broadcasting.

    Args:
        input: a tensor of shape (b, n, k).
        mat2: a tensor of shape (b, k, m).

    Returns:
        A tensor of shape (b, n, m).

    Raises:
        ShapeError: not two stacks of one length, or shapes that do not multiply.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.bmm(tg.ones(2, 1, 3), tg.ones(2, 3, 1)).shape
        (2, 1, 1)
    """
    _expect("bmm", input=(input, 3), mat2=(mat2, 3))
    if input.shape[0] != mat2.shape[0]:
        raise ShapeError(f"bmm multiplies stacks of one length, got shapes {input.shape} and {mat2.shape}; matmul broadcasts")
    return matmul(input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix and a vector.

    Args:
        input: a tensor of shape (n, k).
        vec: a tensor of shape (k,).

    Returns:
        A tensor of shape (n,).

    Raises:
        ShapeError: not a matrix and a vector, or shapes that do not multiply.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.mv(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.tensor([1.0, 1.0]))
        tensor([3., 7.])
    """
    _expect("mv", input=(input, 2), vec=(vec, 1))
    return matmul(input, vec)


def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The inner product of two vectors.

    Args:
        input: a tensor of shape (n,).
        tensor: a tensor of shape (n,).

    Returns:
        A 0-d tensor.

    Raises:
        ShapeError: not two vectors of one length.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.dot(tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0]))
        tensor(11.)
    """
    _expect("dot", input=(input, 1), tensor=(tensor, 1))
    return matmul(input, tensor)


def vdot(input: Tensor, other: Tensor) -> Tensor:
    """The inner product of two vectors, as `dot`; PyTorch's differs for complex numbers only.

    Args:
        input: a tensor of shape (n,).
        other: a tensor of shape (n,).

    Returns:
        A 0-d tensor.

    Raises:
        ShapeError: not two vectors of one length.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.vdot(tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0]))
        tensor(11.)
    """
    _expect("vdot", input=(input, 1), other=(other, 1))
    return matmul(input, other)


def inner(input: Tensor, other: Tensor) -> Tensor:
    """The inner products of the last dimensions; with a 0-d tensor, a multiple.

    Args:
        input: a tensor of shape (…, k).
        other: a tensor of shape (…, k); nothing broadcasts.

    Returns:
        A tensor of shape (*input.shape[:-1], *other.shape[:-1]).

    Raises:
        ShapeError: last dimensions of different lengths.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.inner(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.tensor([1.0, 1.0]))
        tensor([3., 7.])
    """
    if input.ndim == 0 or other.ndim == 0:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise ShapeError(f"inner sums over the last dimensions, which differ: shapes {input.shape} and {other.shape}; "
                         f"write input @ other for the product of matrices")
    return reshape_to(matmul(rows(input), mT(rows(other))), shape=(*input.shape[:-1], *other.shape[:-1]))


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The outer product of two vectors, y[i, j] = input[i]·vec2[j].

    Args:
        input: a tensor of shape (n,).
        vec2: a tensor of shape (m,); dtypes are promoted.

    Returns:
        A tensor of shape (n, m).

    Raises:
        ShapeError: not two vectors.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.outer(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 10.0]))
        tensor([[ 1., 10.],
                [ 2., 20.]])
    """
    _expect("outer", input=(input, 1), vec2=(vec2, 1))
    return column(input) * vec2


def ger(input: Tensor, vec2: Tensor) -> Tensor:
    """The outer product of two vectors, as `outer`.

    Args:
        input: a tensor of shape (n,).
        vec2: a tensor of shape (m,).

    Returns:
        A tensor of shape (n, m).

    Raises:
        ShapeError: not two vectors.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.ger(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 10.0]))
        tensor([[ 1., 10.],
                [ 2., 20.]])
    """
    return outer(input, vec2)


# -- a product added to something --------------------------------------------------------------------------------------

def _plus(name: str, input: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    """beta·input + alpha·product, of the product's shape; an input times 0 is not read, so its NaNs do not spread."""
    skipped = len(product.shape) - len(input.shape)
    if skipped < 0 or any(n not in (1, wanted) for n, wanted in zip(input.shape, product.shape[skipped:])):
        raise ShapeError(f"{name}: the input of shape {input.shape} does not broadcast to the product's shape {product.shape}")
    if alpha != 1:
        product = product * alpha
    if beta == 0:
        return where(False, input, product)
    return (input if beta == 1 else input * beta) + product


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta·input + alpha·(mat1 @ mat2).

    Args:
        input: a tensor that broadcasts to (n, m).
        mat1: a tensor of shape (n, k).
        mat2: a tensor of shape (k, m).
        beta: a factor; with 0 the input is not read.
        alpha: a factor.

    Returns:
        A tensor of shape (n, m).

    Raises:
        ShapeError: shapes that do not fit.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.addmm(tg.tensor([1.0]), tg.tensor([[1.0, 2.0]]), tg.tensor([[3.0], [4.0]]), alpha=2)
        tensor([[23.]])
    """
    return _plus("addmm", input, mm(mat1, mat2), beta, alpha)


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta·input + alpha·(mat @ vec).

    Args:
        input: a tensor that broadcasts to (n,).
        mat: a tensor of shape (n, k).
        vec: a tensor of shape (k,).
        beta: a factor; with 0 the input is not read.
        alpha: a factor.

    Returns:
        A tensor of shape (n,).

    Raises:
        ShapeError: shapes that do not fit.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.addmv(tg.tensor([1.0]), tg.tensor([[1.0, 2.0]]), tg.tensor([3.0, 4.0]))
        tensor([12.])
    """
    return _plus("addmv", input, mv(mat, vec), beta, alpha)


def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta·input + alpha·outer(vec1, vec2).

    Args:
        input: a tensor that broadcasts to (n, m).
        vec1: a tensor of shape (n,).
        vec2: a tensor of shape (m,).
        beta: a factor; with 0 the input is not read.
        alpha: a factor.

    Returns:
        A tensor of shape (n, m).

    Raises:
        ShapeError: shapes that do not fit.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.addr(tg.tensor([[1.0]]), tg.tensor([1.0, 2.0]), tg.tensor([3.0]))
        tensor([[4.],
                [7.]])
    """
    return _plus("addr", input, outer(vec1, vec2), beta, alpha)


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta·input + alpha·bmm(batch1, batch2).

    Args:
        input: a tensor that broadcasts to (b, n, m).
        batch1: a tensor of shape (b, n, k).
        batch2: a tensor of shape (b, k, m).
        beta: a factor; with 0 the input is not read.
        alpha: a factor.

    Returns:
        A tensor of shape (b, n, m).

    Raises:
        ShapeError: shapes that do not fit.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.baddbmm(tg.zeros(1), tg.ones(2, 1, 3), tg.ones(2, 3, 1)).tolist()
        [[[3.0]], [[3.0]]]
    """
    return _plus("baddbmm", input, bmm(batch1, batch2), beta, alpha)


def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta·input + alpha·Σ batch1[i] @ batch2[i].

    Args:
        input: a tensor that broadcasts to (n, m).
        batch1: a tensor of shape (b, n, k).
        batch2: a tensor of shape (b, k, m).
        beta: a factor; with 0 the input is not read.
        alpha: a factor.

    Returns:
        A tensor of shape (n, m).

    Raises:
        ShapeError: shapes that do not fit.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.addbmm(tg.zeros(1), tg.ones(2, 1, 3), tg.ones(2, 3, 1))
        tensor([[6.]])
    """
    _expect("addbmm", batch1=(batch1, 3), batch2=(batch2, 3))
    if batch1.shape[0] != batch2.shape[0] or batch1.shape[2] != batch2.shape[1]:
        raise ShapeError(f"addbmm multiplies stacks of matrices one by one, got shapes {batch1.shape} and {batch2.shape}; "
                         f"they must be (b, n, k) and (b, k, m)")
    return _plus("addbmm", input, matmul(columns(batch1), rows(batch2)), beta, alpha)
