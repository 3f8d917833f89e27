"""CUDA kernels on the CPU: the source that NVRTC compiles for a device, compiled by g++ behind `cuda.h` and run thread by thread.

    kernel = hostcuda.Kernel(source, "softmax")
    kernel((2,), (32, 4), (x, y, np.int64(5), np.int64(100), np.int64(1)))

The dtypes of the arguments are held against the kernel's parameters. A seed decides in which order threads run; a launch takes the next seed of `seeds`.
Libraries are kept in the folder for temporary files. With HOSTCUDA_SANITIZE=1 they are compiled with AddressSanitizer, and Python has to be started with
LD_PRELOAD="$(g++ -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0.
"""
from __future__ import annotations

import ctypes
import hashlib
import itertools
import os
import re
import shutil
import subprocess
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any, Iterator

import numpy as np

__all__ = ["Kernel", "compiler", "kernel_names", "seeds"]

HEADER = Path(__file__).with_name("cuda.h")
FLAGS = ["-std=c++17", "-O1", "-fPIC", "-shared", "-ffp-contract=off", "-fno-strict-aliasing", "-w", "-include", str(HEADER)]
SANITIZE = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fsanitize-sections=cuda_shared"]
GLUE = """
extern "C" const char *run_{0}(void **p, const unsigned *grid, const unsigned *block, unsigned long long seed) {{
    return host::run([](void **p) {{ host::call(&{0}, p); }}, p, grid, block, seed);
}}
extern "C" void describe_{0}(char *out) {{ host::describe(&{0}, out); }}
"""

seeds: Iterator[int] = itertools.count()              # of the launches to come; tests put others in its place
_lock = threading.RLock()                             # a library runs one kernel at a time


@cache
def compiler() -> str | None:
    """The C++ compiler; None where there is none."""
    return next(filter(None, map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "c++", "clang++")))), None)


def kernel_names(source: str) -> list[str]:
    """The names of a source's kernels."""
    return re.findall(r'^(?:extern "C" __global__|KERNEL) void (?:__launch_bounds__\([\w, ]+\) )?(\w+)\(', source, re.MULTILINE)


@cache
def _library(source: str) -> Any:
    """A source compiled and loaded.

    Raises:
        RuntimeError: there is no compiler, or it refuses the source.
    """
    chosen = compiler()
    if chosen is None:
        raise RuntimeError("to run CUDA kernels on the CPU takes a C++ compiler: install g++")
    command = [chosen, *FLAGS, *(SANITIZE if os.environ.get("HOSTCUDA_SANITIZE") else [])]
    text = source + "".join(map(GLUE.format, kernel_names(source)))
    digest = hashlib.sha256("\0".join([*command, HEADER.read_text(), text]).encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir(), f"hostcuda-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    library = folder / f"{digest}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as work:
            written, built = Path(work, "kernels.cpp"), Path(work, "kernels.so")
            written.write_text(text, encoding="utf-8")
            done = subprocess.run([*command, str(written), "-o", str(built)], capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"the kernels do not compile:\n{done.stderr[:4000]}")
            os.replace(built, library)
    return ctypes.CDLL(str(library))


class Kernel:
    """A kernel of a source.

    Args:
        source: CUDA C++ with `extern "C" __global__ void name(...)`.
        name: which kernel.
    """

    def __init__(self, source: str, name: str):
        library = _library(source)
        if name not in kernel_names(source):
            raise RuntimeError(f"there is no kernel {name} among {', '.join(kernel_names(source))}")
        self.name, self._run = name, getattr(library, f"run_{name}")
        self._run.restype = ctypes.c_char_p
        out = ctypes.create_string_buffer(1024)
        getattr(library, f"describe_{name}")(out)
        self.parameters = out.value.decode().split()

    def __call__(self, grid: tuple, block: tuple, args: tuple) -> None:
        """Run it on NumPy's arrays and numbers, `np.uint64(0)` for a null pointer.

        Raises:
            TypeError: an argument that the kernel would read as something else.
            RuntimeError: what a device does not do, or does wrong.
        """
        if len(args) != len(self.parameters):
            raise TypeError(f"{self.name} takes {len(self.parameters)} arguments, {' '.join(self.parameters)}, got {len(args)}")
        grid, block = (*grid, 1, 1)[:3], (*block, 1, 1)[:3]
        if not (0 < np.prod(block) <= 1024 and 0 < grid[0] < 2**31 and 0 < min(grid[1:]) and max(grid[1:]) < 2**16 and min(block) > 0 and block[2] <= 64):
            raise RuntimeError(f"{self.name}: no device launches a grid of {grid} blocks of {block} threads")
        values = [self._value(i, kind, x) for i, (kind, x) in enumerate(zip(self.parameters, args))]
        pointers = (ctypes.c_void_p * len(values))(*[v.ctypes.data for v in values])
        with _lock:
            fault = self._run(pointers, (ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(*block), ctypes.c_ulonglong(next(seeds)))
        if fault:
            raise RuntimeError(f"{self.name}: {fault.decode()}")

    def _value(self, i: int, parameter: str, x: Any) -> np.ndarray:
        """An argument's bytes: a number's, or an array's address."""
        role, kind, size = parameter[0], parameter[1], int(parameter[2:])
        if isinstance(x, np.ndarray) and role != "n":
            same = (x.dtype.kind, x.itemsize) == (kind, size) or (kind == "V" and x.itemsize == size and x.dtype.kind in "fV") or (
                kind == "u" and size == 1 and x.dtype == bool)
            if same and x.flags.c_contiguous:
                return np.array([x.ctypes.data], np.uint64)
        elif isinstance(x, np.generic) and role != "n" and x.dtype == np.uint64 and x == 0:
            return np.zeros(1, np.uint64)
        elif isinstance(x, np.generic) and role == "n" and (x.dtype.kind, x.itemsize) == (kind, size):
            return np.asarray([x])
        raise TypeError(f"{self.name}: its parameter {i + 1} is {parameter}, got {type(x).__name__} of {getattr(x, 'dtype', None)}")

    def written(self, args: tuple) -> list:
        """Those of the arguments that the kernel writes to."""
        return [x for parameter, x in zip(self.parameters, args) if parameter[0] == "w"]
