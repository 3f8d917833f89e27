"""How parameters begin: functions that overwrite a tensor, or an array such as `weight.data`, and return it, without recording."""
# ruff: noqa: F403
import functools as _functools
from collections.abc import Callable as _Callable
from typing import Any as _Any

from ...backend import is_array as _is_array
from ...tensor import wrap as _wrap
from . import filling as _filling
from . import scaled as _scaled
from . import structured as _structured
from .filling import *
from .scaled import *
from .scaled import _fans as _calculate_fan_in_and_fan_out  # PyTorch's name
from .structured import *

__all__ = sorted([*_filling.__all__, *_scaled.__all__, *_structured.__all__])


def _also_arrays(function: _Callable) -> _Callable:
    """A function that fills tensors, also for an array: it is filled as a tensor would be, and returned."""
    @_functools.wraps(function)
    def of_either(tensor: _Any, *args: _Any, **kwargs: _Any) -> _Any:
        if not _is_array(tensor):
            return function(tensor, *args, **kwargs)
        function(_wrap(tensor), *args, **kwargs)
        return tensor
    of_either.__module__ = __name__
    return of_either


globals().update({name: _also_arrays(globals()[name]) for name in __all__ if name.endswith("_")})
