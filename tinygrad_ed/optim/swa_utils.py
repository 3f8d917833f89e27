"""Averages: of a model's weights along the training (SWA, EMA), and of any number or array."""
from __future__ import annotations

import math
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Callable, Iterable, Iterator, Mapping

from ..autograd.inplace import stamp
from ..autograd.modes import no_grad
from ..backend import capture
from ..errors import ShapeError
from ..nn.module import Module
from ..nn.norm.batch import _BatchNorm
from ..ops.creation import zeros
from ..tensor import Tensor
from .lr_scheduler.base import count, one_of, per_group, real, require_optimizer
from .lr_scheduler.factor import FactorLR
from .optimizer import Optimizer

__all__ = ["AveragedModel", "ExponentialMovingAverage", "SWALR", "averaged_weights", "get_ema_avg_fn", "get_ema_multi_avg_fn",
           "get_swa_avg_fn", "get_swa_multi_avg_fn", "update_bn"]


# -- ways to average ---------------------------------------------------------------------------------------------------

def get_swa_avg_fn() -> Callable[[Tensor, Tensor, Any], Tensor]:
    """The mean of all models so far: w ← w + (θ - w)/(n + 1).

    Returns:
        A function of the average w, the model's θ and the number n of models in w, which gives the new average.

    Example:
        >>> import tinygrad_ed as tg
        >>> get_swa_avg_fn()(tg.tensor(1.0), tg.tensor(4.0), 2).item()
        2.0
    """
    @no_grad()
    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return averaged_param + (current_param - averaged_param) * (1 / (int(num_averaged) + 1))

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Tensor, Tensor, Any], Tensor]:
    """The exponentially weighted average: w ← decay·w + (1 - decay)·θ.

    Args:
        decay: how slowly the average moves, in [0, 1].

    Returns:
        A function of the average w, the model's θ and the number of models in w, which gives the new average.

    Raises:
        ValueError: decay outside [0, 1].

    Example:
        >>> import tinygrad_ed as tg
        >>> get_ema_avg_fn(0.75)(tg.tensor(1.0), tg.tensor(3.0), 2).item()
        1.5
    """
    real("decay", decay, 0, 1)

    @no_grad()
    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_multi_avg_fn() -> Callable[[list[Tensor], list[Tensor], Any], None]:
    """As `get_swa_avg_fn`, for lists of tensors and in place.

    Returns:
        A function of the averages, the model's tensors and the number of models in the averages, which writes the new averages.

    Example:
        >>> import tinygrad_ed as tg
        >>> averages = [tg.tensor(1.0)]
        >>> get_swa_multi_avg_fn()(averages, [tg.tensor(4.0)], 2)
        >>> averages
        [tensor(2.)]
    """
    def swa_update(averaged_param_list: list[Tensor], current_param_list: list[Tensor], num_averaged: Any) -> None:
        _approach(averaged_param_list, current_param_list, 1 / (int(num_averaged) + 1))

    return swa_update


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[list[Tensor], list[Tensor], Any], None]:
    """As `get_ema_avg_fn`, for lists of tensors and in place.

    Args:
        decay: how slowly the average moves, in [0, 1].

    Returns:
        A function of the averages, the model's tensors and the number of models in the averages, which writes the new averages.

    Raises:
        ValueError: decay outside [0, 1].

    Example:
        >>> import tinygrad_ed as tg
        >>> averages = [tg.tensor(1.0)]
        >>> get_ema_multi_avg_fn(0.75)(averages, [tg.tensor(3.0)], 2)
        >>> averages
        [tensor(1.5000)]
    """
    real("decay", decay, 0, 1)

    def ema_update(ema_param_list: list[Tensor], current_param_list: list[Tensor], _: Any) -> None:
        _approach(ema_param_list, current_param_list, 1 - decay)

    return ema_update


