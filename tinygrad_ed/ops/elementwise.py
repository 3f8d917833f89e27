"""Functions of single elements: y = f(x), y = f(a, b), broadcast as NumPy broadcasts. One line of formulas each."""
from __future__ import annotations

import math
from functools import wraps
from typing import Any, Callable

import numpy as np

from .. import dtypes
from ..autograd.op import op
from ..backend import special
from ..backend.kernels import kernels
from ..errors import DTypeError, ShapeError
from ..tensor import Tensor

__all__ = [
    "abs", "acos", "acosh", "add", "addcdiv", "addcmul", "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and",
    "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "ceil", "clamp", "clamp_max", "clamp_min", "cos", "cosh",
    "digamma", "div", "eq", "erf", "erfc", "erfinv", "exp", "exp2", "expm1", "floor", "floor_divide", "fmax", "fmin", "fmod",
    "frac", "ge", "gt", "hypot", "isfinite", "isinf", "isnan", "isneginf", "isposinf", "le", "lerp", "lgamma", "log", "log10",
    "log1p", "log2", "logaddexp", "logaddexp2", "logical_and", "logical_not", "logical_or", "logical_xor", "logit", "lt",
    "masked_fill", "maximum", "minimum", "mul", "nan_to_num", "ne", "neg", "polygamma", "pow", "reciprocal", "relu", "remainder",
    "round", "rsqrt", "sigmoid", "sign", "signbit", "sin", "sinh", "sqrt", "square", "sub", "tan", "tanh", "trunc", "where",
    "xlogy",
]

LN2, LN10 = math.log(2), math.log(10)


def _document(name: str, sentence: str, arguments: str, example: str) -> str:
    call, result = example.split(" -> ")
    return (f"{sentence}\n\nArgs:\n{arguments}\n\nReturns:\n    A tensor of the arguments' broadcast shape.\n\n"
            f"Example:\n    >>> import tinygrad_ed as tg\n    >>> tg.{name}({call})\n    {result}\n")


_ANY = "    input: a tensor of any shape."
_FLOAT = "    input: a tensor of any shape; integers are first converted to the default floating point dtype."
_TWO = "    input: a tensor or a number.\n    other: a tensor or a number that broadcasts with it; dtypes are promoted as in PyTorch."


def _smooth(name: str, sentence: str, example: str, forward: Callable, **formula: Any) -> Callable:
    """Declare a function of one argument with floating point values."""
    values, result = example.split(" -> ")
    return op(name, forward, to_float=True, doc=_document(name, sentence, _FLOAT, f"tg.tensor({values}) -> tensor({result})"), **formula)


def _unary(name: str, sentence: str, example: str, forward: Callable, **formula: Any) -> Callable:
    """Declare a function of one argument that keeps its dtype, or whose values are booleans."""
    values, result = example.split(" -> ")
    return op(name, forward, doc=_document(name, sentence, _ANY, f"tg.tensor({values}) -> tensor({result})"), **formula)


def _binary(name: str, sentence: str, example: str, forward: Callable, to_float: bool = False, **formulas: Any) -> Callable:
    """Declare a function of two arguments that broadcast."""
    values, result = example.split(" -> ")
    a, b = values.split(" | ")
    call = f"tg.tensor({a}), {f'tg.tensor({b})' if b.startswith('[') else b} -> tensor({result})"
    return op(name, forward, promote=("a", "b"), broadcast=True, to_float=to_float, doc=_document(name, sentence, _TWO, call), **formulas)


def with_kernel(kernel: str, formula: Callable) -> Callable:
    """A formula of the gradient, of y or x, and of numbers, which has a kernel for arrays."""
    def of_two(g: Any, known: Any) -> Any:            # which is called faster
        return formula(g, known) if isinstance(g, Tensor) else getattr(kernels(g), kernel)(g, known)

    def of_more(g: Any, *known: Any) -> Any:
        return formula(g, *known) if isinstance(g, Tensor) else getattr(kernels(g), kernel)(g, *known)
    return wraps(formula)(of_two if formula.__code__.co_argcount == 2 else of_more)       # the formula's parameters say what is kept


def _zero(g: Any) -> Any:
    """The derivative of a function that is constant between its steps."""
    return where(True, 0.0, g)


# -- arithmetic --------------------------------------------------------------------------------------------------------

_add = _binary("add", "input + other.", "[1.0, 2.0] | 10.0 -> [11., 12.]",
              lambda a, b: a + b, a=lambda g: g, b=lambda g: g)
