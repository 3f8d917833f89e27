"""What the pooling layers share."""
from __future__ import annotations

from collections.abc import Callable

from ..module import Module


class Pool(Module):
    """A layer without parameters, whose printed form lists some of its attributes."""

    dims: int
    functions: dict[int, Callable]                    # by the number of spatial dimensions
    shown: tuple[str, ...]

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.shown)

    @property
    def _function(self) -> Callable:
        return self.functions[self.dims]
