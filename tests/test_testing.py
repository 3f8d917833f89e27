"""assert_close: what it lets pass, what it says."""
import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed.testing import assert_close


def test_it_says_how_many_and_where():
    with pytest.raises(AssertionError, match=r"1 of 4 elements .* 3\.0, expected 4\.0 at \(1, 1\), a distance of 1,"):
        assert_close(tg.tensor([[1.0, 2.0], [3.0, 3.0]]), tg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    with pytest.raises(AssertionError, match=r"at \['a'\]\[1\]"):
        assert_close({"a": [tg.ones(1), tg.ones(1)]}, {"a": [tg.ones(1), tg.zeros(1)]})


def test_a_message_of_ones_own():
    with pytest.raises(AssertionError, match="^mine$"):
        assert_close(1, 2, msg="mine")
    with pytest.raises(AssertionError, match="^step 3: 1 of 1"):
        assert_close(1, 2, msg=lambda text: "step 3: " + text)


def test_tensors_with_a_history_and_arrays():
    assert_close(tg.ones(2, requires_grad=True) * 2, tg.full((2,), 2.0))
    assert_close(np.ones(2), np.ones(2))
    assert_close([], [])
    assert_close(tg.zeros(0), tg.zeros(0))
