"""Einstein summation: `einsum` and `tensordot`. Every sum is a sequence of contractions of two tensors, each a matrix product.

A label is a letter, or a negative number for a dimension under an ellipsis, counted from the right.
"""
from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Union

from ...autograd.op import op
from ...errors import ShapeError
from ...tensor import Tensor, normalize_dim
from ..broadcast import permute_to, reshape_to, sum_over
from ..shape import diagonal
from .core import product

__all__ = ["einsum", "tensordot"]

Label = Union[str, int]
Labels = tuple[Label, ...]


# -- two tensors -------------------------------------------------------------------------------------------------------

def _contracted(xp: Any, a: Any, b: Any, la: Labels, lb: Labels, out: Labels) -> Any:
    """The product of two arrays, summed over the labels that both have and the output has not.

    Every label is in two of la, lb and out, or in all three.
    """
    batch = [n for n in out if n in la and n in lb]
    summed = [n for n in la if n in lb and n not in out]
    rows, columns = [n for n in out if n not in lb], [n for n in out if n not in la]
    if not summed:
        return _spread(a, la, out) * _spread(b, lb, out)
    if batch and not (rows or columns):
        number = {n: i for i, n in enumerate(la)}
        return xp.einsum(a, [number[n] for n in la], b, [number[n] for n in lb], [number[n] for n in out])
    if rows and columns and out.index(columns[0]) < out.index(rows[0]):      # so that the result needs no transposition
        a, la, rows, b, lb, columns = b, lb, columns, a, la, rows
    size = dict(zip(la + lb, a.shape + b.shape))
    sizes = lambda labels: tuple([size[n] for n in labels])
    left = a.transpose([la.index(n) for n in (*batch, *rows, *summed)])
    right = b.transpose([lb.index(n) for n in (*batch, *summed, *columns)])
    inner, ahead = math.prod(sizes(summed)), sizes(batch)
    y = product(left.reshape(ahead + (math.prod(sizes(rows)), inner)), right.reshape(ahead + (inner, math.prod(sizes(columns)))))
    order = [*batch, *rows, *columns]
    return y.reshape(sizes(order)).transpose([order.index(n) for n in out])


def _spread(x: Any, labels: Labels, out: Labels) -> Any:
    """x with its dimensions in the output's order, and length 1 where it has no such dimension."""
    kept = [n for n in out if n in labels]
    size = dict(zip(labels, x.shape))
    return x.transpose([labels.index(n) for n in kept]).reshape([size.get(n, 1) for n in out])


contract: Callable = op("einsum", lambda xp, a, b, *, la, lb, out: _contracted(xp, a, b, la, lb, out), match=("a", "b"),
              a=lambda g, b, la, lb, out: contract(g, b, la=out, lb=lb, out=la),
              b=lambda g, a, la, lb, out: contract(a, g, la=la, lb=out, out=lb))


# -- any number of tensors ---------------------------------------------------------------------------------------------

def _sum_of_products(operands: Sequence[Any], terms: Sequence[Labels], out: Labels) -> Any:
    """The sum over all labels that the output has not, of the operands' product."""
    alone, pairs, order = _plan(tuple(terms), out, tuple([tuple(x.shape) for x in operands]))
    left = [_alone(x, *steps) for x, steps in zip(operands, alone)]
    for i, j, la, lb, lo in pairs:
        b = left.pop(j)
        left[i] = contract(left[i], b, la=la, lb=lb, out=lo)
    return left[0] if order is None else permute_to(left[0], dims=order)


def _alone(x: Any, twice: Sequence[tuple], shape: tuple | None, dims: tuple) -> Any:
    """What concerns one operand only: diagonals of labels it has twice, lengths 1 that others stretch, sums."""
    for i, j in twice:
        x = _diagonal(x, i, j)
    if shape is not None:
        x = reshape_to(x, shape=shape)
    return sum_over(x, dims=dims, keepdim=False) if dims else x


def _diagonal(x: Any, i: int, j: int) -> Any:
    """x with its dimensions i < j, of one length, replaced by their diagonal, at the place of i."""
    y = diagonal(x, 0, i, j)
    last = y.ndim - 1
    return y if i == last else permute_to(y, dims=(*range(i), last, *range(i, last)))


