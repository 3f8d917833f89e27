"""Products of matrices, stacks of matrices and vectors on CUDA devices, and the affine map of a layer: one launch each.

The call is planned by `gemm` and run by `cublaslt`. The bias is added while the result is still in registers. float16 and bfloat16 are added up in
float32; float32 is rounded to TF32 before it is multiplied where `backends.cuda.matmul.allow_tf32` says so. Integers go to CuPy.
"""
from __future__ import annotations

from math import prod
from typing import Any

from ... import cuda, namespace
from ...precision import products
from .. import plain
from . import cublaslt
from .gemm import plan
from .launch import TYPES, elements, fitted, launch, like

__all__ = ["column_sums", "linear", "matmul"]

_DTYPES = {"e": "float16", "E": "bfloat16", "f": "float32", "d": "float64"}      # a dtype's char (E is ml_dtypes' bfloat16), and its name
_STRIP, _NARROW = 32, 8                 # columns that a block sums; of tall matrices fewer, for more blocks (8 float32 are one access to memory)
_TALL = 1 << 10                         # rows


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

    cuBLASLt has epilogues with a ReLU, which make 0 of NaN: a model that has diverged would look sound.

    Raises:
        ValueError, TypeError, RuntimeError: as for `matmul`.
    """
    y = _product(x, weight.T, bias)
    if not relu:
        return y
    if y.dtype.name not in TYPES or y.size == 0:
        return plain.relu(y)
    launch("elementwise", "relu", y.dtype, elements(y.size), y, y, y.size)
    return y


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
    given = [x for x in (a, b, bias, out) if x is not None]
    check_device(*given)
    dtype = _DTYPES.get(a.dtype.char)
    if dtype is None or any([x.dtype != a.dtype for x in given]):
        return _finished(plain.matmul(a, b), bias, out, add)
    found = plan(a.shape, a.strides, b.shape, b.strides, a.itemsize)
    if found.copy_a or found.copy_b:
        a, b = [x if shape is None else xp.ascontiguousarray(xp.broadcast_to(x, shape)) for x, shape in ((a, found.copy_a), (b, found.copy_b))]
        found = plan(a.shape, a.strides, b.shape, b.strides, a.itemsize)
    if out is not None and out.shape != found.shape:
        raise ValueError(f"the product has shape {found.shape}, out has shape {out.shape}")
    if out is not None and not out.flags.c_contiguous:
        return _finished(_product(a, b, bias), None, out, add)
    if found.gemm is None:
        return _finished(xp.zeros(found.shape, a.dtype), bias, out, add)
    compute = "64F" if dtype == "float64" else "32F_FAST_TF32" if products.allow_tf32 and dtype == "float32" else "32F"
    gemm = found.gemm._replace(dtype=dtype, compute=compute, beta=int(add))
    y = xp.empty(found.shape, a.dtype) if out is None else out
    operands = b.data.ptr, a.data.ptr, y.data.ptr       # BLAS takes them the other way round: see `gemm`
    bias = bias if bias is None else xp.ascontiguousarray(bias)
    if bias is not None and cublaslt.run(gemm._replace(epilogue="BIAS"), *operands, bias.data.ptr):
        return y
    if cublaslt.run(gemm, *operands):
        return _finished(y, bias)
    raise RuntimeError(f"cuBLASLt has no algorithm for {gemm}")


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
