"""CUDA graphs: kernels noted down once with the memory they use, and replayed with one launch of the host's.

These are PyTorch's names. What changes from replay to replay (lr, step counts, random numbers, a loss scale) lies in device memory, see
`backend.capture`. Whole training steps are captured by `graph(step)`, in `steps`.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from ..backend import capture, cuda
from ..errors import CaptureError
from .streams import Stream, current_stream

__all__ = ["CUDAGraph", "CaptureError", "graph_pool_handle", "is_current_stream_capturing"]


def is_current_stream_capturing() -> bool:
    """Whether work on the current stream is being captured instead of run.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cuda.is_current_stream_capturing()
        False
    """
    return cuda.used() and bool(cuda.module().cuda.get_current_stream().is_capturing())


def graph_pool_handle() -> Any:
    """A new memory pool, for several graphs that are replayed one after another.

    Raises:
        DeviceError: CUDA cannot be used.

    Example:
        >>> import tinygrad_ed as tg
        >>> if tg.cuda.is_available():
        ...     pool = tg.cuda.graph_pool_handle()
    """
    return cuda.module().cuda.MemoryPool()


class CUDAGraph:
    """Kernels that were captured, with the memory they use; see `graph`, which fills it, and `replay`, which runs them.

    Raises:
        DeviceError: CUDA cannot be used.

    Example:
        >>> import tinygrad_ed as tg
        >>> if tg.cuda.is_available():
        ...     x, g = tg.zeros(3, device="cuda"), tg.cuda.CUDAGraph()
        ...     with tg.cuda.graph(g):
        ...         y = x * 2
        ...     x += 1
        ...     g.replay()
        ...     assert y.tolist() == [2.0, 2.0, 2.0]
    """

    def __init__(self, keep_graph: bool = False):
        cuda.module()
        self._graph: Any = None
        self._pool: Any = None
        self.recording: capture.Recording | None = None

    def capture_begin(self, pool: Any = None, capture_error_mode: str = "global") -> None:
        """Capture what is queued on the current stream from now on; `with graph(g):` is easier.

        Args:
            pool: memory to use, of another graph's `pool()` or a `graph_pool_handle()`; by default memory of its own.
            capture_error_mode: accepted as in PyTorch.

        Raises:
            CaptureError: the default stream, which cannot be captured, or a capture inside another.
        """
        stream = cuda.module().cuda.get_current_stream()
        if not stream.ptr:
            raise CaptureError("the default stream cannot be captured; write with cuda.graph(g): ..., which uses another one")
        capture.forbid("the capture of another graph", "capture the outer one only")
        self.reset()
        self._pool = graph_pool_handle() if pool is None else pool
        cuda.private_pools.append(self._pool)
        self.recording = capture.Recording()
        self._stream, self._block = stream, ExitStack()
        self._block.enter_context(cuda.allocating_from(self._pool))
        self._block.enter_context(capture.recording(self.recording))
        try:
            stream.begin_capture()
        except BaseException:
            self._block.close()
            self.reset()
            raise

    def capture_end(self) -> None:
        """Capture no more; the graph can be replayed now."""
        with self._block:
            self._graph = self._stream.end_capture()

    def _give_up(self) -> None:
        """End a capture that has failed."""
        with suppress(Exception):                     # CUDA says again that it failed
            self.capture_end()
        self.reset()

    def replay(self) -> None:
        """Queue all captured kernels on the current stream, with the numbers of the next step.

        Raises:
            CaptureError: nothing was captured.
        """
        if self._graph is None or self.recording is None:
            raise CaptureError("there is nothing to replay; capture something first: with cuda.graph(g): ...")
        stream = cuda.module().cuda.get_current_stream()
        self.recording.send(stream)
        self._graph.launch(stream)

    def pool(self) -> Any:
        """Its memory pool."""
        return self._pool

    def reset(self) -> None:
        """Forget what was captured, and give its memory back where no other graph uses it."""
        pool, self._graph, self.recording, self._pool = self._pool, None, None, None
        if pool is not None:
            cuda.private_pools.remove(pool)
            if pool not in cuda.private_pools:
                pool.free_all_blocks()

    def __del__(self) -> None:
        if getattr(self, "_pool", None) is not None:
            self.reset()


@contextmanager
def capturing(g: CUDAGraph, pool: Any = None, stream: Stream | None = None) -> Iterator[None]:
    """A block that is captured, on a stream that waits for the current one before and is waited for after."""
    current = current_stream()
    side = Stream() if stream is None else stream
    side.wait_stream(current)
    try:
        with side:
            g.capture_begin(pool)
            try:
                yield
            except BaseException:
                g._give_up()
                raise
            g.capture_end()
    finally:
        current.wait_stream(side)
