"""Activations, element by element: the value, and if asked (`derive`) the derivative, from what both have in common.

The work is done in pieces that stay in the processor's cache. Choices between two values are made by bits: NumPy's `where` branches
at every element, which takes twenty times as long where the condition is random. Limits are `clip`, which is faster than `maximum`
with a number.
"""
from __future__ import annotations

import math
from functools import wraps
from typing import Any, Callable

import numpy as np

from ... import namespace, special
from .memory import empty

__all__ = ["choose", "elu", "error_function", "gelu", "gelu_tanh", "gelu_tanh_backward", "glu", "glu_backward", "hardshrink", "hardsigmoid",
           "hardsigmoid_backward", "hardswish", "hardtanh", "hardtanh_backward", "leaky_relu", "leaky_relu_backward", "logsigmoid", "mish",
           "prelu", "prelu_backward", "relu", "relu_backward", "select", "shrink_backward", "sigmoid_backward", "silu", "softplus",
           "softshrink", "softsign", "tanh_backward", "tanhshrink", "threshold", "threshold_backward"]

PIECE = 1 << 15          # elements computed at a time
INF = math.inf


def wide(x: Any) -> Any:
    """An array in the precision to compute in: float16 and bfloat16 as float32, others, and None, as they are."""
    return x if x is None or x.dtype.char not in "eE" else x.astype("float32")


def _in_pieces(body: Callable) -> Callable:
    """Make body(xp, x, y, slope, *options), which fills y and (unless None) slope, a kernel(x, derive, *options) -> (y, slope)."""
    @wraps(body)
    def kernel(x: Any, derive: bool, *options: Any) -> tuple:
        xp, flat = namespace(x), wide(x).reshape(-1)
        y: Any = empty(xp, flat.shape, flat.dtype)
        slope: Any = empty(xp, flat.shape, flat.dtype) if derive else None
        step = PIECE if xp is np else max(flat.size, 1)
        for i in range(0, flat.size, step):
            body(xp, flat[i:i + step], y[i:i + step], slope[i:i + step] if derive else None, *options)
        return tuple([a if a is None else a.reshape(x.shape).astype(x.dtype, copy=False) for a in (y, slope)])
    return kernel


# -- made of straight lines --------------------------------------------------------------------------------------------

# NumPy compares with an array in half the time that a Python number takes
_ZEROS = {np.dtype(c).num: np.zeros((), c) for c in np.typecodes["AllInteger"] + "efd"}


def relu(x: Any) -> Any:
    """max(x, 0)."""
    return rectified(x)


def rectified(x: Any, out: Any = None) -> Any:
    """max(x, 0), in new memory or in `out`; of many elements by `clip`, which takes a third of the time."""
    if type(x) is np.ndarray and x.size < PIECE:
        return np.maximum(x, _ZEROS.get(x.dtype.num, 0), out=out)
    xp = namespace(x)
    return xp.clip(x, 0, INF, out=out) if x.dtype.kind == "f" else xp.maximum(x, 0, out=out)


def relu_backward(g: Any, y: Any) -> Any:
    """g where y = max(x, 0) is positive, else 0."""
    return select(y > 0, g)


def leaky_relu(x: Any, slope: float) -> Any:
    """x where x > 0, slope·x elsewhere: the larger of both lines, or the smaller if the slope is above 1."""
    if slope == 0:                                    # where x = ∞ the other line is NaN
        return select(x > 0, x, x * slope)
    xp = namespace(x)
    return (xp.maximum if slope <= 1 else xp.minimum)(x, x * slope)


def leaky_relu_backward(g: Any, x: Any, slope: float) -> Any:
    """g where x > 0, slope·g elsewhere."""
    return g * choose(x > 0, 1, slope, g.dtype)


def hardtanh(x: Any, low: float, high: float) -> Any:
    """x limited to [low, high]."""
    return x.clip(low, high)


def hardtanh_backward(g: Any, y: Any, low: float, high: float) -> Any:
    """g where y is between the limits, else 0."""
    return select((y > low) & (y < high), g)


def hardsigmoid(x: Any) -> Any:
    """x/6 + 1/2, limited to [0, 1]."""
    return (x * (1 / 6) + 0.5).clip(0, 1)


