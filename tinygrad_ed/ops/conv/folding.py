"""Windows of images as the columns of a matrix, and back. The two are each other's derivatives."""
from __future__ import annotations

from math import prod
from typing import Any

from ...autograd.op import op
from ...backend.kernels import kernels
from ...backend.kernels.window import Window
from ...dtypes import FLOATS
from ...errors import DTypeError, ShapeError
from ...tensor import Tensor
from ..broadcast import reshape_to
from ..spatial import Size, batched, check, integers

__all__ = ["fold", "unfold"]

_unfold = op("unfold_windows", lambda x, *, window, outputs: kernels(x).unfold(x, window, outputs),
             x=lambda g, x_shape, window: _fold(g, window=window, inputs=x_shape[2:]),
             doc="All windows of x, of shape (N, C, *kernel, *outputs).")
_fold = op("fold_windows", lambda x, *, window, inputs: kernels(x).fold(x, window, inputs),
           x=lambda g, x_shape, window: _unfold(g, window=window, outputs=x_shape[g.ndim:]),
           doc="The sum of windows (N, C, *kernel, *outputs), each at its place.")


def _window(name: str, n: int, kernel_size: Size, dilation: Size, padding: Size, stride: Size) -> Window:
    return Window(integers(name, "kernel_size", kernel_size, n, 1), integers(name, "stride", stride, n, 1),
                  integers(name, "padding", padding, n, 0), integers(name, "dilation", dilation, n, 1))


def unfold(input: Tensor, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> Tensor:
    """The windows of images as columns: what a convolution multiplies its weights with.

    Args:
        input: a tensor (N, C, H, W), or (C, H, W) without a batch.
        kernel_size: sizes of a window; one number, or one per spatial dimension.
        dilation: the distance between its taps.
        padding: zeros around the image.
        stride: the distance between windows.

    Returns:
        A tensor (N, C·K·L, windows), a column for each window in row-major order.

    Raises:
        ShapeError: not an image, or a window larger than the padded image.
        DTypeError: integers.
        DomainError: a size, stride or dilation below 1, or a negative padding.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.unfold(tg.arange(6.0).reshape(1, 1, 2, 3), 2)
        tensor([[[0., 1.],
                 [1., 2.],
                 [3., 4.],
                 [4., 5.]]])
    """
    check("unfold", input, 2)
    window = _window("unfold", 2, kernel_size, dilation, padding, stride)
    outputs = window.outputs(tuple(input.shape[-2:]), window.padding)
    if min(outputs) < 1:
        raise ShapeError(f"unfold: a window of sizes {window.kernel}, which spans {window.span} with dilation={window.dilation}, does not fit into "
                         f"an input of shape {tuple(input.shape)} with padding={window.padding}")

    def columns(x: Any) -> Any:
        return reshape_to(_unfold(x, window=window, outputs=outputs), shape=(x.shape[0], x.shape[1] * prod(window.kernel), prod(outputs)))
    return batched(columns, input, 2)


def fold(input: Tensor, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> Tensor:
    """Images as the sum of windows, given as columns: the adjoint of `unfold`. Where windows overlap, they are added.

    Args:
        input: a tensor (N, C·K·L, windows), or (C·K·L, windows) without a batch.
        output_size: height and width of the images.
        kernel_size, dilation, padding, stride: those of the windows, as for `unfold`.

    Returns:
        A tensor (N, C, H, W).

    Raises:
        ShapeError: rows that are no multiple of the window's taps, or a number of columns that is not that of the windows.
        DTypeError: integers.
        DomainError: a size, stride or dilation below 1, or a negative padding.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.fold(tg.ones(1, 4, 2), output_size=(2, 3), kernel_size=2)
        tensor([[[[1., 2., 1.],
                  [1., 2., 1.]]]])
    """
    window = _window("fold", 2, kernel_size, dilation, padding, stride)
    sizes = integers("fold", "output_size", output_size, 2, 1)
    if input.ndim not in (2, 3):
        raise ShapeError(f"fold takes columns of shape (N, C*K*L, windows) or (C*K*L, windows), got {tuple(input.shape)}")
    if input.dtype.kind not in FLOATS:
        raise DTypeError(f"fold takes a floating point input, got {input.dtype}{list(input.shape)}; write input.float()")
    outputs, taps = window.outputs(sizes, window.padding), prod(window.kernel)
    expected = prod([max(n, 0) for n in outputs])
    if input.shape[-2] % taps or input.shape[-1] != expected or not expected:
        raise ShapeError(f"fold: windows of sizes {window.kernel} have {taps} taps per channel, and {expected} of them fit into images of sizes "
                         f"{sizes}; so the input has shape (N, C*{taps}, {expected}), got {tuple(input.shape)}")

    def images(x: Any) -> Any:
        return _fold(reshape_to(x, shape=(x.shape[0], x.shape[1] // taps, *window.kernel, *outputs)), window=window, inputs=sizes)
    return batched(images, input, 1)
