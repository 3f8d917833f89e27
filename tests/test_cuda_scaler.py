"""GradScaler on a device: steps with an overflow are left out there, without a wait of the host, eagerly and in captured steps, bit for bit."""
import copy
import warnings

import numpy as np
import pytest
import standin
from training_steps import OPTIMIZERS, Training

import tinygrad_ed as tg
from tinygrad_ed import nn, optim
from tinygrad_ed.backend import determinism
from tinygrad_ed.errors import CaptureError, GraphError, InPlaceError

INF, OVERFLOWS = float("inf"), (1, 5, 6)              # steps whose batch is infinite


@pytest.fixture(autouse=True)
def cp(monkeypatch):
    """The stand-in for the module cupy; sums come in a fixed order, and a step that is not captured is an error."""
    monkeypatch.setattr(determinism, "_enabled", True)
    with standin.installed() as module, warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*cannot be captured.*")
        yield module


def host(x):
    """A tensor's values, as they are now."""
    return x.numpy(force=True).copy()


def same(a, b):
    """Bit for bit."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


class Scaled(Training):
    """A training step in mixed precision."""

    def __init__(self, model, optimizer, dtype=tg.float16):
        super().__init__(model, optimizer, "cuda", dtype)
        self.scaler = tg.amp.GradScaler(init_scale=2.0 ** 14, growth_interval=3)

    def update(self, x, t):
        """Scale, backward, unscale, clip, step, update."""
        self.optimizer.zero_grad()
        loss = self.loss(self.model(x), t)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()

    def values(self):
        """All that a step changes, but running statistics."""
        return [*map(host, self.model.parameters()), *(host(v) for s in self.optimizer.state.values() for v in s.values())]


def course(training, steps=12, waits=0):
    """What each step leaves behind, with infinite batches in between; after the first, each waits so many times."""
    tg.manual_seed(1)
    found, x = [], training.x
    for i in range(steps):
        training.x = x * INF if i in OVERFLOWS else x
        with standin.counting() as counts:
            loss = training.step()
        assert i == 0 or len(counts.syncs) == waits
        found.append([host(loss), np.array(training.scaler.get_scale()), *training.values()])
    training.x = x
    return found


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", ["MLP", "CNN"])
@pytest.mark.parametrize("dtype", [tg.float16, tg.float32])
def test_replays_are_the_steps_and_these_are_those_that_wait(model, optimizer, dtype, monkeypatch):
    eager, captured, waiting = (Scaled(model, optimizer, dtype) for _ in range(3))
    captured.update = tg.cuda.graph(captured.update)
    courses = [course(eager), course(captured)]
    assert captured.update.refused == "" and len(captured.update._captured) == 1
    monkeypatch.setattr(optim.Optimizer, "_can_skip", lambda self, skip: False)
    courses.append(course(waiting, waits=1))
    for rows in zip(*courses):
        assert all(same(a, b) for other in rows[1:] for a, b in zip(rows[0], other, strict=True))
    scales = [float(row[1]) / 2 ** 14 for row in courses[0]]
    assert scales == [1, 0.5, 0.5, 0.5, 1, 0.5, 0.25, 0.25, 0.25, 0.5, 0.5, 0.5]
    for i in OVERFLOWS:                               # parameters, state and the count of steps are left alone
        assert all(map(same, courses[0][i][2:], courses[0][i - 1][2:]))
    steps = [s["step"].item() for s in eager.optimizer.state.values() if "step" in s]
    assert set(steps) == (set() if optimizer == "SGD" else {12.0 - len(OVERFLOWS)})


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_scaling_costs_few_launches(optimizer):
    """The loss and its gradient times the scale, a flag and the gradients that are looked at, the update, and Adam's count."""
    counts = []
    for training in (Training("MLP", optimizer, "cuda"), Scaled("MLP", optimizer, tg.float32)):
        training.step()
        training.step()
        with standin.counting() as found:
            training.step()
        counts.append(found)
    assert counts[1].launches - counts[0].launches == 5 + (optimizer != "SGD") and counts[1].syncs == counts[1].copies == []


