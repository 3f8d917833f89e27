"""Parts of tensors: reading them (`subscript`, `reading`, `windows`) and writing them (`subscript`, `writing`, `combining`)."""
# ruff: noqa: F403
from . import combining as _combining
from . import reading as _reading
from . import subscript as _subscript
from . import windows as _windows
from . import writing as _writing
from .combining import *
from .reading import *
from .subscript import *
from .subscript import getitem as getitem
from .subscript import setitem as setitem
from .windows import *
from .writing import *

__all__ = [*_subscript.__all__, *_reading.__all__, *_windows.__all__, *_writing.__all__, *_combining.__all__]
