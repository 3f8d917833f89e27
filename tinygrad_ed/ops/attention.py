"""Attention: every query gets a weighted mean of the values, weighted by how well it fits the keys (Vaswani et al., 2017)."""
from __future__ import annotations

import math
from typing import Any, Sequence

import numpy as np

from ..autograd.op import op
from ..backend import namespace
from ..backend.kernels import kernels
from ..errors import DomainError, DTypeError, ShapeError
from ..tensor import Tensor, wrap
from .arguments import require_float
from .broadcast import expand_to, permute_to, reshape_to
from .dropout import coin, dropout
from .elementwise import where
from .generator import random_mask
from .half import in_float32
from .join import cat, chunk, split
from .matmul import linear, matmul
from .shape import repeat_interleave
from .softmax import softmax

__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]

Optional = Tensor | None


# -- the formulas ------------------------------------------------------------------------------------------------------

def _scores(q: Tensor, k: Tensor, mask: Optional, causal: bool, scale: float) -> Tensor:
    """q kᵀ·scale, and -∞ where a query must not see a key."""
    s = matmul(q * scale, k.mT)
    if mask is not None:
        s = where(mask, s, -math.inf) if mask.dtype.kind == "b" else s + mask
    if causal:
        s = where(wrap(namespace(s._data).tri(*s.shape[-2:], dtype=bool)), s, -math.inf)
    return s


def _composed_attention(q: Tensor, k: Tensor, v: Tensor, mask: Optional, keep: Optional, *, causal: bool, scale: float,
                        keep_prob: float) -> Tensor:
    s = _scores(q, k, mask, causal, scale)
    sees_nothing = (s == -math.inf).all(-1, keepdim=True)
    p = where(sees_nothing, 0.0, softmax(where(sees_nothing, 0.0, s), -1))
    return matmul(p if keep is None else p * keep / keep_prob, v)


# -- the fused operation -----------------------------------------------------------------------------------------------

def _forward(q: Any, k: Any, v: Any, mask: Any, keep: Any, *, causal: bool, scale: float, keep_prob: float) -> tuple:
    y, *saved = kernels(q).attention(*_batched(q, k, v, mask, keep), causal, scale, keep_prob)
    return y if q.ndim <= 4 else y.reshape(*q.shape[:-1], v.shape[-1]), *saved


def _gradients(g: Any, q: Any, k: Any, v: Any, mask: Any, keep: Any, causal: Any, scale: Any, keep_prob: Any, y: Any, exps: Any, sums: Any,
               needs: Any) -> tuple:
    grads = kernels(q).attention_backward(*_batched(g, q, k, v, mask, keep), causal, scale, keep_prob, *_batched(y), exps, sums, needs)
    return *(grads if q.ndim <= 4 else [d if d is None else d.reshape(x.shape) for d, x in zip(grads, (q, k, v, mask))]), None


def _batched(*arrays: Any) -> Sequence[Any]:
    """The arrays with all dimensions before the heads as one, as the kernels take them."""
    if arrays[0].ndim <= 4:
        return arrays
    return [x if x is None else x.reshape(math.prod(x.shape[:-3]), *x.shape[-3:]) for x in arrays]


_attention = op("scaled_dot_product_attention", _forward, match=("q", "k", "v"), aux=("exps", "sums"), composed=_composed_attention,
                gradients=_gradients)


def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Optional = None, dropout_p: float = 0.0,
                                 is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False) -> Tensor:
    """softmax(Q Kᵀ·scale + mask) V: for every query a mean of the values, weighted by its product with the keys.

    With the weights P: dV = Pᵀ dY, dS = P·(dY Vᵀ - Σ dY·Y), dQ = dS K·scale, dK = dSᵀ Q·scale (Vaswani et al., 2017). A query that
    sees no key has the output 0.

    Args:
        query: of shape (*, heads, L, E); the dimensions before the last two broadcast.
        key: of shape (*, heads, S, E).
        value: of shape (*, heads, S, V).
        attn_mask: of a shape that broadcasts to (*, heads, L, S): booleans, True where a query sees a key, or numbers of the query's
            dtype, which are added to the scores.
        dropout_p: the probability with which a weight is dropped, also in evaluation: pass 0 there.
        is_causal: query i sees keys up to number i only.
        scale: the factor of the scores; 1/√E by default.
        enable_gqa: key and value may have fewer heads, each of which then serves a group of query heads (Ainslie et al., 2023).

    Returns:
        A tensor of shape (*, heads, L, V).

    Raises:
        ShapeError: shapes that do not fit together, or with enable_gqa numbers of heads that do not divide each other.
        DTypeError: different dtypes, integers, or a mask of integers or of another floating point dtype.
        DomainError: dropout_p outside [0, 1].
        ValueError: attn_mask and is_causal at once.

    Example:
        >>> import tinygrad_ed as tg
        >>> q, k = tg.tensor([[1.0, 0.0]]), tg.tensor([[9.0, 0.0], [0.0, 9.0]])
        >>> scaled_dot_product_attention(q, k, tg.tensor([[1.0], [2.0]]), scale=10.0)
        tensor([[1.]])
    """
    if enable_gqa:
        key, value = _repeated(query, key), _repeated(query, value)
    shape = _check(query, key, value, attn_mask, is_causal)
    if not 0 <= dropout_p <= 1:
        raise DomainError(f"scaled_dot_product_attention: dropout_p is a probability in [0, 1], got {dropout_p}")
    query, key, value = (_expanded(x, (*shape[:-2], *x.shape[-2:])) for x in (query, key, value))
    attn_mask = None if attn_mask is None else _expanded(attn_mask, shape)
    keep, keep_prob = _kept(query, shape, dropout_p)
    return in_float32(_attention, query, key, value, attn_mask, keep, causal=bool(is_causal),
                      scale=1 / math.sqrt(max(query.shape[-1], 1)) if scale is None else float(scale), keep_prob=keep_prob)