def hardsigmoid_backward(g: Any, x: Any) -> Any:
    """g/6 where -3 < x < 3, else 0."""
    return select((x > -3) & (x < 3), g * (1 / 6))


def threshold(x: Any, limit: float, value: float) -> Any:
    """x above the limit, elsewhere the value."""
    return select(~(x <= limit), x, value)


def threshold_backward(g: Any, x: Any, limit: float) -> Any:
    """g where x is above the limit, else 0."""
    return select(~(x <= limit), g)


def hardshrink(x: Any, limit: float) -> Any:
    """x where |x| is above the limit, else 0."""
    return select(~(abs(x) <= limit), x)


def softshrink(x: Any, limit: float) -> Any:
    """x moved towards 0 by the limit."""
    return x - x.clip(-limit, limit)


def shrink_backward(g: Any, x: Any, limit: float) -> Any:
    """g where |x| is above the limit, else 0."""
    return select(~(abs(x) <= limit), g)


# -- gradients known from the value ------------------------------------------------------------------------------------

def sigmoid_backward(g: Any, y: Any) -> Any:
    """g·y·(1 - y)."""
    return g * y * (1 - y)


def tanh_backward(g: Any, y: Any) -> Any:
    """g·(1 - y²)."""
    return g - g * y * y


# -- choosing between values -------------------------------------------------------------------------------------------

def _bits(condition: Any, dtype: np.dtype) -> Any:
    """Integers of a dtype's size: all bits set where the condition holds, none elsewhere."""
    return np.negative(condition.view("int8")).astype(f"int{8 * dtype.itemsize}")


def select(condition: Any, x: Any, other: Any = 0) -> Any:
    """x where the condition, of x's shape, holds; elsewhere other: a number, or an array of x's shape and dtype."""
    xp = namespace(x)
    if xp is not np or x.ndim == 0:
        return xp.where(condition, x, other if hasattr(other, "dtype") else x.dtype.type(other))      # a number needs no copy to a device
    bits = _bits(condition, x.dtype)
    x_bits = x.view(bits.dtype)
    if getattr(other, "ndim", 0) == 0 and other == 0 and not np.signbit(other):
        bits &= x_bits
    else:
        other_bits = np.asarray(other, x.dtype).view(bits.dtype)
        bits &= x_bits ^ other_bits
        bits ^= other_bits
    return bits.view(x.dtype)


def choose(condition: Any, yes: float, no: float, dtype: np.dtype) -> Any:
    """An array of a dtype: the number `yes` where the condition holds, `no` elsewhere."""
    xp = namespace(condition)
    a, b = dtype.type(yes), dtype.type(no)
    if xp is not np or condition.ndim == 0:
        return xp.where(condition, a, b)
    bits = _bits(condition, dtype)
    bits &= a.view(bits.dtype) ^ b.view(bits.dtype)
    bits ^= b.view(bits.dtype)
    return bits.view(dtype)


# -- what several are made of ------------------------------------------------------------------------------------------

def _sigmoid(xp: Any, x: Any) -> Any:
    """1/(1 + e^-x); where e^-x overflows, 1/∞ is the right value."""
    s = xp.negative(x)
    xp.exp(s, out=s)
    s += 1
    return xp.divide(1, s, out=s)


def _log_one_plus(xp: Any, e: Any) -> tuple:
    """log(1 + e) and u = 1 + e: the logarithm of the rounded sum u, corrected by what rounding left; np.log1p takes thrice as long."""
    u = e + 1
    y, lost = xp.log(u), u - 1
    xp.subtract(e, lost, out=lost)
    lost /= u
    y += lost
    return y, u


def error_function(x: Any) -> Any:
    """erf x = 2/√π ∫₀ˣ e^(-t²) dt."""
    return special(namespace(x)).erf(x).astype(x.dtype, copy=False)


# -- smooth ones -------------------------------------------------------------------------------------------------------

# erf(x/√2) = tanh(x·p(x²)) to 6e-8 for all x in float32: the minimax polynomial, written in v = -x²/2 and for x·p/-2, which the code has
_ERF = [np.float32(-2 * c * (-2.0) ** k) for k, c in enumerate((
    0.7978849414598472, 0.03633308457668841, -3.259497907364393e-05, -5.53061920384002e-05, 3.964744074395244e-06, -1.3226330932495957e-07,
    1.7561698169463819e-09))]


