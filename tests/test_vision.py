"""Padding, interpolation and shuffling: definitions in loops, what every mode keeps, layers, and clear errors."""
import itertools

import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed import nn
from tinygrad_ed.backend.kernels.plain import vision as kernels
from tinygrad_ed.backend.kernels.taps import Taps
from tinygrad_ed.nn import functional as F
from tinygrad_ed.ops.vision.resizing import MODES, _taps

RNG = np.random.default_rng(0)
BY_DIMS = [(mode, n) for mode, dims in MODES.items() for n in dims]


# -- padding -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode, source", [("reflect", lambda i, n: abs(n - 1 - abs(n - 1 - i))),
                                          ("replicate", lambda i, n: min(max(i, 0), n - 1)), ("circular", lambda i, n: i % n)])
def test_every_padded_element_is_a_copy(mode, source):
    x = RNG.normal(size=(2, 3, 4, 5))
    y = F.pad(tg.tensor(x), (4, 3, 0, 2, 2, 1), mode=mode).numpy()
    for (c, k, i, j), value in np.ndenumerate(y):
        assert value == x[c, source(k - 2, 3), source(i, 4), source(j - 4, 5)]


def test_a_constant_stands_around():
    y = F.pad(tg.tensor([[1, 2], [3, 4]]), (1, 0, 0, 2), value=7)
    assert y.tolist() == [[7, 1, 2], [7, 3, 4], [7, 7, 7], [7, 7, 7]] and y.dtype == tg.int64
    assert F.pad(tg.tensor([True]), (1, 1), value=True).tolist() == [True] * 3
    assert F.pad(tg.zeros(1), (1, 0), value=float("-inf")).tolist() == [float("-inf"), 0.0]
    x = tg.ones(2)
    y = F.pad(x, (0, 0))
    y[0] = 5.0
    assert x.tolist() == [1.0, 1.0]                   # a copy even where nothing is added


