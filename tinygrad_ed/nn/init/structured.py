"""Matrices of a special kind: the identity, orthogonal and sparse ones."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...backend import module_of
from ...errors import DomainError, ShapeError
from ...ops.random import check_float, gaussian, uniform
from ...tensor import Tensor
from .filling import fill

__all__ = ["dirac_", "eye_", "orthogonal_", "sparse_"]


def eye_(tensor: Tensor) -> Tensor:
    """Overwrite a matrix with ones on the diagonal and zeros elsewhere: a linear layer begins as the identity.

    Args:
        tensor: a tensor of shape (n, m).

    Returns:
        The tensor.

    Raises:
        ShapeError: not two dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.init.eye_(tg.empty(2, 3))
        tensor([[1., 0., 0.],
                [0., 1., 0.]])
    """
    if tensor.ndim != 2:
        raise ShapeError(f"eye_ fills a matrix, got shape {tensor.shape}")
    return fill(tensor, lambda: module_of(tensor.device).eye(*tensor.shape), "eye_")


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Overwrite a convolution's weight so that the layer begins as the identity, for as many channels as there are on both sides.

    Args:
        tensor: a weight (out, in / groups, *kernel) with one to three kernel dimensions.
        groups: the convolution's groups, each of which becomes the identity.

    Returns:
        The tensor.

    Raises:
        ShapeError: another number of dimensions, or output channels that groups does not divide.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.init.dirac_(tg.empty(2, 2, 3))
        tensor([[[0., 1., 0.],
                 [0., 0., 0.]],
        <BLANKLINE>
                [[0., 0., 0.],
                 [0., 1., 0.]]])
    """
    if tensor.ndim not in (3, 4, 5):
        raise ShapeError(f"dirac_ fills a weight (out, in, *kernel) with one to three kernel dimensions, got shape {tensor.shape}")
    if groups < 1 or tensor.shape[0] % groups:
        raise ShapeError(f"dirac_: {tensor.shape[0]} output channels cannot be divided into {groups} groups")

    def make() -> Any:
        weight = module_of(tensor.device).zeros(tensor.shape)
        per_group = tensor.shape[0] // groups
        middle = tuple(n // 2 for n in tensor.shape[2:])
        for channel in range(min(per_group, tensor.shape[1])):
            places = (slice(channel, None, per_group), channel, *middle)
            weight[places] = 1
        return weight
    return fill(tensor, make, "dirac_")


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """Overwrite with a random orthogonal matrix, which keeps all lengths (Saxe, McClelland and Ganguli, 2013).

    It is Q of the QR decomposition of a normally distributed matrix, with the signs that make it uniform (Mezzadri, 2006).

    Args:
        tensor: a tensor of shape (n, …), as the matrix of shape (n, the product of the others): rows or columns, whichever are fewer,
            become orthonormal.
        gain: a factor, as `calculate_gain` gives it.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        The tensor.

    Raises:
        ShapeError: fewer than 2 dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> w = tg.nn.init.orthogonal_(tg.empty(3, 5))
        >>> bool(((w @ w.T - tg.eye(3)).abs() < 1e-6).all())
        True
    """
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_ fills a tensor with at least 2 dimensions, got shape {tensor.shape}")
    check_float(tensor.dtype)
    if tensor.numel() == 0:
        return tensor

    def draw() -> Any:
        xp = module_of(tensor.device)
        rows = tensor.shape[0]
        columns = tensor.numel() // rows
        z = gaussian((rows, columns), max(tensor.dtype, np.dtype("float32")), tensor.device, generator)
        q, r = xp.linalg.qr(z.T if rows < columns else z)
        q *= xp.sign(xp.diagonal(r)) * gain
        return (q.T if rows < columns else q).reshape(tensor.shape)
    return fill(tensor, draw, "orthogonal_")


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Overwrite a matrix with normally distributed numbers, of which a fraction in every column are zeros (Martens, 2010).

    Args:
        tensor: a floating point tensor of shape (n, m).
        sparsity: the fraction of zeros in each column, in [0, 1]; their number is rounded up.
        std: the standard deviation of the others.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        The tensor.

    Raises:
        ShapeError: not two dimensions.
        DomainError: a sparsity outside [0, 1].

    Example:
        >>> import tinygrad_ed as tg
        >>> (tg.nn.init.sparse_(tg.empty(10, 3), sparsity=0.7) == 0).sum(0)
        tensor([7, 7, 7])
    """
    if tensor.ndim != 2:
        raise ShapeError(f"sparse_ fills a matrix, got shape {tensor.shape}")
    if not 0 <= sparsity <= 1:
        raise DomainError(f"sparse_ takes a sparsity in [0, 1], got {sparsity}")
    check_float(tensor.dtype)

    def draw() -> Any:
        z = gaussian(tensor.shape, tensor.dtype, tensor.device, generator)
        z *= std
        order = uniform(tensor.shape, np.dtype("float64"), tensor.device, generator).argsort(axis=0)      # of the rows, in every column
        z[order.argsort(axis=0) < math.ceil(sparsity * tensor.shape[0])] = 0
        return z
    return fill(tensor, draw, "sparse_")
