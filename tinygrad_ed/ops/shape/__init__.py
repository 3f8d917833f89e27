"""Other shapes of the same elements: views of the memory, and copies with the elements in other places."""
# ruff: noqa: F403
from . import axes as _axes
from . import copies as _copies
from . import diagonals as _diagonals
from . import sizes as _sizes
from .axes import *
from .axes import _t as _t
from .copies import *
from .diagonals import *
from .sizes import *

__all__ = [*_sizes.__all__, *_axes.__all__, *_copies.__all__, *_diagonals.__all__]
