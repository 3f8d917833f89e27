"""The backward walk: from a result back to the leaves, summing every gradient on the way.

Nodes are visited in descending order of their numbers (a heap holds those that have a gradient waiting), so a node runs
when everything computed from it has run. There is no recursion. A gradient's first contribution is kept by reference,
the second makes a new array, later ones add into that: an array borrowed from someone else is never written. Nothing
is added to any `.grad` before the whole walk has succeeded.

Weights are large and their gradients products of matrices, which formulas leave to the engine: it makes the first in the place
that an optimizer has for the gradient, and adds the next ones to it while it multiplies.
"""
from __future__ import annotations

import threading
import warnings
from heapq import heappop, heappush
from sys import getrefcount
from typing import Any, Callable, Iterable

import numpy as np

from ..backend import namespace
from ..backend.forks import open_after_fork
from ..backend.kernels import kernels
from ..errors import DeviceError, DTypeError, GraphError, ShapeError
from ..tensor import Tensor, wrap
from . import inplace
from .modes import record, state
from .node import Node, Parts


def backward(tensors: Any, grad_tensors: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
             inputs: Any = None) -> None:
    """Add the gradient of each leaf to its `.grad`: reverse accumulation of the vector-Jacobian product.

    Args:
        tensors: the tensor or tensors to differentiate.
        grad_tensors: the gradient arriving at each, of its shape; 1 for a tensor with one element.
        retain_graph: keep what the formulas need, so that backward can run again; `create_graph` by default.
        create_graph: record the gradients themselves, for higher derivatives.
        inputs: the tensors whose `.grad` is wanted; all leaves by default.

    Raises:
        GraphError: nothing to differentiate, or a graph that an earlier backward has freed.
        ShapeError: a gradient whose shape is not its tensor's, or none for a tensor with several elements.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> tg.autograd.backward((x ** 3).sum())
        >>> x.grad
        tensor([ 3., 12.])
    """
    roots = _sequence(tensors)
    seeds = _seeds(roots, grad_tensors, create_graph)
    wanted = None if inputs is None else _sequence(inputs)
    if wanted is not None:
        if not wanted:
            raise GraphError("inputs is empty; leave it out to collect the gradients of all leaves")
        _check_inputs(wanted)
    if create_graph:
        warnings.warn("backward(create_graph=True) makes every .grad a part of the graph, which then refers to itself and is freed "
                      "only by the garbage collector; use grad(..., create_graph=True), or set .grad to None after use", stacklevel=2)
    found = walk(roots, seeds, wanted, create_graph if retain_graph is None else retain_graph, create_graph)
    if state.leaves is not None:
        state.leaves.update(dict.fromkeys(found if wanted is None else wanted))
    _accumulate([(leaf, leaf) for leaf in found] if wanted is None else
                [(tensor, edge) for tensor in dict.fromkeys(wanted) if (edge := edge_of(tensor)) in found], found)


def grad(outputs: Any, inputs: Any, grad_outputs: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
         only_inputs: bool = True, allow_unused: bool | None = None, is_grads_batched: bool = False, materialize_grads: bool = False) -> tuple:
    """The gradients of outputs with respect to inputs, returned instead of accumulated.

    Args:
        outputs: the tensor or tensors to differentiate.
        inputs: the tensor or tensors, leaves or not, to differentiate with respect to.
        grad_outputs: the gradient arriving at each output; 1 for an output with one element.
        retain_graph: keep the graph for another walk; `create_graph` by default.
        create_graph: record the gradients themselves, for higher derivatives.
        only_inputs: accepted as in PyTorch; no other gradients are accumulated in any case.
        allow_unused: give None for an input that the outputs do not depend on, instead of an error.
        is_grads_batched: grad_outputs carry a leading batch dimension; the gradients then do too.
        materialize_grads: give zeros instead of None for unused inputs.

    Returns:
        A tuple with one gradient per input.

    Raises:
        GraphError: an unused input without allow_unused, an input that requires no grad, or a freed graph.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor(3.0, requires_grad=True)
        >>> dx, = tg.autograd.grad(x ** 2, x, create_graph=True)
        >>> tg.autograd.grad(dx, x)
        (tensor(2.),)
    """
    roots, wanted = _sequence(outputs), _sequence(inputs)
    if not only_inputs:
        warnings.warn("only_inputs=False is ignored, as in PyTorch; write loss.backward() to accumulate other gradients", FutureWarning, stacklevel=2)
    if allow_unused is None:
        allow_unused = materialize_grads
    elif materialize_grads and not allow_unused:
        raise ValueError("materialize_grads gives zeros for unused inputs, so allow_unused=False contradicts it")
    if is_grads_batched:
        return _batched_grad(roots, wanted, _sequence(grad_outputs), retain_graph, create_graph, allow_unused, materialize_grads)
    seeds = _seeds(roots, grad_outputs, create_graph)
    _check_inputs(wanted)
    found = walk(roots, seeds, wanted, create_graph if retain_graph is None else retain_graph, create_graph)
    results: list = []
    for i, tensor in enumerate(wanted):
        edge = edge_of(tensor)
        if edge in found:
            results.append(_own(found, edge))
        elif materialize_grads:
            results.append(wrap(namespace(tensor._data).zeros(tensor.shape, tensor.dtype)))
        elif allow_unused:
            results.append(None)
        else:
            raise GraphError(f"input {i} of shape {tensor.shape} is not used in the graph of the outputs; "
                             f"pass allow_unused=True to get None for it")
    return tuple(results)


