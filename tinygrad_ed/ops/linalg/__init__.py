"""Linear algebra: inverses, determinants and decompositions of matrices and of stacks of them.

Here are the primitives with their derivatives, and the functions that PyTorch has at its top level; the module
`tinygrad_ed.linalg` adds the rest. Formulas run on arrays and on tensors; `@` is the matrix product, mT the transpose.
"""
# ruff: noqa: F403
from . import decompositions as _decompositions
from . import determinants as _determinants
from . import inverses as _inverses
from .decompositions import *
from .determinants import *
from .inverses import *

__all__ = [*_inverses.__all__, *_determinants.__all__, *_decompositions.__all__]
