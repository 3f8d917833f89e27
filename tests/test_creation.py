"""New tensors: from data, from constants, from ranges, like other tensors; and the comparisons of whole tensors."""
import array
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_ed as tg
from tinygrad_ed.errors import DeviceError, DTypeError, GraphError, ShapeError

DTYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"]
no_cuda = pytest.mark.skipif(tg.cuda.is_available(), reason="a CUDA device is here")


# -- from data ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("data, dtype", [
    (1, "int64"), (1.5, "float32"), (True, "bool"), ([], "float32"), ([[], []], "float32"), ([1, 2], "int64"), ([1, 2.5], "float32"),
    ([True, 2], "int64"), ([True, 2.5], "float32"), (range(3), "int64"), ((1, 2), "int64"), ([[1.0, 2.0], [3.0, 4.0]], "float32"),
    (np.float64(1), "float64"), ([np.float64(1), 2.0], "float64"), ([2.0, np.float64(1)], "float64"), ([np.float32(1), 1.0], "float32"),
    ([np.float16(1), np.float16(2)], "float16"), ([np.int8(1), 1.5], "float32"), ([np.int32(1), 1], "int64"), (np.ones(2), "float64"),
    ([np.ones(2), np.ones(2)], "float64"), ([np.ones(2, "float32"), [1.0, 2.0]], "float32"), ([np.ones(2, "float32"), [1, 2]], "float32"),
    (bytearray(b"ab"), "uint8"), ([2**70, 0.5], "float32"), (1e300, "float32"), (np.bool_(True), "bool"),
    (np.ones((1, 1)).view(np.matrix), "float64"), ([np.uint8(3)], "uint8"),
    (np.ones(2, ">f4"), "float32"), (np.ones(2, ">i2"), "int16"), (np.ma.masked_array([1.0], [False]), "float64"),
])
def test_dtype_of_data(data, dtype):
    with np.errstate(over="ignore"):
        values = np.array(data, None if isinstance(data, bytearray) else dtype)
    t = tg.tensor(data)
    assert t.dtype == dtype and t.dtype is getattr(tg, dtype)
    assert t.dtype.isnative and type(t.data) is np.ndarray
    np.testing.assert_array_equal(t.numpy(), values)


def test_given_dtype_is_exact():
    assert tg.tensor(0.1, dtype=tg.float64).item() == 0.1
    assert tg.tensor([0.1, 1], dtype="float64").tolist() == [0.1, 1.0]
    assert tg.tensor(2**53 + 1).item() == 2**53 + 1
    assert tg.tensor([1.7, -1.7], dtype=tg.int64).tolist() == [1, -1]
    assert tg.tensor([0, 2], dtype=bool).tolist() == [False, True]
    assert tg.tensor([2**70, 1], dtype=tg.float64).tolist() == [2.0**70, 1.0]
    assert tg.tensor(1, dtype=float).dtype == tg.float64 and tg.ones(1).to(float).dtype == tg.float64     # as in PyTorch and NumPy
    assert tg.tensor(1e300).item() == math.inf


def test_default_dtype():
    tg.set_default_dtype(tg.float64)
    try:
        assert tg.tensor([1.0]).dtype == tg.zeros(1).dtype == tg.arange(1.0).dtype == tg.rand(1).dtype == tg.full((1,), 2.0).dtype == tg.float64
        assert tg.tensor([1]).dtype == tg.int64
    finally:
        tg.set_default_dtype(tg.float32)
    with pytest.raises(DTypeError, match="floating point"):
        tg.set_default_dtype(tg.int64)


