"""From an operation to `.grad`: how an op is declared, the backward walk, modes, custom operations, checks."""
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from . import functional
from .engine import backward, grad
from .function import Function, once_differentiable
from .gradcheck import GradcheckError, gradcheck, gradgradcheck
from .modes import detect_anomaly, enable_grad, inference_mode, no_grad, set_detect_anomaly, set_grad_enabled

if _TYPE_CHECKING:
    from ..legacy import Variable

__all__ = ["Function", "GradcheckError", "Variable", "backward", "detect_anomaly", "enable_grad", "functional", "grad", "gradcheck", "gradgradcheck",
           "inference_mode", "no_grad", "once_differentiable", "set_detect_anomaly", "set_grad_enabled"]


def __getattr__(name: str) -> _Any:
    if name == "Variable":                             # at its first use: legacy.py stands on tensors, which stand on this room
        from ..legacy import Variable
        return Variable
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
