"""How a tensor is printed: PyTorch's layout, rule by rule.

All numbers of a tensor get one format. Whole numbers are written `1.`; otherwise there are `precision` digits after the
point, and scientific notation where the largest number is over 1000 times the smallest or one of them is extreme. Columns
are as wide as the widest finite number that is not 0. Above `threshold` elements only the edges are shown.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .backend import to_numpy
from .dtypes import FLOATS, get_default_dtype

__all__ = ["get_printoptions", "set_printoptions"]


@dataclass(frozen=True)
class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {"default": _Options(), "short": _Options(precision=2, edgeitems=2), "full": _Options(threshold=math.inf)}
_options = _Options()


def set_printoptions(precision: int | None = None, threshold: float | None = None, edgeitems: int | None = None,
                     linewidth: int | None = None, profile: str | None = None, sci_mode: bool | None = None) -> None:
    """Set how tensors are printed. What is not given stays, except sci_mode.

    Args:
        precision: digits after the point, 4 at first.
        threshold: the number of elements above which only the edges are shown, 1000 at first.
        edgeitems: how many elements are shown at each edge, 3 at first.
        linewidth: characters per line, 80 at first.
        profile: "default", "short" or "full", values for all the above.
        sci_mode: True for scientific notation, False for none, None to decide by the numbers.

    Raises:
        ValueError: an unknown profile.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.set_printoptions(precision=2)
        >>> tg.tensor([1.2345])
        tensor([1.23])
        >>> tg.set_printoptions(profile="default")
    """
    global _options
    if profile is not None and profile not in _PROFILES:
        raise ValueError(f'profile is "default", "short" or "full", got {profile!r}')
    given: Any = dict(precision=precision, threshold=threshold, edgeitems=edgeitems, linewidth=linewidth)
    _options = replace(_options if profile is None else _PROFILES[profile], sci_mode=sci_mode,
                       **{name: value for name, value in given.items() if value is not None})


def get_printoptions() -> dict[str, Any]:
    """How tensors are printed, as arguments for `set_printoptions`.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.get_printoptions()["precision"]
        4
    """
    return asdict(_options)


def tensor_str(t: Any) -> str:
    """The text of a tensor: its elements, and what is not obvious of its shape, dtype, device and history."""
    array, default = t._data, get_default_dtype()
    facts = []
    if t.is_cuda:
        facts.append(f"device='{t.device}'")
    empty = array.size == 0
    if (empty and array.ndim != 1) or (not empty and _options.edgeitems == 0):
        facts.append(f"size={array.shape}")
    if array.dtype != default and (empty or array.dtype not in (np.dtype("int64"), np.dtype("bool"))):
        facts.append(f"dtype={array.dtype}")
    if t.grad_fn is not None:
        facts.append(f"grad_fn=<{t.grad_fn.name()}>")
    elif t.requires_grad:
        facts.append("requires_grad=True")
    text = "tensor(" + ("[]" if empty else _elements(array, len("tensor(")))
    column = len(text) - text.rfind("\n") + 1
    for fact in facts:
        if column + len(fact) + 2 > _options.linewidth:
            text, column = f"{text},\n{' ' * len('tensor(')}{fact}", len("tensor(") + len(fact)
        else:
            text, column = f"{text}, {fact}", column + len(fact) + 2
    return text + ")"


def _elements(array: Any, indent: int) -> str:
    """The nested brackets of an array with elements."""
    edges = _options.edgeitems if array.size > _options.threshold else None
    shown = to_numpy(array if edges is None else _corners(array, edges))
    shown = shown.astype(np.float32) if shown.dtype.char in "eE" else shown
    form, width = _format(shown)
    lengths = array.shape

    def block(part: np.ndarray, depth: int) -> str:
        if part.ndim == 0:
            return form(part.item())
        rows: list = list(part) if edges is None or lengths[depth] <= 2 * edges else [*part[:edges], ..., *part[part.shape[0] - edges:]]
        if part.ndim > 1:
            separator = "," + "\n" * (part.ndim - 1) + " " * (indent + depth + 1)
            return "[" + separator.join("..." if row is ... else block(row, depth + 1) for row in rows) + "]"
        words = [" ..." if row is ... else form(row.item()) for row in rows] if edges != 0 else ["..."]
        n = max(1, (_options.linewidth - indent - depth) // (width + 2))
        lines = [", ".join(words[i:i + n]) for i in range(0, len(words), n)]
        return "[" + (",\n" + " " * (indent + depth + 1)).join(lines) + "]"
    return block(shown, 0)


def _corners(array: Any, edges: int) -> Any:
    """The elements near the edges of every dimension."""
    for dim, n in enumerate(array.shape):
        if n > 2 * edges:
            keep = [*range(edges), *range(n - edges, n)]
            array = array[(slice(None),) * dim + (keep,)]
    return array


def _format(shown: np.ndarray) -> tuple[Callable[[Any], str], int]:
    """The format for all the elements, and its width."""
    if shown.dtype.kind not in FLOATS:
        width = max((len(str(value)) for value in shown.ravel().tolist()), default=1)
        return lambda value: str(value).rjust(width), width
    p = _options.precision
    finite = np.abs(shown[np.isfinite(shown) & (shown != 0)].astype(np.float64))
    whole = bool((finite == np.ceil(finite)).all())
    scientific = False
    if finite.size:
        low, high = finite.min(), finite.max()
        scientific = high / low > 1000 or high > 1e8 or (not whole and low < 1e-4)
        if _options.sci_mode is not None:
            scientific = _options.sci_mode
    code = f".{p}e" if scientific else ".0f" if whole else f".{p}f"
    point = "." if whole and not scientific else ""

    def write(value: float) -> str:
        return format(value, code) + (point if math.isfinite(value) else "")
    measured = shown[np.isfinite(shown) & (shown != 0)]
    width = max((len(write(value)) for value in measured.tolist()), default=1)
    return lambda value: write(value).rjust(width), width
