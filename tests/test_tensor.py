"""Tensor: its attributes, its conversions, and its place in Python and NumPy."""
import copy
import gc
import operator
import pickle
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_ed as tg
from tinygrad_ed.errors import DimError, DTypeError, GraphError, ShapeError

DTYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"]
NAMES = {"half": "float16", "float": "float32", "double": "float64", "char": "int8", "byte": "uint8", "short": "int16", "int": "int32",
         "long": "int64", "bool": "bool"}


@pytest.mark.parametrize("sizes, advice", [((2, 3), "2, 3"), ((5, 4, 3), "5, 4, 3"), ((), "0"), ((2, 0), "2, 0"), (([1.0], "cpu"), "2, 3")])
def test_sizes_are_not_taken_for_data_and_a_flag(sizes, advice):
    with pytest.raises(TypeError, match=rf"tinygrad_ed.empty\({advice}\).*tinygrad_ed.tensor"):
        tg.Tensor(*sizes)


def test_flags_of_numpy_are_flags():
    assert tg.Tensor([1.0], np.bool_(True)).requires_grad and not tg.Tensor([1.0], np.bool_(False)).requires_grad


# -- attributes --------------------------------------------------------------------------------------------------------

@given(st.lists(st.integers(0, 4), max_size=4), st.sampled_from(DTYPES))
def test_attributes(shape, dtype):
    x, shape = tg.zeros(shape, dtype=dtype), tuple(shape)
    n = int(np.prod(shape))
    assert x.shape == x.size() == shape and x.ndim == x.dim() == len(shape)
    assert x.numel() == x.nelement() == n and x.itemsize == x.element_size() == np.dtype(dtype).itemsize and x.nbytes == n * x.itemsize
    assert x.dtype is getattr(tg, dtype) and x.is_floating_point() == dtype.startswith("float")
    assert x.device == tg.device("cpu") and not x.is_cuda and x.is_cpu and x.get_device() == -1 and x.is_contiguous()
    assert not x.requires_grad and x.is_leaf and x.grad is None and x.grad_fn is None and not x.retains_grad
    for dim in range(-len(shape), len(shape)):
        assert x.size(dim) == shape[dim] and x.stride(dim) == x.stride()[dim]
    for bad in (len(shape) + 1, -len(shape) - 2):
        with pytest.raises(DimError, match="out of range"):
            x.size(bad)


def test_strides():
    x = tg.zeros(2, 3, 4)
    assert x.stride() == (12, 4, 1)
    y = tg.from_numpy(np.zeros((2, 3, 4)).T[::-1])
    assert y.stride() == (-1, 4, 12) and not y.is_contiguous()


def test_data():
    x = tg.ones(2, requires_grad=True)
    array = x.data
    x.data = np.zeros(3, np.float64)
    assert x.shape == (3,) and x.dtype == tg.float64 and x.requires_grad and array.tolist() == [1, 1]
    x.data -= 1
    assert x.tolist() == [-1, -1, -1] and x._version == 1
    with pytest.raises(DTypeError, match="requires grad"):
        x.data = np.zeros(3, int)
    assert x.tolist() == [-1, -1, -1]
    for bad in ("abc", [[1], [2, 3]]):
        with pytest.raises((ShapeError, DTypeError)):
            x.data = bad


def test_requires_grad():
    x = tg.ones(2)
    assert x.requires_grad_() is x and x.requires_grad and x.requires_grad_(False).requires_grad is False
    for dtype in DTYPES[3:]:
        t = tg.ones(2, dtype=dtype)
        with pytest.raises(DTypeError, match="floating point"):
            t.requires_grad = True
        assert not t.requires_grad
        t.requires_grad_(False)
    y = x.requires_grad_() * 2
    with pytest.raises(GraphError, match="detach"):
        y.requires_grad = False
    assert y.requires_grad and not y.is_leaf and y.requires_grad_() is y


