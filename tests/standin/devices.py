"""The stand-in for `cupy.cuda`: two devices, streams and events with their order, memory pools that count and can be full."""
from __future__ import annotations

import math
import threading
import weakref
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Callable, Iterator

from . import tally
from .tally import CUDARuntimeError

DEVICES = 2
TOTAL = 1 << 30                                       # bytes of memory on each


class OutOfMemoryError(MemoryError):
    """What CuPy raises where its pool can get no more memory."""


class _Current(threading.local):
    def __init__(self) -> None:
        self.device = 0
        self.streams = {i: _null[i] for i in range(DEVICES)}


class Device:
    """A device; current inside of its `with` block."""

    def __init__(self, device: int | None = None):
        self.id = current.device if device is None else int(device)
        self._before: list[int] = []

    def _check(self) -> None:
        if not 0 <= self.id < DEVICES:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")

    def use(self) -> None:
        """Make it current."""
        self._check()
        current.device = self.id

    def __enter__(self) -> "Device":
        self._check()
        self._before.append(current.device)
        current.device = self.id
        return self

    def __exit__(self, *error: Any) -> None:
        current.device = self._before.pop()

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    __hash__ = None                                   # type: ignore[assignment]

    def synchronize(self) -> None:
        """Wait for it."""
        tally.waited("Device.synchronize()")

    @property
    def compute_capability(self) -> str:
        """As two digits."""
        return "90"

    @property
    def mem_info(self) -> tuple[int, int]:
        """Free and total bytes."""
        return TOTAL - _pool.of(self.id).total, TOTAL


# -- streams: what ran on one is known to another only after an event ---------------------------------------------------

class Stream:
    """A queue of work. `seen` tells for every stream how much of its work is done before what is queued here next."""

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: int | None = None):
        self.non_blocking, self.priority, self.device_id = non_blocking, priority or 0, 0 if null else current.device
        self.done_here = 0
        self.seen: dict[int, int] = {}
        self.ptr = 0 if null else id(self)
        self._before: list[Stream] = []
        _streams.add(self)

    def work(self) -> tuple[int, int]:
        """Queue one more piece of work; returns what stands for it."""
        self.done_here += 1
        return id(self), self.done_here

    def knows(self, work: tuple[int, int]) -> bool:
        """Whether a piece of work is done before what is queued here next."""
        stream, number = work
        if stream == id(self) or self.seen.get(stream, 0) >= number:
            return True
        other = next((s for s in _streams if id(s) == stream), None)      # the null stream and blocking ones wait for each other
        return other is None or (0 in (self.ptr, other.ptr) and not self.non_blocking and not other.non_blocking)

    def use(self) -> "Stream":
        """Make it current."""
        current.streams[current.device] = self
        return self

    def __enter__(self) -> "Stream":
        self._before.append(current.streams[current.device])
        return self.use()

    def __exit__(self, *error: Any) -> None:
        current.streams[current.device] = self._before.pop()

    def record(self, event: "Event | None" = None) -> "Event":
        """Let an event happen after what was queued so far."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: "Event") -> None:
        """Let what is queued next wait for an event."""
        for stream, number in event.seen.items():
            self.seen[stream] = max(self.seen.get(stream, 0), number)

    def synchronize(self) -> None:
        """Wait for what was queued."""
        tally.waited("Stream.synchronize()")

    def begin_capture(self, mode: int | None = None) -> None:
        """Record what is queued here, instead of running it."""
        from .graphs import Graph
        if not self.ptr:
            raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported: the default stream cannot be captured")
        if tally.capturing.graph is not None:
            raise CUDARuntimeError("cudaErrorIllegalState: this thread is capturing already")
        tally.capturing.graph = Graph(self)

    def end_capture(self) -> Any:
        """The graph of what was recorded."""
        graph, tally.capturing.graph = tally.capturing.graph, None
        if graph is None or graph.stream is not self:
            raise CUDARuntimeError("cudaErrorIllegalState: this stream is not capturing")
        return graph.ended()

    def is_capturing(self) -> bool:
        """Whether it records."""
        return tally.capturing.graph is not None and tally.capturing.graph.stream is self

    @property
    def done(self) -> bool:
        """Whether everything queued is done."""
        return True


class Event:
    """A point in a stream."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False):
        self.seen: dict[int, int] = {}
        self.time: float | None = None
        self.disable_timing = disable_timing

    def record(self, stream: Stream | None = None) -> None:
        """Let it happen after what the stream has queued so far."""
        stream = current.streams[current.device] if stream is None else stream
        self.seen, self.time = {**stream.seen, id(stream): stream.done_here}, float(stream.done_here)

    def synchronize(self) -> None:
        """Wait for it."""
        tally.waited("Event.synchronize()")

    @property
    def done(self) -> bool:
        """Whether it has happened."""
        return True


