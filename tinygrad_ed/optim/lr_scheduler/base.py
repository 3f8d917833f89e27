"""LRScheduler: what all schedules share. Epochs, the values of the groups, saving and loading, checks of hyperparameters."""
from __future__ import annotations

import math
import operator
import warnings
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Callable, Iterator, Mapping

from ...autograd.modes import no_grad
from ...backend import capture
from ...tensor import Tensor
from ..optimizer import Optimizer

__all__ = ["LRScheduler"]


class LRScheduler:
    """The base class of all schedules: `step()` moves to the next epoch and writes its learning rates into the optimizer.

    A schedule of one's own writes `get_lr`, which returns the learning rates of epoch `last_epoch`, one per group; it finds
    the values at the start in `base_lrs` and the current ones in `optimizer.param_groups`. Schedules that only multiply the
    current value can be combined: several of them step one after another, and their factors multiply.

    Args:
        optimizer: the optimizer; its "lr" may be a number or a 0-d tensor, which is then written in place.
        last_epoch: the last epoch that is done; -1 to start. To go on with a later one, the groups need their "initial_lr".

    Raises:
        TypeError: not an Optimizer.
        KeyError: a later epoch, and a group without "initial_lr".

    Example:
        >>> import tinygrad_ed as tg
        >>> class Halving(LRScheduler):
        ...     def get_lr(self):
        ...         return [lr / 2 ** self.last_epoch for lr in self.base_lrs]
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=1.0)
        >>> scheduler = Halving(optimizer)
        >>> for epoch in range(3):
        ...     optimizer.step()
        ...     scheduler.step()
        >>> scheduler.get_last_lr(), optimizer.param_groups[0]["lr"]
        ([0.125], 0.125)
    """

    optimizer: Optimizer
    base_lrs: list[Any]
    last_epoch: int
    _last_lr: list[Any]
    _step_count: int
    _is_initial = False
    _get_lr_called_within_step = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        self._attach(optimizer, last_epoch)
        self._initial_step()

    def _attach(self, optimizer: Optimizer, last_epoch: int) -> None:
        """Take an optimizer and remember the learning rates it starts with."""
        require_optimizer(optimizer)
        count("last_epoch", last_epoch, -1)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch != -1 and "initial_lr" not in group:
                raise KeyError(f"group {i} has no 'initial_lr', which a schedule that goes on after epoch {last_epoch} needs; load the "
                               f"optimizer's state_dict first, or start with last_epoch=-1")
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", copied(group["lr"]))
        self.optimizer, self.last_epoch = optimizer, last_epoch
        self.base_lrs = values(optimizer, "initial_lr")
        if not hasattr(optimizer, "_opt_called"):
            optimizer._opt_called = False             # type: ignore[attr-defined]
            optimizer.register_step_pre_hook(_remember_call)

    def _initial_step(self) -> None:
        """Write the values of the first epoch."""
        self._step_count, self._is_initial = 0, True
        try:
            self.step()
        finally:
            self._is_initial = False

    def _undo(self) -> None:
        """Wait before the first epoch, for a `_initial_step` or `_update_lr(0)` to come."""
        self.last_epoch -= 1

    # -- the step ----------------------------------------------------------------------------------------------------

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch; call it after `optimizer.step()`.

        Args:
            epoch: go to this epoch instead, by the closed form where there is one; gives a warning, as in PyTorch.

        Raises:
            ValueError: the optimizer has got more groups since. Nothing has been changed then.
        """
        if self._step_count == 1 and not self.optimizer._opt_called and type(self.optimizer)._update is not Optimizer._update:  # type: ignore
            warnings.warn("lr_scheduler.step() was called before optimizer.step(), so the first value of the schedule is skipped; call "
                          "optimizer.step() first", UserWarning, stacklevel=2)
        if epoch is not None:
            warnings.warn("scheduler.step(epoch) is deprecated; write scheduler.step()", UserWarning, stacklevel=2)
        self._step_count += 1
        try:
            self._update_lr(epoch)
        except BaseException:
            self._step_count -= 1
            raise

    def _update_lr(self, epoch: int | None = None) -> None:
        """Go to the next epoch, or to the one given, and write its values."""
        capture.forbid("scheduler.step(), which the host does,", "call it after the captured step, which reads the new lr at its next replay")
        before = self.last_epoch
        self.last_epoch = before + 1 if epoch is None else epoch
        try:
            with no_grad(), self._computing():
                rates = self._get_closed_form_lr() if epoch is not None and hasattr(self, "_get_closed_form_lr") else self.get_lr()
            if len(rates) != len(self.optimizer.param_groups):
                raise ValueError(f"the optimizer has {len(self.optimizer.param_groups)} groups, {type(self).__name__} was made for "
                                 f"{len(rates)}; make the schedule after the last add_param_group()")
        except BaseException:
            self.last_epoch = before
            raise
        self._write(rates)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        self._get_lr_called_within_step = True
        try:
            yield
        finally:
            self._get_lr_called_within_step = False

    def _write(self, rates: list[Any]) -> None:
        for group, lr in zip(self.optimizer.param_groups, rates):
            put(group, "lr", lr)
        self._last_lr = values(self.optimizer, "lr")

    def get_last_lr(self) -> list[Any]:
        """The learning rates that the last `step` wrote, one per group."""
        return self._last_lr

    def get_lr(self) -> list[Any]:
        """The learning rates of the epoch `last_epoch`; for `step` to call, everyone else asks `get_last_lr`."""
        if not self._get_lr_called_within_step:
            warnings.warn("get_lr() computes the next step; to get the last learning rate, use get_last_lr()", UserWarning, stacklevel=2)
        return self._next()

    def _next(self) -> list[Any]:
        raise NotImplementedError(f"{type(self).__name__} has no get_lr(), which returns a learning rate per group")

    # -- state -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, and functions other than callable objects; PyTorch's format."""
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a `state_dict`; the learning rates themselves come with the optimizer's.

        Args:
            state_dict: what `state_dict` gave, here or in PyTorch.

        Raises:
            ValueError: it belongs to another schedule or another number of groups. Nothing has been changed then.
        """
        self._check_state(state_dict)
        self._restore(state_dict)

    def _check_state(self, state: Mapping[str, Any]) -> None:
        missing = [name for name in self.state_dict() if not name.startswith("_") and name not in state]
        if missing:
            raise ValueError(f"the state_dict has no {', '.join(missing)}; it does not belong to a {type(self).__name__}")
        if "base_lrs" in state and len(state["base_lrs"]) != len(self.optimizer.param_groups):
            raise ValueError(f"the state_dict is for {len(state['base_lrs'])} groups, the optimizer has {len(self.optimizer.param_groups)}")

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(deepcopy(dict(state)))


def _remember_call(optimizer: Any, args: Any, kwargs: Any) -> None:
    optimizer._opt_called = True


# -- values of the groups ----------------------------------------------------------------------------------------------

def copied(value: Any) -> Any:
    """A number, or a copy of a tensor."""
    return value.detach().clone() if isinstance(value, Tensor) else value


def values(optimizer: Optimizer, key: str) -> list[Any]:
    """An option of all groups, as `copied`."""
    return [copied(group[key]) for group in optimizer.param_groups]


def put(group: dict[str, Any], key: str, value: Any) -> None:
    """Write an option of a group, into its tensor where it is one."""
    value = value.item() if isinstance(value, Tensor) else value
    if isinstance(group.get(key), Tensor):
        with no_grad():
            group[key].fill_(value)
    else:
        group[key] = value


# -- checks ------------------------------------------------------------------------------------------------------------

def require_optimizer(optimizer: Any) -> None:
    """Raise TypeError for something that is not an Optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"a schedule takes an Optimizer, got {type(optimizer).__name__}")


