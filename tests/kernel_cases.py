"""Cases of the fused kernels: for each name of the table how it is called, on drawn arrays, by the engine that is under test and by `plain`."""
import math
import warnings

import numpy as np
from hypothesis import strategies as st

from tinygrad_ed.backend.kernels import bodies
from tinygrad_ed.backend.kernels.window import Window


class Data:
    """Arrays of one dtype with drawn layouts, some of them with NaN and infinities."""

    def __init__(self, seed, dtype, special=False, layouts=("C",)):
        self.rng, self.dtype, self.special, self.layouts = np.random.default_rng(seed), np.dtype(dtype), special, layouts

    def array(self, *shape, low=None, high=None):
        x = self.rng.normal(0, 3, shape) if low is None else self.rng.uniform(low, high, shape)
        if self.special and x.size:
            where = self.rng.integers(0, x.size, 2)
            x.reshape(-1)[where] = self.rng.choice([np.nan, np.inf, -np.inf, -0.0] if low is None else [np.nan, low, high], 2)
        return self.laid_out(x.astype(self.dtype))

    def laid_out(self, x):
        layout = self.rng.choice(self.layouts)
        if x.ndim == 0:
            return x
        if layout == "F":
            return np.asfortranarray(x)
        if layout == "step":
            wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
            wide[..., ::2] = x
            return wide[..., ::2]
        if layout == "back":
            return x[::-1].copy()[::-1]
        return x

    def maybe(self, *shape):
        return self.array(*shape) if self.rng.random() < 0.7 else None

    def bool(self):
        return bool(self.rng.random() < 0.5)

    def flag(self):
        """A condition that an array holds, or None."""
        return np.array(self.bool()) if self.rng.random() < 0.6 else None


NUMBERS = {"softplus": (1.5, 4.0), "elu": (1.2, 1.1, 0.8), "huber_loss": (1.3,), "focal_logistic_loss": (0.3, 1.7)}
NUMBERS |= {name: [{"slope": 0.3, "low": -1.25, "high": 2.0, "limit": 0.75, "value": -1.5}[n] for n in formula.numbers.split()]
            for name, formula in bodies.FORMULAS.items()}
CASES = {}


def case(*names):
    """Register a function (there, back, data, shape) -> arrays, computed by one engine forward and by one on the way back."""
    def register(run):
        CASES.update(dict.fromkeys(names, run))
        return run
    return register


for _name in bodies.ACTIVATIONS:
    @case(_name)
    def _(there, back, d, shape, name=_name):
        x = d.array(*shape)
        return *getattr(there, name)(x, True, *NUMBERS.get(name, ())), getattr(there, name)(x, False, *NUMBERS.get(name, ()))[0]

for _name in bodies.FORMULAS:
    @case(_name)
    def _(there, back, d, shape, name=_name):
        return [getattr(there, name)(*[d.array(*shape) for _ in bodies.FORMULAS[name].arrays.split()], *NUMBERS[name])]

for _name in bodies.LOSSES:
    @case(_name)
    def _(there, back, d, shape, name=_name):
        limits = dict(low=0, high=1)
        x = d.array(*shape, **(limits if name == "binary_cross_entropy" else {}))
        t = d.array(*shape, **(limits if name in ("binary_cross_entropy", "focal_logistic_loss") else {}))
        results = [getattr(there, name)(x, t, 0.3, reduce, derive, *NUMBERS.get(name, ())) for reduce in (0, 1) for derive in (0, 1)]
        return [y for pair in results for y in pair if y is not None]


@case("layer_norm", "layer_norm_backward")
def _(there, back, d, shape):
    dims = d.rng.integers(1, len(shape) + 1)
    x, g, w = d.array(*shape), d.array(*shape), d.maybe(*shape[len(shape) - dims:])
    y, *saved = there.layer_norm(x, w, d.maybe(*shape[len(shape) - dims:]), dims, 1e-3)
    return y, *saved, *back.layer_norm_backward(g, x, w, *saved, dims, (True, True, True))


