"""Attention layers against PyTorch: constructor grid, masks, gradients, state_dict, errors."""
import inspect

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import tinygrad_ed as tg  # noqa: E402
from tinygrad_ed import nn  # noqa: E402

L, S, N, E, HEADS = 5, 6, 3, 8, 2
OPTIONS = [{}, {"bias": False}, {"batch_first": True}, {"add_bias_kv": True}, {"add_zero_attn": True}, {"kdim": 3, "vdim": 5}, {"vdim": 5},
           {"add_bias_kv": True, "add_zero_attn": True, "batch_first": True, "kdim": 3}]


def pair(*args, **options):
    """The same layer here and there, with the same weights; the state_dict goes both ways."""
    ours, theirs = nn.MultiheadAttention(*args, **options).double(), torch.nn.MultiheadAttention(*args, **options).double()
    assert [(k, tuple(t.shape)) for k, t in ours.state_dict().items()] == [(k, tuple(t.shape)) for k, t in theirs.state_dict().items()]
    with torch.no_grad():
        for p in theirs.parameters():
            p.normal_()
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict({k: torch.from_numpy(t.numpy().copy()) for k, t in ours.state_dict().items()})
    return ours, theirs


def compare(ours, theirs, arrays, same, masks, **options):
    """Values, and gradients of the arrays, of float masks and of all parameters."""
    results = []
    for layer, lib in ((ours, tg), (theirs, torch)):
        def tensor(a, lib=lib):
            return lib.tensor(a, requires_grad=a.dtype.kind == "f")
        xs = [tensor(a) for a in arrays]
        given = {k: tensor(m) for k, m in masks.items()}
        y, weights = layer(*[xs[i] for i in same], **given, **options)
        outputs = [y] + ([] if weights is None else [weights])
        rng = np.random.default_rng(1)
        sum((o * lib.tensor(rng.normal(size=tuple(o.shape)))).sum() for o in outputs).backward()
        leaves = [*xs, *[m for m in given.values() if m.requires_grad], *layer.parameters()]
        results.append([o.detach() for o in outputs] + [leaf.grad for leaf in leaves])
    assert len(results[0]) == len(results[1])
    for a, b in zip(*results):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-8, atol=1e-10)


def inputs(options, batched=True, seed=0):
    """Query, key and value for a layer."""
    rng = np.random.default_rng(seed)
    widths = [E, options.get("kdim", E), options.get("vdim", E)]
    order = (lambda n, w: (N, n, w)) if options.get("batch_first") else (lambda n, w: (n, N, w))
    return [rng.normal(size=order(n, w) if batched else (n, w)) for n, w in zip((L, S, S), widths)]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("wanted", [{"need_weights": False}, {}, {"average_attn_weights": False}], ids=str)
def test_values_gradients_and_state(options, batched, wanted):
    ours, theirs = pair(E, HEADS, **options)
    assert repr(ours) == repr(theirs).replace("NonDynamicallyQuantizableLinear", "Linear")
    compare(ours, theirs, inputs(options, batched), (0, 1, 2), {}, **wanted)
    if not {"kdim", "vdim"} & set(options):
        for same in ((0, 0, 0), (0, 1, 1)):              # products in one where the arguments are the same tensor
            compare(*pair(E, HEADS, **options), inputs(options, batched)[:1 + max(same)], same, {}, **wanted)


@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"add_bias_kv": True}, {"add_zero_attn": True, "add_bias_kv": True}],
                         ids=str)
@pytest.mark.parametrize("attn", [None, "bool", "float", "bool per head", "float per head"])
@pytest.mark.parametrize("padding", [None, "bool", "float"])
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.filterwarnings("ignore:Support for mismatched")
def test_masks(options, attn, padding, batched):
    rng = np.random.default_rng(2)
    masks = {}
    if attn:
        hidden = rng.random((N * HEADS if batched else HEADS, L, S) if "head" in attn else (L, S)) < 0.5
        hidden[..., 0] = False                           # every query sees a key: where none is seen the two ways differ in PyTorch
        masks["attn_mask"] = hidden if "bool" in attn else np.where(hidden, -np.inf, rng.normal(size=hidden.shape))
    if padding:
        hidden = rng.random((N, S) if batched else (S,)) < 0.5
        hidden[..., 0] = False
        masks["key_padding_mask"] = hidden if padding == "bool" else np.where(hidden, -np.inf, rng.normal(size=hidden.shape))
    for need_weights in (False, True):
        compare(*pair(E, HEADS, **options), inputs(options, batched), (0, 1, 2), masks, need_weights=need_weights)


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("padding", [False, True])
@pytest.mark.filterwarnings("ignore:Support for mismatched")
def test_the_causal_hint(need_weights, padding):
    mask = np.triu(np.full((L, L), -np.inf), 1)
    masks = {"key_padding_mask": np.eye(N, L) > 2} if padding else {}
    for m in (mask, np.isinf(mask)):
        ours, theirs = pair(E, HEADS)
        xs = inputs({})[:1]
        y, _ = ours(*[tg.tensor(xs[0])] * 3, need_weights=need_weights, attn_mask=tg.tensor(m), is_causal=True,
                    **{k: tg.tensor(v) for k, v in masks.items()})
        z, _ = theirs(*[torch.tensor(xs[0])] * 3, need_weights=need_weights, attn_mask=torch.tensor(m), is_causal=True,
                      **{k: torch.tensor(v) for k, v in masks.items()})
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-10)


