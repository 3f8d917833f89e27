"""Cases of `ops/elementwise.py`."""
import numpy as np
import scipy.special as sp
from registry import call, case


def unary(name, low, high, numpy=None, analytic=False, **facts):
    """One argument drawn from [low, high]."""
    @case(name, numpy=numpy, analytic=analytic, elementwise=True, **facts)
    def _(d):
        return call(d.array(d.shape(min_side=0), low, high))


NUMBERS_IN_TORCH = ("add", "sub", "mul", "div", "pow", "xlogy", "remainder", "fmod")


def binary(name, lows, highs, numpy=None, analytic=False, torch="same", **facts):
    """Two arguments that broadcast, each from its interval; also with a number in the place of one."""
    @case(name, numpy=numpy, analytic=analytic, elementwise=True, torch=torch, **facts)
    def _(d):
        shape = d.shape(min_side=0)
        return call(d.array(shape, lows[0], highs[0]), d.array(d.partner(shape), lows[1], highs[1]))

    @case(name, numpy=numpy, analytic=analytic, elementwise=True, torch=torch if name in NUMBERS_IN_TORCH else None, **facts)
    def _(d):
        return call(d.array(None, lows[0], highs[0]), d.number(lows[1], highs[1]))


for name, low, high, numpy in [
    ("exp", -3, 3, np.exp), ("exp2", -3, 3, lambda x: 2.0 ** x), ("expm1", -3, 3, lambda x: np.exp(x) - 1),
    ("log", 0.1, 5, np.log), ("log2", 0.1, 5, lambda x: np.log(x) / np.log(2)), ("log10", 0.1, 5, lambda x: np.log(x) / np.log(10)),
    ("log1p", -0.8, 5, lambda x: np.log(1 + x)), ("sqrt", 0.1, 5, np.sqrt), ("rsqrt", 0.1, 5, lambda x: 1 / np.sqrt(x)),
    ("square", -3, 3, lambda x: x * x), ("reciprocal", 0.2, 3, lambda x: 1 / x), ("neg", -3, 3, lambda x: -x),
    ("sin", -4, 4, np.sin), ("cos", -4, 4, np.cos), ("tan", -1.2, 1.2, np.tan), ("asin", -0.9, 0.9, np.arcsin),
    ("acos", -0.9, 0.9, np.arccos), ("atan", -4, 4, np.arctan), ("sinh", -3, 3, np.sinh), ("cosh", -3, 3, np.cosh),
    ("tanh", -3, 3, np.tanh), ("asinh", -4, 4, np.arcsinh), ("acosh", 1.1, 5, np.arccosh), ("atanh", -0.9, 0.9, np.arctanh),
    ("sigmoid", -5, 5, lambda x: 1 / (1 + np.exp(-x))), ("logit", 0.1, 0.9, lambda x: np.log(x / (1 - x))),
    ("erf", -3, 3, sp.erf), ("erfc", -3, 3, sp.erfc),
]:
    unary(name, low, high, numpy, analytic=True)

unary("erfinv", -0.9, 0.9, sp.erfinv)
unary("lgamma", 0.3, 6, sp.gammaln)
unary("digamma", 0.3, 6, sp.digamma)
unary("abs", -3, 3, np.abs, kinks=lambda x: [x])
unary("relu", -3, 3, lambda x: np.maximum(x, 0), kinks=lambda x: [x])
unary("sign", -3, 3, np.sign, kinks=lambda x: [x])
for name, numpy in [("floor", np.floor), ("ceil", np.ceil), ("trunc", np.trunc), ("frac", lambda x: x - np.trunc(x))]:
    unary(name, -3, 3, numpy, kinks=lambda x: [x - np.round(x)])

