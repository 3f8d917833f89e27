"""First-order methods: each against five lines on single numbers (or on one array), and what every one of them promises."""
import copy
import inspect
import math
import pickle

import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed import nn, optim
from tinygrad_ed.optim.second_order.vector import VectorOptimizer

single = lambda x: float(np.float32(x))               # numbers of the state are kept in single precision, as in PyTorch

# -- the methods, on one number, as in the papers ----------------------------------------------------------------------

def sgd(p, gradients, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, maximize=False, form="classical"):
    v = 0.0 if form == "averaged" else None
    for g in gradients:
        g = ((-g if maximize else g) + weight_decay * p) * (1 - momentum if form == "averaged" else 1)
        v = g if v is None else momentum * v + (1 - dampening) * g
        p -= lr * ((g + momentum * v) if nesterov else v if momentum else g)
    return p


def adam(p, gradients, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False,
         decoupled_weight_decay=False, bias_correction=True):
    m = v = largest = 0.0
    for t, g in enumerate(gradients, 1):
        p, g = decayed(p, g, lr, weight_decay, maximize, decoupled_weight_decay)
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        largest = max(largest, v) if amsgrad else v
        c1, c2 = (1 - betas[0] ** t, 1 - betas[1] ** t) if bias_correction else (1, 1)
        p -= lr * (m / c1) / (math.sqrt(largest / c2) + eps)
    return p


def decayed(p, g, lr, weight_decay, maximize, decoupled):
    g = -g if maximize else g
    return (p * (1 - lr * weight_decay), g) if decoupled else (p, g + weight_decay * p)


def adamw(p, gradients, lr=1e-3, weight_decay=1e-2, **options):
    return adam(p, gradients, lr, weight_decay=weight_decay, decoupled_weight_decay=True, **options)


def asgd(p, gradients, lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0.0, maximize=False):
    eta, averaged, mu = single(lr), 0.0, 1.0
    for t, g in enumerate(gradients, 1):
        p, g = decayed(p, g, lr, weight_decay, maximize, False)
        p = (1 - lambd * eta) * p - eta * g
        averaged += mu * (p - averaged)
        eta, mu = single(lr / (1 + lambd * lr * t) ** alpha), single(1 / max(1, t - t0))
    return p, averaged


def adagrad(p, gradients, lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10, maximize=False):
    s = initial_accumulator_value
    for t, g in enumerate(gradients):
        p, g = decayed(p, g, lr, weight_decay, maximize, False)
        s += g ** 2
        p -= lr / (1 + t * lr_decay) * g / (math.sqrt(s) + eps)
    return p


def adadelta(p, gradients, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0, maximize=False):
    v = u = 0.0
    for g in gradients:
        p, g = decayed(p, g, lr, weight_decay, maximize, False)
        v = rho * v + (1 - rho) * g ** 2
        delta = math.sqrt(u + eps) / math.sqrt(v + eps) * g
        u = rho * u + (1 - rho) * delta ** 2
        p -= lr * delta
    return p


def rmsprop(p, gradients, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False, maximize=False):
    v = m = b = 0.0
    for g in gradients:
        p, g = decayed(p, g, lr, weight_decay, maximize, False)
        v, m = alpha * v + (1 - alpha) * g ** 2, alpha * m + (1 - alpha) * g
        b = momentum * b + g / (math.sqrt(v - m ** 2 if centered else v) + eps)
        p -= lr * b
    return p


def adamax(p, gradients, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, maximize=False):
    m = u = 0.0
    for t, g in enumerate(gradients, 1):
        p, g = decayed(p, g, lr, weight_decay, maximize, False)
        m, u = betas[0] * m + (1 - betas[0]) * g, max(betas[1] * u, abs(g) + eps)
        p -= lr / (1 - betas[0] ** t) * m / u
    return p


