"""Batch normalisation that reads the number of channels off its first input."""
from __future__ import annotations

from typing import Any

from ...errors import ShapeError
from ...ops.creation import zeros
from ...tensor import Tensor
from ..lazy import LazyModuleMixin, UninitializedParameter
from .batch import BatchNorm1d, BatchNorm2d, BatchNorm3d

__all__ = ["LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d"]


class _Lazy(LazyModuleMixin):
    """What they share, in front of the class that they become."""

    def __init__(self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True, track_running_stats: bool = True,
                 device: Any = None, dtype: Any = None, *, bias: bool = True):
        super().__init__(0, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        for name in ("weight", "bias"):
            if getattr(self, name) is not None:
                setattr(self, name, UninitializedParameter(device=device, dtype=dtype))

    def initialize_parameters(self, input: Tensor) -> None:
        """Make one value for each channel of the input."""
        self._check_input_dim(input)                  # type: ignore[attr-defined]
        if self.num_features == 0:
            if input.shape[1] == 0:
                raise ShapeError(f"{type(self).__name__} counts the channels of its first input, and one of shape {input.shape} has none")
            self.initialize_from_weight(input.shape[1:2])

    def initialize_from_weight(self, shape: tuple[int, ...]) -> None:
        """Take the number of channels from a weight's shape."""
        self.num_features = shape[0]
        for name in ("running_mean", "running_var"):
            if (old := getattr(self, name)) is not None:
                setattr(self, name, zeros(*shape, device=old.device, dtype=old.dtype))
        for name in ("weight", "bias"):
            if (parameter := getattr(self, name)) is not None:
                parameter.materialize(shape)
        self.reset_parameters()                       # type: ignore[attr-defined]


class LazyBatchNorm1d(_Lazy, BatchNorm1d):
    """A `BatchNorm1d` that reads num_features off its first input.

    Args:
        eps: as for `BatchNorm1d`, and so the others.
        momentum: how fast the running statistics follow; None for their mean over all batches so far.
        affine: whether there are weight and bias.
        track_running_stats: whether there are running statistics.
        device: where parameters and buffers are made.
        dtype: their dtype; the default floating point dtype by default.
        bias: whether there is a bias.

    Shapes:
        Input: (N, C) or (N, C, L). Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.LazyBatchNorm1d()
        >>> layer(tg.randn(4, 3)).shape, layer.num_features
        ((4, 3), 3)
    """

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_Lazy, BatchNorm2d):
    """A `BatchNorm2d` that reads num_features off its first input.

    Args:
        eps: as for `BatchNorm1d`, and so the others.
        momentum: how fast the running statistics follow; None for their mean over all batches so far.
        affine: whether there are weight and bias.
        track_running_stats: whether there are running statistics.
        device: where parameters and buffers are made.
        dtype: their dtype; the default floating point dtype by default.
        bias: whether there is a bias.

    Shapes:
        Input: (N, C, H, W). Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.LazyBatchNorm2d()
        >>> layer(tg.randn(4, 3, 2, 2)).shape, layer.num_features
        ((4, 3, 2, 2), 3)
    """

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_Lazy, BatchNorm3d):
    """A `BatchNorm3d` that reads num_features off its first input.

    Args:
        eps: as for `BatchNorm1d`, and so the others.
        momentum: how fast the running statistics follow; None for their mean over all batches so far.
        affine: whether there are weight and bias.
        track_running_stats: whether there are running statistics.
        device: where parameters and buffers are made.
        dtype: their dtype; the default floating point dtype by default.
        bias: whether there is a bias.

    Shapes:
        Input: (N, C, D, H, W). Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.LazyBatchNorm3d()
        >>> layer(tg.randn(4, 3, 2, 2, 2)).shape, layer.num_features
        ((4, 3, 2, 2, 2), 3)
    """

    cls_to_become = BatchNorm3d
