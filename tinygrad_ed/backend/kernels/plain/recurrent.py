"""Recurrent layers over whole sequences: LSTM, GRU and the simple RNN, each forward and backward.

The products with the input and all weight gradients are one matrix product each for all steps; only the product with the state waits
for the step before. Sigmoids are tanh, σ(z) = ½ tanh(z/2) + ½, with the halves folded into the weights, so that all gates are one tanh.

Going back, the derivatives of a step's gates are known factors times the gradients of its state. The factors of all steps are
computed first, in few passes; a step is then a product or two with them and one with the weights.

Rows: x is (rows, inputs), and row by row belong to the steps sizes[0], sizes[1]… sequences, the longest sequences first: a batch of
equal sequences has equal sizes, a packed one decreasing sizes. States are (sequences, hidden). `reverse` begins at the last step.
"""
from __future__ import annotations

from itertools import accumulate
from typing import Any, Sequence

from ... import namespace
from .memory import empty

__all__ = ["gru", "gru_backward", "lstm", "lstm_backward", "rnn", "rnn_backward"]

Sizes = Sequence[int]


# -- what the layers share ---------------------------------------------------------------------------------------------

def _steps(sizes: Sizes, reverse: bool) -> list[slice]:
    """The rows of every step, in the order in which the steps are computed."""
    rows = [slice(end - n, end) for n, end in zip(sizes, accumulate(sizes))]
    return rows[::-1] if reverse else rows


def _resize(xp: Any, state: Any, n: int, start: Any, end: Any) -> Any:
    """The states of the n sequences of the next step: those that stop leave for `end`, those that begin come from `start`."""
    running = len(state)
    if n < running:
        end[n:running] = state[n:]
        return state[:n]
    return xp.concatenate([state, start[running:n]])


def _before(xp: Any, states: Any, start: Any, sizes: Sizes, reverse: bool) -> Any:
    """For every row the state that its step began with."""
    if sizes[0] == sizes[-1]:
        n = sizes[0]
        return xp.concatenate([states[n:], start] if reverse else [start, states[:len(states) - n]])
    before, state = empty(xp, states.shape, states.dtype), start[:0]
    for rows in _steps(sizes, reverse):
        n = rows.stop - rows.start
        before[rows] = state = _resize(xp, state, n, start, empty(xp, start.shape, start.dtype)) if n != len(state) else state
        state = states[rows]
    return before


def _scaled(xp: Any, weight: Any, scale: Any) -> Any:
    """The rows of a weight times their scale, transposed: ready to be multiplied from the left."""
    return xp.multiply(weight, scale[:, None]).T


def _weight_gradients(xp: Any, d: Any, dh: Any, x: Any, before: Any, needs: Sequence[bool]) -> tuple:
    """The gradients of w_ih, w_hh, b_ih, b_hh, given those of the products with the input and with the state, d and dh, for all rows."""
    ones = xp.ones(len(d), d.dtype)
    return (d.T @ x if needs[0] else None, dh.T @ before if needs[1] else None,
            ones @ d if needs[2] else None, ones @ dh if needs[3] else None)


# -- LSTM --------------------------------------------------------------------------------------------------------------

