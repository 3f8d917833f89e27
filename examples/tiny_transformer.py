"""Teach a small Transformer to add numbers that it has not seen, digit by digit.

    python examples/tiny_transformer.py                  # numbers of up to 3 digits, in about a minute
    python examples/tiny_transformer.py --digits 2 --steps 600

A problem is a line of text such as `057+968=5201`, with the sum's last digit first: so the model can compute as we do on paper, from
right to left. It reads the line up to the equals sign and writes the rest, one character at a time; a causal mask keeps each position
from seeing what comes after it. The pairs of numbers that it is tested on are never in its training.
"""
import argparse
import math
import time

import tinygrad_ed as tg
import tinygrad_ed.nn.functional as F
from tinygrad_ed import nn, optim

PLUS, EQUALS, CHARACTERS = 10, 11, 12                    # the digits are their own numbers


class Adder(nn.Module):
    """Characters and their positions as vectors -> causal Transformer -> one score for each character that may come next."""

    def __init__(self, length: int, width: int, heads: int, layers: int):
        super().__init__()
        self.characters = nn.Embedding(CHARACTERS, width)
        self.positions = nn.Embedding(length, width)
        for embedding in (self.characters, self.positions):      # an Embedding begins standard normal; smaller vectors learn faster here
            nn.init.normal_(embedding.weight, std=0.1)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.transformer = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width))
        self.output = nn.Linear(width, CHARACTERS)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length), persistent=False)

    def forward(self, x):
        length = x.shape[1]
        x = self.characters(x) + self.positions(tg.arange(length, device=x.device))
        x = self.transformer(x, mask=self.mask[:length, :length], is_causal=True)
        return self.output(x)


def digits_of(numbers, n):
    """The last n digits of numbers, the first digit first: (numbers, n)."""
    return numbers.unsqueeze(1) // 10 ** tg.arange(n - 1, -1, -1, device=numbers.device) % 10


def problems(pairs, n):
    """Problems and answers as rows of characters, for pairs a·10ⁿ + b."""
    a, b = pairs // 10 ** n, pairs % 10 ** n
    plus, equals = tg.full_like(a, PLUS).unsqueeze(1), tg.full_like(a, EQUALS).unsqueeze(1)
    return tg.cat([digits_of(a, n), plus, digits_of(b, n), equals, digits_of(a + b, n + 1).flip(1)], 1)


@tg.no_grad()
def solve(model, questions, n):
    """The n + 1 characters that the model writes behind each question: always the one with the highest score."""
    model.eval()
    for _ in range(n + 1):
        questions = tg.cat([questions, model(questions)[:, -1:].argmax(2)], 1)
    return questions[:, -n - 1:]


def accuracy(model, pairs, n):
    """The share of sums with every digit right."""
    lines = problems(pairs, n)
    return (solve(model, lines[:, :-n - 1], n) == lines[:, -n - 1:]).all(1).float().mean().item()


def train(model, pairs, n, steps, batch_size, lr):
    """Batches of random problems; the loss is that of the answers alone. Returns the last loss."""
    optimizer = optim.AdamW(model.parameters(), lr=lr)
    began = time.perf_counter()
    print(f"{'step':>6}{'loss':>9}{'seconds':>10}")
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:             # a short warm-up, and then down along a cosine
            group["lr"] = lr * min(step / 100, 0.5 + 0.5 * math.cos(math.pi * step / steps))
        model.train()
        lines = problems(pairs[tg.randint(len(pairs), (batch_size,), device=pairs.device)], n)
        scores = model(lines[:, :-1])[:, -n - 1:]        # the scores of the characters behind the equals sign
        loss = F.cross_entropy(scores.flatten(0, 1), lines[:, -n - 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % max(steps // 15, 1) == 0 or step == steps:
            print(f"{step:>6}{loss.item():>9.4f}{time.perf_counter() - began:>10.1f}", flush=True)
    return loss.item()


def show(model, pairs, n):
    """Some problems, and what the model says."""
    lines = problems(pairs, n)
    for pair, answer in zip(pairs.tolist(), solve(model, lines[:, :-n - 1], n).flip(1).tolist()):
        a, b = divmod(pair, 10 ** n)
        said = "".join(map(str, answer))
        print(f"{a} + {b} = {said.lstrip('0') or '0'}{'' if said == f'{a + b:0{n + 1}d}' else f'   wrong: it is {a + b}'}")


def main(argv=None):
    """Train and test; returns the share of unseen sums that are right."""
    parser = argparse.ArgumentParser(description="Teach a Transformer to add.")
    parser.add_argument("--digits", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    args = parser.parse_args(argv)

    tg.manual_seed(args.seed)
    n = args.digits
    pairs = tg.randperm(100 ** n).to(args.device)
    held_out = min(1000, len(pairs) // 10)
    test, training = pairs[:held_out], pairs[held_out:]
    model = Adder(3 * n + 2, args.width, args.heads, args.layers).to(args.device)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{len(training):,} pairs to learn from, {len(test):,} to be tested on, {parameters:,} parameters")
    train(model, training, n, args.steps, args.batch_size, args.lr)
    right = accuracy(model, test, n)
    print(f"\n{right:.1%} of the unseen sums are right, for example")
    show(model, test[:5], n)
    return right


if __name__ == "__main__":
    main()
