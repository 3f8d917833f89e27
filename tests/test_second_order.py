"""Methods of second order: line searches keep their conditions, minima and iterations are those of SciPy, and nothing else is touched."""
import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinygrad_ed as tg
from tinygrad_ed import nn, optim
from tinygrad_ed.autograd import functional
from tinygrad_ed.errors import DomainError, GraphError, InPlaceError, ShapeError
from tinygrad_ed.optim.second_order import armijo, strong_wolfe, wolfe
from tinygrad_ed.optim.second_order.line_search import Point, cubic_minimum
from tinygrad_ed.optim.second_order.trust_region import exact_step, saddle_free_step, truncated_cg
from tinygrad_ed.optim.second_order.vector import VectorOptimizer

# -- problems ----------------------------------------------------------------------------------------------------------


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def beale(x):
    return sum((c - x[0] + x[0] * x[1] ** k) ** 2 for k, c in ((1, 1.5), (2, 2.25), (3, 2.625)))


def himmelblau(x):
    return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2


def quadratic(n, condition, seed=0):
    """½·xᵀAx - bᵀx with eigenvalues from 1 to the condition number, its start 0 and its minimum."""
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    A = Q @ np.diag(np.logspace(0, np.log10(condition), n)) @ Q.T
    x = rng.normal(size=n)
    At, bt = tg.tensor(A), tg.tensor(A @ x)
    return (lambda v: v @ At @ v / 2 - bt @ v), np.zeros(n), x


PROBLEMS = {"rosenbrock": (rosenbrock, [-1.2, 1.0], [1.0, 1.0]), "beale": (beale, [1.0, 1.0], [3.0, 0.5]),
            "himmelblau": (himmelblau, [0.0, 0.0], [3.0, 2.0]), "quadratic": quadratic(10, 1e4)}
RESIDUALS = {
    "rosenbrock": lambda x: tg.stack([1 - x[0], 10 * (x[1] - x[0] ** 2)]),
    "beale": lambda x: tg.stack([1.5 - x[0] + x[0] * x[1], 2.25 - x[0] + x[0] * x[1] ** 2, 2.625 - x[0] + x[0] * x[1] ** 3]),
    "himmelblau": lambda x: tg.stack([x[0] ** 2 + x[1] - 11, x[0] + x[1] ** 2 - 7]),
}

BACKWARD, GRAPH, RESIDUAL = "the closure runs backward", "it returns the loss with its graph", "it returns residuals"
METHODS = {
    "LBFGS": (optim.LBFGS, dict(line_search_fn="strong_wolfe"), BACKWARD), "LBFGS-fixed": (optim.LBFGS, dict(lr=0.1), BACKWARD),
    "BFGS": (optim.BFGS, {}, BACKWARD), "BFGS-wolfe": (optim.BFGS, dict(line_search_fn="wolfe"), BACKWARD),
    "BFGS-armijo": (optim.BFGS, dict(line_search_fn="armijo"), BACKWARD), "BFGS-fixed": (optim.BFGS, dict(lr=0.1, line_search_fn=None), BACKWARD),
    **{f"CG-{beta}": (optim.NonlinearCG, dict(beta=beta), BACKWARD)
       for beta in ("fletcher-reeves", "polak-ribiere", "hestenes-stiefel", "dai-yuan")},
    **{f"Newton-{method}-{hessian}": (optim.Newton, dict(method=method, hessian=hessian), GRAPH)
       for method in ("damped", "trust_region") for hessian in ("exact", "free")},
    "GaussNewton": (optim.GaussNewton, {}, RESIDUAL),
    "LM": (optim.LevenbergMarquardt, {}, RESIDUAL), "LM-identity": (optim.LevenbergMarquardt, dict(scale="identity"), RESIDUAL),
    **{f"CD-{order}": (optim.CoordinateDescent, dict(order=order), GRAPH) for order in ("cyclic", "random", "greedy")},
    "CD-search": (optim.CoordinateDescent, dict(line_search_fn="strong_wolfe"), GRAPH),
}
every_method = pytest.mark.parametrize("name", METHODS)


def made(name, params, **options):
    method, own, _ = METHODS[name]
    return method(params, **{**own, **options})


def closure_for(name, params, residuals):
    """A closure of the kind that the method wants, for ½·Σr²; it counts its calls."""
    kind = METHODS[name][2]

    def closure():
        closure.calls += 1
        r = residuals()
        if kind == RESIDUAL:
            return r
        loss = (r * r).sum() / 2
        if kind == BACKWARD:
            for p in params:
                p.grad = None
            loss.backward()
        return loss

    closure.calls = 0
    return closure


