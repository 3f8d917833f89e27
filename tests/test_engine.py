"""The backward walk: accumulation, order, freeing, hooks, what is returned, what is refused."""
import copy
import math
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

import tinygrad_ed as tg
from tinygrad_ed.autograd import grad
from tinygrad_ed.errors import DTypeError, GraphError, ShapeError


def leaf(values, dtype=np.float64):
    return tg.Tensor(np.array(values, dtype), requires_grad=True)


def some(*shape, seed=0, dtype=np.float64):
    return tg.Tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def equal(t, values):
    assert isinstance(t, tg.Tensor)
    np.testing.assert_array_equal(t.data, np.asarray(values, t.dtype), strict=True)


# -- accumulation ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("k", [1, 2, 5])
def test_k_backward_calls_accumulate(k):
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    for _ in range(k):
        y.backward(retain_graph=True)
    equal(x.grad, [2.0 * k, 4.0 * k])


def test_backward_calls_on_fresh_graphs_accumulate_into_the_same_tensor():
    x = leaf([1.0, 2.0])
    (x * 3.0).sum().backward()
    first = x.grad
    (x * 4.0).sum().backward()
    assert x.grad is first
    equal(first, [7.0, 7.0])


@pytest.mark.parametrize("n", [2, 3, 10])
def test_fan_out_sums(n):
    x = leaf([1.0, -2.0])
    h = x * 2.0
    sum((h * float(k) for k in range(n)), start=h * 0.0).sum().backward()
    equal(x.grad, [n * (n - 1.0)] * 2)


def test_one_tensor_as_both_arguments():
    x = leaf([3.0])
    (x * x + x).backward()
    equal(x.grad, [7.0])


def test_cotangents_of_several_roots_sum():
    x, u, v = leaf([1.0, 2.0, 3.0]), some(3, seed=1), some(3, seed=2)
    y, z = x * x, x.sin()
    tg.autograd.backward([y, z], [u, v])
    np.testing.assert_allclose(x.grad.data, u.data * 2 * x.data + v.data * np.cos(x.data), rtol=1e-15)


def test_a_root_given_twice_counts_twice():
    x = leaf([1.0, 2.0])
    y = x * x
    tg.autograd.backward([y, y], [tg.Tensor(np.ones(2)), tg.Tensor(np.full(2, 10.0))])
    equal(x.grad, [22.0, 44.0])


def test_a_root_below_another_root():
    x = leaf([2.0])
    y = x * 3.0
    tg.autograd.backward([y * y, y])
    equal(x.grad, [2 * 6.0 * 3.0 + 3.0])


def test_a_leaf_is_its_own_root():
    x, g = leaf([1.0, 2.0]), some(2)
    x.backward(g)
    equal(x.grad, g.data)
    assert not np.shares_memory(x.grad.data, g.data)


def test_linear_in_the_cotangent():
    x, u, v = leaf([0.3, -1.2, 2.0]), some(3, seed=1), some(3, seed=2)
    y = x.exp() * x.sin()
    of = lambda g: grad(y, x, tg.Tensor(g), retain_graph=True)[0].data
    np.testing.assert_allclose(of(2.0 * u.data - 3.0 * v.data), 2.0 * of(u.data) - 3.0 * of(v.data), rtol=1e-13)
    equal(tg.Tensor(of(np.zeros(3))), np.zeros(3))


def test_determinism():
    def run():
        x = tg.Tensor(np.linspace(-1, 1, 50, dtype=np.float32), requires_grad=True)
        h = x
        for k in range(20):
            h = (h * (1 + 0.01 * k) + x).sin() * x
        h.sum().backward()
        return x.grad.data.tobytes()
    assert run() == run()


# -- memory of gradients -----------------------------------------------------------------------------------------------

def all_apart(*arrays):
    for i, a in enumerate(arrays):
        for b in arrays[:i]:
            assert not np.shares_memory(a, b)