def _repeated(query: Tensor, x: Tensor) -> Tensor:
    """Each head of x as often in a row as the query has heads for it."""
    if min(query.ndim, x.ndim) < 3 or not x.shape[-3] or query.shape[-3] % x.shape[-3]:
        raise ShapeError(f"scaled_dot_product_attention: with enable_gqa the heads of key and value, dimension -3, divide the query's; got "
                         f"shapes {query.shape} and {x.shape}")
    times = query.shape[-3] // x.shape[-3]
    return x if times == 1 else repeat_interleave(x, times, -3)


def _expanded(x: Tensor, shape: tuple) -> Tensor:
    return x if x.shape == shape else expand_to(x, shape=shape)


def _check(query: Tensor, key: Tensor, value: Tensor, mask: Optional, is_causal: bool) -> tuple[int, ...]:
    """The shape of the scores, of arguments that fit together."""
    name, given = "scaled_dot_product_attention", f"query {query.shape}, key {key.shape}, value {value.shape}"
    require_float(query, name)
    if min(query.ndim, key.ndim, value.ndim) < 2 or query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ShapeError(f"{name} takes a query (*, L, E), a key (*, S, E) and a value (*, S, V), got {given}")
    try:
        batch = np.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    except ValueError:
        raise ShapeError(f"{name}: the dimensions before the last two do not broadcast: {given}; write enable_gqa=True if key and value "
                         f"have fewer heads") from None
    shape = (*batch, query.shape[-2], key.shape[-2])
    if mask is None:
        return shape
    if is_causal:
        raise ValueError(f"{name} takes attn_mask or is_causal; for both write attn_mask=mask & tinygrad_ed.ones(L, S, dtype=bool).tril()")
    if mask.dtype.kind != "b" and mask.dtype != query.dtype:
        raise DTypeError(f"{name} takes a mask of booleans or of the query's {query.dtype}, got {mask.dtype}; "
                         f"write mask.bool() or mask.to(query.dtype)")
    if mask.ndim > len(shape) or any(n not in (1, m) for n, m in zip(mask.shape[::-1], shape[::-1])):
        raise ShapeError(f"{name}: a mask broadcasts to the scores' shape {shape}, got {mask.shape}; {given}")
    return shape


def _kept(query: Tensor, shape: tuple[int, ...], p: float) -> tuple[Any, float]:
    """Which weights dropout keeps, None for all, and what those are divided by."""
    if p == 0:
        return None, 1.0
    if p == 1:
        return wrap(namespace(query._data).zeros(shape, bool)), 1.0
    toss = coin(p)
    return wrap(random_mask(query, shape, toss.limit, toss.bits)), toss.keep


# -- several heads -----------------------------------------------------------------------------------------------------

