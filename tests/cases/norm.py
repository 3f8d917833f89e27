"""Cases of `ops/norm.py`."""
import numpy as np
from registry import call, case

import tinygrad_ed as tg

X = np.arange(12.0).reshape(2, 3, 2)
W3, W2 = np.ones(3), np.ones(2)


def standardized(x, dims, eps):
    d = x - x.mean(axis=dims, keepdims=True)
    return d / np.sqrt((d * d).mean(axis=dims, keepdims=True) + eps)


def along_channels(v, ndim):
    return v.reshape(-1, *[1] * (ndim - 2))


def affine(x, weight=None, bias=None):
    """x·weight + bias, with a weight and a bias for each channel, or none."""
    x = x if weight is None else x * along_channels(weight, x.ndim)
    return x if bias is None else x + along_channels(bias, x.ndim)


def affine_args(d, shape):
    """Options weight and bias of a shape, both, one or none."""
    return {name: d.array(shape) for name in ("weight", "bias") if d.bool()}


def batch(d, min_positions=1):
    """An input (N, C, …) whose channels have at least 2 values."""
    n, c, rest = d.integer(2, 4), d.integer(1, 3), d.shape(0, 2, min_positions)
    return d.array((n, c, *rest))


# -- over the batch ----------------------------------------------------------------------------------------------------

@case("nn.functional.batch_norm", analytic=True, bad=(call(X, None, None), call(np.ones((1, 3)), None, None, training=True),
      call(X, None, None, W2, training=True), call(X, None, None, W3, W2, training=True), call(X, W2, W2), call(np.ones(3), W3, W3)),
      numpy=lambda x, m, v, training, eps, weight=None, bias=None: affine(standardized(x, (0, *range(2, x.ndim)), eps), weight, bias))
def _(d):
    x = batch(d)
    return call(x, None, None, training=True, eps=d.pick([1e-5, 0.1]), **affine_args(d, x.shape[1:2]))


def long_batch(d):
    """Few channels with many positions, and many with few, which the kernels treat in different ways."""
    x = d.array(d.pick([(2, 2, 9, 40), (3, 150), (2, 40, 5), (2, 1, 300)]))
    return call(x, None, None, training=True, **affine_args(d, x.shape[1:2]))


case("nn.functional.batch_norm",
     numpy=lambda x, m, v, training, weight=None, bias=None: affine(standardized(x, (0, *range(2, x.ndim)), 1e-5), weight, bias))(long_batch)


def before_relu(x, m, v, training, weight=None, bias=None):
    return affine(standardized(x, (0, *range(2, x.ndim)), 1e-5), weight, bias)


def relu_of_theirs(*args, **options):
    """What PyTorch has no single function for."""
    import torch
    return torch.relu(torch.nn.functional.batch_norm(*args, **options))


@case("nn.functional.batch_norm_relu", numpy=lambda *args, **options: np.maximum(before_relu(*args, **options), 0), torch=relu_of_theirs,
      kinks=lambda *args, **options: [before_relu(*args, **options)],
      bad=(call(X, None, None), call(np.ones((1, 3)), None, None, training=True), call(X, None, None, W2, training=True), call(np.ones(3), W3, W3)))
def _(d):
    x = batch(d)
    return call(x, None, None, training=True, **affine_args(d, x.shape[1:2]))


MEAN, VAR = np.array([0.5, -1.0, 0.0]), np.array([0.5, 2.0, 1e-3])


def with_running_statistics(x, weight, bias):
    """Evaluation, of our tensors."""
    return tg.nn.functional.batch_norm(x, *[tg.tensor(v, dtype=x.dtype, device=x.device) for v in (MEAN, VAR)], weight, bias)


def with_theirs(x, weight, bias):
    """Evaluation, of PyTorch's."""
    import torch
    return torch.nn.functional.batch_norm(x, *[torch.tensor(v, dtype=x.dtype) for v in (MEAN, VAR)], weight, bias)


def fixed(x, weight, bias):
    return affine((x - along_channels(MEAN, x.ndim)) / along_channels(np.sqrt(VAR + 1e-5), x.ndim), weight, bias)


@case("nn.functional.batch_norm", op=with_running_statistics, torch=with_theirs, analytic=True, numpy=fixed)
def _(d):
    return call(d.array((d.integer(1, 3), 3, *d.shape(0, 2))), d.array((3,)), d.array((3,)))


def relu_with_running_statistics(x, weight, bias):
    """Evaluation, of our tensors."""
    return tg.nn.functional.batch_norm_relu(x, *[tg.tensor(v, dtype=x.dtype, device=x.device) for v in (MEAN, VAR)], weight, bias)


@case("nn.functional.batch_norm_relu", op=relu_with_running_statistics, torch=lambda *args: with_theirs(*args).relu(),
      numpy=lambda *args: np.maximum(fixed(*args), 0), kinks=lambda *args: [fixed(*args)])
def _(d):
    return call(d.array((d.integer(1, 3), 3, *d.shape(0, 2))), d.array((3,)), d.array((3,)))


# -- over rows and groups ----------------------------------------------------------------------------------------------

def layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    y = standardized(x, tuple(range(-len(shape), 0)), eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@case("nn.functional.layer_norm", numpy=layer_norm, analytic=True, bad=(call(X, (3,)), call(X, (2, 3, 2, 1)), call(X, (2,), W3), call(X, ()),
      call(X, (2,), W2, W3), call(np.arange(3), (3,))))
def _(d):
    x = d.array(d.shape(min_dims=1, min_side=2))
    shape = x.shape[-d.integer(1, x.ndim):]
    return call(x, shape, eps=d.pick([1e-5, 0.1]), **affine_args(d, shape))


@case("nn.functional.layer_norm", numpy=layer_norm)
def _(d):
    return call(d.array((200, 200)), (200,), d.array((200,)), d.array((200,)))


@case("nn.functional.rms_norm", analytic=True, bad=(call(X, (3,)), call(X, (2,), W3), call(np.arange(3), (3,))),
      numpy=lambda x, shape, weight=None, eps=2.0 ** -52: x / np.sqrt((x * x).mean(tuple(range(-len(shape), 0)), keepdims=True) + eps)
      * (1 if weight is None else weight))
def _(d):
    x = d.array(d.shape(min_dims=1), 0.5, 2)
    shape = x.shape[-d.integer(1, x.ndim):]
    return call(x, shape, **({"weight": d.array(shape)} if d.bool() else {}), **({"eps": 0.1} if d.bool() else {}))


def group_norm(x, groups, weight=None, bias=None, eps=1e-5):
    return affine(standardized(x.reshape(len(x), groups, -1), (2,), eps).reshape(x.shape), weight, bias)


def grouped(d):
    """An input, and a number of groups that divides its channels."""
    groups, per_group = d.integer(1, 3), d.integer(1, 3)
    return d.array((d.integer(1, 3), groups * per_group, *d.shape(1, 2, 2))), groups


@case("nn.functional.group_norm", numpy=group_norm, analytic=True, bad=(call(X, 2), call(X, 3, W2), call(X, 3, None, W2), call(np.ones(4), 2),
      call(np.ones((1, 3)), 3), call(np.arange(12).reshape(2, 6), 3)))
def _(d):
    x, groups = grouped(d)
    args = affine_args(d, x.shape[1:2])
    return call(x, groups, eps=d.pick([1e-5, 0.1]), **(args if "weight" in args else {}))


@case("nn.functional.group_norm", numpy=group_norm, torch=None)       # PyTorch's backward fails for a bias without a weight
def _(d):
    x, groups = grouped(d)
    return call(x, groups, bias=d.array(x.shape[1:2]))


@case("nn.functional.group_norm", numpy=group_norm)
def _(d):
    shape, groups = d.pick([((3, 6, 60, 60), 2), ((400, 8, 20), 4), ((9, 6), 2)])
    return call(d.array(shape), groups, d.array(shape[1:2]), d.array(shape[1:2]))


@case("nn.functional.instance_norm", analytic=True, bad=(call(X, weight=W2), call(np.ones((2, 3, 1))), call(X, use_input_stats=False)),
      numpy=lambda x, weight=None, bias=None: affine(standardized(x, tuple(range(2, x.ndim)), 1e-5), weight, bias))
def _(d):
    x = d.array((d.integer(1, 3), d.integer(1, 3), *d.shape(1, 2, 2)))
    return call(x, **affine_args(d, x.shape[1:2]))


# -- others ------------------------------------------------------------------------------------------------------------

def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0):
    c = x.shape[1]
    total = np.stack([(x[:, max(i - size // 2, 0):i + (size - 1) // 2 + 1] ** 2).sum(axis=1) for i in range(c)], axis=1)
    return x / (k + alpha / size * total) ** beta


@case("nn.functional.local_response_norm", numpy=local_response_norm, analytic=True, bad=(call(np.ones((2, 3)), 2), call(X, 0)))
def _(d):
    return call(d.array(d.shape(min_dims=3, max_dims=4)), d.integer(1, 5), alpha=d.number(0.1, 2), beta=d.pick([0.75, 1.0]), k=d.pick([1.0, 2.0]))


def normalize(x, p=2.0, dim=1, eps=1e-12):
    return x / np.maximum((np.abs(x) ** p).sum(axis=dim, keepdims=True) ** (1 / p), eps)


@case("nn.functional.normalize", numpy=normalize,
      bad=(call(np.ones(3)), call(np.arange(3), dim=0)))
def _(d):
    x = d.array(d.shape(min_dims=1), 0.3, 2)
    return call(x, **({"dim": d.dim(x.ndim)} if d.bool() or x.ndim < 2 else {}), **({"p": d.pick([1.0, 3.0])} if d.bool() else {}))


@case("nn.functional.normalize", numpy=lambda x, dim, eps: x / np.maximum(np.sqrt((x * x).sum(axis=dim, keepdims=True)), eps),
      kinks=lambda x, dim, eps: [np.sqrt((x * x).sum(axis=dim)) - eps])
def _(d):
    return call(d.array((3, 3)), dim=d.dim(2), eps=1.5)
