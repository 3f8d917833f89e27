"""Penalties on the size of a model's parameters, to be added to a loss: L1, L2 and elastic net.

Textbooks add λ/(2m)·Σ‖W‖²_F for m samples, whose gradient is λ/m·W; PyTorch's optimizers add weight_decay·W to the gradient. So with
samples=1 the `l2_penalty` of strength λ is the weight_decay λ, and with samples=m the weight_decay λ/m.
"""
from __future__ import annotations

from typing import Any, Iterable, Union

from ...tensor import Tensor
from ..module import Module

__all__ = ["elastic_net_penalty", "l1_penalty", "l2_penalty"]

Parameters = Union[Module, Tensor, Iterable[Tensor]]


def l1_penalty(parameters: Parameters, strength: float, *, samples: int = 1, weights_only: bool = True) -> Tensor:
    """λ/m·Σ|w|, which drives parameters to exactly 0 (Tibshirani's lasso, 1996); the derivative at 0 is 0.

    Some courses write λ/(2m)·Σ|w|: half the strength.

    Args:
        parameters: a model, or tensors.
        strength: λ, at least 0.
        samples: m, what the penalty is divided by.
        weights_only: leave out biases and the parameters of normalisation layers: all tensors of fewer than 2 dimensions.

    Returns:
        A 0-d tensor to add to the loss.

    Raises:
        ValueError: a negative strength, samples that are not positive, or nothing to penalise.

    Example:
        >>> import tinygrad_ed as tg
        >>> l1_penalty([tg.tensor([[3.0, -4.0]]), tg.tensor([1.0])], 0.1)
        tensor(0.7000)
    """
    return elastic_net_penalty(parameters, strength, 1.0, samples=samples, weights_only=weights_only)


def l2_penalty(parameters: Parameters, strength: float, *, samples: int = 1, weights_only: bool = True) -> Tensor:
    """λ/(2m)·Σ‖W‖²_F, half the sum of all squares (the Frobenius norm), whose gradient λ/m·W shrinks parameters in proportion.

    With plain SGD, samples=1 and weights_only=False it does what weight_decay=λ does; Adam scales it like any gradient, unlike AdamW.

    Args:
        parameters: a model, or tensors.
        strength: λ, at least 0.
        samples: m, what the penalty is divided by.
        weights_only: leave out biases and the parameters of normalisation layers: all tensors of fewer than 2 dimensions.

    Returns:
        A 0-d tensor to add to the loss.

    Raises:
        ValueError: a negative strength, samples that are not positive, or nothing to penalise.

    Example:
        >>> import tinygrad_ed as tg
        >>> l2_penalty([tg.tensor([[3.0, -4.0]]), tg.tensor([1.0])], 0.1)
        tensor(1.2500)
    """
    return elastic_net_penalty(parameters, strength, 0.0, samples=samples, weights_only=weights_only)


def elastic_net_penalty(parameters: Parameters, strength: float, l1_ratio: float = 0.5, *, samples: int = 1,
                        weights_only: bool = True) -> Tensor:
    """λ/m·(ρ·Σ|w| + (1 - ρ)/2·Σw²): a mixture of `l1_penalty` and `l2_penalty` (Zou and Hastie, 2005).

    Args:
        parameters: a model, or tensors; one that stands in several places counts once.
        strength: λ, at least 0.
        l1_ratio: ρ, in [0, 1].
        samples: m, what the penalty is divided by.
        weights_only: leave out biases and the parameters of normalisation layers: all tensors of fewer than 2 dimensions.

    Returns:
        A 0-d tensor to add to the loss.

    Raises:
        ValueError: a negative strength, an l1_ratio outside [0, 1], samples that are not positive, or nothing to penalise.

    Example:
        >>> import tinygrad_ed as tg
        >>> w = tg.tensor([[3.0, -4.0]], requires_grad=True)
        >>> elastic_net_penalty(w, 0.1, 0.5).backward()
        >>> w.grad
        tensor([[ 0.2000, -0.2500]])
    """
    if not strength >= 0 or not 0 <= l1_ratio <= 1 or not samples > 0:
        raise ValueError(f"a penalty takes a strength of at least 0, an l1_ratio in [0, 1] and samples above 0, got strength={strength}, "
                         f"l1_ratio={l1_ratio}, samples={samples}")
    tensors: Any = parameters.parameters() if isinstance(parameters, Module) else [parameters] if isinstance(parameters,
                                                                                                             Tensor) else parameters
    chosen = [t for t in dict.fromkeys(tensors) if not weights_only or t.ndim >= 2]
    if not chosen:
        raise ValueError("there is nothing to penalise: no parameters, or with weights_only=True none of 2 dimensions; a generator such as "
                         "model.parameters() is empty after its first use")
    factor = strength / samples
    terms = [t.abs().sum() * (factor * l1_ratio) for t in chosen if l1_ratio]
    terms += [(t * t).sum() * (factor * (1 - l1_ratio) / 2) for t in chosen if l1_ratio < 1]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


