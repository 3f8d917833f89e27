"""The CUDA device interface, under PyTorch's names."""
from .backend.cuda import device_count, is_available, why_not

__all__ = ["device_count", "is_available", "why_not"]
