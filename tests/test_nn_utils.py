"""Tools for parameters: clipping, vectors, parametrizations, norms of weights, fusion, freezing, stateless calls, penalties."""
import copy
import math
import pickle

import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed import nn
from tinygrad_ed.errors import DimError, DomainError, DTypeError, InPlaceError, ShapeError
from tinygrad_ed.nn.utils import parametrizations, parametrize, stateless

utils = nn.utils
INF = math.inf


def with_grads(*grads):
    """Parameters with given gradients; None for none."""
    parameters = []
    for g in grads:
        p = tg.zeros(np.shape(0.0 if g is None else g), dtype=tg.float64, requires_grad=True)
        p.grad = None if g is None else tg.tensor(np.array(g, "float64"))
        parameters.append(p)
    return parameters


# -- clipping ----------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
GRADS = [RNG.normal(size=(3, 4)), RNG.normal(size=5), RNG.normal(size=()), np.zeros((0, 2))]


@pytest.mark.parametrize("p", [1, 2, 3.5, INF, "inf", 0.5, 0, -INF, -1])
@pytest.mark.parametrize("max_norm", [0.1, 1e3, 0])
def test_the_norm_is_that_of_one_vector(p, max_norm):
    parameters = [*with_grads(*GRADS), *with_grads(None)]
    flat = np.concatenate([g.ravel() for g in GRADS])
    total = utils.clip_grad_norm_(iter(parameters), max_norm, p)
    expected = np.linalg.norm(flat, float(p))
    np.testing.assert_allclose(total.item(), expected, rtol=1e-12)
    np.testing.assert_allclose(utils.get_total_norm([tg.tensor(g) for g in GRADS], p).item(), expected, rtol=1e-12)
    factor = min(1, max_norm / (expected + 1e-6))
    for q, g in zip(parameters, GRADS):
        np.testing.assert_allclose(q.grad.numpy(), g * factor, rtol=1e-12)
    assert parameters[-1].grad is None and total.shape == () and not total.requires_grad
    again = with_grads(*GRADS)
    assert utils.clip_grads_with_norm_(again, max_norm, total) is None
    for q, r in zip(parameters, again):
        np.testing.assert_array_equal(q.grad.numpy(), r.grad.numpy())


def test_gradients_below_the_limit_stay_bit_for_bit():
    parameters = with_grads(*GRADS)
    utils.clip_grad_norm_(parameters, 1e6)
    assert all(np.array_equal(p.grad.numpy(), g) for p, g in zip(parameters, GRADS))


def test_shared_gradients_are_counted_and_scaled_once():
    a, b = with_grads([3.0, 0.0], [9.0, 9.0])
    b.grad = a.grad                                   # one gradient of two parameters
    assert utils.clip_grad_norm_([a, b, a], 1.0).item() == 3
    np.testing.assert_allclose(a.grad.numpy(), [1, 0], rtol=1e-5)
    a, = with_grads([3.0, -4.0])
    utils.clip_grad_value_([a, a], 3.5)
    assert a.grad.tolist() == [3, -3.5]
    x = tg.tensor([3.0])
    assert utils.get_total_norm([x, x]).item() == 3


def test_no_gradients():
    assert utils.clip_grad_norm_(with_grads(None, None), 1.0).item() == 0
    assert utils.get_total_norm([]).item() == 0 and utils.clip_grad_norm_(with_grads([0.0, 0.0]), 1.0).item() == 0
    p = tg.ones(2, requires_grad=True)
    assert utils.clip_grad_norm_(p, 1.0).item() == 0  # a single tensor
    with pytest.warns(UserWarning, match="empty"):
        utils.clip_grad_norm_((q for q in ()), 1.0)


@pytest.mark.parametrize("dtype, size", [("float32", 1e30), ("float32", 1e-30), ("float64", 1e250), ("float64", 1e-250), ("float16", 3e4)])
def test_squares_that_overflow_or_vanish(dtype, size):
    p = tg.zeros(2, dtype=dtype, requires_grad=True)
    p.grad = tg.tensor(np.array([3 * size / 4, size], dtype))
    assert abs(utils.clip_grad_norm_(p, size / 2).item() / (1.25 * size) - 1) < 1e-2
    if size > 1:
        np.testing.assert_allclose(p.grad.numpy().astype("float64"), np.array([0.3, 0.4]) * size, rtol=1e-2)
    assert p.grad.dtype == dtype


