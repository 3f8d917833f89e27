"""The tester is tested: deliberately broken operations, each wrong in one way, must each be caught by a property."""
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from properties import PROPERTIES
from registry import Case, Draw, call, calls

from tinygrad_ed.autograd.op import op
from tinygrad_ed.ops.broadcast import expand_to, sum_to
from tinygrad_ed.ops.elementwise import cos, exp, log, sigmoid, tanh, where


def one(d: Draw):
    """One array away from 0."""
    return call(d.array(d.shape(min_dims=1, min_side=2), 0.3, 2.0))


def two(d: Draw):
    """Two arrays that broadcast."""
    return call(d.array((3, 2), 0.3, 2.0), d.array((2,), 0.3, 2.0))


def broken(name, forward, draw=one, reference=None, order=2, elementwise=True, analytic=False, **formulas):
    """A case around an operation that is wrong on purpose."""
    options = dict(promote=("a", "b"), broadcast=True) if "a" in formulas else {}
    function = op(name.replace(" ", "_"), forward, **options, **formulas)
    return Case(name, draw, name, op=function, numpy=reference, order=order, elementwise=elementwise, analytic=analytic)


_calls_so_far = iter(range(10**9))


def _writes_its_input(x):
    y = np.exp(x)
    x *= 1.0000001
    return y


BROKEN = [
    # wrong derivative formulas
    broken("sign lost", lambda xp, x: xp.cos(x), x=lambda g, x: g * (1 - cos(x) ** 2) ** 0.5),
    broken("factor lost", lambda x: x * x, x=lambda g, x: g * x),
    broken("factor too many", lambda xp, x: xp.log10(x), x=lambda g, x: g / x),
    broken("times a thousand", lambda xp, x: xp.tanh(x), x=lambda g, y: (g - g * y * y) * 1000.0),
    broken("off by a little", lambda xp, x: xp.exp(x), x=lambda g, y: g * y * 1.001),
    broken("off by very little, found by the complex step", lambda xp, x: xp.exp(x), reference=np.exp, analytic=True,
           x=lambda g, y: g * y * (1 + 1e-7)),
    broken("input for output", lambda xp, x: xp.exp(x), x=lambda g, x: g * x),
    broken("output for input", lambda xp, x: xp.log(x), x=lambda g, y: g / y),
    broken("constant added", lambda xp, x: xp.sin(x), x=lambda g, x: g * cos(x) + 0.01),
    broken("cotangent ignored", lambda xp, x: xp.sin(x), x=lambda g, x: cos(x) * where(True, 1.0, g)),
    broken("cotangent squared", lambda xp, x: xp.sin(x), x=lambda g, x: g * g * cos(x)),
    broken("cotangent's absolute value", lambda x: x * 3.0, x=lambda g: where(g > 0, g, -g) * 3.0),
    broken("cotangent clipped", lambda x: x * 3.0, x=lambda g: where(g > 1, 1.0, g) * 3.0),
    broken("zero gradient", lambda xp, x: xp.exp(x), x=lambda g: g * 0.0),
    broken("mean for sum", lambda xp, x: xp.exp(x), x=lambda g, y: g * y / y.shape[0]),
    broken("right on average", lambda xp, x: xp.exp(x) / xp.exp(x).sum(), elementwise=False,
           x=lambda g, y: g * y),                                          # softmax without its second term
    broken("softmax times a thousand", lambda xp, x: xp.exp(x) / xp.exp(x).sum(), elementwise=False,
           x=lambda g, y: 1000.0 * y * (g - expand_to(sum_to(g * y, shape=()), shape=y.shape))),
    broken("elements swapped", lambda x: x * 2.0, x=lambda g: g[::-1] * 2.0),
    # wrong in one of two arguments
    broken("second argument's sign", lambda a, b: a - b, two, a=lambda g: g, b=lambda g: g),
    broken("arguments exchanged", lambda a, b: a * b, two, a=lambda g, a: g * a, b=lambda g, b: g * b),
    broken("quotient without square", lambda a, b: a / b, two, a=lambda g, b: g / b, b=lambda g, a, b: -g * a / b),
    broken("power rule off by one", lambda a, b: a ** b, two, a=lambda g, a, b: g * b * a ** b, b=lambda g, a, y: g * y * log(a)),
    # wrong only at second order
    broken("second order lost, a constant in its place", lambda xp, x: xp.exp(x), x=lambda g, y: g * (y.detach() if hasattr(y, "detach") else y)),
    broken("cotangent cut from the graph", lambda xp, x: xp.sin(x), x=lambda g, x: (g.detach() if hasattr(g, "detach") else g) * cos(x)),
    broken("other formula on tensors", lambda xp, x: xp.exp(x), x=lambda g, y: g * y * (1.01 if hasattr(y, "detach") else 1.0)),
    # wrong values
    broken("wrong value", lambda xp, x: xp.exp(x) + 1e-6, reference=np.exp, x=lambda g, y: g * y),
    broken("wrong for broadcasting", lambda a, b: a + (b if b.ndim == a.ndim else 2 * b), two, a=lambda g: g,
           b=lambda g: g),
    broken("neighbours leak", lambda x: x + 0.001 * x[::-1], x=lambda g: g + 0.001 * g[::-1]),
    # wrong dtype, layout, memory, determinism
    broken("dtype widened", lambda x: x.astype("float64") * 2.0, x=lambda g, y: (g * 2.0)),
    broken("gradient narrowed", lambda x: x * 2.0, x=lambda g: (g * 2.0).astype("float32") if not hasattr(g, "detach") else g * 2.0),
    broken("depends on strides", lambda x: x * (1.0 if x.flags.c_contiguous else 1.01), x=lambda g: g),
    broken("reads memory order", lambda x: x.ravel("K").reshape(x.shape) * 1.0, x=lambda g: g * 1.0, elementwise=False),
    broken("input overwritten", _writes_its_input, x=lambda g, y: g * y),
    broken("cotangent overwritten", lambda x: x * 2.0, x=lambda g: g.__imul__(2.0) if not hasattr(g, "detach") else g * 2.0),
    broken("not deterministic", lambda x: x * (1 + 1e-15 * next(_calls_so_far)), x=lambda g: g),
    broken("gradient of another shape", lambda x: x * 2.0, x=lambda g: (g * 2.0).reshape(-1) if g.ndim > 1 else (g * 2.0)[:1]),
]

