"""LBFGS against PyTorch: iterates in both modes, defaults, state_dict both ways, refusals."""
import inspect

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import tinygrad_ed as tg  # noqa: E402
from tinygrad_ed.optim.second_order import strong_wolfe  # noqa: E402

MODES = [dict(line_search_fn="strong_wolfe"), dict(line_search_fn="strong_wolfe", lr=0.3, history_size=3), dict(lr=0.05),
         dict(lr=0.02, history_size=2), dict(line_search_fn="strong_wolfe", max_iter=4, max_eval=6), dict(max_iter=1, lr=0.1),
         dict(line_search_fn="strong_wolfe", tolerance_grad=1e-2), dict(line_search_fn="strong_wolfe", tolerance_change=1e-2),
         dict(lr=0.05, tolerance_change=1e-2)]


def valley(lib, ps):
    """Rosenbrock's function of all numbers, bounded by the logarithm."""
    z = lib.cat([p.reshape(-1) for p in ps])
    return lib.log(1 + (10 * (z[1:] - z[:-1] ** 2) ** 2 + (1 - z[:-1]) ** 2).sum())


def bowl(lib, ps):
    z = lib.cat([p.reshape(-1) for p in ps])
    return (lib.linspace(1, 30, len(z), dtype=z.dtype) * z * z).sum() / 2


def smooth_maximum(lib, ps):
    z = lib.cat([p.reshape(-1) for p in ps])
    return lib.log(lib.exp(z).sum() + lib.exp(-2 * z).sum())


def start(lib, options, dtype="float64", frozen=False):
    rng = np.random.default_rng(0)
    ps = [lib.tensor(rng.normal(size=shape), dtype=getattr(lib, dtype), requires_grad=True) for shape in ((2, 2), (3,), ())]
    if frozen:
        ps[1].requires_grad_(False)
    return ps, lib.optim.LBFGS(ps, **{"max_iter": 6, **options})


def run(lib, f, ps, optimizer, steps):
    """The loss, the numbers and the counts after every step."""
    def closure():
        optimizer.zero_grad()
        loss = f(lib, ps)
        loss.backward()
        return loss

    path = []
    for _ in range(steps):
        loss = optimizer.step(closure).item()
        state = optimizer.state[ps[0]]
        path.append((loss, np.concatenate([p.detach().numpy().reshape(-1) for p in ps]), state["n_iter"], state["func_evals"]))
    return path


def assert_same(ours, theirs, rtol=1e-8, atol=1e-10):
    for (loss, x, *counts), (other_loss, other, *other_counts) in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(x, other, rtol=rtol, atol=atol)
        np.testing.assert_allclose(loss, other_loss, rtol=rtol, atol=atol)
        assert counts == other_counts


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("f", [valley, bowl, smooth_maximum])
@pytest.mark.parametrize("options", MODES, ids=[str(m) for m in MODES])
def test_iterates(f, options, frozen):
    assert_same(*(run(lib, f, *start(lib, options, frozen=frozen), 6) for lib in (tg, torch)))


@pytest.mark.parametrize("options", MODES[:4], ids=[str(m) for m in MODES[:4]])
def test_iterates_in_float32(options):
    ours, theirs = (run(lib, bowl, *start(lib, options, "float32"), 2) for lib in (tg, torch))
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a[1], b[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("options", MODES[:4], ids=[str(m) for m in MODES[:4]])
def test_state_dict_both_ways(options):
    (ps, mine), (qs, his) = start(tg, options), start(torch, options)
    run(tg, valley, ps, mine, 2), run(torch, valley, qs, his, 2)
    ours, theirs = mine.state_dict(), his.state_dict()
    assert set(ours["state"][0]) == set(theirs["state"][0]) - {"al"}                 # PyTorch's scratch space
    assert ours["param_groups"] == theirs["param_groups"]
    for name, value in ours["state"][0].items():
        other = theirs["state"][0][name]
        assert isinstance(value, list) == isinstance(other, list), name
        for a, b in zip(value, other) if isinstance(value, list) else [(value, other)]:
            assert np.shape(a) == np.shape(b), name
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-8, atol=1e-10)

    again, other = start(tg, {})                      # theirs, continued here
    for p, q in zip(again, qs):
        p.data[...] = q.detach().numpy()
    other.load_state_dict(theirs)
    back, another = start(torch, {})                  # ours, continued there
    with torch.no_grad():
        for q, p in zip(back, ps):
            q.copy_(torch.tensor(p.detach().numpy()))
    as_torch = {**ours, "state": {0: {name: [torch.tensor(v.numpy()) for v in value] if isinstance(value, list) else
                                      torch.tensor(value.numpy()) if isinstance(value, tg.Tensor) else value
                                      for name, value in ours["state"][0].items()}}}
    another.load_state_dict(as_torch)
    reference = run(torch, valley, qs, his, 3)
    assert_same(run(tg, valley, again, other, 3), reference)
    assert_same(run(torch, valley, back, another, 3), reference)
    assert_same(run(tg, valley, ps, mine, 3), reference)


