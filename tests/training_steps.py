"""Small models with a training step each, for tests of what a step does on a device."""
from __future__ import annotations

from typing import Any, Callable

import numpy as np

import tinygrad_ed as tg
from tinygrad_ed import nn, optim


def mlp() -> tuple[nn.Module, np.ndarray, np.ndarray, Callable]:
    """A perceptron that classifies: the model, a batch of inputs and of targets, the loss."""
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 5))
    return model, _inputs(16, 20), _classes(5, 16), nn.CrossEntropyLoss()


def cnn() -> tuple[nn.Module, np.ndarray, np.ndarray, Callable]:
    """A convolutional network with batch normalization and pooling."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3, padding=1),
                          nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8 * 2 * 2, 5))
    return model, _inputs(6, 1, 8, 8), _classes(5, 6), nn.CrossEntropyLoss(label_smoothing=0.1)


class Language(nn.Module):
    """A transformer that predicts the next token."""

    def __init__(self, tokens: int = 11, width: int = 16, length: int = 6):
        super().__init__()
        self.token, self.place = nn.Embedding(tokens, width), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(width, 2, 32, dropout=0.1, activation="gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, tokens)
        self.register_buffer("places", tg.arange(length))
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """Tokens (N, L) to logits (N, tokens, L)."""
        h = self.token(x) + self.place(self.places)
        return self.head(self.layers(h, mask=self.mask, is_causal=True)).transpose(1, 2)


class Recurrent(nn.Module):
    """An LSTM of two layers, and a linear map of its last output."""

    def __init__(self, features: int = 5, hidden: int = 8, classes: int = 4):
        super().__init__()
        self.lstm, self.head = nn.LSTM(features, hidden, num_layers=2, dropout=0.1), nn.Linear(hidden, classes)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """Sequences (L, N, features) to logits (N, classes)."""
        return self.head(self.lstm(x)[0][-1])


def lstm() -> tuple[nn.Module, np.ndarray, np.ndarray, Callable]:
    """A recurrent network over sequences."""
    return Recurrent(), _inputs(7, 6, 5), _classes(4, 6), nn.CrossEntropyLoss()


def transformer() -> tuple[nn.Module, np.ndarray, np.ndarray, Callable]:
    """A small transformer over tokens."""
    return Language(), _classes(11, 3, 6), _classes(11, 3, 6), nn.CrossEntropyLoss()


def _inputs(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _classes(n: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, n, shape)


MODELS = {"MLP": mlp, "CNN": cnn, "LSTM": lstm, "transformer": transformer}
OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "SGD": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=1e-4),
    "Adam": lambda params: optim.Adam(params, lr=1e-2),
    "AdamW": lambda params: optim.AdamW(params, lr=1e-2),
}


class Training:
    """A model on a device, with its batch, its optimizer and a learning rate schedule.

    Args:
        model: a name in MODELS.
        optimizer: a name in OPTIMIZERS.
        device: where everything lies.
        dtype: of the parameters.
    """

    def __init__(self, model: str, optimizer: str, device: str, dtype: Any = tg.float32):
        tg.manual_seed(0)
        self.model, x, t, self.loss = MODELS[model]()
        self.model.to(device=device, dtype=dtype)
        self.x, self.t = tg.tensor(x, device=device), tg.tensor(t, device=device)
        self.x = self.x.to(dtype) if self.x.is_floating_point() else self.x
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.schedule = optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 10)
        tg.manual_seed(1)

    def step(self) -> tg.Tensor:
        """Forward, loss, backward, clip, optimizer, schedule; returns the loss, unread."""
        loss = self.update(self.x, self.t)
        self.schedule.step()
        return loss

    def update(self, x: tg.Tensor, t: tg.Tensor) -> tg.Tensor:
        """The step on a batch, without the schedule."""
        self.optimizer.zero_grad()
        loss = self.loss(self.model(x), t)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss.detach()
