"""Tools for parameters against PyTorch: arguments, values, state_dicts both ways, printed forms, errors."""
import inspect

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import tinygrad_ed as tg  # noqa: E402
from tinygrad_ed import nn  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")          # the older norms are deprecated there
OURS, THEIRS = (tg, nn), (torch, torch.nn)


def tensor(lib, array):
    return lib.tensor(np.asarray(array))


def copy_state(ours, theirs):
    """The state of our module in theirs."""
    theirs.load_state_dict({k: torch.from_numpy(v.numpy().copy()) for k, v in ours.state_dict().items()})


@pytest.mark.parametrize("path", ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm", "parameters_to_vector",
                                  "vector_to_parameters", "weight_norm", "remove_weight_norm", "spectral_norm", "remove_spectral_norm",
                                  "fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights", "skip_init",
                                  "parametrizations.weight_norm", "parametrizations.spectral_norm", "parametrizations.orthogonal",
                                  "parametrize.register_parametrization", "parametrize.remove_parametrizations",
                                  "parametrize.is_parametrized",
                                  "parametrize.cached", "parametrize.type_before_parametrizations", "stateless.functional_call"])
def test_arguments_and_defaults(path):
    ours, theirs = nn.utils, torch.nn.utils
    for part in path.split("."):
        ours, theirs = getattr(ours, part), getattr(theirs, part)
    a, b = inspect.signature(ours).parameters, inspect.signature(theirs).parameters
    assert list(a) == list(b) and [p.default for p in a.values()] == [p.default for p in b.values()]


@pytest.mark.parametrize("norm_type", [1, 2, 2.5, float("inf"), "inf", 0.5])
@pytest.mark.parametrize("max_norm", [0.5, 100.0])
@pytest.mark.parametrize("bad", [None, np.nan, np.inf])
def test_clip_grad_norm(norm_type, max_norm, bad):
    rng = np.random.default_rng(0)
    grads = [rng.normal(size=(3, 4)), rng.normal(size=5), rng.normal(size=())]
    if bad is not None:
        grads[1][2] = bad
    found = []
    for lib, _ in (OURS, THEIRS):
        parameters = [lib.zeros(g.shape, dtype=lib.float64, requires_grad=True) for g in grads] + [lib.zeros(2, requires_grad=True)]
        for p, g in zip(parameters, grads):
            p.grad = tensor(lib, g)
        total = _utils(lib).clip_grad_norm_(parameters, max_norm, norm_type)
        found.append([total.item(), *[p.grad.numpy().copy() for p in parameters[:3]]])
        if bad is not None:
            with pytest.raises(RuntimeError):
                _utils(lib).clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite=True)
        _utils(lib).clip_grad_value_(parameters, 0.1)
        found[-1] += [p.grad.numpy() for p in parameters[:3]]
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def _utils(lib):
    return nn.utils if lib is tg else torch.nn.utils


MODULES = {
    "linear": lambda nn: nn.Linear(4, 3), "conv": lambda nn: nn.Conv1d(4, 3, 2), "transposed": lambda nn: nn.ConvTranspose1d(4, 3, 2),
}
NORMS = {
    "older weight_norm": lambda u, m: u.weight_norm(m), "older weight_norm of all": lambda u, m: u.weight_norm(m, dim=None),
    "weight_norm": lambda u, m: u.parametrizations.weight_norm(m),
    "weight_norm along 1": lambda u, m: u.parametrizations.weight_norm(m, dim=1),
    "older spectral_norm": lambda u, m: u.spectral_norm(m, n_power_iterations=2),
    "spectral_norm": lambda u, m: u.parametrizations.spectral_norm(m),
}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("module", MODULES)
def test_norms(norm, module):
    ours, theirs = (NORMS[norm](u, MODULES[module](n).double()) for u, n in ((nn.utils, nn), (torch.nn.utils, torch.nn)))
    assert list(ours.state_dict()) == list(theirs.state_dict()) and repr(ours) == repr(theirs)
    assert [tuple(v.shape) for v in ours.state_dict().values()] == [tuple(v.shape) for v in theirs.state_dict().values()]
    copy_state(ours, theirs)
    x = np.random.default_rng(1).normal(size=(2, 4) if module == "linear" else (2, 4, 5))
    for training in (True, False):
        ours.train(training), theirs.train(training)
        y, z = ours(tensor(tg, x)), theirs(tensor(torch, x))
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-12)
        (y * y).sum().backward(), (z * z).sum().backward()
        for (name, p), q in zip(ours.named_parameters(), theirs.parameters()):
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-8, atol=1e-10, err_msg=name)
        for (name, p), q in zip(ours.named_buffers(), theirs.buffers()):
            np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-10, err_msg=name)
    changed = {k: v * 1.5 for k, v in theirs.state_dict().items()}
    ours.load_state_dict(changed), theirs.load_state_dict(changed)
    for u, m in ((nn.utils, ours), (torch.nn.utils, theirs)):
        if "older" not in norm:
            u.parametrize.remove_parametrizations(m, "weight")
        else:
            (u.remove_weight_norm if "weight" in norm else u.remove_spectral_norm)(m)
    assert sorted(ours.state_dict()) == ["bias", "weight"]
    np.testing.assert_allclose(ours.weight.detach().numpy(), theirs.weight.detach().numpy(), rtol=1e-10)


