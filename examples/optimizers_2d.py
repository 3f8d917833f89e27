"""Draw how the optimizers walk over surfaces of two numbers: a picture with one panel for each surface and family, and a film.

    python examples/optimizers_2d.py                        # all methods; runs/optimizers_2d/paths.png and paths.gif
    python examples/optimizers_2d.py --no-gif --steps 100
    python examples/optimizers_2d.py --methods SGD momentum Adam --surfaces bowl cliff

Every method walks with the learning rate, of a few, with which it goes the lowest and stays in the picture; on the cliff with its
usual one, to show what a single large gradient does without clipping, and with it.

Needs the `examples` extra: pip install "tinygrad_ed[examples]"
"""
import argparse
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

import numpy as np

import tinygrad_ed as tg
import tinygrad_ed.nn.functional as F
from tinygrad_ed import nn, optim
from tinygrad_ed.errors import DomainError


@dataclass
class Surface:
    """A function of two numbers, where to start on it, which part of it to draw, and its lowest value there."""

    f: Callable[[Any, Any], Any]
    start: tuple[float, float]
    x: tuple[float, float]
    y: tuple[float, float]
    lowest: float
    clip: float | None = None                         # the max_norm that gradients are clipped to
    tuned: bool = True                                # whether each method looks for its learning rate


def beale(x, y):
    """Steep walls around a bent, flat valley; the minimum is at (3, 1/2)."""
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def cliff(x, y):
    """A gentle slope down to the foot of a wall that is thirty times as steep."""
    return y**2 / 8 - x / 2 + F.softplus(30 * (x - 1)) / 2


SURFACES = {
    "bowl": Surface(lambda x, y: x**2 / 20 + y**2, (-7.0, 2.0), (-8, 4), (-2.5, 2.5), 0.0),
    "Beale": Surface(beale, (1.0, 1.5), (-1.5, 4.5), (-2, 2), 0.0),
    "saddle": Surface(lambda x, y: x**2 - y**2 + y**4 / 4, (1.5, 0.01), (-2, 2), (-2, 2), -1.0),
    "plateau": Surface(lambda x, y: 1 - tg.exp(-(x**2 + y**2) / 3), (3.2, 2.4), (-2, 4), (-2, 3.5), 0.0),
    "cliff": Surface(cliff, (-2.5, 1.6), (-6, 2), (-2, 2), -0.42692, tuned=False),
    "cliff, clipped": Surface(cliff, (-2.5, 1.6), (-6, 2), (-2, 2), -0.42692, clip=1.0, tuned=False),
}


@dataclass
class Method:
    """A class of `optim` with its options; which learning rates to try, and the usual one."""

    name: str
    options: dict = field(default_factory=dict)
    usual: float = 0.1
    rates: tuple = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)

    def __call__(self, params, lr):
        return getattr(optim, self.name)(params, lr=lr, **self.options)

    @property
    def needs_graph(self):
        """Whether its closure leaves backward to the optimizer."""
        return self.name == "Newton"


FAMILIES = {
    "the gradient": {
        "SGD": Method("SGD", usual=0.6), "momentum": Method("SGD", {"momentum": 0.9}),
        "Nesterov": Method("SGD", {"momentum": 0.9, "nesterov": True}), "Rprop": Method("Rprop"), "Lion": Method("Lion")},
    "a scale for each number": {
        "Adagrad": Method("Adagrad", usual=0.5), "RMSprop": Method("RMSprop"),
        "Adadelta": Method("Adadelta", usual=30.0, rates=(1.0, 3.0, 10.0, 30.0, 100.0)), "Adam": Method("Adam")},
    "relatives of Adam": {
        "AdamW": Method("AdamW"), "Adamax": Method("Adamax"), "NAdam": Method("NAdam"), "RAdam": Method("RAdam", usual=0.5)},
    "curvature": {
        "conjugate gradients": Method("NonlinearCG", {"max_iter": 1}, 1.0, (1.0,)),
        "L-BFGS": Method("LBFGS", {"max_iter": 1, "max_eval": 20, "line_search_fn": "strong_wolfe"}, 1.0, (1.0,)),
        "Newton": Method("Newton", {"max_iter": 1}, 1.0, (1.0,))},
}


