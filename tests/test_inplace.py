"""Writing into tensors: the values NumPy gives, and the right gradient or a clear error."""
import gc
import mmap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_ed as tg
from tinygrad_ed.autograd import grad, gradcheck, gradgradcheck
from tinygrad_ed.autograd.inplace import _memory_order, _written, overlaps, stamp
from tinygrad_ed.errors import GraphError, InPlaceError, ShapeError


def leaf(values, dtype=np.float64):
    return tg.Tensor(np.array(values, dtype), requires_grad=True)


def equal(t, values):
    values = values.data if isinstance(values, tg.Tensor) else values
    np.testing.assert_array_equal(t.data, np.asarray(values, t.dtype), strict=True)


# -- what is overwritten is noticed ------------------------------------------------------------------------------------

@pytest.mark.parametrize("write", [
    lambda h: h.add_(1.0), lambda h: h.mul_(2.0), lambda h: h.zero_(), lambda h: h.copy_(h * 2.0), lambda h: h.__setitem__(0, 5.0),
    lambda h: h[1:].add_(1.0), lambda h: h.t().add_(1.0), lambda h: h.reshape(-1)[3:].zero_(), lambda h: h.detach().add_(1.0),
    lambda h: h.detach()[0].fill_(3.0)])
def test_a_written_value_that_a_formula_needs_is_an_error(write):
    x = leaf(np.ones((2, 2)))
    h = x.exp()
    y = h.sin()
    write(h)
    with pytest.raises(InPlaceError, match=r"'(sin|exp)' needs a value of shape \(2, 2\).*clone"):
        y.sum().backward()
    assert x.grad is None


def test_a_written_value_that_no_formula_needs_is_fine():
    x = leaf([1.0, 2.0])
    h = x + 1.0
    y = h * 3.0
    h.add_(5.0)
    y.sum().backward()
    equal(x.grad, [3.0, 3.0])


def test_writes_before_the_value_is_used_are_fine():
    x = leaf([1.0, 2.0])
    h = x.exp().clone()
    h.mul_(2.0)
    h.sin().sum().backward()
    np.testing.assert_allclose(x.grad.data, 2 * np.exp(x.data) * np.cos(2 * np.exp(x.data)))


@pytest.mark.parametrize("method, args", [("exp", ()), ("sigmoid", ()), ("sqrt", ()), ("sin", ()), ("square", ()), ("log", ()), ("abs", ()),
                                          ("pow", (3.0,)), ("logit", (0.1,)), ("clamp", (1.6, None))])
def test_functions_keep_what_they_need_of_what_they_overwrite(method, args):
    def f(x):
        h = x * 0.3
        getattr(h[1:], method + "_")(*args)
        return h

    x = leaf([[1.0, 2.0], [2.5, 1.5]])
    expected = x * 0.3
    equal(f(x)[1:], getattr(expected[1:], method)(*args))
    assert gradcheck(f, x) and gradgradcheck(f, x)


@pytest.mark.parametrize("method", ["add", "sub", "mul", "div", "pow", "atan2", "addcmul", "addcdiv", "lerp"])
def test_both_gradients_of_two_arguments_in_place(method):
    def f(x, y):
        h = x * 2.0
        getattr(h, method + "_")(*(y, y + 1.0)[:2 if method in ("addcmul", "addcdiv", "lerp") else 1])
        h *= h[0]                                      # the other argument lies in the same memory
        return h

    x, y = leaf([[1.0, 2.0], [0.5, 3.0]]), leaf([1.5, 0.5])
    assert gradcheck(f, (x, y)) and gradgradcheck(f, (x, y))


def test_parameters_written_between_forward_and_backward():
    x, w = leaf([2.0]), leaf([3.0])
    y = x * w
    with tg.no_grad():
        w -= 1.0
    with pytest.raises(InPlaceError):
        y.backward()
    (x * w).backward()
    equal(x.grad, [2.0])


