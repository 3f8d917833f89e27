"""Normalisation of rows, of groups of channels, and of neighbouring channels."""
from __future__ import annotations

from typing import Any, Sequence

from ...ops.creation import empty
from ...ops.norm import group_norm, layer_norm, local_response_norm, rms_norm
from ...tensor import Tensor
from .. import init
from ..module import Module
from ..parameter import Parameter

__all__ = ["GroupNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"]


class _Affine(Module):
    """What they share: a weight that begins as 1, and a bias that begins as 0."""

    weight: Parameter | None
    bias: Parameter | None

    def _register(self, shape: Any, device: Any, dtype: Any, **wanted: bool) -> None:
        for name, is_wanted in wanted.items():
            self.register_parameter(name, Parameter(empty(shape, device=device, dtype=dtype)) if is_wanted else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Let the weight be 1 and the bias 0."""
        for parameter, fill in ((self.weight, init.ones_), (getattr(self, "bias", None), init.zeros_)):
            if parameter is not None:
                fill(parameter)


def _as_shape(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    return (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)


class LayerNorm(_Affine):
    """(x - mean)/√(var + ε)·weight + bias, over the last dimensions; see `functional.layer_norm`.

    Args:
        normalized_shape: the shape of the last dimensions, as one number or several.
        eps: ε.
        elementwise_affine: whether there are weight and bias.
        bias: whether there is a bias.
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.

    Shapes:
        Input: (…, *normalized_shape). Output: the same. weight, bias: normalized_shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.LayerNorm(2)(tg.tensor([[1.0, 3.0]])).detach()
        tensor([[-1.0000,  1.0000]])
    """

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True,
                 device: Any = None, dtype: Any = None):
        super().__init__()
        self.normalized_shape, self.eps, self.elementwise_affine = _as_shape(normalized_shape), eps, elementwise_affine
        self._register(self.normalized_shape, device, dtype, weight=elementwise_affine, bias=elementwise_affine and bias)

    def forward(self, input: Tensor) -> Tensor:
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"


class RMSNorm(_Affine):
    """x/√(mean(x²) + ε)·weight, over the last dimensions; see `functional.rms_norm`.

    Args:
        normalized_shape: the shape of the last dimensions, as one number or several.
        eps: ε; by default the dtype's smallest step at 1.
        elementwise_affine: whether there is a weight.
        device: where the parameter is made.
        dtype: its dtype; the default floating point dtype by default.

    Shapes:
        Input: (…, *normalized_shape). Output: the same. weight: normalized_shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.RMSNorm(2)(tg.tensor([[1.0, 7.0]])).detach()
        tensor([[0.2000, 1.4000]])
    """

    def __init__(self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True,
                 device: Any = None, dtype: Any = None):
        super().__init__()
        self.normalized_shape, self.eps, self.elementwise_affine = _as_shape(normalized_shape), eps, elementwise_affine
        self._register(self.normalized_shape, device, dtype, weight=elementwise_affine)

    def forward(self, input: Tensor) -> Tensor:
        return rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Affine):
    """(x - mean)/√(var + ε)·weight + bias, over each sample's groups of channels; see `functional.group_norm`.

    Args:
        num_groups: how many groups the channels are divided into.
        num_channels: the number of channels C.
        eps: ε.
        affine: whether there are weight and bias.
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.
        bias: whether there is a bias.

    Shapes:
        Input: (N, C, …). Output: the same. weight, bias: (C).

    Raises:
        ValueError: channels that cannot be divided so.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.GroupNorm(2, 4)(tg.tensor([[1.0, 3.0, 5.0, 9.0]])).detach()
        tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, device: Any = None, dtype: Any = None,
                 *, bias: bool = True):
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"GroupNorm: {num_channels} channels cannot be divided into {num_groups} groups")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self._register(num_channels, device, dtype, weight=affine, bias=affine and bias)

    def forward(self, input: Tensor) -> Tensor:
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, bias={self.bias is not None}"


class LocalResponseNorm(Module):
    """x/(k + α/size·Σ x²)^β, with the sum over neighbouring channels; see `functional.local_response_norm`.

    Args:
        size: how many channels are summed.
        alpha: α.
        beta: β.
        k: k.

    Shapes:
        Input: (N, C, …) with at least 3 dimensions. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.LocalResponseNorm(2)(tg.randn(32, 5, 24, 24)).shape
        (32, 5, 24, 24)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        return local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
