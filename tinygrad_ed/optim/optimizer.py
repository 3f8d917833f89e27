"""Optimizer: what all methods share. Groups of parameters with their options, the state of each parameter, saving and loading.

A method is a subclass that names the entries of its state and has `_update`, its formula on arrays. The base class hands it the
parameters of a group as one flat array wherever it can (see `flat`).
"""
from __future__ import annotations

import math
from collections import defaultdict
from copy import deepcopy
from typing import Any, Callable, Iterable, Iterator, Mapping

import numpy as np

from ..autograd.inplace import stamp_all
from ..autograd.modes import enable_grad, no_grad
from ..autograd.node import Handle, HookTable
from ..backend import capture, namespace, to_device
from ..backend.kernels import kernels
from ..dtypes import FLOATS
from ..errors import CaptureError, InPlaceError, ShapeError
from ..nn.parameter import clear_gradients
from ..tensor import Tensor, as_array, wrap
from .flat import Flat, Piece

__all__ = ["Optimizer"]


class Optimizer:
    """The base class of all optimizers.

    Args:
        params: the parameters, or pairs of names and parameters, or dicts with "params" and options of their own.
        defaults: the options of groups that do not give their own.

    Raises:
        ValueError: no parameters, one that comes twice, one that is not a leaf, or a bad option.
        TypeError: something that is not a Tensor, or a set, whose order changes from run to run.

    Example:
        >>> import tinygrad_ed as tg
        >>> class Descent(Optimizer):
        ...     def _update(self, group, x):
        ...         x.p -= group["lr"] * x.g
        >>> p = tg.tensor(1.0, requires_grad=True)
        >>> (p * p).backward()
        >>> Descent([p], {"lr": 0.1}).step()
        >>> round(p.item(), 3)
        0.8
    """

    _like_parameter: tuple[str, ...] = ()    # entries of the state that have their parameter's shape
    _numbers: Mapping[str, float] = {}       # entries that are one number, each with its first value
    _elementwise = True                      # whether the formula treats every element alike, whichever parameter it belongs to
    _blocks = True                           # whether it is then applied to a block of elements at a time; a kernel takes its own
    _skip: Any = None                        # during a step that may be left out, the array on the device that says so
    _not_negative: tuple[str, ...] = ("lr", "eps", "momentum", "weight_decay")      # options of the groups, where there are such

    def __init__(self, params: Iterable, defaults: dict[str, Any]):
        if isinstance(params, Tensor):
            raise TypeError(f"an optimizer takes several parameters, got one Tensor of shape {params.shape}; write [parameter]")
        groups = _ordered(params)
        if not groups:
            raise ValueError("an optimizer needs parameters and got none; a generator such as model.parameters() is empty after its first "
                             "use, so write model.parameters() anew, or list(...) of it")
        self.defaults = defaults
        self.state: dict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._hooks: dict[str, HookTable] = {}
        self._flats: dict[int, list[Flat]] = {}
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take more parameters, with options of their own.

        Args:
            param_group: a dict with "params" and any options; the defaults fill in the rest.

        Raises:
            ValueError: a parameter that comes twice or is not a leaf, names for only some, or a bad option.
            TypeError: not a dict, or something that is not a Tensor.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f'a parameter group is a dict {{"params": [...], "lr": ...}}, got {type(param_group).__name__}')
        if "params" not in param_group:
            raise ValueError(f'a parameter group has its parameters under "params", got only {sorted(map(str, param_group))}')
        given = param_group["params"]
        entries = [given] if isinstance(given, Tensor) else _ordered(given)
        named = [isinstance(entry, tuple) for entry in entries]
        if any(named) and not all(named):
            raise ValueError("either all parameters of a group have names or none; write model.named_parameters() or model.parameters()")
        group = {**self.defaults, **param_group, "params": [entry[1] if isinstance(entry, tuple) else entry for entry in entries]}
        if named and all(named):
            group["param_names"] = [entry[0] for entry in entries]
        known = {p for other in self.param_groups for p in other["params"]}
        for i, p in enumerate(group["params"]):
            self._check_parameter(i, p)
            if p in known:
                raise ValueError(f"parameter {i}, of shape {p.shape}, comes twice; each parameter belongs to one group, once")
            known.add(p)
        if self.param_groups and ("param_names" in group) != ("param_names" in self.param_groups[0]):
            raise ValueError("either all groups have names or none; write named_parameters() in all of them")
        self._check_options(group)
        self.param_groups.append(group)

    def _check_parameter(self, i: int, p: Any) -> None:
        if not isinstance(p, Tensor):
            raise TypeError(f"an optimizer takes Tensors, parameter {i} is {type(p).__name__}; write model.parameters()")
        if not p.is_leaf:
            raise ValueError(f"parameter {i}, of shape {p.shape}, was computed by {p.grad_fn!r}; only leaves can be optimized: optimize "
                             f"what it was computed from, or write nn.Parameter(x.detach())")
        if isinstance(p._data, np.ndarray) and not p._data.flags.writeable:
            raise InPlaceError(f"parameter {i}, of shape {p.shape}, lies in read-only memory; write p.data = p.data.copy()")

    def _check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError for an option outside its range; extended by the methods."""
        for option in self._not_negative:
            at_least(option, group.get(option), 0.0)
        in_unit_interval("betas", group.get("betas", ()))
        if group.get("differentiable"):
            raise ValueError("steps are not recorded, so differentiable=True cannot be kept; write the step in tensors: p = p - lr * g")
        if group.get("fused") and group.get("foreach"):
            raise RuntimeError("fused=True and foreach=True name two implementations; write one of them, or none")

    # -- the step ----------------------------------------------------------------------------------------------------

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or overwrite them with zeros."""
        for group in self.param_groups:
            clear_gradients(group["params"], set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient.

        Args:
            closure: computes the loss and its gradients anew; called first, while operations are recorded.

        Returns:
            What the closure returns.
        """
        args: tuple = (closure,)
        for hook in self._run("step_pre"):
            changed = hook(self, args, {})
            args = args if changed is None else changed[0]
        closure = args[0] if args else None
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for i, group in enumerate(self.param_groups):
                self._step_group(i, group)
        for hook in self._run("step_post"):
            hook(self, args, {})
        return loss

    def _step_group(self, i: int, group: dict[str, Any]) -> None:
        """Write the new values of a group's parameters that have a gradient into their arrays."""
        recording = capture.active()
        for piece in self._pieces(i, group):
            piece.skip = self._skip
            if recording is not None:
                self._check_recorded(recording, group, piece)
            if piece.counts:
                piece.rates = self._counted_rates(group, piece, float(group["lr"]) if recording is None else _recorded_lr(recording, group))
            elif recording is None:
                piece.rates = self._next_rates(group, piece.numbers)
            else:
                piece.rates = self._recorded_rates(recording, group, piece)
            for block in piece.blocks() if self._elementwise and self._blocks else (piece,):
                self._update(group, block)
        stamp_all([p._data for p in group["params"] if p._grad is not None])

    def _pieces(self, i: int, group: dict[str, Any]) -> Iterator[Piece]:
        """What is stepped at once; the numbers that a piece has when the next is asked for are kept."""
        entries = {name: self._start(group, name) for name in self._entries(group)}
        for flat in self._flats_of(i, group["params"]):
            yield from flat.pieces(self.state, self._numbers, entries, each=not self._elementwise, there=self._skip is not None)

    def _flats_of(self, i: int, params: list) -> list[Flat]:
        """The flat memories of group number i: one for each dtype and device."""
        found = self._flats.setdefault(i, [])
        if len(found) == 1 and found[0].fits(params):      # nearly always
            return found
        kinds: dict[Any, list] = {}
        for p in params:
            kinds.setdefault((p._data.dtype, type(p._data)), []).append(p)
        if len(found) != len(kinds) or not all(flat.fits(ps) for flat, ps in zip(found, kinds.values())):
            del found
            self._flats.pop(i, None)                  # first, so that the parameters can move out
            self._flats[i] = [Flat(ps) for ps in kinds.values()]
        return self._flats[i]

    def _entries(self, group: dict[str, Any]) -> Iterable[str]:
        """The entries of `_like_parameter` that this group keeps."""
        return self._like_parameter

    def _start(self, group: dict[str, Any], name: str) -> float:
        """What an entry of the state is filled with before the first step."""
        return 0.0

    def _advance(self, group: dict[str, Any], numbers: dict[str, float]) -> None:
        """Bring the numbers of the state to the step that is about to be made."""
        if "step" in numbers:
            numbers["step"] += 1

    def _rates(self, group: dict[str, Any], numbers: dict[str, float]) -> tuple[float, ...] | None:
        """What the formula needs of the numbers and of the learning rate; None if it takes them as they are, so that it cannot be captured."""
        return None

    def _finish(self, group: dict[str, Any], numbers: dict[str, float]) -> None:
        """Bring the numbers of the state to the step that comes next, where they cannot be found when it comes."""

    def _next_rates(self, group: dict[str, Any], numbers: dict[str, float]) -> tuple[float, ...] | None:
        """The rates of the next step, which the numbers are brought to."""
        self._advance(group, numbers)
        rates = self._rates(group, numbers)
        self._finish(group, numbers)
        return rates

    def _check_recorded(self, recording: capture.Recording, group: dict[str, Any], x: Piece) -> None:
        """Let a captured step be replayed only while it does what the step does.

        Raises:
            CaptureError: a method that computes with other numbers of the host than its rates, or whose state is not there yet.
        """
        method, groups, state = type(self).__name__, self.param_groups, self.state
        if not x.counts and self._rates(group, x.numbers) is None:
            raise CaptureError(f"{method} computes with numbers of the host that change from step to step, so its step cannot be captured; "
                               f"methods like SGD and Adam can, or call optimizer.step() outside of the captured step")
        if x.first:
            raise CaptureError(f"{method} has no state yet for {x.p.size} parameters; make a step before the capture")
        options = {name: value for name, value in group.items() if name not in ("params", "lr")}
        recording.replay_only_if(f"the state or an option of {method} other than lr", lambda: (
            self.param_groups is groups and self.state is state and all(group[name] == value for name, value in options.items()) and x.holds()))

    def _recorded_rates(self, recording: capture.Recording, group: dict[str, Any], x: Piece) -> Any:
        """The rates of a captured step: on the device, those of each replay, before which the numbers advance."""
        def advanced() -> Any:
            numbers = {name: float(row[0]) for name, row in x.rows.items()}
            rates = self._next_rates(group, numbers)
            for name, row in x.rows.items():
                row[...] = numbers[name]
            return rates
        return recording.numbers(advanced, len(self._rates(group, x.numbers)), x.p.dtype)     # type: ignore[arg-type]

    # -- steps that are left out ---------------------------------------------------------------------------------------

    def _skips(self, group: dict[str, Any]) -> bool:
        """Whether `_update` leaves everything as it is where x.skip says so. A method with numbers has `_counted_rates` then."""
        return False

    def _counted_rates(self, group: dict[str, Any], x: Piece, lr: Any) -> Any:
        """The rates of the next step on the device, from x.counts, which advance unless x.skip; lr is a number or a 0-d float64 array."""
        raise NotImplementedError

    def _can_skip(self, skip: Any) -> bool:
        """Whether a step can be left out where a 0-d array on the device is true, without waiting for it."""
        def owner(name: str) -> type:
            return next(kind for kind in type(self).__mro__ if name in vars(kind))
        return not isinstance(skip, np.ndarray) and owner("_update") is owner("_skips") and all(
            self._skips(group) and all(type(p._data) is type(skip) for p in group["params"]) for group in self.param_groups)

    def _step_unless(self, skip: Any, **kwargs: Any) -> Any:
        """A step that changes neither parameters nor state where that array is true."""
        self._skip = skip
        try:
            return self.step(**kwargs)
        finally:
            self._skip = None

    def _update(self, group: dict[str, Any], x: Piece) -> None:
        """The method's formula: write the new values into x.p and into the entries of x.state."""
        raise NotImplementedError(f"{type(self).__name__} has no _update(group, x) and no step()")

    # -- state -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The state and the options, with numbers in place of the parameters; PyTorch's format.

        Returns:
            A dict {"state": {0: {...}, ...}, "param_groups": [{"lr": ..., "params": [0, ...]}, ...]}. Its tensors are the
            optimizer's own, which go on changing: save it or copy it.
        """
        for hook in self._run("state_dict_pre"):
            hook(self)
        number = {p: i for i, p in enumerate(p for group in self.param_groups for p in group["params"])}
        result: dict[str, Any] = {
            "state": {number.get(key, key): value for key, value in self.state.items()},
            "param_groups": [{**{k: v for k, v in group.items() if k != "params"}, "params": [number[p] for p in group["params"]]}
                             for group in self.param_groups]}
        for hook in self._run("state_dict_post"):
            changed = hook(self, result)
            result = result if changed is None else changed
        return result

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state and the options of a `state_dict`, in the order of the parameters.

        Args:
            state_dict: what `state_dict` gave, here or in PyTorch. Its tensors are copied, to their parameter's dtype and device.

        Raises:
            ValueError: other numbers of groups or parameters.
            ShapeError: a state that belongs to a parameter of another shape. Nothing has been changed then.
        """
        state_dict = dict(state_dict)
        for hook in self._run("load_state_dict_pre"):
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        if not {"state", "param_groups"} <= set(state_dict):
            raise ValueError(f'an optimizer\'s state_dict has the keys "state" and "param_groups", got {sorted(map(str, state_dict))}')
        saved = state_dict["param_groups"]
        sizes = [[len(group["params"]) for group in groups] for groups in (self.param_groups, saved)]
        if sizes[0] != sizes[1]:
            raise ValueError(f"the optimizer has groups of {sizes[0]} parameters, the state_dict of {sizes[1]}; make the optimizer with "
                             f"the groups it was saved with")
        parameter = {i: p for mine, its in zip(self.param_groups, saved) for i, p in zip(its["params"], mine["params"])}
        state: dict[Any, dict[str, Any]] = defaultdict(dict)
        for key, entries in state_dict["state"].items():
            p = parameter.get(key)
            if entries and self._like_parameter and not set(entries) & set(self._like_parameter):
                raise ValueError(f"{type(self).__name__} keeps {list(self._like_parameter)}, the state_dict has {list(entries)}; it belongs "
                                 f"to another method")
            state[key if p is None else p] = deepcopy(entries) if p is None else {
                name: self._restored(name, value, p, f"the state {name!r} of parameter {key}") for name, value in entries.items()}
        groups = []
        for mine, its in zip(self.param_groups, saved):
            names = {"param_names": mine["param_names"]} if "param_names" in mine else {}
            groups.append({**self.defaults, **names, **deepcopy({k: v for k, v in its.items() if k != "params"}), "params": mine["params"]})
            self._check_options(groups[-1])
        self.state, self.param_groups = state, groups
        for hook in self._run("load_state_dict_post"):
            hook(self)

    def _restored(self, name: str, value: Any, p: Tensor, what: str) -> Any:
        """A saved entry of a parameter's state as the optimizer keeps it."""
        if name == "step" or name in self._numbers:
            return wrap(np.array(float(value), np.float32))
        if hasattr(value, "shape"):                   # a tensor, PyTorch's too, or an array
            array = as_array(value.detach() if hasattr(value, "detach") else value)
            if name in self._like_parameter and array.shape != p.shape:
                raise ShapeError(f"{what} has shape {tuple(array.shape)}, the parameter {p.shape}; the state_dict belongs to another model")
            return wrap(to_device(array.astype(p.dtype) if array.dtype.kind in FLOATS else array.copy(), p.device))
        if isinstance(value, dict):
            return {k: self._restored("", v, p, what) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self._restored("", v, p, what) for v in value)
        return deepcopy(value)

    # -- hooks -------------------------------------------------------------------------------------------------------

    def _run(self, kind: str) -> list[Callable]:
        return list(self._hooks[kind].values()) if kind in self._hooks else []

    def _add_hook(self, kind: str, hook: Callable, prepend: bool = False) -> Handle:
        table = self._hooks.setdefault(kind, HookTable())
        before = list(table)
        handle = table.add(hook)
        for key in before if prepend else ():
            table[key] = table.pop(key)
        return handle

    def register_step_pre_hook(self, hook: Callable) -> Handle:
        """Call hook(optimizer, args, kwargs) before every step; it may return new (args, kwargs)."""
        return self._add_hook("step_pre", hook)

    def register_step_post_hook(self, hook: Callable) -> Handle:
        """Call hook(optimizer, args, kwargs) after every step."""
        return self._add_hook("step_post", hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call hook(optimizer) before `state_dict` collects."""
        return self._add_hook("state_dict_pre", hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call hook(optimizer, state_dict) after `state_dict` has collected; what it returns replaces the dict."""
        return self._add_hook("state_dict_post", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call hook(optimizer, state_dict) before loading; what it returns replaces the dict."""
        return self._add_hook("load_state_dict_pre", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call hook(optimizer) after loading."""
        return self._add_hook("load_state_dict_post", hook, prepend)

    def __getstate__(self) -> dict[str, Any]:
        """Without the flat memory: a copy has its own parameters, and makes its own."""
        return {**self.__dict__, "_flats": {}}

    # -- printing ----------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines += [f"Parameter Group {i}", *(f"    {name}: {group[name]}" for name in sorted(group) if name != "params")]
        return "\n".join(lines) + "\n)"


def _ordered(params: Any) -> list:
    if isinstance(params, (set, frozenset)):
        raise TypeError("parameters come in an order that is the same in every run, and a set has none; write a list")
    return list(params.items() if isinstance(params, dict) else params)


def at_least(name: str, value: Any, low: float) -> None:
    """Check an option that has a lower limit; None passes.

    Raises:
        ValueError: names the option, its value and the limit.
    """
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(f"{name} is one number, got a tensor of shape {value.shape}")
    if isinstance(value, str) or (value is not None and not (low <= float(value) and math.isfinite(float(value)))):
        raise ValueError(f"{name} is a number of at least {low:g}, got {value!r}")


def in_unit_interval(name: str, values: Iterable) -> None:
    """Check options that lie in [0, 1).

    Raises:
        ValueError: names the option and its value.
    """
    for i, value in enumerate(values):
        if not 0.0 <= float(value) < 1.0:
            raise ValueError(f"{name}[{i}] lies in [0, 1), got {value}")


def uphill(group: dict[str, Any], x: Piece) -> Any:
    """The gradient that a step goes against, of -f to maximize, with weight decay.

        g = ∇f(θ) + weight_decay·θ
        g = ∇f(θ),  after θ ← (1 - lr·weight_decay)·θ          (decoupled; this factor is the last of the rates)
    """
    g, decay = -x.g if group["maximize"] else x.g, float(group["weight_decay"])
    if decay and group.get("decoupled_weight_decay"):
        x.p *= x.rates[-1]
        return g
    return g + decay * x.p if decay else g


def _recorded_lr(recording: capture.Recording, group: dict[str, Any]) -> Any:
    """The learning rate of each replay, on the device."""
    return recording.numbers(lambda: (float(group["lr"]),), 1, np.float64)[0]


def shrinkage(group: dict[str, Any]) -> float:
    """1 - lr·weight_decay, by which decoupled weight decay multiplies a parameter."""
    return 1 - float(group["lr"]) * float(group["weight_decay"])


def norm(x: Any) -> Any:
    """‖x‖₂ of an array, a number on its device; of half-precision arrays in float32."""
    return namespace(x).sqrt(kernels(x).sum_of_squares(x))
