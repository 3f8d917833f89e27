"""tinygrad_ed: PyTorch's interface at NumPy's size, with every gradient proven.

The face of the package: public names only. The larger rooms (nn, optim, data…) are entered at their first use.
"""
import importlib as _importlib
import warnings as _warnings
from math import e, inf, nan, pi
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from numpy import dtype

from . import autograd, backend, dtypes, linalg, ops
from .autograd.engine import grad
from .autograd.modes import *
from .backend import Device as device
from .backends import (
    are_deterministic_algorithms_enabled,
    get_float32_matmul_precision,
    get_num_threads,
    set_float32_matmul_precision,
    set_num_threads,
    show_config,
    use_deterministic_algorithms,
)
from .dtypes import *
from .ops import generator as random
from .ops.compare import *
from .ops.convert import *
from .ops.creation import *
from .ops.distance import *
from .ops.elementwise import *
from .ops.generator import *
from .ops.index import *
from .ops.join import *
from .ops.like import *
from .ops.linalg import *
from .ops.matmul import *
from .ops.methods import ALIASES as _ALIASES
from .ops.methods import functions as _functions
from .ops.order import *
from .ops.random import *
from .ops.ranges import *
from .ops.reduce import *
from .ops.scan import *
from .ops.shape import *
from .ops.softmax import *
from .printing import *
from .serialization import load, save
from .tensor import Tensor

if _TYPE_CHECKING:
    from . import amp, cuda, data, legacy, nn, optim, testing, utils
    from .amp import autocast, get_autocast_dtype, is_autocast_enabled
    from .legacy import *

__version__ = "0.1.0"

newaxis = None
Size = tuple                                          # what a shape is

# log(0) is -inf and 0/0 is NaN here as in PyTorch, without a warning; what NumPy says elsewhere is left alone.
_warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"tinygrad_ed\.")

globals().update({alias: function for alias, function in _functions().items() if alias in _ALIASES})

_ROOMS = ("amp", "cuda", "data", "legacy", "nn", "optim", "testing", "utils")
_INSIDE = {"autocast": "amp", "get_autocast_dtype": "amp", "is_autocast_enabled": "amp", "bfloat16": "dtypes", **dict.fromkeys(
    [kind + "Tensor" for kind in "BFloat16 Bool Byte Char Double Float Half Int Long Short".split()], "legacy")}     # fetched at their first use
__all__ = [name for name in globals() if not name.startswith("_") and name != "random"] + [*_ROOMS, "autocast"]


def __getattr__(name: str) -> _Any:
    if name in _ROOMS:
        return _importlib.import_module(f".{name}", __name__)
    if name in _INSIDE:
        return getattr(_importlib.import_module("." + _INSIDE[name], __name__), name)
    raise AttributeError(f"module 'tinygrad_ed' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS, *_INSIDE})
