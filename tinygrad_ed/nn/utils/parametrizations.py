"""Ready-made parametrizations: weight normalization, spectral normalization, orthogonal matrices."""
from __future__ import annotations

from functools import partial
from typing import Any

from ...autograd.modes import no_grad
from ...errors import DimError, ShapeError
from ...linalg import matrix_exp, qr, solve
from ...ops.creation import eye, zeros
from ...ops.elementwise import sign
from ...ops.join import cat
from ...ops.matmul import dot, mv
from ...ops.random import randn
from ...tensor import Tensor
from ..module import Module
from .parametrize import register_parametrization
from .spectral_norm import as_matrix, check_iterations, outputs_dim, random_unit, unit
from .weight_norm import compute_weight, norm_except_dim

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


# -- weight normalization ----------------------------------------------------------------------------------------------

class _WeightNorm(Module):
    def __init__(self, dim: int | None):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return compute_weight(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Compute a weight from its length and its direction, w = g·v/|v| (Salimans and Kingma, 2016), both of which are trained.

    They are `parametrizations.<name>.original0` and `original1`; a `state_dict` of the older form, with `<name>_g` and `<name>_v`, can be
    loaded too.

    Args:
        module: the module.
        name: the parameter's name.
        dim: the dimension along which there is a length for each slice, 0 for one per output; None for one length of all.

    Returns:
        The module.

    Raises:
        ValueError: no such parameter.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.utils.parametrizations.weight_norm(tg.nn.Linear(20, 40))
        >>> layer.parametrizations.weight.original0.shape, layer.parametrizations.weight.original1.shape
        ((40, 1), (40, 20))
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)
    module.register_load_state_dict_pre_hook(partial(_rename_older, name))
    return module


def _rename_older(name: str, module: Module, state_dict: dict, prefix: str, *_: Any) -> None:
    """The hook that gives the keys of the older form their new names."""
    if f"{prefix}{name}_g" in state_dict and f"{prefix}{name}_v" in state_dict:
        for i, suffix in enumerate(("_g", "_v")):
            state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(f"{prefix}{name}{suffix}")


# -- spectral normalization --------------------------------------------------------------------------------------------

