"""Batches on their way to a CUDA device: in page-locked memory, and copied there while the step before is computed."""
from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable

from ..backend import Device, cuda
from ..tensor import Tensor, wrap

__all__ = ["Prefetcher"]


class Prefetcher:
    """The batches of a loader on a device, where each is copied on a stream of its own while the one before is computed with.

    Args:
        loader: gives batches, such as a DataLoader; with `pin_memory=True` there, its threads do the copy to page-locked memory too.
        device: where the batches are wanted; on the CPU they come as they are.
        ahead: how many batches are on their way at once; each takes memory on the device.

    Raises:
        ValueError: ahead below 1.
        DeviceError: a device that is not there; the message says why.

    Example:
        >>> import tinygrad_ed as tg
        >>> data = tg.data.TensorDataset(tg.arange(4))
        >>> device = "cuda" if tg.cuda.is_available() else "cpu"
        >>> for (x,) in tg.data.Prefetcher(tg.data.DataLoader(data, batch_size=2), device):
        ...     print(x.tolist())
        [0, 1]
        [2, 3]
    """

    def __init__(self, loader: Iterable, device: Any = "cuda", ahead: int = 1):
        if ahead < 1:
            raise ValueError(f"ahead is at least 1, got {ahead}")
        self.loader, self.device, self.ahead = loader, Device(device), ahead
        if self.device.type == "cuda":
            cuda.on(self.device.index)                # raises where it is not there

    def __len__(self) -> int:
        """The number of batches."""
        return len(self.loader)                       # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loader) if self.device.type == "cpu" else self._copied()

    def _copied(self) -> Iterator[Any]:
        xp = cuda.module()
        with cuda.on(self.device.index):
            copies = xp.cuda.Stream(non_blocking=True)
        waiting: deque = deque()                      # batches on their way, each with the event of its arrival
        batches = iter(self.loader)
        try:
            while True:
                while len(waiting) <= self.ahead and (batch := next(batches, waiting)) is not waiting:
                    waiting.append(self._send(batch, copies))
                if not waiting:
                    return
                yield self._arrived(waiting)
        finally:
            while waiting:                            # their memory is used again only after the copy
                self._arrived(waiting)

    def _send(self, batch: Any, copies: Any) -> tuple[Any, Any]:
        """Queue the copy of a batch; the device's memory belongs to the stream that computes, so that freeing it waits for that one."""
        with cuda.on(self.device.index):
            computing = cuda.module().cuda.get_current_stream()
            sent = mapped(batch, lambda t: wrap(cuda.put_on(copies, computing, t._data)) if t.is_cpu else t.to(self.device))
            return sent, copies.record()

    def _arrived(self, waiting: deque) -> Any:
        batch, event = waiting.popleft()
        with cuda.on(self.device.index):
            cuda.module().cuda.get_current_stream().wait_event(event)
        return batch


def pinned(batch: Any) -> Any:
    """The batch with its tensors in page-locked memory."""
    return mapped(batch, lambda t: t.pin_memory() if t.is_cpu else t)


def can_pin() -> bool:
    """Whether memory can be page-locked here; where it cannot, a warning says why."""
    reason = cuda.why_not()
    if reason is not None:
        warnings.warn(f"pin_memory=True does nothing here, since CUDA is not available: {reason}", stacklevel=3)
    return reason is None


def mapped(batch: Any, f: Callable[[Tensor], Any]) -> Any:
    """The batch with f applied to its tensors, also inside dicts, lists and tuples."""
    if isinstance(batch, Tensor):
        return f(batch)
    if isinstance(batch, Mapping):
        return type(batch)({key: mapped(value, f) for key, value in batch.items()})   # type: ignore[call-arg]
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*[mapped(value, f) for value in batch])
    if isinstance(batch, (list, tuple)):
        return type(batch)([mapped(value, f) for value in batch])
    return batch