def multi_head_attention_forward(
        query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int, in_proj_weight: Optional,
        in_proj_bias: Optional, bias_k: Optional, bias_v: Optional, add_zero_attn: bool, dropout_p: float, out_proj_weight: Tensor,
        out_proj_bias: Optional, training: bool = True, key_padding_mask: Optional = None, need_weights: bool = True,
        attn_mask: Optional = None, use_separate_proj_weight: bool = False, q_proj_weight: Optional = None, k_proj_weight: Optional = None,
        v_proj_weight: Optional = None, static_k: Optional = None, static_v: Optional = None, average_attn_weights: bool = True,
        is_causal: bool = False, *, batch_first: bool = False) -> tuple[Tensor, Optional]:
    """Attention in several subspaces at once: projections of query, key and value, attention in each head, a projection of the result.

    Y = [softmax(Qᵢ Kᵢᵀ/√d) Vᵢ for every head i] Wᵒ with Q = X Wq, K = X' Wk, V = X'' Wv, each cut into heads (Vaswani et al., 2017).
    `nn.MultiheadAttention` is this function with its parameters.

    Args:
        query: of shape (L, N, E), or (L, E) for one sequence.
        key: of shape (S, N, Ek) or (S, Ek).
        value: of shape (S, N, Ev) or (S, Ev).
        embed_dim_to_check: E.
        num_heads: how many heads; each has E / num_heads dimensions.
        in_proj_weight: the weights of query, key and value below each other, (3·E, E).
        in_proj_bias: their biases, (3·E), or none.
        bias_k: a key (1, 1, E) to append to all sequences, or none.
        bias_v: its value.
        add_zero_attn: append a key and a value of zeros.
        dropout_p: the probability with which a weight is dropped in training.
        out_proj_weight: (E, E).
        out_proj_bias: (E), or none.
        training: whether to drop weights.
        key_padding_mask: (N, S) or (S): booleans, True for keys that are not seen, or numbers that are added to the scores.
        need_weights: also return the weights. Without them the computation is faster.
        attn_mask: (L, S) or (N·heads, L, S): booleans, True where a query does not see a key, or numbers that are added.
        use_separate_proj_weight: project by the three following weights in place of in_proj_weight.
        q_proj_weight: (E, E).
        k_proj_weight: (E, Ek).
        v_proj_weight: (E, Ev).
        static_k: projected keys to use, (N·heads, S, E / heads).
        static_v: projected values to use.
        average_attn_weights: return the mean of the heads' weights.
        is_causal: says that attn_mask, which must be given, is the causal one; it is then not read where that is faster.
        batch_first: query, key, value and the output have N in front.

    Returns:
        The output (L, N, E) or (L, E), and the weights (N, L, S), (N, heads, L, S) if not averaged, without N for one sequence, or None.

    Raises:
        ShapeError: shapes that do not fit together.
        DTypeError: masks that are neither booleans nor floating point numbers.
        ValueError: is_causal without attn_mask.

    Example:
        >>> import tinygrad_ed as tg
        >>> x, eye = tg.ones(5, 2, 4), tg.eye(4)
        >>> y, weights = multi_head_attention_forward(x, x, x, 4, 2, tg.cat([eye, eye, eye]), None, None, None, False, 0.0, eye, None)
        >>> y.shape, weights.shape
        ((5, 2, 4), (2, 5, 5))
    """
    _check_heads(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight)
    _check_masks(key_padding_mask, attn_mask, is_causal)
    batched = query.ndim == 3
    if not batched:
        query, key, value = _batch_of_one(query, key, value, 0 if batch_first else 1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    along, (n, length) = (1, query.shape[:2]) if batch_first else (0, query.shape[1::-1])
    weights = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else in_proj_weight
    q, k, v = _projected(query, key, value, weights, in_proj_bias)
    extra = 0
    if bias_k is not None and bias_v is not None:
        once = (n, 1) if batch_first else (1, n)
        k, v = (cat([x, _expanded(b, (*once, x.shape[2]))], along) for x, b in ((k, bias_k), (v, bias_v)))
        extra += 1
    order = (0, 2, 1, 3) if batch_first else (1, 2, 0, 3)        # between (N, L, heads, D) or (L, N, heads, D) and (N, heads, L, D)
    q, k, v = (permute_to(reshape_to(x, shape=(*x.shape[:2], num_heads, x.shape[2] // num_heads)), dims=order) for x in (q, k, v))
    k, v = (x if static is None else static.reshape(n, num_heads, *static.shape[1:]) for x, static in ((k, static_k), (v, static_v)))
    if add_zero_attn:
        k, v = (cat([x, wrap(namespace(x._data).zeros((*x.shape[:2], 1, x.shape[3]), x.dtype))], 2) for x in (k, v))
        extra += 1
    dropout_p = dropout_p if training else 0.0
    if is_causal and key_padding_mask is None and not need_weights and not extra:
        y, p = scaled_dot_product_attention(q, k, v, None, dropout_p, is_causal=True), None
    else:
        mask = _merged(attn_mask, key_padding_mask, (n, num_heads, length, k.shape[2]), extra, q)
        if need_weights:
            p = dropout(softmax(_scores(q, k, mask, False, 1 / math.sqrt(q.shape[-1])), -1), dropout_p)
            y, p = matmul(p, v), p.mean(1) if average_attn_weights else p
        else:
            y, p = scaled_dot_product_attention(q, k, v, mask, dropout_p), None
    y = permute_to(y, dims=tuple(int(d) for d in np.argsort(order)))
    y = linear(reshape_to(y, shape=(*y.shape[:2], y.shape[2] * y.shape[3])), out_proj_weight, out_proj_bias)
    return (y, p) if batched else (y.squeeze(0 if batch_first else 1), None if p is None else p.squeeze(0))


def _batch_of_one(query: Tensor, key: Tensor, value: Tensor, dim: int) -> tuple:
    """The same tensors with a batch dimension; what was one tensor stays one."""
    q = query.unsqueeze(dim)
    k = q if key is query else key.unsqueeze(dim)
    return q, k, k if value is key else value.unsqueeze(dim)


def _projected(query: Tensor, key: Tensor, value: Tensor, weights: Any, bias: Optional) -> tuple:
    """Query, key and value times their weights: in one product where they are the same tensor."""
    if isinstance(weights, tuple):
        biases: Sequence = [None] * 3 if bias is None else chunk(bias, 3)
        return tuple(linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases))
    if key is value and query is key:
        return chunk(linear(query, weights, bias), 3, -1)
    sizes = [query.shape[-1], 2 * query.shape[-1]] if key is value else [query.shape[-1]] * 3
    biases = [None] * 3 if bias is None else split(bias, sizes)
    projected = [linear(x, w, b) for x, w, b in zip((query, key, value), split(weights, sizes), biases)]
    return (projected[0], *chunk(projected[1], 2, -1)) if key is value else tuple(projected)


def _merged(attn_mask: Optional, key_padding_mask: Optional, shape: tuple[int, ...], extra: int, like: Tensor) -> Optional:
    """One mask of both for `scaled_dot_product_attention`; the last `extra` keys are seen by all."""
    n, heads, length, keys = shape
    masks = []
    if attn_mask is not None:
        _check_mask("attn_mask", attn_mask, (length, keys - extra), (n * heads, length, keys - extra))
        masks.append(attn_mask if attn_mask.ndim == 2 else attn_mask.reshape(n, heads, length, keys - extra))
    if key_padding_mask is not None:
        _check_mask("key_padding_mask", key_padding_mask, (n, keys - extra))
        masks.append(key_padding_mask.reshape(n, 1, 1, keys - extra))
    if not masks:
        return None
    zeros = lambda shape, dtype: wrap(namespace(like._data).zeros(shape, dtype))
    if extra:
        masks = [cat([mask, zeros((*mask.shape[:-1], extra), mask.dtype)], -1) for mask in masks]
    if all(mask.dtype.kind == "b" for mask in masks):
        return ~(masks[0] if len(masks) == 1 else masks[0] | masks[1])
    masks = [where(mask, -math.inf, zeros((), like.dtype)) if mask.dtype.kind == "b" else mask for mask in masks]
    return masks[0] if len(masks) == 1 else masks[0] + masks[1]


def _check_mask(what: str, mask: Tensor, *shapes: tuple[int, ...]) -> None:
    if mask.shape not in shapes:
        raise ShapeError(f"multi_head_attention_forward: {what} has shape {' or '.join(map(str, shapes))}, got {mask.shape}")


def _check_heads(query: Tensor, key: Tensor, value: Tensor, embed_dim: int, heads: int, separate: bool) -> None:
    """Refuse shapes that do not fit together."""
    name = "multi_head_attention_forward"
    given = f"query {query.shape}, key {key.shape}, value {value.shape}"
    if query.ndim not in (2, 3) or not query.ndim == key.ndim == value.ndim:
        raise ShapeError(f"{name} takes query, key and value of 3 dimensions, or of 2 for one sequence, got {given}")
    widths = {query.shape[-1]} if separate else {query.shape[-1], key.shape[-1], value.shape[-1]}
    if widths != {embed_dim} or key.shape[:-1] != value.shape[:-1]:
        raise ShapeError(f"{name} with embed_dim={embed_dim}: got {given}; set kdim and vdim where key and value have other widths")
    if embed_dim % heads:
        raise ShapeError(f"{name}: embed_dim={embed_dim} is cut into {heads} heads, which must divide it")


def _check_masks(padding: Optional, mask: Optional, is_causal: bool) -> None:
    name = "multi_head_attention_forward"
    if is_causal and mask is None:
        raise ValueError(f"{name}: is_causal says that attn_mask is causal, and there is none; write "
                         f"attn_mask=tinygrad_ed.nn.Transformer.generate_square_subsequent_mask(L)")
    for what, m in (("key_padding_mask", padding), ("attn_mask", mask)):
        if m is not None and m.dtype.kind not in "bfV":
            raise DTypeError(f"{name}: {what} has booleans or floating point numbers, got {m.dtype}; write mask.bool()")
