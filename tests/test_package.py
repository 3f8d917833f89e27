"""The package as a user meets it: what an import brings, what is documented, what the README says."""
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed.ops.methods import ALIASES, functions

ROOT = Path(__file__).parent.parent


def python(code, *options, **environment):
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120,
                          env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_import_brings_nothing_heavy():
    heavy = {"cupy", "scipy", "matplotlib", "numba", "torch", "sklearn", "tqdm", "PIL", "numpy.random", "asyncio"}
    assert python(f"import sys, numpy; before = set(sys.modules); import tinygrad_ed; print(({heavy!r} - before) & set(sys.modules))") == "set()\n"


def test_infinities_come_without_a_warning():
    code = "import tinygrad_ed as tg; x = tg.tensor([0., -1.], requires_grad=True); (tg.log(x) / x).sum().backward(); print('fine')"
    assert python(code, "-W", "default") == "fine\n"


def test_ops_can_be_shown():
    assert "_n.saved" in python("import tinygrad_ed as tg; tg.exp(tg.ones(2))", TINYGRAD_ED_SHOW_OPS="1")


def test_an_op_can_be_declared_where_there_is_no_module():
    scope = {}
    exec("from tinygrad_ed.autograd.op import op; twice = op('twice', lambda x: 2 * x, x=lambda g: 2 * g)", scope)
    assert scope["twice"](tg.ones(1)).item() == 2 and scope["twice"].__module__ == "__main__"


PUBLIC = [(name, f) for name, f in functions().items() if name not in ALIASES]
PUBLIC += [(f"{module.__name__}.{name}", getattr(module, name))
           for module in (tg.linalg, tg.autograd, tg.nn, tg.nn.functional, tg.nn.init, tg.nn.utils, tg.optim, tg.utils.data, tg.cuda, tg.cuda.amp, tg.testing, tg.legacy)
           for name in module.__all__ if callable(getattr(module, name))]


@pytest.mark.parametrize("name, thing", PUBLIC, ids=[name for name, _ in PUBLIC])
def test_everything_public_is_documented(name, thing):
    text = inspect.getdoc(thing) or ""
    assert text.split("\n")[0].rstrip().endswith((".", ":")), "the first line is one sentence"
    assert ">>>" in text, "there is a runnable example"


def test_public_names_are_there():
    assert tg.__version__
    for name in tg.__all__:
        assert hasattr(tg, name)


def test_names_that_scripts_take_from_the_package():
    assert (tg.inf, tg.pi, tg.newaxis) == (float("inf"), np.pi, None) and tg.nan != tg.nan and tg.e == np.e
    assert tg.autocast is tg.amp.autocast and "autocast" in dir(tg)
    with tg.random.fork_rng():
        first = tg.rand(2)
    assert tg.equal(first, tg.rand(2)) and tg.random.manual_seed is tg.manual_seed
    assert tg.FloatTensor is tg.legacy.FloatTensor and "FloatTensor" in dir(tg)
    assert isinstance(tg.float32, tg.dtype) and isinstance(tg.ones(2).shape, tg.Size)


def test_the_readme_runs(tmp_path, monkeypatch, capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = next(block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "for epoch" in block)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    accuracy = float(re.search(r"accuracy ([\d.]+)%", capsys.readouterr().out).group(1))
    assert accuracy > 90
    assert len(code.strip().splitlines()) <= 30
    for path in re.findall(r"`(tinygrad_ed/[\w/.]+)`", text):
        assert (ROOT / path).exists(), f"README names {path}"
