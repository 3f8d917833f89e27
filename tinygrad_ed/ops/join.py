"""Tensors put together, and taken apart into views. The two are each other's derivatives."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index
from typing import Any

from ..autograd.op import op
from ..backend import is_array
from ..errors import ShapeError
from ..tensor import Tensor, normalize_dim
from .broadcast import reshape_to
from .shape import atleast_1d, atleast_2d, atleast_3d

__all__ = ["cat", "chunk", "column_stack", "dsplit", "dstack", "hsplit", "hstack", "row_stack", "split", "split_with_sizes", "stack",
           "tensor_split", "unbind", "vsplit", "vstack"]

_cat: Callable = op("cat", lambda xp, *xs, dim: xp.concatenate([x for x in xs if x.shape != (0,)] or xs, axis=dim), promote=("xs",),
                    gradients=lambda g, xs_shape, dim: _uncat(g, xs_shape, dim))
_split: Callable = op("split", lambda x, *, sizes, dim: _slices(x, sizes, dim), outputs=True, view=True, x=lambda g, dim: _cat(*g, dim=dim))
_stack: Callable = op("stack", lambda xp, *xs, dim: xp.stack(xs, axis=dim), promote=("xs",), gradients=lambda g, dim: _unbind(g, dim=dim))
_unbind: Callable = op("unbind", lambda x, *, dim: tuple([x[(slice(None),) * dim + (i, ...)] for i in range(x.shape[dim])]),
                       outputs=True, view=True, x=lambda g, dim: _stack(*g, dim=dim))


def _slices(x: Any, sizes: Sequence[int], dim: int) -> tuple:
    before, start, parts = (slice(None),) * dim, 0, []
    for n in sizes:
        parts.append(x[before + (slice(start, start + n),)])
        start += n
    return tuple(parts)


def _uncat(g: Any, shapes: Sequence[tuple], dim: int) -> list:
    """g cut into the shapes that were joined; those of the empty vectors that `cat` skips are cut with length 0."""
    parts = _split(g, sizes=tuple([shape[dim] if len(shape) == g.ndim else 0 for shape in shapes]), dim=dim)
    return [part if part.shape == shape else reshape_to(part, shape=shape) for part, shape in zip(parts, shapes)]


def _listed(tensors: Any, what: str) -> list:
    """The tensors as a list.

    Raises:
        ShapeError: there are none.
        TypeError: not a sequence of tensors.
    """
    if isinstance(tensors, Tensor) or is_array(tensors):
        raise TypeError(f"{what} takes a list of tensors, got one; write {what}([a, b])")
    tensors = list(tensors)
    for x in tensors:
        if not isinstance(x, Tensor) and not is_array(x):
            raise TypeError(f"{what} takes a list of tensors, got {type(x).__name__} in it; write tinygrad_ed.tensor(value)")
    if not tensors:
        raise ShapeError(f"{what} takes at least one tensor, got an empty list")
    return tensors


def _shapes(tensors: Sequence) -> str:
    return ", ".join(str(x.shape) for x in tensors)


# -- joining -----------------------------------------------------------------------------------------------------------

def cat(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None) -> Tensor:
    """The tensors one after the other along a dimension.

    Args:
        tensors: tensors whose shapes agree but for that dimension; empty vectors fit everywhere. dtypes are promoted.
        dim: the dimension along which to join.
        axis: another name for dim.

    Returns:
        A new tensor.

    Raises:
        ShapeError: shapes that do not agree, 0-d tensors, or no tensor.
        DimError: a dimension outside the tensors.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cat([tg.tensor([1, 2]), tg.tensor([3])])
        tensor([1, 2, 3])
    """
    tensors, dim = _listed(tensors, "cat"), dim if axis is None else axis
    shapes = [x.shape for x in tensors if x.shape != (0,)] or [(0,)]
    dim = normalize_dim(dim, len(shapes[0]))
    if () in shapes:
        raise ShapeError(f"cat joins tensors with dimensions, got shapes {_shapes(tensors)}; write stack(tensors) for 0-d tensors")
    if len({(len(shape), shape[:dim], shape[dim + 1:]) for shape in shapes}) > 1:
        raise ShapeError(f"cat along dimension {dim} takes shapes that agree in all others, got {_shapes(tensors)}")
    return _cat(*tensors, dim=dim)


def stack(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None) -> Tensor:
    """The tensors one after the other along a new dimension.

    Args:
        tensors: tensors of one shape; dtypes are promoted.
        dim: where the new dimension is in the result.
        axis: another name for dim.

    Returns:
        A new tensor with one dimension more.

    Raises:
        ShapeError: several shapes, or no tensor.
        DimError: a dimension outside the result.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.stack([tg.tensor([1, 2]), tg.tensor([3, 4])], dim=1)
        tensor([[1, 3],
                [2, 4]])
    """
    tensors, dim = _listed(tensors, "stack"), dim if axis is None else axis
    if len({x.shape for x in tensors}) > 1:
        raise ShapeError(f"stack takes tensors of one shape, got {_shapes(tensors)}; "
                         f"write cat(tensors) to join along a dimension they have")
    return _stack(*tensors, dim=normalize_dim(dim, tensors[0].ndim + 1))


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors side by side: joined along dimension 1, vectors along dimension 0.

    Args:
        tensors: tensors whose shapes agree but for that dimension; 0-d tensors count as vectors.

    Returns:
        A new tensor.

    Raises:
        ShapeError: shapes that do not agree, or no tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.hstack([tg.tensor([1, 2]), tg.tensor([3])])
        tensor([1, 2, 3])
    """
    tensors = atleast_1d(_listed(tensors, "hstack"))
    return cat(tensors, 0 if tensors[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors on top of each other: joined along dimension 0, vectors as rows.

    Args:
        tensors: tensors whose shapes agree but for that dimension.

    Returns:
        A new tensor with at least two dimensions.

    Raises:
        ShapeError: shapes that do not agree, or no tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.vstack([tg.tensor([1, 2]), tg.tensor([3, 4])])
        tensor([[1, 2],
                [3, 4]])
    """
    return cat(atleast_2d(_listed(tensors, "vstack")))


row_stack = vstack


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors one behind the other: joined along dimension 2, which vectors and matrices are given.

    Args:
        tensors: tensors whose shapes agree but for that dimension.

    Returns:
        A new tensor with at least three dimensions.

    Raises:
        ShapeError: shapes that do not agree, or no tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.dstack([tg.tensor([1, 2]), tg.tensor([3, 4])])
        tensor([[[1, 3],
                 [2, 4]]])
    """
    return cat(atleast_3d(_listed(tensors, "dstack")), 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors side by side, vectors as columns.

    Args:
        tensors: tensors whose shapes agree but for dimension 1.

    Returns:
        A new tensor with at least two dimensions.

    Raises:
        ShapeError: shapes that do not agree, or no tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.column_stack([tg.tensor([1, 2]), tg.tensor([3, 4])])
        tensor([[1, 3],
                [2, 4]])
    """
    return cat([x if x.ndim > 1 else reshape_to(x, shape=(-1, 1)) for x in _listed(tensors, "column_stack")], 1)


# -- taking apart ------------------------------------------------------------------------------------------------------

def _length(input: Tensor, dim: int, what: str) -> tuple[int, int]:
    """The dimension in [0, ndim), and its length."""
    dim = normalize_dim(dim, input.ndim)
    if input.ndim == 0:
        raise ShapeError(f"{what} cuts along a dimension, and a 0-d tensor has none; write x.reshape(1)")
    return dim, input.shape[dim]


def split(input: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple:
    """Views of the parts of a tensor along a dimension.

    Args:
        input: a tensor with at least one dimension.
        split_size_or_sections: the length of each part, of which the last may be shorter; or a list of all lengths.
        dim: the dimension to cut.

    Returns:
        A tuple of views.

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: negative lengths, length 0, or lengths that do not sum to the dimension's.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.split(tg.tensor([1, 2, 3]), 2)
        (tensor([1, 2]), tensor([3]))
    """
    if isinstance(split_size_or_sections, (tuple, list)):
        return split_with_sizes(input, split_size_or_sections, dim)
    dim, n = _length(input, dim, "split")
    size = index(split_size_or_sections)              # type: ignore[arg-type]
    if size < 0 or (size == 0 and n > 0):
        raise ShapeError(f"split takes a positive length for the parts of dimension {dim}, which has length {n}, got {size}")
    starts = range(0, n, size) if n else (0,)
    return _split(input, sizes=tuple([min(size, n - start) for start in starts]), dim=dim)


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple:
    """Views of the parts of a tensor along a dimension, of given lengths.

    Args:
        input: a tensor with at least one dimension.
        split_sizes: the lengths of the parts.
        dim: the dimension to cut.

    Returns:
        A tuple of views.

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: negative lengths, or lengths that do not sum to the dimension's.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.split_with_sizes(tg.tensor([1, 2, 3]), [1, 2])
        (tensor([1]), tensor([2, 3]))
    """
    dim, n = _length(input, dim, "split")
    sizes = tuple(map(index, split_sizes))
    if sum(sizes) != n or min(sizes, default=0) < 0:
        raise ShapeError(f"split takes lengths that sum to {n}, the length of dimension {dim} of shape {input.shape}, got {list(sizes)}")
    return _split(input, sizes=sizes, dim=dim)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple:
    """Views of at most so many parts of a tensor along a dimension, all of ⌈length / chunks⌉ but the last.

    Args:
        input: a tensor with at least one dimension.
        chunks: how many parts; where the length does not divide there can be fewer.
        dim: the dimension to cut.

    Returns:
        A tuple of views.

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: not a positive number of parts.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.chunk(tg.tensor([1, 2, 3]), 2)
        (tensor([1, 2]), tensor([3]))
    """
    dim, n = _length(input, dim, "chunk")
    if chunks < 1:
        raise ShapeError(f"chunk takes a positive number of parts, got {chunks}")
    return split(input, -(-n // chunks), dim) if n else _split(input, sizes=(0,) * chunks, dim=dim)


def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple:
    """Views of the parts of a tensor along a dimension: as equal as possible, or cut before given positions.

    Args:
        input: a tensor with at least one dimension.
        indices_or_sections: how many parts; or a list or vector of positions, counted as in a Python slice.
        dim: the dimension to cut.

    Returns:
        A tuple of views, one more than there are positions.

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: not a positive number of parts.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.tensor_split(tg.tensor([1, 2, 3]), (1, 2))
        (tensor([1]), tensor([2]), tensor([3]))
    """
    dim, n = _length(input, dim, "tensor_split")
    given = indices_or_sections.tolist() if isinstance(indices_or_sections, Tensor) else indices_or_sections
    if not isinstance(given, (tuple, list)):
        sections = index(given)
        if sections < 1:
            raise ShapeError(f"tensor_split takes a positive number of parts, or a list of positions, got {sections}")
        return _split(input, sizes=tuple([n // sections + (k < n % sections) for k in range(sections)]), dim=dim)
    bounds = [slice(start, stop).indices(n)[:2] for start, stop in zip((0, *given), (*given, n))]
    sizes = tuple([max(stop - start, 0) for start, stop in bounds])
    if sum(sizes) == n:
        return _split(input, sizes=sizes, dim=dim)
    return tuple([_split(input, sizes=(start, size, n - start - size), dim=dim)[1]    # positions that go back: parts overlap
                  for (start, _), size in zip(bounds, sizes)])


def _divided(input: Tensor, indices_or_sections: Any, dim: int, what: str) -> tuple:
    if input.ndim <= dim:
        raise ShapeError(f"{what} cuts along dimension {dim}, and shape {input.shape} has none")
    if isinstance(indices_or_sections, int) and (indices_or_sections < 1 or input.shape[dim] % indices_or_sections):
        raise ShapeError(f"{what} makes equal parts: {indices_or_sections} does not divide {input.shape[dim]}, the length of "
                         f"dimension {dim}; write tensor_split(x, {indices_or_sections}, {dim})")
    return tensor_split(input, indices_or_sections, dim)


def hsplit(input: Tensor, indices_or_sections: Any) -> tuple:
    """Views of the parts of a tensor along dimension 1, of a vector along dimension 0.

    Args:
        input: a tensor with at least one dimension.
        indices_or_sections: how many equal parts, or a list of positions to cut before.

    Returns:
        A tuple of views.

    Raises:
        ShapeError: a 0-d tensor, or a length that does not divide.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.hsplit(tg.tensor([1, 2, 3, 4]), 2)
        (tensor([1, 2]), tensor([3, 4]))
    """
    return _divided(input, indices_or_sections, 1 if input.ndim > 1 else 0, "hsplit")


def vsplit(input: Tensor, indices_or_sections: Any) -> tuple:
    """Views of the parts of a tensor along dimension 0.

    Args:
        input: a tensor with at least two dimensions.
        indices_or_sections: how many equal parts, or a list of positions to cut before.

    Returns:
        A tuple of views.

    Raises:
        ShapeError: fewer than two dimensions, or a length that does not divide.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.vsplit(tg.tensor([[1, 2], [3, 4]]), 2)
        (tensor([[1, 2]]), tensor([[3, 4]]))
    """
    if input.ndim < 2:
        raise ShapeError(f"vsplit cuts matrices into upper and lower parts, got shape {input.shape}; write tensor_split(x, n)")
    return _divided(input, indices_or_sections, 0, "vsplit")


def dsplit(input: Tensor, indices_or_sections: Any) -> tuple:
    """Views of the parts of a tensor along dimension 2.

    Args:
        input: a tensor with at least three dimensions.
        indices_or_sections: how many equal parts, or a list of positions to cut before.

    Returns:
        A tuple of views.

    Raises:
        ShapeError: fewer than three dimensions, or a length that does not divide.

    Example:
        >>> import tinygrad_ed as tg
        >>> [part.shape for part in tg.dsplit(tg.zeros(2, 2, 4), 2)]
        [(2, 2, 2), (2, 2, 2)]
    """
    return _divided(input, indices_or_sections, 2, "dsplit")


def unbind(input: Tensor, dim: int = 0) -> tuple:
    """Views of all slices of a tensor along a dimension, which they lose.

    Args:
        input: a tensor with at least one dimension.
        dim: the dimension to take apart.

    Returns:
        A tuple of views.

    Raises:
        DimError: a dimension outside the tensor.
        ShapeError: a 0-d tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.unbind(tg.tensor([[1, 2], [3, 4]]))
        (tensor([1, 2]), tensor([3, 4]))
    """
    return _unbind(input, dim=_length(input, dim, "unbind")[0])
