"""Normalisation of channels, over the batch or over each sample, with running statistics for evaluation."""
from __future__ import annotations

import warnings
from typing import Any, Callable

from ...errors import ShapeError
from ...ops.creation import empty, ones, zeros
from ...ops.norm import batch_norm, batch_norm_relu, instance_norm
from ...tensor import Tensor
from .. import init
from ..module import Module
from ..parameter import Parameter

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"]


class _Norm(Module):
    """What the normalisations of channels share: parameters, running statistics, and what inputs they take."""

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None
    _absent_before = ("num_batches_tracked",)           # PyTorch's checkpoints have it since 0.4.1
    shapes: tuple[str, ...]                  # what an input may look like

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True, track_running_stats: bool = True,
                 device: Any = None, dtype: Any = None, *, bias: bool = True):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        kind = {"device": device, "dtype": dtype}
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            self.register_parameter(name, Parameter(empty(num_features, **kind)) if wanted else None)
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, **kind) if tracked else None)
        self.register_buffer("running_var", ones(num_features, **kind) if tracked else None)
        self.register_buffer("num_batches_tracked", zeros((), dtype="int64", device=device) if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Let the running mean be 0, the running variance 1, and nothing be counted."""
        if self.track_running_stats:
            init.zeros_(self.running_mean)            # type: ignore[arg-type]
            init.ones_(self.running_var)              # type: ignore[arg-type]
            init.zeros_(self.num_batches_tracked)     # type: ignore[arg-type]

    def reset_parameters(self) -> None:
        """Let the weight be 1 and the bias 0, and reset the running statistics."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim not in [shape.count(",") + 1 for shape in self.shapes]:
            raise ShapeError(f"{self._get_name()} takes an input of shape {' or '.join(self.shapes)}, got {input.shape}")

    def extra_repr(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, bias={self.bias is not None}, "
                f"track_running_stats={self.track_running_stats}")


class _BatchNorm(_Norm):
    def forward(self, input: Tensor) -> Tensor:
        return self._normalized(input, batch_norm)

    def _with_relu(self, input: Tensor) -> Tensor:
        """The ReLU of the output."""
        return self._normalized(input, batch_norm_relu)

    def _normalized(self, input: Tensor, batch_norm: Callable) -> Tensor:
        self._check_input_dim(input)
        if self.num_features != input.shape[1] and (self.affine or self.track_running_stats):
            raise ShapeError(f"{self._get_name()} was made for {self.num_features} channels, got an input of shape {input.shape}")
        if not self.training:
            return batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, self.running_mean is None, 0.0, self.eps)
        if not self.track_running_stats:
            return batch_norm(input, None, None, self.weight, self.bias, True, 0.0, self.eps)
        momentum, batches = self.momentum, self.num_batches_tracked
        if momentum is None:                          # the mean over all batches so far
            momentum = 0.0 if batches is None else 1 / (batches.item() + 1)
        y = batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, True, momentum, self.eps)
        if batches is not None:
            batches.add_(1)
        return y


class BatchNorm1d(_BatchNorm):
    """(x - mean)/√(var + ε)·weight + bias, over the batch and all positions of a channel; see `functional.batch_norm`.

    In training mean and variance are the batch's, and running ones follow them, which are used in evaluation.

    Args:
        num_features: the number of channels C.
        eps: ε.
        momentum: how fast the running statistics follow, running ← (1 - momentum)·running + momentum·new; None for their mean over all
            batches so far.
        affine: whether there are weight and bias.
        track_running_stats: whether there are running statistics; without, the batch's are used in evaluation too.
        device: where parameters and buffers are made.
        dtype: their dtype; the default floating point dtype by default.
        bias: whether there is a bias.

    Shapes:
        Input: (N, C) or (N, C, L). Output: the same. weight, bias, running_mean, running_var: (C). num_batches_tracked: ().

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.BatchNorm1d(1)(tg.tensor([[1.0], [3.0]])).detach()
        tensor([[-1.0000],
                [ 1.0000]])
    """

    shapes = ("(N, C)", "(N, C, L)")


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images; see `BatchNorm1d`.

    Args:
        num_features: the number of channels C.
        eps: ε.
        momentum: how fast the running statistics follow; None for their mean over all batches so far.
        affine: whether there are weight and bias.
        track_running_stats: whether there are running statistics.
        device: where parameters and buffers are made.
        dtype: their dtype; the default floating point dtype by default.
        bias: whether there is a bias.

    Shapes:
        Input: (N, C, H, W). Output: the same. weight, bias, running_mean, running_var: (C). num_batches_tracked: ().

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.BatchNorm2d(3)
        BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    """

    shapes = ("(N, C, H, W)",)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of volumes; see `BatchNorm1d`.

    Args:
        num_features: the number of channels C.
        eps: ε.
        momentum: how fast the running statistics follow; None for their mean over all batches so far.
        affine: whether there are weight and bias.
        track_running_stats: whether there are running statistics.
        device: where parameters and buffers are made.
        dtype: their dtype; the default floating point dtype by default.
        bias: whether there is a bias.

    Shapes:
        Input: (N, C, D, H, W). Output: the same. weight, bias, running_mean, running_var: (C). num_batches_tracked: ().

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.BatchNorm3d(3)(tg.randn(2, 3, 4, 4, 4)).shape
        (2, 3, 4, 4, 4)
    """

    shapes = ("(N, C, D, H, W)",)


