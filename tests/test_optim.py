"""Optimizers: what all methods share. Groups, state and its round trips, hooks, flat memory, errors that change nothing."""
import copy

import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed import nn, optim
from tinygrad_ed.errors import InPlaceError, ShapeError

# -- a step --------------------------------------------------------------------------------------------------------------

def test_a_step_is_noticed_by_a_graph_that_needs_the_old_value():
    p = nn.Parameter(tg.ones(2))
    y = (p * p).sum()
    p.grad = tg.ones(2)
    optim.SGD([p], lr=0.1).step()
    with pytest.raises(InPlaceError):
        y.backward()


def test_parameters_without_gradient_stay_and_have_no_state():
    a, b = nn.Parameter(tg.ones(2)), nn.Parameter(tg.ones(2))
    optimizer = optim.Adam([a, b], lr=0.1, weight_decay=0.5)
    a.grad = tg.ones(2)
    optimizer.step()
    assert b.tolist() == [1, 1] and list(optimizer.state) == [a]
    plain = optim.SGD([a], lr=0.1)
    plain.step()
    assert plain.state_dict()["state"] == {}


def test_closure_runs_recorded_and_its_loss_is_returned():
    p = nn.Parameter(tg.tensor(2.0))
    optimizer = optim.SGD([p], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = p * p
        loss.backward()
        return loss

    with tg.no_grad():
        assert optimizer.step(closure).item() == 4
    assert p.item() == 1


def test_zero_grad():
    p = nn.Parameter(tg.ones(2))
    optimizer = optim.SGD([p])
    p.grad = tg.ones(2)
    array = p.grad.data
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.data is array and not array.any()
    optimizer.zero_grad()
    assert p.grad is None


# -- groups ------------------------------------------------------------------------------------------------------------

def test_groups_have_options_of_their_own():
    a, b = nn.Parameter(tg.ones(1)), nn.Parameter(tg.ones(1))
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    a.grad = b.grad = tg.ones(1)
    optimizer.step()
    assert np.allclose([a.item(), b.item()], [0.9, 0.5])
    c = nn.Parameter(tg.ones(1))
    optimizer.add_param_group({"params": (c,), "lr": 1.0, "name": "late"})
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.5, 1.0] and optimizer.param_groups[2]["name"] == "late"
    optimizer.param_groups[2]["lr"] = 2.0
    assert optimizer.state_dict()["param_groups"][2] == {**optimizer.defaults, "lr": 2.0, "name": "late", "params": [2]}


@pytest.mark.parametrize("give", [lambda m: m.parameters(), lambda m: list(m.parameters()), lambda m: iter(list(m.parameters())),
                                  lambda m: tuple(m.parameters()), lambda m: m.named_parameters(), lambda m: dict(m.named_parameters())])
def test_ways_to_give_parameters(give):
    net = nn.Linear(2, 1)
    optimizer = optim.Adam(give(net))
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [id(net.weight), id(net.bias)]
    if "param_names" in optimizer.param_groups[0]:
        assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]


def bad_parameters():
    p, q = nn.Parameter(tg.ones(2)), nn.Parameter(tg.ones(2))
    frozen = np.ones(2, np.float32)
    frozen.flags.writeable = False
    return [([], ValueError, "none"), (iter([]), ValueError, "anew"), (p, TypeError, r"\[parameter\]"), ({p, q}, TypeError, "write a list"),
            ([p, p], ValueError, "twice"), ([{"params": [p]}, {"params": [q, p]}], ValueError, "twice"),
            ([p * 2], ValueError, "leaves"), ([np.ones(2)], TypeError, "ndarray"), ([("a", p), q], ValueError, "names"),
            ([{"params": [("a", p)]}, {"params": [q]}], ValueError, "names"), ([{"lr": 1}], ValueError, "params"),
            ([tg.Tensor(frozen)], InPlaceError, "read-only"), ([{"params": [p]}, q], TypeError, "dict")]


@pytest.mark.parametrize("params, error, text", bad_parameters())
def test_bad_parameters(params, error, text):
    with pytest.raises(error, match=text):
        optim.SGD(params, lr=0.1)


# -- state -------------------------------------------------------------------------------------------------------------

def stepped(method, *shapes, **options):
    params = [nn.Parameter(tg.ones(*shape)) for shape in shapes]
    optimizer = method(params, **options)
    for p in params:
        p.grad = tg.ones_like(p.detach())
    optimizer.step()
    return optimizer


def test_state_dict_has_pytorchs_format():
    state = stepped(optim.Adam, (2,), (3,)).state_dict()
    assert list(state) == ["state", "param_groups"] and list(state["state"]) == [0, 1]
    assert list(state["state"][0]) == ["step", "exp_avg", "exp_avg_sq"] and state["state"][0]["step"].item() == 1
    assert state["param_groups"][0]["params"] == [0, 1]


