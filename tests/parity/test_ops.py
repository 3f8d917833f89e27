"""Every operation of the registry against PyTorch: values, dtypes, gradients, and what is refused."""
import pytest

torch = pytest.importorskip("torch")

import cases  # noqa: E402, F401
import numpy as np  # noqa: E402
from registry import CASES, cotangents, holds, lookup, outputs, run, tensors  # noqa: E402

import tinygrad_ed as tg  # noqa: E402

IN_TORCH = [c for c in CASES.values() if c.torch is not None and c.deterministic]


def theirs(case):
    """The same operation in PyTorch."""
    name = case.name if case.torch == "same" else case.torch
    return lookup(torch, name) if isinstance(name, str) else name


def torch_call(call, requires_grad, dtype=None):
    """The call with PyTorch's tensors, and the leaves among them."""
    leaves = []

    def make(a):
        if a.dtype.kind != "f":
            return torch.from_numpy(a.copy())
        t = torch.from_numpy(a.astype(dtype or a.dtype)).requires_grad_(requires_grad)
        leaves.append(t)
        return t
    return call.map(make), leaves


def kind(x):
    """A dtype's name in both worlds."""
    return str(x.dtype).removeprefix("torch.")


def values_dtypes_and_gradients_agree(case, call, seed):
    ours_call, leaves = tensors(call, requires_grad=case.order > 0)
    their_call, their_leaves = torch_call(call, requires_grad=case.order > 0)
    ours, his = run(case.function, ours_call), run(theirs(case), their_call)
    if case.free:
        ours, his = case.free(ours), case.free(his)
    ours, his = outputs(ours), outputs(his)
    assert len(ours) == len(his)
    for a, b in zip(ours, his):
        if not isinstance(a, tg.Tensor):
            assert a == b
            continue
        assert a.shape == tuple(b.shape) and kind(a) == kind(b)
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=case.parity_rtol, atol=case.parity_rtol)
    pairs = [(a, b) for a, b in zip(ours, his) if isinstance(a, tg.Tensor) and a.dtype.kind == "f" and b.requires_grad]
    if not pairs:
        return
    assert all(a.requires_grad for a, _ in pairs)
    ws = cotangents([a for a, _ in pairs], seed)
    mine = tg.autograd.grad([a for a, _ in pairs], leaves, [tg.tensor(w) for w in ws], allow_unused=True, materialize_grads=True)
    expected = torch.autograd.grad([b for _, b in pairs], their_leaves, [torch.from_numpy(np.array(w)) for w in ws], allow_unused=True,
                                   materialize_grads=True)
    for g, e in zip(mine, expected):
        np.testing.assert_allclose(g.numpy(), e.numpy(), rtol=100 * case.parity_rtol, atol=100 * case.parity_rtol)


@pytest.mark.parametrize("case", IN_TORCH, ids=lambda c: c.id)
def test_values_dtypes_and_gradients(case):
    holds(values_dtypes_and_gradients_agree, case)


def float32_stays_and_agrees(case, call, seed):
    ours = run(case.function, tensors(call, requires_grad=False, dtype="float32")[0])
    his = run(theirs(case), torch_call(call, False, "float32")[0])
    if case.free:
        ours, his = case.free(ours), case.free(his)
    for a, b in zip(outputs(ours), outputs(his)):
        if isinstance(a, tg.Tensor):
            assert kind(a) == kind(b)
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("case", [c for c in IN_TORCH if c.order > 0 and "float32" in c.dtypes], ids=lambda c: c.id)
def test_float32_stays_and_agrees(case):
    holds(float32_stays_and_agrees, case)


@pytest.mark.parametrize("case", [c for c in IN_TORCH if c.bad], ids=lambda c: c.id)
def test_what_pytorch_refuses_is_refused(case):
    for bad in case.bad:
        with pytest.raises(Exception):
            run(theirs(case), torch_call(bad, False)[0])
        with pytest.raises((RuntimeError, ValueError, TypeError, IndexError)):
            run(case.function, tensors(bad, requires_grad=False)[0])


INTEGERS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.bool_]
FLOATS = [np.float16, np.float32, np.float64]


@pytest.mark.parametrize("name", ["add", "mul", "div", "maximum", "pow", "eq", "atan2", "remainder", "floor_divide", "where"])
@pytest.mark.parametrize("left", INTEGERS + FLOATS)
@pytest.mark.parametrize("right", INTEGERS + FLOATS + ["0-d float64", "0-d int64", 2, 2.5, True], ids=str)
def test_dtypes_combine_as_in_pytorch(name, left, right):
    a = np.array([3, 1, 2]).astype(left)
    b = {"0-d float64": np.array(2.0), "0-d int64": np.array(2)}.get(right, right) if isinstance(right, (str, int, float)) else np.array([1, 1, 1]).astype(right)

    def result(module, make):
        args = [make(a), make(b) if isinstance(b, np.ndarray) else b]
        if name == "where":
            args.insert(0, make(np.array([True, False, True])))
        return getattr(module, name)(*args)
    try:
        expected = result(torch, torch.from_numpy)
    except (RuntimeError, TypeError):
        return                                        # where PyTorch has no kernel, any answer or error will do
    if not (name == "pow" and expected.dtype == torch.bool):      # a power of booleans is an integer here
        assert kind(result(tg, tg.tensor)) == kind(expected)


@pytest.mark.parametrize("name", ["exp", "sqrt", "sigmoid", "sin", "erf", "neg", "abs", "relu", "floor", "sign", "reciprocal", "log1p"])
@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
def test_unary_dtypes_are_pytorchs(name, dtype):
    a = np.array([1, 0, 1]).astype(dtype)
    try:
        expected = getattr(torch, name)(torch.from_numpy(a))
    except RuntimeError:
        return
    assert kind(getattr(tg, name)(tg.tensor(a))) == kind(expected)