def test_a_query_that_sees_nothing():
    q, k, v = (np.random.default_rng(i).normal(size=(2, n, 4)) for i, n in enumerate((3, 5, 5)))
    mask = np.ones((3, 5), bool)
    mask[1] = False
    for m in (mask, np.where(mask, 0, -np.inf)):
        results = []
        for lib in (tg, torch):
            ts = [lib.tensor(x, requires_grad=True) for x in (q, k, v)]
            y = lib.nn.functional.scaled_dot_product_attention(*ts, lib.tensor(m))
            (y * y).sum().backward()
            results.append([y.detach(), *[t.grad for t in ts]])
        for a, b in zip(*results):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-12)
        assert not results[0][0].numpy()[:, 1].any()


@pytest.mark.parametrize("size", [1.0, 30.0, 1e4])
@pytest.mark.parametrize("masked", [False, True])
def test_large_scores(size, masked):
    rng = np.random.default_rng(3)
    q, k, v = (rng.normal(size=(2, 2, 7, 4)).astype("float32" if size < 100 else "float64") for _ in range(3))
    results = []
    for lib in (tg, torch):
        ts = [lib.tensor(x, requires_grad=True) for x in (q * size, k, v)]
        y = lib.nn.functional.scaled_dot_product_attention(*ts, is_causal=masked)
        y.sum().backward()
        results.append([y.detach(), *[t.grad for t in ts]])
    for a, b in zip(*results):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2e-3, atol=1e-4)


def test_dropout_drops_and_keeps_the_mean():
    ours, theirs = pair(E, HEADS, dropout=0.3)
    x = inputs({})[0]
    y = ours.eval()(*[tg.tensor(x)] * 3)[0]
    np.testing.assert_allclose(y.detach().numpy(), theirs.eval()(*[torch.tensor(x)] * 3)[0].detach().numpy(), rtol=1e-10)
    ours.train()
    for need_weights in (False, True):
        draws = np.stack([ours(*[tg.tensor(x)] * 3, need_weights=need_weights)[0].detach().numpy() for _ in range(400)])
        spread = draws.std(0) / 20
        assert (spread > 0).all() and (np.abs(draws.mean(0) - y.detach().numpy()) < 5 * spread).all()


@pytest.mark.parametrize("path", ["MultiheadAttention.__init__", "MultiheadAttention.forward", "functional.multi_head_attention_forward"])
def test_arguments_are_pytorchs(path):
    mine, his = nn, torch.nn
    for part in path.split("."):
        mine, his = getattr(mine, part), getattr(his, part)
    a, b = inspect.signature(mine).parameters, inspect.signature(his).parameters
    assert [(p.name, p.default) for p in a.values() if p.kind is not p.KEYWORD_ONLY] == [(p.name, p.default) for p in b.values()]


def test_first_parameters_are_distributed_alike():
    for lib in (tg, torch):
        lib.manual_seed(0)
        layer = lib.nn.MultiheadAttention(64, 4, add_bias_kv=True)
        stds = {k: float(p.detach().numpy().std()) for k, p in layer.named_parameters()}
        assert stds["in_proj_bias"] == stds["out_proj.bias"] == 0
        assert abs(stds["in_proj_weight"] / (6 / 256 / 3) ** 0.5 - 1) < 0.05 and abs(stds["out_proj.weight"] * 8 * 3 ** 0.5 - 1) < 0.05
        assert abs(stds["bias_k"] * 8 - 1) < 0.3 and abs(stds["bias_v"] * 8 - 1) < 0.3


def test_what_pytorch_refuses_is_refused():
    for lib in (tg, torch):
        n, attend, zeros = lib.nn, lib.nn.functional.scaled_dot_product_attention, lib.zeros
        layer, x, heads = n.MultiheadAttention(8, 2), zeros(5, 3, 8), zeros(1, 3, 2, 2)
        for act in [
                lambda: n.MultiheadAttention(8, 3), lambda: n.MultiheadAttention(0, 1), lambda: n.MultiheadAttention(8, 0),
                lambda: layer(zeros(5, 3, 7), x, x), lambda: layer(x, zeros(6, 3, 8), x), lambda: layer(x, x[0], x),
                lambda: layer(zeros(8), zeros(8), zeros(8)), lambda: layer(x, x, x, attn_mask=zeros(5, 4)),
                lambda: layer(x, x, x, key_padding_mask=zeros(3, 4, dtype=lib.bool)),
                lambda: layer(x, x, x, attn_mask=zeros(5, 5, dtype=lib.int64)), lambda: layer(x, x, x, is_causal=True),
                lambda: layer(x, x, x, attn_mask=zeros(5, 5, 5)), lambda: layer(x.double(), x.double(), x.double()),
                lambda: attend(x, x, x, zeros(5, 5)), lambda: attend(x, x, x, dropout_p=1.5), lambda: attend(x[0, 0], x, x),
                lambda: attend(x, x, x, zeros(3, 3, dtype=lib.int64)), lambda: attend(x, x, x, zeros(3, 3, dtype=lib.float64)),
                lambda: attend(x, zeros(5, 3, 4), x), lambda: attend(x, zeros(4, 3, 8), zeros(4, 3, 8)),
                lambda: attend(x, x.double(), x.double()), lambda: attend(zeros(1, 4, 2, 2), heads, heads, enable_gqa=True)]:
            with pytest.raises((ValueError, RuntimeError, TypeError, AssertionError)):
                act()
