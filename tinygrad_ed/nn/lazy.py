"""Modules that read the sizes of their parameters off their first input, and become ordinary modules then."""
from __future__ import annotations

from typing import Any

from ..backend import device_of
from ..errors import ShapeError
from ..ops.creation import empty
from ..tensor import Tensor
from .linear import Linear
from .module import Module
from .parameter import Parameter

__all__ = ["LazyLinear", "LazyModuleMixin", "UninitializedParameter"]


class UninitializedParameter(Parameter):
    """A parameter whose shape is not known yet.

    It can be moved and converted. Everything that needs its shape is an error until `materialize` has made it a Parameter.

    Args:
        requires_grad: whether it is trained.
        device: where it is made.
        dtype: its dtype; the default floating point dtype by default.

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.nn.UninitializedParameter()
        >>> p.materialize((2, 3))
        >>> type(p).__name__, p.shape
        ('Parameter', (2, 3))
    """

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None):
        super().__init__(empty(0, device=device, dtype=dtype), requires_grad)

    def materialize(self, shape: tuple[int, ...], device: Any = None, dtype: Any = None) -> None:
        """Make this a Parameter of a shape, with arbitrary elements."""
        data = self._data
        self.__class__ = Parameter                    # type: ignore[assignment]
        self.data = empty(*shape, device=device or device_of(data), dtype=dtype or data.dtype).data

    @property
    def shape(self) -> tuple[int, ...]:
        """Not known yet.

        Raises:
            ShapeError: always.
        """
        raise ShapeError("this parameter has no shape before its lazy module has seen an input; call the module once, then use its parameters")

    def detach(self) -> "Tensor":
        """The parameter itself: it has no history and no elements."""
        return self

    def __repr__(self) -> str:
        return "<UninitializedParameter>"

    def __deepcopy__(self, memo: dict) -> "UninitializedParameter":
        if id(self) not in memo:
            memo[id(self)] = UninitializedParameter(self.requires_grad, device_of(self._data), self._data.dtype)
        return memo[id(self)]


class LazyModuleMixin:
    """The part of a module that waits for its first input to learn the sizes of its parameters.

    A lazy class derives from this and from the class that its instances become, makes `UninitializedParameter`s in `__init__`, and gives
    them their shapes in `initialize_parameters`, which is called before the first `forward`, with its arguments.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.LazyLinear(3)
        >>> layer.has_uninitialized_params()
        True
        >>> layer(tg.ones(2, 5)).shape, layer
        ((2, 3), Linear(in_features=5, out_features=3, bias=True))
    """

    cls_to_become: type | None = None

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.register_forward_pre_hook(_initialize, with_kwargs=True)       # type: ignore[attr-defined]
        self.register_load_state_dict_pre_hook(_before_loading)             # type: ignore[attr-defined]

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give the parameters their shapes, which follow from the arguments of the first call; to be written by every lazy class."""
        raise NotImplementedError(f"{type(self).__name__} is lazy and has no `initialize_parameters`; write "
                                  f"`def initialize_parameters(self, input): ...` and materialize the parameters in it")

    def initialize_from_weight(self, shape: tuple[int, ...]) -> None:
        """Give the parameters their shapes, which follow from that of the weight in a `state_dict`."""

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter of this module has no shape yet."""
        return any(isinstance(p, UninitializedParameter) for p in self._parameters.values())      # type: ignore[attr-defined]


def _initialize(module: Any, args: tuple, kwargs: dict) -> None:
    """The hook before the first call."""
    module.initialize_parameters(*args, **kwargs)
    if module.has_uninitialized_params():
        names = [name for name, p in module._parameters.items() if isinstance(p, UninitializedParameter)]
        raise ShapeError(f"{type(module).__name__}.initialize_parameters() has left {', '.join(names)} without a shape; write "
                         f"self.{names[0]}.materialize(shape) in it")
    for kind, hook in (("forward_pre", _initialize), ("load_state_dict_pre", _before_loading)):
        table = module._hooks[kind]
        for key in [key for key, found in table.items() if found.function is hook]:
            del table[key]
        if not table:
            del module._hooks[kind]
    if module.cls_to_become is not None:
        module.__class__ = module.cls_to_become


def _before_loading(module: Any, state_dict: dict, prefix: str, *_: Any) -> None:
    """The hook before a `state_dict` is loaded, which brings the shapes."""
    weight = state_dict.get(prefix + "weight")
    if module.has_uninitialized_params() and weight is not None:
        module.initialize_from_weight(tuple(weight.shape))


class LazyLinear(LazyModuleMixin, Linear):
    """A `Linear` that reads in_features off its first input.

    Args:
        out_features: length of the last dimension of the output.
        bias: whether there is a b.
        device: where the parameters are made.
        dtype: their dtype; the default floating point dtype by default.

    Shapes:
        Input: (*, in_features). Output: (*, out_features).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.LazyLinear(30)(tg.ones(128, 20)).shape
        (128, 30)
    """

    cls_to_become = Linear

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__(0, 0, False, device, dtype)
        self.out_features = out_features
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def initialize_parameters(self, input: Tensor) -> None:
        """Make the weight as wide as the input."""
        if input.ndim == 0:
            raise ShapeError("LazyLinear reads in_features off the last dimension of its input, and a 0-d tensor has none")
        if self.has_uninitialized_params():
            self.initialize_from_weight((self.out_features, input.shape[-1]))

    def initialize_from_weight(self, shape: tuple[int, ...]) -> None:
        """Take in_features from a weight's shape (out_features, in_features)."""
        if len(shape) == 2:
            self.in_features = shape[1]
            materialize(self, weight=(self.out_features, self.in_features), bias=(self.out_features,))


def materialize(module: Module, **shapes: tuple[int, ...]) -> None:
    """Give the parameters of a module shapes and their first values."""
    for name, shape in shapes.items():
        parameter = getattr(module, name)
        if parameter is not None:
            parameter.materialize(shape)
    module.reset_parameters()                         # type: ignore[operator]
