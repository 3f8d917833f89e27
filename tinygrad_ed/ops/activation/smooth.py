"""Smooth activations. Each is a kernel that computes the value and, if gradients are recorded, the derivative along with it.

The lambda under `composed` is the same function in plain operations: its documentation, and the way of second derivatives.
"""
from __future__ import annotations

import math
from typing import Any

from ...autograd.op import op
from ...backend.kernels import kernels
from ...tensor import Tensor
from ..elementwise import abs, erf, expm1, logaddexp, minimum, sigmoid, tanh, where
from .common import applied, is_differentiated, overwriting

__all__ = ["celu", "celu_", "elu", "elu_", "gelu", "logsigmoid", "mish", "selu", "selu_", "silu", "softplus", "softsign", "tanhshrink"]


def _composed_gelu(x: Any, *, derive: bool) -> Any:
    return x * (erf(x * math.sqrt(0.5)) + 1) * 0.5


def _composed_gelu_tanh(x: Any, *, derive: bool) -> Any:
    return x * (tanh((x * x * x * 0.044715 + x) * math.sqrt(2 / math.pi)) + 1) * 0.5


def _composed_softplus(x: Any, *, beta: float, threshold: float, derive: bool) -> Any:
    z = x * beta
    return where(z > threshold, x, logaddexp(z, 0.0) / beta)


def _composed_elu(x: Any, *, alpha: float, scale: float, rate: float, derive: bool) -> Any:
    return where(x > 0, x, expm1(minimum(x, 0.0) * rate) * alpha) * scale


_gelu = op("gelu", lambda x, *, derive: kernels(x).gelu(x, derive), aux=("slope",), composed=_composed_gelu, x=lambda g, slope: g * slope)
_gelu_tanh = op("gelu_tanh", lambda x, *, derive: kernels(x).gelu_tanh(x, derive), aux=("slope",),
                composed=_composed_gelu_tanh, x=lambda g, slope: g * slope)
_silu = op("silu", lambda x, *, derive: kernels(x).silu(x, derive), aux=("slope",),
           composed=lambda x, *, derive: x * sigmoid(x), x=lambda g, slope: g * slope)
_mish = op("mish", lambda x, *, derive: kernels(x).mish(x, derive), aux=("slope",),
           composed=lambda x, *, derive: x * tanh(logaddexp(x, 0.0)), x=lambda g, slope: g * slope)
_softplus = op("softplus", lambda x, *, beta, threshold, derive: kernels(x).softplus(x, derive, beta, threshold), aux=("slope",),
               composed=_composed_softplus, x=lambda g, slope: g * slope)
_logsigmoid = op("logsigmoid", lambda x, *, derive: kernels(x).logsigmoid(x, derive), aux=("slope",),
                 composed=lambda x, *, derive: -logaddexp(-x, 0.0), x=lambda g, slope: g * slope)
_softsign = op("softsign", lambda x, *, derive: kernels(x).softsign(x, derive), to_float=True, aux=("slope",),
               composed=lambda x, *, derive: x / (abs(x) + 1), x=lambda g, slope: g * slope)
_tanhshrink = op("tanhshrink", lambda x, *, derive: kernels(x).tanhshrink(x, derive), to_float=True, aux=("slope",),
                 composed=lambda x, *, derive: x - tanh(x), x=lambda g, slope: g * slope)