BOTH = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    "view": lambda a, b: a.reshape(3, 2).reshape(2, 3) + b.t().t(), "alias": lambda a, b: a + b + a,
    "where": lambda a, b: tg.where(a > 0, a, b), "indexed": lambda a, b: a[:] + b[:, :],
}


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", BOTH)
def test_gradients_share_no_memory(name, create_graph):
    def check(gradients):
        all_apart(a.data, b.data, g.data, *[d.data for d in gradients])
        np.testing.assert_array_equal(a.data, before_a)
        np.testing.assert_array_equal(b.data, before_b)
        np.testing.assert_array_equal(g.data, before_g)

    a, b, g = (t.detach().requires_grad_(k < 2) for k, t in enumerate((some(2, 3, seed=1), some(2, 3, seed=2), some(2, 3, seed=3))))
    before_a, before_b, before_g = a.data.copy(), b.data.copy(), g.data.copy()
    check(grad(BOTH[name](a, b), [a, b], g, create_graph=create_graph))
    check([grad(BOTH[name](a, b), [a, a], g, create_graph=create_graph)[k] for k in (0, 1)])
    if not create_graph:
        BOTH[name](a, b).backward(g)
        check([a.grad, b.grad])


def test_borrowed_arrays_are_not_written():
    x, g = leaf(np.ones(3)), some(3)
    before = g.data.copy()
    g.data.flags.writeable = False
    h = x * 1.0
    (h + h + h + x).backward(g)                        # h receives g by reference, three times
    equal(g, before)
    np.testing.assert_allclose(x.grad.data, 4 * before)


def test_gradients_can_be_written_by_the_user():
    x = leaf(np.ones(3))
    x.sum().backward()
    x.grad.data[0] = 5.0
    equal(x.grad, [5.0, 1.0, 1.0])
    assert x.grad.data.flags.writeable and x.grad.is_contiguous()


def test_a_gradient_nobody_else_holds_is_not_copied():
    x = leaf(np.ones(1000))
    seen = []
    y = x * 2.0
    walk = type(y.grad_fn).backward
    type(y.grad_fn).backward = lambda node, g, add, revive: walk(node, g, lambda e, d: (seen.append(id(d)), add(e, d)), revive)
    try:
        y.sum().backward()
    finally:
        type(y.grad_fn).backward = walk
    assert id(x.grad.data) in seen


# -- grad() ------------------------------------------------------------------------------------------------------------

def test_grad_leaves_grad_alone():
    x = leaf([1.0, 2.0])
    d, = grad((x * x).sum(), x)
    equal(d, [2.0, 4.0])
    assert x.grad is None and not d.requires_grad


def test_grad_by_interior_tensors_and_through_them():
    x = leaf([1.0, 2.0])
    h = x * 3.0
    y = h * h
    dh, dx = grad(y.sum(), [h, x])
    equal(dh, [6.0, 12.0])
    equal(dx, [18.0, 36.0])


def test_grad_by_a_view_and_its_base():
    x = leaf(np.arange(4.0))
    h = x * 1.0
    v = h[1:3]
    dv, dh = grad((v * v).sum() + (h * 10.0).sum(), [v, h])
    equal(dv, [2.0, 4.0])
    equal(dh, [10.0, 12.0, 14.0, 10.0])


def test_grad_does_not_run_what_is_not_asked_for():
    x, w = leaf([1.0]), leaf([2.0])
    ran = []
    h = w * 5.0
    h.register_hook(lambda g: ran.append(g))
    d, = grad(x * h, x)
    equal(d, [10.0])
    assert not ran


def test_unused_inputs():
    x, z = leaf([1.0]), leaf([[1.0, 2.0]])
    y = x * 2.0
    with pytest.raises(GraphError, match=r"input 1 of shape \(1, 2\) is not used.*allow_unused"):
        grad(y, [x, z], retain_graph=True)
    assert grad(y, [x, z], allow_unused=True, retain_graph=True)[1] is None
    equal(grad(y, [x, z], materialize_grads=True, retain_graph=True)[1], [[0.0, 0.0]])
    with pytest.raises(ValueError, match="materialize_grads"):
        grad(y, x, allow_unused=False, materialize_grads=True)