_sub = _binary("sub", "input - other.", "[1.0, 2.0] | 10.0 -> [-9., -8.]",
              lambda a, b: a - b, a=lambda g: g, b=lambda g: -g)
mul = _binary("mul", "input · other.", "[1.0, 2.0] | 10.0 -> [10., 20.]",
             lambda a, b: a * b, a=lambda g, b: g * b, b=lambda g, a: g * a)
_div = _binary("div", "input / other.", "[1.0, 2.0] | 10.0 -> [0.1000, 0.2000]",
              lambda a, b: a / b, to_float=True, a=lambda g, b: g / b, b=lambda g, b, y: -g * y / b)
pow = _binary("pow", "input to the power of other.", "[1.0, 2.0, 3.0] | 2 -> [1., 4., 9.]",
             lambda a, b: a ** b,
             a=lambda g, a, b: _pow_base(g, a, b), b=lambda g, a, b, y: _pow_exponent(g, a, b, y))
neg = _unary("neg", "-input.", "[1.0, -2.0] -> [-1.,  2.]", lambda x: -x, x=lambda g: -g)
reciprocal = _smooth("reciprocal", "1 / input.", "[2.0, 4.0] -> [0.5000, 0.2500]", lambda x: 1 / x, x=lambda g, y: -g * y * y)
square = _unary("square", "input².", "[2.0, -3.0] -> [4., 9.]", lambda x: x * x, x=lambda g, x: g * x * 2.0)
remainder = _binary("remainder", "input - other·⌊input / other⌋, with the sign of other (Python's %).", "[5.0, -5.0] | 3 -> [2., 1.]",
                   lambda xp, a, b: xp.remainder(a, b), a=lambda g: g, b=lambda g, a, b: -g * floor(a / b))
fmod = _binary("fmod", "input - other·trunc(input / other), with the sign of input (C's fmod).", "[5.0, -5.0] | 3 -> [ 2., -2.]",
              lambda xp, a, b: xp.fmod(a, b), a=lambda g: g, b=lambda g, a, b: -g * trunc(a / b))
floor_divide = _binary("floor_divide", "⌊input / other⌋, whose derivative is 0.", "[5.0, -5.0] | 3 -> [ 1., -2.]",
                      lambda xp, a, b: xp.floor_divide(a, b), a=_zero, b=_zero)
_trunc_divide = _binary("trunc_divide", "input / other, rounded towards 0.", "[5.0, -5.0] | 3 -> [ 1., -1.]",
                       lambda xp, a, b: xp.trunc(a / b) if _is_float(a, b) else _trunc_int(xp, a, b), a=_zero, b=_zero)


def _is_float(a: Any, b: Any) -> bool:
    return (a if hasattr(a, "dtype") else b).dtype.kind in dtypes.FLOATS


def _trunc_int(xp: Any, a: Any, b: Any) -> Any:
    quotient = xp.floor_divide(xp.abs(a), xp.abs(b))
    return (xp.sign(a) * xp.sign(b) * quotient).astype(quotient.dtype)


def _pow_base(g: Any, a: Any, b: Any) -> Any:
    """g · b·a^(b-1), and 0 where b = 0 whatever a is."""
    if isinstance(b, (int, float)):
        return _zero(g) if b == 0 else g * (a ** (b - 1) * b) if b != 2 else g * a * 2.0
    return g * where(b == 0, 0.0, b * pow(a, where(b == 0, 1.0, b - 1)))


def _pow_exponent(g: Any, a: Any, b: Any, y: Any) -> Any:
    """g · a^b·log a, and 0 where a = 0 and b >= 0."""
    if isinstance(a, (int, float)):
        return where(b >= 0, 0.0, g * y * -math.inf) if a == 0 else g * y * (math.log(a) if a > 0 else math.nan)
    flat = (a == 0) & (b >= 0)
    return g * where(flat, 0.0, y * log(where(flat, 1.0, a)))


