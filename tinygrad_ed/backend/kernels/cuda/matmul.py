"""Products of matrices, stacks of matrices and vectors on CUDA devices, and the affine map of a layer: one launch each.

The call is planned by `gemm` and run by `cublaslt`. Bias and GELU are applied while the result is still in registers. float16 and bfloat16 are added
up in float32; float32 is rounded to TF32 before it is multiplied where `backends.cuda.matmul.allow_tf32` says so. Integers go to CuPy.
"""
from __future__ import annotations

from math import prod
from typing import Any

from ... import cuda, namespace
from ...precision import products
from .. import plain
from . import cublaslt
from .elementwise import gelu_tanh  # type: ignore[attr-defined]
from .gemm import Gemm, Sizes, plan
from .launch import TYPES, elements, fitted, launch, like

__all__ = ["column_sums", "linear", "linear_gelu", "matmul"]

_DTYPES = {"e": "float16", "E": "bfloat16", "f": "float32", "d": "float64"}      # a dtype's char (E is ml_dtypes' bfloat16), and its name
_STRIP, _NARROW = 32, 8                 # columns that a block sums; of tall matrices fewer, for more blocks (8 float32 are one access to memory)
_TALL = 1 << 10                         # rows
_AUX = 8                                # what the leading dimension of what an epilogue keeps must be a multiple of


def matmul(a: Any, b: Any, out: Any = None, add: bool = True) -> Any:
    """a @ b by NumPy's rules.

    Args:
        a, b: arrays of one dtype; matrices may be transposed or sliced views, which are not copied.
        out: an array of the result's shape and dtype that the product is added to.
        add: False to overwrite out instead.

    Returns:
        The product in new memory, or out.

    Raises:
        ValueError: shapes that do not multiply, or another shape of out.
        TypeError: arrays that are not on a device.
        RuntimeError: arrays that are on another device than the current one.
    """
    return _product(a, b, out=out, add=add and out is not None)


def linear(x: Any, weight: Any, bias: Any, relu: bool = False) -> Any:
    """x Wᵀ + b for x (…, in), W (out, in) and b (out,) or None; its ReLU if that is wanted, by another launch.

    cuBLASLt's ReLU makes 0 of NaN, so that a model that has diverged looks sound; `backends.cuda.matmul.allow_relu_epilogue` allows it.

    Raises:
        ValueError, TypeError, RuntimeError: as for `matmul`.
    """
    if relu and products.allow_relu_epilogue and (found := _activated("RELU", x, weight, bias)):
        return found[0]
    y = _product(x, weight.T, bias)
    if not relu:
        return y
    if y.dtype.name not in TYPES or y.size == 0:
        return plain.relu(y)
    launch("elementwise", "relu", y.dtype, elements(y.size), y, y, y.size)
    return y


def linear_gelu(x: Any, weight: Any, bias: Any, derive: bool) -> tuple:
    """y = gelu_tanh(z) of z = x Wᵀ + b; and for the derivative z, or its slope where the library has no such epilogue and the GELU is another launch.

    Raises:
        ValueError, TypeError, RuntimeError: as for `matmul`.
    """
    found = _activated("GELU", x, weight, bias, keep=derive)
    if found is not None:
        return *found, None
    y, slope = gelu_tanh(_product(x, weight.T, bias), derive)
    return y, None, slope


