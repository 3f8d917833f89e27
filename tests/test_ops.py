"""Every property over every case of the registry, and no operation without a case."""
import cases  # noqa: F401  (fills the registry)
import pytest
from properties import PROPERTIES
from registry import CASES, holds

import tinygrad_ed as tg
from tinygrad_ed.ops.methods import ALIASES, functions

PAIRS = [pytest.param(check, case, id=f"{check.__name__}-{case.id}")
         for check, applies in PROPERTIES for case in CASES.values() if applies(case)]


@pytest.mark.parametrize("check, case", PAIRS)
def test_property(check, case):
    holds(check, case)


def test_every_operation_has_a_case():
    public = {name for name in functions() if name not in ALIASES}
    public |= {f"linalg.{name}" for name in tg.linalg.__all__}
    public |= {f"nn.functional.{name}" for name in tg.nn.functional.__all__ if not name.endswith("_") and name not in public}
    covered = {case.name for case in CASES.values()}
    assert not sorted(public - covered), "operations without a case in tests/cases"


def test_aliases_are_the_operations_they_name():
    for alias, name in ALIASES.items():
        assert getattr(tg, alias) is getattr(tg, name)
