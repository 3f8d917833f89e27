"""Normalisation as modules; their mathematics is in `ops/norm.py`."""
# ruff: noqa: F403
from . import batch as _batch
from . import layer as _layer
from . import lazy as _lazy
from .batch import *
from .layer import *
from .lazy import *

__all__ = [*_batch.__all__, *_layer.__all__, *_lazy.__all__]
