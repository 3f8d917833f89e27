"""Cases of `ops/distance.py` and `ops/bilinear.py`."""
import numpy as np
from registry import call, case


@case("nn.functional.cosine_similarity", numpy=lambda x, y, dim: (x * y).sum(dim) / np.sqrt((x * x).sum(dim) * (y * y).sum(dim)))
def _(d):
    shape = d.shape(min_dims=1)
    return call(d.array(shape, 0.2, 2), d.array(shape, -2, -0.2), dim=d.dim(len(shape)))


@case("nn.functional.cosine_similarity")
def _(d):
    return call(d.array((3, 1, 2), 0.2, 2), d.array((4, 2), 0.2, 2), dim=-1)


@case("nn.functional.cosine_similarity", torch=None, kinks=lambda x, y, dim, eps: [np.sqrt((z * z).sum(dim)) - eps for z in (x, y)],
      numpy=lambda x, y, dim, eps: (x * y).sum(dim) / np.prod([np.maximum(np.sqrt((z * z).sum(dim)), eps) for z in (x, y)], axis=0))
def _(d):                                             # PyTorch's derivative is wrong below eps: it leaves the maximum out
    shape = d.shape(min_dims=1)
    return call(d.array(shape), d.array(shape), dim=-1, eps=1.0)


def p_norm(x, p):
    x = np.abs(x)
    return x.max(-1) if p == np.inf else (x ** p).sum(-1) ** (1 / p)


@case("nn.functional.pairwise_distance", numpy=lambda x, y, p, eps=1e-6, keepdim=False: p_norm(x - y + eps, p)[(..., *[None] * keepdim)],
      kinks=lambda x, y, p, eps=1e-6, **_: [x - y + eps] + ([np.diff(np.sort(np.abs(x - y + eps)), axis=-1)] if p == np.inf else []))
def _(d):
    shape = d.shape(min_dims=1, max_dims=2)
    return call(d.array(shape), d.array(d.pick([shape, shape[-1:]])), d.pick([2, 1, 3.0, np.inf]), eps=d.pick([1e-6, 0.1]),
                keepdim=d.bool())


def all_pairs(x, y, p=2.0, **_):
    return p_norm(x[..., :, None, :] - y[..., None, :, :], p)


def apart(x, y, p=2.0, **_):
    d = np.abs(x[..., :, None, :] - y[..., None, :, :])
    return [d, np.diff(np.sort(d), axis=-1)] if p == np.inf else [d]


MODES = ["use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"]


@case("cdist", numpy=all_pairs, kinks=apart)
def _(d):
    m, batch = d.integer(1, 3), d.shape(max_dims=1)
    x, y = d.array((*batch, d.integer(1, 3), m)), d.array((*d.pick([batch, ()]), d.integer(1, 3), m))
    return call(x, y, p=d.pick([1.0, 2.0, 3.0, np.inf, 1.5]))


@case("cdist", numpy=all_pairs, kinks=apart)
def _(d):
    m = d.integer(1, 3)
    return call(d.array((d.integer(1, 30), m)), d.array((d.integer(1, 3), m)), compute_mode=d.pick(MODES))


@case("nn.functional.pdist", numpy=lambda x, p: all_pairs(x, x, p)[np.triu_indices(len(x), 1)],
      kinks=lambda x, p: [np.array([v for i in range(len(x)) for j in range(i) for part in apart(x[i:i + 1], x[j:j + 1],
                                                                                                 p) for v in part.ravel()])])
def _(d):
    return call(d.array((d.integer(1, 4), d.integer(1, 3))), p=d.pick([1.0, 2.0, 3.0, np.inf]))


@case("nn.functional.bilinear", numpy=lambda a, b, w, bias=None: np.einsum("...i,oij,...j->...o", a, w, b) + (0 if bias is None else bias),
      analytic=True)
def _(d):
    batch, (i, j, o) = d.shape(max_dims=2), (d.integer(1, 3) for _ in range(3))
    return call(d.array((*batch, i)), d.array((*batch, j)), d.array((o, i, j)), d.pick([None, d.array((o,))]))
