"""Embedding: rows of a table looked up by their numbers, one at a time or reduced in bags."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.inplace import stamp
from ..autograd.op import op
from ..backend import namespace
from ..backend.kernels import kernels
from ..errors import DTypeError, IndexRangeError, InPlaceError, ShapeError
from ..tensor import Tensor, wrap
from .arguments import require_float, wide
from .elementwise import where
from .index import gather
from .index.positions import in_range, integers, raw, spread

__all__ = ["embedding", "embedding_bag"]

_embedding = op("embedding", lambda x, index, *, padding_idx, by_frequency: x.take(index, axis=0),
                x=lambda g, index, x_shape, padding_idx, by_frequency: _embedding_vjp(
                    g, index, count=x_shape[0], padding_idx=padding_idx, by_frequency=by_frequency))
_embedding_vjp = op("embedding_vjp", lambda x, index, *, count, padding_idx, by_frequency: kernels(x).embedding_backward(
                        x, index, count, padding_idx, by_frequency),
                    x=lambda g, index, count, padding_idx, by_frequency: _shared(
                        _embedding(g, index, padding_idx=None, by_frequency=False), index, count, padding_idx, by_frequency),
                    doc="A table of zeros with the rows of x, times their shares, added where the index says.")


def _shared(g: Any, index: Any, *options: Any) -> Any:
    """Gradients times how much of them the indices hand on."""
    shares = kernels(raw(index)).embedding_shares(raw(index), *options)
    return g if shares is None else g * shares.astype(g.dtype)[..., None]


# -- what is checked ---------------------------------------------------------------------------------------------------

def _check_table(name: str, weight: Tensor) -> None:
    if not isinstance(weight, Tensor):
        raise TypeError(f"{name} takes a tensor as weight, got {type(weight).__name__}")
    require_float(weight, name)
    if weight.ndim != 2:
        raise ShapeError(f"{name} takes a weight of shape (num_embeddings, embedding_dim), got {weight.shape}")


def _numbers(name: str, input: Any, weight: Tensor) -> Any:
    """Row numbers as an array of int64, checked to be inside."""
    index = integers(input, raw(weight), name)
    in_range(index, weight.shape[0], name, 0, weight.shape)
    return index


def _padding(name: str, padding_idx: int | None, weight: Tensor) -> int | None:
    count = weight.shape[0]
    if padding_idx is None:
        return None
    if not -count <= padding_idx < count:
        raise IndexRangeError(f"{name}: padding_idx={padding_idx} is none of the {count} rows of a weight of shape {weight.shape}")
    return padding_idx % count


def _shorten(weight: Tensor, index: Any, max_norm: float, norm_type: float) -> None:
    """Scale the rows of a table that are looked up and longer than max_norm, in place, to that length."""
    table = weight._data
    if isinstance(table, np.ndarray) and not table.flags.writeable:
        raise InPlaceError("embedding with max_norm shortens rows of weight, whose memory is read-only; write weight.clone()")
    xp = namespace(table)
    chosen = xp.unique(index)
    rows = wide(table[chosen])
    length = xp.linalg.norm(rows, norm_type, axis=1, keepdims=True)
    table[chosen] = rows * xp.where(length > max_norm, max_norm / (length + 1e-7), xp.ones_like(length))
    stamp(table)


# -- the public functions ----------------------------------------------------------------------------------------------

def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
              scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    """The rows of a table at given numbers.

    Args:
        input: integers of any shape, the row numbers.
        weight: the table, of shape (V, D).
        padding_idx: a row that gets no gradient; counted from the end if negative.
        max_norm: rows that are looked up and longer than this are first shortened to it, in place.
        norm_type: the p of the norm ‖row‖_p for max_norm.
        scale_grad_by_freq: divide each row's gradient by how often it is looked up.
        sparse: accepted as in PyTorch, without effect: gradients here are always dense.

    Returns:
        A tensor of the input's shape with a further dimension of length D.

    Raises:
        IndexRangeError: a number that is no row, or such a padding_idx.
        DTypeError: numbers that are no integers, or a table that is not floating point.
        ShapeError: a table that does not have 2 dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> embedding(tg.tensor([2, 0]), tg.tensor([[0.0, 0.5], [1.0, 1.5], [2.0, 2.5]]))
        tensor([[2.0000, 2.5000],
                [0.0000, 0.5000]])
    """
    _check_table("embedding", weight)
    padding_idx = _padding("embedding", padding_idx, weight)
    index = _numbers("embedding", input, weight)
    if max_norm is not None:
        _shorten(weight, index, max_norm, norm_type)
    return _embedding(weight, index, padding_idx=padding_idx, by_frequency=scale_grad_by_freq)


def embedding_bag(input: Tensor, weight: Tensor, offsets: Tensor | None = None, max_norm: float | None = None, norm_type: float = 2,
                  scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, per_sample_weights: Tensor | None = None,
                  include_last_offset: bool = False, padding_idx: int | None = None) -> Tensor:
    """The sum, mean or maximum of the rows of a table in each of several bags of row numbers.

    Args:
        input: integers: of shape (B, N) for B bags of N numbers, or of shape (T) for bags one after the other, which begin at the offsets.
        weight: the table, of shape (V, D).
        offsets: where each bag begins, integers of shape (B) that begin with 0 and never fall; the last bag ends with the input.
        max_norm: rows that are looked up and longer than this are first shortened to it, in place.
        norm_type: the p of the norm ‖row‖_p for max_norm.
        scale_grad_by_freq: divide each row's gradient by how often it is looked up; not with mode="max".
        mode: "sum", "mean" or "max".
        sparse: accepted as in PyTorch, without effect: gradients here are always dense.
        per_sample_weights: factors of the rows, of the input's shape; only with mode="sum".
        include_last_offset: whether a further offset says where the last bag ends.
        padding_idx: a row that is left out of the bags and gets no gradient.

    Returns:
        A tensor of shape (B, D); an empty bag gives zeros.

    Raises:
        IndexRangeError: a number that is no row, or such a padding_idx.
        DTypeError: numbers or offsets that are no integers, a table that is not floating point, or weights of another dtype.
        ShapeError: shapes that do not fit, or offsets that do not divide the input.
        ValueError: an unknown mode, or arguments that do not go with it.

    Example:
        >>> import tinygrad_ed as tg
        >>> table = tg.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
        >>> embedding_bag(tg.tensor([0, 1, 2]), table, tg.tensor([0, 2]), mode="sum")
        tensor([[ 3., 30.],
                [ 3., 30.]])
    """
    name = "embedding_bag"
    _check_table(name, weight)
    padding_idx = _padding(name, padding_idx, weight)
    index = _numbers(name, input, weight)
    _check_options(mode, scale_grad_by_freq, sparse, per_sample_weights, index, weight)
    size = _sizes(index, offsets, include_last_offset)
    xp = namespace(index)
    bag = xp.repeat(xp.arange(len(size)), size.tolist())
    index = index.reshape(-1)[:len(bag)]
    if max_norm is not None:
        _shorten(weight, index, max_norm, norm_type)
    if per_sample_weights is not None:
        per_sample_weights = per_sample_weights.reshape(-1)[:len(bag)]
    if padding_idx is not None:
        kept = index != padding_idx
        index, bag = index[kept], bag[kept]
        per_sample_weights = None if per_sample_weights is None else per_sample_weights[wrap(kept)]
        size = xp.bincount(bag, minlength=len(size))
    if mode == "max":
        return _largest(index, weight, size)
    rows = _embedding(weight, index, padding_idx=None, by_frequency=scale_grad_by_freq)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    total = spread(rows, bag, shape=(len(size), weight.shape[1]), dim=0, count=1)
    return total if mode == "sum" else total / wrap(xp.maximum(size, 1).astype(weight.dtype)[:, None])


def _largest(index: Any, weight: Tensor, size: Any) -> Tensor:
    """The largest element of each bag and column; the gradient goes to the first of several."""
    rows = weight._data.take(index, axis=0)
    winners = kernels(rows).bag_winners(rows, size)
    if not index.size:
        return spread(_embedding(weight, index, padding_idx=None, by_frequency=False), index, shape=winners.shape, dim=0, count=1)
    return where(wrap((size > 0)[:, None]), gather(weight, 0, wrap(index[winners])), 0.0)


def _check_options(mode: str, by_frequency: bool, sparse: bool, per_sample_weights: Tensor | None, index: Any, weight: Tensor) -> None:
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f'embedding_bag: mode is "sum", "mean" or "max", got {mode!r}')
    if mode == "max" and (by_frequency or sparse):
        raise ValueError('embedding_bag with mode="max" takes neither scale_grad_by_freq nor sparse: its gradient goes to one element of a bag')
    if per_sample_weights is None:
        return
    if mode != "sum":
        raise ValueError(f'embedding_bag takes per_sample_weights only with mode="sum", got mode={mode!r}')
    if per_sample_weights.shape != index.shape:
        raise ShapeError(f"embedding_bag: per_sample_weights have the input's shape {index.shape}, got {per_sample_weights.shape}")
    if per_sample_weights.dtype != weight.dtype:
        raise DTypeError(f"embedding_bag: weight is {weight.dtype} and per_sample_weights {per_sample_weights.dtype}; write w.to(weight.dtype)")


def _sizes(index: Any, offsets: Tensor | None, include_last_offset: bool) -> Any:
    """How many numbers each bag has."""
    xp = namespace(index)
    if index.ndim == 2:
        if offsets is not None:
            raise ValueError(f"embedding_bag: the rows of an input of shape {index.shape} are the bags, so there are no offsets")
        return xp.full(index.shape[0], index.shape[1])
    if index.ndim != 1:
        raise ShapeError(f"embedding_bag takes an input of shape (B, N), or (T) with offsets, got {index.shape}")
    if offsets is None:
        raise ValueError(f"embedding_bag: an input of shape {index.shape} needs offsets, where each bag begins; write x.unsqueeze(0) for one bag")
    starts = integers(offsets, index, "embedding_bag's offsets")
    if starts.ndim != 1 or (include_last_offset and not len(starts)):
        raise ShapeError(f"embedding_bag takes offsets of shape (B), or (B + 1) with include_last_offset, got {starts.shape}")
    if not include_last_offset and len(starts):
        starts = xp.append(starts, len(index))
    size = xp.diff(starts)
    if len(starts) and (int(starts[0]) != 0 or int(starts[-1]) > len(index) or bool((size < 0).any())):
        raise ShapeError(f"embedding_bag: offsets begin with 0, never fall and stay within the input of length {len(index)}, got "
                         f"{raw(offsets).tolist()}")
    return size
