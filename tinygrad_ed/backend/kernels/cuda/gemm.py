"""Which call of BLAS computes a @ b, and which operand must be copied before: pure Python on shapes and strides.

BLAS knows matrices stored column by column: element (i, j) lies i + j·ld elements behind the first. One that is stored row by row is to BLAS
its own transpose, so instead of Y = A B it is asked for Yᵀ = Bᵀ Aᵀ: its first operand is our second one. A transposed view, a row or column
slice of a matrix and a stack that is repeated by broadcasting all need no copy.
"""
from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

__all__ = ["Gemm", "Plan", "Sizes", "plan"]

Sizes = tuple[int, ...]


class Gemm(NamedTuple):
    """D = epilogue(op(A) op(B) + bias + beta·D), for each matrix of a batch; op(A) is m × k, op(B) k × n, D m × n, all stored by columns.

    With transa, A is stored as the k × m matrix that op transposes. `stridea` and so on lead from one matrix of the batch to the next.
    """

    m: int
    n: int
    k: int
    transa: bool
    transb: bool
    lda: int
    ldb: int
    ldd: int
    batch: int = 1
    stridea: int = 0
    strideb: int = 0
    strided: int = 0
    dtype: str = "float32"               # of all matrices and the bias
    compute: str = "32F"                 # what products are added up in; "32F_FAST_TF32" rounds their factors to 10 bits
    epilogue: str = "DEFAULT"            # or a key of `cublaslt.EPILOGUES`: a number added to each row of D, and an activation
    beta: int = 0


class Plan(NamedTuple):
    """How to compute a @ b: the call, None where there is nothing to add up; the result's shape; the shapes to copy a and b in, None for no copy."""

    gemm: Gemm | None
    shape: Sizes
    copy_a: Sizes | None = None
    copy_b: Sizes | None = None


@lru_cache(maxsize=4096)
def plan(a_shape: Sizes, a_strides: Sizes, b_shape: Sizes, b_strides: Sizes, itemsize: int) -> Plan:
    """The plan for a @ b, by NumPy's rules for matrices, stacks of them and vectors.

    Args:
        a_shape, a_strides: of the first operand, strides in bytes.
        b_shape, b_strides: of the second one.
        itemsize: bytes of an element.

    Raises:
        ValueError: shapes that do not multiply.

    Example:
        >>> plan((2, 3), (12, 4), (3, 5), (4, 12), 4).gemm          # a @ w.T, where w is (5, 3)
        Gemm(m=5, n=2, k=3, transa=True, transb=False, lda=3, ldb=3, ldd=5, batch=1, stridea=0, strideb=0, strided=0, dtype='float32', ...)
    """
    if not (a_shape and b_shape) or a_shape[-1] != b_shape[-2:][0]:
        raise ValueError(f"shapes {a_shape} and {b_shape} do not multiply")
    a, b = _Operand(a_shape, a_strides, itemsize, row=True), _Operand(b_shape, b_strides, itemsize, row=False)
    batch = np.broadcast_shapes(a.lead, b.lead)
    (n, k), m = a.sizes, b.sizes[1]
    shape = (*batch, *(a_shape[-2:-1] and (n,)), *(b_shape[1:] and (m,)))
    if 0 in (*batch, n, m, k):
        return Plan(None, shape)
    if b.step(batch) == 0 and (folded := a.folded(batch)) is not None:
        a, n, batch = folded, folded.sizes[0], ()                  # a stack times one matrix: all its rows under each other
    copy_a, copy_b = a.copied(batch), b.copied(batch)
    if copy_a or copy_b:
        return Plan(None, shape, copy_a, copy_b)
    (lda, by_rows_b), (ldb, by_rows_a) = b.storage, a.storage     # type: ignore[misc]
    gemm = Gemm(m, n, k, not by_rows_b, not by_rows_a, lda, ldb, m)
    count = prod(batch)
    return Plan(gemm if count == 1 else gemm._replace(batch=count, stridea=b.step(batch) or 0, strideb=a.step(batch) or 0, strided=m * n), shape)


class _Operand:
    """A stack of matrices: sizes and strides, in elements, of the dimensions before the last two, and of those two."""

    def __init__(self, shape: Sizes, strides: Sizes, itemsize: int, row: bool):
        self.shape = shape
        steps = tuple([s // itemsize for s in strides])
        if len(shape) == 1:                          # a vector is a matrix of one row, or of one column
            shape, steps = ((1, *shape), (0, *steps)) if row else ((*shape, 1), (*steps, 0))
        self.lead, self.lead_steps, self.sizes, self.steps = shape[:-2], steps[:-2], shape[-2:], steps[-2:]

    @property
    def storage(self) -> tuple[int, bool] | None:
        """The leading dimension, and whether the matrix is stored by rows; None for one that is stored otherwise."""
        (rows, columns), (down, right) = self.sizes, self.steps
        if right == 1 or columns == 1:
            if rows == 1 or down >= columns:
                return (columns if rows == 1 else down), True
        if down == 1 or rows == 1:
            if columns == 1 or right >= rows:
                return (rows if columns == 1 else right), False
        return None

    def step(self, batch: Sizes) -> int | None:
        """The step from one matrix of the batch to the next; None where there is no single one."""
        missing = len(batch) - len(self.lead)
        return _one_step(batch, (0,) * missing + tuple([0 if n == 1 else s for n, s in zip(self.lead, self.lead_steps)]))

    def folded(self, batch: Sizes) -> "_Operand | None":
        """All matrices of the batch under each other as one matrix; None where that takes a copy."""
        if self.lead != batch or (step := _one_step((*batch, self.sizes[0]), (*self.lead_steps, self.steps[0]))) is None:
            return None
        found = _Operand((prod(batch) * self.sizes[0], self.sizes[1]), (step, self.steps[1]), 1, True)
        return found if found.storage else None

    def copied(self, batch: Sizes) -> Sizes | None:
        """The shape in which a contiguous copy can be multiplied; None where the operand can as it is."""
        if self.storage is not None and self.step(batch) is not None:
            return None
        steps = [prod(self.shape[i + 1:]) for i in range(len(self.shape))]
        return self.shape if _Operand(self.shape, tuple(steps), 1, True).step(batch) is not None else (*batch, *self.sizes)


def _one_step(sizes: Sizes, steps: Sizes) -> int | None:
    """The step by which all elements of these dimensions follow each other; None where there is none."""
    step, reach = 0, None
    for n, s in zip(reversed(sizes), reversed(steps)):
        if n != 1:
            if s < 0 or (reach is not None and s != reach):
                return None
            step, reach = (s if reach is None else step), s * n
    return step
