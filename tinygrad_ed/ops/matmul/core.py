"""The product of matrices, stacks and vectors, and the affine map of a layer. All other products are made of `matmul`."""
from __future__ import annotations

import math
from typing import Any

from ...autograd.op import op
from ...autograd.runtime import as_array
from ...backend.kernels import kernels
from ...errors import ShapeError
from ...tensor import Tensor
from ..activation import gelu
from ..activation.common import is_differentiated
from ..broadcast import expand_to, permute_to, reshape_to
from ..elementwise import relu_backward

__all__ = ["matmul"]


# -- the product -------------------------------------------------------------------------------------------------------

def mT(x: Any) -> Any:
    """The transposed matrix, or stack of matrices, as a view."""
    n = x.ndim
    return permute_to(x, dims=(1, 0) if n == 2 else (*range(n - 2), n - 1, n - 2))


def rows(x: Any) -> Any:
    """A stack (…, n, k) as one matrix (…·n, k): the matrices under each other."""
    return x if x.ndim == 2 else reshape_to(x, shape=(math.prod(x.shape[:-1]), x.shape[-1]))


def columns(x: Any) -> Any:
    """A stack (…, n, k) as one matrix (n, …·k): the matrices side by side."""
    n = x.ndim
    beside = permute_to(x, dims=(n - 2, *range(n - 2), n - 1))
    return reshape_to(beside, shape=(x.shape[-2], math.prod(x.shape[:-2]) * x.shape[-1]))


def _flat(x: Any) -> Any:
    return reshape_to(x, shape=(math.prod(x.shape),))


def column(x: Any) -> Any:
    """Vectors (…, n) as matrices (…, n, 1)."""
    return reshape_to(x, shape=(*x.shape, 1))


def row(x: Any) -> Any:
    """Vectors (…, n) as matrices (…, 1, n)."""
    return reshape_to(x, shape=(*x.shape[:-1], 1, x.shape[-1]))


def product(a: Any, b: Any) -> Any:
    """a @ b of arrays.

    Raises:
        ShapeError: shapes that do not multiply.
    """
    try:
        return kernels(a).matmul(a, b)
    except (ValueError, AttributeError):
        raise _mismatch(a, b) from None


def _mismatch(a: Any, b: Any) -> Exception:
    for x, other in ((a, "other"), (b, "input")):
        if not hasattr(x, "ndim"):
            return TypeError(f"matmul multiplies tensors, not {type(x).__name__}; write {other} * {x!r}, or tensor(...) of a list")
    what = f"matmul cannot multiply shape {a.shape} by shape {b.shape}"
    if not (a.ndim and b.ndim):
        return ShapeError(f"{what}: a 0-d tensor is a number, not a matrix; write input * other")
    inner = b.shape[-2:][0]
    if a.shape[-1] == inner:
        return ShapeError(f"{what}: the batch dimensions {a.shape[:-2]} and {b.shape[:-2]} do not broadcast; "
                          f"give both the same, or length 1 where one is to be repeated: input.unsqueeze(dim)")
    fix = ("input @ other.mT" if b.ndim > 1 and a.shape[-1] == b.shape[-1] else
           "input.mT @ other" if a.ndim > 1 and a.shape[-2] == inner else
           None)
    return ShapeError(f"{what}: the last dimension of input ({a.shape[-1]}) must equal the {'second to last' if b.ndim > 1 else 'only'} "
                      f"dimension of other ({inner}); " + (f"write {fix}" if fix else "look where the shapes come from"))


def _for_a(g: Any, b: Any, shape: tuple) -> tuple:
    """g bᵀ, the gradient of a matrix, stack or vector a of `shape`, as its factors; summed over the stack in the product itself."""
    if b.ndim == 1:
        return column(g) * b, None
    if len(shape) == 1:
        return columns(b), _flat(g)
    if len(shape) == 2:
        return (g, mT(b)) if g.ndim == 2 else (columns(g), mT(columns(b)))
    return (g, mT(b)) if shape[:-2] == g.shape[:-2] else (matmul(g, mT(b)), None)


