"""Normalisation: activations shifted and scaled to mean 0 and variance 1, over the batch, a row or a group of channels.

The kernels compute value and gradient in a few passes; the composed twins are the definitions, and the way of second derivatives.
"""
from __future__ import annotations

from math import prod
from typing import Any, Callable, Sequence

import numpy as np

from ..autograd.inplace import stamp
from ..autograd.modes import state
from ..autograd.op import op
from ..backend.kernels import kernels
from ..dtypes import finfo
from ..errors import DeviceError, DTypeError, InPlaceError, ShapeError
from ..tensor import Tensor, wrap
from .arguments import Dims, over, require_float
from .broadcast import reshape_to
from .elementwise import clamp, relu, relu_backward, rsqrt
from .reduce import norm, var_mean

__all__ = ["batch_norm", "batch_norm_relu", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "normalize", "rms_norm"]


# -- the definitions ---------------------------------------------------------------------------------------------------

def _standardized(x: Any, dims: tuple, eps: float) -> Any:
    """(x - mean)/√(var + ε) over dimensions."""
    d = x - x.mean(dims, keepdim=True)
    return d * rsqrt((d * d).mean(dims, keepdim=True) + eps)


def _affine(x: Any, weight: Any, bias: Any) -> Any:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _per_channel(values: Any, ndim: int) -> Any:
    """Values of channels (dimension 1), in a shape that broadcasts with ndim dimensions."""
    return values if values is None else reshape_to(values, shape=(-1,) + (1,) * (ndim - 2))


def _composed_batch_norm(x: Any, weight: Any, bias: Any, *, eps: float, observe: Any) -> Any:
    over_batch = (0, *range(2, x.ndim))
    return _affine(_standardized(x, over_batch, eps), _per_channel(weight, x.ndim), _per_channel(bias, x.ndim))


def _composed_batch_norm_relu(x: Any, weight: Any, bias: Any, **options: Any) -> Any:
    return relu(_composed_batch_norm(x, weight, bias, **options))


def _composed_layer_norm(x: Any, weight: Any, bias: Any, *, dims: int, eps: float) -> Any:
    return _affine(_standardized(x, tuple(range(-dims, 0)), eps), weight, bias)


def _composed_rms_norm(x: Any, weight: Any, *, dims: int, eps: float) -> Any:
    return _affine(x * rsqrt((x * x).mean(tuple(range(-dims, 0)), keepdim=True) + eps), weight, None)


