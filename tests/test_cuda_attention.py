"""What the CUDA kernels of attention promise beside the right numbers, which test_cuda_kernels.py holds against NumPy's: few launches, and no scores."""
import importlib

import numpy as np
import pytest
import standin

import tinygrad_ed as tg
import tinygrad_ed.nn.functional as F
from tinygrad_ed.backend.kernels import cuda, plain


@pytest.fixture
def cp():
    """The stand-in for the module cupy."""
    with standin.installed() as module:
        tg.cuda.init()
        yield module


def drawn(cp, *shape, dtype="float32"):
    return cp.asarray(np.random.default_rng(len(shape)).normal(size=shape).astype(dtype))


def test_one_launch_forward_three_back_and_no_memory_for_scores(cp):
    q, k, v, dy = (drawn(cp, 2, 3, n, 24) for n in (70, 130, 130, 70))
    with standin.counting() as counts:
        y, exps, lse = cuda.attention(q, k, v, None, None, False, 0.2, 1.0)
    assert counts.launches == 1 and exps is None and lse.shape == (2, 3, 70, 1) and not counts.syncs
    assert counts.allocations == 2
    with standin.counting() as counts:
        cuda.attention_backward(dy, q, k, v, None, None, False, 0.2, 1.0, y, exps, lse, (True, True, True, False))
    assert counts.launches == 3 and counts.allocations == 4


def test_heads_are_read_and_written_where_they_lie(cp):
    heads = drawn(cp, 2, 9, 3, 3, 8)                  # batch, positions, q k v, heads, numbers
    q, k, v = (heads[:, :, i].swapaxes(1, 2) for i in range(3))
    with standin.counting() as counts:
        y, exps, lse = cuda.attention(q, k, v, None, None, True, 0.2, 1.0)
        dq, *_ = cuda.attention_backward(y, q, k, v, None, None, True, 0.2, 1.0, y, exps, lse, (True, True, True, False))
    assert counts.launches == 4 and y.swapaxes(1, 2).flags.c_contiguous and dq.swapaxes(1, 2).flags.c_contiguous
    expected, *_ = plain.attention(*(x.get() for x in (q, k, v)), None, None, True, 0.2, 1.0)
    np.testing.assert_allclose(y.get(), expected, atol=1e-5)


@pytest.mark.parametrize("shape, layers", [((1, 1, 9, 70), (0, 1)), ((2, 3, 1, 70), (0, 1, 2)), ((2, 1, 9, 70), (1,))])
@pytest.mark.parametrize("kind", ["bool", "float32"])
def test_masks_that_repeat_are_not_written_out(cp, shape, layers, kind):
    """A mask for all batches, heads or queries is read with steps of 0."""
    q, k = drawn(cp, 2, 3, 9, 8), drawn(cp, 2, 3, 70, 8)
    mask = np.random.default_rng(1).normal(size=shape).astype("float32")
    mask = mask > -0.5 if kind == "bool" else mask
    wide = cp.broadcast_to(cp.asarray(mask), (2, 3, 9, 70))
    with standin.counting() as counts:
        y, exps, lse = cuda.attention(q, k, k, wide, None, False, 0.2, 1.0)
    assert counts.launches <= 2 and counts.allocations <= 3           # at most the mask itself, made contiguous
    mask = np.broadcast_to(mask, wide.shape)
    expected = plain.attention(q.get(), k.get(), k.get(), mask, None, False, 0.2, 1.0)
    np.testing.assert_allclose(y.get(), expected[0], atol=1e-5)
    needs = (True, True, True, kind != "bool")
    grads = cuda.attention_backward(q, q, k, k, wide, None, False, 0.2, 1.0, y, exps, lse, needs)
    for a, b in zip(grads, plain.attention_backward(q.get(), q.get(), k.get(), k.get(), mask, None, False, 0.2, 1.0, *expected, needs)):
        assert a is b is None or np.allclose(a.get(), b, atol=1e-5)


