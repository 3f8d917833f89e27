"""Schedules of the learning rate: `scheduler.step()` after each epoch, or each batch."""
# ruff: noqa: F403
from . import base as _base
from . import compose as _compose
from . import cyclic as _cyclic
from . import factor as _factor
from . import function as _function
from . import plateau as _plateau
from .base import *
from .base import LRScheduler as _LRScheduler  # the old name, from which schedulers are derived
from .compose import *
from .cyclic import *
from .factor import *
from .function import *
from .plateau import *

__all__ = [*_base.__all__, *_factor.__all__, *_function.__all__, *_cyclic.__all__, *_plateau.__all__, *_compose.__all__]