def _composed_group_norm(x: Any, weight: Any, bias: Any, *, groups: int, eps: float) -> Any:
    rows = reshape_to(x, shape=(x.shape[0], groups, prod(x.shape[1:]) // groups))
    return _affine(reshape_to(_standardized(rows, (2,), eps), shape=x.shape), _per_channel(weight, x.ndim), _per_channel(bias, x.ndim))


# -- primitives --------------------------------------------------------------------------------------------------------

def _observed(result: tuple, observe: Callable | None) -> tuple:
    if observe is not None:
        observe(*result[1:])
    return result


_batch_norm = op("batch_norm", lambda x, weight, bias, *, eps, observe: _observed(kernels(x).batch_norm(x, weight, bias, eps), observe),
                 aux=("mean", "var"), composed=_composed_batch_norm,
                 gradients=lambda g, x, weight, mean, var, eps, needs: kernels(g).batch_norm_backward(g, x, weight, mean, var, eps, needs))
_batch_norm_relu = op("batch_norm_relu", lambda x, weight, bias, *, eps, observe: (
                          _observed(kernels(x).batch_norm_relu(x, weight, bias, eps), observe)),
                      aux=("mean", "var"), composed=_composed_batch_norm_relu,
                      gradients=lambda g, x, weight, bias, mean, var, eps, needs: kernels(g).batch_norm_relu_backward(
                          g, x, weight, bias, mean, var, eps, needs))
_fixed_norm = op("batch_norm", lambda x, mean, scale, bias: kernels(x).fixed_norm(x, mean, scale, bias), broadcast=True,
                 x=lambda g, scale: g * scale, scale=lambda g, x, mean: g * (x - mean), bias=lambda g: g,
                 doc="(x - mean)·scale + bias, with a mean that is given.")
_fixed_norm_relu = op("batch_norm_relu", lambda x, mean, scale, bias: kernels(x).fixed_norm(x, mean, scale, bias, True), broadcast=True,
                      x=lambda g, y, scale: relu_backward(g, y) * scale, scale=lambda g, y, x, mean: relu_backward(g, y) * (x - mean),
                      bias=relu_backward,
                      doc="The ReLU of (x - mean)·scale + bias, with a mean that is given.")
_layer_norm = op("layer_norm", lambda x, weight, bias, *, dims, eps: kernels(x).layer_norm(x, weight, bias, dims, eps),
                 aux=("mean", "rstd"), composed=_composed_layer_norm,
                 gradients=lambda g, x, weight, mean, rstd, dims, needs: kernels(g).layer_norm_backward(
                     g, x, weight, mean, rstd, dims, needs))
_rms_norm = op("rms_norm", lambda x, weight, *, dims, eps: kernels(x).rms_norm(x, weight, dims, eps),
               aux=("rstd",), composed=_composed_rms_norm,
               gradients=lambda g, x, weight, rstd, dims, needs: kernels(g).rms_norm_backward(g, x, weight, rstd, dims, needs))
_group_norm = op("group_norm", lambda x, weight, bias, *, groups, eps: kernels(x).group_norm(x, weight, bias, groups, eps),
                 aux=("mean", "rstd"), composed=_composed_group_norm,
                 gradients=lambda g, x, weight, mean, rstd, groups, needs: kernels(g).group_norm_backward(
                     g, x, weight, mean, rstd, groups, needs))


# -- what is checked ---------------------------------------------------------------------------------------------------

def _check_channels(name: str, input: Tensor, **per_channel: Any) -> None:
    """Refuse an input without channels, and values that are not one for each channel, of its dtype and on its device."""
    require_float(input, name)
    if input.ndim < 2:
        raise ShapeError(f"{name} takes an input of shape (N, C, ...), got {input.shape}")
    _check_shapes(name, input, input.shape[1:2], "channels", per_channel)


def _check_shapes(name: str, input: Tensor, shape: tuple, what_has_it: str, tensors: dict[str, Any]) -> None:
    x = input._data
    for what, t in tensors.items():
        if t is None or ((v := t._data).shape == shape and v.dtype is x.dtype and type(v) is type(x)):
            continue
        if v.shape != shape:
            raise ShapeError(f"{name}: {what} has the shape {shape} of the {what_has_it} of an input of shape {input.shape}, got {v.shape}")
        if v.dtype != x.dtype and state.casting is None:          # autocast makes them float32
            raise DTypeError(f"{name}: input is {x.dtype} and {what} {v.dtype}; write x.to({what}.dtype), or convert the module")
        if type(v) is not type(x):
            raise DeviceError(f"{name}: input is on {input.device} and {what} on {t.device}; move one: x.to({what}.device)")


def _check_trailing(name: str, input: Tensor, normalized_shape: Any, **tensors: Any) -> int:
    """The number of dimensions that a normalisation of rows runs over."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    require_float(input, name)
    if not shape or input.shape[-len(shape):] != shape:
        raise ShapeError(f"{name}: normalized_shape is the shape of the input's last dimensions; got {shape} for an input of shape {input.shape}")
    _check_shapes(name, input, shape, "rows", tensors)
    return len(shape)


def _follow(running: Tensor | None, new: Any, momentum: float) -> None:
    """running ← (1 - momentum)·running + momentum·new."""
    if running is not None:
        values = running._data
        values *= 1 - momentum
        values += momentum * new
        stamp(values)


def _check_writable(name: str, **running: Any) -> None:
    for what, t in running.items():
        if t is not None and type(t._data) is np.ndarray and not t._data.flags.writeable:
            raise InPlaceError(f"{name} updates {what}, whose memory is read-only; write {what}.clone()")


# -- the public functions ----------------------------------------------------------------------------------------------

def batch_norm(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
               bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """(x - mean)/√(var + ε)·weight + bias, with the mean and variance of each channel (Ioffe and Szegedy, 2015).

    In training they are the batch's, and the running ones follow them: running ← (1 - momentum)·running + momentum·new, with the unbiased
    variance. Otherwise they are the running ones.

    Args:
        input: a floating point tensor of shape (N, C, …).
        running_mean: shape (C), or None; in training it is updated in place.
        running_var: shape (C), or None; in training it is updated in place.
        weight: shape (C), or None for 1.
        bias: shape (C), or None for 0.
        training: whether to use the batch's statistics.
        momentum: how fast the running statistics follow.
        eps: ε.

    Returns:
        A tensor of the input's shape.

    Raises:
        ShapeError: an input without channels, or an argument that does not have one value for each.
        DTypeError: integers or booleans, or arguments of another dtype.
        ValueError: in training one value per channel, otherwise no running statistics.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.batch_norm(tg.tensor([[1.0], [3.0]]), None, None, training=True, eps=0.0)
        tensor([[-1.],
                [ 1.]])
    """
    return _over_batch("batch_norm", _batch_norm, _fixed_norm, input, running_mean, running_var, weight, bias, training, momentum, eps)


def batch_norm_relu(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
                    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """relu(batch_norm(…)) at the cost of `batch_norm` alone, in time and memory: what is before the ReLU is nowhere kept.

    `nn.Sequential` does this by itself where a ReLU follows a batch norm and neither has hooks.

    Args:
        input: a floating point tensor of shape (N, C, …).
        running_mean: shape (C), or None; in training it is updated in place.
        running_var: shape (C), or None; in training it is updated in place.
        weight: shape (C), or None for 1.
        bias: shape (C), or None for 0.
        training: whether to use the batch's statistics.
        momentum: how fast the running statistics follow.
        eps: ε.

    Returns:
        A tensor of the input's shape.

    Raises:
        ShapeError: an input without channels, or an argument that does not have one value for each.
        DTypeError: integers or booleans, or arguments of another dtype.
        ValueError: in training one value per channel, otherwise no running statistics.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.functional.batch_norm_relu(tg.tensor([[1.0], [3.0]]), None, None, training=True, eps=0.0)
        tensor([[0.],
                [1.]])
    """
    return _over_batch("batch_norm_relu", _batch_norm_relu, _fixed_norm_relu, input, running_mean, running_var, weight, bias, training, momentum,
                       eps)


def _over_batch(name: str, by_batch: Callable, fixed: Callable, input: Tensor, running_mean: Tensor | None, running_var: Tensor | None,
                weight: Tensor | None, bias: Tensor | None, training: bool, momentum: float, eps: float) -> Tensor:
    """Batch norm by one of two primitives: with the batch's statistics, or with fixed ones."""
    _check_channels(name, input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if not training:
        return _by_running_statistics(name, fixed, input, running_mean, running_var, weight, bias, eps)
    count = prod(input.shape) // (input.shape[1] or 1)
    if count == 1:
        raise ValueError(f"{name} in training needs more than 1 value per channel, got an input of shape {input.shape}; "
                         f"use a larger batch, or model.eval()")
    _check_writable(name, running_mean=running_mean, running_var=running_var)

    def observe(mean: Any, var: Any) -> None:
        if count:
            _follow(running_mean, mean, momentum)
            _follow(running_var, var * (count / (count - 1)), momentum)
    return by_batch(input, weight, bias, eps=eps, observe=observe if running_mean is not None or running_var is not None else None)


def _by_running_statistics(name: str, fixed: Callable, input: Tensor, mean: Any, var: Any, weight: Any, bias: Any, eps: float) -> Tensor:
    if mean is None or var is None:
        raise ValueError(f"{name} without the input's own statistics needs running_mean and running_var, and one of them is None")
    scale = rsqrt(var.detach() + eps)
    mean, scale, bias = (_per_channel(v, input.ndim) for v in (mean.detach(), scale if weight is None else scale * weight, bias))
    return fixed(input, mean, scale, bias)


def instance_norm(input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None, weight: Tensor | None = None,
                  bias: Tensor | None = None, use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """(x - mean)/√(var + ε)·weight + bias, with the mean and variance of each sample's channel (Ulyanov, Vedaldi and Lempitsky, 2016).

    Args:
        input: a floating point tensor of shape (N, C, …).
        running_mean: shape (C), or None; with use_input_stats it is updated in place, by the mean over the samples.
        running_var: shape (C), or None; likewise.
        weight: shape (C), or None for 1.
        bias: shape (C), or None for 0.
        use_input_stats: whether to use the input's statistics or the running ones.
        momentum: how fast the running statistics follow.
        eps: ε.

    Returns:
        A tensor of the input's shape.

    Raises:
        ShapeError: an input without channels, or an argument that does not have one value for each.
        DTypeError: integers or booleans, or arguments of another dtype.
        ValueError: one value per channel and sample, or no running statistics without use_input_stats.

    Example:
        >>> import tinygrad_ed as tg
        >>> instance_norm(tg.tensor([[[1.0, 3.0], [5.0, 5.0]]]), eps=0.5)
        tensor([[[-0.8165,  0.8165],
                 [ 0.0000,  0.0000]]])
    """
    _check_channels("instance_norm", input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if not use_input_stats:
        return _by_running_statistics("instance_norm", _fixed_norm, input, running_mean, running_var, weight, bias, eps)
    if prod(input.shape[2:]) == 1:
        raise ValueError(f"instance_norm needs more than 1 value per channel of a sample, got an input of shape {input.shape}")
    _check_writable("instance_norm", running_mean=running_mean, running_var=running_var)
    y = _group_norm(input, weight, bias, groups=input.shape[1], eps=eps)
    if (running_mean is not None or running_var is not None) and input.numel():
        var, mean = var_mean(input.detach(), tuple(range(2, input.ndim)))
        _follow(running_mean, mean.mean(0)._data, momentum)
        _follow(running_var, var.mean(0)._data, momentum)
    return y


def group_norm(input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """(x - mean)/√(var + ε)·weight + bias, with the mean and variance of each sample's group of channels (Wu and He, 2018).

    Args:
        input: a floating point tensor of shape (N, C, …).
        num_groups: how many groups the channels are divided into.
        weight: shape (C), or None for 1.
        bias: shape (C), or None for 0.
        eps: ε.

    Returns:
        A tensor of the input's shape.

    Raises:
        ShapeError: channels that cannot be divided so, or an argument that does not have one value for each.
        DTypeError: integers or booleans, or arguments of another dtype.
        ValueError: one value per group.

    Example:
        >>> import tinygrad_ed as tg
        >>> group_norm(tg.tensor([[1.0, 3.0, 5.0, 9.0]]), 2, eps=0.0)
        tensor([[-1.,  1., -1.,  1.]])
    """
    _check_channels("group_norm", input, weight=weight, bias=bias)
    if num_groups < 1 or input.shape[1] % num_groups:
        raise ShapeError(f"group_norm: the {input.shape[1]} channels of an input of shape {input.shape} cannot be divided into {num_groups} groups")
    if prod(input.shape) == num_groups:
        raise ValueError(f"group_norm needs more than 1 value per group, got an input of shape {input.shape} for {num_groups} groups")
    return _group_norm(input, weight, bias, groups=num_groups, eps=eps)


def layer_norm(input: Tensor, normalized_shape: int | Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None,
               eps: float = 1e-5) -> Tensor:
    """(x - mean)/√(var + ε)·weight + bias, with the mean and variance over the last dimensions (Ba, Kiros and Hinton, 2016).

    Args:
        input: a floating point tensor of shape (…, *normalized_shape).
        normalized_shape: the shape of the last dimensions, as one number or several.
        weight: of normalized_shape, or None for 1.
        bias: of normalized_shape, or None for 0.
        eps: ε.

    Returns:
        A tensor of the input's shape.

    Raises:
        ShapeError: shapes that do not fit together.
        DTypeError: integers or booleans, or arguments of another dtype.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer_norm(tg.tensor([[1.0, 3.0], [5.0, 9.0]]), (2,), eps=0.0)
        tensor([[-1.,  1.],
                [-1.,  1.]])
    """
    dims = _check_trailing("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    return _layer_norm(input, weight, bias, dims=dims, eps=eps)


def rms_norm(input: Tensor, normalized_shape: int | Sequence[int], weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """x/√(mean(x²) + ε)·weight over the last dimensions: layer norm without the mean (Zhang and Sennrich, 2019).

    Args:
        input: a floating point tensor of shape (…, *normalized_shape).
        normalized_shape: the shape of the last dimensions, as one number or several.
        weight: of normalized_shape, or None for 1.
        eps: ε; by default the dtype's smallest step at 1.

    Returns:
        A tensor of the input's shape.

    Raises:
        ShapeError: shapes that do not fit together.
        DTypeError: integers or booleans, or a weight of another dtype.

    Example:
        >>> import tinygrad_ed as tg
        >>> rms_norm(tg.tensor([[1.0, 7.0]]), 2)
        tensor([[0.2000, 1.4000]])
    """
    dims = _check_trailing("rms_norm", input, normalized_shape, weight=weight)
    return _rms_norm(input, weight, dims=dims, eps=float(finfo(input.dtype).eps) if eps is None else eps)


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x/(k + α/size·Σ x²)^β, with the sum over `size` neighbouring channels (Krizhevsky, Sutskever and Hinton, 2012).

    Args:
        input: a floating point tensor of shape (N, C, …) with at least 3 dimensions.
        size: how many channels are summed: from size//2 before to (size - 1)//2 behind.
        alpha: α.
        beta: β.
        k: k.

    Returns:
        A tensor of the input's shape.

    Raises:
        ShapeError: fewer than 3 dimensions.
        DTypeError: integers or booleans.
        ValueError: a size below 1.

    Example:
        >>> import tinygrad_ed as tg
        >>> local_response_norm(tg.ones(1, 3, 1), 2, alpha=2.0, beta=1.0).flatten()
        tensor([0.5000, 0.3333, 0.3333])
    """
    require_float(input, "local_response_norm")
    if input.ndim < 3:
        raise ShapeError(f"local_response_norm takes an input of shape (N, C, ...) with at least 3 dimensions, got {input.shape}")
    if size < 1:
        raise ValueError(f"local_response_norm sums over at least 1 channel, got size={size}")
    channels = np.arange(input.shape[1])
    offset = channels - channels[:, None]
    band = wrap(((-(size // 2) <= offset) & (offset <= (size - 1) // 2)).astype(input.dtype)).to(device=input.device)
    rows = reshape_to(input, shape=(*input.shape[:2], prod(input.shape[2:])))
    return input / reshape_to((band @ (rows * rows) * (alpha / size) + k) ** beta, shape=input.shape)


def normalize(input: Tensor, p: float = 2.0, dim: Dims = 1, eps: float = 1e-12, out: None = None) -> Tensor:
    """x/max(‖x‖_p, ε) along a dimension.

    Args:
        input: a floating point tensor of any shape.
        p: the power of the norm.
        dim: the dimension or dimensions of a vector.
        eps: vectors shorter than this are divided by it.
        out: None; the result is a new tensor.

    Returns:
        A tensor of the same shape.

    Raises:
        DTypeError: integers or booleans.
        DimError: a dimension outside the tensor.

    Example:
        >>> import tinygrad_ed as tg
        >>> normalize(tg.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    if out is not None:
        raise TypeError("normalize makes a new tensor and takes no out=; write y = normalize(x)")
    require_float(input, "normalize")
    return input / clamp(norm(input, p, over(input, dim), True), min=eps)
