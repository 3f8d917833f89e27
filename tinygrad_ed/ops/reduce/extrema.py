"""The largest and the smallest elements, and where they stand.

Reductions to a value alone share the gradient evenly among ties; those that also say where the value stands give it to
that place, the first of the ties.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ...autograd.op import op
from ...backend import is_array
from ...backend.kernels import kernels
from ...errors import DimError, ShapeError
from ...tensor import Tensor
from ..arguments import Dims, ValuesIndices, numpy_names, one, over
from ..broadcast import keep_dims, reshape_to
from ..convert import clone
from ..elementwise import isnan, maximum, minimum, where
from ..index import gather
from .sums import sum_as

__all__ = ["amax", "amin", "aminmax", "argmax", "argmin", "max", "min"]


class MinMax(NamedTuple):
    """The smallest and the largest values."""

    min: Tensor
    max: Tensor


def _share(g: Any, x: Any, y: Any, dims: tuple, keepdim: bool) -> Any:
    """g, divided evenly among the elements of x that equal the extreme y."""
    g, y = keep_dims(g, x.shape, dims, keepdim), keep_dims(y, x.shape, dims, keepdim)
    attained = (x == y) | (isnan(x) & isnan(y))
    return where(attained, g / sum_as(attained, dims=dims, keepdim=True, dtype=g.dtype), 0.0)


_amax = op("amax", lambda x, *, dims, keepdim: kernels(x).extreme(x, "max", dims, keepdim),
           x=lambda g, x, y, dims, keepdim: _share(g, x, y, dims, keepdim))
_amin = op("amin", lambda x, *, dims, keepdim: kernels(x).extreme(x, "min", dims, keepdim),
           x=lambda g, x, y, dims, keepdim: _share(g, x, y, dims, keepdim))
_argmax = op("argmax", lambda x, *, dim, keepdim: kernels(x).extreme_at(x, "max", dim, keepdim))
_argmin = op("argmin", lambda x, *, dim, keepdim: kernels(x).extreme_at(x, "min", dim, keepdim))


def _require_elements(name: str, x: Any, dim: Dims) -> tuple[int, ...]:
    """The dimensions to run over, none of which may be empty.

    Raises:
        ShapeError: no elements at all.
        DimError: a chosen dimension without elements.
    """
    dims = over(x, dim)
    for i in dims:
        if x.shape[i] == 0:
            if dim is None or dim == ():
                raise ShapeError(f"{name} of a tensor of shape {tuple(x.shape)}: no elements, so there is none; check x.numel() first")
            raise DimError(f"{name} over dim {i} of a tensor of shape {tuple(x.shape)}: that dimension has no elements")
    return dims


@numpy_names
def amax(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The largest elements; NaN where there is one. Ties share the gradient evenly.

    Args:
        input: a tensor of any shape and dtype.
        dim: the dimension or dimensions to reduce; all by default.
        keepdim: keep the reduced dimensions, with length 1.

    Returns:
        A tensor of the remaining dimensions, of input's dtype.

    Raises:
        ShapeError, DimError: there are no elements to choose from.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.amax(tg.tensor([[1.0, 5.0], [3.0, 2.0]]), dim=0)
        tensor([3., 5.])
    """
    return _amax(input, dims=_require_elements("amax", input, dim), keepdim=keepdim)


