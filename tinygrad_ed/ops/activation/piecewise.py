"""Activations made of straight lines (and hardswish of a parabola): cheap, with kinks whose derivatives are pinned to PyTorch's."""
from __future__ import annotations

from typing import Any

from ...autograd.op import op
from ...backend.kernels import kernels
from ...dtypes import FLOATS
from ...errors import ShapeError
from ...tensor import Tensor, wrap
from ..arguments import require_float
from ..elementwise import abs as _abs
from ..elementwise import clamp, where, with_kernel
from ..random import uniform
from .common import applied, choose, is_differentiated, keep, overwriting, written

__all__ = ["hardshrink", "hardsigmoid", "hardswish", "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "prelu", "relu6", "rrelu", "rrelu_",
           "softshrink", "threshold", "threshold_"]


_hardtanh = op("hardtanh", lambda x, *, low, high: kernels(x).hardtanh(x, low, high),
               x=with_kernel("hardtanh_backward", lambda g, y, low, high: keep(g, (y > low) & (y < high))))
_hardsigmoid = op("hardsigmoid", lambda x: kernels(x).hardsigmoid(x),
                  x=with_kernel("hardsigmoid_backward", lambda g, x: keep(g * (1 / 6), (x > -3) & (x < 3))))
_hardswish = op("hardswish", lambda x, *, derive: kernels(x).hardswish(x, derive), aux=("slope",),
                composed=lambda x, *, derive: x * clamp(x * (1 / 6) + 0.5, 0, 1), x=lambda g, slope: g * slope)
_leaky_relu = op("leaky_relu", lambda x, *, slope: kernels(x).leaky_relu(x, slope),
                 x=with_kernel("leaky_relu_backward", lambda g, x, slope: g * choose(x > 0, yes=1, no=slope, dtype=g.dtype)))
_threshold = op("threshold", lambda x, *, limit, value: kernels(x).threshold(x, limit, value),
                x=with_kernel("threshold_backward", lambda g, x, limit: keep(g, ~(x <= limit))))
_through_shrinking = with_kernel("shrink_backward", lambda g, x, limit: keep(g, ~(_abs(x) <= limit)))
_hardshrink = op("hardshrink", lambda x, *, limit: kernels(x).hardshrink(x, limit), x=_through_shrinking)
_softshrink = op("softshrink", lambda x, *, limit: kernels(x).softshrink(x, limit), x=_through_shrinking)
_prelu = op("prelu", lambda x, weight: kernels(x).prelu(x, weight), match=("x", "weight"),
            composed=lambda x, weight: where(x > 0, x, x * weight.reshape(-1, *[1] * (x.ndim - 2)) if x.ndim > 1 else x * weight.reshape(())),
            gradients=lambda g, x, weight, needs: kernels(g).prelu_backward(g, x, weight, needs))


