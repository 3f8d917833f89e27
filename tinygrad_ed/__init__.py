"""tinygrad_ed: PyTorch's interface at NumPy's size, with every gradient proven."""
import warnings as _warnings

from . import autograd, backend, cuda, dtypes, linalg, ops
from .autograd.engine import grad
from .autograd.modes import *
from .backend import Device as device
from .dtypes import *
from .ops.convert import *
from .ops.creation import *
from .ops.elementwise import *
from .ops.index import *
from .ops.join import *
from .ops.linalg import *
from .ops.methods import ALIASES as _ALIASES
from .ops.methods import functions as _functions
from .ops.order import *
from .ops.random import *
from .ops.reduce import *
from .ops.scan import *
from .ops.shape import *
from .ops.softmax import *
from .tensor import Tensor

# log(0) is -inf and 0/0 is NaN here as in PyTorch, without a warning; what NumPy says elsewhere is left alone.
_warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"tinygrad_ed\.")

globals().update({alias: function for alias, function in _functions().items() if alias in _ALIASES})
