"""Tensors that belong to a module: Parameter, which is trained, and Buffer, which is not."""
from __future__ import annotations

from typing import Any, Iterable

import numpy as np

from ..autograd.inplace import stamp_all
from ..backend.memory import joined
from ..tensor import Tensor

__all__ = ["Buffer", "Parameter"]


class Parameter(Tensor):
    """A tensor that a module registers when it is assigned to an attribute, and that an optimizer trains.

    Args:
        data: a tensor or an array, whose memory is shared; empty by default.
        requires_grad: whether it is trained. Also True inside `no_grad`.

    Raises:
        DTypeError: requires_grad for integers or booleans.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Parameter(tg.ones(2))
        Parameter containing:
        tensor([1., 1.], requires_grad=True)
    """

    def __init__(self, data: Any = None, requires_grad: bool = True):
        super().__init__(np.empty(0, np.float32) if data is None else data, requires_grad)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __deepcopy__(self, memo: dict) -> "Parameter":
        if id(self) not in memo:
            grad, self._grad = self._grad, None       # as in PyTorch, a copied parameter starts without a gradient
            try:
                super().__deepcopy__(memo)
            finally:
                self._grad = grad
        return memo[id(self)]


class Buffer(Tensor):
    """A tensor that a module registers as part of its state without training it, such as a running mean.

    Args:
        data: a tensor or an array, whose memory is shared; empty by default.
        persistent: whether it is part of the module's `state_dict`.

    Example:
        >>> import tinygrad_ed as tg
        >>> module = tg.nn.Module()
        >>> module.mean = tg.nn.Buffer(tg.zeros(2))
        >>> list(module.state_dict())
        ['mean']
    """

    def __init__(self, data: Any = None, *, persistent: bool = True):
        super().__init__(np.empty(0, np.float32) if data is None else data)
        self.persistent = persistent


def clear_gradients(tensors: Iterable[Tensor], set_to_none: bool = True) -> None:
    """Forget the gradients of tensors, or overwrite them with zeros."""
    written = []
    for t in tensors:
        if set_to_none or t._grad is None:
            t._grad = None
        else:
            t._grad = t._grad.detach()
            written.append(t._grad._data)
    for array in joined(written):
        array[...] = 0
    if written:
        stamp_all(written)
