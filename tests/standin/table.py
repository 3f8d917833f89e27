"""What the real CuPy has, from `cupy.json`."""
from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

TABLE: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("cupy.json").read_text(encoding="utf-8"))


def facts(section: str, name: str) -> dict:
    """What is known of a name.

    Raises:
        AttributeError: CuPy has no such name.
    """
    found = TABLE[section].get(name)
    if found is None:
        raise AttributeError(f"{section} has no attribute {name!r}" + (", NumPy has" if hasattr(np, name) else ""))
    return found


def check_arguments(section: str, name: str, kwargs: dict) -> None:
    """Raise a TypeError where CuPy's function takes no such argument."""
    known = facts(section, name).get("parameters")
    for key in kwargs:
        if known is not None and key not in known and "**" not in known:
            raise TypeError(f"{section}.{name}() got an unexpected keyword argument {key!r}: it takes {', '.join(known)}")


@cache
def has_loop(section: str, name: str, dtypes: tuple) -> bool:
    """Whether CuPy's ufunc computes on these dtypes; None stands for a Python number."""
    loops = facts(section, name)["types"]
    return any(all(d is None or np.can_cast(d, c) for d, c in zip(dtypes, loop.partition("->")[0])) for loop in loops)
