"""Training steps on a CUDA device: eager and captured, beside PyTorch eager, compiled and as CUDA graphs, in one run of less than 9 minutes.

    python benchmarks/gpu.py [--minutes 8] [--only mlp,gpt] [--precision float32,tf32,bf16] [--no-compile] [--json FILE] [--tiny]

All variants of a row start from the same weights and take the same batch; the losses of their first three steps, without dropout, must agree
or the row is refused. Then they take turns, each turn between two events of the device; a ratio is the median over neighbouring turns.
Without PyTorch for CUDA there are only our own figures; a precision that is missing is left out with a note. Float32 comes first, and what
would not end in time is left out. Kernels are those that PyTorch's profiler (CUPTI) sees, launches the calls of the host for them.
"""
from __future__ import annotations

import argparse
import gc
import importlib.util
import math
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import workloads
from _common import RESULTS, machine, median, ratio, save, table, taking_turns
from workloads import Problem, torch_style

import tinygrad_ed as tg

TOLERANCE = {"float32": 1e-3, "tf32": 2e-2, "bf16": 6e-2}                # of the losses, relative
TARGETS = [("captured", "torch eager", 0.5), ("captured", "torch graphs", 1.0), ("eager", "torch eager", 1.5)]      # ours, theirs, the ratio
SHORTEST = 20.0              # milliseconds that a turn takes at least
TURNS = 15
COMPILING = 0.6              # part of the time after which nothing is compiled any more


class Row(NamedTuple):
    """A workload of the suite on the device; `size` is what differs from the CPU's."""

    key: str
    title: str
    workload: str
    size: dict[str, Any]


ROWS = [
    Row("mlp-small", "MLP 64-64-64-10, batch 64, Adam", "b", {}),
    Row("mlp", "MLP 784-512-256-10, BN, dropout, clipping, Adam, batch 128", "c", {}),
    Row("cnn", "CNN 32-64-128-10, BN, 64×1×28×28, SGD momentum", "d", {}),
    Row("lstm", "LSTM 64→128, 64 steps, batch 32, clipping, Adam", "f-lstm", {}),
    Row("gpt", "GPT, 4 causal blocks, width 256, 128 tokens, batch 16, AdamW", "g", dict(width=256, heads=8, blocks=4, steps=128, batch=16)),
]


# -- one step, in either framework -------------------------------------------------------------------------------------

class Step:
    """A training step on the device, which both frameworks run as written here.

    Args:
        lib: tinygrad_ed or torch.
        problem: sizes, the batch and the first weights.
        precision: "float32", "tf32" or "bf16".
        dropout: whether to drop at all.
        options: more arguments of the optimizer.
    """

    def __init__(self, lib: Any, problem: Problem, precision: str, dropout: bool = True, **options: Any):
        workload, size = problem.workload, problem.size
        lib.manual_seed(0)
        self.lib, self.clip, self.half = lib, workload.clip, precision == "bf16"
        self.model = torch_style.MODELS[workload.model](lib, **{**size, "dropout": size.get("dropout", 0) if dropout else 0})
        state = self.model.state_dict()
        state.update({name: lib.tensor(array) for name, array in problem.weights.items()})
        self.model.load_state_dict(state)
        self.model.to("cuda")
        self.batch = lib.tensor(problem.inputs).to("cuda"), lib.tensor(problem.targets.reshape(-1)).to("cuda")
        self.parameters = list(self.model.parameters())
        self.optimizer = getattr(lib.optim, workload.optimizer)(self.parameters, **torch_style.OPTIMIZERS[workload.optimizer], **options)

    def __call__(self, inputs: Any, targets: Any) -> Any:
        lib = self.lib
        self.optimizer.zero_grad()
        with lib.amp.autocast("cuda", dtype=lib.bfloat16) if self.half else nullcontext():
            loss = lib.nn.functional.cross_entropy(self.model(inputs), targets)
        loss.backward()
        if self.clip:
            lib.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimizer.step()
        return loss.detach()


