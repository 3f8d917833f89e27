"""Tensors made smaller: sums, means and products (`sums`), the largest and the smallest (`extrema`), spread and length (`moments`)."""
# ruff: noqa: F403
from . import extrema as _extrema
from . import moments as _moments
from . import sums as _sums
from .extrema import *
from .moments import *
from .sums import *

__all__ = [*_sums.__all__, *_moments.__all__, *_extrema.__all__]
