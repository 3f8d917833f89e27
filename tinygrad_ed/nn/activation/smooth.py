"""Smooth activations as modules; their mathematics is in `ops/activation/smooth.py`."""
from __future__ import annotations

from ...tensor import Tensor
from .. import functional as F
from .base import Activation

__all__ = ["CELU", "ELU", "GELU", "LogSigmoid", "Mish", "SELU", "SiLU", "Sigmoid", "Softplus", "Softsign", "Tanh", "Tanhshrink"]


class Sigmoid(Activation):
    """1/(1 + e^-x).

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Sigmoid()(tg.tensor([0.0, 100.0]))
        tensor([0.5000, 1.0000])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


class Tanh(Activation):
    """(e^x - e^-x)/(e^x + e^-x).

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Tanh()(tg.tensor([0.0, 100.0]))
        tensor([0., 1.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)


class GELU(Activation):
    """x·Φ(x) with the normal distribution function Φ; see `functional.gelu`.

    Args:
        approximate: "none", or "tanh" for an approximation.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.GELU(approximate="tanh")(tg.tensor([-1.0, 1.0]))
        tensor([-0.1588,  0.8412])
    """

    shown = ("approximate",)

    def __init__(self, approximate: str = "none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, self.approximate)


class SiLU(Activation):
    """x·σ(x), also called swish; see `functional.silu`.

    Args:
        inplace: write the result into the input.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.SiLU()(tg.tensor([-1.0, 1.0]))
        tensor([-0.2689,  0.7311])
    """

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, self.inplace)


class Mish(Activation):
    """x·tanh(log(1 + e^x)); see `functional.mish`.

    Args:
        inplace: write the result into the input.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Mish()(tg.tensor([-1.0, 1.0]))
        tensor([-0.3034,  0.8651])
    """

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.mish(input, self.inplace)


class Softplus(Activation):
    """log(1 + e^(β·x))/β, a smooth max(x, 0); see `functional.softplus`.

    Args:
        beta: how sharp the bend is.
        threshold: where β·x is above it, the result is x.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Softplus()(tg.tensor([-1.0, 1.0]))
        tensor([0.3133, 1.3133])
    """

    shown = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)


class LogSigmoid(Activation):
    """log σ(x), without overflow.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.LogSigmoid()(tg.tensor([-1.0, 0.0]))
        tensor([-1.3133, -0.6931])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)


class Softsign(Activation):
    """x/(1 + |x|).

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Softsign()(tg.tensor([-1.0, 3.0]))
        tensor([-0.5000,  0.7500])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softsign(input)


class Tanhshrink(Activation):
    """x - tanh(x).

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Tanhshrink()(tg.tensor([0.0, 1.0]))
        tensor([0.0000, 0.2384])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.tanhshrink(input)


class ELU(Activation):
    """x where x > 0, α·(e^x - 1) elsewhere; see `functional.elu`.

    Args:
        alpha: minus the limit at -∞.
        inplace: write the result into the input.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ELU()(tg.tensor([-1.0, 1.0]))
        tensor([-0.6321,  1.0000])
    """

    shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__()
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, self.inplace)


class CELU(Activation):
    """x where x > 0, α·(e^(x/α) - 1) elsewhere; see `functional.celu`.

    Args:
        alpha: minus the limit at -∞.
        inplace: write the result into the input.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.CELU(alpha=2.0)(tg.tensor([-1.0, 1.0]))
        tensor([-0.7869,  1.0000])
    """

    shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__()
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha, self.inplace)


class SELU(Activation):
    """ELU scaled so that signals keep mean 0 and variance 1; see `functional.selu`.

    Args:
        inplace: write the result into the input.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.SELU()(tg.tensor([-1.0, 1.0]))
        tensor([-1.1113,  1.0507])
    """

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input, self.inplace)
