"""Train a small network to read handwritten digits, and keep the state that does best on the development set.

    python examples/train_digits.py                                  # 1,797 digits of 8×8 pixels that come with scikit-learn
    python examples/train_digits.py --data path/to/mnist --epochs 10 # the four MNIST files, gzipped or not
    python examples/train_digits.py --device cuda --seed 7 --out runs/digits

Needs the `examples` extra: pip install "tinygrad_ed[examples]"
"""
import argparse
import copy
from pathlib import Path

import numpy as np
from tqdm import tqdm

import tinygrad_ed as tg
import tinygrad_ed.nn.functional as F
from tinygrad_ed import nn, optim
from tinygrad_ed.data import read_mnist
from tinygrad_ed.utils.data import DataLoader, TensorDataset, random_split


class Network(nn.Module):
    """One hidden layer: pixels -> 512 -> one score for each digit."""

    def __init__(self, pixels: int, classes: int = 10):
        super().__init__()
        self.flatten = nn.Flatten()
        self.hidden = nn.Linear(pixels, 512)
        self.output = nn.Linear(512, classes)

    def forward(self, x):
        x = self.flatten(x)
        x = F.relu(self.hidden(x))
        return self.output(x)


def load_data(directory, device, generator):
    """Training, development and test set; the test set takes no part in any decision."""
    if directory is None:
        from sklearn.datasets import load_digits
        digits = load_digits()
        data = to_dataset(digits.images / 16, digits.target, device)
        return random_split(data, [0.7, 0.15, 0.15], generator)
    mnist = read_mnist(directory)
    train, test = (to_dataset(images / 255, labels, device) for images, labels in (mnist["train"], mnist["test"]))
    train, dev = random_split(train, [0.9, 0.1], generator)
    return train, dev, test


def to_dataset(images, labels, device):
    """Images with values in [0, 1] and their labels, as tensors on the device."""
    return TensorDataset(tg.tensor(images.astype(np.float32), device=device), tg.tensor(labels.astype(np.int64), device=device))


def train_one_epoch(model, loader, criterion, optimizer):
    """One pass over the training set; returns the mean loss."""
    model.train()
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
    return total / len(loader.dataset)


@tg.no_grad()
def evaluate(model, loader, criterion):
    """Mean loss and accuracy."""
    model.eval()
    total, correct = 0.0, 0
    for x, y in loader:
        scores = model(x)
        total += criterion(scores, y).item() * len(y)
        correct += (scores.argmax(1) == y).sum().item()
    n = len(loader.dataset)
    return total / n, correct / n


def plot(history, path):
    """Draw the learning curves."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    epochs = range(1, len(history["train_loss"]) + 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    left.plot(epochs, history["train_loss"], label="training")
    left.plot(epochs, history["dev_loss"], label="development")
    left.set(xlabel="epoch", ylabel="mean cross-entropy", yscale="log", title="Loss")
    left.legend()
    right.plot(epochs, [100 * a for a in history["dev_accuracy"]], color="C1", label="development")
    best = max(history["dev_accuracy"])
    epoch = max(e for e, a in zip(epochs, history["dev_accuracy"]) if a == best)
    right.plot(epoch, 100 * best, "o", color="C1", label=f"kept, epoch {epoch}")
    right.set(xlabel="epoch", ylabel="accuracy in %", title="Accuracy")
    right.legend(loc="lower right")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(argv=None):
    """Train, test, save; returns loss and accuracy of each set."""
    parser = argparse.ArgumentParser(description="Train a network on handwritten digits.")
    parser.add_argument("--data", metavar="DIR", help="directory of the four MNIST files (default: scikit-learn's digits)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", metavar="DIR", default="runs/digits", help="where the checkpoint and the plot go (default: runs/digits)")
    args = parser.parse_args(argv)
    if args.epochs < 1:
        parser.error("--epochs is at least 1")

    tg.manual_seed(args.seed)
    shuffler = tg.Generator().manual_seed(args.seed)
    train, dev, test = load_data(args.data, args.device, shuffler)
    train_loader = DataLoader(train, batch_size=args.batch_size, shuffle=True, generator=shuffler)
    dev_loader = DataLoader(dev, batch_size=1000)
    test_loader = DataLoader(test, batch_size=1000)

    model = Network(pixels=train[0][0].numel()).to(args.device)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=args.lr)

    history = {"train_loss": [], "dev_loss": [], "dev_accuracy": []}
    best_accuracy, best_state = -1.0, None
    progress = tqdm(range(args.epochs), desc="training", unit="epoch")
    for _ in progress:
        train_loss = train_one_epoch(model, train_loader, criterion, optimizer)
        dev_loss, dev_accuracy = evaluate(model, dev_loader, criterion)
        history["train_loss"].append(train_loss)
        history["dev_loss"].append(dev_loss)
        history["dev_accuracy"].append(dev_accuracy)
        if dev_accuracy >= best_accuracy:
            best_accuracy, best_state = dev_accuracy, copy.deepcopy(model.state_dict())
        progress.set_postfix(loss=f"{train_loss:.4f}", dev=f"{dev_accuracy:.2%}")

    model.load_state_dict(best_state)
    results = {name: evaluate(model, loader, criterion)
               for name, loader in [("training", train_loader), ("development", dev_loader), ("test", test_loader)]}

    print(f"\n{'set':<13}{'samples':>9}{'loss':>10}{'accuracy':>12}")
    for (name, (loss, accuracy)), data in zip(results.items(), [train, dev, test]):
        print(f"{name:<13}{len(data):>9,}{loss:>10.4f}{accuracy:>12.2%}")

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    tg.save({"model": model.state_dict(), "history": history, "args": vars(args)}, out / "checkpoint.safetensors")
    plot(history, out / "learning_curve.png")
    print(f"\ncheckpoint and learning curve are in {out}/")
    return results


if __name__ == "__main__":
    main()