def lstm(x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, sizes: Sizes, reverse: bool,
         keep: bool = True) -> tuple:
    """i, f, o = σ(W x + V h + b), g = tanh(W x + V h + b), c' = f·c + i·g, h' = o·tanh(c'), projected by w_hr where there is one.

    Args:
        x: (rows, inputs).
        h: the first states, (sequences, outputs).
        c: the first cells, (sequences, hidden).
        w_ih: (4·hidden, inputs), for i, f, g, o.
        w_hh: (4·hidden, outputs).
        b_ih: (4·hidden), or None.
        b_hh: (4·hidden), or None.
        w_hr: (outputs, hidden), or None where outputs = hidden.
        sizes: how many sequences take part in each step.
        reverse: begin at the last step.
        keep: whether what the way back needs is returned too; an engine may return None in its place.

    Returns:
        The states of all rows, the last states, the last cells; and for the way back the gates (rows, 4·hidden), the cells of all
        rows, and their tanh.
    """
    xp = namespace(x)
    hidden = len(w_hh) // 4
    half = xp.full(4 * hidden, 0.5, x.dtype)
    half[2 * hidden:3 * hidden] = 1
    shift = 1 - half
    gates = x @ _scaled(xp, w_ih, half)
    if b_ih is not None:
        gates += (b_ih + b_hh) * half
    v = _scaled(xp, w_hh, half)
    y, cells, tanhs = (empty(xp, (len(x), n), x.dtype) for n in (h.shape[1], hidden, hidden))
    first_h, first_c = h, c
    last_h, last_c = empty(xp, h.shape, x.dtype), empty(xp, c.shape, x.dtype)
    h, c = h[:0], c[:0]
    for rows in _steps(sizes, reverse):
        z, new_h, new_c, tanh_c = gates[rows], y[rows], cells[rows], tanhs[rows]
        n = len(z)
        if n != len(h):
            h, c = _resize(xp, h, n, first_h, last_h), _resize(xp, c, n, first_c, last_c)
        z += h @ v
        xp.tanh(z, out=z)
        z *= half
        z += shift
        i, f, g, o = (z[:, k:k + hidden] for k in range(0, 4 * hidden, hidden))
        xp.multiply(f, c, out=new_c)
        new_c += i * g
        xp.tanh(new_c, out=tanh_c)
        if w_hr is None:
            xp.multiply(o, tanh_c, out=new_h)
        else:
            xp.matmul(o * tanh_c, w_hr.T, out=new_h)
        h, c = new_h, new_c
    last_h[:len(h)], last_c[:len(c)] = h, c
    return y, last_h, last_c, gates, cells, tanhs


def lstm_backward(dy: Any, dh: Any, dc: Any, x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, sizes: Sizes,
                  reverse: bool, y: Any, gates: Any, cells: Any, tanhs: Any, needs: Sequence[bool]) -> tuple:
    """The gradients of x, h, c, w_ih, w_hh, b_ih, b_hh and w_hr, from those of all states, the last states and the last cells.

    With dh the gradient of h' and dc that of c', which comes from the next step and through h' = o·tanh(c'):
    do = dh·tanh(c'), dc += dh·o·(1 - tanh²(c')), di = dc·g, df = dc·c, dg = dc·i, and on to the step before it is dc·f.
    """
    xp = namespace(x)
    hidden = cells.shape[1]
    i, f, g, o = (gates[:, k:k + hidden] for k in range(0, 4 * hidden, hidden))
    d = empty(xp, (len(x), 4, hidden), x.dtype)      # first the factors, then the gradients of what the gates are the tanh and σ of
    for k, (gate, factor) in enumerate(((i, g), (f, _before(xp, cells, c, sizes, reverse)), (g, i), (o, tanhs))):
        part = d[:, k]
        xp.multiply(gate, gate, out=part)            # tanh' = 1 - tanh², σ' = σ - σ²
        xp.subtract(1 if k == 2 else gate, part, out=part)
        part *= factor
    through = tanhs * tanhs
    xp.subtract(1, through, out=through)
    through *= o
    before = _before(xp, y, h, sizes, reverse) if needs[4] else None
    dys = None if w_hr is None else empty(xp, y.shape, x.dtype)

    last_h, last_c = dh, dc
    first_h, first_c = empty(xp, h.shape, x.dtype), empty(xp, c.shape, x.dtype)
    dh, dc = dh[:0], dc[:0]
    for rows in _steps(sizes, not reverse):
        z = d[rows]
        n = len(z)
        if n != len(dh):
            dh, dc = _resize(xp, dh, n, last_h, first_h), _resize(xp, dc, n, last_c, first_c)
        dh += dy[rows]
        if w_hr is not None:
            dys[rows] = dh                           # type: ignore[index]
            dh = dh @ w_hr
        dc += dh * through[rows]
        z[:, 3] *= dh
        z[:, :3] *= dc[:, None]
        dc *= f[rows]
        dh = z.reshape(n, 4 * hidden) @ w_hh
    first_h[:len(dh)], first_c[:len(dc)] = dh, dc
    d = d.reshape(len(x), 4 * hidden)
    return (d @ w_ih if needs[0] else None, first_h, first_c, *_weight_gradients(xp, d, d, x, before, needs[3:]),
            None if w_hr is None else dys.T @ (o * tanhs))     # type: ignore[union-attr]