def test_the_scale_is_that_of_the_processor():
    courses = []
    for device in ("cpu", "cuda"):
        scaler, w, rows = tg.amp.GradScaler(init_scale=3.0, growth_factor=1.7, backoff_factor=0.3, growth_interval=2), nn.Parameter(tg.ones(2, device=device)), []
        optimizer = optim.SGD([w], lr=0.5, momentum=0.5)
        for i in range(9):
            optimizer.zero_grad()
            scaler.scale((w * w).sum() * (INF if i in (2, 3, 6) else 1)).backward()
            scaler.step(optimizer)
            scaler.update(np.float32(7.5) if i == 7 else None)
            rows.append((scaler.state_dict(), w.tolist()))
        courses.append(rows)
        assert all(type(v) in (int, float) for v in scaler.state_dict().values())
    assert courses[0] == courses[1]


class Heads:
    """Two heads on a trunk; a step trains the trunk and one or both of them."""

    def __init__(self, captured, scaled):
        self.parts = [nn.Parameter(tg.full((3,), 1.0 + i, device="cuda")) for i in range(3)]
        self.optimizer = optim.Adam(self.parts, lr=0.1)
        self.scaler = tg.amp.GradScaler(init_scale=4.0, enabled=scaled)
        self.step = tg.cuda.graph(self.update, warmup=1) if captured else self.update

    def update(self, x, which):
        """A step of the heads in `which`."""
        self.optimizer.zero_grad()
        trunk, *heads = self.parts
        self.scaler.scale(sum((x * trunk * heads[i]).sum() for i in which)).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("captured", [False, True])
def test_parameters_that_step_at_other_times_are_counted_on_their_own(captured, scaled):
    heads, expected = Heads(captured, scaled), {}
    counts = [0, 0, 0]
    both, first, second = (0, 1), (0,), (1,)
    for i, which in enumerate([both, both, first, both, second, second, first, both, first, both, both, second, both, both]):
        bad = scaled and i in (1, 2, 4, 9, 12)
        heads.step(tg.full((3,), INF if bad else 0.5 + i, device="cuda"), which)
        if not bad:
            counts = [counts[0] + 1, *(n + (k in which) for k, n in enumerate(counts[1:]))]
        assert [s["step"].item() for s in heads.optimizer.state.values()] == counts, i
        expected[i] = [host(p) for p in heads.parts]
    apart = [optim.Adam([nn.Parameter(tg.full((3,), 1.0 + i, device="cuda"))], lr=0.1) for i in range(3)]      # one optimizer for each
    trunk, *others = (o.param_groups[0]["params"][0] for o in apart)
    for i, which in enumerate([both, both, first, both, second, second, first, both, first, both, both, second, both, both]):
        if not (scaled and i in (1, 2, 4, 9, 12)):
            for o in apart:
                o.zero_grad()
            x = tg.full((3,), 0.5 + i, device="cuda")
            sum((x * trunk * others[k]).sum() for k in which).backward()
            for o in apart:
                o.step()
        assert all(map(same, expected[i], map(host, (trunk, *others)))), i


