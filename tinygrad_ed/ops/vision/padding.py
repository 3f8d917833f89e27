"""Padding: elements put around a tensor, or taken away."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index
from typing import Any, Iterator

from ...autograd.op import op
from ...errors import ShapeError
from ...tensor import Tensor

__all__ = ["pad"]

Widths = tuple[tuple[int, int], ...]     # how many elements in front and behind, for each of the last dimensions
MODES = ("constant", "reflect", "replicate", "circular")

_pad: Callable = op("pad", lambda xp, x, *, widths, mode, value: _surround(xp, x, widths, mode, value),
                    x=lambda g, widths, mode: _gather_back(g, widths=widths, mode=mode))
_gather_back: Callable = op("pad_adjoint", lambda x, *, widths, mode: _unsurround(x, widths, mode),
                            x=lambda g, widths, mode: _pad(g, widths=widths, mode=mode, value=0),
                            doc="What padding has put around is added to the elements that it was copied from, and cut off.")


# -- on arrays ---------------------------------------------------------------------------------------------------------

def _surround(xp: Any, x: Any, widths: Widths, mode: str, value: float) -> Any:
    lead = x.ndim - len(widths)
    shape = (*x.shape[:lead], *[n + before + after for n, (before, after) in zip(x.shape[lead:], widths)])
    y = xp.empty(shape, x.dtype) if mode != "constant" else xp.zeros(shape, x.dtype) if value == 0 else xp.full(shape, value, x.dtype)
    y[_middle(shape, widths)] = x
    if mode != "constant":
        for _, border, source in _borders(shape, widths, mode):
            y[border] = y[source]
    return y


def _unsurround(x: Any, widths: Widths, mode: str) -> Any:
    if mode != "constant":
        x = x.copy()
        for dim, border, source in reversed([*_borders(x.shape, widths, mode)]):
            x[source] += x[border].sum(axis=dim, keepdims=True) if mode == "replicate" else x[border]
    return x[_middle(x.shape, widths)]


def _middle(shape: tuple, widths: Widths) -> tuple[slice, ...]:
    """Where in the padded tensor the elements are that were there before."""
    lead = len(shape) - len(widths)
    return (*[slice(None)] * lead, *[slice(before, n - after) for n, (before, after) in zip(shape[lead:], widths)])


def _borders(shape: tuple, widths: Widths, mode: str) -> Iterator[tuple[int, tuple, tuple]]:
    """One dimension after the other: the dimension, what is to be filled in the padded tensor, and what is copied there.

    Borders reach over the whole of the dimensions before, which are padded by then, and the middle of those behind.
    """
    whole, middle = (slice(None),) * len(shape), _middle(shape, widths)
    for dim, (before, after) in enumerate(widths, len(shape) - len(widths)):
        first, end = before, shape[dim] - after                       # the middle lies in [first, end)
        front, back = {
            "reflect": (slice(2 * first, first, -1), slice(end - 2, end - 2 - after if end - 2 >= after else None, -1)),
            "replicate": (slice(first, first + 1), slice(end - 1, end)),
            "circular": (slice(end - before, end), slice(first, first + after)),
        }[mode]
        for border, source, width in [(slice(0, first), front, before), (slice(end, None), back, after)]:
            if width:
                yield dim, (*whole[:dim], border, *middle[dim + 1:]), (*whole[:dim], source, *middle[dim + 1:])


# -- the public function -----------------------------------------------------------------------------------------------

def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Elements put around a tensor: a constant, or copies of the tensor's own.

    Around [1, 2, 3], with two elements on each side: "constant" 0 0 [1 2 3] 0 0; "reflect" 3 2 [1 2 3] 2 1;
    "replicate" 1 1 [1 2 3] 3 3; "circular" 2 3 [1 2 3] 1 2.

    Args:
        input: a tensor of any shape and dtype; with a mode other than "constant", of 2 to 5 dimensions (N, C, *) or (C, *).
        pad: how many elements in front of and behind the last dimension, then in front of and behind the one before it, and
            so on; with a mode other than "constant", for every dimension of *. Negative numbers take elements away first.
        mode: "constant", "reflect", "replicate" or "circular".
        value: the constant; 0 by default.

    Returns:
        A new tensor.

    Raises:
        ShapeError: not a pair of numbers for each padded dimension; more elements taken away than there are; or more copied
            than there are (all but one to reflect, all for circular, one of any number to replicate).
        ValueError: an unknown mode, or a value with a mode other than "constant".

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.pad(tg.tensor([[1.0, 2.0, 3.0]]), (2, 1), mode="reflect")
        tensor([[3., 2., 1., 2., 3., 2.]])
        >>> tg.nn.functional.pad(tg.tensor([1.0, 2.0, 3.0]), (-1, 1), value=9.0)
        tensor([2., 3., 9.])
    """
    if mode not in MODES:
        raise ValueError(f'pad has the modes {", ".join(MODES)}, got "{mode}"')
    if mode != "constant" and value is not None:
        raise ValueError(f'pad in mode "{mode}" copies elements and takes no value, got {value}')
    numbers = _numbers(pad, input.ndim, mode)
    widths: Widths = tuple(zip(numbers[-2::-2], numbers[::-2]))       # the list begins with the last dimension
    outward = tuple([(max(before, 0), max(after, 0)) for before, after in widths])
    inward = tuple([(max(-before, 0), max(-after, 0)) for before, after in widths])
    if mode in ("constant", "circular"):
        x = _cut(input, inward)
        _check_sources(x.shape, outward, mode)
        return _pad(x, widths=outward, mode=mode, value=value or 0)
    _check_sources(input.shape, outward, mode)                        # these two copy also from what is then taken away
    return _cut(_pad(input, widths=outward, mode=mode, value=0), inward)


def _numbers(pad: Sequence[int], ndim: int, mode: str) -> tuple[int, ...]:
    """The argument `pad`, checked."""
    try:
        numbers = tuple(map(index, pad))
    except TypeError:
        raise TypeError(f"pad takes a sequence of integers, got {pad!r}; write (1, 1) for one element on each side") from None
    if len(numbers) % 2 or len(numbers) > 2 * ndim:
        raise ShapeError(f"pad takes a pair of numbers for each of up to {ndim} dimensions, got {len(numbers)} numbers: {numbers}")
    if mode != "constant" and (len(numbers) not in (2, 4, 6) or ndim - len(numbers) // 2 not in (1, 2)):
        raise ShapeError(f'pad in mode "{mode}" takes 2 numbers for a (N, C, L) or (C, L) input, 4 for (N, C, H, W) or (C, H, W), and 6 '
                         f"for (N, C, D, H, W) or (C, D, H, W), got {len(numbers)} numbers for {ndim} dimensions")
    return numbers


def _check_sources(shape: tuple, widths: Widths, mode: str) -> None:
    """Refuse to copy more elements than there are."""
    for n, width in zip(shape[len(shape) - len(widths):], map(max, widths)):
        most = {"constant": width, "reflect": max(n - 1, 0), "replicate": width if n else 0, "circular": n}[mode]
        if width > most:
            raise ShapeError(f'pad in mode "{mode}" copies at most {most} of {n} elements to each side, got shape {shape} and pad {width}')


def _cut(x: Tensor, widths: Widths) -> Tensor:
    """The tensor without so many elements in front and behind."""
    if not any(map(any, widths)):
        return x
    shape = x.shape[x.ndim - len(widths):]
    if any(before + after > n for n, (before, after) in zip(shape, widths)):
        raise ShapeError(f"pad cannot take {widths} elements away, in front and behind, from lengths {shape}")
    return x[_middle(x.shape, widths)]
