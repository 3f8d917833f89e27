"""The CUDA engine: the kernels of the table that are written in CUDA C++, and for the others those in CuPy's functions.

A family has a file here, with functions of the same names and arguments as in `plain`, and one in source/ with the kernels; `launch` compiles and
launches them. What does not suit them goes to `plain`; arrays that are not contiguous are copied. Sums are made in a fixed order, so that results are
the same every time, where nothing else is said.
"""
from ..plain import *
from .attention import *
from .class_loss import *
from .columns import *
from .conv import *
from .dropout import *
from .elementwise import *
from .embedding import *
from .matmul import *
from .norm import *
from .optim import *
from .pool import *
from .recurrent import *
from .softmax import *
