"""The stand-in for `cupy.ndarray`: an array on a device, which NumPy must not touch and whose values the host must ask for.

The values are those of a NumPy array, `_host`. What CuPy refuses is refused, what it does silently wrong (indices outside, a race
between streams, equal indices in a write) raises, memory that nobody has written holds NaN.
"""
from __future__ import annotations

from functools import partial
from typing import Any, Callable

import numpy as np

from . import devices, tally
from .table import TABLE, check_arguments, has_loop

# The shape of what these return is not known before they have run, or they look at values.
WAITING = {"argwhere", "bincount", "compress", "extract", "flatnonzero", "histogram", "nonzero", "setdiff1d", "union1d", "unique"}
CUBLAS = {"matmul", "dot", "vdot", "inner", "tensordot", "einsum"}       # what calls that library
SCALARS = (bool, int, float, complex, np.generic)
NUMPY = "Unsupported type <class 'numpy.ndarray'>: arrays of NumPy do not mix with those on the device, in {}"


# -- from the device's arrays to NumPy's and back ------------------------------------------------------------------------

def host(value: Any, where: str) -> Any:
    """The value with NumPy arrays in place of device arrays, for NumPy to compute on."""
    if isinstance(value, ndarray):
        return value._read(where)
    if isinstance(value, np.ndarray):
        raise TypeError(NUMPY.format(where))
    if isinstance(value, (list, tuple)):
        return type(value)(*[host(v, where) for v in value]) if hasattr(value, "_fields") else type(value)([host(v, where) for v in value])
    return value


def fresh(array: Any, order: str = "C") -> "ndarray":
    """A device array in memory of its own with these values."""
    array = np.asarray(array)
    array = np.array(array, order=order) if array.base is not None or not (array.flags.c_contiguous or order == "K") else array
    return ndarray._wrap(array)


def result(array: Any, operands: Any, where: str, again: Callable[[], Any]) -> Any:
    """What a NumPy function returned, on the device: a view of the operand whose memory it shares, else the result of a kernel."""
    if isinstance(array, (tuple, list)):
        parts = [result(part, operands, where, lambda i=i: again()[i]) for i, part in enumerate(array)]
        return type(array)(*parts) if hasattr(array, "_fields") else type(array)(parts)
    if not isinstance(array, (np.ndarray, np.generic)):
        return array
    if isinstance(array, np.ndarray) and (array.size or where == "indexing" and array.base is not None):
        for operand in _arrays(operands):
            if array is operand._host or not array.size or np.may_share_memory(array, operand._host):
                return ndarray._view(array, operand)
    return launched(again, fresh(array), operands)


def launched(again: Callable[[], Any], y: "ndarray", operands: Any) -> "ndarray":
    """A new array that a kernel has made of the operands; `again` computes its values anew."""
    values = y._host
    tally.launched(lambda: np.copyto(values, again(), "unsafe"), list(_arrays(operands)), [y])
    return y


def _arrays(value: Any) -> Any:
    if isinstance(value, ndarray):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _arrays(part)


def compute(function: Callable, where: str, args: tuple, kwargs: dict) -> Any:
    """A function of NumPy as a kernel on device arrays."""
    if where in CUBLAS and tally.capturing.graph is not None:
        raise NotImplementedError(f"calling cuBLAS API during stream capture is currently unsupported: {where}")
    out = kwargs.get("out")
    again = partial(function, *host(args, where), **{key: host(value, where) for key, value in kwargs.items()})
    y = again()
    if out is None:
        return result(y, (*args, *kwargs.values()), where, again)
    for array in _arrays(out):
        array._wrote()
    tally.launched(again, list(_arrays((*args, *kwargs.values()))), list(_arrays(out)))
    return out[0] if isinstance(out, tuple) else out


def ufunc(section: str, name: str, function: Callable, args: tuple, kwargs: dict) -> Any:
    """A ufunc on device arrays: one kernel, into C-contiguous memory."""
    check_arguments(section, name, kwargs)
    for x in args:
        if not isinstance(x, (ndarray, *SCALARS)):
            raise TypeError(NUMPY.format(name) if isinstance(x, np.ndarray) else f"Unsupported type {type(x)} in {name}")
    nin = getattr(function, "nin", len(args))
    if not has_loop(section, name, tuple(getattr(x, "dtype", None) for x in args[:nin])):
        raise TypeError(f"Wrong type ({[str(getattr(x, 'dtype', type(x).__name__)) for x in args]}) of arguments for cupy_{name}")
    if len(args) > nin:
        args, kwargs = args[:nin], {**kwargs, "out": args[nin:]}
    if kwargs.get("where") is not None and kwargs.get("out") is None:
        kwargs["out"] = empty(np.broadcast_shapes(*[x.shape for x in _arrays(args)]), np.result_type(*[x.dtype for x in _arrays(args)]))
    return compute(function, name, args, kwargs)


class Flags:
    """The flags that device arrays have."""

    def __init__(self, array: np.ndarray, owndata: bool):
        self.c_contiguous, self.f_contiguous, self.owndata = array.flags.c_contiguous, array.flags.f_contiguous, owndata


