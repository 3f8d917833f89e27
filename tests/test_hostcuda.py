"""CUDA kernels on the CPU: what `hostcuda` computes, and what it finds wrong with a kernel."""
import itertools
import os
import subprocess
import sys
from pathlib import Path

import hostcuda
import numpy as np
import pytest

from tinygrad_ed.backend import philox
from tinygrad_ed.backend.kernels.cuda import launch

pytestmark = pytest.mark.skipif(hostcuda.compiler() is None, reason="kernels in CUDA C++ run on the CPU only where there is a C++ compiler: install g++")


def run(body, grid=(1,), block=(1,), args=(), parameters="float *y", seeds=range(4), before=""):
    """Run a kernel with this body for each seed, on fresh copies of the arrays; returns what the first array holds after each."""
    kernel, results = hostcuda.Kernel(f'{before}\nextern "C" __global__ void k({parameters}) {{ {body} }}', "k"), []
    for seed in seeds:
        copies = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hostcuda, "seeds", itertools.count(seed))
            kernel(grid, block, tuple(copies))
        results.append(copies[0])
    return results


def zeros(n, dtype="float32"):
    return np.zeros(n, dtype)


# -- what it computes ----------------------------------------------------------------------------------------------------

def test_every_thread_of_every_block_runs_once():
    body = ("unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x, threads = blockDim.x * blockDim.y * blockDim.z;"
            "atomicAdd(y + block * threads + (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x, 1.0f);")
    for y in run(body, (2, 3, 4), (5, 3, 2), (zeros(24 * 30),)):
        assert (y == 1).all()


@pytest.mark.parametrize("exchange, expected", [
    ("__shfl_xor_sync(~0u, v, 5)", np.arange(64) ^ 5), ("__shfl_down_sync(~0u, v, 3)", [t + 3 if t % 32 < 29 else t for t in range(64)]),
    ("__shfl_up_sync(~0u, v, 3)", [t - 3 if t % 32 > 2 else t for t in range(64)]), ("__shfl_sync(~0u, v, 7)", np.arange(64) // 32 * 32 + 7),
    ("__shfl_xor_sync(~0u, v, 1, 8)", np.arange(64) ^ 1), ("__shfl_down_sync(~0u, v, 6, 8)", [t + 6 if t % 8 < 2 else t for t in range(64)])])
def test_lanes_exchange(exchange, expected):
    for y in run(f"float v = threadIdx.x; for (int i = 0; i < 3; i++) y[threadIdx.x] = {exchange};", (1,), (64,), (zeros(64),)):
        np.testing.assert_array_equal(y, expected)


def test_half_precision_is_numpys():
    types = Path(launch.SOURCES, "common.cuh").read_text(encoding="utf-8")
    before = f"#define REAL half\n#define WIDE float\n{types}"
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    wide, = run("for (int i = 0; i < 65536; i++) y[i] = x[i];", args=(zeros(2**16), every), parameters="float *y, const half *x", seeds=[0], before=before)
    np.testing.assert_array_equal(wide, every.astype(np.float32))
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.integers(0, 2**32, 50_000, np.uint32).view(np.float32), rng.normal(0, 1e-6, 9999).astype("float32"), np.float32([65519, 65520, 1e-8, 0])])
    with np.errstate(over="ignore", invalid="ignore"):
        expected = x.astype(np.float16)
    narrow, = run("for (int i = 0; i < n; i++) y[i] = x[i];", args=(zeros(len(x), "float16"), x, np.int32(len(x))), parameters="half *y, const float *x, int n",
                  seeds=[0], before=before)
    np.testing.assert_array_equal(narrow, expected)


def test_bfloat16_is_ml_dtypes():
    dtype = pytest.importorskip("ml_dtypes").bfloat16
    types = Path(launch.SOURCES, "common.cuh").read_text(encoding="utf-8")
    x = np.random.default_rng(0).integers(0, 2**32, 50_000, np.uint32).view(np.float32)
    y, = run("for (int i = 0; i < n; i++) y[i] = bfloat16(x[i]);", args=(zeros(len(x), dtype), x, np.int32(len(x))), seeds=[0],
             parameters="bfloat16 *y, const float *x, int n", before=f"#define REAL bfloat16\n#define WIDE float\n{types}")
    np.testing.assert_array_equal(y.astype("float32"), x.astype(dtype).astype("float32"))


