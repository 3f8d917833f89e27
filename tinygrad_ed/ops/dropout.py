"""Dropout and its relatives: elements, channels or whole samples set to 0 at random, the others scaled to keep the expectation.

The random bits come from the counter-based generator, in row-major order, so a seed gives one mask whatever the dtype, the memory layout
and the device.
"""
from __future__ import annotations

import warnings
from typing import Any, NamedTuple

from ..autograd.inplace import write
from ..autograd.op import op
from ..backend.kernels import kernels
from ..errors import DomainError, ShapeError
from ..tensor import Tensor, wrap
from .activation.smooth import SELU_ALPHA, SELU_SCALE
from .arguments import require_float
from .generator import random_mask

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout", "stochastic_depth"]

_drop = op("dropout", lambda x, keep, *, scale: kernels(x).dropout(x, keep, scale), x=lambda g, keep, scale: _drop(g, keep, scale=scale))


# -- which elements stay -----------------------------------------------------------------------------------------------

class _Coin(NamedTuple):
    """A probability that random bits can have exactly: that a number of so many bits is below a limit."""

    limit: int
    bits: int

    @property
    def keep(self) -> float:
        """The probability."""
        return self.limit / 2 ** self.bits


def coin(p: float) -> _Coin:
    """The coin for dropping with probability p in (0, 1), of 8, 16 or 32 bits: the fewest that meet p and 1 - p to one part in a thousand.

    With 32 bits the error is below 2^-33, and probabilities that are closer to 0 or 1 than 2^-32 are taken as that far.
    """
    for bits in (8, 16, 32):
        limit = round((1 - p) * 2 ** bits)
        if 0 < limit < 2 ** bits and abs(limit / 2 ** bits - (1 - p)) <= 1e-3 * min(p, 1 - p):
            break
    return _Coin(min(max(limit, 1), 2 ** bits - 1), bits)


def _mask(input: Tensor, shape: tuple, toss: _Coin, generator: Any) -> Any:
    """An array of booleans of a shape, True with the coin's probability."""
    return random_mask(input, shape, toss.limit, toss.bits, generator)


def _check(name: str, input: Tensor, p: float, training: bool) -> bool:
    """Whether there is anything to do.

    Raises:
        DomainError: p outside [0, 1].
        DTypeError: integers or booleans.
    """
    if not 0 <= p <= 1:
        raise DomainError(f"{name}: p is a probability in [0, 1], got {p}")
    if not training or p == 0:
        return False
    require_float(input, name)
    return True


def _finish(name: str, input: Tensor, y: Tensor, inplace: bool) -> Tensor:
    return write(input, y, name + "_", fresh=True) if inplace else y


def _dropped(name: str, input: Tensor, shape: tuple, p: float, training: bool, inplace: bool, generator: Any) -> Tensor:
    """The input with the parts dropped that the elements of a shape, which broadcasts with the input's, stand for."""
    if not _check(name, input, p, training):
        return input
    if p == 1:
        y = input * 0.0
    else:
        toss = coin(p)
        y = _drop(input, _mask(input, shape, toss, generator), scale=1 / toss.keep)
    return _finish(name, input, y, inplace)


def _channels(name: str, input: Tensor) -> tuple:
    """The shape with one element for each sample's channel."""
    if input.ndim < 2:
        raise ShapeError(f"{name} takes an input of shape (N, C, ...), got {input.shape}")
    return (*input.shape[:2], *[1] * (input.ndim - 2))


# -- the public functions ----------------------------------------------------------------------------------------------

def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Any = None) -> Tensor:
    """Elements set to 0 with probability p, the others divided by the probability to stay (Srivastava et al., 2014).

    The mask has 8, 16 or 32 random bits for each element, as many as p needs to be met to one part in a thousand. What stays is divided
    by the probability that those bits have, so that the expectation of the output is exactly the input.

    Args:
        input: a floating point tensor of any shape.
        p: the probability to be dropped.
        training: whether to do it; otherwise the input is returned.
        inplace: write the result into the input.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        A tensor of the same shape, the input itself if inplace.

    Raises:
        DomainError: p outside [0, 1].
        DTypeError: integers or booleans.

    Example:
        >>> import tinygrad_ed as tg
        >>> y = dropout(tg.ones(1000), 0.25)
        >>> y.unique()
        tensor([0.0000, 1.3333])
    """
    return _dropped("dropout", input, input.shape, p, training, inplace, generator)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Any = None) -> Tensor:
    """Whole channels of sequences set to 0 with probability p (Tompson et al., 2014).

    Args:
        input: a floating point tensor of shape (N, C, L) or (C, L).
        p: the probability of a channel to be dropped.
        training: whether to do it.
        inplace: write the result into the input.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        A tensor of the same shape, the input itself if inplace.

    Raises:
        DomainError: p outside [0, 1].
        ShapeError: another number of dimensions.
        DTypeError: integers or booleans.

    Example:
        >>> import tinygrad_ed as tg
        >>> dropout1d(tg.ones(2, 3, 4), 1.0).sum()
        tensor(0.)
    """
    if input.ndim not in (2, 3):
        raise ShapeError(f"dropout1d takes an input of shape (N, C, L) or (C, L), got {input.shape}")
    shape = (*input.shape[:-1], 1)
    return _dropped("dropout1d", input, shape, p, training, inplace, generator)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Any = None) -> Tensor:
    """Whole channels of images set to 0 with probability p (Tompson et al., 2014).

    Args:
        input: a floating point tensor of shape (N, C, H, W). One of shape (N, C, L) is taken with a warning, as in PyTorch.
        p: the probability of a channel to be dropped.
        training: whether to do it.
        inplace: write the result into the input.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        A tensor of the same shape, the input itself if inplace.

    Raises:
        DomainError: p outside [0, 1].
        ShapeError: fewer than 2 dimensions.
        DTypeError: integers or booleans.

    Example:
        >>> import tinygrad_ed as tg
        >>> dropout2d(tg.ones(2, 3, 4, 4), training=False).sum()
        tensor(96.)
    """
    if input.ndim != 4:
        warnings.warn(f"dropout2d takes an input of shape (N, C, H, W), got {input.shape}, whose first two dimensions are taken as samples and "
                      f"channels; write dropout1d for (N, C, L), x.unsqueeze(0) for (C, H, W)", stacklevel=2)
    return _dropped("dropout2d", input, _channels("dropout2d", input), p, training, inplace, generator)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Any = None) -> Tensor:
    """Whole channels of volumes set to 0 with probability p (Tompson et al., 2014).

    Args:
        input: a floating point tensor of shape (N, C, D, H, W) or (C, D, H, W).
        p: the probability of a channel to be dropped.
        training: whether to do it.
        inplace: write the result into the input.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        A tensor of the same shape, the input itself if inplace.

    Raises:
        DomainError: p outside [0, 1].
        DTypeError: integers or booleans.

    Example:
        >>> import tinygrad_ed as tg
        >>> dropout3d(tg.ones(2, 3, 4, 4, 4), 1.0).sum()
        tensor(0.)
    """
    if input.ndim not in (4, 5):
        warnings.warn(f"dropout3d takes an input of shape (N, C, D, H, W) or (C, D, H, W), got {input.shape}; write dropout for single elements",
                      stacklevel=2)
    shape = _channels("dropout3d", input) if input.ndim == 5 else (*input.shape[:1], *[1] * (input.ndim - 1))
    return _dropped("dropout3d", input, shape, p, training, inplace, generator)


