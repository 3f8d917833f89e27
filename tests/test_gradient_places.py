"""Gradients that are products of matrices: made in the place that an optimizer has for them, and the same as without one."""
import threading

import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed import nn, optim
from tinygrad_ed.backend.kernels import kernels


class Net:
    """A layer whose gradient has a place, after a first step, or has none: an optimizer of plain gradient descent would step alike."""

    def __init__(self, has_place, device, dtype=tg.float64):
        tg.manual_seed(0)
        self.device, self.dtype, self.has_place = device, dtype, has_place
        self.layer = nn.Linear(4, 4).to(device=device, dtype=dtype)
        self.weight, self.bias = self.layer.weight, self.layer.bias
        self.x = self.tensor(np.random.default_rng(0).normal(size=(3, 4)))
        if has_place:
            self.optimizer = optim.SGD(self.layer.parameters(), lr=0.0)
            self.layer(self.x).sum().backward()
            self.optimizer.step()
        self.clear()

    def tensor(self, values):
        return tg.tensor(values, device=self.device, dtype=self.dtype)

    def clear(self):
        self.weight.grad = self.bias.grad = None

    def backward(self, x=None):
        (self.layer(self.x if x is None else x) ** 2).sum().backward()


def once(net):
    net.backward()


def twice_in_a_row(net):
    net.backward()
    net.backward()


def after_clearing(net):
    net.backward()
    net.clear()
    net.backward(net.x * 2.0)


def shared(net):
    net.backward(net.layer(net.layer(net.x)))


def first_another_formula(net):
    y = net.layer(net.x)
    (y.sum() + net.weight.exp().sum()).backward()


def last_another_formula(net):
    z = net.weight.exp()
    (net.layer(net.x).sum() + z.sum()).backward()


def one_row_and_stacks(net):
    net.backward(net.x[0])
    net.backward(net.x[:, None].expand(3, 2, 4))


def products_of_tensors(net):
    w = net.weight
    stack = net.x[:, None].expand(3, 2, 4)
    ((net.x @ w @ w).sum() + (stack @ w).square().sum() + (w @ net.x[0]).sum() + (net.x[0] @ w).square().sum() + (w @ stack.mT).sum()).backward()


def no_rows(net):
    net.backward(net.x[:0])


def kept_graph(net):
    loss = (net.layer(net.x) ** 2).sum()
    loss.backward(retain_graph=True)
    loss.backward()


def chosen_inputs(net):
    (net.layer(net.x) ** 2).sum().backward(inputs=[net.weight])


def recorded(net):
    d, = tg.grad((net.layer(net.x) ** 3).sum(), net.weight, create_graph=True)
    (d * d).sum().backward()


def a_hook_scales(net):
    with net.weight.register_hook(lambda g: g * 3.0):
        net.backward(net.layer(net.x))


def a_hook_writes(net):
    with net.weight.register_hook(lambda g: g.mul_(3.0)):
        net.backward()


def an_old_gradient_is_held(net):
    net.backward()
    kept = net.weight.grad
    net.clear()
    net.backward(net.x * 2.0)
    net.weight.grad += kept


def an_old_gradient_is_in_the_graph(net):
    net.backward()
    loss = (net.layer(net.x) * net.weight.grad[0]).sum()
    net.clear()
    loss.backward()


def an_error_on_the_way(net):
    def fail(g):
        raise KeyError("on purpose")

    x = net.x.clone().requires_grad_()
    with x.register_hook(fail), pytest.raises(KeyError):
        net.backward(x)
    assert net.weight.grad is None and net.bias.grad is None
    net.backward()


def anomaly(net):
    with tg.autograd.detect_anomaly():
        net.backward(net.layer(net.x))


def checkpointed(net):
    x = net.x.clone().requires_grad_()
    (tg.utils.checkpoint.checkpoint(net.layer, net.layer(x)) ** 2).sum().backward()


def relu(net):
    nn.Sequential(net.layer, nn.ReLU(), net.layer)(net.x).sum().backward()