_streams: "weakref.WeakSet[Stream]" = weakref.WeakSet()
current: Any = SimpleNamespace(device=0)
_null = [Stream(null=True) for _ in range(DEVICES)]
Stream.null = _null[0]                                # type: ignore[attr-defined]
current = _Current()


def get_current_stream(device_id: int = -1) -> Stream:
    """The stream that work is queued on."""
    return current.streams[current.device if device_id < 0 else device_id]


def get_elapsed_time(start: Event, end: Event) -> float:
    """Milliseconds between two events, here one for each piece of work."""
    if start.time is None or end.time is None or start.disable_timing or end.disable_timing:
        raise CUDARuntimeError("cudaErrorInvalidResourceHandle: invalid resource handle")
    return end.time - start.time


# -- memory ------------------------------------------------------------------------------------------------------------

class Memory:
    """Memory of the pool. The values are in `bytes`, of the host; `written` is the work that wrote them last.

    `used` is the work of every stream that touched this memory, or what was in its place before: freed memory is given at once to what
    the same stream allocates next, without waiting for other streams that still use it.
    """

    def __init__(self, size: int, device_id: int, free: Callable[..., None], used: dict[int, int] | None = None, pool: Any = None):
        self.size, self.device_id, self.bytes, self.written = size, device_id, None, None
        self.used: dict[int, int] = dict(used or {})
        self.pool = weakref.ref(pool) if pool is not None else lambda: None          # whose memory nobody else gets while it is there
        memories.add(self)
        weakref.finalize(self, free, size, get_current_stream(device_id), self.used)

    def read(self, stream: Stream, where: str) -> None:
        """Let a stream read it.

        Raises:
            RuntimeError: another stream has written it, and was not waited for.
        """
        if self.written is not None and not stream.knows(self.written):
            raise RuntimeError(f"{where} reads what another stream writes, without waiting for its event")
        self.used.update([stream.work()])

    def write(self, stream: Stream) -> None:
        """Let a stream write it.

        Raises:
            RuntimeError: another stream still uses this memory, and was not waited for.
        """
        if not all(map(stream.knows, self.used.items())):
            raise RuntimeError("a write to memory that another stream still uses, without waiting for its event")
        self.written = stream.work()
        self.used.update([self.written])


memories: "weakref.WeakSet[Memory]" = weakref.WeakSet()


class MemoryPointer:
    """A place in memory."""

    def __init__(self, mem: Any, offset: int):
        self.mem, self.offset = mem, offset

    def copy_from_device_async(self, src: "MemoryPointer", size: int, stream: Any = None) -> None:
        """Copy bytes from another place on a device."""
        to, source = (p.mem.bytes[p.offset:p.offset + size] for p in (self, src))
        stream = get_current_stream() if stream is None else stream
        src.mem.read(stream, "a copy")
        to[...] = source
        tally.launched(lambda: to.__setitem__(..., source), [src.mem], [self.mem])
        self.mem.write(stream)

    def __add__(self, offset: int) -> "MemoryPointer":
        return MemoryPointer(self.mem, self.offset + offset)

    @property
    def device_id(self) -> int:
        """Where it is."""
        return self.mem.device_id

    @property
    def ptr(self) -> int:
        """The address."""
        return 0 if self.mem is None or self.mem.bytes is None else self.mem.bytes.ctypes.data + self.offset