def test_norms_that_are_not_finite():
    for bad in (np.nan, INF):
        a, b = with_grads([1.0, 2.0], [bad, 1.0])
        with pytest.raises(DomainError, match=r"1 of 2 gradients are not finite.*\(2,\)"):
            utils.clip_grad_norm_([a, b], 1.0, error_if_nonfinite=True)
        assert a.grad.tolist() == [1, 2]              # nothing has been changed
        assert not math.isfinite(utils.clip_grad_norm_([a, b], 1.0).item())
        assert np.isnan(a.grad.numpy()).all() if math.isnan(bad) else a.grad.tolist() == [0, 0]
    for p in (1, INF, 0.5):
        assert math.isnan(utils.get_total_norm([tg.tensor([1.0, np.nan])], p).item())


def test_clipping_values():
    a, b = with_grads([3.0, -0.5], [[-7.0]])
    utils.clip_grad_value_([a, b], 1)
    assert a.grad.tolist() == [1, -0.5] and b.grad.tolist() == [[-1]]
    for act in (lambda: utils.clip_grad_value_(a, -1), lambda: utils.clip_grad_norm_(a, -1), lambda: utils.clip_grad_norm_(a, math.nan)):
        with pytest.raises(DomainError):
            act()
    with pytest.raises(TypeError):
        utils.clip_grad_norm_([np.ones(2)], 1)
    with pytest.raises(DTypeError):
        utils.get_total_norm([tg.tensor([1, 2])])


def test_clipping_is_seen_by_the_graph():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    x.grad = tg.tensor([3.0, 4.0], requires_grad=True) * 1
    y = (x.grad * x.grad).sum()
    utils.clip_grad_norm_(x, 1.0)
    with pytest.raises(InPlaceError):
        y.backward()


def test_mixed_dtypes():
    a, = with_grads([3.0])
    b = tg.zeros(1, dtype=tg.float16, requires_grad=True)
    b.grad = tg.tensor([4.0], dtype=tg.float16)
    assert utils.clip_grad_norm_([a, b], 1.0).item() == 5 and b.grad.dtype == tg.float16


# -- vectors -----------------------------------------------------------------------------------------------------------

def test_parameters_as_a_vector_and_back():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    vector = utils.parameters_to_vector(model.parameters())
    assert vector.shape == (11,) and vector.requires_grad
    (vector * tg.arange(11.0)).sum().backward()
    assert model[0].weight.grad.tolist() == [[0, 1, 2], [3, 4, 5]] and model[1].bias.grad.tolist() == [10]
    before = [p.data for p in model.parameters()]
    utils.vector_to_parameters(tg.arange(11.0), model.parameters())
    assert model[0].bias.tolist() == [6, 7] and all(p.data is d for p, d in zip(model.parameters(), before))
    np.testing.assert_array_equal(utils.parameters_to_vector(model.parameters()).detach().numpy(), np.arange(11))
    for n in (10, 12):
        with pytest.raises(ShapeError, match="11 elements"):
            utils.vector_to_parameters(tg.zeros(n), model.parameters())
    assert model[0].bias.tolist() == [6, 7]
    with pytest.raises(TypeError):
        utils.vector_to_parameters(np.zeros(11), model.parameters())
    with pytest.raises(ShapeError):
        utils.parameters_to_vector([])


# -- parametrizations --------------------------------------------------------------------------------------------------

class Symmetric(nn.Module):
    calls = 0

    def forward(self, x):
        Symmetric.calls += 1
        return x.triu() + x.triu(1).T

    def right_inverse(self, a):
        return a.triu()


class Positive(nn.Module):
    def forward(self, x):
        return x.exp()


class RankOne(nn.Module):
    def forward(self, x, y):
        return x.unsqueeze(-1) @ y.unsqueeze(-2)

    def right_inverse(self, z):
        return z[:, 0], z[0] / z[0, 0]


def test_a_parametrized_parameter_is_computed():
    layer = nn.Linear(3, 3)
    weight = layer.weight
    assert parametrize.register_parametrization(layer, "weight", Symmetric()) is layer
    assert np.array_equal(layer.weight.detach().numpy(), layer.weight.detach().numpy().T)
    assert layer.parametrizations.weight.original is weight and isinstance(weight, nn.Parameter)       # an optimizer's parameter stays
    assert [name for name, _ in layer.named_parameters()] == ["bias", "parametrizations.weight.original"]
    assert isinstance(layer, nn.Linear) and type(layer).__name__ == "ParametrizedLinear"
    assert parametrize.type_before_parametrizations(layer) is nn.Linear
    layer(tg.ones(2, 3)).sum().backward()
    assert weight.grad is not None and (weight.grad.numpy()[np.tril_indices(3, -1)] == 0).all()
    a = tg.tensor([[1.0, 2, 3], [2, 4, 5], [3, 5, 6]])
    layer.weight = a
    assert np.array_equal(layer.weight.detach().numpy(), a.numpy())
    assert parametrize.is_parametrized(layer) and parametrize.is_parametrized(layer, "weight") and not parametrize.is_parametrized(layer,
                                                                                                                                   "bias")