@_in_pieces
def gelu(xp: Any, x: Any, y: Any, slope: Any) -> None:
    """x·Φ(x) with the normal distribution's Φ(x) = (1 + erf(x/√2))/2; the derivative is Φ(x) + x·e^(-x²/2)/√(2π)."""
    half = x * -0.5
    v = x * half
    if xp is np and x.dtype == np.float32:
        twice = v * _ERF[-1]
        for c in _ERF[-2:0:-1]:
            twice += c
            twice *= v
        twice += _ERF[0]
        twice *= half
        xp.tanh(twice, out=twice)
        twice += 1                                    # 2Φ(x)
    else:
        twice = special(xp).erfc(x * -math.sqrt(0.5))
    xp.multiply(half, twice, out=y)
    xp.negative(y, out=y)
    if slope is not None:
        xp.exp(v, out=slope)
        half *= -4 / math.sqrt(2 * math.pi)
        slope *= half
        slope += twice
        slope *= 0.5


@_in_pieces
def gelu_tanh(xp: Any, x: Any, y: Any, slope: Any) -> None:
    """x·(1 + t)/2 with t = tanh(√(2/π)·(x + 0.044715·x³)); the derivative is (1 + t)/2 + x/2·(1 - t²)·√(2/π)·(1 + 0.134145·x²)."""
    a, b = math.sqrt(2 / math.pi), math.sqrt(2 / math.pi) * 0.044715
    u = x * x
    t = u * b
    t += a
    t *= x
    xp.tanh(t, out=t)
    half = x * 0.5
    if slope is not None:
        u *= 3 * b
        u += a
        u *= half
        xp.multiply(t, t, out=slope)
        xp.subtract(1, slope, out=slope)
        slope *= u
    t += 1
    xp.multiply(t, half, out=y)
    if slope is not None:
        t *= 0.5
        slope += t


def gelu_tanh_backward(g: Any, x: Any) -> Any:
    """g times the derivative of `gelu_tanh` at x, for those who have kept x."""
    return g * gelu_tanh(x, True)[1]


@_in_pieces
def silu(xp: Any, x: Any, y: Any, slope: Any) -> None:
    """x·σ(x); the derivative is σ + y - y·σ."""
    s = _sigmoid(xp, x)
    xp.multiply(x, s, out=y)
    if slope is not None:
        xp.multiply(y, s, out=slope)
        xp.subtract(y, slope, out=slope)
        slope += s


@_in_pieces
def mish(xp: Any, x: Any, y: Any, slope: Any) -> None:
    """x·t with t = tanh(log(1 + n)) = w/(w + 2), w = n·(n + 2), n = e^x; the derivative is t + x·(1 - t²)·n/(1 + n)."""
    n = xp.clip(x, -INF, 40)                          # beyond, t is 1 in every dtype
    xp.exp(n, out=n)
    t = n + 2
    t *= n
    rest = t + 2
    t /= rest
    xp.multiply(x, t, out=y)
    if slope is not None:
        xp.add(t, 1, out=slope)                       # 1 - t² = (1 + t)·2/(w + 2)
        slope /= rest
        slope *= n
        n += 1
        slope /= n
        slope *= x
        slope *= 2
        slope += t


@_in_pieces
def softplus(xp: Any, x: Any, y: Any, slope: Any, beta: float, threshold: float) -> None:
    """log(1 + e^z)/β with z = β·x, and x itself where z is above the threshold; the derivative is σ(z), and 1 there."""
    z = x * beta
    e = xp.abs(z)
    xp.negative(e, out=e)
    xp.exp(e, out=e)
    log, u = _log_one_plus(xp, e)
    xp.clip(z, 0, INF, out=y)
    y += log
    y /= beta
    above = z > threshold
    straight = xp is not np or above.any()
    if straight:
        y[...] = select(above, x, y)
    if slope is not None:
        xp.divide(select(z < 0, e, 1), u, out=slope)
        if straight:
            slope[...] = select(above, xp.ones_like(slope), slope)


@_in_pieces
def logsigmoid(xp: Any, x: Any, y: Any, slope: Any) -> None:
    """log σ(x) = min(x, 0) - log(1 + e^-|x|); the derivative is σ(-x)."""
    e = xp.abs(x)
    xp.negative(e, out=e)
    xp.exp(e, out=e)
    log, u = _log_one_plus(xp, e)
    xp.clip(x, -INF, 0, out=y)
    y -= log
    if slope is not None:
        xp.divide(select(x > 0, e, 1), u, out=slope)


