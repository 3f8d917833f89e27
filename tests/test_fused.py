"""A layer and the activation right behind it, which run as one: the same numbers as apart, to the last bit, and apart wherever somebody looks between."""
import copy

import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed import amp, nn
from tinygrad_ed.nn import functional as F
from tinygrad_ed.nn.fused import fused


def array(*shape, seed=0, dtype="float64"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def net(layer, *others, training=True):
    """A Sequential with numbers of its own in all parameters and buffers."""
    made = nn.Sequential(layer, *others).train(training)
    for name, t in [*made.named_parameters(), *made.named_buffers()]:
        if t.ndim:
            t.data[...] = array(*t.shape, seed=len(name)) ** (2 if name.endswith("var") else 1)
    return made


def apart(one):
    """A copy whose activation has a hook, so that it runs by itself."""
    two = copy.deepcopy(one)
    two[1].register_forward_hook(lambda module, args, y: None)
    return two


def results(net, x, g):
    """What comes out, forward and backward, with gradients recorded and without."""
    x = tg.tensor(x, requires_grad=True)
    y = net(x)
    y.backward(tg.tensor(g))
    found = [y.detach(), x.grad, *[p.grad for p in net.parameters()], *net.buffers()]
    with tg.no_grad():
        return [a.numpy() for a in (*found, net(x))]


def same(one, x, g):
    """Whether they do the same as one and apart."""
    found, expected = [results(f, x, g) for f in (one, apart(one))]
    assert len(found) == len(expected) > 2 and (not found[0].size or found[0].max() > 0)
    for a, b in zip(found, expected):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(6, 3), (33, 70), (4, 3, 5), (2, 3, 4, 5), (3, 2, 17, 20), (20, 5, 9, 9), (2, 3, 2, 3, 4), (2, 2, 5000), (0, 3)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"affine": False}, {"bias": False}, {"track_running_stats": False}, {"momentum": None}])
def test_a_batch_norm_does_the_same_to_the_last_bit(shape, training, options, dtype):
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[len(shape)]
    same(net(kind(shape[1], dtype=dtype, **options), nn.ReLU(), training=training), array(*shape, seed=9, dtype=dtype),
         array(*shape, seed=3, dtype=dtype))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(6, 3), (300, 200), (1, 300), (7,), (5, 2, 3), (2, 3, 4, 5), (500, 784), (0, 3)])
@pytest.mark.parametrize("outputs", [1, 6, 70])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU(inplace=True), nn.GELU(approximate="tanh")])
def test_a_linear_layer_does_the_same_to_the_last_bit(shape, outputs, bias, activation, dtype):
    one = net(nn.Linear(shape[-1], outputs, bias, dtype=dtype), activation)
    if outputs == 1:
        with tg.no_grad():
            one[0].weight.abs_()
    x = array(*shape, seed=9, dtype=dtype)
    same(one, abs(x) if outputs == 1 else x, array(*shape[:-1], outputs, seed=3, dtype=dtype))


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU(approximate="tanh")])
def test_a_bias_of_another_shape_and_a_weight_without_outputs(activation):
    for weight, bias in (((4, 3), (1,)), ((4, 3), ()), ((3,), ()), ((3,), (1,))):
        one = net(nn.Linear(3, 4), activation)
        one[0].weight, one[0].bias = (nn.Parameter(tg.tensor(array(*shape, seed=i))) for i, shape in enumerate((weight, bias)))
        same(one, array(5, 3), array(*one(tg.tensor(array(5, 3))).shape, seed=1))


LINEAR = lambda: nn.Linear(5, 5, dtype=tg.float64)
PAIRS = {"BatchNormRelu": (lambda: nn.BatchNorm1d(3, dtype=tg.float64), nn.ReLU(), "Relu"), "LinearRelu": (LINEAR, nn.ReLU(), "Relu"),
         "LinearGelu": (LINEAR, nn.GELU(approximate="tanh"), "GeluTanh")}