def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input + alpha·other.

    Args:
        input: a tensor or a number.
        other: a tensor or a number that broadcasts with it; dtypes are promoted as in PyTorch.
        alpha: a factor for other.

    Returns:
        A tensor of the arguments' broadcast shape.

    Raises:
        ShapeError: the shapes do not broadcast.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.add(tg.tensor([1.0, 2.0]), 10.0, alpha=2)
        tensor([21., 22.])
    """
    return _add(input, other if alpha == 1 else other * alpha)


def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input - alpha·other.

    Args:
        input: a tensor or a number.
        other: a tensor or a number that broadcasts with it; dtypes are promoted as in PyTorch.
        alpha: a factor for other.

    Returns:
        A tensor of the arguments' broadcast shape.

    Raises:
        ShapeError: the shapes do not broadcast.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.sub(tg.tensor([1.0, 2.0]), 10.0)
        tensor([-9., -8.])
    """
    return _sub(input, other if alpha == 1 else other * alpha)


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other, optionally rounded.

    Args:
        input: a tensor or a number.
        other: a tensor or a number that broadcasts with it.
        rounding_mode: None for true division, "trunc" to round towards 0, "floor" to round down.

    Returns:
        A tensor of the arguments' broadcast shape; true division of integers gives the default floating point dtype.

    Raises:
        ValueError: an unknown rounding mode.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.div(tg.tensor([5, -5]), 2, rounding_mode="trunc")
        tensor([ 2, -2])
    """
    if rounding_mode is None:
        return _div(input, other)
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode == "trunc":
        return _trunc_divide(input, other)
    raise ValueError(f'rounding_mode is None, "trunc" or "floor", got {rounding_mode!r}')


# -- exponentials, logarithms, roots -----------------------------------------------------------------------------------

exp = _smooth("exp", "e^x.", "[0.0, 1.0] -> [1.0000, 2.7183]", lambda xp, x: xp.exp(x), x=lambda g, y: g * y)
exp2 = _smooth("exp2", "2^x.", "[0.0, 3.0] -> [1., 8.]", lambda xp, x: xp.exp2(x), x=lambda g, y: g * y * LN2)
expm1 = _smooth("expm1", "e^x - 1, exact also for small x.", "[0.0, 1.0] -> [0.0000, 1.7183]",
               lambda xp, x: xp.expm1(x), x=lambda g, y: g * y + g)
log = _smooth("log", "The natural logarithm.", "[1.0, 10.0] -> [0.0000, 2.3026]", lambda xp, x: xp.log(x), x=lambda g, x: g / x)
log2 = _smooth("log2", "The logarithm to base 2.", "[1.0, 8.0] -> [0., 3.]", lambda xp, x: xp.log2(x), x=lambda g, x: g / (x * LN2))
log10 = _smooth("log10", "The logarithm to base 10.", "[1.0, 10.0] -> [0., 1.]",
               lambda xp, x: xp.log10(x), x=lambda g, x: g / (x * LN10))
log1p = _smooth("log1p", "log(1 + x), exact also for small x.", "[0.0, 1.0] -> [0.0000, 0.6931]",
               lambda xp, x: xp.log1p(x), x=lambda g, x: g / (x + 1))
sqrt = _smooth("sqrt", "The square root.", "[4.0, 9.0] -> [2., 3.]", lambda xp, x: xp.sqrt(x), x=lambda g, y: g / (y * 2.0))
rsqrt = _smooth("rsqrt", "1 / √x.", "[4.0, 16.0] -> [0.5000, 0.2500]", lambda xp, x: 1 / xp.sqrt(x), x=lambda g, y: g * y * y * y * -0.5)
logaddexp = _binary("logaddexp", "log(e^input + e^other), without overflow.", "[0.0, 1000.0] | [0.0, 1000.0] -> [6.9315e-01, 1.0007e+03]",
                   lambda xp, a, b: xp.logaddexp(a, b), a=lambda g, a, b: g * sigmoid(a - b), b=lambda g, a, b: g * sigmoid(b - a))
logaddexp2 = _binary("logaddexp2", "log2(2^input + 2^other), without overflow.", "[0.0, 2.0] | [0.0, 2.0] -> [1., 3.]",
                    lambda xp, a, b: xp.logaddexp2(a, b),
                    a=lambda g, a, b: g * sigmoid((a - b) * LN2), b=lambda g, a, b: g * sigmoid((b - a) * LN2))
xlogy = _binary("xlogy", "input · log(other), and 0 where input is 0.", "[0.0, 2.0] | [0.0, 1.0] -> [0., 0.]",
               lambda xp, a, b: _xlogy(xp, a, b), to_float=True,
               a=lambda g, a, b: g * log(where((a == 0) & (b <= 0), 1.0, b)), b=lambda g, a, b: g * a / b)


def _xlogy(xp: Any, a: Any, b: Any) -> Any:
    zero = (a == 0) & ~xp.isnan(b)
    return xp.where(zero, xp.zeros_like(b), a * xp.log(xp.where(zero, xp.ones_like(b), b)))


# -- trigonometric and hyperbolic --------------------------------------------------------------------------------------

sin = _smooth("sin", "The sine, of an angle in radians.", "[0.0, 1.5708] -> [0., 1.]", lambda xp, x: xp.sin(x), x=lambda g, x: g * cos(x))
cos = _smooth("cos", "The cosine, of an angle in radians.", "[0.0, 3.1416] -> [ 1., -1.]", lambda xp, x: xp.cos(x), x=lambda g, x: -g * sin(x))
tan = _smooth("tan", "The tangent, of an angle in radians.", "[0.0, 1.0] -> [0.0000, 1.5574]", lambda xp, x: xp.tan(x), x=lambda g, y: g + g * y * y)
asin = _smooth("asin", "The angle in radians whose sine is x.", "[0.0, 1.0] -> [0.0000, 1.5708]",
              lambda xp, x: xp.arcsin(x), x=lambda g, x: g * rsqrt(1 - x * x))
acos = _smooth("acos", "The angle in radians whose cosine is x.", "[0.0, 1.0] -> [1.5708, 0.0000]",
              lambda xp, x: xp.arccos(x), x=lambda g, x: -g * rsqrt(1 - x * x))
atan = _smooth("atan", "The angle in radians whose tangent is x.", "[0.0, 1.0] -> [0.0000, 0.7854]",
              lambda xp, x: xp.arctan(x), x=lambda g, x: g / (x * x + 1))
sinh = _smooth("sinh", "The hyperbolic sine.", "[0.0, 1.0] -> [0.0000, 1.1752]", lambda xp, x: xp.sinh(x), x=lambda g, x: g * cosh(x))
cosh = _smooth("cosh", "The hyperbolic cosine.", "[0.0, 1.0] -> [1.0000, 1.5431]", lambda xp, x: xp.cosh(x), x=lambda g, x: g * sinh(x))
tanh = _smooth("tanh", "The hyperbolic tangent.", "[0.0, 1.0] -> [0.0000, 0.7616]", lambda xp, x: xp.tanh(x),
               x=with_kernel("tanh_backward", lambda g, y: g - g * y * y))
asinh = _smooth("asinh", "The inverse of sinh.", "[0.0, 1.0] -> [0.0000, 0.8814]", lambda xp, x: xp.arcsinh(x), x=lambda g, x: g * rsqrt(x * x + 1))
acosh = _smooth("acosh", "The inverse of cosh.", "[1.0, 2.0] -> [0.0000, 1.3170]", lambda xp, x: xp.arccosh(x), x=lambda g, x: g * rsqrt(x * x - 1))
atanh = _smooth("atanh", "The inverse of tanh.", "[0.0, 0.5] -> [0.0000, 0.5493]", lambda xp, x: xp.arctanh(x), x=lambda g, x: g / (1 - x * x))
atan2 = _binary("atan2", "The angle in radians of the point (other, input), in (-π, π].", "[0.0, 1.0] | [1.0, 0.0] -> [0.0000, 1.5708]",
               lambda xp, a, b: xp.arctan2(a, b), to_float=True,
               a=lambda g, a, b: g * b / (a * a + b * b), b=lambda g, a, b: -g * a / (a * a + b * b))
hypot = _binary("hypot", "√(input² + other²), without overflow; the derivative at the origin is 0.", "[3.0, 0.0] | [4.0, 0.0] -> [5., 0.]",
               lambda xp, a, b: xp.hypot(a, b),
               a=lambda g, a, y: g * a / where(y == 0, 1.0, y), b=lambda g, b, y: g * b / where(y == 0, 1.0, y))

# -- special functions (SciPy's) ---------------------------------------------------------------------------------------

erf = _smooth("erf", "The error function 2/√π ∫₀ˣ e^(-t²) dt.", "[0.0, 1.0] -> [0.0000, 0.8427]",
             lambda x: kernels(x).error_function(x), x=lambda g, x: g * exp(-x * x) * (2 / math.sqrt(math.pi)))
erfc = _smooth("erfc", "1 - erf(x), exact also for large x.", "[0.0, 1.0] -> [1.0000, 0.1573]",
              lambda xp, x: special(xp).erfc(x).astype(x.dtype, copy=False), x=lambda g, x: g * exp(-x * x) * (-2 / math.sqrt(math.pi)))
erfinv = _smooth("erfinv", "The inverse of erf.", "[0.0, 0.5] -> [0.0000, 0.4769]",
                lambda xp, x: special(xp).erfinv(x).astype(x.dtype, copy=False), x=lambda g, y: g * exp(y * y) * (math.sqrt(math.pi) / 2))
lgamma = _smooth("lgamma", "log |Γ(x)|.", "[1.0, 4.0] -> [0.0000, 1.7918]",
                lambda xp, x: special(xp).gammaln(x).astype(x.dtype, copy=False), x=lambda g, x: g * digamma(x))
digamma = _smooth("digamma", "The derivative of lgamma.", "[1.0, 2.0] -> [-0.5772,  0.4228]",
                 lambda xp, x: special(xp).digamma(x).astype(x.dtype, copy=False), x=lambda g, x: g * _polygamma(x, n=1))
_polygamma = op("polygamma", lambda xp, x, *, n: special(xp).polygamma(n, x).astype(x.dtype, copy=False), to_float=True,
                x=lambda g, x, n: g * _polygamma(x, n=n + 1))
sigmoid = _smooth("sigmoid", "1 / (1 + e^(-x)), without overflow.", "[0.0, 1.0] -> [0.5000, 0.7311]",
                 lambda xp, x: 1 / (1 + xp.exp(-x)),      # where e^(-x) is infinite, 0 is right
                 x=with_kernel("sigmoid_backward", lambda g, y: g * y * (1 - y)))


def polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of digamma.

    Args:
        n: the order, at least 0.
        input: a tensor of any shape.

    Returns:
        A tensor of the same shape.

    Raises:
        ValueError: a negative order.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.polygamma(1, tg.tensor([1.0, 2.0]))
        tensor([1.6449, 0.6449])
    """
    if n < 0:
        raise ValueError(f"polygamma's order n is at least 0, got {n}")
    return digamma(input) if n == 0 else _polygamma(input, n=n)


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(p / (1 - p)), the inverse of sigmoid.

    Args:
        input: a tensor of probabilities.
        eps: probabilities are first clamped to [eps, 1 - eps]; not by default.

    Returns:
        A tensor of the same shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.logit(tg.tensor([0.5, 0.75]))
        tensor([0.0000, 1.0986])
    """
    p = input if eps is None else clamp(input, eps, 1 - eps)
    return log(p) - log1p(-p)


# -- rounding and sign -------------------------------------------------------------------------------------------------

abs = _unary("abs", "|x|; the derivative at 0 is 0.", "[1.0, -2.0] -> [1., 2.]", lambda xp, x: xp.abs(x), x=lambda g, x: g * sign(x))
sign = _unary("sign", "-1, 0 or 1; the derivative is 0.", "[3.0, 0.0, -2.0] -> [ 1.,  0., -1.]",
              lambda xp, x: x.copy() if x.dtype == dtypes.bool else xp.sign(x), x=_zero)
floor = _unary("floor", "The largest integer not above x; the derivative is 0.", "[1.5, -1.5] -> [ 1., -2.]", lambda xp, x: xp.floor(x), x=_zero)
ceil = _unary("ceil", "The smallest integer not below x; the derivative is 0.", "[1.5, -1.5] -> [ 2., -1.]", lambda xp, x: xp.ceil(x), x=_zero)
trunc = _unary("trunc", "x rounded towards 0; the derivative is 0.", "[1.5, -1.5] -> [ 1., -1.]", lambda xp, x: xp.trunc(x), x=_zero)
frac = _unary("frac", "x - trunc(x).", "[1.5, -1.5] -> [ 0.5000, -0.5000]", lambda xp, x: x - xp.trunc(x), x=lambda g: g)
relu_backward = with_kernel("relu_backward", lambda g, y: where(y > 0, g, 0.0))
relu = _unary("relu", "max(x, 0); the derivative at 0 is 0.", "[1.0, -2.0] -> [1., 0.]",
             lambda x: kernels(x).relu(x), x=relu_backward)
_round = op("round", lambda xp, x, *, decimals: xp.round(x, decimals), x=_zero)


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest number with so many decimals, halves to even; the derivative is 0.

    Args:
        input: a tensor of any shape.
        decimals: digits after the point; negative ones round before it.

    Returns:
        A tensor of the same shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.round(tg.tensor([0.5, 1.5, 2.4]))
        tensor([0., 2., 2.])
    """
    return _round(input, decimals=decimals)


