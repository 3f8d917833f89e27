"""The suite's workloads: tinygrad_ed and PyTorch, from the same weights, must have the same first losses and outputs."""
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent.parent.parent / "benchmarks"))

import workloads  # noqa: E402


@pytest.mark.parametrize("key, mode", [(key, mode) for key in workloads.WORKLOADS for mode in workloads.MODES if (key, mode) != ("a", "infer")])
def test_both_compute_the_same(key, mode):
    problem = workloads.problem(key, tiny=True)
    ours, theirs = (workloads.prepare(name, problem, mode, dropout=False) for name in ("tinygrad_ed", "torch"))
    for _ in range(3):
        np.testing.assert_allclose(ours().numpy(), theirs().numpy(), rtol=1e-4, atol=1e-4)


def test_dropout_is_left_out_only_when_asked():
    problem = workloads.problem("c", tiny=True)
    for name in ("tinygrad_ed", "torch"):
        with_it, without = workloads.prepare(name, problem), workloads.prepare(name, problem, dropout=False)
        assert abs(float(with_it()) - float(without())) > 1e-3
