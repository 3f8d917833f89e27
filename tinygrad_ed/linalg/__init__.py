"""Linear algebra, under PyTorch's names: `tinygrad_ed.linalg.inv`, `svd`, `solve`… The derivatives are in `ops/linalg`.

All functions take stacks of matrices too, as tensors with further dimensions in front.
"""
# ruff: noqa: F403
from ..errors import LinAlgError as LinAlgError
from ..ops.linalg import cholesky, det, matrix_exp, matrix_power, slogdet
from ..ops.linalg import inverse as inv
from ..ops.matmul import matmul
from . import decompositions as _decompositions
from . import equations as _equations
from . import norms as _norms
from . import products as _products
from .decompositions import *
from .equations import *
from .norms import *
from .products import *

__all__ = ["cholesky", "det", "inv", "matmul", "matrix_exp", "matrix_power", "slogdet", *_decompositions.__all__, *_equations.__all__,
           *_norms.__all__, *_products.__all__]