class ndarray:
    """An array on a device."""

    __slots__ = ("_host", "_memory", "_base", "__weakref__")
    __array_priority__ = 100

    def __new__(cls, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None, order: str = "C") -> "ndarray":
        if memptr is None:
            return empty(shape, dtype, order)
        return cls._in(memptr.mem, np.ndarray(shape, dtype, memptr.mem.bytes, memptr.offset, strides), None)

    @classmethod
    def _in(cls, memory: Any, array: np.ndarray, base: "ndarray | None") -> "ndarray":
        self = object.__new__(cls)
        self._host, self._memory, self._base = array, memory, base
        return self

    @classmethod
    def _wrap(cls, array: np.ndarray) -> "ndarray":
        """Take over a NumPy array that nobody else has."""
        memory = devices.alloc(array.nbytes).mem
        memory.bytes = array.ravel(order="K").view(np.uint8) if array.ndim else array.reshape(1).view(np.uint8)
        self = cls._in(memory, array, None)
        self._wrote()
        return self

    @classmethod
    def _view(cls, array: np.ndarray, of: "ndarray") -> "ndarray":
        if not array.flags.writeable and 0 not in array.strides:              # NumPy's diagonals; on the device every view can be written
            start = array.ctypes.data - of._memory.bytes.ctypes.data
            array = np.ndarray(array.shape, array.dtype, of._memory.bytes, start, array.strides)
        return cls._in(of._memory, array, of if of._base is None else of._base)

    def _here(self, where: str) -> None:
        if self._memory.device_id != devices.current.device:
            raise ValueError(f"Array device must be same as the current device: array device = {self._memory.device_id} while current = "
                             f"{devices.current.device} in {where}")

    def _read(self, where: str) -> np.ndarray:
        self._here(where)
        self._memory.read(devices.get_current_stream(), where)
        return self._host

    def _wrote(self, stream: Any = None) -> None:
        self._memory.write(devices.get_current_stream() if stream is None else stream)

    # -- attributes --------------------------------------------------------------------------------------------------

    shape = property(lambda self: self._host.shape, lambda self, shape: setattr(self._host, "shape", shape))
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    strides = property(lambda self: self._host.strides)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    flags = property(lambda self: Flags(self._host, self._base is None))
    base = property(lambda self: self._base)
    device = property(lambda self: devices.Device(self._memory.device_id))
    T = property(lambda self: ndarray._view(self._host.T, self))
    mT = property(lambda self: ndarray._view(self._host.mT, self))
    real = property(lambda self: ndarray._view(self._host.real, self))

    @property
    def data(self) -> Any:
        """Where it begins."""
        memory = self._memory
        return devices.MemoryPointer(memory, self._host.ctypes.data - memory.bytes.ctypes.data if self.size else 0)

    # -- what needs the host to wait -----------------------------------------------------------------------------------

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        """The values as a NumPy array."""
        self._here("get()")
        if blocking:
            tally.waited("get()")
        if out is None:
            return self._host.copy(order)
        out[...] = self._host
        return out

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        """Copy a NumPy array of this shape and dtype here."""
        if arr.shape != self.shape or arr.dtype != self.dtype:
            raise ValueError(f"Shape mismatch. Got {arr.shape} {arr.dtype}, have {self.shape} {self.dtype}")
        self._here("set()")
        tally.copied("set()")
        self._host[...] = arr
        self._wrote(stream)

    def item(self) -> Any:
        """The only element."""
        tally.waited("item()")
        return self._host.item()

    def tolist(self) -> Any:
        """Nested lists."""
        tally.waited("tolist()")
        return self._host.tolist()

    def tobytes(self, order: str = "C") -> bytes:
        """The bytes."""
        tally.waited("tobytes()")
        return self._host.tobytes(order)

    def __bool__(self) -> bool:
        tally.waited("bool()")
        return bool(self._host)

    def __float__(self) -> float:
        tally.waited("float()")
        return float(self._host)

    def __int__(self) -> int:
        tally.waited("int()")
        return int(self._host)

    # -- NumPy's protocols, refused ------------------------------------------------------------------------------------

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly.")

    def __array_ufunc__(self, function: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "__call__" and any(isinstance(x, np.generic) for x in args) and not kwargs:      # an operator on NumPy's number
            return ufunc("cupy", function.__name__, function, args, kwargs)
        raise TypeError(f"numpy.{function.__name__} on an array on the device; write xp.{function.__name__}")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} on an array on the device; write xp.{function.__name__}")

    # -- indexing ------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self._host)))

    def _index(self, index: Any, masks_wait: bool) -> tuple:
        """The index for NumPy. Indices outside wrap around on the device, which here is an error."""
        parts = index if isinstance(index, tuple) else (index,)
        found = []
        for part in parts:
            if isinstance(part, (list, np.ndarray)):
                tally.copied("indexing by a list or NumPy's array")
                part = np.asarray(part) if len(part) else np.zeros(0, np.int64)
            elif isinstance(part, ndarray):
                part = part._read("an index")
            elif not isinstance(part, (int, np.integer, slice, type(None), type(Ellipsis))) or isinstance(part, bool):
                raise IndexError(f"cupy does not index by {type(part).__name__}")
            if isinstance(part, np.ndarray) and part.dtype == bool and masks_wait:
                tally.waited("indexing by a boolean mask")
            found.append(part)
        return tuple(found)

    def __getitem__(self, index: Any) -> "ndarray":
        values, index = self._read("indexing"), self._index(index, True)
        index = index if any(part is Ellipsis for part in index) else (*index, Ellipsis)          # an element is a view, too
        return result(np.asarray(values[index]), self, "indexing", lambda: values[index])

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, (np.ndarray, list, tuple)):
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill") if np.ndim(value) else TypeError(NUMPY.format("a write"))
        many, operands = isinstance(value, ndarray) and value.ndim > 0, list(_arrays((index, value)))
        index = self._index(index, many)
        value = host(value, "a write")
        self._here("a write")
        tally.launched(partial(self._host.__setitem__, index, value), operands, [self])
        self._host[index] = value
        self._wrote()
        if many and any(isinstance(i, np.ndarray) and i.dtype.kind in "iu" for i in index):
            wanted = np.broadcast_to(value, self._host[index].shape).astype(self.dtype)
            if not np.array_equal(self._host[index], wanted, equal_nan=self.dtype.kind == "f"):
                raise RuntimeError("a write of different values at equal indices: which one stays is not defined on the device")

    # -- methods -------------------------------------------------------------------------------------------------------

    def astype(self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None, copy: bool = True) -> "ndarray":
        """With another dtype."""
        if not copy and self.dtype == dtype:
            return self
        values = self._read("astype")
        return launched(lambda: values, fresh(values.astype(dtype), "K"), self)

    def copy(self, order: str = "C") -> "ndarray":
        """In memory of its own."""
        with devices.Device(self._memory.device_id) if self._memory.device_id != devices.current.device else _nothing:
            values, array = self._host, self._host.copy(order)
        return launched(lambda: values, fresh(array, order), self)

    def fill(self, value: Any) -> None:
        """Write one number everywhere."""
        self[...] = value

    def sort(self, axis: int = -1, kind: Any = None) -> None:
        """Sort in place."""
        tally.launched(partial(self._host.sort, axis), [self], [self])
        self._host.sort(axis)
        self._wrote()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in _METHODS:
            raise AttributeError(f"'cupy.ndarray' object has no attribute {name!r}")

        def method(*args: Any, **kwargs: Any) -> Any:
            check_arguments("ndarray", name, kwargs)
            if name in WAITING:
                tally.waited(f"{name}()")
            return compute(lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs), name, (self, *args), kwargs)
        return method

    def __repr__(self) -> str:
        return f"<device array {self.shape} {self.dtype}>"

    def __copy__(self) -> "ndarray":
        return self.copy()

    def __deepcopy__(self, memo: dict) -> "ndarray":
        return self.copy()

    __hash__ = None                                   # type: ignore[assignment]