def minimized(make, f, start, backward):
    """The optimizer after one step over a float64 vector, and where that ended."""
    p = tg.tensor(np.array(start, float), requires_grad=True)
    optimizer = make([p])

    def closure():
        loss = f(p)
        if backward:
            p.grad = None
            loss.backward()
        return loss

    optimizer.step(closure)
    return optimizer.state[p], p.detach().numpy()


def regression(dtype=tg.float64, seed=0):
    """A small network, and its residuals on fixed data."""
    tg.manual_seed(seed)
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).to(dtype)
    x = tg.randn(8, 2).to(dtype)
    y = (x[:, :1] * x[:, 1:]).detach()
    return net, lambda: net(x) - y


def values(net):
    return [p.detach().numpy().copy() for p in net.parameters()]


# -- line searches -----------------------------------------------------------------------------------------------------

@st.composite
def falling_functions(draw):
    """φ and φ' of a function bounded from below, with bumps, that falls at 0."""
    number = st.floats(-2, 2, allow_nan=False)
    c, amplitude, frequency, phase = draw(number), draw(number), draw(st.floats(0.3, 5)), draw(st.floats(0, 6))
    scale = 10.0 ** draw(st.integers(-3, 3))

    def phi(a):
        value = scale * (0.1 * (a - c) ** 4 + (a - c) ** 2 / 2 + amplitude * math.sin(frequency * a + phase))
        return value, scale * (0.4 * (a - c) ** 3 + (a - c) + amplitude * frequency * math.cos(frequency * a + phase))

    if phi(0.0)[1] > 0:
        return lambda a: (phi(-a)[0], -phi(-a)[1])
    return phi


@given(falling_functions(), st.sampled_from([1e-3, 0.1, 1.0, 30.0]), st.sampled_from([(1e-4, 0.9), (1e-4, 0.1), (0.1, 0.4), (1e-6, 1e-3)]))
def test_line_searches_keep_their_conditions(phi, first, constants):
    c1, c2 = constants
    value, slope = phi(0.0)
    assume(slope < -1e-3 * max(1.0, abs(value)))
    for search, curved in ((armijo, lambda s: True), (wolfe, lambda s: s >= c2 * slope), (strong_wolfe, lambda s: abs(s) <= -c2 * slope)):
        calls = []

        def counted(a):
            calls.append(a)
            return (*phi(a), "extra")

        options = {"c1": c1} if search is armijo else {"c1": c1, "c2": c2}
        found = search(counted, value, slope, first, max_iter=60, **options)
        at = phi(found.point.a)
        assert found.success and found.evaluations == len(calls) and found.point.a > 0
        assert found.point[1:] == (*at, "extra")
        assert at[0] <= value + c1 * found.point.a * slope and curved(at[1])


@pytest.mark.parametrize("search", [armijo, wolfe, strong_wolfe])
@pytest.mark.parametrize("outside", [math.nan, math.inf])
def test_line_searches_turn_back_from_what_is_not_finite(search, outside):
    found = search(lambda a: (-math.log(1 - a) - 3 * a, 1 / (1 - a) - 3) if a < 1 else (outside, outside), 0.0, -2.0, 8.0)
    assert found.success and 0 < found.point.a < 1


@pytest.mark.parametrize("search", [armijo, wolfe, strong_wolfe])
def test_a_line_search_that_finds_nothing_says_so_and_goes_nowhere_worse(search):
    found = search(lambda a: (a, 1.0), 0.0, -1.0)             # the slope at 0 is a lie
    assert not found.success and found.point.a == 0 and found.point.value == 0
    down = search(lambda a: (-a, -1.0), 0.0, -1.0, max_iter=3)  # without end
    assert down.point.a > 0 and down.success == (search is armijo)


@pytest.mark.parametrize("search", [armijo, wolfe, strong_wolfe])
def test_line_searches_refuse_wrong_arguments(search):
    for value, slope, a in ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (math.nan, -1.0, 1.0), (0.0, math.nan, 1.0), (0.0, -1.0, 0.0)):
        with pytest.raises(ValueError):
            search(lambda a: (0.0, 0.0), value, slope, a)
    with pytest.raises(ValueError, match="c1"):
        search(lambda a: (0.0, 0.0), 0.0, -1.0, c1=1.5)


