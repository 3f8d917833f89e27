"""Schedules that go up and down: warm restarts, cycles, one cycle; the last two move the momentum the other way."""
from __future__ import annotations

import math
from typing import Any, Callable, Mapping

from ..optimizer import Optimizer
from .base import LRScheduler, count, one_of, per_group, positive, put, real, require_optimizer, saved_function

__all__ = ["CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR"]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine, again and again: SGDR (Loshchilov and Hutter, 2017).

        lr = eta_min + (base_lr - eta_min)·(1 + cos(π·T_cur/T_i))/2

    T_cur counts from the last restart; the first period T_i is T_0, each later one T_mult times as long.

    Args:
        optimizer: the optimizer.
        T_0: the length of the first period.
        T_mult: by how much each period is longer than the one before.
        eta_min: the lowest learning rate.
        last_epoch: the last epoch that is done; -1 to start.

    Raises:
        ValueError: T_0 or T_mult below 1, or eta_min below 0.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=1.0)
        >>> scheduler = CosineAnnealingWarmRestarts(optimizer, T_0=2)
        >>> for epoch in range(4):
        ...     print(round(scheduler.get_last_lr()[0], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        1.0 0.5 1.0 0.5
    """

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1):
        self.T_0, self.T_mult, self.eta_min = count("T_0", T_0), count("T_mult", T_mult), real("eta_min", eta_min)
        self.T_cur, self.T_i = self._place(count("last_epoch", last_epoch, -1))
        super().__init__(optimizer, last_epoch)

    def step(self, epoch: float | None = None) -> None:
        """Go to the next epoch, or to the one given, which may be a fraction: epoch + batch/batches.

        Args:
            epoch: where to go.

        Raises:
            ValueError: epoch below 0.
        """
        self._update_lr(0 if epoch is None and self.last_epoch < 0 else epoch)  # type: ignore[arg-type]

    def _place(self, epoch: float) -> tuple[Any, int]:
        """How long ago the last restart was at an epoch, and how long the period is."""
        if self.T_mult == 1:
            return (epoch % self.T_0 if epoch > 0 else epoch), self.T_0
        length = self.T_0
        while epoch >= length:
            epoch, length = epoch - length, length * self.T_mult
        return epoch, length

    def _undo(self) -> None:
        super()._undo()
        self.T_cur, self.T_i = self._place(self.last_epoch)

    def _update_lr(self, epoch: float | None = None) -> None:  # type: ignore[override]
        before = self.T_cur, self.T_i
        if epoch is not None:
            self.T_cur, self.T_i = self._place(real("epoch", epoch))
        elif self.T_cur + 1 >= self.T_i:
            self.T_cur, self.T_i = self.T_cur + 1 - self.T_i, self.T_i * self.T_mult
        else:
            self.T_cur += 1
        try:
            super()._update_lr(None if epoch is None else math.floor(epoch))
        except BaseException:
            self.T_cur, self.T_i = before
            raise

    def _next(self) -> list[Any]:
        return [self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2 for base in self.base_lrs]


# -- momentum ----------------------------------------------------------------------------------------------------------

def _uses_betas(optimizer: Optimizer) -> bool:
    """Whether the momentum of an optimizer is the first of its betas; ValueError where it has neither."""
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ValueError(f"{type(optimizer).__name__} has neither momentum nor betas to cycle; write cycle_momentum=False")
    return "betas" in optimizer.defaults


def _put_momentum(group: dict[str, Any], momentum: Any, in_betas: bool) -> None:
    if in_betas:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


def _momentum(name: str, value: Any) -> None:
    if not float(real(name, value, 0, 1)) < 1:
        raise ValueError(f"{name} lies in [0, 1), got {value!r}")


class CyclicLR(LRScheduler):
    """Triangles between base_lr and max_lr (Smith, 2017).

        lr(t) = base_lr + (max_lr - base_lr)·h(t)·s

    h goes from 0 up to 1 in step_size_up steps and down again in step_size_down; s is 1 ("triangular"), 1/2^(cycle - 1)
    ("triangular2"), gamma^t ("exp_range") or scale_fn. The momentum goes from max_momentum down to base_momentum meanwhile.

    Args:
        optimizer: the optimizer.
        base_lr: the lowest learning rate, one or one per group.
        max_lr: the highest, before scaling.
        step_size_up: the steps from the lowest to the highest.
        step_size_down: the steps back; as many by default.
        mode: "triangular", "triangular2" or "exp_range".
        gamma: the factor of "exp_range".
        scale_fn: s as a function of the cycle, which counts from 1, or of the step; then mode and gamma are not used.
        scale_mode: what scale_fn is a function of: "cycle" or "iterations".
        cycle_momentum: whether to move the momentum, or the first of the betas.
        base_momentum: the lowest momentum, one or one per group.
        max_momentum: the highest.
        last_epoch: the last step that is done; -1 to start.

    Raises:
        ValueError: a number outside its range, an unknown mode, lists of another length than there are groups, or an optimizer
            without momentum. Nothing has been changed then.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=1.0, momentum=0.9)
        >>> scheduler = CyclicLR(optimizer, base_lr=0.0, max_lr=1.0, step_size_up=2)
        >>> for batch in range(5):
        ...     print(scheduler.get_last_lr()[0], end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.0 0.5 1.0 0.5 0.0
    """

    def __init__(self, optimizer: Optimizer, base_lr: float | list[float], max_lr: float | list[float], step_size_up: int = 2000,
                 step_size_down: int | None = None, mode: str = "triangular", gamma: float = 1.0,
                 scale_fn: Callable[[float], float] | None = None, scale_mode: str = "cycle", cycle_momentum: bool = True,
                 base_momentum: float | list[float] = 0.8, max_momentum: float | list[float] = 0.9, last_epoch: int = -1):
        require_optimizer(optimizer)
        base_lrs, self.max_lrs = per_group("base_lr", optimizer, base_lr, real), per_group("max_lr", optimizer, max_lr, real)
        up = float(positive("step_size_up", step_size_up))
        self.total_size = up + (up if step_size_down is None else float(positive("step_size_down", step_size_down)))
        self.step_ratio = up / self.total_size
        self.mode, self.gamma = mode, real("gamma", gamma)
        if scale_fn is None:
            one_of("mode", mode, ("triangular", "triangular2", "exp_range"))
            scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self._scale_fn_custom, self.scale_mode = scale_fn, one_of("scale_mode", scale_mode, ("cycle", "iterations"))
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_betas(optimizer)
            self.base_momentums = per_group("base_momentum", optimizer, base_momentum, _momentum)
            self.max_momentums = per_group("max_momentum", optimizer, max_momentum, _momentum)
        if count("last_epoch", last_epoch, -1) == -1:
            for i, group in enumerate(optimizer.param_groups):
                put(group, "lr", base_lrs[i])
                if cycle_momentum:
                    group.update(max_momentum=self.max_momentums[i], base_momentum=self.base_momentums[i])
        self._attach(optimizer, last_epoch)
        self.base_lrs = base_lrs
        self._initial_step()

    def scale_fn(self, x: float) -> float:
        """The factor s of a cycle or of a step."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        return 1.0 if self.mode == "triangular" else 0.5 ** (x - 1) if self.mode == "triangular2" else self.gamma ** x

    def _next(self) -> list[Any]:
        t = self.last_epoch / self.total_size
        cycle = math.floor(1 + t)
        x = 1.0 + t - cycle                           # the place in the cycle, in [0, 1)
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        rates = [base + (top - base) * height * scale for base, top in zip(self.base_lrs, self.max_lrs)]
        if self.cycle_momentum:
            for group, low, top in zip(self.optimizer.param_groups, self.base_momentums, self.max_momentums):
                _put_momentum(group, top - (top - low) * height * scale, self.use_beta1)
        return rates

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, and scale_fn unless it is an object with a state."""
        return {**super().state_dict(), "_scale_fn_custom": saved_function(self._scale_fn_custom)}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore({name: value for name, value in state.items() if name != "_scale_fn_custom"})
        if state.get("_scale_fn_custom") is not None:
            self._scale_fn_custom.__dict__.update(state["_scale_fn_custom"])


class OneCycleLR(LRScheduler):
    """Up, down, and far below: the 1cycle policy, "super-convergence" (Smith and Topin, 2019). One step is one batch.

    The learning rate goes from max_lr/div_factor up to max_lr in the first pct_start of the steps, and then down to
    max_lr/(div_factor·final_div_factor), along half cosines or straight lines. With three_phase it first goes back to
    max_lr/div_factor as fast as it rose. The momentum goes from max_momentum to base_momentum and back meanwhile.
    After the last step both stay where they are.

    Args:
        optimizer: the optimizer.
        max_lr: the highest learning rate, one or one per group.
        total_steps: the number of steps; or give the next two.
        epochs: the number of epochs.
        steps_per_epoch: the number of steps in each.
        pct_start: the part of the steps in which the learning rate rises, in [0, 1].
        anneal_strategy: "cos" or "linear".
        cycle_momentum: whether to move the momentum, or the first of the betas.
        base_momentum: the lowest momentum, one or one per group.
        max_momentum: the highest.
        div_factor: how much lower than max_lr it starts.
        final_div_factor: how much lower than the start it ends.
        three_phase: whether there are three phases.
        last_epoch: the last step that is done; -1 to start.

    Raises:
        ValueError: a number outside its range, an unknown strategy, lists of another length than there are groups, or an optimizer
            without momentum. Nothing has been changed then.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=1.0, momentum=0.9)
        >>> scheduler = OneCycleLR(optimizer, max_lr=1.0, total_steps=6, pct_start=0.5, anneal_strategy="linear")
        >>> for batch in range(6):
        ...     print(round(scheduler.get_last_lr()[0], 2), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.04 0.52 1.0 0.67 0.33 0.0
    """

    def __init__(self, optimizer: Optimizer, max_lr: float | list[float], total_steps: int | None = None, epochs: int | None = None,
                 steps_per_epoch: int | None = None, pct_start: float = 0.3, anneal_strategy: str = "cos", cycle_momentum: bool = True,
                 base_momentum: float | list[float] = 0.85, max_momentum: float | list[float] = 0.95, div_factor: float = 25.0,
                 final_div_factor: float = 1e4, three_phase: bool = False, last_epoch: int = -1):
        require_optimizer(optimizer)
        if total_steps is None and (epochs is None or steps_per_epoch is None):
            raise ValueError("OneCycleLR needs total_steps, or epochs and steps_per_epoch")
        self.total_steps = (count("epochs", epochs) * count("steps_per_epoch", steps_per_epoch) if total_steps is None
                            else count("total_steps", total_steps))
        real("pct_start", pct_start, 0, 0.5 if three_phase else 1)
        self._anneal_func_type = one_of("anneal_strategy", anneal_strategy, ("cos", "linear"))
        peak = pct_start * self.total_steps - 1
        up = dict(end_step=peak, start_lr="initial_lr", end_lr="max_lr", start_momentum="max_momentum", end_momentum="base_momentum")
        down = dict(end_step=self.total_steps - 1, start_lr="max_lr", end_lr="min_lr", start_momentum="base_momentum",
                    end_momentum="max_momentum")
        self._schedule_phases: list[dict[str, Any]] = [up, down]
        if three_phase:
            self._schedule_phases[1:] = [{**down, "end_step": 2 * peak, "end_lr": "initial_lr"},
                                         {**down, "start_lr": "initial_lr", "start_momentum": "max_momentum"}]
        tops = per_group("max_lr", optimizer, max_lr, real)
        positive("div_factor", div_factor)
        positive("final_div_factor", final_div_factor)
        count("last_epoch", last_epoch, -1)
        news: list[dict[str, Any]] = [dict(initial_lr=top / div_factor, max_lr=top, min_lr=top / div_factor / final_div_factor)
                                      for top in tops]
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_betas(optimizer)
            lows = per_group("base_momentum", optimizer, base_momentum, _momentum)
            highs = per_group("max_momentum", optimizer, max_momentum, _momentum)
            for new, low, high in zip(news, lows, highs):
                new.update(base_momentum=low, max_momentum=high)
        for group, new in zip(optimizer.param_groups, news if last_epoch == -1 else ()):
            group.update(new)
        super().__init__(optimizer, last_epoch)

    def _next(self) -> list[Any]:
        t, start = self.last_epoch, 0.0
        if t > self.total_steps:
            raise ValueError(f"OneCycleLR was made for total_steps={self.total_steps} and has done them all")
        for phase in self._schedule_phases:
            if t <= phase["end_step"]:
                break
            start = phase["end_step"] if phase is not self._schedule_phases[-1] else start
        length = phase["end_step"] - start
        part = min((t - start) / length, 1.0) if length > 0 else 1.0

        def between(group: dict[str, Any], key: str) -> Any:
            a, b = group[phase[f"start_{key}"]], group[phase[f"end_{key}"]]
            return b + (a - b) * (1 + math.cos(math.pi * part)) / 2 if self._anneal_func_type == "cos" else a + (b - a) * part

        rates = [between(group, "lr") for group in self.optimizer.param_groups]
        if self.cycle_momentum:
            for group in self.optimizer.param_groups:
                _put_momentum(group, between(group, "momentum"), self.use_beta1)
        return rates