RIGHT = [
    broken("right: exp", lambda xp, x: xp.exp(x), reference=np.exp, analytic=True, x=lambda g, y: g * y),
    broken("right: product", lambda a, b: a * b, two, lambda a, b: a * b, analytic=True, a=lambda g, b: g * b, b=lambda g, a: g * a),
    broken("right: swish", lambda xp, x: x * (0.5 + 0.5 * xp.tanh(x / 2)), x=lambda g, x: g * (sigmoid(x) + x * sigmoid(x) * (1 - sigmoid(x)))),
    broken("right: tanh", lambda xp, x: xp.tanh(x), x=lambda g, x: g * (1 - tanh(x) ** 2)),
    broken("right: log", lambda xp, x: xp.log(x), x=lambda g, x: g * exp(-log(x))),
]


def catches(case: Case) -> list[str]:
    """The properties that a case violates."""
    found = []
    for check, applies in PROPERTIES:
        if not applies(case):
            continue

        @settings(max_examples=15, database=None, derandomize=True, phases=[Phase.generate], deadline=None,
                  suppress_health_check=list(HealthCheck))
        @given(data=st.data(), seed=st.integers(0, 2**32 - 1))
        def property_holds(data, seed):
            check(case, data.draw(calls(case)), seed)
        try:
            property_holds()
        except Exception:
            found.append(check.__name__)
    return found


@pytest.mark.parametrize("case", BROKEN, ids=lambda c: c.name)
def test_a_broken_operation_is_caught(case):
    assert catches(case)


@pytest.mark.parametrize("case", RIGHT, ids=lambda c: c.name)
def test_a_right_operation_passes(case):
    assert catches(case) == []
