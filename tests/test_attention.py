"""Attention against its definition query by query, its masks and its dropout; the formulas are proven by the registry."""
import math

import numpy as np
import pytest

import tinygrad_ed as tg
import tinygrad_ed.nn.functional as F
from tinygrad_ed import nn
from tinygrad_ed.autograd import gradcheck, gradgradcheck
from tinygrad_ed.backend.kernels.plain import attention as kernel
from tinygrad_ed.errors import DomainError, DTypeError, InPlaceError, ShapeError
from tinygrad_ed.ops import attention as ops


def random(*shape, seed=0, grad=False, dtype="float64"):
    return tg.tensor(np.random.default_rng(seed).normal(size=shape).astype(dtype), requires_grad=grad)


def close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)


def triple(*batch, queries=5, keys=6, width=4, grad=False):
    return (random(*batch, queries, width, seed=1, grad=grad), random(*batch, keys, width, seed=2, grad=grad),
            random(*batch, keys, 3, seed=3, grad=grad))


# -- one head ----------------------------------------------------------------------------------------------------------

def test_every_query_gets_a_weighted_mean_of_the_values():
    q, k, v = triple(2)
    y = F.scaled_dot_product_attention(q, k, v)
    for b in range(2):
        for i in range(5):
            weights = tg.softmax(k[b] @ q[b, i] / 2, 0)
            close(y[b, i], (weights.unsqueeze(1) * v[b]).sum(0))


def test_causal_attention_ignores_the_future():
    q, k, v = (random(2, 6, 4, seed=i, grad=True) for i in range(3))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    later_k, later_v = k.detach().clone(), v.detach().clone()
    later_k[:, 4:], later_v[:, 4:] = 100.0, -50.0
    close(F.scaled_dot_product_attention(q, later_k, later_v, is_causal=True)[:, :4], y[:, :4])
    y[:, 2].sum().backward()
    for x in (k, v):
        assert x.grad[:, :3].abs().sum() > 0 and not x.grad[:, 3:].any()
    assert not q.grad[:, 3:].any() and not q.grad[:, :2].any()


def test_three_ways_to_write_the_causal_mask():
    q, k, v = (random(2, 6, 4, seed=i) for i in range(3))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    close(F.scaled_dot_product_attention(q, k, v, tg.ones(6, 6, dtype=tg.bool).tril()), y)
    close(F.scaled_dot_product_attention(q, k, v, nn.Transformer.generate_square_subsequent_mask(6, dtype=tg.float64)), y)


def test_a_hidden_key_might_as_well_not_be_there():
    q, k, v = triple(2, grad=True)
    mask = tg.ones(5, 6, dtype=tg.bool)
    mask[:, 2] = False
    rest = [0, 1, 3, 4, 5]
    y, expected = F.scaled_dot_product_attention(q, k, v, mask), F.scaled_dot_product_attention(q, k[:, rest], v[:, rest])
    close(y, expected)
    for a, b in zip(tg.autograd.grad((y ** 2).sum(), (q, k, v)), tg.autograd.grad((expected ** 2).sum(), (q, k, v))):
        close(a, b)


def test_the_order_of_the_keys_does_not_matter():
    q, k, v = triple(2)
    order = [3, 1, 5, 0, 2, 4]
    close(F.scaled_dot_product_attention(q, k[:, order], v[:, order]), F.scaled_dot_product_attention(q, k, v))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shift", [0.0, 15.0, 30.0, 500.0, -500.0])
