"""Operations that compare the elements of a tensor with each other: order, ranks, frequencies."""
# ruff: noqa: F403
from . import counting as _counting
from . import quantiles as _quantiles
from . import sorting as _sorting
from .counting import *
from .quantiles import *
from .sorting import *

__all__ = [*_sorting.__all__, *_quantiles.__all__, *_counting.__all__]