@case("rms_norm", "rms_norm_backward")
def _(there, back, d, shape):
    dims = d.rng.integers(1, len(shape) + 1)
    x, g, w = d.array(*shape), d.array(*shape), d.maybe(*shape[len(shape) - dims:])
    y, rstd = there.rms_norm(x, w, dims, 1e-3)
    return y, rstd, *back.rms_norm_backward(g, x, w, rstd, dims, (True, True))


@case("group_norm", "group_norm_backward")
def _(there, back, d, shape):
    groups = int(d.rng.integers(1, 4))
    shape = (shape[0], groups * 2, *shape[1:])
    x, g, w = d.array(*shape), d.array(*shape), d.maybe(shape[1])
    y, *saved = there.group_norm(x, w, d.maybe(shape[1]), groups, 1e-3)
    return y, *saved, *back.group_norm_backward(g, x, w, *saved, groups, (True, True, True))


@case("batch_norm", "batch_norm_backward")
def _(there, back, d, shape):
    shape = (2, *shape)
    x, g, w = d.array(*shape), d.array(*shape), d.maybe(shape[1])
    y, *saved = there.batch_norm(x, w, d.maybe(shape[1]), 1e-3)
    return y, *saved, *back.batch_norm_backward(g, x, w, *saved, 1e-3, (True, True, True))


@case("batch_norm_relu", "batch_norm_relu_backward")
def _(there, back, d, shape):
    shape = (int(d.rng.integers(2, 5)), *shape)
    x, g, w, b = d.array(*shape), d.array(*shape), d.maybe(shape[1]), d.maybe(shape[1])
    y, *saved = there.batch_norm_relu(x, w, b, 1e-3)
    return y, *saved, *back.batch_norm_relu_backward(g, x, w, b, *saved, 1e-3, (True, True, True))


@case("fixed_norm")
def _(there, back, d, shape):
    shape = (2, *shape)
    along = (shape[1], *[1] * (len(shape) - 2))
    return [there.fixed_norm(d.array(*shape), d.array(*along), d.array(*along), d.maybe(*along), d.bool())]


@case("glu", "glu_backward")
def _(there, back, d, shape):
    dim = int(d.rng.integers(0, len(shape)))
    x, g, dim = d.array(*shape[:dim], 2 * shape[dim], *shape[dim + 1:]), d.array(*shape), dim - len(shape) * d.bool()
    y, s = there.glu(x, dim)
    return y, s, back.glu_backward(g, y, s, dim)


@case("prelu", "prelu_backward")
def _(there, back, d, shape):
    shape = (2, *shape, 17) if d.bool() else shape
    x, g, w = d.array(*shape), d.array(*shape), d.array(shape[1] if len(shape) > 1 and d.bool() else 1)
    return there.prelu(x, w), *back.prelu_backward(g, x, w, (True, True))


@case("softmax", "softmax_backward", "log_softmax", "log_softmax_backward")
def _(there, back, d, shape):
    x, g, dim = d.array(*shape), d.array(*shape), int(d.rng.integers(0, len(shape)))
    y, z = there.softmax(x, dim), there.log_softmax(x, dim)
    return y, z, back.softmax_backward(g, y, dim), back.log_softmax_backward(g, z, dim)


@case("extreme", "length", "logsumexp", "mean", "total", "variance")
def _(there, back, d, shape):
    x, keepdim = d.array(*shape), d.bool()
    dims = tuple(i for i in range(len(shape)) if d.bool())
    return (there.total(x, dims, keepdim), there.mean(x, dims, keepdim), there.variance(x, dims, keepdim, 0.5), there.length(x, dims, keepdim),
            there.logsumexp(x, dims, keepdim), there.extreme(x, "max", dims, keepdim), there.extreme(x, "min", dims, keepdim))


@case("extreme_at", "running_product", "running_sum")
def _(there, back, d, shape):
    x, y, dim = d.array(*shape), d.array(*shape, low=0.5, high=1.5), int(d.rng.integers(0, len(shape)))
    return (there.extreme_at(x, "max", dim, d.bool()), there.extreme_at(x.round(), "min", dim, d.bool()),
            there.running_sum(x, dim, 1 - 2 * d.bool()), there.running_product(y, dim, 1 - 2 * d.bool()))


