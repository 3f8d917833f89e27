"""Every CUDA kernel compiles for the architectures in use, and keeps what it computes with in registers."""
import re

import hostcuda
import nvrtc
import pytest

from tinygrad_ed.backend import philox
from tinygrad_ed.backend.kernels.cuda.attention import WIDTHS
from tinygrad_ed.backend.kernels.cuda.launch import FAMILIES, OPTIONS, TYPES, source

pytestmark = pytest.mark.skipif(nvrtc.library() is None, reason='NVRTC is not installed: pip install "tinygrad_ed[gpu-check]"')

ARCHITECTURES = (75, 80, 90, 100)        # Turing, Ampere, Hopper, Blackwell
COMPILED = [*(f for f in FAMILIES if f != "attention"), *(f"attention WIDTH={w}{cores}" for w in WIDTHS for cores in ("", " TENSOR_CORES"))]
MEMORY = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("family", COMPILED)
def test_compiles_without_spills(family, dtype, architecture):
    if "TENSOR_CORES" in family and (architecture < 80 or "16" not in dtype):
        pytest.skip("they multiply types of 16 bits, since compute capability 8.0")
    text = source(family, dtype)
    log = nvrtc.compile_for(text, architecture, *OPTIONS)
    kernels, memory = re.findall(r"Compiling entry function '(\w+)'", log), MEMORY.findall(log)
    assert set(kernels) == set(hostcuda.kernel_names(text)) and len(memory) >= len(kernels)
    assert set(memory) == {("0", "0", "0")}, log


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_random_words_compile_without_spills(architecture):
    assert set(MEMORY.findall(nvrtc.compile_for(philox.SOURCE, architecture, *OPTIONS))) == {("0", "0", "0")}


def test_a_spill_is_seen():
    text = 'extern "C" __global__ void k(volatile float *y) { float a[64]; for (float &v : a) v = *y; for (float v : a) *y = v; }'
    stack, stores, loads = MEMORY.findall(nvrtc.compile_for(text, 90, *OPTIONS, "--maxrregcount=24"))[0]
    assert int(stack) >= 64 and int(stores) and int(loads)


def test_what_does_not_compile_says_why():
    with pytest.raises(RuntimeError, match="nonsense"):
        nvrtc.compile_for('extern "C" __global__ void k(float *y) { nonsense; }', 90)