def test_philox_in_cuda_is_numpys():
    kernel = hostcuda.Kernel(philox.SOURCE, "philox_words")
    for seed, offset in ((0, 0), (7, 2**64 - 999), (2**64 - 1, 12)):
        words = zeros(400, "uint64")
        kernel((3,), (32,), (words, np.uint64(seed), np.uint64(offset), np.int64(100)))
        np.testing.assert_array_equal(words, philox.stream(seed, offset).random_raw(400))


@pytest.mark.parametrize("name, dtype", [("half", "float16"), ("bfloat16", "bfloat16")])
@pytest.mark.parametrize("transposed", [False, True])
def test_tensor_cores_multiply_what_lanes_load(name, dtype, transposed):
    """Blocks of 16×16 as ldmatrix loads them, a as the left factor and b, or its transpose, as two right ones of eight columns."""
    pytest.importorskip("ml_dtypes")
    a, b = np.random.default_rng(0).normal(size=(2, 16, 16)).astype(dtype)
    wide, start = [x.astype("float32") for x in (a, b if transposed else b.T)], np.arange(256, dtype="float32").reshape(16, 16)
    body = """unsigned l[4], r[4], lane = threadIdx.x;
ldmatrix_x4(l, a + lane % 16 * 16 + lane / 16 * 8);
{load}(r, b + lane % 16 * 16 + lane / 16 * 8);
for (int n = 0; n < 2; n++) {{
    float *first = y + lane / 4 * 16 + n * 8 + lane % 4 * 2, *second = first + 8 * 16;
    mma_m16n8k16({name}(), first[0], first[1], second[0], second[1], l, {pairs});
}}""".format(load="ldmatrix_x4_trans" if transposed else "ldmatrix_x4", name=name, pairs="r[2 * n], r[2 * n + 1]" if transposed else "r[n], r[n + 2]")
    before = f"#define REAL {name}\n#define WIDE float\n" + Path(launch.SOURCES, "common.cuh").read_text(encoding="utf-8")
    for y in run(body, (1,), (32,), (start, a, b), f"float *y, const {name} *a, const {name} *b", before=before):
        np.testing.assert_allclose(y, start + wide[0] @ wide[1], rtol=1e-5)


# -- what it finds -------------------------------------------------------------------------------------------------------

SUM = """__shared__ float part[64];
part[threadIdx.x] = y[threadIdx.x];
{first}
float s = 0;
for (unsigned i = 0; i < blockDim.x; i++) s += part[i];
{second}
part[threadIdx.x] = s;
{third}
y[threadIdx.x] = part[(threadIdx.x + 1) % blockDim.x];"""


@pytest.mark.parametrize("missing", [None, "first", "second", "third"])
def test_a_missing_barrier_is_seen(missing):
    barriers = {name: "" if name == missing else "__syncthreads();" for name in ("first", "second", "third")}
    results = run(SUM.format(**barriers), (1,), (64,), (np.arange(64, dtype="float32"),), seeds=range(8))
    right = [bool((y == 2016).all()) for y in results]
    assert all(right) if missing is None else not any(right[::2]) or not any(right[1::2]) or sum(right) < 4


def test_what_a_block_leaves_in_shared_memory_is_not_there_for_the_next():
    body = "__shared__ float s[2]; y[blockIdx.x] = s[0]; s[0] = 5;"
    for y in run(body, (4,), (1,), (zeros(4),)):
        assert np.isnan(y).all()


@pytest.mark.parametrize("wait, there", [("cp_async_wait_all();", True), ("", False)])
def test_a_copy_is_there_when_the_thread_has_waited(wait, there):
    body = f"__shared__ float s[32]; cp_async(s + threadIdx.x * 4, y + threadIdx.x * 4); {wait} __syncthreads(); y[31 - threadIdx.x] = s[threadIdx.x];"
    for y in run(body, (1,), (8,), (np.arange(32, dtype="float32"),)):
        np.testing.assert_array_equal(y[24:], range(8)[::-1] if there else [np.nan] * 8)


