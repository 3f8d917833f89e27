"""Initialisation against PyTorch: arguments and defaults, the moments of the distributions, structured tensors, errors."""
import inspect
import math

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
from scipy import stats  # noqa: E402

import tinygrad_ed as tg  # noqa: E402
from tinygrad_ed import nn  # noqa: E402

OWN = {"lecun_normal_", "lecun_uniform_", "xavier_fan_in_normal_", "xavier_fan_in_uniform_"}


def test_the_names_are_there():
    theirs = {n for n in vars(torch.nn.init) if n.endswith("_") and not n.startswith("_")}
    assert theirs | {"calculate_gain"} | OWN == set(nn.init.__all__)


@pytest.mark.parametrize("name", sorted(set(nn.init.__all__) - OWN))
def test_arguments_and_defaults(name):
    a, b = (inspect.signature(getattr(lib.init, name)).parameters for lib in (nn, torch.nn))
    assert {k: p.default for k, p in a.items()} == {k: p.default for k, p in b.items()} and list(a) == list(b)


@pytest.mark.parametrize("name, options", [
    ("uniform_", {"a": -1, "b": 3}), ("normal_", {"mean": 2, "std": 0.1}), ("trunc_normal_", {}),
    ("trunc_normal_", {"mean": 1, "std": 2, "a": 0, "b": 1.5}),
    ("xavier_uniform_", {"gain": 2}), ("xavier_normal_", {"gain": 2}), ("kaiming_uniform_", {"a": 1}),
    ("kaiming_normal_", {"mode": "fan_out"}),
    ("kaiming_uniform_", {"nonlinearity": "tanh"}), ("kaiming_normal_", {"nonlinearity": "selu"}), ("orthogonal_", {"gain": 3}),
    ("sparse_", {"sparsity": 0.3})])
@pytest.mark.parametrize("shape", [(60, 80), (30, 40, 3)])
def test_the_distributions_are_the_same(name, options, shape):
    if name == "sparse_" and len(shape) > 2:
        pytest.skip("matrices only")
    torch.manual_seed(0)
    tg.manual_seed(0)
    ours = getattr(nn.init, name)(tg.empty(*shape), **options).numpy().ravel()
    theirs = getattr(torch.nn.init, name)(torch.empty(*shape), **options).numpy().ravel()
    assert stats.ks_2samp(ours, theirs).pvalue > 0.005
    assert abs(ours.std() / theirs.std() - 1) < 0.06


@pytest.mark.parametrize("name, shape, options", [
    ("eye_", (3, 5), {}), ("dirac_", (4, 3, 3), {}), ("dirac_", (4, 2, 3, 4), {"groups": 2}), ("dirac_", (2, 3, 3, 3, 2), {}),
    ("ones_", (2, 3), {}),
    ("zeros_", (2,), {}), ("constant_", (2, 3), {"val": 0.3})])
def test_structured_tensors_are_equal(name, shape, options):
    ours, theirs = getattr(nn.init, name)(tg.empty(*shape), **options), getattr(torch.nn.init, name)(torch.empty(*shape), **options)
    assert np.array_equal(ours.numpy(), theirs.numpy())


def test_gains_are_equal():
    for name in ("linear", "conv1d", "conv_transpose3d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert math.isclose(nn.init.calculate_gain(name), torch.nn.init.calculate_gain(name))
    for slope in (0, 0.5, 2):
        assert math.isclose(nn.init.calculate_gain("leaky_relu", slope), torch.nn.init.calculate_gain("leaky_relu", slope))


def test_errors_agree():
    for lib, init in ((tg, nn.init), (torch, torch.nn.init)):
        vector, matrix = lib.empty(3), lib.empty(3, 3)
        for act in (lambda: init.xavier_uniform_(vector), lambda: init.xavier_normal_(vector), lambda: init.kaiming_uniform_(vector),
                    lambda: init.kaiming_normal_(matrix, mode="both"), lambda: init.orthogonal_(vector), lambda: init.sparse_(vector, 0.1),
                    lambda: init.eye_(vector), lambda: init.dirac_(matrix), lambda: init.dirac_(lib.empty(3, 3, 3), 2),
                    lambda: init.calculate_gain("swoosh"), lambda: init.calculate_gain("leaky_relu", "steep"),
                    lambda: init.calculate_gain("leaky_relu", True)):
            with pytest.raises(ValueError):
                act()


@pytest.mark.parametrize("name", sorted(n for n in nn.init.__all__ if n.endswith("_")))
def test_the_data_of_a_weight_is_filled_in_place_and_returned(name):
    args = {"constant_": (0.3,), "sparse_": (0.5,)}.get(name, ())
    for lib in (nn, torch.nn) if name not in OWN else (nn,):
        weight = (lib.Conv1d(4, 3, 2) if name == "dirac_" else lib.Linear(4, 3)).weight
        data, before = weight.data, weight.detach().tolist()
        assert getattr(lib.init, name)(data, *args) is data
        assert weight.detach().tolist() != before and weight.is_leaf and weight.requires_grad


def test_a_filled_array_counts_as_written():
    weight = tg.ones(2, 2, requires_grad=True)
    y = (weight * weight).sum()
    nn.init.zeros_(weight.data)
    with pytest.raises(RuntimeError, match="overwritten"):
        y.backward()
