"""Hooks of modules: functions that run before and after `forward`, and when the gradient passes through the module.

A backward hook sees the gradients at the module's boundary. With such a hook the module's inputs and outputs pass through
a gate each, a node of the graph that changes nothing and hands the gradients to the hooks on their way back.
"""
from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Callable, Sequence

from ..autograd.modes import state
from ..autograd.node import Handle, HookTable, Node, Parts, next_number, output_node
from ..errors import ShapeError
from ..tensor import Tensor, wrap

if TYPE_CHECKING:
    from .module import Module


class Hook:
    """A function and how it wants to be called."""

    __slots__ = ("function", "with_kwargs", "always_call")

    def __init__(self, function: Callable, with_kwargs: bool, always_call: bool):
        if not callable(function):
            raise TypeError(f"a hook is a function, got {type(function).__name__}")
        self.function, self.with_kwargs, self.always_call = function, with_kwargs, always_call

    def __call__(self, module: "Module", args: tuple, kwargs: dict, *result: Any) -> Any:
        return self.function(module, args, kwargs, *result) if self.with_kwargs else self.function(module, args, *result)


def add_hook(module: "Hooked", kind: str, function: Callable, prepend: bool = False, with_kwargs: bool = False,
             always_call: bool = False) -> Handle:
    """Append a hook of a kind to a module, or put it before the others."""
    hook = Hook(function, with_kwargs, always_call)
    table = module._hooks.setdefault(kind, HookTable())
    before = list(table)
    handle = table.add(hook)
    for key in before if prepend else ():
        table[key] = table.pop(key)
    return handle


def hooks_of(module: "Hooked", kind: str) -> list[Hook]:
    """A module's hooks of a kind, in the order in which they run."""
    return list(module._hooks.get(kind, {}).values())


def call(module: "Module", args: tuple, kwargs: dict) -> Any:
    """module.forward(*args, **kwargs) with all hooks around it."""
    after, done, result = hooks_of(module, "forward"), set(), None
    try:
        for hook in hooks_of(module, "forward_pre"):
            args, kwargs = _new_arguments(hook, hook(module, args, kwargs), args, kwargs)
        boundary = None
        if hooks_of(module, "backward") or hooks_of(module, "backward_pre"):
            boundary = _Boundary(module, len(args))
            args = boundary.enter(args)
        result = module.forward(*args, **kwargs)
        for hook in after:
            done.add(hook)
            changed = hook(module, args, kwargs, result)
            result = result if changed is None else changed
        return result if boundary is None else boundary.leave(result)
    except Exception:
        for hook in after:
            if hook.always_call and hook not in done:
                try:
                    changed = hook(module, args, kwargs, result)
                    result = result if changed is None else changed
                except Exception as error:
                    warnings.warn(f"a forward hook with always_call=True raised while another error was on its way: {error}", stacklevel=3)
        raise


