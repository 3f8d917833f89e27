"""Cases of `ops/index`: reading parts of tensors, and writing them."""
import numpy as np
from registry import call, case

X = np.arange(12.0).reshape(3, 4)
I = np.array([0, 2])
INT, BOOL = np.array([5]), np.array([True, False])
NONE = np.zeros(0, int)


def method(name):
    """The method of that name in PyTorch."""
    return f"Tensor.{name}"


# -- x[index] ----------------------------------------------------------------------------------------------------------

def a_slice(d, n):
    """A slice of a dimension of length n."""
    ends = [None, *range(-n - 1, n + 2)]
    return slice(d.pick(ends), d.pick(ends), d.pick([None, 1, 2]))


def basic(d, shape):
    """A basic index of a shape."""
    entries = [d.integer(-n, n - 1) if n and d.bool() else a_slice(d, n) for n in shape][:d.integer(0, len(shape))]
    if d.bool():
        entries.insert(d.integer(0, len(entries)), None)
    if d.bool():
        entries.append(Ellipsis)
    return tuple(entries) if len(entries) != 1 or d.bool() else entries[0]


def advanced(d, shape):
    """An index with tensors, lists and masks among slices and integers."""
    together = tuple(d.integer(1, 3) for _ in range(d.integer(1, 2)))
    entries, at = [], 0
    while at < len(shape):
        n = shape[at]
        kind = d.pick(["ints", "ints", "list", "mask", "slice", "int", "none", "bool", "stop"])
        if kind == "ints":
            entries.append(d.ints(tuple(1 if d.bool() else m for m in together), -n, n - 1))
        elif kind == "list":
            entries.append([int(i) for i in d.ints((together[-1],), -n, n - 1)])
        elif kind == "mask" and not any(isinstance(e, np.ndarray) and e.dtype == bool or isinstance(e, list) for e in entries):
            mask = d.bools(shape[at:at + d.integer(1, len(shape) - at)])
            if mask.sum() != 1:                       # one True broadcasts with whatever else there is
                mask.flat[:] = False
                mask.flat[d.integer(0, mask.size - 1)] = True
            entries.append(mask)
            at += mask.ndim - 1
        elif kind == "slice":
            entries.append(a_slice(d, n))
        elif kind == "int":
            entries.append(d.integer(-n, n - 1))
        elif kind in ("none", "bool"):
            entries.append(None if kind == "none" else True)
            continue
        elif kind == "stop":
            break
        else:
            continue
        at += 1
    return tuple(entries)


BAD = (call(X, 3), call(X, -4), call(X, (0, 0, 0)), call(X, (slice(None), 4)), call(X, slice(None, None, -1)), call(X, INT), call(X, (I, INT)),
       call(X, BOOL), call(X, 1.5), call(X, np.array([0.0, 1.0])), call(X, (I, [0, 1, 2])), call(np.array(1.0), 0), call(X, slice(0, 1.5)),
       call(np.zeros((0, 2)), I), call(X, "0"))


@case("Tensor.__getitem__", numpy=lambda x, i: x[i], analytic=True, bad=BAD)
def _(d):
    x = d.array(d.shape(min_side=0))
    return call(x, basic(d, x.shape))


@case("Tensor.__getitem__")
def _(d):
    x = d.array(d.shape(max_dims=4))
    return call(x, advanced(d, x.shape))


@case("Tensor.__getitem__", numpy=lambda x, i: x[i], analytic=True)
def _(d):
    x = d.array(d.shape(min_dims=1))
    return call(x, d.ints(d.shape(max_dims=2, min_side=0), -len(x), len(x) - 1))


@case("Tensor.__getitem__", numpy=lambda x, i: x[i])
def _(d):
    x = d.array(d.shape(min_side=0))
    return call(x, d.bools(x.shape[:d.integer(0, x.ndim)]))