_elu = op("elu", lambda x, *, alpha, scale, rate, derive: kernels(x).elu(x, derive, alpha, scale, rate), aux=("slope",),
          composed=_composed_elu, x=lambda g, slope: g * slope)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x·Φ(x), with the distribution function Φ(x) = (1 + erf(x/√2))/2 of the normal distribution (Hendrycks and Gimpel, 2016).

    Args:
        input: a floating point tensor of any shape.
        approximate: "none" for this, "tanh" for x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))), which differs by up to 5e-4.

    Returns:
        A tensor of the same shape.

    Raises:
        DTypeError: integers or booleans.
        ValueError: an unknown approximation.

    Example:
        >>> import tinygrad_ed as tg
        >>> gelu(tg.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.1587,  0.0000,  0.8413])
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f'approximate is "none" or "tanh", got {approximate!r}')
    return applied("gelu", _gelu if approximate == "none" else _gelu_tanh, input, False, derive=is_differentiated(input))


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x·σ(x) = x/(1 + e^-x), also called swish (Elfwing, Uchibe and Doya, 2017).

    Args:
        input: a floating point tensor of any shape.
        inplace: write the result into the input.

    Returns:
        A tensor of the same shape, the input itself if inplace.

    Raises:
        DTypeError: integers or booleans.

    Example:
        >>> import tinygrad_ed as tg
        >>> silu(tg.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.2689,  0.0000,  0.7311])
    """
    return applied("silu", _silu, input, inplace, derive=is_differentiated(input))


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x·tanh(log(1 + e^x)) (Misra, 2019).

    Args:
        input: a floating point tensor of any shape.
        inplace: write the result into the input.

    Returns:
        A tensor of the same shape, the input itself if inplace.

    Raises:
        DTypeError: integers or booleans.

    Example:
        >>> import tinygrad_ed as tg
        >>> mish(tg.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.3034,  0.0000,  0.8651])
    """
    return applied("mish", _mish, input, inplace, derive=is_differentiated(input))


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(β·x))/β, a smooth max(x, 0), without overflow.

    Args:
        input: a floating point tensor of any shape.
        beta: how sharp the bend is.
        threshold: where β·x is above it, the result is x.

    Returns:
        A tensor of the same shape.

    Raises:
        DTypeError: integers or booleans.

    Example:
        >>> import tinygrad_ed as tg
        >>> softplus(tg.tensor([-1.0, 0.0, 100.0]))
        tensor([  0.3133,   0.6931, 100.0000])
    """
    return applied("softplus", _softplus, input, False, beta=beta, threshold=threshold, derive=is_differentiated(input))


def logsigmoid(input: Tensor) -> Tensor:
    """log σ(x) = -log(1 + e^-x), without overflow.

    Args:
        input: a floating point tensor of any shape.

    Returns:
        A tensor of the same shape.

    Raises:
        DTypeError: integers or booleans.

    Example:
        >>> import tinygrad_ed as tg
        >>> logsigmoid(tg.tensor([-1000.0, 0.0, 1000.0]))
        tensor([-1.0000e+03, -6.9315e-01,  0.0000e+00])
    """
    return applied("logsigmoid", _logsigmoid, input, False, derive=is_differentiated(input))


def softsign(input: Tensor) -> Tensor:
    """x/(1 + |x|).

    Args:
        input: a tensor of any shape; integers are first converted to the default floating point dtype.

    Returns:
        A tensor of the same shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> softsign(tg.tensor([-1.0, 0.0, 3.0]))
        tensor([-0.5000,  0.0000,  0.7500])
    """
    return _softsign(input, derive=is_differentiated(input))


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x).

    Args:
        input: a tensor of any shape; integers are first converted to the default floating point dtype.

    Returns:
        A tensor of the same shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> tanhshrink(tg.tensor([0.0, 1.0]))
        tensor([0.0000, 0.2384])
    """
    return _tanhshrink(input, derive=is_differentiated(input))


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, α·(e^x - 1) elsewhere (Clevert, Unterthiner and Hochreiter, 2015); the derivative at 0 is α.

    Args:
        input: a floating point tensor of any shape.
        alpha: minus the limit at -∞.
        inplace: write the result into the input.

    Returns:
        A tensor of the same shape, the input itself if inplace.

    Raises:
        DTypeError: integers or booleans.

    Example:
        >>> import tinygrad_ed as tg
        >>> elu(tg.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.6321,  0.0000,  1.0000])
    """
    return applied("elu", _elu, input, inplace, alpha=alpha, scale=1.0, rate=1.0, derive=is_differentiated(input))


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, α·(e^(x/α) - 1) elsewhere, with the derivative 1 at 0 for every α (Barron, 2017).

    Args:
        input: a floating point tensor of any shape.
        alpha: minus the limit at -∞; not 0.
        inplace: write the result into the input.

    Returns:
        A tensor of the same shape, the input itself if inplace.

    Raises:
        DTypeError: integers or booleans.
        ZeroDivisionError: alpha is 0.

    Example:
        >>> import tinygrad_ed as tg
        >>> celu(tg.tensor([-1.0, 0.0, 1.0]), alpha=2.0)
        tensor([-0.7869,  0.0000,  1.0000])
    """
    return applied("celu", _elu, input, inplace, alpha=alpha, scale=1.0, rate=1 / alpha, derive=is_differentiated(input))


SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """s·x where x > 0, s·α·(e^x - 1) elsewhere, with s ≈ 1.0507 and α ≈ 1.6733, which keep mean 0 and variance 1 (Klambauer et al., 2017).

    Args:
        input: a floating point tensor of any shape.
        inplace: write the result into the input.

    Returns:
        A tensor of the same shape, the input itself if inplace.

    Raises:
        DTypeError: integers or booleans.

    Example:
        >>> import tinygrad_ed as tg
        >>> selu(tg.tensor([-1.0, 0.0, 1.0]))
        tensor([-1.1113,  0.0000,  1.0507])
    """
    return applied("selu", _elu, input, inplace, alpha=SELU_ALPHA, scale=SELU_SCALE, rate=1.0, derive=is_differentiated(input))


elu_ = overwriting(elu, "[-1.0, 1.0] -> [-0.6321,  1.0000]")
celu_ = overwriting(celu, "[-1.0, 1.0] -> [-0.6321,  1.0000]")
selu_ = overwriting(selu, "[-1.0, 1.0] -> [-1.1113,  1.0507]")
