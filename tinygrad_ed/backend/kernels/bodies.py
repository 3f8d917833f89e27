"""Element-by-element functions as C expressions, once for all engines that compile: loops over arrays on the CPU, kernels on the GPU.

A body computes y and slope = dy/dx of one element, with the names of its arguments and numbers; a formula computes one result. T is the type. Their
vocabulary is C's operators and the functions in `FUNCTIONS`, which an engine has to define. Written so that NaN comes out where it goes in:
`x < 0 ? 0 : x` keeps it, `x > 0 ? x : 0` does not. `plain/activation.py` and `plain/loss.py` have the same functions in NumPy, where the formulas are
explained.
"""
from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["ACTIVATIONS", "Body", "FORMULAS", "FUNCTIONS", "Formula", "LOSSES", "typed"]

FUNCTIONS = ("erf", "exp", "expm1", "log", "log1p", "magnitude", "normal_cdf", "normal_pdf", "sigmoid", "tanh")


class Body(NamedTuple):
    """One function: numbers it takes besides x (and the target t of a loss), what y and slope have in common, and both as expressions."""

    numbers: str
    steps: str
    y: str
    slope: str


class Formula(NamedTuple):
    """One result: the arrays and the numbers that it is computed from, the expression, and steps that come before it."""

    arrays: str
    numbers: str
    result: str
    steps: str = ""


ACTIVATIONS = {
    "gelu": Body("", "T p = normal_cdf(x);", "x * p", "p + x * normal_pdf(x)"),
    "gelu_tanh": Body(                                # (1 + tanh z)/2 = σ(2z), and σ' = σ(1 - σ)
        "", "T u = x * x, z = 1.5957691216057308 * x * (1 + 0.044715 * u), e = exp(-magnitude(z)), r = 1 / (1 + e), h = z < 0 ? e * r : r;",
        "x * h", "h + x * (e * r * r) * 1.5957691216057308 * (1 + 0.134145 * u)"),
    "silu": Body("", "T s = sigmoid(x), v = x * s;", "v", "s + (v - v * s)"),
    "mish": Body("", "T n = exp(x > 40 ? 40 : x), w = n * (n + 2), r = 1 / (w + 2), t = w * r;", "x * t",
                 "t + 2 * x * (1 + t) * r * n / (1 + n)"),
    "softplus": Body("beta threshold", "T z = x * beta, e = exp(-magnitude(z)), m = z > 0 ? z : 0, v = (m + log1p(e)) / beta;",
                     "z > threshold ? x : v", "z > threshold ? 1 : (z < 0 ? e : 1) / (1 + e)"),
    "logsigmoid": Body("", "T e = exp(-magnitude(x)), m = x < 0 ? x : 0;", "m - log1p(e)", "(x > 0 ? e : 1) / (1 + e)"),
    "softsign": Body("", "T r = 1 + magnitude(x);", "x / r", "1 / (r * r)"),
    "tanhshrink": Body("", "T t = tanh(x);", "x - t", "t * t"),
    "elu": Body("alpha scale rate", "T m = (x > 0 ? 0 : x) * rate, p = x < 0 ? 0 : x;", "scale * (p + alpha * expm1(m))",
                "scale * (x > 0 ? 1 : alpha * rate * exp(m))"),
    "hardswish": Body("", "T c = x < -3 ? -3 : x > 3 ? 3 : x, t = 0.16666666666666666 * (c + 3);", "x * t",
                      "magnitude(x) < 3 ? 0.3333333333333333 * x + 0.5 : t"),
}

