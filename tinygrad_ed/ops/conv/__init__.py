"""Convolutions, transposed convolutions, and the windows they are made of, in one, two and three dimensions."""
from . import convolution, folding, transposed
from .convolution import *
from .folding import *
from .transposed import *

__all__ = [*convolution.__all__, *transposed.__all__, *folding.__all__]
