"""Microseconds of one optimizer step beside PyTorch's three implementations, for few and many, small and large tensors.

    python benchmarks/optim.py [--repeat 15] [--threads 2] [--only "adam.*1000"] [--engine numpy] [--json FILE]

Each framework runs in a fresh process of its own; they take turns, and a ratio is the median over neighbouring turns. Only `step` is
measured: the gradients are where a backward has left them. The parameters after some steps are compared, so that both are known
to do the same work. Beside the JSON file comes one with the same table in Markdown.
"""
from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import layers
from _common import machine, median, ratio, save, seconds_in_its_course, table, taking_turns

MODES: dict[str, dict[str, bool]] = {"default": {}, "foreach": {"foreach": True}, "fused": {"fused": True}}
METHODS: dict[str, tuple[str, dict[str, float]]] = {
    "SGD, momentum": ("SGD", {"lr": 1e-4, "momentum": 0.9}), "Adam": ("Adam", {"lr": 1e-4}), "AdamW": ("AdamW", {"lr": 1e-4})}


# -- what is measured --------------------------------------------------------------------------------------------------

class Row(NamedTuple):
    """A method on a number of tensors that have so many elements together."""

    method: str
    tensors: int
    elements: int

    @property
    def target(self) -> float:
        """The ratio to PyTorch's foreach to stay below."""
        return 0.2 if self.tensors >= 100 and self.elements <= 1000 * self.tensors else 1.3


SIZES = [(10, 10**4), (100, 10**4), (1000, 10**4), (10, 10**5), (100, 10**5), (1000, 10**5), (10, 10**6), (100, 10**6), (1000, 10**6),
         (10, 10**7), (100, 10**7)]
ROWS = [Row(method, *size) for method in METHODS for size in SIZES]


# -- one framework, in a process of its own ----------------------------------------------------------------------------

class Task:
    """A row in one framework: parameters with gradients from a backward, and an optimizer that has made some steps."""

    def __init__(self, row: Row, framework: str, options: dict[str, bool]):
        import numpy as np
        lib = __import__(framework)
        name, defaults = METHODS[row.method]
        values = np.random.default_rng(0).normal(size=(row.tensors, row.elements // row.tensors)).astype("float32")
        self.params = [lib.nn.Parameter(lib.tensor(v)) for v in values]
        self.optimizer = getattr(lib.optim, name)(self.params, **defaults, **options)
        for _ in range(3):
            self.optimizer.zero_grad()
            for p in self.params:                     # one at a time, for the memory of large ones
                (p * p).mean().backward()
            self.optimizer.step()
        self.step = self.optimizer.step
        for _ in range(7):
            self.step()

    def mean(self) -> float:
        """To be compared."""
        return sum(p.detach().abs().sum().item() for p in self.params) / sum(p.numel() for p in self.params)


def serve(row: Row, framework: str) -> None:
    """Time a step whenever standard input names an implementation; a line of JSON for every answer."""
    def answer(**fields: Any) -> None:
        print(json.dumps(fields), flush=True)

    if framework == "torch" and (threads := os.environ.get("OMP_NUM_THREADS")):
        __import__("torch").set_num_threads(int(threads))
    modes = MODES if framework == "torch" else {"default": {}}
    tasks = {mode: Task(row, framework, options) for mode, options in modes.items()}
    for task in tasks.values():
        task.step()
    answer(means=[task.mean() for task in tasks.values()])
    for line in sys.stdin:
        answer(seconds=seconds_in_its_course(tasks[line.strip()].step))


class Worker(layers.Worker):
    """The process that serves a row in a framework."""

    def __init__(self, row: Row, framework: str):
        paths = [str(Path(__file__).resolve().parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen([sys.executable, __file__, "--serve", str(ROWS.index(row)), framework], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
        self.facts = self._answer()


# -- the table ---------------------------------------------------------------------------------------------------------

def measure(row: Row, repeat: int) -> tuple[dict[str, Any], str]:
    """A row's figures, and a note where the frameworks did not compute the same."""
    workers: dict[str, Worker] = {}
    try:
        for framework in ("tinygrad_ed", "torch"):
            workers[framework] = Worker(row, framework)
        means = [mean for worker in workers.values() for mean in worker.facts["means"]]
        tasks = {"tinygrad_ed": partial(workers["tinygrad_ed"].seconds, "default")}
        tasks |= {mode: partial(workers["torch"].seconds, mode) for mode in MODES}
        times = taking_turns(tasks, repeat)
    finally:
        for worker in workers.values():
            worker.close()
    figures: dict[str, Any] = {"method": row.method, "tensors": row.tensors, "elements": row.elements,
                               "µs": median(times["tinygrad_ed"]) * 1e6}
    figures |= {f"µs, torch {mode}": median(times[mode]) * 1e6 for mode in MODES}
    figures |= {f"ratio to {mode}": ratio(times["tinygrad_ed"], times[mode]) for mode in MODES}
    figures |= {"target": row.target, "met": "yes" if figures["ratio to foreach"] <= row.target else "no"}
    same = all(math.isclose(mean, means[0], rel_tol=1e-5) for mean in means)
    return figures, "" if same else f"{row}: the results differ, {means}"


def main() -> None:
    """Measure, print a table, write JSON and Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=15, help="turns of each implementation (default: 15)")
    parser.add_argument("--threads", type=int, help="threads of both (default: their own choice)")
    parser.add_argument("--only", metavar="PATTERN", default="", help='rows such as "Adam, 10 tensors, 10000" that match, a regular expression')
    parser.add_argument("--engine", help="the engine that computes on the CPU (default: its own choice)")
    parser.add_argument("--json", metavar="FILE", help="where the figures go (default: results/optim.json, of a full run)")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve(ROWS[int(args.serve[0])], args.serve[1])
    if args.repeat < 1 or (args.threads or 1) < 1:
        parser.error("--repeat and --threads are at least 1")
    if args.engine:
        os.environ["TINYGRAD_ED_ENGINE"] = args.engine
    if args.threads:
        for name in ("OMP_NUM_THREADS", "TINYGRAD_ED_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = str(args.threads)

    rows, notes = [], []
    for row in ROWS:
        if re.search(args.only, f"{row.method}, {row.tensors} tensors, {row.elements}", re.IGNORECASE):
            if sys.stderr.isatty():
                print(f"\r{row.method}, {row.tensors} tensors, {row.elements}".ljust(79), end="\r", file=sys.stderr, flush=True)
            figures, note = measure(row, args.repeat)
            rows.append(figures)
            notes += [note] if note else []
    text = "\n\n".join(["; ".join(f"{k}: {v}" for k, v in machine().items()), table(rows) if rows else "no rows", *notes])
    print(text)
    if rows and (args.json or not args.only):
        target = save("optim", rows, args.json)
        target.with_suffix(".md").write_text(text + "\n")
        print(f"\nwritten to {target} and {target.with_suffix('.md')}")


if __name__ == "__main__":
    main()