def test_only_inputs_stands_where_pytorch_has_it():
    x = leaf([1.0])
    assert grad((x * x).sum(), x, None, None, False, True)[0].item() == 2
    with pytest.warns(FutureWarning, match="only_inputs"):
        grad((x * x).sum(), x, only_inputs=False)
    with pytest.raises(GraphError):
        grad((x * x).sum(), leaf([1.0]), None, None, False, True, False)


def test_batched_grad():
    x = leaf([1.0, 2.0, 3.0])
    y = x * x
    d, = grad(y, x, tg.Tensor(np.eye(3)), is_grads_batched=True, retain_graph=True)
    equal(d, np.diag([2.0, 4.0, 6.0]))
    d, = grad(y, x, tg.Tensor(np.zeros((0, 3))), is_grads_batched=True, retain_graph=True)
    assert d.shape == (0, 3)
    z = leaf([1.0])
    assert grad(y, [x, z], tg.Tensor(np.eye(3)), is_grads_batched=True, allow_unused=True)[1] is None
    with pytest.raises(GraphError, match="second time"):
        grad(y, x, tg.Tensor(np.eye(3)), is_grads_batched=True)


def test_backward_inputs():
    x, w = leaf([1.0]), leaf([2.0])
    h = x * w
    (h * h).backward(inputs=[x, h, x])
    equal(x.grad, [8.0])                               # once, though named twice
    equal(h.grad, [4.0])
    assert w.grad is None
    unused = leaf([1.0])
    (x * w).backward(inputs=[w, unused])
    equal(w.grad, [1.0])
    assert unused.grad is None
    with pytest.raises(GraphError, match="inputs is empty"):
        (x * w).backward(inputs=[])


def test_backward_inputs_may_be_views():
    x = leaf(np.arange(4.0))
    h = x * 1.0
    v = h[1:3]
    h.mul_(3.0)                                        # v gets a new history from it
    (v * v).sum().backward(inputs=[v])
    equal(v.grad, [6.0, 12.0])
    assert x.grad is None and h.grad is None


# -- higher derivatives ------------------------------------------------------------------------------------------------

def test_create_graph_gives_the_same_gradient():
    x = leaf([0.3, 1.2])
    y = (x.exp() * x.sin() / (x * x + 1.0)).sum()
    a, = grad(y, x, retain_graph=True)
    b, = grad(y, x, create_graph=True)
    np.testing.assert_allclose(a.data, b.data, rtol=1e-15)
    assert b.requires_grad


def test_derivatives_of_every_order():
    x = leaf(0.7)
    d = x.exp().sin()
    f = np.polynomial.Polynomial([1.0])                # the derivatives of sin(e^x) are p(e^x)·sin(e^x) + q(e^x)·cos(e^x)
    p, q, t = f, 0 * f, np.polynomial.Polynomial([0.0, 1.0])
    for _ in range(5):
        d, = grad(d, x, create_graph=True)
        p, q = t * (p.deriv() - q), t * (q.deriv() + p)
        e = math.exp(0.7)
        assert math.isclose(d.item(), p(e) * math.sin(e) + q(e) * math.cos(e), rel_tol=1e-12)


def test_gradient_penalty():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    d, = grad((w * x * x).sum(), x, create_graph=True)
    (d * d).sum().backward()
    equal(w.grad, 2 * (2 * w.data * x.data) * 2 * x.data)
    equal(x.grad, 2 * (2 * w.data * x.data) * 2 * w.data)


def test_second_derivative_by_the_cotangent():
    x, g = leaf([1.0, 2.0]), leaf([1.0, 1.0])
    d, = grad(x * x, x, g, create_graph=True)
    equal(grad(d, g, tg.Tensor(np.array([1.0, 10.0])))[0], [2.0, 40.0])


def test_backward_with_create_graph_warns_and_makes_a_differentiable_grad():
    x = leaf([2.0])
    with pytest.warns(UserWarning, match="create_graph"):
        (x * x * x).backward(create_graph=True)
    assert x.grad.requires_grad
    equal(grad(x.grad, x)[0], [12.0])
    x.grad = None


# -- freeing -----------------------------------------------------------------------------------------------------------

