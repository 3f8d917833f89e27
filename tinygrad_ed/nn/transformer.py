"""The Transformer (Vaswani et al., 2017): layers of attention and of a small network for each position, in stacks."""
from __future__ import annotations

import copy
import math
from typing import Any, Callable

from ..dtypes import FLOATS
from ..errors import ShapeError
from ..ops.creation import full
from ..ops.shape import triu
from ..tensor import Tensor
from . import functional as F
from . import init
from .attention import MultiheadAttention
from .container import ModuleList
from .dropout import Dropout
from .fused import fused
from .linear import Linear
from .module import Module
from .norm import LayerNorm

__all__ = ["Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer"]


def _activation(activation: Any) -> Callable:
    if isinstance(activation, str):
        if activation not in ("relu", "gelu"):
            raise ValueError(f'activation is "relu", "gelu" or a function, got {activation!r}')
        return getattr(F, activation)
    return activation


def _copies(layer: Module, n: int) -> ModuleList:
    return ModuleList(copy.deepcopy(layer) for _ in range(n))


def _is_causal(mask: Tensor | None, hint: bool | None) -> bool:
    """Whether a mask is the causal one: as the hint says, or by looking at it."""
    if hint is not None or mask is None:
        return bool(hint)
    if mask.ndim != 2 or mask.shape[0] != mask.shape[1] or mask.dtype.kind not in FLOATS:
        return False
    return bool((mask == Transformer.generate_square_subsequent_mask(len(mask), device=mask.device, dtype=mask.dtype)).all())


class _Layer(Module):
    """What both kinds of layer share: attention to itself, and a small network for each position."""

    def _build(self, d_model: int, nhead: int, dim_feedforward: int, dropout: float, activation: Any, layer_norm_eps: float,
               batch_first: bool, norm_first: bool, bias: bool, device: Any, dtype: Any, attentions: tuple[str, ...]) -> None:
        for name in attentions:
            setattr(self, name, MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype))
        self.linear1 = Linear(d_model, dim_feedforward, bias, device, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, device, dtype)
        self.norm_first = norm_first
        steps = range(1, len(attentions) + 2)
        for k in steps:
            setattr(self, f"norm{k}", LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype))
        for k in steps:
            setattr(self, f"dropout{k}", Dropout(dropout))
        self.activation = _activation(activation)

    def _add(self, x: Tensor, k: int, change: Callable[[Tensor], Tensor]) -> Tensor:
        """x plus its change in step k, normalized before or after."""
        norm, dropout = getattr(self, f"norm{k}"), getattr(self, f"dropout{k}")
        return x + dropout(change(norm(x))) if self.norm_first else norm(x + dropout(change(x)))

    def _feed_forward(self, x: Tensor) -> Tensor:
        for step in fused((self.linear1, self.activation, self.dropout, self.linear2)):
            x = step(x)
        return x