@case("cross_entropy", "cross_entropy_backward")
def _(there, back, d, shape):
    shape = (shape[0], 3, *shape[1:]) if d.bool() else shape if len(shape) > 1 else (*shape, 40)
    x, w = d.array(*shape), None if d.special else d.maybe(shape[1])
    target = d.laid_out(d.rng.integers(0, shape[1], (shape[0], *shape[2:])).astype(d.rng.choice(["int64", "int32"])))
    reduction, smoothing, masked = str(d.rng.choice(["none", "mean", "sum"])), 0.1 * d.bool(), d.bool()
    y, *saved = there.cross_entropy(x, target, w, 1, smoothing, reduction, masked)
    g = d.laid_out(np.asarray(d.rng.normal(size=y.shape), d.dtype))
    return y, back.cross_entropy_backward(g, *saved, w, x.shape, x.dtype)


@case("dropout")
def _(there, back, d, shape):
    keep = d.laid_out(d.rng.random(shape) < 0.5)
    return [there.dropout(d.array(*shape), keep, 1.7), there.dropout(d.array(*shape), keep[:1], 1.7)]


@case("random_words")
def _(there, back, d, shape):
    seed, offset = (int(v) for v in d.rng.integers(0, 2**64, 2, np.uint64))
    return [there.random_words(seed, offset, math.prod(shape))]


@case("random_mask")
def _(there, back, d, shape):
    seed, offset = (int(v) for v in d.rng.integers(0, 2**63, 2, np.uint64))
    bits = int(d.rng.choice([8, 16, 32]))
    return [there.random_mask((seed, offset), shape, int(d.rng.integers(1, 2**bits)), bits)]


@case("embedding_backward")
def _(there, back, d, shape):
    count = int(d.rng.integers(1, 9))
    index = d.laid_out(d.rng.integers(0, count, shape))
    return [there.embedding_backward(d.array(*shape, 5), index, count, d.rng.choice([None, 0]), d.bool())]


@case("column_sums")
def _(there, back, d, shape):
    return [there.column_sums(d.array(*shape))]


@case("adam_step")
def _(there, back, d, shape):
    p, g, m = (d.array(*shape) for _ in range(3))
    v, largest = abs(d.array(*shape)), abs(d.array(*shape)) if d.bool() else None
    written = [np.ascontiguousarray(a) if a is not None else None for a in (p.copy(), m.copy(), v.copy(), largest)]
    p, m, v, largest = written
    there.adam_step(p, g, m, v, largest, 0.1, 0.8, 0.9, 1e-3, 0.1 * d.bool(), 1 - 0.1 * d.bool(), 1 - 2 * d.bool(), d.flag())
    return [a for a in written if a is not None]


@case("sgd_step")
def _(there, back, d, shape):
    p, g, v = d.array(*shape).copy("C"), d.array(*shape), d.array(*shape).copy("C") if d.bool() else None
    there.sgd_step(p, g, v, 0.1, 0.9, 1 - 0.2 * d.bool(), 0.1 * d.bool(), 1 - 2 * d.bool(), d.bool(), d.flag())
    return [p] if v is None else [p, v]


@case("adam_rates")
def _(there, back, d, shape):
    steps = np.full(shape[0], d.rng.integers(0, 2000), np.float32)
    lr = np.array(0.1) if d.bool() else 0.1
    return steps, there.adam_rates(steps, d.flag(), lr, 0.9, 0.999, 1e-3, 0.1 * d.bool(), d.bool(), d.dtype)


@case("unscale")
def _(there, back, d, shape):
    x, found, scale = d.array(*shape).copy("C"), np.array(d.rng.random() < 0.2), 2.0 ** d.rng.integers(-3, 17)
    there.unscale(x, np.array(scale, np.float32) if d.bool() else float(scale), found)
    return x, found


