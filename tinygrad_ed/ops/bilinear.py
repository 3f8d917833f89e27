"""The bilinear map of two inputs."""
from __future__ import annotations

from ..errors import DTypeError, ShapeError
from ..tensor import Tensor
from .matmul import linear, matmul

__all__ = ["bilinear"]


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_o = x₁ᵀ W_o x₂ + b_o.

    Args:
        input1: a tensor of shape (…, in1).
        input2: a tensor of shape (…, in2), with the same leading dimensions.
        weight: a tensor of shape (out, in1, in2).
        bias: a tensor of shape (out,), or none.

    Returns:
        A tensor of shape (…, out).

    Raises:
        ShapeError: shapes that do not fit together.
        DTypeError: different dtypes.

    Example:
        >>> import tinygrad_ed as tg
        >>> bilinear(tg.tensor([[1.0, 2.0]]), tg.tensor([[3.0, 4.0]]), tg.ones(1, 2, 2))
        tensor([[21.]])
    """
    fits = (weight.ndim == 3 and input1.ndim == input2.ndim >= 1 and input1.shape[:-1] == input2.shape[:-1]
            and weight.shape[1:] == (input1.shape[-1], input2.shape[-1]) and (bias is None or bias.shape == weight.shape[:1]))
    if not fits:
        raise ShapeError(f"bilinear takes inputs (..., in1) and (..., in2), a weight (out, in1, in2) and a bias (out), got {input1.shape}, "
                         f"{input2.shape}, {weight.shape} and {None if bias is None else bias.shape}")
    if len({x.dtype for x in (input1, input2, weight, bias) if x is not None}) > 1:
        raise DTypeError(f"bilinear takes tensors of one dtype, got {input1.dtype}, {input2.dtype} and a weight of {weight.dtype}; "
                         f"write x.to(weight.dtype)")
    out, in1, in2 = weight.shape
    partial = linear(input2, weight.reshape(out * in1, in2)).reshape(*input2.shape[:-1], out, in1)        # W_o x₂ for every o
    y = matmul(partial, input1.unsqueeze(-1)).squeeze(-1)
    return y if bias is None else y + bias