def nadam(p, gradients, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=4e-3, decoupled_weight_decay=False,
          maximize=False):
    m, v, product, mu = 0.0, 0.0, 1.0, lambda t: betas[0] * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    for t, g in enumerate(gradients, 1):
        p, g = decayed(p, g, lr, weight_decay, maximize, decoupled_weight_decay)
        m, v, product = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g, single(product * single(mu(t)))
        m_hat = mu(t + 1) * m / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
        p -= lr * m_hat / (math.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


def radam(p, gradients, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled_weight_decay=False, maximize=False):
    m, v, limit = 0.0, 0.0, 2 / (1 - betas[1]) - 1
    for t, g in enumerate(gradients, 1):
        p, g = decayed(p, g, lr, weight_decay, maximize, decoupled_weight_decay)
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        rho, scale = limit - 2 * t * betas[1] ** t / (1 - betas[1] ** t), 1.0
        if rho > 5:
            scale = math.sqrt((rho - 4) * (rho - 2) * limit / (limit - 4) / (limit - 2) / rho * (1 - betas[1] ** t)) / (math.sqrt(v) + eps)
        p -= lr * m / (1 - betas[0] ** t) * scale
    return p


def rprop(p, gradients, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50), maximize=False):
    size, last = lr, 0.0
    for g in gradients:
        g = -g if maximize else g
        size = min(max(size * (etas[1] if g * last > 0 else etas[0] if g * last < 0 else 1), step_sizes[0]), step_sizes[1])
        last = 0.0 if g * last < 0 else g
        p -= size * ((last > 0) - (last < 0))
    return p


def lion(p, gradients, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, maximize=False):
    m = 0.0
    for g in gradients:
        g = -g if maximize else g
        c = betas[0] * m + (1 - betas[0]) * g
        p -= lr * (((c > 0) - (c < 0)) + weight_decay * p)
        m = betas[1] * m + (1 - betas[1]) * g
    return p


# -- the methods that look at a whole parameter, on one array ----------------------------------------------------------

size = lambda x: math.sqrt((x * x).sum())
rms = lambda x: size(x) / math.sqrt(max(x.size, 1))


def lars(p, gradients, lr=0.1, momentum=0.9, weight_decay=5e-4, trust_coefficient=1e-3, maximize=False):
    v = 0.0
    for g in gradients:
        g = -g if maximize else g
        trust = trust_coefficient * size(p) / (size(g) + weight_decay * size(p)) if size(p) > 0 < size(g) else 1.0
        v = momentum * v + lr * trust * (g + weight_decay * p)
        p = p - v
    return p


def lamb(p, gradients, lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=1e-2, maximize=False):
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        g = -g if maximize else g
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        u = m / (1 - betas[0] ** t) / (np.sqrt(v / (1 - betas[1] ** t)) + eps) + weight_decay * p
        p = p - lr * (size(p) / size(u) if size(p) > 0 < size(u) else 1.0) * u
    return p


def adafactor(p, gradients, lr=1e-2, beta2_decay=-0.8, eps=(None, 1e-3), d=1.0, weight_decay=0.0, maximize=False):
    r = c = v = 0.0
    eps1, mean = np.finfo(float).eps if eps[0] is None else eps[0], lambda x, axis: x.sum(axis, keepdims=True) / x.shape[axis]
    for t, g in enumerate(gradients, 1):
        new, alpha = t ** beta2_decay, max(eps[1], rms(p)) * min(lr, 1 / math.sqrt(t))
        if p.ndim > 1:
            r, c = r + new * (mean(g ** 2, -1) - r), c + new * (mean(g ** 2, -2) - c)
            v = r * c / np.maximum(mean(r, -2), eps1)
        else:
            v = v + new * (g ** 2 - v)
        u = (-g if maximize else g) / np.sqrt(np.maximum(v, eps1 ** 2))
        p = (1 - lr * weight_decay) * p - alpha / max(1, rms(u) / d) * u
    return p


def muon(p, gradients, lr=1e-3, weight_decay=0.1, momentum=0.95, nesterov=True, ns_coefficients=(3.4445, -4.7750, 2.0315), eps=1e-7, ns_steps=5,
         adjust_lr_fn=None):
    m, (a, b, c), scale = 0.0, ns_coefficients, math.sqrt(max(1, p.shape[0] / p.shape[1]))
    if adjust_lr_fn == "match_rms_adamw":
        scale = 0.2 * math.sqrt(max(p.shape))
    for g in gradients:
        m = momentum * m + (1 - momentum) * g
        u, s, vh = np.linalg.svd((1 - momentum) * g + momentum * m if nesterov else m, full_matrices=False)
        s = s / max(size(s), eps)
        for _ in range(ns_steps):
            s = a * s + b * s ** 3 + c * s ** 5       # the iteration leaves the singular vectors alone
        p = p * (1 - lr * weight_decay) - lr * scale * (u * s) @ vh
    return p


# -- what is compared --------------------------------------------------------------------------------------------------