class _InstanceNorm(_Norm):
    shapes: tuple[str, str]                  # without and with a batch

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = False, track_running_stats: bool = False,
                 device: Any = None, dtype: Any = None, *, bias: bool = True):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        batched = input.ndim == self.shapes[1].count(",") + 1
        channels = input.shape[1 if batched else 0]
        if channels != self.num_features:
            if self.affine or self.track_running_stats:
                raise ShapeError(f"{self._get_name()} was made for {self.num_features} channels, got an input of shape {input.shape}")
            warnings.warn(f"{self._get_name()} was made for {self.num_features} channels and got an input of shape {input.shape}; without "
                          f"parameters it makes no difference, but it is mostly a mistake", stacklevel=2)
        y = instance_norm(input if batched else input.unsqueeze(0), self.running_mean, self.running_var, self.weight, self.bias,
                          self.training or not self.track_running_stats, self.momentum or 0.0, self.eps)
        return y if batched else y.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """(x - mean)/√(var + ε)·weight + bias, over the positions of each sample's channel; see `functional.instance_norm`.

    Args:
        num_features: the number of channels C.
        eps: ε.
        momentum: how fast running statistics follow; None for not at all.
        affine: whether there are weight and bias.
        track_running_stats: whether there are running statistics, which are then used in evaluation.
        device: where parameters and buffers are made.
        dtype: their dtype; the default floating point dtype by default.
        bias: whether an affine layer has a bias.

    Shapes:
        Input: (N, C, L) or (C, L). Output: the same. weight, bias, running_mean, running_var: (C).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.InstanceNorm1d(1, eps=0.0)(tg.tensor([[[1.0, 3.0]]]))
        tensor([[[-1.,  1.]]])
    """

    shapes = ("(C, L)", "(N, C, L)")


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of images; see `InstanceNorm1d`.

    Args:
        num_features: the number of channels C.
        eps: ε.
        momentum: how fast running statistics follow; None for not at all.
        affine: whether there are weight and bias.
        track_running_stats: whether there are running statistics, which are then used in evaluation.
        device: where parameters and buffers are made.
        dtype: their dtype; the default floating point dtype by default.
        bias: whether an affine layer has a bias.

    Shapes:
        Input: (N, C, H, W) or (C, H, W). Output: the same. weight, bias, running_mean, running_var: (C).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.InstanceNorm2d(3)
        InstanceNorm2d(3, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=False)
    """

    shapes = ("(C, H, W)", "(N, C, H, W)")


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of volumes; see `InstanceNorm1d`.

    Args:
        num_features: the number of channels C.
        eps: ε.
        momentum: how fast running statistics follow; None for not at all.
        affine: whether there are weight and bias.
        track_running_stats: whether there are running statistics, which are then used in evaluation.
        device: where parameters and buffers are made.
        dtype: their dtype; the default floating point dtype by default.
        bias: whether an affine layer has a bias.

    Shapes:
        Input: (N, C, D, H, W) or (C, D, H, W). Output: the same. weight, bias, running_mean, running_var: (C).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.InstanceNorm3d(3)(tg.randn(2, 3, 4, 4, 4)).shape
        (2, 3, 4, 4, 4)
    """

    shapes = ("(C, D, H, W)", "(N, C, D, H, W)")
