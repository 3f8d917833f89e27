"""Ensembles: one prediction from several models, and models for it from the cycles of a single training.

Averages of weights, which make one model, are in `swa_utils`.
"""
from __future__ import annotations

from collections import deque
from copy import deepcopy
from typing import Any, Iterable

from ..errors import ShapeError
from ..nn.container import ModuleList
from ..nn.module import Module
from ..ops.softmax import softmax
from ..tensor import Tensor
from .lr_scheduler.base import count, one_of

__all__ = ["Ensemble", "SnapshotEnsemble"]

MODES = ("probabilities", "logits")


class Ensemble(Module):
    """The mean of what several models predict.

        "probabilities":  y = (1/k)·Σ softmax(fᵢ(x))
        "logits":         y = (1/k)·Σ fᵢ(x)

    The mean of probabilities is a mixture: it says yes where one model is sure. The softmax of mean logits is the normalized
    geometric mean of the probabilities: it needs the consent of all. For regression, and for models that already give
    probabilities, "logits" is the plain mean.

    Args:
        models: the models, which become submodules; `eval()` puts all of them into evaluation mode.
        mode: what is averaged.
        dim: the dimension of the classes, for "probabilities".

    Shapes:
        Input: what the models take. Output: what each of them gives.

    Raises:
        ValueError: no models, or an unknown mode.
        TypeError: something that is not a Module.
        ShapeError: from a call, outputs of different shapes.

    Example:
        >>> import tinygrad_ed as tg
        >>> models = [tg.nn.Linear(1, 2) for _ in range(2)]
        >>> for model, bias in zip(models, ([0.0, 0.0], [4.0, 0.0])):
        ...     model.bias.data = tg.tensor(bias).data
        >>> tg.optim.Ensemble(models)(tg.zeros(1, 1)).detach()
        tensor([[0.7410, 0.2590]])
        >>> tg.optim.Ensemble(models, mode="logits")(tg.zeros(1, 1)).detach()
        tensor([[2., 0.]])
    """

    def __init__(self, models: Iterable[Module], mode: str = "probabilities", dim: int = -1):
        super().__init__()
        self.mode, self.dim = one_of("mode", mode, MODES), dim
        self.models = ModuleList([models] if isinstance(models, Module) and not isinstance(models, ModuleList) else models)
        if len(self.models) == 0:
            raise ValueError("an ensemble needs models and got none; write Ensemble([model_a, model_b])")

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """The mean of the models' predictions."""
        total: Any = None
        for i, model in enumerate(self.models):
            y = model(*args, **kwargs)
            y = softmax(y, self.dim) if self.mode == "probabilities" else y
            if total is not None and y.shape != total.shape:
                raise ShapeError(f"model {i} gives shape {y.shape}, the models before it {total.shape}; the mean is taken of predictions of "
                                 f"one shape")
            total = y if total is None else total + y
        return total / len(self.models)

    def extra_repr(self) -> str:
        """What printing says about it."""
        return f"mode={self.mode!r}"


class SnapshotEnsemble:
    """Models from one training: a copy at the end of each cycle of the learning rate (Huang et al., 2017, "train 1, get M for free").

    A cycle ends where the learning rate, after falling, rises again, as with `CosineAnnealingWarmRestarts` at each restart, also when
    that steps by fractions of epochs. There the model sits in a minimum, and the next, high learning rate carries it to another one.

    Args:
        model: the model in training.
        scheduler: its schedule.
        keep: only the last so many copies; all by default.

    Attributes:
        models: the copies so far, the oldest first, in evaluation mode.

    Raises:
        ValueError: keep below 1.
        TypeError: not a schedule.

    Example:
        >>> import tinygrad_ed as tg
        >>> model = tg.nn.Linear(1, 1)
        >>> optimizer = tg.optim.SGD(model.parameters(), lr=1.0)
        >>> scheduler = tg.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=3)
        >>> snapshots = tg.optim.SnapshotEnsemble(model, scheduler, keep=5)
        >>> for epoch in range(6):
        ...     optimizer.step()                  # an epoch of training
        ...     scheduler.step()
        ...     print(snapshots.update(), end=" ")
        False False True False False True
        >>> ensemble = snapshots.ensemble(mode="logits")
        >>> len(ensemble.models)
        2
    """

    def __init__(self, model: Module, scheduler: Any, keep: int | None = None):
        if not hasattr(scheduler, "get_last_lr"):
            raise TypeError(f"SnapshotEnsemble takes a schedule of the learning rate, got {type(scheduler).__name__}; write "
                            f"lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=epochs_per_cycle)")
        self.model, self.scheduler = model, scheduler
        self.models: deque[Module] = deque(maxlen=None if keep is None else count("keep", keep))
        self._lr, self._falling = self._rate(), False

    def _rate(self) -> float:
        return float(self.scheduler.get_last_lr()[0])

    def update(self) -> bool:
        """Take a copy if a cycle has just ended; call it after each `scheduler.step()`. Returns whether it has."""
        before, self._lr = self._lr, self._rate()
        ended = self._falling and self._lr > before
        self._falling = self._lr < before or self._falling and self._lr == before
        if ended:
            self.take()
        return ended

    def take(self) -> None:
        """Take a copy now, such as after the last epoch of a cycle that is not followed by another one."""
        self.models.append(deepcopy(self.model).eval())

    def ensemble(self, mode: str = "probabilities", dim: int = -1) -> Ensemble:
        """The copies so far as one model, in evaluation mode; arguments as for `Ensemble`.

        Raises:
            ValueError: no cycle has ended yet, or an unknown mode.
        """
        if not self.models:
            raise ValueError("no cycle has ended yet, so there are no snapshots; call update() after each scheduler.step(), or take()")
        result = Ensemble(self.models, mode, dim)
        result.eval()
        return result
