"""Tensor: an array that remembers how it was computed.

Here are its attributes, its conversions and its place in Python and NumPy. Its mathematics (`x.exp()`, `x + y`,
`x[i]`) are the functions of `ops`, made methods in `ops/methods.py`; the backward walk is `autograd/engine.py`.
"""
from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtypes
from .backend import Device, device_of, is_array, to_device, to_numpy
from .errors import DeviceError, DTypeError, GraphError, ShapeError

if TYPE_CHECKING:
    from .autograd.inplace import View
    from .autograd.node import Extras, Node


class Tensor:
    """A multi-dimensional array with an automatic derivative.

    Args:
        data: an array, a tensor, a number or nested lists of numbers. An array is wrapped, not copied.
        requires_grad: whether gradients with respect to this tensor are wanted.

    Raises:
        DTypeError: a dtype that tensors do not have, or requires_grad on integers or booleans.
        TypeError: sizes instead of data, `Tensor(2, 3)`.

    Example:
        >>> x = Tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([2., 4.])
    """

    __slots__ = ("_data", "_grad", "_requires_grad", "_node", "_view", "_extras", "__weakref__")

    _data: Any                      # numpy.ndarray or cupy.ndarray
    _grad: "Tensor | None"
    _requires_grad: bool
    _node: "Node | None"            # the operation this tensor came from; None for a leaf
    _view: "View | None"            # the tensor whose memory this one shares, where it is a view
    _extras: "Extras | None"        # hooks of a leaf
    _grad_home: Any = None          # the array that a first gradient is copied into, where a Parameter has one; not copied with it

    def __init__(self, data: Any = ..., requires_grad: bool = False, *more: Any):
        if requires_grad is not False or more or data is ...:
            _refuse_sizes(data, requires_grad, more)
        self._data = as_array(data)
        self._grad = self._node = self._view = self._extras = None
        self._requires_grad = False
        if requires_grad:
            self.requires_grad = True

    if TYPE_CHECKING:               # the functions of ops/methods.py
        def __getattr__(self, name: str) -> Any: ...
        def __add__(self, other: Any) -> "Tensor": ...
        def __radd__(self, other: Any) -> "Tensor": ...
        def __sub__(self, other: Any) -> "Tensor": ...
        def __rsub__(self, other: Any) -> "Tensor": ...
        def __mul__(self, other: Any) -> "Tensor": ...
        def __rmul__(self, other: Any) -> "Tensor": ...
        def __truediv__(self, other: Any) -> "Tensor": ...
        def __rtruediv__(self, other: Any) -> "Tensor": ...
        def __pow__(self, other: Any) -> "Tensor": ...
        def __rpow__(self, other: Any) -> "Tensor": ...
        def __matmul__(self, other: Any) -> "Tensor": ...
        def __rmatmul__(self, other: Any) -> "Tensor": ...
        def __neg__(self) -> "Tensor": ...
        def __lt__(self, other: Any) -> "Tensor": ...
        def __gt__(self, other: Any) -> "Tensor": ...
        def __eq__(self, other: Any) -> "Tensor": ...  # type: ignore[override]
        def __ne__(self, other: Any) -> "Tensor": ...  # type: ignore[override]
        def __and__(self, other: Any) -> "Tensor": ...
        def __or__(self, other: Any) -> "Tensor": ...
        def __invert__(self) -> "Tensor": ...
        def __getitem__(self, index: Any) -> "Tensor": ...
        def __setitem__(self, index: Any, value: Any) -> None: ...

    # -- the array ---------------------------------------------------------------------------------------------------

    @property
    def data(self) -> Any:
        """The array itself, `numpy.ndarray` or `cupy.ndarray`. What is written into it is not recorded.

        Assigning replaces the array; PyTorch programs that read `.data` as a tensor write `.detach()` here.
        """
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        array = as_array(value)
        if self._requires_grad and array.dtype.kind not in dtypes.FLOATS:
            raise DTypeError(f"this tensor requires grad and cannot take {array.dtype} data; convert it to a float dtype first")
        if array is self._data:                       # `p.data -= step` has written into it
            from .autograd.inplace import stamp
            stamp(array)
        self._data = array

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of every dimension."""
        return self._data.shape

    @property
    def dtype(self) -> np.dtype:
        """The type of the elements."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._data.ndim

    @property
    def device(self) -> Device:
        """Where the array lies."""
        return device_of(self._data)

    @property
    def is_cuda(self) -> bool:
        """Whether the array lies on a CUDA device."""
        return self.device.type == "cuda"

    @property
    def is_cpu(self) -> bool:
        """Whether the array lies on the CPU."""
        return isinstance(self._data, np.ndarray)

    def get_device(self) -> int:
        """The number of the CUDA device, -1 on the CPU."""
        return -1 if self.is_cpu else self._data.device.id

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self._data.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._data.nbytes

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the length of one dimension."""
        return self.shape if dim is None else self.shape[normalize_dim(dim, self.ndim)]

    def dim(self) -> int:
        """The number of dimensions."""
        return self._data.ndim

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return self._data.size

    nelement = numel

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self._data.ctypes.data if self.is_cpu else self._data.data.ptr

    def element_size(self) -> int:
        """Bytes per element."""
        return self._data.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """Steps in elements from one index to the next, of every dimension or of one."""
        strides = tuple(step // self._data.itemsize for step in self._data.strides)
        return strides if dim is None else strides[normalize_dim(dim, self.ndim)]

    def is_contiguous(self) -> bool:
        """Whether the elements lie in memory in row-major order without gaps."""
        return bool(self._data.flags.c_contiguous)

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating point dtype."""
        return self._data.dtype.kind in dtypes.FLOATS

    # -- the graph ---------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Recompute the history of a view whose base has been written in place since it was taken."""
        if self._view is not None:
            self._view.refresh(self)

    @property
    def requires_grad(self) -> bool:
        """Whether gradients with respect to this tensor, or to what it was computed from, are wanted."""
        self._refresh()
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        value = bool(value)
        if value and self._data.dtype.kind not in dtypes.FLOATS:
            raise DTypeError(f"only floating point tensors can require grad, this one is {self.dtype}; write x.float().requires_grad_()")
        if not value and self.grad_fn is not None:
            raise GraphError(f"requires_grad of a tensor computed by {self._node!r} cannot be turned off; write x.detach()")
        self._requires_grad = value

    @property
    def grad_fn(self) -> "Node | None":
        """The recorded operation that computed this tensor; None for a leaf."""
        self._refresh()
        return self._node

    @property
    def is_leaf(self) -> bool:
        """Whether this tensor starts graphs: the user's own, not computed by a recorded operation."""
        return self.grad_fn is None

    @property
    def grad(self) -> "Tensor | None":
        """The accumulated gradient, of this tensor's shape, dtype and device; None before the first backward."""
        return self._grad

    @grad.setter
    def grad(self, value: "Tensor | None") -> None:
        if value is None or value is self._grad:
            self._grad = value
            return
        if not isinstance(value, Tensor):
            raise TypeError(f"a gradient is a Tensor or None, got {type(value).__name__}; write tinygrad_ed.tensor(value)")
        for what in ("shape", "dtype", "device"):
            mine, its = getattr(self, what), getattr(value, what)
            if mine != its:
                raise ShapeError(f"a gradient has its tensor's {what}: the tensor has {mine}, the gradient {its}")
        self._grad = value

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` was called on this tensor, which is not a leaf."""
        node = self.grad_fn
        return node is not None and node.extras is not None and node.extras.keeps(self)

    @property
    def _version(self) -> int:
        """How many recorded writes this tensor's memory has seen."""
        from .autograd.inplace import writes
        return writes(self._data)

    def requires_grad_(self, requires_grad: bool = True) -> "Tensor":
        """Set requires_grad in place and return the tensor."""
        self.requires_grad = requires_grad
        return self

    def backward(self, gradient: "Tensor | None" = None, retain_graph: bool | None = None, create_graph: bool = False,
                 inputs: Any = None) -> None:
        """Add d(self)/d(leaf) to `.grad` of every leaf that requires grad; see `autograd.backward`."""
        from .autograd.engine import backward
        backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def detach(self) -> "Tensor":
        """The same array as a leaf that requires no grad. Memory is shared."""
        return wrap(self._data)

    def detach_(self) -> "Tensor":
        """Cut this tensor from its graph in place."""
        if self._view is not None:
            raise GraphError("a view cannot be detached in place, since its base stays in the graph; write x = x.detach()")
        self._node, self._requires_grad = None, False
        return self

    def _notes(self) -> "Extras":
        """Where this tensor's hooks are kept: on its node, or on itself for a leaf."""
        from .autograd.node import Extras
        owner, name = (self, "_extras") if self.is_leaf else (self._node, "extras")
        if getattr(owner, name) is None:
            setattr(owner, name, Extras())
        return getattr(owner, name)

    def register_hook(self, hook: Callable[["Tensor"], Any]) -> Any:
        """Call hook(grad) when this tensor's gradient is known; a tensor that it returns replaces the gradient.

        Returns:
            A handle whose `remove()` takes the hook away.

        Raises:
            GraphError: this tensor does not require grad.
        """
        if not self.requires_grad:
            raise GraphError("a hook waits for a gradient, and this tensor does not require grad; write x.requires_grad_()")
        return self._notes().add_hook(hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[["Tensor"], None]) -> Any:
        """Call hook(tensor) after a backward has added to this leaf's `.grad`.

        Returns:
            A handle whose `remove()` takes the hook away.

        Raises:
            GraphError: not a leaf, or one that does not require grad.
        """
        if not self.is_leaf or not self.requires_grad:
            raise GraphError("gradients accumulate in leaves that require grad, and this tensor is none")
        return self._notes().add_post_hook(hook)

    def retain_grad(self) -> None:
        """Keep the gradient of this tensor, which is not a leaf, in `.grad`.

        Raises:
            GraphError: this tensor does not require grad.
        """
        if not self.requires_grad:
            raise GraphError("retain_grad() on a tensor that does not require grad; write x.requires_grad_() first")
        if not self.is_leaf:
            self._notes().retain(self)

    # -- conversions -------------------------------------------------------------------------------------------------

    def _plain(self, what: str) -> Any:
        if self.requires_grad:
            raise GraphError(f"{what} of a tensor that requires grad would lose its history; write x.detach().{what}")
        return self._data

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The values as a NumPy array that shares this tensor's memory (on the CPU).

        Args:
            force: also detach, and copy from a device.

        Raises:
            GraphError: the tensor requires grad (and not force).
            TypeError: the tensor is on a CUDA device (and not force).
        """
        if force:
            return to_numpy(self._data)
        array = self._plain("numpy()")
        if not isinstance(array, np.ndarray):
            raise TypeError(f"a tensor on {self.device} has no NumPy array; write x.cpu().numpy()")
        return array

    def item(self) -> Any:
        """The only element as a Python number.

        Raises:
            ShapeError: not exactly one element.
        """
        if self._data.size != 1:
            raise ShapeError(f"item() reads a tensor with one element, this one has shape {self.shape}; write x.tolist()")
        return self._data.item()

    def tolist(self) -> Any:
        """The elements as nested Python lists; a number for a 0-d tensor."""
        return self._data.tolist()

    def to(self, *args: Any, dtype: Any = None, device: Any = None, copy: bool = False, non_blocking: bool = False,
           memory_format: Any = None) -> "Tensor":
        """This tensor with another dtype, on another device, or both: `to(dtype)`, `to(device)`, `to(other)`.

        Args:
            args: a dtype, a device, a device and a dtype, or a tensor to be like; then, as in PyTorch, non_blocking and copy.
            dtype: the wanted dtype.
            device: the wanted device.
            copy: make a copy even where nothing changes.
            non_blocking: the host does not wait for a copy from page-locked memory (`pin_memory()`), nor for one to the CPU, which
                is complete after `cuda.synchronize()` only.
            memory_format: accepted as in PyTorch, without effect.

        Returns:
            The tensor itself where nothing changes, else a new one; the derivative passes through.
        """
        flags = [arg for arg in args if isinstance(arg, bool)]
        copy, non_blocking = copy or flags[1:] == [True], non_blocking or flags[:1] == [True]
        for arg in args[:len(args) - len(flags)]:
            if isinstance(arg, Tensor):
                dtype, device = arg.dtype, arg.device
            elif isinstance(arg, int):
                device = Device("cuda", arg)
            elif isinstance(arg, Device) or (isinstance(arg, str) and arg.partition(":")[0] in ("cpu", "cuda")):
                device = arg
            elif arg is not None:
                dtype = arg
        from .ops.convert import convert
        dtype = self.dtype if dtype is None else dtypes.canonical(dtype)
        device = self.device if device is None else Device(device)
        if not copy and dtype == self.dtype and device == self.device:
            return self
        return convert(self, dtype=dtype, device=device, non_blocking=non_blocking)

    def type_as(self, other: "Tensor") -> "Tensor":
        """This tensor with the dtype and on the device of another."""
        return self.to(other)

    def cpu(self) -> "Tensor":
        """This tensor on the CPU."""
        return self.to(device="cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> "Tensor":
        """This tensor on a CUDA device, the current one by default."""
        return self.to(device="cuda" if device is None else Device("cuda", device) if isinstance(device, int) else device, non_blocking=non_blocking)

    def pin_memory(self, device: Any = None) -> "Tensor":
        """This tensor, of the CPU, in page-locked memory, from which copies to a CUDA device are faster and need not be waited for.

        Returns:
            The tensor itself where it lies there already, else a copy without history.

        Raises:
            DeviceError: the tensor is on a CUDA device, or CUDA is not available.
        """
        from .backend import cuda
        cuda.module()
        if not self.is_cpu:
            raise DeviceError(f"only memory of the CPU can be pinned, this tensor is on {self.device}; write x.cpu().pin_memory()")
        if self.is_pinned():
            return self
        array = cuda.pinned(self.shape, self.dtype)
        array[...] = self._data
        return wrap(array)

    def is_pinned(self, device: Any = None) -> bool:
        """Whether this tensor lies in page-locked memory."""
        from .backend import cuda
        return cuda.is_pinned(self._data)

    # -- Python's and NumPy's protocols ------------------------------------------------------------------------------

    __hash__ = object.__hash__      # == compares elements, so a tensor is a key by its identity

    def __bool__(self) -> bool:
        if self._data.size != 1:
            raise ShapeError(f"the truth of a tensor of shape {self.shape} is ambiguous; write x.any() or x.all()")
        return bool(self._data.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self._data.dtype.kind in dtypes.FLOATS:
            raise TypeError(f"only an integer tensor is an index, this one is {self.dtype}; write x.long()")
        return int(self.item())

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("a 0-d tensor has no length")
        return self.shape[0]

    def __contains__(self, value: Any) -> bool:
        if not isinstance(value, (Tensor, int, float, np.generic)):
            raise TypeError(f"a tensor contains numbers, and {value!r} is none")
        found: Any = self == value
        return found.any().item()

    def __repr__(self) -> str:
        from .printing import tensor_str
        return tensor_str(self)

    def __format__(self, spec: str) -> str:
        if self.ndim == 0:
            return format(self.item(), spec)
        if spec:
            raise TypeError(f"the format {spec!r} is for a number, this tensor has shape {self.shape}; see set_printoptions")
        return repr(self)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        array = self.numpy()
        if dtype is None or array.dtype == dtype:
            return array.copy() if copy else array
        if copy is False:
            raise ValueError(f"a tensor of {self.dtype} cannot be an array of {np.dtype(dtype)} without a copy; leave copy=False out")
        return array.astype(dtype)

    def __dlpack__(self, **kwargs: Any) -> Any:
        if self.requires_grad:
            raise BufferError("a tensor that requires grad cannot be exported; write x.detach()")
        return self._data.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> Any:
        return self._data.__dlpack_device__()

    def _require_leaf(self, what: str) -> None:
        if not self.is_leaf:
            raise GraphError(f"{what} is for leaves: this tensor was computed by {self._node!r}; write x.detach() first")

    def _attributes(self) -> dict:
        """What a copy takes over of a subclass's own attributes."""
        return {name: value for name, value in getattr(self, "__dict__", {}).items() if name != "_grad_home"}

    def __reduce_ex__(self, protocol: Any) -> Any:
        self._require_leaf("pickling")
        return _rebuild, (type(self), to_numpy(self._data), self._requires_grad, self._attributes())

    def __deepcopy__(self, memo: dict) -> "Tensor":
        if id(self) not in memo:
            self._require_leaf("deepcopy")
            copy = memo[id(self)] = _rebuild(type(self), self._data.copy(), self._requires_grad, self._attributes())
            if self._grad is not None:
                copy._grad = wrap(self._grad._data.copy())
        return memo[id(self)]


def _refuse_sizes(data: Any, requires_grad: Any, more: tuple) -> None:
    """Raise for `Tensor()` and `Tensor(2, 3)`, which are tensors of those sizes in PyTorch, and data and a flag here."""
    if data is ... or more or not isinstance(requires_grad, (bool, np.bool_)):
        given = () if data is ... else (data, requires_grad, *more)
        sizes = ", ".join(map(repr, given)) if all(isinstance(n, int) for n in given) else "2, 3"
        raise TypeError(f"Tensor(data, requires_grad=False) wraps data and takes no sizes; write tinygrad_ed.empty({sizes or 0}) for a tensor of "
                        f"that shape, tinygrad_ed.tensor(...) for values")


def _rebuild(cls: Any, array: Any, requires_grad: bool, attributes: dict) -> Tensor:
    t = cls.__new__(cls)
    Tensor.__init__(t, array, requires_grad)
    if attributes:
        t.__dict__.update(attributes)
    return t


def wrap(array: Any) -> Tensor:
    """A leaf Tensor around an array, as it is."""
    t = Tensor.__new__(Tensor)
    t._data = array
    t._grad = t._node = t._view = t._extras = None
    t._requires_grad = False
    return t


def as_array(data: Any, dtype: Any = None, device: Any = None, copy: bool = False) -> Any:
    """The array that holds `data`: arrays and tensors as they are, numbers and nested lists converted.

    Python floats take the default dtype; NumPy's numbers and arrays keep theirs.

    Raises:
        DTypeError: a dtype that tensors do not have, what is no number, or a number that does not fit into the dtype.
        ShapeError: nested lists of unequal lengths, or a list of tensors with several elements.
    """
    if isinstance(data, Tensor):
        array = data._data
    elif is_array(data):
        array = data
    elif hasattr(data, "__array__") and not isinstance(data, np.generic):   # np.matrix, np.memmap, pandas…
        if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
            raise DTypeError("tensors have no mask, and this array hides some of its elements; write data.filled(0) or data.compressed()")
        array = np.asarray(data)
    elif hasattr(data, "__cuda_array_interface__"):
        from .backend import cuda
        array = cuda.module().asarray(data)
    elif hasattr(data, "__dlpack__"):
        array = np.from_dlpack(data)
    else:
        array, copy = _from_nested(data, dtype), False
    kept = dtypes.canonical(array.dtype if dtype is None else dtype)
    if copy:
        array = array.astype(kept)
    elif array.dtype is not kept:                     # equal, but another object: the memory can still be shared
        array = array.view(kept) if array.dtype == kept else array.astype(kept)
    return array if device is None else to_device(array, device)


def _from_nested(data: Any, dtype: Any) -> np.ndarray:
    """A new array of Python's or NumPy's numbers, single or in nested lists."""
    kinds = _kinds(data)
    if Tensor in kinds:
        kinds.remove(Tensor)
        data = _numbers(data)
    try:
        array = np.array(data)
    except ValueError as error:
        reason = str(error).partition("The requested array")[2]
        raise ShapeError(f"nested lists of unequal lengths do not make a tensor: it{reason}") from None
    wanted = None if dtype is None else dtypes.canonical(dtype)
    if kinds and kinds <= {int, bool, float} and array.dtype.kind not in ("f" if float in kinds else "bi"):     # an integer beyond int64
        if float not in kinds and (wanted is None or wanted.kind not in dtypes.FLOATS):
            raise DTypeError("an integer here does not fit into int64, from -2**63 to 2**63 - 1; write it as a float")
        array = np.array(data, np.float64)
    if array.dtype.kind not in "biufc":
        names = ", ".join(sorted(getattr(kind, "__name__", str(kind)) for kind in kinds))
        raise DTypeError(f"a tensor holds numbers and booleans, these elements are of type {names}")
    if wanted is not None:
        return _fitted(array, wanted)
    if array.dtype != np.float64:
        return array
    own = [kind for kind in kinds if getattr(kind, "kind", "") == "f"]
    if float in kinds or not own:                     # among NumPy's floats a Python float counts as one of the default dtype
        own.append(dtypes.get_default_dtype())
    return _fitted(array, max(own, key=lambda kind: kind.itemsize))


def _kinds(data: Any) -> set:
    """What nested lists are made of: Python's types, the dtypes of what has one, and Tensor if there are any."""
    if isinstance(data, (list, tuple)):
        kinds = set(map(type, data))
        if all(kind in (float, int, bool) or issubclass(kind, np.generic) for kind in kinds):
            return {np.dtype(kind) if issubclass(kind, np.generic) else kind for kind in kinds}
        return set().union(*map(_kinds, data))
    if isinstance(data, Tensor):
        return {Tensor, data.dtype}
    return {getattr(data, "dtype", None) or type(data)}


def _numbers(data: Any) -> Any:
    """Nested lists with the tensors in them replaced by numbers."""
    if isinstance(data, (list, tuple)):
        return [_numbers(x) for x in data]
    if not isinstance(data, Tensor):
        return data
    if data.requires_grad:
        warnings.warn("a tensor made from a list of tensors has their values without their history, and one of these requires grad; "
                      "write stack(list) to keep it, or x.detach()", stacklevel=2)
    if data.numel() != 1:
        raise ShapeError(f"a list of tensors makes a tensor if each has one element, this one has shape {data.shape}; write stack(list)")
    return to_numpy(data._data).reshape(())[()]


def _fitted(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array in another dtype; a number that an integer dtype cannot hold is an error, one too large for floats is infinite."""
    if dtype.kind in "iu" and array.dtype != dtype:
        limits = np.iinfo(dtype)
        outside = ~((array >= float(limits.min)) & (array <= float(limits.max)))
        if outside.any():
            raise DTypeError(f"{array[outside][0]} does not fit into {dtype}, from {limits.min} to {limits.max}")
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def normalize_dim(dim: int, ndim: int) -> int:
    """The dimension as a number in [0, ndim); a 0-d tensor has dimensions 0 and -1, as in PyTorch.

    Raises:
        DimError: a dimension outside the tensor.
    """
    limit = max(ndim, 1)
    if not -limit <= dim < limit:
        from .errors import DimError
        raise DimError(f"dimension {dim} is out of range: a tensor with {ndim} dimensions has {-limit} to {limit - 1}")
    return dim % limit
