"""cuBLASLt through ctypes: runs a `Gemm` on device memory, with the stream and the workspace given in the call itself.

CuPy's own products do not do: they copy transposed stacks, add float16 up in float16, and refuse to run while a stream is captured into a
graph. The library is the one that CuPy loads. What a product needs (descriptors, and the algorithm that the library's heuristic picks for
them) is made at its first use and kept; the addresses of a bias and of what an activation is given are the only things in it that change from call
to call, so every thread keeps its own.
https://docs.nvidia.com/cuda/cublas/#using-the-cublaslt-api
"""
from __future__ import annotations

import ctypes
import threading
from ctypes import addressof, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p, sizeof
from functools import cache
from typing import Any

from ... import capture, cuda
from .gemm import Gemm

__all__ = ["library", "run"]

# Values of the enumerations in cublasLt.h, cublas_api.h and library_types.h.
DTYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}
COMPUTE = {"32F": 68, "64F": 70, "32F_FAST_TF32": 77}
EPILOGUES = {"DEFAULT": 1, "RELU": 2, "BIAS": 4, "RELU_BIAS": 6, "GELU": 32, "GELU_BIAS": 36, "GELU_AUX": 160, "GELU_AUX_BIAS": 164}
DESCRIPTION = {"TRANSA": 3, "TRANSB": 4, "EPILOGUE": 7, "BIAS_POINTER": 8, "AUX_POINTER": 11, "AUX_LD": 12, "AUX_BATCH_STRIDE": 13}
LAYOUT = {"BATCH_COUNT": 5, "STRIDED_BATCH_OFFSET": 6}
PREFERENCE = {"MAX_WORKSPACE_BYTES": 1, "MIN_ALIGNMENT_A_BYTES": 5, "MIN_ALIGNMENT_B_BYTES": 6, "MIN_ALIGNMENT_C_BYTES": 7,
              "MIN_ALIGNMENT_D_BYTES": 8}
NOT_SUPPORTED = 15
STATUS = {1: "NOT_INITIALIZED", 3: "ALLOC_FAILED", 7: "INVALID_VALUE", 8: "ARCH_MISMATCH", 11: "MAPPING_ERROR", 13: "EXECUTION_FAILED",
          14: "INTERNAL_ERROR", NOT_SUPPORTED: "NOT_SUPPORTED", 16: "LICENSE_ERROR"}

WORKSPACE = 32 << 20                                  # bytes, what NVIDIA recommends for Hopper; older devices need less
_KEPT = 4096                                          # products that a thread keeps ready
_ALIGNED = 256                                        # bytes, the most that an algorithm asks for


class Heuristic(ctypes.Structure):
    """`cublasLtMatmulHeuristicResult_t`."""

    _fields_ = [("algorithm", c_uint64 * 8), ("workspace", c_size_t), ("state", c_int), ("waves", c_float), ("reserved", c_int * 4)]


_POINTERS = {"Create": 1, "Destroy": 1, "MatmulDescDestroy": 1, "MatrixLayoutDestroy": 1, "MatmulPreferenceCreate": 1, "MatmulPreferenceDestroy": 1}
_SIGNATURES = {
    **{name: [c_void_p] * n for name, n in _POINTERS.items()},
    "MatmulDescCreate": [c_void_p, c_int, c_int],
    "MatrixLayoutCreate": [c_void_p, c_int, c_uint64, c_uint64, c_int64],
    **{f"{name}SetAttribute": [c_void_p, c_int, c_void_p, c_size_t] for name in ("MatmulDesc", "MatrixLayout", "MatmulPreference")},
    **{f"{name}GetAttribute": [c_void_p, c_int, c_void_p, c_size_t, c_void_p] for name in ("MatmulDesc", "MatrixLayout", "MatmulPreference")},
    "MatmulAlgoGetHeuristic": [*[c_void_p] * 7, c_int, c_void_p, c_void_p],
    "Matmul": [*[c_void_p] * 14, c_size_t, c_void_p],
}


