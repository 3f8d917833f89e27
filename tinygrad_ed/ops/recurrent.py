"""Recurrent layers: one fused operation for a layer and a direction over all steps, and the cells that they repeat.

The cells' formulas are the `_…_step` functions; unrolled they are the fused operations' composed twins.
"""
from __future__ import annotations

from itertools import accumulate
from typing import Any, Callable, Sequence

from ..autograd.modes import state
from ..autograd.op import op
from ..backend import namespace
from ..backend.kernels import kernels
from ..errors import ShapeError
from ..tensor import Tensor, wrap
from .elementwise import relu as _relu
from .elementwise import sigmoid, tanh
from .half import in_float32
from .join import cat, chunk
from .matmul import linear

__all__ = ["gru_cell", "gru_layer", "lstm_cell", "lstm_layer", "rnn_layer", "rnn_relu_cell", "rnn_tanh_cell"]

Optional = Tensor | None


# -- the formulas ------------------------------------------------------------------------------------------------------

def _lstm_step(x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any) -> tuple:
    i, f, g, o = chunk(linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh), 4, 1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return h if w_hr is None else linear(h, w_hr), c


def _gru_step(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> tuple:
    x_r, x_z, x_n = chunk(linear(x, w_ih, b_ih), 3, 1)
    h_r, h_z, h_n = chunk(linear(h, w_hh, b_hh), 3, 1)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = tanh(x_n + r * h_n)
    return ((1 - z) * n + z * h,)


def _rnn_step(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, relu: bool) -> tuple:
    return ((_relu if relu else tanh)(linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh)),)


def _unrolled(step: Callable, x: Any, states: tuple, sizes: Sequence[int], reverse: bool, *parameters: Any) -> tuple:
    """The steps one after the other: states of all rows, and the last states. Step k is of the first sizes[k] sequences."""
    rows = [x[end - n:end] for n, end in zip(sizes, accumulate(sizes))]
    outputs = []
    for row in rows[::-1] if reverse else rows:
        n = len(row)
        new = step(row, *[s[:n] for s in states], *parameters)
        states = tuple(cat([a, s[n:]]) for a, s in zip(new, states))
        outputs.append(new[0])
    return cat(outputs[::-1] if reverse else outputs), *states


# -- the fused operations ----------------------------------------------------------------------------------------------

def _lstm_forward(x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, *, sizes: tuple, reverse: bool) -> tuple:
    y, last_h, last_c, *saved = kernels(x).lstm(x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr, sizes, reverse, bool(state.recording))
    return (y, last_h, last_c), y, *saved


def _lstm_gradients(g: Any, x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, sizes: Any, reverse: Any,
                    states: Any, gates: Any, cells: Any, tanhs: Any, needs: Any) -> tuple:
    return kernels(x).lstm_backward(*g, x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr, sizes, reverse, states, gates, cells, tanhs, needs)


_lstm = op("lstm", _lstm_forward, match=("x", "h", "c", "w_ih", "w_hh", "b_ih", "b_hh", "w_hr"), outputs=True,
           aux=("states", "gates", "cells", "tanhs"), gradients=_lstm_gradients,
           composed=lambda x, h, c, *parameters, sizes, reverse: _unrolled(_lstm_step, x, (h, c), sizes, reverse, *parameters))


def _gru_forward(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, *, sizes: tuple, reverse: bool) -> tuple:
    y, last, *saved = kernels(x).gru(x, h, w_ih, w_hh, b_ih, b_hh, sizes, reverse, bool(state.recording))
    return (y, last), y, *saved


def _gru_gradients(g: Any, x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, sizes: Any, reverse: Any, states: Any, gates: Any,
                   inner: Any, needs: Any) -> tuple:
    return kernels(x).gru_backward(*g, x, h, w_ih, w_hh, b_ih, b_hh, sizes, reverse, states, gates, inner, needs)


_gru = op("gru", _gru_forward, match=("x", "h", "w_ih", "w_hh", "b_ih", "b_hh"), outputs=True, aux=("states", "gates", "inner"),
          gradients=_gru_gradients,
          composed=lambda x, h, *parameters, sizes, reverse: _unrolled(_gru_step, x, (h,), sizes, reverse, *parameters))