def prepare(variant: str, problem: Problem, precision: str, dropout: bool = True) -> Callable[[], Any]:
    """A variant's step, to be called without arguments: on the same batch again, which a captured one copies.

    A step of ours that cannot be captured raises the warning that says why.
    """
    framework, _, how = variant.rpartition(" ")
    lib = importlib.import_module(framework or "tinygrad_ed")
    options = {"capturable": True} if variant == "torch graphs" and problem.workload.optimizer != "SGD" else {}
    step = Step(lib, problem, precision, dropout, **options)
    if how == "compile":
        step.model = lib.compile(step.model)
    if how == "graphs":
        return torch_graph(lib, step)
    call = lib.cuda.graph(step) if how == "captured" else step

    def run() -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*cannot be captured")
            return call(*step.batch)
    return run if how == "captured" else lambda: step(*step.batch)


def torch_graph(torch: Any, step: Step) -> Callable[[], Any]:
    """PyTorch's step as a CUDA graph, as its documentation writes it: three eager steps on a side stream, capture, copies into static inputs."""
    static, calls, losses = [x.clone() for x in step.batch], 0, []
    g, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()

    def run() -> Any:
        nonlocal calls
        calls += 1
        if calls <= 3:
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                loss = step(*static)
            torch.cuda.current_stream().wait_stream(side)
            return loss
        if calls == 4:
            step.optimizer.zero_grad(set_to_none=True)
            with torch.cuda.graph(g):
                losses.append(step(*static))
        for to, x in zip(static, step.batch):
            to.copy_(x)
        g.replay()
        return losses[0].clone()
    return run


@contextmanager
def allowing(precision: str, libs: list[Any]) -> Iterator[None]:
    """A block in which float32 products may be TF32's, or not."""
    switches = [switch for lib in libs for switch in (lib.backends.cuda.matmul, lib.backends.cudnn)]
    before = [switch.allow_tf32 for switch in switches]
    try:
        for switch in switches:
            switch.allow_tf32 = precision == "tf32"
        yield
    finally:
        for switch, value in zip(switches, before):
            switch.allow_tf32 = value


# -- what is measured --------------------------------------------------------------------------------------------------

def milliseconds(lib: Any, step: Callable[[], Any], count: int) -> float:
    """Of the device, for one of `count` steps."""
    start, end = lib.cuda.Event(enable_timing=True), lib.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(count):
        step()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / count


def launches(torch: Any, step: Callable[[], Any]) -> tuple[int | None, int | None]:
    """Kernels of a step and the host's calls that launch them, in whichever framework; None where nothing can count them."""
    if torch is None:
        return None, None
    from torch.profiler import ProfilerActivity, profile
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        step()
        torch.cuda.synchronize()
    events = found.events()
    on_device = [e for e in events if "CUDA" in str(e.device_type) and not e.name.startswith(("Memcpy", "Memset"))]
    return len(on_device), sum("Launch" in e.name and "CUDA" not in str(e.device_type) for e in events)


def with_cuda() -> Any:
    """PyTorch, if it can use the device; None otherwise."""
    if importlib.util.find_spec("torch") is None:
        return None
    torch = importlib.import_module("torch")
    return torch if torch.cuda.is_available() else None


def losses(variant: str, problem: Problem, precision: str) -> list[float]:
    """Of the first five steps, without dropout: some eager, and where there are others, some of those."""
    step = prepare(variant, problem, precision, dropout=False)
    return [float(step()) for _ in range(5)]


