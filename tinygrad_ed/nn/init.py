"""How parameters begin: functions that overwrite a tensor and return it, without recording.

The sizes of random weights are chosen so that signals keep their variance from layer to layer. A sum of n₁ inputs has n₁ times the
variance of one, which weights of variance 1/n₁ undo on the way forward, and 1/n₂ on the way back from n₂ outputs.
"""
from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from typing import Any, Iterator

import numpy as np

from ..autograd.inplace import write
from ..autograd.modes import no_grad
from ..backend import module_of
from ..errors import DomainError, ShapeError
from ..ops.elementwise import special
from ..ops.random import check_float, gaussian, uniform
from ..tensor import Tensor

__all__ = ["calculate_gain", "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_", "lecun_normal_", "lecun_uniform_", "normal_",
           "ones_", "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_fan_in_normal_", "xavier_fan_in_uniform_", "xavier_normal_",
           "xavier_uniform_", "zeros_"]

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


class _Skipping(threading.local):
    on = False


_skipping = _Skipping()


@contextmanager
def skipped() -> Iterator[None]:
    """Let the functions of this module leave tensors as they are, in this thread."""
    before, _skipping.on = _skipping.on, True
    try:
        yield
    finally:
        _skipping.on = before


def _fill(tensor: Tensor, value: Any, what: str) -> Tensor:
    """Overwrite a tensor with a value, or with what a function returns that is not called in vain."""
    if _skipping.on:
        return tensor
    with no_grad():
        return write(tensor, value() if callable(value) else value, what)


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
    def draw() -> Any:
        u = uniform(tensor.shape, tensor.dtype, tensor.device, generator)
        u *= b - a
        u += a
        return u
    return _fill(tensor, draw, "uniform_")


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
    def draw() -> Any:
        z = gaussian(tensor.shape, tensor.dtype, tensor.device, generator)
        z *= std
        z += mean
        return z
    return _fill(tensor, draw, "normal_")


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None) -> Tensor:
    """Overwrite with normally distributed numbers of which only those in [a, b] are taken.

    They are Φ⁻¹(u) for u uniform between Φ(a) and Φ(b), with the normal distribution function Φ: exact however unlikely [a, b] is.

    Args:
        tensor: a floating point tensor.
        mean: the mean before the truncation.
        std: the standard deviation before the truncation, positive.
        a: the lower limit.
        b: the upper limit, not below a.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        The tensor.

    Raises:
        DomainError: std is not positive, or a is above b.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.nn.init.trunc_normal_(tg.empty(100), std=0.02, a=-0.04, b=0.04)
        >>> bool((x.abs() <= 0.04).all())
        True
    """
    if not std > 0 or not a <= b:
        raise DomainError(f"trunc_normal_ takes a positive std and limits a <= b, got std={std}, a={a}, b={b}")
    check_float(tensor.dtype)

    def draw() -> Any:
        xp = module_of(tensor.device)
        low, high = (a - mean) / std, (b - mean) / std
        side = -1 if low > 0 else 1                   # the upper tail is the lower one mirrored, where Φ has more digits
        low, high = sorted((side * low, side * high))
        below, above = (float(special(np).ndtr(limit)) for limit in (low, high))
        u = uniform(tensor.shape, np.dtype("float64"), tensor.device, generator)
        z = special(xp).ndtri(below + u * (above - below)) if above else xp.full(tensor.shape, high)
        return xp.clip(xp.clip(z, low, high) * (side * std) + mean, a, b)
    return _fill(tensor, draw, "trunc_normal_")


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


