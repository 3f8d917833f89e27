"""Ensembles: the mean of predictions against NumPy, snapshots at the ends of cycles."""
import copy

import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed import nn, optim
from tinygrad_ed.errors import ShapeError

S = optim.lr_scheduler


def nets(n=3, classes=4):
    tg.manual_seed(0)
    return [nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, classes)) for _ in range(n)]


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


# -- ensembles ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("n", [1, 3])
def test_predictions_are_means(n):
    models, x = nets(n), tg.randn(6, 5)
    for mode in ("probabilities", "logits"):
        ensemble = optim.Ensemble(iter(models), mode).eval()
        assert len(ensemble.models) == n and mode in repr(ensemble) and not any(m.training for m in models)
        logits = [m(x).detach().numpy() for m in models]
        expected = np.mean([softmax(y, -1) if mode == "probabilities" else y for y in logits], 0)
        np.testing.assert_allclose(ensemble(x).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(optim.Ensemble(models)(x).sum(dim=-1).detach().numpy(), 1, rtol=1e-5)


def test_the_dimension_of_the_classes():
    class Maps(nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.seed = seed

        def forward(self, x, scale=1.0):
            return x * self.seed * scale

    x = tg.randn(2, 3, 4, 4)
    got = optim.Ensemble([Maps(1), Maps(2)], dim=1)(x, scale=0.5)
    np.testing.assert_allclose(got.numpy(), (softmax(x.numpy() / 2, 1) + softmax(x.numpy(), 1)) / 2, rtol=1e-5)


def test_an_ensemble_is_a_module():
    models, x = nets(), tg.randn(6, 5)
    ensemble = optim.Ensemble(models).eval()
    assert len(list(ensemble.parameters())) == 12 and list(ensemble.state_dict())[0] == "models.0.0.weight"
    other = optim.Ensemble(nets()[::-1]).eval()
    other.load_state_dict(ensemble.state_dict())
    assert other(x).tolist() == ensemble(x).tolist()
    ensemble(x).log().mean().backward()
    assert all(p.grad is not None for p in ensemble.parameters())
    assert tg.equal(optim.Ensemble(nn.ModuleList(models)).eval()(x), ensemble(x))


def test_a_mixture_and_an_agreement():
    """One sure model among undecided ones: the mean logit follows it further than the mean probability."""
    class Sure(nn.Module):
        def __init__(self, logit):
            super().__init__()
            self.logit = logit

        def forward(self, x):
            return tg.tensor([[self.logit, 0.0]])

    models = [Sure(0.0), Sure(0.0), Sure(30.0)]
    assert optim.Ensemble(models)(None)[0, 0].item() == pytest.approx(2 / 3)
    assert optim.Ensemble(models, "logits")(None).softmax(dim=-1)[0, 0].item() > 0.9999


def test_bad_ensembles():
    for models, mode, error, text in (([], "logits", ValueError, "needs models"), (nets(), "votes", ValueError, "'probabilities', 'logits'"),
                                      ([nets()[0], lambda x: x], "logits", TypeError, "Module"), ([nn.Linear], "logits", TypeError, "Module")):
        with pytest.raises(error, match=text):
            optim.Ensemble(models, mode)
    with pytest.raises(ShapeError, match="model 1 gives shape"):
        optim.Ensemble([nets(1)[0], nets(1, classes=1)[0]], "logits")(tg.ones(2, 5))


# -- snapshots ---------------------------------------------------------------------------------------------------------

def counting(schedule, lr=1.0):
    """A model whose weight is the number of steps, and its schedule."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = optim.SGD(model.parameters(), lr=lr, momentum=0.5)
    return model, optimizer, schedule(optimizer)


def snapshots_of(schedule, steps, keep=None, epoch=lambda t: ()):
    """When copies were taken, and the weights of those that are kept."""
    model, optimizer, scheduler = counting(schedule)
    snapshots = optim.SnapshotEnsemble(model, scheduler, keep)
    taken = []
    for t in range(1, steps + 1):
        with tg.no_grad():
            model.weight += 1.0
        optimizer.step()
        scheduler.step(*epoch(t))
        if snapshots.update():
            taken.append(t)
    return taken, [m.weight.item() for m in snapshots.models]


SCHEDULES = {
    "restarts": (lambda o: S.CosineAnnealingWarmRestarts(o, 4), lambda t: (), [4, 8, 12, 16, 20]),
    "longer": (lambda o: S.CosineAnnealingWarmRestarts(o, 3, 2), lambda t: (), [3, 9, 21]),
    "fractions": (lambda o: S.CosineAnnealingWarmRestarts(o, 2), lambda t: (t / 4,), [8, 16]),
    "one": (lambda o: S.CosineAnnealingWarmRestarts(o, 1), lambda t: (t / 5,), [5, 10, 15, 20]),
    "triangles": (lambda o: S.CyclicLR(o, 0.1, 1.0, step_size_up=3, step_size_down=2), lambda t: (), [6, 11, 16, 21]),
    "constant": (lambda o: S.LambdaLR(o, lambda t: 1.0), lambda t: (), []),
    "falling": (lambda o: S.ExponentialLR(o, 0.9), lambda t: (), []),
    "rising": (lambda o: S.WarmupLR(o, 30), lambda t: (), []),
    "steps": (lambda o: S.LambdaLR(o, lambda t: [1.0, 1.0, 0.1, 0.1][t % 4]), lambda t: (), [4, 8, 12, 16, 20]),
}


@pytest.mark.filterwarnings("ignore:scheduler.step")
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("keep", [None, 1, 2])
def test_a_copy_is_taken_at_the_end_of_each_cycle(name, keep):
    schedule, epoch, expected = SCHEDULES[name]
    taken, weights = snapshots_of(schedule, 21, keep, epoch)
    assert taken == expected and weights == expected[-keep if keep else None:]


def test_snapshots_are_copies_and_make_an_ensemble():
    tg.manual_seed(0)
    x = tg.randn(90, 5)
    y = (x[:, :2].sum(dim=1) > 0).long()
    model = nets(1, classes=2)[0]
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    scheduler = S.CosineAnnealingWarmRestarts(optimizer, 10)
    snapshots, at_end = optim.SnapshotEnsemble(model, scheduler, keep=2), []
    with pytest.raises(ValueError, match="no cycle has ended"):
        snapshots.ensemble()
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        scheduler.step()
        if snapshots.update():
            assert model.training and model[0].weight.grad is not None
            at_end.append(copy.deepcopy(model).eval()(x).detach().numpy())
    ensemble = snapshots.ensemble()
    assert len(at_end) == 3 and len(ensemble.models) == 2 and not any(m.training for m in ensemble.modules())
    assert all(p.grad is None for p in ensemble.parameters())
    np.testing.assert_allclose(ensemble(x).detach().numpy(), np.mean([softmax(y, -1) for y in at_end[1:]], 0), rtol=1e-5)
    assert (ensemble(x).argmax(dim=1) == y).float().mean().item() > 0.8
    assert snapshots.ensemble("logits").mode == "logits"
    snapshots.take()
    assert len(snapshots.models) == 2 and snapshots.models[-1][0].weight.tolist() == model[0].weight.tolist()


def test_bad_snapshots():
    model, optimizer, scheduler = counting(lambda o: S.ExponentialLR(o, 0.9))
    with pytest.raises(TypeError, match="schedule"):
        optim.SnapshotEnsemble(model, optimizer)
    with pytest.raises(ValueError, match="keep"):
        optim.SnapshotEnsemble(model, scheduler, keep=0)
