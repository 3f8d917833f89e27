"""How an operation is declared: its forward expression, and a derivative formula for each differentiable argument.

    mul = op("mul", lambda a, b: a * b, a=lambda g, b: g * b, b=lambda g, a: g * a)

A formula's own parameter names say what it needs: `g` is the gradient of the output, `y` the output, an argument's name
its array, `<argument>_shape` its shape, an option's name the option. Only what a formula names is kept alive, and only
if that formula will run. The same formulas run on arrays in a plain backward and on Tensors with create_graph=True,
which gives every higher derivative.

The declaration is compiled at its first use into straight-line code, as dataclasses are at import, so it costs nothing at
run time: set `TINYGRAD_ED_SHOW_OPS=1` to see what an op becomes.
"""
from __future__ import annotations

import inspect
import os
import sys
from types import FunctionType
from typing import Any, Callable, Sequence

import numpy as np

from ..backend import namespace
from ..tensor import Tensor, wrap
from . import runtime
from .casts import active, recast
from .inplace import View
from .modes import state
from .node import Node, next_number, output_node

# A public function's parameters have PyTorch's names, its formulas the textbook's.
PUBLIC_NAMES = {"x": "input", "a": "input", "b": "other"}


def op(name: str, forward: Callable, *, promote: Sequence[str] = (), to_float: bool = False, match: Sequence[str] = (),
       broadcast: bool = False, view: bool = False, outputs: bool = False, aux: Sequence[str] = (),
       composed: Callable | None = None, gradients: Callable | None = None, through: Callable | None = None,
       factors: Sequence[str] = (), doc: str = "", **formulas: Callable) -> Callable:
    """Declare an operation.

    Args:
        name: what errors and `grad_fn` call it.
        forward: computes it on arrays. Its positional parameters are the array arguments (or `*xs`), its keyword-only
            ones the options; a first parameter `xp` receives the array module.
        promote: arguments that are first converted to their common dtype, as PyTorch promotes.
        to_float: integers and booleans are first converted to the default floating point dtype.
        match: arguments that must already have one dtype.
        broadcast: arguments may broadcast; the engine sums their gradients back to their shapes.
        view: the result may share memory with the first argument.
        outputs: forward returns a tuple of arrays, and `g` and `y` are tuples in the formulas.
        aux: names of further arrays that forward returns after the output, for formulas to name.
        composed: the same mathematics in plain ops; create_graph=True goes through it, so formulas need only arrays.
        gradients: one formula for all arguments, returning a gradient (or None) for each; may name `needs`, a tuple
            of booleans.
        through: a formula for what `g` becomes before the arguments' formulas get it, once for all of them.
        factors: arguments whose formulas return two arrays: the gradient, of just the argument's shape, is their product, which the engine makes
            where it belongs. A formula that is not a product returns the gradient as usual, and None.
        doc: the docstring.
        formulas: argument=formula.

    Returns:
        The operation: on Tensors it records, on arrays alone it just computes.
    """
    declaration = locals()
    scope: dict[str, Any] = {"compile_op": lambda: _compile(function, scope, **declaration)}
    function = FunctionType(_first_call.__code__, scope, name)
    function.__kwdefaults__ = {}
    function.__qualname__, function.__module__ = name, sys._getframe(1).f_globals.get("__name__", "__main__")
    function.__doc__ = doc or f"The primitive `{name}`."
    function.__signature__ = _signature(forward)      # type: ignore[attr-defined]
    scope["call"] = function
    return function


def _signature(forward: Callable) -> inspect.Signature:
    """What users write: the forward's parameters but for `xp`, under their public names."""
    parameters = [q for q in inspect.signature(forward).parameters.values() if q.name != "xp"]
    return inspect.Signature([q.replace(name=PUBLIC_NAMES.get(q.name, q.name)) for q in parameters])


def _first_call(*args: Any, **kwargs: Any) -> Any:
    """What an op is until its first call: it compiles itself, becomes the compiled code, and runs that."""
    compile_op()                                      # type: ignore[name-defined]  # noqa: F821  (in the op's scope)
    return call(*args, **kwargs)                      # type: ignore[name-defined]  # noqa: F821


