"""What the methods of second order share: all parameters as one vector, a closure that is called again and again, one state.

A method is a subclass with `_minimize`, which moves the vector downhill by calling the closure at new points. Its numbers and
vectors from step to step, its memory, are the state of the first parameter, as in PyTorch's LBFGS. The memory and the parameters
change together or not at all: whatever raises in between, the closure included, leaves both as they were.
"""
from __future__ import annotations

import math
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Sequence

import numpy as np

from ...autograd.engine import grad
from ...autograd.inplace import stamp
from ...autograd.modes import enable_grad
from ...backend import is_array, namespace, to_device
from ...errors import DeviceError, DomainError, GraphError, ShapeError
from ...tensor import Tensor, as_array, wrap
from ..optimizer import Optimizer, at_least

__all__ = ["Differentiable", "VectorOptimizer", "choose", "largest"]

Closure = Callable[[], Any]
Memory = dict[str, Any]


class VectorOptimizer(Optimizer):
    """The base class of the methods of second order; see the file's first lines.

    Args:
        params: the parameters, as for `Optimizer`. All are one vector, so all groups have the same options.
        defaults: the options.

    Raises:
        ValueError: a bad option, or groups with different options.

    Example:
        >>> import tinygrad_ed as tg
        >>> class Descent(VectorOptimizer):
        ...     def _minimize(self, closure, group, memory):
        ...         loss, value, g = self._evaluate(closure)
        ...         self._write(self._vector() - group["lr"] * g)
        ...         return loss
        >>> p = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> def closure():
        ...     p.grad = None
        ...     loss = (p * p).sum()
        ...     loss.backward()
        ...     return loss
        >>> Descent([p], {"lr": 0.25}).step(closure).item(), p.tolist()
        (5.0, [0.5, 1.0])
    """

    _whole = False                           # whether the vector also covers parameters that require no gradient
    _sized: tuple[str, ...] = ()             # what of the memory belongs to one set of parameters and is forgotten with it

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if self.param_groups and isinstance(param_group, dict):
            first = self.param_groups[0]
            for name in self.defaults:
                value = param_group.get(name, self.defaults[name])
                if value != first[name]:
                    raise ValueError(f"{type(self).__name__} moves all parameters as one vector, so its groups have the same options; this "
                                     f"one has {name}={value!r}, the first {first[name]!r}")
        super().add_param_group(param_group)

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        for name in ("tolerance_grad", "tolerance_change"):
            at_least(name, group.get(name), 0.0)
        for name in ("max_iter", "max_eval", "history_size"):
            value = group.get(name)
            if value is not None and (value != int(value) or value < 1):
                raise ValueError(f"{name} is an integer of at least 1, got {value}")
        if {"c1", "c2"} <= set(group) and not 0 < group["c1"] < group["c2"] < 1:
            raise ValueError(f"a line search needs 0 < c1 < c2 < 1, got c1={group['c1']}, c2={group['c2']}; write c1=1e-4, c2=0.9")

    # -- the step ----------------------------------------------------------------------------------------------------

    def step(self, closure: Closure | None = None) -> Any:
        """Move downhill, by up to max_iter iterations.

        Args:
            closure: computes the loss anew, as the class says; it is called several times.

        Returns:
            What the closure returned first: the loss at the start of the step.

        Raises:
            TypeError: no closure, or one that does not return the loss.
            DomainError: the loss or its gradient is not finite at the start. Nothing has been changed then.
        """
        args: tuple = (closure,)
        for hook in self._run("step_pre"):
            changed = hook(self, args, {})
            args = args if changed is None else changed[0]
        closure = args[0] if args else None
        if not callable(closure):
            raise TypeError(f"{type(self).__name__} evaluates the loss several times in a step and needs a function that computes it, got "
                            f"{type(closure).__name__}; write optimizer.step(closure)")
        self._check_device()
        start, memory = self._vector(), self._recall()
        try:
            with enable_grad():
                loss = self._minimize(closure, self.param_groups[0], memory)
        except BaseException:
            self._write(start)
            raise
        self.state[self._first()] = {name: _wrapped(value) for name, value in memory.items()}
        for hook in self._run("step_post"):
            hook(self, args, {})
        return loss

    def _minimize(self, closure: Closure, group: dict[str, Any], memory: Memory) -> Any:
        """Move the vector, keep in `memory` what the next step needs, and return what the closure returned first."""
        raise NotImplementedError(f"{type(self).__name__} has no _minimize(closure, group, memory)")

    # -- the memory --------------------------------------------------------------------------------------------------

    def _first(self) -> Tensor:
        return self.param_groups[0]["params"][0]

    def _recall(self) -> Memory:
        """The memory as arrays and numbers; without what belongs to another set of parameters."""
        memory = {name: _unwrapped(value) for name, value in self.state.get(self._first(), {}).items()}
        size = sum(p._data.size for p in self._members())
        if any(memory[name].shape[-1] != size for name in self._sized if is_array(memory.get(name))):
            memory = {name: value for name, value in memory.items() if name not in self._sized}
        memory.setdefault("func_evals", 0)
        memory.setdefault("n_iter", 0)
        return memory

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state and the options of a `state_dict`; see `Optimizer.load_state_dict`.

        Raises:
            ValueError: other numbers of groups or parameters, or the state of another kind of optimizer.
            ShapeError: vectors for another number of parameters. Nothing has been changed then.
        """
        for entries in state_dict.get("state", {}).values():
            if entries and "n_iter" not in entries:
                raise ValueError(f"{type(self).__name__} keeps n_iter, func_evals and more, the state_dict has {list(entries)}; it belongs to "
                                 f"another method")
        super().load_state_dict(state_dict)

    def _restored(self, name: str, value: Any, p: Tensor, what: str) -> Any:
        """A saved entry of the state; vectors and matrices take the vector's dtype."""
        if hasattr(value, "shape"):
            array = as_array(value.detach() if hasattr(value, "detach") else value)
            total = sum(p._data.size for group in self.param_groups for p in group["params"])
            if name in self._sized and array.ndim and (array.shape[-1] > total or self._whole and array.shape[-1] < total):
                raise ShapeError(f"{what} has shape {tuple(array.shape)}, the parameters have {total} elements; the state_dict belongs to "
                                 f"another model")
            return wrap(to_device(array.astype(self._dtype()), p.device))
        if isinstance(value, (list, tuple)):
            return [self._restored(name, v, p, what) for v in value]
        return value

    # -- the vector --------------------------------------------------------------------------------------------------

    def _members(self) -> list[Tensor]:
        """The parameters that the vector consists of."""
        return [p for group in self.param_groups for p in group["params"] if self._whole or p.requires_grad]

    def _dtype(self) -> np.dtype:
        """The vector's dtype: the widest of the parameters', and float32 at least."""
        return np.result_type(np.float32, *{p.dtype for group in self.param_groups for p in group["params"]})

    def _check_device(self) -> None:
        devices = sorted({str(p.device) for group in self.param_groups for p in group["params"]})
        if len(devices) > 1:
            raise DeviceError(f"{type(self).__name__} moves all parameters as one vector, and these are on {' and '.join(devices)}; move "
                              f"the model to one device")

    def _flat(self, arrays: Sequence[Any]) -> Any:
        """Arrays of the members' shapes as one new vector; None stands for zeros."""
        xp, dtype, members = namespace(self._first()._data), self._dtype(), self._members()
        if not members:
            return xp.zeros(0, dtype)
        return xp.concatenate([xp.zeros(p._data.size, dtype) if a is None else a.reshape(-1).astype(dtype, copy=False)
                               for p, a in zip(members, arrays)])

    def _vector(self) -> Any:
        """The parameters as one new vector."""
        return self._flat([p._data for p in self._members()])

    def _split(self, vector: Any) -> list[Tensor]:
        """A vector as tensors with the members' shapes and dtypes."""
        parts, start = [], 0
        for p in self._members():
            parts.append(wrap(vector[start:start + p._data.size].reshape(p.shape).astype(p.dtype, copy=False)))
            start += p._data.size
        return parts

    def _write(self, vector: Any) -> None:
        """Copy a vector into the parameters that move: those that require a gradient."""
        for p, part in zip(self._members(), self._split(vector)):
            if p.requires_grad:
                p._data[...] = part._data
                stamp(p._data)

    def _still(self, d: Any, reached: Sequence[bool]) -> Any:
        """A direction with zeros for the members that the loss did not reach, so that they stay exactly where they are."""
        start = 0
        for p, moves in zip(self._members(), reached):
            if not moves:
                d[start:start + p._data.size] = 0
            start += p._data.size
        return d

    # -- the closure -------------------------------------------------------------------------------------------------

    def _evaluate(self, closure: Closure) -> tuple[Any, float, Any]:
        """Call a closure that runs backward: what it returned, the value of the loss, and the gradient."""
        loss = closure()
        return loss, self._value(loss), self._flat([p._grad._data if p._grad is not None and p.requires_grad else None
                                                    for p in self._members()])

    def _differentiate(self, loss: Any) -> "Differentiable":
        """The gradient, with its graph, of the loss that a closure returned which leaves backward to the optimizer."""
        value = self._value(loss)                     # first, for its clear errors
        return Differentiable(self, loss, value, self._gradients(loss, create_graph=True))

    def _value(self, loss: Any) -> float:
        if isinstance(loss, Tensor) and loss._data.size != 1:
            raise ShapeError(f"the closure of {type(self).__name__} returns the loss, one number; it returned shape {loss.shape}; write "
                             f"loss.mean()")
        if loss is None:
            raise TypeError("the closure returned None; it must return the loss")
        return float(loss)

    def _gradients(self, y: Tensor, seed: Tensor | None = None, create_graph: bool = False, retain_graph: bool | None = None) -> list:
        """seedᵀ·dy/d(member) for every member; None where y does not depend on it."""
        members = self._members()
        if not isinstance(y, Tensor):
            raise TypeError(f"the closure of {type(self).__name__} returns a tensor with its graph, it returned {type(y).__name__}")
        if not y.requires_grad or not members:
            return [None] * len(members)
        try:
            return list(grad(y, members, seed, create_graph=create_graph, retain_graph=retain_graph, allow_unused=True))
        except GraphError as error:
            raise GraphError(f"{type(self).__name__} needs the graph of what the closure returns, and runs backward itself; leave "
                             f"backward() out of the closure ({error})") from error

    def _check_start(self, value: float, g: Any) -> None:
        """Refuse to start where the loss or the gradient is not finite."""
        if not math.isfinite(value):
            raise DomainError(f"the loss is {value} at the start of the step; nothing has been changed: look for the first non-finite "
                              f"value with tinygrad_ed.autograd.detect_anomaly()")
        if not bool(namespace(g).isfinite(g).all()):
            raise DomainError("the loss is finite at the start of the step, but its gradient is not; nothing has been changed: look for "
                              "the first non-finite value with tinygrad_ed.autograd.detect_anomaly()")


