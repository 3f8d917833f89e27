"""The stand-in for the `cupy` module and those beside it: a function for every one that the real CuPy has and NumPy or SciPy too."""
from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any, Callable, Iterator

import hostcuda
import numpy as np
import pytest
import scipy.linalg
import scipy.special

from . import cudnn, devices, tally
from .arrays import WAITING, _arrays, compute, empty, fresh, host, ndarray, ufunc
from .blas import CublasLt
from .table import TABLE, check_arguments, facts

SCATTERING = {"add": "iIlLqQefd", "subtract": "iI", "maximum": "iIlLqQfd", "minimum": "iIlLqQfd"}       # dtypes of ufunc.at
REDUCING = {("add", "reduce"), ("add", "accumulate"), ("add", "reduceat"), ("multiply", "reduce"), ("multiply", "accumulate")}


class Ufunc:
    """A ufunc of CuPy."""

    def __init__(self, section: str, name: str, function: Any):
        self.__name__, self._section, self._function, self.types = name, section, function, facts(section, name)["types"]
        self.nin, self.nout = getattr(function, "nin", 1), getattr(function, "nout", 1)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return ufunc(self._section, self.__name__, self._function, args, kwargs)

    def at(self, a: ndarray, indices: Any, b: Any = None) -> None:
        """a[indices] = f(a[indices], b), also where indices are equal."""
        if not isinstance(a, ndarray) or a.dtype.char not in SCATTERING.get(self.__name__, ""):
            raise TypeError(f"cupy.{self.__name__}.at does not support {getattr(a, 'dtype', type(a))}")
        again = partial(self._function.at, a._read("at"), a._index(indices, True), host(b, "at"))
        tally.launched(again, list(_arrays((a, indices, b))), [a])
        again()
        a._wrote()

    def __getattr__(self, name: str) -> Any:
        if (self.__name__, name) not in REDUCING:
            raise NotImplementedError(f"`cupy_{self.__name__}.{name}` is not supported yet")
        return lambda *args, **kwargs: compute(getattr(self._function, name), self.__name__, args, kwargs)


def _function(section: str, name: str, function: Callable) -> Callable:
    """A function of NumPy or SciPy, which takes the arguments of CuPy's."""
    def call(*args: Any, **kwargs: Any) -> Any:
        check_arguments(section, name, kwargs)
        if name in WAITING:
            tally.waited(f"{name}()")
        return compute(partial(_solving, function) if "linalg" in section else function, name, args, kwargs)
    return call


