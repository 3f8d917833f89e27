"""Cases of `ops/loss`. A loss has "none", "mean" and "sum"; its reference in NumPy is the definition, element by element."""
import warnings

import numpy as np
from registry import call, case

REDUCTIONS = ["mean", "sum", "none"]
WEIGHT = [0.5, 1.5, 0.25, 2.0]


def ours():
    import tinygrad_ed
    return tinygrad_ed


def theirs():
    import torch
    return torch


def here_and_there(loss):
    """loss(module, *args) with our package and with PyTorch: for calls that make some of their arguments themselves."""
    return {"op": lambda *args, **options: loss(ours(), *args, **options),
            "torch": lambda *args, **options: loss(theirs(), *args, **options)}


def reduce(y, reduction):
    return y if reduction == "none" else y.sum() if reduction == "sum" else y.mean()


def reduced(f):
    """A function of two arrays, element by element, and then reduced."""
    return lambda x, t, reduction="mean", **options: reduce(f(x, t, **options), reduction)


def same_shape(d, low=-2, high=2, t_low=-2, t_high=2, **shape):
    shape = d.shape(**shape)
    return d.array(shape, low, high), d.array(shape, t_low, t_high)


# -- classes -----------------------------------------------------------------------------------------------------------

def log_softmax(x):
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def nll(logp, target, ignore_index=-100, reduction="mean"):
    """The definition, in loops over (N, C)."""
    kept = target != ignore_index
    losses = np.array([-logp[i, c] if k else 0.0 for i, (c, k) in enumerate(zip(target, kept))])
    return losses if reduction == "none" else losses.sum() / (kept.sum() if reduction == "mean" else 1)


def classes(d, n_classes, shape, spare=False):
    """Class numbers; with `spare` all but the last, which may then be ignored without ignoring all."""
    return d.ints(shape, 0, n_classes - 1 - spare)


@case("nn.functional.cross_entropy", numpy=lambda x, t, **o: nll(log_softmax(x), t, **o))
def _(d):
    n, c = d.integer(1, 4), d.integer(2, 4)
    return call(d.array((n, c)), classes(d, c, (n,)), reduction=d.pick(REDUCTIONS))


@case("nn.functional.cross_entropy", numpy=lambda x, t, **o: nll(log_softmax(x), t, **o))
def _(d):
    n, c = d.integer(1, 3), d.integer(2, 4)
    target = np.concatenate([classes(d, c, (n,), spare=True), [c - 1]])
    return call(d.array((n + 1, c)), target, ignore_index=c - 1, reduction=d.pick(REDUCTIONS))


@case("nn.functional.cross_entropy")
def _(d):
    shape = (d.integer(1, 3), 4, *d.shape(max_dims=2, max_side=3))
    return call(d.array(shape), classes(d, 4, (shape[0], *shape[2:])), reduction=d.pick(REDUCTIONS),
                label_smoothing=d.pick([0.0, 0.1, 1.0]))


@case("nn.functional.cross_entropy")
def _(d):
    shape = d.pick([(3,), (2, 3), (2, 3, 2)])
    return call(d.array(shape), d.array(shape, 0, 1), reduction=d.pick(REDUCTIONS), label_smoothing=d.pick([0.0, 0.2]))


def weighted(name):
    """A loss whose class weights are no argument, since they have no derivative."""
    return here_and_there(lambda lib, x, target, **options: getattr(lib.nn.functional, name)(
        x, target, weight=lib.tensor(WEIGHT, dtype=x.dtype, device=x.device), **options))


for name in ("cross_entropy", "nll_loss"):
    @case(f"nn.functional.{name}", **weighted(name))
    def _(d, smoothed=name == "cross_entropy"):
        n = d.integer(1, 4)
        options = {"label_smoothing": d.pick([0.0, 0.1])} if smoothed else {}
        target = np.concatenate([classes(d, 4, (n,)), d.pick([[0], [0, -100]])]).astype(int)
        return call(d.array((len(target), 4)), target, reduction=d.pick(REDUCTIONS), **options)


@case("nn.functional.nll_loss", numpy=nll)
def _(d):
    n, c = d.integer(1, 4), d.integer(2, 4)
    return call(d.array((n, c)), classes(d, c, (n,)), reduction=d.pick(REDUCTIONS))