@pytest.mark.parametrize("name", PAIRS)
def test_as_one_they_are_one_node_and_keep_less(name):
    make, activation, alone = PAIRS[name]
    one = net(make(), activation)
    nodes = [f(tg.tensor(array(4, 3, 5), requires_grad=True)).grad_fn for f in (one, apart(one))]
    assert [type(n).__name__ for n in nodes] == [name + "Backward", alone + "Backward"]
    sizes = [sum(v.size for v in n.saved if isinstance(v, np.ndarray)) for n in (nodes[0], nodes[1], nodes[1].edges[0])]
    assert sizes[0] <= sizes[1] + sizes[2] and repr(one) == repr(apart(one))
    if name == "LinearGelu":
        assert sizes[0] + array(4, 3, 5).size <= sizes[1] + sizes[2] + one[0].bias.numel()          # what is before the GELU is let go


@pytest.mark.parametrize("layer, activation, name", [
    (nn.Linear(3, 3), nn.GELU(), "Gelu"), (nn.BatchNorm1d(3), nn.GELU(approximate="tanh"), "GeluTanh"), (nn.Linear(3, 3), F.gelu, "Gelu"),
    (nn.Linear(3, 3), nn.SiLU(), "Silu")])
def test_other_activations_run_by_themselves(layer, activation, name):
    x = tg.tensor(array(4, 3, dtype="float32"))
    y = x
    for step in fused((layer, activation)):
        y = step(y)
    assert type(y.grad_fn).__name__ == name + "Backward"
    np.testing.assert_array_equal(y.detach().numpy(), activation(layer(x)).detach().numpy())


@pytest.mark.parametrize("name", PAIRS)
def test_second_derivatives_as_one(name):
    make, activation, _ = PAIRS[name]
    one, second = net(make(), activation), []
    for f in (one, apart(one)):
        x = tg.tensor(array(4, 3, 5), requires_grad=True)
        first, = tg.autograd.grad((f(x) ** 2 * tg.tensor(array(4, 3, 5, seed=1))).sum(), x, create_graph=True)
        second.append(tg.autograd.grad((first * tg.tensor(array(4, 3, 5, seed=2))).sum(), [x, *f.parameters()], allow_unused=True))
    assert any(a is not None and a.any() for a in second[0])
    for a, b in zip(*second):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-10)


def test_only_what_is_needed_is_computed():
    for activation in (nn.ReLU(), nn.GELU(approximate="tanh")):
        one = net(nn.Linear(3, 4), activation)
        one[0].weight.requires_grad_(False)
        one(tg.ones(2, 3)).sum().backward()
        assert one[0].weight.grad is None and one[0].bias.grad is not None


class ShiftedNorm(nn.BatchNorm1d):
    """A subclass with a forward of its own."""

    def forward(self, input):
        return super().forward(input) + 1


class ShiftedLinear(nn.Linear):
    """Another."""

    def forward(self, input):
        return super().forward(input) + 1


class Squared(nn.ReLU):
    """Another."""

    def forward(self, input):
        return super().forward(input) ** 2


class SquaredGELU(nn.GELU):
    """Another."""

    def forward(self, input):
        return super().forward(input) ** 2


@pytest.mark.parametrize("make, shifted, activation, squared", [
    (lambda: nn.BatchNorm1d(3), ShiftedNorm(3), nn.ReLU(), Squared()), (lambda: nn.Linear(3, 3), ShiftedLinear(3, 3), nn.ReLU(), Squared()),
    (lambda: nn.Linear(3, 3), ShiftedLinear(3, 3), nn.GELU("tanh"), SquaredGELU("tanh"))])
