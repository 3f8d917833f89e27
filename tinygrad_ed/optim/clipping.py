"""Clipping that belongs to an optimizer: made once, it limits the gradients before every step and keeps the norm that it saw.

The norms and the scaling are those of `nn.utils`, whose functions do the same once, where a training loop calls them.
"""
from __future__ import annotations

import math
from typing import Any, Iterable

from ..autograd.modes import no_grad
from ..linalg import vector_norm
from ..nn.utils.clip_grad import _limit, clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from ..ops.elementwise import maximum
from ..tensor import Tensor
from .lr_scheduler.base import positive
from .optimizer import Optimizer

__all__ = ["AdaptiveClipGrad", "ClipGradNorm", "ClipGradNormPerParameter", "ClipGradValue"]


class _Clipping:
    """What all ways of clipping share: the hook before the step, the norm, and the check that comes before any change.

    A way of clipping writes `_clip`, which limits the gradients of the parameters it gets, all of which have one.
    """

    norm: Tensor | None                               # of all gradients together, before the last clipping

    def __init__(self, optimizer: Optimizer, norm_type: float, error_if_nonfinite: bool):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__} takes an Optimizer, got {type(optimizer).__name__}; for parameters there are the "
                            f"functions nn.utils.clip_grad_norm_ and clip_grad_value_")
        if math.isnan(float(norm_type)):
            raise ValueError(f"norm_type is a number or 'inf', got {norm_type}")
        self.norm_type, self.error_if_nonfinite, self.norm = float(norm_type), error_if_nonfinite, None
        self._handle = optimizer.register_step_pre_hook(self._before_step)

    def _before_step(self, optimizer: Optimizer, args: tuple, kwargs: dict) -> Any:
        """Clip; where the step begins with a closure, which makes the gradients, as soon as that has run."""
        closure = args[0] if args else kwargs.get("closure")
        if closure is None:
            self._clip_all(optimizer)
            return None

        def clipped() -> Any:
            loss = closure()
            self._clip_all(optimizer)
            return loss

        return (clipped, *args[1:]), {name: value for name, value in kwargs.items() if name != "closure"}

    @no_grad()
    def _clip_all(self, optimizer: Optimizer) -> None:
        # a gradient that several parameters share is one gradient
        params = list({id(p.grad.data): p for group in optimizer.param_groups for p in group["params"] if p.grad is not None}.values())
        self.norm = get_total_norm([p.grad for p in params], self.norm_type, self.error_if_nonfinite)
        self._clip(params)

    def _clip(self, params: list[Tensor]) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no _clip(params)")

    def remove(self) -> None:
        """Clip no more; a second call does nothing."""
        self._handle.remove()

    def __repr__(self) -> str:
        options = {name: value for name, value in vars(self).items() if not name.startswith("_") and name != "norm"}
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in options.items())})"


class ClipGradNorm(_Clipping):
    """Before every step, scale all gradients by one factor so that their norm is at most max_norm (Pascanu et al., 2013).

        g ← g·min(1, max_norm / (‖g‖ + 1e-6)),  g all gradients as one vector

    With a step that calls a closure, the gradients are limited each time the closure has computed them.

    Args:
        optimizer: the optimizer whose gradients are limited, those of groups that are added later too.
        max_norm: the largest norm, not negative; ∞ only measures it.
        norm_type: p of the norm; 1, 2, ∞ or "inf", or another number.
        error_if_nonfinite: whether a norm of NaN or ∞ is an error.

    Attributes:
        norm: the norm before the last clipping, a 0-d tensor; None before the first.

    Raises:
        DomainError: a negative max_norm; and from `optimizer.step()` a norm that is not finite, with error_if_nonfinite. Gradients,
            parameters and state are as before then.

    Example:
        >>> import tinygrad_ed as tg
        >>> w = tg.tensor([3.0, 4.0], requires_grad=True)
        >>> optimizer = tg.optim.SGD([w], lr=1.0)
        >>> clipping = tg.optim.ClipGradNorm(optimizer, max_norm=1.0)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> clipping.norm, w.detach()
        (tensor(10.), tensor([2.4000, 3.2000]))
        >>> clipping.remove()
    """

    def __init__(self, optimizer: Optimizer, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False):
        self.max_norm = _limit("ClipGradNorm", "max_norm", max_norm)
        super().__init__(optimizer, norm_type, error_if_nonfinite)

    def _clip(self, params: list[Tensor]) -> None:
        clip_grads_with_norm_(params, self.max_norm, self.norm)       # type: ignore[arg-type]


