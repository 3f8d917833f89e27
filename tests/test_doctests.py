"""Every example in a docstring runs and prints what it says."""
import doctest
import importlib
import inspect
import pkgutil

import pytest

import tinygrad_ed as tg

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


def documented():
    """Every function, class and method of the package with an example, where it is defined."""
    modules = [tg, *[importlib.import_module(m.name) for m in pkgutil.walk_packages(tg.__path__, "tinygrad_ed.") if "__main__" not in m.name]]
    for module in modules:
        if ">>>" in (module.__doc__ or ""):
            yield module.__name__, module
        for name, thing in list(vars(module).items()):
            if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
                continue
            yield from examples(f"{module.__name__}.{name}", thing)


def examples(name, thing):
    """A thing, and the methods of a class, whose docstrings have examples."""
    if ">>>" in (getattr(thing, "__doc__", None) or ""):
        yield name, thing
    if inspect.isclass(thing):
        for member, value in vars(thing).items():
            value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if inspect.isfunction(value) and value.__module__ == thing.__module__ and ">>>" in (value.__doc__ or ""):
                yield f"{name}.{member}", value


EXAMPLES = dict(documented())


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)                       # some examples write files
    thing = EXAMPLES[name]
    module = thing if inspect.ismodule(thing) else importlib.import_module(thing.__module__)
    parsed = doctest.DocTestParser().get_doctest(inspect.getdoc(thing), dict(vars(module)), name, module.__file__, 0)
    output: list[str] = []
    failed, tried = doctest.DocTestRunner(optionflags=FLAGS).run(parsed, out=output.append)
    assert tried and not failed, "".join(output)
    tg.set_default_dtype(tg.float32)
