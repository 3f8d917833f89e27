"""From an operation to `.grad`: how an op is declared, the backward walk, modes, custom operations, checks."""
from . import functional
from .engine import backward, grad
from .function import Function, once_differentiable
from .gradcheck import GradcheckError, gradcheck, gradgradcheck
from .modes import detect_anomaly, enable_grad, inference_mode, no_grad, set_detect_anomaly, set_grad_enabled

__all__ = ["Function", "GradcheckError", "backward", "detect_anomaly", "enable_grad", "functional", "grad", "gradcheck", "gradgradcheck",
           "inference_mode", "no_grad", "once_differentiable", "set_detect_anomaly", "set_grad_enabled"]