def test_parametrizations_follow_each_other():
    layer = nn.Linear(2, 2)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    parametrize.register_parametrization(layer, "weight", Positive())
    original = layer.parametrizations.weight.original.detach().numpy()
    np.testing.assert_allclose(layer.weight.detach().numpy(), np.exp(np.triu(original) + np.triu(original, 1).T), rtol=1e-6)
    with pytest.raises(RuntimeError, match="Positive has no right_inverse"):
        layer.weight = tg.ones(2, 2)
    parametrize.register_parametrization(layer, "bias", Positive())
    assert (layer.bias.detach().numpy() > 0).all() and list(layer.state_dict()) == ["parametrizations.weight.original",
                                                                                    "parametrizations.bias.original"]
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer).__name__ == "ParametrizedLinear" and isinstance(layer.weight, nn.Parameter)
    parametrize.remove_parametrizations(layer, "bias", leave_parametrized=False)
    assert type(layer) is nn.Linear and list(layer.state_dict()) == ["weight", "bias"] and not hasattr(layer, "parametrizations")


def test_several_originals():
    layer = parametrize.register_parametrization(nn.Linear(3, 2, bias=False), "weight", RankOne())
    assert list(layer.state_dict()) == ["parametrizations.weight.original0", "parametrizations.weight.original1"]
    assert np.linalg.matrix_rank(layer.weight.detach().numpy(), tol=1e-5) == 1
    layer.weight = tg.tensor([[1.0, 2, 3], [2, 4, 6]])
    assert layer.weight.tolist() == [[1, 2, 3], [2, 4, 6]]
    with pytest.raises(ValueError, match="2 tensors"):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    parametrize.remove_parametrizations(layer, "weight")
    assert isinstance(layer.weight, nn.Parameter) and layer.weight.tolist() == [[1, 2, 3], [2, 4, 6]] and layer.weight.is_leaf


def test_buffers_and_frozen_parameters():
    module = nn.Module()
    module.register_buffer("scale", tg.zeros(2))
    parametrize.register_parametrization(module, "scale", Positive())
    assert module.scale.tolist() == [1, 1] and list(dict(module.named_buffers())) == ["parametrizations.scale.original"]
    parametrize.remove_parametrizations(module, "scale")
    assert list(dict(module.named_buffers())) == ["scale"] and module.scale.tolist() == [1, 1]
    layer = nn.Linear(3, 2)
    layer.weight.requires_grad = False
    parametrize.register_parametrization(layer, "weight", RankOne())
    assert not layer.weight.requires_grad and not layer.parametrizations.weight.original0.requires_grad


def test_cached():
    layer = parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    Symmetric.calls = 0
    with parametrize.cached():
        with parametrize.cached():
            first = layer.weight
        assert layer.weight is first
        (layer(tg.ones(1, 3)) + layer(tg.ones(1, 3))).sum().backward()
    assert Symmetric.calls == 1 and layer.weight is not first
    with pytest.raises(ZeroDivisionError):
        with parametrize.cached():
            raise ZeroDivisionError
    assert layer.weight is not layer.weight


def test_parametrized_modules_are_copied_and_pickled():
    layer = parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(other).__name__ == "ParametrizedLinear" and np.array_equal(other.weight.detach().numpy(), layer.weight.detach().numpy())
        parametrize.remove_parametrizations(other, "weight")
        assert type(other) is nn.Linear and parametrize.is_parametrized(layer) and layer.weight.shape == (3, 3)
    assert "(weight): ParametrizationList" in repr(layer)


