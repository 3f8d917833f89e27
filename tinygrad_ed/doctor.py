"""What is installed here, what is missing, and the command that gets it: `python -m tinygrad_ed.doctor`, or with `--json` for programs."""
from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from pathlib import Path
from typing import Callable, NamedTuple, Sequence

__all__ = ["Missing", "examine", "main"]


class Missing(NamedTuple):
    """Something that is not there.

    Attributes:
        what: its name.
        why: what is known about it.
        fix: the command that gets it, or what else to do.
    """

    what: str
    why: str
    fix: str


def examine() -> tuple[dict[str, str], list[Missing]]:
    """Look at everything; never raises, whatever is broken.

    Returns:
        What was found, under a name for each; and what is missing.

    Example:
        >>> found, missing = examine()
        >>> "Python" in found and "CuPy" in found
        True
    """
    found: dict[str, str] = {}
    missing: list[Missing] = []
    for name, look in _LOOKS.items():
        try:
            found[name] = look(missing)
        except Exception as error:                    # a broken installation can raise anything
            found[name] = f"broken: {type(error).__name__}: {error}"
            missing.append(Missing(name, found[name], "pip install --force-reinstall tinygrad_ed"))
    return found, missing


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what `examine` found.

    Args:
        arguments: those of the command line; `["--json"]` prints JSON.

    Returns:
        0, also where something is missing.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    found, missing = examine()
    if "--json" in arguments:
        print(json.dumps({"found": found, "missing": [m._asdict() for m in missing]}, indent=2))
        return 0
    width = max(map(len, found)) + 2
    for name, text in found.items():
        print(f"{name:<{width}}{text}")
    print("\nnothing is missing" if not missing else "\nmissing:")
    for m in missing:
        print(f"  {m.what}: {m.why}\n      {m.fix}")
    return 0


# -- one look each -----------------------------------------------------------------------------------------------------

def _python(missing: list[Missing]) -> str:
    return f"{platform.python_version()} ({platform.python_implementation()}), {platform.system()} {platform.machine()}, {sys.executable}"


def _package(missing: list[Missing]) -> str:
    from . import __file__, __version__
    return f"{__version__}, {os.path.dirname(__file__)}"


def _numpy(missing: list[Missing]) -> str:
    import numpy as np
    import scipy
    return f"{np.__version__}, SciPy {scipy.__version__}"


def _blas(missing: list[Missing]) -> str:
    from .backend import blas
    return blas.describe()


def _threads(missing: list[Missing]) -> str:
    from . import backends
    limits = ", ".join(f"{name}={os.environ[name]}" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ)
    return f"{backends.get_num_threads()} of {os.cpu_count()} processors" + (f" ({limits})" if limits else "")


def _engine(missing: list[Missing]) -> str:
    from . import backends
    if "compiled" not in backends.engines():
        package = Path(__file__).parent
        checkout = (package.parent / "setup.py").exists()      # this runs from the sources, wherever else the package is installed
        build = "python setup.py build_ext --inplace" if checkout else "pip install --force-reinstall --no-deps --no-cache-dir tinygrad_ed"
        missing.append(Missing("compiled CPU kernels", f"they were not built in {package}, so NumPy computes everything",
                               f"{build}, which needs a C compiler (apt install gcc, xcode-select --install)"))
    return f"{backends.active_engine()} of {', '.join(backends.engines())}"


def _driver_version() -> int:
    """The version of CUDA that the NVIDIA driver supports, 12040 for 12.4; 0 where there is no driver."""
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            version = ctypes.c_int()
            ctypes.CDLL(name).cuDriverGetVersion(ctypes.byref(version))
            return version.value
        except (OSError, AttributeError):
            continue
    return 0


