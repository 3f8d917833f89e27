"""Weight normalization in its older form: the weight is computed before every call, from `weight_g` and `weight_v`."""
from __future__ import annotations

from typing import Any

from ...ops.reduce import norm
from ...tensor import Tensor
from ..module import Module
from ..parameter import Parameter
from ._hooks import put_hook, take_hook

__all__ = ["remove_weight_norm", "weight_norm"]


def norm_except_dim(v: Tensor, dim: int | None) -> Tensor:
    """The lengths of the slices along a dimension, kept with length 1 elsewhere; one length of all for None and -1."""
    if dim is None or dim == -1:
        return norm(v)
    return norm(v, 2, tuple(i for i in range(v.ndim) if i != dim % v.ndim), keepdim=True) if v.ndim > 1 else norm(v.unsqueeze(0), 2, 0)


def compute_weight(v: Tensor, g: Tensor, dim: int | None) -> Tensor:
    """w = g·v/|v|."""
    return v * (g / norm_except_dim(v, dim))


class WeightNorm:
    """The hook that computes the weight before every call.

    Args:
        name: the parameter's name.
        dim: the dimension along which lengths are kept apart; None for one length.
    """

    def __init__(self, name: str, dim: int | None):
        self.name, self.dim = name, dim

    def compute_weight(self, module: Module) -> Tensor:
        """The weight of a module, from its `_g` and `_v`."""
        return compute_weight(getattr(module, self.name + "_v"), getattr(module, self.name + "_g"), self.dim)

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Replace a weight by its length and its direction, w = g·v/|v| (Salimans and Kingma, 2016), both of which are trained.

    This is the older form, with the parameters `<name>_g` and `<name>_v`; `parametrizations.weight_norm` is the newer one.

    Args:
        module: the module, whose parameter is replaced.
        name: the parameter's name.
        dim: the dimension along which there is a length for each slice, 0 for one per output; None for one length of all.

    Returns:
        The module.

    Raises:
        ValueError: no such parameter.
        RuntimeError: weight normalization of this parameter already.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.utils.weight_norm(tg.nn.Linear(20, 40))
        >>> layer.weight_g.shape, layer.weight_v.shape
        ((40, 1), (40, 20))
    """
    hook = WeightNorm(name, dim)
    weight = put_hook(module, hook, "weight_norm")
    module.register_parameter(name + "_g", Parameter(norm_except_dim(weight.detach(), dim).detach()))
    module.register_parameter(name + "_v", Parameter(weight.detach()))
    setattr(module, name, hook.compute_weight(module))
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make a weight an ordinary parameter again, with the value that it has now.

    Args:
        module: a module after `weight_norm`.
        name: the parameter's name.

    Returns:
        The module.

    Raises:
        ValueError: no weight normalization of this parameter.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.utils.weight_norm(tg.nn.Linear(20, 40))
        >>> list(tg.nn.utils.remove_weight_norm(layer).state_dict())
        ['bias', 'weight']
    """
    hook = take_hook(module, WeightNorm, name, "weight_norm")
    value = hook.compute_weight(module).detach()
    for suffix in ("", "_g", "_v"):
        delattr(module, name + suffix)
    module.register_parameter(name, Parameter(value))
    return module
