"""The learning-rate range test: its sweep, what it finds, and that everything is as before, also after an exception."""
import math
import sys
import warnings

import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed import nn, optim
from tinygrad_ed.utils.data import DataLoader, TensorDataset

METHODS = {"SGD": lambda ps: optim.SGD(ps, lr=0.03, momentum=0.9), "AdamW": lambda ps: optim.AdamW(ps, lr=0.003),
           "tensor-lr": lambda ps: optim.Adam([{"params": [p], "lr": tg.tensor(0.01 * (i + 1))} for i, p in enumerate(ps)])}
method = pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)


def loader(generator=None, n=48, batch_size=8):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4)).astype("float32")
    return DataLoader(TensorDataset(tg.tensor(x), tg.tensor((x[:, 0] > x[:, 1]).astype("int64"))), batch_size=batch_size, shuffle=True,
                      generator=generator)


def start(make):
    """A model with buffers, random layers, one of them in evaluation mode, and old gradients, in the middle of its training."""
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Tanh(), nn.Linear(8, 2), nn.Dropout(0.1).eval())
    model.register_buffer("scratch", tg.zeros(3), persistent=False)
    optimizer = make(model.parameters())
    train(model, optimizer, loader())
    return model, optimizer


def train(model, optimizer, batches):
    for x, y in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def everything(model, optimizer, generator):
    """All bytes, modes and options that a test could have changed."""
    tensors = [*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters())]
    state = optimizer.state_dict()
    return ([None if t is None else (t.dtype, t.numpy(force=True).tobytes()) for t in tensors], [m.training for m in model.modules()],
            {i: {k: np.array(v).tobytes() for k, v in entries.items()} for i, entries in state["state"].items()},
            [{k: float(v) if isinstance(v, tg.Tensor) else v for k, v in group.items()} for group in state["param_groups"]],
            tg.get_rng_state().tolist(), generator.get_state().tolist())


criterion = nn.CrossEntropyLoss()


class Failing(nn.Module):
    """Changes what it can, and then fails."""

    def __init__(self, error, model):
        super().__init__()
        self.error, self.calls, self.seen = error, 0, [model]
        self.register_buffer("count", tg.zeros(()))

    def forward(self, y, target):
        self.calls += 1
        self.count += 1
        self.seen[0].eval()
        self.seen[0].scratch = tg.ones(3)
        if self.calls == 7:
            raise self.error
        return criterion(y, target)


@method
@pytest.mark.parametrize("error", [None, KeyError("seven"), KeyboardInterrupt()], ids=["fine", "error", "interrupt"])
def test_everything_is_as_before(make, error):
    model, optimizer = start(make)
    params, arrays = list(model.parameters()), [p.grad for p in model.parameters()]
    generator = tg.Generator().manual_seed(5)
    batches, loss = loader(generator), Failing(error, model)
    before, scratch = everything(model, optimizer, generator), model.scratch
    finder = optim.LRFinder(model, optimizer, loss if error else criterion)
    if error:
        with pytest.raises(type(error)):
            finder.range_test(batches, num_iter=20)
        assert loss.calls == 7 and loss.count.item() == 0 and finder.history["lr"] == []
    else:
        finder.range_test(batches, num_iter=20)
        assert len(finder.history["lr"]) == 20
    assert everything(model, optimizer, generator) == before and model.scratch is scratch
    assert all(p is q for p, q in zip(params, model.parameters())) and arrays[0] is not None


@method
def test_the_training_goes_on_as_if_there_had_been_no_test(make):
    runs = []
    for test in (False, True):
        model, optimizer = start(make)
        generator = tg.Generator().manual_seed(5)
        if test:
            optim.LRFinder(model, optimizer, criterion).range_test(loader(generator), num_iter=15, end_lr=100.0)
        train(model, optimizer, loader(generator))
        runs.append(everything(model, optimizer, generator))
    assert runs[0] == runs[1]