def test_data_written_between_forward_and_backward():
    x, w = leaf([2.0]), leaf([3.0])
    y = x * w
    w.data -= 1.0
    with pytest.raises(InPlaceError):
        y.backward()
    y = x * w
    w.data = w.data - 1.0                              # another array: what was saved is still there
    y.backward()
    equal(x.grad, [2.0])
    equal(w.grad, [2.0])


def test_second_derivatives_after_data_has_been_replaced():
    x, w = leaf([2.0]), leaf([3.0])
    y = x * w * w
    w.data = np.array([100.0])
    d, = grad(y, x, create_graph=True)
    equal(d, [9.0])
    equal(grad(d, w)[0], [6.0])


def test_shared_memory_is_found_through_any_array():
    array = np.ones(4)
    a, b = leaf([1.0, 1.0]), tg.Tensor(array[1:3])
    y = a * b
    tg.Tensor(array[::-1]).mul_(2.0)
    with pytest.raises(InPlaceError):
        y.sum().backward()


def test_memory_from_buffers():
    read_only, writable = tg.Tensor(np.frombuffer(b"\0" * 16)), tg.Tensor(np.frombuffer(bytearray(16)))
    mapped = tg.Tensor(np.frombuffer(mmap.mmap(-1, 16)))
    for method in ("zero_", "neg_"):
        with pytest.raises(InPlaceError, match="read-only"):
            getattr(read_only, method)()
    x = leaf([1.0, 2.0])
    for t in (writable, mapped):
        y = x * t[:]
        t[0] = 5.0
        equal(t, [5.0, 0.0])
        with pytest.raises(InPlaceError):
            y.sum().backward()


def test_stamps_are_forgotten_with_their_arrays():
    before = len(_written)
    for _ in range(100):
        tg.Tensor(np.ones(3)).add_(1.0)
    array = np.ones(3)
    stamp(array[1:])
    assert len(_written) <= before + 1
    del array
    gc.collect()
    assert len(_written) <= before


def test_versions():
    x = tg.Tensor(np.ones(4))
    assert x._version == 0
    x.add_(1.0)
    x[0] = 3.0
    x[1:].zero_()
    assert x._version == x[2:]._version == 3


# -- what can be written -----------------------------------------------------------------------------------------------

def test_leaves_that_require_grad_are_not_written():
    x = leaf([1.0, 2.0])
    for act in (lambda: x.add_(1.0), lambda: x[0].add_(1.0), lambda: x.__setitem__(0, 3.0), lambda: x.copy_(x * 2.0), lambda: x.zero_(),
                lambda: x.t().zero_()):
        with pytest.raises(InPlaceError, match="leaf.*no_grad"):
            act()
    equal(x, [1.0, 2.0])
    with tg.no_grad():
        x.add_(1.0)
        x[0] = 7.0
        x += 1.0
    equal(x, [8.0, 4.0])
    assert x.is_leaf and x.requires_grad


def test_expanded_and_overlapping_memory_is_not_written():
    x = tg.Tensor(np.arange(3.0))
    windows = tg.Tensor(np.lib.stride_tricks.as_strided(np.arange(5.0), (3, 3), (8, 8)))
    for t in (x.expand(2, 3), x.reshape(3, 1).expand(3, 4)[1:], windows, windows.t()):
        with pytest.raises(InPlaceError, match="share memory.*clone"):
            t.add_(1.0)
    x.expand(1, 3).add_(1.0)
    equal(x, [1.0, 2.0, 3.0])


@given(st.lists(st.integers(0, 3), min_size=0, max_size=4), st.data())
def test_overlaps_and_memory_order(shape, data):
    array = np.zeros(shape).transpose(data.draw(st.permutations(range(len(shape)))))
    array = array[tuple(slice(None, None, data.draw(st.sampled_from([1, 2, -1]))) for _ in shape)]
    assert not overlaps(array)
    order = _memory_order(array)
    assert sorted(order) == list(range(len(shape)))
    steps = [abs(array.strides[i]) for i in order if array.shape[i] > 1 and array.size]
    assert steps == sorted(steps, reverse=True)


