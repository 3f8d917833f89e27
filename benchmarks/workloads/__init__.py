"""What the suite runs: every workload's sizes, data and first weights in NumPy, and who can run it.

A workload is defined once per kind of framework: `torch_style` for tinygrad_ed and PyTorch, which share an interface, `functional` for
the peers, whose differences are in `peers`. All of them start from the weights made here, under the names of a `state_dict`, and take
the same batch in every step.
"""
from __future__ import annotations

import math
from typing import Any, Callable, NamedTuple

import numpy as np

__all__ = ["GROWTH", "MODES", "WORKLOADS", "Problem", "Workload", "prepare", "problem"]

MODES = ("train", "infer")


class Workload(NamedTuple):
    """A network or chain at a size: `target` is the ratio to PyTorch's time to stay below, `tiny` what is smaller in a test."""

    key: str
    name: str
    model: str
    target: float
    size: dict[str, Any]
    tiny: dict[str, Any]
    optimizer: str = "Adam"
    clip: float | None = None


MLP = dict(widths=(784, 512, 256, 10), norm=True, dropout=0.5)
RNN = dict(features=64, hidden=128, steps=64, batch=32, classes=10)
TINY_MLP, TINY_RNN = dict(widths=(12, 8, 6, 4), batch=16), dict(features=5, hidden=6, steps=4, batch=3)

WORKLOADS = {w.key: w for w in (
    Workload("a", "chain of 1,000 ops on 8 numbers", "chain", 0.40, dict(ops=1000, batch=8), dict(ops=12)),
    Workload("b", "MLP 64-64-64-10, batch 64, Adam", "mlp", 0.45, dict(widths=(64, 64, 64, 10), norm=False, dropout=0, batch=64), TINY_MLP),
    Workload("c", "MLP 784-512-256-10, BN, dropout, clipping, Adam, batch 128", "mlp", 0.50, dict(**MLP, batch=128), TINY_MLP, clip=1.0),
    Workload("d", "CNN 32-64-128-10, BN, 64×1×28×28, SGD momentum", "cnn", 0.95,
             dict(channels=(1, 32, 64), side=28, hidden=128, batch=64, classes=10), dict(channels=(1, 3, 4), side=8, hidden=6, batch=5),
             "SGD"),
    Workload("e", "residual network 16-32-64, 32×3×32×32, SGD momentum", "resnet", 1.1,
             dict(channels=(3, 16, 32, 64), side=32, batch=32, classes=10), dict(channels=(3, 4, 5, 6), side=8, batch=4), "SGD"),
    Workload("f-lstm", "LSTM 64→128, 64 steps, batch 32, clipping, Adam", "lstm", 1.0, RNN, TINY_RNN, clip=1.0),
    Workload("f-gru", "GRU 64→128, 64 steps, batch 32, clipping, Adam", "gru", 0.6, RNN, TINY_RNN, clip=1.0),
    Workload("g", "transformer, 2 causal blocks, width 128, 64 tokens, AdamW", "transformer", 0.95,
             dict(width=128, heads=4, blocks=2, steps=64, vocabulary=64, batch=8),
             dict(width=8, heads=2, blocks=1, steps=5, vocabulary=7, batch=3), "AdamW"),
    Workload("h", "MLP c at batch 4096", "mlp", 0.95, dict(**MLP, batch=4096), TINY_MLP, clip=1.0),
)}

GROWTH = ("c", "d", "g")                              # what is also run at twice, four and eight times the batch


class Problem(NamedTuple):
    """A workload's sizes, its batch, and the weights that it starts from."""

    workload: Workload
    size: dict[str, Any]
    inputs: np.ndarray
    targets: np.ndarray
    weights: dict[str, np.ndarray]


def problem(key: str, times: int = 1, tiny: bool = False, **other: Any) -> Problem:
    """The workload with `times` the batch, with other sizes, or at a test's size; the same numbers at every call."""
    workload = WORKLOADS[key]
    size = {**workload.size, **(workload.tiny if tiny else other)}
    size["batch"] *= times
    random = np.random.default_rng(0)
    inputs, classes = _inputs(workload.model, size, random)
    targets = random.integers(0, classes, inputs.shape if workload.model == "transformer" else size["batch"])
    weights = {name: _filled(name, shape, random) for name, shape in _shapes(workload.model, size).items()}
    return Problem(workload, size, inputs, targets, weights)