@pytest.mark.parametrize("numbers", [64, 65, 128, 129])
def test_wider_heads_than_the_kernels_take_are_computed_otherwise(cp, numbers):
    q, k, v = (drawn(cp, 1, n, numbers) for n in (5, 7, 7))
    y, exps, _ = cuda.attention(q, k, v, None, None, False, 0.1, 1.0)
    assert (exps is None) == (numbers <= 128)
    np.testing.assert_allclose(y.get(), plain.attention(q.get(), k.get(), v.get(), None, None, False, 0.1, 1.0)[0], atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("cores", [True, False])
@pytest.mark.parametrize("numbers, causal", [(16, False), (40, True), (64, True), (128, False)])
@pytest.mark.parametrize("shift", [0, 1])            # whether rows begin at multiples of 16 bytes
def test_types_of_16_bits_with_and_without_tensor_cores(cp, monkeypatch, dtype, cores, numbers, causal, shift):
    pytest.importorskip("ml_dtypes")
    monkeypatch.setattr(importlib.import_module(cuda.attention.__module__), "_tensor_cores", lambda xp, device: cores)
    arrays = [np.random.default_rng(i).normal(size=(2, n, numbers + shift)).astype(dtype) for i, n in enumerate((75, 75, 130, 130))]
    there, here = [cp.asarray(a)[..., shift:] for a in arrays], [a[..., shift:].astype("float32") for a in arrays]
    options = None, None, causal, 0.1, 1.0
    y, exps, lse = cuda.attention(*there[1:], *options)
    expected = plain.attention(*here[1:], *options)
    assert exps is None and y.dtype == dtype and lse.dtype == "float32"
    needs = (True, True, True, False)
    grads = cuda.attention_backward(*there, *options, y, exps, lse, needs)
    for a, b in zip((y, *grads), (expected[0], *plain.attention_backward(*here, *options, *expected, needs))):
        assert a is b is None or np.abs(a.get().astype("float32") - b).max() < {"float16": 2**-10, "bfloat16": 2**-7}[dtype] * np.abs(b).max()


@pytest.mark.parametrize("size", [1e3, 1e30])
def test_large_scores_do_not_overflow(cp, size):
    q, k = drawn(cp, 2, 5, 8) * np.float32(size), drawn(cp, 2, 150, 8)
    y = cuda.attention(q, k, k, None, None, False, 0.4, 1.0)[0].get()
    np.testing.assert_allclose(y, plain.attention(q.get(), k.get(), k.get(), None, None, False, 0.4, 1.0)[0], atol=1e-5)


@pytest.mark.parametrize("where", ["q", "k", "v"])
def test_what_is_not_a_number_stays_in_its_batch(cp, where):
    arrays = {name: np.random.default_rng(3).normal(size=(2, 70, 8)).astype("float32") for name in "qkv"}
    arrays[where][1, 3, 2] = np.nan
    q, k, v = (cp.asarray(arrays[name]) for name in "qkv")
    out = cuda.attention(q, k, v, None, None, False, 0.4, 1.0)
    expected = plain.attention(*arrays.values(), None, None, False, 0.4, 1.0)[0]
    np.testing.assert_array_equal(np.isnan(out[0].get()), np.isnan(expected))
    grads = [g.get() for g in cuda.attention_backward(q, q, k, v, None, None, False, 0.4, 1.0, *out, (True, True, True, False))[:3]]
    assert np.isnan(grads[0][1]).any() and all(np.isfinite(g[0]).all() for g in grads)


@pytest.mark.parametrize("numbers, large, dtype, bound", [
    (16, 1, "float32", 2e-5), (16, 1, "float16", 4e-3), (16, 1, "bfloat16", 3e-2), (130, 40, "float16", 4e-3), (130, 40, "bfloat16", 3e-2)])
def test_a_layer_and_its_gradients_on_the_device(cp, numbers, large, dtype, bound):
    """Without a conversion where there are kernels; else in float32, or scores of float16 would be infinite."""
    pytest.importorskip("ml_dtypes")
    grads, values = [], [large * np.random.default_rng(i).normal(size=(2, 3, 40, numbers)) for i in range(3)]
    for device in ("cpu", "cuda"):
        q, k, v = (tg.tensor(x, dtype=getattr(tg, dtype), device=device, requires_grad=True) for x in values)
        F.scaled_dot_product_attention(q, k, v)
        with standin.counting() as counts:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        assert device == "cpu" or (counts.launches == 1) == (numbers <= 128)
        (y.float().square().mean() * 100).backward()
        assert all(x.dtype == dtype for x in (y, q.grad, k.grad, v.grad))
        grads.append([x.cpu().float().numpy() for x in (y.detach(), q.grad, k.grad, v.grad)])
    for a, b in zip(*grads):
        assert np.abs(a - b).max() <= bound * np.abs(a).max()