class _SpectralNorm(Module):
    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int, dim: int, eps: float):
        super().__init__()
        check_iterations(n_power_iterations)
        if not -weight.ndim <= dim < weight.ndim:
            raise DimError(f"spectral_norm: the weight has shape {weight.shape} and no dimension {dim}")
        self.dim, self.eps = dim % weight.ndim, eps
        if weight.ndim > 1:                           # the norm of a vector needs no estimate
            self.n_power_iterations = n_power_iterations
            matrix = as_matrix(weight.detach(), self.dim)
            for name, n in zip(("_u", "_v"), matrix.shape):
                self.register_buffer(name, random_unit(n, weight, eps))
            self._power_method(matrix, 15)

    def _power_method(self, matrix: Tensor, steps: int) -> None:
        with no_grad():
            for _ in range(steps):                    # new tensors: the graph of a call before may need the old ones
                self._u = unit(mv(matrix, self._v), self.eps)
                self._v = unit(mv(matrix.T, self._u), self.eps)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return unit(weight, self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._power_method(matrix.detach(), self.n_power_iterations)
        return weight / dot(self._u, mv(matrix, self._v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None) -> Module:
    """Divide a weight by its largest singular value σ (Miyato et al., 2018), which bounds how much a layer can stretch its input.

    σ = uᵀ W v is estimated by the power method, with 15 steps at first and then a few whenever the weight is used in training. A vector
    is divided by its length.

    Args:
        module: the module.
        name: the parameter's name.
        n_power_iterations: steps of the power method, positive.
        eps: the smallest length that is divided by.
        dim: the dimension that counts outputs: 0 by default, 1 for transposed convolutions.

    Returns:
        The module.

    Raises:
        ValueError: no such parameter, or a number of iterations that is not positive.
        DimError: a dimension outside the weight.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.utils.parametrizations.spectral_norm(tg.nn.Linear(20, 40))
        >>> bool((tg.linalg.matrix_norm(layer.weight, 2) - 1).abs() < 0.3)
        True
    """
    weight = _tensor_of(module, name)
    parametrization = _SpectralNorm(weight, n_power_iterations, outputs_dim(module, dim), eps)
    return register_parametrization(module, name, parametrization)


def _tensor_of(module: Module, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"{type(module).__name__} has no parameter or buffer {name!r}; it has "
                         f"{', '.join(map(repr, [*module._parameters, *module._buffers])) or 'none'}")
    return weight


# -- orthogonal matrices -----------------------------------------------------------------------------------------------

class _Orthogonal(Module):
    """Q = B·f(X) for tall matrices, with an orthogonal f(X) that is the identity where training begins."""

    base: Tensor

    def __init__(self, shape: tuple[int, ...], orthogonal_map: str, use_trivialization: bool):
        super().__init__()
        self.shape, self.orthogonal_map = shape, orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        wide = X.shape[-2] < X.shape[-1]
        X = X.mT if wide else X
        n, k = X.shape[-2:]
        Q = _reflections(X) if self.orthogonal_map == "householder" else self._of_skew(X.tril(), n, k)
        if "base" in self._buffers:
            Q = self.base @ Q
        return Q.mT if wide else Q

    def _of_skew(self, X: Tensor, n: int, k: int) -> Tensor:
        """The exponential, or Cayley's map (I - A/2)⁻¹ (I + A/2), of the skew-symmetric A = X - Xᵀ."""
        if n != k:
            X = cat([X, zeros(*X.shape[:-1], n - k, dtype=X.dtype, device=X.device)], -1)
        A = X - X.mT
        if self.orthogonal_map == "matrix_exp":
            return matrix_exp(A)[..., :k]
        one = eye(n, dtype=A.dtype, device=A.device)
        return solve(one - A * 0.5, one + A * 0.5)[..., :k]

    def right_inverse(self, Q: Tensor) -> Tensor:
        if Q.shape != self.shape:
            raise ShapeError(f"an orthogonal matrix of shape {self.shape} is expected, got shape {Q.shape}")
        if "base" not in self._buffers:
            raise NotImplementedError("without use_trivialization an orthogonal matrix cannot be assigned to, only its original")
        with no_grad():
            tall = Q.mT if Q.shape[-2] < Q.shape[-1] else Q
            n, k = tall.shape[-2:]
            if n != k:
                tall = cat([tall, randn(*tall.shape[:-1], n - k, dtype=Q.dtype, device=Q.device)], -1)
            one = eye(n, dtype=Q.dtype, device=Q.device)
            is_orthogonal = bool(((tall.mT @ tall - one).abs() < (1e-5 if Q.dtype.itemsize < 8 else 1e-12)).all())
            self.base = tall.clone() if is_orthogonal else _orthogonalized(tall)
            start = zeros(*Q.shape, dtype=Q.dtype, device=Q.device)
            start.diagonal(0, -2, -1).fill_(-1.0)     # where reflections are the identity; skew parts ignore the diagonal
            return start


def _orthogonalized(A: Tensor) -> Tensor:
    Q, R = qr(A)
    return Q * sign(R.diagonal(0, -2, -1)).unsqueeze(-2)


def _reflections(X: Tensor) -> Tensor:
    """The first columns of the product of Householder reflections I - τ v vᵀ, whose vectors v are 1 on the diagonal and X below it.

    The signs of X's diagonal, which is not trained, are those of the columns.
    """
    n, k = X.shape[-2:]
    below = X.tril(-1)
    V = below + eye(n, k, dtype=X.dtype, device=X.device)
    tau = 2 / (1 + (below * below).sum(-2))
    Q = eye(n, k, dtype=X.dtype, device=X.device).expand(*X.shape)
    for i in reversed(range(k)):
        v = V[..., i:i + 1]
        Q = Q - tau[..., i:i + 1].unsqueeze(-1) * (v @ (v.mT @ Q))
    return Q * sign(X.detach().diagonal(0, -2, -1)).unsqueeze(-2)


def orthogonal(module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True) -> Module:
    """Keep a matrix orthogonal: its columns orthonormal, or its rows if it is wider than tall.

    Lezcano-Casado, "Trivializations for gradient-based optimization on manifolds", 2019.

    Args:
        module: the module.
        name: the name of a parameter of shape (…, m, n).
        orthogonal_map: "matrix_exp", the exponential of a skew-symmetric matrix; "cayley", (I - A/2)⁻¹ (I + A/2); or "householder", a
            product of reflections. By default the first for square matrices, the last for others.
        use_trivialization: keep the present matrix, made orthogonal if it is not, as a factor `base`, so that training begins there; needed
            to assign to the parameter.

    Returns:
        The module.

    Raises:
        ValueError: no such parameter, or an unknown map.
        ShapeError: fewer than 2 dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> Q = tg.nn.utils.parametrizations.orthogonal(tg.nn.Linear(20, 40)).weight
        >>> bool(((Q.T @ Q - tg.eye(20)).abs() < 1e-5).all())
        True
    """
    weight = _tensor_of(module, name)
    if weight.ndim < 2:
        raise ShapeError(f"orthogonal takes a matrix or a batch of them, got shape {weight.shape}")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(f'orthogonal_map is "matrix_exp", "cayley" or "householder", got {orthogonal_map!r}')
    return register_parametrization(module, name, _Orthogonal(weight.shape, orthogonal_map, use_trivialization), unsafe=True)