DECAYED = dict(lr=0.1, weight_decay=0.2, maximize=True)
ADAM = [{}, dict(lr=0.1, betas=(0.5, 0.7), eps=1e-3), DECAYED, dict(lr=0.1, amsgrad=True), dict(lr=0.1, amsgrad=True, weight_decay=0.1),
        dict(lr=0.1, bias_correction=False)]
CASES = {
    optim.SGD: (sgd, [{}, dict(lr=0.1), dict(lr=0.1, momentum=0.9), dict(lr=0.1, momentum=0.9, dampening=0.3), dict(DECAYED, momentum=0.5),
                      dict(lr=0.1, momentum=0.9, nesterov=True), dict(lr=0.1, momentum=0.9, weight_decay=0.1, form="averaged"),
                      dict(lr=0.1, momentum=0.9, nesterov=True, form="averaged")]),
    optim.Adam: (adam, [*ADAM, dict(DECAYED, decoupled_weight_decay=True)]),
    optim.AdamW: (adamw, ADAM),
    optim.ASGD: (lambda *args, **options: asgd(*args, **options)[0], [{}, DECAYED, dict(lr=0.1, lambd=0.1, alpha=0.5, t0=5)]),
    optim.Adagrad: (adagrad, [{}, DECAYED, dict(lr=0.1, lr_decay=0.1, initial_accumulator_value=0.5, eps=1e-3)]),
    optim.Adadelta: (adadelta, [{}, DECAYED, dict(rho=0.5, eps=1e-2)]),
    optim.RMSprop: (rmsprop, [{}, DECAYED, dict(centered=True), dict(momentum=0.9), dict(momentum=0.5, centered=True, alpha=0.7, eps=0.01)]),
    optim.Adamax: (adamax, [{}, DECAYED, dict(lr=0.1, betas=(0.5, 0.7), eps=0.1)]),
    optim.NAdam: (nadam, [{}, DECAYED, dict(DECAYED, decoupled_weight_decay=True), dict(lr=0.1, betas=(0.5, 0.7), eps=0.1, momentum_decay=0.1)]),
    optim.RAdam: (radam, [{}, DECAYED, dict(DECAYED, decoupled_weight_decay=True), dict(lr=0.1, betas=(0.5, 0.95), eps=0.1),
                          dict(betas=(0.5, 0.6))]),
    optim.Rprop: (rprop, [{}, dict(lr=0.1, maximize=True), dict(lr=0.1, etas=(0.3, 2.0), step_sizes=(0.05, 0.5))]),
    optim.Lion: (lion, [{}, DECAYED, dict(lr=0.1, betas=(0.5, 0.7))]),
    optim.LARS: (lars, [{}, DECAYED, dict(lr=1.0, momentum=0.0, trust_coefficient=0.1)]),
    optim.LAMB: (lamb, [{}, DECAYED, dict(lr=0.1, betas=(0.5, 0.7), eps=0.1, weight_decay=0)]),
    optim.Adafactor: (adafactor, [{}, DECAYED, dict(lr=0.5, beta2_decay=-0.5, eps=(1e-2, 0.1), d=2.0)]),
    optim.Muon: (muon, [{}, dict(lr=0.1, weight_decay=0.2, nesterov=False), dict(momentum=0.5, adjust_lr_fn="match_rms_adamw", ns_steps=2),
                        dict(ns_coefficients=(2.0, -1.5, 0.5), adjust_lr_fn="original")]),
}
WHOLE = {optim.LARS, optim.LAMB, optim.Adafactor, optim.Muon}      # whose reference takes arrays
RUNS = [(method, reference, options) for method, (reference, grid) in CASES.items() for options in grid]
IDS = [f"{m.__name__}-{'-'.join(f'{k}={v}' for k, v in o.items())}" for m, _, o in RUNS]
FIRST_ORDER = [method for method in (getattr(optim, name) for name in optim.__all__) if inspect.isclass(method)
               and issubclass(method, optim.Optimizer) and method is not optim.Optimizer and not issubclass(method, VectorOptimizer)]

every_run = pytest.mark.parametrize("method, reference, options", RUNS, ids=IDS)
every_method = pytest.mark.parametrize("method", FIRST_ORDER)


def test_every_method_has_a_reference():
    missing = [method.__name__ for method in FIRST_ORDER if method not in CASES]
    assert not missing, f"write five lines and options for {missing}"


