"""The CUDA kernels against those in NumPy: on a device (`pytest --device cuda`), or where there is none on the CPU (`pytest --device standin`, see `hostcuda`).

Shapes, strides, dtypes, the sizes of grids and blocks, and the order in which threads run are drawn.
"""
import importlib
import itertools
import pkgutil
from contextlib import contextmanager
from pathlib import Path

import hostcuda
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import CASES, close, run, seeds, shapes

import tinygrad_ed as tg
from tinygrad_ed.backend import cuda as backend
from tinygrad_ed.backend import determinism
from tinygrad_ed.backend.kernels import cuda, kernels, plain
from tinygrad_ed.backend.kernels.cuda import launch, norm

OWN = sorted(n for n in dir(plain) if callable(getattr(plain, n)) and getattr(cuda, n) is not getattr(plain, n))
RUNS = list({CASES[n]: n for n in OWN if n in CASES}.values())           # names of different cases
DTYPES = ["float32", "float64", "float16"]
try:
    import ml_dtypes  # noqa: F401  (then NumPy knows the name)
    DTYPES.append("bfloat16")
except ImportError:
    pass
dtypes = st.sampled_from(DTYPES)


# -- calling a device's engine with NumPy's arrays -----------------------------------------------------------------------

def mapped(f, x):
    """With f of each array, also in lists and tuples."""
    return f(x) if isinstance(x, np.ndarray) else type(x)(mapped(f, part) for part in x) if type(x) in (list, tuple) else x


def arrays(x):
    """The arrays, also those in lists and tuples, on the device or here."""
    return [a for part in x for a in arrays(part)] if isinstance(x, (list, tuple)) else [x] if hasattr(x, "dtype") else []


def put(x):
    """A NumPy array on the device, laid out as here."""
    cp = backend.module()
    if x.flags.c_contiguous:
        return cp.asarray(x)
    if x.flags.f_contiguous:
        return cp.asarray(np.ascontiguousarray(x.T)).T
    if x.strides[0] < 0:
        return cp.asarray(np.ascontiguousarray(x[::-1]))[::-1]
    wide = cp.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = cp.asarray(np.ascontiguousarray(x))
    return wide[..., ::2]


def got(y):
    return tuple(map(got, y)) if isinstance(y, tuple) else y.get() if hasattr(y, "get") else y


class OnDevice:
    """The CUDA engine for NumPy's arrays, which it changes where a kernel does."""

    def __getattr__(self, name):
        def kernel(*args):
            there = mapped(put, args)
            y = getattr(cuda, name)(*there)
            for x, moved in zip(arrays(args), arrays(there)):
                if isinstance(x, np.ndarray) and x.flags.writeable:
                    x[...] = moved.get()
            return got(y)
        return kernel


class InFloat32:
    """The kernels in NumPy, which have no bfloat16: those of float32 on the same numbers."""

    def __getattr__(self, name):
        def kernel(*args):
            wide = mapped(lambda x: x.astype("float32") if x.dtype.name == "bfloat16" else x, args)
            y = getattr(plain, name)(*wide)
            for x, w in zip(arrays(args), arrays(wide)):
                if w is not x and x.flags.writeable:
                    x[...] = w
            return y
        return kernel


def agrees(name, seed, dtype, shape, **kind):
    """Hold the results of a case against those of NumPy's kernels."""
    reference = InFloat32() if dtype == "bfloat16" else plain
    results, expected = run(name, OnDevice(), OnDevice(), seed, dtype, shape, **kind), run(name, reference, reference, seed, dtype, shape, **kind)
    if dtype == "bfloat16":
        results = [a.astype(b.dtype) if a.dtype.name == dtype else a for a, b in zip(results, expected, strict=True)]
    close(results, expected, dtype)


@contextmanager
def shapes_of_launches(seed):
    """A block in which grids and blocks have drawn sizes, and threads run in a drawn order."""
    rng = np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patch:
        for where, name, choices in ((launch, "THREADS", (32, 64, 256)), (launch, "BLOCKS", (1, 3, 2048)), (launch, "SHORT", (0, 16, 1024)),
                                     (launch, "TEAMS", (1, 2, 4)), (launch, "LONGEST", (1, 8)), (norm, "BLOCKS", (1, 512, 512)), (norm, "LEAST", (1, 1, 16)),
                                     (norm, "THREADS", (32, 32, 256))):
            patch.setattr(where, name, choices[rng.integers(len(choices))])
        patch.setattr(hostcuda, "seeds", itertools.count(seed))
        yield


# -- the kernels ---------------------------------------------------------------------------------------------------------

def test_every_kernel_has_a_case(device):
    """In `kernel_cases`, or in a file of the family's own."""
    families = {n: getattr(cuda, n).__module__.rpartition(".")[2] for n in OWN}
    missing = {n for n, family in families.items() if n not in CASES and not Path(__file__).with_name(f"test_cuda_{family}.py").exists()}
    assert not missing and len(OWN) > 30
    used = {name for module in pkgutil.iter_modules(cuda.__path__) for name in getattr(importlib.import_module(f"{cuda.__name__}.{module.name}"), "__all__", ())}
    assert set(OWN) <= used


@pytest.mark.parametrize("name", RUNS)
@given(seed=seeds, dtype=dtypes, shape=shapes)
def test_agrees_with_numpy(device, name, seed, dtype, shape):
    with shapes_of_launches(seed):
        agrees(name, seed, dtype, shape)


@pytest.mark.parametrize("name", RUNS)
@given(seed=seeds, dtype=dtypes, shape=shapes)
def test_takes_any_strides(device, name, seed, dtype, shape):
    agrees(name, seed, dtype, shape, layouts=("C", "F", "step", "back"))


