"""A layer and the batch norm behind it as one layer, for inference: batch norm is an affine map then, and so is the product of two."""
from __future__ import annotations

import copy

from ...errors import ShapeError
from ...ops.elementwise import rsqrt
from ...ops.like import ones_like, zeros_like
from ...tensor import Tensor
from ..module import Module
from ..parameter import Parameter

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]


def _fused(weight: Tensor, bias: Tensor | None, mean: Tensor, var: Tensor, eps: float, scale: Tensor | None, shift: Tensor | None,
           dim: int) -> tuple[Parameter, Parameter]:
    """W' = s·W and b' = s·(b - mean) + shift with s = scale/√(var + ε), along dimension `dim` of the weight."""
    s = (ones_like(var) if scale is None else scale.detach()) * rsqrt(var.detach() + eps)
    b = zeros_like(mean) if bias is None else bias.detach()
    along = [-1 if i == dim else 1 for i in range(weight.ndim)]
    new_weight = weight.detach() * s.reshape(along)
    new_bias = (b - mean.detach()) * s + (0.0 if shift is None else shift.detach())
    trained = weight.requires_grad, weight.requires_grad if bias is None else bias.requires_grad
    kinds = weight.dtype, weight.dtype if bias is None else bias.dtype
    return Parameter(new_weight.to(kinds[0]), trained[0]), Parameter(new_bias.to(kinds[1]), trained[1])


def fuse_conv_bn_weights(conv_w: Tensor, conv_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor | None,
                         bn_b: Tensor | None, transpose: bool = False) -> tuple[Parameter, Parameter]:
    """The weight and the bias of a convolution that does what a convolution and a batch norm do.

    Args:
        conv_w: the convolution's weight.
        conv_b: its bias, or none.
        bn_rm: the batch norm's running mean.
        bn_rv: its running variance.
        bn_eps: its ε.
        bn_w: its weight, or none.
        bn_b: its bias, or none.
        transpose: whether the convolution is transposed, with its outputs in dimension 1.

    Returns:
        The new weight and bias.

    Example:
        >>> import tinygrad_ed as tg
        >>> w, b = tg.nn.utils.fuse_conv_bn_weights(tg.ones(1, 1, 1), None, tg.tensor([3.0]), tg.tensor([4.0]), 0.0, None, None)
        >>> w.tolist(), b.tolist()
        ([[[0.5]]], [-1.5])
    """
    return _fused(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, int(transpose))


def fuse_linear_bn_weights(linear_w: Tensor, linear_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor | None,
                           bn_b: Tensor | None) -> tuple[Parameter, Parameter]:
    """The weight and the bias of a linear layer that does what a linear layer and a batch norm do.

    Args:
        linear_w: the layer's weight.
        linear_b: its bias, or none.
        bn_rm: the batch norm's running mean.
        bn_rv: its running variance.
        bn_eps: its ε.
        bn_w: its weight, or none.
        bn_b: its bias, or none.

    Returns:
        The new weight and bias.

    Example:
        >>> import tinygrad_ed as tg
        >>> w, b = tg.nn.utils.fuse_linear_bn_weights(tg.ones(1, 1), None, tg.tensor([3.0]), tg.tensor([4.0]), 0.0, None, None)
        >>> w.tolist(), b.tolist()
        ([[0.5]], [-1.5])
    """
    return _fused(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0)


def _ready(layer: Module, bn: Module) -> None:
    if layer.training or bn.training:
        raise ValueError("a layer and a batch norm are fused for inference, since in training statistics change; write model.eval() first")
    if bn.running_mean is None or bn.running_var is None:
        raise ValueError("a batch norm without running statistics cannot be fused; make it with track_running_stats=True")


def _replace(layer: Module, bn: Module, transpose: bool) -> Module:
    fused = copy.deepcopy(layer)
    fused.weight, fused.bias = _fused(layer.weight, layer.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, int(transpose))
    return fused


def fuse_conv_bn_eval(conv: Module, bn: Module, transpose: bool = False) -> Module:
    """A new convolution that does what a convolution and the batch norm behind it do in evaluation mode.

    Args:
        conv: the convolution, in evaluation mode.
        bn: the batch norm, in evaluation mode, with running statistics.
        transpose: whether the convolution is transposed.

    Returns:
        A convolution; the arguments stay as they are.

    Raises:
        ValueError: a module in training mode, or a batch norm without running statistics.
        ShapeError: different numbers of channels.

    Example:
        >>> import tinygrad_ed as tg
        >>> conv, bn = tg.nn.Conv1d(2, 3, 1).eval(), tg.nn.BatchNorm1d(3).eval()
        >>> x = tg.ones(1, 2, 5)
        >>> bool(((fuse_conv_bn_eval(conv, bn)(x) - bn(conv(x))).abs() < 1e-6).all())
        True
    """
    _ready(conv, bn)
    channels = conv.weight.shape[int(transpose)]
    if channels != len(bn.running_mean):
        raise ShapeError(f"the convolution has {channels} output channels, the batch norm {len(bn.running_mean)}")
    return _replace(conv, bn, transpose)


def fuse_linear_bn_eval(linear: Module, bn: Module) -> Module:
    """A new linear layer that does what a linear layer and the batch norm behind it do in evaluation mode.

    Args:
        linear: the linear layer, in evaluation mode.
        bn: the batch norm, in evaluation mode, with running statistics; of as many features, or of one.

    Returns:
        A linear layer; the arguments stay as they are.

    Raises:
        ValueError: a module in training mode, or a batch norm without running statistics.
        ShapeError: different numbers of features.

    Example:
        >>> import tinygrad_ed as tg
        >>> linear, bn = tg.nn.Linear(2, 3).eval(), tg.nn.BatchNorm1d(3).eval()
        >>> x = tg.ones(1, 2)
        >>> bool(((fuse_linear_bn_eval(linear, bn)(x) - bn(linear(x))).abs() < 1e-6).all())
        True
    """
    _ready(linear, bn)
    features = len(bn.running_mean)
    if features not in (1, linear.weight.shape[0]):
        raise ShapeError(f"the linear layer has {linear.weight.shape[0]} output features, the batch norm {features}")
    return _replace(linear, bn, False)