def test_grad():
    x = tg.ones(2, requires_grad=True)
    x.grad = tg.zeros(2)
    assert x.grad.tolist() == [0, 0]
    kept = x.grad
    for bad, error in ((tg.zeros(3), ShapeError), (tg.zeros(2).double(), RuntimeError), (np.zeros(2), TypeError), (1.0, TypeError)):
        with pytest.raises(error):
            x.grad = bad
    assert x.grad is kept
    x.grad = None
    assert x.grad is None


def test_detach():
    x = tg.ones(2, requires_grad=True)
    y = x * 2
    d = y.detach()
    assert not d.requires_grad and d.is_leaf and d.data is y.data and y.requires_grad
    assert y.detach_() is y and y.is_leaf and not y.requires_grad
    with pytest.raises(GraphError, match="view"):
        (x * 2)[:1].detach_()


def test_misuse_of_hooks():
    for name in ("register_hook", "register_post_accumulate_grad_hook"):
        with pytest.raises(GraphError):
            getattr(tg.ones(2), name)(print)
    with pytest.raises(GraphError):
        (tg.ones(2, requires_grad=True) * 2).register_post_accumulate_grad_hook(print)
    with pytest.raises(GraphError):
        tg.ones(2).retain_grad()


# -- conversions -------------------------------------------------------------------------------------------------------

@given(st.sampled_from(DTYPES), st.sampled_from(DTYPES))
def test_to_dtype(a, b):
    x = tg.tensor([0, 1, 3]).to(dtype=a)
    dtype = getattr(tg, b)
    for y in (x.to(dtype), x.to(b), x.to(dtype=dtype), x.to("cpu", dtype), x.to(tg.zeros(1, dtype=b)), x.type_as(tg.zeros(1, dtype=b)),
              x.to(dtype, True), x.to(device="cpu", dtype=dtype, non_blocking=True)):
        assert y.dtype is dtype and y.tolist() == np.array([0, 1, 3]).astype(a).astype(b).tolist()
        assert (y is x) == (a == b)
    for y in (x.to(dtype, copy=True), x.to(dtype, False, True)):
        assert y is not x and not np.shares_memory(y.data, x.data)
    assert x.to(a) is x and x.to() is x and x.to("cpu") is x and x.cpu() is x


@pytest.mark.parametrize("name, dtype", NAMES.items())
def test_conversions_by_name(name, dtype):
    assert getattr(tg.tensor([0, 1]), name)().dtype == dtype


def test_conversions_carry_gradients():
    x = tg.ones(2, dtype=tg.float64, requires_grad=True)
    (x.float() * 3).half().double().sum().backward()
    assert x.grad.dtype == tg.float64 and x.grad.tolist() == [3, 3]
    assert not x.long().requires_grad


def test_to_refuses():
    x = tg.ones(2)
    for bad in ("foo", "complex64", complex, object()):
        with pytest.raises(DTypeError):
            x.to(bad)
    if not tg.cuda.is_available():
        for move in (lambda: x.cuda(), lambda: x.to("cuda:0"), lambda: x.to(0), lambda: x.cuda(1)):
            with pytest.raises(RuntimeError, match="CUDA is not available"):
                move()


def test_item_tolist_numpy():
    assert tg.tensor([[2.5]]).item() == 2.5 and type(tg.tensor(3).item()) is int and type(tg.tensor([True]).item()) is bool
    assert tg.tensor([[1, 2]]).tolist() == [[1, 2]] and tg.tensor(1.5).tolist() == 1.5
    for shape in ((2,), (0,)):
        with pytest.raises(ShapeError, match="one element"):
            tg.ones(shape).item()
    x = tg.ones(2, requires_grad=True)
    assert x.detach().numpy() is x.data and x.numpy(force=True) is x.data
    for bad in (lambda: x.numpy(), lambda: np.asarray(x), lambda: np.sum([x, x])):
        with pytest.raises(GraphError, match="detach"):
            bad()


# -- Python ------------------------------------------------------------------------------------------------------------

