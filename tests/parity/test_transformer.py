"""The Transformer against PyTorch: constructor grid, masks, gradients, state_dict, printed forms, errors."""
import inspect

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import tinygrad_ed as tg  # noqa: E402
from tinygrad_ed import nn  # noqa: E402

L, S, N, E, HEADS, WIDTH = 5, 6, 3, 8, 2, 10
OPTIONS = [{}, {"norm_first": True}, {"activation": "gelu"}, {"batch_first": True, "bias": False},
           {"layer_norm_eps": 0.1, "activation": "gelu", "norm_first": True}]
options_grid = pytest.mark.parametrize("options", OPTIONS, ids=str)
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched", "ignore:enable_nested_tensor", "ignore:The PyTorch API of nested")


def layers(n, kind, **options):
    """An encoder or decoder layer, a stack of two, or both in a Transformer."""
    shape = dict(d_model=E, nhead=HEADS, dim_feedforward=WIDTH, dropout=0.0, **options)
    return {
        "encoder layer": lambda: n.TransformerEncoderLayer(**shape),
        "decoder layer": lambda: n.TransformerDecoderLayer(**shape),
        "encoder": lambda: n.TransformerEncoder(n.TransformerEncoderLayer(**shape), 2, n.LayerNorm(E)),
        "decoder": lambda: n.TransformerDecoder(n.TransformerDecoderLayer(**shape), 2),
        "transformer": lambda: n.Transformer(num_encoder_layers=1, num_decoder_layers=2, **shape),
    }[kind]()


def pair(kind, **options):
    """The same here and there, with the same weights; the state_dict goes both ways."""
    ours, theirs = layers(nn, kind, **options).double(), layers(torch.nn, kind, **options).double()
    assert [(k, tuple(t.shape)) for k, t in ours.state_dict().items()] == [(k, tuple(t.shape)) for k, t in theirs.state_dict().items()]
    with torch.no_grad():
        for p in theirs.parameters():
            p.normal_(std=0.5)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict({k: torch.from_numpy(t.numpy().copy()) for k, t in ours.state_dict().items()})
    return ours, theirs


def compare(ours, theirs, arrays, **given):
    """Values, and gradients of the arrays and all parameters."""
    results = []
    for layer, lib in ((ours, tg), (theirs, torch)):
        xs = [lib.tensor(a, requires_grad=True) for a in arrays]
        y = layer(*xs, **{k: lib.tensor(v) if isinstance(v, np.ndarray) else v for k, v in given.items()})
        (y * lib.tensor(np.random.default_rng(1).normal(size=tuple(y.shape)))).sum().backward()
        results.append([y.detach(), *[t.grad for t in (*xs, *layer.parameters())]])
    for a, b in zip(*results):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-7, atol=1e-9)


def inputs(kind, batched=True, batch_first=False):
    """What a layer takes: for a decoder also the memory."""
    rng = np.random.default_rng(0)
    order = (lambda n: (N, n, E)) if batch_first else (lambda n: (n, N, E))
    one, other = (rng.normal(size=order(n) if batched else (n, E)) for n in (L, S))
    return [one] if "encoder" in kind else [one, other] if "decoder" in kind else [other, one]


KINDS = ["encoder layer", "decoder layer", "encoder", "decoder", "transformer"]


@options_grid
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batched", [True, False])
def test_values_gradients_and_state(kind, options, batched):
    ours, theirs = pair(kind, **options)
    assert repr(ours) == repr(theirs).replace("NonDynamicallyQuantizableLinear", "Linear")
    compare(ours, theirs, inputs(kind, batched, options.get("batch_first", False)))


