"""Recurrent layers by compiled loops: a few sequences at a time go through all steps. `plain/recurrent.py` has the formulas.

The products with the input and the weights' gradients are also made here, so that NumPy's threads and ours never take turns.
"""
from __future__ import annotations

from functools import lru_cache
from typing import Any, Sequence

import numpy as np

from .. import plain
from . import _native
from .arrays import fitted
from .matmul import linear

__all__ = ["gru", "gru_backward", "lstm", "lstm_backward", "rnn", "rnn_backward"]

Sizes = Sequence[int]
_PANEL = 128             # bytes of a panel's row, as in c/product.h
_FEW = 8                 # sequences below which a step's products with the inputs are slow


# -- what the layers share ---------------------------------------------------------------------------------------------

@lru_cache(maxsize=64)
def _steps(sizes: tuple[int, ...]) -> tuple[Any, Any]:
    """The number of rows of every step, and the first of them."""
    counts = np.array(sizes, np.int64)
    return counts, np.cumsum(counts) - counts


def _together(sequences: int) -> int:
    """How many sequences make a piece: a multiple of the rows of a tile."""
    return 16 if sequences >= 32 else 8


def _panels(x: Any, rows: int, columns: int) -> Any:
    """Memory for the panels of a matrix."""
    width = _PANEL // x.itemsize
    return np.empty((-(-columns // width), rows, width), x.dtype)


def _packed(x: Any, transposed: bool = False) -> Any:
    """A matrix, or what it is the transposed of, in panels."""
    rows, columns = x.shape[::-1] if transposed else x.shape
    panels = _panels(x, rows, columns)
    strides = (1, x.shape[1]) if transposed else (x.shape[1], 1)
    _native.pack(len(panels), max(1, (1 << 15) // max(1, rows * panels.shape[2])), x, panels, rows, columns, *strides)
    return panels


def _piece(rows: int) -> int:
    """How many rows of a product make a piece: a multiple of a tile's, and no fewer than needed, since every piece reads all panels."""
    return -(-rows // (16 * _native.threads())) * 8


def _transposed_times(a: Any, panels: Any, out: Any, first: int = 0) -> Any:
    """The product of aᵀ, of columns of a from `first` on, with a packed matrix, in `out`."""
    n = out.shape[1]
    _native.columns_product(len(out), _piece(len(out)), a, panels, None, out, None, n, 0, len(a), a.shape[1], first)
    return out


def _weight_gradients(d: Any, x: Any, before: Any, w_ih: Any, w_hh: Any, needs: Sequence[bool]) -> tuple:
    """dᵀ x and dᵀ times the packed states before, as far as they are needed; both at once read d once."""
    dw_ih, dw_hh = (np.empty_like(w) if need else None for w, need in zip((w_ih, w_hh), needs))
    if dw_ih is None or dw_hh is None:
        return (dw_ih if dw_ih is None else _transposed_times(d, _packed(x), dw_ih), dw_hh if dw_hh is None else _transposed_times(d, before, dw_hh))
    n, m = dw_ih.shape[1], dw_hh.shape[1]
    _native.columns_product(len(w_hh), _piece(len(w_hh)), d, before, _packed(x), dw_hh, dw_ih, m, n, len(d), d.shape[1], 0)
    return dw_ih, dw_hh


def _inputs(x: Any, w_ih: Any, sequences: int, keep: bool) -> tuple[Any, Any, Any]:
    """What the kernels take for the products with the inputs: x, the packed weights, and memory for all rows or for those of a step.

    Where a step has few rows it is faster to make the products of all rows at once: then nothing, nothing, and these.
    """
    if sequences < _FEW:
        return None, None, linear(x, w_ih, None)
    return x, _packed(w_ih, transposed=True), np.empty((len(x) if keep else sequences, len(w_ih)), x.dtype)


def _bias(b_ih: Any, b_hh: Any, w_ih: Any) -> Any:
    """The sum of the biases, or zeros."""
    return np.zeros(len(w_ih), w_ih.dtype) if b_ih is None else b_ih + b_hh


def _inputs_gradient(x: Any, w_ih: Any, need: bool) -> tuple[Any, Any]:
    """What the kernels take for the gradient of the inputs: the packed weights, and memory."""
    return (_packed(w_ih), np.empty_like(x)) if need else (None, None)


def _suited(x: Any, w_hh: Any, *arrays: Any) -> tuple | None:
    """The arrays, contiguous, or None where they do not suit the kernels."""
    return fitted(x, w_hh, *arrays) if x.size and w_hh.size else None


# -- LSTM --------------------------------------------------------------------------------------------------------------

def lstm(x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, sizes: Sizes, reverse: bool,
         keep: bool = True) -> tuple:
    suited = _suited(x, w_hh, h, c, w_ih, b_ih, b_hh, w_hr)
    if suited is None:
        return plain.lstm(x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr, sizes, reverse, keep)
    x, w_hh, h, c, w_ih, b_ih, b_hh, w_hr = suited
    (n, hidden), outputs = c.shape, h.shape[1]
    keep = keep or n < _FEW
    inputs, w, gates = _inputs(x, w_ih, n, keep)
    cells, tanhs = np.empty((2, len(x) if keep else n, hidden), x.dtype)
    y, h, c = np.empty((len(x), outputs), x.dtype), h.copy(), c.copy()
    r, inner = (None, None) if w_hr is None else (_packed(w_hr, transposed=True), np.empty((n, hidden), x.dtype))
    _native.lstm(n, _together(n), *_steps(tuple(sizes)), inputs, w, _bias(b_ih, b_hh, w_ih), _packed(w_hh, transposed=True), r,
                 inner, gates, y, cells, tanhs, h, c, len(sizes), x.shape[1], hidden, outputs, reverse, keep)
    return y, h, c, *((gates, cells, tanhs) if keep else (None,) * 3)


def lstm_backward(dy: Any, dh: Any, dc: Any, x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, sizes: Sizes,
                  reverse: bool, y: Any, gates: Any, cells: Any, tanhs: Any, needs: Sequence[bool]) -> tuple:
    suited = _suited(x, w_hh, dy, dh, dc, h, c, w_ih, b_ih, b_hh, w_hr, y, gates, cells, tanhs)
    if suited is None:
        return plain.lstm_backward(dy, dh, dc, x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr, sizes, reverse, y, gates, cells, tanhs, needs)
    x, w_hh, dy, dh, dc, h, c, w_ih, b_ih, b_hh, w_hr, y, gates, cells, tanhs = suited
    rows, (n, hidden), outputs, piece = len(x), c.shape, h.shape[1], _together(len(c))
    dh, dc, d, parts = dh.copy(), dc.copy(), np.empty((rows, 4 * hidden), x.dtype), np.empty((-(-n // piece), 4 * hidden), x.dtype)
    before = _panels(x, rows, outputs) if needs[4] else None
    r, inner, dys = (None,) * 3 if w_hr is None else (_packed(w_hr), np.empty((n, hidden), x.dtype), np.empty((rows, outputs), x.dtype))
    w, dx = _inputs_gradient(x, w_ih, needs[0])
    _native.lstm_backward(n, piece, *_steps(tuple(sizes)), _packed(w_hh), r, inner, gates, y, cells, tanhs, h, c, dy, dh, dc, d, parts, dys, before,
                          w, dx, len(sizes), rows, x.shape[1], hidden, outputs, reverse, piece)
    o = gates[:, 3 * hidden:]
    dw_hr = None if w_hr is None else _transposed_times(dys, _packed(o * tanhs), np.empty_like(w_hr))
    return (dx, dh, dc, *_weight_gradients(d, x, before, w_ih, w_hh, needs[3:]), *_bias_gradients(parts.sum(axis=0), needs[5:]), dw_hr)


def _bias_gradients(total: Any, needs: Sequence[bool]) -> tuple:
    """The same gradient for both biases, in arrays of their own."""
    return total if needs[0] else None, total.copy() if needs[1] else None


# -- GRU ---------------------------------------------------------------------------------------------------------------

def gru(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, sizes: Sizes, reverse: bool, keep: bool = True) -> tuple:
    suited = _suited(x, w_hh, h, w_ih, b_ih, b_hh)
    if suited is None:
        return plain.gru(x, h, w_ih, w_hh, b_ih, b_hh, sizes, reverse, keep)
    x, w_hh, h, w_ih, b_ih, b_hh = suited
    n, hidden = h.shape
    bias, inner_bias = _bias(b_ih, b_hh, w_ih), np.zeros(hidden, x.dtype) if b_hh is None else b_hh[2 * hidden:]
    if b_ih is not None:
        bias[2 * hidden:] = b_ih[2 * hidden:]
    keep = keep or n < _FEW
    inputs, w, gates = _inputs(x, w_ih, n, keep)
    y, inner, h = np.empty((len(x), hidden), x.dtype), np.empty((len(x) if keep else n, hidden), x.dtype), h.copy()
    _native.gru(n, _together(n), *_steps(tuple(sizes)), inputs, w, bias, _packed(w_hh[:2 * hidden], transposed=True),
                _packed(w_hh[2 * hidden:], transposed=True), inner_bias, gates, y, inner, h, len(sizes), x.shape[1], hidden, reverse, keep)
    return y, h, *((gates, inner) if keep else (None, None))


def gru_backward(dy: Any, dh: Any, x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, sizes: Sizes, reverse: bool, y: Any,
                 gates: Any, inner: Any, needs: Sequence[bool]) -> tuple:
    suited = _suited(x, w_hh, dy, dh, h, w_ih, b_ih, b_hh, y, gates, inner)
    if suited is None:
        return plain.gru_backward(dy, dh, x, h, w_ih, w_hh, b_ih, b_hh, sizes, reverse, y, gates, inner, needs)
    x, w_hh, dy, dh, h, w_ih, b_ih, b_hh, y, gates, inner = suited
    rows, (n, hidden), piece = len(x), h.shape, _together(len(h))
    dh, d, parts = dh.copy(), np.empty((rows, 4 * hidden), x.dtype), np.empty((-(-n // piece), 4 * hidden), x.dtype)
    before = _panels(x, rows, hidden) if needs[3] else None
    v = _packed(np.concatenate([w_hh[2 * hidden:], w_hh[:2 * hidden]]))
    w, dx = _inputs_gradient(x, w_ih, needs[0])
    _native.gru_backward(n, piece, *_steps(tuple(sizes)), v, gates, y, inner, h, dy, dh, d, parts, before, w, dx, len(sizes), rows, x.shape[1],
                         hidden, reverse, piece)
    d_inner, d_rzn = np.split(parts.sum(axis=0), [hidden])
    dw_hh = np.empty_like(w_hh) if needs[3] else None
    if dw_hh is not None:
        _transposed_times(d, before, dw_hh[:2 * hidden], hidden)
        _transposed_times(d, before, dw_hh[2 * hidden:])
    return (dx, dh, _transposed_times(d, _packed(x), np.empty_like(w_ih), hidden) if needs[2] else None, dw_hh, d_rzn if needs[4] else None,
            np.concatenate([d_rzn[:2 * hidden], d_inner]) if needs[5] else None)


# -- the simple RNN ----------------------------------------------------------------------------------------------------

def rnn(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, relu: bool, sizes: Sizes, reverse: bool) -> tuple:
    suited = _suited(x, w_hh, h, w_ih, b_ih, b_hh)
    if suited is None:
        return plain.rnn(x, h, w_ih, w_hh, b_ih, b_hh, relu, sizes, reverse)
    x, w_hh, h, w_ih, b_ih, b_hh = suited
    n, hidden = h.shape
    inputs, w, y = _inputs(x, w_ih, n, True)
    h = h.copy()
    _native.rnn(n, _together(n), *_steps(tuple(sizes)), inputs, w, _bias(b_ih, b_hh, w_ih), _packed(w_hh, transposed=True), y, h,
                len(sizes), x.shape[1], hidden, relu, reverse)
    return y, h


def rnn_backward(dy: Any, dh: Any, x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, relu: bool, sizes: Sizes, reverse: bool,
                 y: Any, needs: Sequence[bool]) -> tuple:
    suited = _suited(x, w_hh, dy, dh, h, w_ih, b_ih, b_hh, y)
    if suited is None:
        return plain.rnn_backward(dy, dh, x, h, w_ih, w_hh, b_ih, b_hh, relu, sizes, reverse, y, needs)
    x, w_hh, dy, dh, h, w_ih, b_ih, b_hh, y = suited
    rows, (n, hidden), piece = len(x), h.shape, _together(len(h))
    dh, d, parts = dh.copy(), np.empty((rows, hidden), x.dtype), np.empty((-(-n // piece), hidden), x.dtype)
    before = _panels(x, rows, hidden) if needs[3] else None
    w, dx = _inputs_gradient(x, w_ih, needs[0])
    _native.rnn_backward(n, piece, *_steps(tuple(sizes)), _packed(w_hh), y, h, dy, dh, d, parts, before, w, dx, len(sizes), rows, x.shape[1],
                         hidden, relu, reverse, piece)
    return (dx, dh, *_weight_gradients(d, x, before, w_ih, w_hh, needs[2:]), *_bias_gradients(parts.sum(axis=0), needs[4:]))