def test_what_does_not_fit_changes_nothing():
    class Wrong(nn.Module):
        def __init__(self, f, inverse=None):
            super().__init__()
            self.f = f
            if inverse:
                self.right_inverse = inverse

        def forward(self, *xs):
            return self.f(*xs)

    for bad, error in [(Wrong(lambda x: x[:2]), ShapeError), (Wrong(lambda x: x.double()), DTypeError), (Wrong(lambda x: 3), ValueError),
                       (Wrong(lambda x: x, lambda x: 3), ValueError), (Wrong(lambda x: x, lambda x: ()), ValueError),
                       (Wrong(lambda x: x.float(), lambda x: x.double()), DTypeError), (Wrong(lambda x: x.missing), AttributeError)]:
        layer = nn.Linear(3, 3)
        before = {k: v.numpy().copy() for k, v in layer.state_dict().items()}
        with pytest.raises(error):
            parametrize.register_parametrization(layer, "weight", bad)
        assert type(layer) is nn.Linear and all(np.array_equal(v.numpy(), before[k]) for k, v in layer.state_dict().items())
        parametrize.register_parametrization(layer, "weight", Symmetric())
        if error is not AttributeError:
            with pytest.raises(error):
                parametrize.register_parametrization(layer, "weight", bad)
        assert len(layer.parametrizations.weight) == 1
    layer = nn.Linear(2, 3)
    with pytest.raises(ValueError, match="'weight', 'bias'"):
        parametrize.register_parametrization(layer, "wieght", Symmetric())
    with pytest.raises(TypeError):
        parametrize.register_parametrization(layer, "weight", lambda x: x)
    with pytest.raises(ValueError):
        parametrize.remove_parametrizations(layer, "weight")
    parametrize.register_parametrization(layer, "weight", Wrong(lambda x: x.T), unsafe=True)
    assert layer.weight.shape == (2, 3)
    layer.parametrizations.weight[0].f = lambda x: x.missing
    with pytest.raises(RuntimeError, match="parametrized 'weight' of ParametrizedLinear"):
        print(layer.weight)


def test_training_a_parametrized_layer():
    tg.manual_seed(0)
    layer = parametrize.register_parametrization(nn.Linear(3, 3, bias=False), "weight", Symmetric())
    optimizer = tg.optim.SGD(layer.parameters(), lr=0.1)
    target = tg.tensor([[2.0, 1, 0], [1, 3, 1], [0, 1, 4]])
    for _ in range(300):
        optimizer.zero_grad()
        ((layer.weight - target) ** 2).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(layer.weight.detach().numpy(), target.numpy(), atol=1e-4)


# -- weight normalization ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("apply", [utils.weight_norm, parametrizations.weight_norm])
@pytest.mark.parametrize("shape, dim", [((4, 3), 0), ((4, 3), 1), ((4, 3), None), ((4, 3, 2), 0), ((4, 3, 2), -2), ((5,), 0)])
def test_weight_norm(apply, shape, dim):
    layer = nn.Module()
    layer.weight = nn.Parameter(tg.randn(*shape, dtype=tg.float64))
    layer.forward = lambda x: layer.weight.sum() + x
    before = layer.weight.detach().numpy().copy()
    apply(layer, "weight", dim)
    layer(tg.zeros(()))
    np.testing.assert_allclose(layer.weight.detach().numpy(), before, rtol=1e-12)
    g, v = (layer.weight_g, layer.weight_v) if apply is utils.weight_norm else (layer.parametrizations.weight.original0,
                                                                                layer.parametrizations.weight.original1)
    axes = tuple(i for i in range(len(shape)) if dim is not None and i != dim % len(shape)) if dim is not None else None
    lengths = np.sqrt((before ** 2).sum(axis=axes, keepdims=dim is not None)) if axes != () else np.abs(before)
    np.testing.assert_allclose(g.detach().numpy(), lengths, rtol=1e-12)
    with tg.no_grad():
        g.mul_(2)
        v.mul_(7)
    layer(tg.zeros(()))
    np.testing.assert_allclose(layer.weight.detach().numpy(), 2 * before, rtol=1e-12)


def test_weight_norm_in_its_older_form():
    layer = utils.weight_norm(nn.Linear(3, 2))
    assert list(layer.state_dict()) == ["bias", "weight_g", "weight_v"]
    layer(tg.ones(1, 3)).sum().backward()
    assert layer.weight_g.grad is not None and layer.weight_v.grad is not None
    with pytest.raises(RuntimeError, match="already"):
        utils.weight_norm(layer)
    with pytest.raises(ValueError):
        utils.weight_norm(nn.Linear(3, 2), "nothing")
    value = layer.weight.detach().numpy()
    newer = parametrizations.weight_norm(nn.Linear(3, 2))
    newer.load_state_dict(layer.state_dict())         # the older names are understood
    np.testing.assert_allclose(newer.weight.detach().numpy(), value, rtol=1e-6)
    utils.remove_weight_norm(layer)
    assert isinstance(layer.weight, nn.Parameter) and not layer._hooks and np.array_equal(layer.weight.detach().numpy(), value)
    with pytest.raises(ValueError):
        utils.remove_weight_norm(layer)


