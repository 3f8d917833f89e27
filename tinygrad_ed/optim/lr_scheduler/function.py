"""Schedules by any function of the epoch."""
from __future__ import annotations

from typing import Any, Callable, Mapping

from ..optimizer import Optimizer
from .base import LRScheduler, functions, require_optimizer, saved_function, values

__all__ = ["LambdaLR", "MultiplicativeLR"]


class _OfFunctions(LRScheduler):
    """A schedule with a function per group, which is saved only where it is an object with a state."""

    lr_lambdas: list[Callable[[int], float]]

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | list[Callable[[int], float]], last_epoch: int = -1):
        require_optimizer(optimizer)
        self.lr_lambdas = functions("lr_lambda", optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "lr_lambdas": [saved_function(f) for f in self.lr_lambdas]}

    def _check_state(self, state: Mapping[str, Any]) -> None:
        super()._check_state(state)
        if len(state["lr_lambdas"]) != len(self.lr_lambdas):
            raise ValueError(f"the state_dict is for {len(state['lr_lambdas'])} functions, the schedule has {len(self.lr_lambdas)}")

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore({name: value for name, value in state.items() if name != "lr_lambdas"})
        for f, saved in zip(self.lr_lambdas, state["lr_lambdas"]):
            if saved is not None:
                f.__dict__.update(saved)


class LambdaLR(_OfFunctions):
    """Any function as a factor: lr(t) = base_lr·lr_lambda(t).

    Args:
        optimizer: the optimizer.
        lr_lambda: gives the factor of an epoch; one function, or one for each group. Callable objects are saved by their
            `__dict__`, functions not.
        last_epoch: the last epoch that is done; -1 to start.

    Raises:
        ValueError: another number of functions than of groups.
        TypeError: something that cannot be called.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=1.0)
        >>> scheduler = LambdaLR(optimizer, lambda epoch: 0.5 ** epoch)
        >>> optimizer.step()
        >>> scheduler.step()
        >>> scheduler.get_last_lr()
        [0.5]
    """

    def _next(self) -> list[Any]:
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas)]


class MultiplicativeLR(_OfFunctions):
    """Any function as a factor from one epoch to the next: lr(t) = lr(t - 1)·lr_lambda(t).

    Args:
        optimizer: the optimizer.
        lr_lambda: gives the factor of an epoch; one function, or one for each group. Callable objects are saved by their
            `__dict__`, functions not.
        last_epoch: the last epoch that is done; -1 to start.

    Raises:
        ValueError: another number of functions than of groups.
        TypeError: something that cannot be called.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=1.0)
        >>> scheduler = MultiplicativeLR(optimizer, lambda epoch: 0.5)
        >>> optimizer.step()
        >>> scheduler.step()
        >>> scheduler.get_last_lr()
        [0.5]
    """

    def _next(self) -> list[Any]:
        rates = values(self.optimizer, "lr")
        if self._is_initial or len(rates) != len(self.lr_lambdas):
            return rates[:len(self.lr_lambdas)]
        return [lr * f(self.last_epoch) for lr, f in zip(rates, self.lr_lambdas)]
