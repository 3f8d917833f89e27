"""Mixed precision: which dtypes come out of autocast and what arrives in the gradients; the scaler's steps and scales."""
import threading

import numpy as np
import pytest

import tinygrad_ed as tg
import tinygrad_ed.nn.functional as F
from tinygrad_ed import amp, nn, optim
from tinygrad_ed.autograd.casts import FLOAT32, LOWER, active
from tinygrad_ed.errors import DeviceError, DTypeError, GraphError

X = tg.arange(6.0).reshape(2, 3) / 4


def test_every_name_in_the_table_is_an_operation():
    import gc

    import cases  # noqa: F401  (calls every operation's declaration)
    names = {f.__name__ for f in gc.get_objects() if type(f) is type(lambda: 0) and ("compile_op" in f.__globals__)}
    assert sorted((LOWER | FLOAT32) - names) == []


def opened():
    """The blocks that are open."""
    return [block for block in active if isinstance(block, amp.autocast)]


@pytest.mark.parametrize("call, dtype", [
    (lambda x: x @ x.t(), "half"), (lambda x: F.linear(x, tg.ones(4, 3)), "half"),
    (lambda x: F.linear_relu(x, tg.ones(4, 3)), "half"), (lambda x: F.linear_gelu(x, tg.ones(4, 3)), "half"),
    (lambda x: tg.einsum("ij,kj->ik", x, x), "half"),
    (lambda x: F.conv1d(x[None], tg.ones(4, 2, 1)), "half"), (lambda x: F.scaled_dot_product_attention(x[None], x[None], x[None]), "half"),
    (lambda x: nn.LSTM(3, 2)(x)[0], "half"), (lambda x: (x @ x.t()).softmax(1), "float32"), (lambda x: (x @ x.t()).exp(), "float32"),
    (lambda x: (x @ x.t()).sum(), "float32"), (lambda x: F.cross_entropy(x @ x.t(), tg.tensor([0, 1])), "float32"),
    (lambda x: F.layer_norm(x @ x.t(), (2,)), "float32"), (lambda x: F.relu(x @ x.t()), "half"), (lambda x: x + 1, "float32"),
    (lambda x: (x @ x.t()) + x.sum(1), "float32"), (lambda x: tg.cat([x @ x.t(), x], 1), "float32"),
    (lambda x: x.double() @ x.double().t(), "float64"), (lambda x: x.long() @ x.long().t(), "int64")])
@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_dtypes(call, dtype, half):
    with amp.autocast("cpu", half):
        assert call(X).dtype == (half if dtype == "half" else dtype)
    assert not opened()
    outside = call(X).dtype
    assert outside == ("float32" if dtype == "half" else dtype)


def test_the_gradient_is_that_of_the_converted_program():
    layer = nn.Linear(3, 2)
    with amp.autocast("cpu", "float16"):
        y = layer(X)
        loss = y.square().mean()
    loss.backward()
    assert y.dtype == tg.float16 and layer.weight.dtype == layer.weight.grad.dtype == tg.float32
    w, b = (p.detach().half().requires_grad_() for p in (layer.weight, layer.bias))
    F.linear(X.half(), w, b).square().mean().backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), w.grad.numpy(), rtol=2e-3)
    np.testing.assert_allclose(layer.bias.grad.numpy(), b.grad.numpy(), rtol=2e-3)


def test_a_parameter_is_converted_once_in_a_block_and_anew_where_it_changed():
    w = nn.Parameter(tg.ones(3, 3))
    with amp.autocast("cpu", "float16"):
        with tg.no_grad():
            X @ w                                     # what is converted without a history is not kept
        first, second = X @ w, X @ w
        assert first.grad_fn.next_functions[1][0] is second.grad_fn.next_functions[1][0]
        w.data = w.data * 2
        np.testing.assert_array_equal((X @ w).numpy(force=True), 2 * first.numpy(force=True))
    (first.sum() + second.sum()).backward()
    np.testing.assert_array_equal(w.grad.numpy(), 2 * (X.t() @ tg.ones(2, 3)).numpy())


def test_blocks_nest_and_end_with_an_exception_and_stay_in_their_thread():
    seen = []
    with amp.autocast("cpu", "float16"):
        with amp.autocast("cpu", enabled=False):
            assert (X @ X.t()).dtype == tg.float32
        thread = threading.Thread(target=lambda: seen.append((X @ X.t()).dtype))
        thread.start()
        thread.join()
        assert (X @ X.t()).dtype == tg.float16
        with amp.autocast("cuda"):
            assert (X @ X.t()).dtype == tg.float32    # converts what lies on a device
    with pytest.raises(ZeroDivisionError), amp.autocast("cpu", "float16"):
        raise ZeroDivisionError
    assert (X @ X.t()).dtype == tg.float32 and seen == [tg.float32] and not opened()


def test_as_a_decorator():
    @amp.autocast("cpu", "float16")
    def product(x):
        return x @ x.t()
    assert product(X).dtype == tg.float16 and (X @ X.t()).dtype == tg.float32


def test_second_derivatives():
    x = tg.tensor([[0.5, 0.25]], requires_grad=True)
    with amp.autocast("cpu", "float16"):
        y = (x @ x.t()).log().sum()
    g, = tg.autograd.grad(y, x, create_graph=True)
    h, = tg.autograd.grad(g.sum(), x)
    a, b = 0.5, 0.25
    s = a * a + b * b
    np.testing.assert_allclose(h.numpy(), [[2 / s - 4 * a * (a + b) / s ** 2, 2 / s - 4 * b * (a + b) / s ** 2]], rtol=2e-2)