# -- spectral normalization --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("apply", [utils.spectral_norm, parametrizations.spectral_norm])
def test_spectral_norm_finds_the_largest_singular_value(apply):
    tg.manual_seed(0)
    layer = nn.Linear(5, 4)
    exact = np.linalg.svd(layer.weight.detach().numpy(), compute_uv=False)[0]
    before = layer.weight.detach().numpy().copy()
    apply(layer, n_power_iterations=3)
    for _ in range(30):
        layer(tg.ones(1, 5))
    np.testing.assert_allclose(layer.weight.detach().numpy(), before / exact, rtol=1e-4)
    layer.eval()
    buffers = {k: v.numpy().copy() for k, v in layer.named_buffers()}
    layer(tg.ones(1, 5))
    assert all(np.array_equal(v.numpy(), buffers[k]) for k, v in layer.named_buffers())              # no steps in evaluation


@pytest.mark.parametrize("apply", [utils.spectral_norm, parametrizations.spectral_norm])
def test_two_calls_before_one_backward(apply):
    """As for a discriminator: the step of the second call leaves the first one's graph alone."""
    layer = apply(nn.Linear(3, 3))
    (layer(tg.ones(1, 3)) - layer(tg.zeros(1, 3))).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


def test_the_gradient_of_spectral_norm():
    """With u and v held fixed, W/σ with σ = uᵀWv has the gradient (G - (G·W/σ)·uvᵀ)/σ."""
    layer = parametrizations.spectral_norm(nn.Linear(3, 2, bias=False).double().eval())
    original = layer.parametrizations.weight.original
    u, v = (b.numpy() for b in layer.buffers())
    G = RNG.normal(size=(2, 3))
    (layer.weight * tg.tensor(G)).sum().backward()
    W = original.detach().numpy()
    sigma = u @ W @ v
    np.testing.assert_allclose(original.grad.numpy(), (G - (G * W).sum() / sigma * np.outer(u, v)) / sigma, rtol=1e-10)


def test_spectral_norm_of_other_shapes():
    conv, turned = nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(3, 4, 3)
    assert utils.spectral_norm(conv).weight_u.shape == (4,) and conv.weight_v.shape == (27,)
    assert utils.spectral_norm(turned).weight_u.shape == (4,)
    assert parametrizations.spectral_norm(nn.ConvTranspose2d(3, 4, 3)).parametrizations.weight[0]._u.shape == (4,)
    norm = parametrizations.spectral_norm(nn.LayerNorm(4))
    np.testing.assert_allclose(norm.weight.detach().numpy(), np.full(4, 0.5), rtol=1e-6)             # a vector by its length
    for apply in (utils.spectral_norm, parametrizations.spectral_norm):
        with pytest.raises(ValueError):
            apply(nn.Linear(2, 2), n_power_iterations=0)
        with pytest.raises(DimError):
            apply(nn.Linear(2, 2), dim=2)
        with pytest.raises(ValueError):
            apply(nn.Linear(2, 2), "nothing")
    value = conv.weight.detach().numpy()
    conv(tg.ones(1, 3, 5, 5))
    utils.remove_spectral_norm(conv)
    assert list(conv.state_dict()) == ["bias", "weight"] and value.shape == conv.weight.shape and not list(conv.buffers())
    with pytest.raises(ValueError):
        utils.remove_spectral_norm(conv)
    with pytest.raises(RuntimeError, match="already"):
        utils.spectral_norm(turned)


# -- orthogonal matrices -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("orthogonal_map", ["matrix_exp", "cayley", "householder", None])
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
@pytest.mark.parametrize("trivial", [True, False])
def test_orthogonal_stays_orthogonal(orthogonal_map, shape, trivial):
    tg.manual_seed(0)
    layer = parametrizations.orthogonal(nn.Linear(shape[1], shape[0], bias=False).double(), "weight", orthogonal_map,
                                        use_trivialization=trivial)
    optimizer = tg.optim.SGD(layer.parameters(), lr=0.1)
    target, losses = tg.tensor(np.linalg.qr(RNG.normal(size=(5, 5)))[0][:shape[0], :shape[1]]), []
    for _ in range(40):
        optimizer.zero_grad()
        loss = ((layer.weight - target) ** 2).sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        Q = layer.weight.detach().numpy()
        product = Q.T @ Q if shape[0] >= shape[1] else Q @ Q.T
        np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-10)
    assert losses[-1] < losses[0]


