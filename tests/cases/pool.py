"""Cases of `ops/pool`."""
import itertools

import numpy as np
from registry import call, case

import tinygrad_ed as tg


def numbers(value, n):
    """One number per spatial dimension."""
    return (value,) * n if np.isscalar(value) else tuple(value) * (n if len(value) == 1 else 1)


def steps(m, k, s, p, d, ceil_mode):
    """How many windows lie over m inputs."""
    count = -(-(m + 2 * p - d * (k - 1) - 1) // s) + 1 if ceil_mode else (m + 2 * p - d * (k - 1) - 1) // s + 1
    return count - (ceil_mode and (count - 1) * s >= m + p)


def pooled(x, kernel, stride, padding, dilation, ceil_mode, reduce):
    """reduce(elements of a window (planes, taps), bounds) at every output, in loops."""
    n = len(kernel)
    planes = x.reshape(-1, *x.shape[-n:])
    outputs = [steps(*sizes, ceil_mode) for sizes in zip(x.shape[-n:], kernel, stride, padding, dilation)]
    y = np.zeros((len(planes), *outputs), x.dtype)
    for place in itertools.product(*map(range, outputs)):
        starts = [i * s - p for i, s, p in zip(place, stride, padding)]
        taps = [a for a in itertools.product(*[range(b, b + k * d, d) for b, k, d in zip(starts, kernel, dilation)])
                if all(0 <= i < m for i, m in zip(a, planes.shape[1:]))]
        y[(slice(None), *place)] = reduce(np.stack([planes[(slice(None), *a)] for a in taps], 1), starts)
    return y.reshape(*x.shape[:-n], *outputs)


def largest(n):
    def reference(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        kernel = numbers(kernel_size, n)
        return pooled(x, kernel, numbers(kernel if stride is None else stride, n), numbers(padding, n), numbers(dilation, n), ceil_mode,
                      lambda seen, _: seen.max(1))
    return reference


def means(n):
    def reference(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
        kernel, padding = numbers(kernel_size, n), numbers(padding, n)

        def mean(seen, starts):
            ends = [min(b + k, m + p) for b, k, m, p in zip(starts, kernel, x.shape[-n:], padding)]
            whole = np.prod([e - b for b, e in zip(starts, ends)])
            return seen.sum(1) / (divisor_override or (whole if count_include_pad else seen.shape[1]))
        return pooled(x, kernel, numbers(kernel if stride is None else stride, n), padding, (1,) * n, ceil_mode, mean)
    return reference


def adaptive(n, reduce):
    def reference(x, output_size):
        sizes = x.shape[-n:]
        outputs = [m if want is None else want for m, want in zip(sizes, (output_size,) * n if output_size is None else numbers(output_size, n))]
        y = np.zeros((*x.shape[:-n], *outputs), x.dtype)
        for place in itertools.product(*map(range, outputs)):
            window = tuple(slice(i * m // o, -(-(i + 1) * m // o)) for i, m, o in zip(place, sizes, outputs))
            y[(..., *place)] = reduce(x[(..., *window)].reshape(*x.shape[:-n], -1), -1)
        return y
    return reference


def distinct(d, shape):
    """Numbers in [-1, 1] no two of which are close: the largest of them stays the largest under small steps."""
    size = int(np.prod(shape))
    return np.array(d.permutation(size)).reshape(shape) / max(1, size / 2) - 1


def image(d, n, low=1, high=5):
    """The shape of an image, with or without a batch."""
    return ((d.integer(1, 2),) if d.bool() else ()) + (d.integer(1, 2), *[d.integer(low, high if n < 3 else 3) for _ in range(n)])


def window(d, shape, n, dilated=False):
    """kernel_size, stride, padding and dilation that fit into an image."""
    kernel = tuple(d.integer(1, min(3, m)) for m in shape[-n:])
    padding = tuple(d.integer(0, k // 2) for k in kernel)
    dilation = tuple(d.integer(1, 2) if dilated and 2 * (k - 1) + 1 <= m + 2 * p else 1 for k, m, p in zip(kernel, shape[-n:], padding))
    stride = d.pick([None, d.integer(1, 3), tuple(d.integer(1, 3) for _ in range(n))])
    return kernel, stride, padding, dilation


FLAT = np.ones(3)
BAD = {n: (call(np.ones((1, 1, *[3] * n)), 4), call(np.ones((1, 1, *[3] * n)), 0), call(np.ones((1, 1, *[3] * n)), 2, 0),
           call(np.ones((1, 1, *[3] * n)), 2, padding=2), call(np.ones((1, 1, *[3] * n)), 2, padding=-1), call(FLAT, 2),
           call(np.ones((1, 1, *[3] * n)), (2,) * (n + 1))) for n in (1, 2, 3)}


def pooling(n):
    """Calls in n dimensions."""
    @case(f"nn.functional.max_pool{n}d", numpy=largest(n), bad=BAD[n])
    def _(d):
        shape = image(d, n)
        return call(distinct(d, shape), *window(d, shape, n, dilated=True), ceil_mode=d.bool())

    @case(f"nn.functional.max_pool{n}d")
    def _(d):
        shape = image(d, n)
        return call(distinct(d, shape), *window(d, shape, n, dilated=True), d.bool(), return_indices=True)

    @case(f"nn.functional.max_pool{n}d", order=0)     # ties: the first place is given
    def _(d):
        shape = image(d, n)
        return call(d.ints(shape, -2, 2) * 1.0, *window(d, shape, n, dilated=True), d.bool(), return_indices=True)

    @case(f"nn.functional.avg_pool{n}d", numpy=means(n), analytic=True, bad=BAD[n])
    def _(d):
        shape = image(d, n)
        kernel, stride, padding, _ = window(d, shape, n)
        options = {"divisor_override": d.integer(1, 5)} if n > 1 and d.integer(0, 3) == 0 else {}
        return call(d.array(shape), kernel, stride, padding, d.bool(), d.bool(), **options)

    @case(f"nn.functional.lp_pool{n}d", bad=BAD[n][:1] and (call(np.ones((1, 1, *[3] * n)), 2, 4), call(FLAT, 2, 2)))
    def _(d):
        shape = image(d, n)
        kernel, stride, _, _ = window(d, shape, n)
        single = (lambda v: v[0] if n == 1 and isinstance(v, tuple) else v)
        return call(d.array(shape, 0.3, 2), d.pick([1.0, 2.0, 3.0, 1.5]), single(kernel), single(stride), d.bool())

    wrong = (call(np.ones((1, 1, *[3] * n)), (2,) * (n + 1)), call(np.ones((1, 1, *[3] * n)), -1), call(FLAT, 2))

    @case(f"nn.functional.adaptive_avg_pool{n}d", numpy=adaptive(n, np.mean), analytic=True, bad=wrong)
    def _(d):
        shape = image(d, n)
        return call(d.array(shape), sizes_for(d, shape, n))

    @case(f"nn.functional.adaptive_max_pool{n}d", numpy=adaptive(n, np.max), bad=(*wrong, call(np.ones((1, 1, *[0] * n)), 1)))
    def _(d):
        shape = image(d, n)
        return call(distinct(d, shape), sizes_for(d, shape, n))

    @case(f"nn.functional.adaptive_max_pool{n}d")
    def _(d):
        shape = image(d, n)
        return call(distinct(d, shape), sizes_for(d, shape, n), return_indices=True)

    @case(f"nn.functional.adaptive_max_pool{n}d", order=0)     # ties: the first place is given
    def _(d):
        shape = image(d, n)
        return call(d.ints(shape, -2, 2) * 1.0, sizes_for(d, shape, n), return_indices=True)

    @case(f"nn.functional.max_unpool{n}d", bad=unpool_errors(n))
    def _(d):
        kernel, stride = d.integer(1, 2), 2
        shape = image(d, n, 2)
        y, indices = getattr(tg.nn.functional, f"max_pool{n}d")(tg.tensor(distinct(d, shape)), kernel, stride, return_indices=True)
        return call(y.numpy(), indices.numpy(), kernel, stride, 0, shape[-n:] if len(shape) < n + 2 or d.bool() else shape)


def unpool_errors(n):
    ones, zeros = np.ones((1, 1, *[2] * n)), np.zeros((1, 1, *[2] * n), int)
    return (call(ones, zeros[..., :1], 2), call(ones, zeros + 4 ** n, 2), call(ones, zeros, 2, output_size=(6,) * n), call(ones, zeros.astype("int32"), 2))


def sizes_for(d, shape, n):
    """An output size: one number, or several with or without None."""
    if n == 1:
        return d.integer(1, 6)
    several = tuple(d.integer(1, 6 if n < 3 else 3) for _ in range(n))
    return d.pick([d.integer(1, 3), several, (None, *several[1:]), tuple(max(1, m // 2) for m in shape[-n:])])


for n in (1, 2, 3):
    pooling(n)


def samples(d, shape):
    """Numbers in (0, 1) whose sums with and products by small fractions are not close to integers, where windows jump."""
    return np.array([d.pick([0.1234, 0.3711, 0.6137, 0.8719]) for _ in range(int(np.prod(shape)))]).reshape(shape)


def fractional(n):
    """With the random numbers given; drawn ones are tried in tests/test_pool.py."""
    ones = np.ones((1, 1, *[4] * n))

    def ours(x, kernel_size, samples, **sizes):
        return getattr(tg.nn.functional, f"fractional_max_pool{n}d")(x, kernel_size, **sizes, _random_samples=samples.detach())

    def theirs(x, kernel_size, samples, **sizes):
        import torch
        return getattr(torch.nn.functional, f"fractional_max_pool{n}d")(x, kernel_size, **sizes, _random_samples=samples.detach())

    half = np.full((1, 1, n), 0.5)

    @case(f"nn.functional.fractional_max_pool{n}d", op=ours, torch=theirs,
          bad=(call(ones, 2, half, output_size=4), call(ones, 2, half), call(ones, 5, half, output_size=1), call(ones[0, 0], 2, half, output_size=1)))
    def _(d):
        shape = (d.integer(1, 2), d.integer(1, 2), *[d.integer(4, 5) for _ in range(n)])
        kernel = tuple(d.integer(1, 2) for _ in range(n))
        sizes = {"output_size": tuple(d.integer(1, m - k + 3 - n) for m, k in zip(shape[2:], kernel))} if d.bool() else {"output_ratio": (0.5,) * n}
        return call(distinct(d, shape), kernel, samples(d, (*shape[:2], n)), **sizes, return_indices=d.bool())


for n in (2, 3):
    fractional(n)
