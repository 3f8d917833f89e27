"""Cases of `ops/dropout.py`. Each call draws from a seeded generator of its own, so that finite differences see one mask."""
import numpy as np
from registry import call, case

import tinygrad_ed as tg
import tinygrad_ed.nn.functional as F


def seeded(function, seed, *args, **options):
    """The function with a fixed stream of random numbers."""
    return function(*args, generator=tg.Generator().manual_seed(seed), **options)


def dropping(name, min_dims=0, max_dims=3, fixed=None, **options):
    """A function of (input, p) that drops in training, and in evaluation returns its input."""
    function = getattr(F, name)

    @case(f"nn.functional.{name}", torch=None, op=lambda x, p, seed: seeded(function, seed, x, p, training=True, **options),
          bad=(call(np.ones((2, 2)), -0.1, 0), call(np.ones((2, 2)), 1.5, 0), call(np.arange(4).reshape(2, 2), 0.5, 0)))
    def _(d):
        return call(d.array(fixed(d) if fixed else d.shape(min_dims, max_dims)), d.pick([0.0, 0.1, 0.5, 0.9, 1.0]), d.integer(0, 9))

    @case(f"nn.functional.{name}", numpy=lambda x, **o: x, torch=None if name == "stochastic_depth" else "same")
    def _(d):
        return call(d.array(fixed(d) if fixed else d.shape(min_dims, max_dims)), p=0.3, **options, training=False)


def sides(d, n):
    """A shape of n dimensions."""
    return tuple(d.integer(1, 4) for _ in range(n))


dropping("dropout")
dropping("dropout1d", fixed=lambda d: sides(d, d.pick([2, 3])))
dropping("dropout2d", fixed=lambda d: sides(d, 4))
dropping("dropout3d", fixed=lambda d: sides(d, d.pick([4, 5])))
dropping("alpha_dropout")
dropping("feature_alpha_dropout", 2, 4)
dropping("stochastic_depth", 1, 3, mode="row")


@case("nn.functional.stochastic_depth", torch=None, op=lambda x, p, seed: seeded(F.stochastic_depth, seed, x, p, "batch"),
      bad=(call(np.ones(2), 2.0, 0),))
def _(d):
    return call(d.array(), d.pick([0.1, 0.5]), d.integer(0, 9))