def test_a_freed_graph_is_an_error_that_changes_nothing():
    x, z = leaf([1.0]), leaf([5.0])
    h = x.exp()
    (h * 2.0).backward()
    before = x.grad.data.copy()
    with pytest.raises(GraphError, match="'exp' a second time.*retain_graph=True"):
        (h + z).backward()
    equal(x.grad, before)
    assert z.grad is None                              # nothing is added before the whole walk has succeeded


def test_operations_that_save_nothing_can_be_walked_again():
    x = leaf([1.0])
    y = x + x
    y.backward()
    y.backward()
    equal(x.grad, [4.0])


def test_retain_graph_is_create_graph_by_default():
    x = leaf([1.0])
    y = x.exp()
    grad(y, x, create_graph=True)
    grad(y, x)
    with pytest.raises(GraphError):
        grad(y, x)


# -- refusals ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("act, error, text", [
    (lambda x, y: x.detach().sum().backward(), GraphError, "does not require grad"),
    (lambda x, y: y.backward(), GraphError, r"shape \(2,\).*\.sum\(\)\.backward"),
    (lambda x, y: y.backward(tg.Tensor(np.ones(3))), ShapeError, r"\(3,\).*\(2,\)"),
    (lambda x, y: y.backward(np.ones(2)), TypeError, "ndarray"),
    (lambda x, y: tg.autograd.backward([y, y], [tg.Tensor(np.ones(2))]), GraphError, "2 tensors.*1 gradients"),
    (lambda x, y: tg.autograd.backward([3.0]), TypeError, "float"),
    (lambda x, y: grad(y.sum(), tg.Tensor(np.ones(2))), GraphError, "input 0.*does not require grad"),
    (lambda x, y: grad(y.sum(), [x, 3]), TypeError, "int"),
])
def test_refusals(act, error, text):
    x = leaf([1.0, 2.0])
    y = x * x
    with pytest.raises(error, match=text):
        act(x, y)
    assert x.grad is None
    y.sum().backward()                                 # and the graph is as it was
    equal(x.grad, [2.0, 4.0])


def test_a_cotangent_of_another_dtype_is_converted():
    x = leaf([1.0, 2.0], np.float32)
    (x * x).backward(tg.Tensor(np.ones(2)))
    assert x.grad.dtype == np.float32
    with pytest.raises(DTypeError):
        tg.Tensor(np.ones(2, int), requires_grad=True)


# -- hooks -------------------------------------------------------------------------------------------------------------

def test_hooks_see_and_replace_gradients_in_order():
    x, seen = leaf([1.0, 2.0]), []
    h = x * 3.0
    h.register_hook(lambda g: seen.append(("a", g.data.copy())))
    h.register_hook(lambda g: g * 10.0)
    h.register_hook(lambda g: seen.append(("b", g.data.copy())))
    x.register_hook(lambda g: seen.append(("x", g.data.copy())) or g + 1.0)
    (h * tg.Tensor(np.array([1.0, 2.0]))).sum().backward()
    assert [name for name, _ in seen] == ["a", "b", "x"]
    np.testing.assert_array_equal([g for _, g in seen], [[1, 2], [10, 20], [30, 60]])
    equal(x.grad, [31.0, 61.0])


def test_a_leaf_hook_sees_the_sum_once():
    x, seen = leaf([1.0]), []
    x.register_hook(lambda g: seen.append(g.item()))
    (x * 2.0 + x * 3.0).backward()
    assert seen == [5.0]
    (x * 2.0).backward()
    assert seen == [5.0, 2.0]                          # this walk's gradient, not the accumulated one
    equal(x.grad, [7.0])


def test_hooks_are_removed():
    x, seen = leaf([1.0]), []
    handle = x.register_hook(lambda g: seen.append("gone"))
    with x.register_hook(lambda g: seen.append("block")):
        (x * 1.0).backward()
    handle.remove()
    handle.remove()
    (x * 1.0).backward()
    assert seen == ["gone", "block"]


def test_a_hook_may_remove_itself_or_add_another():
    x, seen = leaf([1.0]), []
    handles = []
    handles.append(x.register_hook(lambda g: (seen.append(1), handles[0].remove(), x.register_hook(lambda g: seen.append(2)))[0]))
    (x * 1.0).backward()
    (x * 1.0).backward()
    assert seen == [1, 2]


