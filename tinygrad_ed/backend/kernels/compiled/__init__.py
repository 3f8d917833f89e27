"""The compiled engine: the kernels of the table that are written in C, and for the others those in NumPy.

A family has a file here, with functions of the same names and arguments as in `plain`, and one in c/ with the loops. What does not suit the
loops, other dtypes than float32 and float64 above all, goes to `plain`; arrays that are not contiguous are copied. Results of both engines differ
by rounding, and what one keeps for the way back the other understands.

Importing this raises ImportError where the kernels have not been built; `engines` asks.
"""
from ..plain import *
from .activation import *
from .attention import *
from .class_loss import *
from .conv import *
from .dropout import *
from .elementwise import *
from .embedding import *
from .matmul import *
from .norm import *
from .optim import *
from .pool import *
from .recurrent import *
from .reduce import *
from .softmax import *