def _approach(averages: list[Tensor], currents: list[Tensor], part: float) -> None:
    """w ← w + part·(θ - w), written into the averages; integers are rounded towards 0."""
    for w, theta in zip(averages, currents):
        array = w._data
        if w.is_floating_point():
            step = theta._data - array
            step *= part
            array += step
        else:
            array[...] = (1 - part) * array + part * theta._data
        stamp(array)


# -- the averaged model ------------------------------------------------------------------------------------------------

class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's: SWA (Izmailov et al., 2018), EMA (Polyak and Juditsky, 1992).

    The first `update_parameters` copies, each later one averages, with equal weights unless there is an avg_fn. Buffers, such as
    the running statistics of batch norm, are copied, or averaged too with use_buffers; or run `update_bn` at the end.

    Args:
        model: the model to copy.
        device: where the copy lies; the model's own device by default.
        avg_fn: gives a new average of the average, the model's parameter and the number of models in the average.
        multi_avg_fn: writes new averages into a list of them, from that, a list of the model's parameters, and the number. It
            is called once for each device and dtype.
        use_buffers: whether buffers are averaged too.

    Raises:
        ValueError: both an avg_fn and a multi_avg_fn.

    Example:
        >>> import tinygrad_ed as tg
        >>> model = tg.nn.Linear(1, 1, bias=False)
        >>> averaged = AveragedModel(model)
        >>> for weight in (1.0, 2.0, 6.0):
        ...     _ = tg.nn.init.constant_(model.weight, weight)
        ...     averaged.update_parameters(model)
        >>> averaged(tg.ones(1)).item()
        3.0
    """

    n_averaged: Tensor

    def __init__(self, model: Module, device: Any = None, avg_fn: Callable[[Tensor, Tensor, Any], Tensor] | None = None,
                 multi_avg_fn: Callable[[list[Tensor], list[Tensor], Any], None] | None = None, use_buffers: bool = False):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("AveragedModel takes an avg_fn or a multi_avg_fn, got both")
        self.module = deepcopy(model) if device is None else deepcopy(model).to(device)
        self.register_buffer("n_averaged", zeros((), dtype="int64", device=device))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model computes, with the averaged parameters."""
        return self.module(*args, **kwargs)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Take the model's present parameters into the average.

        Args:
            model: the model, of the same architecture.

        Raises:
            ValueError: another number of parameters or buffers.
            ShapeError: one of another shape. Nothing has been changed then.
        """
        pairs, buffers = (list(_pairs(self.module, model, kind)) for kind in ("parameters", "buffers"))
        if self.use_buffers:
            pairs, buffers = pairs + buffers, []
        if self.n_averaged.item() == 0:
            buffers, pairs = pairs + buffers, []
        if self.avg_fn is not None:
            news = [self.avg_fn(w, theta, self.n_averaged) for w, theta in pairs]
            buffers = buffers + [(w, new) for (w, _), new in zip(pairs, news)]
        else:
            multi_avg_fn = self.multi_avg_fn or get_swa_multi_avg_fn()
            groups: dict[Any, list] = {}
            for w, theta in pairs:
                groups.setdefault((w.device, w.dtype), []).append((w, theta))
            for group in groups.values():
                multi_avg_fn([w for w, _ in group], [theta for _, theta in group], self.n_averaged)
        for target, source in buffers:
            target.copy_(source)
        self.n_averaged.add_(1)


def _pairs(averaged: Module, model: Module, kind: str) -> Iterator[tuple[Tensor, Tensor]]:
    """The parameters or buffers of two models side by side, the second's on the device of the first, both outside of any graph."""
    ours, theirs = list(getattr(averaged, f"named_{kind}")()), list(getattr(model, f"named_{kind}")())
    if len(ours) != len(theirs):
        raise ValueError(f"the average has {len(ours)} {kind}, the model {len(theirs)}; both need the same architecture")
    for (name, w), (_, theta) in zip(ours, theirs):
        if w.shape != theta.shape:
            raise ShapeError(f"{name} has shape {w.shape} in the average and {theta.shape} in the model; both need the same architecture")
    return ((w.detach(), theta.detach().to(device=w.device)) for (_, w), (_, theta) in zip(ours, theirs))


