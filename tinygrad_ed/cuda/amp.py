"""The names that mixed precision had before other devices had it too: `amp.autocast` and `amp.GradScaler`, for CUDA."""
from __future__ import annotations

from typing import Any

from .. import amp
from ..dtypes import float16

__all__ = ["GradScaler", "autocast"]


class autocast(amp.autocast):
    """`amp.autocast("cuda")` under its old name.

    Args:
        enabled: False for a block inside another that leaves everything as it is.
        dtype: the half precision, float16 or bfloat16.
        cache_enabled: keep converted parameters until the end of the block.

    Example:
        >>> import tinygrad_ed as tg
        >>> with tg.cuda.amp.autocast():
        ...     tg.is_autocast_enabled()
        True
    """

    def __init__(self, enabled: bool = True, dtype: Any = float16, cache_enabled: bool = True):
        super().__init__("cuda", dtype, enabled, cache_enabled)


class GradScaler(amp.GradScaler):
    """`amp.GradScaler("cuda")` under its old name.

    Args:
        init_scale: the first scale.
        growth_factor: above 1.
        backoff_factor: between 0 and 1.
        growth_interval: good steps in a row after which the scale grows.
        enabled: False to make every method do nothing but the step itself.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.cuda.amp.GradScaler(enabled=False).get_scale()
        1.0
    """

    def __init__(self, init_scale: float = 2.0 ** 16, growth_factor: float = 2.0, backoff_factor: float = 0.5, growth_interval: int = 2000,
                 enabled: bool = True):
        super().__init__("cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled)