def test_hooks_on_0d_gradients_get_tensors():
    x = leaf(2.0)
    h = x * x
    seen = []
    for t in (x, h):
        t.register_hook(lambda g: seen.append((type(g.data), g.shape)) or g * 2.0)
    (h + h * 3.0).backward()                           # sums of 0-d arrays are NumPy scalars
    assert seen == [(np.ndarray, ())] * 2
    equal(x.grad, 4.0 * 2.0 * 4.0 * 2.0)


def test_a_hook_that_writes_in_place_reaches_nothing_else():
    x, g = leaf([1.0, 2.0]), tg.Tensor(np.ones(2))
    a, b = x * 1.0, x * 1.0
    a.register_hook(lambda g: g.mul_(5.0))
    kept = []
    x.register_hook(kept.append)
    (a + b).backward(g)
    equal(g, [1.0, 1.0])
    equal(x.grad, [6.0, 6.0])
    assert not np.shares_memory(kept[0].data, x.grad.data)


@pytest.mark.parametrize("result, error, text", [
    (3.0, TypeError, "float"), (tg.Tensor(np.ones(3)), ShapeError, r"\(3,\).*\(2,\)"), (tg.Tensor(np.ones(2, "f")), DTypeError, "float32")])
def test_wrong_hook_results(result, error, text):
    x = leaf([1.0, 2.0])
    x.register_hook(lambda g: result)
    with pytest.raises(error, match=text):
        (x * 1.0).sum().backward()
    assert x.grad is None


def test_hooks_under_create_graph_are_differentiable():
    x = leaf([2.0])
    h = x * x
    with h.register_hook(lambda g: g * h):
        d, = grad(h, x, create_graph=True)
    equal(d, [4.0 * 4.0])                              # 2x · x²
    equal(grad(d, x)[0], [6.0 * 4.0])


def test_an_exception_in_a_hook_leaves_modes_and_gradients():
    x, w = leaf([1.0]), leaf([2.0])
    h = x + w
    handle = h.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        (h * 1.0 + w).backward(retain_graph=True)
    assert tg.is_grad_enabled() and x.grad is None and w.grad is None
    handle.remove()
    (h * 1.0).backward()
    equal(x.grad, [1.0])


def test_post_accumulate_hooks():
    x, seen = leaf([1.0, 2.0]), []
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.data.copy()))
    handle = x.register_post_accumulate_grad_hook(lambda t: setattr(t, "grad", None))
    (x * 2.0).sum().backward()
    assert x.grad is None
    np.testing.assert_array_equal(seen, [[2.0, 2.0]])
    handle.remove()
    (x * 2.0).sum().backward()
    equal(x.grad, [2.0, 2.0])
    grad((x * 2.0).sum(), x)
    assert len(seen) == 2                              # grad() accumulates nothing
    with pytest.raises(GraphError):
        (x * 2.0).register_post_accumulate_grad_hook(print)
    with pytest.raises(GraphError):
        tg.Tensor(np.ones(1)).register_hook(print)
    with pytest.raises(TypeError):
        x.register_hook(3)


def test_hooks_that_start_another_backward():
    x, w = leaf([1.0]), leaf([3.0])
    def hook(g):
        assert not tg.is_grad_enabled()
        with tg.enable_grad():
            (w * w).backward()

    x.register_hook(hook)
    (x * 2.0).backward()
    equal(x.grad, [2.0])
    equal(w.grad, [6.0])


def test_retain_grad():
    x = leaf([1.0, 2.0])
    h = x * 3.0
    h.retain_grad()
    h.retain_grad()
    assert h.retains_grad and not x.retains_grad
    h.register_hook(lambda g: g * 2.0)
    y = (h * h).sum()
    y.backward(retain_graph=True)
    equal(h.grad, [12.0, 24.0])                        # after the hooks, also those registered later
    y.backward()
    equal(h.grad, [24.0, 48.0])
    all_apart(h.grad.data, x.grad.data)
    x.retain_grad()
    with pytest.raises(GraphError):
        x.detach().retain_grad()