@pytest.mark.parametrize("name", [n for n in RUNS if not n.startswith("group_norm")])      # which has ∞ - ∞ in other sums, with infinite weights
@given(seed=seeds, dtype=dtypes, shape=shapes)
def test_nan_and_infinities(device, name, seed, dtype, shape):
    if "norm" in name:
        shape = (*shape, 3)
    agrees(name, seed, dtype, shape, special=True)


@pytest.mark.parametrize("name", RUNS)
def test_the_order_of_threads_changes_no_bit(device, name):
    results = []
    for seed in range(4):
        with pytest.MonkeyPatch.context() as patch, deterministic():
            patch.setattr(hostcuda, "seeds", itertools.count(seed))
            results.append(run(name, OnDevice(), OnDevice(), 5, "float32", (33, 17)))
    assert all(a.tobytes() == b.tobytes() for r in results for a, b in zip(r, results[0]))


@contextmanager
def deterministic():
    determinism.set_enabled(True)
    try:
        yield
    finally:
        determinism.set_enabled(False)


@pytest.mark.parametrize("name", RUNS)
def test_empty_arrays(device, name):
    for shape in ((0, 3), (3, 0)) if "norm" not in name and "entropy" not in name else ((0, 3),):
        try:
            expected = run(name, plain, plain, 0, "float32", shape)
        except (ValueError, IndexError, ZeroDivisionError):
            continue
        close(run(name, OnDevice(), OnDevice(), 0, "float32", shape), expected, "float32")


def test_the_engine_serves_arrays_on_devices(device):
    assert kernels(tg.ones(3, device=device)._data) is cuda and kernels(np.ones(3)) is not cuda


def of_family(family):
    return [n for n in RUNS if getattr(cuda, n).__module__.endswith(f".{family}")]


BARRIER = "__syncthreads();"
COMMON = (launch.SOURCES / "common.cuh").read_text(encoding="utf-8").count(BARRIER)
BARRIERS = [("norm", k) for k in range(COMMON)] + [
    (family, k) for family in launch.FAMILIES for k in range(COMMON, launch.source(family, "float32").count(BARRIER))]


@pytest.mark.parametrize("family, k", BARRIERS)                          # the common ones through a family that has all of them
def test_every_barrier_is_needed(device, request, monkeypatch, family, k):
    """Without the k-th of them some order of threads gives other results, or is an error."""
    if request.config.getoption("--device") != "standin":
        pytest.skip("on a device it is left to chance")
    sources = {}

    def without(xp, found, name, dtype):
        if (found, dtype) not in sources:
            parts = launch.source(found, dtype.name).split(BARRIER)
            left_out = found.split()[0] == family
            sources[found, dtype] = BARRIER.join([*parts[:k], parts[k] + parts[k + 1], *parts[k + 2:]] if left_out else parts)
        return xp.RawKernel(sources[found, dtype], name)
    monkeypatch.setattr(launch, "_kernel", without)
    assert any(fails(name, seed) for seed in range(30) for name in of_family(family))


def fails(name, seed):
    try:
        with shapes_of_launches(seed):
            agrees(name, seed, ("float32", "float16")[seed // 2 % 2], ((3, 130), (5, 3, 67), (2, 1025))[seed % 3])
    except (AssertionError, RuntimeError):
        return True
    return False


# -- what single kernels promise beside --------------------------------------------------------------------------------------

@given(seed=seeds, shape=shapes)
def test_deterministic_embeddings_add_in_the_order_of_the_rows(device, seed, shape):
    with deterministic():
        agrees("embedding_backward", seed, "float32", shape)


@given(seed=st.integers(0, 2**64 - 1), offset=st.integers(0, 2**64 - 999), n=st.integers(0, 300), bits=st.sampled_from([8, 16, 32]))
def test_random_masks_come_from_a_place_on_the_device_too(device, seed, offset, n, bits):
    place, limit = np.array([seed, offset], np.uint64), 2**bits // 3
    expected = plain.random_mask((seed, offset), (n,), limit, bits)
    for given_place in ((seed, offset), backend.module().asarray(place)):
        np.testing.assert_array_equal(cuda.random_mask(given_place, (n,), limit, bits).get(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_of_optimizers_may_lie_on_the_device(device, dtype):
    cp, rng = backend.module(), np.random.default_rng(0)
    arrays = [np.abs(rng.normal(size=50)).astype(dtype) for _ in range(4)]

    def stepped(step, number, *rest):
        p, g, m, v = (cp.asarray(a) for a in arrays)
        step(p, g, m, v, number)
        return [a.get() for a in (p, m, v)]

    def there(value):
        return cp.asarray(np.asarray(value, dtype))
    adam = lambda p, g, m, v, of: cuda.adam_step(p, g, m, v, None, of(0.01), 0.9, 0.99, of(1e-3), shrink=of(0.9))
    sgd = lambda p, g, m, v, of: cuda.sgd_step(p, g, m, of(0.01), 0.9)
    for step in (adam, sgd):
        for a, b in zip(stepped(step, float), stepped(step, there)):
            np.testing.assert_array_equal(a, b)


@given(seed=seeds, n=st.sampled_from([1, 31, 1000, 40_000, 70_001]), dtype=dtypes)
def test_sums_of_squares_of_any_length(device, seed, n, dtype):
    x = np.random.default_rng(seed).normal(size=n).astype(dtype)
    y = cuda.sum_of_squares(backend.module().asarray(x))
    assert y.shape == () and y.dtype == launch.wide(x)
    np.testing.assert_allclose(y.get(), np.sum(x.astype("float64") ** 2), rtol=1e-5)
