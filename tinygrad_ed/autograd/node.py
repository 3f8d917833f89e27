"""Node: one recorded operation. Edges run from node to node or to a leaf tensor, never to tensors in between."""
from __future__ import annotations

import itertools
import weakref
from typing import Any, Callable

next_number = itertools.count(1).__next__     # orders operations and writes in time; shared by all threads


class Node:
    """One recorded operation: what it was computed from, and what its formulas need.

    Every op has its own subclass with a `backward` that reads `saved`, runs the formulas and hands each argument's
    gradient to the engine. In PyTorch's words this is a tensor's `grad_fn`.
    """

    __slots__ = ("number", "edges", "saved", "extras")

    number: int                     # when it was recorded; the backward walk visits nodes in descending order
    edges: tuple                    # per tensor argument: the Node or leaf Tensor that it came from, None if no grad is wanted
    saved: Any                      # a tuple of arrays, shapes and options; None once freed
    extras: "Extras | None"         # hooks, and with detect_anomaly the line that made the node

    op = "op"                       # the operation's name
    retains = False                 # whether `saved` holds arrays, which are dropped once the node has run

    def backward(self, g: Any, add: Callable, revive: Callable | None) -> None:
        """Call add(edge, gradient) for every edge, given the gradient of this node's output."""
        raise NotImplementedError

    def name(self) -> str:
        """The operation's name, as PyTorch spells it."""
        return type(self).__name__

    @property
    def next_functions(self) -> tuple:
        """The nodes this one was computed from, as pairs with 0, in PyTorch's form; a leaf stands for itself."""
        return tuple((edge, 0) for edge in self.edges)

    def __repr__(self) -> str:
        return f"<{self.name()}>"


class Parts(dict):
    """The gradients of an operation with several outputs, by output number; they travel as one value."""

    base = None

    def __add__(self, other: "Parts") -> "Parts":
        return Parts({**self, **other, **{k: self[k] + other[k] for k in self.keys() & other.keys()}})


class OutputBackward(Node):
    """One output of an operation with several: hands its gradient on under its number, kept in `saved`."""

    __slots__ = ()

    @property
    def op(self) -> str:              # type: ignore[override]
        """The name of the operation that this is an output of."""
        return self.edges[0].op

    def name(self) -> str:
        """The operation's name, as PyTorch spells it."""
        return self.edges[0].name()

    def backward(self, g: Any, add: Callable, revive: Callable | None) -> None:
        add(self.edges[0], Parts({self.saved: g}))


def output_node(source: Node, k: int) -> Node:
    """The node of output number k of the operation `source`."""
    node = OutputBackward()
    node.number, node.edges, node.saved, node.extras = next_number(), (source,), k, None
    return node


class Handle:
    """Takes a hook away again: `handle.remove()`, or a `with` block around its use."""

    def __init__(self, hooks: dict, key: int):
        self._hooks, self._key = weakref.ref(hooks) if isinstance(hooks, HookTable) else (lambda: hooks), key

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        hooks = self._hooks()
        if hooks is not None:
            hooks.pop(self._key, None)

    def __getstate__(self) -> Any:
        return self._hooks(), self._key               # a copied or pickled handle belongs to the copied hooks

    def __setstate__(self, state: Any) -> None:
        self.__init__(*state)                         # type: ignore[misc]

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.remove()


class HookTable(dict):
    """Hooks in the order in which they were added."""

    __slots__ = ("__weakref__", "_next")

    def add(self, hook: Callable) -> Handle:
        """Append a hook."""
        if not callable(hook):
            raise TypeError(f"a hook is a function, got {type(hook).__name__}")
        key = self._next = getattr(self, "_next", -1) + 1
        self[key] = hook
        return Handle(self, key)


class Extras:
    """What few nodes and leaves have: hooks, tensors that retain their gradient, the line that made them."""

    __slots__ = ("hooks", "post_hooks", "retainers", "site")

    def __init__(self) -> None:
        self.hooks, self.post_hooks = HookTable(), HookTable()
        self.retainers: list[weakref.ref] = []
        self.site: str | None = None

    def add_hook(self, hook: Callable) -> Handle:
        """Add a hook on the gradient."""
        return self.hooks.add(hook)

    def add_post_hook(self, hook: Callable) -> Handle:
        """Add a hook that runs after the gradient has been accumulated."""
        return self.post_hooks.add(hook)

    def retain(self, tensor: Any) -> None:
        """Let a tensor keep its gradient in `.grad`."""
        if not self.keeps(tensor):
            self.retainers.append(weakref.ref(tensor))

    def keeps(self, tensor: Any) -> bool:
        """Whether a tensor keeps its gradient."""
        return any(ref() is tensor for ref in self.retainers)

    def release(self, tensor: Any) -> bool:
        """Let a tensor keep its gradient no longer; whether it did."""
        kept = self.keeps(tensor)
        self.retainers = [ref for ref in self.retainers if ref() is not tensor]
        return kept
