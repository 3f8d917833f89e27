"""Samplers: the order in which a DataLoader takes the samples, as an iterable over their numbers."""
from __future__ import annotations

import itertools
from typing import Any, Iterable, Iterator, Sequence

import numpy as np

from ..ops.random import multinomial, randint, randperm
from ..tensor import Tensor, wrap

__all__ = ["BatchSampler", "RandomSampler", "Sampler", "SequentialSampler", "SubsetRandomSampler", "WeightedRandomSampler"]


class Sampler:
    """The base class of samplers: a subclass writes `__iter__`, which gives the numbers of the samples, and `__len__`.

    Args:
        data_source: accepted as in PyTorch.

    Example:
        >>> class Backwards(Sampler):
        ...     def __init__(self, n):
        ...         self.n = n
        ...     def __iter__(self):
        ...         return iter(range(self.n - 1, -1, -1))
        >>> list(Backwards(3))
        [2, 1, 0]
    """

    def __class_getitem__(cls, number: Any) -> type:
        return cls

    def __init__(self, data_source: Any = None):
        pass

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} has no __iter__; write `def __iter__(self): ...`")


class SequentialSampler(Sampler):
    """The samples in their order.

    Args:
        data_source: a dataset with a length.

    Example:
        >>> list(SequentialSampler("abc"))
        [0, 1, 2]
    """

    def __init__(self, data_source: Any):
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler):
    """The samples in random order.

    Args:
        data_source: a dataset with a length.
        replacement: draw every sample anew, so that one may come again.
        num_samples: how many to draw; as many as there are by default.
        generator: where the randomness comes from; the default generator by default.

    Raises:
        ValueError: num_samples below 0.

    Example:
        >>> import tinygrad_ed as tg
        >>> sorted(RandomSampler(range(4), generator=tg.Generator().manual_seed(0)))
        [0, 1, 2, 3]
    """

    def __init__(self, data_source: Any, replacement: bool = False, num_samples: int | None = None, generator: Any = None):
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement is a bool, got {replacement!r}")
        if num_samples is not None and (not isinstance(num_samples, int) or num_samples < 0):
            raise ValueError(f"num_samples is an integer of at least 0, got {num_samples!r}")
        self.data_source, self.replacement, self.generator = data_source, replacement, generator
        self._num_samples = num_samples

    @property
    def num_samples(self) -> int:
        """How many numbers one iteration gives."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n, k = len(self.data_source), self.num_samples
        if self.replacement:
            yield from randint(0, n, (k,), generator=self.generator).tolist()
            return
        while k > 0 and n > 0:
            yield from randperm(n, generator=self.generator).tolist()[:k]
            k -= n

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """Some samples, in random order.

    Args:
        indices: their numbers.
        generator: where the randomness comes from; the default generator by default.

    Example:
        >>> sorted(SubsetRandomSampler([5, 2, 8]))
        [2, 5, 8]
    """

    def __init__(self, indices: Sequence[int], generator: Any = None):
        self.indices, self.generator = indices, generator

    def __iter__(self) -> Iterator[int]:
        return (self.indices[i] for i in randperm(len(self.indices), generator=self.generator).tolist())

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """Sample i drawn with a probability proportional to weights[i].

    Args:
        weights: a number of at least 0 for each sample.
        num_samples: how many to draw.
        replacement: whether a sample may come again.
        generator: where the randomness comes from; the default generator by default.

    Raises:
        ValueError: negative or non-finite weights, all of them 0, or more samples than can be drawn without replacement.

    Example:
        >>> list(WeightedRandomSampler([0.0, 1.0], 3))
        [1, 1, 1]
    """

    def __init__(self, weights: Sequence[float], num_samples: int, replacement: bool = True, generator: Any = None):
        w = np.asarray(weights.detach().cpu() if isinstance(weights, Tensor) else weights, np.float64)
        if w.ndim != 1 or not np.all(np.isfinite(w)) or np.any(w < 0) or not np.any(w > 0):
            raise ValueError(f"weights are one row of finite numbers of at least 0, not all of them 0; got shape {w.shape}")
        if not isinstance(num_samples, int) or isinstance(num_samples, bool) or num_samples <= 0:
            raise ValueError(f"num_samples is an integer above 0, got {num_samples!r}")
        if not replacement and num_samples > np.count_nonzero(w):
            raise ValueError(f"{np.count_nonzero(w)} samples have a weight above 0, so {num_samples} cannot be drawn without replacement")
        self.weights, self.num_samples, self.replacement, self.generator = w, num_samples, replacement, generator

    def __iter__(self) -> Iterator[int]:
        return iter(multinomial(wrap(self.weights), self.num_samples, self.replacement, generator=self.generator).tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """Another sampler's numbers in lists of batch_size.

    Args:
        sampler: an iterable over numbers.
        batch_size: the length of a list.
        drop_last: whether to leave out a shorter last list.

    Raises:
        ValueError: a batch_size below 1.

    Example:
        >>> list(BatchSampler(range(5), batch_size=2, drop_last=False))
        [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool):
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise ValueError(f"batch_size is an integer above 0, got {batch_size!r}")
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last is a bool, got {drop_last!r}")
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def __iter__(self) -> Iterator[list[int]]:
        numbers = iter(self.sampler)
        while batch := list(itertools.islice(numbers, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        n = len(self.sampler)                         # type: ignore[arg-type]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