def eye_(tensor: Tensor) -> Tensor:
    """Overwrite a matrix with ones on the diagonal and zeros elsewhere: a linear layer begins as the identity.

    Args:
        tensor: a tensor of shape (n, m).

    Returns:
        The tensor.

    Raises:
        ShapeError: not two dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.init.eye_(tg.empty(2, 3))
        tensor([[1., 0., 0.],
                [0., 1., 0.]])
    """
    if tensor.ndim != 2:
        raise ShapeError(f"eye_ fills a matrix, got shape {tensor.shape}")
    return _fill(tensor, lambda: module_of(tensor.device).eye(*tensor.shape), "eye_")


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Overwrite a convolution's weight so that the layer begins as the identity, for as many channels as there are on both sides.

    Args:
        tensor: a weight (out, in / groups, *kernel) with one to three kernel dimensions.
        groups: the convolution's groups, each of which becomes the identity.

    Returns:
        The tensor.

    Raises:
        ShapeError: another number of dimensions, or output channels that groups does not divide.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.init.dirac_(tg.empty(2, 2, 3))
        tensor([[[0., 1., 0.],
                 [0., 0., 0.]],
        <BLANKLINE>
                [[0., 0., 0.],
                 [0., 1., 0.]]])
    """
    if tensor.ndim not in (3, 4, 5):
        raise ShapeError(f"dirac_ fills a weight (out, in, *kernel) with one to three kernel dimensions, got shape {tensor.shape}")
    if groups < 1 or tensor.shape[0] % groups:
        raise ShapeError(f"dirac_: {tensor.shape[0]} output channels cannot be divided into {groups} groups")

    def make() -> Any:
        weight = module_of(tensor.device).zeros(tensor.shape)
        per_group = tensor.shape[0] // groups
        middle = tuple(n // 2 for n in tensor.shape[2:])
        for channel in range(min(per_group, tensor.shape[1])):
            weight[(slice(channel, None, per_group), channel, *middle)] = 1
        return weight
    return _fill(tensor, make, "dirac_")


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """Overwrite with a random orthogonal matrix, which keeps all lengths (Saxe, McClelland and Ganguli, 2013).

    It is Q of the QR decomposition of a normally distributed matrix, with the signs that make it uniform (Mezzadri, 2006).

    Args:
        tensor: a tensor of shape (n, …), as the matrix of shape (n, the product of the others): rows or columns, whichever are fewer,
            become orthonormal.
        gain: a factor, as `calculate_gain` gives it.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        The tensor.

    Raises:
        ShapeError: fewer than 2 dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> w = tg.nn.init.orthogonal_(tg.empty(3, 5))
        >>> bool(((w @ w.T - tg.eye(3)).abs() < 1e-6).all())
        True
    """
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_ fills a tensor with at least 2 dimensions, got shape {tensor.shape}")
    check_float(tensor.dtype)
    if tensor.numel() == 0:
        return tensor

    def draw() -> Any:
        xp = module_of(tensor.device)
        rows = tensor.shape[0]
        columns = tensor.numel() // rows
        z = gaussian((rows, columns), max(tensor.dtype, np.dtype("float32")), tensor.device, generator)
        q, r = xp.linalg.qr(z.T if rows < columns else z)
        q *= xp.sign(xp.diagonal(r)) * gain
        return (q.T if rows < columns else q).reshape(tensor.shape)
    return _fill(tensor, draw, "orthogonal_")


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Overwrite a matrix with normally distributed numbers, of which a fraction in every column are zeros (Martens, 2010).

    Args:
        tensor: a floating point tensor of shape (n, m).
        sparsity: the fraction of zeros in each column, in [0, 1]; their number is rounded up.
        std: the standard deviation of the others.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        The tensor.

    Raises:
        ShapeError: not two dimensions.
        DomainError: a sparsity outside [0, 1].

    Example:
        >>> import tinygrad_ed as tg
        >>> (tg.nn.init.sparse_(tg.empty(10, 3), sparsity=0.7) == 0).sum(0)
        tensor([7, 7, 7])
    """
    if tensor.ndim != 2:
        raise ShapeError(f"sparse_ fills a matrix, got shape {tensor.shape}")
    if not 0 <= sparsity <= 1:
        raise DomainError(f"sparse_ takes a sparsity in [0, 1], got {sparsity}")
    check_float(tensor.dtype)

    def draw() -> Any:
        z = gaussian(tensor.shape, tensor.dtype, tensor.device, generator)
        z *= std
        order = uniform(tensor.shape, np.dtype("float64"), tensor.device, generator).argsort(axis=0)      # of the rows, in every column
        z[order.argsort(axis=0) < math.ceil(sparsity * tensor.shape[0])] = 0
        return z
    return _fill(tensor, draw, "sparse_")


# -- weights that keep the variance of signals -------------------------------------------------------------------------

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
