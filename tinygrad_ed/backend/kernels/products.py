"""Products of matrices inside of kernels: NumPy's, and on a device those of the CUDA engine, which a captured step can contain as CuPy's cannot."""
from __future__ import annotations

from typing import Any

import numpy as np

from . import kernels

__all__ = ["product"]


def product(a: Any, b: Any, out: Any = None) -> Any:
    """a @ b, in `out` if there is one."""
    return np.matmul(a, b, out=out) if isinstance(a, np.ndarray) else kernels(a).matmul(a, b, out=out, add=False)