@given(st.floats(-2, 2), st.floats(0.1, 2), st.floats(-3, -0.1), st.floats(0.5, 4))
def test_cubic_minimum_is_exact_for_a_cubic(c, quadratic, slope, b):
    def phi(a):
        return c * a ** 3 + quadratic * a * a + slope * a, 3 * c * a * a + 2 * quadratic * a + slope
    discriminant = quadratic ** 2 - 3 * c * slope
    assume(abs(c) > 0.05 and discriminant > 0.01)
    minimum = (-quadratic + math.sqrt(discriminant)) / (3 * c)
    points = Point(0.0, *phi(0.0)), Point(b, *phi(b))
    for p, q in (points, points[::-1]):
        assert math.isclose(cubic_minimum(p, q, (-1e6, 1e6)), minimum, rel_tol=1e-6, abs_tol=1e-6)
        assert cubic_minimum(p, q, (minimum + 1, minimum + 2)) == minimum + 1


# -- the quadratic model -----------------------------------------------------------------------------------------------

@given(st.integers(1, 6), st.integers(0, 1000), st.sampled_from([1e-2, 1.0, 10.0]), st.booleans())
def test_exact_step_is_the_minimum_within_the_radius(n, seed, radius, hard):
    rng = np.random.default_rng(seed)
    H = rng.normal(size=(n, n))
    eigenvalues, Q = np.linalg.eigh(H + H.T)
    g = rng.normal(size=n)
    if hard:
        g = g - Q[:, 0] * (Q[:, 0] @ g)
    p, boundary = exact_step(eigenvalues, Q, g, radius)
    H = Q @ np.diag(eigenvalues) @ Q.T
    assert np.linalg.norm(p) <= radius * (1 + 1e-9) and (not boundary or np.linalg.norm(p) > radius * (1 - 1e-9))

    def model(v):
        return g @ v + v @ H @ v / 2

    for v in rng.normal(size=(50, n)):
        assert model(p) <= model(v * radius / np.linalg.norm(v)) + 1e-9 * radius
        v = p + 1e-3 * radius * v
        assert model(p) <= model(v * min(1.0, radius / np.linalg.norm(v))) + 1e-9 * radius
    cg, Hcg, _ = truncated_cg(lambda v: H @ v, g, radius)
    np.testing.assert_allclose(Hcg, H @ cg, atol=1e-8 * (1 + radius))
    assert np.linalg.norm(cg) <= radius * (1 + 1e-9) and model(p) <= model(cg) + 1e-9 * radius
    t = min(radius / max(np.linalg.norm(g), 1e-300), (g @ g) / (g @ H @ g) if g @ H @ g > 0 else math.inf)
    assert model(cg) <= model(-t * g) + 1e-9 * radius         # at least as low as Cauchy's point


@given(st.integers(1, 6), st.integers(0, 1000))
def test_directions_fall_and_are_newtons_where_the_matrix_is_definite(n, seed):
    rng = np.random.default_rng(seed)
    H, g = rng.normal(size=(n, n)), rng.normal(size=n)
    eigenvalues, Q = np.linalg.eigh(H + H.T)
    for d in (saddle_free_step(eigenvalues, Q, g), truncated_cg(lambda v: (H + H.T) @ v, g)[0]):
        assert g @ d < 0
    saddle_free = (Q * abs(eigenvalues)) @ Q.T @ saddle_free_step(eigenvalues, Q, g)
    np.testing.assert_allclose(saddle_free, -g, atol=1e-6)
    H = H @ H.T + 0.1 * np.eye(n)
    for d in (saddle_free_step(*np.linalg.eigh(H), g), truncated_cg(lambda v: H @ v, g, tolerance=1e-10)[0]):
        np.testing.assert_allclose(H @ d, -g, atol=1e-6)


def test_products_and_hessian_are_those_of_autograd_functional():
    net, residuals = regression()
    params = list(net.parameters())
    optimizer = VectorOptimizer(params, {})
    f = optimizer._differentiate((residuals() ** 2).sum())
    flat = nn.utils.parameters_to_vector(params).detach()

    def loss(vector):
        parts = [part.reshape(p.shape) for part, p in zip(tg.split(vector, [p.numel() for p in params]), params)]
        x, y = residuals.__closure__[1].cell_contents, residuals.__closure__[2].cell_contents
        return ((nn.utils.stateless.functional_call(net, dict(zip(dict(net.named_parameters()), parts)), x) - y) ** 2).sum()

    H = functional.hessian(loss, flat).numpy()
    np.testing.assert_allclose(f.hessian(), H, atol=1e-10)
    v = np.random.default_rng(0).normal(size=len(H))
    np.testing.assert_allclose(f.product(v), H @ v, atol=1e-10)


# -- minima ------------------------------------------------------------------------------------------------------------