def test_shapes_and_dtypes_stay():
    x = tg.Tensor(np.ones(3))
    with pytest.raises(ShapeError, match=r"\(2, 3\).*\(3,\)"):
        x.add_(tg.Tensor(np.ones((2, 3))))
    with pytest.raises(ShapeError):
        x.copy_(tg.Tensor(np.ones(4)))
    n, b = tg.Tensor(np.arange(3)), tg.Tensor(np.zeros(3, bool))
    for act in (lambda: n.add_(1.5), lambda: n.div_(2), lambda: b.add_(1), lambda: b.mul_(1.5)):
        with pytest.raises(InPlaceError, match="results into a tensor of"):
            act()
    equal(n, [0, 1, 2])
    n.add_(True)
    x.add_(n)
    x.mul_(tg.Tensor(np.ones(3, "f")))
    x.eq_(2.0)
    equal(x, [1.0, 0.0, 0.0])
    n.copy_(tg.Tensor(np.array([1.7, -1.7, 0.2])))
    equal(n, [1, -1, 0])


def test_views_taken_under_no_grad_are_not_written_outside():
    x = leaf(np.ones(4))
    h = x * 2.0
    with tg.no_grad():
        v = h[:2]
        v.mul_(1.0)
    with pytest.raises(InPlaceError, match="no_grad"):
        v.add_(1.0)
    with pytest.raises(InPlaceError, match="no_grad"):
        v[0].add_(1.0)
    h.mul_(3.0)
    with pytest.raises(InPlaceError, match="no_grad"):
        v * 2.0


def test_writes_under_no_grad_leave_the_history():
    x = leaf(np.ones(3))
    h = x * 2.0
    with tg.no_grad():
        h[0] = 100.0
    node = h.grad_fn
    equal(h, [100.0, 2.0, 2.0])
    h.sum().backward()
    assert h.grad_fn is node
    equal(x.grad, [2.0, 2.0, 2.0])


# -- what a write does to the graph ------------------------------------------------------------------------------------

def test_a_write_gives_a_constant_a_history():
    x = leaf([1.0, 2.0, 3.0])
    y = tg.Tensor(np.zeros(4))
    y[:3] = x * 2.0
    y[3] = x[0]
    assert y.requires_grad and not y.is_leaf
    (y * tg.Tensor(np.array([1.0, 2.0, 3.0, 10.0]))).sum().backward()
    equal(x.grad, [12.0, 4.0, 6.0])


def test_overwritten_history_is_gone():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    h = x * 5.0
    h.copy_(w * 2.0)
    h.sum().backward()
    assert x.grad is None
    equal(w.grad, [2.0, 2.0])


@pytest.mark.parametrize("write", [
    lambda h: h.zero_(), lambda h: h.fill_(3.0), lambda h: h.copy_(tg.Tensor(np.ones(2))), lambda h: h.__setitem__(slice(None), 2.0)])
def test_overwritten_by_a_constant_keeps_a_zero_derivative(write):
    x = leaf([1.0, 2.0])
    h = x * 5.0
    write(h)
    assert h.requires_grad
    h.sum().backward()
    equal(x.grad, [0.0, 0.0])


def test_values_broadcast_and_are_converted():
    x, s = leaf([1.0, 2.0], np.float32), leaf(3.0)
    y = tg.Tensor(np.zeros((2, 2)))
    y.copy_(x)
    y[0] = s
    (y * tg.Tensor(np.array([[1.0, 2.0], [3.0, 4.0]]))).sum().backward()
    equal(x.grad, [3.0, 4.0])
    equal(s.grad, 3.0)
    assert x.grad.dtype == np.float32


def test_a_written_copy_is_its_own_tensor():
    x = leaf([1.0, 2.0])
    a = x * 2.0
    b = tg.Tensor(np.zeros(2))
    b.copy_(a)
    b.mul_(3.0)
    (a + b).sum().backward()
    equal(x.grad, [8.0, 8.0])
    assert not np.shares_memory(a.data, b.data)