def test_a_constant_added_to_the_scores_changes_nothing(dtype, shift):
    q, k, v = (x.to(getattr(tg, dtype)).requires_grad_() for x in triple(2))
    results = []
    for mask in (tg.zeros(5, 6, dtype=q.dtype), tg.full((5, 6), shift, dtype=q.dtype)):
        y = F.scaled_dot_product_attention(q, k, v, mask)
        results.append([y, *tg.autograd.grad((y * random(*y.shape, dtype=dtype)).sum(), (q, k, v))])
    for a, b in zip(*results):
        close(a, b, 1e-4 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("size", [1.0, 1e2, 1e30])
def test_extreme_scores_are_finite(size):
    for dtype in ("float32", "float64"):
        q, k, v = (x.to(getattr(tg, dtype)) for x in triple(2))
        q = (q * size).requires_grad_()
        y = F.scaled_dot_product_attention(q, k, v)
        y.sum().backward()
        assert bool(y.isfinite().all()) and bool(q.grad.isfinite().all())
        assert y.abs().max() <= v.abs().max()
    small = random(2, 5, 4, grad=True, dtype="float32")
    F.scaled_dot_product_attention(small, small, small).backward(tg.full((2, 5, 4), 1e-30))
    assert small.grad.abs().max() > 1e-33


def test_a_query_that_sees_nothing_gets_zero():
    q, k, v = triple(2, grad=True)
    mask = tg.ones(5, 6, dtype=tg.bool)
    mask[1] = False
    for m in (mask, tg.where(mask, 0.0, -math.inf).double()):
        y = F.scaled_dot_product_attention(q, k, v, m)
        dq, dk, dv = tg.autograd.grad(y.sum(), (q, k, v), create_graph=True)
        assert not y[:, 1].any() and not dq[:, 1].any()
        assert all(bool(x.isfinite().all()) for x in (y, dq, dk, dv))
        (dq ** 2).sum().backward()
        assert bool(q.grad.isfinite().all())
    y = F.scaled_dot_product_attention(q, k[:, :0], v[:, :0])          # there are no keys at all
    assert y.shape == (2, 5, 3) and not y.any()
    y.sum().backward()
    assert F.scaled_dot_product_attention(q[:, :0], k, v).shape == (2, 0, 3)
    assert F.scaled_dot_product_attention(q[:0], k[:0], v[:0]).shape == (0, 5, 3)


def test_nan_is_not_hidden():
    q, k, v = triple(2)
    q[0, 1, 2] = math.nan
    y = F.scaled_dot_product_attention(q, k, v)
    assert bool(y[0, 1].isnan().all()) and bool(y[0, 0].isfinite().all()) and bool(y[1].isfinite().all())


@pytest.mark.parametrize("limit", [1, 30, 60, 200])
@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 3), (1, 2, 3)], ids=str)
def test_parts_of_the_batch_make_up_the_whole(limit, batch, monkeypatch):
    def results():
        q, k, v = triple(*batch, grad=True)
        mask = random(*batch, 5, 6, seed=4, grad=True)
        keep = tg.tensor(np.random.default_rng(5).random((*batch, 5, 6)) < 0.7)
        y = ops._attention(q, k, v, mask, keep, causal=False, scale=0.5, keep_prob=0.7)
        return [y, *tg.autograd.grad((y ** 2).sum(), (q, k, v, mask))]
    whole = results()
    monkeypatch.setitem(kernel.__globals__, "_CACHED", limit)
    for a, b in zip(whole, results()):
        close(a, b)


@pytest.mark.parametrize("batch", [(2, 1, 3), (2, 2, 1, 3), (0, 2, 3), (2, 3, 0)], ids=str)
def test_more_dimensions_than_batch_and_heads(batch):
    """They are as good as one, also of a mask that repeats along some of them, and of arrays whose dimensions lie in another order."""
    q, k, v = (x.mT.contiguous().mT for x in triple(*batch))
    mask = random(batch[-2], 1, 5, 6, seed=4).expand(*batch, 5, 6)

    def results(*shape):
        given = [x.reshape(*shape, *x.shape[-2:]).detach().requires_grad_() for x in (q, k, v, mask)]
        y = F.scaled_dot_product_attention(*given)
        return [y, *tg.autograd.grad((y ** 2).sum(), given)]
    for a, b in zip(results(*batch), results(math.prod(batch[:-1]), batch[-1])):
        assert a.shape[:len(batch)] == batch
        close(a.reshape(b.shape), b)


def test_what_needs_no_gradient_changes_nothing_for_the_rest():
    mask = random(5, 6, seed=9, grad=True)
    full = (*triple(2, grad=True), mask)
    expected = tg.autograd.grad((F.scaled_dot_product_attention(*full) ** 2).sum(), full)
    for k in range(4):
        some = [x if i == k else x.detach() for i, x in enumerate(full)]
        g, = tg.autograd.grad((F.scaled_dot_product_attention(*some) ** 2).sum(), some[k])
        close(g, expected[k])


@pytest.mark.parametrize("p", [0.1, 0.5, 0.93])
def test_dropout_keeps_the_mean_and_repeats_itself(p):
    q, k, v = triple(2, grad=True)
    plain = F.scaled_dot_product_attention(q, k, v)
    tg.manual_seed(3)
    draws = np.stack([F.scaled_dot_product_attention(q, k, v, dropout_p=p).detach().numpy() for _ in range(600)])
    spread = draws.std(0) / math.sqrt(600)
    assert (spread > 0).all() and (np.abs(draws.mean(0) - plain.detach().numpy()) < 5 * spread).all()
    results = []
    for create_graph in (False, True):
        tg.manual_seed(4)
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=p)
        results.append([y, *tg.autograd.grad((y ** 2).sum(), (q, k, v), create_graph=create_graph)])
    for a, b in zip(*results):
        close(a, b, 1e-10)
    y = F.scaled_dot_product_attention(q, k, v, dropout_p=1.0)
    y.sum().backward()
    assert not y.any() and not v.grad.any()


