"""Module: the base class of layers and models, a tree of parameters, buffers and smaller modules.

What is assigned to an attribute is registered by its kind. Here are the registers, the walk over the tree, conversions and
printing; `hooks` has what happens around a call, `state_dict` what is saved and loaded.
"""
from __future__ import annotations

import itertools
from typing import Any, Callable, Iterator

from .. import dtypes
from ..autograd.modes import no_grad
from ..backend import Device
from ..errors import DTypeError
from ..tensor import Tensor
from .hooks import Hooked, call
from .parameter import Buffer, Parameter, clear_gradients
from .state_dict import Stateful

__all__ = ["Module"]


class Module(Hooked, Stateful):
    """The base class of all layers and models.

    A subclass registers parameters, buffers and submodules by assigning them to attributes in `__init__`, after
    `super().__init__()`, and computes in `forward`.

    Example:
        >>> import tinygrad_ed as tg
        >>> class Line(tg.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.slope = tg.nn.Parameter(tg.tensor(2.0))
        ...     def forward(self, x):
        ...         return self.slope * x
        >>> Line()(tg.tensor(3.0)).item()
        6.0
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, "Module | None"]
    _non_persistent_buffers_set: set[str]
    _hooks: dict[str, Any]          # kind -> HookTable; empty for most modules, which makes a call fast

    def __init__(self) -> None:
        self.__dict__.update(training=True, _parameters={}, _buffers={}, _modules={}, _non_persistent_buffers_set=set(), _hooks={})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's output; to be written by every subclass."""
        raise NotImplementedError(f'{type(self).__name__} has no "forward"; write `def forward(self, x): ...` in the class')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            hooked = self._hooks
        except AttributeError:
            raise self._uninitialized("be called") from None
        return call(self, args, kwargs) if hooked else self.forward(*args, **kwargs)

    # -- attributes --------------------------------------------------------------------------------------------------

    def _uninitialized(self, what: str) -> AttributeError:
        name = type(self).__name__
        return AttributeError(f"{name} cannot {what} before Module.__init__() has run; make super().__init__() the first line of "
                              f"{name}.__init__()")

    def __getattr__(self, name: str) -> Any:
        attributes = self.__dict__
        for register in ("_parameters", "_buffers", "_modules"):
            if register in attributes and name in attributes[register]:
                return attributes[register][name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        attributes = self.__dict__
        is_parameter, is_module, is_buffer = isinstance(value, Parameter), isinstance(value, Module), isinstance(value, Buffer)
        if "_parameters" not in attributes:
            if is_parameter or is_module or is_buffer:
                raise self._uninitialized(f"take the {type(value).__name__} {name!r}")
            object.__setattr__(self, name, value)
        elif is_parameter:
            self._make_room(name, self._buffers, self._modules)
            self.register_parameter(name, value)
        elif name in attributes["_parameters"]:
            self._expect_none(name, value, "a parameter", "a Parameter")
            self._parameters[name] = None
        elif is_module:
            self._make_room(name, self._buffers)
            self._modules[name] = value
        elif name in attributes["_modules"]:
            self._expect_none(name, value, "a submodule", "a Module")
            self._modules[name] = None
        elif is_buffer:
            self.register_buffer(name, value, value.persistent)
        elif name in attributes["_buffers"]:
            if not isinstance(value, Tensor):
                self._expect_none(name, value, "a buffer", "a Tensor")
            self._buffers[name] = value
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        for register in (self._parameters, self._buffers, self._modules):
            if name in register:
                del register[name]                    # type: ignore[attr-defined]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers}
        return sorted(name for name in names if not name[:1].isdigit())

    def _make_room(self, name: str, *registers: dict) -> None:
        """Take a name away from what had it; in its own register it keeps its place in the order."""
        for register in (self.__dict__, *registers):
            register.pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def _expect_none(self, name: str, value: Any, what: str, wanted: str) -> None:
        if value is not None:
            raise TypeError(f"{type(self).__name__}.{name} is {what} and takes {wanted} or None, got {type(value).__name__}; "
                            f"write `del module.{name}` first to give the name another meaning")

    def _check_name(self, kind: str, name: Any, register: str) -> None:
        if register not in self.__dict__:
            raise self._uninitialized(f"take the {kind} {name!r}")
        if not isinstance(name, str):
            raise TypeError(f"the name of a {kind} is a string, got {type(name).__name__}")
        if "." in name or name == "":
            raise KeyError(f'the name of a {kind} is not empty and has no ".", got {name!r}: the dot separates levels of the tree')
        if name not in self.__dict__[register] and hasattr(self, name):
            raise KeyError(f"{type(self).__name__} already has an attribute {name!r}")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under a name, or reserve the name with None.

        Args:
            name: the attribute's name, without dots.
            param: the parameter, a leaf.

        Raises:
            KeyError: a bad name, or one that is taken.
            TypeError: not a Parameter.
            ValueError: a parameter computed by an operation.
        """
        self._check_name("parameter", name, "_parameters")
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(f"register_parameter({name!r}) takes a Parameter or None, got {type(param).__name__}; write nn.Parameter(x)")
            if not param.is_leaf:
                raise ValueError(f"the parameter {name!r} was computed by {param.grad_fn!r}; parameters are leaves: write "
                                 f"nn.Parameter(tensor.detach()), and compute what depends on others in forward()")
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is part of the state and moves with the module, but is not trained.

        Args:
            name: the attribute's name, without dots.
            tensor: the buffer, or None to reserve the name.
            persistent: whether it is part of `state_dict`.

        Raises:
            KeyError: a bad name, or one that is taken.
            TypeError: not a Tensor.
        """
        self._check_name("buffer", name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"register_buffer({name!r}) takes a Tensor or None, got {type(tensor).__name__}")
        self._buffers[name] = tensor
        (self._non_persistent_buffers_set.discard if persistent else self._non_persistent_buffers_set.add)(name)

    def register_module(self, name: str, module: "Module | None") -> None:
        """Add a submodule under a name; the same as `add_module`.

        Args:
            name: the attribute's name, without dots.
            module: the submodule, or None to reserve the name.

        Raises:
            KeyError: a bad name, or one that is taken.
            TypeError: not a Module.
        """
        if module is not None and not isinstance(module, Module):
            hint = "; write the class with parentheses" if isinstance(module, type) else ""
            raise TypeError(f"add_module({name!r}) takes a Module or None, got {getattr(module, '__name__', type(module).__name__)}{hint}")
        self._check_name("module", name, "_modules")
        self._modules[name] = module

    def add_module(self, name: str, module: "Module | None") -> None:
        """Add a submodule under a name; see `register_module`."""
        self.register_module(name, module)

    # -- the tree ----------------------------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """The direct submodules with their names, each once."""
        seen = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator["Module"]:
        """The direct submodules, each once."""
        return (child for _, child in self.named_children())

    def named_modules(self, memo: set | None = None, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, "Module"]]:
        """This module and all below it, each with its dotted name, parents before children.

        Args:
            memo: the modules to leave out.
            prefix: put before every name.
            remove_duplicate: whether a module that stands in several places comes only once.
        """
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator["Module"]:
        """This module and all below it."""
        return (module for _, module in self.named_modules(remove_duplicate=remove_duplicate))

    def _named_members(self, register: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen = set()
        places = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for place, module in places:
            for name, member in getattr(module, register).items():
                if member is not None and member not in seen:
                    if remove_duplicate:
                        seen.add(member)
                    yield (f"{place}.{name}" if place else name), member

    def named_parameters(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their dotted names, in the order of registration.

        Args:
            prefix: put before every name.
            recurse: whether to include those of submodules.
            remove_duplicate: whether a shared parameter comes only once.
        """
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, each once; what an optimizer takes."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their dotted names; arguments as for `named_parameters`."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, each once."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> "Module":
        """The module with a dotted name; this one for "".

        Raises:
            AttributeError: there is none.
        """
        module: Any = self
        for name in target.split(".") if target else ():
            found = getattr(module, name, None)
            if not isinstance(found, Module):
                names = ", ".join(repr(n) for n in module._modules) or "none"
                raise AttributeError(f"{type(module).__name__} has no submodule {name!r} (asked for {target!r}); it has {names}")
            module = found
        return module

    def _get_member(self, target: str, register: str, what: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        members = getattr(module, register)
        if members.get(name) is None:
            names = ", ".join(repr(n) for n in members) or "none"
            raise AttributeError(f"{type(module).__name__} has no {what} {name!r} (asked for {target!r}); it has {names}")
        return members[name]

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with a dotted name.

        Raises:
            AttributeError: there is none.
        """
        return self._get_member(target, "_parameters", "parameter")

    def get_buffer(self, target: str) -> Tensor:
        """The buffer with a dotted name.

        Raises:
            AttributeError: there is none.
        """
        return self._get_member(target, "_buffers", "buffer")

    # -- modes and conversions ---------------------------------------------------------------------------------------

    def apply(self, fn: Callable[["Module"], Any]) -> "Module":
        """Call fn(module) for every module of the tree, children first, and return self."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> "Module":
        """Set `training` everywhere in the tree: dropout drops, batch norm uses the batch's statistics.

        Raises:
            ValueError: mode is not a bool.
        """
        if not isinstance(mode, bool):
            raise ValueError(f"train(mode) takes a bool, got {type(mode).__name__}")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> "Module":
        """Set evaluation mode, the same as `train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> "Module":
        """Set requires_grad of all parameters: False freezes them."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or overwrite them with zeros."""
        clear_gradients(self.parameters(), set_to_none)

    def _apply(self, fn: Callable[[Tensor], Tensor]) -> "Module":
        """Replace the data of every parameter, gradient and buffer by that of fn(tensor); the Parameter objects stay."""
        for child in self.children():
            child._apply(fn)
        with no_grad():
            for p in self._parameters.values():
                if p is not None:
                    new, grad = fn(p), p._grad
                    if new is not p:
                        p._grad, p.data = None, new._data
                        p.grad = None if grad is None else fn(grad)
            for name, buffer in self._buffers.items():
                if buffer is not None:
                    new = fn(buffer)
                    if new is not buffer and isinstance(buffer, Buffer):
                        new = Buffer(new, persistent=buffer.persistent)
                    self._buffers[name] = new
        return self

    def to(self, *args: Any, device: Any = None, dtype: Any = None, non_blocking: bool = False, memory_format: Any = None) -> "Module":
        """Move the module to a device, convert its floating point tensors to a dtype, or both; in place.

        Args:
            args: a device, a floating point dtype, both, or a tensor to be like.
            device: the wanted device.
            dtype: the wanted dtype; integer buffers keep theirs.
            non_blocking: as for `Tensor.to`.
            memory_format: accepted as in PyTorch, without effect.

        Returns:
            The module itself.

        Raises:
            DTypeError: a dtype that is not a floating point dtype.
        """
        for arg in args:
            if isinstance(arg, Tensor):
                device, dtype = arg.device, arg.dtype
            elif isinstance(arg, Device) or (isinstance(arg, str) and arg.partition(":")[0] in ("cpu", "cuda")):
                device = arg
            elif arg is not None:
                dtype = arg
        if dtype is not None and (dtype := dtypes.canonical(dtype)).kind not in dtypes.FLOATS:
            raise DTypeError(f"a module is converted to a floating point dtype, got {dtype}")
        return self._apply(lambda t: t.to(device=device, dtype=dtype if t.is_floating_point() else None, non_blocking=non_blocking))

    def cpu(self) -> "Module":
        """Move the module to the CPU."""
        return self.to(device="cpu")

    def cuda(self, device: Any = None) -> "Module":
        """Move the module to a CUDA device, the first by default."""
        return self._apply(lambda t: t.cuda(device))

    def type(self, dst_type: Any) -> "Module":
        """Convert all parameters and buffers to a dtype."""
        return self._apply(lambda t: t.to(dtype=dst_type))

    def half(self) -> "Module":
        """Convert floating point parameters and buffers to float16."""
        return self.to(dtype=dtypes.float16)

    def bfloat16(self) -> "Module":
        """Convert floating point parameters and buffers to bfloat16."""
        return self.to(dtype="bfloat16")

    def float(self) -> "Module":
        """Convert floating point parameters and buffers to float32."""
        return self.to(dtype=dtypes.float32)

    def double(self) -> "Module":
        """Convert floating point parameters and buffers to float64."""
        return self.to(dtype=dtypes.float64)

    # -- printing ----------------------------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the parentheses in the module's printed form; to be written by subclasses."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = [f"({name}): {indent(repr(child))}" for name, child in self._modules.items()]
        extras = extra.split("\n") if extra else []
        if len(extras) == 1 and not children:
            return f"{self._get_name()}({extra})"
        body = "".join(f"  {line}\n" for line in itertools.chain(extras, children))
        return f"{self._get_name()}({chr(10) + body if body else ''})"


def indent(text: str) -> str:
    """All lines but the first moved two spaces to the right."""
    return text.replace("\n", "\n  ")
