"""Cases of `ops/reduce`."""
import numpy as np
from registry import call, case

X, NOTHING = np.arange(6.0).reshape(2, 3), np.zeros((0, 3))
OUTSIDE = (call(X, 2), call(X, -3), call(np.array(1.0), 1), call(X, 0.5))
TWICE = (call(X, (0, 0)), call(X, (0, -2)), call(X, (0, 2)))
WHOLE = (call(np.arange(3)), call(np.array([True, False])))


def along(d, x, **options):
    """A call over drawn dimensions."""
    return call(x, dim=d.dims(x.ndim), keepdim=d.bool(), **options)


def axes(f):
    """A function of NumPy's under PyTorch's names."""
    return lambda x, dim=None, keepdim=False: f(x, axis=dim if np.ndim(x) else None, keepdims=keepdim)


def distinct(d, shape, signs=False):
    """Floats none of which is near another, nor with `signs` near the negative of another."""
    n = int(np.prod(shape))
    x = (np.array(d.permutation(n)) + 1 + d.array((n,), -0.3, 0.3)) * 3 / (n + 1)
    return (x * np.where(d.bools((n,)), 1, -1) if signs else x - 1.5).reshape(shape)


def sometimes(d, value, x):
    """The array with a value here and there."""
    return np.where(d.bools(x.shape) & d.bools(x.shape), value, x)


# -- sums --------------------------------------------------------------------------------------------------------------

@case("sum", numpy=axes(np.sum), analytic=True, bad=OUTSIDE + TWICE)
def _(d):
    x = d.array(d.shape(min_side=0))
    return along(d, x) if d.bool() else call(x)


@case("mean", numpy=axes(np.mean), analytic=True, bad=OUTSIDE + TWICE + WHOLE)
def _(d):
    x = d.array()
    return along(d, x) if d.bool() else call(x)


@case("nansum", numpy=axes(np.nansum), bad=OUTSIDE + TWICE)
def _(d):
    return along(d, sometimes(d, np.nan, d.array(d.shape(min_side=0))))


@case("nanmean", numpy=axes(lambda x, **options: np.nansum(x, **options) / np.sum(~np.isnan(x), **options)), bad=OUTSIDE + TWICE + WHOLE)
def _(d):
    x = sometimes(d, np.nan, d.array(d.shape(min_dims=1)))
    x[..., :1] = 1.0
    return call(x, dim=-1, keepdim=d.bool())


@case("prod", numpy=axes(np.prod), analytic=True, bad=OUTSIDE)
def _(d):
    x = sometimes(d, 0.0, d.array(d.shape(min_side=0)))
    return call(x, dim=d.dim(x.ndim), keepdim=d.bool()) if d.bool() else call(x)


@case("prod", numpy=axes(np.prod), analytic=True, torch=None)
def _(d):
    return along(d, sometimes(d, 0.0, d.array()))


for name, numpy in [("sum", np.sum), ("nansum", np.nansum), ("prod", np.prod), ("amax", np.max), ("amin", np.min)]:
    @case(name, numpy=axes(numpy), order=0, torch=None if name == "prod" else "same")
    def _(d):
        shape = d.shape()
        return along(d, d.pick([d.ints(shape), d.bools(shape)]))

for name, numpy in [("any", np.any), ("all", np.all)]:
    @case(name, numpy=axes(numpy), order=0, bad=OUTSIDE + TWICE)
    def _(d):
        shape = d.shape(min_side=0)
        return along(d, d.pick([d.ints(shape, -1, 1), d.bools(shape), sometimes(d, 0.0, d.array(shape))]))


@case("count_nonzero", numpy=lambda x, dim: np.count_nonzero(x, axis=dim), order=0, bad=OUTSIDE)
def _(d):
    x = d.ints(d.shape(min_side=0), -1, 1)
    return call(x, dim=d.dims(x.ndim))


# -- the largest and the smallest --------------------------------------------------------------------------------------

for name, numpy in [("amax", np.max), ("amin", np.min)]:
    @case(name, numpy=axes(numpy), bad=OUTSIDE + TWICE + (call(NOTHING), call(NOTHING, 0)))
    def _(d):
        x = distinct(d, d.shape())
        return call(x, dim=d.dims(x.ndim, none=False), keepdim=d.bool()) if d.bool() else call(x)


@case("aminmax", numpy=lambda x, dim=None, keepdim=False: (np.min(x, dim, keepdims=keepdim), np.max(x, dim, keepdims=keepdim)),
      bad=(call(X, dim=2), call(NOTHING), call(NOTHING, dim=0)))