@pytest.mark.parametrize("body, words", [
    ("__shared__ float s[32]; cp_async(s, y + threadIdx.x % 32);", "multiple of 16"),
    ("unsigned x[4]; ldmatrix_x4(x, (const unsigned short *)y + threadIdx.x);", "multiple of 16"),
    ("if (threadIdx.x < 40) __syncthreads();", "a barrier that not all threads"),
    ("if (threadIdx.x % 2) return; __syncthreads();", "a barrier that not all threads"),
    ("if (threadIdx.x % 2) y[0] = __shfl_xor_sync(~0u, 1.0f, 2);", "not all lanes"),
    ("if (threadIdx.x < 32) y[0] = __shfl_xor_sync(0xffffu, 1.0f, 16);", "not in the mask"),
    ("y[0] = __shfl_xor_sync(threadIdx.x % 2 ? ~0u : 0x55555555u, 1.0f, 2);", "different masks|not in the mask|not all lanes")])
def test_threads_that_do_not_meet_are_an_error(body, words):
    for _ in range(2):                                # and the next launch is none the worse
        with pytest.raises(RuntimeError, match=words):
            run(body, (2,), (64,), (zeros(64),), seeds=[1])
        run("y[threadIdx.x] = 1;", (1,), (64,), (zeros(64),))


def test_lanes_that_the_block_does_not_have_are_an_error():
    with pytest.raises(RuntimeError, match="does not have"):
        run("y[0] = __shfl_xor_sync(~0u, 1.0f, 1);", (1,), (40,), (zeros(40),))


@pytest.mark.parametrize("arguments, words", [
    ((zeros(3, "float64"), np.int64(3)), "parameter 1 is wf4"), ((zeros(6)[::2], np.int64(3)), "parameter 1"), ((zeros(3), np.int32(3)), "parameter 2 is ni8"),
    ((zeros(3), np.float64(3)), "parameter 2"), ((zeros(3),), "takes 2 arguments"), ((np.uint64(1), np.int64(3)), "parameter 1"),
    ((zeros(3), zeros(3, "int64")), "parameter 2")])
def test_arguments_that_a_kernel_would_misread_are_refused(arguments, words):
    with pytest.raises(TypeError, match=words):
        hostcuda.Kernel('extern "C" __global__ void k(float *y, long long n) {}', "k")((1,), (1,), arguments)


@pytest.mark.parametrize("grid, block", [((0,), (32,)), ((1,), (1025,)), ((1,), (0,)), ((1, 65536), (1,)), ((1,), (1, 1, 65))])
def test_launches_that_no_device_makes_are_refused(grid, block):
    with pytest.raises(RuntimeError, match="no device launches"):
        run("", grid, block, (zeros(1),))


def test_source_that_does_not_compile_says_why():
    with pytest.raises(RuntimeError, match="do not compile(.|\n)*nonsense"):
        hostcuda.Kernel('extern "C" __global__ void k(float *y) { nonsense; }', "k")
    with pytest.raises(RuntimeError, match="no kernel other among k"):
        hostcuda.Kernel('extern "C" __global__ void k(float *y) {}', "other")


@pytest.mark.parametrize("limit, found", [("n", False), ("n + 1", True)])
def test_a_write_outside_is_seen_by_the_sanitizer(limit, found):
    library = subprocess.run([hostcuda.compiler(), "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    if not Path(library).is_absolute():
        pytest.skip("the compiler comes without AddressSanitizer")
    code = (f"import sys; sys.path[:0] = {sys.path!r}\nimport hostcuda, numpy as np\n"
            f"source = 'extern \"C\" __global__ void k(float *y, long long n) {{ for (long long i = threadIdx.x; i < {limit}; i += blockDim.x) y[i] = 1; }}'\n"
            "hostcuda.Kernel(source, 'k')((2,), (32,), (np.zeros(1000, 'float32'), np.int64(1000)))\nprint('fine')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env={
        **os.environ, "LD_PRELOAD": library, "ASAN_OPTIONS": "detect_leaks=0", "HOSTCUDA_SANITIZE": "1", "OPENBLAS_NUM_THREADS": "1"})
    assert ("heap-buffer-overflow" in done.stderr) == found == (done.stdout != "fine\n"), done.stderr[-2000:]
