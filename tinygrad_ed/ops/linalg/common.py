"""What all of linear algebra checks, and how it calls LAPACK."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...backend import namespace
from ...errors import DTypeError, LinAlgError, ShapeError
from ...tensor import Tensor
from ..arguments import require_float
from ..matmul import column

FINITE = "look for NaNs and infinities where it was computed, with autograd.detect_anomaly() in backward"


def require_matrices(name: str, A: Any, square: bool = False) -> None:
    """Check that A is a matrix, or a stack of matrices, of a dtype that LAPACK computes in."""
    require_float(A, name)
    if A.dtype.itemsize < 4:
        raise DTypeError(f"{name} is not defined for {A.dtype}, whose precision is too low; write {name}(x.float())")
    if A.ndim < 2 or (square and A.shape[-1] != A.shape[-2]):
        raise ShapeError(f"{name} takes a {'square ' if square else ''}matrix or a stack of them, got shape {tuple(A.shape)}")


def lapack(routine: Callable, name: str, fix: str, *args: Any, **options: Any) -> Any:
    """routine(*args), with an error that says what to do where it gives up; a CUDA device is waited for to know that."""
    try:
        if not isinstance(args[0], np.ndarray):
            import cupyx
            with cupyx.errstate(linalg="raise"):
                return routine(*args, **options)
        if name in ("eigh", "eigvalsh", "pinv", "svd", "svdvals") and isinstance(args[0], np.ndarray) and not np.isfinite(args[0]).all():
            raise np.linalg.LinAlgError("the matrix is not finite")
        return routine(*args, **options)
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"{name} of shape {args[0].shape}: {str(error).lower()}; {fix}") from None


def identity(x: Any, dtype: Any = bool) -> Any:
    """The identity matrix of the size of x's last dimension, on x's device; of booleans it marks the diagonal."""
    array = x._data if isinstance(x, Tensor) else x
    return namespace(array).eye(x.shape[-1], dtype=dtype)


def number(x: Any) -> Any:
    """Numbers (…) as matrices (…, 1, 1)."""
    return column(column(x))
