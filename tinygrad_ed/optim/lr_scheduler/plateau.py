"""The schedule that looks at a measure of success."""
from __future__ import annotations

import math
import warnings
from typing import Any

from ..optimizer import Optimizer
from .base import LRScheduler, count, one_of, per_group, put, real, require_optimizer, values

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau(LRScheduler):
    """Multiplies the learning rate by a factor when a metric has not become better for more than `patience` epochs.

        lr ← max(lr·factor, min_lr)

    Better is: below best·(1 - threshold) ("min", "rel"), below best - threshold ("min", "abs"), above best·(1 + threshold)
    ("max", "rel"), above best + threshold ("max", "abs"). A NaN is never better.

    Args:
        optimizer: the optimizer.
        mode: "min" for a loss, "max" for an accuracy.
        factor: the factor, below 1.
        patience: the number of epochs without improvement that are let pass.
        threshold: how much counts as better.
        threshold_mode: "rel" or "abs".
        cooldown: the number of epochs after a reduction that are not looked at.
        min_lr: where it ends, one or one per group.
        eps: smaller changes are not made.

    Raises:
        ValueError: a number outside its range, an unknown mode, or a list of another length than there are groups.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=1.0)
        >>> scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
        >>> for loss in (3.0, 2.0, 2.0, 2.0, 2.0):
        ...     scheduler.step(loss)
        ...     print(scheduler.get_last_lr()[0], end=" ")
        1.0 1.0 1.0 0.5 0.5
    """

    def __init__(self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10, threshold: float = 1e-4,
                 threshold_mode: str = "rel", cooldown: int = 0, min_lr: float | list[float] = 0, eps: float = 1e-8):
        require_optimizer(optimizer)
        if not float(real("factor", factor, 0, 1)) < 1:
            raise ValueError(f"factor is a number below 1, got {factor!r}")
        self.optimizer, self.factor = optimizer, factor
        self.mode, self.threshold_mode = one_of("mode", mode, ("min", "max")), one_of("threshold_mode", threshold_mode, ("rel", "abs"))
        self.default_min_lr = None if isinstance(min_lr, (list, tuple)) else min_lr
        self.min_lrs = per_group("min_lr", optimizer, min_lr, real)
        self.patience, self.cooldown = count("patience", patience, 0), count("cooldown", cooldown, 0)
        self.threshold, self.eps = real("threshold", threshold), real("eps", eps)
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self.last_epoch = 0
        self._last_lr = values(optimizer, "lr")
        self._reset()

    def _reset(self) -> None:
        """Forget what was best."""
        self.best, self.cooldown_counter, self.num_bad_epochs = self.mode_worse, 0, 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Take the metric of an epoch, and reduce the learning rate where it is time.

        Args:
            metrics: the metric, a number or a tensor with one element.
            epoch: the number of the epoch; gives a warning, as in PyTorch.

        Raises:
            RuntimeError: the optimizer has got more groups since, and min_lr was a list. Nothing has been changed then.
        """
        current = float(metrics)
        if epoch is not None:
            warnings.warn("scheduler.step(metrics, epoch) is deprecated; write scheduler.step(metrics)", UserWarning, stacklevel=2)
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):
            if self.default_min_lr is None:
                raise RuntimeError(f"the optimizer has {len(groups)} groups, min_lr is for {len(self.min_lrs)}; write "
                                   f"scheduler.min_lrs anew")
            self.min_lrs = [self.default_min_lr] * len(groups)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        better = self._is_better(current, self.best)
        self.best, self.num_bad_epochs = (current, 0) if better else (self.best, self.num_bad_epochs + 1)
        if self.in_cooldown:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown_counter - 1, 0
        if self.num_bad_epochs > self.patience:
            for group, low in zip(groups, self.min_lrs):
                old = float(group["lr"])
                new = max(old * self.factor, float(low))
                if old - new > self.eps:
                    put(group, "lr", new)
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = values(self.optimizer, "lr")

    @property
    def in_cooldown(self) -> bool:
        """Whether epochs are not looked at because of a reduction before."""
        return self.cooldown_counter > 0

    def _is_better(self, a: float, best: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        goal = best * (1 + sign * self.threshold) if self.threshold_mode == "rel" else best + sign * self.threshold
        return a > goal if self.mode == "max" else a < goal
