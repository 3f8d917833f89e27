"""The example `examples/train_digits.py`: it learns, it repeats itself bit for bit, and it reads MNIST's files."""
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from idx_files import mnist_files

import tinygrad_ed as tg

for needed in ("sklearn", "matplotlib", "tqdm"):
    pytest.importorskip(needed)


@pytest.fixture(scope="module")
def example():
    path = Path(__file__).parent.parent / "examples" / "train_digits.py"
    spec = importlib.util.spec_from_file_location("train_digits", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_reads_97_percent_of_unseen_digits(example, tmp_path, capsys):
    results = example.main(["--out", str(tmp_path)])
    loss, accuracy = results["test"]
    assert accuracy >= 0.97 and loss < 0.2
    table = capsys.readouterr().out
    assert "test" in table and f"{accuracy:.2%}" in table
    assert (tmp_path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    checkpoint = tg.load(tmp_path / "checkpoint.safetensors")
    model = example.Network(64)
    model.load_state_dict(checkpoint["model"])
    assert len(checkpoint["history"]["dev_accuracy"]) == 40 and checkpoint["args"]["seed"] == 0


def test_a_seed_is_a_result(example, tmp_path):
    runs = []
    for seed in (1, 1, 2):
        example.main(["--epochs", "2", "--seed", str(seed), "--batch-size", "64", "--lr", "0.002", "--out", str(tmp_path)])
        runs.append(tg.load(tmp_path / "checkpoint.safetensors"))
    a, b, c = ({name: t.numpy().tobytes() for name, t in run["model"].items()} for run in runs)
    assert a == b != c and runs[0]["history"] == runs[1]["history"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_it_reads_mnist(example, tmp_path, suffix):
    mnist_files(tmp_path, n_train=40, n_test=8, side=6, suffix=suffix)
    results = example.main(["--data", str(tmp_path), "--epochs", "1", "--out", str(tmp_path / "out")])
    assert set(results) == {"training", "development", "test"} and all(np.isfinite(loss) for loss, _ in results.values())


def test_wrong_use_is_explained(example, tmp_path, capsys):
    with pytest.raises(SystemExit):
        example.main(["--epochs", "0"])
    assert "--epochs is at least 1" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="train-images"):
        example.main(["--data", str(tmp_path)])
