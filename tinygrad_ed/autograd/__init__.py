"""From an operation to `.grad`: how an op is declared, the backward walk, modes, custom operations, checks."""
from .engine import backward, grad
from .modes import detect_anomaly, enable_grad, inference_mode, no_grad, set_detect_anomaly, set_grad_enabled

__all__ = ["backward", "detect_anomaly", "enable_grad", "grad", "inference_mode", "no_grad", "set_detect_anomaly", "set_grad_enabled"]
