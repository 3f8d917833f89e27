"""Generator: a seed and how far its random words have been used. Every random function takes its words from one.

The words are those of `backend.philox`, so a seed gives the same numbers on every device, and the state of a generator
is two integers: the seed, and the number of the next block of words.
"""
from __future__ import annotations

import math
import operator
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..backend import CPU, Device, capture, module_of, philox
from ..backend.forks import open_after_fork
from ..backend.kernels import kernels
from ..errors import DomainError, DTypeError, ShapeError
from ..tensor import Tensor, wrap
from .creation import on_device

__all__ = ["Generator", "default_generator", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]


_MANY = 1 << 10                          # blocks from which on a kernel makes them, rather than the generator that is at hand
_ON_CPU = np.empty(0)


class Generator:
    """A source of random numbers, safe to use from several threads.

    Args:
        device: where it is meant to be used. The numbers do not depend on it: one seed is one sequence on every device.

    Example:
        >>> import tinygrad_ed as tg
        >>> g = Generator().manual_seed(0)
        >>> first = tg.rand(2, generator=g)
        >>> tg.equal(first, tg.rand(2, generator=g.manual_seed(0)))
        True
    """

    def __init__(self, device: Any = "cpu"):
        self.device = Device(device)
        module_of(self.device)                        # raises where the device is missing
        self._lock = open_after_fork(threading.Lock())
        self._set(67280421310721, 0)                  # PyTorch's default seed

    def _set(self, seed: int, offset: int) -> None:
        with self._lock:
            self._seed, self._offset = seed, offset   # the next block of words is number `_offset`
            self._stream: Any = None                  # NumPy's generator, standing at that block

    def manual_seed(self, seed: int) -> "Generator":
        """Start the sequence of a seed, an integer of at most 64 bits, from its beginning.

        Raises:
            DomainError: a seed beyond 64 bits.
        """
        seed = int(seed)
        if not -2**63 <= seed < 2**64:
            raise DomainError(f"a seed is an integer from -2**63 to 2**64 - 1, got {seed}; write seed % 2**64")
        self._set(seed & philox.MASK, 0)
        return self

    def seed(self) -> int:
        """Take a new seed from the operating system, and return it."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little"))
        return self._seed

    def initial_seed(self) -> int:
        """The seed of this sequence."""
        return self._seed

    def get_state(self) -> Tensor:
        """Where the sequence stands: 16 bytes, for `set_state`."""
        with self._lock:
            return wrap(np.array([self._seed, self._offset], np.uint64).view(np.uint8))

    def set_state(self, new_state: Tensor) -> "Generator":
        """Go on from where a sequence stood.

        Raises:
            DTypeError: not a tensor of uint8.
            ShapeError: not 16 bytes.
        """
        if not isinstance(new_state, Tensor) or new_state.dtype != np.uint8:
            raise DTypeError(f"a generator's state is the uint8 tensor of get_state(), got "
                             f"{getattr(new_state, 'dtype', type(new_state).__name__)}")
        if new_state.shape != (16,):
            raise ShapeError(f"a generator's state has 16 bytes, got shape {new_state.shape}")
        self._set(*np.ascontiguousarray(new_state.numpy(force=True)).view(np.uint64).tolist())
        return self

    def reserve(self, blocks: int) -> tuple[int, int]:
        """Use up so many blocks of words; returns the seed and the number of the first."""
        with self._lock:
            offset, self._offset, self._stream = self._offset, (self._offset + blocks) & philox.MASK, None
            return self._seed, offset

    def place(self, blocks: int) -> Any:
        """As `reserve`, for a kernel on a device; while a step is captured, a device array of both numbers, those of each replay."""
        recording = capture.active()
        return self.reserve(blocks) if recording is None else recording.numbers(lambda: self.reserve(blocks), 2, np.uint64)

    def words(self, n: int, device: Device = CPU) -> Any:
        """The next n random 64-bit words, rounded up to whole blocks, as an array of the caller's own on a device."""
        blocks = -(-n // philox.BLOCK)
        if device.type == "cpu" and blocks >= _MANY:
            return kernels(_ON_CPU).random_words(*self.reserve(blocks), blocks)
        if device.type == "cpu":
            with self._lock:
                if self._stream is None:
                    self._stream = philox.stream(self._seed, self._offset)
                self._offset = (self._offset + blocks) & philox.MASK
                return self._stream.random_raw(philox.BLOCK * blocks)
        return on_device(lambda xp: philox.words_on(xp, self.place(blocks), blocks), device)

    def __reduce__(self) -> Any:
        return _restored, (str(self.device), self.get_state().numpy())

    def __repr__(self) -> str:
        return f"<Generator on {self.device}: seed {self._seed}, block {self._offset}>"


def _restored(device: str, state: np.ndarray) -> Generator:
    return Generator(device).set_state(wrap(state))


default_generator = Generator()
default_generator.seed()


def random_words(n: int, generator: Generator | None = None, device: Any = None) -> Any:
    """The next n random 64-bit words of a generator, for kernels that draw their own numbers (dropout).

    Args:
        n: how many words.
        generator: the default generator by default.
        device: the CPU by default.

    Returns:
        An array of n words, of uint64, which the caller may overwrite; `.view("uint8")` gives 8 bytes for each.

    Raises:
        TypeError: not a Generator.

    Example:
        >>> random_words(3).shape
        (3,)
    """
    return _or_default(generator).words(operator.index(n), CPU if device is None else Device(device))[:n]


def random_mask(x: Tensor, shape: tuple[int, ...], limit: int, bits: int, generator: Generator | None = None) -> Any:
    """An array of booleans on a tensor's device, True where an element's own random bits are a number below the limit.

    Args:
        x: the tensor.
        shape: of the mask.
        limit: at most 2^bits.
        bits: of each element, 8, 16 or 32.
        generator: the default generator by default.

    Raises:
        TypeError: not a Generator.

    Example:
        >>> import tinygrad_ed as tg
        >>> bool(random_mask(tg.ones(2), (3,), 256, 8).all())
        True
    """
    generator, n = _or_default(generator), math.prod(shape)
    if x.device.type == "cpu":
        words = generator.words(-(-n * bits // 64))
        return kernels(words).dropout_mask(words, shape, limit, bits)
    place = generator.place(-(-n * bits // (64 * philox.BLOCK)))
    return on_device(lambda xp: kernels(x._data).random_mask(place, shape, limit, bits), x.device)


def _or_default(generator: Generator | None) -> Generator:
    if generator is None:
        return default_generator
    if not isinstance(generator, Generator):
        raise TypeError(f"generator is a tinygrad_ed.Generator, got {type(generator).__name__}; write Generator().manual_seed(0)")
    return generator


def manual_seed(seed: int) -> Generator:
    """Start the default generator's sequence of a seed, from its beginning; on every device.

    Args:
        seed: an integer of at most 64 bits.

    Returns:
        The default generator.

    Raises:
        DomainError: a seed beyond 64 bits.

    Example:
        >>> import tinygrad_ed as tg
        >>> generator = tg.manual_seed(0)
        >>> tg.initial_seed()
        0
    """
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Give the default generator a new seed from the operating system.

    Returns:
        The seed.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.seed() == tg.initial_seed()
        True
    """
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.manual_seed(7).initial_seed()
        7
    """
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """Where the default generator's sequence stands.

    Returns:
        A tensor of 16 bytes, for `set_rng_state`.

    Example:
        >>> import tinygrad_ed as tg
        >>> state = tg.get_rng_state()
        >>> first = tg.rand(2)
        >>> tg.set_rng_state(state)
        >>> tg.equal(first, tg.rand(2))
        True
    """
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Let the default generator go on from where its sequence stood.

    Args:
        new_state: what `get_rng_state` gave.

    Raises:
        DTypeError: not a tensor of uint8.
        ShapeError: not 16 bytes.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.set_rng_state(tg.get_rng_state())
    """
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(devices: Any = None, enabled: bool = True) -> Iterator[None]:
    """A block after which the default generator stands where it stood before.

    Args:
        devices: accepted as in PyTorch; one generator serves all devices here.
        enabled: whether to do anything at all.

    Example:
        >>> import tinygrad_ed as tg
        >>> with fork_rng():
        ...     first = tg.rand(2)
        >>> tg.equal(first, tg.rand(2))
        True
    """
    state = get_rng_state()
    try:
        yield
    finally:
        if enabled:
            set_rng_state(state)
