"""Captured steps: forward, backward, clipping and the optimizer's step as one CUDA graph.

A step on a device costs the host some microseconds for each kernel, which is more than small kernels take to run; replaying costs it one
launch. `graph(step)` runs some steps as they are, captures the next, and replays it from then on.
"""
from __future__ import annotations

import functools
import linecache
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..autograd import inplace
from ..autograd.modes import state
from ..backend import capture, cuda, determinism, precision
from ..data.prefetch import mapped
from ..errors import DeviceError
from ..tensor import Tensor, wrap
from .graphs import CUDAGraph, capturing, graph_pool_handle
from .streams import Stream, current_stream

__all__ = ["GraphedStep", "graph", "make_graphed_callable"]

LIMIT = 8                    # captures of one step, for different shapes or after changes


def graph(step: Any = None, pool: Any = None, stream: Stream | None = None, capture_error_mode: str = "global", *, warmup: int = 2) -> Any:
    """Let a training step be captured and replayed; or, with a `CUDAGraph`, capture a block into it, as PyTorch's `cuda.graph`.

    Used as `step = graph(step)`, `@graph` or `@graph(warmup=3)` it gives a `GraphedStep`, which is called as the step was.

    Args:
        step: a function of tensors, or a CUDAGraph.
        pool: memory that graphs share; memory of its own by default.
        stream: the stream to capture on; one of its own by default.
        capture_error_mode: accepted as in PyTorch.
        warmup: how many calls run eagerly before the capture, at least 1: state is made and kernels are compiled in them.

    Returns:
        A GraphedStep, a decorator, or for a CUDAGraph a block.

    Raises:
        ValueError: warmup below 1.
        TypeError: neither a function nor a CUDAGraph.

    Example:
        >>> import tinygrad_ed as tg
        >>> device = "cuda" if tg.cuda.is_available() else "cpu"
        >>> model = tg.nn.Linear(2, 1).to(device)
        >>> optimizer = tg.optim.Adam(model.parameters(), lr=1e-2)
        >>> @tg.cuda.graph
        ... def step(x, y):
        ...     optimizer.zero_grad()
        ...     loss = tg.nn.functional.mse_loss(model(x), y)
        ...     loss.backward()
        ...     optimizer.step()
        ...     return loss
        >>> losses = [step(tg.ones(4, 2, device=device), tg.ones(4, 1, device=device)) for _ in range(5)]
        >>> losses[4].item() < losses[0].item()
        True
    """
    if isinstance(step, CUDAGraph):
        return capturing(step, pool, stream)
    if step is None:
        return functools.partial(graph, pool=pool, stream=stream, warmup=warmup)
    return GraphedStep(step, warmup, pool, stream)


def make_graphed_callable(step: Callable, sample_args: tuple | None = None, num_warmup_iters: int = 2, pool: Any = None) -> "GraphedStep":
    """As `graph(step)`; with sample arguments it is warmed up and captured at once.

    Args:
        step: a function of tensors.
        sample_args: its arguments for num_warmup_iters + 1 calls, which do what the step does: a training step trains.
        num_warmup_iters: how many calls run eagerly.
        pool: memory that graphs share.

    Example:
        >>> import tinygrad_ed as tg
        >>> device = "cuda" if tg.cuda.is_available() else "cpu"
        >>> double = tg.cuda.make_graphed_callable(lambda x: x * 2, (tg.zeros(2, device=device),))
        >>> double(tg.ones(2, device=device)).tolist()
        [2.0, 2.0]
    """
    graphed = GraphedStep(step, num_warmup_iters, pool)
    for _ in range(0 if sample_args is None else num_warmup_iters + 1):
        graphed(*sample_args)                         # type: ignore[misc]
    return graphed


# -- a step and its captures -------------------------------------------------------------------------------------------

