"""Products of another kind: chains of matrices, Kronecker's product, and the cross product in three dimensions."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...autograd.op import op
from ...errors import ShapeError
from ...tensor import Tensor, normalize_dim
from ..broadcast import reshape_to
from .core import matmul

__all__ = ["chain_matmul", "cross", "kron"]


def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of two or more matrices, multiplied in the order that takes the fewest multiplications.

    Args:
        matrices: tensors of shapes (a, b), (b, c), (c, d)…; the first and the last may be vectors.

    Returns:
        A tensor of shape (a, d); without a or d for a vector.

    Raises:
        ShapeError: shapes that do not multiply, or no tensor at all.

    The order is found by dynamic programming (Cormen et al., Introduction to Algorithms, 15.2).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.chain_matmul(tg.ones(2, 3), tg.ones(3, 4), tg.ones(4, 1))
        tensor([[12.],
                [12.]])
    """
    if not matrices:
        raise ShapeError("chain_matmul multiplies one or more matrices, got none")
    for i, m in enumerate(matrices):
        if m.ndim != 2 and not (m.ndim == 1 and i in (0, len(matrices) - 1)):
            raise ShapeError(f"a chain multiplies matrices, its matrix number {i} has shape {tuple(m.shape)}; matmul takes stacks")
    sizes = [1 if m.ndim == 1 and i == 0 else m.shape[0] for i, m in enumerate(matrices)]
    sizes.append(1 if matrices[-1].ndim == 1 else matrices[-1].shape[1])
    return _best_product(matrices, sizes)


def _best_product(matrices: Sequence[Any], sizes: Sequence[int]) -> Any:
    n = len(matrices)
    cost = {(i, i): 0 for i in range(n)}
    split: dict = {}
    for width in range(1, n):
        for i in range(n - width):
            j = i + width
            cost[i, j], split[i, j] = min((cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j))

    def multiply(i: int, j: int) -> Any:
        return matrices[i] if i == j else matmul(multiply(i, split[i, j]), multiply(split[i, j] + 1, j))
    return multiply(0, n - 1)


_cross: Callable = op("cross", lambda xp, a, b, *, dim: xp.cross(a, b, axis=dim), promote=("a", "b"), broadcast=True,
            a=lambda g, b, dim: _cross(b, g, dim=dim), b=lambda g, a, dim: _cross(g, a, dim=dim))


def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product of vectors in three dimensions.

    Args:
        input: a tensor with 3 elements along dim.
        other: a tensor with as many dimensions that broadcasts with it.
        dim: the dimension of the vectors; by default the first of length 3.

    Returns:
        A tensor of the broadcast shape.

    Raises:
        ShapeError: vectors that do not have 3 elements, or different numbers of dimensions.

    With y = a × b: da = b × dy, db = dy × a.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cross(tg.tensor([1.0, 0.0, 0.0]), tg.tensor([0.0, 1.0, 0.0]))
        tensor([0., 0., 1.])
    """
    if dim is None:
        dim = next((i for i, n in enumerate(input.shape) if n == 3), 0)
    if input.ndim == other.ndim > 0:
        dim = normalize_dim(dim, input.ndim)
        if input.shape[dim] == other.shape[dim] == 3:
            return _cross(input, other, dim=dim)
    raise ShapeError(f"cross takes two tensors of one number of dimensions, with 3 elements along dim {dim}, "
                     f"got shapes {input.shape} and {other.shape}")


def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: every element of input times the whole of other, in its place.

    Args:
        input: a tensor of any shape.
        other: a tensor of any shape; the shorter of the shapes is extended by ones in front, dtypes are promoted.

    Returns:
        A tensor whose shape is the product of both shapes.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.kron(tg.tensor([1.0, 10.0]), tg.tensor([1.0, 2.0]))
        tensor([ 1.,  2., 10., 20.])
    """
    n = max(input.ndim, other.ndim)
    a, b = ((1,) * (n - x.ndim) + tuple(x.shape) for x in (input, other))
    blocks = reshape_to(input, shape=sum(((k, 1) for k in a), ())) * reshape_to(other, shape=sum(((1, k) for k in b), ()))
    return reshape_to(blocks, shape=tuple(p * q for p, q in zip(a, b)))
