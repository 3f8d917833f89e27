"""Activations that choose among elements: gated linear units, and one-hot vectors through which gradients still pass."""
from __future__ import annotations

import warnings
from typing import Any

from ...autograd.op import op
from ...backend.kernels import kernels
from ...errors import ShapeError
from ...tensor import Tensor
from ..arguments import one, require_float
from ..elementwise import log, sigmoid, where
from ..join import chunk
from ..like import empty_like
from ..softmax import softmax

__all__ = ["glu", "gumbel_softmax", "hardmax"]


def _composed_glu(x: Any, *, dim: int) -> Any:
    a, b = chunk(x, 2, dim)
    return a * sigmoid(b)


_glu = op("glu", lambda x, *, dim: kernels(x).glu(x, dim), aux=("s",), composed=_composed_glu,
          gradients=lambda g, y, s, dim: (kernels(g).glu_backward(g, y, s, dim),))
_hardmax = op("hardmax", lambda xp, x, *, dim: _one_hot(xp, x, dim), x=lambda g: where(True, 0.0, g))
_straight_through = op("straight_through", lambda soft, hard: hard.copy(), soft=lambda g: g,
                       doc="The values of `hard` with the derivative of `soft` (Bengio, Léonard and Courville, 2013).")


def _one_hot(xp: Any, x: Any, dim: int) -> Any:
    """1 at the first largest element of an array along a dimension, 0 elsewhere."""
    if x.ndim == 0 or x.size == 0:
        return xp.ones_like(x)
    places = xp.arange(x.shape[dim]).reshape([-1 if i == dim else 1 for i in range(x.ndim)])
    return (places == xp.expand_dims(x.argmax(axis=dim), dim)).astype(x.dtype)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a·σ(b), where a and b are the two halves of the input along a dimension (Dauphin et al., 2016).

    Args:
        input: a floating point tensor with at least one dimension.
        dim: the dimension that is halved, of even length.

    Returns:
        A tensor with half the length in that dimension.

    Raises:
        DTypeError: integers or booleans.
        ShapeError: a 0-d tensor, or a dimension of odd length.
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> glu(tg.tensor([1.0, 2.0, 0.0, 0.0]))
        tensor([0.5000, 1.0000])
    """
    require_float(input, "glu")
    if input.ndim == 0:
        raise ShapeError("glu halves a dimension, and a 0-d tensor has none")
    dim = one(input, dim)
    if input.shape[dim] % 2:
        raise ShapeError(f"glu: dimension {dim} of an input of shape {input.shape} has odd length {input.shape[dim]} and cannot be halved")
    return _glu(input, dim=dim)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1, generator: Any = None) -> Tensor:
    """A sample from the categorical distribution of the logits, made differentiable: softmax((logits + G)/τ) with Gumbel noise G.

    Jang, Gu and Poole, "Categorical reparameterization with Gumbel-softmax", 2016; Maddison, Mnih and Teh, 2016.

    Args:
        logits: unnormalised log-probabilities of shape (…, C).
        tau: the temperature τ; the smaller, the closer to one-hot.
        hard: give one-hot samples, with the gradient of the soft ones.
        eps: without effect, as in PyTorch.
        dim: the dimension of the classes.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        A tensor of the same shape that sums to 1 along the dimension.

    Raises:
        DTypeError: integers or booleans.
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> gumbel_softmax(tg.zeros(2, 5), hard=True).sum(1)
        tensor([1., 1.])
    """
    if eps != 1e-10:
        warnings.warn("gumbel_softmax: eps has no effect; leave it out", stacklevel=2)
    require_float(logits, "gumbel_softmax")
    noise = -log(empty_like(logits.detach()).exponential_(generator=generator))
    soft = softmax((logits + noise) / tau, dim)
    return _straight_through(soft, _hardmax(soft.detach(), dim=one(soft, dim))) if hard else soft


def hardmax(input: Tensor, dim: int = -1, straight_through: bool = False) -> Tensor:
    """1 at the largest element along a dimension (the first of several), 0 elsewhere: softmax at temperature 0.

    Args:
        input: a floating point tensor of any shape.
        dim: the dimension that sums to 1.
        straight_through: give it the gradient of softmax (Bengio, Léonard and Courville, 2013); its own is 0 everywhere.

    Returns:
        A tensor of the same shape.

    Raises:
        DTypeError: integers or booleans.
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> hardmax(tg.tensor([[0.5, 2.0, 1.0]]))
        tensor([[0., 1., 0.]])
    """
    require_float(input, "hardmax")
    dim = one(input, dim)
    return _straight_through(softmax(input, dim), _hardmax(input.detach(), dim=dim)) if straight_through else _hardmax(input, dim=dim)
