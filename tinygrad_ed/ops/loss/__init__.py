"""Losses: how far an output is from its target, as one number or one per sample."""
# ruff: noqa: F403
from . import alignments as _alignments
from . import binary as _binary
from . import classes as _classes
from . import differences as _differences
from . import embeddings as _embeddings
from . import likelihoods as _likelihoods
from . import margins as _margins
from .alignments import *
from .binary import *
from .classes import *
from .differences import *
from .embeddings import *
from .likelihoods import *
from .margins import *

__all__ = [*_differences.__all__, *_classes.__all__, *_binary.__all__, *_likelihoods.__all__, *_margins.__all__, *_embeddings.__all__,
           *_alignments.__all__]
