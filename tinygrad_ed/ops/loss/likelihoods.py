"""Negative log-likelihoods of distributions, and the divergence of two: Poisson, Gaussian, Kullback-Leibler."""
from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from ...errors import DomainError, DTypeError, ShapeError
from ...tensor import Tensor
from ..elementwise import exp, log, square, where, xlogy
from ..like import full_like
from .common import check_float, check_reduction, equal_shapes, reduced

__all__ = ["gaussian_nll_loss", "kl_div", "poisson_nll_loss"]


def kl_div(input: Tensor, target: Tensor, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """The Kullback-Leibler divergence Σ t·(log t - x) of distributions t from those whose logarithms are x.

    Args:
        input: log-probabilities x, of any shape, as `log_softmax` gives them.
        target: probabilities t of the same shape; 0·log 0 is 0. Another shape that broadcasts gives a warning.
        reduction: "batchmean" for the sum divided by the length of the first dimension, which is the divergence; "sum"; "none"; or
            "mean", the sum divided by the number of elements, which gives a warning, as in PyTorch.
        log_target: whether the target too is given as logarithms, which is more exact.

    Returns:
        A 0-d tensor, or with reduction="none" the terms t·(log t - x), of the input's shape.

    Raises:
        ShapeError: shapes that do not broadcast.
        DTypeError: not floating point.
        ValueError: an unknown reduction.

    Example:
        >>> import tinygrad_ed as tg
        >>> x, t = tg.tensor([[0.5, 0.5]]), tg.tensor([[0.25, 0.75]])
        >>> kl_div(x.log(), t, reduction="batchmean")
        tensor(0.1308)
    """
    if reduction != "batchmean":
        check_reduction(reduction)
    check_float("kl_div", input=input, target=target)
    if reduction == "mean":
        warnings.warn('kl_div with reduction="mean" divides by the number of elements, which gives no divergence; write '
                      'reduction="batchmean", which divides by the number of distributions', UserWarning, stacklevel=2)
    input, target = equal_shapes("kl_div", input, target, stacklevel=3)
    loss = exp(target) * (target - input) if log_target else xlogy(target, target) - target * input
    if reduction != "batchmean":
        return reduced(loss, reduction)
    n = input.shape[0] if input.ndim else 1
    return loss.sum() * (1 / n if n else math.nan)


def poisson_nll_loss(input: Tensor, target: Tensor, log_input: bool = True, full: bool = False, *, eps: float = 1e-8,
                     reduction: str = "mean") -> Tensor:
    """The mean of λ - t·log λ: the negative log-likelihood of counts t under Poisson distributions of mean λ, without log t!.

    Args:
        input: log λ, or λ itself if not log_input; a tensor of any shape.
        target: the counts t, of the same shape; another one that broadcasts gives a warning.
        log_input: whether the input is log λ, which allows any number.
        full: add Stirling's approximation of log t!, t·log t - t + log(2πt)/2, for t above 1.
        eps: added to λ in log(λ + ε) if not log_input.
        reduction: "mean", "sum" or "none".

    Returns:
        A 0-d tensor, or with reduction="none" one of the input's shape.

    Raises:
        ShapeError: shapes that do not broadcast.
        DTypeError: an input that is not floating point.
        ValueError: an unknown reduction.

    Example:
        >>> import tinygrad_ed as tg
        >>> poisson_nll_loss(tg.tensor([0.0, 1.0]), tg.tensor([2.0, 3.0]))
        tensor(0.3591)
    """
    check_reduction(reduction)
    check_float("poisson_nll_loss", input=input)
    input, target = equal_shapes("poisson_nll_loss", input, target, stacklevel=3)
    loss = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        many = target > 1
        t = where(many, target, 1.0)
        loss = loss + where(many, t * log(t) - t + log(t * (2 * math.pi)) * 0.5, 0.0)
    return reduced(loss, reduction)


def gaussian_nll_loss(input: Tensor, target: Tensor, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> Tensor:
    """The mean of (log v + (x - t)²/v)/2: the negative log-likelihood of t under normal distributions of mean x and variance v.

    Variances below ε are replaced by ε in the value; the derivative passes through as if they were not.

    Args:
        input: the means x, of any shape.
        target: t, of a shape that broadcasts with the input's; a warning tells if it is another one.
        var: the variances v, not negative: of the input's shape, or with the last dimension 1 or missing, or one dimension 1, or a number.
        full: add the constant log(2π)/2.
        eps: ε, the smallest variance, positive.
        reduction: "mean", "sum" or "none".

    Returns:
        A 0-d tensor, or with reduction="none" one of the input's shape.

    Raises:
        ShapeError: shapes that do not fit.
        DTypeError: not floating point.
        DomainError: a negative variance.
        ValueError: an unknown reduction.

    Nix and Weigend, "Estimating the mean and variance of the target probability distribution", 1994.

    Example:
        >>> import tinygrad_ed as tg
        >>> gaussian_nll_loss(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 4.0]), var=tg.tensor([1.0, 4.0]))
        tensor(0.5966)
    """
    check_reduction(reduction)
    check_float("gaussian_nll_loss", input=input)
    if not isinstance(var, Tensor):
        if isinstance(var, bool) or not isinstance(var, (int, float)):
            raise DTypeError(f"gaussian_nll_loss takes a tensor or a number for var, got {type(var).__name__}")
        var = full_like(input.detach(), var)
    if isinstance(var._data, np.ndarray) and bool((var._data < 0).any()):
        raise DomainError(f"gaussian_nll_loss takes variances of at least 0, the smallest is {var._data.min()}; "
                          f"let the network give their logarithm, and write var=x.exp()")
    if var.shape != input.shape:
        if var.shape == input.shape[:-1] and input.ndim:
            var = var.unsqueeze(-1)
        elif var.ndim != input.ndim or [n for n, m in zip(var.shape, input.shape) if n != m] != [1]:
            raise ShapeError(f"gaussian_nll_loss: input has shape {input.shape}, so var has this shape, or without or with 1 in the place "
                             f"of a dimension; got {var.shape}")
    v = var.detach()
    var = var + where(v < eps, eps - v, 0.0)             # the value limited, the derivative that of v itself
    loss = (log(var) + square(_difference(input, target)) / var) * 0.5
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced(loss, reduction)


def _difference(input: Tensor, target: Tensor) -> Tensor:
    input, target = equal_shapes("gaussian_nll_loss", input, target, stacklevel=4)
    return input - target
