"""Which functions are also methods and operators of Tensor.

The rule: every public function of a family whose first parameter is `input` is a method of that name. Aliases, operators
and in-place forms are the tables below.
"""
from __future__ import annotations

from types import FunctionType
from typing import Any

from ..autograd.inplace import in_place
from ..tensor import Tensor
from . import convert, elementwise, index, join, linalg, order, reduce, scan, shape, softmax
from .convert import CONVERSIONS

FAMILIES = (elementwise, reduce, scan, shape, join, index, order, linalg, softmax, convert)

ALIASES = {
    "absolute": "abs", "negative": "neg", "subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div",
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
    "arctan2": "atan2", "clip": "clamp", "fix": "trunc", "not_equal": "ne",
    "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge", "swapdims": "transpose", "swapaxes": "transpose",
    "concat": "cat", "concatenate": "cat", "moveaxis": "movedim",
}

OPERATORS = {
    "add": elementwise._add, "sub": elementwise._sub, "mul": elementwise.mul, "truediv": elementwise._div,
    "floordiv": elementwise.floor_divide, "mod": elementwise.remainder, "pow": elementwise.pow, "matmul": "matmul",
    "and": elementwise.bitwise_and, "or": elementwise.bitwise_or, "xor": elementwise.bitwise_xor,
    "lshift": elementwise.bitwise_left_shift, "rshift": elementwise.bitwise_right_shift,
}
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")

IN_PLACE = (
    "abs neg exp exp2 expm1 log log2 log10 log1p sqrt rsqrt square reciprocal sin cos tan asin acos atan sinh cosh tanh asinh "
    "acosh atanh erf erfc erfinv lgamma digamma sigmoid logit relu floor ceil round trunc frac sign clamp pow add sub mul div "
    "floor_divide remainder fmod hypot atan2 lerp addcmul addcdiv addmm baddbmm masked_fill masked_scatter index_add index_copy "
    "index_fill index_put scatter scatter_add scatter_reduce cumsum cumprod tril triu nan_to_num logical_and logical_or "
    "logical_xor logical_not bitwise_and bitwise_or bitwise_xor bitwise_not eq ne lt le gt ge xlogy fill_diagonal").split()


def functions() -> dict[str, FunctionType]:
    """Every public function of the families, by name, aliases included."""
    found = {name: getattr(family, name) for family in FAMILIES for name in family.__all__}
    return found | {alias: found[name] for alias, name in ALIASES.items() if name in found}


def attach() -> None:
    """Give Tensor its methods and operators."""
    found = functions()
    for name, function in found.items():
        first = function.__code__.co_varnames[:1]
        if (first == ("input",) or first == ("args",)) and not hasattr(Tensor, name):     # a declared op takes *args until its first call
            setattr(Tensor, name, function)
    for name in IN_PLACE:
        if name in found:
            setattr(Tensor, name + "_", in_place(found[name], name + "_"))
    for name, function in OPERATORS.items():
        function = found.get(function) if isinstance(function, str) else function
        if function is None: continue
        setattr(Tensor, f"__{name}__", function)
        setattr(Tensor, f"__r{name}__", _reflected(function))
        setattr(Tensor, f"__i{name}__", in_place(function, name + "_"))
    for name in COMPARISONS:
        setattr(Tensor, f"__{name}__", found[name])
    Tensor.__neg__, Tensor.__abs__, Tensor.__invert__ = found["neg"], found["abs"], found["bitwise_not"]
    for name, dtype in CONVERSIONS.items():
        setattr(Tensor, name, _conversion(name, dtype))


def _reflected(function: Any) -> Any:
    return lambda self, other: function(other, self)


def _conversion(name: str, dtype: Any) -> Any:
    def method(self: Tensor) -> Tensor:
        return self.to(dtype=dtype)
    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"This tensor in {dtype}."
    return method


attach()
