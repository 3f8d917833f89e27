"""Cases of `ops/join.py`."""
import numpy as np
from registry import call, case

from cases.shape import written_through, written_through_numpy

X, Y = np.arange(6.0).reshape(2, 3), np.arange(8.0).reshape(2, 4)


def alike(d, shape, dim, n=3):
    """Arrays whose shapes agree but for one dimension."""
    return [d.array((*shape[:dim], d.integer(0, 3), *shape[dim + 1:])) for _ in range(d.integer(1, n))]


@case("cat", numpy=np.concatenate, analytic=True,
      bad=(call([X, Y]), call([]), call([np.array(1.0)]), call([X, X], dim=2), call([X, np.zeros(3)]), call(X)))
def _(d):
    shape = d.shape(min_dims=1, min_side=0)
    dim = d.integer(0, len(shape) - 1)
    arrays = alike(d, shape, dim)
    return call(tuple(arrays) if d.bool() else arrays, d.pick([dim, dim - len(shape)]))


@case("cat")
def _(d):                                             # empty vectors are skipped, dtypes promoted
    arrays = [d.array((2, 3)), d.array((0,)), d.ints((2, 1)), d.array((2, 2))]
    return call([arrays[i] for i in d.permutation(4)], dim=d.pick([1, -1]))


@case("cat")
def _(d):
    return call([d.array((0,)) for _ in range(d.integer(1, 2))])


@case("stack", numpy=np.stack, analytic=True, bad=(call([X, Y]), call([]), call([X, X], dim=3), call([X, np.zeros(3)])))
def _(d):
    shape = d.shape(min_side=0)
    return call([d.array(shape) for _ in range(d.integer(1, 3))], d.dim(len(shape) + 1))


@case("stack")
def _(d):
    return call([d.array((2,)), d.ints((2,))], dim=1)


@case("hstack", numpy=np.hstack, analytic=True, bad=(call([X, np.zeros(3)]), call([])))
def _(d):
    if d.bool():
        return call([d.array(d.shape(max_dims=1, min_side=0)) for _ in range(3)])
    return call(alike(d, d.shape(min_dims=2), 1))


for name in ("vstack", "row_stack"):
    @case(name, numpy=np.vstack, analytic=True, bad=(call([X, np.zeros(4)]), call([])))
    def _(d):
        if d.bool():
            return call([d.array(d.pick([(3,), (1, 3), (2, 3)])) for _ in range(3)])
        return call(alike(d, d.shape(min_dims=2), 0))


@case("dstack", numpy=np.dstack, analytic=True, bad=(call([X, Y]), call([])))
def _(d):
    if d.bool():
        return call([d.array(d.pick([(3,), (1, 3), (1, 3, 2)])) for _ in range(3)])
    return call(alike(d, d.shape(min_dims=3), 2))


@case("column_stack", numpy=np.column_stack, analytic=True, bad=(call([X, np.zeros(3)]), call([])))
def _(d):
    return call([d.array(d.pick([(3,), (3, 1), (3, 2)])) for _ in range(3)])


@case("column_stack")
def _(d):
    return call([d.array(()), d.array((1,))])


# -- taking apart ------------------------------------------------------------------------------------------------------

def lengths(d, n):
    """Lengths that sum to n."""
    sizes = []
    while n:
        sizes.append(d.integer(0, n))
        n -= sizes[-1]
    return sizes or [0]


@case("split", bad=(call(X, 0), call(X, -1), call(X, [1, 2]), call(X, [1, -1, 3], 1), call(np.array(1.0), 1), call(X, 1, 2)))
def _(d):
    x = d.array(d.shape(min_dims=1, min_side=0))
    dim = d.dim(x.ndim)
    return call(x, d.pick([d.integer(1, 5), lengths(d, x.shape[dim])]), dim)


@case("split_with_sizes", bad=(call(X, [1, 2]), call(X, [1, -1, 3], 1)))
def _(d):
    x = d.array(d.shape(min_dims=1, min_side=0))
    dim = d.dim(x.ndim)
    return call(x, lengths(d, x.shape[dim]), dim)


@case("chunk", bad=(call(X, 0), call(np.array(1.0), 1), call(X, 2, 2)))
def _(d):
    x = d.array(d.shape(min_dims=1, min_side=0, max_side=6))
    return call(x, d.integer(1, 5), d.dim(x.ndim))


@case("tensor_split", bad=(call(X, 0), call(np.array(1.0), 2), call(X, 2, 2)))
def _(d):
    x = d.array(d.shape(min_dims=1, min_side=0, max_side=6))
    positions = tuple(d.integer(-5, 7) for _ in range(d.integer(0, 3)))
    return call(x, d.pick([d.integer(1, 5), positions, np.array(positions, np.int64)]), d.dim(x.ndim))


for name, dims, bad in [("hsplit", 1, np.array(1.0)), ("vsplit", 2, np.zeros(4)), ("dsplit", 3, X)]:
    @case(name, bad=(call(bad, 2), call(np.zeros((3, 3, 3)), 2), call(np.zeros((3, 3, 3)), 0)))
    def _(d, dims=dims):
        shape = tuple(2 * n for n in d.shape(min_dims=dims, max_side=2))
        return call(d.array(shape), d.pick([2, (1,), (-1, 7)]))


@case("unbind", bad=(call(np.array(1.0)), call(X, 2)))
def _(d):
    x = d.array(d.shape(min_dims=1, min_side=0))
    return call(x, d.dim(x.ndim))


# -- writing through views, which PyTorch refuses for those that come several at once ----------------------------------

for name, view, numpy in [
    ("split", lambda y: y.split(1, 1)[1], lambda y: y[:, 1:2]),
    ("split", lambda y: y.split([1, y.shape[2] - 1], -1)[1], lambda y: y[..., 1:]),
    ("chunk", lambda y: y.chunk(2, 2)[0], lambda y: y[:, :, :(y.shape[2] + 1) // 2]),
    ("unbind", lambda y: y.unbind(1)[-1], lambda y: y[:, -1]), ("tensor_split", lambda y: y.tensor_split((2, 1))[2], lambda y: y[1:]),
    ("unbind", lambda y: y.unbind(0)[1].transpose(0, 1).unbind(0)[0].split(1)[0], lambda y: y[1, :1, 0]),
]:
    @case(name, op=written_through(view), torch=None, numpy=written_through_numpy(numpy))
    def _(d):
        return call(d.array(d.shape(3, 3, min_side=2)))
