"""The CUDA device interface, under PyTorch's names: devices, streams and events, memory, random numbers. It stands on CuPy."""
from . import devices as _devices
from . import memory as _memory
from . import random as _random
from . import streams as _streams
from .devices import *
from .memory import *
from .random import *
from .streams import *

__all__ = [*_devices.__all__, *_memory.__all__, *_random.__all__, *_streams.__all__]
