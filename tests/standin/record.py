"""Writes `cupy.json`: which functions, methods and dtypes the real CuPy has, and which arguments they take.

Run it where CuPy is installed (`pip install "cupy-cuda12x[ctk]"`; no GPU is needed), in the folder of the tests: `python -m standin.record`.
"""
from __future__ import annotations

import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("cupy.json")
MODULES = ("cupy", "cupy.linalg", "cupy.lib.stride_tricks", "cupy.cuda", "cupyx", "cupyx.scipy.special", "cupyx.scipy.linalg")


def parameters(function: Any) -> list[str] | None:
    """The names of the arguments that a function takes, "**" if it takes any; None where this cannot be known."""
    try:
        found = inspect.signature(function).parameters.values()
        return ["**" if p.kind is p.VAR_KEYWORD else p.name for p in found if p.name != "self"]
    except (TypeError, ValueError):                   # compiled ones tell it in the first line of their documentation
        line = re.match(r"[\w.]+\((.*)\)", (getattr(function, "__doc__", None) or "").strip().partition("\n")[0])
    if line is None:
        return None
    names = [re.split("[=:]", part)[0].replace("\\*", "*").split()[-1:] for part in line[1].split(",")]
    return [name for (name,) in filter(None, names) if name not in ("/", "*", "self")]


def facts(thing: Any) -> dict:
    """What is known about one name."""
    if type(thing).__name__ == "ufunc":
        return {"types": list(thing.types), "parameters": [*(parameters(thing) or ()), "where"]}      # which its documentation leaves out
    return {"parameters": parameters(thing)} if callable(thing) else {}


def record() -> dict:
    """The table."""
    import cupy
    table: dict = {"version": cupy.__version__, "modules": {}}
    for name in MODULES:
        module = importlib.import_module(name)
        table["modules"][name] = {key: facts(getattr(module, key)) for key in sorted(dir(module)) if not key.startswith("_")}
    table["ndarray"] = {key: facts(getattr(cupy.ndarray, key)) for key in sorted(dir(cupy.ndarray)) if not key.startswith("_")}
    return table


if __name__ == "__main__":
    table = record()
    lines = ["{", f'"version": {json.dumps(table["version"])},']
    for section, content in (*table["modules"].items(), ("ndarray", table["ndarray"])):
        rows = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
        lines.append(f"{json.dumps(section)}: {{\n{rows}\n}}" + ("," if section != "ndarray" else ""))
    TABLE.write_text("\n".join([*lines, "}", ""]), encoding="utf-8")
    print(f"{TABLE}: CuPy {table['version']}")
