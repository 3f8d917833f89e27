"""Recurrent layers over whole sequences: RNN, LSTM and GRU."""
from __future__ import annotations

import numbers
import warnings
from typing import Any

from ...errors import ShapeError
from ...ops.creation import empty, zeros
from ...ops.index import index_select
from ...ops.join import cat, stack
from ...ops.recurrent import gru_layer, lstm_layer, rnn_layer
from ...tensor import Tensor
from .. import functional as F
from ..parameter import Parameter
from ..utils.rnn import PackedSequence
from .cells import Recurrent

__all__ = ["GRU", "LSTM", "RNN", "RNNBase"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class RNNBase(Recurrent):
    """The base class of RNN, LSTM and GRU.

    Args:
        mode: "RNN_TANH", "RNN_RELU", "LSTM" or "GRU".
        input_size: how many features the input has.
        hidden_size: how many the state has.
        num_layers: how many layers, each of which takes the states of the one before as its input.
        bias: whether there are biases.
        batch_first: whether inputs and outputs are (sequences, steps, features) in place of (steps, sequences, features).
        dropout: the probability with which the outputs of all layers but the last are zeroed in training.
        bidirectional: whether each layer also runs from the last step to the first; its outputs are then both directions'.
        proj_size: project the states of an LSTM to so many features; 0 for not at all.
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.

    Raises:
        ValueError: sizes that are not positive, a dropout outside [0, 1], a proj_size that is not below hidden_size.

    Example:
        >>> import tinygrad_ed as tg
        >>> [name for name, _ in tg.nn.RNNBase("GRU", 3, 4, bidirectional=True, bias=False).named_parameters()]
        ['weight_ih_l0', 'weight_hh_l0', 'weight_ih_l0_reverse', 'weight_hh_l0_reverse']
    """

    def __init__(self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
                 dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, device: Any = None, dtype: Any = None):
        super().__init__()
        self.mode, self.input_size, self.hidden_size, self.num_layers, self.bias = mode, input_size, hidden_size, num_layers, bias
        self.batch_first, self.dropout, self.bidirectional, self.proj_size = batch_first, float(dropout), bidirectional, proj_size
        self._check_arguments(dropout)
        gates, outputs = _GATES[mode] * hidden_size, proj_size or hidden_size
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else outputs * (1 + bidirectional)
            shapes = {"weight_ih": (gates, inputs), "weight_hh": (gates, outputs), "bias_ih": (gates,), "bias_hh": (gates,),
                      "weight_hr": (proj_size, hidden_size)}
            for suffix in self._suffixes(layer):
                for name in self._kinds():
                    self.register_parameter(name + suffix, Parameter(empty(*shapes[name], device=device, dtype=dtype)))
        self.reset_parameters()

    def _check_arguments(self, dropout: Any) -> None:
        name = type(self).__name__
        if self.mode not in _GATES:
            raise ValueError(f"mode is one of {', '.join(_GATES)}, got {self.mode!r}")
        if isinstance(dropout, bool) or not isinstance(dropout, numbers.Number) or not 0 <= dropout <= 1:       # type: ignore[operator]
            raise ValueError(f"{name}: dropout is the probability of a zero, in [0, 1], got {dropout!r}")
        if dropout > 0 and self.num_layers == 1:                                                                # type: ignore[operator]
            warnings.warn(f"{name}: dropout={dropout} acts between layers, and there is one layer: it does nothing", stacklevel=4)
        if not isinstance(self.hidden_size, int):
            raise TypeError(f"{name}: hidden_size is an int, got {type(self.hidden_size).__name__}")
        for what in ("hidden_size", "num_layers"):
            if getattr(self, what) <= 0:
                raise ValueError(f"{name}: {what} is at least 1, got {getattr(self, what)}")
        if self.proj_size < 0 or self.proj_size >= self.hidden_size:
            raise ValueError(f"{name}: proj_size is at least 0 and less than hidden_size={self.hidden_size}, got {self.proj_size}")
        if self.proj_size and self.mode != "LSTM":
            raise ValueError(f"{name}: only an LSTM takes a proj_size, got {self.proj_size}")

    def _suffixes(self, layer: int) -> list[str]:
        """What the names of a layer's parameters end in, for each direction."""
        return [f"_l{layer}", f"_l{layer}_reverse"][:1 + self.bidirectional]

    def _kinds(self) -> list[str]:
        """What the names of a direction's parameters begin with."""
        return ["weight_ih", "weight_hh"] + ["bias_ih", "bias_hh"] * bool(self.bias) + ["weight_hr"] * bool(self.proj_size)

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters, a list for each layer and direction."""
        suffixes = [suffix for layer in range(self.num_layers) for suffix in self._suffixes(layer)]
        return [[getattr(self, kind + suffix) for kind in self._kinds()] for suffix in suffixes]

    def flatten_parameters(self) -> None:
        """Does nothing: accepted as in PyTorch, where it arranges the parameters' memory for cuDNN."""

    def _layer(self, x: Tensor, states: tuple, suffix: str, sizes: tuple[int, ...]) -> tuple:
        """One layer in one direction: the states of all rows, and the last states."""
        parameters = [self._parameters.get(kind + suffix) for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")]
        options: dict[str, Any] = {"sizes": sizes, "reverse": suffix.endswith("reverse")}
        if self.mode == "LSTM":
            return lstm_layer(x, states, *parameters, **options)           # type: ignore[arg-type]
        if self.mode == "GRU":
            return gru_layer(x, states[0], *parameters[:4], **options)     # type: ignore[arg-type]
        return rnn_layer(x, states[0], *parameters[:4], **options, relu=self.mode == "RNN_RELU")      # type: ignore[arg-type]

    def _layers(self, x: Tensor, states: tuple, sizes: tuple[int, ...]) -> tuple:
        """All layers on rows: the states of the last layer's rows, and the last states of all, (layers·directions, sequences, features)."""
        last: list[tuple] = []
        for layer in range(self.num_layers):
            if layer > 0 and self.dropout > 0 and self.training:
                x = F.dropout(x, self.dropout)
            directions = [self._layer(x, tuple(s[len(last) + k] for s in states), suffix, sizes)
                          for k, suffix in enumerate(self._suffixes(layer))]
            x = directions[0][0] if len(directions) == 1 else cat([y for y, *_ in directions], 1)
            last += [tuple(final) for _, *final in directions]
        return x, tuple(stack(final) for final in zip(*last))

    def _initial(self, hx: Any, like: Tensor, batch: int, batched: bool) -> tuple:
        """The first states as given, or zeros, as a tuple of (layers·directions, sequences, features)."""
        name, is_lstm = type(self).__name__, self.mode == "LSTM"
        rows = self.num_layers * (1 + self.bidirectional)
        widths = {"h_0": self.proj_size or self.hidden_size, "c_0": self.hidden_size}
        shapes = {k: (rows, batch, width) for k, width in list(widths.items())[:1 + is_lstm]}
        if hx is None:
            return tuple(zeros(*shape, dtype=like.dtype, device=like.device) for shape in shapes.values())
        if isinstance(hx, Tensor) is is_lstm or (is_lstm and len(hx) != 2):
            raise TypeError(f"{name} takes {'a pair (h_0, c_0)' if is_lstm else 'a tensor h_0'} as its first state, got "
                            f"{f'a tensor of shape {hx.shape}' if isinstance(hx, Tensor) else f'{len(hx)} values'}")
        states = hx if is_lstm else (hx,)
        for state, (what, shape) in zip(states, shapes.items()):
            wanted = shape if batched else (shape[0], shape[2])
            if state.shape != wanted:
                raise ShapeError(f"{name}: {what} has shape {wanted} = (layers·directions, {'sequences, ' if batched else ''}features), "
                                 f"got {state.shape}")
        return tuple(states) if batched else tuple(s.unsqueeze(1) for s in states)

    def forward(self, input: Any, hx: Any = None) -> tuple:
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        name, batched = type(self).__name__, input.ndim == 3
        if input.ndim not in (2, 3) or input.shape[-1] != self.input_size:
            order = "sequences, steps" if self.batch_first else "steps, sequences"
            raise ShapeError(f"{name} with input_size={self.input_size} takes ({order}, {self.input_size}) or (steps, {self.input_size}), "
                             f"got shape {input.shape}")
        x = input.unsqueeze(1) if not batched else input.transpose(0, 1) if self.batch_first else input
        steps, batch, _ = x.shape
        if steps == 0:
            raise ShapeError(f"{name} takes sequences of at least one step, got shape {input.shape}")
        states = self._initial(hx, input, batch, batched)
        y, last = self._layers(x.reshape(steps * batch, self.input_size), states, (batch,) * steps)
        y = y.reshape(steps, batch, y.shape[1])
        if not batched:
            y, last = y.squeeze(1), tuple(s.squeeze(1) for s in last)
        elif self.batch_first:
            y = y.transpose(0, 1)
        return y, last if self.mode == "LSTM" else last[0]

    def _forward_packed(self, input: PackedSequence, hx: Any) -> tuple:
        data, batch_sizes, order, inverse = input
        sizes = tuple(batch_sizes.tolist())
        if data.ndim != 2 or data.shape[1] != self.input_size:
            raise ShapeError(f"{type(self).__name__} with input_size={self.input_size} takes packed data (rows, {self.input_size}), "
                             f"got shape {data.shape}")
        states = self._initial(hx, data, sizes[0], True)
        if order is not None and hx is not None:
            states = tuple(index_select(s, 1, order) for s in states)
        y, last = self._layers(data, states, sizes)
        if inverse is not None:
            last = tuple(index_select(s, 1, inverse) for s in last)
        return PackedSequence(y, batch_sizes, order, inverse), last if self.mode == "LSTM" else last[0]

    def extra_repr(self) -> str:
        defaults = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0, "bidirectional": False}
        changed = [f"{name}={getattr(self, name)}" for name, default in defaults.items() if getattr(self, name) != default]
        return ", ".join([str(self.input_size), str(self.hidden_size), *changed])


class RNN(RNNBase):
    """A simple recurrent network (Elman, 1990): h_t = tanh(W x_t + b + V h_{t-1} + e).

    Args:
        input_size: how many features the input has.
        hidden_size: how many the state has.
        num_layers: how many layers, each of which takes the states of the one before as its input.
        nonlinearity: "tanh", or "relu" for max(·, 0) in its place.
        bias: whether there are the biases b and e.
        batch_first: whether inputs and outputs are (sequences, steps, features) in place of (steps, sequences, features).
        dropout: the probability with which the outputs of all layers but the last are zeroed in training.
        bidirectional: whether each layer also runs from the last step to the first; its outputs are then both directions'.
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.

    Shapes:
        Input: (steps, sequences, input_size), (steps, input_size) for one sequence, or a PackedSequence; and the first state
        h_0: (layers·directions, sequences, hidden_size), zeros by default. Output: (steps, sequences, directions·hidden_size), the
        states of the last layer, and h_n, the last states of all layers, like h_0. weight_ih_l0: (hidden_size, input_size).

    Example:
        >>> import tinygrad_ed as tg
        >>> output, h_n = tg.nn.RNN(10, 20, num_layers=2)(tg.ones(5, 3, 10))
        >>> output.shape, h_n.shape
        ((5, 3, 20), (2, 3, 20))
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, device: Any = None, dtype: Any = None):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f'nonlinearity is "tanh" or "relu", got {nonlinearity!r}')
        super().__init__("RNN_" + nonlinearity.upper(), input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         device=device, dtype=dtype)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997): a cell c that gates write, keep and read.

    i, f, o = σ(W x_t + b + V h_{t-1} + e), g = tanh(W x_t + b + V h_{t-1} + e), each with its own W, b, V, e;
    c_t = f·c_{t-1} + i·g, h_t = o·tanh(c_t).

    Args:
        input_size: how many features the input has.
        hidden_size: how many cells there are.
        num_layers: how many layers, each of which takes the states of the one before as its input.
        bias: whether there are the biases b and e.
        batch_first: whether inputs and outputs are (sequences, steps, features) in place of (steps, sequences, features).
        dropout: the probability with which the outputs of all layers but the last are zeroed in training.
        bidirectional: whether each layer also runs from the last step to the first; its outputs are then both directions'.
        proj_size: project the states h to so many features, less than hidden_size; 0 for not at all.
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.

    Shapes:
        Input: (steps, sequences, input_size), (steps, input_size) for one sequence, or a PackedSequence; and the first state
        (h_0, c_0), each (layers·directions, sequences, hidden_size), zeros by default. Output: (steps, sequences,
        directions·hidden_size), the states of the last layer, and (h_n, c_n), the last states of all layers. With proj_size, h
        and the output have proj_size in place of hidden_size. weight_ih_l0: (4·hidden_size, input_size), for i, f, g, o.

    Example:
        >>> import tinygrad_ed as tg
        >>> output, (h_n, c_n) = tg.nn.LSTM(10, 20, bidirectional=True)(tg.ones(5, 3, 10))
        >>> output.shape, c_n.shape
        ((5, 3, 40), (2, 3, 20))
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
                 dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, device: Any = None, dtype: Any = None):
        super().__init__("LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype)


class GRU(RNNBase):
    """Gated recurrent units (Cho et al., 2014): a state that one gate resets and another keeps.

    r, z = σ(W x_t + b + V h_{t-1} + e), n = tanh(W x_t + b + r·(V h_{t-1} + e)), each with its own W, b, V, e;
    h_t = (1 - z)·n + z·h_{t-1}.

    Args:
        input_size: how many features the input has.
        hidden_size: how many the state has.
        num_layers: how many layers, each of which takes the states of the one before as its input.
        bias: whether there are the biases b and e.
        batch_first: whether inputs and outputs are (sequences, steps, features) in place of (steps, sequences, features).
        dropout: the probability with which the outputs of all layers but the last are zeroed in training.
        bidirectional: whether each layer also runs from the last step to the first; its outputs are then both directions'.
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.

    Shapes:
        Input: (steps, sequences, input_size), (steps, input_size) for one sequence, or a PackedSequence; and the first state
        h_0: (layers·directions, sequences, hidden_size), zeros by default. Output: (steps, sequences, directions·hidden_size), the
        states of the last layer, and h_n, the last states of all layers, like h_0. weight_ih_l0: (3·hidden_size, input_size), for
        r, z, n.

    Example:
        >>> import tinygrad_ed as tg
        >>> output, h_n = tg.nn.GRU(10, 20, batch_first=True)(tg.ones(3, 5, 10))
        >>> output.shape, h_n.shape
        ((3, 5, 20), (1, 3, 20))
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
                 dropout: float = 0.0, bidirectional: bool = False, device: Any = None, dtype: Any = None):
        super().__init__("GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device=device, dtype=dtype)
