"""A strict stand-in for CuPy, so that what the package does on a CUDA device is checked where there is none.

    with standin.installed():
        x = tg.ones(3, device="cuda")
        with standin.counting() as counts:
            y = x.exp()
        assert counts.launches == 1 and not counts.syncs

It computes with NumPy, and refuses what CuPy refuses: arrays of NumPy among its own, functions, arguments and dtypes that CuPy does not
have (`cupy.json`, recorded from the real one by `record.py`). Memory that nobody wrote is NaN, and reading what another stream writes
is an error. It counts kernel launches, allocations, waits of the host and copies to the device. While a stream captures, launches are
recorded instead, a graph replays them on the same memory, and what CUDA refuses then is refused (`graphs.py`).
"""
from .arrays import ndarray
from .namespace import installed, modules
from .tally import Counts, HiddenSync, counting, without_syncs

__all__ = ["Counts", "HiddenSync", "counting", "installed", "modules", "ndarray", "without_syncs"]
