"""Parametrizations: a parameter that is computed from another one, each time it is used.

A parametrized module gets a class of its own, with a property in the place of the parameter; the originals live in
`module.parametrizations.<name>`, under the same names as in PyTorch.
"""
from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import cache
from typing import Any, Callable, Iterator, Sequence

from ...autograd.modes import no_grad
from ...errors import DTypeError, ShapeError
from ...tensor import Tensor
from ..container import ModuleDict, ModuleList
from ..module import Module
from ..parameter import Parameter

__all__ = ["ParametrizationList", "cached", "is_parametrized", "register_parametrization", "remove_parametrizations",
           "type_before_parametrizations"]


class _Cache(threading.local):
    depth = 0
    values: dict[tuple[Module, str], Tensor] = {}


_cache = _Cache()


@contextmanager
def cached() -> Iterator[None]:
    """Compute every parametrized tensor once inside a `with` block, instead of at every use.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.utils.parametrizations.weight_norm(tg.nn.Linear(2, 2))
        >>> with cached():
        ...     layer.weight is layer.weight
        True
    """
    if _cache.depth == 0:
        _cache.values = {}
    _cache.depth += 1
    try:
        yield
    finally:
        _cache.depth -= 1
        if _cache.depth == 0:
            _cache.values = {}


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied in order, and the tensors that the first is applied to: `original`, or `original0`…

    Made by `register_parametrization`, not by users.

    Args:
        modules: the parametrizations.
        original: the parameter or buffer that is parametrized.
        unsafe: whether they may change its dtype and shape.

    Raises:
        ValueError, ShapeError, DTypeError: parametrizations that do not fit; the original has not been changed then.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.utils.parametrizations.weight_norm(tg.nn.Linear(2, 2))
        >>> type(layer.parametrizations.weight).__name__
        'ParametrizationList'
    """

    original: Tensor

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False):
        if not modules:
            raise ValueError("a ParametrizationList has one parametrization at least")
        super().__init__(modules)
        self.unsafe = unsafe
        with no_grad():
            new = original
            for module in reversed(list(modules)):
                new = _inverse(module, new, must=False)
            sources = (new,) if isinstance(new, Tensor) else tuple(new)
            if not unsafe:
                _check_same("the parametrized tensor", self._apply_all(sources), original)
        self.is_tensor, self.ntensors = isinstance(new, Tensor), len(sources)
        if self.is_tensor:
            self._check_source(original, new)
            if new is not original:
                original.data = new.data.copy()
            self._keep("original", original)
        for i, source in enumerate(sources if not self.is_tensor else ()):
            source = source.detach()
            self._keep(f"original{i}", Parameter(source, original.requires_grad) if isinstance(original, Parameter) else source)

    def _keep(self, name: str, tensor: Tensor) -> None:
        _register(self, name, tensor)

    @staticmethod
    def _check_source(original: Tensor, new: Tensor) -> None:
        if original.dtype != new.dtype or original.device != new.device:
            raise DTypeError(f"a right_inverse that returns one tensor keeps dtype and device: the original has {original.dtype} on "
                             f"{original.device}, it returned {new.dtype} on {new.device}")

    def originals(self) -> tuple[Tensor, ...]:
        """The tensors that the first parametrization is applied to."""
        return (self.original,) if self.is_tensor else tuple(getattr(self, f"original{i}") for i in range(self.ntensors))

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the parametrized tensor becomes `value`: what assigning to the parameter does.

        Raises:
            RuntimeError: a parametrization without right_inverse.
            ValueError, DTypeError: one that returns something else than before.
        """
        with no_grad():
            for module in reversed(list(self)):
                value = _inverse(module, value, must=True)
            sources = (value,) if isinstance(value, Tensor) else tuple(value)
            if len(sources) != self.ntensors or isinstance(value, Tensor) != self.is_tensor:
                raise ValueError(f"right_inverse returned {len(sources)} tensors, there are {self.ntensors} originals")
            for original, source in zip(self.originals(), sources):
                self._check_source(original, source)
            for original, source in zip(self.originals(), sources):
                original.data = source.data.copy()

    def _apply_all(self, sources: tuple) -> Any:
        first, *others = self
        x = first(*sources)
        for module in others:
            x = module(x)
        return x

    def forward(self) -> Tensor:
        return self._apply_all(self.originals())