class _Nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *error: Any) -> None: ...


_nothing: Any = _Nothing()
_METHODS = {name for name in TABLE["ndarray"] if callable(getattr(np.ndarray, name, None))}


def _operator(function: Any, name: str, swapped: bool = False, inplace: bool = False) -> Callable:
    def operator(self: ndarray, other: Any) -> Any:
        if hasattr(other, "_data") and not isinstance(other, ndarray):        # a Tensor has operators of its own
            return NotImplemented
        args = (other, self) if swapped else (self, other)
        return ufunc("cupy", name, function, args, {"out": self} if inplace else {})
    return operator


for _short, _name in {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide", "mod": "remainder",
                      "pow": "power", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift",
                      "rshift": "right_shift"}.items():
    setattr(ndarray, f"__{_short}__", _operator(getattr(np, _name), _name))
    setattr(ndarray, f"__r{_short}__", _operator(getattr(np, _name), _name, swapped=True))
    setattr(ndarray, f"__i{_short}__", _operator(getattr(np, _name), _name, inplace=True))
for _short, _name in {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal"}.items():
    setattr(ndarray, f"__{_short}__", _operator(getattr(np, _name), _name))
for _short, _name in {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}.items():
    setattr(ndarray, f"__{_short}__", lambda self, name=_name: ufunc("cupy", name, getattr(np, name), (self,), {}))


def _matmul(self: ndarray, other: Any) -> Any:
    return compute(np.matmul, "matmul", (self, other), {})


def _rmatmul(self: ndarray, other: Any) -> Any:
    return compute(np.matmul, "matmul", (other, self), {})


ndarray.__matmul__, ndarray.__rmatmul__ = _matmul, _rmatmul             # type: ignore[attr-defined]


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    """Memory with what was there before: NaN, and numbers that are no sensible index."""
    array = np.empty(shape, dtype, order)
    array.fill(np.nan if array.dtype.kind == "f" else 1 if array.dtype == bool else 0x5A)
    return ndarray._wrap(array)