def _rnn_forward(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, *, relu: bool, sizes: tuple, reverse: bool) -> tuple:
    y, last = kernels(x).rnn(x, h, w_ih, w_hh, b_ih, b_hh, relu, sizes, reverse)
    return (y, last), y


def _rnn_gradients(g: Any, x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, relu: Any, sizes: Any, reverse: Any, states: Any,
                   needs: Any) -> tuple:
    return kernels(x).rnn_backward(*g, x, h, w_ih, w_hh, b_ih, b_hh, relu, sizes, reverse, states, needs)


_rnn = op("rnn", _rnn_forward, match=("x", "h", "w_ih", "w_hh", "b_ih", "b_hh"), outputs=True, aux=("states",), gradients=_rnn_gradients,
          composed=lambda x, h, *parameters, relu, sizes, reverse: _unrolled(_rnn_step, x, (h,), sizes, reverse, *parameters, relu))


# -- layers ------------------------------------------------------------------------------------------------------------

def lstm_layer(input: Tensor, hx: tuple[Tensor, Tensor] | None, w_ih: Tensor, w_hh: Tensor, b_ih: Optional = None, b_hh: Optional = None,
               w_hr: Optional = None, *, sizes: Sequence[int], reverse: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """One LSTM layer in one direction over all steps (Hochreiter and Schmidhuber, 1997; Gers, Schmidhuber and Cummins, 2000).

    i, f, o = σ(W x + V h + b), g = tanh(W x + V h + b), c' = f·c + i·g, h' = o·tanh(c') at every step, each gate with its own
    W, V, b; with w_hr the new state is the projection w_hr h' (Sak, Senior and Beaufays, 2014).

    Args:
        input: the rows of the first step, of the second…, of shape (rows, inputs).
        hx: the first states (sequences, outputs) and cells (sequences, hidden); zeros by default.
        w_ih: the weights W of i, f, g, o, of shape (4·hidden, inputs).
        w_hh: the weights V, of shape (4·hidden, outputs).
        b_ih: a bias of shape (4·hidden), or none.
        b_hh: another one, added to it.
        w_hr: a projection of shape (outputs, hidden); without it outputs = hidden.
        sizes: how many rows each step has, never more than the step before; row k of a step belongs to sequence k.
        reverse: begin at the last step.

    Returns:
        The states of all rows, (rows, outputs), the last state of every sequence, and its last cells.

    Raises:
        ShapeError: shapes that do not fit.
        DTypeError: different dtypes.

    Example:
        >>> import tinygrad_ed as tg
        >>> w_ih, w_hh = tg.zeros(8, 3), tg.zeros(8, 2)
        >>> y, h, c = lstm_layer(tg.ones(5, 3), None, w_ih, w_hh, sizes=[2, 2, 1])     # sequences of 3 and of 2 steps
        >>> y.shape, h.shape
        ((5, 2), (2, 2))
    """
    outputs = w_hh.shape[-1]
    h, c = (None, None) if hx is None else hx
    hidden = outputs if w_hr is None else w_hr.shape[-1]
    h, c = _state(h, input, sizes, outputs), _state(c, input, sizes, hidden)
    _check("lstm", input, {"h": h, "c": c}, (w_ih, w_hh, b_ih, b_hh), 4, hidden, sizes, w_hr)
    return in_float32(_lstm, input, h, c, w_ih, w_hh, *_biases(b_ih, b_hh), w_hr, sizes=tuple(sizes), reverse=reverse)


def gru_layer(input: Tensor, hx: Optional, w_ih: Tensor, w_hh: Tensor, b_ih: Optional = None, b_hh: Optional = None, *,
              sizes: Sequence[int], reverse: bool = False) -> tuple[Tensor, Tensor]:
    """One layer of gated recurrent units in one direction over all steps (Cho et al., 2014).

    r, z = σ(W x + b + V h + e), n = tanh(W x + b + r·(V h + e)), h' = (1 - z)·n + z·h at every step, each with its own W, V, b, e.

    Args:
        input: the rows of the first step, of the second…, of shape (rows, inputs).
        hx: the first states (sequences, hidden); zeros by default.
        w_ih: the weights W of r, z, n, of shape (3·hidden, inputs).
        w_hh: the weights V, of shape (3·hidden, hidden).
        b_ih: the bias b of shape (3·hidden), or none.
        b_hh: the bias e, or none.
        sizes: how many rows each step has, never more than the step before; row k of a step belongs to sequence k.
        reverse: begin at the last step.

    Returns:
        The states of all rows, (rows, hidden), and the last state of every sequence.

    Raises:
        ShapeError: shapes that do not fit.
        DTypeError: different dtypes.

    Example:
        >>> import tinygrad_ed as tg
        >>> y, h = gru_layer(tg.ones(5, 3), None, tg.zeros(6, 3), tg.zeros(6, 2), sizes=[2, 2, 1])
        >>> y.shape, h.shape
        ((5, 2), (2, 2))
    """
    hidden = w_hh.shape[-1]
    h = _state(hx, input, sizes, hidden)
    _check("gru", input, {"h": h}, (w_ih, w_hh, b_ih, b_hh), 3, hidden, sizes)
    return in_float32(_gru, input, h, w_ih, w_hh, *_biases(b_ih, b_hh), sizes=tuple(sizes), reverse=reverse)


def rnn_layer(input: Tensor, hx: Optional, w_ih: Tensor, w_hh: Tensor, b_ih: Optional = None, b_hh: Optional = None, *,
              sizes: Sequence[int], reverse: bool = False, relu: bool = False) -> tuple[Tensor, Tensor]:
    """One layer of a simple recurrent network in one direction over all steps, h' = tanh(W x + V h + b) (Elman, 1990).

    Args:
        input: the rows of the first step, of the second…, of shape (rows, inputs).
        hx: the first states (sequences, hidden); zeros by default.
        w_ih: the weights W, of shape (hidden, inputs).
        w_hh: the weights V, of shape (hidden, hidden).
        b_ih: a bias of shape (hidden), or none.
        b_hh: another one, added to it.
        sizes: how many rows each step has, never more than the step before; row k of a step belongs to sequence k.
        reverse: begin at the last step.
        relu: max(·, 0) in place of the tanh.

    Returns:
        The states of all rows, (rows, hidden), and the last state of every sequence.

    Raises:
        ShapeError: shapes that do not fit.
        DTypeError: different dtypes.

    Example:
        >>> import tinygrad_ed as tg
        >>> y, h = rnn_layer(tg.ones(5, 3), None, tg.zeros(2, 3), tg.zeros(2, 2), sizes=[2, 2, 1])
        >>> y.shape, h.shape
        ((5, 2), (2, 2))
    """
    hidden = w_hh.shape[-1]
    h = _state(hx, input, sizes, hidden)
    _check("rnn", input, {"h": h}, (w_ih, w_hh, b_ih, b_hh), 1, hidden, sizes)
    return in_float32(_rnn, input, h, w_ih, w_hh, *_biases(b_ih, b_hh), relu=relu, sizes=tuple(sizes), reverse=reverse)


def _state(state: Optional, input: Tensor, sizes: Sequence[int], width: int) -> Tensor:
    return wrap(namespace(input._data).zeros((max(sizes, default=0), width), input.dtype)) if state is None else state


def _biases(b_ih: Optional, b_hh: Optional) -> tuple[Optional, Optional]:
    """Both biases or none, with zeros for a single one that is missing."""
    zeros = lambda b: None if b is None else wrap(namespace(b._data).zeros(b.shape, b.dtype))
    return zeros(b_hh) if b_ih is None else b_ih, zeros(b_ih) if b_hh is None else b_hh


def _check(name: str, input: Tensor, states: dict[str, Tensor], parameters: tuple, gates: int, hidden: int, sizes: Sequence[int],
           w_hr: Optional = None) -> None:
    """Refuse shapes that do not fit together."""
    if not sizes:
        raise ShapeError(f"{name} takes sequences of at least one step")
    n, rows, outputs = sizes[0], gates * hidden, parameters[1].shape[-1]
    inputs = input.shape[-1] if input.ndim else 0
    wanted = {"input": (sum(sizes), inputs), "h": (n, outputs), "c": (n, hidden), "w_ih": (rows, inputs), "w_hh": (rows, outputs),
              "b_ih": (rows,), "b_hh": (rows,), "w_hr": (outputs, hidden)}
    for what, x in {"input": input, **states, **dict(zip(("w_ih", "w_hh", "b_ih", "b_hh"), parameters)), "w_hr": w_hr}.items():
        if x is not None and x.shape != wanted[what]:
            raise ShapeError(f"{name}: with an input of shape {input.shape} and {hidden} hidden units {what} has shape {wanted[what]}, "
                             f"got {x.shape}")


# -- cells -------------------------------------------------------------------------------------------------------------

def lstm_cell(input: Tensor, hx: tuple[Tensor, Tensor], w_ih: Tensor, w_hh: Tensor, b_ih: Optional = None,
              b_hh: Optional = None) -> tuple[Tensor, Tensor]:
    """One step of an LSTM: i, f, o = σ(W x + V h + b), g = tanh(W x + V h + b), c' = f·c + i·g, h' = o·tanh(c').

    Args:
        input: of shape (sequences, inputs).
        hx: states and cells, each of shape (sequences, hidden).
        w_ih: the weights W of i, f, g, o, of shape (4·hidden, inputs).
        w_hh: the weights V, of shape (4·hidden, hidden).
        b_ih: a bias of shape (4·hidden), or none.
        b_hh: another one, added to it.

    Returns:
        The new states and cells.

    Raises:
        ShapeError: shapes that do not fit.
        DTypeError: different dtypes.

    Example:
        >>> import tinygrad_ed as tg
        >>> h, c = lstm_cell(tg.ones(1, 3), (tg.zeros(1, 2), tg.ones(1, 2)), tg.zeros(8, 3), tg.zeros(8, 2))
        >>> c
        tensor([[0.5000, 0.5000]])
    """
    y, _, c = lstm_layer(input, hx, w_ih, w_hh, b_ih, b_hh, sizes=(len(input),))
    return y, c


def gru_cell(input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Optional = None, b_hh: Optional = None) -> Tensor:
    """One step of a GRU: r, z = σ(W x + b + V h + e), n = tanh(W x + b + r·(V h + e)), h' = (1 - z)·n + z·h.

    Args:
        input: of shape (sequences, inputs).
        hx: states of shape (sequences, hidden).
        w_ih: the weights W of r, z, n, of shape (3·hidden, inputs).
        w_hh: the weights V, of shape (3·hidden, hidden).
        b_ih: the bias b of shape (3·hidden), or none.
        b_hh: the bias e, or none.

    Returns:
        The new states.

    Raises:
        ShapeError: shapes that do not fit.
        DTypeError: different dtypes.

    Example:
        >>> import tinygrad_ed as tg
        >>> gru_cell(tg.ones(1, 3), tg.ones(1, 2), tg.zeros(6, 3), tg.zeros(6, 2))
        tensor([[0.5000, 0.5000]])
    """
    return gru_layer(input, hx, w_ih, w_hh, b_ih, b_hh, sizes=(len(input),))[0]


def rnn_tanh_cell(input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Optional = None, b_hh: Optional = None) -> Tensor:
    """One step of a simple recurrent network, h' = tanh(W x + V h + b).

    Args:
        input: of shape (sequences, inputs).
        hx: states of shape (sequences, hidden).
        w_ih: the weights W, of shape (hidden, inputs).
        w_hh: the weights V, of shape (hidden, hidden).
        b_ih: a bias of shape (hidden), or none.
        b_hh: another one, added to it.

    Returns:
        The new states.

    Raises:
        ShapeError: shapes that do not fit.
        DTypeError: different dtypes.

    Example:
        >>> import tinygrad_ed as tg
        >>> rnn_tanh_cell(tg.ones(1, 1), tg.zeros(1, 1), tg.ones(1, 1), tg.ones(1, 1))
        tensor([[0.7616]])
    """
    return rnn_layer(input, hx, w_ih, w_hh, b_ih, b_hh, sizes=(len(input),))[0]


def rnn_relu_cell(input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Optional = None, b_hh: Optional = None) -> Tensor:
    """One step of a simple recurrent network, h' = max(W x + V h + b, 0); arguments as for `rnn_tanh_cell`.

    Example:
        >>> import tinygrad_ed as tg
        >>> rnn_relu_cell(tg.ones(1, 1), tg.ones(1, 1), tg.ones(1, 1), tg.ones(1, 1))
        tensor([[2.]])
    """
    return rnn_layer(input, hx, w_ih, w_hh, b_ih, b_hh, sizes=(len(input),), relu=True)[0]
