"""Sequences of different lengths as one tensor: padded to the longest, or packed step by step without padding.

A packed sequence holds the first step of all sequences, longest first, then the second step of those that have one, and so on.
"""
from __future__ import annotations

from typing import Any, Callable, NamedTuple, Sequence, Union

import numpy as np

from ...backend import to_device, to_numpy
from ...errors import DeviceError, ShapeError
from ...ops.convert import CONVERSIONS
from ...ops.creation import full
from ...ops.index import index_copy, index_select
from ...ops.join import cat
from ...tensor import Tensor, wrap

__all__ = ["PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence", "pad_sequence",
           "unpack_sequence", "unpad_sequence"]

Lengths = Union[Tensor, Sequence[int]]


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Packed):
    """Sequences of different lengths without padding, as recurrent layers take and return them.

    Made by `pack_padded_sequence` and `pack_sequence`.

    Args:
        data: all elements, of shape (sum of lengths, *): the first step of all sequences, then the second step…
        batch_sizes: how many sequences have each step, integers on the CPU.
        sorted_indices: where each sequence, from the longest on, stood in the batch; None if they stood in this order.
        unsorted_indices: where each sequence of the batch stands among the sorted ones.

    Raises:
        DeviceError: batch_sizes on a CUDA device.

    Example:
        >>> import tinygrad_ed as tg
        >>> pack_sequence([tg.tensor([1, 2, 3]), tg.tensor([4, 5])])
        PackedSequence(data=tensor([1, 4, 2, 5, 3]), batch_sizes=tensor([2, 2, 1]), sorted_indices=None, unsorted_indices=None)
    """

    __slots__ = ()

    def __new__(cls, data: Any, batch_sizes: Tensor | None = None, sorted_indices: Tensor | None = None,
                unsorted_indices: Tensor | None = None) -> "PackedSequence":
        if batch_sizes is None:
            data, batch_sizes = data
        if batch_sizes.is_cuda:                                # type: ignore[union-attr]
            raise DeviceError("batch_sizes, which say what is to be computed, stay on the CPU; write batch_sizes.cpu()")
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)   # type: ignore[arg-type]

    def _with(self, change: Callable[[Tensor], Tensor]) -> "PackedSequence":
        data = change(self.data)
        if data is self.data:
            return self
        indices = [i if i is None else i.to(device=data.device) for i in (self.sorted_indices, self.unsorted_indices)]
        return type(self)(data, self.batch_sizes, *indices)

    def to(self, *args: Any, **kwargs: Any) -> "PackedSequence":
        """The sequences in another dtype or on another device, as `Tensor.to`; itself where nothing changes."""
        return self._with(lambda data: data.to(*args, **kwargs))

    def cpu(self) -> "PackedSequence":
        """The sequences on the CPU."""
        return self.to(device="cpu")

    def cuda(self, *args: Any, **kwargs: Any) -> "PackedSequence":
        """The sequences on a CUDA device, the first by default."""
        return self._with(lambda data: data.cuda(*args, **kwargs))

    @property
    def is_cuda(self) -> bool:
        """Whether the data is on a CUDA device."""
        return self.data.is_cuda


def _conversion(name: str) -> Callable:
    def method(self: PackedSequence) -> PackedSequence:
        return self._with(lambda data: getattr(data, name)())
    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"The sequences in the dtype `{name}`; itself where nothing changes."
    return method


for _name in CONVERSIONS:
    if _name != "bool":
        setattr(PackedSequence, _name, _conversion(_name))


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes another; None of None.

    Args:
        permutation: each number below n once.

    Returns:
        The inverse: `inverse[permutation]` counts from 0.

    Example:
        >>> import tinygrad_ed as tg
        >>> invert_permutation(tg.tensor([2, 0, 1]))
        tensor([1, 2, 0])
    """
    return None if permutation is None else permutation.argsort()


# -- padded and packed -------------------------------------------------------------------------------------------------

def _rows(batch_sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every row of packed data its step, and the place of its sequence among the sorted ones."""
    steps = np.repeat(np.arange(len(batch_sizes)), batch_sizes)
    starts = np.cumsum(batch_sizes) - batch_sizes
    return steps, np.arange(len(steps)) - starts[steps]


def _on(array: np.ndarray, like: Tensor) -> Tensor:
    return wrap(to_device(array, like.device))