def test_loaded_state_is_a_copy_in_the_parameters_dtype():
    source = stepped(optim.Adam, (2,))
    p = nn.Parameter(tg.ones(2, dtype=tg.float64))
    target = optim.Adam([p])
    target.load_state_dict(source.state_dict())
    moments = target.state[p]
    assert moments["exp_avg"].dtype == tg.float64 and moments["step"].dtype == tg.float32
    p.grad = tg.ones_like(p.detach())
    target.step()
    assert next(iter(source.state.values()))["step"].item() == 1


@pytest.mark.parametrize("other, error", [
    (lambda: stepped(optim.Adam, (2,), (3,)), ValueError), (lambda: stepped(optim.Adam, (3,)), ShapeError),
    (lambda: stepped(optim.SGD, (2,), momentum=0.9), ValueError)])
def test_a_state_that_does_not_fit_changes_nothing(other, error):
    optimizer = stepped(optim.Adam, (2,), lr=0.5)
    state, groups = dict(optimizer.state), optimizer.param_groups
    with pytest.raises(error):
        optimizer.load_state_dict(other().state_dict())
    with pytest.raises(ValueError, match="param_groups"):
        optimizer.load_state_dict({"0.weight": tg.ones(2)})
    assert dict(optimizer.state) == state and optimizer.param_groups is groups and groups[0]["lr"] == 0.5


def test_hooks():
    optimizer, log = stepped(optim.SGD, (2,)), []
    optimizer.register_step_pre_hook(lambda o, args, kwargs: log.append("before"))
    handle = optimizer.register_step_post_hook(lambda o, args, kwargs: log.append("after"))
    optimizer.register_state_dict_pre_hook(lambda o: log.append("saving"))
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "extra": 1})
    optimizer.register_load_state_dict_pre_hook(lambda o, state: {k: v for k, v in state.items() if k != "extra"})
    optimizer.register_load_state_dict_post_hook(lambda o: log.append("loaded"))
    optimizer.register_step_pre_hook(lambda o, args, kwargs: log.append("again"))
    optimizer.step()
    handle.remove()
    optimizer.step()
    state = optimizer.state_dict()
    optimizer.load_state_dict(state)
    assert state["extra"] == 1 and log == ["before", "again", "after", "before", "again", "saving", "loaded"]


def test_repr():
    text = repr(optim.SGD([nn.Parameter(tg.ones(1))], lr=0.1))
    assert text.startswith("SGD (\nParameter Group 0\n    dampening: 0\n") and "    lr: 0.1\n" in text and text.endswith("\n)")


def test_a_method_without_a_step_says_so():
    p = nn.Parameter(tg.ones(1))
    p.grad = tg.ones(1)
    with pytest.raises(NotImplementedError, match="_update"):
        optim.Optimizer([p], {"lr": 1}).step()


# -- flat memory -------------------------------------------------------------------------------------------------------

def network(dtype=tg.float64):
    tg.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    return net.to(dtype)


def lesson(net):
    x = tg.linspace(-1, 1, 15, dtype=net[0].weight.dtype).reshape(5, 3)
    return ((net(x) - x.sum(1, keepdim=True)) ** 2).mean()


def train(net, optimizers, steps=1, before=lambda k: None):
    for k in range(steps):
        for optimizer in optimizers:
            optimizer.zero_grad()
        lesson(net).backward()
        before(k)
        for optimizer in optimizers:
            optimizer.step()


def pieces(optimizer, group=0):
    """How many passes a step makes over the parameters."""
    entries = {name: 0.0 for name in optimizer._entries(optimizer.param_groups[group])}
    return sum(len(list(flat.pieces(optimizer.state, optimizer._numbers, entries)))
               for flat in optimizer._flats_of(group, optimizer.param_groups[group]["params"]))


def alone(method, net, **options):
    """One optimizer for each parameter: the same steps without anything in common."""
    return [method([p], **options) for p in net.parameters()]


FLAT = [(optim.SGD, dict(lr=0.1, momentum=0.9, dampening=0.1)), (optim.Adam, dict(lr=0.1, amsgrad=True)), (optim.AdamW, dict(lr=0.1)),
        (optim.ASGD, dict(lr=0.1, t0=2)), (optim.Adagrad, dict(lr=0.1, lr_decay=0.1)), (optim.Adadelta, dict(eps=0.01)),
        (optim.RMSprop, dict(momentum=0.5, centered=True)), (optim.Adamax, dict(lr=0.1)), (optim.NAdam, dict(lr=0.1)),
        (optim.RAdam, dict(lr=0.1, betas=(0.5, 0.6))), (optim.Rprop, dict(lr=0.1)), (optim.Lion, dict(lr=0.1, weight_decay=0.1))]


