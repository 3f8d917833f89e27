"""What recurrent layers promise on CUDA devices beside the right numbers, which test_cuda_kernels.py holds against NumPy's: two launches a step."""
import importlib

import numpy as np
import pytest
import standin

import tinygrad_ed as tg
from tinygrad_ed import nn
from tinygrad_ed.backend.kernels import cuda
from tinygrad_ed.nn.utils.rnn import pack_sequence


@pytest.fixture
def cp():
    """The stand-in for the module cupy."""
    with standin.installed() as module:
        tg.cuda.init()
        yield module


def layer(cp, kind, sizes):
    rng, gates = np.random.default_rng(0), {"lstm": 4, "gru": 3, "rnn": 1}[kind]
    def r(*shape):
        return cp.asarray(rng.normal(size=shape).astype("float32"))
    first = [r(sizes[0], 5) for _ in range(2 if kind == "lstm" else 1)]
    last = {"lstm": [None], "gru": [], "rnn": []}[kind]
    rows = sum(sizes)
    arguments = [r(rows, 4), *first, r(gates * 5, 4), r(gates * 5, 5), r(gates * 5), r(gates * 5), *last]
    return arguments, [*([False] if kind == "rnn" else []), sizes, False], r(rows, 5)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("ragged", [False, True])
def test_two_launches_a_step(cp, kind, ragged):
    counted = []
    for steps in (4, 9):
        arguments, options, dy = layer(cp, kind, tuple([10 - ragged * i for i in range(steps)]))
        with standin.counting() as there:
            y, *rest = getattr(cuda, kind)(*arguments, *options)
        states = 2 if kind == "lstm" else 1
        for _ in range(2):                            # the first time, sizes are sent
            with standin.counting() as back:
                getattr(cuda, kind + "_backward")(dy, *rest[:states], *arguments, *options, y, *rest[states:], (True,) * 8)
        assert not there.syncs and not back.syncs and not there.copies and not back.copies
        counted.append((there.launches, back.launches))
    assert [b - a for a, b in zip(*counted)] == [2 * 5, 2 * 5]
    assert max(counted[0]) <= 2 * 4 + 11


@pytest.mark.parametrize("dtype, bound", [("float32", 1e-5), ("float64", 1e-12), ("float16", 4e-3), ("bfloat16", 3e-2)])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_layers_with_packed_sequences(cp, monkeypatch, kind, dtype, bound):
    """In the dtype that they have."""
    pytest.importorskip("ml_dtypes")
    results, launched, module = [], set(), importlib.import_module(cuda.lstm.__module__)
    launch = module.launch
    monkeypatch.setattr(module, "launch", lambda family, name, dtype, *args: (launched.add(dtype.name), launch(family, name, dtype, *args)))
    for device in ("cpu", "cuda"):
        tg.manual_seed(0)
        net = getattr(nn, kind)(4, 5, num_layers=2, bidirectional=True, dtype=getattr(tg, dtype)).to(device)
        rows = [tg.tensor(np.random.default_rng(n).normal(size=(n, 4)), dtype=getattr(tg, dtype), device=device, requires_grad=True) for n in (5, 3, 3, 1)]
        y, last = net(pack_sequence(rows))
        (y.data.square().sum() + (last[1] if kind == "LSTM" else last).sum()).backward()
        results.append([y.data, *[x.grad for x in rows], *[p.grad for p in net.parameters()]])
    for a, b in zip(*results):
        a, b = (x.detach().cpu().double().numpy() for x in (a, b))
        assert np.abs(a - b).max() <= bound * max(1, np.abs(a).max())
    assert launched == {dtype}
