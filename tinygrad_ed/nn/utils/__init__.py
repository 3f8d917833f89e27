"""Tools for the parameters of modules."""
from __future__ import annotations

from . import rnn

__all__: list[str] = []