def load() -> Any:
    """The library, which needs no driver to be loaded."""
    from cuda.pathfinder import load_nvidia_dynamic_lib
    loaded = ctypes.CDLL(load_nvidia_dynamic_lib("cublasLt").abs_path)
    for name, arguments in _SIGNATURES.items():
        getattr(loaded, "cublasLt" + name).argtypes = arguments
    return loaded


@cache
def library() -> Any:
    """The library, with the types of its functions' arguments declared."""
    return load()


def _call(name: str, *arguments: Any) -> None:
    status = getattr(library(), name)(*arguments)
    if status:
        raise RuntimeError(f"{name} failed with CUBLAS_STATUS_{STATUS.get(status, status)}")


def _made(name: str, *arguments: Any) -> int:
    """What one of the library's functions creates."""
    made = c_void_p()
    _call(name, addressof(made), *arguments)
    return made.value or 0


def _set(kind: str, thing: int, attribute: int, value: Any) -> None:
    _call(f"cublasLt{kind}SetAttribute", thing, attribute, addressof(value), sizeof(value))


# -- descriptors -------------------------------------------------------------------------------------------------------

class Description:
    """A product's descriptors: of the operation, and of the matrices A, B and D. They need no device.

    Raises:
        RuntimeError: the library refuses them.
    """

    def __init__(self, gemm: Gemm):
        self.library, kind = library(), DTYPES[gemm.dtype]
        self.operation = _made("cublasLtMatmulDescCreate", COMPUTE[gemm.compute], DTYPES["float64" if gemm.dtype == "float64" else "float32"])
        for name, value in (("TRANSA", c_int32(gemm.transa)), ("TRANSB", c_int32(gemm.transb)), ("EPILOGUE", c_uint32(EPILOGUES[gemm.epilogue]))):
            _set("MatmulDesc", self.operation, DESCRIPTION[name], value)
        a, b = ((gemm.k, gemm.m) if gemm.transa else (gemm.m, gemm.k)), ((gemm.n, gemm.k) if gemm.transb else (gemm.k, gemm.n))
        self.a, self.b, self.d = (self._layout(kind, rows, columns, ld, gemm.batch, stride) for (rows, columns), ld, stride in (
            (a, gemm.lda, gemm.stridea), (b, gemm.ldb, gemm.strideb), ((gemm.m, gemm.n), gemm.ldd, gemm.strided)))
        self.has_bias, self.has_aux = gemm.epilogue.endswith("BIAS"), "AUX" in gemm.epilogue
        if self.has_aux:                              # it lies as D does
            _set("MatmulDesc", self.operation, DESCRIPTION["AUX_LD"], c_int64(gemm.ldd))
            _set("MatmulDesc", self.operation, DESCRIPTION["AUX_BATCH_STRIDE"], c_int64(gemm.strided))

    @staticmethod
    def _layout(kind: int, rows: int, columns: int, ld: int, batch: int, stride: int) -> int:
        layout = _made("cublasLtMatrixLayoutCreate", kind, rows, columns, ld)
        if batch > 1:
            _set("MatrixLayout", layout, LAYOUT["BATCH_COUNT"], c_int32(batch))
            _set("MatrixLayout", layout, LAYOUT["STRIDED_BATCH_OFFSET"], c_int64(stride))
        return layout

    def __del__(self) -> None:
        for name, things in (("MatmulDesc", ("operation",)), ("MatrixLayout", ("a", "b", "d"))):
            for thing in things:
                if thing in self.__dict__:
                    getattr(self.library, f"cublasLt{name}Destroy")(self.__dict__[thing])

    def point(self, bias: int, aux: int) -> None:
        """Tell where the bias lies, and where what the activation is given is kept; an address that the epilogue does not use is left out."""
        if self.has_bias:
            _set("MatmulDesc", self.operation, DESCRIPTION["BIAS_POINTER"], c_void_p(bias))
        if self.has_aux:
            _set("MatmulDesc", self.operation, DESCRIPTION["AUX_POINTER"], c_void_p(aux))