def _inputs(model: str, size: dict[str, Any], random: np.random.Generator) -> tuple[np.ndarray, int]:
    """A batch of the model's inputs, and the number of classes."""
    n = size["batch"]
    if model == "transformer":
        return random.integers(0, size["vocabulary"], (n, size["steps"])), size["vocabulary"]
    if model == "chain":
        return np.linspace(-1, 1, n, dtype=np.float32), 1
    shape, classes = {"mlp": lambda: ((n, size["widths"][0]), size["widths"][-1]),
                      "cnn": lambda: ((n, size["channels"][0], size["side"], size["side"]), size["classes"]),
                      "resnet": lambda: ((n, size["channels"][0], size["side"], size["side"]), size["classes"]),
                      "lstm": lambda: ((size["steps"], n, size["features"]), size["classes"]),
                      "gru": lambda: ((size["steps"], n, size["features"]), size["classes"])}[model]()
    return random.normal(size=shape).astype(np.float32), classes


def _filled(name: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Normal numbers of variance 1 / inputs for a matrix or filter; near 1 for a norm's scale, near 0 for a bias."""
    z = random.normal(size=shape)
    if len(shape) == 1:
        z = (0.1 * z + 1) if name.endswith("weight") else 0.1 * z
    else:
        z = z / math.sqrt(math.prod(shape[1:]))
    return z.astype(np.float32)


def _shapes(model: str, size: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every parameter's name and shape."""
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *weight: int) -> None:
        shapes.update({f"{name}.weight": weight, f"{name}.bias": weight[:1]})

    if model == "mlp":
        widths = size["widths"]
        for k, (a, b) in enumerate(zip(widths, widths[1:]), 1):
            layer(f"fc{k}", b, a)
            if size["norm"] and k < len(widths) - 1:
                layer(f"bn{k}", b)
    elif model == "cnn":
        for k, (a, b) in enumerate(zip(size["channels"], size["channels"][1:]), 1):
            layer(f"conv{k}", b, a, 3, 3)
            layer(f"bn{k}", b)
        layer("fc1", size["hidden"], size["channels"][-1] * (size["side"] // 4) ** 2)
        layer("fc2", size["classes"], size["hidden"])
    elif model == "resnet":
        channels = size["channels"]
        layer("conv", channels[1], channels[0], 3, 3)
        layer("bn", channels[1])
        for k, (a, b) in enumerate(zip(channels[1:2] + channels[1:], channels[1:]), 1):
            layer(f"block{k}.conv1", b, a, 3, 3)
            layer(f"block{k}.bn1", b)
            layer(f"block{k}.conv2", b, b, 3, 3)
            layer(f"block{k}.bn2", b)
            if a != b:
                layer(f"block{k}.short", b, a, 1, 1)
        layer("fc", size["classes"], channels[-1])
    elif model in ("lstm", "gru"):
        rows, hidden = {"lstm": 4, "gru": 3}[model] * size["hidden"], size["hidden"]
        shapes.update({"rnn.weight_ih_l0": (rows, size["features"]), "rnn.weight_hh_l0": (rows, hidden), "rnn.bias_ih_l0": (rows,),
                       "rnn.bias_hh_l0": (rows,)})
        layer("fc", size["classes"], hidden)
    elif model == "transformer":
        width = size["width"]
        shapes.update({"tokens.weight": (size["vocabulary"], width), "places.weight": (size["steps"], width)})
        for k in range(1, size["blocks"] + 1):
            layer(f"block{k}.ln1", width)
            layer(f"block{k}.qkv", 3 * width, width)
            layer(f"block{k}.out", width, width)
            layer(f"block{k}.ln2", width)
            layer(f"block{k}.fc1", 4 * width, width)
            layer(f"block{k}.fc2", width, 4 * width)
        layer("ln", width)
        layer("head", size["vocabulary"], width)
    return shapes


def prepare(framework: str, problem: Problem, mode: str = "train", dropout: bool = True) -> Callable[[], Any]:
    """The workload in a framework, ready to run: each call is a step, and returns its loss (the chain: its gradient; "infer": the outputs).

    Args:
        framework: "tinygrad_ed", "torch", "jax", "mygrad", "autograd" or "tinygrad".
        problem: from `problem`.
        mode: "train", or "infer" for the outputs in evaluation mode without gradients.
        dropout: False leaves dropout out, so that frameworks can be compared.

    Raises:
        NotImplementedError: this framework does not do this workload.
    """
    if framework in ("tinygrad_ed", "torch"):
        from .torch_style import prepare as start
    else:
        from .peers import prepare as start
    return start(framework, problem, mode, dropout)
