"""Activations as modules."""
# ruff: noqa: F403
from . import choosing as _choosing
from . import piecewise as _piecewise
from . import smooth as _smooth
from .choosing import *
from .piecewise import *
from .smooth import *

__all__ = [*_smooth.__all__, *_piecewise.__all__, *_choosing.__all__]