class _Prepared(Description):
    """A product's descriptors and its algorithm on the current device; no algorithm where the library has none."""

    def __init__(self, handle: int, gemm: Gemm, alignment: int):
        super().__init__(gemm)
        self.point(alignment, alignment)              # the heuristic reads from the addresses only how they are aligned
        preference = _made("cublasLtMatmulPreferenceCreate")
        _set("MatmulPreference", preference, PREFERENCE["MAX_WORKSPACE_BYTES"], c_uint64(WORKSPACE))
        for matrix in "ABCD":
            _set("MatmulPreference", preference, PREFERENCE[f"MIN_ALIGNMENT_{matrix}_BYTES"], c_uint32(alignment))
        self.found, count = Heuristic(), c_int()
        status = library().cublasLtMatmulAlgoGetHeuristic(handle, self.operation, self.a, self.b, self.d, self.d, preference, 1,
                                                          addressof(self.found), addressof(count))
        _call("cublasLtMatmulPreferenceDestroy", preference)
        if status not in (0, NOT_SUPPORTED):
            raise RuntimeError(f"cublasLtMatmulAlgoGetHeuristic failed with CUBLAS_STATUS_{STATUS.get(status, status)} for {gemm}")
        self.algorithm = addressof(self.found) if status == 0 and count.value and self.found.state == 0 else None


# -- running -----------------------------------------------------------------------------------------------------------

class _Thread(threading.local):
    """What a thread keeps: products that are ready to run, by device, alignment and Gemm."""

    def __init__(self) -> None:
        self.prepared: dict[Any, _Prepared] = {}


_thread = _Thread()
_NUMBERS = {dtype: ((c_double if dtype == "float64" else c_float) * 2)(0, 1) for dtype in DTYPES}        # read from the host's memory
_handles: dict[int, int] = {}                         # by device
_workspaces: dict[tuple[int, int], Any] = {}          # by device and stream; kept for good, as captured graphs go on using them
_making = threading.Lock()


def forget() -> None:
    """Load the library and prepare products anew."""
    library.cache_clear()
    _thread.prepared.clear()
    _handles.clear()
    _workspaces.clear()


def _handle(device: int) -> int:
    with _making:
        if device not in _handles:
            _handles[device] = _made("cublasLtCreate")
        return _handles[device]


def _workspace(device: int, stream: int) -> int:
    found = _workspaces.get((device, stream))
    if found is None:
        cupy = cuda.module()                          # not memory of a graph, which would have to be kept with it
        allocate = cupy.get_default_memory_pool().malloc if capture.active() is None else cupy.cuda.alloc
        with _making:
            found = _workspaces.setdefault((device, stream), allocate(WORKSPACE))
    return found.ptr


def run(gemm: Gemm, a: int, b: int, d: int, bias: int = 0, aux: int = 0) -> bool:
    """Queue a product on the current stream of the current device.

    Args:
        gemm: the product.
        a, b, d, bias: addresses of its operands on the device.
        aux: address of memory as large as D, where an epilogue with AUX writes what its activation is given.

    Returns:
        Whether the library has an algorithm for it; if not, nothing has happened.

    Raises:
        RuntimeError: the library failed.
    """
    cupy = cuda.module()
    device, stream = cupy.cuda.runtime.getDevice(), cupy.cuda.get_current_stream().ptr
    addresses = a | b | d | bias | aux | _ALIGNED     # the lowest bit that any of them has is what all are aligned to
    key = device, addresses & -addresses, gemm
    prepared = _thread.prepared.get(key)
    if prepared is None:
        if len(_thread.prepared) >= _KEPT:
            _thread.prepared.clear()
        prepared = _thread.prepared[key] = _Prepared(_handle(device), gemm, addresses & -addresses)
    if prepared.algorithm is None:
        return False
    prepared.point(bias, aux)
    zero = addressof(_NUMBERS[gemm.dtype])
    one = zero + sizeof(_NUMBERS[gemm.dtype]) // 2
    _call("cublasLtMatmul", _handles[device], prepared.operation, one, a, prepared.a, b, prepared.b, one if gemm.beta else zero, d, prepared.d,
          d, prepared.d, prepared.algorithm, _workspace(device, stream), WORKSPACE, stream)
    return True
