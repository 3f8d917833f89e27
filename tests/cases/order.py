"""Cases of `ops/order`: sorting, quantiles, counting."""
import numpy as np
from registry import call, case

X = np.array([[3.0, 1.0, 2.0], [6.0, 5.0, 4.0]])
EMPTY = np.zeros((0, 3))


def distinct(d, shape):
    """Floats that are well apart, in a random order."""
    n = int(np.prod(shape))
    return (np.array(d.permutation(n), float).reshape(shape) + d.array(shape, -0.2, 0.2)) / 4 - 0.5


def along(d, min_side=1):
    """An array of distinct floats and one of its dimensions."""
    shape = d.shape(min_side=min_side)
    return distinct(d, shape), d.dim(len(shape))


@case("sort", bad=(call(X, 2),))
def _(d):
    x, dim = along(d, 0)
    return call(x, dim, d.bool()) if d.bool() else call(x, descending=d.bool(), stable=True)


@case("sort", order=0)
def _(d):
    return call(d.ints(d.shape(min_side=0), -2, 2), stable=True, dim=-1, descending=d.bool())


@case("argsort", order=0, bad=(call(X, 2),))
def _(d):
    x, dim = along(d, 0)
    return call(x, dim, d.bool())


@case("msort")
def _(d):
    return call(distinct(d, d.shape(min_side=0)))


@case("topk", bad=(call(X, 4), call(X, -1), call(X, 1, 2), call(EMPTY, 1, 0)))
def _(d):
    x, dim = along(d)
    return call(x, d.integer(1, x.shape[dim] if x.ndim else 1), dim, d.bool())


@case("topk")
def _(d):
    return call(distinct(d, (2, 40)), d.integer(1, 4), largest=d.bool())


@case("kthvalue", bad=(call(X, 0), call(X, 4), call(X, 1, 2), call(EMPTY, 1, 0)))
def _(d):
    x, dim = along(d)
    return call(x, d.integer(1, x.shape[dim] if x.ndim else 1), dim, d.bool())


@case("mode", order=0, bad=(call(X, 2), call(EMPTY, 0)))
def _(d):
    x = d.ints(d.shape(), 0, 2)
    return call(x, d.dim(x.ndim), d.bool())


@case("mode")
def _(d):
    x, dim = along(d)
    return call(x, dim)


for name in ("median", "nanmedian"):
    @case(name, bad=(call(X, 2), call(EMPTY, 0)))
    def _(d):
        x, dim = along(d)
        return call(x, dim, keepdim=d.bool()) if d.bool() else call(x)


for name in ("quantile", "nanquantile"):
    @case(name, kinks=lambda x, q, dim=None, *keepdim, **options: [q * ((x.size if dim is None else x.shape[dim] if x.ndim else 1) - 1) % 0.5],
          bad=(call(X, 1.5), call(X, np.array([[0.5]])), call(X, 0.5, 2), call(EMPTY, 0.5), call(X.astype(int), 0.5),
               call(X, 0.5, interpolation="cubic")))
    def _(d):
        x = distinct(d, d.shape(max_dims=2, max_side=5))
        if x.size == 1 or 1 in x.shape:
            x = distinct(d, (2, 3))
        q = d.pick([float(d.array((), 0.05, 0.95)), d.array((), 0.05, 0.95), d.array((d.integer(1, 3),), 0.05, 0.95)])
        return call(x, q, d.pick([None, d.dim(x.ndim)]), d.bool(),
                    interpolation=d.pick(["linear", "lower", "higher", "midpoint", "nearest"]))


@case("unique", order=0, bad=(call(X, dim=2), call(np.zeros((3, 0)), dim=0)))
def _(d):
    x = d.ints(d.shape(), 0, 2)
    return call(x, True, d.bool(), d.bool(), d.pick([None, d.dim(x.ndim)]) if x.ndim else None)


@case("unique_consecutive", order=0, bad=(call(X, dim=2),))
def _(d):
    x = d.ints(d.shape(min_side=0), 0, 1)
    return call(x, return_inverse=d.bool(), return_counts=d.bool(), dim=d.pick([None, d.dim(x.ndim)]) if x.size and x.ndim else None)


@case("bincount", order=0, bad=(call(np.array([-1])), call(np.array([1.0])), call(np.array([[1]])), call(np.array([1]), np.ones(2)),
                                call(np.array([1]), minlength=-1)))
def _(d):
    return call(d.ints((d.integer(0, 5),), 0, 4), minlength=d.integer(0, 6))


@case("bincount", torch=None)                         # PyTorch has no derivative
def _(d):
    x = d.ints((d.integer(0, 5),), 0, 4)
    return call(x, d.array(x.shape), d.integer(0, 6))


@case("searchsorted", order=0, bad=(call(X, np.zeros(2)), call(np.array(1.0), X), call(X[0], X, side="middle"),
                                    call(X[0], X, side="left", right=True)))
def _(d):
    if d.bool():
        sequence = np.sort(d.ints((d.integer(0, 5),), 0, 4))
        return call(sequence, d.ints(d.shape(min_side=0), -1, 5), right=d.bool(), out_int32=d.bool())
    sequence = d.ints((2, d.integer(1, 4)), 0, 4)
    return call(sequence, d.ints((2, 3), -1, 5), side=d.pick(["left", "right"]), sorter=np.argsort(sequence, 1))


@case("bucketize", order=0, bad=(call(X, X),))
def _(d):
    return call(d.pick([d.ints(None, 0, 4), 2]), np.sort(d.ints((d.integer(0, 5),), 0, 4)), right=d.bool())


@case("histc", order=0, bad=(call(X, 4, 3, 0), call(X, 0), call(X.astype(int), 4), call(X, 4, 0, float("inf"))))
def _(d):
    x = d.array(d.shape(min_side=0))
    return call(x, bins=d.integer(1, 5), min=-1, max=1) if d.bool() else call(x)


@case("isin", order=0)
def _(d):
    a, b = d.ints(d.shape(min_side=0), 0, 4), d.ints(d.shape(min_side=0), 0, 4)
    return d.pick([call(a, b, invert=d.bool()), call(a, 2), call(2, b)])