class TransformerEncoderLayer(_Layer):
    """Every position attends to all positions, and then goes through a small network of its own.

    x = norm1(x + dropout(attention(x, x, x))), x = norm2(x + dropout(W₂ dropout(activation(W₁ x + b₁)) + b₂)); with norm_first
    x = x + dropout(attention(norm1(x))), x = x + dropout(network(norm2(x))) (Xiong et al., 2020), which is easier to train.

    Args:
        d_model: the width of input and output.
        nhead: how many attention heads.
        dim_feedforward: the width inside the small network.
        dropout: the probability with which elements and attention weights are dropped in training.
        activation: "relu", "gelu" or a function of a tensor.
        layer_norm_eps: the ε of the layer norms.
        batch_first: whether inputs and outputs are (sequences, steps, features) in place of (steps, sequences, features).
        norm_first: normalize before attention and network in place of after them.
        bias: whether linear maps and layer norms have biases.
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.

    Raises:
        ValueError: an unknown activation, or an nhead that does not divide d_model.

    Shapes:
        Input: (L, N, d_model) or (L, d_model). Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.TransformerEncoderLayer(d_model=16, nhead=4, dim_feedforward=32, batch_first=True)
        >>> layer(tg.ones(2, 10, 16)).shape
        (2, 10, 16)
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1, activation: Any = F.relu,
                 layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False, bias: bool = True, device: Any = None,
                 dtype: Any = None):
        super().__init__()
        self._build(d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device, dtype,
                    ("self_attn",))

    def forward(self, src: Tensor, src_mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
                is_causal: bool = False) -> Tensor:
        """Attend to src and change it.

        Args:
            src: the input.
            src_mask: (L, L) or (N·heads, L, L): booleans, True where a position does not see another, or numbers added to the scores.
            src_key_padding_mask: (N, L) or (L): True for positions that are not seen, or numbers.
            is_causal: says that src_mask is the causal one.

        Returns:
            A tensor of src's shape.
        """
        x = self._add(src, 1, lambda x: self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal)[0])
        return self._add(x, 2, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """As an encoder layer, and between attention and network every position also attends to the encoder's output.

    Args:
        d_model: the width of input and output.
        nhead: how many attention heads.
        dim_feedforward: the width inside the small network.
        dropout: the probability with which elements and attention weights are dropped in training.
        activation: "relu", "gelu" or a function of a tensor.
        layer_norm_eps: the ε of the layer norms.
        batch_first: whether inputs and outputs are (sequences, steps, features) in place of (steps, sequences, features).
        norm_first: normalize before attention and network in place of after them.
        bias: whether linear maps and layer norms have biases.
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.

    Raises:
        ValueError: an unknown activation, or an nhead that does not divide d_model.

    Shapes:
        tgt: (L, N, d_model) or (L, d_model). memory: (S, N, d_model) or (S, d_model). Output: like tgt.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.TransformerDecoderLayer(d_model=16, nhead=4, dim_feedforward=32)
        >>> layer(tg.ones(7, 2, 16), tg.ones(10, 2, 16)).shape
        (7, 2, 16)
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1, activation: Any = F.relu,
                 layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False, bias: bool = True, device: Any = None,
                 dtype: Any = None):
        super().__init__()
        self._build(d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device, dtype,
                    ("self_attn", "multihead_attn"))

    def forward(self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None,
                tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None, tgt_is_causal: bool = False,
                memory_is_causal: bool = False) -> Tensor:
        """Attend to tgt and to memory, and change tgt.

        Args:
            tgt: the input.
            memory: the encoder's output.
            tgt_mask: (L, L) or (N·heads, L, L): booleans, True where a position does not see another, or numbers added to the scores.
            memory_mask: the same for the memory, (L, S) or (N·heads, L, S).
            tgt_key_padding_mask: (N, L) or (L): True for positions of tgt that are not seen, or numbers.
            memory_key_padding_mask: (N, S) or (S): the same for the memory.
            tgt_is_causal: says that tgt_mask is the causal one.
            memory_is_causal: says that memory_mask is the causal one.

        Returns:
            A tensor of tgt's shape.
        """
        x = self._add(tgt, 1, lambda x: self.self_attn(x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal)[0])
        x = self._add(x, 2, lambda x: self.multihead_attn(x, memory, memory, memory_key_padding_mask, False, memory_mask,
                                                          is_causal=memory_is_causal)[0])
        return self._add(x, 3, self._feed_forward)


