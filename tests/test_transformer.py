"""The Transformer: its layers by their formulas, what a mask lets through, and the example that learns to add."""
import copy
import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

import tinygrad_ed as tg
import tinygrad_ed.nn.functional as F
from tinygrad_ed import nn
from tinygrad_ed.autograd import gradcheck, gradgradcheck
from tinygrad_ed.errors import ShapeError

SHAPE = dict(d_model=6, nhead=2, dim_feedforward=8, dropout=0.0, dtype=tg.float64)


def random(*shape, seed=0, grad=False):
    return tg.tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=grad)


def close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)


def shaken(module):
    """A module whose parameters are all away from where they begin, norms and biases too."""
    tg.manual_seed(0)
    with tg.no_grad():
        for p in module.parameters():
            p += 0.3 * tg.randn(p.shape, dtype=p.dtype)
    return module


@pytest.mark.parametrize("norm_first", [False, True])
def test_an_encoder_layer_is_its_formula(norm_first):
    layer, x = shaken(nn.TransformerEncoderLayer(**SHAPE, norm_first=norm_first, activation="gelu")), random(5, 2, 6)

    def attention(x):
        return layer.self_attn(x, x, x)[0]

    def network(x):
        return layer.linear2(F.gelu(layer.linear1(x)))
    if norm_first:
        y = x + attention(layer.norm1(x))
        y = y + network(layer.norm2(y))
    else:
        y = layer.norm1(x + attention(x))
        y = layer.norm2(y + network(y))
    close(layer(x), y)


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_decoder_layer_is_its_formula(norm_first):
    layer, x, memory = shaken(nn.TransformerDecoderLayer(**SHAPE, norm_first=norm_first)), random(5, 2, 6), random(4, 2, 6, seed=1)
    steps = [lambda x: layer.self_attn(x, x, x)[0], lambda x: layer.multihead_attn(x, memory, memory)[0],
             lambda x: layer.linear2(F.relu(layer.linear1(x)))]
    y = x
    for norm, step in zip((layer.norm1, layer.norm2, layer.norm3), steps):
        y = y + step(norm(y)) if norm_first else norm(y + step(y))
    close(layer(x, memory), y)


def test_stacks_run_their_layers_in_order():
    encoder = shaken(nn.TransformerEncoder(nn.TransformerEncoderLayer(**SHAPE), 3, nn.LayerNorm(6, dtype=tg.float64)))
    decoder = shaken(nn.TransformerDecoder(nn.TransformerDecoderLayer(**SHAPE), 2))
    model = nn.Transformer(6, 2, custom_encoder=encoder, custom_decoder=decoder)
    src, tgt = random(5, 2, 6), random(4, 2, 6, seed=1)
    memory = src
    for layer in encoder.layers:
        memory = layer(memory)
    memory = encoder.norm(memory)
    y = tgt
    for layer in decoder.layers:
        y = layer(y, memory)
    close(encoder(src), memory)
    close(model(src, tgt), y)
    assert len({id(p) for p in encoder.parameters()}) == len(list(encoder.layers[0].parameters())) * 3 + 2


@pytest.mark.parametrize("mask", ["float", "bool", "hint"])
def test_a_causal_encoder_ignores_the_future(mask):
    encoder, x = shaken(nn.TransformerEncoder(nn.TransformerEncoderLayer(**SHAPE, batch_first=True), 2)), random(2, 5, 6, grad=True)
    causal = nn.Transformer.generate_square_subsequent_mask(5, dtype=tg.float64)
    given = {"float": {"mask": causal}, "bool": {"mask": causal == -math.inf}, "hint": {"mask": causal, "is_causal": True}}[mask]
    y = encoder(x, **given)
    later = x.detach().clone()
    later[:, 3:] = 7.0
    close(encoder(later, **given)[:, :3], y[:, :3])
    assert not np.allclose(encoder(later, **given)[:, 3:].detach().numpy(), y[:, 3:].detach().numpy())
    y[:, 2].sum().backward()
    assert not x.grad[:, 3:].any() and bool((x.grad[:, :3] != 0).all())


