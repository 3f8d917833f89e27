"""Tables of vectors that are looked up by number; their mathematics is in `ops/embedding.py`."""
from __future__ import annotations

from typing import Any

from ..autograd.modes import no_grad
from ..errors import ShapeError
from ..ops.creation import empty
from ..ops.embedding import embedding, embedding_bag
from ..tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter

__all__ = ["Embedding", "EmbeddingBag"]


class _Table(Module):
    """What both share: a table of vectors, the padding among them, and how they are shortened."""

    weight: Parameter

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None, max_norm: float | None, norm_type: float,
                 scale_grad_by_freq: bool, sparse: bool, weight: Tensor | None, freeze: bool, device: Any, dtype: Any):
        super().__init__()
        self.num_embeddings, self.embedding_dim, self.padding_idx = num_embeddings, embedding_dim, padding_idx
        self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse = max_norm, norm_type, scale_grad_by_freq, sparse
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(f"{self._get_name()}: padding_idx={padding_idx} is none of the {num_embeddings} rows")
            self.padding_idx = padding_idx % num_embeddings
        if weight is not None and weight.shape != (num_embeddings, embedding_dim):
            raise ShapeError(f"{self._get_name()}: {num_embeddings} embeddings of {embedding_dim} make a weight of shape "
                             f"{(num_embeddings, embedding_dim)}, got {weight.shape}")
        made = empty(num_embeddings, embedding_dim, device=device, dtype=dtype) if weight is None else weight
        self.weight = Parameter(made, requires_grad=not freeze)
        if weight is None:
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table from the standard normal distribution, with zeros for the padding."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0.0

    @classmethod
    def _of(cls, table: Tensor, freeze: bool, **options: Any) -> Any:
        if table.ndim != 2:
            raise ShapeError(f"{cls.__name__}.from_pretrained takes a table of shape (num_embeddings, embedding_dim), got {table.shape}")
        given: dict[str, Any] = {"num_embeddings": table.shape[0], "embedding_dim": table.shape[1], "_weight": table, "_freeze": freeze}
        return cls(**given, **options)


