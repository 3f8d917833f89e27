"""The text of tensors is PyTorch's, up to the names of dtypes and of recorded operations."""
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_ed as tg

torch = pytest.importorskip("torch")

DTYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"]
OPTIONS = [{}, {"precision": 2}, {"precision": 0}, {"threshold": 10, "edgeitems": 2}, {"threshold": 0, "edgeitems": 1}, {"linewidth": 40},
           {"sci_mode": True}, {"sci_mode": False}, {"profile": "short"}, {"profile": "full"}, {"threshold": 5, "edgeitems": 0}]


@pytest.fixture(autouse=True)
def default_options():
    yield
    tg.set_printoptions(profile="default")
    torch.set_printoptions(profile="default")


def plain(text):
    """The text without what is spelled differently, and without the line breaks that depend on the spelling."""
    return re.sub(r",\s+(?=size|dtype|grad_fn|requires_grad)", ", ", re.sub(r"torch\.|(?<=Backward)\d", "", text))


def same(array, options=None):
    options = options or {}
    tg.set_printoptions(**{"profile": "default"} | options)
    torch.set_printoptions(**{"profile": "default"} | options)
    assert plain(repr(tg.tensor(array))) == plain(repr(torch.tensor(array)))


def values(rng, kind, shape, dtype):
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if dtype[0] in "iu":
        limits = np.iinfo(dtype)
        low, high = (limits.min, limits.max) if kind == "wide" else (0, 10) if kind == "small" or dtype == "uint8" else (-100, 100)
        return rng.integers(low, high, shape, dtype=dtype)
    x = {"normal": rng.standard_normal(shape), "small": rng.standard_normal(shape) * 1e-5, "whole": rng.integers(-5, 2000, shape) * 1.0,
         "wide": rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 9, shape), "zeros": np.zeros(shape),
         "odd": rng.choice([0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, -2.5, 1e4], shape), "huge": rng.standard_normal(shape) * 1e9,
         "special": rng.choice([0.0, -0.0, np.nan, np.inf, -np.inf, 3.0], shape)}[kind]
    with np.errstate(over="ignore"):
        return np.asarray(x).astype(dtype)


@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(DTYPES), options=st.sampled_from(OPTIONS),
       shape=st.lists(st.integers(0, 12), max_size=4),
       kind=st.sampled_from(["normal", "small", "whole", "wide", "zeros", "odd", "huge", "special"]))
def test_any_tensor(seed, dtype, options, shape, kind):
    same(values(np.random.default_rng(seed), kind, tuple(shape), dtype), options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (1,), (1001,), (40, 40), (5, 300), (300, 5), (7, 7, 7, 7), (1, 1, 1, 1)])
def test_shapes(shape, dtype):
    for kind in ("normal", "whole", "odd"):
        same(values(np.random.default_rng(0), kind, shape, dtype))


@pytest.mark.parametrize("number", [0.0, -0.0, 1.0, -1.0, 1.5, 1e-4, 9.9e-5, 1e-5, 1e8, 1.1e8, 1e15, 1e30, 0.1, 123456.789,
                                    float("nan"), float("inf")])
def test_single_numbers(number):
    for x in (np.array(number), np.array([number]), np.array([number, 1.0]), np.array([number, -0.001], dtype="float32")):
        same(x)


def test_histories():
    for make in (lambda m: m.ones(3, requires_grad=True), lambda m: m.ones(3, requires_grad=True) * 2,
                 lambda m: m.ones(2, 30, requires_grad=True) * 2.5, lambda m: m.ones((0, 2), requires_grad=True),
                 lambda m: m.ones(11, dtype=m.float64, requires_grad=True),
                 lambda m: m.ones(11, dtype=m.float64, requires_grad=True) * 1.5):
        assert plain(repr(make(tg))) == plain(repr(make(torch)))


def test_where_lines_end():
    for n in range(1, 40):
        assert repr(tg.ones(n, requires_grad=True)) == repr(torch.ones(n, requires_grad=True))
        assert repr(tg.full((n,), 1.5)) == repr(torch.full((n,), 1.5))


def test_default_dtype_is_not_mentioned():
    for m in (tg, torch):
        m.set_default_dtype(m.float64)
    try:
        for m in ("ones", "zeros"):
            for dtype in ("float32", "float64"):
                a, b = getattr(tg, m)(2, dtype=getattr(tg, dtype)), getattr(torch, m)(2, dtype=getattr(torch, dtype))
                assert plain(repr(a)) == plain(repr(b))
    finally:
        for m in (tg, torch):
            m.set_default_dtype(m.float32)
