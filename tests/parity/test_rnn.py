"""Recurrent layers, cells and packed sequences against PyTorch: values, gradients, state_dict, printed forms, errors."""
import inspect
import warnings

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import tinygrad_ed as tg  # noqa: E402
from tinygrad_ed import nn  # noqa: E402

STEPS, BATCH, INPUTS, HIDDEN = 5, 3, 4, 6

# every argument of every layer, and their combinations where they meet
LAYERS = {
    **{f"{name} {options}": (name, options) for name in ("RNN", "LSTM", "GRU") for options in (
        {}, {"num_layers": 2}, {"bias": False}, {"bidirectional": True}, {"num_layers": 3, "bidirectional": True}, {"batch_first": True},
        {"num_layers": 2, "bidirectional": True, "batch_first": True, "bias": False})},
    **{f"RNN {options}": ("RNN", options) for options in (
        {"nonlinearity": "relu"}, {"nonlinearity": "relu", "bidirectional": True, "num_layers": 2})},
    **{f"LSTM {options}": ("LSTM", options) for options in (
        {"proj_size": 2}, {"proj_size": 2, "num_layers": 2, "bidirectional": True}, {"proj_size": 3, "bias": False, "batch_first": True})},
}
layers = pytest.mark.parametrize("name, options", LAYERS.values(), ids=LAYERS)


def pair(name, *args, **options):
    """The same layer here and there, with the same weights; the state_dict goes both ways."""
    ours, theirs = getattr(nn, name)(*args, **options).double(), getattr(torch.nn, name)(*args, **options).double()
    assert [(k, tuple(t.shape)) for k, t in ours.state_dict().items()] == [(k, tuple(t.shape)) for k, t in theirs.state_dict().items()]
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict({k: torch.from_numpy(t.numpy().copy()) for k, t in ours.state_dict().items()})
    return ours, theirs


def flat(result):
    """The tensors in a result, in order; of packed sequences the data."""
    if isinstance(result, (nn.utils.rnn.PackedSequence, torch.nn.utils.rnn.PackedSequence)):
        return [result.data]
    return [t for part in result for t in flat(part)] if isinstance(result, (tuple, list)) else [result]


def compare(ours, theirs, call, arrays, seed=0):
    """Values of call(layer, tensors, lib), and the gradients of the arrays and of all parameters."""
    rng = np.random.default_rng(seed)
    mine = [tg.tensor(a, requires_grad=True) for a in arrays]
    his = [torch.tensor(a, requires_grad=True) for a in arrays]
    ys, zs = flat(call(ours, mine, tg)), flat(call(theirs, his, torch))
    assert len(ys) == len(zs)
    for y, z in zip(ys, zs):
        assert y.shape == tuple(z.shape)
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-12)
    ws = [rng.normal(size=y.shape) for y in ys]
    sum((y * tg.tensor(w)).sum() for y, w in zip(ys, ws)).backward()
    sum((z * torch.tensor(w)).sum() for z, w in zip(zs, ws)).backward()
    for (k, p), q in zip([*enumerate(mine), *ours.named_parameters()], [*his, *theirs.parameters()]):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-8, atol=1e-10, err_msg=str(k))


def first_states(name, options, rng, batch=(BATCH,)):
    """Random first states of a layer: one, or two for an LSTM."""
    rows = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    widths = [options.get("proj_size", 0) or HIDDEN, HIDDEN][:1 + (name == "LSTM")]
    return [rng.normal(size=(rows, *batch, width)) for width in widths]


def with_states(layer, x, states):
    """The layer's result from a list of states."""
    return layer(x, tuple(states) if len(states) > 1 else states[0])


@layers
def test_layers(name, options):
    rng = np.random.default_rng(0)
    ours, theirs = pair(name, INPUTS, HIDDEN, **options)
    assert repr(ours) == repr(theirs)
    x = rng.normal(size=(BATCH, STEPS, INPUTS) if options.get("batch_first") else (STEPS, BATCH, INPUTS))
    compare(ours, theirs, lambda layer, xs, lib: layer(xs[0]), [x])
    compare(*pair(name, INPUTS, HIDDEN, **options), lambda layer, xs, lib: with_states(layer, xs[0], xs[1:]),
            [x, *first_states(name, options, rng)])


@layers
def test_one_sequence_without_its_dimension(name, options):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(STEPS, INPUTS))
    compare(*pair(name, INPUTS, HIDDEN, **options), lambda layer, xs, lib: layer(xs[0]), [x])
    compare(*pair(name, INPUTS, HIDDEN, **options), lambda layer, xs, lib: with_states(layer, xs[0], xs[1:]),
            [x, *first_states(name, options, rng, ())])