class GraphedStep:
    """A step that is captured after some calls, and replayed from then on; called as the step itself, with the same results.

    Every call is one step: the first `warmup` ones run eagerly, on a stream of their own, the next one is captured and replayed. New
    batches are copied into the captured inputs. Other shapes, dtypes or arguments are warmed up and captured on their own, up to 8
    captures, beyond which they run eagerly; a change of a parameter's memory or of an optimizer's options other than lr makes it warm
    up and capture anew. What the host does in a step besides (printing, counting, binding a name anew) happens only when it runs eagerly
    or is captured, and decides what replays do: a schedule steps outside, a running mean is written in place, and what the step depends
    on, such as `model.training`, is given as an argument where it changes.

    Tensors that the step returns are copies without a graph. A step that cannot be captured runs eagerly, with one warning that names
    the call; so does a step whose tensors are all on the CPU, without one.

    Args:
        step: a function of tensors, on one CUDA device, and of other hashable arguments, also in lists, tuples and dicts.
        warmup: how many calls run eagerly first, at least 1.
        pool: memory that graphs share; memory of its own by default.
        stream: the stream to capture on; one of its own by default.

    Raises:
        ValueError: warmup below 1.
        TypeError: not a function.

    Example:
        >>> import tinygrad_ed as tg
        >>> step = GraphedStep(lambda x: x.exp())
        >>> step(tg.zeros(1)).tolist()
        [1.0]
    """

    def __init__(self, step: Callable, warmup: int = 2, pool: Any = None, stream: Stream | None = None):
        if not callable(step):
            raise TypeError(f"cuda.graph takes a function of tensors, or a CUDAGraph, got {type(step).__name__}")
        if warmup < 1:
            raise ValueError(f"at least one step runs eagerly before the capture, got warmup={warmup}")
        functools.update_wrapper(self, step, updated=())     # an object's own attributes stay its own
        self.step, self.warmup, self._pool, self._given_pool, self._stream = step, warmup, pool, pool, stream
        self._captured: dict[Any, _Captured] = {}
        self._waiting: dict[Any, int] = {}            # how many eager calls are left, by signature
        self._leaves: dict[Tensor, None] = {}         # what backward has given gradients to
        self._captures, self._change, self.refused = 0, "", ""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tensors: list[Tensor] = []
        signature = _signature((args, kwargs), tensors)
        if self.refused or not self._on_device(tensors) or capture.active() is not None:      # the last is inside of another captured step
            return self.step(*args, **kwargs)
        with cuda.on(tensors[0]._data.device.id if tensors else None):
            # what a capture depends on besides: backward writes new gradients, or adds to old ones
            place = signature, _modes(), tuple(t._grad is None for t in self._leaves)
            captured = self._captured.get(place)
            if captured is not None and (changed := captured.outdated()):
                del self._captured[place]
                self._change, captured = changed, None
            if captured is None:
                left = self._waiting.setdefault(signature, self.warmup)
                if left:
                    self._waiting[signature] = left - 1
                    return self._eager(args, kwargs)
                captured = self._capture(args, kwargs, tensors)
                if captured is None:
                    return self.step(*args, **kwargs)
                self._captured[place] = captured
                self._waiting[signature] = 1          # should it be outdated one day
            return captured.replay(tensors)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method; each instance has captures of its own."""
        return self if instance is None else functools.partial(self, instance)

    def _on_device(self, tensors: list[Tensor]) -> bool:
        """Whether there is something to capture.

        Raises:
            DeviceError: only some of the tensors are on a CUDA device.
        """
        places = [isinstance(t._data, np.ndarray) for t in tensors]
        if any(places) and not all(places):
            i = places.index(True)
            raise DeviceError(f"tensor {i} of the step's {len(tensors)}, of shape {tensors[i].shape}, is on the CPU, others are on a CUDA device; "
                              f"write x.to({str(tensors[places.index(False)].device)!r}) before the step, or let data.Prefetcher bring the batches")
        return not any(places) and (bool(places) or cuda.used())

    def _eager(self, args: tuple, kwargs: dict) -> Any:
        """The step itself, on the stream that is captured later."""
        current, side = current_stream(), self._side()
        side.wait_stream(current)
        try:
            with side, _noting(self._leaves):
                return self.step(*args, **kwargs)
        finally:
            current.wait_stream(side)

    def _side(self) -> Stream:
        if self._stream is None or self._stream.device.index != cuda.current_device():
            self._stream = Stream()
        return self._stream

    def _capture(self, args: tuple, kwargs: dict, tensors: list[Tensor]) -> "_Captured | None":
        """The captured step; None where that is refused, with a warning, and everything as before."""
        if self._captures >= LIMIT:
            if self._captures == LIMIT:               # told once
                change = f", or after changes, last of {self._change}" if self._change else ""
                self._warn(f"is captured at most {LIMIT} times, for different shapes or arguments{change}; other calls run eagerly")
            self._captures += 1
            return None
        if any(t.requires_grad for t in tensors):
            return self._refuse("an argument requires grad; use parameters as a closure does, and give batches as arguments")
        if self._pool is None:
            self._pool = graph_pool_handle()
        inputs = [wrap(t._data.copy()) for t in tensors]
        static = iter(inputs)
        args, kwargs = mapped((args, kwargs), lambda t: next(static))
        before, stamp = {t: _Gradient(t) for t in self._leaves}, inplace.latest
        g, leaves = CUDAGraph(), {}                   # type: ignore[var-annotated]
        try:
            with capturing(g, self._pool, self._side()), _noting(leaves):
                outputs = self.step(*args, **kwargs)
        except BaseException as error:
            for t in leaves:                          # nothing has run
                before.get(t, _NONE).restore(t)
            if not isinstance(error, Exception):
                raise
            return self._refuse(f"{error} ({_culprit(error)})")
        self._captures += 1
        return _Captured(g, inputs, outputs, {t: before.get(t, _NONE) for t in leaves}, inplace.written_after(stamp))

    def _refuse(self, reason: str) -> Any:
        """Capture nothing any more; returns None."""
        self.refused = reason
        self._captured.clear()
        self._warn(f"cannot be captured as a CUDA graph and runs eagerly from now on: {reason}")

    def _warn(self, text: str) -> None:
        warnings.warn(f"{getattr(self.step, '__name__', 'the step')} {text}", stacklevel=5)

    def reset(self) -> None:
        """Forget all captures, and give their memory back; the next calls warm up and capture again."""
        self._captured.clear()
        self._waiting.clear()
        self._captures, self._change, self.refused, self._pool = 0, "", "", self._given_pool

    def __repr__(self) -> str:
        return f"<captured step {getattr(self.step, '__qualname__', self.step)}: {self.refused or f'{len(self._captured)} captures'}>"


class _Gradient:
    """What a leaf's `.grad` was, without a reference to its place in an optimizer's flat memory, which counts as free while nobody else has one."""

    def __init__(self, t: Any):
        kept = t._grad
        self.home = kept is not None and kept._data is t._grad_home
        self._same, self._kept = None if kept is None else weakref.ref(kept), None if self.home else kept

    def restore(self, t: Any) -> None:
        """Give it back."""
        if not self.home:
            t._grad = self._kept
        elif t._grad is None or t._grad._data is not t._grad_home:
            t._grad = wrap(t._grad_home)

    def is_of(self, t: Any) -> bool:
        """Whether there was one, and the leaf has it still."""
        return self._same is not None and t._grad is self._same()

    def shares(self, t: Any) -> bool:
        """Whether the leaf's gradient lies in the same memory."""
        place = t._grad_home if self.home else None if self._kept is None else self._kept._data
        return t._grad is not None and t._grad._data is place


