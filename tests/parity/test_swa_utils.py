"""SWA and EMA against PyTorch: averaged models, their state, update_bn, SWALR, arguments."""
import inspect

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import tinygrad_ed as tg  # noqa: E402
from tinygrad_ed import nn, optim  # noqa: E402

ours, theirs = optim.swa_utils, torch.optim.swa_utils


def nets():
    a = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    b = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    copy_state(b, a)
    return a, b


def copy_state(target, source):
    target.load_state_dict({name: torch.tensor(t.numpy()) for name, t in source.state_dict().items()})


def move(a, b, rng):
    with tg.no_grad(), torch.no_grad():
        for (_, p), (_, q) in zip([*a.named_parameters(), *a.named_buffers()], [*b.named_parameters(), *b.named_buffers()]):
            value = rng.normal(size=p.shape) if p.is_floating_point() else np.array(rng.integers(0, 100))
            p.copy_(tg.tensor(value))
            q.copy_(torch.tensor(value))


def assert_same(a, b):
    x, y = a.state_dict(), b.state_dict()
    assert list(x) == list(y)
    for name in x:
        assert str(y[name].dtype) == f"torch.{x[name].dtype}" and tuple(y[name].shape) == x[name].shape
        np.testing.assert_allclose(x[name].numpy(), y[name].numpy(), rtol=1e-5, atol=1e-6, err_msg=name)


WAYS = [lambda l: {}, lambda l: dict(avg_fn=l.get_swa_avg_fn()), lambda l: dict(avg_fn=l.get_ema_avg_fn(0.7)),
        lambda l: dict(multi_avg_fn=l.get_ema_multi_avg_fn()), lambda l: dict(multi_avg_fn=l.get_ema_multi_avg_fn(0.7), use_buffers=True),
        lambda l: dict(avg_fn=lambda w, theta, n: w + theta / (n + 2))]


@pytest.mark.parametrize("way", WAYS)
def test_averaged_models(way):
    (a, b), rng = nets(), np.random.default_rng(0)
    mine, his = ours.AveragedModel(a, **way(ours)), theirs.AveragedModel(b, **way(theirs))
    for _ in range(6):
        move(a, b, rng)
        mine.update_parameters(a)
        his.update_parameters(b)
        assert_same(mine, his)
    other = theirs.AveragedModel(nets()[1])
    copy_state(other, mine)
    again = ours.AveragedModel(nets()[0])
    again.load_state_dict({name: tg.tensor(t.numpy()) for name, t in his.state_dict().items()})
    assert_same(again, other)


def test_update_bn():
    a, b = nets()
    batches = [np.random.default_rng(i).normal(i, 2, size=(6, 3)).astype("f4") for i in range(4)]
    ours.update_bn([(tg.tensor(x), 0) for x in batches], a)
    theirs.update_bn([(torch.tensor(x), 0) for x in batches], b)
    assert_same(a, b)


@pytest.mark.parametrize("start", [0, 5])
@pytest.mark.parametrize("options", [dict(swa_lr=s, anneal_epochs=e, anneal_strategy=a) for s in (0.05, [0.0, 2.0]) for e in (0, 1, 10, 200)
                                     for a in ("cos", "linear")])
def test_swalr(options, start):
    """From the beginning, and after epochs of another schedule."""
    result = []
    for lib, n, o in ((tg, nn, optim), (torch, torch.nn, torch.optim)):
        optimizer = o.SGD([{"params": [n.Parameter(lib.zeros(1))], "lr": lr} for lr in (0.3, 1.0)])
        before, seen = o.lr_scheduler.ExponentialLR(optimizer, 0.9), []
        scheduler = o.swa_utils.SWALR(optimizer, **options)
        for epoch in range(100):
            optimizer.step()
            (scheduler if epoch >= start else before).step()
            seen.append([group["lr"] for group in optimizer.param_groups])
        state = {k: v for k, v in scheduler.state_dict().items() if k == "last_epoch" or k in ("anneal_epochs", "_anneal_strategy")}
        result.append((seen, state))
    np.testing.assert_allclose(result[0][0], result[1][0], rtol=1e-9, atol=1e-15)
    assert result[0][1] == result[1][1]


def test_names_and_arguments():
    for name in theirs.__all__:
        a, b = (list(inspect.signature(getattr(lib, name)).parameters.values()) for lib in (ours, theirs))
        assert [(p.name, p.default) for p in a] == [(p.name, p.default) for p in b], name