QUASI = [(optim.BFGS, {}, "BFGS"), (optim.LBFGS, dict(line_search_fn="strong_wolfe", max_eval=5000, history_size=10), "L-BFGS-B"),
         *[(optim.NonlinearCG, METHODS[f"CG-{beta}"][1], "CG") for beta in ("fletcher-reeves", "polak-ribiere", "hestenes-stiefel", "dai-yuan")],
         (optim.Newton, dict(hessian="free"), "Newton-CG"), (optim.Newton, dict(hessian="exact"), "Newton-CG"),
         (optim.Newton, dict(hessian="free", method="trust_region"), "trust-ncg"),
         (optim.Newton, dict(hessian="exact", method="trust_region"), "trust-exact")]


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("method, options, scipys", QUASI, ids=[f"{m.__name__}-{'-'.join(map(str, o.values()))}" for m, o, _ in QUASI])
def test_minimum_and_iterations_are_those_of_scipy(method, options, scipys, problem):
    minimize = pytest.importorskip("scipy.optimize").minimize
    f, start, minimum = PROBLEMS[problem]

    def value_and_gradient(x):
        t = tg.tensor(x, requires_grad=True)
        loss = f(t)
        return loss.item(), tg.autograd.grad(loss, t)[0].numpy()

    state, x = minimized(lambda ps: method(ps, max_iter=2000, tolerance_grad=1e-5, tolerance_change=0.0, **options), f, start,
                         method is not optim.Newton)
    extra = {}
    if scipys in ("Newton-CG", "trust-ncg"):
        extra["hessp"] = lambda x, v: functional.hvp(f, tg.tensor(x), tg.tensor(v))[1].numpy()
    if scipys == "trust-exact":
        extra["hess"] = lambda x: functional.hessian(f, tg.tensor(x)).numpy()
    limits = {"xtol": 1e-9} if scipys == "Newton-CG" else {"gtol": 1e-5, **({"ftol": 0} if scipys == "L-BFGS-B" else {})}
    reference = minimize(value_and_gradient, start, jac=True, method=scipys, options=limits, **extra)
    np.testing.assert_allclose(x, minimum, atol=1e-4)
    np.testing.assert_allclose(x, reference.x, atol=1e-4)
    assert state["n_iter"] <= 1.5 * reference.nit


@pytest.mark.parametrize("problem", RESIDUALS)
@pytest.mark.parametrize("method, options", [(optim.GaussNewton, {}), (optim.LevenbergMarquardt, {})])
def test_least_squares_and_iterations_are_those_of_scipy(method, options, problem):
    least_squares = pytest.importorskip("scipy.optimize").least_squares
    r, start = RESIDUALS[problem], PROBLEMS[problem][1]
    p = tg.tensor(np.array(start), requires_grad=True)
    optimizer = method([p], max_iter=200, tolerance_grad=1e-8, tolerance_change=0.0, **options)
    optimizer.step(lambda: r(p))
    reference = least_squares(lambda x: r(tg.tensor(x)).numpy(), start, jac=lambda x: functional.jacobian(r, tg.tensor(x)).numpy(), method="lm")
    np.testing.assert_allclose(p.detach().numpy(), reference.x, atol=1e-6)
    assert optimizer.state[p]["n_iter"] <= 1.5 * reference.njev and optimizer.state[p]["func_evals"] <= 1.5 * reference.nfev


@pytest.mark.parametrize("scale", ["marquardt", "identity"])
def test_levenberg_marquardt_fits_a_curve_with_noise_as_scipy_does(scale):
    least_squares = pytest.importorskip("scipy.optimize").least_squares
    t = np.linspace(0, 3, 40)
    y = 2.5 * np.exp(-1.3 * t) + 0.5 + 0.05 * np.random.default_rng(0).normal(size=40)
    a, b, c = (tg.tensor(v, dtype=tg.float64, requires_grad=True) for v in (1.0, 1.0, 0.0))
    optimizer = optim.LevenbergMarquardt([a, b, c], max_iter=50, scale=scale)
    first = optimizer.step(lambda: a * tg.exp(-b * tg.tensor(t)) + c - tg.tensor(y))
    reference = least_squares(lambda x: x[0] * np.exp(-x[1] * t) + x[2] - y, [1.0, 1.0, 0.0], method="lm")
    np.testing.assert_allclose([a.item(), b.item(), c.item()], reference.x, rtol=1e-5)
    assert math.isclose(first.item(), ((np.exp(-t) - y) ** 2).sum() / 2)


@pytest.mark.parametrize("n", [1, 2, 5, 12])
@pytest.mark.parametrize("name", ["BFGS", "CG-fletcher-reeves", "CG-polak-ribiere", "CG-hestenes-stiefel", "CG-dai-yuan"])
def test_a_quadratic_takes_n_iterations_with_an_exact_search(name, n):
    f, start, minimum = quadratic(n, 50.0)
    options = dict(max_iter=200, tolerance_grad=1e-6, tolerance_change=0.0, c1=1e-12, c2=1e-9)
    state, x = minimized(lambda ps: made(name, ps, **options), f, start, True)
    np.testing.assert_allclose(x, minimum, atol=1e-5)
    assert state["n_iter"] <= n + 2


