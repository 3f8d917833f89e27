"""What the benchmark scripts share: interleaved timing, a description of the machine, tables and JSON."""
from __future__ import annotations

import json
import math
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any, Callable

RESULTS = Path(__file__).parent / "results"

REST = 0.05               # seconds until the threads of the process before have stopped spinning (OpenBLAS's take 30 ms)
WARM = 0.1                # seconds of steps before a timing: in the course of training the system has spread the threads over the processors
SHORTEST = 0.05           # seconds that a timing takes at least; a shorter step runs several times

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)       # the processes to come import us compiled, as they do everything that was installed


def interleaved(tasks: dict[str, Callable[[], Any]], repeat: int) -> dict[str, list[float]]:
    """Seconds of every repeat of every task, the tasks taking turns so that a busy machine disturbs all alike."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for round_number in range(repeat + 2):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            elapsed = time.perf_counter() - start
            if round_number >= 2:                     # the first two rounds warm up
                times[name].append(elapsed)
    return times


def median(times: list[float]) -> float:
    """The median."""
    return statistics.median(times)


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the ratios of neighbouring repeats, which a slow phase of the machine hits together."""
    return statistics.median(a / b for a, b in zip(ours, theirs))


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    import numpy
    cpu = platform.processor() or platform.machine()
    try:
        cpu = next(line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    found = {"cpu": cpu, "cores": str(os.cpu_count()), "system": f"{platform.system()} {platform.machine()}",
             "python": platform.python_version(), "numpy": numpy.__version__}
    found |= {name: value for name, value in sorted(os.environ.items()) if name.startswith(("OPENBLAS_", "OMP_", "MKL_", "TINYGRAD_ED_"))}
    try:
        import torch
        found["torch"] = f"{torch.__version__}, {torch.get_num_threads()} threads"
    except ImportError:
        pass
    return found


def save(name: str, rows: list[dict], path: str | None = None, settings: dict[str, str] | None = None) -> Path:
    """Write rows and what they were measured on, by default the machine, to a JSON file, by default results/<name>.json."""
    target = Path(path) if path else RESULTS / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"benchmark": name, "machine": settings or machine(), "rows": rows}, indent=1) + "\n")
    return target


def table(rows: list[dict]) -> str:
    """Rows of equal keys as a Markdown table."""
    heads = list(rows[0])
    text = [[f"{row[h]:.3g}" if isinstance(row[h], float) else str(row[h]) for h in heads] for row in rows]
    widths = [max(len(h), *(len(line[i]) for line in text)) for i, h in enumerate(heads)]
    lines = [heads, ["-" * w for w in widths], *text]
    return "\n".join("| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths)) + " |" for line in lines)


def taking_turns(tasks: dict[str, Callable[[], float]], repeat: int) -> dict[str, list[float]]:
    """As `interleaved`, of tasks that time themselves (in processes of their own, say) and return their seconds."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for round_number in range(repeat + 1):
        for name, task in tasks.items():
            seconds = task()
            if round_number:                          # the first round warms up
                times[name].append(seconds)
    return times


def seconds_in_its_course(step: Callable[[], Any]) -> float:
    """Seconds of a step among others like it, in a process that takes turns with others."""
    def timed(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            step()
        return time.perf_counter() - start

    time.sleep(REST)
    once, warm = timed(1), time.perf_counter() + WARM
    while time.perf_counter() < warm:
        once = min(once, timed(1))
    count = math.ceil(SHORTEST / max(once, 1e-6))
    return timed(count) / count


def resident_memory() -> float:
    """The megabytes that this process holds now, after giving back what it has freed; NaN where the system does not tell."""
    import ctypes
    import gc
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, TypeError, AttributeError):      # not the GNU C library
        pass
    return _status("VmRSS")


def peak_memory(reset: bool = False) -> float:
    """The most megabytes that this process has had in memory, since the last reset where the system can do that (Linux)."""
    if reset:
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            pass
    peak = _status("VmHWM")
    if peak != peak:
        try:
            import resource
            import sys
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
        except ImportError:
            pass
    return peak


def _status(field: str) -> float:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
    except (OSError, StopIteration):
        return float("nan")
