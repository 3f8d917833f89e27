"""Spectral normalization in its older form: the weight is computed before every call, from `weight_orig`."""
from __future__ import annotations

from typing import Any

from ...autograd.modes import no_grad
from ...errors import DimError
from ...ops.matmul import dot, mv
from ...ops.random import randn
from ...ops.reduce import norm
from ...tensor import Tensor, wrap
from ..module import Module
from ..parameter import Parameter
from ._hooks import put_hook, take_hook

__all__ = ["remove_spectral_norm", "spectral_norm"]


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """A weight as a matrix with dimension `dim` as its rows."""
    return weight.movedim(dim, 0).reshape(weight.shape[dim], -1) if weight.ndim > 1 else weight.reshape(-1, 1)


def unit(x: Tensor, eps: float) -> Tensor:
    """x/max(|x|, ε)."""
    return x / norm(x).clamp(min=eps)


def random_unit(n: int, like: Tensor, eps: float) -> Tensor:
    """A random vector of length 1."""
    return unit(randn(n, dtype=like.dtype, device=like.device), eps)


def outputs_dim(module: Module, dim: int | None) -> int:
    """The dimension of a weight that counts outputs: 0, and 1 for transposed convolutions, by default."""
    return dim if dim is not None else 1 if type(module).__name__.removeprefix("Parametrized").startswith("ConvTranspose") else 0


def check_iterations(n: int) -> None:
    """Refuse numbers of power iterations that are not positive.

    Raises:
        ValueError: not positive.
    """
    if n <= 0:
        raise ValueError(f"spectral_norm takes a positive number of power iterations, got {n}")


class SpectralNorm:
    """The hook that computes the weight before every call.

    Args:
        name: the parameter's name.
        n_power_iterations: steps towards the singular vectors in every call in training.
        dim: the dimension that counts outputs.
        eps: the smallest length that is divided by.
    """

    def __init__(self, name: str, n_power_iterations: int, dim: int, eps: float):
        check_iterations(n_power_iterations)
        self.name, self.n_power_iterations, self.dim, self.eps = name, n_power_iterations, dim, eps

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """W/σ with σ = uᵀ W v, after steps of the power method v = Wᵀu/|Wᵀu|, u = Wv/|Wv| if asked."""
        weight = getattr(module, self.name + "_orig")
        matrix = as_matrix(weight, self.dim)
        if do_power_iteration:
            with no_grad():
                w = matrix.detach()
                for _ in range(self.n_power_iterations):
                    setattr(module, self.name + "_v", unit(mv(w.T, getattr(module, self.name + "_u")), self.eps))
                    setattr(module, self.name + "_u", unit(mv(w, getattr(module, self.name + "_v")), self.eps))
        return weight / dot(getattr(module, self.name + "_u"), mv(matrix, getattr(module, self.name + "_v")))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, module.training))


def spectral_norm(module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None) -> Module:
    """Divide a weight by its largest singular value σ (Miyato et al., 2018), which bounds how much a layer can stretch its input.

    σ = uᵀ W v is estimated by the power method, a few steps in every call in training. This is the older form, with the parameter
    `<name>_orig` and the buffers `<name>_u` and `<name>_v`; `parametrizations.spectral_norm` is the newer one.

    Args:
        module: the module, whose parameter is replaced.
        name: the parameter's name.
        n_power_iterations: steps of the power method in every call in training, positive.
        eps: the smallest length that is divided by.
        dim: the dimension that counts outputs: 0 by default, 1 for transposed convolutions.

    Returns:
        The module.

    Raises:
        ValueError: no such parameter, or a number of iterations that is not positive.
        RuntimeError: spectral normalization of this parameter already.
        DimError: a dimension outside the weight.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.utils.spectral_norm(tg.nn.Linear(20, 40))
        >>> list(layer.state_dict())
        ['bias', 'weight_orig', 'weight_u', 'weight_v']
    """
    dim = outputs_dim(module, dim)
    hook = SpectralNorm(name, n_power_iterations, dim, eps)
    present = module._parameters.get(name)
    if present is not None and not -present.ndim <= dim < present.ndim:
        raise DimError(f"spectral_norm: {name!r} has shape {present.shape} and no dimension {dim}")
    weight = put_hook(module, hook, "spectral_norm")
    matrix = as_matrix(weight.detach(), dim)
    module.register_parameter(name + "_orig", weight)
    setattr(module, name, wrap(weight.data))
    for suffix, n in zip(("_u", "_v"), matrix.shape):
        module.register_buffer(name + suffix, random_unit(n, weight, eps))
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Make a weight an ordinary parameter again, with the value that it has now.

    Args:
        module: a module after `spectral_norm`.
        name: the parameter's name.

    Returns:
        The module.

    Raises:
        ValueError: no spectral normalization of this parameter.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.utils.spectral_norm(tg.nn.Linear(20, 40))
        >>> list(tg.nn.utils.remove_spectral_norm(layer).state_dict())
        ['bias', 'weight']
    """
    hook = take_hook(module, SpectralNorm, name, "spectral_norm")
    value = hook.compute_weight(module, False).detach()
    for suffix in ("", "_u", "_v", "_orig"):
        delattr(module, name + suffix)
    module.register_parameter(name, Parameter(value))
    return module
