"""Calling a module with other parameters than its own."""
from __future__ import annotations

from typing import Any, Iterator, Mapping, Sequence

from ...tensor import Tensor
from ..module import Module

__all__ = ["functional_call"]

Register = dict[str, Any]


def functional_call(module: Module, parameters_and_buffers: Any, args: Any = None, kwargs: Mapping[str, Any] | None = None, *,
                    tie_weights: bool = True, strict: bool = False) -> Any:
    """Call a module with given tensors in the place of its parameters and buffers, which then are as they were before.

    The module becomes a function of its parameters: of those computed by another network, or of a step that is itself differentiated.

    Args:
        module: the module.
        parameters_and_buffers: a dict from dotted names to tensors, or a sequence of such dicts; others keep the module's.
        args: the argument of the call, or a tuple of them.
        kwargs: further arguments by name.
        tie_weights: let a tensor given for one of several places that share a parameter stand in all of them.
        strict: whether names that are missing are an error.

    Returns:
        What the module returns.

    Raises:
        RuntimeError: names that the module does not have, or with strict=True ones that are missing.
        ValueError: two tensors for places that share a parameter, or one name in two dicts.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer, w = tg.nn.Linear(1, 1, bias=False), tg.tensor([[3.0]], requires_grad=True)
        >>> y = functional_call(layer, {"weight": w}, tg.ones(1, 1))
        >>> tg.grad(y.sum(), w)
        (tensor([[1.]]),)
    """
    given = _one_dict(parameters_and_buffers)
    places = {name: (register, key) for name, register, key in _places(module)}
    unknown = [name for name in given if name not in places]
    missing = [name for name in places if name not in given] if strict else []
    if unknown or missing:
        parts = [f"{what} key(s): {', '.join(map(repr, names))}" for what,
                 names in (("unexpected", unknown), ("missing", missing)) if names]
        raise RuntimeError(f"functional_call of {type(module).__name__}: {'; '.join(parts)}")
    values = _tied(given, places) if tie_weights else given
    before = {name: places[name][0][places[name][1]] for name in values}
    try:
        for name, value in values.items():
            register, key = places[name]
            register[key] = value
        return module(*(() if args is None else args if isinstance(args, tuple) else (args,)), **(kwargs or {}))
    finally:
        for name, value in before.items():
            register, key = places[name]
            if name in given and isinstance(given, dict) and register[key] is not value:
                given[name] = register[key]           # what the module has assigned meanwhile
            register[key] = value
        if isinstance(parameters_and_buffers, dict):
            parameters_and_buffers.update(given)


def _one_dict(dicts: Any) -> dict[str, Tensor]:
    if isinstance(dicts, Mapping):
        return dict(dicts)
    if not isinstance(dicts, Sequence):
        raise TypeError(f"functional_call takes a dict of tensors or a sequence of dicts, got {type(dicts).__name__}")
    merged: dict[str, Tensor] = {}
    for part in dicts:
        twice = merged.keys() & part.keys()
        if twice:
            raise ValueError(f"functional_call: {sorted(twice)[0]!r} is in two of the dicts")
        merged.update(part)
    return merged


def _places(module: Module) -> Iterator[tuple[str, Register, str]]:
    """Every place of a parameter or buffer: its dotted name, the register it is in, and its name there."""
    for prefix, place in module.named_modules(remove_duplicate=False):
        for register in (place._parameters, place._buffers):
            for key, tensor in register.items():
                if tensor is not None:
                    yield (f"{prefix}.{key}" if prefix else key), register, key


def _tied(given: dict[str, Tensor], places: dict[str, tuple[Register, str]]) -> dict[str, Tensor]:
    """The given tensors, also at the places that share a parameter with one that is given."""
    names: dict[Tensor, list[str]] = {}
    for name, (register, key) in places.items():
        names.setdefault(register[key], []).append(name)
    values = dict(given)
    for group in names.values():
        found = {id(given[name]): given[name] for name in group if name in given}
        if len(found) > 1:
            raise ValueError(f"functional_call: {', '.join(map(repr, group))} share a parameter and were given different tensors; "
                             f"give one, or write tie_weights=False")
        for name in group if found else ():
            values[name] = next(iter(found.values()))
    return values
