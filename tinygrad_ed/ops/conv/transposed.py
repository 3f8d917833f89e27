"""Transposed convolution: every input is spread over a window of outputs. It is the gradient, and so the adjoint, of convolution."""
from __future__ import annotations

from typing import Any

from ...backend.kernels.window import Window
from ...errors import DomainError, ShapeError
from ...tensor import Tensor
from ..spatial import Size, batched, integers
from .convolution import check_weight
from .primitives import conv_input

__all__ = ["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]


def _spread(name: str, n: int, input: Any, weight: Any, bias: Any, stride: Size, padding: Size, output_padding: Size, groups: int,
            dilation: Size) -> Any:
    check_weight(name, input, weight, bias, groups, n, transposed=True)
    sizes = tuple(input.shape[-n:])
    stride, dilation = integers(name, "stride", stride, n, 1), integers(name, "dilation", dilation, n, 1)
    padding, more = integers(name, "padding", padding, n, 0), integers(name, "output_padding", output_padding, n, 0)
    if any(m >= max(s, d) for m, s, d in zip(more, stride, dilation)):
        raise DomainError(f"{name}: output_padding chooses among the sizes that a convolution makes equal, so it is below stride or dilation; got "
                          f"output_padding={more} with stride={stride} and dilation={dilation}")
    window = Window(tuple(weight.shape[2:]), stride, padding, dilation)
    outputs = tuple([reach - 2 * p + m for reach, p, m in zip(window.reach(sizes), padding, more)])
    if min(outputs) < 1 or min(sizes) < 1:
        raise ShapeError(f"{name}: an input of shape {tuple(input.shape)} and a kernel of sizes {window.kernel} with stride={stride} and "
                         f"padding={padding} give sizes {outputs}; there must be something left, take less padding")
    return batched(lambda x: conv_input(x, weight, bias, window=window, groups=groups, inputs=outputs), input, n)


def conv_transpose1d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Size = 0,
                     output_padding: Size = 0, groups: int = 1, dilation: Size = 1) -> Tensor:
    """Transposed convolution over one spatial dimension; see `conv_transpose2d`.

    Args:
        input: a tensor (N, C, L), or (C, L) without a batch.
        weight: a tensor (C, O/groups, K) of the input's dtype.
        bias: a tensor (O), or none.
        stride, padding, output_padding, groups, dilation: as for `conv_transpose2d`.

    Returns:
        A tensor (N, O, L').

    Raises:
        ShapeError, DTypeError, DomainError: as for `conv_transpose2d`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.conv_transpose1d(tg.tensor([[[1.0, 2.0]]]), tg.tensor([[[1.0, 10.0, 100.0]]]), stride=2)
        tensor([[[  1.,  10., 102.,  20., 200.]]])
    """
    return _spread("conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Size = 0,
                     output_padding: Size = 0, groups: int = 1, dilation: Size = 1) -> Tensor:
    """Transposed convolution over two spatial dimensions: every input is spread over a window of outputs, weighted by the kernel.

    It is the gradient of `conv2d` with respect to its input, with the same weight: <conv2d(x, w), y> = <x, conv_transpose2d(y, w)>.

    Args:
        input: a tensor (N, C, H, W), or (C, H, W) without a batch.
        weight: a tensor (C, O/groups, K, L) of the input's dtype.
        bias: a tensor (O), or none.
        stride: how far apart the windows of neighbouring inputs are.
        padding: how many outputs are cut off on every side.
        output_padding: how many outputs are added behind, as several sizes belong to one under a strided convolution.
        groups: the channels and the filters are cut into so many groups.
        dilation: the distance between the kernel's taps.

    Returns:
        A tensor (N, O, H', W') with H' = (H - 1)·stride - 2·padding + dilation·(K - 1) + output_padding + 1.

    Raises:
        ShapeError: shapes that do not fit together, groups that do not divide the channels, or nothing left of the output.
        DTypeError: integers, or two dtypes.
        DomainError: a stride or dilation below 1, a negative padding, or an output_padding not below stride or dilation.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.conv_transpose2d(tg.ones(1, 1, 2, 2), tg.ones(1, 1, 2, 2))
        tensor([[[[1., 2., 1.],
                  [2., 4., 2.],
                  [1., 2., 1.]]]])
    """
    return _spread("conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Size = 0,
                     output_padding: Size = 0, groups: int = 1, dilation: Size = 1) -> Tensor:
    """Transposed convolution over three spatial dimensions; see `conv_transpose2d`.

    Args:
        input: a tensor (N, C, D, H, W), or (C, D, H, W) without a batch.
        weight: a tensor (C, O/groups, K, L, M) of the input's dtype.
        bias: a tensor (O), or none.
        stride, padding, output_padding, groups, dilation: as for `conv_transpose2d`.

    Returns:
        A tensor (N, O, D', H', W').

    Raises:
        ShapeError, DTypeError, DomainError: as for `conv_transpose2d`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.conv_transpose3d(tg.ones(1, 4, 2, 2, 2), tg.ones(4, 3, 2, 2, 2), stride=2).shape
        (1, 3, 4, 4, 4)
    """
    return _spread("conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation)
