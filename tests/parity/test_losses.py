"""Losses and distances as modules against PyTorch: arguments, values, gradients, printed forms, state, and what is refused."""
import inspect
import warnings

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import tinygrad_ed as tg  # noqa: E402
from tinygrad_ed import nn  # noqa: E402

RNG = np.random.default_rng(0)
N, C = 5, 4
X, Y, Z = (RNG.normal(size=(N, C)) for _ in range(3))
P, Q = RNG.uniform(0.05, 0.95, (N, C)), RNG.dirichlet(np.ones(C), N)
SIGNS, ROWS = RNG.choice([-1.0, 1.0], (N, C)), RNG.choice([-1.0, 1.0], N)
LABELS, LISTS = RNG.integers(0, C, N), np.array([[0, 2, -1, 1], [3, -1, 0, 0], [-1, 0, 0, 0], [1, 2, 3, 0], [2, -1, -1, -1]])
IMAGE, MAP = RNG.normal(size=(2, C, 3, 2)), RNG.integers(0, C, (2, 3, 2))
WEIGHT = np.array([0.5, 1.0, 2.0, 0.25])

# name: (arguments, options to try, with tensors as arrays); the first argument is differentiated
GRID = {
    "L1Loss": ([X, Y], [{}]),
    "MSELoss": ([X, Y], [{}]),
    "SmoothL1Loss": ([X, Y], [{}, {"beta": 0.3}, {"beta": 0.0}]),
    "HuberLoss": ([X, Y], [{}, {"delta": 0.3}]),
    "CrossEntropyLoss": ([X, LABELS], [{}, {"weight": WEIGHT}, {"ignore_index": 1}, {"label_smoothing": 0.2},
                                       {"weight": WEIGHT, "ignore_index": 2, "label_smoothing": 0.1}]),
    "CrossEntropyLoss of probabilities": ([X, Q], [{}, {"weight": WEIGHT}, {"label_smoothing": 0.2},
                                                   {"weight": WEIGHT, "label_smoothing": 0.2}]),
    "CrossEntropyLoss of images": ([IMAGE, MAP], [{}, {"weight": WEIGHT, "ignore_index": 2, "label_smoothing": 0.1}]),
    "CrossEntropyLoss of one": ([X[0], LABELS[0]], [{}, {"weight": WEIGHT, "label_smoothing": 0.1}]),
    "NLLLoss": ([X, LABELS], [{}, {"weight": WEIGHT}, {"ignore_index": 1}, {"weight": WEIGHT, "ignore_index": 1}]),
    "NLLLoss of images": ([IMAGE, MAP], [{}, {"weight": WEIGHT, "ignore_index": 2}]),
    "NLLLoss of one": ([X[0], LABELS[0]], [{}, {"weight": WEIGHT}]),
    "BCELoss": ([P, Q], [{}, {"weight": WEIGHT}]),
    "BCEWithLogitsLoss": ([X, Q], [{}, {"weight": WEIGHT}, {"pos_weight": WEIGHT}, {"weight": WEIGHT, "pos_weight": WEIGHT}]),
    "KLDivLoss": ([np.log(P), Q], [{}, {"log_target": True}, {"reduction": "batchmean"}]),
    "PoissonNLLLoss": ([P, Q * 9], [{}, {"full": True}, {"log_input": False}, {"log_input": False, "full": True, "eps": 0.1}]),
    "GaussianNLLLoss": ([X, Y, P], [{}, {"full": True}, {"eps": 0.3}]),
    "GaussianNLLLoss of one variance": ([X, Y, P[:, :1]], [{}]),
    "HingeEmbeddingLoss": ([X, SIGNS], [{}, {"margin": 0.3}]),
    "MultiMarginLoss": ([X, LABELS], [{}, {"p": 2}, {"margin": 0.3}, {"weight": WEIGHT, "p": 2}]),
    "MultiLabelMarginLoss": ([X, LISTS], [{}]),
    "MultiLabelMarginLoss of one": ([X[0], LISTS[0]], [{}]),
    "MultiLabelSoftMarginLoss": ([X, Q], [{}, {"weight": WEIGHT}]),
    "SoftMarginLoss": ([X, SIGNS], [{}]),
    "CosineEmbeddingLoss": ([X, Y, ROWS], [{}, {"margin": 0.3}]),
    "CosineEmbeddingLoss of one": ([X[0], Y[0], ROWS[0]], [{}]),
    "MarginRankingLoss": ([X, Y, SIGNS], [{}, {"margin": 0.3}]),
    "TripletMarginLoss": ([X, Y, Z], [{}, {"margin": 0.3, "p": 1}, {"swap": True}, {"p": 3.0, "eps": 0.1}]),
    "TripletMarginWithDistanceLoss": ([X, Y, Z], [{}, {"margin": 0.3, "swap": True}]),
    "CosineSimilarity": ([X, Y], [{}, {"dim": 0}]),
    "PairwiseDistance": ([X, Y], [{}, {"p": 1.0, "keepdim": True}, {"p": float("inf")}]),
}
CASES = [(name, options) for name, (_, grid) in GRID.items() for options in grid]


