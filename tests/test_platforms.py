"""That the kernels' C compiles for systems that are not at hand, with a compiler for all of them: `pip install ziglang`."""
import subprocess
import sys
from pathlib import Path
from runpy import run_path

import pytest

pytest.importorskip("ziglang")
COMPILED = Path(__file__).parents[1] / "tinygrad_ed" / "backend" / "kernels" / "compiled"


@pytest.mark.parametrize("target", ["aarch64-macos", "x86_64-macos", "x86_64-windows-gnu", "aarch64-linux-gnu", "x86_64-linux-musl"])
def test_the_kernels_compile(target, tmp_path):
    sources = [*run_path(str(COMPILED / "build.py"))["write_sources"](tmp_path / "kernels"), *(str(COMPILED / "c" / name) for name in ("heap.c", "threads.c"))]
    assert len(sources) > 20
    for source in sources:                            # the files that do not need Python's headers, which every system has its own of
        command = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-std=gnu11", "-O2", "-fopenmp-simd", "-Werror",
                   "-Wno-pass-failed", "-Wno-unknown-pragmas", "-Wno-unused-function", f"-I{COMPILED / 'c'}", f"-I{tmp_path / 'kernels'}",
                   "-c", source, "-o", str(tmp_path / "object.o")]
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0, f"{Path(source).name} for {target}:\n{run.stderr}"
