"""The names of PyTorch's first years; what they make is compared with PyTorch in parity/test_creation.py."""
import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed import legacy
from tinygrad_ed.errors import DTypeError, GraphError


@pytest.mark.parametrize("name", [n for n in legacy.__all__ if n.endswith("Tensor")])
def test_a_type_makes_its_dtype_and_knows_it_again(name):
    kind = getattr(tg, name)
    x = tg.ones(2).type(kind)
    assert x.dtype == kind(2, 3).dtype == kind([1, 2]).dtype == kind.dtype and isinstance(x, kind)
    assert x.type() == f"tinygrad_ed.{name}" and tg.ones(2).type(x.type()).dtype == x.dtype
    assert not isinstance(x.data, kind) and sum(isinstance(x, getattr(tg, n)) for n in legacy.__all__ if n.endswith("Tensor")) == 1


def test_a_tuple_of_integers_is_a_shape_or_values():
    with pytest.raises(TypeError, match=r"LongTensor\(\*\(2, 3\)\) or LongTensor\(\[2, 3\]\)"):
        tg.LongTensor((2, 3))
    assert tg.LongTensor(*(2, 3)).shape == (2, 3) and tg.FloatTensor((2.0, 3.0)).tolist() == [2, 3]


def test_values_share_memory_where_they_can():
    a = np.ones(2)
    assert tg.DoubleTensor(a).data is a and tg.FloatTensor(a).dtype == tg.float32


def test_names_of_types():
    with pytest.raises(DTypeError, match="numpy.FloatTensor"):
        tg.ones(1).type("numpy.FloatTensor")
    assert legacy.named_type("torch.cuda.HalfTensor") == (np.dtype("float16"), "cuda")


def test_a_variable_starts_anew_in_the_same_memory():
    x = tg.ones(2, requires_grad=True)
    y = tg.autograd.Variable(x * 2, requires_grad=True)
    assert y.is_leaf and y.requires_grad and isinstance(x, tg.autograd.Variable) and not isinstance(x.data, tg.autograd.Variable)
    assert tg.autograd.Variable(x.data).data is x.data and not tg.autograd.Variable(x).requires_grad
    with pytest.raises(TypeError, match="tensor"):
        tg.autograd.Variable([1.0])
    with pytest.raises(GraphError):
        tg.autograd.Variable(x).sum().backward()
