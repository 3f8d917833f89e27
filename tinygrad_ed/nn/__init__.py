"""Layers, one family per file; their functions are in `functional`, how parameters begin in `init`."""
from . import activation, container, flatten, functional, init, linear, loss, module, parameter, utils
from .activation import *
from .container import *
from .flatten import *
from .linear import *
from .loss import *
from .module import *
from .parameter import *

__all__ = sorted(name for family in (activation, container, flatten, linear, loss, module, parameter) for name in family.__all__)