@numpy_names
def amin(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The smallest elements; NaN where there is one. Ties share the gradient evenly.

    Args:
        input: a tensor of any shape and dtype.
        dim: the dimension or dimensions to reduce; all by default.
        keepdim: keep the reduced dimensions, with length 1.

    Returns:
        A tensor of the remaining dimensions, of input's dtype.

    Raises:
        ShapeError, DimError: there are no elements to choose from.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.amin(tg.tensor([[1.0, 5.0], [3.0, 2.0]]), dim=0)
        tensor([1., 2.])
    """
    return _amin(input, dims=_require_elements("amin", input, dim), keepdim=keepdim)


@numpy_names
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """The smallest and the largest elements. Ties share the gradients evenly.

    Args:
        input: a tensor of any shape and dtype.
        dim: the dimension to reduce; all by default.
        keepdim: keep the reduced dimensions, with length 1.

    Returns:
        A named tuple (min, max) of tensors.

    Raises:
        ShapeError, DimError: there are no elements to choose from.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.aminmax(tg.tensor([1.0, 5.0, 3.0]))
        MinMax(min=tensor(1.), max=tensor(5.))
    """
    dims = _require_elements("aminmax", input, dim)
    return MinMax(_amin(input, dims=dims, keepdim=keepdim), _amax(input, dims=dims, keepdim=keepdim))


def _position(name: str, arg: Callable, x: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    _require_elements(name, x, dim)
    if dim is None:
        where_flat = arg(x, dim=None, keepdim=False)
        return reshape_to(where_flat, shape=(1,) * x.ndim) if keepdim else where_flat
    return arg(x, dim=one(x, dim) if x.ndim else None, keepdim=keepdim)


@numpy_names
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the largest element stands, the first of equals; NaN counts as the largest.

    Args:
        input: a tensor of any shape and dtype.
        dim: the dimension to search along; by default the index is that into the flattened tensor.
        keepdim: keep the reduced dimensions, with length 1.

    Returns:
        An int64 tensor of the remaining dimensions.

    Raises:
        ShapeError, DimError: there are no elements to choose from.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.argmax(tg.tensor([[1.0, 5.0], [3.0, 2.0]]), dim=1)
        tensor([1, 0])
    """
    return _position("argmax", _argmax, input, dim, keepdim)


@numpy_names
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the smallest element stands, the first of equals; NaN counts as the smallest.

    Args:
        input: a tensor of any shape and dtype.
        dim: the dimension to search along; by default the index is that into the flattened tensor.
        keepdim: keep the reduced dimensions, with length 1.

    Returns:
        An int64 tensor of the remaining dimensions.

    Raises:
        ShapeError, DimError: there are no elements to choose from.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.argmin(tg.tensor([[1.0, 5.0], [3.0, 2.0]]), dim=1)
        tensor([0, 1])
    """
    return _position("argmin", _argmin, input, dim, keepdim)


def _choose(name: str, arg: Callable, x: Tensor, dim: int, keepdim: bool) -> ValuesIndices:
    """The extreme along a dimension and where it stands: the value is gathered from there, and so goes its gradient."""
    _require_elements(name, x, dim)
    d = one(x, dim)
    if x.ndim == 0:
        return ValuesIndices(clone(x), arg(x, dim=None, keepdim=False))
    indices = arg(x, dim=d, keepdim=True)
    values = gather(x, d, indices)
    if not keepdim:
        rest = x.shape[:d] + x.shape[d + 1:]
        values, indices = reshape_to(values, shape=rest), reshape_to(indices, shape=rest)
    return ValuesIndices(values, indices)


@numpy_names
def max(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None) -> Any:
    """The largest element of all; along a dimension the values and where they stand; of two tensors their maximum.

    Args:
        input: a tensor of any shape and dtype.
        dim: the dimension to reduce; or the second tensor, as in `max(a, b)`.
        keepdim: keep the reduced dimension, with length 1.
        other: the second tensor.

    Returns:
        Without dim a 0-d tensor, whose gradient ties share evenly. With dim a named tuple (values, indices), whose
        gradient goes to the first of equals. With two tensors `maximum(input, other)`.

    Raises:
        ShapeError, DimError: there are no elements to choose from.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.max(tg.tensor([[1.0, 5.0], [3.0, 2.0]]), dim=1)
        ValuesIndices(values=tensor([5., 3.]), indices=tensor([1, 0]))
    """
    if other is not None or isinstance(dim, Tensor) or is_array(dim):
        return maximum(input, dim if other is None else other)
    if dim is None:
        return _amax(input, dims=_require_elements("max", input, None), keepdim=keepdim)
    return _choose("max", _argmax, input, dim, keepdim)


@numpy_names
def min(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None) -> Any:
    """The smallest element of all; along a dimension the values and where they stand; of two tensors their minimum.

    Args:
        input: a tensor of any shape and dtype.
        dim: the dimension to reduce; or the second tensor, as in `min(a, b)`.
        keepdim: keep the reduced dimension, with length 1.
        other: the second tensor.

    Returns:
        Without dim a 0-d tensor, whose gradient ties share evenly. With dim a named tuple (values, indices), whose
        gradient goes to the first of equals. With two tensors `minimum(input, other)`.

    Raises:
        ShapeError, DimError: there are no elements to choose from.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.min(tg.tensor([[1.0, 5.0], [3.0, 2.0]]), dim=1)
        ValuesIndices(values=tensor([1., 2.]), indices=tensor([0, 1]))
    """
    if other is not None or isinstance(dim, Tensor) or is_array(dim):
        return minimum(input, dim if other is None else other)
    if dim is None:
        return _amin(input, dims=_require_elements("min", input, None), keepdim=keepdim)
    return _choose("min", _argmin, input, dim, keepdim)