@pytest.mark.parametrize("data, error, message", [
    ([[1, 2], [3]], ShapeError, "unequal lengths"), ([None], DTypeError, "NoneType"), ("abc", DTypeError, "str"), (["a"], DTypeError, "str"),
    (b"ab", DTypeError, "bytes"), ({1, 2}, DTypeError, "set"), (iter([1]), DTypeError, "iterator"), ([1.0, object()], DTypeError, "object"),
    (2**63, DTypeError, "int64"), ([2**70], DTypeError, "int64"), ([2**63, -1], DTypeError, "int64"), (3 + 4j, DTypeError, "complex"),
    (np.ones(2, complex), DTypeError, "real and the imaginary"), (np.array([1, 2], object), DTypeError, "object"),
    (np.array(["a"]), DTypeError, "<U1"), (np.datetime64("2020"), DTypeError, "datetime64"), (np.zeros(2, [("a", "f4")]), DTypeError, "field"),
    (np.ones(2, "uint64"), DTypeError, "int64"), (np.ones(2, np.longdouble), DTypeError, "float64"),
    (np.ma.masked_array([1.0, 2.0], [True, False]), DTypeError, "mask"),
])
def test_what_is_no_data(data, error, message):
    for make in (tg.tensor, tg.as_tensor, tg.Tensor):
        with pytest.raises(error, match=message):
            make(data)


@pytest.mark.parametrize("data, dtype", [([300], "uint8"), (-1, "uint8"), (float("nan"), "int64"), ([float("inf")], "int32"), ([2**31], "int32")])
def test_numbers_that_do_not_fit(data, dtype):
    with pytest.raises(DTypeError, match="does not fit"):
        tg.tensor(data, dtype=dtype)


@pytest.mark.parametrize("dtype", ["complex64", "uint16", "U4", object, None, "foo", [1], np.longdouble])
def test_dtypes_that_tensors_do_not_have(dtype):
    from tinygrad_ed.dtypes import canonical
    with pytest.raises(DTypeError, match="dtype"):
        canonical(dtype)


def test_a_wrong_device_is_not_only_called_a_wrong_dtype():
    for x in (tg.ones(1), tg.nn.Linear(1, 1)):
        with pytest.raises(DTypeError, match="'cdua' is no dtype.*devices are"):
            x.to("cdua")


def test_limits_of_dtypes():
    assert tg.finfo(tg.float16).max == 65504 and tg.finfo().eps == 2**-23 and tg.finfo(tg.float64).bits == 64
    assert tg.iinfo(tg.int16).min == -2**15 and tg.iinfo("uint8").max == 255
    for ask, dtype, message in ((tg.finfo, tg.int8, "iinfo"), (tg.iinfo, tg.float32, "finfo"), (tg.iinfo, tg.bool, "integer")):
        with pytest.raises(DTypeError, match=message):
            ask(dtype)


def test_lists_of_tensors():
    assert tg.equal(tg.tensor([tg.tensor(1.0), tg.ones(1), 2]), tg.tensor([1.0, 1.0, 2.0]))
    assert tg.tensor([tg.tensor(1.0, dtype=tg.float64), 2]).dtype == tg.float64
    assert tg.tensor([[tg.tensor(True)]]).dtype == tg.bool
    with pytest.raises(ShapeError, match="stack"):
        tg.tensor([tg.ones(2), tg.ones(2)])
    with pytest.warns(UserWarning, match="stack"):
        assert not tg.tensor([1.0, tg.tensor(2.0, requires_grad=True)]).requires_grad


def test_tensor_copies_and_as_tensor_shares():
    a = np.arange(3.0)
    x, y, z = tg.tensor(a), tg.as_tensor(a), tg.from_numpy(a)
    a[0] = 9
    assert x[0].item() == 0 and y[0].item() == z[0].item() == 9
    assert y.data is a and z.data is a
    assert not np.shares_memory(tg.as_tensor(a, dtype=tg.float32).data, a)
    x = tg.ones(2, requires_grad=True)
    assert tg.as_tensor(x) is x and tg.as_tensor(x, dtype=tg.float64).requires_grad
    assert not tg.tensor(x).requires_grad and not np.shares_memory(tg.tensor(x).data, x.data)
    for source in (memoryview(bytearray(8)).cast("d"), array.array("d", [1.0])):
        assert not np.shares_memory(tg.tensor(source).data, np.asarray(source))


