"""LossBuffer: losses kept on the device and read now and then, since reading one makes the host wait for all that is queued."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import capture, on, to_numpy
from ..errors import DeviceError, ShapeError
from ..ops.creation import zeros
from ..tensor import Tensor

__all__ = ["LossBuffer"]


class LossBuffer:
    """A ring of numbers on a device: a step appends its loss, also a captured one, and the host reads all of them every `size` steps.

    Args:
        size: how many numbers are kept; the oldest give way.
        device: where the losses are computed.
        dtype: of the numbers.

    Raises:
        ValueError: a size below 1.

    Example:
        >>> import tinygrad_ed as tg
        >>> losses = tg.cuda.LossBuffer(100, device="cpu")
        >>> for i in range(3):
        ...     losses.append(tg.tensor(0.5 * i))
        >>> len(losses), losses.full(), losses.read().tolist(), len(losses)
        (3, False, [0.0, 0.5, 1.0], 0)
    """

    def __init__(self, size: int, device: Any = "cuda", dtype: Any = None):
        if size < 1:
            raise ValueError(f"a LossBuffer has room for at least one number, got size={size}")
        self.size, self._values = size, zeros(size, dtype=dtype, device=device)
        self._count = self._read = 0                  # how many were appended and read so far

    def append(self, loss: Tensor) -> None:
        """Keep a number, without waiting for it.

        Raises:
            ShapeError: not exactly one element.
            DeviceError: another device than the buffer's.
        """
        if loss._data.size != 1:
            raise ShapeError(f"append takes a tensor with one element, got shape {loss.shape}; write loss.mean()")
        if type(loss._data) is not type(self._values._data):
            raise DeviceError(f"the loss is on {loss.device}, the buffer on {self._values.device}; write LossBuffer({self.size}, device=...)")
        recording = capture.active()
        place = self._place() if recording is None else recording.numbers(lambda: [self._place()], 1, np.int64)
        with on(self._values.device):
            self._values._data[place] = loss._data.reshape(() if recording is None else (1,))

    def _place(self) -> int:
        self._count += 1
        return (self._count - 1) % self.size

    def __len__(self) -> int:
        """How many numbers can be read."""
        return min(self._count - self._read, self.size)

    def full(self) -> bool:
        """Whether the next number takes the place of one that has not been read."""
        return len(self) == self.size

    def read(self) -> np.ndarray:
        """The numbers since the last time, the latest `size` of them, the oldest first; waits for the device once."""
        values, last = to_numpy(self._values._data), self._count
        found = values[np.arange(last - len(self), last) % self.size]
        self._read = last
        return found