def _register(module: Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _inverse(module: Module, value: Any, must: bool) -> Any:
    """module.right_inverse(value), checked; the value itself if there is none and it need not be."""
    function: Callable | None = getattr(module, "right_inverse", None)
    if function is None:
        if must:
            raise RuntimeError(f"{type(module).__name__} has no right_inverse, so the parametrized tensor cannot be assigned to; "
                               f"write a right_inverse(value), or assign to module.parametrizations.<name>.original")
        return value
    try:
        value = function(value)
    except NotImplementedError:
        if must:
            raise
        return value
    if not isinstance(value, Tensor) and not (isinstance(value, Sequence) and value and all(isinstance(v, Tensor) for v in value)):
        raise ValueError(f"{type(module).__name__}.right_inverse returns a tensor or a sequence of tensors, got {type(value).__name__}")
    return value


def _check_same(what: str, new: Any, old: Tensor) -> None:
    if not isinstance(new, Tensor):
        raise ValueError(f"{what} is a Tensor, got {type(new).__name__}")
    hint = "; pass unsafe=True if this is meant"
    if new.dtype != old.dtype:
        raise DTypeError(f"{what} keeps its dtype: it was {old.dtype}, now it is {new.dtype}{hint}")
    if new.shape != old.shape:
        raise ShapeError(f"{what} keeps its shape: it was {old.shape}, now it is {new.shape}{hint}")


# -- the class of a parametrized module --------------------------------------------------------------------------------

@cache
def _parametrized(base: type, names: tuple[str, ...]) -> type:
    """The subclass of a module's class with properties in the place of some parameters."""
    members: dict[str, Any] = {name: _property(name) for name in names}
    members.update(__module__=base.__module__, __doc__=base.__doc__, _unparametrized=base, _parametrized_names=names, __reduce_ex__=_reduce)
    return type(f"Parametrized{base.__name__}", (base,), members)


def _reduce(module: Any, protocol: Any) -> tuple:
    return _rebuild, (module._unparametrized, module._parametrized_names), module.__dict__


def _rebuild(base: type, names: tuple[str, ...]) -> Any:
    return object.__new__(_parametrized(base, names))


def _property(name: str) -> property:
    def compute(module: Any) -> Tensor:
        if not _cache.depth:
            return _evaluate(module, name)
        value = _cache.values.get((module, name))
        if value is None:
            value = _cache.values[module, name] = _evaluate(module, name)
        return value

    def assign(module: Any, value: Tensor) -> None:
        module.parametrizations[name].right_inverse(value)
    return property(compute, assign, doc=f"`{name}`, computed by its parametrizations.")


def _evaluate(module: Any, name: str) -> Tensor:
    try:
        return module.parametrizations[name]()
    except AttributeError as error:                   # would be taken for a missing attribute of the module
        raise RuntimeError(f"computing the parametrized {name!r} of {type(module).__name__} failed: {error}") from error


def _set_class(module: Module, names: tuple[str, ...]) -> None:
    base = type_before_parametrizations(module)
    module.__class__ = _parametrized(base, names) if names else base


# -- the public functions ----------------------------------------------------------------------------------------------

def register_parametrization(module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False) -> Module:
    """Let a parameter or buffer be computed by a module from the tensor it was: `module.weight` becomes `parametrization(original)`.

    The original, the same Parameter as before, is trained in its place; an optimizer made before keeps working. Several parametrizations
    of one tensor are applied one after the other. If the parametrization has a method right_inverse(value), the original begins as
    right_inverse(present value), and assigning to `module.weight` sets the original likewise. It may return several tensors, which then
    are `original0`, `original1`… and the arguments of the parametrization.

    Args:
        module: the module, whose class becomes a subclass of what it was.
        tensor_name: the name of the parameter or buffer.
        parametrization: a module from tensors of its shape and dtype to such tensors.
        unsafe: whether it may change shape and dtype.

    Returns:
        The module.

    Raises:
        ValueError: no such parameter, or a right_inverse that does not return tensors.
        ShapeError, DTypeError: a change of shape or dtype. Nothing has been changed then.

    Example:
        >>> import tinygrad_ed as tg
        >>> class Symmetric(tg.nn.Module):
        ...     def forward(self, x):
        ...         return x.triu() + x.triu(1).T
        ...     def right_inverse(self, a):
        ...         return a.triu()
        >>> layer = tg.nn.utils.parametrize.register_parametrization(tg.nn.Linear(3, 3), "weight", Symmetric())
        >>> bool((layer.weight == layer.weight.T).all()), list(layer.state_dict())
        (True, ['bias', 'parametrizations.weight.original'])
    """
    if not isinstance(parametrization, Module):
        raise TypeError(f"a parametrization is a Module, got {type(parametrization).__name__}")
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        table = module.parametrizations[tensor_name]
        if not unsafe:
            with no_grad():
                before = getattr(module, tensor_name)
                after = parametrization(before)
                _check_same(f"the parametrized {tensor_name!r}", after, before)
                _check_same("the value of right_inverse", _inverse(parametrization, after, must=False), before)
        table.append(parametrization)
        table.unsafe = table.unsafe or unsafe
        return module
    original: Tensor | None = module._parameters.get(tensor_name)
    original = module._buffers.get(tensor_name) if original is None else original
    if original is None:
        present = ", ".join(map(repr, [*module._parameters, *module._buffers])) or "none"
        raise ValueError(f"{type(module).__name__} has no parameter or buffer {tensor_name!r}; it has {present}")
    table = ParametrizationList([parametrization], original, unsafe)
    delattr(module, tensor_name)
    names = (*getattr(module, "_parametrized_names", ()), tensor_name)
    if len(names) == 1:
        module.parametrizations = ModuleDict()
    _set_class(module, names)
    module.parametrizations[tensor_name] = table
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has a parametrization, of one tensor or of any.

    Args:
        module: the module.
        tensor_name: the name of the parameter or buffer; any by default.

    Returns:
        True or False.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.utils.parametrizations.weight_norm(tg.nn.Linear(2, 2))
        >>> is_parametrized(layer, "weight"), is_parametrized(layer, "bias")
        (True, False)
    """
    names = getattr(module, "_parametrized_names", ())
    return bool(names) if tensor_name is None else tensor_name in names


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make a parametrized tensor an ordinary one again.

    Args:
        module: the module.
        tensor_name: the name of the parameter or buffer.
        leave_parametrized: whether it keeps the value that it has now, or gets that of the original.

    Returns:
        The module.

    Raises:
        ValueError: a tensor that is not parametrized, or the original asked for where there are several.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.utils.parametrizations.weight_norm(tg.nn.Linear(2, 2))
        >>> tg.nn.utils.parametrize.remove_parametrizations(layer, "weight")
        Linear(in_features=2, out_features=2, bias=True)
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"{type(module).__name__} has no parametrization of {tensor_name!r}")
    table = module.parametrizations[tensor_name]
    if not table.is_tensor and not leave_parametrized:
        raise ValueError(f"{tensor_name!r} is computed from {table.ntensors} tensors, none of which it can become; write "
                         f"leave_parametrized=True")
    tensor = table.originals()[0]
    if leave_parametrized:
        with no_grad():
            value = getattr(module, tensor_name)
        if table.is_tensor:
            tensor.data = value.data                  # the same Parameter, which an optimizer may know
        else:
            trained = any(t.requires_grad for t in table.originals())
            tensor = Parameter(value.detach(), trained) if isinstance(tensor, Parameter) else value.detach()
    names = tuple(name for name in module._parametrized_names if name != tensor_name)      # type: ignore[attr-defined]
    del module.parametrizations[tensor_name]
    if not names:
        del module.parametrizations
    _set_class(module, names)
    _register(module, tensor_name, tensor)
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class that a module had before it was parametrized; its class if it is not.

    Args:
        module: the module.

    Returns:
        The class.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.utils.parametrizations.weight_norm(tg.nn.Linear(2, 2))
        >>> type(layer).__name__, type_before_parametrizations(layer).__name__
        ('ParametrizedLinear', 'Linear')
    """
    return getattr(type(module), "_unparametrized", type(module))
