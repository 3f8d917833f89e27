"""The workloads in PyTorch's interface: one definition, which tinygrad_ed and PyTorch both run (`lib` is either)."""
from __future__ import annotations

from collections import OrderedDict
from importlib import import_module
from typing import Any, Callable

from . import Problem

__all__ = ["prepare"]

OPTIMIZERS = {"Adam": dict(lr=1e-3), "AdamW": dict(lr=1e-3, weight_decay=0.01), "SGD": dict(lr=0.01, momentum=0.9)}


def prepare(framework: str, problem: Problem, mode: str, dropout: bool) -> Callable[[], Any]:
    """As `workloads.prepare`."""
    lib = import_module(framework)
    lib.manual_seed(0)
    workload, size = problem.workload, problem.size
    if workload.model == "chain":
        return chain(lib, problem)
    model = MODELS[workload.model](lib, **{**size, "dropout": size.get("dropout", 0) if dropout else 0})
    state = model.state_dict()
    state.update({name: lib.tensor(array) for name, array in problem.weights.items()})
    model.load_state_dict(state)
    inputs, targets = lib.tensor(problem.inputs), lib.tensor(problem.targets.reshape(-1))
    cross_entropy, clip = lib.nn.functional.cross_entropy, workload.clip

    if mode == "infer":
        model.eval()

        def forward() -> Any:
            with lib.no_grad():
                return model(inputs)
        return forward

    parameters = list(model.parameters())
    optimizer = getattr(lib.optim, workload.optimizer)(parameters, **OPTIMIZERS[workload.optimizer])

    def step() -> Any:
        optimizer.zero_grad()
        loss = cross_entropy(model(inputs), targets)
        loss.backward()
        if clip:
            lib.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        return loss.detach()
    return step


def chain(lib: Any, problem: Problem) -> Callable[[], Any]:
    """Operations of four kinds in a row, and their backward; the result is the gradient."""
    x, tanh, ones = lib.tensor(problem.inputs, requires_grad=True), lib.tanh, lib.ones(problem.size["batch"])
    rounds = range(problem.size["ops"] // 4)

    def step() -> Any:
        y = x
        for _ in rounds:
            y = tanh(y * 1.01 + x) - 0.1
        x.grad = None
        y.backward(ones)
        return x.grad
    return step


def mlp(lib: Any, widths: tuple[int, ...], norm: bool, dropout: float, **_: Any) -> Any:
    """Linear maps, with batch norm, ReLU and dropout between them."""
    nn = lib.nn
    layers: dict[str, Any] = OrderedDict()
    last = len(widths) - 1
    for k, (a, b) in enumerate(zip(widths, widths[1:]), 1):
        layers[f"fc{k}"] = nn.Linear(a, b)
        if k < last:
            if norm:
                layers[f"bn{k}"] = nn.BatchNorm1d(b)
            layers[f"relu{k}"] = nn.ReLU()
            if dropout:
                layers[f"drop{k}"] = nn.Dropout(dropout)
    return nn.Sequential(layers)


def cnn(lib: Any, channels: tuple[int, ...], side: int, hidden: int, classes: int, **_: Any) -> Any:
    """Convolution, batch norm, ReLU and max pooling, twice; then two linear maps."""
    nn = lib.nn
    layers: dict[str, Any] = OrderedDict()
    for k, (a, b) in enumerate(zip(channels, channels[1:]), 1):
        layers.update({f"conv{k}": nn.Conv2d(a, b, 3, padding=1), f"bn{k}": nn.BatchNorm2d(b), f"relu{k}": nn.ReLU(),
                       f"pool{k}": nn.MaxPool2d(2)})
    return nn.Sequential(OrderedDict(**layers, flatten=nn.Flatten(), fc1=nn.Linear(channels[-1] * (side // 4) ** 2, hidden), relu=nn.ReLU(),
                                     fc2=nn.Linear(hidden, classes)))


def resnet(lib: Any, channels: tuple[int, ...], classes: int, **_: Any) -> Any:
    """A residual network (He et al., 2016) with one block for each width, halving the image from the second block on."""
    nn, relu = lib.nn, lib.nn.functional.relu

    class Block(nn.Module):
        def __init__(self, a: int, b: int):
            super().__init__()
            stride = 1 if a == b else 2
            self.conv1, self.bn1 = nn.Conv2d(a, b, 3, stride=stride, padding=1), nn.BatchNorm2d(b)
            self.conv2, self.bn2 = nn.Conv2d(b, b, 3, padding=1), nn.BatchNorm2d(b)
            self.short = nn.Identity() if a == b else nn.Conv2d(a, b, 1, stride=stride)

        def forward(self, x: Any) -> Any:
            y = relu(self.bn1(self.conv1(x)))
            return relu(self.bn2(self.conv2(y)) + self.short(x))

    blocks = {f"block{k}": Block(a, b) for k, (a, b) in enumerate(zip(channels[1:2] + channels[1:], channels[1:]), 1)}
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(channels[0], channels[1], 3, padding=1), bn=nn.BatchNorm2d(channels[1]), relu=nn.ReLU(),
                                     **blocks, pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(channels[-1], classes)))


def recurrent(kind: str) -> Callable[..., Any]:
    """An LSTM or GRU, and a linear map of its last output."""
    def build(lib: Any, features: int, hidden: int, classes: int, **_: Any) -> Any:
        nn = lib.nn

        class Recurrent(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.rnn, self.fc = getattr(nn, kind)(features, hidden), nn.Linear(hidden, classes)

            def forward(self, x: Any) -> Any:
                return self.fc(self.rnn(x)[0][-1])
        return Recurrent()
    return build


def transformer(lib: Any, width: int, heads: int, blocks: int, steps: int, vocabulary: int, **_: Any) -> Any:
    """A causal language model: blocks of attention and a GELU network, each after a layer norm (Radford et al., 2019)."""
    nn, F = lib.nn, lib.nn.functional

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ln1, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.ln2, self.fc1, self.fc2 = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            n, t, _ = x.shape
            q, k, v = self.qkv(self.ln1(x)).reshape(n, t, 3, heads, width // heads).permute(2, 0, 3, 1, 4).unbind(0)
            seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(seen.transpose(1, 2).reshape(n, t, width))
            return x + self.fc2(F.gelu(self.fc1(self.ln2(x))))

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(steps, width)
            for k in range(1, blocks + 1):
                self.add_module(f"block{k}", Block())
            self.ln, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

        def forward(self, words: Any) -> Any:
            x = self.tokens(words) + self.places.weight
            for k in range(1, blocks + 1):
                x = getattr(self, f"block{k}")(x)
            return self.head(self.ln(x)).reshape(-1, vocabulary)
    return Transformer()


MODELS = {"mlp": mlp, "cnn": cnn, "resnet": resnet, "lstm": recurrent("LSTM"), "gru": recurrent("GRU"), "transformer": transformer}