def _solving(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """What has no solution is NaN on the device, unless `cupyx.errstate(linalg="raise")` lets it wait and look."""
    try:
        return function(*args, **kwargs)
    except np.linalg.LinAlgError as error:
        if _errors[-1] == "raise":
            tally.waited(f"{function.__name__}() with errors")
            raise
        if "ingular" not in str(error) and "positive" not in str(error):
            raise
        return np.full_like(args[0], np.nan)


_errors = ["ignore"]


@contextmanager
def errstate(*, linalg: str | None = None, **others: Any) -> Iterator[None]:
    """`cupyx.errstate`."""
    _errors.append(linalg or _errors[-1])
    try:
        yield
    finally:
        _errors.pop()


# -- functions that differ from NumPy's -----------------------------------------------------------------------------------

def array(obj: Any, dtype: Any = None, copy: Any = True, order: str = "K", subok: bool = False, ndmin: int = 0, *, blocking: bool = False) -> ndarray:
    """A copy on the device."""
    if isinstance(obj, ndarray):
        same = dtype is None or obj.dtype == dtype
        return obj if same and copy is not True else obj.copy() if same else obj.astype(dtype)
    if isinstance(obj, (list, tuple)) and any(_arrays(obj)):
        return compute(np.array, "array", (obj, dtype), {})
    devices.alloc_pinned_memory(1)                    # which the copy goes through
    tally.copied("array() of the host's values")
    if blocking:
        tally.waited("array(blocking=True)")
    return fresh(np.array(obj, dtype, ndmin=ndmin))


def asarray(a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False) -> ndarray:
    """On the device."""
    return array(a, dtype, copy=copy, blocking=blocking)


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    """Row-major on the device."""
    a = asarray(a, dtype)
    return a if a.flags.c_contiguous else a.copy("C")


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> np.ndarray:
    """On the host."""
    return a.get(stream, order, out, blocking) if isinstance(a, ndarray) else np.asarray(a)


def empty_like(prototype: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None) -> ndarray:
    """Uninitialised memory."""
    return empty(prototype.shape if shape is None else shape, dtype or prototype.dtype)


def copyto(dst: ndarray, src: Any, casting: str = "same_kind", where: Any = None) -> None:
    """Write into dst."""
    again = partial(np.copyto, dst._read("copyto"), host(src, "copyto"), casting, where=True if where is None else host(where, "copyto"))
    tally.launched(again, list(_arrays((src, where))), [dst])
    again()
    dst._wrote()


def may_share_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    """Whether two arrays overlap, by their bounds."""
    return isinstance(a, ndarray) and isinstance(b, ndarray) and np.may_share_memory(a._host, b._host)


def shares_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    """Whether two arrays overlap."""
    tally.waited("shares_memory()")
    return isinstance(a, ndarray) and isinstance(b, ndarray) and np.shares_memory(a._host, b._host)


def result_type(*operands: Any) -> np.dtype:
    """The dtype in which operands combine."""
    return np.result_type(*[x.dtype if isinstance(x, ndarray) else x for x in operands])


def repeat(a: Any, repeats: Any, axis: Any = None) -> ndarray:
    """Each element several times."""
    if isinstance(repeats, ndarray):
        raise ValueError("cupy.repeat takes no repeats on the device")
    return compute(np.repeat, "repeat", (a, repeats, axis), {})


def get_array_module(*args: Any) -> Any:
    """The stand-in or NumPy."""
    return modules["cupy"] if any(_arrays(args)) else np


class RawKernel:
    """A kernel in CUDA C++, run on the CPU by `hostcuda`. Where there is no C++ compiler, a test that needs one is skipped."""

    def __init__(self, code: str, name: str, options: tuple = (), backend: str = "nvrtc", **others: Any):
        self.code, self.name, self._kernel = code, name, None

    def __call__(self, grid: tuple, block: tuple, args: tuple, *, shared_mem: int = 0) -> None:
        for x in args:
            if not isinstance(x, (ndarray, np.generic)):
                raise TypeError(f"{self.name}: pass numbers as NumPy's, which say how wide they are; got {type(x).__name__}")
        if self._kernel is None:
            if hostcuda.compiler() is None:
                pytest.skip("kernels in CUDA C++ run on the CPU only where there is a C++ compiler: install g++")
            self._kernel = hostcuda.Kernel(self.code, self.name)
        again = partial(self._kernel, grid, block, host(args, self.name))
        written = list(_arrays(self._kernel.written(args)))
        tally.launched(again, list(_arrays(args)), written)
        again()
        for array in written:
            array._wrote()


OWN = {f.__name__: f for f in (RawKernel, array, asarray, ascontiguousarray, asnumpy, copyto, empty, empty_like, get_array_module,
                               may_share_memory, ndarray, repeat, result_type, shares_memory)}
OWN |= {"get_default_memory_pool": devices.get_default_memory_pool,
        "get_default_pinned_memory_pool": devices.get_default_pinned_memory_pool, "__version__": TABLE["version"]}       # type: ignore[dict-item]


class Section(ModuleType):
    """One of the modules."""

    def __init__(self, name: str, source: Any, own: dict):
        super().__init__(name)
        self.__dict__.update(own, _source=source, __path__=[])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        known, found = facts(self.__name__, name), getattr(self._source, name, None)
        if found is None:
            raise NotImplementedError(f"CuPy has {self.__name__}.{name}, the stand-in does not")
        if "types" in known:
            found = Ufunc(self.__name__, name, found)
        elif callable(found) and not isinstance(found, type):
            found = _function(self.__name__, name, found)
        setattr(self, name, found)
        return found


def _modules() -> dict[str, ModuleType]:
    made = {name: Section(name, source, own) for name, source, own in (
        ("cupy.cuda", SimpleNamespace(), devices.NAMES), ("cupy.linalg", np.linalg, {}),
        ("cupy.lib.stride_tricks", np.lib.stride_tricks, {}), ("cupyx.scipy.special", scipy.special, {}),
        ("cupyx.scipy.linalg", scipy.linalg, {}))}
    made["cupy.lib"] = Section("cupy.lib", None, {"stride_tricks": made["cupy.lib.stride_tricks"]})
    made["cupyx.scipy"] = Section("cupyx.scipy", None, {"special": made["cupyx.scipy.special"], "linalg": made["cupyx.scipy.linalg"]})
    made["cupyx"] = Section("cupyx", None, {"scipy": made["cupyx.scipy"], "errstate": errstate})
    made["cupy"] = Section("cupy", np, {**OWN, "cuda": made["cupy.cuda"], "linalg": made["cupy.linalg"], "lib": made["cupy.lib"]})
    for name in ("cupy_backends", "cupy_backends.cuda", "cupy_backends.cuda.libs", "cupy_backends.cuda.libs.nvrtc", "cupy.cublas"):
        made[name] = Section(name, None, {"getVersion": lambda: (12, 9)})
    return made                                       # type: ignore[return-value]


modules = _modules()


@contextmanager
def installed(with_cudnn: bool = False) -> Iterator[ModuleType]:
    """A block in which `import cupy` finds the stand-in, and a CUDA device is there; also `import cudnn`, where that is wanted."""
    from tinygrad_ed import backend
    from tinygrad_ed.backend import cuda as ours
    from tinygrad_ed.backend.kernels.cuda import cublaslt
    from tinygrad_ed.backend.kernels.cuda import cudnn as ours_too
    load, cublaslt.load = cublaslt.load, CublasLt
    cublaslt.forget()
    standing_in = {**modules, "cudnn": cudnn.module() if with_cudnn else None}
    before = {name: sys.modules[name] for name in standing_in if name in sys.modules}
    sys.modules.update(standing_in)                   # type: ignore[arg-type]  (None: there is no such module)
    ours.forget()
    ours_too.forget()
    try:
        yield modules["cupy"]
    finally:
        for name in standing_in:
            sys.modules.pop(name, None)
        sys.modules.update(before)
        backend.unregister(ndarray)
        ours.forget()
        cublaslt.load = load
        cublaslt.forget()
        ours_too.forget()
        devices.set_allocator()
        devices.set_pinned_memory_allocator()
