"""Tools for the parameters of modules; `parametrize`, `parametrizations`, `rnn` and `stateless` are modules of their own."""
# ruff: noqa: F403
from __future__ import annotations

from . import clip_grad as _clip_grad
from . import convert_parameters as _convert_parameters
from . import freeze as _freeze
from . import fusion as _fusion
from . import init as _init
from . import parametrizations, parametrize, rnn, stateless
from . import penalty as _penalty
from . import spectral_norm as _spectral_norm
from . import weight_norm as _weight_norm
from .clip_grad import *
from .convert_parameters import *
from .freeze import *
from .fusion import *
from .init import *
from .penalty import *
from .spectral_norm import *
from .weight_norm import *

__all__ = sorted(name for family in (_clip_grad, _convert_parameters, _freeze, _fusion, _init, _penalty, _spectral_norm, _weight_norm)
                 for name in family.__all__)
