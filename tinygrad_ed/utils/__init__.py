"""What stands beside training, under PyTorch's names."""
from . import checkpoint, data

__all__ = ["checkpoint", "data"]
