"""How long `import tinygrad_ed` takes beyond `import numpy`, and how much memory, against PyTorch where it is installed.

Every measurement is a fresh Python process; the table shows medians. The processes of the different imports take turns, so
that a machine that slows down slows all of them.

    python benchmarks/import_time.py
    python benchmarks/import_time.py --repeat 21 --json times.json
"""
import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
from pathlib import Path

from _common import machine, save, table

ROOT = Path(__file__).resolve().parent.parent

# prints the seconds for NumPy, the seconds for the module after it, and the peak memory of the process in megabytes
MEASURE = """
import sys, time
start = time.perf_counter()
import numpy
between = time.perf_counter()
if sys.argv[1] != "numpy":
    __import__(sys.argv[1])
end = time.perf_counter()
try:
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024 ** 2)
except ImportError:
    peak = float("nan")
print(between - start, end - between, peak)
"""


def measure(module: str) -> tuple[float, ...]:
    """Seconds for NumPy, seconds for the module beyond it, and peak megabytes, of one fresh process."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    run = subprocess.run([sys.executable, "-c", MEASURE, module], capture_output=True, text=True, env=environment)
    if run.returncode:
        raise SystemExit(f"import {module} failed:\n{run.stderr}")
    return tuple(map(float, run.stdout.split()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeat", type=int, default=9, help="processes per module (default: 9)")
    parser.add_argument("--json", metavar="FILE", help="where to write the results (default: results/import_time.json)")
    options = parser.parse_args()
    if options.repeat < 1:
        parser.error("--repeat is at least 1")

    modules = [m for m in ("numpy", "tinygrad_ed", "torch") if m in ("numpy", "tinygrad_ed") or importlib.util.find_spec(m)]
    runs: dict[str, list] = {module: [] for module in modules}
    for module in modules:                            # one run that does not count fills the file cache
        measure(module)
    for _ in range(options.repeat):
        for module in modules:
            runs[module].append(measure(module))

    rows = []
    for module, measured in runs.items():
        _, beyond, peak = (statistics.median(column) for column in zip(*measured))
        rows.append({"import": module, "total (ms)": 1e3 * statistics.median(run[0] + run[1] for run in measured),
                     "beyond numpy (ms)": 1e3 * beyond, "peak memory (MB)": peak})
    print("; ".join(f"{k}: {v}" for k, v in machine().items()), end="\n\n")
    print(table(rows))
    print(f"\nwritten to {save('import_time', rows, options.json)}")


if __name__ == "__main__":
    main()
