"""Convolution: every output is a weighted sum of the window of inputs under a kernel (the kernel is not reversed)."""
from __future__ import annotations

from typing import Any, Union

from ...backend.kernels.window import Window
from ...errors import DomainError, ShapeError
from ...tensor import Tensor
from ..spatial import Size, batched, check, integers
from .primitives import conv_output

__all__ = ["conv1d", "conv2d", "conv3d"]

Padding = Union[str, Size]


def check_weight(name: str, input: Any, weight: Any, bias: Any, groups: Any, n: int, transposed: bool = False) -> None:
    """Refuse an input, a weight, a bias and a number of groups that do not fit together."""
    check(name, input, n)
    expected = "(in, out/groups, *kernel)" if transposed else "(out, in/groups, *kernel)"
    if weight.ndim != n + 2 or 0 in weight.shape[2:]:
        raise ShapeError(f"{name} takes a weight of shape {expected} with {n} kernel sizes of at least 1, got {tuple(weight.shape)}")
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1:
        raise DomainError(f"{name}: groups is an integer of at least 1, got {groups!r}")
    channels, filters = input.shape[-n - 1], weight.shape[0]
    taken = filters if transposed else weight.shape[1] * groups
    if channels != taken:
        raise ShapeError(f"{name}: the input of shape {tuple(input.shape)} has {channels} channels, the weight of shape {tuple(weight.shape)} "
                         f"{expected} with groups={groups} takes {taken}; give the layer in_channels={channels}")
    if filters % groups:
        raise ShapeError(f"{name}: groups={groups} does not divide the {filters} {'input' if transposed else 'output'} channels of the weight of "
                         f"shape {tuple(weight.shape)} {expected}; channels come in groups of one size")
    outputs = weight.shape[1] * groups if transposed else filters
    if bias is not None and tuple(bias.shape) != (outputs,):
        raise ShapeError(f"{name}: the weight of shape {tuple(weight.shape)} {expected} with groups={groups} gives {outputs} channels, so the "
                         f"bias has shape ({outputs},), got {tuple(bias.shape)}")


def _convolve(name: str, n: int, input: Any, weight: Any, bias: Any, stride: Size, padding: Padding, dilation: Size, groups: int) -> Any:
    check_weight(name, input, weight, bias, groups, n)
    kernel, sizes = tuple(weight.shape[2:]), tuple(input.shape[-n:])
    stride, dilation = integers(name, "stride", stride, n, 1), integers(name, "dilation", dilation, n, 1)
    before, after = _both_sides(name, padding, n, kernel, stride, dilation)
    window = Window(kernel, stride, before, dilation)
    outputs = window.outputs(sizes, after)
    if min(outputs) < 1:
        padded = tuple(p + size + q for p, size, q in zip(before, sizes, after))
        raise ShapeError(f"{name}: a kernel of sizes {kernel}, which spans {window.span} with dilation={dilation}, does not fit into an input of "
                         f"shape {tuple(input.shape)}, of sizes {padded} with padding; pad the input, or take a smaller kernel")
    return batched(lambda x: conv_output(x, weight, bias, window=window, groups=groups, outputs=outputs), input, n)


def _both_sides(name: str, padding: Padding, n: int, kernel: tuple, stride: tuple, dilation: tuple) -> tuple[tuple, tuple]:
    """The padding in front and behind; "same" puts the odd one behind."""
    if not isinstance(padding, str):
        before = integers(name, "padding", padding, n, 0)
        return before, before
    if padding not in ("same", "valid"):
        raise DomainError(f'{name}: padding is a number, "same" or "valid", got {padding!r}')
    if padding == "same" and set(stride) != {1}:
        raise DomainError(f'{name}: padding="same" keeps the sizes only at stride 1, got stride={stride}; write the padding as numbers')
    total = [d * (k - 1) if padding == "same" else 0 for k, d in zip(kernel, dilation)]
    return tuple([t // 2 for t in total]), tuple([t - t // 2 for t in total])


def conv1d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Padding = 0, dilation: Size = 1,
           groups: int = 1) -> Tensor:
    """Convolution over one spatial dimension; see `conv2d`.

    Args:
        input: a tensor (N, C, L), or (C, L) without a batch.
        weight: a tensor (O, C/groups, K) of the input's dtype.
        bias: a tensor (O), or none.
        stride, padding, dilation, groups: as for `conv2d`.

    Returns:
        A tensor (N, O, L') with L' = ⌊(L + 2·padding - dilation·(K - 1) - 1) / stride⌋ + 1.

    Raises:
        ShapeError, DTypeError, DomainError: as for `conv2d`.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor([[[1.0, 2.0, 4.0, 8.0]]])
        >>> tg.nn.functional.conv1d(x, tg.tensor([[[-1.0, 1.0]]]))
        tensor([[[1., 2., 4.]]])
    """
    return _convolve("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Padding = 0, dilation: Size = 1,
           groups: int = 1) -> Tensor:
    """Convolution over two spatial dimensions: every output is a weighted sum of the window of inputs under the kernel.

    y[n, o, i, j] = b[o] + Σ w[o, c, k, l]·x[n, c, i·stride + k·dilation - padding, j·stride + l·dilation - padding] over channels c of
    o's group and taps k, l, with zeros for what lies outside of x. The kernel is not reversed: mathematics calls this a correlation.

    Args:
        input: a tensor (N, C, H, W), or (C, H, W) without a batch.
        weight: a tensor (O, C/groups, K, L) of the input's dtype.
        bias: a tensor (O), or none.
        stride: how far the kernel moves from one output to the next; one number, or one per spatial dimension.
        padding: zeros around the input, one number or one per spatial dimension; "valid" is none, "same" as many as keep the sizes.
        dilation: the distance between the kernel's taps.
        groups: the channels and the filters are cut into so many groups, and each group of filters sees its group of channels only.

    Returns:
        A tensor (N, O, H', W') with H' = ⌊(H + 2·padding - dilation·(K - 1) - 1) / stride⌋ + 1.

    Raises:
        ShapeError: shapes that do not fit together, groups that do not divide the channels, or a kernel larger than the padded input.
        DTypeError: integers, or two dtypes.
        DomainError: a stride or dilation below 1, a negative padding, an unknown name of one, or "same" with a stride.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.arange(9.0).reshape(1, 1, 3, 3)
        >>> tg.nn.functional.conv2d(x, tg.ones(1, 1, 2, 2))
        tensor([[[[ 8., 12.],
                  [20., 24.]]]])
    """
    return _convolve("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Padding = 0, dilation: Size = 1,
           groups: int = 1) -> Tensor:
    """Convolution over three spatial dimensions; see `conv2d`.

    Args:
        input: a tensor (N, C, D, H, W), or (C, D, H, W) without a batch.
        weight: a tensor (O, C/groups, K, L, M) of the input's dtype.
        bias: a tensor (O), or none.
        stride, padding, dilation, groups: as for `conv2d`.

    Returns:
        A tensor (N, O, D', H', W').

    Raises:
        ShapeError, DTypeError, DomainError: as for `conv2d`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.conv3d(tg.ones(1, 2, 4, 4, 4), tg.ones(5, 2, 3, 3, 3), padding="same").shape
        (1, 5, 4, 4, 4)
    """
    return _convolve("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)
