"""Random weights of a size that keeps the variance of signals from layer to layer.

A sum of n₁ inputs has n₁ times the variance of one, which weights of variance 1/n₁ undo on the way forward, and weights of variance 1/n₂
on the way back from n₂ outputs.
"""
from __future__ import annotations

import math
from typing import Any

from ...errors import ShapeError
from ...tensor import Tensor
from .filling import normal_, uniform_

__all__ = ["calculate_gain", "kaiming_normal_", "kaiming_uniform_", "lecun_normal_", "lecun_uniform_", "xavier_fan_in_normal_",
           "xavier_fan_in_uniform_", "xavier_normal_", "xavier_uniform_"]

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


def _fans(tensor: Tensor) -> tuple[int, int]:
    """How many inputs and how many outputs a weight (out, in, *kernel) connects."""
    if tensor.ndim < 2:
        raise ShapeError(f"the numbers of inputs and outputs are read off a weight (out, in, ...), got shape {tensor.shape}")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _scaled(tensor: Tensor, variance: float, normal: bool, generator: Any) -> Tensor:
    """Overwrite with random numbers of mean 0 and a variance: normal ones, or uniform in ±√(3·variance)."""
    if normal:
        return normal_(tensor, 0.0, math.sqrt(variance), generator)
    bound = math.sqrt(3 * variance)
    return uniform_(tensor, -bound, bound, generator)


def _kaiming(tensor: Tensor, a: float, mode: str, nonlinearity: str, normal: bool, generator: Any) -> Tensor:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'mode is "fan_in" or "fan_out", got {mode!r}')
    gain = calculate_gain(nonlinearity, a)
    if tensor.numel() == 0:
        return tensor
    return _scaled(tensor, gain**2 / _fans(tensor)[mode == "fan_out"], normal, generator)


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
    return _scaled(tensor, gain**2 * 2 / max(sum(_fans(tensor)), 1), False, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Overwrite with normally distributed numbers of standard deviation gain·√(2/(n₁ + n₂)) (Glorot and Bengio, 2010).

    Args:
        tensor: a weight (out, in, ...), of n₁ inputs and n₂ outputs.
        gain: as `calculate_gain` gives it.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        The tensor.

    Raises:
        ShapeError: fewer than 2 dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.init.xavier_normal_(tg.empty(3, 5)).shape
        (3, 5)
    """
    return _scaled(tensor, gain**2 * 2 / max(sum(_fans(tensor)), 1), True, generator)


def xavier_fan_in_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Overwrite with numbers uniform in ±gain·√(3/n₁): one-sided Xavier, which looks at the n₁ inputs only.

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
        >>> bool((tg.nn.init.xavier_fan_in_uniform_(tg.empty(5, 3)).abs() <= 1).all())
        True
    """
    return _scaled(tensor, gain**2 / max(_fans(tensor)[0], 1), False, generator)


def xavier_fan_in_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Overwrite with normally distributed numbers of standard deviation gain·√(1/n₁): one-sided Xavier, as many courses teach it.

    `xavier_normal_` has √(2/(n₁ + n₂)) instead, the mean of what the way forward and the way back ask for.

    Args:
        tensor: a weight (out, in, ...), of n₁ inputs.
        gain: as `calculate_gain` gives it.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        The tensor.

    Raises:
        ShapeError: fewer than 2 dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.init.xavier_fan_in_normal_(tg.empty(3, 5)).shape
        (3, 5)
    """
    return _scaled(tensor, gain**2 / max(_fans(tensor)[0], 1), True, generator)


def lecun_uniform_(tensor: Tensor, generator: Any = None) -> Tensor:
    """Overwrite with numbers uniform in ±√(3/n₁) (LeCun et al., "Efficient backprop", 1998), as `xavier_fan_in_uniform_` without gain.

    Args:
        tensor: a weight (out, in, ...), of n₁ inputs.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        The tensor.

    Raises:
        ShapeError: fewer than 2 dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> bool((tg.nn.init.lecun_uniform_(tg.empty(5, 3)).abs() <= 1).all())
        True
    """
    return xavier_fan_in_uniform_(tensor, 1.0, generator)


def lecun_normal_(tensor: Tensor, generator: Any = None) -> Tensor:
    """Overwrite with normally distributed numbers of standard deviation √(1/n₁), as SELU asks for (Klambauer et al., 2017).

    Args:
        tensor: a weight (out, in, ...), of n₁ inputs.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        The tensor.

    Raises:
        ShapeError: fewer than 2 dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.init.lecun_normal_(tg.empty(3, 5)).shape
        (3, 5)
    """
    return xavier_fan_in_normal_(tensor, 1.0, generator)


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
    return _kaiming(tensor, a, mode, nonlinearity, False, generator)


def kaiming_normal_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None) -> Tensor:
    """Overwrite with normally distributed numbers of standard deviation gain/√fan, √(2/n₁) for ReLU (He et al., 2015).

    Args:
        tensor: a weight (out, in, ...).
        a: the negative slope of the leaky ReLU behind it.
        mode: "fan_in" keeps the variance of signals in the forward, "fan_out" in the backward pass.
        nonlinearity: what follows, as for `calculate_gain`.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        The tensor.

    Raises:
        ShapeError: fewer than 2 dimensions.
        ValueError: an unknown mode or nonlinearity.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.init.kaiming_normal_(tg.empty(3, 5), nonlinearity="relu").shape
        (3, 5)
    """
    return _kaiming(tensor, a, mode, nonlinearity, True, generator)
