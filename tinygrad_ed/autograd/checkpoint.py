"""checkpoint: keep the inputs of a part of the graph instead of its activations, and compute it again in backward."""
from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import Any, Callable, Iterator, Sequence

from ..errors import GraphError
from ..tensor import Tensor, wrap
from .engine import edge_of, walk
from .inplace import View
from .modes import enable_grad, state
from .node import Node, Parts, next_number, output_node

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential"]


class CheckpointError(GraphError):
    """A checkpointed function computed something else the second time."""


class CheckpointBackward(Node):
    """The whole of a checkpointed function, with an edge to everything it was computed from."""

    __slots__ = ()
    op = "checkpoint"
    retains = True

    def backward(self, g: Any, add: Callable, revive: Callable | None) -> None:
        run, hung, likes, _ = self.saved
        start = next_number()
        with enable_grad():
            outputs = _tensors(run())
        outputs = [outputs[i] for i in hung if i < len(outputs)]
        if [(t.shape, t.dtype) for t in outputs] != likes or set(_sources(outputs, start)) != set(self.edges):
            raise CheckpointError("a checkpointed function computed other outputs, or from other tensors, the second time than the first; "
                                  "it must do the same for the same arguments, and what it captures must not be written in between")
        parts = g if isinstance(g, Parts) else {0: g}
        found = walk([outputs[k] for k in parts], list(parts.values()), [_standing_for(edge) for edge in self.edges],
                     revive is not None, revive is not None, stop=True)
        for edge in self.edges:
            if edge in found:
                add(edge, found[edge])


def checkpoint(function: Callable, *args: Any, use_reentrant: bool | None = False, preserve_rng_state: bool = True,
               context_fn: Callable | None = None, determinism_check: str = "default", debug: bool = False, early_stop: bool = True,
               **kwargs: Any) -> Any:
    """function(*args, **kwargs), whose activations are not kept but computed again in backward: less memory, more time.

    Gradients reach tensors among the arguments and tensors that the function captures, such as parameters. The method is
    that of "Training Deep Nets with Sublinear Memory Cost", https://arxiv.org/abs/1604.06174.

    Args:
        function: computes a tensor, or tensors in tuples, lists and dicts. Its second run must do what the first did.
        args: its arguments.
        use_reentrant: accepted as in PyTorch; there is one way of doing it, with the properties of use_reentrant=False.
        preserve_rng_state: let the second run draw the random numbers of the first.
        context_fn: returns two context managers, for the first and the second run.
        determinism_check: accepted as in PyTorch; shapes, dtypes and sources of the outputs are always compared.
        debug: accepted as in PyTorch.
        early_stop: accepted as in PyTorch.
        kwargs: its keyword arguments.

    Returns:
        What the function returns.

    Raises:
        CheckpointError: in backward, when the second run computes something else.
        InPlaceError: in backward, when an argument or a parameter has been written in place since.

    Example:
        >>> import tinygrad_ed as tg
        >>> from tinygrad_ed.utils.checkpoint import checkpoint
        >>> x = tg.tensor([0.0], requires_grad=True)
        >>> checkpoint(lambda x: x.exp().sin(), x).backward()
        >>> x.grad
        tensor([0.5403])
    """
    first, second = context_fn() if context_fn is not None else (nullcontext(), nullcontext())
    if not state.recording:
        with first:
            return function(*args, **kwargs)
    given = _tensors((args, kwargs))
    for t in given:
        t._refresh()
    before = _generator_state() if preserve_rng_state else None
    node = CheckpointBackward()
    node.number, node.extras = next_number(), None      # whatever is written from here on, an argument too, is noticed
    with first:
        result = function(*args, **kwargs)

    def run() -> Any:
        with second, _generator(before):
            return function(*args, **kwargs)

    outputs = _tensors(result)
    hung = [i for i, t in enumerate(outputs) if not t.is_leaf and _inside(t, node)]
    if hung:
        hanging = [outputs[i] for i in hung]
        node.edges = tuple(_sources(hanging, node.number))
        leaves = [e for e in node.edges if isinstance(e, Tensor)]
        node.saved = (run, hung, [(t.shape, t.dtype) for t in hanging], [t._data for t in (*given, *leaves)])
        _hang(hanging, node)
    return result


