"""The registry of op cases: every public operation, with calls to try it on and what is known about it.

A case is a function that draws one call. Float arrays in the call become tensors that require grad, other arrays become
tensors that do not, everything else is passed as it is:

    @case("sum", numpy=lambda x, dim=None, keepdim=False: np.sum(x, axis=dim, keepdims=keepdim))
    def _(d):
        x = d.array(d.shape(min_side=0))
        return call(x, dim=d.dims(x.ndim), keepdim=d.bool())

The properties in `test_ops.py` and `parity/test_ops.py` run over all cases; an operation without one fails the suite.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Sequence

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

import tinygrad_ed as tg


@dataclass(frozen=True)
class Call:
    """Arguments of one call, with NumPy arrays in place of tensors."""

    args: tuple
    kwargs: dict

    def map(self, f: Callable[[np.ndarray], Any]) -> "Call":
        """The same call with f applied to every array, also inside lists and tuples."""
        return Call(_map(self.args, f), _map(self.kwargs, f))

    def arrays(self) -> list[np.ndarray]:
        """All arrays, in order."""
        found: list[np.ndarray] = []
        self.map(lambda a: found.append(a) or a)
        return found

    def floats(self) -> list[np.ndarray]:
        """The float arrays: what is differentiated."""
        return [a for a in self.arrays() if a.dtype.kind == "f"]

    def replace_floats(self, values: Sequence[Any]) -> "Call":
        """The same call with other values for the float arrays."""
        remaining = list(values)
        return self.map(lambda a: np.asarray(remaining.pop(0)) if a.dtype.kind == "f" else a)


def _map(value: Any, f: Callable) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):   # NumPy gives scalars where it means 0-d arrays
        return f(np.asarray(value))
    if isinstance(value, dict):
        return {k: _map(v, f) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*[_map(v, f) for v in value])
    if isinstance(value, (list, tuple)):
        return type(value)(_map(v, f) for v in value)
    return value


def call(*args: Any, **kwargs: Any) -> Call:
    """One call of the operation under test."""
    return Call(args, kwargs)


@dataclass(frozen=True)
class Case:
    """One way to call an operation, and what is known about it."""

    name: str                                    # the public name: "exp", "linalg.inv", "nn.functional.linear", "Tensor.unfold"
    draw: Callable[["Draw"], Call]
    id: str
    order: int = 2                               # how many times it can be differentiated: 0, 1 or 2
    numpy: Callable | None = None                # the same on NumPy arrays
    analytic: bool = False                       # `numpy` also takes complex arrays: the complex step is exact
    kinks: Callable | None = None                # (*args, **kwargs) -> arrays that must stay away from 0
    elementwise: bool = False                    # y[i] = f(x[i], ...) after broadcasting
    torch: Any = "same"                          # its name or a function in PyTorch; None where PyTorch has no such thing
    dtypes: tuple = ("float32", "float64")       # the float dtypes that are kept from argument to result to gradient
    deterministic: bool = True                   # False for operations that draw random numbers
    free: Callable | None = None                 # output -> what of it is determined (singular vectors have free signs)
    bad: tuple = ()                              # calls that must raise, here and in PyTorch
    rtol: float = 1e-5                           # of the comparison with finite differences
    parity_rtol: float = 1e-9                    # of the comparison with PyTorch, in float64
    op: Callable | None = None                   # the operation, where it is not a public one

    @property
    def function(self) -> Callable:
        """The operation itself."""
        return self.op or lookup(tg, self.name)


def lookup(root: Any, dotted: str) -> Any:
    """A dotted name under a module."""
    for part in dotted.split("."):
        root = getattr(root, part)
    return root


CASES: dict[str, Case] = {}


def case(name: str, **facts: Any) -> Callable:
    """Register a function that draws calls of an operation; an operation may have several."""
    def register(draw: Callable) -> Callable:
        k = sum(c.name == name for c in CASES.values())
        id = name if k == 0 else f"{name}-{k + 1}"
        CASES[id] = Case(name, draw, id, **facts)
        return draw
    return register


class Draw:
    """What the cases draw from; values come from a seeded generator, so that drawing is fast and shapes shrink."""

    def __init__(self, draw: Callable):
        self._draw = draw
        self._rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high]."""
        return self._draw(st.integers(low, high))

    def number(self, low: float = -2, high: float = 2) -> float:
        """A number in [low, high]."""
        return float(self._rng.uniform(low, high))

    def bool(self) -> bool:
        """True or False."""
        return self._draw(st.booleans())

    def pick(self, options: Sequence) -> Any:
        """One of the options."""
        return options[self.integer(0, len(options) - 1)]

    def shape(self, min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 4) -> tuple[int, ...]:
        """A shape; `min_side=0` also draws empty ones."""
        return tuple(self.integer(min_side, max_side) for _ in range(self.integer(min_dims, max_dims)))

    def partner(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape that broadcasts with another, with fewer, more or stretched dimensions."""
        other = tuple(1 if n != 1 and self.bool() else n for n in shape)
        return ((2,) + other) if self.bool() and len(shape) < 3 else other[self.integer(0, len(other)):]

    def dim(self, ndim: int) -> int:
        """A dimension, negative or not."""
        return self.integer(-ndim, ndim - 1) if ndim else self.pick([0, -1])

    def dims(self, ndim: int, none: bool = True) -> Any:
        """None, a dimension, or a tuple of different ones."""
        kind = self.pick(["one", "several", "none"] if none else ["one", "several"])
        if kind == "none":
            return None
        if kind == "one" or ndim == 0:
            return self.dim(ndim)
        chosen = [i for i in range(ndim) if self.bool()] or [0]
        return tuple(i - ndim if self.bool() else i for i in chosen)

    def array(self, shape: tuple[int, ...] | None = None, low: float = -2.0, high: float = 2.0) -> np.ndarray:
        """Floats in [low, high], of float64."""
        return np.asarray(self._rng.uniform(low, high, self.shape() if shape is None else shape))

    def ints(self, shape: tuple[int, ...] | None = None, low: int = -5, high: int = 5) -> np.ndarray:
        """Integers in [low, high], of int64."""
        return np.asarray(self._rng.integers(low, high + 1, self.shape() if shape is None else shape))

    def bools(self, shape: tuple[int, ...] | None = None) -> np.ndarray:
        """True and False."""
        return np.asarray(self._rng.random(self.shape() if shape is None else shape) < 0.5)

    def permutation(self, n: int) -> list[int]:
        """The numbers below n in some order."""
        return [int(i) for i in self._rng.permutation(n)]


@st.composite
def calls(draw: Callable, case: Case) -> Call:
    """A strategy of calls of a case, away from its kinks."""
    drawn = case.draw(Draw(draw))
    if case.kinks is not None:
        for distance in case.kinks(*drawn.args, **drawn.kwargs):
            assume(np.all(np.abs(distance) > 1e-3))
    return drawn


def holds(check: Callable[[Case, Call, int], None], case: Case) -> None:
    """Check drawn calls of the case, each with a seed for what else is random.

    The test of hypothesis is made here, inside the parametrised test: around it, every parameter would add to one chain of settings.
    """
    @given(drawn=calls(case), seed=st.integers(0, 2**32 - 1))
    def property_holds(drawn: Call, seed: int) -> None:
        check(case, drawn, seed)
    property_holds()


# -- running a call ----------------------------------------------------------------------------------------------------

def tensors(call: Call, requires_grad: bool = True, dtype: Any = None, device: Any = None) -> tuple[Call, list[tg.Tensor]]:
    """The call with fresh tensors for its arrays, and the leaves among them."""
    leaves: list[tg.Tensor] = []

    def make(a: np.ndarray) -> tg.Tensor:
        if a.dtype.kind != "f":
            return tg.tensor(a, device=device)
        t = tg.tensor(a if dtype is None else a.astype(dtype), device=device, requires_grad=requires_grad)
        leaves.append(t)
        return t
    return call.map(make), leaves


def run(function: Callable, call: Call) -> Any:
    """The result of a call."""
    return function(*call.args, **call.kwargs)


def outputs(result: Any) -> list:
    """The tensors in a result, nested or not."""
    if isinstance(result, (list, tuple)):
        return [t for part in result for t in outputs(part)]
    return [result]


def float_outputs(result: Any) -> list[tg.Tensor]:
    """The tensors in a result that carry a derivative."""
    return [t for t in outputs(result) if isinstance(t, tg.Tensor) and t.is_floating_point()]


def values(case: Case, call: Call) -> list[np.ndarray]:
    """The float results of a call on plain values."""
    result = run(case.function, tensors(call, requires_grad=False)[0])
    return [t.numpy() for t in float_outputs(case.free(result) if case.free else result)]


def cotangents(ys: Sequence, seed: int) -> list[np.ndarray]:
    """Random projections, one per output, of its dtype."""
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.normal(size=y.shape)).astype(y.dtype) for y in ys]


def vjp(case: Case, call: Call, seed: int, create_graph: bool = False, function: Callable | None = None) -> tuple[list, list, list]:
    """Leaves, their gradients of a random projection of the outputs, and the projections."""
    given, leaves = tensors(call)
    result = run(function or case.function, given)
    ys = [y for y in float_outputs(case.free(result) if case.free else result) if y.requires_grad]
    ws = cotangents(ys, seed)
    if not ys:
        return leaves, [tg.zeros_like(x) for x in leaves], ws
    gradients = tg.autograd.grad(ys, leaves, [tg.tensor(w) for w in ws], create_graph=create_graph, allow_unused=True,
                                 materialize_grads=True)
    return leaves, list(gradients), ws
