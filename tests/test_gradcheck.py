"""gradcheck and gradgradcheck: right gradients pass, each kind of wrong one is caught and named."""
import warnings

import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed.autograd import Function, GradcheckError, gradcheck, gradgradcheck


def leaf(values, dtype=np.float64):
    return tg.Tensor(np.array(values, dtype), requires_grad=True)


def wrong(change):
    """x² with a changed gradient."""
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            x, = ctx.saved_tensors
            return change(g, x)

    return Square.apply


RIGHT = wrong(lambda g, x: g * 2.0 * x)
WRONG = {
    "factor": lambda g, x: g * 2.01 * x, "zero": lambda g, x: g * 0.0, "sign": lambda g, x: g * -2.0 * x, "ignores g": lambda g, x: 2.0 * x,
    "sums g": lambda g, x: g.sum() * 2.0 * x, "nan": lambda g, x: g * float("nan"), "inf": lambda g, x: g / 0.0, "none": lambda g, x: None,
    "one entry": lambda g, x: g * 2.0 * x * tg.Tensor(np.array([1.0, 1.0, 1.1])), "reversed": lambda g, x: (g * 2.0 * x).flip(0),
}


@pytest.mark.parametrize("fast_mode", [False, True])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_gradients_are_caught(name, fast_mode):
    x = leaf([0.5, -1.0, 2.0])
    with pytest.raises(GradcheckError, match="Square"):
        gradcheck(wrong(WRONG[name]), x, fast_mode=fast_mode)
    assert gradcheck(wrong(WRONG[name]), x, fast_mode=fast_mode, raise_exception=False) is False
    assert gradcheck(RIGHT, x, fast_mode=fast_mode) is True
    np.testing.assert_array_equal(x.data, [0.5, -1.0, 2.0])
    assert x.grad is None


def test_the_report_names_the_worst_entry():
    x = leaf([[0.5, -1.0, 2.0]])
    with pytest.raises(GradcheckError) as info:
        gradcheck(wrong(lambda g, x: g * 2.0 * x * tg.Tensor(np.array([[1.0, 1.1, 1.2]]))), (x,))
    message = str(info.value)
    for part in ("'Square'", "output 0 by input 0", "output index (0, 2), input index (0, 2)", "numerical 4", "analytical 4.8",
                 "difference 0.8", "2 of 9 entries"):
        assert part in message


def test_second_derivatives():
    x = leaf([0.5, -1.0])
    assert gradgradcheck(RIGHT, x) and gradgradcheck(RIGHT, x, fast_mode=True)
    detached = wrong(lambda g, x: g * 2.0 * x.detach())
    assert gradcheck(detached, x)
    with pytest.raises(GradcheckError, match="gradient of apply"):
        gradgradcheck(detached, x)
    assert not gradgradcheck(detached, x, raise_exception=False)
    assert gradgradcheck(RIGHT, x, leaf([1.0, 2.0]))
    assert gradgradcheck(lambda x, y: (x * y, x.sin()), (x, leaf([1.0, 2.0])), gen_non_contig_grad_outputs=True)


def test_shapes_and_dtypes_of_gradients():
    from tinygrad_ed.autograd.op import op
    narrow = op("narrow_gradient", lambda x: x * 2.0, x=lambda g: (g * 2.0).astype(np.float32) if isinstance(g, np.ndarray) else g * 2.0)
    with pytest.raises(GradcheckError, match="float32.*float64"):
        gradcheck(narrow, leaf([1.0, 2.0]))
    wide = op("wide_gradient", lambda x: x * 2.0, x=lambda g: (g * 2.0).reshape(1, -1))
    with pytest.raises(GradcheckError, match=r"shape \(1, 2\).*\(2,\)"):
        gradcheck(wide, leaf([1.0, 2.0]))


