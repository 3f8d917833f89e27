"""The suite `benchmarks/run.py`: its statistics, what it refuses, what it reports, and that every workload runs."""
import json
import math
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import _report as report  # noqa: E402
import run  # noqa: E402
import workloads  # noqa: E402
from workloads import peers, torch_style  # noqa: E402

OPTIONS = Namespace(repeat=5, threads=None, engine=None, tiny=True)
PEERS = ("jax", "mygrad", "autograd", "tinygrad")


class Stub:
    """A worker whose losses and times are given: seconds[framework] for one times the batch."""

    losses = {"tinygrad_ed": [2.0, 1.5], "torch": [2.0, 1.5]}
    seconds_of = {"tinygrad_ed": [9.0, 1.0, 2.0, 3.0, 4.0, 5.0], "torch": [9.0, 2.0, 2.0, 2.0, 2.0, 2.0]}

    def __init__(self, job, framework, options):
        self.times, self.turns = job.times, iter(self.seconds_of[framework])
        self.facts = {"losses": self.losses[framework], "peak": 50.0, "working": 5.0}

    def seconds(self, kind):
        return self.times * next(self.turns)

    def close(self):
        pass


def test_statistics():
    assert run.quartiles([50, 1, 4, 2, 3]) == (2, 3, 4) and run.quartiles([7.0]) == (7, 7, 7)
    assert run.ratios([1.0, 4.0], [2.0, 1.0]) == [0.5, 4.0]
    assert report.geometric_mean([0.25, 1, 4]) == pytest.approx(1) and report.geometric_mean([0.5]) == pytest.approx(0.5)
    assert math.isnan(report.geometric_mean([]))


@pytest.mark.parametrize("theirs, agree", [([2.0, 1.5], True), ([2.0001, 1.5], True), ([2.0, 1.501], False), ([2.0], False),
                                           ([2.0, math.nan], False), ([2.0, -1.5], False)])
def test_losses_agree_to_one_part_in_ten_thousand(theirs, agree):
    said = run.disagreement({"tinygrad_ed": [2.0, 1.5], "torch": [2.0, 1.5], "jax": theirs})
    assert (said == "") is agree and ("torch" not in said)
    assert agree or (said.startswith("jax") and str(theirs) in said and "[2.0, 1.5]" in said)


def test_a_row_whose_losses_disagree_is_refused(monkeypatch):
    monkeypatch.setattr(run, "Worker", Stub)
    job = run.Job("b", "an MLP", "b", target=0.5)
    rows, notes = run.measure([job], ["tinygrad_ed", "torch"], OPTIONS)
    assert len(rows) == 1 and not notes
    monkeypatch.setattr(Stub, "losses", {"tinygrad_ed": [2.0, 1.5], "torch": [2.0, 1.4]})
    rows, (note,) = run.measure([job], ["tinygrad_ed", "torch"], OPTIONS)
    assert rows == [] and note.startswith("b: refused, the losses differ: torch [2.0, 1.4]")


def test_a_row_holds_medians_quartiles_and_ratios_of_neighbours(monkeypatch):
    monkeypatch.setattr(run, "Worker", Stub)
    (row,), _ = run.measure([run.Job("b", "an MLP", "b", target=0.5)], ["tinygrad_ed", "torch"], OPTIONS)
    ours, torch = row["frameworks"]["tinygrad_ed"], row["frameworks"]["torch"]
    assert (ours["q1"], ours["ms"], ours["q3"]) == (2000, 3000, 4000)                 # the first turn warmed up
    assert (torch["ratio q1"], torch["ratio"], torch["ratio q3"]) == (1.0, 1.5, 2.0)
    assert ours["peak MB"] == 50 and ours["working MB"] == 5


