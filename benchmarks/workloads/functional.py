"""The workloads as functions of a dictionary of weights, for the peers that have no PyTorch interface.

`f` is a peer from `peers`: array functions, and the layers for which it has something better than a formula. In training batch norm
takes the batch's own statistics; in evaluation mean 0 and variance 1, with which PyTorch's running averages begin (not followed here).
"""
from __future__ import annotations

import math
from typing import Any

__all__ = ["MODELS", "OPTIMIZERS", "adam", "adamw", "clipped", "cross_entropy", "sgd"]

EPS = 1e-5


def linear(w: dict, name: str, x: Any) -> Any:
    """x Wᵀ + b."""
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def batch_norm(f: Any, w: dict, name: str, x: Any) -> Any:
    """Every channel with mean 0 and variance 1, then scaled and moved."""
    axes, shape = ((0,), (1, -1)) if len(x.shape) == 2 else ((0, 2, 3), (1, -1, 1, 1))
    scale, shift = w[f"{name}.weight"].reshape(shape), w[f"{name}.bias"].reshape(shape)
    if not f.training:
        return x * (scale / math.sqrt(1 + EPS)) + shift
    x = x - f.mean(x, axes)
    return x / f.sqrt(f.mean(x * x, axes) + EPS) * scale + shift


def layer_norm(f: Any, w: dict, name: str, x: Any) -> Any:
    """Every position with mean 0 and variance 1, then scaled and moved."""
    x = x - f.mean(x, (-1,))
    return x / f.sqrt(f.mean(x * x, (-1,)) + EPS) * w[f"{name}.weight"] + w[f"{name}.bias"]


def cross_entropy(f: Any, logits: Any, onehot: Any) -> Any:
    """The mean of -log p(class)."""
    return -(f.log_softmax(logits) * onehot).sum() * (1 / len(onehot))


# -- models ------------------------------------------------------------------------------------------------------------

def mlp(f: Any, w: dict, x: Any, widths: tuple[int, ...], norm: bool, dropout: float, **_: Any) -> Any:
    """Linear maps, with batch norm, ReLU and dropout between them."""
    for k in range(1, len(widths) - 1):
        x = linear(w, f"fc{k}", x)
        x = f.relu(batch_norm(f, w, f"bn{k}", x) if norm else x)
        x = f.dropout(x, dropout) if dropout and f.training else x
    return linear(w, f"fc{len(widths) - 1}", x)


def conv(f: Any, w: dict, name: str, x: Any, stride: int = 1, padding: int = 1) -> Any:
    """Convolution with bias."""
    return f.conv(x, w[f"{name}.weight"], stride, padding) + w[f"{name}.bias"].reshape((1, -1, 1, 1))


def cnn(f: Any, w: dict, x: Any, channels: tuple[int, ...], **_: Any) -> Any:
    """Convolution, batch norm, ReLU and max pooling, twice; then two linear maps."""
    for k in range(1, len(channels)):
        x = f.max_pool(f.relu(batch_norm(f, w, f"bn{k}", conv(f, w, f"conv{k}", x))))
    return linear(w, "fc2", f.relu(linear(w, "fc1", x.reshape((x.shape[0], -1)))))


def resnet(f: Any, w: dict, x: Any, channels: tuple[int, ...], **_: Any) -> Any:
    """A residual network with one block for each width."""
    x = f.relu(batch_norm(f, w, "bn", conv(f, w, "conv", x)))
    for k in range(1, len(channels)):
        name, widens = f"block{k}", f"block{k}.short.weight" in w
        stride = 2 if widens else 1
        y = f.relu(batch_norm(f, w, f"{name}.bn1", conv(f, w, f"{name}.conv1", x, stride)))
        y = batch_norm(f, w, f"{name}.bn2", conv(f, w, f"{name}.conv2", y))
        x = f.relu(y + (conv(f, w, f"{name}.short", x, stride, 0) if widens else x))
    return linear(w, "fc", f.mean(x, (2, 3)).reshape((x.shape[0], -1)))


