"""The learning-rate range test (Smith, 2017): which learning rates does this model learn with?"""
from __future__ import annotations

import math
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Callable, Iterable, Iterator

import numpy as np

from ..autograd.modes import no_grad
from ..nn.module import Module
from ..ops.generator import Generator, fork_rng
from .lr_scheduler.base import count, one_of, positive, put, real, require_optimizer
from .swa_utils import ExponentialMovingAverage

__all__ = ["LRFinder"]


class LRFinder:
    """Trains for some steps with a learning rate that grows from step to step, and notes the loss (Smith, 2017).

        lr(t) = start_lr·(end_lr/start_lr)^(t/(n - 1))      ("exponential")
        lr(t) = start_lr + (end_lr - start_lr)·t/(n - 1)    ("linear")

    Where the loss falls fastest is a good learning rate; where it begins to rise is the largest possible one. Afterwards the model, the
    optimizer and the random generators are as before, also after an exception.

    Args:
        model: the model, in the mode it is in.
        optimizer: the optimizer, with the method and the options that the training will have. All groups get the same learning rate.
        criterion: the loss of model(input) and the target, one number.
        device: where to move inputs and targets.

    Attributes:
        history: {"lr": [...], "loss": [...], "smooth_loss": [...]}, one entry per step; empty before the test.

    Example:
        >>> import tinygrad_ed as tg
        >>> generator = tg.manual_seed(0)
        >>> x = tg.randn(64, 4)
        >>> batches = [(x, x.sum(dim=1, keepdim=True))]
        >>> model = tg.nn.Linear(4, 1)
        >>> finder = LRFinder(model, tg.optim.SGD(model.parameters()), tg.nn.MSELoss())
        >>> 0.01 < finder.range_test(batches, start_lr=1e-4, end_lr=10.0).suggestion() < 1
        True
    """

    def __init__(self, model: Module, optimizer: Any, criterion: Callable[[Any, Any], Any], device: Any = None):
        require_optimizer(optimizer)
        self.model, self.optimizer, self.criterion, self.device = model, optimizer, criterion, device
        self.history: dict[str, list[float]] = {"lr": [], "loss": [], "smooth_loss": []}
        self._mode = "exponential"

    def range_test(self, loader: Iterable[Any], start_lr: float = 1e-6, end_lr: float = 10.0, num_iter: int = 100,
                   mode: str = "exponential", smoothing: float = 0.9, diverge_threshold: float = 4.0) -> "LRFinder":
        """Run the test; it stops early where the loss is not finite, or far above the lowest one.

        Args:
            loader: gives pairs of inputs and targets; begun anew when it ends.
            start_lr: the first learning rate, above 0.
            end_lr: the last one, above start_lr.
            num_iter: how many steps, at least 2.
            mode: "exponential" or "linear".
            smoothing: beta of the `ExponentialMovingAverage` that smooths the loss; 0 for none.
            diverge_threshold: stop where the smoothed loss is more than so many times the lowest one; ∞ for never.

        Returns:
            The finder itself.

        Raises:
            ValueError: a number outside its range, an unknown mode, or a loader without batches.
            TypeError: batches that are not pairs.
        """
        positive("start_lr", start_lr)
        if not float(real("end_lr", end_lr)) > start_lr:
            raise ValueError(f"end_lr is above start_lr, got end_lr={end_lr} and start_lr={start_lr}")
        last = count("num_iter", num_iter, 2) - 1
        one_of("mode", mode, ("exponential", "linear"))
        average = ExponentialMovingAverage(smoothing)
        if not diverge_threshold > 1:
            raise ValueError(f"diverge_threshold is a number above 1, got {diverge_threshold}")
        history: dict[str, list[float]] = {"lr": [], "loss": [], "smooth_loss": []}
        lowest = math.inf
        with as_before(self.model, self.criterion, self.optimizer, loader):
            for t, (x, y) in zip(range(num_iter), _endless(loader, self.device)):
                lr = start_lr * (end_lr / start_lr) ** (t / last) if mode == "exponential" else start_lr + (end_lr - start_lr) * t / last
                for group in self.optimizer.param_groups:
                    put(group, "lr", lr)
                loss = self._step(x, y)
                if not math.isfinite(loss):
                    break
                smooth = average.update(loss)
                lowest = min(lowest, smooth)
                for name, value in zip(history, (lr, loss, smooth)):
                    history[name].append(value)
                if smooth > lowest + (diverge_threshold - 1) * abs(lowest):
                    break
        self.history, self._mode = history, mode
        return self

    def _step(self, x: Any, y: Any) -> float:
        """Train on a batch; returns its loss before the step."""
        losses = []

        def closure() -> Any:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(x), y)
            losses.append(loss.item())
            if math.isfinite(losses[-1]):
                loss.backward()
            return loss

        self.optimizer.step(closure)
        return losses[0]

    def _part(self, skip_start: int, skip_end: int) -> dict[str, np.ndarray]:
        """The history without its beginning, where the average is of few values, and its end, where the loss explodes."""
        n = len(self.history["lr"])
        stop = n - count("skip_end", skip_end, 0)
        if stop - count("skip_start", skip_start, 0) < 3:
            raise ValueError(f"the test has {n} steps, too few to leave out {skip_start} at the beginning and {skip_end} at the end; run "
                             f"range_test(loader, num_iter=100), from a smaller start_lr, or write skip_start=0, skip_end=0")
        return {name: np.array(values[skip_start:stop]) for name, values in self.history.items()}

    def suggestion(self, skip_start: int = 10, skip_end: int = 5) -> float:
        """The learning rate at which the smoothed loss fell fastest.

        The slope is taken over log(lr) after an exponential test, over lr after a linear one.

        Args:
            skip_start: how many steps to leave out at the beginning.
            skip_end: how many to leave out at the end.

        Returns:
            A learning rate.

        Raises:
            ValueError: too few steps, or a loss that never fell.
        """
        part = self._part(skip_start, skip_end)
        loss = part["smooth_loss"]
        if not loss.min() < loss[0] - 1e-6 * abs(loss[0]):            # more than rounding
            raise ValueError(f"the loss never fell between lr={part['lr'][0]:.3g} and lr={part['lr'][-1]:.3g}; start from a smaller "
                             f"start_lr, or look at plot()")
        slope = np.gradient(loss, np.log(part["lr"]) if self._mode == "exponential" else part["lr"])
        return float(part["lr"][slope.argmin()])

    def plot(self, target: Any = None, skip_start: int = 10, skip_end: int = 5) -> Any:
        """Draw the loss over the learning rate, and mark the suggestion where there is one.

        Args:
            target: a path to write an image to, or matplotlib's Axes to draw into; a new figure by default.
            skip_start: how many steps to leave out at the beginning.
            skip_end: how many to leave out at the end.

        Returns:
            The Axes.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: too few steps.
        """
        part = self._part(skip_start, skip_end)
        axes = target
        if not hasattr(target, "plot"):
            try:
                from matplotlib.figure import Figure
            except ImportError as error:
                raise ImportError('drawing needs matplotlib, which is not installed; write pip install "tinygrad_ed[plot]"') from error
            axes = Figure(figsize=(6, 4), layout="constrained").subplots()
        axes.plot(part["lr"], part["loss"], color="C0", alpha=0.3, label="loss of each batch")
        axes.plot(part["lr"], part["smooth_loss"], color="C0", label="smoothed")
        try:
            lr = self.suggestion(skip_start, skip_end)
            axes.plot(lr, np.interp(lr, part["lr"], part["smooth_loss"]), "o", color="C1", label=f"suggestion: lr = {lr:.2g}")
        except ValueError:
            pass                                      # a loss that never fell is still worth a look
        axes.set(xlabel="learning rate", ylabel="loss", xscale="log" if self._mode == "exponential" else "linear")
        axes.grid(alpha=0.3)
        axes.legend()
        if target is not axes and target is not None:
            axes.figure.savefig(target, dpi=150)
        return axes


