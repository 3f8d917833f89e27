"""What the losses share: reductions, checks of shapes and dtypes, and how a loss of single elements is declared."""
from __future__ import annotations

import math
import warnings
from typing import Any, Callable

import numpy as np

from ...autograd.op import op
from ...backend.kernels import kernels
from ...dtypes import FLOATS
from ...errors import DTypeError, GraphError, ShapeError
from ...tensor import Tensor
from ..activation.common import is_differentiated
from ..shape import broadcast_tensors


def reduced(loss: Any, reduction: str) -> Any:
    """The mean or the sum of a loss, or the loss itself."""
    return loss.mean() if reduction == "mean" else loss.sum() if reduction == "sum" else loss


def check_reduction(reduction: str) -> None:
    """Refuse reductions that are none.

    Raises:
        ValueError: not "mean", "sum" or "none".
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'reduction is "mean", "sum" or "none", got {reduction!r}')


def check_float(name: str, **inputs: Any) -> None:
    """Refuse inputs that are no floating point tensors.

    Raises:
        DTypeError: another dtype.
    """
    for argument, x in inputs.items():
        if x.dtype.kind not in FLOATS:
            raise DTypeError(f"{name} takes floating point tensors, its {argument} is {x.dtype}; write {argument}.float()")


def check_same_shape(name: str, input: Tensor, target: Tensor) -> None:
    """Refuse a target of another shape than the input's.

    Raises:
        ShapeError: another shape.
    """
    if input.shape != target.shape:
        hint = "; write target.reshape(input.shape)" if input.numel() == target.numel() else ""
        raise ShapeError(f"{name}: input has shape {input.shape} and target {target.shape}; they must be equal{hint}")


def check_weight(name: str, weight: Tensor | None, input: Tensor, classes: int | None) -> None:
    """Refuse weights that do not fit: of the shape (classes), the input's dtype, and not to be differentiated.

    Raises:
        ShapeError, DTypeError, GraphError: they do not.
    """
    if weight is None:
        return
    if classes is not None and weight.shape != (classes,):
        raise ShapeError(f"{name}: the input has {classes} classes, so weight has shape ({classes},), got {weight.shape}")
    if weight.dtype != input.dtype:
        raise DTypeError(f"{name}: input is {input.dtype} and weight {weight.dtype}; write weight.to(input.dtype)")
    if weight.requires_grad:
        raise GraphError(f"{name} has no derivative with respect to its weight, which requires grad; write weight.detach()")


def equal_shapes(name: str, input: Tensor, target: Tensor, stacklevel: int = 4) -> tuple[Tensor, Tensor]:
    """Both tensors in one shape; a warning with both shapes and the fix where they were broadcast.

    Raises:
        ShapeError: shapes that do not broadcast.
    """
    if input.shape == target.shape:
        return input, target
    try:
        shape = np.broadcast_shapes(input.shape, target.shape)
    except ValueError:
        raise ShapeError(f"{name}: input of shape {input.shape} and target of shape {target.shape} do not fit together") from None
    warnings.warn(f"{name}: input has shape {input.shape} and target {target.shape}; they broadcast to {shape}, which compares every "
                  f"element with several others. Write target.reshape(input.shape), or expand it on purpose", UserWarning,
                  stacklevel=stacklevel)
    return broadcast_tensors(input, target)


def elementwise(name: str, kernel: str, twin: Callable, target: Callable | None = None) -> Callable:
    """Declare a loss of single elements.

    Args:
        name: the loss.
        kernel: the kernel that computes it, and its derivative by x along with it.
        twin: (x, t, *at) -> the losses, in plain operations.
        target: the derivative by the target, a formula of g, x, t, slope, scale and at; None if such targets do not come here.

    Returns:
        A primitive (x, t, scale, reduce, derive, at): scale times the losses, or if reduce their sum. `at` are further numbers.
    """
    def composed(x: Any, t: Any, *, scale: float, reduce: bool, derive: bool, at: tuple) -> Any:
        loss = twin(x, t, *at)
        return (loss.sum() if reduce else loss) * scale

    def forward(x: Any, t: Any, *, scale: float, reduce: bool, derive: bool, at: tuple) -> Any:
        return getattr(kernels(x), kernel)(x, t, scale, reduce, derive, *at)
    formulas: dict[str, Any] = {"x": lambda g, slope: (g * slope).astype(g.dtype, copy=False)}
    if target is not None:
        formulas["t"] = target
    return op(name, forward, aux=("slope",), promote=("x", "t"), composed=composed, **formulas)


def mirrored(g: Any, slope: Any) -> Any:
    """The derivative by the target of a loss of x - t."""
    return (-g * slope).astype(g.dtype, copy=False)


def apply(primitive: Callable, input: Tensor, target: Tensor, reduction: str, factor: float = 1.0, at: tuple = ()) -> Tensor:
    """factor times an elementwise loss of two tensors of one shape, reduced."""
    n = input.numel()
    scale = factor if reduction != "mean" else factor / n if n else math.nan
    return primitive(input, target, scale=scale, reduce=reduction != "none", derive=is_differentiated(input, target), at=at)
