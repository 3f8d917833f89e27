"""Cases of `ops/recurrent.py`."""
import numpy as np
from registry import call, case

import tinygrad_ed.ops.recurrent  # noqa: F401  (the cases name it)

SIZES = [(1,), (3,), (2, 2), (1, 1, 1), (3, 2, 2, 1), (2, 1)]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def lstm_step(x, state, w_ih, w_hh, b_ih=0, b_hh=0, w_hr=None):
    """The definition of one step; new states, and what comes out of the layer first."""
    h, c = state
    i, f, g, o = np.split(x @ w_ih.T + b_ih + h @ w_hh.T + b_hh, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return h if w_hr is None else h @ w_hr.T, c


def gru_step(x, state, w_ih, w_hh, b_ih=0, b_hh=0):
    h, = state
    x_r, x_z, x_n = np.split(x @ w_ih.T + b_ih, 3, axis=1)
    h_r, h_z, h_n = np.split(h @ w_hh.T + b_hh, 3, axis=1)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    return ((1 - z) * np.tanh(x_n + r * h_n) + z * h,)


def rnn_step(x, state, w_ih, w_hh, b_ih=0, b_hh=0, relu=False):
    z = x @ w_ih.T + b_ih + state[0] @ w_hh.T + b_hh
    return (z * (z.real > 0) if relu else np.tanh(z),)


def sequences(step):
    """The definition of a layer: every sequence on its own, step by step."""
    def layer(x, hx, *parameters, sizes, reverse=False, **options):
        starts = np.cumsum(sizes) - sizes
        hidden = parameters[1].shape[0] // (4 if step is lstm_step else 3 if step is gru_step else 1)
        if hx is None:
            hx = (np.zeros((sizes[0], parameters[1].shape[1])), np.zeros((sizes[0], hidden)))[:1 + (step is lstm_step)]
        y, last = np.zeros((len(x), parameters[1].shape[1]), complex), []
        for k in range(sizes[0]):
            state = [s[k:k + 1] for s in (hx if isinstance(hx, tuple) else (hx,))]
            rows = [start + k for start, n in zip(starts, sizes) if k < n]
            for row in rows[::-1] if reverse else rows:
                state = step(x[row:row + 1], state, *parameters, **options)
                y[row] = state[0][0]
            last.append(state)
        results = [y, *[np.concatenate(s) for s in zip(*last)]]
        return tuple(results) if any(np.iscomplexobj(v) for v in (x, *parameters)) else tuple(np.real(v) for v in results)
    return layer


def in_torch(name):
    """PyTorch's function of packed rows: for the reverse direction the second half of a bidirectional layer."""
    def layer(x, hx, *parameters, sizes, reverse=False, relu=False):
        import torch
        outputs = parameters[1].shape[1]
        kind = {"rnn": "rnn_relu" if relu else "rnn_tanh"}.get(name, name)
        states = hx if isinstance(hx, tuple) else (hx,)
        if hx is None:
            hidden = parameters[-1].shape[1] if name == "lstm" and len(parameters) in (3, 5) else outputs
            states = [torch.zeros(sizes[0], n, dtype=x.dtype) for n in (outputs, hidden)[:1 + (name == "lstm")]]
        states = [torch.stack([s] * (1 + reverse)) for s in states]
        y, *last = getattr(torch, kind)(x, torch.tensor(sizes), states if name == "lstm" else states[0], list(parameters) * (1 + reverse),
                                        len(parameters) > 3, 1, 0.0, False, reverse)
        return y[:, outputs:] if reverse else y, *[s[int(reverse)] for s in last]
    return layer


def drawn(d, gates, states=1, biases=None, projected=False, sizes=None):
    """Rows, first states or none, and parameters."""
    inputs, hidden = d.integer(1, 3), d.integer(2, 3)
    outputs = d.integer(1, hidden - 1) if projected else hidden
    sizes = d.pick(SIZES) if sizes is None else sizes
    hx = tuple(d.array((sizes[0], n)) for n in (outputs, hidden)[:states])
    rows = gates * hidden
    parameters = [d.array((rows, inputs)), d.array((rows, outputs))]
    parameters += [d.array((rows,)), d.array((rows,))] if (d.bool() if biases is None else biases) else [None, None] if projected else []
    parameters += [d.array((outputs, hidden))] if projected else []
    return [d.array((sum(sizes), inputs)), None if d.bool() and d.bool() else hx if states > 1 else hx[0], *parameters], sizes


@case("ops.recurrent.lstm_layer", numpy=sequences(lstm_step), torch=in_torch("lstm"), analytic=True)
def _(d):
    arrays, sizes = drawn(d, 4, 2)
    return call(*arrays, sizes=sizes, reverse=d.bool())


@case("ops.recurrent.lstm_layer", numpy=sequences(lstm_step), torch=in_torch("lstm"), analytic=True)
def _(d):
    arrays, sizes = drawn(d, 4, 2, biases=True, projected=True)
    return call(*arrays, sizes=sizes, reverse=d.bool())


@case("ops.recurrent.gru_layer", numpy=sequences(gru_step), torch=in_torch("gru"), analytic=True)
def _(d):
    arrays, sizes = drawn(d, 3)
    return call(*arrays, sizes=sizes, reverse=d.bool())


@case("ops.recurrent.rnn_layer", numpy=sequences(rnn_step), torch=in_torch("rnn"), analytic=True)
def _(d):
    arrays, sizes = drawn(d, 1)
    return call(*arrays, sizes=sizes, reverse=d.bool())


def relu_inputs(x, hx, *parameters, sizes, reverse=False, relu=True):
    """What the ReLUs are applied to, which must stay away from 0."""
    seen = []

    def step(row, state, w_ih, w_hh, b_ih=0, b_hh=0):
        z = row @ w_ih.T + b_ih + state[0] @ w_hh.T + b_hh
        seen.append(z)
        return (np.maximum(z, 0),)
    sequences(step)(x, hx, *parameters, sizes=sizes, reverse=reverse)
    return seen


@case("ops.recurrent.rnn_layer", numpy=sequences(rnn_step), torch=in_torch("rnn"), analytic=True, kinks=relu_inputs)
def _(d):
    arrays, sizes = drawn(d, 1)
    return call(*arrays, sizes=sizes, reverse=d.bool(), relu=True)


@case("ops.recurrent.lstm_cell", numpy=lstm_step, torch="lstm_cell", analytic=True)
def _(d):
    arrays, (n,) = drawn(d, 4, 2, sizes=(d.integer(1, 3),))
    arrays[1] = tuple(d.array((n, arrays[3].shape[1])) for _ in range(2))
    return call(*arrays)


def cell(name, gates, step, **facts):
    """A cell with one state."""
    @case(f"ops.recurrent.{name}", numpy=lambda x, h, *parameters: step(x, (h,), *parameters)[0], torch=name, analytic=True, **facts)
    def _(d):
        arrays, (n,) = drawn(d, gates, sizes=(d.integer(1, 3),))
        arrays[1] = d.array((n, arrays[3].shape[1]))
        return call(*arrays)


cell("gru_cell", 3, gru_step)
cell("rnn_tanh_cell", 1, rnn_step)
cell("rnn_relu_cell", 1, lambda *args: rnn_step(*args, relu=True),
     kinks=lambda x, h, *parameters: relu_inputs(x, h, *parameters, sizes=(len(x),)))