def _(d):
    x = distinct(d, d.shape())
    return call(x, dim=d.dim(x.ndim), keepdim=d.bool()) if d.bool() else call(x)


for name, numpy in [("argmax", np.argmax), ("argmin", np.argmin)]:
    @case(name, numpy=axes(numpy), order=0, bad=OUTSIDE + (call(NOTHING), call(NOTHING, 0), call(X, (0, 1))))
    def _(d):
        shape = d.shape(min_dims=1)
        return call(d.pick([d.array(shape), d.ints(shape, -1, 1)]), dim=d.pick([None, d.dim(len(shape))]), keepdim=d.bool())

for name, numpy, arg in [("max", np.max, np.argmax), ("min", np.min, np.argmin)]:
    @case(name, numpy=numpy, bad=OUTSIDE + (call(NOTHING), call(NOTHING, 0), call(X, (0, 1)), call(X, np.arange(2.0))))
    def _(d):
        return call(distinct(d, d.shape()))

    @case(name, numpy=lambda x, dim, keepdim=False, f=numpy, arg=arg: (f(x, dim, keepdims=keepdim), arg(x, dim, keepdims=keepdim)))
    def _(d):
        x = distinct(d, d.shape(min_dims=1))
        return call(x, d.dim(x.ndim), d.bool())

    @case(name, numpy=np.maximum if name == "max" else np.minimum, kinks=lambda a, b: [a - b], elementwise=True)
    def _(d):
        shape = d.shape(min_side=0)
        return call(d.array(shape), d.array(d.partner(shape)))

    @case(name, order=0)
    def _(d):
        shape = d.shape(min_dims=1)
        return call(d.pick([d.ints(shape, -1, 1), d.bools(shape)]), d.dim(len(shape)))


# -- variances and norms -----------------------------------------------------------------------------------------------

def variance(x, dim=None, unbiased=True, keepdim=False, correction=None):
    """NumPy's variance by its formula, so that it takes complex numbers."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    c = int(unbiased) if correction is None else correction
    d = x - x.mean(axis=dim, keepdims=True)
    s = (d * d).sum(axis=dim, keepdims=keepdim)
    return s / (d.size // s.size - c)


def of_variance(name, x, *args, **kwargs):
    """What a function of the family makes of it."""
    v, (dim, keepdim) = variance(x, *args, **kwargs), (kwargs.get("dim"), kwargs.get("keepdim", False))
    v = np.sqrt(v) if name.startswith("std") else v
    return (v, x.mean(axis=dim, keepdims=keepdim)) if name.endswith("mean") else v


for name in ("var", "std", "var_mean", "std_mean"):
    @case(name, numpy=lambda *args, name=name, **kwargs: of_variance(name, *args, **kwargs), analytic=True, bad=OUTSIDE + TWICE + WHOLE)
    def _(d):
        x = distinct(d, d.shape(min_dims=1, min_side=2))
        return d.pick([call(x), call(x, d.bool()), along(d, x), along(d, x, correction=d.pick([0, 1, 0.5])),
                       call(x, dim=d.dim(x.ndim), unbiased=d.bool())])


def length(x, p=2, dim=None, keepdim=False):
    """NumPy's vector norm over any dimensions."""
    x, p = np.abs(x), {"fro": 2, None: 2}.get(p, p)
    if p == 0:
        return np.sum((x != 0) * 1.0, axis=dim, keepdims=keepdim)
    if np.isinf(p):
        return (np.max if p > 0 else np.min)(x, axis=dim, keepdims=keepdim)
    return np.sum(x ** p, axis=dim, keepdims=keepdim) ** (1 / p)


@case("norm", numpy=length, bad=(call(np.arange(3)), call(X, "wrong"), call(X, 2, 2), call(X, 2, (0, 0)), call(NOTHING, np.inf)))
def _(d):
    x = distinct(d, d.shape(), signs=True)
    p = d.pick(["fro", 2, 1, 3, 2.5, 1.5, 0.5, -1, 0, np.inf, -np.inf])
    return call(x, p) if d.bool() else call(x, p, dim=d.dim(x.ndim) if p == "fro" else d.dims(x.ndim), keepdim=d.bool())


@case("norm", numpy=length, kinks=lambda x: [np.sqrt(np.sum(x * x))])
def _(d):
    return call(sometimes(d, 0.0, d.array()))


@case("dist", numpy=lambda a, b, p: length(a - b, p), bad=(call(X, np.arange(2.0)),))
def _(d):
    shape = d.shape()
    x = distinct(d, shape, signs=True)
    b = d.array(d.partner(shape))
    return call(x + b, b, d.pick([2, 1, 3, 1.5]))
