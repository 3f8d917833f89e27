"""Gradients over several backward passes: micro-batches that add up to a batch, and losses that were scaled.

A gradient scaler for half precision needs nothing special of an optimizer. Like `amp.GradScaler`, it multiplies the loss before
`backward`, unscales the gradients in place before the step, and leaves the step out where one of them is not finite:

    (loss * scale).backward()
    found_inf = optim.unscale_(optimizer, scale)
    if not found_inf:
        optimizer.step()             # hooks such as optim.ClipGradNorm see the unscaled gradients
    optimizer.zero_grad()

A step that is left out leaves parameters, state and step counts alone. On a device the condition makes the host wait; the steps of SGD and Adam
are left out there, without waiting, by `amp.GradScaler`.
"""
from __future__ import annotations

from typing import Any

from ..autograd.inplace import stamp_all
from ..backend import capture, namespace
from ..backend.kernels import kernels
from ..backend.memory import joined
from ..nn.utils.clip_grad import _gradients
from ..tensor import Tensor, wrap
from .lr_scheduler.base import count, positive
from .optimizer import Optimizer

__all__ = ["GradientAccumulation", "unscale_"]


def unscale_(optimizer: Optimizer, scale: float) -> Tensor:
    """Divide all gradients of an optimizer by a number, in place: g ← g/scale.

    A gradient that several parameters share is divided once.

    Args:
        optimizer: the optimizer.
        scale: what the loss was multiplied with, above 0; a power of 2 loses no digits.

    Returns:
        A 0-d bool tensor, whether a gradient is NaN or ∞ now, so that the step is better left out; False without gradients.

    Raises:
        ValueError: a scale that is not a finite number above 0. Nothing has been changed then.

    Example:
        >>> import tinygrad_ed as tg
        >>> w = tg.tensor(3.0, requires_grad=True)
        >>> optimizer = tg.optim.SGD([w], lr=0.1)
        >>> (w * w * 1024).backward()
        >>> tg.optim.unscale_(optimizer, 1024), w.grad
        (tensor(False), tensor(6.))
    """
    return unscaled(optimizer, float(positive("scale", scale)))


def unscaled(optimizer: Optimizer, scale: Any) -> Tensor:
    """As `unscale_`, with a scale that may be a 0-d float32 array on the gradients' device, where nobody waits for it."""
    gradients = _gradients([p for group in optimizer.param_groups for p in group["params"]])
    found = namespace(*gradients).zeros((), bool)
    for g in joined(gradients):
        kernels(g).unscale(g, scale, found)
    stamp_all(gradients)
    return wrap(found)


class GradientAccumulation:
    """One step for several micro-batches, with the mean of their gradients: that of a batch that would not fit into memory.

        g = Σ sizeᵢ·∇Lᵢ / Σ sizeᵢ

    Where Lᵢ is a mean over a micro-batch of sizeᵢ samples, this is the gradient of the mean over all of them. (Layers that look at
    the whole batch, such as batch norm, see micro-batches.) The gradients stay there after the step and are forgotten when
    the next ones begin, so the loop calls no `zero_grad`.

    Args:
        optimizer: the optimizer that steps.
        steps: how many micro-batches make a step.

    Raises:
        TypeError: not an Optimizer.
        ValueError: steps below 1.

    Example:
        >>> import tinygrad_ed as tg
        >>> w = tg.tensor(1.0, requires_grad=True)
        >>> accumulation = tg.optim.GradientAccumulation(tg.optim.SGD([w], lr=0.1), steps=2)
        >>> for x in (1.0, 3.0, 5.0):
        ...     accumulation.backward(w * x)
        ...     print(accumulation.step(), round(w.item(), 3))
        False 1.0
        True 0.8
        False 0.8
        >>> accumulation.finish(), round(w.item(), 3)
        (True, 0.3)
    """

    def __init__(self, optimizer: Optimizer, steps: int):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"GradientAccumulation takes an Optimizer, got {type(optimizer).__name__}")
        self.optimizer, self.steps = optimizer, count("steps", steps)
        self.micro_batches, self._size = 0, 0.0       # since the last step

    def backward(self, loss: Tensor, size: float = 1) -> None:
        """Add the gradients of a micro-batch.

        Args:
            loss: its loss, one number.
            size: its weight; the number of samples, where that differs between micro-batches.

        Raises:
            ValueError: a size that is not above 0.
        """
        capture.forbid("GradientAccumulation, whose micro-batches the host counts,", "write several backward and one optimizer.step() in the step")
        size = float(positive("size", size))
        if self.micro_batches == 0:
            self.optimizer.zero_grad()
        (loss if size == 1 else loss * size).backward()
        self.micro_batches, self._size = self.micro_batches + 1, self._size + size

    def step(self) -> bool:
        """Step if this was the last micro-batch of a batch; returns whether it was."""
        return self.finish() if self.micro_batches >= self.steps else False

    def finish(self) -> bool:
        """Step with what has been added since the last step, at the end of an epoch; returns whether there was something."""
        if self.micro_batches == 0:
            return False
        if self._size != 1:
            unscale_(self.optimizer, self._size)
        self.micro_batches, self._size = 0, 0.0
        self.optimizer.step()
        return True
