"""Recurrent layers against loops over their cells, packed sequences against single ones; the formulas are proven by the registry."""
import copy
import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed import nn
from tinygrad_ed.autograd import gradcheck, gradgradcheck
from tinygrad_ed.errors import DTypeError, InPlaceError, ShapeError
from tinygrad_ed.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpack_sequence,
    unpad_sequence,
)

KINDS = ["RNN", "LSTM", "GRU"]
CELLS = {"RNN": nn.RNNCell, "LSTM": nn.LSTMCell, "GRU": nn.GRUCell}
kinds = pytest.mark.parametrize("kind", KINDS)


def random(*shape, seed=0, grad=False):
    return tg.tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=grad)


def layer_of(kind, *sizes, **options):
    tg.manual_seed(1)
    return getattr(nn, kind)(*sizes, dtype=tg.float64, **options)


def close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)


def states(last):
    """The last states as a tuple, of one tensor or of two."""
    return last if isinstance(last, tuple) else (last,)


def cell_like(layer, suffix):
    """A cell that shares a layer's parameters of one direction."""
    cell = CELLS[layer.mode.split("_")[0]](1, layer.hidden_size)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        setattr(cell, name, getattr(layer, name + suffix))
    cell.input_size = cell.weight_ih.shape[1]
    return cell


def by_cells(layer, x):
    """The layer's result, step by step: the outputs, and the last states."""
    last = []
    for number in range(layer.num_layers):
        directions = []
        for suffix in ("", "_reverse")[:1 + layer.bidirectional]:
            cell, state, outputs = cell_like(layer, f"_l{number}{suffix}"), None, []
            for x_t in (reversed(list(x)) if suffix else x):
                state = cell(x_t, state)
                outputs.append(state[0] if layer.mode == "LSTM" else state)
            directions.append(tg.stack(outputs[::-1] if suffix else outputs))
            last.append(states(state))
        x = tg.cat(directions, 2)
    return x, tuple(tg.stack(s) for s in zip(*last))


# -- layers ------------------------------------------------------------------------------------------------------------

@kinds
@pytest.mark.parametrize("options", [{}, {"num_layers": 3}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True}], ids=str)
def test_a_layer_is_a_loop_over_cells(kind, options):
    layer, x, y = layer_of(kind, 3, 4, **options), random(6, 2, 3, grad=True), random(6, 2, 3, grad=True)
    y, last = layer(x)
    expected, expected_last = by_cells(layer, x)
    w = random(*y.shape, seed=1)
    for a, b in zip([y, *states(last)], [expected, *expected_last]):
        close(a, b)
    wanted = [x, *layer.parameters()]
    for a, b in zip(tg.autograd.grad((y * w).sum() + (states(last)[-1] ** 2).sum(), wanted),
                    tg.autograd.grad((expected * w).sum() + (expected_last[-1] ** 2).sum(), wanted)):
        close(a, b, 1e-10)


@kinds
def test_bidirectional_is_two_layers(kind):
    both, x = layer_of(kind, 3, 4, bidirectional=True), random(5, 2, 3)
    there, back = layer_of(kind, 3, 4), layer_of(kind, 3, 4)
    there.load_state_dict({k: v for k, v in both.state_dict().items() if not k.endswith("reverse")})
    back.load_state_dict({k.removesuffix("_reverse"): v for k, v in both.state_dict().items() if k.endswith("reverse")})
    y, last = both(x)
    (a, last_a), (b, last_b) = there(x), back(x.flip(0))
    close(y, tg.cat([a, b.flip(0)], 2))
    for s, s_a, s_b in zip(states(last), states(last_a), states(last_b)):
        close(s, tg.cat([s_a, s_b]))