def test_what_came_before_is_counted(monkeypatch):
    """Steps without the scaler, of different parameters; and a step without it after one that was left out."""
    found = []
    for can_skip in (optim.Optimizer._can_skip, lambda self, skip: False):
        monkeypatch.setattr(optim.Optimizer, "_can_skip", can_skip)
        ps, scaler = [nn.Parameter(tg.full((2,), 1.0 + i, device="cuda")) for i in range(3)], tg.amp.GradScaler(init_scale=4.0)
        optimizer, rows = optim.Adam(ps, lr=0.1), []
        for i, which in enumerate([(0, 1, 2), (1,), (1, 2), (0, 1, 2), (0, 1, 2), (0, 1, 2), (0, 1, 2), (0, 1, 2)]):
            optimizer.zero_grad()
            loss = sum((ps[k] * ps[k]).sum() for k in which)
            if i in (3, 4, 5):
                scaler.scale(loss * INF if i == 5 else loss).backward()
                scaler.step(optimizer)
                scaler.update()
            else:
                loss.backward()
                optimizer.step()
            rows.append([*map(host, ps), *(host(v) for s in optimizer.state.values() for v in s.values())])
        assert [s["step"].item() for s in optimizer.state.values()] == [5, 7, 6]
        found.append(rows)
    assert all(same(a, b) for pair in zip(*found) for a, b in zip(*pair, strict=True))


@pytest.mark.parametrize("options", [dict(dampening=0.5), dict(nesterov=True), dict(form="averaged")])
def test_an_overflow_in_the_first_step(options, monkeypatch):
    """After which the momentum is still that of no step."""
    found = []
    for can_skip in (optim.Optimizer._can_skip, lambda self, skip: False):
        monkeypatch.setattr(optim.Optimizer, "_can_skip", can_skip)
        w, scaler = nn.Parameter(tg.ones(2, device="cuda")), tg.amp.GradScaler(init_scale=4.0)
        optimizer = optim.SGD([w], lr=0.1, momentum=0.5, **options)
        for i in range(4):
            optimizer.zero_grad()
            scaler.scale((w * w).sum() * (1 if i else INF)).backward()
            scaler.step(optimizer)
            scaler.update()
        found.append(w.tolist())
    assert found[0] == found[1]


def test_saved_and_loaded_it_goes_on_as_if_it_had_not_stopped():
    through, stopped = Scaled("MLP", "Adam"), Scaled("MLP", "Adam")

    courses = []
    for training in (through, stopped):
        course(training, 7)
        if training is stopped:
            saved = copy.deepcopy((stopped.optimizer.state_dict(), stopped.scaler.state_dict()))
            stopped.optimizer, stopped.scaler = OPTIMIZERS["Adam"](stopped.model.parameters()), tg.amp.GradScaler()
            stopped.optimizer.load_state_dict(saved[0])
            stopped.scaler.load_state_dict(saved[1])
            stopped.schedule.optimizer = stopped.optimizer
        courses.append(course(training, 4))
    assert all(same(a, b) for rows in zip(*courses) for a, b in zip(*rows, strict=True))


def test_one_scaler_for_several_optimizers(monkeypatch):
    found = []
    for waits in (False, True):
        monkeypatch.setattr(optim.Optimizer, "_can_skip", (lambda self, skip: False) if waits else optim.Optimizer._can_skip)
        a, b = (nn.Parameter(tg.ones(2, device="cuda")) for _ in range(2))
        scaler, optimizers, rows = tg.amp.GradScaler(init_scale=8.0), (optim.SGD([a], lr=0.1), optim.Adam([b], lr=0.1)), []
        for i in range(6):
            for o in optimizers:
                o.zero_grad()
            scaler.scale((a * a).sum() * (INF if i == 2 else 1) + (b * b).sum()).backward()
            for o in optimizers:
                scaler.step(o)
            scaler.update()
            rows.append((a.tolist(), b.tolist(), scaler.get_scale()))
        found.append(rows)
    assert found[0] == found[1] and [row[2] for row in found[0]] == [8, 8, 4, 4, 4, 4]
    assert found[0][2][0] == found[0][1][0] and found[0][2][1] != found[0][1][1]      # the other one stepped