def _driver(missing: list[Missing]) -> str:
    version = _driver_version()
    if not version:
        return "none: no NVIDIA device can be used"
    if version < 12000:
        missing.append(Missing("NVIDIA driver", f"it supports CUDA {_dotted(version)}, CuPy 14 needs 12 or newer", "update it: nvidia.com/drivers"))
    return f"supports CUDA {_dotted(version)}"


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def _extra() -> str:
    return f'pip install "tinygrad_ed[cuda{13 if _driver_version() >= 13000 else 12}]"'


def _cupy(missing: list[Missing]) -> str:
    try:
        import cupy
    except ImportError as error:
        if _driver_version():                         # without a driver nobody misses it
            missing.append(Missing("CuPy", str(error), _extra()))
        return "not installed"
    installed = [d for name in ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x") if (d := _version(name))]
    if len(installed) > 1:
        missing.append(Missing("CuPy", "several are installed, and they overwrite each other",
                               f"pip uninstall cupy cupy-cuda11x cupy-cuda12x cupy-cuda13x; {_extra()}"))
    return f"{cupy.__version__}, made for CUDA {_dotted(cupy.cuda.runtime.runtimeGetVersion())}"


def _bfloat16(missing: list[Missing]) -> str:
    version = _version("ml_dtypes")
    return f"ml_dtypes {version}" if version else 'not installed, for who wants bfloat16 or autocast("cpu"): pip install "tinygrad_ed[bfloat16]"'


def _devices(missing: list[Missing]) -> str:
    from . import cuda
    reason = cuda.why_not()
    if reason is not None:
        if _driver_version() and _importable("cupy"):
            missing.append(Missing("CUDA devices", reason, _extra()))
        return f"none: {reason}"
    described = []
    for i in range(cuda.device_count()):
        p = cuda.get_device_properties(i)
        described.append(f"cuda:{i} {p.name}, {p.total_memory / 2**30:.1f} GiB, compute capability {p.major}.{p.minor}, "
                         f"{p.multi_processor_count} multiprocessors")
    return "; ".join(described)


def _importable(name: str) -> bool:
    return name in sys.modules or importlib.util.find_spec(name) is not None


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _through_cupy(library: str) -> Callable[[list[Missing]], str]:
    def look(missing: list[Missing]) -> str:
        from .backend import cuda
        return _library(library, lambda: cuda.missing(library), missing)
    return look


def _library(name: str, why_missing: Callable[[], str | None], missing: list[Missing]) -> str:
    if not _importable("cupy"):
        return "comes with CuPy"
    reason = why_missing()
    if reason is not None:
        missing.append(Missing(name, reason, _extra()))
    return "found" if reason is None else f"missing: {reason}"


def _loaded(library: str) -> str | None:
    """Why a library of CUDA's cannot be loaded; None where it can."""
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib  # comes with CuPy
        load_nvidia_dynamic_lib(library)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    return None


def _cublas_lt(missing: list[Missing]) -> str:
    return _library("cublasLt", lambda: _loaded("cublasLt"), missing)


def _cudnn(missing: list[Missing]) -> str:
    version = _version("nvidia-cudnn-frontend")
    reason = _loaded("cudnn") if version else "not installed"
    if reason is not None and _driver_version():
        missing.append(Missing("cuDNN and its frontend", f"{reason}; without them convolutions take another way",
                               f'pip install "nvidia-cudnn-frontend<1.29" nvidia-cudnn-cu{13 if _driver_version() >= 13000 else 12}'))
    return (f"frontend {version}, " if version else "") + ("found" if reason is None else reason)


_LOOKS: dict[str, Callable[[list[Missing]], str]] = {
    "Python": _python, "tinygrad_ed": _package, "NumPy": _numpy, "BLAS": _blas, "threads": _threads, "CPU engine": _engine, "bfloat16": _bfloat16,
    "NVIDIA driver": _driver, "CuPy": _cupy, "CUDA devices": _devices, "NVRTC": _through_cupy("nvrtc"), "cuBLAS": _through_cupy("cublas"),
    "cuBLASLt": _cublas_lt, "cuDNN": _cudnn}

if __name__ == "__main__":
    sys.exit(main())
