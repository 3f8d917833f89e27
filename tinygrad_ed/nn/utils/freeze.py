"""Training only a part of a model: freezing parameters by their names, for transfer learning."""
from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Sequence, Union

from ..hooks import hooks_of
from ..module import Module

__all__ = ["freeze", "unfreeze"]

Patterns = Union[str, Sequence[str]]


def freeze(module: Module, names: Patterns = "*", *, freeze_norm: bool = False) -> list[str]:
    """Let parameters no longer be trained.

    A frozen parameter gets no gradient, and nothing is computed for it in the backward pass. Batch norm also learns without gradients:
    its running statistics follow the data, unless it is in evaluation mode.

    Args:
        module: the model.
        names: a pattern of dotted parameter names or module names, or several, with * and ?: "encoder" and "encoder.*" are all parameters
            below `model.encoder`, "*.bias" all biases. All parameters by default.
        freeze_norm: also keep batch norms (all modules with running statistics) whose parameters match in evaluation mode, whatever
            `model.train()` says, until `unfreeze`.

    Returns:
        The names of the parameters that match.

    Raises:
        ValueError: a pattern that matches no parameter and no batch norm; nothing has been changed then.

    Example:
        >>> import tinygrad_ed as tg
        >>> model = tg.nn.Sequential(tg.nn.Linear(2, 3), tg.nn.ReLU(), tg.nn.Linear(3, 1))
        >>> tg.nn.utils.freeze(model, "0")
        ['0.weight', '0.bias']
        >>> [name for name, p in model.named_parameters() if p.requires_grad]
        ['2.weight', '2.bias']
    """
    parameters, norms = _matching(module, names, freeze_norm)
    for p in parameters.values():
        p.requires_grad = False
    for norm in norms:
        if not _is_kept(norm):
            norm.register_forward_pre_hook(_stay_in_evaluation)
        norm.eval()
    return list(parameters)


def unfreeze(module: Module, names: Patterns = "*") -> list[str]:
    """Let parameters be trained again, and batch norms that `freeze` has kept in evaluation mode follow the model's mode again.

    Args:
        module: the model.
        names: as for `freeze`.

    Returns:
        The names of the parameters that match.

    Raises:
        ValueError: a pattern that matches no parameter.

    Example:
        >>> import tinygrad_ed as tg
        >>> model = tg.nn.Sequential(tg.nn.Linear(2, 3), tg.nn.Linear(3, 1))
        >>> _ = tg.nn.utils.freeze(model)
        >>> tg.nn.utils.unfreeze(model, "*.bias")
        ['0.bias', '1.bias']
    """
    parameters, norms = _matching(module, names, True)
    for p in parameters.values():
        p.requires_grad = True
    for norm in norms:
        table = norm._hooks.get("forward_pre", {})
        for key in [key for key, hook in table.items() if hook.function is _stay_in_evaluation]:
            del table[key]
            norm.train(module.training)
    return list(parameters)


def _stay_in_evaluation(module: Module, args: Any) -> None:
    """The hook before a frozen batch norm's call."""
    module.eval()


def _is_kept(module: Module) -> bool:
    return any(hook.function is _stay_in_evaluation for hook in hooks_of(module, "forward_pre"))


def _matching(module: Module, names: Patterns, norms_too: bool) -> tuple[dict[str, Any], list[Module]]:
    """The parameters whose names match, and the modules with running statistics whose names or parameters do."""
    patterns = [names] if isinstance(names, str) else list(names)

    def matches(name: str, pattern: str) -> bool:
        return fnmatchcase(name, pattern) or fnmatchcase(name, pattern + ".*")
    parameters = dict(module.named_parameters())
    norms = {name: m for name, m in module.named_modules() if norms_too and m._buffers.get("running_mean") is not None}
    for pattern in patterns:
        if not any(matches(name, pattern) for name in (*parameters, *norms)):
            heads = ", ".join(repr(name) for name in list(parameters)[:6])
            raise ValueError(f"no parameter's name matches {pattern!r}; the names are {heads}{', ...' if len(parameters) > 6 else ''}")
    chosen = {name: p for name, p in parameters.items() if any(matches(name, pattern) for pattern in patterns)}
    kept = [m for name, m in norms.items() if any(matches(n, pattern) for pattern in patterns
                                                  for n in (name, *(f"{name}.{own}" if name else own for own in m._parameters)))]
    return chosen, kept
