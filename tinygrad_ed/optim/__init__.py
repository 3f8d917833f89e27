"""Optimizers: one file per method, `lr` and the rest as in PyTorch."""
from . import lr_scheduler, second_order, swa_utils
from .accumulation import GradientAccumulation, unscale_
from .adadelta import Adadelta
from .adafactor import Adafactor
from .adagrad import Adagrad
from .adam import Adam, AdamW
from .adamax import Adamax
from .asgd import ASGD
from .clipping import AdaptiveClipGrad, ClipGradNorm, ClipGradNormPerParameter, ClipGradValue
from .ensembles import Ensemble, SnapshotEnsemble
from .lamb import LAMB
from .lars import LARS
from .lion import Lion
from .lr_finder import LRFinder
from .muon import Muon
from .nadam import NAdam
from .optimizer import Optimizer
from .radam import RAdam
from .rmsprop import RMSprop
from .rprop import Rprop
from .second_order import BFGS, LBFGS, CoordinateDescent, GaussNewton, LevenbergMarquardt, Newton, NonlinearCG
from .sgd import SGD
from .swa_utils import ExponentialMovingAverage

__all__ = ["ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "AdaptiveClipGrad", "BFGS", "ClipGradNorm",
           "ClipGradNormPerParameter", "ClipGradValue", "CoordinateDescent", "Ensemble", "ExponentialMovingAverage", "GaussNewton",
           "GradientAccumulation", "LAMB", "LARS", "LBFGS", "LRFinder", "LevenbergMarquardt", "Lion", "Muon", "NAdam", "Newton",
           "NonlinearCG", "Optimizer", "RAdam", "RMSprop", "Rprop", "SGD", "SnapshotEnsemble", "lr_scheduler", "second_order",
           "swa_utils", "unscale_"]
