"""Which functions are also methods and operators of Tensor.

The rule: every public function of a family whose first parameter is `input` is a method of that name. Aliases, operators
and in-place forms are the tables below.
"""
from __future__ import annotations

from functools import cache
from types import FunctionType
from typing import Any

from ..autograd.inplace import in_place
from ..tensor import Tensor
from . import broadcast, compare, convert, elementwise, fill, index, join, like, linalg, matmul, order, random, reduce, scan, shape, softmax
from .convert import CONVERSIONS

FAMILIES = (elementwise, reduce, scan, shape, join, index, order, matmul, linalg, softmax, convert)

ALIASES = {
    "absolute": "abs", "negative": "neg", "subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div",
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
    "arctan2": "atan2", "clip": "clamp", "fix": "trunc", "not_equal": "ne",
    "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge", "swapdims": "transpose", "swapaxes": "transpose",
    "concat": "cat", "concatenate": "cat", "moveaxis": "movedim",
}

OPERATORS = {
    "add": elementwise._add, "sub": elementwise._sub, "mul": elementwise.mul, "truediv": elementwise._div,
    "floordiv": elementwise.floor_divide, "mod": elementwise.remainder, "pow": elementwise.pow, "matmul": matmul.matmul,
    "and": elementwise.bitwise_and, "or": elementwise.bitwise_or, "xor": elementwise.bitwise_xor,
    "lshift": elementwise.bitwise_left_shift, "rshift": elementwise.bitwise_right_shift,
}
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")

IN_PLACE = (
    "abs neg exp exp2 expm1 log log2 log10 log1p sqrt rsqrt square reciprocal sin cos tan asin acos atan sinh cosh tanh asinh acosh "
    "atanh erf erfc erfinv lgamma digamma sigmoid logit relu floor ceil round trunc frac sign clamp clamp_min clamp_max pow add sub mul div "
    "floor_divide remainder fmod hypot atan2 lerp addcmul addcdiv addmm addr addmv addbmm baddbmm masked_fill masked_scatter index_add index_copy "
    "index_fill index_put index_reduce put scatter scatter_add scatter_reduce cumsum cumprod tril triu nan_to_num logical_and logical_or logical_xor "
    "logical_not bitwise_and bitwise_or bitwise_xor bitwise_not eq ne lt le gt ge xlogy fill_diagonal").split()


@cache
def functions() -> dict[str, FunctionType]:
    """Every public function of the families, by name, aliases included."""
    found = {name: getattr(family, name) for family in FAMILIES for name in family.__all__}
    return found | {alias: found[name] for alias, name in ALIASES.items() if name in found}


def attach() -> None:
    """Give Tensor its methods and operators."""
    found = functions()
    members: dict[str, Any] = {}
    for name, function in found.items():
        first = function.__code__.co_varnames[:1]      # a declared op takes *args until its first call
        if first in (("input",), ("args",)) and not hasattr(Tensor, name):
            members[name] = function
    for method in (*like.METHODS, *random.METHODS, *fill.METHODS, *compare.METHODS):
        members[method.__name__] = method
    for name in (*IN_PLACE, *(alias for alias, name in ALIASES.items() if name in IN_PLACE)):
        members[name + "_"] = in_place(found[name], name + "_")
    for name, primitive in OPERATORS.items():
        members[f"__{name}__"] = primitive
        members[f"__r{name}__"] = _reflected(primitive)
        members[f"__i{name}__"] = in_place(primitive, name + "_")
    for name in COMPARISONS:
        members[f"__{name}__"] = found[name]
    for name, dtype in CONVERSIONS.items():
        members[name] = _conversion(name, dtype)
    members.update(
        __neg__=found["neg"], __pos__=lambda self: self, __abs__=found["abs"], __invert__=found["bitwise_not"],
        __getitem__=index.getitem, __setitem__=index.setitem, __iter__=_iterate, __array_ufunc__=_array_ufunc, where=_where, type=_type,
        T=property(_reversed_dims, doc="The tensor with its dimensions reversed; a view."),
        mT=property(_transposed, doc="The matrices of the last two dimensions transposed; a view."))
    for name, member in members.items():
        setattr(Tensor, name, member)


def _reflected(function: Any) -> Any:
    return lambda self, other: function(other, self)


def _reversed_dims(self: Tensor) -> Tensor:
    return broadcast.permute_to(self, dims=tuple(range(self.ndim))[::-1])


def _transposed(self: Tensor) -> Tensor:
    return functions()["transpose"](self, -2, -1)


def _where(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """This tensor's elements where the condition holds, of other elsewhere."""
    return elementwise.where(condition, self, other)


def _type(self: Tensor, dtype: Any = None) -> Any:
    """This tensor in another dtype, also under an old name such as "torch.LongTensor"; without an argument the old name of its own."""
    from ..legacy import named_type, type_name
    if dtype is None:
        return type_name(self)
    if isinstance(dtype, str) and dtype.endswith("Tensor"):
        dtype, device = named_type(dtype)
        return self.to(dtype=dtype, device=None if device == self.device.type else device)
    return self.to(dtype=getattr(dtype, "dtype", dtype))


def _iterate(self: Tensor) -> Any:
    if self.ndim == 0:
        raise TypeError("a 0-d tensor cannot be iterated over; write x.item() for its number")
    return iter(join.unbind(self))


# NumPy's functions whose names differ from ours; the others are found by name.
UFUNCS = {
    "subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div", "power": "pow", "negative": "neg", "absolute": "abs",
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "arctan2": "atan2",
    "equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge", "rint": "round",
    "invert": "bitwise_not", "left_shift": "bitwise_left_shift", "right_shift": "bitwise_right_shift",
}


def _array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """`array + tensor` and `np.exp(tensor)` are the tensor operations of that name, and recorded as such.

    What has no such name (`out=`, `np.add.reduce`) is computed on the arrays, where no gradient would be lost.
    """
    function = functions().get(UFUNCS.get(ufunc.__name__, ufunc.__name__))
    if method == "__call__" and not kwargs and function is not None:
        return function(*inputs)
    return getattr(ufunc, method)(*[x.numpy() if isinstance(x, Tensor) else x for x in inputs], **kwargs)


def _conversion(name: str, dtype: Any) -> Any:
    def method(self: Tensor) -> Tensor:
        return self.to(dtype=dtype)
    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"This tensor in {dtype}."
    return method


attach()
