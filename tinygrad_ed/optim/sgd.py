"""SGD: stochastic gradient descent, with momentum."""
from __future__ import annotations

from typing import Any, Callable, Iterable

from ..autograd.inplace import stamp_all
from ..backend import capture
from ..backend.kernels import kernels
from .flat import Piece
from .optimizer import Optimizer, uphill

__all__ = ["SGD"]

FORMS = ("classical", "averaged", "lookahead")


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum as of Polyak (1964) or Nesterov (1983).

        g ← ∇f(θ) + weight_decay·θ
        v ← momentum·v + (1 - dampening)·g          (v ← g at the first step)
        θ ← θ - lr·v                                (nesterov: lr·(g + momentum·v))

    Textbooks have two other forms. The exponentially weighted average, form="averaged", starts at v = 0 and makes the steps of the
    classical form with the learning rate (1 - momentum)·lr:

        v ← momentum·v + (1 - momentum)·g
        θ ← θ - lr·v                                (nesterov: lr·((1 - momentum)·g + momentum·v))

    Nesterov's method as of Sutskever et al. (2013), form="lookahead", takes the gradient ahead of θ:

        θ̃ = θ - lr·momentum·v
        v ← momentum·v + ∇f(θ̃) + weight_decay·θ̃
        θ ← θ - lr·v

    Both are one method: PyTorch's form, the classical one with nesterov, has θ̃ in the parameters where this form has θ. Here `step`
    needs a closure, which it calls at θ̃.

    Args:
        params: the parameters, as for `Optimizer`.
        lr: the learning rate.
        momentum: how much of the last step goes into the next.
        dampening: how much less of the gradient goes into it.
        weight_decay: the factor of the L2 penalty.
        nesterov: look ahead by one momentum step; needs a momentum and no dampening.
        maximize: go uphill.
        foreach, fused: accepted as in PyTorch, where they choose between equal implementations.
        differentiable: only False; steps are not recorded.
        form: "classical", "averaged" (without dampening) or "lookahead" (with nesterov); PyTorch has only the first.

    Raises:
        ValueError: a negative option, nesterov without momentum or with dampening, or a form that does not go with the rest.

    Example:
        >>> import tinygrad_ed as tg
        >>> p = tg.tensor(1.0, requires_grad=True)
        >>> optimizer = tg.optim.SGD([p], lr=0.1)
        >>> (p * p).backward()
        >>> optimizer.step()
        >>> round(p.item(), 3)
        0.8
    """

    _like_parameter = ("momentum_buffer",)
    _blocks = False

    def __init__(self, params: Iterable, lr: float = 1e-3, momentum: float = 0, dampening: float = 0, weight_decay: float = 0,
                 nesterov: bool = False, *, maximize: bool = False, foreach: bool | None = None, differentiable: bool = False,
                 fused: bool | None = None, form: str = "classical"):
        super().__init__(params, dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov,
                                      maximize=maximize, foreach=foreach, differentiable=differentiable, fused=fused,
                                      **({} if form == "classical" else {"form": form})))      # groups are PyTorch's by default

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        momentum, dampening, nesterov, form = group["momentum"], group["dampening"], group["nesterov"], _form(group)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(f"nesterov needs a momentum above 0 and no dampening, got momentum={momentum}, dampening={dampening}; write "
                             f"momentum=0.9")
        if form not in FORMS:
            raise ValueError(f"form is one of {', '.join(map(repr, FORMS))}, got {form!r}")
        if form == "averaged" and dampening != 0:
            raise ValueError(f'form="averaged" takes (1 - momentum)·g and no dampening, got dampening={dampening}; leave it out')
        if form == "lookahead" and not nesterov:
            raise ValueError('form="lookahead" is a form of Nesterov\'s method; write nesterov=True, momentum=0.9, form="lookahead"')

    def _entries(self, group: dict[str, Any]) -> Iterable[str]:
        return self._like_parameter if group["momentum"] else ()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient.

        Args:
            closure: computes the loss and its gradients anew; called first, while operations are recorded. With form="lookahead" it is
                needed, and sees the parameters look ahead.

        Returns:
            What the closure returns.

        Raises:
            ValueError: no closure with form="lookahead".
        """
        if all(_form(group) != "lookahead" for group in self.param_groups):
            return super().step(closure)
        if closure is None:
            raise ValueError('form="lookahead" takes the gradient ahead of the parameters, so step needs a closure that computes it; write '
                             'step(closure), or the same method in PyTorch\'s form: form="classical"')
        return super().step(lambda: self._ahead(closure))

    def _ahead(self, closure: Callable[[], Any]) -> Any:
        """What the closure returns with all parameters of the look-ahead form at θ - lr·momentum·v."""
        capture.forbid('form="lookahead", which moves the parameters by the lr of the host,', 'write form="classical", or step outside of it')
        moved = [(p, p._data.copy(), float(group["lr"]) * group["momentum"]) for group in self.param_groups if _form(group) == "lookahead"
                 for p in group["params"] if "momentum_buffer" in self.state.get(p, ())]
        try:
            for p, here, factor in moved:
                p._data[...] = here - factor * self.state[p]["momentum_buffer"]._data
            stamp_all([p._data for p, _, _ in moved])
            return closure()
        finally:
            for p, here, _ in moved:
                p._data[...] = here
            stamp_all([p._data for p, _, _ in moved])

    def _rates(self, group: dict[str, Any], numbers: dict[str, float]) -> tuple[float, ...]:
        return float(group["lr"]),

    def _skips(self, group: dict[str, Any]) -> bool:
        return _form(group) == "classical" and not group["dampening"]      # which depends on whether there was a step before

    def _update(self, group: dict[str, Any], x: Piece) -> None:
        (lr,), momentum, form, v = x.rates, group["momentum"], _form(group), x.state.get("momentum_buffer")
        if form == "classical" or not momentum:
            kernels(x.p).sgd_step(x.p, x.g, v, lr, momentum, 1.0 if x.first else 1.0 - group["dampening"], float(group["weight_decay"]),
                                  sign=-1.0 if group["maximize"] else 1.0, nesterov=group["nesterov"], skip=x.skip)
        elif form == "averaged":
            g = (1 - momentum) * uphill(group, x)
            v *= momentum
            v += g
            x.p -= lr * (g + momentum * v if group["nesterov"] else v)
        else:
            g = uphill(group, Piece(x.p - lr * momentum * v, x.g, x.state, x.numbers, x.first))
            v *= momentum
            v += g
            x.p -= lr * v


def _form(group: dict[str, Any]) -> str:
    return group.get("form", "classical")
