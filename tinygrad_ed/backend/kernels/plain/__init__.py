"""Every fused kernel in the array module's own functions, a family per file: the reference, and what a reader reads."""
from .activation import *
from .attention import *
from .class_loss import *
from .conv import *
from .ctc import *
from .distance import *
from .dropout import *
from .embedding import *
from .loss import *
from .matmul import *
from .norm import *
from .optim import *
from .pool import *
from .recurrent import *
from .reduce import *
from .softmax import *
from .vision import *