# -- GRU ---------------------------------------------------------------------------------------------------------------

def gru(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, sizes: Sizes, reverse: bool, keep: bool = True) -> tuple:
    """r, z = σ(W x + b + V h + e), n = tanh(W x + b + r·(V h + e)), h' = (1 - z)·n + z·h.

    Args:
        x: (rows, inputs).
        h: the first states, (sequences, hidden).
        w_ih: (3·hidden, inputs), for r, z, n.
        w_hh: (3·hidden, hidden).
        b_ih: (3·hidden), or None.
        b_hh: (3·hidden), or None.
        sizes: how many sequences take part in each step.
        reverse: begin at the last step.
        keep: whether what the way back needs is returned too; an engine may return None in its place.

    Returns:
        The states of all rows, the last states; and for the way back the gates (rows, 3·hidden) and V h + e of n, (rows, hidden).
    """
    xp = namespace(x)
    hidden = h.shape[1]
    half = xp.full(3 * hidden, 0.5, x.dtype)
    half[2 * hidden:] = 1
    gates = x @ _scaled(xp, w_ih, half)
    if b_ih is not None:
        gates += b_ih * half
        gates[:, :2 * hidden] += b_hh[:2 * hidden] * half[0:1]
    v = _scaled(xp, w_hh, half)
    y, inner = (empty(xp, (len(x), hidden), x.dtype) for _ in range(2))
    first, last, h = h, empty(xp, h.shape, x.dtype), h[:0]
    for rows in _steps(sizes, reverse):
        rz, n, new, inner_n = gates[rows, :2 * hidden], gates[rows, 2 * hidden:], y[rows], inner[rows]
        if len(n) != len(h):
            h = _resize(xp, h, len(n), first, last)
        vh = h @ v
        rz += vh[:, :2 * hidden]
        xp.tanh(rz, out=rz)
        rz *= 0.5
        rz += 0.5
        if b_hh is None:
            inner_n[...] = vh[:, 2 * hidden:]
        else:
            xp.add(vh[:, 2 * hidden:], b_hh[2 * hidden:], out=inner_n)
        n += rz[:, :hidden] * inner_n
        xp.tanh(n, out=n)
        xp.subtract(h, n, out=new)
        new *= rz[:, hidden:]
        new += n
        h = new
    last[:len(h)] = h
    return y, last, gates, inner


