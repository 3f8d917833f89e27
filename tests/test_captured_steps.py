"""Captured steps: a replay is the step, number for number, for one launch; what cannot be captured says so and runs eagerly."""
import copy
import gc
import re
import warnings

import numpy as np
import pytest
import standin
from training_steps import MODELS, OPTIMIZERS, Training

import tinygrad_ed as tg
import tinygrad_ed.nn.functional as F
from tinygrad_ed import nn, optim
from tinygrad_ed.backend import capture, determinism
from tinygrad_ed.errors import CaptureError, DeviceError, InPlaceError, ShapeError


@pytest.fixture(autouse=True)
def cp():
    """The stand-in for the module cupy."""
    with standin.installed() as module:
        yield module


@pytest.fixture(autouse=True)
def _exact():
    """A step that is not captured is an error, unless a test expects the warning; sums come in a fixed order."""
    tg.backends.use_deterministic_algorithms(True, warn_only=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*cannot be captured.*")
        yield
    tg.backends.use_deterministic_algorithms(False)


def host(x):
    """A tensor's values."""
    return x.numpy(force=True)


def only(step):
    """The one capture of a step."""
    captured, = step._captured.values()
    return captured


def same(a, b):
    """Bit for bit."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


class Line:
    """A small regression: y = x·w + b with an optimizer, on a device or, for the expected numbers, run eagerly there."""

    def __init__(self, make=lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9), wrap=lambda step: step):
        self.w, self.b = (nn.Parameter(tg.tensor(v, device="cuda")) for v in ([[0.5, -1.0]], [0.25]))
        self.optimizer = make([self.w, self.b])
        self.step = wrap(self.update)

    def loss(self, x, y):
        return ((x * self.w).sum(1) + self.b - y).square().mean()

    def update(self, x, y):
        self.optimizer.zero_grad()
        loss = self.loss(x, y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def values(self):
        """Everything a step changes."""
        states = [v for state in self.optimizer.state.values() for v in state.values() if isinstance(v, tg.Tensor)]
        return [host(t) for t in (self.w, self.b, *states)]


def batch(n=4, seed=0):
    r = np.random.default_rng(seed)
    return tg.tensor(r.normal(size=(n, 2)).astype("float32"), device="cuda"), tg.tensor(r.normal(size=n).astype("float32"), device="cuda")


def agree(make, use, steps=6):
    """Whether `use(line, i)` gives the same with a captured step and an eager one, in step after step; returns the captured line."""
    eager, captured = Line(make), Line(make, tg.cuda.graph)
    for i in range(steps):
        a, b = use(eager, i), use(captured, i)
        assert a is None or same(host(a), host(b)), i
        assert all(map(same, eager.values(), captured.values())), i
    return captured


# -- a replay is the step ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", MODELS)
def test_replays_are_the_steps_they_replace(model, optimizer, monkeypatch):
    """With clipping, dropout, running statistics and a schedule."""
    monkeypatch.setattr(determinism, "_enabled", True)       # an embedding's atomic additions come in any order
    found, launches = [], []
    for captured in (False, True):
        training = Training(model, optimizer, "cuda")
        if captured:
            training.update = tg.cuda.graph(training.update)
        losses = [host(training.step()) for _ in range(7)]
        with standin.counting() as counts:
            losses.append(host(training.step()))
        launches.append(counts.launches if not captured else len(only(training.update).graph._graph))
        state = [v for s in training.optimizer.state.values() for v in s.values() if isinstance(v, tg.Tensor)]
        found.append([*losses, *map(host, [*training.model.parameters(), *training.model.buffers(), *state, tg.get_rng_state()])])
    assert len(found[0]) == len(found[1]) and all(map(same, *found))
    assert launches[0] == launches[1]                 # the flat memory of optimizers is used in captures too
    with standin.counting() as counts:                # two inputs, the graph, and the copy of the loss that is returned
        training.step()
    assert counts.launches == 4 and counts.allocations == 1 and counts.syncs == [] and len(counts.copies) <= 1


def test_the_first_calls_run_eagerly():
    calls = []
    line = Line(wrap=lambda step: tg.cuda.graph(warmup=3)(lambda x, y: (calls.append(None), step(x, y))[1]))
    for expected in (1, 2, 3, 4, 4, 4):               # the capture is a call, the replays are not
        line.step(*batch())
        assert len(calls) == expected
    assert repr(line.step).endswith("1 captures>")


CAPTURED = {                                          # by the method's name, and what is special about it
    "SGD": lambda ps: optim.SGD(ps, lr=0.1, maximize=True),
    "SGD nesterov": lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "SGD averaged": lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, form="averaged"),
    "Adam": lambda ps: optim.Adam(ps, lr=0.1, weight_decay=0.1, amsgrad=True),
    "Adam as it is": lambda ps: optim.Adam(ps, lr=0.1, bias_correction=False),
    "AdamW": lambda ps: optim.AdamW([{"params": ps[:1], "lr": 0.3}, {"params": ps[1:]}], lr=0.1),
    "ASGD": lambda ps: optim.ASGD(ps, lr=0.1, lambd=0.1, t0=3),
    "Adadelta": lambda ps: optim.Adadelta(ps, weight_decay=0.1),
    "Adafactor": lambda ps: optim.Adafactor(ps, lr=0.1, weight_decay=0.1),
    "Adagrad": lambda ps: optim.Adagrad(ps, lr=0.1, lr_decay=0.1),
    "Adamax": lambda ps: optim.Adamax(ps, lr=0.1),
    "LAMB": lambda ps: optim.LAMB(ps, lr=0.1),
    "LARS": lambda ps: optim.LARS(ps, lr=0.1),
    "Lion": lambda ps: optim.Lion(ps, lr=0.1, weight_decay=0.1),
    "Muon": lambda ps: optim.Muon(ps[:1], lr=0.1),
    "NAdam": lambda ps: optim.NAdam(ps, lr=0.1, weight_decay=0.1, decoupled_weight_decay=True),
    "RAdam": lambda ps: optim.RAdam(ps, lr=0.1, weight_decay=0.1, decoupled_weight_decay=True),
    "RMSprop": lambda ps: optim.RMSprop(ps, lr=0.1, momentum=0.5, centered=True),
    "Rprop": lambda ps: optim.Rprop(ps, lr=0.1),
}


@pytest.mark.parametrize("name", CAPTURED)
def test_learning_rates_and_step_counts_go_on(name):
    def use(line, i):
        for group in line.optimizer.param_groups:
            group["lr"] *= 0.7
        return line.step(*batch(seed=i))
    assert agree(CAPTURED[name], use, 12).step.refused == ""


def test_every_method_is_captured():
    """But for those of second order, which read values."""
    methods = {name for name, kind in vars(optim).items() if isinstance(kind, type) and issubclass(kind, optim.Optimizer)}
    searching = {name for name, kind in vars(optim).items() if isinstance(kind, type) and kind.__module__.startswith("tinygrad_ed.optim.second_order")}
    assert methods - searching - {"Optimizer"} == {name.split()[0] for name in CAPTURED}


def test_dropout_draws_anew_and_seeds_hold():
    x = tg.ones(64, device="cuda")
    draw = tg.cuda.graph(lambda x: (nn.functional.dropout(x, 0.5), tg.rand(5, device="cuda")))
    tg.manual_seed(3)
    found = [[host(t) for t in draw(x)] for _ in range(6)]
    tg.manual_seed(3)
    expected = [[host(nn.functional.dropout(x, 0.5)), host(tg.rand(5, device="cuda"))] for _ in range(6)]
    assert all(same(a, b) for row, other in zip(found, expected) for a, b in zip(row, other))
    assert len({row[0].tobytes() for row in found}) == 6
    tg.manual_seed(3)                                 # also between replays
    assert same(host(draw(x)[0]), expected[0][0])
    state = tg.get_rng_state()
    after = host(draw(x)[1])
    tg.set_rng_state(state)
    assert same(host(draw(x)[1]), after)


def test_batches_of_other_sizes_are_captured_on_their_own():
    sizes = [4, 4, 4, 6, 4, 6, 6, 6, 3, 4, 6]
    captured = agree(lambda ps: optim.Adam(ps, lr=0.1), lambda line, i: line.step(*batch(sizes[i], i)), len(sizes))
    assert repr(captured.step).endswith("2 captures>")                    # of 4 and 6, the 3 is still warming up


def test_other_arguments_and_nested_batches():
    f = tg.cuda.graph(lambda batch, factor=1.0: {"y": [batch["x"][0] * factor, factor]})
    for factor in (1.0, 2.0):
        for i in range(4):
            y = f({"x": (tg.full((2,), float(i), device="cuda"), "text")}, factor=factor)["y"]
            assert host(y[0]).tolist() == [factor * i] * 2 and y[1] == factor
    assert repr(f).endswith("2 captures>")
    for i in range(4):                                # no tensors at all
        assert tg.cuda.graph(lambda: 5)() == 5
    x = tg.arange(6, device="cuda").reshape(2, 3).T   # not contiguous
    g = tg.cuda.graph(lambda x: x + 1)
    assert all((host(g(x)) == host(x) + 1).all() for _ in range(4))


def test_methods_are_captured_for_each_instance():
    class Scaled:
        def __init__(self, factor):
            self.factor = factor

        @tg.cuda.graph
        def __call__(self, x):
            return x * self.factor

        double = tg.cuda.graph(lambda self, x: x * 2)

    two, three, x = Scaled(2.0), Scaled(3.0), tg.ones(1, device="cuda")
    for _ in range(4):
        assert (two(x).item(), three(x).item(), two.double(x).item()) == (2, 3, 2)
    assert repr(Scaled.__call__).endswith("2 captures>") and repr(Scaled.double).endswith("1 captures>")


def test_results_are_not_overwritten_by_the_next_replay():
    f = tg.cuda.graph(lambda x: x * 2)
    ys = [f(tg.full((1,), float(i), device="cuda")) for i in range(6)]
    assert [y.item() for y in ys] == [0, 2, 4, 6, 8, 10]


def test_make_graphed_callable_captures_at_once():
    calls = []
    f = tg.cuda.make_graphed_callable(lambda x: (calls.append(None), x + 1)[1], (tg.zeros(2, device="cuda"),))
    assert len(calls) == 3 and host(f(tg.ones(2, device="cuda"))).tolist() == [2, 2] and len(calls) == 3


def test_on_the_cpu_the_step_runs_as_it_is():
    f = tg.cuda.graph(lambda x: x.sum().item())
    assert [f(tg.ones(2)) for _ in range(4)] == [2.0] * 4 and f.refused == ""


# -- what changes besides ----------------------------------------------------------------------------------------------

def test_gradients_that_are_cleared_outside_or_added_up():
    def accumulating(line):
        def step(x, y):
            loss = line.loss(x, y)
            loss.backward()
            return loss.detach()
        return step

    for clear, warmup in ((1, 2), (3, 2), (3, 3)):    # after every step, or after every third
        found = []
        for wrap in (lambda f: f, tg.cuda.graph(warmup=warmup)):
            line = Line(lambda ps: optim.SGD(ps, lr=0.1))
            step = wrap(accumulating(line))
            rows = []
            for i in range(15):
                step(*batch(seed=i))
                rows += [host(line.w.grad), host(line.b.grad)]
                if i % clear == clear - 1:
                    line.optimizer.step()
                    line.optimizer.zero_grad()
            found.append([*rows, *line.values()])
        assert all(map(same, *found)), clear
        # into new gradients; to be added; and the latter again once the optimizer has given them their place
        assert step._captures == 1 if clear == 1 else step._captures <= 3


def test_loading_a_state_is_seen():
    saved = {}

    def use(line, i):
        if i == 4:
            saved[line] = copy.deepcopy(line.optimizer.state_dict()), line.w.detach().clone()
        if i == 6:
            line.optimizer.load_state_dict(saved[line][0])
            line.w.data = saved[line][1].data
        return line.step(*batch(seed=i))
    captured = agree(lambda ps: optim.Adam(ps, lr=0.1), use, 10)
    assert captured.step._captures == 2


@pytest.mark.parametrize("change", [lambda line: line.optimizer.param_groups[0].update(weight_decay=0.5), lambda line: line.b.requires_grad_(False)])
def test_other_options_and_frozen_parameters_are_seen(change):
    def use(line, i):
        if i == 5:
            change(line)
        return line.step(*batch(seed=i))
    assert agree(lambda ps: optim.SGD(ps, lr=0.1), use, 9).step._captures == 2


def test_modes_of_the_program_are_seen():
    line, x = Line(wrap=tg.cuda.graph), batch()
    predict = tg.cuda.graph(lambda x: (x @ line.w.T).dtype)
    for _ in range(4):
        assert predict(x[0]) == tg.float32
        with tg.amp.autocast("cuda", dtype=tg.float16):
            assert predict(x[0]) == tg.float16
    counting = tg.cuda.graph(lambda x: (x * line.w).requires_grad)
    for _ in range(4):
        assert counting(x[0])
        with tg.no_grad():
            assert not counting(x[0])


@pytest.mark.parametrize("settings, name", [(tg.backends.cuda.matmul, "allow_tf32"), (tg.backends.cuda.matmul, "allow_relu_epilogue"),
                                            (tg.backends.cudnn, "allow_tf32"), (tg.backends.cudnn, "enabled"), (tg.backends.cudnn, "deterministic")])
def test_other_ways_to_multiply_are_captured_anew(monkeypatch, settings, name):
    line, x = Line(wrap=tg.cuda.graph), batch()
    predict = tg.cuda.graph(lambda x: x @ line.w.T)
    for captures in (1, 2):
        for _ in range(4):
            predict(x[0])
        assert predict._captures == captures
        monkeypatch.setattr(settings, name, not getattr(settings, name))


def test_autocast_around_a_captured_step_converts_the_parameters_of_each_step():
    found = []
    for wrap in (lambda f: f, tg.cuda.graph):
        tg.manual_seed(0)
        layer = nn.Linear(2, 3).to("cuda")
        optimizer = optim.SGD(layer.parameters(), lr=0.1)

        def step(x, layer=layer, optimizer=optimizer):
            optimizer.zero_grad()
            loss = layer(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss.detach()
        step = wrap(step)
        found.append([])
        for i in range(6):
            with tg.amp.autocast("cuda", dtype=tg.float16):
                found[-1].append(host(step(batch(seed=i)[0])))
    assert all(map(same, *found)) and step._captures == 1


def test_an_option_that_changes_every_step_is_told():
    def use(line, i):
        line.optimizer.param_groups[0]["momentum"] = 0.9 - 0.01 * i
        return line.step(*batch(seed=i))
    with pytest.warns(UserWarning, match="captured at most 8 times.*an option of SGD other than lr") as told:
        agree(lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9), use, 24)
    assert len(told) == 1


def test_more_shapes_than_captures_run_eagerly():
    calls = []
    f = tg.cuda.graph(lambda x: (calls.append(None), x * 2)[1], warmup=1)
    with pytest.warns(UserWarning, match="at most 8 times"):
        for n in (*range(1, 11), *range(1, 11)) * 2:
            assert host(f(tg.full((n,), 1.5, device="cuda"))).tolist() == [3.0] * n
    before = len(calls)
    f(tg.ones(1, device="cuda"))                      # the first ones are replayed still
    assert len(calls) == before
    f(tg.ones(10, device="cuda"))
    assert len(calls) == before + 1


def test_a_captured_step_inside_of_another_is_a_part_of_it():
    inner = tg.cuda.graph(lambda x: x + 1)
    outer = tg.cuda.graph(lambda x: inner(x) * 2)
    assert all(outer(tg.full((1,), float(i), device="cuda")).item() == 2 * (i + 1) for i in range(6))
    assert repr(outer).endswith("1 captures>")


def test_a_step_on_another_device():
    f = tg.cuda.graph(lambda x: x + 1)
    for i in range(8):
        y = f(tg.full((2,), float(i), device=f"cuda:{i % 2}"))
        assert host(y).tolist() == [i + 1] * 2 and y.device == f"cuda:{i % 2}"
    assert repr(f).endswith("2 captures>")


def test_a_replay_counts_as_a_write():
    line = Line(wrap=tg.cuda.graph)
    for i in range(4):
        line.step(*batch())
    loss = (line.w * line.w).sum()
    line.step(*batch())
    with pytest.raises(InPlaceError, match="overwritten"):
        loss.backward()


def test_the_scale_of_a_loss_changes_between_replays():
    scaler, w = tg.amp.GradScaler(init_scale=4.0, growth_interval=1), nn.Parameter(tg.ones(2, device="cuda"))
    optimizer = optim.SGD([w], lr=0.5)

    @tg.cuda.graph
    def backward(x):
        optimizer.zero_grad()
        scaler.scale((w * x).sum()).backward()

    for i in range(5):
        backward(tg.ones(2, device="cuda"))
        assert host(w.grad).tolist() == [4.0 * 2 ** i] * 2
        scaler.step(optimizer)
        scaler.update()
    assert host(w).tolist() == [-1.5, -1.5] and backward.refused == ""


def test_gradients_are_unscaled_and_clipped_in_a_captured_step():
    """With steps that are left out, since a gradient is not finite."""
    found = []
    for wrap in (lambda f: f, tg.cuda.graph):
        scaler, line = tg.amp.GradScaler(init_scale=8.0, growth_interval=2), Line(lambda ps: optim.Adam(ps, lr=0.1))

        def backward(x, y, scaler=scaler, line=line):
            line.optimizer.zero_grad()
            scaler.scale(line.loss(x, y)).backward()
            scaler.unscale_(line.optimizer)
            return nn.utils.clip_grad_norm_([line.w, line.b], 0.5)
        backward, rows = wrap(backward), []
        for i in range(10):
            x, y = batch(seed=i)
            rows.append(host(backward(x * float("inf") if i in (1, 5, 6) else x, y)))
            scaler.step(line.optimizer)
            scaler.update()
            rows += [*line.values(), np.array(scaler.get_scale())]
        with pytest.raises(tg.errors.GraphError, match="have been unscaled"):
            for _ in range(2):                        # without update()
                backward(x, y)
        found.append(rows)
    assert all(map(same, *found)) and backward.refused == ""
    assert {float(row) for row in found[0] if row.dtype == np.float64} == {8.0, 4.0, 2.0}


KERNELS = {                                           # what is computed with products, or with tables that are sent once
    "multi_margin_loss": lambda x, labels: F.multi_margin_loss(x, labels), "cdist": lambda x, labels: tg.cdist(x, x[:2], p=1).square(),
    "cross_entropy": lambda x, labels: F.cross_entropy(x, x.detach().softmax(1)),
    "adaptive_max_pool": lambda x, labels: F.adaptive_max_pool2d(x[None], (3, 2)), "adaptive_avg_pool": lambda x, labels: F.adaptive_avg_pool2d(x[None], (3, 2)),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_for_which_there_is_no_source_are_captured(name):
    labels, results = tg.tensor([0, 2, 1, 2], device="cuda"), []

    def step(x):
        x = x.detach().requires_grad_()
        y = KERNELS[name](x, labels)
        y.sum().backward()
        return y.detach(), x.grad
    for run in (step, tg.cuda.graph(step)):
        results.append([host(a) for i in range(4) for a in run(tg.tensor(np.random.default_rng(i).normal(size=(4, 3)).astype("float32"), device="cuda"))])
    assert all(map(same, *results))


# -- what cannot be captured -------------------------------------------------------------------------------------------

class Own(optim.Optimizer):
    """A method that somebody wrote without a thought of captures."""

    def _update(self, group, x):
        x.p -= group["lr"] * x.g


REFUSED = {                                           # what a step does, and what the warning says of it
    "item": (lambda line, loss: loss.item(), r"item\(\).*test_captured_steps.py:\d+ in <lambda>: \"item\""),
    "numpy": (lambda line, loss: loss.numpy(force=True), "reading values of the device"),
    "a condition": (lambda line, loss: 1 if loss > 0 else 0, "bool|item"),
    "a host's tensor": (lambda line, loss: loss + tg.tensor([1.0], device="cuda"), "a copy of the host's values"),
    "a tensor of the CPU": (lambda line, loss: loss + tg.ones(1).to("cuda"), "a copy from the CPU"),
    "a mask": (lambda line, loss: line.w[line.w > 0], "nonzero|boolean mask"),
    "synchronize": (lambda line, loss: tg.cuda.synchronize(), "ynchronize"),
    "a schedule": (lambda line, loss: line.schedule.step(), r"scheduler.step\(\).*after the captured step"),
    "an accumulation": (lambda line, loss: line.accumulation.backward(line.b.square().sum()), "GradientAccumulation"),
    "an average": (lambda line, loss: line.average.update(loss), "ExponentialMovingAverage"),
    "another method": (lambda line, loss: line.other.step(lambda: loss), "reading|item"),
    "a method of one's own": (lambda line, loss: line.own.step(), "Own computes with numbers of the host"),
    "another form": (lambda line, loss: line.ahead.step(lambda: line.b.square().sum().backward()), "lookahead"),
    "a scaler's step": (lambda line, loss: (line.scaler.scale(loss), line.scaler.step(line.slow), line.scaler.update()), "GradScaler.*RMSprop.*finite"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_captured_says_so_and_runs_eagerly(name):
    does, words = REFUSED[name]
    found, seen = [], []
    for captured in (False, True):
        line = Line(lambda ps: optim.Adam(ps, lr=0.1))
        line.schedule = optim.lr_scheduler.ExponentialLR(line.optimizer, 0.9)
        line.other, line.own = optim.LBFGS([line.w]), Own([line.w], {"lr": 0.1})
        line.accumulation, line.average = optim.GradientAccumulation(line.optimizer, 2), optim.swa_utils.ExponentialMovingAverage(0.9)
        line.ahead = optim.SGD([line.b], lr=0.1, momentum=0.5, nesterov=True, form="lookahead")
        line.scaler, line.slow = tg.amp.GradScaler(), optim.RMSprop([line.w], lr=0.1)

        def step(x, y):
            loss = line.update(x, y) + nn.functional.dropout(line.w.detach()).sum()
            does(line, loss)
            return loss
        step = tg.cuda.graph(step) if captured else step
        tg.manual_seed(0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            losses = [host(step(*batch(seed=i))) for i in range(6)]
        seen.append([str(w.message) for w in caught])
        found.append([*losses, *line.values(), host(tg.get_rng_state())])
    assert all(map(same, *found))
    assert not seen[0] and len(seen[1]) == 1
    assert re.search("step cannot be captured as a CUDA graph and runs eagerly from now on: .*(" + words + ")", seen[1][0]), seen[1][0]


def test_gradients_of_a_refused_capture_are_those_before():
    w = nn.Parameter(tg.ones(2, device="cuda"))

    @tg.cuda.graph
    def step(x):
        (w * x).sum().backward()
        return float(w.grad.sum())
    with pytest.warns(UserWarning, match="cannot be captured"):
        assert [step(tg.ones(2, device="cuda")) for _ in range(5)] == [2, 4, 6, 8, 10]
    step.reset()
    with pytest.warns(UserWarning, match="cannot be captured"):
        for _ in range(5):
            w.grad = None
            assert step(tg.ones(2, device="cuda")) == 2


def test_errors_of_the_step_are_its_own():
    f = tg.cuda.graph(lambda x, n: x.reshape(n))
    with pytest.raises(ShapeError):
        f(tg.ones(3, device="cuda"), 2)
    flag = []

    @tg.cuda.graph
    def stops(x):
        if flag:
            raise KeyboardInterrupt
        return x + 1
    for _ in range(2):
        stops(tg.ones(1, device="cuda"))
    flag.append(None)
    with pytest.raises(KeyboardInterrupt):
        stops(tg.ones(1, device="cuda"))
    flag.clear()
    assert capture.active() is None and stops(tg.ones(1, device="cuda")).item() == 2 and repr(stops).endswith("1 captures>")


def test_wrong_arguments_are_explained(cp):
    f = tg.cuda.graph(lambda *xs: xs[0] + 1)
    with pytest.raises(DeviceError, match=r"tensor 1 of the step's 2, of shape \(3,\), is on the CPU.*x.to\('cuda:0'\)"):
        f(tg.ones(2, device="cuda"), tg.ones(3))
    with pytest.raises(TypeError, match="hashable arguments, got ndarray"):
        f(np.ones(2))
    with pytest.raises(TypeError, match="a function of tensors"):
        tg.cuda.graph(5)
    with pytest.raises(ValueError, match="warmup=0"):
        tg.cuda.graph(lambda: None, warmup=0)
    w = nn.Parameter(tg.ones(2, device="cuda"))
    with pytest.warns(UserWarning, match="an argument requires grad"):
        assert [f(w).sum().item() for _ in range(4)] == [4] * 4
    with pytest.raises(CaptureError, match="inside|outer"):
        with tg.cuda.graph(tg.cuda.CUDAGraph()), tg.cuda.graph(tg.cuda.CUDAGraph()):
            pass
    assert capture.active() is None and not tg.cuda.is_current_stream_capturing()


# -- memory, streams, threads ------------------------------------------------------------------------------------------

def test_memory_is_the_graphs_own_and_given_back():
    tg.cuda.init()                                    # before, no memory is known
    gc.collect()
    tg.cuda.empty_cache()
    before, pools = tg.cuda.memory_reserved(), list(tg.backend.cuda.private_pools)
    f = tg.cuda.graph(lambda x: ((x + 1) * 2).sum())
    x = tg.ones(1 << 12, device="cuda")
    tg.cuda.reset_peak_memory_stats()
    for _ in range(4):
        f(x)
    used = tg.cuda.memory_allocated()
    assert tg.cuda.max_memory_allocated() >= used and len(tg.backend.cuda.private_pools) == len(pools) + 1
    for _ in range(3):
        f(x)
        assert tg.cuda.memory_allocated() == used
    f.reset()
    gc.collect()
    tg.cuda.empty_cache()
    assert tg.backend.cuda.private_pools == pools and tg.cuda.memory_reserved() <= before + x.nbytes
    assert f(x).item() == 4 << 12                     # and captures again
    pool, g, h = tg.cuda.graph_pool_handle(), tg.cuda.CUDAGraph(), tg.cuda.CUDAGraph()
    for graph in (g, h):                              # which share it
        with tg.cuda.graph(graph, pool):
            x + 1
    g.reset()
    assert pool.total_bytes() > 0
    del h, graph, f
    gc.collect()
    assert pool.total_bytes() == 0 and tg.backend.cuda.private_pools == pools


def test_a_prefetched_batch_is_replayed():
    data = tg.data.DataLoader(tg.data.TensorDataset(*(t.cpu() for t in batch(24))), 4)
    captured = agree(lambda ps: optim.SGD(ps, lr=0.1), lambda line, i: None, 1)
    eager = Line(lambda ps: optim.SGD(ps, lr=0.1))
    for x, y in tg.data.Prefetcher(data, "cuda"):
        assert same(host(captured.step(x, y)), host(eager.step(x, y)))
    assert captured.step._captures == 1


# -- losses ------------------------------------------------------------------------------------------------------------

def test_losses_are_read_now_and_then():
    losses, read = tg.cuda.LossBuffer(3), []
    line = Line()

    @tg.cuda.graph
    def step(x, y):
        losses.append(line.update(x, y))

    with standin.counting() as counts:
        for i in range(12):
            step(*batch(seed=i))
            if losses.full():
                read += losses.read().tolist()
    other = Line()
    assert read == [other.step(*batch(seed=i)).item() for i in range(12)]
    assert len(counts.syncs) == 4 and step.refused == ""
