"""What the activations share: choosing by bits, and results that may overwrite their input."""
from __future__ import annotations

from typing import Any, Callable

from ...autograd.inplace import write
from ...autograd.modes import state
from ...autograd.op import op
from ...backend.kernels import kernels
from ...tensor import Tensor
from ..arguments import require_float
from ..convert import clone

keep = op("keep", lambda x, condition: kernels(x).select(condition, x), x=lambda g, condition: keep(g, condition),
          doc="x where the condition, of its shape, holds, and 0 elsewhere, also in the place of NaN and infinities.")
choose = op("choose", lambda condition, *, yes, no, dtype: kernels(condition).choose(condition, yes, no, dtype),
            doc="The number `yes` where a condition holds, `no` elsewhere, in a dtype.")


def is_differentiated(*tensors: Any) -> bool:
    """Whether a derivative may be asked for: then the kernels compute it along with the value."""
    return bool(state.recording) and any(isinstance(t, Tensor) and t.requires_grad for t in tensors)


def applied(name: str, primitive: Any, input: Tensor, inplace: bool, **options: Any) -> Tensor:
    """The result of a primitive for a floating point input, written into the input if asked; the derivative then needs a copy of that.

    Raises:
        DTypeError: integers or booleans.
        InPlaceError: a leaf that requires grad, inplace.
    """
    require_float(input, name)
    if inplace and is_differentiated(input):
        return written(name, input, primitive(clone(input), **options), inplace)
    return written(name, input, primitive(input, **options), inplace)


def written(name: str, input: Tensor, y: Tensor, inplace: bool) -> Tensor:
    """A result that was computed for this alone, or the input overwritten by it."""
    return write(input, y, name + "_", fresh=True) if inplace else y


def overwriting(function: Callable, example: str) -> Callable:
    """The in-place form of an activation that has an argument `inplace`; the example is "values -> result"."""
    def form(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return function(input, *args, inplace=True, **kwargs)
    values, result = example.split(" -> ")
    form.__name__ = form.__qualname__ = function.__name__ + "_"
    form.__module__ = function.__module__
    form.__doc__ = (f"In-place form of `{function.__name__}`: the result overwrites the input, which is returned.\n\nExample:\n"
                    f"    >>> import tinygrad_ed as tg\n    >>> {form.__name__}(tg.tensor({values}))\n    tensor({result})\n")
    return form
