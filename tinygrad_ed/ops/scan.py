"""Running sums, products and extremes along a dimension, differences of neighbours, and areas under curves.

In the primitives `step` is 1 for a scan that runs forward and -1 for one that runs back.
"""
from __future__ import annotations

from typing import Any

from .. import dtypes
from ..autograd.op import op
from ..backend.kernels import kernels
from ..errors import ShapeError
from ..tensor import Tensor
from .arguments import ValuesIndices, cast, numpy_names, one, require_float, wide
from .broadcast import sum_over
from .convert import clone
from .elementwise import exp, where
from .index import gather
from .join import cat

__all__ = ["cummax", "cummin", "cumprod", "cumsum", "cumulative_trapezoid", "diff", "logcumsumexp", "trapezoid"]


# -- primitives --------------------------------------------------------------------------------------------------------

def _part(dim: int, start: int | None, stop: int | None) -> tuple:
    """The index that slices one dimension."""
    return (slice(None),) * dim + (slice(start, stop),)


def _neighbours(dim: int, step: int, distance: int = 1) -> tuple[tuple, tuple]:
    """The indices of the elements that have one `distance` before them, and of those that are before."""
    late, early = _part(dim, distance, None), _part(dim, None, -distance)
    return (late, early) if step > 0 else (early, late)


def _shifted(xp: Any, x: Any, dim: int, step: int, fill: float) -> Any:
    y = xp.full_like(x, fill)
    here, before = _neighbours(dim, step)
    y[here] = x[before]
    return y


def _running(xp: Any, ufunc: Any, x: Any, dim: int) -> Any:
    """ufunc.accumulate, by doubling where the backend's ufuncs cannot."""
    if xp.__name__ == "numpy":
        return ufunc.accumulate(x, axis=dim)
    y, distance = x.copy(), 1
    while distance < x.shape[dim]:
        here, before = _neighbours(dim, 1, distance)
        y[here] = ufunc(y[here], y[before])
        distance *= 2
    return y


def _recurrence(a: Any, b: Any, dim: int, step: int) -> Any:
    """s[j] = b[j] + a[j]·s[j-step] by doubling: in round k every s takes in those up to 2ᵏ places before."""
    a, s, distance = a.copy(), b.copy(), 1
    while distance < s.shape[dim]:
        here, before = _neighbours(dim, step, distance)
        s[here] += a[here] * s[before]
        a[here] = a[here] * a[before]
        distance *= 2
    return s


def _recurrence_gradients(g: Any, a: Any, y: Any, dim: int, step: int) -> tuple:
    """t[j] = g[j] + a[j+step]·t[j+step] is the gradient of b, the same recurrence run the other way."""
    t = _recur(_shift(a, dim=dim, step=-step, fill=0.0), g, dim=dim, step=-step)
    return t * _shift(y, dim=dim, step=step, fill=0.0), t


def _decay(y: Any, dim: int) -> Any:
    """e^(y[j] - y[j+1]) for a y that never falls; 1 between equals, also infinite ones."""
    after = _shift(y, dim=dim, step=-1, fill=0.0)
    return exp(where(y < after, y - after, 0.0))


_shift = op("shift", lambda xp, x, *, dim, step, fill: _shifted(xp, x, dim, step, fill),
            x=lambda g, dim, step: _shift(g, dim=dim, step=-step, fill=0.0),
            doc="x moved by one place, with `fill` in the place left free.")
_recur = op("recur", lambda a, b, *, dim, step: _recurrence(a, b, dim, step), gradients=_recurrence_gradients,
            doc="The linear recurrence s[j] = b[j] + a[j]·s[j-step].")
_cumsum = op("cumsum", lambda x, *, dim, step: kernels(x).running_sum(x, dim, step),
             x=lambda g, dim, step: _cumsum(g, dim=dim, step=-step))

# y[k] = x[0]···x[k], so x[j] has the gradient Σ g[k]·y[k]/x[j] over k >= j. Without the division, which fails where x is 0:
# x[0]···x[j-1] times s[j], where s[j] = g[j] + x[j+1]·s[j+1].
_cumprod = op("cumprod", lambda x, *, dim, step: kernels(x).running_product(x, dim, step),
              x=lambda g, x, dim, step: _cumprod(_shift(x, dim=dim, step=step, fill=1.0), dim=dim, step=step)
              * _recur(_shift(x, dim=dim, step=-step, fill=0.0), g, dim=dim, step=-step))

