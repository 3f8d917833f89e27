"""Layers, one family per file; their functions are in `functional`, how parameters begin in `init`."""
from . import (
    activation,
    channelshuffle,
    container,
    dropout,
    flatten,
    functional,
    init,
    linear,
    loss,
    module,
    norm,
    padding,
    parameter,
    pixelshuffle,
    rnn,
    upsampling,
    utils,
)
from .activation import *
from .channelshuffle import *
from .container import *
from .dropout import *
from .flatten import *
from .linear import *
from .loss import *
from .module import *
from .norm import *
from .padding import *
from .parameter import *
from .pixelshuffle import *
from .rnn import *
from .upsampling import *

_FAMILIES = (
    activation, channelshuffle, container, dropout, flatten, linear, loss, module, norm, padding, parameter, pixelshuffle, rnn,
    upsampling,
)

__all__ = sorted(name for family in _FAMILIES for name in family.__all__)
