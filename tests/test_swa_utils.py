"""Averages: of models against plain means, swapping weights safely, batch norm's statistics, and of any value."""
import copy

import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed import nn
from tinygrad_ed.errors import ShapeError
from tinygrad_ed.optim import swa_utils as s


def net(seed=0):
    tg.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))


def move(model, rng):
    """New values for all parameters and running statistics."""
    with tg.no_grad():
        for t in [*model.parameters(), *model.buffers()]:
            t.copy_(tg.tensor(abs(rng.normal(size=t.shape)) * 5))


def arrays(model):
    return [t.detach().numpy().copy() for t in [*model.parameters(), *model.buffers()]]


def same(a, b):
    return all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in zip(a, b))


DECAY = 0.7
WAYS = [({}, "swa"), (dict(avg_fn=s.get_swa_avg_fn()), "swa"), (dict(multi_avg_fn=s.get_swa_multi_avg_fn()), "swa"),
        (dict(avg_fn=s.get_ema_avg_fn(DECAY)), "ema"), (dict(multi_avg_fn=s.get_ema_multi_avg_fn(DECAY)), "ema"),
        (dict(avg_fn=lambda w, theta, n: tg.maximum(w, theta)), "max")]


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("options, kind", WAYS)
def test_averages_are_those_of_the_values_taken_in(options, kind, use_buffers):
    model, rng, seen = net(), np.random.default_rng(0), []
    averaged = s.AveragedModel(model, **options, use_buffers=use_buffers)
    before = arrays(averaged.module)
    assert same(before, arrays(model)) and averaged.n_averaged.item() == 0
    for n in range(1, 8):
        move(model, rng)
        seen.append(arrays(model))
        averaged.update_parameters(model)
        assert same(seen[-1], arrays(model)) and averaged.n_averaged.item() == n
    parameters = len(list(model.parameters()))
    for i, got in enumerate(arrays(averaged.module)):
        history = [x[i] for x in seen]
        if i >= parameters and not use_buffers:
            assert np.array_equal(got, history[-1])
        elif got.dtype.kind == "f":
            expected = {"swa": np.mean(history, 0), "max": np.max(history, 0), "ema": history[0]}[kind]
            for x in history[1:] if kind == "ema" else ():
                expected = DECAY * expected + (1 - DECAY) * x
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
        assert got.dtype == history[0].dtype
    assert all(p.grad_fn is None and p.requires_grad for p in averaged.parameters())


def test_multi_avg_fn_gets_one_dtype_at_a_time():
    model, calls = net(), []
    note = lambda ws, thetas, n: calls.append(({w.dtype for w in ws}, len(ws), n.item()))
    averaged = s.AveragedModel(model, multi_avg_fn=note, use_buffers=True)
    averaged.update_parameters(model)
    assert calls == []
    averaged.update_parameters(model)
    assert calls == [({tg.float32}, 8, 1), ({tg.int64}, 1, 1)]


def test_forward_state_and_copy():
    model = net()
    averaged = s.AveragedModel(model)
    x = tg.randn(5, 3)
    assert averaged(x).tolist() == copy.deepcopy(model)(x).tolist()
    averaged.update_parameters(model)
    other = s.AveragedModel(net(3))
    other.load_state_dict(averaged.state_dict())
    assert other.n_averaged.item() == 1 and same(arrays(other.module), arrays(model)) and list(averaged.state_dict())[0] == "n_averaged"


def test_bad_models_change_nothing():
    model = net()
    averaged = s.AveragedModel(model)
    averaged.update_parameters(model)
    before = arrays(averaged)
    for other, error in ((nn.Linear(3, 4), ValueError), (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)), ShapeError)):
        with pytest.raises(error, match="architecture"):
            averaged.update_parameters(other)
        with pytest.raises(error, match="architecture"), s.averaged_weights(other, averaged):
            pass
    assert same(before, arrays(averaged))
    for act in (lambda: s.AveragedModel(model, avg_fn=s.get_swa_avg_fn(), multi_avg_fn=s.get_swa_multi_avg_fn()),
                lambda: s.get_ema_avg_fn(1.5), lambda: s.get_ema_multi_avg_fn(-0.1), lambda: s.ExponentialMovingAverage(1.0)):
        with pytest.raises(ValueError):
            act()

    def failing(w, theta, n):
        if w.shape == (2,):
            raise KeyError
        return w * 0

    averaged = s.AveragedModel(model, avg_fn=failing)
    averaged.update_parameters(model)
    before = arrays(averaged)
    with pytest.raises(KeyError):
        averaged.update_parameters(model)
    assert same(before, arrays(averaged))


# -- swapping ----------------------------------------------------------------------------------------------------------