@pytest.mark.parametrize("dtype", ["bool", "float"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("causal", ["own", "other mask", None])
def test_masks(kind, dtype, causal):
    rng = np.random.default_rng(3)

    def mask(hidden):
        hidden[..., 0] = False
        return hidden if dtype == "bool" else np.where(hidden, -np.inf, 0.0)
    own = mask(np.triu(np.full((L, L), True), 1) if causal == "own" else rng.random((L, L)) < 0.4)
    source, memory = mask(rng.random((S, S)) < 0.4), mask(rng.random((L, S)) < 0.4)
    padding, memory_padding = mask(rng.random((N, L)) < 0.4), mask(rng.random((N, S)) < 0.4)
    given = {
        "encoder layer": {"src_mask": own, "src_key_padding_mask": padding},
        "encoder": {"mask": own, "src_key_padding_mask": padding},
        "transformer": {"src_mask": source, "tgt_mask": own, "memory_mask": memory, "src_key_padding_mask": memory_padding,
                        "tgt_key_padding_mask": padding, "memory_key_padding_mask": memory_padding},
    }.get(kind, {"tgt_mask": own, "memory_mask": memory, "tgt_key_padding_mask": padding, "memory_key_padding_mask": memory_padding})
    if causal is None:
        given = {k: v for k, v in given.items() if "padding" in k}
    compare(*pair(kind), inputs(kind), **given)
    if causal == "own" and kind != "transformer":
        hint = {"is_causal" if "encoder" in kind else "tgt_is_causal": True}
        compare(*pair(kind), inputs(kind), **{k: v for k, v in given.items() if "padding" not in k}, **hint)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_causal_mask(size):
    for dtype in ("float32", "float64"):
        ours = nn.Transformer.generate_square_subsequent_mask(size, dtype=getattr(tg, dtype))
        theirs = torch.nn.Transformer.generate_square_subsequent_mask(size, dtype=getattr(torch, dtype))
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
        assert ours.dtype == dtype


def test_functions_and_modules_as_activations():
    for make in (lambda n, lib: n.functional.silu, lambda n, lib: n.ELU(), lambda n, lib: lib.tanh):
        ours, theirs = (lib.nn.TransformerEncoderLayer(E, HEADS, WIDTH, 0.0, make(lib.nn, lib)).double() for lib in (tg, torch))
        ours.load_state_dict(theirs.state_dict())
        assert repr(ours) == repr(theirs).replace("NonDynamicallyQuantizableLinear", "Linear")
        compare(ours, theirs, inputs("encoder"))


def test_custom_encoder_and_decoder():
    for lib in (tg, torch):
        class Sum(lib.nn.Module):
            def forward(self, tgt, memory, **_):
                return tgt + memory.mean()

        class Same(lib.nn.Module):
            def forward(self, src, **_):
                return src
        y = lib.nn.Transformer(E, HEADS, custom_encoder=Same(), custom_decoder=Sum())(lib.ones(S, N, E), lib.ones(L, N, E))
        assert tuple(y.shape) == (L, N, E) and y[0, 0, 0].item() == 2


@pytest.mark.parametrize("name", ["TransformerEncoderLayer", "TransformerDecoderLayer", "TransformerEncoder", "TransformerDecoder",
                                  "Transformer"])
@pytest.mark.parametrize("method", ["__init__", "forward"])
def test_arguments_are_pytorchs(name, method):
    a, b = (inspect.signature(getattr(getattr(n, name), method)).parameters for n in (nn, torch.nn))
    assert list(a) == list(b)
    assert [p.default for k, p in a.items() if k != "activation"] == [p.default for k, p in b.items() if k != "activation"]


def test_what_pytorch_refuses_is_refused():
    for lib in (tg, torch):
        n, zeros = lib.nn, lib.zeros
        model = n.Transformer(8, 2, 1, 1, 16)
        for act in [lambda: n.TransformerEncoderLayer(8, 3), lambda: n.TransformerEncoderLayer(8, 2, activation="tan"),
                    lambda: model(zeros(5, 2, 8), zeros(5, 3, 8)), lambda: model(zeros(5, 2, 7), zeros(5, 2, 8)),
                    lambda: model(zeros(5, 2, 8), zeros(5, 8)),
                    lambda: model.encoder(zeros(5, 2, 8), mask=zeros(4, 4)), lambda: n.Transformer(8, 3)]:
            with pytest.raises((ValueError, RuntimeError, AssertionError)):
                act()


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_and_float32(kind):
    ours, theirs = layers(nn, kind).eval(), layers(torch.nn, kind).eval()
    ours.load_state_dict(theirs.state_dict())
    xs = [x.astype("float32") for x in inputs(kind)]
    with tg.no_grad(), torch.no_grad():
        y, z = ours(*map(tg.tensor, xs)), theirs(*map(torch.tensor, xs))
    assert y.dtype == "float32"
    np.testing.assert_allclose(y.numpy(), z.numpy(), rtol=1e-4, atol=1e-5)