def _compile(function: FunctionType, scope: dict, *, name: str, forward: Callable, formulas: dict, composed: Callable | None,
             gradients: Callable | None, through: Callable | None, **options: Any) -> None:
    """Turn a declaration into the code of its function and of its node's `backward`."""
    plan = _Plan(name, forward, formulas, gradients, composed is not None, through, **options)
    scope.update({"d_" + argument: formula for argument, formula in formulas.items()})
    scope.update(
        Tensor=Tensor, ndarray=np.ndarray, np=np, new=object.__new__, number=next_number, state=state, forward=forward,
        namespace=namespace, wrap=wrap, View=View, active=active, recast=recast, output_node=output_node, composed=composed, gradients=gradients,
        through=through,
        **{name: getattr(runtime, name) for name in runtime.__all__})
    title = "".join(part.capitalize() for part in name.strip("_").split("_")) + "Backward"
    node = type(title, (Node,), {"__slots__": (), "op": name, "retains": bool(plan.saved_arrays)})
    compiled: dict[str, Any] = {}
    if plan.differentiable:
        exec(compile(_show(plan.backward_source()), f"<backward of {name}>", "exec"), scope, compiled)
        node.backward = compiled["backward"]          # type: ignore[attr-defined]
    scope["OpNode"] = node                            # complete, since another thread may be making the first call too
    exec(compile(_show(plan.call_source()), f"<{name}>", "exec"), scope, compiled)
    function.__kwdefaults__ = compiled["call"].__kwdefaults__
    function.__defaults__ = compiled["call"].__defaults__
    function.__code__ = compiled["call"].__code__


