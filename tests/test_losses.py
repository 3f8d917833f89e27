"""Losses and distances beyond the registry: extremes, reductions, kernels against their composed twins, errors, modules."""
import math
import warnings

import numpy as np
import pytest

import tinygrad_ed as tg
import tinygrad_ed.nn.functional as F
from tinygrad_ed import nn
from tinygrad_ed.errors import DimError, DomainError, DTypeError, GraphError, IndexRangeError, ShapeError

INF = math.inf
RNG = np.random.default_rng(0)


def tensor(values, dtype="float64", requires_grad=False):
    return tg.tensor(np.array(values, dtype), requires_grad=requires_grad)


def value_and_gradient(loss, x, *args, dtype="float64", **options):
    x = tensor(x, dtype, requires_grad=True)
    y = loss(x, *args, **options)
    y.sum().backward()
    return y.detach().numpy(), x.grad.numpy()


# -- logits of any size ------------------------------------------------------------------------------------------------

LOGITS = np.array([[1e4, -1e4, 0.0], [-1e4, 0.5, 1e4], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4]])
BITS = np.array([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
FROM_LOGITS = {
    "cross_entropy": lambda x: F.cross_entropy(x, tg.tensor([1, 0, 2, 2])),
    "cross_entropy smoothed": lambda x: F.cross_entropy(x, tg.tensor([1, 0, 2, 2]), label_smoothing=0.1),
    "cross_entropy of probabilities": lambda x: F.cross_entropy(x, tensor(BITS / 2).to(x.dtype)),
    "focal_loss": lambda x: F.focal_loss(x, tg.tensor([1, 0, 2, 2])),
    "focal_loss, gamma below 1": lambda x: F.focal_loss(x, tg.tensor([0, 2, 2, 2]), gamma=0.5),
    "binary_cross_entropy_with_logits": lambda x: F.binary_cross_entropy_with_logits(x, tensor(BITS).to(x.dtype)),
    "pos_weight": lambda x: F.binary_cross_entropy_with_logits(x, tensor(BITS).to(x.dtype), pos_weight=tensor([1, 2, 3]).to(x.dtype)),
    "multilabel_soft_margin_loss": lambda x: F.multilabel_soft_margin_loss(x, tensor(BITS).to(x.dtype)),
    "soft_margin_loss": lambda x: F.soft_margin_loss(x, tensor(2 * BITS - 1).to(x.dtype)),
    "sigmoid_focal_loss": lambda x: F.sigmoid_focal_loss(x, tensor(BITS).to(x.dtype), reduction="mean"),
    "sigmoid_focal_loss, gamma below 1": lambda x: F.sigmoid_focal_loss(x, tensor(BITS).to(x.dtype), gamma=0.5, reduction="mean"),
    "ctc_loss": lambda x: F.ctc_loss(tg.log_softmax(x.reshape(4, 1, 3), -1), tg.tensor([[1, 2]]), [4], [2]),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FROM_LOGITS)
def test_huge_logits_give_finite_losses_and_gradients(name, dtype):
    for x in (LOGITS, LOGITS[::-1].copy(), LOGITS * 0, LOGITS / 1e3):
        x = tensor(x, dtype, requires_grad=True)
        loss = FROM_LOGITS[name](x)
        grad, = tg.autograd.grad(loss, x, retain_graph=True)
        again, = tg.autograd.grad(loss, x, create_graph=True)
        assert np.isfinite(loss.item()) and loss.item() >= 0 and np.isfinite(grad.numpy()).all()
        rounding = 1e-3 if "ctc" in name and dtype == "float32" else 1e-6        # logarithms of 2e4 have few digits behind the point
        np.testing.assert_allclose(again.detach().numpy(), grad.numpy(), rtol=rounding, atol=rounding)


def test_losses_of_logits_are_those_of_probabilities():
    x, t = RNG.normal(size=(5, 4)) * 3, RNG.random((5, 4))
    a = value_and_gradient(F.binary_cross_entropy_with_logits, x, tensor(t), reduction="none")
    b = value_and_gradient(lambda x: F.binary_cross_entropy(tg.sigmoid(x), tensor(t), reduction="none"), x)
    np.testing.assert_allclose(a[0], b[0], rtol=1e-9)
    np.testing.assert_allclose(a[1], b[1], rtol=1e-9)
    np.testing.assert_allclose(a[1], 1 / (1 + np.exp(-x)) - t, rtol=1e-12)           # σ(x) - t


@pytest.mark.parametrize("shape", [(6, 4), (3, 100), (2, 3, 5), (2, 40, 2, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_of_cross_entropy_is_softmax_minus_target_to_rounding(shape, dtype):
    x = RNG.normal(size=shape).astype(dtype)
    target = RNG.integers(0, shape[1], (shape[0], *shape[2:]))
    _, grad = value_and_gradient(F.cross_entropy, x, tg.tensor(target), dtype=dtype, reduction="sum")
    wide = x.astype("float64")
    p = np.exp(wide) / np.exp(wide).sum(1, keepdims=True)
    y = np.moveaxis(np.eye(shape[1])[target], -1, 1)
    np.testing.assert_allclose(grad, p - y, rtol=4 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)


# -- kernels and their composed twins ----------------------------------------------------------------------------------

@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 1), (7, 32), (7, 33), (3, 70), (2, 3, 4), (1, 40, 2), (2, 2, 0), (0, 3), (3, 3)])
@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize("options", [{}, {"weight": True}, {"ignore_index": 0}, {"weight": True, "ignore_index": 0},
                                     {"label_smoothing": 0.2},
                                     {"label_smoothing": 0.2, "weight": True, "ignore_index": 0}], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_of_classes_equal_their_twins(shape, loss, options, reduction):
    from tinygrad_ed.ops.loss import classes
    options = dict(options)
    if loss is F.nll_loss and options.pop("label_smoothing", None):
        return
    smoothing = options.get("label_smoothing", 0.0)
    weight = tensor(RNG.random(shape[1]) + 0.5) if options.pop("weight", False) else None
    x = RNG.normal(size=shape)
    target = tg.tensor(RNG.integers(0, shape[1], (shape[0], *shape[2:])))
    w = tensor(RNG.normal(size=target.shape if reduction == "none" else ()))
    kernel = value_and_gradient(lambda x: loss(x, target, weight, reduction=reduction, **options) * w, x)
    common = {"ignore_index": options.get("ignore_index", -100), "reduction": reduction, "masked": True}
    if loss is F.nll_loss:
        twin = value_and_gradient(lambda x: classes._composed_nll(x, target, weight, **common) * w, x)
    else:
        twin = value_and_gradient(lambda x: classes._composed_cross_entropy(x, target, weight, smoothing=smoothing, **common) * w, x)
    np.testing.assert_allclose(kernel[0], twin[0], rtol=1e-12)
    if np.isfinite(twin[0]).all():
        np.testing.assert_allclose(kernel[1], twin[1], rtol=1e-10, atol=1e-14)
    else:
        assert not np.isnan(kernel[1]).any()          # all are ignored: the mean is NaN, and the gradient 0


def test_elementwise_losses_of_many_elements():
    """More elements than a kernel takes at a time, in every layout."""
    x, t = RNG.normal(size=(300, 250)), RNG.random((300, 250))
    for loss in (F.mse_loss, F.l1_loss, F.huber_loss, F.binary_cross_entropy_with_logits, F.soft_margin_loss):
        for arrange in (np.ascontiguousarray, np.asfortranarray, lambda a: a[::-1]):
            a, b = (tg.from_numpy(arrange(v)) for v in (x, t))
            whole, parts = loss(a.requires_grad_(), b), loss(a, b, reduction="none")
            np.testing.assert_allclose(whole.item(), parts.detach().numpy().mean(), rtol=1e-12)
            g, = tg.autograd.grad(whole, a)
            h, = tg.autograd.grad(parts, a, tg.ones_like(parts))
            np.testing.assert_allclose(g.numpy() * x.size, h.numpy(), rtol=1e-12)
            assert g.shape == x.shape


def test_half_precision_sums_do_not_overflow():
    x = tg.full((300, 300), 2.0, dtype=tg.float16)
    for loss in (F.mse_loss, F.l1_loss, F.huber_loss):
        y, g = value_and_gradient(lambda x: loss(x, tg.zeros(300, 300, dtype=tg.float16)) * 1024, x.numpy(), dtype="float16")
        assert y.dtype == g.dtype == np.float16 and np.isfinite(y) and (g > 0).all()
    assert F.mse_loss(x, tg.zeros_like(x)).item() == 4


# -- reductions, weights, empty inputs ---------------------------------------------------------------------------------

def test_every_reduction_is_named():
    x, t = tg.rand(2, 3), tg.rand(2, 3)
    for loss in (F.mse_loss, F.l1_loss, F.huber_loss, F.smooth_l1_loss, F.binary_cross_entropy, F.binary_cross_entropy_with_logits,
                 F.kl_div,
                 F.poisson_nll_loss, F.soft_margin_loss, F.hinge_embedding_loss, F.multilabel_soft_margin_loss, F.sigmoid_focal_loss):
        with pytest.raises(ValueError, match="reduction"):
            loss(x, t, reduction="average")
        assert loss(x, t, reduction="sum").shape == ()


def test_empty_inputs():
    x = tg.zeros(0, 3, requires_grad=True)
    for loss in (F.mse_loss, F.l1_loss, F.huber_loss, F.binary_cross_entropy, F.binary_cross_entropy_with_logits, F.soft_margin_loss):
        assert np.isnan(loss(x, tg.zeros(0, 3)).item()) and loss(x, tg.zeros(0, 3), reduction="sum").item() == 0
        assert loss(x, tg.zeros(0, 3), reduction="none").shape == (0, 3)
    assert F.multilabel_margin_loss(x, tg.zeros(0, 3, dtype=tg.int64), reduction="none").shape == (0,)
    assert F.kl_div(x, tg.zeros(0, 3), reduction="sum").item() == 0


def test_weights_broadcast_and_count_in_the_mean_as_elements():
    x, t, w = RNG.random((3, 4)) * 0.8 + 0.1, RNG.random((3, 4)), RNG.random(4)
    expected = (w * (-t * np.log(x) - (1 - t) * np.log(1 - x))).mean()
    np.testing.assert_allclose(F.binary_cross_entropy(tensor(x), tensor(t), tensor(w)).item(), expected, rtol=1e-12)
    with pytest.raises(ShapeError, match=r"\(3,\).*\(3, 4\)"):
        F.binary_cross_entropy(tensor(x), tensor(t), tensor(w[:3]))
    logits, q = tensor(np.log(x / (1 - x))), tensor([1, 2, 3, 4])
    expected = (w * (-q.numpy() * t * np.log(x) - (1 - t) * np.log(1 - x))).sum()
    np.testing.assert_allclose(F.binary_cross_entropy_with_logits(logits, tensor(t), tensor(w), reduction="sum", pos_weight=q).item(),
                               expected)


def test_focal_losses_without_focus_are_cross_entropies():
    x, t = tensor(RNG.normal(size=(6, 4))), tg.tensor([0, 1, 2, 3, -100, 1])
    for weight in (None, tensor([1, 2, 3, 4])):
        for reduction in ("mean", "sum", "none"):
            a, b = (loss(x, t, weight, reduction=reduction, **k) for loss, k in ((F.focal_loss, {"gamma": 0}), (F.cross_entropy, {})))
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)
    bits = tensor(RNG.integers(0, 2, (6, 4)))
    np.testing.assert_allclose(F.sigmoid_focal_loss(x, bits, -1, 0).numpy(),
                               F.binary_cross_entropy_with_logits(x, bits, reduction="none").numpy())
    two = tg.stack([tg.zeros_like(x), x], 1)
    np.testing.assert_allclose(F.sigmoid_focal_loss(x, bits, -1, 2).numpy(),
                               F.focal_loss(two, bits.long(), gamma=2, reduction="none").numpy(), rtol=1e-9)


def test_targets_have_gradients_too():
    for loss, low, high in ((F.sigmoid_focal_loss, 0, 1), (F.binary_cross_entropy_with_logits, 0, 1), (F.mse_loss, -1, 1)):
        x, t = tensor(RNG.normal(size=5)), tensor(RNG.uniform(low, high, 5))
        assert tg.autograd.gradcheck(lambda x, t: loss(x, t, reduction="sum"), (x.requires_grad_(), t.requires_grad_()))


def test_a_loss_that_is_not_differentiated_keeps_no_graph():
    x, t = tg.rand(3, requires_grad=True), tg.rand(3)
    with tg.no_grad():
        assert not F.mse_loss(x, t).requires_grad
    assert F.mse_loss(x.detach(), t).grad_fn is None


# -- what each loss promises -------------------------------------------------------------------------------------------

def test_binary_cross_entropy_at_0_and_1():
    loss, grad = value_and_gradient(F.binary_cross_entropy, [0, 1, 0, 1], tensor([1, 0, 0, 1]), reduction="none")
    np.testing.assert_allclose(loss, [100, 100, 0, 0])
    np.testing.assert_allclose(grad, [-1e12, 1e12, 1, -1])
    x = tensor([0, 1, 0, 1], requires_grad=True)
    again, = tg.autograd.grad(F.binary_cross_entropy(x, tensor([1, 0, 0, 1]), reduction="sum"), x, create_graph=True)
    np.testing.assert_allclose(again.detach().numpy(), grad)
    small = F.binary_cross_entropy(tensor([1e-12], "float32"), tensor([0], "float32")).item()
    np.testing.assert_allclose(small, 1e-12, rtol=1e-6)
    for x, t in (([1.5], [1]), ([-0.1], [1]), ([0.5], [2]), ([np.nan], [1])):
        with pytest.raises(DomainError, match="with_logits"):
            F.binary_cross_entropy(tensor(x), tensor(t))


def test_kl_div():
    p, q = (RNG.dirichlet([1, 1, 1], 4) for _ in range(2))
    divergence = (p * np.log(p / q)).sum() / 4
    np.testing.assert_allclose(F.kl_div(tensor(np.log(q)), tensor(p), reduction="batchmean").item(), divergence)
    np.testing.assert_allclose(F.kl_div(tensor(np.log(q)), tensor(np.log(p)), reduction="batchmean", log_target=True).item(), divergence)
    assert F.kl_div(tensor([-1.0, -2.0]), tensor([0.0, 1.0]), reduction="sum").item() == 2            # 0·log 0 is 0
    with pytest.warns(UserWarning, match="batchmean"):
        F.kl_div(tensor(np.log(q)), tensor(p))


def test_gaussian_nll_loss():
    x, t = tensor([1.0, 2.0]), tensor([1.5, 0.0])
    for var in (0.25, tensor([0.25, 0.25]), tensor(0.25), tensor([0.25])):
        np.testing.assert_allclose(F.gaussian_nll_loss(x, t, var, full=True, reduction="sum").item(),
                                   sum(0.5 * math.log(2 * math.pi * 0.25) + d * d / 0.5 for d in (0.5, 2)))
    var = tensor([1e-9, 1.0], requires_grad=True)
    F.gaussian_nll_loss(x, t, var, eps=0.5, reduction="sum").backward()
    np.testing.assert_allclose(var.grad.numpy(), [0.5 * (1 / 0.5 - 0.25 / 0.25), 0.5 * (1 - 4)])      # as if the variance were eps
    with pytest.raises(DomainError, match="exp"):
        F.gaussian_nll_loss(x, t, tensor([1.0, -1.0]))
    with pytest.raises(DomainError):
        F.gaussian_nll_loss(x, t, -1.0)
    for var in (tensor([1, 1, 1]), tensor([[1.0], [1.0]])):
        with pytest.raises(ShapeError, match="var"):
            F.gaussian_nll_loss(x, t, var)
    with pytest.raises(DTypeError):
        F.gaussian_nll_loss(x, t, "1")


def test_hinges_at_their_kinks():
    """A margin that is just met counts as PyTorch counts it."""
    for loss, args, expected in [
            (F.hinge_embedding_loss, (tg.tensor([-1]),), [-1]), (F.margin_ranking_loss, (tensor([1]), tg.tensor([1])), [-1]),
            (lambda x, *a, **o: F.multi_margin_loss(tg.stack([x, tensor([0])], 1), *a, **o), (tg.tensor([0]),), [0])]:
        assert value_and_gradient(loss, [1], *args, reduction="sum")[1].tolist() == expected


def test_cosine_embedding_loss_of_the_zero_vector_is_finite():
    loss, grad = value_and_gradient(F.cosine_embedding_loss, [[0, 0], [1, 0]], tensor([[1, 0], [1, 0]]), tg.tensor([1, 1]),
                                    reduction="none")
    np.testing.assert_allclose(loss, [1, 0], atol=1e-9)
    assert np.isfinite(grad).all()


def test_triplets():
    a, p, n = (tensor(RNG.normal(size=(5, 3))) for _ in range(3))
    d = lambda x, y: np.sqrt(((x - y + tg.tensor(1e-6)).numpy() ** 2).sum(-1))
    np.testing.assert_allclose(F.triplet_margin_loss(a, p, n, reduction="none").numpy(), np.maximum(d(a, p) - d(a, n) + 1, 0), rtol=1e-9)
    swapped = np.maximum(d(a, p) - np.minimum(d(a, n), d(p, n)) + 1, 0)
    np.testing.assert_allclose(F.triplet_margin_loss(a, p, n, swap=True, reduction="none").numpy(), swapped, rtol=1e-9)
    for margin in (0, -1):
        with pytest.raises(ValueError, match="margin"):
            F.triplet_margin_loss(a, p, n, margin=margin)
    with pytest.raises(ShapeError):
        F.triplet_margin_loss(a, p[0], n)


def test_multilabel_margin_of_many_classes_needs_no_table_of_all_pairs():
    x, t = tg.rand(4, 3000, requires_grad=True), tg.full((4, 3000), -1, dtype=tg.int64)
    t[:, :2] = tg.tensor([5, 7])
    F.multilabel_margin_loss(x, t).backward()
    np.testing.assert_allclose(x.grad.numpy().sum(), 0, atol=1e-5)


# -- CTC ---------------------------------------------------------------------------------------------------------------

def ctc_inputs(steps, samples, classes, count, dtype="float64", seed=1):
    rng = np.random.default_rng(seed)
    return tensor(rng.normal(size=(steps, samples, classes)), dtype,
                  requires_grad=True), tg.tensor(rng.integers(1, classes, (samples, count)))


def test_ctc_posteriors_sum_to_1_in_every_step_and_vanish_after_the_end():
    x, targets = ctc_inputs(12, 3, 5, 4)
    lp = tg.log_softmax(x, -1)
    loss = F.ctc_loss(lp, targets, [12, 9, 10], [4, 2, 0], reduction="sum")
    grad, = tg.autograd.grad(loss, lp)
    sums = grad.numpy().sum(-1)
    for n, steps in enumerate([12, 9, 10]):
        np.testing.assert_allclose(sums[:steps, n], -1, rtol=1e-12)
        assert not grad.numpy()[steps:, n].any()
    assert (grad.numpy()[:10, 2, 1:] == 0).all()      # nothing but blanks where there is no label


def test_ctc_of_long_sequences_in_float32():
    losses = []
    for dtype in ("float64", "float32"):
        x, targets = ctc_inputs(400, 2, 30, 60, dtype)
        loss = F.ctc_loss(tg.log_softmax(x * 5, -1), targets, [400, 350], [60, 50], reduction="none")
        loss.sum().backward()
        losses.append((loss.detach().numpy(), x.grad.numpy()))
    np.testing.assert_allclose(losses[1][0], losses[0][0], rtol=1e-5)
    np.testing.assert_allclose(losses[1][1], losses[0][1], rtol=1e-3, atol=1e-4)


def test_ctc_of_what_is_impossible():
    x, _ = ctc_inputs(3, 3, 4, 2)
    targets, times, counts = tg.tensor([[1, 1], [1, 2], [3, 3]]), [3, 1, 2], [2, 2, 2]
    loss = F.ctc_loss(tg.log_softmax(x, -1), targets, times, counts, reduction="none")
    assert np.isfinite(loss.numpy() if not loss.requires_grad else loss.detach().numpy()).tolist() == [True, False, False]
    grad, = tg.autograd.grad(loss[0], x, retain_graph=True)
    assert np.isfinite(grad.numpy()).all() and grad.numpy()[:, 0].any() and not grad.numpy()[:, 1:].any()
    assert np.isnan(tg.autograd.grad(loss[1], x)[0].numpy()[0, 1]).all()
    for create_graph in (False, True):
        loss = F.ctc_loss(tg.log_softmax(x, -1), targets, times, counts, zero_infinity=True, reduction="sum")
        grad, = tg.autograd.grad(loss, x, create_graph=create_graph)
        assert np.isfinite(loss.item()) and np.isfinite(grad.detach().numpy()).all() and not grad.detach().numpy()[:, 1:].any()
    x, targets = ctc_inputs(20, 2, 4, 3)
    lp = tg.log_softmax(x, -1).detach()
    lp[5, 0] = -INF                                   # at one time nothing is possible
    loss = F.ctc_loss(lp.requires_grad_(), targets, [20, 20], [3, 3], reduction="none", zero_infinity=True)
    loss.sum().backward()
    assert loss.detach().numpy()[0] == 0 < loss.detach().numpy()[1] and not lp.grad.numpy()[:, 0].any() and np.isfinite(lp.grad.numpy()).all()
    certain = tg.full((2, 1, 2), -INF)
    certain[:, :, 1] = 0.0
    assert F.ctc_loss(certain, tg.tensor([[1]]), [2], [1]).item() == 0               # probabilities 0 and 1


def test_ctc_without_steps_or_labels():
    lp = tg.log_softmax(tg.zeros(3, 2, 4), -1)
    assert F.ctc_loss(lp, tg.tensor([[1], [1]]), [0, 0], [0, 1], reduction="none").tolist() == [0, INF]
    assert F.ctc_loss(lp, tg.zeros(0, dtype=tg.int64), [3, 1], [0, 0],
                      reduction="none").tolist() == pytest.approx([3 * math.log(4), math.log(4)])


def test_ctc_takes_targets_in_every_form():
    x, targets = ctc_inputs(8, 3, 5, 3)
    lp, counts = tg.log_softmax(x, -1).detach(), [3, 1, 2]
    expected = F.ctc_loss(lp, targets, [8, 8, 7], counts, reduction="none").numpy()
    flat = tg.cat([row[:n] for row, n in zip(targets, counts)])
    for t, times, c in [(flat, (8, 8, 7), counts), (targets.int(), tg.tensor([8, 8, 7]), tg.tensor(counts)),
                        (targets.tolist(), [8, 8, 7], counts)]:
        np.testing.assert_array_equal(F.ctc_loss(lp, t, times, c, reduction="none").numpy(), expected)
    alone = F.ctc_loss(lp[:, 1], targets[1], 8, 1, reduction="none")
    assert alone.shape == () and alone.item() == pytest.approx(expected[1])


def test_ctc_refuses():
    lp = tg.log_softmax(tg.zeros(5, 2, 4), -1)
    good = (tg.tensor([[1, 2], [3, 1]]), [5, 5], [2, 2])
    F.ctc_loss(lp, *good)
    for args, error in [((tg.tensor([[1, 4], [3, 1]]), [5, 5], [2, 2]), IndexRangeError),
                        ((tg.tensor([[1, 0], [3, 1]]), [5, 5], [2, 2]), IndexRangeError),
                        ((good[0], [6, 5], [2, 2]), ShapeError), ((good[0], [5], [2, 2]), ShapeError),
                        ((good[0], [5, 5], [2, 3]), ShapeError),
                        ((good[0], [5, 5], [-1, 2]), ShapeError), ((tg.tensor([1, 2, 3]), [5, 5], [2, 2]), ShapeError),
                        ((good[0].float(), [5, 5], [2, 2]), DTypeError), ((tg.tensor([[1, 2]]), [5, 5], [2, 2]), ShapeError)]:
        with pytest.raises(error, match="ctc_loss"):
            F.ctc_loss(lp, *args)
    F.ctc_loss(lp, tg.tensor([[1, 0], [3, -7]]), [5, 5], [1, 1])                      # padding is not looked at
    with pytest.raises(IndexRangeError, match="blank"):
        F.ctc_loss(lp, *good, blank=4)
    with pytest.raises(ShapeError):
        F.ctc_loss(tg.zeros(4), *good)


# -- shapes and dtypes that do not fit ---------------------------------------------------------------------------------

@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.huber_loss, F.smooth_l1_loss, F.poisson_nll_loss, F.soft_margin_loss,
                                  F.hinge_embedding_loss,
                                  lambda x, t: F.kl_div(x, t, reduction="sum"), lambda x, t: F.gaussian_nll_loss(x, t, 1.0),
                                  nn.HuberLoss(), nn.SmoothL1Loss(beta=0.5), nn.PoissonNLLLoss(), nn.KLDivLoss(reduction="batchmean")])
