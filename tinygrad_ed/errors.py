"""The errors this package raises on purpose.

Each is also the exception that PyTorch and NumPy users would have caught in its place, so ported code keeps working.
"""
import numpy as np


class ShapeError(RuntimeError, ValueError):
    """Shapes that do not fit together."""


class DTypeError(RuntimeError, TypeError):
    """A dtype that the operation is not defined for."""


class DeviceError(RuntimeError):
    """A device that is missing, or arrays on two devices in one operation."""


class OutOfMemoryError(RuntimeError, MemoryError):
    """A device without the memory that is wanted; what was there before is unchanged.

    Example:
        >>> import tinygrad_ed as tg
        >>> try:
        ...     x = tg.ones(2, device="cuda" if tg.cuda.is_available() else "cpu")
        ... except tg.cuda.OutOfMemoryError:
        ...     tg.cuda.empty_cache()
    """


class CaptureError(RuntimeError):
    """A call that cannot be part of a step that is captured as a CUDA graph.

    Example:
        >>> import tinygrad_ed as tg
        >>> try:
        ...     tg.cuda.CUDAGraph().replay()
        ... except (tg.cuda.CaptureError, RuntimeError) as error:
        ...     reason = str(error)               # nothing was captured, or there is no CUDA device
    """


class InPlaceError(RuntimeError):
    """A write that would make a gradient wrong, or memory that cannot be written."""


class GraphError(RuntimeError):
    """A backward walk over a graph that is not there: nothing was recorded, or it has been freed."""


class DimError(IndexError):
    """A dimension number outside the tensor's dimensions."""


class IndexRangeError(IndexError, RuntimeError):
    """An index outside of the dimension that it points into."""


class LinAlgError(RuntimeError, np.linalg.LinAlgError):
    """A matrix that a factorization does not exist for: singular, not positive definite, or with NaNs."""


class DomainError(RuntimeError, ValueError):
    """A number outside of where the operation is defined: a negative standard deviation, a probability above 1."""
