"""Function and checkpoint: operations of one's own."""
import gc
import pickle
import weakref

import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed.autograd import Function, grad, gradcheck, gradgradcheck, once_differentiable
from tinygrad_ed.autograd.function import FunctionCtx
from tinygrad_ed.errors import GraphError, InPlaceError, ShapeError
from tinygrad_ed.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential


def leaf(values, dtype=np.float64):
    return tg.Tensor(np.array(values, dtype), requires_grad=True)


def equal(t, values):
    np.testing.assert_array_equal(t.data, np.asarray(values, t.dtype), strict=True)


# -- Function ----------------------------------------------------------------------------------------------------------

class Cube(Function):
    """x³, with a backward made of tensor operations."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return g * 3.0 * x * x


class Exp(Function):
    """e^x, which saves its output and has the newer form."""

    @staticmethod
    def forward(x):
        return x.exp()

    @staticmethod
    def setup_context(ctx, inputs, output):
        assert isinstance(inputs, tuple)
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, g):
        y, = ctx.saved_tensors
        return g * y


class Polar(Function):
    """Two outputs from two tensors and a number."""

    @staticmethod
    def forward(ctx, r, phi, turns):
        x, y = r * (phi * turns).cos(), r * (phi * turns).sin()
        ctx.save_for_backward(r, x, y, None)
        ctx.turns = turns
        return x, y

    @staticmethod
    def backward(ctx, gx, gy):
        r, x, y, nothing = ctx.saved_tensors
        assert nothing is None
        return (gx * x + gy * y) / r, (gy * x - gx * y) * ctx.turns, None


def polar(r, phi):
    return Polar.apply(r, phi, 2.0)


@pytest.mark.parametrize("f, inputs", [
    (Cube.apply, [[0.5, -1.0]]), (Cube.apply, [0.7]), (Cube.apply, [np.zeros((0, 2))]), (Exp.apply, [[[0.5], [1.0]]]),
    (polar, [[1.0, 2.0], [0.3, 0.4]]), (lambda r, phi: polar(r, phi)[0], [[1.0], [0.3]]), (lambda r, phi: polar(r, phi)[1], [[1.0], [0.3]]),
    (lambda x: Exp.apply(Cube.apply(x) * 0.1) * Cube.apply(x), [[0.5, -1.0]]), (lambda x: polar(x, x), [[1.5, 1.0]])])
def test_first_and_second_derivatives(f, inputs):
    inputs = [leaf(v) for v in inputs]
    assert gradcheck(f, inputs) and gradgradcheck(f, inputs)


def test_third_derivatives():
    x = leaf(2.0)
    d = Cube.apply(x)
    for expected in (12.0, 12.0, 6.0):
        d, = grad(d, x, create_graph=True)
        assert d.item() == expected


def test_names():
    y = Cube.apply(leaf([1.0]))
    assert repr(y.grad_fn) == "<CubeBackward>" and y.grad_fn.op == "Cube" and isinstance(y.grad_fn, FunctionCtx)
    assert repr(polar(leaf([1.0]), leaf([1.0]))[1].grad_fn) == "<PolarBackward>"
    y.sum().backward()
    with pytest.raises(GraphError, match="'Cube' a second time"):
        y.sum().backward()


def test_needs_input_grad_and_frozen_arguments():
    seen = []

    class Product(Function):
        @staticmethod
        def forward(ctx, a, b, text=None):
            seen.append(ctx.needs_input_grad)
            ctx.save_for_backward(a, b)
            return a * b

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            return (g * b if ctx.needs_input_grad[0] else None, 1 / 0 if ctx.needs_input_grad[1] else None, None)

    a, b = leaf([1.0, 2.0]), tg.Tensor(np.array([3.0, 4.0]))
    Product.apply(a, b, "text").sum().backward()
    equal(a.grad, [3.0, 4.0])
    assert seen == [(True, False, False)]
    assert not Product.apply(b, b, None).requires_grad
    with tg.no_grad():
        assert Product.apply(a, b, None).is_leaf


def test_nothing_inside_forward_is_recorded():
    class F(Function):
        @staticmethod
        def forward(ctx, x):
            assert not tg.is_grad_enabled() and x.requires_grad
            with tg.enable_grad():
                y = x.exp().sin()
            return y

        @staticmethod
        def backward(ctx, g):
            assert tg.is_grad_enabled() == wanted
            return g * 10.0

    x = leaf([1.0])
    wanted = False
    F.apply(x).backward()
    equal(x.grad, [10.0])
    wanted = True
    grad(F.apply(x), x, create_graph=True)


def test_outputs_that_carry_no_gradient():
    class Sort(Function):
        @staticmethod
        def forward(ctx, x):
            order = np.argsort(x.data)
            rank, whole = tg.Tensor(order), tg.Tensor(np.floor(x.data))
            ctx.mark_non_differentiable(whole)
            ctx.order = order
            return tg.Tensor(x.data[order]), rank, whole, None, "text"

        @staticmethod
        def backward(ctx, g, rank, whole, *rest):
            assert rest == (None, None)
            equal(rank, np.zeros(3))
            equal(whole, np.zeros(3))
            d = np.zeros(3)
            d[ctx.order] = g.numpy()
            return tg.Tensor(d)

    x = leaf([3.5, 1.5, 2.5])
    y, rank, whole, nothing, text = Sort.apply(x)
    assert y.requires_grad and not rank.requires_grad and not whole.requires_grad and nothing is None and text == "text"
    (y * tg.Tensor(np.array([1.0, 2.0, 3.0]))).sum().backward()
    equal(x.grad, [3.0, 1.0, 2.0])


def test_only_integer_outputs():
    class Round(Function):
        @staticmethod
        def forward(ctx, x):
            return x.long()

    assert Round.apply(leaf([1.5])).is_leaf


@pytest.mark.parametrize("materialize", [True, False])
def test_missing_gradients_are_zeros_or_none(materialize):
    class Split(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(materialize)
            return x[:1].clone(), x[1:].clone()

        @staticmethod
        def backward(ctx, a, b):
            if materialize:
                return tg.cat([a, b])
            assert a is None
            return None if b is None else tg.cat([tg.zeros(1, dtype=b.dtype), b])

    x = leaf([1.0, 2.0, 3.0])
    Split.apply(x)[1].sum().backward()
    equal(x.grad, [0.0, 1.0, 1.0])


def test_none_is_no_gradient():
    class F(Function):
        @staticmethod
        def forward(ctx, x, w):
            return x * w

        @staticmethod
        def backward(ctx, g):
            return g, None

    x, w = leaf([1.0]), leaf([2.0])
    F.apply(x, w * 1.0).backward()
    equal(x.grad, [1.0])
    assert w.grad is None
    assert grad(F.apply(x, w), [x, w], allow_unused=True)[1] is None


def test_saved_tensors_are_checked_for_writes():
    for save in (0, 1, 2):
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                between = x * 2.0
                y = between * x
                kept.append(between)
                ctx.save_for_backward([x, between, y][save])
                return y

            @staticmethod
            def backward(ctx, g):
                return g * ctx.saved_tensors[0]

        kept = []
        x = leaf([1.0, 2.0])
        h = x * 1.0
        y = F.apply(h)
        [h, kept[0], y][save].detach().add_(1.0)
        with pytest.raises(InPlaceError, match="'F' needs a value of shape"):
            y.sum().backward()


def test_saved_tensors_know_their_place():
    seen = []

    class F(Function):
        @staticmethod
        def forward(ctx, x, h):
            y = x * h
            ctx.save_for_backward(x, h, y, x * 2.0)
            return y

        @staticmethod
        def backward(ctx, g):
            seen.append(ctx.saved_tensors)
            return g, g

    x = leaf([1.0])
    h = x * 3.0
    y = F.apply(x, h)
    y.backward(retain_graph=True)
    (sx, sh, sy, between), = seen
    assert sx is x and sh.grad_fn is h.grad_fn and sy.grad_fn is y.grad_fn and not between.requires_grad
    node = y.grad_fn
    y.backward()
    with pytest.raises(GraphError, match="freed"):
        _ = node.saved_tensors


def test_what_backward_receives_cannot_be_written():
    class F(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0

        @staticmethod
        def backward(ctx, g):
            return g.mul_(5.0)

    x, g = leaf([1.0, 2.0]), tg.Tensor(np.ones(2))
    for create_graph in (False, True):
        with pytest.raises(InPlaceError):
            grad(F.apply(x), x, g, create_graph=create_graph)
    equal(g, [1.0, 1.0])


def test_a_returned_gradient_is_not_taken_over():
    constant = tg.Tensor(np.array([1.0, 2.0]))

    class F(Function):
        @staticmethod
        def forward(ctx, x, w):
            return x * 1.0

        @staticmethod
        def backward(ctx, g):
            return constant, constant

    x, w = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    for _ in range(3):
        (F.apply(x, w) + F.apply(w, x)).sum().backward()
    equal(constant, [1.0, 2.0])
    equal(x.grad, [6.0, 12.0])
    assert not np.shares_memory(x.grad.data, constant.data) and not np.shares_memory(x.grad.data, w.grad.data)


def returning(result):
    class F(Function):
        @staticmethod
        def forward(ctx, x, k):
            return x * 2.0

        @staticmethod
        def backward(ctx, g):
            return result

    return F


@pytest.mark.parametrize("result, error, text", [
    ((), GraphError, "F.backward returned 0 gradients for the 2 arguments"),
    (tg.Tensor(np.ones(2)), GraphError, "returned 1 gradients for the 2"),
    ((None, None, tg.Tensor(np.ones(2))), GraphError, "returned 3 gradients for the 2"),
    ((3.0, None), GraphError, "returned a float as the gradient of argument 0"),
    ((np.ones(2), None), GraphError, "returned a ndarray as the gradient of argument 0"),
    ((None, tg.Tensor(np.ones(2))), GraphError, "argument 1, which is no tensor"),
    ((tg.Tensor(np.ones(3)), None), ShapeError, r"shape \(3,\) for argument 0 of shape \(2,\)"),
    ((tg.Tensor(np.ones((2, 3))), None), ShapeError, r"shape \(2, 3\) for argument 0 of shape \(2,\)"),
])
def test_wrong_gradients(result, error, text):
    x = leaf([1.0, 2.0])
    with pytest.raises(error, match=text):
        returning(result).apply(x, 5).sum().backward()
    assert x.grad is None


def test_gradients_are_summed_and_converted_to_the_argument():
    x = leaf([1.0, 2.0], np.float32)
    returning((tg.Tensor(np.ones((3, 2))), None, None)).apply(x, 5).sum().backward()
    assert x.grad.dtype == np.float32
    equal(x.grad, [3.0, 3.0])


def test_wrong_declarations():
    class Nothing(Function):
        pass

    class OnlyForward(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0

    class Lists(Function):
        @staticmethod
        def forward(ctx, x):
            return [x * 1.0]

    class Numbers(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x, 3)
            return x

    x = leaf([1.0])
    with pytest.raises(NotImplementedError, match="forward"):
        Nothing.apply(x)
    with pytest.raises(NotImplementedError, match="backward"):
        OnlyForward.apply(x).backward()
    with pytest.raises(GraphError, match="tuple"):
        Lists.apply(x)
    with pytest.raises(TypeError, match="argument 1 is 3"):
        Numbers.apply(x)
    with pytest.raises(GraphError, match=r"OnlyForward\.apply"):
        OnlyForward()(x)
    with pytest.raises(TypeError):
        OnlyForward.apply(x=x)


def test_once_differentiable():
    class F(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            assert not tg.is_grad_enabled()
            return tg.Tensor(2.0 * g.numpy() * ctx.saved_tensors[0].detach().numpy())

    x = leaf([1.0, 3.0])
    d, = grad(F.apply(x).sum(), x, create_graph=True)
    equal(d, [2.0, 6.0])
    with pytest.raises(GraphError, match="twice through F"):
        d.sum().backward()
    with pytest.raises(GraphError, match="twice through F"):
        grad(d.sum(), x)
    d, = grad(F.apply(x * 1.0).sum() + (x * x * x).sum(), x)
    equal(d, [5.0, 33.0])


def test_a_backward_on_arrays_is_noticed_without_being_marked():
    class F(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return tg.Tensor(2.0 * g.data * ctx.saved_tensors[0].data)

    x = leaf([1.0, 3.0])
    d, = grad(F.apply(x).sum(), x, create_graph=True)
    with pytest.raises(GraphError, match="twice through F"):
        d.sum().backward()


def test_dirty_inputs():
    class Double(Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2.0)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2.0

    x = leaf([1.0, 2.0, 3.0])
    h = x * 1.0
    needed = h.exp() * h
    y = Double.apply(h)
    assert y is h
    (h * h).sum().backward(retain_graph=True)
    equal(x.grad, 8 * x.data)
    with pytest.raises(InPlaceError):
        needed.sum().backward()
    h = x * 1.0
    assert Double.apply(h[1:]).grad_fn is not None     # through a view into its base
    equal(h, [1.0, 4.0, 6.0])
    equal(grad(h.sum(), x)[0], [1.0, 2.0, 2.0])
    with pytest.raises(InPlaceError, match="leaf"):
        Double.apply(leaf([1.0]))
    with tg.no_grad():
        equal(Double.apply(leaf([1.0])), [2.0])


def test_dirty_inputs_must_be_returned():
    class F(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x * 1.0

    with pytest.raises(GraphError, match="must be an output"):
        F.apply(leaf([1.0]) * 1.0)


def test_outputs_that_share_memory():
    class Reverse(Function):
        @staticmethod
        def forward(ctx, x, part):
            return x[:] if part else x

        @staticmethod
        def backward(ctx, g):
            return -g, None

    class Both(Function):
        @staticmethod
        def forward(ctx, x):
            y = x * 1.0
            return y, y[:1]

        @staticmethod
        def backward(ctx, a, b):
            return a

    x = leaf([1.0, 2.0])
    for part in (False, True):
        h = x * 1.0
        y = Reverse.apply(h, part)
        assert y is not h
        equal(grad(y.sum(), x, retain_graph=True)[0], [-1.0, -1.0])
        with pytest.raises(InPlaceError, match="Reverse.forward returned"):
            y.add_(1.0)
        h.add_(1.0)
        with pytest.raises(InPlaceError, match="Reverse.forward returned"):
            y * 2.0
    a, b = Both.apply(x)
    with pytest.raises(InPlaceError, match="Both.forward returned"):
        b.add_(1.0)
    y = Reverse.apply(x, False)                        # a leaf's value may be updated, as an optimizer does
    with tg.no_grad():
        x.add_(1.0)
    y.sum().backward()


def test_a_view_among_the_arguments():
    x = leaf(np.arange(4.0))
    h = x * 1.0
    v = h[1:3]
    h.mul_(2.0)
    Cube.apply(v).sum().backward()
    np.testing.assert_allclose(x.grad.data, [0.0, 3 * 4.0 * 2, 3 * 16.0 * 2, 0.0])


def test_functions_keep_no_cycle_and_drop_what_they_saved():
    class Overwrite(Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2.0)
            ctx.mark_dirty(x)
            ctx.save_for_backward(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2.0

    gc.collect()
    gc.disable()
    try:
        x = leaf([1.0, 2.0])
        for f in (Exp, Overwrite, Cube):
            y = f.apply(x * 1.0)
            alive = weakref.ref(y.grad_fn)
            del y
            assert alive() is None
        h = x * 1.0
        alive = weakref.ref(h.data)
        y = Cube.apply(h)
        del h
        assert alive() is not None
        y.sum().backward()
        assert alive() is None
    finally:
        gc.enable()


def test_hooks_and_retained_gradients():
    x, seen = leaf([1.0, 2.0]), []
    y = Cube.apply(x)
    y.retain_grad()
    y.register_hook(lambda g: seen.append(g.data.copy()) or g * 2.0)
    y.sum().backward()
    equal(y.grad, [2.0, 2.0])
    equal(x.grad, [6.0, 24.0])


# -- checkpoint --------------------------------------------------------------------------------------------------------

def same_with_and_without(f, *inputs, captured=()):
    """f(run, *inputs), where run(part, *args) is either a plain call or a checkpoint."""
    found = []
    for run in (lambda part, *args, **kwargs: part(*args, **kwargs), checkpoint):
        xs = [leaf(v) for v in inputs]
        for w in captured:
            w.grad = None
        y = f(run, *xs)
        y.sum().backward()
        found.append([y.data, *[x.grad.data for x in xs], *[w.grad.data for w in captured]])
        xs = [leaf(v) for v in inputs]
        d = grad(f(run, *xs).sum(), [*xs, *captured], create_graph=True)
        found[-1] += [t.data for t in d]
        found[-1] += [t.data for t in grad(sum((t * t).sum() for t in d), [*xs, *captured])]
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-13)


W = leaf([0.5, -0.3])


@pytest.mark.parametrize("f", [
    lambda run, x: run(lambda x: (x * W).sin(), x),
    lambda run, x: run(lambda x: (x * W).sin(), x * 2.0) * x,
    lambda run, x: run(lambda x, y: x * y, x, x.exp()) * W,
    lambda run, x: run(lambda x: x * W * h(x), x * 1.0),
    lambda run, x: (lambda h: run(lambda: h * h.exp() * W, ) * h)(x * 3.0),                      # captures a tensor, and its own source
    lambda run, x: run(lambda x: run(lambda x: (x * W).exp(), x.sin()) + x, x),                 # nested
    lambda run, x: sum(run(lambda x: (x, [x * 2.0, {"a": x * W}]), x * 1.0)[1][:1], x * W),     # nested outputs, one an argument
    lambda run, x: run(lambda x, *, k: x[0] * k["w"], (x, 3), k={"w": W * x}),                  # tensors in containers
    lambda run, x: run(lambda x: x.exp() * W, x).mul_(2.0),
    lambda run, x: run(lambda x: (x.exp() * W).reshape(-1), x).mul_(2.0) + x,                   # ends in a view, then written
    lambda run, x: (lambda y: (y[0] + y[1]) * W)(run(lambda x: x.exp().sin().unbind(), x)),
    lambda run, x: (lambda y: (y[0].mul_(3.0), y[1] * 2.0)[1])(run(lambda x: (lambda h: (h, h[:1]))(x.exp() * W), x)),
])
def test_checkpoint_changes_nothing_but_memory(f):
    same_with_and_without(f, [0.4, 1.2], captured=[W])


def h(x):
    return x.tanh()


def test_gradcheck_of_checkpoints():
    f = lambda x, y: checkpoint(lambda x: (x * y).exp().sin(), x * 2.0) * checkpoint(lambda y: y * y, y)
    inputs = leaf([0.1, 0.5]), leaf([0.3, 0.2])
    assert gradcheck(f, inputs) and gradgradcheck(f, inputs)


def test_random_numbers_are_drawn_again():
    def part(x):
        return x * tg.rand(5, dtype=tg.float64)

    x = leaf(np.ones(5))
    tg.manual_seed(3)
    factors = part(x).data
    following = tg.rand(3).data
    for preserve in (True, False):
        x.grad = None
        tg.manual_seed(3)
        y = checkpoint(part, x, preserve_rng_state=preserve)
        equal(y, factors)
        now = tg.rand(3).data
        np.testing.assert_array_equal(now, following)
        state = tg.get_rng_state().data.copy()
        y.sum().backward()
        assert np.array_equal(x.grad.data, factors) == preserve
        assert np.array_equal(tg.get_rng_state().data, state) == preserve


def test_checkpoint_without_recording():
    x = leaf([1.0])
    runs = []
    part = lambda x: runs.append(1) or x * 2.0
    with tg.no_grad():
        assert checkpoint(part, x).is_leaf
    assert checkpoint(part, x.detach()).is_leaf
    assert checkpoint(lambda: 5) == 5
    assert checkpoint(lambda x: x, x) is x
    assert runs == [1, 1]


def test_checkpoint_runs_again_once_per_walk():
    runs = []
    x = leaf([1.0])
    a, b = checkpoint(lambda x: runs.append(1) or (x * 2.0, x.exp()), x)
    (a * b).backward(retain_graph=True)
    (a * b).backward()
    assert len(runs) == 3
    with pytest.raises(GraphError, match="'checkpoint' a second time|'mul' a second time"):
        (a + b).backward()


def test_checkpoint_runs_hooks_once():
    x, w, seen = leaf([1.0]), leaf([2.0]), []
    for name, t in (("x", x), ("w", w)):
        t.register_hook(lambda g, name=name: seen.append((name, g.item())))
    captured = w * 1.0
    captured.register_hook(lambda g: seen.append(("captured", g.item())))

    def part(x):
        h = x * captured * w
        h.register_hook(lambda g: seen.append(("inside", g.item())))
        return h * 3.0

    (checkpoint(part, x) + x * 10.0 + captured).backward()
    assert sorted(seen) == [("captured", 7.0), ("inside", 3.0), ("w", 13.0), ("x", 22.0)]


def test_writes_between_the_runs_are_noticed():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    h = x * 1.0
    y = checkpoint(lambda t: t * w, h)
    h.add_(1.0)
    with pytest.raises(InPlaceError, match="checkpoint"):
        y.sum().backward()
    y = checkpoint(lambda t: t * w, x)
    with tg.no_grad():
        w.add_(1.0)
    with pytest.raises(InPlaceError, match="checkpoint"):
        y.sum().backward()
    captured = x * 1.0
    y = checkpoint(lambda: captured * w)
    captured.add_(1.0)
    with pytest.raises((InPlaceError, CheckpointError)):
        y.sum().backward()
    h = x * 1.0
    y = checkpoint(lambda t: t.add_(1.0) * w, h)       # a function that writes into its argument
    with pytest.raises(InPlaceError, match="checkpoint"):
        y.sum().backward()


@pytest.mark.parametrize("change", [lambda t: t[:1], lambda t: t.float(), lambda t: (t * other)])
def test_a_second_run_that_does_something_else_is_noticed(change):
    x, runs = leaf([1.0, 2.0]), []

    def part(x):
        runs.append(1)
        return x * 2.0 if len(runs) == 1 else change(x * 2.0)

    with pytest.raises(CheckpointError, match="the second time"):
        checkpoint(part, x).sum().backward()
    assert x.grad is None and tg.is_grad_enabled()


other = leaf([1.0, 1.0])


def test_errors_in_the_second_run():
    x, runs = leaf([1.0]), []

    def part(x):
        runs.append(1)
        return x * 2.0 if len(runs) == 1 else 1 / 0

    y = checkpoint(part, x)
    state = tg.get_rng_state().data.copy()
    with pytest.raises(ZeroDivisionError):
        y.backward()
    np.testing.assert_array_equal(tg.get_rng_state().data, state)
    assert tg.is_grad_enabled()


def test_context_fn():
    from contextlib import contextmanager
    seen = []

    @contextmanager
    def named(name):
        seen.append(name)
        yield

    x = leaf([1.0])
    checkpoint(lambda x: x * 2.0, x, context_fn=lambda: (named("first"), named("second"))).backward()
    assert seen == ["first", "second"]


def test_several_views_of_one_tensor_inside():
    x = leaf([1.0, 2.0])
    a, b = checkpoint(lambda x: x.exp().unbind(), x)
    with pytest.raises(InPlaceError, match="checkpoint returned"):
        a.add_(1.0)
    (a * b).backward()


def test_checkpoint_sequential():
    w = leaf([0.5, 1.5])
    parts = [lambda x, k=k: (x * w + float(k)).sin() for k in range(5)]
    for segments in range(1, 6):
        x = leaf([0.3, 0.4])
        w.grad = None
        y = checkpoint_sequential(parts, segments, x)
        y.sum().backward()
        found = x.grad.data, w.grad.data
        x, w.grad = leaf([0.3, 0.4]), None
        expected = x
        for part in parts:
            expected = part(expected)
        equal(expected, y.data)
        expected.sum().backward()
        np.testing.assert_array_equal(found, (x.grad.data, w.grad.data))
    with pytest.raises(ValueError):
        checkpoint_sequential(parts, 6, x)
    with pytest.raises(ValueError):
        checkpoint_sequential(parts, 0, x)
    with pytest.raises(TypeError):
        checkpoint_sequential(parts, 2, x, other=3)


def test_leaves_from_checkpoints_can_be_pickled():
    x = leaf([1.0])
    checkpoint(lambda x: x * 2.0, x).backward()
    equal(pickle.loads(pickle.dumps(x)), [1.0])