@pytest.mark.parametrize("options, limit", [(dict(), 1), (dict(method="trust_region", radius=1e3), 1), (dict(hessian="free"), 12),
                                            (dict(hessian="free", method="trust_region", radius=1e3), 12)])
def test_newton_takes_one_iteration_for_a_quadratic(options, limit):
    f, start, minimum = quadratic(10, 1e4)
    state, x = minimized(lambda ps: optim.Newton(ps, max_iter=50, **options), f, start, False)
    np.testing.assert_allclose(x, minimum, atol=1e-6)
    assert state["n_iter"] <= limit


def test_gauss_newton_takes_one_iteration_for_linear_residuals():
    rng = np.random.default_rng(0)
    for m, n in ((7, 3), (3, 7), (4, 4)):
        A, y = rng.normal(size=(m, n)), rng.normal(size=m)
        p = tg.zeros(n, dtype=tg.float64, requires_grad=True)
        optimizer = optim.GaussNewton([p], max_iter=5, tolerance_grad=1e-10)
        optimizer.step(lambda: tg.tensor(A) @ p - tg.tensor(y))
        np.testing.assert_allclose(p.detach().numpy(), np.linalg.lstsq(A, y)[0], atol=1e-10)
        assert optimizer.state[p]["n_iter"] == 1


@pytest.mark.parametrize("method", ["damped", "trust_region"])
@pytest.mark.parametrize("hessian", ["exact", "free"])
def test_newton_leaves_a_saddle(method, hessian):
    p = tg.tensor([1.0, 1e-3], dtype=tg.float64, requires_grad=True)
    optim.Newton([p], max_iter=100, method=method, hessian=hessian).step(lambda: p[0] ** 2 - p[1] ** 2 + p[1] ** 4 / 2)
    np.testing.assert_allclose(abs(p.detach().numpy()), [0, 1], atol=1e-5)


def test_coordinate_descent_solves_what_separates_in_one_pass_and_others_in_several():
    for order in ("cyclic", "random"):
        p = tg.tensor([3.0, -2.0, 5.0], dtype=tg.float64, requires_grad=True)
        optimizer = optim.CoordinateDescent([p], max_iter=1, order=order)
        optimizer.step(lambda: (tg.tensor([1.0, 10.0, 100.0]) * (p - 1) ** 2).sum())
        np.testing.assert_allclose(p.detach().numpy(), 1.0, atol=1e-12)
    f, start, minimum = quadratic(6, 20.0)
    for options in (dict(), dict(order="random"), dict(order="greedy"), dict(line_search_fn="armijo"), dict(line_search_fn="wolfe"),
                    dict(line_search_fn="strong_wolfe")):
        state, x = minimized(lambda ps: optim.CoordinateDescent(ps, max_iter=500, tolerance_change=1e-14, **options), f, start, False)
        np.testing.assert_allclose(x, minimum, atol=1e-4)


def test_greedy_coordinate_descent_takes_the_steepest():
    p = tg.tensor([1.0, 1.0, 1.0], dtype=tg.float64, requires_grad=True)
    seen = []

    def closure():
        seen.append(p.tolist())
        return (tg.tensor([1.0, 100.0, 10.0]) * p ** 2).sum()

    optim.CoordinateDescent([p], max_iter=1, order="greedy").step(closure)
    assert [[i for i in range(3) if a[i] != b[i]] for a, b in zip(seen, seen[1:])] == [[1], [2], [0]]


def test_the_random_order_is_the_seeds():
    def path(seed):
        p = tg.tensor(np.ones(8), requires_grad=True)
        seen = []

        def closure():
            seen.append(p.tolist())
            return (p ** 2).sum() + p.sum() ** 2

        optim.CoordinateDescent([p], max_iter=1, order="random", seed=seed).step(closure)
        return seen

    state = tg.get_rng_state()
    assert path(1) == path(1) != path(2) and tg.equal(state, tg.get_rng_state())