def _batched_grad(roots: list, wanted: list, batches: list, retain_graph: Any, create_graph: bool, allow_unused: bool,
                  materialize_grads: bool) -> tuple:
    """One walk per entry of the batch."""
    from ..ops.join import stack
    n = batches[0].shape[0]
    if n == 0:
        return tuple(wrap(namespace(t._data).zeros((0, *t.shape), t.dtype)) for t in wanted)
    rows = [grad(roots, wanted, [b[k] for b in batches], retain_graph or create_graph or k < n - 1, create_graph, allow_unused=allow_unused,
                 materialize_grads=materialize_grads) for k in range(n)]
    return tuple(None if column[0] is None else stack(column) for column in zip(*rows))


def _sequence(tensors: Any) -> list:
    tensors = list(tensors) if isinstance(tensors, Iterable) and not isinstance(tensors, Tensor) else [tensors]
    for t in tensors:
        if not isinstance(t, Tensor):
            raise TypeError(f"expected tensors, got {type(t).__name__}")
    return tensors


def edge_of(tensor: Tensor) -> Any:
    """What a tensor was computed by: its node, or the tensor itself for a leaf."""
    tensor._refresh()
    return tensor._node or tensor


def _check_inputs(inputs: list) -> None:
    for i, t in enumerate(inputs):
        if not t.requires_grad:
            raise GraphError(f"input {i} of shape {t.shape} does not require grad; write x.requires_grad_() before computing with it")


def _seeds(roots: list, gradients: Any, create_graph: bool) -> list:
    """The gradient arriving at each root: a Tensor with create_graph, an array otherwise."""
    gradients = [None] * len(roots) if gradients is None else list(gradients) if isinstance(gradients, (list, tuple)) else [gradients]
    if len(gradients) != len(roots):
        raise GraphError(f"{len(roots)} tensors to differentiate, and {len(gradients)} gradients for them")
    seeds = []
    for root, g in zip(roots, gradients):
        if not root.requires_grad:
            raise GraphError("this tensor does not require grad and was not computed from one that does (or under no_grad); "
                             "write x.requires_grad_() before computing with x")
        if g is None:
            if root._data.size != 1:
                raise GraphError(f"a gradient is made up only for one element, this tensor has shape {root.shape}; "
                                 f"write y.sum().backward() or y.backward(gradient)")
            g = wrap(namespace(root._data).ones(root.shape, root.dtype))
        elif not isinstance(g, Tensor):
            raise TypeError(f"a gradient is a Tensor, got {type(g).__name__}; write tinygrad_ed.tensor(gradient)")
        if type(g._data) is not type(root._data):
            raise DeviceError(f"the gradient is on {g.device}, the tensor it belongs to on {root.device}; write gradient.to(y.device)")
        if g.shape != root.shape:
            raise ShapeError(f"the gradient has shape {g.shape}, the tensor it belongs to {root.shape}")
        if g.dtype != root.dtype:
            g = g.to(dtype=root.dtype)
        seeds.append(g if create_graph else g._data)
    return seeds