class _Plan:
    """What one op keeps, and the source of its two functions."""

    def __init__(self, name: str, forward: Callable, formulas: dict, gradients: Callable | None, composed: bool, through: Callable | None, *,
                 promote: Sequence[str], to_float: bool, match: Sequence[str], broadcast: bool, view: bool, outputs: bool,
                 aux: Sequence[str], factors: Sequence[str], doc: str):
        parameters = list(inspect.signature(forward).parameters.values())
        self.takes_xp = bool(parameters) and parameters[0].name == "xp"
        parameters = parameters[self.takes_xp:]
        self.name = name
        self.variadic = any(q.kind is q.VAR_POSITIONAL for q in parameters)
        self.arrays = [q.name for q in parameters if q.kind in (q.POSITIONAL_OR_KEYWORD, q.VAR_POSITIONAL)]
        self.options = [q.name for q in parameters if q.kind is q.KEYWORD_ONLY]
        self.parameters = list(_signature(forward).parameters.values())
        self.promote, self.match, self.to_float, self.broadcast = list(promote), list(match), to_float, broadcast
        self.pair = len(self.promote) == 2 and self.promote == self.arrays          # of tensors, or of a tensor and a Python number
        self.view, self.outputs, self.aux, self.composed, self.factors = view, outputs, list(aux), composed, factors
        self.moves = view or name in ("alias", "clone", "convert")                  # numbers stay what they are, in whatever dtype
        self.needs = {a: list(inspect.signature(f).parameters)[1:] for a, f in formulas.items()}
        self.joint, self.through = [None if f is None else list(inspect.signature(f).parameters)[1:] for f in (gradients, through)]
        self.differentiable = bool(formulas) or gradients is not None
        self.plan()

    def plan(self) -> None:
        """Read from the formulas' parameter names what must be saved, and for whose sake."""
        wanted: dict[str, list[str]] = {}             # what is saved -> the arguments whose formulas need it
        for argument, names in ({a: self.joint for a in self.arrays} if self.joint is not None else self.needs).items():
            for n in names:
                wanted.setdefault(n, []).append(argument)
            if self.broadcast and not self.outputs:
                wanted.setdefault(self.target(argument), []).append(argument)
        for n in self.through or ():
            wanted[n] = list(self.needs)
        wanted.pop("needs", None)
        if self.composed:
            for n in (*self.arrays, *self.options):
                wanted[n] = list(self.arrays)
        if self.outputs and self.differentiable:
            wanted["y_like"] = list(self.arrays)
        self.wanted = wanted
        self.saved_arrays = [n for n in wanted if n == "y" or n in self.arrays or n in self.aux]
        known = {"y", "y_like", *self.arrays, *self.aux, *self.options, *(a + s for a in self.arrays for s in ("_shape", "_stretched"))}
        reserved = {"g", "y", "y_like", "needs"} & {*self.arrays, *self.options, *self.aux}
        if reserved:
            raise TypeError(f"op {self.name!r}: {sorted(reserved)} mean something else in formulas; name the argument differently")
        unknown = [n for n in wanted if n not in known]
        if unknown:
            raise TypeError(f"op {self.name!r}: a formula names {unknown}; it can name g, y, {sorted(known)}")

    def target(self, argument: str) -> str:
        """Where a gradient's shape is kept: what a formula names anyway, or only a shape that broadcasting stretched."""
        return argument + ("_shape" if argument + "_shape" in (*self.needs.get(argument, ()), *(self.joint or ())) else "_stretched")

    # -- the forward call --------------------------------------------------------------------------------------------

    def call_source(self) -> list[str]:
        """The function that users call."""
        names = {a: PUBLIC_NAMES.get(a, a) for a in self.arrays}
        heads = []
        for q in self.parameters:
            if q.kind is q.KEYWORD_ONLY and not self.variadic and "*" not in heads:
                heads.append("*")
            star = "*" if q.kind is q.VAR_POSITIONAL else ""
            heads.append(star + q.name + ("" if q.default is q.empty else f"={q.default!r}"))
        options = "".join(f", {o}={o}" for o in self.options)
        given = ", ".join(("*" if self.variadic else "") + names[a] for a in self.arrays)
        again = f"call(*{{}}{options})"
        lines = [f"def call({', '.join(heads)}):"]
        for a in self.arrays:
            lines += self._lift_many(a, names[a]) if self.variadic else self._lift(a, names[a])
        if not self.moves:
            keys = ", ".join(f"{o!r}: {o}" for o in self.options)
            lines += [f"    if active and (_r := recast(call, {self.name!r}, ({given},), {{{keys}}})) is not NotImplemented: return _r"]
        tensors = " or ".join("t_" + a for a in self.arrays)
        raw = ", ".join(("*" if self.variadic else "") + "r_" + a for a in self.arrays)
        xp = "xp, " if self.takes_xp else ""
        if self.takes_xp:
            first = self.arrays[0]
            lines += [f"    xp = namespace({raw})" if self.variadic or len(self.arrays) > 1 else
                      f"    xp = np if type(r_{first}) is ndarray else namespace(r_{first})"]
        lines += [f"    if not ({tensors}):", f"        return forward({xp}{raw}{options})"]
        lines += self._conversions(given, again)
        target = "y" if not self.aux else ", ".join(["y", *self.aux])
        lines += ["    try:", f"        {target} = forward({xp}{raw}{options})",
                  "    except Exception as error:", f"        raise explain(error, {self.name!r}, ({given},)) from None"]
        return lines + (self._wrap_many() if self.outputs else self._wrap_one())

    def _lift(self, a: str, public: str) -> list[str]:
        edge = [f"        if {public}._view is not None: {public}._view.refresh({public})",
                f"        if {public}._requires_grad: e_{a} = {public}._node or {public}"] if self.differentiable else []
        return ([f"    e_{a} = None"] if self.differentiable else []) + [
            f"    if isinstance({public}, Tensor):", f"        t_{a} = True; r_{a} = {public}._data", *edge,
            "    else:", f"        t_{a} = False; r_{a} = {public}"]

    def _lift_many(self, a: str, public: str) -> list[str]:
        return [f"    t_{a} = any([isinstance(_t, Tensor) for _t in {public}])",
                f"    for _t in {public}:", "        if isinstance(_t, Tensor) and _t._view is not None: _t._view.refresh(_t)",
                f"    r_{a} = tuple([_t._data if isinstance(_t, Tensor) else _t for _t in {public}])",
                f"    e_{a} = tuple([(_t._node or _t) if isinstance(_t, Tensor) and _t._requires_grad else None for _t in {public}])"]

    def _no_edge(self, arguments: Sequence[str]) -> str:
        return " and ".join(f"e_{a} is None" for a in arguments) if self.differentiable else "True"

    def _conversions(self, given: str, again: str) -> list[str]:
        lines = []
        publics = {a: PUBLIC_NAMES.get(a, a) for a in self.arrays}
        flags = f"{self.promote!r}, {self.arrays!r}, {self.to_float}"
        convert = f"return {again.format(f'promoted(({given},), {flags})')}"
        if self.match:
            pairs = ", ".join(f"r_{a}" for a in self.match)
            lines += [f"    if not agree({pairs}): {again.format(f'matched({self.name!r}, ({given},))').join(['return ', ''])}"]
        elif self.variadic and self.promote:
            every = f"promoted({publics[self.arrays[0]]}, None, None, {self.to_float})"
            lines += [f"    if not agree(*r_{self.arrays[0]}): return {again.format(every)}"]
        elif self.pair:
            a, b = self.promote
            lines += [f"    if t_{a} and t_{b}:",
                      f"        if r_{a}.dtype is not r_{b}.dtype: {convert}",
                      f"    elif t_{a}:",
                      f"        if (e_{a} is None or type(r_{b}) is not float) and (r_{a}.dtype.kind, type(r_{b})) not in WEAK: {convert}"
                      if self.differentiable else f"        if (r_{a}.dtype.kind, type(r_{b})) not in WEAK: {convert}",
                      *self._constant(a, b),
                      f"    elif t_{b}:",
                      f"        if (r_{b}.dtype.kind, type(r_{a})) not in WEAK: {convert}",
                      *self._constant(b, a),
                      "    else:", f"        {convert}"]
        elif self.promote:
            lines += [f"    if not agree({', '.join('r_' + a for a in self.promote)}): {convert}"]
        if self.to_float and not self.variadic:
            arguments = self.promote or self.arrays[:1]
            test = " and ".join(f"(not t_{a} or r_{a}.dtype.kind != 'f')" for a in arguments)
            lines += [f"    if {self._no_edge(arguments)} and {test}:",
                      f"        return {again.format(f'floated(({given},), {[self.arrays.index(a) for a in arguments]})')}"]
        return lines

    def _constant(self, array: str, number: str) -> list[str]:
        """A Python number as a 0-d array, which NumPy combines twice as fast; `**` is faster with the number itself."""
        return [] if self.name == "pow" else [
            f"        if type(r_{array}) is ndarray:",
            f"            _c = constants.get((r_{number}, r_{array}.dtype.num))",
            f"            r_{number} = constant(r_{number}, r_{array}.dtype) if _c is None else _c"]

    def _record(self) -> list[str]:
        """The lines that make the node `n`."""
        saved = []
        for n, arguments in self.wanted.items():
            value = ("y" if n == "y" else "tuple([(_v.shape, _v.dtype) for _v in y])" if n == "y_like" else n if n in self.aux
                     or n in self.options else f"r_{n}" if n in self.arrays else self._stretched(n[:-len("_stretched")])
                     if n.endswith("_stretched") else self._shape_of(n[:-len("_shape")]))
            always = self.variadic or n in self.options or n == "y_like" or self.composed or set(arguments) >= set(self._possible())
            kept = value if always else f"({value} if {' or '.join(f'e_{a} is not None' for a in arguments)} else None)"
            saved.append(kept)
        edges = f"e_{self.arrays[0]}" if self.variadic else f"({', '.join('e_' + a for a in self.arrays)},)"
        shape = ["_y_shape = y.shape"] if any(n.endswith("_stretched") for n in self.wanted) else []
        if shape and self.pair:
            shape = [f"_y_shape = y.shape if {' and '.join('t_' + a for a in self.arrays)} else None"]      # a number stretches nothing
        return [*shape, "_n = OpNode(); _n.number = number(); _n.extras = None", f"_n.edges = {edges}",
                f"_n.saved = ({''.join(s + ', ' for s in saved)})", "if recording is not True: trace(_n)"]

    def _shape_of(self, a: str) -> str:
        if self.variadic:
            return f"tuple([_v.shape for _v in r_{a}])"
        return f"r_{a}.shape" if len(self.arrays) == 1 else f"(r_{a}.shape if t_{a} else getattr(r_{a}, 'shape', ()))"

    def _stretched(self, a: str) -> str:
        """An argument's shape where it is not the result's, to which the gradient is summed."""
        return f"(None if {'_y_shape is None or ' if self.pair else ''}(_s := {self._shape_of(a)}) == _y_shape else _s)"

    def _possible(self) -> list[str]:
        """The arguments that can have an edge."""
        return self.arrays if self.joint is not None else [a for a in self.arrays if a in self.needs]

    def _needed(self) -> str:
        edges = (f"any([e is not None for e in e_{self.arrays[0]}])" if self.variadic else
                 " or ".join(f"e_{a} is not None" for a in self._possible()))
        return f"({edges}) and (recording := state.recording)"

    def _wrap_one(self) -> list[str]:
        lines = ["    if type(y) is not ndarray: y = as_array(y)",
                 "    _t = new(Tensor); _t._data = y; _t._grad = None; _t._extras = None"]
        if self.view:
            lines += [*self._step(), "    _t._view = View(input, _step) if y.base is not None and (y.base is r_x or y.base is r_x.base) else None"]
        else:
            lines += ["    _t._view = None"]
        if self.differentiable:
            lines += [f"    if {self._needed()}:", *("        " + line for line in self._record()),
                      "        _t._node = _n; _t._requires_grad = True", "        return _t"]
        return lines + ["    _t._node = None; _t._requires_grad = False", "    return _t"]

    def _step(self) -> list[str]:
        options = ", ".join(f"{o}={o}" for o in self.options)
        return [f"    _step = lambda _z, {options}: call(_z, {options})" if options else "    _step = call"]

    def _wrap_many(self) -> list[str]:
        lines = ["    y = tuple([as_array(_v) for _v in y])", "    _ts = tuple([wrap(_v) for _v in y])"]
        if self.view:
            options = ", ".join(f"{o}={o}" for o in self.options)
            lines += ["    for _k, _t in enumerate(_ts):",
                      "        if _t._data.base is not None and (_t._data.base is r_x or _t._data.base is r_x.base):",
                      f"            _t._view = View(input, lambda _z, _k=_k, {options}: call(_z, {options})[_k])"]
        if self.differentiable:
            lines += [f"    if {self._needed()}:", *("        " + line for line in self._record()),
                      "        for _k, _t in enumerate(_ts):",
                      "            if _t._data.dtype.kind in 'fV': _t._node = output_node(_n, _k); _t._requires_grad = True"]
        return lines + ["    return _ts"]

    # -- the backward call -------------------------------------------------------------------------------------------

    def backward_source(self) -> list[str]:
        """The method that the engine calls."""
        edges = f"e_{self.arrays[0]}" if self.variadic else f"({', '.join('e_' + a for a in self.arrays)},)"
        lines = ["def backward(_n, g, _add, _revive):", f"    {edges} = _n.edges"]
        if self.wanted:
            lines += [f"    ({', '.join(self.wanted)},) = _n.saved"]
        if self.outputs:
            lines += ["    g = whole(g, y_like)"]
        if self.composed:
            inputs = f"{self.arrays[0]}" if self.variadic else f"({', '.join(self.arrays)},)"
            options = ", ".join(f"{o!r}: {o}" for o in self.options)
            lines += ["    if _revive is not None:",
                      f"        return through_composed(composed, {inputs}, _n.edges, {{{options}}}, g, _add, _revive)"]
        elif self.saved_arrays:
            lines += ["    if _revive is not None:"]
            for n in self.saved_arrays:
                if n == "y":
                    lines += ["        y = revive_outputs(y, _n, _revive)" if self.outputs else "        y = _revive(y, _n)"]
                elif self.variadic and n in self.arrays:
                    lines += [f"        {n} = [_revive(_v, _e) for _v, _e in zip({n}, e_{n})]"]
                else:
                    lines += [f"        {n} = _revive({n}, {'None' if n in self.aux else 'e_' + n})"]
        if self.joint is not None:
            every = f"e_{self.arrays[0]}" if self.variadic else "_n.edges"
            if "needs" in self.joint:
                lines += [f"    needs = tuple([_e is not None for _e in {every}])"]
            lines += [f"    for _e, _d in zip({every}, gradients({', '.join(['g', *self.joint])})):",
                      "        if _e is not None and _d is not None: _add(_e, _d)"]
            return lines
        if self.through is not None:
            lines += [f"    g = through({', '.join(['g', *self.through])})"]
        for a, names in self.needs.items():
            gradient = "_d, _factor" if a in self.factors else "_d"
            lines += [f"    if e_{a} is not None:", f"        {gradient} = d_{a}({', '.join(['g', *names])})"]
            if self.broadcast:
                shape = self.target(a)
                known = f"{shape} is not None and " if shape.endswith("_stretched") else "_factor is None and " if a in self.factors else ""
                lines += [f"        if {known}_d.shape != {shape}: _d = unbroadcast(_d, {shape})"]
            lines += [f"        _add(e_{a}, {gradient})"]
        return lines


def _show(lines: list[str]) -> str:
    source = "\n".join(lines)
    if os.environ.get("TINYGRAD_ED_SHOW_OPS"):
        print(source, end="\n\n")
    return source
