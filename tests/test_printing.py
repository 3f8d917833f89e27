"""How tensors are printed. The texts below are PyTorch's (see parity/test_printing.py for all the others)."""
import numpy as np
import pytest

import tinygrad_ed as tg

inf, nan = float("inf"), float("nan")

TEXTS = [
    ("tg.tensor(1.0)", "tensor(1.)"),
    ("tg.tensor(-2.5)", "tensor(-2.5000)"),
    ("tg.tensor(3)", "tensor(3)"),
    ("tg.tensor(True)", "tensor(True)"),
    ("tg.tensor([])", "tensor([])"),
    ("tg.zeros(0, 3)", "tensor([], size=(0, 3))"),
    ("tg.zeros(0, 3, dtype=tg.int64)", "tensor([], size=(0, 3), dtype=int64)"),
    ("tg.tensor([1.0, 2.0, -3.0])", "tensor([ 1.,  2., -3.])"),
    ("tg.tensor([1.0, 2.5, -3.0])", "tensor([ 1.0000,  2.5000, -3.0000])"),
    ("tg.tensor([1.0, nan, inf, -inf])", "tensor([1., nan, inf, -inf])"),
    ("tg.tensor([1.5, nan, -inf])", "tensor([1.5000,    nan,   -inf])"),
    ("tg.tensor([0.0, -0.0, nan])", "tensor([0., -0., nan])"),
    ("tg.tensor([1e-5, 1.0])", "tensor([1.0000e-05, 1.0000e+00])"),
    ("tg.tensor([1e9, 1.5])", "tensor([1.0000e+09, 1.5000e+00])"),
    ("tg.tensor([100000.0, 1.0])", "tensor([1.0000e+05, 1.0000e+00])"),
    ("tg.tensor([0.00012345])", "tensor([0.0001])"),
    ("tg.tensor([True, False])", "tensor([ True, False])"),
    ("tg.tensor([1, -200, 3])", "tensor([   1, -200,    3])"),
    ("tg.tensor([1, 2], dtype=tg.uint8)", "tensor([1, 2], dtype=uint8)"),
    ("tg.tensor([1.0], dtype=tg.float64)", "tensor([1.], dtype=float64)"),
    ("tg.tensor([0.1, 1000.0], dtype=tg.float16)", "tensor([9.9976e-02, 1.0000e+03], dtype=float16)"),
    ("tg.tensor([[1.0, 2.0], [3.0, 4.0]])", "tensor([[1., 2.],\n        [3., 4.]])"),
    ("tg.arange(8).reshape(2, 2, 2)", "tensor([[[0, 1],\n         [2, 3]],\n\n        [[4, 5],\n         [6, 7]]])"),
    ("tg.zeros(2, 0, 3)", "tensor([], size=(2, 0, 3))"),
    ("tg.arange(30)", "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n"
                       "        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29])"),
    ("tg.arange(1200).reshape(30, 40)", "tensor([[   0,    1,    2,  ...,   37,   38,   39],\n"
                                        "        [  40,   41,   42,  ...,   77,   78,   79],\n"
                                        "        [  80,   81,   82,  ...,  117,  118,  119],\n"
                                        "        ...,\n"
                                        "        [1080, 1081, 1082,  ..., 1117, 1118, 1119],\n"
                                        "        [1120, 1121, 1122,  ..., 1157, 1158, 1159],\n"
                                        "        [1160, 1161, 1162,  ..., 1197, 1198, 1199]])"),
    ("tg.arange(1001)", "tensor([   0,    1,    2,  ...,  998,  999, 1000])"),
    ("tg.ones(2, requires_grad=True)", "tensor([1., 1.], requires_grad=True)"),
    ("tg.ones(2, requires_grad=True) * 2", "tensor([2., 2.], grad_fn=<MulBackward>)"),
    ("tg.ones(12, dtype=tg.float64, requires_grad=True)",
     "tensor([1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1.], dtype=float64,\n       requires_grad=True)"),
    ("tg.zeros(2, requires_grad=True).exp()", "tensor([1., 1.], grad_fn=<ExpBackward>)"),
]


@pytest.fixture(autouse=True)
def default_options():
    yield
    tg.set_printoptions(profile="default")


@pytest.mark.parametrize("code, text", TEXTS)
def test_texts(code, text):
    assert repr(eval(code)) == str(eval(code)) == text


def test_options():
    x = tg.tensor([1.23456, 20000.5])
    assert repr(x) == "tensor([1.2346e+00, 2.0000e+04])"
    tg.set_printoptions(sci_mode=False)
    assert repr(x) == "tensor([    1.2346, 20000.5000])"
    tg.set_printoptions(precision=2)
    assert repr(x) == "tensor([1.23e+00, 2.00e+04])" and tg.get_printoptions()["precision"] == 2
    tg.set_printoptions(sci_mode=True, precision=0)
    assert repr(tg.tensor([1.0, 2.0])) == "tensor([1e+00, 2e+00])"
    tg.set_printoptions(profile="short")
    assert repr(tg.tensor([1.5])) == "tensor([1.50])" and repr(tg.arange(2000)) == "tensor([   0,    1,  ..., 1998, 1999])"
    tg.set_printoptions(profile="full")
    assert "..." not in repr(tg.arange(2000))
    tg.set_printoptions(threshold=3, edgeitems=1, linewidth=20, profile="default")
    assert repr(tg.arange(5)) == "tensor([0,  ..., 4])" and repr(tg.arange(3) + 10000000) == (
        "tensor([10000000,\n        10000001,\n        10000002])")
    tg.set_printoptions(**tg.get_printoptions())
    assert tg.get_printoptions() == dict(precision=4, threshold=3, edgeitems=1, linewidth=20, sci_mode=None)
    with pytest.raises(ValueError, match="profile"):
        tg.set_printoptions(profile="long")
    assert tg.get_printoptions()["threshold"] == 3


def test_layout_of_memory_does_not_show():
    a = np.arange(24.0).reshape(2, 3, 4)
    for b in (np.asfortranarray(a), a[::-1, ::-1][::-1, ::-1], np.broadcast_to(a, a.shape)):
        assert repr(tg.from_numpy(b)) == repr(tg.from_numpy(a))


def test_printing_records_and_changes_nothing():
    x = tg.ones(2000, requires_grad=True)
    y = x * 2
    node, version = y.grad_fn, y._version
    repr(y), str(x), f"{y}"
    assert y.grad_fn is node and y._version == version and x.grad is None
    tg.arange(10**6).reshape(1000, 1000).__repr__()


def test_formats():
    assert f"{tg.tensor(1.5)}" == "1.5" and f"{tg.tensor(1.256, dtype=tg.float64):.2f}" == "1.26" and f"{tg.tensor(7):03d}" == "007"
    assert f"{tg.ones(1)}" == "tensor([1.])" and f"{tg.tensor(2.0, requires_grad=True):.1f}" == "2.0"
    with pytest.raises(TypeError, match="format"):
        f"{tg.ones(1):.2f}"
