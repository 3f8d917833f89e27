"""What the compiled code of an operation calls where it leaves the straight line: conversions, errors, the rarer ways back."""
from __future__ import annotations

import os
import traceback
from typing import Any, Callable, Sequence

import numpy as np

from .. import dtypes
from ..backend import Device, device_of, is_array, namespace
from ..errors import DeviceError, DTypeError, LinAlgError, ShapeError
from ..tensor import Tensor, wrap
from .node import Extras, Node, output_node

__all__ = ["WEAK", "agree", "as_array", "constant", "constants", "explain", "floated", "matched", "promoted", "revive_outputs", "through_composed",
           "trace", "unbroadcast", "whole"]

# the kinds of array that a Python number of a type joins without changing the dtype
WEAK = {("f", float), ("f", int), ("f", bool), ("i", int), ("i", bool), ("u", int), ("u", bool), ("b", bool)}
constants: dict = {}                # (number, dtype.num) -> the number as a 0-d array


def constant(value: Any, dtype: np.dtype) -> np.ndarray:
    """A Python number as a read-only 0-d array, kept for the next time."""
    array = np.array(value, dtype)
    array.flags.writeable = False
    if value == value and value != 0:    # NaN is never found again, and 0.0 is found for -0.0
        if len(constants) >= 4096:
            constants.clear()
        constants[value, dtype.num] = array
    return array


def as_array(y: Any) -> Any:
    """A result as an array: NumPy gives scalars where it means 0-d arrays."""
    return np.asarray(y) if isinstance(y, (np.generic, int, float)) else y


def agree(*operands: Any) -> bool:
    """Whether operands combine as they are: arrays of one dtype, and Python numbers that do not change it."""
    dtype = None
    for x in operands:
        if is_array(x):
            if dtype is None:
                dtype = x.dtype
            elif x.dtype is not dtype:
                return False
    return dtype is not None and all(x is None or is_array(x) or (dtype.kind, type(x)) in WEAK for x in operands)


def promoted(args: Sequence, names: Sequence[str] | None, order: Sequence[str] | None, to_float: bool) -> list:
    """The arguments with those named converted to their common dtype; NumPy's numbers become Python's."""
    chosen = range(len(args)) if names is None else [order.index(n) for n in names]     # type: ignore[union-attr]
    args = [a.item() if isinstance(a, np.generic) else a for a in args]
    common = dtypes.result_type(*[args[i] for i in chosen if args[i] is not None])
    if to_float and common.kind not in dtypes.FLOATS:
        common = dtypes.get_default_dtype()
    xp = namespace(*[a._data if isinstance(a, Tensor) else a for a in args])
    every_number = not any(isinstance(args[i], Tensor) or is_array(args[i]) for i in chosen)
    for i in chosen:
        x = args[i]
        if is_array(x):
            args[i] = wrap(x if x.dtype is common else x.astype(common))
        elif isinstance(x, Tensor):
            args[i] = _cast(x, common)
        elif isinstance(x, (list, tuple)) or (every_number and x is not None) or (x is not None and (common.kind, type(x)) not in WEAK):
            args[i] = wrap(xp.asarray(x, common))
    return args


def floated(args: Sequence, positions: Sequence[int]) -> list:
    """The arguments with those at the positions converted to the default floating point dtype."""
    args = list(args)
    for i in positions:
        if isinstance(args[i], Tensor):
            args[i] = _cast(args[i], dtypes.get_default_dtype())
    return args


def matched(name: str, args: Sequence) -> list:
    """The arguments as tensors of one dtype.

    Raises:
        DTypeError: they are not.
    """
    args = [wrap(a) if is_array(a) else a for a in args]
    found = [a for a in args if isinstance(a, Tensor)]
    if len({a.dtype for a in found}) > 1 or len(found) < len(args):
        kinds = ", ".join(_describe(a) for a in args)
        fix = "tensor(x)" if len(found) < len(args) else "x.to(other.dtype)"
        raise DTypeError(f"{name} takes tensors of one dtype, got {kinds}; write {fix}")
    return [_cast(a, dtypes.canonical(a.dtype)) for a in args]


def _cast(x: Tensor, dtype: np.dtype) -> Tensor:
    if x._data.dtype is dtype:
        return x
    from ..ops.convert import convert
    return convert(x, dtype=dtype, device=x.device)


