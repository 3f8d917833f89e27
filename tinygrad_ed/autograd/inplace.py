"""Writing into tensors: when it is safe, what it does to the graph, and how a wrong gradient is prevented.

Every write is stamped with a number from the counter that also numbers the nodes. A saved array is valid if the memory
it lies in has no stamp later than the node's number, so the check is one comparison and costs nothing where nobody
writes. A view remembers its base and how it was taken; a write through either gives both a new history.
"""
from __future__ import annotations

import threading
import weakref
from functools import partial
from typing import Any, Callable, Sequence

import numpy as np

from ..backend import is_array, namespace
from ..backend.forks import open_after_fork
from ..backend.memory import Memory
from ..dtypes import FLOATS, RANKS
from ..errors import GraphError, InPlaceError, ShapeError
from ..tensor import Tensor, as_array, wrap
from .modes import record, state
from .node import Node, next_number

_written: dict[int, list] = {}       # id of the array that owns the memory -> [weak reference, last stamp, count]
_stamping = open_after_fork(threading.Lock())
latest = 0                           # the last stamp of all


def _owner(array: Any) -> Any:
    base = array.base
    if base is None or type(base) is Memory:          # as almost always
        return array
    while (isinstance(base, np.ndarray) and not isinstance(base, Memory)) or is_array(base):
        array, base = base, base.base
    return array


def _forget(key: int, _: Any) -> None:
    _written.pop(key, None)


def stamp(array: Any) -> None:
    """Note that an array's memory has been written now."""
    stamp_all((array,))


def stamp_all(arrays: Sequence[Any]) -> None:
    """Note that these arrays' memory has been written now."""
    global latest
    with _stamping:
        latest = number = next_number()
        for array in arrays:
            array = _owner(array)
            key = id(array)
            entry = _written.get(key)
            if entry is None:
                entry = _written[key] = [weakref.ref(array, partial(_forget, key)), 0, 0]
            entry[1] = number
            entry[2] += 1


def writes(array: Any) -> int:
    """How many times an array's memory has been stamped."""
    entry = _written.get(id(_owner(array)))
    return entry[2] if entry else 0


def written_after(number: int) -> list[Any]:
    """The arrays that have been stamped since `latest` was that number, as weak references."""
    with _stamping:
        return [reference for reference, last, _ in _written.values() if last > number]


def check_saved(node: Node) -> None:
    """Refuse to run a node whose saved arrays have been written since it was recorded.

    Raises:
        InPlaceError: names the op, the shape and what to write instead.
    """
    stack = list(node.saved)
    while stack:
        value = stack.pop()
        if type(value) is tuple or type(value) is list:
            stack.extend(value)
        elif is_array(value):
            entry = _written.get(id(_owner(value)))
            if entry is not None and entry[1] > node.number:
                raise InPlaceError(
                    f"the derivative of '{node.op}' needs a value of shape {value.shape}, and an in-place operation has "
                    f"overwritten it since. Write into a copy (y = x.clone(); y.add_(1)), use the operation that makes a "
                    f"new tensor (x = x + 1), or write after backward()")


_WRITTEN = Node()                    # in the place of the base's node: the history is out of date


class View:
    """How a tensor's memory is a part of another's: the base, and the steps that lead from it to the view.

    Args:
        base: the tensor that the view was taken of, itself a view or not.
        step: the operation that took it.
        frozen: why no history can be computed for this view once it or its base has been written in place, if so.
    """

    __slots__ = ("base", "memory", "node", "steps", "frozen")
    base: Tensor
    steps: tuple[Callable, ...]

    def __init__(self, base: Tensor, step: Callable[[Any], Any], frozen: str = ""):
        outer = base._view
        self.base, self.steps = (base, ()) if outer is None else (outer.base, outer.steps)
        self.steps += (step,)
        frozen = frozen or (outer.frozen if outer is not None else "")
        self.memory, self.node = self.base._data, self.base._node
        self.frozen = frozen if state.recording else frozen or "it was taken under no_grad"

    def refresh(self, tensor: Tensor) -> None:
        """Give the view its new history if its base has been written in place since."""
        if self.base._data is not self.memory:         # base.data has been replaced: what is left is an ordinary tensor
            if self.node is _WRITTEN:
                raise InPlaceError("this view was written in place, and then its base was given other data; "
                                   "write into the base's new data, or write x = x.clone() before")
            tensor._view = None
        elif self.base._node is not self.node:
            self.check("its base has been written in place since")
            recording = state.recording
            record(True)
            try:
                again = _replay(self.steps, self.base)
            finally:
                state.recording = recording
            self.node = self.base._node
            _set_history(tensor, again._node, again._requires_grad)

    def check(self, what: str) -> None:
        """Raise an InPlaceError if no history can be computed for this view."""
        if self.frozen:
            raise InPlaceError(f"{what}, but this tensor is a view for which no history can be computed: {self.frozen}. "
                               f"Take the view where you write, or write x = x.clone() before")


