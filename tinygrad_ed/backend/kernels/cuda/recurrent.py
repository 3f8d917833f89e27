"""Recurrent layers on CUDA devices: two launches a step, the product with the states and what is done element by element.

`plain/recurrent.py` has the formulas.

The states of all sequences are one array, which a step reads and writes the first rows of: sequences that stop leave their last state there, those
that begin later find their first one. So do the gradients of the states on the way back. Products are added to what is in their place already.
"""
from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from ... import namespace
from ...memory import table
from .. import plain
from ..plain.recurrent import Sizes, _before, _steps
from .launch import elements, fitted, launch, like
from .matmul import column_sums, linear, matmul

__all__ = ["gru", "gru_backward", "lstm", "lstm_backward", "rnn", "rnn_backward"]


# -- what the layers share ---------------------------------------------------------------------------------------------

def _suited(x: Any, w_hh: Any, *arrays: Any) -> tuple | None:
    """The arrays, contiguous, or None where they do not suit the kernels."""
    return fitted(x, w_hh, *arrays) if x.size and w_hh.size else None


def _step(name: str, n: int, hidden: int, *args: Any) -> None:
    launch("recurrent", name, args[0].dtype, elements(n * hidden), *args)


def _backwards(sizes: Sizes, reverse: bool, states: Any) -> Any:
    """Each step, the last one computed first: its rows, how many they are, and of the step before the states, and how many of these it began with."""
    steps = _steps(sizes, not reverse)
    for step, before in zip(steps, [*steps[1:], None]):
        n = step.stop - step.start
        yield step, n, *((None, 0) if before is None else (states[before], min(n, before.stop - before.start)))


def _state_gradient(d: Any, y: Any, h: Any, sizes: Sizes, reverse: bool) -> Any:
    """dᵀ times the states that the steps began with."""
    if sizes[0] != sizes[-1]:
        xp = namespace(y)
        return matmul(d.T, xp.concatenate([y, h]).take(table(xp, _began_with, tuple(sizes), reverse), axis=0))
    n, middle = sizes[0], len(y) - sizes[0]
    dw = matmul((d[middle:] if reverse else d[:n]).T, h)
    return matmul((d[:middle] if reverse else d[n:]).T, y[n:] if reverse else y[:middle], out=dw) if middle else dw


def _began_with(sizes: Sizes, reverse: bool) -> np.ndarray:
    """For every row where the state that its step began with is, among the states of all rows and then the first ones."""
    rows = sum(sizes)
    places = np.arange(rows + sizes[0])[:, None]
    return _before(np, places[:rows], places[rows:], sizes, reverse)[:, 0]


def _weight_gradients(d: Any, x: Any, y: Any, h: Any, sizes: Sizes, reverse: bool, needs: Sequence[bool]) -> tuple:
    """The gradients of w_ih, w_hh, b_ih, b_hh, given those of the sum of the products with the input and the states."""
    total = column_sums(d) if needs[2] or needs[3] else None
    return (matmul(d.T, x) if needs[0] else None, _state_gradient(d, y, h, sizes, reverse) if needs[1] else None,
            total if needs[2] else None, total.copy() if needs[3] else None)         # type: ignore[union-attr]


# -- LSTM --------------------------------------------------------------------------------------------------------------

def lstm(x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, sizes: Sizes, reverse: bool,
         keep: bool = True) -> tuple:
    suited = _suited(x, w_hh, h, c, w_ih, b_ih, b_hh, w_hr)
    if suited is None:
        return plain.lstm(x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr, sizes, reverse)
    x, w_hh, h, c, w_ih, b_ih, b_hh, w_hr = suited
    hidden = c.shape[1]
    gates = linear(x, w_ih, None if b_ih is None else b_ih + b_hh)
    y, cells, tanhs = (like(x, shape=(len(x), k)) for k in (h.shape[1], hidden, hidden))
    h, c, inner = h.copy(), c.copy(), None if w_hr is None else like(c)
    for step in _steps(sizes, reverse):
        n, z = step.stop - step.start, gates[step]
        matmul(h[:n], w_hh.T, out=z)
        if inner is None:
            _step("lstm_step", n, hidden, z, c, cells[step], tanhs[step], h, y[step], n, hidden)
        else:
            _step("lstm_step", n, hidden, z, c, cells[step], tanhs[step], inner, None, n, hidden)
            h[:n] = y[step] = matmul(inner[:n], w_hr.T)
    return y, h, c, gates, cells, tanhs


