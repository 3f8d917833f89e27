"""Train an LSTM to write text, one character after the other, and let it write some.

    python examples/char_rnn.py                          # 33 of Shakespeare's sonnets, which come with the examples
    python examples/char_rnn.py --text path/to/book.txt --epochs 20 --hidden 256
    python examples/char_rnn.py --no-clip                # what happens without gradient clipping

The learning rate is large, and what makes it bearable is clipping: where the norm of the gradient exceeds a limit, the gradient is
scaled down to it. A recurrent network multiplies gradients with the same matrix at every step, so once in a while one is huge
(Pascanu, Mikolov and Bengio, 2013). With --no-clip the same training follows that gradient, and is thrown off.
"""
import argparse
import math
import time
from pathlib import Path

import tinygrad_ed as tg
from tinygrad_ed import nn, optim

SONNETS = Path(__file__).parent / "data" / "sonnets.txt"


class CharRNN(nn.Module):
    """Characters as vectors -> LSTM -> one score for each character that may come next."""

    def __init__(self, characters: int, hidden: int, layers: int):
        super().__init__()
        self.embedding = nn.Embedding(characters, 32)
        self.lstm = nn.LSTM(32, hidden, num_layers=layers)
        self.output = nn.Linear(hidden, characters)

    def forward(self, x, state=None):
        y, state = self.lstm(self.embedding(x), state)
        return self.output(y), state


def columns(text, alphabet, batch_size):
    """The text as numbers, cut into columns that are read side by side: (steps, batch_size)."""
    numbers = tg.tensor([alphabet.index(c) for c in text])
    steps = len(numbers) // batch_size
    return numbers[:steps * batch_size].reshape(batch_size, steps).T.contiguous()


def train_one_epoch(model, data, length, criterion, optimizer, clip):
    """One pass over the text in pieces; returns the mean loss and the largest norm of a gradient."""
    model.train()
    state, losses, largest = None, [], 0.0
    for start in range(0, len(data) - 1, length):
        x, target = data[start:start + length], data[start + 1:start + length + 1]
        scores, state = model(x[:len(target)], state)
        state = tuple(s.detach() for s in state)         # the next piece goes on from here, its gradient does not
        loss = criterion(scores.flatten(0, 1), target.flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
        largest = max(largest, norm.item())
    return sum(losses) / len(losses), largest


@tg.no_grad()
def write(model, alphabet, begin, length, temperature):
    """The beginning, and what the model makes of it: each character is drawn from the model's probabilities for it."""
    model.eval()
    text, state = begin, None
    x = tg.tensor([[alphabet.index(c)] for c in begin], device=model.output.weight.device)
    while len(text) < length:
        scores, state = model(x, state)
        probabilities = tg.softmax(scores[-1, 0] / temperature, dim=0)
        x = tg.multinomial(probabilities, 1).reshape(1, 1)
        text += alphabet[x.item()]
    return text


def main(argv=None):
    """Train and write; returns the loss of every epoch."""
    parser = argparse.ArgumentParser(description="Train an LSTM to write text, character by character.")
    parser.add_argument("--text", type=Path, default=SONNETS, metavar="FILE", help="what to learn (default: sonnets)")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--length", type=int, default=32, help="characters between two steps of the optimizer (default: 32)")
    parser.add_argument("--lr", type=float, default=20.0)
    parser.add_argument("--clip", type=float, default=0.25, help="largest norm of a gradient (default: 0.25)")
    parser.add_argument("--no-clip", action="store_const", const=math.inf, dest="clip", help="do not clip gradients")
    parser.add_argument("--write", type=int, default=400, metavar="N", help="characters to write at the end (default: 400)")
    parser.add_argument("--temperature", type=float, default=0.7, help="below 1 bolder, above 1 wilder (default: 0.7)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    args = parser.parse_args(argv)

    tg.manual_seed(args.seed)
    text = args.text.read_text(encoding="utf-8")
    alphabet = "".join(sorted(set(text)))
    data = columns(text, alphabet, args.batch_size).to(args.device)
    model = CharRNN(len(alphabet), args.hidden, args.layers).to(args.device)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=args.lr)
    print(f"{len(text):,} characters, {len(alphabet)} different ones, {sum(p.numel() for p in model.parameters()):,} parameters")

    history, began = [], time.perf_counter()
    print(f"{'epoch':>5}{'loss':>9}{'largest gradient':>20}{'seconds':>10}")
    for epoch in range(1, args.epochs + 1):
        loss, largest = train_one_epoch(model, data, args.length, criterion, optimizer, args.clip)
        history.append(loss)
        print(f"{epoch:>5}{loss:>9.3f}{largest:>20.3g}{time.perf_counter() - began:>10.1f}", flush=True)
        if not loss < math.log(len(alphabet)):           # also where it is NaN
            print(f"\nGuessing has a loss of {math.log(len(alphabet)):.3f}: a gradient has exploded, and the step along it has thrown the "
                  f"weights off. Leave out --no-clip, or take a smaller --lr.")
            return history

    print(f"\n{write(model, alphabet, text[:1], args.write, args.temperature)}")
    return history


if __name__ == "__main__":
    main()
