"""Deterministic mode: a training step has the same bits for any number of threads, and sums on devices are made in a fixed order."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_ed as tg
from tinygrad_ed import backends, nn, optim
from tinygrad_ed.backend import blas, determinism
from tinygrad_ed.ops.index.positions import spread


@pytest.fixture(autouse=True)
def as_before():
    threads, products = backends.get_num_threads(), blas.get_threads()
    yield
    tg.use_deterministic_algorithms(False)
    backends.set_num_threads(threads)
    blas.set_threads(products or 1)


@pytest.fixture
def mode():
    tg.use_deterministic_algorithms(True, warn_only=True)


# -- the same bits for any number of threads ---------------------------------------------------------------------------

class Last(nn.Module):
    """The last output of a recurrent network, as logits."""

    def __init__(self, rnn):
        super().__init__()
        self.rnn, self.head = rnn, nn.Linear(rnn.hidden_size, 10)

    def forward(self, x):
        return self.head(self.rnn(x)[0][-1])


class Words(nn.Module):
    """A causal transformer over tokens; its last logits."""

    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(50, 64), nn.Linear(64, 10)
        self.layer = nn.TransformerEncoderLayer(64, 4, 256, dropout=0.1, activation="gelu", batch_first=True)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.head(self.layer(self.words(x), src_mask=mask, is_causal=True)[:, -1])


def mlp():
    return nn.Sequential(nn.Linear(784, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 10)), tg.randn(128, 784)


def cnn():
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1),
                         nn.GroupNorm(4, 32), nn.GELU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(32 * 49, 10)), tg.randn(24, 1, 28, 28)


def lstm():
    return Last(nn.LSTM(64, 96)), tg.randn(24, 32, 64)


def gru():
    return Last(nn.GRU(64, 96, num_layers=2)), tg.randn(12, 32, 64)


def transformer():
    return Words(), tg.randint(0, 50, (16, 32))


def trained(build, dtype):
    """The bits of the parameters after three steps."""
    tg.manual_seed(0)
    model, x = build()
    model.to(dtype=dtype)
    x = x.to(dtype) if x.is_floating_point() else x
    t = tg.randint(0, 10, (x.shape[1] if isinstance(model, Last) else len(x),))
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), t).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return b"".join(p.data.tobytes() for p in model.state_dict().values())


@pytest.mark.parametrize("engine", backends.engines())
@pytest.mark.parametrize("build", [mlp, cnn, lstm, gru, transformer])
@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
def test_training_does_not_depend_on_the_number_of_threads(engine, build, dtype, mode):
    with backends.engine(engine):
        results = []
        for n in (1, 2, 3, 4):
            backends.set_num_threads(n)
            results.append(trained(build, dtype))
    assert results[1:] == results[:1] * 3


def test_products_do_not_depend_on_the_number_of_threads(mode):
    a, b = tg.randn(128, 784), tg.randn(784, 512)
    h = tg.randn(200, 200)
    results = []
    for n in (1, 2, 3, 4):
        backends.set_num_threads(n)
        results.append([y.data.tobytes() for y in (a @ b, a.reshape(-1) @ a.reshape(-1), tg.linalg.matrix_exp(h / 50), tg.linalg.inv(h))])
    assert results[1:] == results[:1] * 3


# -- turning it on and off ---------------------------------------------------------------------------------------------

def test_it_is_turned_on_and_off():
    assert tg.are_deterministic_algorithms_enabled() is False
    tg.use_deterministic_algorithms(True, warn_only=True)
    assert tg.are_deterministic_algorithms_enabled() is True
    tg.use_deterministic_algorithms(True, warn_only=True)
    tg.use_deterministic_algorithms(False)
    assert tg.are_deterministic_algorithms_enabled() is False


@pytest.mark.skipif(blas.get_threads() is None, reason="NumPy's BLAS is not OpenBLAS")
def test_products_have_one_thread_and_afterwards_those_asked_for():
    backends.set_num_threads(3)
    tg.use_deterministic_algorithms(True)
    assert blas.get_threads() == 1 and blas._function("get_num_threads", "scipy")() == 1
    tg.use_deterministic_algorithms(True)
    tg.use_deterministic_algorithms(False)
    assert blas.get_threads() == 3
    tg.use_deterministic_algorithms(True)
    backends.set_num_threads(2)
    assert blas.get_threads() == 1
    tg.use_deterministic_algorithms(False)
    tg.use_deterministic_algorithms(False)
    assert blas.get_threads() == 2


def test_a_blas_that_cannot_be_held(monkeypatch):
    monkeypatch.setattr(blas, "_openblas", lambda package: None)
    for name in blas.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RuntimeError, match="start Python with OMP_NUM_THREADS=1 and"):
        tg.use_deterministic_algorithms(True)
    assert not tg.are_deterministic_algorithms_enabled()
    with pytest.warns(UserWarning, match="cannot be set from here"):
        tg.use_deterministic_algorithms(True, warn_only=True)
    assert tg.are_deterministic_algorithms_enabled()
    for name in blas.VARIABLES:
        monkeypatch.setenv(name, "1")
    tg.use_deterministic_algorithms(True)


# -- sums in a fixed order ---------------------------------------------------------------------------------------------

class Elsewhere:
    """An array module that is not NumPy, so that sums are made as on a device; it has no additions in any order."""

    add = None

    def __getattr__(self, name):
        return getattr(np, name)


@given(k=st.integers(0, 40), n=st.integers(1, 6), inner=st.sampled_from([(), (3,), (2, 2)]), seed=st.integers(0, 99), special=st.booleans())
def test_sums_in_order_of_the_index(k, n, inner, seed, special):
    rng = np.random.default_rng(seed)
    index, rows = rng.integers(0, n, k), rng.normal(size=(k, *inner))
    if special and k:
        rows[rng.integers(0, k)] = rng.choice([np.nan, np.inf])
    total = rng.normal(size=(n, *inner))
    expected = total.copy()
    np.add.at(expected, index, rows)
    before = rows.copy()
    determinism.set_enabled(True)
    try:
        with np.errstate(invalid="ignore"):
            determinism.add_at(Elsewhere(), total, index, rows)
    finally:
        determinism.set_enabled(False)
    np.testing.assert_allclose(total, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(rows, before)


def test_devices_sum_in_order(device, mode):
    """The gradients of indexing and of an embedding, and with the mode the same as without but for rounding."""
    index, g = tg.randint(0, 5, (300,)), tg.randn(300, 4)
    table = tg.randn(5, 4)
    expected = spread(g, index, shape=(5, 4), dim=0, count=1)
    got = spread(g.to(device), index.to(device), shape=(5, 4), dim=0, count=1)
    np.testing.assert_allclose(got.cpu().numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)
    w = table.to(device).requires_grad_()
    nn.functional.embedding(index.to(device), w).backward(g.to(device))
    np.testing.assert_allclose(w.grad.cpu().numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)
