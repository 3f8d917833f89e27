"""Schedules made of schedules: one after the other, all at once, and after a warm-up."""
from __future__ import annotations

from bisect import bisect_right
from typing import Any, Mapping, Sequence

from ..optimizer import Optimizer
from .base import LRScheduler, copied, count, put, real, require_optimizer, values
from .factor import ConstantLR, ExponentialLR, FactorLR, LinearLR  # noqa: F401  (for the examples)
from .plateau import ReduceLROnPlateau

__all__ = ["ChainedScheduler", "SequentialLR", "WarmupLR"]


class _Composite(LRScheduler):
    """A schedule that hands the work to others, and saves their states with its own."""

    _schedulers: Sequence[LRScheduler]

    def _take(self, optimizer: Optimizer | None, schedulers: Sequence[LRScheduler]) -> None:
        name = type(self).__name__
        if len(schedulers) < 1:
            raise ValueError(f"{name} takes at least one schedule, got none")
        for i, s in enumerate(schedulers):
            if not hasattr(s, "optimizer"):
                raise TypeError(f"{name} takes schedules, number {i} is {type(s).__name__}")
            if isinstance(s, ReduceLROnPlateau):
                raise ValueError(f"{name} does not take a ReduceLROnPlateau (number {i}), whose step() needs a metric; step it by itself")
            optimizer = s.optimizer if optimizer is None else optimizer
            if s.optimizer is not optimizer:
                raise ValueError(f"{name} takes schedules of one optimizer, number {i} ({type(s).__name__}) is of another")
        require_optimizer(optimizer)
        self._schedulers, self.optimizer = schedulers, optimizer  # type: ignore[assignment]

    def _undo(self) -> None:
        for s in self._schedulers:
            s._undo()

    def get_lr(self) -> list[Any]:
        """The current learning rates."""
        return values(self.optimizer, "lr")

    def state_dict(self) -> dict[str, Any]:
        """The state, with the states of the schedules under "_schedulers"."""
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def _check_state(self, state: Mapping[str, Any]) -> None:
        super()._check_state(state)
        saved = state.get("_schedulers")
        if saved is None or len(saved) != len(self._schedulers):
            raise ValueError(f"{type(self).__name__} has {len(self._schedulers)} schedules, the state_dict "
                             f"{'none' if saved is None else len(saved)}")
        for s, its in zip(self._schedulers, saved):
            s._check_state(its)

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore({name: value for name, value in state.items() if name != "_schedulers"})
        for s, its in zip(self._schedulers, state["_schedulers"]):
            s._restore(its)


