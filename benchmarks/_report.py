"""What the suite says of its rows: which targets are met, the tables, and the chart."""
from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Sequence

from _common import table

OURS, REFERENCE = "tinygrad_ed", "torch"
PEERS = (REFERENCE, "jax", "mygrad", "autograd", "tinygrad")
GEOMETRIC_MEAN = 0.70     # the target of all training rows together


def geometric_mean(values: Sequence[float]) -> float:
    """exp(mean(log x)); NaN of none."""
    return math.exp(statistics.fmean(map(math.log, values))) if values else float("nan")


def judge(rows: list[dict]) -> None:
    """Say of every row whether its target is met; inference's target is the training ratio, growth's is 1."""
    trained = {row["key"]: row["frameworks"][REFERENCE]["ratio"] for row in rows if row["mode"] == "train" and REFERENCE in row["frameworks"]}
    for row in rows:
        reached = row["frameworks"].get(REFERENCE, {}).get("ratio")
        if row["mode"] == "infer":
            row["target"] = trained.get(row["key"].removeprefix("i-"))
        elif "growth" in row:
            row["target"], reached = 1.0, row["growth"][OURS]
        row["met"] = None if reached is None or row["target"] is None else reached <= row["target"]


def report(rows: list[dict], notes: list[str]) -> str:
    """Tables of times, of growth and of memory, the verdicts, and the notes."""
    names = [name for name in (OURS, *PEERS) if any(name in row["frameworks"] for row in rows)]
    yes = {True: "yes", False: "no", None: ""}
    get = lambda row, name, field: "" if (x := row["frameworks"].get(name, {}).get(field)) is None else x
    times, growth, memory = [], [], []
    for row in rows:
        head, torch = {"": row["key"], "workload": row["workload"]}, row["frameworks"].get(REFERENCE)
        ratio = {"ratio": torch["ratio"], "quartiles": f"{torch['ratio q1']:.2f}–{torch['ratio q3']:.2f}"} if torch else {}
        verdict = {"target": "" if row["target"] is None else row["target"], "met": yes[row["met"]]}
        if "growth" in row:
            growth.append({**head, **{f"{name} ms": get(row, name, "ms") for name in names if name in (OURS, REFERENCE)}, **ratio,
                           **{f"growth, {name}": x for name, x in row["growth"].items()}, **verdict})
        else:
            times.append({**head, **{f"{name} ms": get(row, name, "ms") for name in names},
                          **(ratio or {"ratio": "", "quartiles": ""} if REFERENCE in names else {}), **verdict})
            memory.append({**head, **{f"{name} MB": get(row, name, "peak MB") for name in names},
                           **{f"steps, {name}": get(row, name, "working MB") for name in names if name in (OURS, REFERENCE)}})
    compiling = " and ".join(title for name, title in (("jax", "JAX"), ("tinygrad", "tinygrad")) if name in names)
    parts = ["Median milliseconds, and the ratio to PyTorch eager." + (f" {compiling} with the whole step compiled (jit)." if compiling else "")
             + "\n\n" + table(times)] if times else []
    parts += ["Time at k times the batch; growth is time / (k · time at 1×).\n\n" + table(growth)] if growth else []
    parts += ["Peak resident megabytes of the process, and of these what the steps add.\n\n" + table(memory)] if memory else []
    return "\n\n".join([*parts, "\n".join(f"- {line}" for line in [*verdicts(rows), *notes])])


def verdicts(rows: list[dict]) -> list[str]:
    """The geometric mean, memory, and the peers that are ahead."""
    lines = []
    trained = [row for row in rows if row["mode"] == "train" and "growth" not in row and REFERENCE in row["frameworks"]]
    if trained:
        mean = geometric_mean([row["frameworks"][REFERENCE]["ratio"] for row in trained])
        lines.append(f"geometric mean of the ratio over {', '.join(row['key'] for row in trained)}: {mean:.3f} (target {GEOMETRIC_MEAN:.2f}: "
                     f"{'met' if mean <= GEOMETRIC_MEAN else 'not met'})")
    for field, title in (("peak MB", "of the process"), ("working MB", "of the steps")):
        pairs = [(row["key"] if row["times"] == 1 else f"{row['key']} {row['times']}×", *(row["frameworks"][name][field] for name in
                  (OURS, REFERENCE))) for row in rows if REFERENCE in row["frameworks"] and row["frameworks"][OURS][field] is not None]
        above = [f"{key} ({ours:.0f} to {theirs:.0f})" for key, ours, theirs in pairs if ours > theirs + 0.5]      # pages, not memory
        if pairs:
            lines.append(f"peak memory {title}, MB, above PyTorch's: {', '.join(above) or 'nowhere'}")
    ahead = [f"{name} in {row['key']} by {figures['ratio']:.2f}" for row in rows for name, figures in row["frameworks"].items()
             if name not in (OURS, REFERENCE) and figures["ratio"] > 1]
    return [*lines, f"other peers ahead of tinygrad_ed: {', '.join(ahead) or 'none'}"]