def gru_backward(dy: Any, dh: Any, x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, sizes: Sizes, reverse: bool, y: Any,
                 gates: Any, inner: Any, needs: Sequence[bool]) -> tuple:
    """The gradients of x, h, w_ih, w_hh, b_ih and b_hh, from those of all states and of the last states.

    With dh the gradient of h': dn = dh·(1 - z)·tanh', dr = dn·(V h + e)·σ', dz = dh·(h - n)·σ', the product inside n gets dn·r, and on
    to the step before goes, beside what the products hand on, dh·z.
    """
    xp = namespace(x)
    hidden = h.shape[1]
    r, z, n = (gates[:, k:k + hidden] for k in range(0, 3 * hidden, hidden))
    before = _before(xp, y, h, sizes, reverse)
    d = empty(xp, (len(x), 4, hidden), x.dtype)      # of V h + e inside n, of r, z, n: the first three belong to V h, the last three to W x
    d_inner, d_r, d_z, d_n = (d[:, k] for k in range(4))
    xp.multiply(n, n, out=d_n)
    xp.subtract(1, d_n, out=d_n)
    d_n *= 1 - z
    xp.multiply(d_n, r, out=d_inner)
    xp.subtract(1, r, out=d_r)
    d_r *= d_inner
    d_r *= inner
    xp.multiply(z, z, out=d_z)
    xp.subtract(z, d_z, out=d_z)
    d_z *= before - n
    v = xp.concatenate([w_hh[2 * hidden:], w_hh[:2 * hidden]])

    last, first, dh = dh, empty(xp, h.shape, x.dtype), dh[:0]
    for rows in _steps(sizes, not reverse):
        part = d[rows]
        if len(part) != len(dh):
            dh = _resize(xp, dh, len(part), last, first)
        dh += dy[rows]
        part *= dh[:, None]
        dh *= z[rows]
        dh += part.reshape(len(part), 4 * hidden)[:, :3 * hidden] @ v
    first[:len(dh)] = dh
    d = d.reshape(len(x), 4 * hidden)
    dw_ih, dw_hh, db_ih, db_hh = _weight_gradients(xp, d[:, hidden:], d[:, :3 * hidden], x, before, needs[2:])
    dw_hh, db_hh = (None if g is None else xp.concatenate([g[hidden:], g[:hidden]]) for g in (dw_hh, db_hh))
    return d[:, hidden:] @ w_ih if needs[0] else None, first, dw_ih, dw_hh, db_ih, db_hh


# -- the simple RNN ----------------------------------------------------------------------------------------------------

def rnn(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, relu: bool, sizes: Sizes, reverse: bool) -> tuple:
    """h' = tanh(W x + V h + b), or the positive part in place of the tanh.

    Args:
        x: (rows, inputs).
        h: the first states, (sequences, hidden).
        w_ih: (hidden, inputs).
        w_hh: (hidden, hidden).
        b_ih: (hidden), or None.
        b_hh: (hidden), or None.
        relu: the positive part in place of the tanh.
        sizes: how many sequences take part in each step.
        reverse: begin at the last step.

    Returns:
        The states of all rows and the last states.
    """
    xp = namespace(x)
    y = x @ w_ih.T
    if b_ih is not None:
        y += b_ih + b_hh
    v = w_hh.T
    first, last, h = h, empty(xp, h.shape, x.dtype), h[:0]
    for rows in _steps(sizes, reverse):
        new = y[rows]
        if len(new) != len(h):
            h = _resize(xp, h, len(new), first, last)
        new += h @ v
        if relu:
            xp.maximum(new, 0, out=new)
        else:
            xp.tanh(new, out=new)
        h = new
    last[:len(h)] = h
    return y, last


def rnn_backward(dy: Any, dh: Any, x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, relu: bool, sizes: Sizes, reverse: bool,
                 y: Any, needs: Sequence[bool]) -> tuple:
    """The gradients of x, h, w_ih, w_hh, b_ih and b_hh, from those of all states and of the last states: dh·(1 - h'²), or dh·[h' > 0]."""
    xp = namespace(x)
    if relu:
        d = (y > 0).astype(x.dtype)
    else:
        d = y * y
        xp.subtract(1, d, out=d)
    last, first, dh = dh, empty(xp, h.shape, x.dtype), dh[:0]
    for rows in _steps(sizes, not reverse):
        part = d[rows]
        if len(part) != len(dh):
            dh = _resize(xp, dh, len(part), last, first)
        dh += dy[rows]
        part *= dh
        dh = part @ w_hh
    first[:len(dh)] = dh
    before = _before(xp, y, h, sizes, reverse) if needs[3] else None
    return d @ w_ih if needs[0] else None, first, *_weight_gradients(xp, d, d, x, before, needs[2:])