def test_views_and_base_share_history():
    x = leaf(np.arange(6.0).reshape(2, 3))
    h = x * 1.0
    row, column, flat = h[1], h[:, 0], h.reshape(-1)
    row.mul_(10.0)
    assert h.grad_fn.name() == "WriteBackward"
    equal(h, x.data * [[1], [10]])
    grads = [grad(t.sum(), x, retain_graph=True)[0] for t in (h, row, column, flat)]
    equal(grads[0], [[1, 1, 1], [10, 10, 10]])
    equal(grads[1], [[0, 0, 0], [10, 10, 10]])
    equal(grads[2], [[1, 0, 0], [10, 0, 0]])
    equal(grads[3], [[1, 1, 1], [10, 10, 10]])
    flat[::2].zero_()
    equal(grad(column.sum(), x)[0], [[0, 0, 0], [10, 0, 0]])


def test_a_write_through_a_view_of_a_view_in_another_memory_order():
    x = leaf(np.arange(12.0).reshape(3, 4))
    h = x * 1.0
    assert h.is_contiguous()
    base = tg.Tensor(np.zeros((3, 4), order="F"))
    base.copy_(h)
    flat = base.t().reshape(12)                        # a view only because of how the base lies in memory
    assert np.shares_memory(flat.data, base.data)
    flat[:5].mul_(7.0)
    weights = np.arange(12.0).reshape(3, 4) + 1
    (base * tg.Tensor(weights)).sum().backward()
    inside = np.zeros((4, 3))
    inside.reshape(-1)[:5] = 6.0
    equal(x.grad, weights * (1 + inside.T))


def test_writes_through_views_of_strided_bases():
    x = leaf(np.ones((4, 3)))
    base = tg.Tensor(np.zeros((4, 6))[:, ::2])
    base.copy_(x)
    base.reshape(12)[2:7].mul_(3.0)
    assert base.t().reshape(12)._view is None          # a copy: nothing to write through
    base.sum().backward()
    equal(x.grad, np.where((np.arange(12) >= 2) & (np.arange(12) < 7), 3.0, 1.0).reshape(4, 3))


def test_a_view_of_a_replaced_base_is_an_ordinary_tensor():
    x = leaf([1.0, 2.0])
    h = x * 2.0
    v = h[:1]
    h.data = np.array([5.0, 6.0])
    h.mul_(3.0)
    v.mul_(10.0)
    equal(v, [20.0])
    equal(h, [15.0, 18.0])
    v.sum().backward(retain_graph=True)
    equal(x.grad, [20.0, 0.0])


def test_a_written_view_of_a_replaced_base_is_an_error():
    x = leaf([1.0, 2.0])
    h = x * 2.0
    v = h[:1]
    v.mul_(3.0)
    h.data = np.array([5.0, 6.0])
    with pytest.raises(InPlaceError, match="other data"):
        v * 2.0
    h.sum().backward()


def test_writing_a_value_computed_from_the_target():
    x = leaf([1.0, 2.0, 3.0])
    h = x * 1.0
    h[1:] = h[:-1] + h[1:]
    equal(h, [1.0, 3.0, 5.0])
    (h * tg.Tensor(np.array([1.0, 10.0, 100.0]))).sum().backward()
    equal(x.grad, [11.0, 110.0, 100.0])
    h = x * 1.0
    h.copy_(h)
    h += h
    h.sum().backward()


def test_overlapping_copies_read_before_they_write():
    x = tg.Tensor(np.arange(5.0))
    x[1:] = x[:-1]
    equal(x, [0.0, 0.0, 1.0, 2.0, 3.0])


def test_writing_a_stale_view_into_another_tensor():
    x = leaf([1.0, 2.0])
    base = tg.Tensor(np.zeros(2))
    v, other = base[:1], tg.Tensor(np.zeros(1))
    base.copy_(x * 3.0)                                # v has a history from now on
    other.copy_(v)
    assert other.requires_grad
    other.backward()
    equal(x.grad, [3.0, 0.0])