def chart(rows: list[dict], path: Path) -> bool:
    """Ratios to PyTorch as bars with their targets, the peers as points, and the growth; False without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    bars = [row for row in rows if "growth" not in row and REFERENCE in row["frameworks"]][::-1]
    grown = [row for row in rows if "growth" in row]
    if not bars and not grown:
        return False
    figure, axes = plt.subplots(1, bool(bars) + bool(grown), squeeze=False, constrained_layout=True,
                                figsize=(9 * bool(bars) + 5 * bool(grown), max(4, 0.42 * len(bars) + 1.6)),
                                width_ratios=[9] * bool(bars) + [5] * bool(grown))
    panels = list(axes[0])
    if bars:
        axis, places = panels.pop(0), range(len(bars))
        torch = [row["frameworks"][REFERENCE] for row in bars]
        colors = ["#8a8f98" if row["met"] is None else "#2f7d4f" if row["met"] else "#c9752d" for row in bars]
        axis.barh(places, [t["ratio"] - 1 for t in torch], left=1, color=colors, height=0.62, zorder=2)
        axis.hlines(places, [t["ratio q1"] for t in torch], [t["ratio q3"] for t in torch], color="black", lw=1.2, zorder=3)
        marks = [(row["target"], y) for row, y in zip(bars, places) if row["target"] is not None]
        if marks:
            axis.scatter(*zip(*marks), marker="|", s=190, color="black", lw=2, zorder=4, label="target")
        for name, marker in zip(PEERS[1:], "osD^"):
            points = [(row["frameworks"][name]["ms"] / row["frameworks"][REFERENCE]["ms"], y) for row, y in zip(bars, places)
                      if name in row["frameworks"]]
            if points:
                axis.scatter(*zip(*points), marker=marker, s=26, zorder=5, label=name, edgecolor="white", lw=0.5)
        axis.axvline(1, color="black", lw=1, zorder=3)
        axis.set(xscale="log", xlabel="time / PyTorch eager's time", title="tinygrad_ed (bars, green where the target is met) and peers",
                 yticks=places, yticklabels=[f"{row['key']}  {row['workload']}"[:64] for row in bars])
        axis.set_xticks([x for k in range(-3, 3) for x in (10.0**k, 2 * 10.0**k, 5 * 10.0**k) if axis.get_xlim()[0] <= x <= axis.get_xlim()[1]])
        axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        axis.minorticks_off()
        axis.grid(axis="x", color="#dddddd", zorder=0)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.09 if len(bars) > 8 else -0.16), ncols=5, fontsize=8, frameon=False)
    for axis in panels:
        for key in dict.fromkeys(row["key"] for row in grown):
            mine = [row for row in grown if row["key"] == key]
            for name, style in ((OURS, "o-"), (REFERENCE, "s--")):
                points = [(row["times"], row["growth"][name]) for row in mine if name in row["growth"]]
                if points:
                    axis.plot(*zip(*points), style, ms=4, label=f"{key.removeprefix('j-')}, {name}",
                              color=f"C{list(dict.fromkeys(r['key'] for r in grown)).index(key)}")
        axis.axhline(1, color="black", lw=0.8)
        axis.set(xscale="log", xticks=[1, 2, 4, 8], xticklabels=["1×", "2×", "4×", "8×"], xlabel="work", ylabel="time / work, relative to 1×",
                 ylim=(0, None))
        axis.minorticks_off()
        axis.grid(color="#dddddd")
        axis.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True