def test_growth_is_time_over_work(monkeypatch):
    monkeypatch.setattr(run, "Worker", Stub)
    jobs = [run.Job("j-c", f"c at {k}×", "c", times=k) for k in (1, 2, 4, 8)]
    rows, _ = run.measure(jobs, ["tinygrad_ed", "torch", "mygrad"], OPTIONS)
    assert [row["growth"] for row in rows] == [{"tinygrad_ed": 1.0, "torch": 1.0}] * 4
    rows[3]["growth"]["tinygrad_ed"] = 1.01
    report.judge(rows)
    assert [row["met"] for row in rows] == [True, True, True, False]


def row(key, mode, ratio, target=None):
    figures = {"ms": 1.0, "q1": 1.0, "q3": 1.0, "peak MB": 40.0, "working MB": 3.0}
    torch = {**figures, "ratio": ratio, "ratio q1": ratio, "ratio q3": ratio, "peak MB": 300.0, "working MB": 1.0}
    return {"key": key, "workload": f"workload {key}", "mode": mode, "times": 1, "target": target,
            "frameworks": {"tinygrad_ed": figures, "torch": torch, "jax": {**torch, "ratio": 2.5}}}


def test_what_a_row_is_judged_by():
    rows = [row("c", "train", 0.5, 0.5), row("d", "train", 1.28, 0.95), row("i-c", "infer", 0.51), row("i-d", "infer", 1.2),
            row("i-e", "infer", 0.1), row("k", "first", 0.1, 0.15)]
    report.judge(rows)
    assert [r["met"] for r in rows] == [True, False, False, True, None, True] and [r["target"] for r in rows[2:5]] == [0.5, 1.28, None]


def test_the_report_says_targets_the_mean_memory_and_who_is_ahead():
    rows = [row("c", "train", 0.5, 0.5), row("d", "train", 1.28, 0.95)]
    report.judge(rows)
    text = report.report(rows, ["d: no mygrad, it is broken"])
    assert text.startswith("Median milliseconds, and the ratio to PyTorch eager. JAX with the whole step compiled (jit).\n\n|")
    assert "geometric mean of the ratio over c, d: 0.800 (target 0.70: not met)" in text
    assert "peak memory of the process, MB, above PyTorch's: nowhere" in text
    assert "peak memory of the steps, MB, above PyTorch's: c (3 to 1), d (3 to 1)" in text
    assert "ahead of tinygrad_ed: jax in c by 2.50, jax in d by 2.50" in text and "- d: no mygrad, it is broken" in text
    cells = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    assert ["", "c", "workload c", "1", "1", "1", "0.5", "0.50–0.50", "0.5", "yes", ""] in cells
    assert ["", "d", "workload d", "1", "1", "1", "1.28", "1.28–1.28", "0.95", "no", ""] in cells


def test_the_chart(tmp_path):
    pytest.importorskip("matplotlib")
    rows = [row("c", "train", 0.5, 0.5), {**row("j-c", "train", 0.5), "growth": {"tinygrad_ed": 1.0, "torch": 1.0}}]
    report.judge(rows)
    assert report.chart(rows, tmp_path / "deep" / "suite.png") and (tmp_path / "deep" / "suite.png").read_bytes().startswith(b"\x89PNG")


def test_rows_are_chosen_by_key():
    groups = run.jobs()
    keys = lambda only: [group[0].key for group in run.wanted(groups, only)]
    assert keys("") == ["a", "b", "c", "d", "e", "f-lstm", "f-gru", "g", "h", "i-c", "i-d", "i-e", "i-f-lstm", "i-f-gru", "i-g",
                        "j-c", "j-d", "j-g", "k"]
    assert keys("f, i-d,k") == ["f-lstm", "f-gru", "i-d", "k"] and keys("j") == ["j-c", "j-d", "j-g"]
    with pytest.raises(ValueError, match="no workload z; there are a, b"):
        keys("a,z")
    targets = {job.key: job.target for group in groups for job in group if job.target}
    assert targets == {"a": 0.40, "b": 0.45, "c": 0.50, "d": 0.95, "e": 1.1, "f-lstm": 1.0, "f-gru": 0.6, "g": 0.95, "h": 0.95, "k": 0.15}