def test_asarray():
    a, x = np.ones(2), tg.ones(2, requires_grad=True)
    assert tg.asarray(a).data is a and tg.asarray(a, copy=False).data is a and not np.shares_memory(tg.asarray(a, copy=True).data, a)
    assert tg.asarray(x) is x and tg.asarray(x * 2).requires_grad and not tg.asarray(x, requires_grad=False).requires_grad
    assert tg.asarray(x, copy=True) is not x and tg.asarray([1.0], requires_grad=True).requires_grad
    for obj, dtype in ((a, tg.float32), ([1.0], None), (x, tg.float64)):
        with pytest.raises(ValueError, match="copy"):
            tg.asarray(obj, dtype=dtype, copy=False)


@given(st.sampled_from(DTYPES), st.sampled_from(["plain", "fortran", "negative", "sliced", "broadcast", "read-only", "unaligned"]))
def test_from_numpy_takes_any_layout(dtype, layout):
    a = (np.arange(24).reshape(2, 3, 4) % 7).astype(dtype)
    if layout == "unaligned":
        raw = np.zeros(a.nbytes + 1, np.uint8)[1:].view(dtype).reshape(a.shape)
        raw[...] = a
        a = raw
    a = {"fortran": np.asfortranarray(a), "negative": a[::-1, ::-1], "sliced": a[:, ::2, 1:3],
         "broadcast": np.broadcast_to(a[:1], a.shape)}.get(layout, a)
    if layout == "read-only":
        a.flags.writeable = False
    x = tg.from_numpy(a)
    assert x.shape == a.shape and x.dtype == a.dtype and np.shares_memory(x.data, a)
    np.testing.assert_array_equal(x.numpy(), a)
    assert tg.tensor(a).data.flags.writeable
    if layout in ("read-only", "broadcast"):
        with pytest.raises(RuntimeError, match="clone"):
            x.zero_()


def test_from_numpy_refuses():
    for bad, error in (([1.0], TypeError), (np.float64(1), TypeError), (np.ones(2, ">f4"), DTypeError), (np.ones(2, complex), DTypeError),
                       (np.array(["a"]), DTypeError), (np.ma.masked_array([1.0], [True]), DTypeError)):
        with pytest.raises(error):
            tg.from_numpy(bad)


def test_equal_dtypes_under_other_names_share_memory():
    a = np.ones(3, np.longlong)
    assert np.shares_memory(tg.from_numpy(a).data, a) and tg.from_numpy(a).dtype is tg.int64


class Exporter:
    """An array of another library."""

    def __init__(self, a):
        self.a = a

    def __dlpack__(self, **kwargs):
        return self.a.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.a.__dlpack_device__()


def test_dlpack():
    a = np.arange(6.0).reshape(2, 3)
    for source in (a, Exporter(a), tg.from_numpy(a)):
        x = tg.from_dlpack(source)
        assert np.shares_memory(x.data, a)
    assert np.shares_memory(tg.as_tensor(Exporter(a)).data, a)
    assert np.shares_memory(np.from_dlpack(tg.from_numpy(a)), a)
    with pytest.raises(TypeError, match="__dlpack__"):
        tg.from_dlpack(3)
    with pytest.raises(DTypeError, match="complex"):
        tg.from_dlpack(np.ones(2, complex))
    with pytest.raises(BufferError, match="detach"):
        np.from_dlpack(tg.ones(2, requires_grad=True))


# -- constants ---------------------------------------------------------------------------------------------------------

@given(st.lists(st.integers(0, 3), max_size=4), st.sampled_from(DTYPES), st.sampled_from(["zeros", "ones", "empty"]))
def test_constants(shape, dtype, name):
    make, expected = getattr(tg, name), getattr(np, name)
    calls = [make(shape, dtype=dtype), make(tuple(shape), dtype=dtype), make(size=shape, dtype=dtype)]
    calls += [make(*shape, dtype=dtype), make(*map(np.int64, shape), dtype=dtype), make(*map(tg.tensor, shape), dtype=dtype)] if shape else []
    for t in calls:
        assert t.shape == tuple(shape) and t.dtype == dtype and not t.requires_grad and t.is_leaf
        if name != "empty":
            np.testing.assert_array_equal(t.numpy(), expected(shape, dtype))


