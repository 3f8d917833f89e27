"""Cases of `ops/embedding.py`."""
import numpy as np
from registry import call, case

W, I = np.arange(8.0).reshape(4, 2), np.array([0, 3])


def table(d):
    """A table of rows."""
    return d.array((d.integer(1, 5), d.integer(1, 3)))


@case("nn.functional.embedding", numpy=lambda i, w: w[i],
      bad=(call(np.array([4]), W), call(np.array([-1]), W), call(np.array([0.5]), W), call(np.array([True]), W), call(I, np.ones(3)),
           call(I, W, 4), call(I, W, -5)))
def _(d):
    w = table(d)
    return call(d.ints(d.shape(min_side=0), 0, len(w) - 1), w)


@case("nn.functional.embedding")
def _(d):
    return call(d.ints((40, 5), 0, 29), d.array((30, 100)))


def summed(mode):
    """The bags of rows of a matrix, reduced."""
    return {"sum": lambda a: a.sum(axis=0), "mean": lambda a: a.mean(axis=0), "max": lambda a: a.max(axis=0)}[mode]


def bags(i, w, offsets=None, mode="mean", per_sample_weights=None, include_last_offset=False, padding_idx=None):
    """The definition, a bag at a time."""
    factors = np.ones(i.shape) if per_sample_weights is None else per_sample_weights
    if i.ndim == 2:
        parts = [(a, f) for a, f in zip(i, factors)]
    else:
        ends = [*offsets[1:], *([] if include_last_offset else [len(i)])]
        parts = [(i[a:b], factors[a:b]) for a, b in zip(offsets, ends)]
    result = np.zeros((len(parts), w.shape[1]), w.dtype)
    for k, (a, f) in enumerate(parts):
        kept = np.ones(len(a), bool) if padding_idx is None else a != padding_idx % len(w)
        if kept.any():
            result[k] = summed(mode)(w[a[kept]] * f[kept, None])
    return result


def no_ties(i, w, *args, mode="mean", **options):
    """With mode="max", elements of a column must differ."""
    return [np.diff(np.sort(w, axis=0), axis=0)] if mode == "max" else []


ONE_BAG = np.array([0])
BAD = (call(np.array([4]), W, ONE_BAG), call(I, W), call(I, W, np.array([1])), call(I, W, np.array([0, 3])), call(I, W, ONE_BAG, mode="min"),
       call(I[None], W, ONE_BAG), call(I[None, None], W), call(I, W, ONE_BAG, mode="mean", per_sample_weights=np.ones(2)),
       call(I, W, ONE_BAG, mode="sum", per_sample_weights=np.ones(3)), call(I, W, ONE_BAG, mode="max", scale_grad_by_freq=True),
       call(I, np.ones(3), ONE_BAG))


@case("nn.functional.embedding_bag", numpy=bags, kinks=no_ties, bad=BAD)
def _(d):
    w = table(d)
    i = d.ints((d.integer(1, 3), d.integer(1, 4)), 0, len(w) - 1)
    return call(i, w, mode=d.pick(["sum", "mean", "max"]), **({"padding_idx": d.integer(-len(w), len(w) - 1)} if d.bool() else {}))


@case("nn.functional.embedding_bag", numpy=bags, kinks=no_ties)
def _(d):
    w = table(d)
    i = d.ints((d.integer(1, 6),), 0, len(w) - 1)
    last = d.bool()
    offsets = np.array([0, *sorted(d.integer(0, len(i)) for _ in range(d.integer(1, 3))), *[len(i)] * last])
    return call(i, w, offsets, mode=d.pick(["sum", "mean", "max"]), include_last_offset=last,
                **({"padding_idx": d.integer(0, len(w) - 1)} if d.bool() else {}))


@case("nn.functional.embedding_bag", numpy=bags)
def _(d):
    w = table(d)
    i = d.ints((d.integer(1, 3), d.integer(1, 4)), 0, len(w) - 1)
    return call(i, w, mode="sum", per_sample_weights=d.array(i.shape), **({"padding_idx": 0} if d.bool() else {}))
