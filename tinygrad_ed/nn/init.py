"""How parameters begin: functions that overwrite a tensor and return it, without recording."""
from __future__ import annotations

import math
from typing import Any

from ..autograd.inplace import write
from ..autograd.modes import no_grad
from ..errors import ShapeError
from ..ops.random import gaussian, uniform
from ..tensor import Tensor

__all__ = ["calculate_gain", "constant_", "kaiming_uniform_", "normal_", "ones_", "uniform_", "xavier_uniform_", "zeros_"]

_GAINS = {"linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0, "conv_transpose1d": 1.0, "conv_transpose2d": 1.0,
          "conv_transpose3d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights before a nonlinearity are larger, so that signals keep their size.

    Args:
        nonlinearity: "linear", "conv1d" to "conv3d", "conv_transpose1d" to "conv_transpose3d", "sigmoid", "tanh", "relu",
            "leaky_relu" or "selu".
        param: the negative slope of "leaky_relu", 0.01 by default.

    Returns:
        1 for linear ones and sigmoid, 5/3 for tanh, √2 for relu, √(2 / (1 + slope²)) for leaky_relu, 3/4 for selu.

    Raises:
        ValueError: an unknown nonlinearity, or a slope that is no number.

    Example:
        >>> calculate_gain("tanh")
        1.6666666666666667
    """
    if nonlinearity == "leaky_relu":
        if param is not None and (isinstance(param, bool) or not isinstance(param, (int, float))):
            raise ValueError(f"the negative slope is a number, got {param!r}")
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"no gain is known for {nonlinearity!r}; known are {', '.join(_GAINS)}, leaky_relu")
    return _GAINS[nonlinearity]


def _fill(tensor: Tensor, value: Any, what: str) -> Tensor:
    with no_grad():
        return write(tensor, value, what)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Overwrite with numbers uniform in [a, b).

    Args:
        tensor: a floating point tensor.
        a: the lower limit.
        b: the upper limit.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        The tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.nn.init.uniform_(tg.empty(100), 2, 3)
        >>> bool((2 <= x).all() and (x <= 3).all())
        True
    """
    u = uniform(tensor.shape, tensor.dtype, tensor.device, generator)
    u *= b - a
    u += a
    return _fill(tensor, u, "uniform_")


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Overwrite with normally distributed numbers.

    Args:
        tensor: a floating point tensor.
        mean: their mean.
        std: their standard deviation.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        The tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.init.normal_(tg.empty(3, 5), std=0.02).shape
        (3, 5)
    """
    z = gaussian(tensor.shape, tensor.dtype, tensor.device, generator)
    z *= std
    z += mean
    return _fill(tensor, z, "normal_")


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Overwrite with one number.

    Args:
        tensor: a tensor.
        val: the number.

    Returns:
        The tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.init.constant_(tg.empty(2), 0.5)
        tensor([0.5000, 0.5000])
    """
    return _fill(tensor, val, "constant_")


def ones_(tensor: Tensor) -> Tensor:
    """Overwrite with ones.

    Args:
        tensor: a tensor.

    Returns:
        The tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.init.ones_(tg.empty(2))
        tensor([1., 1.])
    """
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Overwrite with zeros.

    Args:
        tensor: a tensor.

    Returns:
        The tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.init.zeros_(tg.empty(2))
        tensor([0., 0.])
    """
    return constant_(tensor, 0.0)


def _fans(tensor: Tensor) -> tuple[int, int]:
    """How many inputs and how many outputs a weight (out, in, *kernel) connects."""
    if tensor.ndim < 2:
        raise ShapeError(f"the numbers of inputs and outputs are read off a weight (out, in, ...), got shape {tensor.shape}")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def kaiming_uniform_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None) -> Tensor:
    """Overwrite with numbers uniform in ±gain·√(3 / fan) (He et al., 2015), which keeps the variance of signals.

    Args:
        tensor: a weight (out, in, ...).
        a: the negative slope of the leaky ReLU behind it.
        mode: "fan_in" keeps it in the forward, "fan_out" in the backward pass.
        nonlinearity: what follows, as for `calculate_gain`.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        The tensor.

    Raises:
        ShapeError: fewer than 2 dimensions.
        ValueError: an unknown mode or nonlinearity.

    Example:
        >>> import tinygrad_ed as tg
        >>> bool((tg.nn.init.kaiming_uniform_(tg.empty(3, 6)).abs() <= 1).all())
        True
    """
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'mode is "fan_in" or "fan_out", got {mode!r}')
    gain = calculate_gain(nonlinearity, a)
    if tensor.numel() == 0:
        return tensor
    bound = gain * math.sqrt(3 / _fans(tensor)[mode == "fan_out"])
    return uniform_(tensor, -bound, bound, generator)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Overwrite with numbers uniform in ±gain·√(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010).

    Args:
        tensor: a weight (out, in, ...).
        gain: as `calculate_gain` gives it.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        The tensor.

    Raises:
        ShapeError: fewer than 2 dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> bool((tg.nn.init.xavier_uniform_(tg.empty(3, 3)).abs() <= 1).all())
        True
    """
    fan_in, fan_out = _fans(tensor)
    bound = gain * math.sqrt(6 / (fan_in + fan_out)) if fan_in + fan_out else 0.0
    return uniform_(tensor, -bound, bound, generator)