def test_restarts_are_steps_along_the_gradient():
    f, start, _ = quadratic(6, 100.0)

    def directions(**options):
        p = tg.tensor(start, requires_grad=True)
        optimizer = optim.NonlinearCG([p], max_iter=1, **options)

        def closure():
            p.grad = None
            loss = f(p)
            loss.backward()
            return loss

        for _ in range(5):
            optimizer.step(closure)
            yield np.array_equal(optimizer.state[p]["d"].numpy(), -optimizer.state[p]["prev_flat_grad"].numpy())

    assert list(directions(restart_threshold=None)) == [True, False, False, False, False]
    assert list(directions(restart_threshold=None, restart=2)) == [True, False, True, False, True]
    assert list(directions(restart_threshold=None, restart=1)) == [True] * 5
    assert list(directions(restart_threshold=1e-6, line_search_fn=None, lr=1e-3)) == [True] * 5


@pytest.mark.parametrize("name", ["BFGS", "LBFGS", "CG-polak-ribiere"])
def test_a_step_is_noticed_by_a_graph_that_needs_the_old_value(name):
    p = tg.tensor([3.0, 1.0], requires_grad=True)
    y = (p * p).sum()
    made(name, [p]).step(closure_for(name, [p], lambda: p - 1))
    with pytest.raises(InPlaceError):
        y.backward()


# -- all methods -------------------------------------------------------------------------------------------------------

@every_method
def test_the_loss_at_the_start_is_returned_and_the_loss_falls(name):
    net, residuals = regression()
    closure = closure_for(name, list(net.parameters()), residuals)
    start = (residuals() ** 2).sum().item() / 2
    optimizer = made(name, net.parameters(), max_iter=5)
    losses = [optimizer.step(closure).item() for _ in range(3)]
    assert math.isclose(losses[0], start) and losses[0] > losses[1] > losses[2]
    assert optimizer.state[next(net.parameters())]["func_evals"] == closure.calls


@every_method
def test_save_load_continue_is_never_having_stopped(name, tmp_path):
    def stepped(net, residuals, optimizer, n):
        for _ in range(n):
            optimizer.step(closure_for(name, list(net.parameters()), residuals))

    net, residuals = regression()
    stepped(net, residuals, made(name, net.parameters(), max_iter=2), 4)
    half, half_residuals = regression()
    optimizer = made(name, half.parameters(), max_iter=2)
    stepped(half, half_residuals, optimizer, 2)
    tg.save({"net": half.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "c")
    saved = tg.load(tmp_path / "c")
    again, again_residuals = regression()
    again.load_state_dict(saved["net"])
    other = made(name, again.parameters(), max_iter=7)
    other.load_state_dict(saved["optimizer"])
    stepped(again, again_residuals, other, 2)
    assert other.param_groups[0]["max_iter"] == 2
    assert all(np.array_equal(a, b) for a, b in zip(values(net), values(again)))
    before = values(half)
    x, y = (cell.cell_contents for cell in half_residuals.__closure__[1:])
    for duplicate in (copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))):
        net2, optimizer2 = duplicate((half, optimizer))
        stepped(net2, lambda: net2(x) - y, optimizer2, 2)
        assert all(np.array_equal(a, b) for a, b in zip(values(net), values(net2)))
    assert all(np.array_equal(a, b) for a, b in zip(before, values(half)))


@every_method
def test_a_state_that_belongs_elsewhere_is_refused(name):
    (net, residuals), large = regression(), nn.Linear(50, 2).to(tg.float64)
    closure = closure_for(name, list(net.parameters()), residuals)
    optimizer = made(name, net.parameters(), max_iter=2)
    optimizer.step(closure)
    before = str(optimizer.state_dict())
    adam = optim.Adam(net.parameters())
    (residuals() ** 2).sum().backward()
    adam.step()
    with pytest.raises(ValueError, match="another method"):
        optimizer.load_state_dict({**adam.state_dict(), "param_groups": optimizer.state_dict()["param_groups"]})
    if optimizer._sized and name != "LM-identity":
        params = [nn.Parameter(p) for p in (*large.parameters(), tg.zeros(1), tg.zeros(2))]
        other = made(name, params, max_iter=2)
        other.step(closure_for(name, params, lambda: sum((p.sum() - 1) ** 2 + (p ** 2).sum() for p in params).reshape(1)))
        with pytest.raises(ShapeError, match="another model"):
            optimizer.load_state_dict(other.state_dict())
    assert str(optimizer.state_dict()) == before


@every_method
def test_the_order_of_parameters_does_not_matter(name):
    if name in ("CD-cyclic", "CD-random", "CD-search"):
        pytest.skip("the order of the coordinates is the method")
    ends = []
    for order in (1, -1):
        net, residuals = regression()
        params = list(net.parameters())[::order]
        made(name, params, max_iter=4).step(closure_for(name, params, residuals))
        ends.append(values(net))
    for a, b in zip(*ends):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