def _replay(steps: Sequence[Callable], x: Any) -> Any:
    """The same part of another array or tensor of the base's shape."""
    for step in steps:
        x = step(x)
    return x


def _set_history(tensor: Tensor, node: Node | None, requires_grad: bool) -> None:
    """Let a tensor have been computed by `node`; retain_grad moves along, other hooks stay where they were put."""
    old, tensor._node, tensor._requires_grad = tensor._node, node, requires_grad
    if old is not None and old.extras is not None and old.extras.release(tensor) and node is not None:
        tensor._notes().retain(tensor)


def write(target: Tensor, value: Any, what: str, fresh: bool = False) -> Tensor:
    """Overwrite a tensor's elements with those of `value`, which may carry a history, and give it that history.

    Args:
        target: the tensor that is written.
        value: a tensor or array of the same shape, or one that broadcasts to it.
        what: the operation's name, for error messages.
        fresh: whether the value was computed for this write alone, so that the target may take over its node.

    Returns:
        The target.

    Raises:
        InPlaceError: a leaf that requires grad, or memory that cannot be written.
        ShapeError: the value does not broadcast to the target's shape.
    """
    if not isinstance(value, Tensor):
        value = wrap(as_array(value))
    elif value._view is not None:
        value._view.refresh(value)
    if target._view is not None:
        target._view.refresh(target)
    data, view = target._data, target._view
    recorded = state.recording and data.dtype.kind in FLOATS and (target._requires_grad or value._requires_grad
                                                               or (view is not None and view.base._requires_grad))
    _check_writable(target, value, what, recorded)
    if value._data.dtype is not data.dtype or type(value._data) is not type(data):
        value = value.to(dtype=data.dtype, device=target.device)
    if recorded:
        record_write(target, value, fresh)
    copy_into(data, value._data)
    stamp(data)
    return target


def record_write(target: Tensor, value: Tensor, fresh: bool = False) -> None:
    """Note in the graph that a tensor now holds `value`, with it the tensor it is a view of and all other views of that."""
    if value._requires_grad and value._data.shape != target._data.shape:
        from ..ops.broadcast import expand_to
        value, fresh = expand_to(value, shape=target.shape), True
    view = target._view
    if view is None and value._requires_grad:
        if not fresh or value._node is None:
            from ..ops.convert import alias
            value = alias(value)
        return _set_history(target, value._node, True)
    base = target if view is None else view.base
    node = WriteBackward()
    node.number, node.extras = next_number(), None
    node.edges = (base._node if base._requires_grad else None, (value._node or value) if value._requires_grad else None)
    node.saved = (() if view is None else view.steps, _memory_order(base._data))
    _set_history(base, node, True)
    if view is not None:
        view.node = _WRITTEN


def _check_writable(target: Tensor, value: Tensor, what: str, recorded: bool) -> None:
    data = target._data
    if value._data.shape != data.shape:
        try:
            fits = np.broadcast_shapes(value.shape, data.shape) == data.shape
        except ValueError:
            fits = False
        if not fits:
            raise ShapeError(f"{what} cannot write values of shape {value.shape} into a tensor of shape {data.shape}; "
                             f"in place the shape stays")
    if isinstance(data, np.ndarray) and not data.flags.writeable and 0 not in data.strides:
        raise InPlaceError(f"{what}: this tensor's memory is read-only; write x = x.clone() first")
    if not data.flags.c_contiguous and overlaps(data):
        raise InPlaceError(f"{what}: elements of this expanded or overlapping tensor share memory and cannot be written one by one; "
                           f"write x = x.clone() first")
    if recorded:
        check_recordable(target, what)