def test_every_elementwise_method_is_tried_on_flat_memory():
    methods = [getattr(optim, name) for name in optim.__all__ if isinstance(getattr(optim, name), type)]
    elementwise = {m for m in methods if issubclass(m, optim.Optimizer) and m._elementwise and m._update is not optim.Optimizer._update}
    assert elementwise == {method for method, _ in FLAT}


def assert_same(net, other):
    for (name, p), q in zip(net.named_parameters(), other.parameters()):
        assert np.array_equal(p.detach().numpy(), q.detach().numpy()), name


@pytest.mark.parametrize("method, options", FLAT)
def test_parameters_gradients_and_state_lie_in_one_row(method, options):
    net = network()
    optimizer = method(net.parameters(), **options)
    train(net, [optimizer], 2)
    assert pieces(optimizer) == 1
    flat, = optimizer._flats[0]
    for i, p in enumerate(net.parameters()):
        assert p.data is flat.places[i] and np.shares_memory(p.data, flat.data) and np.shares_memory(p.grad.data, flat.grad)
        assert all(np.shares_memory(entry.data, flat.state[name]) for name, entry in optimizer.state[p].items())
    whole = np.concatenate([p.detach().numpy().ravel() for p in net.parameters()])
    assert np.array_equal(whole, flat.data)


def leave_nothing(net, k):
    pass


def hold_a_view(net, k, held=[]):  # noqa: B006
    held.append(net[2].weight.detach())


def hold_a_gradient(net, k, held=[]):  # noqa: B006
    held.append((net[2].weight.grad, net[2].weight.grad.numpy().copy()))
    assert all(np.array_equal(g.numpy(), values) for g, values in held[-2:-1])


def hold_a_slice_of_a_gradient(net, k, held=[]):  # noqa: B006
    held.append((net[2].weight.grad.numpy()[1:], net[2].weight.grad.numpy()[1:].copy()))
    assert all(np.array_equal(*pair) for pair in held[-2:-1])


def replace_the_data(net, k):
    net[2].weight.data = net[2].weight.data * 1.5


def replace_the_gradient(net, k):
    net[2].weight.grad = tg.full_like(net[2].weight.detach(), 0.5 + k)


def drop_a_gradient(net, k):
    if k % 2:
        net[2].weight.grad = None


def freeze_and_thaw(net, k):
    net[0].weight.requires_grad_(k % 3 == 0)


def replace_the_state(net, k):
    for p, optimizer in net.optimizers.items():
        if "exp_avg" in optimizer.state[p]:
            optimizer.state[p]["exp_avg"] = optimizer.state[p]["exp_avg"] * 0.5


def forget_the_state(net, k):
    if k == 3:
        optimizer = net.optimizers[net[2].weight]
        optimizer.state[net[2].weight] = {}


def write_in_place(net, k):
    with tg.no_grad():
        net[2].weight.mul_(0.9)
        net[2].weight.grad.add_(1)


def load_the_weights(net, k):
    net.load_state_dict({name: value * 0.5 for name, value in net.state_dict().items()})


def change_the_dtype(net, k):
    if k in (2, 4):
        net.to(tg.float32 if k == 2 else tg.float64)
        for p in net.parameters():
            p.grad = p.grad.to(p.dtype)


DOINGS = [leave_nothing, hold_a_view, hold_a_gradient, hold_a_slice_of_a_gradient, replace_the_data, replace_the_gradient, drop_a_gradient,
          freeze_and_thaw, replace_the_state, forget_the_state, write_in_place, load_the_weights, change_the_dtype]


