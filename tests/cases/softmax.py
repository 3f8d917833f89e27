"""Cases of `ops/softmax.py`."""
import numpy as np
from registry import call, case

from .reduce import OUTSIDE, TWICE


def normalized(x, dim):
    """The softmax by its formula."""
    e = np.exp(x)
    return e / e.sum(axis=dim, keepdims=True) if np.ndim(x) else e / e


for name, numpy in [("softmax", normalized), ("log_softmax", lambda x, dim: np.log(normalized(x, dim)))]:
    @case(name, numpy=numpy, analytic=True, bad=(*OUTSIDE, call(np.arange(3), 0)))
    def _(d):
        x = d.array(d.shape(min_side=0), -4, 4)
        return call(x, d.dim(x.ndim))

    @case(name, numpy=lambda x, dim, f=numpy: f(x - 1e3 * np.round(x / 1e3), dim))
    def _(d):
        x = d.array((3, 4), -4, 4) + d.pick([-1e3, 1e3])
        return call(x, d.dim(2))


@case("logsumexp", numpy=lambda x, dim, keepdim=False: np.log(np.sum(np.exp(x), axis=dim, keepdims=keepdim)), analytic=True,
      bad=OUTSIDE + TWICE)
def _(d):
    x = d.array(d.shape(), -4, 4)
    return call(x, d.dims(x.ndim, none=False), d.bool())
