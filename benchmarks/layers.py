"""Milliseconds and memory of every main layer and loss, forward and forward + backward, beside PyTorch.

    python benchmarks/layers.py [--repeat 15] [--threads 2] [--only lstm] [--json FILE]

For every row each framework runs in a fresh process of its own, so that neither's threads and memory disturb the other; the two
take turns, and the ratio is the median over neighbouring turns. Memory is the peak of three steps, forward and backward, beyond
what the process holds between steps. The results of both are compared, so that both are known to do the same work.
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
from typing import Any, Callable, NamedTuple

from _common import machine, median, peak_memory, ratio, resident_memory, save, seconds_in_its_course, table, taking_turns

FRAMEWORKS = ("tinygrad_ed", "torch")


# -- what is measured --------------------------------------------------------------------------------------------------

class Row(NamedTuple):
    """A layer or function at a size: `build(lib)` gives it and its arguments; `target` is the ratio to stay below."""

    name: str
    size: str
    target: float
    build: Callable[[Any], tuple]
    random: bool = False


def values(*shape: int) -> Any:
    """Reproducible numbers."""
    import numpy as np
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def leaf(lib: Any, *shape: int) -> Any:
    """A tensor that requires grad."""
    return lib.tensor(values(*shape), requires_grad=True)


def integers(lib: Any, below: int, *shape: int, least: int = 0) -> Any:
    """A tensor of class numbers."""
    import numpy as np
    return lib.tensor(np.random.default_rng(below).integers(least, below, shape))


def layer(make: Callable[[Any], Any], *shape: int) -> Callable[[Any], tuple]:
    """A module applied to one input."""
    return lambda lib: (make(lib.nn), leaf(lib, *shape))


def function(call: Callable, *shapes: tuple[int, ...]) -> Callable[[Any], tuple]:
    """A function from `nn.functional` applied to inputs."""
    return lambda lib: (partial(call, lib.nn.functional), *[leaf(lib, *shape) for shape in shapes])


def embedding(number: int, features: int, *shape: int) -> Callable[[Any], tuple]:
    """A table of words and an array of word numbers."""
    return lambda lib: (lib.nn.Embedding(number, features), integers(lib, number, *shape))


def cross_entropy(n: int, classes: int) -> Callable[[Any], tuple]:
    """Logits and class numbers."""
    return lambda lib: (lib.nn.CrossEntropyLoss(), leaf(lib, n, classes), integers(lib, classes, n))


def against(make: Callable[[Any], Any], *shape: int) -> Callable[[Any], tuple]:
    """A loss of an input and a target in [0, 1]."""
    return lambda lib: (make(lib.nn), leaf(lib, *shape), lib.tensor(abs(values(*shape)).clip(0, 1)))


def ctc(steps: int, n: int, classes: int, length: int) -> Callable[[Any], tuple]:
    """Log-probabilities of characters at every step, and texts of a length."""
    def build(lib: Any) -> tuple:
        lengths = [lib.tensor([k] * n) for k in (steps, length)]
        loss = lambda x: lib.nn.functional.ctc_loss(lib.nn.functional.log_softmax(x, dim=2), targets, *lengths)
        targets = integers(lib, classes, n, length, least=1)
        return loss, leaf(lib, steps, n, classes)
    return build


def encoder(width: int, heads: int, hidden: int, *shape: int) -> Callable[[Any], tuple]:
    """An encoder layer without dropout, on (N, steps, width)."""
    return layer(lambda nn: nn.TransformerEncoderLayer(width, heads, hidden, dropout=0.0, batch_first=True), *shape, width)


NORMS, REST = 2.8, 4.0
attention = lambda F, q, k, v: F.scaled_dot_product_attention(q, k, v)
bilinear = lambda F, x: F.interpolate(x, scale_factor=2, mode="bilinear")

ROWS = [
    Row("dropout", "512×512", 0.5, layer(lambda nn: nn.Dropout(0.5), 512, 512), random=True),
    Row("dropout", "64×32×28×28", 0.5, layer(lambda nn: nn.Dropout(0.5), 64, 32, 28, 28), random=True),
    Row("max pooling 2×2", "64×32×28×28", 1.0, layer(lambda nn: nn.MaxPool2d(2), 64, 32, 28, 28)),
    Row("max pooling 2×2", "64×64×14×14", 1.0, layer(lambda nn: nn.MaxPool2d(2), 64, 64, 14, 14)),
    Row("average pooling 2×2", "64×32×28×28", 1.0, layer(lambda nn: nn.AvgPool2d(2), 64, 32, 28, 28)),
    Row("average pooling 2×2", "64×64×14×14", 1.0, layer(lambda nn: nn.AvgPool2d(2), 64, 64, 14, 14)),
    Row("embedding", "10000×128, 32×64 words", 1.0, embedding(10000, 128, 32, 64)),
    Row("embedding", "1000×64, 128×32 words", 1.0, embedding(1000, 64, 128, 32)),
    Row("linear", "128×784 → 512", 1.0, layer(lambda nn: nn.Linear(784, 512), 128, 784)),
    Row("linear", "128×512 → 256", 1.0, layer(lambda nn: nn.Linear(512, 256), 128, 512)),
    Row("batch norm", "128×512", 1.2, layer(lambda nn: nn.BatchNorm1d(512), 128, 512)),
    Row("batch norm", "64×32×28×28", 2.7, layer(lambda nn: nn.BatchNorm2d(32), 64, 32, 28, 28)),
    Row("layer norm", "512×128", NORMS, layer(lambda nn: nn.LayerNorm(128), 512, 128)),
    Row("layer norm", "32×64×512", NORMS, layer(lambda nn: nn.LayerNorm(512), 32, 64, 512)),
    Row("group norm, 8 groups", "32×64×14×14", REST, layer(lambda nn: nn.GroupNorm(8, 64), 32, 64, 14, 14)),
    Row("group norm, 8 groups", "64×32×28×28", REST, layer(lambda nn: nn.GroupNorm(8, 32), 64, 32, 28, 28)),
    Row("conv2d 3×3", "64×32×14×14 → 64", 2.0, layer(lambda nn: nn.Conv2d(32, 64, 3, padding=1), 64, 32, 14, 14)),
    Row("conv2d 3×3", "64×16×28×28 → 32", 2.0, layer(lambda nn: nn.Conv2d(16, 32, 3, padding=1), 64, 16, 28, 28)),
    Row("depthwise conv2d 3×3", "32×64×14×14", 2.0, layer(lambda nn: nn.Conv2d(64, 64, 3, padding=1, groups=64), 32, 64, 14, 14)),
    Row("depthwise conv2d 3×3", "32×32×28×28", 2.0, layer(lambda nn: nn.Conv2d(32, 32, 3, padding=1, groups=32), 32, 32, 28, 28)),
    Row("conv_transpose2d 4×4, stride 2", "32×64×7×7 → 32", 2.0, layer(lambda nn: nn.ConvTranspose2d(64, 32, 4, 2, 1), 32, 64, 7, 7)),
    Row("conv_transpose2d 4×4, stride 2", "32×32×14×14 → 16", 2.0, layer(lambda nn: nn.ConvTranspose2d(32, 16, 4, 2, 1), 32, 32, 14, 14)),
    Row("attention", "16×4×64×32", 2.0, function(attention, *[(16, 4, 64, 32)] * 3)),
    Row("attention", "4×8×256×64", 2.0, function(attention, *[(4, 8, 256, 64)] * 3)),
    Row("transformer encoder layer", "16×32×64, 4 heads", REST, encoder(64, 4, 256, 16, 32)),
    Row("transformer encoder layer", "32×64×128, 4 heads", REST, encoder(128, 4, 512, 32, 64)),
    Row("LSTM", "64 → 128, 64 steps, batch 32", 2.2, layer(lambda nn: nn.LSTM(64, 128), 64, 32, 64)),
    Row("LSTM", "32 → 64, 16 steps, batch 16", 2.2, layer(lambda nn: nn.LSTM(32, 64), 16, 16, 32)),
    Row("GRU", "64 → 128, 64 steps, batch 32", 1.3, layer(lambda nn: nn.GRU(64, 128), 64, 32, 64)),
    Row("GRU", "32 → 64, 16 steps, batch 16", 1.3, layer(lambda nn: nn.GRU(32, 64), 16, 16, 32)),
    Row("GELU, exact", "512×512", REST, layer(lambda nn: nn.GELU(), 512, 512)),
    Row("GELU, exact", "32×64×512", REST, layer(lambda nn: nn.GELU(), 32, 64, 512)),
    Row("softmax", "512×128", REST, layer(lambda nn: nn.Softmax(dim=1), 512, 128)),
    Row("softmax", "64×8×64×64", REST, layer(lambda nn: nn.Softmax(dim=-1), 64, 8, 64, 64)),
    Row("interpolate, bilinear ×2", "16×32×28×28", REST, function(bilinear, (16, 32, 28, 28))),
    Row("interpolate, bilinear ×2", "4×3×224×224", REST, function(bilinear, (4, 3, 224, 224))),
    Row("cross-entropy", "128×10", 1.8, cross_entropy(128, 10)),
    Row("cross-entropy", "64×1000", 1.8, cross_entropy(64, 1000)),
    Row("MSE", "128×10", REST, against(lambda nn: nn.MSELoss(), 128, 10)),
    Row("MSE", "512×512", REST, against(lambda nn: nn.MSELoss(), 512, 512)),
    Row("BCE with logits", "128×10", REST, against(lambda nn: nn.BCEWithLogitsLoss(), 128, 10)),
    Row("BCE with logits", "512×512", REST, against(lambda nn: nn.BCEWithLogitsLoss(), 512, 512)),
    Row("CTC", "50 steps, batch 16, 28 classes", REST, ctc(50, 16, 28, 20)),
    Row("CTC", "200 steps, batch 32, 80 classes", REST, ctc(200, 32, 80, 60)),
]


# -- one framework, in a process of its own ----------------------------------------------------------------------------

class Task:
    """A row in one framework, ready to run."""

    def __init__(self, row: Row, framework: str):
        lib = __import__(framework)
        lib.manual_seed(0)
        self.call, *self.arguments = row.build(lib)
        parameters = list(self.call.parameters()) if hasattr(self.call, "parameters") else []
        with lib.no_grad():
            for p in parameters:                      # the same in both frameworks, and small
                p.copy_(lib.tensor(values(*p.shape) * 0.1))
        self.leaves = [*parameters, *[a for a in self.arguments if a.requires_grad]]
        shape = tuple(self.forward().shape)
        self.cotangent = lib.tensor(values(*shape)) if shape else None

    def forward(self) -> Any:
        y = self.call(*self.arguments)
        return y[0] if isinstance(y, tuple) else y

    def both(self) -> None:
        self.forward().backward(self.cotangent)
        for x in self.leaves:
            x.grad = None

    def sizes(self) -> list[float]:
        """The mean size of the result and of each gradient, to be compared."""
        y = self.forward()
        y.backward(self.cotangent)
        found = [t.detach().abs().mean().item() for t in (y, *[x.grad for x in self.leaves])]
        for x in self.leaves:
            x.grad = None
        return found


def serve(row: Row, framework: str) -> None:
    """Measure memory once, then time whatever is asked for on standard input; a line of JSON for every answer."""
    def answer(**fields: Any) -> None:
        print(json.dumps(fields), flush=True)

    try:
        if framework == "torch" and (threads := os.environ.get("OMP_NUM_THREADS")):
            __import__("torch").set_num_threads(int(threads))
        task = Task(row, framework)
    except (AttributeError, ImportError, NotImplementedError) as error:
        return answer(missing=str(error))
    sizes = task.sizes()
    before = resident_memory()
    peak_memory(reset=True)
    for _ in range(3):
        task.both()
    answer(peak=max(peak_memory() - before, 0.0), sizes=sizes)
    runs = {"forward": task.forward, "both": task.both}
    for line in sys.stdin:
        answer(seconds=seconds_in_its_course(runs[line.strip()]))


class Worker:
    """The process that serves a row in a framework."""

    def __init__(self, number: int, framework: str):
        paths = [str(Path(__file__).resolve().parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen([sys.executable, __file__, "--serve", str(number), framework], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
        self.facts = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"missing": "the process ended; its error is above"}

    def seconds(self, kind: str) -> float:
        """One timing of "forward" or "both"."""
        assert self.process.stdin is not None
        self.process.stdin.write(kind + "\n")
        self.process.stdin.flush()
        return self._answer()["seconds"]

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


# -- the table ---------------------------------------------------------------------------------------------------------

def measure(number: int, repeat: int) -> tuple[dict[str, Any] | None, str]:
    """A row's figures, None if we have no such layer yet; and a note."""
    row, nan = ROWS[number], float("nan")
    workers = {framework: Worker(number, framework) for framework in FRAMEWORKS}
    try:
        missing = {framework: worker.facts["missing"] for framework, worker in workers.items() if "missing" in worker.facts}
        if "tinygrad_ed" in missing:
            return None, f"{row.name}, {row.size}: skipped, {missing['tinygrad_ed']}"
        present = {framework: worker for framework, worker in workers.items() if framework not in missing}
        figures: dict[str, Any] = {"layer": row.name, "size": row.size}
        for kind, title in (("forward", "fwd"), ("both", "fwd+bwd")):
            times = taking_turns({framework: partial(worker.seconds, kind) for framework, worker in present.items()}, repeat)
            for framework in FRAMEWORKS:
                name = "" if framework == "tinygrad_ed" else f", {framework}"
                figures[f"{title} ms{name}"] = median(times[framework]) * 1e3 if framework in times else nan
            figures[f"{title} ratio"] = ratio(times["tinygrad_ed"], times["torch"]) if "torch" in times else nan
        figures["target"] = row.target
        figures["met"] = "" if "torch" not in present else "yes" if figures["fwd+bwd ratio"] <= row.target else "no"
        for framework in FRAMEWORKS:
            name = "" if framework == "tinygrad_ed" else f", {framework}"
            figures[f"peak MB{name}"] = present[framework].facts["peak"] if framework in present else nan
        return figures, _difference(row, [worker.facts["sizes"] for worker in present.values()])
    finally:
        for worker in workers.values():
            worker.close()