@case("update_scale")
def _(there, back, d, shape):
    state = np.array([d.rng.choice([1.0, 3.0, 2.0 ** 127, 2.0 ** -100]), d.rng.integers(0, 3)], np.float32)
    there.update_scale(state, np.array(d.bool()), 2.0, 0.3, 3)
    return [state]


@case("clip_to_norm")
def _(there, back, d, shape):
    x = d.array(*shape).copy("C")
    there.clip_to_norm(x, np.asarray(abs(d.rng.normal()), d.dtype), 0.5)
    return [x]


@case("collect")
def _(there, back, d, shape):
    """More pairs than one launch takes, some arrays not contiguous."""
    places = [d.array(*shape).copy("C") for _ in range(int(d.rng.integers(1, 70)))]
    there.collect([(y, d.array(*shape)) for y in places], d.bool())
    return places


@case("sum_of_squares")
def _(there, back, d, shape):
    return [np.asarray(there.sum_of_squares(d.array(*shape)))]


def windowed(d, shape):
    """A drawn window over one to three dimensions, their inputs, and outputs that may reach beyond them."""
    if d.bool():
        window, inputs, after = Window((3, 2), (2, 1), (1, 0), (1, 2)), (shape[0] % 9 + 1, shape[-1] + 2), (1, 0)
    else:
        dims = int(d.rng.integers(1, 4))
        kernel, stride, dilation, more, after = (tuple(map(int, d.rng.integers(low, high, dims))) for low, high in (
            (1, 5), (1, 4), (1, 3), (0, 4), (0, 2)))
        window = Window(kernel, stride, tuple(int(d.rng.integers(0, k // 2 + 1)) for k in kernel), dilation)
        inputs = tuple(span + n for span, n in zip(window.span, more))
        inputs = (*inputs[:-1], inputs[-1] + shape[-1] % 20)
    return window, inputs, window.outputs(inputs, after)


@case("conv_output", "conv_weight", "conv_input")
def _(there, back, d, shape):
    (window, inputs, outputs), (groups, channels, filters) = windowed(d, shape), map(int, d.rng.integers(1, (4, 3, 4)))
    d = Data(d.rng.integers(99), d.dtype, False, d.layouts)      # ∞·0 at the edge is NaN or nothing, as the engine likes
    images = min(2, shape[0])
    x, w = d.array(images, channels * groups, *inputs), d.array(filters * groups, channels, *window.kernel)
    g, bias = d.array(images, filters * groups, *outputs), d.maybe(filters * groups)
    return (there.conv_output(x, w, bias, window, groups, outputs), there.conv_weight(g, x, window, groups),
            there.conv_input(g, w, d.maybe(channels * groups), window, groups, inputs))


@case("unfold", "fold")
def _(there, back, d, shape):
    window, inputs, outputs = windowed(d, shape)
    images = min(2, shape[0])
    return there.unfold(d.array(images, 3, *inputs), window, outputs), there.fold(d.array(images, 3, *window.kernel, *outputs), window, inputs)


@case("max_pool", "max_pool_input", "max_pool_take", "avg_pool", "avg_pool_input")
def _(there, back, d, shape):
    window, inputs, outputs = windowed(d, shape)
    images, alone = min(2, shape[0]), window._replace(dilation=(1,) * len(inputs))       # means have no dilation
    means = alone.outputs(inputs, (1,) * len(inputs))
    x, g, h = d.array(images, 3, *inputs), d.array(images, 3, *outputs), d.array(images, 3, *means)
    counts = 6 if d.bool() else tuple(tuple(map(int, d.rng.integers(1, 5, n))) for n in means)
    whole, one = Window(inputs, inputs, (0,) * len(inputs), (1,) * len(inputs)), (1,) * len(inputs)
    y, where = there.max_pool(x, window, outputs)
    return (y, where, back.max_pool_input(g, where, window, inputs), back.max_pool_take(x, where, window),
            there.avg_pool(x, alone, means, counts), back.avg_pool_input(h, alone, inputs, counts), there.avg_pool(x, whole, one, 5))


@case("attention", "attention_backward")
def _(there, back, d, shape):
    d = Data(d.rng.integers(999), d.dtype, False, d.layouts)
    queries, keys = shape[0] % 90, shape[-1] % 150
    numbers, of_value = (int(d.rng.choice([1, 5, 40, 70])) for _ in range(2))
    batch = [(), (2,), (2, 1), (1, 2)][d.rng.integers(4)]
    q, k, v, dy = (d.array(*batch, *sizes, low=-1, high=1) for sizes in ((queries, numbers), (keys, numbers), (keys, of_value), (queries, of_value)))
    see, kind = d.rng.random((*batch, queries, keys)) < 0.6, d.rng.choice(["none", "causal", "booleans", "numbers", "padding"])
    see[..., :1, :] = False
    mask = {"booleans": see, "padding": np.broadcast_to(see[..., -1:, :], see.shape),
            "numbers": np.where(see, d.array(*see.shape), -np.inf).astype(d.dtype)}.get(kind) if see.size else None
    keep, keep_prob = (d.rng.random(see.shape) < 0.7, 0.7) if d.bool() else (None, 1.0)
    options = mask, keep, kind == "causal", 0.3, keep_prob
    y, *saved = there.attention(q, k, v, *options)
    grads = back.attention_backward(dy, q, k, v, *options, y, *saved, (d.bool(), d.bool(), d.bool(), kind == "numbers" and mask is not None))
    return y, *[g for g in grads if g is not None]


for _name, _gates in {"lstm": 4, "gru": 3, "rnn": 1}.items():
    @case(_name, _name + "_backward")
    def _(there, back, d, shape, name=_name, gates=_gates):
        sizes = sorted(map(int, d.rng.integers(1, 6, d.rng.integers(1, 5))), reverse=True)
        if d.bool():
            sizes = sizes[:1] * len(sizes)
        n, inputs, hidden, projected = sizes[0], shape[-1] % 9, shape[0] % 20 + 1, name == "lstm" and d.bool()
        relu = d.bool() and d.dtype.itemsize > 2      # rounding to 16 bits changes what a relu lets through
        outputs, small = 3 if projected else hidden, dict(low=-1, high=1)
        states = (outputs, hidden) if name == "lstm" else (hidden,)
        first = [d.array(n, k, **small) for k in states]
        biases = [d.array(gates * hidden, **small) for _ in range(2)] if d.bool() else [None, None]
        weights = [d.array(gates * hidden, inputs, **small), d.array(gates * hidden, outputs, **small), *biases]
        if name == "lstm":
            weights.append(d.array(outputs, hidden, **small) if projected else None)
        before, after = (d.array(sum(sizes), inputs, **small), *first, *weights), (*((relu,) if name == "rnn" else ()), tuple(sizes), d.bool())
        y, *rest = getattr(there, name)(*before, *after)
        needs = [x is not None and d.bool() for x in before]
        grads = getattr(back, name + "_backward")(d.array(*y.shape, **small), *[d.array(*x.shape, **small) for x in first], *before, *after, y,
                                                  *rest[len(first):], needs)
        return y, *rest[:len(first)], *[g for g, need in zip(grads, needs) if need]


shapes = st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple) | st.sampled_from([(33, 17), (3, 130), (2, 1025), (70,), (5, 3, 67)])
dtypes = st.sampled_from(["float32", "float64"])
seeds = st.integers(0, 2**32 - 1)


def run(name, there, back, seed, dtype, shape, **kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return [np.asarray(a) for a in CASES[name](there, back, Data(seed, dtype, **kind), shape)]


TOLERANCE = {"float64": 1e-10, "float32": 3e-5, "float16": 1e-2, "bfloat16": 5e-2}


def close(got, expected, dtype):
    rtol = TOLERANCE[dtype]
    assert len(got) == len(expected)
    for a, b in zip(got, expected):
        assert a.shape == b.shape and a.dtype == b.dtype
        finite = np.abs(b[np.isfinite(b)].astype("float64")) if b.dtype.kind == "f" else np.zeros(0)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * max(1.0, finite.max(initial=0)))