def lstm(f: Any, w: dict, x: Any, hidden: int, batch: int, **_: Any) -> Any:
    """An LSTM, and a linear map of its last output; the products with the inputs of all steps are made at once."""
    gates = x @ w["rnn.weight_ih_l0"].T + (w["rnn.bias_ih_l0"] + w["rnn.bias_hh_l0"])

    def cell(state: tuple, gates: Any) -> tuple:
        h, c = state
        z = gates + h @ w["rnn.weight_hh_l0"].T
        i, o, g = f.sigmoid(z[:, :hidden]), f.sigmoid(z[:, 3 * hidden:]), f.tanh(z[:, 2 * hidden:3 * hidden])
        c = f.sigmoid(z[:, hidden:2 * hidden]) * c + i * g
        return o * f.tanh(c), c
    return linear(w, "fc", f.scan(cell, (f.zeros(batch, hidden),) * 2, gates)[0])


def gru(f: Any, w: dict, x: Any, hidden: int, batch: int, **_: Any) -> Any:
    """A GRU, and a linear map of its last output."""
    gates = x @ w["rnn.weight_ih_l0"].T + w["rnn.bias_ih_l0"]

    def cell(state: tuple, gates: Any) -> tuple:
        h, = state
        z = h @ w["rnn.weight_hh_l0"].T + w["rnn.bias_hh_l0"]
        both = f.sigmoid(gates[:, :2 * hidden] + z[:, :2 * hidden])
        n = f.tanh(gates[:, 2 * hidden:] + both[:, :hidden] * z[:, 2 * hidden:])
        return n + both[:, hidden:] * (h - n),
    return linear(w, "fc", f.scan(cell, (f.zeros(batch, hidden),), gates)[0])


def transformer(f: Any, w: dict, words: Any, width: int, heads: int, blocks: int, steps: int, vocabulary: int, **_: Any) -> Any:
    """A causal language model: blocks of attention and a GELU network, each after a layer norm."""
    x = w["tokens.weight"][words] + w["places.weight"]
    hidden = f.causal_mask(steps)

    def split(y: Any) -> Any:
        return f.permuted(y.reshape((-1, steps, heads, width // heads)), (0, 2, 1, 3))

    for k in range(1, blocks + 1):
        name = f"block{k}"
        y = linear(w, f"{name}.qkv", layer_norm(f, w, f"{name}.ln1", x))
        q, key, v = (split(y[:, :, j * width:(j + 1) * width]) for j in range(3))
        scores = q @ f.permuted(key, (0, 1, 3, 2)) * (1 / math.sqrt(width // heads)) + hidden
        seen = f.permuted(f.softmax(scores) @ v, (0, 2, 1, 3)).reshape((-1, steps, width))
        x = x + linear(w, f"{name}.out", seen)
        x = x + linear(w, f"{name}.fc2", f.gelu(linear(w, f"{name}.fc1", layer_norm(f, w, f"{name}.ln2", x))))
    return linear(w, "head", layer_norm(f, w, "ln", x)).reshape((-1, vocabulary))


MODELS = {"mlp": mlp, "cnn": cnn, "resnet": resnet, "lstm": lstm, "gru": gru, "transformer": transformer}


# -- optimizers: (weight, gradient, averages, step) to (weight, averages) ----------------------------------------------

def adam(f: Any, p: Any, g: Any, state: tuple, t: Any, lr: float = 1e-3, decay: float = 0.0) -> tuple:
    """Adam, or AdamW with decay."""
    m, v = 0.9 * state[0] + 0.1 * g, 0.999 * state[1] + 0.001 * (g * g)
    change = m * (lr / (1 - 0.9**t)) / (f.sqrt(v) * (1 / (1 - 0.999**t)**0.5) + 1e-8)
    return (p * (1 - lr * decay) if decay else p) - change, (m, v)


def adamw(f: Any, p: Any, g: Any, state: tuple, t: Any) -> tuple:
    """AdamW."""
    return adam(f, p, g, state, t, decay=0.01)


def sgd(f: Any, p: Any, g: Any, state: tuple, t: Any, lr: float = 0.01, momentum: float = 0.9) -> tuple:
    """Momentum."""
    m = momentum * state[0] + g
    return p - lr * m, (m, state[1])


def clipped(f: Any, gradients: dict, largest: float) -> dict:
    """Gradients whose norm, all together, is at most `largest`."""
    norm = f.sqrt(sum((g * g).sum() for g in gradients.values()))
    factor = f.at_most_one(largest / (norm + 1e-6))
    return {name: g * factor for name, g in gradients.items()}


OPTIMIZERS = {"Adam": adam, "AdamW": adamw, "SGD": sgd}
