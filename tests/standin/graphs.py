"""The stand-in for CUDA graphs: launches are recorded while a stream captures, and run again on the same memory at every replay."""
from __future__ import annotations

import weakref
from typing import Any, Callable

from . import devices, tally


class Graph:
    """What a stream captured. While it does so kernels run, so that shapes are known; when it ends, memory is as before, and what is new is NaN."""

    def __init__(self, stream: devices.Stream):
        self.stream, self._launches = stream, []      # type: ignore[var-annotated]
        self._before = {m: (m.bytes.copy(), m.written, dict(m.used)) for m in devices.memories if m.bytes is not None}

    def record(self, again: Callable[[], Any], reads: Any, writes: Any) -> None:
        """A launch: what runs it again, and the arrays or memory that it reads and writes."""
        if devices.get_current_stream() is not self.stream:
            raise devices.CUDARuntimeError("cudaErrorStreamCaptureImplicit: a launch on another stream than the one that is capturing")
        memories = [(getattr(array, "_memory", array), written) for arrays, written in ((reads, False), (writes, True)) for array in arrays]
        self._launches.append((again, [(weakref.ref(memory), memory.pool, written) for memory, written in memories]))

    def ended(self) -> "Graph":
        """Nothing has run: memory is as it was."""
        for memory in devices.memories:
            if memory.bytes is not None:
                memory.bytes[...], memory.written, memory.used = self._before.get(memory, (0xFF, None, {}))
        self._before = {}
        return self

    def launch(self, stream: Any = None) -> None:
        """Run it all: one launch of the host's."""
        stream = devices.get_current_stream() if stream is None else stream
        tally.launched()
        for again, memories in self._launches:
            for ref, pool, written in memories:
                memory = ref()
                if memory is None and pool() is None:
                    raise RuntimeError("a replay uses memory that has been freed since the capture")
                if memory is not None:
                    memory.write(stream) if written else memory.read(stream, "a replay")
            again()

    def __len__(self) -> int:
        """How many launches it stands for."""
        return len(self._launches)

    def upload(self, stream: Any = None) -> None:
        """Send it to the device before its first launch."""
