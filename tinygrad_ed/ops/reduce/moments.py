"""How far tensors spread and how long they are: variances, standard deviations, norms."""
from __future__ import annotations

import math
import warnings
from typing import Any

from ... import dtypes
from ...autograd.op import op
from ...backend.kernels import kernels
from ...errors import ShapeError
from ...tensor import Tensor
from ..arguments import Dims, cast, numpy_names, over, require_float, wide
from ..broadcast import keep_dims, sum_over
from ..elementwise import abs, pow, sign, where
from .extrema import amax, amin
from .sums import count_of, mean_over, sum_as

__all__ = ["dist", "norm", "std", "std_mean", "var", "var_mean"]


# -- variance ----------------------------------------------------------------------------------------------------------

def _freedom(shape: tuple, dims: tuple, correction: float) -> float:
    """n - correction, and 0 where that is negative."""
    return max(count_of(shape, dims) - correction, 0)


def _towards_mean(g: Any, x: Any, dims: tuple, keepdim: bool, correction: float) -> Any:
    """g · 2(x - mean) / (n - correction)."""
    free = _freedom(x.shape, dims, correction) or math.nan
    return keep_dims(g * (2 / free), x.shape, dims, keepdim) * (x - mean_over(x, dims=dims, keepdim=True))


_var = op("var", lambda x, *, dims, keepdim, correction: kernels(x).variance(x, dims, keepdim, _freedom(x.shape, dims, correction)),
          x=lambda g, x, dims, keepdim, correction: _towards_mean(g, x, dims, keepdim, correction))
_root = op("sqrt", lambda xp, x: xp.sqrt(x), x=lambda g, y: where(y == 0, 0.0, g / (where(y == 0, 1.0, y) * 2.0)),
           doc="The square root, with the derivative 0 at 0.")


def _spread(name: str, x: Any, dim: Any, unbiased: Any, keepdim: bool, correction: Any) -> tuple[Any, dict]:
    """The variance, and over what."""
    if isinstance(dim, bool):                             # var(x, unbiased)
        dim, unbiased = None, dim
    require_float(x, name)
    dims = over(x, dim)
    correction = int(unbiased) if correction is None else correction
    n = count_of(x.shape, dims)
    if n <= correction:
        warnings.warn(f"{name} with correction {correction} over {n} elements (shape {tuple(x.shape)}, dim {dim}) divides by 0: "
                      f"the result is not finite; write {name}(x, correction=0) or give it more elements", stacklevel=4)
    return _var(x, dims=dims, keepdim=keepdim, correction=correction), {"dims": dims, "keepdim": keepdim}


@numpy_names
def var(input: Tensor, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None) -> Tensor:
    """The variance Σ(xᵢ - mean)² / (n - correction) over dimensions.

    Args:
        input: a floating point tensor of any shape.
        dim: the dimension or dimensions to reduce; all by default. `var(x, False)` is `var(x, unbiased=False)`.
        unbiased: whether the correction is 1 (Bessel's) or 0.
        keepdim: keep the reduced dimensions, with length 1.
        correction: what is subtracted from the number of elements; overrides unbiased.

    Returns:
        A tensor of the remaining dimensions.

    Raises:
        DTypeError: integers or booleans.
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.var(tg.tensor([[1.0, 3.0], [4.0, 8.0]]), dim=1)
        tensor([2., 8.])
    """
    return _spread("var", input, dim, unbiased, keepdim, correction)[0]


@numpy_names
def std(input: Tensor, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None) -> Tensor:
    """The standard deviation √var over dimensions; the derivative is 0 where all elements are equal.

    Args:
        input: a floating point tensor of any shape.
        dim: the dimension or dimensions to reduce; all by default. `std(x, False)` is `std(x, unbiased=False)`.
        unbiased: whether the correction is 1 (Bessel's) or 0.
        keepdim: keep the reduced dimensions, with length 1.
        correction: what is subtracted from the number of elements; overrides unbiased.

    Returns:
        A tensor of the remaining dimensions.

    Raises:
        DTypeError: integers or booleans.
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.std(tg.tensor([[1.0, 3.0], [4.0, 8.0]]), dim=1, correction=0)
        tensor([1., 2.])
    """
    return _root(_spread("std", input, dim, unbiased, keepdim, correction)[0])


@numpy_names
def var_mean(input: Tensor, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None) -> tuple:
    """The variance and the mean over dimensions.

    Args:
        input: a floating point tensor of any shape.
        dim: the dimension or dimensions to reduce; all by default. `var_mean(x, False)` is `var_mean(x, unbiased=False)`.
        unbiased: whether the correction is 1 (Bessel's) or 0.
        keepdim: keep the reduced dimensions, with length 1.
        correction: what is subtracted from the number of elements; overrides unbiased.

    Returns:
        A tuple (variance, mean) of tensors of the remaining dimensions.

    Raises:
        DTypeError: integers or booleans.
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.var_mean(tg.tensor([1.0, 3.0]))
        (tensor(2.), tensor(2.))
    """
    variance, over_what = _spread("var_mean", input, dim, unbiased, keepdim, correction)
    return variance, mean_over(input, **over_what)