# -- choosing ----------------------------------------------------------------------------------------------------------

maximum = _binary("maximum", "The larger of both, NaN if one is NaN; a tie shares the gradient equally.", "[1.0, 5.0] | [3.0, 2.0] -> [3., 5.]",
                 lambda xp, a, b: xp.maximum(a, b), a=lambda g, a, b: _prefer(g, a > b, a == b), b=lambda g, a, b: _prefer(g, b > a, a == b))
minimum = _binary("minimum", "The smaller of both, NaN if one is NaN; a tie shares the gradient equally.", "[1.0, 5.0] | [3.0, 2.0] -> [1., 2.]",
                 lambda xp, a, b: xp.minimum(a, b), a=lambda g, a, b: _prefer(g, a < b, a == b), b=lambda g, a, b: _prefer(g, b < a, a == b))
fmax = _binary("fmax", "The larger of both, ignoring a NaN; a tie gives the gradient to input.", "[1.0, 5.0] | [3.0, 2.0] -> [3., 5.]",
              lambda xp, a, b: xp.fmax(a, b),
              a=lambda g, a, b: where((a >= b) | isnan(b), g, 0.0), b=lambda g, a, b: where((a >= b) | isnan(b), 0.0, g))
fmin = _binary("fmin", "The smaller of both, ignoring a NaN; a tie gives the gradient to input.", "[1.0, 5.0] | [3.0, 2.0] -> [1., 2.]",
              lambda xp, a, b: xp.fmin(a, b),
              a=lambda g, a, b: where((a <= b) | isnan(b), g, 0.0), b=lambda g, a, b: where((a <= b) | isnan(b), 0.0, g))