@kinds
def test_batch_first_and_one_sequence(kind):
    layer, first = layer_of(kind, 3, 4, num_layers=2), layer_of(kind, 3, 4, num_layers=2, batch_first=True)
    x = random(5, 2, 3)
    (y, last), (y_first, last_first) = layer(x), first(x.transpose(0, 1))
    close(y.transpose(0, 1), y_first)
    for a, b in zip(states(last), states(last_first)):
        close(a, b)
    for k in range(2):
        alone, last_alone = layer(x[:, k])
        close(alone, y[:, k])
        for a, b in zip(states(last), states(last_alone)):
            close(a[:, k], b)


@kinds
def test_a_sequence_can_be_cut_in_two(kind):
    layer, x = layer_of(kind, 3, 4, num_layers=2), random(7, 2, 3)
    whole, last = layer(x)
    front, between = layer(x[:3])
    back, last_back = layer(x[3:], between)
    close(whole, tg.cat([front, back]))
    for a, b in zip(states(last), states(last_back)):
        close(a, b)


def test_projection_multiplies_the_states():
    layer, x = layer_of("LSTM", 3, 4, proj_size=2), random(5, 2, 3)
    y, (h, c) = layer(x)
    assert y.shape == (5, 2, 2) and h.shape == (1, 2, 2) and c.shape == (1, 2, 4)
    state, cell = tg.zeros(2, 2, dtype=tg.float64), tg.zeros(2, 4, dtype=tg.float64)
    for t in range(5):
        i, f, g, o = (x[t] @ layer.weight_ih_l0.T + layer.bias_ih_l0 + state @ layer.weight_hh_l0.T + layer.bias_hh_l0).chunk(4, 1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        state = (o.sigmoid() * cell.tanh()) @ layer.weight_hr_l0.T
        close(y[t], state)
    close(c[0], cell)


@kinds
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "bias": False}], ids=str)
def test_two_derivatives(kind, options):
    layer = layer_of(kind, 2, 3, **options)
    parameters = [p.detach().clone().requires_grad_() for p in layer.parameters()]

    def function(x, *values):
        for name, value in zip(dict(layer.named_parameters()), values):
            layer._parameters[name] = value
        y, last = layer(x)
        return (y, *states(last))
    x = random(3, 2, 2, grad=True)
    assert gradcheck(function, (x, *parameters)) and gradgradcheck(function, (x, *parameters))


@kinds
def test_a_gradient_penalty_can_be_trained(kind):
    layer, x = layer_of(kind, 2, 3), random(4, 2, 2, grad=True)

    def penalty():
        slope, = tg.autograd.grad(layer(x)[0].sum(), x, create_graph=True)
        return (slope ** 2).sum()
    penalty().backward()
    p = layer.weight_hh_l0
    h, direction = 1e-6, random(*p.shape, seed=3)
    values = []
    for sign in (1, -1):
        with tg.no_grad():
            p += sign * h * direction
        values.append(penalty().item())
        with tg.no_grad():
            p -= sign * h * direction
    assert math.isclose((values[0] - values[1]) / (2 * h), (p.grad * direction).sum().item(), rel_tol=1e-6)


@kinds
def test_what_needs_no_gradient_changes_nothing_for_the_rest(kind):
    layer, x = layer_of(kind, 3, 4), random(5, 2, 3, grad=True)
    layer(x)[0].sum().backward()
    every = {"x": x.grad, **{name: p.grad for name, p in layer.named_parameters()}}
    for frozen in every:
        layer.zero_grad()
        y = random(5, 2, 3, grad=frozen != "x")
        for name, p in layer.named_parameters():
            p.requires_grad_(name != frozen)
        layer(y)[0].sum().backward()
        for name, tensor in {"x": y, **dict(layer.named_parameters())}.items():
            if name == frozen:
                assert tensor.grad is None
            else:
                close(tensor.grad, every[name])


