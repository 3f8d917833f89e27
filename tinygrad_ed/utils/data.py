"""The data package under the name that PyTorch gives it."""
from ..data import *
from ..data import __all__