@pytest.mark.parametrize("arguments, message", [(["--repeat", "0"], "at least 1"), (["--peers", "keras"], "not keras"),
                                                (["--only", "z"], "no workload z")])
def test_wrong_use_is_explained(arguments, message, capsys):
    with pytest.raises(SystemExit):
        run.main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("key", list(workloads.WORKLOADS))
def test_every_workload_learns_and_infers(key):
    problem = workloads.problem(key, tiny=True)
    if key == "a":
        assert np.isfinite(np.asarray(workloads.prepare("tinygrad_ed", problem)())).all()
        return
    step = workloads.prepare("tinygrad_ed", problem, dropout=False)
    losses = [float(step()) for _ in range(8)]
    assert losses == sorted(losses, reverse=True)
    before = {name: w.copy() for name, w in problem.weights.items()}
    infer = workloads.prepare("tinygrad_ed", problem, "infer")
    assert not infer().requires_grad and np.array_equal(infer().numpy(), infer().numpy())
    assert all(np.array_equal(before[name], w) for name, w in problem.weights.items())     # the next framework starts from the same


@pytest.mark.parametrize("key", [key for key in workloads.WORKLOADS if key != "a"])
def test_the_weights_are_all_of_the_model_s(key):
    import tinygrad_ed as tg
    for tiny in (True, False):
        problem = workloads.problem(key, tiny=tiny)
        model = torch_style.MODELS[problem.workload.model](tg, **{"dropout": 0, **problem.size})
        assert {name: tuple(p.shape) for name, p in model.named_parameters()} == {name: w.shape for name, w in problem.weights.items()}


def test_more_work_is_a_larger_batch_of_the_same_model():
    one, four = workloads.problem("d", tiny=True), workloads.problem("d", 4, tiny=True)
    assert len(four.inputs) == 4 * len(one.inputs) == len(four.targets) and four.size["batch"] == 4 * one.size["batch"]
    assert {k: w.shape for k, w in one.weights.items()} == {k: w.shape for k, w in four.weights.items()}
    assert workloads.WORKLOADS["d"].size["batch"] == 64


@pytest.mark.parametrize("framework", PEERS)
def test_peers_agree(framework, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("DEV", "CPU")
    pytest.importorskip(framework)
    if framework == "tinygrad" and peers.clang() is None:
        pytest.skip("no clang")
    for key in workloads.WORKLOADS:
        for mode in workloads.MODES[:1 if key == "a" else 2]:
            problem = workloads.problem(key, tiny=True)
            try:
                theirs = workloads.prepare(framework, problem, mode, dropout=False)
            except NotImplementedError:
                continue
            ours = workloads.prepare("tinygrad_ed", problem, mode, dropout=False)
            for _ in range(3):
                np.testing.assert_allclose(np.asarray(theirs()), ours().numpy(), rtol=1e-4, atol=1e-4, err_msg=f"{key} {mode}")


def test_the_whole_way(tmp_path, capsys):
    rows = run.main(["--tiny", "--repeat", "1", "--only", "b,k", "--peers", "", "--threads", "1", "--json", str(tmp_path / "s.json")])
    assert [r["key"] for r in rows] == ["b", "k"] and all(r["frameworks"]["tinygrad_ed"]["ms"] > 0 for r in rows)
    assert rows[0]["losses"] == sorted(rows[0]["losses"], reverse=True) and len(rows[0]["losses"]) == 3
    written = json.loads((tmp_path / "s.json").read_text())
    assert written["rows"] == rows and written["machine"]["numpy"] == np.__version__
    assert "MLP 64-64-64-10" in (tmp_path / "s.md").read_text() and "MLP 64-64-64-10" in capsys.readouterr().out