class Embedding(_Table):
    """A table of vectors, one for each number; see `functional.embedding`. They begin standard normal.

    Args:
        num_embeddings: how many vectors, V.
        embedding_dim: their length, D.
        padding_idx: a number whose vector begins as zeros and gets no gradient.
        max_norm: vectors that are looked up and longer than this are first shortened to it, in place.
        norm_type: the p of the norm for max_norm.
        scale_grad_by_freq: divide each vector's gradient by how often it is looked up.
        sparse: accepted as in PyTorch, without effect: gradients here are always dense.
        device: where the table is made.
        dtype: its dtype; the default floating point dtype by default.

    Shapes:
        Input: integers of any shape (*). Output: (*, D). weight: (V, D).

    Raises:
        ValueError: a padding_idx that is none of the numbers.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Embedding(10, 3)(tg.tensor([[1, 2, 4], [4, 3, 2]])).shape
        (2, 3, 3)
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, max_norm: float | None = None,
                 norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False, _weight: Tensor | None = None,
                 _freeze: bool = False, device: Any = None, dtype: Any = None):
        super().__init__(num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight, _freeze, device, dtype)

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None, max_norm: float | None = None,
                        norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False) -> "Embedding":
        """A layer with a given table, whose memory is shared.

        Args:
            embeddings: the table, of shape (V, D).
            freeze: whether it is not trained.
            padding_idx: as for the layer; the table's row is left as it is.
            max_norm: as for the layer.
            norm_type: as for the layer.
            scale_grad_by_freq: as for the layer.
            sparse: as for the layer.

        Raises:
            ShapeError: a table that does not have 2 dimensions.

        Example:
            >>> import tinygrad_ed as tg
            >>> tg.nn.Embedding.from_pretrained(tg.tensor([[1.0, 2.3], [4.0, 5.1]]))(tg.tensor([1]))
            tensor([[4.0000, 5.1000]])
        """
        return cls._of(embeddings, freeze, padding_idx=padding_idx, max_norm=max_norm, norm_type=norm_type, scale_grad_by_freq=scale_grad_by_freq,
                       sparse=sparse)

    def forward(self, input: Tensor) -> Tensor:
        return embedding(input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse)

    def extra_repr(self) -> str:
        shown = {"padding_idx": (self.padding_idx, None), "max_norm": (self.max_norm, None), "norm_type": (self.norm_type, 2),
                 "scale_grad_by_freq": (self.scale_grad_by_freq, False), "sparse": (self.sparse, False)}
        return ", ".join([str(self.num_embeddings), str(self.embedding_dim), *_differing(shown)])


class EmbeddingBag(_Table):
    """The sum, mean or maximum of a table's vectors in each bag of numbers; see `functional.embedding_bag`.

    Args:
        num_embeddings: how many vectors, V.
        embedding_dim: their length, D.
        max_norm: vectors that are looked up and longer than this are first shortened to it, in place.
        norm_type: the p of the norm for max_norm.
        scale_grad_by_freq: divide each vector's gradient by how often it is looked up; not with mode="max".
        mode: "sum", "mean" or "max".
        sparse: accepted as in PyTorch, without effect: gradients here are always dense.
        include_last_offset: whether a further offset says where the last bag ends.
        padding_idx: a number that is left out of the bags; its vector begins as zeros and gets no gradient.
        device: where the table is made.
        dtype: its dtype; the default floating point dtype by default.

    Shapes:
        Input: integers of shape (B, N), or (T) with offsets of shape (B). per_sample_weights: the input's. Output: (B, D). weight: (V, D).

    Raises:
        ValueError: a padding_idx that is none of the numbers, or an unknown mode.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.EmbeddingBag(10, 3, mode="sum")(tg.tensor([1, 2, 4, 5, 4]), tg.tensor([0, 3])).shape
        (2, 3)
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None, norm_type: float = 2.0,
                 scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, _weight: Tensor | None = None,
                 include_last_offset: bool = False, padding_idx: int | None = None, device: Any = None, dtype: Any = None, *,
                 _freeze: bool = False):
        if mode not in ("sum", "mean", "max"):
            raise ValueError(f'EmbeddingBag: mode is "sum", "mean" or "max", got {mode!r}')
        super().__init__(num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight, _freeze, device, dtype)
        self.mode, self.include_last_offset = mode, include_last_offset

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True, max_norm: float | None = None, norm_type: float = 2.0,
                        scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, include_last_offset: bool = False,
                        padding_idx: int | None = None) -> "EmbeddingBag":
        """A layer with a given table, whose memory is shared.

        Args:
            embeddings: the table, of shape (V, D).
            freeze: whether it is not trained.
            max_norm: as for the layer.
            norm_type: as for the layer.
            scale_grad_by_freq: as for the layer.
            mode: as for the layer.
            sparse: as for the layer.
            include_last_offset: as for the layer.
            padding_idx: as for the layer; the table's row is left as it is.

        Raises:
            ShapeError: a table that does not have 2 dimensions.

        Example:
            >>> import tinygrad_ed as tg
            >>> tg.nn.EmbeddingBag.from_pretrained(tg.tensor([[1.0, 2.0], [4.0, 5.0]]))(tg.tensor([[1, 0]]))
            tensor([[2.5000, 3.5000]])
        """
        return cls._of(embeddings, freeze, max_norm=max_norm, norm_type=norm_type, scale_grad_by_freq=scale_grad_by_freq, mode=mode, sparse=sparse,
                       include_last_offset=include_last_offset, padding_idx=padding_idx)

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        return embedding_bag(input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode, self.sparse,
                             per_sample_weights, self.include_last_offset, self.padding_idx)

    def extra_repr(self) -> str:
        shown = {"max_norm": (self.max_norm, None), "norm_type": (self.norm_type, 2), "scale_grad_by_freq": (self.scale_grad_by_freq, False),
                 "mode": (self.mode, None), "padding_idx": (self.padding_idx, None)}
        return ", ".join([str(self.num_embeddings), str(self.embedding_dim), *_differing(shown)])


def _differing(options: dict[str, tuple]) -> list[str]:
    """name=value for the options that are not what they are by default."""
    return [f"{name}={value!r}" for name, (value, default) in options.items() if value != default]