def test_a_fresh_optimizer_stays_fresh_and_a_shared_gradient_shared():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 2))
    optimizer = optim.Adam(model.parameters())
    model[0].weight.grad = model[1].weight.grad = tg.ones(4, 4)
    optim.LRFinder(model, optimizer, criterion).range_test(loader(), num_iter=5)
    assert not any(optimizer.state.values()) and model[2].weight.grad is None
    assert model[0].weight.grad is model[1].weight.grad and (model[0].weight.grad == 1).all()


# -- the sweep ---------------------------------------------------------------------------------------------------------

def quadratic(curvature=1.0):
    """L = curvature·w²/2 from w=1 on: gradient descent diverges from lr = 2/curvature on."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    return model, optim.SGD(model.parameters()), lambda y, target: curvature * (y * y).mean() / 2


@pytest.mark.parametrize("mode", ["exponential", "linear"])
def test_the_sweep_is_the_formula(mode):
    model, optimizer, loss = quadratic()
    finder = optim.LRFinder(model, optimizer, loss)
    assert finder.range_test([(tg.ones(1, 1), None)], 1e-3, 1.0, 31, mode, smoothing=0.0, diverge_threshold=math.inf) is finder
    expected = np.geomspace(1e-3, 1.0, 31) if mode == "exponential" else np.linspace(1e-3, 1.0, 31)
    np.testing.assert_allclose(finder.history["lr"], expected, rtol=1e-10)
    w = np.cumprod([1.0, *(1 - expected[:-1])])       # gradient descent with just these learning rates
    np.testing.assert_allclose(finder.history["loss"], w * w / 2, rtol=1e-4, atol=1e-12)
    assert finder.history["smooth_loss"] == pytest.approx(finder.history["loss"])
    assert finder.suggestion(0, 0) == pytest.approx(expected[np.gradient(w * w / 2, np.log(expected) if mode == "exponential" else expected)
                                                             .argmin()])


def test_the_loss_is_smoothed_as_by_the_average():
    model, optimizer, loss = quadratic()
    finder = optim.LRFinder(model, optimizer, loss).range_test([(tg.ones(1, 1), None)], num_iter=20, smoothing=0.8)
    average = optim.ExponentialMovingAverage(0.8)
    assert [average.update(x) for x in finder.history["loss"]] == finder.history["smooth_loss"]


@pytest.mark.parametrize("curvature", [0.1, 1.0, 10.0, 1000.0])
def test_it_stops_where_the_loss_explodes_and_suggests_less(curvature):
    model, optimizer, loss = quadratic(curvature)
    finder = optim.LRFinder(model, optimizer, loss).range_test([(tg.ones(1, 1), None)], 1e-6, 1e3, 200)
    assert 1.8 / curvature < finder.history["lr"][-1] < 40 / curvature and len(finder.history["lr"]) < 200
    assert 0.01 / curvature < finder.suggestion() < 2 / curvature


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_it_stops_at_a_loss_that_is_not_finite(bad):
    model, optimizer, _ = quadratic()
    losses = iter([3.0, 2.0, 1.0, bad, 1.0])
    finder = optim.LRFinder(model, optimizer, lambda y, target: y.mean() * 0 + next(losses)).range_test([(tg.ones(1, 1), None)], num_iter=10)
    assert finder.history["loss"] == [3, 2, 1] and next(losses) == 1.0


def test_losses_below_zero_are_no_divergence():
    model, optimizer, _ = quadratic()
    finder = optim.LRFinder(model, optimizer, lambda y, target: y.mean() - 10).range_test([(tg.ones(1, 1), None)], 1e-5, 1e-2, num_iter=30)
    assert len(finder.history["lr"]) == 30


def test_all_groups_get_the_learning_rate_and_the_loader_begins_again():
    seen, model = [], nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    optimizer = optim.SGD([{"params": model[0].parameters(), "lr": 1.0}, {"params": model[1].parameters(), "lr": 2.0}])
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append([g["lr"] for g in o.param_groups]))
    finder = optim.LRFinder(model, optimizer, criterion, device="cpu").range_test(loader(batch_size=24), 1e-4, 1e-1, num_iter=7)
    assert [[lr, lr] for lr in finder.history["lr"]] == seen and len(seen) == 7
    assert [g["lr"] for g in optimizer.param_groups] == [1.0, 2.0]


def test_a_schedule_is_not_disturbed():
    model, optimizer, loss = quadratic()
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    optim.LRFinder(model, optimizer, loss).range_test([(tg.ones(1, 1), None)], num_iter=5)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0.0005 and scheduler.last_epoch == 1


# -- the plot ----------------------------------------------------------------------------------------------------------

def test_plot(tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure
    model, optimizer, loss = quadratic()
    finder = optim.LRFinder(model, optimizer, loss).range_test([(tg.ones(1, 1), None)], 1e-4, 1e2)
    axes = finder.plot(tmp_path / "lr.png")
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG") and axes.get_xscale() == "log"
    assert axes.get_legend().get_texts()[-1].get_text() == f"suggestion: lr = {finder.suggestion():.2g}"
    lines = axes.get_lines()
    assert list(lines[0].get_xdata()) == finder.history["lr"][10:-5] and list(lines[1].get_ydata()) == finder.history["smooth_loss"][10:-5]
    mine = Figure().subplots()
    assert finder.plot(mine, skip_start=0, skip_end=0) is mine and len(mine.get_lines()[0].get_xdata()) == len(finder.history["lr"])
    assert finder.plot().figure is not None


def test_a_loss_that_never_falls_has_a_plot_but_no_suggestion():
    pytest.importorskip("matplotlib")
    model, optimizer, _ = quadratic()
    finder = optim.LRFinder(model, optimizer, lambda y, target: y.mean() * 0 + 1).range_test([(tg.ones(1, 1), None)])
    with pytest.raises(ValueError, match="never fell"):
        finder.suggestion()
    assert len(finder.plot().get_lines()) == 2


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    model, optimizer, loss = quadratic()
    finder = optim.LRFinder(model, optimizer, loss).range_test([(tg.ones(1, 1), None)])
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"] + ["matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install"):
        finder.plot()


# -- errors ------------------------------------------------------------------------------------------------------------

def test_wrong_use_is_explained_and_changes_nothing():
    model, optimizer, loss = quadratic()
    batches = [(tg.ones(1, 1), None)]
    finder = optim.LRFinder(model, optimizer, loss)
    with pytest.raises(TypeError, match="Optimizer"):
        optim.LRFinder(model, model, loss)
    for options, text in ((dict(start_lr=0), "start_lr"), (dict(start_lr=1, end_lr=1), "end_lr is above start_lr"), (dict(num_iter=1), "num_iter"),
                          (dict(mode="cosine"), "'exponential', 'linear'"), (dict(smoothing=1.0), "beta"),
                          (dict(diverge_threshold=1), "diverge_threshold"), (dict(diverge_threshold=math.nan), "diverge_threshold")):
        with pytest.raises(ValueError, match=text):
            finder.range_test(batches, **options)
    for bad, error, text in (([], ValueError, "no more batches"), (iter(batches), ValueError, "only once"), ([tg.ones(1)], TypeError, "Tensor"),
                             ([(1, 2, 3)], TypeError, "of 3")):
        with pytest.raises(error, match=text):
            finder.range_test(bad)
    for act in (finder.suggestion, finder.plot):
        with pytest.raises(ValueError, match="0 steps, too few"):
            act()
    assert model.weight.item() == 1 and model.weight.grad is None and finder.history["lr"] == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        finder.range_test(batches, num_iter=20)
        with pytest.raises(ValueError, match="skip_start=0"):
            finder.suggestion(10, 9)
