"""jacobian, hessian, vjp, jvp, vhp, hvp."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_ed as tg
from tinygrad_ed.autograd.functional import hessian, hvp, jacobian, jvp, vhp, vjp
from tinygrad_ed.errors import GraphError, ShapeError


def t(values, requires_grad=False):
    return tg.Tensor(np.array(values, np.float64), requires_grad=requires_grad)


def close(a, values, rtol=1e-12):
    np.testing.assert_allclose(a.data, values, rtol=rtol, atol=1e-14)
    assert a.shape == np.shape(values)


A = np.random.default_rng(0).standard_normal((3, 3))


def f(x):
    """A function of a vector with the Jacobian diag(cos x)·A."""
    return (t(A) * x).sum(1).sin()


def jacobian_of_f(x):
    return np.cos(A @ x)[:, None] * A


def test_jacobian():
    x = np.array([0.3, -0.5, 1.0])
    close(jacobian(f, t(x)), jacobian_of_f(x))
    close(jacobian(lambda x: x.exp(), t(0.5)), np.exp(0.5))
    close(jacobian(lambda x: x.reshape(2, 1) * x, t([1.0, 2.0])), [[[2, 0], [2, 1]], [[2, 1], [0, 4]]])
    assert jacobian(lambda x: x[:0], t([1.0, 2.0])).shape == (0, 2)
    assert jacobian(lambda x: x.sum(), t([])).shape == (0,)


def test_the_form_of_a_jacobian():
    x, y = t([1.0, 2.0]), t([3.0, 4.0])
    a = jacobian(lambda x, y: x * y, (x, y))
    assert isinstance(a, tuple)
    close(a[0], np.diag([3.0, 4.0]))
    b = jacobian(lambda x: (x * x, x.sum()), x)
    close(b[1], [1.0, 1.0])
    c = jacobian(lambda x, y: (x * y, y.sum()), (x, y))
    close(c[1][0], [0.0, 0.0])
    close(c[1][1], [1.0, 1.0])
    close(jacobian(lambda x: (x,), (x,))[0][0], np.eye(2))


@given(st.integers(0, 2 ** 31))
def test_products_and_jacobian_agree(seed):
    """<Jv, u> = <v, Jᵀu>, and both are what the Jacobian says."""
    rng = np.random.default_rng(seed)
    x, u, v = (rng.standard_normal(3) for _ in range(3))
    J = jacobian_of_f(x)
    y, uJ = vjp(f, t(x), t(u))
    close(y, np.sin(A @ x))
    close(uJ, u @ J, 1e-11)
    y, Jv = jvp(f, t(x), t(v))
    close(y, np.sin(A @ x))
    close(Jv, J @ v, 1e-11)
    assert abs((Jv.data * u).sum() - (uJ.data * v).sum()) < 1e-12 * max(1.0, abs((Jv.data * u).sum()))


@given(st.integers(0, 2 ** 31))
def test_hessians(seed):
    rng = np.random.default_rng(seed)
    x, v = rng.standard_normal(3), rng.standard_normal(3)
    g = lambda x: (f(x) * x).sum()
    H = hessian(g, t(x))
    close(H, H.data.T, 1e-10)
    s, c = np.sin(A @ x), np.cos(A @ x)
    expected = -A.T @ np.diag(s * x) @ A + np.diag(c) @ A + (np.diag(c) @ A).T
    close(H, expected, 1e-10)
    value, product = hvp(g, t(x), t(v))
    close(product, expected @ v, 1e-10)
    close(value, (s * x).sum())
    close(vhp(g, t(x), t(v))[1], v @ expected, 1e-10)


def test_hessians_of_several_inputs():
    x, y = t([1.0, 2.0]), t(3.0)
    H = hessian(lambda x, y: (x * x).sum() * y, (x, y))
    close(H[0][0], 6 * np.eye(2))
    close(H[0][1], [2.0, 4.0])
    close(H[1][0], [2.0, 4.0])
    close(H[1][1], 0.0)
    value, (a, b) = vhp(lambda x, y: (x * x).sum() * y, (x, y), (t([1.0, 0.0]), t(10.0)))
    close(a, [6.0 + 20.0, 40.0])
    close(b, 2.0)
    close(hvp(lambda x, y: (x * x).sum() * y, (x, y), (t([1.0, 0.0]), t(10.0)))[1][0], [26.0, 40.0])


def test_one_element_needs_no_vector():
    close(vjp(lambda x: (x * x).sum(), t([1.0, 2.0]))[1], [2.0, 4.0])
    close(jvp(lambda x: tg.stack([x, x * x]), t(3.0))[1], [1.0, 6.0])
    close(hvp(lambda x: x ** 3, t(2.0))[1], 12.0)
    with pytest.raises(GraphError, match="left out"):
        vjp(f, t([1.0, 2.0, 3.0]))
    with pytest.raises(GraphError, match="left out"):
        jvp(f, t([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("create_graph", [False, True])
def test_create_graph(create_graph):
    x, v = t([0.3, -0.5, 1.0], True), t([1.0, 2.0, 3.0], True)
    total = lambda x: f(x).sum()
    results = [jacobian(f, x, create_graph=create_graph), vjp(f, x, v, create_graph=create_graph)[1],
               jvp(f, x, v, create_graph=create_graph)[1], hessian(total, x, create_graph=create_graph),
               hvp(total, x, v, create_graph=create_graph)[1], vhp(total, x, v, create_graph=create_graph)[1],
               vjp(f, x, v, create_graph=create_graph)[0]]
    for r in results:
        assert r.requires_grad == create_graph
    assert x.grad is None and v.grad is None
    if create_graph:
        results[1].sum().backward()
        close(v.grad, jacobian_of_f(x.data).sum(1))
        products = lambda x, v: (jvp(f, x, v, create_graph=True)[1], hvp(total, x, v, create_graph=True)[1])
        assert tg.autograd.gradcheck(products, (x, v))


def test_inputs_are_left_alone():
    x = t([1.0, 2.0])
    seen = []
    jacobian(lambda z: seen.append(z) or z * z, x)
    assert seen[0] is not x and seen[0].requires_grad and not x.requires_grad
    with tg.no_grad():
        close(jacobian(lambda x: x * x, x), np.diag([2.0, 4.0]))
        assert not tg.is_grad_enabled()
    p = t([1.0, 2.0], True)
    jacobian(lambda z: z.add_(1.0) * z, p, create_graph=True)
    close(p, [1.0, 2.0])


def test_captured_tensors_are_constants():
    x = t([1.0, 2.0], True)
    close(jacobian(lambda z: z * x, x), np.diag([1.0, 2.0]))


@pytest.mark.parametrize("strict", [False, True])
def test_independence(strict):
    x, y = t([1.0, 2.0]), t([3.0, 4.0])
    v = t([1.0, 1.0])
    calls = [
        (lambda: jacobian(lambda x: t([1.0]), x, strict=strict), np.zeros((1, 2))),
        (lambda: jacobian(lambda x, y: x * 2.0, (x, y), strict=strict)[1], np.zeros((2, 2))),
        (lambda: vjp(lambda x, y: x * 2.0, (x, y), v, strict=strict)[1][1], np.zeros(2)),
        (lambda: vjp(lambda x: t([1.0, 2.0]), x, v, strict=strict)[1], np.zeros(2)),
        (lambda: jvp(lambda x, y: x * 2.0, (x, y), (v, v), strict=strict)[1], [2.0, 2.0]),
        (lambda: jvp(lambda x: t([1.0, 2.0]), x, v, strict=strict)[1], np.zeros(2)),
        (lambda: hessian(lambda x: x.sum() * 2.0, x, strict=strict), np.zeros((2, 2))),
        (lambda: hvp(lambda x: x.sum() * 2.0, x, v, strict=strict)[1], np.zeros(2)),
        (lambda: vhp(lambda x: x.sum() * 2.0, x, v, strict=strict)[1], np.zeros(2)),
        (lambda: hvp(lambda x: t(1.0), x, v, strict=strict)[1], np.zeros(2)),
        (lambda: vhp(lambda x, y: (x * x).sum(), (x, y), (v, v), strict=strict)[1][1], np.zeros(2)),
    ]
    for call, expected in calls:
        if strict:
            with pytest.raises(GraphError, match="independent|does not"):
                call()
        else:
            close(call(), expected)


@pytest.mark.parametrize("call, error, text", [
    (lambda x: jacobian(lambda x: x, [x]), TypeError, "list"),
    (lambda x: jacobian(lambda x: 3.0, x), TypeError, "float"),
    (lambda x: jacobian(lambda x: (x, 3.0), x), TypeError, "float at 1"),
    (lambda x: hessian(lambda x: x * x, x), GraphError, r"one element.*\(2,\)"),
    (lambda x: hessian(lambda x: (x.sum(), x.sum()), x), GraphError, "one tensor"),
    (lambda x: hvp(lambda x: x, x, x), GraphError, "one element"),
    (lambda x: vjp(lambda x: x, x, t([1.0])), ShapeError, r"\(1,\).*\(2,\)"),
    (lambda x: jvp(lambda x: x, x, (x, x)), GraphError, "2 tensors for 1"),
    (lambda x: jacobian(lambda x: x, x, strategy="sideways"), ValueError, "sideways"),
    (lambda x: jacobian(lambda x: x, x, strict=True, vectorize=True), ValueError, "strict"),
])
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(t([1.0, 2.0]))


def test_accepted_options():
    x = t([1.0, 2.0])
    close(jacobian(lambda x: x * x, x, vectorize=True, strategy="forward-mode"), np.diag([2.0, 4.0]))
    close(hessian(lambda x: (x * x).sum(), x, vectorize=True, outer_jacobian_strategy="forward-mode"), 2 * np.eye(2))


def test_float32_and_integers():
    x = tg.Tensor(np.ones(2, np.float32))
    assert jacobian(lambda x: x * x, x).dtype == np.float32
    with pytest.raises(RuntimeError):
        jacobian(lambda x: x * x, tg.Tensor(np.arange(2)))