def test_orthogonal_begins_where_it_was():
    Q = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
    for orthogonal_map in ("matrix_exp", "cayley", "householder"):
        layer = nn.Linear(4, 4).double()
        with tg.no_grad():
            layer.weight.copy_(tg.tensor(Q))
        parametrizations.orthogonal(layer, orthogonal_map=orthogonal_map)
        np.testing.assert_allclose(layer.weight.detach().numpy(), Q, atol=1e-12)
        layer.weight = tg.tensor(Q.T)
        np.testing.assert_allclose(layer.weight.detach().numpy(), Q.T, atol=1e-12)
        with pytest.raises(ShapeError):
            layer.weight = tg.ones(3, 3, dtype=tg.float64)
    with pytest.raises(ValueError):
        parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="qr")
    with pytest.raises(ShapeError):
        parametrizations.orthogonal(nn.Linear(2, 2), "bias")
    with pytest.raises(ValueError):
        parametrizations.orthogonal(nn.Linear(2, 2), "nothing")
    fixed = parametrizations.orthogonal(nn.Linear(2, 2), use_trivialization=False)
    with pytest.raises(NotImplementedError):
        fixed.weight = tg.eye(2)


# -- fusion ------------------------------------------------------------------------------------------------------------

def trained_norm(norm):
    tg.manual_seed(1)
    for t in norm.state_dict(keep_vars=True).values():
        if t.is_floating_point():
            nn.init.uniform_(t, 0.5, 2)
    return norm.double().eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_fused_layers_do_the_same(bias, affine):
    for layer, norm, shape, options in [
            (nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4, affine=affine), (2, 3, 6, 6), {}),
            (nn.Conv2d(4, 4, 3, groups=2, bias=bias), nn.BatchNorm2d(4, affine=affine), (2, 4, 6, 6), {}),
            (nn.Conv1d(3, 4, 3, bias=bias), nn.BatchNorm1d(4, affine=affine), (2, 3, 6), {}),
            (nn.ConvTranspose2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4, affine=affine), (2, 3, 6, 6), {"transpose": True}),
            (nn.Linear(3, 4, bias=bias), nn.BatchNorm1d(4, affine=affine), (5, 3), None)]:
        layer, norm, x = layer.double().eval(), trained_norm(norm), tg.randn(*shape, dtype=tg.float64)
        before = {k: v.numpy().copy() for k, v in layer.state_dict().items()}
        fused = utils.fuse_linear_bn_eval(layer, norm) if options is None else utils.fuse_conv_bn_eval(layer, norm, **options)
        np.testing.assert_allclose(fused(x).detach().numpy(), norm(layer(x)).detach().numpy(), rtol=1e-9, atol=1e-12)
        assert fused is not layer and all(np.array_equal(v.numpy(), before[k]) for k, v in layer.state_dict().items())
        assert fused.bias is not None and fused.weight.requires_grad


def test_fusion_refuses():
    conv, norm = nn.Conv1d(2, 3, 1), nn.BatchNorm1d(3)
    for act, error in [(lambda: utils.fuse_conv_bn_eval(conv, norm), ValueError),
                       (lambda: utils.fuse_conv_bn_eval(conv.eval(), norm), ValueError),
                       (lambda: utils.fuse_conv_bn_eval(conv.eval(), nn.BatchNorm1d(3, track_running_stats=False).eval()), ValueError),
                       (lambda: utils.fuse_conv_bn_eval(conv.eval(), nn.BatchNorm1d(4).eval()), ShapeError),
                       (lambda: utils.fuse_linear_bn_eval(nn.Linear(2, 3).eval(), nn.BatchNorm1d(4).eval()), ShapeError)]:
        with pytest.raises(error):
            act()


# -- freezing ----------------------------------------------------------------------------------------------------------

def network():
    return nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), nn.ReLU(), nn.Linear(4, 2))


def trained(model):
    return [name for name, p in model.named_parameters() if p.requires_grad]


