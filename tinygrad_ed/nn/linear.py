"""Layers that are linear in each of their inputs, and Identity."""
from __future__ import annotations

import math
from typing import Any

from ..ops.bilinear import bilinear
from ..ops.creation import empty
from ..ops.matmul import linear, linear_gelu, linear_relu
from ..tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter

__all__ = ["Bilinear", "Identity", "Linear"]


class Identity(Module):
    """Returns its input; takes any arguments and ignores them.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Identity(54, unused=True)(tg.ones(2))
        tensor([1., 1.])
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Linear(Module):
    """An affine map of the last dimension, y = x Wᵀ + b.

    Weight and bias begin uniform in ±1/√in_features.

    Args:
        in_features: length of the last dimension of the input.
        out_features: length of the last dimension of the output.
        bias: whether there is a b.
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.

    Shapes:
        Input: (*, in_features). Output: (*, out_features). weight: (out_features, in_features). bias: (out_features).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Linear(20, 30)(tg.ones(128, 20)).shape
        (128, 30)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__()
        if in_features < 0 or out_features < 0:
            raise ValueError(f"Linear takes numbers of features of at least 0, got in_features={in_features}, out_features={out_features}")
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(empty(out_features, in_features, device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_features, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)

    def _with_relu(self, input: Tensor) -> Tensor:
        """The ReLU of the output."""
        return linear_relu(input, self.weight, self.bias)

    def _with_gelu(self, input: Tensor) -> Tensor:
        """The GELU of the output, approximated by tanh."""
        return linear_gelu(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """A map that is linear in each of two inputs, y_o = x₁ᵀ W_o x₂ + b_o.

    Weight and bias begin uniform in ±1/√in1_features.

    Args:
        in1_features: length of the last dimension of the first input, positive.
        in2_features: length of the last dimension of the second input.
        out_features: length of the last dimension of the output.
        bias: whether there is a b.
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.

    Shapes:
        Inputs: (*, in1_features) and (*, in2_features), with the same leading dimensions. Output: (*, out_features).
        weight: (out_features, in1_features, in2_features). bias: (out_features).

    Raises:
        ValueError: numbers of features that are not positive.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Bilinear(20, 30, 40)(tg.ones(128, 20), tg.ones(128, 30)).shape
        (128, 40)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__()
        if in1_features <= 0 or in2_features < 0 or out_features < 0:
            raise ValueError(f"Bilinear takes positive numbers of features, got in1_features={in1_features}, in2_features={in2_features}, "
                             f"out_features={out_features}")
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        self.weight = Parameter(empty(out_features, in1_features, in2_features, device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_features, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, "
                f"bias={self.bias is not None}")
