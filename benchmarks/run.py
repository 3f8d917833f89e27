"""The suite: a training step, inference, growth and the first step, of tinygrad_ed beside PyTorch and its other peers, on the CPU.

    python benchmarks/run.py [--peers torch,jax] [--repeat 5] [--threads 2] [--only c,g,i-d,j] [--engine numpy] [--json FILE]

`pip install ".[bench]"` installs all peers; tinygrad needs clang, which the package ziglang brings along. JAX and tinygrad compile the whole
step, as is usual with them.

Every framework runs a workload (`workloads/`) in a fresh process of its own, from the same data and weights; the processes take turns,
each waits until the others' threads rest, and a ratio is the median over neighbouring turns. The losses of the first three steps, without
dropout, must agree to 1e-4 or the row is refused. Memory is the peak of the whole process, and of that what the steps add.
"""
from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Sequence

import layers
from _common import RESULTS, machine, peak_memory, resident_memory, save, seconds_in_its_course, taking_turns
from _report import OURS, PEERS, REFERENCE, chart, judge, report

TOLERANCE = 1e-4
PATIENCE = 120.0          # seconds until a framework must have built, compiled and run its first steps


# -- what is measured --------------------------------------------------------------------------------------------------

class Job(NamedTuple):
    """A row: a workload of `workloads`, what is done with it, and how large its batch is; "first" is import and first step."""

    key: str
    title: str
    workload: str
    mode: str = "train"
    times: int = 1
    target: float | None = None


def jobs() -> list[list[Job]]:
    """All rows; those of a group take turns with each other."""
    from workloads import GROWTH, WORKLOADS
    rows = [[Job(w.key, w.name, w.key, target=w.target)] for w in WORKLOADS.values()]
    rows += [[Job(f"i-{key}", f"inference of {key}", key, "infer")] for key in ("c", "d", "e", "f-lstm", "f-gru", "g")]
    rows += [[Job(f"j-{key}", f"{key} at {times}×", key, "train", times) for times in (1, 2, 4, 8)] for key in GROWTH]
    return [*rows, [Job("k", "import and first step of b", "b", "first", target=0.15)]]


def wanted(groups: list[list[Job]], only: str) -> list[list[Job]]:
    """The groups that "c,i,j-d" asks for by key, or by a key's first letter; all for ""."""
    asked = [key.strip() for key in only.split(",") if key.strip()]
    known = {key for group in groups for key in (group[0].key, group[0].key.split("-")[0])}
    if unknown := set(asked) - known:
        raise ValueError(f"no workload {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    return [group for group in groups if not asked or {group[0].key, group[0].key.split("-")[0]} & set(asked)]


# -- statistics --------------------------------------------------------------------------------------------------------

def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The first quartile, the median and the third quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    q1, q2, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return q1, q2, q3


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours to theirs, of neighbouring turns."""
    return [a / b for a, b in zip(ours, theirs)]


def disagreement(losses: dict[str, list[float]]) -> str:
    """Whose losses are not tinygrad_ed's to 1e-4, relative and absolute, with the numbers; "" if all agree."""
    ours = losses[OURS]
    agree = lambda theirs: len(theirs) == len(ours) and all(math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
                                                            for a, b in zip(ours, theirs))
    return "; ".join(f"{name} {theirs}, tinygrad_ed {ours}" for name, theirs in losses.items() if not agree(theirs))


# -- one framework, in a process of its own ----------------------------------------------------------------------------

def serve(job: Job, framework: str, threads: int | None, engine: str | None, tiny: bool) -> None:
    """Losses and memory first, then a timing for every line on standard input; a line of JSON for every answer."""
    def answer(**fields: Any) -> None:
        print(json.dumps(fields), flush=True)

    def give_up() -> None:
        answer(missing=f"not ready after {PATIENCE:.0f} s")
        os._exit(1)

    start = time.perf_counter()
    signal.signal(signal.SIGINT, signal.SIG_IGN)      # it ends when its standard input does
    watchdog = threading.Timer(PATIENCE, give_up)
    watchdog.daemon = True
    watchdog.start()
    try:
        _settle(framework, threads)
        if job.mode == "first":
            losses = _numbers(_prepared(job, framework, tiny)())
            return answer(seconds=time.perf_counter() - start, peak=peak_memory(), losses=losses, engine=_engine(framework, engine))
        if framework in (OURS, REFERENCE):            # whose memory is compared
            for _ in range(2):
                _prepared(job, framework, tiny=True)()    # what a framework sets up once is not the workload's memory
        before = resident_memory()
        peak_memory(reset=True)
        step = _prepared(job, framework, tiny)
        steps = range(3 if job.times == 1 else 1)     # growth's larger batches have fewer steps, for time's sake
        losses = [number for _ in steps for number in _numbers(step())]
        peak = peak_memory()
        if job.mode == "train" and _drops_out(job):
            check = _prepared(job, framework, tiny, dropout=False)
            losses = [number for _ in steps for number in _numbers(check())]
            del check
    except (AttributeError, ImportError, NotImplementedError, OSError, ValueError) as error:
        return answer(missing=f"{type(error).__name__}: {error}"[:200])
    finally:
        watchdog.cancel()
    answer(losses=losses, peak=peak, working=max(peak - before, 0.0), engine=_engine(framework, engine))
    for _line in sys.stdin:
        answer(seconds=seconds_in_its_course(step))


def _prepared(job: Job, framework: str, tiny: bool, dropout: bool = True) -> Any:
    from workloads import prepare, problem
    return prepare(framework, problem(job.workload, job.times, tiny), "infer" if job.mode == "infer" else "train", dropout)


def _drops_out(job: Job) -> bool:
    from workloads import WORKLOADS
    return bool(WORKLOADS[job.workload].size.get("dropout"))


def _settle(framework: str, threads: int | None) -> None:
    """Threads, where the environment does not say it already."""
    if framework == "torch" and threads:
        __import__("torch").set_num_threads(threads)
    if framework == "jax" and threads and hasattr(os, "sched_setaffinity"):      # JAX has a thread for every core that it sees
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _engine(framework: str, asked: str | None) -> str | None:
    """The engine that tinygrad_ed computed with; it must be the one asked for."""
    if framework != OURS:
        return None
    try:
        from tinygrad_ed.backend.kernels import engines
        used = engines.active()
    except ImportError:                               # a version that has only NumPy's
        used = "numpy"
    if used != (asked or used):
        raise ValueError(f"--engine {asked}: tinygrad_ed computed with {used}")
    return used


def _numbers(result: Any) -> list[float]:
    """A loss as a list of one number; of an array its first ten."""
    import numpy as np
    return [float(x) for x in np.asarray(result).reshape(-1)[:10]]


class Worker(layers.Worker):
    """The process that serves a row in a framework."""

    def __init__(self, job: Job, framework: str, options: argparse.Namespace):
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", json.dumps([job, framework, options.threads, options.engine, options.tiny])],
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(options.threads, options.engine))

    @cached_property
    def facts(self) -> dict[str, Any]:                # type: ignore[override]  # read when all processes of a row have been started
        """The process's first answer."""
        return self._answer()