def test_freezing_by_name():
    model = network()
    assert utils.freeze(model, "0") == ["0.0.weight", "0.0.bias", "0.1.weight", "0.1.bias"]
    assert trained(model) == ["2.weight", "2.bias"]
    assert utils.unfreeze(model, ["0.1", "*.bias"]) == ["0.0.bias", "0.1.weight", "0.1.bias", "2.bias"]
    assert trained(model) == ["0.0.bias", "0.1.weight", "0.1.bias", "2.weight", "2.bias"]
    assert len(utils.freeze(model)) == 6 and trained(model) == [] and len(utils.unfreeze(model)) == 6
    with pytest.raises(ValueError, match="'3'.*'0.0.weight'"):
        utils.freeze(model, ["0", "3"])
    assert len(trained(model)) == 6                   # nothing has been changed


def test_frozen_parameters_do_not_move_and_their_gradients_are_not_computed():
    model = network()
    utils.freeze(model, "0")
    before = {k: v.numpy().copy() for k, v in model[0].named_parameters() for v in [v.detach()]}
    optimizer = tg.optim.SGD(model.parameters(), lr=0.5)
    model(tg.randn(8, 3)).sum().backward()
    optimizer.step()
    assert all(p.grad is None for p in model[0].parameters()) and model[2].weight.grad is not None
    assert all(np.array_equal(p.detach().numpy(), before[k]) for k, p in model[0].named_parameters())


def test_frozen_batch_norm_stays_in_evaluation():
    model = network()
    statistics = lambda: model[0][1].running_mean.numpy().copy()
    utils.freeze(model, "0", freeze_norm=True)
    utils.freeze(model, "0", freeze_norm=True)        # twice does no harm
    before = statistics()
    for _ in range(2):
        model.train()
        model(tg.randn(8, 3) + 5)
        assert np.array_equal(statistics(), before) and model.training and model[0].training
    copied = copy.deepcopy(model).train()
    copied(tg.randn(8, 3) + 5)
    assert np.array_equal(copied[0][1].running_mean.numpy(), before)
    utils.unfreeze(model, "0")
    assert model[0][1].training and not model[0][1]._hooks.get("forward_pre")
    model(tg.randn(8, 3) + 5)
    assert not np.array_equal(statistics(), before)
    plain = network()
    utils.freeze(plain, "0")                          # without being asked, statistics follow the data
    plain(tg.randn(8, 3) + 5)
    assert plain[0][1].running_mean.numpy().any()
    bare = nn.Sequential(nn.BatchNorm1d(3, affine=False))
    assert utils.freeze(bare, "0", freeze_norm=True) == []
    bare.train()(tg.randn(8, 3) + 5)
    assert not bare[0].running_mean.numpy().any()


# -- stateless calls ---------------------------------------------------------------------------------------------------

def test_functional_call():
    model = network().eval()
    x = tg.randn(5, 3)
    weights = {k: tg.randn(*p.shape, requires_grad=True) for k, p in model.named_parameters()}
    own = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    y = stateless.functional_call(model, weights, x)
    tg.autograd.grad(y.sum(), list(weights.values()))
    other = copy.deepcopy(model)
    other.load_state_dict({k: v.detach() for k, v in weights.items()}, strict=False)
    np.testing.assert_allclose(y.detach().numpy(), other(x).detach().numpy(), rtol=1e-6)
    assert all(np.array_equal(v.numpy(), own[k]) for k, v in model.state_dict().items())
    assert all(isinstance(p, nn.Parameter) and p.grad is None for p in model.parameters())
    z = stateless.functional_call(model, ({"2.weight": weights["2.weight"]}, {"2.bias": weights["2.bias"]}), (x,), {})
    assert z.shape == (5, 2)


def test_functional_call_after_an_error_and_with_changes():
    model = network()
    weight = model[2].weight
    with pytest.raises(ShapeError):
        stateless.functional_call(model, {"2.weight": tg.ones(2, 4)}, tg.ones(1, 7))
    assert model[2].weight is weight

    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("n", tg.zeros(()))

        def forward(self, x):
            self.n = self.n + x
            return self.n * 2
    counter, state = Counter(), {"n": tg.tensor(5.0)}
    assert stateless.functional_call(counter, state, tg.tensor(1.0)).item() == 12
    assert counter.n.item() == 0 and state["n"].item() == 6


