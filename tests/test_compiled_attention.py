"""The compiled attention against NumPy's: sizes, masks, dropout, layouts, and bit by bit the same with any number of threads."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_ed as tg
import tinygrad_ed.nn.functional as F
from tinygrad_ed.backend.kernels import engines, plain

native = engines.native()
if native is None:
    pytest.skip("the compiled kernels are not built", allow_module_level=True)

from tinygrad_ed.backend.kernels import compiled  # noqa: E402

many = settings(max_examples=max(60, settings().max_examples), deadline=None)
MASKS = ["none", "causal", "booleans", "numbers", "padding", "shared"]


class Case:
    """Random queries, keys and values; some queries see no key where there is a mask."""

    def __init__(self, batch, queries, keys, d, e, mask="none", dropout=False, dtype="float64", layout="contiguous", seed=0):
        self.rng, self.dtype, self.layout = np.random.default_rng(seed), dtype, layout
        self.q, self.k, self.v, self.dy = (self.random(*batch, *s) for s in ((queries, d), (keys, d), (keys, e), (queries, e)))
        shape = (*batch, queries, keys)
        see = self.rng.random(shape) < 0.6
        see[..., :1, :] = False
        scores = self.rng.normal(size=shape).astype(dtype)
        scores[~see] = -np.inf
        self.mask = {"booleans": see, "numbers": scores, "shared": np.broadcast_to(scores[(0,) * len(batch)], shape) if all(batch) else None,
                     "padding": np.broadcast_to(see[..., -1:, :], shape)}.get(mask) if queries else None
        self.causal, self.number_mask = mask == "causal", self.mask is not None and self.mask.dtype.kind == "f"
        self.keep, self.keep_prob = (self.rng.random(shape) < 0.7, 0.7) if dropout else (None, 1.0)

    def random(self, *shape):
        x = self.rng.normal(size=shape).astype(self.dtype)
        if self.layout == "beside" and len(shape) > 2:       # heads beside each other, a slice of something wider
            wide = self.rng.normal(size=(*shape[:-3], shape[-2], shape[-3], shape[-1] + 3)).astype(self.dtype)
            return wide.swapaxes(-2, -3)[..., 1:-2]
        if self.layout == "strided":
            return np.repeat(x, 2, -1)[..., ::2]
        return x

    def forward(self, engine):
        return engine.attention(self.q, self.k, self.v, self.mask, self.keep, self.causal, 0.4, self.keep_prob)

    def backward(self, engine, out, needs=(True, True, True, True)):
        needs = (*needs[:3], needs[3] and self.number_mask)
        return engine.attention_backward(self.dy, self.q, self.k, self.v, self.mask, self.keep, self.causal, 0.4, self.keep_prob, *out, needs)


def same(a, b, dtype):
    for x, y in zip(a, b):
        assert (x is None) == (y is None)
        if x is not None:
            assert x.shape == y.shape and x.dtype == y.dtype == dtype
            np.testing.assert_allclose(y, x, atol=2e-5 if dtype == "float32" else 1e-12, rtol=0)


@many
@given(batch=st.sampled_from([(), (1,), (3,), (2, 3), (0, 2)]), queries=st.sampled_from([0, 1, 3, 16, 31, 33, 70]),
       keys=st.sampled_from([0, 1, 2, 17, 64, 129, 150]), d=st.sampled_from([0, 1, 5, 16, 32, 35]), e=st.sampled_from([1, 7, 16, 33]),
       mask=st.sampled_from(MASKS), dropout=st.booleans(), dtype=st.sampled_from(["float32", "float64"]),
       layout=st.sampled_from(["contiguous", "beside", "strided"]), needs=st.tuples(*[st.booleans()] * 4), seed=st.integers(0, 99))
def test_both_engines_agree(batch, queries, keys, d, e, mask, dropout, dtype, layout, needs, seed):
    case = Case(batch, queries, keys, d, e, mask, dropout, dtype, layout, seed)
    out, out_c = case.forward(plain), case.forward(compiled)
    same(out[:1], out_c[:1], dtype)
    grads = case.backward(plain, out, needs)
    same(grads, case.backward(compiled, out_c, needs), dtype)
    same(grads, case.backward(plain, out_c, needs), dtype)   # each understands what the other keeps
    same(grads, case.backward(compiled, out, needs), dtype)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_number_of_threads_changes_nothing(mask, dtype):
    case = Case((3, 4), 70, 140, 40, 24, mask, True, dtype, "beside")
    threads, results = native.threads(), []
    try:
        for n in (1, 2, 3, 4):
            native.set_threads(n)
            out = case.forward(compiled)
            results.append([x for x in (*out, *case.backward(compiled, out)) if x is not None])
    finally:
        native.set_threads(threads)
    for other in results[1:]:
        assert all(a.tobytes() == b.tobytes() for a, b in zip(results[0], other))


def test_the_scores_are_not_kept():
    y, exps, lse = Case((2,), 70, 150, 8, 8).forward(compiled)
    assert exps is None and lse.size == 2 * 70


def test_the_output_lies_in_memory_as_the_queries_do():
    case = Case((2, 3), 9, 9, 8, 8, layout="beside")
    assert case.forward(compiled)[0].swapaxes(-2, -3).flags.c_contiguous


@pytest.mark.parametrize("mask", ["booleans", "numbers"])
def test_a_query_that_sees_no_key_gets_zeros(mask):
    case = Case((2,), 40, 150, 8, 8, mask)
    out = case.forward(compiled)
    assert not out[0][:, 0].any() and out[0][:, 1:].any()
    dq, _, _, ds = case.backward(compiled, out)
    assert not dq[:, 0].any() and np.isfinite(dq).all() and (ds is None or not ds[:, 0].any())


@pytest.mark.parametrize("size", [1e3, 1e30])
def test_large_scores(size):
    case = Case((2,), 5, 150, 8, 8, dtype="float32")
    case.q *= size
    same(case.forward(plain)[:1], case.forward(compiled)[:1], "float32")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["q", "k", "v", "dy"])
def test_what_is_not_a_number(where, bad):
    case = Case((2,), 40, 150, 8, 8)
    getattr(case, where)[1, 3, 2] = bad
    with np.errstate(all="ignore"):
        out, out_c = case.forward(plain), case.forward(compiled)
        assert (np.isfinite(out[0]) == np.isfinite(out_c[0])).all()
        assert np.isfinite(out_c[0][0]).all()
        for a, b in zip(case.backward(plain, out), case.backward(compiled, out_c)):
            assert a is b is None or (np.isfinite(a) | ~np.isfinite(b)).all() and np.isfinite(b[0]).all()


def test_nothing_is_overwritten():
    case = Case((2, 2), 40, 40, 8, 8, "numbers", True)
    arrays = [case.q, case.k, case.v, case.mask, case.keep, case.dy]
    copies = [x.copy() for x in arrays]
    case.backward(compiled, case.forward(compiled))
    for a, b in zip(arrays, copies):
        np.testing.assert_array_equal(a, b)


def test_wide_heads_and_other_dtypes_are_numpys():
    for case in (Case((2,), 5, 6, 300, 8), Case((2,), 5, 6, 8, 8, dtype="float16")):
        assert case.forward(compiled)[1] is not None


def test_a_change_of_engine_between_forward_and_backward():
    before = engines.active()
    try:
        grads = []
        for one, other in (("numpy", "numpy"), ("numpy", "compiled"), ("compiled", "numpy"), ("compiled", "compiled")):
            q, k, v = (tg.tensor(np.random.default_rng(i).normal(size=(2, 3, 9, 4)), requires_grad=True) for i in range(3))
            engines.use(one)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            engines.use(other)
            (y * y).sum().backward()
            grads.append([x.grad.numpy() for x in (q, k, v)])
    finally:
        engines.use(before)
    for other in grads[1:]:
        same(grads[0], other, "float64")
