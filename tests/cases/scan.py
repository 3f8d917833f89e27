"""Cases of `ops/scan.py`."""
import numpy as np
from registry import call, case

from .reduce import OUTSIDE, X, distinct, sometimes


def along(d, x):
    """A call along a drawn dimension."""
    return call(x, d.dim(x.ndim))


def whole(d):
    """Integers or booleans."""
    shape = d.shape(min_dims=1)
    return d.pick([d.ints(shape, -2, 2), d.bools(shape)])


def running(f):
    """A function of NumPy's that 0-d arrays pass as they are."""
    return lambda x, dim: f(x, axis=dim) if np.ndim(x) else x


@case("cumsum", numpy=running(np.cumsum), analytic=True, bad=OUTSIDE)
def _(d):
    return along(d, d.array(d.shape(min_side=0)))


@case("cumprod", numpy=running(np.cumprod), analytic=True, bad=OUTSIDE)
def _(d):
    return along(d, sometimes(d, 0.0, d.array(d.shape(min_side=0, max_side=6))))


@case("logcumsumexp", numpy=running(lambda x, axis: np.log(np.cumsum(np.exp(x), axis))), analytic=True,
      bad=(*OUTSIDE, call(np.arange(3), 0)))
def _(d):
    return along(d, d.array(d.shape(min_side=0, max_side=6)))


for name, numpy in [("cumsum", np.cumsum), ("cumprod", np.cumprod)]:
    @case(name, numpy=numpy, order=0)
    def _(d):
        return along(d, whole(d))

for name in ("cummax", "cummin"):
    @case(name, bad=OUTSIDE)
    def _(d):
        return along(d, distinct(d, d.shape(max_side=6)))

    @case(name, torch=None)                           # whose gradient of an empty one requires grad itself
    def _(d):
        return along(d, distinct(d, d.shape(min_side=0)))

    @case(name, order=0)
    def _(d):
        return along(d, whole(d))


@case("diff", numpy=lambda x, n=1, dim=-1: np.diff(x, n, axis=dim), analytic=True,
      bad=(call(np.array(1.0)), call(X, 1, 2), call(X, -1), call(X, 1, 0, np.zeros((1, 2)))))
def _(d):
    x = d.array(d.shape(min_dims=1, min_side=0))
    return call(x, d.integer(0, 3), d.dim(x.ndim))


@case("diff", numpy=lambda x, dim, prepend, append: np.diff(np.concatenate([prepend, x, append], dim), axis=dim), analytic=True)
def _(d):
    x = d.array(d.shape(min_dims=1))
    dim = d.dim(x.ndim)
    ends = [d.array(tuple(d.integer(0, 2) if i == dim % x.ndim else n for i, n in enumerate(x.shape))) for _ in range(2)]
    return call(x, dim=dim, prepend=ends[0], append=ends[1])


@case("diff", order=0, numpy=lambda x, n: np.diff(x, n))
def _(d):
    return call(whole(d), d.integer(0, 2))


def areas(y, x=None, dx=1.0, dim=-1):
    """What the trapezoidal rule sums."""
    y = np.moveaxis(y, dim, -1)
    h = dx if x is None else np.diff(x if x.ndim == 1 else np.moveaxis(x, dim, -1))
    return (y[..., 1:] + y[..., :-1]) / 2 * h


def placed(d):
    """A curve with or without places."""
    y = d.array(d.shape(min_dims=1))
    dim = d.dim(y.ndim)
    return d.pick([call(y, dim=dim), call(y, dx=0.5, dim=dim), call(y, d.array((y.shape[dim],)), dim=dim),
                   call(y, d.array(y.shape), dim=dim)])


@case("trapezoid", numpy=lambda *args, **kwargs: areas(*args, **kwargs).sum(-1), bad=(call(X, np.arange(2.0)),))
def _(d):
    return placed(d)


@case("cumulative_trapezoid", numpy=lambda *args, **kwargs: np.moveaxis(areas(*args, **kwargs).cumsum(-1), -1, kwargs["dim"]),
      bad=(call(X, np.arange(2.0)),))
def _(d):
    return placed(d)