def walk(roots: list, seeds: list, wanted: list | None, retain_graph: bool, create_graph: bool, stop: bool = False) -> dict:
    """Carry the seeds back. Returns the gradients of the wanted tensors' edges, of all leaves if None, by edge.

    With stop=True the walk ends where something wanted is reached, and its hooks do not run: the caller hands those
    gradients on to another walk.
    """
    table: dict = {}                  # edge -> its gradient so far
    owned: set = set()                # edges whose gradient is a sum or a product made here, to which more may be added
    found: dict = {}                  # the results
    ahead: Any = None                 # one node in the table: in a chain of operations there are no more
    heap: list = []                   # (-number, node) for all others
    targets = None if wanted is None else {edge_of(t) for t in wanted}
    needed = None if targets is None else _leading_to(targets, roots, stop)

    def add(edge: Any, d: Any, factor: Any = None) -> None:
        nonlocal ahead
        if needed is not None and edge not in needed:
            return
        before = table.get(edge)
        if factor is not None:                        # what arrives is d @ factor
            if edge in owned:
                kernels(before).matmul(d, factor, out=before)
                return
            d = d @ factor if create_graph else multiplied(edge, before, d, factor)
        if before is None:
            table[edge] = d
            if isinstance(edge, Node):
                if ahead is None:
                    ahead = edge
                else:
                    heappush(heap, (-edge.number, edge))
        elif edge in owned:
            before += d
            table[edge] = before          # a 0-d sum may be a NumPy scalar, which += does not change
        else:
            table[edge] = before + d
            if not create_graph and type(d) is not Parts:
                owned.add(edge)

    def multiplied(edge: Any, before: Any, a: Any, b: Any) -> Any:
        place = None                                  # new memory
        if before is None:
            owned.add(edge)
            if wanted is None and isinstance(edge, Tensor) and edge._grad_home is not None:
                with _accumulating:
                    if _at_home(edge, a):
                        place = table[edge] = edge._grad_home            # which is in use from now on
        return kernels(a).matmul(a, b, place, False)

    revive = revived if create_graph else None
    node: Any = None
    hand = _watched(add, lambda: node) if state.anomaly else add
    recording = state.recording
    record(create_graph)
    try:
        for root, g in zip(roots, seeds):
            add(edge_of(root), g)
        while ahead is not None or heap:
            if heap and (ahead is None or -heap[0][0] > ahead.number):
                node = heappop(heap)[1]
            else:
                node, ahead = ahead, None
            if node.extras is not None and not (stop and node in targets):       # type: ignore[operator]
                table[node] = _run_hooks(node.extras, table[node])
            if targets is not None and node in targets:
                found[node] = table[node]
                if not needed[node]:                                             # type: ignore[index]
                    del table[node]
                    continue
            retains = node.retains
            if retains:
                if node.saved is None:
                    raise GraphError(f"backward through '{node.op}' a second time, after the first has freed what it saved; "
                                     f"write y.backward(retain_graph=True) the first time, or compute y again")
                if node.number < inplace.latest:
                    inplace.check_saved(node)
            node.backward(table.pop(node), hand, revive)     # which alone has the gradient now, and can let it go
            if retains and not retain_graph:
                node.saved = None
        for leaf, g in table.items():
            found[leaf] = g if leaf._extras is None or stop else _run_hooks(leaf._extras, g)
    except Exception as error:
        if state.anomaly and node is not None and _site(node) not in str(error):
            _note(error, f"in the backward of '{node.op}'; the forward call: {_site(node)}")
        raise
    finally:
        state.recording = recording
    return found


def _leading_to(targets: set, roots: list, stop: bool) -> dict:
    """The edges that lie on a way from the roots to a target, each with whether its own formulas are to run."""
    ends = targets if stop else ()
    reached, stack = set(), [edge_of(root) for root in roots]
    while stack:
        edge = stack.pop()
        if edge not in reached:
            reached.add(edge)
            if isinstance(edge, Node) and edge not in ends:
                stack.extend(e for e in edge.edges if e is not None)
    needed: dict = {edge: False for edge in targets if edge in reached}
    for node in sorted((e for e in reached if isinstance(e, Node) and e not in ends), key=lambda node: node.number):
        if any(edge in needed for edge in node.edges if edge is not None):
            needed[node] = True
    return needed


def revived(value: Any, edge: Any) -> Any:
    """A saved array as the Tensor it was, so that formulas run on it are recorded."""
    if not hasattr(value, "dtype"):
        return value                                  # a Python number, None
    if isinstance(edge, Tensor) and edge._data is value:
        return edge
    t = wrap(value)
    if edge is not None:
        t._requires_grad = True
        if isinstance(edge, Node):
            t._node = edge
        else:                                         # a leaf whose data has been replaced since
            from ..ops.convert import alias
            t._node = alias(edge)._node
    return t


def _run_hooks(extras: Any, g: Any) -> Any:
    """The gradient after the hooks, which work on a copy: what one of them writes reaches nobody else's array."""
    if extras.hooks:
        t = _copy(g)
        for hook in list(extras.hooks.values()):
            result = hook(t)
            if result is None:
                continue
            if not isinstance(result, Tensor):
                raise TypeError(f"a gradient hook returns None or a tensor, got {type(result).__name__}")
            if result.shape != t.shape:
                raise ShapeError(f"a gradient hook returned shape {result.shape} for a gradient of shape {t.shape}")
            if result.dtype != t.dtype:
                raise DTypeError(f"a gradient hook returned {result.dtype} for a {t.dtype} gradient; write return grad.to(x.dtype)")
            t = result
        g = t if isinstance(g, Tensor) else t._data
    for ref in extras.retainers:
        tensor = ref()
        if tensor is not None:
            _accumulate([(tensor, None)], {None: g})
    return g


