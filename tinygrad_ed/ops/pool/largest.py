"""The largest of every window, and what undoes it as far as that goes."""
from __future__ import annotations

from math import prod
from typing import Any

from ...autograd.op import op
from ...backend import namespace
from ...backend.kernels import kernels
from ...backend.kernels.window import Sizes, Window
from ...errors import IndexRangeError, ShapeError
from ...tensor import Tensor, wrap
from ..broadcast import reshape_to
from ..index import gather, scatter
from ..spatial import Size, batched, check, integers
from .sizes import pool_window

__all__ = ["max_pool1d", "max_pool2d", "max_pool3d", "max_unpool1d", "max_unpool2d", "max_unpool3d"]

_max_pool = op("max_pool", lambda x, *, window, outputs: kernels(x).max_pool(x, window, outputs), aux=("where",),
               x=lambda g, where, x_shape, window: _put(g, where, window=window, inputs=x_shape[2:]))
_put = op("max_pool_put", lambda x, where, *, window, inputs: kernels(x).max_pool_input(x, where, window, inputs),
          x=lambda g, where, window: _take(g, where, window=window),
          doc="A value per window, put where the largest input stands: at the tap with the number `where`.")
_take = op("max_pool_take", lambda x, where, *, window: kernels(x).max_pool_take(x, where, window),
           x=lambda g, where, x_shape, window: _put(g, where, window=window, inputs=x_shape[2:]),
           doc="For every window the input at the tap with the number `where`.")


def raw(x: Any) -> Any:
    """A tensor's or an array's array."""
    return x._data if isinstance(x, Tensor) else x


def values_at(x: Any, places: Any) -> tuple[Any, Any]:
    """The elements of x (N, C, *inputs) at places (N, C, *outputs) in the plane of inputs, and the places, as Tensors if x is one."""
    rows = reshape_to(x, shape=(*x.shape[:2], prod(x.shape[2:])))
    chosen = gather(rows, 2, wrap(places.reshape(*places.shape[:2], prod(places.shape[2:]))))
    return reshape_to(chosen, shape=places.shape), wrap(places)


def _largest(name: str, n: int, input: Any, kernel_size: Size, stride: Size | None, padding: Size, dilation: Size, ceil_mode: bool,
             return_indices: bool) -> Any:
    window, outputs = pool_window(name, input, n, kernel_size, stride, padding, dilation, ceil_mode)

    def with_places(x: Any) -> tuple[Any, Any]:
        array = raw(x)
        where = kernels(array).max_pool(array, window, outputs)[1]
        return values_at(x, kernels(array).max_pool_places(where, window, x.shape[2:]))
    return batched(with_places if return_indices else lambda x: _max_pool(x, window=window, outputs=outputs), input, n)