@case("nn.functional.nll_loss")
def _(d):
    return call(d.array((2, 3, 2, 2)), classes(d, 3, (2, 2, 2)), ignore_index=2, reduction=d.pick(["sum", "none"]))


def focal(lib, x, target, gamma, reduction):
    logp = lib.log_softmax(x, 1)[range(len(target)), target]
    return reduce(-(1 - logp.exp()) ** gamma * logp, reduction)


@case("nn.functional.focal_loss", torch=lambda x, t, gamma, reduction: focal(theirs(), x, t, gamma, reduction))
def _(d):
    n = d.integer(1, 4)
    return call(d.array((n, 3)), classes(d, 3, (n,)), gamma=d.pick([0.5, 2.0, 0.0]), reduction=d.pick(REDUCTIONS))


@case("nn.functional.focal_loss", torch=None, op=lambda x, t, **o: ours().nn.functional.focal_loss(x, t, ours().tensor(WEIGHT).to(x),
                                                                                                   **o))
def _(d):
    return call(d.array((2, 4, 3)), np.where(d.bools((2, 3)), -100, classes(d, 4, (2, 3))), reduction=d.pick(["sum", "none"]))


def multi_margin(x, t, p=1, margin=1.0, reduction="mean"):
    losses = [sum(max(0, margin - row[y] + row[c]) ** p for c in range(len(row)) if c != y) / len(row) for row, y in zip(x, t)]
    return reduce(np.array(losses), reduction)


def multi_margin_kinks(x, t, margin=1.0, **_):
    return [margin - row[y] + np.delete(row, y) for row, y in zip(x, t)]


@case("nn.functional.multi_margin_loss", numpy=multi_margin, kinks=multi_margin_kinks)
def _(d):
    n, c = d.integer(1, 4), d.integer(1, 4)
    return call(d.array((n, c)), classes(d, c, (n,)), p=d.pick([1, 2]), margin=d.pick([1.0, 0.5]), reduction=d.pick(REDUCTIONS))


@case("nn.functional.multi_margin_loss", **weighted("multi_margin_loss"),
      kinks=lambda x, t, **_: [1 - x[t] + np.delete(x, t)] if x.ndim == 1 else
      multi_margin_kinks(x, t))
def _(d):
    x, t = d.pick([(d.array((4,)), np.array(2)), (d.array((3, 4)), classes(d, 4, (3,)))])
    return call(x, t, reduction=d.pick(REDUCTIONS))


def multilabel_margin(x, t, reduction="mean"):
    losses = []
    for row, listed in zip(x, t):
        right = list(listed[:list(listed).index(-1)] if -1 in listed else listed)
        losses.append(sum(max(0, 1 - (row[y] - row[c])) for y in right for c in range(len(row)) if c not in right) / len(row))
    return reduce(np.array(losses), reduction)


@case("nn.functional.multilabel_margin_loss", numpy=multilabel_margin,
      kinks=lambda x, t, **_: [1 - (x[:, :, None] - x[:, None]).ravel()])
def _(d):
    n, c = d.integer(1, 3), d.integer(1, 4)
    t = np.stack([d.permutation(c) for _ in range(n)])
    t[np.arange(c) >= d.ints((n, 1), 0, c)] = -1
    if d.bool():
        t[:, -1] = 0                                  # behind the first -1, or a repetition: both are allowed
    return call(d.array((n, c)), t, reduction=d.pick(REDUCTIONS))


# -- differences -------------------------------------------------------------------------------------------------------

@case("nn.functional.mse_loss", numpy=reduced(lambda x, t: (x - t) ** 2), analytic=True)
def _(d):
    return call(*same_shape(d), reduction=d.pick(REDUCTIONS))


@case("nn.functional.l1_loss", numpy=reduced(lambda x, t: np.abs(x - t)), kinks=lambda x, t, **_: [x - t])
def _(d):
    return call(*same_shape(d), reduction=d.pick(REDUCTIONS))


def huber(x, t, delta=1.0):
    z = np.abs(x - t)
    return np.where(z <= delta, z * z / 2, delta * (z - delta / 2))


@case("nn.functional.huber_loss", numpy=reduced(huber), kinks=lambda x, t, delta=1.0, **_: [np.abs(x - t) - delta])
def _(d):
    return call(*same_shape(d), reduction=d.pick(REDUCTIONS), delta=d.pick([1.0, 0.3, 5]))