class SequentialLR(_Composite):
    """Schedules one after the other: each begins at its milestone, with its own epoch 0.

    Args:
        optimizer: the optimizer.
        schedulers: the schedules.
        milestones: the epochs at which the second, the third… begin, rising.
        last_epoch: the last epoch that is done; -1 to start.

    Raises:
        ValueError: no schedules, one of another optimizer, a ReduceLROnPlateau, or milestones that do not rise or are not one
            fewer than the schedules. Nothing has been changed then.
        TypeError: something that is not a schedule.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=1.0)
        >>> rise, fall = LinearLR(optimizer, 0.5, total_iters=2), ExponentialLR(optimizer, 0.5)
        >>> scheduler = SequentialLR(optimizer, [rise, fall], milestones=[2])
        >>> for epoch in range(5):
        ...     print(scheduler.get_last_lr()[0], end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.5 0.75 1.0 0.5 0.25
    """

    def __init__(self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int], last_epoch: int = -1):
        require_optimizer(optimizer)
        self._take(optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(f"{len(schedulers)} schedules have {len(schedulers) - 1} milestones between them, got {len(milestones)}")
        for i, milestone in enumerate(milestones):
            count(f"milestones[{i}]", milestone, milestones[i - 1] if i else 0)
        self._milestones = milestones
        self.last_epoch = count("last_epoch", last_epoch, -1) + 1
        self._undo()
        self._initial_step()

    def _initial_step(self) -> None:
        for group in self.optimizer.param_groups:
            put(group, "lr", copied(group["initial_lr"]))
        self._schedulers[bisect_right(self._milestones, 0)]._initial_step()
        self._last_lr = values(self.optimizer, "lr")

    def step(self) -> None:  # type: ignore[override]
        """Go to the next epoch; call it after `optimizer.step()`."""
        epoch = self.last_epoch + 1
        i = bisect_right(self._milestones, epoch)
        if i > 0 and self._milestones[i - 1] == epoch:
            self._schedulers[i]._update_lr(0)
        else:
            self._schedulers[i].step()
        self.last_epoch, self._last_lr = epoch, values(self.optimizer, "lr")

    def _update_lr(self, epoch: int | None = None) -> None:
        if epoch is None:
            return self.step()
        i = bisect_right(self._milestones, epoch)
        self._schedulers[i]._update_lr(epoch - (self._milestones[i - 1] if i else 0))
        self.last_epoch, self._last_lr = epoch, values(self.optimizer, "lr")


class ChainedScheduler(_Composite):
    """Schedules all at once: a step is a step of each, so their factors multiply.

    Args:
        schedulers: the schedules.
        optimizer: their optimizer; that of the first by default.

    Raises:
        ValueError: no schedules, schedules of different optimizers, or a ReduceLROnPlateau.
        TypeError: something that is not a schedule.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=1.0)
        >>> scheduler = ChainedScheduler([ConstantLR(optimizer, 0.5, total_iters=2), ExponentialLR(optimizer, 0.5)])
        >>> for epoch in range(4):
        ...     print(scheduler.get_last_lr()[0], end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.5 0.25 0.25 0.125
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None):
        self._take(optimizer, schedulers)
        self._last_lr = values(self.optimizer, "lr")

    def _initial_step(self) -> None:
        for s in self._schedulers:
            s._initial_step()
        self._last_lr = values(self.optimizer, "lr")

    def step(self) -> None:  # type: ignore[override]
        """Go to the next epoch; call it after `optimizer.step()`."""
        for s in self._schedulers:
            s.step()
        self._last_lr = values(self.optimizer, "lr")

    def _update_lr(self, epoch: int | None = None) -> None:
        for s in self._schedulers:
            s._update_lr(epoch)
        self._last_lr = values(self.optimizer, "lr")


class WarmupLR(FactorLR):
    """A linear warm-up (Goyal et al., 2017): lr(t) = base_lr·f(t), f(t) = start_factor + (1 - start_factor)·min(t/warmup_steps, 1).

    Alone it is a factor like all others, and can be chained. Around another schedule it holds that at its epoch 0 until the
    warm-up is over, with f times its learning rate, and then hands over, so it has epoch 0 at step warmup_steps.

    Args:
        optimizer: the optimizer.
        warmup_steps: the number of steps before the full learning rate.
        scheduler: the schedule to wrap, which must be new; also a ReduceLROnPlateau.
        start_factor: f(0); 1/(warmup_steps + 1) by default, which makes all steps equal, the first included.
        last_epoch: the last step that is done; -1 to start. With a schedule only -1: load the state instead.

    Raises:
        ValueError: warmup_steps below 1, start_factor outside [0, 1], or a schedule of another optimizer.
        TypeError: something that is not a schedule.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=1.0)
        >>> scheduler = WarmupLR(optimizer, 3, ExponentialLR(optimizer, 0.5))
        >>> for step in range(6):
        ...     print(scheduler.get_last_lr()[0], end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.25 0.5 0.75 1.0 0.5 0.25
    """

    def __init__(self, optimizer: Optimizer, warmup_steps: int, scheduler: LRScheduler | None = None, start_factor: float | None = None,
                 last_epoch: int = -1):
        self.warmup_steps = count("warmup_steps", warmup_steps)
        self.start_factor = 1 / (warmup_steps + 1) if start_factor is None else real("start_factor", start_factor, 0, 1)
        if scheduler is not None:
            if not isinstance(scheduler, LRScheduler):
                raise TypeError(f"WarmupLR wraps a schedule, got {type(scheduler).__name__}")
            if scheduler.optimizer is not optimizer:
                raise ValueError(f"WarmupLR wraps a schedule of the same optimizer, the {type(scheduler).__name__} is of another")
            if last_epoch != -1:
                raise ValueError(f"WarmupLR around a schedule starts with last_epoch=-1, got {last_epoch}; load its state_dict to go on")
        self._scheduler = scheduler
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return 1.0 if epoch >= self.warmup_steps else self.start_factor + (1 - self.start_factor) * epoch / self.warmup_steps

    def _attach(self, optimizer: Optimizer, last_epoch: int) -> None:
        super()._attach(optimizer, last_epoch)
        if self._scheduler is not None:
            self.base_lrs = values(optimizer, "lr")

    def step(self, *args: Any) -> None:
        """Go to the next step.

        Args:
            args: what the wrapped schedule's step takes, such as a metric; not looked at during the warm-up.
        """
        if self._scheduler is None:
            return super().step(*args)
        if self.last_epoch < self.warmup_steps:
            return super().step()
        self._scheduler.step(*args)
        self.last_epoch, self._step_count, self._last_lr = self.last_epoch + 1, self._step_count + 1, values(self.optimizer, "lr")

    def _next(self) -> list[Any]:
        if self._scheduler is None:
            return super()._next()
        return self._get_closed_form_lr()

    def state_dict(self) -> dict[str, Any]:
        """The state, with that of the wrapped schedule under "_scheduler"."""
        return {**super().state_dict(), "_scheduler": None if self._scheduler is None else self._scheduler.state_dict()}

    def _check_state(self, state: Mapping[str, Any]) -> None:
        super()._check_state(state)
        if (state.get("_scheduler") is None) != (self._scheduler is None):
            raise ValueError("a WarmupLR around a schedule and one alone do not have the same state")
        if self._scheduler is not None:
            self._scheduler._check_state(state["_scheduler"])

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore({name: value for name, value in state.items() if name != "_scheduler"})
        if self._scheduler is not None:
            self._scheduler._restore(state["_scheduler"])