def _new_arguments(hook: Hook, changed: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    if changed is None:
        return args, kwargs
    if not hook.with_kwargs:
        return (changed if isinstance(changed, tuple) else (changed,)), kwargs
    if isinstance(changed, tuple) and len(changed) == 2:
        return changed
    raise RuntimeError(f"a forward pre-hook with_kwargs returns None or (args, kwargs), got {changed!r}")


class Hooked:
    """The part of Module that takes hooks."""

    _hooks: dict[str, HookTable]    # by kind; empty for most modules, which makes a call fast

    def register_forward_pre_hook(self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False) -> Handle:
        """Call hook(module, args) before `forward`; what it returns replaces the arguments.

        Args:
            hook: the function; a single value that it returns stands for a tuple of one.
            prepend: whether it runs before the hooks that are there.
            with_kwargs: call hook(module, args, kwargs), which returns None or (args, kwargs).

        Returns:
            A handle whose `remove()` takes the hook away.
        """
        return add_hook(self, "forward_pre", hook, prepend, with_kwargs)

    def register_forward_hook(self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False,
                              always_call: bool = False) -> Handle:
        """Call hook(module, args, output) after `forward`; what it returns replaces the output.

        Args:
            hook: the function.
            prepend: whether it runs before the hooks that are there.
            with_kwargs: call hook(module, args, kwargs, output).
            always_call: run also when `forward` raises.

        Returns:
            A handle whose `remove()` takes the hook away.
        """
        return add_hook(self, "forward", hook, prepend, with_kwargs, always_call)

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call hook(module, grad_output) when the gradients of the outputs are known; what it returns replaces them.

        Args:
            hook: the function.
            prepend: whether it runs before the hooks that are there.

        Returns:
            A handle whose `remove()` takes the hook away.
        """
        return add_hook(self, "backward_pre", hook, prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call hook(module, grad_input, grad_output) when the gradients of the inputs are known; what it returns replaces grad_input.

        Args:
            hook: the function. Gradients of arguments that are no tensors, or need none, are None.
            prepend: whether it runs before the hooks that are there.

        Returns:
            A handle whose `remove()` takes the hook away.
        """
        return add_hook(self, "backward", hook, prepend)

    def register_state_dict_pre_hook(self, hook: Callable) -> Handle:
        """Call hook(module, prefix, keep_vars) before `state_dict` collects."""
        return add_hook(self, "state_dict_pre", hook)

    def register_state_dict_post_hook(self, hook: Callable) -> Handle:
        """Call hook(module, state_dict, prefix, local_metadata) after `state_dict` has collected; it may change the dict."""
        return add_hook(self, "state_dict_post", hook)

    def register_load_state_dict_pre_hook(self, hook: Callable) -> Handle:
        """Call hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs) before loading."""
        return add_hook(self, "load_state_dict_pre", hook)

    def register_load_state_dict_post_hook(self, hook: Callable) -> Handle:
        """Call hook(module, incompatible_keys) after loading; it may change the lists of keys to forgive some."""
        return add_hook(self, "load_state_dict_post", hook)


class _Boundary:
    """One call of a module with backward hooks: collects the gradients of its outputs, then those of its inputs."""

    def __init__(self, module: "Module", n_inputs: int):
        self.module, self.n_inputs = module, n_inputs
        self.has_gate = False                        # whether an input requires grad, so that its gradient will pass
        self.grad_output: tuple | None = None

    def enter(self, args: tuple) -> tuple:
        """The inputs, behind a gate."""
        gated = _gate(args, self.on_inputs)
        self.has_gate = gated is not None
        return args if gated is None else gated

    def leave(self, result: Any) -> Any:
        """The outputs, behind a gate."""
        if not isinstance(result, (Tensor, tuple)):
            warnings.warn(f"backward hooks see the gradients of a Tensor or a tuple of Tensors; {type(self.module).__name__} returned "
                          f"{type(result).__name__}, so they will not run", stacklevel=4)
            return result
        outputs = result if isinstance(result, tuple) else (result,)
        gated = _gate(outputs, self.on_outputs)
        if gated is None:
            return result
        return gated if isinstance(result, tuple) else gated[0]

    def on_outputs(self, grads: tuple) -> tuple:
        """The gradients have come back to the module's outputs."""
        for hook in hooks_of(self.module, "backward_pre"):
            grads = _replaced(grads, hook.function(self.module, grads), "backward pre-hook", "grad_output")
        self.grad_output = grads
        if not self.has_gate:
            self.on_inputs((None,) * self.n_inputs)
        return grads

    def on_inputs(self, grads: tuple) -> tuple:
        """The gradients have come back to the module's inputs."""
        if self.grad_output is None:                 # they came another way than through the outputs
            return grads
        for hook in hooks_of(self.module, "backward"):
            grads = _replaced(grads, hook.function(self.module, grads, self.grad_output), "backward hook", "grad_input")
        self.grad_output = None
        return grads


def _replaced(grads: tuple, new: Any, what: str, of: str) -> tuple:
    if new is None:
        return grads
    new = new if isinstance(new, tuple) else (new,)
    if len(new) != len(grads):
        raise RuntimeError(f"a {what} returns None or one gradient for each of {of}: {len(grads)} of them, got {len(new)}")
    for before, after in zip(grads, new):
        shapes = [None if g is None else g.shape for g in (before, after)]
        if after is not None and shapes[0] != shapes[1]:
            raise ShapeError(f"a {what} returns gradients of {of}'s shapes: expected {shapes[0]}, got {shapes[1]}")
    return new


class GateBackward(Node):
    """Hands the gradients of several tensors to a function, in `saved`, and what it returns on to where they came from."""

    __slots__ = ()
    op = "gate"

    def backward(self, g: Parts, add: Callable, revive: Callable | None) -> None:
        on_gradients, n = self.saved
        given = tuple(wrap(d) if (d := g.get(k)) is not None and not isinstance(d, Tensor) else d for k in range(n))
        for edge, d in zip(self.edges, on_gradients(given)):
            if edge is not None and d is not None:
                add(edge, d if revive is not None else d._data[...])   # a view: the engine must not write into an array it was lent


def _gate(values: Sequence, on_gradients: Callable) -> tuple | None:
    """The values, of which tensors that require grad pass through a gate; None if there is none."""
    if not state.recording or not any(isinstance(t, Tensor) and t.requires_grad for t in values):
        return None
    node = GateBackward()
    node.number, node.extras, node.saved = next_number(), None, (on_gradients, len(values))
    node.edges = tuple((t._node or t) if isinstance(t, Tensor) and t._requires_grad else None for t in values)
    gated = list(values)
    for k, edge in enumerate(node.edges):
        if edge is not None:
            gated[k] = wrap(values[k]._data)
            gated[k]._node, gated[k]._requires_grad = output_node(node, k), True
    return tuple(gated)