@every_run
@pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 1, 3), (4, 2), (2, 5)])
def test_steps_are_those_of_the_reference(method, reference, options, shape):
    if method is optim.Muon and len(shape) != 2:
        return
    rng = np.random.default_rng(0)
    start, gradients = np.asarray(rng.normal(size=shape)), rng.normal(size=(50, *shape))
    p = nn.Parameter(tg.tensor(start))
    optimizer = method([p], **options)
    for g in gradients:
        p.grad = tg.tensor(np.asarray(g))
        optimizer.step()
    if method in WHOLE:
        expected = reference(start, [np.asarray(g) for g in gradients], **options)
    else:
        expected = np.reshape([reference(float(start[i]), [float(g[i]) for g in gradients], **options) for i in np.ndindex(shape)], shape)
    np.testing.assert_allclose(p.detach().numpy(), expected, rtol=1e-10)


def test_asgd_keeps_the_average():
    p = nn.Parameter(tg.tensor(1.0, dtype=tg.float64))
    optimizer, gradients = optim.ASGD([p], lr=0.1, t0=3), [1.0, -2.0, 3.0, 1.0, -1.0, 2.0, 5.0]
    for g in gradients:
        p.grad = tg.tensor(g, dtype=tg.float64)
        optimizer.step()
    np.testing.assert_allclose(optimizer.state[p]["ax"].item(), asgd(1.0, gradients, lr=0.1, t0=3)[1], rtol=1e-10)
    assert optimizer.state[p]["ax"].item() != p.item()


def test_parameters_at_0_move_in_layerwise_methods():
    for method in (optim.LARS, optim.LAMB):
        p = nn.Parameter(tg.zeros(3))
        optimizer = method([p], lr=0.1, weight_decay=0.0)
        optimizer.zero_grad()
        p.grad = tg.zeros(3)
        optimizer.step()
        assert p.tolist() == [0, 0, 0]
        p.grad = tg.ones(3)
        optimizer.step()
        assert (p.detach().numpy() < -0.05).all()


def test_the_steps_of_muon_are_nearly_orthogonal():
    p = nn.Parameter(tg.zeros(6, 4))
    p.grad = tg.tensor(np.random.default_rng(0).normal(size=(6, 4)) * 10.0 ** np.arange(4), dtype=tg.float32)
    u, _, vh = np.linalg.svd(p.grad.numpy().astype(float), full_matrices=False)
    optim.Muon([p], lr=1.0, adjust_lr_fn="original", ns_steps=10).step()
    step = -p.detach().numpy() / math.sqrt(1.5)
    assert np.all(abs(np.diag(u.T @ step @ vh.T) - 1) < 0.5)
    half = nn.Parameter(tg.zeros(6, 4, dtype=tg.float16))
    half.grad = p.grad.to(tg.float16)
    optim.Muon([half], lr=1.0, ns_steps=10).step()
    np.testing.assert_allclose(half.detach().numpy(), p.detach().numpy(), atol=5e-3)


# -- the forms of momentum ---------------------------------------------------------------------------------------------

def trace(options, steps=30, lr=0.05, start=(-1.0, 0.5)):
    """The points and the points where gradients are taken, downhill on a valley that is not a quadratic."""
    p, points, seen = nn.Parameter(tg.tensor(start, dtype=tg.float64)), [], []
    optimizer = optim.SGD([p], lr=lr, momentum=0.8, **options)

    def closure():
        optimizer.zero_grad()
        seen.append(p.tolist())
        loss = (1 - p[0]) ** 2 + 3 * (p[1] - p[0] ** 2) ** 2
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
        points.append(p.tolist())
    return np.array(points), np.array(seen), optimizer.state[p]["momentum_buffer"].numpy()


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_pytorchs_nesterov_is_the_textbooks_at_the_look_ahead_point(weight_decay):
    pytorchs, there, v1 = trace(dict(nesterov=True, weight_decay=weight_decay))
    textbook, ahead, v2 = trace(dict(nesterov=True, weight_decay=weight_decay, form="lookahead"))
    np.testing.assert_allclose(there, ahead, rtol=1e-10)
    np.testing.assert_allclose(v1, v2, rtol=1e-10)
    np.testing.assert_allclose(pytorchs[-1], textbook[-1] - 0.05 * 0.8 * v2, rtol=1e-10)
    assert abs(pytorchs - textbook).max() > 1e-3
    u, theta = np.zeros(2), np.array([-1.0, 0.5])     # as Sutskever et al. write it
    for _ in range(30):
        x, y = theta + 0.8 * u
        g = np.array([-2 * (1 - x) - 12 * x * (y - x ** 2), 6 * (y - x ** 2)]) + weight_decay * np.array([x, y])
        u = 0.8 * u - 0.05 * g
        theta = theta + u
    np.testing.assert_allclose(textbook[-1], theta, rtol=1e-9)


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_averaged_form_is_the_classical_one_with_a_smaller_learning_rate(nesterov):
    averaged, classical = trace(dict(nesterov=nesterov, form="averaged"), lr=0.25), trace(dict(nesterov=nesterov), lr=0.05)
    np.testing.assert_allclose(averaged[0], classical[0], rtol=1e-10)
    np.testing.assert_allclose(averaged[2], 0.2 * classical[2], rtol=1e-10)


