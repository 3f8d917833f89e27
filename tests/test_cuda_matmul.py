"""Products on CUDA devices: which call of BLAS they become, what that call computes, and that the real library takes the descriptors."""
import ctypes
import threading

import numpy as np
import pytest
import standin
from hypothesis import assume, given
from hypothesis import strategies as st
from standin import blas

import tinygrad_ed as tg
from tinygrad_ed.backend.kernels import cuda as kernels
from tinygrad_ed.backend.kernels.cuda import cublaslt
from tinygrad_ed.backend.kernels.cuda.gemm import Gemm, plan
from tinygrad_ed.errors import DeviceError, ShapeError


@pytest.fixture
def cp():
    """The stand-in for the module cupy."""
    with standin.installed() as module:
        tg.cuda.init()
        yield module


@pytest.fixture
def highest():
    """Full float32 again after the test."""
    yield
    tg.set_float32_matmul_precision("highest")


def planned(a, b):
    return plan(a.shape, a.strides, b.shape, b.strides, a.itemsize)


# -- the plan ----------------------------------------------------------------------------------------------------------

SLICES = [slice(None), slice(None, None, 2), slice(1, None), slice(None, None, -1)]


@st.composite
def operands(draw):
    """Two arrays of small whole numbers that multiply, of any layout: transposed, sliced, reversed, with broadcast batches."""
    batch = draw(st.lists(st.integers(0, 3), max_size=2))
    n, k, m = (draw(st.integers(0, 4)) for _ in range(3))
    shapes = [[1 if draw(st.booleans()) and draw(st.booleans()) else size for size in batch] for _ in range(2)]
    shapes[0] += [n, k][draw(st.integers(0, 1)) if not shapes[0] else 0:]
    shapes[1] += [k, m][:2 - (draw(st.integers(0, 1)) if not shapes[1] else 0)]
    return [draw(laid_out(tuple(shape))) for shape in shapes]


@st.composite
def laid_out(draw, shape):
    """An array of a shape: a permuted and sliced view of a larger one, or one number repeated."""
    if draw(st.integers(0, 9)) == 0:
        return np.broadcast_to(np.float32(draw(st.integers(-3, 3))), shape)
    order = draw(st.permutations(range(len(shape))))
    index = [draw(st.sampled_from(SLICES)) for _ in shape]
    sizes = [2 * n + 1 for n in shape]
    memory = np.random.default_rng(draw(st.integers(0, 99))).integers(-4, 5, [sizes[i] for i in order]).astype(np.float32)
    view = memory.transpose(np.argsort(order)) if shape else memory
    return view[tuple(index)][tuple(slice(0, n) for n in shape)]


@given(operands())
def test_what_is_planned_computes_the_product(arrays):
    a, b = arrays
    expected, found = np.matmul(a, b), planned(a, b)
    assert found.shape == expected.shape
    for _ in range(2):
        if found.copy_a or found.copy_b:
            a, b = (x if shape is None else np.ascontiguousarray(np.broadcast_to(x, shape)) for x, shape in ((a, found.copy_a), (b, found.copy_b)))
            found = planned(a, b)
    assert not found.copy_a and not found.copy_b
    if found.gemm is None:
        assert 0 in (*a.shape, *b.shape)
        return
    y = np.full(found.shape, np.nan, np.float32)
    blas.compute(found.gemm, b.ctypes.data, a.ctypes.data, y.ctypes.data)
    np.testing.assert_array_equal(y, expected)


@given(operands())
def test_leading_dimensions_are_what_blas_allows(arrays):
    gemm = planned(*arrays).gemm
    assume(gemm is not None)
    assert gemm.lda >= (gemm.k if gemm.transa else gemm.m) and gemm.ldb >= (gemm.n if gemm.transb else gemm.k) and gemm.ldd >= gemm.m
    assert min(gemm.stridea, gemm.strideb) >= 0 and (gemm.batch == 1 or gemm.strided == gemm.m * gemm.n)


