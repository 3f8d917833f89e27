"""How parameters begin: functions that overwrite a tensor and return it, without recording."""
# ruff: noqa: F403
from . import filling as _filling
from . import scaled as _scaled
from . import structured as _structured
from .filling import *
from .scaled import *
from .structured import *

__all__ = sorted([*_filling.__all__, *_scaled.__all__, *_structured.__all__])