def environment(threads: int | None, engine: str | None) -> dict[str, str]:
    """The environment of a process: the package beside this folder, no GPU, the number of threads, and the engine."""
    paths = [str(Path(__file__).resolve().parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    fixed = {"PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu", "DEV": "CPU", "CUDA_VISIBLE_DEVICES": "",
             **({"TINYGRAD_ED_ENGINE": engine} if engine else {})}
    pools = ("OMP_NUM_THREADS", "TINYGRAD_ED_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUM_CPU_THREADS")
    return {**os.environ, **fixed, **({name: str(threads) for name in pools} if threads else {})}


# -- rows --------------------------------------------------------------------------------------------------------------

def measure(group: list[Job], frameworks: list[str], options: argparse.Namespace) -> tuple[list[dict], list[str]]:
    """The figures of a group of rows that take turns, and notes: who does not do it, what was refused."""
    if len(group) > 1:                                # growth: only beside PyTorch
        frameworks = [name for name in frameworks if name in (OURS, REFERENCE)]
    workers: dict[tuple[int, str], Worker] = {}
    notes: list[str] = []
    try:
        facts: dict[tuple[int, str], dict] = {}
        for key in [(k, name) for k in range(len(group)) for name in frameworks]:
            workers[key] = Worker(group[key[0]], key[1], options)
            for earlier in list(workers)[:-1]:        # two start side by side
                facts[earlier] = workers[earlier].facts
        facts[key] = workers[key].facts
        notes += [f"{group[k].key}: no {name}, {fact['missing']}" for (k, name), fact in facts.items()
                 if "missing" in fact and not fact["missing"].startswith("NotImplementedError")]
        present = {key: worker for key, worker in workers.items() if "missing" not in facts[key]}
        for k, job in enumerate(group):
            losses = {name: facts[k, name]["losses"] for name in frameworks if (k, name) in present}
            if OURS not in losses:
                return [], notes
            if found := disagreement(losses):
                return [], [*notes, f"{job.key}: refused, the losses differ: {found}"]
        if group[0].mode == "first":                  # of these processes there are no timings, only facts
            times = _first_steps(group[0], [name for _, name in present], options)
        else:
            tasks = {f"{k} {name}": (lambda worker=worker: worker.seconds("step")) for (k, name), worker in present.items()}
            turns = taking_turns(tasks, options.repeat)
            times = {key: turns[f"{key[0]} {key[1]}"] for key in present}
        return [_row(k, job, {name: times[i, name] for i, name in times if i == k}, facts, times, options)
                for k, job in enumerate(group)], notes
    except (KeyError, OSError) as error:              # "seconds" missing from an answer, or a pipe closed
        return [], [*notes, f"{group[0].key}: left out, a process ended before its time; its error is above ({error!r})"]
    finally:
        for worker in workers.values():
            worker.close()


def _first_steps(job: Job, frameworks: list[str], options: argparse.Namespace) -> dict[tuple[int, str], list[float]]:
    """Import and first step in a new process for every timing."""
    def seconds(name: str) -> float:
        worker = Worker(job, name, options)
        try:
            return worker.facts["seconds"]
        finally:
            worker.close()
    turns = taking_turns({name: (lambda name=name: seconds(name)) for name in frameworks}, options.repeat)
    return {(0, name): times for name, times in turns.items()}


def _row(k: int, job: Job, times: dict[str, list[float]], facts: dict, all_times: dict, options: argparse.Namespace) -> dict[str, Any]:
    """A row's figures, as they go to the JSON file."""
    row: dict[str, Any] = {"key": job.key, "workload": job.title, "mode": job.mode, "times": job.times, "threads": options.threads,
                           "engine": facts[k, OURS].get("engine"), "losses": facts[k, OURS]["losses"], "frameworks": {}}
    for name, seconds in times.items():
        q1, middle, q3 = (1e3 * q for q in quartiles(seconds))
        row["frameworks"][name] = {"ms": middle, "q1": q1, "q3": q3, "peak MB": facts[k, name]["peak"],
                                   "working MB": facts[k, name].get("working")}
        if name != OURS:                              # of ours to the peer's
            q1, middle, q3 = quartiles(ratios(times[OURS], seconds))
            row["frameworks"][name].update({"ratio": middle, "ratio q1": q1, "ratio q3": q3})
    if (0, OURS) in all_times and job.key.startswith("j-"):
        row["growth"] = {name: quartiles(ratios(seconds, all_times[0, name]))[1] / job.times for name, seconds in times.items()}
    row["target"] = job.target
    return row


# -- the command line --------------------------------------------------------------------------------------------------

def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """Parsed and checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help=f"among {','.join(PEERS)} (default: those installed)")
    parser.add_argument("--repeat", type=int, default=5, help="turns of each framework (default: 5)")
    parser.add_argument("--threads", type=int, help="threads of each (default: their own choice)")
    parser.add_argument("--only", default="", metavar="KEYS", help="rows by key: a,c,f-lstm, all of inference: i, of it: i-d")
    parser.add_argument("--engine", help="tinygrad_ed's engine on the CPU (default: its own choice)")
    parser.add_argument("--json", metavar="FILE", help="where the figures go, table and chart beside them (default: results/suite.json, of a "
                                                       "full run)")
    parser.add_argument("--tiny", action="store_true", help="a test's sizes: does it work, not how fast")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        return options
    if options.repeat < 1 or (options.threads or 1) < 1:
        parser.error("--repeat and --threads are at least 1")
    try:
        options.groups = wanted(jobs(), options.only)
    except ValueError as error:
        parser.error(str(error))
    asked = PEERS if options.peers is None else [name.strip() for name in options.peers.split(",") if name.strip()]
    if unknown := set(asked) - set(PEERS):
        parser.error(f"--peers are among {', '.join(PEERS)}, not {', '.join(sorted(unknown))}")
    installed = [name for name in PEERS if name in asked and importlib.util.find_spec(name)]
    if options.peers and (absent := set(asked) - set(installed)):
        parser.error(f"--peers: {', '.join(sorted(absent))} is not installed; pip install {' '.join(sorted(absent))}")
    options.frameworks = [OURS, *installed]
    return options


def main(arguments: list[str] | None = None) -> list[dict]:
    """Measure, print tables, write JSON, Markdown and a chart; returns the rows."""
    options = options_of(arguments)
    if options.serve:
        job, framework, threads, engine, tiny = json.loads(options.serve)
        serve(Job(*job), framework, threads, engine, tiny)
        return []
    rows, notes = [], []
    try:
        for group in options.groups:
            if sys.stderr.isatty():
                print(f"\r{group[0].key}  {group[0].title}".ljust(79), end="", file=sys.stderr, flush=True)
            found, said = measure(group, options.frameworks, options)
            rows += found
            notes += said
    except KeyboardInterrupt:
        notes.append("stopped before the end")
    if sys.stderr.isatty():
        print("\r" + " " * 79 + "\r", end="", file=sys.stderr)
    judge(rows)
    settings = {**machine(), "threads": options.threads or "each framework's own choice", "repeat": options.repeat,
                "engine": ", ".join(sorted({row["engine"] for row in rows}))}
    text = "; ".join(f"{k}: {v}" for k, v in settings.items()) + "\n\n" + report(rows, notes)
    print(text)
    if rows and (options.json or not options.only):
        path = save("suite", rows, options.json or str(RESULTS / "suite.json"))
        path.with_suffix(".md").write_text(f"# suite\n\n{text}\n")
        drawn = chart(rows, path.with_suffix(".png"))
        print(f"\nwritten to {path}, .md{' and .png' if drawn else ' (no chart: pip install matplotlib, and PyTorch)'}")
    return rows


if __name__ == "__main__":
    main()
