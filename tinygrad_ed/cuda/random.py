"""Random numbers on CUDA: one generator serves all devices, and a seed gives the same numbers on each of them and on the CPU."""
from __future__ import annotations

from typing import Any

from ..ops import generator
from ..tensor import Tensor

__all__ = ["get_rng_state", "initial_seed", "manual_seed", "manual_seed_all", "seed", "set_rng_state"]


def manual_seed(seed: int) -> None:
    """Start the default generator's sequence of a seed from its beginning; the same as `tinygrad_ed.manual_seed`.

    Args:
        seed: an integer of at most 64 bits.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cuda.manual_seed(7)
        >>> tg.initial_seed()
        7
    """
    generator.manual_seed(seed)


manual_seed_all = manual_seed


def seed() -> None:
    """Give the default generator a new seed from the operating system.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cuda.seed()
    """
    generator.seed()


def initial_seed() -> int:
    """The seed of the default generator.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cuda.initial_seed() == tg.initial_seed()
        True
    """
    return generator.initial_seed()


def get_rng_state(device: Any = "cuda") -> Tensor:
    """Where the default generator's sequence stands: 16 bytes, for `set_rng_state`.

    Example:
        >>> import tinygrad_ed as tg
        >>> state = tg.cuda.get_rng_state()
    """
    return generator.get_rng_state()


def set_rng_state(new_state: Tensor, device: Any = "cuda") -> None:
    """Let the default generator go on from where its sequence stood.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cuda.set_rng_state(tg.cuda.get_rng_state())
    """
    generator.set_rng_state(new_state)