class Bench:
    """The run: what is left of its time, the variants, and notes on what was left out."""

    def __init__(self, options: argparse.Namespace):
        self.options, self.torch, self.start = options, with_cuda(), time.monotonic()
        self.libs = [tg, *filter(None, [self.torch])]
        self.variants = ["eager", "captured"]
        self.notes: list[str] = []
        if self.torch is not None:
            self.variants += ["torch eager", "torch graphs", *([] if options.no_compile else ["torch compile"])]
        else:
            self.notes.append("no PyTorch that can use the device, so only our own figures")

    def used(self) -> float:
        """The part of the time that is over."""
        return (time.monotonic() - self.start) / (60 * self.options.minutes)

    def rows(self) -> list[dict]:
        """All rows that fit into the time, float32 first."""
        jobs = [(row, precision) for precision in self.options.precisions for row in self.options.rows]
        found = []
        for k, (row, precision) in enumerate(jobs):
            if self.used() > 0.95:
                self.notes.append(f"{row.key} {precision}: left out, the time is over")
                continue
            end = self.start + 60 * self.options.minutes * (self.used() + (1 - self.used()) / (len(jobs) - k))
            try:
                with allowing(precision, self.libs):
                    figures = self.row(row, precision, end)
            except Exception as error:  # out of memory, say; the other rows may do
                figures = None
                self.notes.append(f"{row.key} {precision}: left out, {short(error)}")
            found += [figures] if figures else []
        return found

    def row(self, row: Row, precision: str, end: float) -> dict | None:
        """The figures of a row, measured until a moment; None where it is refused."""
        name = f"{row.key} {precision}"
        problem = workloads.problem(row.workload, tiny=self.options.tiny, **row.size)
        first: dict[str, list[float]] = {}
        for variant in self.variants:
            if variant == "torch compile" and self.used() > COMPILING:
                self.notes.append(f"{name}: {variant} left out, it would take too long to compile")
                continue
            try:
                first[variant] = losses(variant, problem, precision)
            except Exception as error:  # a variant or a precision that is not there must not end the run
                self.notes.append(f"{name}: no {variant}, {short(error)}")
        if "eager" not in first:
            return None
        if said := disagreement(first, TOLERANCE[precision]):
            self.notes.append(f"{name}: refused, the losses differ: {said}")
            return None
        steps, tasks, figures = {}, {}, {}
        for variant in first:
            lib = self.torch if variant.startswith("torch") else tg
            gc.collect()
            lib.cuda.synchronize()
            before = lib.cuda.memory_allocated()
            lib.cuda.reset_peak_memory_stats()
            steps[variant] = step = prepare(variant, problem, precision)
            for _ in range(6):
                step()
            lib.cuda.synchronize()
            kernels, calls = launches(self.torch, step)
            count = max(1, math.ceil(SHORTEST / max(milliseconds(lib, step, 2), 1e-3))) if not self.options.tiny else 1
            figures[variant] = {"peak MB": (lib.cuda.max_memory_allocated() - before) / 2**20, "kernels": kernels, "launches": calls}
            tasks[variant] = lambda lib=lib, step=step, count=count: milliseconds(lib, step, count)
        times: dict[str, list[float]] = {variant: [] for variant in tasks}
        while len(times["eager"]) < (2 if self.options.tiny else TURNS) and (time.monotonic() < end or len(times["eager"]) < 3):
            for variant, found in taking_turns(tasks, 1).items():
                times[variant] += found
        for variant, found in times.items():
            figures[variant]["ms"] = median(found)
        ratios = {f"{ours} / {theirs}": ratio(times[ours], times[theirs]) for ours, theirs, _ in TARGETS if ours in times and theirs in times}
        return {"key": row.key, "workload": row.title, "precision": precision, "turns": len(times["eager"]), "losses": first["eager"],
                "variants": figures, "ratios": ratios}


def short(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:300]}"


def disagreement(found: dict[str, list[float]], tolerance: float) -> str:
    """Whose losses are not those of our eager steps, with the numbers; "" if all agree."""
    ours = found["eager"]
    return "; ".join(f"{name} {theirs}, eager {ours}" for name, theirs in found.items()
                     if not all(math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance) for a, b in zip(ours, theirs)))


# -- the report --------------------------------------------------------------------------------------------------------