def test_numbers():
    assert float(tg.tensor([1.5])) == 1.5 and int(tg.tensor(-1.7)) == -1 and bool(tg.tensor([0.0])) is False and complex(tg.tensor(2.0)) == 2
    assert [1, 2, 3][tg.tensor(1)] == 2 and operator.index(tg.tensor([2])) == 2 and range(5)[tg.tensor(2):] == range(2, 5)
    with pytest.raises(TypeError, match="long"):
        operator.index(tg.tensor(1.0))
    for bad in (tg.ones(2), tg.ones(0)):
        for convert in (bool, float, int):
            with pytest.raises((ShapeError, TypeError)):
                convert(bad)


def test_containers():
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert len(x) == 2 and [row.tolist() for row in x] == [[1, 2], [3, 4]] and 3 in x and 5 not in x and tg.tensor(1.0) in x
    for bad in (lambda: len(tg.tensor(1.0)), lambda: list(tg.tensor(1.0)), lambda: "a" in x, lambda: None in x):
        with pytest.raises(TypeError):
            bad()


def test_tensors_are_keys_by_identity():
    a, b = tg.ones(2), tg.ones(2)
    table = {a: 1, b: 2}
    assert table[a] == 1 and table[b] == 2 and len({a, b, a}) == 2 and hash(a) == hash(a)


def test_attributes_cannot_be_misspelled():
    with pytest.raises(AttributeError):
        tg.ones(2).requires_gradd = True


def test_weak_references_and_no_cycles():
    gc.collect()
    gc.disable()
    try:
        x = tg.ones(2, requires_grad=True)
        y = (x * 2).exp()
        ref, node = weakref.ref(y), y.grad_fn
        del y
        assert ref() is None
        del node
    finally:
        gc.enable()


@given(st.sampled_from(DTYPES), st.booleans(), st.sampled_from([pickle.HIGHEST_PROTOCOL, 2]))
def test_pickle_and_copy(dtype, requires_grad, protocol):
    x = tg.tensor(np.arange(6).reshape(2, 3)[:, ::-1] % 2).to(dtype)
    if dtype.startswith("float"):
        x.requires_grad_(requires_grad)
        x.grad = tg.ones(2, 3, dtype=dtype)
    for y in (pickle.loads(pickle.dumps(x, protocol)), copy.deepcopy(x), copy.copy(x)):
        assert tg.equal(x, y) and y.dtype is x.dtype and y.requires_grad == x.requires_grad and y is not x and y.is_leaf
    deep = copy.deepcopy([x, x])
    assert deep[0] is deep[1] and not np.shares_memory(deep[0].data, x.data)
    if x.grad is not None:
        assert tg.equal(deep[0].grad, x.grad) and deep[0].grad is not x.grad and not np.shares_memory(deep[0].grad.data, x.grad.data)
    y = pickle.loads(pickle.dumps(x, protocol))
    assert (y + y).dtype is x.dtype or dtype == "bool"


def test_only_leaves_are_pickled():
    y = tg.ones(2, requires_grad=True) * 2
    for bad in (pickle.dumps, copy.deepcopy):
        with pytest.raises(GraphError, match="detach"):
            bad(y)


def test_subclasses_survive():
    class Named(tg.Tensor):
        __slots__ = ("__dict__",)

    x = Named([1.0, 2.0], requires_grad=True)
    x.name = "weight"
    y = copy.deepcopy(x)
    assert type(y) is Named and y.name == "weight" and y.requires_grad
    assert type(x * 2) is tg.Tensor


# -- NumPy -------------------------------------------------------------------------------------------------------------

def test_array_protocol():
    x = tg.tensor([1.0, 2.0])
    assert np.asarray(x) is x.data and np.array(x) is not x.data and not np.shares_memory(np.array(x), x.data)
    assert np.asarray(x, dtype=np.float64).dtype == np.float64 and np.asarray(x, copy=False) is x.data
    with pytest.raises(ValueError, match="copy"):
        np.asarray(x, dtype=np.float64, copy=False)
    np.testing.assert_allclose(x, [1.0, 2.0])
    assert np.stack([x, x]).tolist() == [[1, 2], [1, 2]]