@lru_cache(maxsize=512)
def _plan(terms: tuple[Labels, ...], out: Labels, shapes: tuple[tuple, ...]) -> tuple:
    """What to do to each operand alone, which pairs to contract, and the permutation that a single operand takes."""
    size = _sizes(terms, shapes)
    twice, single = [], []
    for labels, shape in zip(terms, shapes):
        steps, dims = [], list(zip(labels, shape))
        while repeated := [(i, j) for j, (n, _) in enumerate(dims) for i, (m, _) in enumerate(dims[:j]) if m == n]:
            steps.append(repeated[0])
            del dims[repeated[0][1]]
        twice.append(steps)
        single.append(dims)
    full: list[Labels] = [tuple(n for n, length in dims if length == size[n]) for dims in single]
    alone, left = [], []
    for k, labels in enumerate(full):
        elsewhere = set(out).union(*full[:k], *full[k + 1:])
        squeezed = tuple(size[n] for n in labels) if len(labels) < len(single[k]) else None
        alone.append((twice[k], squeezed, tuple(i for i, n in enumerate(labels) if n not in elsewhere)))
        left.append(tuple(n for n in labels if n in elsewhere))
    pairs = []
    while len(left) > 1:
        i, j = (0, 1) if len(left) == 2 else _cheapest(left, out, size)
        others = set(out).union(*(labels for k, labels in enumerate(left) if k not in (i, j)))
        la, lb = left[i], left.pop(j)
        left[i] = out if len(left) == 1 else tuple(n for n in dict.fromkeys(la + lb) if n in others)
        pairs.append((i, j, la, lb, left[i]))
    return alone, pairs, None if pairs else tuple(left[0].index(n) for n in out)


def _sizes(terms: Sequence[Labels], shapes: Sequence[tuple]) -> dict:
    """The length that each label stands for; a length of 1 is stretched to another."""
    size: dict = {}
    for k, (labels, shape) in enumerate(zip(terms, shapes)):
        own: dict = {}
        for n, length in zip(labels, shape):
            label = f"label {n!r}" if isinstance(n, str) else f"dimension {n} of the ellipsis"
            if own.setdefault(n, length) != length:
                raise ShapeError(f"einsum: {label} is twice in operand {k} of shape {shape}, with the lengths {own[n]} and {length}; "
                                 f"a diagonal needs equal ones")
            if size.get(n, 1) == 1:
                size[n] = length
            elif length not in (1, size[n]):
                raise ShapeError(f"einsum: {label} has length {length} in operand {k} of shape {shape} and {size[n]} before; "
                                 f"the shapes are {', '.join(map(str, shapes))}")
    return size


def _cheapest(left: Sequence[Labels], out: Labels, size: dict) -> tuple[int, int]:
    """The pair whose product adds least to what is kept in memory."""
    volume = lambda labels: math.prod([size[n] for n in labels])

    def growth(pair: tuple[int, int]) -> int:
        i, j = pair
        others = set(out).union(*(labels for k, labels in enumerate(left) if k not in pair))
        return volume([n for n in {*left[i], *left[j]} if n in others]) - volume(left[i]) - volume(left[j])
    return min(((i, j) for i in range(len(left)) for j in range(i + 1, len(left))), key=growth)


# -- the equation ------------------------------------------------------------------------------------------------------

_TERM = re.compile(r"([A-Za-z]*)(\.\.\.)?([A-Za-z]*)")


@lru_cache(maxsize=512)
def _read(equation: str, ndims: tuple[int, ...]) -> tuple[tuple[Labels, ...], Labels]:
    """The labels of every operand and of the output."""
    def fail(why: str) -> ShapeError:
        return ShapeError(f"einsum {equation!r}: {why}; write for example einsum('...ij,jk->...ik', a, b)")

    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(ndims):
        raise fail(f"{len(parts)} operands in the equation, {len(ndims)} given")
    matches = [_TERM.fullmatch(part) for part in (*parts, right)]
    for part, match in zip((*parts, right), matches):
        if match is None:
            raise fail(f"{part!r} is not letters with at most one ellipsis")
    terms = []
    for k, (part, ndim) in enumerate(zip(parts, ndims)):
        before, dots, after = matches[k].groups()                            # type: ignore[union-attr]
        hidden = ndim - len(before) - len(after)
        if hidden < 0 or (hidden and not dots):
            raise fail(f"{part!r} names {len(before) + len(after)} dimensions, operand {k} has {ndim}")
        terms.append((*before, *range(-hidden, 0), *after))
    hidden = max((-min([n for n in term if isinstance(n, int)], default=0) for term in terms), default=0)
    ellipsis = tuple(range(-hidden, 0))
    if not arrow:
        letters = re.sub("[^A-Za-z]", "", left)
        return tuple(terms), (*ellipsis, *sorted(n for n in set(letters) if letters.count(n) == 1))
    before, dots, after = matches[-1].groups()                               # type: ignore[union-attr]
    for n in before + after:
        if n not in left:
            raise fail(f"the output's label {n!r} is in no operand")
        if (before + after).count(n) > 1:
            raise fail(f"the output has the label {n!r} twice")
    return tuple(terms), (*before, *(ellipsis if dots else ()), *after)