def report(rows: list[dict], notes: list[str]) -> str:
    """Tables of times with ratios, and of kernels, launches and memory; the notes."""
    names = [name for name in ("eager", "captured", "torch eager", "torch compile", "torch graphs") if any(name in row["variants"] for row in rows)]
    cell = lambda row, name, field: "" if (x := row["variants"].get(name, {}).get(field)) is None else x
    targets = {head: target for ours, theirs, target in TARGETS if any((head := f"{ours} / {theirs}") in row["ratios"] for row in rows)}
    times, costs = [], []
    for row in rows:
        head = {"": row["key"], "precision": row["precision"]}
        times.append({**head, **{f"{name} ms": cell(row, name, "ms") for name in names},
                      **{f"{head} (≤ {target})": row["ratios"].get(head, "") for head, target in targets.items()}})
        costs.append({**head, **{f"{name} {field}": cell(row, name, field) for field in ("kernels", "launches", "peak MB") for name in names
                                 if any(cell(other, name, field) != "" for other in rows)}})
    legend = "\n".join(f"- {row.key}: {row.title}" for row in ROWS if any(row.key == found["key"] for found in rows))
    parts = [table(times), "A step's kernels, the host's launches of them, and peak memory that it adds.\n\n" + table(costs), legend] if rows else []
    return "\n\n".join([*parts, "\n".join(f"- {note}" for note in notes)])


def settings() -> dict[str, str]:
    """What was measured on: the machine, the device, and the versions."""
    import cupy
    found = {key: value for key, value in machine().items() if key != "torch"}
    found |= {"device": tg.cuda.get_device_name(), "driver": str(cupy.cuda.runtime.driverGetVersion()), "cupy": cupy.__version__}
    torch = with_cuda()
    return found | ({"torch": f"{torch.__version__}, CUDA {torch.version.cuda}"} if torch else {})


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """Parsed and checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="the time that it may take (default: 8)")
    parser.add_argument("--only", default=",".join(row.key for row in ROWS), metavar="KEYS", help="rows by key (default: all)")
    parser.add_argument("--precision", default=",".join(TOLERANCE), help="precisions, in this order (default: all)")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile, which takes most of the time")
    parser.add_argument("--json", metavar="FILE", help="where the figures go, the table beside them (default: results/gpu_<device>.json)")
    parser.add_argument("--tiny", action="store_true", help="a test's sizes: does it work, not how fast")
    options = parser.parse_args(arguments)
    keys, options.precisions = options.only.split(","), options.precision.split(",")
    if not options.minutes > 0:
        parser.error(f"--minutes is above 0, got {options.minutes}")
    for what, asked, there in (("--only", keys, [row.key for row in ROWS]), ("--precision", options.precisions, list(TOLERANCE))):
        if unknown := set(asked) - set(there):
            parser.error(f"{what} is among {', '.join(there)}, not {', '.join(sorted(unknown))}")
    options.rows = [row for row in ROWS if row.key in keys]
    if not tg.cuda.is_available():
        parser.error(f"there is no CUDA device to measure on: {tg.cuda.why_not()}")
    return options


def main(arguments: list[str] | None = None) -> list[dict]:
    """Measure, print tables, write JSON and Markdown; returns the rows."""
    options = options_of(arguments)
    bench = Bench(options)
    rows = bench.rows()
    text = "; ".join(f"{key}: {value}" for key, value in settings().items()) + "\n\n" + report(rows, bench.notes)
    print(text)
    if rows and (options.json or not options.tiny):
        name = "gpu_" + re.sub(r"\W+", "_", tg.cuda.get_device_name().lower()).strip("_")
        path = save(name, rows, options.json or str(RESULTS / f"{name}.json"), settings())
        path.with_suffix(".md").write_text(f"# {name}\n\n{text}\n")
        print(f"\nwritten to {path} and .md in {time.monotonic() - bench.start:.0f} s")
    return rows


if __name__ == "__main__":
    main()
