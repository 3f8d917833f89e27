"""How exactly CUDA devices multiply float32 numbers, and how they convolve. What users set is in `tinygrad_ed.backends`.

Tensor cores multiply numbers with 10 bits behind the point (TF32) several times faster than float32's with 23, and add the products up in float32.
"""
from __future__ import annotations

__all__ = ["PRECISIONS", "Convolutions", "Precision", "Products", "convolutions", "products"]

PRECISIONS = ("highest", "high", "medium")


class Precision:
    """What is allowed in a family of operations; `allow_tf32` is PyTorch's name for the choice between "highest" and "high".

    Example:
        >>> precision = Precision("highest")
        >>> precision.allow_tf32 = True
        >>> precision.name
        'high'
    """

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name                              # "medium", which allows bfloat16 in PyTorch, is computed as "high"

    @property
    def allow_tf32(self) -> bool:
        """Whether float32 numbers may be rounded to TF32 before they are multiplied."""
        return self.name != "highest"

    @allow_tf32.setter
    def allow_tf32(self, value: bool) -> None:
        self.name = "high" if value else "highest"


class Products(Precision):
    """PyTorch's `backends.cuda.matmul`: besides, whether cuBLASLt may apply a ReLU to a layer's product, one launch in place of two.

    That ReLU makes 0 of NaN, so a model that has diverged looks sound: it is off unless one asks for it. PyTorch has no such switch.
    """

    __slots__ = ("allow_relu_epilogue",)

    def __init__(self, name: str):
        super().__init__(name)
        self.allow_relu_epilogue = False

    @property
    def modes(self) -> tuple:
        """All that decides how a product is computed."""
        return self.name, self.allow_relu_epilogue


class Convolutions(Precision):
    """PyTorch's `backends.cudnn`: besides, whether cuDNN is used, and whether it may choose algorithms whose sums come in any order."""

    __slots__ = ("enabled", "deterministic", "benchmark")

    def __init__(self, name: str):
        super().__init__(name)
        self.enabled, self.deterministic = True, False
        self.benchmark = False                        # accepted: cuDNN's heuristics choose, nothing is tried out

    @property
    def modes(self) -> tuple:
        """All that decides how a convolution is computed."""
        return self.name, self.enabled, self.deterministic


products, convolutions = Products("highest"), Convolutions("high")       # PyTorch's defaults
