"""Compare the optimizers on a five-layer network that reads handwritten digits: how many steps does each need to a given loss?

    python examples/optimizers_digits.py                    # all methods; runs/optimizers_digits/steps.png
    python examples/optimizers_digits.py --target 0.05 --steps 600
    python examples/optimizers_digits.py --methods SGD Adam --seed 7

Every method starts from the same weights, sees the same batches, and has the learning rate, of a few, with which it gets there
first. Methods that need whole data sets, such as Rprop and L-BFGS, are left out.

Needs the `examples` extra: pip install "tinygrad_ed[examples]"
"""
import argparse
import copy
import time
from pathlib import Path

from optimizers_2d import Method, colors
from tqdm import tqdm
from train_digits import evaluate, load_data

import tinygrad_ed as tg
from tinygrad_ed import nn, optim
from tinygrad_ed.utils.data import DataLoader

ADAM = (0.001, 0.003, 0.01)
METHODS = {
    "SGD": Method("SGD", rates=(0.1, 0.2, 0.3)),
    "momentum": Method("SGD", {"momentum": 0.9}, rates=(0.03, 0.1, 0.3)),
    "Nesterov": Method("SGD", {"momentum": 0.9, "nesterov": True}, rates=(0.03, 0.1, 0.3)),
    "Adagrad": Method("Adagrad", rates=(0.01, 0.03, 0.1)),
    "Adadelta": Method("Adadelta", rates=(1.0, 3.0, 10.0)),
    "RMSprop": Method("RMSprop", rates=ADAM),
    "Adam": Method("Adam", rates=ADAM),
    "AdamW": Method("AdamW", rates=ADAM),
    "Adamax": Method("Adamax", rates=(0.003, 0.01, 0.03)),
    "NAdam": Method("NAdam", rates=ADAM),
    "RAdam": Method("RAdam", rates=(0.003, 0.01, 0.03)),
    "Adafactor": Method("Adafactor", rates=(0.01, 0.03, 0.1)),
    "LARS": Method("LARS", {"momentum": 0.9}, rates=(1.0, 3.0, 10.0)),
    "LAMB": Method("LAMB", rates=(0.003, 0.01, 0.03)),
    "Lion": Method("Lion", rates=(0.0003, 0.001, 0.003)),
    "Muon": Method("Muon", rates=(0.01, 0.02, 0.05)),
}


class Network(nn.Sequential):
    """Pixels -> 64 -> 64 -> 64 -> 64 -> one score for each digit."""

    def __init__(self, pixels=64, width=64, classes=10):
        sizes = [pixels, *[width] * 4]
        hidden = [layer for a, b in zip(sizes, sizes[1:]) for layer in (nn.Linear(a, b), nn.ReLU())]
        super().__init__(nn.Flatten(), *hidden, nn.Linear(width, classes))


def optimizers(method, model, lr):
    """The method's optimizer; Muon is for matrices, so AdamW takes the biases."""
    if method.name != "Muon":
        return [method(model.parameters(), lr)]
    return [method([p for p in model.parameters() if p.ndim == 2], lr),
            optim.AdamW([p for p in model.parameters() if p.ndim != 2], lr=0.003)]


def train(method, lr, model, batches, steps):
    """The smoothed loss after each step, and the seconds for a step."""
    criterion, average, losses = nn.CrossEntropyLoss(), optim.ExponentialMovingAverage(0.9), []
    methods = optimizers(method, model, lr)
    model.train()
    start = time.perf_counter()
    while True:
        for x, y in batches:
            for optimizer in methods:
                optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            for optimizer in methods:
                optimizer.step()
            losses.append(average.update(loss.item()))
            if len(losses) == steps:
                return losses, (time.perf_counter() - start) / steps


def steps_to(losses, target):
    """How many steps it takes until the loss is at most the target; None where it never is."""
    return next((step for step, loss in enumerate(losses, 1) if loss <= target), None)