def pack_padded_sequence(input: Tensor, lengths: Lengths, batch_first: bool = False, enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences that have been padded to the length of the longest.

    Args:
        input: of shape (steps, sequences, *), or (sequences, steps, *) if batch_first.
        lengths: the length of every sequence, a tensor on the CPU or a list.
        batch_first: whether the sequences come before the steps.
        enforce_sorted: raise where the lengths do not fall; otherwise the sequences are sorted, and sorted back at the end.

    Returns:
        A PackedSequence.

    Raises:
        ShapeError: a length of 0 or more than the steps, not one per sequence, or lengths that rise with enforce_sorted.

    Example:
        >>> import tinygrad_ed as tg
        >>> padded = tg.tensor([[1, 2, 0], [3, 0, 0], [4, 5, 6]])
        >>> pack_padded_sequence(padded, [2, 1, 3], batch_first=True, enforce_sorted=False).data
        tensor([4, 1, 3, 5, 2, 6])
    """
    order = "(sequences, steps, *)" if batch_first else "(steps, sequences, *)"
    if input.ndim < 2:
        raise ShapeError(f"pack_padded_sequence takes {order}, got shape {input.shape}")
    n = np.asarray(to_numpy(lengths._data) if isinstance(lengths, Tensor) else lengths).astype(np.int64)
    batch, steps = input.shape[:2] if batch_first else input.shape[1::-1]
    if n.shape != (batch,):
        raise ShapeError(f"pack_padded_sequence: {order} of shape {input.shape} are {batch} sequences, lengths has shape {n.shape}")
    if batch == 0 or n.min() < 1 or n.max() > steps:
        raise ShapeError(f"pack_padded_sequence: every sequence has between 1 and {steps} steps, got lengths {n.tolist()}")
    longest_first = None
    if not enforce_sorted:
        longest_first = np.argsort(-n, kind="stable")
    elif (n[1:] > n[:-1]).any():
        raise ShapeError(f"pack_padded_sequence: the lengths do not fall: {n.tolist()}; write enforce_sorted=False, or sort the batch")
    batch_sizes = (n[:, None] > np.arange(n.max())).sum(axis=0)
    step, sequence = _rows(batch_sizes)
    if longest_first is not None:
        sequence = longest_first[sequence]
    rows = sequence * steps + step if batch_first else step * batch + sequence
    data = index_select(input.reshape(batch * steps, *input.shape[2:]), 0, _on(rows, input))
    return PackedSequence(data, wrap(batch_sizes), None if longest_first is None else _on(longest_first, input))


def pad_packed_sequence(sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0,
                        total_length: int | None = None) -> tuple[Tensor, Tensor]:
    """Undo `pack_padded_sequence`.

    Args:
        sequence: the packed sequences.
        batch_first: whether the sequences come before the steps in the result.
        padding_value: what fills the steps behind the end of a sequence.
        total_length: the number of steps of the result; that of the longest sequence by default.

    Returns:
        The sequences (steps, sequences, *), or (sequences, steps, *) if batch_first, in their first order, and their lengths.

    Raises:
        ShapeError: total_length is less than the longest sequence.

    Example:
        >>> import tinygrad_ed as tg
        >>> packed = pack_sequence([tg.tensor([1, 2, 3]), tg.tensor([4, 5])])
        >>> pad_packed_sequence(packed, batch_first=True)
        (tensor([[1, 2, 3],
                [4, 5, 0]]), tensor([3, 2]))
    """
    data, sizes = sequence.data, to_numpy(sequence.batch_sizes._data)
    batch, steps = int(sizes[0]), len(sizes) if total_length is None else total_length
    if steps < len(sizes):
        raise ShapeError(f"pad_packed_sequence: the longest sequence has {len(sizes)} steps, total_length is {total_length}")
    step, place = _rows(sizes)
    lengths = np.bincount(place, minlength=batch)
    if sequence.sorted_indices is not None:
        order = to_numpy(sequence.sorted_indices._data)
        place, unsorted = order[place], np.empty_like(lengths)
        unsorted[order] = lengths
        lengths = unsorted
    rows = place * steps + step if batch_first else step * batch + place
    padded = _padded(data, rows, (batch, steps) if batch_first else (steps, batch), padding_value)
    return padded, wrap(lengths.astype(np.int64, copy=False))


def _padded(data: Tensor, rows: np.ndarray, shape: tuple[int, int], padding_value: float) -> Tensor:
    """Rows of data at their places in a tensor (*shape, *) of padding."""
    padding = full((shape[0] * shape[1], *data.shape[1:]), padding_value, dtype=data.dtype, device=data.device)
    return index_copy(padding, 0, _on(rows, data), data).reshape(*shape, *data.shape[1:])


# -- lists of sequences ------------------------------------------------------------------------------------------------

def pad_sequence(sequences: Any, batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right") -> Tensor:
    """Stack sequences of different lengths, padded to the length of the longest.

    Args:
        sequences: tensors (length, *) that differ in their length only.
        batch_first: whether the sequences come before the steps in the result.
        padding_value: what fills the rest.
        padding_side: "right" fills behind the end of a sequence, "left" before its beginning.

    Returns:
        A tensor (steps, sequences, *), or (sequences, steps, *) if batch_first.

    Raises:
        ShapeError: sequences of different widths, or none.
        ValueError: another padding_side.

    Example:
        >>> import tinygrad_ed as tg
        >>> pad_sequence([tg.tensor([1, 2]), tg.tensor([3])], batch_first=True, padding_value=-1)
        tensor([[ 1,  2],
                [ 3, -1]])
    """
    if padding_side not in ("right", "left"):
        raise ValueError(f'padding_side is "right" or "left", got {padding_side!r}')
    sequences = _listed("pad_sequence", sequences)
    lengths = np.array([len(s) for s in sequences])
    batch, steps = len(lengths), int(lengths.max())
    place = np.repeat(np.arange(batch), lengths)
    step = np.arange(len(place)) - (np.cumsum(lengths) - lengths)[place]
    if padding_side == "left":
        step += (steps - lengths)[place]
    rows = place * steps + step if batch_first else step * batch + place
    return _padded(cat(sequences), rows, (batch, steps) if batch_first else (steps, batch), padding_value)


def _listed(name: str, sequences: Any) -> list[Tensor]:
    found = list(sequences)
    if not found or not all(isinstance(s, Tensor) and s.ndim and s.shape[1:] == found[0].shape[1:] for s in found):
        raise ShapeError(f"{name} takes tensors (length, *) that differ in their length only, got shapes "
                         f"{[getattr(s, 'shape', type(s).__name__) for s in found]}")
    return found


def pack_sequence(sequences: Any, enforce_sorted: bool = True) -> PackedSequence:
    """Pack a list of sequences.

    Args:
        sequences: tensors (length, *) that differ in their length only.
        enforce_sorted: raise where the lengths do not fall; otherwise the sequences are sorted, and sorted back at the end.

    Returns:
        A PackedSequence.

    Raises:
        ShapeError: sequences of different widths, of no steps, or of rising lengths with enforce_sorted.

    Example:
        >>> import tinygrad_ed as tg
        >>> pack_sequence([tg.tensor([1]), tg.tensor([2, 3])], enforce_sorted=False).data
        tensor([2, 1, 3])
    """
    sequences = _listed("pack_sequence", sequences)
    return pack_padded_sequence(pad_sequence(sequences), [len(s) for s in sequences], enforce_sorted=enforce_sorted)


def unpad_sequence(padded_sequences: Tensor, lengths: Lengths, batch_first: bool = False) -> list[Tensor]:
    """Undo `pad_sequence`.

    Args:
        padded_sequences: of shape (steps, sequences, *), or (sequences, steps, *) if batch_first.
        lengths: the length of every sequence.
        batch_first: whether the sequences come before the steps.

    Returns:
        A list of tensors (length, *).

    Example:
        >>> import tinygrad_ed as tg
        >>> unpad_sequence(tg.tensor([[1, 2], [3, -1]]), [2, 1], batch_first=True)
        [tensor([1, 2]), tensor([3])]
    """
    n = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    return [(padded_sequences[k] if batch_first else padded_sequences[:, k])[:length] for k, length in enumerate(n)]


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """Undo `pack_sequence`.

    Args:
        packed_sequences: the packed sequences.

    Returns:
        A list of tensors (length, *), in their first order.

    Example:
        >>> import tinygrad_ed as tg
        >>> unpack_sequence(pack_sequence([tg.tensor([1]), tg.tensor([2, 3])], enforce_sorted=False))
        [tensor([1]), tensor([2, 3])]
    """
    return unpad_sequence(*pad_packed_sequence(packed_sequences, batch_first=True), batch_first=True)