def available(names=None):
    """The families, with the methods that there are, or only those that are asked for."""
    found = {family: {name: method for name, method in methods.items() if hasattr(optim, method.name) and (not names or name in names)}
             for family, methods in FAMILIES.items()}
    return {family: methods for family, methods in found.items() if methods}


# -- walking -----------------------------------------------------------------------------------------------------------

def walk(surface, method, lr, steps):
    """The points of a path, (steps + 1, 2), and the values there; a path that explodes stays where it was last."""
    p = nn.Parameter(tg.tensor(surface.start, dtype=tg.float64))
    optimizer = method([p], lr)
    if surface.clip is not None:
        optim.ClipGradNorm(optimizer, max_norm=surface.clip)
    values = []

    def closure():
        optimizer.zero_grad()
        loss = surface.f(p[0], p[1])
        if not method.needs_graph:
            loss.backward()
        return loss

    points = [surface.start]
    for _ in range(steps):
        try:
            values.append(optimizer.step(closure).item())
        except DomainError:                           # methods with a line search refuse what is not finite
            values.append(math.inf)
        here = p.tolist()
        points.append(here if np.isfinite(here).all() and np.abs(here).max() < 1e3 else points[-1])
    with tg.no_grad():
        values.append(surface.f(p[0], p[1]).item())
    return np.array(points), np.array(values)


def height(surface, values):
    """Values on a logarithmic scale, with the lowest one at the bottom."""
    return np.log10(np.maximum(np.nan_to_num(values, nan=1e12, posinf=1e12) - surface.lowest, 0) + 1e-3)


def best_walk(surface, method, steps):
    """The walk with the learning rate with which it is lowest, on average over the path, and stays in the picture if it can.

    Returns the learning rate and the points.
    """
    rates = method.rates if surface.tuned else (method.usual,)
    walks = [(lr, *walk(surface, method, lr, steps)) for lr in rates]
    lr, points, _ = min(walks, key=lambda w: (leaves(surface, w[1]), height(surface, w[2]).mean()))
    return lr, points


def leaves(surface, points):
    """Whether a path leaves the part of the surface that is drawn."""
    (left, right), (low, high) = surface.x, surface.y
    x, y = points.T
    return bool((x < left).any() or (x > right).any() or (y < low).any() or (y > high).any())


# -- drawing -----------------------------------------------------------------------------------------------------------

def background(axes, surface):
    """The surface in bands of equal height."""
    x, y = (np.linspace(*limits, 200) for limits in (surface.x, surface.y))
    with tg.no_grad():
        z = surface.f(*(tg.tensor(a) for a in np.meshgrid(x, y))).numpy()
    z = np.log10(z - surface.lowest + 0.02 * (np.median(z) - surface.lowest))
    bands = np.digitize(z, np.linspace(z.min(), z.max(), 22))
    axes.imshow(bands, origin="lower", extent=(*surface.x, *surface.y), aspect="auto", cmap="Greys", alpha=0.4, interpolation="bilinear")
    axes.plot(*surface.start, "o", color="black", markersize=4, zorder=3)
    axes.set(xlim=surface.x, ylim=surface.y, xticks=[], yticks=[])


def colors(names):
    """A colour for each method."""
    from matplotlib import colormaps
    palette = [*colormaps["tab10"].colors, *colormaps["Dark2"].colors]
    return {name: palette[i % len(palette)] for i, name in enumerate(names)}


