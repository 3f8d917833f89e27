"""The properties that every operation has: one function each, run over all cases by `test_ops.py`.

`test_tester.py` runs the same functions over deliberately broken operations, each of which must be caught.
"""
from __future__ import annotations

from typing import Any, Callable

import numpy as np
from hypothesis import assume
from registry import Call, Case, cotangents, float_outputs, outputs, run, tensors, values, vjp

import tinygrad_ed as tg

PROPERTIES: list[tuple[Callable, Callable[[Case], bool]]] = []


def property_of(applies: Callable[[Case], Any]) -> Callable:
    """Register a property check(case, call, seed) of the cases that it applies to."""
    def register(check: Callable) -> Callable:
        PROPERTIES.append((check, applies))
        return check
    return register


def dot(us, vs):
    """The inner product of two lists of arrays."""
    return sum(float(np.sum(np.asarray(u, np.float64) * np.asarray(v, np.float64))) for u, v in zip(us, vs))


def close(a, b, rtol, scale=0.0):
    """Whether two numbers agree, relative to the size of what was summed to make them."""
    return abs(a - b) <= rtol * max(abs(a), abs(b), scale, 1.0)


def directions(call, seed):
    """A random direction for every float argument."""
    return cotangents(call.floats(), seed)


def moved(call, vs, t):
    """The call with its float arguments moved by t along the directions."""
    return call.replace_floats([x + t * v for x, v in zip(call.floats(), vs)])


def slope(f, h=1e-5):
    """The derivative of f at 0, by central differences of fourth order."""
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


@property_of(lambda case: case.numpy)
def values_are_numpys(case: Case, call: Call, seed: int) -> None:
    expected = outputs(run(case.numpy, call))
    given, _ = tensors(call, requires_grad=False)
    got = outputs(run(case.function, given))
    assert len(got) == len(expected)
    for y, e in zip(got, expected):
        np.testing.assert_allclose(y.numpy(), e, rtol=1e-9, atol=1e-11)
        assert y.shape == np.shape(e)


@property_of(lambda case: case.order >= 1)
def gradient_is_the_slope_of_a_random_projection(case: Case, call: Call, seed: int) -> None:
    _, gradients, ws = vjp(case, call, seed)
    vs = directions(call, seed + 1)
    expected = slope(lambda t: dot(ws, values(case, moved(call, vs, t))))
    scale = sum(np.abs(np.asarray(g)).sum() for g in gradients) + sum(np.abs(w).sum() for w in ws)
    assert close(dot(gradients, vs), expected, case.rtol, scale)


@property_of(lambda case: case.order and case.analytic)
def gradient_is_the_complex_step(case: Case, call: Call, seed: int) -> None:
    _, gradients, ws = vjp(case, call, seed)
    vs = directions(call, seed + 1)
    h = 1e-30
    stepped = run(case.numpy, call.replace_floats([x + 1j * h * v for x, v in zip(call.floats(), vs)]))
    expected = dot(ws, [np.imag(y) / h for y in outputs(stepped)])
    assert close(dot(gradients, vs), expected, 1e-9, sum(np.abs(np.asarray(g)).sum() for g in gradients))


@property_of(lambda case: case.order >= 1)
def gradient_is_linear_in_the_cotangent(case: Case, call: Call, seed: int) -> None:
    given, leaves = tensors(call)
    result = run(case.function, given)
    ys = [y for y in float_outputs(result) if y.requires_grad]
    assume(ys)

    def gradient(ws):
        return tg.autograd.grad(ys, leaves, [tg.tensor(w) for w in ws], retain_graph=True, allow_unused=True, materialize_grads=True)

    us, ws = cotangents(ys, seed), cotangents(ys, seed + 1)
    for a, b, c, zero in zip(gradient(us), gradient(ws), gradient([2 * u - 3 * w for u, w in zip(us, ws)]), gradient([0 * u for u in us])):
        np.testing.assert_allclose(c.numpy(), 2 * a.numpy() - 3 * b.numpy(), rtol=1e-8, atol=1e-8 * (1 + np.abs(a.numpy()).max(initial=0)))
        assert not zero.numpy().any()


@property_of(lambda case: case.order >= 1)
def create_graph_gives_the_same_gradient(case: Case, call: Call, seed: int) -> None:
    _, plain, _ = vjp(case, call, seed)
    _, recorded, _ = vjp(case, call, seed, create_graph=True)
    for a, b in zip(plain, recorded):
        np.testing.assert_allclose(b.detach().numpy(), a.numpy(), rtol=1e-9, atol=1e-11)