binary("add", (-3, -3), (3, 3), lambda a, b: a + b, analytic=True)
binary("sub", (-3, -3), (3, 3), lambda a, b: a - b, analytic=True)
binary("mul", (-3, -3), (3, 3), lambda a, b: a * b, analytic=True)
binary("div", (-3, 0.3), (3, 3), lambda a, b: a / b, analytic=True)
binary("pow", (0.2, -2), (3, 3), lambda a, b: a ** b, analytic=True)
binary("atan2", (0.2, 0.2), (3, 3), np.arctan2)
binary("hypot", (0.2, 0.2), (3, 3), lambda a, b: np.sqrt(a * a + b * b), analytic=True)
binary("xlogy", (0.1, 0.2), (3, 3), lambda a, b: a * np.log(b), analytic=True)
binary("logaddexp", (-3, -3), (3, 3), lambda a, b: np.log(np.exp(a) + np.exp(b)), analytic=True)
binary("logaddexp2", (-3, -3), (3, 3), np.logaddexp2)
for name, numpy in [("maximum", np.maximum), ("minimum", np.minimum), ("fmax", np.fmax), ("fmin", np.fmin)]:
    binary(name, (-3, -3), (3, 3), numpy, kinks=lambda a, b: [a - b])
for name, numpy, torch in [("remainder", np.remainder, "same"), ("fmod", np.fmod, "same"),
                           ("floor_divide", np.floor_divide, lambda a, b: a.div(b, rounding_mode="floor"))]:
    binary(name, (-3, 0.5), (3, 2), numpy, torch=torch, kinks=lambda a, b: [a / b - np.round(a / b)])


@case("add", numpy=lambda a, b, alpha: a + alpha * b, elementwise=True)
def _(d):
    shape = d.shape()
    return call(d.array(shape), d.array(shape), alpha=d.number())


@case("sub", numpy=lambda a, b, alpha: a - alpha * b, elementwise=True)
def _(d):
    shape = d.shape()
    return call(d.array(shape), d.array(shape), alpha=d.number())


@case("pow", numpy=lambda a, b: a ** b, elementwise=True, analytic=True)
def _(d):
    return call(d.array(), d.pick([0, 1, 2, 3, 2.0]))


@case("pow", numpy=lambda a, b: a ** b, elementwise=True, analytic=True)
def _(d):
    return call(d.pick([0.5, 2, 3.0]), d.array())


@case("div", elementwise=True, numpy=lambda a, b, rounding_mode: np.floor_divide(a, b) if rounding_mode == "floor" else np.trunc(a / b),
      kinks=lambda a, b, rounding_mode: [a / b - np.round(a / b)])
def _(d):
    shape = d.shape()
    return call(d.array(shape), d.array(d.partner(shape), 0.5, 2), rounding_mode=d.pick(["floor", "trunc"]))


@case("round", numpy=lambda x, decimals: np.round(x, decimals), elementwise=True,
      kinks=lambda x, decimals: [x * 10.0 ** decimals * 2 - np.round(x * 10.0 ** decimals * 2)])
def _(d):
    return call(d.array(), decimals=d.pick([0, 1]))


@case("polygamma", numpy=sp.polygamma, elementwise=True)
def _(d):
    return call(d.pick([0, 1, 2]), d.array(None, 0.5, 4))


@case("logit", numpy=lambda x, eps: sp.logit(np.clip(x, eps, 1 - eps)), elementwise=True, kinks=lambda x, eps: [x - eps, x - 1 + eps])
def _(d):
    return call(d.array(None, 0.01, 0.99), 0.1)


@case("where", numpy=np.where, elementwise=True)
def _(d):
    shape = d.shape(min_side=0)
    return call(d.bools(shape), d.array(d.partner(shape)), d.array(shape))


@case("where", numpy=np.where, elementwise=True)
def _(d):
    shape = d.shape()
    return call(d.bools(shape), d.array(shape), d.number())


@case("clamp", numpy=lambda x, low, high: np.clip(x, low, high), kinks=lambda x, low, high: [x - low, x - high, low - high], elementwise=True,
      torch=lambda x, low, high: x.maximum(low).minimum(high))
def _(d):
    shape = d.shape(min_side=0)
    return call(d.array(shape), d.array(d.partner(shape), -2, 0.5), d.array(shape, -0.5, 2))


