"""The CUDA device interface, under PyTorch's names: devices, streams and events, memory, random numbers, captured steps. It stands on CuPy."""
from . import amp
from . import devices as _devices
from . import graphs as _graphs
from . import losses as _losses
from . import memory as _memory
from . import random as _random
from . import steps as _steps
from . import streams as _streams
from .devices import *
from .graphs import *
from .losses import *
from .memory import *
from .random import *
from .steps import *
from .streams import *

__all__ = [*_devices.__all__, *_graphs.__all__, *_losses.__all__, *_memory.__all__, *_random.__all__, *_steps.__all__,
           *_streams.__all__]
