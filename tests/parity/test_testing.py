"""testing.assert_close against PyTorch's: both let pass, or both raise AssertionError."""
import pytest

torch = pytest.importorskip("torch")

import tinygrad_ed as tg  # noqa: E402

NAN, INF = float("nan"), float("inf")
STEPS = [0, 1e-8, 5e-8, 1.5e-7, 3e-7, 1e-6, 5e-6, 9e-6, 1.2e-5, 1e-4, 5e-4, 9e-4, 1.1e-3, 5e-3, 2e-2]

PAIRS = """
m.ones(2), m.ones(3)
m.ones(2), m.ones(1, 2)
m.ones(2), m.ones(2, dtype=m.float64)
m.ones(2), m.ones(2, dtype=m.int64)
m.tensor([1.0005], dtype=m.float16), m.ones(1)
m.ones(1), m.tensor([1.0005], dtype=m.float16)
m.tensor([1, 2]), m.tensor([1, 3])
m.tensor([1, 2]), m.tensor([1, 2])
m.tensor([True]), m.tensor([False])
m.tensor([True]), m.tensor([True])
m.tensor([NAN]), m.tensor([NAN])
m.tensor([NAN]), m.tensor([1.])
m.tensor([INF, -INF]), m.tensor([INF, -INF])
m.tensor([INF]), m.tensor([-INF])
m.tensor([1.]), m.tensor([INF])
m.tensor([INF]), m.tensor([1.])
[m.ones(2), 1], [m.ones(2), 1]
[m.ones(2), 1], [m.ones(2), 2]
[m.ones(2)], [m.ones(2), m.ones(2)]
{"a": m.ones(2)}, {"a": m.ones(2)}
{"a": m.ones(2)}, {"b": m.ones(2)}
1.0, 1.0 + 1e-8
1.0, 1.0 + 1e-6
1, 1.0
m.tensor([2**62 + 1]), m.tensor([2**62])
""".split("\n")[1:-1]


def passes(m, pair, **options):
    try:
        m.testing.assert_close(*pair, **options)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("options", [{}, {"equal_nan": True}, {"check_dtype": False}, {"rtol": 0, "atol": 1}, {"rtol": 0.5, "atol": 0}])
@pytest.mark.parametrize("code", PAIRS)
def test_the_same_pass(code, options):
    ours, theirs = [passes(m, eval(code, {"m": m, "NAN": NAN, "INF": INF}), **options) for m in (tg, torch)]
    assert ours == theirs


@pytest.mark.parametrize("value", [0.0, 1.0, 1000.0])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_tolerances(dtype, value):
    for step in STEPS:
        ours, theirs = [passes(m, [m.tensor([value + s * max(value, 1)], dtype=getattr(m, dtype)) for s in (step, 0)]) for m in (tg, torch)]
        assert ours == theirs, step


def test_refused():
    for m in (tg, torch):
        for pair, options, error in (((m.ones(1), m.ones(1)), {"rtol": 1}, ValueError), ((object(), object()), {}, TypeError)):
            with pytest.raises(error):
                m.testing.assert_close(*pair, **options)
