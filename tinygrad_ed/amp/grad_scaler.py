"""GradScaler: a loss scaled so that small gradients do not vanish in half precision."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import capture
from ..errors import GraphError
from ..optim.accumulation import multiply_, unscale_
from ..optim.optimizer import Optimizer
from ..tensor import Tensor, wrap

__all__ = ["GradScaler"]


class GradScaler:
    """Scales losses, unscales gradients, leaves out steps whose gradients are not finite, and adapts the scale (Micikevicius et al., 2018).

    After a step that was left out the scale is multiplied by backoff_factor, after growth_interval good ones by growth_factor. A captured
    step (`cuda.graph`) takes in `scale`, backward, `unscale_` and clipping; `step` and `update`, which look at the gradients, come after it.

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
        self._enabled, self._scale, self._good_steps = bool(enabled), float(init_scale), 0
        self._growth_factor, self._backoff_factor, self._growth_interval = growth_factor, backoff_factor, growth_interval
        self._found: dict[Optimizer, Tensor] = {}     # since the last update: whether a gradient is not finite
        self._stepped: set[Optimizer] = set()

    def scale(self, outputs: Any) -> Any:
        """A loss, or losses in a list or tuple, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            recording = capture.active()
            return outputs * (self._scale if recording is None else wrap(recording.numbers(lambda: (self._scale,), 1, outputs.dtype)[0]))
        return type(outputs)(self.scale(loss) for loss in outputs) if isinstance(outputs, (list, tuple)) else map(self.scale, outputs)

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide an optimizer's gradients by the scale, in place: before they are clipped, say. `step` does it otherwise.

        Raises:
            GraphError: called twice, or after `step`, since the last `update`.
        """
        if not self._enabled:
            return
        recording = capture.active()
        if recording is None:
            self._check_first(optimizer)
            self._found[optimizer] = unscale_(optimizer, self._scale)
            return

        def factor() -> tuple[float]:
            self._check_first(optimizer)
            self._found[optimizer] = found            # which the replay that comes writes
            return 1 / self._scale,
        found = multiply_(optimizer, recording.numbers(factor, 1, np.float32)[0])

    def _check_first(self, optimizer: Optimizer) -> None:
        if optimizer in self._found:
            raise GraphError("the gradients of this optimizer have been unscaled since the last update(); write scaler.update() once, after "
                             "scaler.step(optimizer), at the end of each iteration")

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """optimizer.step(), unless a gradient is not finite.

        Returns:
            What the step returned; None if it was left out.

        Raises:
            ValueError: a closure, which would have to be scaled itself.
            GraphError: called twice since the last `update`.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if args or "closure" in kwargs:
            raise ValueError("GradScaler does not take a closure; call backward before, and write scaler.step(optimizer)")
        capture.forbid("GradScaler.step(), where the host waits to see whether the gradients are finite,",
                       "write scaler.step(optimizer) and scaler.update() after it")
        if optimizer not in self._found:
            self.unscale_(optimizer)
        if optimizer in self._stepped:
            raise GraphError("step() has been called for this optimizer since the last update(); write scaler.update() after it")
        self._stepped.add(optimizer)
        return None if self._found[optimizer] else optimizer.step(**kwargs)

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapt the scale; to be called once at the end of each iteration.

        Args:
            new_scale: take this scale instead.

        Raises:
            GraphError: no `step` or `unscale_` before.
        """
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._found:
            raise GraphError("update() adapts the scale to what step() found, and there was no step(); write scaler.step(optimizer) before")
        elif any(self._found.values()):
            self._scale, self._good_steps = self._scale * self._backoff_factor, 0
        else:
            self._good_steps += 1
            if self._good_steps == self._growth_interval:
                self._scale, self._good_steps = self._scale * self._growth_factor, 0
        self._found, self._stepped = {}, set()

    # -- the settings ------------------------------------------------------------------------------------------------

    def get_scale(self) -> float:
        """The scale; 1 if not enabled."""
        return self._scale if self._enabled else 1.0

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
        return {"scale": self._scale, "growth_factor": self._growth_factor, "backoff_factor": self._backoff_factor,
                "growth_interval": self._growth_interval, "_growth_tracker": self._good_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a `state_dict`.

        Raises:
            ValueError: an empty one, of a scaler that was not enabled.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise ValueError("the state_dict is empty: it comes from a GradScaler with enabled=False")
        self._scale, self._growth_factor = float(state_dict["scale"]), state_dict["growth_factor"]
        self._backoff_factor, self._growth_interval = state_dict["backoff_factor"], state_dict["growth_interval"]
        self._good_steps = state_dict["_growth_tracker"]
