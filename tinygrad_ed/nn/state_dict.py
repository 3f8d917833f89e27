"""What a module's state is: collecting it into a `state_dict`, and loading one after it has been checked as a whole."""
from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Iterator, Mapping, NamedTuple

import numpy as np

from ..autograd.inplace import copy_into, stamp
from ..backend import to_device
from ..dtypes import FLOATS
from ..tensor import Tensor, as_array
from .hooks import hooks_of
from .parameter import Buffer, Parameter

if TYPE_CHECKING:
    from .module import Module

EXTRA_STATE = "_extra_state"


class IncompatibleKeys(NamedTuple):
    """The keys that a module has and a state_dict lacks, and the other way round."""

    missing_keys: list
    unexpected_keys: list

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class Stateful:
    """The part of Module that is saved and loaded."""

    _absent_before: tuple[str, ...] = ()              # names that old checkpoints lack; what is not given is left as it is

    def get_extra_state(self) -> Any:
        """What else a subclass wants in its `state_dict`; overridden together with `set_extra_state`."""
        raise RuntimeError("override get_extra_state() to save more than parameters and buffers")

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` gave."""
        raise RuntimeError("override set_extra_state() to load what get_extra_state() gave")

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> dict[str, Any]:
        """The parameters and persistent buffers by their dotted names, in the order of registration.

        Args:
            destination: a dict to fill; a new one by default.
            prefix: put before every name.
            keep_vars: give the tensors themselves; detached tensors that share their memory by default.

        Returns:
            A dict of tensors.
        """
        destination = OrderedDict() if destination is None else destination
        collect(self, destination, prefix, keep_vars)                         # type: ignore[arg-type]
        return destination

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> IncompatibleKeys:
        """Copy the tensors of a `state_dict` into this module's parameters and buffers.

        Args:
            state_dict: names and tensors; PyTorch's and NumPy's are taken too.
            strict: whether missing and unexpected keys are an error.
            assign: put the given tensors in place of the module's, with their dtype and device, instead of copying.

        Returns:
            A named tuple (missing_keys, unexpected_keys).

        Raises:
            RuntimeError: a list of all keys and shapes that do not fit; nothing has been changed then.
            TypeError: not a mapping.
        """
        return load(self, state_dict, strict, assign)                         # type: ignore[arg-type]


def own_state(module: "Module") -> dict[str, Tensor]:
    """A module's own parameters and persistent buffers, without its children's."""
    buffers = {name: b for name, b in module._buffers.items() if name not in module._non_persistent_buffers_set}
    return {name: t for name, t in {**module._parameters, **buffers}.items() if t is not None}


def collect(module: "Module", destination: dict, prefix: str, keep_vars: bool) -> None:
    """Put the state of a module and its descendants into a dict."""
    for hook in hooks_of(module, "state_dict_pre"):
        hook.function(module, prefix, keep_vars)
    for name, tensor in own_state(module).items():
        destination[prefix + name] = tensor if keep_vars else tensor.detach()
    if _overrides(module, "get_extra_state"):
        destination[prefix + EXTRA_STATE] = module.get_extra_state()
    for name, child in module._modules.items():
        if child is not None:
            child.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
    for hook in hooks_of(module, "state_dict_post"):
        if hook.function(module, destination, prefix, {}) is not None:
            raise RuntimeError("a state_dict post-hook changes the state_dict it is given and returns None")


def load(module: "Module", state_dict: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """Copy a state_dict into a module, or change nothing and raise an error that lists everything that does not fit."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"a state_dict maps names to tensors, got {type(state_dict).__name__}; write load_state_dict(tinygrad_ed.load(path))")
    given = OrderedDict(state_dict)
    missing: list[str] = []
    unexpected: list[str] = []
    problems: list[str] = []
    known: set[str] = set()
    writes: list[tuple] = []                          # (module, name, the present tensor, the given value, its array)
    extras: list[tuple] = []                          # (module, extra state)
    places = list(_with_prefixes(module))
    for prefix, place in places:
        for hook in hooks_of(place, "load_state_dict_pre"):
            hook.function(place, given, prefix, {}, strict, missing, unexpected, problems)
        for name, tensor in own_state(place).items():
            key = prefix + name
            known.add(key)
            if key not in given:
                if name not in place._absent_before:
                    missing.append(key)
                continue
            array, problem = _fitting(key, given[key], tensor, assign)
            if problem:
                problems.append(problem)
            else:
                writes.append((place, name, tensor, given[key], array))
        if _overrides(place, "set_extra_state"):
            key = prefix + EXTRA_STATE
            known.add(key)
            if key in given:
                extras.append((place, given[key]))
            else:
                missing.append(key)
    unexpected += [key for key in given if key not in known]
    result = IncompatibleKeys(missing, unexpected)
    post_hooks = [(place, hook) for _, place in reversed(places) for hook in hooks_of(place, "load_state_dict_post")]
    _raise(module, result if strict and not post_hooks else None, problems, "; nothing was changed")
    for place, name, tensor, value, array in writes:
        _put(place, name, tensor, value, array, assign)
    for place, value in extras:
        place.set_extra_state(value)
    for place, hook in post_hooks:
        if hook.function(place, result) is not None:
            raise RuntimeError("a load_state_dict post-hook changes the lists it is given and returns None")
    _raise(module, result if strict else None, [])    # a post-hook may have forgiven missing and unexpected keys
    return result


def _with_prefixes(module: "Module", prefix: str = "") -> Iterator[tuple[str, "Module"]]:
    """Every place in the tree with its prefix; a module that stands in two places comes twice."""
    yield prefix, module
    for name, child in module._modules.items():
        if child is not None:
            yield from _with_prefixes(child, f"{prefix}{name}.")


def _overrides(module: "Module", method: str) -> bool:
    return getattr(type(module), method) is not getattr(Stateful, method)


def _fitting(key: str, value: Any, tensor: Tensor, assign: bool) -> tuple[Any, str | None]:
    """The value as an array for the tensor's place, or why it does not fit."""
    if not hasattr(value, "shape"):
        return None, f"{key}: expected a tensor of shape {tensor.shape}, got {type(value).__name__}"
    try:
        if hasattr(value, "requires_grad") and not isinstance(value, Tensor):
            value = value.detach()                    # a torch.Tensor
        array = as_array(value)
    except Exception as error:
        return None, f"{key}: {error}"
    if array.shape == (1,) and tensor.shape == ():
        array = array.reshape(())
    if array.shape != tensor.shape:
        return None, f"size mismatch for {key}: the state_dict has shape {tuple(array.shape)}, the model {tensor.shape}"
    if assign:
        if tensor._requires_grad and array.dtype.kind not in FLOATS:
            return None, f"{key}: the parameter is trained, and the state_dict has {array.dtype} for it"
        return array, None
    if isinstance(tensor._data, np.ndarray) and not tensor._data.flags.writeable:
        return None, f"{key}: the model's memory is read-only; write load_state_dict(..., assign=True)"
    return to_device(array, tensor.device), None


def _put(module: "Module", name: str, tensor: Tensor, value: Any, array: Any, assign: bool) -> None:
    if not assign:
        copy_into(tensor._data, array)
        stamp(tensor._data)
    elif name in module._parameters:
        new = value if isinstance(value, Parameter) else Parameter(array, tensor._requires_grad)
        new.requires_grad = tensor._requires_grad
        module._parameters[name] = new
    else:
        keep = isinstance(value, Tensor) and value.shape == array.shape
        module._buffers[name] = value if keep else Buffer(array) if isinstance(tensor, Buffer) else Tensor(array)


def _raise(module: "Module", keys: IncompatibleKeys | None, problems: list[str], consequence: str = "") -> None:
    lines = list(problems)
    if keys is not None and keys.unexpected_keys:
        lines.insert(0, f"Unexpected key(s) in state_dict: {_quoted(keys.unexpected_keys)}.")
    if keys is not None and keys.missing_keys:
        lines.insert(0, f"Missing key(s) in state_dict: {_quoted(keys.missing_keys)}.")
    if lines:
        raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}{consequence}:\n\t" + "\n\t".join(lines))


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)
