"""NVIDIA's compiler for CUDA C++ from its wheel, which needs no device and no driver: `pip install "tinygrad_ed[gpu-check]"`."""
from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["compile_for", "library"]


@cache
def library() -> Any:
    """NVRTC, None where it is not installed."""
    found = importlib.util.find_spec("nvidia")
    places = found.submodule_search_locations or () if found else ()
    files = [file for place in places for file in Path(place).glob("*/lib/libnvrtc.so.*")]
    if not files:
        return None
    newest = max(files, key=lambda file: int(file.suffix[1:]))
    for builtins in newest.parent.glob("libnvrtc-builtins.so.*"):         # which it asks for by name
        ctypes.CDLL(str(builtins))
    return ctypes.CDLL(str(newest))


def compile_for(source: str, architecture: int, *options: str) -> str:
    """Compile a source for an architecture such as 90; returns what the assembler says of the kernels: registers, shared and local memory.

    Raises:
        RuntimeError: it does not compile; with the compiler's words.
    """
    nvrtc, program, size = library(), ctypes.c_void_p(), ctypes.c_size_t()
    given = [*options, f"--gpu-architecture=sm_{architecture}", "--ptxas-options=-v"]
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
    failed = nvrtc.nvrtcCompileProgram(program, len(given), (ctypes.c_char_p * len(given))(*[option.encode() for option in given]))
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    if failed:
        raise RuntimeError(log.value.decode())
    return log.value.decode()