def test_dropout_is_between_layers_and_in_training_only():
    layer, x = layer_of("GRU", 3, 4, num_layers=2, dropout=1.0), random(5, 2, 3)
    second = layer_of("GRU", 4, 4)
    second.load_state_dict({k.replace("_l1", "_l0"): v for k, v in layer.state_dict().items() if "_l1" in k})
    close(layer(x)[0], second(tg.zeros(5, 2, 4, dtype=tg.float64))[0])
    plain = layer_of("GRU", 3, 4, num_layers=2)
    plain.load_state_dict(layer.state_dict())
    close(layer(x)[1][0], plain(x)[1][0])                # neither the input nor the first layer's own states are dropped
    close(layer.eval()(x)[0], plain(x)[0])
    half = layer_of("GRU", 3, 40, num_layers=2, dropout=0.5)
    assert not tg.equal(half(x)[0], half(x)[0])


@kinds
def test_saturated_gates_have_finite_gradients(kind):
    for size in (1e3, 1e300):
        layer, x = layer_of(kind, 3, 4), random(5, 2, 3) * size
        x.requires_grad_()
        with tg.no_grad():
            layer.weight_hh_l0 *= 1e3
        y, _ = layer(x)
        y.sum().backward()
        assert bool(y.isfinite().all()) and bool(x.grad.isfinite().all()) and bool((y.abs() <= 1).all())


@kinds
def test_empty_batches_and_single_steps(kind):
    layer = layer_of(kind, 3, 4, bidirectional=True)
    x = random(5, 0, 3, grad=True)
    y, last = layer(x)
    assert y.shape == (5, 0, 8) and states(last)[0].shape == (2, 0, 4)
    y.sum().backward()
    assert x.grad.shape == (5, 0, 3) and not layer.weight_ih_l0.grad.any()
    with pytest.raises(ShapeError, match="at least one step"):
        layer(random(0, 2, 3))
    y, last = layer(random(1, 2, 3))
    close(y[0], tg.cat([*states(last)[0]], 1))


@kinds
def test_writing_into_results_is_right_or_an_error(kind):
    layer, x = layer_of(kind, 3, 4), random(5, 2, 3)
    y, last = layer(x)
    y.sum().backward()
    expected = layer.weight_hh_l0.grad
    layer.zero_grad()
    y, last = layer(x)
    for s in states(last):
        s.detach().zero_()                               # the last states are copies
    y.sum().backward()
    close(layer.weight_hh_l0.grad, expected)
    y, _ = layer(x)
    y += 1                                               # a written output is recorded, and what was needed of it kept or missed
    try:
        layer.zero_grad()
        y.sum().backward()
        close(layer.weight_hh_l0.grad, expected)
    except InPlaceError:
        pass
    y, _ = layer(x)
    with tg.no_grad():
        y.mul_(0)
    with pytest.raises(InPlaceError):
        y.sum().backward()


@kinds
def test_parameters_begin_uniform(kind):
    tg.manual_seed(0)
    layer = getattr(nn, kind)(50, 100)
    for p in layer.parameters():
        values = p.detach().numpy()
        assert np.abs(values).max() <= 0.1 and abs(values.std() - 0.1 / math.sqrt(3)) < 0.005
    assert len(layer.all_weights) == 1 and layer.all_weights[0][0] is layer.weight_ih_l0
    layer.flatten_parameters()
    twin = copy.deepcopy(layer)
    assert tg.equal(twin(tg.ones(2, 1, 50))[0], layer(tg.ones(2, 1, 50))[0]) and twin.weight_ih_l0 is not layer.weight_ih_l0


@kinds
def test_errors_say_what_was_expected(kind):
    layer = getattr(nn, kind)(3, 4, num_layers=2)
    with pytest.raises(ShapeError, match=rf"{kind} with input_size=3 takes \(steps, sequences, 3\) or \(steps, 3\), got shape \(5, 2, 7\)"):
        layer(tg.zeros(5, 2, 7))
    with pytest.raises(ShapeError, match=r"h_0 has shape \(2, 6, 4\) = \(layers·directions, sequences, features\), got \(1, 6, 4\)"):
        state = tg.zeros(1, 6, 4)
        layer(tg.zeros(5, 6, 3), (state, state) if kind == "LSTM" else state)
    with pytest.raises(TypeError, match="as its first state"):
        state = tg.zeros(2, 6, 4)
        layer(tg.zeros(5, 6, 3), state if kind == "LSTM" else (state, state))
    with pytest.raises(DTypeError, match="one dtype"):
        layer(tg.zeros(5, 6, 3, dtype=tg.float64))
    with pytest.raises(ShapeError, match=r"takes an input \(sequences, 3\) or \(3,\), got shape \(2, 5\)"):
        CELLS[kind](3, 4)(tg.zeros(2, 5))


