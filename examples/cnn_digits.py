"""Train a convolutional network to read handwritten digits, and keep the state that does best on the development set.

    python examples/cnn_digits.py                                  # 1,797 digits of 8×8 pixels that come with scikit-learn
    python examples/cnn_digits.py --data path/to/mnist --epochs 5
    python examples/cnn_digits.py --device cuda --seed 7 --out runs/cnn

Needs the `examples` extra: pip install "tinygrad_ed[examples]"
"""
import argparse
import copy
import math
from pathlib import Path

from tqdm import tqdm
from train_digits import evaluate, load_data, plot

import tinygrad_ed as tg
import tinygrad_ed.nn.functional as F
from tinygrad_ed import nn, optim
from tinygrad_ed.utils.data import DataLoader


class Network(nn.Module):
    """Two blocks of convolution, batch norm, ReLU and pooling, and two linear layers behind them."""

    def __init__(self, side: int, channels: int = 24, classes: int = 10):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False), nn.BatchNorm2d(2 * channels), nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.25),
            nn.Linear(2 * channels * (side // 4) ** 2, 64), nn.ReLU(),
            nn.Dropout(0.25),
            nn.Linear(64, classes),
        )

    def forward(self, x):
        x = x.unsqueeze(1)                            # (N, H, W) -> (N, 1, H, W)
        return self.classifier(self.features(x))


def augmented(images, strength):
    """Every image turned by up to 20°, zoomed by up to 15 % and moved by up to 7.5 % of its side, all times the strength."""
    n, *sizes = images.shape
    turn, zoom, right, down = (2 * tg.rand(4, n, 1, device=images.device) - 1) * strength
    turn, zoom = turn * math.radians(20), 1 + 0.15 * zoom
    cos, sin = zoom * turn.cos(), zoom * turn.sin()
    maps = tg.cat([cos, -sin, 0.15 * right, sin, cos, 0.15 * down], dim=1).reshape(n, 2, 3)
    grid = F.affine_grid(maps, (n, 1, *sizes), align_corners=False)
    return F.grid_sample(images.unsqueeze(1), grid, align_corners=False).squeeze(1)


def train_one_epoch(model, loader, criterion, optimizer, augment):
    """One pass over the training set; returns the mean loss."""
    model.train()
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(augmented(x, augment) if augment else x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
    return total / len(loader.dataset)


def main(argv=None):
    """Train, test, save; returns loss and accuracy of each set."""
    parser = argparse.ArgumentParser(description="Train a convolutional network on handwritten digits.")
    parser.add_argument("--data", metavar="DIR", help="directory of the four MNIST files (default: scikit-learn's digits)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--augment", type=float, default=0.5, help="how far training images are turned and moved, 0 to 1 (default: 0.5)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", metavar="DIR", default="runs/cnn", help="where the checkpoint and the plot go (default: runs/cnn)")
    args = parser.parse_args(argv)
    if args.epochs < 1:
        parser.error("--epochs is at least 1")

    tg.manual_seed(args.seed)
    shuffler = tg.Generator().manual_seed(args.seed)
    train, dev, test = load_data(args.data, args.device, shuffler)
    train_loader = DataLoader(train, batch_size=args.batch_size, shuffle=True, generator=shuffler)
    dev_loader = DataLoader(dev, batch_size=500)
    test_loader = DataLoader(test, batch_size=500)

    model = Network(side=train[0][0].shape[-1]).to(args.device)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.05)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs)

    history = {"train_loss": [], "dev_loss": [], "dev_accuracy": []}
    best_accuracy, best_state = -1.0, None
    progress = tqdm(range(args.epochs), desc="training", unit="epoch")
    for _ in progress:
        train_loss = train_one_epoch(model, train_loader, criterion, optimizer, args.augment)
        scheduler.step()
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