@pytest.mark.parametrize("name", ["zeros", "ones", "empty", "rand", "randn"])
def test_sizes_that_are_none(name):
    make = getattr(tg, name)
    for bad in ((), (2.0,), (True,), ("2",), (2, None), ((2,), 1), (None,)):
        with pytest.raises(TypeError, match="size"):
            make(*bad)
    for bad in ((-1,), (2, -3), ([2, -3],)):
        with pytest.raises(ShapeError, match="at least 0"):
            make(*bad)


@pytest.mark.parametrize("value, dtype", [(True, "bool"), (1, "int64"), (1.5, "float32"), (np.float64(1.5), "float32"), (np.bool_(True), "bool")])
def test_full(value, dtype):
    assert tg.full((2, 3), value).dtype == dtype
    assert tg.full((2, 3), value, dtype=tg.float16).tolist() == [[float(value)] * 3] * 2
    assert tg.full((), tg.tensor(value, dtype=tg.float64)).dtype == tg.float64
    assert tg.full_like(tg.zeros(2, dtype=tg.float64), value).tolist() == [float(value)] * 2


def test_full_refuses():
    for call, error, message in ((lambda: tg.full(2, 1.5), TypeError, "tuple"), (lambda: tg.full((2,), 300, dtype=tg.uint8), DTypeError, "fit"),
                                 (lambda: tg.full((2,), [1]), TypeError, "number"), (lambda: tg.full((2,), tg.ones(2)), ShapeError, "0-d"),
                                 (lambda: tg.full((2,), 1, requires_grad=True), DTypeError, "floating"),
                                 (lambda: tg.full((2,), tg.tensor(1.0, requires_grad=True)), GraphError, "detach")):
        with pytest.raises(error, match=message):
            call()


def test_eye():
    for n, m in ((0, None), (3, None), (2, 3), (3, 2), (3, 0)):
        np.testing.assert_array_equal(tg.eye(n, m).numpy(), np.eye(n, m))
    assert tg.eye(2, dtype=tg.bool).dtype == tg.bool
    with pytest.raises(ShapeError):
        tg.eye(-1)


@given(st.sampled_from(["zeros", "ones", "empty", "full"]), st.sampled_from(DTYPES), st.sampled_from([None, *DTYPES]))
def test_like(name, dtype, other):
    x = tg.from_numpy(np.asfortranarray(np.ones((2, 3), dtype)))
    extra = (1,) if name == "full" else ()
    t = getattr(tg, name + "_like")(x, *extra, dtype=other)
    assert t.shape == (2, 3) and t.dtype == (other or dtype) and t.stride() == x.stride() and not np.shares_memory(t.data, x.data)
    if name != "empty":
        assert t.tolist() == getattr(np, name + "_like")(x.numpy(), *extra, dtype=other or dtype).tolist()
    assert getattr(tg, name + "_like")(x, *extra, dtype=tg.float32, requires_grad=True).requires_grad
    with pytest.raises(TypeError, match="takes a tensor"):
        getattr(tg, name + "_like")([1.0], *extra)


def test_new_methods():
    x = tg.ones(2, dtype=tg.int64)
    assert x.new_tensor([1.5, 2]).tolist() == [1, 2] and x.new_tensor(np.ones(2)).dtype == tg.int64
    assert x.new_zeros(2, 3).shape == x.new_ones((2, 3)).shape == x.new_empty([2, 3]).shape == x.new_full((2, 3), 5).shape == (2, 3)
    assert x.new_zeros(2).dtype == x.new_ones(2).dtype == x.new_empty(2).dtype == x.new_full((2,), 1.5).dtype == tg.int64
    assert x.new_zeros(2, dtype=tg.float32, requires_grad=True).requires_grad
    assert tg.ones(1, requires_grad=True).new_ones(2).requires_grad is False