def max_pool1d(input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1, ceil_mode: bool = False,
               return_indices: bool = False) -> Any:
    """The largest of every window over one spatial dimension; see `max_pool2d`.

    Args:
        input: a tensor (N, C, L), or (C, L) without a batch.
        kernel_size, stride, padding, dilation, ceil_mode, return_indices: as for `max_pool2d`.

    Returns:
        A tensor (N, C, L'), or two with return_indices.

    Raises:
        ShapeError, DTypeError, DomainError: as for `max_pool2d`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.max_pool1d(tg.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
        tensor([[3., 2.]])
    """
    return _largest("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1, ceil_mode: bool = False,
               return_indices: bool = False) -> Any:
    """The largest of every window over two spatial dimensions; NaN where there is one.

    The gradient goes to the largest element of each window, the first in row-major order of several.

    Args:
        input: a floating point tensor (N, C, H, W), or (C, H, W) without a batch.
        kernel_size: sizes of the window; one number, or one per spatial dimension.
        stride: the distance between windows; the window's sizes by default.
        padding: how much is put around the input, at most half of the window; it counts as -∞.
        dilation: the distance between the window's taps.
        ceil_mode: whether a last window may reach beyond the padding behind, where it begins in front of it.
        return_indices: give also where in its plane each of the largest stands.

    Returns:
        A tensor (N, C, H', W') with H' = ⌊(H + 2·padding - dilation·(K - 1) - 1) / stride⌋ + 1, rounded up with ceil_mode. With
        return_indices also a tensor of int64 of its shape, with positions in the plane (H, W) in row-major order.

    Raises:
        ShapeError: not an image, or a window larger than it.
        DTypeError: integers.
        DomainError: a size, stride or dilation below 1, or a padding of more than half of the window.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.max_pool2d(tg.arange(16.0).reshape(1, 1, 4, 4), 2)
        tensor([[[[ 5.,  7.],
                  [13., 15.]]]])
    """
    return _largest("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1, ceil_mode: bool = False,
               return_indices: bool = False) -> Any:
    """The largest of every window over three spatial dimensions; see `max_pool2d`.

    Args:
        input: a tensor (N, C, D, H, W), or (C, D, H, W) without a batch.
        kernel_size, stride, padding, dilation, ceil_mode, return_indices: as for `max_pool2d`.

    Returns:
        A tensor (N, C, D', H', W'), or two with return_indices.

    Raises:
        ShapeError, DTypeError, DomainError: as for `max_pool2d`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.max_pool3d(tg.ones(1, 2, 4, 4, 4), 2).shape
        (1, 2, 2, 2, 2)
    """
    return _largest("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


# -- back to where they stood ------------------------------------------------------------------------------------------

def _unpooled(name: str, n: int, input: Any, indices: Any, kernel_size: Size, stride: Size | None, padding: Size, output_size: Any) -> Any:
    check(name, input, n)
    if indices.dtype != "int64" or indices.shape != input.shape:
        raise ShapeError(f"{name}: the indices are those of max_pool{n}d(..., return_indices=True), of int64 and the input's shape "
                         f"{tuple(input.shape)}; got {indices.dtype}{list(indices.shape)}")
    sizes = _unpooled_sizes(name, n, input, kernel_size, stride, padding, output_size)
    places = raw(indices)
    if namespace(places).__name__ == "numpy" and places.size and not 0 <= places.min() <= places.max() < prod(sizes):
        raise IndexRangeError(f"{name}: indices point from {places.min()} to {places.max()} into a plane of sizes {sizes}, which has "
                              f"{prod(sizes)} elements; give the output_size that was pooled")

    def placed(x: Any) -> Any:
        at = reshape_to(wrap(places), shape=(*x.shape[:2], prod(x.shape[2:])))
        nothing = wrap(namespace(places).zeros((*x.shape[:2], prod(sizes)), x.dtype))
        return reshape_to(scatter(nothing, 2, at, reshape_to(x, shape=at.shape)), shape=(*x.shape[:2], *sizes))
    return batched(placed, input, n)


def _unpooled_sizes(name: str, n: int, input: Any, kernel_size: Size, stride: Size | None, padding: Size, output_size: Any) -> Sizes:
    kernel = integers(name, "kernel_size", kernel_size, n, 1)
    stride = kernel if stride is None else integers(name, "stride", stride, n, 1)
    window = Window(kernel, stride, integers(name, "padding", padding, n, 0), (1,) * n)
    sizes = tuple([reach - 2 * p for reach, p in zip(window.reach(tuple(input.shape[-n:])), window.padding)])
    if output_size is None:
        return sizes
    wanted = tuple(output_size)[-n:]
    if len(output_size) not in (n, n + 2, input.ndim) or any(not size - s < w < size + s for size, s, w in zip(sizes, stride, wanted)):
        raise ShapeError(f"{name}: windows with stride={stride} over sizes {sizes}, or less than a stride from that, are pooled to an input of "
                         f"shape {tuple(input.shape)}; got output_size={tuple(output_size)}")
    return wanted


def max_unpool1d(input: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
                 output_size: Any = None) -> Tensor:
    """Elements back where `max_pool1d` has found them, zeros elsewhere; see `max_unpool2d`.

    Args:
        input: a tensor (N, C, L), or (C, L).
        indices: a tensor of int64 of its shape.
        kernel_size, stride, padding, output_size: as for `max_unpool2d`.

    Returns:
        A tensor (N, C, L').

    Raises:
        ShapeError, IndexRangeError: as for `max_unpool2d`.

    Example:
        >>> import tinygrad_ed as tg
        >>> y, indices = tg.nn.functional.max_pool1d(tg.tensor([[1.0, 3.0, 2.0, 0.0]]), 2, return_indices=True)
        >>> tg.nn.functional.max_unpool1d(y, indices, 2)
        tensor([[0., 3., 2., 0.]])
    """
    return _unpooled("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(input: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
                 output_size: Any = None) -> Tensor:
    """Elements back where `max_pool2d` has found them, zeros elsewhere.

    Args:
        input: a tensor (N, C, H, W), or (C, H, W).
        indices: where in the plane of the result each element goes: the indices that `max_pool2d` returns.
        kernel_size, stride, padding: those of the pooling.
        output_size: the sizes that were pooled, as several of them give one: (H', W') or (N, C, H', W'). By default
            H' = (H - 1)·stride - 2·padding + K.

    Returns:
        A tensor (N, C, H', W').

    Raises:
        ShapeError: indices of another shape or dtype, or an output_size that the pooling does not take to the input's.
        IndexRangeError: an index outside of the plane.

    Example:
        >>> import tinygrad_ed as tg
        >>> y, indices = tg.nn.functional.max_pool2d(tg.arange(4.0).reshape(1, 2, 2), 2, return_indices=True)
        >>> tg.nn.functional.max_unpool2d(y, indices, 2)
        tensor([[[0., 0.],
                 [0., 3.]]])
    """
    return _unpooled("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(input: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
                 output_size: Any = None) -> Tensor:
    """Elements back where `max_pool3d` has found them, zeros elsewhere; see `max_unpool2d`.

    Args:
        input: a tensor (N, C, D, H, W), or (C, D, H, W).
        indices: a tensor of int64 of its shape.
        kernel_size, stride, padding, output_size: as for `max_unpool2d`.

    Returns:
        A tensor (N, C, D', H', W').

    Raises:
        ShapeError, IndexRangeError: as for `max_unpool2d`.

    Example:
        >>> import tinygrad_ed as tg
        >>> y, indices = tg.nn.functional.max_pool3d(tg.ones(1, 2, 2, 2), 2, return_indices=True)
        >>> tg.nn.functional.max_unpool3d(y, indices, 2).sum()
        tensor(1.)
    """
    return _unpooled("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)