class ClipGradNormPerParameter(_Clipping):
    """Before every step, scale each parameter's gradient so that its own norm is at most max_norm.

    One large gradient does not make the others smaller, as it does with `ClipGradNorm`; the direction of the step changes instead.

    Args:
        optimizer: the optimizer whose gradients are limited.
        max_norm: the largest norm of each gradient, not negative.
        norm_type: p of the norm; 1, 2, ∞ or "inf", or another number.
        error_if_nonfinite: whether a norm of NaN or ∞ is an error.

    Attributes:
        norm: the norm of all gradients together before the last clipping, a 0-d tensor; None before the first.

    Raises:
        DomainError: as for `ClipGradNorm`.

    Example:
        >>> import tinygrad_ed as tg
        >>> v, w = tg.tensor(0.3, requires_grad=True), tg.tensor([3.0, 4.0], requires_grad=True)
        >>> optimizer = tg.optim.SGD([v, w], lr=1.0)
        >>> clipping = tg.optim.ClipGradNormPerParameter(optimizer, max_norm=1.0)
        >>> (v * v + (w * w).sum()).backward()
        >>> optimizer.step()
        >>> v.grad, w.grad
        (tensor(0.6000), tensor([0.6000, 0.8000]))
    """

    def __init__(self, optimizer: Optimizer, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False):
        self.max_norm = _limit("ClipGradNormPerParameter", "max_norm", max_norm)
        super().__init__(optimizer, norm_type, error_if_nonfinite)

    def _clip(self, params: list[Tensor]) -> None:
        for p in params:
            clip_grad_norm_(p, self.max_norm, self.norm_type)


class ClipGradValue(_Clipping):
    """Before every step, limit every number of the gradients to [-clip_value, clip_value].

    Args:
        optimizer: the optimizer whose gradients are limited.
        clip_value: the limit, not negative.
        norm_type: p of the norm that is kept; by default ∞, which is the largest number.
        error_if_nonfinite: whether a norm of NaN or ∞ is an error; otherwise ∞ is limited and NaN stays.

    Attributes:
        norm: the norm of all gradients before the last clipping, a 0-d tensor; None before the first.

    Raises:
        DomainError: a negative clip_value; and from `optimizer.step()` a norm that is not finite, with error_if_nonfinite.

    Example:
        >>> import tinygrad_ed as tg
        >>> w = tg.tensor([3.0, -0.1], requires_grad=True)
        >>> optimizer = tg.optim.SGD([w], lr=1.0)
        >>> clipping = tg.optim.ClipGradValue(optimizer, clip_value=1.0)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> clipping.norm, w.grad
        (tensor(6.), tensor([ 1.0000, -0.2000]))
    """

    def __init__(self, optimizer: Optimizer, clip_value: float, norm_type: float = math.inf, error_if_nonfinite: bool = False):
        self.clip_value = _limit("ClipGradValue", "clip_value", clip_value)
        super().__init__(optimizer, norm_type, error_if_nonfinite)

    def _clip(self, params: list[Tensor]) -> None:
        clip_grad_value_(params, self.clip_value)


class AdaptiveClipGrad(_Clipping):
    """Before every step, limit each unit's gradient to a part of the unit's own weight: AGC (Brock et al., 2021, for NFNets).

        Gᵢ ← Gᵢ·min(1, clip_factor·max(‖Wᵢ‖, eps) / ‖Gᵢ‖)

    A unit is a row Wᵢ = W[i] of a weight: what one output is computed with. A vector, such as a bias, is one unit.

    Args:
        optimizer: the optimizer whose gradients are limited.
        clip_factor: how large a unit's gradient may be, in units of its weight.
        eps: what a smaller weight counts as, so that units that start at zero can move.
        norm_type: p of the norms.
        exclude: parameters that are left as they are; the paper leaves out the last linear layer's.
        error_if_nonfinite: whether a norm of NaN or ∞ is an error.

    Attributes:
        norm: the norm of all gradients together before the last clipping, a 0-d tensor; None before the first.

    Raises:
        ValueError: clip_factor or eps not above 0, or an excluded parameter that the optimizer does not have.
        DomainError: from `optimizer.step()`, as for `ClipGradNorm`.

    Example:
        >>> import tinygrad_ed as tg
        >>> w = tg.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
        >>> optimizer = tg.optim.SGD([w], lr=1.0)
        >>> clipping = tg.optim.AdaptiveClipGrad(optimizer, clip_factor=0.1, eps=1.0)
        >>> (w * tg.tensor([[30.0, 40.0], [0.01, 0.02]])).sum().backward()
        >>> optimizer.step()
        >>> w.grad
        tensor([[0.3000, 0.4000],
                [0.0100, 0.0200]])
    """

    def __init__(self, optimizer: Optimizer, clip_factor: float = 0.01, eps: float = 1e-3, norm_type: float = 2.0,
                 exclude: Iterable[Tensor] = (), error_if_nonfinite: bool = False):
        self.clip_factor, self.eps = positive("clip_factor", clip_factor), positive("eps", eps)
        self._exclude = {exclude} if isinstance(exclude, Tensor) else set(exclude)
        super().__init__(optimizer, norm_type, error_if_nonfinite)
        strangers = self._exclude - {p for group in optimizer.param_groups for p in group["params"]}
        if strangers:
            self.remove()
            raise ValueError(f"the optimizer does not have {len(strangers)} of the {len(self._exclude)} parameters to exclude; write "
                             f"exclude=model.last.parameters() with the model that it optimizes")

    def _clip(self, params: list[Tensor]) -> None:
        for p in params:
            if p in self._exclude or p.numel() == 0:
                continue
            rest = tuple(range(1, p.ndim)) or None    # all but the dimension of the units
            limit = self.clip_factor * vector_norm(p, self.norm_type, rest, keepdim=True).clamp(min=self.eps)
            gradient = p.grad.detach()                # type: ignore[union-attr]
            gradient *= limit / maximum(vector_norm(gradient, self.norm_type, rest, keepdim=True), limit)
