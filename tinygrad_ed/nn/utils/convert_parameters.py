"""All parameters as one vector, and back."""
from __future__ import annotations

from typing import Iterable

from ...autograd.inplace import write
from ...autograd.modes import no_grad
from ...errors import DeviceError, ShapeError
from ...ops.join import cat
from ...tensor import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def _listed(parameters: Iterable[Tensor]) -> list[Tensor]:
    found = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    devices = {str(p.device) for p in found}
    if len(devices) > 1:
        raise DeviceError(f"the parameters of one vector are on one device, these are on {' and '.join(sorted(devices))}")
    return found


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of several parameters, one after the other; gradients flow back to the parameters.

    Args:
        parameters: tensors on one device.

    Returns:
        A 1-d tensor.

    Raises:
        DeviceError: parameters on two devices.
        ShapeError: none at all.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.utils.parameters_to_vector([tg.tensor([[1.0], [2.0]]), tg.tensor(3.0)])
        tensor([1., 2., 3.])
    """
    found = _listed(parameters)
    if not found:
        raise ShapeError("parameters_to_vector takes one parameter at least; a generator such as model.parameters() is empty after one use")
    return cat([p.reshape(-1) for p in found])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy the elements of a vector into several parameters, which keep their own memory and dtype.

    Args:
        vec: a 1-d tensor with as many elements as all of them.
        parameters: the tensors that are overwritten.

    Raises:
        TypeError: not a tensor.
        ShapeError: not one dimension, or another number of elements; nothing has been changed then.
        DeviceError: parameters on two devices.

    Example:
        >>> import tinygrad_ed as tg
        >>> layer = tg.nn.Linear(2, 1)
        >>> tg.nn.utils.vector_to_parameters(tg.tensor([1.0, 2.0, 3.0]), layer.parameters())
        >>> layer.weight.tolist(), layer.bias.tolist()
        ([[1.0, 2.0]], [3.0])
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters takes a Tensor, got {type(vec).__name__}")
    found = _listed(parameters)
    count = sum(p.numel() for p in found)
    if vec.ndim != 1 or len(vec) != count:
        raise ShapeError(f"vector_to_parameters: the parameters have {count} elements, so the vector has shape ({count},), got {vec.shape}")
    start = 0
    with no_grad():
        for p in found:
            write(p, vec[start:start + p.numel()].reshape(p.shape), "vector_to_parameters")
            start += p.numel()
