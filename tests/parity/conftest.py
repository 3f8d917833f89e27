"""Comparisons with PyTorch: `pip install ".[parity]" && pytest tests/parity`."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