@property_of(lambda case: case.order >= 2)
def forward_and_reverse_are_adjoint(case: Case, call: Call, seed: int) -> None:
    """<Ju, v> = <u, Jᵀv>, with Ju as the derivative of Jᵀv by v."""
    given, leaves = tensors(call)
    result = run(case.function, given)
    ys = [y for y in float_outputs(case.free(result) if case.free else result) if y.requires_grad]
    assume(ys)
    vs = [tg.tensor(v, requires_grad=True) for v in cotangents(ys, seed)]
    back = tg.autograd.grad(ys, leaves, vs, create_graph=True, allow_unused=True, materialize_grads=True)
    us = cotangents(leaves, seed + 1)
    linked = [(b, u) for b, u in zip(back, us) if b.requires_grad]
    assume(linked)
    forward = tg.autograd.grad([b for b, _ in linked], vs, [tg.tensor(u) for _, u in linked], allow_unused=True, materialize_grads=True)
    left = dot([f.numpy() for f in forward], [v.detach().numpy() for v in vs])
    right = dot([b.detach().numpy() for b in back], us)
    assert close(left, right, 1e-10, sum(np.abs(b.detach().numpy()).sum() for b in back))


@property_of(lambda case: case.order >= 2)
def second_derivative_is_the_slope_of_the_first(case: Case, call: Call, seed: int) -> None:
    leaves, gradients, _ = vjp(case, call, seed, create_graph=True)
    us, vs = directions(call, seed + 1), directions(call, seed + 2)
    expected = slope(lambda t: dot([g.numpy() for g in vjp(case, moved(call, vs, t), seed)[1]], us), h=1e-4)

    def hessian_times(directions):
        linked = [(g, u) for g, u in zip(gradients, directions) if g.requires_grad]
        if not linked:
            return [np.zeros(x.shape) for x in leaves]
        return [h.numpy() for h in tg.autograd.grad([g for g, _ in linked], leaves, [tg.tensor(u) for _, u in linked], retain_graph=True,
                                                    allow_unused=True, materialize_grads=True)]
    hu = hessian_times(us)
    scale = sum(np.abs(h).sum() for h in hu)
    assert close(dot(hu, vs), expected, 10 * case.rtol, scale)
    assert close(dot(hu, vs), dot(hessian_times(vs), us), 1e-8, scale)        # the Hessian is symmetric


@property_of(lambda case: case.order >= 1)
def dtype_in_is_dtype_out_is_gradient_dtype(case: Case, call: Call, seed: int) -> None:
    for dtype in {*case.dtypes, *(["float16"] if case.elementwise else [])}:
        given, leaves = tensors(call, dtype=dtype)
        ys = float_outputs(run(case.function, given))
        assert all(y.dtype == dtype for y in ys)
        ys = [y for y in ys if y.requires_grad]
        gradients = tg.autograd.grad(ys, leaves, [tg.tensor(w) for w in cotangents(ys, seed)], allow_unused=True) if ys else []
        for x, g in zip(leaves, gradients):
            assert g is None or (g.dtype == x.dtype and g.shape == x.shape)


def relaid(a: np.ndarray, layout: str) -> np.ndarray:
    """The same values in another memory layout."""
    if layout == "fortran":
        return np.asfortranarray(a)
    if layout == "reversed":
        return a[(slice(None, None, -1),) * a.ndim].copy()[(slice(None, None, -1),) * a.ndim]
    if layout == "sliced":
        wide = np.full(tuple(2 * n for n in a.shape), 7, a.dtype)
        part = wide[(slice(None, None, 2),) * a.ndim]
        part[...] = a
        return part
    a = a.copy()
    a.flags.writeable = False
    return a


@property_of(lambda case: case.deterministic)
def memory_layout_does_not_matter(case: Case, call: Call, seed: int) -> None:

    def results(arrange):
        leaves = []

        def make(a):
            t = tg.from_numpy(arrange(a)) if a.ndim else tg.tensor(a)
            if a.dtype.kind == "f" and case.order:
                leaves.append(t.requires_grad_())
            return t
        result = run(case.function, call.map(make))
        ys = [y for y in float_outputs(result) if y.requires_grad]
        gradients = tg.autograd.grad(ys, leaves, [tg.tensor(w) for w in cotangents(ys, seed)], allow_unused=True) if ys else []
        return outputs(result), gradients
    plain = results(lambda a: a)
    for layout in ("fortran", "reversed", "sliced", "read-only"):
        relayed = results(lambda a, layout=layout: relaid(a, layout))
        for a, b in zip([*plain[0], *plain[1]], [*relayed[0], *relayed[1]]):
            if isinstance(a, tg.Tensor):
                np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), rtol=1e-9, atol=1e-10)
            else:
                assert a == b