_NONE = _Gradient(SimpleNamespace(_grad=None))


class _Captured:
    """One capture of a step: its graph, the tensors it reads and returns, and what it does to leaves.

    Args:
        g: the graph.
        inputs: the captured arguments.
        outputs: what the step returned.
        before: the leaves that its backward reached, each with its gradient before the capture.
        written: weak references to the arrays that the step writes in place.
    """

    def __init__(self, g: CUDAGraph, inputs: list[Tensor], outputs: Any, before: dict, written: list):
        self.graph, self.inputs, self.outputs, self.written = g, [t._data for t in inputs], outputs, written
        self.leaves = [(t, weakref.ref(t._data), gradient.is_of(t), _Gradient(t)) for t, gradient in before.items()]

    def outdated(self) -> str:
        """What has changed so that a replay would not do what the step does; "" if nothing."""
        for t, memory, added_to, gradient in self.leaves:
            if t._data is not memory() or not t.requires_grad:
                return "a parameter, which has other memory now or is frozen"
            if added_to and not gradient.shares(t):
                return "a gradient, which the step adds to and which has other memory now"
        return self.graph.recording.outdated()        # type: ignore[union-attr]

    def replay(self, tensors: list[Tensor]) -> Any:
        """One step: copy the batch, launch, and leave gradients and stamps as the step does."""
        for static, t in zip(self.inputs, tensors):
            array = t._data
            if not array.flags.c_contiguous:
                static[...] = array
            elif array.size:
                static.data.copy_from_device_async(array.data, array.nbytes)
        self.graph.replay()
        for t, _, _, gradient in self.leaves:
            gradient.restore(t)
        inplace.stamp_all([array for reference in self.written if (array := reference()) is not None])
        return mapped(self.outputs, lambda t: wrap(t._data.copy()))


