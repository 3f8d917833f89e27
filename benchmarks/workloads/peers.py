"""JAX, MyGrad, HIPS autograd and tinygrad: what `functional` needs of each, and how each makes a step.

Each is used as its own users would: JAX and tinygrad compile the whole step, MyGrad calls its own layers, HIPS autograd differentiates
a function of the weights. `models` says which workloads a peer can do in reasonable code; the others stay empty in the table.
"""
from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Callable

import numpy as np

from . import Problem, functional

__all__ = ["PEERS", "prepare"]


def prepare(framework: str, problem: Problem, mode: str, dropout: bool) -> Callable[[], Any]:
    """As `workloads.prepare`."""
    peer, model = PEERS[framework], problem.workload.model
    if model not in peer.models:
        raise NotImplementedError(f"{framework} has no {model} here")
    f = peer(training=mode == "train")
    if model == "chain":
        return f.chain(problem.inputs, range(problem.size["ops"] // 4))
    size = {**problem.size, "dropout": problem.size.get("dropout", 0) if dropout else 0}
    logits = lambda w, x: functional.MODELS[model](f, w, x, **size)
    if mode == "infer":
        return f.inference(logits, problem)
    return f.train(lambda w, x, onehot: functional.cross_entropy(f, logits(w, x), onehot), problem)


def onehot(problem: Problem) -> np.ndarray:
    """The targets as rows with a single one."""
    classes = problem.size.get("vocabulary") or problem.size.get("classes") or problem.size["widths"][-1]
    return np.eye(classes, dtype=np.float32)[problem.targets.reshape(-1)]


def updated(f: Any, problem: Problem, weights: dict, gradients: dict, states: dict, t: Any) -> tuple[dict, dict]:
    """The weights and the optimizer's state after step t."""
    optimizer, clip = functional.OPTIMIZERS[problem.workload.optimizer], problem.workload.clip
    if clip:
        gradients = functional.clipped(f, gradients, clip)
    new = {name: optimizer(f, p, gradients[name], states[name], t) for name, p in weights.items()}
    return {name: p for name, (p, _) in new.items()}, {name: state for name, (_, state) in new.items()}


class Peer:
    """What is the same where arrays are NumPy's, or are like them."""

    models = {"chain", "mlp", "lstm", "gru", "transformer"}
    xp: Any = np

    def __init__(self, training: bool):
        self.training = training
        self.random = np.random.default_rng(0)

    def sqrt(self, x: Any) -> Any:
        return self.xp.sqrt(x)

    def tanh(self, x: Any) -> Any:
        return self.xp.tanh(x)

    def sigmoid(self, x: Any) -> Any:
        return 0.5 * self.xp.tanh(0.5 * x) + 0.5

    def relu(self, x: Any) -> Any:
        return self.xp.maximum(x, 0)

    def mean(self, x: Any, axes: tuple[int, ...]) -> Any:
        return self.xp.mean(x, axis=axes, keepdims=True)

    def permuted(self, x: Any, axes: tuple[int, ...]) -> Any:
        return x.transpose(axes)

    def at_most_one(self, x: Any) -> Any:
        return self.xp.minimum(x, 1.0)

    def dropout(self, x: Any, p: float) -> Any:
        return x * ((self.random.random(x.shape, np.float32) >= p) * np.float32(1 / (1 - p)))

    def zeros(self, *shape: int) -> Any:
        return np.zeros(shape, np.float32)

    def causal_mask(self, steps: int) -> Any:
        return np.triu(np.full((steps, steps), -1e9, np.float32), 1)

    def scan(self, cell: Callable, state: tuple, gates: Any) -> tuple:
        for t in range(len(gates)):
            state = cell(state, gates[t])
        return state

    def chain_of(self, x: Any, rounds: range) -> Any:
        y = x
        for _ in rounds:
            y = self.tanh(y * 1.01 + x) - 0.1
        return y

    def states(self, problem: Problem) -> dict:
        """The optimizer's state at the start, two arrays for every weight."""
        return {name: (np.zeros_like(p), np.zeros_like(p)) for name, p in problem.weights.items()}


class Jax(Peer):
    """JAX, compiled as a whole."""

    models = {*Peer.models, "cnn", "resnet"}

    def __init__(self, training: bool):
        super().__init__(training)
        import jax
        self.jax, self.xp, self.key = jax, jax.numpy, jax.random.key(0)
        self.log_softmax, self.softmax, self.sigmoid = jax.nn.log_softmax, jax.nn.softmax, jax.nn.sigmoid

    def gelu(self, x: Any) -> Any:
        return self.jax.nn.gelu(x, approximate=False)

    def dropout(self, x: Any, p: float) -> Any:
        self.key, key = self.jax.random.split(self.key)
        return self.xp.where(self.jax.random.bernoulli(key, 1 - p, x.shape), x * (1 / (1 - p)), 0)

    def conv(self, x: Any, w: Any, stride: int, padding: int) -> Any:
        return self.jax.lax.conv_general_dilated(x, w, (stride, stride), [(padding, padding)] * 2)

    def max_pool(self, x: Any) -> Any:
        return self.jax.lax.reduce_window(x, -self.xp.inf, self.jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    def scan(self, cell: Callable, state: tuple, gates: Any) -> tuple:
        return self.jax.lax.scan(lambda state, gates: (cell(state, gates), None), state, gates)[0]

    def chain(self, values: np.ndarray, rounds: range) -> Callable[[], Any]:
        gradient, x = self.jax.jit(self.jax.grad(lambda x: self.chain_of(x, rounds).sum())), self.xp.asarray(values)
        return lambda: gradient(x).block_until_ready()

    def inference(self, logits: Callable, problem: Problem) -> Callable[[], Any]:
        run, (weights, x) = self.jax.jit(logits), self.jax.device_put((problem.weights, problem.inputs))
        return lambda: run(weights, x).block_until_ready()

    def train(self, loss: Callable, problem: Problem) -> Callable[[], Any]:
        inputs, targets = self.jax.device_put((problem.inputs, onehot(problem)))
        held = self.jax.device_put((problem.weights, self.states(problem), np.float32(0), self.key))

        def step(held: tuple) -> tuple:
            weights, states, t, key = held
            key, self.key = self.jax.random.split(key)
            value, gradients = self.jax.value_and_grad(loss)(weights, inputs, targets)
            return value, (*updated(self, problem, weights, gradients, states, t + 1), t + 1, key)
        compiled = self.jax.jit(step, donate_argnums=0)

        def run() -> Any:
            nonlocal held
            value, held = self.jax.block_until_ready(compiled(held))
            return value
        return run


class HipsAutograd(Peer):
    """HIPS autograd, which traces NumPy."""

    def __init__(self, training: bool):
        super().__init__(training)
        import autograd
        import autograd.numpy
        import autograd.scipy.special as special
        self.lib, self.xp, self.special = autograd, autograd.numpy, special

    def log_softmax(self, x: Any) -> Any:
        return x - self.special.logsumexp(x, axis=-1, keepdims=True)

    def softmax(self, x: Any) -> Any:
        return self.xp.exp(self.log_softmax(x))

    def gelu(self, x: Any) -> Any:
        return 0.5 * x * (1 + self.special.erf(x * 0.5**0.5))

    def chain(self, values: np.ndarray, rounds: range) -> Callable[[], Any]:
        gradient = self.lib.grad(lambda x: self.xp.sum(self.chain_of(x, rounds)))
        return lambda: gradient(values)

    def inference(self, logits: Callable, problem: Problem) -> Callable[[], Any]:
        return lambda: logits(problem.weights, problem.inputs)

    def train(self, loss: Callable, problem: Problem) -> Callable[[], Any]:
        gradient = self.lib.differential_operators.value_and_grad(loss)
        weights, states, t, targets = problem.weights, self.states(problem), 0, onehot(problem)

        def run() -> Any:
            nonlocal weights, states, t
            t += 1
            value, gradients = gradient(weights, problem.inputs, targets)
            weights, states = updated(self, problem, weights, gradients, states, t)
            return value
        return run


class MyGrad(Peer):
    """MyGrad: tensors over NumPy; the layers are those of mygrad.nnet. It has no error function, and so no GELU."""

    models = {"chain", "mlp", "cnn", "resnet", "lstm", "gru"}

    def __init__(self, training: bool):
        super().__init__(training)
        import mygrad
        import mygrad.nnet as nnet
        self.lib, self.nnet, self.xp = mygrad, nnet, mygrad

    def log_softmax(self, x: Any) -> Any:
        return self.nnet.logsoftmax(x)

    def at_most_one(self, x: Any) -> Any:
        return min(x, 1.0)

    def sqrt(self, x: Any) -> Any:
        return self.lib.sqrt(x) if isinstance(x, self.lib.Tensor) else np.sqrt(x)

    def conv(self, x: Any, w: Any, stride: int, padding: int) -> Any:
        side = x.shape[-1]
        spare = (side + 2 * padding - w.shape[-1]) % stride
        if spare:                                     # it wants the last window to end where the image with its frame ends
            whole = side + 2 * padding - spare
            kept = min(side, whole - padding)
            framed = self.lib.zeros((*x.shape[:2], whole, whole), np.float32)
            framed[:, :, padding:padding + kept, padding:padding + kept] = x[:, :, :kept, :kept]
            x, padding = framed, 0
        return self.nnet.conv_nd(x, w, stride=stride, padding=padding)

    def max_pool(self, x: Any) -> Any:
        return self.nnet.max_pool(x, (2, 2), 2)

    def chain(self, values: np.ndarray, rounds: range) -> Callable[[], Any]:
        x = self.lib.tensor(values)

        def run() -> Any:
            self.chain_of(x, rounds).backward()
            return x.grad
        return run

    def inference(self, logits: Callable, problem: Problem) -> Callable[[], Any]:
        weights = {name: self.lib.tensor(w) for name, w in problem.weights.items()}

        def run() -> Any:
            with self.lib.no_autodiff:
                return logits(weights, problem.inputs).data
        return run

    def train(self, loss: Callable, problem: Problem) -> Callable[[], Any]:
        arrays, states, t, targets = problem.weights, self.states(problem), 0, onehot(problem)

        def run() -> Any:
            nonlocal arrays, states, t
            t += 1
            weights = {name: self.lib.tensor(array) for name, array in arrays.items()}
            value = loss(weights, problem.inputs, targets)
            value.backward()
            arrays, states = updated(self, problem, arrays, {name: w.grad for name, w in weights.items()}, states, t)
            return value.data
        return run


def clang() -> str | None:
    """A command that runs clang: its own name, or a script in a folder of this process that runs the one in the package ziglang."""
    found, zig = shutil.which("clang"), importlib.util.find_spec("ziglang")
    if found or zig is None or zig.origin is None:
        return found
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    script = Path(folder, "clang")
    script.write_text(f'#!/bin/sh\nexec "{Path(zig.origin).with_name("zig")}" clang "$@"\n')
    script.chmod(0o700)
    return str(script)


class TinyGrad(Peer):
    """tinygrad, with its compiler, which would take minutes for the chain and for the unrolled steps of an LSTM or GRU."""

    models = {"mlp", "cnn", "resnet", "transformer"}

    def __init__(self, training: bool):
        super().__init__(training)
        compiler = clang()
        if compiler is None:
            raise ImportError("tinygrad compiles with clang: pip install ziglang, or apt install clang")
        os.environ["CC"] = compiler
        import tinygrad
        self.lib, self.tensor = tinygrad, tinygrad.Tensor

    def sqrt(self, x: Any) -> Any:
        return x.sqrt()

    def tanh(self, x: Any) -> Any:
        return x.tanh()

    def relu(self, x: Any) -> Any:
        return x.relu()

    def sigmoid(self, x: Any) -> Any:
        return x.sigmoid()

    def gelu(self, x: Any) -> Any:
        return 0.5 * x * (1 + (x * 0.5**0.5).erf())

    def softmax(self, x: Any) -> Any:
        return x.softmax()

    def log_softmax(self, x: Any) -> Any:
        return x.log_softmax()

    def permuted(self, x: Any, axes: tuple[int, ...]) -> Any:
        return x.permute(axes)

    def zeros(self, *shape: int) -> Any:
        return self.tensor.zeros(*shape)

    def causal_mask(self, steps: int) -> Any:
        return self.tensor(super().causal_mask(steps))

    def mean(self, x: Any, axes: tuple[int, ...]) -> Any:
        return x.mean(axis=axes, keepdim=True)

    def at_most_one(self, x: Any) -> Any:
        return x.minimum(1.0)

    def dropout(self, x: Any, p: float) -> Any:
        return (self.tensor.rand(*x.shape) >= p).where(x * (1 / (1 - p)), 0)

    def conv(self, x: Any, w: Any, stride: int, padding: int) -> Any:
        return x.conv2d(w, stride=stride, padding=padding)

    def max_pool(self, x: Any) -> Any:
        return x.max_pool2d((2, 2))

    def chain(self, values: np.ndarray, rounds: range) -> Callable[[], Any]:
        x = self.tensor(values).realize()
        return self._compiled(lambda: self.chain_of(x, rounds).sum().gradient(x)[0].realize())

    def inference(self, logits: Callable, problem: Problem) -> Callable[[], Any]:
        weights = {name: self.tensor(w).realize() for name, w in problem.weights.items()}
        x = self.tensor(problem.inputs).realize()
        return self._compiled(lambda: logits(weights, x).realize())

    def train(self, loss: Callable, problem: Problem) -> Callable[[], Any]:
        weights = {name: self.tensor(w).realize() for name, w in problem.weights.items()}
        states = {name: tuple(self.tensor(s).realize() for s in pair) for name, pair in self.states(problem).items()}
        t, inputs, targets = (self.tensor(a).contiguous().realize() for a in (np.zeros(1, np.float32), problem.inputs, onehot(problem)))

        def step() -> Any:
            t.assign(t + 1)
            value = loss(weights, inputs, targets)
            gradients = dict(zip(weights, value.gradient(*weights.values())))
            new_weights, new_states = updated(self, problem, weights, gradients, states, t)
            for name, w in weights.items():
                w.assign(new_weights[name])
                for old, new in zip(states[name], new_states[name]):
                    if new is not old:
                        old.assign(new)
            changed = [a for name in weights for a in (weights[name], *states[name])]
            self.tensor.realize(value, t, *changed)
            return value
        return self._compiled(step)

    def _compiled(self, step: Callable[[], Any]) -> Callable[[], Any]:
        run = self.lib.TinyJit(step)
        return lambda: run().numpy()


PEERS: dict[str, type[Any]] = {"jax": Jax, "mygrad": MyGrad, "autograd": HipsAutograd, "tinygrad": TinyGrad}
