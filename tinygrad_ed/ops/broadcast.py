"""The five moves that everything else is made of: reshape, permute, expand, and the sums that undo an expansion.

They stand together because each is in another's derivative. The public functions around them are in `shape` and `reduce`.
"""
from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from ..autograd.op import op
from ..backend.kernels import kernels

reshape_to = op("reshape", lambda x, *, shape: x.reshape(shape), view=True, x=lambda g, x_shape: reshape_to(g, shape=x_shape))

permute_to = op("permute", lambda x, *, dims: x.transpose(dims), view=True,
                x=lambda g, dims: permute_to(g, dims=tuple(int(i) for i in np.argsort(dims))))

expand_to = op("expand", lambda xp, x, *, shape: xp.broadcast_to(x, shape), view=True, x=lambda g, x_shape: sum_to(g, shape=x_shape))

sum_to = op("sum_to", lambda x, *, shape: _sum_to(x, shape), x=lambda g, x_shape: expand_to(g, shape=x_shape),
            doc="x summed over the axes that broadcasting would add or stretch to come from `shape` to x's shape.")

sum_over = op("sum", lambda x, *, dims, keepdim: kernels(x).total(x, dims, keepdim),
              x=lambda g, x_shape, dims, keepdim: expand_to(keep_dims(g, x_shape, dims, keepdim), shape=x_shape),
              doc="x summed over a tuple of dimensions in [0, ndim).")


def _sum_to(x: Any, shape: tuple) -> Any:
    extra = x.ndim - len(shape)
    dims = tuple(range(extra)) + tuple(i + extra for i, n in enumerate(shape) if n == 1 and x.shape[i + extra] != 1)
    return (kernels(x).total(x, dims, True) if dims else x).reshape(shape)


def keep_dims(y: Any, shape: tuple, dims: Sequence[int], keepdim: bool) -> Any:
    """The result of a reduction of `shape` over `dims`, with the reduced dimensions put back with length 1."""
    if keepdim:
        return y
    return reshape_to(y, shape=tuple(1 if i in dims else n for i, n in enumerate(shape)))
