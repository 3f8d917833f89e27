"""The stand-in for cuBLASLt: its C functions, called with the numbers and addresses that the real ones get, computing with NumPy.

`compute` is what BLAS means by a product of matrices stored by columns, on raw memory. The library in front of it knows the attributes by the
numbers and sizes in cublasLt.h, refuses what the real one refuses (leading dimensions that are too small, attributes of another size), and
what would be undefined: operands that are less aligned than was said, or not on the device.
"""
from __future__ import annotations

import ctypes
import math
from ctypes import c_float, c_int, c_int32, c_int64, c_uint32, c_uint64, c_void_p
from typing import Any, Callable

import numpy as np

from . import devices, tally

INVALID, UNSUPPORTED = 7, 15
DTYPES = {0: "float32", 1: "float64", 2: "float16", 14: "bfloat16"}
COMPUTE = {68: "32F", 70: "64F", 77: "32F_FAST_TF32"}
EPILOGUES = {1: "DEFAULT", 2: "RELU", 4: "BIAS", 6: "RELU_BIAS", 32: "GELU", 36: "GELU_BIAS", 160: "GELU_AUX", 164: "GELU_AUX_BIAS"}
ATTRIBUTES = {
    "MatmulDesc": {3: ("transa", c_int32), 4: ("transb", c_int32), 7: ("epilogue", c_uint32), 8: ("bias", c_uint64), 11: ("aux", c_uint64),
                   12: ("aux_ld", c_int64), 13: ("aux_stride", c_int64)},
    "MatrixLayout": {5: ("batch", c_int32), 6: ("stride", c_int64)},
    "MatmulPreference": {1: ("workspace", c_uint64), 5: ("alignment_a", c_uint32), 6: ("alignment_b", c_uint32), 7: ("alignment_c", c_uint32),
                         8: ("alignment_d", c_uint32)}}
AUX = ("aux", "aux_ld", "aux_stride")


# -- what BLAS computes ------------------------------------------------------------------------------------------------

def array_dtype(name: str) -> np.dtype:
    """The dtype of NumPy's arrays for one of BLAS."""
    if name == "bfloat16":
        import ml_dtypes
        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def matrices(address: int, dtype: str, rows: int, columns: int, ld: int, batch: int, stride: int) -> np.ndarray:
    """The matrices that begin at an address, each stored by columns, as an array (batch, rows, columns)."""
    size = array_dtype(dtype).itemsize
    length = size * (1 + (batch - 1) * stride + (columns - 1) * ld + rows - 1)
    memory = (ctypes.c_char * length).from_address(address)
    return np.ndarray((batch, rows, columns), array_dtype(dtype), memory, strides=(stride * size, size, ld * size))


def compute(gemm: Any, a: int, b: int, d: int, bias: int = 0, aux: Any = None) -> None:
    """D = epilogue(op(A) op(B) + bias + beta·D) for a `Gemm` whose operands are at these addresses; aux gets what an activation is given."""
    wide = np.float64 if gemm.compute == "64F" else np.float32
    rounded = tf32 if gemm.compute == "32F_FAST_TF32" else np.asarray
    x = matrices(a, gemm.dtype, *((gemm.k, gemm.m) if gemm.transa else (gemm.m, gemm.k)), gemm.lda, gemm.batch, gemm.stridea)
    y = matrices(b, gemm.dtype, *((gemm.n, gemm.k) if gemm.transb else (gemm.k, gemm.n)), gemm.ldb, gemm.batch, gemm.strideb)
    out = matrices(d, gemm.dtype, gemm.m, gemm.n, gemm.ldd, gemm.batch, gemm.strided)
    x, y = (rounded(z.swapaxes(1, 2) if t else z).astype(wide) for z, t in ((x, gemm.transa), (y, gemm.transb)))
    total = x @ y
    if gemm.beta:
        total += gemm.beta * out.astype(wide)
    if gemm.epilogue.endswith("BIAS"):
        total += matrices(bias, gemm.dtype, gemm.m, 1, gemm.m, 1, 0).astype(wide)
    with np.errstate(over="ignore", invalid="ignore"):
        if aux is not None:
            matrices(aux[0], gemm.dtype, gemm.m, gemm.n, aux[1], gemm.batch, aux[2])[...] = total
        if gemm.epilogue.startswith("RELU"):
            total = np.fmax(total, 0)                 # which makes 0 of NaN, as the library does
        if gemm.epilogue.startswith("GELU"):
            total = 0.5 * total * (1 + np.tanh(math.sqrt(2 / math.pi) * (total + 0.044715 * total**3)))
        out[...] = total