def column_sums(x: Any) -> Any:
    """x (…, n) summed over all dimensions but the last, in a fixed order, with one launch: CuPy's sum over the first dimension is slow."""
    suited = fitted(x) if x.size else None
    if suited is None:
        return plain.column_sums(x)
    (x,), n = suited, x.shape[-1]
    rows, y = prod(x.shape[:-1]), like(x, shape=(n,))
    columns = _STRIP if rows < _TALL else _NARROW
    block = columns, min(1024 // columns, 1 << (rows // 4).bit_length())
    launch("matmul", "column_sums", x.dtype, ((-(-n // columns),), block), x, y, rows, n)
    return y


def _product(a: Any, b: Any, bias: Any = None, out: Any = None, add: bool = False) -> Any:
    xp = namespace(a)
    gemm, shape, a, b = _planned(a, b, bias, out)
    if shape is None:
        return _finished(plain.matmul(a, b), bias, out, add)
    if out is not None and out.shape != shape:
        raise ValueError(f"the product has shape {shape}, out has shape {out.shape}")
    if out is not None and not out.flags.c_contiguous:
        return _finished(_product(a, b, bias), None, out, add)
    if gemm is None:
        return _finished(xp.zeros(shape, a.dtype), bias, out, add)
    gemm = gemm._replace(beta=int(add))
    y = xp.empty(shape, a.dtype) if out is None else out
    operands = b.data.ptr, a.data.ptr, y.data.ptr       # BLAS takes them the other way round: see `gemm`
    bias = bias if bias is None else xp.ascontiguousarray(bias)
    if bias is not None and cublaslt.run(gemm._replace(epilogue="BIAS"), *operands, bias.data.ptr):
        return y
    if cublaslt.run(gemm, *operands):
        return _finished(y, bias)
    raise RuntimeError(f"cuBLASLt has no algorithm for {gemm}")


def _activated(activation: str, x: Any, weight: Any, bias: Any, keep: bool = False) -> tuple | None:
    """An activation of x Wᵀ + b and, if it is kept, what it is given, else None; nothing at all where the library has no epilogue for it."""
    xp = namespace(x)
    gemm, shape, a, b = _planned(x, weight.T, bias)
    if gemm is None or (keep and gemm.ldd % _AUX):
        return None
    y, z = xp.empty(shape, a.dtype), xp.empty(shape, a.dtype) if keep else None
    bias = bias if bias is None else xp.ascontiguousarray(bias)
    epilogue = activation + "_AUX" * keep + "_BIAS" * (bias is not None)
    ran = cublaslt.run(gemm._replace(epilogue=epilogue), b.data.ptr, a.data.ptr, y.data.ptr, *[0 if v is None else v.data.ptr for v in (bias, z)])
    return (y, z) if ran else None


def _planned(a: Any, b: Any, *others: Any) -> tuple[Gemm | None, Sizes | None, Any, Any]:
    """The call for a @ b, None for empty ones, and the shape, None for dtypes that BLAS does not know; the operands, copied where they must be."""
    xp, given = namespace(a), [x for x in (a, b, *others) if x is not None]
    check_device(*given)
    dtype = _DTYPES.get(a.dtype.char)
    if dtype is None or any([x.dtype != a.dtype for x in given]):
        return None, None, a, b
    found = plan(a.shape, a.strides, b.shape, b.strides, a.itemsize)
    if found.copy_a or found.copy_b:
        a, b = [x if shape is None else xp.ascontiguousarray(xp.broadcast_to(x, shape)) for x, shape in ((a, found.copy_a), (b, found.copy_b))]
        found = plan(a.shape, a.strides, b.shape, b.strides, a.itemsize)
    compute = "64F" if dtype == "float64" else "32F_FAST_TF32" if products.allow_tf32 and dtype == "float32" else "32F"
    return found.gemm and found.gemm._replace(dtype=dtype, compute=compute), found.shape, a, b


def check_device(*arrays: Any) -> None:
    """Refuse arrays that are not on the current device.

    Raises:
        TypeError: arrays of the CPU.
        RuntimeError: arrays of another device.
    """
    current = cuda.current_device()
    for x in arrays:
        if type(x) is not type(arrays[0]):
            raise TypeError(f"Unsupported type {type(x)}: arrays of NumPy do not mix with those on the device")
        if x.data.device_id != current:
            raise RuntimeError(f"Array device must be same as the current device: array device = {x.data.device_id} while current = {current}")


def _finished(y: Any, bias: Any, out: Any = None, add: bool = False) -> Any:
    """What the epilogue of a product would have done, where there was none."""
    if bias is not None:
        y += bias
    if out is None:
        return y
    out[...] = out + y if add else y
    return out