def test_retain_grad_moves_with_writes():
    x = leaf([1.0, 2.0])
    h = x * 1.0
    h.retain_grad()
    h.mul_(5.0)
    h[0].mul_(2.0)
    assert h.retains_grad
    (h * tg.Tensor(np.array([1.0, 10.0]))).sum().backward()
    equal(h.grad, [1.0, 10.0])
    equal(x.grad, [10.0, 50.0])


def test_hooks_stay_with_the_value_they_were_put_on():
    x, seen = leaf([1.0]), []
    h = x * 1.0
    h.register_hook(lambda g: seen.append(g.item()))
    h.mul_(3.0)
    h.backward()
    assert seen == [3.0]                               # the gradient of the value before the write


# -- anomaly -----------------------------------------------------------------------------------------------------------

def test_anomaly_names_op_line_and_value():
    x = leaf([1.0, 0.0, 4.0])
    with tg.autograd.detect_anomaly():
        y = x.sqrt()                                   # the line
        expected = r"'sqrt' with respect to its argument 0 is inf at index \(1,\).*test_engine\.py:\d+: .*# the line"
        with pytest.raises(GraphError, match=expected):
            y.sum().backward()
    x.sqrt().sum().backward()


def test_anomaly_of_0d_tensors_and_several_outputs():
    x = leaf([0.0, 0.0])
    with tg.autograd.detect_anomaly():
        a, b = x.unbind()
        a.register_hook(lambda g: g)
        with pytest.raises(GraphError, match=r"'log' with respect to its argument 0 is inf at index \(\)"):
            (a.log() + b).backward()
        (a.exp() + b * 2.0).backward()
        equal(x.grad, [1.0, 2.0])


def test_anomaly_without_check_nan_explains_errors():
    x = leaf([0.0])
    with tg.autograd.detect_anomaly(check_nan=False), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        x.sqrt().backward()
        h = x.exp()
        h.register_hook(lambda g: 1 / 0)
        with pytest.raises(ZeroDivisionError) as info:
            h.backward()
    notes = getattr(info.value, "__notes__", [str(w.message) for w in caught])
    assert any("'exp'" in note and "test_engine.py" in note for note in notes)


def test_anomaly_outside_the_forward():
    x = leaf([0.0])
    y = x.sqrt()
    with tg.autograd.detect_anomaly():
        with pytest.raises(GraphError, match="'sqrt'.*outside detect_anomaly"):
            y.backward()


# -- depth and width ---------------------------------------------------------------------------------------------------

def test_a_chain_of_50000_operations():
    x = leaf([1.0, 2.0])
    y = x
    for _ in range(50_000):
        y = y + 0.5
    y.sum().backward()
    equal(x.grad, [1.0, 1.0])
    d, = grad(y.sum(), x, create_graph=True)
    equal(d, [1.0, 1.0])
    del y, d                                           # freeing is not recursive either


def test_a_deep_chain_of_saving_operations():
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y * 1.0 + x * 0.0
    y.backward()
    equal(x.grad, 1.0)