@pytest.mark.parametrize("arguments, error", [(("toaster",), DeviceError), (("cpu", tg.float64), DTypeError), (("cpu", tg.int32), DTypeError)])
def test_bad_arguments(arguments, error):
    with pytest.raises(error):
        amp.autocast(*arguments)


# -- the scaler --------------------------------------------------------------------------------------------------------

def model():
    tg.manual_seed(0)
    net = nn.Linear(3, 1)
    return net, optim.SGD(net.parameters(), lr=0.1)


def test_a_scaled_step_is_the_step():
    (net, optimizer), (other, plain) = model(), model()
    scaler = amp.GradScaler(init_scale=2.0 ** 10, growth_interval=2)
    for _ in range(3):
        for m, o in ((net, optimizer), (other, plain)):
            o.zero_grad()
            loss = m(X).square().mean()
            (scaler.scale(loss) if m is net else loss).backward()
        scaler.step(optimizer)
        scaler.update()
        plain.step()
    np.testing.assert_array_equal(net.weight.detach().numpy(), other.weight.detach().numpy())
    assert scaler.get_scale() == 2.0 ** 11            # it has grown after two good steps


def test_a_step_with_a_gradient_that_is_not_finite_is_left_out():
    net, optimizer = model()
    scaler, before = amp.GradScaler(init_scale=8.0), net.weight.detach().clone()
    scaler.scale(net(X).mean() * float("inf")).backward()
    assert scaler.step(optimizer) is None
    scaler.update()
    assert tg.equal(net.weight.detach(), before) and scaler.get_scale() == 4 and scaler.state_dict()["_growth_tracker"] == 0


def test_clipping_sees_unscaled_gradients():
    net, optimizer = model()
    scaler = amp.GradScaler()
    scaler.scale(net(X).square().mean()).backward()
    scaler.unscale_(optimizer)
    unscaled = net.weight.grad.clone()
    optimizer.zero_grad()
    net(X).square().mean().backward()
    np.testing.assert_array_equal(net.weight.grad.numpy(), unscaled.numpy())
    with pytest.raises(GraphError):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(GraphError):
        scaler.step(optimizer)
    scaler.update()
    with pytest.raises(GraphError):
        scaler.update()
    with pytest.raises(ValueError):
        scaler.step(optimizer, lambda: None)


def test_losses_in_containers_and_without_scaling():
    off = amp.GradScaler(enabled=False)
    loss = tg.ones(())
    assert off.scale(loss) is loss and off.get_scale() == 1 and off.state_dict() == {} and not off.is_enabled()
    on = amp.GradScaler(init_scale=4)
    assert [x.item() for x in on.scale([loss, loss * 2])] == [4, 8] and list(on.scale((loss,)))[0].item() == 4


def test_a_loss_in_float16_is_scaled_in_float32():
    """In float16 the scale itself would be infinite."""
    loss = tg.tensor(0.25, dtype=tg.float16, requires_grad=True)
    scaled = amp.GradScaler().scale(loss)
    scaled.backward()
    assert scaled.dtype == tg.float16 and scaled.item() == 2.0 ** 14 and loss.grad.item() == float("inf")


def test_state_goes_round():
    a, b = amp.GradScaler(init_scale=32, growth_interval=7), amp.GradScaler()
    b.load_state_dict(a.state_dict())
    assert b.state_dict() == a.state_dict() and b.get_growth_interval() == 7
    with pytest.raises(ValueError):
        b.load_state_dict({})


@pytest.mark.parametrize("options", [dict(init_scale=0), dict(growth_factor=1), dict(backoff_factor=1), dict(growth_interval=0)])
def test_bad_options(options):
    with pytest.raises(ValueError):
        amp.GradScaler(**options)


def test_training_in_half_precision_learns():
    tg.manual_seed(1)
    net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer, scaler = optim.Adam(net.parameters(), lr=0.03), amp.GradScaler()
    x = tg.randn(64, 2)
    target = (x[:, 0] * x[:, 1] > 0).long()
    for _ in range(150):
        optimizer.zero_grad()
        with amp.autocast("cpu", "float16"):
            loss = F.cross_entropy(net(x), target)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    assert loss.item() < 0.2 and net[0].weight.dtype == tg.float32


def test_what_autocast_is_in_force_can_be_asked():
    assert not tg.is_autocast_enabled() and not tg.is_autocast_enabled("cpu") and tg.get_autocast_dtype("cuda") == tg.float16
    with amp.autocast("cpu", tg.float16):
        assert tg.is_autocast_enabled("cpu") and not tg.is_autocast_enabled() and tg.get_autocast_dtype("cpu") == tg.float16
        with amp.autocast("cpu", enabled=False):
            assert not tg.is_autocast_enabled("cpu")
    with pytest.raises(DeviceError):
        tg.is_autocast_enabled("toaster")


def test_old_names():
    from tinygrad_ed.cuda.amp import GradScaler, autocast
    with autocast(True, tg.float16):
        assert tg.is_autocast_enabled("cuda")
    with autocast(enabled=False):
        assert not tg.is_autocast_enabled("cuda")
    assert autocast()(tg.is_autocast_enabled)() and GradScaler(8.0).get_scale() == 8
    assert isinstance(GradScaler(), amp.GradScaler) and isinstance(autocast(), amp.autocast)