def check_recordable(target: Tensor, what: str) -> None:
    """Refuse a write that the graph has no place for.

    Raises:
        InPlaceError: a leaf that requires grad, a part of one, or a view without a history.
    """
    if target._view is not None:
        target._view.check(f"{what} writes in place")
    base = target if target._view is None else target._view.base
    if base._node is None and base._requires_grad:
        kind_of = "a leaf" if base is target else "a view of a leaf"
        raise InPlaceError(f"{what} on {kind_of} that requires grad, shape {target.shape}: its value is where gradients start. "
                           f"To update a parameter write `with no_grad(): ...`; to compute with a changed value, write into x.clone()")


def overlaps(array: Any) -> bool:
    """Whether two elements may share memory: some stride does not step over all that the smaller strides reach."""
    if array.size == 0:
        return False
    reach = array.itemsize - 1
    for stride, n in sorted((abs(stride), n) for stride, n in zip(array.strides, array.shape) if n != 1):
        if stride <= reach:
            return True
        reach += stride * (n - 1)
    return False


def _memory_order(array: Any) -> tuple[int, ...]:
    """The dimensions from the largest stride to the smallest."""
    if array.flags.c_contiguous:
        return tuple(range(array.ndim))
    return tuple(sorted(range(array.ndim), key=lambda i: -abs(array.strides[i])))


class WriteBackward(Node):
    """The base after a write: outside the written part its gradient goes on, inside it goes to the written value."""

    __slots__ = ()
    op = "write"

    def backward(self, g: Any, add: Callable, revive: Callable | None) -> None:
        from ..ops.convert import clone
        from ..ops.elementwise import where
        base, value = self.edges
        steps, order = self.saved
        if value is not None:
            add(value, clone(_replay(steps, g)))
        if base is not None and not steps:
            add(base, where(True, 0.0, g))
        elif base is not None:
            add(base, where(_inside(steps, order, g.shape, namespace(getattr(g, "_data", g))), 0.0, g))


def _inside(steps: Sequence[Callable], order: tuple[int, ...], shape: tuple[int, ...], xp: Any) -> Any:
    """Where the elements of the base lie that the steps lead to.

    The mask is laid out in memory as the base was, for a reshape to be a view of one where it was a view of the other.
    """
    inside = xp.zeros([shape[i] for i in order], dtype=bool).transpose([order.index(i) for i in range(len(order))])
    part = _replay(steps, inside)
    if part.size and not xp.may_share_memory(part, inside):
        raise GraphError("a write through a view cannot be differentiated: on a copy of its base the view's operations make a copy; "
                         "write into the base itself, or into x.contiguous()")
    part[...] = True
    return inside


def copy_into(out: Any, value: Any) -> None:
    """Copy elements into an array, converting the dtype."""
    if isinstance(out, np.ndarray):
        np.copyto(out, value, casting="unsafe")
    else:
        out[...] = value


def _preserve(data: Any, node: Node, start: int) -> None:
    """Give the nodes recorded since `start` copies of what they saved of an array that will now be overwritten."""
    seen, stack = set(), [node]
    while stack:
        node = stack.pop()
        if isinstance(node, Node) and node.number > start and node not in seen:
            seen.add(node)
            if node.retains:
                node.saved = _apart(node.saved, data)
            stack.extend(node.edges)


def _apart(value: Any, data: Any) -> Any:
    """The value, with the arrays in it that share memory with `data` replaced by copies."""
    if type(value) is tuple or type(value) is list:
        return type(value)([_apart(v, data) for v in value])
    if is_array(value) and _owner(value) is _owner(data) and namespace(data).may_share_memory(value, data):
        return value.copy()
    return value


def in_place(function: Callable, name: str) -> Callable:
    """The in-place form of an operation: x.add_(y) computes add(x, y), writes it into x and returns x."""
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        start = next_number()
        result = function(self, *args, **kwargs)
        if result.shape != self.shape:
            raise ShapeError(f"{name}: the result has shape {result.shape} and does not fit into {self.shape}; in place the shape stays. "
                             f"Write x = {name[:-1]}(x, ...) to make a new tensor")
        if RANKS[result.dtype.kind] > RANKS[self.dtype.kind]:
            raise InPlaceError(f"{name} cannot write {result.dtype} results into a tensor of {self.dtype}; "
                               f"write x = {name[:-1]}(x, ...) to make a new tensor, or convert x first")
        if result._node is not None:
            _preserve(self._data, result._node, start)
        return write(self, result, name, fresh=True)
    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"In-place form of `{name[:-1]}`: the result overwrites this tensor, which is returned."
    return method