def test_functional_call_of_tied_weights():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    x, two = tg.ones(1, 2), tg.eye(2) * 2
    assert stateless.functional_call(model, {"0.weight": two}, x).tolist() == [[4, 4]]
    free = stateless.functional_call(model, {"0.weight": two}, x, tie_weights=False)
    np.testing.assert_allclose(free.detach().numpy(), (2 * model[0].weight.detach().numpy().sum(1))[None], rtol=1e-6)
    with pytest.raises(ValueError, match="share"):
        stateless.functional_call(model, {"0.weight": two, "1.weight": tg.eye(2)}, x)
    assert stateless.functional_call(model, {"0.weight": two, "1.weight": two}, x, strict=True).tolist() == [[4, 4]]
    for given, strict in (({"nothing": two}, False), ({"0.weight": two}, True)):
        with pytest.raises(RuntimeError, match="key"):
            stateless.functional_call(model, given, x, strict=strict)
    for given, error in (([{"0.weight": two}, {"0.weight": two}], ValueError), (3, TypeError)):
        with pytest.raises(error):
            stateless.functional_call(model, given, x)


# -- penalties ---------------------------------------------------------------------------------------------------------

def test_penalties():
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2), nn.Linear(2, 1)).double()
    weights = [p.detach().numpy() for p in (model[0].weight, model[2].weight)]
    every = [p.detach().numpy() for p in model.parameters()]
    for only, arrays in ((True, weights), (False, every)):
        l1, l2 = sum(np.abs(w).sum() for w in arrays), sum((w ** 2).sum() for w in arrays)
        np.testing.assert_allclose(utils.l1_penalty(model, 0.3, samples=5, weights_only=only).item(), 0.3 / 5 * l1)
        np.testing.assert_allclose(utils.l2_penalty(model.parameters(), 0.3, samples=5, weights_only=only).item(), 0.3 / 10 * l2)
        np.testing.assert_allclose(utils.elastic_net_penalty(model, 0.3, 0.2, samples=5, weights_only=only).item(),
                                   0.06 * (0.2 * l1 + 0.4 * l2))
    frobenius = sum(tg.linalg.matrix_norm(tg.tensor(w)).item() ** 2 for w in weights)
    np.testing.assert_allclose(utils.l2_penalty(model, 0.3, samples=7).item(), 0.3 / 14 * frobenius)
    shared = model[0].weight
    assert utils.l1_penalty([shared, shared], 1).item() == utils.l1_penalty(shared, 1).item()
    zero = tg.zeros(2, 2, requires_grad=True)
    utils.l1_penalty(zero, 1).backward()
    assert not zero.grad.numpy().any()
    for act in (lambda: utils.l1_penalty(model, -1), lambda: utils.elastic_net_penalty(model, 1, 1.5),
                lambda: utils.l2_penalty(model, 1, samples=0),
                lambda: utils.l2_penalty([], 1), lambda: utils.l2_penalty([tg.ones(2)], 1)):
        with pytest.raises(ValueError):
            act()


def test_the_l2_penalty_is_weight_decay():
    tg.manual_seed(0)
    decayed, penalised = nn.Linear(3, 2).double(), nn.Linear(3, 2).double()
    penalised.load_state_dict(decayed.state_dict())
    first, second = tg.optim.SGD(decayed.parameters(), lr=0.1, weight_decay=0.3), tg.optim.SGD(penalised.parameters(), lr=0.1)
    for _ in range(5):
        x = tg.randn(4, 3, dtype=tg.float64)
        for model, optimizer, extra in ((decayed, first, 0.0), (penalised, second, None)):
            optimizer.zero_grad()
            extra = utils.l2_penalty(model, 0.3, weights_only=False) if extra is None else extra
            (model(x).square().mean() + extra).backward()
            optimizer.step()
    for p, q in zip(decayed.parameters(), penalised.parameters()):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-12)


# -- skipping initialisation -------------------------------------------------------------------------------------------

def test_skip_init():
    state = tg.get_rng_state() if hasattr(tg, "get_rng_state") else None
    layer = utils.skip_init(nn.Linear, 3, 2, dtype=tg.float64)
    assert layer.weight.shape == (2, 3) and layer.weight.dtype == tg.float64 and layer.weight.requires_grad
    if state is not None:
        assert np.array_equal(tg.get_rng_state().numpy(), state.numpy())              # no random numbers were drawn
    assert nn.init.ones_(tg.empty(2)).tolist() == [1, 1]                               # afterwards everything is as before
    with pytest.raises(TypeError):
        utils.skip_init(nn.Linear, "three")
    assert nn.init.zeros_(tg.empty(1)).tolist() == [0]
    with pytest.raises(RuntimeError):
        utils.skip_init(int)
