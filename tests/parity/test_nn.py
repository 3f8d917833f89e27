"""Modules against PyTorch: state_dict both ways, values, gradients, printed forms, hooks; and safetensors files."""
import inspect

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import tinygrad_ed as tg  # noqa: E402
from tinygrad_ed import nn  # noqa: E402

MODELS = {
    "linear": lambda nn: nn.Linear(4, 3),
    "linear without bias": lambda nn: nn.Linear(4, 3, bias=False),
    "sequential": lambda nn: nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Sequential(nn.Linear(5, 3, bias=False), nn.Identity())),
    "GELU by tanh": lambda nn: nn.Sequential(nn.Linear(4, 5), nn.GELU(approximate="tanh"), nn.Linear(5, 3), nn.GELU()),
    "in place": lambda nn: nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True)),
    "unflatten": lambda nn: nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3)), nn.Flatten(0, 1)),
}
PRINTED = {
    **MODELS,
    "losses": lambda nn: nn.ModuleList([nn.CrossEntropyLoss(), nn.MSELoss(), nn.L1Loss(), nn.NLLLoss()]),
    "lists": lambda nn: nn.ModuleList([nn.Linear(1, 2), nn.Linear(1, 2), nn.Sequential(nn.ReLU()), nn.ReLU()]),
    "dict": lambda nn: nn.ModuleDict({"a": nn.ModuleList(), "b": nn.Sequential(), "c": nn.ModuleDict({"d": nn.Identity()})}),
}


def pair(build):
    """The same model here and there, with the same weights."""
    ours, theirs = build(nn).double(), build(torch.nn).double()
    theirs.load_state_dict({k: torch.from_numpy(t.numpy().copy()) for k, t in ours.state_dict().items()})
    return ours, theirs


@pytest.mark.parametrize("name", MODELS)
def test_values_gradients_and_state(name):
    ours, theirs = pair(MODELS[name])
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = np.random.default_rng(0).normal(size=(6, 4))
    y, z = ours(tg.tensor(x)), theirs(torch.from_numpy(x))
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-12)
    (y * y).sum().backward()
    (z * z).sum().backward()
    for p, q in zip(ours.parameters(), theirs.parameters()):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-10, atol=1e-12)
    changed = {k: t * 2 for k, t in theirs.state_dict().items()}
    ours.load_state_dict(changed)
    assert all(np.array_equal(ours.state_dict()[k].numpy(), t.numpy()) for k, t in changed.items())


@pytest.mark.parametrize("name", PRINTED)
def test_printed_forms(name):
    assert repr(PRINTED[name](nn)) == repr(PRINTED[name](torch.nn))


def test_parameter_containers_print_the_same_but_for_the_dtype():
    def build(nn, lib):
        plist = nn.ParameterList([lib.ones(2, 3), nn.Parameter(lib.tensor(1.0)), "text"])
        return nn.ModuleDict({"list": plist, "empty": nn.ParameterDict()})
    assert repr(build(nn, tg)) == repr(build(torch.nn, torch)).replace("torch.float32", "float32")
    assert repr(nn.Parameter(tg.tensor([1.5, 2.0]))) == repr(torch.nn.Parameter(torch.tensor([1.5, 2.0])))


@pytest.mark.parametrize("name", ["Module", "Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict"])
def test_the_interface_is_there(name):
    later = {"T_destination", "call_super_init", "compile", "dump_patches", "ipu", "mtia", "register_backward_hook", "set_submodule",
             "share_memory", "to_empty", "xpu"}
    public = {n for n in dir(getattr(torch.nn, name)) if not n.startswith("_")}
    assert public - later <= set(dir(getattr(nn, name)))


def names(function):
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize("path", ["Module.register_buffer", "Module.register_forward_hook", "Module.register_forward_pre_hook",
                                  "Module.register_full_backward_hook", "Module.named_parameters", "Module.named_modules",
                                  "Module.load_state_dict", "Linear.__init__", "ReLU.__init__", "Flatten.__init__", "Unflatten.__init__",
                                  "init.uniform_", "init.normal_", "init.kaiming_uniform_", "init.xavier_uniform_", "functional.softmax"])