def test_requires_grad():
    for make in (lambda **k: tg.tensor([1.0], **k), lambda **k: tg.zeros(2, **k), lambda **k: tg.arange(3.0, **k), lambda **k: tg.eye(2, **k),
                 lambda **k: tg.linspace(0, 1, 3, **k), lambda **k: tg.rand(2, **k), lambda **k: tg.full((2,), 1.0, **k)):
        t = make(requires_grad=True)
        assert t.requires_grad and t.is_leaf and not make().requires_grad
        with pytest.raises(DTypeError):
            make(dtype=tg.int64, requires_grad=True)


@no_cuda
@pytest.mark.parametrize("make", [lambda **k: tg.tensor([1.0], **k), lambda **k: tg.zeros(2, **k), lambda **k: tg.full((2,), 1, **k),
                                  lambda **k: tg.arange(2, **k), lambda **k: tg.eye(2, **k), lambda **k: tg.rand(2, **k),
                                  lambda **k: tg.randperm(2, **k), lambda **k: tg.zeros_like(tg.ones(2), **k), lambda **k: tg.ones(2).to(**k),
                                  lambda **k: tg.as_tensor(np.ones(2), **k), lambda **k: tg.tril_indices(2, 2, **k),
                                  lambda **k: tg.Generator(**k)])
def test_without_cuda(make):
    for device in ("cuda", "cuda:1", tg.device("cuda", 0)):
        with pytest.raises(DeviceError, match="CUDA is not available: "):
            make(device=device)
    with pytest.raises(DeviceError, match="unknown device"):
        make(device="tpu")
    assert make(device="cpu").device == tg.device("cpu")


# -- ranges ------------------------------------------------------------------------------------------------------------

@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(-5, 5).filter(bool), st.sampled_from(DTYPES[:-1]))
def test_arange_of_integers(start, end, step, dtype):
    if (end - start) * step < 0:
        with pytest.raises(ValueError, match="sign"):
            tg.arange(start, end, step)
        return
    t = tg.arange(start, end, step, dtype=dtype)
    np.testing.assert_array_equal(t.numpy(), np.arange(start, end, step).astype(dtype))
    assert tg.arange(start, end, step).dtype == tg.int64


@given(st.floats(-10, 10), st.floats(0, 10), st.floats(0.01, 3), st.booleans())
def test_arange_of_floats(start, length, step, down):
    step, end = (-step, start - length) if down else (step, start + length)
    t = tg.arange(start, end, step, dtype=tg.float64)
    assert len(t) == math.ceil((end - start) / step)
    np.testing.assert_allclose(t.numpy(), [start + i * step for i in range(len(t))], rtol=0, atol=1e-12)
    assert tg.arange(start, end, step).dtype == tg.float32


def test_arange_calls():
    assert tg.arange(3).tolist() == tg.arange(0, 3).tolist() == tg.arange(end=3).tolist() == tg.arange(tg.tensor(3)).tolist() == [0, 1, 2]
    assert tg.arange(2.5, dtype=tg.int64).tolist() == [0, 1]
    assert tg.arange(3, 3).shape == (0,)
    for bad in ((0, 3, 0), (0, math.inf), (0, 1, math.nan), (math.nan, 1)):
        with pytest.raises(ValueError):
            tg.arange(*bad)
    with pytest.raises(DTypeError, match="count"):
        tg.arange(2, dtype=tg.bool)
    with pytest.raises(TypeError, match="number"):
        tg.arange("3")
    with pytest.raises(GraphError, match="detach"):
        tg.arange(tg.tensor(3.0, requires_grad=True))


@given(st.floats(-5, 5), st.floats(-5, 5), st.integers(0, 20), st.sampled_from(DTYPES[1:3]))
def test_linspace_and_logspace(start, end, steps, dtype):
    t = tg.linspace(start, end, steps, dtype=dtype)
    np.testing.assert_allclose(t.numpy(), np.linspace(start, end, steps), rtol=1e-6, atol=1e-6)
    assert t.dtype == dtype and t.shape == (steps,)
    if steps > 1:
        assert t[0].item() == t.dtype.type(start) and t[-1].item() == t.dtype.type(end)
    np.testing.assert_allclose(tg.logspace(start, end, steps, 2.0, dtype=dtype).numpy(), 2.0 ** np.linspace(start, end, steps), rtol=1e-5)


