"""Layers, one family per file; their functions are in `functional`, how parameters begin in `init`."""
from . import functional, init, utils
from .activation import *
from .container import *
from .flatten import *
from .linear import *
from .loss import *
from .module import *
from .parameter import *
