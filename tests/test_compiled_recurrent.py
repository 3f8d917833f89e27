"""The compiled recurrent layers against NumPy's: all arguments, lengths and layouts, and bit by bit the same with any number of threads."""
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_ed as tg
from tinygrad_ed.backend.kernels import engines, kernels, plain

native = engines.native()
if native is None:
    pytest.skip("the compiled kernels are not built", allow_module_level=True)

from tinygrad_ed.backend.kernels import compiled  # noqa: E402

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
many = settings(max_examples=max(60, settings().max_examples), deadline=None)


class Case:
    """A layer of random numbers with its arguments; `run(engine)` gives what goes forward and the gradients."""

    def __init__(self, kind, sizes, inputs, hidden, outputs=None, *, dtype="float64", bias=True, reverse=False, relu=False, strided=False, seed=0,
                 needs=(True,) * 8):
        self.rng, self.dtype, self.strided = np.random.default_rng(seed), np.dtype(dtype), strided
        self.kind, n, rows, gates = kind, sizes[0], sum(sizes), GATES[kind] * hidden
        states = hidden if outputs is None else outputs
        r = self.random
        h, c = r(n, states), r(n, hidden)
        weights = [r(gates, inputs), r(gates, states) * self.dtype.type(hidden ** -0.5), *([r(gates), r(gates)] if bias else [None, None])]
        first = (h, c) if kind == "lstm" else (h,)
        self.before, self.dy = (r(rows, inputs), *first, *weights), r(rows, states)
        self.d_last = [r(*x.shape) for x in first]
        if kind == "lstm":
            self.before += (None if outputs is None else r(outputs, hidden),)
        self.after = (*((relu,) if kind == "rnn" else ()), tuple(sizes), reverse)
        self.needs = [need and x is not None for need, x in zip(needs, self.before)]

    def random(self, *shape):
        x = self.rng.normal(size=tuple(2 * n for n in shape) if self.strided else shape).astype(self.dtype)
        return x[tuple(slice(None, None, 2) for _ in shape)] if self.strided else x

    def forward(self, engine):
        return getattr(engine, self.kind)(*self.before, *self.after)

    def backward(self, engine, out):
        kept = out[1 + len(self.d_last):]
        return getattr(engine, self.kind + "_backward")(self.dy, *self.d_last, *self.before, *self.after, out[0], *kept, self.needs)

    def run(self, engine):
        out = self.forward(engine)
        return out, self.backward(engine, out)


def same(a, b, dtype):
    assert len(a) == len(b)
    for x, y in zip(a, b):
        if x is None:
            continue                       # a gradient that nobody needs
        assert y is not None and x.shape == y.shape and x.dtype == y.dtype == dtype and y.flags.c_contiguous
        scale = 1 + np.nanmax(abs(np.where(np.isfinite(x), x, 0)), initial=0)
        np.testing.assert_allclose(y / scale, x / scale, atol=3e-6 if dtype == "float32" else 1e-14, rtol=0)


lengths = st.lists(st.integers(1, 9), min_size=1, max_size=5).map(lambda n: tuple(sorted(n, reverse=True)))


@many
@given(kind=st.sampled_from(list(GATES)), sizes=lengths, inputs=st.integers(0, 9), hidden=st.sampled_from([1, 2, 5, 8, 17, 33]),
       dtype=st.sampled_from(["float32", "float64"]), bias=st.booleans(), reverse=st.booleans(), relu=st.booleans(), strided=st.booleans(),
       projected=st.booleans(), needs=st.lists(st.booleans(), min_size=8, max_size=8), seed=st.integers(0, 99))
