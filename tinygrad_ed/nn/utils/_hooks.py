"""What the older forms of weight and spectral normalization share: a hook before every call that sets a weight."""
from __future__ import annotations

from typing import Any

from ..hooks import hooks_of
from ..module import Module
from ..parameter import Parameter


def put_hook(module: Module, hook: Any, what: str) -> Parameter:
    """Register a hook that will set the weight `hook.name`, and take this parameter out of the module.

    Raises:
        RuntimeError: such a hook is there already.
        ValueError: no such parameter.
    """
    name = hook.name
    present: list[Any] = [other.function for other in hooks_of(module, "forward_pre")]
    if any(type(other) is type(hook) and other.name == name for other in present):
        raise RuntimeError(f"{type(module).__name__} has {what} of {name!r} already; remove it first")
    weight = module._parameters.get(name)
    if weight is None:
        names = ", ".join(map(repr, module._parameters)) or "none"
        raise ValueError(f"{what}: {type(module).__name__} has no parameter {name!r}; it has {names}")
    weight.shape                                      # an error for a lazy module before its first call  # noqa: B018
    delattr(module, name)
    module.register_forward_pre_hook(hook)
    return weight


def take_hook(module: Module, kind: Any, name: str, what: str) -> Any:
    """Take such a hook away and return it.

    Raises:
        ValueError: there is none.
    """
    table: Any = module._hooks.get("forward_pre", {})
    for key, hook in table.items():
        function = hook.function
        if type(function) is kind and function.name == name:
            del table[key]
            if not table:
                del module._hooks["forward_pre"]
            return function
    raise ValueError(f"{type(module).__name__} has no {what} of {name!r}")