def _alpha_dropped(name: str, input: Tensor, shape: tuple, p: float, training: bool, inplace: bool, generator: Any) -> Tensor:
    """a·x + b with x replaced by SELU's limit -s·α where it is dropped, and a, b such that mean 0 and variance 1 stay."""
    if not _check(name, input, p, training):
        return input
    if p == 1:
        return _finish(name, input, input * 0.0, inplace)
    toss = coin(p)
    limit, q = -SELU_SCALE * SELU_ALPHA, 1 - toss.keep
    a = (toss.keep * (1 + q * limit * limit)) ** -0.5
    b = -a * q * limit
    keep = _mask(input, shape, toss, generator)
    offset = kernels(keep).choose(keep, b, a * limit + b, input.dtype)
    return _finish(name, input, _drop(input, keep, scale=a) + wrap(offset), inplace)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False, generator: Any = None) -> Tensor:
    """Dropout after SELU: elements set to its limit at -∞ with probability p, then scaled and shifted so that mean and variance stay.

    Klambauer et al., "Self-normalizing neural networks", 2017.

    Args:
        input: a floating point tensor of any shape, of mean 0 and variance 1.
        p: the probability to be dropped.
        training: whether to do it.
        inplace: write the result into the input.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        A tensor of the same shape, the input itself if inplace.

    Raises:
        DomainError: p outside [0, 1].
        DTypeError: integers or booleans.

    Example:
        >>> import tinygrad_ed as tg
        >>> alpha_dropout(tg.zeros(1000), 0.5, training=True).unique()
        tensor([-0.7792,  0.7792])
    """
    return _alpha_dropped("alpha_dropout", input, input.shape, p, training, inplace, generator)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False, generator: Any = None) -> Tensor:
    """`alpha_dropout` of whole channels.

    Args:
        input: a floating point tensor of shape (N, C, …).
        p: the probability of a channel to be dropped.
        training: whether to do it.
        inplace: write the result into the input.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        A tensor of the same shape, the input itself if inplace.

    Raises:
        DomainError: p outside [0, 1].
        ShapeError: fewer than 2 dimensions.
        DTypeError: integers or booleans.

    Example:
        >>> import tinygrad_ed as tg
        >>> feature_alpha_dropout(tg.zeros(2, 3, 8), 0.5, training=True).std(2).sum()
        tensor(0.)
    """
    return _alpha_dropped("feature_alpha_dropout", input, _channels("feature_alpha_dropout", input), p, training, inplace, generator)


def stochastic_depth(input: Tensor, p: float, mode: str, training: bool = True, generator: Any = None) -> Tensor:
    """Whole samples, or the whole batch, set to 0 with probability p: a residual branch that is skipped (Huang et al., 2016).

    Args:
        input: a floating point tensor of shape (N, …), the output of the branch.
        p: the probability to be dropped.
        mode: "row" for each sample on its own, "batch" for all together.
        training: whether to do it.
        generator: where the randomness comes from; the default generator by default.

    Returns:
        A tensor of the same shape, divided by the probability to stay where it stays.

    Raises:
        DomainError: p outside [0, 1].
        ShapeError: a 0-d tensor with mode="row".
        DTypeError: integers or booleans.
        ValueError: an unknown mode.

    Example:
        >>> import tinygrad_ed as tg
        >>> x, branch = tg.ones(2, 3), tg.ones(2, 3)
        >>> x + stochastic_depth(branch, 1.0, "row")
        tensor([[1., 1., 1.],
                [1., 1., 1.]])
    """
    if mode not in ("batch", "row"):
        raise ValueError(f'stochastic_depth: mode is "batch" or "row", got {mode!r}')
    if mode == "row" and input.ndim == 0:
        raise ShapeError('stochastic_depth with mode="row" takes an input of shape (N, ...), got a 0-d tensor')
    shape = (1,) * input.ndim if mode == "batch" else (*input.shape[:1], *[1] * (input.ndim - 1))
    return _dropped("stochastic_depth", input, shape, p, training, False, generator)
