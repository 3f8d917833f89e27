"""Pooling: one number for every window of a tensor's spatial dimensions."""
from . import adaptive, averages, fractional, largest
from .adaptive import *
from .averages import *
from .fractional import *
from .largest import *

__all__ = [*largest.__all__, *averages.__all__, *adaptive.__all__, *fractional.__all__]
