"""Window: how a kernel slides over the spatial dimensions of arrays (N, C, *spatial).

Along each dimension, output i sees through tap k of the kernel the input i·stride + k·dilation - padding.
"""
from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any, NamedTuple

Sizes = tuple[int, ...]
Taps = tuple[tuple[Sizes, tuple[Any, ...], tuple[Any, ...]], ...]


class Window(NamedTuple):
    """A kernel's size and how it moves, one number per spatial dimension.

    What lies behind the last input is padding too, as far as the outputs reach; how many outputs there are is therefore
    told with the sizes of the array that they belong to.

    Example:
        >>> every_other = Window(kernel=(3,), stride=(2,), padding=(1,), dilation=(1,))
        >>> every_other.outputs((7,), after=(1,))
        (4,)
        >>> for tap, outputs, inputs in every_other.taps((7,), (4,)):
        ...     print(tap, outputs, inputs)
        (0,) (Ellipsis, slice(1, 4, None)) (Ellipsis, slice(1, 6, 2))
        (1,) (Ellipsis, slice(0, 4, None)) (Ellipsis, slice(0, 7, 2))
        (2,) (Ellipsis, slice(0, 3, None)) (Ellipsis, slice(1, 6, 2))
    """

    kernel: Sizes
    stride: Sizes
    padding: Sizes                  # in front of the first input
    dilation: Sizes

    @property
    def span(self) -> Sizes:
        """How many inputs lie between the first and the last tap, both included."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation))

    def outputs(self, inputs: Sizes, after: Sizes) -> Sizes:
        """How often the kernel fits into inputs that are padded in front and with `after` behind; below 1 where it does not."""
        return tuple((n + p + q - span) // s + 1 for n, p, q, span, s in zip(inputs, self.padding, after, self.span, self.stride))

    def reach(self, outputs: Sizes) -> Sizes:
        """How many padded inputs the outputs see."""
        return tuple((n - 1) * s + span for n, s, span in zip(outputs, self.stride, self.span))

    def taps(self, inputs: Sizes, outputs: Sizes) -> Taps:
        """For each tap in row-major order: its index, and those of the outputs that it shows an input, not padding, and of these inputs."""
        return _taps(self, inputs, outputs)


@lru_cache(maxsize=256)
def _taps(window: Window, inputs: Sizes, outputs: Sizes) -> Taps:
    sides = [[_side(tap * d - p, n, m, s) for tap in range(k)] for n, m, (k, s, p, d) in zip(inputs, outputs, zip(*window))]
    taps = []
    for tap in itertools.product(*map(range, window.kernel)):
        outs, ins = zip(*[side[k] for side, k in zip(sides, tap)])
        taps.append((tap, (..., *outs), (..., *ins)))
    return tuple(taps)


def _side(first: int, inputs: int, outputs: int, stride: int) -> tuple[slice, slice]:
    """The outputs i with an input at first + i·stride, and these inputs."""
    low = max(0, -(first // stride))
    high = max(low, min(outputs, (inputs - 1 - first) // stride + 1))
    if low == high:
        return slice(0, 0), slice(0, 0)
    return slice(low, high), slice(first + low * stride, first + (high - 1) * stride + 1, stride)