# y[k] = log Σ e^x[j] over j <= k, so x[j] has the gradient Σ g[k]·e^(x[j]-y[k]) over k >= j
#      = e^(x[j]-y[j])·t[j], where t[j] = g[j] + e^(y[j]-y[j+1])·t[j+1]: no exponent is positive.
_logcumsumexp = op("logcumsumexp", lambda xp, x, *, dim: _running(xp, xp.logaddexp, wide(x), dim).astype(x.dtype, copy=False),
                   x=lambda g, x, y, dim: exp(x - where(y == -float("inf"), 0.0, y)) * _recur(_decay(y, dim), g, dim=dim, step=-1))
_argcummax = op("argcummax", lambda xp, x, *, dim: _last_equal(xp, x, _running(xp, xp.maximum, x, dim), dim))
_argcummin = op("argcummin", lambda xp, x, *, dim: _last_equal(xp, x, _running(xp, xp.minimum, x, dim), dim))

_diff = op("diff", lambda xp, x, *, dim: xp.diff(x, axis=dim), x=lambda g, x_shape, dim: _undiff(g, dim=dim, n=x_shape[dim]))
_undiff = op("undiff", lambda xp, x, *, dim, n: _fallen(xp, x, dim, n), x=lambda g, dim: _diff(g, dim=dim),
             doc="The transpose of diff: y[j] = x[j-1] - x[j], with x 0 outside.")


def _last_equal(xp: Any, x: Any, y: Any, dim: int) -> Any:
    """Where the running extreme y was last seen in x."""
    places = xp.arange(x.shape[dim]).reshape((-1,) + (1,) * (x.ndim - dim - 1))
    return _running(xp, xp.maximum, xp.where((x == y) | xp.isnan(x), places, 0), dim)


def _fallen(xp: Any, x: Any, dim: int, n: int) -> Any:
    y = xp.zeros(x.shape[:dim] + (n,) + x.shape[dim + 1:], x.dtype)
    if n > 1:
        late, early = _neighbours(dim, 1)
        y[late] += x
        y[early] -= x
    return y


def others(x: Any, dim: int) -> Any:
    """For every element the product of all others along a dimension: those before it times those after it."""
    before = _cumprod(_shift(x, dim=dim, step=1, fill=1.0), dim=dim, step=1)
    after = _cumprod(_shift(x, dim=dim, step=-1, fill=1.0), dim=dim, step=-1)
    return before * after


# -- the public functions ----------------------------------------------------------------------------------------------

def _scanned(x: Any, dtype: Any) -> Any:
    """x in the dtype of its running sum or product: PyTorch's int64 for integers and booleans."""
    return cast(x, dtypes.canonical(dtype) if dtype is not None else x.dtype if x.dtype.kind in dtypes.FLOATS else dtypes.int64)


@numpy_names
def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """The running sum y[k] = x[0] + ··· + x[k] along a dimension.

    Args:
        input: a tensor of any shape and dtype.
        dim: the dimension to run along.
        dtype: the dtype to convert to first; by default input's, and int64 for integers and booleans.

    Returns:
        A tensor of input's shape.

    Raises:
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cumsum(tg.tensor([1.0, 2.0, 3.0]), 0)
        tensor([1., 3., 6.])
    """
    dim, x = one(input, dim), _scanned(input, dtype)
    return _cumsum(x, dim=dim, step=1) if x.ndim else clone(x)