def test_arguments_and_defaults(path):
    ours, theirs = nn, torch.nn
    for part in path.split("."):
        ours, theirs = getattr(ours, part), getattr(theirs, part)
    a, b = inspect.signature(ours).parameters, inspect.signature(theirs).parameters
    assert list(a) == list(b) and [p.default for p in a.values()] == [p.default for p in b.values()]


def test_hooks_see_the_same():
    logs = []
    for lib, net in ((tg, nn.Linear(2, 2)), (torch, torch.nn.Linear(2, 2))):
        log = []
        with lib.no_grad():
            net.weight.copy_(lib.tensor([[1.0, 2.0], [3.0, 4.0]]))
            net.bias.zero_()
        net.register_forward_pre_hook(lambda m, args: (args[0] * 2,))
        net.register_forward_hook(lambda m, args, y: y + 1)
        net.register_full_backward_pre_hook(lambda m, go: log.append(("pre", go[0].tolist())) or (go[0] * 3,))
        net.register_full_backward_hook(lambda m, gi, go: log.append((gi[0].tolist(), go[0].tolist())) or (gi[0] + 1,))
        x = lib.tensor([[1.0, 1.0]], requires_grad=True)
        net(x).sum().backward()
        logs.append([log, x.grad.tolist(), net.weight.grad.tolist(), net.bias.grad.tolist()])
    assert logs[0] == logs[1]


def test_errors_agree():
    for lib, n in ((tg, nn), (torch, torch.nn)):
        for error, act in [
                (KeyError, lambda: n.Module().register_parameter("a.b", None)), (KeyError, lambda: n.Module().register_buffer("", None)),
                (KeyError, lambda: n.Module().add_module("forward", None)), (TypeError, lambda: n.Module().register_buffer("x", 3)),
                (TypeError, lambda: n.Sequential(3)), (TypeError, lambda: setattr(n.Linear(1, 1), "weight", lib.ones(1))),
                (AttributeError, lambda: n.Linear(1, 1).get_submodule("x")), (IndexError, lambda: n.ModuleList()[0]),
                (RuntimeError, lambda: n.Linear(1, 1).load_state_dict({})), (TypeError, lambda: n.Linear(1, 1).load_state_dict(3)),
                (ValueError, lambda: n.Module().train(3)), (NotImplementedError, lambda: n.Module()(1)),
                (TypeError, lambda: n.Linear(1, 1).to(lib.int64)), (RuntimeError, lambda: n.ParameterList()(1)),
                (IndexError, lambda: n.CrossEntropyLoss()(lib.zeros(1, 2), lib.tensor([2])))]:
            with pytest.raises(error):
                act()


def test_safetensors_files_go_both_ways(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    rng = np.random.default_rng(0)
    arrays = {f"{dtype}{list(shape)}": rng.normal(size=shape).astype(dtype) for shape in [(), (0, 2), (3,), (2, 1, 3)]
              for dtype in ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")}
    tg.save({k: tg.tensor(a) for k, a in arrays.items()}, tmp_path / "ours")
    safetensors.save_file(arrays, tmp_path / "theirs")
    ours, theirs = safetensors.load_file(tmp_path / "ours"), tg.load(tmp_path / "theirs")
    for name, a in arrays.items():
        for b in (ours[name], theirs[name].numpy()):
            assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    tree = {"model": {"w": tg.ones(2)}, "epoch": 3}
    tg.save(tree, tmp_path / "tree")
    assert list(safetensors.load_file(tmp_path / "tree")) == ["model.w"]


def test_pytorch_reads_and_writes_bfloat16(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    values = torch.tensor([1.5, -3.0, float("inf")])
    safetensors.save_file({"w": values.bfloat16()}, tmp_path / "b")
    assert tg.load(tmp_path / "b")["w"].tolist() == values.tolist()
    torch.save({"w": values}, tmp_path / "pickled")
    with pytest.raises(ValueError, match="pickle"):
        tg.load(tmp_path / "pickled")