@every_method
def test_groups_are_one_vector(name):
    ends = []
    for split in (False, True):
        net, residuals = regression()
        params = list(net.parameters())
        if split and name.startswith("LBFGS"):
            with pytest.raises(ValueError, match="one group"):
                made(name, [{"params": params[:2]}, {"params": params[2:]}])
            return
        optimizer = made(name, [{"params": params[:2]}, {"params": params[2:]}] if split else params, max_iter=3)
        optimizer.step(closure_for(name, params, residuals))
        ends.append(values(net))
    assert all(np.array_equal(a, b) for a, b in zip(*ends))
    with pytest.raises(ValueError, match="same options"):
        optimizer.add_param_group({"params": [nn.Parameter(tg.ones(2))], "tolerance_grad": 0.5})
    assert len(optimizer.param_groups) == 2


@every_method
def test_frozen_unused_and_tied_parameters(name):
    net, residuals = regression()
    frozen, unused, tied = net[0].weight, nn.Parameter(tg.ones(3, dtype=tg.float64)), nn.Parameter(tg.full((1,), 0.3, dtype=tg.float64))
    frozen.requires_grad_(False)
    params = [unused, *net.parameters(), tied]
    tilt = tg.linspace(-1, 2, len(residuals()), dtype=tg.float64).reshape(residuals().shape)        # no bias does what `tied` does
    before, whole = values(net)[0], lambda: residuals() + (tied * tied - 0.1 * tied) * tilt
    closure = closure_for(name, params, whole)
    start = (whole() ** 2).sum().item()
    optimizer = made(name, params, max_iter=3)
    for _ in range(2):
        optimizer.step(closure)
    assert (frozen.detach().numpy() == before).all() and unused.tolist() == [1, 1, 1]
    assert (tied.item() != 0.3 or name == "CD-greedy") and (whole() ** 2).sum().item() < start
    frozen.requires_grad_(True)                       # another set of parameters: what was remembered of the old one is forgotten
    optimizer.step(closure)
    assert not (frozen.detach().numpy() == before).all() and unused.tolist() == [1, 1, 1]
    bias = net[2].bias
    bias.requires_grad_(False)
    before = bias.tolist()
    optimizer.step(closure)
    assert bias.tolist() == before


@every_method
def test_a_parameter_that_the_loss_no_longer_reaches_stays(name):
    net, residuals = regression()
    scale = nn.Parameter(tg.ones(1, dtype=tg.float64))
    params = [scale, *net.parameters()]
    optimizer = made(name, params, max_iter=2)
    optimizer.step(closure_for(name, params, lambda: residuals() * scale))
    assert scale.item() != 1
    before = scale.item()
    optimizer.step(closure_for(name, params, residuals))
    assert scale.item() == before


@every_method
@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
def test_dtype_and_memory_are_kept(name, dtype):
    net, residuals = regression(dtype)
    params = list(net.parameters())
    arrays = [p.data for p in params]
    start = (residuals() ** 2).sum().item()
    optimizer = made(name, params, max_iter=10)
    optimizer.step(closure_for(name, params, residuals))
    assert all(p.dtype == dtype and p.data is a for p, a in zip(params, arrays))
    assert all(v.dtype == dtype for v in optimizer.state[params[0]].values() if isinstance(v, tg.Tensor))
    assert (residuals() ** 2).sum().item() < (0.9 if name.endswith("fixed") else 0.7) * start


@every_method
@pytest.mark.parametrize("what", ["nan", "inf", "nan gradient"])
def test_a_start_that_is_not_finite_changes_nothing(name, what):
    net, residuals = regression()
    params = list(net.parameters())
    optimizer = made(name, params, max_iter=2)
    optimizer.step(closure_for(name, params, residuals))
    before, state = values(net), copy.deepcopy(optimizer.state_dict())
    factor = {"nan": math.nan, "inf": math.inf}.get(what, 1.0)

    def spoilt():
        r = residuals() * factor
        return r + tg.sqrt(params[1].sum() * 0) if what == "nan gradient" else r          # √0 = 0 with an infinite slope, times 0

    with pytest.raises(DomainError, match="at the start"):
        optimizer.step(closure_for(name, params, spoilt))
    assert all(np.array_equal(a, b) for a, b in zip(before, values(net)))
    assert str(optimizer.state_dict()) == str(state)


@every_method
def test_an_exception_in_the_closure_changes_nothing(name):
    net, residuals = regression()
    params = list(net.parameters())
    optimizer = made(name, params, max_iter=3)
    closure = closure_for(name, params, residuals)
    optimizer.step(closure)
    before, state, calls = values(net), copy.deepcopy(optimizer.state_dict()), closure.calls

    def failing():
        if closure.calls > calls + 1:
            raise KeyError("enough")
        return closure()

    with pytest.raises(KeyError):
        optimizer.step(failing)
    assert all(np.array_equal(a, b) for a, b in zip(before, values(net)))
    assert str(optimizer.state_dict()) == str(state)


