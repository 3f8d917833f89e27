"""Cases of `ops/activation`."""
import numpy as np
import scipy.special as sp
from registry import call, case

INTEGERS = (call(np.arange(3)),)
TAKE_INTEGERS = ("sigmoid", "tanh", "softsign", "tanhshrink", "relu", "relu6", "hardtanh")


def sigma(x):
    return 1 / (1 + np.exp(-x))


def activation(name, numpy, draw=None, analytic=False, bad=(), **facts):
    """One input, and options that `draw` draws as keywords."""
    @case(f"nn.functional.{name}", numpy=numpy, analytic=analytic, elementwise=True, bad=bad if name in TAKE_INTEGERS else INTEGERS + bad, **facts)
    def _(d):
        return call(d.array(d.shape(min_side=0), -4, 4), **(draw(d) if draw else {}))


# -- smooth ones -------------------------------------------------------------------------------------------------------

def gelu(x, approximate):
    z = x * np.sqrt(0.5) if approximate == "none" else np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)
    return x / 2 * (1 + (sp.erf if approximate == "none" else np.tanh)(z))


activation("gelu", gelu, lambda d: {"approximate": d.pick(["none", "tanh"])}, analytic=True, bad=(call(np.ones(2), approximate="cubic"),))
activation("silu", lambda x: x * sigma(x), analytic=True)
activation("mish", lambda x: x * np.tanh(np.log(1 + np.exp(x))), analytic=True)
activation("softplus", lambda x, beta: np.log(1 + np.exp(beta * x)) / beta, lambda d: {"beta": d.number(0.5, 2)}, analytic=True)
activation("softplus", lambda x, threshold: np.where(x > threshold, x, np.log1p(np.exp(x))), lambda d: {"threshold": d.number(-1, 1)},
           kinks=lambda x, threshold: [x - threshold])
activation("logsigmoid", lambda x: np.log(sigma(x)), analytic=True)
activation("softsign", lambda x: x / (1 + np.abs(x)), kinks=lambda x: [x])
activation("tanhshrink", lambda x: x - np.tanh(x), analytic=True)
activation("sigmoid", sigma, analytic=True)
activation("tanh", np.tanh, analytic=True)
activation("elu", lambda x, alpha=1: np.where(x > 0, x, alpha * np.expm1(x)), lambda d: {"alpha": d.pick([1.0, d.number(0.2, 3)])},
           kinks=lambda x, **o: [x])
activation("celu", lambda x, alpha=1: np.where(x > 0, x, alpha * np.expm1(x / alpha)), lambda d: {"alpha": d.pick([1.0, d.number(0.5, 3)])},
           kinks=lambda x, **o: [x])
activation("selu", lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)), kinks=lambda x: [x])
for name in ("silu", "mish", "elu", "celu", "selu", "hardswish"):
    @case(f"nn.functional.{name}", deterministic=True)
    def _(d):
        return call(d.array(d.shape(), 0.1, 2.9))

# -- straight lines ----------------------------------------------------------------------------------------------------

activation("hardtanh", lambda x, **o: np.clip(x, o.get("min_val", -1), o.get("max_val", 1)),
           lambda d: d.pick([{}, {"min_val": -0.5, "max_val": 2.0}]), bad=(call(np.ones(2), 1.0, -1.0),),
           kinks=lambda x, **o: [x - o.get("min_val", -1), x - o.get("max_val", 1)])
activation("relu6", lambda x: np.clip(x, 0, 6), kinks=lambda x: [x, x - 6])
activation("relu", lambda x: np.maximum(x, 0), kinks=lambda x: [x])
activation("hardsigmoid", lambda x: np.clip(x / 6 + 0.5, 0, 1), kinks=lambda x: [x - 3, x + 3])
activation("hardswish", lambda x: x * np.clip(x / 6 + 0.5, 0, 1), kinks=lambda x: [x - 3, x + 3])
activation("leaky_relu", lambda x, negative_slope: np.where(x > 0, x, negative_slope * x),
           lambda d: {"negative_slope": d.pick([0.01, 0.0, 1.5, -0.5])}, kinks=lambda x, **o: [x])
activation("rrelu", lambda x, lower, upper: np.where(x > 0, x, (lower + upper) / 2 * x), lambda d: {"lower": 0.1, "upper": 0.4},
           kinks=lambda x, **o: [x], bad=(call(np.ones(2), 0.5, 0.1),))
activation("threshold", lambda x, threshold, value: np.where(x <= threshold, value, x),
           lambda d: {"threshold": d.number(-1, 1), "value": d.pick([0.0, -3.0])}, kinks=lambda x, threshold, value: [x - threshold])
activation("hardshrink", lambda x, lambd: np.where(np.abs(x) <= lambd, 0, x), lambda d: {"lambd": d.pick([0.5, 1.0])},
           kinks=lambda x, lambd: [np.abs(x) - lambd])
activation("softshrink", lambda x, lambd: np.sign(x) * np.maximum(np.abs(x) - lambd, 0), lambda d: {"lambd": d.pick([0.5, 1.0])},
           kinks=lambda x, lambd: [np.abs(x) - lambd], bad=(call(np.ones(2), -1.0),))


@case("nn.functional.rrelu", deterministic=False, order=0)
def _(d):
    return call(d.array(), training=True)


@case("nn.functional.prelu", numpy=lambda x, w: np.where(x > 0, x, x * (w.reshape(-1, *[1] * (x.ndim - 2)) if x.ndim > 1 else w.reshape(()))),
      kinks=lambda x, w: [x], bad=(call(np.ones((2, 3)), np.ones(2)), call(np.ones(3), np.ones(3)), call(np.ones((2, 3)), np.ones((1, 3))),
                                   call(np.arange(3), np.ones(1))))
def _(d):
    x = d.array(d.shape(min_side=0), -4, 4)
    return call(x, d.array((d.pick([1, x.shape[1]]),) if x.ndim > 1 else (1,), -1, 1))


# -- choosing ----------------------------------------------------------------------------------------------------------

def halves(x, dim):
    a, b = np.split(x, 2, dim)
    return a * sigma(b)


@case("nn.functional.glu", numpy=lambda x, dim=-1: halves(x, dim), analytic=True,
      bad=(call(np.ones(())), call(np.ones(3)), call(np.ones((2, 2)), 2), call(np.arange(4))))
def _(d):
    shape = list(d.shape(min_dims=1, min_side=0))
    dim = d.dim(len(shape))
    shape[dim] *= 2
    return call(d.array(tuple(shape), -4, 4), dim)


@case("nn.functional.softmin", numpy=lambda x, dim: np.exp(-x) / np.exp(-x).sum(dim, keepdims=True), analytic=True)
def _(d):
    x = d.array(d.shape(min_dims=1), -4, 4)
    return call(x, d.dim(x.ndim))


@case("nn.functional.gumbel_softmax", deterministic=False, order=0)
def _(d):
    x = d.array(d.shape(min_dims=1))
    return call(x, d.number(0.5, 2), d.bool(), dim=d.dim(x.ndim))


def one_hot(x, dim=-1):
    return np.moveaxis(np.eye(x.shape[dim])[x.argmax(dim)], -1, dim)


@case("nn.functional.hardmax", numpy=one_hot, torch=None, kinks=lambda x, dim: [np.diff(np.sort(x, dim), axis=dim)])
def _(d):
    x = d.array(d.shape(min_dims=1), -4, 4)
    return call(x, d.dim(x.ndim))