def test_a_loop_that_fills_a_buffer():
    x = leaf(np.linspace(0.1, 1.0, 6))
    states = tg.Tensor(np.zeros((5, 6)))
    h = x
    for t in range(5):
        h = h.sin() + x
        states[t] = h
    weights = tg.Tensor(np.random.default_rng(0).standard_normal((5, 6)))
    found, = grad((states * weights).sum(), x)
    h, total = x, 0.0
    for t in range(5):
        h = h.sin() + x
        total = total + (h * weights[t]).sum()
    np.testing.assert_allclose(found.data, grad(total, x)[0].data, rtol=1e-14)


def test_second_derivatives_through_writes():
    def f(x, w):
        h = x * w
        v = h.reshape(-1)[1:4]
        v.copy_(v.exp() * w.sum())
        h[0, 0] = w[1] * x[1, 0]
        h.t()[1].add_(x[:, 0].sin())
        return h.sin()

    x, w = leaf(np.linspace(-1, 1, 6).reshape(3, 2)), leaf([0.5, 1.5])
    assert gradcheck(f, (x, w)) and gradgradcheck(f, (x, w))


def test_reuse_of_a_graph_with_writes():
    x = leaf([1.0, 2.0])
    h = x * 2.0
    h[0] = h[1] * 3.0
    h.sum().backward(retain_graph=True)
    h.sum().backward()
    equal(x.grad, [0.0, 16.0])


def test_detach_in_place():
    x = leaf([1.0, 2.0])
    h = x * 2.0
    with pytest.raises(GraphError):
        h[:1].detach_()
    h.detach_()
    assert h.is_leaf and not h.requires_grad


def test_elements_are_views():
    x = leaf(np.ones((2, 2)))
    h = x * 1.0
    h[0, 1].mul_(5.0)
    equal(h, [[1.0, 5.0], [1.0, 1.0]])
    h.sum().backward()
    equal(x.grad, [[1.0, 5.0], [1.0, 1.0]])


# -- random programs ---------------------------------------------------------------------------------------------------

SLICES = [slice(0, 1), slice(1, None), slice(None, -1), slice(None, None, 2)]

VIEWS = {                                              # the same on arrays and on tensors
    "transpose": lambda t, n: t.T if isinstance(t, np.ndarray) else t.permute(tuple(reversed(range(t.ndim)))),
    "flatten": lambda t, n: t.reshape(-1),
    "slice": lambda t, n: t[SLICES[n % 4]] if t.ndim else t.reshape(1),
    "last": lambda t, n: t[..., SLICES[n % 4]] if t.ndim else t.reshape(1),
    "select": lambda t, n: t[n % t.shape[0], ...] if t.ndim and t.shape[0] else t.reshape(-1),
    "unsqueeze": lambda t, n: t.reshape(1, *t.shape),
}
WRITES = ["add number", "mul number", "copy", "mul", "sub", "sin", "tanh", "fill", "set slice", "set where"]
FUNCTIONS = ["sin", "mul", "add", "clone", "number"]


class Numpy:
    """A program on NumPy arrays, also complex ones."""

    view = staticmethod(lambda t, name, n: VIEWS[name](t, n))
    sin, tanh = np.sin, np.tanh
    clone, shape, asarray = staticmethod(np.copy), staticmethod(np.shape), staticmethod(np.asarray)

    @staticmethod
    def write(t, value):
        t[...] = value

    @staticmethod
    def set(t, index, value):
        t[index] = value


class Tensors:
    """The same program on tensors."""

    view = staticmethod(lambda t, name, n: VIEWS[name](t, n))
    sin, tanh, clone = staticmethod(tg.sin), staticmethod(tg.tanh), staticmethod(tg.clone)
    shape = staticmethod(lambda t: t.shape)
    asarray = staticmethod(lambda t: t)

    @staticmethod
    def write(t, value):
        t.copy_(value) if isinstance(value, tg.Tensor) else t.fill_(value)

    @staticmethod
    def set(t, index, value):
        t[index] = value


