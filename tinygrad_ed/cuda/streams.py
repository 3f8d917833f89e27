"""Streams, which are queues of work on a CUDA device, and events, which are points in them."""
from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import Any

from ..backend import Device, cuda
from .devices import index_of

__all__ = ["Event", "Stream", "current_stream", "default_stream", "set_stream", "stream"]


class Event:
    """A point in a stream: other streams and the host can wait for it.

    Args:
        enable_timing: whether it also tells when it happened.
        blocking: whether the host sleeps while it waits, which takes longer and leaves the processor to others.
        interprocess: whether other processes may use it.

    Raises:
        DeviceError: CUDA cannot be used.

    Example:
        >>> import tinygrad_ed as tg
        >>> if tg.cuda.is_available():
        ...     start, end = tg.cuda.Event(enable_timing=True), tg.cuda.Event(enable_timing=True)
        ...     start.record()
        ...     x = tg.ones(1000, device="cuda") * 2
        ...     end.record()
        ...     end.synchronize()
        ...     milliseconds = start.elapsed_time(end)
    """

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False):
        self.timed = enable_timing
        self.event = cuda.module().cuda.Event(block=blocking, disable_timing=not enable_timing, interprocess=interprocess)

    def record(self, stream: "Stream | None" = None) -> None:
        """Happen after what a stream, by default the current one, has queued so far."""
        self.event.record((current_stream() if stream is None else stream).stream)

    def wait(self, stream: "Stream | None" = None) -> None:
        """Let what a stream, by default the current one, queues next wait for this event."""
        (current_stream() if stream is None else stream).wait_event(self)

    def query(self) -> bool:
        """Whether it has happened."""
        return bool(self.event.done)

    def synchronize(self) -> None:
        """Wait for it."""
        self.event.synchronize()

    def elapsed_time(self, end_event: "Event") -> float:
        """Milliseconds from this event to another; wait for both first.

        Raises:
            RuntimeError: one of them does not tell the time, or was not recorded.
        """
        if not (self.timed and end_event.timed):
            raise RuntimeError("one of the events does not tell the time; write Event(enable_timing=True)")
        return float(cuda.module().cuda.get_elapsed_time(self.event, end_event.event))


class Stream:
    """A queue of work on a device, beside the default stream and not waiting for it. `with stream:` queues there.

    Args:
        device: a number, a name or a Device; the current one by default.
        priority: negative numbers are served first.

    Raises:
        DeviceError: CUDA cannot be used, or there is no such device.

    Example:
        >>> import tinygrad_ed as tg
        >>> if tg.cuda.is_available():
        ...     side, x = tg.cuda.Stream(), tg.ones(3, device="cuda")
        ...     side.wait_stream(tg.cuda.current_stream())
        ...     with side:
        ...         y = x + 1
        ...     tg.cuda.current_stream().wait_stream(side)
    """

    def __init__(self, device: Any = None, priority: int = 0):
        self.device = Device("cuda", index_of(device))
        self._entered: list[ExitStack] = []
        with cuda.on(self.device.index):
            self.stream = cuda.module().cuda.Stream(non_blocking=True, priority=priority)

    @classmethod
    def around(cls, stream: Any, index: int) -> "Stream":
        """A Stream for one of CuPy's."""
        self = cls.__new__(cls)
        self.device, self.stream, self._entered = Device("cuda", index), stream, []
        return self

    @property
    def cuda_stream(self) -> int:
        """Its handle."""
        return self.stream.ptr

    def query(self) -> bool:
        """Whether all that was queued is done."""
        return bool(self.stream.done)

    def synchronize(self) -> None:
        """Wait until all that was queued is done."""
        self.stream.synchronize()

    def record_event(self, event: Event | None = None) -> Event:
        """Let an event, by default a new one, happen after what was queued so far."""
        with cuda.on(self.device.index):
            event = Event() if event is None else event
            event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Let what is queued next wait for an event."""
        self.stream.wait_event(event.event)

    def wait_stream(self, stream: "Stream") -> None:
        """Let what is queued next wait for what another stream has queued so far."""
        self.wait_event(stream.record_event())

    def __enter__(self) -> "Stream":
        block = ExitStack()
        block.enter_context(cuda.on(self.device.index))
        block.enter_context(self.stream)
        self._entered.append(block)
        return self

    def __exit__(self, *error: Any) -> None:
        self._entered.pop().close()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and (self.device, self.cuda_stream) == (other.device, other.cuda_stream)

    def __hash__(self) -> int:
        return hash((self.device, self.cuda_stream))

    def __repr__(self) -> str:
        return f"<Stream on {self.device}: {self.cuda_stream:#x}>"


def stream(stream: Stream | None) -> AbstractContextManager:
    """A block that queues on a stream; None changes nothing.

    Example:
        >>> import tinygrad_ed as tg
        >>> with tg.cuda.stream(None):
        ...     x = tg.ones(2)
    """
    return ExitStack() if stream is None else stream


def current_stream(device: Any = None) -> Stream:
    """The stream that work on a device, by default the current one, is queued on.

    Raises:
        DeviceError: CUDA cannot be used, or there is no such device.

    Example:
        >>> import tinygrad_ed as tg
        >>> if tg.cuda.is_available():
        ...     tg.cuda.current_stream().synchronize()
    """
    index = index_of(device)
    with cuda.on(index):
        return Stream.around(cuda.module().cuda.get_current_stream(), index)


def default_stream(device: Any = None) -> Stream:
    """The stream that work on a device is queued on unless another is chosen.

    Raises:
        DeviceError: CUDA cannot be used, or there is no such device.

    Example:
        >>> import tinygrad_ed as tg
        >>> if tg.cuda.is_available():
        ...     beside = tg.cuda.current_stream() != tg.cuda.default_stream()
    """
    return Stream.around(cuda.module().cuda.Stream.null, index_of(device))


def set_stream(stream: Stream | None) -> None:
    """Queue on a stream from now on; None changes nothing.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cuda.set_stream(None)
    """
    if stream is not None:
        with cuda.on(stream.device.index):
            stream.stream.use()