class _Arena:
    """The pool's memory on one device: what is used, and what is kept."""

    def __init__(self) -> None:
        self.used = self.total = self.limit = 0
        self.left: dict[Any, dict[int, int]] = {}     # by stream: who last used what was freed

    def take(self, size: int) -> int:
        size = -(-size // 512) * 512
        if self.used + size > self.total:
            limit = self.limit or TOTAL
            if self.used + size > limit:
                raise OutOfMemoryError(f"Out of memory allocating {size:,} bytes (allocated so far: {self.total:,} bytes).")
            self.total = self.used + size
        self.used += size
        return size

    def give(self, size: int, stream: Stream, used: dict[int, int]) -> None:
        self.used -= size
        left = self.left.setdefault(stream, {})
        left.update({who: max(number, left.get(who, 0)) for who, number in used.items()})


class MemoryPool:
    """Memory that is kept for the next use."""

    def __init__(self, allocator: Any = None) -> None:
        self._arenas = [_Arena() for _ in range(DEVICES)]

    def of(self, device: int) -> _Arena:
        """What is known of one device."""
        return self._arenas[device]

    def malloc(self, size: int) -> MemoryPointer:
        """Memory on the current device."""
        if self is _pool and tally.capturing.graph is not None:
            raise CUDARuntimeError("memory of a pool that the graph does not own: it would be given to others while the graph uses it")
        arena = self.of(current.device)
        tally.allocated()
        return MemoryPointer(Memory(arena.take(size), current.device, arena.give, arena.left.get(get_current_stream()),
                                    None if self is _pool else self), 0)

    def used_bytes(self) -> int:
        """Bytes in use on the current device."""
        return self.of(current.device).used

    def total_bytes(self) -> int:
        """Bytes in use or kept."""
        return self.of(current.device).total

    def free_bytes(self) -> int:
        """Bytes kept."""
        return self.total_bytes() - self.used_bytes()

    def free_all_blocks(self, stream: Any = None) -> None:
        """Give back what is not in use."""
        arena = self.of(current.device)
        arena.total = arena.used

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        """Have at most so many bytes, or such a part of all."""
        self.of(current.device).limit = math.floor(TOTAL * fraction) if fraction is not None else size or 0

    def get_limit(self) -> int:
        """The limit, 0 for none."""
        return self.of(current.device).limit


class _Allocators(threading.local):
    own: Any = None                                   # of a block of this thread


_pool = MemoryPool()
_allocator: list[Callable] = [_pool.malloc]
_of_thread = _Allocators()


def get_default_memory_pool() -> MemoryPool:
    """The pool."""
    return _pool


def set_allocator(allocator: Callable | None = None) -> None:
    """Let all memory come from a function."""
    if _of_thread.own is not None:
        raise ValueError("Can't change the global memory allocator while using a thread-local one")
    _allocator[0] = allocator or _pool.malloc


def get_allocator() -> Callable:
    """Where memory comes from."""
    return _of_thread.own or _allocator[0]


@contextmanager
def using_allocator(allocator: Callable | None = None) -> Iterator[None]:
    """A block in which this thread's memory comes from a function."""
    before, _of_thread.own = _of_thread.own, allocator
    try:
        yield
    finally:
        _of_thread.own = before


def alloc(size: int) -> MemoryPointer:
    """Memory from the current allocator."""
    return get_allocator()(size) if size else MemoryPointer(Memory(0, current.device, lambda *freed: None), 0)


class PinnedMemoryPointer(bytearray):
    """Page-locked memory of the host."""


class PinnedMemoryPool:
    """Page-locked memory, rounded up as CuPy's pool does."""

    def malloc(self, size: int) -> PinnedMemoryPointer:
        """Some of it."""
        return PinnedMemoryPointer(b"\x5a" * max(512, -(-size // 512) * 512))


_pinned_pool = PinnedMemoryPool()
_pinned_allocator: list[Callable] = [_pinned_pool.malloc]


def get_default_pinned_memory_pool() -> PinnedMemoryPool:
    """The pool of page-locked memory."""
    return _pinned_pool


def set_pinned_memory_allocator(allocator: Callable | None = None) -> None:
    """Let all page-locked memory come from a function."""
    _pinned_allocator[0] = allocator or _pinned_pool.malloc


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    """Page-locked memory from the current allocator."""
    return _pinned_allocator[0](size)


def _get_device_properties(device: int) -> dict:
    Device(device)._check()
    return {"name": b"Stand-in Device", "major": 9, "minor": 0, "totalGlobalMem": TOTAL, "multiProcessorCount": 132, "warpSize": 32,
            "maxThreadsPerMultiProcessor": 2048, "regsPerMultiprocessor": 65536, "sharedMemPerBlock": 49152, "l2CacheSize": 50 << 20,
            "clockRate": 1980000, "integrated": 0, "isMultiGpuBoard": 0}


runtime = SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError, getDeviceCount=lambda: DEVICES, getDevice=lambda: current.device, driverGetVersion=lambda: 13000,
    runtimeGetVersion=lambda: 12090, getDeviceProperties=_get_device_properties, memGetInfo=lambda: Device().mem_info,
    deviceSynchronize=lambda: tally.waited("deviceSynchronize()"))
memory = SimpleNamespace(OutOfMemoryError=OutOfMemoryError)
NAMES = {name: value for name, value in globals().items()
         if name in ("Device", "Event", "MemoryPointer", "MemoryPool", "PinnedMemoryPointer", "PinnedMemoryPool", "Stream", "alloc",
                     "alloc_pinned_memory", "get_allocator", "get_current_stream", "get_elapsed_time", "memory", "runtime", "set_allocator",
                     "set_pinned_memory_allocator", "using_allocator")}
