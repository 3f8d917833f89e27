"""The softmax family and gated linear units as modules."""
from __future__ import annotations

from ...errors import ShapeError
from ...tensor import Tensor
from .. import functional as F
from .base import Activation

__all__ = ["GLU", "Hardmax", "LogSoftmax", "Softmax", "Softmax2d", "Softmin"]


class GLU(Activation):
    """a·σ(b) for the two halves a, b of the input; see `functional.glu`.

    Args:
        dim: the dimension that is halved.

    Shapes:
        Input: (…, 2·n, …). Output: (…, n, …).

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.GLU()(tg.tensor([1.0, 2.0, 0.0, 0.0]))
        tensor([0.5000, 1.0000])
    """

    shown = ("dim",)

    def __init__(self, dim: int = -1):
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.glu(input, self.dim)


class Softmax(Activation):
    """e^x / Σ e^x along a dimension.

    Args:
        dim: the dimension that sums to 1; write it, without it a warning is given and one is guessed.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Softmax(dim=0)(tg.tensor([0.0, 0.0]))
        tensor([0.5000, 0.5000])
    """

    shown = ("dim",)

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim, _stacklevel=5)


class Softmax2d(Activation):
    """Softmax over the channels of every pixel.

    Shapes:
        Input: (N, C, H, W) or (C, H, W). Output: the same.

    Raises:
        ShapeError: another number of dimensions.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Softmax2d()(tg.zeros(2, 1, 1))
        tensor([[[0.5000]],
                [[0.5000]]])
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ShapeError(f"Softmax2d takes an input of shape (N, C, H, W) or (C, H, W), got {input.shape}")
        return F.softmax(input, -3)


class LogSoftmax(Activation):
    """log softmax(x) along a dimension.

    Args:
        dim: the dimension whose exponentials sum to 1; as for `Softmax`.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.LogSoftmax(dim=0)(tg.tensor([0.0, 0.0]))
        tensor([-0.6931, -0.6931])
    """

    shown = ("dim",)

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim, _stacklevel=5)


class Softmin(Activation):
    """softmax(-x) along a dimension.

    Args:
        dim: the dimension that sums to 1; as for `Softmax`.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Softmin(dim=0)(tg.tensor([0.0, 1000.0]))
        tensor([1., 0.])
    """

    shown = ("dim",)

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim, _stacklevel=5)


class Hardmax(Activation):
    """1 at the largest element along a dimension, 0 elsewhere; see `functional.hardmax`.

    Args:
        dim: the dimension that sums to 1.
        straight_through: give it the gradient of softmax; its own is 0.

    Shapes:
        Input: any. Output: the same.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.Hardmax()(tg.tensor([0.5, 2.0, 1.0]))
        tensor([0., 1., 0.])
    """

    shown = ("dim", "straight_through")

    def __init__(self, dim: int = -1, straight_through: bool = False):
        super().__init__()
        self.dim, self.straight_through = dim, straight_through

    def forward(self, input: Tensor) -> Tensor:
        return F.hardmax(input, self.dim, self.straight_through)