def on(lib, value):
    return (lib.tensor(value) if lib is tg else torch.tensor(value)) if isinstance(value, (np.ndarray, np.generic)) else value


@pytest.mark.parametrize("name, options", CASES, ids=lambda v: v if isinstance(v, str) else " ".join(v))
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_values_gradients_and_printed_forms(name, options, reduction):
    arrays = GRID[name][0]
    results = []
    for lib, layers in ((tg, nn), (torch, torch.nn)):
        given = {k: on(lib, v) for k, v in options.items()}
        kind = getattr(layers, name.split()[0])
        if "reduction" in inspect.signature(kind).parameters:
            given.setdefault("reduction", reduction)
        module = kind(**given)
        args = [on(lib, a) for a in arrays]
        args[0].requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")           # KLDivLoss with "mean" warns in both
            y = module(*args)
        y.backward(on(lib, np.array(np.cos(np.arange(y.numel()).reshape(y.shape)))))
        results.append((y.detach().numpy(), args[0].grad.numpy(), repr(module), list(module.state_dict())))
    ours, theirs = results
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-8, atol=1e-10)
    assert ours[0].shape == theirs[0].shape and ours[2:] == theirs[2:]


def test_ctc():
    rng = np.random.default_rng(1)
    x, targets = rng.normal(size=(20, 3, 6)), rng.integers(1, 6, (3, 5))
    for reduction in ("mean", "sum", "none"):
        for times, counts, zero in [([20, 15, 18], [5, 3, 0], False), ([20, 1, 18], [5, 3, 0], True)]:
            found = []
            for lib, layers in ((tg, nn), (torch, torch.nn)):
                leaf = on(lib, x).requires_grad_()
                y = layers.CTCLoss(reduction=reduction, zero_infinity=zero)(lib.log_softmax(leaf, -1), on(lib, targets), lib.tensor(times),
                                                                            lib.tensor(counts))
                (y * on(lib, np.arange(1.0, 1 + y.numel()).reshape(y.shape))).sum().backward()
                found.append((y.detach().numpy(), leaf.grad.numpy()))
            np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-10)
            np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-12)


def parameters(function):
    """The arguments without the ones that PyTorch has deprecated."""
    return {k: p.default for k, p in inspect.signature(function).parameters.items() if k not in ("size_average", "reduce", "self")}


@pytest.mark.parametrize("name", sorted({name.split()[0] for name in GRID} | {"CTCLoss", "Bilinear"}))
def test_module_arguments_and_defaults(name):
    ours, theirs = parameters(getattr(nn, name).__init__), parameters(getattr(torch.nn, name).__init__)
    if theirs.keys() != {"args", "kwargs"}:
        assert {k: ours.get(k) for k in theirs if k != "reduction"} == {k: v for k, v in theirs.items() if k != "reduction"}
        assert [k for k in ours if k != "reduction"] == [k for k in theirs if k != "reduction"]
        assert ("reduction" in ours) == ("reduction" in theirs)


LOSSES = [n for n in nn.functional.__all__ if (n.endswith("_loss") or "entropy" in n or n == "kl_div") and "focal" not in n]


@pytest.mark.parametrize("name", LOSSES)
def test_function_arguments_and_defaults(name):
    ours, theirs = parameters(getattr(nn.functional, name)), parameters(getattr(torch.nn.functional, name))
    assert ours == theirs and list(ours)[:2] == list(theirs)[:2]


