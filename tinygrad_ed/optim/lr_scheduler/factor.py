"""Schedules with a closed form lr(t) = base_lr·f(t): steps, ramps, powers, exponentials, hyperbolas, half a cosine."""
from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from typing import Any, Iterable, Mapping

from ..optimizer import Optimizer
from .base import LRScheduler, count, positive, real, values

__all__ = ["ConstantLR", "CosineAnnealingLR", "ExponentialLR", "InverseSqrtLR", "InverseTimeLR", "LinearLR", "MultiStepLR", "PolynomialLR",
           "StaircaseLR", "StepLR"]


class FactorLR(LRScheduler):
    """lr(t) = floor + (base_lr - floor)·f(t), where a step multiplies the current lr - floor by f(t)/f(t-1).

    So what other schedules, or the user, did to the learning rate is kept.
    """

    eta_min: float = 0.0                     # the floor
    _steps_when_resumed = False              # whether a schedule made with last_epoch >= 0 steps at once, or the lr is already right

    def _factor(self, epoch: int) -> float:
        raise NotImplementedError

    def _next(self) -> list[Any]:
        rates, t, floor = values(self.optimizer, "lr"), self.last_epoch, self.eta_min
        if t > 0 and self._is_initial and not self._steps_when_resumed:
            return rates
        before, now = self._factor(t - 1) if t > 0 else 1.0, self._factor(t)
        if before == now:
            return rates
        if before == 0:                               # no ratio leads away from 0
            return [lr + (base - floor) * now for lr, base in zip(rates, self.base_lrs)]
        return [floor + (lr - floor) * (now / before) for lr in rates]

    def _get_closed_form_lr(self) -> list[Any]:
        return [self.eta_min + (base - self.eta_min) * self._factor(self.last_epoch) for base in self.base_lrs]