def test_memory_that_kernels_do_not_take_is_left_alone_too():
    w = nn.Parameter(tg.ones(3, 2, device="cuda"))
    w.data = w.data.T                                 # not contiguous: stepped where it is, by CuPy's functions
    for make in (lambda: optim.SGD([w], lr=0.1, momentum=0.9), lambda: optim.Adam([w], lr=0.1)):
        optimizer, scaler = make(), tg.amp.GradScaler(init_scale=2.0)
        for i in range(4):
            optimizer.zero_grad()
            before = host(w)
            scaler.scale((w * w).sum() * (INF if i == 2 else 1)).backward()
            scaler.step(optimizer)
            scaler.update()
            assert same(host(w), before) == (i == 2) and np.isfinite(host(w)).all()


def test_a_method_of_ones_own_is_left_out_by_waiting():
    class Signs(optim.Adam):
        def _update(self, group, x):
            x.p -= group["lr"] * tg.backend.namespace(x.g).sign(x.g)
    w = nn.Parameter(tg.ones(2, device="cuda"))
    optimizer, scaler = Signs([w], lr=0.25), tg.amp.GradScaler()
    for bad in (False, True, False):
        w.grad = tg.full((2,), INF if bad else 1.0, device="cuda")
        scaler.step(optimizer)
        scaler.update()
    assert w.tolist() == [0.5, 0.5] and optimizer.state[w]["step"].item() == 2


def test_settings_may_change_after_the_capture():
    training = Scaled("MLP", "SGD")
    training.update = tg.cuda.graph(training.update)
    for i in range(4):
        training.step()
    assert training.scaler.state_dict() == {"scale": 2.0 ** 15, "growth_factor": 2, "backoff_factor": 0.5, "growth_interval": 3, "_growth_tracker": 1}
    training.scaler.set_growth_factor(4.0)
    training.step()
    assert len(training.update._captured) == 0        # once, this runs eagerly
    training.step()
    assert training.scaler.get_scale() == 2.0 ** 17 and len(training.update._captured) == 1
    training.scaler.update(2.0 ** 10)
    for i in range(3):
        training.step()
    assert training.scaler.get_scale() == 2.0 ** 12 and training.update.refused == ""


def test_a_scale_that_has_changed_since_is_an_error():
    w, scaler = nn.Parameter(tg.ones(2, device="cuda")), tg.amp.GradScaler()
    loss = scaler.scale(w.sum())                      # a derivative that needs the scale only
    loss.backward(retain_graph=True)
    scaler.step(optim.SGD([w], lr=0.0))
    scaler.update()
    with pytest.raises(InPlaceError, match="overwritten"):
        loss.backward()


def test_the_order_of_calls_is_checked_in_replays_too():
    w, scaler = nn.Parameter(tg.ones(2, device="cuda")), tg.amp.GradScaler()
    optimizer = optim.SGD([w], lr=0.1)

    @tg.cuda.graph
    def step(x):
        optimizer.zero_grad()
        scaler.scale((w * x).sum()).backward()
        scaler.step(optimizer)
    for _ in range(4):
        step(tg.ones(2, device="cuda"))
        scaler.update()
    step(tg.ones(2, device="cuda"))
    with pytest.raises(GraphError, match="have been unscaled"):
        step(tg.ones(2, device="cuda"))
    assert step.refused == ""
    scaler.update()
    with pytest.raises(GraphError, match="no step"):
        scaler.update()


def test_a_first_step_is_not_captured():
    w, scaler, g = nn.Parameter(tg.ones(2, device="cuda")), tg.amp.GradScaler(), tg.cuda.CUDAGraph()
    with pytest.raises(CaptureError, match="the first use of a GradScaler.*make a step with it"), tg.cuda.graph(g):
        scaler.scale((w * w).sum())
    optimizer = optim.Adam([w])
    for scaled in (False, True):
        optimizer.zero_grad()
        (scaler.scale((w * w).sum()) if scaled else (w * w).sum()).backward()
        optimizer.step()
    with pytest.raises(CaptureError, match="left out.*make one with the GradScaler"), tg.cuda.graph(g):
        scaler.step(optimizer)
    with pytest.raises(CaptureError, match="reading|copy"), tg.cuda.graph(g):
        scaler.get_scale()
