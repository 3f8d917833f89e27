"""What a stretch of code asked of the device: kernel launches, allocations, waits of the host, and copies to the device."""
from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator

HERE = Path(__file__).parent


class CUDARuntimeError(RuntimeError):
    """What CuPy raises where the CUDA runtime fails."""


class HiddenSync(RuntimeError):
    """The host waits for the device where that is forbidden."""


@dataclass
class Counts:
    """How often things happened; of the waits and the copies also what and where, as "item() at ops/x.py:12 in f"."""

    launches: int = 0
    allocations: int = 0
    syncs: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)


class _Capturing(threading.local):
    graph: Any = None


_open: list[Counts] = []
_forbidden = 0
capturing = _Capturing()                              # its graph is the one that this thread records (see `graphs`), or None


def _site() -> str:
    """The innermost line that is not the stand-in's own."""
    frame = sys._getframe(1)
    while frame.f_back is not None and (Path(frame.f_code.co_filename).parent == HERE or frame.f_code.co_filename.startswith("<")):
        frame = frame.f_back
    return f"{'/'.join(frame.f_code.co_filename.split('/')[-3:])}:{frame.f_lineno} in {frame.f_code.co_name}"


def launched(again: Callable[[], Any] | None = None, reads: Any = (), writes: Any = ()) -> None:
    """A kernel was launched: `again` runs it once more, on the arrays that it reads and writes."""
    for counts in _open:
        counts.launches += 1
    if capturing.graph is not None:
        if again is None:
            raise NotImplementedError(f"the stand-in cannot record the launch at {_site()}: say how to run it again, tally.launched(again, ...)")
        capturing.graph.record(again, reads, writes)


def allocated() -> None:
    """Memory was allocated."""
    for counts in _open:
        counts.allocations += 1


def waited(what: str) -> None:
    """The host waited for the device."""
    if capturing.graph is not None:
        raise CUDARuntimeError(f"cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing: {what}")
    if _forbidden:
        raise HiddenSync(f"{what} waits for the device, at {_site()}")
    for counts in _open:
        counts.syncs.append(f"{what} at {_site()}")


def copied(what: str) -> None:
    """Values went from the host to the device."""
    if capturing.graph is not None:
        raise CUDARuntimeError(f"cudaErrorStreamCaptureUnsupported: a copy from pageable memory of the host: {what}")
    for counts in _open:
        counts.copies.append(f"{what} at {_site()}")


@contextmanager
def counting() -> Iterator[Counts]:
    """Counts what happens in the block."""
    counts = Counts()
    _open.append(counts)
    try:
        yield counts
    finally:
        _open.remove(counts)


@contextmanager
def without_syncs() -> Iterator[None]:
    """A block in which waiting for the device is an error."""
    global _forbidden
    _forbidden += 1
    try:
        yield
    finally:
        _forbidden -= 1