def per_group(name: str, optimizer: Optimizer, value: Any, check: Callable | None = None) -> list[Any]:
    """A value for each group, from a list of them or one for all.

    Raises:
        ValueError: a list of another length, or a value that does not pass the check.
    """
    groups = len(optimizer.param_groups)
    if isinstance(value, (list, tuple)) and len(value) != groups:
        raise ValueError(f"{name} is one value or one for each of the {groups} groups, got {len(value)}")
    result = [copied(v) for v in value] if isinstance(value, (list, tuple)) else [copied(value) for _ in range(groups)]
    for v in result:
        if check is not None:
            check(name, v)
    return result


def real(name: str, value: Any, low: float = 0.0, high: float = math.inf) -> Any:
    """A finite number in [low, high], as it came.

    Raises:
        ValueError: names the hyperparameter, its value and the limits.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (low <= number <= high and math.isfinite(number)):
        limits = f"of at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        raise ValueError(f"{name} is a number {limits}, got {value!r}")
    return value


def positive(name: str, value: Any) -> Any:
    """A finite number above 0, as it came.

    Raises:
        ValueError: names the hyperparameter and its value.
    """
    if float(real(name, value)) == 0:
        raise ValueError(f"{name} is a number above 0, got {value!r}")
    return value


def count(name: str, value: Any, low: int = 1) -> int:
    """An integer of at least `low`.

    Raises:
        ValueError: names the hyperparameter, its value and the limit.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = low - 1
    if number < low:
        raise ValueError(f"{name} is an integer of at least {low}, got {value!r}")
    return number


def one_of(name: str, value: Any, choices: tuple[str, ...]) -> Any:
    """One of several words.

    Raises:
        ValueError: names the hyperparameter, its value and the words.
    """
    if value not in choices:
        raise ValueError(f"{name} is one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def functions(name: str, optimizer: Optimizer, given: Any) -> list[Callable]:
    """A function for each group, from a list of them or one for all.

    Raises:
        ValueError: a list of another length.
        TypeError: something that cannot be called.
    """
    result = per_group(name, optimizer, given)
    for f in result:
        if not callable(f):
            raise TypeError(f"{name} is a function of the epoch, got {type(f).__name__}")
    return result


def saved_function(f: Any) -> dict[str, Any] | None:
    """The state of a callable object; None for a function, which is not saved."""
    return dict(f.__dict__) if hasattr(f, "__dict__") and not hasattr(f, "__code__") else None
