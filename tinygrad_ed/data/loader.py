"""DataLoader: a dataset's samples in batches, and how samples become a batch."""
from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Iterator

import numpy as np

from ..backend import namespace
from ..errors import ShapeError
from ..ops.join import stack
from ..tensor import Tensor, as_array, wrap
from .dataset import IterableDataset, Subset, TensorDataset
from .prefetch import can_pin, pinned
from .sampler import BatchSampler, RandomSampler, SequentialSampler

__all__ = ["DataLoader", "default_collate"]


class DataLoader:
    """Iterates over a dataset in batches.

    Args:
        dataset: a Dataset, an IterableDataset, or anything with `__getitem__` and `__len__`.
        batch_size: samples per batch; None gives single samples.
        shuffle: take the samples in a new random order in every iteration.
        sampler: the numbers of the samples, in their order, instead of shuffle.
        batch_sampler: lists of numbers, instead of batch_size, shuffle, sampler and drop_last.
        num_workers: threads that fetch batches ahead of their use; the batches come in the same order. The random numbers that a
            dataset draws itself are reproducible only with 0. An IterableDataset is read by the caller.
        collate_fn: makes a batch of a list of samples; `default_collate` by default.
        pin_memory: give the batches in page-locked memory, from which `x.to("cuda", non_blocking=True)` need not be waited for. See
            `Prefetcher`, which makes these copies ahead of their use. Where CUDA is not available a warning says so.
        drop_last: leave out a last batch that is smaller.
        worker_init_fn: called with its number by each thread when it starts.
        generator: where the random order comes from; the default generator by default.
        prefetch_factor: how many batches each thread fetches ahead, 2 by default.
        persistent_workers: accepted as in PyTorch.
        pin_memory_device: accepted as in PyTorch; page-locked memory serves every device.

    Raises:
        ValueError: options that exclude each other, or a number below its limit.

    Example:
        >>> import tinygrad_ed as tg
        >>> data = tg.data.TensorDataset(tg.arange(5), tg.arange(5) * 10)
        >>> for x, y in tg.data.DataLoader(data, batch_size=3):
        ...     print(x, y)
        tensor([0, 1, 2]) tensor([ 0, 10, 20])
        tensor([3, 4]) tensor([30, 40])
    """

    def __init__(self, dataset: Any, batch_size: int | None = 1, shuffle: bool | None = None, sampler: Any = None,
                 batch_sampler: Any = None, num_workers: int = 0, collate_fn: Callable | None = None, pin_memory: bool = False,
                 drop_last: bool = False, *, worker_init_fn: Callable[[int], Any] | None = None, generator: Any = None,
                 prefetch_factor: int | None = None, persistent_workers: bool = False, pin_memory_device: str = ""):
        if num_workers < 0 or (prefetch_factor is not None and prefetch_factor < 1):
            raise ValueError(f"num_workers is at least 0 and prefetch_factor at least 1, got {num_workers} and {prefetch_factor}")
        streams = isinstance(dataset, IterableDataset)
        if streams and (shuffle or sampler is not None or batch_sampler is not None):
            raise ValueError("an IterableDataset gives its samples in its own order; leave out shuffle, sampler and batch_sampler")
        if sampler is not None and shuffle:
            raise ValueError("sampler already gives the order; leave out shuffle, or write sampler=RandomSampler(dataset)")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError("batch_sampler gives whole batches; leave out batch_size, shuffle, sampler and drop_last")
            batch_size, drop_last = None, False
        elif batch_size is None and drop_last:
            raise ValueError("without batches (batch_size=None) there is no last one to drop; leave out drop_last")
        if sampler is None and not streams:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler if sampler is not None else (), batch_size, drop_last)
        self.dataset, self.batch_size, self.sampler, self.batch_sampler = dataset, batch_size, sampler, batch_sampler
        self.num_workers, self.pin_memory, self.drop_last, self.generator = num_workers, pin_memory, drop_last, generator
        self.worker_init_fn, self.prefetch_factor, self.persistent_workers = worker_init_fn, prefetch_factor, persistent_workers
        self.collate_fn = collate_fn if collate_fn is not None else default_collate if batch_sampler is not None else _convert

    def __len__(self) -> int:
        """The number of batches."""
        if isinstance(self.dataset, IterableDataset):
            n = len(self.dataset)                     # type: ignore[arg-type]
            return n if self.batch_size is None else n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)

    def __iter__(self) -> Iterator[Any]:
        pin = self.pin_memory and can_pin()
        if isinstance(self.dataset, IterableDataset):
            return map(pinned, self._stream()) if pin else self._stream()
        numbers = iter(self.sampler if self.batch_sampler is None else self.batch_sampler)
        fetch = (lambda index: pinned(self._fetch(index))) if pin else self._fetch
        return self._ahead(numbers, fetch) if self.num_workers else map(fetch, numbers)

    def _fetch(self, index: Any) -> Any:
        """The batch of a list of numbers, or a single sample."""
        if self.batch_sampler is None:
            return self.collate_fn(self.dataset[index])
        if self.collate_fn is default_collate and (batch := _rows(self.dataset, index)) is not None:
            return batch
        if hasattr(self.dataset, "__getitems__"):
            return self.collate_fn(self.dataset.__getitems__(index))
        return self.collate_fn([self.dataset[i] for i in index])

    def _ahead(self, numbers: Iterator, fetch: Callable) -> Iterator[Any]:
        """The batches in order, fetched by threads that are some batches ahead."""
        from concurrent.futures import ThreadPoolExecutor
        waiting: deque = deque()
        workers = iter(range(self.num_workers))
        pool = ThreadPoolExecutor(self.num_workers, initializer=lambda: self.worker_init_fn and self.worker_init_fn(next(workers)))
        try:
            for index in numbers:
                waiting.append(pool.submit(fetch, index))
                if len(waiting) >= self.num_workers * (self.prefetch_factor or 2):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:                                      # also when the caller stops early
            pool.shutdown(cancel_futures=True)

    def _stream(self) -> Iterator[Any]:
        if self.batch_size is None:
            yield from map(self.collate_fn, self.dataset)
            return
        samples: list = []
        for sample in self.dataset:
            samples.append(sample)
            if len(samples) == self.batch_size:
                yield self.collate_fn(samples)
                samples = []
        if samples and not self.drop_last:
            yield self.collate_fn(samples)