def assign(x, index, value):
    """A copy with a part overwritten, by the in-place write."""
    y = x.clone()
    y[index] = value
    return y


def assign_numpy(x, index, value):
    """The same on NumPy arrays."""
    y = np.array(x + 0 * value.sum())                 # complex if one of them is
    y[index] = value
    return y


def stretched(d, shape):
    """A shape that broadcasts to another."""
    return tuple(1 if d.bool() else n for n in shape)[d.integer(0, len(shape)):]


@case("Tensor.__setitem__", op=assign, torch=assign, numpy=assign_numpy, analytic=True,
      bad=(call(X, 3, X[0]), call(X, 0, X), call(X, INT, X[:1]), call(X, (slice(None), INT), X[:, :1]), call(X, I, np.ones((3, 4))),
           call(X, BOOL, X[:1]), call(X, X > 5, np.ones(3)), call(X, slice(None, None, -1), X), call(X, 0, "a"), call(X, 0, None)))
def _(d):
    x = d.array(d.shape(min_side=0))
    index = basic(d, x.shape)
    return call(x, index, d.array(stretched(d, x[index].shape)))


@case("Tensor.__setitem__", op=assign, torch=assign)
def _(d):
    x = d.array(d.shape(min_dims=1))
    return call(x, d.permutation(len(x))[:d.integer(0, len(x))] or slice(0), d.array(stretched(d, x.shape[1:])))


@case("Tensor.__setitem__", op=assign, torch=assign, numpy=lambda x, i, v: assign_numpy(x, i, np.asarray(v)))
def _(d):
    x = d.array(d.shape(min_side=0))
    return call(x, d.bools(x.shape[:d.integer(0, x.ndim)]), d.pick([d.array(()), 2.5]))


@case("Tensor.__setitem__", op=assign, torch=None, numpy=assign_numpy)
def _(d):                                             # elements named twice: the last value stays; PyTorch's gradient is another
    x = d.array(d.shape(min_dims=1))
    i = d.ints((d.integer(0, 4),), -len(x), len(x) - 1)
    return call(x, i, d.array((len(i), *x.shape[1:])))


def assign_in_turn(x, index, value):
    """The same, one element after the other."""
    y = np.array(x)
    for k in np.ndindex(index.shape):
        y[index[k]] = value[k]
    return y


@case("Tensor.__setitem__", op=assign, torch=None, order=0, numpy=assign_in_turn)
def _(d):                                             # also where nothing is recorded, and in whatever order NumPy would write
    x = d.array((d.integer(1, 3),))
    i = d.ints((2, d.integer(1, 3)), 0, len(x) - 1)
    return call(x, i, d.array(i.shape))


def add_into(x, index, value):
    """x[index] += value on a copy."""
    y = x.clone()
    y[index] += value
    return y


@case("Tensor.__setitem__", op=add_into, torch=add_into)
def _(d):
    x = d.array(d.shape(min_dims=1))
    index = basic(d, x.shape) if d.bool() else d.permutation(len(x))[:d.integer(1, len(x))]
    return call(x, index, d.array(()))


@case("select", torch=method("select"), bad=(call(X, 0, 3), call(X, 2, 0), call(np.array(1.0), 0, 0)))
def _(d):
    x = d.array(d.shape(min_dims=1))
    dim = d.dim(x.ndim)
    return call(x, dim, d.integer(-x.shape[dim], x.shape[dim] - 1))


@case("narrow", bad=(call(X, 0, 2, 2), call(X, 0, 4, 0), call(X, 0, 0, -1), call(X, 0, -4, 1), call(np.array(1.0), 0, 0, 1)))
def _(d):
    x = d.array(d.shape(min_dims=1, min_side=0))
    dim = d.dim(x.ndim)
    start = d.integer(0, x.shape[dim])
    length = d.integer(0, x.shape[dim] - start)
    return call(x, dim, start - x.shape[dim] if start < x.shape[dim] and d.bool() else start, length)