def _limited(name: str, input: Tensor, low: float, high: float, inplace: bool) -> Tensor:
    if input.dtype.kind == "b":
        require_float(input, name)
    kind = float if input.dtype.kind in FLOATS else int
    return written(name, input, _hardtanh(input, low=kind(low), high=kind(high)), inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x limited to [min_val, max_val]; the derivative at the limits is 0.

    Args:
        input: a tensor of numbers of any shape.
        min_val: the lower limit.
        max_val: the upper limit.
        inplace: write the result into the input.

    Returns:
        A tensor of the same shape, the input itself if inplace.

    Raises:
        DTypeError: booleans.
        ValueError: min_val above max_val.

    Example:
        >>> import tinygrad_ed as tg
        >>> hardtanh(tg.tensor([-2.0, 0.5, 2.0]))
        tensor([-1.0000,  0.5000,  1.0000])
    """
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val is at most max_val, got {min_val} and {max_val}")
    return _limited("hardtanh", input, min_val, max_val, inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6) (Howard et al., 2017); the derivative at 0 and 6 is 0.

    Args:
        input: a tensor of numbers of any shape.
        inplace: write the result into the input.

    Returns:
        A tensor of the same shape, the input itself if inplace.

    Raises:
        DTypeError: booleans.

    Example:
        >>> import tinygrad_ed as tg
        >>> relu6(tg.tensor([-1.0, 2.0, 8.0]))
        tensor([0., 2., 6.])
    """
    return _limited("relu6", input, 0.0, 6.0, inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """x/6 + 1/2, limited to [0, 1] (Courbariaux, Bengio and David, 2015, with this slope); the derivative at ±3 is 0.

    Args:
        input: a floating point tensor of any shape.
        inplace: write the result into the input.

    Returns:
        A tensor of the same shape, the input itself if inplace.

    Raises:
        DTypeError: integers or booleans.

    Example:
        >>> import tinygrad_ed as tg
        >>> hardsigmoid(tg.tensor([-4.0, 0.0, 4.0]))
        tensor([0.0000, 0.5000, 1.0000])
    """
    return applied("hardsigmoid", _hardsigmoid, input, inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x·hardsigmoid(x) (Howard et al., 2019); the derivative is 0 at -3 and 1 at 3.

    Args:
        input: a floating point tensor of any shape.
        inplace: write the result into the input.

    Returns:
        A tensor of the same shape, the input itself if inplace.

    Raises:
        DTypeError: integers or booleans.

    Example:
        >>> import tinygrad_ed as tg
        >>> hardswish(tg.tensor([-4.0, 0.0, 1.0, 4.0]))
        tensor([-0.0000,  0.0000,  0.6667,  4.0000])
    """
    return applied("hardswish", _hardswish, input, inplace, derive=is_differentiated(input))


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, negative_slope·x elsewhere (Maas, Hannun and Ng, 2013); the derivative at 0 is negative_slope.

    Args:
        input: a floating point tensor of any shape.
        negative_slope: the slope below 0.
        inplace: write the result into the input.

    Returns:
        A tensor of the same shape, the input itself if inplace.

    Raises:
        DTypeError: integers or booleans.

    Example:
        >>> import tinygrad_ed as tg
        >>> leaky_relu(tg.tensor([-1.0, 2.0]), 0.1)
        tensor([-0.1000,  2.0000])
    """
    return applied("leaky_relu", _leaky_relu, input, inplace, slope=negative_slope)


def rrelu(input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False,
          generator: Any = None) -> Tensor:
    """Leaky ReLU whose slope below 0 is drawn for every element, uniform in [lower, upper) (Xu et al., 2015).

    Args:
        input: a floating point tensor of any shape.
        lower: the smallest slope.
        upper: the largest slope.
        training: draw slopes; otherwise all are (lower + upper)/2.
        inplace: write the result into the input.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        A tensor of the same shape, the input itself if inplace.

    Raises:
        DTypeError: integers or booleans.
        ValueError: lower above upper.

    Example:
        >>> import tinygrad_ed as tg
        >>> rrelu(tg.tensor([-1.0, 2.0]), 0.1, 0.3)
        tensor([-0.2000,  2.0000])
    """
    if lower > upper:
        raise ValueError(f"rrelu: lower is at most upper, got {lower} and {upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    require_float(input, "rrelu")
    slope = uniform(input.shape, input.dtype, input.device, generator)
    slope *= upper - lower
    slope += lower
    x = input._data
    slope = kernels(x).select(x <= 0, slope, 1)
    return applied("rrelu", lambda x: x * wrap(slope), input, inplace)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, weight·x elsewhere (He et al., 2015); the derivative at 0 is the weight.

    Args:
        input: a floating point tensor of shape (C) or (N, C, …), or of any shape if there is one weight.
        weight: one number, or one for each channel, of shape () or (C).

    Returns:
        A tensor of the input's shape.

    Raises:
        DTypeError: integers or booleans, or a weight of another dtype.
        ShapeError: a weight that is not one number and does not have one for each channel.

    Example:
        >>> import tinygrad_ed as tg
        >>> prelu(tg.tensor([[-1.0, -1.0]]), tg.tensor([0.25, 0.5]))
        tensor([[-0.2500, -0.5000]])
    """
    require_float(input, "prelu")
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.ndim > 1 or weight.numel() not in (1, channels):
        expected = f"({channels},)" + (" or (1,)" if channels != 1 else "")
        raise ShapeError(f"prelu: for an input of shape {input.shape} the weight has shape {expected}, got {weight.shape}")
    return _prelu(input, weight)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, elsewhere a value, with the derivative 0.

    Args:
        input: a floating point tensor of any shape.
        threshold: the limit.
        value: what replaces elements up to the limit.
        inplace: write the result into the input.

    Returns:
        A tensor of the same shape, the input itself if inplace.

    Raises:
        DTypeError: integers or booleans.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.threshold(tg.tensor([0.5, 1.5]), 1.0, -7.0)
        tensor([-7.0000,  1.5000])
    """
    return applied("threshold", _threshold, input, inplace, limit=threshold, value=value)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| > λ, 0 elsewhere.

    Args:
        input: a floating point tensor of any shape.
        lambd: λ.

    Returns:
        A tensor of the same shape.

    Raises:
        DTypeError: integers or booleans.

    Example:
        >>> import tinygrad_ed as tg
        >>> hardshrink(tg.tensor([-1.0, 0.3, 1.0]))
        tensor([-1.,  0.,  1.])
    """
    return applied("hardshrink", _hardshrink, input, False, limit=lambd)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by λ, 0 where |x| <= λ.

    Args:
        input: a floating point tensor of any shape.
        lambd: λ, at least 0.

    Returns:
        A tensor of the same shape.

    Raises:
        DTypeError: integers or booleans.
        ValueError: a negative λ.

    Example:
        >>> import tinygrad_ed as tg
        >>> softshrink(tg.tensor([-1.0, 0.3, 1.0]))
        tensor([-0.5000,  0.0000,  0.5000])
    """
    if lambd < 0:
        raise ValueError(f"softshrink: lambd is at least 0, got {lambd}")
    return applied("softshrink", _softshrink, input, False, limit=lambd)


hardtanh_ = overwriting(hardtanh, "[-2.0, 0.5] -> [-1.0000,  0.5000]")
leaky_relu_ = overwriting(leaky_relu, "[-1.0, 2.0] -> [-0.0100,  2.0000]")
rrelu_ = overwriting(rrelu, "[0.0, 2.0] -> [0., 2.]")


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """In-place form of `threshold`: the result overwrites the input, which is returned.

    Example:
        >>> import tinygrad_ed as tg
        >>> threshold_(tg.tensor([0.5, 1.5]), 1.0, -7.0)
        tensor([-7.0000,  1.5000])
    """
    return applied("threshold", _threshold, input, True, limit=threshold, value=value)