@case("clamp", numpy=lambda x, min=None, max=None: np.clip(x, min, max), elementwise=True,
      kinks=lambda x, min=None, max=None: [x - v for v in (min, max) if v is not None])
def _(d):
    return call(d.array(), **d.pick([{"min": -0.5}, {"max": 0.5}, {"min": -0.5, "max": 0.5}]))


for name in ("clamp_min", "clamp_max"):
    @case(name, numpy={"clamp_min": np.maximum, "clamp_max": np.minimum}[name], kinks=lambda x, limit: [x - limit], elementwise=True)
    def _(d):
        shape = d.shape(min_side=0)
        return call(d.array(shape), d.pick([d.number(), d.array(d.partner(shape))]))


@case("lerp", numpy=lambda a, b, w: a + w * (b - a), elementwise=True, analytic=True)
def _(d):
    shape = d.shape(min_side=0)
    return call(d.array(shape), d.array(shape), d.pick([d.number(0, 1), d.array(shape, 0, 1)]))


@case("masked_fill", numpy=lambda x, mask, value: np.where(mask, value, x))
def _(d):
    shape = d.shape(min_side=0)
    return call(d.array(shape), d.bools(shape), d.pick([d.number(), d.array(())]))


for name, numpy in [("addcmul", lambda x, a, b, value: x + value * a * b), ("addcdiv", lambda x, a, b, value: x + value * a / b)]:
    @case(name, numpy=numpy, elementwise=True, analytic=True)
    def _(d):
        shape = d.shape()
        return call(d.array(shape), d.array(d.partner(shape)), d.array(shape, 0.5, 2), value=d.pick([1, 0.5]))


@case("nan_to_num", numpy=lambda x, nan, posinf, neginf: np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf), order=0)
def _(d):
    x = d.array(None, -2, 2)
    return call(np.where(x > 1.5, np.nan, np.where(x < -1.5, -np.inf, x)), nan=0.5, posinf=3.0, neginf=d.pick([None, -3.0]))


for name, numpy in [("eq", np.equal), ("ne", np.not_equal), ("lt", np.less), ("le", np.less_equal), ("gt", np.greater),
                    ("ge", np.greater_equal), ("logical_and", np.logical_and), ("logical_or", np.logical_or), ("logical_xor", np.logical_xor)]:
    @case(name, numpy=numpy, order=0, elementwise=True)
    def _(d):
        shape = d.shape(min_side=0)
        return call(np.round(d.array(shape)), np.round(d.array(d.partner(shape))))

for name, numpy in [("isnan", np.isnan), ("isinf", np.isinf), ("isfinite", np.isfinite), ("isposinf", np.isposinf),
                    ("isneginf", np.isneginf), ("signbit", np.signbit), ("logical_not", np.logical_not)]:
    @case(name, numpy=numpy, order=0, elementwise=True)
    def _(d):
        x = d.array()
        return call(np.where(x > 1, np.nan, np.where(x < -1, d.pick([1, -1]) * np.inf, np.round(x))))

for name, numpy in [("bitwise_and", np.bitwise_and), ("bitwise_or", np.bitwise_or), ("bitwise_xor", np.bitwise_xor)]:
    @case(name, numpy=numpy, order=0, elementwise=True)
    def _(d):
        shape = d.shape(min_side=0)
        return call(d.ints(shape), d.pick([d.ints(d.partner(shape)), d.integer(0, 7)]))

for name, numpy in [("bitwise_left_shift", np.left_shift), ("bitwise_right_shift", np.right_shift)]:
    @case(name, numpy=numpy, order=0, elementwise=True)
    def _(d):
        shape = d.shape()
        return call(d.ints(shape, 0, 50), d.pick([d.ints(d.partner(shape), 0, 5), d.integer(0, 7)]))


@case("bitwise_not", numpy=np.invert, order=0, elementwise=True)
def _(d):
    return call(d.pick([d.ints(), d.bools()]))