def test_heads_share_keys():
    q, k, v = random(2, 6, 5, 4, seed=1), random(2, 2, 7, 4, seed=2), random(2, 2, 7, 3, seed=3)
    y = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    for head in range(6):
        close(y[:, head], F.scaled_dot_product_attention(q[:, head], k[:, head // 3], v[:, head // 3]))


def test_half_precision_is_computed_in_single():
    q, k, v = (x.half() for x in triple(2))
    y = F.scaled_dot_product_attention(q, k, v, tg.ones(5, 6, dtype=tg.bool))
    assert tg.equal(y, F.scaled_dot_product_attention(q.float(), k.float(), v.float()).half())


def test_writing_into_the_output_is_noticed():
    q, k, v = triple(2, grad=True)
    y = F.scaled_dot_product_attention(q, k, v)
    with tg.no_grad():
        y.zero_()
    with pytest.raises(InPlaceError):
        y.sum().backward()


def test_errors_say_what_was_expected():
    q, k, v = triple(2)
    attend, ones = F.scaled_dot_product_attention, tg.ones(5, 6)
    for error, what, act in [
            (ShapeError, r"takes a query \(\*, L, E\), a key \(\*, S, E\) and a value", lambda: attend(q, k[..., :2], v)),
            (ShapeError, "do not broadcast.*enable_gqa", lambda: attend(q, k[:1].expand(3, 6, 4), v)),
            (ShapeError, r"a mask broadcasts to the scores' shape \(2, 5, 6\), got \(6, 5\)", lambda: attend(q, k, v, ones.T.bool())),
            (ValueError, "attn_mask or is_causal", lambda: attend(q, k, v, ones.bool(), is_causal=True)),
            (DTypeError, "write mask.bool()", lambda: attend(q, k, v, ones.long())),
            (DTypeError, "one dtype", lambda: attend(q, k.float(), v)),
            (DomainError, "dropout_p is a probability", lambda: attend(q, k, v, dropout_p=-0.1)),
            (DTypeError, "floating point", lambda: attend(q.long(), k.long(), v.long()))]:
        with pytest.raises(error, match=what):
            act()


# -- several heads -----------------------------------------------------------------------------------------------------

def test_heads_are_cut_from_the_width():
    tg.manual_seed(0)
    layer, x = nn.MultiheadAttention(6, 3, batch_first=True, dtype=tg.float64), random(2, 5, 6)
    y, weights = layer(x, x, x, average_attn_weights=False)
    q, k, v = (x @ layer.in_proj_weight.T + layer.in_proj_bias).chunk(3, 2)
    heads = []
    for i in range(3):
        part = slice(2 * i, 2 * i + 2)
        p = tg.softmax(q[..., part] @ k[..., part].mT / math.sqrt(2), -1)
        close(weights[:, i], p)
        heads.append(p @ v[..., part])
    close(y, layer.out_proj(tg.cat(heads, 2)))
    close(layer(x, x, x, need_weights=False)[0], y)
    close(layer(x, x, x)[1], weights.mean(1))


@pytest.mark.parametrize("need_weights", [True, False])
def test_two_derivatives(need_weights):
    tg.manual_seed(0)
    layer = nn.MultiheadAttention(4, 2, dtype=tg.float64)
    parameters = [p.detach().clone().requires_grad_() for p in layer.parameters()]

    def function(x, memory, *values):
        for name, value in zip([name for name, _ in layer.named_parameters()], values):
            owner = layer.out_proj if name.startswith("out_proj") else layer
            owner._parameters[name.split(".")[-1]] = value
        y, weights = layer(x, memory, memory, need_weights=need_weights)
        return y if weights is None else (y, weights)
    given = (random(2, 1, 4, grad=True), random(3, 1, 4, seed=1, grad=True), *parameters)
    assert gradcheck(function, given) and gradgradcheck(function, given)


def test_sequences_of_a_batch_do_not_see_each_other():
    layer, x = nn.MultiheadAttention(4, 2, dtype=tg.float64), random(5, 3, 4, grad=True)
    y, _ = layer(x, x, x)
    y[:, 1].sum().backward()
    assert not x.grad[:, 0].any() and not x.grad[:, 2].any() and bool(x.grad[:, 1].any())
    for i in range(3):
        close(layer(x[:, i], x[:, i], x[:, i])[0], y[:, i])


def test_padding_might_as_well_not_be_there():
    layer, x = nn.MultiheadAttention(4, 2, batch_first=True, dtype=tg.float64), random(2, 5, 4)
    padding = tg.tensor([[False, False, False, True, True], [False, False, False, False, True]])
    y, _ = layer(x, x, x, key_padding_mask=padding)
    for i, n in enumerate((3, 4)):
        close(y[i, :n], layer(x[i, :n], x[i, :n], x[i, :n])[0])


def test_layers_refuse_what_does_not_fit():
    layer, x = nn.MultiheadAttention(4, 2), tg.zeros(5, 3, 4)
    for error, what, act in [
            (ValueError, "num_heads divides embed_dim", lambda: nn.MultiheadAttention(4, 3)),
            (ShapeError, r"attn_mask has shape \(5, 5\) or \(6, 5, 5\), got \(4, 5\)", lambda: layer(x, x, x, attn_mask=tg.zeros(4, 5))),
            (ShapeError, r"key_padding_mask has shape \(3, 5\), got \(5, 3\)", lambda: layer(x, x, x, key_padding_mask=tg.zeros(5, 3))),
            (ShapeError, "embed_dim=4: got query", lambda: layer(x, tg.zeros(5, 3, 2), tg.zeros(5, 3, 2))),
            (ValueError, "generate_square_subsequent_mask", lambda: layer(x, x, x, is_causal=True)),
            (DTypeError, "key_padding_mask has booleans", lambda: layer(x, x, x, key_padding_mask=tg.zeros(3, 5, dtype=tg.int64)))]:
        with pytest.raises(error, match=what):
            act()
