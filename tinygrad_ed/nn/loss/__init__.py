"""Losses as modules; their mathematics is in `ops/loss`."""
# ruff: noqa: F403
from . import classes as _classes
from . import elements as _elements
from . import embeddings as _embeddings
from .classes import *
from .elements import *
from .embeddings import *

__all__ = [*_classes.__all__, *_elements.__all__, *_embeddings.__all__]
