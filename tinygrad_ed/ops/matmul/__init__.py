"""Products: matrices, stacks of them and vectors (`core`), under all their names (`named`, `several`), and Einstein's sums (`einsum`)."""
# ruff: noqa: F403
from . import core as _core
from . import einsum as _einsum
from . import named as _named
from . import several as _several
from .core import *
from .core import column as column
from .core import linear as linear
from .core import linear_gelu as linear_gelu
from .core import linear_relu as linear_relu
from .core import mT as mT
from .core import row as row
from .einsum import *
from .named import *
from .several import *

__all__ = [*_core.__all__, *_named.__all__, *_several.__all__, *_einsum.__all__]
