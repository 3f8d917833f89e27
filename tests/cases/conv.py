"""Cases of `ops/conv`: convolutions, their transposes, and the windows they are made of."""
import itertools
import warnings

import numpy as np
from registry import call, case


def numbers(value, n):
    """One number per spatial dimension."""
    return (value,) * n if np.isscalar(value) else tuple(value) * (n if len(value) == 1 else 1)


def padded(x, before, after):
    """x with zeros around its spatial dimensions."""
    return np.pad(x, [(0, 0)] * (x.ndim - len(before)) + [*zip(before, after)])


def correlate(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    """The definition of convolution: at every output, the sum of weights times inputs over channels and taps."""
    n = w.ndim - 2
    stride, dilation, kernel = numbers(stride, n), numbers(dilation, n), w.shape[2:]
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation)]
        before, after = [t // 2 for t in total], [t - t // 2 for t in total]
    else:
        before = after = numbers(0 if padding == "valid" else padding, n)
    batch = padded(x if x.ndim == n + 2 else x[None], before, after)
    outputs = [(m - d * (k - 1) - 1) // s + 1 for m, k, s, d in zip(batch.shape[2:], kernel, stride, dilation)]
    y = np.zeros((len(batch), len(w), *outputs), np.result_type(x, w))
    filters, channels = len(w) // groups, w.shape[1]
    for place in itertools.product(*map(range, outputs)):
        for tap in itertools.product(*map(range, kernel)):
            seen = batch[(..., *[i * s + k * d for i, s, k, d in zip(place, stride, tap, dilation)])]
            for o in range(len(w)):
                group = slice(o // filters * channels, (o // filters + 1) * channels)
                y[(slice(None), o, *place)] += seen[:, group] @ w[(o, slice(None), *tap)]
    y = y if b is None else y + b.reshape(-1, *[1] * n)
    return y if x.ndim == n + 2 else y[0]


def spread(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The definition of transposed convolution: every input adds its weighted window to the output."""
    n = w.ndim - 2
    stride, padding, more, dilation = (numbers(v, n) for v in (stride, padding, output_padding, dilation))
    batch = x if x.ndim == n + 2 else x[None]
    sizes = [(m - 1) * s + d * (k - 1) + 1 + q for m, s, d, k, q in zip(batch.shape[2:], stride, dilation, w.shape[2:], more)]
    y = np.zeros((len(batch), w.shape[1] * groups, *sizes), np.result_type(x, w))
    channels, filters = len(w) // groups, w.shape[1]
    for place in itertools.product(*map(range, batch.shape[2:])):
        for tap in itertools.product(*map(range, w.shape[2:])):
            at = [i * s + k * d for i, s, k, d in zip(place, stride, tap, dilation)]
            for c in range(len(w)):
                group = slice(c // channels * filters, (c // channels + 1) * filters)
                y[(slice(None), group, *at)] += batch[(slice(None), c, *place)][:, None] * w[(c, slice(None), *tap)]
    y = y[(..., *[slice(p, m - p) for p, m in zip(padding, sizes)])]
    y = y if b is None else y + b.reshape(-1, *[1] * n)
    return y if x.ndim == n + 2 else y[0]


def windows(x, kernel_size, dilation=1, padding=0, stride=1):
    """The definition of unfold: a column for every window."""
    kernel, dilation, padding, stride = (numbers(v, 2) for v in (kernel_size, dilation, padding, stride))
    batch = padded(x if x.ndim == 4 else x[None], padding, padding)
    outputs = [(m - d * (k - 1) - 1) // s + 1 for m, k, s, d in zip(batch.shape[2:], kernel, stride, dilation)]
    columns = [batch[:, :, i * stride[0]:, j * stride[1]:][:, :, :dilation[0] * kernel[0]:dilation[0], :dilation[1] * kernel[1]:dilation[1]]
               .reshape(len(batch), -1) for i, j in itertools.product(*map(range, outputs))]
    y = np.stack(columns, axis=2)
    return y if x.ndim == 4 else y[0]


def geometry(d, n):
    """Kernel, stride, padding and dilation, each one number or several, and sizes that the kernel fits into."""
    def several(low, high):
        return tuple(d.integer(low, high) for _ in range(n)) if d.bool() else d.integer(low, high)
    kernel = tuple(d.integer(1, 3) for _ in range(n))
    stride, padding, dilation = several(1, 3), several(0, 2), several(1, 2)
    sizes = tuple(max(1, q * (k - 1) + 1 - 2 * p) + d.integer(0, 2 if n < 3 else 1)
                  for k, q, p in zip(kernel, numbers(dilation, n), numbers(padding, n)))
    return kernel, stride, padding, dilation, sizes


X, W = np.ones((1, 2, 4)), np.ones((2, 2, 3))
X2, W2 = np.ones((1, 2, 4, 4)), np.ones((2, 2, 3, 3))
BAD = {
    1: (call(X, np.ones((2, 3, 3))), call(X, np.ones((3, 1, 3)), groups=2), call(X, np.ones((2, 2, 5))), call(X, W, np.ones(3)), call(np.ones(4), W),
        call(X, W, stride=0), call(X, W, dilation=0), call(X, W, padding=-1), call(X, W, padding="half"), call(X, W, padding="same", stride=2),
        call(X.astype("float32").astype(int), W), call(X, np.ones((2, 2, 3, 1)))),
    2: (call(X2, np.ones((2, 1, 3, 3))), call(X2, W2, stride=(1, 1, 1)), call(X2, W2, None, 1, 0, 2), call(X2, W2, groups=3), call(X2[0, 0], W2)),
    3: (call(np.ones((1, 2, 3, 3, 3)), np.ones((1, 2, 4, 1, 1))), call(X2[:, :, 0], np.ones((2, 2, 1, 1, 1)))),
}
BAD_TRANSPOSED = {
    1: (call(X, np.ones((3, 2, 3))), call(X, W, np.ones(3)), call(X, W, output_padding=1), call(X, W, stride=2, output_padding=2), call(X, W, padding=3),
        call(X, W, groups=3), call(X, W, stride=0), call(np.ones(4), W)),
    2: (call(X2, W2, None, 1, 3), call(X2, W2, stride=(1, 1, 1)), call(X2[0, 0], W2)),
    3: (call(X2[:, :, 0], np.ones((2, 2, 1, 1, 1))),),
}


def in_torch(n):
    """PyTorch's convolution without its warning that an even kernel needs a padded copy."""
    def quiet(*args, **kwargs):
        import torch
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return getattr(torch.nn.functional, f"conv{n}d")(*args, **kwargs)
    return quiet


def convolution(n):
    """Calls in n dimensions: with and without batch, groups, a bias."""
    @case(f"nn.functional.conv{n}d", numpy=correlate, analytic=True, torch=in_torch(n), bad=BAD[n])
    def _(d):
        kernel, stride, padding, dilation, sizes = geometry(d, n)
        if d.integer(0, 4) == 0:
            stride, padding = (1, "same") if d.bool() else (stride, "valid")
            sizes = tuple(m + 2 * q * (k - 1) for m, q, k in zip(sizes, numbers(dilation, n), kernel))
        groups = d.integer(1, 2)
        channels, filters = groups * d.integer(1, 2), groups * d.integer(1, 2)
        x = d.array(((d.integer(1, 2),) if d.bool() else ()) + (channels, *sizes))
        w = d.array((filters, channels // groups, *kernel))
        return call(x, w, d.array((filters,)) if d.bool() else None, stride, padding, dilation, groups)

    @case(f"nn.functional.conv_transpose{n}d", numpy=spread, analytic=True, bad=BAD_TRANSPOSED[n])
    def _(d):
        kernel, stride, _, dilation, _ = geometry(d, n)
        sizes = tuple(d.integer(1, 3) for _ in range(n))
        more = tuple(d.integer(0, max(s, q) - 1) for s, q in zip(numbers(stride, n), numbers(dilation, n)))
        whole = [(m - 1) * s + q * (k - 1) + 1 + e for m, s, q, k, e in zip(sizes, numbers(stride, n), numbers(dilation, n), kernel, more)]
        padding = tuple(d.integer(0, min(2, (m - 1) // 2)) for m in whole)
        groups = d.integer(1, 2)
        channels, filters = groups * d.integer(1, 2), d.integer(1, 2)
        x = d.array(((d.integer(1, 2),) if d.bool() else ()) + (channels, *sizes))
        w = d.array((channels, filters, *kernel))
        return call(x, w, d.array((groups * filters,)) if d.bool() else None, stride, padding, more, groups, dilation)


for n in (1, 2, 3):
    convolution(n)


@case("nn.functional.conv2d")                         # no images, and no channels of their own: one of everything
def _(d):
    return call(d.array((d.integer(0, 1), 1, 3, 3)), d.array((1, 1, 2, 2)), d.array((1,)))


@case("nn.functional.conv2d", numpy=correlate)        # many enough channels to lie next to each other in memory, at every kind of step
def _(d):
    stride = d.pick([1, 2, (2, 1), (1, 3)])
    channels, groups = d.pick([(4, 1), (8, 1), (6, 2), (6, 6)])
    return call(d.array((2, channels, 7, 6)), d.array((6, channels // groups, 3, 2)), None, stride, d.integer(0, 2), 1, groups)


@case("nn.functional.conv2d", numpy=correlate)        # one tap at stride 1: a matrix product without windows, if there are many pixels
def _(d):
    side = d.pick([3, 9])
    return call(d.array((2, 4, side, side)), d.array((6, 2, 1, 1)), d.array((6,)), groups=2)


@case("nn.functional.unfold", numpy=windows, analytic=True,
      bad=(call(X2, 5), call(X2, 0), call(X2, 2, stride=0), call(X2, 2, padding=-1), call(X2, 2, dilation=0), call(X2[0, 0], 2), call(X2, (2, 2, 2))))
def _(d):
    kernel, stride, padding, dilation, sizes = geometry(d, 2)
    return call(d.array(((d.integer(1, 2),) if d.bool() else ()) + (d.integer(1, 2), *sizes)), kernel, dilation, padding, stride)


@case("nn.functional.fold", bad=(call(np.ones((1, 4, 3)), (2, 3), 2), call(np.ones((1, 5, 2)), (2, 3), 2), call(np.ones((1, 4, 2)), (2, 3), 4),
                                 call(np.ones(4), (2, 3), 2), call(np.ones((1, 1, 4, 2)), (2, 3), 2), call(np.ones((1, 4, 2)), (2, 3), 2, stride=0)))
def _(d):
    kernel, stride, padding, dilation, sizes = geometry(d, 2)
    count = np.prod([(m + 2 * p - q * (k - 1) - 1) // s + 1 for m, p, q, k, s in
                     zip(sizes, numbers(padding, 2), numbers(dilation, 2), kernel, numbers(stride, 2))])
    rows = d.integer(1, 2) * int(np.prod(kernel))
    return call(d.array(((d.integer(1, 2),) if d.bool() else ()) + (rows, int(count))), sizes, kernel, dilation, padding, stride)
