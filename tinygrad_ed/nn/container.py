"""Modules that hold others: Sequential, ModuleList, ModuleDict, and ParameterList, ParameterDict for bare parameters."""
from __future__ import annotations

import operator
from collections import OrderedDict
from itertools import chain, groupby
from typing import Any, Iterable, Iterator, Mapping

from ..tensor import Tensor
from .fused import fused
from .module import Module, indent
from .parameter import Parameter

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]


def _position(index: Any, length: int) -> int:
    position = operator.index(index)
    if not -length <= position < length:
        raise IndexError(f"index {position} is out of range for {length} entries")
    return position % length


class _Listed(Module):
    """What Sequential and ModuleList share: submodules in a row."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def _key(self, index: Any) -> str:
        return list(self._modules)[_position(index, len(self))]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._key(index), module)

    def __delitem__(self, index: Any) -> None:
        keys = list(self._modules)
        for key in keys[index] if isinstance(index, slice) else [self._key(index)]:
            del self._modules[key]
        self._modules = {str(i): module for i, module in enumerate(self._modules.values())}

    def append(self, module: Module) -> Any:
        """Add a module at the end and return self."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add several modules at the end and return self."""
        if not isinstance(modules, Iterable):
            raise TypeError(f"extend takes several modules, got {type(modules).__name__}; write append(module)")
        for module in list(modules):
            self.append(module)
        return self

    def _insert(self, index: int, module: Module) -> None:
        modules = list(self)
        modules.insert(index, module)
        if not isinstance(module, Module):
            raise TypeError(f"insert takes a Module, got {type(module).__name__}")
        self._modules = {str(i): m for i, m in enumerate(modules)}

    def pop(self, key: Any) -> Any:
        """Take a module out and return it."""
        module = self[key]                            # type: ignore[index]
        del self[key]
        return module


class Sequential(_Listed):
    """Modules one after the other: each gets the output of the one before.

    Args:
        args: the modules, or one OrderedDict of names and modules.

    Shapes:
        Input: what the first module takes. Output: what the last one gives.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Sequential(tg.nn.Linear(2, 3), tg.nn.ReLU())
        Sequential(
          (0): Linear(in_features=2, out_features=3, bias=True)
          (1): ReLU()
        )
    """

    def __init__(self, *args: Any):
        super().__init__()
        named = args[0].items() if len(args) == 1 and isinstance(args[0], OrderedDict) else ((str(i), m) for i, m in enumerate(args))
        for name, module in named:
            self.add_module(name, module)

    def forward(self, input: Any) -> Any:
        """Run the modules in order; a linear layer or a batch norm and the ReLU behind it run as one."""
        for step in fused(self._modules.values()):
            input = step(input)
        return input

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(OrderedDict(list(self._modules.items())[index]))
        return self._modules[self._key(index)]

    def insert(self, index: int, module: Module) -> "Sequential":
        """Put a module before an index and return self."""
        if not -len(self) <= index <= len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} entries")
        self._insert(index, module)
        return self

    def __add__(self, other: "Sequential") -> "Sequential":
        if not isinstance(other, Sequential):
            return NotImplemented
        return Sequential(*self, *other)

    def __iadd__(self, other: "Sequential") -> "Sequential":
        if not isinstance(other, Sequential):
            return NotImplemented
        return self.extend(other)

    def __mul__(self, times: int) -> "Sequential":
        return Sequential(*self._repeated(times))

    __rmul__ = __mul__

    def __imul__(self, times: int) -> "Sequential":
        return self.extend(self._repeated(times)[len(self):])

    def _repeated(self, times: int) -> list[Module]:
        if not isinstance(times, int):
            raise TypeError(f"a Sequential is multiplied by an int, got {type(times).__name__}")
        if times <= 0:
            raise ValueError(f"a Sequential is multiplied by a positive number, got {times}")
        return list(self) * times


class ModuleList(_Listed):
    """A list of modules whose parameters are registered; it has no `forward` of its own.

    Args:
        modules: the modules to begin with.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ModuleList(tg.nn.Linear(2, 2) for _ in range(3))
        ModuleList(
          (0-2): 3 x Linear(in_features=2, out_features=2, bias=True)
        )
    """

    def __init__(self, modules: Iterable[Module] | None = None):
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return self._modules[str(_position(index, len(self)))]

    def insert(self, index: int, module: Module) -> None:
        """Put a module before an index."""
        self._insert(index, module)

    def __iadd__(self, modules: Iterable[Module]) -> "ModuleList":
        return self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> "ModuleList":
        return ModuleList(chain(self, other))

    def __repr__(self) -> str:
        """Neighbours that print the same are written once."""
        lines = []
        for text, group in groupby(enumerate(map(repr, self)), key=lambda pair: pair[1]):
            numbers = [i for i, _ in group]
            first, last = numbers[0], numbers[-1]
            lines.append(f"  ({first}): {indent(text)}\n" if first == last else f"  ({first}-{last}): {len(numbers)} x {indent(text)}\n")
        return f"{self._get_name()}({chr(10) + ''.join(lines) if lines else ''})"


def _pairs(entries: Any, what: str) -> list[tuple[str, Any]]:
    """A mapping's items, or pairs as they are given."""
    if hasattr(entries, "items"):
        return list(entries.items())
    if not isinstance(entries, Iterable) or isinstance(entries, Tensor):
        raise TypeError(f"{what}.update takes a mapping or pairs, got {type(entries).__name__}")
    pairs = [tuple(pair) if isinstance(pair, Iterable) else pair for pair in entries]
    for i, pair in enumerate(pairs):
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise (ValueError if isinstance(pair, tuple) else TypeError)(f"{what}.update takes pairs (key, value); element {i} is {pair!r}")
    return pairs


