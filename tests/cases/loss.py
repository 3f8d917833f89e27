"""Cases of `ops/loss.py`."""
import numpy as np
from registry import call, case

REDUCTIONS = ["mean", "sum", "none"]
WEIGHT = [0.5, 1.5, 0.25, 2.0]


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
    return call(d.array(shape), classes(d, 4, (shape[0], *shape[2:])), reduction=d.pick(REDUCTIONS), label_smoothing=d.pick([0.0, 0.1, 1.0]))


@case("nn.functional.cross_entropy")
def _(d):
    shape = d.pick([(3,), (2, 3), (2, 3, 2)])
    return call(d.array(shape), d.array(shape, 0, 1), reduction=d.pick(REDUCTIONS), label_smoothing=d.pick([0.0, 0.2]))


def with_weight(module, tensor):
    """The weighted loss, whose weight is no argument since it has no derivative."""
    def loss(x, target, **options):
        return module().nn.functional.cross_entropy(x, target, tensor(module(), x), **options)
    return loss


def ours():
    import tinygrad_ed
    return tinygrad_ed


def theirs():
    import torch
    return torch


@case("nn.functional.cross_entropy", op=with_weight(ours, lambda tg, x: tg.tensor(WEIGHT, dtype=x.dtype)),
      torch=with_weight(theirs, lambda torch, x: torch.tensor(WEIGHT, dtype=x.dtype)))
def _(d):
    n = d.integer(1, 4)
    return call(d.array((n, 4)), classes(d, 4, (n,)), reduction=d.pick(REDUCTIONS), label_smoothing=d.pick([0.0, 0.1]))


@case("nn.functional.nll_loss", numpy=nll)
def _(d):
    n, c = d.integer(1, 4), d.integer(2, 4)
    return call(d.array((n, c)), classes(d, c, (n,)), reduction=d.pick(REDUCTIONS))


@case("nn.functional.nll_loss")
def _(d):
    return call(d.array((2, 3, 2, 2)), classes(d, 3, (2, 2, 2)), ignore_index=2, reduction=d.pick(["sum", "none"]))


def reduced(f):
    """A function of the difference, element by element, and then reduced."""
    def loss(x, t, reduction="mean"):
        y = f(x - t)
        return y if reduction == "none" else y.sum() if reduction == "sum" else y.mean()
    return loss


@case("nn.functional.mse_loss", numpy=reduced(lambda z: z * z), analytic=True)
def _(d):
    shape = d.shape()
    return call(d.array(shape), d.array(shape), reduction=d.pick(REDUCTIONS))


@case("nn.functional.l1_loss", numpy=reduced(np.abs), kinks=lambda x, t, **_: [x - t])
def _(d):
    shape = d.shape()
    return call(d.array(shape), d.array(shape), reduction=d.pick(REDUCTIONS))