def _from_lists(args: Sequence[Any]) -> tuple[str, list]:
    """The equation and the operands of einsum(a, [0, 1], b, [1, 2], [0, 2])."""
    def spell(labels: Sequence) -> str:
        for n in labels:
            if n is not Ellipsis and not 0 <= n < 52:
                raise ShapeError(f"einsum's labels in lists are numbers from 0 to 51 or an Ellipsis, got {n!r}")
        return "".join("..." if n is Ellipsis else chr(n + 65 if n < 26 else n + 71) for n in labels)
    count = len(args) // 2
    terms = ",".join(spell(labels) for labels in args[1:2 * count:2])
    return terms + ("->" + spell(args[-1]) if len(args) % 2 else ""), list(args[:2 * count:2])


def einsum(equation: Any, *operands: Any) -> Tensor:
    """Sums of products of tensors in Einstein's notation.

    A letter labels a dimension. The result is the product of all operands, summed over the labels that the output does
    not name; a letter twice in one operand takes its diagonal. `...` stands for further dimensions, which broadcast.
    Without `->` the output is the ellipsis and then, sorted, the letters that appear once.

    Args:
        equation: the labels, as `"ij,jk->ik"`; spaces are ignored. Or operands and lists of labels 0 to 51 in turn.
        operands: tensors of one dtype, or one list of them.

    Returns:
        A tensor with the output's labels as dimensions.

    Raises:
        ShapeError: an equation that cannot be read, or that does not fit the operands.
        DTypeError: different dtypes.

    The gradient of each operand is again such a sum, of the gradient and the other operand of each contraction.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> tg.einsum("ij,kj->ik", x, x)
        tensor([[ 5., 11.],
                [11., 25.]])
        >>> tg.einsum("ii", x)
        tensor(5.)
    """
    given: Sequence = operands
    if not isinstance(equation, str):
        equation, given = _from_lists((equation, *operands))
    elif len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        given = operands[0]
    if not given:
        raise ShapeError("einsum needs an operand: write einsum('ij,jk->ik', a, b)")
    terms, out = _read(equation, tuple([x.ndim for x in given]))
    return _sum_of_products(given, terms, out)


def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """The sum of products over some dimensions of both tensors.

    Args:
        a: a tensor.
        b: a tensor of the same dtype.
        dims: so many last dimensions of a with as many first ones of b, or two lists of dimensions that go together.

    Returns:
        A tensor with the other dimensions of a, then those of b.

    Raises:
        ShapeError: dimensions of different lengths (1 is stretched), or too many of them.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.tensordot(tg.ones(2, 3, 4), tg.ones(3, 4, 5)).shape
        (2, 5)
    """
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.ndim, b.ndim):
            raise ShapeError(f"tensordot over {dims} dimensions: the tensors have shapes {a.shape} and {b.shape}")
        dims = range(a.ndim - dims, a.ndim), range(dims)
    first, second = ([dims_of] if isinstance(dims_of, int) else list(dims_of) for dims_of in dims)
    first, second = [normalize_dim(d, a.ndim) for d in first], [normalize_dim(d, b.ndim) for d in second]
    if len(first) != len(second) or len({*first}) < len(first) or len({*second}) < len(second):
        raise ShapeError(f"tensordot pairs each dimension with one other, got dims={first} and {second}")
    for i, j in zip(first, second):
        if a.shape[i] != b.shape[j] and 1 not in (a.shape[i], b.shape[j]):
            raise ShapeError(f"tensordot: dimension {i} of shape {a.shape} and dimension {j} of shape {b.shape} differ in length")
    la = tuple(f"a{i}" for i in range(a.ndim))
    lb = tuple(la[first[second.index(i)]] if i in second else f"b{i}" for i in range(b.ndim))
    out = tuple(n for n in la + lb if not (n in la and n in lb))
    return _sum_of_products([a, b], (la, lb), out)
