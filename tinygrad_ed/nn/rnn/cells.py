"""Recurrent cells: one step of an RNN, LSTM or GRU."""
from __future__ import annotations

import math
from typing import Any, Callable

from ...errors import ShapeError
from ...ops.creation import empty, zeros
from ...ops.recurrent import gru_cell, lstm_cell, rnn_relu_cell, rnn_tanh_cell
from ...tensor import Tensor
from .. import init
from ..module import Module
from ..parameter import Parameter

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "RNNCellBase"]


class Recurrent(Module):
    """What layers and cells share."""

    hidden_size: int

    def reset_parameters(self) -> None:
        """Draw all parameters anew, uniform in ±1/√hidden_size."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0.0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)


class RNNCellBase(Recurrent):
    """The base class of RNNCell, LSTMCell and GRUCell.

    Args:
        input_size: how many features the input has.
        hidden_size: how many the state has.
        bias: whether there are biases.
        num_chunks: how many gates there are: the weights have num_chunks·hidden_size rows.
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.

    Example:
        >>> import tinygrad_ed as tg
        >>> [tuple(p.shape) for p in tg.nn.RNNCellBase(3, 4, True, num_chunks=2).parameters()]
        [(8, 3), (8, 4), (8,), (8,)]
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None):
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = num_chunks * hidden_size
        made = lambda *shape: Parameter(empty(*shape, device=device, dtype=dtype))
        self.weight_ih, self.weight_hh = made(rows, input_size), made(rows, hidden_size)
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, made(rows) if bias else None)
        self.reset_parameters()

    def _step(self, function: Callable, input: Tensor, states: tuple) -> tuple[Tensor, ...]:
        """The function's results; one sequence without its dimension is given one on the way."""
        name, batched = type(self).__name__, input.ndim == 2
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise ShapeError(f"{name} takes an input (sequences, {self.input_size}) or ({self.input_size},), got shape {input.shape}")
        wanted = (*input.shape[:-1], self.hidden_size)
        states = tuple(zeros(*wanted, dtype=input.dtype, device=input.device) if s is None else s for s in states)
        for state in states:
            if state.shape != wanted:
                raise ShapeError(f"{name}: for an input of shape {input.shape} the state has shape {wanted}, got {state.shape}")
        if not batched:
            input, states = input.unsqueeze(0), tuple(s.unsqueeze(0) for s in states)
        new = function(input, states if len(states) > 1 else states[0], self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        new = new if isinstance(new, tuple) else (new,)
        return new if batched else tuple(s.squeeze(0) for s in new)

    def extra_repr(self) -> str:
        relu = getattr(self, "nonlinearity", "tanh")
        return (f"{self.input_size}, {self.hidden_size}" + ("" if self.bias is True else f", bias={self.bias}")
                + ("" if relu == "tanh" else f", nonlinearity={relu}"))


class RNNCell(RNNCellBase):
    """One step of a simple recurrent network, h' = tanh(W x + b + V h + e).

    Args:
        input_size: how many features the input has.
        hidden_size: how many the state has.
        bias: whether there are the biases b and e.
        nonlinearity: "tanh", or "relu" for max(·, 0) in its place.
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.

    Shapes:
        Input: (sequences, input_size) or (input_size), and the state (sequences, hidden_size) or (hidden_size), zeros by default.
        Output: the new state. weight_ih: (hidden_size, input_size). weight_hh: (hidden_size, hidden_size).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.RNNCell(10, 20)(tg.ones(3, 10)).shape
        (3, 20)
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", device: Any = None,
                 dtype: Any = None):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f'nonlinearity is "tanh" or "relu", got {nonlinearity!r}')
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(rnn_relu_cell if self.nonlinearity == "relu" else rnn_tanh_cell, input, (hx,))[0]


class LSTMCell(RNNCellBase):
    """One step of an LSTM: i, f, o = σ(W x + b + V h + e), g = tanh(W x + b + V h + e), c' = f·c + i·g, h' = o·tanh(c').

    Args:
        input_size: how many features the input has.
        hidden_size: how many cells there are.
        bias: whether there are the biases b and e.
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.

    Shapes:
        Input: (sequences, input_size) or (input_size), and the state (h, c), each (sequences, hidden_size) or (hidden_size), zeros by
        default. Output: the new (h, c). weight_ih: (4·hidden_size, input_size). weight_hh: (4·hidden_size, hidden_size).

    Example:
        >>> import tinygrad_ed as tg
        >>> h, c = tg.nn.LSTMCell(10, 20)(tg.ones(3, 10))
        >>> h.shape, c.shape
        ((3, 20), (3, 20))
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        h, c = self._step(lstm_cell, input, (None, None) if hx is None else tuple(hx))
        return h, c


class GRUCell(RNNCellBase):
    """One step of a GRU: r, z = σ(W x + b + V h + e), n = tanh(W x + b + r·(V h + e)), h' = (1 - z)·n + z·h.

    Args:
        input_size: how many features the input has.
        hidden_size: how many the state has.
        bias: whether there are the biases b and e.
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.

    Shapes:
        Input: (sequences, input_size) or (input_size), and the state (sequences, hidden_size) or (hidden_size), zeros by default.
        Output: the new state. weight_ih: (3·hidden_size, input_size). weight_hh: (3·hidden_size, hidden_size).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.GRUCell(10, 20)(tg.ones(3, 10)).shape
        (3, 20)
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(gru_cell, input, (hx,))[0]
