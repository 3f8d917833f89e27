"""How long `import tinygrad_ed` takes beyond `import numpy`, and how much memory, against PyTorch where it is installed.

Every measurement is a fresh Python process; the table shows medians. The processes of the different imports take turns, so
that a machine that slows down slows all of them.

    python benchmarks/import_time.py
    python benchmarks/import_time.py --repeat 21 --json
"""
import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

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
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
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

    results = {}
    for module, rows in runs.items():
        numpy, beyond, peak = (statistics.median(column) for column in zip(*rows))
        results[module] = {"total_s": statistics.median(row[0] + row[1] for row in rows), "numpy_s": numpy, "beyond_numpy_s": beyond,
                           "peak_mb": peak}
    if options.json:
        print(json.dumps({"python": sys.version.split()[0], "repeat": options.repeat, "modules": results}, indent=2))
        return
    print(f"{'import':<12} {'total':>9} {'beyond numpy':>13} {'peak memory':>12}      (medians of {options.repeat} processes)")
    for module, result in results.items():
        beyond = f"{1e3 * result['beyond_numpy_s']:>10.1f} ms" if module != "numpy" else f"{'':>13}"
        print(f"{module:<12} {1e3 * result['total_s']:>6.1f} ms {beyond} {result['peak_mb']:>9.0f} MB")


if __name__ == "__main__":
    main()
