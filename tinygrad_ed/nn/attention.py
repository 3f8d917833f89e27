"""Attention layers."""
from __future__ import annotations

from typing import Any

from ..ops.attention import multi_head_attention_forward
from ..ops.creation import empty
from ..tensor import Tensor
from . import init
from .linear import Linear
from .module import Module
from .parameter import Parameter

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Attention in several subspaces at once (Vaswani et al., 2017).

    Y = [softmax(Qᵢ Kᵢᵀ/√d) Vᵢ for every head i] Wᵒ with Q = X Wq + bq, K = X' Wk + bk, V = X'' Wv + bv, each cut into heads of d
    dimensions. The weights begin as by `init.xavier_uniform_`, the biases at 0.

    Args:
        embed_dim: the width of query and output.
        num_heads: how many heads; each has embed_dim / num_heads dimensions.
        dropout: the probability with which an attention weight is dropped in training.
        bias: whether the projections have biases.
        add_bias_kv: append a key and a value that are learned to all sequences.
        add_zero_attn: append a key and a value of zeros.
        kdim: the width of the keys; embed_dim by default.
        vdim: the width of the values; embed_dim by default.
        batch_first: whether inputs and outputs are (sequences, steps, features) in place of (steps, sequences, features).
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.

    Raises:
        ValueError: embed_dim or num_heads that are not positive, or that do not divide.

    Shapes:
        query: (L, N, embed_dim) or (L, embed_dim). key: (S, N, kdim), value: (S, N, vdim). Output: like query, and the weights
        (N, L, S), or None. in_proj_weight: (3·embed_dim, embed_dim), or q_proj_weight, k_proj_weight and v_proj_weight where kdim or
        vdim differ.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.ones(3, 5, 8)
        >>> y, weights = tg.nn.MultiheadAttention(8, num_heads=2, batch_first=True)(x, x, x)
        >>> y.shape, weights.shape
        ((3, 5, 8), (3, 5, 5))
    """

    in_proj_weight: Parameter | None

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False,
                 add_zero_attn: bool = False, kdim: int | None = None, vdim: int | None = None, batch_first: bool = False,
                 device: Any = None, dtype: Any = None):
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0 or embed_dim % num_heads:
            raise ValueError(f"MultiheadAttention: embed_dim and num_heads are positive, and num_heads divides embed_dim, got "
                             f"embed_dim={embed_dim}, num_heads={num_heads}")
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        made = lambda *shape: Parameter(empty(*shape, device=device, dtype=dtype))
        together = self.kdim == self.vdim == embed_dim
        for name, width in (("q", embed_dim), ("k", self.kdim), ("v", self.vdim)):
            self.register_parameter(f"{name}_proj_weight", None if together else made(embed_dim, width))
        self.register_parameter("in_proj_weight", made(3 * embed_dim, embed_dim) if together else None)
        self.register_parameter("in_proj_bias", made(3 * embed_dim) if bias else None)
        self.out_proj = Linear(embed_dim, embed_dim, bias, device, dtype)
        for name in ("bias_k", "bias_v"):
            self.register_parameter(name, made(1, 1, embed_dim) if add_bias_kv else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew; the output projection's weight stays as it is."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.normal_(bias, std=self.embed_dim ** -0.5)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None, need_weights: bool = True,
                attn_mask: Tensor | None = None, average_attn_weights: bool = True,
                is_causal: bool = False) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            query: what asks.
            key: what is compared with it.
            value: what is averaged.
            key_padding_mask: (N, S) or (S): booleans, True for keys that are not seen, or numbers that are added to the scores.
            need_weights: also return the weights. Without them the computation is faster.
            attn_mask: (L, S) or (N·heads, L, S): booleans, True where a query does not see a key, or numbers that are added.
            average_attn_weights: return the mean of the heads' weights.
            is_causal: says that attn_mask, which must be given, is the causal one; it is then not read where that is faster.

        Returns:
            The output, and the weights or None.
        """
        return multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight, self.in_proj_bias, self.bias_k, self.bias_v,
            self.add_zero_attn, self.dropout, self.out_proj.weight, self.out_proj.bias, self.training, key_padding_mask, need_weights,
            attn_mask, self.in_proj_weight is None, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight,
            average_attn_weights=average_attn_weights, is_causal=is_causal, batch_first=self.batch_first)