def test_broadcasting_warns_with_both_shapes_and_the_fix(loss):
    with pytest.warns(UserWarning, match=r"\(8, 1\).*\(8,\).*\(8, 8\).*target.reshape\(input.shape\)"):
        loss(tg.ones(8, 1), tg.ones(8))
    with pytest.raises(ShapeError):
        loss(tg.ones(3), tg.ones(4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(tg.ones(8), tg.ones(8))


@pytest.mark.parametrize("loss", [F.binary_cross_entropy, F.binary_cross_entropy_with_logits, F.multilabel_soft_margin_loss,
                                  F.sigmoid_focal_loss])
def test_what_pytorch_refuses_to_broadcast_is_refused(loss):
    with pytest.raises(ShapeError, match=r"\(8, 1\).*\(8,\).*reshape"):
        loss(tg.ones(8, 1), tg.ones(8))
    with pytest.raises(DTypeError, match=r"targets?.float\(\)"):
        loss(tg.ones(2, 2), tg.ones(2, 2, dtype=tg.int64))


def test_other_refusals():
    x, i = tg.rand(4, 3), tg.tensor([0, 1, 2, 0])
    for act, error in [
            (lambda: F.huber_loss(x, x, delta=0), ValueError), (lambda: F.smooth_l1_loss(x, x, beta=-1), ValueError),
            (lambda: F.multi_margin_loss(x, i, p=3), ValueError), (lambda: F.multi_margin_loss(x, i[:2]), ShapeError),
            (lambda: F.multi_margin_loss(x, i + 1), IndexRangeError), (lambda: F.multi_margin_loss(x, i - 1), IndexRangeError),
            (lambda: F.multi_margin_loss(x, i, weight=tg.ones(4)), ShapeError),
            (lambda: F.multi_margin_loss(x, i, weight=tg.ones(3, requires_grad=True)), GraphError),
            (lambda: F.multi_margin_loss(x, i.float()), DTypeError), (lambda: F.multilabel_margin_loss(x, i), ShapeError),
            (lambda: F.multilabel_margin_loss(x, tg.full((4, 3), 3, dtype=tg.int64)), IndexRangeError),
            (lambda: F.margin_ranking_loss(x, x[0], x), ShapeError), (lambda: F.cosine_embedding_loss(x, x, tg.ones(3)), ShapeError),
            (lambda: F.cosine_embedding_loss(x, x[:2], tg.ones(4)), ShapeError), (lambda: F.sigmoid_focal_loss(x, x, alpha=2), ValueError),
            (lambda: F.sigmoid_focal_loss(x, x, gamma=-1), ValueError), (lambda: F.focal_loss(x, i, gamma=-1), ValueError),
            (lambda: F.focal_loss(x, i + 5), IndexRangeError), (lambda: F.poisson_nll_loss(i, i), DTypeError),
            (lambda: F.kl_div(x, i, reduction="sum"), DTypeError), (lambda: F.soft_margin_loss(i, i), DTypeError)]:
        with pytest.raises(error):
            act()


# -- distances ---------------------------------------------------------------------------------------------------------

def test_cdist_of_points_that_coincide_has_gradient_0():
    points = RNG.normal(size=(30, 3))
    for p in (0.5, 1, 2, 3):
        for mode in ("use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"):
            x = tensor(points, requires_grad=True)
            d = tg.cdist(x, tensor(points[::-1]), p, mode) if mode.startswith("donot") else tg.cdist(x, tensor(points), p, mode)
            d.sum().backward()
            assert np.isfinite(x.grad.numpy()).all()
    x = tensor([[0, 0], [3, 4]], requires_grad=True)
    tg.cdist(x, x.detach()).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [[-0.6, -0.8], [0.6, 0.8]], rtol=1e-12)


def test_cdist_far_from_the_origin_keeps_its_digits():
    x = (1000 + RNG.normal(size=(40, 3))).astype("float32")
    exact = np.sqrt(((x[:, None].astype("float64") - x[None]) ** 2).sum(-1))
    found = tg.cdist(tg.tensor(x), tg.tensor(x)).numpy()
    np.testing.assert_allclose(found, exact, atol=5e-3)
    np.testing.assert_allclose(tg.cdist(tg.tensor(x), tg.tensor(x), compute_mode="donot_use_mm_for_euclid_dist").numpy(), exact, rtol=1e-6,
                               atol=1e-6)


def test_cdist_of_batches_and_of_nothing():
    x, y = tensor(RNG.normal(size=(2, 1, 4, 3))), tensor(RNG.normal(size=(5, 6, 3)))
    d = tg.cdist(x, y, 1.0)
    np.testing.assert_allclose(d.numpy(), np.abs(x.numpy()[..., :, None, :] - y.numpy()[..., None, :, :]).sum(-1), rtol=1e-12)
    assert tg.cdist(tg.ones(0, 2), tg.ones(3, 2)).shape == (0, 3) and tg.cdist(tg.ones(2, 0), tg.ones(3, 0)).tolist() == [[0] * 3] * 2
    assert tg.cdist(tg.ones(2, 3), tg.ones(1, 3) * 2, 0).tolist() == [[3], [3]] and F.pdist(tg.ones(1, 2)).shape == (0,)
    large = tg.cdist(tensor(RNG.normal(size=(2, 300, 2))), tensor(RNG.normal(size=(2, 200, 2))), 1.0)
    assert large.shape == (2, 300, 200)


def test_distances_refuse():
    x = tg.ones(3, 2)
    for act, error in [(lambda: tg.cdist(x[0], x), ShapeError), (lambda: tg.cdist(x, tg.ones(3, 3)), ShapeError),
                       (lambda: tg.cdist(x, x, -1), ValueError),
                       (lambda: tg.cdist(x, x, compute_mode="fast"), ValueError), (lambda: tg.cdist(x, x.double()), DTypeError),
                       (lambda: tg.cdist(x.int(), x.int()), DTypeError), (lambda: F.pdist(x[0]), ShapeError),
                       (lambda: F.pdist(x, -1), ValueError),
                       (lambda: tg.cdist(tg.ones(2, 3, 2), tg.ones(3, 3, 2)), ShapeError),
                       (lambda: F.cosine_similarity(x.int(), x.int()), DTypeError),
                       (lambda: F.cosine_similarity(x, x, dim=2), DimError), (lambda: F.pairwise_distance(x, tg.ones(4, 2)), ShapeError),
                       (lambda: F.bilinear(x, x, tg.ones(1, 2, 3)), ShapeError),
                       (lambda: F.bilinear(x, x[:2], tg.ones(1, 2, 2)), ShapeError),
                       (lambda: F.bilinear(x, x.double(), tg.ones(1, 2, 2)), DTypeError), (lambda: nn.Bilinear(0, 2, 2), ValueError)]:
        with pytest.raises(error):
            act()


# -- modules -----------------------------------------------------------------------------------------------------------

X, Y, Z, P, SIGNS = tg.randn(4, 3), tg.randn(4, 3), tg.randn(4, 3), tg.rand(4, 3), tg.tensor([1, -1, 1, 1])
CLASSES, WEIGHT = tg.tensor([0, 2, 1, 0]), tg.tensor([0.5, 1.0, 2.0])
MODULES = [
    (nn.L1Loss(reduction="sum"), (X, Y), lambda: F.l1_loss(X, Y, reduction="sum")),
    (nn.SmoothL1Loss(beta=0.3), (X, Y), lambda: F.smooth_l1_loss(X, Y, beta=0.3)),
    (nn.HuberLoss("sum", 0.3), (X, Y), lambda: F.huber_loss(X, Y, "sum", 0.3)),
    (nn.CrossEntropyLoss(WEIGHT, ignore_index=0, label_smoothing=0.1), (X, CLASSES),
     lambda: F.cross_entropy(X, CLASSES, WEIGHT, ignore_index=0, label_smoothing=0.1)),
    (nn.NLLLoss(WEIGHT, ignore_index=0), (X, CLASSES), lambda: F.nll_loss(X, CLASSES, WEIGHT, ignore_index=0)),
    (nn.FocalLoss(WEIGHT, gamma=1.5), (X, CLASSES), lambda: F.focal_loss(X, CLASSES, WEIGHT, gamma=1.5)),
    (nn.SigmoidFocalLoss(0.3, 1.5), (X, P.round()), lambda: F.sigmoid_focal_loss(X, P.round(), 0.3, 1.5, "mean")),
    (nn.BCELoss(WEIGHT), (P, P), lambda: F.binary_cross_entropy(P, P, WEIGHT)),
    (nn.BCEWithLogitsLoss(WEIGHT, pos_weight=WEIGHT), (X, P), lambda: F.binary_cross_entropy_with_logits(X, P, WEIGHT, pos_weight=WEIGHT)),
    (nn.KLDivLoss(reduction="sum", log_target=True), (X, Y), lambda: F.kl_div(X, Y, reduction="sum", log_target=True)),
    (nn.PoissonNLLLoss(False, True, eps=0.1), (P, P * 3), lambda: F.poisson_nll_loss(P, P * 3, False, True, eps=0.1)),
    (nn.GaussianNLLLoss(full=True, eps=0.5), (X, Y, P), lambda: F.gaussian_nll_loss(X, Y, P, True, 0.5)),
    (nn.HingeEmbeddingLoss(0.5), (X, (P > 0.5) * 2 - 1), lambda: F.hinge_embedding_loss(X, (P > 0.5) * 2 - 1, 0.5)),
    (nn.MultiMarginLoss(2, 0.5, WEIGHT), (X, CLASSES), lambda: F.multi_margin_loss(X, CLASSES, 2, 0.5, WEIGHT)),
    (nn.MultiLabelMarginLoss(), (X, tg.tensor([[0, -1, 1]] * 4)), lambda: F.multilabel_margin_loss(X, tg.tensor([[0, -1, 1]] * 4))),
    (nn.MultiLabelSoftMarginLoss(WEIGHT), (X, P), lambda: F.multilabel_soft_margin_loss(X, P, WEIGHT)),
    (nn.SoftMarginLoss(), (X, Y), lambda: F.soft_margin_loss(X, Y)),
    (nn.CosineEmbeddingLoss(0.2), (X, Y, SIGNS), lambda: F.cosine_embedding_loss(X, Y, SIGNS, 0.2)),
    (nn.MarginRankingLoss(0.2), (X, Y, SIGNS.reshape(4, 1)), lambda: F.margin_ranking_loss(X, Y, SIGNS.reshape(4, 1), 0.2)),
    (nn.TripletMarginLoss(0.5, 1, 0.1, True), (X, Y, Z), lambda: F.triplet_margin_loss(X, Y, Z, 0.5, 1, 0.1, True)),
    (nn.TripletMarginWithDistanceLoss(margin=0.5, swap=True), (X, Y, Z), lambda: F.triplet_margin_loss(X, Y, Z, 0.5, swap=True)),
    (nn.CTCLoss(2, "sum", True), (X, CLASSES[:1] + 1, 4, 1), lambda: F.ctc_loss(X, CLASSES[:1] + 1, 4, 1, 2, "sum", True)),
    (nn.CosineSimilarity(0, 0.1), (X, Y), lambda: F.cosine_similarity(X, Y, 0, 0.1)),
    (nn.PairwiseDistance(1, 0.1, True), (X, Y), lambda: F.pairwise_distance(X, Y, 1, 0.1, True)),
]


@pytest.mark.parametrize("module, args, expected", MODULES, ids=[type(m).__name__ for m, _, _ in MODULES])
def test_modules_are_their_functions(module, args, expected):
    np.testing.assert_array_equal(module(*args).numpy(), expected().numpy())


def test_every_loss_is_a_module_too():
    named = {name.lower().replace("_", "") for name in F.__all__ if name.endswith("_loss") or name in ("kl_div", "cross_entropy")}
    modules = {name.lower() for name in nn.__all__ if name.endswith("Loss")}
    for name in named - {"nllloss", "sigmoidfocalloss"}:
        assert name in modules or name + "loss" in modules or name == "kldiv" and "kldivloss" in modules


def test_weights_are_buffers():
    loss = nn.BCEWithLogitsLoss(pos_weight=tg.ones(3)).double()
    assert list(loss.state_dict()) == ["pos_weight"] and loss.pos_weight.dtype == tg.float64
    assert list(nn.CrossEntropyLoss(WEIGHT).state_dict()) == ["weight"]


def test_module_arguments_are_checked():
    for act, error in [(lambda: nn.HuberLoss(delta="1"), TypeError), (lambda: nn.MultiMarginLoss(3), ValueError),
                       (lambda: nn.MultiMarginLoss(weight=tg.ones(2, 2)), ShapeError), (lambda: nn.TripletMarginLoss(0), ValueError),
                       (lambda: nn.TripletMarginWithDistanceLoss(margin=-1), ValueError)]:
        with pytest.raises(error):
            act()


def test_bilinear_layer():
    tg.manual_seed(0)
    layer = nn.Bilinear(16, 5, 7)
    assert np.abs(layer.weight.detach().numpy()).max() <= 0.25 and layer.bias.shape == (7,)
    x, y = tg.randn(2, 3, 16), tg.randn(2, 3, 5)
    expected = np.einsum("abi,oij,abj->abo", x.numpy(), layer.weight.detach().numpy(), y.numpy()) + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(x, y).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    assert "bias=False" in repr(nn.Bilinear(1, 2, 3, bias=False))