def test_half_precision_is_computed_in_single():
    layer, x = layer_of("GRU", 3, 4).half(), random(5, 2, 3).half()
    expected = layer_of("GRU", 3, 4).half().float()(x.float())[0]
    assert tg.equal(layer(x)[0], expected.half())
    with pytest.raises(DTypeError, match="one dtype"):
        layer_of("GRU", 3, 4)(x)


def test_layers_of_rows_check_their_shapes():
    from tinygrad_ed.ops.recurrent import gru_cell, lstm_layer
    x, w_ih, w_hh = tg.zeros(5, 3), tg.zeros(8, 3), tg.zeros(8, 2)
    assert lstm_layer(x, None, w_ih, w_hh, tg.ones(8), sizes=[2, 2, 1])[0].shape == (5, 2)        # one bias of the two
    close(lstm_layer(x, None, w_ih, w_hh, tg.ones(8), sizes=[5])[0], lstm_layer(x, None, w_ih, w_hh, None, tg.ones(8), sizes=[5])[0])
    for what, act in [("input has shape", lambda: lstm_layer(x, None, w_ih, w_hh, sizes=[2, 2])),
                      ("w_hh has shape", lambda: lstm_layer(x, None, w_ih, tg.zeros(7, 2), sizes=[5])),
                      ("b_ih has shape", lambda: lstm_layer(x, None, w_ih, w_hh, tg.zeros(4), tg.zeros(8), sizes=[5])),
                      ("w_hr has shape", lambda: lstm_layer(x, None, w_ih, w_hh, w_hr=tg.zeros(3, 2), sizes=[5])),
                      ("c has shape", lambda: lstm_layer(x, (tg.zeros(5, 2), tg.zeros(5, 3)), w_ih, w_hh, sizes=[5])),
                      ("at least one step", lambda: lstm_layer(x[:0], None, w_ih, w_hh, sizes=[])),
                      ("h has shape", lambda: gru_cell(x, tg.zeros(4, 2), tg.zeros(6, 3), tg.zeros(6, 2)))]:
        with pytest.raises(ShapeError, match=what):
            act()


# -- packed sequences --------------------------------------------------------------------------------------------------

LENGTHS = [[5, 3, 3, 1], [1, 4, 2], [3, 3], [2]]


@kinds
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=str)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_packed_sequences_are_single_ones(kind, options, lengths):
    layer = layer_of(kind, 3, 4, **options)
    xs = [random(n, 3, seed=k, grad=True) for k, n in enumerate(lengths)]
    first = [random(layer.num_layers * (1 + layer.bidirectional), len(xs), 4, seed=7 + k) for k in range(1 + (kind == "LSTM"))]
    packed, last = layer(pack_sequence(xs, enforce_sorted=False), tuple(first) if kind == "LSTM" else first[0])
    ys = unpack_sequence(packed)
    alone = [layer(x, tuple(s[:, k] for s in first) if kind == "LSTM" else first[0][:, k]) for k, x in enumerate(xs)]
    for k, (y, (expected, expected_last)) in enumerate(zip(ys, alone)):
        close(y, expected)
        for a, b in zip(states(last), states(expected_last)):
            close(a[:, k], b)
    wanted = [*xs, *layer.parameters()]
    together = sum((y ** 2).sum() for y in ys) + sum((s ** 3).sum() for s in states(last))
    single = sum((y ** 2).sum() for y, _ in alone) + sum((s ** 3).sum() for _, l in alone for s in states(l))
    for a, b in zip(tg.autograd.grad(together, wanted), tg.autograd.grad(single, wanted)):
        close(a, b, 1e-10)


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("batch_first", [False, True])
def test_packing_and_padding_undo_each_other(lengths, batch_first):
    xs = [random(n, 2, seed=k) for k, n in enumerate(lengths)]
    padded = pad_sequence(xs, batch_first, padding_value=9.0)
    assert padded.shape[batch_first] == max(lengths) and padded.shape[not batch_first] == len(lengths)
    back, n = pad_packed_sequence(pack_padded_sequence(padded, lengths, batch_first, enforce_sorted=False), batch_first, padding_value=9.0)
    assert tg.equal(back, padded) and n.tolist() == lengths
    for x, a, b in zip(xs, unpad_sequence(padded, n, batch_first), unpack_sequence(pack_sequence(xs, enforce_sorted=False))):
        assert tg.equal(x, a) and tg.equal(x, b)
    left = pad_sequence(xs, True, padding_side="left")
    for x, row in zip(xs, left):
        assert tg.equal(row[-len(x):], x) and not row[:-len(x)].any()


