"""Cases of `ops/shape`."""
import numpy as np
from registry import call, case

import tinygrad_ed as tg


def method(name):
    """The method of that name in PyTorch."""
    return f"Tensor.{name}"


def factored(d, n):
    """A shape of n elements, with a -1 now and then."""
    sizes = []
    while n > 1 and d.bool():
        k = d.pick([k for k in range(1, n + 1) if n % k == 0])
        sizes.append(k)
        n //= k
    sizes.append(n)
    k = d.integer(0, len(sizes) - 1)
    return tuple(-1 if i == k and 0 not in sizes and d.bool() else m for i, m in enumerate(sizes))


def of_contiguous(name):
    """The method of a contiguous copy, with which it does not depend on the argument's memory layout."""
    return lambda x, *args: getattr(x.contiguous(), name)(*args)


X = np.arange(6.0).reshape(2, 3)
for name in ("reshape", "view"):
    @case(name, numpy=lambda x, *shape: x.reshape(*shape), analytic=True, op=of_contiguous(name), torch=of_contiguous(name),
          bad=(call(X, 4, 2), call(X, -1, 4), call(X, -1, -1), call(X, (-6,)), call(np.zeros((0, 3)), 0, -1), call(X, 2.0, 3)))
    def _(d):
        x = d.array(d.shape(min_side=0))
        shape = factored(d, x.size)
        return call(x, shape) if d.bool() else call(x, *shape)


@case("reshape", numpy=lambda x, shape: x.reshape(shape))
def _(d):
    x = d.array()
    return call(x, shape=factored(d, x.size))


for name in ("view_as", "reshape_as"):
    @case(name, numpy=lambda x, other: x.reshape(other.shape), op=of_contiguous(name), torch=of_contiguous(name),
          bad=(call(X, np.zeros(5)),))
    def _(d):
        x = d.array(d.shape(min_side=0))
        return call(x, d.ints(tuple(reversed(x.shape))))


@case("flatten", bad=(call(X, 1, 0), call(X, 0, 2)))
def _(d):
    x = d.array(d.shape(min_side=0))
    start, end = sorted([d.integer(0, max(x.ndim - 1, 0)) for _ in range(2)])
    return call(x, start, end - x.ndim if x.ndim and d.bool() else end) if d.bool() else call(x)


@case("ravel", numpy=np.ravel)
def _(d):
    return call(d.array(d.shape(min_side=0)))


@case("unflatten", bad=(call(X, 1, (2, 2)), call(X, 1, ()), call(X, 1, (-1, -1)), call(X, 2, (3,)), call(np.array(1.0), 0, (1,))))
def _(d):
    x = d.array(d.shape(min_dims=1, min_side=0))
    dim = d.dim(x.ndim)
    return call(x, dim, factored(d, x.shape[dim]))


@case("squeeze", bad=(call(X, 2), call(X, (0, 0))))
def _(d):
    x = d.array(tuple(d.pick([0, 1, 1, 3]) for _ in range(d.integer(0, 3))))
    dims = d.dims(x.ndim)
    return call(x) if dims is None else call(x, dims)


@case("unsqueeze", numpy=np.expand_dims, analytic=True, bad=(call(X, 3), call(X, -4)))
def _(d):
    x = d.array(d.shape(min_side=0))
    return call(x, d.dim(x.ndim + 1))


@case("contiguous", numpy=lambda x: x, torch=method("contiguous"))
def _(d):
    return call(d.array(d.shape(min_side=0)))


for name in ("atleast_1d", "atleast_2d", "atleast_3d"):
    @case(name, numpy=getattr(np, name))
    def _(d):
        return call(*[d.array(d.shape(min_side=0)) for _ in range(d.integer(1, 3))])

    @case(name)
    def _(d):
        return call([d.array(), d.array()])


# -- axes --------------------------------------------------------------------------------------------------------------

@case("transpose", bad=(call(X, 0, 2), call(np.array(1.0), 0, 1)))
def _(d):
    x = d.array(d.shape(min_side=0))
    return call(x, d.dim(x.ndim), d.dim(x.ndim))


