"""What those who compute must know of a step that is captured as a CUDA graph (see `cuda.graphs`).

While a step is captured its kernels are noted down instead of run, with the addresses and the numbers that they get. So numbers of the host
that change from step to step (a learning rate, a step count, where a random sequence stands) are asked for here: they lie in device memory,
and are computed and sent anew before each replay. What the host does besides happens once, at the capture, and is forbidden where that is wrong.
"""
from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import CaptureError

__all__ = ["Recording", "active", "forbid", "recording"]

CAPACITY = 1 << 12                       # words of 8 bytes for all numbers of a step
WORD = np.dtype(np.uint64)


class _State(threading.local):
    recording: "Recording | None" = None


_state = _State()


def active() -> "Recording | None":
    """The recording of the step that this thread is capturing; None where it captures none."""
    return _state.recording


def forbid(what: str, instead: str) -> None:
    """Do nothing, unless this thread is capturing a step.

    Args:
        what: what is about to happen, such as "reading a tensor's values".
        instead: what to write instead.

    Raises:
        CaptureError: a step is being captured.
    """
    if _state.recording is not None:
        raise CaptureError(f"{what} cannot be part of a captured step; {instead}")


class recording:
    """A block whose kernels a CUDA graph takes up, for this thread.

    Raises:
        CaptureError: this thread is capturing already.
    """

    def __init__(self, found: "Recording"):
        self._found = found

    def __enter__(self) -> "Recording":
        forbid("the capture of another step", "capture the outer step only")
        _state.recording = self._found
        return self._found

    def __exit__(self, *error: Any) -> None:
        _state.recording = None


class Recording:
    """What a graph needs beside its kernels: numbers that are computed before each replay, and conditions under which it may be replayed."""

    def __init__(self) -> None:
        from . import cuda
        self._device, self._host, self._used = cuda.module().zeros(CAPACITY, WORD), np.zeros(CAPACITY, WORD), 0
        self._numbers: list[tuple[Callable[[], Sequence[Any]], np.ndarray]] = []
        self._conditions: list[tuple[str, Callable[[], bool]]] = []
        self.memo: dict[Any, Any] = {}                # what others remember while the step is captured, each under itself
        self._sent: bytes | None = None

    def numbers(self, compute: Callable[[], Sequence[Any]], count: int, dtype: Any) -> Any:
        """Numbers that change from replay to replay.

        Args:
            compute: called before each replay, in the order of the step, and not now; what it changes of the host's state is what one step does.
            count: how many numbers it returns.
            dtype: theirs on the device.

        Returns:
            A device array of `count` elements, which a kernel reads; `[i]` of it is a 0-d array.

        Raises:
            CaptureError: more numbers than there is room for.
        """
        dtype, start = np.dtype(dtype), self._used
        stop = start - (-count * dtype.itemsize // WORD.itemsize)
        if stop > CAPACITY:
            raise CaptureError(f"a captured step has room for {CAPACITY} words of numbers that change, this one needs more; capture parts of it")
        self._used = stop
        self._numbers.append((compute, self._host[start:stop].view(dtype)[:count]))
        return self._device[start:stop].view(dtype)[:count]

    def before_replays(self, act: Callable[[], None]) -> None:
        """Let the host do something before each replay, in the order of the step, and not now."""
        def none() -> tuple[()]:
            act()
            return ()
        self._numbers.append((none, self._host[:0]))

    def replay_only_if(self, what: str, holds: Callable[[], bool]) -> None:
        """Let the graph be replayed only while a condition holds; `what` has changed where it does not."""
        self._conditions.append((what, holds))

    def outdated(self) -> str:
        """What has changed since the capture, so that a replay would not do what the step does; "" if nothing."""
        return next((what for what, holds in self._conditions if not holds()), "")

    def send(self, stream: Any) -> None:
        """Compute the numbers of the next replay, and queue their copy to the device where they are not there already."""
        from . import cuda
        for compute, row in self._numbers:
            for i, value in enumerate(compute()):
                row[i] = value
        values = self._host[:self._used]
        if self._used and (sent := values.tobytes()) != self._sent:
            source = cuda.pinned(values.shape, WORD)  # of its own, since copies of earlier replays may still be on their way
            source[...] = values
            cuda.send(source, self._device[:self._used], stream)
            self._sent = sent
