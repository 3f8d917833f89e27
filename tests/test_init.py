"""Initialisation: the distributions by their distribution functions, the structured ones by what they promise, and what is refused."""
import math

import numpy as np
import pytest
from scipy import stats

import tinygrad_ed as tg
from tinygrad_ed import nn
from tinygrad_ed.errors import DomainError, DTypeError, InPlaceError, ShapeError

init = nn.init
N1, N2 = 120, 80                                      # inputs and outputs
XAVIER, ONE_SIDED, HE = math.sqrt(2 / (N1 + N2)), math.sqrt(1 / N1), math.sqrt(2 / N1)


def uniform(std):
    return stats.uniform(-math.sqrt(3) * std, 2 * math.sqrt(3) * std)


DISTRIBUTIONS = {
    "uniform_": (lambda t, **g: init.uniform_(t, -2, 5, **g), stats.uniform(-2, 7)),
    "normal_": (lambda t, **g: init.normal_(t, 3, 0.5, **g), stats.norm(3, 0.5)),
    "xavier_uniform_": (init.xavier_uniform_, uniform(XAVIER)),
    "xavier_uniform_ gain": (lambda t, **g: init.xavier_uniform_(t, 5 / 3, **g), uniform(5 / 3 * XAVIER)),
    "xavier_normal_": (init.xavier_normal_, stats.norm(0, XAVIER)),
    "xavier_normal_ gain": (lambda t, **g: init.xavier_normal_(t, 2.0, **g), stats.norm(0, 2 * XAVIER)),
    "xavier_fan_in_normal_": (init.xavier_fan_in_normal_, stats.norm(0, ONE_SIDED)),
    "xavier_fan_in_uniform_": (lambda t, **g: init.xavier_fan_in_uniform_(t, 2.0, **g), uniform(2 * ONE_SIDED)),
    "lecun_normal_": (init.lecun_normal_, stats.norm(0, ONE_SIDED)),
    "lecun_uniform_": (init.lecun_uniform_, uniform(ONE_SIDED)),
    "kaiming_normal_": (lambda t, **g: init.kaiming_normal_(t, nonlinearity="relu", **g), stats.norm(0, HE)),
    "kaiming_normal_ leaky": (lambda t, **g: init.kaiming_normal_(t, a=2, **g), stats.norm(0, math.sqrt(2 / 5 / N1))),
    "kaiming_normal_ fan_out": (lambda t, **g: init.kaiming_normal_(t, mode="fan_out", nonlinearity="tanh", **g),
                                stats.norm(0, 5 / 3 / math.sqrt(N2))),
    "kaiming_uniform_": (lambda t, **g: init.kaiming_uniform_(t, nonlinearity="relu", **g), uniform(HE)),
    "kaiming_uniform_ fan_out": (lambda t, **g: init.kaiming_uniform_(t, mode="fan_out", nonlinearity="selu", **g),
                                 uniform(0.75 / math.sqrt(N2))),
    "trunc_normal_": (init.trunc_normal_, stats.truncnorm(-2, 2)),
    "trunc_normal_ one side": (lambda t, **g: init.trunc_normal_(t, 1, 0.5, 1.5, 9, **g), stats.truncnorm(1, 16, 1, 0.5)),
    "trunc_normal_ far tail": (lambda t, **g: init.trunc_normal_(t, 0, 1, 9, 12, **g), stats.truncnorm(9, 12)),
    "trunc_normal_ other tail": (lambda t, **g: init.trunc_normal_(t, 0, 1, -12, -9, **g), stats.truncnorm(-12, -9)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distributions(name, dtype):
    fill, expected = DISTRIBUTIONS[name]
    t = tg.empty(N2, N1, dtype=dtype)
    assert fill(t, generator=tg.Generator().manual_seed(5)) is t
    values = t.numpy().astype("float64").ravel()
    assert stats.kstest(values, expected.cdf).pvalue > 0.01
    tolerance = 4 * expected.std() / math.sqrt(values.size)
    assert abs(values.mean() - expected.mean()) < tolerance and abs(values.std() / expected.std() - 1) < 0.05
    low, high = expected.support()
    assert values.min() >= low - 1e-6 and values.max() <= high + 1e-6
    if "uniform" in name:
        assert values.max() - values.min() > 0.999 * (high - low)
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.05                     # neighbours have nothing to do with each other


@pytest.mark.parametrize("name", [*DISTRIBUTIONS, "orthogonal_", "sparse_"])
def test_generators(name):
    fill = DISTRIBUTIONS[name][0] if name in DISTRIBUTIONS else getattr(init,
                                                                        name) if name == "orthogonal_" else lambda t, **g: init.sparse_(t,
                                                                                                                                        0.5,
                                                                                                                                        **g)
    a, b, c = (fill(tg.empty(6, 4), generator=tg.Generator().manual_seed(seed)).numpy() for seed in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    tg.manual_seed(1)
    assert np.array_equal(fill(tg.empty(6, 4)).numpy(), a)


def test_fans_count_the_kernel():
    conv = tg.empty(20, 30, 5, 7)
    tg.manual_seed(0)
    assert abs(init.kaiming_normal_(conv, nonlinearity="relu").numpy().std() / math.sqrt(2 / (30 * 35)) - 1) < 0.02
    assert abs(init.kaiming_normal_(conv, mode="fan_out").numpy().std() / math.sqrt(2 / (20 * 35)) - 1) < 0.02
    assert abs(init.xavier_normal_(conv).numpy().std() / math.sqrt(2 / (50 * 35)) - 1) < 0.02


def test_signals_keep_their_variance():
    """Twenty layers of ReLU with He's weights neither blow a signal up nor let it vanish; twice the size does."""
    tg.manual_seed(3)
    for gain, low, high in ((1, 0.2, 5), (2, 1e4, math.inf)):
        x = tg.randn(200, 256)
        for _ in range(20):
            x = (x @ (init.kaiming_normal_(tg.empty(256, 256), nonlinearity="relu") * gain).T).relu()
        assert low < (x * x).mean().item() < high


def test_gains():
    for name, gain in [("linear", 1), ("conv2d", 1), ("sigmoid", 1), ("tanh", 5 / 3), ("relu", math.sqrt(2)), ("selu", 0.75)]:
        assert init.calculate_gain(name) == gain
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / (1 + 0.01 ** 2)) and init.calculate_gain("leaky_relu", 3) == math.sqrt(0.2)


# -- structured ones ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (4, 2, 3), (2, 3, 3, 3), (1, 4)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_orthogonal(shape, dtype):
    tg.manual_seed(1)
    w = init.orthogonal_(tg.empty(*shape, dtype=dtype), gain=2).numpy().astype("float64").reshape(shape[0], -1) / 2
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, np.eye(len(product)), atol=20 * np.finfo(dtype).eps)


def test_orthogonal_matrices_are_uniform():
    """Haar's measure: the trace of an orthogonal matrix has mean 0 and variance 1."""
    tg.manual_seed(2)
    traces = [np.trace(init.orthogonal_(tg.empty(6, 6)).numpy()) for _ in range(800)]
    assert abs(np.mean(traces)) < 0.12 and abs(np.var(traces) - 1) < 0.15


@pytest.mark.parametrize("sparsity", [0, 0.1, 0.55, 1])
def test_sparse(sparsity):
    tg.manual_seed(1)
    w = init.sparse_(tg.empty(40, 200), sparsity, std=3).numpy()
    assert ((w == 0).sum(0) == math.ceil(sparsity * 40)).all()
    if sparsity < 1:
        assert abs(w[w != 0].std() / 3 - 1) < 0.05
        rows = (w != 0).sum(1)
        assert sparsity in (0, 1) or rows.min() > 0   # no row is always left out


@pytest.mark.parametrize("shape, groups", [((4, 4, 3), 1), ((4, 2, 3), 2), ((3, 5, 3, 3), 1), ((6, 2, 4, 3), 3), ((2, 2, 3, 3, 3), 1),
                                           ((6, 2, 3), 2)])
def test_dirac_is_the_identity(shape, groups):
    w = init.dirac_(tg.empty(*shape), groups).numpy()
    out, per_group = shape[0] // groups, shape[1]
    for i in range(shape[0]):
        for j in range(per_group):
            expected = np.zeros(shape[2:])
            if i % out == j:
                expected[tuple(n // 2 for n in shape[2:])] = 1
            np.testing.assert_array_equal(w[i, j], expected)


def test_a_dirac_convolution_passes_its_input_on():
    conv = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False)
    init.dirac_(conv.weight, 2)
    x = tg.randn(1, 4, 5, 5)
    np.testing.assert_allclose(conv(x).detach().numpy(), x.numpy(), rtol=1e-6)


def test_constants():
    p = nn.Parameter(tg.empty(2, 3))
    assert init.constant_(p, 2.5) is p and p.tolist() == [[2.5] * 3] * 2 and p.requires_grad and p.is_leaf
    assert init.ones_(p).sum().item() == 6 and init.zeros_(p).sum().item() == 0
    assert init.eye_(p).tolist() == [[1, 0, 0], [0, 1, 0]]


# -- what is refused ---------------------------------------------------------------------------------------------------

def test_refusals():
    vector, matrix, whole = tg.empty(3), tg.empty(3, 3), tg.zeros(3, 3, dtype=tg.int64)
    for fill in (init.kaiming_uniform_, init.kaiming_normal_, init.xavier_uniform_, init.xavier_normal_, init.xavier_fan_in_normal_,
                 init.lecun_uniform_,
                 init.orthogonal_, init.eye_, init.dirac_, lambda t: init.sparse_(t, 0.5)):
        with pytest.raises(ShapeError):
            fill(vector)
    for fill in (init.uniform_, init.normal_, init.trunc_normal_, init.orthogonal_, lambda t: init.sparse_(t, 0.5), init.kaiming_normal_):
        with pytest.raises(DTypeError):
            fill(whole)
    for act, error in [(lambda: init.kaiming_normal_(matrix, mode="in"), ValueError),
                       (lambda: init.kaiming_normal_(matrix, nonlinearity="swoosh"), ValueError),
                       (lambda: init.trunc_normal_(matrix, std=0), DomainError),
                       (lambda: init.trunc_normal_(matrix, a=2, b=1), DomainError),
                       (lambda: init.sparse_(matrix, 1.5), DomainError), (lambda: init.dirac_(tg.empty(3, 3, 3), 2), ShapeError),
                       (lambda: init.dirac_(matrix), ShapeError), (lambda: init.eye_(tg.empty(1, 1, 1)), ShapeError)]:
        with pytest.raises(error):
            act()
    before = matrix.numpy().copy()
    with pytest.raises(TypeError):
        init.normal_(matrix, generator=3)
    assert np.array_equal(matrix.numpy(), before, equal_nan=True)
    read_only = np.zeros((2, 2))
    read_only.flags.writeable = False
    with pytest.raises(InPlaceError):
        init.ones_(tg.from_numpy(read_only))


def test_empty_tensors():
    for fill in (init.kaiming_uniform_, init.kaiming_normal_, init.orthogonal_, init.uniform_, init.trunc_normal_, init.xavier_normal_):
        assert fill(tg.empty(0, 3)).shape == (0, 3)


def test_initialisation_is_not_recorded_and_marks_the_tensor_as_written():
    w = tg.ones(2, 2, requires_grad=True)
    y = (w * w).sum()
    init.normal_(w)
    assert w.grad_fn is None and w.requires_grad
    with pytest.raises(InPlaceError):
        y.backward()