@case("nn.functional.smooth_l1_loss", numpy=reduced(lambda x, t, beta=1.0: huber(x, t, beta) / beta if beta else np.abs(x - t)),
      kinks=lambda x, t, beta=1.0, **_: [np.abs(x - t) - beta])
def _(d):
    return call(*same_shape(d), reduction=d.pick(REDUCTIONS), beta=d.pick([1.0, 0.3, 0]))


for name, facts in [("mse_loss", {}), ("l1_loss", {"kinks": lambda x, t, **_: [x - t]}),
                    ("huber_loss", {"kinks": lambda x, t, **_: [np.abs(x - t) - 1]})]:
    @case(f"nn.functional.{name}", **facts, **here_and_there(lambda lib, x, t, *, name=name, **options: getattr(lib.nn.functional, name)(
        x, t, weight=lib.arange(1, 1 + len(x), dtype=x.dtype, device=x.device), **options)))
    def _(d):
        return call(d.array((3,)), d.array((3,)), reduction=d.pick(REDUCTIONS))


# -- yes or no ---------------------------------------------------------------------------------------------------------

def bce(x, t):
    return -t * np.log(x) - (1 - t) * np.log(1 - x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@case("nn.functional.binary_cross_entropy", numpy=reduced(bce), analytic=True)
def _(d):
    return call(*same_shape(d, 0.05, 0.95, 0.05, 0.95), reduction=d.pick(REDUCTIONS))


@case("nn.functional.binary_cross_entropy_with_logits", numpy=reduced(lambda x, t: bce(sigmoid(x), t)), analytic=True)
def _(d):
    return call(*same_shape(d, t_low=0, t_high=1), reduction=d.pick(REDUCTIONS))


for name, low, high in [("binary_cross_entropy", 0.05, 0.95), ("binary_cross_entropy_with_logits", -2, 2),
                        ("multilabel_soft_margin_loss", -2, 2)]:
    @case(f"nn.functional.{name}", **weighted(name))
    def _(d, low=low, high=high):
        shape = (*d.shape(max_dims=2), 4)
        return call(d.array(shape, low, high), d.array(shape, 0.05, 0.95), reduction=d.pick(REDUCTIONS))


@case("nn.functional.binary_cross_entropy_with_logits", **here_and_there(lambda lib, x, t, *, reduction: lib.nn.functional.
      binary_cross_entropy_with_logits(x, t, pos_weight=lib.tensor(WEIGHT, dtype=x.dtype, device=x.device), reduction=reduction)))
def _(d):
    return call(d.array((3, 4)), d.array((3, 4), 0, 1), reduction=d.pick(REDUCTIONS))


@case("nn.functional.multilabel_soft_margin_loss", numpy=lambda x, t, reduction: reduce(bce(sigmoid(x), t).mean(-1), reduction))
def _(d):
    return call(*same_shape(d, min_dims=1, t_low=0, t_high=1), reduction=d.pick(REDUCTIONS))


def sigmoid_focal(x, t, alpha=0.25, gamma=2, reduction="none"):
    p = sigmoid(x)
    loss = bce(p, t) * (p * (1 - t) + (1 - p) * t) ** gamma
    return reduce(loss * (alpha * t + (1 - alpha) * (1 - t)) if alpha >= 0 else loss, reduction)


@case("nn.functional.sigmoid_focal_loss", numpy=sigmoid_focal, torch=None)
def _(d):
    x, t = same_shape(d, t_low=0, t_high=1)
    return call(x, np.round(t), d.pick([0.25, -1, 0.75]), d.pick([2, 0.5, 0]), d.pick(REDUCTIONS))


# -- likelihoods -------------------------------------------------------------------------------------------------------

def quiet(f):
    """A function without its warnings."""
    def silent(*args, **options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return f(*args, **options)
    return silent


@case("nn.functional.kl_div", op=quiet(lambda *a, **o: ours().nn.functional.kl_div(*a, **o)),
      torch=quiet(lambda *a, **o: theirs().nn.functional.kl_div(*a, **o)),
      numpy=lambda x, t, reduction: reduce(t * (np.log(t) - x), reduction) if reduction != "batchmean" else
      (t * (np.log(t) - x)).sum() / (len(x) if x.ndim else 1))
def _(d):
    return call(*same_shape(d, -3, 0, 0.05, 1), reduction=d.pick([*REDUCTIONS, "batchmean"]))


@case("nn.functional.kl_div", numpy=reduced(lambda x, t, log_target: np.exp(t) * (t - x)), analytic=True)
def _(d):
    return call(*same_shape(d, -3, 0, -3, 0), reduction=d.pick(["sum", "none"]), log_target=True)


@case("nn.functional.poisson_nll_loss", numpy=reduced(lambda x, t: np.exp(x) - t * x), analytic=True)
def _(d):
    return call(*same_shape(d, t_low=0, t_high=9), reduction=d.pick(REDUCTIONS))


def stirling(t):
    t = np.maximum(t, 1)
    return np.where(t > 1, t * np.log(t) - t + np.log(2 * np.pi * t) / 2, 0)


@case("nn.functional.poisson_nll_loss", kinks=lambda x, t, **_: [t - 1],
      numpy=reduced(lambda x, t, log_input, full, eps=1e-8: x - t * np.log(x + eps) + full * stirling(t)))
def _(d):
    return call(*same_shape(d, 0.1, 5, t_low=0, t_high=9), reduction=d.pick(REDUCTIONS), log_input=False, full=d.bool(),
                eps=d.pick([1e-8, 0.1]))


def gaussian(x, t, var, full=False, eps=1e-6, reduction="mean"):
    var = np.maximum(var if np.ndim(var) in (0, x.ndim) else var[..., None], eps)
    return reduce((np.log(var) + (x - t) ** 2 / var) / 2 + full * np.log(2 * np.pi) / 2, reduction)


@case("nn.functional.gaussian_nll_loss", numpy=gaussian)
def _(d):
    x, t = same_shape(d, min_dims=1)
    var = d.pick([d.array(x.shape, 0.1, 2), d.array(x.shape[:-1], 0.1, 2), d.array((*x.shape[:-1], 1), 0.1, 2)])
    return call(x, t, var, full=d.bool(), reduction=d.pick(REDUCTIONS))


@case("nn.functional.gaussian_nll_loss", numpy=gaussian)
def _(d):
    return call(*same_shape(d), d.pick([0.5, 1e-9]), reduction="none")


# -- margins -----------------------------------------------------------------------------------------------------------

def signs(d, shape):
    return np.where(d.bools(shape), 1, -1)


@case("nn.functional.soft_margin_loss", numpy=reduced(lambda x, t: np.log(1 + np.exp(-t * x))), analytic=True, torch=None)
def _(d):                                             # PyTorch's has no derivative with respect to the target
    return call(*same_shape(d), reduction=d.pick(REDUCTIONS))


@case("nn.functional.soft_margin_loss")
def _(d):
    x = d.array()
    return call(x, signs(d, x.shape), reduction=d.pick(REDUCTIONS))


@case("nn.functional.hinge_embedding_loss", numpy=reduced(lambda x, t, margin=1.0: np.where(t == 1, x, np.maximum(0, margin - x))),
      kinks=lambda x, t, margin=1.0, **_: [x - margin])
def _(d):
    x = d.array()
    return call(x, signs(d, x.shape), margin=d.pick([1.0, 0.5]), reduction=d.pick(REDUCTIONS))


@case("nn.functional.margin_ranking_loss", kinks=lambda x, y, t, margin=0.0, **_: [margin - t * (x - y)],
      numpy=lambda x, y, t, margin=0.0, reduction="mean": reduce(np.maximum(0, margin - t * (x - y)), reduction))
def _(d):
    x, y = same_shape(d)
    return call(x, y, signs(d, x.shape), margin=d.pick([0.0, 0.5]), reduction=d.pick(REDUCTIONS))


# -- embeddings --------------------------------------------------------------------------------------------------------

def cosine(x, y):
    return (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))


@case("nn.functional.cosine_embedding_loss", kinks=lambda x, y, t, margin=0.0, **_: [cosine(x, y) - margin],
      numpy=lambda x, y, t, margin=0.0, reduction="mean": reduce(np.where(t == 1, 1 - cosine(x, y), np.maximum(0, cosine(x, y) - margin)),
                                                                 reduction))
def _(d):
    shape = d.shape(min_dims=1, max_dims=2, min_side=2)
    return call(d.array(shape, 0.3, 2), d.array(shape), signs(d, shape[:-1]), margin=d.pick([0.0, 0.5]), reduction=d.pick(REDUCTIONS))


def distance(x, y, p=2, eps=1e-6):
    return (np.abs(x - y + eps) ** p).sum(-1) ** (1 / p)


def triplet_parts(a, p, n, margin=1.0, power=2, eps=1e-6, swap=False):
    near, far, other = distance(a, p, power, eps), distance(a, n, power, eps), distance(p, n, power, eps)
    return near, far, other, near - (np.minimum(far, other) if swap else far) + margin


@case("nn.functional.triplet_margin_loss", kinks=lambda a, p, n, m=1.0, power=2, eps=1e-6, swap=False, **_:
      [*triplet_parts(a, p, n, m, power, eps, swap)[3:], np.subtract(*triplet_parts(a, p, n, m, power, eps)[1:3]), a - p + eps, a - n + eps,
       p - n + eps],
      numpy=lambda a, p, n, m=1.0, power=2, eps=1e-6, swap=False, reduction="mean":
      reduce(np.maximum(triplet_parts(a, p, n, m, power, eps, swap)[3], 0), reduction))
def _(d):
    shape = d.shape(min_dims=1, max_dims=2)
    return call(*(d.array(shape) for _ in range(3)), d.pick([1.0, 0.5]), d.pick([2, 1, 3]), d.pick([1e-6, 0.1]), d.bool(),
                reduction=d.pick(REDUCTIONS))


@case("nn.functional.triplet_margin_with_distance_loss", kinks=lambda a, p, n, **o: [
      ((a - p) ** 2).sum(-1) - ((a - n) ** 2).sum(-1) + 1, ((p - n) ** 2).sum(-1) - ((a - n) ** 2).sum(-1),
      ((a - p) ** 2).sum(-1) - ((p - n) ** 2).sum(-1) + 1])
def _(d):
    shape = d.shape(min_dims=1, max_dims=2)
    return call(*(d.array(shape) for _ in range(3)), distance_function=lambda x, y: ((x - y) ** 2).sum(-1), swap=d.bool(),
                reduction=d.pick(REDUCTIONS))


# -- alignments --------------------------------------------------------------------------------------------------------

def ctc(log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean", **_):
    """The definition: the sum over all sequences of outputs that become the targets."""
    from itertools import groupby, product
    losses = []
    for n, (steps, count) in enumerate(zip(input_lengths, target_lengths)):
        wanted = tuple(targets[n, :count])
        total = sum(np.exp(sum(log_probs[t, n, c] for t, c in enumerate(path))) for path in product(range(log_probs.shape[2]), repeat=steps)
                    if tuple(c for c, _ in groupby(path) if c != blank) == wanted)
        losses.append(-np.log(total) if total else np.inf)
    losses = np.array(losses)
    return (losses / np.maximum(target_lengths, 1)).mean() if reduction == "mean" else reduce(losses, reduction)


def sequences(d, classes=3):
    """log_probs, targets and lengths that fit: with enough steps for blanks between equal labels."""
    counts = d.ints((d.integer(1, 3),), 0, 2)
    targets = d.ints((len(counts), 2), 1, classes - 1)
    times = np.maximum(counts * 2 - 1, 1) + d.ints(counts.shape, 0, 1)
    return d.array((int(times.max()) + d.integer(0, 1), len(counts), classes), -2, 0), targets, times, counts


@case("nn.functional.ctc_loss", numpy=ctc, torch=None)
def _(d):
    return call(*sequences(d), reduction=d.pick(REDUCTIONS))


def ctc_of_logits(lib, x, targets, times, counts, **options):
    """PyTorch's gradient is right only behind a log_softmax: by log_probs alone it is that of logits."""
    return lib.nn.functional.ctc_loss(lib.log_softmax(x, -1), targets, times, counts, **options)


@case("nn.functional.ctc_loss", **here_and_there(ctc_of_logits))
def _(d):
    x, targets, times, counts = sequences(d, 4)
    if d.bool():                                      # one behind the other
        targets = np.concatenate([row[:n] for row, n in zip(targets, counts)])
    blank = 0
    if d.bool():
        targets, blank = targets - 1, 3
    return call(x, targets, times, counts, blank=blank, reduction=d.pick(REDUCTIONS), zero_infinity=d.bool())


