"""Microseconds per operation on small tensors, forward and forward + backward, beside PyTorch, MyGrad and HIPS autograd.

    python benchmarks/overhead.py [--repeat 40] [--json FILE]

The headline is a chain of 1,000 operations on 8 numbers: there the arithmetic is nothing and the framework is everything.
"""
from __future__ import annotations

import argparse
from typing import Any, Callable

import numpy as np
from _common import interleaved, machine, median, ratio, save, table

import tinygrad_ed as tg

OPS = 1000
N = 8
VALUES = np.linspace(-1, 1, N).astype("float32")


def drop_gradient(x: Any) -> None:
    """Start the next backward from nothing."""
    x.grad = None


def frameworks() -> dict[str, dict[str, Any]]:
    """How each installed framework makes a leaf, calls tanh, and runs a backward."""
    found: dict[str, dict[str, Any]] = {}
    seed = tg.tensor(np.ones(N, "float32"))
    found["tinygrad_ed"] = dict(leaf=lambda: tg.tensor(VALUES, requires_grad=True), tanh=tg.tanh, exp=tg.exp, matmul=tg.matmul,
                                sum=lambda x: x.sum(), backward=lambda y: y.backward(seed if y.ndim else None), forget=drop_gradient)
    try:
        import torch
        ones = torch.ones(N)
        found["torch"] = dict(leaf=lambda: torch.tensor(VALUES, requires_grad=True), tanh=torch.tanh, exp=torch.exp, matmul=torch.matmul,
                              sum=lambda x: x.sum(), backward=lambda y: y.backward(ones if y.ndim else None), forget=drop_gradient)
    except ImportError:
        pass
    try:
        import mygrad
        found["mygrad"] = dict(leaf=lambda: mygrad.tensor(VALUES), tanh=mygrad.tanh, exp=mygrad.exp, matmul=mygrad.matmul,
                               sum=lambda x: x.sum(), backward=lambda y: y.backward(), forget=lambda x: x.null_grad())
    except ImportError:
        pass
    return found


def chain(leaf: Callable, tanh: Callable, backward: Callable, forget: Callable, **_: Any) -> Callable[[], None]:
    """1,000 operations of four kinds in a row, and their backward."""
    x = leaf()

    def step() -> None:
        y = x
        for _ in range(OPS // 4):
            y = tanh(y * 1.01 + x) - 0.1
        backward(y)
        forget(x)
    return step


def chain_hips() -> Callable[[], None]:
    """The same chain in HIPS autograd, whose backward is a function of the forward."""
    import autograd
    import autograd.numpy as anp

    def forward(x: Any) -> Any:
        y = x
        for _ in range(OPS // 4):
            y = anp.tanh(y * 1.01 + x) - 0.1
        return anp.sum(y)
    gradient = autograd.grad(forward)
    return lambda: gradient(VALUES)


def single(name: str, framework: dict[str, Any], with_backward: bool) -> Callable[[], None]:
    """One operation 200 times."""
    a, b = framework["leaf"](), framework["leaf"]()
    body = {"add": lambda: a + b, "mul": lambda: a * b, "mul by a number": lambda: a * 1.5, "exp": lambda: framework["exp"](a),
            "tanh": lambda: framework["tanh"](a), "sum": lambda: framework["sum"](a), "matmul": lambda: framework["matmul"](a, b)}[name]
    backward = framework["backward"]

    def step() -> None:
        for _ in range(200):
            y = body()
            if with_backward:
                backward(y)
    return step


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=40)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    found = frameworks()
    tasks = {name: chain(**framework) for name, framework in found.items()}
    try:
        tasks["HIPS autograd"] = chain_hips()
    except ImportError:
        pass
    times = interleaved(tasks, args.repeat)
    rows = [{"workload": f"chain of {OPS} ops, forward + backward", "framework": name, "µs per op": median(t) * 1e6 / OPS,
             "ratio to torch": ratio(times[name], times["torch"]) if "torch" in times else float("nan")} for name, t in times.items()]
    for op in ("add", "mul", "mul by a number", "exp", "tanh", "sum", "matmul"):
        for with_backward in (False, True):
            times = interleaved({name: single(op, framework, with_backward) for name, framework in found.items()}, args.repeat // 2)
            for name, t in times.items():
                rows.append({"workload": f"{op}, {'forward + backward' if with_backward else 'forward'}", "framework": name,
                             "µs per op": median(t) * 1e6 / 200,
                             "ratio to torch": ratio(t, times["torch"]) if "torch" in times else float("nan")})
    print("; ".join(f"{k}: {v}" for k, v in machine().items()), end="\n\n")
    print(table(rows))
    print(f"\nwritten to {save('overhead', rows, args.json)}")


if __name__ == "__main__":
    main()