class TransformerEncoder(Module):
    """A stack of encoder layers.

    Args:
        encoder_layer: the layer to make copies of; they begin with the same parameters.
        num_layers: how many.
        norm: a module for the output of the last layer, or none.
        enable_nested_tensor: accepted as in PyTorch; nothing changes.
        mask_check: accepted as in PyTorch; nothing changes.

    Shapes:
        Input: (L, N, d_model) or (L, d_model), or with N in front if the layer is batch_first. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.TransformerEncoderLayer(d_model=16, nhead=4, dim_feedforward=32)
        >>> tg.nn.TransformerEncoder(layer, num_layers=2)(tg.ones(10, 2, 16)).shape
        (10, 2, 16)
    """

    norm: Module | None

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None, enable_nested_tensor: bool = True,
                 mask_check: bool = True):
        super().__init__()
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers, self.enable_nested_tensor, self.mask_check = num_layers, enable_nested_tensor, mask_check
        self.norm = norm

    def forward(self, src: Tensor, mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
                is_causal: bool | None = None) -> Tensor:
        """Run all layers.

        Args:
            src: the input.
            mask: (L, L) or (N·heads, L, L): booleans, True where a position does not see another, or numbers added to the scores.
            src_key_padding_mask: (N, L) or (L): True for positions that are not seen, or numbers.
            is_causal: whether the mask is the causal one; None looks at it.

        Returns:
            A tensor of src's shape.
        """
        causal = _is_causal(mask, is_causal)
        for layer in self.layers:
            src = layer(src, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=causal)
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """A stack of decoder layers.

    Args:
        decoder_layer: the layer to make copies of; they begin with the same parameters.
        num_layers: how many.
        norm: a module for the output of the last layer, or none.

    Shapes:
        tgt: (L, N, d_model) or (L, d_model). memory: (S, N, d_model) or (S, d_model); N in front if the layer is batch_first.
        Output: like tgt.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.TransformerDecoderLayer(d_model=16, nhead=4, dim_feedforward=32)
        >>> tg.nn.TransformerDecoder(layer, num_layers=2)(tg.ones(7, 2, 16), tg.ones(10, 2, 16)).shape
        (7, 2, 16)
    """

    norm: Module | None

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None):
        super().__init__()
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None,
                tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
                tgt_is_causal: bool | None = None, memory_is_causal: bool = False) -> Tensor:
        """Run all layers.

        Args:
            tgt: the input.
            memory: the encoder's output.
            tgt_mask: (L, L) or (N·heads, L, L): booleans, True where a position does not see another, or numbers added to the scores.
            memory_mask: the same for the memory, (L, S) or (N·heads, L, S).
            tgt_key_padding_mask: (N, L) or (L): True for positions of tgt that are not seen, or numbers.
            memory_key_padding_mask: (N, S) or (S): the same for the memory.
            tgt_is_causal: whether tgt_mask is the causal one; None looks at it.
            memory_is_causal: says that memory_mask is the causal one.

        Returns:
            A tensor of tgt's shape.
        """
        causal = _is_causal(tgt_mask, tgt_is_causal)
        for layer in self.layers:
            tgt = layer(tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
                        memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=causal, memory_is_causal=memory_is_causal)
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """Encoder and decoder for translating one sequence into another (Vaswani et al., 2017).

    Positions and the vocabulary are not part of it: add an embedding of both before, and a linear map after it.

    Args:
        d_model: the width of inputs and output.
        nhead: how many attention heads.
        num_encoder_layers: how many layers the encoder has.
        num_decoder_layers: how many layers the decoder has.
        dim_feedforward: the width inside the layers' small networks.
        dropout: the probability with which elements and attention weights are dropped in training.
        activation: "relu", "gelu" or a function of a tensor.
        custom_encoder: a module to use as the encoder.
        custom_decoder: a module to use as the decoder.
        layer_norm_eps: the ε of the layer norms.
        batch_first: whether inputs and outputs are (sequences, steps, features) in place of (steps, sequences, features).
        norm_first: normalize before attention and network in place of after them.
        bias: whether linear maps and layer norms have biases.
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.

    Shapes:
        src: (S, N, d_model) or (S, d_model). tgt: (L, N, d_model) or (L, d_model). Output: like tgt.

    Example:
        >>> import tinygrad_ed as tg
        >>> model = tg.nn.Transformer(d_model=16, nhead=4, num_encoder_layers=1, num_decoder_layers=1, dim_feedforward=32)
        >>> model(tg.ones(10, 2, 16), tg.ones(7, 2, 16), tgt_mask=model.generate_square_subsequent_mask(7)).shape
        (7, 2, 16)
    """

    def __init__(self, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6, num_decoder_layers: int = 6,
                 dim_feedforward: int = 2048, dropout: float = 0.1, activation: Any = F.relu, custom_encoder: Any = None,
                 custom_decoder: Any = None, layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False,
                 bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__()
        shape = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device, dtype)
        norm = lambda: LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)
        self.encoder = custom_encoder if custom_encoder is not None else TransformerEncoder(
            TransformerEncoderLayer(*shape), num_encoder_layers, norm())
        self.decoder = custom_decoder if custom_decoder is not None else TransformerDecoder(
            TransformerDecoderLayer(*shape), num_decoder_layers, norm())
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(self, src: Tensor, tgt: Tensor, src_mask: Tensor | None = None, tgt_mask: Tensor | None = None,
                memory_mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None, tgt_key_padding_mask: Tensor | None = None,
                memory_key_padding_mask: Tensor | None = None, src_is_causal: bool | None = None, tgt_is_causal: bool | None = None,
                memory_is_causal: bool = False) -> Tensor:
        """Encode src, and decode tgt with it.

        Args:
            src: the input of the encoder.
            tgt: the input of the decoder.
            src_mask: (S, S) or (N·heads, S, S): booleans, True where a position does not see another, or numbers added to the scores.
            tgt_mask: the same for the decoder, (L, L) or (N·heads, L, L).
            memory_mask: the same for what the decoder sees of the encoder, (L, S) or (N·heads, L, S).
            src_key_padding_mask: (N, S) or (S): True for positions of src that are not seen, or numbers.
            tgt_key_padding_mask: (N, L) or (L): the same for tgt.
            memory_key_padding_mask: (N, S) or (S): the same for the encoder's output.
            src_is_causal: whether src_mask is the causal one; None looks at it.
            tgt_is_causal: whether tgt_mask is the causal one; None looks at it.
            memory_is_causal: says that memory_mask is the causal one.

        Returns:
            A tensor of tgt's shape.

        Raises:
            ShapeError: src and tgt of different numbers of sequences, or of another width than d_model.
        """
        batch = 0 if self.batch_first else 1
        if src.ndim != tgt.ndim or src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model or (
                src.ndim == 3 and src.shape[batch] != tgt.shape[batch]):
            order = "(sequences, steps, features)" if self.batch_first else "(steps, sequences, features)"
            raise ShapeError(f"Transformer with d_model={self.d_model} takes src and tgt {order} of as many sequences, got shapes "
                             f"{src.shape} and {tgt.shape}")
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        return self.decoder(tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
                            memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=tgt_is_causal, memory_is_causal=memory_is_causal)

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """The causal mask: 0 where a position may see another, the same or an earlier one, -∞ where it must not.

        Args:
            sz: how many positions.
            device: where the mask is made.
            dtype: its dtype; the default floating point dtype by default.

        Returns:
            A tensor of shape (sz, sz).

        Example:
            >>> Transformer.generate_square_subsequent_mask(2)
            tensor([[0., -inf],
                    [0., 0.]])
        """
        return triu(full((sz, sz), -math.inf, device=device, dtype=dtype), 1)