def fits(value, target):
    try:
        return np.broadcast_shapes(value, target) == target
    except ValueError:
        return False


def run(program, inputs, on):
    """Run a program and return all the tensors it made."""
    made = [on.clone(t) for t in inputs]
    for kind, name, i, j, n in program:
        i, j = i % len(made), j % len(made)
        t, other = made[i], made[j]
        shapes = on.shape(t), on.shape(other)
        if kind == "view":
            made.append(on.view(t, name, n))
        elif kind == "function":
            both = fits(shapes[1], shapes[0])
            made.append(on.asarray(on.sin(t) if name == "sin" else on.clone(t) if name == "clone" else t * (0.25 * (n % 5 - 2))
                                   if name == "number" or not both else t * other if name == "mul" else t + other))
        elif name == "add number":
            t += 0.5
        elif name == "mul number":
            t *= 0.5
        elif name == "fill":
            on.write(t, 0.25)
        elif name == "sin":
            on.write(t, on.sin(t))
        elif name == "tanh":
            on.write(t, on.tanh(t))
        elif name == "set where":
            if shapes[0]:
                on.set(t, np.arange(shapes[0][0]) % 2 == n % 2, 0.75)
        elif name == "set slice":
            if shapes[0] and fits(shapes[1], shapes[0][1:]):
                on.set(t, SLICES[n % 4], other)
        elif fits(shapes[1], shapes[0]):
            if name == "copy":
                on.write(t, other)
            elif name == "mul":
                t *= other
            else:
                t -= other
        made[i] = t
    return made


def programs():
    step = st.one_of(
        st.tuples(st.just("view"), st.sampled_from(sorted(VIEWS)), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)),
        st.tuples(st.just("function"), st.sampled_from(FUNCTIONS), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)),
        st.tuples(st.just("write"), st.sampled_from(WRITES), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)))
    return st.lists(step, min_size=1, max_size=12)


def inputs():
    rng = np.random.default_rng(7)
    return [rng.uniform(-1, 1, (2, 3)), rng.uniform(-1, 1, (3,)), rng.uniform(-1, 1, ())]


def total(made, on):
    result = 0.0
    for k, t in enumerate(made):
        weights = np.asarray(np.random.default_rng(k).uniform(-1, 1, on.shape(t)))
        result = result + (t * (weights if on is Numpy else tg.Tensor(weights))).sum()
    return result


def complex_step(program):
    """The gradient of the total by Im f(x + ih) / h on a re-execution in NumPy."""
    gradients = []
    for k, x in enumerate(inputs()):
        d = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            shifted = [np.array(v, complex) for v in inputs()]
            shifted[k][index] += 1e-30j
            made = [np.asarray(t) for t in run(program, shifted, Numpy)]
            d[index] = np.imag(total(made, Numpy)) / 1e-30
        gradients.append(d)
    return gradients


@given(programs())
def test_random_programs_of_views_and_writes(program):
    xs = [leaf(v) for v in inputs()]
    made = run(program, xs, Tensors)
    expected = run(program, [np.array(v) for v in inputs()], Numpy)
    for t, array in zip(made, expected):
        np.testing.assert_array_equal(t.data, array)
    for x, v in zip(xs, inputs()):
        equal(x, v)
    try:
        total(made, Tensors).backward()
    except InPlaceError:
        assert any(kind == "write" for kind, *_ in program)
        return
    for x, d in zip(xs, complex_step(program)):
        np.testing.assert_allclose(0.0 if x.grad is None else x.grad.data, d, rtol=1e-10, atol=1e-12)


@given(programs())
def test_second_derivatives_of_random_programs(program):
    def f(*xs):
        return total(run(program, xs, Tensors), Tensors)

    try:
        xs = [leaf(v) for v in inputs()]
        f(*xs).backward()
    except InPlaceError:
        return
    try:
        assert gradgradcheck(f, xs, rtol=1e-4, atol=1e-5, fast_mode=True)
    except GraphError as error:
        assert isinstance(error, InPlaceError)
