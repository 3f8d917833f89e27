"""What convolutions and transposed convolutions share."""
from __future__ import annotations

import math
from typing import Any

from ...errors import DomainError
from ...ops.creation import empty
from ...ops.spatial import Size, integers
from .. import init
from ..module import Module
from ..parameter import Parameter

MODES = ("zeros", "reflect", "replicate", "circular")


class AnyConv(Module):
    """What convolutions and transposed convolutions in any number of dimensions share."""

    dims: int
    transposed: bool
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Any                                      # a tuple, "same" or "valid"
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]
    weight: Parameter
    bias: Parameter | None

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size, padding: Any, dilation: Size, output_padding: Size,
                 groups: int, bias: bool, padding_mode: str, device: Any, dtype: Any):
        super().__init__()
        name, n = type(self).__name__, self.dims
        if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1:
            raise DomainError(f"{name}: groups is an integer of at least 1, got {groups!r}")
        for what, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels < 0 or channels % groups:
                raise DomainError(f"{name}: groups={groups} does not divide {what}={channels}; channels come in groups of one size")
        if padding_mode not in MODES:
            raise DomainError(f"{name}: padding_mode is one of {', '.join(MODES)}, got {padding_mode!r}")
        self.in_channels, self.out_channels, self.groups, self.padding_mode = in_channels, out_channels, groups, padding_mode
        self.kernel_size, self.stride = integers(name, "kernel_size", kernel_size, n, 1), integers(name, "stride", stride, n, 1)
        self.dilation, self.output_padding = integers(name, "dilation", dilation, n, 1), integers(name, "output_padding", output_padding, n, 0)
        if isinstance(padding, str) and (padding not in ("same", "valid") or (padding == "same" and set(self.stride) != {1})):
            raise DomainError(f'{name}: padding is a number, "valid", or "same" at stride 1, got padding={padding!r} with stride={self.stride}')
        self.padding = padding if isinstance(padding, str) else integers(name, "padding", padding, n, 0)
        self.weight = Parameter(empty(*self._weight_shape(), device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_channels, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def _weight_shape(self) -> tuple[int, ...]:
        first, second = (self.in_channels, self.out_channels) if self.transposed else (self.out_channels, self.in_channels)
        return first, second // self.groups, *self.kernel_size

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = math.prod(self.weight.shape[1:])
            bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        n = self.dims
        shown = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        for name, usual in (("padding", (0,) * n), ("dilation", (1,) * n), ("output_padding", (0,) * n), ("groups", 1)):
            if getattr(self, name) != usual:
                shown.append(f"{name}={getattr(self, name)}")
        if self.bias is None:
            shown.append("bias=False")
        if self.padding_mode != "zeros":
            shown.append(f"padding_mode={self.padding_mode}")
        return ", ".join(shown)