def swapped():
    model, rng = net(), np.random.default_rng(0)
    averaged = s.AveragedModel(model, use_buffers=True)
    for _ in range(3):
        move(model, rng)
        averaged.update_parameters(model)
    for p in model.parameters():
        p.grad = tg.ones_like(p.detach())
    return model, averaged


@pytest.mark.parametrize("error", [None, KeyError, KeyboardInterrupt])
def test_averaged_weights_are_there_inside_and_gone_after(error):
    model, averaged = swapped()
    own, average, objects = arrays(model), arrays(averaged.module), [*model.parameters(), *model.buffers()]
    places = [t.data for t in objects]
    try:
        with s.averaged_weights(model, averaged) as inside:
            assert inside is model and same(arrays(model), average)
            assert model.eval()(tg.ones(1, 3)).tolist() == averaged.eval()(tg.ones(1, 3)).tolist()
            move(model, np.random.default_rng(1))     # neither its own values nor the average change
            with s.averaged_weights(model, averaged):
                assert same(arrays(model), average)
            assert not same(arrays(model), average)
            if error:
                raise error
    except (KeyError, KeyboardInterrupt) as e:
        assert isinstance(e, error)
    assert same(arrays(model), own) and same(arrays(averaged.module), average)
    assert all(t is o and t.data is place for t, o, place in zip([*model.parameters(), *model.buffers()], objects, places))
    assert all((p.grad == 1).all() for p in model.parameters())


def test_an_optimizer_goes_on_after_a_swap():
    def run(swap):
        model, averaged = swapped()
        optimizer = tg.optim.Adam(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            (model(tg.ones(4, 3) * tg.tensor([[1.0], [2.0], [3.0], [4.0]])) ** 2).mean().backward()
            optimizer.step()
            if swap:
                with s.averaged_weights(model, averaged):
                    model.eval()(tg.ones(1, 3))
                model.train()
        return arrays(model)

    assert same(run(True), run(False))


# -- batch norm --------------------------------------------------------------------------------------------------------

def test_update_bn_is_the_mean_over_batches():
    model = nn.Sequential(nn.BatchNorm1d(3, momentum=0.3), nn.Dropout(0.5), nn.BatchNorm1d(3))
    model[2].eval()
    batches = [tg.randn(8, 3) * 3 + i for i in range(5)]
    s.update_bn([(batch, "label") for batch in batches], model)
    bn = model[0]
    np.testing.assert_allclose(bn.running_mean.numpy(), np.mean([b.numpy().mean(0) for b in batches], 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(bn.running_var.numpy(), np.mean([b.numpy().var(0, ddof=1) for b in batches], 0), rtol=1e-5)
    assert bn.momentum == 0.3 and bn.num_batches_tracked.item() == 5 and bn.training and not model[2].training
    assert model[2].num_batches_tracked.item() == 5
    s.update_bn(iter(()), nn.Linear(2, 2))


def test_update_bn_that_fails_changes_nothing():
    model = net().eval()
    before = arrays(model)
    with pytest.raises(ShapeError):
        s.update_bn([tg.ones(4, 3), tg.ones(4, 2)], model)
    assert same(before, arrays(model)) and model[1].momentum == 0.1 and not any(m.training for m in model.modules())


# -- averages of anything ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("kind", [float, lambda x: np.full((2, 3), x), lambda x: tg.full((2,), x, dtype=tg.float64)])
def test_exponential_moving_average(kind, corrected):
    values, beta = np.random.default_rng(0).normal(size=20), 0.8
    average = s.ExponentialMovingAverage(beta, corrected)
    assert average.value is None
    for t in range(1, 21):
        weights = (1 - beta) * beta ** np.arange(t)[::-1] / (1 - beta ** t if corrected else 1)
        got = average.update(kind(values[t - 1]))
        np.testing.assert_allclose(np.asarray(got), np.asarray(kind(float(weights @ values[:t]))), rtol=1e-10, atol=1e-12)
        assert type(got) is type(kind(0.0)) and np.array_equal(np.asarray(average.value), np.asarray(got))
        if t == 7:
            state, average = average.state_dict(), s.ExponentialMovingAverage()
            average.load_state_dict(state)


def test_an_average_keeps_no_graph_no_alias_and_one_shape():
    average, x = s.ExponentialMovingAverage(0.0), tg.ones(2, requires_grad=True)
    assert not average.update(x * 2).requires_grad
    array = np.ones(2)
    average = s.ExponentialMovingAverage(0.0)
    average.update(array)
    array[:] = 5
    assert average.value.tolist() == [1, 1]
    with pytest.raises(ShapeError, match="shape"):
        average.update(np.ones(3))
    assert average.steps == 1
    with pytest.raises(ValueError, match="state of an average"):
        average.load_state_dict({"beta": 0.5})