def test_whoever_looks_between_them_finds_what_is_there(make, shifted, activation, squared):
    x, seen, layer = tg.tensor(array(4, 3, dtype="float32")), [], make()
    shifted.load_state_dict(layer.state_dict())
    for module in (layer, activation):
        handle = module.register_forward_hook(lambda module, args, y: seen.append(y.min().item()))
        nn.Sequential(layer, activation)(x)
        handle.remove()
    nn.Sequential(layer, activation)(x)
    assert seen == [layer(x).min().item(), activation(layer(x)).min().item()] and seen[0] < min(seen[1], 0)
    np.testing.assert_array_equal(nn.Sequential(shifted, activation)(x).detach().numpy(), activation(layer(x) + 1).detach().numpy())
    np.testing.assert_array_equal(nn.Sequential(layer, squared)(x).detach().numpy(), (activation(layer(x)) ** 2).detach().numpy())
    layer.forward = lambda input: input - 5
    np.testing.assert_array_equal(nn.Sequential(layer, activation)(x).numpy(), activation(x - 5).numpy())


@pytest.mark.parametrize("make", [lambda: nn.BatchNorm1d(3), lambda: nn.Linear(3, 3)])
def test_only_what_is_right_behind_is_taken_along(make):
    x, layer, relu = tg.tensor(array(4, 3, dtype="float32")), make(), nn.ReLU()
    by_hand = {"layer, layer, relu": lambda x: layer(layer(x)).relu(), "relu, layer": lambda x: layer(x.relu()), "layer": layer,
               "layer, relu, relu, layer, relu": lambda x: layer(layer(x).relu().relu()).relu(), "": lambda x: x}
    for names, function in by_hand.items():
        made = nn.Sequential(*[{"layer": layer, "relu": relu}[name] for name in names.split(", ") if name])
        np.testing.assert_array_equal(made(x).detach().numpy(), function(x).detach().numpy())


def test_layers_that_others_change():
    """Parametrized and weight-normalized layers, and parameters that are put in for a call."""
    x = tg.tensor(array(4, 3, dtype="float32"))
    for activation in (nn.ReLU(), nn.GELU("tanh")):
        for change in (nn.utils.parametrizations.weight_norm, nn.utils.spectral_norm, nn.utils.parametrizations.orthogonal):
            layer = change(nn.Linear(3, 3))
            layer.eval()
            np.testing.assert_array_equal(nn.Sequential(layer, activation)(x).detach().numpy(), activation(layer(x)).detach().numpy())
        weight, bias = tg.randn(3, 3), tg.randn(3)
        y = nn.utils.stateless.functional_call(nn.Sequential(nn.Linear(3, 3), activation), {"0.weight": weight, "0.bias": bias}, (x,))
        np.testing.assert_array_equal(y.numpy(), activation(F.linear(x, weight, bias)).numpy())


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU("tanh")])
@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_autocast_sees_a_product(half, activation):
    one, x = net(nn.Linear(3, 4), activation), tg.tensor(array(5, 3, dtype="float32"))
    found = []
    for f in (one, apart(one)):
        with amp.autocast("cpu", half):
            y = f(x)
        y.float().sum().backward()
        assert y.dtype == half
        found.append([y.tolist(), *[p.grad.tolist() for p in f.parameters()]])
    rounding = 2**-7 if half == "bfloat16" and type(activation) is nn.GELU else 0        # which as one is given what has not been rounded
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU("tanh")])
def test_nan_passes(activation):
    one = net(nn.Linear(3, 40), activation)
    for rows in (1, 3, 300):
        x = array(rows, 3, dtype="float32")
        x[-1, 1] = np.nan
        y = one(tg.tensor(x)).detach().numpy()
        assert np.isnan(y[-1]).all() and not np.isnan(y[:-1]).any()


@pytest.mark.parametrize("activation, name", [("relu", "LinearRelu"), (F.relu, "LinearRelu"), (tg.relu, "LinearRelu"), (nn.ReLU(), "LinearRelu"),
                                              (nn.GELU("tanh"), "LinearGelu"), (nn.GELU(), "Gelu"), ("gelu", "Gelu")])
def test_a_transformers_feed_forward_is_one_node_less(activation, name):
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, activation, dtype=tg.float64)
    x = tg.tensor(array(3, 2, 8))
    y = layer._feed_forward(x)
    assert type(y.grad_fn.edges[0]).__name__ == name + "Backward"
    np.testing.assert_array_equal(y.detach().numpy(), layer.linear2(layer.activation(layer.linear1(x))).detach().numpy())
