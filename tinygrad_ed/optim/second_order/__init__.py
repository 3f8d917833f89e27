"""Methods of second order: they use or estimate curvature, call a closure several times in a step, and see all parameters as one vector.

    method               needs from the closure               memory        for
    LBFGS                loss, after backward()               2·m·n         any smooth full-batch problem
    BFGS                 loss, after backward()               n²            the same, small
    NonlinearCG          loss, after backward()               2·n           the same, large
    Newton               loss, with its graph                 n² or n       exact or Hessian-free
    GaussNewton, LevenbergMarquardt   residuals, with graph   m·n           least squares
    CoordinateDescent    loss, with its graph                 n             functions that nearly separate
"""
from .bfgs import BFGS
from .conjugate_gradient import NonlinearCG
from .coordinate_descent import CoordinateDescent
from .gauss_newton import GaussNewton, LevenbergMarquardt
from .lbfgs import LBFGS
from .line_search import armijo, strong_wolfe, wolfe
from .newton import Newton

__all__ = ["BFGS", "CoordinateDescent", "GaussNewton", "LBFGS", "LevenbergMarquardt", "Newton", "NonlinearCG", "armijo", "strong_wolfe",
           "wolfe"]