SCENARIOS = [once, twice_in_a_row, after_clearing, shared, first_another_formula, last_another_formula, one_row_and_stacks, products_of_tensors,
             no_rows, kept_graph, chosen_inputs,
             recorded, a_hook_scales, a_hook_writes, an_old_gradient_is_held, an_old_gradient_is_in_the_graph, an_error_on_the_way, anomaly, checkpointed, relu]
every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)


def check_a_place_changes_no_gradient(scenario, device):
    gradients = []
    for has_place in (True, False):
        net = Net(has_place, device)
        scenario(net)
        gradients.append([None if p.grad is None else p.grad.cpu().numpy() for p in (net.weight, net.bias)])
    for ours, wanted in zip(*gradients):
        assert (ours is None) == (wanted is None)
        assert wanted is None or np.array_equal(ours, wanted)


@every_scenario
def test_a_place_changes_no_gradient(scenario):
    check_a_place_changes_no_gradient(scenario, "cpu")


@every_scenario
def test_a_place_changes_no_gradient_on_a_device(device, scenario):
    check_a_place_changes_no_gradient(scenario, device)


def count_copies(monkeypatch, net, scenario):
    """The scenario's gradients that were copied to their place or added to what was there; and the products that were written anywhere but in new memory."""
    engine, copied, written = kernels(net.x.data), [], []
    collect, matmul = engine.collect, engine.matmul

    def watched(a, b, out=None, add=True):
        if out is not None:
            written.append((out.shape, add))
        return matmul(a, b, out, add)

    monkeypatch.setattr(engine, "collect", lambda pairs, add=False: (copied.extend(place.shape for place, _ in pairs), collect(pairs, add))[1])
    monkeypatch.setattr(engine, "matmul", watched)
    scenario(net)
    return copied, written


COUNTS = [(once, [(4,)], [((4, 4), False)]), (relu, [(4,)], [((4, 4), False), ((4, 4), True)]),
          (shared, [(4,)], [((4, 4), False), ((4, 4), True), ((4, 4), True)])]


def test_what_several_layers_send_back_is_added_in_their_products(monkeypatch):
    x = tg.tensor(np.random.default_rng(0).normal(size=(5, 4)), requires_grad=True)
    layers = [nn.Linear(4, n).to(tg.float64) for n in (4, 3, 2)]

    def backward(net):
        h = x * 2.0
        sum((layer(h) ** 2).sum() for layer in layers).backward()

    net = Net(False, "cpu")
    assert count_copies(monkeypatch, net, backward)[1] == [((5, 4), True)] * 2
    h = x.data * 2.0
    wanted = sum(4.0 * (h @ layer.weight.data.T + layer.bias.data) @ layer.weight.data for layer in layers)
    np.testing.assert_allclose(x.grad.numpy(), wanted, rtol=1e-12)


def check_weights_are_not_copied(monkeypatch, scenario, copied, written, device):
    net = Net(True, device)
    assert count_copies(monkeypatch, net, scenario) == (copied, written)
    assert net.weight.grad.data is net.weight._grad_home


@pytest.mark.parametrize("scenario, copied, written", COUNTS)
def test_weights_are_not_copied(monkeypatch, scenario, copied, written):
    check_weights_are_not_copied(monkeypatch, scenario, copied, written, "cpu")


@pytest.mark.parametrize("scenario, copied, written", COUNTS)
def test_weights_are_not_copied_on_a_device(device, monkeypatch, scenario, copied, written):
    check_weights_are_not_copied(monkeypatch, scenario, copied, written, device)


def test_threads_that_share_a_layer_use_its_place_once():
    wanted, net = Net(False, "cpu"), Net(True, "cpu")
    for _ in range(8):
        wanted.backward()
    for _ in range(20):
        net.clear()
        threads = [threading.Thread(target=lambda: [net.backward() for _ in range(2)]) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for ours, theirs in ((net.weight, wanted.weight), (net.bias, wanted.bias)):
            np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-12)


def test_a_layer_that_changes_its_dtype_leaves_its_place():
    net = Net(True, "cpu")
    net.layer.to(tg.float32)
    net.backward(net.x.to(tg.float32))
    assert net.weight.grad.dtype == tg.float32 and net.weight.grad.data is not net.weight._grad_home
