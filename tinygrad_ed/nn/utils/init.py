"""Making modules without drawing their parameters."""
from __future__ import annotations

from typing import Any

from ..init.filling import skipped
from ..module import Module

__all__ = ["skip_init"]


def skip_init(module_cls: type, *args: Any, **kwargs: Any) -> Any:
    """Make a module whose parameters have arbitrary elements: fast, where they will be loaded or set anyway.

    Args:
        module_cls: the module's class, which initialises its parameters by the functions of `nn.init`.
        args: its arguments.
        kwargs: its arguments by name.

    Returns:
        The module.

    Raises:
        RuntimeError: not a Module's class.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.nn.utils.skip_init(tg.nn.Linear, 1000, 1000).weight.shape
        (1000, 1000)
    """
    if not (isinstance(module_cls, type) and issubclass(module_cls, Module)):
        raise RuntimeError(f"skip_init takes the class of a Module, got {module_cls!r}")
    with skipped():
        return module_cls(*args, **kwargs)