@_in_pieces
def softsign(xp: Any, x: Any, y: Any, slope: Any) -> None:
    """x/(1 + |x|); the derivative is 1/(1 + |x|)²."""
    r = xp.abs(x)
    r += 1
    xp.divide(x, r, out=y)
    if slope is not None:
        r *= r
        xp.divide(1, r, out=slope)


@_in_pieces
def tanhshrink(xp: Any, x: Any, y: Any, slope: Any) -> None:
    """x - tanh(x); the derivative is tanh²."""
    t = xp.tanh(x)
    xp.subtract(x, t, out=y)
    if slope is not None:
        xp.multiply(t, t, out=slope)


@_in_pieces
def elu(xp: Any, x: Any, y: Any, slope: Any, alpha: float, scale: float, rate: float) -> None:
    """scale·x where x > 0, else scale·α·(e^(rate·x) - 1); the derivative is scale, else scale·α·rate·e^(rate·x)."""
    e = xp.clip(x, -INF, 0)
    if rate != 1:
        e *= rate
    if slope is not None:
        xp.exp(e, out=slope)                          # 1 where x > 0
        if alpha * rate != 1:
            slope *= alpha * rate
            slope[...] = select(~(x > 0), slope, 1)
        if scale != 1:
            slope *= scale
    xp.expm1(e, out=e)                                # 0 where x > 0
    if alpha != 1:
        e *= alpha
    xp.clip(x, 0, INF, out=y)
    y += e
    if scale != 1:
        y *= scale


@_in_pieces
def hardswish(xp: Any, x: Any, y: Any, slope: Any) -> None:
    """x·h with h = clamp(x/6 + 1/2, 0, 1); the derivative is x/3 + 1/2 for -3 < x < 3, 0 below and 1 above."""
    t = xp.clip(x, -3, 3)
    if slope is not None:
        slope[...] = select(xp.abs(x) < 3, t)
        slope *= 1 / 6
    t *= 1 / 6
    t += 0.5
    xp.multiply(x, t, out=y)
    if slope is not None:
        slope += t


# -- with more than one argument ---------------------------------------------------------------------------------------

def glu(x: Any, dim: int) -> tuple:
    """a·σ(b) for the halves a, b of x along a dimension, and σ(b)."""
    xp = namespace(x)
    a, b = xp.split(wide(x), 2, dim)
    s = _sigmoid(xp, b)
    return (a * s).astype(x.dtype, copy=False), s


def glu_backward(g: Any, y: Any, s: Any, dim: int) -> Any:
    """The derivative of `glu` with respect to x: g·s for a, g·y·(1 - s) for b."""
    xp = namespace(g)
    shape = list(y.shape)
    shape[dim] *= 2
    d = empty(xp, tuple(shape), s.dtype)
    da, db = xp.split(d, 2, dim)
    xp.multiply(g, s, out=da)
    xp.subtract(1, s, out=db)
    db *= y
    db *= g
    return d.astype(g.dtype, copy=False)


def _along_channels(weight: Any, ndim: int) -> Any:
    """A weight of one number, or one for each channel, in a shape that broadcasts with the input."""
    return weight.reshape((-1,) + (1,) * (ndim - 2)) if ndim > 1 else weight.reshape(())


def prelu(x: Any, weight: Any) -> Any:
    """x where x > 0, weight·x elsewhere; one weight, or one for each channel (dimension 1)."""
    return select(x > 0, x, x * _along_channels(weight, x.ndim))


def prelu_backward(g: Any, x: Any, weight: Any, needs: tuple) -> tuple:
    """The derivatives of `prelu`: g or weight·g, and the sum of g·x over each channel's elements that are not positive."""
    positive = x > 0
    dx = select(positive, g, g * _along_channels(weight, x.ndim)) if needs[0] else None
    if not needs[1]:
        return dx, None
    lost = wide(select(~positive, g * x))
    axes = None if weight.size == 1 else tuple(i for i in range(x.ndim) if i != 1)
    return dx, lost.sum(axis=axes).reshape(weight.shape).astype(weight.dtype, copy=False)