def test_what_is_taken_away_gets_no_gradient():
    x = tg.ones(4, requires_grad=True)
    F.pad(x, (-1, 2)).backward(tg.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert x.grad.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_padding_says_what_is_wrong():
    x = tg.ones(1, 2, 3)
    for error, words, act in [
            (ValueError, "mirror", lambda: F.pad(x, (1, 1), "mirror")), (ValueError, "no value", lambda: F.pad(x, (1, 1), "reflect", 1.0)),
            (TypeError, "integers", lambda: F.pad(x, (1.5, 1))), (TypeError, "sequence", lambda: F.pad(x, 1)),
            (RuntimeError, "pair", lambda: F.pad(x, (1, 1, 1))), (RuntimeError, "at most 2 of 3", lambda: F.pad(x, (3, 0), "reflect")),
            (RuntimeError, "at most 3 of 3", lambda: F.pad(x, (0, 4), "circular")),
            (RuntimeError, "take .* away", lambda: F.pad(x, (-2, -2))),
            (RuntimeError, "4 dimensions", lambda: F.pad(tg.ones(1, 1, 3, 3), (1, 1), "replicate"))]:
        with pytest.raises(error, match=words):
            act()


# -- interpolation -----------------------------------------------------------------------------------------------------

def options(mode):
    corners = [False, True] if mode.endswith(("linear", "cubic")) else [None]
    filters = [False, True] if mode in ("bilinear", "bicubic") else [False]
    return [{"mode": mode, "align_corners": a, "antialias": f} for a, f in itertools.product(corners, filters)]


@pytest.mark.parametrize("mode, dims", BY_DIMS)
def test_a_constant_stays_and_so_does_the_size(mode, dims):
    x = tg.tensor(RNG.normal(size=(2, 3, *[4, 5, 6][:dims])))
    for given in options(mode):
        flat = F.interpolate(tg.full((1, 1, *[3] * dims), 2.5), 7, **given)
        np.testing.assert_allclose(flat.numpy(), 2.5, rtol=1e-6)
        if mode != "bicubic" or not given["antialias"]:
            np.testing.assert_allclose(F.interpolate(x, x.shape[2:], **given).numpy(), x.numpy(), rtol=1e-12)


def test_bilinear_in_loops():
    x = RNG.normal(size=(4, 5))
    y = F.interpolate(tg.tensor(x[None, None]), (7, 3), mode="bilinear").numpy()[0, 0]
    for i, j in np.ndindex(7, 3):
        u, v = np.clip((i + 0.5) * 4 / 7 - 0.5, 0, 3), np.clip((j + 0.5) * 5 / 3 - 0.5, 0, 4)
        total = sum(x[k, l] * max(1 - abs(u - k), 0) * max(1 - abs(v - l), 0) for k, l in np.ndindex(4, 5))
        assert abs(y[i, j] - total) < 1e-12


def test_corners_stay_where_they_are_aligned():
    x = tg.arange(5.0, dtype=tg.float64).reshape(1, 1, 5)
    np.testing.assert_allclose(F.interpolate(x, 9, mode="linear", align_corners=True).numpy()[0, 0], np.arange(9) / 2)
    cubic = F.interpolate(x.reshape(1, 1, 1, 5), (1, 9), mode="bicubic", align_corners=True).numpy()[0, 0, 0]
    np.testing.assert_allclose(cubic[::2], np.arange(5))
    assert abs(cubic[3] - 1.5) < 1e-12                # halfway between its four neighbours, by symmetry


def test_area_is_the_mean_of_what_is_covered():
    x = RNG.normal(size=(1, 2, 7, 5))
    y = F.interpolate(tg.tensor(x), (3, 2), mode="area").numpy()
    for i, (a, b) in enumerate([(0, 3), (2, 5), (4, 7)]):
        for j, (c, d) in enumerate([(0, 3), (2, 5)]):
            np.testing.assert_allclose(y[:, :, i, j], x[:, :, a:b, c:d].mean((2, 3)))


def test_antialias_leaves_no_pixel_out():
    x = tg.zeros(1, 1, 8, 8, requires_grad=True)
    F.interpolate(x, 2, mode="bilinear", antialias=True).sum().backward()
    assert (x.grad > 0).all()


@pytest.mark.parametrize("n, m", [(1, 5), (5, 1), (3, 8), (8, 3), (40, 100), (100, 40)])
@pytest.mark.parametrize("mode", ["nearest", "linear", "bicubic", "area"])
def test_products_and_sums_of_taps_agree(n, m, mode, monkeypatch):
    """The two ways in which a map is applied, both directions, in one block and in many, against the dense matrix."""
    forward = _taps(mode, n, m, None, False, False, np.dtype("float64"))
    for taps in (forward, forward.transposed):
        x = RNG.normal(size=(5, taps.n, 3))
        expected = np.einsum("ij,ajb->aib", taps.matrix(x.dtype), x)
        for dense, cached in [(32, 2**17), (0, 2**17), (0, 1)]:
            monkeypatch.setattr(kernels, "_DENSE", dense)
            monkeypatch.setattr(kernels, "_CACHED", cached)
            np.testing.assert_allclose(kernels.resample(x, ((1, taps),)), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(forward.transposed.matrix("float64"), forward.matrix("float64").T)
    assert forward.transposed.transposed is forward


def test_taps_may_meet_and_be_missing():
    taps = Taps([[1, 1, 0], [0, 1, 0]], [[0.5, 0.25, 0.0], [0.0, 2.0, 0.0]], 3)
    np.testing.assert_array_equal(taps.matrix("float64"), [[0, 0.75, 0], [0, 2, 0]])
    np.testing.assert_array_equal(kernels.resample(np.eye(2), ((0, taps.transposed),)), [[0, 0], [0.75, 2], [0, 0]])
    np.testing.assert_array_equal(Taps([[0], [0]], [[0.0], [0.0]], 2).transposed.matrix("float64"), np.zeros((2, 2)))


def test_infinities_stay_where_they_are():
    x = tg.zeros(1, 1, 8, 8)
    x[0, 0, 2, 3] = float("inf")
    y = F.interpolate(x, 16, mode="bilinear").numpy()
    far = np.ones((16, 16), bool)
    far[2:8, 4:10] = False
    assert np.isinf(y).any() and (y[0, 0][far] == 0).all()


def test_halves_and_integers():
    x = tg.tensor(RNG.normal(size=(1, 1, 6, 6)).astype("float16"), requires_grad=True)
    y = F.interpolate(x, 9, mode="bicubic")
    y.sum().backward()
    exact = F.interpolate(x.detach().double(), 9, mode="bicubic")
    assert y.dtype == x.grad.dtype == "float16"
    np.testing.assert_allclose(y.detach().numpy(), exact.numpy(), rtol=2e-3, atol=1e-3)
    for dtype in (tg.uint8, tg.int64, tg.bool):
        y = F.interpolate(tg.tensor([[[0, 1]]], dtype=dtype), 4)
        assert y.dtype == dtype and y.tolist() == [[[0, 0, 1, 1]]]


def test_interpolation_says_what_is_wrong():
    x = tg.ones(1, 1, 3, 3)
    for error, words, act in [
            (ValueError, "either size or", lambda: F.interpolate(x)), (ValueError, "got 2 and 2", lambda: F.interpolate(x, 2, 2)),
            (ValueError, '"cubic"', lambda: F.interpolate(x, 2, mode="cubic")),
            (ValueError, r"\(N, C, L\)", lambda: F.interpolate(x, 2, mode="linear")),
            (ValueError, "align_corners", lambda: F.interpolate(x, 2, align_corners=True)),
            (ValueError, "antialias", lambda: F.interpolate(x, 2, antialias=True)),
            (ValueError, "one size", lambda: F.interpolate(x, (2, 2, 2))),
            (ValueError, "at least 1", lambda: F.interpolate(x, scale_factor=0.1)),
            (ValueError, "recompute", lambda: F.interpolate(x, 2, recompute_scale_factor=True)),
            (TypeError, "int64", lambda: F.interpolate(x.long(), 2, mode="bilinear")), (TypeError, "int", lambda: F.interpolate(x, 2.5))]:
        with pytest.raises(error, match=words):
            act()


# -- grids -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_the_identity_grid_reads_the_image(mode, align_corners):
    x = tg.tensor(RNG.normal(size=(2, 3, 4, 5)))
    theta = tg.eye(2, 3, dtype=tg.float64).expand(2, 2, 3)
    grid = F.affine_grid(theta, x.shape, align_corners)
    np.testing.assert_allclose(F.grid_sample(x, grid, mode, "border", align_corners).numpy(), x.numpy(), rtol=1e-12)
    if mode != "nearest":
        half = F.affine_grid(theta, (2, 3, 2, 2), align_corners=True)
        corners = F.grid_sample(x, half, mode, align_corners=True).numpy()
        np.testing.assert_allclose(corners, x.numpy()[:, :, ::3, ::4], rtol=1e-12)


def test_one_pixel_lies_in_the_middle():
    theta = tg.eye(2, 3).unsqueeze(0)
    for align_corners in (False, True):
        assert F.affine_grid(theta, (1, 1, 1, 1), align_corners).tolist() == [[[[0.0, 0.0]]]]


def test_positions_that_are_no_numbers_give_none():
    for padding_mode in ("zeros", "border", "reflection"):
        y = F.grid_sample(tg.ones(1, 1, 2, 2), tg.tensor([[[[float("nan"), 0.0], [0.0, 0.0]]]]), padding_mode=padding_mode)
        assert np.isnan(y.numpy()).tolist() == [[[[True, False]]]]


# -- layers ------------------------------------------------------------------------------------------------------------

def test_shuffling_there_and_back():
    x = tg.tensor(RNG.normal(size=(2, 8, 3, 5)))
    assert tg.equal(nn.PixelUnshuffle(2)(nn.PixelShuffle(2)(x)), x)
    assert tg.equal(nn.ChannelShuffle(4)(nn.ChannelShuffle(2)(x)), x)


def test_upsampling_learns_through():
    """A network with every layer of the family inside, against central differences."""
    net = nn.Sequential(nn.ReflectionPad2d(1), nn.Upsample(scale_factor=1.5, mode="bicubic"), nn.PixelUnshuffle(3), nn.ChannelShuffle(3),
                        nn.UpsamplingBilinear2d(size=(4, 5)), nn.CircularPad2d((1, 0, 0, 2)), nn.PixelShuffle(3), nn.ZeroPad2d(-1),
                        nn.UpsamplingNearest2d(scale_factor=2), nn.ReplicationPad2d(1), nn.ConstantPad2d(1, 0.5))
    x = tg.tensor(RNG.normal(size=(2, 1, 4, 6)), requires_grad=True)
    assert tg.autograd.gradcheck(net, (x,))
    assert not list(net.parameters()) and not net.state_dict()
