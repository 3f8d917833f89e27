"""Layers that pool; their mathematics is in `ops/pool`."""
from . import sizes, windows
from .sizes import *
from .windows import *

__all__ = [*windows.__all__, *sizes.__all__]