@pytest.mark.parametrize("seed", range(60))
def test_the_line_search_tries_the_same_steps(seed):
    """On functions with bumps, where it brackets, zooms and creeps."""
    theirs = pytest.importorskip("torch.optim.lbfgs")._strong_wolfe
    rng = np.random.default_rng(seed)
    c, amplitude, frequency, phase = rng.normal() * 2, rng.normal() * 3, rng.uniform(0.3, 8), rng.uniform(0, 6)
    first, c2 = 10 ** rng.uniform(-3, 1.5), rng.choice([0.9, 0.1, 1e-3])

    def f(a, lib):
        return 0.1 * (a - c) ** 4 + (a - c) ** 2 / 2 + amplitude * lib.sin(frequency * a + phase)

    def phi(a):
        return f(a, np), 0.4 * (a - c) ** 3 + (a - c) + amplitude * frequency * np.cos(frequency * a + phase)

    value, slope = phi(0.0)
    sign = -np.sign(slope)                            # the direction that falls
    ours, others = [], []

    def here(a):
        ours.append(a)
        v, s = phi(sign * a)
        return v, sign * s

    def there(x, t, d):
        others.append(float(t))
        v, s = phi(sign * float(t))
        return v, torch.tensor([sign * s], dtype=torch.float64)

    found = strong_wolfe(here, value, sign * slope, first, c2=c2, tolerance=1e-9)
    _, _, t, evaluations = theirs(there, None, first, torch.ones(1, dtype=torch.float64), value, torch.tensor([sign * slope]),
                                  torch.tensor(sign * slope), c2=c2)
    np.testing.assert_allclose(ours, others, rtol=1e-9)
    np.testing.assert_allclose(found.point.a, float(t), rtol=1e-9)
    assert found.evaluations == evaluations


@pytest.mark.parametrize("points", [[(-1.0, -1.0), (-0.5, 0.0)], [(-1.0, -1.0), (-2.0, -1.0), (-1.5, 0.0), (-2.2, 0.0)]])
def test_when_the_bracket_closes(points):
    """A second trial above the first may still be accepted, a third one above the second not: as PyTorch counts."""
    theirs = pytest.importorskip("torch.optim.lbfgs")._strong_wolfe
    ours, others = iter(points), iter(points)

    def there(x, t, d):
        value, slope = next(others)
        return value, torch.tensor([slope], dtype=torch.float64)

    one = torch.ones(1, dtype=torch.float64)
    found = strong_wolfe(lambda a: next(ours), 0.0, -1.0, 0.5)
    _, _, t, evaluations = theirs(there, None, 0.5, one, 0.0, -one, torch.tensor(-1.0, dtype=torch.float64))
    assert found.evaluations == evaluations == len(points)
    np.testing.assert_allclose(found.point.a, float(t), rtol=1e-12)


def test_a_network():
    paths = []
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(16, 3)), rng.normal(size=(16, 1))
    weights = [rng.normal(size=s) for s in ((4, 3), (4,), (1, 4), (1,))]
    for lib in (tg, torch):
        net = lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.Tanh(), lib.nn.Linear(4, 1)).to(lib.float64)
        net.load_state_dict({name: lib.tensor(w) for name, w in zip(net.state_dict(), weights)})
        optimizer = lib.optim.LBFGS(net.parameters(), line_search_fn="strong_wolfe")

        def f(lib, ps, net=net):
            return ((net(lib.tensor(x)) - lib.tensor(y)) ** 2).mean()

        paths.append(run(lib, f, list(net.parameters()), optimizer, 2))
    assert_same(*paths, rtol=1e-6, atol=1e-7)


def test_arguments_and_defaults():
    ours, theirs = (inspect.signature(lib.optim.LBFGS.__init__).parameters for lib in (tg, torch))
    assert {n: p.default for n, p in ours.items()} == {n: p.default for n, p in theirs.items()} and list(ours) == list(theirs)
    assert tg.optim.LBFGS([tg.ones(1)]).defaults == torch.optim.LBFGS([torch.ones(1)]).defaults


@pytest.mark.parametrize("bad", [lambda lib, p: lib.optim.LBFGS([p], lr=-1.0), lambda lib, p: lib.optim.LBFGS([{"params": [p]}, {"params": [p * 1]}]),
                                 lambda lib, p: lib.optim.LBFGS([{"params": [p]}, {"params": [lib.ones(1)]}])])
def test_both_refuse(bad):
    for lib in (tg, torch):
        with pytest.raises(ValueError):
            bad(lib, lib.ones(2, requires_grad=True))