def _for_b(g: Any, a: Any, shape: tuple) -> tuple:
    """aᵀ g, the gradient of a matrix, stack or vector b of `shape`, as its factors; summed over the stack in the product itself."""
    if len(shape) == 1:
        return _flat(g), rows(a)
    if a.ndim == 1:
        return column(a) * row(g), None
    if len(shape) == 2:
        return mT(rows(a)), rows(g)
    return (mT(a), g) if shape[:-2] == g.shape[:-2] else (matmul(mT(a), g), None)


matmul = op("matmul", product, match=("a", "b"), broadcast=True,
            a=lambda g, b, a_shape: _for_a(g, b, a_shape), b=lambda g, a, b_shape: _for_b(g, a, b_shape), factors=("a", "b"),
            doc="""The product of matrices, stacks of matrices and vectors; the operator `@`.

Two matrices multiply as matrices; dimensions before the last two are a batch and broadcast. A 1-d input is a row, a 1-d
other a column, and the result has no such dimension; two vectors give their inner product.

Args:
    input: a tensor of shape (…, n, k) or (k,).
    other: a tensor of shape (…, k, m) or (k,), of the same dtype.

Returns:
    A tensor of shape (…, n, m); without n or m for a vector.

Raises:
    ShapeError: shapes that do not multiply.
    DTypeError: two dtypes.

With Y = A B: dA = dY Bᵀ, dB = Aᵀ dY, summed over the batch dimensions that were broadcast.

Example:
    >>> import tinygrad_ed as tg
    >>> tg.matmul(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.tensor([1.0, 1.0]))
    tensor([3., 7.])
""")


# -- the layer ---------------------------------------------------------------------------------------------------------

def _affine(x: Any, weight: Any, bias: Any = None, relu: bool = False) -> Any:
    if x.ndim == 0 or not 1 <= weight.ndim <= 2 or x.shape[-1] != weight.shape[-1]:
        raise ShapeError(f"linear takes an input (…, in) and a weight (out, in), got shapes {x.shape} and {weight.shape}; "
                         f"make the layer with in_features={x.shape[-1] if x.ndim else 1}")
    if weight.ndim == 2 and (bias is None or bias.shape == weight.shape[:1]):
        return kernels(x).linear(x, weight, bias, relu)
    if weight.ndim == 2 and bias.shape not in ((), (1,)):
        raise ShapeError(f"linear: the weight (out, in) of shape {weight.shape} takes a bias ({weight.shape[0]},), got {bias.shape}")
    y = product(x, weight.T)
    if bias is not None:
        if weight.ndim == 1 and bias.shape not in ((), (1,), y.shape):
            raise ShapeError(f"linear: the weight (in,) of shape {weight.shape} takes a bias of shape (), got {bias.shape}")
        y = y + bias
    return kernels(y).relu(y) if relu else y


def _affine_gelu(x: Any, weight: Any, bias: Any = None, *, derive: bool) -> tuple:
    if x.ndim and weight.ndim == 2 and x.shape[-1] == weight.shape[-1] and (bias is None or bias.shape == weight.shape[:1]):
        return kernels(x).linear_gelu(x, weight, bias, derive)
    y, slope = kernels(x).gelu_tanh(as_array(_affine(x, weight, bias)), derive)
    return y, None, slope


column_sums = op("column_sums", lambda x: kernels(x).column_sums(x), x=lambda g, x_shape: expand_to(g, shape=x_shape),
                 doc="x summed over all dimensions but the last, the gradient of a bias.")


def _for_input(g: Any, weight: Any, x_shape: tuple) -> tuple:
    """dx = g W."""
    return _for_a(g, mT(weight) if weight.ndim == 2 else weight, x_shape)


def _for_weight(g: Any, x: Any, weight_shape: tuple) -> tuple:
    """dW = gᵀ x."""
    return _for_b(g, x, weight_shape) if len(weight_shape) == 1 else (mT(rows(g)), rows(x))