def draw(walks, families, surfaces, path):
    """One panel for each family and surface."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(3.1 * len(surfaces), 2.7 * len(families)), layout="constrained")
    grid = figure.subplots(len(families), len(surfaces), squeeze=False)
    for row, (family, methods) in zip(grid, families.items()):
        color = colors(methods)
        for axes, surface in zip(row, surfaces):
            background(axes, SURFACES[surface])
            for name in methods:
                points = walks[surface, name][1]
                axes.plot(*points.T, ".-", color=color[name], linewidth=1.3, markersize=3, alpha=0.9, label=name)
                axes.plot(*points[-1], "*", color=color[name], markersize=9, markeredgecolor="black", markeredgewidth=0.4, zorder=4)
        row[0].set_ylabel(family, fontsize=12)
        row[-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False)
    for axes, surface in zip(grid[0], surfaces):
        axes.set_title(surface, fontsize=12)
    figure.savefig(path, dpi=110)


def film(walks, families, surfaces, path, steps):
    """All methods on each surface, step by step, as an animated GIF."""
    from matplotlib.animation import PillowWriter
    from matplotlib.figure import Figure
    columns = min(3, len(surfaces))
    figure = Figure(figsize=(3 * columns, 2.6 * math.ceil(len(surfaces) / columns) + 0.6), layout="constrained")
    grid = figure.subplots(math.ceil(len(surfaces) / columns), columns, squeeze=False).ravel()
    names = [name for methods in families.values() for name in methods]
    color = colors(names)
    moving = []
    for axes, surface in zip(grid, surfaces):
        background(axes, SURFACES[surface])
        axes.set_title(surface, fontsize=10)
        for name in names:
            line, = axes.plot([], [], "-", color=color[name], linewidth=1.2, label=name)
            head, = axes.plot([], [], "o", color=color[name], markersize=5, markeredgecolor="black", markeredgewidth=0.4)
            moving.append((line, head, walks[surface, name][1]))
    for axes in grid[len(surfaces):]:
        axes.set_axis_off()
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=8, fontsize=7, frameon=False)
    writer = PillowWriter(fps=12)
    with writer.saving(figure, str(path), dpi=80):
        for step in [*range(steps + 1), *[steps] * 12]:
            for line, head, points in moving:
                line.set_data(*points[max(step - 12, 0):step + 1].T)     # a tail, so that many methods do not become a knot
                head.set_data(*points[step:step + 1].T)
            writer.grab_frame()


def main(argv=None):
    """Walk, draw, and print where each method arrived; returns the walks."""
    names = [name for methods in available().values() for name in methods]
    parser = argparse.ArgumentParser(description="Draw the paths of optimizers on surfaces of two numbers.")
    parser.add_argument("--methods", nargs="+", choices=names, metavar="NAME", help=f"of {', '.join(names)} (default: all)")
    parser.add_argument("--surfaces", nargs="+", choices=list(SURFACES), default=list(SURFACES), metavar="NAME",
                        help=f"of {', '.join(SURFACES)} (default: all)")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--gif", action=argparse.BooleanOptionalAction, default=True, help="also make the film (default: yes)")
    parser.add_argument("--out", metavar="DIR", default="runs/optimizers_2d", help="where the pictures go (default: runs/optimizers_2d)")
    args = parser.parse_args(argv)
    if args.steps < 1:
        parser.error("--steps is at least 1")

    families = available(args.methods)
    walks = {(surface, name): best_walk(SURFACES[surface], method, args.steps)
             for surface in args.surfaces for methods in families.values() for name, method in methods.items()}

    print(f"log10 of the distance to the lowest value after {args.steps} steps (and the learning rate)\n")
    print(f"{'':<20}" + "".join(f"{surface:>20}" for surface in args.surfaces))
    for name in (name for methods in families.values() for name in methods):
        ends = []
        for surface in args.surfaces:
            lr, points = walks[surface, name]
            value = SURFACES[surface].f(*map(tg.tensor, points[-1])).item() - SURFACES[surface].lowest
            ends.append(f"{math.log10(max(value, 1e-16)):>12.1f} ({lr:g})".rjust(20))
        print(f"{name:<20}" + "".join(ends))

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    draw(walks, families, args.surfaces, out / "paths.png")
    if args.gif:
        film(walks, families, args.surfaces, out / "paths.gif", args.steps)
    print(f"\nthe pictures are in {out}/")
    return walks


if __name__ == "__main__":
    main()
