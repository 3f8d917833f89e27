"""Recurrent layers, and their cells for one step."""
from . import cells, layers
from .cells import *
from .layers import *

__all__ = sorted(cells.__all__ + layers.__all__)