@numpy_names
def cumprod(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """The running product y[k] = x[0]···x[k] along a dimension. The derivative is right also where elements are 0.

    Args:
        input: a tensor of any shape and dtype.
        dim: the dimension to run along.
        dtype: the dtype to convert to first; by default input's, and int64 for integers and booleans.

    Returns:
        A tensor of input's shape.

    Raises:
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cumprod(tg.tensor([1.0, 2.0, 3.0]), 0)
        tensor([1., 2., 6.])
    """
    dim, x = one(input, dim), _scanned(input, dtype)
    return _cumprod(x, dim=dim, step=1) if x.ndim else clone(x)


@numpy_names
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """The running y[k] = log(e^x[0] + ··· + e^x[k]) along a dimension, without overflow.

    Args:
        input: a floating point tensor of any shape.
        dim: the dimension to run along.

    Returns:
        A tensor of input's shape.

    Raises:
        DTypeError: integers or booleans.
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.logcumsumexp(tg.tensor([0.0, 0.0, 1000.0]), 0)
        tensor([0.0000e+00, 6.9315e-01, 1.0000e+03])
    """
    require_float(input, "logcumsumexp")
    dim = one(input, dim)
    return _logcumsumexp(input, dim=dim) if input.ndim else clone(input)


def _cumulative(arg: Any, x: Tensor, dim: int) -> ValuesIndices:
    """The running extreme, gathered from where it stands, and so goes its gradient."""
    d = one(x, dim)
    if x.ndim == 0:
        return ValuesIndices(clone(x), cast(x != x, dtypes.int64))
    indices = arg(x, dim=d)
    return ValuesIndices(gather(x, d, indices), indices)


@numpy_names
def cummax(input: Tensor, dim: int) -> ValuesIndices:
    """The largest element so far along a dimension, and where it stands; NaN from the first NaN on.

    Args:
        input: a tensor of any shape and dtype.
        dim: the dimension to run along.

    Returns:
        A named tuple (values, indices) of tensors of input's shape; among equals the last so far, which gets the gradient.

    Raises:
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cummax(tg.tensor([1.0, 3.0, 2.0]), 0)
        ValuesIndices(values=tensor([1., 3., 3.]), indices=tensor([0, 1, 1]))
    """
    return _cumulative(_argcummax, input, dim)


@numpy_names
def cummin(input: Tensor, dim: int) -> ValuesIndices:
    """The smallest element so far along a dimension, and where it stands; NaN from the first NaN on.

    Args:
        input: a tensor of any shape and dtype.
        dim: the dimension to run along.

    Returns:
        A named tuple (values, indices) of tensors of input's shape; among equals the last so far, which gets the gradient.

    Raises:
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cummin(tg.tensor([3.0, 1.0, 2.0]), 0)
        ValuesIndices(values=tensor([3., 1., 1.]), indices=tensor([0, 1, 1]))
    """
    return _cumulative(_argcummin, input, dim)


@numpy_names
def diff(input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None) -> Tensor:
    """The differences x[j+1] - x[j] of neighbours along a dimension, n times over; of booleans whether they differ.

    Args:
        input: a tensor with at least one dimension.
        n: how many times.
        dim: the dimension to run along.
        prepend: elements to put before input first.
        append: elements to put after input first.

    Returns:
        A tensor that is n shorter along dim.

    Raises:
        ShapeError: a 0-d tensor.
        ValueError: a negative n.
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.diff(tg.tensor([1.0, 4.0, 9.0]))
        tensor([3., 5.])
    """
    if input.ndim == 0:
        raise ShapeError("diff takes a tensor with at least one dimension, got a 0-d tensor; write diff(x.reshape(1))")
    if n < 0:
        raise ValueError(f"diff is taken n times, n at least 0, got {n}")
    dim = one(input, dim)
    parts = [t for t in (prepend, input, append) if t is not None]
    x = cat(parts, dim) if len(parts) > 1 else clone(input) if n == 0 else input
    for _ in range(min(n, x.shape[dim])):
        x = _diff(x, dim=dim)
    return x


def _areas(name: str, y: Tensor, x: Tensor | None, dx: Any, dim: int) -> tuple[Tensor, int]:
    """Twice the areas under the lines between neighbours."""
    d = one(y, dim)
    if x is not None and dx is not None:
        raise ValueError(f"{name} takes the positions x or their distance dx, not both")
    late, early = _neighbours(d, 1)
    heights = y[late] + y[early]
    if x is None:
        return heights if dx is None else heights * dx, d
    if x.ndim == 1:
        if x.shape[0] != y.shape[d]:
            raise ShapeError(f"{name} takes as many positions as heights along dim {dim}, got {x.shape[0]} for y of shape {tuple(y.shape)}")
        return heights * diff(x).reshape((-1,) + (1,) * (y.ndim - d - 1)), d
    return heights * diff(x, dim=d - y.ndim), d


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """The area under a curve by the trapezoidal rule, Σ (y[j] + y[j+1])/2 · (x[j+1] - x[j]).

    Args:
        y: the heights, along dim.
        x: where they stand: 1-d, or of a shape that broadcasts with y's; or
        dx: their distance, 1 by default.
        dim: the dimension to integrate along.

    Returns:
        A tensor of the remaining dimensions.

    Raises:
        ShapeError: positions that do not fit the heights.
        ValueError: both x and dx.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.trapezoid(tg.tensor([1.0, 2.0, 3.0]), tg.tensor([0.0, 1.0, 3.0]))
        tensor(6.5000)
    """
    areas, d = _areas("trapezoid", y, x, dx, dim)
    return sum_over(areas, dims=(d,), keepdim=False) / 2


def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """The running area under a curve by the trapezoidal rule.

    Args:
        y: the heights, along dim.
        x: where they stand: 1-d, or of a shape that broadcasts with y's; or
        dx: their distance, 1 by default.
        dim: the dimension to integrate along.

    Returns:
        A tensor that is 1 shorter along dim.

    Raises:
        ShapeError: positions that do not fit the heights.
        ValueError: both x and dx.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cumulative_trapezoid(tg.tensor([1.0, 2.0, 3.0]), dx=2.0)
        tensor([3., 8.])
    """
    areas, d = _areas("cumulative_trapezoid", y, x, dx, dim)
    return cumsum(areas, d) / 2