def _rows(dataset: Any, index: list[int]) -> list[Tensor] | None:
    """The batch of a TensorDataset, or of a Subset of one, taken from the arrays at once; None for other datasets."""
    while type(dataset) is Subset:
        dataset, index = dataset.dataset, [dataset.indices[i] for i in index]
    if type(dataset) is not TensorDataset:
        return None
    numbers = np.asarray(index, dtype=np.int64)
    return [t[numbers] if t.requires_grad else wrap(t._data[namespace(t._data).asarray(numbers)]) for t in dataset.tensors]


def _convert(sample: Any) -> Any:
    """A single sample with its arrays as tensors."""
    if isinstance(sample, np.ndarray) and sample.dtype.kind in "fiub":
        return wrap(as_array(sample))
    if isinstance(sample, Mapping):
        return type(sample)({k: _convert(v) for k, v in sample.items()})      # type: ignore[call-arg]
    if isinstance(sample, tuple) and hasattr(sample, "_fields"):
        return type(sample)(*map(_convert, sample))
    if isinstance(sample, (list, tuple)):
        return [_convert(v) for v in sample]
    return sample


def default_collate(batch: Sequence) -> Any:
    """Make a batch of a list of samples, with a new first dimension.

    Tensors, arrays and numbers become one tensor (Python floats a float64 one, as in PyTorch); dicts, tuples and lists a dict or
    list of batches; named tuples stay named tuples; strings and bytes stay a list.

    Args:
        batch: samples of one kind.

    Returns:
        The batch.

    Raises:
        ShapeError: samples of different shapes or lengths.
        TypeError: a kind of sample that it does not know.

    Example:
        >>> default_collate([{"x": 1, "name": "a"}, {"x": 2, "name": "b"}])
        {'x': tensor([1, 2]), 'name': ['a', 'b']}
    """
    first = batch[0]
    if isinstance(first, (Tensor, np.ndarray)):
        shapes = {x.shape for x in batch}
        if len(shapes) > 1:
            raise ShapeError(f"samples of different shapes make no batch: {sorted(shapes)}; pad them, or write a collate_fn of your own")
    if isinstance(first, Tensor):
        return stack(list(batch))
    if isinstance(first, (np.ndarray, np.generic)) and first.dtype.kind in "fiub":
        return wrap(as_array(np.stack(batch)))        # type: ignore[arg-type]
    if isinstance(first, (bool, int)):
        return wrap(np.asarray(batch, bool if isinstance(first, bool) else np.int64))
    if isinstance(first, float):
        return wrap(np.asarray(batch, np.float64))
    if isinstance(first, (str, bytes)):
        return list(batch)
    if isinstance(first, Mapping):
        return type(first)({key: default_collate([sample[key] for sample in batch]) for key in first})      # type: ignore[call-arg]
    if isinstance(first, Sequence):
        lengths = {len(sample) for sample in batch}
        if len(lengths) > 1:
            raise ShapeError(f"samples of different lengths make no batch: {sorted(lengths)}; write a collate_fn of your own")
        columns = [default_collate(column) for column in zip(*batch)]
        return type(first)(*columns) if hasattr(first, "_fields") else columns
    raise TypeError(f"default_collate makes batches of tensors, arrays, numbers, strings, dicts and sequences, got {type(first).__name__}; "
                    f"write a collate_fn of your own")