@case("t", numpy=np.transpose, analytic=True, bad=(call(np.zeros((1, 2, 3))),))
def _(d):
    return call(d.array(d.shape(max_dims=2, min_side=0)))


@case("adjoint", numpy=lambda x: x.swapaxes(-2, -1), analytic=True, bad=(call(np.zeros(3)),))
def _(d):
    return call(d.array(d.shape(min_dims=2, min_side=0)))


@case("permute", numpy=np.transpose, analytic=True, bad=(call(X, (0, 0)), call(X, (0,)), call(X, (0, 5))))
def _(d):
    x = d.array(d.shape(max_dims=4, min_side=0))
    return call(x, tuple(i - x.ndim if d.bool() else i for i in d.permutation(x.ndim)))


@case("permute", torch=method("permute"))
def _(d):
    x = d.array((2, 3, 4))
    return call(x, *d.permutation(3)) if d.bool() else call(x, dims=d.permutation(3))


@case("movedim", numpy=np.moveaxis, analytic=True,
      bad=(call(X, (0, 0), (0, 1)), call(X, 0, 2), call(X, (0, 1), (0, 0)), call(X, (0, 1), (0,))))
def _(d):
    x = d.array(d.shape(min_dims=1, max_dims=4, min_side=0))
    if d.bool():
        return call(x, d.dim(x.ndim), d.dim(x.ndim))
    n = d.integer(0, x.ndim)
    source, destination = ([i - x.ndim if d.bool() else i for i in d.permutation(x.ndim)[:n]] for _ in range(2))
    return call(x, tuple(source), tuple(destination))


@case("expand", torch=method("expand"), bad=(call(X, 4, 3), call(X, 3), call(X, -1, 2, 3), call(X, -2, 3), call(X, ())))
def _(d):
    x = d.array(tuple(d.pick([0, 1, 1, 3]) for _ in range(d.integer(0, 3))))
    front = d.shape(max_dims=2, min_side=0, max_side=2)
    size = (*front, *[d.pick([-1, n]) if n != 1 else d.pick([-1, 0, 1, 3]) for n in x.shape])
    return call(x, *size) if size and d.bool() else call(x, size)


@case("broadcast_to", numpy=np.broadcast_to, bad=(call(X, (2, 4)), call(X, (3,))))
def _(d):
    size = d.shape(min_side=0)
    return call(d.array(tuple(1 if d.bool() else n for n in size)[d.integer(0, len(size)):]), size)


@case("broadcast_tensors", numpy=np.broadcast_arrays, bad=(call(X, np.zeros(4)),))
def _(d):
    shape = d.shape(min_side=0)
    return call(d.array(shape), d.array(d.partner(shape)), d.array(()))


@case("broadcast_shapes", op=lambda *shapes: tg.zeros(tg.broadcast_shapes(*shapes)), torch=None, order=0, dtypes=(),
      numpy=lambda *shapes: np.zeros(np.broadcast_shapes(*shapes)), bad=(call((2,), (3,)),))
def _(d):
    shape = d.shape(min_side=0)
    return call(shape, d.partner(shape), d.pick([(), 1]))


@case("sum_to_size", torch=method("sum_to_size"), bad=(call(X, (2,)), call(X, (1, 2, 3)), call(X, (4, 3)), call(X, (-1, 3))))
def _(d):
    shape = d.shape(max_dims=2)
    return call(d.array((*d.shape(max_dims=1), *shape)), tuple(1 if d.bool() else n for n in shape))


@case("meshgrid", numpy=np.meshgrid, analytic=True,
      bad=(call(X, indexing="ij"), call(np.zeros(2), np.arange(3), indexing="ij"), call(np.zeros(2), indexing="yx"), call(indexing="ij")))
def _(d):
    vectors = [d.array(d.shape(max_dims=1, min_side=0)) for _ in range(d.integer(1, 3))]
    return call(*vectors, indexing=d.pick(["ij", "xy"]))


@case("meshgrid", torch=lambda xs: __import__("torch").meshgrid(xs, indexing="ij"))
def _(d):
    return call([d.array((2,)), d.array((3,))])