def _for_bias(g: Any, bias_shape: tuple) -> Any:
    """db = Σ g."""
    return column_sums(g) if len(bias_shape) == 1 < g.ndim else g


linear = op("linear", lambda x, weight, bias=None: _affine(x, weight, bias), match=("x", "weight", "bias"), broadcast=True,
            x=_for_input, weight=_for_weight, bias=_for_bias, factors=("x", "weight"),
            doc="""The affine map y = x Wᵀ + b of the last dimension.

Args:
    input: a tensor of shape (…, in).
    weight: a tensor of shape (out, in), or (in,) for a single output without its dimension.
    bias: a tensor of shape (out,), or none.

Returns:
    A tensor of shape (…, out).

Raises:
    ShapeError: input and weight disagree about the number of inputs.
    DTypeError: different dtypes.

dx = dy W, dW = dyᵀ x and db = Σ dy over all rows: leading dimensions are folded into one product.

Example:
    >>> import tinygrad_ed as tg
    >>> tg.nn.functional.linear(tg.tensor([[1.0, 2.0]]), tg.tensor([[1.0, 1.0], [1.0, -1.0]]), tg.tensor([0.0, 10.0]))
    tensor([[3., 9.]])
""")

linear_relu = op("linear_relu", lambda x, weight, bias=None: _affine(x, weight, bias, relu=True), match=("x", "weight", "bias"), broadcast=True,
                 through=relu_backward, x=_for_input, weight=_for_weight, bias=_for_bias, factors=("x", "weight"),
                 doc="""max(x Wᵀ + b, 0): relu(linear(…)) at the cost of `linear` alone; what is before the ReLU is nowhere kept.

`nn.Sequential` uses it by itself where a `Linear` and a `ReLU` follow each other. PyTorch has no such function.

Args:
    input: a tensor of shape (…, in).
    weight: a tensor of shape (out, in), or (in,) for a single output without its dimension.
    bias: a tensor of shape (out,), or none.

Returns:
    A tensor of shape (…, out).

Raises:
    ShapeError: input and weight disagree about the number of inputs.
    DTypeError: different dtypes.

The derivatives are those of `linear`, from dy where y > 0 and 0 elsewhere.

Example:
    >>> import tinygrad_ed as tg
    >>> tg.nn.functional.linear_relu(tg.tensor([[1.0, 2.0]]), tg.tensor([[1.0, 1.0], [1.0, -1.0]]))
    tensor([[3., 0.]])
""")

_linear_gelu = op("linear_gelu", _affine_gelu, match=("x", "weight", "bias"), broadcast=True, aux=("z", "slope"),
                  composed=lambda x, weight, bias, *, derive: gelu(linear(x, weight, bias), "tanh"),
                  through=lambda g, z, slope: g * slope if z is None else kernels(g).gelu_tanh_backward(g, z),
                  x=_for_input, weight=_for_weight, bias=_for_bias, factors=("x", "weight"))


def linear_gelu(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """gelu(x Wᵀ + b, "tanh"), which on CUDA devices takes one launch in place of two.

    `nn.Sequential` uses it by itself where a `Linear` and a `GELU(approximate="tanh")` follow each other. PyTorch has no such function.

    Args:
        input: a tensor of shape (…, in).
        weight: a tensor of shape (out, in), or (in,) for a single output without its dimension.
        bias: a tensor of shape (out,), or none.

    Returns:
        A tensor of shape (…, out).

    Raises:
        ShapeError: input and weight disagree about the number of inputs.
        DTypeError: different dtypes.

    The derivatives are those of `linear`, from dy times the derivative of `gelu` at x Wᵀ + b.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.linear_gelu(tg.tensor([[1.0, 2.0]]), tg.tensor([[1.0, 1.0], [1.0, -1.0]]))
        tensor([[ 2.9964, -0.1588]])
    """
    return _linear_gelu(input, weight, bias, derive=is_differentiated(input, weight, bias))
