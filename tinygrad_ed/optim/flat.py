"""Flat memory: the parameters of a group lie one after another, so that a step is one pass over one array instead of many small ones.

Gradients arrive there by themselves (a parameter knows the place of its gradient), and so do the entries of the state.
What somebody else refers to, such as an array that a view shares, stays where it is, and its parameter is stepped alone.
"""
from __future__ import annotations

from sys import getrefcount
from typing import Any, Iterator, Mapping

import numpy as np

from ..backend import capture, device_of, namespace, to_device
from ..backend.memory import Memory, blocks, carved
from ..nn.parameter import Parameter
from ..tensor import wrap

__all__ = ["Flat", "Piece"]

EMPTY: Mapping[str, Any] = {}

# -- who refers to an array --------------------------------------------------------------------------------------------

def _references(holder: Any) -> int:
    return getrefcount(holder._data)


def _movable(p: Any) -> bool:
    """Whether nobody but the parameter refers to its array, so that it can get other memory."""
    owner = p._data.base is None or isinstance(p._data.base, Memory)
    return owner and _references(p) == _ALONE and p._data.flags.c_contiguous


def _free(places: list[Any], i: int) -> bool:
    """Whether nobody uses the place of a gradient: only its list, and the parameter, refer to it."""
    return getrefcount(places[i]) <= _ALONE + 1


class _Probe:
    def __init__(self) -> None:
        self._data = np.empty(0)


_ALONE = _references(_Probe())                        # what the interpreter counts for an array that only one object refers to


# -- flat parameters ---------------------------------------------------------------------------------------------------

class Piece:
    """Arrays that are stepped at once: one parameter's, or those of many in a row.

    Attributes:
        p, g: the parameters and their gradients.
        state: the entries of the state that have the parameters' shape.
        numbers: the entries that are one number for each parameter, here the same for all.
        first: whether this is the first step of these parameters.
        rows: where the numbers are kept.
        rates: what `Optimizer._rates` makes of the numbers.
        counts: the numbers of each parameter as arrays on the device, where they are kept there; `numbers` and `rows` are empty then.
        skip: a 0-d bool array on the device, or None: where it is true, the step must change nothing.
        origin: the flat memory that it is part of, with the first parameter and that after the last; None if there is none.
    """

    __slots__ = ("p", "g", "state", "numbers", "first", "rows", "rates", "counts", "skip", "origin")

    def __init__(self, p: Any, g: Any, state: dict[str, Any], numbers: dict[str, float], first: bool, rows: Mapping[str, Any] = EMPTY,
                 rates: Any = ()):
        self.p, self.g, self.state, self.numbers, self.first, self.rows, self.rates = p, g, state, numbers, first, rows, rates
        self.counts: Mapping[str, Any] = EMPTY
        self.skip: Any = None
        self.origin: tuple[Flat, int, int] | None = None

    def holds(self) -> bool:
        """Whether the parameters can still be stepped at once: their numbers are the same, and where they were."""
        if self.origin is None:
            return True
        flat, start, stop = self.origin
        if self.counts:
            return flat.cuts.isdisjoint(range(start + 1, stop))
        return not (self.rows and flat.counts) and all(_equal(row) == len(row) for row in self.rows.values())

    def blocks(self) -> Iterator["Piece"]:
        """The piece in blocks that stay in a processor's cache from one operation to the next."""
        for p, g, *state in blocks(self.p, self.g, *self.state.values()):
            yield Piece(p, g, dict(zip(self.state, state)), self.numbers, self.first, self.rows, self.rates)