# -- copies ------------------------------------------------------------------------------------------------------------

@case("repeat", numpy=lambda x, *repeats: np.tile(x, repeats), analytic=True, torch=method("repeat"), bad=(call(X, 2), call(X, 2, -1)))
def _(d):
    x = d.array(d.shape(max_dims=2, min_side=0))
    return call(x, *[d.integer(0, 2) for _ in range(x.ndim + d.integer(0 if x.ndim else 1, 2))])


@case("tile", numpy=np.tile, analytic=True, bad=(call(X, (-1,)),))
def _(d):
    return call(d.array(d.shape(max_dims=2, min_side=0)), tuple(d.integer(0, 2) for _ in range(d.integer(0, 3))))


@case("tile", numpy=lambda x, dims: np.tile(x, dims))
def _(d):
    return call(d.array(), dims=[2, 3])


@case("repeat_interleave", numpy=lambda x, n, dim=None: np.repeat(x, n, dim), analytic=True,
      bad=(call(X, -1), call(X, 2, dim=5), call(X, 2, 0, output_size=5)))
def _(d):
    x = d.array(d.shape(min_dims=1, min_side=0))
    return call(x, d.integer(0, 3), d.dim(x.ndim)) if d.bool() else call(x, d.integer(0, 3))


@case("repeat_interleave", bad=(call(X, np.array([1, 2, 3]), dim=0), call(X, np.array([1, -2]), dim=0),
                                call(X, np.array([1.0, 2.0]), dim=0), call(X, np.array([[1, 2], [1, 2]]), dim=0),
                                call(X, np.array([1, 2]), 0, output_size=4)))
def _(d):
    x = d.array(d.shape(min_dims=1, min_side=0))
    dim = d.pick([None, d.dim(x.ndim)])
    n = x.size if dim is None else x.shape[dim]
    counts = d.ints(d.pick([(n,), (n,), (), (1,)]), 0, 3)
    known = {"output_size": int(counts.sum())} if counts.shape == (n,) and d.bool() else {}
    return call(x, counts, dim, **known)


@case("repeat_interleave", order=0, bad=(call(np.array([[1, 2]])), call(np.array([1, -1])), call(np.array(3))))
def _(d):
    return call(d.ints(d.shape(1, 1, min_side=0), 0, 3))


@case("flip", numpy=lambda x, dims: np.flip(x, dims), analytic=True, bad=(call(X, (0, 0)), call(X, (2,))))
def _(d):
    x = d.array(d.shape(min_dims=1, min_side=0))
    dims = d.dims(x.ndim, none=False)
    return call(x, dims=dims if isinstance(dims, tuple) else (dims,))


@case("flip", torch=method("flip"))
def _(d):
    return call(d.array((2, 3, 2)), *d.permutation(3)[:2])


@case("fliplr", numpy=np.fliplr, analytic=True, bad=(call(np.zeros(3)),))
def _(d):
    return call(d.array(d.shape(min_dims=2, min_side=0)))


@case("flipud", numpy=np.flipud, analytic=True, bad=(call(np.array(1.0)),))
def _(d):
    return call(d.array(d.shape(min_dims=1, min_side=0)))


@case("roll", numpy=np.roll, analytic=True, bad=(call(X, (1, 2)), call(X, 1, (0, 1)), call(X, 1, 4), call(np.array(1.0), 1, 0)))
def _(d):
    x = d.array(d.shape(min_dims=1, min_side=0))
    dims = d.pick([None, d.dim(x.ndim), d.dims(x.ndim, none=False)])
    shifts = tuple(d.integer(-5, 5) for _ in dims) if isinstance(dims, tuple) else d.integer(-5, 5)
    return call(x, shifts, dims)


@case("rot90", numpy=np.rot90, analytic=True,
      bad=(call(np.zeros(3)), call(X, 1, (0, 0)), call(X, 1, (0, 2)), call(X, 1, (0, 1, 1))))