def compare(method, start, train_set, test_loader, args):
    """The best of the method's learning rates: the first at the target, or the lowest at the end."""
    results = []
    for lr in method.rates:
        model = copy.deepcopy(start)
        batches = DataLoader(train_set, batch_size=args.batch_size, shuffle=True, generator=tg.Generator().manual_seed(args.seed))
        losses, seconds = train(method, lr, model, batches, args.steps)
        steps = steps_to(losses, args.target)
        accuracy = evaluate(model, test_loader, nn.CrossEntropyLoss())[1]
        results.append({"lr": lr, "steps": steps, "losses": losses, "accuracy": accuracy, "milliseconds": 1000 * seconds})
    return min(results, key=lambda r: (r["steps"] is None, r["steps"], r["losses"][-1]))


def plot(results, target, path):
    """Draw the losses over the steps, and how many steps each method needs."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    color = colors(results)
    for name, result in results.items():
        left.plot(range(1, len(result["losses"]) + 1), result["losses"], color=color[name], linewidth=1.2, label=f"{name}, {result['lr']:g}")
    left.axhline(target, color="black", linestyle=":", linewidth=1)
    left.set(xlabel="step", ylabel="smoothed cross-entropy", yscale="log", title="Loss")
    left.grid(alpha=0.3)
    left.legend(fontsize=7, ncols=2, loc="lower left")
    limit = len(next(iter(results.values()))["losses"])
    names = sorted(results, key=lambda name: results[name]["steps"] or limit + 1, reverse=True)
    right.barh(names, [results[name]["steps"] or limit for name in names], color=[color[name] for name in names])
    for i, name in enumerate(names):
        right.text((results[name]["steps"] or limit) + limit / 100, i, results[name]["steps"] or f"> {limit}", va="center", fontsize=8)
    right.set(xlabel="steps", xlim=(0, 1.12 * limit), title=f"Steps to a loss of {target:g}")
    right.tick_params(axis="y", labelsize=8)
    figure.savefig(path, dpi=130)


def main(argv=None):
    """Train with each method, print, plot; returns the results."""
    available = {name: method for name, method in METHODS.items() if hasattr(optim, method.name)}
    parser = argparse.ArgumentParser(description="Compare optimizers on handwritten digits.")
    parser.add_argument("--methods", nargs="+", choices=list(available), default=list(available), metavar="NAME",
                        help=f"of {', '.join(available)} (default: all)")
    parser.add_argument("--target", type=float, default=0.1, help="the loss to reach (default: 0.1)")
    parser.add_argument("--steps", type=int, default=500, help="at most so many steps (default: 500)")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", metavar="DIR", default="runs/optimizers_digits", help="where the plot goes (default: runs/optimizers_digits)")
    args = parser.parse_args(argv)
    if args.steps < 1:
        parser.error("--steps is at least 1")

    tg.manual_seed(args.seed)
    train_set, dev, test = load_data(None, "cpu", tg.Generator().manual_seed(args.seed))
    test_loader = DataLoader(test, batch_size=1000)
    start = Network()
    progress = tqdm(args.methods, desc="comparing", unit="method")
    results = {name: compare(available[name], start, train_set, test_loader, args) for name in progress}

    print(f"\n{'method':<12}{'lr':>8}{f'steps to {args.target:g}':>16}{'last loss':>12}{'test accuracy':>16}{'ms per step':>14}")
    for name, r in sorted(results.items(), key=lambda item: item[1]["steps"] or args.steps + 1):
        steps = f"> {args.steps}" if r["steps"] is None else r["steps"]
        print(f"{name:<12}{r['lr']:>8g}{steps:>16}{r['losses'][-1]:>12.4f}{r['accuracy']:>16.2%}{r['milliseconds']:>14.2f}")

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    plot(results, args.target, out / "steps.png")
    print(f"\nthe plot is in {out}/")
    return results


if __name__ == "__main__":
    main()