_where = op("where", lambda xp, condition, a, b: _choose(xp, condition, a, b), promote=("a", "b"), broadcast=True,
            a=lambda g, condition: where(condition, g, 0.0), b=lambda g, condition: where(condition, 0.0, g))
_clamp = op("clamp", lambda xp, x, min, max: _clip(xp, x, min, max), promote=("x", "min", "max"), broadcast=True,
            x=lambda g, x, min, max: where(_inside(x, min, max), g, 0.0),
            min=lambda g, x, min, max: where(_below(x, min, max), g, 0.0),
            max=lambda g, x, min, max: where(_above(x, min, max), g, 0.0))
_lerp = op("lerp", lambda a, b, weight: a + weight * (b - a), promote=("a", "b", "weight"), broadcast=True,
           a=lambda g, weight: g * (1 - weight), b=lambda g, weight: g * weight, weight=lambda g, a, b: g * (b - a))


def _choose(xp: Any, condition: Any, a: Any, b: Any) -> Any:
    """Elements of a or b. NumPy's own `where` waits for every mispredicted branch; large arrays go by bits instead."""
    if xp is np and getattr(condition, "size", 0) > 1024 and condition.ndim:
        for mask, x, other in ((condition, a, b), (~condition, b, a)):
            if getattr(x, "shape", None) == condition.shape and x.dtype.kind in dtypes.FLOATS and getattr(other, "shape", ()) in ((), x.shape):
                return kernels(x).select(mask, x, other)
    return xp.where(condition, a, b)