def test_both_engines_agree(kind, sizes, inputs, hidden, dtype, bias, reverse, relu, strided, projected, needs, seed):
    outputs = 3 if kind == "lstm" and projected else None
    case = Case(kind, sizes, inputs, hidden, outputs, dtype=dtype, bias=bias, reverse=reverse, relu=relu, strided=strided, seed=seed, needs=needs)
    (out, grads), (out_c, grads_c) = case.run(plain), case.run(compiled)
    same(out, out_c, dtype)
    same(grads, grads_c, dtype)
    same(grads, case.backward(plain, out_c), dtype)          # each understands what the other keeps
    same(grads, case.backward(compiled, out), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", list(GATES))
def test_large_layers_agree_and_do_not_depend_on_the_number_of_threads(kind, dtype):
    case = Case(kind, (37, 37, 30, 20, 3) + (1,) * 300, 70, 67, dtype=dtype)
    out, grads = case.run(plain)
    threads, results = native.threads(), []
    try:
        for n in (1, 2, 3, 4):
            native.set_threads(n)
            results.append(case.run(compiled))
    finally:
        native.set_threads(threads)
    same(out, results[0][0], dtype)
    same(grads, results[0][1], dtype)
    for other in results[1:]:
        for a, b in zip([*results[0][0], *results[0][1]], [*other[0], *other[1]]):
            assert a is b is None or a.tobytes() == b.tobytes()


@pytest.mark.parametrize("kind", list(GATES))
def test_nothing_is_overwritten(kind):
    case = Case(kind, (4, 4, 2), 3, 5)
    given_arrays = [x for x in (*case.before, case.dy, *case.d_last) if x is not None]
    copies = [x.copy() for x in given_arrays]
    out = case.forward(compiled)
    kept = [x.copy() for x in out]
    case.backward(compiled, out)
    for a, b in zip([*given_arrays, *out], [*copies, *kept]):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", list(GATES))
def test_what_is_not_a_number_stays_with_its_sequence(kind, bad, relu):
    case = Case(kind, (3, 3, 3), 2, 5, relu=relu)
    case.before[0][1, 0] = bad                               # sequence 1 at its first step
    out, out_c = case.forward(plain), case.forward(compiled)
    same(out, out_c, "float64")
    assert np.isfinite(out_c[0][0::3]).all() and np.isfinite(out_c[0][2::3]).all()
    same(case.backward(plain, out), case.backward(compiled, out_c), "float64")


def test_other_dtypes_are_numpys():
    case = Case("gru", (2, 2), 3, 4, dtype="float16")
    for a, b in zip(case.forward(plain), case.forward(compiled)):
        np.testing.assert_array_equal(a, b)


def test_the_two_biases_have_gradients_of_their_own():
    for kind in GATES:
        grads = Case(kind, (3, 3), 2, 4).run(compiled)[1]
        db_ih, db_hh = grads[-3:-1] if kind == "lstm" else grads[-2:]
        assert not np.shares_memory(db_ih, db_hh)


def test_products_of_all_sizes():
    recurrent = sys.modules[compiled.lstm.__module__]
    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        for m, k, n in [(1, 1, 1), (3, 2, 15), (5, 7, 16), (7, 300, 17), (8, 256, 31), (9, 257, 32), (12, 3, 33), (15, 9, 48), (70, 600, 70)]:
            a, d, c = rng.normal(size=(m, k + 2)).astype(dtype), rng.normal(size=(m, n)).astype(dtype), np.empty((k, n), dtype)
            np.testing.assert_allclose(recurrent._transposed_times(a, recurrent._packed(d), c, 1), a[:, 1:1 + k].T @ d,
                                       atol=1e-4 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_without_what_the_way_back_needs_the_results_are_the_same(kind, reverse):
    case = Case(kind, (19, 19, 7, 7, 1), 3, 40, dtype="float32", reverse=reverse)
    results = 1 + len(case.d_last)
    kept, other = case.forward(compiled), getattr(compiled, kind)(*case.before, *case.after, keep=False)
    assert len(kept) == len(other) and other[results:] == (None,) * (len(kept) - results)
    for a, b in zip(kept[:results], other):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gates_are_as_exact_as_the_dtype_and_never_beyond_one(dtype):
    x = np.concatenate([s * np.concatenate([[0, np.inf], np.logspace(-38, 38, 500), np.linspace(1e-3, 20, 40_000)]) for s in (1, -1)]).astype(dtype)
    one, rows = np.ones((1, 1), dtype), x.reshape(-1, 1)
    y = compiled.rnn(rows, np.zeros_like(rows), one, 0 * one, None, None, False, (len(x),), False)[0][:, 0]
    np.testing.assert_allclose(y, np.tanh(x.astype("longdouble")).astype("float64"), rtol=4e-7 if dtype == "float32" else 1e-15)
    assert (abs(y) <= 1).all()


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_layer_says_whether_there_will_be_a_way_back(kind, monkeypatch):
    engine, name, asked = kernels(np.ones(1)), kind.lower(), []
    original = getattr(engine, name)
    monkeypatch.setattr(engine, name, lambda *args: asked.append(args[-1]) or original(*args))
    layer, x = getattr(tg.nn, kind)(2, 3), tg.ones(4, 2, 2)
    y = layer(x)[0]
    with tg.no_grad():
        z = layer(x)[0]
    assert asked == [True, False] and y.requires_grad and not z.requires_grad
    np.testing.assert_array_equal(y.detach().numpy(), z.numpy())
