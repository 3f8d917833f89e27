"""The scripts in `examples/` run with tiny settings and say and write what they promise; `train_digits.py` has a test of its own."""
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from idx_files import mnist_files

import tinygrad_ed as tg

EXAMPLES = Path(__file__).parent.parent / "examples"

for needed in ("sklearn", "matplotlib", "tqdm"):
    pytest.importorskip(needed)


@pytest.fixture
def example(monkeypatch):
    """Imports an example by its name, as if its directory were the one that it was started in."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module
    for name in {path.stem for path in EXAMPLES.glob("*.py")} - before:
        sys.modules.pop(name, None)


# -- cnn_digits --------------------------------------------------------------------------------------------------------

def test_cnn_digits_reads_98_percent_of_unseen_digits(example, tmp_path, capsys):
    cnn = example("cnn_digits")
    results = cnn.main(["--out", str(tmp_path)])
    loss, accuracy = results["test"]
    assert accuracy >= 0.985 and loss < 0.1           # the mean over seeds is 99.4 %; one digit of the test set is 0.4 %
    assert f"{accuracy:.2%}" in capsys.readouterr().out
    assert (tmp_path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    checkpoint = tg.load(tmp_path / "checkpoint.safetensors")
    model = cnn.Network(side=8)
    model.load_state_dict(checkpoint["model"])
    assert len(checkpoint["history"]["dev_loss"]) == 30 and checkpoint["args"]["seed"] == 0


def test_cnn_digits_repeats_itself(example, tmp_path):
    cnn = example("cnn_digits")
    runs = []
    for seed in (1, 1, 2):
        cnn.main(["--epochs", "1", "--seed", str(seed), "--batch-size", "256", "--out", str(tmp_path)])
        runs.append({name: t.numpy().tobytes() for name, t in tg.load(tmp_path / "checkpoint.safetensors")["model"].items()})
    assert runs[0] == runs[1] != runs[2]


def test_cnn_digits_reads_mnist(example, tmp_path):
    mnist_files(tmp_path, n_train=40, n_test=8, side=12)
    results = example("cnn_digits").main(["--data", str(tmp_path), "--epochs", "1", "--augment", "0", "--out", str(tmp_path / "out")])
    assert set(results) == {"training", "development", "test"} and all(np.isfinite(loss) for loss, _ in results.values())


def test_augmented_images_are_the_images_moved(example):
    cnn = example("cnn_digits")
    tg.manual_seed(0)
    images = tg.rand(5, 8, 8)
    np.testing.assert_allclose(cnn.augmented(images, 0.0).numpy(), images.numpy(), atol=1e-6)
    moved = cnn.augmented(images, 1.0)
    assert moved.shape == images.shape and not np.allclose(moved.numpy(), images.numpy(), atol=0.1)


def test_wrong_use_of_cnn_digits_is_explained(example, tmp_path, capsys):
    with pytest.raises(SystemExit):
        example("cnn_digits").main(["--epochs", "0"])
    assert "--epochs is at least 1" in capsys.readouterr().err


# -- optimizers_2d -----------------------------------------------------------------------------------------------------

def test_optimizers_2d_draws_every_method_that_there_is(example, tmp_path, capsys):
    two = example("optimizers_2d")
    names = [name for methods in two.available().values() for name in methods]
    assert {"SGD", "momentum", "Nesterov", "Adam", "AdamW"} <= set(names)
    walks = two.main(["--steps", "6", "--no-gif", "--out", str(tmp_path)])
    assert set(walks) == {(surface, name) for surface in two.SURFACES for name in names}
    assert all(points.shape == (7, 2) and np.isfinite(points).all() for _, points in walks.values())
    printed = capsys.readouterr().out
    assert all(name in printed for name in [*names, *two.SURFACES])
    assert (tmp_path / "paths.png").read_bytes().startswith(b"\x89PNG") and not (tmp_path / "paths.gif").exists()


def test_optimizers_2d_makes_a_film(example, tmp_path):
    from PIL import Image
    example("optimizers_2d").main(["--steps", "3", "--methods", "SGD", "Adam", "--surfaces", "bowl", "cliff, clipped", "--out", str(tmp_path)])
    with Image.open(tmp_path / "paths.gif") as film:
        assert film.format == "GIF" and film.n_frames >= 4


def test_every_method_goes_down_on_every_surface(example):
    two = example("optimizers_2d")
    for name, surface in two.SURFACES.items():
        for methods in two.available().values():
            for method in methods.values():
                _, points = two.best_walk(surface, method, 40)
                start, *rest = (surface.f(*map(tg.tensor, point)).item() for point in points)
                assert surface.lowest - 1e-4 <= min(rest) < start, (name, method)


def test_clipping_keeps_momentum_near_the_cliff(example):
    two = example("optimizers_2d")
    method = two.FAMILIES["the gradient"]["momentum"]
    thrown, kept = (two.best_walk(two.SURFACES[name], method, 60)[1] for name in ("cliff", "cliff, clipped"))
    back = lambda points: max(points[:i + 1, 0].max() - x for i, (x, _) in enumerate(points))
    assert back(thrown) > 3 > 1.5 > back(kept)


# -- optimizers_digits -------------------------------------------------------------------------------------------------

def test_optimizers_digits_counts_the_steps(example, tmp_path, capsys):
    digits = example("optimizers_digits")
    results = digits.main(["--methods", "SGD", "Adam", "--steps", "60", "--target", "1.0", "--out", str(tmp_path)])
    adam, sgd = results["Adam"], results["SGD"]
    assert 10 < adam["steps"] < 60 and sgd["steps"] is None and adam["accuracy"] > 0.7 and len(adam["losses"]) == 60
    assert adam["losses"][adam["steps"] - 1] <= 1.0 < min(adam["losses"][:adam["steps"] - 1])
    printed = capsys.readouterr().out
    assert "> 60" in printed and f"{adam['accuracy']:.2%}" in printed
    assert (tmp_path / "steps.png").read_bytes().startswith(b"\x89PNG")


def test_wrong_use_of_the_comparisons_is_explained(example, capsys):
    for name in ("optimizers_2d", "optimizers_digits"):
        for arguments, text in ((["--steps", "0"], "--steps is at least 1"), (["--methods", "Adan"], "invalid choice: 'Adan'")):
            with pytest.raises(SystemExit):
                example(name).main(arguments)
            assert text in capsys.readouterr().err