def _prefer(g: Any, wins: Any, tie: Any) -> Any:
    return where(wins, g, where(tie, g * 0.5, 0.0))


def _clip(xp: Any, x: Any, low: Any, high: Any) -> Any:
    y = x if low is None else xp.maximum(x, low)
    return y if high is None else xp.minimum(y, high)


def _inside(x: Any, low: Any, high: Any) -> Any:
    return (x <= high) if low is None else (x >= low) if high is None else (x >= low) & (x <= high)


def _below(x: Any, low: Any, high: Any) -> Any:
    return (x < low) if high is None else (x < low) & (low < high)


def _above(x: Any, low: Any, high: Any) -> Any:
    return (x > high) if low is None else (x > high) | (low > high)


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """Elements of input where the condition holds, of other elsewhere; with the condition alone, where it holds.

    Args:
        condition: a boolean tensor.
        input: a tensor or a number.
        other: a tensor or a number; all three broadcast.

    Returns:
        A tensor of the broadcast shape; `nonzero(condition, as_tuple=True)` for the condition alone.

    Raises:
        DTypeError: a condition that is not boolean.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor([1.0, -2.0])
        >>> tg.where(x > 0, x, 0.0)
        tensor([1., 0.])
    """
    if input is None and other is None:
        from .index import nonzero
        return nonzero(condition, as_tuple=True)
    if getattr(condition, "dtype", dtypes.bool) != dtypes.bool:
        raise DTypeError(f"where takes a boolean condition, got {condition.dtype}; write where(x != 0, ...)")
    return _where(condition, input, other)


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """input limited to [min, max]; where min > max, max. The gradient passes where min <= input <= max.

    Args:
        input: a tensor of any shape.
        min: the lower limit, a number or a tensor that broadcasts; none by default.
        max: the upper limit, likewise.

    Returns:
        A tensor of the broadcast shape.

    Raises:
        ValueError: neither limit is given.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.clamp(tg.tensor([-2.0, 0.5, 2.0]), -1, 1)
        tensor([-1.0000,  0.5000,  1.0000])
    """
    if min is None and max is None:
        raise ValueError("clamp needs a limit: write clamp(x, min=0)")
    return _clamp(input, min, max)


