"""Embedding layers against PyTorch: outputs, gradients, shortened tables, states, printed forms, signatures, what is refused."""
import inspect

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import tinygrad_ed as tg  # noqa: E402
from tinygrad_ed import nn  # noqa: E402

EMBEDDING = [{}, {"padding_idx": 2}, {"padding_idx": -1}, {"max_norm": 1.0}, {"max_norm": 2.0, "norm_type": 1.0}, {"scale_grad_by_freq": True},
             {"scale_grad_by_freq": True, "padding_idx": 0}]
# without scale_grad_by_freq, for which PyTorch divides a row's gradient by the frequency of another row
BAG = [{}, {"mode": "sum"}, {"mode": "max"}, {"padding_idx": 2}, {"mode": "max", "padding_idx": 2}, {"mode": "sum", "padding_idx": -1},
       {"max_norm": 1.0}]


def pair(name, options):
    """The same layer here and there, with the same table; the state goes both ways."""
    ours, theirs = (getattr(module, name)(6, 4, **options).double() for module in (nn, torch.nn))
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict({k: torch.from_numpy(v.numpy().copy()) for k, v in ours.state_dict().items()})
    return ours, theirs


def compare(ours, theirs, *args, **options):
    """Output, gradient and table, after a call with these arrays."""
    y = ours(*map(tg.tensor, args), **{k: tg.tensor(v) for k, v in options.items()})
    z = theirs(*map(torch.tensor, args), **{k: torch.tensor(v) for k, v in options.items()})
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-12, atol=1e-14)
    w = np.random.default_rng(3).normal(size=tuple(z.shape))
    y.backward(tg.tensor(w))
    z.backward(torch.from_numpy(w))
    np.testing.assert_allclose(ours.weight.grad.numpy(), theirs.weight.grad.numpy(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(ours.weight.detach().numpy(), theirs.weight.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("options", EMBEDDING)
@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (0,)])
def test_embedding(options, shape):
    compare(*pair("Embedding", options), np.asarray(np.random.default_rng(0).integers(0, 6, shape)))


@pytest.mark.parametrize("options", BAG)
def test_bags(options):
    rng = np.random.default_rng(0)
    compare(*pair("EmbeddingBag", options), rng.integers(0, 6, (3, 4)))
    compare(*pair("EmbeddingBag", options), rng.integers(0, 6, 8), np.array([0, 3, 3, 5]))
    compare(*pair("EmbeddingBag", {**options, "include_last_offset": True}), rng.integers(0, 6, 8), np.array([0, 3, 3, 8]))


@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}])
def test_weighted_bags(options):
    rng = np.random.default_rng(0)
    compare(*pair("EmbeddingBag", {"mode": "sum", **options}), rng.integers(0, 6, (3, 4)), per_sample_weights=rng.normal(size=(3, 4)))


@pytest.mark.parametrize("name", ["Embedding", "EmbeddingBag"])
def test_signatures(name):
    for get in (lambda cls: cls.__init__, lambda cls: cls.from_pretrained):
        mine, his = (inspect.signature(get(getattr(module, name))).parameters.values() for module in (nn, torch.nn))
        assert [(p.name, p.default) for p in mine if p.name != "_freeze"] == [(p.name, p.default) for p in his if p.name != "_freeze"]


@pytest.mark.parametrize("name", ["embedding", "embedding_bag"])
def test_signatures_of_functions(name):
    mine, his = (inspect.signature(getattr(module, name)).parameters.values() for module in (nn.functional, torch.nn.functional))
    assert [(p.name, p.default) for p in mine] == [(p.name, p.default) for p in his]


def test_from_pretrained():
    table = np.random.default_rng(0).normal(size=(5, 3))
    for name in ("Embedding", "EmbeddingBag"):
        for freeze in (True, False):
            ours = getattr(nn, name).from_pretrained(tg.tensor(table), freeze, padding_idx=1)
            theirs = getattr(torch.nn, name).from_pretrained(torch.tensor(table), freeze, padding_idx=1)
            assert repr(ours) == repr(theirs) and ours.weight.requires_grad == theirs.weight.requires_grad
            np.testing.assert_array_equal(ours.weight.detach().numpy(), theirs.weight.detach().numpy())


@pytest.mark.parametrize("name, options, args", [
    ("Embedding", {}, ([6],)), ("Embedding", {}, ([-1],)), ("Embedding", {}, ([0.5],)), ("EmbeddingBag", {}, ([0, 1],)),
    ("EmbeddingBag", {}, ([0, 1], [1])), ("EmbeddingBag", {}, ([0, 1], [0, 3])), ("EmbeddingBag", {}, ([[[0]]],)),
    ("EmbeddingBag", {"mode": "max", "scale_grad_by_freq": True}, ([[0]],)), ("EmbeddingBag", {}, ([[0]], [0]))])
def test_both_refuse(name, options, args):
    for module, tensor in ((torch.nn, torch.tensor), (nn, tg.tensor)):
        layer = getattr(module, name)(6, 4, **options)
        with pytest.raises((RuntimeError, ValueError, IndexError)):
            layer(*map(tensor, args))


def test_both_refuse_to_be_made():
    for module in (torch.nn, nn):
        for build in (lambda m: m.Embedding(3, 2, padding_idx=3), lambda m: m.EmbeddingBag(3, 2, padding_idx=3),
                      lambda m: m.EmbeddingBag(3, 2, mode="min")(torch.tensor([[0]]))):
            with pytest.raises((AssertionError, ValueError)):
                build(module)
