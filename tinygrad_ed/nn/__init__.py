"""Layers, one family per file; their functions are in `functional`, how parameters begin in `init`."""
from . import (
    activation,
    attention,
    channelshuffle,
    container,
    conv,
    distance,
    dropout,
    embedding,
    flatten,
    functional,
    init,
    lazy,
    linear,
    loss,
    module,
    norm,
    padding,
    parameter,
    pixelshuffle,
    pool,
    rnn,
    transformer,
    upsampling,
    utils,
)
from .activation import *
from .attention import *
from .channelshuffle import *
from .container import *
from .conv import *
from .distance import *
from .dropout import *
from .embedding import *
from .flatten import *
from .lazy import *
from .linear import *
from .loss import *
from .module import *
from .norm import *
from .padding import *
from .parameter import *
from .pixelshuffle import *
from .pool import *
from .rnn import *
from .transformer import *
from .upsampling import *

_FAMILIES = (
    activation, attention, channelshuffle, container, conv, distance, dropout, embedding, flatten, lazy, linear, loss, module, norm, padding,
    parameter, pixelshuffle, pool, rnn, transformer, upsampling,
)

__all__ = sorted(name for family in _FAMILIES for name in family.__all__)
