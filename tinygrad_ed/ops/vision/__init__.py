"""What images and signals need: padding, changing their size, and exchanging channels for pixels."""
from . import grids, padding, resizing, shuffling
from .grids import *
from .padding import *
from .resizing import *
from .shuffling import *

__all__ = [*grids.__all__, *padding.__all__, *resizing.__all__, *shuffling.__all__]
