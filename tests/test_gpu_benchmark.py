"""The benchmark of training steps on a CUDA device runs from end to end on the stand-in, refuses what disagrees, and keeps to its time."""
import json
import sys
import types
from pathlib import Path

import pytest
import standin

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import gpu  # noqa: E402
import workloads  # noqa: E402


@pytest.fixture(autouse=True)
def cp(monkeypatch):
    """The stand-in for the module cupy, no PyTorch, and launches counted by the stand-in."""
    def launches(torch, step):
        with standin.counting() as counts:
            step()
        return counts.launches, counts.launches

    monkeypatch.setattr(gpu, "with_cuda", lambda: None)
    monkeypatch.setattr(gpu, "launches", launches)
    with standin.installed() as module:
        yield module


def test_the_whole_way(tmp_path, capsys):
    rows = gpu.main(["--tiny", "--precision", "float32", "--json", str(tmp_path / "g.json")])
    assert [row["key"] for row in rows] == [row.key for row in gpu.ROWS]
    for row in rows:
        eager, captured = row["variants"]["eager"], row["variants"]["captured"]
        assert eager["ms"] > 0 and captured["ms"] > 0 and eager["peak MB"] > 0 and row["losses"][4] < row["losses"][0]
        assert captured["launches"] == 4 < eager["launches"]
    written = json.loads((tmp_path / "g.json").read_text())
    assert written["rows"] == rows and written["machine"]["device"] == "Stand-in Device"
    out = capsys.readouterr().out
    assert (tmp_path / "g.md").read_text().count("| gpt ") == 2 and "no PyTorch that can use the device" in out


def other(change=lambda loss: loss):
    """A framework that stands in for PyTorch, by having its interface; its losses are changed, and it compiles nothing."""
    import tinygrad_ed as tg
    real = tg.nn.functional.cross_entropy
    functional = types.SimpleNamespace(cross_entropy=lambda *args: change(real(*args)))
    nn = types.SimpleNamespace(**{name: getattr(tg.nn, name) for name in ("Linear", "ReLU", "Sequential", "utils")}, functional=functional)
    return types.SimpleNamespace(**{name: getattr(tg, name) for name in ("amp", "backends", "cuda", "manual_seed", "optim", "tensor")}, nn=nn)


@pytest.mark.parametrize("change, refused", [(lambda loss: loss, False), (lambda loss: loss * 1.1, True)])
def test_a_row_is_compared_with_pytorch_and_refused_where_losses_differ(monkeypatch, change, refused):
    monkeypatch.setitem(sys.modules, "torch", other(change))
    monkeypatch.setattr(gpu, "with_cuda", lambda: sys.modules["torch"])
    bench = gpu.Bench(gpu.options_of(["--tiny", "--only", "mlp-small", "--precision", "float32"]))
    rows = bench.rows()
    said = "\n".join(bench.notes)
    assert "no torch compile, AttributeError" in said and ("refused, the losses differ: torch eager" in said) is refused
    assert len(rows) == 1 - refused
    if rows:
        assert set(rows[0]["ratios"]) == {"captured / torch eager", "captured / torch graphs", "eager / torch eager"}
        assert "captured / torch eager (≤ 0.5)" in gpu.report(rows, bench.notes)


def test_what_is_missing_is_left_out_with_a_note(monkeypatch):
    def prepare(variant, problem, precision, dropout=True, real=gpu.prepare):
        if precision == "bf16" or variant == "captured":
            raise NotImplementedError("not here")
        return real(variant, problem, precision, dropout)
    monkeypatch.setattr(gpu, "prepare", prepare)
    bench = gpu.Bench(gpu.options_of(["--tiny", "--only", "mlp-small", "--precision", "float32,tf32,bf16"]))
    rows = bench.rows()
    assert [row["precision"] for row in rows] == ["float32", "tf32"] and list(rows[0]["variants"]) == ["eager"]
    assert "mlp-small bf16: no eager, NotImplementedError: not here" in bench.notes
    bench.options.minutes = 1e-9
    assert bench.rows() == [] and "the time is over" in bench.notes[-1]


def test_float32_products_are_exact_unless_tf32_is_measured():
    import tinygrad_ed as tg
    switches = tg.backends.cuda.matmul, tg.backends.cudnn
    before = [s.allow_tf32 for s in switches]
    for precision in gpu.TOLERANCE:
        with gpu.allowing(precision, [tg]):
            assert all(s.allow_tf32 is (precision == "tf32") for s in switches)
    assert [s.allow_tf32 for s in switches] == before


@pytest.mark.parametrize("arguments, message", [(["--only", "chess"], "--only is among mlp-small"), (["--precision", "int4"], "float32, tf32, bf16"),
                                                (["--minutes", "0"], "above 0")])
def test_wrong_use_is_explained(arguments, message, capsys):
    with pytest.raises(SystemExit):
        gpu.main(arguments)
    assert message in capsys.readouterr().err


def test_the_gpt_is_larger_than_the_processors():
    row = gpu.ROWS[-1]
    problem = workloads.problem(row.workload, **row.size)
    assert problem.inputs.shape == (16, 128) and problem.weights["tokens.weight"].shape[1] == 256