class ModuleDict(Module):
    """A dict of modules whose parameters are registered, in the order of insertion.

    Args:
        modules: a mapping or pairs of names and modules to begin with.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ModuleDict({"relu": tg.nn.ReLU()})["relu"]
        ReLU()
    """

    def __init__(self, modules: Any = None):
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Remove everything."""
        self._modules.clear()

    def pop(self, key: str) -> Any:
        """Take a module out and return it."""
        return self._modules.pop(key)

    def keys(self) -> Any:
        """The names."""
        return self._modules.keys()

    def items(self) -> Any:
        """Names and modules."""
        return self._modules.items()

    def values(self) -> Any:
        """The modules."""
        return self._modules.values()

    def update(self, modules: Any) -> None:
        """Enter the modules of a mapping, or pairs of names and modules."""
        for key, module in _pairs(modules, "ModuleDict"):
            self[key] = module


def _as_parameter(value: Any) -> Any:
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, Parameter) else value


def _describe(key: Any, value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"  ({key}): Object of type: {type(value).__name__}"
    kind = "Parameter" if isinstance(value, Parameter) else "Tensor"
    place = f" ({value.device})" if value.is_cuda else ""
    return f"  ({key}): {kind} containing: [{value.dtype} of size {'x'.join(map(str, value.shape))}{place}]"


class ParameterList(Module):
    """A list of parameters that are registered; tensors become parameters, other values are kept as they are.

    Args:
        values: the entries to begin with.

    Example:
        >>> import tinygrad_ed as tg
        >>> len(list(tg.nn.ParameterList([tg.ones(2), tg.ones(3)]).parameters()))
        2
    """

    def __init__(self, values: Iterable[Any] | None = None):
        super().__init__()
        self._size = 0
        if values is not None:
            self.extend(values)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return getattr(self, str(_position(index, len(self))))

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, str(_position(index, len(self))), _as_parameter(value))

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self, str(i)) for i in range(self._size))

    def append(self, value: Any) -> "ParameterList":
        """Add an entry at the end and return self."""
        setattr(self, str(self._size), _as_parameter(value))
        self._size += 1
        return self

    def extend(self, values: Iterable[Any]) -> "ParameterList":
        """Add several entries at the end and return self."""
        if not isinstance(values, Iterable) or isinstance(values, Tensor):
            raise TypeError(f"extend takes several entries, got {type(values).__name__}; write append(value)")
        for value in list(values):
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Any]) -> "ParameterList":
        return self.extend(values)

    def extra_repr(self) -> str:
        return "\n".join(_describe(i, value) for i, value in enumerate(self))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("a ParameterList holds parameters and cannot be called")


class ParameterDict(Module):
    """A dict of parameters that are registered; tensors become parameters, other values are kept as they are.

    Args:
        parameters: a mapping or pairs of names and entries to begin with. The keys of a plain dict are entered in sorted
            order, as in PyTorch; those of an OrderedDict or of pairs in theirs.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.ParameterDict({"scale": tg.ones(1)})["scale"].requires_grad
        True
    """

    def __init__(self, parameters: Any = None):
        super().__init__()
        self._keys: dict[str, None] = {}
        if parameters is not None:
            self.update(parameters)

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys:
            raise KeyError(key)
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"the key of a ParameterDict is a string, got {type(key).__name__}")
        setattr(self, key, _as_parameter(value))
        self._keys[key] = None

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def copy(self) -> "ParameterDict":
        """Another ParameterDict with the same entries."""
        return ParameterDict(OrderedDict(self.items()))

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The entry of a key, which is entered if it is missing."""
        if key not in self:
            self[key] = default
        return self[key]

    def clear(self) -> None:
        """Remove everything."""
        for key in list(self):
            del self[key]

    def pop(self, key: str) -> Any:
        """Take an entry out and return it."""
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        """Take the last entry out and return its key and value."""
        if not self._keys:
            raise KeyError("popitem() of an empty ParameterDict")
        key = next(reversed(self._keys))
        return key, self.pop(key)

    def get(self, key: str, default: Any = None) -> Any:
        """The entry of a key, or the default."""
        return self[key] if key in self else default

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> "ParameterDict":
        """Another ParameterDict with these keys and one value."""
        return ParameterDict((key, default) for key in keys)

    def keys(self) -> Any:
        """The keys."""
        return self._keys.keys()

    def items(self) -> Any:
        """Keys and entries."""
        return ((key, self[key]) for key in self._keys)

    def values(self) -> Any:
        """The entries."""
        return (self[key] for key in self._keys)

    def update(self, parameters: Any) -> None:
        """Enter the values of a mapping, or pairs of keys and values."""
        pairs = _pairs(parameters, "ParameterDict")
        is_plain = isinstance(parameters, Mapping) and not isinstance(parameters, OrderedDict)
        for key, value in sorted(pairs, key=lambda pair: pair[0]) if is_plain else pairs:
            self[key] = value

    def extra_repr(self) -> str:
        return "\n".join(_describe(key, value) for key, value in self.items())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("a ParameterDict holds parameters and cannot be called")

    def __or__(self, other: "ParameterDict") -> "ParameterDict":
        both = self.copy()
        both.update(other)
        return both

    def __ror__(self, other: "ParameterDict") -> "ParameterDict":
        both = other.copy()
        both.update(self)
        return both

    def __ior__(self, other: "ParameterDict") -> "ParameterDict":
        self.update(other)
        return self
