"""Products and linear algebra where the properties do not reach: singular matrices, ties, what errors say, how much is computed."""
import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed.backend.kernels import kernels
from tinygrad_ed.ops import matmul as products


def gradient(f, A, w):
    x = tg.tensor(A, requires_grad=True)
    return tg.autograd.grad(f(x), x, tg.tensor(w))[0].numpy()


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_the_second_derivative_of_a_determinant_is_right_at_any_rank(rank):
    rng = np.random.default_rng(rank)
    A = rng.normal(size=(4, rank)) @ rng.normal(size=(rank, 4))
    u, v, w = rng.normal(size=(4, 4)), rng.normal(size=(4, 4)), np.array(0.7)
    x = tg.tensor(A, requires_grad=True)
    g, = tg.autograd.grad(tg.linalg.det(x), x, tg.tensor(w), create_graph=True)
    h, = tg.autograd.grad(g, x, tg.tensor(u))
    e = 1e-4
    slope = np.sum((gradient(tg.linalg.det, A + e * v, w) - gradient(tg.linalg.det, A - e * v, w)) * u) / (2 * e)
    assert np.sum(h.numpy() * v) == pytest.approx(slope, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("f", [lambda A: tg.linalg.eigh(A)[0], tg.linalg.eigvalsh, tg.linalg.svdvals, lambda A: tg.linalg.svd(A)[1],
                               lambda A: tg.linalg.matrix_norm(A, "nuc")])
def test_equal_eigenvalues_have_a_gradient(f):
    g = gradient(f, np.eye(3), np.ones(f(tg.eye(3)).shape))
    np.testing.assert_allclose(g, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("f", [lambda A: tg.linalg.eigh(A)[1], lambda A: tg.linalg.svd(A)[0], lambda A: tg.linalg.svd(A)[2]])
def test_the_vectors_of_equal_eigenvalues_have_none(f):
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    for A in (np.eye(3), Q * [1, 1, 2] @ Q.T):               # the second ties only up to rounding
        assert np.isnan(gradient(f, A, np.arange(9.0).reshape(3, 3))).any()


def test_vectors_beyond_the_rank_refuse_a_gradient():
    x = tg.randn(4, 2, requires_grad=True)
    U, S, Vh = tg.linalg.svd(x)
    with pytest.raises(RuntimeError, match=r"full_matrices=False"):
        U.sum().backward()
    with pytest.raises(RuntimeError, match="reduced"):
        tg.linalg.qr(x, "complete").Q.sum().backward()
    with pytest.raises(RuntimeError, match="reduced"):
        tg.linalg.qr(x, "r").R.sum().backward()
    (tg.linalg.svd(x).U[:, :2].sum() + S.sum()).backward()


@pytest.mark.parametrize("call, what", [
    (lambda: tg.linalg.inv(tg.zeros(2, 2)), "singular"),
    (lambda: tg.linalg.solve(tg.zeros(2, 2), tg.ones(2)), "singular"),
    (lambda: tg.linalg.cholesky(-tg.eye(2)), "positive definite"),
    (lambda: tg.linalg.eigh(tg.tensor([[float("nan"), 1], [1, 2]])), "not finite"),
    (lambda: tg.linalg.svd(tg.tensor([[float("inf"), 1], [1, 2]])), "not finite"),
])
def test_where_lapack_gives_up_the_error_is_that_of_numpy_and_of_pytorch(call, what):
    for kind in (np.linalg.LinAlgError, RuntimeError, tg.linalg.LinAlgError):
        with pytest.raises(kind, match=what):
            call()


@pytest.mark.parametrize("call, words", [
    (lambda: tg.ones(2, 3) @ tg.ones(2, 3), ["(2, 3)", "must equal", "input @ other.mT"]),
    (lambda: tg.ones(3, 2) @ tg.ones(3, 4), ["(3, 2)", "(3, 4)", "input.mT @ other"]),
    (lambda: tg.ones(2, 2, 3) @ tg.ones(3, 3, 2), ["batch", "(2,)", "(3,)"]),
    (lambda: tg.ones(2, 3) @ tg.tensor(1.0), ["0-d", "input * other"]),
    (lambda: tg.ones(2, 3) @ 2.0, ["float", "input * 2.0"]),
    (lambda: tg.ones(2, 3) @ tg.ones(3, 2, dtype=tg.float64), ["float32[2, 3]", "float64[3, 2]", "x.to("]),
    (lambda: products.linear(tg.ones(2, 3), tg.ones(5, 4)), ["(2, 3)", "(5, 4)", "in_features=3"]),
    (lambda: tg.einsum("ij,jk", tg.ones(2, 3), tg.ones(4, 2)), ["'j'", "3", "4"]),
    (lambda: tg.einsum("ij", tg.ones(2)), ["'ij'", "operand 0 has 1"]),
])
def test_errors_say_what_and_how_to_mend_it(call, words):
    with pytest.raises((RuntimeError, TypeError)) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


@pytest.fixture
def multiplied(monkeypatch):
    """The shapes of the products that are made from now on."""
    seen, engine = [], kernels(np.ones(1))
    matmul = engine.matmul
    monkeypatch.setattr(engine, "matmul", lambda a, b, *place: seen.append((a.shape, b.shape)) or matmul(a, b, *place))
    return seen


def test_a_shared_matrix_takes_one_product_in_each_direction(multiplied):
    """And no stack of products that is summed afterwards."""
    x, w = tg.randn(5, 4, 3, requires_grad=True), tg.randn(3, 2, requires_grad=True)
    y = x @ w
    y.backward(tg.ones_like(y))
    assert multiplied == [((5, 4, 3), (3, 2)), ((5, 4, 2), (2, 3)), ((3, 20), (20, 2))]


def test_a_frozen_operand_costs_no_product(multiplied):
    x, w = tg.randn(4, 3), tg.randn(3, 2, requires_grad=True)
    (x @ w).sum().backward()
    assert multiplied == [((4, 3), (3, 2)), ((3, 4), (4, 2))]


@pytest.mark.parametrize("largest", [1, 100, 2**24, 2**28, 2**62])
@pytest.mark.parametrize("shapes", [((40, 30), (30, 20)), ((3, 20, 30), (30, 20)), ((80, 90), (90,)), ((5, 20, 30), (5, 30, 4))])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64"])
def test_products_of_integers_are_exact_and_wrap_around(dtype, shapes, largest):
    rng, low = np.random.default_rng(0), 0 if dtype == "uint8" else -largest
    a, b = [rng.integers(low, largest, shape, endpoint=True).astype(dtype) for shape in shapes]
    with np.errstate(over="ignore"):
        wanted = a @ b
    found = tg.tensor(a) @ tg.tensor(b)
    assert found.dtype == dtype and np.array_equal(found.numpy(), wanted)


def test_float16_products_are_summed_in_float32():
    n = 4096
    a = tg.ones(1, n, dtype=tg.float16)
    assert (a @ a.mT).item() == n and (a @ a.mT).dtype == tg.float16
    assert products.linear(a, a).item() == n


def test_operators_and_methods():
    a, b = tg.randn(2, 3), tg.randn(3, 2)
    np.testing.assert_array_equal((a @ b).numpy(), a.matmul(b).numpy())
    np.testing.assert_array_equal((a.numpy() @ b).numpy(), (a @ b).numpy())
    np.testing.assert_array_equal((a @ b.numpy()).numpy(), (a @ b).numpy())
    x = tg.zeros(2, 2)
    assert x.addmm_(a, b) is x
    np.testing.assert_array_equal(x.numpy(), (a @ b).numpy())
