"""Whether operations are recorded: `no_grad` and its relatives, per thread, as context managers and decorators."""
from __future__ import annotations

import functools
import inspect
import threading
from typing import Any, Callable

__all__ = ["enable_grad", "inference_mode", "is_grad_enabled", "is_inference_mode_enabled", "no_grad", "set_grad_enabled"]


class _State(threading.local):
    recording: Any = True     # whether operations on tensors that require grad make graph nodes; "trace" with anomaly
    inference = False         # inside inference_mode
    anomaly = False           # nodes remember the line that made them, and gradients are checked
    casting: Any = None       # inside amp.autocast: to which dtype operations convert
    check_nan = True          # with anomaly: a NaN or an infinity in a gradient is an error
    leaves: Any = None        # of a step that is to be captured: a dict of the leaves that backward has given gradients


state = _State()


def record(enabled: bool) -> None:
    """Turn recording on or off; with `detect_anomaly` a node also remembers the line that made it."""
    state.recording = ("trace" if state.anomaly else True) if enabled else False


def is_grad_enabled() -> bool:
    """Whether operations are being recorded in this thread.

    Example:
        >>> is_grad_enabled()
        True
    """
    return bool(state.recording)


def is_anomaly_enabled() -> bool:
    """Whether `detect_anomaly` is active in this thread.

    Example:
        >>> is_anomaly_enabled()
        False
    """
    return state.anomaly


class _Mode:
    """A block, or a function, that runs with some modes set and restores them also after an exception."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        mode = super().__new__(cls)
        if args and callable(args[0]):               # a decorator without parentheses: `@no_grad`
            mode.__init__()                          # type: ignore[misc]
            return mode(args[0])
        return mode

    def __init__(self, **modes: Any):
        self._modes = modes
        self._before: list[dict[str, Any]] = []     # a stack, since a mode may be entered again inside itself

    def _clone(self) -> "_Mode":
        clone = object.__new__(_Mode)
        clone._modes, clone._before = self._modes, []
        return clone

    def __enter__(self) -> "_Mode":
        self._before.append({name: getattr(state, name) for name in ("recording", *self._modes)})
        self._set()
        return self

    def _set(self) -> None:
        for name, value in self._modes.items():
            setattr(state, name, value)
        record(bool(state.recording))

    def __exit__(self, *exception: Any) -> None:
        for name, value in self._before.pop().items():
            setattr(state, name, value)

    def __call__(self, function: Callable) -> Callable:
        if inspect.isgeneratorfunction(function):
            return self._wrap_generator(function)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._clone():                      # one instance per call: a decorated function runs in many threads
                return function(*args, **kwargs)
        return wrapped

    def _wrap_generator(self, function: Callable) -> Callable:
        """Set the mode while the generator's body runs, not while its consumer does."""
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            resume, value = generator.send, None
            while True:
                try:
                    with self._clone():
                        item = resume(value)
                except StopIteration as stop:
                    return stop.value
                try:
                    resume, value = generator.send, (yield item)
                except GeneratorExit:
                    with self._clone():
                        generator.close()
                    raise
                except BaseException as error:
                    resume, value = generator.throw, error
        return wrapped


class no_grad(_Mode):
    """Do not record operations: in a `with` block, or in a function decorated by it.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.ones(2, requires_grad=True)
        >>> with tg.no_grad():
        ...     y = x * 2
        >>> y.requires_grad
        False
    """

    def __init__(self) -> None:
        super().__init__(recording=False)


class inference_mode(_Mode):
    """As `no_grad`, for code that will never be differentiated; `inference_mode(False)` is as `enable_grad`.

    PyTorch also marks the tensors made inside so that they cannot be recorded later; here they stay ordinary tensors.

    Args:
        mode: whether to enter the mode, or to leave it for the length of a block.

    Example:
        >>> import tinygrad_ed as tg
        >>> with tg.inference_mode():
        ...     tg.is_inference_mode_enabled()
        True
    """

    def __init__(self, mode: bool = True) -> None:
        super().__init__(recording=not mode, inference=bool(mode))


class enable_grad(_Mode):
    """Record operations also inside a `no_grad` block.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.ones(2, requires_grad=True)
        >>> with tg.no_grad(), tg.enable_grad():
        ...     y = x * 2
        >>> y.requires_grad
        True
    """

    def __init__(self) -> None:
        super().__init__(recording=True)


class _Switch(_Mode):
    """A mode that is also set by being constructed; a `with` block or a decorated function then bounds it."""

    def __init__(self, **modes: bool):
        super().__init__(**modes)
        super().__enter__()
        self._entered = False

    def __enter__(self) -> "_Switch":
        if self._entered:
            super().__enter__()
        else:
            self._entered = True                     # what was before the construction is what the block will restore
            self._set()
        return self

    def __call__(self, function: Callable) -> Callable:
        if not self._entered:                        # nothing is to change before the call
            self._entered = True
            self.__exit__()
        return super().__call__(function)


class set_grad_enabled(_Switch):
    """Turn recording on or off: at once when called, and until the end of the block when used in a `with`.

    Args:
        mode: whether to record.

    Example:
        >>> import tinygrad_ed as tg
        >>> with tg.set_grad_enabled(False):
        ...     tg.is_grad_enabled()
        False
        >>> tg.is_grad_enabled()
        True
    """

    def __init__(self, mode: bool) -> None:
        super().__init__(recording=bool(mode))


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside `inference_mode`.

    Example:
        >>> is_inference_mode_enabled()
        False
    """
    return state.inference


class detect_anomaly(_Mode):
    """Find where a NaN or an infinity enters the gradients: the error names the op and the line of its forward call.

    Args:
        check_nan: whether a non-finite gradient is an error; if False only errors inside a backward are explained.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor(0.0, requires_grad=True)
        >>> with tg.autograd.detect_anomaly():
        ...     tg.sqrt(x).backward()
        Traceback (most recent call last):
            ...
        tinygrad_ed.errors.GraphError: the gradient of 'sqrt' with respect to its argument 0 ...
    """

    def __init__(self, check_nan: bool = True) -> None:
        super().__init__(anomaly=True, check_nan=bool(check_nan))


class set_detect_anomaly(_Switch):
    """Turn `detect_anomaly` on or off: at once when called, and until the end of the block when used in a `with`.

    Args:
        mode: whether gradients are checked.
        check_nan: as for `detect_anomaly`.

    Example:
        >>> with set_detect_anomaly(True):
        ...     is_anomaly_enabled()
        True
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        super().__init__(anomaly=bool(mode), check_nan=bool(check_nan))
