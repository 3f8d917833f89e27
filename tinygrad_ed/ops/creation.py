"""New tensors from data and from constants. Those like another tensor are in `like`, ranges in `ranges`, random ones in `random`."""
from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backend import CPU, Device, module_of, on
from ..dtypes import canonical, get_default_dtype
from ..errors import DTypeError, GraphError, ShapeError
from ..tensor import Tensor, as_array, wrap

__all__ = ["as_tensor", "asarray", "empty", "eye", "from_dlpack", "from_numpy", "full", "ones", "tensor", "zeros"]


# -- what all of them share --------------------------------------------------------------------------------------------

def shape_of(sizes: Sequence, size: Any = None) -> tuple[int, ...]:
    """The shape written as integers or as one tuple: `(2, 3)` of zeros(2, 3), zeros((2, 3)) and zeros(size=(2, 3)).

    Raises:
        TypeError: a size is missing or is no integer.
        ShapeError: a negative size.
    """
    if size is not None:
        sizes = (size,)
    if not sizes:
        raise TypeError("a size is missing; write (2, 3), or (()) for a tensor without dimensions")
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = sizes[0]
    shape = []
    for n in sizes:
        if isinstance(n, bool) or not hasattr(n, "__index__"):
            raise TypeError(f"sizes are integers, or one tuple of integers, got {n!r}")
        shape.append(operator.index(n))
        if shape[-1] < 0:
            raise ShapeError(f"sizes are at least 0, got {tuple(sizes)}")
    return tuple(shape)


def on_device(build: Callable[[Any], Any], device: Any) -> Any:
    """The array that `build` makes with the array module of a device, on that device; the CPU by default."""
    device = CPU if device is None else Device(device)
    if device.type == "cpu":
        return build(np)
    with on(device):
        return build(module_of(device))


def leaf(array: Any, requires_grad: bool) -> Tensor:
    """A new tensor around an array."""
    t = wrap(array)
    if requires_grad:
        t.requires_grad = True
    return t


def dtype_or_default(dtype: Any) -> np.dtype:
    """The dtype asked for, or the default floating point dtype."""
    return get_default_dtype() if dtype is None else canonical(dtype)


def number(value: Any, what: str) -> Any:
    """A Python number, given as one, as NumPy's, or as a 0-d tensor.

    Raises:
        TypeError: not a number.
        ShapeError: a tensor or array with dimensions.
        GraphError: a tensor that requires grad, whose history a number does not have.
    """
    if isinstance(value, (int, float)) and not isinstance(value, np.generic):
        return value
    if getattr(value, "ndim", None) is None:
        raise TypeError(f"{what} is a number, got {type(value).__name__}")
    if value.ndim:
        raise ShapeError(f"{what} is a number or a 0-d tensor, got shape {tuple(value.shape)}")
    if isinstance(value, Tensor) and value.requires_grad:
        raise GraphError(f"{what} is read as a number and would lose its history, and it requires grad; write value.detach()")
    return value.item()


# -- from data ---------------------------------------------------------------------------------------------------------