def test_packing_is_differentiable_twice():
    w = random(4, 3, 2, seed=5)

    def function(x):
        packed = pack_padded_sequence(x, [2, 4, 1], enforce_sorted=False)
        return pad_packed_sequence(PackedSequence(packed.data ** 2, *packed[1:]))[0] * w
    x = random(4, 3, 2, grad=True)
    assert gradcheck(function, (x,)) and gradgradcheck(function, (x,))


def test_what_does_not_fit_is_refused():
    x = tg.zeros(3, 2, 4)
    for lengths, what in [([4, 2], r"between 1 and 3 steps, got lengths \[4, 2\]"), ([3, 0], "between 1 and 3"), ([3], "are 2 sequences"),
                          ([2, 3], "enforce_sorted=False")]:
        with pytest.raises(ShapeError, match=what):
            pack_padded_sequence(x, lengths)
    with pytest.raises(ShapeError, match="3 steps, total_length is 2"):
        pad_packed_sequence(pack_padded_sequence(x, [3, 2]), total_length=2)
    with pytest.raises(ShapeError, match="differ in their length only"):
        pad_sequence([tg.zeros(2, 3), tg.zeros(2, 4)])
    with pytest.raises(ValueError, match="padding_side"):
        pad_sequence([tg.zeros(2)], padding_side="top")
    with pytest.raises(ShapeError, match="packed data"):
        nn.GRU(3, 4)(pack_padded_sequence(x, [3, 2]))


# -- the example -------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def example():
    path = Path(__file__).parent.parent / "examples" / "char_rnn.py"
    spec = importlib.util.spec_from_file_location("char_rnn", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_lstm_learns_to_write(example, capsys):
    losses = example.main(["--epochs", "4", "--hidden", "96", "--write", "200"])
    out = capsys.readouterr().out
    assert losses[-1] < 2.3 and losses == sorted(losses, reverse=True)
    assert len(out.split("\n\n", 1)[1].rstrip("\n")) >= 190 and "20,494 characters" in out
    again = example.main(["--epochs", "4", "--hidden", "96", "--write", "1"])
    assert again == losses


def test_without_clipping_gradients_explode(example, capsys):
    clipped, free = (example.main(["--epochs", "1", "--write", "1", *more]) for more in ([], ["--no-clip"]))
    assert clipped[0] < 3.2 and not free[0] < 4
    assert "a gradient has exploded" in capsys.readouterr().out


def test_any_text_will_do(example, tmp_path, capsys):
    (tmp_path / "text").write_text("na " * 400)
    sizes = ["--epochs", "30", "--hidden", "16", "--batch-size", "4", "--layers", "2", "--lr", "2"]
    losses = example.main(["--text", str(tmp_path / "text"), *sizes])
    assert losses[-1] < 0.1 and "na na na na na" in capsys.readouterr().out