def clamp_min(input: Tensor, min: Any) -> Tensor:
    """input, and min where it is below; `clamp` with one limit.

    Args:
        input: a tensor of any shape.
        min: the lower limit, a number or a tensor that broadcasts.

    Returns:
        A tensor of the broadcast shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.clamp_min(tg.tensor([-2.0, 0.5]), 0)
        tensor([0.0000, 0.5000])
    """
    return clamp(input, min=min)


def clamp_max(input: Tensor, max: Any) -> Tensor:
    """input, and max where it is above; `clamp` with one limit.

    Args:
        input: a tensor of any shape.
        max: the upper limit, a number or a tensor that broadcasts.

    Returns:
        A tensor of the broadcast shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.clamp_max(tg.tensor([0.5, 2.0]), 1)
        tensor([0.5000, 1.0000])
    """
    return clamp(input, max=max)


def lerp(input: Any, end: Any, weight: Any) -> Tensor:
    """Linear interpolation, input + weight·(end - input).

    Args:
        input: the value at weight 0.
        end: the value at weight 1.
        weight: a number or a tensor; all three broadcast.

    Returns:
        A tensor of the broadcast shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.lerp(tg.tensor([0.0, 10.0]), tg.tensor([10.0, 20.0]), 0.5)
        tensor([ 5., 15.])
    """
    return _lerp(input, end, weight)


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """input with its elements replaced by a value where the mask is True.

    Args:
        input: a tensor of any shape.
        mask: a boolean tensor that broadcasts with it.
        value: a number or a 0-d tensor.

    Returns:
        A tensor of the broadcast shape, of input's dtype.

    Raises:
        ShapeError: a value with dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.masked_fill(tg.tensor([1.0, 2.0]), tg.tensor([True, False]), 0.0)
        tensor([0., 2.])
    """
    if getattr(value, "ndim", 0) != 0:
        raise ShapeError(f"masked_fill takes a number or a 0-d tensor, got shape {value.shape}; write where(mask, values, x)")
    if isinstance(value, Tensor) and value.dtype != input.dtype:
        value = value.to(dtype=input.dtype)
    return where(mask, value, input)


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value·tensor1·tensor2.

    Args:
        input: a tensor of any shape.
        tensor1: a tensor; all broadcast.
        tensor2: a tensor; all broadcast.
        value: a factor.

    Returns:
        A tensor of the broadcast shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor([1.0, 2.0])
        >>> tg.addcmul(x, x, x, value=0.5)
        tensor([1.5000, 4.0000])
    """
    product = tensor1 * tensor2
    return input + (product if value == 1 else product * value)


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value·tensor1 / tensor2.

    Args:
        input: a tensor of any shape.
        tensor1: a tensor; all broadcast.
        tensor2: a tensor; all broadcast.
        value: a factor.

    Returns:
        A tensor of the broadcast shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor([1.0, 2.0])
        >>> tg.addcdiv(x, x, x, value=0.5)
        tensor([1.5000, 2.5000])
    """
    quotient = tensor1 / tensor2
    return input + (quotient if value == 1 else quotient * value)