LOSSES = {
    "squared_loss": Body("", "T d = x - t;", "d * d", "2 * d"),
    "absolute_loss": Body("", "T d = x - t;", "magnitude(d)", "d > 0 ? 1 : d < 0 ? -1 : d"),
    "huber_loss": Body("delta", "T z = x - t, c = z < -delta ? -delta : z > delta ? delta : z;", "0.5 * c * (z + z - c)", "c"),
    "logistic_loss": Body("", "T e = exp(-magnitude(x)), m = x < 0 ? 0 : x;", "m - x * t + log1p(e)", "(x < 0 ? e : 1) / (1 + e) - t"),
    "soft_margin_loss": Body("", "T z = x * t, e = exp(-magnitude(z)), m = z < 0 ? z : 0;", "log1p(e) - m", "-t * ((z > 0 ? e : 1) / (1 + e))"),
    "binary_cross_entropy": Body(
        "", "T r = 1 - x, lost = 1 - r - x, safe = r < 1e-30 ? 1e-30 : r, a = log(x), b = log(r) + lost / safe, p = a < -100 ? -100 : a, "
        "q = b < -100 ? -100 : b > 0 ? 0 : b;", "-t * p - (1 - t) * q", "(1 - t) / (r < 1e-12 ? 1e-12 : r) - t / (x < 1e-12 ? 1e-12 : x)"),
    "focal_logistic_loss": Body(                      # u limited from below, since with γ < 1 its power goes to infinity, and 0 times that is NaN
        "alpha gamma", "T e = exp(-magnitude(x)), m = x < 0 ? 0 : x, cost = m - x * t + log1p(e), p = (x < 0 ? e : 1) / (1 + e), side = 1 - t - t, "
        "v = p * side + t, u = v < 1e-37 ? 1e-37 : v > 1 ? 1 : v, w = (gamma == 2 ? u : exp((gamma - 1) * log(u))) "
        "* (alpha < 0 ? 1 : 1 - alpha + (2 * alpha - 1) * t);", "w * u * cost", "w * (gamma * side * p * (1 - p) * cost + u * (p - t))"),
}

# what needs no slope to be kept: functions made of straight lines, and gradients known from that of y, and from x or y
FORMULAS = {
    "relu": Formula("x", "", "x < 0 ? 0 : x"),
    "relu_backward": Formula("g y", "", "y > 0 ? g : 0"),
    "leaky_relu": Formula("x", "slope", "x > 0 ? x : slope * x"),
    "leaky_relu_backward": Formula("g x", "slope", "x > 0 ? g : slope * g"),
    "hardtanh": Formula("x", "low high", "x < low ? low : x > high ? high : x"),
    "hardtanh_backward": Formula("g y", "low high", "y <= low ? 0 : y < high ? g : 0"),
    "hardsigmoid": Formula("x", "", "x < -3 ? 0 : x > 3 ? 1 : 0.16666666666666666 * x + 0.5"),
    "hardsigmoid_backward": Formula("g x", "", "magnitude(x) < 3 ? 0.16666666666666666 * g : 0"),
    "threshold": Formula("x", "limit value", "x <= limit ? value : x"),
    "threshold_backward": Formula("g x", "limit", "x <= limit ? 0 : g"),
    "hardshrink": Formula("x", "limit", "magnitude(x) <= limit ? 0 : x"),
    "softshrink": Formula("x", "limit", "x - (x < -limit ? -limit : x > limit ? limit : x)"),
    "shrink_backward": Formula("g x", "limit", "magnitude(x) <= limit ? 0 : g"),
    "sigmoid_backward": Formula("g y", "", "g * y * (1 - y)"),
    "tanh_backward": Formula("g y", "", "g - g * y * y"),
    "error_function": Formula("x", "", "erf(x)"),
    "gelu_tanh_backward": Formula("g x", "", f"g * ({ACTIVATIONS['gelu_tanh'].slope})", ACTIVATIONS["gelu_tanh"].steps),
}


def typed(text: str, type: str = "T", prefix: str = "") -> str:
    """The text with its decimal numbers made numbers of a type, and its functions those with a prefix.

    Example:
        >>> typed("0.5 * exp(x)", "real", "real_")
        '(real)0.5 * real_exp(x)'
    """
    text = re.sub(r"(?<![\w.])(\d+\.\d*(?:e[-+]?\d+)?|\d+e[-+]?\d+)", rf"({type})\1", text)
    text = re.sub(r"\bT\b", type, text)
    return re.sub(r"\b(" + "|".join(FUNCTIONS) + r")\(", rf"{prefix}\1(", text)