def tf32(x: np.ndarray) -> np.ndarray:
    """float32 rounded to 10 bits behind the point."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + np.uint32(0xFFF) + ((bits >> np.uint32(13)) & np.uint32(1))) & np.uint32(0xFFFFE000)).view(np.float32)


# -- the library -------------------------------------------------------------------------------------------------------

class CublasLt:
    """The functions of the library. `calls` has every product that ran, as a Gemm."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.objects: dict[int, dict] = {}
        self.refused: Callable[[Any], bool] = lambda gemm: False          # for which products there is no algorithm

    def _made(self, out: int, **facts: Any) -> int:
        c_void_p.from_address(out).value = number = 1 + max(self.objects, default=0x1000)
        self.objects[number] = facts
        return 0

    def __getattr__(self, name: str) -> Callable:
        kind, _, verb = name.removeprefix("cublasLt").rpartition("SetAttribute" if name.endswith("SetAttribute") else "Destroy")
        if name.endswith("SetAttribute"):
            return lambda *args: self._set(kind, *args)
        if name.endswith("Destroy"):
            return lambda number: 0 if self.objects.pop(number, None) is not None else INVALID
        raise AttributeError(name)

    def _set(self, kind: str, number: int, attribute: int, address: int, size: int) -> int:
        name, form = ATTRIBUTES[kind][attribute]
        if size != ctypes.sizeof(form) or self.objects[number]["kind"] != kind:
            return INVALID
        self.objects[number][name] = form.from_address(address).value
        return 0

    def cublasLtCreate(self, out: int) -> int:
        """A handle, of the current device."""
        return self._made(out, kind="Handle", device=devices.current.device)

    def cublasLtMatmulDescCreate(self, out: int, compute: int, scale: int) -> int:
        """What is computed."""
        if compute not in COMPUTE or DTYPES.get(scale) != ("float64" if COMPUTE[compute] == "64F" else "float32"):
            return INVALID
        return self._made(out, kind="MatmulDesc", compute=COMPUTE[compute], scale=DTYPES[scale], transa=0, transb=0, epilogue=1, bias=0, aux=0,
                          aux_ld=0, aux_stride=0)

    def cublasLtMatrixLayoutCreate(self, out: int, dtype: int, rows: int, columns: int, ld: int) -> int:
        """How a matrix lies in memory."""
        if dtype not in DTYPES or ld < rows or rows < 1 or columns < 1:
            return INVALID
        return self._made(out, kind="MatrixLayout", dtype=DTYPES[dtype], rows=rows, columns=columns, ld=ld, batch=1, stride=0)

    def cublasLtMatmulPreferenceCreate(self, out: int) -> int:
        """What algorithms may do."""
        return self._made(out, kind="MatmulPreference", workspace=0, alignment_a=256, alignment_b=256, alignment_c=256, alignment_d=256)

    def _gemm(self, operation: int, a: int, b: int, c: int, d: int, beta: float = 0) -> Any:
        from tinygrad_ed.backend.kernels.cuda.gemm import Gemm
        what, x, y, z = (self.objects[number] for number in (operation, a, b, d))
        (m, k), (k_too, n) = ((m["columns"], m["rows"]) if t else (m["rows"], m["columns"]) for m, t in ((x, what["transa"]), (y, what["transb"])))
        if c != d or k != k_too or (z["rows"], z["columns"]) != (m, n) or not x["dtype"] == y["dtype"] == z["dtype"]:
            return None
        if not x["batch"] == y["batch"] == z["batch"] or (what["compute"] == "32F_FAST_TF32" and x["dtype"] != "float32"):
            return None
        if "AUX" in EPILOGUES[what["epilogue"]] and not keeps(m, n, z["batch"], *[what[name] for name in AUX]):
            return None
        return Gemm(m, n, k, bool(what["transa"]), bool(what["transb"]), x["ld"], y["ld"], z["ld"], x["batch"], x["stride"], y["stride"],
                    z["stride"], x["dtype"], what["compute"], EPILOGUES[what["epilogue"]], int(beta))

    def cublasLtMatmulAlgoGetHeuristic(self, handle: int, operation: int, a: int, b: int, c: int, d: int, preference: int, wanted: int, found: int,
                                       count: int) -> int:
        """The best algorithm."""
        gemm = self._gemm(operation, a, b, c, d)
        if gemm is None or self.objects[handle]["kind"] != "Handle" or wanted < 1:
            return INVALID
        if self.refused(gemm):
            return UNSUPPORTED
        algorithm = self.objects[preference] | {"kind": "Algorithm", "gemm": gemm, "device": self.objects[handle]["device"],
                                                **{f"alignment_{name}": lowest_bit(self.objects[operation][name]) for name in ("bias", "aux")}}
        self._made(found, **algorithm)
        c_int.from_address(count).value = 1
        return 0

    def cublasLtMatmul(self, handle: int, operation: int, alpha: int, a: int, a_layout: int, b: int, b_layout: int, beta: int, c: int, c_layout: int,
                       d: int, d_layout: int, algorithm: int, workspace: int, size: int, stream: int) -> int:
        """Queue a product."""
        number = ctypes.c_double if self.objects[operation]["scale"] == "float64" else c_float
        gemm = self._gemm(operation, a_layout, b_layout, c_layout, d_layout, number.from_address(beta).value)
        promised, bias = self.objects[c_void_p.from_address(algorithm).value or 0], self.objects[operation]["bias"]
        aux = tuple([self.objects[operation][name] for name in AUX])
        if gemm is None or gemm._replace(beta=0) != promised["gemm"] or promised["device"] != devices.current.device or number.from_address(alpha).value != 1:
            return INVALID
        if c != d or size < promised["workspace"] or stream != devices.get_current_stream().ptr:
            return INVALID
        used = {"a": a, "b": b, "d": d} | ({"bias": bias} if gemm.epilogue.endswith("BIAS") else {}) | ({"aux": aux[0]} if "AUX" in gemm.epilogue else {})
        for name, address in used.items():
            if address % promised["alignment_" + name]:
                raise AssertionError(f"{gemm}: {name} at {address:#x} is not aligned to {promised['alignment_' + name]} bytes, as was promised")
        reads = [memory_at(used[name]) for name in ("a", "b", "bias", *(["d"] if gemm.beta else [])) if name in used]
        written = [memory_at(used[name]) for name in ("d", "aux") if name in used]
        for memory in reads:
            memory.read(devices.get_current_stream(), "cublasLtMatmul")
        self.calls.append(gemm)
        held = [memory.bytes for memory in (*reads, *written)]

        def again() -> None:
            assert held
            compute(gemm, a, b, d, bias, aux if "aux" in used else None)

        again()
        tally.launched(again, reads, written)
        for memory in written:
            memory.write(devices.get_current_stream())
        return 0


def keeps(m: int, n: int, batch: int, address: int, ld: int, stride: int) -> bool:
    """Whether an epilogue can write what its activation is given: leading dimension and stride are multiples of 8, large enough for D's elements."""
    return bool(address) and ld >= m and ld % 8 == 0 and (batch == 1 or (stride >= n * ld and stride % 8 == 0))


def lowest_bit(address: int) -> int:
    """How an address is aligned, up to 256 bytes."""
    return (address | 256) & -(address | 256)


def memory_at(address: int) -> devices.Memory:
    """The device's memory that an address lies in.

    Raises:
        CUDARuntimeError: there is none.
    """
    for memory in devices.memories:
        if memory.bytes is not None and 0 <= address - memory.bytes.__array_interface__["data"][0] < memory.bytes.nbytes:
            return memory
    raise tally.CUDARuntimeError(f"cudaErrorIllegalAddress: {address:#x} is not on the device")