@contextmanager
def _noting(leaves: dict) -> Iterator[None]:
    """A block whose backward passes note their leaves, and which converts parameters anew: a replay must not use those of an earlier step."""
    before, casting = state.leaves, state.casting
    state.leaves, state.casting = leaves, None if casting is None else casting._replace(cache=None)
    try:
        yield
    finally:
        state.leaves, state.casting = before, casting


def _modes() -> tuple:
    """What decides, beside the arguments, which kernels a step runs."""
    casting = state.casting
    return (bool(state.recording), casting and (casting.device_type, casting.dtype), precision.products.modes, precision.convolutions.modes,
            determinism.enabled())


def _signature(value: Any, tensors: list[Tensor]) -> Any:
    """What decides whether a capture serves these arguments; their tensors are appended to a list, in the order of `mapped`.

    Raises:
        TypeError: an argument that is no tensor and cannot be compared with an earlier one.
    """
    if isinstance(value, Tensor):
        tensors.append(value)
        device = value._data.device                   # NumPy's is a word, CuPy's cannot be hashed
        return value._data.shape, value._data.dtype, getattr(device, "id", device)
    if isinstance(value, Mapping):
        return tuple((key, _signature(v, tensors)) for key, v in value.items())
    if isinstance(value, (list, tuple)):
        return type(value), *(_signature(v, tensors) for v in value)
    try:
        hash(value)
    except TypeError:
        raise TypeError(f"a captured step takes tensors and hashable arguments, got {type(value).__name__}; write tinygrad_ed.tensor(...), or use "
                        f"it in the step without giving it as an argument") from None
    return type(value), value


def _culprit(error: BaseException) -> str:
    """Where the user's code was when an error arose."""
    others = {"", "contextlib", __name__.partition(".")[0], cuda.module().ndarray.__module__.partition(".")[0]}
    users = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)
             if frame.f_globals.get("__name__", "").partition(".")[0] not in others]
    if not users:
        return type(error).__name__
    frame, line = users[-1]
    file = frame.f_code.co_filename
    return f"{Path(file).name}:{line} in {frame.f_code.co_name}: {linecache.getline(file, line).strip()}"