def test_undefined_gradients_of_other_outputs():
    class Two(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2.0, x * 3.0

        @staticmethod
        def backward(ctx, a, b):
            return a * 2.0 + b * 3.0                   # fails where one of them is None

    x = leaf([1.0])
    with pytest.raises(TypeError):
        gradcheck(Two.apply, x)
    assert gradcheck(Two.apply, x, check_undefined_grad=False)


def test_unsteady_gradients():
    random = np.random.default_rng(0)
    noisy = wrong(lambda g, x: g * 2.0 * x + float(random.uniform(1e-9, 2e-9)))
    with pytest.raises(GradcheckError, match="two backward walks"):
        gradcheck(noisy, leaf([1.0, 2.0]))
    assert gradcheck(noisy, leaf([1.0, 2.0]), nondet_tol=1e-8)


def test_float32_inputs_warn():
    with pytest.warns(UserWarning, match="input 0 is float32"):
        gradcheck(RIGHT, leaf([1.0, 2.0], np.float32), eps=1e-2, atol=1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradcheck(lambda x, y: x * y, (leaf([1.0]), tg.Tensor(np.ones(1, "f")).double()))


@pytest.mark.parametrize("inputs, text", [
    ((tg.Tensor(np.ones(2)),), "at least one input"), ((3.0,), "at least one input"),
    ((tg.Tensor(np.broadcast_to(np.ones(1), (3,)), requires_grad=True),), "share memory"),
    ((tg.Tensor(np.frombuffer(np.ones(3).tobytes()), requires_grad=True),), "read-only"),
])
def test_inputs_that_cannot_be_checked(inputs, text):
    with pytest.raises(ValueError, match=text):
        gradcheck(lambda x: x * 2.0, inputs)


def test_forward_mode_is_refused():
    for option in ("check_forward_ad", "check_batched_forward_grad"):
        with pytest.raises(ValueError, match="forward mode"):
            gradcheck(RIGHT, leaf([1.0]), **{option: True})
    with pytest.raises(ValueError, match="forward mode"):
        gradgradcheck(RIGHT, leaf([1.0]), check_fwd_over_rev=True)
    assert gradcheck(wrong(lambda g, x: g), leaf([1.0]), check_backward_ad=False)
    assert gradgradcheck(wrong(lambda g, x: g), leaf([1.0]), check_rev_over_rev=False)


def test_all_options_are_accepted():
    assert gradcheck(RIGHT, leaf([1.0]), eps=1e-6, atol=1e-5, rtol=1e-3, raise_exception=True, nondet_tol=0.0, check_undefined_grad=True,
                     check_grad_dtypes=True, check_batched_grad=True, fast_mode=False, masked=False)
    assert gradgradcheck(RIGHT, leaf([1.0]), None, eps=1e-6, atol=1e-5, rtol=1e-3, nondet_tol=0.0, check_undefined_grad=True,
                         check_grad_dtypes=True, check_batched_grad=True, fast_mode=False, masked=False)


def test_other_arguments_and_outputs():
    assert gradcheck(lambda x, k, n: (x * k, n, (x > 0), x.long()), (leaf([1.5]), 3.0, tg.Tensor(np.arange(2))))
    assert gradcheck(lambda x: [x * 2.0, x * x], [leaf(1.5)])
    assert gradcheck(lambda x: x * 2.0, leaf(np.ones((0, 2))))
    with pytest.raises(GradcheckError):                # an output cut from the graph is not constant
        gradcheck(lambda x: x.detach() * 2.0, leaf([1.0]))
    assert gradcheck(lambda x: tg.ones(2) * 2.0, leaf([1.0]))


def test_parameters_that_the_function_captures():
    w, x = leaf([2.0, 3.0]), tg.Tensor(np.array([1.0, -1.0]))
    model = lambda: (x * w).sin()
    assert gradcheck(lambda *parameters: model(), (w,))
    with pytest.raises(GradcheckError):
        gradcheck(lambda *parameters: model() + w.detach(), (w,))


def test_inputs_on_the_way():
    x = leaf([1.0, 2.0])
    assert gradcheck(lambda h: h * h.exp(), x * 2.0)
    assert gradcheck(lambda v: v * v.exp(), (x * 2.0)[:1])


def test_inputs_are_put_back_after_errors():
    x = leaf([1.0, 2.0])
    calls = []

    def f(x):
        calls.append(1)
        return x * 2.0 if len(calls) < 3 else 1 / 0

    with pytest.raises(ZeroDivisionError):
        gradcheck(f, x)
    np.testing.assert_array_equal(x.data, [1.0, 2.0])