class Differentiable(NamedTuple):
    """A loss whose graph is alive: gradient and products with its second derivatives.

    Attributes:
        owner: the optimizer, which knows the parameters.
        loss: what the closure returned.
        value: the loss as a number.
        gradients: one per parameter, with their graph; None for zero.

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> f = VectorOptimizer([p], {})._differentiate((p ** 3).sum())
        >>> f.gradient(), f.product(f.gradient()), f.hessian()
        (array([ 3., 12.], dtype=float32), array([ 18., 144.], dtype=float32), array([[ 6.,  0.],
               [ 0., 12.]], dtype=float32))
    """

    owner: VectorOptimizer
    loss: Any
    value: float
    gradients: list

    def gradient(self) -> Any:
        """∇f as a vector."""
        return self.owner._flat([None if g is None else g._data for g in self.gradients])

    def product(self, v: Any) -> Any:
        """Hv, a backward walk through the backward walk: ∇(∇fᵀv)."""
        live = [(g, part) for g, part in zip(self.gradients, self.owner._split(v)) if g is not None and g.requires_grad]
        if not live:
            return namespace(v).zeros_like(v)
        found = grad([g for g, _ in live], self.owner._members(), [part for _, part in live], retain_graph=True, allow_unused=True)
        return self.owner._flat([None if h is None else h._data for h in found])

    def hessian(self) -> Any:
        """H, a row at a time, made symmetric."""
        g = self.gradient()
        xp = namespace(g)
        H = xp.stack([self.product(row) for row in xp.eye(len(g), dtype=g.dtype)])
        return (H + H.T) / 2


# -- small helpers -----------------------------------------------------------------------------------------------------

def largest(v: Any) -> float:
    """The largest absolute value, the maximum norm; 0 for an empty vector.

    Example:
        >>> largest(np.array([1.0, -3.0]))
        3.0
    """
    return float(abs(v).max()) if v.size else 0.0


def choose(name: str, value: Any, among: Iterable) -> None:
    """Check an option that is one of several names.

    Raises:
        ValueError: names the option, its value and the choices.

    Example:
        >>> choose("order", "cyclic", ["cyclic", "random"])
    """
    among = list(among)
    if value not in among:
        raise ValueError(f"{name} is one of {', '.join(map(repr, among))}, got {value!r}")


def _unwrapped(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value._data
    return [_unwrapped(v) for v in value] if isinstance(value, (list, tuple)) else value


def _wrapped(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if is_array(value):
        return wrap(value)
    return [_wrapped(v) for v in value] if isinstance(value, list) else value
