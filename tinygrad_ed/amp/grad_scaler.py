"""GradScaler: a loss scaled so that small gradients do not vanish in half precision."""
from __future__ import annotations

import functools
from typing import Any, Callable

import numpy as np

from ..autograd.inplace import stamp
from ..backend import capture, device_of, namespace, to_device, to_numpy
from ..backend.kernels import kernels
from ..dtypes import float32
from ..errors import GraphError
from ..optim.accumulation import unscaled
from ..optim.optimizer import Optimizer
from ..tensor import Tensor, wrap

__all__ = ["GradScaler"]


class _Unscaled:
    """An optimizer's gradients of this iteration: whether one of them is not finite, and whether the optimizer has stepped."""

    found: Any = None
    stepped = False


class GradScaler:
    """Scales losses, unscales gradients, leaves out steps whose gradients are not finite, and adapts the scale (Micikevicius et al., 2018).

    After a step that was left out the scale is multiplied by backoff_factor, after growth_interval good ones by growth_factor. On a device nobody
    waits for the gradients: the scale lies there, and SGD (without dampening), Adam and AdamW find out there whether they step, also in a captured
    step (`cuda.graph`); their hooks run in any case. Before a step of another optimizer the host waits, which a capture cannot.

    Args:
        device: accepted as in PyTorch; the scale works for any device.
        init_scale: the first scale.
        growth_factor: above 1.
        backoff_factor: between 0 and 1.
        growth_interval: good steps in a row after which the scale grows.
        enabled: False to make every method do nothing but the step itself.

    Raises:
        ValueError: a factor or an interval outside its range.

    Example:
        >>> import tinygrad_ed as tg
        >>> model = tg.nn.Linear(2, 1)
        >>> optimizer, scaler = tg.optim.SGD(model.parameters(), lr=0.1), tg.amp.GradScaler()
        >>> with tg.amp.autocast("cpu"):
        ...     loss = model(tg.ones(4, 2)).square().mean()
        >>> scaler.scale(loss).backward()
        >>> result = scaler.step(optimizer)
        >>> scaler.update()
        >>> scaler.get_scale()
        65536.0
    """

    def __init__(self, device: str = "cuda", init_scale: float = 2.0 ** 16, growth_factor: float = 2.0, backoff_factor: float = 0.5,
                 growth_interval: int = 2000, enabled: bool = True):
        if not init_scale > 0:
            raise ValueError(f"init_scale is above 0, got {init_scale}")
        if not growth_factor > 1:
            raise ValueError(f"growth_factor is above 1, got {growth_factor}")
        if not 0 < backoff_factor < 1:
            raise ValueError(f"backoff_factor lies between 0 and 1, got {backoff_factor}")
        if growth_interval < 1:
            raise ValueError(f"growth_interval is at least 1, got {growth_interval}")
        self._enabled, self._state = bool(enabled), np.array([init_scale, 0], np.float32)      # the scale, and the good steps since it changed
        self._growth_factor, self._backoff_factor, self._growth_interval = growth_factor, backoff_factor, growth_interval
        self._iteration: dict[Optimizer, _Unscaled] = {}                                        # since the last update

    def _near(self, array: Any) -> Any:
        """The scale where an array lies, a 0-d array; the state moves to the first device that asks, and stays there."""
        if isinstance(self._state, np.ndarray) and not isinstance(array, np.ndarray):
            capture.forbid("the first use of a GradScaler", "make a step with it before the capture")
            self._state = to_device(self._state, device_of(array))
        return to_device(self._state, device_of(array))[0, ...]

    def _happens(self, change: Callable[[dict[Optimizer, _Unscaled]], None]) -> None:
        """Let something change what is known of this iteration; a captured step has an iteration of its own, and then that of each replay."""
        recording = capture.active()
        change(self._now())
        if recording is not None:
            recording.before_replays(lambda: change(self._iteration))

    def _now(self) -> dict[Optimizer, _Unscaled]:
        recording = capture.active()
        return self._iteration if recording is None else recording.memo.setdefault(self, {})

    def scale(self, outputs: Any) -> Any:
        """A loss, or losses in a list or tuple, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            scale = wrap(self._near(outputs._data))
            return outputs * scale if outputs.dtype.itemsize > 2 else (outputs.to(float32) * scale).to(outputs.dtype)
        return type(outputs)(self.scale(loss) for loss in outputs) if isinstance(outputs, (list, tuple)) else map(self.scale, outputs)

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide an optimizer's gradients by the scale, in place: before they are clipped, say. `step` does it otherwise.

        Raises:
            GraphError: called twice, or after `step`, since the last `update`.
        """
        if not self._enabled:
            return
        gradients = _Unscaled()

        def begins(iteration: dict[Optimizer, _Unscaled]) -> None:
            if optimizer in iteration:
                raise GraphError("the gradients of this optimizer have been unscaled since the last update(); write scaler.update() once, after "
                                 "scaler.step(optimizer), at the end of each iteration")
            iteration[optimizer], gradients.stepped = gradients, False
        self._happens(begins)
        first = next((p._grad._data for group in optimizer.param_groups for p in group["params"] if p._grad is not None), self._state)
        gradients.found = unscaled(optimizer, self._near(first))._data

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """optimizer.step(), unless a gradient is not finite.

        Returns:
            What the step returned; None if it was left out.

        Raises:
            ValueError: a closure, which would have to be scaled itself.
            GraphError: called twice since the last `update`.
            CaptureError: in a captured step, an optimizer whose step cannot be left out on the device.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if args or "closure" in kwargs:
            raise ValueError("GradScaler does not take a closure; call backward before, and write scaler.step(optimizer)")
        if optimizer not in self._now():
            self.unscale_(optimizer)

        def steps(iteration: dict[Optimizer, _Unscaled]) -> None:
            if iteration[optimizer].stepped:
                raise GraphError("step() has been called for this optimizer since the last update(); write scaler.update() after it")
            iteration[optimizer].stepped = True
        self._happens(steps)
        found = self._now()[optimizer].found
        if optimizer._can_skip(found):
            return optimizer._step_unless(found, **kwargs)
        capture.forbid(f"GradScaler.step() with {type(optimizer).__name__}, for which the host waits to see whether the gradients are finite,",
                       "write scaler.step(optimizer) and scaler.update() after it, or take SGD without dampening, Adam or AdamW")
        return None if found else optimizer.step(**kwargs)

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapt the scale; to be called once at the end of each iteration.

        Args:
            new_scale: take this scale instead.

        Raises:
            GraphError: no `step` or `unscale_` before.
        """
        if not self._enabled:
            return
        iteration, device = list(self._now().values()), device_of(self._state)

        def ends(iteration: dict[Optimizer, _Unscaled]) -> None:
            if new_scale is None and not iteration:
                raise GraphError("update() adapts the scale to what step() found, and there was no step(); write scaler.step(optimizer) before")
            iteration.clear()
        self._happens(ends)
        if new_scale is not None:
            new = new_scale._data if isinstance(new_scale, Tensor) else new_scale
            self._state[0] = new.reshape(()) if type(new) is type(self._state) else float(new)
        else:
            found = functools.reduce(namespace(self._state).logical_or, [to_device(gradients.found, device) for gradients in iteration])
            kernels(self._state).update_scale(self._state, found, self._growth_factor, self._backoff_factor, self._growth_interval)
        stamp(self._state)
        settings, recording = self._settings(), capture.active()
        if recording is not None:
            recording.replay_only_if("a setting of the GradScaler", lambda: self._settings() == settings)

    # -- the settings ------------------------------------------------------------------------------------------------

    def get_scale(self) -> float:
        """The scale, for which the host waits where it lies on a device; 1 if not enabled."""
        return float(to_numpy(self._state)[0]) if self._enabled else 1.0

    def _settings(self) -> tuple[float, float, int]:
        return self._growth_factor, self._backoff_factor, self._growth_interval

    def is_enabled(self) -> bool:
        """Whether the scaler does anything."""
        return self._enabled

    def get_growth_factor(self) -> float:
        """By what the scale grows."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set by what the scale grows."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """By what the scale shrinks."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set by what the scale shrinks."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many good steps the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set after how many good steps the scale grows."""
        self._growth_interval = new_interval

    def state_dict(self) -> dict[str, Any]:
        """The state, in PyTorch's format; empty if not enabled."""
        if not self._enabled:
            return {}
        scale, good_steps = to_numpy(self._state).tolist()
        return {"scale": scale, "growth_factor": self._growth_factor, "backoff_factor": self._backoff_factor,
                "growth_interval": self._growth_interval, "_growth_tracker": int(good_steps)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a `state_dict`.

        Raises:
            ValueError: an empty one, of a scaler that was not enabled.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise ValueError("the state_dict is empty: it comes from a GradScaler with enabled=False")
        self._growth_factor, self._backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._state[...] = to_device(np.array([state_dict["scale"], state_dict["_growth_tracker"]], np.float32), device_of(self._state))
        stamp(self._state)