def trace(node: Node) -> None:
    """Remember, with detect_anomaly, the user's line that made a node."""
    package = os.path.dirname(os.path.dirname(__file__))
    frames = [f for f in traceback.extract_stack() if not f.filename.startswith((package, "<"))]
    node.extras = Extras()
    if frames:
        node.extras.site = f'{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}'


def _describe(x: Any) -> str:
    if isinstance(x, Tensor):
        return f"{x.dtype}{list(x.shape)}" + ("" if x.device.type == "cpu" else f" on {x.device}")
    return f"{x.dtype} array {list(x.shape)}" if is_array(x) else repr(x) if isinstance(x, (int, float, bool)) else type(x).__name__


def explain(error: Exception, name: str, args: Sequence) -> Exception:
    """The error to raise where an operation's forward failed: what was computed, on which shapes, dtypes and devices."""
    if isinstance(error, (ShapeError, DTypeError, DeviceError, LinAlgError)):
        return error
    given = ", ".join(_describe(a) for a in args)
    devices = {str(device_of(a._data)) for a in args if isinstance(a, Tensor)} | {"cpu" for a in args if isinstance(a, np.ndarray)}
    if len(devices) > 1:
        return DeviceError(f"{name}({given}): the tensors are on {' and '.join(sorted(devices))}; move one: x.to(other.device)")
    if devices and devices != {"cpu"} and devices != {str(Device("cuda"))}:
        (there,) = devices
        return DeviceError(f"{name}({given}): the current device is {Device('cuda')}; write with tinygrad_ed.cuda.device({there[5:]}): ({error})")
    if isinstance(error, TypeError):
        return DTypeError(f"{name}({given}): {error}")
    if isinstance(error, IndexError):                 # NumPy's AxisError among them
        return IndexError(f"{name}({given}): {error}")
    if isinstance(error, ValueError):
        return ShapeError(f"{name}({given}): {_misfit(args) if 'broadcast together' in str(error) else error}")
    return error


def _misfit(args: Sequence) -> str:
    """Why shapes do not broadcast, and what to write where one of two only lacks dimensions at its end."""
    shapes = [tuple(getattr(x, "shape", ())) for x in args]
    reason = f"shapes {' and '.join(map(str, shapes))} do not broadcast: counted from the last dimension, sizes are equal or 1"
    short, long = sorted(shapes, key=len)[:1] + sorted(shapes, key=len)[-1:]
    if len(shapes) == 2 and 0 < len(short) < len(long) and long[:len(short)] == short:
        reason += f"; write x.reshape{(*short, *[1] * (len(long) - len(short)))} for the tensor of shape {short}"
    return reason


def unbroadcast(g: Any, shape: tuple) -> Any:
    """Sum g over the axes that broadcasting added or stretched, back to `shape`."""
    from ..ops.broadcast import sum_to
    return sum_to(g, shape=shape)


def whole(parts: dict, likes: Sequence[tuple]) -> list:
    """The gradients of all outputs, with zeros for those that nothing was computed from."""
    some = next(iter(parts.values()))
    as_tensor = isinstance(some, Tensor)
    xp = namespace(some._data if as_tensor else some)
    zeros = lambda shape, dtype: wrap(xp.zeros(shape, dtype)) if as_tensor else xp.zeros(shape, dtype)
    return [parts[k] if k in parts else zeros(*like) for k, like in enumerate(likes)]


def revive_outputs(ys: Sequence, node: Node, revive: Callable) -> list:
    """The saved outputs of an operation with several, as the Tensors they were."""
    return [revive(y, output_node(node, k) if y.dtype.kind in dtypes.FLOATS else None) for k, y in enumerate(ys)]


def through_composed(composed: Callable, arrays: Sequence, edges: Sequence, options: dict, g: Any, add: Callable, revive: Callable) -> None:
    """The gradients of a fused op as a recorded computation: those of its composed twin.

    Each input is an alias of what it was, so that the walk stops there even where one input was computed from another.
    """
    from ..ops.convert import alias
    from .engine import grad
    inputs = [alias(t) if isinstance(t := revive(x, e), Tensor) else t for x, e in zip(arrays, edges)]
    y = composed(*inputs, **options)
    wanted = [(x, e) for x, e in zip(inputs, edges) if e is not None]
    outputs = [(v, d) for v, d in zip(y, g) if v.requires_grad] if isinstance(y, (tuple, list)) else [(y, g)]
    found = grad([v for v, _ in outputs], [x for x, _ in wanted], [d for _, d in outputs], create_graph=True, allow_unused=True)
    for (_, e), d in zip(wanted, found):
        if d is not None:
            add(e, d)
