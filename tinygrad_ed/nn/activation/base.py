"""What the activation modules share: how they are printed."""
from __future__ import annotations

from ..module import Module


class Activation(Module):
    """A module that is printed with its options."""

    shown: tuple[str, ...] = ()       # the options that are printed, which are attributes

    def extra_repr(self) -> str:
        """The options, as name=value; `inplace` only if it is set."""
        options = [f"{name}={getattr(self, name)!r}" for name in self.shown]
        return ", ".join(options + ["inplace=True"] * bool(getattr(self, "inplace", False)))