def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new leaf with a copy of the data.

    Args:
        data: a number, nested lists of numbers, an array, or a tensor (whose history is left behind).
        dtype: the data's by default; Python floats take the default dtype.
        device: the data's by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.

    Returns:
        A tensor of the data's shape.

    Raises:
        DTypeError: data that is no number, or does not fit into the dtype.
        ShapeError: nested lists of unequal lengths.
        DeviceError: a device that is not there; the message says why.

    Example:
        >>> tensor([[1.0, 2.0], [3.0, 4.0]])
        tensor([[1., 2.],
                [3., 4.]])
    """
    return leaf(as_array(data, dtype, device, copy=True), requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """The data as a tensor: a tensor itself, an array's own memory, otherwise a copy.

    Args:
        data: a number, nested lists of numbers, an array or a tensor.
        dtype: the data's by default.
        device: the data's by default.

    Returns:
        A tensor; one that was made from a tensor keeps its history.

    Raises:
        DTypeError: data that is no number, or does not fit into the dtype.

    Example:
        >>> import numpy as np
        >>> a = np.zeros(2)
        >>> x = as_tensor(a)
        >>> a[0] = 5
        >>> x
        tensor([5., 0.], dtype=float64)
    """
    if isinstance(data, Tensor):
        return data.to(dtype=dtype, device=device)
    return wrap(as_array(data, dtype, device))


def asarray(obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool | None = None) -> Tensor:
    """The data as a tensor, with a say in whether memory is shared.

    Args:
        obj: a number, nested lists of numbers, an array or a tensor.
        dtype: the data's by default.
        device: the data's by default.
        copy: True always copies, False never does, None copies where it must.
        requires_grad: the object's own by default.

    Returns:
        A tensor; one that was made from a tensor keeps its history.

    Raises:
        ValueError: copy=False, and the data must be copied.

    Example:
        >>> asarray([1, 2])
        tensor([1, 2])
    """
    if isinstance(obj, Tensor):
        result = obj.to(dtype=dtype, device=device, copy=bool(copy))
        shared = result is obj
    else:
        array = as_array(obj, dtype, device, copy=bool(copy))
        result, shared = wrap(array), array is obj or getattr(array, "base", None) is not None
    if copy is False and not shared:
        raise ValueError(f"copy=False, but {type(obj).__name__} of {getattr(obj, 'dtype', 'Python numbers')} cannot be "
                         f"{result.dtype} on {result.device} without a copy; leave copy out")
    if requires_grad is not None and requires_grad != result.requires_grad:
        result = leaf(result._data, requires_grad)
    return result


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor that shares an array's memory. What is written into one is seen in the other.

    Args:
        ndarray: a NumPy array; read-only ones make tensors that refuse in-place operations.

    Returns:
        A tensor of its shape and dtype.

    Raises:
        TypeError: not a NumPy array.
        DTypeError: a dtype that tensors do not have, or another byte order than the machine's.

    Example:
        >>> import numpy as np
        >>> from_numpy(np.arange(3))
        tensor([0, 1, 2])
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"from_numpy takes a NumPy array, got {type(ndarray).__name__}; write as_tensor(data)")
    canonical(ndarray.dtype)
    if not ndarray.dtype.isnative:
        raise DTypeError(f"{ndarray.dtype} has another byte order than this machine, so its memory cannot be shared; write tensor(array)")
    return wrap(as_array(ndarray))


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor that shares the memory of another library's array, by the DLPack protocol.

    Args:
        ext_tensor: an array with `__dlpack__`: of PyTorch, JAX, CuPy, NumPy…

    Returns:
        A tensor on the same device.

    Raises:
        TypeError: not such an array.
        DTypeError: a dtype that tensors do not have.

    Example:
        >>> import numpy as np
        >>> from_dlpack(np.arange(3))
        tensor([0, 1, 2])
    """
    if not hasattr(ext_tensor, "__dlpack_device__"):
        raise TypeError(f"from_dlpack takes an array with __dlpack__, got {type(ext_tensor).__name__}; write as_tensor(data)")
    cuda = ext_tensor.__dlpack_device__()[0] in (2, 13)     # kDLCUDA, kDLCUDAManaged
    try:
        array = module_of("cuda" if cuda else None).from_dlpack(ext_tensor)
    except RuntimeError as error:                     # NumPy's word for a dtype that it does not have
        raise DTypeError(f"from_dlpack: {error}") from None
    canonical(array.dtype)
    return wrap(as_array(array))


# -- constants ---------------------------------------------------------------------------------------------------------

def zeros(*sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros.

    Args:
        sizes: the shape, as integers or one tuple.
        size: the shape by keyword.
        dtype: the default dtype by default.
        device: the CPU by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.

    Returns:
        A tensor of the shape.

    Example:
        >>> zeros(2, 3)
        tensor([[0., 0., 0.],
                [0., 0., 0.]])
    """
    shape, dtype = shape_of(sizes, size), dtype_or_default(dtype)
    return leaf(on_device(lambda xp: xp.zeros(shape, dtype), device), requires_grad)


def ones(*sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones.

    Args:
        sizes: the shape, as integers or one tuple.
        size: the shape by keyword.
        dtype: the default dtype by default.
        device: the CPU by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.

    Returns:
        A tensor of the shape.

    Example:
        >>> ones(3)
        tensor([1., 1., 1.])
    """
    shape, dtype = shape_of(sizes, size), dtype_or_default(dtype)
    return leaf(on_device(lambda xp: xp.ones(shape, dtype), device), requires_grad)


def empty(*sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor whose elements are whatever its memory held.

    Args:
        sizes: the shape, as integers or one tuple.
        size: the shape by keyword.
        dtype: the default dtype by default.
        device: the CPU by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.

    Returns:
        A tensor of the shape.

    Example:
        >>> empty(2, 3).shape
        (2, 3)
    """
    shape, dtype = shape_of(sizes, size), dtype_or_default(dtype)
    return leaf(on_device(lambda xp: xp.empty(shape, dtype), device), requires_grad)


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with the same number everywhere.

    Args:
        size: the shape, a tuple.
        fill_value: a number or a 0-d tensor.
        dtype: that of the value by default: bool, int64, or the default dtype.
        device: the CPU by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.

    Returns:
        A tensor of the shape.

    Raises:
        DTypeError: the value does not fit into the dtype.

    Example:
        >>> full((2,), 3.5)
        tensor([3.5000, 3.5000])
    """
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"size is a tuple, got {size!r}; write full(({size!r},), value)")
    shape = shape_of((size,))
    if dtype is None and isinstance(fill_value, Tensor):
        dtype = fill_value.dtype
    value = as_array(number(fill_value, "fill_value"), dtype)
    return leaf(on_device(lambda xp: xp.full(shape, value.item(), value.dtype), device), requires_grad)


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A matrix with ones on the diagonal and zeros elsewhere.

    Args:
        n: the number of rows.
        m: the number of columns; n by default.
        dtype: the default dtype by default.
        device: the CPU by default.
        requires_grad: whether gradients with respect to the new tensor are wanted.

    Returns:
        A tensor of shape (n, m).

    Example:
        >>> eye(2)
        tensor([[1., 0.],
                [0., 1.]])
    """
    (rows, columns), dtype = shape_of((n, n if m is None else m)), dtype_or_default(dtype)
    return leaf(on_device(lambda xp: xp.eye(rows, columns, dtype=dtype), device), requires_grad)
