"""Activations made of straight lines as modules; their mathematics is in `ops/activation/piecewise.py`."""
from __future__ import annotations

from typing import Any

from ...ops.creation import empty
from ...tensor import Tensor
from .. import functional as F
from ..init import constant_
from ..parameter import Parameter
from .base import Activation

__all__ = [
    "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "PReLU", "RReLU", "ReLU", "ReLU6", "Softshrink", "Threshold",
]


class ReLU(Activation):
    """max(x, 0); the derivative at 0 is 0.

    Args:
        inplace: write the result into the input.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ReLU()(tg.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, self.inplace)


class Hardtanh(Activation):
    """x limited to [min_val, max_val]; see `functional.hardtanh`.

    Args:
        min_val: the lower limit.
        max_val: the upper limit.
        inplace: write the result into the input.

    Shapes:
        Input: any. Output: the same.

    Raises:
        ValueError: min_val is not below max_val.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Hardtanh(-2.0, 2.0)(tg.tensor([-3.0, 1.0]))
        tensor([-2.,  1.])
    """

    shown: tuple[str, ...] = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False):
        super().__init__()
        if min_val >= max_val:
            raise ValueError(f"Hardtanh: min_val is below max_val, got {min_val} and {max_val}")
        self.min_val, self.max_val, self.inplace = min_val, max_val, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)


class ReLU6(Hardtanh):
    """min(max(x, 0), 6); see `functional.relu6`.

    Args:
        inplace: write the result into the input.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ReLU6()(tg.tensor([-1.0, 8.0]))
        tensor([0., 6.])
    """

    shown = ()

    def __init__(self, inplace: bool = False):
        super().__init__(0.0, 6.0, inplace)


class Hardsigmoid(Activation):
    """x/6 + 1/2, limited to [0, 1]; see `functional.hardsigmoid`.

    Args:
        inplace: write the result into the input.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Hardsigmoid()(tg.tensor([-4.0, 0.0]))
        tensor([0.0000, 0.5000])
    """

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input, self.inplace)


class Hardswish(Activation):
    """x·hardsigmoid(x); see `functional.hardswish`.

    Args:
        inplace: write the result into the input.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Hardswish()(tg.tensor([1.0, 4.0]))
        tensor([0.6667, 4.0000])
    """

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input, self.inplace)


class LeakyReLU(Activation):
    """x where x > 0, negative_slope·x elsewhere; see `functional.leaky_relu`.

    Args:
        negative_slope: the slope below 0.
        inplace: write the result into the input.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.LeakyReLU(0.1)(tg.tensor([-1.0, 2.0]))
        tensor([-0.1000,  2.0000])
    """

    shown = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        super().__init__()
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)


class PReLU(Activation):
    """x where x > 0, a·x elsewhere, with a learned a; see `functional.prelu`. Weight decay would push a towards 0: leave it out of it.

    Args:
        num_parameters: 1, or the number of channels for an a of each.
        init: where a begins.
        device: where the parameter is made.
        dtype: its dtype; the default floating point dtype by default.

    Shapes:
        Input: (N, C, …), or any with one parameter. Output: the same. weight: (num_parameters).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.PReLU()(tg.tensor([-1.0, 2.0])).detach()
        tensor([-0.2500,  2.0000])
    """

    shown = ("num_parameters",)
    weight: Parameter

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None):
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Let a begin anew."""
        constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)


class RReLU(Activation):
    """Leaky ReLU with random slopes in training; see `functional.rrelu`.

    Args:
        lower: the smallest slope.
        upper: the largest slope; in evaluation the slope is the middle of both.
        inplace: write the result into the input.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.RReLU(0.1, 0.3).eval()(tg.tensor([-1.0, 2.0]))
        tensor([-0.2000,  2.0000])
    """

    shown = ("lower", "upper")

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False):
        super().__init__()
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class Threshold(Activation):
    """x where x > threshold, elsewhere a value.

    Args:
        threshold: the limit.
        value: what replaces elements up to the limit.
        inplace: write the result into the input.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Threshold(1.0, -7.0)(tg.tensor([0.5, 1.5]))
        tensor([-7.0000,  1.5000])
    """

    shown = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False):
        super().__init__()
        self.threshold, self.value, self.inplace = threshold, value, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)


class Hardshrink(Activation):
    """x where |x| > λ, 0 elsewhere.

    Args:
        lambd: λ.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Hardshrink()(tg.tensor([0.3, 1.0]))
        tensor([0., 1.])
    """

    def __init__(self, lambd: float = 0.5):
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class Softshrink(Activation):
    """x moved towards 0 by λ.

    Args:
        lambd: λ, at least 0.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Softshrink()(tg.tensor([0.3, 1.0]))
        tensor([0.0000, 0.5000])
    """

    def __init__(self, lambd: float = 0.5):
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)
