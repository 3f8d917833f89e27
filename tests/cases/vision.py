"""Cases of `ops/vision`."""
import numpy as np
from registry import call, case

NUMPYS = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def padded(x, pad, mode="constant", value=None):
    """The definition: cut, then let NumPy pad."""
    pairs = [(0, 0)] * (x.ndim - len(pad) // 2) + [*zip(pad[-2::-2], pad[::-2])]
    cut = tuple(slice(max(-before, 0), n - max(-after, 0)) for n, (before, after) in zip(x.shape, pairs))
    widths = [(max(before, 0), max(after, 0)) for before, after in pairs]
    return np.pad(x[cut], widths or 0, NUMPYS[mode], **({"constant_values": value or 0} if mode == "constant" else {}))


def widths(d, count, low, high):
    return tuple(d.integer(low, high) for _ in range(2 * count))


ONE = np.ones((1, 2, 3))


@case("nn.functional.pad", numpy=padded, analytic=True,
      bad=(call(ONE, (1,)), call(ONE, (1,) * 8), call(ONE, (-2, -2)), call(ONE, (1, 1), mode="mirror"), call(ONE, (1.5, 1))))
def _(d):
    x = d.array(d.shape(max_dims=4, min_side=2))
    options = d.pick([{}, {"value": None}, {"value": 2.5}, {"mode": "constant", "value": -1.0}])
    return call(x, widths(d, d.integer(0, x.ndim), -1, 3), **options)


@case("nn.functional.pad", numpy=padded, analytic=True,
      bad=(call(ONE, (3, 0), mode="reflect"), call(ONE, (4, 0), mode="circular"), call(ONE, (1, 1, 1, 1, 1, 1), mode="reflect"),
           call(ONE, (1, 1), mode="reflect", value=1.0), call(np.ones(3), (1, 1), mode="circular"),
           call(np.ones((1, 2, 3, 4)), (1, 1), mode="replicate"), call(np.ones((1, 1, 0)), (1, 1), mode="replicate")))
def _(d):
    count = d.integer(1, 3)
    x = d.array(tuple(d.integer(1, 3) for _ in range(d.integer(1, 2))) + tuple(d.integer(3, 5) for _ in range(count)))
    return call(x, widths(d, count, 0, 2), mode=d.pick(["reflect", "replicate", "circular"]))


@case("nn.functional.pad")
def _(d):
    mode = d.pick(["reflect", "replicate", "circular"])
    return call(d.array((2, 4, 5)), d.pick([(-1, 2), (2, -1), (-1, -1), (1, 1, -1, 1), (-2, 0, 2, 2)]), mode=mode)


# -- interpolation -----------------------------------------------------------------------------------------------------

MODES = {1: ["nearest", "nearest-exact", "linear", "area"], 2: ["nearest", "nearest-exact", "bilinear", "bicubic", "area"],
         3: ["nearest", "nearest-exact", "trilinear", "area"]}
IMAGE = np.ones((1, 1, 3, 3))


def image(d):
    """A signal, an image or a volume, and its number of spatial dimensions."""
    count = d.integer(1, 3)
    return d.array((d.integer(1, 2), d.integer(1, 2), *[d.integer(1, 5) for _ in range(count)])), count


def corners(d, mode):
    """The options of a mode."""
    return {"align_corners": d.pick([None, False, True])} if mode.endswith(("linear", "cubic")) else {}


@case("nn.functional.interpolate",
      bad=(call(IMAGE), call(IMAGE, 2, 2.0), call(IMAGE, 2, mode="linear"), call(IMAGE[0], 2, mode="bilinear"), call(IMAGE, 2, mode="no"),
           call(IMAGE, 0), call(IMAGE, (2, 2, 2)), call(IMAGE, scale_factor=(2.0,)), call(IMAGE, scale_factor=0.1), call(IMAGE[0, 0], 2),
           call(IMAGE, 2, align_corners=False), call(IMAGE, 2, mode="area", align_corners=True),
           call(IMAGE, 2, recompute_scale_factor=True), call(IMAGE, 2, antialias=True),
           call(IMAGE.astype(np.int64), 2, mode="bilinear"), call(IMAGE[:, :, :0], 2)))
def _(d):
    x, count = image(d)
    mode = d.pick(MODES[count])
    size = d.integer(1, 7) if d.bool() else tuple(d.integer(1, 7) for _ in range(count))
    return call(x, size, mode=mode, **corners(d, mode))


@case("nn.functional.interpolate")
def _(d):
    x, count = image(d)
    mode = d.pick(MODES[count])
    number = lambda: d.pick([1.0, 1.5, 2.0, 2.7, 3.3])
    factor = number() if d.bool() else tuple(number() for _ in range(count))
    return call(x, scale_factor=factor, mode=mode, recompute_scale_factor=d.pick([None, False, True]), **corners(d, mode))


@case("nn.functional.interpolate")
def _(d):
    mode = d.pick(["bilinear", "bicubic"])
    x = d.array((1, d.integer(1, 2), d.integer(2, 7), d.integer(2, 7)))
    return call(x, (d.integer(1, 8), d.integer(2, 8)), mode=mode, antialias=True, **corners(d, mode))


# -- shuffling ---------------------------------------------------------------------------------------------------------

def spread_channels(x, r):
    """The definition of pixel_shuffle, in loops."""
    *batch, c, h, w = x.shape
    y = np.zeros((*batch, c // r**2, h * r, w * r), x.dtype)
    for i in range(r):
        for j in range(r):
            y[..., i::r, j::r] = x[..., r * i + j::r * r, :, :]
    return y


def gather_channels(x, r):
    """The definition of pixel_unshuffle, in loops."""
    *batch, c, h, w = x.shape
    y = np.zeros((*batch, c * r**2, h // r, w // r), x.dtype)
    for i in range(r):
        for j in range(r):
            y[..., r * i + j::r * r, :, :] = x[..., i::r, j::r]
    return y


def dealt(x, groups):
    """The definition of channel_shuffle."""
    return x[:, np.arange(x.shape[1]).reshape(groups, -1).T.reshape(-1)]


@case("nn.functional.pixel_shuffle", numpy=spread_channels, analytic=True,
      bad=(call(np.ones((3, 2, 2)), 2), call(np.ones((4, 4)), 2), call(np.ones((4, 2, 2)), 0)))
def _(d):
    r = d.integer(1, 3)
    return call(d.array((*d.shape(max_dims=2, max_side=2), d.integer(1, 2) * r * r, d.integer(1, 3), d.integer(1, 3))), r)


@case("nn.functional.pixel_unshuffle", numpy=gather_channels, analytic=True,
      bad=(call(np.ones((1, 3, 2)), 2), call(np.ones((1, 2, 3)), 2), call(np.ones((4, 4)), 2), call(np.ones((1, 2, 2)), 0)))
def _(d):
    r = d.integer(1, 3)
    return call(d.array((*d.shape(max_dims=2, max_side=2), d.integer(1, 2), d.integer(1, 2) * r, d.integer(1, 2) * r)), r)


@case("nn.functional.channel_shuffle", numpy=dealt, analytic=True,
      bad=(call(np.ones((1, 3, 2)), 2), call(np.ones((2, 2)), 2), call(np.ones((1, 2, 2)), 0)))
def _(d):
    groups = d.integer(1, 3)
    return call(d.array((d.integer(1, 2), groups * d.integer(1, 3), *d.shape(min_dims=1, max_side=3))), groups)


# -- grids -------------------------------------------------------------------------------------------------------------

@case("nn.functional.affine_grid", bad=(call(np.ones((1, 2, 3)), (1, 1, 2)), call(np.ones((1, 3, 3)), (1, 1, 2, 2)),
                                        call(np.ones((2, 2, 3)), (1, 1, 2, 2)), call(np.ones((1, 2, 3), int), (1, 1, 2, 2))))
def _(d):
    count, n = d.integer(2, 3), d.integer(1, 2)
    return call(d.array((n, count, count + 1)), (n, 1, *[d.integer(2, 3) for _ in range(count)]), align_corners=d.bool())


def away_from_pixels(x, grid, mode, padding_mode, align_corners):
    """How far positions are from where the pixels change that are read: their centres and, with borders, their edges."""
    lengths = np.array(x.shape[:1:-1])
    u = (grid + 1) / 2 * (lengths - 1) if align_corners else ((grid + 1) * lengths - 1) / 2
    return [2 * u - np.round(2 * u)]


PICTURE, POINTS = np.ones((1, 1, 3, 3)), np.zeros((1, 2, 2, 2))


@case("nn.functional.grid_sample", kinks=away_from_pixels,
      bad=(call(PICTURE, POINTS, "cubic"), call(PICTURE, POINTS, padding_mode="circular"), call(PICTURE, np.zeros((1, 2, 2, 3))),
           call(PICTURE, np.zeros((2, 2, 2, 2))), call(PICTURE[0], POINTS), call(PICTURE, POINTS.astype(int)),
           call(np.ones((1, 1, 2, 2, 2)), np.zeros((1, 2, 2, 2, 3)), "bicubic")))
def _(d):
    mode = d.pick(["bilinear", "nearest", "bicubic"])
    count, n = 2 if mode == "bicubic" else d.integer(2, 3), d.integer(1, 2)
    x = d.array((n, d.integer(1, 2), *[d.integer(1, 4) for _ in range(count)]))
    return call(x, d.array((n, *[d.integer(1, 3) for _ in range(count)], count), -1.6, 1.6), mode=mode,
                padding_mode=d.pick(["zeros", "border", "reflection"]), align_corners=d.bool())