def _tensors(value: Any) -> list[Tensor]:
    """The different tensors in nested tuples, lists and dicts, in order."""
    found: dict[Tensor, None] = {}
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, Tensor):
            found[value] = None
        elif isinstance(value, (tuple, list)):
            stack.extend(reversed(value))
        elif isinstance(value, dict):
            stack.extend(reversed(value.values()))
    return list(found)


def _sources(outputs: Sequence[Tensor], start: int) -> list:
    """The leaves, and the nodes recorded before `start`, that outputs were computed from."""
    found: dict = {}
    seen: set = set()
    stack = [edge_of(t) for t in outputs]
    while stack:
        edge = stack.pop()
        if edge is None or edge in seen:
            continue
        seen.add(edge)
        if isinstance(edge, Node) and edge.number > start:
            stack.extend(edge.edges)
        else:
            found[edge] = None
    return list(found)


def _standing_for(edge: Any) -> Tensor:
    """A tensor with this edge."""
    if isinstance(edge, Tensor):
        return edge
    t = wrap(None)
    t._node, t._requires_grad = edge, True
    return t


def _hang(outputs: list[Tensor], node: Node) -> None:
    """Let outputs come from `node` alone, so that nothing holds on to the graph inside."""
    bases = [t._view.base if t._view is not None and _inside(t._view.base, node) else None for t in outputs]
    for k, t in enumerate(outputs):
        t._node = node if len(outputs) == 1 else output_node(node, k)
    for t, base in zip(outputs, bases):
        if any(base is other for other in outputs):   # a view of another output stays one
            t._view.node = base._node                 # type: ignore[union-attr]
        elif base is not None:
            alone = sum(base is other for other in bases) == 1
            t._view = None if alone else View(wrap(base._data), lambda z: z, frozen="checkpoint returned several parts of one tensor")


def _inside(base: Tensor, node: Node) -> bool:
    """Whether a tensor was computed in the checkpointed function."""
    return base._node is not None and base._node.number > node.number


def _generator_state() -> Any:
    from ..ops.generator import get_rng_state
    return get_rng_state()


@contextmanager
def _generator(before: Any) -> Iterator[None]:
    """Draw the random numbers that followed an earlier state of the generator, then go on where it is now."""
    if before is None:
        yield
        return
    from ..ops.generator import fork_rng, set_rng_state
    with fork_rng():
        set_rng_state(before)
        yield


def checkpoint_sequential(functions: Any, segments: int, input: Any, use_reentrant: bool | None = False, **kwargs: Any) -> Any:
    """Run functions one after another, in segments that are checkpointed, all but the last.

    Args:
        functions: a Sequential module, or a list of functions or modules.
        segments: into how many segments they are cut, at least 1.
        input: what the first function is given.
        use_reentrant: as for `checkpoint`.
        kwargs: preserve_rng_state, as for `checkpoint`.

    Returns:
        What the last function returns.

    Raises:
        ValueError: fewer functions than segments, or no segment.
        TypeError: an unknown keyword argument.

    Example:
        >>> import tinygrad_ed as tg
        >>> from tinygrad_ed.utils.checkpoint import checkpoint_sequential
        >>> x = tg.tensor([1.0], requires_grad=True)
        >>> checkpoint_sequential([tg.square, tg.square, tg.square], 2, x).backward()
        >>> x.grad
        tensor([8.])
    """
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise TypeError(f"checkpoint_sequential takes no arguments {', '.join(kwargs)}")
    functions = list(functions.children()) if hasattr(functions, "children") else list(functions)
    if not 1 <= segments <= len(functions):
        raise ValueError(f"{len(functions)} functions cannot be cut into {segments} segments")

    def chain(start: int, end: int) -> Callable:
        def run(x: Any) -> Any:
            for function in functions[start:end]:
                x = function(x)
            return x
        return run

    size = len(functions) // segments
    last = size * (segments - 1)
    for start in range(0, last, size):
        input = checkpoint(chain(start, start + size), input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return chain(last, len(functions))(input)