@pytest.mark.parametrize("doing", DOINGS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("method, options", FLAT)
def test_whatever_a_user_does_the_step_is_that_of_each_parameter_alone(method, options, doing):
    net, other = network(), network()
    together, each = method(net.parameters(), **options), alone(method, other, **options)
    object.__setattr__(net, "optimizers", {p: together for p in net.parameters()})
    object.__setattr__(other, "optimizers", dict(zip(other.parameters(), each)))
    train(net, [together], 6, lambda k: doing(net, k))
    train(other, each, 6, lambda k: doing(other, k))
    assert_same(net, other)


def test_a_view_taken_before_sees_the_steps():
    net = network()
    view, optimizer = net[0].weight.detach().view(-1), optim.SGD(net.parameters(), lr=0.1)
    train(net, [optimizer], 3)
    assert np.array_equal(view.numpy(), net[0].weight.detach().numpy().ravel()) and pieces(optimizer) == 2
    del view
    train(net, [optimizer])
    assert pieces(optimizer) == 1                     # what nobody else holds moves in


def test_tied_parameters_and_groups_and_late_ones():
    net, other = network(), network()
    for model in (net, other):
        model[2].weight = model.get_parameter("2.weight")
    optimizer, late = optim.Adam([{"params": net[0].parameters()}, {"params": net[2].parameters(), "lr": 0.01}], lr=0.1), net[4].parameters()
    each = [optim.Adam([p], lr=0.01 if p.shape[0] == 4 and p.shape[-1] == 4 else 0.1) for p in other.parameters()]
    each[3].param_groups[0]["lr"] = 0.01
    each[1].param_groups[0]["lr"] = 0.1
    optimizer.add_param_group({"params": late})
    train(net, [optimizer], 3)
    train(other, each, 3)
    assert_same(net, other)
    assert [pieces(optimizer, i) for i in range(3)] == [1, 1, 1]


def test_several_optimizers_over_one_model():
    net, other = network(), network()
    pair = [optim.Adam(net.parameters(), lr=0.1), optim.SGD(net.parameters(), lr=0.1, momentum=0.9)]
    each = [*alone(optim.Adam, other, lr=0.1), *alone(optim.SGD, other, lr=0.1, momentum=0.9)]
    train(net, pair, 5)
    train(other, each, 5)
    assert_same(net, other)
    del pair[0]
    train(net, pair, 2)
    train(other, each[6:], 2)
    assert_same(net, other)
    assert pieces(pair[0]) == 1                       # the first has left its memory to the second


def test_copies_have_memory_of_their_own():
    net = network()
    optimizer = optim.Adam(net.parameters(), lr=0.1)
    train(net, [optimizer], 2)
    again, optimizer2 = copy.deepcopy((net, optimizer))
    before = [p.detach().numpy().copy() for p in net.parameters()]
    train(again, [optimizer2], 2)
    assert all(np.array_equal(p.detach().numpy(), b) for p, b in zip(net.parameters(), before)) and pieces(optimizer2) == 1
    train(net, [optimizer], 2)
    assert_same(net, again)


def test_parameters_of_several_dtypes():
    params = [nn.Parameter(tg.ones(n, dtype=dtype)) for n in (2, 3) for dtype in (tg.float32, tg.float64, tg.float16)]
    params += [nn.Parameter(tg.ones(0)), nn.Parameter(tg.ones(())), nn.Parameter(tg.ones(3, 2).t())]
    optimizer = optim.SGD(params, lr=0.5)
    for _ in range(3):
        for p in params:
            p.grad = tg.ones_like(p.detach())
        optimizer.step()
    assert all((p.detach().numpy() == -0.5).all() for p in params)


def test_gradients_of_one_step_accumulate_in_their_place():
    net = network()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    train(net, [optimizer])
    optimizer.zero_grad()
    lesson(net).backward()
    once = [p.grad.numpy().copy() for p in net.parameters()]
    lesson(net).backward()
    assert all(np.allclose(p.grad.numpy(), 2 * g) for p, g in zip(net.parameters(), once)) and pieces(optimizer) == 1


def test_parameters_in_one_row_are_written_independently():
    net = network()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    train(net, [optimizer], 2)
    loss = lesson(net)
    with tg.no_grad():
        net[0].bias.add_(1)                           # the graph does not need its value
    loss.backward()
    loss = lesson(net)
    with tg.no_grad():
        net[2].weight.add_(1)
    with pytest.raises(InPlaceError):
        loss.backward()


def test_plain_tensors_are_stepped_too():
    a, b = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor(3.0, requires_grad=True)
    optimizer = optim.SGD([a, b], lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        ((a * a).sum() + b).backward()
        optimizer.step()
    assert a.tolist() == [0, 0] and b.item() == 1.5


def test_a_gradient_that_somebody_holds_is_not_overwritten_by_one_from_elsewhere():
    net = network()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    train(net, [optimizer], 2)
    weight = net[2].weight
    held, before = weight.grad, weight.detach().numpy().copy()
    values = held.numpy().copy()
    weight.grad = tg.ones_like(weight.detach())
    optimizer.step()
    assert np.array_equal(held.numpy(), values)
    np.testing.assert_allclose(weight.detach().numpy(), before - 0.1)


@pytest.mark.parametrize("method, options", FLAT)
def test_large_parameters_are_stepped_to_their_last_element(method, options):
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=150_001), rng.normal(size=(2, 150_001))
    ends = [0, 50_000, 100_000, 150_001]
    large, parts = nn.Parameter(tg.tensor(start)), [nn.Parameter(tg.tensor(start[a:b])) for a, b in zip(ends, ends[1:])]
    one, several = method([large], **options), [method([p], **options) for p in parts]
    for g in gradients:
        large.grad = tg.tensor(g)
        one.step()
        for p, optimizer, a, b in zip(parts, several, ends, ends[1:]):
            p.grad = tg.tensor(g[a:b])
            optimizer.step()
    np.testing.assert_allclose(large.detach().numpy(), np.concatenate([p.detach().numpy() for p in parts]), rtol=1e-12, atol=1e-15)
