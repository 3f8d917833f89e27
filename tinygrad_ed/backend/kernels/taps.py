"""Taps: a sparse linear map along one dimension, as a short list of weighted inputs for each output."""
from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np


class Taps:
    """The map y[i] = Σ_k weight[i, k]·x[index[i, k]] from n numbers to as many as there are rows.

    Args:
        index: which inputs each output sees, integers in [0, n), of shape (m, K).
        weight: how much each counts, of the same shape; 0 where an output sees fewer.
        n: the number of inputs.

    Example:
        >>> means_of_neighbours = Taps([[0, 1], [1, 2]], [[0.5, 0.5], [0.5, 0.5]], 3)
        >>> means_of_neighbours.transposed.matrix("float32")
        array([[0.5, 0. ],
               [0.5, 0.5],
               [0. , 0.5]], dtype=float32)
    """

    def __init__(self, index: Any, weight: Any, n: int):
        self.index, self.weight, self.n = np.asarray(index, np.int64), np.asarray(weight, np.float64), n
        self._cast: dict = {}

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def transposed(self) -> "Taps":
        """The adjoint map: for each input the outputs that see it."""
        m, (rows, columns) = len(self), np.nonzero(self.weight)
        seen = self.index[rows, columns]
        order = np.argsort(seen, kind="stable")
        counts = np.bincount(seen, minlength=self.n)
        starts = np.cumsum(counts) - counts
        place = seen[order], np.arange(len(seen)) - starts[seen[order]]          # input i and how many outputs before also see it
        first = rows[order][np.minimum(starts, max(len(seen) - 1, 0))] if len(seen) else 0
        index = np.empty((self.n, max(counts.max(initial=0), 1)), np.int64)
        index[...] = np.reshape(first, (-1, 1))                                  # where the weight is 0: nothing new
        weight = np.zeros(index.shape)
        index[place], weight[place] = rows[order], self.weight[rows, columns][order]
        back = Taps(index, weight, m)
        back.__dict__["transposed"] = self
        return back

    def rows(self) -> np.ndarray:
        """The inputs that the outputs see, one row for each k."""
        return self.index.T

    def weights(self, dtype: Any) -> np.ndarray:
        """The weights in a dtype, one row for each k."""
        if dtype not in self._cast:
            self._cast[dtype] = np.ascontiguousarray(self.weight.T, dtype)
        return self._cast[dtype]

    def matrix(self, dtype: Any) -> np.ndarray:
        """The map as a matrix of shape (m, n)."""
        key = "matrix", dtype
        if key not in self._cast:
            dense = np.zeros((len(self), self.n), dtype)
            np.add.at(dense, (np.arange(len(self))[:, None], self.index), self.weight.astype(dtype))
            self._cast[key] = dense
        return self._cast[key]