class StepLR(FactorLR):
    """Multiplies by gamma every step_size epochs: lr(t) = base_lr·gamma^⌊t/step_size⌋.

    Args:
        optimizer: the optimizer.
        step_size: the number of epochs from one step to the next.
        gamma: the factor.
        last_epoch: the last epoch that is done; -1 to start.

    Raises:
        ValueError: step_size below 1, or gamma below 0.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=1.0)
        >>> scheduler = StepLR(optimizer, step_size=2, gamma=0.5)
        >>> for epoch in range(5):
        ...     print(scheduler.get_last_lr()[0], end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        1.0 1.0 0.5 0.5 0.25
    """

    _steps_when_resumed = True

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        self.step_size, self.gamma = count("step_size", step_size), real("gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return self.gamma ** (epoch // self.step_size)


class MultiStepLR(FactorLR):
    """Multiplies by gamma at given epochs: lr(t) = base_lr·gamma^(number of milestones ≤ t).

    Args:
        optimizer: the optimizer.
        milestones: the epochs, in any order; one that comes twice counts twice.
        gamma: the factor.
        last_epoch: the last epoch that is done; -1 to start.

    Raises:
        ValueError: a milestone that is not an integer of at least 0, or gamma below 0.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=1.0)
        >>> scheduler = MultiStepLR(optimizer, [2, 3], gamma=0.5)
        >>> for epoch in range(5):
        ...     print(scheduler.get_last_lr()[0], end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        1.0 1.0 0.5 0.25 0.25
    """

    _steps_when_resumed = True

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1):
        self.milestones = Counter(count("a milestone", m, 0) for m in milestones)
        self.gamma = real("gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return self.gamma ** sum(times for milestone, times in self.milestones.items() if milestone <= epoch)


class ConstantLR(FactorLR):
    """Starts lower: lr(t) = base_lr·factor for t < total_iters, then base_lr.

    Args:
        optimizer: the optimizer.
        factor: the factor of the first epochs, in [0, 1].
        total_iters: how many epochs those are.
        last_epoch: the last epoch that is done; -1 to start.

    Raises:
        ValueError: factor outside [0, 1], or total_iters below 1.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=1.0)
        >>> scheduler = ConstantLR(optimizer, factor=0.5, total_iters=2)
        >>> for epoch in range(4):
        ...     print(scheduler.get_last_lr()[0], end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.5 0.5 1.0 1.0
    """

    _steps_when_resumed = True

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1):
        self.factor, self.total_iters = real("factor", factor, 0, 1), count("total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return self.factor if epoch < self.total_iters else 1.0


class LinearLR(FactorLR):
    """A straight line, up or down: lr(t) = base_lr·(start_factor + (end_factor - start_factor)·min(t/total_iters, 1)).

    Args:
        optimizer: the optimizer.
        start_factor: the factor of the first epoch, in (0, 1].
        end_factor: the factor from epoch total_iters on, in [0, 1].
        total_iters: the number of epochs between.
        last_epoch: the last epoch that is done; -1 to start.

    Raises:
        ValueError: a factor outside its interval, or total_iters below 1.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=1.0)
        >>> scheduler = LinearLR(optimizer, start_factor=0.5, total_iters=2)
        >>> for epoch in range(4):
        ...     print(scheduler.get_last_lr()[0], end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.5 0.75 1.0 1.0
    """

    def __init__(self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5,
                 last_epoch: int = -1):
        self.start_factor = real("start_factor", positive("start_factor", start_factor), 0, 1)
        self.end_factor, self.total_iters = real("end_factor", end_factor, 0, 1), count("total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        if epoch >= self.total_iters:
            return self.end_factor
        return self.start_factor + (self.end_factor - self.start_factor) * epoch / self.total_iters


class ExponentialLR(FactorLR):
    """Multiplies by gamma every epoch: lr(t) = base_lr·gamma^t.

    Args:
        optimizer: the optimizer.
        gamma: the factor.
        last_epoch: the last epoch that is done; -1 to start.

    Raises:
        ValueError: gamma below 0.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=1.0)
        >>> scheduler = ExponentialLR(optimizer, gamma=0.5)
        >>> for epoch in range(4):
        ...     print(scheduler.get_last_lr()[0], end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        1.0 0.5 0.25 0.125
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = real("gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return self.gamma ** epoch


class PolynomialLR(FactorLR):
    """Falls to 0 as a power: lr(t) = base_lr·(1 - min(t/total_iters, 1))^power.

    Args:
        optimizer: the optimizer.
        total_iters: the epoch where it is 0.
        power: the exponent; 1 is a straight line.
        last_epoch: the last epoch that is done; -1 to start.

    Raises:
        ValueError: total_iters below 1, or power below 0.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=1.0)
        >>> scheduler = PolynomialLR(optimizer, total_iters=2, power=2)
        >>> for epoch in range(4):
        ...     print(scheduler.get_last_lr()[0], end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        1.0 0.25 0.0 0.0
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1):
        self.total_iters, self.power = count("total_iters", total_iters), real("power", power)
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return (1 - min(epoch, self.total_iters) / self.total_iters) ** self.power


class CosineAnnealingLR(FactorLR):
    """Half a cosine (Loshchilov and Hutter, 2017): lr(t) = eta_min + (base_lr - eta_min)·(1 + cos(π·t/T_max))/2.

    Args:
        optimizer: the optimizer.
        T_max: the epoch where it is lowest; after that it rises again.
        eta_min: the lowest learning rate.
        last_epoch: the last epoch that is done; -1 to start.

    Raises:
        ValueError: T_max below 1, or eta_min below 0.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=1.0)
        >>> scheduler = CosineAnnealingLR(optimizer, T_max=2)
        >>> for epoch in range(3):
        ...     print(round(scheduler.get_last_lr()[0], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        1.0 0.5 0.0
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        self.T_max, self.eta_min = count("T_max", T_max), real("eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return (1 + math.cos(math.pi * epoch / self.T_max)) / 2


class InverseTimeLR(FactorLR):
    """A hyperbola: lr(t) = base_lr/(1 + decay·t).

    Source: Robbins and Monro (1951), whose conditions for convergence it meets.

    Args:
        optimizer: the optimizer.
        decay: the decay rate.
        last_epoch: the last epoch that is done; -1 to start.

    Raises:
        ValueError: decay below 0.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=0.2)
        >>> scheduler = InverseTimeLR(optimizer, decay=1.0)
        >>> for epoch in range(4):
        ...     print(round(scheduler.get_last_lr()[0], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.2 0.1 0.067 0.05
    """

    def __init__(self, optimizer: Optimizer, decay: float = 1.0, last_epoch: int = -1):
        self.decay = real("decay", decay)
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return 1 / (1 + self.decay * epoch)


class InverseSqrtLR(FactorLR):
    """Falls as the square root: lr(t) = base_lr·k/√(t + 1), so the epochs count from 1.

    Source: Zinkevich (2003), where steps of this size bound the regret.

    Args:
        optimizer: the optimizer.
        k: the factor of the first epoch.
        last_epoch: the last epoch that is done; -1 to start.

    Raises:
        ValueError: k not above 0.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=1.0)
        >>> scheduler = InverseSqrtLR(optimizer)
        >>> for epoch in range(4):
        ...     print(round(scheduler.get_last_lr()[0], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        1.0 0.707 0.577 0.5
    """

    def __init__(self, optimizer: Optimizer, k: float = 1.0, last_epoch: int = -1):
        self.k = positive("k", k)
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return self.k / math.sqrt(epoch + 1)


class StaircaseLR(FactorLR):
    """A table of stairs: lr(t) = base_lr·(the factor of the last entry with an epoch ≤ t), and base_lr before the first.

    Args:
        optimizer: the optimizer.
        table: {epoch: factor}, or pairs of them.
        last_epoch: the last epoch that is done; -1 to start.

    Raises:
        ValueError: an empty table, an epoch that is not an integer of at least 0, or a factor below 0.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=0.5)
        >>> scheduler = StaircaseLR(optimizer, {1: 0.5, 3: 0.1})
        >>> for epoch in range(4):
        ...     print(round(scheduler.get_last_lr()[0], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.5 0.25 0.25 0.05
    """

    def __init__(self, optimizer: Optimizer, table: Mapping[int, float] | Iterable[tuple[int, float]], last_epoch: int = -1):
        self.table = dict(sorted((count("an epoch of the table", epoch, 0), real("a factor of the table", factor))
                                 for epoch, factor in dict(table).items()))
        if not self.table:
            raise ValueError("the table is {epoch: factor}, got an empty one")
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        stair = bisect_right(list(self.table), epoch)
        return list(self.table.values())[stair - 1] if stair else 1.0