@layers
@pytest.mark.parametrize("lengths", [[5, 3, 1], [2, 5, 4], [4, 4, 4]], ids=str)
def test_packed_sequences(name, options, lengths):
    rng = np.random.default_rng(2)
    first = bool(options.get("batch_first"))
    x = rng.normal(size=(BATCH, STEPS, INPUTS) if first else (STEPS, BATCH, INPUTS))

    def call(layer, xs, lib):
        rnn = lib.nn.utils.rnn
        packed = rnn.pack_padded_sequence(xs[0], lib.tensor(lengths), batch_first=first, enforce_sorted=lengths[0] == 5)
        y, last = with_states(layer, packed, xs[1:]) if xs[1:] else layer(packed)
        return rnn.pad_packed_sequence(y, batch_first=first, padding_value=-1.0)[0], y, last
    compare(*pair(name, INPUTS, HIDDEN, **options), call, [x])
    compare(*pair(name, INPUTS, HIDDEN, **options), call, [x, *first_states(name, options, rng)])


@pytest.mark.parametrize("name, options", [("RNNCell", {}), ("RNNCell", {"nonlinearity": "relu"}), ("RNNCell", {"bias": False}),
                                           ("LSTMCell", {}), ("LSTMCell", {"bias": False}), ("GRUCell", {}), ("GRUCell", {"bias": False})])
@pytest.mark.parametrize("batch", [(BATCH,), (1,), ()], ids=str)
def test_cells(name, options, batch):
    rng = np.random.default_rng(3)
    ours, theirs = pair(name, INPUTS, HIDDEN, **options)
    assert repr(ours) == repr(theirs)
    x, states = rng.normal(size=(*batch, INPUTS)), [rng.normal(size=(*batch, HIDDEN)) for _ in range(1 + (name == "LSTMCell"))]
    compare(ours, theirs, lambda cell, xs, lib: with_states(cell, xs[0], xs[1:]), [x, *states])
    ours, theirs = pair(name, INPUTS, HIDDEN, **options)
    for y, z in zip(flat(ours(tg.tensor(x))), flat(theirs(torch.tensor(x)))):
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_float32_and_float16(name):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(STEPS, BATCH, INPUTS))
    for dtype, tolerance in (("float32", 2e-6), ("float16", 4e-3)):
        ours, theirs = pair(name, INPUTS, HIDDEN, bidirectional=True)
        ours = ours.to(getattr(tg, dtype))
        t = tg.tensor(x.astype(dtype), requires_grad=True)
        y = ours(t)[0]
        y.sum().backward()
        assert y.dtype == t.grad.dtype == ours.weight_hh_l0.grad.dtype == dtype
        np.testing.assert_allclose(y.detach().numpy(), theirs(torch.tensor(x))[0].detach().numpy(), atol=tolerance)


def test_eval_leaves_dropout_out_and_training_does_not():
    ours, theirs = pair("LSTM", INPUTS, HIDDEN, num_layers=3, dropout=0.5)
    x = np.random.default_rng(5).normal(size=(STEPS, BATCH, INPUTS))
    y = ours.eval()(tg.tensor(x))[0]
    np.testing.assert_allclose(y.detach().numpy(), theirs.eval()(torch.tensor(x))[0].detach().numpy(), rtol=1e-12)
    ours.train()
    tg.manual_seed(0)
    a, b = ours(tg.tensor(x))[0], ours(tg.tensor(x))[0]
    assert not tg.equal(a, y) and not tg.equal(a, b)
    tg.manual_seed(0)
    assert tg.equal(a, ours(tg.tensor(x))[0])
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("name", ["RNNBase", "LSTM", "GRU", "RNN", "RNNCell", "LSTMCell", "GRUCell", "RNNCellBase"])
def test_arguments_are_pytorchs(name):
    mine, his = (list(inspect.signature(getattr(lib, name).__init__).parameters.values()) for lib in (nn, torch.nn))
    if his[1].kind is inspect.Parameter.VAR_POSITIONAL:           # they pass them on
        his = list(inspect.signature(torch.nn.RNNBase.__init__).parameters.values())
        his = [p for p in his if p.name != "mode" and (name == "LSTM" or p.name != "proj_size")]
        mine = [p for p in mine if p.name != "nonlinearity"]
    assert [(p.name, p.default) for p in mine] == [(p.name, p.default) for p in his]
    positions = [1, 2, 2, "relu", False] if name == "RNN" else None
    if positions:
        assert repr(nn.RNN(*positions)) == repr(torch.nn.RNN(*positions)) and nn.RNN(*positions).nonlinearity == "relu"