class Flat:
    """Flat memory for parameters of one dtype on one device, for their gradients and their state.

    Args:
        params: the parameters. Each moves in at the first step at which nobody else refers to its array.
    """

    def __init__(self, params: list[Any]):
        xp, dtype = namespace(params[0]._data), params[0]._data.dtype
        self.params, self.shapes = params, [p._data.shape for p in params]
        self.ends = [0, *np.cumsum([p._data.size for p in params]).tolist()]
        self.data, self.places = carved(xp, dtype, self.shapes)
        self.grad, self.grad_places = carved(xp, dtype, self.shapes)
        self.state: dict[str, Any] = {}
        self.state_places: dict[str, list[Any]] = {}
        self.counts: dict[str, Any] = {}              # the numbers of the state on the device, once a step may have been left out there,
        self.cuts: set[int] = set()                   # and where two neighbours differ in them, or may: before parameter i
        for p, place in zip(params, self.grad_places):
            if isinstance(p, Parameter):              # the gradient of any other tensor is copied at each step
                p._grad_home = place

    def fits(self, params: list[Any]) -> bool:
        """Whether these are still the parameters, with their dtype, device and shapes."""
        kind, dtype = type(self.data), self.data.dtype
        return len(params) == len(self.params) and all(
            p is q and (p._data is place or (p._data.shape == place.shape and p._data.dtype == dtype and type(p._data) is kind))
            for p, q, place in zip(params, self.params, self.places))

    def pieces(self, states: Any, numbers: Mapping[str, float], entries: Mapping[str, float], each: bool = False,
               there: bool = False) -> Iterator[Piece]:
        """What is to be stepped, in as few pieces as possible; what a piece's numbers are afterwards is kept.

        Args:
            states: the state of every parameter, a dict. What is missing is added, what came from elsewhere is taken in.
            numbers: names of the entries that are one number, each with its first value.
            entries: names of the entries that have their parameter's shape, likewise.
            each: a piece for every parameter, in its shape.
            there: keep the numbers on the device from now on, since the host will not know how many steps are left out.
        """
        for name in numbers.keys() - self.state.keys():
            self.state[name], self.state_places[name] = carved(np, np.dtype(np.float32), [()] * len(self.params))
        for name in entries.keys() - self.state.keys():
            self.state[name], self.state_places[name] = carved(namespace(self.data), self.data.dtype, self.shapes)
        there = bool(numbers) and (there or bool(self.counts))
        kept = [(name, self.state_places[name], value) for name, value in (*(() if there else numbers.items()), *entries.items())]
        if there:
            self._count_there(states, numbers, [p._grad is not None for p in self.params])
        kinds = [None if p._grad is None else self._prepare(i, p, states, kept) for i, p in enumerate(self.params)]
        start = 0
        while start < len(kinds):
            kind, stop = kinds[start], start + 1
            if kind is not None:
                together, first = kind
                if together and not each:
                    while stop < len(kinds) and kinds[stop] == kind and stop not in self.cuts:
                        stop += 1
                    for name in () if there else numbers:
                        stop = start + _equal(self.state[name][start:stop])
                    whole = slice(self.ends[start], self.ends[stop])
                    p, g, *rest = (memory[whole] for memory in (self.data, self.grad, *(self.state[name] for name in entries)))
                else:
                    p, g = self.params[start]._data, self.params[start]._grad._data
                    rest = [self.state_places[name][start] for name in entries]
                rows = EMPTY if there else {name: self.state[name][start:stop] for name in numbers}
                piece = Piece(p, g, dict(zip(entries, rest)), {name: float(row[0]) for name, row in rows.items()}, first, rows)
                piece.origin = self, start, stop
                if there:
                    piece.counts = {name: memory[start:stop] for name, memory in self.counts.items()}
                yield piece
                for name, row in rows.items():
                    row[...] = piece.numbers[name]
            start = stop

    def _prepare(self, i: int, p: Any, states: Any, kept: list) -> tuple[bool, bool]:
        """Bring a parameter, its gradient and its state to their places; returns whether they are there, and whether the state is new."""
        first = False
        if kept:
            state = states[p]
            for name, places, value in kept:
                entry = state.get(name)
                if entry is None:
                    first = True
                    places[i][...] = value
                    state[name] = wrap(places[i])
                elif entry._data is not places[i]:
                    places[i][...] = entry._data if type(entry._data) is type(places[i]) else float(entry._data)       # a number that was there
                    entry._data = places[i]
        if p._data is not self.places[i]:
            if not _movable(p):
                return False, first
            self.places[i][...] = p._data
            p._data = self.places[i]
        if p._grad._data is not self.grad_places[i]:
            if not _free(self.grad_places, i):
                return False, first
            self.grad_places[i][...] = p._grad._data
        return True, first

    def _count_there(self, states: Any, numbers: Mapping[str, float], taking_part: list[bool]) -> None:
        """Bring the numbers to the device where they are not there, which makes the host wait if some are, and see where they differ."""
        for name, value in numbers.items():
            entries = [states[p].setdefault(name, wrap(np.array(value, np.float32))) if takes or name in states.get(p, ()) else None
                       for p, takes in zip(self.params, taking_part)]
            places = self.state_places[name]
            if name in self.counts and all([entry is None or entry._data is place for entry, place in zip(entries, places)]):
                continue
            capture.forbid("the first step that may be left out", "make one with the GradScaler before the capture")
            row = np.array([value if entry is None else float(entry._data) for entry in entries], np.float32)
            if name not in self.counts:
                self.counts[name], self.state_places[name] = carved(namespace(self.data), row.dtype, [()] * len(row))
            self.counts[name][...] = to_device(row, device_of(self.data))
            for entry, place in zip(entries, self.state_places[name]):
                if entry is not None:
                    entry._data = place
            self.cuts |= {i for i in range(1, len(row)) if row[i] != row[i - 1]}
        self.cuts |= {i for i in range(1, len(taking_part)) if taking_part[i] != taking_part[i - 1]}


def _equal(row: Any) -> int:
    """How many numbers at the beginning are the same."""
    other = row != row[0]
    return int(other.argmax()) if other.any() else len(row)
