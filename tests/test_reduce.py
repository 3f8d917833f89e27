"""What the cases of reductions, scans and softmax leave out: kinks, ties, infinities, NaN, half precision, NumPy's calls, errors."""
import numpy as np
import pytest

import tinygrad_ed as tg

INF, NAN = float("inf"), float("nan")


def gradient(f, x, dtype=tg.float64):
    x = tg.tensor(x, dtype=dtype, requires_grad=True)
    f(x).sum().backward()
    return x.grad.tolist()


@pytest.mark.parametrize("f, x, expected", [
    (lambda x: x.max(), [1, 3, 3], [0, .5, .5]),                        # without a place, ties share
    (lambda x: x.amin(), [1, 1, 3], [.5, .5, 0]),
    (lambda x: x.aminmax().max, [1, 3, 3], [0, .5, .5]),
    (lambda x: x.max(0).values, [1, 3, 3], [0, 1, 0]),                  # with a place, the first has it
    (lambda x: x.cummax(0).values, [1, 1, 0], [1, 2, 0]),               # among running ones the last so far
    (lambda x: x.max(), [1, NAN, 3, NAN], [0, .5, 0, .5]),
    (lambda x: x.prod(), [2, 0, 3], [0, 6, 0]),
    (lambda x: x.prod(), [0, 0, 3], [0, 0, 0]),
    (lambda x: x.cumprod(0), [2, 0, 3], [1, 8, 0]),
    (lambda x: x.std(), [3, 3, 3], [0, 0, 0]),
    (lambda x: x.nansum(), [2, NAN, 1], [1, 0, 1]),
    (lambda x: x.logsumexp(0), [-INF, -INF], [0, 0]),
    (lambda x: x.logsumexp(0), [-INF, 1], [0, 1]),
    (lambda x: x.logcumsumexp(0), [-INF, -INF, 1], [0, 0, 1]),
    *[(lambda x, p=p: x.norm(p), [0, 0], [0, 0]) for p in ("fro", 0, .5, 1, 1.5, 2, 3, INF, -INF, -1)],
    (lambda x: x.norm(INF), [2, -2, 1], [.5, -.5, 0]),
    (lambda x: x.norm(.5), [2, 0], [1, 0]),
])
def test_derivatives_at_kinks(f, x, expected):
    np.testing.assert_allclose(gradient(f, x), expected, rtol=1e-12)


def test_second_derivatives_at_kinks_are_numbers():
    for f in (lambda x: x.norm(), lambda x: x.norm(3), lambda x: x.norm(1.5), lambda x: x.std(), lambda x: x.prod(), lambda x: x.logsumexp(0)):
        x = tg.zeros(3, requires_grad=True)
        g, = tg.grad(f(x), x, create_graph=True)
        assert np.isfinite(tg.grad((g * tg.tensor([1.0, 2.0, 3.0])).sum(), x)[0].numpy()).all()