def test_public_names():
    for name in torch.nn.utils.rnn.__all__:
        mine, his = getattr(nn.utils.rnn, name), getattr(torch.nn.utils.rnn, name)
        if inspect.isfunction(his):
            assert [(p.name, p.default) for p in inspect.signature(mine).parameters.values()] == \
                   [(p.name, p.default) for p in inspect.signature(his).parameters.values()]
    assert nn.utils.rnn.PackedSequence._fields == torch.nn.utils.rnn.PackedSequence._fields


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("shape", [(), (2,), (2, 3)], ids=str)
@pytest.mark.parametrize("enforce_sorted", [False, True])
def test_packing_and_padding(batch_first, shape, enforce_sorted):
    rng = np.random.default_rng(6)
    lengths = [4, 2, 1] if enforce_sorted else [2, 4, 1]
    arrays = [rng.normal(size=(n, *shape)) for n in lengths]
    results = []
    for lib in (tg, torch):
        rnn = lib.nn.utils.rnn
        sequences = [lib.tensor(a, requires_grad=True) for a in arrays]
        padded = rnn.pad_sequence(sequences, batch_first, padding_value=7.0)
        left = rnn.pad_sequence(sequences, batch_first, padding_side="left")
        packed = rnn.pack_padded_sequence(padded, lib.tensor(lengths), batch_first, enforce_sorted)
        again = rnn.pack_sequence(sequences, enforce_sorted)
        back, n = rnn.pad_packed_sequence(packed, batch_first, padding_value=3.0, total_length=6)
        listed, cut = rnn.unpack_sequence(packed), rnn.unpad_sequence(padded.clone(), lib.tensor(lengths), batch_first)
        w = lib.tensor(np.random.default_rng(7).normal(size=tuple(back.shape)))
        ((back * w).sum() + (left * left).sum()).backward()
        indices = [i for i in (packed.sorted_indices, packed.unsorted_indices) if i is not None]
        results.append([padded, left, packed.data, packed.batch_sizes, again.data, back, n, *indices, *listed, *cut,
                        *[s.grad for s in sequences]])
    assert len(results[0]) == len(results[1])
    for a, b in zip(*results):
        assert str(a.dtype) == str(b.dtype).removeprefix("torch.")
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_packed_sequences_are_converted():
    for lib in (tg, torch):
        packed = lib.nn.utils.rnn.pack_sequence([lib.tensor([1.5, 2.0]), lib.tensor([3.0])])
        assert packed.double().data.dtype == lib.float64 and packed.float() is packed and packed.cpu() is packed
        assert packed.to(lib.float16).data.dtype == lib.float16 and packed.long().data.tolist() == [1, 3, 2]
        assert packed.half().int().data.dtype == lib.int32 and not packed.is_cuda
        data, sizes, _, _ = packed
        again = lib.nn.utils.rnn.PackedSequence(data, sizes, lib.tensor([1, 0]))
        assert again.unsorted_indices.tolist() == [1, 0] and lib.nn.utils.rnn.PackedSequence((data, sizes)).data is data


def test_what_pytorch_refuses_is_refused():
    for lib in (tg, torch):
        n, rnn, zeros = lib.nn, lib.nn.utils.rnn, lib.zeros
        x, state = zeros(3, 2, 4), zeros(1, 2, 6)
        lstm, gru = n.LSTM(4, 6), n.GRU(4, 6, 2, bidirectional=True)
        packed = rnn.pack_padded_sequence(zeros(3, 2, 5), [3, 2])
        for act in [
                lambda: n.LSTM(4, 0), lambda: n.GRU(4, 5, 0), lambda: n.RNN(4, 5, dropout=2), lambda: n.RNN(4, 5, dropout=True),
                lambda: n.LSTM(4, 5, proj_size=5), lambda: n.LSTM(4, 5, proj_size=-1), lambda: n.GRU(4, 5, proj_size=2),
                lambda: n.RNN(4, 5, nonlinearity="sigmoid"), lambda: n.RNNBase("XYZ", 4, 5), lambda: n.LSTM(4, 5.0),
                lambda: lstm(zeros(3, 2, 5)), lambda: lstm(zeros(4)), lambda: lstm(zeros(3, 2, 4, 1)), lambda: lstm(zeros(0, 2, 4)),
                lambda: lstm(x, (state, zeros(1, 3, 6))), lambda: lstm(x, (zeros(2, 2, 6), state)), lambda: lstm(x[:, 0], (state, state)),
                lambda: gru(x, zeros(4, 6)), lambda: gru(x, zeros(2, 2, 6)), lambda: gru(x[:, 0], zeros(4, 1, 6)),
                lambda: lstm(packed), lambda: lstm(x.double()), lambda: n.LSTMCell(4, 6)(zeros(2, 5)),
                lambda: n.GRUCell(4, 6)(zeros(2, 4), zeros(3, 6)), lambda: n.RNNCell(4, 6)(zeros(2, 3, 4)),
                lambda: rnn.pack_padded_sequence(zeros(3, 2, 4), [2, 3]), lambda: rnn.pack_padded_sequence(zeros(3, 2, 4), [3, 0]),
                lambda: rnn.pack_padded_sequence(zeros(3, 2, 4), [3]),
                lambda: rnn.pack_sequence([zeros(2), zeros(3)]), lambda: rnn.pad_packed_sequence(packed, total_length=2),
                lambda: rnn.pad_sequence([zeros(2, 3), zeros(2, 4)]), lambda: rnn.pad_sequence([zeros(2)], padding_side="top")]:
            with pytest.raises((ValueError, RuntimeError, TypeError)):
                act()


def test_dropout_with_one_layer_is_warned_about():
    for lib in (tg, torch):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            lib.nn.LSTM(2, 2, dropout=0.5)
        assert any("dropout" in str(w.message) for w in caught)
        assert lib is torch or caught[0].filename == __file__
