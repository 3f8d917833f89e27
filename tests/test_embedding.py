"""Embeddings against explicit loops: gradients of padding and frequent rows, shortened rows, bags, and what is refused."""
import numpy as np
import pytest

import tinygrad_ed as tg
import tinygrad_ed.nn.functional as F
from tinygrad_ed import nn
from tinygrad_ed.backend.kernels import plain
from tinygrad_ed.errors import DTypeError, IndexRangeError, InPlaceError, ShapeError


def setup(rows=6, columns=3, shape=(4, 5), seed=0, dtype="float64"):
    """A table, indices with repetitions, and gradients."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, columns)).astype(dtype), rng.integers(0, rows, shape), rng.normal(size=(*shape, columns)).astype(dtype)


def gradient_by_loops(w, index, g, padding_idx=None, by_frequency=False):
    """The definition."""
    d = np.zeros(w.shape)
    for i, row in zip(index.ravel(), g.reshape(-1, w.shape[1])):
        if i != padding_idx:
            d[i] += row / ((index == i).sum() if by_frequency else 1)
    return d


# -- gradients ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("rows, columns, shape", [(6, 3, (4, 5)), (50, 100, (40, 9)), (3, 1, (7,)), (4, 2, ()), (4, 2, (0, 3))])
@pytest.mark.parametrize("options", [{}, {"padding_idx": 2}, {"padding_idx": -1}, {"scale_grad_by_freq": True},
                                     {"padding_idx": 0, "scale_grad_by_freq": True}])
def test_values_and_gradients_by_loops(rows, columns, shape, options):
    w, index, g = setup(rows, columns, shape)
    weight = tg.tensor(w, requires_grad=True)
    y = F.embedding(tg.tensor(index), weight, **options)
    np.testing.assert_array_equal(y.detach().numpy(), w[index])
    expected = gradient_by_loops(w, np.asarray(index), g, options.get("padding_idx", -10**9) % rows if "padding_idx" in options else None,
                                 options.get("scale_grad_by_freq", False))
    d, = tg.autograd.grad(y, weight, tg.tensor(g), retain_graph=True)
    np.testing.assert_allclose(d.numpy(), expected, rtol=1e-12, atol=1e-12)
    d, = tg.autograd.grad(y, weight, tg.tensor(g), create_graph=True)
    np.testing.assert_allclose(d.detach().numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"padding_idx": 2}, {"padding_idx": 1, "scale_grad_by_freq": True}])
def test_the_gradient_is_linear_in_its_cotangent(options):
    """Differentiated once more, the gradient hands its own gradient back to the looked-up positions, with the same shares."""
    w, index, g = setup()
    weight, cotangent = tg.tensor(w, requires_grad=True), tg.tensor(g, requires_grad=True)
    d, = tg.autograd.grad(F.embedding(tg.tensor(index), weight, **options), weight, cotangent, create_graph=True)
    v = np.random.default_rng(5).normal(size=w.shape)
    back, = tg.autograd.grad(d, cotangent, tg.tensor(v))
    u = np.random.default_rng(6).normal(size=g.shape)
    left = (gradient_by_loops(w, index, u, options.get("padding_idx"), options.get("scale_grad_by_freq", False)) * v).sum()
    np.testing.assert_allclose((back.numpy() * u).sum(), left, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_many_small_gradients_add_up(dtype, monkeypatch):
    for few in (0, 10**9):                                    # by a sparse product, and one after the other
        monkeypatch.setattr(plain.embedding, "FEW", few)
        weight = tg.zeros(3, 8, dtype=dtype, requires_grad=True)
        F.embedding(tg.zeros(3000, dtype=tg.int64), weight).sum().backward()
        assert weight.grad.dtype == dtype and weight.grad.tolist()[0] == [3000] * 8 and not weight.grad.numpy()[1:].any()


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "int16"])
def test_integers_of_any_width(dtype):
    w, index, _ = setup()
    np.testing.assert_array_equal(F.embedding(tg.tensor(index.astype(dtype)), tg.tensor(w)).numpy(), w[index])


# -- shortened rows ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("norm_type", [1.0, 2.0, float("inf")])
def test_long_rows_that_are_looked_up_are_shortened(norm_type):
    w, _, _ = setup()
    w[0], w[1], w[2] = 10.0, 10.0, 0.01
    weight = tg.tensor(w.copy(), requires_grad=True)
    y = F.embedding(tg.tensor([0, 2, 0]), weight, max_norm=1.5, norm_type=norm_type)
    assert np.linalg.norm(y.detach().numpy()[0], norm_type) == pytest.approx(1.5, rel=1e-6)
    np.testing.assert_array_equal(weight.detach().numpy()[[1, 2, 3, 4, 5]], w[[1, 2, 3, 4, 5]])
    np.testing.assert_array_equal(weight.detach().numpy()[0], y.detach().numpy()[2])


def test_shortening_is_a_write_that_the_graph_knows_of():
    weight = tg.full((2, 2), 10.0, requires_grad=True)
    before = (weight * weight).sum()
    F.embedding(tg.tensor([0]), weight, max_norm=1.0)
    with pytest.raises(InPlaceError):
        before.backward()
    fixed = tg.from_numpy(np.ones((2, 2)))
    fixed.data.flags.writeable = False
    with pytest.raises(InPlaceError, match="max_norm"):
        F.embedding(tg.tensor([0]), fixed, max_norm=1.0)


# -- what is refused ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("index, error, message", [
    ([1, 6], IndexRangeError, r"index 6 .*dimension 0 .*\(6, 3\)"), ([-1], IndexRangeError, r"index -1"), ([0.5], DTypeError, "long"),
    ([True], DTypeError, "integers")])
def test_indices_are_checked_before_anything_changes(index, error, message):
    w, _, _ = setup()
    weight = tg.tensor(w.copy())
    for f in (lambda i: F.embedding(i, weight, max_norm=1e-3), lambda i: F.embedding_bag(i.unsqueeze(0), weight, max_norm=1e-3)):
        with pytest.raises(error, match=message):
            f(tg.tensor(index))
    np.testing.assert_array_equal(weight.numpy(), w)


@pytest.mark.parametrize("build, message", [
    (lambda: F.embedding(tg.tensor([0]), tg.ones(3)), "num_embeddings"),
    (lambda: F.embedding(tg.tensor([0]), tg.ones(3, 2), padding_idx=3), "padding_idx"),
    (lambda: nn.Embedding(3, 2, padding_idx=-4), "padding_idx"), (lambda: nn.Embedding(3, 2, _weight=tg.ones(2, 3)), r"\(3, 2\)"),
    (lambda: nn.Embedding.from_pretrained(tg.ones(3)), "from_pretrained"), (lambda: nn.EmbeddingBag(3, 2, mode="min"), "mode"),
    (lambda: F.embedding_bag(tg.tensor([0, 1]), tg.ones(3, 2), tg.tensor([0, 3])), "offsets"),
    (lambda: F.embedding_bag(tg.tensor([0, 1]), tg.ones(3, 2), tg.tensor([0, 2, 1])), "offsets"),
    (lambda: F.embedding_bag(tg.tensor([0, 1]), tg.ones(3, 2)), "offsets"),
    (lambda: F.embedding_bag(tg.tensor([[0, 1]]), tg.ones(3, 2), mode="mean", per_sample_weights=tg.ones(1, 2)), "sum"),
    (lambda: F.embedding_bag(tg.tensor([[0, 1]]), tg.ones(3, 2), mode="sum", per_sample_weights=tg.ones(2)), r"\(1, 2\)")])
def test_errors_say_what_was_wrong(build, message):
    with pytest.raises((ShapeError, IndexRangeError, ValueError), match=message):
        build()


# -- modules -----------------------------------------------------------------------------------------------------------

def test_the_table_begins_normal_with_zeros_for_the_padding():
    tg.manual_seed(0)
    for layer in (nn.Embedding(500, 40, padding_idx=3), nn.EmbeddingBag(500, 40, padding_idx=-497)):
        w = layer.weight.detach().numpy()
        assert layer.padding_idx == 3 and not w[3].any() and abs(w.mean()) < 0.03 and abs(w.std() - 1) < 0.03
        assert layer.weight.is_leaf and layer.weight.requires_grad


def test_from_pretrained_shares_memory_and_freezes():
    table = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    for cls in (nn.Embedding, nn.EmbeddingBag):
        frozen, free = cls.from_pretrained(table, padding_idx=0), cls.from_pretrained(table, freeze=False)
        assert not frozen.weight.requires_grad and free.weight.requires_grad
        assert frozen.weight.data is table.data and frozen.weight.tolist()[0] == [1, 2]


# -- bags --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding_idx", [None, 1])
def test_bags_by_loops(mode, padding_idx):
    w, _, _ = setup()
    index, offsets = np.array([0, 1, 1, 3, 5, 1, 2, 2]), np.array([0, 2, 2, 5, 7])
    weight = tg.tensor(w, requires_grad=True)
    y = F.embedding_bag(tg.tensor(index), weight, tg.tensor(offsets), mode=mode, padding_idx=padding_idx)
    g = np.random.default_rng(1).normal(size=(5, 3))
    d, = tg.autograd.grad(y, weight, tg.tensor(g))
    expected, back = np.zeros((5, 3)), np.zeros(w.shape)
    for b, (start, end) in enumerate(zip(offsets, [*offsets[1:], 8])):
        bag = [i for i in index[start:end] if i != padding_idx]
        for c in range(3):
            if bag and mode == "max":
                best = max(bag, key=lambda i: w[i, c])
                expected[b, c] = w[best, c]
                back[best, c] += g[b, c]
            for i in bag if mode != "max" else ():
                share = 1 / len(bag) if mode == "mean" else 1
                expected[b, c] += share * w[i, c]
                back[i, c] += share * g[b, c]
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(d.numpy(), back, rtol=1e-12, atol=1e-14)


def test_rows_of_an_input_are_bags():
    w, index, _ = setup()
    for mode in ("sum", "mean", "max"):
        flat = F.embedding_bag(tg.tensor(index.ravel()), tg.tensor(w), tg.tensor(np.arange(4) * 5), mode=mode)
        np.testing.assert_array_equal(F.embedding_bag(tg.tensor(index), tg.tensor(w), mode=mode).numpy(), flat.numpy())


def test_the_largest_of_bags_of_equal_and_other_sizes():
    rows = np.random.default_rng(0).normal(size=(12, 5))
    for size in ([3, 3, 3, 3], [3, 0, 5, 4], [12], [0, 12, 0]):
        winners = plain.bag_winners(rows, np.array(size))
        starts = np.cumsum([0, *size])
        for b, n in enumerate(size):
            expected = starts[b] + rows[starts[b]:starts[b] + n].argmax(axis=0) if n else np.zeros(5)
            np.testing.assert_array_equal(winners[b], expected)


@pytest.mark.parametrize("mode, share", [("sum", 1), ("mean", 1 / 5)])
def test_gradients_of_bags_divided_by_frequency(mode, share):
    w, index, _ = setup()
    weight = tg.tensor(w, requires_grad=True)
    g = np.random.default_rng(1).normal(size=(4, 3))
    F.embedding_bag(tg.tensor(index), weight, mode=mode, scale_grad_by_freq=True).backward(tg.tensor(g))
    expected = gradient_by_loops(w, index, np.repeat(g[:, None] * share, 5, axis=1), by_frequency=True)
    np.testing.assert_allclose(weight.grad.numpy(), expected, rtol=1e-12)


def test_weights_of_samples_learn():
    w, index, g = setup()
    factors = tg.tensor(np.random.default_rng(2).normal(size=index.shape), requires_grad=True)
    y = F.embedding_bag(tg.tensor(index), tg.tensor(w), mode="sum", per_sample_weights=factors)
    np.testing.assert_allclose(y.detach().numpy(), (w[index] * factors.detach().numpy()[..., None]).sum(axis=1))
    y.sum().backward()
    np.testing.assert_allclose(factors.grad.numpy(), w[index].sum(axis=2))


def test_only_padding_or_nothing_at_all():
    weight = tg.ones(3, 2, requires_grad=True)
    for mode in ("sum", "mean", "max"):
        for y in (F.embedding_bag(tg.tensor([[1, 1]]), weight, mode=mode, padding_idx=1),
                  F.embedding_bag(tg.zeros(0, dtype=tg.int64), weight, tg.tensor([0, 0]), mode=mode)):
            assert not y.detach().numpy().any() and y.requires_grad
            assert not tg.autograd.grad(y.sum(), weight)[0].numpy().any()
