"""Module and its containers: registration, the tree, state, hooks, copies, errors."""
import copy
import gc
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed import nn
from tinygrad_ed.errors import DTypeError, ShapeError


class Block(nn.Module):
    """A parameter, two buffers, a child."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(tg.ones(2))
        self.register_buffer("mean", tg.zeros(2))
        self.register_buffer("cache", tg.zeros(2), persistent=False)
        self.inner = nn.Linear(2, 2)

    def forward(self, x):
        return self.inner(x * self.scale) + self.mean


class Net(nn.Module):
    """Two blocks, the second under two names."""

    def __init__(self):
        super().__init__()
        self.first = Block()
        self.second = Block()
        self.again = self.second

    def forward(self, x):
        return self.again(self.second(self.first(x)))


def equal_states(a, b):
    return list(a) == list(b) and all(np.array_equal(a[k].numpy(), b[k].numpy()) for k in a)


# -- registration ------------------------------------------------------------------------------------------------------

def test_assignment_registers_by_kind_and_reassignment_moves():
    m = nn.Module()
    m.a = nn.Parameter(tg.ones(1))
    m.b = nn.Buffer(tg.ones(1))
    m.c = nn.Linear(1, 1)
    m.d = tg.ones(1)
    assert list(m._parameters) == ["a"] and list(m._buffers) == ["b"] and list(m._modules) == ["c"] and "d" in m.__dict__
    m.b = tg.zeros(1)
    assert m.b.item() == 0 and "b" in m._buffers
    m.d = nn.Parameter(tg.ones(1))
    m.c = nn.Parameter(tg.ones(1))
    assert list(m._parameters) == ["a", "d", "c"] and not m._modules and "d" not in m.__dict__
    m.a = nn.Parameter(tg.zeros(1))
    assert list(m._parameters)[0] == "a"              # a replaced parameter keeps its place
    m.a = None
    assert m.a is None and [n for n, _ in m.named_parameters()] == ["d", "c"]
    del m.d, m.b
    assert not hasattr(m, "d") and not hasattr(m, "b")
    with pytest.raises(AttributeError):
        del m.nothing


@pytest.mark.parametrize("value", [tg.ones(1), 3, nn.Linear(1, 1)])
def test_a_parameter_is_not_replaced_by_something_else(value):
    m = Block()
    with pytest.raises(TypeError, match="takes a Parameter or None"):
        m.scale = value
    assert isinstance(m.scale, nn.Parameter)
    if not isinstance(value, nn.Module):
        with pytest.raises(TypeError, match="takes a Module or None"):
            m.inner = value


def test_errors_before_init_name_the_fix():
    class Forgetful(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(tg.ones(1))

    class Later(nn.Module):
        def __init__(self):
            pass

    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\) the first line of Forgetful"):
        Forgetful()
    for act in (lambda m: m(1), lambda m: m.register_buffer("x", None), lambda m: setattr(m, "child", nn.ReLU())):
        with pytest.raises(AttributeError, match="super"):
            act(Later())


@pytest.mark.parametrize("register, value", [("register_parameter", None), ("register_buffer", None), ("add_module", None)])
def test_names_are_checked(register, value):
    m = Block()
    for name, error in [("a.b", KeyError), ("", KeyError), ("forward", KeyError), (3, TypeError)]:
        with pytest.raises(error):
            getattr(m, register)(name, value)
    getattr(m, register)("fresh", value)
    assert m.fresh is None


def test_registering_the_wrong_kind():
    m = nn.Module()
    with pytest.raises(TypeError, match="write nn.Parameter"):
        m.register_parameter("w", tg.ones(1))
    with pytest.raises(TypeError):
        m.register_buffer("b", np.ones(1))
    with pytest.raises(TypeError, match="parentheses"):
        m.add_module("r", nn.ReLU)
    with pytest.raises(NotImplementedError, match="def forward"):
        m(1)
    assert not m._parameters and not m._buffers and not m._modules


def test_parameter_shares_memory_and_prints_its_kind():
    t = tg.zeros(2)
    p = nn.Parameter(t)
    assert p.data is t.data and p.requires_grad and p.is_leaf
    assert repr(p) == "Parameter containing:\ntensor([0., 0.], requires_grad=True)"
    with tg.no_grad():
        assert nn.Parameter(t).requires_grad
    with pytest.raises(DTypeError):
        nn.Parameter(tg.tensor([1, 2]))
    assert not nn.Parameter(tg.tensor([1, 2]), requires_grad=False).requires_grad


# -- the tree ----------------------------------------------------------------------------------------------------------

def test_names_order_and_sharing():
    net = Net()
    names = [n for n, _ in net.named_parameters()]
    assert names == ["first.scale", "first.inner.weight", "first.inner.bias", "second.scale", "second.inner.weight", "second.inner.bias"]
    assert len(list(net.named_parameters(remove_duplicate=False))) == 9
    assert [n for n, _ in net.named_modules()] == ["", "first", "first.inner", "second", "second.inner"]
    assert [n for n, _ in net.named_modules(prefix="p", remove_duplicate=False)][-1] == "p.again.inner"
    assert [n for n, _ in net.named_children()] == ["first", "second"]
    assert [n for n, _ in net.named_buffers()] == ["first.mean", "first.cache", "second.mean", "second.cache"]
    assert list(net.parameters(recurse=False)) == [] and [n for n, _ in net.first.named_parameters(recurse=False)] == ["scale"]
    assert list(net.state_dict()) == [f"{b}.{n}" for b in ("first", "second", "again") for n in ("scale", "mean", "inner.weight", "inner.bias")]


def test_get_by_name():
    net = Net()
    assert net.get_submodule("second.inner") is net.second.inner and net.get_submodule("") is net
    assert net.get_parameter("first.inner.weight") is net.first.inner.weight
    assert net.get_buffer("first.cache") is net.first.cache
    for get, name in [(net.get_submodule, "first.outer"), (net.get_parameter, "first.mean"), (net.get_buffer, "first.scale")]:
        with pytest.raises(AttributeError, match="it has"):
            get(name)


def test_dir_lists_what_can_be_written():
    assert {"first", "forward", "training"} <= set(dir(Net())) and "0" not in dir(nn.Sequential(nn.ReLU()))
    assert {"scale", "mean", "inner"} <= set(dir(Block()))


def test_modes_and_conversions():
    net = Net()
    assert net.eval() is net and not net.second.inner.training
    assert net.train().second.inner.training
    with pytest.raises(ValueError):
        net.train("yes")
    p, grad = net.first.scale, tg.ones(2)
    p.grad = grad
    assert net.double() is net and net.first.scale is p and p.dtype == tg.float64 == p.grad.dtype and net.first.mean.dtype == tg.float64
    assert net.to(tg.float32).first.scale.dtype == tg.float32 and net.half().first.cache.dtype == tg.float16
    net.float()
    net.register_buffer("count", tg.tensor(3))
    assert net.to("cpu", tg.float64).count.dtype == tg.int64
    with pytest.raises(DTypeError):
        net.to(tg.int64)
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())


def test_apply_goes_children_first():
    seen = []
    net = Net()
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "Block", "Linear", "Block", "Net"]


def test_zero_grad():
    m = nn.Linear(2, 1)
    m(tg.ones(1, 2)).sum().backward()
    grad = m.weight.grad
    m.zero_grad(set_to_none=False)
    assert m.weight.grad.data is grad.data and not grad.data.any()
    m.zero_grad()
    assert m.weight.grad is None


# -- printing ----------------------------------------------------------------------------------------------------------

def test_repr():
    net = Net()
    assert repr(net.first) == "Block(\n  (inner): Linear(in_features=2, out_features=2, bias=True)\n)"
    assert repr(nn.ModuleList(nn.Linear(2, 2) for _ in range(2)).append(nn.ReLU())) == (
        "ModuleList(\n  (0-1): 2 x Linear(in_features=2, out_features=2, bias=True)\n  (2): ReLU()\n)")
    assert repr(nn.Module()) == "Module()"


# -- state -------------------------------------------------------------------------------------------------------------

def test_state_dict_shares_memory_and_carries_no_history():
    net = Net()
    state = net.state_dict(prefix="net.")
    assert state["net.first.scale"].data is net.first.scale.data and not state["net.first.scale"].requires_grad
    assert net.state_dict(keep_vars=True)["first.scale"] is net.first.scale


def test_load_round_trip_from_tensors_and_arrays():
    a, b = Net(), Net()
    assert repr(b.load_state_dict(a.state_dict())) == "<All keys matched successfully>"
    assert equal_states(a.state_dict(), b.state_dict())
    arrays = {k: t.numpy() * 2 for k, t in a.state_dict().items()}
    b.load_state_dict(arrays)
    assert np.array_equal(b.first.scale.detach().numpy(), 2 * a.first.scale.detach().numpy())


def test_bad_state_changes_nothing_and_everything_is_listed():
    net = Net()
    before = copy.deepcopy(net.state_dict())
    state = {k: t + 1 for k, t in net.state_dict().items()}
    del state["second.scale"], state["again.scale"]
    state["first.scale"] = tg.ones(3)
    state["stranger"] = tg.ones(1)
    state["first.mean"] = "text"
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(state)
    for part in ('Missing key(s) in state_dict: "second.scale", "again.scale"', 'Unexpected key(s) in state_dict: "stranger"',
                 "size mismatch for first.scale: the state_dict has shape (3,), the model (2,)", "first.mean: expected a tensor"):
        assert part in str(error.value)
    assert equal_states(net.state_dict(), before)
    with pytest.raises(RuntimeError, match="size mismatch"):
        net.load_state_dict(state, strict=False)
    assert equal_states(net.state_dict(), before)
    with pytest.raises(TypeError):
        net.load_state_dict([1])


def test_load_not_strict_reports_keys():
    net = nn.Linear(2, 2)
    keys = net.load_state_dict({"weight": tg.zeros(2, 2), "other": tg.ones(1)}, strict=False)
    assert keys.missing_keys == ["bias"] and keys.unexpected_keys == ["other"] and not net.weight.data.any()


def test_load_assign_takes_the_tensors():
    net = nn.Linear(2, 2)
    w = tg.ones(2, 2, dtype=tg.float64)
    net.load_state_dict({"weight": w, "bias": tg.zeros(2)}, assign=True)
    assert net.weight.data is w.data and isinstance(net.weight, nn.Parameter) and net.weight.requires_grad
    with pytest.raises(RuntimeError, match="int64"):
        net.load_state_dict({"weight": tg.ones(2, 2, dtype=tg.int64), "bias": tg.zeros(2)}, assign=True)


def test_load_keeps_dtype_and_counts_as_a_write():
    net = nn.Linear(2, 2)
    x = tg.ones(1, 2, requires_grad=True)
    y = net(x).sum()
    net.load_state_dict({"weight": np.ones((2, 2)), "bias": np.ones(2)})
    assert net.weight.dtype == tg.float32
    with pytest.raises(RuntimeError, match="overwritten"):
        y.backward()


def test_extra_state():
    class Counting(nn.Linear):
        count = 0

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]

    a, b = Counting(1, 1), Counting(1, 1)
    a.count = 5
    b.load_state_dict(a.state_dict())
    assert b.count == 5 and "_extra_state" in a.state_dict()
    with pytest.raises(RuntimeError, match="_extra_state"):
        nn.Linear(1, 1).load_state_dict(a.state_dict())


def test_state_dict_hooks():
    net, log = nn.Sequential(nn.Linear(1, 1)), []
    net[0].register_state_dict_pre_hook(lambda m, prefix, keep: log.append(prefix))
    net.register_state_dict_post_hook(lambda m, state, prefix, meta: state.update(version=tg.tensor(2)))
    assert net.state_dict()["version"].item() == 2 and log == ["0."]
    net.register_load_state_dict_pre_hook(lambda m, state, prefix, *_: state.pop("version", None) and None)
    net.register_load_state_dict_post_hook(lambda m, keys: keys.missing_keys.clear())
    net.load_state_dict({"0.weight": tg.zeros(1, 1), "version": tg.tensor(2)})
    assert net[0].weight.item() == 0


# -- hooks -------------------------------------------------------------------------------------------------------------

def test_forward_hooks_replace_and_are_removed():
    class Same(nn.Module):
        def forward(self, x, k=0):
            return x

    net, log = Same(), []
    h1 = net.register_forward_pre_hook(lambda m, args: args[0] + 1)
    h2 = net.register_forward_hook(lambda m, args, y: y * 10)
    net.register_forward_hook(lambda m, args, kwargs, y: log.append((args[0].item(), kwargs, y.item())), with_kwargs=True, prepend=True)
    assert net(tg.tensor(1.0), k=3).item() == 20 and log == [(2.0, {"k": 3}, 2.0)]
    h1.remove()
    h2.remove()
    assert net(tg.tensor(1.0)).item() == 1
    net.register_forward_pre_hook(lambda m, args, kwargs: 5, with_kwargs=True)
    with pytest.raises(RuntimeError, match=r"None or \(args, kwargs\)"):
        net(tg.tensor(1.0))


def test_always_called_hooks_run_after_an_error():
    class Broken(nn.Module):
        def forward(self, x):
            raise ZeroDivisionError("on purpose")

    net, log = Broken(), []
    net.register_forward_hook(lambda m, args, y: log.append("usual"))
    net.register_forward_hook(lambda m, args, y: log.append("always"), always_call=True)
    with pytest.raises(ZeroDivisionError):
        net(1)
    assert log == ["always"]


def test_full_backward_hooks_see_and_replace_gradients():
    net, log = nn.Linear(2, 1, bias=False), []
    net.register_full_backward_pre_hook(lambda m, grad_output: (grad_output[0] * 2,))
    net.register_full_backward_hook(lambda m, gi, go: log.append((gi[0].tolist(), go[0].tolist())) or (gi[0] * 10,))
    net.load_state_dict({"weight": tg.tensor([[1.0, 2.0]])})
    x = tg.tensor([[1.0, 1.0]], requires_grad=True)
    net(x).sum().backward()
    assert log == [([[2.0, 4.0]], [[2.0]])]
    assert x.grad.tolist() == [[20.0, 40.0]] and net.weight.grad.tolist() == [[2.0, 2.0]]


def test_full_backward_hook_without_input_gradient_and_with_create_graph():
    net, log = nn.Linear(2, 1), []
    net.register_full_backward_hook(lambda m, gi, go: log.append((gi, go[0].tolist())))
    net(tg.ones(1, 2)).sum().backward()
    assert log == [((None,), [[1.0]])]
    x = tg.ones(1, 2, requires_grad=True)
    square = nn.Identity()
    square.forward = lambda x: x * x * x
    square.register_full_backward_hook(lambda m, gi, go: (gi[0] * 2,))
    g, = tg.grad(square(x).sum(), x, create_graph=True)
    assert g.tolist() == [[6.0, 6.0]]
    second, = tg.grad(g.sum(), x)
    assert second.tolist() == [[12.0, 12.0]]


def test_backward_hooks_on_several_outputs_and_bad_returns():
    class Two(nn.Module):
        def forward(self, x):
            return x * 2, x * 3

    net, log = Two(), []
    handle = net.register_full_backward_hook(lambda m, gi, go: log.append([None if g is None else g.item() for g in (*gi, *go)]))
    x = tg.tensor(1.0, requires_grad=True)
    net(x)[1].backward()
    assert log == [[3.0, None, 1.0]] and x.grad.item() == 3
    handle.remove()
    net.register_full_backward_hook(lambda m, gi, go: (tg.ones(2),))
    with pytest.raises(ShapeError):
        net(x)[0].backward()


def test_a_gate_lends_gradients_and_the_engine_does_not_write_into_them():
    kept = []
    net = nn.Identity()
    net.register_full_backward_hook(lambda m, gi, go: kept.append(go[0]))
    x = tg.ones(3, requires_grad=True)
    (net(x) + net(x) + x).sum().backward()
    assert x.grad.tolist() == [3, 3, 3] and all(g.tolist() == [1, 1, 1] for g in kept)


# -- copies ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies_are_equal_and_independent(duplicate):
    net = Net()
    net.first.scale.grad = tg.ones(2)
    twin = duplicate(net)
    assert equal_states(net.state_dict(), twin.state_dict()) and repr(twin) == repr(net)
    assert twin.again is twin.second and isinstance(twin.first.scale, nn.Parameter) and twin.first.scale.grad is None
    with tg.no_grad():
        twin.first.scale.add_(1)
    assert net.first.scale.tolist() == [1, 1]
    assert "first.cache" not in twin.state_dict()
    twin(tg.ones(1, 2)).sum().backward()
    assert twin.first.scale.grad is not None


def test_a_copy_has_hooks_of_its_own():
    net = nn.Identity()
    handle = net.register_forward_hook(lambda m, args, y: y + 1)
    twin = copy.deepcopy(net)
    handle.remove()
    assert net(tg.tensor(1.0)).item() == 1 and twin(tg.tensor(1.0)).item() == 2


def test_tied_parameters_get_one_gradient():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    net = Tied()
    assert len(list(net.parameters())) == 1 and len(net.state_dict()) == 2
    for twin in (net.double(), copy.deepcopy(net)):
        assert twin.a.weight is twin.b.weight
    w = net.a.weight.detach().numpy()
    net(tg.ones(1, 2, dtype=tg.float64)).sum().backward()
    g = np.ones((1, 2))
    expected = g.T @ (np.ones((1, 2)) @ w.T) + (g @ w).T @ np.ones((1, 2))
    assert np.allclose(net.a.weight.grad.numpy(), expected)


def test_modules_make_no_reference_cycles():
    gc.collect()
    gc.disable()
    try:
        net = Net()
        net(tg.ones(1, 2)).sum().backward()
        before = len(gc.get_objects())
        for _ in range(20):
            m = Net()
            m.register_full_backward_hook(lambda m, gi, go: None)
            m(tg.ones(1, 2)).sum().backward()
            del m
        assert len(gc.get_objects()) - before < 20
    finally:
        gc.enable()


# -- containers --------------------------------------------------------------------------------------------------------

def test_sequential_is_a_list_that_runs():
    a, b, c = nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)
    net = nn.Sequential(a, b, c)
    x = tg.ones(3, 1)
    assert np.array_equal(net(x).detach().numpy(), c(b(a(x))).detach().numpy())
    assert net[0] is a and net[-1] is c and list(net[1:]) == [b, c] and len(net) == 3
    net.insert(1, nn.Identity())
    assert net.pop(1).__class__ is nn.Identity and list(net) == [a, b, c] and list(net._modules) == ["0", "1", "2"]
    net[1] = nn.Identity()
    assert list(net)[2] is c                          # a replaced module keeps its place
    del net[1]
    assert list(net.append(b)) == [a, c, b] and list(nn.Sequential(a) + nn.Sequential(b)) == [a, b]
    assert len(nn.Sequential(a, b) * 2) == 4 and len(2 * nn.Sequential(a)) == 2
    named = nn.Sequential(OrderedDict(first=a, then=b))
    assert named.then is b and list(named.state_dict()) == ["first.weight", "first.bias"] and named[:1].first is a
    for bad in (lambda: net[3], lambda: net.insert(9, b)):
        with pytest.raises(IndexError):
            bad()
    for bad in (lambda: nn.Sequential(a) * 0, lambda: nn.Sequential(3), lambda: net.insert(0, 3)):
        with pytest.raises((ValueError, TypeError)):
            bad()
    assert list(net) == [a, c, b]


def test_module_list():
    a, b, c = nn.ReLU(), nn.ReLU(), nn.ReLU()
    modules = nn.ModuleList([a, b])
    modules += [c]
    modules.insert(0, c)
    assert list(modules) == [c, a, b, c] and modules[-1] is c and list(modules[1:3]) == [a, b]
    del modules[::2]
    assert list(modules) == [a, c] and list(modules._modules) == ["0", "1"] and list(modules + [b]) == [a, c, b]
    with pytest.raises(TypeError):
        modules.extend(3)
    with pytest.raises(NotImplementedError):
        modules(1)


def test_module_dict():
    a, b = nn.ReLU(), nn.Identity()
    modules = nn.ModuleDict({"a": a})
    modules.update([("b", b)])
    modules["c"] = a
    assert list(modules) == ["a", "b", "c"] and modules["b"] is b and "c" in modules and list(modules.values()) == [a, b, a]
    assert modules.pop("c") is a and len(modules) == 2
    with pytest.raises(KeyError):
        modules["z"]
    with pytest.raises(ValueError):
        modules.update([("b",)])
    modules.clear()
    assert not len(modules)


def test_parameter_list_and_dict():
    plist = nn.ParameterList([tg.ones(2), nn.Parameter(tg.zeros(1)), "text"])
    assert [n for n, _ in plist.named_parameters()] == ["0", "1"] and plist[2] == "text" and len(plist[:2]) == 2
    plist[0] = tg.zeros(3)
    plist += [tg.ones(1)]
    assert plist[0].requires_grad and len(plist) == 4 and len(list(plist.parameters())) == 3
    assert repr(plist).splitlines()[1] == "    (0): Parameter containing: [float32 of size 3]"
    pdict = nn.ParameterDict({"b": tg.ones(1), "a": tg.ones(2)})
    assert list(pdict) == ["a", "b"] and pdict["a"].requires_grad and list(pdict.state_dict()) == ["a", "b"]
    assert list(pdict | nn.ParameterDict([("c", tg.ones(1))])) == ["a", "b", "c"] and pdict.get("z", 5) == 5
    assert pdict.popitem()[0] == "b" and list(pdict.keys()) == ["a"] and pdict.pop("a").shape == (2,)
    for container in (plist, pdict):
        with pytest.raises(RuntimeError, match="cannot be called"):
            container(1)


def test_flatten_and_unflatten():
    x = tg.ones(2, 3, 4, requires_grad=True)
    assert nn.Flatten()(x).shape == (2, 12) and nn.Flatten(0, 1)(x).shape == (6, 4)
    assert nn.Unflatten(1, (3, -1))(nn.Flatten()(x)).shape == (2, 3, 4)
    with pytest.raises(TypeError):
        nn.Unflatten(1, 3)
    nn.Unflatten(1, (3, 4))(nn.Flatten()(x)).sum().backward()
    assert x.grad.shape == x.shape


def test_linear():
    layer = nn.Linear(3, 2, dtype=tg.float64)
    x = tg.randn(4, 5, 3, dtype=tg.float64)
    assert np.allclose(layer(x).detach().numpy(), x.numpy() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy())
    assert nn.Linear(3, 2, bias=False).bias is None and "bias" not in nn.Linear(3, 2, bias=False).state_dict()
    for tensor in (nn.Linear(400, 300).weight, nn.Linear(400, 300).bias):
        values = tensor.detach().numpy()
        assert np.abs(values).max() <= 1 / 20 and abs(values.std() - 1 / 20 / np.sqrt(3)) < 3e-3
    tg.manual_seed(0)
    a = nn.Linear(3, 2).weight.tolist()
    tg.manual_seed(0)
    assert nn.Linear(3, 2).weight.tolist() == a
    with pytest.raises(ShapeError):
        layer(tg.ones(2, 4, dtype=tg.float64))
    with pytest.raises(ValueError):
        nn.Linear(-1, 2)


def test_relu_in_place_layer():
    x = tg.tensor([-1.0, 1.0])
    assert nn.ReLU(inplace=True)(x) is x and x.tolist() == [0, 1] and repr(nn.ReLU(True)) == "ReLU(inplace=True)"
