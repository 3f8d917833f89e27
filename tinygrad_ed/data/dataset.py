"""Datasets: what has samples, by number (Dataset) or one after the other (IterableDataset)."""
from __future__ import annotations

import bisect
import itertools
import math
from typing import Any, Iterable, Iterator, Sequence

from ..errors import ShapeError
from ..ops.random import randperm
from ..tensor import Tensor

__all__ = ["ChainDataset", "ConcatDataset", "Dataset", "IterableDataset", "Subset", "TensorDataset", "random_split"]


class Dataset:
    """Samples by number: a subclass writes `__getitem__`, and `__len__` where the number is known.

    Example:
        >>> class Squares(Dataset):
        ...     def __len__(self):
        ...         return 5
        ...     def __getitem__(self, i):
        ...         return i * i
        >>> (Squares() + Squares())[7]
        4
    """

    def __class_getitem__(cls, sample: Any) -> type:
        return cls                                    # Dataset[int] says to a reader what the samples are

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no __getitem__; write `def __getitem__(self, index): ...`")

    def __add__(self, other: "Dataset") -> "ConcatDataset":
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Samples one after the other, as from a stream: a subclass writes `__iter__`.

    Example:
        >>> class Count(IterableDataset):
        ...     def __iter__(self):
        ...         return iter(range(3))
        >>> list(Count() + Count())
        [0, 1, 2, 0, 1, 2]
    """

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} has no __iter__; write `def __iter__(self): ...`")

    def __add__(self, other: Dataset) -> Any:
        return ChainDataset([self, other])            # type: ignore[list-item]


class TensorDataset(Dataset):
    """Tensors whose first dimension counts the samples; sample i is the tuple of their i-th entries.

    Args:
        tensors: tensors of one length.

    Raises:
        TypeError: something that is not a Tensor.
        ShapeError: tensors of different lengths, or without dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> TensorDataset(tg.arange(3), tg.arange(3) * 10)[2]
        (tensor(2), tensor(20))
    """

    def __init__(self, *tensors: Tensor):
        for t in tensors:
            if not isinstance(t, Tensor):
                raise TypeError(f"a TensorDataset takes Tensors, got {type(t).__name__}; write tinygrad_ed.tensor(array)")
        shapes = [t.shape for t in tensors]
        if not tensors or any(not shape for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
            raise ShapeError(f"a TensorDataset takes tensors with the same number of samples in dimension 0, got shapes {shapes}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].shape[0]


class ConcatDataset(Dataset):
    """Several datasets, one behind the other.

    Args:
        datasets: the datasets, which have lengths.

    Raises:
        ValueError: no datasets, or one that is iterable only.

    Example:
        >>> list(ConcatDataset(["ab", "cde"]))
        ['a', 'b', 'c', 'd', 'e']
    """

    def __init__(self, datasets: Iterable[Any]):
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("a ConcatDataset needs at least one dataset")
        for d in self.datasets:
            if isinstance(d, IterableDataset):
                raise ValueError(f"a ConcatDataset numbers its samples, which {type(d).__name__} does not; write ChainDataset([...])")
        self.cumulative_sizes = list(itertools.accumulate(len(d) for d in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Any:
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"sample {index} of a dataset with {n} samples")
        index = index % n
        k = bisect.bisect_right(self.cumulative_sizes, index)
        return self.datasets[k][index - (self.cumulative_sizes[k - 1] if k else 0)]


class ChainDataset(IterableDataset):
    """Several iterable datasets, one after the other.

    Args:
        datasets: the datasets.

    Example:
        >>> class Count(IterableDataset):
        ...     def __iter__(self):
        ...         return iter(range(2))
        >>> list(ChainDataset([Count(), Count(), Count()]))
        [0, 1, 0, 1, 0, 1]
    """

    def __init__(self, datasets: Iterable[IterableDataset]):
        self.datasets = list(datasets)

    def __iter__(self) -> Iterator[Any]:
        for d in self.datasets:
            if not isinstance(d, IterableDataset):
                raise TypeError(f"a ChainDataset takes IterableDatasets, got {type(d).__name__}; write ConcatDataset([...])")
            yield from d

    def __len__(self) -> int:
        return sum(len(d) for d in self.datasets)     # type: ignore[arg-type, misc]


class Subset(Dataset):
    """Some of a dataset's samples.

    Args:
        dataset: the whole.
        indices: the numbers of the samples.

    Example:
        >>> Subset("abcdef", [4, 1])[0]
        'e'
    """

    def __init__(self, dataset: Any, indices: Sequence[int]):
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(dataset: Any, lengths: Sequence[float], generator: Any = None) -> list[Subset]:
    """Disjoint random subsets of a dataset.

    Args:
        dataset: a dataset with a length.
        lengths: their sizes, or fractions that sum to 1; samples left over by rounding go to the first subsets, one each.
        generator: where the random order comes from; the default generator by default.

    Returns:
        A list of `Subset`.

    Raises:
        ValueError: sizes that do not sum to the dataset's, or fractions outside [0, 1].

    Example:
        >>> [len(part) for part in random_split(range(10), [0.75, 0.25])]
        [8, 2]
    """
    n = len(dataset)
    if math.isclose(sum(lengths), 1):
        for i, fraction in enumerate(lengths):
            if not 0 <= fraction <= 1:
                raise ValueError(f"fraction {i} lies in [0, 1], got {fraction}")
        sizes = [math.floor(n * fraction) for fraction in lengths]
        for i in range(n - sum(sizes)):
            sizes[i % len(sizes)] += 1
    else:
        if sum(lengths) != n or any(k < 0 or k != int(k) for k in lengths):
            raise ValueError(f"the sizes {list(lengths)} sum to {sum(lengths)}, and the dataset has {n} samples; write whole numbers that "
                             f"sum to {n}, or fractions that sum to 1")
        sizes = [int(k) for k in lengths]
    order = randperm(n, generator=generator).tolist()
    return [Subset(dataset, order[end - size:end]) for size, end in zip(sizes, itertools.accumulate(sizes))]
