"""Subgradients where a derivative does not exist: pinned to what PyTorch gives, and never NaN where a value is known."""
import numpy as np
import pytest

import tinygrad_ed as tg

INF = float("inf")


def gradient(f, *values):
    """The gradients of f(*values).sum()."""
    leaves = [tg.tensor(v, dtype=tg.float64, requires_grad=True) for v in values]
    return [g.tolist() for g in tg.autograd.grad(f(*leaves).sum(), leaves)]


@pytest.mark.parametrize("f, x, expected", [
    (tg.relu, [0.0, -0.0, 1.0, -1.0], [0, 0, 1, 0]),
    (tg.abs, [0.0, 2.0, -2.0], [0, 1, -1]),
    (tg.sign, [0.0, 1.0], [0, 0]),
    (tg.floor, [1.0, 1.5], [0, 0]),
    (tg.round, [0.5, 1.0], [0, 0]),
    (lambda x: tg.clamp(x, -1, 1), [-1.0, 1.0, 2.0, 0.0], [1, 1, 0, 1]),
    (lambda x: x ** 0, [0.0, 2.0], [0, 0]),
    (lambda x: x ** 1, [0.0, 2.0], [1, 1]),
    (lambda x: x ** 2, [0.0], [0]),
    (lambda x: 0.0 ** x, [1.0, 2.0], [0, 0]),
    (tg.sqrt, [0.0], [INF]),
    (tg.sigmoid, [1e4, -1e4], [0, 0]),
    (tg.tanh, [1e4, -1e4], [0, 0]),
    (lambda x: x.norm(), [0.0, 0.0], [0, 0]),
    (lambda x: tg.linalg.vector_norm(x), [0.0, 0.0], [0, 0]),
    (lambda x: x.max(), [1.0, 3.0, 3.0], [0, 0.5, 0.5]),
    (lambda x: x.amax(dim=0), [1.0, 3.0, 3.0], [0, 0.5, 0.5]),
    (lambda x: x.max(dim=0).values, [1.0, 3.0, 3.0], [0, 1, 0]),
    (lambda x: x.prod(), [0.0, 2.0, 3.0], [6, 0, 0]),
    (lambda x: x.prod(), [0.0, 0.0, 3.0], [0, 0, 0]),
])
def test_unary(f, x, expected):
    assert gradient(f, x)[0] == expected


@pytest.mark.parametrize("f, a, b, expected", [
    (tg.maximum, [1.0], [1.0], [[0.5], [0.5]]),
    (tg.minimum, [1.0], [1.0], [[0.5], [0.5]]),
    (tg.fmax, [1.0], [1.0], [[1.0], [0.0]]),
    (tg.hypot, [0.0], [0.0], [[0.0], [0.0]]),
    (tg.xlogy, [0.0], [0.0], [[0.0], [np.nan]]),
    (tg.pow, [0.0], [0.0], [[0.0], [0.0]]),
    (tg.pow, [0.0], [2.0], [[0.0], [0.0]]),
])
def test_binary(f, a, b, expected):
    np.testing.assert_array_equal(gradient(f, a, b), expected)


def test_masked_values_do_not_poison_the_gradient():
    x = tg.tensor([0.0, 4.0], requires_grad=True)
    tg.where(x > 0, x.sqrt(), 0.0).sum().backward()
    assert np.isnan(x.grad.tolist()[0])                     # as in PyTorch: 0 · ∞; the way out is to mask the input
    x.grad = None
    tg.where(x > 0, tg.where(x > 0, x, 1.0).sqrt(), 0.0).sum().backward()
    assert x.grad.tolist() == [0.0, 0.25]