def test_the_losses_are_all_there():
    later = {"LinearCrossEntropyLoss", "AdaptiveLogSoftmaxWithLoss", "NLLLoss2d"}     # deprecated, new in 2.13, or of another family
    assert {n for n in dir(torch.nn) if n.endswith("Loss")} - later <= set(nn.__all__)


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 2.0, 3.0, float("inf")])
@pytest.mark.parametrize("shapes", [((4, 3), (5, 3)), ((30, 3), (4, 3)), ((2, 1, 4, 3), (5, 3)), ((2, 4, 3), (2, 40, 3))])
def test_cdist(p, shapes):
    rng = np.random.default_rng(2)
    arrays = [rng.normal(size=s) for s in shapes]
    found = []
    for lib in (tg, torch):
        x, y = (on(lib, a).requires_grad_() for a in arrays)
        d = lib.cdist(x, y, p=p)
        (d * on(lib, np.cos(np.arange(d.numel())).reshape(d.shape))).sum().backward()
        found.append((d.detach().numpy(), x.grad.numpy(), y.grad.numpy()))
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)


def test_bilinear_state_goes_both_ways():
    for bias in (True, False):
        ours, theirs = nn.Bilinear(3, 4, 2, bias=bias).double(), torch.nn.Bilinear(3, 4, 2, bias=bias).double()
        theirs.load_state_dict({k: torch.from_numpy(v.numpy().copy()) for k, v in ours.state_dict().items()})
        x, y = RNG.normal(size=(5, 2, 3)), RNG.normal(size=(5, 2, 4))
        np.testing.assert_allclose(ours(tg.tensor(x), tg.tensor(y)).detach().numpy(),
                                   theirs(torch.tensor(x), torch.tensor(y)).detach().numpy(), rtol=1e-12)
        ours.load_state_dict({k: v * 2 for k, v in theirs.state_dict().items()})
        assert np.array_equal(ours.weight.detach().numpy(), 2 * theirs.weight.detach().numpy()) and repr(ours) == repr(theirs)


def test_errors_agree():
    for lib, F in ((tg, nn.functional), (torch, torch.nn.functional)):
        x, i = lib.rand(4, 3), lib.tensor([0, 1, 2, 0])
        for error, act in [
                (ValueError, lambda: F.binary_cross_entropy(x, lib.rand(4))),
                (ValueError, lambda: F.binary_cross_entropy_with_logits(x, lib.rand(4))),
                (RuntimeError, lambda: F.binary_cross_entropy(x + 1, x)),
                (RuntimeError, lambda: F.binary_cross_entropy(x, i.reshape(4, 1).expand(4, 3))),
                (RuntimeError, lambda: F.huber_loss(x, x, delta=-1.0)),
                (RuntimeError, lambda: F.smooth_l1_loss(x, x, beta=-1.0)), (ValueError, lambda: F.gaussian_nll_loss(x, x, -x - 0.1)),
                (ValueError, lambda: F.gaussian_nll_loss(x, x, x[:2])), (ValueError, lambda: F.multi_margin_loss(x, i, p=3)),
                (RuntimeError, lambda: F.margin_ranking_loss(x, x[0], x)), (ValueError, lambda: F.triplet_margin_loss(x, x, x, margin=0.0)),
                (RuntimeError, lambda: F.triplet_margin_with_distance_loss(x, x[0], x)),
                (RuntimeError, lambda: F.multilabel_margin_loss(x, i)),
                (RuntimeError, lambda: F.cosine_embedding_loss(x, x, lib.ones(4, 3))),
                (RuntimeError, lambda: F.multi_margin_loss(x, i[:2])),
                (ValueError, lambda: F.mse_loss(x, x, reduction="average")), (RuntimeError, lambda: F.pdist(x[0])),
                (RuntimeError, lambda: lib.cdist(x, lib.rand(4, 2))), (ValueError, lambda: lib.cdist(x, x, compute_mode="fast")),
                (RuntimeError, lambda: F.ctc_loss(lib.rand(3, 1, 4), lib.tensor([[1, 2]]), lib.tensor([4]), lib.tensor([2]))),
                (RuntimeError, lambda: F.bilinear(x, x, lib.rand(2, 3, 4)))]:
            with pytest.raises(error):
                act()


def test_broadcasting_warns_in_both():
    for lib, F in ((tg, nn.functional), (torch, torch.nn.functional)):
        for loss in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss):
            with pytest.warns(UserWarning):
                loss(lib.ones(4, 1), lib.ones(4))