def test_a_wide_graph():
    x = leaf([1.0])
    parts = [x * float(k) for k in range(5_000)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    total.backward()
    equal(x.grad, [5_000 * 4_999 / 2])


def test_a_diamond_of_depth_60_runs_each_node_once():
    x = leaf(1.0)
    y = x
    for _ in range(60):
        y = y + y
    y.backward()                                       # 2^60 ways from y to x
    equal(x.grad, 2.0 ** 60)


# -- leaves ------------------------------------------------------------------------------------------------------------

def test_deepcopy_of_leaves():
    x = leaf([1.0, 2.0])
    (x * 3.0).sum().backward()
    model = {"w": x, "again": x}
    other = copy.deepcopy(model)
    assert other["w"] is other["again"] and other["w"].requires_grad and other["w"].is_leaf
    equal(other["w"].grad, [3.0, 3.0])
    all_apart(x.data, other["w"].data, x.grad.data, other["w"].grad.data)
    (other["w"] * 1.0).sum().backward()
    equal(x.grad, [3.0, 3.0])
    with pytest.raises(GraphError, match="detach"):
        copy.deepcopy(x * 2.0)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_of_leaves(protocol):
    x = leaf([1.0, 2.0])
    x.register_hook(print)
    y = pickle.loads(pickle.dumps(x, protocol))
    equal(y, x.data)
    assert y.requires_grad
    with pytest.raises(GraphError):
        pickle.dumps(x * 2.0, protocol)


def test_assigned_gradients():
    x = leaf([1.0, 2.0])
    x.grad = tg.Tensor(np.full(2, 10.0))
    (x * 1.0).sum().backward()
    equal(x.grad, [11.0, 11.0])
    with pytest.raises(ShapeError):
        x.grad = tg.Tensor(np.ones(3))
    with pytest.raises(TypeError):
        x.grad = np.ones(2)
    equal(x.grad, [11.0, 11.0])


# -- a random graph against a naive reference --------------------------------------------------------------------------

class Ref:
    """A scalar with its history: the naive reference for reverse mode."""

    count = 0

    def __init__(self, value, parents=(), saves=False, requires_grad=None):
        self.value, self.parents, self.saves, self.freed, self.grad = value, parents, saves, False, None
        self.requires_grad = any(p.requires_grad for p, _ in parents) if requires_grad is None else requires_grad
        if not self.requires_grad:
            self.parents = ()
        Ref.count += 1
        self.number = Ref.count

    def order(self):
        """Itself and all it was computed from, latest first."""
        found = {self.number: self}
        stack = [self]
        while stack:
            for p, _ in stack.pop().parents:
                if p.requires_grad and p.number not in found:
                    found[p.number] = p
                    stack.append(p)
        return [found[n] for n in sorted(found, reverse=True)]

    def gradients(self, seed, retain):
        """The gradient of each node, or None if a node on the way has been freed."""
        g = {self.number: seed}
        for node in self.order():
            if node.parents and node.saves and node.freed:
                return None
            for p, partial in node.parents:
                if p.requires_grad:
                    g[p.number] = g.get(p.number, 0.0) + g[node.number] * partial
            if node.parents and not retain:
                node.freed = True
        return g


UNARY = {
    "neg": (lambda t: -t, lambda a: (-a, -1.0), False),
    "sin": (lambda t: t.sin(), lambda a: (math.sin(a), math.cos(a)), True),
    "tanh": (lambda t: t.tanh(), lambda a: (math.tanh(a), 1 - math.tanh(a) ** 2), True),
    "plus one": (lambda t: t + 1.0, lambda a: (a + 1.0, 1.0), False),
    "clone": (lambda t: t.clone(), lambda a: (a, 1.0), False),
}
BINARY = {
    "add": (lambda s, t: s + t, lambda a, b: (a + b, 1.0, 1.0), False),
    "sub": (lambda s, t: s - t, lambda a, b: (a - b, 1.0, -1.0), False),
    "mul": (lambda s, t: s * t, lambda a, b: (a * b, b, a), True),
}


class Graphs(RuleBasedStateMachine):
    """Operations, backward walks, freeing and reuse, in any order."""

    values = Bundle("values")

    def __init__(self):
        super().__init__()
        self.leaves = []

    @rule(target=values, value=st.floats(-1, 1), requires_grad=st.booleans())
    def leaf(self, value, requires_grad):
        pair = tg.Tensor(np.array(value), requires_grad=requires_grad), Ref(value, requires_grad=requires_grad)
        if requires_grad:
            self.leaves.append(pair)
        return pair

    @rule(target=values, x=values, name=st.sampled_from(sorted(UNARY)), recording=st.booleans())
    def unary(self, x, name, recording):
        (t, r), (tensor_op, ref_op, saves) = x, UNARY[name]
        value, partial = ref_op(r.value)
        with tg.set_grad_enabled(recording):
            return tensor_op(t), Ref(value, ((r, partial),) if recording else (), saves)

    @rule(target=values, x=values, y=values, name=st.sampled_from(sorted(BINARY)))
    def binary(self, x, y, name):
        (s, a), (t, b), (tensor_op, ref_op, saves) = x, y, BINARY[name]
        value, da, db = ref_op(a.value, b.value)
        return tensor_op(s, t), Ref(value, ((a, da), (b, db)), saves)

    @rule(target=values, x=values)
    def detach(self, x):
        return x[0].detach(), Ref(x[1].value)

    @rule(x=values, seed=st.floats(-2, 2), retain=st.booleans())
    def backward(self, x, seed, retain):
        t, r = x
        if not r.requires_grad:
            with pytest.raises(GraphError, match="does not require grad"):
                t.backward()
            return
        g = r.gradients(seed, retain)
        if g is None:
            with pytest.raises(GraphError, match="second time"):
                t.backward(tg.Tensor(np.array(seed)), retain_graph=retain)
            return
        t.backward(tg.Tensor(np.array(seed)), retain_graph=retain)
        for _, leaf in self.leaves:
            if leaf.number in g:
                leaf.grad = (leaf.grad or 0.0) + g[leaf.number]

    @rule(x=values, y=values, seed=st.floats(-2, 2))
    def grad(self, x, y, seed):
        (t, r), (u, wanted) = x, y
        if not r.requires_grad or not wanted.requires_grad:
            return
        on_the_way = {wanted.number}                   # only nodes between the two are run
        for node in reversed(r.order()):
            if any(p.number in on_the_way for p, _ in node.parents):
                on_the_way.add(node.number)
        above = [n for n in r.order() if n.number in on_the_way and n is not wanted]
        if wanted in r.order() and any(n.saves and n.freed for n in above):
            with pytest.raises(GraphError, match="second time"):
                tg.grad(t, u, tg.Tensor(np.array(seed)), retain_graph=True)
            return
        found, = tg.grad(t, u, tg.Tensor(np.array(seed)), retain_graph=True, allow_unused=True)
        if wanted not in r.order():
            assert found is None
            return
        freed = [(n, n.freed) for n in r.order()]
        for n, _ in freed:
            n.freed = False
        assert math.isclose(found.item(), r.gradients(seed, True)[wanted.number], rel_tol=1e-9, abs_tol=1e-12)
        for n, before in freed:
            n.freed = before

    @rule()
    def zero(self):
        for t, r in self.leaves:
            t.grad = r.grad = None

    @rule(x=consumes(values))
    def forget(self, x):
        pass

    @invariant()
    def gradients_agree(self):
        for t, r in self.leaves:
            if r.grad is None:
                assert t.grad is None
            else:
                assert math.isclose(t.grad.item(), r.grad, rel_tol=1e-9, abs_tol=1e-12)


TestGraphs = Graphs.TestCase
TestGraphs.settings = settings(stateful_step_count=40)


@given(st.data())
def test_second_derivatives_of_random_graphs(data):
    """The derivative of a random combination of gradients, against differences of first derivatives."""
    n = data.draw(st.integers(1, 3))
    step = st.tuples(st.sampled_from(sorted(UNARY | BINARY)), st.integers(0, 99), st.integers(0, 99))
    program = data.draw(st.lists(step, min_size=1, max_size=8))
    start = np.array(data.draw(st.lists(st.floats(-1, 1), min_size=n, max_size=n)))
    weights = np.array(data.draw(st.lists(st.floats(-1, 1), min_size=n, max_size=n)))

    def first(values, create_graph):
        xs = [tg.Tensor(np.array(v), requires_grad=True) for v in values]
        made = list(xs)
        for name, i, j in program:
            s, t = made[i % len(made)], made[j % len(made)]
            made.append(UNARY[name][0](s) if name in UNARY else BINARY[name][0](s, t))
        return xs, grad(made[-1] * made[-1], xs, create_graph=create_graph, materialize_grads=True)

    xs, ds = first(start, True)
    total = sum((d * w for d, w in zip(ds, weights)), start=xs[0] * 0.0)
    found = np.array([d.item() for d in grad(total, xs, materialize_grads=True)])
    for k in range(n):
        e = np.eye(n)[k] * 1e-6
        difference = [(a.item() - b.item()) / 2e-6 for a, b in zip(first(start + e, False)[1], first(start - e, False)[1])]
        np.testing.assert_allclose(found[k], np.dot(weights, difference), rtol=1e-5, atol=1e-6)