def _difference(row: Row, sizes: list[list[float]]) -> str:
    """A note where the two frameworks did not compute the same."""
    if row.random or len(sizes) < 2 or all(math.isclose(a, b, rel_tol=2e-3, abs_tol=1e-6) for a, b in zip(*sizes)):
        return ""
    return f"{row.name}, {row.size}: the results differ in size, {sizes[0]} and {sizes[1]}"


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=15, help="turns of each framework (default: 15)")
    parser.add_argument("--threads", type=int, help="threads of both (default: their own choice)")
    parser.add_argument("--only", metavar="PATTERN", default="", help="rows whose name or size contains it, a regular expression")
    parser.add_argument("--json", metavar="FILE", help="where the figures go (default: results/layers.json, of a full run)")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve(ROWS[int(args.serve[0])], args.serve[1])
    if args.repeat < 1 or (args.threads or 1) < 1:
        parser.error("--repeat and --threads are at least 1")
    if args.threads:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = str(args.threads)

    numbers = [k for k, row in enumerate(ROWS) if re.search(args.only, f"{row.name}, {row.size}", re.IGNORECASE)]
    rows, notes = [], []
    progress = sys.stderr.isatty()
    for k in numbers:
        if progress:
            print(f"\r{ROWS[k].name}, {ROWS[k].size}".ljust(79), end="", file=sys.stderr, flush=True)
        figures, note = measure(k, args.repeat)
        rows += [figures] if figures else []
        notes += [note] if note else []
    if progress:
        print("\r" + " " * 79 + "\r", end="", file=sys.stderr)
    print("; ".join(f"{k}: {v}" for k, v in machine().items()), end="\n\n")
    print(table(rows) if rows else "no rows")
    if notes:
        print("", *notes, sep="\n")
    if rows and (args.json or not args.only):
        print(f"\nwritten to {save('layers', rows, args.json)}")


if __name__ == "__main__":
    main()