@case("unfold", torch=method("unfold"), bad=(call(X, 1, 5, 1), call(X, 1, 2, 0), call(X, 1, -1, 1), call(X, 2, 1, 1), call(np.array(1.0), 0, 2, 1)))
def _(d):
    x = d.array(d.shape(min_side=0, max_side=6))
    dim = d.dim(x.ndim)
    return call(x, dim, d.integer(0, x.shape[dim] if x.ndim else 1), d.integer(1, 4))


# -- reading -----------------------------------------------------------------------------------------------------------

def a_dim(d, min_side=1):
    """An array, one of its dimensions, and the length of that."""
    x = d.array(d.shape(min_side=min_side))
    dim = d.dim(x.ndim)
    return x, dim, x.shape[dim] if x.ndim else 1


def with_length(shape, dim, n):
    """A shape with one dimension of another length."""
    return tuple(n if k == dim % len(shape) else m for k, m in enumerate(shape))


@case("index_select", numpy=lambda x, dim, i: np.take(x, i, dim) if x.ndim else x, analytic=True,
      bad=(call(X, 0, INT), call(X, 0, -I), call(X, 0, I[None]), call(X, 2, I), call(np.array(1.0), 0, I), call(X, 0, np.array([0.0]))))
def _(d):
    x, dim, n = a_dim(d)
    return call(x, dim, d.ints((d.integer(0, 4) if x.ndim else 1,), 0, n - 1))


@case("gather", bad=(call(X, 0, INT[None]), call(X, 0, -I[None]), call(X, 0, I), call(X, 1, np.zeros((4, 1), int)), call(X, 2, I[None]),
                     call(X, 0, np.zeros((1, 1)))))
def _(d):
    x, dim, n = a_dim(d)
    return call(x, dim, d.ints(with_length(tuple(d.integer(0, m) for m in x.shape), dim, d.integer(0, 5)), 0, n - 1))


@case("gather", numpy=lambda x, dim, i: np.take_along_axis(x, i, dim), analytic=True)
def _(d):
    x = d.array(d.shape(min_dims=1))
    dim = d.dim(x.ndim)
    return call(x, dim, d.ints(with_length(x.shape, dim, d.integer(0, 5)), 0, x.shape[dim] - 1))


@case("take", numpy=np.take, analytic=True, bad=(call(X, np.array([12])), call(X, np.array([-13])), call(X, np.array([0.0]))))
def _(d):
    x = d.array(d.shape())
    return call(x, d.ints(d.shape(min_side=0, max_dims=2), -x.size, x.size - 1))


@case("take_along_dim", bad=(call(X, I, 0), call(X, np.zeros((2, 1), int), 1), call(X, np.array([12])), call(X, -I)))
def _(d):
    x, dim, n = a_dim(d)
    if d.bool() or x.ndim == 0:
        return call(x, d.ints(d.shape(max_dims=2), 0, x.size - 1))
    shape = tuple(1 if d.bool() else m for m in x.shape)
    return call(x, d.ints(with_length(shape, dim, d.integer(1, 4)), 0, n - 1), dim)


@case("masked_select", bad=(call(X, BOOL), call(X, np.array([1, 0, 1, 0]))))
def _(d):
    x = d.array(d.shape(min_side=0))
    return call(x, d.bools(d.partner(x.shape)))


@case("nonzero", order=0)
def _(d):
    return call(d.ints(d.shape(min_side=0), 0, 1), as_tuple=d.bool())


@case("argwhere", order=0)
def _(d):
    return call(d.array(d.shape(min_side=0)).round())


@case("one_hot", order=0, torch="nn.functional.one_hot",
      bad=(call(-I), call(I, 2), call(I, 0), call(NONE), call(np.array([0.5])), call(I, -2)))
def _(d):
    x = d.ints(d.shape(), 0, 3)
    return call(x, 4) if d.bool() else call(x)


