"""Dropout layers against PyTorch, where randomness allows: signatures, printed forms, evaluation, statistics, what is refused."""
import inspect

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import tinygrad_ed as tg  # noqa: E402
from tinygrad_ed import nn  # noqa: E402

LAYERS = {"Dropout": (4, 5), "Dropout1d": (3, 4, 5), "Dropout2d": (3, 4, 5, 2), "Dropout3d": (3, 4, 5, 2, 2), "AlphaDropout": (4, 5),
          "FeatureAlphaDropout": (3, 4, 5)}
FUNCTIONS = ["dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("options", [{}, {"p": 0.3}, {"p": 1.0, "inplace": True}, {"p": 0}])
def test_printed_forms_evaluation_and_limits(name, options):
    ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    assert repr(ours) == repr(theirs)
    x = np.random.default_rng(0).normal(size=LAYERS[name])
    for train in (False, True) if options.get("p") in (0, 1.0) else (False,):
        y, z = ours.train(train)(tg.tensor(x)), theirs.train(train)(torch.tensor(x))
        np.testing.assert_array_equal(y.numpy(), z.numpy())


@pytest.mark.parametrize("name", LAYERS)
def test_signatures(name):
    mine, his = (inspect.signature(getattr(module, name).__init__).parameters.values() for module in (nn, torch.nn))
    assert [(p.name, p.default) for p in mine] == [(p.name, p.default) for p in his]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_of_functions(name):
    mine, his = (list(inspect.signature(getattr(module, name)).parameters.values()) for module in (nn.functional, torch.nn.functional))
    assert [(p.name, p.default) for p in mine] == [*[(p.name, p.default) for p in his], ("generator", None)]


@pytest.mark.parametrize("name", ["Dropout", "AlphaDropout"])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_the_values_that_come_out_and_how_often(name, p):
    n = 100_000
    x = np.full(n, 0.7)
    y, z = getattr(nn, name)(p)(tg.tensor(x)).numpy(), getattr(torch.nn, name)(p)(torch.tensor(x)).numpy()
    for a, b in zip(np.unique(y), np.unique(z)):
        assert abs(a - b) < 2e-3 * max(abs(b), 1)
    assert len(np.unique(y)) == 2 and abs((y == y.min()).mean() - (z == z.min()).mean()) < 7 * (p * (1 - p) / n) ** 0.5
    assert abs(y.mean() - z.mean()) < 0.05


@pytest.mark.parametrize("name, shape", [("Dropout1d", (4,)), ("Dropout1d", (2, 3, 4, 5))])
def test_both_refuse(name, shape):
    for module, ones in ((torch.nn, torch.ones), (nn, tg.ones)):
        with pytest.raises((RuntimeError, ValueError)):
            getattr(module, name)()(ones(shape))


@pytest.mark.parametrize("name", LAYERS)
def test_both_refuse_probabilities_outside(name):
    for module in (torch.nn, nn):
        for p in (-0.1, 1.1):
            with pytest.raises(ValueError):
                getattr(module, name)(p)