@pytest.mark.parametrize("orthogonal_map", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
def test_orthogonal(orthogonal_map, shape):
    pair = []
    for lib, layers in (OURS, THEIRS):
        lib.manual_seed(0)
        pair.append(_utils(lib).parametrizations.orthogonal(layers.Linear(shape[1], shape[0]).double(), orthogonal_map=orthogonal_map))
    ours, theirs = pair
    assert list(ours.state_dict()) == list(theirs.state_dict())
    copy_state(ours, theirs)
    for lib, m in ((tg, ours), (torch, theirs)):
        with lib.no_grad():                           # away from where training begins
            m.parametrizations.weight.original.add_(tensor(lib, np.random.default_rng(2).normal(size=shape) * 0.1 * (1 - np.eye(*shape))))
        (m.weight * tensor(lib, np.random.default_rng(3).normal(size=shape))).sum().backward()
    np.testing.assert_allclose(ours.weight.detach().numpy(), theirs.weight.detach().numpy(), atol=1e-10)
    a, b = (m.parametrizations.weight.original.grad.numpy() for m in (ours, theirs))
    np.testing.assert_allclose(a, b, atol=1e-9)


def test_own_parametrizations():
    found = []
    for lib, layers in (OURS, THEIRS):
        class Symmetric(layers.Module):
            def forward(self, x):
                return x.triu() + x.triu(1).T

            def right_inverse(self, a):
                return a.triu()
        P = _utils(lib).parametrize
        layer = layers.Linear(3, 3).double()
        with lib.no_grad():
            layer.weight.copy_(tensor(lib, np.arange(9.0).reshape(3, 3)))
            layer.bias.zero_()
        P.register_parametrization(layer, "weight", Symmetric())
        log = [repr(layer), list(layer.state_dict()), layer.weight.tolist(), layer.parametrizations.weight.original.tolist()]
        layer.weight = tensor(lib, [[1.0, 2, 3], [2, 4, 5], [3, 5, 6]])
        log += [layer.weight.tolist(), P.is_parametrized(layer, "weight"), P.is_parametrized(layer, "bias"),
                P.type_before_parametrizations(layer).__name__]
        for act, error in [(lambda: P.register_parametrization(layer, "x", Symmetric()), ValueError),
                           (lambda: P.remove_parametrizations(layer, "bias"), ValueError)]:
            with pytest.raises(error):
                act()
        P.remove_parametrizations(layer, "weight", leave_parametrized=False)
        found.append([*log, repr(layer), layer.weight.tolist(), list(layer.state_dict())])
    assert found[0] == found[1]


def test_fusion():
    for build in ((lambda n: (n.Conv2d(3, 4, 3), n.BatchNorm2d(4)), (2, 3, 5, 5)), (lambda n: (n.Linear(3, 4), n.BatchNorm1d(4)), (2, 3))):
        build, shape = build
        pairs = [[m.double().eval() for m in build(layers)] for _, layers in (OURS, THEIRS)]
        for ours, theirs in zip(*pairs):
            with tg.no_grad():
                for t in ours.state_dict().values():
                    if t.is_floating_point():
                        t.copy_(tg.rand(*t.shape, dtype=t.dtype) + 0.5)
            copy_state(ours, theirs)
        name = "fuse_linear_bn_eval" if len(shape) == 2 else "fuse_conv_bn_eval"
        a, b = (getattr(_utils(lib), name)(*pair) for (lib, _), pair in zip((OURS, THEIRS), pairs))
        assert repr(a) == repr(b)
        for (k, v), w in zip(a.state_dict().items(), b.state_dict().values()):
            np.testing.assert_allclose(v.numpy(), w.numpy(), rtol=1e-10, err_msg=k)


def test_vectors_and_stateless_calls():
    results = []
    for lib, layers in (OURS, THEIRS):
        model = layers.Sequential(layers.Linear(2, 2), layers.Linear(2, 1)).double()
        _utils(lib).vector_to_parameters(lib.arange(9, dtype=lib.float64), model.parameters())
        call = nn.utils.stateless.functional_call if lib is tg else torch.func.functional_call
        given = {"1.weight": tensor(lib, [[1.0, 2.0]])}
        x = tensor(lib, [[1.0, -1.0]])
        results.append([_utils(lib).parameters_to_vector(model.parameters()).tolist(), model(x).tolist(), call(model, given, x).tolist(),
                        model(x).tolist()])
        with pytest.raises(RuntimeError):
            call(model, given, (x,), strict=True)
        with pytest.raises(TypeError):
            _utils(lib).vector_to_parameters([1.0], model.parameters())
    assert results[0] == results[1]