# -- writing -----------------------------------------------------------------------------------------------------------

def slices(d, distinct):
    """An array, a dimension, indices into it, and as many slices."""
    x, dim, n = a_dim(d)
    index = np.array(d.permutation(n)[:d.integer(0, n)], int) if distinct else d.ints((d.integer(0, 4),), 0, n - 1)
    if x.ndim == 0:
        index = np.zeros(1, int)
    return x, dim, index, d.array(with_length(x.shape, dim, len(index)) if x.ndim else ())


def apart(d, x, dim, index, source):
    """The same with all values well apart, so that the largest stays the largest."""
    values = np.array(d.permutation(x.size + source.size)) / 10 - 1
    return values[:x.size].reshape(x.shape), dim, index, values[x.size:].reshape(source.shape)


BAD_SLICES = (call(X, 0, INT, X[:1]), call(X, 0, -I, X[:2]), call(X, 0, I, X), call(X, 0, I, X[:2, :3]), call(X, 2, I, X[:2]),
              call(X, 0, I[None], X[:2]), call(X, 0, I, np.ones((2, 4), int)))


@case("index_add", bad=BAD_SLICES)
def _(d):
    return call(*slices(d, False), **({"alpha": d.number()} if d.bool() else {}))


@case("index_copy", bad=BAD_SLICES)
def _(d):
    return call(*slices(d, True))


@case("index_fill", bad=(call(X, 0, INT, 1.0), call(X, 0, I, np.ones(1)), call(X, 2, I, 1.0)))
def _(d):
    x, dim, n = a_dim(d)
    index = d.ints((d.integer(0, 4),), 0, n - 1) if x.ndim else np.zeros(1, int)
    return call(x, dim, index, d.array(())) if d.bool() else call(x, dim, index - n * (x.ndim > 0), d.number())


for reduce in ("prod", "mean", "amax", "amin"):
    @case("index_reduce", bad=tuple(call(*bad.args, reduce) for bad in BAD_SLICES) + (call(X, 0, I, X[:2], "sum"),), torch=None)
    def _(d, reduce=reduce):
        given = slices(d, False)
        return call(*(apart(d, *given) if reduce[0] == "a" else given), reduce, include_self=d.bool())


@case("index_put", bad=(call(X, (INT,), X[:1]), call(X, (I, I, I), X[:1]), call(X, (I,), np.ones(3)), call(X, (BOOL,), X), call(X, (), X),
                        call(X, (I,), np.ones((2, 4), int))))
def _(d):
    x = d.array(d.shape(min_dims=1))
    index = (d.bools(x.shape),) if d.bool() else tuple(d.ints((3,), -n, n - 1) for n in x.shape[:d.integer(1, x.ndim)])
    return call(x, index, d.array(stretched(d, x[index].shape)), True)


@case("index_put")
def _(d):
    x = d.array(d.shape(min_dims=1))
    return call(x, (np.array(d.permutation(len(x))[:d.integer(1, len(x))]),), d.array(stretched(d, x.shape[1:])))


@case("put", bad=(call(X, np.array([12]), np.ones(1)), call(X, I, np.ones(3)), call(X, I, np.ones(2, int))))
def _(d):
    x = d.array(d.shape())
    n = d.integer(0, x.size)
    index = np.array(d.permutation(x.size)[:n], int) - d.integer(0, 1) * x.size
    return call(x, index, d.array((n,))) if d.bool() else call(x, d.ints((3,), 0, x.size - 1), d.array((3,)), accumulate=True)


@case("masked_scatter", bad=(call(X, X > 5, np.ones(2)), call(X, BOOL, np.ones(12)), call(X, X > 5, np.ones(12, int)), call(X, I, X)))
def _(d):
    x = d.array(d.shape(min_side=0))
    mask = d.bools(d.partner(x.shape))
    return call(x, mask, d.array((int(np.broadcast_to(mask, np.broadcast_shapes(x.shape, mask.shape)).sum()) + d.integer(0, 2),)))