def test_linspace_of_integers():
    assert tg.linspace(0, 10, 4, dtype=tg.int64).tolist() == [0, 3, 6, 10]
    with pytest.raises(ShapeError):
        tg.linspace(0, 1, -1)


@given(st.integers(0, 5), st.integers(0, 5), st.integers(-5, 5))
def test_triangle_indices(rows, columns, offset):
    mask = np.ones((rows, columns))
    assert tg.tril_indices(rows, columns, offset).tolist() == [i.tolist() for i in np.tril(mask, offset).nonzero()]
    assert tg.triu_indices(rows, columns, offset).tolist() == [i.tolist() for i in np.triu(mask, offset).nonzero()]
    assert tg.tril_indices(rows, columns, offset, dtype=tg.int32).dtype == tg.int32


# -- comparisons -------------------------------------------------------------------------------------------------------

def test_equal():
    x = tg.tensor([1.0, 2.0])
    assert tg.equal(x, x.double()) and x.equal(tg.tensor([1, 2])) and not tg.equal(x, x[:1]) and not tg.equal(x, x + 1)
    assert tg.equal(tg.zeros(0), tg.zeros(0)) and not tg.equal(tg.zeros(0, 1), tg.zeros(0))
    assert not tg.equal(tg.tensor(math.nan), tg.tensor(math.nan))
    assert isinstance(tg.equal(x, x), bool)
    with pytest.raises(TypeError, match="two tensors"):
        tg.equal(x, [1.0, 2.0])


@given(st.data(), st.sampled_from([0.0, 1e-5, 0.5]), st.sampled_from([0.0, 1e-8, 1.0]), st.booleans())
def test_isclose_is_numpys(data, rtol, atol, equal_nan):
    number = st.one_of(st.sampled_from([0.0, 1.0, 1.4, -1.0, math.inf, -math.inf, math.nan]), st.floats(-2, 2))
    a, b = (np.array(data.draw(st.lists(number, min_size=4, max_size=4))) for _ in range(2))
    close = tg.isclose(tg.tensor(a), tg.tensor(b), rtol, atol, equal_nan)
    assert close.dtype == tg.bool
    np.testing.assert_array_equal(close.numpy(), np.isclose(a, b, rtol, atol, equal_nan))
    assert tg.allclose(tg.tensor(a), tg.tensor(b), rtol, atol, equal_nan) is bool(close.numpy().all())


def test_isclose_of_others():
    assert tg.isclose(tg.tensor([1, 2**53 + 1]), tg.tensor([1, 2**53]), rtol=0, atol=0).tolist() == [True, False]
    assert tg.isclose(tg.tensor([250], dtype=tg.uint8), tg.tensor([2], dtype=tg.uint8), rtol=0, atol=10).tolist() == [False]
    assert tg.isclose(tg.tensor([True]), tg.tensor([True])).tolist() == [True]
    assert tg.isclose(tg.ones(2, 1), tg.ones(3)).shape == (2, 3) and tg.isclose(tg.tensor(1.0), tg.tensor(1.0)).shape == ()
    assert not tg.isclose(tg.tensor([6e4], dtype=tg.float16), tg.tensor([-6e4], dtype=tg.float16)).item()
    for call, error in ((lambda: tg.isclose(tg.ones(2), tg.ones(2).double()), DTypeError), (lambda: tg.isclose(tg.ones(2), tg.ones(3)), ShapeError),
                        (lambda: tg.isclose(tg.ones(2), tg.ones(2), rtol=-1), ValueError), (lambda: tg.allclose(tg.ones(2), 1.0), TypeError)):
        with pytest.raises(error):
            call()


def test_is_tensor_and_its_like():
    assert tg.is_tensor(tg.ones(1)) and not tg.is_tensor(np.ones(1))
    assert tg.numel(tg.ones(2, 3)) == 6 and tg.is_floating_point(tg.ones(1)) and not tg.is_floating_point(tg.arange(3))