@property_of(lambda case: case.order >= 1)
def inputs_stay_and_gradients_are_nobody_elses(case: Case, call: Call, seed: int) -> None:
    before = [a.copy() for a in call.arrays()]
    given, leaves = tensors(call)
    ys = [y for y in float_outputs(run(case.function, given)) if y.requires_grad]
    assume(ys)
    ws = [tg.tensor(w) for w in cotangents(ys, seed)]
    kept = [w.numpy().copy() for w in ws]
    tg.autograd.backward(ys, ws)
    arrays = []
    for value in [*given.args, *given.kwargs.values()]:
        arrays += [t.data for t in outputs(value) if isinstance(t, tg.Tensor)]
    for a, b in zip(arrays, before):
        np.testing.assert_array_equal(a, b)
    for w, k in zip(ws, kept):
        np.testing.assert_array_equal(w.numpy(), k)
    gradients = [x.grad.data for x in leaves if x.grad is not None]
    others = [*arrays, *[w.data for w in ws], *[y.data for y in ys]]
    for i, g in enumerate(gradients):
        assert g.flags.writeable
        assert not any(np.shares_memory(g, other) for other in [*others, *gradients[:i]])


@property_of(lambda case: case.deterministic)
def the_same_call_gives_the_same_bits(case: Case, call: Call, seed: int) -> None:
    first, second = (outputs(run(case.function, tensors(call, requires_grad=False)[0])) for _ in range(2))
    for a, b in zip(first, second):
        if isinstance(a, tg.Tensor):
            assert a.numpy().tobytes() == b.numpy().tobytes()


@property_of(lambda case: case.elementwise)
def broadcasting_equals_explicit_expansion(case: Case, call: Call, seed: int) -> None:
    shape = np.broadcast_shapes(*[a.shape for a in call.arrays()])
    expanded = call.map(lambda a: np.broadcast_to(a, shape).copy())
    for a, b in zip(values(case, call), values(case, expanded)):
        np.testing.assert_array_equal(a, b)
    if case.order:
        _, small, _ = vjp(case, call, seed)
        _, large, _ = vjp(case, expanded, seed)
        for x, a, b in zip(call.floats(), small, large):
            extra = b.ndim - x.ndim
            axes = tuple(range(extra)) + tuple(i + extra for i, n in enumerate(x.shape) if n == 1)
            np.testing.assert_allclose(a.numpy(), b.numpy().sum(axes).reshape(x.shape), rtol=1e-9, atol=1e-11)


@property_of(lambda case: case.elementwise)
def elements_are_computed_alone(case: Case, call: Call, seed: int) -> None:
    """Permuting the elements of all arguments permutes the elements of the result and of the gradients."""
    shape = np.broadcast_shapes(*[a.shape for a in call.arrays()])
    flat = call.map(lambda a: np.broadcast_to(a, shape).reshape(-1))
    order = np.random.default_rng(seed).permutation(int(np.prod(shape)))
    for a, b in zip(values(case, flat), values(case, flat.map(lambda a: a[order]))):
        np.testing.assert_allclose(b, a[order], rtol=1e-14)


EXTREMES = [np.inf, -np.inf, np.nan, 0.0, -0.0, 1.0, -1.0, 1e300, -1e300, 1e-300, 5e-324, -5e-324, 709.0, -746.0]


@property_of(lambda case: case.elementwise and case.numpy)
def extremes_do_not_raise_and_nan_stays_nan(case: Case, call: Call, seed: int) -> None:
    """Infinities, NaN, denormals and empty arrays: no exception, no warning, and a NaN argument gives no invented number."""
    rng = np.random.default_rng(seed)
    call = call.replace_floats([rng.choice(EXTREMES, a.shape) for a in call.floats()])
    given, leaves = tensors(call, requires_grad=case.order > 0)
    ys = float_outputs(run(case.function, given))
    recorded = [y for y in ys if y.requires_grad]
    if recorded:
        tg.autograd.backward(recorded, [tg.ones_like(y) for y in recorded])
    nans = [y.detach().numpy() for y in ys]
    with np.errstate(all="ignore"):
        for y, e in zip(nans, outputs(run(case.numpy, call))):
            if not case.analytic:             # analytic references overflow where the operation does not
                np.testing.assert_allclose(y, e, rtol=1e-9)