def _copy(g: Any) -> Tensor:
    """A gradient, Tensor or array, as a Tensor with memory of its own."""
    if isinstance(g, Tensor):
        from ..ops.convert import clone
        return clone(g)
    return wrap(np.array(g, order="C") if isinstance(g, (np.ndarray, np.generic)) else g.copy())


def _references(found: dict, edge: Any) -> int:
    gradient = found[edge]
    return getrefcount(gradient)


_ONE_HOLDER = _references({0: np.zeros(1)}, 0)       # what CPython counts for an array that only the dict holds


def _own(found: dict, edge: Any) -> Tensor:
    """A gradient as a tensor whose memory nobody else holds: the array itself where only `found` refers to it, else a copy."""
    gradient = found[edge]
    if not isinstance(gradient, (Tensor, np.generic)) and gradient.base is None and _references(found, edge) == _ONE_HOLDER + 1:
        return wrap(gradient)
    return _copy(gradient)


class _Holder:
    def __init__(self) -> None:
        self._grad_home = np.empty(0)


def _home_references(tensor: Any) -> int:
    return getrefcount(tensor._grad_home)


_UNUSED = _home_references(_Holder()) + 1            # for a place that only the tensor and the optimizer know


def _at_home(tensor: Tensor, like: Any) -> bool:
    """Whether a gradient of a tensor's shape can lie in the place that the tensor has for it: it fits, and nobody uses what is there."""
    home = tensor._grad_home
    if home is None or type(like) is not type(home) or home.shape != tensor._data.shape \
            or like.dtype != home.dtype or (type(like) is not np.ndarray and like.device != home.device):
        return False
    del home
    return _home_references(tensor) <= _UNUSED


_accumulating = open_after_fork(threading.RLock())   # threads may share a parameter


def _accumulate(targets: list, found: dict) -> None:
    """tensor.grad += found[edge] for pairs of a tensor and an edge; what is written in place is written together."""
    for tensor, edge in targets:
        gradient = found[edge]
        if gradient.shape != tensor.shape:
            raise ShapeError(f"a formula gave a gradient of shape {gradient.shape} for a tensor of shape {tensor.shape}")
        if gradient.dtype != tensor.dtype:
            raise DTypeError(f"a formula gave a {gradient.dtype} gradient for a {tensor.dtype} tensor")
        del gradient
    coming, first, more = [], [], []                  # tensors whose gradient comes home, and pairs of a place and what is copied, or added, there
    with _accumulating:
        for tensor, edge in targets:
            before = tensor._grad
            if before is None:
                if found[edge] is tensor._grad_home:
                    coming.append(tensor)
                elif _at_home(tensor, found[edge]):
                    coming.append(tensor)
                    first.append((tensor._grad_home, found[edge]))
                else:
                    tensor._grad = _own(found, edge)
            elif isinstance(found[edge], Tensor) or before.requires_grad:
                tensor._grad = before + (found[edge] if isinstance(found[edge], Tensor) else wrap(np.asarray(found[edge])))
            else:
                more.append((before._data, found[edge]))
        if first:
            kernels(first[0][0]).collect(first)
        for tensor in coming:
            tensor._grad = wrap(tensor._grad_home)
        if more:
            kernels(more[0][0]).collect(more, add=True)
            inplace.stamp_all([place for place, _ in more])
    for tensor, _ in targets:
        if tensor._extras is not None:
            for hook in list(tensor._extras.post_hooks.values()):
                hook(tensor)


def _site(node: Node) -> str:
    return node.extras.site if node.extras is not None and node.extras.site else "somewhere outside detect_anomaly"


def _note(error: Exception, text: str) -> None:
    if hasattr(error, "add_note"):                   # Python 3.11
        error.add_note(text)
    else:
        warnings.warn(text, stacklevel=4)


def _watched(add: Callable, current: Callable[[], Node | None]) -> Callable:
    """add() with a check of every gradient that a node hands on."""
    def watched(edge: Any, d: Any, factor: Any = None) -> None:
        node = current()
        if factor is not None:
            d = d @ factor if isinstance(d, Tensor) else kernels(d).matmul(d, factor)
        if node is not None and state.check_nan and not isinstance(d, Parts):
            array = d._data if isinstance(d, Tensor) else d
            xp = namespace(array)
            bad = ~xp.isfinite(array)
            if bad.any():
                where = tuple(int(i[0]) for i in xp.nonzero(xp.atleast_1d(bad)))[:array.ndim]
                argument = next((i for i, e in enumerate(node.edges) if e is edge), "?")
                raise GraphError(f"the gradient of '{node.op}' with respect to its argument {argument} is {array[where]} at index {where} "
                                 f"(shape {array.shape}); the forward call: {_site(node)}")
        add(edge, d)
    return watched
