"""Writing into tensors: when it is safe, what it does to the graph, and how a wrong gradient is prevented.

Every write is stamped with a number from the counter that also numbers the nodes. A saved array is valid if the memory
it lies in has no stamp later than the node's number, so the check is one comparison and costs nothing where nobody
writes. A view remembers its base and how it was taken; a write through either gives both a new history.
"""
from __future__ import annotations

import weakref
from typing import Any, Callable

import numpy as np

from ..backend import is_array, namespace
from ..errors import GraphError, InPlaceError, ShapeError
from ..tensor import Tensor, wrap
from .modes import enable_grad, state
from .node import Node, next_number

_written: dict[int, list] = {}       # id of the array that owns the memory -> [weak reference, last stamp, count]
latest = 0                           # the last stamp of all


def _owner(array: Any) -> Any:
    while is_array(array.base):
        array = array.base
    return array


def stamp(array: Any) -> None:
    """Note that an array's memory has been written now."""
    global latest
    array = _owner(array)
    key = id(array)
    entry = _written.get(key)
    if entry is None:
        entry = _written[key] = [weakref.ref(array, lambda _, key=key: _written.pop(key, None)), 0, 0]
    latest = entry[1] = next_number()
    entry[2] += 1


def writes(array: Any) -> int:
    """How many times an array's memory has been stamped."""
    entry = _written.get(id(_owner(array)))
    return entry[2] if entry else 0


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


class View:
    """How a tensor's memory is a part of another's: the base, and the steps that lead from it to the view."""

    __slots__ = ("base", "base_node", "steps")

    def __init__(self, base: Tensor, step: Callable[[Any], Any]):
        outer = base._view
        self.base = base if outer is None else outer.base
        self.base_node = self.base._node
        self.steps = (step,) if outer is None else (*outer.steps, step)

    def replay(self, x: Any) -> Any:
        """The same part of another array or tensor of the base's shape."""
        for step in self.steps:
            x = step(x)
        return x

    def refresh(self, tensor: Tensor) -> None:
        """Give the view its new history if its base has been written in place since."""
        if self.base._node is not self.base_node:
            with enable_grad():
                again = self.replay(self.base)
            self.base_node = self.base._node
            tensor._node, tensor._requires_grad = again._node, again._requires_grad


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
    target._refresh()
    history = value if isinstance(value, Tensor) else None
    array = value._data if history is not None else value
    recorded = state.recording and (target._requires_grad or (history is not None and history._requires_grad))
    _check_writable(target, array, what, recorded)
    if recorded:
        from ..ops.convert import alias, expand_as
        if history is None:
            history = wrap(namespace(target._data).asarray(array, dtype=target.dtype))
        history = expand_as(history if fresh else alias(history), target).to(dtype=target.dtype)
        if target._view is not None:
            _rebase(target, history)
        else:
            target._node, target._requires_grad = history._node, history._requires_grad
    copy_into(target._data, array)
    stamp(target._data)
    return target


def _check_writable(target: Tensor, array: Any, what: str, recorded: bool) -> None:
    data = target._data
    shape = getattr(array, "shape", ())
    if shape != data.shape:
        try:
            fits = np.broadcast_shapes(shape, data.shape) == data.shape
        except ValueError:
            fits = False
        if not fits:
            raise ShapeError(f"{what} cannot write values of shape {shape} into a tensor of shape {data.shape}; in place the shape stays")
    kind, wanted = data.dtype.kind, getattr(getattr(array, "dtype", None), "kind", None)
    if wanted == "f" and kind != "f" and what != "copy_":
        raise InPlaceError(f"{what} cannot write {array.dtype} results into a tensor of {data.dtype}; write x = x.float() first, or make a new tensor")
    if any(step == 0 and n > 1 for step, n in zip(data.strides, data.shape)):
        raise InPlaceError(f"{what}: elements of this expanded tensor share memory and cannot be written one by one; write x = x.clone() first")
    if isinstance(data, np.ndarray) and not data.flags.writeable:
        raise InPlaceError(f"{what}: this tensor's memory is read-only; write x = x.clone() first")
    if recorded:
        base = target if target._view is None else target._view.base
        if base._node is None and base._requires_grad:
            kind_of = "a leaf" if base is target else "a view of a leaf"
            raise InPlaceError(f"{what} on {kind_of} that requires grad, shape {target.shape}: its value is where gradients start. "
                               f"To update a parameter write `with no_grad(): ...`; to compute with a changed value, write into x.clone()")


class WriteBackward(Node):
    """The base after a write: outside the written part its gradient goes on, inside it goes to the written value."""

    __slots__ = ()
    op = "write"

    def backward(self, g: Any, add: Callable, revive: Callable | None) -> None:
        from ..ops.elementwise import where
        from ..ops.convert import clone
        base, value = self.edges
        view, inside = self.saved
        if base is not None:
            add(base, where(inside, 0.0, g))
        if value is not None:
            add(value, clone(view.replay(g)))


def _rebase(target: Tensor, value: Tensor) -> None:
    """A write through a view: the base, and with it every view of it, gets a new history."""
    view = target._view
    base = view.base
    inside = namespace(base._data).zeros(base.shape, dtype=bool)
    view.replay(inside)[...] = True
    node = WriteBackward()
    node.number, node.extras = next_number(), None
    node.edges = (base._node if base._requires_grad else None, (value._node or value) if value._requires_grad else None)
    node.saved = (view, inside)
    base._node, base._requires_grad = node, True
    view.refresh(target)


def copy_into(out: Any, value: Any) -> None:
    """Copy elements into an array, converting the dtype."""
    if isinstance(out, np.ndarray):
        np.copyto(out, value, casting="unsafe")
    else:
        out[...] = value


def in_place(function: Callable, name: str) -> Callable:
    """The in-place form of an operation: x.add_(y) computes add(x, y), writes it into x and returns x."""
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        result = function(self, *args, **kwargs)
        if result.shape != self.shape:
            raise ShapeError(f"{name}: the result has shape {result.shape} and does not fit into {self.shape}; in place the shape stays. "
                             f"Write x = {name[:-1]}(x, ...) to make a new tensor")
        return write(self, result, name, fresh=True)
    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"In-place form of `{name[:-1]}`: the result overwrites this tensor, which is returned."
    return method