@numpy_names
def std_mean(input: Tensor, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None) -> tuple:
    """The standard deviation and the mean over dimensions.

    Args:
        input: a floating point tensor of any shape.
        dim: the dimension or dimensions to reduce; all by default. `std_mean(x, False)` is `std_mean(x, unbiased=False)`.
        unbiased: whether the correction is 1 (Bessel's) or 0.
        keepdim: keep the reduced dimensions, with length 1.
        correction: what is subtracted from the number of elements; overrides unbiased.

    Returns:
        A tuple (standard deviation, mean) of tensors of the remaining dimensions.

    Raises:
        DTypeError: integers or booleans.
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.std_mean(tg.tensor([1.0, 3.0]), correction=0)
        (tensor(1.), tensor(2.))
    """
    variance, over_what = _spread("std_mean", input, dim, unbiased, keepdim, correction)
    return _root(variance), mean_over(input, **over_what)


# -- norms -------------------------------------------------------------------------------------------------------------

def _p_length(xp: Any, x: Any, dims: tuple, keepdim: bool, p: float) -> Any:
    w = xp.abs(wide(x))
    w **= p
    return (kernels(w).total(w, dims, keepdim) ** (1 / p)).astype(x.dtype, copy=False)


def _along_unit(g: Any, x: Any, y: Any, dims: tuple, keepdim: bool) -> Any:
    """g · x/|x|, and 0 at the zero vector."""
    g, y = keep_dims(g, x.shape, dims, keepdim), keep_dims(y, x.shape, dims, keepdim)
    return x * where(y == 0, 0.0, g / where(y == 0, 1.0, y))


def _along_powers(g: Any, x: Any, y: Any, dims: tuple, keepdim: bool, p: float) -> Any:
    """g · sign(x)·(|x|/|x|ₚ)^(p-1), and 0 where x is 0."""
    g, y = keep_dims(g, x.shape, dims, keepdim), keep_dims(y, x.shape, dims, keepdim)
    flat = (x == 0) | (y == 0)
    ratio = where(x == 0, 1.0, abs(x)) / where(y == 0, 1.0, y)
    return where(flat, 0.0, g * sign(x) * pow(ratio, p - 1))


_norm = op("norm", lambda x, *, dims, keepdim: kernels(x).length(x, dims, keepdim),
           x=lambda g, x, y, dims, keepdim: _along_unit(g, x, y, dims, keepdim))
_p_norm = op("norm", lambda xp, x, *, dims, keepdim, p: _p_length(xp, x, dims, keepdim, p),
             x=lambda g, x, y, dims, keepdim, p: _along_powers(g, x, y, dims, keepdim, p))


@numpy_names
def norm(input: Tensor, p: Any = "fro", dim: Dims = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """The length (Σ|xᵢ|ᵖ)^(1/p) of the vectors along dimensions; the derivative at the zero vector is 0.

    Args:
        input: a floating point tensor of any shape.
        p: the power; "fro" and None are 2. 0 counts the elements that are not 0, ∞ is the largest |xᵢ|, -∞ the smallest.
        dim: the dimension or dimensions to reduce; all by default.
        keepdim: keep the reduced dimensions, with length 1.
        dtype: the floating point dtype to convert to first; input's by default.

    Returns:
        A tensor of the remaining dimensions.

    Raises:
        DTypeError: integers or booleans.
        DimError: a dimension outside the tensor.
        ShapeError: a negative or infinite p and no elements.
        ValueError: an unknown name for p.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.norm(tg.tensor([[3.0, 4.0], [6.0, 8.0]]), dim=1)
        tensor([ 5., 10.])
    """
    if isinstance(p, str) and p != "fro":
        raise ValueError(f'norm takes a number or "fro" for p, got {p!r}; the nuclear norm is linalg.svdvals(x).sum()')
    x = input if dtype is None else cast(input, dtypes.canonical(dtype))
    require_float(x, "norm")
    dims, p = over(x, dim), 2.0 if p in ("fro", None) else float(p)
    if (p < 0 or p == math.inf) and count_of(x.shape, dims) == 0:
        raise ShapeError(f"norm with p={p} over no elements (shape {tuple(x.shape)}, dim={dim}) has no value; check x.numel() first")
    if p == 2:
        return _norm(x, dims=dims, keepdim=keepdim)
    if p == 1:
        return sum_over(abs(x), dims=dims, keepdim=keepdim)
    if p == 0:
        return sum_as(x != 0, dims=dims, keepdim=keepdim, dtype=x.dtype) + sum_over(where(True, 0.0, x), dims=dims, keepdim=keepdim)
    if math.isinf(p):
        return (amax if p > 0 else amin)(abs(x), dims, keepdim)
    return _p_norm(x, dims=dims, keepdim=keepdim, p=p)


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The distance |input - other| in the p-norm.

    Args:
        input: a floating point tensor.
        other: a tensor that broadcasts with it.
        p: the power, as in `norm`.

    Returns:
        A 0-d tensor.

    Raises:
        DTypeError: integers or booleans.
        ShapeError: the shapes do not broadcast.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.dist(tg.tensor([1.0, 2.0]), tg.tensor([4.0, 6.0]))
        tensor(5.)
    """
    return norm(input - other, p)
