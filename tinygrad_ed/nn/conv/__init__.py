"""Layers that convolve; their mathematics is in `ops/conv`."""
from . import convolution, folding, lazy, transposed
from .convolution import *
from .folding import *
from .lazy import *
from .transposed import *

__all__ = [*convolution.__all__, *transposed.__all__, *lazy.__all__, *folding.__all__]