@case("select_scatter", bad=(call(X, X[0], 0, 3), call(X, X[0], 1, 0), call(X, X[0], 2, 0)))
def _(d):
    x = d.array(d.shape(min_dims=1))
    dim = d.dim(x.ndim)
    return call(x, d.array(np.delete(x.shape, dim)), dim, d.integer(-x.shape[dim], x.shape[dim] - 1))


@case("slice_scatter", bad=(call(X, X, 0, 0, 2), call(X, X, 2), call(X, X, 0, 0, 3, 0)))
def _(d):
    x = d.array(d.shape(min_dims=1))
    dim = d.dim(x.ndim)
    s = a_slice(d, x.shape[dim])
    return call(x, d.array(with_length(x.shape, dim, len(range(*s.indices(x.shape[dim]))))), dim, s.start, s.stop, s.step or 1)


def elements(d, distinct, longer=False):
    """An array, a dimension, an index of elements along it, and a source of its shape, or longer."""
    x, dim, n = a_dim(d)
    shape = tuple(d.integer(1, m) for m in x.shape)
    if x.ndim == 0:
        index = np.array(0)
    elif distinct:
        index = np.argsort(d.array(with_length(shape, dim, n)), dim)[tuple(slice(m) for m in shape)]
    else:
        index = d.ints(with_length(shape, dim, d.integer(0, 4)), 0, n - 1)
    return x, dim, index, d.array(tuple(m + d.integer(0, longer) for m in index.shape))


BAD_ELEMENTS = (call(X, 0, INT[None], X), call(X, 0, -I[None], X), call(X, 0, I, X), call(X, 0, np.zeros((1, 5), int), np.ones((1, 5))),
                call(X, 0, np.zeros((2, 2), int), X[:1]), call(X, 2, I[None], X), call(X, 0, I[None], np.ones((3, 4), int)))


@case("scatter", bad=BAD_ELEMENTS)
def _(d):
    x, dim, index, source = elements(d, True)
    return call(x, dim, index, d.pick([source, d.number()]))


@case("scatter", torch=None)                          # PyTorch has no derivative
def _(d):
    x, dim, index, source = elements(d, False)
    return call(x, dim, index, value=d.number(), reduce=d.pick(["add", "multiply"]))


@case("scatter", order=0, bad=(call(X, 0, I[None], 1.0, reduce="mean"), call(X, 0, I[None])))
def _(d):
    x, dim, index, source = elements(d, False)
    return call(x, dim, index, value=d.number(), reduce=d.pick(["add", "multiply"]))


@case("scatter_add", bad=BAD_ELEMENTS)
def _(d):
    return call(*elements(d, False))


@case("scatter", torch=None)
def _(d):                                             # elements named twice: the last value stays; PyTorch's gradient is another
    return call(*elements(d, False, longer=True))


for reduce in ("sum", "mean", "prod"):
    @case("scatter_reduce", bad=tuple(call(*bad.args, reduce) for bad in BAD_ELEMENTS) + (call(X, 0, I[None], X, "median"),))
    def _(d, reduce=reduce):
        return call(*elements(d, False), reduce, include_self=d.bool())

    @case("scatter_reduce", torch=None)               # PyTorch's gradient is wrong for what a longer source has left over
    def _(d, reduce=reduce):
        return call(*elements(d, False, longer=True), reduce, include_self=d.bool())


for reduce in ("amax", "amin"):
    @case("scatter_reduce")
    def _(d, reduce=reduce):
        return call(*apart(d, *elements(d, False)), reduce, include_self=True)

    @case("scatter_reduce", torch=None)               # PyTorch lets input share the gradient though it takes no part
    def _(d, reduce=reduce):
        return call(*apart(d, *elements(d, False)), reduce, include_self=False)