def test_the_averaged_form_is_dampening_after_the_first_step():
    p, q = (nn.Parameter(tg.tensor([1.0, 2.0], dtype=tg.float64)) for _ in range(2))
    a, b = optim.SGD([p], lr=0.1, momentum=0.9, form="averaged"), optim.SGD([q], lr=0.1, momentum=0.9, dampening=0.9)
    for k in range(5):
        p.grad, q.grad = tg.tensor([1.0, k], dtype=tg.float64), tg.tensor([1.0, k], dtype=tg.float64)
        a.step()
        b.step()
        if k == 0:
            a.state[p]["momentum_buffer"].mul_(10)    # (1 - 0.9)·g, where PyTorch has g
    np.testing.assert_allclose(a.state[p]["momentum_buffer"].numpy(), b.state[q]["momentum_buffer"].numpy(), rtol=1e-10)


def test_the_look_ahead_form_restores_the_parameters_and_needs_a_closure():
    p = nn.Parameter(tg.ones(2))
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9, nesterov=True, form="lookahead")
    p.grad = tg.ones(2)
    with pytest.raises(ValueError, match="closure"):
        optimizer.step()
    assert p.tolist() == [1, 1]
    optimizer.step(lambda: None)
    before = p.tolist()

    def fails():
        assert p.tolist() != before
        raise KeyError("data")

    with pytest.raises(KeyError):
        optimizer.step(fails)
    assert p.tolist() == before


def test_extra_options_are_not_in_the_groups_unless_they_are_used():
    p = nn.Parameter(tg.ones(2))
    assert "form" not in optim.SGD([p]).param_groups[0] and "bias_correction" not in optim.AdamW([p]).param_groups[0]
    used = optim.SGD([p], momentum=0.9, form="averaged"), optim.Adam([p], bias_correction=False)
    assert used[0].param_groups[0]["form"] == "averaged" and used[1].param_groups[0]["bias_correction"] is False
    for optimizer in used:
        other = type(optimizer)([p])
        other.load_state_dict(optimizer.state_dict())
        assert other.param_groups == optimizer.param_groups


# -- what every method promises ----------------------------------------------------------------------------------------

def network(method, seed=3):
    tg.manual_seed(seed)
    bias = method is not optim.Muon
    return nn.Sequential(nn.Linear(3, 4, bias=bias), nn.Tanh(), nn.Linear(4, 4, bias=bias), nn.Tanh(), nn.Linear(4, 1, bias=bias)).double()


def lessons(n):
    tg.manual_seed(1)
    return [tg.randn(5, 3, dtype=tg.float64) for _ in range(n)]


def train(net, optimizer, steps):
    for x in steps:
        optimizer.zero_grad()
        ((net(x) - x.sum(1, keepdim=True)) ** 2).mean().backward()
        optimizer.step()
    return net


def assert_same(net, other, equal=np.testing.assert_array_equal):
    for (name, p), q in zip(net.named_parameters(), other.parameters()):
        equal(p.detach().numpy(), q.detach().numpy(), err_msg=name)


@every_run
def test_save_load_continue_is_never_having_stopped(method, reference, options, tmp_path):
    steps = lessons(6)
    net, half, again = network(method), network(method), network(method, seed=4)
    train(net, method(net.parameters(), **options), steps)
    half_optimizer = method(half.parameters(), **options)
    train(half, half_optimizer, steps[:3])
    tg.save({"net": half.state_dict(), "optimizer": half_optimizer.state_dict()}, tmp_path / "c")
    saved = tg.load(tmp_path / "c")
    again.load_state_dict(saved["net"])
    again_optimizer = method(again.parameters(), lr=123.0)
    again_optimizer.load_state_dict(saved["optimizer"])
    assert again_optimizer.param_groups[0]["lr"] == half_optimizer.defaults["lr"]
    assert_same(net, train(again, again_optimizer, steps[3:]))
    for duplicate in (copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))):
        assert_same(net, train(*duplicate((half, half_optimizer)), steps[3:]))