X, W = np.ones((2, 6, 3), "float32"), np.ones((5, 3), "float32")
Q = np.ones((2, 6, 4, 3), "float32").swapaxes(1, 2)                      # heads of attention
GEMMS = {
    "a layer folds what is before the last dimension": (X, W.T, Gemm(5, 12, 3, True, False, 3, 3, 5)),
    "its input's gradient": (np.ones((12, 5), "float32"), W, Gemm(3, 12, 5, False, False, 3, 5, 3)),
    "its weight's gradient": (np.ones((12, 5), "float32").T, X.reshape(12, 3), Gemm(3, 5, 12, False, True, 3, 5, 3)),
    "a stack": (X, X.swapaxes(1, 2), Gemm(6, 6, 3, True, False, 3, 3, 6, 2, 18, 18, 36)),
    "one matrix times a stack": (W, X.swapaxes(1, 2), Gemm(6, 5, 3, True, False, 3, 3, 6, 2, 18, 0, 30)),
    "rows of a larger matrix": (X[0, ::2], W.T, Gemm(5, 3, 3, True, False, 3, 6, 5)),
    "a slice of a stack, which does not fold": (X[:, :4], W.T, Gemm(5, 4, 3, True, False, 3, 3, 5, 2, 0, 18, 20)),
    "columns of a larger matrix": (W[:, :2], np.ones((2, 4), "float32"), Gemm(4, 5, 2, False, False, 4, 3, 4)),
    "a vector": (W, np.ones(6, "float32")[::2], Gemm(1, 5, 3, False, False, 2, 3, 1)),
    "a sum over rows": (np.ones(12, "float32"), X.reshape(12, 3), Gemm(3, 1, 12, False, False, 3, 12, 3))}


@pytest.mark.parametrize("name", GEMMS)
def test_products_that_need_no_copy(name):
    a, b, gemm = GEMMS[name]
    found = planned(a, b)
    assert found.gemm == gemm and not found.copy_a and not found.copy_b


def test_what_is_copied():
    k = np.ones((2, 4, 3, 6), "float32")
    assert planned(Q, k)[2:] == ((2, 4, 6, 3), None)                     # the heads of several sequences do not follow at one step
    assert planned(X[:, ::-1], W.T)[2:] == ((2, 6, 3), None)             # a reversed order
    assert planned(X[:, None], k)[2:] == ((2, 4, 6, 3), None)            # repeated within a batch: written out
    with pytest.raises(ValueError, match="do not multiply"):
        planned(X, W)
    with pytest.raises(ValueError, match="broadcast"):
        planned(X, np.ones((3, 3, 2), "float32"))


# -- the call ----------------------------------------------------------------------------------------------------------

@given(operands())
def test_the_kernel_computes_numpys_product_in_one_launch(arrays):
    with standin.installed() as cp:
        tg.cuda.init()
        a, b = (moved(cp, x) for x in arrays)
        kernels.matmul(a, b)                          # which prepares it
        with standin.counting() as counts:
            y = kernels.matmul(a, b)
        copied = sum(shape is not None for shape in planned(a, b)[2:])
        assert type(y) is standin.ndarray and counts.launches == 1 + copied and not counts.syncs and not counts.copies
        np.testing.assert_array_equal(y.get(), np.matmul(*arrays))


def moved(cp, x):
    """An array on the device that lies in memory as this one does."""
    owner = x
    while owner.base is not None:
        owner = owner.base
    there = cp.asarray(owner)
    return cp.ndarray(x.shape, x.dtype, there.data + (x.ctypes.data - owner.ctypes.data), x.strides) if x.size else cp.asarray(x)


def on_device(cp, x, dtype=None):
    return cp.asarray(np.asarray(x, dtype))