def lstm_backward(dy: Any, dh: Any, dc: Any, x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, sizes: Sizes,
                  reverse: bool, y: Any, gates: Any, cells: Any, tanhs: Any, needs: Sequence[bool]) -> tuple:
    suited = _suited(x, w_hh, dy, dh, dc, h, c, w_ih, b_ih, b_hh, w_hr, y, gates, cells, tanhs)
    if suited is None:
        return plain.lstm_backward(dy, dh, dc, x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr, sizes, reverse, y, gates, cells, tanhs, needs)
    x, w_hh, dy, dh, dc, h, c, w_ih, b_ih, b_hh, w_hr, y, gates, cells, tanhs = suited
    hidden = c.shape[1]
    dh, dc, d, dys = dh.copy(), dc.copy(), like(gates), None if w_hr is None else like(y)
    for step, n, before, many in _backwards(sizes, reverse, cells):
        if dys is None:
            _step("lstm_step_backward", n, hidden, gates[step], before, c, tanhs[step], dy[step], dh, dc, d[step], n, many, hidden)
            matmul(d[step], w_hh, out=dh[:n])
        else:
            dys[step] = dh[:n] + dy[step]
            inner = matmul(dys[step], w_hr)
            _step("lstm_step_backward", n, hidden, gates[step], before, c, tanhs[step], None, inner, dc, d[step], n, many, hidden)
            dh[:n] = matmul(d[step], w_hh)
    return (matmul(d, w_ih) if needs[0] else None, dh, dc, *_weight_gradients(d, x, y, h, sizes, reverse, needs[3:]),
            None if dys is None else matmul(dys.T, gates[:, 3 * hidden:] * tanhs))


# -- GRU ---------------------------------------------------------------------------------------------------------------

def gru(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, sizes: Sizes, reverse: bool, keep: bool = True) -> tuple:
    suited = _suited(x, w_hh, h, w_ih, b_ih, b_hh)
    if suited is None:
        return plain.gru(x, h, w_ih, w_hh, b_ih, b_hh, sizes, reverse)
    x, w_hh, h, w_ih, b_ih, b_hh = suited
    hidden = h.shape[1]
    gates, h = linear(x, w_ih, b_ih), h.copy()
    y, inner = (like(x, shape=(len(x), hidden)) for _ in range(2))
    for step in _steps(sizes, reverse):
        n = step.stop - step.start
        _step("gru_step", n, hidden, gates[step], linear(h[:n], w_hh, b_hh), h, y[step], inner[step], n, hidden)
    return y, h, gates, inner


def gru_backward(dy: Any, dh: Any, x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, sizes: Sizes, reverse: bool, y: Any,
                 gates: Any, inner: Any, needs: Sequence[bool]) -> tuple:
    suited = _suited(x, w_hh, dy, dh, h, w_ih, b_ih, b_hh, y, gates, inner)
    if suited is None:
        return plain.gru_backward(dy, dh, x, h, w_ih, w_hh, b_ih, b_hh, sizes, reverse, y, gates, inner, needs)
    x, w_hh, dy, dh, h, w_ih, b_ih, b_hh, y, gates, inner = suited
    xp, hidden = namespace(x), h.shape[1]
    dh, d = dh.copy(), like(x, shape=(len(x), 4 * hidden))           # of V h + e inside n, of r, z, n
    of_state, of_input = d[:, :3 * hidden], d[:, hidden:]
    v = xp.concatenate([w_hh[2 * hidden:], w_hh[:2 * hidden]])
    for step, n, before, many in _backwards(sizes, reverse, y):
        _step("gru_step_backward", n, hidden, gates[step], before, h, inner[step], dy[step], dh, d[step], n, many, hidden)
        matmul(of_state[step], v, out=dh[:n])
    dw_hh = _state_gradient(of_state, y, h, sizes, reverse) if needs[3] else None
    total = column_sums(d) if needs[4] or needs[5] else None
    dw_hh, db_hh = (None if g is None else xp.concatenate([g[hidden:3 * hidden], g[:hidden]]) for g in (dw_hh, total if needs[5] else None))
    return (matmul(of_input, w_ih) if needs[0] else None, dh, matmul(of_input.T, x) if needs[2] else None, dw_hh,
            total[hidden:] if needs[4] else None, db_hh)             # type: ignore[index]


# -- the simple RNN ----------------------------------------------------------------------------------------------------

def rnn(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, relu: bool, sizes: Sizes, reverse: bool) -> tuple:
    suited = _suited(x, w_hh, h, w_ih, b_ih, b_hh)
    if suited is None:
        return plain.rnn(x, h, w_ih, w_hh, b_ih, b_hh, relu, sizes, reverse)
    x, w_hh, h, w_ih, b_ih, b_hh = suited
    hidden = h.shape[1]
    y, h = linear(x, w_ih, None if b_ih is None else b_ih + b_hh), h.copy()
    for step in _steps(sizes, reverse):
        n, z = step.stop - step.start, y[step]
        matmul(h[:n], w_hh.T, out=z)
        _step("rnn_step", n, hidden, z, h, n * hidden, relu)
    return y, h


def rnn_backward(dy: Any, dh: Any, x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, relu: bool, sizes: Sizes, reverse: bool,
                 y: Any, needs: Sequence[bool]) -> tuple:
    suited = _suited(x, w_hh, dy, dh, h, w_ih, b_ih, b_hh, y)
    if suited is None:
        return plain.rnn_backward(dy, dh, x, h, w_ih, w_hh, b_ih, b_hh, relu, sizes, reverse, y, needs)
    x, w_hh, dy, dh, h, w_ih, b_ih, b_hh, y = suited
    hidden = h.shape[1]
    dh, d = dh.copy(), like(y)
    for step, n, *_ in _backwards(sizes, reverse, y):
        _step("rnn_step_backward", n, hidden, y[step], dy[step], dh, d[step], n * hidden, relu)
        matmul(d[step], w_hh, out=dh[:n])
    return matmul(d, w_ih) if needs[0] else None, dh, *_weight_gradients(d, x, y, h, sizes, reverse, needs[2:])