@every_method
@pytest.mark.parametrize("dtype", [tg.float16, tg.float32, tg.float64])
def test_dtype_and_memory_are_kept_and_the_gradient_is_not_written(method, dtype):
    p = nn.Parameter(tg.ones(2, 2, dtype=dtype))
    p.grad = tg.full((2, 2), 2.0, dtype=dtype)
    array, grad = p.data, p.grad.data
    options = dict(lr=100.0 if method in (optim.Adadelta, optim.LARS) else 0.1, weight_decay=0.1, maximize=True)
    optimizer = method([p], **{name: value for name, value in options.items() if name in inspect.signature(method).parameters})
    for _ in range(3):
        optimizer.step()
    assert p.data is array and p.dtype == dtype and (grad == 2).all() and (array != 1).all() and np.isfinite(array).all()
    assert all(s.dtype == (tg.float32 if n in method._numbers else dtype) for n, s in optimizer.state[p].items())


@every_run
def test_order_and_grouping_do_not_matter(method, reference, options):
    close = np.testing.assert_array_equal if method._elementwise else lambda a, b, err_msg: np.testing.assert_allclose(a, b, rtol=1e-12)
    net, steps = network(method), lessons(4)
    train(net, method(net.parameters(), **options), steps)
    for arrange in (lambda ps: ps[::-1], lambda ps: [{"params": ps[1:]}, {"params": ps[:1]}], lambda ps: [{"params": p} for p in ps]):
        other = network(method)
        assert_same(net, train(other, method(arrange(list(other.parameters())), **options), steps), close)


@every_method
def test_groups_have_options_of_their_own(method):
    net, slow, fast, mixed = (network(method) for _ in range(4))
    steps = lessons(1)                                # at the first step the gradients are the same in all
    train(slow, method(slow.parameters(), lr=1e-3), steps)
    train(fast, method(fast.parameters(), lr=1e-1), steps)
    ps = list(mixed.parameters())
    train(mixed, method([{"params": ps[:2]}, {"params": ps[2:], "lr": 1e-1}], lr=1e-3), steps)
    expected = [*list(slow.parameters())[:2], *list(fast.parameters())[2:]]
    for p, q, r in zip(ps, expected, net.parameters()):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-12)
        assert not np.array_equal(p.detach().numpy(), r.detach().numpy())


@every_method
def test_the_learning_rate_may_be_a_tensor(method):
    net, other, steps = network(method), network(method), lessons(4)
    train(net, method(net.parameters(), lr=0.25), steps)
    lr = tg.tensor(0.25)
    optimizer = method(other.parameters(), lr=lr)
    assert_same(net, train(other, optimizer, steps))
    if method is not optim.Rprop and method is not optim.ASGD:      # which begin with it; elsewhere it is looked at anew at every step
        before = [p.tolist() for p in other.parameters()]
        lr.fill_(0.0)
        train(other, optimizer, steps)
        assert (before == [p.tolist() for p in other.parameters()]) == (method is not optim.LARS)
    with pytest.raises(ValueError, match="lr"):
        method(network(method).parameters(), lr=tg.tensor([0.1, 0.2]))
    with pytest.raises(ValueError, match="lr"):
        method(network(method).parameters(), lr=tg.tensor(-0.1))


WRONG = dict(lr=[-1, math.nan, math.inf, "0.1"], eps=[-1.0], betas=[(1.0, 0.9), (0.9, -0.1), (0.9, math.nan)], momentum=[-0.1], weight_decay=[-1],
             alpha=[-1.0], rho=[-0.1, 1.1], lr_decay=[-1], initial_accumulator_value=[-1], momentum_decay=[-1], trust_coefficient=[-1],
             etas=[(0.5, 0.9), (1.1, 1.2), (0.0, 1.2)], beta2_decay=[0.1], d=[0.5], adjust_lr_fn=["other"], ns_steps=[100], form=["other"],
             ns_coefficients=[(1.0, 2.0)], differentiable=[True])


