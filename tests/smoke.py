"""The shortest whole story: import, train ten steps, save, load. Run on every Python version, without test tools."""
import os
import sys
import tempfile

import tinygrad_ed as tg
from tinygrad_ed import nn, optim

tg.manual_seed(0)
x, y = tg.randn(64, 8), tg.randint(0, 3, (64,))
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = optim.Adam(model.parameters(), lr=1e-2)
losses = []
for _ in range(10):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
assert losses[-1] < losses[0], losses
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "model.safetensors")
    tg.save(model.state_dict(), path)
    again = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    again.load_state_dict(tg.load(path))
assert tg.equal(again(x), model(x))
heavy = {"cupy", "scipy", "matplotlib", "numba", "torch"} & set(sys.modules)
assert not heavy, f"import tinygrad_ed brought {heavy}"
print(f"Python {sys.version.split()[0]}: loss {losses[0]:.3f} -> {losses[-1]:.3f}")