@contextmanager
def averaged_weights(model: Module, averaged: Module) -> Iterator[Module]:
    """Let a model compute with averaged parameters and buffers inside a `with` block, and with its own ones after it.

    The model gets copies, so neither its own values nor the average change, whatever happens inside; an exception neither.

    Args:
        model: the model.
        averaged: its `AveragedModel`, or any module of the same architecture.

    Raises:
        ValueError: another number of parameters or buffers.
        ShapeError: one of another shape. Nothing has been changed then.

    Example:
        >>> import tinygrad_ed as tg
        >>> model = tg.nn.Linear(1, 1, bias=False)
        >>> average = AveragedModel(model)
        >>> _ = tg.nn.init.constant_(model.weight, 1.0), tg.nn.init.constant_(average.module.weight, 2.0)
        >>> with averaged_weights(model, average):
        ...     print(model.weight.item())
        2.0
        >>> model.weight.item()
        1.0
    """
    source = averaged.module if isinstance(averaged, AveragedModel) else averaged
    tensors = [*model.parameters(), *model.buffers()]
    pairs = [*_pairs(source, model, "parameters"), *_pairs(source, model, "buffers")]
    news = [average.to(dtype=t.dtype, device=t.device, copy=True) for t, (average, _) in zip(tensors, pairs)]
    before = [t.data for t in tensors]
    try:
        for t, new in zip(tensors, news):
            t.data = new.data
        yield model
    finally:
        for t, data in zip(tensors, before):
            if t.data is not data:
                t.data = data


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of batch norm anew, from one pass over data: the means over all batches.

    Args:
        loader: the batches, tensors or lists and tuples whose first element is the input.
        model: the model, whose modes are as before afterwards.
        device: where to move the inputs.

    Raises:
        Exception: what the model or the loader raises; the statistics are as before then.

    Example:
        >>> import tinygrad_ed as tg
        >>> model = tg.nn.BatchNorm1d(1)
        >>> update_bn([tg.tensor([[1.0], [3.0]]), tg.tensor([[5.0], [7.0]])], model)
        >>> model.running_mean
        tensor([4.])
    """
    norms = {m: (m.momentum, [b.clone() for b in m.buffers()]) for m in model.modules() if isinstance(m, _BatchNorm)}
    if not norms:
        return
    modes = [(m, m.training) for m in model.modules()]
    try:
        model.train()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        for batch in loader:
            x = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(x if device is None else x.to(device=device))
    except BaseException:
        for norm, (_, statistics) in norms.items():
            for b, old in zip(norm.buffers(), statistics):
                b.copy_(old)
        raise
    finally:
        for norm, (momentum, _) in norms.items():
            norm.momentum = momentum
        for m, training in modes:
            m.training = training


class SWALR(FactorLR):
    """Goes to a constant learning rate for SWA (Izmailov et al., 2018): lr(t) = swa_lr + (lr - swa_lr)·(1 - a(t/anneal_epochs)).

    a(x) is (1 - cos(π·x))/2 ("cos") or x ("linear"), and 1 after anneal_epochs.

    Args:
        optimizer: the optimizer.
        swa_lr: the learning rate to end with, one or one per group.
        anneal_epochs: the number of epochs until then; 0 to go there at once.
        anneal_strategy: "cos" or "linear".
        last_epoch: the last epoch that is done; -1 to start.

    Raises:
        ValueError: a number outside its range, an unknown strategy, or a list of another length than there are groups. Nothing has
            been changed then.

    Example:
        >>> import tinygrad_ed as tg
        >>> optimizer = tg.optim.SGD([tg.nn.Parameter(tg.zeros(1))], lr=1.0)
        >>> scheduler = SWALR(optimizer, swa_lr=0.5, anneal_epochs=2, anneal_strategy="linear")
        >>> for epoch in range(4):
        ...     print(scheduler.get_last_lr()[0], end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        1.0 0.75 0.5 0.5
    """

    def __init__(self, optimizer: Optimizer, swa_lr: float | list[float], anneal_epochs: int = 10, anneal_strategy: str = "cos",
                 last_epoch: int = -1):
        require_optimizer(optimizer)
        rates = per_group("swa_lr", optimizer, swa_lr, real)
        self._anneal_strategy = one_of("anneal_strategy", anneal_strategy, ("cos", "linear"))
        self.anneal_epochs = count("anneal_epochs", anneal_epochs, 0)
        count("last_epoch", last_epoch, -1)
        for group, lr in zip(optimizer.param_groups, rates):
            group["swa_lr"] = lr
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        x = min(max(epoch, 0) / self.anneal_epochs, 1.0) if self.anneal_epochs else float(epoch >= 1)
        return 1 - x if self._anneal_strategy == "linear" else (1 + math.cos(math.pi * x)) / 2

    def _next(self) -> list[Any]:
        t = self._step_count - 1                      # its own steps: other schedules may have come before
        if self.anneal_epochs == 0:
            t = max(t, 1)
        before, now = self._factor(t - 1), self._factor(t)
        ratio = now / before if before else 0.0
        return [group["swa_lr"] + (group["lr"] - group["swa_lr"]) * ratio for group in self.optimizer.param_groups]


# -- averages of anything ----------------------------------------------------------------------------------------------

class ExponentialMovingAverage:
    """The exponentially weighted average of numbers, arrays or tensors, such as of the loss of each batch.

        v ← beta·v + (1 - beta)·x,    value = v/(1 - betaᵗ)

    It remembers about 1/(1 - beta) values. v starts at 0; dividing by 1 - betaᵗ corrects for that, as in Adam (Kingma and Ba, 2015).

    Args:
        beta: how slowly it moves, in [0, 1).
        bias_correction: whether to divide.

    Raises:
        ValueError: beta outside [0, 1).

    Example:
        >>> loss = ExponentialMovingAverage(beta=0.5)
        >>> for x in (4.0, 1.0):
        ...     print(loss.update(x))
        4.0
        2.0
        >>> loss.value
        2.0
    """

    def __init__(self, beta: float = 0.9, bias_correction: bool = True):
        if not float(real("beta", beta, 0, 1)) < 1:
            raise ValueError(f"beta lies in [0, 1), got {beta!r}")
        self.beta, self.bias_correction, self.steps, self._sum = beta, bias_correction, 0, None

    def update(self, value: Any) -> Any:
        """Take in a value, a number, array or tensor of any shape, always the same; returns the new average."""
        capture.forbid("ExponentialMovingAverage, whose values the host counts,", "let the step return the value, and average it outside")
        value = value.detach() if isinstance(value, Tensor) else value
        shapes = [getattr(x, "shape", ()) for x in (value, 0.0 if self._sum is None else self._sum)]
        if self.steps and shapes[0] != shapes[1]:
            raise ShapeError(f"this average is of values of shape {shapes[1]}, got {shapes[0]}")
        new = (1 - self.beta) * value
        self._sum = new if self._sum is None else self.beta * self._sum + new
        self.steps += 1
        return self.value

    @property
    def value(self) -> Any:
        """The average; None before the first value."""
        if self._sum is None or not self.bias_correction:
            return self._sum
        return self._sum / (1 - self.beta ** self.steps)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        return dict(self.__dict__)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where another average stopped.

        Raises:
            ValueError: not the state of an average.
        """
        if set(state_dict) != set(self.__dict__):
            raise ValueError(f"the state of an average has {sorted(self.__dict__)}, got {sorted(state_dict)}")
        self.__dict__.update(state_dict)