def _(d):
    x = d.array(d.shape(min_dims=2, min_side=0))
    return call(x, d.integer(-5, 5), tuple(i - x.ndim if d.bool() else i for i in d.permutation(x.ndim)[:2]))


# -- diagonals ---------------------------------------------------------------------------------------------------------

for name in ("tril", "triu"):
    @case(name, numpy=getattr(np, name), analytic=True, bad=(call(np.zeros(3)), call(np.array(1.0))))
    def _(d):
        return call(d.array(d.shape(min_dims=2, min_side=0)), d.integer(-4, 4))


@case("diag", numpy=np.diag, analytic=True, bad=(call(np.array(1.0)), call(np.zeros((2, 2, 2)))))
def _(d):
    return call(d.array(d.shape(min_dims=1, max_dims=2, min_side=0)), d.integer(-3, 3))


@case("diagonal", numpy=np.diagonal, analytic=True, bad=(call(np.zeros(3)), call(X, 0, 0, 0), call(X, 0, 0, 2)))
def _(d):
    x = d.array(d.shape(min_dims=2, max_dims=4, min_side=0))
    return call(x, d.integer(-3, 3), *[i - x.ndim if d.bool() else i for i in d.permutation(x.ndim)[:2]])


@case("diag_embed", bad=(call(np.array(1.0)), call(X, 0, 1, 1), call(X, 0, 3, 1)))
def _(d):
    x = d.array(d.shape(min_dims=1, max_dims=2, min_side=0))
    return call(x, d.integer(-2, 2), *[i - x.ndim - 1 if d.bool() else i for i in d.permutation(x.ndim + 1)[:2]])


@case("fill_diagonal", torch=lambda x, value, wrap: x.clone().fill_diagonal_(value, wrap),
      bad=(call(np.zeros(3), 1, False), call(np.zeros((2, 2, 3)), 1, False)))
def _(d):
    n = d.integer(1, 3)
    return call(d.array(d.pick([(d.integer(1, 7), n), (n, n, n)])), d.number(), d.bool())


# -- writing through views ---------------------------------------------------------------------------------------------

def written_through(view):
    """Write in place through a view of x²: the whole, and the views taken before, for and after the write."""
    def run(x):
        y = (x * x).contiguous()
        before, written = view(y), view(y)
        written.mul_(3.0)
        return y, before, written, view(y)
    return run


def written_through_numpy(view):
    """The same on arrays."""
    def run(x):
        y = np.ascontiguousarray(x * x)
        view(y)[...] *= 3.0
        return y, view(y), view(y), view(y)
    return run


for name, view, numpy in [
    ("reshape", lambda y: y.reshape(-1), lambda y: y.reshape(-1)), ("view", lambda y: y.view(-1), lambda y: y.reshape(-1)),
    ("flatten", lambda y: y.flatten(1), lambda y: y.reshape(len(y), -1)),
    ("unflatten", lambda y: y.unflatten(0, (1, -1)), lambda y: y[None]), ("squeeze", lambda y: y.unsqueeze(1).squeeze(1), lambda y: y),
    ("unsqueeze", lambda y: y.unsqueeze(1), lambda y: y[:, None]), ("transpose", lambda y: y.transpose(0, 2), lambda y: y.swapaxes(0, 2)),
    ("adjoint", lambda y: y.adjoint(), lambda y: y.swapaxes(1, 2)),
    ("permute", lambda y: y.permute(2, 0, 1), lambda y: y.transpose(2, 0, 1)),
    ("movedim", lambda y: y.movedim(0, 2), lambda y: np.moveaxis(y, 0, 2)),
    ("permute", lambda y: y.permute(2, 1, 0).unflatten(1, (1, -1)).transpose(1, 3), lambda y: y.T[:, None].swapaxes(1, 3)),
    ("expand", lambda y: y.expand(1, -1, -1, -1), lambda y: y[None]), ("diagonal", lambda y: y.diagonal(1, 0, 2), None),
]:
    @case(name, op=written_through(view), torch=written_through(view), numpy=numpy and written_through_numpy(numpy))
    def _(d):
        return call(d.array(d.shape(3, 3, min_side=2)))