def nan_to_num(input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """input with NaN and the infinities replaced; their gradient is 0.

    Args:
        input: a tensor of any shape.
        nan: the replacement for NaN.
        posinf: the replacement for +∞; the dtype's largest number by default.
        neginf: the replacement for -∞; the dtype's smallest number by default.

    Returns:
        A tensor of the same shape.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nan_to_num(tg.tensor([1.0, float("nan"), float("inf")]), posinf=9.0)
        tensor([1., 0., 9.])
    """
    if input.dtype.kind not in dtypes.FLOATS:
        return input.clone()
    limits = dtypes.finfo(input.dtype)
    y = where(isnan(input), float(nan), input)
    y = where(input == math.inf, float(limits.max if posinf is None else posinf), y)
    return where(input == -math.inf, float(limits.min if neginf is None else neginf), y)


# -- questions, logic and bits: no derivatives -------------------------------------------------------------------------

eq = _binary("eq", "Where input = other.", "[1.0, 2.0] | 1.0 -> [ True, False]", lambda a, b: a == b)
ne = _binary("ne", "Where input ≠ other.", "[1.0, 2.0] | 1.0 -> [False,  True]", lambda a, b: a != b)
lt = _binary("lt", "Where input < other.", "[1.0, 2.0] | 2.0 -> [ True, False]", lambda a, b: a < b)
le = _binary("le", "Where input ≤ other.", "[1.0, 2.0] | 1.0 -> [ True, False]", lambda a, b: a <= b)
gt = _binary("gt", "Where input > other.", "[1.0, 2.0] | 1.0 -> [False,  True]", lambda a, b: a > b)
ge = _binary("ge", "Where input ≥ other.", "[1.0, 2.0] | 2.0 -> [False,  True]", lambda a, b: a >= b)
isnan = _unary("isnan", "Where x is NaN.", "[1.0, float('nan')] -> [False,  True]", lambda xp, x: xp.isnan(x))
isinf = _unary("isinf", "Where x is infinite.", "[1.0, float('inf')] -> [False,  True]", lambda xp, x: xp.isinf(x))
isfinite = _unary("isfinite", "Where x is neither infinite nor NaN.", "[1.0, float('inf')] -> [ True, False]", lambda xp, x: xp.isfinite(x))
isposinf = _unary("isposinf", "Where x is +∞.", "[1.0, float('inf')] -> [False,  True]", lambda xp, x: x == math.inf)
isneginf = _unary("isneginf", "Where x is -∞.", "[1.0, float('-inf')] -> [False,  True]", lambda xp, x: x == -math.inf)
signbit = _unary("signbit", "Where the sign bit is set, also that of -0.", "[1.0, -0.0] -> [False,  True]", lambda xp, x: xp.signbit(x))
logical_and = _binary("logical_and", "Where both are not 0.", "[True, False] | [True, True] -> [ True, False]", lambda xp, a, b: xp.logical_and(a, b))
logical_or = _binary("logical_or", "Where one is not 0.", "[True, False] | [True, True] -> [True, True]", lambda xp, a, b: xp.logical_or(a, b))
logical_xor = _binary("logical_xor", "Where exactly one is not 0.", "[True, False] | [True, True] -> [False,  True]",
                      lambda xp, a, b: xp.logical_xor(a, b))
logical_not = _unary("logical_not", "Where x is 0.", "[True, False] -> [False,  True]", lambda xp, x: xp.logical_not(x))
bitwise_and = _binary("bitwise_and", "The bits set in both integers; logical and of booleans.", "[6, 5] | 3 -> [2, 1]", lambda a, b: a & b)
bitwise_or = _binary("bitwise_or", "The bits set in one of the integers; logical or of booleans.", "[6, 5] | 3 -> [7, 7]", lambda a, b: a | b)
bitwise_xor = _binary("bitwise_xor", "The bits set in exactly one integer; exclusive or of booleans.", "[6, 5] | 3 -> [5, 6]", lambda a, b: a ^ b)
bitwise_not = _unary("bitwise_not", "The bits of an integer inverted; not of booleans.", "[6, -1] -> [-7,  0]", lambda x: ~x)
bitwise_left_shift = _binary("bitwise_left_shift", "input · 2^other, of integers.", "[1, 2] | 3 -> [ 8, 16]", lambda a, b: a << b)
bitwise_right_shift = _binary("bitwise_right_shift", "⌊input / 2^other⌋, of integers.", "[8, 17] | 3 -> [1, 2]", lambda a, b: a >> b)