@given(st.sampled_from(["add", "subtract", "multiply", "divide", "maximum", "less", "equal", "power", "arctan2"]), st.booleans())
def test_numpy_functions_are_recorded(name, swap):
    f = getattr(np, name)
    x, a = tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True), np.array([3.0, 0.5])
    y = f(a, x) if swap else f(x, a)
    assert isinstance(y, tg.Tensor)
    np.testing.assert_allclose(y.detach().numpy(), f(a, x.data) if swap else f(x.data, a))
    assert y.requires_grad == (name not in ("less", "equal"))


def test_arrays_and_numbers_of_numpy_in_operators():
    x = tg.ones(2, requires_grad=True)
    for y in (np.ones(2, np.float32) + x, np.float64(2) * x, x * np.float64(2), x - np.ones(2, np.float32), np.sin(x), np.float32(1) / x):
        assert isinstance(y, tg.Tensor) and y.requires_grad and y.dtype == tg.float32
    assert (np.ones(2) @ tg.ones(2, dtype=tg.float64)).item() == 2


# -- dtypes ------------------------------------------------------------------------------------------------------------

@given(st.sampled_from(DTYPES), st.sampled_from(DTYPES), st.sampled_from([0, 1]), st.sampled_from([0, 1]))
def test_promotion(a, b, m, n):
    x, y = tg.ones([2] * m, dtype=a), tg.ones([2] * n, dtype=b)
    kinds = [0 if d == "bool" else 2 if d.startswith("float") else 1 for d in (a, b)]
    both = getattr(tg, str(np.promote_types(a, b))) if kinds[0] == kinds[1] else getattr(tg, a if kinds[0] > kinds[1] else b)
    expected = both if m == n or kinds[0] != kinds[1] and (kinds[0] > kinds[1]) == (m < n) else getattr(tg, a if m > n else b)
    assert tg.result_type(x, y) is expected
    if expected != tg.bool:
        assert (x + y).dtype is expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_are_weak(dtype):
    x, kind = tg.ones(2, dtype=dtype), np.dtype(dtype).kind
    for number, floor in ((True, "b"), (2, "i"), (0.5, "f"), (np.float64(0.5), "f"), (np.int64(3), "i")):
        wanted = tg.float32 if floor == "f" and kind != "f" else tg.int64 if floor == "i" and kind == "b" else x.dtype
        assert tg.result_type(x, number) is wanted
        if wanted != tg.bool:
            assert (x + number).dtype is wanted and (number + x).dtype is wanted


def test_device():
    assert tg.device("cuda", 1) == tg.device("cuda:1") == "cuda:1" and tg.device("cuda") == "cuda:0" != tg.device("cpu")
    assert str(tg.device("cuda:2")) == "cuda:2" and repr(tg.device("cpu")) == "device(type='cpu')" and len({tg.device("cpu"), tg.device("cpu")}) == 1
    for bad in ("gpu", "cuda:x", ("cuda", -1)):
        with pytest.raises(RuntimeError):
            tg.device(*([bad] if isinstance(bad, str) else bad))


def test_threads_share_no_state():
    results = []

    def work(k):
        with tg.no_grad():
            results.append((tg.ones(2, requires_grad=True) * k).requires_grad)
    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [False] * 8 and (tg.ones(2, requires_grad=True) * 2).requires_grad


@pytest.mark.parametrize("a, b, fix", [((3, 4), (3,), "reshape(3, 1)"), ((2,), (2, 3, 4), "reshape(2, 1, 1)"), ((3, 4), (2, 4), None), ((3, 4), (2,), None)])
def test_shapes_that_do_not_broadcast(a, b, fix):
    with pytest.raises(ShapeError) as error:
        tg.ones(a) + tg.ones(b)
    message = str(error.value)
    assert f"{a} and {b} do not broadcast" in message
    assert fix in message if fix else "reshape" not in message


def test_what_is_no_tensor_is_to_become_one():
    with pytest.raises(DTypeError, match=r"list.*write tensor\(x\)"):
        tg.nn.Linear(2, 2)([1.0, 2.0])
    with pytest.raises(DTypeError, match="write x.to"):
        tg.nn.Linear(2, 2)(tg.ones(2, dtype=tg.float64))
