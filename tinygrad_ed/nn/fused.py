"""Modules that run as one where they follow each other: a layer, and the ReLU or GELU right behind it."""
from __future__ import annotations

from typing import Any, Callable, Iterable, Iterator

from ..ops.elementwise import relu
from . import functional as F
from .activation import GELU, ReLU
from .linear import Linear
from .module import Module
from .norm import BatchNorm1d, BatchNorm2d, BatchNorm3d

__all__ = ["fused"]

_LAYERS = (Linear, BatchNorm1d, BatchNorm2d, BatchNorm3d)             # which have methods for it
_RELUS = (F.relu, relu)


def fused(steps: Iterable[Any]) -> Iterator[Callable]:
    """The steps in their order, but a layer and the activation right behind it as one, unless hooks or a subclass might see what is between.

    Every layer takes a ReLU along, a linear one also a GELU(approximate="tanh"); cuBLASLt has no exact GELU.

    Args:
        steps: modules and functions, each of which gets the output of the one before.

    Returns:
        Functions to call in their place.
    """
    waiting: Any = None                               # a layer, until one knows what follows it
    for step in steps:
        if waiting is not None:
            together = None
            if (type(step) is ReLU and _is_plain(step)) or step in _RELUS:
                together = waiting._with_relu
            elif type(step) is GELU and step.approximate == "tanh" and _is_plain(step) and type(waiting) is Linear:
                together = waiting._with_gelu
            yield together or waiting
            waiting = None
            if together:
                continue
        waiting = step if type(step) in _LAYERS and _is_plain(step) else None
        if waiting is None:
            yield step
    if waiting is not None:
        yield waiting


def _is_plain(module: Module) -> bool:
    """Whether calling a module only runs the `forward` of its class."""
    return not module._hooks and "forward" not in module.__dict__
