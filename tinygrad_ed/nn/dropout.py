"""Dropout and its relatives as modules; their mathematics is in `ops/dropout.py`. In evaluation they return their input."""
from __future__ import annotations

from typing import Any

from ..errors import DomainError
from ..ops.matmul import linear
from ..tensor import Tensor
from . import functional as F
from .linear import Linear
from .module import Module

__all__ = ["AlphaDropout", "DropConnectLinear", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout", "StochasticDepth"]


def _check(name: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise DomainError(f"{name}: p is a probability in [0, 1], got {p}")


class _Dropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        _check(self._get_name(), p)
        self.p, self.inplace = p, inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Elements set to 0 with probability p, the others divided by 1 - p; see `functional.dropout`.

    Args:
        p: the probability to be dropped.
        inplace: write the result into the input.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Dropout(0.5)(tg.ones(1000)).unique()
        tensor([0., 2.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """Whole channels of sequences set to 0 with probability p; see `functional.dropout1d`.

    Args:
        p: the probability of a channel to be dropped.
        inplace: write the result into the input.

    Shapes:
        Input: (N, C, L) or (C, L). Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Dropout1d(1.0)(tg.ones(2, 3, 4)).sum()
        tensor(0.)
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """Whole channels of images set to 0 with probability p; see `functional.dropout2d`.

    Args:
        p: the probability of a channel to be dropped.
        inplace: write the result into the input.

    Shapes:
        Input: (N, C, H, W). Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Dropout2d(1.0)(tg.ones(2, 3, 4, 4)).sum()
        tensor(0.)
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_Dropout):
    """Whole channels of volumes set to 0 with probability p; see `functional.dropout3d`.

    Args:
        p: the probability of a channel to be dropped.
        inplace: write the result into the input.

    Shapes:
        Input: (N, C, D, H, W) or (C, D, H, W). Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Dropout3d(1.0)(tg.ones(2, 3, 4, 4, 4)).sum()
        tensor(0.)
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_Dropout):
    """Dropout that keeps mean and variance, for use after SELU; see `functional.alpha_dropout`.

    Args:
        p: the probability to be dropped.
        inplace: write the result into the input.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.AlphaDropout(0.5)(tg.zeros(1000)).unique()
        tensor([-0.7792,  0.7792])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.alpha_dropout(input, self.p, self.training, self.inplace)


class FeatureAlphaDropout(_Dropout):
    """Alpha dropout of whole channels; see `functional.feature_alpha_dropout`.

    Args:
        p: the probability of a channel to be dropped.
        inplace: write the result into the input.

    Shapes:
        Input: (N, C, …). Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.FeatureAlphaDropout(0.5)(tg.zeros(2, 3, 8)).std(2).sum()
        tensor(0.)
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training, self.inplace)


class StochasticDepth(Module):
    """A residual branch's output set to 0 for whole samples, or the whole batch; see `functional.stochastic_depth`.

    Args:
        p: the probability to be dropped.
        mode: "row" for each sample on its own, "batch" for all together.

    Shapes:
        Input: (N, …). Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.StochasticDepth(0.2, "row")
        StochasticDepth(p=0.2, mode=row)
    """

    def __init__(self, p: float, mode: str):
        super().__init__()
        _check(self._get_name(), p)
        self.p, self.mode = p, mode

    def forward(self, input: Tensor) -> Tensor:
        return F.stochastic_depth(input, self.p, self.mode, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode}"


class DropConnectLinear(Linear):
    """A linear layer whose weights, not its inputs, are dropped in training: y = x (M ∘ W)ᵀ/(1 - p) + b with a random mask M.

    Wan et al., "Regularization of neural networks using DropConnect", 2013. One mask is drawn for each call and shared by the samples;
    in evaluation the mean of the masks is used, which is W itself.

    Args:
        in_features: length of the last dimension of the input.
        out_features: length of the last dimension of the output.
        p: the probability of a weight to be dropped.
        bias: whether there is a b, which is not dropped.
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.

    Shapes:
        Input: (*, in_features). Output: (*, out_features). weight: (out_features, in_features). bias: (out_features).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.DropConnectLinear(20, 30, p=0.2)(tg.ones(128, 20)).shape
        (128, 30)
    """

    def __init__(self, in_features: int, out_features: int, p: float = 0.5, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__(in_features, out_features, bias, device, dtype)
        _check(self._get_name(), p)
        self.p = p

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, F.dropout(self.weight, self.p, self.training), self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, p={self.p}"
