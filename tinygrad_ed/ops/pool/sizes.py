"""How windows of a pooling lie over an input."""
from __future__ import annotations

from typing import Any

from ...backend.kernels.window import Sizes, Window
from ...errors import DomainError, ShapeError
from ..spatial import Size, check, integers


def pool_window(name: str, input: Any, n: int, kernel_size: Size, stride: Size | None, padding: Size, dilation: Size,
                ceil_mode: bool) -> tuple[Window, Sizes]:
    """The window of a pooling, and how many outputs it has.

    With ceil_mode a last window may reach beyond the padding behind, but not begin there.

    Raises:
        ShapeError: not an image, or a window larger than it.
        DomainError: a size, stride or dilation below 1, or a padding of more than half of the window.
    """
    check(name, input, n)
    kernel = integers(name, "kernel_size", kernel_size, n, 1)
    stride = kernel if stride is None or stride == () or stride == [] else integers(name, "stride", stride, n, 1)
    window = Window(kernel, stride, integers(name, "padding", padding, n, 0), integers(name, "dilation", dilation, n, 1))
    if any(p > span // 2 for p, span in zip(window.padding, window.span)):
        raise DomainError(f"{name}: padding is at most half of the window, got padding={window.padding} for a window that spans {window.span}")
    sizes = tuple(input.shape[-n:])
    after = window.padding
    if ceil_mode:
        after = tuple([p + s - 1 for p, s in zip(window.padding, window.stride)])
    outputs = window.outputs(sizes, after)
    if ceil_mode:
        outputs = tuple([m - ((m - 1) * s >= n + p) for m, s, n, p in zip(outputs, window.stride, sizes, window.padding)])
    if min(outputs) < 1:
        raise ShapeError(f"{name}: a window of sizes {kernel}, which spans {window.span}, does not fit into an input of shape {tuple(input.shape)} "
                         f"with padding={window.padding}; take a smaller window")
    return window, outputs