def _endless(loader: Iterable[Any], device: Any) -> Iterator[tuple[Any, Any]]:
    """Pairs of inputs and targets, from the beginning again and again."""
    while True:
        found = False
        for batch in loader:
            found = True
            if not (isinstance(batch, (list, tuple)) and len(batch) == 2):
                raise TypeError(f"the range test takes batches (input, target), got {type(batch).__name__}"
                                + (f" of {len(batch)}" if isinstance(batch, (list, tuple)) else ""))
            yield tuple(batch) if device is None else tuple(t.to(device=device) for t in batch)     # type: ignore[misc]
        if not found:
            raise ValueError("the loader has no more batches; a generator gives its batches only once: write a list or a DataLoader")


def _generators(loader: Any) -> Iterator[Generator]:
    """The generators that a loader and its samplers draw from, other than the default one."""
    while loader is not None:
        for part in (loader, getattr(loader, "sampler", None)):
            if isinstance(getattr(part, "generator", None), Generator):
                yield part.generator                  # type: ignore[union-attr]
        loader = getattr(loader, "batch_sampler", None)


@contextmanager
def as_before(model: Any, criterion: Any, optimizer: Any, loader: Any) -> Iterator[None]:
    """A block after which modules, optimizer and random generators are, bit for bit, as before it."""
    modules = [m for root in (model, criterion) if isinstance(root, Module) for m in root.modules()]
    modes, buffers = [(m, m.training) for m in modules], [(m, dict(m._buffers)) for m in modules]
    params = dict.fromkeys([*(p for m in modules for p in m._parameters.values() if p is not None),
                            *(p for group in optimizer.param_groups for p in group["params"])])
    tensors = dict.fromkeys([*params, *(b for m in modules for b in m._buffers.values() if b is not None)])
    copies = [t.detach().clone() for t in tensors]
    memo: dict[int, Any] = {}                         # a shared gradient stays shared
    grads = [None if p.grad is None else memo.setdefault(id(p.grad), p.grad.detach().clone()) for p in params]
    state = deepcopy(optimizer.state_dict())
    generators = [(g, g.get_state()) for g in _generators(loader)]
    try:
        with fork_rng():
            yield
    finally:
        for m, register in buffers:
            m._buffers.clear()
            m._buffers.update(register)
        with no_grad():
            for t, copied in zip(tensors, copies):
                t.copy_(copied)
        for p, grad in zip(params, grads):
            p.grad = grad
        optimizer.load_state_dict(state)
        for m, training in modes:
            m.training = training
        for generator, at in generators:
            generator.set_state(at)