@every_method
def test_trial_points_that_are_not_finite_are_left(name):
    if name.endswith("fixed"):
        pytest.skip("no line search")
    p = tg.tensor([0.05, 0.9], dtype=tg.float64, requires_grad=True)
    optimizer = made(name, [p], max_iter=100)
    for _ in range(3):
        optimizer.step(closure_for(name, [p], lambda: tg.log(p) + tg.tensor([0.5, 2.0])))     # log of what is below 0 is NaN
    np.testing.assert_allclose(p.detach().numpy(), np.exp([-0.5, -2.0]), rtol=1e-3)


def test_a_fixed_step_that_ends_in_nan_is_taken_back():
    p = tg.tensor([0.05], dtype=tg.float64, requires_grad=True)
    optimizer = optim.LBFGS([p], lr=10.0)
    with pytest.raises(DomainError, match="line_search_fn"):
        optimizer.step(closure_for("LBFGS", [p], lambda: -tg.log(p) - 9))
    assert p.item() == 0.05


@every_method
def test_closures_and_hooks(name):
    net, residuals = regression()
    params = list(net.parameters())
    optimizer = made(name, params, max_iter=1)
    with pytest.raises(TypeError, match="optimizer.step\\(closure\\)"):
        optimizer.step()
    with pytest.raises(TypeError, match="return"):
        optimizer.step(lambda: None)
    if METHODS[name][2] != RESIDUAL:
        with pytest.raises((ShapeError, GraphError)):
            optimizer.step(residuals)
    if METHODS[name][2] != BACKWARD:
        def backward():
            r = residuals()
            (r * r).sum().backward()
            return r if METHODS[name][2] == RESIDUAL else (r * r).sum().detach().requires_grad_() * 0 + closed(r)

        def closed(r):
            loss = (r * r).sum()
            loss.backward()
            return loss

        with pytest.raises(GraphError):
            optimizer.step(backward)
    calls = []
    optimizer.register_step_pre_hook(lambda o, args, kwargs: calls.append("pre"))
    optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append("post"))
    with tg.no_grad():
        optimizer.step(closure_for(name, params, residuals))
    assert calls == ["pre", "post"]
    assert type(optimizer).__name__ in repr(optimizer)


@every_method
def test_nothing_to_do_at_a_minimum(name):
    p = tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True)
    optimizer = made(name, [p])
    optimizer.step(closure_for(name, [p], lambda: p - tg.tensor([1.0, 2.0])))
    assert p.tolist() == [1.0, 2.0]
    p.requires_grad_(False)
    if METHODS[name][2] != BACKWARD:
        optimizer.step(closure_for(name, [p], lambda: p * 3))
        assert p.tolist() == [1.0, 2.0]


BAD = [(optim.LBFGS, dict(lr=-1)), (optim.LBFGS, dict(max_iter=0)), (optim.LBFGS, dict(history_size=0)), (optim.LBFGS, dict(max_eval=1.5)),
       (optim.LBFGS, dict(line_search_fn="armijo")), (optim.LBFGS, dict(tolerance_grad=-1)), (optim.LBFGS, dict(tolerance_change=math.nan)),
       (optim.BFGS, dict(line_search_fn="wolf")), (optim.BFGS, dict(c1=0.5, c2=0.1)), (optim.BFGS, dict(c2=1.0)), (optim.BFGS, dict(lr=math.inf)),
       (optim.NonlinearCG, dict(beta="fr")), (optim.NonlinearCG, dict(restart=0)), (optim.NonlinearCG, dict(restart_threshold=0.0)),
       (optim.Newton, dict(hessian="dense")), (optim.Newton, dict(method="line")), (optim.Newton, dict(radius=0.0)),
       (optim.Newton, dict(radius=2.0, max_radius=1.0)), (optim.Newton, dict(max_cg=0)), (optim.GaussNewton, dict(max_iter=2.5)),
       (optim.LevenbergMarquardt, dict(damping=0.0)), (optim.LevenbergMarquardt, dict(scale="none")),
       (optim.CoordinateDescent, dict(order="sorted")), (optim.CoordinateDescent, dict(line_search_fn="newton")),
       (optim.CoordinateDescent, dict(seed=-1))]


@pytest.mark.parametrize("method, options", BAD, ids=[f"{m.__name__}-{o}" for m, o in BAD])
def test_wrong_options_are_refused(method, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        method([nn.Parameter(tg.ones(2))], **options)