def test_a_bias_is_part_of_the_product_and_a_relu_is_in_place(cp):
    rng = np.random.default_rng(0)
    x, w, b = (rng.normal(size=shape).astype("float32") for shape in ((2, 6, 3), (5, 3), (5,)))
    x[1, 2, 0] = np.nan
    z, both = x @ w.T + b, {False: lambda z: z, True: lambda z: np.maximum(z, 0)}
    device = [on_device(cp, v) for v in (x, w, b)]
    for relu, expected in both.items():
        kernels.linear(*device, relu)
        with standin.counting() as counts:
            y = kernels.linear(*device, relu)
        assert (counts.launches, counts.allocations) == (1 + relu, 1)
        np.testing.assert_allclose(y.get(), expected(z), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(kernels.linear(*device[:2], on_device(cp, np.repeat(b, 2))[::2]).get(), z, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(kernels.linear(*device[:2], None, True).get(), np.maximum(x @ w.T, 0), rtol=1e-5, atol=1e-6)
    library = cublaslt.library()
    assert [gemm.epilogue for gemm in library.calls[-4:]] == ["BIAS", "BIAS", "BIAS", "DEFAULT"]
    for rows in (x[:0], x[..., :0]):
        weight = w[:, :rows.shape[-1]]
        np.testing.assert_array_equal(kernels.linear(on_device(cp, rows), on_device(cp, weight), device[2], True).get(), np.maximum(rows @ weight.T + b, 0))
    whole = on_device(cp, [[1, 2], [3, -4]])
    assert kernels.linear(whole, whole, whole[0], True).get().tolist() == [[6, 0], [0, 27]]

    library.refused = lambda gemm: gemm.epilogue != "DEFAULT"            # the same in more launches, where the library has no such epilogue
    cublaslt._thread.prepared.clear()
    for relu, expected in both.items():
        np.testing.assert_allclose(kernels.linear(*device, relu).get(), expected(z), rtol=1e-5, atol=1e-5)
    library.refused = lambda gemm: True
    cublaslt._thread.prepared.clear()
    with pytest.raises(RuntimeError, match="no algorithm for Gemm"):
        kernels.linear(*device)


def test_another_bias_is_another_address(cp):
    x, w = on_device(cp, np.ones((2, 3), "float32")), on_device(cp, np.ones((5, 3), "float32"))
    for value, bias in [(value, cp.full(5, value, "float32")) for value in (1.0, 2.0)]:
        np.testing.assert_array_equal(kernels.linear(x, w, bias).get(), np.full((2, 5), 3 + value))
    assert len(cublaslt._thread.prepared) == len({alignment for _, alignment, _ in cublaslt._thread.prepared})       # not one for each address


def test_an_algorithm_serves_every_bias_that_is_aligned_as_was_said(cp):
    memory, w, biases = cp.zeros(64, "float32"), on_device(cp, np.ones((4, 3), "float32")), cp.zeros(64, "float32")
    for x, bias in ((memory[1:7], biases[:4]), (memory[:6], biases[1:5])):           # of both pairs one array begins 4 bytes behind 256
        kernels.linear(x.reshape(2, 3), w, bias)
    assert [key[1] for key in cublaslt._thread.prepared] == [4]


# -- activations -------------------------------------------------------------------------------------------------------

DTYPES = {"float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2, "float64": 1e-12}         # and how much they round
STRETCHED = [np.s_[:], np.s_[:, :4]]                 # all rows of a stack, and such as do not follow at one step


def gelu(z):
    """The GELU by tanh, and its slope."""
    t = np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))
    return z / 2 * (1 + t), (1 + t) / 2 + z / 2 * (1 - t * t) * np.sqrt(2 / np.pi) * (1 + 0.134145 * z * z)


def layer(cp, dtype, outputs, rows=STRETCHED[0]):
    """Arrays of a layer on the device, and x Wᵀ and b in float64."""
    rng = np.random.default_rng(0)
    x, w, b = values = [rng.normal(size=shape).astype(blas.array_dtype(dtype)) for shape in ((2, 6, 3), (outputs, 3), (outputs,))]
    x, w, b = (v.astype("float64") for v in (x[rows], w, b))
    return [on_device(cp, v)[rows if v.ndim == 3 else np.s_[:]] for v in values], x @ w.T, b


@pytest.mark.parametrize("rows", STRETCHED)
@pytest.mark.parametrize("outputs", [8, 16, 5])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gelu_is_part_of_the_product(cp, dtype, biased, outputs, rows):
    (x, w, b), z, bias = layer(cp, dtype, outputs, rows)
    z, b, near = z + bias * biased, b if biased else None, dict(rtol=DTYPES[dtype], atol=DTYPES[dtype])
    library, values, slopes = cublaslt.library(), *gelu(z)
    for derive in (False, True):
        kernels.linear_gelu(x, w, b, derive)          # which prepares it
        with standin.counting() as counts:
            y, kept, slope = kernels.linear_gelu(x, w, b, derive)
        np.testing.assert_allclose(y.get().astype("float64"), values, **near)
        if outputs % 8 == 0 or not derive:
            assert (counts.launches, counts.allocations, slope) == (1, 1 + derive, None) and (kept is not None) == derive
            assert library.calls[-1].epilogue == "GELU" + "_AUX" * derive + "_BIAS" * biased and not library.calls[-1].beta
        else:
            assert library.calls[-1].epilogue == ("BIAS" if biased else "DEFAULT")
            assert kept is None and slope is not None and counts.launches == 2
        if kept is not None:
            np.testing.assert_allclose(kept.get().astype("float64"), z, **near)
            slope = kernels.gelu_tanh_backward(cp.ones_like(y), kept)
        if derive:
            np.testing.assert_allclose(slope.get().astype("float64"), slopes, **near)
        assert y.dtype == x.dtype and (slope is None or slope.dtype == x.dtype)


def test_a_gelu_that_the_library_does_not_have_is_another_launch(cp):
    given, z, bias = layer(cp, "float32", 8)
    cublaslt.library().refused = lambda gemm: "GELU" in gemm.epilogue
    kernels.linear_gelu(*given, True)
    with standin.counting() as counts:
        y, kept, slope = kernels.linear_gelu(*given, True)
    assert counts.launches == 2 and kept is None and cublaslt.library().calls[-1].epilogue == "BIAS"
    for found, expected in zip((y, slope), gelu(z + bias)):
        np.testing.assert_allclose(found.get(), expected, rtol=1e-5, atol=1e-5)
    empty = given[0][:0], *given[1:]
    assert [v if v is None else v.shape for v in kernels.linear_gelu(*empty, True)] == [(0, 6, 8), None, (0, 6, 8)]
    with pytest.raises(ValueError, match="do not multiply"):
        kernels.linear_gelu(given[0], given[1][:, :2], given[2], True)


@pytest.mark.parametrize("outputs", [8, 5])
def test_derivatives_of_a_layer_with_a_gelu(cp, outputs):
    rng, results = np.random.default_rng(0), []
    values = [rng.normal(size=shape).astype("float32") for shape in ((6, 3), (outputs, 3), (outputs,))]
    for device in ("cpu", "cuda"):
        xs = [tg.tensor(v, device=device, requires_grad=True) for v in values]
        y = tg.nn.functional.linear_gelu(*xs)
        (y * y).sum().backward()
        first = tg.autograd.grad((tg.nn.functional.linear_gelu(*xs) ** 2).sum(), xs, create_graph=True)
        second = tg.autograd.grad(sum((d * d).sum() for d in first), xs)
        results.append([t.numpy(force=True) for t in (y, *[x.grad for x in xs], *first, *second)])
    for found, expected in zip(*reversed(results)):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_how_many_launches_a_model_with_gelus_has(cp):
    net = tg.nn.Sequential(tg.nn.Linear(6, 16), tg.nn.GELU("tanh"), tg.nn.Linear(16, 24), tg.nn.GELU("tanh"), tg.nn.Linear(24, 3)).to("cuda")
    x = tg.ones(4, 6, device="cuda")

    def launches(run):
        run()
        with standin.counting() as counts:
            run()
        return counts.launches

    with tg.no_grad():
        assert launches(lambda: net(x)) == 3 and [gemm.epilogue for gemm in cublaslt.library().calls[-3:]] == ["GELU_BIAS", "GELU_BIAS", "BIAS"]
    assert launches(lambda: net(x)) == 3 and [gemm.epilogue for gemm in cublaslt.library().calls[-3:]] == ["GELU_AUX_BIAS", "GELU_AUX_BIAS", "BIAS"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("biased", [True, False])
def test_a_relu_is_part_of_the_product_where_that_is_allowed(cp, monkeypatch, dtype, biased):
    (x, w, b), z, bias = layer(cp, dtype, 5)
    x[1, 2, 0] = np.nan
    expected, b, library = np.maximum(z + bias * biased, 0), b if biased else None, cublaslt.library()
    assert tg.backends.cuda.matmul.allow_relu_epilogue is False
    for allowed in (False, True):
        monkeypatch.setattr(tg.backends.cuda.matmul, "allow_relu_epilogue", allowed)
        kernels.linear(x, w, b, True)
        with standin.counting() as counts:
            y = kernels.linear(x, w, b, True).get().astype("float64")
        assert library.calls[-1].epilogue == ("_".join(["RELU"] * allowed + ["BIAS"] * biased) or "DEFAULT")
        assert counts.launches == 1 + (not allowed)
        assert (y[1, 2] == 0).all() if allowed else np.isnan(y[1, 2]).all()
        y[1, 2] = expected[1, 2]
        np.testing.assert_allclose(y, expected, rtol=DTYPES[dtype], atol=DTYPES[dtype])
        kernels.linear(x, w, b)
        assert "RELU" not in library.calls[-1].epilogue
    library.refused = lambda gemm: "RELU" in gemm.epilogue
    cublaslt._thread.prepared.clear()
    assert np.isnan(kernels.linear(x, w, b, True).get().astype("float64")[1, 2]).all()


def test_a_relu_as_part_of_the_product_changes_no_derivative(cp, monkeypatch):
    rng, results = np.random.default_rng(0), []
    values = [rng.normal(size=shape).astype("float32") for shape in ((6, 3), (5, 3), (5,))]
    for allowed in (False, True):
        monkeypatch.setattr(tg.backends.cuda.matmul, "allow_relu_epilogue", allowed)
        xs = [tg.tensor(v, device="cuda", requires_grad=True) for v in values]
        y = tg.nn.functional.linear_relu(*xs)
        y.sum().backward()
        assert cublaslt.library().calls[0].epilogue == ("RELU_BIAS" if allowed else "BIAS")
        cublaslt.library().calls.clear()
        results.append([t.numpy(force=True) for t in (y, *[x.grad for x in xs])])
    for a, b in zip(*results):
        np.testing.assert_array_equal(a, b)


def test_nan_passes_a_gelu(cp):
    (x, w, b), _, _ = layer(cp, "float32", 8)
    x[1, 2, 0] = np.nan
    for y in kernels.linear_gelu(x, w, b, True)[:2]:
        assert np.isnan(y.get()[1, 2]).all() and np.isnan(y.get()).sum() == 8


@pytest.mark.parametrize("attribute, value", [("AUX_LD", 4), ("AUX_LD", 12), ("AUX_LD", 0), ("AUX_POINTER", 0), ("AUX_BATCH_STRIDE", 20), ("AUX_BATCH_STRIDE", 0)])
def test_the_standin_refuses_where_it_cannot_keep_what_is_before(cp, attribute, value):
    gemm = Gemm(8, 2, 3, True, False, 3, 3, 8, 2, 0, 6, 16, epilogue="GELU_AUX")
    library, described, preference = cublaslt.library(), cublaslt.Description(gemm), cublaslt._made("cublasLtMatmulPreferenceCreate")
    handle, found, count = cublaslt._made("cublasLtCreate"), cublaslt.Heuristic(), ctypes.c_int()

    def status():
        return library.cublasLtMatmulAlgoGetHeuristic(handle, described.operation, described.a, described.b, described.d, described.d, preference, 1,
                                                      ctypes.addressof(found), ctypes.addressof(count))

    described.point(0, 256)
    assert status() == 0
    cublaslt._set("MatmulDesc", described.operation, cublaslt.DESCRIPTION[attribute], ctypes.c_int64(value))
    assert status() == blas.INVALID


def test_a_product_is_added_to_what_is_there(cp):
    a, b = on_device(cp, np.ones((2, 3), "float32")), on_device(cp, np.ones((3, 4), "float32"))
    total = cp.full((2, 4), 5.0, "float32")
    with standin.counting() as counts:
        assert kernels.matmul(a, b, total) is total
    assert counts.launches == 1 and total.get().tolist() == [[8.0] * 4] * 2
    assert kernels.matmul(a[:, :0], b[:0], total) is total and total.get()[0, 0] == 8
    assert kernels.matmul(a, b, total, add=False) is total and total.get().tolist() == [[3.0] * 4] * 2
    assert kernels.matmul(a[:, :0], b[:0], total, add=False).get().tolist() == [[0.0] * 4] * 2
    turned = cp.ones((4, 2), "float32").T
    assert kernels.matmul(a, b, turned) is turned and turned.get().tolist() == [[4.0] * 4] * 2
    with pytest.raises(ValueError, match="out has shape"):
        kernels.matmul(a, b, cp.ones((4, 2), "float32"))


def test_column_sums(cp):
    x = np.arange(24.0, dtype="float32").reshape(2, 3, 4)
    there = on_device(cp, x)
    with standin.counting() as counts:
        y = kernels.column_sums(there)
    assert y.get().tolist() == x.sum((0, 1)).tolist() and counts.launches == counts.allocations == 1
    assert kernels.column_sums(on_device(cp, x[:0])).get().tolist() == [0.0] * 4
    for shape in ((1500, 3), (2000, 41), (3, 70)):    # tall ones are cut into narrow strips
        x = np.random.default_rng(0).integers(-9, 9, shape)
        assert kernels.column_sums(on_device(cp, x.astype("float32"))).get().tolist() == x.sum(0).tolist()


def test_half_precision_is_added_up_in_float32_and_integers_go_to_cupy(cp):
    ones = on_device(cp, np.ones((1, 5000)), "float16")
    assert kernels.matmul(ones, ones.T).get() == 5000 and cublaslt.library().calls[-1].compute == "32F"       # 2048 + 1 is 2048 in float16
    wide = on_device(cp, np.full((1, 1), 1 + 2**-40))
    assert kernels.matmul(wide, wide).get() > 1 + 2**-40 and cublaslt.library().calls[-1].compute == "64F"
    before = len(cublaslt.library().calls)
    whole = on_device(cp, [[1, 2], [3, 4]])
    assert kernels.matmul(whole, whole).get().tolist() == [[7, 10], [15, 22]] and len(cublaslt.library().calls) == before


def test_tf32_is_used_where_it_is_allowed(cp, highest):
    x = on_device(cp, np.float32([[1 + 2**-11]]))
    assert kernels.matmul(x, x).get() > 1 and cublaslt.library().calls[-1].compute == "32F"
    tg.backends.cuda.matmul.allow_tf32 = True
    assert tg.get_float32_matmul_precision() == "high"
    assert kernels.matmul(x, x).get() == 1 and cublaslt.library().calls[-1].compute == "32F_FAST_TF32"
    assert kernels.matmul(x.astype("float64"), x.astype("float64")).get() > 1
    tg.set_float32_matmul_precision("medium")
    assert tg.backends.cuda.matmul.allow_tf32
    tg.backends.cuda.matmul.allow_tf32 = False
    assert tg.get_float32_matmul_precision() == "highest" and tg.backends.cudnn.allow_tf32
    with pytest.raises(ValueError, match="one of 'highest'"):
        tg.set_float32_matmul_precision("low")
    with pytest.raises(AttributeError):
        tg.backends.cuda.matmul.alow_tf32 = True


@given(st.floats(-2.0**90, 2.0**90, width=32))
def test_tf32_keeps_ten_bits(value):
    rounded = blas.tf32(np.float32([value]))[0]
    assert rounded.view(np.uint32) & 0x1FFF == 0 and abs(float(rounded) - value) <= abs(value) * 2**-11 + 1e-40


def test_memory_that_is_hardly_aligned(cp):
    values = np.arange(30, dtype="float16")
    x = on_device(cp, values)[1:25].reshape(4, 6)                        # begins 2 bytes behind where it might
    np.testing.assert_array_equal(kernels.matmul(x, x.T).get(), (values[1:25].reshape(4, 6) @ values[1:25].reshape(4, 6).T))
    assert {key[1] for key in cublaslt._thread.prepared} == {2}
    kernels.matmul(on_device(cp, values[:24]).reshape(4, 6), on_device(cp, values[:24]).reshape(6, 4))
    assert len(cublaslt._thread.prepared) == 2


def test_every_stream_and_thread_has_what_it_needs_of_its_own(cp):
    x = on_device(cp, np.eye(3, dtype="float32"))
    kernels.matmul(x, x)
    stream = cp.cuda.Stream(non_blocking=True)
    stream.wait_event(cp.cuda.get_current_stream().record())
    with stream:
        kernels.matmul(x, x)
    cp.cuda.get_current_stream().wait_event(stream.record())
    assert {found for _, found in cublaslt._workspaces} == {0, stream.ptr}
    results = []
    thread = threading.Thread(target=lambda: results.append(len(cublaslt._thread.prepared)))
    thread.start()
    thread.join()
    assert results == [0] and len(cublaslt._thread.prepared) == 1


def test_what_cannot_be_multiplied(cp):
    x = tg.ones(2, 3, device="cuda")
    with pytest.raises(ShapeError, match="matmul cannot multiply"):
        x @ x
    with pytest.raises(DeviceError, match="move one"):
        x @ tg.ones(3, 2)
    with pytest.raises(DeviceError, match="move one"):
        x @ tg.ones(3, 2, device="cuda:1")


# -- the real library --------------------------------------------------------------------------------------------------

@pytest.fixture
def real():
    """cuBLASLt, which makes descriptors without a device; in the wheel nvidia-cublas, which CuPy's extra [ctk] brings."""
    pytest.importorskip("cuda.pathfinder", reason="pip install cuda-pathfinder nvidia-cublas")
    try:
        library = cublaslt.library()
    except Exception as error:                        # pathfinder has an error of its own for it
        pytest.skip(f"cuBLASLt cannot be loaded: {error}")
    yield library


@pytest.mark.parametrize("dtype", cublaslt.DTYPES)
@pytest.mark.parametrize("epilogue", cublaslt.EPILOGUES)
def test_the_real_library_takes_the_descriptors(real, dtype, epilogue):
    compute = "64F" if dtype == "float64" else "32F_FAST_TF32" if dtype == "float32" else "32F"
    gemm = GEMMS["a stack"][2]._replace(dtype=dtype, compute=compute, epilogue=epilogue)
    made = cublaslt.Description(gemm)
    made.point(0x7000, 0x9000)

    def read(kind, thing, attribute, form):
        value, written = form(), ctypes.c_size_t()
        status = getattr(real, f"cublasLt{kind}GetAttribute")(thing, attribute, ctypes.addressof(value), ctypes.sizeof(value), ctypes.addressof(written))
        assert status == 0 and written.value == ctypes.sizeof(value)
        return value.value

    known = {name: read("MatmulDesc", made.operation, number, form) for number, (name, form) in blas.ATTRIBUTES["MatmulDesc"].items()}
    aux = {"aux": 0x9000, "aux_ld": 6, "aux_stride": 36} if "AUX" in epilogue else {"aux": 0, "aux_ld": 0, "aux_stride": 0}
    assert known == {"transa": 1, "transb": 0, "epilogue": cublaslt.EPILOGUES[epilogue], "bias": 0x7000 if "BIAS" in epilogue else 0, **aux}
    assert read("MatmulDesc", made.operation, 0, ctypes.c_int32) == cublaslt.COMPUTE[compute]
    assert read("MatmulDesc", made.operation, 1, ctypes.c_int32) == cublaslt.DTYPES["float64" if dtype == "float64" else "float32"]
    for layout, rows, columns, ld, stride in ((made.a, 3, 6, 3, 18), (made.b, 3, 6, 3, 18), (made.d, 6, 6, 6, 36)):
        found = [read("MatrixLayout", layout, number, form) for number, form in (
            (0, ctypes.c_uint32), (2, ctypes.c_uint64), (3, ctypes.c_uint64), (4, ctypes.c_int64), (5, ctypes.c_int32), (6, ctypes.c_int64))]
        assert found == [cublaslt.DTYPES[dtype], rows, columns, ld, 2, stride]


def test_the_real_library_knows_the_preferences(real):
    preference = cublaslt._made("cublasLtMatmulPreferenceCreate")
    for number, (name, form) in blas.ATTRIBUTES["MatmulPreference"].items():
        default, written = form(), ctypes.c_size_t()
        assert real.cublasLtMatmulPreferenceGetAttribute(preference, number, ctypes.addressof(default), ctypes.sizeof(form), ctypes.addressof(written)) == 0
        assert default.value == (0 if name == "workspace" else 256) and written.value == ctypes.sizeof(form)
        cublaslt._set("MatmulPreference", preference, number, form(64))
    assert set(cublaslt.PREFERENCE.values()) == set(blas.ATTRIBUTES["MatmulPreference"])
    with pytest.raises(RuntimeError, match="INVALID_VALUE"):
        cublaslt._set("MatmulPreference", preference, 5, ctypes.c_uint64(64))