def test_a_decoder_sees_its_past_and_all_of_the_memory():
    model = shaken(nn.Transformer(**{**SHAPE, "num_encoder_layers": 1, "num_decoder_layers": 2}))
    src, tgt = random(4, 2, 6, grad=True), random(5, 2, 6, seed=1, grad=True)
    model(src, tgt, tgt_mask=model.generate_square_subsequent_mask(5, dtype=tg.float64))[2].sum().backward()
    assert not tgt.grad[3:].any() and bool((tgt.grad[:3] != 0).all()) and bool((src.grad != 0).all())


def test_positions_are_not_known_without_a_mask():
    encoder, x = shaken(nn.TransformerEncoder(nn.TransformerEncoderLayer(**SHAPE), 2)), random(5, 2, 6)
    order = [3, 0, 4, 2, 1]
    close(encoder(x[order]), encoder(x)[order])
    close(encoder(x[:, :1]), encoder(x)[:, :1])
    close(encoder(x[:, 0]), encoder(x)[:, 0])


def test_two_derivatives():
    layer = shaken(nn.TransformerEncoderLayer(d_model=4, nhead=2, dim_feedforward=3, dropout=0.0, activation=tg.tanh, dtype=tg.float64))
    names = [name for name, _ in layer.named_parameters()]
    parameters = [p.detach().clone().requires_grad_() for p in layer.parameters()]

    def function(x, *values):
        for name, value in zip(names, values):
            *path, last = name.split(".")
            layer.get_submodule(".".join(path))._parameters[last] = value
        return layer(x)
    given = (random(3, 1, 4, grad=True), *parameters)
    assert gradcheck(function, given) and gradgradcheck(function, given, fast_mode=True)


def test_dropout_is_in_training_only():
    layer, x = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.3), tg.ones(5, 2, 6)
    tg.manual_seed(0)
    first, second = layer(x), layer(x)
    tg.manual_seed(0)
    assert tg.equal(layer(x), first) and not tg.equal(first, second)
    layer.eval()
    assert tg.equal(layer(x), layer(x))
    assert {m.p for m in layer.modules() if isinstance(m, nn.Dropout)} == {0.3} == {layer.self_attn.dropout}


def test_copies_are_apart():
    layer = nn.TransformerEncoderLayer(**SHAPE)
    encoder = nn.TransformerEncoder(layer, 2)
    with tg.no_grad():
        encoder.layers[0].linear1.weight.zero_()
    assert layer.linear1.weight.any() and encoder.layers[1].linear1.weight.any()
    twin = copy.deepcopy(encoder)
    twin.load_state_dict(encoder.state_dict())
    close(twin(tg.ones(3, 1, 6, dtype=tg.float64)), encoder(tg.ones(3, 1, 6, dtype=tg.float64)))


def test_weights_begin_as_they_should():
    tg.manual_seed(0)
    model = nn.Transformer(64, 4, 1, 1, 128)
    for p in model.parameters():
        if p.ndim > 1:
            bound = math.sqrt(6 / sum(p.shape))
            assert p.abs().max() <= bound and abs(p.std().item() - bound / math.sqrt(3)) < 0.1 * bound


def test_errors_say_what_was_expected():
    model = nn.Transformer(6, 2, 1, 1, 8)
    with pytest.raises(ShapeError, match=r"d_model=6 takes src and tgt \(steps, sequences, features\) of as many .*\(5, 3, 6\)"):
        model(tg.zeros(5, 2, 6), tg.zeros(5, 3, 6))
    with pytest.raises(ValueError, match='"relu", "gelu" or a function, got \'tan\''):
        nn.TransformerDecoderLayer(6, 2, activation="tan")
    with pytest.raises(ShapeError, match="attn_mask has shape"):
        model.encoder(tg.zeros(5, 2, 6), mask=tg.zeros(4, 4))


# -- the examples ------------------------------------------------------------------------------------------------------

def example(name):
    """A script of the examples as a module."""
    path = Path(__file__).parent.parent / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_transformer_learns_to_add(capsys):
    right = example("tiny_transformer").main(["--digits", "2", "--steps", "600", "--batch-size", "64"])
    out = capsys.readouterr().out
    assert f"{right:.1%} of the unseen sums are right" in out and " + " in out
    assert right >= 0.99
