"""Dropout: which elements stay, decided by random bits, and the product with that."""
from __future__ import annotations

import math
from typing import Any

from ... import namespace, philox
from .memory import empty

__all__ = ["dropout", "dropout_mask", "random_mask", "random_words"]


def random_words(seed: int, offset: int, blocks: int) -> Any:
    """The words of blocks offset, offset + 1… of a seed, four each, as NumPy's generator makes them."""
    return philox.stream(seed, offset).random_raw(philox.BLOCK * blocks)


def dropout_mask(words: Any, shape: tuple, limit: int, bits: int) -> Any:
    """True where an element stays: where its own 8, 16 or 32 random bits, in row-major order of the elements, are a number below the limit."""
    return (words.view(f"uint{bits}")[:math.prod(shape)] <= limit - 1).reshape(shape)


def random_mask(place: tuple[int, int], shape: tuple, limit: int, bits: int) -> Any:
    """The mask of the words of a place, (seed, offset); on a device an array of both numbers is a place too, which is read when the kernel runs."""
    n = math.prod(shape)
    return dropout_mask(random_words(*place, -(-n * bits // (64 * philox.BLOCK))), shape, limit, bits)


def dropout(x: Any, keep: Any, scale: float) -> Any:
    """x·scale where `keep`, which broadcasts, is True, 0 elsewhere; its derivative is the same function of the gradient."""
    xp = namespace(x)
    y = empty(xp, x.shape, x.dtype)
    if keep.size < x.size:                            # whole channels: the scale goes into the small factor
        return xp.multiply(x, keep.astype(x.dtype) * x.dtype.type(scale), out=y)
    xp.multiply(x, keep, out=y)
    y *= scale
    return y