@every_method
def test_wrong_options_change_nothing(method):
    options = [(name, value) for name, values in WRONG.items() if name in inspect.signature(method).parameters for value in values]
    options = [(n, (v, 0.1) if method is optim.Adafactor and n == "eps" else v) for n, v in options if (method, n) != (optim.ASGD, "alpha")]
    assert len(options) >= 4
    for name, value in options:
        p, q = (nn.Parameter(tg.ones(2, 2)) for _ in range(2))
        with pytest.raises(ValueError):
            method([p], **{name: value})
        optimizer = method([p])
        before = optimizer.state_dict()
        with pytest.raises(ValueError):
            optimizer.add_param_group({"params": [q], name: value})
        with pytest.raises(ValueError):
            optimizer.load_state_dict({"state": {}, "param_groups": [{**before["param_groups"][0], name: value}]})
        assert repr(optimizer.state_dict()) == repr(before) and p.tolist() == [[1, 1], [1, 1]]


@every_method
def test_wrong_parameters_are_refused(method):
    p = nn.Parameter(tg.ones(2, 2))
    for params, error in (([], ValueError), ([p * 2], ValueError), ([p, p], ValueError), (p, TypeError), ({p}, TypeError), ([1.0], TypeError),
                          ([{"params": [p]}, {"params": [p]}], ValueError)):
        with pytest.raises(error):
            method(params)
    optimizer = method([p])
    with pytest.raises(ValueError):
        optimizer.add_param_group({"params": [p]})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("options, text", [
    (dict(nesterov=True), "momentum"), (dict(nesterov=True, momentum=0.9, dampening=0.1), "dampening"), (dict(form="lookahead"), "nesterov"),
    (dict(form="averaged", momentum=0.9, dampening=0.1), "dampening")])
def test_options_of_sgd_that_do_not_go_together(options, text):
    with pytest.raises(ValueError, match=text):
        optim.SGD([nn.Parameter(tg.ones(1))], **options)


def test_two_implementations_at_once_are_refused():
    for method in FIRST_ORDER:
        if "fused" in inspect.signature(method).parameters:
            with pytest.raises(RuntimeError, match="fused"):
                method([nn.Parameter(tg.ones(1))], fused=True, foreach=True)
            method([nn.Parameter(tg.ones(1))], fused=True), method([nn.Parameter(tg.ones(1))], foreach=True)


def test_muon_takes_matrices_only():
    p = nn.Parameter(tg.ones(2, 2))
    with pytest.raises(ValueError, match="matrices"):
        optim.Muon([p, nn.Parameter(tg.ones(2))])
    optimizer = optim.Muon([p])
    with pytest.raises(ValueError, match="matrices"):
        optimizer.add_param_group({"params": nn.Parameter(tg.ones(2, 2, 2))})
    assert len(optimizer.param_groups) == 1


def test_adagrads_state_exists_from_the_beginning():
    p = nn.Parameter(tg.ones(2))
    state = optim.Adagrad([p], initial_accumulator_value=0.5).state_dict()["state"]
    assert list(state[0]) == ["step", "sum"] and state[0]["sum"].tolist() == [0.5, 0.5] and state[0]["step"].item() == 0


def test_a_state_of_adafactor_that_does_not_fit_changes_nothing():
    def stepped(*shape):
        p = nn.Parameter(tg.ones(*shape))
        p.grad = tg.ones(*shape)
        optimizer = optim.Adafactor([p])
        optimizer.step()
        return optimizer

    optimizer = stepped(2, 3)
    before = repr(optimizer.state_dict())
    for other in (stepped(3, 2), stepped(2), stepped(2, 3, 1)):
        with pytest.raises(ValueError, match="keeps"):
            optimizer.load_state_dict(other.state_dict())
    assert repr(optimizer.state_dict()) == before


def test_numbers_of_the_state_keep_their_digits_where_parameters_have_few():
    p = nn.Parameter(tg.ones(2, dtype=tg.float16))
    optimizer, other = optim.NAdam([p]), optim.NAdam([nn.Parameter(tg.ones(2, dtype=tg.float16))])
    for _ in range(3):
        p.grad = tg.ones(2, dtype=tg.float16)
        optimizer.step()
    other.load_state_dict(optimizer.state_dict())
    mine, its = (next(iter(o.state.values()))["mu_product"] for o in (optimizer, other))
    assert its.dtype == tg.float32 and its.item() == mine.item() != float(np.float16(mine.item()))
