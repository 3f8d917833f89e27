"""The table of contents of the fused kernels: functions on arrays for what plain ops would do in many passes.

An op that has kernels has a composed twin in plain ops, which is its documentation and the oracle that the kernels are tested
against. `kernels(x)` is the engine that serves an array; `plain`, on the array's own module (NumPy or CuPy), has every kernel, and
is what a reader reads. Other engines have some of them: `engines` chooses the one for NumPy's arrays, `cuda` serves those of CuPy.
"""
from __future__ import annotations

from typing import Any

import numpy as np

_engines: dict[type, Any] = {}


def register_engine(array_type: type, engine: Any) -> None:
    """Let an engine, an object with kernels as attributes, serve the arrays of a type."""
    _engines[array_type] = engine


def kernels(x: Any) -> Any:
    """The engine that serves an array.

    Example:
        >>> import numpy as np
        >>> hasattr(kernels(np.ones(3)), "layer_norm")
        True
    """
    return _engines.get(type(x)) or _first(type(x))


def _first(array_type: type) -> Any:
    """The engine at the first use: `import tinygrad_ed` needs no kernels."""
    if array_type is np.ndarray:
        from . import engines
        engines.use(engines.default())
        return _engines[array_type]
    if issubclass(array_type, np.generic):            # what NumPy makes of arrays without dimensions
        return kernels(np.empty(0))
    from . import cuda
    register_engine(array_type, cuda)
    return cuda