@pytest.mark.parametrize("scale", [0.1, 1, 30])
@pytest.mark.parametrize("shift", [-1e4, -100, -20, -13, 0, 13, 63, 64, 100, 1e4])
def test_softmax_does_not_depend_on_a_shift(scale, shift):
    x = (np.random.default_rng(0).normal(size=(50, 7)) * scale).astype("float32").astype("float64")
    expected = np.exp(x - x.max(1, keepdims=True))
    expected /= expected.sum(1, keepdims=True)
    for dim, y in ((1, tg.tensor(x + shift)), (0, tg.tensor((x + shift).T))):
        p, z, s = y.softmax(dim).numpy(), y.log_softmax(dim).numpy(), y.logsumexp(dim).numpy()
        p, z = (p, z) if dim else (p.T, z.T)
        np.testing.assert_allclose(p, expected, rtol=1e-9)
        np.testing.assert_allclose(np.exp(z), expected, rtol=1e-9)
        np.testing.assert_allclose(s - shift, x.max(1) - z.max(1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp", "logcumsumexp"])
def test_huge_logits_in_single_precision(name):
    y = getattr(tg.tensor([[1e4, -1e4, 0], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4]], requires_grad=True), name)(1)
    assert np.isfinite(y.detach().numpy()).all() and (name != "softmax" or y[1].tolist() == pytest.approx([1 / 3] * 3))


def test_rows_without_a_finite_logit():
    x = tg.tensor([[-INF, -INF], [-INF, 0.0]])
    np.testing.assert_array_equal(x.softmax(1).numpy(), [[NAN, NAN], [0, 1]])
    np.testing.assert_array_equal(x.log_softmax(1).numpy(), [[NAN, NAN], [-INF, 0]])
    np.testing.assert_array_equal(x.logsumexp(1).numpy(), [-INF, 0])
    assert tg.tensor([INF, 1.0]).logsumexp(0).item() == INF


def test_half_precision_is_summed_in_single():
    h = tg.ones(4096, 2, dtype=tg.float16)
    for y, expected in ((h.sum(0), 4096), ((h * 100).mean(0), 100), (h.cumsum(0)[-1], 4096), (h.norm(dim=0), 64), (h.var(0), 0),
                        (h.T.sum(-1), 4096)):
        assert y.dtype == tg.float16 and y.tolist() == [expected] * 2


def test_a_variance_far_from_zero():
    assert tg.tensor([1e4 + i for i in range(1, 4)], dtype=tg.float32).var().item() == 1


def test_the_scan_of_backends_without_accumulate():
    from tinygrad_ed.ops.scan import _running

    class other:
        __name__ = "other"
    for n in (0, 1, 2, 5, 8, 13):
        x = np.random.default_rng(n).normal(size=(3, n, 2))
        for ufunc in (np.maximum, np.logaddexp):
            np.testing.assert_allclose(_running(other(), ufunc, x, 1), ufunc.accumulate(x, axis=1), rtol=1e-12)


def test_nothing():
    e = tg.zeros(0, 3)
    assert e.sum().item() == 0 and e.prod().item() == 1 and e.norm().item() == 0
    assert not e.any().item() and e.all().item()
    assert np.isnan(e.mean().item()) and e.logsumexp(0).tolist() == [-INF] * 3
    assert e.amax(1).shape == (0,) and e.max(1).values.shape == (0,) and e.softmax(0).shape == (0, 3)


def test_variance_of_one_warns():
    for name in ("var", "std", "var_mean", "std_mean"):
        with pytest.warns(UserWarning, match="divides by 0"):
            getattr(tg, name)(tg.ones(1))


def test_numpys_functions_and_names():
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    t = tg.tensor(x)
    for f in (np.sum, np.mean, np.prod, np.any, np.all, np.argmax, np.argmin):
        for options in ({}, {"axis": 0}):
            y = f(t, **options)
            assert isinstance(y, tg.Tensor)
            np.testing.assert_array_equal(y.numpy(), f(x, **options))
    assert np.max(t).item() == 6 and np.min(t).item() == 1
    np.testing.assert_array_equal(np.cumsum(t, axis=1).numpy(), np.cumsum(x, axis=1))
    assert t.sum(axis=(0, 1), keepdims=True).shape == (1, 1) and t.softmax(axis=0).shape == (2, 3)


def test_errors_say_what_to_write():
    t = tg.ones(2, 3)
    for f, error, text in [
        (lambda: tg.tensor([1, 2]).mean(), tg.errors.DTypeError, r"x\.float\(\)"),
        (lambda: t.mean(dtype=tg.int64), tg.errors.DTypeError, "dtype=float32"),
        (lambda: t.sum(dim=0, axis=0), TypeError, "two names"), (lambda: t.sum(out=t), TypeError, "takes no out="),
        (lambda: t.sum(True), TypeError, "a dimension is an integer"), (lambda: tg.sum([1, 2]), TypeError, r"sum\(tensor\(x\)"),
        (lambda: t.sum((0, -2)), tg.errors.ShapeError, "twice"), (lambda: t.cumsum(2), IndexError, "out of range"),
        (lambda: tg.zeros(0).max(), tg.errors.ShapeError, "no elements"), (lambda: tg.zeros(0, 2).max(0), IndexError, "no elements"),
        (lambda: tg.zeros(0).norm(INF), tg.errors.ShapeError, "no elements"), (lambda: t.norm("nuc"), ValueError, "svdvals"),
    ]:
        with pytest.raises(error, match=text):
            f()
